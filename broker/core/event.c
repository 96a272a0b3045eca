#include "core/event.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

#include "core/json_table.h"
#include "core/system_message.h"

enum { PID_BYTES = 512, NAME_BYTES = 512 };

/** Where events go; NULL: nowhere. */
static slc_vhost *event_vhost(const slc_broker *broker)
{
    if (broker->system.event_vhost == NULL || !broker->started)
        return NULL;
    slc_vhost *vhost = slc_broker_vhost(broker, slc_slice_str(broker->system.event_vhost));
    return vhost != NULL && slc_system_wanted(vhost, SLC_EVENT_EXCHANGE) ? vhost : NULL;
}

static bool events_on(const slc_broker *broker)
{
    return broker->system.event_vhost != NULL && event_vhost(broker) != NULL;
}

static void put_field(slc_table_builder *b, const slc_event_field *field)
{
    switch (field->type) {
    case SLC_EVENT_IS_TEXT:
        slc_table_put_longstr(b, field->name, field->text);
        break;
    case SLC_EVENT_IS_NUMBER:
        slc_table_put_i64(b, field->name, field->number);
        break;
    case SLC_EVENT_IS_BOOL:
        slc_table_put_bool(b, field->name, field->number != 0);
        break;
    case SLC_EVENT_IS_TABLE:
        slc_table_put_table(b, field->name, field->text);
        break;
    }
}

/** fields: all of them but the time, which is added. */
static void event_send(slc_vhost *vhost, const char *name, slc_table_builder *fields)
{
    const slc_env *env = &vhost->broker->env;
    uint64_t ms = env->wall_ms(env->arg);
    slc_table_put_i64(fields, "timestamp_in_ms", (int64_t)ms);
    slc_system_properties properties = {
        .headers = slc_table_builder_content(fields), .timestamp_s = ms / 1000, .persistent = true};
    slc_system_post(vhost, SLC_EVENT_EXCHANGE, slc_slice_str(name), &properties, (slc_slice){0});
}

void slc_event_post(slc_broker *broker, const char *name, const slc_event_field *fields,
                    uint32_t count)
{
    slc_vhost *vhost = event_vhost(broker);
    if (vhost == NULL)
        return;
    slc_table_builder b = {0};
    for (uint32_t i = 0; i < count; i++) {
        if (fields[i].name != NULL)
            put_field(&b, &fields[i]);
    }
    event_send(vhost, name, &b);
    slc_table_builder_fini(&b);
}

void slc_event_table(slc_broker *broker, const char *name, slc_slice fields)
{
    slc_vhost *vhost = event_vhost(broker);
    if (vhost == NULL)
        return;
    slc_table_builder b = {0};
    slc_buffer_put(&b.buffer, fields.data, fields.bytes);
    event_send(vhost, name, &b);
    slc_table_builder_fini(&b);
}

/* ---- names ---- */

/** "<node.N.C.0>", as the lists show it: a connection has channel 0. */
static const char *pid_text(const slc_client *client, uint32_t channel, char *text)
{
    snprintf(text, PID_BYTES, "<%.400s.%" PRIu64 ".%" PRIu32 ".0>", client->broker->system.node,
             client->id, channel);
    return text;
}

/* ---- vhosts, exchanges, queues, bindings ---- */

static slc_event_field event_actor(const slc_broker *broker)
{
    return SLC_EVENT_TEXT("user_who_performed_action", slc_broker_actor(broker));
}

void slc_event_put_tags(slc_table_builder *fields, slc_slice tags)
{
    slc_table_open(fields, "tags", SLC_TYPE_ARRAY);
    for (size_t at = 0; at < tags.bytes;) {
        const uint8_t *comma = memchr(tags.data + at, ',', tags.bytes - at);
        size_t end = comma != NULL ? (size_t)(comma - tags.data) : tags.bytes;
        slc_table_put_longstr(fields, NULL, slc_slice_of(tags.data + at, end - at));
        at = end + 1;
    }
    slc_table_close(fields);
}

void slc_event_vhost(slc_vhost *vhost, const char *what)
{
    const slc_vhost_metadata *m = &vhost->metadata;
    char event[32];
    if (!events_on(vhost->broker))
        return;
    slc_table_builder b = {0};
    slc_table_put_longstr(&b, "name", vhost->name);
    if (strcmp(what, "deleted") != 0) {
        slc_table_put_longstr(&b, "description", m->description);
        slc_event_put_tags(&b, m->tags);
        slc_table_put_longstr(&b, "default_queue_type",
                              m->default_queue_type.bytes > 0 ? m->default_queue_type
                                                              : slc_slice_str("undefined"));
        slc_table_put_bool(&b, "tracing", vhost->traced);
    }
    slc_table_put_text(&b, "user_who_performed_action", slc_broker_actor(vhost->broker));
    snprintf(event, sizeof event, "vhost.%s", what);
    slc_event_table(vhost->broker, event, slc_table_builder_content(&b));
    slc_table_builder_fini(&b);
}

void slc_event_exchange(const slc_exchange *exchange, bool created)
{
    slc_vhost *vhost = exchange->vhost;
    if (!created)
        slc_event(vhost->broker, "exchange.deleted", SLC_EVENT_SLICE("name", exchange->dest.name),
                  SLC_EVENT_SLICE("vhost", vhost->name), event_actor(vhost->broker));
    else
        slc_event(vhost->broker, "exchange.created", SLC_EVENT_SLICE("name", exchange->dest.name),
                  SLC_EVENT_TEXT("type", exchange->kind->name),
                  SLC_EVENT_BOOL("durable", exchange->dest.durable),
                  SLC_EVENT_BOOL("auto_delete", exchange->auto_delete),
                  SLC_EVENT_BOOL("internal", exchange->internal),
                  SLC_EVENT_TABLE("arguments", exchange->arguments),
                  SLC_EVENT_SLICE("vhost", vhost->name), event_actor(vhost->broker));
}

void slc_event_queue(const slc_queue *queue, bool created)
{
    slc_broker *broker = queue->broker;
    if (!events_on(broker))
        return;
    slc_slice vhost = queue->vhost->name;
    if (!created) {
        slc_event(broker, "queue.deleted", SLC_EVENT_SLICE("name", queue->dest.name),
                  SLC_EVENT_SLICE("vhost", vhost), event_actor(broker));
        return;
    }
    char pid[PID_BYTES] = "";
    if (queue->owner != NULL)
        pid_text(queue->owner, 0, pid);
    slc_event(broker, "queue.created", SLC_EVENT_SLICE("name", queue->dest.name),
              SLC_EVENT_BOOL("durable", queue->dest.durable),
              SLC_EVENT_BOOL("auto_delete", queue->auto_delete),
              SLC_EVENT_BOOL("exclusive", queue->owner != NULL),
              SLC_EVENT_TABLE("arguments", queue->arguments), SLC_EVENT_TEXT("owner_pid", pid),
              SLC_EVENT_SLICE("vhost", vhost), event_actor(broker));
}

void slc_event_binding(const slc_binding *binding, bool created)
{
    const slc_vhost *vhost = binding->source->vhost;
    slc_event(vhost->broker, created ? "binding.created" : "binding.deleted",
              SLC_EVENT_TEXT("source_kind", "exchange"),
              SLC_EVENT_SLICE("source_name", binding->source->dest.name),
              SLC_EVENT_TEXT("destination_kind",
                             binding->destination->kind == SLC_DEST_QUEUE ? "queue" : "exchange"),
              SLC_EVENT_SLICE("destination_name", binding->destination->name),
              SLC_EVENT_SLICE("routing_key", binding->key),
              SLC_EVENT_TABLE("arguments", binding->arguments),
              SLC_EVENT_SLICE("vhost", vhost->name), event_actor(vhost->broker));
}

/* ---- clients ---- */

static void client_created(const slc_client *client)
{
    const slc_client_info *info = &client->info;
    char pid[PID_BYTES];
    slc_event(
        client->broker, "connection.created", SLC_EVENT_TEXT("pid", pid_text(client, 0, pid)),
        SLC_EVENT_TEXT("name", info->name), SLC_EVENT_TEXT("node", client->broker->system.node),
        SLC_EVENT_TEXT("type", "network"), SLC_EVENT_TEXT("host", info->host),
        SLC_EVENT_NUMBER("port", info->port), SLC_EVENT_TEXT("peer_host", info->peer_host),
        SLC_EVENT_NUMBER("peer_port", info->peer_port), SLC_EVENT_TEXT("user", info->user),
        SLC_EVENT_SLICE("vhost", client->vhost->name), SLC_EVENT_TEXT("protocol", info->protocol),
        SLC_EVENT_TEXT("auth_mechanism", info->auth_mechanism),
        SLC_EVENT_NUMBER("timeout", info->heartbeat_s),
        SLC_EVENT_NUMBER("frame_max", info->frame_max),
        SLC_EVENT_NUMBER("channel_max", info->channel_max),
        SLC_EVENT_NUMBER("connected_at", info->connected_at_ms),
        SLC_EVENT_BOOL("ssl", info->tls_protocol[0] != 0),
        SLC_EVENT_TEXT("ssl_protocol", info->tls_protocol),
        SLC_EVENT_TEXT("ssl_key_exchange", info->tls_key_exchange),
        SLC_EVENT_TEXT("ssl_cipher", info->tls_cipher), SLC_EVENT_TEXT("ssl_hash", info->tls_hash),
        SLC_EVENT_TEXT("peer_cert_subject", info->peer_subject),
        SLC_EVENT_TEXT("peer_cert_issuer", info->peer_issuer),
        SLC_EVENT_TEXT("peer_cert_validity", info->peer_validity),
        SLC_EVENT_TABLE("client_properties", info->client_properties),
        SLC_EVENT_TEXT("user_who_performed_action", info->user));
}

void slc_event_client(const slc_client *client, bool created)
{
    if (client->hidden || !events_on(client->broker))
        return;
    if (created) {
        client_created(client);
        return;
    }
    char pid[PID_BYTES];
    slc_event(client->broker, "connection.closed", SLC_EVENT_TEXT("pid", pid_text(client, 0, pid)),
              SLC_EVENT_TEXT("name", client->info.name),
              SLC_EVENT_TEXT("node", client->broker->system.node),
              SLC_EVENT_TABLE("client_properties", client->info.client_properties),
              SLC_EVENT_TEXT("user_who_performed_action", client->info.user));
}

void slc_event_session(const slc_session *session, bool created)
{
    if (session->client->hidden || !events_on(session->broker))
        return;
    const slc_client *client = session->client;
    char pid[PID_BYTES], connection[PID_BYTES], name[NAME_BYTES];
    pid_text(client, session->number, pid);
    pid_text(client, 0, connection);
    snprintf(name, sizeof name, "%.480s (%u)", client->info.name, (unsigned)session->number);
    if (!created) {
        slc_event(session->broker, "channel.closed", SLC_EVENT_TEXT("pid", pid),
                  SLC_EVENT_TEXT("user_who_performed_action", client->info.user));
        return;
    }
    slc_event(session->broker, "channel.created", SLC_EVENT_TEXT("pid", pid),
              SLC_EVENT_TEXT("name", name), SLC_EVENT_TEXT("connection", connection),
              SLC_EVENT_NUMBER("number", session->number),
              SLC_EVENT_TEXT("user", client->info.user),
              SLC_EVENT_SLICE("vhost", client->vhost->name),
              SLC_EVENT_TEXT("user_who_performed_action", client->info.user));
}

void slc_event_consumer(const slc_consumer *consumer, bool created)
{
    const slc_session *session = consumer->session;
    if (!events_on(session->broker))
        return;
    const slc_client *client = session->client;
    char channel[PID_BYTES];
    pid_text(client, session->number, channel);
    if (!created) {
        slc_event(session->broker, "consumer.deleted",
                  SLC_EVENT_SLICE("consumer_tag", consumer->tag),
                  SLC_EVENT_TEXT("channel", channel),
                  SLC_EVENT_SLICE("queue", consumer->queue->dest.name),
                  SLC_EVENT_SLICE("vhost", client->vhost->name),
                  SLC_EVENT_TEXT("user_who_performed_action", client->info.user));
        return;
    }
    slc_event(session->broker, "consumer.created", SLC_EVENT_SLICE("consumer_tag", consumer->tag),
              SLC_EVENT_BOOL("exclusive", consumer->exclusive),
              SLC_EVENT_BOOL("ack_required", !consumer->no_ack), SLC_EVENT_TEXT("channel", channel),
              SLC_EVENT_SLICE("queue", consumer->queue->dest.name),
              SLC_EVENT_NUMBER("prefetch_count", consumer->prefetch),
              SLC_EVENT_TABLE("arguments", consumer->arguments),
              SLC_EVENT_SLICE("vhost", client->vhost->name),
              SLC_EVENT_TEXT("user_who_performed_action", client->info.user));
}

void slc_event_alarm(slc_broker *broker, const char *source, bool set)
{
    slc_event(broker, set ? "alarm.set" : "alarm.cleared", SLC_EVENT_TEXT("source", source),
              SLC_EVENT_TEXT("node", broker->system.node));
}

/* ---- parameters ---- */

static void put_slice(json_t *object, const char *key, slc_slice text)
{
    json_object_set_new(object, key, json_stringn((const char *)text.data, text.bytes));
}

static void event_json(slc_broker *broker, const char *event, const json_t *fields)
{
    slc_buffer table = {0};
    // A value that no table can hold (nested too deep) was refused when it was set, or is left out with its event.
    if (slc_table_from_json(fields, &table, NULL) == SLC_OK)
        slc_event_table(broker, event, slc_buffer_slice(&table));
    slc_buffer_fini(&table);
}

void slc_event_parameter(slc_broker *broker, const slc_vhost *vhost, slc_slice component,
                         slc_slice name, const struct json_t *value)
{
    if (!events_on(broker))
        return;
    bool is_policy = slc_slice_is(component, "policy");
    bool is_operator = slc_slice_is(component, "operator_policy");
    json_t *fields = json_object();
    put_slice(fields, "name", name);
    if (vhost != NULL)
        put_slice(fields, "vhost", vhost->name);
    put_slice(fields, "user_who_performed_action", slc_slice_str(slc_broker_actor(broker)));
    if (is_policy || is_operator) {
        json_t *policy = json_copy(fields);
        if (value != NULL)
            json_object_update(policy, (json_t *)(uintptr_t)value);
        event_json(broker,
                   value != NULL ? "policy.set"
                   : is_policy   ? "policy.cleared"
                                 : "operator.policy.cleared",
                   policy);
        json_decref(policy);
    }
    if (vhost != NULL && slc_slice_is(component, "vhost-limits")) {
        json_t *limits = json_copy(fields);
        if (value != NULL)
            json_object_update(limits, (json_t *)(uintptr_t)value);
        event_json(broker, value != NULL ? "vhost.limits.set" : "vhost.limits.cleared", limits);
        json_decref(limits);
    }
    if (!is_policy) {
        put_slice(fields, "component", component.bytes > 0 ? component : slc_slice_str("global"));
        if (value != NULL)
            json_object_set(fields, "value", (json_t *)(uintptr_t)value);
        event_json(broker, value != NULL ? "parameter.set" : "parameter.cleared", fields);
    }
    json_decref(fields);
}
