/** A client: one connection as core and the lists see it, whatever protocol it speaks.
 *
 *  A front end makes it when the peer is authenticated and has opened a vhost, and keeps `info` current. It owns the client's
 *  memory and embeds it; core links it, its sessions and its exclusive queues. Thread: the loop.
 */
#ifndef SLC_CORE_CLIENT_H
#define SLC_CORE_CLIENT_H

#include <stdint.h>

#include "base/error.h"
#include "base/slice.h"

typedef struct slc_broker slc_broker;
typedef struct slc_vhost slc_vhost;
typedef struct slc_session slc_session;
typedef struct slc_queue slc_queue;
typedef struct slc_client slc_client;

/** What happened to messages: in a session, a queue or a vhost since it began, in the broker since its start. */
typedef struct slc_stats {
    uint64_t published, confirmed;
    uint64_t returned, dropped; // went nowhere, and came back or not
    uint64_t delivered, got;    // to be acknowledged
    uint64_t delivered_no_ack, got_no_ack;
    uint64_t got_empty;
    uint64_t redelivered; // counted in one of the four above too
    uint64_t acked;
} slc_stats;

/** What a permission is for. */
typedef enum slc_access {
    SLC_ACCESS_CONFIGURE,
    SLC_ACCESS_WRITE,
    SLC_ACCESS_READ,
} slc_access;

typedef struct slc_client_ops {
    /** An operator closes it (320 CONNECTION_FORCED with reason). Returns at once; slc_client_close follows later. */
    void (*close)(slc_client *client, const char *reason);
    /** Memory or disk alarm went on (blocked, reason such as "low on memory") or off. */
    void (*pressure)(slc_client *client, bool blocked, const char *reason);
    /** The store cannot keep up (on): stop reading from it if it publishes; nothing is sent. Go on when off. */
    void (*flow)(slc_client *client, bool on);
    /** May its user do this with the queue (kind SLC_DEST_QUEUE, 0) or exchange (1) of that name in its vhost? Asked through
     *  core/permission.h only. NULL: a front end without users, who may do everything. */
    bool (*may)(slc_client *client, slc_access access, int kind, slc_slice name);
    /** The same for a key of a topic exchange. NULL: as above. */
    bool (*may_topic)(slc_client *client, slc_access access, slc_slice exchange, slc_slice key);
} slc_client_ops;

/** For lists; the front end owns and updates it. Strings are terminated and, once the client is open, never NULL. */
typedef struct slc_client_info {
    const char *name; // "127.0.0.1:50962 -> 127.0.0.1:5672"
    const char *user;
    bool impersonator;    // may publish under any user_id
    const char *protocol; // "{0,9,1}" as RabbitMQ shows it
    const char *state;    // running, blocking, blocked, flow, closing
    const char *auth_mechanism;
    char host[64], peer_host[64];
    uint16_t port, peer_port;
    uint32_t heartbeat_s, frame_max, channel_max;
    slc_slice client_properties; // table content
    uint64_t recv_octets, recv_count, send_octets, send_count, send_pending;
    uint64_t connected_at_ms;
    // TLS, in RabbitMQ's words; tls_protocol "": a plain connection
    const char *tls_protocol, *tls_key_exchange, *tls_cipher, *tls_hash;
    const char *peer_subject, *peer_issuer, *peer_validity; // "": no certificate
} slc_client_info;

struct slc_client {
    uint64_t id; // given by slc_client_open, from 1
    slc_broker *broker;
    slc_vhost *vhost;
    const slc_client_ops *ops;
    void *arg; // the front end's
    slc_client_info info;
    bool cancel_notify; // it can be told that a consumer was ended; the front end's

    slc_session *sessions; // DL list, in order of opening
    uint32_t session_count;
    bool hidden; // not a connection: in no list, total or limit; set before slc_client_open
    slc_queue *exclusive_queues; // DL list
    uint64_t reply_bytes;        // of direct replies handed to it since it stopped reading
    slc_client *prev, *next;     // of the broker's clients
};

/** Link it. broker, vhost, ops, arg and info are set by the caller. */
void slc_client_open(slc_client *client);
/** Every session must be closed or abandoned before. Deletes the client's exclusive queues and unlinks it. */
void slc_client_close(slc_client *client);

#endif
