/* Life of a connection. The drawing of its states is in amqp_impl.h. @spec amqp-semantics 3.4, 3.5, 4, 19 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "amqp091/amqp_impl.h"
#include "base/clock.h"
#include "base/log.h"
#include "core/growers.h"

void slc_amqp_conn_set_state(amqp_conn *c, amqp_state state)
{
    static const uint16_t arrows[] = {
        [AMQP_HEADER] = 1 << AMQP_START | 1 << AMQP_DEAF | 1 << AMQP_GONE,
        [AMQP_START] = 1 << AMQP_TUNE | 1 << AMQP_CLOSING | 1 << AMQP_DEAF | 1 << AMQP_GONE,
        [AMQP_TUNE] = 1 << AMQP_OPENING | 1 << AMQP_CLOSING | 1 << AMQP_DEAF | 1 << AMQP_GONE,
        [AMQP_OPENING] = 1 << AMQP_RUNNING | 1 << AMQP_CLOSING | 1 << AMQP_DEAF | 1 << AMQP_GONE,
        [AMQP_RUNNING] = 1 << AMQP_CLOSING | 1 << AMQP_DEAF | 1 << AMQP_GONE,
        [AMQP_CLOSING] = 1 << AMQP_DEAF | 1 << AMQP_GONE,
        [AMQP_DEAF] = 1 << AMQP_GONE,
        [AMQP_GONE] = 0,
    };
    SLC_ASSERT((arrows[c->state] & 1u << state) != 0);
    c->state = (uint8_t)state;
    if (state == AMQP_RUNNING) {
        c->deadline_ms = 0;
        c->client.info.state = "running";
    } else if (state == AMQP_CLOSING || state == AMQP_DEAF) {
        c->client.info.state = "closing";
    }
}

const char *slc_amqp_state_name(const amqp_conn *c)
{
    static const char *const names[] = {
        [AMQP_HEADER] = "pre_init", [AMQP_START] = "starting",  [AMQP_TUNE] = "tuning",
        [AMQP_OPENING] = "opening", [AMQP_RUNNING] = "running", [AMQP_CLOSING] = "closing",
        [AMQP_DEAF] = "closing",    [AMQP_GONE] = "closed",
    };
    if (c->state == AMQP_START && c->challenged)
        return "securing";
    return names[c->state];
}

/* ---- making and freeing ---- */

static void name_host(char *out, size_t cap, const char *host, uint16_t port)
{
    bool v6 = strchr(host, ':') != NULL;
    snprintf(out, cap, v6 ? "[%s]:%u" : "%s:%u", host, port);
}

static void conn_tick(slc_conn *io, uint64_t now_ms);
static void conn_lost(slc_conn *io, slc_err reason);
static void conn_writable(slc_conn *io, bool writable);

static const slc_conn_ops conn_ops = {
    .input = slc_amqp_input,
    .sunk = slc_amqp_sunk,
    .writable = conn_writable,
    .tick = conn_tick,
    .lost = conn_lost,
};

void slc_amqp_conn_new(slc_amqp_server *server, int fd, const slc_peer *peer, struct slc_tls *tls)
{
    char from[80], to[80], name[168];
    name_host(from, sizeof from, peer->peer_host, peer->peer_port);
    name_host(to, sizeof to, peer->host, peer->port);
    snprintf(name, sizeof name, "%s -> %s", from, to);
    slc_conn_options options = {
        .high_bytes = server->settings.output_high_bytes,
        .low_bytes = server->settings.output_low_bytes,
        .tls = tls,
        .name = name,
    };
    amqp_conn *c = slc_alloc_zero(1, sizeof *c);
    c->server = server;
    c->loopback = peer->loopback;
    c->secure = tls != NULL;
    c->io = slc_conn_new(server->net, fd, &conn_ops, c, &options);
    if (c->io == NULL) {
        slc_free(c);
        return;
    }
    c->name = slc_strdup(name);
    slc_client_info *info = &c->client.info;
    info->name = c->name;
    info->user = "";
    info->protocol = "{0,9,1}";
    info->state = "starting";
    info->auth_mechanism = "";
    info->tls_protocol = info->tls_key_exchange = info->tls_cipher = info->tls_hash = "";
    info->peer_subject = info->peer_issuer = info->peer_validity = "";
    memcpy(info->host, peer->host, sizeof info->host);
    memcpy(info->peer_host, peer->peer_host, sizeof info->peer_host);
    info->port = peer->port;
    info->peer_port = peer->peer_port;
    info->connected_at_ms = slc_clock_wall_ms();
    c->deadline_ms = slc_amqp_now_ms(c) + server->settings.handshake_timeout_ms;
    DL_APPEND(server->conns, c);
    server->conn_count++;
    slc_log(SLC_LOG_DEBUG, "connection", "connection.tcp",
            SLC_FIELDS(SLC_F_STR("connection", c->name)), "TCP connection %s", c->name);
}

void slc_amqp_conn_free(amqp_conn *c)
{
    slc_amqp_server *server = c->server;
    SLC_ASSERT(c->state == AMQP_GONE);
    SLC_ASSERT(!c->linked);
    SLC_ASSERT(c->channels == NULL);
    SLC_ASSERT(c->login == NULL);
    if (c->deferred)
        DL_DELETE2(server->deferred, c, deferred_prev, deferred_next);
    DL_DELETE(server->conns, c);
    server->conn_count--;
    slc_free(c->forced);
    slc_free(c->name);
    slc_free(c->user);
    slc_free(c->vhost);
    slc_free(c->properties);
    slc_free(c);
    slc_amqp_server_conn_gone(server);
}

void slc_amqp_conn_unlink(amqp_conn *c)
{
    if (c->login != NULL) { // whatever ends it: nobody waits for the answer
        slc_auth_cancel(c->login);
        c->login = NULL;
    }
    amqp_channel *ch;
    amqp_channel *next;
    HASH_ITER(hh, c->channels, ch, next)
    {
        if (ch->session != NULL)
            slc_session_abandon(ch->session);
        ch->session = NULL;
        slc_amqp_channel_free(ch);
    }
    if (!c->linked)
        return;
    c->linked = false;
    c->server->open_count--;
    slc_client_close(&c->client);
    c->client.vhost = NULL; // it may be deleted from here on
}

slc_err slc_amqp_conn_close_sessions(amqp_conn *c)
{
    amqp_channel *ch;
    amqp_channel *next;
    HASH_ITER(hh, c->channels, ch, next)
    {
        if (ch->session != NULL && slc_session_close(ch->session) == SLC_EPENDING)
            return SLC_EPENDING;
        ch->session = NULL;
        slc_amqp_channel_free(ch);
    }
    return SLC_OK;
}

static void conn_ended(amqp_conn *c)
{
    c->io = NULL;
    if (!c->in_input)
        slc_amqp_conn_free(c);
}

void slc_amqp_conn_end_after_peer(amqp_conn *c)
{
    slc_amqp_conn_unlink(c);
    slc_amqp_conn_set_state(c, AMQP_GONE);
    slc_conn_close_after_peer(c->io, AMQP_LINGER_MS);
    conn_ended(c);
}

void slc_amqp_conn_end(amqp_conn *c, uint32_t linger_ms)
{
    slc_amqp_conn_unlink(c);
    slc_amqp_conn_set_state(c, AMQP_GONE);
    slc_conn_close(c->io, linger_ms);
    conn_ended(c);
}

static void conn_lost(slc_conn *io, slc_err reason)
{
    amqp_conn *c = io->arg;
    slc_amqp_log_lost(c, reason);
    slc_amqp_conn_unlink(c);
    slc_amqp_conn_set_state(c, AMQP_GONE);
    slc_amqp_conn_free(c);
}

/* ---- exceptions ---- */

/** Read on, whatever it was that we waited for: what comes is dropped now. */
static void conn_read_on(amqp_conn *c)
{
    slc_conn_resume(c->io, SLC_PAUSE_PENDING);
    slc_conn_resume(c->io, SLC_PAUSE_BLOCKED);
    slc_conn_resume(c->io, SLC_PAUSE_FLOW);
    slc_conn_resume(c->io, SLC_PAUSE_QUIESCE);
}

static void send_close(amqp_conn *c, uint16_t code, uint32_t id, const char *explanation)
{
    char reply[SLC_AMQP_REPLY_TEXT_CAP];
    slc_amqp_method method = {
        .id = SLC_AMQP_CONNECTION_CLOSE,
        .connection_close = {.reply_code = code,
                             .reply_text =
                                 slc_slice_str(slc_amqp_reply_text(code, explanation, reply)),
                             .class_id = (uint16_t)(id >> 16),
                             .method_id = (uint16_t)id},
    };
    slc_amqp_send(c, 0, &method);
}

/** @spec 3.4. deaf: the stream makes no sense any more. */
static void conn_fail(amqp_conn *c, uint16_t code, uint32_t id, const char *text,
                      uint32_t timeout_ms, bool deaf)
{
    bool early = c->state < AMQP_OPENING;
    if (c->state >= AMQP_CLOSING) {
        if (deaf && c->state == AMQP_CLOSING)
            slc_amqp_conn_set_state(c, AMQP_DEAF);
        return;
    }
    if (!(early && code == SLC_AMQP_ACCESS_REFUSED)) // that one was logged with its true reason
        slc_amqp_log_conn_error(c, code, id, text);
    slc_amqp_conn_unlink(c);
    if (!early || c->cap_auth_close)
        send_close(c, code, id, text);
    // A refused login has its own rule: with the capability the answer comes at once and the peer may hurry; without it,
    // and for whatever else goes wrong so early, the peer waits.
    if (early && !(c->cap_auth_close && code == SLC_AMQP_ACCESS_REFUSED))
        deaf = true;
    slc_amqp_conn_set_state(c, deaf ? AMQP_DEAF : AMQP_CLOSING);
    c->deadline_ms = slc_amqp_now_ms(c) + (deaf ? AMQP_DELAY_MS : timeout_ms);
    conn_read_on(c);
}

static uint32_t close_timeout_ms(const amqp_conn *c)
{
    if (c->heartbeat_ms == 0 || c->heartbeat_ms > AMQP_CLOSE_TIMEOUT_MS)
        return AMQP_CLOSE_TIMEOUT_MS;
    return c->heartbeat_ms;
}

void slc_amqp_conn_error(amqp_conn *c, uint16_t code, uint32_t id, const char *format, ...)
{
    char text[SLC_ERROR_TEXT_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    conn_fail(c, code, id, text, close_timeout_ms(c), false);
}

void slc_amqp_conn_frame_error(amqp_conn *c, uint16_t code, uint32_t id, const char *text)
{
    conn_fail(c, code, id, text, close_timeout_ms(c), code == SLC_AMQP_FRAME_ERROR);
}

void slc_amqp_conn_force(amqp_conn *c, const char *explanation, uint32_t timeout_ms)
{
    switch (c->state) {
    case AMQP_OPENING:
    case AMQP_RUNNING:
        conn_fail(c, SLC_AMQP_CONNECTION_FORCED, 0, explanation, timeout_ms, false);
        break;
    case AMQP_CLOSING:
    case AMQP_DEAF:
        if (c->deadline_ms > slc_amqp_now_ms(c) + timeout_ms)
            c->deadline_ms = slc_amqp_now_ms(c) + timeout_ms;
        conn_read_on(c);
        break;
    default:
        slc_amqp_conn_end(c, 0);
        break;
    }
}

/* ---- callbacks of core: nothing of core is called here ---- */

static void client_close(slc_client *client, const char *reason)
{
    amqp_conn *c = client->arg;
    if (c->forced != NULL)
        return;
    c->forced = slc_strdup(reason);
    slc_amqp_defer(c);
}

void slc_amqp_conn_deferred(amqp_conn *c)
{
    char *reason = c->forced;
    if (reason == NULL)
        return;
    c->forced = NULL;
    slc_amqp_conn_force(c, reason, close_timeout_ms(c));
    slc_free(reason);
}

void slc_amqp_conn_alarm(amqp_conn *c, bool on)
{
    if (c->alarm == on || c->state != AMQP_RUNNING)
        return;
    c->alarm = on;
    // One read more may come before this connection rests: let it be a small one, since it stays in memory.
    c->io->read_max = on ? 16 << 10 : 256 << 10;
    c->client.info.state = on ? "blocking" : "running";
    if (on || !c->blocked)
        return;
    c->blocked = false;
    if (c->told_blocked)
        slc_amqp_send_empty(c, 0, SLC_AMQP_CONNECTION_UNBLOCKED);
    c->told_blocked = false;
    slc_conn_resume(c->io, SLC_PAUSE_BLOCKED);
}

void slc_amqp_conn_block(amqp_conn *c)
{
    c->blocked = true;
    c->client.info.state = "blocked";
    slc_conn_pause(c->io, SLC_PAUSE_BLOCKED);
    if (!c->cap_blocked || c->told_blocked)
        return;
    c->told_blocked = true;
    char reason[256];
    slc_broker_blocked_reason(c->server->broker, &c->client, reason);
    slc_amqp_method method = {
        .id = SLC_AMQP_CONNECTION_BLOCKED,
        .connection_blocked = {.reason = slc_slice_str(reason)},
    };
    slc_amqp_send(c, 0, &method);
}

static void client_pressure(slc_client *client, bool blocked, const char *reason)
{
    (void)reason; // asked for when it is told
    slc_amqp_conn_alarm(client->arg, blocked);
}

static void client_flow(slc_client *client, bool on)
{
    amqp_conn *c = client->arg;
    c->flow = on;
    if (!on && c->state == AMQP_RUNNING)
        slc_conn_resume(c->io, SLC_PAUSE_FLOW);
}

static slc_auth_access auth_access(slc_access access)
{
    static const slc_auth_access map[] = {
        [SLC_ACCESS_CONFIGURE] = SLC_AUTH_CONFIGURE,
        [SLC_ACCESS_WRITE] = SLC_AUTH_WRITE,
        [SLC_ACCESS_READ] = SLC_AUTH_READ,
    };
    return map[access];
}

static bool client_may(slc_client *client, slc_access access, int kind, slc_slice name)
{
    const amqp_conn *c = client->arg;
    (void)kind; // one pattern for both
    return slc_auth_may(c->server->auth, slc_slice_str(c->user), slc_vhost_name(client->vhost),
                        auth_access(access), name);
}

static bool client_may_topic(slc_client *client, slc_access access, slc_slice exchange,
                             slc_slice key)
{
    const amqp_conn *c = client->arg;
    if (!slc_auth_has_topics(c->server->auth))
        return true;
    return slc_auth_may_topic(c->server->auth, slc_slice_str(c->user),
                              slc_vhost_name(client->vhost), exchange, auth_access(access), key,
                              (slc_slice){0});
}

const slc_client_ops slc_amqp_client_ops = {
    .may = client_may,
    .may_topic = client_may_topic,
    .close = client_close,
    .pressure = client_pressure,
    .flow = client_flow,
};

/* ---- callbacks of net ---- */

static void conn_writable(slc_conn *io, bool writable)
{
    amqp_conn *c = io->arg;
    for (amqp_channel *ch = c->channels; ch != NULL; ch = ch->hh.next)
        if (ch->session != NULL)
            slc_session_writable(ch->session, writable);
}

/** False: the peer is dead, the connection has ended. @spec 4.3 */
static bool heartbeat(amqp_conn *c, uint64_t now_ms)
{
    if (c->heartbeat_ms == 0)
        return true;
    if (c->io->pending == 0 && now_ms - c->io->last_send_ms >= c->heartbeat_ms / 2)
        slc_conn_append(c->io, slc_amqp_heartbeat, sizeof slc_amqp_heartbeat);
    if (now_ms < c->heard_check_ms)
        return true;
    c->heard_check_ms = now_ms + c->heartbeat_ms;
    // Who is not read cannot be heard.
    if (c->heard_octets != c->io->recv_octets || slc_conn_paused(c->io)) {
        c->heard_octets = c->io->recv_octets;
        c->heard_missed = 0;
        return true;
    }
    if (++c->heard_missed < 2)
        return true;
    slc_log(SLC_LOG_ERROR, "connection", "connection.heartbeat",
            SLC_FIELDS(SLC_F_STR("connection", c->name)),
            "closing AMQP connection (%s): missed heartbeats from client, timeout: %" PRIu32 "s",
            c->name, c->heartbeat_ms / 1000);
    slc_amqp_conn_end(c, 0);
    return false;
}

static void conn_tick(slc_conn *io, uint64_t now_ms)
{
    amqp_conn *c = io->arg;
    if (c->deadline_ms != 0 && now_ms >= c->deadline_ms) {
        if (c->state < AMQP_RUNNING)
            slc_log(io->recv_octets > 0 ? SLC_LOG_ERROR : SLC_LOG_DEBUG, "connection",
                    "connection.handshake", SLC_FIELDS(SLC_F_STR("connection", c->name)),
                    "closing AMQP connection (%s): handshake_timeout in state %s", c->name,
                    slc_amqp_state_name(c));
        slc_amqp_conn_end(c, c->state == AMQP_DEAF ? AMQP_LINGER_MS : 0);
        return;
    }
    if (c->state == AMQP_RUNNING && heartbeat(c, now_ms))
        slc_amqp_conn_refresh(c);
}

void slc_amqp_conn_refresh(amqp_conn *c)
{
    slc_client_info *info = &c->client.info;
    const slc_conn *io = c->io;
    info->recv_octets = io->recv_octets;
    info->recv_count = io->recv_count;
    info->send_octets = io->send_octets;
    info->send_count = io->send_count;
    info->send_pending = io->pending;
    if (c->state == AMQP_RUNNING && !c->alarm)
        info->state = (io->pause & (SLC_PAUSE_OUTPUT | SLC_PAUSE_FLOW)) != 0 ? "flow" : "running";
}
