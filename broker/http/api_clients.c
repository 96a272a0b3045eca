// Connections, channels and consumers.
#include <stdio.h>

#include "auth/auth.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "http/api.h"

/* ---- connections ---- */

#define CONNECTION_FIELDS(X)                                                                       \
    X(pid, (slc_json_key(w, "pid"), slc_api_pid(api, c, 0)))                                       \
    X(name, slc_json_put_text(w, "name", c->info.name))                                            \
    X(user_provided_name, connection_given_name(w, c))                                             \
    X(vhost, slc_json_put_slice(w, "vhost", slc_vhost_name(c->vhost)))                             \
    X(user, slc_json_put_text(w, "user", c->info.user))                                            \
    X(user_who_performed_action, slc_json_put_text(w, "user_who_performed_action", c->info.user))  \
    X(node, slc_json_put_text(w, "node", api->options->node))                                      \
    X(type, slc_json_put_text(w, "type", "network"))                                               \
    X(protocol, slc_json_put_text(w, "protocol", connection_protocol(c)))                          \
    X(state, slc_json_put_text(w, "state", c->info.state))                                         \
    X(host, slc_json_put_text(w, "host", c->info.host))                                            \
    X(port, slc_json_put_u64(w, "port", c->info.port))                                             \
    X(peer_host, slc_json_put_text(w, "peer_host", c->info.peer_host))                             \
    X(peer_port, slc_json_put_u64(w, "peer_port", c->info.peer_port))                              \
    X(ssl, slc_json_put_bool(w, "ssl", c->info.tls_protocol[0] != 0))                              \
    X(ssl_protocol, slc_json_put_text(w, "ssl_protocol", c->info.tls_protocol))                    \
    X(ssl_key_exchange, slc_json_put_text(w, "ssl_key_exchange", c->info.tls_key_exchange))        \
    X(ssl_cipher, slc_json_put_text(w, "ssl_cipher", c->info.tls_cipher))                          \
    X(ssl_hash, slc_json_put_text(w, "ssl_hash", c->info.tls_hash))                                \
    X(peer_cert_subject, slc_json_put_text(w, "peer_cert_subject", c->info.peer_subject))          \
    X(peer_cert_issuer, slc_json_put_text(w, "peer_cert_issuer", c->info.peer_issuer))             \
    X(peer_cert_validity, slc_json_put_text(w, "peer_cert_validity", c->info.peer_validity))       \
    X(auth_mechanism, slc_json_put_text(w, "auth_mechanism", c->info.auth_mechanism))              \
    X(channels, slc_json_put_u64(w, "channels", c->session_count))                                 \
    X(channel_max, slc_json_put_u64(w, "channel_max", c->info.channel_max))                        \
    X(frame_max, slc_json_put_u64(w, "frame_max", c->info.frame_max))                              \
    X(timeout, slc_json_put_u64(w, "timeout", c->info.heartbeat_s))                                \
    X(connected_at, slc_json_put_u64(w, "connected_at", c->info.connected_at_ms))                  \
    X(client_properties, (slc_json_key(w, "client_properties"),                                    \
                          slc_json_table(w, c->info.client_properties, api->select.raw)))          \
    X(recv_oct, slc_json_put_u64(w, "recv_oct", c->info.recv_octets))                              \
    X(recv_cnt, slc_json_put_u64(w, "recv_cnt", c->info.recv_count))                               \
    X(send_oct, slc_json_put_u64(w, "send_oct", c->info.send_octets))                              \
    X(send_cnt, slc_json_put_u64(w, "send_cnt", c->info.send_count))                               \
    X(send_pend, slc_json_put_u64(w, "send_pend", c->info.send_pending))                           \
    X(recv_oct_details, connection_rate_put(api, c, 0))                                            \
    X(recv_cnt_details, connection_rate_put(api, c, 1))                                            \
    X(send_oct_details, connection_rate_put(api, c, 2))                                            \
    X(send_cnt_details, connection_rate_put(api, c, 3))

enum connection_field {
#define X(name, statement) CONNECTION_##name,
    CONNECTION_FIELDS(X) CONNECTION_FIELD_COUNT
#undef X
};
static const char *const connection_fields[] = {
#define X(name, statement) #name,
    CONNECTION_FIELDS(X)
#undef X
};

// HTTP spells the protocol out where rabbitmqctl prints Erlang's tuple.
static const char *connection_protocol(const slc_client *c)
{
    return strcmp(c->info.protocol, "{0,9,1}") == 0 ? "AMQP 0-9-1" : c->info.protocol;
}

static void connection_given_name(slc_json *w, const slc_client *c)
{
    slc_value value;
    if (slc_table_find(c->info.client_properties, slc_slice_str("connection_name"), &value) &&
        value.type == SLC_TYPE_LONGSTR)
        slc_json_put_slice(w, "user_provided_name", value.bytes);
}

static void connection_rate_put(slc_api *api, const slc_client *c, uint32_t which)
{
    slc_api_rated *r = &api->rated;
    if (r->of != c) {
        r->of = c;
        r->counters[0] = (slc_api_counter){"recv_oct", c->info.recv_octets};
        r->counters[1] = (slc_api_counter){"recv_cnt", c->info.recv_count};
        r->counters[2] = (slc_api_counter){"send_oct", c->info.send_octets};
        r->counters[3] = (slc_api_counter){"send_cnt", c->info.send_count};
        r->count = 4;
        uint64_t wall_ms = slc_clock_wall_ms();
        uint64_t age_ms = wall_ms > c->info.connected_at_ms ? wall_ms - c->info.connected_at_ms : 0;
        slc_api_rated_look(api, r, 'c', (slc_slice){0}, slc_slice_of(&c->id, sizeof c->id),
                           SLC_API_DATA_RATES, age_ms);
    }
    slc_api_rated_put(api, r, which, SLC_API_DATA_RATES, false);
}

static void connection_write(slc_api *api, const slc_client *c)
{
    slc_json *w = &api->w;
    slc_json_open(w, '{');
    for (uint32_t i = 0; i < api->select.count; i++) {
        switch ((enum connection_field)api->select.fields[i]) {
#define X(name, statement)                                                                         \
    case CONNECTION_##name:                                                                        \
        statement;                                                                                 \
        break;
            CONNECTION_FIELDS(X)
#undef X
        case CONNECTION_FIELD_COUNT:
            SLC_ASSERT(!"a field");
        }
    }
    slc_json_close(w, '}');
}

static void connection_each(slc_client *client, void *arg)
{
    slc_api *api = arg;
    if ((api->vhost == NULL || api->vhost == client->vhost) &&
        slc_http_may_see_of(api->request, client->info.user))
        connection_write(api, client);
}

static slc_api connections_begin(slc_http_request *request)
{
    slc_api api = slc_api_begin(request);
    slc_api_select_init(&api.select, request, connection_fields, CONNECTION_FIELD_COUNT,
                        CONNECTION_FIELD_COUNT, "name vhost user node");
    return api;
}

// The vhost of the path as a filter; false: answered with 404.
static bool filter_by_vhost(slc_api *api)
{
    api->vhost = slc_broker_vhost(api->broker, api->request->vars[0]);
    if (api->vhost != NULL)
        return true;
    slc_http_not_found(api->request);
    slc_http_answer(api->request);
    return false;
}

static void connections_answer(slc_api *api)
{
    slc_json_open(&api->w, '[');
    slc_broker_each_client(api->broker, connection_each, api);
    slc_json_close(&api->w, ']');
    slc_api_end(api);
}

void slc_api_connections(slc_http_request *request)
{
    slc_api api = connections_begin(request);
    connections_answer(&api);
}

void slc_api_vhost_connections(slc_http_request *request)
{
    slc_api api = connections_begin(request);
    if (filter_by_vhost(&api))
        connections_answer(&api);
}

// The connection of the path; NULL: answered. Closing that of another user needs an administrator, seeing it less.
static slc_client *connection_named(slc_api *api)
{
    slc_http_request *request = api->request;
    slc_client *client = slc_api_client(api, request->vars[0]);
    bool allowed = client != NULL && slc_http_may_see_of(request, client->info.user);
    if (request->method != SLC_HTTP_GET && client != NULL && request->user != NULL &&
        (request->tags & SLC_AUTH_TAG_ADMINISTRATOR) == 0)
        allowed = strcmp(client->info.user, request->user) == 0;
    if (allowed)
        return client;
    if (client == NULL)
        slc_http_not_found(request);
    else
        slc_http_unauthorised(request, "User not authorised to access object");
    slc_http_answer(request);
    return NULL;
}

void slc_api_connection(slc_http_request *request)
{
    slc_api api = connections_begin(request);
    slc_client *client = connection_named(&api);
    if (client == NULL)
        return;
    connection_write(&api, client);
    slc_api_end(&api);
}

/* ---- those of a user: /connections/username/USER ---- */

typedef struct user_filter {
    slc_api *api;
    slc_slice user;
} user_filter;

static bool user_allowed(slc_http_request *request, slc_auth_tag tag)
{
    if ((request->tags & tag) != 0 || slc_slice_is(request->vars[0], request->user))
        return true;
    slc_http_unauthorised(request, "User not authorised to access object");
    slc_http_answer(request);
    return false;
}

static void connection_of_user(slc_client *client, void *arg)
{
    const user_filter *filter = arg;
    if (!slc_slice_is(filter->user, client->info.user))
        return;
    slc_json *w = &filter->api->w;
    slc_json_open(w, '{');
    slc_json_put_text(w, "name", client->info.name);
    slc_json_put_slice(w, "vhost", slc_vhost_name(client->vhost));
    slc_json_put_text(w, "user", client->info.user);
    slc_json_put_text(w, "node", filter->api->options->node);
    slc_json_close(w, '}');
}

void slc_api_connections_of_user(slc_http_request *request)
{
    if (!user_allowed(request, SLC_AUTH_TAG_MONITORING))
        return;
    slc_api api = slc_api_begin(request);
    user_filter filter = {.api = &api, .user = request->vars[0]};
    slc_json_open(&api.w, '[');
    slc_broker_each_client(api.broker, connection_of_user, &filter);
    slc_json_close(&api.w, ']');
    slc_api_end(&api);
}

static const char *close_reason(const slc_http_request *request)
{
    return request->reason != NULL ? request->reason : "Closed via management API";
}

void slc_api_connections_of_user_close(slc_http_request *request)
{
    if (!user_allowed(request, SLC_AUTH_TAG_ADMINISTRATOR))
        return;
    slc_broker_close_user(slc_http_options_of(request->http)->broker, request->vars[0],
                          close_reason(request));
    slc_api_done(request);
}

void slc_api_connection_close(slc_http_request *request)
{
    slc_api api = slc_api_begin(request);
    slc_client *client = connection_named(&api);
    if (client == NULL)
        return;
    client->ops->close(client, close_reason(request));
    slc_api_done(request);
}

/* ---- channels ---- */

#define CHANNEL_FIELDS(X)                                                                          \
    X(pid, (slc_json_key(w, "pid"), slc_api_pid(api, s->client, s->number)))                       \
    X(connection_pid, (slc_json_key(w, "connection_pid"), slc_api_pid(api, s->client, 0)))         \
    X(name, channel_name(w, s->client, s->number))                                                 \
    X(number, slc_json_put_u64(w, "number", s->number))                                            \
    X(vhost, slc_json_put_slice(w, "vhost", slc_vhost_name(s->client->vhost)))                     \
    X(user, slc_json_put_text(w, "user", s->client->info.user))                                    \
    X(user_who_performed_action,                                                                   \
      slc_json_put_text(w, "user_who_performed_action", s->client->info.user))                     \
    X(node, slc_json_put_text(w, "node", api->options->node))                                      \
    X(state, slc_json_put_text(w, "state", "running"))                                             \
    X(connection_details,                                                                          \
      (slc_json_key(w, "connection_details"), slc_api_connection_details(api, s->client)))         \
    X(consumer_count, slc_json_put_u64(w, "consumer_count", s->consumers))                         \
    X(prefetch_count, slc_json_put_u64(w, "prefetch_count", s->prefetch_count))                    \
    X(global_prefetch_count,                                                                       \
      slc_json_put_u64(w, "global_prefetch_count", s->global_prefetch_count))                      \
    X(confirm, slc_json_put_bool(w, "confirm", s->confirm))                                        \
    X(transactional, slc_json_put_bool(w, "transactional", s->transactional))                      \
    X(messages_unacknowledged, slc_json_put_u64(w, "messages_unacknowledged", s->unacked))         \
    X(messages_unconfirmed, slc_json_put_u64(w, "messages_unconfirmed", s->unconfirmed))           \
    X(messages_uncommitted, slc_json_put_u64(w, "messages_uncommitted", s->uncommitted))           \
    X(acks_uncommitted, slc_json_put_u64(w, "acks_uncommitted", s->acks_uncommitted))              \
    X(pending_raft_commands, slc_json_put_u64(w, "pending_raft_commands", 0))                      \
    X(idle_since, slc_api_idle_since(w, s->active_ms))                                             \
    X(message_stats, channel_message_stats(api, s))                                                \
    X(consumer_details, channel_consumers(api, s))                                                 \
    X(publishes, channel_none(api, "publishes"))                                                   \
    X(deliveries, channel_none(api, "deliveries"))

enum channel_field {
#define X(name, statement) CHANNEL_##name,
    CHANNEL_FIELDS(X) CHANNEL_FIELD_COUNT
#undef X
};
static const char *const channel_fields[] = {
#define X(name, statement) #name,
    CHANNEL_FIELDS(X)
#undef X
};

static const char *channel_text(const slc_client *client, uint16_t number, char *text, size_t cap)
{
    snprintf(text, cap, "%.240s (%u)", client->info.name, (unsigned)number);
    return text;
}

static void channel_name(slc_json *w, const slc_client *client, uint16_t number)
{
    char text[256];
    slc_json_put_text(w, "name", channel_text(client, number, text, sizeof text));
}

static void channel_message_stats(slc_api *api, const slc_session_info *s)
{
    slc_api_rated *r = &api->rated;
    uint8_t key[sizeof s->client->id + sizeof s->number];
    if (memcmp(&s->stats, &(slc_stats){0}, sizeof s->stats) == 0)
        return;
    memcpy(key, &s->client->id, sizeof s->client->id);
    memcpy(key + sizeof s->client->id, &s->number, sizeof s->number);
    slc_api_stats_counters(r, &s->stats);
    slc_api_rated_look(api, r, 's', (slc_slice){0}, slc_slice_of(key, sizeof key),
                       SLC_API_MSG_RATES, UINT64_MAX);
    slc_api_message_stats(api, r, false);
}

static void channel_consumers(slc_api *api, const slc_session_info *s)
{
    if (!api->want_one)
        return;
    slc_json_key(&api->w, "consumer_details");
    slc_api_consumers_put(api, s->client->vhost, (slc_slice){0}, s->client, s->number);
}

static void channel_none(slc_api *api, const char *key)
{
    if (api->want_one)
        slc_api_none(&api->w, key);
}

static void channel_each(const slc_session_info *s, void *arg)
{
    slc_api *api = arg;
    if ((api->vhost != NULL && api->vhost != s->client->vhost) ||
        (api->client != NULL && api->client != s->client) ||
        !slc_http_may_see_of(api->request, s->client->info.user))
        return;
    slc_json *w = &api->w;
    slc_json_open(w, '{');
    for (uint32_t i = 0; i < api->select.count; i++) {
        switch ((enum channel_field)api->select.fields[i]) {
#define X(name, statement)                                                                         \
    case CHANNEL_##name:                                                                           \
        statement;                                                                                 \
        break;
            CHANNEL_FIELDS(X)
#undef X
        case CHANNEL_FIELD_COUNT:
            SLC_ASSERT(!"a field");
        }
    }
    slc_json_close(w, '}');
}

static slc_api channels_begin(slc_http_request *request)
{
    slc_api api = slc_api_begin(request);
    slc_api_select_init(&api.select, request, channel_fields, CHANNEL_FIELD_COUNT,
                        CHANNEL_FIELD_COUNT, NULL);
    return api;
}

static void channels_answer(slc_api *api)
{
    slc_json_open(&api->w, '[');
    slc_broker_each_session(api->broker, channel_each, api);
    slc_json_close(&api->w, ']');
    slc_api_end(api);
}

void slc_api_channels(slc_http_request *request)
{
    slc_api api = channels_begin(request);
    channels_answer(&api);
}

void slc_api_vhost_channels(slc_http_request *request)
{
    slc_api api = channels_begin(request);
    if (filter_by_vhost(&api))
        channels_answer(&api);
}

void slc_api_connection_channels(slc_http_request *request)
{
    slc_api api = channels_begin(request);
    if (connection_named(&api) != NULL)
        channels_answer(&api);
}

static void channel_match(const slc_session_info *s, void *arg)
{
    slc_api *api = arg;
    char text[256];
    if (api->found ||
        !slc_slice_is(api->want, channel_text(s->client, s->number, text, sizeof text)))
        return;
    api->found = true;
    if (slc_http_may_see_of(api->request, s->client->info.user))
        channel_each(s, api);
    else
        slc_http_unauthorised(api->request, "User not authorised to access object");
}

void slc_api_channel(slc_http_request *request)
{
    slc_api api = channels_begin(request);
    api.want = request->vars[0];
    api.want_one = true;
    slc_broker_each_session(api.broker, channel_match, &api);
    slc_api_end(&api);
}

/* ---- consumers ---- */

static void consumer_write(slc_api *api, const slc_consumer_info *consumer, const slc_vhost *vhost)
{
    slc_json *w = &api->w;
    const slc_client *client = slc_session_client(consumer->session);
    uint16_t number = slc_session_number(consumer->session);
    slc_json_open(w, '{');
    slc_json_key(w, "queue");
    slc_json_open(w, '{');
    slc_json_put_slice(w, "name", consumer->queue);
    slc_json_put_slice(w, "vhost", slc_vhost_name(vhost));
    slc_json_close(w, '}');
    slc_json_key(w, "channel_details");
    slc_json_open(w, '{');
    channel_name(w, client, number);
    slc_json_key(w, "pid");
    slc_api_pid(api, client, number);
    slc_json_put_u64(w, "number", number);
    slc_json_put_text(w, "connection_name", client->info.name);
    slc_json_put_text(w, "node", api->options->node);
    slc_json_put_text(w, "peer_host", client->info.peer_host);
    slc_json_put_u64(w, "peer_port", client->info.peer_port);
    slc_json_put_text(w, "user", client->info.user);
    slc_json_close(w, '}');
    slc_json_put_slice(w, "consumer_tag", consumer->tag);
    slc_json_put_bool(w, "ack_required", consumer->ack_required);
    slc_json_put_bool(w, "exclusive", consumer->exclusive);
    slc_json_put_bool(w, "active", consumer->active);
    slc_json_put_text(w, "activity_status", consumer->activity);
    slc_json_put_u64(w, "prefetch_count", consumer->prefetch_count);
    slc_json_put_u64(w, "consumer_timeout", consumer->ack_timeout_ms);
    slc_json_key(w, "arguments");
    slc_json_table(w, consumer->arguments, api->select.raw);
    slc_json_close(w, '}');
}

static void consumer_each(const slc_consumer_info *consumer, void *arg)
{
    slc_api *api = arg;
    if (slc_http_may_see_of(api->request, slc_session_client(consumer->session)->info.user))
        consumer_write(api, consumer, api->vhost);
}

typedef struct consumer_filter {
    slc_api *api;
    const slc_vhost *vhost;
    slc_slice queue;
    const slc_client *client;
    uint16_t number;
} consumer_filter;

static void consumer_if_of(const slc_consumer_info *consumer, void *arg)
{
    const consumer_filter *filter = arg;
    if ((filter->queue.bytes == 0 || slc_slice_equal(filter->queue, consumer->queue)) &&
        (filter->client == NULL || (filter->client == slc_session_client(consumer->session) &&
                                    filter->number == slc_session_number(consumer->session))))
        consumer_write(filter->api, consumer, filter->vhost);
}

void slc_api_consumers_put(slc_api *api, slc_vhost *vhost, slc_slice queue,
                           const slc_client *client, uint16_t number)
{
    consumer_filter filter = {
        .api = api, .vhost = vhost, .queue = queue, .client = client, .number = number};
    slc_json_open(&api->w, '[');
    slc_vhost_each_consumer(vhost, consumer_if_of, &filter);
    slc_json_close(&api->w, ']');
}

static void consumers_each_vhost(slc_vhost *vhost, void *arg)
{
    slc_api *api = arg;
    api->vhost = vhost;
    slc_vhost_each_consumer(vhost, consumer_each, api);
}

void slc_api_consumers(slc_http_request *request)
{
    slc_api api = slc_api_begin(request);
    slc_slice value;
    api.select.raw =
        slc_path_param(&request->path, "arguments", &value) && slc_slice_is(value, "raw");
    slc_json_open(&api.w, '[');
    if (request->var_count == 0)
        slc_api_each_listed_vhost(&api, consumers_each_vhost);
    else if (!slc_api_each_vhost(&api, consumers_each_vhost))
        return;
    slc_json_close(&api.w, ']');
    slc_api_end(&api);
}
