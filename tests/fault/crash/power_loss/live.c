// See live.h.
#include "live.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

enum { READ_COUNT = 128, READ_BYTES = 1 << 20 };

typedef struct live_queue {
    uint32_t qid, count, capacity;
    uint64_t *qseqs;
} live_queue;

typedef struct live_state {
    const live_visitor *visitor;
    void *arg;
    slc_error *error;
    live_queue *queues;
    uint32_t count, capacity;
    // the read under way
    uint32_t qid, next, got;
    bool reading;
    slc_err rc;
} live_state;

static bool on_queue(uint16_t shard, uint32_t qid, const slc_uuid *uuid, uint64_t next_qseq,
                     void *arg)
{
    (void)shard;
    live_state *s = arg;
    if (s->count == s->capacity) {
        s->capacity = s->capacity == 0 ? 16 : 2 * s->capacity;
        s->queues = slc_realloc(s->queues, s->capacity * sizeof *s->queues);
    }
    s->queues[s->count++] = (live_queue){.qid = qid};
    if (s->visitor->queue != NULL)
        s->visitor->queue(qid, uuid, next_qseq, s->arg);
    return true;
}

static void on_messages(uint16_t shard, uint32_t qid, const slc_store_recovered *messages,
                        uint32_t count, void *arg)
{
    (void)shard;
    (void)qid;
    live_state *s = arg;
    live_queue *queue = &s->queues[s->count - 1];
    for (uint32_t i = 0; i < count; i++) {
        if (queue->count == queue->capacity) {
            queue->capacity = queue->capacity == 0 ? 64 : 2 * queue->capacity;
            queue->qseqs = slc_realloc(queue->qseqs, queue->capacity * sizeof *queue->qseqs);
        }
        queue->qseqs[queue->count++] = messages[i].qseq;
    }
}

static void on_read(slc_err rc, const slc_store_message *messages, uint32_t count, void *arg,
                    const slc_error *error)
{
    live_state *s = arg;
    s->reading = false;
    s->rc = rc;
    s->got = count;
    if (rc != SLC_OK)
        *s->error = *error;
    for (uint32_t i = 0; i < count; i++)
        s->visitor->message(s->qid, messages[i].qseq, messages[i].content.data,
                            messages[i].content.bytes, s->arg);
}

static slc_err queue_read(live_state *s, slc_store *store, uv_loop_t *loop, const live_queue *queue)
{
    s->qid = queue->qid;
    for (uint32_t next = 0; next < queue->count; next += s->got) {
        uint32_t count = queue->count - next < READ_COUNT ? queue->count - next : READ_COUNT;
        s->reading = true;
        slc_store_read(store, 0, queue->qid, queue->qseqs + next, count, READ_BYTES, on_read, s);
        while (s->reading)
            uv_run(loop, UV_RUN_ONCE);
        if (s->rc == SLC_OK && s->got == 0)
            s->rc = slc_error_set(s->error, SLC_EINTERNAL,
                                  "a message that recovery reported is not read");
        if (s->rc != SLC_OK)
            return s->rc;
    }
    return SLC_OK;
}

slc_err live_recover(slc_store *store, uv_loop_t *loop, const live_visitor *visitor, void *arg,
                     slc_error *error)
{
    live_state s = {.visitor = visitor, .arg = arg, .error = error};
    slc_store_visitor visits = {.queue = on_queue, .messages = on_messages};
    slc_err rc = slc_store_recover(store, &visits, &s, error);
    for (uint32_t i = 0; i < s.count && rc == SLC_OK && visitor->message != NULL; i++)
        rc = queue_read(&s, store, loop, &s.queues[i]);
    for (uint32_t i = 0; i < s.count; i++)
        slc_free(s.queues[i].qseqs);
    slc_free(s.queues);
    return rc;
}
