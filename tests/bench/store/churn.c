// T14: does the file stay near its data while messages of all sizes come and go?
#include <inttypes.h>
#include <math.h>

#include "bench.h"

enum { QUEUES = 8, WINDOW = 1000 };
static const uint64_t LIVE_BYTES = 512u << 20, LOG_BYTES = 64u << 20;

typedef struct entry {
    uint32_t queue, bytes;
    uint64_t qseq;
} entry;

// Live messages: `young` are dropped about in order, `old` (one in twenty) at random and late. young is a ring.
typedef struct churn {
    bench_store b;
    uint32_t qids[QUEUES];
    uint64_t next_qseq[QUEUES];
    entry *young, *old;
    uint64_t capacity, young_first, young_count, old_count;
    uint64_t live_bytes, old_bytes, peak_bytes, churned_bytes;
} churn;

// Most between 64 B and 64 KiB, each order of magnitude equally often; one in a hundred between 256 KiB and 1 MiB.
static uint32_t size_pick(void)
{
    if (bench_random(100) == 0)
        return (uint32_t)((256 + bench_random(768)) << 10);
    return (uint32_t)(64 * exp2((double)bench_random(10000) / 1000));
}

static void churn_append(churn *c)
{
    entry e = {.queue = (uint32_t)bench_random(QUEUES), .bytes = size_pick()};
    e.qseq = ++c->next_qseq[e.queue];
    bench_append(&c->b, c->qids[e.queue], e.qseq, e.bytes);
    if (bench_random(20) == 0) {
        SLC_ASSERT(c->old_count < c->capacity);
        c->old[c->old_count++] = e;
        c->old_bytes += e.bytes;
    } else {
        SLC_ASSERT(c->young_count < c->capacity);
        c->young[(c->young_first + c->young_count++) % c->capacity] = e;
    }
    c->live_bytes += e.bytes;
    c->churned_bytes += e.bytes;
    if (c->live_bytes > c->peak_bytes)
        c->peak_bytes = c->live_bytes;
}

static void churn_drop(churn *c)
{
    entry e;
    if (c->young_count == 0 || c->old_bytes > LIVE_BYTES / 4) {
        uint64_t i = bench_random(c->old_count);
        e = c->old[i];
        c->old[i] = c->old[--c->old_count];
        c->old_bytes -= e.bytes;
    } else {
        // One in eight out of turn.
        entry *first = &c->young[c->young_first];
        uint64_t ahead = bench_random(8) == 0 ? bench_random(c->young_count) : 0;
        entry *other = &c->young[(c->young_first + ahead) % c->capacity];
        e = *other;
        *other = *first;
        c->young_first = (c->young_first + 1) % c->capacity;
        c->young_count--;
    }
    bench_drop(&c->b, c->qids[e.queue], e.qseq);
    c->live_bytes -= e.bytes;
}

// How much is to be alive: a wave between half and all, so that there is free space to be used again.
static uint64_t churn_target(const churn *c)
{
    uint64_t at = c->churned_bytes % (4 * LIVE_BYTES);
    uint64_t rise = at < 2 * LIVE_BYTES ? at : 4 * LIVE_BYTES - at;
    return LIVE_BYTES / 2 + rise / 4;
}

void bench_churn(uint32_t run)
{
    if (run > 0)
        return;
    char dir[BENCH_PATH_BYTES];
    bench_path(dir, "churn");
    churn c = {.capacity = LIVE_BYTES / 1024};
    c.young = slc_alloc(c.capacity * sizeof *c.young);
    c.old = slc_alloc(c.capacity * sizeof *c.old);
    bench_open(&c.b, dir, SLC_STORE_FLUSH_GROUP, LOG_BYTES);
    for (uint32_t i = 0; i < QUEUES; i++)
        c.qids[i] = bench_queue(&c.b);

    // A store that does not reuse space is stopped before it fills the disk.
    const uint64_t too_much = 8 * LIVE_BYTES;
    uint64_t from_ns = slc_clock_now_ns(), file = 0, turns = 0;
    while (bench_seconds_since(from_ns) < bench_opt.minutes * 60 && file < too_much) {
        while (c.b.submitted - c.b.durable < WINDOW) {
            churn_append(&c);
            while (c.live_bytes > churn_target(&c))
                churn_drop(&c);
        }
        bench_turn(&c.b);
        if (turns++ % 64 == 0)
            file = bench_file_bytes(dir);
    }
    double minutes = bench_seconds_since(from_ns) / 60;
    bench_wait(&c.b, c.b.submitted);
    bench_settle(&c.b);
    file = bench_file_bytes(dir);
    bench_close(&c.b);
    bench_remove(dir);
    slc_free(c.young);
    slc_free(c.old);

    bench_sample(FIG_T14, (double)file / BENCH_MIB, (double)c.peak_bytes / BENCH_MIB,
                 ((double)file - (double)LOG_BYTES) / (double)c.peak_bytes);
    bench_note(FIG_T14, "%.1f minutes, %.1f GiB through a log budget of %.0f MiB%s", minutes,
               (double)c.churned_bytes / BENCH_MIB / 1024, (double)LOG_BYTES / BENCH_MIB,
               file >= too_much ? "; ended early, the file grows without end" : "");
}
