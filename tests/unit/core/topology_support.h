/** A vhost with exchanges and bare destinations for the tests of routing: no broker, no queues.
 *
 *  Each Criterion test runs in its own process, so the statics are fresh. All tests that name a timeout name the
 *  same one: with different ones running side by side the runner of Criterion 2.4.1 leaks a timer, and
 *  LeakSanitizer fails the binary for it.
 */
#ifndef SLC_TEST_TOPOLOGY_SUPPORT_H
#define SLC_TEST_TOPOLOGY_SUPPORT_H

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/alloc.h"
#include "base/map.h"
#include "base/table.h"
#include "core/internal.h"
#include "core/topology.h"

static slc_vhost test_vhost;

/** A new exchange, entered in test_vhost. alternate may be NULL. */
static inline slc_exchange *test_exchange(const char *name, const char *type, const char *alternate)
{
    slc_table_builder arguments = {0};
    if (alternate != NULL)
        slc_table_put_text(&arguments, "alternate-exchange", alternate);
    slc_exchange *x = slc_exchange_new(&test_vhost, slc_slice_str(name),
                                       slc_exchange_kind_find(slc_slice_str(type)), true, false,
                                       false, slc_table_builder_content(&arguments));
    slc_table_builder_fini(&arguments);
    HASH_ADD_KEYPTR(hh, test_vhost.exchanges, x->dest.name.data, x->dest.name.bytes, x);
    return x;
}

/** Something a binding can lead to that is a queue as far as routing knows. */
static inline slc_destination *test_queue(const char *name)
{
    slc_destination *queue = slc_alloc_zero(1, sizeof *queue);
    queue->kind = SLC_DEST_QUEUE;
    queue->name = slc_slice_str(slc_strdup(name));
    queue->durable = true;
    return queue;
}

static inline void test_queue_free(slc_destination *queue)
{
    while (queue->bindings_in != NULL)
        slc_binding_remove(queue->bindings_in);
    slc_free((void *)(uintptr_t)queue->name.data);
    slc_free(queue);
}

/** All exchanges of test_vhost with their bindings. */
static inline void test_vhost_clear(void)
{
    slc_exchange *x, *x_next;
    for (x = test_vhost.exchanges; x != NULL; x = x->hh.next) {
        while (x->bindings != NULL)
            slc_binding_remove(x->bindings);
    }
    HASH_ITER(hh, test_vhost.exchanges, x, x_next)
    {
        HASH_DEL(test_vhost.exchanges, x);
        slc_exchange_free(x);
    }
}

static inline slc_binding *test_bind_with(slc_exchange *source, slc_destination *to,
                                          const char *key, slc_slice arguments)
{
    slc_binding *binding = NULL;
    slc_error error = {0};
    slc_err rc = slc_binding_add(source, to, slc_slice_str(key), arguments, &binding, &error);
    if (rc != SLC_OK &&
        rc != SLC_EEXIST) // not cr_assert: each one, passed or not, is a message to the runner
        cr_assert_fail("bind '%s': %s", key, error.text);
    return binding;
}

static inline slc_binding *test_bind(slc_exchange *source, slc_destination *to, const char *key)
{
    return test_bind_with(source, to, key, (slc_slice){0});
}

static inline bool test_route_has(const slc_route *route, const slc_destination *queue)
{
    uint32_t found = 0;
    for (uint32_t i = 0; i < route->count; i++)
        found += route->queues[i] == queue;
    if (found > 1)
        cr_assert_fail("a queue is in the route %u times", found);
    return found == 1;
}

static inline void test_route(slc_exchange *exchange, const char *key, slc_slice headers,
                              slc_route *route)
{
    slc_route_input input = {.key = slc_slice_str(key), .headers = headers};
    slc_route_message(exchange, &input, route);
}

/* ---- random numbers: SLC_TEST_SEED repeats a run ---- */

static uint64_t test_seed, test_random_state;

static inline void test_random_init(void)
{
    const char *given = getenv("SLC_TEST_SEED");
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    test_seed = given != NULL ? strtoull(given, NULL, 0)
                              : (uint64_t)now.tv_sec * 1000000007u ^ (uint64_t)now.tv_nsec;
    test_random_state = test_seed;
}

/** 0 .. below - 1 (splitmix64). */
static inline uint32_t test_random(uint32_t below)
{
    uint64_t z = (test_random_state += UINT64_C(0x9E3779B97F4A7C15));
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return (uint32_t)((z ^ (z >> 31)) % below);
}

#endif
