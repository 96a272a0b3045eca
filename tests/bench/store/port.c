// Recovery and reading: what of <slc/store.h> depends on how the store hands back what it holds. All in this file.
#include "bench.h"

/* ---- recovery ---- */

static bool visit_queue(uint16_t shard, const slc_store_queue *queue, void *arg)
{
    bench_recovered *out = arg;
    (void)shard;
    out->queues++;
    out->qid = queue->qid;
    out->messages += queue->messages;
    return true;
}

slc_err bench_recover(slc_store *store, bench_recovered *out, slc_error *error)
{
    *out = (bench_recovered){0};
    return slc_store_recover(store, visit_queue, out, error);
}

/* ---- reading ---- */

static void on_read(slc_err rc, const slc_store_message *messages, uint32_t count, void *arg,
                    const slc_error *error)
{
    if (rc != SLC_OK)
        bench_fail("reading a message: %s", error->text);
    if (count != 1 || messages[0].content.bytes == 0)
        bench_fail("reading a message: nothing came");
    *(bool *)arg = true;
}

void bench_read_first(bench_store *b, uint32_t qid, uint64_t first_qseq)
{
    bool done = false;
    slc_store_read(b->store, 0, qid, first_qseq, 1, 1 << 20, on_read, &done);
    while (!done)
        bench_turn(b);
}
