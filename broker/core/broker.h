/** The broker: vhosts with their exchanges and queues, the clients, and the turn of the loop.
 *
 *  core is deterministic: everything it knows of the world comes through slc_env. Life:
 *
 *      new ──> apply (each stored definition) ──> recover_queue (from the store) ──> start ──> turns ──> free
 *
 *  Each loop turn: front ends feed sessions, then slc_broker_turn dispatches, confirms and resumes; then the caller flushes
 *  the store and the sockets. Thread: the loop.
 */
#ifndef SLC_CORE_BROKER_H
#define SLC_CORE_BROKER_H

#include <stdint.h>

#include "core/client.h"
#include "core/env.h"
#include "core/message.h"
#include "core/topology.h"

/** What declaring a queue does that exists with other properties. @spec amqp-semantics 9.2 */
typedef enum slc_on_mismatch {
    SLC_MISMATCH_ERROR,
    SLC_MISMATCH_IGNORE,
    SLC_MISMATCH_UPDATE, // its arguments change, as far as they can
} slc_on_mismatch;

struct json_t;

/** What else a new vhost begins with, in the proposal that makes it: runtime parameters of it, and changes of others (values and keys
 *  are copied). */
typedef struct slc_vhost_begin {
    void (*parameter)(struct slc_vhost_begin *begin, const char *component, const char *name,
                      const struct json_t *value);
    void (*put)(struct slc_vhost_begin *begin, slc_slice key, slc_slice value);
} slc_vhost_begin;
/** Called for each new vhost that somebody creates, imports, or that is the default one. */
typedef void (*slc_vhost_new_hook)(slc_slice name, slc_vhost_begin *begin, void *arg);

typedef struct slc_broker_options {
    slc_env env; // copied
    uint64_t
        cache_bytes; // of ready messages in memory: beyond it stored ones stay in the store until their turn
    bool
        overflow_priority_head; // a full priority queue drops of the highest priority first, as RabbitMQ
    bool
        passive_needs_nothing; // a passive declare asks for no permission, as before RabbitMQ 4.2.6
    bool
        x_death_trusted; // an x-death header that a client wrote counts as history, as before RabbitMQ 4.0
    bool
        x_death_drops_cc; // where there is a dead letter routing key the CC header goes, as before RabbitMQ 3.13
    uint64_t due_max_ms; // longer delays of a delayed exchange are cut to it; 0: ten years
    bool ttl_head_only;  // messages expire at the head of their queue only, as in RabbitMQ
    slc_on_mismatch on_mismatch;
    bool nack_uncounted; // a basic.nack with requeue does not count for the delivery limit
    uint16_t default_prefetch;
    bool
        unknown_type_ends_connection; // declaring an exchange of an unknown type is 503, as before RabbitMQ 3.13.3, not 406
    const char *default_vhost;
    // A consumer that becomes the single active one need not wait until all is settled that a cancelled one holds.
    bool sac_loose;
    uint32_t session_consumers_max; // 0: no limit
    uint64_t ack_timeout_ms;        // as in slc_broker_ack_timeout
    const char *node;               // name in traces and events; copied; NULL: ""
    const char *event_vhost;        // events go to its amq.rabbitmq.event; copied; NULL: no events
    slc_vhost_new_hook vhost_new;   // NULL: new vhosts begin with their exchanges
    void *vhost_new_arg;
    bool log_lines; // slc_broker_log_line publishes to amq.rabbitmq.log of the default vhost
} slc_broker_options;

slc_broker *slc_broker_new(const slc_broker_options *options);
/** No clients may be left. */
void slc_broker_free(slc_broker *broker);

/** A committed change of the definitions, from the state at start or from a proposal. Unknown kinds and versions of objects are
 *  refused: SLC_EVERSION with a clear text (an older daemon must not ignore them). */
SLC_MUST_USE slc_err slc_broker_apply(slc_broker *broker, const slc_env_change *change,
                                      slc_error *error);

/** The store has a queue: true when the definitions know its uuid. next_qseq is the next position to give out; messages live in
 *  it, bytes of content in all; those up to delivered_qseq may have been handed out before. They are read when wanted. */
bool slc_broker_recover_queue(slc_broker *broker, uint32_t qid, const uint8_t uuid[SLC_UUID_BYTES],
                              uint64_t next_qseq, uint64_t messages, uint64_t bytes,
                              uint64_t delivered_qseq);
/** After recovery: queues without a qid get one; the default vhost with its exchanges is proposed when it is missing. */
void slc_broker_start(slc_broker *broker);

/** Dispatch, confirm, resume, give up memory; bounded work. True: there is more to do, call again without waiting for input. */
bool slc_broker_turn(slc_broker *broker);
/** The store says that everything up to ticket is durable; with SLC_TICKET_LARGE, every such one. */
void slc_broker_durable(slc_broker *broker, uint64_t ticket);
/** Wall clock in ms of the next thing that a turn has to do without input; UINT64_MAX: nothing. */
uint64_t slc_broker_next_due_ms(const slc_broker *broker);
/** About once a second: deliveries that were not settled in time. */
void slc_broker_tick(slc_broker *broker);
#define SLC_ACK_TIMEOUT_OF_KIND UINT64_MAX
/** How long a delivery may stay unsettled where neither consumer nor queue says; 0: for ever; SLC_ACK_TIMEOUT_OF_KIND: 30 minutes
 *  for quorum queues, for ever for classic ones. For deliveries from now on. @spec amqp-semantics 19.3 */
void slc_broker_ack_timeout(slc_broker *broker, uint64_t timeout_ms);
/** Alarms: publishers are blocked while either reason is on. */
void slc_broker_pressure(slc_broker *broker, bool memory, bool disk);
/** "low on memory", "low on disk", "low on memory & disk", NULL: none. */
const char *slc_broker_pressure_reason(const slc_broker *broker);
/** Publishers are read no faster than the store writes: on while too much waits for it. @spec amqp-semantics 19.1 */
void slc_broker_flow(slc_broker *broker, bool on);
bool slc_broker_flowing(const slc_broker *broker);
/** Whose doing what follows is, for user_who_performed_action of events: a user's name, "rmq-cli" for the admin socket, NULL for the
 *  broker's own. Copied; whoever sets it takes it back before returning to the loop. What is proposed meanwhile stays theirs: the
 *  world sets it again while the proposal is applied and its done runs, and who asks later on behalf of somebody keeps the name. */
void slc_broker_act_as(slc_broker *broker, const char *user);
/** Never NULL: "rmq-internal" for the broker's own. Valid until the next slc_broker_act_as. */
const char *slc_broker_actor(const slc_broker *broker);
/** Nothing waits for the store or the definitions any more (for an orderly stop). */
bool slc_broker_idle(const slc_broker *broker);
/** At a clean stop: tell the store what was delivered. */
void slc_broker_stop(slc_broker *broker);

/* ---- vhosts (vhost_life.c) ---- */

/** Of the cluster; 0 and NULL: none. */
typedef struct slc_broker_limits {
    uint32_t vhosts, queues, exchanges;
    const char *default_queue_type; // of vhosts that name none; copied
} slc_broker_limits;
void slc_broker_set_limits(slc_broker *broker, const slc_broker_limits *limits);

typedef struct slc_vhost_metadata {
    slc_slice description;
    slc_slice tags;               // separated by commas
    slc_slice default_queue_type; // classic, quorum, stream; "" or undefined: none
} slc_vhost_metadata;

/** SLC_EINVAL: a value breaks a rule; SLC_ENOTFOUND (delete); SLC_EBUSY: one of this name is being created or deleted;
 *  SLC_ELIMIT: vhost_max; SLC_ENOSPC. error is NULL when rc is SLC_OK. created: there was none of that name. */
typedef void (*slc_vhost_done)(slc_err rc, bool created, const slc_error *error, void *arg);

SLC_MUST_USE slc_err slc_vhost_metadata_check(const slc_vhost_metadata *metadata, slc_error *error);
/** Create, or change what it says of itself. extra: changes of others that go into the same proposal (copied). done runs once,
 *  inside when it is refused. */
void slc_broker_vhost_put(slc_broker *broker, slc_slice name, const slc_vhost_metadata *metadata,
                          const slc_env_change *extra, uint32_t extra_count, slc_vhost_done done,
                          void *arg);
/** With all that is in it, after its connections were closed (320, "vhost 'v' is deleted"). done as above. */
void slc_broker_vhost_delete(slc_broker *broker, slc_slice name, slc_vhost_done done, void *arg);
/** It is being deleted: nobody gets in. */
bool slc_vhost_is_doomed(const slc_vhost *vhost);
const slc_vhost_metadata *slc_vhost_metadata_of(const slc_vhost *vhost);
/** Objects of others that are deleted with a vhost: call drop(sink, key) for each. */
typedef void (*slc_vhost_gone)(slc_slice vhost, void (*drop)(void *sink, slc_slice key), void *sink,
                               void *arg);
void slc_broker_on_vhost_gone(slc_broker *broker, slc_vhost_gone gone, void *arg);
/** Connections of vhost (NULL: any) and user (NULL: any), and the sessions on them. */
uint32_t slc_broker_count_clients(const slc_broker *broker, const slc_vhost *vhost,
                                  const char *user, uint32_t *sessions);
/** 320 with reason for every connection of user. */
void slc_broker_close_user(slc_broker *broker, slc_slice user, const char *reason);
/** Connections of user may publish under any user_id from now on, or no longer. */
void slc_broker_impersonator(slc_broker *broker, slc_slice user, bool may);

slc_vhost *slc_broker_vhost(const slc_broker *broker, slc_slice name);
const slc_stats *slc_vhost_stats(const slc_vhost *vhost);
slc_slice slc_vhost_name(const slc_vhost *vhost);

/** The firehose of a vhost (core/trace.h), until the next start. */
void slc_vhost_trace(slc_vhost *vhost, bool on);
bool slc_vhost_traced(const slc_vhost *vhost);

/** A line of the log, to amq.rabbitmq.log of the default vhost in the next turn: the level is the routing key, content type,
 *  timestamp and a header `node` are as RabbitMQ sets them. Nothing without options.log_lines or a binding there. */
void slc_broker_log_line(slc_broker *broker, const char *level, uint64_t time_s, bool json,
                         slc_slice line);

/* ---- for lists and operators; all in insertion order; pointers are valid until the next turn ---- */

typedef struct slc_queue_info {
    slc_slice name;
    uint64_t created_ms, created_serial; // which tell it from any other, also one of its name
    slc_vhost *vhost;
    bool durable, auto_delete, exclusive, quorum;
    const slc_client *owner;             // of an exclusive queue
    slc_slice arguments;                 // table content
    const slc_destination *dest;         // its policies
    uint64_t ready, unacked;             // messages; "messages" is the sum
    uint64_t ready_bytes, unacked_bytes; // of bodies
    uint64_t persistent, persistent_bytes;
    uint64_t in_memory, in_memory_bytes; // ready messages with their content in memory
    uint32_t consumers;
    double
        consumer_capacity; // share of the recent time in which nothing waited for a consumer; 0 without any
    slc_slice exclusive_consumer_tag; // bytes 0: none
    slc_slice active_consumer_tag;    // the single active consumer's; bytes 0: none
    slc_stats stats;
    uint64_t returned_ready;
    uint64_t expired, overflowed, refused,
        undeliverable;                // messages it gave up, by reason; since start
    uint64_t disk_reads, disk_writes; // messages; since start
    uint64_t idle_since_ms;           // wall clock of the last activity
    uint64_t memory_bytes;
} slc_queue_info;

typedef struct slc_consumer_info {
    const slc_session *session;
    slc_slice queue, tag, arguments;
    bool ack_required, active, exclusive;
    const char
        *activity; // "up"; of a queue with a single active consumer "single_active" or "waiting"
    uint16_t prefetch_count;
    uint64_t ack_timeout_ms; // of its deliveries; 0: none
    int64_t priority;
} slc_consumer_info;

typedef struct slc_session_info {
    const slc_client *client;
    uint16_t number;
    bool transactional, confirm;
    uint32_t consumers, unacked, unconfirmed, uncommitted, acks_uncommitted;
    uint16_t prefetch_count, global_prefetch_count;
    slc_stats stats;
    uint64_t active_ms; // wall clock of its last publish, delivery or settlement
} slc_session_info;

typedef struct slc_binding_info {
    slc_slice source, destination, key, arguments;
    slc_dest_kind destination_kind;
} slc_binding_info;

void slc_broker_each_vhost(slc_broker *broker, void (*each)(slc_vhost *vhost, void *arg),
                           void *arg);
void slc_vhost_each_exchange(slc_vhost *vhost,
                             void (*each)(const slc_exchange *exchange, void *arg), void *arg);
void slc_vhost_each_queue(slc_vhost *vhost, void (*each)(const slc_queue_info *queue, void *arg),
                          void *arg);
/** False: there is none of that name. out may be NULL. */
bool slc_vhost_find_queue(slc_vhost *vhost, slc_slice name, slc_queue_info *out);
/** The oldest timestamp property among the first ready message and those that were handed out first and are not settled; false: none has
 *  one. A message that is not in memory is not read for it, as in RabbitMQ. */
bool slc_queue_head_timestamp(const slc_queue_info *queue, uint64_t *timestamp_out);
/** The implicit bindings of the default exchange first, as RabbitMQ lists them. */
void slc_vhost_each_binding(slc_vhost *vhost,
                            void (*each)(const slc_binding_info *binding, void *arg), void *arg);
void slc_vhost_each_consumer(slc_vhost *vhost,
                             void (*each)(const slc_consumer_info *consumer, void *arg), void *arg);
void slc_broker_each_client(slc_broker *broker, void (*each)(slc_client *client, void *arg),
                            void *arg);
void slc_broker_each_session(slc_broker *broker,
                             void (*each)(const slc_session_info *session, void *arg), void *arg);

/** Operator's purge: SLC_ENOTFOUND. */
SLC_MUST_USE slc_err slc_vhost_queue_purge(slc_vhost *vhost, slc_slice name, uint64_t *purged_out,
                                           slc_error *error);
/** Operator's delete: done runs once, later or inside; it may be given SLC_ENOTFOUND, SLC_EBUSY (in use, not empty), SLC_ENOSPC. */
void slc_vhost_queue_delete(slc_vhost *vhost, slc_slice name, bool if_unused, bool if_empty,
                            void (*done)(slc_err rc, const slc_error *error, uint64_t ready,
                                         void *arg),
                            void *arg);

typedef struct slc_broker_totals {
    uint64_t queues, exchanges, bindings, connections, sessions, consumers;
    uint64_t ready, unacked;
    slc_stats stats;
    uint64_t connections_opened, connections_closed, sessions_opened, sessions_closed;
    uint64_t queues_declared, queues_created, queues_deleted; // declared: also what was there
    uint64_t dead_lettered, dead_lettered_dropped; // routed again; no exchange, no queue or a cycle
    uint64_t ack_timeouts;                         // deliveries that cost their consumer or channel
    uint64_t message_bytes;                        // memory of all messages alive
} slc_broker_totals;

void slc_broker_total(const slc_broker *broker, slc_broker_totals *out);

#endif
