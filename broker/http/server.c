// The http thread: libmicrohttpd polled from outside by a loop of our own, and the two mailboxes.
//
// Life of the thread:
//
//     running ──slc_http_stop──> draining ──nothing under way, or 2 s──> drained ──go──> gone
//
//     running   requests go to the loop
//     draining  new ones get 503; those that the loop has are waited for, answers are sent
//     drained   the daemon is closed; the thread waits on a semaphore until the loop has taken note, because only then is
//               it certain that the loop is not inside slc_mailbox_post on our mailbox
//
// A resume must come from this thread and be followed by MHD_run: with 0.9.75 a resume from another thread does not wake a
// daemon that is polled from outside.
#include "http/server_impl.h"

#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "http/agent.h"
#include "http/list_query.h"

enum { DRAIN_MS = 2000 };

const slc_http_options *slc_http_options_of(const slc_http *http)
{
    return &http->options;
}

void slc_http_status_get(const slc_http *http, slc_http_status *out)
{
    *out = (slc_http_status){0};
    http->options.status(out, http->options.arg);
}

struct slc_rates *slc_http_rates(const slc_http *http)
{
    return http->rates;
}

slc_logins *slc_http_logins(const slc_http *http)
{
    return http->logins;
}

slc_http_attempts *slc_http_attempts_of(slc_http *http)
{
    return &http->attempts;
}

void slc_http_attempt(slc_http *http, bool good)
{
    if (good)
        http->attempts.good++;
    else
        http->attempts.failed++;
}

uint16_t slc_http_tcp_port(const slc_http *http, uint32_t which)
{
    return http->ports[which];
}

const char *slc_http_socket_path(const slc_http *http)
{
    return http->socket_path;
}

/* ---- the http thread ---- */

static void http_maybe_drained(slc_http *http);

static void endpoint_on_closed(uv_handle_t *handle)
{
    slc_free(SLC_CONTAINER_OF((uv_poll_t *)handle, slc_http_endpoint, poll));
}

// Inside a callback of the poll handle: first no more polling, then the library's object with its epoll descriptor.
static void endpoint_close(slc_http_endpoint *e)
{
    uv_close((uv_handle_t *)&e->poll, endpoint_on_closed);
    MHD_stop_daemon(e->daemon);
    e->daemon = NULL;
}

// Retired ones without a connection go; of too many the oldest, which stand last.
static void http_sweep(slc_http *http)
{
    uint32_t retired = 0;
    for (slc_http_endpoint **at = &http->endpoints; *at != NULL;) {
        slc_http_endpoint *e = *at;
        if (e->retired && (slc_http_endpoint_idle(e) ||
                           (++retired > SLC_HTTP_RETIRED_MAX && e->with_loop == 0))) {
            *at = e->next;
            endpoint_close(e);
        } else {
            at = &e->next;
        }
    }
}

// Let libmicrohttpd work, then ask it when it wants to be called at the latest.
static void http_run(slc_http *http)
{
    uint64_t next_ms = UINT64_MAX;
    if (http->closed)
        return;
    for (slc_http_endpoint *e = http->endpoints; e != NULL; e = e->next) {
        MHD_UNSIGNED_LONG_LONG timeout_ms;
        MHD_run(e->daemon);
        if (MHD_get_timeout(e->daemon, &timeout_ms) == MHD_YES && timeout_ms < next_ms)
            next_ms = timeout_ms;
    }
    http_sweep(http);
    if (next_ms != UINT64_MAX)
        uv_timer_start(&http->timer, http->timer.timer_cb, next_ms, 0);
    else
        uv_timer_stop(&http->timer);
    http_maybe_drained(http);
}

static void http_on_poll(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    http_run(poll->data);
}

static void http_on_timer(uv_timer_t *timer)
{
    http_run(timer->data);
}

/** False: no descriptors, or no memory for one more in the loop's epoll. */
static bool endpoint_poll(slc_http_endpoint *e)
{
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(e->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    if (info == NULL || uv_poll_init(&e->http->loop, &e->poll, info->epoll_fd) != 0)
        return false;
    e->poll.data = e->http;
    uv_poll_start(&e->poll, UV_READABLE, http_on_poll);
    return true;
}

// The socket is listened on all the time: the new one does before the old one ceases to.
static void http_take_fresh(slc_http *http)
{
    slc_http_endpoint *fresh = atomic_exchange(&http->fresh, NULL);
    if (http->closed || !endpoint_poll(fresh)) {
        if (!http->closed)
            slc_log(SLC_LOG_ERROR, "http", "http.tls.failed", SLC_NO_FIELDS,
                    "the certificates of HTTPS stay as they are: no descriptors are left");
        slc_http_endpoint_free(fresh);
        return;
    }
    for (slc_http_endpoint *e = http->endpoints; e != NULL; e = e->next) {
        if (e->tls && !e->retired)
            slc_http_endpoint_retire(e);
    }
    fresh->next = http->endpoints;
    http->endpoints = fresh;
}

static void http_on_mail(slc_mail *mail, void *arg)
{
    slc_http *http = arg;
    if (mail == &http->drain_mail) {
        http->draining = true;
        http->drain_until_ns = slc_clock_now_ns() + DRAIN_MS * SLC_NS_PER_MS;
        http_run(http);
        return;
    }
    if (mail == &http->tls_mail) {
        http_take_fresh(http);
        http_run(http);
        return;
    }
    slc_http_request *request = SLC_CONTAINER_OF(mail, slc_http_request, mail);
    SLC_ASSERT(request->suspended);
    SLC_ASSERT(request->status != 0);
    slc_list_query(request);
    request->suspended = false;
    http->with_loop--;
    request->from->with_loop--;
    MHD_resume_connection(request->connection);
    http_run(http);
}

static void http_maybe_drained(slc_http *http)
{
    if (!http->draining || http->closed)
        return;
    bool late = slc_clock_now_ns() >= http->drain_until_ns;
    if (http->with_loop > 0 || (http->active > 0 && !late)) {
        uint64_t next_ms = late ? 100 : 20; // libmicrohttpd's own timeouts are longer
        uv_timer_start(&http->timer, http->timer.timer_cb, next_ms, 0);
        return;
    }
    for (slc_http_endpoint *e = http->endpoints, *next; e != NULL; e = next) {
        next = e->next;
        endpoint_close(e);
    }
    http->endpoints = NULL;
    if (http->tls_fd >= 0)
        close(http->tls_fd);
    uv_close((uv_handle_t *)&http->timer, NULL);
    http->closed = true;
    uv_stop(&http->loop);
}

static void http_thread(void *arg)
{
    slc_http *http = arg;
    prctl(PR_SET_NAME, "http");
    http_run(http);
    uv_run(&http->loop, UV_RUN_DEFAULT);
    SLC_ASSERT(http->closed);
    slc_mailbox_post(&http->to_loop, &http->drained_mail);
    uv_sem_wait(&http->go);
    slc_mailbox_close(&http->to_http, NULL);
    uv_run(&http->loop, UV_RUN_DEFAULT);
    SLC_ASSERT(uv_loop_close(&http->loop) == 0);
}

/* ---- the loop's side ---- */

static void http_free(slc_http *http)
{
    slc_rates_free(http->rates);
    slc_logins_free(http->logins);
    slc_access_log_close(http->access_log);
    slc_free(http->socket_path);
    slc_free(http->denied);
    slc_free((char *)(uintptr_t)http->options.node);
    slc_free((char *)(uintptr_t)http->options.product);
    slc_free((char *)(uintptr_t)http->options.version);
    slc_free((char *)(uintptr_t)http->options.cluster_name);
    for (uint32_t i = 0; i < SLC_HTTP_TCP_MAX; i++)
        slc_free((char *)(uintptr_t)http->options.tcp[i].ip);
    slc_free((char *)(uintptr_t)http->options.path_prefix);
    for (uint32_t i = 0; i < http->options.cors_origin_count; i++)
        slc_free((char *)(uintptr_t)http->options.cors_origins[i]);
    for (uint32_t i = 0; i < http->options.header_count; i++) {
        slc_free((char *)(uintptr_t)http->options.headers[i].name);
        slc_free((char *)(uintptr_t)http->options.headers[i].value);
    }
    slc_free(http);
}

static void loop_on_closed(uv_handle_t *handle)
{
    slc_http *http = SLC_CONTAINER_OF((uv_async_t *)handle, slc_http, to_loop.async);
    void (*done)(void *) = http->done;
    void *arg = http->done_arg;
    http_free(http);
    if (done != NULL)
        done(arg);
}

static void loop_on_mail(slc_mail *mail, void *arg)
{
    slc_http *http = arg;
    if (mail != &http->drained_mail) {
        slc_http_request *request = SLC_CONTAINER_OF(mail, slc_http_request, mail);
        if (request->agent != NULL)
            slc_http_agent_go(request->agent);
        else if (request->go_on != NULL)
            request->go_on(request);
        else
            slc_http_login(request);
        return;
    }
    uv_sem_post(&http->go);
    uv_thread_join(&http->thread);
    uv_sem_destroy(&http->go);
    // Another daemon may have put its own socket there since.
    struct stat st;
    if (lstat(http->socket_path, &st) == 0 && st.st_ino == http->socket_ino &&
        st.st_dev == http->socket_dev)
        unlink(http->socket_path);
    slc_mailbox_close(&http->to_loop, loop_on_closed);
}

void slc_http_stopping(slc_http *http)
{
    atomic_store(&http->stopping, true);
}

void slc_http_stop(slc_http *http, void (*done)(void *arg), void *arg)
{
    slc_http_stopping(http);
    http->done = done;
    http->done_arg = arg;
    slc_mailbox_post(&http->to_http, &http->drain_mail);
}

// Loop, mailbox, poll and timer of the http thread, before it runs.
static slc_err thread_init(slc_http *http, slc_error *error)
{
    int rc = uv_loop_init(&http->loop);
    if (rc != 0)
        return slc_error_set(error, slc_err_from_errno(rc), "management API: loop: %s",
                             uv_strerror(rc));
    if (slc_mailbox_init(&http->to_http, &http->loop, http_on_mail, http) != SLC_OK ||
        uv_timer_init(&http->loop, &http->timer) != 0)
        goto no_descriptors;
    http->timer.timer_cb = http_on_timer;
    http->timer.data = http;
    for (slc_http_endpoint *e = http->endpoints; e != NULL; e = e->next) {
        if (!endpoint_poll(e))
            goto no_descriptors;
    }
    return SLC_OK;

no_descriptors:
    // Cannot fail on Linux but for want of descriptors, at start; the process ends then.
    return slc_error_set(error, SLC_ELIMIT, "management API: no descriptors left for its thread");
}

static char *denied_text(const slc_http_options *options, gid_t group)
{
    slc_buffer text = {0};
    slc_buffer_format(&text, "may not administer this broker: only root, uid %u (the broker's own)",
                      (unsigned)geteuid());
    if (group != (gid_t)-1)
        slc_buffer_format(&text, " and members of group '%s'", options->group);
    slc_buffer_format(&text, " may use this socket");
    if (group == (gid_t)-1 && options->group != NULL)
        slc_buffer_format(&text, " (the group '%s' of management.socket.group does not exist)",
                          options->group);
    char *copy = slc_strndup((const char *)text.data, text.bytes);
    slc_buffer_fini(&text);
    return copy;
}

// Texts of the caller's become ours.
static void options_keep(slc_http_options *o)
{
    o->path_prefix = o->path_prefix != NULL ? slc_strdup(o->path_prefix) : NULL;
    for (uint32_t i = 0; i < o->cors_origin_count; i++)
        o->cors_origins[i] = slc_strdup(o->cors_origins[i]);
    for (uint32_t i = 0; i < o->header_count; i++) {
        o->headers[i].name = slc_strdup(o->headers[i].name);
        o->headers[i].value = slc_strdup(o->headers[i].value);
    }
}

slc_err slc_http_start(const slc_http_options *options, slc_http **out, slc_error *error)
{
    slc_http *http = slc_alloc_zero(1, sizeof *http);
    http->options = *options;
    http->options.node = slc_strdup(options->node);
    http->options.product = slc_strdup(options->product);
    http->options.version = slc_strdup(options->version);
    http->options.cluster_name =
        slc_strdup(options->cluster_name != NULL ? options->cluster_name : options->node);
    for (uint32_t i = 0; i < SLC_HTTP_TCP_MAX; i++)
        http->options.tcp[i].ip =
            options->tcp[i].ip != NULL ? slc_strdup(options->tcp[i].ip) : NULL;
    http->group = slc_http_group_id(options->group);
    http->denied = denied_text(options, http->group);
    snprintf(http->challenge, sizeof http->challenge, "Basic realm=\"%.255s\"",
             options->realm != NULL ? options->realm : "RabbitMQ Management");
    atomic_init(&http->stopping, false);
    atomic_init(&http->fresh, NULL);
    http->tls_fd = -1;
    http->rates = slc_rates_new(options->rates_interval_ms);
    http->logins = slc_logins_new(options->login_idle_ms);
    options_keep(&http->options);

    int fd = -1;
    slc_err rc = SLC_OK;
    if (options->log_dir != NULL)
        rc = slc_access_log_open(options->log_dir, &http->access_log, error);
    if (rc == SLC_OK)
        rc = slc_http_endpoint_open_socket(http, options, &fd, error);
    if (rc != SLC_OK)
        goto free_http;
    struct MHD_OptionItem none[] = {{MHD_OPTION_END, 0, NULL}};
    rc = slc_http_endpoint_start(http, fd, 0, none, &http->endpoints, error);
    if (rc != SLC_OK)
        goto remove_socket;
    for (uint32_t i = 0; i < SLC_HTTP_TCP_MAX; i++) {
        rc = slc_http_endpoint_open_tcp(http, i, error);
        if (rc != SLC_OK)
            goto stop_daemon;
    }
    rc = slc_mailbox_init(&http->to_loop, options->loop, loop_on_mail, http);
    if (rc != SLC_OK)
        goto stop_daemon;
    rc = thread_init(http, error);
    if (rc != SLC_OK)
        goto stop_daemon;
    uv_sem_init(&http->go, 0);
    int failed = uv_thread_create(&http->thread, http_thread, http);
    if (failed != 0) {
        rc = slc_error_set(error, slc_err_from_errno(failed), "management API: thread: %s",
                           uv_strerror(failed));
        goto stop_daemon;
    }
    *out = http;
    return SLC_OK;

stop_daemon:
    for (slc_http_endpoint *e = http->endpoints, *next; e != NULL; e = next) {
        next = e->next;
        slc_http_endpoint_free(e);
    }
    if (http->tls_fd >= 0)
        close(http->tls_fd);
remove_socket:
    unlink(http->socket_path);
free_http:
    http_free(http);
    return rc;
}
