/* The server: settings, listeners, the set of connections, deferred work, the stop. */
#include <stdio.h>
#include <sys/utsname.h>

#include "amqp091/amqp_impl.h"
#include "base/log.h"
#include "core/parameter.h"

uint64_t slc_amqp_now_ms(const amqp_conn *c)
{
    return slc_net_now_ms(c->server->net);
}

static void server_idle_closed(uv_handle_t *handle)
{
    slc_free(handle->data);
}

static void server_finish(slc_amqp_server *server)
{
    void (*done)(void *arg) = server->done;
    if (!server->stopping || server->conns != NULL || done == NULL)
        return;
    server->done = NULL;
    done(server->done_arg);
}

static void server_idle(uv_idle_t *idle)
{
    slc_amqp_server *server = idle->data;
    while (server->deferred != NULL) {
        amqp_conn *c = server->deferred;
        DL_DELETE2(server->deferred, c, deferred_prev, deferred_next);
        c->deferred = false;
        slc_amqp_conn_deferred(c);
    }
    uv_idle_stop(idle);
    server_finish(server);
}

static void server_wake(slc_amqp_server *server)
{
    if (!server->freed)
        uv_idle_start(&server->idle, server_idle);
}

void slc_amqp_defer(amqp_conn *c)
{
    if (c->deferred)
        return;
    c->deferred = true;
    DL_APPEND2(c->server->deferred, c, deferred_prev, deferred_next);
    server_wake(c->server);
}

void slc_amqp_server_conn_gone(slc_amqp_server *server)
{
    if (server->stopping && server->conns == NULL)
        server_wake(server);
}

static void properties_make(slc_amqp_server *server)
{
    static const char *const capabilities[] = {
        "publisher_confirms",     "exchange_exchange_bindings", "basic.nack",
        "consumer_cancel_notify", "connection.blocked",         "authentication_failure_close",
        "consumer_priorities",    "per_consumer_qos",           "direct_reply_to",
    };
    slc_table_builder *b = &server->properties;
    struct utsname system;
    char platform[160] = "Linux";
    if (uname(&system) == 0)
        snprintf(platform, sizeof platform, "%s %s", system.sysname, system.machine);
    slc_table_builder_fini(b);
    *b = (slc_table_builder){0};
    slc_table_open(b, "capabilities", SLC_TYPE_TABLE);
    for (size_t i = 0; i < SLC_ARRAY_COUNT(capabilities); i++)
        slc_table_put_bool(b, capabilities[i], true);
    slc_table_close(b);
    slc_table_put_text(b, "cluster_name", server->cluster_shown);
    slc_table_put_text(b, "copyright", "Copyright (c) the Sluice authors");
    slc_table_put_text(b, "information", "Licensed under the Apache License 2.0");
    slc_table_put_text(b, "platform", platform);
    slc_table_put_text(b, "product", server->product);
    slc_table_put_text(b, "version", server->version);
}

slc_slice slc_amqp_server_properties(slc_amqp_server *server)
{
    const char *name = slc_cluster_name(server->broker, server->cluster_name);
    if (server->cluster_shown == NULL || strcmp(server->cluster_shown, name) != 0) {
        slc_free(server->cluster_shown);
        server->cluster_shown = slc_strdup(name);
        properties_make(server);
    }
    return slc_table_builder_content(&server->properties);
}

static void text_set(char **at, const char *text, const char *otherwise)
{
    char *copy = slc_strdup(text != NULL ? text : otherwise);
    slc_free(*at);
    *at = copy;
}

void slc_amqp_set(slc_amqp_server *server, const slc_amqp_settings *settings)
{
    slc_amqp_settings *s = &server->settings;
    *s = *settings;
    if (s->mechanisms == 0)
        s->mechanisms = SLC_AMQP_MECHANISM_PLAIN | SLC_AMQP_MECHANISM_AMQPLAIN;
    if (s->max_message_bytes == 0)
        s->max_message_bytes = 16 << 20;
    if (s->initial_frame_max == 0)
        s->initial_frame_max = SLC_AMQP_FRAME_EARLY_MAX;
    if (s->handshake_timeout_ms == 0)
        s->handshake_timeout_ms = 10000;
    if (s->frame_max != 0 && s->frame_max < SLC_AMQP_FRAME_MIN)
        s->frame_max = SLC_AMQP_FRAME_MIN;
    text_set(&server->product, settings->product, "Sluice");
    text_set(&server->version, settings->version, SLC_VERSION);
    text_set(&server->cluster_name, settings->cluster_name, "sluice");
    text_set(&server->anonymous_user, settings->anonymous_user, "");
    text_set(&server->anonymous_pass, settings->anonymous_pass, "");
    if (s->anonymous_user != NULL)
        s->anonymous_user = server->anonymous_user;
    s->anonymous_pass = server->anonymous_pass;
    s->product = server->product;
    s->version = server->version;
    s->cluster_name = server->cluster_name;
    slc_free(server->cluster_shown);
    server->cluster_shown = NULL; // so the properties are made anew
}

slc_amqp_server *slc_amqp_new(slc_net *net, slc_broker *broker, slc_auth *auth,
                              const slc_amqp_settings *settings)
{
    slc_amqp_server *server = slc_alloc_zero(1, sizeof *server);
    server->net = net;
    server->broker = broker;
    server->auth = auth;
    SLC_ASSERT(uv_idle_init(slc_net_loop(net), &server->idle) == 0);
    server->idle.data = server;
    slc_amqp_set(server, settings);
    return server;
}

void slc_amqp_serve(slc_amqp_server *server, int fd, const slc_peer *peer)
{
    slc_amqp_conn_new(server, fd, peer, NULL);
}

static void server_accepted(slc_listener *listener, int fd, const slc_peer *peer, void *arg)
{
    slc_amqp_conn_new(arg, fd, peer, slc_listener_tls(listener));
}

slc_err slc_amqp_listen(slc_amqp_server *server, const slc_listener_options *options,
                        slc_listener **out, slc_error *error)
{
    slc_listener_options mine = *options;
    slc_listener *listener;
    mine.accepted = server_accepted;
    mine.arg = server;
    slc_err rc = slc_listener_open(server->net, &mine, &listener, error);
    if (rc != SLC_OK)
        return rc;
    server->listeners =
        slc_realloc(server->listeners, (server->listener_count + 1) * sizeof *server->listeners);
    server->listeners[server->listener_count++] = listener;
    if (out != NULL)
        *out = listener;
    return SLC_OK;
}

uint32_t slc_amqp_connections(const slc_amqp_server *server)
{
    return server->conn_count;
}

void slc_amqp_refresh(slc_amqp_server *server)
{
    amqp_conn *c;
    DL_FOREACH(server->conns, c)
    {
        slc_amqp_conn_refresh(c);
    }
}

static void stop_listening(slc_amqp_server *server)
{
    for (uint32_t i = 0; i < server->listener_count; i++)
        slc_listener_close(server->listeners[i]);
    server->listener_count = 0;
}

void slc_amqp_quiesce(slc_amqp_server *server)
{
    amqp_conn *c;
    stop_listening(server);
    DL_FOREACH(server->conns, c)
    {
        slc_conn_pause(c->io, SLC_PAUSE_QUIESCE);
    }
}

/** Close all; a connection that ends takes itself off the list, and its end may end no other one. */
static void close_all(slc_amqp_server *server, const char *explanation, uint32_t timeout_ms)
{
    amqp_conn *c;
    amqp_conn *next;
    DL_FOREACH_SAFE(server->conns, c, next)
    {
        slc_amqp_conn_force(c, explanation, timeout_ms);
    }
}

void slc_amqp_shutdown(slc_amqp_server *server, const char *reason, uint32_t timeout_ms,
                       void (*done)(void *arg), void *arg)
{
    char explanation[200];
    SLC_ASSERT(!server->stopping);
    stop_listening(server);
    server->stopping = true;
    server->done = done;
    server->done_arg = arg;
    snprintf(explanation, sizeof explanation, "broker forced connection closure with reason '%s'",
             reason);
    close_all(server, explanation, timeout_ms);
    server_wake(server); // done comes from there, also when nobody is connected
}

void slc_amqp_free(slc_amqp_server *server)
{
    if (server == NULL)
        return;
    stop_listening(server);
    server->done = NULL;
    while (server->conns != NULL)
        slc_amqp_conn_end(server->conns, 0);
    server->freed = true;
    slc_table_builder_fini(&server->properties);
    slc_free(server->anonymous_user);
    slc_free(server->anonymous_pass);
    slc_free(server->product);
    slc_free(server->version);
    slc_free(server->cluster_name);
    slc_free(server->cluster_shown);
    slc_free(server->listeners);
    uv_close((uv_handle_t *)&server->idle, server_idle_closed);
}
