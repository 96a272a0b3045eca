// Recovery: from what stands in the environment to the index, and the report to the visitor.
//
// The directory of segments first, then one pass over the log from front to back, after a look at its end: a batch without
// end is cut off there. Nothing is written but that cut and the cleared clean marker, so a crash in here changes nothing;
// what nobody needs (segments of deleted queues, parts of settled contents) is deleted in the background afterwards.
#include <stdlib.h>

#include "base/map.h"
#include "store_impl.h"

/** A large content that somebody named. */
typedef struct named {
    uint64_t first_lsn;
    uint32_t slot;
    UT_hash_handle hh;
} named;

typedef struct recovery {
    slc_store *store;
    slc_shard *shard;
    MDB_txn *txn;
    slc_error *error;
    uint64_t lsn; // of the chunk being read
    named *named; // by first_lsn
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
    slc_err rc =
        slc_state_decode(slc_slice_of(data.mv_data, data.mv_size), r->shard->id, state, r->error);
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
        rc = slc_queue_value_decode(slc_slice_of(data.mv_data, data.mv_size), shard->id, qid,
                                    &value, r->error);
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
    slc_store_value_need(data);
    slc_err rc = slc_chunk_open(slc_slice_of(data->mv_data, data->mv_size), r->shard->id, r->lsn,
                                head, body, r->error);
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

static slc_err resident_note(recovery *r, uint64_t first, uint32_t parts, uint64_t bytes,
                             uint32_t refs, uint32_t *slot)
{
    slc_shard *shard = r->shard;
    named *known;
    HASH_FIND(hh, r->named, &first, sizeof first, known);
    if (known == NULL) {
        known = slc_alloc_zero(1, sizeof *known);
        known->first_lsn = first;
        known->slot = UINT32_MAX;
        HASH_ADD(hh, r->named, first_lsn, sizeof first, known);
    }
    const slc_resident *resident =
        known->slot == UINT32_MAX ? NULL : &shard->residents[known->slot];
    // Its slot may be another one's by now: all that named it was dropped.
    if (resident == NULL || resident->refs == 0 || resident->first_lsn != first)
        known->slot = slc_shard_resident_add(shard, first, parts, bytes);
    else if (resident->parts != parts || resident->bytes != bytes)
        return damaged(r, "two records disagree about one large content");
    shard->residents[known->slot].refs += refs;
    *slot = known->slot;
    return SLC_OK;
}

static void named_free(recovery *r)
{
    named *n, *next;
    HASH_ITER(hh, r->named, n, next)
    {
        HASH_DEL(r->named, n);
        slc_free(n);
    }
}

/* ---- segments ---- */

static slc_err segment_residents(recovery *r, const slc_directory *directory, slc_segment *segment)
{
    uint32_t capacity = 0;
    for (uint32_t i = 0; i < directory->residents; i++) {
        slc_directory_resident d = slc_directory_resident_at(directory, i);
        if (d.parts == 0 || d.first_lsn == 0 || !slc_segment_live(segment, d.qseq))
            continue; // dropped since
        uint32_t slot;
        slc_err rc = resident_note(r, d.first_lsn, d.parts, d.bytes, 1, &slot);
        if (rc != SLC_OK)
            return rc;
        *STORE_PUSH(segment->residents, segment->resident_count, capacity) =
            (slc_segment_resident){.qseq = d.qseq, .slot = slot};
    }
    return SLC_OK;
}

static slc_err segment_note(recovery *r, uint32_t qid, uint64_t first, slc_slice value)
{
    slc_shard *shard = r->shard;
    slc_directory d;
    slc_err rc = slc_directory_decode(value, shard->id, qid, first, &d, r->error);
    if (rc != SLC_OK)
        return rc;
    slc_squeue *queue = slc_shard_queue(shard, qid);
    if (queue == NULL || d.live == 0) { // its queue was deleted, or it was about to be
        slc_shard_grave_add(shard, (slc_grave){qid, first, 0, UINT64_MAX, true});
        return SLC_OK;
    }
    if (queue->segment_tail > 0 && queue->segments[queue->segment_tail - 1]->last >= first)
        return slc_error_set(r->error, SLC_ECORRUPT, "it overlaps the one before it");
    slc_segment segment = {
        .first = first, .last = d.last, .bytes = d.bytes, .count = d.count, .live = d.live};
    segment.live_bytes = d.live == d.count ? d.bytes : d.bytes / d.count * d.live;
    if (d.dead_bytes > 0) {
        segment.dead = slc_alloc(d.dead_bytes);
        memcpy(segment.dead, d.dead, d.dead_bytes);
    }
    rc = segment_residents(r, &d, &segment);
    slc_shard_segment_add(shard, queue, &segment);
    if (queue->next_qseq <= d.last)
        queue->next_qseq = d.last + 1;
    slc_store_stats *stats = &shard->store->stats;
    stats->live_messages += segment.live;
    stats->live_bytes += segment.live_bytes;
    return rc;
}

static slc_err segments_read(recovery *r)
{
    slc_shard *shard = r->shard;
    MDB_cursor *cursor;
    int code = mdb_cursor_open(r->txn, shard->smd, &cursor);
    if (code != 0)
        return slc_store_env_error(code, r->error, "reading the directory of segments");
    slc_err rc = SLC_OK;
    MDB_val key, data;
    while (rc == SLC_OK && (code = mdb_cursor_get(cursor, &key, &data, MDB_NEXT)) == 0) {
        uint32_t qid = 0;
        uint64_t first = 0;
        rc = slc_segment_key_decode(slc_slice_of(key.mv_data, key.mv_size), &qid, &first, r->error);
        if (rc == SLC_OK)
            rc = segment_note(r, qid, first, slc_slice_of(data.mv_data, data.mv_size));
        if (rc != SLC_OK)
            slc_error_wrap(r->error,
                           "shard %04x, segment %" PRIu64 " of queue %" PRIu32 " (%04x.smd)",
                           shard->id, first, qid, shard->id);
    }
    mdb_cursor_close(cursor);
    if (rc == SLC_OK && code != MDB_NOTFOUND)
        rc = slc_store_env_error(code, r->error, "reading the directory of segments");
    // Of a segment whose record is gone nothing else tells.
    MDB_stat segments, records;
    if (rc == SLC_OK && ((code = mdb_stat(r->txn, shard->seg, &segments)) != 0 ||
                         (code = mdb_stat(r->txn, shard->smd, &records)) != 0))
        rc = slc_store_env_error(code, r->error, "counting the segments");
    if (rc == SLC_OK && segments.ms_entries != records.ms_entries)
        rc =
            slc_error_set(r->error, SLC_ECORRUPT,
                          "shard %04x: there are %zu segments in %04x.seg and %zu directory "
                          "records in %04x.smd; each has one of the other",
                          shard->id, segments.ms_entries, shard->id, records.ms_entries, shard->id);
    return rc;
}

/* ---- the log ---- */

// In a segment already: the log kept its copy only until the migration was through.
static bool in_segment(const slc_squeue *queue, uint64_t qseq)
{
    uint32_t at = slc_queue_segment_from(queue, qseq);
    return at < queue->segment_tail && queue->segments[at]->first <= qseq;
}

// The queue in which a target lives in the log, or NULL.
static slc_squeue *target_queue(recovery *r, const slc_store_target *target)
{
    slc_squeue *queue = target->qid == 0 ? NULL : slc_shard_queue(r->shard, target->qid);
    return queue == NULL || in_segment(queue, target->qseq) ? NULL : queue;
}

static slc_err enq_apply(recovery *r, const slc_record *record)
{
    slc_shard *shard = r->shard;
    uint32_t live = 0, slot = UINT32_MAX;
    for (uint32_t i = 0; i < record->enq.targets; i++) {
        slc_store_target target = slc_record_target(record, i);
        live += target_queue(r, &target) != NULL;
    }
    if (live == 0)
        return SLC_OK;
    bool resident = (record->flags & SLC_ENQ_RESIDENT) != 0;
    if (resident) {
        uint64_t first = record->enq.resident_lsn;
        uint32_t parts = record->enq.resident_parts;
        if (parts == 0 || first == 0 || first >= r->lsn || parts > r->lsn - first)
            return damaged(r, "a large message names parts that are not in front of it");
        slc_err rc = resident_note(r, first, parts, record->enq.content_bytes, live, &slot);
        if (rc != SLC_OK)
            return rc;
    }
    for (uint32_t i = 0; i < record->enq.targets; i++) {
        slc_store_target target = slc_record_target(record, i);
        slc_squeue *queue = target_queue(r, &target);
        if (queue == NULL)
            continue;
        if (target.qseq == 0 ||
            (queue->live > 0 && queue->entries[queue->tail - 1].qseq >= target.qseq))
            return damaged(r, "positions in a queue do not ascend");
        slc_entry *entry = slc_queue_entry_add(queue, target.qseq);
        entry->lsn = r->lsn;
        entry->bytes = resident ? slot : (uint32_t)record->enq.content_bytes;
        entry->flags = resident ? ENTRY_RESIDENT : 0;
        if (queue->next_qseq <= target.qseq)
            queue->next_qseq = target.qseq + 1;
        queue->last_lsn = queue->disk_lsn = r->lsn;
        if (queue->next_qseq > queue->saved_qseq)
            slc_shard_unsaved_touch(shard, queue);
    }
    slc_shard_lsn(shard, r->lsn)->live += live;
    shard->store->stats.live_messages += live;
    shard->store->stats.log_messages += live;
    shard->store->stats.live_bytes += live * record->enq.content_bytes;
    return SLC_OK;
}

static void range_drop(slc_shard *shard, slc_squeue *queue, uint64_t first, uint64_t last,
                       uint64_t lsn)
{
    for (slc_entry *entry;
         (entry = slc_queue_entry_from(queue, first)) != NULL && entry->qseq <= last;)
        slc_shard_entry_drop(shard, queue, entry, lsn);
    for (uint32_t at; (at = slc_queue_segment_from(queue, first)) < queue->segment_tail;) {
        slc_segment *segment = queue->segments[at];
        uint64_t end = segment->last;
        if (segment->first > last)
            return;
        if (segment->first >= first && end <= last) {
            slc_shard_segment_bury(shard, segment, lsn, lsn);
        } else {
            uint64_t to = end < last ? end : last;
            for (uint64_t qseq = first > segment->first ? first : segment->first; qseq <= to;
                 qseq++) {
                bool gone = segment->live == 1;
                if (!slc_segment_live(segment, qseq))
                    continue;
                slc_shard_segment_drop(shard, segment, qseq, lsn);
                if (gone)
                    break;
            }
        }
        if (end >= last)
            return;
        first = end + 1;
    }
}

static void drop_apply(recovery *r, const slc_record *record)
{
    slc_squeue *queue = slc_shard_queue(r->shard, record->drop.qid);
    for (uint32_t i = 0; queue != NULL && i < record->drop.ranges; i++) {
        uint64_t qseq;
        uint32_t count;
        slc_record_range(record, i, &qseq, &count);
        if (count == 0 || qseq > UINT64_MAX - count)
            continue;
        range_drop(r->shard, queue, qseq, qseq + count - 1, r->lsn);
        // It may name positions of messages that were cancelled, of which nothing else tells. Given again, they could stand
        // in a segment when this record is replayed the next time.
        if (queue->next_qseq < qseq + count)
            queue->next_qseq = qseq + count;
    }
}

static slc_err chunk_apply(recovery *r, const slc_chunk_head *head, slc_slice body)
{
    slc_shard *shard = r->shard;
    slc_lsn *line = slc_shard_lsn(shard, slc_shard_lsn_push(shard, 1));
    line->bytes = slc_store_env_takes(shard->store, SLC_CHUNK_HEAD_BYTES + head->body_bytes);
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
        else if (record.type == SLC_RECORD_PART)
            rc = damaged(r, "a part of a large content stands in the log");
        if (rc != SLC_OK)
            return rc;
    }
    return records == head->records ? SLC_OK
                                    : damaged(r, "it has another number of records than it says");
}

// The disk works on the next chunks while this one is looked at.
static void log_ahead(MDB_cursor *ahead, uint32_t count)
{
    MDB_val key, data;
    slc_need need = {0};
    for (uint32_t i = 0; i < count && mdb_cursor_get(ahead, &key, &data, MDB_NEXT) == 0; i++)
        slc_need_value(&need, &data);
    slc_need_end(&need);
}

static slc_err log_scan(recovery *r, uint64_t log_start, uint64_t *truncate_from)
{
    enum { AHEAD = 16 };
    slc_shard *shard = r->shard;
    MDB_cursor *cursor, *ahead;
    int code = mdb_cursor_open(r->txn, shard->log, &cursor);
    if (code == 0 && (code = mdb_cursor_open(r->txn, shard->log, &ahead)) != 0)
        mdb_cursor_close(cursor);
    if (code != 0)
        return slc_store_env_error(code, r->error, "reading the log");
    uint64_t end_lsn = 0;
    slc_err rc = end_find(r, cursor, log_start, &end_lsn);
    log_ahead(ahead, AHEAD);
    uint32_t chunks = 0;
    MDB_val key, data;
    code = rc == SLC_OK ? mdb_cursor_get(cursor, &key, &data, MDB_FIRST) : MDB_NOTFOUND;
    for (; rc == SLC_OK && code == 0; code = mdb_cursor_get(cursor, &key, &data, MDB_NEXT)) {
        slc_err point = SLC_OK;
        if (SLC_FAILPOINT("rec.scan.mid", &point)) {
            rc = slc_error_set(r->error, point, "rec.scan.mid");
            break;
        }
        if (chunks++ % AHEAD == 0)
            log_ahead(ahead, AHEAD);
        slc_chunk_head head;
        slc_slice body;
        rc = chunk_at(r, &key, &data, &head, &body);
        if (rc != SLC_OK)
            break;
        // Numbers in front of a chunk may be those of parts; only at the front of the log some of them may be gone.
        uint64_t expected = shard->next_lsn, from = r->lsn - head.skipped;
        if (head.skipped >= r->lsn || r->lsn < expected || from > expected ||
            (expected > log_start && from != expected)) {
            rc = slc_error_set(r->error, SLC_ECORRUPT,
                               "shard %04x: chunk %" PRIu64 " (key %016" PRIx64
                               " of %04x.log) is missing; the next one "
                               "there is %" PRIu64,
                               shard->id, expected, expected, shard->id, r->lsn);
            break;
        }
        if (r->lsn > end_lsn) {
            *truncate_from = end_lsn + 1;
            break;
        }
        if (r->lsn > expected)
            slc_shard_lsn_push(shard, (uint32_t)(r->lsn - expected));
        rc = chunk_apply(r, &head, body);
    }
    mdb_cursor_close(ahead);
    mdb_cursor_close(cursor);
    if (rc == SLC_OK && code != 0 && code != MDB_NOTFOUND)
        rc = slc_store_env_error(code, r->error, "reading the log");
    return rc;
}

/* ---- large contents ---- */

static int resident_compare(const void *a, const void *b)
{
    uint64_t x = (*(const slc_resident *const *)a)->first_lsn;
    uint64_t y = (*(const slc_resident *const *)b)->first_lsn;
    return x < y ? -1 : x > y;
}

static void part_free(slc_shard *shard, uint64_t lsn)
{
    slc_freed *last = shard->free_count == 0 ? NULL : &shard->frees[shard->free_count - 1];
    if (last != NULL && last->first + last->count == lsn && last->count < UINT32_MAX)
        last->count++;
    else
        *STORE_PUSH(shard->frees, shard->free_count, shard->free_capacity) =
            (slc_freed){.first = lsn, .count = 1};
}

// Walk over the keys of .res beside the live large contents in the same order: each must have its parts, and parts of
// nothing are to be deleted. Values are not read.
static slc_err residents_match(recovery *r, slc_resident **live, uint32_t count, MDB_cursor *cursor,
                               uint64_t *truncate_from)
{
    slc_shard *shard = r->shard;
    uint32_t at = 0, part = 0;
    MDB_val key, data;
    int code;
    while ((code = mdb_cursor_get(cursor, &key, &data, MDB_NEXT)) == 0) {
        uint64_t lsn = 0;
        if (key.mv_size != sizeof lsn)
            return damaged(r, "a key of .res does not have 8 bytes");
        memcpy(&lsn, key.mv_data, sizeof lsn);
        r->lsn = lsn = be64toh(lsn);
        if (lsn >= shard->next_lsn) {
            *truncate_from = shard->next_lsn;
            break;
        }
        if (at == count || lsn < live[at]->first_lsn + part) {
            part_free(shard, lsn);
            continue;
        }
        if (lsn != live[at]->first_lsn + part)
            break;
        if (++part == live[at]->parts) {
            at++;
            part = 0;
        }
    }
    if (code != 0 && code != MDB_NOTFOUND)
        return slc_store_env_error(code, r->error, "reading the large contents");
    if (at < count) {
        r->lsn = live[at]->first_lsn + part;
        return slc_error_set(r->error, SLC_ECORRUPT,
                             "shard %04x: part %" PRIu32 " of a live large content (key %016" PRIx64
                             " of %04x.res) is gone",
                             shard->id, part, r->lsn, shard->id);
    }
    return SLC_OK;
}

static slc_err residents_check(recovery *r, uint64_t *truncate_from)
{
    slc_shard *shard = r->shard;
    shard->free_count = 0; // what the replay freed is found again below
    slc_resident **live = slc_alloc((shard->resident_count + 1u) * sizeof *live);
    uint32_t count = 0;
    for (uint32_t i = 0; i < shard->resident_count; i++)
        if (shard->residents[i].refs > 0)
            live[count++] = &shard->residents[i];
    qsort(live, count, sizeof *live, resident_compare);
    MDB_cursor *cursor;
    int code = mdb_cursor_open(r->txn, shard->res, &cursor);
    slc_err rc;
    if (code == 0) {
        rc = residents_match(r, live, count, cursor, truncate_from);
        mdb_cursor_close(cursor);
    } else {
        rc = slc_store_env_error(code, r->error, "reading the large contents");
    }
    slc_free(live);
    return rc;
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
        rc = segments_read(r);
    if (rc == SLC_OK)
        rc = log_scan(r, state.log_start, &shard->truncate_from);
    // A batch and the state that tells of its end are of one transaction, and nothing goes from the back of the log but what
    // has no end: what ends earlier has lost chunks.
    if (rc == SLC_OK && shard->next_lsn <= state.hw)
        rc = slc_error_set(r->error, SLC_ECORRUPT,
                           "shard %04x: the last ended batch of %04x.log ends with chunk %" PRIu64
                           ", the shard state knows one that ended with chunk %" PRIu64
                           ": chunks at the end of the log are missing",
                           shard->id, shard->id, shard->next_lsn - 1, state.hw);
    if (rc == SLC_OK)
        rc = residents_check(r, &shard->truncate_from);
    shard->ended_lsn = shard->handed_lsn = shard->handed_chunk = shard->next_lsn - 1;
    return rc;
}

/* ---- the report ---- */

static slc_store_queue queue_summary(const slc_store *store, const slc_shard *shard,
                                     const slc_squeue *queue)
{
    slc_store_queue out = {.qid = queue->qid,
                           .uuid = queue->uuid,
                           .next_qseq = queue->next_qseq,
                           .messages = queue->live,
                           .delivered_qseq =
                               store->was_clean ? queue->delivered : queue->next_qseq - 1};
    for (uint32_t i = queue->head; i < queue->tail; i++)
        if ((queue->entries[i].flags & ENTRY_DEAD) == 0)
            out.bytes += slc_shard_entry_bytes(shard, &queue->entries[i]);
    for (uint32_t i = queue->segment_head; i < queue->segment_tail; i++) {
        out.messages += queue->segments[i]->live;
        out.bytes += queue->segments[i]->live_bytes;
    }
    return out;
}

static void shard_report(slc_store *store, slc_shard *shard, slc_store_visitor visitor, void *arg)
{
    for (uint32_t qid = 1; qid < shard->next_qid; qid++) {
        slc_squeue *queue = slc_shard_queue(shard, qid);
        if (queue == NULL) {
            if (qid / STORE_QUEUE_PAGE >= shard->queue_page_count)
                break;
            continue;
        }
        slc_store_queue summary = queue_summary(store, shard, queue);
        if (!visitor(shard->id, &summary, arg))
            (void)slc_store_queue_del(store, shard->id, qid);
    }
}

/* ---- the writes ---- */

static slc_err shard_cut(MDB_txn *txn, const slc_shard *shard, MDB_dbi dbi, slc_error *error)
{
    MDB_cursor *cursor;
    int code = mdb_cursor_open(txn, dbi, &cursor);
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
    for (uint32_t i = 0; i < store->shard_count && rc == SLC_OK; i++) {
        const slc_shard *shard = store->shards[i];
        if (shard->truncate_from != 0)
            rc = shard_cut(txn, shard, shard->log, error);
        if (shard->truncate_from != 0 && rc == SLC_OK)
            rc = shard_cut(txn, shard, shard->res, error);
    }
    if (rc != SLC_OK) {
        mdb_txn_abort(txn);
        return rc;
    }
    rc = slc_store_env_error(mdb_txn_commit(txn), error, "marking the store as running");
    for (uint32_t i = 0; i < store->shard_count && rc == SLC_OK; i++)
        store->shards[i]->truncate_from = 0;
    return rc;
}

slc_err slc_store_recover(slc_store *store, slc_store_visitor visitor, void *arg, slc_error *error)
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
        rc = shard_recover(&r);
        named_free(&r);
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
