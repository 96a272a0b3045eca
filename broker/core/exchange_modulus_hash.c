/* x-modulus-hash: all bindings in order of their identity, of which the hash of the routing key
 * chooses one; binding keys mean nothing. The order does not depend on the order of binding, so the
 * choice is the same after a restart; a binding more or less changes most choices.
 * @spec amqp-semantics 7.1 */
#include "core/exchange_kinds.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/alloc.h"

typedef struct modulus_index {
    slc_binding **bindings; // ascending by identity
    uint32_t count, capacity;
} modulus_index;

static void modulus_init(slc_exchange *exchange)
{
    exchange->index = slc_alloc_zero(1, sizeof(modulus_index));
}

static void modulus_fini(slc_exchange *exchange)
{
    modulus_index *index = exchange->index;
    slc_free(index->bindings);
    slc_free(index);
}

static int identity_compare(slc_slice a, slc_slice b)
{
    int order = memcmp(a.data, b.data, a.bytes < b.bytes ? a.bytes : b.bytes);
    if (order != 0)
        return order;
    return a.bytes < b.bytes ? -1 : a.bytes > b.bytes;
}

/** Where it is or belongs. */
static uint32_t modulus_place(const modulus_index *index, const slc_binding *binding)
{
    uint32_t low = 0, high = index->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (identity_compare(index->bindings[middle]->identity, binding->identity) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void modulus_added(slc_exchange *exchange, slc_binding *binding)
{
    modulus_index *index = exchange->index;
    if (index->count == index->capacity) {
        index->capacity = index->capacity == 0 ? 8 : 2 * index->capacity;
        index->bindings =
            slc_realloc(index->bindings, index->capacity * sizeof(index->bindings[0]));
    }
    uint32_t at = modulus_place(index, binding);
    memmove(index->bindings + at + 1, index->bindings + at,
            (index->count - at) * sizeof(index->bindings[0]));
    index->bindings[at] = binding;
    index->count++;
}

static void modulus_removed(slc_exchange *exchange, slc_binding *binding)
{
    modulus_index *index = exchange->index;
    uint32_t at = modulus_place(index, binding);
    SLC_ASSERT(at < index->count);
    SLC_ASSERT(index->bindings[at] == binding);
    index->count--;
    memmove(index->bindings + at, index->bindings + at + 1,
            (index->count - at) * sizeof(index->bindings[0]));
}

static void modulus_route(slc_exchange *exchange, const slc_route_input *input, slc_route *route)
{
    const modulus_index *index = exchange->index;
    if (index->count == 0)
        return;
    uint64_t hash =
        XXH3_64bits(input->key.bytes > 0 ? (const void *)input->key.data : "", input->key.bytes);
    slc_route_to(route, index->bindings[hash % index->count]);
}

const slc_exchange_kind slc_exchange_modulus_hash = {
    .name = "x-modulus-hash",
    .description = "Modulus Hashing Exchange",
    .by_key_only = true,
    .init = modulus_init,
    .fini = modulus_fini,
    .added = modulus_added,
    .removed = modulus_removed,
    .route = modulus_route,
};
