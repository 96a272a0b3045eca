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
#include <errno.h>
#include <inttypes.h>
#include <microhttpd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auth/auth.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "http/access_log.h"
#include "http/agent.h"
#include "http/list_query.h"
#include "http/login.h"
#include "http/multipart.h"
#include "http/rates.h"
#include "http/request.h"

enum {
    CONNECTIONS_MAX = 256,
    REQUEST_MEMORY_BYTES = 64 * 1024, // line and headers of one request
    DRAIN_MS = 2000,
    TARGET_BYTES_MAX = 16 * 1024,
};

/** One listening socket with its library object. */
typedef struct endpoint {
    slc_http *http;
    struct MHD_Daemon *daemon; // NULL: off
    uv_poll_t poll;
    bool tcp, tls;
    uint16_t port;
} endpoint;

enum { ENDPOINTS = 1 + SLC_HTTP_TCP_MAX }; // the unix socket is the first

struct slc_http {
    slc_http_options options; // copied strings; const after start
    char *socket_path;
    dev_t socket_dev; // of the file that we made
    ino_t socket_ino;
    gid_t group;
    char *denied;        // the 401's reason
    char challenge[300]; // the 401's header over TCP; const after start

    // the loop's side
    slc_mailbox to_loop;
    struct slc_rates *rates;
    slc_logins *logins;
    slc_http_attempts attempts;
    void (*done)(void *arg);
    void *done_arg;

    atomic_bool stopping;

    // the http thread's side
    uv_thread_t thread;
    uv_loop_t loop;
    slc_mailbox to_http;
    uv_timer_t timer;
    endpoint endpoints[ENDPOINTS];
    bool closed;                // no library object is left
    uint32_t with_loop;         // requests that the loop has
    uint32_t active;            // requests between first line and last octet of the answer
    slc_access_log *access_log; // NULL: none
    bool draining;
    uint64_t drain_until_ns;
    uv_sem_t go;
    slc_mail drain_mail;   // loop to http: begin to drain
    slc_mail drained_mail; // http to loop: the daemon is closed
};

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
    return http->endpoints[1 + which].port;
}

const char *slc_http_socket_path(const slc_http *http)
{
    return http->socket_path;
}

/* ---- requests ---- */

static void request_free(slc_http_request *request)
{
    slc_buffer_fini(&request->body);
    slc_buffer_fini(&request->input);
    json_decref(request->json);
    slc_free(request->json_error);
    slc_free(request->target);
    slc_free(request->audit);
    slc_free(request->reason);
    slc_free(request->user);
    slc_free(request->password);
    slc_free(request->method_name);
    slc_free(request->session);
    slc_free(request->csrf);
    slc_free(request->location);
    slc_free(request->cookie);
    slc_free(request->file_name);
    slc_free(request);
}

void slc_http_fail(slc_http_request *request, unsigned status, const char *error,
                   const char *format, ...)
{
    char text[SLC_ERROR_TEXT_BYTES + 128];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);

    request->status = status;
    request->body.bytes = 0;
    slc_json w = slc_json_to(&request->body);
    slc_json_open(&w, '{');
    slc_json_put_text(&w, "error", error);
    slc_json_put_text(&w, "reason", text);
    slc_json_close(&w, '}');
}

const json_t *slc_http_json(slc_http_request *request)
{
    if (json_is_object(request->json))
        return request->json;
    // RabbitMQ's word, and the reason when there is one to give.
    if (request->json_error != NULL)
        slc_http_fail(request, MHD_HTTP_BAD_REQUEST, "bad_request", "not_json: %s",
                      request->json_error);
    else
        slc_http_fail(request, MHD_HTTP_BAD_REQUEST, "bad_request", "not_json");
    return NULL;
}

void slc_http_unauthorised(slc_http_request *request, const char *reason)
{
    slc_http_fail(request, MHD_HTTP_UNAUTHORIZED, "not_authorised", "%s", reason);
}

static void request_parse(slc_http_request *request)
{
    json_error_t where;
    if (request->input.bytes == 0)
        return;
    slc_slice text =
        slc_multipart_file(MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND,
                                                       MHD_HTTP_HEADER_CONTENT_TYPE),
                           slc_buffer_slice(&request->input));
    if (text.bytes == 0) {
        request->json_error = slc_strdup("multipart/form-data has no field 'file'");
        slc_buffer_fini(&request->input);
        return;
    }
    request->json =
        json_loadb((const char *)text.data, text.bytes, JSON_ALLOW_NUL | JSON_DECODE_ANY, &where);
    if (request->json == NULL) {
        char wrong[sizeof where.text + 64];
        snprintf(wrong, sizeof wrong, "line %d column %d: %s", where.line, where.column,
                 where.text);
        request->json_error = slc_strdup(wrong);
        return; // it may be a form
    }
    slc_buffer_fini(&request->input);
}

void slc_http_not_found(slc_http_request *request)
{
    slc_http_fail(request, MHD_HTTP_NOT_FOUND, "Object Not Found", "Not Found");
}

void slc_http_answer(slc_http_request *request)
{
    slc_mailbox_post(&request->http->to_http, &request->mail);
}

void slc_http_later(slc_http_request *request)
{
    slc_mailbox_post(&request->http->to_loop, &request->mail);
}

/* ---- sending ---- */

static void header_put(struct MHD_Response *response, const char *name, const char *value)
{
    if (MHD_add_response_header(response, name, value) != MHD_YES)
        slc_log(SLC_LOG_DEBUG, "http", "http.header.refused", SLC_NO_FIELDS,
                "header %s not accepted", name);
}

static const char *request_header(const slc_http_request *request, const char *name)
{
    return MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
}

// Answers that a page of another origin may read, where the configuration names that origin.
static void cors_put(const slc_http_request *request, struct MHD_Response *response,
                     const char *methods)
{
    const slc_http_options *o = &request->http->options;
    const char *origin = request_header(request, "Origin");
    bool allowed = false;
    if (!request->peer.tcp || o->cors_origin_count == 0)
        return;
    header_put(response, MHD_HTTP_HEADER_VARY, "Accept, Origin");
    for (uint32_t i = 0; i < o->cors_origin_count && origin != NULL; i++)
        allowed |= strcmp(o->cors_origins[i], origin) == 0 || strcmp(o->cors_origins[i], "*") == 0;
    if (!allowed)
        return;
    header_put(response, "Access-Control-Allow-Origin", origin);
    header_put(response, "Access-Control-Allow-Credentials", "true");
    if (request->method != SLC_HTTP_OPTIONS)
        return;
    const char *asked = request_header(request, "Access-Control-Request-Headers");
    char seconds[24];
    snprintf(seconds, sizeof seconds, "%" PRIu64, o->cors_max_age_s);
    header_put(response, "Access-Control-Max-Age", seconds);
    header_put(response, "Access-Control-Allow-Methods", methods);
    if (asked != NULL)
        header_put(response, "Access-Control-Allow-Headers", asked);
}

static void headers_put(const slc_http_request *request, struct MHD_Response *response,
                        unsigned allowed)
{
    const slc_http_options *o = &request->http->options;
    char methods[64];
    header_put(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-cache");
    for (uint32_t i = 0; i < o->header_count; i++)
        header_put(response, o->headers[i].name, o->headers[i].value);
    // A browser would ask for the password in a window of its own.
    const char *with = request_header(request, "X-Requested-With");
    if (request->challenge && request->peer.tcp &&
        (with == NULL || strcmp(with, "XMLHttpRequest") != 0))
        header_put(response, MHD_HTTP_HEADER_WWW_AUTHENTICATE, request->http->challenge);
    if (request->location != NULL)
        header_put(response, MHD_HTTP_HEADER_LOCATION, request->location);
    if (request->cookie != NULL)
        header_put(response, MHD_HTTP_HEADER_SET_COOKIE, request->cookie);
    if (request->file_name != NULL) {
        char text[300];
        snprintf(text, sizeof text, "attachment; filename=\"%.255s\"", request->file_name);
        header_put(response, MHD_HTTP_HEADER_CONTENT_DISPOSITION, text);
    }
    slc_http_methods_text(allowed, methods, sizeof methods);
    if (allowed != 0)
        header_put(response, MHD_HTTP_HEADER_ALLOW, methods);
    cors_put(request, response, methods);
    if (request->messages_known) {
        char number[24];
        snprintf(number, sizeof number, "%" PRIu64, request->messages);
        header_put(response, "X-Sluice-Messages", number);
    }
    if (request->http->draining || atomic_load(&request->http->stopping))
        header_put(response, MHD_HTTP_HEADER_CONNECTION, "close");
}

static enum MHD_Result request_send(slc_http_request *request, unsigned allowed)
{
    size_t bytes = request->body.bytes;
    struct MHD_Response *response;
    if (bytes > 0) {
        // The response owns the text from here on; lists are sent from this one buffer.
        response =
            MHD_create_response_from_buffer_with_free_callback(bytes, request->body.data, slc_free);
        if (response != NULL)
            request->body = (slc_buffer){0};
    } else {
        static char nothing[1];
        response = MHD_create_response_from_buffer(0, nothing, MHD_RESPMEM_PERSISTENT);
    }
    if (response == NULL)
        return MHD_NO;
    if (bytes > 0)
        header_put(response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/json");
    headers_put(request, response, allowed);
    request->sent = true;
    if (request->http->access_log != NULL)
        slc_access_log_write(request->http->access_log,
                             &(slc_access_log_line){
                                 .address = request->peer.address,
                                 .user = request->user,
                                 .method = request->method_name,
                                 .path = request->audit,
                                 .status = request->status,
                                 .bytes = bytes,
                                 .referer = request_header(request, MHD_HTTP_HEADER_REFERER),
                                 .agent = request_header(request, MHD_HTTP_HEADER_USER_AGENT),
                             });
    enum MHD_Result rc = MHD_queue_response(request->connection, request->status, response);
    MHD_destroy_response(response);
    return rc;
}

/* ---- libmicrohttpd's callbacks, all on the http thread ---- */

// How much of target is the prefix of all paths; SIZE_MAX: it has another one.
static size_t prefix_bytes(const char *prefix, const char *target)
{
    size_t bytes = prefix != NULL ? strlen(prefix) : 0;
    return strncmp(target, prefix != NULL ? prefix : "", bytes) == 0 && target[bytes] == '/'
               ? bytes
               : SIZE_MAX;
}

// The first that we hear of a request: its target as it came.
static void *on_target(void *arg, const char *target, struct MHD_Connection *connection)
{
    const endpoint *from = arg;
    slc_http *http = from->http;
    slc_http_request *request = slc_alloc_zero(1, sizeof *request);
    request->http = http;
    request->connection = connection;
    size_t bytes = strlen(target);
    if (bytes > TARGET_BYTES_MAX)
        bytes = 0; // refused below: no path begins with nothing
    request->target = slc_strndup(target, bytes);
    request->path_at = from->tcp ? prefix_bytes(http->options.path_prefix, request->target) : 0;
    size_t path_bytes = strcspn(request->target, "?");
    request->audit = slc_strndup(request->target, path_bytes);
    http->active++;
    return request;
}

// We split first and decode then, so libmicrohttpd must not decode.
static size_t on_unescape(void *arg, struct MHD_Connection *connection, char *text)
{
    (void)arg;
    (void)connection;
    return strlen(text);
}

static slc_http_method method_of(const char *name)
{
    static const struct {
        const char *name;
        slc_http_method method;
    } methods[] = {
        {"GET", SLC_HTTP_GET},   {"HEAD", SLC_HTTP_GET},      {"PUT", SLC_HTTP_PUT},
        {"POST", SLC_HTTP_POST}, {"DELETE", SLC_HTTP_DELETE}, {"OPTIONS", SLC_HTTP_OPTIONS},
    };
    for (size_t i = 0; i < SLC_ARRAY_COUNT(methods); i++) {
        if (strcmp(name, methods[i].name) == 0)
            return methods[i].method;
    }
    return SLC_HTTP_OTHER;
}

static void request_audit(const slc_http_request *request, const char *method)
{
    if (request->method == SLC_HTTP_GET)
        return;
    if (request->peer.tcp && request->user == NULL)
        return; // a login, which is logged when it fails
    if (request->peer.tcp) {
        slc_log(SLC_LOG_INFO, "audit", "http.change",
                SLC_FIELDS(SLC_F_STR("user", request->user),
                           SLC_F_STR("address", request->peer.address), SLC_F_STR("method", method),
                           SLC_F_STR("path", request->audit)),
                "%s %s asked for as user '%s' from %s", method, request->audit, request->user,
                request->peer.address);
        return;
    }
    slc_log(SLC_LOG_INFO, "audit", "http.change",
            SLC_FIELDS(SLC_F_U64("uid", request->peer.uid),
                       SLC_F_U64("pid", (uint64_t)request->peer.pid), SLC_F_STR("method", method),
                       SLC_F_STR("path", request->audit)),
            "%s %s by uid %u, pid %d", method, request->audit, (unsigned)request->peer.uid,
            (int)request->peer.pid);
}

// Basic authentication goes before a session: who sends it means it. False: neither is there.
static bool request_identify(slc_http_request *request)
{
    const char *authorization = request_header(request, MHD_HTTP_HEADER_AUTHORIZATION);
    if (authorization != NULL)
        return !request->http->options.basic_off && slc_http_credentials(request, authorization);
    const char *csrf = request_header(request, "X-Sluice-CSRF");
    request->csrf = csrf != NULL ? slc_strdup(csrf) : NULL;
    return request->session != NULL;
}

// We have nothing but JSON. A list of media ranges; a weight of 0 refuses.
static bool accepts_json(const char *accept)
{
    static const char *const ranges[] = {"*/*", "application/*", "application/json"};
    if (accept == NULL || accept[strspn(accept, " ")] == '\0')
        return true;
    bool accepted = false;
    for (const char *at = accept; *at != '\0'; at += *at == ',') {
        at += strspn(at, " \t");
        size_t bytes = strcspn(at, ",");
        size_t name = strcspn(at, ",; \t");
        const char *weight = memmem(at, bytes, "q=", 2);
        bool none = weight != NULL && strtod(weight + 2, NULL) <= 0;
        for (size_t i = 0; i < SLC_ARRAY_COUNT(ranges); i++) {
            if (strlen(ranges[i]) == name && strncasecmp(at, ranges[i], name) == 0)
                accepted |= !none;
        }
        at += bytes;
    }
    return accepted;
}

static enum MHD_Result request_begin(slc_http_request *request, const char *method)
{
    slc_http *http = request->http;
    struct MHD_Connection *connection = request->connection;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    if (info != NULL && info->socket_context != NULL)
        request->peer = *(const slc_http_peer *)info->socket_context;
    request->method = method_of(method);
    request->method_name = slc_strdup(method);
    request->session = slc_http_cookie_find(request_header(request, MHD_HTTP_HEADER_COOKIE));

    unsigned allowed = 0;
    unsigned status = 0;
    bool bad_path = request->path_at == SIZE_MAX ||
                    slc_path_parse(request->target + request->path_at, &request->path) != SLC_OK;
    if (!bad_path)
        status = slc_http_route(request, &allowed);
    if (http->draining || atomic_load(&http->stopping)) {
        slc_http_fail(request, MHD_HTTP_SERVICE_UNAVAILABLE, "unavailable",
                      "the broker is stopping");
    } else if (request->method == SLC_HTTP_OPTIONS && allowed != 0) {
        request->status = MHD_HTTP_OK; // browsers ask so before they log in
    } else if (request->peer.tcp && !(status == 0 && !bad_path && request->route->open) &&
               !request_identify(request)) {
        request->status = MHD_HTTP_UNAUTHORIZED; // the challenge, with an empty body
        request->challenge = true;
    } else if (!request->peer.tcp && !request->peer.admin) {
        slc_http_fail(request, MHD_HTTP_UNAUTHORIZED, "not_authorised", "uid %u %s",
                      (unsigned)request->peer.uid, http->denied);
    } else if (request->path_at == SIZE_MAX) {
        slc_http_not_found(request);
    } else if (bad_path) {
        slc_http_fail(request, MHD_HTTP_BAD_REQUEST, "bad_request",
                      "the target is not a path that can be decoded");
    } else if (request->input_too_large) {
        slc_http_fail(request, MHD_HTTP_CONTENT_TOO_LARGE, "bad_request",
                      "the body has more than the %" PRIu64
                      " octets of management.http.max_body_size",
                      http->options.max_body_bytes);
    } else if (status == MHD_HTTP_NOT_FOUND) {
        slc_http_not_found(request);
    } else if (status != 0) {
        request->status = status; // 405 has an empty body
    } else if (!accepts_json(request_header(request, MHD_HTTP_HEADER_ACCEPT))) {
        request->status = MHD_HTTP_NOT_ACCEPTABLE;
    }
    if (request->status != 0)
        return request_send(request, request->status == MHD_HTTP_METHOD_NOT_ALLOWED ||
                                             request->status == MHD_HTTP_OK
                                         ? allowed | SLC_HTTP_OPTIONS
                                         : 0);

    const char *reason = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "X-Reason");
    if (reason != NULL)
        request->reason = slc_strdup(reason);
    if (!request->peer.tcp)
        request->tags = SLC_AUTH_TAG_ADMINISTRATOR | SLC_AUTH_TAG_MONITORING |
                        SLC_AUTH_TAG_POLICYMAKER | SLC_AUTH_TAG_MANAGEMENT;
    request_audit(request, method);
    request_parse(request);
    MHD_suspend_connection(connection);
    request->suspended = true;
    http->with_loop++;
    slc_mailbox_post(&http->to_loop, &request->mail);
    return MHD_YES;
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_bytes, void **context)
{
    (void)arg;
    (void)connection;
    (void)url;
    (void)version;
    slc_http_request *request = *context;
    if (!request->begun) {
        request->begun = true;
        return MHD_YES;
    }
    if (*upload_bytes > 0) {
        // The limit is checked before the peer: nobody fills more than this per connection.
        if (request->input.bytes + *upload_bytes > request->http->options.max_body_bytes)
            request->input_too_large = true;
        else if (!request->input_too_large)
            slc_buffer_put(&request->input, upload, *upload_bytes);
        *upload_bytes = 0;
        return MHD_YES;
    }
    if (request->sent)
        return MHD_YES;
    if (request->status != 0)
        return request_send(request, 0); // back from the loop
    return request_begin(request, method);
}

static void on_completed(void *arg, struct MHD_Connection *connection, void **context,
                         enum MHD_RequestTerminationCode how)
{
    (void)connection;
    (void)how;
    slc_http *http = ((const endpoint *)arg)->http;
    slc_http_request *request = *context;
    if (request == NULL)
        return;
    *context = NULL;
    http->active--;
    request_free(request);
}

static void on_connection(void *arg, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode code)
{
    const endpoint *from = arg;
    if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
        slc_free(*context);
        *context = NULL;
        return;
    }
    slc_http_peer *peer = slc_alloc_zero(1, sizeof *peer);
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    if (info != NULL && from->tcp)
        slc_http_peer_address(info->connect_fd, peer);
    else if (info != NULL)
        slc_http_peer_get(info->connect_fd, from->http->group, peer);
    peer->tls = from->tls;
    *context = peer;
}

static void on_library_log(void *arg, const char *format, va_list args) SLC_PRINTF(2, 0);
static void on_library_log(void *arg, const char *format, va_list args)
{
    (void)arg;
    char text[256];
    vsnprintf(text, sizeof text, format, args);
    text[strcspn(text, "\n")] = '\0';
    slc_log(SLC_LOG_DEBUG, "http", "http.library", SLC_NO_FIELDS, "libmicrohttpd: %s", text);
}

/* ---- the http thread ---- */

static void http_maybe_drained(slc_http *http);

static void endpoints_stop(slc_http *http)
{
    for (uint32_t i = 0; i < ENDPOINTS; i++) {
        if (http->endpoints[i].daemon != NULL)
            MHD_stop_daemon(http->endpoints[i].daemon);
        http->endpoints[i].daemon = NULL;
    }
}

// Let libmicrohttpd work, then ask it when it wants to be called at the latest.
static void http_run(slc_http *http)
{
    uint64_t next_ms = UINT64_MAX;
    if (http->closed)
        return;
    for (uint32_t i = 0; i < ENDPOINTS; i++) {
        MHD_UNSIGNED_LONG_LONG timeout_ms;
        struct MHD_Daemon *daemon = http->endpoints[i].daemon;
        if (daemon == NULL)
            continue;
        MHD_run(daemon);
        if (MHD_get_timeout(daemon, &timeout_ms) == MHD_YES && timeout_ms < next_ms)
            next_ms = timeout_ms;
    }
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

static void http_on_mail(slc_mail *mail, void *arg)
{
    slc_http *http = arg;
    if (mail == &http->drain_mail) {
        http->draining = true;
        http->drain_until_ns = slc_clock_now_ns() + DRAIN_MS * SLC_NS_PER_MS;
        http_run(http);
        return;
    }
    slc_http_request *request = SLC_CONTAINER_OF(mail, slc_http_request, mail);
    SLC_ASSERT(request->suspended);
    SLC_ASSERT(request->status != 0);
    slc_list_query(request);
    request->suspended = false;
    http->with_loop--;
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
    // Inside a callback of the poll handle: first no more polling, then the daemon with its epoll descriptor.
    for (uint32_t i = 0; i < ENDPOINTS; i++) {
        if (http->endpoints[i].daemon != NULL)
            uv_close((uv_handle_t *)&http->endpoints[i].poll, NULL);
    }
    uv_close((uv_handle_t *)&http->timer, NULL);
    endpoints_stop(http);
    http->closed = true;
    uv_stop(&http->loop);
}

static void http_thread(void *arg)
{
    slc_http *http = arg;
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

static slc_err endpoint_start(slc_http *http, endpoint *e, int fd, unsigned flags,
                              struct MHD_OptionItem *tls, slc_error *error)
{
    e->http = http;
    e->daemon = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG | flags, 0, NULL, NULL,
        on_request, e, MHD_OPTION_EXTERNAL_LOGGER, on_library_log, e, MHD_OPTION_LISTEN_SOCKET,
        (MHD_socket)fd, MHD_OPTION_URI_LOG_CALLBACK, on_target, e, MHD_OPTION_UNESCAPE_CALLBACK,
        on_unescape, e, MHD_OPTION_NOTIFY_COMPLETED, on_completed, e, MHD_OPTION_NOTIFY_CONNECTION,
        on_connection, e, MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)http->options.idle_timeout_s,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)REQUEST_MEMORY_BYTES, MHD_OPTION_ARRAY, tls,
        MHD_OPTION_END);
    if (e->daemon == NULL)
        return slc_error_set(error, SLC_EINTERNAL, "management API: libmicrohttpd did not start%s",
                             flags != 0 ? " with TLS: do certificate and key fit together?" : "");
    return SLC_OK;
}

// One of options.tcp. The texts of the files live until libmicrohttpd has read them, which it does at once.
static slc_err endpoint_open_tcp(slc_http *http, uint32_t which, slc_error *error)
{
    endpoint *e = &http->endpoints[1 + which];
    const slc_http_options *o = &http->options;
    struct MHD_OptionItem tls[6] = {{MHD_OPTION_END, 0, NULL}};
    char versions[64];
    char *texts[3] = {NULL};
    uint32_t count = 0;
    int fd = -1;
    slc_err rc = SLC_OK;
    if (!o->tcp[which].on)
        return SLC_OK;
    if (o->tcp[which].tls && (o->tcp[which].cert_file == NULL || o->tcp[which].key_file == NULL))
        return slc_error_set(error, SLC_EINVAL,
                             "management.ssl.port is set: management.ssl.certfile and "
                             "management.ssl.keyfile are needed");
    if (o->tcp[which].tls) {
        const struct {
            const char *path;
            enum MHD_OPTION option;
        } files[] = {{o->tcp[which].cert_file, MHD_OPTION_HTTPS_MEM_CERT},
                     {o->tcp[which].key_file, MHD_OPTION_HTTPS_MEM_KEY},
                     {o->tcp[which].ca_file, MHD_OPTION_HTTPS_MEM_TRUST}};
        for (size_t i = 0; rc == SLC_OK && i < SLC_ARRAY_COUNT(files); i++) {
            if (files[i].path == NULL)
                continue;
            rc = slc_http_file_read(files[i].path, &texts[i], error);
            tls[count++] = (struct MHD_OptionItem){files[i].option, 0, texts[i]};
        }
        if (o->tcp[which].key_password != NULL)
            tls[count++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_KEY_PASSWORD, 0,
                                                   (char *)(uintptr_t)o->tcp[which].key_password};
        // GnuTLS would speak TLS 1.0 too.
        snprintf(versions, sizeof versions, "NORMAL:-VERS-ALL%s%s",
                 o->tcp[which].tls13 ? ":+VERS-TLS1.3" : "",
                 o->tcp[which].tls12 ? ":+VERS-TLS1.2" : "");
        tls[count++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_PRIORITIES, 0, versions};
        tls[count] = (struct MHD_OptionItem){MHD_OPTION_END, 0, NULL};
    }
    if (rc == SLC_OK)
        rc = slc_http_tcp_open(o->tcp[which].ip, o->tcp[which].port, &fd, &e->port, error);
    if (rc == SLC_OK) {
        e->tcp = true;
        e->tls = o->tcp[which].tls;
        rc = endpoint_start(http, e, fd, o->tcp[which].tls ? MHD_USE_TLS : 0, tls, error);
        if (rc != SLC_OK)
            close(fd);
    }
    for (size_t i = 0; i < SLC_ARRAY_COUNT(texts); i++)
        slc_free(texts[i]);
    return rc;
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
    for (uint32_t i = 0; i < ENDPOINTS; i++) {
        endpoint *e = &http->endpoints[i];
        if (e->daemon == NULL)
            continue;
        const union MHD_DaemonInfo *info = MHD_get_daemon_info(e->daemon, MHD_DAEMON_INFO_EPOLL_FD);
        if (info == NULL || uv_poll_init(&http->loop, &e->poll, info->epoll_fd) != 0)
            goto no_descriptors;
        e->poll.data = http;
        uv_poll_start(&e->poll, UV_READABLE, http_on_poll);
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

static slc_err socket_open(slc_http *http, const slc_http_options *options, int *fd,
                           slc_error *error)
{
    const char *path = options->socket_path;
    slc_err rc = slc_http_socket_open(path, fd, error);
    const char *fallback = options->socket_path_fallback;
    if (rc != SLC_OK && rc != SLC_EADDRINUSE && fallback != NULL && strcmp(path, fallback) != 0) {
        slc_error why = {.text = "?"};
        if (error != NULL)
            why = *error;
        slc_log(SLC_LOG_WARN, "http", "http.socket.fallback",
                SLC_FIELDS(SLC_F_STR("path", fallback)), "%s; using %s (sluicectl --socket)",
                why.text, fallback);
        path = fallback;
        rc = slc_http_socket_open(path, fd, error);
    }
    if (rc != SLC_OK)
        return rc;
    http->socket_path = slc_strdup(path);
    struct stat st;
    if (lstat(path, &st) == 0) {
        http->socket_dev = st.st_dev;
        http->socket_ino = st.st_ino;
    }
    return SLC_OK;
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
    http->rates = slc_rates_new(options->rates_interval_ms);
    http->logins = slc_logins_new(options->login_idle_ms);
    options_keep(&http->options);

    int fd = -1;
    slc_err rc = SLC_OK;
    if (options->log_dir != NULL)
        rc = slc_access_log_open(options->log_dir, &http->access_log, error);
    if (rc == SLC_OK)
        rc = socket_open(http, options, &fd, error);
    if (rc != SLC_OK)
        goto free_http;
    struct MHD_OptionItem none[] = {{MHD_OPTION_END, 0, NULL}};
    rc = endpoint_start(http, &http->endpoints[0], fd, 0, none, error);
    if (rc != SLC_OK) {
        close(fd);
        goto remove_socket;
    }
    for (uint32_t i = 0; i < SLC_HTTP_TCP_MAX; i++) {
        rc = endpoint_open_tcp(http, i, error);
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
    endpoints_stop(http);
remove_socket:
    unlink(http->socket_path);
free_http:
    http_free(http);
    return rc;
}
