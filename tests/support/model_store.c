#include "model_store.h"

#include <stdlib.h>

#include "base/alloc.h"

typedef struct model_message {
    uint64_t qseq, ts_ms, expires_ms;
    uint8_t priority;
    uint8_t *data; // a copy of its own
    uint64_t bytes;
} model_message;

typedef struct model_queue {
    uint32_t qid;
    slc_uuid uuid;
    bool deleted;
    uint64_t next_qseq, delivered;
    model_message *messages; // ascending
    uint32_t count, capacity;
} model_queue;

// The durable state, or the one that the caller sees. Queues stand at qid - 1 and stay as deleted.
typedef struct model_state {
    model_queue *queues;
    uint32_t count;
} model_state;

typedef enum model_kind { MODEL_NEW, MODEL_DEL, MODEL_APPEND, MODEL_DROP, MODEL_RANGE } model_kind;

typedef struct model_op {
    model_kind kind;
    bool atomic, cancelled;
    uint32_t qid;
    uint64_t qseq, last; // MODEL_RANGE: qseq to last
    slc_uuid uuid;
    slc_store_content content;
    uint64_t ts_ms;
    uint8_t priority;
    slc_store_target *targets; // qid 0: cancelled
    uint32_t target_count;
} model_op;

typedef struct model_batch {
    model_op *ops;
    uint32_t count, capacity;
} model_batch;

typedef struct model_read {
    struct model_read *next;
    uint32_t qid;
    uint64_t from_qseq;
    uint32_t count_max;
    uint64_t bytes_max;
    slc_store_read_cb cb;
    void *arg;
} model_read;

struct model_disk {
    model_state state;
    bool clean;
};

struct model_store {
    model_disk *disk;
    slc_store_options options;
    model_state state;
    model_batch open, flight;
    slc_store_ticket last_ticket, flight_ticket, durable_ticket;
    bool in_flight, atomic, was_clean;
    model_read *reads;
};

static model_queue *state_queue(const model_state *state, uint32_t qid)
{
    if (qid == 0 || qid > state->count || state->queues[qid - 1].deleted)
        return NULL;
    return &state->queues[qid - 1];
}

static void state_queue_new(model_state *state, uint32_t qid, const slc_uuid *uuid)
{
    SLC_ASSERT(qid == state->count + 1);
    state->queues = slc_realloc(state->queues, (state->count + 1) * sizeof *state->queues);
    state->queues[state->count++] = (model_queue){.qid = qid, .uuid = *uuid, .next_qseq = 1};
}

static void state_queue_del(model_state *state, uint32_t qid)
{
    model_queue *queue = state_queue(state, qid);
    if (queue == NULL)
        return;
    for (uint32_t i = 0; i < queue->count; i++)
        slc_free(queue->messages[i].data);
    slc_free(queue->messages);
    *queue = (model_queue){.qid = qid, .deleted = true};
}

static void state_append(model_state *state, const slc_store_content *content, uint64_t ts_ms,
                         uint8_t priority, const slc_store_target *target)
{
    model_queue *queue = state_queue(state, target->qid);
    if (queue == NULL)
        return;
    if (queue->count == queue->capacity) {
        queue->capacity = queue->capacity == 0 ? 8 : queue->capacity * 2;
        queue->messages = slc_realloc(queue->messages, queue->capacity * sizeof *queue->messages);
    }
    model_message *message = &queue->messages[queue->count++];
    *message = (model_message){.qseq = target->qseq,
                               .ts_ms = ts_ms,
                               .expires_ms = target->expires_ms,
                               .priority = priority,
                               .bytes = content->bytes};
    message->data = slc_alloc(content->bytes + 1);
    if (content->bytes > 0)
        memcpy(message->data, content->data, content->bytes);
    queue->next_qseq = target->qseq + 1;
}

static model_message *state_find(const model_state *state, uint32_t qid, uint64_t qseq)
{
    model_queue *queue = state_queue(state, qid);
    for (uint32_t i = 0; queue != NULL && i < queue->count; i++)
        if (queue->messages[i].qseq == qseq)
            return &queue->messages[i];
    return NULL;
}

static void state_drop(model_state *state, uint32_t qid, uint64_t qseq)
{
    model_queue *queue = state_queue(state, qid);
    model_message *message = state_find(state, qid, qseq);
    if (message == NULL)
        return;
    slc_free(message->data);
    uint32_t index = (uint32_t)(message - queue->messages);
    memmove(message, message + 1, (queue->count - index - 1) * sizeof *message);
    queue->count--;
}

static void state_drop_range(model_state *state, uint32_t qid, uint64_t first, uint64_t last)
{
    model_queue *queue = state_queue(state, qid);
    for (uint32_t i = queue == NULL ? 0 : queue->count; i > 0; i--)
        if (queue->messages[i - 1].qseq >= first && queue->messages[i - 1].qseq <= last)
            state_drop(state, qid, queue->messages[i - 1].qseq);
}

static void state_free(model_state *state)
{
    for (uint32_t i = 0; i < state->count; i++)
        state_queue_del(state, i + 1);
    slc_free(state->queues);
    *state = (model_state){0};
}

static model_op *batch_add(model_batch *batch, model_kind kind, bool atomic)
{
    if (batch->count == batch->capacity) {
        batch->capacity = batch->capacity == 0 ? 16 : batch->capacity * 2;
        batch->ops = slc_realloc(batch->ops, batch->capacity * sizeof *batch->ops);
    }
    model_op *op = &batch->ops[batch->count++];
    *op = (model_op){.kind = kind, .atomic = atomic};
    return op;
}

static void op_release(model_store *store, model_op *op)
{
    if (op->kind == MODEL_APPEND && !op->cancelled)
        store->options.release(op->content.owner, store->options.arg);
    slc_free(op->targets);
}

model_disk *model_disk_new(void)
{
    model_disk *disk = slc_alloc_zero(1, sizeof *disk);
    disk->clean = true;
    return disk;
}

void model_disk_free(model_disk *disk)
{
    state_free(&disk->state);
    slc_free(disk);
}

model_store *model_store_open(model_disk *disk, const slc_store_options *options)
{
    model_store *store = slc_alloc_zero(1, sizeof *store);
    store->disk = disk;
    store->options = *options;
    return store;
}

slc_err model_store_recover(model_store *store, slc_store_visitor visitor, void *arg,
                            slc_error *error)
{
    (void)error;
    const model_state *from = &store->disk->state;
    store->was_clean = store->disk->clean;
    store->disk->clean = false;
    for (uint32_t i = 0; i < from->count; i++) {
        const model_queue *queue = &from->queues[i];
        state_queue_new(&store->state, queue->qid, &queue->uuid);
        if (queue->deleted)
            state_queue_del(&store->state, queue->qid);
        for (uint32_t k = 0; k < queue->count; k++) {
            const model_message *m = &queue->messages[k];
            state_append(&store->state, &(slc_store_content){m->data, m->bytes, NULL}, m->ts_ms,
                         m->priority, &(slc_store_target){queue->qid, m->qseq, m->expires_ms});
        }
        store->state.queues[i].next_qseq = queue->next_qseq;
    }
    for (uint32_t i = 0; i < from->count; i++) {
        const model_queue *queue = &from->queues[i];
        if (queue->deleted)
            continue;
        slc_store_queue summary = {.qid = queue->qid,
                                   .uuid = queue->uuid,
                                   .next_qseq = queue->next_qseq,
                                   .messages = queue->count,
                                   .delivered_qseq =
                                       store->was_clean ? queue->delivered : queue->next_qseq - 1};
        for (uint32_t k = 0; k < queue->count; k++)
            summary.bytes += queue->messages[k].bytes;
        if (!visitor(0, &summary, arg))
            (void)model_store_queue_del(store, queue->qid);
    }
    return SLC_OK;
}

uint32_t model_store_queue_new(model_store *store, const slc_uuid *uuid, slc_store_ticket *ticket)
{
    uint32_t qid = store->state.count + 1;
    state_queue_new(&store->state, qid, uuid);
    model_op *op = batch_add(&store->open, MODEL_NEW, store->atomic);
    op->qid = qid;
    op->uuid = *uuid;
    store->last_ticket++;
    if (ticket != NULL)
        *ticket = store->last_ticket;
    return qid;
}

slc_store_ticket model_store_queue_del(model_store *store, uint32_t qid)
{
    state_queue_del(&store->state, qid);
    batch_add(&store->open, MODEL_DEL, store->atomic)->qid = qid;
    return ++store->last_ticket;
}

slc_store_ticket model_store_append(model_store *store, const slc_store_content *content,
                                    uint64_t ts_ms, uint8_t priority,
                                    const slc_store_target *targets, uint32_t count)
{
    SLC_ASSERT(count > 0);
    model_op *op = batch_add(&store->open, MODEL_APPEND, store->atomic);
    op->content = *content;
    op->ts_ms = ts_ms;
    op->priority = priority;
    op->target_count = count;
    op->targets = slc_alloc(count * sizeof *targets);
    memcpy(op->targets, targets, count * sizeof *targets);
    for (uint32_t i = 0; i < count; i++) {
        model_queue *queue = state_queue(&store->state, targets[i].qid);
        SLC_ASSERT(queue != NULL);
        SLC_ASSERT(targets[i].qseq >= queue->next_qseq);
        state_append(&store->state, content, ts_ms, priority, &targets[i]);
    }
    return ++store->last_ticket;
}

// In the open batch: take the target out. Returns whether it was there.
static bool open_cancel(model_store *store, uint32_t qid, uint64_t qseq, bool *whole)
{
    for (uint32_t i = 0; i < store->open.count; i++) {
        model_op *op = &store->open.ops[i];
        if (op->kind != MODEL_APPEND || op->cancelled)
            continue;
        uint32_t left = 0;
        bool hit = false;
        for (uint32_t k = 0; k < op->target_count; k++) {
            if (op->targets[k].qid == qid && op->targets[k].qseq == qseq) {
                op->targets[k].qid = 0;
                hit = true;
            }
            left += op->targets[k].qid != 0;
        }
        if (!hit)
            continue;
        *whole = left == 0;
        if (*whole) {
            op->cancelled = true;
            store->options.release(op->content.owner, store->options.arg);
        }
        return true;
    }
    return false;
}

slc_store_ticket model_store_drop(model_store *store, uint32_t qid, uint64_t qseq,
                                  slc_drop_reason reason, bool *cancelled)
{
    (void)reason;
    bool whole = false;
    bool there = state_find(&store->state, qid, qseq) != NULL;
    if (there && (store->atomic || !open_cancel(store, qid, qseq, &whole))) {
        model_op *op = batch_add(&store->open, MODEL_DROP, store->atomic);
        op->qid = qid;
        op->qseq = qseq;
    }
    state_drop(&store->state, qid, qseq);
    if (cancelled != NULL)
        *cancelled = whole;
    return ++store->last_ticket;
}

slc_store_ticket model_store_drop_range(model_store *store, uint32_t qid, uint64_t first,
                                        uint64_t last, slc_drop_reason reason)
{
    (void)reason;
    model_op *op = batch_add(&store->open, MODEL_RANGE, store->atomic);
    op->qid = qid;
    op->qseq = first;
    const model_queue *queue = state_queue(&store->state, qid);
    op->last = queue != NULL && last >= queue->next_qseq ? queue->next_qseq - 1 : last;
    state_drop_range(&store->state, qid, op->qseq, op->last);
    return ++store->last_ticket;
}

void model_store_atomic_begin(model_store *store)
{
    SLC_ASSERT(!store->atomic);
    store->atomic = true;
}

void model_store_atomic_end(model_store *store)
{
    SLC_ASSERT(store->atomic);
    store->atomic = false;
}

void model_store_flush(model_store *store)
{
    if (store->in_flight || store->atomic || store->durable_ticket == store->last_ticket)
        return;
    model_batch empty = store->flight;
    store->flight = store->open;
    store->open = empty;
    store->open.count = 0;
    store->in_flight = true;
    store->flight_ticket = store->last_ticket;
}

static void flight_apply(model_store *store)
{
    model_state *disk = &store->disk->state;
    for (uint32_t i = 0; i < store->flight.count; i++) {
        model_op *op = &store->flight.ops[i];
        if (op->kind == MODEL_NEW)
            state_queue_new(disk, op->qid, &op->uuid);
        else if (op->kind == MODEL_DEL)
            state_queue_del(disk, op->qid);
        else if (op->kind == MODEL_DROP)
            state_drop(disk, op->qid, op->qseq);
        else if (op->kind == MODEL_RANGE)
            state_drop_range(disk, op->qid, op->qseq, op->last);
        for (uint32_t k = 0; op->kind == MODEL_APPEND && !op->cancelled && k < op->target_count;
             k++)
            if (op->targets[k].qid != 0)
                state_append(disk, &op->content, op->ts_ms, op->priority, &op->targets[k]);
    }
}

static void reads_answer(model_store *store)
{
    model_read *read = store->reads;
    store->reads = NULL;
    while (read != NULL) {
        slc_store_message *messages = slc_alloc((read->count_max + 1) * sizeof *messages);
        uint32_t count = 0;
        uint64_t bytes = 0;
        const model_queue *queue = state_queue(&store->state, read->qid);
        for (uint32_t i = 0; queue != NULL && i < queue->count && count < read->count_max; i++) {
            const model_message *m = &queue->messages[i];
            if (m->qseq < read->from_qseq)
                continue;
            if (count > 0 && bytes + m->bytes > read->bytes_max)
                break;
            bytes += m->bytes;
            messages[count++] = (slc_store_message){.qseq = m->qseq,
                                                    .ts_ms = m->ts_ms,
                                                    .expires_ms = m->expires_ms,
                                                    .content = slc_slice_of(m->data, m->bytes),
                                                    .priority = m->priority};
        }
        read->cb(SLC_OK, messages, count, read->arg, NULL);
        model_read *next = read->next;
        slc_free(messages);
        slc_free(read);
        read = next;
    }
}

bool model_store_step(model_store *store)
{
    bool worked = store->reads != NULL;
    if (store->in_flight) {
        worked = true;
        flight_apply(store);
        store->in_flight = false;
        for (uint32_t i = 0; i < store->flight.count; i++)
            op_release(store, &store->flight.ops[i]);
        store->flight.count = 0;
        store->durable_ticket = store->flight_ticket;
        store->options.durable(0, store->durable_ticket, store->options.arg);
        model_store_flush(store);
    }
    reads_answer(store);
    return worked;
}

void model_store_read(model_store *store, uint32_t qid, uint64_t from_qseq, uint32_t count_max,
                      uint64_t bytes_max, slc_store_read_cb cb, void *arg)
{
    model_read *read = slc_alloc(sizeof *read);
    *read = (model_read){.qid = qid,
                         .from_qseq = from_qseq,
                         .count_max = count_max,
                         .bytes_max = bytes_max,
                         .cb = cb,
                         .arg = arg};
    model_read **end = &store->reads;
    while (*end != NULL)
        end = &(*end)->next;
    *end = read;
}

void model_store_delivered(model_store *store, uint32_t qid, uint64_t highest_qseq)
{
    model_queue *queue = state_queue(&store->state, qid);
    if (queue != NULL && queue->delivered < highest_qseq)
        queue->delivered = highest_qseq;
}

static void store_free(model_store *store)
{
    for (uint32_t i = 0; i < store->open.count; i++)
        op_release(store, &store->open.ops[i]);
    for (uint32_t i = 0; store->in_flight && i < store->flight.count; i++)
        op_release(store, &store->flight.ops[i]);
    slc_free(store->open.ops);
    slc_free(store->flight.ops);
    state_free(&store->state);
    slc_free(store);
}

void model_store_close(model_store *store, void (*done)(void *arg), void *arg)
{
    do {
        model_store_flush(store);
    } while (model_store_step(store));
    for (uint32_t i = 0; i < store->state.count; i++) {
        model_queue *queue = state_queue(&store->disk->state, i + 1);
        if (queue != NULL) {
            queue->delivered = store->state.queues[i].delivered;
            queue->next_qseq = store->state.queues[i].next_qseq;
        }
    }
    store->disk->clean = true;
    store_free(store);
    done(arg);
}

void model_store_crash(model_store *store)
{
    for (model_read *read = store->reads, *next; read != NULL; read = next) {
        next = read->next;
        slc_free(read);
    }
    store_free(store);
}
