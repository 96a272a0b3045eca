/* direct: the binding key equals the routing key. The index maps a key to its bindings. */
#include "core/exchange_kinds.h"

#include <utlist.h>

#include "base/alloc.h"
#include "base/map.h"

/** All bindings of one key; their kind_data points here. */
typedef struct direct_group {
    slc_binding *bindings; // DL list by kind_prev/kind_next, never empty
    UT_hash_handle hh;     // of the index by key
    uint8_t key[];         // a copy: the binding that brought it may go before the others
} direct_group;

static direct_group *direct_find(const slc_exchange *exchange, slc_slice key)
{
    direct_group *groups = exchange->index;
    direct_group *group;
    const void *octets = key.bytes > 0 ? (const void *)key.data : ""; // memcmp wants no NULL
    HASH_FIND(hh, groups, octets, key.bytes, group);
    return group;
}

static void direct_added(slc_exchange *exchange, slc_binding *binding)
{
    direct_group *group = direct_find(exchange, binding->key);
    if (group == NULL) {
        direct_group *groups = exchange->index;
        group = slc_alloc_zero(1, sizeof *group + binding->key.bytes);
        memcpy(group->key, binding->key.data, binding->key.bytes);
        HASH_ADD_KEYPTR(hh, groups, group->key, binding->key.bytes, group);
        exchange->index = groups;
    }
    DL_APPEND2(group->bindings, binding, kind_prev, kind_next);
    binding->kind_data = group;
}

static void direct_removed(slc_exchange *exchange, slc_binding *binding)
{
    direct_group *group = binding->kind_data;
    DL_DELETE2(group->bindings, binding, kind_prev, kind_next);
    if (group->bindings != NULL)
        return;
    direct_group *groups = exchange->index;
    HASH_DEL(groups, group);
    exchange->index = groups;
    slc_free(group);
}

static void direct_route(slc_exchange *exchange, const slc_route_input *input, slc_route *route)
{
    const direct_group *group = direct_find(exchange, input->key);
    if (group == NULL)
        return;
    for (slc_binding *b = group->bindings; b != NULL; b = b->kind_next)
        slc_route_to(route, b);
}

const slc_exchange_kind slc_exchange_direct = {
    .name = "direct",
    .description = "AMQP direct exchange, as per the AMQP specification",
    .by_key_only = true,
    .added = direct_added,
    .removed = direct_removed,
    .route = direct_route,
};
