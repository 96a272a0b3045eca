// T1 to T5, T7, T8: what one commit costs.
#include "bench.h"

enum { TICKETS = 8192, MESSAGE_BYTES = 1024, QUEUES_MAX = 1000 };
static const uint64_t LOG_BYTES = 256u << 20;

// Messages numbered from 0 go round the queues: number n is position n / queues + 1 of queue n % queues. Above `keep` live
// ones each append drops the oldest, so that the log tier stays below its budget however fast the disk is.
typedef struct flow {
    bench_store b;
    char dir[BENCH_PATH_BYTES];
    uint32_t queues;
    uint32_t qids[QUEUES_MAX];
    uint64_t keep, appended, confirmed, dropped;
    slc_store_ticket tickets[TICKETS]; // of message n: [n % TICKETS]
} flow;

static void flow_open(flow *f, slc_store_flush_mode mode, uint32_t queues, uint64_t keep)
{
    *f = (flow){.queues = queues, .keep = keep};
    bench_path(f->dir, "store");
    bench_open(&f->b, f->dir, mode, LOG_BYTES);
    for (uint32_t i = 0; i < queues; i++)
        f->qids[i] = bench_queue(&f->b);
    bench_wait(&f->b, f->b.submitted);
}

static void flow_close(flow *f)
{
    bench_close(&f->b);
    bench_remove(f->dir);
}

static void flow_append(flow *f)
{
    uint64_t n = f->appended++;
    f->tickets[n % TICKETS] =
        bench_append(&f->b, f->qids[n % f->queues], n / f->queues + 1, MESSAGE_BYTES);
}

// Drops of one queue follow each other, as acknowledgements of a consumer do.
static void flow_drop(flow *f)
{
    for (; f->appended - f->dropped > f->keep; f->dropped++)
        bench_drop(&f->b, f->qids[f->dropped % f->queues], f->dropped / f->queues + 1);
}

static uint64_t flow_unconfirmed(flow *f)
{
    while (f->confirmed < f->appended && f->tickets[f->confirmed % TICKETS] <= f->b.durable)
        f->confirmed++;
    return f->appended - f->confirmed;
}

static uint64_t flow_open_ops(const flow *f)
{
    slc_store_stats stats;
    slc_store_stat(f->b.store, &stats);
    return stats.batch_ops_open;
}

// Batches of per_commit messages, one commit each: the next is put together while the one before is being written. Up to
// `messages` of them, or for so many seconds. Returns messages per second, to the last confirm.
static double flow_batches(flow *f, uint32_t per_commit, double seconds, uint64_t messages)
{
    uint64_t from_ns = slc_clock_now_ns(), from = f->appended;
    while (messages != 0 ? f->appended - from < messages : bench_seconds_since(from_ns) < seconds) {
        if (flow_open_ops(f) == 0 && flow_unconfirmed(f) + per_commit <= TICKETS) {
            for (uint32_t i = 0; i < per_commit; i++)
                flow_append(f);
            flow_drop(f);
        }
        bench_turn(&f->b);
    }
    bench_wait(&f->b, f->b.submitted);
    return (double)(f->appended - from) / bench_seconds_since(from_ns);
}

// Publishers with at most `window` messages unconfirmed among them. A batch gets at most half the window, as what comes from
// sockets is spread over loop turns: with all of it in one batch there never is a next one, and every commit would be the
// last before a pause. Returns messages per second.
static double flow_window(flow *f, uint32_t window, double seconds)
{
    uint64_t from_ns = slc_clock_now_ns(), from = f->appended;
    while (bench_seconds_since(from_ns) < seconds) {
        for (uint32_t half = 0; half < 2; half++) {
            uint64_t unconfirmed = flow_unconfirmed(f);
            for (uint64_t open = flow_open_ops(f); open < (window + 1) / 2 && unconfirmed < window;
                 open++, unconfirmed++)
                flow_append(f);
            flow_drop(f);
            slc_store_flush(f->b.store); // the first half is on its way if the store was free
        }
        bench_turn(&f->b);
    }
    bench_wait(&f->b, f->b.submitted);
    return (double)(f->appended - from) / bench_seconds_since(from_ns);
}

static flow the_flow; // too large for a stack

/* ---- T1, T5 ---- */

void bench_commit_1(uint32_t run)
{
    (void)run;
    flow *f = &the_flow;
    bench_ceiling_result ceiling = bench_ceiling(MESSAGE_BYTES, bench_opt.seconds, 0);
    flow_open(f, SLC_STORE_FLUSH_GROUP, 1, 50000);
    double *latencies = NULL;
    uint64_t count = 0, capacity = 0, from_ns = slc_clock_now_ns();
    while (bench_seconds_since(from_ns) < bench_opt.seconds) {
        uint64_t sent_ns = slc_clock_now_ns();
        flow_append(f);
        bench_wait(&f->b, f->b.submitted);
        if (count == capacity) {
            capacity = capacity == 0 ? 4096 : capacity * 2;
            latencies = slc_realloc(latencies, capacity * sizeof *latencies);
        }
        latencies[count++] = bench_seconds_since(sent_ns) * 1e3;
    }
    double rate = (double)count / bench_seconds_since(from_ns);
    double median_ms = bench_median(latencies, count);
    slc_free(latencies);
    flow_close(f);
    bench_sample(FIG_T1, rate, ceiling.batches_per_s, rate / ceiling.batches_per_s);
    bench_sample(FIG_T5, median_ms, ceiling.round_ms, median_ms / ceiling.round_ms);
}

/* ---- T2, T3 ---- */

static void commit_many(bench_figure figure, uint32_t per_commit, uint64_t keep, uint64_t backlog)
{
    flow *f = &the_flow;
    double ceiling =
        bench_ceiling((uint64_t)per_commit * MESSAGE_BYTES, bench_opt.seconds, 0).batches_per_s;
    flow_open(f, SLC_STORE_FLUSH_GROUP, 1, keep);
    if (backlog > 0)
        flow_batches(f, 1000, 0, backlog);
    slc_store_stats before, after;
    slc_store_stat(f->b.store, &before);
    uint64_t from = f->appended;
    double rate = flow_batches(f, per_commit, bench_opt.seconds, 0) / per_commit;
    slc_store_stat(f->b.store, &after);
    // The ratio is only fair when the store commits what the ceiling writes.
    double real = (double)(f->appended - from) / (double)(after.commits - before.commits);
    if (real < 0.9 * per_commit || real > 1.1 * per_commit)
        bench_note(figure, "%.0f messages per commit instead of %u", real, per_commit);
    flow_close(f);
    bench_sample(figure, rate, ceiling, rate / ceiling);
}

void bench_commit_100(uint32_t run)
{
    (void)run;
    commit_many(FIG_T2, 100, 100000, 0);
}

void bench_commit_1000(uint32_t run)
{
    (void)run;
    commit_many(FIG_T3, 1000, 100000, 100000);
}

/* ---- T4 ---- */

static double window_rate(slc_store_flush_mode mode, uint32_t window)
{
    flow_open(&the_flow, mode, 1, 50000);
    double rate = flow_window(&the_flow, window, bench_opt.seconds);
    flow_close(&the_flow);
    return rate;
}

void bench_deferred(uint32_t run)
{
    static const struct {
        uint32_t window;
        bench_figure figure;
    } cases[] = {{10, FIG_T4_10}, {100, FIG_T4_100}, {1000, FIG_T4_1000}};
    for (uint32_t i = 0; i < SLC_ARRAY_COUNT(cases); i++) {
        // Whoever comes second finds the disk in another state: take turns.
        double full = 0;
        if (run % 2 == 0)
            full = window_rate(SLC_STORE_FLUSH_FULL, cases[i].window);
        double group = window_rate(SLC_STORE_FLUSH_GROUP, cases[i].window);
        if (run % 2 == 1)
            full = window_rate(SLC_STORE_FLUSH_FULL, cases[i].window);
        bench_sample(cases[i].figure, group, full, group / full);
    }
}

/* ---- T7 ---- */

void bench_written(uint32_t run)
{
    (void)run;
    enum { FIRST = 128 * 1024, ALL = 512 * 1024 }; // messages: half the log's budget, then twice
    flow *f = &the_flow;
    flow_open(f, SLC_STORE_FLUSH_GROUP, 1, UINT64_MAX);
    uint64_t start = bench_written_bytes();
    flow_batches(f, 1000, 0, FIRST);
    double payload = (double)f->appended * MESSAGE_BYTES;
    double written = (double)(bench_written_bytes() - start);
    if (written < payload)
        bench_fail("T7: the store writes past the system calls that are counted");
    double log_ratio = written / payload;
    bench_sample(FIG_T7_LOG, written / BENCH_MIB, payload / BENCH_MIB, log_ratio);

    // Nothing is dropped: beyond the budget everything is to leave the log. What that cost is what was written above the
    // price of the log.
    flow_batches(f, 1000, 0, ALL - f->appended);
    bench_settle(&f->b);
    slc_store_stats stats;
    slc_store_stat(f->b.store, &stats);
    payload = (double)f->appended * MESSAGE_BYTES;
    double extra = (double)(bench_written_bytes() - start) - log_ratio * payload;
    double moved = payload - (double)stats.log_bytes;
    if (moved < payload / 5)
        bench_note(FIG_T7_MOVED, "the log keeps %.0f of %.0f MiB over a budget of %.0f: not moved",
                   (double)stats.log_bytes / BENCH_MIB, payload / BENCH_MIB,
                   (double)LOG_BYTES / BENCH_MIB);
    else
        bench_sample(FIG_T7_MOVED, extra / BENCH_MIB, moved / BENCH_MIB, extra / moved);
    flow_close(f);
}

/* ---- T8 ---- */

static double queues_rate(uint32_t queues)
{
    flow_open(&the_flow, SLC_STORE_FLUSH_GROUP, queues, 100000);
    flow_batches(&the_flow, 1000, 0, 100000);
    double rate = flow_batches(&the_flow, 1000, bench_opt.seconds, 0);
    flow_close(&the_flow);
    return rate;
}

void bench_queues(uint32_t run)
{
    double one = 0;
    if (run % 2 == 0)
        one = queues_rate(1);
    double many = queues_rate(QUEUES_MAX);
    if (run % 2 == 1)
        one = queues_rate(1);
    bench_sample(FIG_T8, many, one, many / one);
}
