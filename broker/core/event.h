/** Events: the life cycles of objects, published to amq.rabbitmq.event of the vhost that event_exchange.vhost names.
 *
 *      slc_event(broker, "user.created", SLC_EVENT_SLICE("name", user), SLC_EVENT_TEXT("user_who_performed_action", by));
 *
 *  The routing key is the event's name, the headers are its fields and timestamp_in_ms, the body is empty; persistent, with a
 *  timestamp. Names and fields are those of RabbitMQ's plugin rabbitmq_event_exchange, with these differences: arguments and
 *  client_properties are tables, not lists of Erlang terms as text; addresses read 127.0.0.1, not {127,0,0,1}.
 *  user_who_performed_action is who asked for it (slc_broker_act_as), or rmq-internal: what expires, what goes with its last consumer
 *  or its connection, and the bindings (and so exchanges) that go with a queue, whoever deletes that.
 *
 *      queue.created queue.deleted exchange.created exchange.deleted binding.created binding.deleted
 *      connection.created connection.closed channel.created channel.closed consumer.created consumer.deleted
 *      vhost.created vhost.updated vhost.deleted vhost.limits.* alarm.set alarm.cleared policy.* parameter.*        made in core
 *      user.* permission.* topic.permission.*               made by whoever changes those (auth/auth.h, amqp091/handshake.c)
 *
 *  Off (no vhost), each costs a look at a pointer, and none is on the way of a message. What is there at the start makes no
 *  events. They wait in system_message.h, so slc_event may be called anywhere on the loop. @spec operations 4
 */
#ifndef SLC_CORE_EVENT_H
#define SLC_CORE_EVENT_H

#include <stdint.h>

#include "base/slice.h"
#include "base/table.h"
#include "core/client.h"
#include "core/topology.h"

typedef struct slc_event_field {
    const char *name; // NULL: left out
    enum { SLC_EVENT_IS_TEXT, SLC_EVENT_IS_NUMBER, SLC_EVENT_IS_BOOL, SLC_EVENT_IS_TABLE } type;
    int64_t number; // and the bool
    slc_slice text; // and the table's content
} slc_event_field;

#define SLC_EVENT_SLICE(name_, slice_)                                                             \
    ((slc_event_field){.name = (name_), .type = SLC_EVENT_IS_TEXT, .text = (slice_)})
#define SLC_EVENT_TEXT(name_, text_) SLC_EVENT_SLICE(name_, slc_slice_str(text_))
#define SLC_EVENT_NUMBER(name_, number_)                                                           \
    ((slc_event_field){.name = (name_), .type = SLC_EVENT_IS_NUMBER, .number = (int64_t)(number_)})
#define SLC_EVENT_BOOL(name_, bool_)                                                               \
    ((slc_event_field){.name = (name_), .type = SLC_EVENT_IS_BOOL, .number = (bool_)})
#define SLC_EVENT_TABLE(name_, content_)                                                           \
    ((slc_event_field){.name = (name_), .type = SLC_EVENT_IS_TABLE, .text = (content_)})

/** fields are borrowed for the call. */
void slc_event_post(slc_broker *broker, const char *name, const slc_event_field *fields,
                    uint32_t count);
#define slc_event(broker_, name_, ...)                                                             \
    slc_event_post((broker_), (name_), (const slc_event_field[]){__VA_ARGS__},                     \
                   sizeof((const slc_event_field[]){__VA_ARGS__}) / sizeof(slc_event_field))

/** The same with the fields as a table's content. */
void slc_event_table(slc_broker *broker, const char *name, slc_slice fields);

/** The array `tags`, of tags separated by commas. */
void slc_event_put_tags(slc_table_builder *fields, slc_slice tags);

/* ---- what core says of its own objects; each does nothing while events are off ---- */

typedef struct slc_consumer slc_consumer;
struct json_t;

/** what: "created", "updated" (what it says of itself), "deleted". */
void slc_event_vhost(slc_vhost *vhost, const char *what);
void slc_event_exchange(const slc_exchange *exchange, bool created);
void slc_event_queue(const slc_queue *queue, bool created);
void slc_event_binding(const slc_binding *binding, bool created);
void slc_event_client(const slc_client *client, bool created);
void slc_event_session(const slc_session *session, bool created);
void slc_event_consumer(const slc_consumer *consumer, bool created);
/** A runtime parameter was set, or cleared (value NULL); component is empty for a global one (vhost NULL). parameter.set and
 *  parameter.cleared; of policies policy.set and policy.cleared instead; of operator policies both, with operator.policy.cleared; of
 *  the limits of a vhost also vhost.limits.set and vhost.limits.cleared. */
void slc_event_parameter(slc_broker *broker, const slc_vhost *vhost, slc_slice component,
                         slc_slice name, const struct json_t *value);
/** source: "memory", "disk". */
void slc_event_alarm(slc_broker *broker, const char *source, bool set);

#endif
