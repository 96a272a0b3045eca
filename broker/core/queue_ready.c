// The ready messages of a queue, in order of position. Memory holds the head of a long queue, not an entry per message:
//
//  of a lane: the queue's only one, or one for each level of a priority queue
//      returned (heap) │ fifo (list) │ cold: no entry, [cold_from .. cold_to) │ tail of late
//                      │             │    late: entries in between            │
//
//  - returned was handed out before and came back; its positions are below those of the fifo.
//  - fifo waits in memory.
//  - cold: every live message of the store with a position in [cold_from, cold_to); only their number and bytes are known.
//    Whatever was handed out has a position below cold_from.
//  - late: what is in memory above cold_from: transient messages, which must wait until the cold ones before them are
//    read; and its tail, everything from cold_to on.
//
//      put, over the window ──> cold ──read, answered──> fifo
//                                ^                        │ cool: memory is short, nobody waits
//                                └────────────────────────┘
//
//  The next message of a priority queue is the first of its highest lane, the first to give up that of its lowest. Its lanes
//  share positions, counters and the window: when that is full each still has a little in memory.
//
//  A lane that is not cold has cold_from = cold_to = SLC_NOT_COLD and nothing in late. While the newest messages are cold
//  cold_to is SLC_NOT_COLD. When a read is under way that will bring nearly all of the cold ones, new messages stay in
//  memory: the tail of late. So a consumer that has caught up leaves the store behind, also while publishing goes on:
//  otherwise each read would return to find some more cold messages. The tail is bounded; over it, it turns cold too.
#include "core/ready_impl.h"

enum {
    // In memory per queue. A consumer that keeps up is never this far behind.
    WINDOW_ENTRIES = 8192,
    WINDOW_BYTES = 8 * 1024 * 1024,
};

/* ---- entries and what they cost ---- */

slc_entry *slc_entry_alloc(uint64_t qseq, slc_message *message, uint64_t expires_ms, uint32_t flags)
{
    slc_entry *entry;
    if (expires_ms != 0) {
        slc_timed *timed = slc_alloc(sizeof *timed);
        timed->due = (slc_due){0};
        timed->expires_ms = expires_ms;
        flags |= SLC_ENTRY_TIMED;
        entry = &timed->entry;
    } else {
        entry = slc_alloc(sizeof *entry);
    }
    *entry = (slc_entry){
        .message = message,
        .qseq = qseq,
        .body_bytes = (uint32_t)message->body_bytes,
        .flags = flags,
    };
    return entry;
}

slc_entry *slc_entry_new(slc_queue *queue, uint64_t qseq, slc_message *message, bool stored,
                         uint64_t expires_ms)
{
    slc_entry *entry =
        slc_entry_alloc(qseq, slc_message_ref(message), expires_ms, stored ? SLC_ENTRY_STORED : 0u);
    if (stored) {
        queue->persistent++;
        queue->persistent_bytes += entry->body_bytes;
    }
    return entry;
}

void slc_entry_forget(slc_queue *queue, slc_entry *entry)
{
    if (entry->flags & SLC_ENTRY_TIMED)
        slc_due_remove(&queue->timed, &((slc_timed *)(void *)entry)->due);
    slc_message_unref(entry->message);
    slc_free(entry);
}

void slc_entry_free(slc_queue *queue, slc_entry *entry)
{
    if (entry->flags & SLC_ENTRY_STORED) {
        queue->persistent--;
        queue->persistent_bytes -= entry->body_bytes;
    }
    slc_entry_forget(queue, entry);
}

void slc_entry_cooled(slc_broker *broker, const slc_entry *entry)
{
    broker->hot_bytes -= sizeof *entry + SLC_ALLOC_BYTES;
    if (--entry->message->ready == 0)
        broker->hot_bytes -= slc_message_memory(entry->message);
}

static void ready_count(slc_queue *q, uint64_t body_bytes)
{
    q->ready++;
    q->ready_bytes += body_bytes;
    q->broker->totals.ready++;
}

/* ---- lanes ---- */

void slc_lane_init(slc_lane *lane, slc_queue *queue, uint8_t level)
{
    *lane = (slc_lane){
        .queue = queue,
        .level = level,
        .cold_from = SLC_NOT_COLD,
        .cold_to = SLC_NOT_COLD,
        .cold_due_ms = SLC_NEVER,
        .cold_ordered = true,
    };
}

/* ---- in ---- */

/** All of the lane is in memory: has the queue as much there as it should? */
static bool window_is_full(const slc_lane *l, uint64_t body_bytes)
{
    const slc_queue *q = l->queue;
    const slc_broker *broker = q->broker;
    // Behind a window that other levels have filled a little of each is at hand, so that going from one to the next takes no read.
    bool least = l->fifo.count >= SLC_LEAST_ENTRIES || l->fifo.bytes + body_bytes > SLC_LEAST_BYTES;
    if (q->ready - q->cold_count >= WINDOW_ENTRIES ||
        q->ready_bytes - q->cold_bytes >= WINDOW_BYTES)
        return q->lanes == NULL || least;
    if (broker->hot_bytes < broker->cache_bytes)
        return false;
    return q->lanes != NULL
               ? least
               : q->ready >= SLC_LEAST_ENTRIES || q->ready_bytes + body_bytes > SLC_LEAST_BYTES;
}

static bool tail_is_full(const slc_lane *l)
{
    const slc_broker *broker = l->queue->broker;
    return l->tail_count >= SLC_TAIL_ENTRIES || l->tail_bytes >= SLC_TAIL_BYTES ||
           broker->hot_bytes >= broker->cache_bytes;
}

/** The next stored message of a cold lane: does it stay in memory? The read that is under way brings all before it, or the
 *  one after that. */
static bool tail_takes(slc_lane *l, uint64_t qseq)
{
    if (l->cold_to != SLC_NOT_COLD) {
        if (!tail_is_full(l))
            return true;
        slc_lane_tail_close(l);
        return false;
    }
    if (!l->reading || l->cold_count > SLC_READ_ENTRIES || l->cold_bytes > SLC_READ_BYTES ||
        tail_is_full(l))
        return false;
    l->cold_to = qseq;
    return true;
}

void slc_ready_put(slc_queue *queue, uint64_t qseq, slc_message *message, bool stored,
                   uint64_t expires_ms)
{
    slc_lane *lane = slc_lane_for(queue, message);
    bool is_cold = slc_lane_is_cold(lane);
    bool colder =
        stored && (is_cold ? !tail_takes(lane, qseq) : window_is_full(lane, message->body_bytes));
    ready_count(queue, message->body_bytes);
    slc_lane_add(lane, 1);
    if (colder) {
        if (!is_cold)
            lane->cold_from = qseq;
        (void)slc_lane_cold_add(lane, qseq, message);
        queue->persistent++;
        queue->persistent_bytes += message->body_bytes;
        slc_expiry_cold(lane, expires_ms, true);
        return;
    }
    slc_entry *entry = slc_entry_new(queue, qseq, message, stored, expires_ms);
    slc_entry_heated(queue->broker, entry);
    slc_entry_list_push(is_cold ? &lane->late : &lane->fifo, entry);
    if (expires_ms != 0)
        slc_expiry_add(queue, entry);
    if (lane->cold_to == SLC_NOT_COLD)
        return;
    lane->tail_count++;
    lane->tail_bytes += entry->body_bytes;
    if (!stored && tail_is_full(lane))
        slc_lane_tail_close(lane); // a walk through it must stay short
}

void slc_ready_return(slc_queue *queue, slc_entry *entry)
{
    slc_lane *lane = slc_lane_of(queue, entry);
    SLC_ASSERT(lane->fifo.head == NULL || entry->qseq < lane->fifo.head->qseq);
    SLC_ASSERT(entry->qseq < lane->cold_from);
    entry->flags |= SLC_ENTRY_DELIVERED | SLC_ENTRY_RETURNED;
    entry->child = NULL;
    entry->next = NULL;
    lane->returned = slc_entry_heap_merge(lane->returned, entry);
    slc_lane_add(lane, 1);
    ready_count(queue, entry->body_bytes);
    slc_entry_heated(queue->broker, entry);
    if (entry->flags & SLC_ENTRY_TIMED)
        slc_expiry_add(queue, entry);
}

/* ---- out ---- */

static void ready_uncount(slc_queue *q, slc_entry *entry)
{
    q->ready--;
    q->ready_bytes -= entry->body_bytes;
    q->broker->totals.ready--;
    slc_entry_cooled(q->broker, entry);
    if (entry->flags & SLC_ENTRY_TIMED)
        slc_due_remove(&q->timed, &((slc_timed *)(void *)entry)->due);
    if (q->broker->ttl_head_only)
        slc_expiry_head_changed(q);
}

/** The lane whose turn it is, the highest (or lowest) that has something; NULL: nothing is ready. */
static slc_lane *lane_next(const slc_queue *q, bool highest)
{
    if (q->lanes != NULL)
        return slc_lanes_first(q->lanes, highest);
    return q->lane.count > 0 ? (slc_lane *)&q->lane : NULL;
}

slc_next slc_queue_next(const slc_queue *queue)
{
    const slc_lane *lane = lane_next(queue, true);
    if (lane == NULL)
        return SLC_NEXT_NONE;
    if (lane->returned != NULL || lane->fifo.head != NULL || lane->cold_count == 0)
        return SLC_NEXT_HOT;
    return lane->damaged ? SLC_NEXT_DAMAGED : lane->reading ? SLC_NEXT_READING : SLC_NEXT_COLD;
}

const slc_entry *slc_queue_peek(const slc_queue *queue)
{
    const slc_lane *lane = lane_next(queue, true);
    if (lane == NULL || lane->returned != NULL)
        return lane != NULL ? lane->returned : NULL;
    if (lane->fifo.head == NULL && lane->cold_count == 0)
        return lane->late.head;
    return lane->fifo.head;
}

/** The first of a lane; NULL: it has to be read, which was asked for. */
static slc_entry *lane_warm(slc_lane *l)
{
    if (slc_lane_is_cold(l)) {
        if (l->fifo.head == NULL && l->cold_count == 0)
            slc_lane_thaw(l); // only transient messages had been moved behind
        slc_lane_read_ahead(l);
    }
    return l->returned != NULL ? l->returned : l->fifo.head;
}

/** Out of its list, or as the top out of its heap. */
static void ready_unlink(slc_queue *q, slc_entry *entry)
{
    slc_lane *l = slc_lane_of(q, entry);
    if (entry->flags & SLC_ENTRY_RETURNED) {
        SLC_ASSERT(entry == l->returned);
        l->returned = slc_entry_heap_pop(entry);
        entry->flags &= ~(uint32_t)SLC_ENTRY_RETURNED;
    } else if (entry->qseq >= l->cold_from) {
        if (l->cold_to != SLC_NOT_COLD && entry->qseq >= l->cold_to) {
            l->tail_count--;
            l->tail_bytes -= entry->body_bytes;
        }
        slc_entry_list_remove(&l->late, entry);
    } else {
        slc_entry_list_remove(&l->fifo, entry);
    }
    slc_lane_remove(l);
}

void slc_ready_remove(slc_queue *queue, slc_entry *entry)
{
    SLC_ASSERT(!(entry->flags & SLC_ENTRY_RETURNED));
    ready_unlink(queue, entry);
    ready_uncount(queue, entry);
}

/** The first message of a lane; NULL: there is none, or it has to be read. */
static slc_entry *lane_head(slc_lane *l)
{
    return l->count > 0 ? lane_warm(l) : NULL;
}

uint64_t slc_ready_head_expires_ms(slc_queue *queue)
{
    uint64_t first = SLC_NEVER;
    for (slc_lane *l = NULL; (l = slc_lane_next(queue, l)) != NULL;) {
        const slc_entry *head = lane_head(l);
        uint64_t expires_ms = head != NULL ? slc_entry_expires_ms(head) : 0;
        if (expires_ms != 0 && expires_ms < first)
            first = expires_ms;
    }
    return first;
}

slc_entry *slc_ready_take_expired_head(slc_queue *queue, uint64_t now_ms)
{
    for (slc_lane *l = NULL; (l = slc_lane_next(queue, l)) != NULL;) {
        slc_entry *head = lane_head(l);
        uint64_t expires_ms = head != NULL ? slc_entry_expires_ms(head) : 0;
        if (expires_ms == 0 || expires_ms > now_ms)
            continue;
        ready_unlink(queue, head);
        ready_uncount(queue, head);
        return head;
    }
    return NULL;
}

slc_entry *slc_ready_take_returned(slc_queue *queue, uint64_t now_ms)
{
    // The heap has no way to one in its middle: take it apart. It holds what consumers gave back, not the backlog.
    slc_entry *gone = NULL;
    slc_lane *lane = NULL;
    while ((lane = slc_lane_next(queue, lane)) != NULL) {
        slc_entry *kept = NULL;
        while (lane->returned != NULL) {
            slc_entry *entry = lane->returned;
            lane->returned = slc_entry_heap_pop(entry);
            uint64_t expires_ms = slc_entry_expires_ms(entry);
            bool expired = expires_ms != 0 && expires_ms <= now_ms;
            slc_entry **list = expired ? &gone : &kept;
            entry->next = *list;
            *list = entry;
            if (expired) {
                entry->flags &= ~(uint32_t)SLC_ENTRY_RETURNED;
                slc_lane_remove(lane);
                ready_uncount(queue, entry);
            }
        }
        while (kept != NULL) {
            slc_entry *entry = kept;
            kept = entry->next;
            entry->next = NULL;
            entry->child = NULL;
            lane->returned = slc_entry_heap_merge(lane->returned, entry);
        }
    }
    slc_entry *ordered = NULL; // it was turned round
    while (gone != NULL) {
        slc_entry *next = gone->next;
        gone->next = ordered;
        ordered = gone;
        gone = next;
    }
    return ordered;
}

/** The next one; NULL: nothing is ready, or *reading. Asks for what is cold and near. */
static slc_entry *ready_first(slc_lane *lane, bool *reading)
{
    slc_entry *entry = lane != NULL ? lane_warm(lane) : NULL;
    *reading = lane != NULL && entry == NULL;
    return entry;
}

slc_entry *slc_ready_take_victim(slc_queue *queue, bool *reading)
{
    slc_entry *entry =
        ready_first(lane_next(queue, queue->broker->overflow_priority_head), reading);
    if (entry == NULL)
        return NULL;
    ready_unlink(queue, entry);
    ready_uncount(queue, entry);
    return entry;
}

slc_entry *slc_queue_take(slc_queue *queue, bool *reading)
{
    for (;;) {
        slc_entry *entry = ready_first(lane_next(queue, true), reading);
        if (entry == NULL)
            return NULL;
        ready_unlink(queue, entry);
        ready_uncount(queue, entry);
        uint64_t expires_ms = slc_entry_expires_ms(entry);
        if (expires_ms != 0 && expires_ms <= queue->broker->env.wall_ms(queue->broker->env.arg)) {
            slc_queue_die(queue, entry, SLC_DEATH_EXPIRED);
            continue;
        }
        slc_lane *lane = slc_lane_of(queue, entry);
        SLC_DASSERT(entry->qseq < lane->cold_from);
        queue->touched = true;
        if (entry->qseq > lane->delivered_qseq)
            lane->delivered_qseq = entry->qseq;
        return entry;
    }
}

/** All of a list behind what is there already, linked by next alone. */
static void chain_append(slc_entry **first, slc_entry **last, const slc_entry_list *list)
{
    if (list->head == NULL)
        return;
    if (*last != NULL)
        (*last)->next = list->head;
    else
        *first = list->head;
    *last = list->tail;
}

void slc_ready_clear(slc_queue *queue, slc_entry **returned, slc_entry **waiting)
{
    slc_broker *broker = queue->broker;
    *returned = *waiting = NULL;
    slc_entry *last = NULL;
    slc_expiry_clear(queue);
    slc_lane *l = NULL;
    while ((l = slc_lane_next(queue, l)) != NULL) {
        *returned = slc_entry_heap_merge(*returned, l->returned);
        l->returned = NULL;
        chain_append(waiting, &last, &l->fifo);
        chain_append(waiting, &last, &l->late);
        if (l->cold_count > 0 && !queue->deleted) {
            // The tail is in memory and dropped one by one.
            uint64_t end = l->cold_to != SLC_NOT_COLD ? l->cold_to : queue->next_qseq;
            broker->last_ticket = broker->env.store_drop_range(
                broker->env.arg, l->qid, l->cold_from, end - 1, 4 /* purge */);
        }
        if (l->count > 0 && queue->lanes != NULL)
            slc_lanes_used(queue->lanes, l->level, false);
        l->count = l->cold_count = l->cold_bytes = l->unsized_bytes = 0;
        l->fifo = l->late = (slc_entry_list){0};
        l->tail_count = l->tail_bytes = 0;
        l->cold_from = l->cold_to = SLC_NOT_COLD;
        l->sized_from = l->recovered_to;
        l->damaged = false;
    }
    queue->persistent -= queue->cold_count;
    queue->persistent_bytes -= queue->cold_bytes;
    broker->totals.ready -= queue->ready;
    queue->ready = queue->ready_bytes = queue->cold_count = queue->cold_bytes = 0;
    queue->unsized_bytes = 0;
}
