// Encoding and decoding of segments and their directory records; see format.h and storage/FORMAT.md.
#include <inttypes.h>

#include "format.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { SEGMENT_CHECKED = 24, DIRECTORY_CHECKED = 40 }; // bytes in front of the checksum

void slc_segment_key(uint8_t out[SLC_SEGMENT_KEY_BYTES], uint32_t qid, uint64_t first)
{
    qid = htobe32(qid);
    first = htobe64(first);
    memcpy(out, &qid, sizeof qid);
    memcpy(out + 4, &first, sizeof first);
}

slc_err slc_segment_key_decode(slc_slice key, uint32_t *qid, uint64_t *first, slc_error *error)
{
    if (key.bytes != SLC_SEGMENT_KEY_BYTES)
        return slc_error_set(error, SLC_ECORRUPT, "a key has %zu bytes instead of %d", key.bytes,
                             SLC_SEGMENT_KEY_BYTES);
    memcpy(qid, key.data, sizeof *qid);
    memcpy(first, key.data + 4, sizeof *first);
    *qid = be32toh(*qid);
    *first = be64toh(*first);
    if (*qid == 0 || *first == 0)
        return slc_error_set(error, SLC_ECORRUPT, "a key has a 0; queues and positions start at 1");
    return SLC_OK;
}

// Of the key, the fields in front of the checksum, and all behind it.
static uint64_t value_checksum(const uint8_t *value, size_t checked, size_t bytes, uint16_t shard,
                               uint32_t qid, uint64_t first)
{
    uint8_t key[SLC_SEGMENT_KEY_BYTES];
    slc_segment_key(key, qid, first);
    XXH3_state_t state;
    XXH3_64bits_reset_withSeed(&state, shard);
    XXH3_64bits_update(&state, key, sizeof key);
    XXH3_64bits_update(&state, value, checked);
    XXH3_64bits_update(&state, value + checked + 8, bytes - checked - 8);
    return XXH3_64bits_digest(&state);
}

static slc_err value_check(slc_slice value, size_t checked, uint16_t shard, uint32_t qid,
                           uint64_t first, const char *what, slc_error *error)
{
    if (value.bytes < checked + 8)
        return slc_error_set(error, SLC_ECORRUPT, "%s has %zu bytes", what, value.bytes);
    if (slc_get16(value.data) != SLC_FORMAT_VERSION)
        return slc_error_set(error, SLC_EVERSION, "%s has format version %u; this program knows %d",
                             what, slc_get16(value.data), SLC_FORMAT_VERSION);
    uint64_t wanted = slc_get64(value.data + checked);
    uint64_t computed = value_checksum(value.data, checked, value.bytes, shard, qid, first);
    if (wanted != computed)
        return slc_error_set(error, SLC_ECORRUPT,
                             "%s is damaged: checksum %016" PRIx64 " stored, %016" PRIx64
                             " computed",
                             what, wanted, computed);
    return SLC_OK;
}

/* ---- segments ---- */

uint32_t slc_segment_encode(uint8_t *out, uint16_t shard, uint32_t qid, const slc_slot *slots,
                            uint32_t count)
{
    uint8_t *at = out + SLC_SEGMENT_HEAD_BYTES;
    uint32_t offset = SLC_SEGMENT_HEAD_BYTES + count * SLC_SLOT_BYTES;
    for (uint32_t i = 0; i < count; i++, at += SLC_SLOT_BYTES) {
        const slc_slot *slot = &slots[i];
        bool resident = slot->resident_lsn != 0;
        uint32_t bytes = resident ? SLC_SLOT_RESIDENT_BYTES : (uint32_t)slot->content.bytes;
        slc_put64(at, slot->qseq);
        slc_put64(at + 8, slot->ts_ms);
        slc_put64(at + 16, slot->expires_ms);
        slc_put32(at + 24, offset);
        slc_put32(at + 28, bytes);
        at[32] = slot->priority;
        at[33] = resident ? SLC_SLOT_RESIDENT : 0;
        memset(at + 34, 0, SLC_SLOT_BYTES - 34);
        if (resident) {
            slc_put64(out + offset, slot->resident_lsn);
            slc_put64(out + offset + 8, slot->content_bytes);
            slc_put32(out + offset + 16, slot->resident_parts);
            slc_put32(out + offset + 20, 0);
        } else if (bytes > 0) {
            memcpy(out + offset, slot->content.data, bytes);
        }
        offset += bytes;
    }
    slc_put16(out, SLC_FORMAT_VERSION);
    slc_put16(out + 2, 0);
    slc_put32(out + 4, count);
    slc_put32(out + 8, qid);
    slc_put32(out + 12, 0);
    slc_put64(out + 16, slots[0].qseq);
    slc_put64(out + SEGMENT_CHECKED,
              value_checksum(out, SEGMENT_CHECKED, offset, shard, qid, slots[0].qseq));
    return offset;
}

slc_err slc_segment_open(slc_slice value, uint16_t shard, uint32_t qid, uint64_t first,
                         uint32_t *count, slc_error *error)
{
    slc_err rc = value_check(value, SEGMENT_CHECKED, shard, qid, first, "a segment", error);
    if (rc != SLC_OK)
        return rc;
    *count = slc_get32(value.data + 4);
    if (*count == 0 || *count > (value.bytes - SLC_SEGMENT_HEAD_BYTES) / SLC_SLOT_BYTES)
        return slc_error_set(error, SLC_ECORRUPT,
                             "a segment of %zu bytes says %" PRIu32 " messages", value.bytes,
                             *count);
    return SLC_OK;
}

slc_err slc_segment_slot(slc_slice value, uint32_t index, slc_slot *slot, slc_error *error)
{
    const uint8_t *at = value.data + SLC_SEGMENT_HEAD_BYTES + (size_t)index * SLC_SLOT_BYTES;
    uint32_t offset = slc_get32(at + 24), bytes = slc_get32(at + 28);
    *slot = (slc_slot){
        .qseq = slc_get64(at),
        .ts_ms = slc_get64(at + 8),
        .expires_ms = slc_get64(at + 16),
        .priority = at[32],
        .flags = at[33],
        .content_bytes = bytes,
    };
    if (offset > value.bytes || bytes > value.bytes - offset)
        return slc_error_set(error, SLC_ECORRUPT, "message %" PRIu64 " lies outside its segment",
                             slot->qseq);
    const uint8_t *content = value.data + offset;
    if ((slot->flags & SLC_SLOT_RESIDENT) == 0) {
        slot->content = slc_slice_of(content, bytes);
        return SLC_OK;
    }
    if (bytes < SLC_SLOT_RESIDENT_BYTES)
        return slc_error_set(error, SLC_ECORRUPT, "the reference of message %" PRIu64 " is cut",
                             slot->qseq);
    slot->resident_lsn = slc_get64(content);
    slot->content_bytes = slc_get64(content + 8);
    slot->resident_parts = slc_get32(content + 16);
    if (slot->resident_lsn == 0 || slot->resident_parts == 0)
        return slc_error_set(error, SLC_ECORRUPT, "message %" PRIu64 " refers to nothing",
                             slot->qseq);
    return SLC_OK;
}

/* ---- directory records ---- */

uint32_t slc_directory_encode(uint8_t *out, uint16_t shard, uint32_t qid, uint64_t first,
                              const slc_directory *directory,
                              const slc_directory_resident *residents)
{
    slc_put16(out, SLC_FORMAT_VERSION);
    slc_put16(out + 2, 0);
    slc_put32(out + 4, directory->count);
    slc_put32(out + 8, directory->live);
    slc_put32(out + 12, directory->dead_bytes);
    slc_put64(out + 16, directory->last);
    slc_put64(out + 24, directory->bytes);
    slc_put32(out + 32, directory->residents);
    slc_put32(out + 36, 0);
    uint8_t *at = out + SLC_DIRECTORY_HEAD_BYTES;
    if (directory->dead_bytes > 0)
        memcpy(at, directory->dead, directory->dead_bytes);
    at += directory->dead_bytes;
    for (uint32_t i = 0; i < directory->residents; i++, at += SLC_DIRECTORY_RESIDENT_BYTES) {
        slc_put64(at, residents[i].qseq);
        slc_put64(at + 8, residents[i].first_lsn);
        slc_put64(at + 16, residents[i].bytes);
        slc_put32(at + 24, residents[i].parts);
        slc_put32(at + 28, 0);
    }
    uint32_t bytes = (uint32_t)(at - out);
    slc_put64(out + DIRECTORY_CHECKED,
              value_checksum(out, DIRECTORY_CHECKED, bytes, shard, qid, first));
    return bytes;
}

// Bits that are not set; those behind the last position do not count.
static uint32_t map_live(const uint8_t *dead, uint64_t span)
{
    uint32_t live = 0;
    for (uint64_t i = 0; i < span / 8; i++)
        live += 8 - (uint32_t)__builtin_popcount(dead[i]);
    if (span % 8 != 0)
        live += (uint32_t)__builtin_popcount(~(uint32_t)dead[span / 8] & ((1u << span % 8) - 1));
    return live;
}

slc_err slc_directory_decode(slc_slice value, uint16_t shard, uint32_t qid, uint64_t first,
                             slc_directory *out, slc_error *error)
{
    slc_err rc =
        value_check(value, DIRECTORY_CHECKED, shard, qid, first, "a directory record", error);
    if (rc != SLC_OK)
        return rc;
    *out = (slc_directory){
        .count = slc_get32(value.data + 4),
        .live = slc_get32(value.data + 8),
        .last = slc_get64(value.data + 16),
        .bytes = slc_get64(value.data + 24),
        .dead_bytes = slc_get32(value.data + 12),
        .residents = slc_get32(value.data + 32),
    };
    uint64_t span = out->last - first + 1;
    uint64_t wanted = SLC_DIRECTORY_HEAD_BYTES + (uint64_t)out->dead_bytes +
                      (uint64_t)out->residents * SLC_DIRECTORY_RESIDENT_BYTES;
    if (out->last < first || span > SLC_SEGMENT_SPAN_MAX || out->count == 0 || out->count > span ||
        out->live > out->count || wanted != value.bytes ||
        (out->dead_bytes != 0 && out->dead_bytes != (span + 7) / 8) ||
        (out->dead_bytes == 0 && out->live != span) || out->residents > out->count)
        return slc_error_set(error, SLC_ECORRUPT, "a directory record contradicts itself");
    out->dead = out->dead_bytes == 0 ? NULL : value.data + SLC_DIRECTORY_HEAD_BYTES;
    if (out->dead_bytes != 0 && map_live(out->dead, span) != out->live)
        return slc_error_set(error, SLC_ECORRUPT,
                             "a directory record says %" PRIu32
                             " live messages, and its map says %" PRIu32,
                             out->live, map_live(out->dead, span));
    out->resident_data = value.data + SLC_DIRECTORY_HEAD_BYTES + out->dead_bytes;
    return SLC_OK;
}

slc_directory_resident slc_directory_resident_at(const slc_directory *directory, uint32_t index)
{
    const uint8_t *at = directory->resident_data + (size_t)index * SLC_DIRECTORY_RESIDENT_BYTES;
    return (slc_directory_resident){.qseq = slc_get64(at),
                                    .first_lsn = slc_get64(at + 8),
                                    .bytes = slc_get64(at + 16),
                                    .parts = slc_get32(at + 24)};
}
