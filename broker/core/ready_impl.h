/** What queue_ready.c and queue_cold.c share: the lists of ready entries, and where the one begins and the other ends. queue_ready.c
 *  draws the parts and says what must hold.
 *
 *  All that is done for each message is here or in queue_ready.c, in one unit to be inlined; queue_cold.c is what a long queue costs.
 *  Thread: the loop.
 */
#ifndef SLC_CORE_READY_IMPL_H
#define SLC_CORE_READY_IMPL_H

#include "core/internal.h"

enum {
    // With less than that in memory the next messages are asked for, this many at once. At 300,000 messages a second it
    // lasts 7 ms, a read takes less than one.
    SLC_READ_ENTRIES = 2048,
    SLC_READ_BYTES = 2 * 1024 * 1024,
    // New messages in memory behind the cold ones.
    SLC_TAIL_ENTRIES = 2048,
    SLC_TAIL_BYTES = 2 * 1024 * 1024,
    // What each queue may have when all together have too much: ten thousand queues still get on.
    SLC_LEAST_ENTRIES = 16,
    SLC_LEAST_BYTES = 8 * 1024,
    // What an allocation costs beside its bytes.
    SLC_ALLOC_BYTES = 16,
};

/* queue_ready.c */
/** Takes over the reference of message; counts nothing. */
slc_entry *slc_entry_alloc(uint64_t qseq, slc_message *message, uint64_t expires_ms,
                           uint32_t flags);
/** Without the counters: what it stood for lives on, or was never counted. */
void slc_entry_forget(slc_queue *queue, slc_entry *entry);

/* queue_cold.c */
/** A message is cold from here on; what it counts as: of one that was found at the start only the contents' size is known. */
uint64_t slc_lane_cold_add(slc_lane *lane, uint64_t qseq, const slc_message *message);
/** Nothing is cold any more: what waited behind it follows. */
void slc_lane_thaw(slc_lane *lane);
/** The tail turns cold, but for its transient messages; it is bounded, so this is. */
void slc_lane_tail_close(slc_lane *lane);
/** Ask for cold messages while there still are some to hand out. */
void slc_lane_read_ahead(slc_lane *lane);

/* ---- what entries cost ---- */

static inline uint64_t slc_message_memory(const slc_message *m)
{
    return sizeof *m + SLC_ALLOC_BYTES + slc_message_content_bytes(m);
}

static inline void slc_entry_heated(slc_broker *broker, const slc_entry *entry)
{
    broker->hot_bytes += sizeof *entry + SLC_ALLOC_BYTES;
    if (entry->message->ready++ == 0)
        broker->hot_bytes += slc_message_memory(entry->message);
}

/* ---- heap ---- */

static inline slc_entry *slc_entry_heap_merge(slc_entry *a, slc_entry *b)
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
static inline slc_entry *slc_entry_heap_pop(slc_entry *top)
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
        slc_entry *pair = slc_entry_heap_merge(a, b);
        pair->next = pairs;
        pairs = pair;
    }
    slc_entry *merged = NULL;
    while (pairs != NULL) {
        slc_entry *next = pairs->next;
        pairs->next = NULL;
        merged = slc_entry_heap_merge(merged, pairs);
        pairs = next;
    }
    top->child = NULL;
    return merged;
}

/* ---- lists ---- */

static inline void slc_entry_list_count(slc_entry_list *list, const slc_entry *entry, bool in)
{
    uint64_t stored = entry->flags & SLC_ENTRY_STORED;
    static_assert(SLC_ENTRY_STORED == 1, "counts as one");
    list->count += in ? 1 : UINT64_MAX;
    list->bytes += in ? entry->body_bytes : 0 - (uint64_t)entry->body_bytes;
    list->stored += in ? stored : 0 - stored;
}

static inline void slc_entry_list_push(slc_entry_list *list, slc_entry *entry)
{
    SLC_DASSERT(list->tail == NULL || list->tail->qseq < entry->qseq);
    entry->next = NULL;
    entry->prev = list->tail;
    if (list->tail != NULL)
        list->tail->next = entry;
    else
        list->head = entry;
    list->tail = entry;
    slc_entry_list_count(list, entry, true);
}

static inline void slc_entry_list_push_front(slc_entry_list *list, slc_entry *entry)
{
    SLC_DASSERT(list->head == NULL || list->head->qseq > entry->qseq);
    entry->prev = NULL;
    entry->next = list->head;
    if (list->head != NULL)
        list->head->prev = entry;
    else
        list->tail = entry;
    list->head = entry;
    slc_entry_list_count(list, entry, true);
}

static inline void slc_entry_list_remove(slc_entry_list *list, slc_entry *entry)
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
    slc_entry_list_count(list, entry, false);
}

/** All of from, whose positions are higher, to the end of list. */
static inline void slc_entry_list_join(slc_entry_list *list, slc_entry_list *from)
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

static inline void slc_lane_add(slc_lane *l, uint64_t count)
{
    if (l->count == 0 && l->queue->lanes != NULL)
        slc_lanes_used(l->queue->lanes, l->level, true);
    l->count += count;
}

static inline void slc_lane_remove(slc_lane *l)
{
    SLC_ASSERT(l->count > 0);
    if (--l->count == 0 && l->queue->lanes != NULL)
        slc_lanes_used(l->queue->lanes, l->level, false);
}

static inline bool slc_lane_is_cold(const slc_lane *l)
{
    return l->cold_from != SLC_NOT_COLD;
}

#endif
