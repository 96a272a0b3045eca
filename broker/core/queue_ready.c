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
#include <inttypes.h>

#include "base/log.h"
#include "core/internal.h"

enum {
    // In memory per queue. A consumer that keeps up is never this far behind.
    WINDOW_ENTRIES = 8192,
    WINDOW_BYTES = 8 * 1024 * 1024,
    // With less than that in memory the next messages are asked for, this many at once. At 300,000 messages a second it
    // lasts 7 ms, a read takes less than one.
    READ_ENTRIES = 2048,
    READ_BYTES = 2 * 1024 * 1024,
    // New messages in memory behind the cold ones.
    TAIL_ENTRIES = 2048,
    TAIL_BYTES = 2 * 1024 * 1024,
    // What each queue may have when all together have too much: ten thousand queues still get on.
    LEAST_ENTRIES = 16,
    LEAST_BYTES = 8 * 1024,
    // What an allocation costs beside its bytes.
    ALLOC_BYTES = 16,
};

/* ---- entries and what they cost ---- */

static slc_entry *entry_alloc(uint64_t qseq, slc_message *message, uint64_t expires_ms,
                              uint32_t flags)
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
    bool persistent = stored || message->persistent; // a quorum queue stores what is not, too
    slc_entry *entry =
        entry_alloc(qseq, slc_message_ref(message), expires_ms,
                    (stored ? SLC_ENTRY_STORED : 0u) | (persistent ? SLC_ENTRY_PERSISTENT : 0u));
    if (persistent) {
        queue->persistent++;
        queue->persistent_bytes += entry->body_bytes;
    }
    return entry;
}

/** Without the counters: what it stood for lives on, or was never counted. */
static void entry_forget(slc_queue *queue, slc_entry *entry)
{
    if (entry->flags & SLC_ENTRY_TIMED)
        slc_due_remove(&queue->timed, &((slc_timed *)(void *)entry)->due);
    slc_message_unref(entry->message);
    slc_free(entry);
}

void slc_entry_free(slc_queue *queue, slc_entry *entry)
{
    if (entry->flags & SLC_ENTRY_PERSISTENT) {
        queue->persistent--;
        queue->persistent_bytes -= entry->body_bytes;
    }
    entry_forget(queue, entry);
}

static uint64_t message_memory(const slc_message *m)
{
    return sizeof *m + ALLOC_BYTES + slc_message_content_bytes(m);
}

static void entry_heated(slc_broker *broker, const slc_entry *entry)
{
    broker->hot_bytes += sizeof *entry + ALLOC_BYTES;
    if (entry->message->ready++ == 0)
        broker->hot_bytes += message_memory(entry->message);
}

void slc_entry_cooled(slc_broker *broker, const slc_entry *entry)
{
    broker->hot_bytes -= sizeof *entry + ALLOC_BYTES;
    if (--entry->message->ready == 0)
        broker->hot_bytes -= message_memory(entry->message);
}

static void ready_count(slc_queue *q, uint64_t body_bytes)
{
    q->ready++;
    q->ready_bytes += body_bytes;
    q->broker->totals.ready++;
}

/* ---- heap ---- */

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

/* ---- lists ---- */

static void list_count(slc_entry_list *list, const slc_entry *entry, bool in)
{
    uint64_t stored = entry->flags & SLC_ENTRY_STORED;
    static_assert(SLC_ENTRY_STORED == 1, "counts as one");
    list->count += in ? 1 : UINT64_MAX;
    list->bytes += in ? entry->body_bytes : 0 - (uint64_t)entry->body_bytes;
    list->stored += in ? stored : 0 - stored;
}

static void list_push(slc_entry_list *list, slc_entry *entry)
{
    SLC_DASSERT(list->tail == NULL || list->tail->qseq < entry->qseq);
    entry->next = NULL;
    entry->prev = list->tail;
    if (list->tail != NULL)
        list->tail->next = entry;
    else
        list->head = entry;
    list->tail = entry;
    list_count(list, entry, true);
}

static void list_push_front(slc_entry_list *list, slc_entry *entry)
{
    SLC_DASSERT(list->head == NULL || list->head->qseq > entry->qseq);
    entry->prev = NULL;
    entry->next = list->head;
    if (list->head != NULL)
        list->head->prev = entry;
    else
        list->tail = entry;
    list->head = entry;
    list_count(list, entry, true);
}

static void list_remove(slc_entry_list *list, slc_entry *entry)
{
    if (entry->prev != NULL)
        entry->prev->next = entry->next;
    else
        list->head = entry->next;
    if (entry->next != NULL)
        entry->next->prev = entry->prev;
    else
        list->tail = entry->prev;
    entry->prev = entry->next = NULL;
    list_count(list, entry, false);
}

/** All of from, whose positions are higher, to the end of list. */
static void list_join(slc_entry_list *list, slc_entry_list *from)
{
    if (from->head == NULL)
        return;
    SLC_ASSERT(list->tail == NULL || list->tail->qseq < from->head->qseq);
    from->head->prev = list->tail;
    if (list->tail != NULL)
        list->tail->next = from->head;
    else
        list->head = from->head;
    list->tail = from->tail;
    list->count += from->count;
    list->bytes += from->bytes;
    list->stored += from->stored;
    *from = (slc_entry_list){0};
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

static void lane_add(slc_lane *l, uint64_t count)
{
    if (l->count == 0 && l->queue->lanes != NULL)
        slc_lanes_used(l->queue->lanes, l->level, true);
    l->count += count;
}

static void lane_remove(slc_lane *l)
{
    SLC_ASSERT(l->count > 0);
    if (--l->count == 0 && l->queue->lanes != NULL)
        slc_lanes_used(l->queue->lanes, l->level, false);
}

/* ---- cold ---- */

static bool lane_is_cold(const slc_lane *l)
{
    return l->cold_from != SLC_NOT_COLD;
}

static bool is_unsized(const slc_lane *l, uint64_t qseq)
{
    return qseq < l->recovered_to && qseq >= l->sized_from;
}

/** A message is cold from here on; what it counts as: of one that was found at the start only the contents' size is known. */
static uint64_t cold_add(slc_lane *l, uint64_t qseq, const slc_message *m)
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

/** An entry becomes cold. Its confirm does not need it: that comes with its ticket. */
static void entry_to_cold(slc_lane *l, slc_entry *entry)
{
    slc_queue *q = l->queue;
    SLC_ASSERT(entry->flags & SLC_ENTRY_STORED);
    uint64_t size = cold_add(l, entry->qseq, entry->message);
    q->ready_bytes += size - entry->body_bytes;
    q->persistent_bytes += size - entry->body_bytes;
    slc_expiry_cold(l, slc_entry_expires_ms(entry), false);
    slc_entry_cooled(q->broker, entry);
    entry_forget(q, entry);
}

/** A cold message is read: back among those that have an entry. */
static void cold_to_entry(slc_lane *l, uint64_t qseq, slc_message *message, uint64_t expires_ms)
{
    slc_queue *q = l->queue;
    uint64_t size = cold_remove(l, qseq, slc_message_content_bytes(message), message->body_bytes);
    q->ready_bytes += message->body_bytes - size;
    q->persistent_bytes += message->body_bytes - size;
    slc_entry *entry = entry_alloc(qseq, message, expires_ms,
                                   SLC_ENTRY_STORED | SLC_ENTRY_PERSISTENT |
                                       (qseq <= l->delivered_qseq ? SLC_ENTRY_DELIVERED : 0u));
    entry_heated(q->broker, entry);
    list_push(&l->fifo, entry);
    if (entry->flags & SLC_ENTRY_TIMED)
        slc_expiry_add(q, entry);
}

/** Nothing is cold any more: what waited behind it follows. */
static void lane_thaw(slc_lane *l)
{
    slc_queue *q = l->queue;
    SLC_ASSERT(l->cold_count == 0);
    q->ready_bytes -= l->cold_bytes;
    q->persistent_bytes -= l->cold_bytes;
    q->cold_bytes -= l->cold_bytes;
    l->cold_bytes = 0;
    l->cold_from = l->cold_to = SLC_NOT_COLD;
    l->tail_count = l->tail_bytes = 0;
    list_join(&l->fifo, &l->late);
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
    lane_remove(lane);
    if (lane->cold_count == 0)
        lane_thaw(lane);
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

/** The tail turns cold, but for its transient messages; it is bounded, so this is. */
static void tail_close(slc_lane *l)
{
    slc_entry *entry = l->late.tail;
    while (entry != NULL && entry->qseq >= l->cold_to) {
        slc_entry *prev = entry->prev;
        if (entry->flags & SLC_ENTRY_STORED) {
            list_remove(&l->late, entry);
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
    lane_add(lane, messages);
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

/* ---- in ---- */

/** All of the lane is in memory: has the queue as much there as it should? */
static bool window_is_full(const slc_lane *l, uint64_t body_bytes)
{
    const slc_queue *q = l->queue;
    const slc_broker *broker = q->broker;
    // Behind a window that other levels have filled a little of each is at hand, so that going from one to the next takes no read.
    bool least = l->fifo.count >= LEAST_ENTRIES || l->fifo.bytes + body_bytes > LEAST_BYTES;
    if (q->ready - q->cold_count >= WINDOW_ENTRIES ||
        q->ready_bytes - q->cold_bytes >= WINDOW_BYTES)
        return q->lanes == NULL || least;
    if (broker->hot_bytes < broker->cache_bytes)
        return false;
    return q->lanes != NULL
               ? least
               : q->ready >= LEAST_ENTRIES || q->ready_bytes + body_bytes > LEAST_BYTES;
}

static bool tail_is_full(const slc_lane *l)
{
    const slc_broker *broker = l->queue->broker;
    return l->tail_count >= TAIL_ENTRIES || l->tail_bytes >= TAIL_BYTES ||
           broker->hot_bytes >= broker->cache_bytes;
}

/** The next stored message of a cold lane: does it stay in memory? The read that is under way brings all before it, or the
 *  one after that. */
static bool tail_takes(slc_lane *l, uint64_t qseq)
{
    if (l->cold_to != SLC_NOT_COLD) {
        if (!tail_is_full(l))
            return true;
        tail_close(l);
        return false;
    }
    if (!l->reading || l->cold_count > READ_ENTRIES || l->cold_bytes > READ_BYTES ||
        tail_is_full(l))
        return false;
    l->cold_to = qseq;
    return true;
}

void slc_ready_put(slc_queue *queue, uint64_t qseq, slc_message *message, bool stored,
                   uint64_t expires_ms)
{
    slc_lane *lane = slc_lane_for(queue, message->priority);
    bool is_cold = lane_is_cold(lane);
    bool colder =
        stored && (is_cold ? !tail_takes(lane, qseq) : window_is_full(lane, message->body_bytes));
    ready_count(queue, message->body_bytes);
    lane_add(lane, 1);
    if (colder) {
        if (!is_cold)
            lane->cold_from = qseq;
        (void)cold_add(lane, qseq, message);
        queue->persistent++;
        queue->persistent_bytes += message->body_bytes;
        slc_expiry_cold(lane, expires_ms, true);
        return;
    }
    slc_entry *entry = slc_entry_new(queue, qseq, message, stored, expires_ms);
    entry_heated(queue->broker, entry);
    list_push(is_cold ? &lane->late : &lane->fifo, entry);
    if (expires_ms != 0)
        slc_expiry_add(queue, entry);
    if (lane->cold_to == SLC_NOT_COLD)
        return;
    lane->tail_count++;
    lane->tail_bytes += entry->body_bytes;
    if (!stored && tail_is_full(lane))
        tail_close(lane); // a walk through it must stay short
}

void slc_ready_return(slc_queue *queue, slc_entry *entry)
{
    slc_lane *lane = slc_lane_of(queue, entry);
    SLC_ASSERT(lane->fifo.head == NULL || entry->qseq < lane->fifo.head->qseq);
    SLC_ASSERT(entry->qseq < lane->cold_from);
    entry->flags |= SLC_ENTRY_DELIVERED | SLC_ENTRY_RETURNED;
    entry->child = NULL;
    entry->next = NULL;
    lane->returned = heap_merge(lane->returned, entry);
    lane_add(lane, 1);
    ready_count(queue, entry->body_bytes);
    entry_heated(queue->broker, entry);
    if (entry->flags & SLC_ENTRY_TIMED)
        slc_expiry_add(queue, entry);
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
    bool other = lanes != NULL && slc_lanes_level(lanes, priority) != lane->level;
    message->priority =
        other ? lane->level : priority; // where it stands counts, whatever wrote it there
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
            list_remove(&l->late, entry);
            list_push(&l->fifo, entry);
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
        // It stands at a message that cannot be read, now or ever: what is damaged is never served, and asking again
        // at once would only spin. An error of the store was logged there.
        // Nothing at all: what was asked for expired meanwhile.
        l->damaged = loaded == 0 && rc != SLC_ENOMEM && (count > 0 || rc != SLC_OK || !q->expired);
        if (l->damaged && store_rc == SLC_OK)
            damage_log(l);
        if (l->cold_count == 0)
            lane_thaw(l);
    }
    if (!l->damaged)
        slc_queue_mark_dirty(q); // after SLC_ENOMEM too: it asks again, at the pace of the reads
    broker->resume_due = true;
    slc_queue_release(q);
}

/** Ask for cold messages while there still are some to hand out. */
static void read_ahead(slc_lane *l)
{
    if (l->cold_count == 0 || l->reading || l->damaged)
        return;
    slc_queue *q = l->queue;
    slc_broker *broker = q->broker;
    bool rich =
        broker->hot_bytes + broker->reading_bytes + 2ull * READ_BYTES <= broker->cache_bytes;
    uint32_t entries = rich ? READ_ENTRIES : LEAST_ENTRIES;
    uint64_t bytes = rich ? READ_BYTES : LEAST_BYTES;
    if (l->fifo.count >= (rich ? READ_ENTRIES : LEAST_ENTRIES / 2) ||
        l->fifo.bytes >= (rich ? READ_BYTES : LEAST_BYTES / 2))
        return;
    uint64_t each = l->cold_bytes / l->cold_count + sizeof(slc_entry) + sizeof(slc_message) +
                    2ull * ALLOC_BYTES;
    uint64_t guess = each * (l->cold_count < entries ? l->cold_count : entries);
    l->reading = true;
    l->read_from = l->cold_from;
    l->read_bytes = guess < bytes ? guess : bytes;
    broker->reading_bytes += l->read_bytes;
    slc_queue_hold(q);
    broker->env.store_read(broker->env.arg, l->qid, l->cold_from, entries, bytes, read_done, l);
}

/* ---- out ---- */

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

/** The first of a lane; NULL: it has to be read, which was asked for. */
static slc_entry *lane_warm(slc_lane *l)
{
    if (lane_is_cold(l)) {
        if (l->fifo.head == NULL && l->cold_count == 0)
            lane_thaw(l); // only transient messages had been moved behind
        read_ahead(l);
    }
    return l->returned != NULL ? l->returned : l->fifo.head;
}

/** Out of its list, or as the top out of its heap. */
static void ready_unlink(slc_queue *q, slc_entry *entry)
{
    slc_lane *l = slc_lane_of(q, entry);
    if (entry->flags & SLC_ENTRY_RETURNED) {
        SLC_ASSERT(entry == l->returned);
        l->returned = heap_pop(entry);
        entry->flags &= ~(uint32_t)SLC_ENTRY_RETURNED;
    } else if (entry->qseq >= l->cold_from) {
        if (l->cold_to != SLC_NOT_COLD && entry->qseq >= l->cold_to) {
            l->tail_count--;
            l->tail_bytes -= entry->body_bytes;
        }
        list_remove(&l->late, entry);
    } else {
        list_remove(&l->fifo, entry);
    }
    lane_remove(l);
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
            lane->returned = heap_pop(entry);
            uint64_t expires_ms = slc_entry_expires_ms(entry);
            bool expired = expires_ms != 0 && expires_ms <= now_ms;
            slc_entry **list = expired ? &gone : &kept;
            entry->next = *list;
            *list = entry;
            if (expired) {
                entry->flags &= ~(uint32_t)SLC_ENTRY_RETURNED;
                lane_remove(lane);
                ready_uncount(queue, entry);
            }
        }
        while (kept != NULL) {
            slc_entry *entry = kept;
            kept = entry->next;
            entry->next = NULL;
            entry->child = NULL;
            lane->returned = heap_merge(lane->returned, entry);
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
        *returned = heap_merge(*returned, l->returned);
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

/* ---- giving up memory ---- */

static void lane_cool(slc_lane *l, uint32_t *budget)
{
    slc_broker *broker = l->queue->broker;
    if (l->reading)
        return;
    if (l->cold_to != SLC_NOT_COLD)
        tail_close(l);
    slc_entry_list *fifo = &l->fifo;
    for (; *budget > 0; --*budget) {
        if (fifo->stored == 0 || (fifo->count <= LEAST_ENTRIES && fifo->bytes <= LEAST_BYTES) ||
            broker->hot_bytes <= slc_broker_warm_bytes(broker))
            break;
        slc_entry *entry = fifo->tail;
        list_remove(fifo, entry);
        l->cold_from = entry->qseq;
        l->damaged = false; // what is before the damaged message can be read
        if (entry->flags & SLC_ENTRY_STORED)
            entry_to_cold(l, entry);
        else
            list_push_front(&l->late, entry);
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
