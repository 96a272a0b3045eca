/* Exchanges: kinds by name, what slc_exchange_new keeps, direct and fanout. */
#include "topology_support.h"

Test(exchange, kinds_are_found_by_exact_name)
{
    static const char *const known[] = {"direct", "fanout", "topic", "headers"};
    for (size_t i = 0; i < SLC_ARRAY_COUNT(known); i++) {
        const slc_exchange_kind *kind = slc_exchange_kind_find(slc_slice_str(known[i]));
        cr_assert_not_null(kind);
        cr_expect_str_eq(kind->name, known[i]);
        cr_expect_eq(kind->by_key_only, strcmp(known[i], "headers") != 0);
    }
    static const char *const unknown[] = {"", "Direct", "direct ", "direc", "x-local-random"};
    for (size_t i = 0; i < SLC_ARRAY_COUNT(unknown); i++)
        cr_expect_null(slc_exchange_kind_find(slc_slice_str(unknown[i])), "'%s'", unknown[i]);
}

Test(exchange, new_copies_what_it_is_given)
{
    char name[] = "orders";
    slc_table_builder b = {0};
    slc_table_put_text(&b, "other", "x");
    slc_table_put_text(&b, "alternate-exchange", "rest");
    slc_slice arguments = slc_table_builder_content(&b);
    slc_exchange *x = slc_exchange_new(&test_vhost, slc_slice_str(name),
                                       slc_exchange_kind_find(slc_slice_str("topic")), true, true,
                                       true, arguments);
    cr_expect(slc_slice_equal(x->arguments, arguments));
    name[0] = '?';
    slc_table_builder_fini(&b);

    cr_expect(slc_slice_is(x->dest.name, "orders"));
    cr_expect(slc_slice_is(x->alternate, "rest"));
    cr_expect_eq(x->dest.kind, SLC_DEST_EXCHANGE);
    cr_expect_eq(x->vhost, &test_vhost);
    cr_expect(x->dest.durable);
    cr_expect(x->auto_delete);
    cr_expect(x->internal);
    cr_expect_not(x->had_binding);
    slc_exchange_free(x);
    slc_exchange_free(NULL);
}

Test(exchange, no_arguments_no_alternate)
{
    slc_exchange *x = slc_exchange_new(&test_vhost, slc_slice_str("x"),
                                       slc_exchange_kind_find(slc_slice_str("fanout")), false,
                                       false, false, (slc_slice){0});
    cr_expect_eq(x->alternate.bytes, 0);
    cr_expect_not(x->dest.durable);
    slc_exchange_free(x);
}

Test(exchange, direct_routes_by_equal_key)
{
    slc_exchange *x = test_exchange("x", "direct", NULL);
    slc_destination *q1 = test_queue("q1"), *q2 = test_queue("q2"), *q3 = test_queue("q3");
    test_bind(x, q1, "a");
    test_bind(x, q2, "a");
    test_bind(x, q2, "b");
    test_bind(x, q3, "");
    slc_route route = {0};

    test_route(x, "a", (slc_slice){0}, &route);
    cr_expect_eq(route.count, 2);
    cr_expect_eq(route.queues[0], q1); // in the order of binding
    cr_expect_eq(route.queues[1], q2);
    cr_expect(route.cacheable);
    test_route(x, "b", (slc_slice){0}, &route);
    cr_expect_eq(route.count, 1);
    cr_expect(test_route_has(&route, q2));
    test_route(x, "", (slc_slice){0}, &route);
    cr_expect_eq(route.count, 1);
    cr_expect(test_route_has(&route, q3));
    static const char *const others[] = {"A", "aa", "a.b", "*", "#"};
    for (size_t i = 0; i < SLC_ARRAY_COUNT(others); i++) {
        test_route(x, others[i], (slc_slice){0}, &route);
        cr_expect_eq(route.count, 0, "'%s'", others[i]);
    }
    slc_route_fini(&route);
    test_queue_free(q1);
    test_queue_free(q2);
    test_queue_free(q3);
    test_vhost_clear();
}

Test(exchange, direct_keeps_a_key_whose_first_binding_went)
{
    slc_exchange *x = test_exchange("x", "direct", NULL);
    slc_destination *q1 = test_queue("q1"), *q2 = test_queue("q2");
    slc_binding *first = test_bind(x, q1, "a long enough key to be somewhere else in memory");
    test_bind(x, q2, "a long enough key to be somewhere else in memory");
    slc_binding_remove(first);
    slc_route route = {0};
    test_route(x, "a long enough key to be somewhere else in memory", (slc_slice){0}, &route);
    cr_expect_eq(route.count, 1);
    cr_expect(test_route_has(&route, q2));
    slc_route_fini(&route);
    test_queue_free(q1);
    test_queue_free(q2);
    test_vhost_clear();
}

Test(exchange, fanout_ignores_keys)
{
    slc_exchange *x = test_exchange("x", "fanout", NULL);
    slc_destination *queues[8];
    for (int i = 0; i < 8; i++) {
        char name[16];
        snprintf(name, sizeof name, "q%d", i);
        queues[i] = test_queue(name);
        test_bind(x, queues[i], i % 2 ? "odd" : "");
    }
    slc_route route = {0};
    test_route(x, "anything", (slc_slice){0}, &route);
    cr_assert_eq(route.count, 8);
    for (uint32_t i = 0; i < 8; i++)
        cr_expect_eq(route.queues[i], queues[i]);
    test_queue_free(queues[3]);
    test_route(x, "anything", (slc_slice){0}, &route);
    cr_expect_eq(route.count, 7);
    slc_route_fini(&route);
    for (int i = 0; i < 8; i++) {
        if (i != 3)
            test_queue_free(queues[i]);
    }
    test_vhost_clear();
}

/** Bind and unbind at random; what is routed is what is bound now. */
Test(exchange, direct_agrees_with_a_list_of_bindings)
{
    enum { QUEUES = 12, KEYS = 6, STEPS = 4000 };
    test_random_init();
    slc_exchange *x = test_exchange("x", "direct", NULL);
    slc_destination *queues[QUEUES];
    slc_binding *bound[QUEUES][KEYS] = {0};
    char text[16];
    for (int i = 0; i < QUEUES; i++) {
        snprintf(text, sizeof text, "q%d", i);
        queues[i] = test_queue(text);
    }
    slc_route route = {0};
    for (int step = 0; step < STEPS; step++) {
        uint32_t q = test_random(QUEUES), k = test_random(KEYS);
        snprintf(text, sizeof text, "%.*s", (int)k, "kkkkkk"); // "", "k", "kk", ...
        if (bound[q][k] == NULL) {
            bound[q][k] = test_bind(x, queues[q], text);
        } else {
            slc_binding_remove(bound[q][k]);
            bound[q][k] = NULL;
        }
        k = test_random(KEYS);
        snprintf(text, sizeof text, "%.*s", (int)k, "kkkkkk");
        test_route(x, text, (slc_slice){0}, &route);
        for (int i = 0; i < QUEUES; i++)
            cr_assert_eq(test_route_has(&route, queues[i]), bound[i][k] != NULL,
                         "seed %" PRIu64 ", step %d, queue %d, key '%s'", test_seed, step, i, text);
    }
    slc_route_fini(&route);
    for (int i = 0; i < QUEUES; i++)
        test_queue_free(queues[i]);
    cr_expect_null(x->bindings);
    cr_expect_null(x->index);
    test_vhost_clear();
}
