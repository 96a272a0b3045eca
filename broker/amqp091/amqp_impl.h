/** What the files of amqp091/ share. Nobody else includes it, but for unit tests.
 *
 *  A connection moves so (connection.c has the one function that moves it):
 *
 *      HEADER ──protocol header──> START ──start-ok──> TUNE ──tune-ok──> OPENING ──open──> RUNNING
 *        │                          │  ▲ │                                               │      │
 *        │ foreign header           │  └─┘ secure-ok                            close    │      │ error, operator, shutdown
 *        ▼                          ▼ error, bad login                        (waits for │      ▼
 *      GONE <──3 s──────────────── DEAF                                        sessions) │   CLOSING ──close-ok, deadline──> GONE
 *                                                                                        └──────────close-ok──────────────> GONE
 *
 *      HEADER..OPENING  a deadline runs: handshake_timeout
 *      START            may wait for auth (login is set): input rests, the peer may vanish meanwhile
 *      RUNNING          client is linked in core; channels may exist
 *      CLOSING          we sent connection.close; no channels; everything but close and close-ok is dropped
 *      DEAF             input is dropped unread until the deadline (a guess of a password costs its time; a stream out
 *                       of frame cannot be read)
 *      GONE             the socket is net's; the struct is freed when no function of it is on the stack
 */
#ifndef SLC_AMQP091_AMQP_IMPL_H
#define SLC_AMQP091_AMQP_IMPL_H

#include <utlist.h>

#include "amqp091/amqp091.h"
#include "auth/sasl.h"
#include "base/map.h"
#include "base/table.h"
#include "core/session.h"
#include "core/topology.h"
#include "net/conn.h"
#include "net/tls.h"
#include "wire/amqp_fast.h"
#include "wire/amqp_frame.h"
#include "wire/amqp_method.h"
#include "wire/amqp_props.h"

enum {
    AMQP_COPY_MAX = 2048,  // bodies up to this are copied into the output, larger ones referenced
    AMQP_DELAY_MS = 3000,  // before a silent close
    AMQP_LINGER_MS = 2000, // for the peer to close its side after the last frame
    AMQP_CLOSE_TIMEOUT_MS = 30000,      // for close-ok
    AMQP_UNLIMITED_FRAME_MAX = 1 << 20, // method and header frames when frame_max 0 was negotiated
};
#define AMQP_BODY_BYTES_MAX (512ull << 20)

typedef enum amqp_state {
    AMQP_HEADER,
    AMQP_START,
    AMQP_TUNE,
    AMQP_OPENING,
    AMQP_RUNNING,
    AMQP_CLOSING,
    AMQP_DEAF,
    AMQP_GONE,
} amqp_state;

typedef struct amqp_conn amqp_conn;

typedef enum amqp_content_state {
    AMQP_CONTENT_NONE,
    AMQP_CONTENT_HEADER, // a publish came, its header has not
    AMQP_CONTENT_BODY,
} amqp_content_state;

/** What the last call did with its frame. */
typedef enum amqp_verdict {
    AMQP_TAKEN, // consumed; the connection may have changed state
    AMQP_WAIT,  // not consumed, input is paused; the same frame comes again
} amqp_verdict;

typedef struct amqp_channel {
    uint16_t number;
    uint8_t content; // amqp_content_state
    bool mandatory;
    amqp_conn *conn;
    slc_session *session; // NULL: we sent channel.close and wait for close-ok

    // content being received
    uint8_t *publish; // HEADER: exchange and key, copied; owned
    uint8_t publish_exchange_bytes, publish_key_bytes;
    slc_message *message; // BODY: owned; NULL: the body is dropped because of `refusal`
    slc_slice headers;    // of message
    uint64_t body_left;
    slc_error *refusal; // raised when the content is complete; owned

    UT_hash_handle hh; // of conn->channels by number
} amqp_channel;

struct amqp_conn {
    slc_conn *io;
    slc_amqp_server *server;
    amqp_channel *last; // used last: saves the lookup
    amqp_channel *channels;
    uint8_t state; // amqp_state
    bool in_input; // amqp_input is on the stack
    bool alarm;    // publishers have to stop
    bool flow;     // publishers have to wait for the store
    bool blocked;  // and this one did
    bool told_blocked;
    bool loopback;
    bool secure;                                         // TLS
    bool challenged;                                     // connection.secure was sent
    bool cap_auth_close, cap_cancel_notify, cap_blocked; // of the client
    bool deferred;                                       // in server->deferred
    bool linked;                                         // client is linked in core
    uint32_t frame_max;                                  // negotiated; 0: none

    // the frame whose payload is being received (body frames only)
    bool frame_open;
    uint64_t frame_left;         // payload octets to come; then the end octet
    amqp_channel *frame_channel; // whose body it is, NULL: dropped

    uint32_t channel_max; // 0: none
    uint32_t heartbeat_ms;
    uint32_t heard_missed;   // checks in a row without an octet
    uint64_t heard_check_ms; // next check
    uint64_t heard_octets;   // at the last check
    uint64_t deadline_ms;    // 0: none
    const slc_sasl_mechanism *mechanism;
    slc_auth_ticket *login; // a password is being checked, input rests; NULL: none
    uint32_t login_id;      // the method that gave it
    char *forced;           // reason of an operator's close that is still to be done
    char *name; // "127.0.0.1:50962 -> 127.0.0.1:5672"; owned, as are user, vhost and properties
    char *user;
    char *vhost;      // its name, once opened: the log needs it when the vhost is gone
    char *properties; // content of client-properties
    slc_client client;
    amqp_conn *prev, *next; // server->conns
    amqp_conn *deferred_prev, *deferred_next;
};

struct slc_amqp_server {
    slc_net *net;
    slc_broker *broker;
    slc_auth *auth;
    slc_amqp_settings settings;
    char *product, *version, *cluster_name;
    char *anonymous_user, *anonymous_pass;
    char *cluster_shown;          // in properties; NULL: they are to be made
    slc_table_builder properties; // server-properties
    slc_listener **listeners;
    uint32_t listener_count;
    amqp_conn *conns;
    uint32_t conn_count, open_count; // open: with an open vhost
    amqp_conn *deferred;
    uv_idle_t idle;  // active while there is deferred work
    slc_error error; // scratch of the calls into core: not cleared for each
    bool stopping, freed;
    void (*done)(void *arg);
    void *done_arg;
};

/* server.c */
/** Do what callbacks of core must not do: soon, on an empty stack. */
void slc_amqp_defer(amqp_conn *c);
void slc_amqp_server_conn_gone(slc_amqp_server *server);
/** What connection.start says of us, with the name that the cluster has now. Valid until the next turn. */
slc_slice slc_amqp_server_properties(slc_amqp_server *server);
uint64_t slc_amqp_now_ms(const amqp_conn *c);

/* connection.c */
/** tls NULL: plain. */
void slc_amqp_conn_new(slc_amqp_server *server, int fd, const slc_peer *peer, struct slc_tls *tls);
void slc_amqp_conn_set_state(amqp_conn *c, amqp_state state);
const char *slc_amqp_state_name(const amqp_conn *c);
/** Connection exception: tear down, send connection.close where the state allows, log. id: the method that failed or 0.
 *  @spec 3.4 */
void slc_amqp_conn_error(amqp_conn *c, uint16_t code, uint32_t id, const char *format, ...)
    SLC_PRINTF(4, 5);
/** As above, but the stream cannot be read any further: 501 and deaf. */
void slc_amqp_conn_frame_error(amqp_conn *c, uint16_t code, uint32_t id, const char *text);
/** Close the socket: pending output first, at most linger_ms. */
void slc_amqp_conn_end(amqp_conn *c, uint32_t linger_ms);
/** After close-ok to the client's close: it is the client that closes the socket. */
void slc_amqp_conn_end_after_peer(amqp_conn *c);
/** connection.close of the client: SLC_EPENDING while sessions wait. */
slc_err slc_amqp_conn_close_sessions(amqp_conn *c);
void slc_amqp_conn_unlink(amqp_conn *c);
/** Deferred work of one connection. */
void slc_amqp_conn_deferred(amqp_conn *c);
/** Operator or shutdown; not from a callback of core. */
void slc_amqp_conn_force(amqp_conn *c, const char *explanation, uint32_t timeout_ms);
void slc_amqp_conn_refresh(amqp_conn *c);
/** Publishers have to stop and this connection publishes: it rests until the alarm is over. @spec 19.2 */
void slc_amqp_conn_block(amqp_conn *c);
void slc_amqp_conn_alarm(amqp_conn *c, bool on);
void slc_amqp_conn_free(amqp_conn *c);
extern const slc_client_ops slc_amqp_client_ops;

/* input.c */
size_t slc_amqp_input(slc_conn *io, slc_slice input);
void slc_amqp_sunk(slc_conn *io, size_t bytes);

/* handshake.c */
/** Up to the protocol header; returns octets consumed. */
size_t slc_amqp_handshake_header(amqp_conn *c, slc_slice input);
/** Methods on channel 0 in every state but GONE and DEAF. */
amqp_verdict slc_amqp_connection_method(amqp_conn *c, slc_slice payload);

/* channel.c */
amqp_channel *slc_amqp_channel_lookup(amqp_conn *c, uint16_t number);
static inline amqp_channel *slc_amqp_channel_find(amqp_conn *c, uint16_t number)
{
    if (c->last != NULL && c->last->number == number)
        return c->last;
    return slc_amqp_channel_lookup(c, number);
}
amqp_channel *slc_amqp_channel_new(amqp_conn *c, uint16_t number);
/** The session must be closed or abandoned before. */
void slc_amqp_channel_free(amqp_channel *ch);
/** Forget content that is half received. */
void slc_amqp_channel_drop_content(amqp_channel *ch);
/** Channel exception. @spec 3.3 */
void slc_amqp_channel_error(amqp_channel *ch, uint16_t code, uint32_t id, const char *text);
/** rc of a core call and its text become a channel or a connection exception. */
void slc_amqp_core_error(amqp_channel *ch, slc_err rc, uint32_t id, const slc_error *error);
uint16_t slc_amqp_code_of(slc_err rc);

/* methods.c */
/** A method frame on a channel other than 0. */
amqp_verdict slc_amqp_channel_method(amqp_conn *c, uint16_t number, slc_slice payload);

/* content.c */
/** A basic.publish; rest: the octets behind its frame. *more: octets of rest that were consumed with it. */
amqp_verdict slc_amqp_publish(amqp_channel *ch, slc_slice payload, slc_slice rest, size_t *more);
/** A header frame. */
void slc_amqp_content_header(amqp_channel *ch, slc_slice payload);
/** Octets of a body; the frame is checked. */
void slc_amqp_content_body(amqp_channel *ch, const uint8_t *data, size_t bytes);
/** The octets have been put at slc_amqp_content_at. */
void slc_amqp_content_advance(amqp_channel *ch, size_t bytes);
/** Where the next octets of the body belong; NULL: they are dropped. */
uint8_t *slc_amqp_content_at(amqp_channel *ch);
/** All of the body is there. Publishes. */
void slc_amqp_content_done(amqp_channel *ch);

/* output.c */
/** One method frame. */
void slc_amqp_send(amqp_conn *c, uint16_t number, const slc_amqp_method *method);
void slc_amqp_send_empty(amqp_conn *c, uint16_t number, uint32_t id); // a method without arguments
/** Method, header and body of message. */
void slc_amqp_send_content(amqp_conn *c, uint16_t number, const slc_amqp_method *method,
                           slc_message *message);
extern const slc_session_ops slc_amqp_session_ops;

/* log.c */
void slc_amqp_log_accepted(const amqp_conn *c);
void slc_amqp_log_opened(const amqp_conn *c);
void slc_amqp_log_closed(const amqp_conn *c);
void slc_amqp_log_lost(const amqp_conn *c, slc_err reason);
void slc_amqp_log_conn_error(const amqp_conn *c, uint16_t code, uint32_t id, const char *text);
void slc_amqp_log_channel_error(const amqp_channel *ch, uint16_t code, uint32_t id,
                                const char *text);

#endif
