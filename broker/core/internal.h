/** The structs of core, shared by its own files only. Front ends use broker.h, session.h, client.h, message.h, topology.h.
 *
 *  Life of a message in a queue (an slc_entry, while it is in memory):
 *
 *      publish ──> ready (fifo) ──deliver──> unacked ──ack, reject──> settled (freed, dropped from the store)
 *         │          ^   │ no-ack: settled at once │
 *         │          ├───┴── returned (heap) <──requeue┘
 *         └──> cold ─┘ read back from the store when its turn comes near
 *
 *  ready is the returned heap first (lowest qseq on top), then the fifo, then what is cold: whatever was handed out once has
 *  a lower qseq than anything in the fifo. queue_ready.c draws the parts.
 *
 *  Definitions: a durable object exists for core once its change was applied; a session that asked for it waits (slc_op).
 *  Thread: the loop, all of it.
 */
#ifndef SLC_CORE_INTERNAL_H
#define SLC_CORE_INTERNAL_H

#include <utlist.h>

#include "base/alloc.h"
#include "base/map.h"
#include "base/table.h"
#include "core/broker.h"
#include "core/dead_letter.h"
#include "core/due.h"
#include "core/growers.h"
#include "core/policy_impl.h"
#include "core/queue_settings.h"
#include "core/reply_to.h"
#include "core/session.h"

enum {
    SLC_ID_BYTES =
        SLC_UUID_BYTES, // of a stored object: creation time in ms (big-endian), then random octets
    SLC_DISPATCH_BUDGET = 512, // deliveries of one queue per turn
    SLC_TRASH_BUDGET = 4096,   // purged and deleted messages that are freed per turn
    SLC_NAME_MAX = 255,
};

typedef struct slc_id {
    uint8_t octets[SLC_ID_BYTES];
} slc_id;

/* ---- stored objects ---- */

typedef enum slc_object_kind { // also the first octet of the key, so that loading meets them in this order
    SLC_OBJECT_VHOST = 1,
    SLC_OBJECT_EXCHANGE = 2,
    SLC_OBJECT_QUEUE = 3,
    SLC_OBJECT_BINDING = 4,
} slc_object_kind;

/** A durable object by its id. */
typedef struct slc_object {
    slc_id id;
    slc_object_kind kind;
    void *pointer; // slc_vhost, slc_exchange, slc_queue or slc_binding
    UT_hash_handle hh;
} slc_object;

/** Something that a session (or nobody) waits for: a proposal under way. */
typedef struct slc_op {
    slc_broker *broker;
    uint64_t serial;                             // in order of proposing
    slc_session *session;                        // NULL: nobody waits (any more)
    uint64_t touches[2];                         // hashes of the names it changes; 0: none
    slc_id vhost;                                // of the session
    uint32_t makes[SLC_OBJECT_BINDING + 1];      // objects of each kind that are not there yet
    void (*done)(struct slc_op *op, slc_err rc); // may be NULL; before the session resumes
    void *done_arg;
    uint64_t result;
    struct slc_op *prev, *next;
} slc_op;

typedef enum slc_wait {
    SLC_WAIT_NONE,
    SLC_WAIT_OP,       // its own proposal
    SLC_WAIT_CONFLICT, // somebody else's proposal on the same names
    SLC_WAIT_READ,     // a page-in of session->wait_queue
    SLC_WAIT_TICKET,   // durability of session->wait_ticket
} slc_wait;

/* ---- queues ---- */

enum {
    SLC_ENTRY_STORED = 1,    // it is in the store: drop it there when it is settled
    SLC_ENTRY_DELIVERED = 2, // handed out before: redelivered
    SLC_ENTRY_TIMED = 8,     // an slc_timed
    SLC_ENTRY_RETURNED = 16, // in the returned heap
    SLC_ENTRY_REFUSED =
        32, // never in the queue: the publisher hears of it when it is with the dead letters
    SLC_ENTRY_RETURN = 1 << 8, // times this: counted returns, for the delivery limit
};

typedef struct slc_entry {
    struct slc_entry *next; // list: the next; heap: the sibling
    union {
        struct slc_entry *prev;  // list
        struct slc_entry *child; // heap
    };
    slc_message *message;
    uint64_t qseq;
    uint32_t body_bytes;
    uint32_t flags;
} slc_entry;

/** An entry whose message expires. */
typedef struct slc_timed {
    slc_entry entry; // first
    slc_due due;     // in queue->timed while it is ready
    uint64_t expires_ms;
} slc_timed;

/** Entries in order of qseq. */
typedef struct slc_entry_list {
    slc_entry *head, *tail;
    uint64_t count, bytes; // bytes of bodies
    uint64_t stored;       // those with SLC_ENTRY_STORED
} slc_entry_list;

/** Messages of a purged or deleted queue that are still to be freed and dropped from the store, some in each turn. */
typedef struct slc_trash {
    slc_queue *queue;   // held
    slc_entry *entries; // linked by next, and by child if they were in the heap
    bool heap;
    struct slc_trash *prev, *next;
} slc_trash;

#define SLC_NOT_COLD UINT64_MAX

typedef struct slc_schedule slc_schedule;

/** Those consumers of a queue that have one priority; in queue->ready_consumers they stand together. @spec amqp-semantics 12.2 */
typedef struct slc_consumer_level {
    int64_t priority;
    uint32_t consumers;                     // of the queue, ready or not
    slc_consumer *last_ready;               // NULL: none of them is ready
    struct slc_consumer_level *prev, *next; // of queue->levels
} slc_consumer_level;
/** How much of the time a queue found somebody to take what it had; see consumer.c. */
typedef struct slc_consumer_use {
    uint64_t since_ms; // wall clock: of the state it is in
    uint64_t fed_ms;   // of a starved one: how long the state before was
    double average;    // share of the time before
} slc_consumer_use;
typedef struct slc_lanes slc_lanes;
typedef struct slc_retry slc_retry;
typedef struct slc_deaths slc_deaths;

/** Ready messages, those that were given back first: all of a queue, or one level of a priority queue, which has a queue in the store for each level that was ever used. queue_ready.c draws the parts. */
typedef struct slc_lane {
    slc_queue *queue;
    uint32_t qid; // 0: not in the store
    uint8_t level;
    bool reading;            // a read of cold messages is under way
    bool damaged;            // a read failed: what it asked for is not served
    uint64_t count;          // messages in it
    uint64_t delivered_qseq; // the highest ever handed out, before the start too
    slc_entry *returned;     // pairing heap by qseq
    slc_entry_list fifo;
    // The cold part.
    uint64_t cold_from, cold_to;     // positions; SLC_NOT_COLD
    uint64_t cold_count, cold_bytes; // bytes as they count in ready_bytes
    slc_entry_list late;             // what is in memory behind the first cold position
    uint64_t tail_count, tail_bytes; // those of late from cold_to on
    uint64_t recovered_to;           // what was found at the start has a position below it
    uint64_t
        unsized_bytes; // of contents in cold_bytes: how much of that is bodies is not known yet
    uint64_t
        sized_from; // bodies are known of what has a position below, of what was found at the start
    uint64_t read_from, read_bytes; // of the read under way
    // Expiry of what is cold; see expiry.c.
    slc_due due; // in broker->scans
    uint64_t cold_due_ms,
        cold_expiry_ms; // no cold message expires before; the last one that became cold
    bool cold_ordered;  // cold messages expire in their order
    bool scanning;      // a read of cold messages for their expiry is under way
    bool scan_ordered;
    uint64_t scan_at, scan_due_ms, scan_last_ms, scan_since_ms; // where it is; what it found
} slc_lane;

/** What each message touches comes first, close together: with thousands of queues, fetching it costs more than the work. The
 *  end of hh, which a look-up reads, and a name that is not long share a cache line. */
struct slc_queue {
    slc_destination dest; // first
    UT_hash_handle hh;
    uint8_t name_here[40]; // of dest.name, if it fits
    slc_broker *broker;
    uint64_t next_qseq;
    slc_consumer *
        ready_consumers; // DL by ready_prev/ready_next: can take a message now, next in turn first, highest priority first
    slc_lanes *lanes;       // NULL: not a priority queue
    slc_schedule *schedule; // NULL; else what is put here waits for its time (schedule.h)
    uint64_t ready, ready_bytes, unacked, unacked_bytes; // ready with the cold ones
    uint64_t persistent, persistent_bytes;               // ready and unacked
    uint32_t holds; // unacked deliveries, tx publishes and reads that point here
    uint32_t dying; // messages that wait for dead_letter.c
    bool auto_delete;
    bool special;      // its settings concern each publish
    bool cycle_logged; // that dead letters go round
    bool limiting;     // in slc_queue_limit
    bool deleted;      // gone from the vhost; lives on while held
    bool dirty;        // in broker->dirty
    bool touched;      // something was taken since the broker last looked for memory to give up
    bool starved;      // something was ready and nobody took it, until a consumer can again
    struct slc_queue *dirty_prev, *dirty_next;
    slc_due_heap timed;   // what is ready, in memory and expires
    uint64_t active_ms;   // wall clock of the last activity
    uint64_t disk_writes; // messages; one that left before it was written does not count
    slc_stats stats;      // without those that only a session knows
    slc_lane lane;        // of a priority queue that of its plain level

    slc_vhost *vhost; // not after it was deleted: what holds the queue may outlive the vhost
    slc_id id;
    slc_client *owner; // of an exclusive queue
    slc_slice arguments;
    slc_queue_settings settings;

    slc_due due;                                    // in broker->expiries
    slc_due idle;                                   // in broker->idles: x-expires
    slc_retry *retries;                             // DL: what was given back and waits
    uint64_t cold_count, cold_bytes, unsized_bytes; // of all lanes

    slc_consumer *consumers; // DL by queue_prev/queue_next
    uint32_t consumer_count, ready_consumer_count;
    slc_consumer_use use;
    slc_consumer_level *levels; // DL: priorities that its consumers have, highest first
    slc_consumer *exclusive_consumer;
    // Of settings.single_active; see single_active.c.
    slc_consumer *active_consumer; // NULL: nobody takes messages
    uint32_t active_draining;      // former active consumers that hold unacked messages

    uint64_t ack_timeout_ms; // of deliveries to whoever says nothing else; 0: none

    uint64_t requeued;
    uint64_t expired, overflowed, refused, undeliverable;
    uint64_t disk_reads;

    struct slc_queue *owner_prev, *owner_next;
    struct slc_queue *stored_prev, *stored_next; // of broker->stored: queues with a qid
};

struct slc_consumer {
    slc_session *session;
    slc_queue *queue;
    slc_slice tag; // owned
    slc_consumer *ready_prev, *ready_next;
    slc_consumer_level *level;
    uint64_t ack_timeout_ms; // of its deliveries; 0: none
    uint32_t unacked;
    uint16_t prefetch;
    bool no_ack, exclusive;
    bool ready;    // in queue->ready_consumers
    bool waiting;  // for its turn as the single active consumer: it takes nothing
    bool draining; // was the active one: the next becomes it when nothing of this one is unacked
    bool
        gone; // cancelled, in no list; it stays for its unacked deliveries, which count for the session's limit
    uint8_t tag_here[48]; // of tag, if it fits
    slc_slice arguments;  // owned
    slc_consumer *queue_prev, *queue_next;
    UT_hash_handle hh; // of session->consumers by tag
};

/* ---- sessions ---- */

typedef struct slc_unacked {
    uint64_t tag;
    slc_entry *entry; // NULL: settled, a hole
    slc_queue *queue;
    slc_consumer *consumer; // NULL: basic.get
    uint64_t due_ms;        // monotonic: to be settled by then; 0: no limit
} slc_unacked;

/** Unacked deliveries in tag order: a ring with holes, compacted when over half of it is holes. */
typedef struct slc_unacked_ring {
    slc_unacked *items;
    uint32_t capacity;     // power of two
    uint32_t first, count; // count includes holes
    uint32_t live;
} slc_unacked_ring;

/** Tickets of the open confirms, seq ascending: slot i is for seq first_seq + i. 0: settled. */
typedef struct slc_confirm_ring {
    uint64_t *tickets;
    uint32_t capacity; // power of two
    uint32_t first, count;
    uint64_t next_seq;  // of the next publish, from 1
    uint64_t acked_seq; // confirmed to the peer up to here
} slc_confirm_ring;

typedef struct slc_parameter_entry slc_parameter_entry;
typedef struct slc_tx slc_tx;

typedef struct slc_route_slot slc_route_slot;
typedef struct slc_permission_slot slc_permission_slot;

struct slc_session {
    slc_broker *broker;
    slc_client *client;
    uint16_t number;
    const slc_session_ops *ops;
    void *arg;
    uint64_t handle;
    bool writable;
    bool confirming; // confirm.select was done
    bool closing;
    uint16_t prefetch;        // for consumers started later
    uint16_t global_prefetch; // 0: none
    uint32_t global_unacked;  // unacked deliveries to consumers
    uint64_t last_tag;
    slc_unacked_ring unacked;
    bool ack_watched;    // in broker->ack_watched: some delivery may have a time limit
    uint64_t ack_due_ms; // monotonic: no delivery is due before that
    uint64_t *expired;   // ascending: tags of deliveries that were taken back
    uint32_t expired_count;
    slc_confirm_ring confirms;
    bool in_confirm_list;
    slc_tx *tx; // NULL: not transactional
    slc_consumer *consumers;
    slc_reply_to *reply_to; // NULL: it does not consume direct replies
    slc_slice last_queue;   // owned name of the queue declared last
    slc_slice declaring;    // owned: generated name of the declare that waits

    slc_wait wait;
    slc_op *op;
    bool op_finished;
    slc_err op_rc;
    uint64_t op_result;
    slc_queue *wait_queue;
    uint64_t wait_ticket;

    slc_stats stats;
    uint64_t active_ms; // wall clock of its last publish, delivery or settlement

    slc_route_slot **route_cache;
    slc_destination *direct; // of the last message for the default exchange; valid for that publish
    slc_route route;         // of messages that cannot be cached
    slc_permission_slot *permissions; // permission.c; NULL: nothing asked yet
    slc_exchange *written;            // it may publish there, publish.c; NULL: the default exchange
    uint64_t written_version;         // of the topology when that was found out; 0: it was not yet

    slc_session *prev, *next;                 // of client->sessions
    slc_session *confirm_prev, *confirm_next; // of broker->confirming
    slc_session *wait_prev, *wait_next;       // of broker->waiting
    slc_session *ack_prev, *ack_next;         // of broker->ack_watched
};

/* ---- vhost, broker ---- */

struct slc_vhost {
    slc_broker *broker;
    slc_id id;
    slc_slice name; // owned
    bool traced;    // the firehose is on; see trace.h
    slc_stats stats;
    slc_exchange *exchanges;
    slc_exchange *default_exchange; // the nameless; in no map
    slc_queue *queues;
    uint64_t topology_version; // any change of exchanges, queues or bindings raises it
    slc_exchange **
        doomed; // transient auto-delete exchanges that lost their last binding, while they are removed
    uint32_t doomed_count, doomed_capacity;
    bool removing_doomed;
    slc_vhost_metadata metadata; // owned
    void *doomed_by;             // who wants it deleted; NULL: nobody
    uint64_t doomed_serial; // the deletion waits for the proposals up to here; 0: for its clients
    bool delete_proposed;
    slc_policies policies;
    UT_hash_handle hh;
};

typedef struct slc_system_item slc_system_item;

/** What the broker publishes itself; see system_message.h. */
typedef struct slc_system {
    slc_system_item *first, *last; // posted, oldest first
    slc_route route;
    bool publishing;
    bool log_lines;    // amq.rabbitmq.log gets the lines of the log
    char *event_vhost; // amq.rabbitmq.event is there; NULL: no events
    char *node;
    uint64_t dropped; // for want of memory
} slc_system;

struct slc_broker {
    slc_env env;
    uint32_t traced_vhosts;
    slc_system system;
    uint64_t cache_bytes;   // budget of hot_bytes
    uint64_t hot_bytes;     // memory of ready entries and, once each, of their messages
    uint64_t reading_bytes; // what the reads under way may add to it
    uint16_t default_prefetch;
    bool unknown_type_ends_connection;
    bool sac_loose; // a new single active consumer need not wait for what the last one has unacked
    uint32_t session_consumers_max; // 0: no limit
    uint64_t ack_timeout_ms;        // consumer_timeout, 0: none; SLC_ACK_TIMEOUT_OF_KIND
    char *default_vhost;
    slc_vhost *vhosts;
    slc_object *objects;
    slc_parameter_entry *parameters; // by stored key
    bool parameters_sorted;
    slc_vhost_new_hook vhost_new; // NULL: none
    void *vhost_new_arg;
    const struct slc_definitions_users *definitions_users; // core/definitions_file.h; NULL: none
    struct slc_import
        *imports; // DL: they wait until no proposal is under way; core/definitions_import.c

    slc_client *clients;
    uint64_t last_client_id;
    uint32_t id_serial;
    bool started;
    slc_session **sessions; // by the low half of a handle
    uint32_t session_capacity, session_free;
    uint32_t *session_generation;

    slc_queue *dirty;         // DL: something may be deliverable
    slc_trash *trash;         // DL: what was purged or deleted and is not freed yet
    slc_queue *stored;        // DL: queues with a qid
    uint32_t reply_consumers; // sessions with reply_to
    uint64_t reply_serial;    // of publishes that may go to them
    slc_deaths *deaths;       // messages on their way to a dead letter exchange; NULL: never any
    bool x_death_trusted, x_death_drops_cc, passive_needs_nothing;
    slc_due_heap expiries; // of queues: a message in memory may expire
    slc_due_heap scans;    // of lanes: a cold message may
    slc_due_heap idles;    // of queues: unused for too long
    slc_due_heap retries;  // of messages that were given back
    uint64_t due_max_ms;
    slc_on_mismatch on_mismatch;
    bool ttl_head_only;
    bool overflow_priority_head, nack_uncounted;
    slc_session *confirm_list; // DL: have open or unsent confirms
    slc_session *waiting;      // DL: wait != NONE
    slc_session *ack_watched;  // DL: hold deliveries with a time limit
    slc_op *ops;               // DL: proposals under way
    uint64_t last_op_serial;
    slc_schedule *schedules;  // DL: of delayed exchanges
    uint64_t schedule_due_ms; // wall clock: nothing in them is due before
    uint64_t durable_ticket;
    uint64_t durable_large; // of those marked SLC_TICKET_LARGE
    uint64_t last_ticket;   // of the last operation given to the store
    bool confirms_due;      // something in confirm_list may be sendable
    bool resume_due;        // something in waiting may go on
    bool orphans_due;       // a durable auto-delete exchange may have lost its last binding
    bool orphans_later;     // one has, but a proposal on its name is under way: look again after it
    bool vhosts_doomed;     // a vhost waits to be deleted
    uint64_t permission_version;
    slc_broker_limits limits;
    char *default_queue_type; // of limits
    slc_vhost_gone vhost_gone;
    void *vhost_gone_arg;
    char actor[256]; // whose doing what follows is; "": nobody's
    bool memory_alarm, disk_alarm;
    slc_growers growers[SLC_RESOURCE_COUNT]; // when the alarm went on
    bool flow;                               // the store is behind: publishers are not read
    uint32_t hidden_sessions;                // of clients that are in no list; in totals.sessions
    slc_broker_totals totals;                // the counters among them
};

/** Something happened to a message in a session: it counts there, in its vhost and in the broker. */
#define SLC_COUNT(session, what)                                                                   \
    ((session)->stats.what++, (session)->client->vhost->stats.what++,                              \
     (session)->broker->totals.stats.what++)

/* definitions.c */
slc_id slc_id_new(slc_broker *broker);
/** When the object was made, and which of that millisecond it is. */
uint64_t slc_id_created_ms(const slc_id *id);
uint64_t slc_id_serial(const slc_id *id);
/** The list of changes of one proposal. Start with {0}. */
typedef struct slc_changes {
    slc_env_change *items; // keys and values owned
    uint32_t count, capacity;
} slc_changes;
void slc_changes_put_vhost(slc_changes *changes, const slc_id *id, slc_slice name);
void slc_changes_put_vhost_with(slc_changes *changes, const slc_id *id, slc_slice name,
                                const slc_vhost_metadata *metadata);
void slc_changes_put_exchange(slc_changes *changes, const slc_id *id, const slc_id *vhost,
                              slc_slice name, slc_slice type, bool auto_delete, bool internal,
                              slc_slice arguments);
void slc_changes_put_queue(slc_changes *changes, const slc_id *id, const slc_id *vhost,
                           slc_slice name, bool auto_delete, slc_slice arguments);
void slc_changes_put_binding(slc_changes *changes, const slc_id *id, const slc_id *source,
                             slc_dest_kind kind, const slc_id *destination, slc_slice key,
                             slc_slice arguments);
/** Any change; takes key and value (on the heap). */
void slc_changes_add_raw(slc_changes *changes, slc_slice key, slc_slice value);
void slc_changes_clear(slc_changes *changes);
/** vhost NULL: global. */
void slc_changes_put_parameter(slc_changes *changes, const slc_id *vhost, slc_slice component,
                               slc_slice name, const json_t *value);
/** Those of a vhost that is deleted. */
void slc_changes_delete_parameters(slc_changes *changes, const slc_vhost *vhost);
void slc_changes_delete(slc_changes *changes, slc_object_kind kind, const slc_id *id);
/** Deletes of a queue or exchange with its durable bindings and the auto-delete exchanges that lose their last one. */
void slc_changes_delete_destination(slc_changes *changes, slc_broker *broker,
                                    slc_destination *dest);
/** The same for one binding. */
void slc_changes_delete_binding(slc_changes *changes, slc_broker *broker, slc_binding *binding);
/** Propose and clear changes; session (may be NULL) waits. touch1/touch2: slc_touch of the names concerned. */
slc_op *slc_propose(slc_broker *broker, slc_changes *changes, slc_session *session, uint64_t touch1,
                    uint64_t touch2);
uint64_t slc_touch(const slc_vhost *vhost, slc_dest_kind kind, slc_slice name);
/** Objects of a kind that proposals under way make, in one vhost (only those that sessions asked for) or with NULL in all. */
uint32_t slc_ops_making(const slc_broker *broker, const slc_vhost *vhost, slc_object_kind kind);
bool slc_op_conflict(const slc_broker *broker, uint64_t touch1, uint64_t touch2);
const slc_id *slc_destination_id(const slc_destination *dest);

/* definitions_import.c */
/** Begin the next import when no proposal is under way. */
void slc_import_turn(slc_broker *broker);
/** The broker is freed: forget those that a stop with a deadline left behind; nobody is told. */
void slc_imports_free(slc_broker *broker);

/* vhost.c */
/** The exchanges that every vhost has. @spec amqp-semantics 6.2 */
typedef struct slc_predeclared {
    const char *name, *type;
    bool internal;
} slc_predeclared;
extern const slc_predeclared slc_predeclared_exchanges[];
extern const uint32_t slc_predeclared_count;
slc_vhost *slc_vhost_new(slc_broker *broker, slc_slice name, const slc_id *id);
/** What a new vhost begins with besides its predeclared exchanges, behind the change that puts it. */
void slc_vhost_begins(slc_broker *broker, slc_changes *changes, slc_slice name, const slc_id *id);
void slc_vhost_free(slc_vhost *vhost);
slc_queue *slc_vhost_queue(const slc_vhost *vhost, slc_slice name);
void slc_vhost_add_exchange(slc_vhost *vhost, slc_exchange *exchange);
/** Out of the vhost with all bindings from and to it, which may delete transient auto-delete exchanges too. */
void slc_vhost_delete_exchange(slc_exchange *exchange);
slc_err slc_vhost_bind(slc_exchange *source, slc_destination *dest, slc_slice key,
                       slc_slice arguments, slc_error *error);
/** Remove a binding; its source goes too when it is auto-delete and this was the last one. */
void slc_vhost_unbind(slc_binding *binding);
/** "queue 'q' in vhost '/'"; returns text. */
const char *slc_resource_text(const slc_vhost *vhost, slc_dest_kind kind, slc_slice name,
                              char *text, size_t bytes);
slc_slice slc_slice_copy(slc_slice slice); // to the heap; freed with slc_free((void *)data)
/** A copy in here, room octets, or on the heap if it is longer; for slc_name_drop with the same here. */
slc_slice slc_name_keep(slc_slice name, uint8_t *here, size_t room);
void slc_name_drop(slc_slice name, const uint8_t *here);
slc_slice slc_generated_name(slc_broker *broker, const char *prefix); // on the heap
void slc_object_add(slc_broker *broker, slc_object_kind kind, const slc_id *id, void *pointer);
void *slc_object_find(const slc_broker *broker, slc_object_kind kind, const slc_id *id);
void slc_object_remove(slc_broker *broker, const slc_id *id);

/* vhost_life.c */
/** True: nothing changed. */
bool slc_vhost_set_metadata(slc_vhost *vhost, const slc_vhost_metadata *metadata);
void slc_vhost_metadata_fini(slc_vhost *vhost);
/** Propose the deletion of vhosts whose clients are gone. */
void slc_broker_delete_doomed(slc_broker *broker);
/** The arguments of a declare with the vhost's default queue type, when it counts; they may be in builder ({0} before). */
slc_slice slc_vhost_arguments(const slc_vhost *vhost, const slc_queue_declare *declare,
                              slc_table_builder *builder);
/** Is there room for one more? SLC_EPRECONDITION. What is proposed counts as if it were there: ask when nothing of that name is under
 *  way. @spec amqp-semantics 18.2 */
slc_err slc_check_queue_limits(slc_vhost *vhost, slc_slice name, slc_error *error);
slc_err slc_check_exchange_limit(slc_vhost *vhost, slc_slice name, slc_error *error);

/* permission.c */
void slc_permission_fini(slc_session *session);

/* queue.c */
slc_queue *slc_queue_new(slc_vhost *vhost, slc_slice name, const slc_id *id, bool durable,
                         bool auto_delete, slc_client *owner, slc_slice arguments);
/** Out of the vhost: consumers are cancelled, messages dropped, bindings removed. Freed when nothing holds it. */
void slc_queue_delete(slc_queue *queue);
/** Give a durable queue its qid in the store. */
void slc_queue_enter_store(slc_queue *queue);
/** Other arguments of the same queue; they were checked. */
void slc_queue_set_arguments(slc_queue *queue, slc_slice arguments);
/** What the store knows of it; uuid as slc_lane_uuid has it. */
void slc_queue_recovered(slc_lane *lane, uint32_t qid, uint64_t next_qseq, uint64_t messages,
                         uint64_t bytes, uint64_t delivered_qseq);
/** Give a lane of a queue in the store its qid when it has none yet. */
void slc_lane_enter_store(slc_lane *lane);
/** The uuid of a lane in the store: the queue's own for number 0, its plain level. The number of any is level ^ plain level. */
slc_id slc_lane_uuid(const slc_id *queue, uint8_t number);
void slc_queue_hold(slc_queue *queue);
void slc_queue_release(slc_queue *queue);
/** One message, routed here. Delivered at once when the queue is empty and a consumer is ready. */
void slc_queue_put(slc_queue *queue, uint64_t qseq, slc_message *message, bool stored,
                   uint64_t expires_ms);
/** A no-ack consumer could have it now without the message ever being queued. */
bool slc_queue_passes_through(const slc_queue *queue);
/** Back to its place, redelivered from now on. */
void slc_queue_requeue(slc_queue *queue, slc_entry *entry);
/** A consumer gave it back: to its place, or if it did so too often, out. @spec amqp-semantics 15.4 */
void slc_queue_returned(slc_queue *queue, slc_entry *entry, bool counted);
static inline uint32_t slc_entry_returns(const slc_entry *entry)
{
    return entry->flags / SLC_ENTRY_RETURN;
}
/** An unacked or taken entry is done with: drop it from the store and free it. */
void slc_queue_settled(slc_queue *queue, slc_entry *entry, int reason);
uint64_t slc_queue_purge(slc_queue *queue);
/** Free up to budget messages of the trash. */
void slc_trash_empty(slc_broker *broker, uint64_t budget);
void slc_queue_mark_dirty(slc_queue *queue);
/** Deliver up to the budget; true when there is more to do. */
bool slc_queue_dispatch(slc_queue *queue);
void slc_queue_stat(const slc_queue *queue, slc_queue_info *out);
/** Durable auto-delete exchanges without bindings: propose their deletion. */
void slc_broker_delete_orphans(slc_broker *broker);
/** The last consumer went: delete an auto-delete queue. The op it takes, or NULL when nothing is to be waited for. */
slc_op *slc_queue_consumer_gone(slc_queue *queue, slc_session *session);

/* queue_ready.c */
/** Take a reference of message; the persistent counters of the queue know it from here on. */
slc_entry *slc_entry_new(slc_queue *queue, uint64_t qseq, slc_message *message, bool stored,
                         uint64_t expires_ms);
/** It is settled: out of the counters, reference and entry freed. */
void slc_entry_free(slc_queue *queue, slc_entry *entry);
/** Behind all that is ready: an entry, or only a number more of cold messages. */
void slc_ready_put(slc_queue *queue, uint64_t qseq, slc_message *message, bool stored,
                   uint64_t expires_ms);
void slc_ready_return(slc_queue *queue, slc_entry *entry);
void slc_lane_init(slc_lane *lane, slc_queue *queue, uint8_t level);
/** The next ready entry, out of the queue; NULL: none, or it has to be read first (then *reading is true). */
slc_entry *slc_queue_take(slc_queue *queue, bool *reading);
/** The next to be dropped because the queue is too long, out of the queue; the rest as slc_queue_take. */
slc_entry *slc_ready_take_victim(slc_queue *queue, bool *reading);
/** One that is ready and in memory, wherever it stands, but not in the returned heap. */
void slc_ready_remove(slc_queue *queue, slc_entry *entry);
/** When the first message of the queue expires, of a priority queue the earliest of those that are first in their level. What is
 *  cold there is asked for. SLC_NEVER. */
uint64_t slc_ready_head_expires_ms(slc_queue *queue);
/** One that is first and expired by now_ms, out of the queue; NULL: none. */
slc_entry *slc_ready_take_expired_head(slc_queue *queue, uint64_t now_ms);
/** All of the returned heap that expired by now_ms, linked by next, out of the queue. */
slc_entry *slc_ready_take_returned(slc_queue *queue, uint64_t now_ms);
typedef enum slc_next {
    SLC_NEXT_NONE,    // nothing is ready
    SLC_NEXT_HOT,     // in memory
    SLC_NEXT_COLD,    // to be read first
    SLC_NEXT_READING, // a read that may bring it is under way
    SLC_NEXT_DAMAGED, // it cannot be read
} slc_next;
/** The next message of a queue. */
slc_next slc_queue_next(const slc_queue *queue);
/** The next ready one if it is in memory, where it is. NULL: none, or it has to be read, which is not asked for. */
const slc_entry *slc_queue_peek(const slc_queue *queue);
/** Everything that is ready is out of the counters. What was in memory is the caller's to settle (a heap; the rest linked by next);
 *  it counts in broker->hot_bytes until slc_entry_cooled. Cold positions are dropped from the store unless the queue is deleted. */
void slc_ready_clear(slc_queue *queue, slc_entry **returned, slc_entry **waiting);
/** It leaves the ready messages in memory. */
void slc_entry_cooled(slc_broker *broker, const slc_entry *entry);

/* queue_cold.c */
/** What the store held of a lane at the start: cold, from the first position on. */
void slc_ready_recovered(slc_lane *lane, uint64_t next_qseq, uint64_t messages, uint64_t bytes,
                         uint64_t delivered_qseq);
/** A cold message of that many octets of content and body is out of the store, or taken over by the caller. */
void slc_ready_cold_gone(slc_lane *lane, uint64_t qseq, uint64_t content_bytes,
                         uint64_t body_bytes);
/** What a cold message that was found at the start counts as is its body from now on. Ascending. */
void slc_ready_cold_sized(slc_lane *lane, uint64_t qseq, uint64_t content_bytes,
                          uint64_t body_bytes);
/** All that was found at the start and is still cold was sized. */
void slc_ready_cold_known(slc_lane *lane);
/** Give a message that was read from a lane its stored priority. */
void slc_ready_placed(const slc_lane *lane, slc_message *message, uint8_t priority);
/** Memory is short: a queue that nobody waits for keeps a little of its head, stored messages behind it become cold; up to
 *  budget entries are looked at. */
void slc_queue_cool(slc_queue *queue, uint32_t budget);
/** Above this much the broker looks for queues to cool. */
static inline uint64_t slc_broker_warm_bytes(const slc_broker *broker)
{
    return broker->cache_bytes - broker->cache_bytes / 4;
}

/* priority.c: the lanes of a priority queue, one for each level that was ever used. */
/** plain: the level of messages that have no priority, and of the queue's own lane. */
slc_lanes *slc_lanes_new(slc_queue *queue, uint8_t max, uint8_t plain);
void slc_lanes_free(slc_lanes *lanes);
uint8_t slc_lanes_level(const slc_lanes *lanes, const slc_message *message);
/** The lane, made when there was none; without a queue in the store. level up to the highest. */
slc_lane *slc_lanes_ensure(slc_lanes *lanes, uint8_t level);
/** A lane got its first message, or lost its last. */
void slc_lanes_used(slc_lanes *lanes, uint8_t level, bool used);
/** The highest (or lowest) lane that has messages, NULL: none. */
slc_lane *slc_lanes_first(const slc_lanes *lanes, bool highest);
/** The next lane above level that was made, with or without messages, NULL: none. */
slc_lane *slc_lanes_above(const slc_lanes *lanes, int level);
/** Where this message waits, or waited. */
static inline slc_lane *slc_lane_for(slc_queue *queue, const slc_message *message)
{
    return queue->lanes == NULL
               ? &queue->lane
               : slc_lanes_ensure(queue->lanes, slc_lanes_level(queue->lanes, message));
}
static inline slc_lane *slc_lane_of(slc_queue *queue, const slc_entry *entry)
{
    return slc_lane_for(queue, entry->message);
}
/** All lanes of a queue, from the lowest level up: the one after lane (NULL: the first); NULL: none. */
static inline slc_lane *slc_lane_next(slc_queue *queue, const slc_lane *lane)
{
    if (queue->lanes == NULL)
        return lane == NULL ? &queue->lane : NULL;
    return slc_lanes_above(queue->lanes, lane == NULL ? -1 : lane->level);
}

/* expiry.c: messages and queues whose time is up. @spec amqp-semantics 13.1, 9.8 */
/** Absolute, of a message that enters now; 0: never. */
uint64_t slc_expiry_of(const slc_queue *queue, const slc_message *message);
static inline uint64_t slc_entry_expires_ms(const slc_entry *entry)
{
    return entry->flags & SLC_ENTRY_TIMED ? ((const slc_timed *)(const void *)entry)->expires_ms
                                          : 0;
}
/** A timed entry is ready. */
void slc_expiry_add(slc_queue *queue, slc_entry *entry);
/** With ttl.head_only: what stands at the head may be another one. */
void slc_expiry_head_changed(slc_queue *queue);
/** A message that expires (0: one that does not) became cold, behind all others if appended. */
void slc_expiry_cold(slc_lane *lane, uint64_t expires_ms, bool appended);
/** The lane's messages were found in the store. */
void slc_expiry_recovered(slc_lane *lane);
/** Nothing of a lane is cold any more. */
void slc_expiry_thawed(slc_lane *lane);
/** Nothing is ready any more. */
void slc_expiry_clear(slc_queue *queue);
/** Work off what is due, bounded; true: there is more. */
bool slc_expiry_turn(slc_broker *broker);
/** When there is something; SLC_NEVER. */
uint64_t slc_expiry_next_due_ms(const slc_broker *broker);
/** It was used: the time of x-expires starts again, or does not run while it has consumers. */
void slc_queue_used(slc_queue *queue);

/* retry.c */
/** An entry that was given back waits, if its queue says so; false: it does not. */
bool slc_retry_later(slc_queue *queue, slc_entry *entry, bool counted);
/** Back to the queue with those whose time has come, bounded; true: there is more. */
bool slc_retry_turn(slc_broker *broker);
/** The queue goes. */
void slc_retry_forget(slc_queue *queue);

/* overflow.c: length limits, and where messages go that a queue gives up. @spec amqp-semantics 13.2 */
/** One more message of body_bytes would exceed a limit of a queue that refuses then. */
bool slc_queue_refuses(const slc_queue *queue, uint64_t body_bytes);
/** Over a limit: drop from the head. Of a queue that refuses: nothing. */
void slc_queue_limit(slc_queue *queue);
/** An entry that is out of all lists of its queue: to the dead letter exchange, or dropped. */
void slc_queue_die(slc_queue *queue, slc_entry *entry, slc_death reason);

/* consumer.c */
slc_consumer *slc_consumer_new(slc_session *session, slc_queue *queue, slc_slice tag,
                               const slc_consume *consume);
/** Out of all lists; freed when the last of its unacked deliveries, which stay with the session, is settled. */
void slc_consumer_free(slc_consumer *consumer);
/** One of its deliveries is settled. */
void slc_consumer_settled(slc_consumer *consumer);
/** Recompute whether it can take a message. */
void slc_consumer_update(slc_consumer *consumer);
/** Give it entry: unacked, or settled at once for no-ack. */
void slc_consumer_deliver(slc_consumer *consumer, slc_entry *entry);
/** Something is ready and no consumer can take it. */
void slc_consumers_missed(slc_queue *queue);
/** Share of the recent time in which that was not so; 0 without consumers. */
double slc_consumer_capacity(const slc_queue *queue);
/** The same for a message that never became an entry (no-ack only). */
void slc_consumer_pass(slc_consumer *consumer, slc_message *message);

/* single_active.c */
/** It is in the lists of its queue, with waiting set: it may become the active one. */
void slc_single_active_joined(slc_consumer *consumer);
/** It is out of the lists of its queue. */
void slc_single_active_left(slc_consumer *consumer);
/** Nothing of a draining consumer is unacked any more. */
void slc_single_active_drained(slc_consumer *consumer);
/** basic.get on a queue with a single active consumer. @spec amqp-semantics 12.4 */
slc_err slc_single_active_may_get(const slc_queue *queue, slc_error *error);

/* ack_timeout.c */
/** Argument, policy or configuration changed: take the queue's timeout anew, and its consumers'. What is unacked keeps its time. */
void slc_ack_timeout_changed(slc_queue *queue);
void slc_ack_timeout_joined(slc_consumer *consumer);
/** When a delivery made now is due; timeout_ms > 0. The session is watched. */
uint64_t slc_ack_timeout_due(slc_session *session, uint64_t timeout_ms);
/** Look at it at due_ms (0: the next tick) or before. */
void slc_ack_timeout_watch(slc_session *session, uint64_t due_ms);
void slc_ack_timeout_unwatch(slc_session *session);
/** The delivery was taken back when its time was up: settling it does nothing. */
bool slc_ack_timeout_expired(const slc_session *session, uint64_t tag);

/* unacked.c */
void slc_unacked_push(slc_unacked_ring *ring, slc_unacked item);
slc_unacked *slc_unacked_find(slc_unacked_ring *ring, uint64_t tag);
/** The i-th slot counted from the oldest, 0 <= i < ring->count. */
slc_unacked *slc_unacked_at(slc_unacked_ring *ring, uint32_t i);
/** Make it a hole. */
void slc_unacked_clear(slc_unacked_ring *ring, slc_unacked *item);
void slc_unacked_fini(slc_unacked_ring *ring);

/* exchange_delayed.c */
/** NULL: not a delayed exchange. */
slc_schedule *slc_exchange_schedule(const slc_exchange *exchange);

/* confirm.c */
void slc_confirm_add(slc_session *session, uint64_t ticket);
/** The next publish was refused; the nack waits for so many deaths (slc_confirm_died). */
void slc_confirm_add_nack(slc_session *session, uint32_t deaths);
/** One of the deaths that a refused message waits for is over: it was dropped, or is with the store if stored, but for more deaths. */
void slc_confirm_died(slc_broker *broker, uint64_t session, uint64_t publish_seq, bool stored,
                      uint32_t more);
/** A message was settled before it reached the disk. */
void slc_confirm_settled(slc_broker *broker, const slc_message *message);
void slc_confirm_send(slc_session *session);
void slc_confirm_fini(slc_session *session);
slc_session *slc_session_by_handle(const slc_broker *broker, uint64_t handle);

/* publish.c */
/** With its key and those of the CC and BCC headers; exchange NULL: the default one. @spec amqp-semantics 17.2 */
void slc_route_all_keys(slc_vhost *vhost, slc_exchange *exchange, slc_message *m, slc_slice headers,
                        slc_route *route);
void slc_publish_route_fini(slc_session *session);
/** A message for which there is no queue: it comes back, or is gone. */
void slc_publish_nowhere(slc_session *session, slc_message *message, bool mandatory);
/** What full queues did with a message. */
typedef struct slc_refusal {
    bool refused;    // one takes no more
    uint32_t deaths; // those that give it to their dead letter exchange
} slc_refusal;
/** Enqueue in all destinations and return the ticket to wait for; 0: none. Adds to *refusal. */
uint64_t slc_publish_try(slc_broker *broker, slc_message *message, slc_destination **queues,
                         uint32_t count, slc_refusal *refusal);
/** The same for those who do not ask. */
uint64_t slc_publish_to(slc_broker *broker, slc_message *message, slc_destination **queues,
                        uint32_t count);

/* tx.c */
void slc_tx_publish(slc_session *session, slc_message *message, const slc_route *route,
                    bool mandatory);
void slc_tx_settle(slc_session *session, const slc_unacked *item, slc_settle how);
void slc_tx_fini(slc_session *session);
/** A death that the commit waits for is over, but for more. */
void slc_tx_died(slc_session *session, uint32_t more);
uint32_t slc_tx_publishes(const slc_session *session);
uint32_t slc_tx_settlements(const slc_session *session);

/* session.c */
/** Start waiting; the caller returns SLC_EPENDING. */
slc_err slc_session_wait(slc_session *session, slc_wait wait);
/** True when the op this session waited for is finished: *rc is its outcome and the session is free again. */
bool slc_session_finished(slc_session *session, slc_err *rc, uint64_t *result);
void slc_session_resume_ready(slc_broker *broker);
void slc_settle_one(slc_session *session, const slc_unacked *item, slc_settle how);
void slc_session_credit_back(slc_session *session, slc_consumer *consumer);

/* arguments.c */
slc_err slc_compare_argument(const char *key, slc_slice current, slc_slice received,
                             const char *resource, slc_error *error);
slc_err slc_check_queue_arguments(const slc_vhost *vhost, slc_slice name, slc_slice arguments,
                                  slc_error *error);
/** What a quorum queue may not be: SLC_EPRECONDITION. @spec amqp-semantics 10 */
slc_err slc_check_queue_type(const slc_vhost *vhost, slc_slice name, slc_slice arguments,
                             bool durable, bool exclusive, bool auto_delete, slc_error *error);
slc_err slc_check_consume_arguments(const slc_vhost *vhost, slc_slice queue, slc_slice arguments,
                                    slc_error *error);
slc_err slc_compare_queue_arguments(const slc_queue *queue, slc_slice arguments, slc_error *error);
/** The same for those that cannot change in the life of a queue. */
slc_err slc_compare_fixed_arguments(const slc_queue *queue, slc_slice arguments, slc_error *error);

#endif
