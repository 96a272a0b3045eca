#include "core/event.h"
#include "core/internal.h"
#include "core/schedule.h"

slc_queue *slc_queue_new(slc_vhost *vhost, slc_slice name, const slc_id *id, bool durable,
                         bool auto_delete, slc_client *owner, slc_slice arguments)
{
    slc_queue *q = slc_alloc_lines(sizeof *q);
    q->dest.kind = SLC_DEST_QUEUE;
    q->dest.name = slc_name_keep(name, q->name_here, sizeof q->name_here);
    q->dest.durable = durable;
    q->broker = vhost->broker;
    q->vhost = vhost;
    q->id = *id;
    q->auto_delete = auto_delete;
    q->owner = owner;
    q->arguments = slc_slice_copy(arguments);
    q->next_qseq = 1;
    slc_lane_init(&q->lane, q, 0);
    q->active_ms = q->broker->env.wall_ms(q->broker->env.arg);
    q->use = (slc_consumer_use){.since_ms = q->active_ms, .average = 1};
    slc_queue_settings_changed(q);
    if (q->settings.has_priority)
        q->lanes = slc_lanes_new(q, q->settings.max_priority, q->settings.plain_priority);
    HASH_ADD_KEYPTR(hh, vhost->queues, q->dest.name.data, q->dest.name.bytes, q);
    vhost->topology_version++;
    if (owner != NULL)
        DL_APPEND2(owner->exclusive_queues, q, owner_prev, owner_next);
    if (durable)
        slc_object_add(vhost->broker, SLC_OBJECT_QUEUE, id, q);
    slc_policy_attach(vhost, &q->dest); // last: it reads the settings again
    vhost->broker->totals.queues_created += vhost->broker->started; // not those of the definitions
    slc_event_queue(q, true);
    return q;
}

void slc_queue_set_arguments(slc_queue *queue, slc_slice arguments)
{
    slc_slice old = queue->arguments;
    queue->arguments = slc_slice_copy(arguments);
    slc_queue_settings_changed(
        queue); // it reads the old settings for the last time, which point into the old arguments
    slc_free((void *)old.data);
}

/* ---- the store ---- */

slc_id slc_lane_uuid(const slc_id *queue, uint8_t number)
{
    slc_id id = *queue;
    id.octets[SLC_ID_BYTES - 1] ^= number; // random; the rest tells any two queues apart
    return id;
}

static void lane_set_qid(slc_lane *lane, uint32_t qid)
{
    slc_queue *queue = lane->queue;
    SLC_ASSERT(qid != 0);
    SLC_ASSERT(lane->qid == 0);
    lane->qid = qid;
    if (lane == &queue->lane)
        DL_APPEND2(queue->broker->stored, queue, stored_prev, stored_next);
}

void slc_queue_recovered(slc_lane *lane, uint32_t qid, uint64_t next_qseq, uint64_t messages,
                         uint64_t bytes, uint64_t delivered_qseq)
{
    lane_set_qid(lane, qid);
    slc_ready_recovered(lane, next_qseq, messages, bytes, delivered_qseq);
}

void slc_lane_enter_store(slc_lane *lane)
{
    slc_broker *broker = lane->queue->broker;
    if (lane->qid != 0)
        return;
    uint8_t number = lane->level ^ lane->queue->settings.plain_priority;
    slc_id uuid = slc_lane_uuid(&lane->queue->id, number);
    lane_set_qid(lane,
                 broker->env.store_queue_new(broker->env.arg, uuid.octets, &broker->last_ticket));
}

void slc_queue_enter_store(slc_queue *queue)
{
    slc_lane_enter_store(&queue->lane);
}

void slc_queue_hold(slc_queue *queue)
{
    queue->holds++;
}

static void queue_free(slc_queue *q)
{
    SLC_ASSERT(q->consumers == NULL);
    SLC_ASSERT(q->levels == NULL);
    SLC_ASSERT(slc_queue_next(q) == SLC_NEXT_NONE);
    SLC_ASSERT(!q->dirty);
    slc_policy_detach(&q->dest);
    slc_name_drop(q->dest.name, q->name_here);
    slc_free((void *)q->arguments.data);
    slc_lanes_free(q->lanes);
    slc_free(q);
}

void slc_queue_release(slc_queue *queue)
{
    SLC_ASSERT(queue->holds > 0);
    if (--queue->holds == 0 && queue->deleted)
        queue_free(queue);
}

/* ---- in ---- */

/** Something is ready: for those who can take it, or it waits for them. */
static void queue_offer(slc_queue *queue)
{
    if (queue->ready_consumers != NULL)
        slc_queue_mark_dirty(queue);
    else
        slc_consumers_missed(queue);
}

bool slc_queue_passes_through(const slc_queue *queue)
{
    return queue->ready == 0 && queue->ready_consumers != NULL && queue->ready_consumers->no_ack;
}

void slc_queue_put(slc_queue *queue, uint64_t qseq, slc_message *message, bool stored,
                   uint64_t expires_ms)
{
    queue->active_ms = message->ts_ms;
    queue->disk_writes += stored;
    if (queue->ready == 0 && queue->ready_consumers != NULL) {
        slc_consumer_deliver(queue->ready_consumers,
                             slc_entry_new(queue, qseq, message, stored, expires_ms));
        return;
    }
    if (queue->schedule != NULL) {
        slc_schedule_put(queue->schedule, qseq, message, stored);
        return;
    }
    slc_ready_put(queue, qseq, message, stored, expires_ms);
    queue_offer(queue);
}

void slc_queue_requeue(slc_queue *queue, slc_entry *entry)
{
    slc_ready_return(queue, entry);
    queue->requeued++;
    queue_offer(queue);
}

void slc_queue_returned(slc_queue *queue, slc_entry *entry, bool counted)
{
    bool counts =
        queue->settings.delivery_limit != SLC_UNLIMITED || queue->settings.retry != SLC_RETRY_NONE;
    if (counted && counts) {
        if (entry->flags < UINT32_MAX - SLC_ENTRY_RETURN)
            entry->flags += SLC_ENTRY_RETURN;
        if (slc_entry_returns(entry) > queue->settings.delivery_limit) {
            slc_queue_die(queue, entry, SLC_DEATH_DELIVERY_LIMIT);
            return;
        }
    }
    if (slc_retry_later(queue, entry, counted))
        return;
    slc_queue_requeue(queue, entry);
    if (queue->settings.limited)
        slc_queue_limit(queue);
}

/* ---- out ---- */

void slc_queue_settled(slc_queue *queue, slc_entry *entry, int reason)
{
    slc_broker *broker = queue->broker;
    if ((entry->flags & SLC_ENTRY_STORED) && !queue->deleted) {
        bool cancelled = false;
        broker->last_ticket = broker->env.store_drop(
            broker->env.arg, slc_lane_of(queue, entry)->qid, entry->qseq, reason, &cancelled);
        if (cancelled) {
            queue->disk_writes--;
            slc_confirm_settled(broker, entry->message);
        }
    }
    slc_entry_free(queue, entry);
}

/** Settle entries of a list, or of a heap, which is flattened on the way: child and next are a binary tree, rotated until the
 *  top has no child. True when all are gone. */
static bool trash_some(slc_trash *trash, uint64_t *budget)
{
    slc_entry *top = trash->entries;
    while (top != NULL && *budget > 0) {
        slc_entry *child = trash->heap ? top->child : NULL;
        if (child != NULL) {
            top->child = child->next;
            child->next = top;
            top = child;
            continue;
        }
        slc_entry *next = top->next;
        slc_entry_cooled(trash->queue->broker, top);
        slc_queue_settled(trash->queue, top, 4 /* purge */);
        top = next;
        --*budget;
    }
    trash->entries = top;
    return top == NULL;
}

static void trash_add(slc_queue *q, slc_entry *entries, bool heap, uint64_t *budget)
{
    slc_trash now = {.queue = q, .entries = entries, .heap = heap};
    if (trash_some(&now, budget))
        return;
    slc_trash *later = slc_alloc(sizeof *later);
    *later = now;
    slc_queue_hold(q);
    DL_APPEND(q->broker->trash, later);
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
    slc_entry *returned, *waiting;
    slc_ready_clear(q, &returned, &waiting);
    trash_add(q, returned, true, &budget);
    trash_add(q, waiting, false, &budget);
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
    DL_APPEND2(queue->broker->dirty, queue, dirty_prev, dirty_next);
}

static bool queue_dispatch(slc_queue *queue)
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

bool slc_queue_dispatch(slc_queue *queue)
{
    bool more = queue_dispatch(queue);
    if (queue->settings.limited) // what it had to read first
        slc_queue_limit(queue);
    return more;
}

/* ---- end ---- */

/** As RabbitMQ has it, what goes with a queue (bindings, then exchanges) is nobody's doing, whoever deleted the queue. */
static void queue_unbind(slc_queue *queue)
{
    slc_broker *broker = queue->broker;
    char actor[sizeof broker->actor];
    memcpy(actor, broker->actor, sizeof actor);
    slc_broker_act_as(broker, NULL);
    while (queue->dest.bindings_in != NULL)
        slc_vhost_unbind(queue->dest.bindings_in);
    memcpy(broker->actor, actor, sizeof actor);
}

void slc_queue_delete(slc_queue *queue)
{
    SLC_ASSERT(!queue->deleted);
    slc_vhost *vhost = queue->vhost;
    slc_broker *broker = vhost->broker;
    slc_dead_letter_leaving(queue);
    slc_queue_hold(queue);
    slc_policy_leaving(vhost, &queue->dest);
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
    if (queue->lane.qid != 0)
        DL_DELETE2(broker->stored, queue, stored_prev, stored_next);
    for (slc_lane *l = NULL; (l = slc_lane_next(queue, l)) != NULL;) {
        if (l->qid != 0)
            broker->last_ticket = broker->env.store_queue_del(broker->env.arg, l->qid);
    }
    // From here on a settled entry is just freed: the store forgets the whole queue, and what waited for its
    // confirm gets it with the ticket of its append.
    queue->deleted = true;
    slc_due_remove(&broker->idles, &queue->idle);
    queue_empty(queue);
    slc_retry_forget(queue);
    slc_due_remove(&broker->expiries, &queue->due);
    while (queue->consumers != NULL) {
        slc_consumer *consumer = queue->consumers;
        slc_session *session = consumer->session;
        if (!session->closing)
            session->ops->cancelled(session, consumer->tag);
        slc_consumer_free(consumer);
    }
    queue_unbind(queue);
    broker->totals.queues_deleted++;
    slc_event_queue(queue, false);
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
    slc_changes_delete_destination(&changes, queue->broker, &queue->dest);
    slc_queue_hold(queue);
    slc_op *op = slc_propose(queue->broker, &changes, session,
                             slc_touch(queue->vhost, SLC_DEST_QUEUE, queue->dest.name), 0);
    op->done = consumer_gone_done;
    op->done_arg = queue;
    return op;
}

void slc_queue_stat(const slc_queue *queue, slc_queue_info *out)
{
    *out = (slc_queue_info){
        .name = queue->dest.name,
        .created_ms = slc_id_created_ms(&queue->id),
        .created_serial = slc_id_serial(&queue->id),
        .vhost = queue->vhost,
        .durable = queue->dest.durable,
        .auto_delete = queue->auto_delete,
        .exclusive = queue->owner != NULL,
        .quorum = queue->settings.quorum,
        .owner = queue->owner,
        .arguments = queue->arguments,
        .dest = &queue->dest,
        .ready = queue->ready,
        .unacked = queue->unacked,
        .ready_bytes = queue->ready_bytes,
        .unacked_bytes = queue->unacked_bytes,
        .persistent = queue->persistent,
        .persistent_bytes = queue->persistent_bytes,
        .in_memory = queue->ready - queue->cold_count,
        .in_memory_bytes = queue->ready_bytes - queue->cold_bytes,
        .consumers = queue->consumer_count,
        .consumer_capacity = slc_consumer_capacity(queue),
        .stats = queue->stats,
        .returned_ready = queue->requeued,
        .expired = queue->expired,
        .overflowed = queue->overflowed,
        .refused = queue->refused,
        .undeliverable = queue->undeliverable,
        .disk_reads = queue->disk_reads,
        .disk_writes = queue->disk_writes,
        .idle_since_ms = queue->active_ms,
        .memory_bytes =
            sizeof *queue + (queue->ready - queue->cold_count + queue->unacked) * sizeof(slc_entry),
    };
    if (queue->exclusive_consumer != NULL)
        out->exclusive_consumer_tag = queue->exclusive_consumer->tag;
    if (queue->active_consumer != NULL)
        out->active_consumer_tag = queue->active_consumer->tag;
}
