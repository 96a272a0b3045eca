// A full disk (or map): what drops goes on, what appends waits in memory and is tried again.
//
// The job that found no room comes back whole. Everything pending is renumbered: first the records that free space and
// need almost none (drops of messages that are on disk, queue records), as a batch of their own; then the rest in its old
// order. This is the one place where chunk numbers change, and only of chunks that never were in a finished batch on disk.
#include "store_impl.h"

static slc_squeue *queue_any(const slc_shard *shard, uint32_t qid)
{
    slc_squeue *queue = slc_shard_queue(shard, qid);
    if (queue == NULL)
        for (queue = shard->dying_first; queue != NULL && queue->qid != qid;)
            queue = queue->next;
    return queue;
}

static uint8_t *op_head(const slc_chunk *chunk, const slc_op *op)
{
    return chunk->heads + op->head_offset;
}

static slc_record enq_parse(const slc_chunk *chunk, const slc_op *op)
{
    const uint8_t *head = op_head(chunk, op);
    return (slc_record){.type = SLC_RECORD_ENQ,
                        .enq = {.targets = slc_get16(head + 8),
                                .target_data = head + SLC_RECORD_HEAD_BYTES + slc_get16(head + 2)}};
}

static void pending_first_set(slc_shard *shard, slc_chunk *chunk, bool clear)
{
    for (uint32_t i = 0; i < chunk->op_count; i++) {
        const slc_op *op = &chunk->ops[i];
        if (op->kind != OP_ENQ || (op->flags & OP_CANCELLED) != 0)
            continue;
        slc_record record = enq_parse(chunk, op);
        for (uint32_t k = 0; k < record.enq.targets; k++) {
            slc_store_target target = slc_record_target(&record, k);
            slc_squeue *queue = target.qid == 0 ? NULL : queue_any(shard, target.qid);
            if (queue != NULL && (clear || queue->pending_first == 0))
                queue->pending_first = clear ? 0 : target.qseq;
        }
    }
}

static void op_leave(slc_chunk *chunk, slc_op *op)
{
    op->flags |= OP_CANCELLED;
    chunk->live_ops--;
    chunk->body_bytes -= op->head_bytes;
}

static slc_op *op_copy(slc_shard *shard, const slc_chunk *from, const slc_op *op)
{
    slc_chunk *chunk = slc_shard_chunk_room(shard, op->head_bytes);
    slc_op *copy = slc_chunk_op_add(chunk, (slc_op_kind)op->kind, op->head_bytes);
    memcpy(op_head(chunk, copy), op_head(from, op), op->head_bytes);
    copy->head_bytes = op->head_bytes;
    copy->ranges_max = op->ranges_max;
    copy->victim_first = op->victim_first;
    copy->victim_last = op->victim_last;
    chunk->body_bytes += op->head_bytes;
    return copy;
}

// Drops of messages that are themselves pending have to stay behind them; the others go first.
static void drop_split(slc_shard *shard, slc_chunk *chunk, slc_op *op)
{
    uint8_t *head = op_head(chunk, op);
    slc_squeue *queue = queue_any(shard, slc_get32(head + 8));
    uint64_t first = queue == NULL || queue->pending_first == 0 ? UINT64_MAX : queue->pending_first;
    uint32_t ranges = slc_get16(head + 14), stay = 0, go = 0;
    uint8_t *at = head + SLC_DROP_HEAD_BYTES;
    for (uint32_t i = 0; i < ranges; i++) {
        uint64_t start = slc_get64(at + i * SLC_RANGE_BYTES);
        stay += start + slc_get32(at + i * SLC_RANGE_BYTES + 8) > first;
        go += start < first;
    }
    if (go == 0)
        return;
    if (stay == 0) {
        op_copy(shard, chunk, op);
        op_leave(chunk, op);
        return;
    }
    // Both kinds in one record: copy it, then cut each side down to its ranges.
    slc_op *copy = op_copy(shard, chunk, op);
    slc_chunk *copy_chunk = slc_shard_tail(shard);
    uint8_t *copy_head = op_head(copy_chunk, copy);
    uint32_t going = 0, staying = 0;
    for (uint32_t i = 0; i < ranges; i++) {
        uint64_t start = slc_get64(at + i * SLC_RANGE_BYTES);
        uint64_t end = start + slc_get32(at + i * SLC_RANGE_BYTES + 8);
        if (start < first) {
            uint8_t *out = copy_head + SLC_DROP_HEAD_BYTES + going++ * SLC_RANGE_BYTES;
            slc_put64(out, start);
            slc_put32(out + 8, (uint32_t)((end < first ? end : first) - start));
        }
        if (end > first) {
            uint64_t from = start > first ? start : first;
            uint8_t *out = at + staying++ * SLC_RANGE_BYTES;
            slc_put64(out, from);
            slc_put32(out + 8, (uint32_t)(end - from));
        }
    }
    slc_chunk *const chunks[] = {copy_chunk, chunk};
    slc_op *const ops[] = {copy, op};
    const uint32_t counts[] = {going, staying};
    for (uint32_t i = 0; i < 2; i++) {
        uint32_t bytes = SLC_DROP_HEAD_BYTES + counts[i] * SLC_RANGE_BYTES;
        uint8_t *h = op_head(chunks[i], ops[i]);
        slc_put32(h + 4, bytes);
        slc_put16(h + 14, (uint16_t)counts[i]);
        chunks[i]->body_bytes -= ops[i]->head_bytes - bytes;
        ops[i]->head_bytes = bytes;
    }
}

static void chunk_go_first(slc_shard *shard, slc_chunk *chunk)
{
    for (uint32_t i = 0; i < chunk->op_count; i++) {
        slc_op *op = &chunk->ops[i];
        if ((op->flags & (OP_CANCELLED | OP_ATOMIC)) != 0)
            continue;
        if (op->kind == OP_DROP) {
            drop_split(shard, chunk, op);
        } else if (op->kind == OP_QNEW || op->kind == OP_QDEL) {
            op_copy(shard, chunk, op);
            op_leave(chunk, op);
        }
    }
}

static void run_renumber(slc_shard *shard, slc_chunk *run)
{
    if (run->slot != UINT32_MAX)
        shard->residents[run->slot].first_lsn = run->lsn;
    else // dropped while it was handed over; drops_renumber settles from when
        *STORE_PUSH(shard->frees, shard->free_count, shard->free_capacity) =
            (slc_freed){.first = run->lsn, .count = run->lsn_count, .drop_lsn = run->lsn};
}

static void chunk_renumber(slc_shard *shard, slc_chunk *chunk)
{
    slc_lsn *line = slc_shard_lsn(shard, chunk->lsn);
    for (uint32_t i = 0; i < chunk->op_count; i++) {
        slc_op *op = &chunk->ops[i];
        if (op->kind != OP_ENQ || (op->flags & OP_CANCELLED) != 0)
            continue;
        if (op->run != NULL)
            slc_put64(op_head(chunk, op) + SLC_RECORD_HEAD_BYTES + 24, op->run->lsn);
        if (op->run != NULL && op->run->upload != NULL)
            op->run->upload->enq_lsn = chunk->lsn;
        slc_record record = enq_parse(chunk, op);
        for (uint32_t k = 0; k < record.enq.targets; k++) {
            slc_store_target target = slc_record_target(&record, k);
            slc_squeue *queue = target.qid == 0 ? NULL : queue_any(shard, target.qid);
            slc_entry *entry = queue == NULL ? NULL : slc_queue_entry_find(queue, target.qseq);
            if (entry != NULL) {
                entry->lsn = chunk->lsn;
                line->live++;
            }
        }
    }
}

static void queues_forget_lsns(slc_shard *shard, uint64_t base)
{
    for (uint32_t p = 0; p < shard->queue_page_count; p++) {
        for (uint32_t i = 0; shard->queue_pages[p] != NULL && i < STORE_QUEUE_PAGE; i++) {
            slc_squeue *queue = shard->queue_pages[p][i];
            if (queue == NULL)
                continue;
            if (queue->disk_lsn >= base)
                queue->disk_lsn = 0;
            if (queue->drop_newest >= base)
                queue->drop_newest = shard->next_lsn - 1;
            if (queue->last_lsn >= base)
                slc_shard_unsaved_front(shard, queue);
        }
    }
}

// Freed parts that were never written come again from their runs.
static void frees_forget(slc_shard *shard, uint64_t base)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < shard->free_count; i++)
        if (shard->frees[i].first < base)
            shard->frees[kept++] = shard->frees[i];
    shard->free_count = kept;
}

// Records with drops moved: to the front or to the back. What must not be too late is taken as base, what must not be too
// early as last.
static void segments_renumber(slc_shard *shard, uint64_t base, uint64_t last)
{
    for (slc_segment *segment = shard->dirty_first; segment != NULL; segment = segment->next) {
        if (segment->dirty_lsn >= base)
            segment->dirty_lsn = base;
        if (segment->drop_lsn >= base)
            segment->drop_lsn = last;
    }
    for (uint32_t i = shard->grave_head; i < shard->grave_count; i++) {
        slc_grave *grave = &shard->graves[i];
        if (grave->drop_lsn >= base)
            grave->drop_lsn = last;
        if (grave->pin_lsn >= base && grave->pin_lsn != UINT64_MAX)
            grave->pin_lsn = base;
    }
    for (slc_squeue *queue = shard->dying_first; queue != NULL; queue = queue->next)
        if (queue->purge_pin >= base && queue->purge_pin != UINT64_MAX)
            queue->purge_pin = base;
    for (slc_purge *purge = shard->purge_first; purge != NULL; purge = purge->next) {
        if (purge->drop_lsn >= base)
            purge->drop_lsn = last;
        if (purge->pin_lsn >= base)
            purge->pin_lsn = base;
    }
}

// What was dropped by a record that is pending waits for the new number of that record.
static void drops_renumber(slc_shard *shard, uint64_t base, uint64_t drops_lsn)
{
    uint64_t last = shard->next_lsn - 1;
    uint64_t others = drops_lsn;
    for (uint32_t i = shard->drops_first; i < shard->pending_count; i++) {
        const slc_chunk *chunk = slc_shard_pending(shard, i);
        for (uint32_t k = 0; k < chunk->op_count; k++)
            if (chunk->ops[k].kind == OP_QDEL && (chunk->ops[k].flags & OP_CANCELLED) == 0)
                others = last; // an atomic one: what it freed is not told apart
    }
    for (uint64_t lsn = shard->log_first; lsn < shard->next_lsn; lsn++) {
        slc_lsn *line = slc_shard_lsn(shard, lsn);
        if (lsn >= base)
            line->drop_lsn = last;
        else if (line->drop_lsn >= base)
            line->drop_lsn = others;
    }
    for (uint32_t i = 0; i < shard->resident_count; i++)
        if (shard->residents[i].drop_lsn >= base)
            shard->residents[i].drop_lsn = last;
    for (uint32_t i = 0; i < shard->free_count; i++)
        if (shard->frees[i].drop_lsn >= base)
            shard->frees[i].drop_lsn = last;
    segments_renumber(shard, base, last);
    for (slc_squeue *queue = shard->dying_first; queue != NULL; queue = queue->next)
        if (queue->del_lsn >= base)
            queue->del_lsn = others;
    for (uint32_t i = shard->drops_first; i < shard->pending_count; i++) {
        const slc_chunk *chunk = slc_shard_pending(shard, i);
        for (uint32_t k = 0; k < chunk->op_count; k++) {
            const slc_op *op = &chunk->ops[k];
            if (op->kind != OP_DROP || (op->flags & OP_CANCELLED) != 0)
                continue;
            uint64_t lsn =
                op->victim_first > shard->log_first ? op->victim_first : shard->log_first;
            for (; lsn <= op->victim_last && lsn < base; lsn++)
                slc_shard_lsn(shard, lsn)->drop_lsn = last;
        }
    }
}

static void shard_renumber(slc_shard *shard)
{
    uint64_t base = shard->ended_lsn + 1;
    uint32_t count = shard->pending_count;
    slc_chunk **old = slc_alloc((count + 1) * sizeof(slc_chunk *));
    for (uint32_t i = 0; i < count; i++) {
        old[i] = slc_shard_pending(shard, i);
        pending_first_set(shard, old[i], false);
    }
    slc_shard_chores_undo(shard);
    frees_forget(shard, base);
    if (shard->unended) {
        shard->truncate_from = base; // of a batch that has no end yet
        shard->unended = false;
    }
    uint64_t uploads_end = slc_shard_uploads_undo(shard, shard->truncate_from);
    for (uint64_t lsn = base; lsn < shard->next_lsn; lsn++)
        shard->log_bytes -= slc_shard_lsn(shard, lsn)->bytes;

    shard->pending_count = shard->handed = shard->handed_parts = 0;
    shard->handed_lsn = shard->handed_chunk = base - 1;
    shard->in_batch = shard->gluing = false;
    shard->next_lsn = base;
    if (uploads_end > base)
        slc_shard_lsn_push(shard, (uint32_t)(uploads_end - base));
    shard->drop_epoch++;
    for (uint32_t i = 0; i < count; i++)
        chunk_go_first(shard, old[i]);
    shard->drops_first = shard->pending_count;
    if (shard->drops_first > 0)
        slc_shard_tail(shard)->closed = true;
    uint64_t drops_lsn = shard->next_lsn - 1;

    for (uint32_t i = 0; i < count; i++)
        pending_first_set(shard, old[i], true);
    slc_chunk *before = NULL;
    for (uint32_t i = 0; i < count; i++) {
        slc_chunk *chunk = old[i];
        if (chunk->run ? chunk->cancelled : chunk->live_ops == 0) {
            if (before != NULL && !before->run)
                before->glued = before->glued && chunk->glued;
            slc_chunk_free(shard->store, chunk);
            continue;
        }
        chunk->handed = false;
        chunk->lsn = slc_shard_lsn_push(shard, chunk->lsn_count);
        slc_shard_pending_push(shard, chunk);
        if (chunk->run)
            run_renumber(shard, chunk);
        else
            chunk_renumber(shard, chunk);
        before = chunk;
    }
    slc_free(old);
    for (const slc_upload *upload = shard->upload_first; upload != NULL; upload = upload->next)
        if (upload->placed && upload->run->slot == UINT32_MAX && upload->run->lsn >= base)
            run_renumber(shard, upload->run);

    drops_renumber(shard, base, drops_lsn);
    queues_forget_lsns(shard, base);
}

static void timer_retry(slc_store *store)
{
    if (!uv_is_active((uv_handle_t *)&store->timer))
        uv_timer_start(&store->timer, slc_store_timer, STORE_RETRY_MS, 0);
}

void slc_store_space_out(slc_store *store)
{
    bool first = !store->blocked, drops = false;
    store->blocked = true;
    for (uint32_t i = 0; i < store->shard_count; i++) {
        slc_shard *shard = store->shards[i];
        SLC_ASSERT(!shard->atomic);
        shard_renumber(shard);
        drops = drops || shard->drops_first > 0;
    }
    slc_error error = store->job.error;
    // The job that failed was not the drops alone: those may go at once, with the ballast's pages.
    if (drops && !store->job.drops_only)
        slc_store_handover(store, true);
    else
        timer_retry(store);
    if (first)
        store->options.space(true, &error, store->options.arg);
}

void slc_store_space_retry(slc_store *store)
{
    bool atomic = false;
    for (uint32_t i = 0; i < store->shard_count; i++)
        atomic = atomic || store->shards[i]->atomic;
    if (!atomic) {
        for (uint32_t i = 0; i < store->shard_count; i++) {
            slc_shard *shard = store->shards[i];
            slc_shard_sweep(shard);
            slc_shard_chores_reset(shard);
            shard_renumber(shard);
        }
        if (slc_store_handover(store, true))
            return;
        // Nothing to write at all: see whether the reserve fits again.
        store->job.drops_only = false;
        store->job.restore_ballast = true;
        store->job.mark_clean = store->job.stop = store->job.sync_only = false;
        slc_store_job_give(store);
        return;
    }
    timer_retry(store);
}
