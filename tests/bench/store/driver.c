// A store and its loop, and the append-file ceiling it is compared with.
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench.h"

enum { TICK_MS = 100, STUCK_S = 120, SETTLE_S = 60 };

/* ---- small things ---- */

static uint64_t rng = 0x9e3779b97f4a7c15ull;

uint64_t bench_random(uint64_t below)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return (rng >> 11) % below;
}

const uint8_t *bench_data(void)
{
    static uint8_t data[BENCH_DATA_BYTES];
    static bool filled;
    for (uint32_t i = 0; !filled && i < BENCH_DATA_BYTES; i++)
        data[i] = (uint8_t)bench_random(256);
    filled = true;
    return data;
}

double bench_seconds_since(uint64_t from_ns)
{
    return (double)(slc_clock_now_ns() - from_ns) / (double)SLC_NS_PER_S;
}

// The number behind "field" in a file of /proc.
static uint64_t proc_number(const char *path, const char *field)
{
    FILE *file = fopen(path, "r");
    if (file == NULL)
        bench_fail("%s: %s", path, strerror(errno));
    char line[256];
    uint64_t value = 0;
    bool found = false;
    while (!found && fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, field, strlen(field)) == 0)
            found = sscanf(line + strlen(field), "%" SCNu64, &value) == 1;
    fclose(file);
    if (!found)
        bench_fail("%s has no %s", path, field);
    return value;
}

uint64_t bench_written_bytes(void)
{
    // Not write_bytes: on a file system with large folios the kernel counts a whole folio for each page written into it.
    return proc_number("/proc/self/io", "wchar:");
}

uint64_t bench_status_bytes(const char *field)
{
    return proc_number("/proc/self/status", field) * 1024;
}

uint64_t bench_file_bytes(const char *dir)
{
    char path[BENCH_PATH_BYTES + 16];
    snprintf(path, sizeof path, "%s/data.mdb", dir);
    struct stat info;
    if (stat(path, &info) != 0)
        bench_fail("%s: %s", path, strerror(errno));
    return (uint64_t)info.st_size;
}

/* ---- the store ---- */

static void on_release(void *owner, void *arg)
{
    (void)owner; // contents are static, or outlive their wait
    (void)arg;
}

static void on_durable(uint16_t shard, slc_store_ticket up_to, void *arg)
{
    bench_store *b = arg;
    (void)shard;
    *((up_to & SLC_TICKET_LARGE) != 0 ? &b->durable_large : &b->durable) = up_to;
    b->progress_ns = slc_clock_now_ns();
}

static void on_failed(const slc_error *error, void *arg)
{
    (void)arg;
    bench_fail("the store failed: %s", error->text);
}

static void on_space(bool blocked, const slc_error *error, void *arg)
{
    (void)arg;
    if (blocked)
        bench_fail("the store has no room: %s", error->text);
}

static void on_closed(void *arg)
{
    ((bench_store *)arg)->closed = true;
}

static void on_tick(uv_timer_t *timer)
{
    (void)timer;
}

void bench_open_only(bench_store *b, const char *dir, slc_store_flush_mode flush,
                     uint64_t log_bytes)
{
    *b = (bench_store){.progress_ns = slc_clock_now_ns()};
    uv_loop_init(&b->loop);
    uv_timer_init(&b->loop, &b->tick);
    uv_timer_start(&b->tick, on_tick, TICK_MS, TICK_MS);
    slc_store_options options = {.dir = dir,
                                 .loop = &b->loop,
                                 .flush = flush,
                                 .log_bytes = log_bytes,
                                 .release = on_release,
                                 .durable = on_durable,
                                 .failed = on_failed,
                                 .space = on_space,
                                 .arg = b};
    slc_error error = {0};
    if (slc_store_open(&options, &b->store, &error) != SLC_OK)
        bench_fail("opening the store: %s", error.text);
}

void bench_open(bench_store *b, const char *dir, slc_store_flush_mode flush, uint64_t log_bytes)
{
    bench_open_only(b, dir, flush, log_bytes);
    bench_recovered recovered;
    slc_error error = {0};
    if (bench_recover(b->store, &recovered, &error) != SLC_OK)
        bench_fail("recovering: %s", error.text);
    if (recovered.queues != 0)
        bench_fail("the store in %s is not empty", dir);
}

void bench_close(bench_store *b)
{
    slc_store_close(b->store, on_closed, b);
    while (!b->closed)
        uv_run(&b->loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&b->tick, NULL);
    uv_run(&b->loop, UV_RUN_DEFAULT);
    if (uv_loop_close(&b->loop) != 0)
        bench_fail("the store left a handle open");
}

uint32_t bench_queue(bench_store *b)
{
    slc_uuid uuid;
    slc_random_bytes(uuid.octets, sizeof uuid.octets);
    return slc_store_queue_new(b->store, 0, &uuid, &b->submitted);
}

slc_store_ticket bench_append_data(bench_store *b, uint32_t qid, uint64_t qseq, const uint8_t *data,
                                   uint64_t bytes)
{
    slc_store_content content = {.data = data, .bytes = bytes, .owner = b};
    slc_store_target target = {.qid = qid, .qseq = qseq};
    if (b->durable == b->submitted)
        b->progress_ns = slc_clock_now_ns();
    slc_store_ticket ticket =
        slc_store_append(b->store, 0, &content, slc_clock_wall_ms(), 0, &target, 1);
    b->submitted = ticket & ~SLC_TICKET_LARGE;
    return ticket;
}

slc_store_ticket bench_append(bench_store *b, uint32_t qid, uint64_t qseq, uint64_t bytes)
{
    const uint8_t *data = bench_data() + bench_random(BENCH_DATA_BYTES - bytes);
    return bench_append_data(b, qid, qseq, data, bytes);
}

slc_store_ticket bench_drop(bench_store *b, uint32_t qid, uint64_t qseq)
{
    b->submitted = slc_store_drop(b->store, 0, qid, qseq, SLC_DROP_ACK, NULL);
    return b->submitted;
}

void bench_turn(bench_store *b)
{
    slc_store_flush(b->store);
    uv_run(&b->loop, UV_RUN_ONCE);
    bench_check_signal();
    if (b->durable < b->submitted && bench_seconds_since(b->progress_ns) > STUCK_S)
        bench_fail("nothing became durable for %d s", STUCK_S);
}

void bench_wait(bench_store *b, slc_store_ticket ticket)
{
    while (b->durable < ticket)
        bench_turn(b);
}

void bench_settle(bench_store *b)
{
    uint64_t from_ns = slc_clock_now_ns(), still_ns = from_ns, written = bench_written_bytes();
    while (bench_seconds_since(still_ns) < 1 && bench_seconds_since(from_ns) < SETTLE_S) {
        bench_turn(b);
        uint64_t now = bench_written_bytes();
        if (now != written)
            still_ns = slc_clock_now_ns();
        written = now;
    }
}

/* ---- the ceiling ---- */

static void write_all(int fd, const uint8_t *data, uint64_t bytes)
{
    while (bytes > 0) {
        ssize_t n = write(fd, data, bytes);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            bench_fail("writing the ceiling's file: %s", strerror(errno));
        data += n;
        bytes -= (uint64_t)n;
    }
}

bench_ceiling_result bench_ceiling(uint64_t batch_bytes, double seconds, uint64_t batches)
{
    char path[BENCH_PATH_BYTES];
    bench_path(path, "ceiling");
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0)
        bench_fail("%s: %s", path, strerror(errno));
    uint8_t *batch = slc_alloc(batch_bytes);
    for (uint64_t at = 0; at < batch_bytes; at += BENCH_DATA_BYTES)
        memcpy(batch + at, bench_data(),
               batch_bytes - at < BENCH_DATA_BYTES ? batch_bytes - at : BENCH_DATA_BYTES);

    double *rounds = NULL;
    uint64_t count = 0, capacity = 0, from_ns = slc_clock_now_ns();
    while (batches != 0 ? count < batches : bench_seconds_since(from_ns) < seconds) {
        uint64_t round_ns = slc_clock_now_ns();
        write_all(fd, batch, batch_bytes);
        if (fdatasync(fd) != 0)
            bench_fail("flushing the ceiling's file: %s", strerror(errno));
        if (count == capacity) {
            capacity = capacity == 0 ? 4096 : capacity * 2;
            rounds = slc_realloc(rounds, capacity * sizeof *rounds);
        }
        rounds[count++] = bench_seconds_since(round_ns) * 1e3;
        bench_check_signal();
    }
    bench_ceiling_result result = {.batches_per_s = (double)count / bench_seconds_since(from_ns),
                                   .round_ms = bench_median(rounds, count)};
    slc_free(rounds);
    slc_free(batch);
    close(fd);
    bench_remove(path);
    return result;
}
