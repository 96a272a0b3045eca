// One face for the real store and the model store, so that the same contract tests run against both.
#ifndef SUBJECT_H
#define SUBJECT_H

#include <slc/store.h>

#include "base/alloc.h"
#include "model_store.h"

/** A test's content; counts its releases. */
typedef struct body {
    uint32_t released;
    uint64_t bytes;
    uint8_t data[];
} body;

/** A message found by reading a queue after recovery. */
typedef struct seen_message {
    uint32_t qid;
    struct {
        uint64_t qseq, content_bytes, ts_ms, expires_ms;
        uint64_t hash; // of the content; body_hash
        uint8_t priority;
        bool delivered;
    } m;
} seen_message;

typedef struct seen_queue {
    uint32_t qid;
    slc_uuid uuid;
    uint64_t next_qseq, messages, bytes, delivered_qseq;
} seen_queue;

typedef struct subject {
    bool model;
    char dir[64]; // of the real store
    model_disk *disk;
    slc_store *real;
    model_store *mock;
    uv_loop_t loop;
    bool loop_open;
    uint64_t map_size;
    uint64_t batch_bytes, log_bytes;
    slc_store_flush_mode flush;
    uint32_t flush_interval_ms;

    // what callbacks said
    slc_store_ticket durable;
    slc_store_ticket durable_large; // of tickets with the mark, without it
    slc_store_ticket large;         // the last such one; s_append returns tickets without the mark
    uint32_t durable_calls, failures, releases, appends;
    bool blocked, was_blocked;
    slc_error failure;
    bool closed;
    seen_queue queues[256];
    uint32_t queue_count;
    seen_message *messages;
    uint32_t message_count, message_capacity;
    slc_uuid unwanted; // recovery answers false for this queue

    // last read
    const uint64_t *wanted; // positions; NULL: all of a queue, into messages
    uint32_t wanted_count;
    uint32_t read_qid;
    uint64_t read_next;
    bool read_end;
    uint32_t read_calls, read_count;
    slc_err read_rc;
    slc_error read_error;
    uint64_t read_qseqs[4096];
    uint64_t read_bytes[4096];
    uint8_t *read_data; // contents one after the other
    uint64_t read_total, read_room;
    bool read_match; // every content is what body_fill makes of its tag
} subject;

void subject_init(subject *s, bool model);
/** Removes the directory. */
void subject_fini(subject *s);
/** Open and recover; the slc_err of either. */
slc_err subject_open(subject *s, slc_error *error);
void subject_close(subject *s);
/** Lose everything that is not durable: of the real store a snapshot is taken while it runs, then it is thrown away. */
void subject_crash(subject *s);

uint32_t s_queue_new(subject *s, uint8_t uuid_tag);
slc_store_ticket s_queue_del(subject *s, uint32_t qid);
/** Content: bytes octets made from (qid of the first target, qseq of the first target). */
slc_store_ticket s_append(subject *s, uint32_t qid, uint64_t qseq, uint64_t bytes);
slc_store_ticket s_append_many(subject *s, const slc_store_target *targets, uint32_t count,
                               uint64_t bytes);
slc_store_ticket s_drop(subject *s, uint32_t qid, uint64_t qseq, bool *cancelled);
void s_atomic(subject *s, bool begin);
void s_flush(subject *s);
void s_delivered(subject *s, uint32_t qid, uint64_t qseq);
/** Flush and run until all up to ticket is durable, large ones as well (or the store failed, or 20 s passed: false). */
bool s_wait(subject *s, slc_store_ticket ticket);
/** Let time pass: one turn of the loop. */
void s_turn(subject *s);
/** Run the real store until it has been idle long enough for its chores. */
void s_settle(subject *s);
slc_store_ticket s_drop_range(subject *s, uint32_t qid, uint64_t first, uint64_t last);
/** Those of qseqs (ascending) that are live. With bytes_max: one read of count messages from the first of them on. */
void s_read(subject *s, uint32_t qid, const uint64_t *qseqs, uint32_t count, uint64_t bytes_max);

void body_fill(uint8_t *data, uint64_t bytes, uint32_t qid, uint64_t qseq);
/** Of what body_fill makes. */
uint64_t body_hash(uint64_t bytes, uint32_t qid, uint64_t qseq);
bool s_live(const subject *s, uint32_t qid, uint64_t qseq);
/** messages[] of the last recovery for a queue. */
uint32_t s_recovered_count(const subject *s, uint32_t qid);

/** Copy / remove a directory's plain files. */
void dir_copy(const char *from, const char *to);
void dir_remove(const char *dir);

#endif
