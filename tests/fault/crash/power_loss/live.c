// See live.h.
#include "live.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

enum { READ_COUNT = 128, READ_BYTES = 1 << 20 };

typedef struct live_state {
    const live_visitor *visitor;
    void *arg;
    slc_error *error;
    slc_store_queue *queues;
    uint32_t count, capacity;
    // the read under way
    uint32_t qid, got;
    uint64_t next_qseq;
    bool reading;
    slc_err rc;
} live_state;

static bool on_queue(uint16_t shard, const slc_store_queue *queue, void *arg)
{
    (void)shard;
    live_state *s = arg;
    if (s->count == s->capacity) {
        s->capacity = s->capacity == 0 ? 16 : 2 * s->capacity;
        s->queues = slc_realloc(s->queues, s->capacity * sizeof *s->queues);
    }
    s->queues[s->count++] = *queue;
    if (s->visitor->queue != NULL)
        s->visitor->queue(queue->qid, &queue->uuid, queue->next_qseq, s->arg);
    return true;
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
    if (count > 0)
        s->next_qseq = messages[count - 1].qseq + 1;
}

static slc_err queue_read(live_state *s, slc_store *store, uv_loop_t *loop,
                          const slc_store_queue *queue)
{
    uint64_t found = 0;
    s->qid = queue->qid;
    s->next_qseq = 1;
    do {
        s->reading = true;
        slc_store_read(store, 0, queue->qid, s->next_qseq, READ_COUNT, READ_BYTES, on_read, s);
        while (s->reading)
            uv_run(loop, UV_RUN_ONCE);
        found += s->got;
    } while (s->rc == SLC_OK && s->got > 0);
    if (s->rc == SLC_OK && found != queue->messages)
        s->rc = slc_error_set(s->error, SLC_EINTERNAL,
                              "recovery reported another number of messages than are read");
    return s->rc;
}

slc_err live_recover(slc_store *store, uv_loop_t *loop, const live_visitor *visitor, void *arg,
                     slc_error *error)
{
    live_state s = {.visitor = visitor, .arg = arg, .error = error};
    slc_err rc = slc_store_recover(store, on_queue, &s, error);
    for (uint32_t i = 0; i < s.count && rc == SLC_OK && visitor->message != NULL; i++)
        rc = queue_read(&s, store, loop, &s.queues[i]);
    slc_free(s.queues);
    return rc;
}
