/* x-random: of the bindings whose key equals the routing key one, at random. The index maps a key to
 * an array of its bindings. @spec amqp-semantics 7.1 */
#include "core/exchange_kinds.h"

#include "base/alloc.h"
#include "base/map.h"

/** All bindings of one key; their kind_data points here. */
typedef struct random_group {
    slc_binding **bindings;
    uint32_t count, capacity;
    UT_hash_handle hh; // of the index by key
    uint8_t key[];
} random_group;

typedef struct random_index {
    random_group *groups;
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
    slc_free(exchange->index);
}

static random_group *random_find(const random_index *index, slc_slice key)
{
    random_group *group;
    const void *octets = key.bytes > 0 ? (const void *)key.data : ""; // memcmp wants no NULL
    HASH_FIND(hh, index->groups, octets, key.bytes, group);
    return group;
}

static void random_added(slc_exchange *exchange, slc_binding *binding)
{
    random_index *index = exchange->index;
    random_group *group = random_find(index, binding->key);
    if (group == NULL) {
        group = slc_alloc_zero(1, sizeof *group + binding->key.bytes);
        if (binding->key.bytes > 0)
            memcpy(group->key, binding->key.data, binding->key.bytes);
        HASH_ADD_KEYPTR(hh, index->groups, group->key, binding->key.bytes, group);
    }
    if (group->count == group->capacity) {
        group->capacity = group->capacity == 0 ? 4 : 2 * group->capacity;
        group->bindings =
            slc_realloc(group->bindings, group->capacity * sizeof(group->bindings[0]));
    }
    group->bindings[group->count++] = binding;
    binding->kind_data = group;
}

static void random_removed(slc_exchange *exchange, slc_binding *binding)
{
    random_index *index = exchange->index;
    random_group *group = binding->kind_data;
    uint32_t at = 0;
    while (group->bindings[at] != binding)
        at++;
    group->bindings[at] = group->bindings[--group->count];
    if (group->count > 0)
        return;
    HASH_DEL(index->groups, group);
    slc_free(group->bindings);
    slc_free(group);
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
    const random_group *group = random_find(index, input->key);
    if (group != NULL)
        slc_route_to(route, group->bindings[random_below(index, group->count)]);
}

const slc_exchange_kind slc_exchange_random = {
    .name = "x-random",
    .by_key_only = false, // each message is thrown anew
    .init = random_init,
    .fini = random_fini,
    .added = random_added,
    .removed = random_removed,
    .route = random_route,
};
