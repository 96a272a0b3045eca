/** The inside of the store, shared by the files of this folder.
 *
 *      loop half                                             store thread
 *      ---------                                             ------------
 *      batch.c     open chunks: append, drop, cancel         writer.c  one job = one transaction
 *      index.c     queues, live messages, the LSN table      migrate_write.c  segments of a migration slice
 *      resident.c  large contents
 *      upload.c    very large ones, ahead of their batch
 *      segment.c   the directory of segments                 pool
 *      sweep.c     forgetting what one record ended          ----
 *      handover.c  open chunks -> job; results of a job      read.c    copies out of short read transactions
 *      chores.c    housekeeping of a job: what leaves
 *      migrate.c   what moves from the log to segments
 *      space.c     a full disk: drops first, appends later
 *      backup.c    a copy of all of it                       backup_copy.c  its own thread, short read transactions
 *      read.c      requests
 *      recover.c   (calling thread, before the store thread starts)
 *      store.c     open, close, figures                      env.c     LMDB: open, ballast, error codes
 *
 *  Where a live message stands:
 *
 *      open chunk ──handed, committed──> log ──migration slice committed──> segment ──merge──> another segment
 *
 *  A drop is a record in the log wherever its message stands. It takes effect in memory at once; on disk by replay, until
 *  the chunk with the record leaves the front of the log. Before that happens the directory record of the segment has it.
 *
 *  A chunk lives through: open (loop writes) -> handed (store thread reads, nobody writes) -> on disk (freed here).
 *  Pending chunks are those not yet on disk in a closed batch: handed ones in front, open ones behind, dense in LSN.
 */
#ifndef SLC_STORE_IMPL_H
#define SLC_STORE_IMPL_H

#include <assert.h>
#include <inttypes.h>
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
    STORE_LOG_BYTES = 256 << 20,  // default budget of the log tier
    STORE_SPARSE_MIN = 16,        // sparse segments of a queue that are worth a merge
    STORE_SLICE_BYTES = 1 << 20,  // of segments written in one transaction while work is waiting
    STORE_BATCH_BYTES = 4 << 20,  // default bound of a hand-over
    STORE_BATCH_OPS = 16384,      // the same, in operations
    STORE_DELETE_MAX =
        4096, // keys of .log (and of .que) changed by housekeeping in one transaction
    STORE_DELETE_MIN =
        64, // dead chunks worth the pages that a deletion dirties while work is waiting
    STORE_DELETE_SHARE = 16, // of the log's budget, the same
    STORE_IDLE_MS = 20,     // after so long without work, housekeeping has a transaction of its own
    STORE_RETRY_MS = 100,   // between attempts while the disk is full
    STORE_SWEEP_MAX = 4096, // messages of a deleted queue forgotten per turn
    STORE_BALLAST_BYTES = 4 << 20,    // kept in the file to be given up when the disk is full
    STORE_READ_VALUES = 32,           // values per read transaction
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

/* ---- the segment tier: about 100 bytes per segment ---- */

typedef struct slc_segment_resident {
    uint64_t qseq;
    uint32_t slot; // of the resident table
} slc_segment_resident;

/** Up to 32 KiB of messages of one queue. On disk it never changes; what is dropped stands in its directory record. */
typedef struct slc_segment {
    struct slc_squeue *queue;
    uint64_t first, last;       // positions
    uint64_t bytes, live_bytes; // of contents; the latter an estimate once some are dropped
    uint32_t count, live;
    uint8_t *dead;                   // bit i: first + i is absent or dropped; NULL: none is
    uint64_t drop_lsn;               // newest drop in it
    uint64_t dirty_lsn;              // oldest drop that its directory record lacks; 0: none
    slc_segment_resident *residents; // of live messages, qseq ascending
    uint32_t resident_count;
    struct slc_segment *prev, *next; // dirty ones of the shard, dirty_lsn ascending
} slc_segment;

/** A segment that holds nothing any more, or whose queue is gone: to be deleted. */
typedef struct slc_grave {
    uint32_t qid;
    uint64_t first;
    uint64_t drop_lsn; // not before this is in an ended batch
    uint64_t pin_lsn;  // chunks from here on stay until it is deleted; UINT64_MAX: none has to
    // Its queue was deleted by the record in drop_lsn. When that is in an ended batch, a replay deletes the segment by itself, and no
    // chunk has to stay; until then a crash can bring the queue back, and what was dropped of it must not come with it.
    bool queue_deleted;
} slc_grave;

/** What slc_store_drop_range ended and what is not forgotten yet. */
typedef struct slc_purge {
    struct slc_squeue *queue; // NULL: deleted meanwhile
    uint64_t first, last;
    uint64_t drop_lsn, pin_lsn; // of its record; they differ when it was renumbered
    struct slc_purge *next;
} slc_purge;

typedef struct slc_squeue {
    // What each message touches comes first, close together: there may be thousands of queues.
    uint32_t qid;
    bool dying;   // deleted; its messages are being forgotten in slices
    bool unsaved; // in the shard's unsaved list: next_qseq > saved_qseq
    uint8_t drop_reason;
    slc_entry *entries; // [head, tail), qseq ascending; the first and the last are live
    uint32_t head, tail, capacity, live;
    uint64_t next_qseq;
    uint64_t last_lsn;              // of the newest append; 0: not known (it was cancelled)
    uint64_t disk_lsn;              // an append at or below the handed LSNs; 0: none known
    struct slc_upload *upload;      // the newest waiting one that goes to it, or NULL
    struct slc_squeue *prev, *next; // unsaved list in order of last_lsn, or the dying list
    // The DROP record that the next drop may extend, with drop_reason.
    uint64_t drop_lsn;
    uint32_t drop_op, drop_epoch;
    uint64_t drop_newest;  // chunk of its newest drop
    uint64_t drop_highest; // highest position dropped since all its drops were on disk
    uint64_t delivered, saved_delivered;

    uint64_t saved_qseq; // next_qseq as it stands in .que
    slc_uuid uuid;
    slc_segment **segments; // [segment_head, segment_tail), first ascending, ranges disjoint
    uint32_t segment_head, segment_tail, segment_capacity;
    uint32_t sparse;     // segments with less than a quarter of their messages left
    uint64_t merge_qseq; // the look for neighbours to merge goes on here
    uint64_t del_lsn;    // of the QDEL record
    uint64_t purge_pin; // of a dying one: pin of its purges that were not through; UINT64_MAX: none
    uint64_t pending_first; // while renumbering: its first message that is not on disk; 0: none
} slc_squeue;

/** One chunk number from log_first up. */
typedef struct slc_lsn {
    uint32_t live;     // targets of its messages that are neither dropped nor in a segment
    uint32_t bytes;    // that it takes in the file, see slc_store_env_takes; 0: not in .log (yet)
    uint64_t drop_lsn; // chunk of the last record that lowered `live`
} slc_lsn;

/** A large content in parts first_lsn .. first_lsn + parts - 1 of .res. */
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
    bool cancelled;      // a run nobody wants: it is not written
    bool handed;         // the store thread may have seen (a part of) it
    bool closed;         // takes no more records
    uint32_t body_bytes; // of what will be written
    uint32_t live_ops;   // not cancelled; of a run: records that name it
    slc_store_ticket last_ticket;
    slc_store_ticket upload_ticket; // handed over when all uploads up to this one are; 0: at once

    slc_op *ops;
    uint32_t op_count, op_capacity;
    uint8_t *heads;
    uint32_t heads_bytes, heads_capacity;

    // a run
    const uint8_t *data;
    uint64_t data_bytes;
    void *owner;
    uint32_t slot;             // of the resident table; UINT32_MAX when all its targets are dropped
    struct slc_upload *upload; // whose parts they are; NULL: it is one of the pending chunks
} slc_chunk;

/** A very large content on its way to disk: upload.c. */
typedef struct slc_upload {
    slc_chunk *run;
    slc_store_ticket ticket;  // without the mark
    uint32_t handed, written; // parts: given to the store thread, committed
    bool placed;
    uint64_t enq_lsn; // once placed
    uint64_t ts_ms;   // until then
    uint8_t priority;
    uint32_t target_count;
    slc_store_target *targets;
    struct slc_upload *next;
} slc_upload;

/* ---- jobs ---- */

typedef struct slc_job_item {
    slc_chunk *chunk;
    uint32_t part_from, part_to; // of a run
    uint32_t skipped;            // LSNs in front that are no chunks of the log
    bool begin, end;
} slc_job_item;

typedef struct slc_job_save {
    uint32_t qid;
    slc_queue_value value;
} slc_job_save;

/** Parts that nobody needs any more. */
typedef struct slc_freed {
    uint64_t first;
    uint32_t count;
    uint64_t drop_lsn; // not before this is in an ended batch
} slc_freed;

/** A directory record to be written anew. */
typedef struct slc_job_mark {
    uint32_t qid;
    uint64_t first;
    uint64_t dirty_lsn;     // what the segment had: to be put back when the job fails
    uint32_t offset, bytes; // of the record in job->mark_bytes
} slc_job_mark;

/** One slice of a migration: messages of the log that become segments, or sparse segments that become one. */
typedef struct slc_slice_item {
    uint64_t qseq;
    uint64_t source; // LSN of its chunk; of a merge the first position of its segment
} slc_slice_item;

/** Consecutive positions of one queue with no segment in between. */
typedef struct slc_slice_group {
    uint32_t qid, from, count; // of the items
    bool merge;
} slc_slice_group;

/** A segment that the store thread made of items [from, from + count) of a group. */
typedef struct slc_slice_made {
    uint32_t qid, from, count;
    uint64_t bytes; // of contents
    uint32_t value_bytes;
    bool merge;
} slc_slice_made;

typedef struct slc_migration_slice {
    slc_slice_item *items;
    uint32_t item_count, item_capacity;
    slc_slice_group *groups;
    uint32_t group_count, group_capacity;
    slc_slice_made *made;
    uint32_t made_count, made_capacity;
    uint64_t bytes;     // that it will write, near enough
    uint64_t after_lsn; // handed over last when it was built: later drops are not in it
} slc_migration_slice;

/** One shard's share of a job. Arrays are kept from job to job. */
typedef struct slc_shard_job {
    slc_job_item *items;
    uint32_t item_count, item_capacity;
    slc_job_item *uploads; // parts that go ahead of their batch
    uint32_t upload_count, upload_capacity;
    slc_job_save *saves;
    uint32_t save_count, save_capacity;
    slc_freed *frees;
    uint32_t free_count, free_capacity;
    slc_job_mark *marks;
    uint32_t mark_count, mark_capacity;
    uint8_t *mark_bytes;
    uint32_t mark_used, mark_room;
    slc_grave *graves;
    uint32_t grave_count, grave_capacity;
    slc_migration_slice slice;
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
    uint64_t bytes_written, nanoseconds, commits, syncs, file_bytes, free_bytes;
};

struct slc_shard {
    slc_store *store;
    uint16_t id;
    bool opened; // the DBIs below are valid (store thread; recovery)
    bool atomic;
    bool gluing; // a chunk begun now belongs to the same batch as the one before
    MDB_dbi st, log, que, res, seg, smd;

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
    uint64_t dead_to;   // every chunk in [log_first, dead_to) is dead
    uint64_t log_bytes; // what the chunks of .log take in the file

    slc_resident *residents;
    uint32_t resident_count, resident_capacity, resident_free;
    slc_freed *frees;
    uint32_t free_count, free_capacity;

    // segments
    slc_segment *dirty_first, *dirty_last;
    slc_grave *graves; // [grave_head, grave_count)
    uint32_t grave_head, grave_count, grave_capacity;
    slc_purge *purge_first, *purge_last;

    // migration: every chunk below window_to moves; 0: none is under way
    uint64_t window_from, window_to;
    uint32_t window_qid;    // the pass over the queues has come to this one
    bool window_again;      // a queue was passed over: another pass is needed
    uint8_t *window_seen;   // store thread: chunks of the window whose checksum was verified
    uint32_t merge_qid;     // the search for sparse segments has come to this one
    bool merge_turn;        // migration and merging take turns
    bool merge_rests;       // there is nothing to merge until something changes
    uint32_t sparse_queues; // with STORE_SPARSE_MIN sparse segments or more

    // pending chunks: ring of pointers, capacity a power of two
    slc_chunk **pending;
    uint32_t pending_mask, pending_head, pending_count;
    uint32_t handed;       // of them, whole
    uint32_t handed_parts; // of the run behind those
    uint64_t handed_lsn;   // last chunk number handed over
    bool in_batch;         // the last chunk handed over did not end its batch
    uint64_t ended_lsn;    // last chunk on disk that ended a batch
    uint64_t handed_chunk; // last chunk of the log (not a part) handed over
    bool unended;          // what is on disk ends with an unfinished batch
    uint32_t drops_first;  // pending chunks that hold what may go before appends (space.c)
    uint64_t truncate_from;

    slc_upload *upload_first, *upload_last; // in order of tickets
    slc_upload *upload_waiting;       // the first that has no place yet; all behind it have none
    slc_store_ticket uploaded_ticket; // every upload up to this one was handed over whole

    // Submitted; in a transaction that LMDB committed; that survives a power failure; told to the owner.
    slc_store_ticket last_ticket, committed_ticket, durable_ticket, reported_ticket;
    slc_store_ticket committed_upload, durable_upload, reported_upload; // those of uploads
    uint32_t drop_epoch;
    slc_shard_job job;
    struct slc_backup_shard *backup; // NULL: none is under way
};

struct slc_store {
    slc_store_options options;
    char *dir;
    MDB_env *env;
    MDB_txn *size_txn; // of slc_store_env_size, reset; NULL: not yet
    MDB_dbi sys;
    uint64_t map_size;
    uint32_t page_bytes;
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
    struct slc_store_backup *backup; // NULL: none is under way

    // Between loop and store thread. The job is the loop's until it posts, then the thread's until its mail comes back.
    uv_sem_t wake;
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
/** What a chunk or part of value_bytes takes in the file: LMDB gives a value that is longer than half a page pages of its own.
 *  When each commit holds little, a log measured by its values alone would take twice its budget. */
uint32_t slc_store_env_takes(const slc_store *store, uint32_t value_bytes);
/** SLC_EVERSION and what to do about a store of another format. */
slc_err slc_store_format_refuse(const char *dir, uint32_t format, slc_error *error);
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
/** What the file has, and how much of it is free. Neither is changed when LMDB does not say. Store thread, or before it runs. */
void slc_store_env_size(slc_store *store, uint64_t *file_bytes, uint64_t *free_bytes);
/** Write the ballast, or give it up; its pages are usable for the next transaction then. */
SLC_MUST_USE slc_err slc_store_env_ballast(slc_store *store, bool keep, slc_error *error);
/** clean: 0 or 1. */
SLC_MUST_USE slc_err slc_store_env_mark(slc_store *store, MDB_txn *txn, bool clean,
                                        slc_error *error);
void slc_store_env_close(slc_store *store);
/** Values of whole pages that will be read soon: the disk is asked for all of them before the first is waited for, and once for
 *  neighbours. Begin with {0}, end with slc_need_end. Any thread. */
typedef struct slc_need {
    uintptr_t from, to; // what is not asked for yet
} slc_need;
void slc_need_value(slc_need *need, const MDB_val *value);
void slc_need_end(slc_need *need);
/** One alone. */
static inline void slc_store_value_need(const MDB_val *value)
{
    slc_need need = {0};
    slc_need_value(&need, value);
    slc_need_end(&need);
}

/* index.c */
slc_shard *slc_store_shard(slc_store *store, uint16_t id);
slc_shard *slc_store_shard_new(slc_store *store, uint16_t id);
void slc_store_shard_free(slc_shard *shard);
slc_squeue *slc_shard_queue(const slc_shard *shard, uint32_t qid);
slc_squeue *slc_shard_queue_add(slc_shard *shard, uint32_t qid, const slc_uuid *uuid);
void slc_shard_queue_bury(slc_shard *shard, slc_squeue *queue, uint64_t del_lsn);
void slc_shard_unsaved_touch(slc_shard *shard, slc_squeue *queue);
void slc_shard_unsaved_front(slc_shard *shard, slc_squeue *queue);
void slc_shard_unsaved_remove(slc_shard *shard, slc_squeue *queue);
slc_entry *slc_queue_entry_add(slc_squeue *queue, uint64_t qseq);
/** NULL when it is not live. */
slc_entry *slc_queue_entry_find(const slc_squeue *queue, uint64_t qseq);
/** The first live one at or above qseq, or NULL. */
slc_entry *slc_queue_entry_from(const slc_squeue *queue, uint64_t qseq);
void slc_queue_entry_kill(slc_squeue *queue, slc_entry *entry);
/** A drop of position qseq stands in chunk lsn. */
void slc_shard_queue_dropped(slc_shard *shard, slc_squeue *queue, uint64_t qseq, uint64_t lsn);
/** The table's line of lsn, log_first <= lsn < next_lsn. */
static inline slc_lsn *slc_shard_lsn(const slc_shard *shard, uint64_t lsn)
{
    SLC_DASSERT(lsn >= shard->log_first);
    SLC_DASSERT(lsn < shard->next_lsn);
    return &shard->lsns[lsn & shard->lsn_mask];
}
uint64_t slc_shard_lsn_push(slc_shard *shard, uint32_t count);
uint64_t slc_shard_entry_bytes(const slc_shard *shard, const slc_entry *entry);
/** The message of entry is gone from disk as of drop_lsn. */
void slc_shard_entry_drop(slc_shard *shard, slc_squeue *queue, slc_entry *entry, uint64_t drop_lsn);

/* resident.c */
uint32_t slc_shard_resident_add(slc_shard *shard, uint64_t first_lsn, uint32_t parts,
                                uint64_t bytes);
/** One target fewer; at zero its parts are freed as of the newest drop and the slot is free. */
void slc_shard_resident_unref(slc_shard *shard, uint32_t slot, uint64_t drop_lsn);
/** Nothing of it was handed over and nothing names it any more. */
void slc_shard_resident_cancel(slc_shard *shard, slc_chunk *run);

/* segment.c */
/** The segment whose range holds qseq and in which it is live, or NULL. */
slc_segment *slc_queue_segment_find(const slc_squeue *queue, uint64_t qseq);
/** Index in queue->segments of the first one whose last is at or above qseq; segment_tail: none. */
uint32_t slc_queue_segment_from(const slc_squeue *queue, uint64_t qseq);
bool slc_segment_live(const slc_segment *segment, uint64_t qseq);
/** Takes the arrays of segment. Its range is free. */
slc_segment *slc_shard_segment_add(slc_shard *shard, slc_squeue *queue, const slc_segment *segment);
/** Set the bits of positions that are not among its live ones; residents must be listed already. */
void slc_segment_mark(slc_segment *segment, uint64_t qseq);
/** Its message qseq, which is live, is dropped by the record in chunk lsn. It may be gone afterwards. */
void slc_shard_segment_drop(slc_shard *shard, slc_segment *segment, uint64_t qseq, uint64_t lsn);
/** All of it is dropped by the record in chunk drop_lsn. pin_lsn as in slc_grave. */
void slc_shard_segment_bury(slc_shard *shard, slc_segment *segment, uint64_t drop_lsn,
                            uint64_t pin_lsn);
/** Out of memory only (merged into another, or the shard ends). */
void slc_shard_segment_free(slc_shard *shard, slc_segment *segment);
/** Less than a quarter of it is left. */
static inline bool slc_segment_sparse(const slc_segment *segment)
{
    return segment->live < segment->count / 4;
}
/** It lacks a drop since lsn. */
void slc_shard_segment_dirty(slc_shard *shard, slc_segment *segment, uint64_t lsn);
void slc_shard_segment_clean(slc_shard *shard, slc_segment *segment);
/** Append its directory record to out (room for SLC_DIRECTORY_MAX); returns the bytes. */
uint32_t slc_shard_segment_record(const slc_shard *shard, const slc_segment *segment, uint8_t *out);
void slc_shard_grave_add(slc_shard *shard, slc_grave grave);

/* sweep.c */
/** Forget up to STORE_SWEEP_MAX messages of deleted queues and dropped ranges. True: there are more. */
bool slc_shard_sweep(slc_shard *shard);
bool slc_shard_sweeps(const slc_shard *shard);

/* upload.c */
typedef struct slc_budget {
    uint64_t bytes, bytes_max;
    uint64_t ops, ops_max;
} slc_budget;
/** Is a content of so many bytes for count queues to be uploaded? */
bool slc_shard_upload_wanted(const slc_shard *shard, uint64_t bytes, uint32_t count);
/** Takes content.owner. The next ticket is its. */
void slc_shard_upload_new(slc_shard *shard, const slc_store_content *content, uint64_t ts_ms,
                          uint8_t priority, const slc_store_target *targets, uint32_t count);
/** Give the waiting uploads up to last their places at the end of the open batch. */
void slc_shard_uploads_place(slc_shard *shard, const slc_upload *last);
/** Those up to the last one that goes to queue (which may be NULL). */
void slc_shard_uploads_place_queue(slc_shard *shard, const slc_squeue *queue);
/** Those up to the one that is message qseq of queue (which may be NULL), if any is. */
void slc_shard_uploads_place_message(slc_shard *shard, const slc_squeue *queue, uint64_t qseq);
/** There are parts to be handed over. */
bool slc_shard_uploads_open(const slc_shard *shard);
/** Put parts into the job. True: an upload is whole now, and its record may follow in the same job. */
bool slc_shard_uploads_take(slc_shard *shard, slc_budget *budget);
/** The job was committed. */
void slc_shard_uploads_written(slc_shard *shard);
/** Let go of those whose batch is on disk, and of cancelled ones. */
void slc_shard_uploads_settle(slc_shard *shard);
void slc_shard_upload_free(slc_shard *shard, slc_upload *upload);
/** The job failed for want of room, and keys of .res from `from` up are about to be deleted (0: none). Returns the first LSN
 *  above their parts, which keep their numbers; 0: there are none. */
uint64_t slc_shard_uploads_undo(slc_shard *shard, uint64_t from);

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
/** The parts of a content that is uploaded: with numbers, but not among the pending chunks. */
slc_chunk *slc_shard_run_new(slc_shard *shard, const slc_store_content *content);
/** Append the record of one message whose content is in run; returns the chunk it stands in. */
slc_chunk *slc_shard_run_enqueue(slc_shard *shard, slc_chunk *run, uint64_t ts_ms, uint8_t priority,
                                 const slc_store_target *targets, uint32_t count);
/** Write one DROP record for all of [first, last]; returns the chunk it stands in. */
uint64_t slc_shard_range_record(slc_shard *shard, slc_squeue *queue, uint64_t first, uint64_t last,
                                slc_drop_reason reason);
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
/** How many parts of the run from `part` on fit. at_least_one: also when there is no room. */
uint32_t slc_run_take(const slc_chunk *run, uint32_t part, slc_budget *budget, bool at_least_one);
/** Give the contents of a chunk back to their owner. */
void slc_chunk_release(slc_store *store, slc_chunk *chunk);
void slc_store_mail(slc_mail *item, void *arg);
void slc_store_timer(uv_timer_t *timer);
bool slc_store_has_pending(const slc_store *store);
/** Give the job that stands in store->job (and the shards) to the store thread. */
void slc_store_job_give(slc_store *store);

/* chores.c */
void slc_shard_chores_reset(slc_shard *shard);
/** The job has something of chores.c or migrate.c to do. */
bool slc_shard_chores_any(const slc_shard *shard);
/** Fill the housekeeping of shard->job. */
void slc_shard_chores_build(slc_shard *shard, bool idle);
bool slc_shard_has_chores(const slc_shard *shard);
void slc_shard_chores_done(slc_shard *shard);
/** The job failed for want of room: what it was to do is to be done again. */
void slc_shard_chores_undo(slc_shard *shard);
/** Last chunk that ended a batch once the job is committed. */
static inline uint64_t slc_shard_job_end(const slc_shard *shard)
{
    return shard->job.end_lsn != 0 ? shard->job.end_lsn : shard->ended_lsn;
}

/* migrate.c */
/** Fill shard->job.slice when the log is over its budget or segments are sparse. */
void slc_shard_migrate_build(slc_shard *shard, bool idle);
/** There is a window to be moved, or the log is over its budget. */
bool slc_shard_migrates(const slc_shard *shard);
void slc_shard_migrate_done(slc_shard *shard);

/* backup.c */
/** A copy of the store is under way that needs segments to stay apart. */
bool slc_backup_holds(const slc_shard *shard);
/** At most `to`: chunks from there on are not copied yet. */
uint64_t slc_backup_pinned_below(const slc_shard *shard, uint64_t to);
/** Between two jobs: a backup that was asked for may begin. */
void slc_backup_job_done(slc_store *store);

/* space.c */
/** The job that just came back found no room: put what it held back, drops first, and tell. */
void slc_store_space_out(slc_store *store);
/** While blocked, from the timer: try again. */
void slc_store_space_retry(slc_store *store);

/* writer.c */
typedef struct slc_writer {
    slc_store *store;
    slc_job *job;
    MDB_txn *txn;
    uint64_t wall_ms;
    uint32_t puts, puts_total;
} slc_writer;
void slc_store_writer_main(void *arg);
slc_err slc_writer_error(slc_writer *w, int code, const char *what);
/** Delete the keys [from, to) of a database with LSN keys; to 0 means to the end. */
SLC_MUST_USE slc_err slc_writer_delete(slc_writer *w, MDB_dbi dbi, uint64_t from, uint64_t to);

SLC_MUST_USE slc_err slc_writer_segment_delete(slc_writer *w, slc_shard *shard, uint32_t qid,
                                               uint64_t first);

/* migrate_write.c */
SLC_MUST_USE slc_err slc_writer_slice(slc_writer *w, slc_shard *shard);

/* store.c */
/** The next step of a close that was asked for; does nothing while something is under way. */
void slc_store_close_step(slc_store *store);

#define STORE_PUSH(array, count, capacity)                                                         \
    ((count) == (capacity) ? ((capacity) = (capacity) ? (capacity)*2 : 16,                         \
                              (array) = slc_realloc((array), (capacity) * sizeof *(array)))        \
                           : (array),                                                              \
     &(array)[(count)++])

#endif
