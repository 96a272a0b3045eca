#include "app/daemon.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "amqp091/amqp091.h"
#include "app/backup.h"
#include "app/boot_definitions.h"
#include "app/instance.h"
#include "app/log_lines.h"
#include "app/monitor.h"
#include "app/notify.h"
#include "app/options.h"
#include "app/restore.h"
#include "app/settings.h"
#include "app/status.h"
#include "app/user_definitions.h"
#include "app/user_events.h"
#include "app/vhost_seeds.h"
#include "app/world.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "core/permission.h"
#include "http/http.h"

enum { CLOSE_TIMEOUT_MS = 3000, REPEAT_MS = 1000, TLS_WATCH_MS = 2000 };
enum {
    EXIT_BACKUP = 65,
    EXIT_INTERNAL = 70,
    EXIT_SYSTEM = 71,
    EXIT_DATA_DIR = 73,
    EXIT_DISK = 74,
    EXIT_ADDRESS = 75,
    EXIT_CONFIG = 78
};

// ---- phases ----
//
//   STARTING ──default vhost is there, listeners open──> SERVING ──stop──> QUIESCING ──broker idle, deadline──>
//   CLOSING (320 to clients) ──all gone──> ENDING (http, marks, store, definitions, net) ──> GONE
//
typedef enum phase {
    PHASE_STARTING,
    PHASE_SERVING,
    PHASE_QUIESCING,
    PHASE_CLOSING,
    PHASE_ENDING,
    PHASE_GONE,
} phase;

typedef struct daemon_state {
    phase phase;
    int exit_status;
    uv_loop_t loop;
    slc_options *options;
    slc_settings *settings;
    slc_instance instance;
    slc_world world;
    slc_world_recovered recovered;
    slc_net *net;
    slc_auth *auth;
    slc_user_definitions *user_definitions;
    slc_vhost_seeds *vhost_seeds;
    slc_tls *tls;   // NULL: no TLS listener
    slc_tls *https; // that of the management API, which libmicrohttpd reads by itself; NULL: none
    slc_amqp_server *amqp;
    slc_http *http;
    slc_app_backup *backup;
    slc_monitor monitor;
    slc_log_lines_box log_lines;
    slc_listener **listeners;
    uint32_t listener_count;
    bool definitions_begun, definitions_loaded; // of load_definitions
    uint64_t started_ns;
    uint64_t stop_signal_ns;
    uint64_t stop_deadline_ms;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_idle_t idle; // active while a turn left work behind
    uv_timer_t stop_timer;
    uv_timer_t watch_timer; // for changed certificates
    uv_timer_t due_timer;   // wakes the loop when something in the broker is due
    uint64_t due_ms;        // for which it is set; UINT64_MAX: it is not
    uv_signal_t signals[5];
} daemon_state;

static void daemon_stop(daemon_state *d, const char *why);

/* ---- the turn ---- */

static void daemon_serve(daemon_state *d);
static void daemon_quiesced(daemon_state *d);

static void idle_tick(uv_idle_t *idle)
{
    (void)idle; // its being active keeps the loop from waiting; the turn runs in prepare and check
}

static void on_due(uv_timer_t *timer)
{
    daemon_state *d = timer->data;
    d->due_ms = UINT64_MAX; // the turn that follows does what is due
}

static void daemon_wake_when_due(daemon_state *d)
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

static void daemon_turn(daemon_state *d)
{
    if (d->phase >= PHASE_ENDING)
        return;
    bool more = slc_broker_turn(d->world.broker);
    if (d->phase == PHASE_STARTING && slc_broker_idle(d->world.broker))
        daemon_serve(d);
    if (d->phase == PHASE_QUIESCING && slc_broker_idle(d->world.broker))
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

/* ---- start ---- */

static void write_addresses(FILE *out, void *arg)
{
    const daemon_state *d = arg;
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

static slc_err daemon_listen_at(daemon_state *d, const slc_config_address *address, slc_tls *tls,
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

static slc_err daemon_listen(daemon_state *d, slc_error *error)
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

static void daemon_fail(daemon_state *d, int status, const slc_error *error)
{
    slc_log(SLC_LOG_ERROR, "default", "start.failed",
            SLC_FIELDS(SLC_F_U64("status", (uint64_t)status)), "%s", error->text);
    d->exit_status = status;
    daemon_stop(d, "start failed");
}

static slc_auth_first first_user(const slc_settings *s)
{
    return (slc_auth_first){
        .user = s->default_user,
        .password = s->default_pass,
        .tags = s->default_tags,
        .vhost = s->default_vhost,
        .configure = s->default_configure,
        .write = s->default_write,
        .read = s->default_read,
    };
}

static void boot_done(void *arg)
{
    daemon_state *d = arg;
    d->definitions_loaded = true; // the turn after this one goes on
}

/** As with RabbitMQ there is no default user where a file of definitions brings its own. */
static void boot_loaded(slc_err rc, const slc_error *error, void *arg)
{
    daemon_state *d = arg;
    if (rc != SLC_OK) {
        daemon_fail(d, rc == SLC_EIO || rc == SLC_ENOSPC ? EXIT_DISK : EXIT_CONFIG, error);
        return;
    }
    slc_auth_first first = first_user(d->settings);
    slc_world_first_user(&d->world, &first, boot_done, d);
}

/** The definitions are there: open the doors. */
static void daemon_serve(daemon_state *d)
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
        daemon_fail(d, EXIT_ADDRESS, &error);
        return;
    }
    if (slc_instance_publish(&d->instance, write_addresses, d, &error) != SLC_OK) {
        daemon_fail(d, EXIT_DATA_DIR, &error);
        return;
    }
    d->phase = PHASE_SERVING;
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
    daemon_state *d = arg;
    d->phase = PHASE_GONE;
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
    daemon_state *d = arg;
    slc_net_close(d->net, net_closed, d);
}

static void backup_stopped(void *arg);

static void http_stopped(void *arg)
{
    daemon_state *d = arg;
    d->phase = PHASE_ENDING;
    d->http = NULL;
    slc_app_backup_stop(d->backup, backup_stopped, d);
}

static void backup_stopped(void *arg)
{
    daemon_state *d = arg;
    d->backup = NULL;
    slc_monitor_stop(&d->monitor);
    slc_log_lines_close(&d->log_lines);
    slc_amqp_free(d->amqp);
    slc_world_close(&d->world, world_closed, d);
}

static void amqp_closed(void *arg)
{
    daemon_state *d = arg;
    if (d->http != NULL)
        slc_http_stop(d->http, http_stopped, d);
    else
        http_stopped(d); // it did not start
}

static void daemon_quiesced(daemon_state *d)
{
    d->phase = PHASE_CLOSING;
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
    daemon_state *d = timer->data;
    if (d->phase != PHASE_QUIESCING)
        return;
    slc_log(SLC_LOG_WARN, "default", "stop.timeout", SLC_NO_FIELDS,
            "confirms are still open after shutdown.timeout; closing connections without them");
    daemon_quiesced(d);
}

static void daemon_stop(daemon_state *d, const char *why)
{
    if (d->phase >= PHASE_QUIESCING)
        return;
    d->phase = PHASE_QUIESCING;
    slc_log(SLC_LOG_INFO, "default", "stop.begin", SLC_NO_FIELDS, "stopping: %s", why);
    slc_notify_stopping();
    slc_instance_withdraw(&d->instance);
    if (d->http != NULL)
        slc_http_stopping(d->http);
    slc_amqp_quiesce(d->amqp);
    d->stop_deadline_ms = uv_now(&d->loop) + d->settings->shutdown_timeout_ms;
    uv_timer_start(&d->stop_timer, on_stop_timeout, d->settings->shutdown_timeout_ms, 0);
}

/* ---- settings become options of the parts ---- */

static uint64_t memory_total(const slc_settings *s)
{
    return s->memory_total_override_bytes > 0 ? s->memory_total_override_bytes : slc_total_memory();
}

static uint64_t memory_limit(const slc_settings *s)
{
    if (s->memory_watermark_is_absolute)
        return s->memory_watermark_absolute;
    return (uint64_t)((double)memory_total(s) * s->memory_watermark_relative);
}

static uint64_t disk_limit(const slc_settings *s)
{
    if (!s->disk_free_limit_is_relative)
        return s->disk_free_limit_bytes;
    return (uint64_t)((double)memory_total(s) * s->disk_free_limit_relative);
}

static void amqp_settings(const slc_settings *s, slc_amqp_settings *out)
{
    *out = (slc_amqp_settings){
        .heartbeat_s = s->heartbeat_s,
        .channel_max = s->channel_max,
        .frame_max = s->frame_max_bytes,
        .initial_frame_max = s->initial_frame_max_bytes,
        .max_message_bytes = s->max_message_bytes,
        .handshake_timeout_ms = s->handshake_timeout_ms,
        .connections_max = (uint32_t)s->max_connections,
        .channels_max = s->channel_max_per_node,
        .node = s->node_name,
        .product = s->product,
        .version = s->product_version,
        .cluster_name = s->cluster_name,
        .mechanisms = s->mechanisms,
        .require_tls = s->auth_require_tls,
        .cert_login = s->cert_login,
        .cert_san = s->cert_san,
        .cert_san_index = s->cert_san_index,
    };
}

static bool auth_loopback_only(void *arg, slc_slice user)
{
    const daemon_state *d = arg;
    return slc_settings_loopback_only(d->settings, user);
}

static void auth_propose(void *arg, const slc_change *changes, uint32_t count,
                         void (*done)(slc_err rc, void *done_arg), void *done_arg)
{
    daemon_state *d = arg;
    slc_control_propose(d->world.control, changes, count, done, done_arg);
}

static void auth_changed(void *arg)
{
    daemon_state *d = arg;
    slc_broker_permissions_changed(d->world.broker);
}

static void auth_user_deleted(void *arg, slc_slice user)
{
    daemon_state *d = arg;
    char reason[300];
    snprintf(reason, sizeof reason, "user '%.*s' was deleted", SLC_SLICE_FMT(user));
    slc_broker_close_user(d->world.broker, user, reason);
}

static void auth_event(void *arg, const slc_auth_event *event)
{
    const daemon_state *d = arg;
    slc_user_event(d->world.broker, event);
    if (strcmp(event->name, "user.tags.set") == 0)
        slc_broker_impersonator(d->world.broker, event->user->name,
                                (event->user->tag_bits & SLC_AUTH_TAG_IMPERSONATOR) != 0);
}

/** A vhost is deleted: what its users may do there goes with it. */
static void auth_vhost_gone(slc_slice vhost, void (*drop)(void *sink, slc_slice key), void *sink,
                            void *arg)
{
    const daemon_state *d = arg;
    slc_auth_changes changes = {0};
    slc_auth_changes_drop_vhost(d->auth, vhost, &changes);
    for (uint32_t i = 0; i < changes.count; i++)
        drop(sink, changes.items[i].key);
    slc_auth_changes_fini(&changes);
}

static void auth_options(daemon_state *d, const slc_settings *s, slc_auth_options *out)
{
    *out = (slc_auth_options){
        .loop = &d->loop,
        .cache_ttl_ms = s->auth_cache_ttl_ms,
        .failure_delay_ms = s->auth_failure_delay_ms,
        .max_failures_per_minute = s->auth_max_failures_per_minute,
        .hashing = (slc_auth_hashing)s->password_hashing,
        .loopback_only = auth_loopback_only,
        .propose = auth_propose,
        .changed = auth_changed,
        .user_deleted = auth_user_deleted,
        .event = auth_event,
        .arg = d,
    };
}

static void broker_limits(daemon_state *d, const slc_settings *s)
{
    slc_broker_limits limits = {
        .vhosts = s->vhost_max,
        .queues = s->cluster_queue_limit,
        .exchanges = s->cluster_exchange_limit,
        .default_queue_type = s->default_queue_type,
    };
    slc_broker_set_limits(d->world.broker, &limits);
}

static slc_store_flush_mode flush_mode(const slc_settings *s)
{
    switch (s->store_flush) {
    case SLC_SETTINGS_FLUSH_FULL:
        return SLC_STORE_FLUSH_FULL;
    case SLC_SETTINGS_FLUSH_INTERVAL:
        return SLC_STORE_FLUSH_INTERVAL;
    case SLC_SETTINGS_FLUSH_GROUP:
        break;
    }
    return SLC_STORE_FLUSH_GROUP;
}

/* ---- reload ---- */

static void changed_key(const char *key, bool needs_restart, void *arg)
{
    (void)arg;
    slc_log(needs_restart ? SLC_LOG_WARN : SLC_LOG_INFO, "config", "config.changed",
            SLC_FIELDS(SLC_F_STR("key", key)),
            needs_restart ? "%s was changed and takes effect at the next start" : "%s was changed",
            key);
}

/** New connections get what the files say now; open ones keep what they have. */
static void daemon_reload_tls(daemon_state *d, const slc_tls_options *options)
{
    slc_error error = {0};
    if (d->tls == NULL)
        return;
    if (slc_tls_load(d->tls, options, &error) != SLC_OK)
        slc_log(SLC_LOG_ERROR, "config", "tls.reload_failed", SLC_NO_FIELDS,
                "the certificates stay as they are: %s", error.text);
    else
        slc_log(SLC_LOG_INFO, "config", "tls.reloaded", SLC_NO_FIELDS,
                "the certificates were read again");
}

static void on_watch(uv_timer_t *timer)
{
    daemon_state *d = timer->data;
    if (d->phase == PHASE_SERVING && d->tls != NULL && d->settings->tls_watch &&
        slc_tls_changed(d->tls))
        daemon_reload_tls(d, &d->settings->tls);
}

static void daemon_reload(daemon_state *d)
{
    slc_error error = {0};
    slc_settings *fresh;
    slc_notify_reloading();
    slc_settings_sources sources;
    slc_options_sources(d->options, &sources);
    if (slc_settings_load(&sources, &fresh, &error) != SLC_OK) {
        slc_log(SLC_LOG_ERROR, "config", "config.reload_failed", SLC_NO_FIELDS,
                "the configuration was not reloaded, everything stays as it is: %s", error.text);
        slc_notify_ready("serving");
        return;
    }
    slc_settings_diff(d->settings, fresh, changed_key, NULL);
    slc_log_options log_options = slc_settings_log(fresh);
    if (slc_log_configure(&log_options, &error) != SLC_OK)
        slc_log(SLC_LOG_ERROR, "config", "config.log_failed", SLC_NO_FIELDS,
                "the log stays as it is: %s", error.text);
    slc_amqp_settings amqp;
    amqp_settings(fresh, &amqp);
    amqp.frame_max = d->settings->frame_max_bytes; // until a restart
    slc_amqp_set(d->amqp, &amqp);
    slc_auth_options auth;
    auth_options(d, fresh, &auth);
    slc_auth_set(d->auth, &auth);
    slc_user_definitions_hashing(d->user_definitions, auth.hashing);
    broker_limits(d, fresh);
    daemon_reload_tls(d, &fresh->tls);
    slc_monitor_limits(&d->monitor, memory_limit(fresh), disk_limit(fresh));
    slc_app_backup_keep_free(d->backup, disk_limit(fresh));
    slc_broker_ack_timeout(d->world.broker, fresh->consumer_timeout_ms);
    slc_settings_free(d->settings);
    d->settings = fresh;
    slc_log(SLC_LOG_INFO, "config", "config.reloaded", SLC_NO_FIELDS,
            "the configuration was reloaded");
    slc_notify_ready("serving");
}

/* ---- signals ---- */

static void on_signal(uv_signal_t *handle, int number)
{
    daemon_state *d = handle->data;
    switch (number) {
    case SIGTERM:
    case SIGINT:
        if (d->phase >= PHASE_QUIESCING) {
            if (slc_clock_now_ns() - d->stop_signal_ns < REPEAT_MS * SLC_NS_PER_MS)
                break; // one stop, sent to the process and to its group
            slc_log(SLC_LOG_WARN, "default", "stop.now", SLC_NO_FIELDS,
                    "second signal: stopping at once");
            slc_log_stop();
            _exit(128 + number);
        }
        d->stop_signal_ns = slc_clock_now_ns();
        daemon_stop(d, number == SIGTERM ? "SIGTERM" : "SIGINT");
        break;
    case SIGHUP:
        if (d->phase == PHASE_SERVING)
            daemon_reload(d);
        break;
    case SIGUSR1:
        slc_log_reopen();
        break;
    default:
        break;
    }
}

static void daemon_signals(daemon_state *d)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2};
    signal(SIGPIPE, SIG_IGN);
    for (size_t i = 0; i < SLC_ARRAY_COUNT(numbers); i++) {
        uv_signal_init(&d->loop, &d->signals[i]);
        d->signals[i].data = d;
        uv_signal_start(&d->signals[i], on_signal, numbers[i]);
        uv_unref((uv_handle_t *)&d->signals[i]);
    }
}

/* ---- main ---- */

/** As many descriptors as we may have: the number of connections depends on it. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    rlim_t before = limit.rlim_cur;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        limit.rlim_cur = before;
    slc_log(limit.rlim_cur < 4096 ? SLC_LOG_WARN : SLC_LOG_INFO, "default", "limit.nofile",
            SLC_FIELDS(SLC_F_U64("soft", limit.rlim_cur)),
            "%" PRIu64 " file descriptors may be open%s", (uint64_t)limit.rlim_cur,
            limit.rlim_cur < 4096
                ? "; that is few, raise the limit (LimitNOFILE in the unit, ulimit -n in a shell)"
                : "");
}

// What a browser is told with every answer, and whose pages may ask.
static void http_headers(slc_http_options *http, const slc_settings *s)
{
    const slc_http_header headers[] = {
        {"Content-Security-Policy", s->management_csp},
        {"Strict-Transport-Security", s->management_hsts},
        {"X-Content-Type-Options", s->management_content_type_options},
        {"X-XSS-Protection", s->management_xss_protection},
        {"X-Frame-Options", s->management_frame_options},
        {"Referrer-Policy", "no-referrer"},
    };
    static_assert(SLC_ARRAY_COUNT(headers) <= SLC_HTTP_HEADERS_MAX, "room for them");
    static_assert((int)SLC_SETTINGS_ORIGINS_MAX <= (int)SLC_HTTP_ORIGINS_MAX, "room for them");
    for (size_t i = 0; i < SLC_ARRAY_COUNT(headers); i++) {
        if (headers[i].value != NULL)
            http->headers[http->header_count++] = headers[i];
    }
    for (uint32_t i = 0; i < s->management_origin_count; i++)
        http->cors_origins[http->cors_origin_count++] = s->management_origins[i].text;
}

static void http_shutdown(void *arg)
{
    daemon_stop(arg, "shutdown command");
}

static slc_err http_set_limit(const char *limit, const char *value, slc_error *error, void *arg)
{
    daemon_state *d = arg;
    uint64_t memory = d->monitor.memory_limit, disk = d->monitor.disk_limit;
    bool share = strstr(limit, ".relative") != NULL;
    double fraction = 0;
    uint64_t bytes = 0;
    slc_err rc =
        slc_settings_value(limit, value, share ? NULL : &bytes, share ? &fraction : NULL, error);
    if (rc != SLC_OK)
        return rc;
    if (share)
        bytes = (uint64_t)((double)memory_total(d->settings) * fraction);
    if (strncmp(limit, "vm_memory", 9) == 0)
        memory = bytes;
    else
        disk = bytes;
    slc_monitor_limits(&d->monitor, memory, disk);
    slc_app_backup_keep_free(d->backup, disk);
    slc_log(SLC_LOG_INFO, "default", "limit.set",
            SLC_FIELDS(SLC_F_U64("memory_bytes", memory), SLC_F_U64("disk_bytes", disk)),
            "%s was set to %s until the next reload or start", limit, value);
    return SLC_OK;
}

static void http_print_config(FILE *out, void *arg)
{
    const daemon_state *d = arg;
    slc_settings_print(d->settings, out);
}

static void http_status(slc_http_status *out, void *arg)
{
    daemon_state *d = arg;
    slc_amqp_refresh(d->amqp);
    slc_status_fill(out, &(slc_status_sources){
                             .settings = d->settings,
                             .world = &d->world,
                             .monitor = &d->monitor,
                             .instance = &d->instance,
                             .listeners = d->listeners,
                             .listener_count = d->listener_count,
                             .tls = {d->tls, d->https},
                             .started_ns = d->started_ns,
                             .ready = d->phase == PHASE_SERVING,
                         });
}

static void banner(const daemon_state *d)
{
    slc_log(SLC_LOG_INFO, "default", "start.begin",
            SLC_FIELDS(SLC_F_STR("version", SLC_VERSION), SLC_F_STR("node", d->settings->node_name),
                       SLC_F_STR("data_dir", d->instance.dir),
                       SLC_F_U64("pid", (uint64_t)getpid())),
            "starting Sluice %s as %s, configuration %s, data directory %s", SLC_VERSION,
            d->settings->node_name,
            d->settings->config_file != NULL ? d->settings->config_file : "(defaults)",
            d->instance.dir);
}

/** The store is damaged: nothing was changed, and the operator has to decide. The definitions have no tool yet. */
static void corrupt_explain(const daemon_state *d, slc_error *error)
{
    if (strstr(error->text, "control store") != NULL)
        return;
    char found[SLC_ERROR_TEXT_BYTES];
    snprintf(found, sizeof found, "%s", error->text);
    slc_error_set(
        error, SLC_ECORRUPT,
        "%.250s. Nothing was changed. 'sluicectl store check --dir %.60s' names all damage, "
        "'sluicectl store salvage --dir %.60s' says what it will drop and makes the rest "
        "usable",
        found, d->instance.dir, d->instance.dir);
}

/** Open the world; the exit status when it does not open. */
static int daemon_open_world(daemon_state *d, slc_error *error)
{
    const slc_settings *s = d->settings;
    slc_world_options options = {
        .data_dir = d->instance.dir,
        .map_size = s->store_map_bytes,
        .log_bytes = s->store_log_bytes,
        .cache_bytes = s->cache_bytes,
        .window_bytes = s->window_bytes,
        .flush = flush_mode(s),
        .flush_interval_ms = s->store_flush_interval_ms,
        .overflow_priority_head = s->overflow_priority_head,
        .ttl_head_only = s->ttl_head_only,
        .on_mismatch = (slc_on_mismatch)s->on_mismatch,
        .due_max_ms = s->due_max_ms,
        .nack_uncounted = !s->delivery_limit_count_nack,
        .x_death_trusted = s->x_death_trust_client || slc_settings_emulates_before(s, 4, 0, 0),
        .passive_needs_nothing = slc_settings_emulates_before(s, 4, 2, 6),
        .x_death_drops_cc = slc_settings_emulates_before(s, 3, 13, 0),
        .default_prefetch = s->default_consumer_prefetch,
        .unknown_type_ends_connection = slc_settings_emulates_before(s, 3, 13, 3),
        .sac_loose = !s->sac_strict,
        .session_consumers_max = s->consumer_max_per_channel,
        .ack_timeout_ms = s->consumer_timeout_ms,
        .default_vhost = s->default_vhost,
        .node = s->node_name,
        .event_vhost = s->event_vhost,
        .log_lines = s->log_exchange,
        .vhost_new = slc_vhost_seeds_begin,
        .vhost_new_arg = d->vhost_seeds,
        .first_user = s->load_definitions == NULL ? first_user(s) : (slc_auth_first){0},
    };
    switch (slc_world_open(&d->world, &options, &d->recovered, error)) {
    case SLC_OK:
        return 0;
    case SLC_EVERSION:
        return EXIT_CONFIG;
    case SLC_EACCESS:
    case SLC_ENOSPC:
        return EXIT_DATA_DIR;
    case SLC_ECORRUPT:
        corrupt_explain(d, error);
        return EXIT_DISK;
    default:
        return EXIT_DISK;
    }
}

static void daemon_handles(daemon_state *d)
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
    uv_timer_init(&d->loop, &d->watch_timer);
    d->watch_timer.data = d;
    if (d->tls != NULL)
        uv_timer_start(&d->watch_timer, on_watch, TLS_WATCH_MS, TLS_WATCH_MS);
    uv_unref((uv_handle_t *)&d->watch_timer);
    uv_prepare_start(&d->prepare, on_prepare);
    uv_check_start(&d->check, on_check);
}

/** The exit status when a backup could not be restored. */
static int restore_status(slc_err rc)
{
    switch (rc) {
    case SLC_ENOTFOUND:
    case SLC_ECORRUPT:
        return EXIT_BACKUP;
    case SLC_EVERSION:
        return EXIT_CONFIG;
    case SLC_EIO:
        return EXIT_DISK;
    default:
        return EXIT_DATA_DIR;
    }
}

/** libmicrohttpd only says that it does not start: OpenSSL says what is wrong with the files before. */
static slc_err https_check(daemon_state *d, slc_error *error)
{
    const slc_settings *s = d->settings;
    if (s->management_ssl_port < 0)
        return SLC_OK;
    return slc_tls_new(&(slc_tls_options){.prefix = "management.ssl",
                                          .cacertfile = s->management_ca,
                                          .certfile = s->management_cert,
                                          .keyfile = s->management_key,
                                          .password = s->management_key_password,
                                          .tls12 = s->management_tls12,
                                          .tls13 = s->management_tls13},
                       &d->https, error);
}

static int daemon_run(daemon_state *d, slc_error *error)
{
    const slc_settings *s = d->settings;
    const char *backup = slc_options_restore(d->options);
    slc_err rc = backup != NULL ? slc_restore_prepare(backup, s->data_dir, error) : SLC_OK;
    if (rc != SLC_OK)
        return restore_status(rc);
    rc = slc_instance_open(&d->instance, s->data_dir, error);
    if (rc != SLC_OK)
        return EXIT_DATA_DIR;
    banner(d);
    rc = slc_restore_check(d->instance.dir, error);
    if (rc == SLC_OK && backup != NULL)
        rc = slc_restore_run(backup, d->instance.dir, error);
    if (rc != SLC_OK)
        return restore_status(rc);
    if (s->ssl_count > 0 && slc_tls_new(&s->tls, &d->tls, error) != SLC_OK)
        return EXIT_CONFIG;
    if (https_check(d, error) != SLC_OK)
        return EXIT_CONFIG;
    raise_descriptor_limit();
    if (uv_loop_init(&d->loop) != 0) {
        slc_error_set(error, SLC_EINTERNAL, "cannot make the event loop: %s", strerror(errno));
        return EXIT_SYSTEM;
    }
    d->world.loop = &d->loop;
    slc_notify_status("recovering");
    slc_auth_options auth;
    auth_options(d, s, &auth);
    d->auth = d->world.auth = slc_auth_new(&auth);
    d->vhost_seeds = slc_vhost_seeds_new(s, d->auth);
    int status = daemon_open_world(d, error);
    if (status != 0) {
        slc_auth_free(d->auth);
        uv_run(&d->loop, UV_RUN_DEFAULT);
        uv_loop_close(&d->loop);
        return status;
    }
    d->user_definitions = slc_user_definitions_new(&d->loop, d->world.broker, d->auth);
    slc_user_definitions_hashing(d->user_definitions, auth.hashing);
    daemon_signals(d);
    d->net = slc_net_new(&d->loop);
    broker_limits(d, s);
    slc_broker_on_vhost_gone(d->world.broker, auth_vhost_gone, d);
    slc_amqp_settings amqp;
    amqp_settings(s, &amqp);
    d->amqp = slc_amqp_new(d->net, d->world.broker, d->auth, &amqp);
    d->backup = slc_app_backup_new(&(slc_app_backup_options){
        .world = &d->world,
        .instance = &d->instance,
        .node = s->node_name,
        .version = SLC_VERSION,
    });
    slc_app_backup_keep_free(d->backup, disk_limit(s));
    char fallback[4096];
    snprintf(fallback, sizeof fallback, "%s/admin.sock", d->instance.dir);
    slc_http_options http = {
        .loop = &d->loop,
        .broker = d->world.broker,
        .auth = d->auth,
        .socket_path = s->management_socket,
        .socket_path_fallback = fallback,
        .group = s->management_group,
        .node = s->node_name,
        .product = "Sluice",
        .version = SLC_VERSION,
        .cluster_name = s->cluster_name,
        .cluster_id = d->instance.id,
        .status = http_status,
        .shutdown = http_shutdown,
        .set_limit = http_set_limit,
        .print_config = http_print_config,
        .tcp =
            {
                {
                    .on = s->management_port >= 0,
                    .ip = s->management_ip,
                    .port = (uint16_t)s->management_port,
                },
                {
                    .on = s->management_ssl_port >= 0,
                    .ip = s->management_ssl_ip,
                    .port = (uint16_t)s->management_ssl_port,
                    .tls = true,
                    .cert_file = s->management_cert,
                    .key_file = s->management_key,
                    .key_password = s->management_key_password,
                    .tls12 = s->management_tls12,
                    .tls13 = s->management_tls13,
                    .ca_file = s->management_ca,
                },
            },
        .realm = s->management_realm,
        .max_body_bytes = s->management_body_bytes,
        .max_message_bytes = s->max_message_bytes,
        .idle_timeout_s = (uint32_t)(s->management_idle_ms / 1000),
        .rates_interval_ms = s->statistics_interval_ms,
        .rates_off = s->management_rates_off,
        .stats_off = s->management_stats_off,
        .queue_totals = s->management_queue_totals,
        .path_prefix = s->management_prefix,
        .cors_max_age_s = s->management_cors_age_s,
        .login_idle_ms = s->management_login_minutes * UINT64_C(60000),
        .basic_off = s->management_basic_off,
        .log_dir = s->management_log_dir,
        .backup = slc_app_backup_ops(d->backup),
        .arg = d,
    };
    http_headers(&http, s);
    slc_monitor_start(&d->monitor, &d->world, d->instance.dir, memory_limit(s), disk_limit(s),
                      s->memory_monitor_interval_ms);
    daemon_handles(d);
    slc_error lines_error = {0};
    if (s->log_exchange &&
        slc_log_lines_open(&d->log_lines, &d->loop, d->world.broker, &lines_error) != SLC_OK)
        daemon_fail(d, EXIT_SYSTEM, &lines_error);
    slc_error http_error = {0};
    if (slc_http_start(&http, &d->http, &http_error) != SLC_OK)
        daemon_fail(d, EXIT_ADDRESS,
                    &http_error); // the threads of the world run: they are stopped in order
    uv_run(&d->loop, UV_RUN_DEFAULT);
    SLC_ASSERT(d->phase == PHASE_GONE);
    slc_auth_free(d->auth);
    uv_run(&d->loop, UV_RUN_DEFAULT); // its handles close
    slc_user_definitions_free(d->user_definitions);
    uv_loop_close(&d->loop);
    return d->exit_status;
}

static void print_note(bool is_error, const char *text, void *arg)
{
    (void)arg;
    fprintf(stderr, "sluiced: %s: %s\n", is_error ? "error" : "warning", text);
}

static bool refuse_root(const slc_settings *settings)
{
    if (geteuid() != 0 || settings->allow_root)
        return false;
    fprintf(stderr, "sluiced: error: running as root is refused: a broker needs no rights of root. "
                    "Start it as another user "
                    "(the package makes 'sluice'), or set allow_root = true\n");
    return true;
}

int slc_daemon_main(int argc, char **argv)
{
    daemon_state *d = slc_alloc_zero(1, sizeof *d);
    d->started_ns = slc_clock_now_ns();
    d->instance.lock_fd = -1;
    int status = slc_options_parse(argc, argv, &d->options);
    slc_error error = {0};
    if (d->options == NULL || slc_options_store(d->options, NULL, &status))
        goto free_daemon;
    slc_settings_sources sources;
    slc_options_sources(d->options, &sources);
    sources.note = print_note;
    status = EXIT_CONFIG;
    if (slc_settings_load(&sources, &d->settings, &error) != SLC_OK)
        goto free_daemon; // every mistake was printed as a note
    if (slc_options_settle(d->options, d->settings, &status) ||
        slc_options_store(d->options, d->settings, &status))
        goto free_daemon;
    if (refuse_root(d->settings))
        goto free_daemon;
    slc_log_options log_options = slc_settings_log(d->settings);
    if (slc_failpoint_init(&error) != SLC_OK || slc_notify_open(&error) != SLC_OK ||
        slc_log_start(&log_options, &error) != SLC_OK) {
        fprintf(stderr, "sluiced: error: %s\n", error.text);
        goto free_daemon;
    }
    uint64_t seed;
    slc_random_bytes(&seed, sizeof seed);
    slc_hash_seed(seed);
    status = daemon_run(d, &error);
    if (status != 0 && error.code != SLC_OK)
        slc_log(SLC_LOG_ERROR, "default", "stop.failed",
                SLC_FIELDS(SLC_F_U64("status", (uint64_t)status)), "%s", error.text);
    slc_log(SLC_LOG_INFO, "default", "stop.done", SLC_FIELDS(SLC_F_U64("status", (uint64_t)status)),
            "stopped with exit status %d", status);
    slc_instance_close(&d->instance);
    slc_log_stop();
    slc_notify_close();
free_daemon:
    if (d->settings != NULL)
        slc_settings_free(d->settings);
    slc_options_free(d->options);
    slc_tls_free(d->tls);
    slc_vhost_seeds_free(d->vhost_seeds);
    slc_tls_free(d->https);
    slc_free(d->listeners);
    slc_free(d);
    return status;
}
