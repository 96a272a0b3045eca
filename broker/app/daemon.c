// main: what is opened in which order, and closed again in reverse.
#include "app/daemon.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "app/daemon_impl.h"
#include "app/files.h"
#include "app/notify.h"
#include "app/restore.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"

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

static void banner(const slc_daemon *d)
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

/** The store is damaged: nothing was changed, and the operator has to decide. The definitions have no tool yet, and from an
 *  empty file nothing can be had. */
static void corrupt_explain(const slc_daemon *d, slc_error *error)
{
    if (strstr(error->text, "control store") != NULL || strstr(error->text, "is empty") != NULL)
        return;
    char found[SLC_ERROR_TEXT_BYTES];
    snprintf(found, sizeof found, "%s", error->text);
    // Half of a path would name another directory; the banner above has it whole.
    const char *dir = strlen(d->instance.dir) <= 60 ? d->instance.dir : "(the data directory)";
    slc_error_set(error, SLC_ECORRUPT,
                  "%.250s. Nothing was changed. 'sluicectl store check --dir %s' names all damage, "
                  "'sluicectl store salvage --dir %s' says what it will drop and makes the rest "
                  "usable",
                  found, dir, dir);
}

/** Open the world; the exit status when it does not open. */
static int daemon_open_world(slc_daemon *d, slc_error *error)
{
    slc_world_options options;
    slc_daemon_world_options(d, &options);
    switch (slc_world_open(&d->world, &options, &d->recovered, error)) {
    case SLC_OK:
        return 0;
    case SLC_EVERSION:
    case SLC_EPRECONDITION:
        return SLC_EXIT_CONFIG;
    case SLC_EACCESS:
    case SLC_ENOSPC:
        return SLC_EXIT_DATA_DIR;
    case SLC_ECORRUPT:
        corrupt_explain(d, error);
        return SLC_EXIT_DAMAGED;
    default:
        return SLC_EXIT_DISK;
    }
}

/** The exit status when a backup could not be restored. */
static int restore_status(slc_err rc)
{
    switch (rc) {
    case SLC_ENOTFOUND:
    case SLC_ECORRUPT:
        return SLC_EXIT_DAMAGED;
    case SLC_EVERSION:
        return SLC_EXIT_CONFIG;
    case SLC_EIO:
        return SLC_EXIT_DISK;
    default:
        return SLC_EXIT_DATA_DIR;
    }
}

static int daemon_run(slc_daemon *d, slc_error *error)
{
    const slc_settings *s = d->settings;
    const char *backup = slc_options_restore(d->options);
    slc_err rc = backup != NULL ? slc_restore_prepare(backup, s->data_dir, error) : SLC_OK;
    if (rc != SLC_OK)
        return restore_status(rc);
    rc = slc_instance_open(&d->instance, s->data_dir, error);
    if (rc != SLC_OK)
        return SLC_EXIT_DATA_DIR;
    banner(d);
    rc = slc_restore_check(d->instance.dir, error);
    if (rc == SLC_OK && backup != NULL)
        rc = slc_restore_run(backup, d->instance.dir, error);
    if (rc != SLC_OK)
        return restore_status(rc);
    if (slc_files_open_tls(s, &d->tls, &d->https, error) != SLC_OK)
        return SLC_EXIT_CONFIG;
    raise_descriptor_limit();
    if (uv_loop_init(&d->loop) != 0) {
        slc_error_set(error, SLC_EINTERNAL, "cannot make the event loop: %s", strerror(errno));
        return SLC_EXIT_SYSTEM;
    }
    d->world.loop = &d->loop;
    slc_notify_status("recovering");
    slc_auth_options auth;
    slc_daemon_auth_options(d, s, &auth);
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
    slc_daemon_signals(d);
    d->net = slc_net_new(&d->loop);
    slc_daemon_broker_limits(d->world.broker, s);
    slc_broker_on_vhost_gone(d->world.broker, slc_daemon_vhost_gone, d);
    slc_amqp_settings amqp;
    slc_daemon_amqp_settings(s, &amqp);
    d->amqp = slc_amqp_new(d->net, d->world.broker, d->auth, &amqp);
    d->backup = slc_app_backup_new(&(slc_app_backup_options){
        .world = &d->world,
        .instance = &d->instance,
        .node = s->node_name,
        .version = SLC_VERSION,
    });
    slc_app_backup_keep_free(d->backup, slc_daemon_disk_limit(s));
    char fallback[4096];
    snprintf(fallback, sizeof fallback, "%s/admin.sock", d->instance.dir);
    slc_http_options http;
    slc_daemon_http_options(d, fallback, &http);
    slc_monitor_start(&d->monitor, &d->world, d->amqp, d->instance.dir, slc_daemon_memory_limit(s),
                      slc_daemon_disk_limit(s), s->memory_monitor_interval_ms);
    slc_daemon_handles(d);
    slc_error lines_error = {0};
    if (s->log.lines &&
        slc_log_lines_open(&d->log_lines, &d->loop, d->world.broker, &lines_error) != SLC_OK)
        slc_daemon_fail(d, SLC_EXIT_SYSTEM, &lines_error);
    slc_error http_error = {0};
    if (slc_http_start(&http, &d->http, &http_error) != SLC_OK)
        slc_daemon_fail(d, SLC_EXIT_ADDRESS,
                        &http_error); // the threads of the world run: they are stopped in order
    uv_run(&d->loop, UV_RUN_DEFAULT);
    SLC_ASSERT(d->phase == SLC_PHASE_GONE);
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

/** --check. What a start would only warn of goes to standard error through the log, as it would then. */
static int check(const slc_settings *settings)
{
    slc_error error = {0};
    if (slc_log_start(&(slc_log_options){.level = SLC_LOG_WARN, .node = settings->node_name},
                      &error) != SLC_OK) {
        print_note(true, error.text, NULL);
        return SLC_EXIT_SYSTEM;
    }
    bool good = slc_files_check(settings, print_note, NULL);
    slc_log_stop();
    const char *file = settings->config_file;
    if (good)
        printf("configuration is valid: %s\n", file != NULL ? file : "(no file, defaults)");
    return good ? 0 : SLC_EXIT_CONFIG;
}

int slc_daemon_main(int argc, char **argv)
{
    slc_daemon *d = slc_alloc_zero(1, sizeof *d);
    d->started_ns = slc_clock_now_ns();
    d->instance.lock_fd = -1;
    int status = slc_options_parse(argc, argv, &d->options);
    slc_error error = {0};
    if (d->options == NULL || slc_options_store(d->options, NULL, &status))
        goto free_daemon;
    slc_settings_sources sources;
    slc_options_sources(d->options, &sources);
    sources.note = print_note;
    status = SLC_EXIT_CONFIG;
    if (slc_settings_load(&sources, &d->settings, &error) != SLC_OK)
        goto free_daemon; // every mistake was printed as a note
    if (slc_options_check(d->options)) {
        status = check(d->settings);
        goto free_daemon;
    }
    if (slc_options_settle(d->options, d->settings, &status) ||
        slc_options_store(d->options, d->settings, &status))
        goto free_daemon;
    if (refuse_root(d->settings))
        goto free_daemon;
    if (slc_failpoint_init(&error) != SLC_OK || slc_notify_open(&error) != SLC_OK ||
        slc_log_start(&d->settings->log, &error) != SLC_OK) {
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
