// Housekeeping in a job: what leaves the disk, and what has to be written before it may.
//
// Chunks leave the log from the front when nothing in them is live. Before a chunk goes, what only it tells goes elsewhere:
// the highest position of a queue into its entry, the drops of a segment into its directory record.
#include "store_impl.h"

void slc_shard_chores_reset(slc_shard *shard)
{
    slc_shard_job *job = &shard->job;
    job->save_count = job->free_count = job->mark_count = job->mark_used = job->grave_count = 0;
    job->slice.item_count = job->slice.group_count = job->slice.made_count = 0;
    job->slice.bytes = 0;
    job->delete_from = job->delete_to = 0;
}

bool slc_shard_chores_any(const slc_shard *shard)
{
    const slc_shard_job *job = &shard->job;
    return job->save_count > 0 || job->free_count > 0 || job->mark_count > 0 ||
           job->grave_count > 0 || job->slice.item_count > 0 || job->delete_to > job->delete_from;
}

static void job_save(slc_shard *shard, slc_squeue *queue)
{
    *STORE_PUSH(shard->job.saves, shard->job.save_count, shard->job.save_capacity) = (slc_job_save){
        .qid = queue->qid,
        .value = {.uuid = queue->uuid,
                  .next_qseq = queue->next_qseq,
                  .delivered = queue->delivered},
    };
    queue->saved_qseq = queue->next_qseq;
    queue->saved_delivered = queue->delivered;
    slc_shard_unsaved_remove(shard, queue);
}

// A queue's next_qseq is known after a restart from .que and from the messages in the log. Chunks may go only when the
// queues whose newest message goes with them have it in .que. Returns the chunk number that deletion may go up to.
static uint64_t job_save_queues(slc_shard *shard, uint64_t delete_to, uint64_t end_lsn)
{
    slc_shard_job *job = &shard->job;
    slc_squeue *queue;
    while ((queue = shard->unsaved_first) != NULL && queue->last_lsn < delete_to) {
        if (job->save_count == STORE_DELETE_MAX)
            return queue->last_lsn; // 0 when not even that is known
        job_save(shard, queue);
    }
    // The newest message of these is still open: what is on disk of them counts.
    for (queue = shard->unsaved_last; queue != NULL && queue->last_lsn > end_lsn;) {
        slc_squeue *before = queue->prev;
        if (queue->disk_lsn < delete_to) {
            if (job->save_count == STORE_DELETE_MAX)
                return 0;
            job_save(shard, queue);
        }
        queue = before;
    }
    return delete_to;
}

// Chunks with drops that end whole segments stay until those are deleted.
static uint64_t pinned_below(const slc_shard *shard, uint64_t to)
{
    uint64_t end_lsn = slc_shard_job_end(shard);
    for (uint32_t i = shard->grave_head + shard->job.grave_count; i < shard->grave_count; i++) {
        const slc_grave *grave = &shard->graves[i];
        if (grave->pin_lsn < to && (!grave->queue_deleted || grave->drop_lsn > end_lsn))
            to = grave->pin_lsn;
    }
    for (const slc_squeue *queue = shard->dying_first; queue != NULL; queue = queue->next)
        if (queue->purge_pin < to && queue->del_lsn > end_lsn)
            to = queue->purge_pin;
    for (const slc_purge *purge = shard->purge_first; purge != NULL; purge = purge->next)
        if (purge->queue != NULL && purge->pin_lsn < to)
            to = purge->pin_lsn;
    return slc_backup_pinned_below(shard, to);
}

// The drops of a segment stand in the log until its directory record has them. A record must not have one that is not in
// an ended batch: it might be undone by a crash. Returns the chunk number that deletion may go up to.
static uint64_t job_mark_segments(slc_shard *shard, uint64_t to, uint64_t end_lsn)
{
    slc_shard_job *job = &shard->job;
    slc_segment *segment;
    while ((segment = shard->dirty_first) != NULL && segment->dirty_lsn < to) {
        if (job->mark_count == STORE_DELETE_MAX || segment->drop_lsn > end_lsn)
            return segment->dirty_lsn;
        if (job->mark_used + SLC_DIRECTORY_MAX > job->mark_room) {
            job->mark_room = job->mark_room * 2 + SLC_DIRECTORY_MAX;
            job->mark_bytes = slc_realloc(job->mark_bytes, job->mark_room);
        }
        uint32_t bytes = slc_shard_segment_record(shard, segment, job->mark_bytes + job->mark_used);
        *STORE_PUSH(job->marks, job->mark_count, job->mark_capacity) =
            (slc_job_mark){.qid = segment->queue->qid,
                           .first = segment->first,
                           .dirty_lsn = segment->dirty_lsn,
                           .offset = job->mark_used,
                           .bytes = bytes};
        job->mark_used += bytes;
        slc_shard_segment_clean(shard, segment);
    }
    return to;
}

// Dead chunks that are left where they are while there is other work. A queue whose newest message was in one has to be saved
// before it goes: when the messages go round thousands of queues, most have a newer one by then.
static uint64_t delete_min(const slc_shard *shard)
{
    uint64_t share = shard->store->options.log_bytes / STORE_DELETE_SHARE / SLC_CHUNK_VALUE_MAX;
    return share > STORE_DELETE_MIN ? share : STORE_DELETE_MIN;
}

static void job_delete_front(slc_shard *shard, bool idle)
{
    slc_shard_job *job = &shard->job;
    uint64_t end_lsn = slc_shard_job_end(shard);
    while (shard->dead_to <= shard->ended_lsn && slc_shard_lsn(shard, shard->dead_to)->live == 0)
        shard->dead_to++;
    uint64_t waiting = shard->dead_to - shard->log_first;
    if (waiting == 0 || (waiting < delete_min(shard) && !idle && !shard->store->blocked))
        return;
    uint64_t to = shard->log_first;
    while (to < shard->dead_to && to - shard->log_first < STORE_DELETE_MAX &&
           slc_shard_lsn(shard, to)->drop_lsn <= end_lsn)
        to++;
    if (to > shard->log_first)
        to = pinned_below(shard, to);
    if (to > shard->log_first)
        to = job_save_queues(shard, to, end_lsn);
    if (to > shard->log_first)
        to = job_mark_segments(shard, to, end_lsn);
    if (to > shard->log_first) {
        job->delete_from = shard->log_first;
        job->delete_to = to;
    }
}

// Parts of large contents that nobody has any more.
static void job_free_parts(slc_shard *shard)
{
    slc_shard_job *job = &shard->job;
    uint64_t end_lsn = slc_shard_job_end(shard);
    uint32_t budget = STORE_DELETE_MAX, kept = 0;
    for (uint32_t i = 0; i < shard->free_count; i++) {
        slc_freed freed = shard->frees[i];
        bool ready = freed.first + freed.count - 1 <= shard->ended_lsn && freed.drop_lsn <= end_lsn;
        uint32_t now = !ready ? 0 : freed.count < budget ? freed.count : budget;
        if (now > 0) {
            *STORE_PUSH(job->frees, job->free_count, job->free_capacity) =
                (slc_freed){.first = freed.first, .count = now, .drop_lsn = freed.drop_lsn};
            budget -= now;
            freed.first += now;
            freed.count -= now;
        }
        if (freed.count > 0)
            shard->frees[kept++] = freed;
    }
    shard->free_count = kept;
}

static void job_dig_graves(slc_shard *shard)
{
    slc_shard_job *job = &shard->job;
    uint64_t end_lsn = slc_shard_job_end(shard);
    for (uint32_t i = shard->grave_head;
         i < shard->grave_count && job->grave_count < STORE_DELETE_MAX; i++) {
        if (shard->graves[i].drop_lsn > end_lsn)
            break;
        *STORE_PUSH(job->graves, job->grave_count, job->grave_capacity) = shard->graves[i];
    }
}

void slc_shard_chores_build(slc_shard *shard, bool idle)
{
    job_dig_graves(shard);
    job_free_parts(shard);
    job_delete_front(shard, idle);
}

bool slc_shard_has_chores(const slc_shard *shard)
{
    if (slc_shard_sweeps(shard) || shard->free_count > 0 ||
        shard->grave_head < shard->grave_count || shard->dead_to > shard->log_first ||
        slc_shard_migrates(shard))
        return true;
    return shard->log_first <= shard->ended_lsn &&
           slc_shard_lsn(shard, shard->log_first)->live == 0;
}

void slc_shard_chores_done(slc_shard *shard)
{
    slc_shard_job *job = &shard->job;
    shard->grave_head += job->grave_count;
    for (uint64_t lsn = job->delete_from; lsn < job->delete_to; lsn++)
        shard->log_bytes -= slc_shard_lsn(shard, lsn)->bytes;
    if (job->delete_to != 0) {
        shard->log_first = job->delete_to;
        if (shard->dead_to < shard->log_first)
            shard->dead_to = shard->log_first;
    }
}

static void mark_undo(slc_shard *shard, const slc_job_mark *mark)
{
    slc_squeue *queue = slc_shard_queue(shard, mark->qid);
    uint32_t at = queue == NULL ? 0 : slc_queue_segment_from(queue, mark->first);
    if (queue != NULL && at < queue->segment_tail && queue->segments[at]->first == mark->first) {
        slc_shard_segment_dirty(shard, queue->segments[at], mark->dirty_lsn);
        return;
    }
    // It died meanwhile.
    for (uint32_t i = shard->grave_head; i < shard->grave_count; i++) {
        slc_grave *grave = &shard->graves[i];
        if (grave->qid == mark->qid && grave->first == mark->first &&
            grave->pin_lsn > mark->dirty_lsn)
            grave->pin_lsn = mark->dirty_lsn;
    }
}

void slc_shard_chores_undo(slc_shard *shard)
{
    slc_shard_job *job = &shard->job;
    for (uint32_t i = 0; i < job->save_count; i++) {
        slc_squeue *queue = slc_shard_queue(shard, job->saves[i].qid);
        if (queue != NULL) {
            queue->saved_qseq = 0;
            slc_shard_unsaved_front(shard, queue);
        }
    }
    for (uint32_t i = 0; i < job->free_count; i++)
        *STORE_PUSH(shard->frees, shard->free_count, shard->free_capacity) = job->frees[i];
    for (uint32_t i = 0; i < job->mark_count; i++)
        mark_undo(shard, &job->marks[i]);
    if (job->slice.item_count > 0)
        shard->window_again = true;
    slc_shard_chores_reset(shard);
}
