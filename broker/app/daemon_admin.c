// What administrators have done to the running daemon: the configuration read again, another log level, listeners suspended.
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "app/daemon_impl.h"
#include "base/log.h"
#include "http/admin.h"

static void admin_config(void (*each)(const slc_config_entry *entry, void *each_arg),
                         void *each_arg, void *arg)
{
    const slc_daemon *d = arg;
    slc_config_each(d->settings->config, each, each_arg);
}

static slc_err admin_reload(bool check, const slc_http_reload *told, slc_error *error, void *arg)
{
    slc_daemon *d = arg;
    if (d->phase != SLC_PHASE_SERVING)
        return slc_error_set(error, SLC_EBUSY, "the broker is starting or stopping");
    return check ? slc_daemon_reload_check(d, told, error) : slc_daemon_reload(d, told, error);
}

static slc_err log_silence(slc_daemon *d, slc_error *error)
{
    slc_log_options options = d->settings->log;
    options.level = options.file_level = options.line_level = SLC_LOG_NONE;
    options.syslog.level = options.journal_level = SLC_LOG_NONE;
    options.category_count = 0;
    return slc_log_configure(&options, error);
}

static slc_err admin_log_level(const char *name, slc_error *error, void *arg)
{
    slc_daemon *d = arg;
    slc_log_level level;
    slc_err rc = SLC_OK;
    if (!slc_log_level_find(name, &level))
        return slc_error_set(error, SLC_EINVAL,
                             "level %s is not supported. Try one of debug, info, notice, warning, "
                             "error, critical, none",
                             name);
    if (level == SLC_LOG_NONE)
        rc = log_silence(d, error);
    else if (d->log_silent) // a level is for outputs that write something
        rc = slc_log_configure(&d->settings->log, error);
    if (rc != SLC_OK)
        return rc;
    d->log_silent = level == SLC_LOG_NONE;
    if (level != SLC_LOG_NONE)
        slc_log_set_level(level);
    slc_log(SLC_LOG_INFO, "config", "log.level_set", SLC_FIELDS(SLC_F_STR("level", name)),
            "the log level was set to %s until the next reload or start", name);
    return SLC_OK;
}

static slc_err admin_listeners(bool open, slc_error *error, void *arg)
{
    const slc_daemon *d = arg;
    slc_err rc = SLC_OK;
    if (d->phase != SLC_PHASE_SERVING)
        return slc_error_set(error, SLC_EBUSY, "the broker is starting or stopping");
    for (uint32_t i = 0; i < d->listener_count; i++) {
        slc_error failed = {0};
        if (!open) {
            slc_listener_suspend(d->listeners[i]);
        } else if (slc_listener_resume(d->listeners[i], &failed) != SLC_OK) {
            rc = failed.code; // the others are opened all the same
            *error = failed;
        }
    }
    if (rc != SLC_OK)
        slc_log(SLC_LOG_ERROR, "connection", "listener.resume_failed", SLC_NO_FIELDS, "%s",
                error->text);
    else
        slc_log(SLC_LOG_INFO, "connection", open ? "listener.resumed" : "listener.suspended",
                SLC_NO_FIELDS,
                open ? "listeners take connections of clients again"
                     : "listeners take no more connections of clients; those that are open stay");
    return rc;
}

// SLUICE_CONF__a__b=value is a key like others.
static void variable_shown(const char *variable, char *out, size_t cap)
{
    static const char prefix[] = "SLUICE_CONF__";
    const char *value = strchr(variable, '=') + 1;
    char assignment[8192], *to = assignment;
    if (strncmp(variable, prefix, sizeof prefix - 1) != 0) {
        bool secret = strcasestr(variable, "pass") != NULL && strcasestr(variable, "pass") < value;
        snprintf(out, cap, "%s", secret && value[0] != '\0' ? "********" : value);
        return;
    }
    for (const char *from = variable + sizeof prefix - 1;
         *from != '\0' && to < assignment + sizeof assignment - 1; from++) {
        bool dot = from < value && from[0] == '_' && from[1] == '_';
        *to++ = dot ? '.' : *from;
        from += dot;
    }
    *to = '\0';
    char shown[8192];
    snprintf(out, cap, "%s", strchr(slc_settings_masked(assignment, shown, sizeof shown), '=') + 1);
}

static void admin_process(void (*argument)(const char *text, void *each_arg),
                          void (*variable)(const char *name, const char *value, void *each_arg),
                          void *each_arg, void *arg)
{
    const slc_daemon *d = arg;
    slc_options_each(d->options, argument, each_arg);
    for (char *const *at = environ; *at != NULL; at++) {
        const char *equals = strchr(*at, '=');
        char name[256], shown[8192];
        if (equals == NULL ||
            (strncmp(*at, "SLUICE_", 7) != 0 && strncmp(*at, "RABBITMQ_", 9) != 0))
            continue;
        snprintf(name, sizeof name, "%.*s", (int)(equals - *at), *at);
        variable_shown(*at, shown, sizeof shown);
        variable(name, shown, each_arg);
    }
}

static void admin_ciphers(void (*each)(const char *openssl, const char *iana, void *each_arg),
                          void *each_arg, void *arg)
{
    const slc_daemon *d = arg;
    slc_tls_each_cipher(d->tls, each, each_arg);
}

const slc_http_admin_ops *slc_daemon_admin_ops(void)
{
    static const slc_http_admin_ops ops = {
        .config = admin_config,
        .reload = admin_reload,
        .log_level = admin_log_level,
        .listeners = admin_listeners,
        .process = admin_process,
        .ciphers = admin_ciphers,
    };
    return &ops;
}
