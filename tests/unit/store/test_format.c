// Encoding and decoding are each other's inverse, and no cut or flipped byte gets past the decoder.
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdlib.h>

#include "format.h"

enum { SHARD = 0x0102 };

static uint8_t value[SLC_CHUNK_VALUE_MAX];

// One record of each kind; returns the chunk's bytes.
static uint32_t chunk_build(void)
{
    uint8_t *at = value + SLC_CHUNK_HEAD_BYTES;
    slc_store_target targets[3] = {{1, 10, 0}, {0, 11, 0}, {UINT32_MAX, UINT64_MAX, 99}};
    at += slc_enq_encode(at, 5, 123456789, 7, targets, 3, 0, 0);
    memcpy(at, "hello", 5);
    at += 5;
    at += slc_enq_encode(at, 1ull << 33, 1, 255, targets, 2, 42, 7);
    uint8_t *drop = at;
    at += slc_drop_encode(at, 77, SLC_DROP_EXPIRED);
    slc_put64(at, 1000);
    slc_put32(at + 8, 3);
    slc_put16(drop + 14, 1);
    slc_put32(drop + 4, SLC_DROP_HEAD_BYTES + SLC_RANGE_BYTES);
    at += SLC_RANGE_BYTES;
    slc_uuid uuid = {{1, 2, 3}};
    at += slc_queue_record_encode(at, SLC_RECORD_QNEW, 5, &uuid);
    at += slc_queue_record_encode(at, SLC_RECORD_QDEL, 6, &uuid);
    at += slc_part_encode(at, 9, 1, 2, 70000, 4);
    memcpy(at, "part", 4);
    at += 4;
    uint32_t bytes = (uint32_t)(at - value);
    slc_chunk_seal(value, SHARD,
                   &(slc_chunk_head){.version = SLC_FORMAT_VERSION,
                                     .flags = SLC_CHUNK_BATCH_BEGIN | SLC_CHUNK_BATCH_END,
                                     .records = 6,
                                     .epoch = 3,
                                     .lsn = 1234,
                                     .wall_ms = 99,
                                     .body_bytes = bytes - SLC_CHUNK_HEAD_BYTES});
    return bytes;
}

Test(format, a_chunk_comes_back_as_it_was_written)
{
    uint32_t bytes = chunk_build();
    slc_chunk_head head;
    slc_slice body;
    slc_error error = {0};
    cr_assert(eq(int, slc_chunk_open(slc_slice_of(value, bytes), SHARD, 1234, &head, &body, &error),
                 SLC_OK));
    cr_expect(eq(u32, head.epoch, 3));
    cr_expect(eq(u64, head.wall_ms, 99));
    cr_expect(eq(u16, head.records, 6));
    slc_record r;
    cr_assert(eq(int, slc_record_next(&body, &r, &error), SLC_OK));
    cr_expect(eq(u16, r.enq.targets, 3));
    cr_expect(eq(u8, r.enq.priority, 7));
    cr_expect(eq(u64, r.enq.ts_ms, 123456789));
    cr_expect(slc_slice_is(r.enq.content, "hello"));
    slc_store_target target = slc_record_target(&r, 2);
    cr_expect(eq(u32, target.qid, UINT32_MAX));
    cr_expect(eq(u64, target.qseq, UINT64_MAX));
    cr_expect(eq(u64, target.expires_ms, 99));
    cr_assert(eq(int, slc_record_next(&body, &r, &error), SLC_OK));
    cr_expect(eq(u64, r.enq.content_bytes, 1ull << 33));
    cr_expect(eq(u64, r.enq.resident_lsn, 42));
    cr_expect(eq(u32, r.enq.resident_parts, 7));
    cr_assert(eq(int, slc_record_next(&body, &r, &error), SLC_OK));
    uint64_t qseq;
    uint32_t count;
    slc_record_range(&r, 0, &qseq, &count);
    cr_expect(eq(u32, r.drop.qid, 77));
    cr_expect(eq(u64, qseq, 1000));
    cr_expect(eq(u32, count, 3));
    cr_assert(eq(int, slc_record_next(&body, &r, &error), SLC_OK));
    cr_expect(eq(u32, r.queue.qid, 5));
    cr_expect(eq(u8, r.queue.uuid.octets[2], 3));
    cr_assert(eq(int, slc_record_next(&body, &r, &error), SLC_OK));
    cr_expect(eq(u8, r.type, SLC_RECORD_QDEL));
    cr_assert(eq(int, slc_record_next(&body, &r, &error), SLC_OK));
    cr_expect(eq(u32, r.part.index, 1));
    cr_expect(slc_slice_is(r.part.data, "part"));
    cr_expect(eq(sz, body.bytes, 0));
}

Test(format, every_flipped_bit_of_a_chunk_is_found)
{
    uint32_t bytes = chunk_build();
    slc_chunk_head head;
    slc_slice body;
    for (uint32_t i = 0; i < bytes * 8; i++) {
        value[i / 8] ^= (uint8_t)(1 << i % 8);
        slc_err rc = slc_chunk_open(slc_slice_of(value, bytes), SHARD, 1234, &head, &body, NULL);
        cr_assert(rc == SLC_ECORRUPT || rc == SLC_EVERSION, "bit %u", i);
        value[i / 8] ^= (uint8_t)(1 << i % 8);
    }
    for (uint32_t cut = 0; cut < bytes; cut++)
        cr_assert(eq(int, slc_chunk_open(slc_slice_of(value, cut), SHARD, 1234, &head, &body, NULL),
                     SLC_ECORRUPT));
}

// The checksum guards against accidents; the decoder has to stand by itself.
Test(format, no_damaged_record_reads_outside_its_bytes, .timeout = 60)
{
    uint32_t bytes = chunk_build() - SLC_CHUNK_HEAD_BYTES;
    uint64_t rng = 88172645463325252ull;
    for (uint32_t round = 0; round < 200000; round++) {
        rng ^= rng << 13;
        rng ^= rng >> 7;
        rng ^= rng << 17;
        uint32_t cut = round % 3 == 0 ? (uint32_t)(rng >> 32) % (bytes + 1) : bytes;
        uint8_t *copy = malloc(cut + 1); // exact, for the address sanitizer
        memcpy(copy, value + SLC_CHUNK_HEAD_BYTES, cut);
        for (uint32_t i = 0; i < round % 5 && cut > 0; i++)
            copy[(rng >> (8 * i)) % cut] = (uint8_t)(rng >> (40 + i));
        slc_slice body = slc_slice_of(copy, cut);
        slc_record r;
        uint64_t sum = 0;
        while (body.bytes > 0 && slc_record_next(&body, &r, NULL) == SLC_OK) {
            for (uint32_t i = 0; r.type == SLC_RECORD_ENQ && i < r.enq.targets; i++)
                sum += slc_record_target(&r, i).qseq;
            for (size_t i = 0; r.type == SLC_RECORD_ENQ && i < r.enq.content.bytes; i++)
                sum += r.enq.content.data[i];
            for (uint32_t i = 0; r.type == SLC_RECORD_DROP && i < r.drop.ranges; i++) {
                uint64_t qseq;
                uint32_t count;
                slc_record_range(&r, i, &qseq, &count);
                sum += qseq;
            }
            for (size_t i = 0; r.type == SLC_RECORD_PART && i < r.part.data.bytes; i++)
                sum += r.part.data.data[i];
        }
        volatile uint64_t keep = sum;
        (void)keep;
        free(copy);
    }
}

Test(format, an_unknown_record_is_refused_unless_it_says_that_it_may_be_skipped)
{
    uint8_t record[16] = {200, 0, 0, 0, 16};
    slc_slice body = slc_slice_of(record, sizeof record);
    slc_record r;
    cr_expect(eq(int, slc_record_next(&body, &r, NULL), SLC_EVERSION));
    record[1] = SLC_RECORD_SKIPPABLE;
    cr_expect(eq(int, slc_record_next(&body, &r, NULL), SLC_OK));
    cr_expect(eq(u8, r.type, 0));
    cr_expect(eq(sz, body.bytes, 0));
}

Test(format, state_and_queue_values_come_back_and_their_damage_is_found)
{
    slc_shard_state state = {.epoch = 1,
                             .log_start = 2,
                             .hw = 4,
                             .next_qid = 5,
                             .next_res = 6,
                             .log_bytes = 7},
                    read;
    uint8_t bytes[SLC_STATE_BYTES];
    slc_state_encode(bytes, SHARD, &state);
    cr_assert(
        eq(int, slc_state_decode(slc_slice_of(bytes, sizeof bytes), SHARD, &read, NULL), SLC_OK));
    cr_expect(eq(u64, read.log_start, 2));
    cr_expect(eq(u32, read.next_qid, 5));
    slc_queue_value queue = {.uuid = {{9, 8, 7}}, .next_qseq = 10, .delivered = 3}, queue_read;
    uint8_t qbytes[SLC_QUEUE_VALUE_BYTES];
    slc_queue_value_encode(qbytes, SHARD, 6, &queue);
    cr_assert(
        eq(int,
           slc_queue_value_decode(slc_slice_of(qbytes, sizeof qbytes), SHARD, 6, &queue_read, NULL),
           SLC_OK));
    cr_expect(eq(u64, queue_read.next_qseq, 10));
    cr_expect(eq(u8, queue_read.uuid.octets[1], 8));
    // A byte more, or less, is damage too: the checksum ends where it should.
    static uint8_t longer[SLC_STATE_BYTES + 1];
    memcpy(longer, bytes, sizeof bytes);
    for (int more = -1; more <= 1; more += 2) {
        slc_slice wrong = slc_slice_of(longer, SLC_STATE_BYTES + (size_t)more);
        cr_expect(eq(int, slc_state_decode(wrong, SHARD, &read, NULL), SLC_ECORRUPT));
    }
    memcpy(longer, qbytes, sizeof qbytes);
    for (int more = -1; more <= 1; more += 2) {
        slc_slice wrong = slc_slice_of(longer, SLC_QUEUE_VALUE_BYTES + (size_t)more);
        cr_expect(
            eq(int, slc_queue_value_decode(wrong, SHARD, 6, &queue_read, NULL), SLC_ECORRUPT));
    }
    for (uint32_t i = 0; i < SLC_STATE_BYTES; i++) {
        bytes[i] ^= 4;
        cr_expect(ne(int, slc_state_decode(slc_slice_of(bytes, sizeof bytes), SHARD, &read, NULL),
                     SLC_OK),
                  "byte %u", i);
        bytes[i] ^= 4;
    }
    for (uint32_t i = 0; i < SLC_QUEUE_VALUE_BYTES; i++) {
        qbytes[i] ^= 4;
        cr_expect(ne(int,
                     slc_queue_value_decode(slc_slice_of(qbytes, sizeof qbytes), SHARD, 6,
                                            &queue_read, NULL),
                     SLC_OK));
        qbytes[i] ^= 4;
    }
}

// Whole values that stand where they do not belong: LMDB itself has no idea of it.
Test(format, a_value_under_another_key_or_in_another_shard_is_refused)
{
    slc_error error = {0};
    slc_chunk_head head;
    slc_slice body, chunk = slc_slice_of(value, chunk_build());
    cr_expect(eq(int, slc_chunk_open(chunk, SHARD, 1235, &head, &body, &error), SLC_ECORRUPT));
    cr_expect(eq(str, error.text, "chunk 1234 stands under the key of chunk 1235"));
    cr_expect(eq(int, slc_chunk_open(chunk, SHARD + 1, 1234, &head, &body, NULL), SLC_ECORRUPT));

    uint8_t bytes[SLC_STATE_BYTES];
    slc_shard_state state = {.log_start = 1, .next_qid = 1};
    slc_state_encode(bytes, SHARD, &state);
    slc_slice in = slc_slice_of(bytes, sizeof bytes);
    cr_expect(eq(int, slc_state_decode(in, SHARD + 1, &state, NULL), SLC_ECORRUPT));

    uint8_t qbytes[SLC_QUEUE_VALUE_BYTES];
    slc_queue_value queue = {.uuid = {{9, 8, 7}}, .next_qseq = 10};
    slc_queue_value_encode(qbytes, SHARD, 6, &queue);
    in = slc_slice_of(qbytes, sizeof qbytes);
    cr_expect(eq(u32, slc_queue_value_qid(in), 6));
    cr_expect(eq(int, slc_queue_value_decode(in, SHARD, 7, &queue, &error), SLC_ECORRUPT));
    cr_expect(eq(str, error.text, "the entry of queue 6 stands under the key of queue 7"));
    cr_expect(eq(int, slc_queue_value_decode(in, SHARD + 1, 6, &queue, NULL), SLC_ECORRUPT));

    uint32_t count;
    slc_slot slot = {.qseq = 100, .content = slc_slice_str("hello"), .content_bytes = 5};
    static uint8_t sbytes[SLC_CHUNK_VALUE_MAX];
    in = slc_slice_of(sbytes, slc_segment_encode(sbytes, SHARD, 6, &slot, 1));
    cr_expect(eq(int, slc_segment_open(in, SHARD, 6, 100, &count, NULL), SLC_OK));
    cr_expect(eq(int, slc_segment_open(in, SHARD, 7, 100, &count, NULL), SLC_ECORRUPT));
    cr_expect(eq(int, slc_segment_open(in, SHARD, 6, 101, &count, NULL), SLC_ECORRUPT));
    cr_expect(eq(int, slc_segment_open(in, SHARD + 1, 6, 100, &count, NULL), SLC_ECORRUPT));

    slc_directory directory = {.count = 1, .live = 1, .last = 100, .bytes = 5};
    in = slc_slice_of(sbytes, slc_directory_encode(sbytes, SHARD, 6, 100, &directory, NULL));
    cr_expect(eq(int, slc_directory_decode(in, SHARD, 6, 100, &directory, NULL), SLC_OK));
    cr_expect(eq(int, slc_directory_decode(in, SHARD, 7, 100, &directory, NULL), SLC_ECORRUPT));
    cr_expect(eq(int, slc_directory_decode(in, SHARD, 6, 99, &directory, NULL), SLC_ECORRUPT));
    cr_expect(eq(int, slc_directory_decode(in, SHARD + 1, 6, 100, &directory, NULL), SLC_ECORRUPT));
}

// Recovery takes the number of live messages from the record, so it has to be that of the map.
Test(format, a_directory_record_counts_its_map)
{
    static uint8_t bytes[SLC_DIRECTORY_MAX];
    uint8_t dead[2] = {0x81, 0xfe}; // the last bits are behind position 109
    slc_error error = {0};
    slc_directory read;
    for (uint32_t live = 0; live <= 9; live++) {
        slc_directory directory = {
            .count = 9, .live = live, .last = 109, .dead = dead, .dead_bytes = 2};
        slc_slice in =
            slc_slice_of(bytes, slc_directory_encode(bytes, SHARD, 6, 100, &directory, NULL));
        slc_err rc = slc_directory_decode(in, SHARD, 6, 100, &read, &error);
        cr_expect(eq(int, rc, live == 7 ? SLC_OK : SLC_ECORRUPT), "%u: %s", live, error.text);
    }
    cr_expect(eq(str, error.text, "a directory record says 9 live messages, and its map says 7"));
}
