// A reload (SIGHUP): what may change at once is handed to the parts, the rest is named and waits for a start. And certificates that
// changed on disk, looked for every TLS_WATCH_MS.
#include "app/daemon_impl.h"
#include "app/files.h"
#include "app/notify.h"
#include "base/log.h"
#include "http/admin.h"

enum { TLS_WATCH_MS = 2000 };

static void changed_key(const char *key, bool needs_restart, void *arg)
{
    (void)arg;
    slc_log(needs_restart ? SLC_LOG_WARN : SLC_LOG_INFO, "config", "config.changed",
            SLC_FIELDS(SLC_F_STR("key", key)),
            needs_restart ? "%s was changed and takes effect at the next start" : "%s was changed",
            key);
}

/** New connections get what the files say now; open ones keep what they have. */
static void daemon_reload_amqps(slc_daemon *d, const slc_settings *s)
{
    slc_error error = {0};
    if (d->tls == NULL || s->ssl_count == 0)
        return;
    if (slc_tls_load(d->tls, &s->tls, &error) != SLC_OK)
        slc_log(SLC_LOG_ERROR, "config", "tls.reload_failed", SLC_NO_FIELDS,
                "the certificates stay as they are: %s", error.text);
    else
        slc_log(SLC_LOG_INFO, "config", "tls.reloaded", SLC_NO_FIELDS,
                "the certificates were read again");
}

/** The same for HTTPS; what is listed is what is used. */
static void daemon_reload_https(slc_daemon *d, const slc_settings *s)
{
    slc_http_tcp tcp = slc_files_https(s);
    slc_tls *fresh = NULL;
    slc_error error = {0};
    if (d->https == NULL || !tcp.on)
        return;
    slc_err rc = slc_files_open_https(s, &fresh, &error);
    if (rc == SLC_OK)
        rc = slc_http_tls_load(d->http, &tcp, &error);
    if (rc != SLC_OK) {
        slc_tls_free(fresh);
        slc_log(SLC_LOG_ERROR, "config", "https.reload_failed", SLC_NO_FIELDS,
                "the certificates of HTTPS stay as they are: %s", error.text);
        return;
    }
    slc_tls_free(d->https);
    d->https = fresh;
    slc_log(SLC_LOG_INFO, "config", "https.reloaded", SLC_NO_FIELDS,
            "the certificates of HTTPS were read again");
}

static void on_watch(uv_timer_t *timer)
{
    slc_daemon *d = timer->data;
    if (d->phase != SLC_PHASE_SERVING || !d->settings->tls_watch)
        return;
    if (d->tls != NULL && slc_tls_changed(d->tls))
        daemon_reload_amqps(d, d->settings);
    if (d->https != NULL && slc_tls_changed(d->https))
        daemon_reload_https(d, d->settings);
}

// Who asked hears every mistake, and error has the first.
typedef struct notes {
    const slc_http_reload *told; // NULL: nobody
    slc_error *error;
} notes;

static void note_taken(bool is_error, const char *text, void *arg)
{
    const notes *n = arg;
    if (is_error && n->error->code == SLC_OK)
        slc_error_set(n->error, SLC_EINVAL, "%s", text);
    if (n->told != NULL)
        n->told->note(is_error, text, n->told->arg);
}

/** What the configuration says now, when all of it can be used: SLC_OK and *out. */
static slc_err reload_read(const slc_daemon *d, const slc_http_reload *told, slc_settings **out,
                           slc_error *error)
{
    slc_settings_sources sources;
    notes n = {told, error};
    slc_options_sources(d->options, &sources);
    sources.note = note_taken;
    sources.arg = &n;
    slc_err rc = slc_settings_load(&sources, out, error);
    if (rc != SLC_OK || slc_files_check_used(*out, note_taken, &n))
        return rc;
    slc_settings_free(*out);
    return error->code;
}

slc_err slc_daemon_reload_check(slc_daemon *d, const slc_http_reload *told, slc_error *error)
{
    slc_settings *fresh;
    slc_err rc = reload_read(d, told, &fresh, error);
    if (rc != SLC_OK)
        return rc;
    slc_settings_diff(d->settings, fresh, told->changed, told->arg);
    slc_settings_free(fresh);
    return SLC_OK;
}

slc_err slc_daemon_reload(slc_daemon *d, const slc_http_reload *told, slc_error *error)
{
    slc_settings *fresh;
    slc_notify_reloading();
    slc_err rc = reload_read(d, told, &fresh, error);
    if (rc != SLC_OK) {
        slc_log(SLC_LOG_ERROR, "config", "config.reload_failed", SLC_NO_FIELDS,
                "the configuration was not reloaded, everything stays as it is: %s", error->text);
        slc_notify_ready("serving");
        return rc;
    }
    slc_settings_diff(d->settings, fresh, changed_key, NULL);
    if (told != NULL)
        slc_settings_diff(d->settings, fresh, told->changed, told->arg);
    slc_error log_error = {0};
    if (slc_log_configure(&fresh->log, &log_error) != SLC_OK) // it seemed that it can be opened
        slc_log(SLC_LOG_ERROR, "config", "config.log_failed", SLC_NO_FIELDS,
                "the log stays as it is: %s", log_error.text);
    else
        d->log_silent = false;
    slc_amqp_settings amqp;
    slc_daemon_amqp_settings(fresh, &amqp);
    amqp.frame_max = d->settings->frame_max_bytes; // until a restart
    slc_amqp_set(d->amqp, &amqp);
    slc_auth_options auth;
    slc_daemon_auth_options(d, fresh, &auth);
    slc_auth_set(d->auth, &auth);
    slc_user_definitions_hashing(d->user_definitions, auth.hashing);
    slc_daemon_broker_limits(d->world.broker, fresh);
    daemon_reload_amqps(d, fresh);
    daemon_reload_https(d, fresh);
    slc_monitor_limits(&d->monitor, slc_daemon_memory_limit(fresh), slc_daemon_disk_limit(fresh));
    slc_app_backup_keep_free(d->backup, slc_daemon_disk_limit(fresh));
    slc_broker_ack_timeout(d->world.broker, fresh->consumer_timeout_ms);
    slc_settings_free(d->settings);
    d->settings = fresh;
    slc_log(SLC_LOG_INFO, "config", "config.reloaded", SLC_NO_FIELDS,
            "the configuration was reloaded");
    slc_notify_ready("serving");
    return SLC_OK;
}

void slc_daemon_watch_start(slc_daemon *d)
{
    uv_timer_init(&d->loop, &d->watch_timer);
    d->watch_timer.data = d;
    if (d->tls != NULL || d->https != NULL)
        uv_timer_start(&d->watch_timer, on_watch, TLS_WATCH_MS, TLS_WATCH_MS);
    uv_unref((uv_handle_t *)&d->watch_timer);
}
