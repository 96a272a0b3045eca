// Forgetting in slices what one record ended: the messages of a deleted queue, and those of a dropped range.
#include "store_impl.h"

static void entry_forget(slc_shard *shard, slc_squeue *queue, slc_entry *entry, uint64_t drop_lsn)
{
    if (entry->lsn < slc_shard_open_lsn(shard) ||
        slc_shard_cancel(shard, queue, entry) == CANCEL_NO)
        slc_shard_entry_drop(shard, queue, entry, drop_lsn);
}

// True: the queue is forgotten.
static bool dying_sweep(slc_shard *shard, slc_squeue *queue, uint32_t *budget)
{
    while (queue->live > 0 && *budget > 0) {
        entry_forget(shard, queue, &queue->entries[queue->head], queue->del_lsn);
        --*budget;
    }
    // Once its end is on disk, a replay finds the queue gone and deletes its segments by itself.
    while (queue->segment_head<queue->segment_tail && * budget> 0) {
        slc_shard_segment_bury(shard, queue->segments[queue->segment_tail - 1], queue->del_lsn,
                               queue->purge_pin);
        --*budget;
    }
    return queue->live == 0 && queue->segment_head == queue->segment_tail;
}

static void segment_purge(slc_shard *shard, slc_purge *purge, slc_segment *segment)
{
    uint64_t last = segment->last;
    if (segment->first >= purge->first && last <= purge->last) {
        slc_shard_segment_bury(shard, segment, purge->drop_lsn, purge->pin_lsn);
        return;
    }
    uint64_t from = segment->first > purge->first ? segment->first : purge->first;
    uint64_t to = last < purge->last ? last : purge->last;
    for (uint64_t qseq = from; qseq <= to; qseq++) {
        if (!slc_segment_live(segment, qseq))
            continue;
        bool gone = segment->live == 1;
        slc_shard_segment_drop(shard, segment, qseq, purge->pin_lsn);
        if (gone)
            return;
        if (segment->drop_lsn < purge->drop_lsn)
            segment->drop_lsn = purge->drop_lsn;
    }
}

// True: nothing of its range is left.
static bool purge_sweep(slc_shard *shard, slc_purge *purge, uint32_t *budget)
{
    slc_squeue *queue = purge->queue;
    while (*budget > 0) {
        slc_entry *entry = slc_queue_entry_from(queue, purge->first);
        uint32_t at = slc_queue_segment_from(queue, purge->first);
        slc_segment *segment = at < queue->segment_tail ? queue->segments[at] : NULL;
        if (entry != NULL && entry->qseq > purge->last)
            entry = NULL;
        if (segment != NULL && segment->first > purge->last)
            segment = NULL;
        if (entry == NULL && segment == NULL)
            return true;
        --*budget;
        if (segment == NULL || (entry != NULL && entry->qseq < segment->first)) {
            purge->first = entry->qseq + 1;
            entry_forget(shard, queue, entry, purge->drop_lsn);
        } else {
            uint64_t last = segment->last;
            segment_purge(shard, purge, segment);
            if (last >= purge->last)
                return true;
            purge->first = last + 1;
        }
    }
    return false;
}

bool slc_shard_sweeps(const slc_shard *shard)
{
    return shard->dying_first != NULL || shard->purge_first != NULL;
}

bool slc_shard_sweep(slc_shard *shard)
{
    uint32_t budget = STORE_SWEEP_MAX;
    while (shard->dying_first != NULL) {
        slc_squeue *queue = shard->dying_first;
        if (!dying_sweep(shard, queue, &budget))
            return true;
        shard->dying_first = queue->next;
        slc_free(queue->entries);
        slc_free(queue->segments);
        slc_free(queue);
    }
    while (shard->purge_first != NULL) {
        slc_purge *purge = shard->purge_first;
        if (purge->queue != NULL && !purge_sweep(shard, purge, &budget))
            return true;
        shard->purge_first = purge->next;
        if (purge->next == NULL)
            shard->purge_last = NULL;
        slc_free(purge);
    }
    return false;
}

slc_store_ticket slc_store_drop_range(slc_store *store, uint16_t shard_id, uint32_t qid,
                                      uint64_t first, uint64_t last, slc_drop_reason reason)
{
    SLC_ASSERT(first > 0 && first <= last);
    slc_shard *shard = slc_store_shard(store, shard_id);
    slc_squeue *queue = slc_shard_queue(shard, qid);
    if (queue == NULL)
        return slc_shard_ticket(shard);
    slc_shard_uploads_place_queue(shard, queue);
    if (last >= queue->next_qseq)
        last = queue->next_qseq - 1;
    if (first > last)
        return slc_shard_ticket(shard);
    uint64_t lsn = slc_shard_range_record(shard, queue, first, last, reason);
    slc_shard_queue_dropped(shard, queue, last, lsn);
    slc_purge *purge = slc_alloc(sizeof *purge);
    *purge = (slc_purge){queue, first, last, lsn, lsn, NULL};
    *(shard->purge_last != NULL ? &shard->purge_last->next : &shard->purge_first) = purge;
    shard->purge_last = purge;
    return slc_shard_ticket(shard);
}
