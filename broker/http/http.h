/** The management API: RabbitMQ's HTTP paths and field names, for sluicectl and (later) everybody's tools.
 *
 *      client ──unix socket──> http thread (libmicrohttpd, its own loop)        the broker's loop
 *                                 │ peer check, path, suspend                       │
 *                                 └───────── request, by mailbox ──────────────────>│ handler builds the JSON text
 *                                 │<──────── the same request, answered ────────────┘
 *                                 └ resume, send
 *
 *  The http thread never touches broker state and the loop never touches a socket of ours: a request is one owned item that
 *  belongs to one of the two threads at a time. A handler runs to its end in one turn of the loop, or
 *  goes on in later ones: a long list, what waits for the store.
 *
 *  Who may, over TCP: a user with a password (basic authentication, or a browser's session of POST login) and the tags that the
 *  path needs; see access.c.
 *  On the unix socket: it has mode 0666 and the peer's credentials decide. uid 0, our own uid and members of the socket group
 *  are administrators; everybody else gets 401. Changes are logged in category audit with uid, pid and path.
 *
 *  Paths (all below /api). Answers have RabbitMQ's field names; a field that we do not know is left out.
 *      GET    overview  nodes  nodes/N  vhosts  vhosts/V  version  healthchecks/node  health/checks/...
 *      GET, PUT, DELETE  policies[/V[/P]]  operator-policies[/V[/P]]  parameters[/C[/V[/P]]]  global-parameters[/P]
 *      GET, POST         definitions[/V]
 *      GET    queues[/V[/Q]]  exchanges[/V[/E]]  bindings[/V]  queues/V/Q/bindings  consumers[/V]
 *      GET    connections[/C]  vhosts/V/connections  channels  connections/C/channels  vhosts/V/channels
 *      DELETE queues/V/Q (if-unused, if-empty)  queues/V/Q/contents  connections/C (header X-Reason)
 *      GET, POST (dir, rate), DELETE  sluice/backup
 *      PUT, DELETE       exchanges/V/E  queues/V/Q            POST  exchanges/V/E/publish  queues/V/Q/get
 *      GET, POST, DELETE bindings/V/e/E/q/Q[/K]  bindings/V/e/E/e/E[/K]
 *      GET    exchanges/V/E/bindings/source  exchanges/V/E/bindings/destination  aliveness-test/V
 *      GET, PUT          sluice/alarms/limits                 GET   sluice/config
 *      GET, PUT  cluster-name  feature-flags[/F/enable]       GET, DELETE  connections/username/U  auth/attempts/N[/source]
 *      POST, DELETE      login                                GET   auth  sluice/session  channels/C  nodes/N/memory[/relative]
 *      DELETE reset[/N]  POST rebalance/queues  vhosts/V/start/N  queues/V/Q/actions      GET   shovels  federation-links ...
 *      GET    store  sluice/status  sluice/ready  sluice/listeners        POST sluice/shutdown
 *      POST   sluice/config/reload  sluice/config/check  sluice/listeners/suspend  sluice/listeners/resume  sluice/logs/rotate
 *      GET    sluice/log  sluice/process  sluice/threads  sluice/interfaces  sluice/cipher-suites  sluice/policies/V/Q  sluice/resolve/N   PUT  sluice/log/level
 *  A connection C is named by its name or by its pid `<node.N.0.0>`. DELETE on queues answers with the header
 *  X-Sluice-Messages: how many messages went.
 *  Query of lists: columns, sort, page and the rest of list_query.h; arguments=raw gives field tables as base64 of their AMQP
 *  encoding, so that no type is lost.
 *
 *  Thread: slc_http_start, _stopping and _stop on the broker's loop; callbacks run there too.  @spec management-api 1, 4, 5, 8, 11
 */
#ifndef SLC_HTTP_HTTP_H
#define SLC_HTTP_HTTP_H

#include <stdint.h>
#include <stdio.h>
#include <uv.h>

#include "base/error.h"
#include "core/broker.h"

typedef struct slc_http slc_http;

typedef struct slc_http_listener {
    const char *protocol; // "amqp", "http", ...
    const char *purpose;  // "AMQP 0-9-1"; may be NULL
    const char *ip;       // "127.0.0.1", "::", or the path of a unix socket
    uint16_t port;        // 0 for a unix socket
    bool suspended;       // takes no connections at present
} slc_http_listener;

/** A counter or size of the store, by name ("commits", "log_bytes", ...). */
typedef struct slc_http_stat {
    const char *name;
    uint64_t value;
} slc_http_stat;

/** A certificate of a listener, AMQP over TLS or HTTPS; times are seconds since 1970. */
typedef struct slc_http_certificate {
    const char *key, *file, *subject, *issuer, *serial;
    int64_t not_before, not_after;
} slc_http_certificate;

/** A SASL mechanism that the broker knows. */
typedef struct slc_http_mechanism {
    const char *name, *description;
    bool offered; // by a listener that there is
} slc_http_mechanism;

/** What only the daemon knows. Pointers are valid until the callback's next run. A member that is 0 or NULL and marked
 *  (optional) is left out of the answer. */
typedef struct slc_http_status {
    uint64_t uptime_ms;
    uint64_t mem_used;        // RssAnon, bytes: what the watermark is compared with
    uint64_t mem_rss;         // VmRSS, bytes
    uint64_t mem_limit;       // the watermark, bytes (optional)
    bool mem_alarm;           // also in slc_broker_pressure_reason
    uint64_t disk_free;       // bytes on the data directory's file system
    uint64_t disk_free_limit; // bytes
    bool disk_alarm;
    const char *disk_cause; // why the store cannot grow (optional)
    uint64_t fd_used, fd_total;
    const char *data_dir;
    const char *const *config_files;
    uint32_t config_file_count;
    const char *const *log_files;
    uint32_t log_file_count;
    const slc_http_listener *listeners; // without our own socket, which we add
    uint32_t listener_count;
    const slc_http_certificate *certificates;
    uint32_t certificate_count;
    const slc_http_mechanism *mechanisms;
    uint32_t mechanism_count;
    const char *store_flush;    // "group", "full", "interval" (optional)
    const slc_http_stat *store; // (optional)
    uint32_t store_count;
    bool ready; // accepts connections
} slc_http_status;

struct slc_http_backup_ops; // http/backup.h
struct slc_http_admin_ops;  // http/admin.h
struct slc_auth;            // auth/auth.h

/** Keys of the configuration; the last one is a share of the memory that the others' limit is a share of. */
#define SLC_HTTP_LIMITS(X)                                                                         \
    X("vm_memory_high_watermark.relative")                                                         \
    X("vm_memory_high_watermark.absolute")                                                         \
    X("disk_free_limit.absolute")                                                                  \
    X("disk_free_limit.relative")

enum {
    SLC_HTTP_TCP_MAX = 2, // plain and TLS
    SLC_HTTP_ORIGINS_MAX = 32,
    SLC_HTTP_HEADERS_MAX = 8,
};

typedef struct slc_http_header {
    const char *name, *value;
} slc_http_header;

/** One listener over TCP: everybody with a password. ip is copied, the other texts are borrowed until slc_http_start returns. */
typedef struct slc_http_tcp {
    bool on;
    const char *ip; // NULL: every address, IPv6 and IPv4
    uint16_t port;  // 0: a free one
    bool tls;
    const char *cert_file, *key_file; // PEM; needed with tls
    const char *key_password;         // NULL: none
    bool tls12, tls13;                // the versions that are spoken
    const char *ca_file;              // NULL: clients need no certificate
} slc_http_tcp;

typedef struct slc_http_options {
    uv_loop_t *loop;                  // the broker's
    slc_broker *broker;               // outlives the stop
    struct slc_auth *auth;            // the same
    const char *socket_path;          // copied
    const char *socket_path_fallback; // used when the first cannot be made there; NULL: none
    const char *group;   // members are administrators; NULL or a group that does not exist: none
    const char *node;    // "sluice@host"; copied
    const char *product; // "Sluice"; copied
    const char *version; // copied
    const char *cluster_name; // copied; NULL: the node's name
    const char *cluster_id;   // borrowed: the same for the life of the data directory; NULL: none
    /** Fill out (zeroed before). */
    void (*status)(slc_http_status *out, void *arg);
    /** An operator asked for an orderly stop; returns at once. */
    void (*shutdown)(void *arg);
    slc_http_tcp tcp[SLC_HTTP_TCP_MAX];
    uint64_t max_body_bytes;    // of a request
    uint64_t max_message_bytes; // of a message that a request publishes
    uint32_t idle_timeout_s;
    const char *path_prefix; // of every path over TCP: "/broker"; copied; NULL: none
    const char *cors_origins[SLC_HTTP_ORIGINS_MAX]; // whose pages may ask; "*": any; copied
    uint32_t cors_origin_count;
    uint64_t cors_max_age_s;
    slc_http_header headers[SLC_HTTP_HEADERS_MAX]; // of every answer; copied
    uint32_t header_count;
    uint64_t rates_interval_ms;    // a rate covers no less time
    bool rates_off;                // no rates and no message_stats
    bool stats_off;                // as if every request said disable_stats=true
    bool queue_totals;             // and enable_queue_totals=true
    uint64_t login_idle_ms;        // a browser's session that is not used so long is over
    bool basic_off;                // nobody gets in by basic authentication
    bool operator_policies_locked; // over TCP they can be read only
    const char *log_dir;           // of the access log; NULL: none. Used by slc_http_start only
    const char *
        realm; // of basic authentication: printable ASCII without quote and backslash; NULL: RabbitMQ's
    /** Set a limit at which publishers are blocked, at once and until the next reload or start. limit is one of
     *  SLC_HTTP_LIMITS; value as the configuration would have it. SLC_EINVAL with a sentence. NULL: cannot be done here. */
    slc_err (*set_limit)(const char *limit, const char *value, slc_error *error, void *arg);
    const struct slc_http_admin_ops *admin;   // borrowed; NULL: none of that can be done here
    const struct slc_http_backup_ops *backup; // borrowed; NULL: there are no backups here
    void *arg;
} slc_http_options;

/** Listens on the socket and starts the thread. A socket file left by a dead daemon is replaced; SLC_EADDRINUSE when a live
 *  one answers there. */
SLC_MUST_USE slc_err slc_http_start(const slc_http_options *options, slc_http **out,
                                    slc_error *error);
/** Whether tcp, which has tls, could begin with its files: without a socket or a thread. SLC_EINVAL: what libmicrohttpd's TLS (GnuTLS)
 *  cannot use, though OpenSSL may. */
SLC_MUST_USE slc_err slc_http_tls_check(const slc_http_tcp *tcp, slc_error *error);
/** Connections that are accepted from now on begin with what the files of tcp say now; which is on and has tls, and whose address
 *  and port do not count. Earlier ones keep what they have and end behind their next answer. On an error, which error explains,
 *  everything stays as it is; so it does when the server has no such port (SLC_ENOTFOUND) or is stopping (SLC_ECLOSED). */
SLC_MUST_USE slc_err slc_http_tls_load(slc_http *http, const slc_http_tcp *tcp, slc_error *error);
/** The bound port of options.tcp[which]; 0: not on. */
uint16_t slc_http_tcp_port(const slc_http *http, uint32_t which);
/** The path in use. */
const char *slc_http_socket_path(const slc_http *http);
/** From now on requests get 503 (what is under way is answered). */
void slc_http_stopping(slc_http *http);
/** Answer what is under way, close, remove the socket file, end the thread; http is freed when done has run, which happens on
 *  the loop, later. Requests that wait for the broker (a queue being deleted) are waited for, so the broker must go on
 *  turning until then. */
void slc_http_stop(slc_http *http, void (*done)(void *arg), void *arg);

#endif
