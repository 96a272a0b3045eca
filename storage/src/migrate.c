// From the log to segments: which messages move in the next job, and what a finished slice changes in the index.
//
//      none ──log over its budget──> window [window_from, window_to) ──passes over the queues, slice by slice──> none
//
// A slice takes messages of some queues whose chunks lie below window_to. When a whole pass left nobody behind, no chunk of
// the window has a live message and the front of the log moves on. Between slices a message of the window may stand in a
// segment and in the log: a replay takes it from the segment.
//
// Sparse segments are merged by the same means: their live messages become new segments, which replace them.
#include "store_impl.h"

enum { SLICE_QUEUES_MAX = 65536, SLICE_SEGMENTS_MAX = 4096 }; // looked at for one slice

static uint32_t slice_budget(const slc_shard *shard, bool idle)
{
    uint64_t budget = shard->store->options.log_bytes;
    // The further the log outgrows its budget, the larger the share of migration in each transaction: publishers feel it.
    if (shard->log_bytes > budget + budget / 2 + budget / 4)
        return 16 * STORE_SLICE_BYTES;
    if (shard->log_bytes > budget + budget / 2)
        return 8 * STORE_SLICE_BYTES;
    return idle || shard->log_bytes > budget + budget / 4 ? 4 * STORE_SLICE_BYTES
                                                          : STORE_SLICE_BYTES;
}

/* ---- the window ---- */

static void window_open(slc_shard *shard)
{
    uint64_t budget = shard->store->options.log_bytes;
    uint64_t wanted = shard->log_bytes - budget + budget / 4, bytes = 0, to = shard->log_first;
    for (; to <= shard->ended_lsn && bytes < wanted; to++)
        bytes += slc_shard_lsn(shard, to)->bytes;
    if (to == shard->log_first)
        return;
    shard->window_from = shard->log_first;
    shard->window_to = to;
    shard->window_qid = 1;
    shard->window_again = false;
    slc_free(shard->window_seen);
    shard->window_seen = slc_alloc_zero((to - shard->window_from) / 8 + 1, 1);
}

bool slc_shard_migrates(const slc_shard *shard)
{
    return shard->window_to != 0 || shard->log_bytes > shard->store->options.log_bytes ||
           (shard->sparse_queues > 0 && !shard->merge_rests && !slc_backup_holds(shard));
}

/* ---- building a slice ---- */

static void item_push(slc_migration_slice *slice, uint64_t qseq, uint64_t source)
{
    *STORE_PUSH(slice->items, slice->item_count, slice->item_capacity) =
        (slc_slice_item){.qseq = qseq, .source = source};
}

static void group_push(slc_migration_slice *slice, uint32_t qid, uint32_t from, bool merge)
{
    if (slice->item_count > from)
        *STORE_PUSH(slice->groups, slice->group_count, slice->group_capacity) = (slc_slice_group){
            .qid = qid, .from = from, .count = slice->item_count - from, .merge = merge};
}

// Messages of one queue, as far as the budget goes. True: all of it that lies in the window is taken.
static bool queue_take(slc_shard *shard, slc_squeue *queue, uint64_t bytes_max)
{
    slc_migration_slice *slice = &shard->job.slice;
    uint32_t at = queue->head;
    while (at < queue->tail) {
        slc_entry *entry = &queue->entries[at];
        if (entry->lsn >= shard->window_to)
            return true;
        // A segment never spans another one.
        uint32_t behind = slc_queue_segment_from(queue, entry->qseq);
        uint64_t limit = behind < queue->segment_tail ? queue->segments[behind]->first : UINT64_MAX;
        SLC_ASSERT(limit > entry->qseq);
        uint32_t from = slice->item_count;
        for (; at < queue->tail && slice->bytes < bytes_max; at++) {
            entry = &queue->entries[at];
            if (entry->lsn >= shard->window_to || entry->qseq >= limit)
                break;
            if ((entry->flags & ENTRY_DEAD) != 0)
                continue;
            item_push(slice, entry->qseq, entry->lsn);
            slice->bytes +=
                SLC_SLOT_BYTES +
                ((entry->flags & ENTRY_RESIDENT) != 0 ? SLC_SLOT_RESIDENT_BYTES : entry->bytes);
        }
        group_push(slice, queue->qid, from, false);
        if (slice->bytes >= bytes_max)
            return false;
    }
    return true;
}

// A message that was dropped by a record not in an ended batch yet must not be passed over: the record may be undone.
static bool queue_ready(const slc_shard *shard, const slc_squeue *queue)
{
    return queue->drop_newest <= slc_shard_job_end(shard) ||
           queue->drop_highest < queue->entries[queue->head].qseq;
}

static void window_take(slc_shard *shard, uint64_t bytes_max)
{
    for (uint32_t looked = 0; looked < SLICE_QUEUES_MAX; looked++) {
        if (shard->window_qid >= shard->next_qid) {
            if (shard->job.slice.item_count > 0)
                return; // what this job takes has to be committed before the window is done
            if (!shard->window_again) {
                shard->window_to = 0;
                return;
            }
            shard->window_again = false;
            shard->window_qid = 1;
            return;
        }
        slc_squeue *queue = slc_shard_queue(shard, shard->window_qid);
        if (queue != NULL && queue->live > 0 &&
            queue->entries[queue->head].lsn < shard->window_to) {
            if (!queue_ready(shard, queue)) {
                shard->window_again = true;
            } else if (!queue_take(shard, queue, bytes_max)) {
                return;
            }
        }
        shard->window_qid++;
    }
}

static bool merge_ready(const slc_shard *shard, const slc_segment *segment)
{
    return slc_segment_sparse(segment) && segment->drop_lsn <= slc_shard_job_end(shard);
}

// Neighbours of one queue, from where the last look ended. True: the look came to the queue's end.
static bool merge_take(slc_shard *shard, slc_squeue *queue, uint64_t bytes_max)
{
    slc_migration_slice *slice = &shard->job.slice;
    uint32_t from = slc_queue_segment_from(queue, queue->merge_qseq);
    uint32_t limit = queue->segment_tail - from < SLICE_SEGMENTS_MAX ? queue->segment_tail
                                                                     : from + SLICE_SEGMENTS_MAX;
    while (from < limit && slice->bytes < bytes_max) {
        uint32_t to = from;
        uint64_t run_bytes = 0;
        while (to < queue->segment_tail && merge_ready(shard, queue->segments[to]) &&
               slice->bytes + run_bytes < bytes_max) {
            run_bytes += queue->segments[to]->live_bytes +
                         (uint64_t)queue->segments[to]->live * SLC_SLOT_BYTES;
            to++;
        }
        if (to < from + 2) {
            from = to > from ? to : from + 1;
            continue;
        }
        const slc_entry *entry = slc_queue_entry_from(queue, queue->segments[from]->first);
        if (entry == NULL || entry->qseq > queue->segments[to - 1]->last) {
            uint32_t start = slice->item_count;
            for (uint32_t i = from; i < to; i++) {
                const slc_segment *segment = queue->segments[i];
                for (uint64_t qseq = segment->first; qseq <= segment->last; qseq++)
                    if (slc_segment_live(segment, qseq))
                        item_push(slice, qseq, segment->first);
            }
            group_push(slice, queue->qid, start, true);
            slice->bytes += run_bytes;
        }
        from = to;
    }
    bool through = from >= queue->segment_tail;
    queue->merge_qseq = through ? 0 : queue->segments[from]->first;
    return through;
}

// The next queue with many sparse segments; each gets one slice at a time.
static void merge_build(slc_shard *shard, uint64_t bytes_max)
{
    for (uint32_t looked = 0; looked < shard->next_qid; looked++) {
        if (++shard->merge_qid >= shard->next_qid)
            shard->merge_qid = 1;
        slc_squeue *queue = slc_shard_queue(shard, shard->merge_qid);
        if (queue == NULL || queue->sparse < STORE_SPARSE_MIN)
            continue;
        bool through = merge_take(shard, queue, bytes_max);
        if (!through || shard->job.slice.item_count > 0)
            return;
    }
    shard->merge_rests = true; // no two neighbours that are ready: look again after a change
}

void slc_shard_migrate_build(slc_shard *shard, bool idle)
{
    if (shard->window_to == 0 && shard->log_bytes > shard->store->options.log_bytes)
        window_open(shard);
    shard->job.slice.after_lsn = shard->handed_lsn;
    uint32_t bytes_max = slice_budget(shard, idle);
    // In turns: a log that is always over its budget must not keep sparse segments from being merged.
    bool merges = shard->sparse_queues > 0 && !shard->merge_rests && !slc_backup_holds(shard);
    shard->merge_turn = merges && (shard->window_to == 0 || !shard->merge_turn);
    if (shard->merge_turn)
        merge_build(shard, bytes_max);
    else if (shard->window_to != 0)
        window_take(shard, bytes_max);
}

/* ---- a slice is on disk ---- */

// What is left of a message that was taken when the slice was built.
typedef struct taken {
    bool live;
    uint64_t bytes;
    uint32_t slot; // of its resident; UINT32_MAX: none
} taken;

static taken log_take(slc_shard *shard, slc_squeue *queue, uint64_t qseq)
{
    taken t = {.slot = UINT32_MAX};
    slc_entry *entry = slc_queue_entry_find(queue, qseq);
    if (entry == NULL)
        return t;
    t.live = true;
    t.bytes = slc_shard_entry_bytes(shard, entry);
    if ((entry->flags & ENTRY_RESIDENT) != 0)
        t.slot = entry->bytes;
    slc_lsn *line = slc_shard_lsn(shard, entry->lsn);
    SLC_ASSERT(line->live > 0);
    line->live--;
    shard->store->stats.log_messages--;
    slc_queue_entry_kill(queue, entry);
    return t;
}

static taken segment_take(const slc_squeue *queue, uint64_t qseq)
{
    taken t = {.slot = UINT32_MAX};
    const slc_segment *segment = slc_queue_segment_find(queue, qseq);
    if (segment == NULL)
        return t;
    t.live = true;
    t.bytes = segment->live_bytes / segment->live;
    for (uint32_t i = 0; i < segment->resident_count; i++)
        if (segment->residents[i].qseq == qseq)
            t.slot = segment->residents[i].slot;
    return t;
}

// The segment that was made, with what is live of it now. Nothing is changed for a merge; out of the log it is taken.
static slc_segment segment_of(slc_shard *shard, slc_squeue *queue, const slc_slice_made *made)
{
    const slc_slice_item *items = shard->job.slice.items + made->from;
    slc_segment segment = {.first = items[0].qseq,
                           .last = items[made->count - 1].qseq,
                           .bytes = made->bytes,
                           .count = made->count};
    uint32_t resident_capacity = 0;
    uint64_t next = segment.first;
    for (uint32_t i = 0; i < made->count; i++) {
        for (; next < items[i].qseq; next++)
            slc_segment_mark(&segment, next);
        next++;
        taken t = made->merge ? segment_take(queue, items[i].qseq)
                              : log_take(shard, queue, items[i].qseq);
        if (!t.live) {
            slc_segment_mark(&segment, items[i].qseq);
            continue;
        }
        segment.live++;
        segment.live_bytes += t.bytes;
        if (t.slot != UINT32_MAX)
            *STORE_PUSH(segment.residents, segment.resident_count, resident_capacity) =
                (slc_segment_resident){.qseq = items[i].qseq, .slot = t.slot};
    }
    return segment;
}

static void made_enter(slc_shard *shard, slc_squeue *queue, slc_segment *segment, bool merge)
{
    if (merge)
        shard->store->stats.live_bytes += segment->live_bytes;
    // Drops since the slice was built: their records stand behind it.
    bool dropped = segment->live < segment->count;
    uint64_t since = shard->job.slice.after_lsn + 1;
    if (dropped)
        segment->drop_lsn = queue->drop_newest;
    if (segment->live == 0) {
        slc_shard_grave_add(
            shard, (slc_grave){queue->qid, segment->first, queue->drop_newest, since, false});
        slc_free(segment->dead);
        slc_free(segment->residents);
        return;
    }
    slc_segment *added = slc_shard_segment_add(shard, queue, segment);
    if (dropped)
        slc_shard_segment_dirty(shard, added, since);
}

// The segments that a merge replaced are gone from disk. One that died meanwhile waits in a grave, which must not hit the
// segment that stands under its key now.
static void merged_leave(slc_shard *shard, slc_squeue *queue, const slc_slice_made *made)
{
    const slc_slice_item *items = shard->job.slice.items + made->from;
    for (uint32_t i = 0; i < made->count; i++) {
        if (i > 0 && items[i].source == items[i - 1].source)
            continue;
        uint32_t at = slc_queue_segment_from(queue, items[i].source);
        if (at < queue->segment_tail && queue->segments[at]->first == items[i].source) {
            shard->store->stats.live_bytes -= queue->segments[at]->live_bytes;
            slc_shard_segment_free(shard, queue->segments[at]);
            continue;
        }
        for (uint32_t k = shard->grave_head; k < shard->grave_count; k++) {
            slc_grave *grave = &shard->graves[k];
            if (grave->qid == queue->qid && grave->first == items[i].source)
                *grave = shard->graves[--shard->grave_count];
        }
    }
}

static void queue_gone(slc_shard *shard, const slc_slice_made *made)
{
    // Its QDEL stands in a chunk handed over after this job, or open, and so do drops since the slice was built.
    slc_shard_grave_add(shard,
                        (slc_grave){made->qid, shard->job.slice.items[made->from].qseq,
                                    shard->next_lsn - 1, shard->job.slice.after_lsn + 1, true});
}

void slc_shard_migrate_done(slc_shard *shard)
{
    slc_migration_slice *slice = &shard->job.slice;
    slc_store_stats *stats = &shard->store->stats;
    for (uint32_t i = 0; i < slice->made_count;) {
        // All that was made of one queue in one go: a merge has to leave before its result can enter.
        uint32_t to = i + 1;
        while (to < slice->made_count && slice->made[to].qid == slice->made[i].qid)
            to++;
        slc_squeue *queue = slc_shard_queue(shard, slice->made[i].qid);
        slc_segment *segments = slc_alloc((to - i) * sizeof *segments);
        for (uint32_t k = i; queue != NULL && k < to; k++) {
            const slc_slice_made *made = &slice->made[k];
            segments[k - i] = segment_of(shard, queue, made);
            *(made->merge ? &stats->merged_messages : &stats->migrated_messages) += made->count;
        }
        for (uint32_t k = i; queue != NULL && k < to; k++)
            if (slice->made[k].merge)
                merged_leave(shard, queue, &slice->made[k]);
        for (uint32_t k = i; k < to; k++) {
            if (queue == NULL)
                queue_gone(shard, &slice->made[k]);
            else
                made_enter(shard, queue, &segments[k - i], slice->made[k].merge);
        }
        slc_free(segments);
        i = to;
    }
}
