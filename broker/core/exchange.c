/* Exchanges: the table of kinds, creation and end. What an exchange does with a message is its
 * kind's, see exchange_kinds.h. */
#include "core/exchange_kinds.h"

#include "base/alloc.h"
#include "base/table.h"
#include "core/policy_impl.h"

// In the order of their names.
static const slc_exchange_kind *const exchange_kinds[] = {
    // clang-format off
    &slc_exchange_direct,
    &slc_exchange_fanout,
    &slc_exchange_headers,
    &slc_exchange_topic,
    &slc_exchange_consistent_hash,
    &slc_exchange_delayed,
    &slc_exchange_modulus_hash,
    &slc_exchange_random,
    &slc_exchange_recent_history,
    // clang-format on
};

const slc_exchange_kind *slc_exchange_kind_find(slc_slice name)
{
    for (size_t i = 0; i < SLC_ARRAY_COUNT(exchange_kinds); i++) {
        if (slc_slice_is(name, exchange_kinds[i]->name))
            return exchange_kinds[i];
    }
    return NULL;
}

const slc_exchange_kind *slc_exchange_kind_at(size_t index)
{
    return index < SLC_ARRAY_COUNT(exchange_kinds) ? exchange_kinds[index] : NULL;
}

/** Append to the room behind the struct. */
static slc_slice exchange_store(uint8_t **room, slc_slice slice)
{
    slc_slice stored = slc_slice_of(*room, slice.bytes);
    if (slice.bytes > 0)
        memcpy(*room, slice.data, slice.bytes);
    *room += slice.bytes;
    return stored;
}

static slc_slice exchange_alternate(const slc_exchange *x)
{
    static const slc_slice none;
    slc_value alternate;
    slc_slice key = slc_slice_str("alternate-exchange");
    if (!slc_table_find(x->arguments, key, &alternate) &&
        !slc_table_find(x->dest.policy, key, &alternate))
        return none;
    return alternate.type == SLC_TYPE_LONGSTR ? alternate.bytes : none;
}

slc_exchange *slc_exchange_new(slc_vhost *vhost, slc_slice name, const slc_exchange_kind *kind,
                               bool durable, bool auto_delete, bool internal, slc_slice arguments)
{
    slc_exchange *x = slc_alloc_zero(1, sizeof *x + name.bytes + arguments.bytes);
    uint8_t *room = (uint8_t *)(x + 1);
    x->dest.kind = SLC_DEST_EXCHANGE;
    x->dest.name = exchange_store(&room, name);
    x->dest.durable = durable;
    x->vhost = vhost;
    x->kind = kind;
    x->auto_delete = auto_delete;
    x->internal = internal;
    x->arguments = exchange_store(&room, arguments);

    x->alternate = exchange_alternate(x);
    if (kind->init != NULL)
        kind->init(x);
    return x;
}

void slc_exchange_settings_changed(slc_exchange *exchange)
{
    exchange->alternate = exchange_alternate(exchange);
    exchange->alternate_missing = false;
    slc_vhost_routes_changed(exchange->vhost);
}

void slc_exchange_free(slc_exchange *exchange)
{
    if (exchange == NULL)
        return;
    SLC_ASSERT(exchange->bindings == NULL);
    SLC_ASSERT(exchange->dest.bindings_in == NULL);
    if (exchange->kind->fini != NULL)
        exchange->kind->fini(exchange);
    slc_policy_detach(&exchange->dest);
    slc_free(exchange->unbound_by);
    slc_free(exchange);
}
