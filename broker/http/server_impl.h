/** Inside the HTTP server: its state, which these files share.
 *
 *      server.c     the http thread and its two mailboxes; start and stop
 *      endpoint.c   listening sockets, each with its library object
 *      receive.c    libmicrohttpd's callbacks: a request comes in, is refused or handed to the loop
 *      request.c    what handlers do with a request: parse, fail, answer
 *      send.c       the answer with its headers goes out
 *
 *  Owner of slc_http: the loop, from start until stop is done. Threads: as the members say.
 */
#ifndef SLC_HTTP_SERVER_IMPL_H
#define SLC_HTTP_SERVER_IMPL_H

#include <microhttpd.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <uv.h>

#include "http/access_log.h"
#include "http/login.h"
#include "http/rates.h"
#include "http/request.h"

/** A library object with its connections. What it knows of TLS it is told once, so new certificates come with a new one, which
 *  listens on the same socket:
 *
 *      made ──the thread begins, or takes it──> listening ──another takes its place──> retired ──no connection is left──> gone
 *
 *  A retired one has no listening socket: it completes handshakes and requests, and closes a connection behind an answer. Beyond
 *  SLC_HTTP_RETIRED_MAX the oldest close what they have as soon as none of their requests waits for the loop.
 */
typedef struct slc_http_endpoint {
    slc_http *http;
    struct MHD_Daemon *daemon;
    uv_poll_t poll;
    bool tcp, tls;
    bool retired;
    uint32_t with_loop; // its requests that the loop has
    struct slc_http_endpoint *next;
} slc_http_endpoint;

enum { SLC_HTTP_RETIRED_MAX = 4 };

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
    slc_http_endpoint *endpoints; // newest first
    int tls_fd; // the listening socket of HTTPS, of which each object has a copy; -1: none
    uint16_t ports[SLC_HTTP_TCP_MAX]; // bound; const after start
    bool closed;                      // no library object is left
    uint32_t with_loop;               // requests that the loop has
    uint32_t active;                  // requests between first line and last octet of the answer
    slc_access_log *access_log;       // NULL: none
    bool draining;
    uint64_t drain_until_ns;
    uv_sem_t go;
    slc_mail drain_mail;   // loop to http: begin to drain
    slc_mail drained_mail; // http to loop: the daemon is closed
    slc_mail tls_mail;     // loop to http: take fresh
    _Atomic(slc_http_endpoint *)
        fresh; // to be the one of HTTPS; NULL: none, and tls_mail is not under way
};

// ---- endpoint.c: before the http thread runs, and on it

/** Open the unix socket, or the fallback's, with a warning; path, device and inode are set. *fd is the caller's. */
SLC_MUST_USE slc_err slc_http_endpoint_open_socket(slc_http *http, const slc_http_options *options,
                                                   int *fd, slc_error *error);
/** Open and start options.tcp[which]; SLC_OK without an effect where it is off. */
SLC_MUST_USE slc_err slc_http_endpoint_open_tcp(slc_http *http, uint32_t which, slc_error *error);
/** Close its connections and free it; it is in no list and nobody polls it. */
void slc_http_endpoint_free(slc_http_endpoint *e);
/** No longer listen, for another does. */
void slc_http_endpoint_retire(slc_http_endpoint *e);
/** Whether it has no connection. */
bool slc_http_endpoint_idle(const slc_http_endpoint *e);

// ---- receive.c

/** Start the library on fd, which it takes. tls: options, ended by MHD_OPTION_END. *out is not in http's list yet. */
SLC_MUST_USE slc_err slc_http_endpoint_start(slc_http *http, int fd, unsigned flags,
                                             struct MHD_OptionItem *tls, slc_http_endpoint **out,
                                             slc_error *error);

// ---- request.c, send.c: the http thread

void slc_http_request_free(slc_http_request *request);
/** The body as JSON: request->json or json_error. */
void slc_http_request_parse(slc_http_request *request);
/** Queue the answer; allowed: methods for the header Allow, 0: without it. */
enum MHD_Result slc_http_send(slc_http_request *request, unsigned allowed);
/** A header of the request; NULL: it has none. Borrowed until the request ends. */
const char *slc_http_request_header(const slc_http_request *request, const char *name);

#endif
