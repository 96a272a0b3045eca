/** A session is the protocol-neutral state of one channel: consumers, unacked deliveries, confirms, transaction.
 *
 *      open ──> running ──> closing (waits for definitions) ──> gone
 *
 *  Errors: functions return a code and fill *error with the explanation of amqp-semantics (without the "NAME - " prefix). The
 *  front end maps codes: SLC_EACCESS 403, SLC_ENOTFOUND 404, SLC_ELOCKED 405, SLC_EPRECONDITION 406, SLC_ESYNTAX 502,
 *  SLC_ECOMMAND 503, SLC_ENOTALLOWED 530, SLC_ENOTIMPL 540, SLC_EINTERNAL 541. 403 to 406 close the channel, the others the connection.
 *
 *  Waiting: a function that returns SLC_EPENDING has started something that takes time (a durable definition, a transaction, a
 *  page-in). The front end leaves the method unconsumed, stops reading methods of this connection, and when ops->resume
 *  comes calls the same function again with the same arguments; then it gets the final answer. A session waits for one thing
 *  at a time. Deliveries and confirms go on meanwhile.
 *
 *  Thread: the loop. Callbacks may come inside slc_session_publish and slc_session_cancel (returned, confirm; deliver to any session) and
 *  from slc_broker_turn and slc_broker_tick (all of them); they must not call back into core, except slc_session_writable(s, false), and failed, which may end
 *  its session.
 *  @spec amqp-semantics 5, 7-9, 11, 12, 16
 */
#ifndef SLC_CORE_SESSION_H
#define SLC_CORE_SESSION_H

#include <stdint.h>

#include "base/error.h"
#include "base/slice.h"
#include "core/client.h"
#include "core/message.h"

typedef struct slc_consumer slc_consumer;

typedef struct slc_session_ops {
    /** Hand one delivery to the peer: encode now (message is borrowed; take a reference to keep slices of it).
     *  The consumer's tag: slc_consumer_tag. */
    void (*deliver)(slc_session *session, const slc_consumer *consumer, uint64_t delivery_tag,
                    bool redelivered, slc_message *message);
    /** Publishes up to seq (multiple) or just seq are confirmed (ack) or refused. */
    void (*confirm)(slc_session *session, uint64_t seq, bool multiple, bool ack);
    /** Mandatory and unroutable (312 NO_ROUTE); before the confirm of the same message. */
    void (*returned)(slc_session *session, slc_message *message);
    /** The broker ended this consumer (its queue went). */
    void (*cancelled)(slc_session *session, slc_slice consumer_tag);
    /** The session is at fault: end it with this error, as a refused method would. It may be gone on return. From
     *  slc_broker_tick only. */
    void (*failed)(slc_session *session, slc_err rc, const slc_error *error);
    /** Call the function that returned SLC_EPENDING again. */
    void (*resume)(slc_session *session);
} slc_session_ops;

/** number: the channel's, for lists. ops and arg are borrowed for the life of the session. */
slc_session *slc_session_open(slc_client *client, uint16_t number, const slc_session_ops *ops,
                              void *arg);
/** Requeue what is unacked, remove consumers, roll back, then free. SLC_OK: gone; SLC_EPENDING: an auto-delete queue is
 *  still on its way out, call again on resume. No other callback comes after the first call. */
SLC_MUST_USE slc_err slc_session_close(slc_session *session);
/** The same for a lost connection: never waits; the session is gone on return. */
void slc_session_abandon(slc_session *session);

void *slc_session_arg(const slc_session *session);
uint16_t slc_session_number(const slc_session *session);
slc_client *slc_session_client(const slc_session *session);

/** Can the peer's socket take deliveries? The front end says false when its output buffer is over its mark and true when it
 *  has drained; a session starts writable. Deliveries stop at once and nobody else notices. */
void slc_session_writable(slc_session *session, bool writable);

/* ---- exchanges (amqp-semantics 7, 8) ---- */

typedef struct slc_exchange_declare {
    slc_slice name, type;
    bool passive, durable, auto_delete, internal;
    slc_slice arguments; // checked table content
} slc_exchange_declare;

SLC_MUST_USE slc_err slc_session_exchange_declare(slc_session *session,
                                                  const slc_exchange_declare *declare,
                                                  slc_error *error);
SLC_MUST_USE slc_err slc_session_exchange_delete(slc_session *session, slc_slice name,
                                                 bool if_unused, slc_error *error);
SLC_MUST_USE slc_err slc_session_exchange_bind(slc_session *session, slc_slice destination,
                                               slc_slice source, slc_slice key, slc_slice arguments,
                                               slc_error *error);
SLC_MUST_USE slc_err slc_session_exchange_unbind(slc_session *session, slc_slice destination,
                                                 slc_slice source, slc_slice key,
                                                 slc_slice arguments, slc_error *error);

/* ---- queues (9, 10). An empty queue name means the queue declared last on this session. ---- */

typedef struct slc_queue_declare {
    slc_slice name; // empty and not passive: server-named
    bool passive, durable, exclusive, auto_delete;
    slc_slice arguments;
} slc_queue_declare;

typedef struct slc_queue_declared {
    slc_slice name; // valid until the next call
    uint32_t ready, consumers;
} slc_queue_declared;

SLC_MUST_USE slc_err slc_session_queue_declare(slc_session *session,
                                               const slc_queue_declare *declare,
                                               slc_queue_declared *out, slc_error *error);
SLC_MUST_USE slc_err slc_session_queue_delete(slc_session *session, slc_slice name, bool if_unused,
                                              bool if_empty, uint32_t *ready_out, slc_error *error);
SLC_MUST_USE slc_err slc_session_queue_purge(slc_session *session, slc_slice name,
                                             uint32_t *purged_out, slc_error *error);
SLC_MUST_USE slc_err slc_session_queue_bind(slc_session *session, slc_slice queue,
                                            slc_slice exchange, slc_slice key, slc_slice arguments,
                                            slc_error *error);
SLC_MUST_USE slc_err slc_session_queue_unbind(slc_session *session, slc_slice queue,
                                              slc_slice exchange, slc_slice key,
                                              slc_slice arguments, slc_error *error);

/* ---- publishing (11) ---- */

/** Route and enqueue. Takes message (its exchange and key say where), also when the call fails. headers: the checked headers
 *  table inside the message's properties (bytes 0: none). In confirm mode a success takes the next sequence number;
 *  in tx mode the message waits for the commit. */
SLC_MUST_USE slc_err slc_session_publish(slc_session *session, slc_message *message,
                                         slc_slice headers, bool mandatory, slc_error *error);

/** What slc_session_publish says about the exchange, without a message: may it be written to, is it there, is it internal, is
 *  the routing key allowed. */
SLC_MUST_USE slc_err slc_session_may_publish(slc_session *session, slc_slice exchange,
                                             slc_slice key, slc_error *error);

/** SLC_EPRECONDITION on a tx session. */
SLC_MUST_USE slc_err slc_session_confirm_select(slc_session *session, slc_error *error);

/* ---- consuming (12) ---- */

typedef struct slc_consume {
    slc_slice queue;
    slc_slice tag; // empty: generated
    bool no_ack, exclusive;
    slc_slice arguments;
} slc_consume;

/** Deliveries begin in a later turn, so the front end writes consume-ok first. */
SLC_MUST_USE slc_err slc_session_consume(slc_session *session, const slc_consume *consume,
                                         const slc_consumer **out, slc_error *error);
/** An unknown tag is fine. */
SLC_MUST_USE slc_err slc_session_cancel(slc_session *session, slc_slice tag, slc_error *error);
slc_slice slc_consumer_tag(const slc_consumer *consumer);
/** What a reply-to of "amq.rabbitmq.reply-to" in a publish of this session stands for; bytes 0: the session does not consume
 *  direct replies (406 "fast reply consumer does not exist"). @spec amqp-semantics 17.1 */
slc_slice slc_session_reply_name(const slc_session *session);

typedef struct slc_got {
    slc_message *message; // NULL: the queue is empty; else a reference that is the caller's now
    uint64_t delivery_tag;
    bool redelivered;
    uint32_t ready; // left in the queue
} slc_got;

SLC_MUST_USE slc_err slc_session_get(slc_session *session, slc_slice queue, bool no_ack,
                                     slc_got *out, slc_error *error);

/** global: one limit for the whole session. 0: no limit. */
void slc_session_qos(slc_session *session, uint16_t prefetch_count, bool global);

typedef enum slc_settle {
    SLC_SETTLE_ACK,
    SLC_SETTLE_REQUEUE, // back to its old position, flagged redelivered
    SLC_SETTLE_REJECT,  // dropped
    SLC_SETTLE_NACK, // as requeue; delivery_limit.count_nack says whether it counts for the delivery limit
} slc_settle;

/** multiple with tag 0: everything outstanding. SLC_EPRECONDITION: unknown delivery tag, nothing changed. */
SLC_MUST_USE slc_err slc_session_settle(slc_session *session, uint64_t tag, bool multiple,
                                        slc_settle how, slc_error *error);
/** Requeue everything unacked. */
void slc_session_recover(slc_session *session);

/* ---- transactions (16) ---- */

SLC_MUST_USE slc_err slc_session_tx_select(slc_session *session, slc_error *error);
SLC_MUST_USE slc_err slc_session_tx_commit(slc_session *session, slc_error *error);
SLC_MUST_USE slc_err slc_session_tx_rollback(slc_session *session, slc_error *error);

#endif
