#include "core/trace.h"

#include "core/properties.h"
#include "core/system_message.h"

enum { ROUTED_BYTES_MAX = 65536 };

void slc_vhost_trace(slc_vhost *vhost, bool on)
{
    if (vhost->traced == on)
        return;
    vhost->traced = on;
    vhost->broker->traced_vhosts += on ? 1 : UINT32_MAX;
}

bool slc_vhost_traced(const slc_vhost *vhost)
{
    return vhost->traced;
}

/* ---- headers ---- */

/** RabbitMQ says signedint of every number; one that is larger would be cut there. */
static void put_number(slc_table_builder *b, const char *key, uint64_t value)
{
    if (value <= INT32_MAX)
        slc_table_put_i32(b, key, (int32_t)value);
    else
        slc_table_put_i64(b, key, (int64_t)value);
}

static uint64_t number_of(slc_slice octets)
{
    uint64_t value = 0;
    for (size_t i = 0; i < octets.bytes; i++)
        value = value << 8 | octets.data[i];
    return value;
}

static void put_properties(slc_table_builder *b, const slc_message *message)
{
    static const struct {
        slc_property property;
        enum { TEXT, NUMBER, TABLE } type;
        const char *name;
    } known[] = {
        {SLC_PROPERTY_CONTENT_TYPE, TEXT, "content_type"},
        {SLC_PROPERTY_CONTENT_ENCODING, TEXT, "content_encoding"},
        {SLC_PROPERTY_HEADERS, TABLE, "headers"},
        {SLC_PROPERTY_DELIVERY_MODE, NUMBER, "delivery_mode"},
        {SLC_PROPERTY_PRIORITY, NUMBER, "priority"},
        {SLC_PROPERTY_CORRELATION_ID, TEXT, "correlation_id"},
        {SLC_PROPERTY_REPLY_TO, TEXT, "reply_to"},
        {SLC_PROPERTY_EXPIRATION, TEXT, "expiration"},
        {SLC_PROPERTY_MESSAGE_ID, TEXT, "message_id"},
        {SLC_PROPERTY_TIMESTAMP, NUMBER, "timestamp"},
        {SLC_PROPERTY_TYPE, TEXT, "type"},
        {SLC_PROPERTY_USER_ID, TEXT, "user_id"},
        {SLC_PROPERTY_APP_ID, TEXT, "app_id"},
        {SLC_PROPERTY_CLUSTER_ID, TEXT, "cluster_id"},
    };
    slc_table_open(b, "properties", SLC_TYPE_TABLE);
    for (size_t i = 0; i < SLC_ARRAY_COUNT(known); i++) {
        slc_slice value;
        if (!slc_message_property(message, known[i].property, &value))
            continue;
        switch (known[i].type) {
        case TEXT:
            slc_table_put_longstr(b, known[i].name, value);
            break;
        case NUMBER:
            put_number(b, known[i].name, number_of(value));
            break;
        case TABLE:
            slc_table_put_table(b, known[i].name, value);
            break;
        }
    }
    slc_table_close(b);
}

/** The key, then those of the headers CC and BCC. @spec amqp-semantics 11.4 */
static void put_keys(slc_table_builder *b, const slc_message *message)
{
    slc_slice *more;
    uint32_t count = slc_message_more_keys(message, &more);
    slc_table_open(b, "routing_keys", SLC_TYPE_ARRAY);
    slc_table_put_longstr(b, NULL, slc_message_key(message));
    for (uint32_t i = 0; i < count; i++)
        slc_table_put_longstr(b, NULL, more[i]);
    slc_table_close(b);
    slc_free(more);
}

static void put_common(slc_table_builder *b, slc_session *session, const slc_message *message)
{
    const slc_client *client = session->client;
    slc_table_put_longstr(b, "exchange_name", slc_message_exchange(message));
    put_keys(b, message);
    put_properties(b, message);
    slc_table_put_text(b, "node", session->broker->system.node);
    slc_table_put_longstr(b, "vhost", client->vhost->name);
    slc_table_put_text(b, "connection", client->info.name);
    slc_table_put_i32(b, "channel", session->number);
    slc_table_put_text(b, "user", client->info.user);
}

/* ---- messages ---- */

static bool is_wanted(const slc_session *session, const slc_message *message)
{
    const slc_vhost *vhost = session->client->vhost;
    return vhost->traced && !slc_slice_is(slc_message_exchange(message), SLC_TRACE_EXCHANGE) &&
           slc_system_wanted(vhost, SLC_TRACE_EXCHANGE);
}

static void trace_post(slc_session *session, const char *what, slc_slice name,
                       const slc_table_builder *b, const slc_message *message)
{
    slc_buffer key = {0};
    slc_buffer_text(&key, what);
    slc_buffer_put(&key, name.data, name.bytes);
    slc_system_post(session->client->vhost, SLC_TRACE_EXCHANGE, slc_buffer_slice(&key),
                    &(slc_system_properties){.headers = slc_table_builder_content(b)},
                    slc_message_body_slice(message));
    slc_buffer_fini(&key);
}

void slc_trace_publish(slc_session *session, const slc_message *message, slc_destination **queues,
                       uint32_t count)
{
    if (!is_wanted(session, message))
        return;
    slc_table_builder b = {0};
    put_common(&b, session, message);
    slc_table_open(&b, "routed_queues", SLC_TYPE_ARRAY);
    size_t bytes = 0;
    for (uint32_t i = 0; i < count && bytes < ROUTED_BYTES_MAX; i++) {
        slc_table_put_longstr(&b, NULL, queues[i]->name);
        bytes += queues[i]->name.bytes;
    }
    slc_table_close(&b);
    trace_post(session, "publish.", slc_message_exchange(message), &b, message);
    slc_table_builder_fini(&b);
    // Whoever asks the queue of the firehose behind this publish finds it there.
    slc_system_flush(session->broker);
}

void slc_trace_deliver(slc_session *session, const slc_queue *queue, const slc_message *message,
                       bool redelivered)
{
    if (!is_wanted(session, message))
        return;
    slc_table_builder b = {0};
    put_common(&b, session, message);
    slc_table_put_i32(&b, "redelivered", redelivered);
    trace_post(session, "deliver.", queue->dest.name, &b, message);
    slc_table_builder_fini(&b);
}
