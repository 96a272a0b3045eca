// A queue entry or the shard state: what is taken from it is what is written again.
#include "fuzz.h"

#include "store_seal.h"

static void check_state(slc_slice in)
{
    slc_shard_state state;
    slc_error error = {0};
    if (!store_opened(slc_state_decode(in, FUZZ_SHARD, &state, &error), &error))
        return;
    SLC_ASSERT(state.log_start > 0);
    SLC_ASSERT(state.next_qid > 0);
    uint8_t bytes[SLC_STATE_BYTES];
    slc_state_encode(bytes, FUZZ_SHARD, &state);
    slc_shard_state same;
    SLC_ASSERT(slc_state_decode(slc_slice_of(bytes, sizeof bytes), FUZZ_SHARD, &same, NULL) ==
               SLC_OK);
    SLC_ASSERT(same.epoch == state.epoch);
    SLC_ASSERT(same.log_start == state.log_start);
    SLC_ASSERT(same.migrated == state.migrated);
    SLC_ASSERT(same.hw == state.hw);
    SLC_ASSERT(same.next_qid == state.next_qid);
    SLC_ASSERT(same.next_res == state.next_res);
    SLC_ASSERT(same.log_bytes == state.log_bytes);
}

static void check_queue(slc_slice in, uint32_t qid)
{
    slc_queue_value queue;
    slc_error error = {0};
    if (!store_opened(slc_queue_value_decode(in, FUZZ_SHARD, qid, &queue, &error), &error))
        return;
    SLC_ASSERT(slc_queue_value_qid(in) == qid);
    uint8_t bytes[SLC_QUEUE_VALUE_BYTES];
    slc_queue_value_encode(bytes, FUZZ_SHARD, qid, &queue);
    slc_queue_value same;
    SLC_ASSERT(slc_queue_value_decode(slc_slice_of(bytes, sizeof bytes), FUZZ_SHARD, qid, &same,
                                      NULL) == SLC_OK);
    SLC_ASSERT(memcmp(&same.uuid, &queue.uuid, sizeof same.uuid) == 0);
    SLC_ASSERT(same.next_qseq == queue.next_qseq);
    SLC_ASSERT(same.delivered == queue.delivered);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    slc_slice in = slc_slice_of(data, bytes), none = slc_slice_of(NULL, 0);
    check_state(in);
    check_queue(in, slc_queue_value_qid(in));
    check_queue(in, 1);
    if (bytes >= SLC_STATE_BYTES) {
        uint8_t *value = store_sealed(in, 2, none, SLC_STATE_BYTES - 8, SLC_STATE_BYTES);
        check_state(slc_slice_of(value, bytes));
        slc_free(value);
    }
    if (bytes >= SLC_QUEUE_VALUE_BYTES) {
        uint8_t *value =
            store_sealed(in, 2, none, SLC_QUEUE_VALUE_BYTES - 8, SLC_QUEUE_VALUE_BYTES);
        check_queue(slc_slice_of(value, bytes), slc_queue_value_qid(in));
        slc_free(value);
    }
    return 0;
}
