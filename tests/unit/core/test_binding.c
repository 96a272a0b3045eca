/* Bindings: identity, what they keep, and that removal leaves no trace. Vectors 24 and 25 in part.
 */
#include "topology_support.h"

/** {a: 1, b: "x"}, in that order or the other. */
static slc_slice two_arguments(slc_table_builder *b, bool reverse)
{
    *b = (slc_table_builder){0};
    if (reverse)
        slc_table_put_text(b, "b", "x");
    slc_table_put_i32(b, "a", 1);
    if (!reverse)
        slc_table_put_text(b, "b", "x");
    return slc_table_builder_content(b);
}

Test(binding, twice_is_one)
{
    slc_exchange *x = test_exchange("x", "direct", NULL);
    slc_destination *q = test_queue("q");
    slc_error error = {0};
    slc_binding *first = NULL, *second = NULL;
    cr_expect_eq(slc_binding_add(x, q, slc_slice_str("k"), (slc_slice){0}, &first, &error), SLC_OK);
    cr_expect_eq(slc_binding_add(x, q, slc_slice_str("k"), (slc_slice){0}, &second, &error),
                 SLC_EEXIST);
    cr_expect_eq(first, second);
    cr_expect_eq(q->bindings_in_count, 1);
    cr_expect_eq(HASH_COUNT(x->bindings), 1);
    cr_expect(x->had_binding);
    cr_expect(slc_slice_is(first->key, "k"));
    cr_expect_eq(first->source, x);
    cr_expect_eq(first->destination, q);
    test_queue_free(q);
    test_vhost_clear();
}

Test(binding, order_of_arguments_does_not_matter_their_values_do)
{
    slc_exchange *x = test_exchange("x", "direct", NULL);
    slc_destination *q = test_queue("q");
    slc_table_builder one, other, third = {0};
    slc_slice a = two_arguments(&one, false), b = two_arguments(&other, true);
    slc_table_put_i32(&third, "a", 2);
    slc_table_put_text(&third, "b", "x");
    slc_binding *first = test_bind_with(x, q, "k", b);
    cr_expect_eq(test_bind_with(x, q, "k", a), first);
    cr_expect_eq(slc_binding_find(x, q, slc_slice_str("k"), b), first);
    cr_expect(slc_slice_equal(first->arguments, a), "kept with keys sorted");
    cr_expect_null(slc_binding_find(x, q, slc_slice_str("k"), (slc_slice){0}));
    slc_binding *second = test_bind_with(x, q, "k", slc_table_builder_content(&third));
    cr_expect_neq(second, first);
    cr_expect_neq(test_bind(x, q, "k"), first);
    cr_expect_eq(q->bindings_in_count, 3);

    slc_route route = {0};
    test_route(x, "k", (slc_slice){0}, &route);
    cr_expect_eq(route.count, 1, "three bindings, one copy");
    slc_binding_remove(first);
    slc_binding_remove(second);
    test_route(x, "k", (slc_slice){0}, &route);
    cr_expect_eq(route.count, 1);
    slc_route_fini(&route);
    slc_table_builder_fini(&one);
    slc_table_builder_fini(&other);
    slc_table_builder_fini(&third);
    test_queue_free(q);
    test_vhost_clear();
}

Test(binding, queue_and_exchange_of_one_name_differ)
{
    slc_exchange *x = test_exchange("x", "direct", NULL), *y = test_exchange("y", "direct", NULL);
    slc_destination *q = test_queue("y");
    slc_binding *to_queue = test_bind(x, q, "k");
    slc_binding *to_exchange = test_bind(x, &y->dest, "k");
    cr_expect_neq(to_queue, to_exchange);
    cr_expect_eq(slc_binding_find(x, q, slc_slice_str("k"), (slc_slice){0}), to_queue);
    cr_expect_eq(slc_binding_find(x, &y->dest, slc_slice_str("k"), (slc_slice){0}), to_exchange);
    test_queue_free(q);
    test_vhost_clear();
}

Test(binding, name_and_key_do_not_run_into_each_other)
{
    slc_exchange *x = test_exchange("x", "direct", NULL);
    slc_destination *ab = test_queue("ab"), *a = test_queue("a");
    slc_binding *first = test_bind(x, ab, "c");
    cr_expect_null(slc_binding_find(x, a, slc_slice_str("bc"), (slc_slice){0}));
    cr_expect_neq(test_bind(x, a, "bc"), first);

    // Without a length before the name these two have the same octets: 'a', 98 (a 'b'), 97 (an 'a'), 97 times 'k'.
    char key[100];
    memset(key, 'k', sizeof key);
    key[97] = 0;
    first = test_bind(x, ab, key);
    memset(key, 'k', sizeof key);
    key[0] = 'a';
    key[98] = 0;
    cr_expect_neq(test_bind(x, a, key), first);
    cr_expect_eq(ab->bindings_in_count, 2);
    cr_expect_eq(a->bindings_in_count, 2);
    test_queue_free(ab);
    test_queue_free(a);
    test_vhost_clear();
}

Test(binding, longest_name_and_key)
{
    char name[256], key[256];
    memset(name, 'n', 255);
    memset(key, 'k', 255);
    name[255] = key[255] = 0;
    slc_exchange *x = test_exchange("x", "direct", NULL);
    slc_destination *q = test_queue(name);
    slc_binding *b = test_bind(x, q, key);
    cr_expect(slc_slice_is(b->key, key));
    cr_expect_eq(slc_binding_find(x, q, slc_slice_str(key), (slc_slice){0}), b);
    test_queue_free(q);
    test_vhost_clear();
}

Test(binding, durable_when_both_sides_are)
{
    for (int bits = 0; bits < 4; bits++) {
        slc_exchange *x = test_exchange("x", "fanout", NULL);
        slc_destination *q = test_queue("q");
        x->dest.durable = bits & 1;
        q->durable = bits & 2;
        cr_expect_eq(test_bind(x, q, "")->durable, bits == 3, "%d", bits);
        test_queue_free(q);
        test_vhost_clear();
    }
}

Test(binding, refused_by_the_kind_changes_nothing)
{
    slc_exchange *x = test_exchange("x", "topic", NULL);
    slc_destination *q = test_queue("q");
    slc_binding *out = NULL;
    slc_error error = {0};
    cr_expect_eq(
        slc_binding_add(x, q, slc_slice_str("#.#.#.#.#.#.#.#.#"), (slc_slice){0}, &out, &error),
        SLC_EPRECONDITION);
    cr_expect_null(out);
    cr_expect_null(x->bindings);
    cr_expect_null(q->bindings_in);
    cr_expect_not(x->had_binding);
    test_queue_free(q);
    test_vhost_clear();
}

Test(binding, iteration_is_in_the_order_of_binding)
{
    slc_exchange *x = test_exchange("x", "topic", NULL);
    slc_destination *q = test_queue("q");
    char key[16];
    slc_binding *made[100];
    for (int i = 0; i < 100; i++) {
        snprintf(key, sizeof key, "k%d.#", i * 37 % 100);
        made[i] = test_bind(x, q, key);
    }
    slc_binding_remove(made[50]);
    int i = 0;
    for (slc_binding *b = x->bindings; b != NULL; b = b->hh.next, i++) {
        i += i == 50;
        cr_expect_eq(b, made[i]);
    }
    cr_expect_eq(i, 100);
    i = 0;
    for (slc_binding *b = q->bindings_in; b != NULL; b = b->in_next, i++) {
        i += i == 50;
        cr_expect_eq(b, made[i]);
    }
    test_queue_free(q);
    cr_expect_null(x->bindings);
    test_vhost_clear();
}
