// Encoding and decoding of everything the store writes; see format.h and storage/FORMAT.md.
#include "format.h"

#include <inttypes.h>

// Inline, the hash is compiled with our flags and needs no heap state.
#define XXH_INLINE_ALL
#include <xxhash.h>

static uint64_t chunk_checksum(const uint8_t *value, uint16_t shard, size_t body_bytes)
{
    XXH3_state_t state;
    XXH3_64bits_reset_withSeed(&state, shard);
    XXH3_64bits_update(&state, value, 32);
    XXH3_64bits_update(&state, value + SLC_CHUNK_HEAD_BYTES, body_bytes);
    return XXH3_64bits_digest(&state);
}

void slc_chunk_seal(uint8_t *value, uint16_t shard, const slc_chunk_head *head)
{
    value[0] = head->version;
    value[1] = head->flags;
    slc_put16(value + 2, head->records);
    slc_put32(value + 4, head->epoch);
    slc_put64(value + 8, head->lsn);
    slc_put64(value + 16, head->wall_ms);
    slc_put32(value + 24, head->body_bytes);
    slc_put32(value + 28, head->skipped);
    slc_put64(value + 32, chunk_checksum(value, shard, head->body_bytes));
}

slc_err slc_chunk_open(slc_slice value, uint16_t shard, uint64_t lsn, slc_chunk_head *head,
                       slc_slice *body, slc_error *error)
{
    const uint8_t *data = value.data;
    if (value.bytes < SLC_CHUNK_HEAD_BYTES || value.bytes > SLC_CHUNK_VALUE_MAX)
        return slc_error_set(error, SLC_ECORRUPT,
                             "chunk %" PRIu64 " has %zu bytes; %d to %d are possible", lsn,
                             value.bytes, SLC_CHUNK_HEAD_BYTES, SLC_CHUNK_VALUE_MAX);
    if (data[0] != SLC_FORMAT_VERSION)
        return slc_error_set(error, SLC_EVERSION,
                             "chunk %" PRIu64 " has format version %u; this program knows %d", lsn,
                             data[0], SLC_FORMAT_VERSION);
    slc_chunk_head found = {
        .version = data[0],
        .flags = data[1],
        .records = slc_get16(data + 2),
        .epoch = slc_get32(data + 4),
        .lsn = slc_get64(data + 8),
        .wall_ms = slc_get64(data + 16),
        .body_bytes = slc_get32(data + 24),
        .skipped = slc_get32(data + 28),
    };
    if (found.body_bytes != value.bytes - SLC_CHUNK_HEAD_BYTES)
        return slc_error_set(error, SLC_ECORRUPT,
                             "chunk %" PRIu64 " says %" PRIu32 " bytes of body and has %zu", lsn,
                             found.body_bytes, value.bytes - SLC_CHUNK_HEAD_BYTES);
    uint64_t wanted = slc_get64(data + 32);
    uint64_t computed = chunk_checksum(data, shard, found.body_bytes);
    if (wanted != computed)
        return slc_error_set(error, SLC_ECORRUPT,
                             "chunk %" PRIu64 " is damaged: checksum %016" PRIx64
                             " stored, %016" PRIx64 " computed",
                             lsn, wanted, computed);
    if (found.lsn != lsn)
        return slc_error_set(error, SLC_ECORRUPT,
                             "chunk %" PRIu64 " stands under the key of chunk %" PRIu64, found.lsn,
                             lsn);
    if ((found.flags & ~(SLC_CHUNK_BATCH_BEGIN | SLC_CHUNK_BATCH_END | SLC_CHUNK_RESIDENT)) != 0)
        return slc_error_set(error, SLC_EVERSION, "chunk %" PRIu64 " has unknown flags 0x%02x", lsn,
                             found.flags);
    *head = found;
    *body = slc_slice_of(data + SLC_CHUNK_HEAD_BYTES, found.body_bytes);
    return SLC_OK;
}

slc_slice slc_chunk_body(slc_slice value)
{
    return slc_slice_of(value.data + SLC_CHUNK_HEAD_BYTES, value.bytes - SLC_CHUNK_HEAD_BYTES);
}

static slc_err record_damaged(slc_error *error, const char *what)
{
    return slc_error_set(error, SLC_ECORRUPT, "malformed record: %s", what);
}

static slc_err enq_decode(const uint8_t *data, uint32_t extra, uint32_t total, slc_record *out,
                          slc_error *error)
{
    bool resident = (out->flags & SLC_ENQ_RESIDENT) != 0;
    if (extra <
        (resident ? SLC_ENQ_RESIDENT_HEAD_BYTES : SLC_ENQ_HEAD_BYTES) - SLC_RECORD_HEAD_BYTES)
        return record_damaged(error, "the fixed part of a message is cut");
    out->enq.targets = slc_get16(data + 8);
    out->enq.priority = data[10];
    out->enq.content_bytes = slc_get64(data + 16);
    out->enq.ts_ms = slc_get64(data + 24);
    out->enq.resident_lsn = resident ? slc_get64(data + 32) : 0;
    out->enq.resident_parts = resident ? slc_get32(data + 40) : 0;
    uint64_t targets_at = (uint64_t)SLC_RECORD_HEAD_BYTES + extra;
    uint64_t content_at = targets_at + (uint64_t)out->enq.targets * SLC_TARGET_BYTES;
    if (content_at > total)
        return record_damaged(error, "a message has fewer targets than it says");
    uint64_t inside = total - content_at;
    if (inside != (resident ? 0 : out->enq.content_bytes))
        return record_damaged(error, "a message's content has the wrong size");
    out->enq.target_data = data + targets_at;
    out->enq.content = slc_slice_of(data + content_at, inside);
    return SLC_OK;
}

static slc_err drop_decode(const uint8_t *data, uint32_t extra, uint32_t total, slc_record *out,
                           slc_error *error)
{
    if (extra < SLC_DROP_HEAD_BYTES - SLC_RECORD_HEAD_BYTES)
        return record_damaged(error, "the fixed part of a drop is cut");
    out->drop.qid = slc_get32(data + 8);
    out->drop.reason = data[12];
    out->drop.ranges = slc_get16(data + 14);
    out->drop.range_data = data + SLC_RECORD_HEAD_BYTES + extra;
    if ((uint64_t)SLC_RECORD_HEAD_BYTES + extra + (uint64_t)out->drop.ranges * SLC_RANGE_BYTES !=
        total)
        return record_damaged(error, "a drop has another number of ranges than it says");
    return SLC_OK;
}

static slc_err part_decode(const uint8_t *data, uint32_t extra, uint32_t total, slc_record *out,
                           slc_error *error)
{
    if (extra < SLC_PART_HEAD_BYTES - SLC_RECORD_HEAD_BYTES)
        return record_damaged(error, "the fixed part of a resident part is cut");
    out->part.first_lsn = slc_get64(data + 8);
    out->part.index = slc_get32(data + 16);
    out->part.parts = slc_get32(data + 20);
    out->part.content_bytes = slc_get64(data + 24);
    uint32_t at = SLC_RECORD_HEAD_BYTES + extra;
    out->part.data = slc_slice_of(data + at, total - at);
    return SLC_OK;
}

slc_err slc_record_next(slc_slice *body, slc_record *out, slc_error *error)
{
    const uint8_t *data = body->data;
    if (body->bytes < SLC_RECORD_HEAD_BYTES)
        return record_damaged(error, "no room for its head");
    uint8_t type = data[0];
    uint32_t extra = slc_get16(data + 2);
    uint32_t total = slc_get32(data + 4);
    if (total > body->bytes || total < SLC_RECORD_HEAD_BYTES + extra)
        return record_damaged(error, "its length does not fit");
    *out = (slc_record){.type = type, .flags = data[1]};
    slc_err rc = SLC_OK;
    switch (type) {
    case SLC_RECORD_ENQ:
        rc = enq_decode(data, extra, total, out, error);
        break;
    case SLC_RECORD_DROP:
        rc = drop_decode(data, extra, total, out, error);
        break;
    case SLC_RECORD_PART:
        rc = part_decode(data, extra, total, out, error);
        break;
    case SLC_RECORD_QNEW:
    case SLC_RECORD_QDEL:
        if (extra < SLC_QUEUE_RECORD_BYTES - SLC_RECORD_HEAD_BYTES)
            return record_damaged(error, "the fixed part of a queue record is cut");
        out->queue.qid = slc_get32(data + 8);
        memcpy(out->queue.uuid.octets, data + 16, sizeof out->queue.uuid.octets);
        break;
    default:
        if ((out->flags & SLC_RECORD_SKIPPABLE) == 0)
            return slc_error_set(error, SLC_EVERSION, "record type %u is not known to this version",
                                 type);
        out->type = 0;
    }
    if (rc != SLC_OK)
        return rc;
    *body = slc_slice_of(data + total, body->bytes - total);
    return SLC_OK;
}

slc_store_target slc_record_target(const slc_record *record, uint32_t index)
{
    const uint8_t *at = record->enq.target_data + (size_t)index * SLC_TARGET_BYTES;
    return (slc_store_target){
        .qid = slc_get32(at), .qseq = slc_get64(at + 4), .expires_ms = slc_get64(at + 12)};
}

void slc_record_range(const slc_record *record, uint32_t index, uint64_t *qseq, uint32_t *count)
{
    const uint8_t *at = record->drop.range_data + (size_t)index * SLC_RANGE_BYTES;
    *qseq = slc_get64(at);
    *count = slc_get32(at + 8);
}

static void record_head(uint8_t *out, uint8_t type, uint8_t flags, uint32_t head_bytes,
                        uint32_t total)
{
    out[0] = type;
    out[1] = flags;
    slc_put16(out + 2, (uint16_t)(head_bytes - SLC_RECORD_HEAD_BYTES));
    slc_put32(out + 4, total);
}

uint32_t slc_enq_encode(uint8_t *out, uint64_t content_bytes, uint64_t ts_ms, uint8_t priority,
                        const slc_store_target *targets, uint32_t count, uint64_t resident_lsn,
                        uint32_t resident_parts)
{
    bool resident = resident_parts > 0;
    uint32_t head = resident ? SLC_ENQ_RESIDENT_HEAD_BYTES : SLC_ENQ_HEAD_BYTES;
    uint32_t written = head + count * SLC_TARGET_BYTES;
    record_head(out, SLC_RECORD_ENQ, resident ? SLC_ENQ_RESIDENT : 0, head,
                written + (resident ? 0 : (uint32_t)content_bytes));
    slc_put16(out + 8, (uint16_t)count);
    out[10] = priority;
    out[11] = 0;
    slc_put32(out + 12, 0);
    slc_put64(out + 16, content_bytes);
    slc_put64(out + 24, ts_ms);
    if (resident) {
        slc_put64(out + 32, resident_lsn);
        slc_put32(out + 40, resident_parts);
        slc_put32(out + 44, 0);
    }
    uint8_t *at = out + head;
    for (uint32_t i = 0; i < count; i++, at += SLC_TARGET_BYTES) {
        slc_put32(at, targets[i].qid);
        slc_put64(at + 4, targets[i].qseq);
        slc_put64(at + 12, targets[i].expires_ms);
    }
    return written;
}

uint32_t slc_drop_encode(uint8_t *out, uint32_t qid, uint8_t reason)
{
    record_head(out, SLC_RECORD_DROP, 0, SLC_DROP_HEAD_BYTES, SLC_DROP_HEAD_BYTES);
    slc_put32(out + 8, qid);
    out[12] = reason;
    out[13] = 0;
    slc_put16(out + 14, 0);
    return SLC_DROP_HEAD_BYTES;
}

uint32_t slc_queue_record_encode(uint8_t *out, uint8_t type, uint32_t qid, const slc_uuid *uuid)
{
    record_head(out, type, 0, SLC_QUEUE_RECORD_BYTES, SLC_QUEUE_RECORD_BYTES);
    slc_put32(out + 8, qid);
    slc_put32(out + 12, 0);
    memcpy(out + 16, uuid->octets, sizeof uuid->octets);
    return SLC_QUEUE_RECORD_BYTES;
}

uint32_t slc_part_encode(uint8_t *out, uint64_t first_lsn, uint32_t index, uint32_t parts,
                         uint64_t content_bytes, uint32_t data_bytes)
{
    record_head(out, SLC_RECORD_PART, 0, SLC_PART_HEAD_BYTES, SLC_PART_HEAD_BYTES + data_bytes);
    slc_put64(out + 8, first_lsn);
    slc_put32(out + 16, index);
    slc_put32(out + 20, parts);
    slc_put64(out + 24, content_bytes);
    return SLC_PART_HEAD_BYTES;
}

void slc_state_encode(uint8_t out[SLC_STATE_BYTES], uint16_t shard, const slc_shard_state *state)
{
    memset(out, 0, SLC_STATE_BYTES);
    slc_put16(out, SLC_FORMAT_VERSION);
    slc_put32(out + 4, state->epoch);
    slc_put64(out + 8, state->log_start);
    slc_put64(out + 16, state->migrated);
    slc_put64(out + 24, state->hw);
    slc_put32(out + 32, state->next_qid);
    slc_put64(out + 40, state->next_res);
    slc_put64(out + 48, state->log_bytes);
    slc_put64(out + SLC_STATE_BYTES - 8, XXH3_64bits_withSeed(out, SLC_STATE_BYTES - 8, shard));
}

slc_err slc_state_decode(slc_slice value, uint16_t shard, slc_shard_state *state, slc_error *error)
{
    if (value.bytes != SLC_STATE_BYTES)
        return slc_error_set(error, SLC_ECORRUPT, "the shard state has %zu bytes", value.bytes);
    if (slc_get16(value.data) != SLC_FORMAT_VERSION)
        return slc_error_set(error, SLC_EVERSION,
                             "the shard state has format version %u; this program knows %d",
                             slc_get16(value.data), SLC_FORMAT_VERSION);
    if (slc_get64(value.data + SLC_STATE_BYTES - 8) !=
        XXH3_64bits_withSeed(value.data, SLC_STATE_BYTES - 8, shard))
        return slc_error_set(error, SLC_ECORRUPT,
                             "the shard state is damaged: its checksum is wrong");
    *state = (slc_shard_state){
        .epoch = slc_get32(value.data + 4),
        .log_start = slc_get64(value.data + 8),
        .migrated = slc_get64(value.data + 16),
        .hw = slc_get64(value.data + 24),
        .next_qid = slc_get32(value.data + 32),
        .next_res = slc_get64(value.data + 40),
        .log_bytes = slc_get64(value.data + 48),
    };
    if (state->log_start == 0 || state->next_qid == 0)
        return slc_error_set(error, SLC_ECORRUPT,
                             "the shard state has a position of 0; they start at 1");
    return SLC_OK;
}

void slc_queue_value_encode(uint8_t out[SLC_QUEUE_VALUE_BYTES], uint16_t shard, uint32_t qid,
                            const slc_queue_value *value)
{
    slc_put16(out, SLC_FORMAT_VERSION);
    slc_put16(out + 2, 0);
    slc_put32(out + 4, qid);
    memcpy(out + 8, value->uuid.octets, sizeof value->uuid.octets);
    slc_put64(out + 24, value->next_qseq);
    slc_put64(out + 32, value->delivered);
    slc_put64(out + 40, XXH3_64bits_withSeed(out, 40, shard));
}

slc_err slc_queue_value_decode(slc_slice in, uint16_t shard, uint32_t qid, slc_queue_value *value,
                               slc_error *error)
{
    if (in.bytes != SLC_QUEUE_VALUE_BYTES)
        return slc_error_set(error, SLC_ECORRUPT, "a queue entry has %zu bytes", in.bytes);
    if (slc_get16(in.data) != SLC_FORMAT_VERSION)
        return slc_error_set(error, SLC_EVERSION,
                             "a queue entry has format version %u; this program knows %d",
                             slc_get16(in.data), SLC_FORMAT_VERSION);
    if (slc_get64(in.data + 40) != XXH3_64bits_withSeed(in.data, 40, shard))
        return slc_error_set(error, SLC_ECORRUPT,
                             "a queue entry is damaged: its checksum is wrong");
    if (slc_get32(in.data + 4) != qid)
        return slc_error_set(error, SLC_ECORRUPT,
                             "the entry of queue %" PRIu32
                             " stands under the key of queue %" PRIu32,
                             slc_get32(in.data + 4), qid);
    memcpy(value->uuid.octets, in.data + 8, sizeof value->uuid.octets);
    value->next_qseq = slc_get64(in.data + 24);
    value->delivered = slc_get64(in.data + 32);
    return SLC_OK;
}

uint32_t slc_queue_value_qid(slc_slice in)
{
    return in.bytes != SLC_QUEUE_VALUE_BYTES ? 0 : slc_get32(in.data + 4);
}
