// The daemon at the other end of the admin socket, through libcurl.
#include <curl/curl.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/alloc.h"
#include "ctl.h"

#define DEFAULT_SOCKET "/run/sluice/admin.sock"
// Where a daemon that may not write /run/sluice puts it: in its data directory.
#define DATA_DIR_SOCKET "/var/lib/sluice/admin.sock"

enum { REPLY_BYTES_MAX = 1 << 30 };

static void path_format(slc_buffer *out, const char *format, va_list args)
{
    for (; *format != '\0'; format++) {
        if (format[0] == '%' && format[1] == 's') {
            slc_ctl_path_segment(out, va_arg(args, const char *));
            format++;
        } else {
            slc_buffer_put(out, format, 1);
        }
    }
}

void slc_ctl_path_segment(slc_buffer *out, const char *text)
{
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     strchr("-._~", c) != NULL;
        if (plain)
            slc_buffer_put(out, text, 1);
        else
            slc_buffer_format(out, "%%%02X", c);
    }
}

char *slc_ctl_path(const char *format, ...)
{
    slc_buffer path = {0};
    va_list args;
    va_start(args, format);
    path_format(&path, format, args);
    va_end(args);
    char *text = slc_strndup((const char *)path.data, path.bytes);
    slc_buffer_fini(&path);
    return text;
}

int slc_ctl_error(int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fflush(stdout);
    fputs("Error:\n", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    return code;
}

int slc_ctl_reply_error(const slc_ctl_reply *reply, int code)
{
    const char *reason = json_string_value(json_object_get(reply->body, "reason"));
    const char *detail = json_string_value(json_object_get(reply->body, "detail"));
    if (detail != NULL && reason != NULL && strcmp(reason, "credential_validation_failed") == 0)
        return slc_ctl_error(CTL_UNAVAILABLE, "%s", detail); // as rabbitmqctl
    if (reason != NULL)
        return slc_ctl_error(code, "%s", reason);
    return slc_ctl_error(code, "the broker answered with status %ld", reply->status);
}

void slc_ctl_reply_fini(slc_ctl_reply *reply)
{
    json_decref(reply->body);
    reply->body = NULL;
}

/* ---- which socket ---- */

static const char *socket_path(const slc_ctl *ctl)
{
    if (ctl->socket != NULL)
        return ctl->socket;
    if (access(DEFAULT_SOCKET, F_OK) != 0 && access(DATA_DIR_SOCKET, F_OK) == 0)
        return DATA_DIR_SOCKET;
    return DEFAULT_SOCKET;
}

// Why nobody answers; libcurl keeps errno to itself.
static const char *socket_problem(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path)
        return "the path is too long for a socket";
    memcpy(address.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return strerror(errno);
    int rc = connect(fd, (struct sockaddr *)&address, sizeof address);
    const char *text = rc == 0 ? "the connection was closed without an answer" : strerror(errno);
    close(fd);
    return text;
}

static int no_daemon(const slc_ctl *ctl, const char *path)
{
    char host[256] = "localhost";
    gethostname(host, sizeof host - 1);
    host[strcspn(host, ".")] = '\0';
    slc_buffer node = {0};
    if (ctl->node != NULL)
        slc_buffer_text(&node, ctl->node);
    else
        slc_buffer_format(&node, "sluice@%s", host);
    fflush(stdout);
    fprintf(
        stderr,
        "Error: unable to connect to node %.*s: socket %s: %s\n"
        "  * Is the broker running? `systemctl status sluiced` or `pgrep -a sluiced` tells.\n"
        "  * Is this its socket? The daemon logs the path at start; name it with --socket or "
        "SLUICECTL_SOCKET.\n"
        "  * A daemon that may not write /run/sluice puts admin.sock into its data directory.\n",
        SLC_SLICE_FMT(slc_buffer_slice(&node)), path, socket_problem(path));
    slc_buffer_fini(&node);
    return CTL_UNAVAILABLE;
}

/* ---- one request ---- */

static size_t on_body(char *data, size_t size, size_t count, void *arg)
{
    slc_buffer *body = arg;
    size_t bytes = size * count;
    if (body->bytes + bytes > REPLY_BYTES_MAX)
        return 0;
    slc_buffer_put(body, data, bytes);
    return bytes;
}

static size_t on_header(char *data, size_t size, size_t count, void *arg)
{
    static const char name[] = "X-Sluice-Messages:";
    slc_ctl_reply *reply = arg;
    size_t bytes = size * count;
    if (bytes > sizeof name && strncasecmp(data, name, sizeof name - 1) == 0) {
        char number[32];
        snprintf(number, sizeof number, "%.*s", (int)(bytes - sizeof name + 1),
                 data + sizeof name - 1);
        reply->messages = strtoull(number, NULL, 10);
    }
    return bytes;
}

// The process that listens on the socket, in our numbering of processes.
static pid_t listener_pid(CURL *curl)
{
    curl_socket_t fd;
    struct ucred cred;
    socklen_t bytes = sizeof cred;
    if (curl_easy_getinfo(curl, CURLINFO_ACTIVESOCKET, &fd) != CURLE_OK || fd == CURL_SOCKET_BAD ||
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &bytes) != 0)
        return 0;
    return cred.pid;
}

typedef struct content {
    const char *json; // NULL: no body
    size_t bytes;
} content;

static struct curl_slist *headers_of(const char *reason, const content *body)
{
    struct curl_slist *headers = curl_slist_append(NULL, "Accept: application/json");
    if (body->json != NULL) {
        headers = curl_slist_append(headers, "Content-Type: application/json");
        headers = curl_slist_append(headers, "Expect:"); // the socket is local: do not ask first
    }
    if (reason == NULL)
        return headers;
    // One line, whatever the operator typed.
    slc_buffer line = {0};
    slc_buffer_text(&line, "X-Reason: ");
    for (const char *c = reason; *c != '\0'; c++)
        slc_buffer_put(&line, (unsigned char)*c < 0x20 ? " " : c, 1);
    slc_buffer_put(&line, "", 1);
    headers = curl_slist_append(headers, (const char *)line.data);
    slc_buffer_fini(&line);
    return headers;
}

static CURLcode perform(const slc_ctl *ctl, const char *socket, const char *method,
                        const char *path, const char *reason, const content *sent, slc_buffer *body,
                        slc_ctl_reply *reply)
{
    static bool ready;
    if (!ready) {
        curl_global_init(CURL_GLOBAL_NOTHING);
        ready = true;
    }
    CURL *curl = curl_easy_init();
    if (curl == NULL)
        return CURLE_OUT_OF_MEMORY;
    slc_buffer url = {0};
    slc_buffer_format(&url, "http://localhost%s", path);
    slc_buffer_put(&url, "", 1);
    struct curl_slist *headers = headers_of(reason, sent);
    curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, socket);
    curl_easy_setopt(curl, CURLOPT_URL, (const char *)url.data);
    curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, body);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, reply);
    if (strcmp(method, "GET") != 0)
        curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    if (sent->json != NULL) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)sent->bytes);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, sent->json);
    } else if (strcmp(method, "POST") == 0)
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, "");
    if (ctl->timeout_s > 0)
        curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)(ctl->timeout_s * 1000));
    CURLcode rc = curl_easy_perform(curl);
    if (rc == CURLE_OK) {
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &reply->status);
        reply->daemon_pid = listener_pid(curl);
    }
    curl_easy_cleanup(curl);
    curl_slist_free_all(headers);
    slc_buffer_fini(&url);
    return rc;
}

static int request(slc_ctl *ctl, const char *method, const char *path, const char *reason,
                   const content *sent, slc_ctl_reply *reply, bool quietly)
{
    *reply = (slc_ctl_reply){0};
    if (ctl->dry_run && strcmp(method, "GET") != 0) {
        printf("%s %s\n", method, path);
        if (reason != NULL)
            printf("X-Reason: %s\n", reason);
        if (sent->json != NULL)
            printf("%.*s\n", (int)sent->bytes, sent->json);
        return CTL_OK;
    }
    const char *socket = socket_path(ctl);
    slc_buffer body = {0};
    CURLcode rc = perform(ctl, socket, method, path, reason, sent, &body, reply);
    if (rc == CURLE_OPERATION_TIMEDOUT) {
        slc_buffer_fini(&body);
        return quietly
                   ? CTL_UNAVAILABLE
                   : slc_ctl_error(CTL_TEMPFAIL, "operation %s timed out. Timeout value used: %s",
                                   ctl->command->name, ctl->timeout != NULL ? ctl->timeout : "60");
    }
    if (rc != CURLE_OK) {
        slc_buffer_fini(&body);
        return quietly ? CTL_UNAVAILABLE : no_daemon(ctl, socket);
    }
    int code = CTL_OK;
    if (body.bytes > 0) {
        json_error_t where;
        reply->body = json_loadb((const char *)body.data, body.bytes,
                                 JSON_DECODE_ANY | JSON_ALLOW_NUL, &where);
        if (reply->body == NULL)
            code =
                slc_ctl_error(CTL_SOFTWARE, "the answer of %s is not JSON: %s", socket, where.text);
    }
    slc_buffer_fini(&body);
    if (code == CTL_OK && (reply->status == 401 || reply->status == 403))
        code = slc_ctl_reply_error(reply, CTL_NOPERM);
    else if (code == CTL_OK && reply->status == 503)
        code = quietly ? CTL_UNAVAILABLE : slc_ctl_reply_error(reply, CTL_UNAVAILABLE);
    if (code != CTL_OK)
        slc_ctl_reply_fini(reply);
    return code;
}

int slc_ctl_request(slc_ctl *ctl, const char *method, const char *path, const char *reason,
                    slc_ctl_reply *reply)
{
    return request(ctl, method, path, reason, &(content){0}, reply, false);
}

int slc_ctl_get(slc_ctl *ctl, const char *path, slc_ctl_reply *reply)
{
    int rc = slc_ctl_request(ctl, "GET", path, NULL, reply);
    if (rc != CTL_OK)
        return rc;
    if (reply->status == 200)
        return CTL_OK;
    rc = slc_ctl_reply_error(reply, CTL_SOFTWARE);
    slc_ctl_reply_fini(reply);
    return rc;
}

const char *slc_ctl_text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL ? text : "";
}

uint64_t slc_ctl_number_of(const json_t *object, const char *key)
{
    return (uint64_t)json_integer_value(json_object_get(object, key));
}

int slc_ctl_send(slc_ctl *ctl, const char *method, const char *path, const char *json, size_t bytes,
                 slc_ctl_reply *reply)
{
    return request(ctl, method, path, NULL, &(content){json, bytes}, reply, false);
}

int slc_ctl_request_quietly(slc_ctl *ctl, const char *method, const char *path,
                            slc_ctl_reply *reply)
{
    return request(ctl, method, path, NULL, &(content){0}, reply, true);
}

int slc_ctl_check_node(slc_ctl *ctl)
{
    if (ctl->node == NULL)
        return CTL_OK;
    slc_ctl_reply reply;
    char *path = slc_ctl_path("/api/nodes/%s", ctl->node);
    int rc = slc_ctl_request(ctl, "GET", path, NULL, &reply);
    slc_free(path);
    if (rc != CTL_OK)
        return rc;
    if (reply.status != 200)
        rc = slc_ctl_error(
            CTL_UNAVAILABLE,
            "unable to connect to node %s: the broker at this socket has another name", ctl->node);
    slc_ctl_reply_fini(&reply);
    return rc;
}
