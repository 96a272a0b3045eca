/* The way through several exchanges: exchange to exchange, alternates, cycles; and against a naive
 * search. Vectors 18, 21, 24. */
#include "topology_support.h"

/* The library has it in vhost.c; this one serves while only routing is linked. */
__attribute__((weak)) slc_exchange *slc_vhost_exchange(const slc_vhost *vhost, slc_slice name)
{
    slc_exchange *exchange;
    HASH_FIND(hh, vhost->exchanges, name.data, name.bytes, exchange);
    return exchange;
}

Test(routing, one_copy_whatever_the_number_of_bindings)
{
    slc_exchange *x = test_exchange("x", "topic", NULL);
    slc_destination *q = test_queue("q");
    test_bind(x, q, "a.b");
    test_bind(x, q, "a.*");
    test_bind(x, q, "#");
    slc_route route = {0};
    test_route(x, "a.b", (slc_slice){0}, &route);
    cr_expect_eq(route.count, 1);
    test_route(x, "a.b", (slc_slice){0}, &route);
    cr_expect_eq(route.count, 1, "and again the next time");
    slc_route_fini(&route);
    test_queue_free(q);
    test_vhost_clear();
}

Test(routing, one_copy_over_two_paths)
{
    slc_exchange *x = test_exchange("x", "fanout", NULL), *y = test_exchange("y", "direct", NULL),
                 *z = test_exchange("z", "topic", NULL);
    slc_destination *q = test_queue("q"), *only_y = test_queue("only-y");
    test_bind(x, &y->dest, "");
    test_bind(x, &z->dest, "");
    test_bind(y, q, "k");
    test_bind(y, only_y, "k");
    test_bind(z, q, "#");
    slc_route route = {0};
    test_route(x, "k", (slc_slice){0}, &route);
    cr_expect_eq(route.count, 2);
    cr_expect(test_route_has(&route, q));
    cr_expect(test_route_has(&route, only_y));
    test_route(x, "other", (slc_slice){0}, &route);
    cr_expect_eq(route.count, 1, "each exchange applies its own rule to the same key");
    cr_expect(test_route_has(&route, q));
    slc_route_fini(&route);
    test_queue_free(q);
    test_queue_free(only_y);
    test_vhost_clear();
}

Test(routing, cycles_end)
{
    slc_exchange *x = test_exchange("x", "fanout", NULL), *y = test_exchange("y", "fanout", NULL);
    slc_destination *q = test_queue("q");
    test_bind(x, &y->dest, "");
    test_bind(y, &x->dest, "");
    test_bind(x, &x->dest, "");
    test_bind(y, q, "");
    slc_route route = {0};
    test_route(x, "k", (slc_slice){0}, &route);
    cr_expect_eq(route.count, 1);
    test_route(y, "k", (slc_slice){0}, &route);
    cr_expect_eq(route.count, 1);
    slc_route_fini(&route);
    test_queue_free(q);
    test_vhost_clear();
}

Test(routing, alternate_takes_what_does_not_match)
{
    slc_exchange *x = test_exchange("x", "direct", "rest"),
                 *rest = test_exchange("rest", "fanout", NULL);
    slc_destination *q = test_queue("q"), *other = test_queue("other");
    test_bind(x, q, "k");
    test_bind(rest, other, "");
    slc_route route = {0};
    test_route(x, "k", (slc_slice){0}, &route);
    cr_expect_eq(route.count, 1);
    cr_expect(test_route_has(&route, q));
    test_route(x, "else", (slc_slice){0}, &route);
    cr_expect_eq(route.count, 1);
    cr_expect(test_route_has(&route, other));
    cr_expect(route.cacheable);
    slc_route_fini(&route);
    test_queue_free(q);
    test_queue_free(other);
    test_vhost_clear();
}

/** Vector 21. */
Test(routing, alternates_in_a_ring_end_with_nothing)
{
    slc_exchange *x = test_exchange("x", "direct", "y"), *y = test_exchange("y", "direct", "x");
    slc_destination *q = test_queue("q");
    test_bind(y, q, "k");
    slc_route route = {0};
    test_route(x, "none", (slc_slice){0}, &route);
    cr_expect_eq(route.count, 0);
    test_route(x, "k", (slc_slice){0}, &route);
    cr_expect_eq(route.count, 1);
    slc_route_fini(&route);
    test_queue_free(q);
    test_vhost_clear();
}

Test(routing, alternate_is_asked_per_exchange)
{
    // x leads to y; nothing matches at y, so y's alternate gets the message, not x's.
    slc_exchange *x = test_exchange("x", "fanout", "ax"), *y = test_exchange("y", "direct", "ay");
    slc_exchange *ax = test_exchange("ax", "fanout", NULL),
                 *ay = test_exchange("ay", "fanout", NULL);
    slc_destination *qx = test_queue("qx"), *qy = test_queue("qy");
    test_bind(x, &y->dest, "");
    test_bind(ax, qx, "");
    test_bind(ay, qy, "");
    slc_route route = {0};
    test_route(x, "k", (slc_slice){0}, &route);
    cr_expect_eq(route.count, 1);
    cr_expect(test_route_has(&route, qy));
    slc_route_fini(&route);
    test_queue_free(qx);
    test_queue_free(qy);
    test_vhost_clear();
}

/** y's only destination was reached before; y has found one all the same. */
Test(routing, a_destination_reached_before_still_counts_for_the_alternate)
{
    slc_exchange *x = test_exchange("x", "fanout", NULL), *y = test_exchange("y", "fanout", "ay");
    slc_exchange *ay = test_exchange("ay", "fanout", NULL);
    slc_destination *q = test_queue("q"), *qa = test_queue("qa");
    test_bind(x, q, "");
    test_bind(x, &y->dest, "");
    test_bind(y, q, "");
    test_bind(ay, qa, "");
    slc_route route = {0};
    test_route(x, "k", (slc_slice){0}, &route);
    cr_expect_eq(route.count, 1);
    cr_expect(test_route_has(&route, q));
    slc_route_fini(&route);
    test_queue_free(q);
    test_queue_free(qa);
    test_vhost_clear();
}

Test(routing, missing_alternate_is_ignored_until_it_exists)
{
    slc_exchange *x = test_exchange("x", "direct", "late");
    slc_route route = {0};
    test_route(x, "k", (slc_slice){0}, &route);
    cr_expect_eq(route.count, 0);
    cr_expect(x->alternate_missing);
    slc_exchange *late = test_exchange("late", "fanout", NULL);
    slc_destination *q = test_queue("q");
    test_bind(late, q, "");
    test_route(x, "k", (slc_slice){0}, &route);
    cr_expect_eq(route.count, 1);
    cr_expect_not(x->alternate_missing);
    slc_route_fini(&route);
    test_queue_free(q);
    test_vhost_clear();
}

Test(routing, cacheable_unless_headers_were_asked)
{
    slc_exchange *x = test_exchange("x", "direct", NULL), *h = test_exchange("h", "headers", NULL);
    test_bind(x, &h->dest, "k");
    slc_route route = {0};
    test_route(x, "else", (slc_slice){0}, &route);
    cr_expect(route.cacheable);
    test_route(x, "k", (slc_slice){0}, &route);
    cr_expect_not(route.cacheable);
    slc_route_fini(&route);
    test_vhost_clear();
}

Test(routing, a_long_chain_needs_no_stack, .timeout = 60)
{
    enum { DEPTH = 50000 };
    slc_exchange *first = NULL, *last = NULL;
    char name[16];
    for (int i = 0; i < DEPTH; i++) {
        snprintf(name, sizeof name, "x%d", i);
        slc_exchange *x = test_exchange(name, "fanout", NULL);
        if (last != NULL)
            test_bind(last, &x->dest, "");
        else
            first = x;
        last = x;
    }
    slc_destination *q = test_queue("q");
    test_bind(last, q, "");
    slc_route route = {0};
    test_route(first, "", (slc_slice){0}, &route);
    cr_expect_eq(route.count, 1);
    slc_route_fini(&route);
    test_queue_free(q);
    test_vhost_clear();
}

/* ---- against a naive search ---- */

enum { GRAPH_EXCHANGES = 12, GRAPH_QUEUES = 20, GRAPH_BINDINGS = 60 };

typedef struct graph_binding {
    slc_binding *real; // NULL: not there
    int from, to;      // to: exchange, or GRAPH_EXCHANGES + queue
    char key[8];
} graph_binding;

typedef struct graph {
    slc_exchange *exchanges[GRAPH_EXCHANGES];
    int type[GRAPH_EXCHANGES];
    int alternate[GRAPH_EXCHANGES]; // -1: none
    slc_destination *queues[GRAPH_QUEUES];
    graph_binding bindings[GRAPH_BINDINGS];
} graph;

static const char *const graph_types[] = {"direct", "fanout", "topic"};
static const char *const graph_keys[] = {"a", "b", "a.b", "#", "*", "a.#", ""};

static bool graph_edge_matches(int type, const char *bound, const char *key)
{
    if (type == 0)
        return strcmp(bound, key) == 0;
    return type == 1 || slc_topic_match(slc_slice_str(bound), slc_slice_str(key));
}

/** Grow the set of what is reached until nothing changes; no order, no marks. */
static void graph_search(const graph *g, int from, const char *key, bool *reached)
{
    memset(reached, 0, GRAPH_EXCHANGES + GRAPH_QUEUES);
    reached[from] = true;
    for (bool changed = true; changed;) {
        changed = false;
        for (int x = 0; x < GRAPH_EXCHANGES; x++) {
            bool matched = false;
            for (int b = 0; reached[x] && b < GRAPH_BINDINGS; b++) {
                const graph_binding *edge = &g->bindings[b];
                if (edge->real == NULL || edge->from != x ||
                    !graph_edge_matches(g->type[x], edge->key, key))
                    continue;
                matched = true;
                changed |= !reached[edge->to];
                reached[edge->to] = true;
            }
            if (reached[x] && !matched && g->alternate[x] >= 0) {
                changed |= !reached[g->alternate[x]];
                reached[g->alternate[x]] = true;
            }
        }
    }
}

static void graph_toggle(graph *g, graph_binding *b)
{
    if (b->real != NULL) {
        slc_binding_remove(b->real);
        b->real = NULL;
        return;
    }
    b->from = (int)test_random(GRAPH_EXCHANGES);
    b->to = (int)test_random(GRAPH_EXCHANGES + GRAPH_QUEUES);
    strcpy(b->key, graph_keys[test_random(SLC_ARRAY_COUNT(graph_keys))]);
    slc_destination *to =
        b->to < GRAPH_EXCHANGES ? &g->exchanges[b->to]->dest : g->queues[b->to - GRAPH_EXCHANGES];
    slc_error error = {0};
    if (slc_binding_add(g->exchanges[b->from], to, slc_slice_str(b->key), (slc_slice){0}, &b->real,
                        &error) == SLC_EEXIST)
        b->real = NULL; // another entry of ours has it
}

Test(routing, agrees_with_a_naive_search, .timeout = 60)
{
    test_random_init();
    uint64_t reached_queues = 0;
    slc_route route = {0};
    for (int round = 0; round < 60; round++) {
        graph g = {0};
        char name[16], alternate[16];
        for (int i = 0; i < GRAPH_EXCHANGES; i++) {
            snprintf(name, sizeof name, "x%d", i);
            g.type[i] = (int)test_random(3);
            g.alternate[i] = (int)test_random(GRAPH_EXCHANGES * 2);
            if (g.alternate[i] >= GRAPH_EXCHANGES)
                g.alternate[i] = -1;
            snprintf(alternate, sizeof alternate, "x%d", g.alternate[i]);
            g.exchanges[i] =
                test_exchange(name, graph_types[g.type[i]], g.alternate[i] < 0 ? NULL : alternate);
        }
        for (int i = 0; i < GRAPH_QUEUES; i++) {
            snprintf(name, sizeof name, "q%d", i);
            g.queues[i] = test_queue(name);
        }
        for (int step = 0; step < 300; step++) {
            graph_toggle(&g, &g.bindings[test_random(GRAPH_BINDINGS)]);
            static const char *const keys[] = {"a", "b", "a.b", "", "c.d"};
            const char *key = keys[test_random(SLC_ARRAY_COUNT(keys))];
            int from = (int)test_random(GRAPH_EXCHANGES);
            bool reached[GRAPH_EXCHANGES + GRAPH_QUEUES];
            graph_search(&g, from, key, reached);
            test_route(g.exchanges[from], key, (slc_slice){0}, &route);
            for (int i = 0; i < GRAPH_QUEUES; i++) {
                cr_assert_eq(test_route_has(&route, g.queues[i]), reached[GRAPH_EXCHANGES + i],
                             "seed %" PRIu64 ", round %d, step %d: x%d with '%s' to q%d", test_seed,
                             round, step, from, key, i);
                reached_queues += reached[GRAPH_EXCHANGES + i];
            }
        }
        for (int i = 0; i < GRAPH_QUEUES; i++)
            test_queue_free(g.queues[i]);
        test_vhost_clear();
    }
    cr_expect_gt(reached_queues, 10000, "the generator hits nothing");
    slc_route_fini(&route);
}
