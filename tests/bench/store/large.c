// T12: one message of 128 MiB, and what another publisher feels of it.
#include <string.h>

#include "bench.h"

static const uint64_t LARGE_BYTES = 128u << 20, LOG_BYTES = 256u << 20;

void bench_large(uint32_t run)
{
    (void)run;
    uint8_t *data = slc_alloc(LARGE_BYTES);
    for (uint64_t at = 0; at < LARGE_BYTES; at += BENCH_DATA_BYTES)
        memcpy(data + at, bench_data(), BENCH_DATA_BYTES);
    char dir[BENCH_PATH_BYTES];
    bench_path(dir, "store");
    bench_store b;
    bench_open(&b, dir, SLC_STORE_FLUSH_GROUP, LOG_BYTES);
    uint32_t large_qid = bench_queue(&b), small_qid = bench_queue(&b);
    bench_wait(&b, b.submitted);
    slc_store_stats before, after;
    slc_store_stat(b.store, &before);

    uint64_t from_ns = slc_clock_now_ns();
    slc_store_ticket large = bench_append_data(&b, large_qid, 1, data, LARGE_BYTES);
    double seconds = 0, longest_ms = 0;
    uint64_t commits = 0;
    // The other publisher waits for each confirm: one message is always under way while the large one is.
    for (uint64_t n = 1; seconds == 0; n++) {
        uint64_t sent_ns = slc_clock_now_ns();
        slc_store_ticket small = bench_append(&b, small_qid, n, 1024);
        while (b.durable < small) {
            bench_turn(&b);
            if (seconds == 0 && b.durable_large >= large) {
                seconds = bench_seconds_since(from_ns);
                slc_store_stat(b.store, &after);
                commits = after.commits - before.commits;
            }
        }
        double ms = bench_seconds_since(sent_ns) * 1e3;
        if (ms > longest_ms)
            longest_ms = ms;
    }
    bench_close(&b);
    bench_remove(dir);
    slc_free(data);

    if (commits == 0)
        bench_fail("a large message became durable without a commit");
    uint64_t batch = LARGE_BYTES / commits;
    double ceiling = bench_ceiling(batch, 0, commits).batches_per_s * (double)batch / BENCH_MIB;
    double speed = (double)LARGE_BYTES / BENCH_MIB / seconds;
    bench_sample(FIG_T12, speed, ceiling, speed / ceiling);
    bench_note(FIG_T12, "batches of %.1f MiB on both sides", (double)batch / BENCH_MIB);
    bench_sample(FIG_T12_DELAY, longest_ms, 0, longest_ms);
}
