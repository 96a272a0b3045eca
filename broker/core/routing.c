/* The way of a message through the exchanges of a vhost, breadth first:
 *
 *      pending = [exchange]
 *      for each X of pending: X's kind names the bindings that match (slc_route_to)
 *                             none at all: X's alternate exchange joins pending
 *      slc_route_to:          a queue joins route->queues, an exchange joins pending; once per
 * routing
 *
 * Who was reached carries the serial of this routing, so nothing is cleared between messages and
 * nothing is allocated once the two arrays of the route have grown. Cycles end because no exchange
 * joins pending twice. @spec amqp-semantics 7.6, 8.7
 */
#include "core/topology.h"

#include "base/alloc.h"
#include "base/log.h"

/* One counter for all vhosts, since a route may be used with any of them. The loop's; 64 bits do
 * not wrap. */
static uint64_t routing_serial;

static void *routing_grow(void *array, uint32_t *capacity)
{
    *capacity = *capacity == 0 ? 8 : *capacity * 2;
    return slc_realloc(array, *capacity * sizeof(void *));
}

static void routing_reach_exchange(slc_route *route, slc_exchange *exchange)
{
    if (exchange->dest.route_mark == route->serial)
        return;
    exchange->dest.route_mark = route->serial;
    if (route->pending_count == route->pending_capacity)
        route->pending = routing_grow(route->pending, &route->pending_capacity);
    route->pending[route->pending_count++] = exchange;
}

void slc_route_to_queue(slc_route *route, slc_destination *queue)
{
    route->matched = true;
    if (queue->route_mark == route->serial)
        return;
    queue->route_mark = route->serial;
    if (route->count == route->capacity)
        route->queues = routing_grow(route->queues, &route->capacity);
    route->queues[route->count++] = queue;
}

void slc_route_to(slc_route *route, slc_binding *binding)
{
    slc_destination *destination = binding->destination;
    route->matched = true;
    if (destination->kind == SLC_DEST_EXCHANGE) {
        routing_reach_exchange(route, SLC_CONTAINER_OF(destination, slc_exchange, dest));
        return;
    }
    slc_route_to_queue(route, destination);
}

/** Nothing at exchange matched. */
static void routing_alternate(slc_route *route, slc_exchange *exchange)
{
    slc_exchange *alternate = slc_vhost_exchange(exchange->vhost, exchange->alternate);
    if (alternate != NULL) {
        exchange->alternate_missing = false;
        routing_reach_exchange(route, alternate);
        return;
    }
    if (exchange->alternate_missing)
        return;
    exchange->alternate_missing = true;
    slc_log(SLC_LOG_WARN, "default", "exchange.alternate.missing", SLC_NO_FIELDS,
            "exchange '%.*s' has no route for a message and its alternate exchange '%.*s' does not "
            "exist",
            SLC_SLICE_FMT(exchange->dest.name), SLC_SLICE_FMT(exchange->alternate));
}

void slc_route_begin(slc_route *route)
{
    route->count = 0;
    route->cacheable = true;
    route->serial = ++routing_serial;
}

void slc_route_by_kind(const slc_exchange_kind *kind, slc_exchange *x, const slc_route_input *input,
                       slc_route *route)
{
    kind->route(x, input, route);
    if (!kind->by_key_only || input->more_key_count == 0)
        return;
    slc_route_input one = *input;
    for (uint32_t i = 0; i < input->more_key_count; i++) {
        one.key = input->more_keys[i];
        kind->route(x, &one, route);
    }
}

void slc_route_message(slc_exchange *exchange, const slc_route_input *input, slc_route *route)
{
    slc_route_begin(route);
    route->pending_count = 0;
    routing_reach_exchange(route, exchange);
    for (uint32_t at = 0; at < route->pending_count; at++) {
        slc_exchange *x = route->pending[at];
        route->matched = false;
        slc_route_by_kind(x->kind, x, input, route);
        if (!x->kind->by_key_only)
            route->cacheable = false;
        if (!route->matched && x->alternate.bytes > 0)
            routing_alternate(route, x);
    }
}

void slc_route_fini(slc_route *route)
{
    slc_free(route->queues);
    slc_free(route->pending);
    *route = (slc_route){0};
}
