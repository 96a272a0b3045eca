// The phases of the daemon: the turn of the loop, opening the doors once the definitions are there, stopping in order.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "app/boot_definitions.h"
#include "app/daemon_impl.h"
#include "app/notify.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"

enum { CLOSE_TIMEOUT_MS = 3000 };

/* ---- the turn ---- */

static void daemon_serve(slc_daemon *d);
static void daemon_quiesced(slc_daemon *d);

static void idle_tick(uv_idle_t *idle)
{
    (void)idle; // its being active keeps the loop from waiting; the turn runs in prepare and check
}

static void on_due(uv_timer_t *timer)
{
    slc_daemon *d = timer->data;
    d->due_ms = UINT64_MAX; // the turn that follows does what is due
}

static void daemon_wake_when_due(slc_daemon *d)
{
    uint64_t due_ms = slc_broker_next_due_ms(d->world.broker);
    if (due_ms == d->due_ms)
        return;
    d->due_ms = due_ms;
    if (due_ms == UINT64_MAX) {
        uv_timer_stop(&d->due_timer);
        return;
    }
    uint64_t now = slc_world_wall_ms(&d->world);
    uv_timer_start(&d->due_timer, on_due, due_ms > now ? due_ms - now : 0, 0);
}

static void daemon_turn(slc_daemon *d)
{
    if (d->phase >= SLC_PHASE_ENDING)
        return;
    bool more = slc_broker_turn(d->world.broker);
    if (d->phase == SLC_PHASE_STARTING && slc_broker_idle(d->world.broker))
        daemon_serve(d);
    if (d->phase == SLC_PHASE_QUIESCING && slc_broker_idle(d->world.broker))
        daemon_quiesced(d);
    slc_store_flush(d->world.store);
    slc_world_turn(&d->world);
    slc_net_flush_all(d->net);
    slc_monitor_turn(&d->monitor);
    daemon_wake_when_due(d);
    if (more)
        uv_idle_start(&d->idle, idle_tick);
    else
        uv_idle_stop(&d->idle);
}

static void on_prepare(uv_prepare_t *handle)
{
    daemon_turn(handle->data);
}

static void on_check(uv_check_t *handle)
{
    daemon_turn(handle->data);
}

void slc_daemon_handles(slc_daemon *d)
{
    uv_prepare_init(&d->loop, &d->prepare);
    uv_check_init(&d->loop, &d->check);
    uv_idle_init(&d->loop, &d->idle);
    uv_timer_init(&d->loop, &d->stop_timer);
    uv_timer_init(&d->loop, &d->due_timer);
    d->due_timer.data = d;
    d->due_ms = UINT64_MAX;
    d->prepare.data = d;
    d->check.data = d;
    d->stop_timer.data = d;
    slc_daemon_watch_start(d);
    uv_prepare_start(&d->prepare, on_prepare);
    uv_check_start(&d->check, on_check);
}

/* ---- start ---- */

static void write_addresses(FILE *out, void *arg)
{
    const slc_daemon *d = arg;
    for (uint32_t i = 0; i < d->listener_count; i++) {
        const char *host = slc_listener_host(d->listeners[i]);
        bool v6 = strchr(host, ':') != NULL;
        bool tls = slc_listener_tls(d->listeners[i]) != NULL;
        fprintf(out, "%s.%u=%s%s%s:%u\n", tls ? "amqps" : "amqp",
                tls ? i + 1 - d->settings->tcp_count : i + 1, v6 ? "[" : "", host, v6 ? "]" : "",
                slc_listener_port(d->listeners[i]));
    }
    fprintf(out, "admin=%s\n", slc_http_socket_path(d->http));
    for (uint32_t i = 0; i < SLC_HTTP_TCP_MAX; i++) {
        static const char *const names[] = {"http", "https"};
        const char *ip = i == 0 ? d->settings->management_ip : d->settings->management_ssl_ip;
        bool v6 = ip == NULL || strchr(ip, ':') != NULL;
        if (slc_http_tcp_port(d->http, i) != 0)
            fprintf(out, "%s=%s%s%s:%u\n", names[i], v6 ? "[" : "",
                    ip != NULL ? ip : "::", v6 ? "]" : "", slc_http_tcp_port(d->http, i));
    }
}

static slc_err daemon_listen_at(slc_daemon *d, const slc_config_address *address, slc_tls *tls,
                                slc_error *error)
{
    const slc_settings *s = d->settings;
    char text[64];
    bool v6 = strchr(address->host, ':') != NULL;
    snprintf(text, sizeof text, "%s%s%s%s%u", v6 ? "[" : "", address->host, v6 ? "]" : "",
             address->host[0] != 0 ? ":" : "", address->port);
    slc_listener_options options = {
        .address = text,
        .backlog = (int)s->tcp_backlog,
        .nodelay = s->tcp_nodelay,
        .keepalive = s->tcp_keepalive,
        .linger = s->tcp_linger,
        .linger_s = s->tcp_linger_s,
        .sndbuf = s->tcp_sndbuf_bytes,
        .recbuf = s->tcp_recbuf_bytes,
        .proxy_protocol = s->proxy_protocol,
        .proxy_timeout_ms = s->handshake_timeout_ms,
        .tls = tls,
    };
    slc_listener **at = &d->listeners[d->listener_count];
    slc_err rc = slc_amqp_listen(d->amqp, &options, at, error);
    if (rc != SLC_OK)
        return rc;
    d->listener_count++;
    slc_log(SLC_LOG_INFO, "connection", "listener.started", SLC_NO_FIELDS,
            "started %s listener on %s:%u", tls != NULL ? "TLS" : "TCP", slc_listener_host(*at),
            slc_listener_port(*at));
    return SLC_OK;
}

static slc_err daemon_listen(slc_daemon *d, slc_error *error)
{
    const slc_settings *s = d->settings;
    slc_err rc = SLC_OK;
    d->listeners = slc_alloc_zero(s->tcp_count + s->ssl_count + 1, sizeof *d->listeners);
    for (uint32_t i = 0; i < s->tcp_count && rc == SLC_OK; i++)
        rc = daemon_listen_at(d, &s->tcp[i].address, NULL, error);
    for (uint32_t i = 0; i < s->ssl_count && rc == SLC_OK; i++)
        rc = daemon_listen_at(d, &s->ssl[i].address, d->tls, error);
    return rc;
}

void slc_daemon_fail(slc_daemon *d, int status, const slc_error *error)
{
    slc_log(SLC_LOG_ERROR, "default", "start.failed",
            SLC_FIELDS(SLC_F_U64("status", (uint64_t)status)), "%s", error->text);
    d->exit_status = status;
    slc_daemon_stop(d, "start failed");
}

static void boot_done(void *arg)
{
    slc_daemon *d = arg;
    d->definitions_loaded = true; // the turn after this one goes on
}

/** As with RabbitMQ there is no default user where a file of definitions brings its own. */
static void boot_loaded(slc_err rc, const slc_error *error, void *arg)
{
    slc_daemon *d = arg;
    if (rc != SLC_OK) {
        slc_daemon_fail(d, rc == SLC_EIO || rc == SLC_ENOSPC ? SLC_EXIT_DISK : SLC_EXIT_CONFIG,
                        error);
        return;
    }
    slc_auth_first first = slc_daemon_first_user(d->settings);
    slc_world_first_user(&d->world, &first, boot_done, d);
}

/** The definitions are there: open the doors. */
static void daemon_serve(slc_daemon *d)
{
    slc_error error = {0};
    if (d->settings->load_definitions != NULL && !d->definitions_loaded) {
        if (!d->definitions_begun) {
            d->definitions_begun = true;
            slc_boot_definitions(d->world.broker, d->settings->load_definitions,
                                 d->settings->load_definitions_changed_only, boot_loaded, d);
        }
        if (!d->definitions_loaded)
            return;
    }
    if (daemon_listen(d, &error) != SLC_OK) {
        slc_daemon_fail(d, SLC_EXIT_ADDRESS, &error);
        return;
    }
    if (slc_instance_publish(&d->instance, write_addresses, d, &error) != SLC_OK) {
        slc_daemon_fail(d, SLC_EXIT_DATA_DIR, &error);
        return;
    }
    d->phase = SLC_PHASE_SERVING;
    uint64_t ms = (slc_clock_now_ns() - d->started_ns) / SLC_NS_PER_MS;
    slc_notify_ready("serving");
    slc_log(SLC_LOG_INFO, "default", "start.done",
            SLC_FIELDS(SLC_F_U64("ms", ms), SLC_F_U64("queues", d->recovered.queues),
                       SLC_F_U64("messages", d->recovered.messages)),
            "server startup complete in %" PRIu64 " ms: %" PRIu64 " queues and %" PRIu64
            " messages recovered",
            ms, d->recovered.queues, d->recovered.messages);
}

/* ---- stop ---- */

static void net_closed(void *arg)
{
    slc_daemon *d = arg;
    d->phase = SLC_PHASE_GONE;
    uv_close((uv_handle_t *)&d->prepare, NULL);
    uv_close((uv_handle_t *)&d->check, NULL);
    uv_close((uv_handle_t *)&d->idle, NULL);
    uv_close((uv_handle_t *)&d->stop_timer, NULL);
    uv_close((uv_handle_t *)&d->watch_timer, NULL);
    uv_close((uv_handle_t *)&d->due_timer, NULL);
    for (size_t i = 0; i < SLC_ARRAY_COUNT(d->signals); i++)
        uv_close((uv_handle_t *)&d->signals[i], NULL);
}

static void world_closed(void *arg)
{
    slc_daemon *d = arg;
    slc_net_close(d->net, net_closed, d);
}

static void backup_stopped(void *arg);

static void http_stopped(void *arg)
{
    slc_daemon *d = arg;
    d->phase = SLC_PHASE_ENDING;
    d->http = NULL;
    slc_app_backup_stop(d->backup, backup_stopped, d);
}

static void backup_stopped(void *arg)
{
    slc_daemon *d = arg;
    d->backup = NULL;
    slc_monitor_stop(&d->monitor);
    slc_log_lines_close(&d->log_lines);
    slc_amqp_free(d->amqp);
    slc_world_close(&d->world, world_closed, d);
}

static void amqp_closed(void *arg)
{
    slc_daemon *d = arg;
    if (d->http != NULL)
        slc_http_stop(d->http, http_stopped, d);
    else
        http_stopped(d); // it did not start
}

static void daemon_quiesced(slc_daemon *d)
{
    d->phase = SLC_PHASE_CLOSING;
    uv_timer_stop(&d->stop_timer);
    uint64_t now = uv_now(&d->loop);
    uint64_t left = d->stop_deadline_ms > now ? d->stop_deadline_ms - now : 0;
    if (left > CLOSE_TIMEOUT_MS)
        left =
            CLOSE_TIMEOUT_MS; // a client that does not answer the close will not do so later either
    slc_amqp_shutdown(d->amqp, "shutdown", (uint32_t)left, amqp_closed, d);
}

static void on_stop_timeout(uv_timer_t *timer)
{
    slc_daemon *d = timer->data;
    if (d->phase != SLC_PHASE_QUIESCING)
        return;
    slc_log(SLC_LOG_WARN, "default", "stop.timeout", SLC_NO_FIELDS,
            "confirms are still open after shutdown.timeout; closing connections without them");
    daemon_quiesced(d);
}

void slc_daemon_stop(slc_daemon *d, const char *why)
{
    if (d->phase >= SLC_PHASE_QUIESCING)
        return;
    d->phase = SLC_PHASE_QUIESCING;
    slc_log(SLC_LOG_INFO, "default", "stop.begin", SLC_NO_FIELDS, "stopping: %s", why);
    slc_notify_stopping();
    slc_instance_withdraw(&d->instance);
    if (d->http != NULL)
        slc_http_stopping(d->http);
    slc_amqp_quiesce(d->amqp);
    d->stop_deadline_ms = uv_now(&d->loop) + d->settings->shutdown_timeout_ms;
    uv_timer_start(&d->stop_timer, on_stop_timeout, d->settings->shutdown_timeout_ms, 0);
}
