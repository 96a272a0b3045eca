// The cold messages of a queue: those in the store of which only number and bytes are known. How they become cold, how they are
// counted, and how they are read back before their turn comes. queue_ready.c draws the parts.
#include <inttypes.h>

#include "base/log.h"
#include "core/ready_impl.h"

/* ---- cold ---- */

static bool is_unsized(const slc_lane *l, uint64_t qseq)
{
    return qseq < l->recovered_to && qseq >= l->sized_from;
}

uint64_t slc_lane_cold_add(slc_lane *l, uint64_t qseq, const slc_message *m)
{
    slc_queue *q = l->queue;
    uint64_t size = m->body_bytes;
    if (is_unsized(l, qseq)) {
        size = slc_message_content_bytes(m);
        l->unsized_bytes += size;
        q->unsized_bytes += size;
    }
    l->cold_count++;
    l->cold_bytes += size;
    q->cold_count++;
    q->cold_bytes += size;
    return size;
}

static void unsized_remove(slc_lane *l, uint64_t qseq, uint64_t content_bytes)
{
    if (!is_unsized(l, qseq))
        return;
    // The store's sum is near enough, not exact.
    uint64_t bytes = content_bytes < l->unsized_bytes ? content_bytes : l->unsized_bytes;
    l->unsized_bytes -= bytes;
    l->queue->unsized_bytes -= bytes;
}

/** It is not cold any more; what it counted as. */
static uint64_t cold_remove(slc_lane *l, uint64_t qseq, uint64_t content_bytes, uint64_t body_bytes)
{
    slc_queue *q = l->queue;
    uint64_t size = is_unsized(l, qseq) ? content_bytes : body_bytes;
    if (size > l->cold_bytes)
        size =
            l->cold_bytes; // the store's sum of what was there at the start is near enough, not exact
    unsized_remove(l, qseq, content_bytes);
    l->cold_count--;
    l->cold_bytes -= size;
    q->cold_count--;
    q->cold_bytes -= size;
    return size;
}

/** An entry becomes cold. Its confirm does not need it: that comes with its ticket. */
static void entry_to_cold(slc_lane *l, slc_entry *entry)
{
    slc_queue *q = l->queue;
    SLC_ASSERT(entry->flags & SLC_ENTRY_STORED);
    uint64_t size = slc_lane_cold_add(l, entry->qseq, entry->message);
    q->ready_bytes += size - entry->body_bytes;
    q->persistent_bytes += size - entry->body_bytes;
    slc_expiry_cold(l, slc_entry_expires_ms(entry), false);
    slc_entry_cooled(q->broker, entry);
    slc_entry_forget(q, entry);
}

/** A cold message is read: back among those that have an entry. */
static void cold_to_entry(slc_lane *l, uint64_t qseq, slc_message *message, uint64_t expires_ms)
{
    slc_queue *q = l->queue;
    uint64_t size = cold_remove(l, qseq, slc_message_content_bytes(message), message->body_bytes);
    q->ready_bytes += message->body_bytes - size;
    q->persistent_bytes += message->body_bytes - size;
    slc_entry *entry =
        slc_entry_alloc(qseq, message, expires_ms,
                        SLC_ENTRY_STORED | (qseq <= l->delivered_qseq ? SLC_ENTRY_DELIVERED : 0u));
    slc_entry_heated(q->broker, entry);
    slc_entry_list_push(&l->fifo, entry);
    if (entry->flags & SLC_ENTRY_TIMED)
        slc_expiry_add(q, entry);
}

void slc_lane_thaw(slc_lane *l)
{
    slc_queue *q = l->queue;
    SLC_ASSERT(l->cold_count == 0);
    q->ready_bytes -= l->cold_bytes;
    q->persistent_bytes -= l->cold_bytes;
    q->cold_bytes -= l->cold_bytes;
    l->cold_bytes = 0;
    l->cold_from = l->cold_to = SLC_NOT_COLD;
    l->tail_count = l->tail_bytes = 0;
    slc_entry_list_join(&l->fifo, &l->late);
    slc_ready_cold_known(l);
    slc_expiry_thawed(l);
}

void slc_ready_cold_gone(slc_lane *lane, uint64_t qseq, uint64_t content_bytes, uint64_t body_bytes)
{
    slc_queue *queue = lane->queue;
    uint64_t size = cold_remove(lane, qseq, content_bytes, body_bytes);
    queue->ready--;
    queue->ready_bytes -= size;
    queue->persistent--;
    queue->persistent_bytes -= size;
    queue->broker->totals.ready--;
    slc_lane_remove(lane);
    if (lane->cold_count == 0)
        slc_lane_thaw(lane);
}

void slc_ready_cold_sized(slc_lane *lane, uint64_t qseq, uint64_t content_bytes,
                          uint64_t body_bytes)
{
    if (!is_unsized(lane, qseq))
        return;
    slc_queue *queue = lane->queue;
    uint64_t excess = content_bytes - body_bytes;
    if (excess > lane->cold_bytes)
        excess = lane->cold_bytes;
    unsized_remove(lane, qseq, content_bytes);
    lane->cold_bytes -= excess;
    queue->cold_bytes -= excess;
    queue->ready_bytes -= excess;
    queue->persistent_bytes -= excess;
    lane->sized_from = qseq + 1;
}

void slc_ready_cold_known(slc_lane *lane)
{
    if (lane->sized_from < lane->recovered_to)
        lane->sized_from = lane->recovered_to;
    lane->queue->unsized_bytes -= lane->unsized_bytes;
    lane->unsized_bytes = 0;
}

void slc_lane_tail_close(slc_lane *l)
{
    slc_entry *entry = l->late.tail;
    while (entry != NULL && entry->qseq >= l->cold_to) {
        slc_entry *prev = entry->prev;
        if (entry->flags & SLC_ENTRY_STORED) {
            slc_entry_list_remove(&l->late, entry);
            entry_to_cold(l, entry);
        }
        entry = prev;
    }
    l->cold_to = SLC_NOT_COLD;
    l->tail_count = l->tail_bytes = 0;
}

void slc_ready_recovered(slc_lane *lane, uint64_t next_qseq, uint64_t messages, uint64_t bytes,
                         uint64_t delivered_qseq)
{
    slc_queue *queue = lane->queue;
    SLC_ASSERT(lane->count == 0);
    lane->recovered_to = next_qseq;
    lane->delivered_qseq = delivered_qseq < next_qseq ? delivered_qseq : next_qseq - 1;
    if (queue->next_qseq < next_qseq)
        queue->next_qseq = next_qseq;
    if (messages == 0) {
        lane->sized_from = next_qseq;
        return;
    }
    lane->cold_from = 1;
    lane->cold_count = messages;
    lane->cold_bytes = bytes;
    slc_lane_add(lane, messages);
    queue->cold_count += messages;
    queue->cold_bytes += bytes;
    lane->unsized_bytes = bytes;
    queue->unsized_bytes += bytes;
    queue->ready += messages;
    queue->ready_bytes += bytes;
    queue->persistent += messages;
    queue->persistent_bytes += bytes;
    queue->broker->totals.ready += messages;
    slc_expiry_recovered(lane);
}

/* ---- reading back ---- */

static void damage_log(const slc_lane *l)
{
    char text[640];
    slc_log(
        SLC_LOG_ERROR, "queue", "queue.damaged",
        SLC_FIELDS(SLC_F_STR("queue", slc_resource_text(l->queue->vhost, SLC_DEST_QUEUE,
                                                        l->queue->dest.name, text, sizeof text)),
                   SLC_F_U64("position", l->cold_from)),
        "%s stands still: its message at position %" PRIu64
        " or after is not in the store as it should be",
        text, l->cold_from);
}

void slc_ready_placed(const slc_lane *lane, slc_message *message, uint8_t priority)
{
    const slc_lanes *lanes = lane->queue->lanes;
    message->priority = priority;
    if (lanes != NULL && slc_lanes_level(lanes, message) != lane->level)
        message->priority = lane->level; // where it stands counts, whatever wrote it there
}

/** Merge what was read, ascending, with what is late; how many. */
static uint32_t read_merge(slc_lane *l, const slc_env_read_message *messages, uint32_t count,
                           slc_err *rc)
{
    uint32_t loaded = 0;
    for (; loaded < count && l->cold_count > 0; loaded++) {
        const slc_env_read_message *read = &messages[loaded];
        if (read->qseq >= l->cold_to)
            break; // that one is in the tail
        SLC_ASSERT(read->qseq >= l->cold_from);
        slc_message *message;
        *rc = slc_message_load(read->content, &message);
        if (*rc != SLC_OK)
            break;
        message->ts_ms = read->ts_ms;
        slc_ready_placed(l, message, read->priority);
        while (l->late.head != NULL && l->late.head->qseq < read->qseq) {
            slc_entry *entry = l->late.head;
            slc_entry_list_remove(&l->late, entry);
            slc_entry_list_push(&l->fifo, entry);
        }
        cold_to_entry(l, read->qseq, message, read->expires_ms);
        l->cold_from = read->qseq + 1;
    }
    return loaded;
}

static void read_done(slc_err rc, const slc_env_read_message *messages, uint32_t count, void *arg)
{
    slc_lane *l = arg;
    slc_queue *q = l->queue;
    slc_broker *broker = q->broker;
    l->reading = false;
    broker->reading_bytes -= l->read_bytes;
    // After a purge or a delete what was asked for is gone: cold_from is another, for positions are not used again.
    if (l->cold_from == l->read_from) {
        slc_err store_rc = rc;
        uint32_t loaded = rc == SLC_OK ? read_merge(l, messages, count, &rc) : 0;
        q->disk_reads += loaded;
        // It stands at a message that cannot be read, now or ever: what is damaged is never served, and asking again
        // at once would only spin. An error of the store was logged there.
        // Nothing at all: what was asked for expired meanwhile.
        l->damaged = loaded == 0 && rc != SLC_ENOMEM && (count > 0 || rc != SLC_OK || !q->expired);
        if (l->damaged && store_rc == SLC_OK)
            damage_log(l);
        if (l->cold_count == 0)
            slc_lane_thaw(l);
    }
    if (!l->damaged)
        slc_queue_mark_dirty(q); // after SLC_ENOMEM too: it asks again, at the pace of the reads
    broker->resume_due = true;
    slc_queue_release(q);
}

void slc_lane_read_ahead(slc_lane *l)
{
    if (l->cold_count == 0 || l->reading || l->damaged)
        return;
    slc_queue *q = l->queue;
    slc_broker *broker = q->broker;
    bool rich =
        broker->hot_bytes + broker->reading_bytes + 2ull * SLC_READ_BYTES <= broker->cache_bytes;
    uint32_t entries = rich ? SLC_READ_ENTRIES : SLC_LEAST_ENTRIES;
    uint64_t bytes = rich ? SLC_READ_BYTES : SLC_LEAST_BYTES;
    if (l->fifo.count >= (rich ? SLC_READ_ENTRIES : SLC_LEAST_ENTRIES / 2) ||
        l->fifo.bytes >= (rich ? SLC_READ_BYTES : SLC_LEAST_BYTES / 2))
        return;
    uint64_t each = l->cold_bytes / l->cold_count + sizeof(slc_entry) + sizeof(slc_message) +
                    2ull * SLC_ALLOC_BYTES;
    uint64_t guess = each * (l->cold_count < entries ? l->cold_count : entries);
    l->reading = true;
    l->read_from = l->cold_from;
    l->read_bytes = guess < bytes ? guess : bytes;
    broker->reading_bytes += l->read_bytes;
    slc_queue_hold(q);
    broker->env.store_read(broker->env.arg, l->qid, l->cold_from, entries, bytes, read_done, l);
}

/* ---- giving up memory ---- */

static void lane_cool(slc_lane *l, uint32_t *budget)
{
    slc_broker *broker = l->queue->broker;
    if (l->reading)
        return;
    if (l->cold_to != SLC_NOT_COLD)
        slc_lane_tail_close(l);
    slc_entry_list *fifo = &l->fifo;
    for (; *budget > 0; --*budget) {
        if (fifo->stored == 0 ||
            (fifo->count <= SLC_LEAST_ENTRIES && fifo->bytes <= SLC_LEAST_BYTES) ||
            broker->hot_bytes <= slc_broker_warm_bytes(broker))
            break;
        slc_entry *entry = fifo->tail;
        slc_entry_list_remove(fifo, entry);
        l->cold_from = entry->qseq;
        l->damaged = false; // what is before the damaged message can be read
        if (entry->flags & SLC_ENTRY_STORED)
            entry_to_cold(l, entry);
        else
            slc_entry_list_push_front(&l->late, entry);
    }
}

void slc_queue_cool(slc_queue *queue, uint32_t budget)
{
    slc_broker *broker = queue->broker;
    // Whoever is about to take from it would only have it read back.
    if (queue->ready_consumers != NULL)
        return;
    if (queue->touched && broker->hot_bytes < broker->cache_bytes) {
        queue->touched = false; // used a moment ago: the next time
        return;
    }
    slc_lane *l = NULL;
    while ((l = slc_lane_next(queue, l)) != NULL) // the lowest first
        lane_cool(l, &budget);
}
