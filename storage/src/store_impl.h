/** The inside of the store, shared by the files of this folder.
 *
 *      loop half                                             store thread
 *      ---------                                             ------------
 *      batch.c     open chunks: append, drop, cancel         writer.c  one job = one transaction
 *      index.c     queues, live messages, the LSN table
 *      handover.c  open chunks -> job; results of a job      pool
 *      space.c     a full disk: drops first, appends later   ----
 *      read.c      requests                                  read.c    copies out of short read transactions
 *      recover.c   (calling thread, before the store thread starts)
 *      store.c     open, close, figures                      env.c     LMDB: open, ballast, error codes
 *
 *  A chunk lives through: open (loop writes) -> handed (store thread reads, nobody writes) -> on disk (freed here).
 *  Pending chunks are those not yet on disk in a closed batch: handed ones in front, open ones behind, dense in LSN.
 */
#ifndef SLC_STORE_IMPL_H
#define SLC_STORE_IMPL_H

#include <assert.h>
#include <lmdb.h>
#include <slc/store.h>
#include <stdatomic.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "base/mailbox.h"
#include "format.h"

enum {
    STORE_INLINE_MAX = 16 * 1024, // larger contents become residents
    STORE_BATCH_BYTES = 4 << 20,  // default bound of a hand-over
    STORE_BATCH_OPS = 16384,      // the same, in operations
    STORE_DELETE_MAX =
        4096, // keys of .log (and of .que) changed by housekeeping in one transaction
    STORE_DELETE_MIN =
        64,             // dead chunks worth the pages that a deletion dirties while work is waiting
    STORE_IDLE_MS = 20, // after so long without work, housekeeping has a transaction of its own
    STORE_RETRY_MS = 100,             // between attempts while the disk is full
    STORE_SWEEP_MAX = 4096,           // messages of a deleted queue forgotten per turn
    STORE_BALLAST_BYTES = 4 << 20,    // kept in the file to be given up when the disk is full
    STORE_READ_VALUES = 16,           // values per read transaction
    STORE_READ_NS = 50 * 1000 * 1000, // and its longest life
    STORE_FANOUT_MAX = 3000,          // targets of one record
    STORE_POOL_CHUNKS = 256,          // chunk builders kept for reuse
    STORE_QUEUE_PAGE = 1024,          // queues per page of the qid table
};

typedef struct slc_shard slc_shard;
typedef struct slc_job slc_job;

/* ---- the index: 24 bytes per live message ---- */

enum { ENTRY_DEAD = 1, ENTRY_RESIDENT = 2 };

typedef struct slc_entry {
    uint64_t qseq;
    uint64_t lsn;
    uint32_t bytes;  // of the content; with ENTRY_RESIDENT the slot of the resident table
    uint16_t record; // operation in its chunk, while that is pending
    uint8_t flags;
    uint8_t unused;
} slc_entry;
static_assert(sizeof(slc_entry) == 24, "an index entry is 24 bytes");

/** What recovery reports and the index does not keep. */
typedef struct slc_entry_extra {
    uint64_t ts_ms, expires_ms;
    uint8_t priority;
} slc_entry_extra;

typedef struct slc_squeue {
    uint32_t qid;
    bool dying;   // deleted; its messages are being forgotten in slices
    bool unsaved; // in the shard's unsaved list: next_qseq > saved_qseq
    slc_uuid uuid;
    slc_entry *entries;     // [head, tail), qseq ascending; the first and the last are live
    slc_entry_extra *extra; // during recovery only
    uint32_t head, tail, capacity, live;
    uint64_t next_qseq, saved_qseq; // the latter stands in .que
    uint64_t delivered, saved_delivered;
    uint64_t last_lsn;      // of the newest append; 0: not known (it was cancelled)
    uint64_t disk_lsn;      // an append at or below the handed LSNs; 0: none known
    uint64_t del_lsn;       // of the QDEL record
    uint64_t pending_first; // while renumbering: its first message that is not on disk; 0: none
    struct slc_squeue *prev, *next; // unsaved list in order of last_lsn, or the dying list

    // the DROP record that the next drop may extend
    uint64_t drop_lsn;
    uint32_t drop_op, drop_epoch;
    uint8_t drop_reason;
} slc_squeue;

/** One chunk number from log_first up. */
typedef struct slc_lsn {
    uint32_t live;     // targets of its messages that are not dropped; a resident part counts one
    uint32_t bytes;    // of its value
    uint64_t drop_lsn; // chunk of the last record that lowered `live`
    bool resident, hollow;
} slc_lsn;

/** A large content in parts first_lsn .. first_lsn + parts - 1. */
typedef struct slc_resident {
    uint64_t first_lsn, bytes;
    uint32_t parts;
    uint32_t refs;         // live targets; 0: slot is free
    uint64_t drop_lsn;     // of the newest record that lowered refs
    struct slc_chunk *run; // while pending
    uint32_t next_free;
} slc_resident;

/* ---- pending chunks ---- */

typedef enum slc_op_kind { OP_ENQ, OP_DROP, OP_QNEW, OP_QDEL } slc_op_kind;
enum { OP_CANCELLED = 1, OP_ATOMIC = 2 };

typedef struct slc_op {
    uint8_t kind, flags;
    uint16_t ranges_max;  // OP_DROP: room behind the head
    uint32_t head_offset; // of the encoded head in chunk->heads
    uint32_t head_bytes;
    uint32_t data_bytes; // OP_ENQ: inline content behind the head
    const uint8_t *data;
    void *owner; // of data
    struct slc_chunk
        *run; // OP_ENQ: where a resident's parts are (they belong to the same batch); else NULL
    uint32_t targets_live; // OP_ENQ: those whose drop did not happen in this open batch
    uint64_t victim_first, victim_last; // OP_DROP: chunks of what it drops
} slc_op;

typedef struct slc_chunk {
    uint64_t lsn;
    uint32_t lsn_count;  // 1; the number of parts for a run
    bool run;            // parts of a resident instead of records
    bool glued;          // no batch may end between this chunk and the next
    bool cancelled;      // a run nobody wants: its chunks are written empty
    bool handed;         // the store thread may have seen (a part of) it
    bool closed;         // takes no more records
    uint32_t body_bytes; // of what will be written
    uint32_t live_ops;   // not cancelled; of a run: records that name it
    slc_store_ticket last_ticket;

    slc_op *ops;
    uint32_t op_count, op_capacity;
    uint8_t *heads;
    uint32_t heads_bytes, heads_capacity;

    // a run
    const uint8_t *data;
    uint64_t data_bytes;
    void *owner;
    uint32_t slot; // of the resident table; UINT32_MAX when all its targets are dropped
} slc_chunk;

/* ---- jobs ---- */

typedef struct slc_job_item {
    slc_chunk *chunk;
    uint32_t part_from, part_to; // of a run
    bool begin, end;
} slc_job_item;

typedef struct slc_job_save {
    uint32_t qid;
    slc_queue_value value;
} slc_job_save;

typedef struct slc_job_hollow {
    uint64_t first;
    uint32_t count;
} slc_job_hollow;

/** One shard's share of a job. Arrays are kept from job to job. */
typedef struct slc_shard_job {
    slc_job_item *items;
    uint32_t item_count, item_capacity;
    slc_job_save *saves;
    uint32_t save_count, save_capacity;
    slc_job_hollow *hollows;
    uint32_t hollow_count, hollow_capacity;
    uint64_t delete_from, delete_to; // [from, to)
    uint64_t truncate_from; // 0: nothing; else keys from here up go first (an unfinished batch)
    uint64_t end_lsn;       // last chunk with BATCH_END; 0: none
    slc_store_ticket end_ticket;
    bool work;
    slc_shard_state state; // .st after the job
} slc_shard_job;

struct slc_job {
    slc_mail mail;
    // in
    bool drops_only;      // may be tried again at once with the ballast's pages
    bool restore_ballast; // afterwards, when it is gone
    bool mark_clean;
    bool sync_only; // no transaction: make what was committed durable
    bool stop;      // the thread ends after this one
    // out
    slc_err rc;
    slc_error error;
    bool ballast_missing;
    bool synced; // everything committed so far is durable, this job included
    uint64_t bytes_written, nanoseconds, commits, syncs, file_bytes;
};

struct slc_shard {
    slc_store *store;
    uint16_t id;
    bool opened; // the DBIs below are valid (store thread; recovery)
    bool atomic;
    bool gluing; // a chunk begun now belongs to the same batch as the one before
    MDB_dbi st, log, que;

    // queues
    slc_squeue ***queue_pages;
    uint32_t queue_page_count;
    uint32_t next_qid;
    slc_squeue *unsaved_first, *unsaved_last;
    slc_squeue *dying_first;

    // LSN table: ring, capacity a power of two
    slc_lsn *lsns;
    uint64_t lsn_mask;
    uint64_t log_first; // first chunk on disk
    uint64_t next_lsn;
    uint64_t dead_to; // every chunk in [log_first, dead_to) is dead
    uint64_t log_bytes;

    slc_resident *residents;
    uint32_t resident_count, resident_capacity, resident_free;
    slc_job_hollow *hollows; // freed residents that are not at the front
    uint32_t hollow_count, hollow_capacity;

    // pending chunks: ring of pointers, capacity a power of two
    slc_chunk **pending;
    uint32_t pending_mask, pending_head, pending_count;
    uint32_t handed;       // of them, whole
    uint32_t handed_parts; // of the run behind those
    uint64_t handed_lsn;   // last chunk number handed over
    bool in_batch;         // the last chunk handed over did not end its batch
    uint64_t ended_lsn;    // last chunk on disk that ended a batch
    uint32_t drops_first;  // pending chunks that hold what may go before appends (space.c)
    uint64_t truncate_from;

    // Submitted; in a transaction that LMDB committed; that survives a power failure; told to the owner.
    slc_store_ticket last_ticket, committed_ticket, durable_ticket, reported_ticket;
    uint32_t drop_epoch;
    slc_shard_job job;
};

struct slc_store {
    slc_store_options options;
    char *dir;
    MDB_env *env;
    MDB_dbi sys;
    uint64_t map_size;
    slc_shard **shards; // by position, not by id
    uint32_t shard_count;
    slc_shard *last_shard; // the one asked for last
    slc_chunk *spare[STORE_POOL_CHUNKS];
    uint32_t spare_count;
    uint64_t reserved_bytes; // blocks of the file that the file system has promised; store thread
    bool recovered, was_clean, has_ballast;

    // loop
    slc_mailbox mailbox;
    slc_mail notify_mail;
    bool notify_posted;
    uv_timer_t timer;
    bool busy; // a job is with the store thread
    bool failed, blocked, close_asked, clean_done, closing;
    bool unsynced; // the last commit is not durable yet: the next flush makes it so
    uint64_t last_handover_ms;
    uint32_t reads_open;
    uint32_t close_attempts;
    void (*close_done)(void *arg);
    void *close_arg;
    uint32_t handles_open;
    slc_store_stats stats;

    // between loop and store thread, guarded by lock
    uv_mutex_t lock;
    uv_cond_t wake;
    bool job_ready;
    slc_job job;
    atomic_bool more_waits; // there will be a job right after this one, whose flush counts for both
    uv_thread_t thread;
    bool thread_running;
};

/* env.c */
SLC_MUST_USE slc_err slc_store_env_open(slc_store *store, slc_error *error);
SLC_MUST_USE slc_err slc_store_env_shard(slc_store *store, MDB_txn *txn, slc_shard *shard,
                                         slc_error *error);
slc_err slc_store_env_error(int rc, slc_error *error, const char *what);
/** Commit one small value. */
SLC_MUST_USE slc_err slc_store_env_tick(slc_store *store, slc_error *error);
/** mdb_txn_commit, with ENOSPC where the file system is full. With deferred confirm the data is durable afterwards, the meta
 *  page that names it with the next flush: that of the next commit or of slc_store_env_sync. */
int slc_store_env_commit(MDB_txn *txn);
/** Deferred confirm: one flush per commit instead of two. */
static inline bool slc_store_defers(const slc_store *store)
{
    return store->options.flush == SLC_STORE_FLUSH_GROUP;
}
SLC_MUST_USE slc_err slc_store_env_sync(slc_store *store, slc_error *error);
/** Is there room for bytes more? SLC_ENOSPC. For what adds data; drops need not ask. */
SLC_MUST_USE slc_err slc_store_env_room(slc_store *store, uint64_t bytes, slc_error *error);
/** Write the ballast, or give it up; its pages are usable for the next transaction then. */
SLC_MUST_USE slc_err slc_store_env_ballast(slc_store *store, bool keep, slc_error *error);
/** clean: 0 or 1. */
SLC_MUST_USE slc_err slc_store_env_mark(slc_store *store, MDB_txn *txn, bool clean,
                                        slc_error *error);
void slc_store_env_close(slc_store *store);

/* index.c */
slc_shard *slc_store_shard(slc_store *store, uint16_t id);
slc_shard *slc_store_shard_new(slc_store *store, uint16_t id);
void slc_store_shard_free(slc_shard *shard);
slc_squeue *slc_shard_queue(const slc_shard *shard, uint32_t qid);
slc_squeue *slc_shard_queue_add(slc_shard *shard, uint32_t qid, const slc_uuid *uuid);
void slc_shard_queue_bury(slc_shard *shard, slc_squeue *queue, uint64_t del_lsn);
/** Forget up to STORE_SWEEP_MAX messages of deleted queues. True: there are more. */
bool slc_shard_sweep(slc_shard *shard);
void slc_shard_unsaved_touch(slc_shard *shard, slc_squeue *queue);
void slc_shard_unsaved_front(slc_shard *shard, slc_squeue *queue);
void slc_shard_unsaved_remove(slc_shard *shard, slc_squeue *queue);
slc_entry *slc_queue_entry_add(slc_squeue *queue, uint64_t qseq);
/** NULL when it is not live. */
slc_entry *slc_queue_entry_find(const slc_squeue *queue, uint64_t qseq);
/** The first live one at or above qseq, or NULL. */
slc_entry *slc_queue_entry_from(const slc_squeue *queue, uint64_t qseq);
void slc_queue_entry_kill(slc_squeue *queue, slc_entry *entry);
/** The table's line of lsn, log_first <= lsn < next_lsn. */
static inline slc_lsn *slc_shard_lsn(const slc_shard *shard, uint64_t lsn)
{
    SLC_DASSERT(lsn >= shard->log_first);
    SLC_DASSERT(lsn < shard->next_lsn);
    return &shard->lsns[lsn & shard->lsn_mask];
}
uint64_t slc_shard_lsn_push(slc_shard *shard, uint32_t count);
uint32_t slc_shard_resident_add(slc_shard *shard, uint64_t first_lsn, uint32_t parts,
                                uint64_t bytes);
/** One target fewer; at zero its parts are dead as of drop_lsn and the slot is free. */
void slc_shard_resident_unref(slc_shard *shard, uint32_t slot, uint64_t drop_lsn);
uint64_t slc_shard_entry_bytes(const slc_shard *shard, const slc_entry *entry);
/** The message of entry is gone from disk as of drop_lsn. */
void slc_shard_entry_drop(slc_shard *shard, slc_squeue *queue, slc_entry *entry, uint64_t drop_lsn);

/* batch.c */
slc_chunk *slc_shard_pending(const slc_shard *shard, uint32_t index);
slc_chunk *slc_shard_pending_find(const slc_shard *shard, uint64_t lsn);
bool slc_shard_has_open(const slc_shard *shard);
void slc_shard_pending_push(slc_shard *shard, slc_chunk *chunk);
slc_chunk *slc_shard_chunk_new(slc_shard *shard, uint32_t lsn_count);
/** The open chunk at the end with room for bytes more, or a new one. */
slc_chunk *slc_shard_chunk_room(slc_shard *shard, uint32_t bytes);
slc_op *slc_chunk_op_add(slc_chunk *chunk, slc_op_kind kind, uint32_t head_room);
void slc_chunk_free(slc_store *store, slc_chunk *chunk);
/** First chunk whose operations may still be changed. */
uint64_t slc_shard_open_lsn(const slc_shard *shard);
/** The open chunk at the end, or NULL. */
slc_chunk *slc_shard_tail(const slc_shard *shard);

typedef enum slc_cancel {
    CANCEL_NO,     // too late: it needs a DROP record
    CANCEL_TARGET, // the message stays for other queues
    CANCEL_WHOLE,  // that was its last target; its content is released
} slc_cancel;
/** Take a target out of an open chunk (entry->lsn >= slc_shard_open_lsn) and the entry out of the index. */
slc_cancel slc_shard_cancel(slc_shard *shard, slc_squeue *queue, slc_entry *entry);
/** Give back the numbers of chunks at the end that have become empty. */
void slc_shard_trim(slc_shard *shard);
/** Count one submission. */
slc_store_ticket slc_shard_ticket(slc_shard *shard);

/* handover.c */
/** Make a job of what is open (bounded) and of housekeeping, and give it to the store thread. False: nothing to do.
 *  idle: nobody waits, so small deletions are worth a transaction. */
bool slc_store_handover(slc_store *store, bool idle);
/** Give the contents of a chunk back to their owner. */
void slc_chunk_release(slc_store *store, slc_chunk *chunk);
void slc_store_mail(slc_mail *item, void *arg);
void slc_store_timer(uv_timer_t *timer);
bool slc_store_has_pending(const slc_store *store);
/** Give the job that stands in store->job (and the shards) to the store thread. */
void slc_store_job_give(slc_store *store);

/* space.c */
/** The job that just came back found no room: put what it held back, drops first, and tell. */
void slc_store_space_out(slc_store *store);
/** While blocked, from the timer: try again. */
void slc_store_space_retry(slc_store *store);

/* writer.c */
void slc_store_writer_main(void *arg);

/* store.c */
/** The next step of a close that was asked for; does nothing while something is under way. */
void slc_store_close_step(slc_store *store);

#define STORE_PUSH(array, count, capacity)                                                         \
    ((count) == (capacity) ? ((capacity) = (capacity) ? (capacity)*2 : 16,                         \
                              (array) = slc_realloc((array), (capacity) * sizeof *(array)))        \
                           : (array),                                                              \
     &(array)[(count)++])

#endif
