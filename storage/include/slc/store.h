/** The store keeps persistent messages: an append-only log of numbered chunks per shard in LMDB, written by one thread.
 *
 *  It has two halves. The *loop half* is everything declared here: the open batch of each shard and the index of live
 *  messages (qid, qseq -> LSN and record). The *store thread* owns the only LMDB write transaction and sees jobs only.
 *  They meet in mailboxes. The store knows queue numbers and sequences, not AMQP: the content of a message is bytes.
 *
 *      append/drop ──> open batch ──(slc_store_flush, when no job is in flight)──> job ──> store thread:
 *        one transaction, one sync ──> mailbox ──> durable callback with the highest ticket that is safe
 *
 *  Thread: every function is called on the loop; nothing here blocks but open, recover and close's caller may wait for
 *  `done`. Callbacks come on the loop, never inside the submitting call (except where a function says "inside").
 *  Ownership: `content.owner` is held by the store from append until options.release(owner) is called, once per append,
 *  on the loop; its bytes must not change meanwhile. A failed write of the log (EIO, failed sync) is not an error return:
 *  options.failed is called once and the process must stop (exit 74); it never confirms anything afterwards.
 *
 *  Numbers: shard u16 (0 on a single node). qid u32, of a queue inside its shard, from 1, never reused. qseq u64, position
 *  in a queue, from 1, ascending with gaps. LSN u64, of a chunk, from 1, dense. A ticket u64 counts the operations that
 *  were submitted to a shard, from 1: "durable up to ticket t" covers every append, drop, queue_new and queue_del up to t.
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
    uint64_t log_bytes;   // budget of the log tier (may be outgrown until segments exist)
    uint64_t batch_bytes; // upper bound per hand-over; 0: 4 MiB
    uint32_t batch_ops;   // upper bound per hand-over; 0: 16384
    void (*release)(void *owner, void *arg); // a message's bytes are no longer needed
    void (*durable)(uint16_t shard, slc_store_ticket up_to,
                    void *arg);                        // ascending, once per finished job
    void (*failed)(const slc_error *error, void *arg); // stop the process
    /** ENOSPC or map full: blocked=true once, appends are kept in memory and retried; drops go on. false when over. */
    void (*space)(bool blocked, const slc_error *error, void *arg);
    void *arg;
} slc_store_options;

/** Open (creating when empty), check format and version. Not usable before slc_store_recover. */
SLC_MUST_USE slc_err slc_store_open(const slc_store_options *options, slc_store **out,
                                    slc_error *error);

/* ---- recovery, once, before anything else; runs on the calling thread ---- */

typedef struct slc_store_recovered {
    uint64_t qseq;
    uint64_t content_bytes;
    uint64_t ts_ms;
    uint64_t expires_ms; // absolute wall clock, 0: never
    uint8_t priority;
    bool delivered; // may have been handed out before (always true after a crash)
} slc_store_recovered;

typedef struct slc_store_visitor {
    /** A queue that has a qid, before its messages. next_qseq is above every qseq it ever had.
     *  Return false to have the queue deleted (its uuid is unknown to the definitions). */
    bool (*queue)(uint16_t shard, uint32_t qid, const slc_uuid *uuid, uint64_t next_qseq,
                  void *arg);
    /** Live messages of the queue just announced, qseq ascending. */
    void (*messages)(uint16_t shard, uint32_t qid, const slc_store_recovered *messages,
                     uint32_t count, void *arg);
} slc_store_visitor;

/** Scan the log, verify checksums and LSN continuity, drop batches without end, rebuild the index, report what lives.
 *  SLC_ECORRUPT names the shard, LSN and key; nothing is served then. Recovering twice gives the same state. */
SLC_MUST_USE slc_err slc_store_recover(slc_store *store, const slc_store_visitor *visitor,
                                       void *arg, slc_error *error);

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

/** One message to count >= 1 queues of the shard. Takes content.owner. */
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

/** Read live messages of a queue by the reader pool: up to count_max of those in qseqs (ascending, copied), stopping after
 *  bytes_max (at least one is read). Messages still in an open batch or in flight are found too. What was dropped meanwhile is left out.
 *  cb runs exactly once, on the loop, never inside. */
void slc_store_read(slc_store *store, uint16_t shard, uint32_t qid, const uint64_t *qseqs,
                    uint32_t count, uint64_t bytes_max, slc_store_read_cb cb, void *arg);

/* ---- end and figures ---- */

/** At a clean stop: the highest qseq each queue ever delivered, so that redelivered flags survive. */
void slc_store_delivered(slc_store *store, uint16_t shard, uint32_t qid, uint64_t highest_qseq);

/** Finish what was submitted, write the clean marker, stop the thread, free. done runs on the loop. */
void slc_store_close(slc_store *store, void (*done)(void *arg), void *arg);

typedef struct slc_store_stats {
    uint64_t live_messages, live_bytes; // in the index
    uint64_t log_bytes, log_chunks;     // chunks in the log tier
    uint64_t commits, syncs, commit_ns; // since start
    uint64_t batch_ops_open, jobs_in_flight;
    uint64_t bytes_written, cancelled;
    uint64_t file_bytes, map_bytes;
} slc_store_stats;

void slc_store_stat(const slc_store *store, slc_store_stats *out);

#endif
