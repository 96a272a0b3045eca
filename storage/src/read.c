// Reading messages of a queue forward from a position. The loop plans which pieces hold them: segments, chunks of the log, and
// what is not on disk yet; a pool thread copies them out of LMDB in short read transactions; the loop looks again before
// the callback, since messages may have been dropped or moved meanwhile.
//
//      planned ──pool──> copied ──> answered
//         ^                 │ a piece was not where it stood: it was migrated, merged or dropped
//         └─────────────────┘ (when nothing was copied in front of it)
#include <stdlib.h>

#include "store_impl.h"

enum { READ_COUNT_MAX = 4096, READ_PLANS_MAX = 64, READ_AHEAD_PARTS = 64, READ_AHEAD_PIECES = 32 };

typedef enum read_piece_kind { PIECE_PENDING, PIECE_CHUNK, PIECE_SEGMENT } read_piece_kind;

typedef struct read_piece {
    read_piece_kind kind;
    uint64_t qseq;   // of the message; of a segment the first position wanted
    uint64_t source; // LSN of the chunk, or first position of the segment
    uint64_t last;   // of a segment; a merge may have put a longer one under its key since
    uint8_t *dead;   // copy of the segment's bits, first to last; NULL: none is dropped
    uint32_t copied; // PIECE_PENDING: index of the message, which is copied already
} read_piece;

typedef struct read_message {
    uint64_t qseq, ts_ms, expires_ms;
    size_t offset, bytes; // of the content in the buffer
    uint8_t priority;
} read_message;

typedef struct read_request {
    uv_work_t work;
    slc_store *store;
    slc_shard *shard;
    uint32_t qid;
    uint64_t from_qseq;
    uint32_t count_max, plans;
    uint64_t bytes_max;
    slc_store_read_cb cb;
    void *arg;

    read_piece *pieces;
    uint32_t piece_count, piece_capacity;
    read_message *pending; // those not on disk, copied when planned
    uint32_t pending_count, pending_capacity;
    read_message *messages;
    uint32_t count, capacity;
    uint8_t *buffer;
    size_t buffer_bytes, buffer_room;
    uint64_t taken_bytes; // of the messages
    bool moved;           // a piece was not found where it should be
    bool full;            // the next message did not fit: none behind it may be taken
    slc_err rc;
    slc_error error;

    // the pool thread's
    MDB_txn *txn;
    uint32_t values;
    uint64_t since_ns, longest_ns; // of its transactions
    uint64_t chunk_lsn;            // the chunk whose checksum was verified in this transaction
    slc_slice chunk_body;
} read_request;

/* ---- pool: copying ---- */

static slc_err buffer_add(read_request *q, uint64_t bytes, size_t *offset)
{
    if (q->buffer_room - q->buffer_bytes < bytes) {
        size_t room = q->buffer_room * 2 + bytes + 4096;
        uint8_t *grown = room < bytes ? NULL : realloc(q->buffer, room);
        if (grown == NULL)
            return slc_error_set(&q->error, SLC_ENOMEM, "reading %" PRIu64 " bytes of messages",
                                 q->buffer_bytes + bytes);
        q->buffer = grown;
        q->buffer_room = room;
    }
    *offset = q->buffer_bytes;
    q->buffer_bytes += bytes;
    return SLC_OK;
}

static bool request_full(const read_request *q, uint64_t bytes)
{
    return q->count == q->count_max || (q->count > 0 && q->taken_bytes + bytes > q->bytes_max);
}

static void txn_age(read_request *q)
{
    // Their number is what is asserted: how long the machine takes for it is a figure.
    SLC_DASSERT(q->values <= STORE_READ_VALUES);
    uint64_t age = slc_clock_now_ns() - q->since_ns;
    if (age > q->longest_ns)
        q->longest_ns = age;
}

static slc_err txn_fresh(read_request *q)
{
    if (q->txn != NULL && q->values < STORE_READ_VALUES &&
        slc_clock_now_ns() - q->since_ns < STORE_READ_NS)
        return SLC_OK;
    int code = 0;
    if (q->txn != NULL) {
        txn_age(q);
        mdb_txn_reset(q->txn);
        code = mdb_txn_renew(q->txn);
    } else {
        code = mdb_txn_begin(q->store->env, NULL, MDB_RDONLY, &q->txn);
    }
    q->values = 0;
    q->chunk_lsn = 0;
    q->since_ns = slc_clock_now_ns();
    return slc_store_env_error(code, &q->error, "reading messages");
}

// SLC_ENOTFOUND: the chunk is gone. dbi: .log or .res.
static slc_err chunk_get(read_request *q, MDB_dbi dbi, uint64_t lsn, slc_slice *body)
{
    slc_err rc = txn_fresh(q);
    if (rc != SLC_OK)
        return rc;
    if (q->chunk_lsn == lsn) {
        *body = q->chunk_body;
        return SLC_OK;
    }
    uint64_t buffer = htobe64(lsn);
    MDB_val key = {.mv_size = sizeof buffer, .mv_data = &buffer}, data;
    int code = mdb_get(q->txn, dbi, &key, &data);
    q->values++;
    if (code == MDB_NOTFOUND)
        return SLC_ENOTFOUND;
    if (code != 0)
        return slc_store_env_error(code, &q->error, "reading a chunk");
    slc_store_value_need(&data);
    slc_chunk_head head;
    rc = slc_chunk_open(slc_slice_of(data.mv_data, data.mv_size), q->shard->id, lsn, &head, body,
                        &q->error);
    if (rc != SLC_OK) {
        slc_error_wrap(&q->error, "shard %04x, key %016" PRIx64 " of %04x.%s", q->shard->id, lsn,
                       q->shard->id, dbi == q->shard->log ? "log" : "res");
        return rc;
    }
    q->chunk_lsn = lsn;
    q->chunk_body = *body;
    return SLC_OK;
}

static slc_err damaged(read_request *q, uint64_t qseq, const char *what)
{
    return slc_error_set(&q->error, SLC_ECORRUPT,
                         "shard %04x, message %" PRIu64 " of queue %" PRIu32 ": %s", q->shard->id,
                         qseq, q->qid, what);
}

static slc_err parts_need(read_request *q, const slc_slot *slot, uint32_t part)
{
    slc_need need = {0};
    slc_err rc = txn_fresh(q);
    for (uint32_t i = 0; rc == SLC_OK && i < READ_AHEAD_PARTS && part + i < slot->resident_parts;
         i++) {
        uint64_t buffer = htobe64(slot->resident_lsn + part + i);
        MDB_val key = {.mv_size = sizeof buffer, .mv_data = &buffer}, data;
        if (mdb_get(q->txn, q->shard->res, &key, &data) == 0)
            slc_need_value(&need, &data);
    }
    slc_need_end(&need);
    return rc;
}

static slc_err resident_copy(read_request *q, const slc_slot *slot, size_t offset)
{
    uint64_t done = 0;
    for (uint32_t i = 0; i < slot->resident_parts; i++) {
        slc_slice body;
        slc_err rc = i % READ_AHEAD_PARTS == 0 ? parts_need(q, slot, i) : SLC_OK;
        if (rc == SLC_OK)
            rc = chunk_get(q, q->shard->res, slot->resident_lsn + i, &body);
        if (rc != SLC_OK)
            return rc;
        slc_record record;
        rc = slc_record_next(&body, &record, &q->error);
        if (rc != SLC_OK)
            return rc;
        if (record.type != SLC_RECORD_PART || record.part.first_lsn != slot->resident_lsn ||
            record.part.index != i || record.part.content_bytes != slot->content_bytes ||
            record.part.data.bytes > slot->content_bytes - done)
            return damaged(q, slot->qseq, "one of its parts belongs to something else");
        if (record.part.data.bytes > 0)
            memcpy(q->buffer + offset + done, record.part.data.data, record.part.data.bytes);
        done += record.part.data.bytes;
    }
    return done == slot->content_bytes ? SLC_OK : damaged(q, slot->qseq, "its parts do not add up");
}

static void message_push(read_request *q, const read_message *message)
{
    q->taken_bytes += message->bytes;
    *STORE_PUSH(q->messages, q->count, q->capacity) = *message;
}

// Nothing behind a message that does not fit may be taken.
static slc_err message_add(read_request *q, const slc_slot *slot)
{
    if (request_full(q, slot->content_bytes)) {
        q->full = true;
        return SLC_OK;
    }
    size_t offset = 0, before = q->buffer_bytes;
    slc_err rc = buffer_add(q, slot->content_bytes, &offset);
    if (rc != SLC_OK)
        return rc;
    if (slot->resident_lsn != 0)
        rc = resident_copy(q, slot, offset);
    else if (slot->content.bytes > 0)
        memcpy(q->buffer + offset, slot->content.data, slot->content.bytes);
    if (rc != SLC_OK) {
        q->buffer_bytes = before;
        return rc;
    }
    message_push(q, &(read_message){.qseq = slot->qseq,
                                    .ts_ms = slot->ts_ms,
                                    .expires_ms = slot->expires_ms,
                                    .offset = offset,
                                    .bytes = slot->content_bytes,
                                    .priority = slot->priority});
    return SLC_OK;
}

static slc_err chunk_piece(read_request *q, const read_piece *piece)
{
    slc_slice body;
    slc_err rc = chunk_get(q, q->shard->log, piece->source, &body);
    if (rc != SLC_OK)
        return rc;
    while (body.bytes > 0) {
        slc_record record;
        rc = slc_record_next(&body, &record, &q->error);
        if (rc != SLC_OK)
            return rc;
        for (uint32_t i = 0; record.type == SLC_RECORD_ENQ && i < record.enq.targets; i++) {
            slc_store_target target = slc_record_target(&record, i);
            if (target.qid != q->qid || target.qseq != piece->qseq)
                continue;
            slc_slot slot = {.qseq = piece->qseq,
                             .ts_ms = record.enq.ts_ms,
                             .expires_ms = target.expires_ms,
                             .priority = record.enq.priority,
                             .content = record.enq.content,
                             .content_bytes = record.enq.content_bytes,
                             .resident_lsn = record.enq.resident_lsn,
                             .resident_parts = record.enq.resident_parts};
            return message_add(q, &slot);
        }
    }
    return damaged(q, piece->qseq, "it is not in its chunk");
}

// The messages of a segment from piece->qseq on. Its transaction may be renewed by a large content in between: then the
// segment is looked up again.
static slc_err segment_piece(read_request *q, const read_piece *piece)
{
    uint8_t bytes[SLC_SEGMENT_KEY_BYTES];
    slc_segment_key(bytes, q->qid, piece->source);
    for (uint32_t index = 0, count = 1; index < count;) {
        slc_err rc = txn_fresh(q);
        if (rc != SLC_OK)
            return rc;
        MDB_val key = {.mv_size = sizeof bytes, .mv_data = bytes}, data;
        int code = mdb_get(q->txn, q->shard->seg, &key, &data);
        q->values++;
        if (code == MDB_NOTFOUND)
            return SLC_ENOTFOUND;
        if (code != 0)
            return slc_store_env_error(code, &q->error, "reading a segment");
        slc_store_value_need(&data);
        slc_slice value = slc_slice_of(data.mv_data, data.mv_size);
        rc = slc_segment_open(value, q->shard->id, q->qid, piece->source, &count, &q->error);
        bool again = false;
        while (rc == SLC_OK && index < count && !again) {
            slc_slot slot;
            rc = slc_segment_slot(value, index, &slot, &q->error);
            uint64_t bit = slot.qseq - piece->source;
            bool wanted = rc == SLC_OK && slot.qseq >= piece->qseq &&
                          (piece->dead == NULL || slot.qseq > piece->last ||
                           (piece->dead[bit / 8] >> (bit % 8) & 1) == 0);
            if (wanted) {
                rc = message_add(q, &slot);
                if (q->full)
                    return rc;
                again = slot.resident_lsn != 0;
            }
            index++;
        }
        if (rc != SLC_OK) {
            slc_error_wrap(&q->error,
                           "shard %04x, segment %" PRIu64 " of queue %" PRIu32 " (%04x.seg)",
                           q->shard->id, piece->source, q->qid, q->shard->id);
            return rc;
        }
    }
    return SLC_OK;
}

static slc_err pending_piece(read_request *q, const read_piece *piece)
{
    if (request_full(q, q->pending[piece->copied].bytes))
        q->full = true;
    else
        message_push(q, &q->pending[piece->copied]);
    return SLC_OK;
}

// What cannot be found is found out later.
static void pieces_need(read_request *q)
{
    slc_need need = {0};
    const read_piece *before = NULL;
    if (q->piece_count < 2 || txn_fresh(q) != SLC_OK)
        return;
    for (uint32_t i = 0; i < q->piece_count && i < READ_AHEAD_PIECES; i++) {
        const read_piece *piece = &q->pieces[i];
        uint8_t bytes[SLC_SEGMENT_KEY_BYTES];
        uint64_t lsn = htobe64(piece->source);
        MDB_val key = {.mv_size = sizeof lsn, .mv_data = &lsn}, data;
        if (piece->kind == PIECE_SEGMENT) {
            slc_segment_key(bytes, q->qid, piece->source);
            key = (MDB_val){.mv_size = sizeof bytes, .mv_data = bytes};
        }
        bool same =
            before != NULL && before->kind == piece->kind && before->source == piece->source;
        before = piece;
        if (piece->kind != PIECE_PENDING && !same &&
            mdb_get(q->txn, piece->kind == PIECE_CHUNK ? q->shard->log : q->shard->seg, &key,
                    &data) == 0)
            slc_need_value(&need, &data);
    }
    slc_need_end(&need);
}

static void read_work(uv_work_t *work)
{
    read_request *q = SLC_CONTAINER_OF(work, read_request, work);
    pieces_need(q);
    for (uint32_t i = 0; i < q->piece_count && q->rc == SLC_OK; i++) {
        const read_piece *piece = &q->pieces[i];
        if (q->full || request_full(q, 0))
            break;
        slc_err rc = piece->kind == PIECE_PENDING ? pending_piece(q, piece)
                     : piece->kind == PIECE_CHUNK ? chunk_piece(q, piece)
                                                  : segment_piece(q, piece);
        if (rc == SLC_ENOTFOUND) {
            q->moved = true;
            break;
        }
        q->rc = rc;
    }
    if (q->txn != NULL) {
        txn_age(q);
        mdb_txn_abort(q->txn);
    }
    q->txn = NULL;
}

/* ---- loop: planning ---- */

// A message that is not on disk yet: its bytes are still its publisher's; they may go before the answer, so copy.
static slc_err pending_plan(read_request *q, const slc_chunk *chunk, const slc_entry *entry)
{
    const slc_op *op = &chunk->ops[entry->record];
    const uint8_t *head = chunk->heads + op->head_offset;
    read_message m = {.qseq = entry->qseq,
                      .bytes = slc_shard_entry_bytes(q->shard, entry),
                      .ts_ms = slc_get64(head + 24),
                      .priority = head[10]};
    const uint8_t *target = head + SLC_RECORD_HEAD_BYTES + slc_get16(head + 2);
    for (uint32_t i = slc_get16(head + 8); i > 0; i--, target += SLC_TARGET_BYTES)
        if (slc_get32(target) == q->qid && slc_get64(target + 4) == entry->qseq)
            m.expires_ms = slc_get64(target + 12);
    slc_err rc = buffer_add(q, m.bytes, &m.offset);
    if (rc != SLC_OK)
        return rc;
    if (m.bytes > 0)
        memcpy(q->buffer + m.offset, op->run != NULL ? op->run->data : op->data, m.bytes);
    *STORE_PUSH(q->pieces, q->piece_count, q->piece_capacity) =
        (read_piece){.kind = PIECE_PENDING, .qseq = m.qseq, .copied = q->pending_count};
    *STORE_PUSH(q->pending, q->pending_count, q->pending_capacity) = m;
    return SLC_OK;
}

static void segment_plan(read_request *q, const slc_segment *segment, uint64_t from)
{
    read_piece piece = {
        .kind = PIECE_SEGMENT, .qseq = from, .source = segment->first, .last = segment->last};
    if (segment->dead != NULL) {
        size_t bytes = (segment->last - segment->first) / 8 + 1;
        piece.dead = slc_alloc(bytes);
        memcpy(piece.dead, segment->dead, bytes);
    }
    *STORE_PUSH(q->pieces, q->piece_count, q->piece_capacity) = piece;
}

static void request_plan(read_request *q)
{
    const slc_squeue *queue = slc_shard_queue(q->shard, q->qid);
    uint64_t from = q->from_qseq, count = 0, bytes = 0;
    while (queue != NULL && q->rc == SLC_OK && count < q->count_max &&
           (count == 0 || bytes < q->bytes_max)) {
        const slc_entry *entry = slc_queue_entry_from(queue, from);
        uint32_t at = slc_queue_segment_from(queue, from);
        const slc_segment *segment = at < queue->segment_tail ? queue->segments[at] : NULL;
        if (entry == NULL && segment == NULL)
            return;
        if (entry == NULL || (segment != NULL && segment->first < entry->qseq)) {
            segment_plan(q, segment, from);
            // Of the first one only a part may be wanted: it counts for nothing, so that one more is planned.
            count += from > segment->first ? 0 : segment->live;
            bytes += from > segment->first ? 0 : segment->live_bytes;
            from = segment->last + 1;
            continue;
        }
        // Entries in a row, without a search for each.
        uint64_t limit = segment != NULL ? segment->first : UINT64_MAX;
        for (; entry < queue->entries + queue->tail && entry->qseq < limit &&
               count < q->count_max && (count == 0 || bytes < q->bytes_max) && q->rc == SLC_OK;
             entry++) {
            if ((entry->flags & ENTRY_DEAD) != 0)
                continue;
            const slc_chunk *chunk = slc_shard_pending_find(q->shard, entry->lsn);
            if (chunk != NULL)
                q->rc = pending_plan(q, chunk, entry);
            else
                *STORE_PUSH(q->pieces, q->piece_count, q->piece_capacity) =
                    (read_piece){.kind = PIECE_CHUNK, .qseq = entry->qseq, .source = entry->lsn};
            count++;
            bytes += slc_shard_entry_bytes(q->shard, entry);
            from = entry->qseq + 1;
        }
    }
}

static void request_reset(read_request *q)
{
    for (uint32_t i = 0; i < q->piece_count; i++)
        slc_free(q->pieces[i].dead);
    q->piece_count = q->pending_count = q->count = 0;
    q->buffer_bytes = 0;
    q->taken_bytes = 0;
    q->moved = q->full = false;
}

/* ---- loop: answering ---- */

static void request_end(read_request *q, const slc_store_message *messages, uint32_t count)
{
    slc_store *store = q->store;
    store->reads_open--;
    q->cb(q->rc, messages, count, q->arg, q->rc == SLC_OK ? NULL : &q->error);
    request_reset(q);
    slc_free(q->pieces);
    slc_free(q->pending);
    slc_free(q->messages);
    free(q->buffer);
    slc_free(q);
    slc_store_close_step(store);
}

static void read_done(uv_work_t *work, int status);

static void request_start(read_request *q)
{
    q->plans++;
    request_plan(q);
    int code = uv_queue_work(q->store->options.loop, &q->work, read_work, read_done);
    SLC_ASSERT(code == 0);
}

static bool is_live(const slc_squeue *queue, uint64_t qseq)
{
    return queue != NULL && (slc_queue_entry_find(queue, qseq) != NULL ||
                             slc_queue_segment_find(queue, qseq) != NULL);
}

static void read_done(uv_work_t *work, int status)
{
    (void)status;
    read_request *q = SLC_CONTAINER_OF(work, read_request, work);
    if (q->store->stats.read_longest_ns < q->longest_ns)
        q->store->stats.read_longest_ns = q->longest_ns;
    const slc_squeue *queue = slc_shard_queue(q->shard, q->qid);
    slc_store_message *messages = slc_alloc((q->count + 1) * sizeof *messages);
    uint32_t count = 0;
    for (uint32_t i = 0; i < q->count; i++) {
        const read_message *m = &q->messages[i];
        if (is_live(queue, m->qseq))
            messages[count++] =
                (slc_store_message){.qseq = m->qseq,
                                    .ts_ms = m->ts_ms,
                                    .expires_ms = m->expires_ms,
                                    .content = slc_slice_of(q->buffer + m->offset, m->bytes),
                                    .priority = m->priority};
    }
    // Nothing to show, though something may live further on or at another place now.
    if (count == 0 && q->rc == SLC_OK && (q->moved || q->count > 0)) {
        if (!q->moved) {
            q->from_qseq = q->messages[q->count - 1].qseq + 1;
            q->plans = 0;
        }
        if (q->plans < READ_PLANS_MAX) {
            slc_free(messages);
            request_reset(q);
            request_start(q);
            return;
        }
        q->rc = damaged(q, q->pieces[0].qseq, "it is live and not there");
    }
    // Damage behind what was read comes up with the next read, which begins there.
    if (count > 0)
        q->rc = SLC_OK;
    request_end(q, messages, q->rc == SLC_OK ? count : 0);
    slc_free(messages);
}

void slc_store_read(slc_store *store, uint16_t shard_id, uint32_t qid, uint64_t from_qseq,
                    uint32_t count_max, uint64_t bytes_max, slc_store_read_cb cb, void *arg)
{
    SLC_ASSERT(count_max > 0 && count_max <= READ_COUNT_MAX);
    read_request *q = slc_alloc_zero(1, sizeof *q);
    q->store = store;
    q->shard = slc_store_shard(store, shard_id);
    slc_shard_uploads_place_queue(q->shard, slc_shard_queue(q->shard, qid));
    q->qid = qid;
    q->from_qseq = from_qseq;
    q->count_max = count_max;
    q->bytes_max = bytes_max;
    q->cb = cb;
    q->arg = arg;
    store->reads_open++;
    request_start(q);
}
