#include "core/system_message.h"

#include "base/log.h"
#include "core/properties.h"

enum { TURN_BUDGET = 4096 };

struct slc_system_item {
    slc_vhost *vhost;
    slc_message *message;
    struct slc_system_item *next;
};

bool slc_system_wanted(const slc_vhost *vhost, const char *exchange)
{
    const slc_exchange *x = slc_vhost_exchange(vhost, slc_slice_str(exchange));
    return x != NULL && (x->bindings != NULL || x->alternate.bytes > 0);
}

/* ---- making them ---- */

static void put_uint(slc_buffer *out, uint64_t value, int bytes)
{
    for (int i = bytes - 1; i >= 0; i--)
        slc_buffer_octet(out, (uint8_t)(value >> (8 * i)));
}

/** Flags and list of a basic content header. @spec amqp-semantics 1.4 */
static void properties_encode(const slc_system_properties *p, slc_buffer *out)
{
    enum { CONTENT_TYPE = 1 << 15, HEADERS = 1 << 13, DELIVERY_MODE = 1 << 12, TIMESTAMP = 1 << 6 };
    put_uint(out,
             (p->content_type != NULL ? CONTENT_TYPE : 0u) | HEADERS |
                 (p->persistent ? DELIVERY_MODE : 0u) | (p->timestamp_s != 0 ? TIMESTAMP : 0u),
             2);
    if (p->content_type != NULL) {
        slc_buffer_octet(out, (uint8_t)strlen(p->content_type));
        slc_buffer_text(out, p->content_type);
    }
    put_uint(out, p->headers.bytes, 4);
    slc_buffer_put(out, p->headers.data, p->headers.bytes);
    if (p->persistent)
        slc_buffer_octet(out, 2);
    if (p->timestamp_s != 0)
        put_uint(out, p->timestamp_s, 8);
}

void slc_system_post(slc_vhost *vhost, const char *exchange, slc_slice key,
                     const slc_system_properties *properties, slc_slice body)
{
    slc_system *system = &vhost->broker->system;
    slc_buffer list = {0};
    properties_encode(properties, &list);
    if (key.bytes > SLC_NAME_MAX)
        key.bytes = SLC_NAME_MAX;
    slc_message *message = slc_message_new(slc_slice_str(exchange), key, slc_buffer_slice(&list),
                                           body.bytes, properties->persistent);
    slc_buffer_fini(&list);
    if (message == NULL) {
        system->dropped++;
        slc_log(SLC_LOG_WARN, "default", "system_message.dropped", SLC_NO_FIELDS,
                "a message for exchange '%s' was dropped: there is no memory for %zu bytes",
                exchange, body.bytes);
        return;
    }
    if (body.bytes > 0)
        memcpy(slc_message_body(message), body.data, body.bytes);
    slc_system_item *item = slc_alloc(sizeof *item);
    *item = (slc_system_item){.vhost = vhost, .message = message};
    if (system->last != NULL)
        system->last->next = item;
    else
        system->first = item;
    system->last = item;
}

/* ---- publishing them ---- */

static void system_publish(slc_broker *broker, slc_vhost *vhost, slc_message *message)
{
    slc_exchange *exchange = slc_vhost_exchange(vhost, slc_message_exchange(message));
    if (exchange == NULL)
        return;
    slc_route *route = &broker->system.route;
    exchange->messages_in++;
    message->ts_ms = broker->env.wall_ms(broker->env.arg);
    slc_route_input input = {.key = slc_message_key(message),
                             .headers = slc_message_headers(message),
                             .message = message};
    slc_route_message(exchange, &input, route);
    exchange->messages_out += route->count;
    if (route->count > 0)
        (void)slc_publish_to(broker, message, route->queues, route->count);
}

static bool system_run(slc_broker *broker, uint64_t budget)
{
    slc_system *system = &broker->system;
    SLC_ASSERT(!system->publishing);
    system->publishing = true;
    for (; system->first != NULL && budget > 0; budget--) {
        slc_system_item *item = system->first;
        system->first = item->next;
        if (system->first == NULL)
            system->last = NULL;
        // What is logged because of a line of the log must not become a line of the log exchange.
        bool is_line = slc_slice_is(slc_message_exchange(item->message), SLC_LOG_EXCHANGE);
        if (is_line)
            slc_log_mute(true);
        system_publish(broker, item->vhost, item->message);
        if (is_line)
            slc_log_mute(false);
        slc_message_unref(item->message);
        slc_free(item);
    }
    system->publishing = false;
    return system->first != NULL;
}

void slc_system_flush(slc_broker *broker)
{
    (void)system_run(broker, UINT64_MAX);
}

bool slc_system_turn(slc_broker *broker)
{
    return system_run(broker, TURN_BUDGET);
}

/** Drop what was posted for vhost; NULL: everything. */
static void system_drop(slc_system *system, const slc_vhost *vhost)
{
    slc_system_item **at = &system->first;
    system->last = NULL;
    while (*at != NULL) {
        slc_system_item *item = *at;
        if (vhost != NULL && item->vhost != vhost) {
            system->last = item;
            at = &item->next;
            continue;
        }
        *at = item->next;
        slc_message_unref(item->message);
        slc_free(item);
    }
}

void slc_system_forget(const slc_vhost *vhost)
{
    system_drop(&vhost->broker->system, vhost);
}

void slc_system_fini(slc_broker *broker)
{
    system_drop(&broker->system, NULL);
    slc_route_fini(&broker->system.route);
    slc_free(broker->system.node);
    slc_free(broker->system.event_vhost);
    broker->system = (slc_system){0}; // what is deleted later makes no events
}

/* ---- exchanges ---- */

static void system_exchange(slc_broker *broker, slc_changes *changes, const slc_vhost *vhost,
                            const slc_id *vhost_id, const char *name)
{
    if (vhost != NULL && slc_vhost_exchange(vhost, slc_slice_str(name)) != NULL)
        return;
    slc_id id = slc_id_new(broker);
    slc_changes_put_exchange(changes, &id, vhost_id, slc_slice_str(name), slc_slice_str("topic"),
                             false, true, (slc_slice){0});
}

void slc_system_exchanges(slc_broker *broker, slc_changes *changes, const slc_vhost *vhost,
                          slc_slice name, const slc_id *id)
{
    const slc_system *system = &broker->system;
    if (system->event_vhost != NULL && slc_slice_is(name, system->event_vhost))
        system_exchange(broker, changes, vhost, id, SLC_EVENT_EXCHANGE);
    if (system->log_lines && slc_slice_is(name, broker->default_vhost))
        system_exchange(broker, changes, vhost, id, SLC_LOG_EXCHANGE);
}
