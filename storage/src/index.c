// The index of live messages on the loop: queues by number, messages by position, chunks by LSN.
#include <inttypes.h>

#include "store_impl.h"

/* ---- shards ---- */

slc_shard *slc_store_shard_new(slc_store *store, uint16_t id)
{
    slc_shard *shard = slc_alloc_zero(1, sizeof *shard);
    shard->store = store;
    shard->id = id;
    shard->next_qid = 1;
    shard->log_first = shard->next_lsn = shard->dead_to = 1;
    shard->lsn_mask = 63;
    shard->lsns = slc_alloc_zero(64, sizeof *shard->lsns);
    shard->pending_mask = 63;
    shard->pending = slc_alloc_zero(64, sizeof *shard->pending);
    shard->resident_free = UINT32_MAX;
    shard->drop_epoch = 1;
    store->shards = slc_realloc(store->shards, (store->shard_count + 1) * sizeof(slc_shard *));
    store->shards[store->shard_count++] = shard;
    return shard;
}

slc_shard *slc_store_shard(slc_store *store, uint16_t id)
{
    if (store->last_shard != NULL && store->last_shard->id == id)
        return store->last_shard;
    slc_shard *shard = NULL;
    for (uint32_t i = 0; i < store->shard_count && shard == NULL; i++)
        if (store->shards[i]->id == id)
            shard = store->shards[i];
    if (shard == NULL)
        shard = slc_store_shard_new(store, id);
    return store->last_shard = shard;
}

static void queue_free(slc_shard *shard, slc_squeue *queue)
{
    while (queue->segment_head < queue->segment_tail)
        slc_shard_segment_free(shard, queue->segments[queue->segment_tail - 1]);
    slc_free(queue->segments);
    slc_free(queue->entries);
    slc_free(queue);
}

void slc_store_shard_free(slc_shard *shard)
{
    SLC_ASSERT(shard->upload_first == NULL);
    while (shard->pending_count > 0) {
        slc_chunk *chunk = slc_shard_pending(shard, 0);
        slc_free(chunk->ops);
        slc_free(chunk->heads);
        slc_free(chunk);
        shard->pending_head++;
        shard->pending_count--;
    }
    for (uint32_t p = 0; p < shard->queue_page_count; p++) {
        if (shard->queue_pages[p] == NULL)
            continue;
        for (uint32_t i = 0; i < STORE_QUEUE_PAGE; i++)
            if (shard->queue_pages[p][i] != NULL)
                queue_free(shard, shard->queue_pages[p][i]);
        slc_free(shard->queue_pages[p]);
    }
    while (shard->dying_first != NULL) {
        slc_squeue *queue = shard->dying_first;
        shard->dying_first = queue->next;
        queue_free(shard, queue);
    }
    while (shard->purge_first != NULL) {
        slc_purge *purge = shard->purge_first;
        shard->purge_first = purge->next;
        slc_free(purge);
    }
    slc_free(shard->queue_pages);
    slc_free(shard->lsns);
    slc_free(shard->residents);
    slc_free(shard->frees);
    slc_free(shard->graves);
    slc_free(shard->window_seen);
    slc_free(shard->pending);
    slc_free(shard->job.items);
    slc_free(shard->job.uploads);
    slc_free(shard->job.saves);
    slc_free(shard->job.frees);
    slc_free(shard->job.marks);
    slc_free(shard->job.mark_bytes);
    slc_free(shard->job.graves);
    slc_free(shard->job.slice.items);
    slc_free(shard->job.slice.groups);
    slc_free(shard->job.slice.made);
    slc_free(shard);
}

/* ---- queues ---- */

slc_squeue *slc_shard_queue(const slc_shard *shard, uint32_t qid)
{
    uint32_t page = qid / STORE_QUEUE_PAGE;
    if (page >= shard->queue_page_count || shard->queue_pages[page] == NULL)
        return NULL;
    return shard->queue_pages[page][qid % STORE_QUEUE_PAGE];
}

slc_squeue *slc_shard_queue_add(slc_shard *shard, uint32_t qid, const slc_uuid *uuid)
{
    uint32_t page = qid / STORE_QUEUE_PAGE;
    if (page >= shard->queue_page_count) {
        uint32_t count = page + 1;
        shard->queue_pages = slc_realloc(shard->queue_pages, count * sizeof *shard->queue_pages);
        memset(shard->queue_pages + shard->queue_page_count, 0,
               (count - shard->queue_page_count) * sizeof *shard->queue_pages);
        shard->queue_page_count = count;
    }
    if (shard->queue_pages[page] == NULL)
        shard->queue_pages[page] = slc_alloc_zero(STORE_QUEUE_PAGE, sizeof(slc_squeue *));
    slc_squeue *queue = slc_alloc_lines(sizeof *queue);
    queue->qid = qid;
    queue->uuid = *uuid;
    queue->next_qseq = queue->saved_qseq = 1;
    SLC_ASSERT(shard->queue_pages[page][qid % STORE_QUEUE_PAGE] == NULL);
    shard->queue_pages[page][qid % STORE_QUEUE_PAGE] = queue;
    return queue;
}

void slc_shard_queue_bury(slc_shard *shard, slc_squeue *queue, uint64_t del_lsn)
{
    slc_shard_unsaved_remove(shard, queue);
    queue->purge_pin = UINT64_MAX;
    for (slc_purge *purge = shard->purge_first; purge != NULL; purge = purge->next) {
        if (purge->queue != queue)
            continue;
        purge->queue = NULL;
        if (purge->pin_lsn < queue->purge_pin)
            queue->purge_pin = purge->pin_lsn;
    }
    shard->queue_pages[queue->qid / STORE_QUEUE_PAGE][queue->qid % STORE_QUEUE_PAGE] = NULL;
    queue->dying = true;
    queue->del_lsn = del_lsn;
    queue->next = shard->dying_first;
    queue->prev = NULL;
    shard->dying_first = queue;
}

void slc_shard_unsaved_remove(slc_shard *shard, slc_squeue *queue)
{
    if (!queue->unsaved)
        return;
    *(queue->prev != NULL ? &queue->prev->next : &shard->unsaved_first) = queue->next;
    *(queue->next != NULL ? &queue->next->prev : &shard->unsaved_last) = queue->prev;
    queue->prev = queue->next = NULL;
    queue->unsaved = false;
}

void slc_shard_unsaved_touch(slc_shard *shard, slc_squeue *queue)
{
    if (queue == shard->unsaved_last)
        return;
    slc_shard_unsaved_remove(shard, queue);
    queue->prev = shard->unsaved_last;
    *(queue->prev != NULL ? &queue->prev->next : &shard->unsaved_first) = queue;
    shard->unsaved_last = queue;
    queue->unsaved = true;
}

void slc_shard_unsaved_front(slc_shard *shard, slc_squeue *queue)
{
    slc_shard_unsaved_remove(shard, queue);
    queue->next = shard->unsaved_first;
    *(queue->next != NULL ? &queue->next->prev : &shard->unsaved_last) = queue;
    shard->unsaved_first = queue;
    queue->unsaved = true;
    queue->last_lsn = 0;
}

/* ---- live messages of a queue ---- */

static void entries_compact(slc_squeue *queue)
{
    uint32_t to = 0;
    for (uint32_t i = queue->head; i < queue->tail; i++) {
        if ((queue->entries[i].flags & ENTRY_DEAD) == 0) {
            queue->entries[to++] = queue->entries[i];
        }
    }
    queue->head = 0;
    queue->tail = to;
    SLC_DASSERT(to == queue->live);
}

static void entries_resize(slc_squeue *queue, uint32_t capacity)
{
    queue->entries = slc_realloc(queue->entries, (size_t)capacity * sizeof *queue->entries);
    queue->capacity = capacity;
}

slc_entry *slc_queue_entry_add(slc_squeue *queue, uint64_t qseq)
{
    if (queue->tail == queue->capacity) {
        // Moving pays when it frees at least a quarter; else the array grows. Both are constant per message on average.
        if (queue->capacity >= 16 && queue->live <= queue->capacity / 4 * 3)
            entries_compact(queue);
        else
            entries_resize(queue, queue->capacity == 0 ? 16 : queue->capacity * 2);
    }
    slc_entry *entry = &queue->entries[queue->tail++];
    *entry = (slc_entry){.qseq = qseq};
    queue->live++;
    return entry;
}

slc_entry *slc_queue_entry_find(const slc_squeue *queue, uint64_t qseq)
{
    uint32_t low = queue->head, high = queue->tail;
    if (low == high || qseq < queue->entries[low].qseq)
        return NULL;
    // Without gaps the position is known, with few gaps it bounds the search.
    uint64_t offset = qseq - queue->entries[low].qseq;
    if (offset < high - low) {
        slc_entry *guess = &queue->entries[low + offset];
        if (guess->qseq == qseq)
            return (guess->flags & ENTRY_DEAD) == 0 ? guess : NULL;
        high = low + (uint32_t)offset;
    }
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (queue->entries[middle].qseq < qseq)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == queue->tail)
        return NULL;
    slc_entry *entry = &queue->entries[low];
    return entry->qseq == qseq && (entry->flags & ENTRY_DEAD) == 0 ? entry : NULL;
}

slc_entry *slc_queue_entry_from(const slc_squeue *queue, uint64_t qseq)
{
    uint32_t low = queue->head, high = queue->tail;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (queue->entries[middle].qseq < qseq)
            low = middle + 1;
        else
            high = middle;
    }
    while (low < queue->tail && (queue->entries[low].flags & ENTRY_DEAD) != 0)
        low++;
    return low < queue->tail ? &queue->entries[low] : NULL;
}

void slc_queue_entry_kill(slc_squeue *queue, slc_entry *entry)
{
    SLC_ASSERT((entry->flags & ENTRY_DEAD) == 0);
    entry->flags |= ENTRY_DEAD;
    queue->live--;
    if (queue->live == 0) {
        queue->head = queue->tail = 0;
        if (queue->capacity > 4096)
            entries_resize(queue, 256);
        return;
    }
    while ((queue->entries[queue->head].flags & ENTRY_DEAD) != 0)
        queue->head++;
    while ((queue->entries[queue->tail - 1].flags & ENTRY_DEAD) != 0)
        queue->tail--;
    uint32_t span = queue->tail - queue->head;
    if (span > 64 && queue->live < span / 2) {
        entries_compact(queue);
        if (queue->capacity > 4096 && queue->live < queue->capacity / 8)
            entries_resize(queue, queue->capacity / 4);
    }
}

/* ---- chunks ---- */

uint64_t slc_shard_lsn_push(slc_shard *shard, uint32_t count)
{
    uint64_t used = shard->next_lsn - shard->log_first;
    if (used + count > shard->lsn_mask + 1) {
        uint64_t capacity = shard->lsn_mask + 1;
        while (capacity < used + count)
            capacity *= 2;
        slc_lsn *grown = slc_alloc_zero(capacity, sizeof *grown);
        for (uint64_t lsn = shard->log_first; lsn < shard->next_lsn; lsn++)
            grown[lsn & (capacity - 1)] = shard->lsns[lsn & shard->lsn_mask];
        slc_free(shard->lsns);
        shard->lsns = grown;
        shard->lsn_mask = capacity - 1;
    }
    uint64_t first = shard->next_lsn;
    for (uint32_t i = 0; i < count; i++)
        shard->lsns[(first + i) & shard->lsn_mask] = (slc_lsn){0};
    shard->next_lsn += count;
    return first;
}

uint64_t slc_shard_entry_bytes(const slc_shard *shard, const slc_entry *entry)
{
    return (entry->flags & ENTRY_RESIDENT) != 0 ? shard->residents[entry->bytes].bytes
                                                : entry->bytes;
}

void slc_shard_queue_dropped(slc_shard *shard, slc_squeue *queue, uint64_t qseq, uint64_t lsn)
{
    if (queue->drop_newest <= shard->ended_lsn || qseq > queue->drop_highest)
        queue->drop_highest = qseq;
    if (queue->drop_newest < lsn)
        queue->drop_newest = lsn;
}

void slc_shard_entry_drop(slc_shard *shard, slc_squeue *queue, slc_entry *entry, uint64_t drop_lsn)
{
    slc_store_stats *stats = &shard->store->stats;
    stats->live_messages--;
    stats->log_messages--;
    stats->live_bytes -= slc_shard_entry_bytes(shard, entry);
    slc_lsn *line = slc_shard_lsn(shard, entry->lsn);
    SLC_ASSERT(line->live > 0);
    line->live--;
    if (line->drop_lsn < drop_lsn)
        line->drop_lsn = drop_lsn;
    if ((entry->flags & ENTRY_RESIDENT) != 0)
        slc_shard_resident_unref(shard, entry->bytes, drop_lsn);
    slc_queue_entry_kill(queue, entry);
}
