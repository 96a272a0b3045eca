// What the management API is told at start, and what it asks of the daemon later.
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "app/daemon_impl.h"
#include "app/files.h"
#include "app/status.h"
#include "base/log.h"

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
    slc_daemon_stop(arg, "shutdown command");
}

static slc_err http_set_limit(const char *limit, const char *value, slc_error *error, void *arg)
{
    slc_daemon *d = arg;
    uint64_t memory = d->monitor.memory_limit, disk = d->monitor.disk_limit;
    bool share = strstr(limit, ".relative") != NULL;
    double fraction = 0;
    uint64_t bytes = 0;
    slc_err rc =
        slc_settings_value(limit, value, share ? NULL : &bytes, share ? &fraction : NULL, error);
    if (rc != SLC_OK)
        return rc;
    if (share)
        bytes = (uint64_t)((double)slc_daemon_memory_total(d->settings) * fraction);
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

void slc_daemon_status(slc_http_status *out, void *arg)
{
    slc_daemon *d = arg;
    slc_amqp_refresh(d->amqp);
    slc_status_fill(out, &(slc_status_sources){
                             .settings = d->settings,
                             .world = &d->world,
                             .monitor = &d->monitor,
                             .instance = &d->instance,
                             .amqp = d->amqp,
                             .listeners = d->listeners,
                             .listener_count = d->listener_count,
                             .tls = {d->tls, d->https},
                             .started_ns = d->started_ns,
                             .ready = d->phase == SLC_PHASE_SERVING,
                         });
}

void slc_daemon_http_options(slc_daemon *d, const char *fallback, slc_http_options *out)
{
    const slc_settings *s = d->settings;
    *out = (slc_http_options){
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
        .status = slc_daemon_status,
        .shutdown = http_shutdown,
        .set_limit = http_set_limit,
        .admin = slc_daemon_admin_ops(),
        .tcp =
            {
                {
                    .on = s->management_port >= 0,
                    .ip = s->management_ip,
                    .port = (uint16_t)s->management_port,
                },
                slc_files_https(s),
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
        .operator_policies_locked = s->management_operator_lock,
        .log_dir = s->management_log_dir,
        .backup = slc_app_backup_ops(d->backup),
        .arg = d,
    };
    http_headers(out, s);
}
