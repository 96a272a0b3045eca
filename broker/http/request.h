/** One request on its way: from the http thread to the loop and back. Private to this folder.
 *
 *      http thread: new ──> body read ──> routed ──(mailbox)──> loop: handler ──> answered ──(mailbox)──> http thread: sent, freed
 *
 *  Owner: the thread that has it. While the loop has it, its libmicrohttpd connection is suspended, so it cannot go away. A
 *  handler fills the answer and calls slc_http_answer exactly once, inside or later (for what takes time).
 */
#ifndef SLC_HTTP_REQUEST_H
#define SLC_HTTP_REQUEST_H

#include <jansson.h>
#include <sys/types.h>

#include "base/mailbox.h"
#include "base/table.h"
#include "http/http.h"
#include "http/json.h"
#include "http/path.h"

typedef struct slc_http_request slc_http_request;
typedef struct slc_route_entry slc_route_entry;

/** Who is at the other end. */
typedef struct slc_http_peer {
    uid_t uid;
    pid_t pid;
    bool admin;
    bool known; // false: the credentials could not be read
    bool tcp;   // over the network: a user and a password decide, uid and pid mean nothing
    bool tls;   // and nobody can listen
    bool loopback;
    char address[64]; // "" for a unix socket
} slc_http_peer;

typedef enum slc_http_method {
    SLC_HTTP_GET = 1, // and HEAD
    SLC_HTTP_PUT = 2,
    SLC_HTTP_POST = 4,
    SLC_HTTP_DELETE = 8,
    SLC_HTTP_OPTIONS = 16, // answered for every path that there is
    SLC_HTTP_OTHER = 32,
    SLC_HTTP_ALL = SLC_HTTP_GET | SLC_HTTP_PUT | SLC_HTTP_POST | SLC_HTTP_DELETE,
} slc_http_method;

struct slc_http_request {
    slc_mail mail; // first
    slc_http *http;
    void *connection;               // libmicrohttpd's; http thread only
    struct slc_http_endpoint *from; // http thread only
    slc_http_peer peer;
    slc_http_method method;
    char *method_name;
    char *target; // owned; taken apart in place
    size_t
        path_at; // where in it the path begins, behind options.path_prefix; SIZE_MAX: it has another
    char *audit; // owned; the path as it came, for the log
    slc_path path;
    slc_slice vars[4]; // what stood at the `*` of the route: vhost, name, ...
    uint32_t var_count;
    char *reason;          // owned; header X-Reason or NULL
    char *user, *password; // owned; of basic authentication or a session; NULL on the unix socket
    char *session;         // owned; the cookie, where there is no basic authentication; NULL: none
    char *csrf;            // owned; header X-Sluice-CSRF or NULL
    uint32_t tags;         // slc_auth_tag of that user; an administrator's on the unix socket
    const slc_route_entry *route;
    bool begun, sent, suspended;
    slc_buffer input; // the request's body, at most options.max_body_bytes
    bool input_too_large;
    json_t *json;     // what it says, parsed on the http thread; NULL: no body, or no JSON
    char *json_error; // owned; why it is no JSON

    // the answer
    unsigned status;
    slc_buffer body;
    uint64_t messages; // header X-Sluice-Messages when messages_known
    bool messages_known;
    bool columns_done;            // the answer has no other fields than those asked for
    char *location;               // owned; header Location or NULL
    char *cookie;                 // owned; header Set-Cookie or NULL
    char *file_name;              // owned; the answer is to be saved under it; NULL: no
    bool challenge;               // header WWW-Authenticate, over TCP
    struct slc_http_agent *agent; // http/agent.h; while the loop has it
    // How a handler that wants to let others have the loop goes on; NULL: there is none.
    void (*go_on)(slc_http_request *request);
    void *progress; // the handler's
};

struct slc_route_entry {
    slc_http_method method;
    const char *pattern; // segments below /api, "*" takes one
    void (*handle)(slc_http_request *request);
    bool open; // for everybody
};

/** Find the handler: 0 and request->route, ->vars; or 404, 405 (then *allowed has the methods). */
unsigned slc_http_route(slc_http_request *request, unsigned *allowed);

/** {"error","reason"} as the body. */
void slc_http_fail(slc_http_request *request, unsigned status, const char *error,
                   const char *format, ...) SLC_PRINTF(4, 5);
/** With a "detail" for people, where "reason" has to be a word of RabbitMQ; NULL: none. */
void slc_http_fail_detail(slc_http_request *request, unsigned status, const char *error,
                          const char *reason, const char *detail);
/** The body as a JSON object; borrowed. NULL: it is none, and the answer is already filled (400 not_json): hand it back.
 *  @thread the loop's */
const json_t *slc_http_json(slc_http_request *request);
/** RabbitMQ's 404. */
void slc_http_not_found(slc_http_request *request);
/** 401: known, and not allowed. */
void slc_http_unauthorised(slc_http_request *request, const char *reason);
/** Take user and password out of an Authorization header; false: it has none that we can read. value may be NULL. */
bool slc_http_credentials(slc_http_request *request, const char *value);
/** Check them, then what the tags allow, then run the handler: at once or later. @thread the loop's. */
void slc_http_login(slc_http_request *request);
/** Whether the request may see that vhost. @thread the loop's. */
bool slc_http_may_enter(const slc_http_request *request, slc_slice vhost);
/** Whether it may see a connection of that user. @thread the loop's. */
bool slc_http_may_see_of(const slc_http_request *request, const char *user);
/** Whose doing the request's is, for slc_broker_act_as. */
const char *slc_http_actor(const slc_http_request *request);
/** Give the browser the cookie of a session; NULL: take it away. */
void slc_http_cookie(slc_http_request *request, const char *token);
/** The token in a Cookie header; on the heap. NULL: none. */
char *slc_http_cookie_find(const char *header);
/** Hand the request back. @thread the loop's. */
void slc_http_answer(slc_http_request *request);

/** Go on with request->agent or ->go_on when the loop comes round. @thread the loop's */
void slc_http_later(slc_http_request *request);

/** @thread the loop's */
const slc_http_options *slc_http_options_of(const slc_http *http);
struct slc_rates *slc_http_rates(const slc_http *http);
struct slc_logins *slc_http_logins(const slc_http *http);
/** A login was tried. */
void slc_http_attempt(slc_http *http, bool good);
typedef struct slc_http_attempts {
    uint64_t good, failed; // over HTTP, since the start
    uint64_t http_good_before, http_failed_before, amqp_good_before, amqp_failed_before; // a reset
} slc_http_attempts;
slc_http_attempts *slc_http_attempts_of(slc_http *http);
void slc_http_status_get(const slc_http *http, slc_http_status *out);

/** "GET, DELETE" of a set of methods. */
const char *slc_http_methods_text(unsigned methods, char *text, size_t cap);

/** Credentials of the peer of a connected unix socket. group: UINT_MAX for none. */
void slc_http_peer_get(int fd, gid_t group, slc_http_peer *out);
/** Of a connected TCP socket. */
void slc_http_peer_address(int fd, slc_http_peer *out);
/** The id of a group by name, or (gid_t)-1. May read files: call at start only. */
gid_t slc_http_group_id(const char *name);
/** A listening TCP socket; ip NULL: every address, IPv6 and IPv4. port is what was bound. */
SLC_MUST_USE slc_err slc_http_tcp_open(const char *ip, uint16_t port, int *fd_out, uint16_t *bound,
                                       slc_error *error);
/** A whole small file, with a NUL behind it; slc_free. */
SLC_MUST_USE slc_err slc_http_file_read(const char *path, char **text, slc_error *error);
/** A listening unix socket, mode 0666; the file is created. */
SLC_MUST_USE slc_err slc_http_socket_open(const char *path, int *fd_out, slc_error *error);

#endif
