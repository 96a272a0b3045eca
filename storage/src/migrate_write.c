// The store thread's half of migration: read messages from where they stand, write them as segments.
#include "store_impl.h"

/** A segment that is being filled. Slots point into the pages that the messages come from. */
typedef struct filling {
    slc_writer *w;
    slc_shard *shard;
    const slc_slice_group *group;
    slc_slot *slots;
    uint32_t count, capacity;
    uint32_t value_bytes;
    uint64_t content_bytes;
    uint32_t first_item;
    // values ready to be written: of a merge all of them, since their sources have to go first
    uint8_t *values;
    size_t values_bytes, values_room;
    uint32_t made_from; // the first of them in slice->made

    // the source at hand
    uint64_t source; // 0: none
    slc_slice value, rest;
    uint32_t slot_index, slot_count;
} filling;

static slc_err fill_error(filling *f, const slc_slice_item *item, const char *what)
{
    return slc_error_set(
        &f->w->job->error, SLC_ECORRUPT,
        "shard %04x, message %" PRIu64 " of queue %" PRIu32 " (%s %" PRIu64 "): %s", f->shard->id,
        item->qseq, f->group->qid, f->group->merge ? "segment" : "chunk", item->source, what);
}

/* ---- sources ---- */

static slc_err chunk_seek(filling *f, const slc_slice_item *item)
{
    slc_shard *shard = f->shard;
    uint64_t buffer = htobe64(item->source);
    MDB_val key = {.mv_size = sizeof buffer, .mv_data = &buffer}, data;
    int code = mdb_get(f->w->txn, shard->log, &key, &data);
    if (code == MDB_NOTFOUND)
        return fill_error(f, item, "the chunk is missing");
    if (code != 0)
        return slc_writer_error(f->w, code, "reading a chunk");
    slc_store_value_need(&data);
    f->value = slc_slice_of(data.mv_data, data.mv_size);
    uint64_t bit = item->source - shard->window_from;
    if ((shard->window_seen[bit / 8] >> (bit % 8) & 1) == 0) {
        slc_chunk_head head;
        slc_slice body;
        slc_err rc =
            slc_chunk_open(f->value, shard->id, item->source, &head, &body, &f->w->job->error);
        if (rc != SLC_OK)
            return rc;
        shard->window_seen[bit / 8] |= (uint8_t)(1u << (bit % 8));
    }
    f->rest = slc_chunk_body(f->value);
    f->source = item->source;
    return SLC_OK;
}

static slc_err chunk_find(filling *f, const slc_slice_item *item, slc_slot *slot)
{
    if (f->source != item->source) {
        slc_err rc = chunk_seek(f, item);
        if (rc != SLC_OK)
            return rc;
    }
    // Positions ascend, so the search goes on where the last one ended; a wide message may be looked at twice.
    while (f->rest.bytes > 0) {
        slc_slice from = f->rest;
        slc_record record;
        slc_err rc = slc_record_next(&f->rest, &record, &f->w->job->error);
        if (rc != SLC_OK)
            return rc;
        for (uint32_t i = 0; record.type == SLC_RECORD_ENQ && i < record.enq.targets; i++) {
            slc_store_target target = slc_record_target(&record, i);
            if (target.qid != f->group->qid || target.qseq != item->qseq)
                continue;
            *slot = (slc_slot){.qseq = item->qseq,
                               .ts_ms = record.enq.ts_ms,
                               .expires_ms = target.expires_ms,
                               .priority = record.enq.priority,
                               .content = record.enq.content,
                               .content_bytes = record.enq.content_bytes,
                               .resident_lsn = record.enq.resident_lsn,
                               .resident_parts = record.enq.resident_parts};
            f->rest = from;
            return SLC_OK;
        }
    }
    return fill_error(f, item, "it is not there");
}

static slc_err segment_seek(filling *f, const slc_slice_item *item)
{
    uint8_t bytes[SLC_SEGMENT_KEY_BYTES];
    slc_segment_key(bytes, f->group->qid, item->source);
    MDB_val key = {.mv_size = sizeof bytes, .mv_data = bytes}, data;
    int code = mdb_get(f->w->txn, f->shard->seg, &key, &data);
    if (code == MDB_NOTFOUND)
        return fill_error(f, item, "the segment is missing");
    if (code != 0)
        return slc_writer_error(f->w, code, "reading a segment");
    slc_store_value_need(&data);
    f->value = slc_slice_of(data.mv_data, data.mv_size);
    f->slot_index = 0;
    f->source = item->source;
    return slc_segment_open(f->value, f->shard->id, f->group->qid, item->source, &f->slot_count,
                            &f->w->job->error);
}

static slc_err segment_find(filling *f, const slc_slice_item *item, slc_slot *slot)
{
    slc_err rc = SLC_OK;
    if (f->source != item->source)
        rc = segment_seek(f, item);
    while (rc == SLC_OK && f->slot_index < f->slot_count) {
        rc = slc_segment_slot(f->value, f->slot_index++, slot, &f->w->job->error);
        if (rc == SLC_OK && slot->qseq == item->qseq)
            return SLC_OK;
    }
    return rc != SLC_OK ? rc : fill_error(f, item, "it is not there");
}

/* ---- segments ---- */

// Turn the slots at hand into a value. Nothing of LMDB is changed here, so the slots' pages stay.
static void segment_close(filling *f, uint32_t next_item)
{
    if (f->count == 0)
        return;
    if (f->values_room - f->values_bytes < SLC_CHUNK_VALUE_MAX) {
        f->values_room = f->values_room * 2 + 4 * (size_t)SLC_CHUNK_VALUE_MAX;
        f->values = slc_realloc(f->values, f->values_room);
    }
    uint32_t bytes = slc_segment_encode(f->values + f->values_bytes, f->shard->id, f->group->qid,
                                        f->slots, f->count);
    SLC_ASSERT(bytes == f->value_bytes);
    f->values_bytes += bytes;
    slc_migration_slice *slice = &f->shard->job.slice;
    *STORE_PUSH(slice->made, slice->made_count, slice->made_capacity) =
        (slc_slice_made){.qid = f->group->qid,
                         .from = f->first_item,
                         .count = f->count,
                         .bytes = f->content_bytes,
                         .value_bytes = bytes,
                         .merge = f->group->merge};
    f->first_item = next_item;
    f->count = 0;
    f->value_bytes = SLC_SEGMENT_HEAD_BYTES;
    f->content_bytes = 0;
}

static slc_err directory_put(filling *f, const slc_slice_made *made, const uint8_t *value)
{
    const slc_slice_item *items = f->shard->job.slice.items + made->from;
    uint64_t first = items[0].qseq, last = items[made->count - 1].qseq;
    uint8_t dead[SLC_SEGMENT_SPAN_MAX / 8];
    uint64_t span = last - first + 1;
    memset(dead, 0, sizeof dead);
    slc_directory_resident *residents = slc_alloc(made->count * sizeof *residents);
    uint32_t resident_count = 0;
    uint64_t next = first;
    slc_slice whole = slc_slice_of(value, made->value_bytes);
    for (uint32_t i = 0; i < made->count; i++) {
        for (; next < items[i].qseq; next++)
            dead[(next - first) / 8] |= (uint8_t)(1u << ((next - first) % 8));
        next++;
        slc_slot slot;
        slc_err rc = slc_segment_slot(whole, i, &slot, &f->w->job->error);
        SLC_ASSERT(rc == SLC_OK); // encoded just now
        if (slot.resident_lsn != 0)
            residents[resident_count++] = (slc_directory_resident){.qseq = slot.qseq,
                                                                   .first_lsn = slot.resident_lsn,
                                                                   .bytes = slot.content_bytes,
                                                                   .parts = slot.resident_parts};
    }
    slc_directory directory = {.count = made->count,
                               .live = made->count,
                               .last = last,
                               .bytes = made->bytes,
                               .dead = dead,
                               .dead_bytes = span == made->count ? 0 : (uint32_t)((span + 7) / 8),
                               .residents = resident_count};
    static_assert(SLC_DIRECTORY_MAX < 65536, "a directory record fits on the stack");
    uint8_t record[SLC_DIRECTORY_MAX];
    uint32_t bytes =
        slc_directory_encode(record, f->shard->id, made->qid, first, &directory, residents);
    slc_free(residents);
    uint8_t key_bytes[SLC_SEGMENT_KEY_BYTES];
    slc_segment_key(key_bytes, made->qid, first);
    MDB_val key = {.mv_size = sizeof key_bytes, .mv_data = key_bytes};
    MDB_val data = {.mv_size = bytes, .mv_data = record};
    int code = mdb_put(f->w->txn, f->shard->smd, &key, &data, 0);
    f->w->job->bytes_written += bytes;
    return code == 0 ? SLC_OK : slc_writer_error(f->w, code, "writing a directory record");
}

static slc_err values_put(filling *f)
{
    slc_migration_slice *slice = &f->shard->job.slice;
    const uint8_t *value = f->values;
    slc_err rc = SLC_OK;
    for (uint32_t i = f->made_from; i < slice->made_count && rc == SLC_OK; i++) {
        const slc_slice_made *made = &slice->made[i];
        if (SLC_FAILPOINT("mig.segment.put", &rc))
            return slc_error_set(&f->w->job->error, rc, "mig.segment.put");
        uint8_t key_bytes[SLC_SEGMENT_KEY_BYTES];
        slc_segment_key(key_bytes, made->qid, slice->items[made->from].qseq);
        MDB_val key = {.mv_size = sizeof key_bytes, .mv_data = key_bytes};
        MDB_val data = {.mv_size = made->value_bytes, .mv_data = (void *)(uintptr_t)value};
        int code = mdb_put(f->w->txn, f->shard->seg, &key, &data, 0);
        if (code != 0)
            return slc_writer_error(f->w, code, "writing a segment");
        f->w->job->bytes_written += made->value_bytes;
        rc = directory_put(f, made, value);
        value += made->value_bytes;
    }
    f->values_bytes = 0;
    f->made_from = slice->made_count;
    f->source = 0; // what it points to is not to be used after a change
    return rc;
}

static slc_err sources_delete(filling *f)
{
    const slc_slice_item *items = f->shard->job.slice.items + f->group->from;
    slc_err rc = SLC_OK;
    for (uint32_t i = 0; i < f->group->count && rc == SLC_OK; i++)
        if (i == 0 || items[i].source != items[i - 1].source)
            rc = slc_writer_segment_delete(f->w, f->shard, f->group->qid, items[i].source);
    return rc;
}

static slc_err group_fill(filling *f)
{
    const slc_slice_item *items = f->shard->job.slice.items;
    uint32_t end = f->group->from + f->group->count;
    f->first_item = f->group->from;
    f->source = 0;
    for (uint32_t i = f->group->from; i < end; i++) {
        slc_slot slot;
        slc_err rc =
            f->group->merge ? segment_find(f, &items[i], &slot) : chunk_find(f, &items[i], &slot);
        if (rc != SLC_OK)
            return rc;
        uint32_t bytes = slc_slot_bytes(&slot);
        if (f->count > 0 && (f->value_bytes + bytes > SLC_SEGMENT_VALUE_MAX ||
                             slot.qseq - f->slots[0].qseq >= SLC_SEGMENT_SPAN_MAX))
            segment_close(f, i);
        *STORE_PUSH(f->slots, f->count, f->capacity) = slot;
        f->value_bytes += bytes;
        f->content_bytes += slot.content_bytes;
    }
    segment_close(f, end);
    slc_err rc = f->group->merge ? sources_delete(f) : SLC_OK;
    return rc == SLC_OK ? values_put(f) : rc;
}

slc_err slc_writer_slice(slc_writer *w, slc_shard *shard)
{
    slc_migration_slice *slice = &shard->job.slice;
    slice->made_count = 0;
    filling f = {.w = w, .shard = shard, .value_bytes = SLC_SEGMENT_HEAD_BYTES};
    slc_err rc = SLC_OK;
    for (uint32_t i = 0; i < slice->group_count && rc == SLC_OK; i++) {
        f.group = &slice->groups[i];
        rc = group_fill(&f);
    }
    slc_free(f.slots);
    slc_free(f.values);
    return rc;
}
