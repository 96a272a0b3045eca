// A segment's directory record as it stands in the file: its map and its residents lie inside, its numbers agree.
#include "fuzz.h"

#include "store_seal.h"

enum { QID = 3 };

static void check_directory(slc_slice value, uint64_t first, const slc_directory *d)
{
    SLC_ASSERT(d->live <= d->count);
    SLC_ASSERT(d->last >= first);
    SLC_ASSERT(d->last - first < SLC_SEGMENT_SPAN_MAX);
    SLC_ASSERT((d->dead == NULL) == (d->dead_bytes == 0));
    SLC_ASSERT(store_inside(slc_slice_of(d->dead, d->dead_bytes), value));
    SLC_ASSERT(d->dead_bytes == 0 || d->dead_bytes == (d->last - first) / 8 + 1);
    slc_directory_resident *residents = slc_alloc((d->residents + 1u) * sizeof *residents);
    for (uint32_t i = 0; i < d->residents; i++)
        residents[i] = slc_directory_resident_at(d, i);
    uint8_t *again = slc_alloc(value.bytes);
    uint32_t bytes = slc_directory_encode(again, FUZZ_SHARD, QID, first, d, residents);
    SLC_ASSERT(bytes == value.bytes);
    slc_directory same;
    SLC_ASSERT(slc_directory_decode(slc_slice_of(again, bytes), FUZZ_SHARD, QID, first, &same,
                                    NULL) == SLC_OK);
    SLC_ASSERT(same.count == d->count);
    SLC_ASSERT(same.live == d->live);
    SLC_ASSERT(same.last == d->last);
    SLC_ASSERT(same.bytes == d->bytes);
    SLC_ASSERT(slc_slice_equal(slc_slice_of(same.dead, same.dead_bytes),
                               slc_slice_of(d->dead, d->dead_bytes)));
    slc_free(again);
    slc_free(residents);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    slc_slice in = slc_slice_of(data, bytes);
    slc_directory directory;
    slc_error error = {0};
    uint32_t qid;
    uint64_t first = 1;
    (void)store_opened(slc_directory_decode(in, FUZZ_SHARD, QID, first, &directory, &error),
                       &error);
    error = (slc_error){0};
    if (store_opened(slc_segment_key_decode(in, &qid, &first, &error), &error)) {
        uint8_t key[SLC_SEGMENT_KEY_BYTES];
        slc_segment_key(key, qid, first);
        SLC_ASSERT(slc_slice_equal(in, slc_slice_of(key, sizeof key)));
    }
    if (bytes < SLC_DIRECTORY_HEAD_BYTES)
        return 0;
    // The position of its first message stands in its key alone: one that its last allows, mostly.
    uint64_t last = slc_get64(data + 16), span = slc_get64(data + 24) % (SLC_SEGMENT_SPAN_MAX + 1);
    first = last > span ? last - span : last + 1;
    uint8_t key[SLC_SEGMENT_KEY_BYTES];
    slc_segment_key(key, QID, first);
    uint8_t *value = store_sealed(in, 2, slc_slice_of(key, sizeof key), 40, bytes);
    in = slc_slice_of(value, bytes);
    error = (slc_error){0};
    if (store_opened(slc_directory_decode(in, FUZZ_SHARD, QID, first, &directory, &error), &error))
        check_directory(in, first, &directory);
    slc_free(value);
    return 0;
}
