// Messages expire on time wherever they stand, queues when nobody uses them.
//
// In memory each message that expires is in its queue's heap `timed`. Of the cold ones only a lower bound of the earliest is
// known; when it is reached they are looked through, page by page, in the background:
//
//      idle ──cold_due_ms reached──> scanning ──page──> scanning ──end, or in order and not yet due──> idle
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

static uint64_t or_never(uint64_t expires_ms)
{
    return expires_ms != 0 ? expires_ms : SLC_NEVER;
}

uint64_t slc_expiry_of(const slc_queue *queue, const slc_message *message)
{
    uint64_t ttl = queue->settings.ttl_ms;
    if (message->ttl != 0 && message->ttl - 1 < ttl)
        ttl = message->ttl - 1;
    return ttl == SLC_UNLIMITED ? 0 : now_of(queue->broker) + ttl;
}

/** The queue's place among those with something due; too early does no harm. */
static void expiry_set(slc_queue *q)
{
    uint64_t when = slc_due_next(&q->timed);
    if (!q->scanning && q->cold_due_ms < when)
        when = q->cold_due_ms;
    slc_due_set(&q->broker->expiries, &q->due, when, 0);
}

static void expiry_earlier(slc_queue *q, uint64_t when)
{
    if (q->due.place == 0 || when < q->due.when)
        slc_due_set(&q->broker->expiries, &q->due, when, 0);
}

void slc_expiry_add(slc_queue *queue, slc_entry *entry)
{
    slc_timed *timed = (slc_timed *)(void *)entry;
    slc_due_insert(&queue->timed, &timed->due, timed->expires_ms, entry->qseq);
    expiry_earlier(queue, timed->expires_ms);
}

void slc_expiry_cold(slc_queue *queue, uint64_t expires_ms, bool appended)
{
    uint64_t when = or_never(expires_ms);
    if (appended) {
        if (when < queue->cold_expiry_ms)
            queue->cold_ordered = false;
        queue->cold_expiry_ms = when;
    } else {
        if (when > queue->cold_due_ms)
            queue->cold_ordered = false;
        if (queue->cold_expiry_ms == 0)
            queue->cold_expiry_ms = when;
        queue->scan_ordered = false; // it may stand where the scan has been
    }
    if (when >= queue->cold_due_ms)
        return;
    queue->cold_due_ms = when;
    if (!queue->scanning)
        expiry_earlier(queue, when);
}

void slc_expiry_recovered(slc_queue *queue)
{
    queue->cold_ordered = false;
    queue->cold_due_ms = 0; // nobody knows
    expiry_set(queue);
}

void slc_expiry_clear(slc_queue *queue)
{
    for (uint32_t i = 0; i < queue->timed.count; i++)
        queue->timed.items[i]->place = 0;
    slc_due_fini(&queue->timed);
    queue->cold_due_ms = SLC_NEVER;
    queue->cold_ordered = true;
    queue->cold_expiry_ms = 0;
    expiry_set(queue);
}

/* ---- cold messages ---- */

static void scan_read(slc_queue *q);

static void scan_end(slc_queue *q, bool complete)
{
    slc_broker *broker = q->broker;
    q->scanning = false;
    if (q->deleted)
        return;
    uint64_t next = q->scan_due_ms;
    if (complete) {
        if (q->scan_ordered) {
            q->cold_ordered = true;
            q->cold_expiry_ms = q->scan_last_ms;
        }
        if (q->sized_from < q->recovered_to)
            q->sized_from = q->recovered_to;
        if (q->settings.limited)
            slc_queue_mark_dirty(q); // how much it holds is known now
    }
    if (next < q->cold_due_ms)
        q->cold_due_ms = next;
    if (!q->cold_ordered && q->cold_due_ms != SLC_NEVER) {
        uint64_t now = now_of(broker);
        uint64_t earliest = now + (now - q->scan_since_ms);
        if (q->cold_due_ms < earliest)
            q->cold_due_ms = earliest;
    }
    expiry_set(q);
}

/** A cold message is due; false: there is no memory for it, it stays. */
static bool cold_expire(slc_queue *q, const slc_env_read_message *read)
{
    slc_broker *broker = q->broker;
    slc_message *message;
    if (slc_message_load(read->content, &message) != SLC_OK)
        return false; // damaged too: page-in says so
    message->ts_ms = read->ts_ms;
    message->priority = read->priority;
    uint64_t body_bytes = message->body_bytes;
    slc_entry *entry = slc_entry_new(q, read->qseq, message, true, 0);
    slc_message_unref(message);
    slc_ready_cold_gone(q, read->qseq, read->content.bytes, body_bytes);
    (void)broker;
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
    slc_queue *q = arg;
    uint64_t now = now_of(q->broker);
    if (q->deleted || q->cold_from == SLC_NOT_COLD || rc != SLC_OK || count == 0) {
        scan_end(q, rc == SLC_OK && !q->deleted);
        slc_queue_release(q);
        return;
    }
    if (q->reading) { // it may bring what is about to be dropped here: look again behind it
        scan_read(q);
        slc_queue_release(q);
        return;
    }
    bool end = false, complete = true;
    for (uint32_t i = 0; i < count && !end; i++) {
        const slc_env_read_message *read = &messages[i];
        if (read->qseq < q->cold_from)
            continue; // in memory meanwhile
        if (read->qseq >= q->cold_to) {
            end = true;
            break;
        }
        slc_ready_cold_sized(q, read->qseq, read->content.bytes, body_bytes_of(read->content));
        q->scan_at = read->qseq + 1;
        uint64_t when = or_never(read->expires_ms);
        if (when <= now) {
            if (!cold_expire(q, read)) {
                q->scan_due_ms = now + RETRY_MS;
                end = true;
                complete = false;
            }
            end = end || q->cold_from == SLC_NOT_COLD; // that was the last one
            continue;
        }
        if (when < q->scan_last_ms)
            q->scan_ordered = false;
        q->scan_last_ms = when;
        if (when < q->scan_due_ms)
            q->scan_due_ms = when;
        if (q->cold_ordered) {
            end = true;
            complete = false;
        }
    }
    if (end || messages[count - 1].qseq + 1 >= q->next_qseq)
        scan_end(q, complete);
    else
        scan_read(q);
    slc_queue_release(q);
}

static void scan_read(slc_queue *q)
{
    slc_broker *broker = q->broker;
    if (q->scan_at < q->cold_from)
        q->scan_at = q->cold_from;
    slc_queue_hold(q);
    broker->env.store_read(broker->env.arg, q->qid, q->scan_at, SCAN_ENTRIES, SCAN_BYTES, scan_done,
                           q);
}

static void scan_start(slc_queue *q)
{
    q->cold_due_ms = SLC_NEVER; // what becomes cold from here on
    if (q->cold_count == 0)
        return;
    q->scanning = true;
    q->scan_ordered = true;
    q->scan_at = q->cold_from;
    q->scan_due_ms = SLC_NEVER;
    q->scan_last_ms = 0;
    q->scan_since_ms = now_of(q->broker);
    scan_read(q);
}

/* ---- what is due ---- */

static void queue_expire(slc_queue *q, uint64_t now, uint32_t *budget)
{
    slc_due *first;
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
    if (q->cold_due_ms <= now && !q->scanning && q->broker->started)
        scan_start(q);
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
    while (budget > 0 && (first = slc_due_first(&broker->idles)) != NULL && first->when <= now) {
        budget--;
        queue_unused((slc_queue *)(void *)((char *)first - offsetof(slc_queue, idle)), now);
    }
    return slc_due_next(&broker->expiries) <= now || slc_due_next(&broker->idles) <= now;
}

uint64_t slc_expiry_next_due_ms(const slc_broker *broker)
{
    uint64_t message = slc_due_next(&broker->expiries);
    uint64_t queue = slc_due_next(&broker->idles);
    return message < queue ? message : queue;
}
