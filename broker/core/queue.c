#include "core/internal.h"

// The head of a long queue stays in memory: this many entries, or this many bytes of them, before paging out begins.
enum {
    WINDOW_ENTRIES = 512,
    WINDOW_BYTES = 2 * 1024 * 1024,
    READ_ENTRIES = 512,
    READ_BYTES = 2 * 1024 * 1024
};

slc_queue *slc_queue_new(slc_vhost *vhost, slc_slice name, const slc_id *id, bool durable,
                         bool auto_delete, slc_client *owner, slc_slice arguments)
{
    slc_queue *q = slc_alloc_zero(1, sizeof *q);
    q->dest.kind = SLC_DEST_QUEUE;
    q->dest.name = slc_slice_copy(name);
    q->dest.durable = durable;
    q->vhost = vhost;
    q->id = *id;
    q->auto_delete = auto_delete;
    q->owner = owner;
    q->arguments = slc_slice_copy(arguments);
    q->next_qseq = 1;
    q->active_ms = vhost->broker->env.wall_ms(vhost->broker->env.arg);
    HASH_ADD_KEYPTR(hh, vhost->queues, q->dest.name.data, q->dest.name.bytes, q);
    vhost->topology_version++;
    if (owner != NULL)
        DL_APPEND2(owner->exclusive_queues, q, owner_prev, owner_next);
    if (durable)
        slc_object_add(vhost->broker, SLC_OBJECT_QUEUE, id, q);
    return q;
}

void slc_queue_set_qid(slc_queue *queue, uint32_t qid)
{
    slc_broker *broker = queue->vhost->broker;
    SLC_ASSERT(qid != 0);
    SLC_ASSERT(queue->qid == 0);
    queue->qid = qid;
    DL_APPEND2(broker->stored, queue, paged_prev, paged_next);
    if (broker->started)
        return;
    if (qid >= broker->by_qid_capacity) {
        uint32_t capacity =
            qid + 1 > 2 * broker->by_qid_capacity ? qid + 64 : 2 * broker->by_qid_capacity;
        broker->by_qid = slc_realloc(broker->by_qid, capacity * sizeof *broker->by_qid);
        memset(broker->by_qid + broker->by_qid_capacity, 0,
               (capacity - broker->by_qid_capacity) * sizeof *broker->by_qid);
        broker->by_qid_capacity = capacity;
    }
    broker->by_qid[qid] = queue;
}

void slc_queue_enter_store(slc_queue *queue)
{
    const slc_env *env = &queue->vhost->broker->env;
    slc_queue_set_qid(queue, env->store_queue_new(env->arg, queue->id.octets,
                                                  &queue->vhost->broker->last_ticket));
}

void slc_queue_hold(slc_queue *queue)
{
    queue->holds++;
}

static void queue_free(slc_queue *q)
{
    SLC_ASSERT(q->consumers == NULL);
    SLC_ASSERT(q->fifo_head == NULL);
    SLC_ASSERT(!q->dirty);
    slc_free((void *)q->dest.name.data);
    slc_free((void *)q->arguments.data);
    slc_free(q);
}

void slc_queue_release(slc_queue *queue)
{
    SLC_ASSERT(queue->holds > 0);
    if (--queue->holds == 0 && queue->deleted)
        queue_free(queue);
}

/* ---- the ready messages: returned heap, then fifo ---- */

static slc_entry *heap_merge(slc_entry *a, slc_entry *b)
{
    if (a == NULL)
        return b;
    if (b == NULL)
        return a;
    if (b->qseq < a->qseq) {
        slc_entry *swap = a;
        a = b;
        b = swap;
    }
    b->next = a->child;
    a->child = b;
    return a;
}

/** Pairing heap: merge the children two by two, then all pairs. Iterative: a peer decides how many there are. */
static slc_entry *heap_pop(slc_entry *top)
{
    slc_entry *pairs = NULL;
    slc_entry *child = top->child;
    while (child != NULL) {
        slc_entry *a = child;
        slc_entry *b = a->next;
        child = b != NULL ? b->next : NULL;
        a->next = NULL;
        if (b != NULL)
            b->next = NULL;
        slc_entry *pair = heap_merge(a, b);
        pair->next = pairs;
        pairs = pair;
    }
    slc_entry *merged = NULL;
    while (pairs != NULL) {
        slc_entry *next = pairs->next;
        pairs->next = NULL;
        merged = heap_merge(merged, pairs);
        pairs = next;
    }
    top->child = NULL;
    return merged;
}

static void fifo_push(slc_queue *q, slc_entry *entry)
{
    entry->next = NULL;
    if (q->fifo_tail != NULL)
        q->fifo_tail->next = entry;
    else
        q->fifo_head = entry;
    q->fifo_tail = entry;
}

static slc_entry *fifo_pop(slc_queue *q)
{
    slc_entry *entry = q->fifo_head;
    q->fifo_head = entry->next;
    if (q->fifo_head == NULL)
        q->fifo_tail = NULL;
    if (q->page_cursor == entry)
        q->page_cursor = NULL;
    entry->next = NULL;
    return entry;
}

static void ready_count(slc_queue *q, const slc_entry *entry, bool in)
{
    slc_broker_totals *totals = &q->vhost->broker->totals;
    if (in) {
        q->ready++;
        q->ready_bytes += entry->body_bytes;
        totals->ready++;
    } else {
        q->ready--;
        q->ready_bytes -= entry->body_bytes;
        totals->ready--;
    }
}

static void entry_created(slc_queue *q, const slc_entry *entry)
{
    if (entry->flags & SLC_ENTRY_PERSISTENT) {
        q->persistent++;
        q->persistent_bytes += entry->body_bytes;
    }
}

static void entry_free(slc_queue *q, slc_entry *entry)
{
    if (entry->flags & SLC_ENTRY_PERSISTENT) {
        q->persistent--;
        q->persistent_bytes -= entry->body_bytes;
    }
    if (entry->message != NULL)
        slc_message_unref(entry->message);
    slc_free(entry);
}

/* ---- in ---- */

bool slc_queue_passes_through(const slc_queue *queue)
{
    return queue->ready == 0 && queue->ready_consumers != NULL && queue->ready_consumers->no_ack;
}

void slc_queue_put(slc_queue *queue, uint64_t qseq, slc_message *message, uint64_t ticket,
                   bool stored)
{
    slc_entry *entry = slc_alloc(sizeof *entry);
    *entry = (slc_entry){
        .message = slc_message_ref(message),
        .qseq = qseq,
        .ticket = ticket,
        .body_bytes = (uint32_t)message->body_bytes,
        .flags =
            (stored ? SLC_ENTRY_STORED : 0u) | (message->persistent ? SLC_ENTRY_PERSISTENT : 0u),
    };
    entry_created(queue, entry);
    if (queue->ready == 0 && queue->ready_consumers != NULL) {
        slc_consumer_deliver(queue->ready_consumers, entry);
        return;
    }
    fifo_push(queue, entry);
    ready_count(queue, entry, true);
    if (queue->ready_consumers != NULL)
        slc_queue_mark_dirty(queue);
}

void slc_queue_recovered(slc_queue *queue, uint64_t qseq, uint64_t content_bytes, bool delivered)
{
    SLC_ASSERT(queue->fifo_tail == NULL || queue->fifo_tail->qseq < qseq);
    slc_entry *entry = slc_alloc(sizeof *entry);
    // Until the content is read its body counts as the whole content: a few octets too many.
    *entry = (slc_entry){
        .qseq = qseq,
        .body_bytes = (uint32_t)content_bytes,
        .flags = SLC_ENTRY_STORED | SLC_ENTRY_PERSISTENT | (delivered ? SLC_ENTRY_DELIVERED : 0u),
    };
    entry_created(queue, entry);
    fifo_push(queue, entry);
    ready_count(queue, entry, true);
    queue->paged++;
    queue->paged_bytes += entry->body_bytes;
    if (queue->next_qseq <= qseq)
        queue->next_qseq = qseq + 1;
}

void slc_queue_requeue(slc_queue *queue, slc_entry *entry)
{
    SLC_ASSERT(queue->fifo_head == NULL || entry->qseq < queue->fifo_head->qseq);
    entry->flags |= SLC_ENTRY_DELIVERED;
    entry->child = NULL;
    entry->next = NULL;
    queue->returned = heap_merge(queue->returned, entry);
    queue->requeued++;
    ready_count(queue, entry, true);
    if (queue->ready_consumers != NULL)
        slc_queue_mark_dirty(queue);
}

/* ---- paging ---- */

static void page_in_entry(slc_queue *q, slc_entry *entry, slc_message *message)
{
    entry->message = message;
    q->paged--;
    q->paged_bytes -= entry->body_bytes;
    // A recovered entry learns its true size here.
    q->ready_bytes += message->body_bytes;
    q->ready_bytes -= entry->body_bytes;
    if (entry->flags & SLC_ENTRY_PERSISTENT) {
        q->persistent_bytes += message->body_bytes;
        q->persistent_bytes -= entry->body_bytes;
    }
    entry->body_bytes = (uint32_t)message->body_bytes;
}

static void page_in_done(slc_err rc, const slc_env_read_message *messages, uint32_t count,
                         void *arg)
{
    slc_queue *q = arg;
    q->reading = false;
    // A read that fails leaves the queue standing at this message: damaged content is never served. The store has
    // logged what is damaged, and asking again at once would only spin.
    q->damaged = rc != SLC_OK && rc != SLC_ENOMEM;
    slc_entry *entry = rc == SLC_OK ? q->fifo_head : NULL;
    for (uint32_t i = 0; i < count && entry != NULL; i++) {
        while (entry != NULL && entry->qseq < messages[i].qseq)
            entry = entry->next;
        if (entry == NULL || entry->qseq != messages[i].qseq || entry->message != NULL)
            continue; // purged meanwhile
        slc_message *message;
        rc = slc_message_load(messages[i].content, &message);
        if (rc != SLC_OK)
            break;
        page_in_entry(q, entry, message);
    }
    // The first position asked for is always answered. If it still stands there it cannot be read, now or ever.
    if (rc != SLC_ENOMEM && q->fifo_head != NULL && q->fifo_head->message == NULL &&
        q->fifo_head->qseq == q->reading_qseq)
        q->damaged = true;
    if (!q->deleted && !q->damaged)
        slc_queue_mark_dirty(q); // after SLC_ENOMEM too: it asks again, at the pace of the reads
    q->vhost->broker->resume_due = true;
    slc_queue_release(q);
}

static void page_in_start(slc_queue *q)
{
    uint64_t qseqs[READ_ENTRIES];
    uint32_t count = 0;
    q->taken_since_read =
        0; // also when nothing is found: do not look through the same entries for each message taken
    uint64_t bytes = 0;
    slc_entry *entry = q->fifo_head;
    for (uint32_t steps = 0; entry != NULL && steps < 4 * READ_ENTRIES;
         steps++, entry = entry->next) {
        if (entry->message != NULL)
            continue;
        if (count == READ_ENTRIES || (count > 0 && bytes > READ_BYTES))
            break;
        qseqs[count++] = entry->qseq;
        bytes += entry->body_bytes;
    }
    if (count == 0)
        return;
    q->reading = true;
    q->reading_qseq = qseqs[0];
    slc_queue_hold(q);
    const slc_env *env = &q->vhost->broker->env;
    env->store_read(env->arg, q->qid, qseqs, count, READ_BYTES, page_in_done, q);
}

void slc_queue_page_out(slc_queue *queue, uint32_t budget)
{
    slc_broker *broker = queue->vhost->broker;
    if (queue->ready < 2 * WINDOW_ENTRIES && queue->ready_bytes < 2ull * WINDOW_BYTES)
        return;
    slc_entry *entry = queue->page_cursor;
    if (entry == NULL) {
        uint64_t bytes = 0;
        entry = queue->fifo_head;
        for (uint32_t i = 0; entry != NULL && i < WINDOW_ENTRIES && bytes < WINDOW_BYTES; i++) {
            bytes += entry->body_bytes;
            queue->page_cursor = entry;
            entry = entry->next;
        }
    } else {
        entry = entry->next;
    }
    for (; entry != NULL && budget > 0; budget--, entry = entry->next) {
        if (entry->ticket > broker->durable_ticket)
            break; // later ones are not durable either; come back when they are
        queue->page_cursor = entry;
        if (entry->message == NULL || !(entry->flags & SLC_ENTRY_STORED))
            continue;
        slc_message_unref(entry->message);
        entry->message = NULL;
        queue->paged++;
        queue->paged_bytes += entry->body_bytes;
    }
}

/* ---- out ---- */

slc_entry *slc_queue_take(slc_queue *queue, bool *reading)
{
    *reading = false;
    slc_entry *entry;
    if (queue->returned != NULL) {
        entry = queue->returned;
        queue->returned = heap_pop(entry);
    } else {
        entry = queue->fifo_head;
        if (entry == NULL)
            return NULL;
        if (queue->paged > 0 && !queue->reading && !queue->damaged &&
            (entry->message == NULL || ++queue->taken_since_read >= READ_ENTRIES / 4))
            page_in_start(queue);
        if (entry->message == NULL) {
            *reading = true;
            return NULL;
        }
        fifo_pop(queue);
    }
    ready_count(queue, entry, false);
    if (entry->qseq > queue->delivered_qseq)
        queue->delivered_qseq = entry->qseq;
    return entry;
}

void slc_queue_settled(slc_queue *queue, slc_entry *entry, int reason)
{
    slc_broker *broker = queue->vhost->broker;
    if ((entry->flags & SLC_ENTRY_STORED) && !queue->deleted) {
        bool cancelled = false;
        broker->last_ticket =
            broker->env.store_drop(broker->env.arg, queue->qid, entry->qseq, reason, &cancelled);
        if (cancelled && entry->message != NULL)
            slc_confirm_settled(broker, entry->message);
    }
    entry_free(queue, entry);
}

/** Settle entries of a list; a heap is flattened on the way: child and next are a binary tree, rotated until the top has no
 *  child. True when all are gone. */
static bool trash_some(slc_trash *trash, uint64_t *budget)
{
    slc_entry *top = trash->entries;
    while (top != NULL && *budget > 0) {
        slc_entry *child = top->child;
        if (child != NULL) {
            top->child = child->next;
            child->next = top;
            top = child;
            continue;
        }
        slc_entry *next = top->next;
        slc_queue_settled(trash->queue, top, 4 /* purge */);
        top = next;
        --*budget;
    }
    trash->entries = top;
    return top == NULL;
}

static void trash_add(slc_queue *q, slc_entry *entries, uint64_t *budget)
{
    slc_trash now = {.queue = q, .entries = entries};
    if (trash_some(&now, budget))
        return;
    slc_trash *later = slc_alloc(sizeof *later);
    *later = now;
    slc_queue_hold(q);
    DL_APPEND(q->vhost->broker->trash, later);
}

void slc_trash_empty(slc_broker *broker, uint64_t budget)
{
    while (broker->trash != NULL) {
        slc_trash *trash = broker->trash;
        if (!trash_some(trash, &budget))
            return;
        DL_DELETE(broker->trash, trash);
        slc_queue_release(trash->queue);
        slc_free(trash);
    }
}

/** Everything that is ready goes: from the queue at once, from memory and the store in slices. */
static uint64_t queue_empty(slc_queue *q)
{
    uint64_t count = q->ready;
    uint64_t budget = SLC_TRASH_BUDGET;
    slc_entry *fifo = q->fifo_head;
    slc_entry *returned = q->returned;
    q->vhost->broker->totals.ready -= q->ready;
    q->ready = q->ready_bytes = q->paged = q->paged_bytes = 0;
    q->fifo_head = q->fifo_tail = q->returned = q->page_cursor = NULL;
    trash_add(q, returned, &budget);
    trash_add(q, fifo, &budget);
    return count;
}

uint64_t slc_queue_purge(slc_queue *queue)
{
    return queue_empty(queue);
}

void slc_queue_mark_dirty(slc_queue *queue)
{
    if (queue->dirty || queue->deleted)
        return;
    queue->dirty = true;
    DL_APPEND2(queue->vhost->broker->dirty, queue, dirty_prev, dirty_next);
}

bool slc_queue_dispatch(slc_queue *queue)
{
    for (uint32_t i = 0; i < SLC_DISPATCH_BUDGET; i++) {
        if (queue->ready_consumers == NULL)
            return false;
        bool reading;
        slc_entry *entry = slc_queue_take(queue, &reading);
        if (entry == NULL)
            return false;
        slc_consumer_deliver(queue->ready_consumers, entry);
    }
    return queue->ready > 0 && queue->ready_consumers != NULL;
}

/* ---- end ---- */

void slc_queue_delete(slc_queue *queue)
{
    SLC_ASSERT(!queue->deleted);
    slc_vhost *vhost = queue->vhost;
    slc_broker *broker = vhost->broker;
    slc_queue_hold(queue);
    HASH_DELETE(hh, vhost->queues, queue);
    vhost->topology_version++;
    if (queue->owner != NULL)
        DL_DELETE2(queue->owner->exclusive_queues, queue, owner_prev, owner_next);
    if (queue->dest.durable)
        slc_object_remove(broker, &queue->id);
    if (queue->dirty) {
        queue->dirty = false;
        DL_DELETE2(broker->dirty, queue, dirty_prev, dirty_next);
    }
    if (queue->qid != 0) {
        DL_DELETE2(broker->stored, queue, paged_prev, paged_next);
        if (queue->qid < broker->by_qid_capacity)
            broker->by_qid[queue->qid] = NULL;
        broker->last_ticket = broker->env.store_queue_del(broker->env.arg, queue->qid);
    }
    // From here on a settled entry is just freed: the store forgets the whole queue, and what waited for its
    // confirm gets it with the ticket of its append.
    queue->deleted = true;
    queue_empty(queue);
    while (queue->consumers != NULL) {
        slc_consumer *consumer = queue->consumers;
        slc_session *session = consumer->session;
        if (!session->closing)
            session->ops->cancelled(session, consumer->tag);
        slc_consumer_free(consumer);
    }
    while (queue->dest.bindings_in != NULL)
        slc_vhost_unbind(queue->dest.bindings_in);
    broker->resume_due = true; // a basic.get may wait for it
    slc_queue_release(queue);
}

static void consumer_gone_done(slc_op *op, slc_err rc)
{
    slc_queue *queue = op->done_arg;
    (void)rc; // out of disk space: it stays until its next last consumer goes
    slc_queue_release(queue);
}

slc_op *slc_queue_consumer_gone(slc_queue *queue, slc_session *session)
{
    if (queue->deleted || !queue->auto_delete || queue->consumers != NULL)
        return NULL;
    if (!queue->dest.durable) {
        slc_queue_delete(queue);
        return NULL;
    }
    slc_changes changes = {0};
    slc_changes_delete_destination(&changes, queue->vhost->broker, &queue->dest);
    slc_queue_hold(queue);
    slc_op *op = slc_propose(queue->vhost->broker, &changes, session,
                             slc_touch(queue->vhost, SLC_DEST_QUEUE, queue->dest.name), 0);
    op->done = consumer_gone_done;
    op->done_arg = queue;
    return op;
}

void slc_queue_stat(const slc_queue *queue, slc_queue_info *out)
{
    *out = (slc_queue_info){
        .name = queue->dest.name,
        .vhost = queue->vhost,
        .durable = queue->dest.durable,
        .auto_delete = queue->auto_delete,
        .exclusive = queue->owner != NULL,
        .owner = queue->owner,
        .arguments = queue->arguments,
        .ready = queue->ready,
        .unacked = queue->unacked,
        .ready_bytes = queue->ready_bytes,
        .unacked_bytes = queue->unacked_bytes,
        .persistent = queue->persistent,
        .persistent_bytes = queue->persistent_bytes,
        .in_memory = queue->ready - queue->paged,
        .in_memory_bytes = queue->ready_bytes - queue->paged_bytes,
        .consumers = queue->consumer_count,
        .consumers_ready = queue->ready_consumer_count,
        .published = queue->published,
        .delivered = queue->delivered,
        .acked = queue->acked,
        .redelivered = queue->redelivered,
        .got = queue->got,
        .returned_ready = queue->requeued,
        .idle_since_ms = queue->active_ms,
        .memory_bytes = sizeof *queue + (queue->ready + queue->unacked) * sizeof(slc_entry),
    };
    if (queue->exclusive_consumer != NULL)
        out->exclusive_consumer_tag = queue->exclusive_consumer->tag;
}
