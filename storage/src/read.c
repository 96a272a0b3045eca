// Reading contents back. The loop decides what is live and where it stands; a pool thread copies it out of LMDB in short
// read transactions; the loop looks again before the callback, since messages may have been dropped meanwhile.
#include <inttypes.h>

#include "store_impl.h"

typedef struct read_item {
    uint64_t qseq;
    uint64_t lsn;
    uint64_t bytes;
    uint64_t resident_lsn; // 0: inline
    uint32_t resident_parts;
    bool found;
    uint64_t offset; // of its content in the buffer
} read_item;

typedef struct read_request {
    uv_work_t work;
    slc_store *store;
    slc_shard *shard;
    uint32_t qid;
    slc_store_read_cb cb;
    void *arg;
    read_item *items;
    uint32_t count;
    uint8_t *buffer;
    uint64_t buffer_bytes;
    slc_err rc;
    slc_error error;

    // the pool thread's
    MDB_txn *txn;
    uint32_t values;
    uint64_t since_ns;
    uint64_t chunk_lsn; // the chunk whose checksum was verified in this transaction
    slc_slice chunk_body;
} read_request;

static slc_err txn_fresh(read_request *q)
{
    if (q->txn != NULL && q->values < STORE_READ_VALUES &&
        slc_clock_now_ns() - q->since_ns < STORE_READ_NS)
        return SLC_OK;
    int code = 0;
    if (q->txn != NULL) {
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

// SLC_ENOTFOUND: the chunk is gone.
static slc_err chunk_get(read_request *q, uint64_t lsn, slc_slice *body)
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
    int code = mdb_get(q->txn, q->shard->log, &key, &data);
    q->values++;
    if (code == MDB_NOTFOUND)
        return SLC_ENOTFOUND;
    if (code != 0)
        return slc_store_env_error(code, &q->error, "reading a chunk");
    slc_chunk_head head;
    rc = slc_chunk_open(slc_slice_of(data.mv_data, data.mv_size), lsn, &head, body, &q->error);
    if (rc != SLC_OK) {
        slc_error_wrap(&q->error, "shard %04x, key %016" PRIx64 " of %04x.log", q->shard->id, lsn,
                       q->shard->id);
        return rc;
    }
    q->chunk_lsn = lsn;
    q->chunk_body = *body;
    return SLC_OK;
}

static bool enq_is(const slc_record *record, uint32_t qid, uint64_t qseq)
{
    for (uint32_t i = 0; record->type == SLC_RECORD_ENQ && i < record->enq.targets; i++) {
        slc_store_target target = slc_record_target(record, i);
        if (target.qid == qid && target.qseq == qseq)
            return true;
    }
    return false;
}

static slc_err damaged(read_request *q, const read_item *item, const char *what)
{
    return slc_error_set(&q->error, SLC_ECORRUPT,
                         "shard %04x, message %" PRIu64 " of queue %" PRIu32 " in chunk %" PRIu64
                         ": %s",
                         q->shard->id, item->qseq, q->qid, item->lsn, what);
}

static slc_err inline_copy(read_request *q, read_item *item)
{
    slc_slice body;
    slc_err rc = chunk_get(q, item->lsn, &body);
    if (rc != SLC_OK)
        return rc;
    while (body.bytes > 0) {
        slc_record record;
        rc = slc_record_next(&body, &record, &q->error);
        if (rc != SLC_OK)
            return rc;
        if (!enq_is(&record, q->qid, item->qseq))
            continue;
        if (record.enq.content.bytes != item->bytes)
            return damaged(q, item, "its size changed");
        if (item->bytes > 0)
            memcpy(q->buffer + item->offset, record.enq.content.data, item->bytes);
        item->found = true;
        return SLC_OK;
    }
    return damaged(q, item, "it is not there");
}

static slc_err resident_copy(read_request *q, read_item *item)
{
    uint64_t done = 0;
    for (uint32_t i = 0; i < item->resident_parts; i++) {
        slc_slice body;
        slc_err rc = chunk_get(q, item->resident_lsn + i, &body);
        if (rc != SLC_OK)
            return rc;
        if (body.bytes == 0)
            return SLC_ENOTFOUND; // freed meanwhile
        slc_record record;
        rc = slc_record_next(&body, &record, &q->error);
        if (rc != SLC_OK)
            return rc;
        if (record.type != SLC_RECORD_PART || record.part.first_lsn != item->resident_lsn ||
            record.part.index != i || record.part.content_bytes != item->bytes ||
            record.part.data.bytes > item->bytes - done)
            return damaged(q, item, "one of its parts belongs to something else");
        if (record.part.data.bytes > 0)
            memcpy(q->buffer + item->offset + done, record.part.data.data, record.part.data.bytes);
        done += record.part.data.bytes;
    }
    if (done != item->bytes)
        return damaged(q, item, "its parts do not add up");
    item->found = true;
    return SLC_OK;
}

static void read_work(uv_work_t *work)
{
    read_request *q = SLC_CONTAINER_OF(work, read_request, work);
    for (uint32_t i = 0; i < q->count && q->rc == SLC_OK; i++) {
        read_item *item = &q->items[i];
        if (item->found)
            continue;
        slc_err rc = item->resident_lsn != 0 ? resident_copy(q, item) : inline_copy(q, item);
        if (rc != SLC_ENOTFOUND)
            q->rc = rc;
    }
    if (q->txn != NULL)
        mdb_txn_abort(q->txn);
}

static void read_done(uv_work_t *work, int status)
{
    (void)status;
    read_request *q = SLC_CONTAINER_OF(work, read_request, work);
    slc_store *store = q->store;
    slc_store_message *messages = slc_alloc((q->count + 1) * sizeof *messages);
    uint32_t count = 0;
    const slc_squeue *queue = slc_shard_queue(q->shard, q->qid);
    for (uint32_t i = 0; i < q->count && q->rc == SLC_OK; i++) {
        const read_item *item = &q->items[i];
        if (queue == NULL || slc_queue_entry_find(queue, item->qseq) == NULL)
            continue;
        if (!item->found)
            q->rc = damaged(q, item, "it is live and not there");
        else
            messages[count++] = (slc_store_message){
                item->qseq, slc_slice_of(q->buffer + item->offset, item->bytes)};
    }
    store->reads_open--;
    if (q->rc == SLC_OK)
        q->cb(SLC_OK, messages, count, q->arg, NULL);
    else
        q->cb(q->rc, NULL, 0, q->arg, &q->error);
    slc_free(messages);
    slc_free(q->items);
    slc_free(q->buffer);
    slc_free(q);
    slc_store_close_step(store);
}

// A message that is not on disk yet: its bytes are still its publisher's; they may go before the callback, so copy.
static void pending_copy(read_request *q, read_item *item, const slc_entry *entry)
{
    const slc_chunk *chunk = slc_shard_pending_find(q->shard, entry->lsn);
    if (chunk == NULL)
        return;
    const slc_op *op = &chunk->ops[entry->record];
    const uint8_t *data = op->run != NULL ? op->run->data : op->data;
    if (item->bytes > 0)
        memcpy(q->buffer + item->offset, data, item->bytes);
    item->found = true;
}

void slc_store_read(slc_store *store, uint16_t shard_id, uint32_t qid, const uint64_t *qseqs,
                    uint32_t count, uint64_t bytes_max, slc_store_read_cb cb, void *arg)
{
    read_request *q = slc_alloc_zero(1, sizeof *q);
    q->store = store;
    q->shard = slc_store_shard(store, shard_id);
    q->qid = qid;
    q->cb = cb;
    q->arg = arg;
    q->items = slc_alloc_zero(count + 1u, sizeof *q->items);
    const slc_squeue *queue = slc_shard_queue(q->shard, qid);
    for (uint32_t i = 0; i < count && queue != NULL; i++) {
        const slc_entry *entry = slc_queue_entry_find(queue, qseqs[i]);
        if (entry == NULL)
            continue;
        uint64_t bytes = slc_shard_entry_bytes(q->shard, entry);
        if (q->count > 0 && q->buffer_bytes + bytes > bytes_max)
            break;
        read_item *item = &q->items[q->count++];
        *item = (read_item){
            .qseq = entry->qseq, .lsn = entry->lsn, .bytes = bytes, .offset = q->buffer_bytes};
        if ((entry->flags & ENTRY_RESIDENT) != 0) {
            item->resident_lsn = q->shard->residents[entry->bytes].first_lsn;
            item->resident_parts = q->shard->residents[entry->bytes].parts;
        }
        q->buffer_bytes += bytes;
    }
    q->buffer = slc_try_alloc(q->buffer_bytes + 1);
    if (q->buffer == NULL) {
        q->rc = slc_error_set(&q->error, SLC_ENOMEM, "reading %" PRIu64 " bytes of messages",
                              q->buffer_bytes);
        q->count = 0;
    }
    for (uint32_t i = 0; i < q->count; i++)
        pending_copy(q, &q->items[i], slc_queue_entry_find(queue, q->items[i].qseq));
    store->reads_open++;
    int code = uv_queue_work(store->options.loop, &q->work, read_work, read_done);
    SLC_ASSERT(code == 0);
}
