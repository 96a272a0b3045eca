// A segment as it stands in the file: whatever its slots say, they lie inside, and what was read can be written again.
#include "fuzz.h"

#include "store_seal.h"

enum { QID = 3 };

static void check_again(const slc_slot *slots, uint32_t count)
{
    uint64_t room = SLC_SEGMENT_HEAD_BYTES;
    for (uint32_t i = 0; i < count; i++)
        room += slc_slot_bytes(&slots[i]);
    uint8_t *again = slc_alloc(room);
    slc_slice in = slc_slice_of(again, slc_segment_encode(again, FUZZ_SHARD, QID, slots, count));
    SLC_ASSERT(in.bytes == room);
    uint32_t found;
    SLC_ASSERT(slc_segment_open(in, FUZZ_SHARD, QID, slots[0].qseq, &found, NULL) == SLC_OK);
    SLC_ASSERT(found == count);
    for (uint32_t i = 0; i < count; i++) {
        slc_slot same;
        SLC_ASSERT(slc_segment_slot(in, i, &same, NULL) == SLC_OK);
        SLC_ASSERT(same.qseq == slots[i].qseq);
        SLC_ASSERT(same.ts_ms == slots[i].ts_ms);
        SLC_ASSERT(same.expires_ms == slots[i].expires_ms);
        SLC_ASSERT(same.priority == slots[i].priority);
        SLC_ASSERT(same.content_bytes == slots[i].content_bytes);
        SLC_ASSERT(same.resident_lsn == slots[i].resident_lsn);
        SLC_ASSERT(same.resident_parts == slots[i].resident_parts);
        SLC_ASSERT(slc_slice_equal(same.content, slots[i].content));
    }
    slc_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    slc_slice in = slc_slice_of(data, bytes);
    uint32_t count = 0;
    slc_error error = {0};
    (void)store_opened(slc_segment_open(in, FUZZ_SHARD, QID, 1, &count, &error), &error);
    if (bytes < SLC_SEGMENT_HEAD_BYTES)
        return 0;
    uint64_t first = slc_get64(data + 16);
    uint8_t key[SLC_SEGMENT_KEY_BYTES];
    slc_segment_key(key, QID, first);
    uint8_t *value = store_sealed(in, 2, slc_slice_of(key, sizeof key), 24, bytes);
    in = slc_slice_of(value, bytes);
    error = (slc_error){0};
    if (store_opened(slc_segment_open(in, FUZZ_SHARD, QID, first, &count, &error), &error)) {
        SLC_ASSERT(count > 0);
        SLC_ASSERT(count <= bytes / SLC_SLOT_BYTES);
        slc_slot *slots = slc_alloc(count * sizeof *slots);
        uint32_t good = 0;
        while (good < count) {
            error = (slc_error){0};
            if (!store_opened(slc_segment_slot(in, good, &slots[good], &error), &error))
                break;
            SLC_ASSERT(store_inside(slots[good].content, in));
            SLC_ASSERT(slots[good].resident_lsn == 0 || slots[good].resident_parts > 0);
            good++;
        }
        // Two slots may name the same bytes, which a writer never does: then they would not fit.
        if (good == count)
            check_again(slots, count);
        slc_free(slots);
    }
    slc_free(value);
    return 0;
}
