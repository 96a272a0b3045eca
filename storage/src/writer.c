// The store thread: one job is one LMDB transaction (plus one for the ballast when the disk was full).
#include <inttypes.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "store_impl.h"

static MDB_val lsn_key(uint64_t lsn, uint64_t *buffer)
{
    *buffer = htobe64(lsn);
    return (MDB_val){.mv_size = sizeof *buffer, .mv_data = buffer};
}

slc_err slc_writer_error(slc_writer *w, int code, const char *what)
{
    return slc_store_env_error(code, &w->job->error, what);
}

// Reserve the value of chunk lsn in .log or .res; the caller fills the body and seals it.
static slc_err chunk_reserve(slc_writer *w, MDB_dbi dbi, unsigned order, uint64_t lsn,
                             uint32_t body_bytes, uint8_t **value)
{
    slc_err rc = SLC_OK;
    if (w->puts == w->puts_total / 2 && SLC_FAILPOINT("store.txn.mid_put", &rc)) {
        if (rc == SLC_EAGAIN)
            raise(SIGKILL);
        return slc_error_set(&w->job->error, rc, "store.txn.mid_put");
    }
    w->puts++;
    uint64_t buffer;
    MDB_val key = lsn_key(lsn, &buffer);
    MDB_val data = {.mv_size = SLC_CHUNK_HEAD_BYTES + body_bytes};
    // An LSN that is there, or in .log a later one, means that the sequence broke. Parts of uploads may come late.
    int code = mdb_put(w->txn, dbi, &key, &data, MDB_RESERVE | order);
    if (code != 0)
        return slc_writer_error(w, code, "writing a chunk");
    w->job->bytes_written += data.mv_size;
    *value = data.mv_data;
    return SLC_OK;
}

static void chunk_seal(slc_writer *w, const slc_shard *shard, uint8_t *value, uint64_t lsn,
                       uint32_t flags, uint32_t records, uint32_t body_bytes, uint32_t skipped)
{
    slc_chunk_seal(value, shard->id,
                   &(slc_chunk_head){
                       .version = SLC_FORMAT_VERSION,
                       .flags = (uint8_t)flags,
                       .records = (uint16_t)records,
                       .lsn = lsn,
                       .wall_ms = w->wall_ms,
                       .body_bytes = body_bytes,
                       .skipped = skipped,
                   });
}

static slc_err queue_put(slc_writer *w, slc_shard *shard, uint32_t qid,
                         const slc_queue_value *value, unsigned flags)
{
    uint32_t buffer = htobe32(qid);
    uint8_t bytes[SLC_QUEUE_VALUE_BYTES];
    slc_queue_value_encode(bytes, shard->id, qid, value);
    MDB_val key = {.mv_size = sizeof buffer, .mv_data = &buffer};
    MDB_val data = {.mv_size = sizeof bytes, .mv_data = bytes};
    int code = mdb_put(w->txn, shard->que, &key, &data, flags);
    return code == 0 || code == MDB_KEYEXIST ? SLC_OK
                                             : slc_writer_error(w, code, "writing a queue entry");
}

static slc_err queue_record_apply(slc_writer *w, slc_shard *shard, const slc_op *op,
                                  const uint8_t *head)
{
    uint32_t qid = slc_get32(head + 8);
    if (op->kind == OP_QNEW) {
        slc_queue_value value = {.next_qseq = 1};
        memcpy(value.uuid.octets, head + 16, sizeof value.uuid.octets);
        // Its entry may be there already with a higher next_qseq, saved by this job.
        return queue_put(w, shard, qid, &value, MDB_NOOVERWRITE);
    }
    uint32_t buffer = htobe32(qid);
    MDB_val key = {.mv_size = sizeof buffer, .mv_data = &buffer};
    int code = mdb_del(w->txn, shard->que, &key, NULL);
    return code == 0 || code == MDB_NOTFOUND ? SLC_OK
                                             : slc_writer_error(w, code, "deleting a queue entry");
}

static slc_err chunk_write(slc_writer *w, slc_shard *shard, const slc_job_item *item,
                           uint32_t flags)
{
    const slc_chunk *chunk = item->chunk;
    slc_err rc = SLC_OK;
    for (uint32_t i = 0; i < chunk->op_count; i++)
        if (chunk->ops[i].run != NULL && (chunk->ops[i].flags & OP_CANCELLED) == 0 &&
            SLC_FAILPOINT("res.enq.before", &rc))
            return slc_error_set(&w->job->error, rc, "res.enq.before");
    uint8_t *value;
    rc = chunk_reserve(w, shard->log, MDB_APPEND, chunk->lsn, chunk->body_bytes, &value);
    if (rc != SLC_OK)
        return rc;
    uint8_t *at = value + SLC_CHUNK_HEAD_BYTES;
    uint32_t records = 0;
    for (uint32_t i = 0; i < chunk->op_count; i++) {
        const slc_op *op = &chunk->ops[i];
        if ((op->flags & OP_CANCELLED) != 0)
            continue;
        memcpy(at, chunk->heads + op->head_offset, op->head_bytes);
        at += op->head_bytes;
        if (op->data_bytes > 0) {
            memcpy(at, op->data, op->data_bytes);
            at += op->data_bytes;
        }
        records++;
    }
    SLC_ASSERT(at == value + SLC_CHUNK_HEAD_BYTES + chunk->body_bytes);
    chunk_seal(w, shard, value, chunk->lsn, flags, records, chunk->body_bytes, item->skipped);
    for (uint32_t i = 0; i < chunk->op_count && rc == SLC_OK; i++) {
        const slc_op *op = &chunk->ops[i];
        if ((op->kind == OP_QNEW || op->kind == OP_QDEL) && (op->flags & OP_CANCELLED) == 0)
            rc = queue_record_apply(w, shard, op, chunk->heads + op->head_offset);
    }
    return rc;
}

static slc_err run_write(slc_writer *w, slc_shard *shard, const slc_job_item *item, uint32_t begin,
                         uint32_t end)
{
    const slc_chunk *run = item->chunk;
    if (run->cancelled)
        return SLC_OK;
    for (uint32_t part = item->part_from; part < item->part_to; part++) {
        slc_err rc = SLC_OK;
        if (SLC_FAILPOINT("res.part", &rc))
            return slc_error_set(&w->job->error, rc, "res.part");
        uint64_t from = (uint64_t)part * SLC_PART_DATA_MAX;
        uint64_t left = run->data_bytes - from;
        uint32_t data_bytes = left < SLC_PART_DATA_MAX ? (uint32_t)left : SLC_PART_DATA_MAX;
        uint32_t body_bytes = SLC_PART_HEAD_BYTES + data_bytes;
        uint8_t *value;
        rc = chunk_reserve(w, shard->res, MDB_NOOVERWRITE, run->lsn + part, body_bytes, &value);
        if (rc != SLC_OK)
            return rc;
        uint32_t flags = (part == item->part_from ? begin : 0) |
                         (part + 1 == item->part_to ? end : 0) | SLC_CHUNK_RESIDENT;
        uint8_t *body = value + SLC_CHUNK_HEAD_BYTES;
        slc_part_encode(body, run->lsn, part, run->lsn_count, run->data_bytes, data_bytes);
        if (data_bytes > 0)
            memcpy(body + SLC_PART_HEAD_BYTES, run->data + from, data_bytes);
        chunk_seal(w, shard, value, run->lsn + part, flags, 1, body_bytes, 0);
    }
    return SLC_OK;
}

static slc_err items_write(slc_writer *w, slc_shard *shard)
{
    const slc_shard_job *job = &shard->job;
    slc_err rc = SLC_OK;
    if (SLC_FAILPOINT("store.batch.serialise", &rc))
        return slc_error_set(&w->job->error, rc, "store.batch.serialise");
    w->puts = w->puts_total = 0;
    for (uint32_t i = 0; i < job->item_count; i++)
        w->puts_total += job->items[i].part_to - job->items[i].part_from;
    for (uint32_t i = 0; i < job->upload_count; i++)
        w->puts_total += job->uploads[i].part_to - job->uploads[i].part_from;
    for (uint32_t i = 0; i < job->upload_count && rc == SLC_OK; i++)
        rc = run_write(w, shard, &job->uploads[i], 0, 0); // they belong to no batch
    for (uint32_t i = 0; i < job->item_count && rc == SLC_OK; i++) {
        const slc_job_item *item = &job->items[i];
        uint32_t begin = item->begin ? SLC_CHUNK_BATCH_BEGIN : 0,
                 end = item->end ? SLC_CHUNK_BATCH_END : 0;
        rc = item->chunk->run ? run_write(w, shard, item, begin, end)
                              : chunk_write(w, shard, item, begin | end);
    }
    return rc;
}

slc_err slc_writer_delete(slc_writer *w, MDB_dbi dbi, uint64_t from, uint64_t to)
{
    MDB_cursor *cursor;
    int code = mdb_cursor_open(w->txn, dbi, &cursor);
    if (code != 0)
        return slc_writer_error(w, code, "opening a cursor");
    uint64_t buffer;
    MDB_val key = lsn_key(from, &buffer), data;
    code = mdb_cursor_get(cursor, &key, &data, MDB_SET_RANGE);
    while (code == 0) {
        uint64_t lsn;
        memcpy(&lsn, key.mv_data, sizeof lsn);
        if (to != 0 && be64toh(lsn) >= to)
            break;
        code = mdb_cursor_del(cursor, 0);
        if (code == 0)
            code = mdb_cursor_get(cursor, &key, &data, MDB_NEXT);
    }
    mdb_cursor_close(cursor);
    return code == 0 || code == MDB_NOTFOUND ? SLC_OK
                                             : slc_writer_error(w, code, "deleting chunks");
}

slc_err slc_writer_segment_delete(slc_writer *w, slc_shard *shard, uint32_t qid, uint64_t first)
{
    uint8_t bytes[SLC_SEGMENT_KEY_BYTES];
    slc_segment_key(bytes, qid, first);
    MDB_val key = {.mv_size = sizeof bytes, .mv_data = bytes};
    int code = mdb_del(w->txn, shard->seg, &key, NULL);
    if (code == 0 || code == MDB_NOTFOUND)
        code = mdb_del(w->txn, shard->smd, &key, NULL);
    return code == 0 || code == MDB_NOTFOUND ? SLC_OK
                                             : slc_writer_error(w, code, "deleting a segment");
}

// What is known of queues, segments and large contents before chunks may leave; then what leaves.
static slc_err chores_write(slc_writer *w, slc_shard *shard)
{
    const slc_shard_job *job = &shard->job;
    slc_err rc = SLC_OK;
    for (uint32_t i = 0; i < job->mark_count; i++) {
        const slc_job_mark *mark = &job->marks[i];
        uint8_t bytes[SLC_SEGMENT_KEY_BYTES];
        slc_segment_key(bytes, mark->qid, mark->first);
        MDB_val key = {.mv_size = sizeof bytes, .mv_data = bytes};
        MDB_val data = {.mv_size = mark->bytes, .mv_data = job->mark_bytes + mark->offset};
        int code = mdb_put(w->txn, shard->smd, &key, &data, 0);
        if (code != 0)
            return slc_writer_error(w, code, "writing a directory record");
        w->job->bytes_written += mark->bytes;
    }
    for (uint32_t i = 0; i < job->grave_count && rc == SLC_OK; i++)
        rc = slc_writer_segment_delete(w, shard, job->graves[i].qid, job->graves[i].first);
    for (uint32_t i = 0; i < job->free_count && rc == SLC_OK; i++)
        rc = slc_writer_delete(w, shard->res, job->frees[i].first,
                               job->frees[i].first + job->frees[i].count);
    if (rc == SLC_OK && job->delete_to > job->delete_from)
        rc = slc_writer_delete(w, shard->log, job->delete_from, job->delete_to);
    return rc;
}

static slc_err shard_write(slc_writer *w, slc_shard *shard)
{
    const slc_shard_job *job = &shard->job;
    slc_err rc = SLC_OK;
    if (SLC_FAILPOINT("store.txn.before_put", &rc))
        return slc_error_set(&w->job->error, rc, "store.txn.before_put");
    if (!shard->opened)
        rc = slc_store_env_shard(w->store, w->txn, shard, &w->job->error);
    if (rc == SLC_OK && job->truncate_from != 0)
        rc = slc_writer_delete(w, shard->log, job->truncate_from, 0);
    if (rc == SLC_OK && job->truncate_from != 0)
        rc = slc_writer_delete(w, shard->res, job->truncate_from, 0);
    for (uint32_t i = 0; i < job->save_count && rc == SLC_OK; i++)
        rc = queue_put(w, shard, job->saves[i].qid, &job->saves[i].value, 0);
    if (rc == SLC_OK)
        rc = items_write(w, shard);
    if (rc == SLC_OK)
        rc = chores_write(w, shard);
    // After the directory records: a merge replaces segments that have just been marked.
    if (rc == SLC_OK && job->slice.item_count > 0)
        rc = slc_writer_slice(w, shard);
    if (rc != SLC_OK)
        return rc;
    uint8_t state[SLC_STATE_BYTES];
    slc_state_encode(state, shard->id, &job->state);
    MDB_val key = {.mv_size = 1, .mv_data = (void *)"s"};
    MDB_val data = {.mv_size = sizeof state, .mv_data = state};
    int code = mdb_put(w->txn, shard->st, &key, &data, 0);
    return code == 0 ? SLC_OK : slc_writer_error(w, code, "writing the shard state");
}

// LMDB flushes the data pages, then writes the meta page: through to the disk, or, with deferred confirm, to be flushed by
// whatever comes next.
static slc_err writer_commit(slc_writer *w)
{
    slc_err rc = SLC_OK;
    bool migrates = false;
    for (uint32_t i = 0; i < w->store->shard_count; i++)
        migrates = migrates ||
                   (w->store->shards[i]->job.work && w->store->shards[i]->job.slice.item_count > 0);
    if ((migrates && SLC_FAILPOINT("mig.commit.before", &rc)) ||
        SLC_FAILPOINT("store.enospc", &rc) || SLC_FAILPOINT("store.eio", &rc) ||
        SLC_FAILPOINT("store.mapfull", &rc) || SLC_FAILPOINT("store.commit.before", &rc) ||
        SLC_FAILPOINT("store.sync.before", &rc)) {
        mdb_txn_abort(w->txn);
        return slc_error_set(&w->job->error, rc, "a fail point refused the commit");
    }
    int code = slc_store_env_commit(w->txn);
    if (code != 0)
        return slc_writer_error(w, code, "committing");
    w->job->commits++;
    if ((migrates && SLC_FAILPOINT("mig.commit.after", &rc)) ||
        SLC_FAILPOINT("store.sync.after", &rc) || SLC_FAILPOINT("store.commit.after", &rc))
        return slc_error_set(&w->job->error, rc == SLC_ENOSPC ? SLC_EIO : rc,
                             "a fail point after the commit");
    return SLC_OK;
}

static slc_err job_transaction(slc_store *store, slc_job *job)
{
    slc_writer w = {.store = store, .job = job, .wall_ms = slc_clock_wall_ms()};
    int code = mdb_txn_begin(store->env, NULL, 0, &w.txn);
    if (code != 0)
        return slc_writer_error(&w, code, "beginning a transaction");
    slc_err rc = SLC_OK;
    for (uint32_t i = 0; i < store->shard_count && rc == SLC_OK; i++)
        if (store->shards[i]->job.work)
            rc = shard_write(&w, store->shards[i]);
    if (rc == SLC_OK && job->mark_clean)
        rc = slc_store_env_mark(store, w.txn, true, &job->error);
    if (rc != SLC_OK) {
        mdb_txn_abort(w.txn);
        return rc;
    }
    rc = writer_commit(&w);
    for (uint32_t i = 0; i < store->shard_count && rc == SLC_OK; i++)
        if (store->shards[i]->job.work)
            store->shards[i]->opened = true;
    return rc;
}

static uint64_t job_bytes(const slc_store *store)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < store->shard_count; i++) {
        const slc_shard_job *job = &store->shards[i]->job;
        bytes += job->work ? job->slice.bytes : 0;
        for (uint32_t k = 0; job->work && k < job->upload_count; k++)
            bytes += (uint64_t)(job->uploads[k].part_to - job->uploads[k].part_from) *
                     SLC_PART_VALUE_MAX;
        for (uint32_t k = 0; job->work && k < job->item_count; k++) {
            const slc_job_item *item = &job->items[k];
            bytes += item->chunk->run
                         ? (uint64_t)(item->part_to - item->part_from) * SLC_PART_VALUE_MAX
                         : item->chunk->body_bytes + 4096u;
        }
    }
    return bytes;
}

static slc_err job_try(slc_store *store, slc_job *job)
{
    slc_err rc =
        job->drops_only ? SLC_OK : slc_store_env_room(store, job_bytes(store), &job->error);
    return rc == SLC_OK ? job_transaction(store, job) : rc;
}

// A commit N is durable when commit N+1 has returned, since that flushed the meta page of N with its own data, or after an
// explicit flush. When the loop has more to write, its next job is that flush.
static void job_sync(slc_store *store, slc_job *job)
{
    job->synced = !slc_store_defers(store);
    if (job->synced)
        return;
    bool wanted = job->rc == SLC_ENOSPC || job->mark_clean || job->sync_only ||
                  !atomic_load(&store->more_waits);
    if (!wanted || (job->rc != SLC_OK && job->rc != SLC_ENOSPC))
        return;
    slc_error error = {0};
    slc_err rc = slc_store_env_sync(store, &error);
    if (rc != SLC_OK) {
        job->rc = rc;
        job->error = error;
        return;
    }
    job->syncs++;
    job->synced = true;
}

static void job_run(slc_store *store, slc_job *job)
{
    uint64_t from_ns = slc_clock_now_ns();
    if (job->sync_only) {
        job_sync(store, job);
        job->nanoseconds = slc_clock_now_ns() - from_ns;
        return;
    }
    job->rc = job_try(store, job);
    // LMDB gives out freed pages two transactions later, and a refused one does not count: without a small commit in
    // between, what the last job freed would stay out of reach for ever.
    slc_error ignored = {0};
    if (job->rc == SLC_ENOSPC && slc_store_env_tick(store, &ignored) == SLC_OK)
        job->rc = job_try(store, job);
    if (job->rc == SLC_ENOSPC) {
        // Give up the ballast; what only drops may use its pages at once.
        if (store->has_ballast && slc_store_env_ballast(store, false, &ignored) == SLC_OK)
            store->has_ballast = false;
        if (job->drops_only)
            job->rc = job_transaction(store, job);
    } else if (job->rc == SLC_OK && job->restore_ballast && !store->has_ballast) {
        store->has_ballast = slc_store_env_room(store, STORE_BALLAST_BYTES, &ignored) == SLC_OK &&
                             slc_store_env_ballast(store, true, &ignored) == SLC_OK;
    }
    job->ballast_missing = !store->has_ballast;
    job_sync(store, job);
    slc_store_env_size(store, &job->file_bytes, &job->free_bytes);
    job->nanoseconds = slc_clock_now_ns() - from_ns;
}

void slc_store_writer_main(void *arg)
{
    slc_store *store = arg;
    prctl(PR_SET_NAME, "store");
    for (bool stop = false; !stop;) {
        uv_sem_wait(&store->wake);
        stop = store->job.stop;
        if (!stop || store->job.mark_clean)
            job_run(store, &store->job);
        slc_err ignored;
        (void)SLC_FAILPOINT("store.notify.before", &ignored);
        slc_mailbox_post(&store->mailbox, &store->job.mail);
    }
}
