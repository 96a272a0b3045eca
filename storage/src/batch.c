// The open batch of a shard: what was submitted and not yet handed to the store thread.
//
// Heads of records are encoded here, on the loop, into the chunk's `heads`; contents stay where they are and are copied
// once, by the store thread, straight into LMDB's page. A record's chunk number is final at once, so the index needs no
// second visit. Only a full disk renumbers (space.c).
#include <inttypes.h>

#include "store_impl.h"

enum { CHUNK_OPS_MAX = 4096, DROP_RANGES_MAX = 256 };

slc_chunk *slc_shard_pending(const slc_shard *shard, uint32_t index)
{
    return shard->pending[(shard->pending_head + index) & shard->pending_mask];
}

slc_chunk *slc_shard_pending_find(const slc_shard *shard, uint64_t lsn)
{
    if (shard->pending_count == 0)
        return NULL;
    uint64_t first = slc_shard_pending(shard, 0)->lsn;
    if (lsn < first)
        return NULL;
    uint32_t low = 0, high = shard->pending_count;
    if (lsn - first < high) {
        // Without runs of parts the position is the difference; with runs it is an upper bound.
        low = (uint32_t)(lsn - first);
        if (slc_shard_pending(shard, low)->lsn == lsn)
            return slc_shard_pending(shard, low);
        high = low;
        low = 0;
    }
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (slc_shard_pending(shard, middle)->lsn <= lsn)
            low = middle;
        else
            high = middle;
    }
    slc_chunk *chunk = slc_shard_pending(shard, low);
    return lsn < chunk->lsn + chunk->lsn_count ? chunk : NULL;
}

static uint32_t open_index(const slc_shard *shard)
{
    return shard->handed + (shard->handed_parts > 0);
}

uint64_t slc_shard_open_lsn(const slc_shard *shard)
{
    uint32_t index = open_index(shard);
    return index < shard->pending_count ? slc_shard_pending(shard, index)->lsn : shard->next_lsn;
}

bool slc_shard_has_open(const slc_shard *shard)
{
    return shard->pending_count > shard->handed || slc_shard_uploads_open(shard);
}

slc_chunk *slc_shard_tail(const slc_shard *shard)
{
    return shard->pending_count > open_index(shard)
               ? slc_shard_pending(shard, shard->pending_count - 1)
               : NULL;
}

static slc_chunk *chunk_alloc(slc_store *store)
{
    if (store->spare_count > 0)
        return store->spare[--store->spare_count];
    return slc_alloc_zero(1, sizeof(slc_chunk));
}

void slc_chunk_free(slc_store *store, slc_chunk *chunk)
{
    if (store->spare_count == STORE_POOL_CHUNKS) {
        slc_free(chunk->ops);
        slc_free(chunk->heads);
        slc_free(chunk);
        return;
    }
    slc_op *ops = chunk->ops;
    uint8_t *heads = chunk->heads;
    uint32_t op_capacity = chunk->op_capacity, heads_capacity = chunk->heads_capacity;
    *chunk = (slc_chunk){
        .ops = ops, .op_capacity = op_capacity, .heads = heads, .heads_capacity = heads_capacity};
    store->spare[store->spare_count++] = chunk;
}

void slc_shard_pending_push(slc_shard *shard, slc_chunk *chunk)
{
    if (shard->pending_count == shard->pending_mask + 1) {
        uint32_t capacity = (shard->pending_mask + 1) * 2;
        slc_chunk **grown = slc_alloc(capacity * sizeof(slc_chunk *));
        for (uint32_t i = 0; i < shard->pending_count; i++)
            grown[i] = slc_shard_pending(shard, i);
        slc_free(shard->pending);
        shard->pending = grown;
        shard->pending_head = 0;
        shard->pending_mask = capacity - 1;
    }
    shard->pending[(shard->pending_head + shard->pending_count++) & shard->pending_mask] = chunk;
}

slc_chunk *slc_shard_chunk_new(slc_shard *shard, uint32_t lsn_count)
{
    slc_chunk *before = slc_shard_tail(shard);
    if (shard->gluing && before != NULL)
        before->glued = true;
    slc_chunk *chunk = chunk_alloc(shard->store);
    chunk->lsn = slc_shard_lsn_push(shard, lsn_count);
    chunk->lsn_count = lsn_count;
    chunk->slot = UINT32_MAX;
    slc_shard_pending_push(shard, chunk);
    return chunk;
}

slc_chunk *slc_shard_chunk_room(slc_shard *shard, uint32_t bytes)
{
    slc_chunk *tail = slc_shard_tail(shard);
    if (tail == NULL || tail->run || tail->closed ||
        tail->body_bytes + bytes > SLC_CHUNK_BODY_MAX || tail->op_count == CHUNK_OPS_MAX)
        tail = slc_shard_chunk_new(shard, 1);
    return tail;
}

slc_op *slc_chunk_op_add(slc_chunk *chunk, slc_op_kind kind, uint32_t head_room)
{
    if (chunk->heads_bytes + head_room > chunk->heads_capacity) {
        uint32_t capacity = chunk->heads_capacity == 0 ? 4096 : chunk->heads_capacity * 2;
        while (capacity < chunk->heads_bytes + head_room)
            capacity *= 2;
        chunk->heads = slc_realloc(chunk->heads, capacity);
        chunk->heads_capacity = capacity;
    }
    slc_op *op = STORE_PUSH(chunk->ops, chunk->op_count, chunk->op_capacity);
    *op = (slc_op){.kind = (uint8_t)kind, .head_offset = chunk->heads_bytes};
    chunk->heads_bytes += head_room;
    chunk->live_ops++;
    return op;
}

slc_store_ticket slc_shard_ticket(slc_shard *shard)
{
    slc_store_ticket ticket = ++shard->last_ticket;
    slc_chunk *tail = slc_shard_tail(shard);
    if (tail != NULL)
        tail->last_ticket = ticket;
    return ticket;
}

void slc_shard_trim(slc_shard *shard)
{
    for (slc_chunk *tail; (tail = slc_shard_tail(shard)) != NULL;) {
        if (tail->run ? !tail->cancelled : tail->live_ops > 0)
            break;
        if (tail->lsn + tail->lsn_count < shard->next_lsn)
            break; // the numbers behind it are those of an upload's parts
        for (uint32_t i = 0; i < tail->lsn_count; i++)
            SLC_DASSERT(slc_shard_lsn(shard, tail->lsn + i)->live == 0);
        shard->next_lsn = tail->lsn;
        shard->pending_count--;
        slc_chunk_free(shard->store, tail);
        // Whatever comes next is not part of that batch.
        slc_chunk *last = slc_shard_tail(shard);
        if (last != NULL && !last->run)
            last->glued = false;
    }
}

/* ---- queues ---- */

static slc_op *queue_record(slc_shard *shard, slc_op_kind kind, uint32_t qid, const slc_uuid *uuid)
{
    slc_chunk *chunk = slc_shard_chunk_room(shard, SLC_QUEUE_RECORD_BYTES);
    slc_op *op = slc_chunk_op_add(chunk, kind, SLC_QUEUE_RECORD_BYTES);
    op->head_bytes =
        slc_queue_record_encode(chunk->heads + op->head_offset,
                                kind == OP_QNEW ? SLC_RECORD_QNEW : SLC_RECORD_QDEL, qid, uuid);
    // Not OP_ATOMIC: a queue without the messages that came with it does no harm, and while the disk is full its QDEL, which goes
    // ahead of what needs room, must not get in front of it.
    shard->gluing = shard->atomic;
    chunk->body_bytes += op->head_bytes;
    return op;
}

uint32_t slc_store_queue_new(slc_store *store, uint16_t shard_id, const slc_uuid *uuid,
                             slc_store_ticket *ticket)
{
    slc_shard *shard = slc_store_shard(store, shard_id);
    SLC_ASSERT(shard->next_qid < UINT32_MAX);
    uint32_t qid = shard->next_qid++;
    slc_shard_queue_add(shard, qid, uuid);
    queue_record(shard, OP_QNEW, qid, uuid);
    slc_store_ticket t = slc_shard_ticket(shard);
    if (ticket != NULL)
        *ticket = t;
    return qid;
}

slc_store_ticket slc_store_queue_del(slc_store *store, uint16_t shard_id, uint32_t qid)
{
    slc_shard *shard = slc_store_shard(store, shard_id);
    slc_squeue *queue = slc_shard_queue(shard, qid);
    slc_shard_uploads_place_queue(shard, queue);
    if (queue != NULL) {
        queue_record(shard, OP_QDEL, qid, &queue->uuid);
        slc_shard_queue_bury(shard, queue, slc_shard_tail(shard)->lsn);
    }
    return slc_shard_ticket(shard);
}

void slc_store_delivered(slc_store *store, uint16_t shard_id, uint32_t qid, uint64_t highest_qseq)
{
    slc_squeue *queue = slc_shard_queue(slc_store_shard(store, shard_id), qid);
    if (queue != NULL && queue->delivered < highest_qseq)
        queue->delivered = highest_qseq;
}

/* ---- messages ---- */

void slc_store_atomic_begin(slc_store *store, uint16_t shard_id)
{
    slc_shard *shard = slc_store_shard(store, shard_id);
    SLC_ASSERT(!shard->atomic);
    shard->atomic = true;
    shard->drop_epoch++;
}

void slc_store_atomic_end(slc_store *store, uint16_t shard_id)
{
    slc_shard *shard = slc_store_shard(store, shard_id);
    SLC_ASSERT(shard->atomic);
    shard->atomic = shard->gluing = false;
    shard->drop_epoch++;
}

static void entry_add(slc_shard *shard, const slc_store_target *target, uint64_t lsn,
                      uint32_t bytes, uint32_t record, uint8_t flags)
{
    slc_squeue *queue = slc_shard_queue(shard, target->qid);
    SLC_ASSERT(queue != NULL);
    SLC_ASSERT(target->qseq >= queue->next_qseq);
    slc_entry *entry = slc_queue_entry_add(queue, target->qseq);
    entry->lsn = lsn;
    entry->bytes = bytes;
    entry->record = (uint16_t)record;
    entry->flags = flags;
    queue->next_qseq = target->qseq + 1;
    if (queue->last_lsn != 0 && queue->last_lsn <= shard->handed_lsn)
        queue->disk_lsn = queue->last_lsn;
    queue->last_lsn = lsn;
    slc_shard_unsaved_touch(shard, queue);
}

static void enq_add(slc_shard *shard, const slc_store_content *content, uint64_t ts_ms,
                    uint8_t priority, const slc_store_target *targets, uint32_t count,
                    slc_chunk *run)
{
    uint32_t head_bytes =
        (run == NULL ? SLC_ENQ_HEAD_BYTES : SLC_ENQ_RESIDENT_HEAD_BYTES) + count * SLC_TARGET_BYTES;
    uint32_t data_bytes = run == NULL ? (uint32_t)content->bytes : 0;
    slc_chunk *chunk = slc_shard_chunk_room(shard, head_bytes + data_bytes);
    slc_op *op = slc_chunk_op_add(chunk, OP_ENQ, head_bytes);
    op->flags = shard->atomic ? OP_ATOMIC : 0;
    op->targets_live = count;
    op->run = run;
    op->data = run == NULL ? content->data : NULL;
    op->data_bytes = data_bytes;
    op->owner = run == NULL ? content->owner : NULL;
    op->head_bytes =
        slc_enq_encode(chunk->heads + op->head_offset, content->bytes, ts_ms, priority, targets,
                       count, run == NULL ? 0 : run->lsn, run == NULL ? 0 : run->lsn_count);
    SLC_DASSERT(op->head_bytes == head_bytes);
    chunk->body_bytes += head_bytes + data_bytes;
    if (run != NULL)
        run->live_ops++;
    uint32_t record = chunk->op_count - 1;
    for (uint32_t i = 0; i < count; i++)
        entry_add(shard, &targets[i], chunk->lsn, run == NULL ? data_bytes : run->slot, record,
                  run == NULL ? 0 : ENTRY_RESIDENT);
    slc_shard_lsn(shard, chunk->lsn)->live += count;
    slc_store_stats *stats = &shard->store->stats;
    stats->live_messages += count;
    stats->log_messages += count;
    stats->live_bytes += count * content->bytes;
}

static uint32_t parts_of(const slc_store_content *content)
{
    uint64_t parts = (content->bytes + SLC_PART_DATA_MAX - 1) / SLC_PART_DATA_MAX;
    SLC_ASSERT(parts <= UINT32_MAX);
    return parts == 0 ? 1 : (uint32_t)parts; // an empty content of a very wide fan-out
}

static void run_fill(slc_chunk *run, const slc_store_content *content)
{
    run->run = true;
    run->data = content->data;
    run->data_bytes = content->bytes;
    run->owner = content->owner;
}

slc_chunk *slc_shard_run_new(slc_shard *shard, const slc_store_content *content)
{
    slc_chunk *run = chunk_alloc(shard->store);
    run->lsn_count = parts_of(content);
    run->lsn = slc_shard_lsn_push(shard, run->lsn_count);
    run->slot = UINT32_MAX;
    run_fill(run, content);
    return run;
}

slc_chunk *slc_shard_run_enqueue(slc_shard *shard, slc_chunk *run, uint64_t ts_ms, uint8_t priority,
                                 const slc_store_target *targets, uint32_t count)
{
    slc_store_content content = {.data = run->data, .bytes = run->data_bytes};
    run->slot = slc_shard_resident_add(shard, run->lsn, run->lsn_count, run->data_bytes);
    shard->residents[run->slot].run = run;
    shard->residents[run->slot].refs = count;
    for (uint32_t done = 0; done < count;) {
        uint32_t some = count - done < STORE_FANOUT_MAX ? count - done : STORE_FANOUT_MAX;
        enq_add(shard, &content, ts_ms, priority, targets + done, some, run);
        done += some;
    }
    return slc_shard_tail(shard);
}

static void resident_append(slc_shard *shard, const slc_store_content *content, uint64_t ts_ms,
                            uint8_t priority, const slc_store_target *targets, uint32_t count)
{
    slc_chunk *run = slc_shard_chunk_new(shard, parts_of(content));
    run_fill(run, content);
    run->glued = true;
    shard->gluing = true;
    slc_shard_run_enqueue(shard, run, ts_ms, priority, targets, count);
}

slc_store_ticket slc_store_append(slc_store *store, uint16_t shard_id,
                                  const slc_store_content *content, uint64_t ts_ms,
                                  uint8_t priority, const slc_store_target *targets, uint32_t count)
{
    slc_shard *shard = slc_store_shard(store, shard_id);
    SLC_ASSERT(count > 0);
    if (slc_shard_upload_wanted(shard, content->bytes, count)) {
        slc_shard_upload_new(shard, content, ts_ms, priority, targets, count);
        return slc_shard_ticket(shard) | SLC_TICKET_LARGE;
    }
    // Positions ascend: what is uploaded to one of these queues comes first.
    for (uint32_t i = 0; shard->upload_waiting != NULL && i < count; i++)
        slc_shard_uploads_place_queue(shard, slc_shard_queue(shard, targets[i].qid));
    if (content->bytes <= STORE_INLINE_MAX && count <= STORE_FANOUT_MAX &&
        SLC_ENQ_HEAD_BYTES + count * SLC_TARGET_BYTES + content->bytes <= SLC_CHUNK_BODY_MAX)
        enq_add(shard, content, ts_ms, priority, targets, count, NULL);
    else
        resident_append(shard, content, ts_ms, priority, targets, count);
    shard->gluing = shard->atomic;
    return slc_shard_ticket(shard);
}

static void op_cancel(slc_shard *shard, slc_chunk *chunk, slc_op *op)
{
    op->flags |= OP_CANCELLED;
    chunk->live_ops--;
    chunk->body_bytes -= op->head_bytes + op->data_bytes;
    if (op->run == NULL)
        shard->store->options.release(op->owner, shard->store->options.arg);
    else
        op->run->live_ops--;
    op->owner = NULL;
    shard->store->stats.cancelled++;
}

static void target_void(slc_chunk *chunk, slc_op *op, uint32_t qid, uint64_t qseq)
{
    uint8_t *head = chunk->heads + op->head_offset;
    uint8_t *target = head + SLC_RECORD_HEAD_BYTES + slc_get16(head + 2);
    for (uint32_t count = slc_get16(head + 8); count > 0; count--, target += SLC_TARGET_BYTES) {
        if (slc_get32(target) == qid && slc_get64(target + 4) == qseq) {
            slc_put32(target, 0);
            return;
        }
    }
    SLC_ASSERT(!"a live message without its target");
}

slc_cancel slc_shard_cancel(slc_shard *shard, slc_squeue *queue, slc_entry *entry)
{
    slc_chunk *chunk = slc_shard_pending_find(shard, entry->lsn);
    slc_op *op = &chunk->ops[entry->record];
    slc_chunk *run = op->run;
    if (run != NULL) {
        if (run->handed || run->slot == UINT32_MAX)
            return CANCEL_NO;
        // Another target went by a DROP record: a record that will be written still names the run, so it has to stay.
        if (shard->residents[run->slot].refs == 1 && (op->targets_live > 1 || run->live_ops > 1))
            return CANCEL_NO;
    }
    slc_store_stats *stats = &shard->store->stats;
    stats->live_messages--;
    stats->log_messages--;
    stats->live_bytes -= slc_shard_entry_bytes(shard, entry);
    slc_shard_lsn(shard, entry->lsn)->live--;
    if (queue->last_lsn == entry->lsn && !queue->dying)
        slc_shard_unsaved_front(shard, queue);

    bool whole = --op->targets_live == 0;
    if (whole)
        op_cancel(shard, chunk, op);
    else
        target_void(chunk, op, queue->qid, entry->qseq);
    if (run != NULL) {
        whole = --shard->residents[run->slot].refs == 0;
        if (whole)
            slc_shard_resident_cancel(shard, run);
    }
    slc_queue_entry_kill(queue, entry);
    slc_shard_trim(shard);
    if (run != NULL && run->upload != NULL)
        slc_shard_uploads_settle(shard);
    return whole ? CANCEL_WHOLE : CANCEL_TARGET;
}

static void drop_range_set(uint8_t *head, uint32_t index, uint64_t qseq, uint32_t count)
{
    uint8_t *at = head + SLC_DROP_HEAD_BYTES + index * SLC_RANGE_BYTES;
    slc_put64(at, qseq);
    slc_put32(at + 8, count);
    slc_put16(head + 14, (uint16_t)(index + 1));
    slc_put32(head + 4, SLC_DROP_HEAD_BYTES + (index + 1) * SLC_RANGE_BYTES);
}

/** What a drop record has to know of the message that it ends. */
typedef struct drop_victim {
    uint64_t qseq;
    uint64_t lsn; // of its chunk; 0: it is in a segment
    uint32_t record;
} drop_victim;

// True when the queue's current DROP record took it.
static bool drop_extend(slc_shard *shard, slc_squeue *queue, const drop_victim *victim,
                        slc_drop_reason reason)
{
    slc_chunk *tail = slc_shard_tail(shard);
    if (tail == NULL || queue->drop_lsn != tail->lsn || queue->drop_epoch != shard->drop_epoch ||
        queue->drop_reason != reason)
        return false;
    // A replay goes from front to back: the drop has to stand behind its message.
    if (victim->lsn == tail->lsn && victim->record > queue->drop_op)
        return false;
    slc_op *op = &tail->ops[queue->drop_op];
    uint8_t *head = tail->heads + op->head_offset;
    uint32_t ranges = slc_get16(head + 14);
    uint8_t *last = head + SLC_DROP_HEAD_BYTES + (ranges - 1) * SLC_RANGE_BYTES;
    uint64_t start = slc_get64(last);
    uint32_t count = slc_get32(last + 8);
    if (victim->qseq == start + count && count < UINT32_MAX) {
        slc_put32(last + 8, count + 1);
    } else {
        if (ranges == op->ranges_max || tail->body_bytes + SLC_RANGE_BYTES > SLC_CHUNK_BODY_MAX)
            return false;
        drop_range_set(head, ranges, victim->qseq, 1);
        op->head_bytes += SLC_RANGE_BYTES;
        tail->body_bytes += SLC_RANGE_BYTES;
    }
    if (victim->lsn != 0 && victim->lsn < op->victim_first)
        op->victim_first = victim->lsn;
    if (victim->lsn > op->victim_last)
        op->victim_last = victim->lsn;
    return true;
}

static slc_op *drop_op_add(slc_shard *shard, slc_squeue *queue, slc_drop_reason reason,
                           uint32_t ranges_max, slc_chunk *chunk)
{
    slc_op *op =
        slc_chunk_op_add(chunk, OP_DROP, SLC_DROP_HEAD_BYTES + ranges_max * SLC_RANGE_BYTES);
    slc_drop_encode(chunk->heads + op->head_offset, queue->qid, (uint8_t)reason);
    op->flags = shard->atomic ? OP_ATOMIC : 0;
    op->ranges_max = (uint16_t)ranges_max;
    shard->gluing = shard->atomic;
    return op;
}

static void drop_record(slc_shard *shard, slc_squeue *queue, const drop_victim *victim,
                        slc_drop_reason reason)
{
    slc_chunk *chunk = slc_shard_chunk_room(shard, SLC_DROP_HEAD_BYTES + SLC_RANGE_BYTES);
    // A queue that filled a record in this chunk gets a longer one: few queues, few records.
    uint32_t ranges_max = 2;
    if (queue->drop_lsn == chunk->lsn && queue->drop_epoch == shard->drop_epoch) {
        ranges_max = chunk->ops[queue->drop_op].ranges_max * 4u;
        if (ranges_max > DROP_RANGES_MAX)
            ranges_max = DROP_RANGES_MAX;
    }
    slc_op *op = drop_op_add(shard, queue, reason, ranges_max, chunk);
    drop_range_set(chunk->heads + op->head_offset, 0, victim->qseq, 1);
    op->head_bytes = SLC_DROP_HEAD_BYTES + SLC_RANGE_BYTES;
    op->victim_first = victim->lsn != 0 ? victim->lsn : UINT64_MAX;
    op->victim_last = victim->lsn;
    chunk->body_bytes += op->head_bytes;
    queue->drop_lsn = chunk->lsn;
    queue->drop_op = chunk->op_count - 1;
    queue->drop_epoch = shard->drop_epoch;
    queue->drop_reason = (uint8_t)reason;
}

uint64_t slc_shard_range_record(slc_shard *shard, slc_squeue *queue, uint64_t first, uint64_t last,
                                slc_drop_reason reason)
{
    uint64_t ranges = (last - first) / UINT32_MAX + 1;
    SLC_ASSERT(ranges <= DROP_RANGES_MAX); // a trillion positions
    slc_chunk *chunk =
        slc_shard_chunk_room(shard, SLC_DROP_HEAD_BYTES + (uint32_t)ranges * SLC_RANGE_BYTES);
    slc_op *op = drop_op_add(shard, queue, reason, (uint32_t)ranges, chunk);
    for (uint32_t i = 0; i < ranges; i++) {
        uint64_t from = first + i * (uint64_t)UINT32_MAX, left = last - from + 1;
        drop_range_set(chunk->heads + op->head_offset, i, from,
                       left < UINT32_MAX ? (uint32_t)left : UINT32_MAX);
    }
    op->head_bytes = SLC_DROP_HEAD_BYTES + (uint32_t)ranges * SLC_RANGE_BYTES;
    op->victim_first = shard->log_first; // any chunk may hold one
    op->victim_last = chunk->lsn;
    chunk->body_bytes += op->head_bytes;
    return chunk->lsn;
}

slc_store_ticket slc_store_drop(slc_store *store, uint16_t shard_id, uint32_t qid, uint64_t qseq,
                                slc_drop_reason reason, bool *cancelled)
{
    slc_shard *shard = slc_store_shard(store, shard_id);
    if (cancelled != NULL)
        *cancelled = false;
    slc_squeue *queue = slc_shard_queue(shard, qid);
    slc_shard_uploads_place_message(shard, queue, qseq);
    slc_entry *entry = queue == NULL ? NULL : slc_queue_entry_find(queue, qseq);
    slc_segment *segment =
        queue == NULL || entry != NULL ? NULL : slc_queue_segment_find(queue, qseq);
    if (entry == NULL && segment == NULL)
        return slc_shard_ticket(shard);
    // Inside an atomic submission nothing is cancelled: the drop must not happen without the rest.
    if (entry != NULL && !shard->atomic && entry->lsn >= slc_shard_open_lsn(shard)) {
        slc_cancel how = slc_shard_cancel(shard, queue, entry);
        if (how != CANCEL_NO) {
            if (cancelled != NULL)
                *cancelled = how == CANCEL_WHOLE;
            return slc_shard_ticket(shard);
        }
    }
    drop_victim victim = {.qseq = qseq};
    if (entry != NULL) {
        victim.lsn = entry->lsn;
        victim.record = entry->record;
    }
    if (!drop_extend(shard, queue, &victim, reason))
        drop_record(shard, queue, &victim, reason);
    uint64_t lsn = slc_shard_tail(shard)->lsn;
    slc_shard_queue_dropped(shard, queue, qseq, lsn);
    if (entry != NULL)
        slc_shard_entry_drop(shard, queue, entry, lsn);
    else
        slc_shard_segment_drop(shard, segment, qseq, lsn);
    return slc_shard_ticket(shard);
}
