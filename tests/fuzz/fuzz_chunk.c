// A chunk of the log or of .res, as it stands in the file, and the records in it.
#include "fuzz.h"

#include "store_seal.h"

static void check_enq(const slc_record *r, slc_slice body)
{
    SLC_ASSERT(store_inside(r->enq.content, body));
    slc_store_target *targets = slc_alloc((r->enq.targets + 1u) * sizeof *targets);
    for (uint32_t i = 0; i < r->enq.targets; i++)
        targets[i] = slc_record_target(r, i);
    bool resident = (r->flags & SLC_ENQ_RESIDENT) != 0;
    if (!resident || r->enq.resident_parts > 0) { // others nobody writes, and recovery refuses them
        uint8_t *again = slc_alloc(SLC_ENQ_RESIDENT_HEAD_BYTES + r->enq.targets * SLC_TARGET_BYTES +
                                   r->enq.content.bytes);
        uint32_t bytes =
            slc_enq_encode(again, r->enq.content_bytes, r->enq.ts_ms, r->enq.priority, targets,
                           r->enq.targets, r->enq.resident_lsn, r->enq.resident_parts);
        if (r->enq.content.bytes > 0)
            memcpy(again + bytes, r->enq.content.data, r->enq.content.bytes);
        slc_slice rest = slc_slice_of(again, bytes + r->enq.content.bytes);
        slc_record same;
        SLC_ASSERT(slc_record_next(&rest, &same, NULL) == SLC_OK);
        SLC_ASSERT(rest.bytes == 0);
        SLC_ASSERT(same.enq.targets == r->enq.targets);
        SLC_ASSERT(same.enq.priority == r->enq.priority);
        SLC_ASSERT(same.enq.ts_ms == r->enq.ts_ms);
        SLC_ASSERT(same.enq.resident_lsn == r->enq.resident_lsn);
        SLC_ASSERT(same.enq.resident_parts == r->enq.resident_parts);
        SLC_ASSERT(slc_slice_equal(same.enq.content, r->enq.content));
        for (uint32_t i = 0; i < r->enq.targets; i++) {
            slc_store_target target = slc_record_target(&same, i);
            SLC_ASSERT(memcmp(&target.qid, &targets[i].qid, sizeof target.qid) == 0);
            SLC_ASSERT(target.qseq == targets[i].qseq);
            SLC_ASSERT(target.expires_ms == targets[i].expires_ms);
        }
        slc_free(again);
    }
    slc_free(targets);
}

static void check_records(slc_slice body)
{
    slc_slice rest = body;
    uint64_t sum = 0; // every range is read
    while (rest.bytes > 0) {
        slc_record r;
        slc_error error = {0};
        size_t before = rest.bytes;
        if (!store_opened(slc_record_next(&rest, &r, &error), &error))
            break;
        SLC_ASSERT(rest.bytes + SLC_RECORD_HEAD_BYTES <= before);
        if (r.type == SLC_RECORD_ENQ)
            check_enq(&r, body);
        for (uint32_t i = 0; r.type == SLC_RECORD_DROP && i < r.drop.ranges; i++) {
            uint64_t qseq;
            uint32_t count;
            slc_record_range(&r, i, &qseq, &count);
            sum += qseq + count;
        }
        if (r.type == SLC_RECORD_PART)
            SLC_ASSERT(store_inside(r.part.data, body));
    }
    volatile uint64_t keep = sum;
    (void)keep;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    slc_slice in = slc_slice_of(data, bytes);
    slc_chunk_head head;
    slc_slice body;
    slc_error error = {0};
    (void)store_opened(slc_chunk_open(in, FUZZ_SHARD, 1, &head, &body, &error), &error);
    check_records(in);
    if (bytes < SLC_CHUNK_HEAD_BYTES)
        return 0;
    uint64_t lsn = slc_get64(data + 8);
    uint8_t *value = store_sealed(in, 1, slc_slice_of(NULL, 0), 32, bytes);
    error = (slc_error){0};
    if (store_opened(
            slc_chunk_open(slc_slice_of(value, bytes), FUZZ_SHARD, lsn, &head, &body, &error),
            &error)) {
        SLC_ASSERT(head.lsn == lsn);
        SLC_ASSERT(body.data == value + SLC_CHUNK_HEAD_BYTES);
        SLC_ASSERT(body.bytes == bytes - SLC_CHUNK_HEAD_BYTES);
        SLC_ASSERT(slc_chunk_open(slc_slice_of(value, bytes), FUZZ_SHARD, lsn + 1, &head, &body,
                                  NULL) == SLC_ECORRUPT);
        SLC_ASSERT(slc_chunk_open(slc_slice_of(value, bytes), FUZZ_SHARD + 1, lsn, &head, &body,
                                  NULL) == SLC_ECORRUPT);
        check_records(slc_chunk_body(slc_slice_of(value, bytes)));
        uint8_t *again = slc_alloc(bytes);
        memcpy(again, value, bytes);
        slc_chunk_seal(again, FUZZ_SHARD, &head);
        SLC_ASSERT(memcmp(again, value, bytes) == 0);
        slc_free(again);
    }
    slc_free(value);
    return 0;
}
