/** The store keeps persistent messages in LMDB, in two tiers: per shard an append-only log of numbered chunks, in which all
 *  queues share a commit, and per queue segments, into which what survives in the log is moved. One thread writes.
 *
 *  It has two halves. The *loop half* is everything declared here: the open batch of each shard, the index of live
 *  messages in the log (24 bytes each; the log is bounded by log_bytes) and the directory of segments (about 64 bytes per 64
 *  KiB of messages). The *store thread* owns the only LMDB write transaction and sees jobs only.
 *  They meet in mailboxes. The store knows queue numbers and sequences, not AMQP: the content of a message is bytes.
 *
 *      append/drop ──> open batch ──(slc_store_flush, when no job is in flight)──> job ──> store thread:
 *        one transaction, one flush ──> mailbox ──> durable callback with the highest ticket that is safe
 *
 *  Thread: every function is called on the loop; nothing here blocks but open, recover and close's caller may wait for
 *  `done`. Callbacks come on the loop, never inside the submitting call (except where a function says "inside").
 *  Ownership: `content.owner` is held by the store from append until options.release(owner) is called, once per append,
 *  on the loop; its bytes must not change meanwhile. A failed write of the log (EIO, failed sync) is not an error return:
 *  options.failed is called once and the process must stop (exit 74); it never confirms anything afterwards.
 *
 *  Numbers: shard u16 (0 on a single node). qid u32, of a queue inside its shard, from 1, never reused. qseq u64, position
 *  in a queue, from 1, ascending with gaps. LSN u64, of a chunk, from 1, dense. A ticket u64 counts the operations that
 *  were submitted to a shard, from 1: "durable up to ticket t" covers every append, drop, queue_new and queue_del up to t, but for
 *  appends of contents larger than a hand-over: those have tickets of the same sequence with the mark SLC_TICKET_LARGE
 *  (base/records.h) and may be overtaken; durable tells of them in calls of their own, which are cumulative among themselves.
 */
#ifndef SLC_STORE_H
#define SLC_STORE_H

#include <stdint.h>
#include <uv.h>

#include "base/error.h"
#include "base/records.h"

typedef struct slc_store slc_store;
typedef uint64_t slc_store_ticket;

typedef struct slc_uuid {
    uint8_t octets[16];
} slc_uuid;

typedef enum slc_store_flush_mode {
    SLC_STORE_FLUSH_GROUP, // group commit, deferred confirm: one flush per commit under load, two when idle
    SLC_STORE_FLUSH_FULL,     // group commit, every commit synced with its meta page
    SLC_STORE_FLUSH_INTERVAL, // durable is reported at hand-over; synced every flush_interval_ms
} slc_store_flush_mode;

typedef struct slc_store_options {
    const char *dir; // the LMDB environment's directory; created when missing
    uv_loop_t *loop; // where callbacks run
    uint64_t
        map_size; // bytes of address space; 0: the larger of 64 GiB and twice the file system's size
    slc_store_flush_mode flush;
    uint32_t flush_interval_ms;
    uint64_t
        log_bytes; // budget of the log tier: beyond it the oldest messages move to segments; 0: 256 MiB
    uint64_t batch_bytes;                    // upper bound per hand-over; 0: 4 MiB
    uint32_t batch_ops;                      // upper bound per hand-over; 0: 16384
    void (*release)(void *owner, void *arg); // a message's bytes are no longer needed
    void (*durable)(uint16_t shard, slc_store_ticket up_to,
                    void *arg);                        // ascending; with the mark: large ones only
    void (*failed)(const slc_error *error, void *arg); // stop the process
    /** ENOSPC or map full: blocked=true once, appends are kept in memory and retried; drops go on. false when over. */
    void (*space)(bool blocked, const slc_error *error, void *arg);
    void *arg;
} slc_store_options;

/** Open (creating when empty), check format and version. Not usable before slc_store_recover. */
SLC_MUST_USE slc_err slc_store_open(const slc_store_options *options, slc_store **out,
                                    slc_error *error);

/* ---- recovery, once, before anything else; runs on the calling thread ---- */

/** A queue that has a qid, and how much it holds. The messages themselves are read when they are wanted. */
typedef struct slc_store_queue {
    uint32_t qid;
    slc_uuid uuid;
    uint64_t next_qseq; // above every qseq it ever had
    uint64_t messages;  // live
    uint64_t bytes; // of their contents; near enough where a segment has lost some of its messages
    uint64_t
        delivered_qseq; // those up to here may have been handed out before; after a crash all of them
} slc_store_queue;

/** Return false to have the queue deleted (its uuid is unknown to the definitions). */
typedef bool (*slc_store_visitor)(uint16_t shard, const slc_store_queue *queue, void *arg);

/** Read the directory of segments, scan the log, verify checksums and LSN continuity, drop batches without end, rebuild the
 *  index, report what lives. Bounded by the log tier and the directory, not by the backlog.
 *  SLC_ECORRUPT names the shard, LSN and key; nothing is served then. Recovering twice gives the same state. */
SLC_MUST_USE slc_err slc_store_recover(slc_store *store, slc_store_visitor visitor, void *arg,
                                       slc_error *error);

/* ---- the open batch of a shard ---- */

typedef struct slc_store_content {
    const uint8_t *data;
    uint64_t bytes;
    void *owner; // what options.release gets
} slc_store_content;

typedef slc_target slc_store_target; // qseq above every earlier one of its qid

/** Give a queue its number; durable with the ticket. */
uint32_t slc_store_queue_new(slc_store *store, uint16_t shard, const slc_uuid *uuid,
                             slc_store_ticket *ticket);
/** Forget the queue and all its messages; space is freed in the background, in slices. */
slc_store_ticket slc_store_queue_del(slc_store *store, uint16_t shard, uint32_t qid);

/** One message to count >= 1 queues of the shard. Takes content.owner. A content larger than batch_bytes (outside of an atomic
 *  submission) goes to disk in pieces beside what is submitted after it; the ticket has the mark then. */
slc_store_ticket slc_store_append(slc_store *store, uint16_t shard,
                                  const slc_store_content *content, uint64_t ts_ms,
                                  uint8_t priority, const slc_store_target *targets,
                                  uint32_t count);

typedef enum slc_drop_reason {
    SLC_DROP_ACK,
    SLC_DROP_REJECT,
    SLC_DROP_EXPIRED,
    SLC_DROP_MAXLEN,
    SLC_DROP_PURGE,
    SLC_DROP_DEAD_LETTERED,
} slc_drop_reason;

/** The queue is done with one message. Consecutive drops of a queue become ranges in the log.
 *  Cancelled in flight: when the message is still in the open batch and this was its last target, neither append nor drop
 *  reaches the disk and *cancelled is true (content is released inside this call): its publisher can be confirmed at once.
 *  Between atomic_begin and atomic_end nothing is cancelled: the drop must not take effect without the rest.
 *  A message that is not there (dropped before, never appended) is ignored. cancelled may be NULL. */
slc_store_ticket slc_store_drop(slc_store *store, uint16_t shard, uint32_t qid, uint64_t qseq,
                                slc_drop_reason reason, bool *cancelled);

/** The same for every message of the queue in [first, last], first <= last, without a look at each: one record, and what it
 *  ends is forgotten in slices afterwards. The caller must not use those positions again (read from above last). */
slc_store_ticket slc_store_drop_range(slc_store *store, uint16_t shard, uint32_t qid,
                                      uint64_t first, uint64_t last, slc_drop_reason reason);

/** What is submitted between begin and end is one batch: all or nothing. Not nested. */
void slc_store_atomic_begin(slc_store *store, uint16_t shard);
void slc_store_atomic_end(slc_store *store, uint16_t shard);

/** Hand the open batches over if the store thread is free; call at the end of each loop turn. Cheap when there is nothing.
 *  A batch that became empty (all cancelled) with no job in flight is reported durable from the loop soon after. */
void slc_store_flush(slc_store *store);

/* ---- reading back ---- */

typedef slc_stored_message slc_store_message;

/** messages ascend by qseq; count 0 with rc != SLC_OK on damage (never partly wrong content). error is NULL on success. */
typedef void (*slc_store_read_cb)(slc_err rc, const slc_store_message *messages, uint32_t count,
                                  void *arg, const slc_error *error);

/** Read the next live messages of a queue from position from_qseq on, by the reader pool: up to count_max (1..4096), stopping
 *  after bytes_max bytes of content (at least one is read). Messages still in an open batch or in flight are found too. What was
 *  dropped meanwhile is left out. Count 0 with SLC_OK: nothing lives there. No message in between is skipped.
 *  Damage ends a read in front of the damaged message; SLC_ECORRUPT comes when it is the first one.
 *  cb runs exactly once, on the loop, never inside. */
void slc_store_read(slc_store *store, uint16_t shard, uint32_t qid, uint64_t from_qseq,
                    uint32_t count_max, uint64_t bytes_max, slc_store_read_cb cb, void *arg);

/* ---- end and figures ---- */

/** At a clean stop: the highest qseq each queue ever delivered, so that redelivered flags survive. */
void slc_store_delivered(slc_store *store, uint16_t shard, uint32_t qid, uint64_t highest_qseq);

/** Finish what was submitted, write the clean marker, stop the thread, free. done runs on the loop. */
void slc_store_close(slc_store *store, void (*done)(void *arg), void *arg);

typedef struct slc_store_stats {
    uint64_t live_messages, live_bytes; // both tiers; bytes near enough where segments lost some
    uint64_t log_bytes, log_chunks;     // chunks in the log tier; what they take in the file
    uint64_t log_messages;              // live ones among them
    uint64_t segments, segment_bytes;   // of the segment tier; contents as they were written
    uint64_t resident_bytes, residents; // large contents, stored once outside both tiers
    uint64_t migrated_messages, merged_messages; // since start
    uint64_t commits, syncs, commit_ns;          // since start
    uint64_t batch_ops_open, jobs_in_flight;
    uint64_t bytes_written, cancelled;
    uint64_t file_bytes, map_bytes;
    uint64_t free_bytes; // of the file: nothing stands there, and what comes in goes there first
    uint64_t
        read_longest_ns; // of the read transactions so far; LMDB reuses no page that one may see
} slc_store_stats;

void slc_store_stat(const slc_store *store, slc_store_stats *out);

#endif
