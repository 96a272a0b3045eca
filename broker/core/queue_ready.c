// The ready messages of a queue, in order of position. Memory holds the head of a long queue, not an entry per message:
//
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
//  A queue that is not cold has cold_from = cold_to = SLC_NOT_COLD and nothing in late. While the newest messages are cold
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

static bool heap_before(const slc_queue *q, const slc_entry *a, const slc_entry *b)
{
    if (q->priorities != NULL) {
        uint8_t level_a = slc_levels_of(q, a);
        uint8_t level_b = slc_levels_of(q, b);
        if (level_a != level_b)
            return level_a > level_b;
    }
    return a->qseq < b->qseq;
}

static slc_entry *heap_merge(const slc_queue *q, slc_entry *a, slc_entry *b)
{
    if (a == NULL)
        return b;
    if (b == NULL)
        return a;
    if (heap_before(q, b, a)) {
        slc_entry *swap = a;
        a = b;
        b = swap;
    }
    b->next = a->child;
    a->child = b;
    return a;
}

/** Pairing heap: merge the children two by two, then all pairs. Iterative: a peer decides how many there are. */
static slc_entry *heap_pop(const slc_queue *q, slc_entry *top)
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
        slc_entry *pair = heap_merge(q, a, b);
        pair->next = pairs;
        pairs = pair;
    }
    slc_entry *merged = NULL;
    while (pairs != NULL) {
        slc_entry *next = pairs->next;
        pairs->next = NULL;
        merged = heap_merge(q, merged, pairs);
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

/* ---- cold ---- */

static bool queue_is_cold(const slc_queue *q)
{
    return q->cold_from != SLC_NOT_COLD;
}

/** What a cold message counts as: of those that were found at the start only the contents' size is known. */
static uint64_t cold_size(const slc_queue *q, uint64_t qseq, const slc_message *m)
{
    return qseq < q->recovered_to && qseq >= q->sized_from ? slc_message_content_bytes(m)
                                                           : m->body_bytes;
}

static void ready_uncount(slc_queue *q, slc_entry *entry)
{
    q->ready--;
    q->ready_bytes -= entry->body_bytes;
    q->broker->totals.ready--;
    slc_entry_cooled(q->broker, entry);
    if (entry->flags & SLC_ENTRY_TIMED)
        slc_due_remove(&q->timed, &((slc_timed *)(void *)entry)->due);
}

/** An entry becomes cold. Its confirm does not need it: that comes with its ticket. */
static void entry_to_cold(slc_queue *q, slc_entry *entry)
{
    SLC_ASSERT(entry->flags & SLC_ENTRY_STORED);
    uint64_t size = cold_size(q, entry->qseq, entry->message);
    q->cold_count++;
    q->cold_bytes += size;
    q->ready_bytes += size - entry->body_bytes;
    q->persistent_bytes += size - entry->body_bytes;
    slc_expiry_cold(q, slc_entry_expires_ms(entry), false);
    slc_entry_cooled(q->broker, entry);
    entry_forget(q, entry);
}

/** A cold message is read: back among those that have an entry. */
static void cold_to_entry(slc_queue *q, uint64_t qseq, slc_message *message, uint64_t expires_ms)
{
    uint64_t size = cold_size(q, qseq, message);
    if (size > q->cold_bytes)
        size =
            q->cold_bytes; // the store's sum of what was there at the start is near enough, not exact
    q->cold_count--;
    q->cold_bytes -= size;
    q->ready_bytes += message->body_bytes - size;
    q->persistent_bytes += message->body_bytes - size;
    slc_entry *entry = entry_alloc(qseq, message, expires_ms,
                                   SLC_ENTRY_STORED | SLC_ENTRY_PERSISTENT |
                                       (qseq <= q->delivered_qseq ? SLC_ENTRY_DELIVERED : 0u));
    entry_heated(q->broker, entry);
    list_push(&q->fifo, entry);
    if (entry->flags & SLC_ENTRY_TIMED)
        slc_expiry_add(q, entry);
}

/** Nothing is cold any more: what waited behind it follows. */
static void queue_thaw(slc_queue *q)
{
    SLC_ASSERT(q->cold_count == 0);
    q->ready_bytes -= q->cold_bytes;
    q->persistent_bytes -= q->cold_bytes;
    q->cold_bytes = 0;
    q->cold_from = q->cold_to = SLC_NOT_COLD;
    q->tail_count = q->tail_bytes = 0;
    list_join(&q->fifo, &q->late);
    q->cold_due_ms = SLC_NEVER;
    q->cold_ordered = true;
    q->cold_expiry_ms = 0;
    if (q->priorities == NULL)
        return;
    while (q->fifo.head != NULL) { // all is read: now it can be served in order of priority
        slc_entry *entry = q->fifo.head;
        list_remove(&q->fifo, entry);
        slc_levels_push(q->priorities, slc_levels_of(q, entry), entry);
    }
}

void slc_ready_cold_gone(slc_queue *queue, uint64_t qseq, uint64_t content_bytes,
                         uint64_t body_bytes)
{
    uint64_t size =
        qseq < queue->recovered_to && qseq >= queue->sized_from ? content_bytes : body_bytes;
    if (size > queue->cold_bytes)
        size = queue->cold_bytes;
    queue->cold_count--;
    queue->cold_bytes -= size;
    queue->ready--;
    queue->ready_bytes -= size;
    queue->persistent--;
    queue->persistent_bytes -= size;
    queue->broker->totals.ready--;
    if (queue->cold_count == 0)
        queue_thaw(queue);
}

void slc_ready_cold_sized(slc_queue *queue, uint64_t qseq, uint64_t content_bytes,
                          uint64_t body_bytes)
{
    if (qseq >= queue->recovered_to || qseq < queue->sized_from)
        return;
    uint64_t excess = content_bytes - body_bytes;
    if (excess > queue->cold_bytes)
        excess = queue->cold_bytes;
    queue->cold_bytes -= excess;
    queue->ready_bytes -= excess;
    queue->persistent_bytes -= excess;
    queue->sized_from = qseq + 1;
}

/** The tail turns cold, but for its transient messages; it is bounded, so this is. */
static void tail_close(slc_queue *q)
{
    slc_entry *entry = q->late.tail;
    while (entry != NULL && entry->qseq >= q->cold_to) {
        slc_entry *prev = entry->prev;
        if (entry->flags & SLC_ENTRY_STORED) {
            list_remove(&q->late, entry);
            entry_to_cold(q, entry);
        }
        entry = prev;
    }
    q->cold_to = SLC_NOT_COLD;
    q->tail_count = q->tail_bytes = 0;
}

void slc_ready_recovered(slc_queue *queue, uint64_t messages, uint64_t bytes,
                         uint64_t delivered_qseq)
{
    SLC_ASSERT(queue->ready == 0);
    queue->recovered_to = queue->next_qseq;
    queue->delivered_qseq =
        delivered_qseq < queue->next_qseq ? delivered_qseq : queue->next_qseq - 1;
    if (messages == 0)
        return;
    queue->cold_from = 1;
    queue->cold_count = queue->ready = queue->persistent = messages;
    queue->cold_bytes = queue->ready_bytes = queue->persistent_bytes = bytes;
    queue->broker->totals.ready += messages;
    slc_expiry_recovered(queue);
}

/* ---- in ---- */

/** The queue is all in memory: has it as much there as it should? */
static bool window_is_full(const slc_queue *q, uint64_t body_bytes)
{
    const slc_broker *broker = q->broker;
    if (q->ready >= WINDOW_ENTRIES || q->ready_bytes >= WINDOW_BYTES)
        return true;
    return broker->hot_bytes >= broker->cache_bytes &&
           (q->ready >= LEAST_ENTRIES || q->ready_bytes + body_bytes > LEAST_BYTES);
}

static bool tail_is_full(const slc_queue *q)
{
    const slc_broker *broker = q->broker;
    return q->tail_count >= TAIL_ENTRIES || q->tail_bytes >= TAIL_BYTES ||
           broker->hot_bytes >= broker->cache_bytes;
}

/** The next stored message of a cold queue: does it stay in memory? The read that is under way brings all before it, or the
 *  one after that. */
static bool tail_takes(slc_queue *q, uint64_t qseq)
{
    if (q->cold_to != SLC_NOT_COLD) {
        if (!tail_is_full(q))
            return true;
        tail_close(q);
        return false;
    }
    if (!q->reading || q->cold_count > READ_ENTRIES || q->cold_bytes > READ_BYTES ||
        tail_is_full(q))
        return false;
    q->cold_to = qseq;
    return true;
}

void slc_ready_put(slc_queue *queue, uint64_t qseq, slc_message *message, bool stored,
                   uint64_t expires_ms)
{
    ready_count(queue, message->body_bytes);
    bool is_cold = queue_is_cold(queue);
    if (stored && queue->priorities == NULL &&
        (is_cold ? !tail_takes(queue, qseq) : window_is_full(queue, message->body_bytes))) {
        if (!is_cold)
            queue->cold_from = qseq;
        queue->cold_count++;
        queue->cold_bytes += message->body_bytes;
        queue->persistent++;
        queue->persistent_bytes += message->body_bytes;
        slc_expiry_cold(queue, expires_ms, true);
        return;
    }
    slc_entry *entry = slc_entry_new(queue, qseq, message, stored, expires_ms);
    entry_heated(queue->broker, entry);
    if (!is_cold) {
        if (queue->priorities != NULL)
            slc_levels_push(queue->priorities, slc_levels_of(queue, entry), entry);
        else
            list_push(&queue->fifo, entry);
        if (expires_ms != 0)
            slc_expiry_add(queue, entry);
        return;
    }
    if (queue->priorities != NULL && queue->cold_to == SLC_NOT_COLD)
        queue->cold_to = qseq; // what was found at the start is read; this need not be
    list_push(&queue->late, entry);
    if (expires_ms != 0)
        slc_expiry_add(queue, entry);
    if (queue->cold_to == SLC_NOT_COLD)
        return;
    queue->tail_count++;
    queue->tail_bytes += entry->body_bytes;
    if (!stored && queue->priorities == NULL && tail_is_full(queue))
        tail_close(queue); // a walk through it must stay short
}

void slc_ready_return(slc_queue *queue, slc_entry *entry)
{
    SLC_ASSERT(queue->fifo.head == NULL || queue->priorities != NULL ||
               entry->qseq < queue->fifo.head->qseq);
    SLC_ASSERT(entry->qseq < queue->cold_from);
    entry->flags |= SLC_ENTRY_DELIVERED | SLC_ENTRY_RETURNED;
    entry->child = NULL;
    entry->next = NULL;
    queue->returned = heap_merge(queue, queue->returned, entry);
    ready_count(queue, entry->body_bytes);
    entry_heated(queue->broker, entry);
    if (entry->flags & SLC_ENTRY_TIMED)
        slc_expiry_add(queue, entry);
}

/* ---- reading back ---- */

static void damage_log(const slc_queue *q)
{
    char text[640];
    slc_log(SLC_LOG_ERROR, "queue", "queue.damaged",
            SLC_FIELDS(SLC_F_STR("queue", slc_resource_text(q->vhost, SLC_DEST_QUEUE, q->dest.name,
                                                            text, sizeof text)),
                       SLC_F_U64("position", q->cold_from)),
            "%s stands still: its message at position %" PRIu64
            " or after is not in the store as it should be",
            text, q->cold_from);
}

/** Merge what was read, ascending, with what is late; how many. */
static uint32_t read_merge(slc_queue *q, const slc_env_read_message *messages, uint32_t count,
                           slc_err *rc)
{
    uint32_t loaded = 0;
    for (; loaded < count && q->cold_count > 0; loaded++) {
        const slc_env_read_message *read = &messages[loaded];
        if (read->qseq >= q->cold_to)
            break; // that one is in the tail
        SLC_ASSERT(read->qseq >= q->cold_from);
        slc_message *message;
        *rc = slc_message_load(read->content, &message);
        if (*rc != SLC_OK)
            break;
        message->ts_ms = read->ts_ms;
        message->priority = read->priority;
        while (q->late.head != NULL && q->late.head->qseq < read->qseq) {
            slc_entry *entry = q->late.head;
            list_remove(&q->late, entry);
            list_push(&q->fifo, entry);
        }
        cold_to_entry(q, read->qseq, message, read->expires_ms);
        q->cold_from = read->qseq + 1;
    }
    return loaded;
}

static void read_done(slc_err rc, const slc_env_read_message *messages, uint32_t count, void *arg)
{
    slc_queue *q = arg;
    slc_broker *broker = q->broker;
    q->reading = false;
    broker->reading_bytes -= q->read_bytes;
    // After a purge or a delete what was asked for is gone: cold_from is another, for positions are not used again.
    if (q->cold_from == q->read_from) {
        slc_err store_rc = rc;
        uint32_t loaded = rc == SLC_OK ? read_merge(q, messages, count, &rc) : 0;
        // It stands at a message that cannot be read, now or ever: what is damaged is never served, and asking again
        // at once would only spin. An error of the store was logged there.
        // Nothing at all: what was asked for expired meanwhile.
        q->damaged = loaded == 0 && rc != SLC_ENOMEM && (count > 0 || rc != SLC_OK || !q->expired);
        if (q->damaged && store_rc == SLC_OK)
            damage_log(q);
        if (q->cold_count == 0)
            queue_thaw(q);
    }
    if (!q->damaged)
        slc_queue_mark_dirty(q); // after SLC_ENOMEM too: it asks again, at the pace of the reads
    broker->resume_due = true;
    slc_queue_release(q);
}

/** Ask for cold messages while there still are some to hand out. */
static void read_ahead(slc_queue *q)
{
    if (q->cold_count == 0 || q->reading || q->damaged)
        return;
    slc_broker *broker = q->broker;
    bool rich =
        q->priorities != NULL || // it has to read all
        broker->hot_bytes + broker->reading_bytes + 2ull * READ_BYTES <= broker->cache_bytes;
    uint32_t entries = rich ? READ_ENTRIES : LEAST_ENTRIES;
    uint64_t bytes = rich ? READ_BYTES : LEAST_BYTES;
    if (q->priorities == NULL && (q->fifo.count >= (rich ? READ_ENTRIES : LEAST_ENTRIES / 2) ||
                                  q->fifo.bytes >= (rich ? READ_BYTES : LEAST_BYTES / 2)))
        return;
    uint64_t each = q->cold_bytes / q->cold_count + sizeof(slc_entry) + sizeof(slc_message) +
                    2ull * ALLOC_BYTES;
    uint64_t guess = each * (q->cold_count < entries ? q->cold_count : entries);
    q->reading = true;
    q->read_from = q->cold_from;
    q->read_bytes = guess < bytes ? guess : bytes;
    broker->reading_bytes += q->read_bytes;
    slc_queue_hold(q);
    broker->env.store_read(broker->env.arg, q->qid, q->cold_from, entries, bytes, read_done, q);
}

/* ---- out ---- */

bool slc_queue_has_hot(const slc_queue *queue)
{
    return queue->returned != NULL || queue->fifo.head != NULL;
}

/** The next one of the returned and the first of what waits; NULL: none. */
static slc_entry *ready_next(slc_queue *q)
{
    if (q->priorities == NULL)
        return q->returned != NULL ? q->returned : q->fifo.head;
    slc_entry *waiting = slc_levels_first(q->priorities, true, NULL);
    if (q->returned == NULL || waiting == NULL)
        return q->returned != NULL ? q->returned : waiting;
    return heap_before(q, waiting, q->returned) ? waiting : q->returned;
}

/** Out of its list, and if it is the top out of the heap. */
static void ready_unlink(slc_queue *q, slc_entry *entry)
{
    if (entry->flags & SLC_ENTRY_RETURNED) {
        SLC_ASSERT(entry == q->returned);
        q->returned = heap_pop(q, entry);
        entry->flags &= ~(uint32_t)SLC_ENTRY_RETURNED;
    } else if (entry->qseq >= q->cold_from) {
        if (q->cold_to != SLC_NOT_COLD && entry->qseq >= q->cold_to) {
            q->tail_count--;
            q->tail_bytes -= entry->body_bytes;
        }
        list_remove(&q->late, entry);
    } else if (q->priorities != NULL && !queue_is_cold(q)) {
        slc_levels_remove(q->priorities, slc_levels_of(q, entry), entry);
    } else {
        list_remove(&q->fifo, entry);
    }
}

/** Ask for what is cold and near; false: nothing can be taken before it is there. */
static bool ready_warm(slc_queue *q)
{
    if (queue_is_cold(q)) {
        if (q->fifo.head == NULL && q->cold_count == 0)
            queue_thaw(q); // only transient messages had been moved behind
        read_ahead(q);
    }
    return q->priorities == NULL || !queue_is_cold(q);
}

void slc_ready_remove(slc_queue *queue, slc_entry *entry)
{
    SLC_ASSERT(!(entry->flags & SLC_ENTRY_RETURNED));
    ready_unlink(queue, entry);
    ready_uncount(queue, entry);
}

slc_entry *slc_ready_take_returned(slc_queue *queue, uint64_t now_ms)
{
    // The heap has no way to one in its middle: take it apart. It holds what consumers gave back, not the backlog.
    slc_entry *gone = NULL, *kept = NULL;
    while (queue->returned != NULL) {
        slc_entry *entry = queue->returned;
        queue->returned = heap_pop(queue, entry);
        uint64_t expires_ms = slc_entry_expires_ms(entry);
        bool expired = expires_ms != 0 && expires_ms <= now_ms;
        slc_entry **list = expired ? &gone : &kept;
        entry->next = *list;
        *list = entry;
        if (expired) {
            entry->flags &= ~(uint32_t)SLC_ENTRY_RETURNED;
            ready_uncount(queue, entry);
        }
    }
    while (kept != NULL) {
        slc_entry *entry = kept;
        kept = entry->next;
        entry->next = NULL;
        entry->child = NULL;
        queue->returned = heap_merge(queue, queue->returned, entry);
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

slc_entry *slc_ready_take_victim(slc_queue *queue, bool *reading)
{
    *reading = false;
    slc_entry *entry = NULL;
    if (ready_warm(queue)) {
        if (queue->priorities != NULL && !queue->broker->overflow_priority_head)
            entry = slc_levels_first(queue->priorities, false, NULL);
        if (entry == NULL)
            entry = ready_next(queue);
    }
    if (entry == NULL) {
        *reading = queue->cold_count > 0;
        return NULL;
    }
    ready_unlink(queue, entry);
    ready_uncount(queue, entry);
    return entry;
}

slc_entry *slc_queue_take(slc_queue *queue, bool *reading)
{
    *reading = false;
    for (;;) {
        slc_entry *entry = ready_warm(queue) ? ready_next(queue) : NULL;
        if (entry == NULL) {
            *reading = queue->cold_count > 0;
            return NULL;
        }
        ready_unlink(queue, entry);
        ready_uncount(queue, entry);
        uint64_t expires_ms = slc_entry_expires_ms(entry);
        if (expires_ms != 0 && expires_ms <= queue->broker->env.wall_ms(queue->broker->env.arg)) {
            slc_queue_die(queue, entry, SLC_DEATH_EXPIRED);
            continue;
        }
        SLC_DASSERT(entry->qseq < queue->cold_from);
        queue->touched = true;
        if (entry->qseq > queue->delivered_qseq)
            queue->delivered_qseq = entry->qseq;
        return entry;
    }
}

void slc_ready_clear(slc_queue *queue, slc_entry **returned, slc_entry **fifo, slc_entry **late)
{
    slc_broker *broker = queue->broker;
    *returned = queue->returned;
    *fifo = queue->fifo.head;
    *late = queue->late.head;
    if (queue->priorities != NULL) {
        slc_entry *all = slc_levels_clear(queue->priorities);
        if (queue->fifo.tail != NULL)
            queue->fifo.tail->next = all; // only while it was being read: then there is no other
        else
            *fifo = all;
    }
    slc_expiry_clear(queue);
    if (queue->cold_count > 0 && !queue->deleted) {
        // The tail is in memory and dropped one by one.
        uint64_t last = queue->cold_to != SLC_NOT_COLD ? queue->cold_to - 1 : queue->next_qseq - 1;
        broker->last_ticket = broker->env.store_drop_range(broker->env.arg, queue->qid,
                                                           queue->cold_from, last, 4 /* purge */);
    }
    queue->persistent -= queue->cold_count;
    queue->persistent_bytes -= queue->cold_bytes;
    broker->totals.ready -= queue->ready;
    queue->ready = queue->ready_bytes = queue->cold_count = queue->cold_bytes = 0;
    queue->returned = NULL;
    queue->fifo = queue->late = (slc_entry_list){0};
    queue->tail_count = queue->tail_bytes = 0;
    queue->cold_from = queue->cold_to = SLC_NOT_COLD;
    queue->damaged = false;
}

/* ---- giving up memory ---- */

void slc_queue_cool(slc_queue *queue, uint32_t budget)
{
    slc_broker *broker = queue->broker;
    // Whoever is about to take from it would only have it read back.
    if (queue->ready_consumers != NULL || queue->reading || queue->priorities != NULL)
        return;
    if (queue->touched && broker->hot_bytes < broker->cache_bytes) {
        queue->touched = false; // used a moment ago: the next time
        return;
    }
    if (queue->cold_to != SLC_NOT_COLD)
        tail_close(queue);
    slc_entry_list *fifo = &queue->fifo;
    for (; budget > 0; budget--) {
        if (fifo->stored == 0 || (fifo->count <= LEAST_ENTRIES && fifo->bytes <= LEAST_BYTES) ||
            broker->hot_bytes <= slc_broker_warm_bytes(broker))
            break;
        slc_entry *entry = fifo->tail;
        list_remove(fifo, entry);
        queue->cold_from = entry->qseq;
        queue->damaged = false; // what is before the damaged message can be read
        if (entry->flags & SLC_ENTRY_STORED)
            entry_to_cold(queue, entry);
        else
            list_push_front(&queue->late, entry);
    }
}
