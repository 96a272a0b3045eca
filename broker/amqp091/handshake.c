/* From the protocol header to connection.open-ok, and the other methods of channel 0.
 * States: amqp_impl.h. @spec amqp-semantics 1.1, 3.4, 4 */
#include <inttypes.h>
#include <stdio.h>

#include "amqp091/amqp_impl.h"
#include "base/log.h"
#include "core/event.h"
#include "core/parameter.h"

/** A password would cross the network for everybody to read: it is not asked for, then no good client sends it. */
static bool clear_text(const amqp_conn *c)
{
    return c->server->settings.require_tls && !c->secure && !c->loopback;
}

static unsigned mechanisms_offered(const slc_amqp_server *server, bool tls)
{
    unsigned set = server->settings.mechanisms;
    if (server->settings.anonymous_user == NULL)
        set &= ~(unsigned)SLC_AMQP_MECHANISM_ANONYMOUS;
    return tls ? set : set & ~(unsigned)SLC_AMQP_MECHANISM_EXTERNAL;
}

static unsigned mechanisms_of(const amqp_conn *c)
{
    return clear_text(c) ? 0 : mechanisms_offered(c->server, c->secure);
}

static const char *const mechanism_words[] = {"PLAIN", "AMQPLAIN", "EXTERNAL",
                                              "ANONYMOUS"}; // by bit

bool slc_amqp_offers(const slc_amqp_server *server, slc_slice mechanism, bool tls)
{
    for (size_t i = 0; i < SLC_ARRAY_COUNT(mechanism_words); i++)
        if (slc_slice_is(mechanism, mechanism_words[i]))
            return (mechanisms_offered(server, tls) & 1u << i) != 0;
    return false;
}

static const char *mechanism_names(const amqp_conn *c, char out[64])
{
    out[0] = '\0';
    for (size_t i = 0; i < SLC_ARRAY_COUNT(mechanism_words); i++)
        if ((mechanisms_of(c) & 1u << i) != 0)
            snprintf(out + strlen(out), 64 - strlen(out), "%s%s", out[0] != 0 ? " " : "",
                     mechanism_words[i]);
    return out;
}

/** NULL: not offered to this connection. */
static const slc_sasl_mechanism *mechanism_find(const amqp_conn *c, slc_slice name)
{
    for (size_t i = 0; i < SLC_ARRAY_COUNT(mechanism_words); i++)
        if (slc_slice_is(name, mechanism_words[i]))
            return (mechanisms_of(c) & 1u << i) != 0 ? slc_sasl_find(name) : NULL;
    return NULL;
}

/** What TLS has settled is shown from now on. */
static void take_tls_info(amqp_conn *c)
{
    const slc_tls_info *tls = slc_conn_tls_info(c->io);
    slc_client_info *info = &c->client.info;
    if (tls == NULL)
        return;
    info->tls_protocol = tls->protocol;
    info->tls_key_exchange = tls->key_exchange;
    info->tls_cipher = tls->cipher;
    info->tls_hash = tls->hash;
    info->peer_subject = tls->subject;
    info->peer_issuer = tls->issuer;
    info->peer_validity = tls->validity;
}

static void send_start(amqp_conn *c)
{
    char names[64];
    slc_amqp_method method = {
        .id = SLC_AMQP_CONNECTION_START,
        .connection_start = {.version_minor = 9,
                             .server_properties = slc_amqp_server_properties(c->server),
                             .mechanisms = slc_slice_str(mechanism_names(c, names)),
                             .locales = slc_slice_str("en_US")},
    };
    slc_amqp_send(c, 0, &method);
}

size_t slc_amqp_handshake_header(amqp_conn *c, slc_slice input)
{
    const char *what = "";
    switch (slc_amqp_header_check(input)) {
    case SLC_AMQP_HEADER_MORE:
        return 0;
    case SLC_AMQP_HEADER_OK:
        take_tls_info(c);
        slc_amqp_log_accepted(c);
        send_start(c);
        slc_amqp_conn_set_state(c, AMQP_START);
        return SLC_AMQP_HEADER_BYTES;
    case SLC_AMQP_HEADER_VERSION:
        what = "a version of AMQP other than 0-9-1";
        break;
    case SLC_AMQP_HEADER_TLS:
        what = "TLS client on plain port";
        break;
    case SLC_AMQP_HEADER_HTTP:
        what = "HTTP on AMQP port";
        break;
    default:
        what = "bad header";
        break;
    }
    slc_log(SLC_LOG_WARN, "connection", "connection.bad_header",
            SLC_FIELDS(SLC_F_STR("connection", c->name)), "closing AMQP connection (%s): %s",
            c->name, what);
    slc_conn_append(c->io, slc_amqp_header_ours, SLC_AMQP_HEADER_BYTES);
    slc_amqp_conn_end(c, AMQP_LINGER_MS);
    return input.bytes;
}

/** A capability counts as set only if it is a bool with value true. */
static bool capability(slc_slice capabilities, const char *name)
{
    slc_value value;
    return slc_table_find(capabilities, slc_slice_str(name), &value) &&
           value.type == SLC_TYPE_BOOL && value.boolean;
}

static void keep_properties(amqp_conn *c, slc_slice table)
{
    slc_value value;
    slc_free(c->properties);
    c->properties = NULL;
    c->client.info.client_properties = (slc_slice){0};
    if (table.bytes == 0)
        return;
    c->properties = slc_strndup((const char *)table.data, table.bytes);
    c->client.info.client_properties = slc_slice_of(c->properties, table.bytes);
    if (slc_table_find(table, slc_slice_str("capabilities"), &value) &&
        value.type == SLC_TYPE_TABLE) {
        c->cap_auth_close = capability(value.bytes, "authentication_failure_close");
        c->cap_cancel_notify = capability(value.bytes, "consumer_cancel_notify");
        c->client.cancel_notify = c->cap_cancel_notify;
        c->cap_blocked = capability(value.bytes, "connection.blocked");
    }
}

static void send_tune(amqp_conn *c)
{
    const slc_amqp_settings *s = &c->server->settings;
    slc_amqp_method method = {
        .id = SLC_AMQP_CONNECTION_TUNE,
        .connection_tune = {.channel_max = s->channel_max,
                            .frame_max = s->frame_max,
                            .heartbeat = s->heartbeat_s},
    };
    slc_amqp_send(c, 0, &method);
    slc_amqp_conn_set_state(c, AMQP_TUNE);
}

/** error NULL: granted. */
static void login_event(const amqp_conn *c, const slc_error *error)
{
    const slc_client_info *info = &c->client.info;
    slc_event(
        c->server->broker,
        error == NULL ? "user.authentication.success" : "user.authentication.failure",
        SLC_EVENT_TEXT("name", c->user != NULL ? c->user : ""),
        SLC_EVENT_TEXT("connection_type", "network"), SLC_EVENT_TEXT("connection_name", c->name),
        SLC_EVENT_TEXT("host", info->host), SLC_EVENT_TEXT("peer_host", info->peer_host),
        SLC_EVENT_NUMBER("peer_port", info->peer_port), SLC_EVENT_TEXT("protocol", info->protocol),
        SLC_EVENT_TEXT("auth_mechanism", c->mechanism->name),
        SLC_EVENT_BOOL("ssl", info->tls_protocol[0] != 0),
        error == NULL ? (slc_event_field){0} : SLC_EVENT_TEXT("error", error->text));
}

static void login_granted(amqp_conn *c)
{
    c->client.info.user = c->user;
    c->client.info.auth_mechanism = c->mechanism->name;
    login_event(c, NULL);
    send_tune(c);
}

static void login_refused(amqp_conn *c, const slc_error *error)
{
    slc_log(
        SLC_LOG_ERROR, "connection", "connection.login_refused",
        SLC_FIELDS(SLC_F_STR("connection", c->name), SLC_F_STR("mechanism", c->mechanism->name)),
        "Error on AMQP connection (%s, state: %s): %s login refused: %s", c->name,
        slc_amqp_state_name(c), c->mechanism->name, error->text);
    login_event(c, error);
    slc_amqp_conn_error(
        c, SLC_AMQP_ACCESS_REFUSED, c->login_id,
        "Login was refused using authentication mechanism %s. For details see the broker "
        "logfile.",
        c->mechanism->name);
}

/** From auth, on an empty stack; the connection is still there, or it had cancelled. */
static void login_checked(slc_err rc, const slc_error *error, void *arg)
{
    amqp_conn *c = arg;
    c->login = NULL;
    slc_conn_resume(c->io, SLC_PAUSE_PENDING);
    if (rc == SLC_OK)
        login_granted(c);
    else
        login_refused(c, error);
}

/** One answer of the client in its SASL exchange. */
static void sasl_step(amqp_conn *c, uint32_t id, slc_slice response)
{
    slc_sasl_credentials given = {0};
    slc_slice challenge = {0};
    slc_error error = {0};
    slc_err rc = c->mechanism->respond(response, &given, &challenge, &error);
    if (rc == SLC_EPENDING) {
        slc_amqp_method method = {
            .id = SLC_AMQP_CONNECTION_SECURE,
            .connection_secure = {.challenge = challenge},
        };
        c->challenged = true;
        slc_amqp_send(c, 0, &method);
        return;
    }
    if (rc != SLC_OK) {
        slc_amqp_conn_error(c, SLC_AMQP_SYNTAX_ERROR, id, "%s", error.text);
        return;
    }
    char login[256] = "";
    c->login_id = id;
    if (c->mechanism->external) {
        const slc_amqp_settings *s = &c->server->settings;
        rc = slc_conn_peer_login(c->io, s->cert_login, s->cert_san, s->cert_san_index, login,
                                 &error);
        given.user = slc_slice_str(login);
        if (rc == SLC_OK)
            rc = slc_auth_check_external(c->server->auth, given.user, c->loopback, &error);
        if (rc != SLC_OK) {
            login_refused(c, &error);
            return;
        }
    }
    if (c->mechanism->anonymous) {
        given.user = slc_slice_str(c->server->settings.anonymous_user);
        given.password = slc_slice_str(c->server->settings.anonymous_pass);
    }
    slc_free(c->user);
    c->user = slc_strndup((const char *)given.user.data, given.user.bytes);
    if (c->mechanism->external) {
        login_granted(c);
        return;
    }
    if (slc_auth_check(c->server->auth, given.user, given.password, c->client.info.peer_host,
                       c->loopback, login_checked, c, &c->login) == SLC_OK)
        login_granted(c);
    else
        slc_conn_pause(c->io, SLC_PAUSE_PENDING);
}

static void handle_start_ok(amqp_conn *c, const slc_amqp_connection_start_ok *ok)
{
    keep_properties(c, ok->client_properties);
    c->mechanism = mechanism_find(c, ok->mechanism);
    if (c->mechanism == NULL) {
        slc_amqp_conn_error(c, SLC_AMQP_COMMAND_INVALID, SLC_AMQP_CONNECTION_START_OK,
                            "unknown authentication mechanism '%.*s'%s",
                            SLC_SLICE_FMT(ok->mechanism),
                            clear_text(c) ? ": this broker wants TLS (auth.require_tls)" : "");
        return;
    }
    sasl_step(c, SLC_AMQP_CONNECTION_START_OK, ok->response);
}

/** @spec 4.3; 0 from the client means the server's value. False: refused. */
static bool negotiate(amqp_conn *c, const char *name, uint32_t offered, uint32_t wanted,
                      uint32_t min, uint32_t *out)
{
    if (wanted == 0) {
        *out = offered;
        return true;
    }
    if (wanted < min)
        slc_amqp_conn_error(c, SLC_AMQP_NOT_ALLOWED, SLC_AMQP_CONNECTION_TUNE_OK,
                            "negotiated %s = %" PRIu32
                            " is lower than the minimum allowed value (%" PRIu32 ")",
                            name, wanted, min);
    else if (offered != 0 && wanted > offered)
        slc_amqp_conn_error(c, SLC_AMQP_NOT_ALLOWED, SLC_AMQP_CONNECTION_TUNE_OK,
                            "negotiated %s = %" PRIu32
                            " is higher than the maximum allowed value (%" PRIu32 ")",
                            name, wanted, offered);
    else {
        *out = wanted;
        return true;
    }
    return false;
}

static void handle_tune_ok(amqp_conn *c, const slc_amqp_connection_tune_ok *ok)
{
    const slc_amqp_settings *s = &c->server->settings;
    if (!negotiate(c, "frame_max", s->frame_max, ok->frame_max, SLC_AMQP_FRAME_MIN,
                   &c->frame_max) ||
        !negotiate(c, "channel_max", s->channel_max, ok->channel_max, 1, &c->channel_max))
        return;
    c->heartbeat_ms = ok->heartbeat * 1000u;
    c->heard_octets = c->io->recv_octets;
    c->heard_check_ms = slc_amqp_now_ms(c) + c->heartbeat_ms;
    c->heard_missed = 0;
    c->client.info.frame_max = c->frame_max;
    c->client.info.channel_max = c->channel_max;
    c->client.info.heartbeat_s = ok->heartbeat;
    slc_amqp_conn_set_state(c, AMQP_OPENING);
}

/** Limits of the vhost (NULL: it does not exist) and of the user. @spec 4.4 */
static bool open_limited(amqp_conn *c, slc_vhost *vhost)
{
    slc_broker *broker = c->server->broker;
    int64_t limit = vhost != NULL ? slc_vhost_limit(vhost, "max-connections") : -1;
    if (limit >= 0 && slc_broker_count_clients(broker, vhost, NULL, NULL) >= (uint64_t)limit) {
        slc_amqp_conn_error(c, SLC_AMQP_NOT_ALLOWED, SLC_AMQP_CONNECTION_OPEN,
                            "access to vhost '%.*s' refused for user '%s': connection limit "
                            "(%" PRId64 ") is reached",
                            SLC_SLICE_FMT(slc_vhost_name(vhost)), c->user, limit);
        return true;
    }
    const slc_auth_user *user = slc_auth_user_find(c->server->auth, slc_slice_str(c->user));
    if (user != NULL && user->max_connections >= 0 &&
        slc_broker_count_clients(broker, NULL, c->user, NULL) >= (uint64_t)user->max_connections) {
        slc_amqp_conn_error(c, SLC_AMQP_NOT_ALLOWED, SLC_AMQP_CONNECTION_OPEN,
                            "connection refused for user '%s': user connection limit (%" PRId64
                            ") is reached",
                            c->user, user->max_connections);
        return true;
    }
    return false;
}

static void handle_open(amqp_conn *c, const slc_amqp_connection_open *open)
{
    slc_amqp_server *server = c->server;
    uint32_t connections_max = server->settings.connections_max;
    if (connections_max != 0 && server->open_count >= connections_max) {
        slc_amqp_conn_error(c, SLC_AMQP_NOT_ALLOWED, SLC_AMQP_CONNECTION_OPEN,
                            "connection refused: node connection limit (%" PRIu32 ") is reached",
                            connections_max);
        return;
    }
    slc_vhost *vhost = slc_broker_vhost(server->broker, open->virtual_host);
    if (open_limited(c, vhost))
        return;
    if (vhost == NULL || slc_vhost_is_doomed(vhost)) {
        slc_amqp_conn_error(c, SLC_AMQP_NOT_ALLOWED, SLC_AMQP_CONNECTION_OPEN,
                            "vhost %.*s not found", SLC_SLICE_FMT(open->virtual_host));
        return;
    }
    const slc_auth_user *user = slc_auth_user_find(server->auth, slc_slice_str(c->user));
    if (user == NULL ||
        !slc_auth_may_enter(server->auth, slc_slice_str(c->user), open->virtual_host)) {
        slc_amqp_conn_error(c, SLC_AMQP_NOT_ALLOWED, SLC_AMQP_CONNECTION_OPEN,
                            "access to vhost '%.*s' refused for user '%s'",
                            SLC_SLICE_FMT(open->virtual_host), c->user);
        return;
    }
    c->client.info.impersonator = (user->tag_bits & SLC_AUTH_TAG_IMPERSONATOR) != 0;
    c->client.broker = server->broker;
    c->client.vhost = vhost;
    c->vhost = slc_strndup((const char *)open->virtual_host.data, open->virtual_host.bytes);
    c->client.ops = &slc_amqp_client_ops;
    c->client.arg = c;
    slc_amqp_conn_set_state(c, AMQP_RUNNING);
    slc_client_open(&c->client);
    c->linked = true;
    server->open_count++;
    slc_amqp_conn_alarm(c, slc_broker_pressure_reason(server->broker) != NULL);
    c->flow = slc_broker_flowing(server->broker);

    slc_amqp_method ok = {.id = SLC_AMQP_CONNECTION_OPEN_OK};
    slc_amqp_send(c, 0, &ok);
    slc_amqp_log_opened(c);
}

static amqp_verdict handle_close(amqp_conn *c)
{
    if (slc_amqp_conn_close_sessions(c) == SLC_EPENDING) {
        slc_conn_pause(c->io, SLC_PAUSE_PENDING);
        return AMQP_WAIT;
    }
    // Exclusive queues go before close-ok: clients reconnect and redeclare the same name at once (4.5).
    slc_amqp_log_closed(c);
    slc_amqp_conn_unlink(c);
    slc_amqp_send_empty(c, 0, SLC_AMQP_CONNECTION_CLOSE_OK);
    slc_amqp_conn_end_after_peer(c);
    return AMQP_TAKEN;
}

amqp_verdict slc_amqp_connection_method(amqp_conn *c, slc_slice payload)
{
    uint32_t id = slc_amqp_method_peek(payload);
    if (c->state == AMQP_CLOSING) {
        if (id == SLC_AMQP_CONNECTION_CLOSE)
            slc_amqp_send_empty(c, 0, SLC_AMQP_CONNECTION_CLOSE_OK);
        else if (id == SLC_AMQP_CONNECTION_CLOSE_OK)
            slc_amqp_conn_end(c, AMQP_LINGER_MS);
        return AMQP_TAKEN;
    }
    slc_amqp_method method;
    slc_error error = {0};
    slc_err rc = slc_amqp_method_decode(payload, &method, &error);
    if (rc != SLC_OK) {
        slc_amqp_conn_error(c, slc_amqp_code_of(rc), id, "%s", error.text);
        return AMQP_TAKEN;
    }
    if (id == SLC_AMQP_CONNECTION_CLOSE)
        return handle_close(c);
    if (id == SLC_AMQP_CONNECTION_START_OK && c->state == AMQP_START && c->mechanism == NULL) {
        handle_start_ok(c, &method.connection_start_ok);
    } else if (id == SLC_AMQP_CONNECTION_SECURE_OK && c->state == AMQP_START &&
               c->mechanism != NULL && c->login == NULL) {
        sasl_step(c, id, method.connection_secure_ok.response);
    } else if (id == SLC_AMQP_CONNECTION_TUNE_OK && c->state == AMQP_TUNE) {
        handle_tune_ok(c, &method.connection_tune_ok);
    } else if (id == SLC_AMQP_CONNECTION_OPEN && c->state == AMQP_OPENING) {
        handle_open(c, &method.connection_open);
    } else if (id == SLC_AMQP_CONNECTION_UPDATE_SECRET && c->state == AMQP_RUNNING) {
        // Credentials of the internal store never expire: nothing changes (4.7).
        slc_amqp_send_empty(c, 0, SLC_AMQP_CONNECTION_UPDATE_SECRET_OK);
    } else {
        slc_amqp_conn_error(c, SLC_AMQP_CHANNEL_ERROR, id,
                            "unexpected method in connection state %s", slc_amqp_state_name(c));
    }
    return AMQP_TAKEN;
}
