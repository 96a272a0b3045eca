// Messages expire on time wherever they stand, queues when nobody uses them.
//
// In memory each message that expires is in its queue's heap `timed`. Of the cold ones only a lower bound of the earliest is
// known; when it is reached they are looked through, page by page, in the background:
//
//      idle ──cold_due_ms reached──> scanning ──page──> scanning ──end, or in order and not yet due──> idle
//
// With ttl.head_only neither is used: only the first of a queue is looked at, and what follows when that is gone.
//
// With a TTL of the queue alone cold messages expire in their order, and a scan ends at the first that is not due. Otherwise it
// goes through all, and the next one waits as long as this one took, so that it never takes all of the disk. After a start
// nothing is known, so one scan finds out; what is handed out is checked again in any case. @spec amqp-semantics 13.1, 9.8
#include "core/internal.h"

enum { EXPIRE_BUDGET = 2048, SCAN_ENTRIES = 1024, SCAN_BYTES = 1024 * 1024, RETRY_MS = 100 };

static uint64_t now_of(const slc_broker *broker)
{
    return broker->env.wall_ms(broker->env.arg);
}

static uint64_t or_never(const slc_queue *q, uint64_t expires_ms)
{
    // Cold messages are not at the head: with ttl.head_only their time does not matter yet.
    return expires_ms != 0 && !q->broker->ttl_head_only ? expires_ms : SLC_NEVER;
}

uint64_t slc_expiry_of(const slc_queue *queue, const slc_message *message)
{
    uint64_t ttl = queue->settings.ttl_ms;
    if (message->ttl != 0 && message->ttl - 1 < ttl)
        ttl = message->ttl - 1;
    return ttl == SLC_UNLIMITED ? 0 : now_of(queue->broker) + ttl;
}

/** The queue's place among those with something due in memory; too early does no harm. */
static void expiry_set(slc_queue *q)
{
    slc_due_set(&q->broker->expiries, &q->due, slc_due_next(&q->timed), 0);
}

/** The lane's place among those with something due that is cold. */
static void scan_set(slc_lane *l)
{
    slc_due_set(&l->queue->broker->scans, &l->due, l->scanning ? SLC_NEVER : l->cold_due_ms, 0);
}

void slc_expiry_head_changed(slc_queue *queue)
{
    slc_due_set(&queue->broker->expiries, &queue->due,
                queue->deleted ? SLC_NEVER : slc_ready_head_expires_ms(queue), 0);
}

void slc_expiry_add(slc_queue *queue, slc_entry *entry)
{
    if (queue->broker->ttl_head_only) {
        slc_expiry_head_changed(queue);
        return;
    }
    slc_timed *timed = (slc_timed *)(void *)entry;
    slc_due_insert(&queue->timed, &timed->due, timed->expires_ms, entry->qseq);
    if (queue->due.place == 0 || timed->expires_ms < queue->due.when)
        slc_due_set(&queue->broker->expiries, &queue->due, timed->expires_ms, 0);
}

void slc_expiry_cold(slc_lane *lane, uint64_t expires_ms, bool appended)
{
    uint64_t when = or_never(lane->queue, expires_ms);
    if (appended) {
        if (when < lane->cold_expiry_ms)
            lane->cold_ordered = false;
        lane->cold_expiry_ms = when;
    } else {
        if (when > lane->cold_due_ms)
            lane->cold_ordered = false;
        if (lane->cold_expiry_ms == 0)
            lane->cold_expiry_ms = when;
        lane->scan_ordered = false; // it may stand where the scan has been
    }
    if (when >= lane->cold_due_ms)
        return;
    lane->cold_due_ms = when;
    if (!lane->scanning)
        scan_set(lane);
}

void slc_expiry_recovered(slc_lane *lane)
{
    lane->cold_ordered = false;
    lane->cold_due_ms = 0; // nobody knows
    scan_set(lane);
}

void slc_expiry_thawed(slc_lane *lane)
{
    lane->cold_due_ms = SLC_NEVER;
    lane->cold_ordered = true;
    lane->cold_expiry_ms = 0;
    scan_set(lane);
}

void slc_expiry_clear(slc_queue *queue)
{
    for (uint32_t i = 0; i < queue->timed.count; i++)
        queue->timed.items[i]->place = 0;
    slc_due_fini(&queue->timed);
    expiry_set(queue);
    for (slc_lane *l = NULL; (l = slc_lane_next(queue, l)) != NULL;)
        slc_expiry_thawed(l);
}

/* ---- cold messages ---- */

static void scan_read(slc_lane *l);

static void scan_end(slc_lane *l, bool complete)
{
    slc_queue *q = l->queue;
    slc_broker *broker = q->broker;
    l->scanning = false;
    if (q->deleted)
        return;
    uint64_t next = l->scan_due_ms;
    if (complete) {
        if (l->scan_ordered) {
            l->cold_ordered = true;
            l->cold_expiry_ms = l->scan_last_ms;
        }
        slc_ready_cold_known(l);
        if (q->settings.limited)
            slc_queue_mark_dirty(q); // how much it holds is known now
        if (broker->ttl_head_only)
            slc_expiry_head_changed(q); // after a start it is cold
    }
    if (next < l->cold_due_ms)
        l->cold_due_ms = next;
    if (!l->cold_ordered && l->cold_due_ms != SLC_NEVER) {
        uint64_t now = now_of(broker);
        uint64_t earliest = now + (now - l->scan_since_ms);
        if (l->cold_due_ms < earliest)
            l->cold_due_ms = earliest;
    }
    scan_set(l);
}

/** A cold message is due; false: there is no memory for it, it stays. */
static bool cold_expire(slc_lane *l, const slc_env_read_message *read)
{
    slc_queue *q = l->queue;
    slc_message *message;
    if (slc_message_load(read->content, &message) != SLC_OK)
        return false; // damaged too: page-in says so
    message->ts_ms = read->ts_ms;
    slc_ready_placed(l, message, read->priority);
    uint64_t body_bytes = message->body_bytes;
    slc_entry *entry = slc_entry_new(q, read->qseq, message, true, 0);
    slc_message_unref(message);
    slc_ready_cold_gone(l, read->qseq, read->content.bytes, body_bytes);
    slc_queue_die(q, entry, SLC_DEATH_EXPIRED);
    return true;
}

/** The body's size is in the head of a content (message.h). */
static uint64_t body_bytes_of(slc_slice content)
{
    uint64_t bytes = 0;
    for (int i = 7; content.bytes >= SLC_MESSAGE_HEAD_BYTES && i >= 0; i--)
        bytes = bytes << 8 | content.data[8 + i];
    return bytes <= content.bytes ? bytes : content.bytes;
}

static void scan_done(slc_err rc, const slc_env_read_message *messages, uint32_t count, void *arg)
{
    slc_lane *l = arg;
    slc_queue *q = l->queue;
    uint64_t now = now_of(q->broker);
    if (q->deleted || l->cold_from == SLC_NOT_COLD || rc != SLC_OK || count == 0) {
        scan_end(l, rc == SLC_OK && !q->deleted);
        slc_queue_release(q);
        return;
    }
    if (l->reading) { // it may bring what is about to be dropped here: look again behind it
        scan_read(l);
        slc_queue_release(q);
        return;
    }
    bool end = false, complete = true;
    for (uint32_t i = 0; i < count && !end; i++) {
        const slc_env_read_message *read = &messages[i];
        if (read->qseq < l->cold_from)
            continue; // in memory meanwhile
        if (read->qseq >= l->cold_to) {
            end = true;
            break;
        }
        slc_ready_cold_sized(l, read->qseq, read->content.bytes, body_bytes_of(read->content));
        l->scan_at = read->qseq + 1;
        uint64_t when = or_never(q, read->expires_ms);
        if (when <= now) {
            if (!cold_expire(l, read)) {
                l->scan_due_ms = now + RETRY_MS;
                end = true;
                complete = false;
            }
            end = end || l->cold_from == SLC_NOT_COLD; // that was the last one
            continue;
        }
        if (when < l->scan_last_ms)
            l->scan_ordered = false;
        l->scan_last_ms = when;
        if (when < l->scan_due_ms)
            l->scan_due_ms = when;
        if (l->cold_ordered) {
            end = true;
            complete = false;
        }
    }
    if (end || messages[count - 1].qseq + 1 >= q->next_qseq)
        scan_end(l, complete);
    else
        scan_read(l);
    slc_queue_release(q);
}

static void scan_read(slc_lane *l)
{
    slc_broker *broker = l->queue->broker;
    if (l->scan_at < l->cold_from)
        l->scan_at = l->cold_from;
    slc_queue_hold(l->queue);
    broker->env.store_read(broker->env.arg, l->qid, l->scan_at, SCAN_ENTRIES, SCAN_BYTES, scan_done,
                           l);
}

static void scan_start(slc_lane *l)
{
    l->cold_due_ms = SLC_NEVER; // what becomes cold from here on
    if (l->cold_count > 0) {
        l->scanning = true;
        l->scan_ordered = true;
        l->scan_at = l->cold_from;
        l->scan_due_ms = SLC_NEVER;
        l->scan_last_ms = 0;
        l->scan_since_ms = now_of(l->queue->broker);
        scan_read(l);
    }
    scan_set(l);
}

/* ---- what is due ---- */

static void queue_expire(slc_queue *q, uint64_t now, uint32_t *budget)
{
    slc_due *first;
    slc_entry *head;
    while (*budget > 0 && q->broker->ttl_head_only &&
           (head = slc_ready_take_expired_head(q, now)) != NULL) {
        --*budget;
        slc_queue_die(q, head, SLC_DEATH_EXPIRED);
    }
    if (q->broker->ttl_head_only)
        return; // its place was set when the last one was taken
    while (*budget > 0 && (first = slc_due_first(&q->timed)) != NULL && first->when <= now) {
        slc_entry *entry =
            &((slc_timed *)(void *)((char *)first - offsetof(slc_timed, due)))->entry;
        --*budget;
        if (!(entry->flags & SLC_ENTRY_RETURNED)) {
            slc_ready_remove(q, entry);
            slc_queue_die(q, entry, SLC_DEATH_EXPIRED);
            continue;
        }
        slc_entry *gone = slc_ready_take_returned(q, now);
        while (gone != NULL) {
            slc_entry *next = gone->next;
            slc_queue_die(q, gone, SLC_DEATH_EXPIRED);
            gone = next;
        }
    }
    expiry_set(q);
}

static void expired_deleted(slc_op *op, slc_err rc)
{
    slc_queue *queue = op->done_arg;
    if (rc != SLC_OK && !queue->deleted)
        slc_queue_used(queue); // out of disk space: once more after that time
    slc_queue_release(queue);
}

static void queue_unused(slc_queue *q, uint64_t now)
{
    slc_broker *broker = q->broker;
    slc_due_remove(&broker->idles, &q->idle);
    if (q->consumers != NULL)
        return;
    slc_changes changes = {0};
    uint64_t touch = slc_touch(q->vhost, SLC_DEST_QUEUE, q->dest.name);
    if (q->dest.durable && slc_op_conflict(broker, touch, 0)) {
        slc_due_insert(&broker->idles, &q->idle, now + RETRY_MS, 0);
        return;
    }
    slc_changes_delete_destination(&changes, broker, &q->dest);
    slc_queue_hold(q);
    if (!q->dest.durable)
        slc_queue_delete(q);
    if (changes.count == 0) {
        slc_queue_release(q);
        return;
    }
    slc_op *op = slc_propose(broker, &changes, NULL, touch, 0);
    op->done = expired_deleted;
    op->done_arg = q;
}

void slc_queue_used(slc_queue *queue)
{
    slc_broker *broker = queue->broker;
    uint64_t expires_ms = queue->settings.expires_ms;
    bool runs = expires_ms != SLC_UNLIMITED && queue->consumers == NULL && !queue->deleted;
    if (runs || queue->idle.place != 0)
        slc_due_set(&broker->idles, &queue->idle, runs ? now_of(broker) + expires_ms : SLC_NEVER,
                    0);
}

bool slc_expiry_turn(slc_broker *broker)
{
    uint64_t now = now_of(broker);
    uint32_t budget = EXPIRE_BUDGET;
    slc_due *first;
    while (budget > 0 && (first = slc_due_first(&broker->expiries)) != NULL && first->when <= now) {
        slc_queue *q = (slc_queue *)(void *)((char *)first - offsetof(slc_queue, due));
        budget--;
        queue_expire(q, now, &budget);
    }
    while (budget > 0 && broker->started && (first = slc_due_first(&broker->scans)) != NULL &&
           first->when <= now) {
        budget--;
        scan_start((slc_lane *)(void *)((char *)first - offsetof(slc_lane, due)));
    }
    while (budget > 0 && (first = slc_due_first(&broker->idles)) != NULL && first->when <= now) {
        budget--;
        queue_unused((slc_queue *)(void *)((char *)first - offsetof(slc_queue, idle)), now);
    }
    return slc_expiry_next_due_ms(broker) <= now;
}

uint64_t slc_expiry_next_due_ms(const slc_broker *broker)
{
    uint64_t next = slc_due_next(&broker->expiries);
    uint64_t scan = slc_due_next(&broker->scans);
    uint64_t queue = slc_due_next(&broker->idles);
    if (scan < next)
        next = scan;
    return queue < next ? queue : next;
}
