// Recovery: from what stands in the environment to the index, and the report to the visitor.
//
// One pass over the log from front to back, after a look at its end: a batch without end is cut off there. Nothing is
// written but that cut and the cleared clean marker, so a crash in here changes nothing.
#include <inttypes.h>

#include "store_impl.h"

typedef struct recovery {
    slc_store *store;
    slc_shard *shard;
    MDB_txn *txn;
    slc_error *error;
    uint64_t lsn;  // of the chunk being read
    uint32_t slot; // of the resident seen last
} recovery;

static slc_err damaged(recovery *r, const char *what)
{
    return slc_error_set(r->error, SLC_ECORRUPT,
                         "shard %04x, chunk %" PRIu64 " (key %016" PRIx64 " of %04x.log): %s",
                         r->shard->id, r->lsn, r->lsn, r->shard->id, what);
}

static slc_err state_read(recovery *r, slc_shard_state *state)
{
    MDB_val key = {.mv_size = 1, .mv_data = (void *)"s"}, data;
    int code = mdb_get(r->txn, r->shard->st, &key, &data);
    *state = (slc_shard_state){.log_start = 1, .next_qid = 1};
    if (code == MDB_NOTFOUND)
        return SLC_OK;
    if (code != 0)
        return slc_store_env_error(code, r->error, "reading the shard state");
    slc_err rc = slc_state_decode(slc_slice_of(data.mv_data, data.mv_size), state, r->error);
    if (rc != SLC_OK)
        slc_error_wrap(r->error, "shard %04x (key s of %04x.st)", r->shard->id, r->shard->id);
    return rc;
}

static slc_err queues_read(recovery *r)
{
    slc_shard *shard = r->shard;
    MDB_cursor *cursor;
    int code = mdb_cursor_open(r->txn, shard->que, &cursor);
    if (code != 0)
        return slc_store_env_error(code, r->error, "reading the queues");
    slc_err rc = SLC_OK;
    MDB_val key, data;
    while (rc == SLC_OK && (code = mdb_cursor_get(cursor, &key, &data, MDB_NEXT)) == 0) {
        uint32_t qid = 0;
        slc_queue_value value;
        if (key.mv_size != sizeof qid) {
            rc =
                slc_error_set(r->error, SLC_ECORRUPT, "shard %04x: a key of %04x.que has %zu bytes",
                              shard->id, shard->id, key.mv_size);
            break;
        }
        memcpy(&qid, key.mv_data, sizeof qid);
        qid = be32toh(qid);
        rc = slc_queue_value_decode(slc_slice_of(data.mv_data, data.mv_size), &value, r->error);
        if (rc == SLC_OK && (qid == 0 || qid >= shard->next_qid))
            rc = slc_error_set(r->error, SLC_ECORRUPT, "the next number to be given is %" PRIu32,
                               shard->next_qid);
        if (rc != SLC_OK) {
            slc_error_wrap(r->error, "shard %04x, queue %" PRIu32 " of %04x.que", shard->id, qid,
                           shard->id);
            break;
        }
        slc_squeue *queue = slc_shard_queue_add(shard, qid, &value.uuid);
        queue->next_qseq = queue->saved_qseq = value.next_qseq;
        queue->delivered = queue->saved_delivered = value.delivered;
        queue->extra = slc_alloc(sizeof *queue->extra);
    }
    mdb_cursor_close(cursor);
    if (rc == SLC_OK && code != MDB_NOTFOUND)
        rc = slc_store_env_error(code, r->error, "reading the queues");
    return rc;
}

static slc_err chunk_at(recovery *r, const MDB_val *key, const MDB_val *data, slc_chunk_head *head,
                        slc_slice *body)
{
    uint64_t lsn = 0;
    if (key->mv_size != sizeof lsn)
        return damaged(r, "a key near it does not have 8 bytes");
    memcpy(&lsn, key->mv_data, sizeof lsn);
    r->lsn = be64toh(lsn);
    slc_err rc =
        slc_chunk_open(slc_slice_of(data->mv_data, data->mv_size), r->lsn, head, body, r->error);
    if (rc != SLC_OK)
        slc_error_wrap(r->error, "shard %04x, key %016" PRIx64 " of %04x.log", r->shard->id, r->lsn,
                       r->shard->id);
    return rc;
}

// The last chunk number that ends a batch; log_start - 1 when there is none.
static slc_err end_find(recovery *r, MDB_cursor *cursor, uint64_t log_start, uint64_t *end_lsn)
{
    MDB_val key, data;
    slc_chunk_head head;
    slc_slice body;
    int code = mdb_cursor_get(cursor, &key, &data, MDB_LAST);
    for (; code == 0; code = mdb_cursor_get(cursor, &key, &data, MDB_PREV)) {
        slc_err rc = chunk_at(r, &key, &data, &head, &body);
        if (rc != SLC_OK)
            return rc;
        if ((head.flags & SLC_CHUNK_BATCH_END) != 0) {
            *end_lsn = r->lsn;
            return SLC_OK;
        }
    }
    if (code != MDB_NOTFOUND)
        return slc_store_env_error(code, r->error, "reading the log");
    *end_lsn = log_start - 1;
    return SLC_OK;
}

static slc_err resident_note(recovery *r, const slc_record *record, uint32_t refs)
{
    slc_shard *shard = r->shard;
    uint64_t first = record->enq.resident_lsn;
    uint32_t parts = record->enq.resident_parts;
    if (parts == 0 || first == 0 || first >= r->lsn || parts > r->lsn - first)
        return damaged(r, "a large message names parts that are not in front of it");
    slc_resident *known = r->slot == UINT32_MAX ? NULL : &shard->residents[r->slot];
    if (known == NULL || known->first_lsn != first || known->refs == 0) {
        r->slot = slc_shard_resident_add(shard, first, parts, record->enq.content_bytes);
        known = &shard->residents[r->slot];
        for (uint64_t lsn = first; lsn < first + parts; lsn++) {
            if (lsn < shard->log_first)
                continue; // then every target has to be dropped further on
            slc_lsn *line = slc_shard_lsn(shard, lsn);
            if (!line->resident)
                return damaged(r, "a large message names a part that is none");
            line->live = 1;
        }
    } else if (known->parts != parts || known->bytes != record->enq.content_bytes) {
        return damaged(r, "two records disagree about one large content");
    }
    known->refs += refs;
    return SLC_OK;
}

static slc_err enq_apply(recovery *r, const slc_record *record)
{
    slc_shard *shard = r->shard;
    uint32_t live = 0;
    for (uint32_t i = 0; i < record->enq.targets; i++) {
        slc_store_target target = slc_record_target(record, i);
        live += target.qid != 0 && slc_shard_queue(shard, target.qid) != NULL;
    }
    if (live == 0)
        return SLC_OK;
    bool resident = (record->flags & SLC_ENQ_RESIDENT) != 0;
    if (resident) {
        slc_err rc = resident_note(r, record, live);
        if (rc != SLC_OK)
            return rc;
    }
    for (uint32_t i = 0; i < record->enq.targets; i++) {
        slc_store_target target = slc_record_target(record, i);
        slc_squeue *queue = target.qid == 0 ? NULL : slc_shard_queue(shard, target.qid);
        if (queue == NULL)
            continue;
        if (target.qseq == 0 ||
            (queue->live > 0 && queue->entries[queue->tail - 1].qseq >= target.qseq))
            return damaged(r, "positions in a queue do not ascend");
        slc_entry *entry = slc_queue_entry_add(queue, target.qseq);
        entry->lsn = r->lsn;
        entry->bytes = resident ? r->slot : (uint32_t)record->enq.content_bytes;
        entry->flags = resident ? ENTRY_RESIDENT : 0;
        queue->extra[queue->tail - 1] = (slc_entry_extra){.ts_ms = record->enq.ts_ms,
                                                          .expires_ms = target.expires_ms,
                                                          .priority = record->enq.priority};
        if (queue->next_qseq <= target.qseq)
            queue->next_qseq = target.qseq + 1;
        queue->last_lsn = queue->disk_lsn = r->lsn;
        if (queue->next_qseq > queue->saved_qseq)
            slc_shard_unsaved_touch(shard, queue);
    }
    slc_shard_lsn(shard, r->lsn)->live += live;
    shard->store->stats.live_messages += live;
    shard->store->stats.live_bytes += live * record->enq.content_bytes;
    return SLC_OK;
}

static void drop_apply(recovery *r, const slc_record *record)
{
    slc_squeue *queue = slc_shard_queue(r->shard, record->drop.qid);
    for (uint32_t i = 0; queue != NULL && i < record->drop.ranges; i++) {
        uint64_t qseq;
        uint32_t count;
        slc_record_range(record, i, &qseq, &count);
        uint64_t end = qseq + count;
        for (slc_entry *entry;
             (entry = slc_queue_entry_from(queue, qseq)) != NULL && entry->qseq < end;) {
            qseq = entry->qseq + 1;
            slc_shard_entry_drop(r->shard, queue, entry, r->lsn);
        }
    }
}

static slc_err chunk_apply(recovery *r, const slc_chunk_head *head, slc_slice body)
{
    slc_shard *shard = r->shard;
    slc_lsn *line = slc_shard_lsn(shard, slc_shard_lsn_push(shard, 1));
    line->bytes = SLC_CHUNK_HEAD_BYTES + head->body_bytes;
    line->resident = (head->flags & SLC_CHUNK_RESIDENT) != 0;
    line->hollow = line->resident && head->records == 0;
    shard->log_bytes += line->bytes;
    uint32_t records = 0;
    for (; body.bytes > 0; records++) {
        slc_record record;
        slc_err rc = slc_record_next(&body, &record, r->error);
        if (rc != SLC_OK) {
            slc_error_wrap(r->error,
                           "shard %04x, chunk %" PRIu64 " (key %016" PRIx64 " of %04x.log)",
                           shard->id, r->lsn, r->lsn, shard->id);
            return rc;
        }
        // QNEW and QDEL took effect in .que by the transaction that wrote them; they stand here for mirrors.
        if (record.type == SLC_RECORD_ENQ)
            rc = enq_apply(r, &record);
        else if (record.type == SLC_RECORD_DROP)
            drop_apply(r, &record);
        else if (record.type == SLC_RECORD_PART && head->records != 1)
            rc = damaged(r, "a part of a large content is not alone in its chunk");
        if (rc != SLC_OK)
            return rc;
    }
    return records == head->records ? SLC_OK
                                    : damaged(r, "it has another number of records than it says");
}

static slc_err log_scan(recovery *r, uint64_t log_start, uint64_t *truncate_from)
{
    slc_shard *shard = r->shard;
    MDB_cursor *cursor;
    int code = mdb_cursor_open(r->txn, shard->log, &cursor);
    if (code != 0)
        return slc_store_env_error(code, r->error, "reading the log");
    uint64_t end_lsn = 0;
    slc_err rc = end_find(r, cursor, log_start, &end_lsn);
    MDB_val key, data;
    code = rc == SLC_OK ? mdb_cursor_get(cursor, &key, &data, MDB_FIRST) : MDB_NOTFOUND;
    for (uint64_t expected = log_start; rc == SLC_OK && code == 0;
         expected++, code = mdb_cursor_get(cursor, &key, &data, MDB_NEXT)) {
        slc_err point = SLC_OK;
        if (SLC_FAILPOINT("rec.scan.mid", &point)) {
            rc = slc_error_set(r->error, point, "rec.scan.mid");
            break;
        }
        slc_chunk_head head;
        slc_slice body;
        rc = chunk_at(r, &key, &data, &head, &body);
        if (rc == SLC_OK && r->lsn != expected)
            rc = slc_error_set(r->error, SLC_ECORRUPT,
                               "shard %04x: chunk %" PRIu64 " (key %016" PRIx64
                               " of %04x.log) is missing; the next one "
                               "there is %" PRIu64,
                               shard->id, expected, expected, shard->id, r->lsn);
        if (rc == SLC_OK && r->lsn > end_lsn) {
            *truncate_from = r->lsn;
            break;
        }
        if (rc == SLC_OK)
            rc = chunk_apply(r, &head, body);
    }
    mdb_cursor_close(cursor);
    if (rc == SLC_OK && code != 0 && code != MDB_NOTFOUND)
        rc = slc_store_env_error(code, r->error, "reading the log");
    return rc;
}

static slc_err residents_check(recovery *r)
{
    slc_shard *shard = r->shard;
    for (uint32_t i = 0; i < shard->resident_count; i++) {
        const slc_resident *resident = &shard->residents[i];
        if (resident->refs == 0)
            continue;
        for (uint64_t lsn = resident->first_lsn; lsn < resident->first_lsn + resident->parts;
             lsn++) {
            r->lsn = lsn;
            if (lsn < shard->log_first || slc_shard_lsn(shard, lsn)->hollow)
                return damaged(r, "a part of a live large content is gone");
        }
    }
    uint32_t kept = 0;
    for (uint32_t i = 0; i < shard->hollow_count; i++) {
        slc_job_hollow hollow = shard->hollows[i];
        bool all = true;
        for (uint64_t lsn = hollow.first; lsn < hollow.first + hollow.count; lsn++)
            all = all && (lsn < shard->log_first || slc_shard_lsn(shard, lsn)->hollow);
        if (!all)
            shard->hollows[kept++] = hollow;
    }
    shard->hollow_count = kept;
    return SLC_OK;
}

static slc_err shard_recover(recovery *r)
{
    slc_shard *shard = r->shard;
    slc_shard_state state;
    slc_err rc = state_read(r, &state);
    if (rc != SLC_OK)
        return rc;
    shard->next_qid = state.next_qid;
    shard->log_first = shard->next_lsn = shard->dead_to = state.log_start;
    rc = queues_read(r);
    if (rc == SLC_OK)
        rc = log_scan(r, state.log_start, &shard->truncate_from);
    if (rc == SLC_OK)
        rc = residents_check(r);
    shard->ended_lsn = shard->handed_lsn = shard->next_lsn - 1;
    return rc;
}

/* ---- the report ---- */

static void queue_report(slc_store *store, const slc_shard *shard, const slc_squeue *queue,
                         const slc_store_visitor *visitor, void *arg)
{
    enum { SLICE = 512 };
    slc_store_recovered slice[SLICE];
    uint32_t count = 0;
    for (uint32_t i = queue->head; i < queue->tail; i++) {
        const slc_entry *entry = &queue->entries[i];
        if ((entry->flags & ENTRY_DEAD) != 0)
            continue;
        slice[count++] = (slc_store_recovered){
            .qseq = entry->qseq,
            .content_bytes = slc_shard_entry_bytes(shard, entry),
            .ts_ms = queue->extra[i].ts_ms,
            .expires_ms = queue->extra[i].expires_ms,
            .priority = queue->extra[i].priority,
            .delivered = !store->was_clean || entry->qseq <= queue->delivered,
        };
        if (count == SLICE) {
            visitor->messages(shard->id, queue->qid, slice, count, arg);
            count = 0;
        }
    }
    if (count > 0)
        visitor->messages(shard->id, queue->qid, slice, count, arg);
}

static void shard_report(slc_store *store, slc_shard *shard, const slc_store_visitor *visitor,
                         void *arg)
{
    for (uint32_t qid = 1; qid < shard->next_qid; qid++) {
        slc_squeue *queue = slc_shard_queue(shard, qid);
        if (queue == NULL) {
            if (qid / STORE_QUEUE_PAGE >= shard->queue_page_count)
                break;
            continue;
        }
        bool keep = visitor->queue(shard->id, qid, &queue->uuid, queue->next_qseq, arg);
        if (keep && queue->live > 0)
            queue_report(store, shard, queue, visitor, arg);
        slc_free(queue->extra);
        queue->extra = NULL;
        if (!keep)
            (void)slc_store_queue_del(store, shard->id, qid);
    }
}

/* ---- the writes ---- */

static slc_err shard_cut(MDB_txn *txn, slc_shard *shard, slc_error *error)
{
    MDB_cursor *cursor;
    int code = mdb_cursor_open(txn, shard->log, &cursor);
    if (code != 0)
        return slc_store_env_error(code, error, "cutting an unfinished batch");
    uint64_t from = htobe64(shard->truncate_from);
    MDB_val key = {.mv_size = sizeof from, .mv_data = &from}, data;
    code = mdb_cursor_get(cursor, &key, &data, MDB_SET_RANGE);
    while (code == 0) {
        code = mdb_cursor_del(cursor, 0);
        if (code == 0)
            code = mdb_cursor_get(cursor, &key, &data, MDB_NEXT);
    }
    mdb_cursor_close(cursor);
    return code == MDB_NOTFOUND ? SLC_OK
                                : slc_store_env_error(code, error, "cutting an unfinished batch");
}

static slc_err start_mark(slc_store *store, slc_error *error)
{
    MDB_txn *txn;
    int code = mdb_txn_begin(store->env, NULL, 0, &txn);
    if (code != 0)
        return slc_store_env_error(code, error, "beginning a transaction");
    slc_err rc = slc_store_env_mark(store, txn, false, error);
    for (uint32_t i = 0; i < store->shard_count && rc == SLC_OK; i++)
        if (store->shards[i]->truncate_from != 0)
            rc = shard_cut(txn, store->shards[i], error);
    if (rc != SLC_OK) {
        mdb_txn_abort(txn);
        return rc;
    }
    rc = slc_store_env_error(mdb_txn_commit(txn), error, "marking the store as running");
    for (uint32_t i = 0; i < store->shard_count && rc == SLC_OK; i++)
        store->shards[i]->truncate_from = 0;
    return rc;
}

slc_err slc_store_recover(slc_store *store, const slc_store_visitor *visitor, void *arg,
                          slc_error *error)
{
    if (store->recovered)
        return slc_error_set(error, SLC_EUNEXPECTED, "the store in %s is recovered already",
                             store->dir);
    recovery r = {.store = store, .error = error};
    int code = mdb_txn_begin(store->env, NULL, MDB_RDONLY, &r.txn);
    if (code != 0)
        return slc_store_env_error(code, error, "beginning a transaction");
    slc_err rc = SLC_OK;
    for (uint32_t i = 0; i < store->shard_count && rc == SLC_OK; i++) {
        r.shard = store->shards[i];
        r.slot = UINT32_MAX;
        rc = shard_recover(&r);
    }
    mdb_txn_abort(r.txn);
    if (rc != SLC_OK)
        return rc;
    rc = start_mark(store, error);
    if (rc == SLC_ENOSPC && store->has_ballast) {
        // A full disk must not keep a store from being drained.
        if (slc_store_env_ballast(store, false, error) == SLC_OK) {
            store->has_ballast = false;
            rc = start_mark(store, error);
        }
    }
    if (rc == SLC_OK && slc_store_defers(store))
        rc = slc_store_env_sync(store, error);
    if (rc != SLC_OK)
        return rc;
    if (uv_thread_create(&store->thread, slc_store_writer_main, store) != 0)
        return slc_error_set(error, SLC_EINTERNAL, "creating the store thread");
    store->thread_running = true;
    store->recovered = true;
    for (uint32_t i = 0; i < store->shard_count; i++)
        shard_report(store, store->shards[i], visitor, arg);
    return SLC_OK;
}
