/* Exchanges: the table of kinds, creation and end. What an exchange does with a message is its
 * kind's, see exchange_kinds.h. */
#include "core/exchange_kinds.h"

#include "base/alloc.h"
#include "base/table.h"

static const slc_exchange_kind *const exchange_kinds[] = {
    // clang-format off
    &slc_exchange_direct,
    &slc_exchange_fanout,
    &slc_exchange_topic,
    &slc_exchange_headers,
    &slc_exchange_consistent_hash,
    &slc_exchange_modulus_hash,
    &slc_exchange_random,
    &slc_exchange_recent_history,
    &slc_exchange_delayed,
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

/** Append to the room behind the struct. */
static slc_slice exchange_store(uint8_t **room, slc_slice slice)
{
    slc_slice stored = slc_slice_of(*room, slice.bytes);
    if (slice.bytes > 0)
        memcpy(*room, slice.data, slice.bytes);
    *room += slice.bytes;
    return stored;
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

    slc_value alternate;
    if (slc_table_find(x->arguments, slc_slice_str("alternate-exchange"), &alternate) &&
        alternate.type == SLC_TYPE_LONGSTR)
        x->alternate = alternate.bytes;
    if (kind->init != NULL)
        kind->init(x);
    return x;
}

void slc_exchange_free(slc_exchange *exchange)
{
    if (exchange == NULL)
        return;
    SLC_ASSERT(exchange->bindings == NULL);
    SLC_ASSERT(exchange->dest.bindings_in == NULL);
    if (exchange->kind->fini != NULL)
        exchange->kind->fini(exchange);
    slc_free(exchange);
}
