/** The AMQP 0-9-1 front end: listeners, connections, channels; everything a client may do becomes a call of core/session.h.
 *
 *  A server belongs to one loop. Its order of life:
 *
 *      slc_amqp_new ──> slc_amqp_listen (several) ──> ... ──> slc_amqp_quiesce ──> (broker idle) ──> slc_amqp_shutdown ──> slc_amqp_free
 *
 *  Output is written by slc_net_flush_all, which the driver of the loop calls after slc_broker_turn. Thread: the loop.
 *  @spec amqp-semantics 1, 3-5, 11, 12, 16, 19, 21
 */
#ifndef SLC_AMQP091_AMQP091_H
#define SLC_AMQP091_AMQP091_H

#include "auth/auth.h"
#include "core/broker.h"
#include "net/listener.h"
#include "net/net.h"
#include "net/tls.h"

typedef struct slc_amqp_server slc_amqp_server;

/** Bits, in the order of the list that clients get. EXTERNAL is offered on TLS listeners only, ANONYMOUS with a user for it. */
enum {
    SLC_AMQP_MECHANISM_PLAIN = 1,
    SLC_AMQP_MECHANISM_AMQPLAIN = 2,
    SLC_AMQP_MECHANISM_EXTERNAL = 4,
    SLC_AMQP_MECHANISM_ANONYMOUS = 8,
};

/** Zero means the default in brackets, except where 0 has a meaning. */
typedef struct slc_amqp_settings {
    uint16_t heartbeat_s;          // offered; 0: off
    uint16_t channel_max;          // offered; 0: no limit
    uint32_t frame_max;            // offered; 0: no limit; else at least 4096
    uint32_t initial_frame_max;    // accepted before tuning [128 KiB]
    uint64_t max_message_bytes;    // larger ones are refused with 406 [16 MiB]
    uint32_t handshake_timeout_ms; // from accept to connection.open-ok [10 s]
    uint32_t connections_max;      // 0: no limit
    uint32_t channels_max;         // of the node, 0: no limit
    const char *node;              // its name in the text of that limit
    const char *product;           // server property, such as "Sluice"
    const char *version;
    const char *cluster_name;
    unsigned mechanisms;        // SLC_AMQP_MECHANISM_... that are offered [PLAIN, AMQPLAIN]
    const char *anonymous_user; // who logs in by ANONYMOUS; NULL: nobody
    const char *anonymous_pass;
    bool require_tls;         // no passwords from other machines without TLS
    slc_tls_login cert_login; // where EXTERNAL finds the user
    slc_tls_san cert_san;
    uint32_t cert_san_index;
    size_t output_high_bytes; // per connection, deliveries rest above [1 MiB]
    size_t output_low_bytes;  // and go on below [256 KiB]
} slc_amqp_settings;

/** net, broker and auth are borrowed until slc_amqp_free; settings are copied. */
slc_amqp_server *slc_amqp_new(slc_net *net, slc_broker *broker, slc_auth *auth,
                              const slc_amqp_settings *settings);
/** Reload: for connections accepted from now on. */
void slc_amqp_set(slc_amqp_server *server, const slc_amqp_settings *settings);

/** options->accepted and arg are filled here; nodelay and the rest are the caller's. out may be NULL. The listener is the server's. */
SLC_MUST_USE slc_err slc_amqp_listen(slc_amqp_server *server, const slc_listener_options *options,
                                     slc_listener **out, slc_error *error);
/** Serve a connected socket (takes fd); tests and socket activation use it. */
void slc_amqp_serve(slc_amqp_server *server, int fd, const slc_peer *peer);

/** Whether that SASL mechanism is offered: on a listener with TLS, or on one without (there perhaps to clients of this machine only). */
bool slc_amqp_offers(const slc_amqp_server *server, slc_slice mechanism, bool tls);
/** Connections, also those that have not logged in yet or are closing. */
uint32_t slc_amqp_connections(const slc_amqp_server *server);
/** Bring the counters in slc_client.info of all connections up to date (before a list is made). */
void slc_amqp_refresh(slc_amqp_server *server);

/** First step of a stop: accept nobody, read nothing more; answers and confirms of what has been read still go out. */
void slc_amqp_quiesce(slc_amqp_server *server);
/** Second step: close every connection with 320 CONNECTION_FORCED "broker forced connection closure with reason 'REASON'".
 *  Those that have not answered after timeout_ms are cut off. done runs once, in a later turn, when no connection is left. */
void slc_amqp_shutdown(slc_amqp_server *server, const char *reason, uint32_t timeout_ms,
                       void (*done)(void *arg), void *arg);
/** Cuts off what is still connected. Memory goes in a later turn of the loop (an own handle closes first). */
void slc_amqp_free(slc_amqp_server *server);

#endif
