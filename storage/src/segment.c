// The directory of segments on the loop: which positions of a queue stand in the second tier, and which of them are live.
#include "store_impl.h"

/* ---- positions ---- */

uint32_t slc_queue_segment_from(const slc_squeue *queue, uint64_t qseq)
{
    uint32_t low = queue->segment_head, high = queue->segment_tail;
    if (low < high && queue->segments[low]->last >= qseq)
        return low;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (queue->segments[middle]->last < qseq)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool slc_segment_live(const slc_segment *segment, uint64_t qseq)
{
    if (qseq < segment->first || qseq > segment->last)
        return false;
    uint64_t i = qseq - segment->first;
    return segment->dead == NULL || (segment->dead[i / 8] >> (i % 8) & 1) == 0;
}

slc_segment *slc_queue_segment_find(const slc_squeue *queue, uint64_t qseq)
{
    uint32_t i = slc_queue_segment_from(queue, qseq);
    if (i == queue->segment_tail || !slc_segment_live(queue->segments[i], qseq))
        return NULL;
    return queue->segments[i];
}

/* ---- coming and going ---- */

static void sparse_count(slc_shard *shard, slc_squeue *queue, bool more)
{
    shard->sparse_queues -= queue->sparse >= STORE_SPARSE_MIN;
    queue->sparse = more ? queue->sparse + 1 : queue->sparse - 1;
    shard->sparse_queues += queue->sparse >= STORE_SPARSE_MIN;
    shard->merge_rests = false;
}

slc_segment *slc_shard_segment_add(slc_shard *shard, slc_squeue *queue, const slc_segment *segment)
{
    slc_segment *added = slc_alloc(sizeof *added);
    *added = *segment;
    added->queue = queue;
    if (queue->segment_tail == queue->segment_capacity) {
        uint32_t count = queue->segment_tail - queue->segment_head;
        if (count > 0 && queue->segment_head >= count) {
            memmove(queue->segments, queue->segments + queue->segment_head,
                    count * sizeof(slc_segment *));
            queue->segment_head = 0;
            queue->segment_tail = count;
        } else {
            queue->segment_capacity =
                queue->segment_capacity == 0 ? 8 : queue->segment_capacity * 2;
            queue->segments =
                slc_realloc(queue->segments, queue->segment_capacity * sizeof(slc_segment *));
        }
    }
    uint32_t at = slc_queue_segment_from(queue, segment->first);
    SLC_ASSERT(at == queue->segment_tail || queue->segments[at]->first > segment->last);
    memmove(queue->segments + at + 1, queue->segments + at,
            (queue->segment_tail - at) * sizeof(slc_segment *));
    queue->segments[at] = added;
    queue->segment_tail++;
    if (slc_segment_sparse(added))
        sparse_count(shard, queue, true);
    shard->store->stats.segments++;
    shard->store->stats.segment_bytes += added->bytes;
    return added;
}

static void segment_leave(slc_shard *shard, slc_segment *segment)
{
    slc_squeue *queue = segment->queue;
    if (slc_segment_sparse(segment))
        sparse_count(shard, queue, false);
    uint32_t at = slc_queue_segment_from(queue, segment->first);
    SLC_ASSERT(at < queue->segment_tail && queue->segments[at] == segment);
    if (at == queue->segment_head) {
        queue->segment_head++;
    } else {
        memmove(queue->segments + at, queue->segments + at + 1,
                (queue->segment_tail - at - 1) * sizeof(slc_segment *));
        queue->segment_tail--;
    }
    if (queue->segment_head == queue->segment_tail)
        queue->segment_head = queue->segment_tail = 0;
    shard->store->stats.segments--;
    shard->store->stats.segment_bytes -= segment->bytes;
}

void slc_shard_segment_free(slc_shard *shard, slc_segment *segment)
{
    slc_shard_segment_clean(shard, segment);
    segment_leave(shard, segment);
    slc_free(segment->dead);
    slc_free(segment->residents);
    slc_free(segment);
}

void slc_shard_grave_add(slc_shard *shard, slc_grave grave)
{
    if (shard->grave_head == shard->grave_count)
        shard->grave_head = shard->grave_count = 0;
    *STORE_PUSH(shard->graves, shard->grave_count, shard->grave_capacity) = grave;
}

void slc_shard_segment_bury(slc_shard *shard, slc_segment *segment, uint64_t drop_lsn,
                            uint64_t pin_lsn)
{
    slc_store_stats *stats = &shard->store->stats;
    stats->live_messages -= segment->live;
    stats->live_bytes -= segment->live_bytes;
    for (uint32_t i = 0; i < segment->resident_count; i++)
        slc_shard_resident_unref(shard, segment->residents[i].slot, drop_lsn);
    // Its older drops have to be on disk as well before it may go: they are, when the newest is.
    if (segment->dirty_lsn != 0 && segment->dirty_lsn < pin_lsn)
        pin_lsn = segment->dirty_lsn;
    if (drop_lsn < segment->drop_lsn)
        drop_lsn = segment->drop_lsn;
    slc_shard_grave_add(shard, (slc_grave){segment->queue->qid, segment->first, drop_lsn, pin_lsn,
                                           segment->queue->dying});
    slc_shard_segment_free(shard, segment);
}

/* ---- drops ---- */

void slc_shard_segment_clean(slc_shard *shard, slc_segment *segment)
{
    if (segment->dirty_lsn == 0)
        return;
    *(segment->prev != NULL ? &segment->prev->next : &shard->dirty_first) = segment->next;
    *(segment->next != NULL ? &segment->next->prev : &shard->dirty_last) = segment->prev;
    segment->prev = segment->next = NULL;
    segment->dirty_lsn = 0;
}

void slc_shard_segment_dirty(slc_shard *shard, slc_segment *segment, uint64_t lsn)
{
    if (segment->dirty_lsn != 0 && segment->dirty_lsn <= lsn)
        return;
    slc_shard_segment_clean(shard, segment);
    segment->dirty_lsn = lsn;
    // Nearly always at the end: records are written in order.
    slc_segment *before = shard->dirty_last;
    while (before != NULL && before->dirty_lsn > lsn)
        before = before->prev;
    segment->prev = before;
    segment->next = before != NULL ? before->next : shard->dirty_first;
    *(segment->prev != NULL ? &segment->prev->next : &shard->dirty_first) = segment;
    *(segment->next != NULL ? &segment->next->prev : &shard->dirty_last) = segment;
}

void slc_segment_mark(slc_segment *segment, uint64_t qseq)
{
    uint64_t i = qseq - segment->first;
    if (segment->dead == NULL)
        segment->dead = slc_alloc_zero((segment->last - segment->first) / 8 + 1, 1);
    segment->dead[i / 8] |= (uint8_t)(1u << (i % 8));
}

static void resident_leave(slc_shard *shard, slc_segment *segment, uint64_t qseq, uint64_t lsn)
{
    for (uint32_t i = 0; i < segment->resident_count; i++) {
        if (segment->residents[i].qseq != qseq)
            continue;
        uint32_t slot = segment->residents[i].slot;
        segment->resident_count--;
        memmove(segment->residents + i, segment->residents + i + 1,
                (segment->resident_count - i) * sizeof *segment->residents);
        slc_shard_resident_unref(shard, slot, lsn);
        return;
    }
}

void slc_shard_segment_drop(slc_shard *shard, slc_segment *segment, uint64_t qseq, uint64_t lsn)
{
    SLC_DASSERT(slc_segment_live(segment, qseq));
    if (segment->live == 1) {
        slc_shard_segment_bury(shard, segment, lsn, lsn);
        return;
    }
    // Sizes of single messages are not known here: each counts the average of those that are left.
    uint64_t bytes = segment->live_bytes / segment->live;
    bool was_sparse = slc_segment_sparse(segment);
    segment->live--;
    if (!was_sparse && slc_segment_sparse(segment))
        sparse_count(shard, segment->queue, true);
    segment->live_bytes -= bytes;
    shard->store->stats.live_messages--;
    shard->store->stats.live_bytes -= bytes;
    slc_segment_mark(segment, qseq);
    if (segment->resident_count > 0)
        resident_leave(shard, segment, qseq, lsn);
    if (segment->drop_lsn < lsn)
        segment->drop_lsn = lsn;
    slc_shard_segment_dirty(shard, segment, lsn);
}

uint32_t slc_shard_segment_record(const slc_shard *shard, const slc_segment *segment, uint8_t *out)
{
    slc_directory_resident *residents =
        slc_alloc((segment->resident_count + 1) * sizeof *residents);
    for (uint32_t i = 0; i < segment->resident_count; i++) {
        const slc_resident *resident = &shard->residents[segment->residents[i].slot];
        residents[i] = (slc_directory_resident){.qseq = segment->residents[i].qseq,
                                                .first_lsn = resident->first_lsn,
                                                .bytes = resident->bytes,
                                                .parts = resident->parts};
    }
    slc_directory directory = {
        .count = segment->count,
        .live = segment->live,
        .last = segment->last,
        .bytes = segment->bytes,
        .dead = segment->dead,
        .dead_bytes =
            segment->dead == NULL ? 0 : (uint32_t)((segment->last - segment->first) / 8 + 1),
        .residents = segment->resident_count,
    };
    uint32_t bytes = slc_directory_encode(out, shard->id, segment->queue->qid, segment->first,
                                          &directory, residents);
    slc_free(residents);
    return bytes;
}
