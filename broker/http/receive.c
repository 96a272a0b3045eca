// A request comes in: libmicrohttpd's callbacks, all on the http thread. What can be refused without the broker is refused here; the rest
// is suspended and goes to the loop.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "auth/auth.h"
#include "base/alloc.h"
#include "base/log.h"
#include "http/server_impl.h"

enum {
    CONNECTIONS_MAX = 256,
    REQUEST_MEMORY_BYTES = 64 * 1024, // line and headers of one request
    TARGET_BYTES_MAX = 16 * 1024,
};

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
    slc_http_endpoint *from = arg;
    slc_http *http = from->http;
    slc_http_request *request = slc_alloc_zero(1, sizeof *request);
    request->http = http;
    request->from = from;
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
    const char *authorization = slc_http_request_header(request, MHD_HTTP_HEADER_AUTHORIZATION);
    if (authorization != NULL)
        return !request->http->options.basic_off && slc_http_credentials(request, authorization);
    const char *csrf = slc_http_request_header(request, "X-Sluice-CSRF");
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
    request->session =
        slc_http_cookie_find(slc_http_request_header(request, MHD_HTTP_HEADER_COOKIE));

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
    } else if (!accepts_json(slc_http_request_header(request, MHD_HTTP_HEADER_ACCEPT))) {
        request->status = MHD_HTTP_NOT_ACCEPTABLE;
    }
    if (request->status != 0)
        return slc_http_send(request, request->status == MHD_HTTP_METHOD_NOT_ALLOWED ||
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
    slc_http_request_parse(request);
    MHD_suspend_connection(connection);
    request->suspended = true;
    http->with_loop++;
    request->from->with_loop++;
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
        return slc_http_send(request, 0); // back from the loop
    return request_begin(request, method);
}

static void on_completed(void *arg, struct MHD_Connection *connection, void **context,
                         enum MHD_RequestTerminationCode how)
{
    (void)connection;
    (void)how;
    slc_http *http = ((const slc_http_endpoint *)arg)->http;
    slc_http_request *request = *context;
    if (request == NULL)
        return;
    *context = NULL;
    http->active--;
    slc_http_request_free(request);
}

static void on_connection(void *arg, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode code)
{
    const slc_http_endpoint *from = arg;
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

// After an error of MHD_start_daemon the library may have closed the socket or not; by now its number may be another file's.
static void socket_drop(int fd, const struct stat *was)
{
    struct stat now;
    if (fstat(fd, &now) == 0 && now.st_dev == was->st_dev && now.st_ino == was->st_ino)
        close(fd);
}

slc_err slc_http_endpoint_start(slc_http *http, int fd, unsigned flags, struct MHD_OptionItem *tls,
                                slc_http_endpoint **out, slc_error *error)
{
    slc_http_endpoint *e = slc_alloc_zero(1, sizeof *e);
    e->http = http;
    e->tls = flags != 0;
    struct stat of_fd = {0};
    fstat(fd, &of_fd);
    e->daemon = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG | flags, 0, NULL, NULL,
        on_request, e, MHD_OPTION_EXTERNAL_LOGGER, on_library_log, e, MHD_OPTION_LISTEN_SOCKET,
        (MHD_socket)fd, MHD_OPTION_URI_LOG_CALLBACK, on_target, e, MHD_OPTION_UNESCAPE_CALLBACK,
        on_unescape, e, MHD_OPTION_NOTIFY_COMPLETED, on_completed, e, MHD_OPTION_NOTIFY_CONNECTION,
        on_connection, e, MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)http->options.idle_timeout_s,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)REQUEST_MEMORY_BYTES, MHD_OPTION_ARRAY, tls,
        MHD_OPTION_END);
    if (e->daemon == NULL) {
        socket_drop(fd, &of_fd);
        slc_free(e);
        return slc_error_set(error, SLC_EINTERNAL, "management API: libmicrohttpd did not start%s",
                             flags != 0 ? " with TLS: do certificate and key fit together?" : "");
    }
    *out = e;
    return SLC_OK;
}
