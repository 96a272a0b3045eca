/* x-random: one of all bindings, at random. Binding keys mean nothing, as RabbitMQ 3.10 was seen to
 * do it. @spec amqp-semantics 7.1 */
#include "core/exchange_kinds.h"

#include "base/alloc.h"
#include "base/map.h"

typedef struct random_index {
    slc_binding **bindings; // in no order; kind_data of each is its place
    uint32_t count, capacity;
    uint64_t state;
} random_index;

static void random_init(slc_exchange *exchange)
{
    random_index *index = slc_alloc_zero(1, sizeof *index);
    // The seed of the hash is the process's, so that nobody can foresee the choices; in tests it is a fixed one.
    index->state = slc_hash(exchange->dest.name.data, exchange->dest.name.bytes);
    exchange->index = index;
}

static void random_fini(slc_exchange *exchange)
{
    random_index *index = exchange->index;
    slc_free(index->bindings);
    slc_free(index);
}

static void random_place(random_index *index, uint32_t at, slc_binding *binding)
{
    index->bindings[at] = binding;
    binding->kind_data = (void *)(uintptr_t)at;
}

static void random_added(slc_exchange *exchange, slc_binding *binding)
{
    random_index *index = exchange->index;
    if (index->count == index->capacity) {
        index->capacity = index->capacity == 0 ? 8 : 2 * index->capacity;
        index->bindings =
            slc_realloc(index->bindings, index->capacity * sizeof(index->bindings[0]));
    }
    random_place(index, index->count++, binding);
}

static void random_removed(slc_exchange *exchange, slc_binding *binding)
{
    random_index *index = exchange->index;
    uint32_t at = (uint32_t)(uintptr_t)binding->kind_data;
    SLC_ASSERT(at < index->count);
    SLC_ASSERT(index->bindings[at] == binding);
    random_place(index, at, index->bindings[--index->count]);
}

/** splitmix64, 0 .. below - 1; the bias of 2^-32 is of no interest here. */
static uint32_t random_below(random_index *index, uint32_t below)
{
    uint64_t z = (index->state += UINT64_C(0x9E3779B97F4A7C15));
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    z ^= z >> 31;
    return (uint32_t)((z >> 32) * below >> 32);
}

static void random_route(slc_exchange *exchange, const slc_route_input *input, slc_route *route)
{
    random_index *index = exchange->index;
    (void)input;
    if (index->count > 0)
        slc_route_to(route, index->bindings[random_below(index, index->count)]);
}

const slc_exchange_kind slc_exchange_random = {
    .name = "x-random",
    .description = "Randomly picks a binding (queue) to route via (to).",
    .by_key_only = false, // each message is thrown anew
    .init = random_init,
    .fini = random_fini,
    .added = random_added,
    .removed = random_removed,
    .route = random_route,
};
