/* fanout: every binding matches, whatever its key. The index is the map of bindings itself. */
#include "core/exchange_kinds.h"

static void fanout_added(slc_exchange *exchange, slc_binding *binding)
{
    (void)exchange;
    (void)binding;
}

static void fanout_removed(slc_exchange *exchange, slc_binding *binding)
{
    (void)exchange;
    (void)binding;
}

static void fanout_route(slc_exchange *exchange, const slc_route_input *input, slc_route *route)
{
    (void)input;
    for (slc_binding *b = exchange->bindings; b != NULL; b = b->hh.next)
        slc_route_to(route, b);
}

const slc_exchange_kind slc_exchange_fanout = {
    .name = "fanout",
    .description = "AMQP fanout exchange, as per the AMQP specification",
    .by_key_only = true,
    .added = fanout_added,
    .removed = fanout_removed,
    .route = fanout_route,
};
