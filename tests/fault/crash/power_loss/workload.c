// See workload.h.
#include "workload.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "disk.h"
#include "live.h"

enum {
    QUEUES_AT_START = 3,
    QUEUES_LIVE_MAX = 5,
    RESTARTS = 1,
    IDLE_MS = 35, // more than the store waits before its housekeeping
};
#define TAPED_BYTES_MAX (20ull << 20) // per run of the store
#define LIVE_BYTES_MAX  (5ull << 20)
#define DEADLINE_NS     (60 * SLC_NS_PER_S)

static uv_loop_t loop;
static slc_store *store;
static journal *book;
static uint64_t rng;
static uint64_t ticket_base; // tickets of the stores before
static uint64_t durable;     // counted over restarts
static uint64_t large,
    durable_large; // the same of tickets with the mark: the last one, and what is durable
static uint64_t live_bytes;
static uint32_t oldest; // facts before it are dropped
static uint32_t live_queues[QUEUES_LIVE_MAX], live_queue_count;
static bool closed, ticked;

static uint64_t rnd(uint64_t below)
{
    return disk_random(&rng, below);
}

static _Noreturn void stop(const char *text, const char *detail)
{
    fprintf(stderr, "power-loss: the workload: %s%s\n", text, detail);
    _exit(1);
}

/* ---- the store's callbacks ---- */

static void on_release(void *owner, void *arg)
{
    (void)arg;
    free(owner);
}

static void on_durable(uint16_t shard, slc_store_ticket up_to, void *arg)
{
    (void)shard;
    (void)arg;
    uint64_t global = ticket_base + (up_to & ~SLC_TICKET_LARGE);
    *((up_to & SLC_TICKET_LARGE) != 0 ? &durable_large : &durable) = global;
    tape_note(TAPE_DURABLE, global | (up_to & SLC_TICKET_LARGE));
}

static void on_failed(const slc_error *error, void *arg)
{
    (void)arg;
    stop("the store failed: ", error->text);
}

static void on_space(bool blocked, const slc_error *error, void *arg)
{
    (void)arg;
    if (blocked)
        stop("it outgrew the store: ", error->text);
}

static void on_closed(void *arg)
{
    (void)arg;
    closed = true;
}

static void on_tick(uv_timer_t *timer)
{
    (void)timer;
    ticked = true;
}

/* ---- submitting ---- */

static uint64_t ticket(slc_store_ticket t)
{
    uint64_t global = ticket_base + t;
    if (global > book->last_ticket)
        book->last_ticket = global;
    return global;
}

static void queue_add(void)
{
    if (live_queue_count == QUEUES_LIVE_MAX || book->queue_count == JOURNAL_QUEUES_MAX)
        return;
    journal_queue *queue = &book->queues[book->queue_count];
    *queue = (journal_queue){.name = book->queue_count + 1u, .next_qseq = 1};
    slc_uuid uuid = {{0}};
    memcpy(uuid.octets, &queue->name, sizeof queue->name);
    queue->made_at = tape_now();
    slc_store_ticket t;
    queue->qid = slc_store_queue_new(store, 0, &uuid, &t);
    queue->made = ticket(t);
    live_queues[live_queue_count++] = book->queue_count++;
}

static void queue_delete(void)
{
    uint32_t at = (uint32_t)rnd(live_queue_count);
    uint32_t index = live_queues[at];
    journal_queue *queue = &book->queues[index];
    queue->gone_at = tape_now();
    queue->gone = ticket(slc_store_queue_del(store, 0, queue->qid));
    live_queues[at] = live_queues[--live_queue_count];
    for (uint32_t i = oldest; i < book->fact_count; i++)
        if (book->facts[i].queue == index && book->facts[i].dropped == 0)
            live_bytes -= book->facts[i].bytes;
}

static uint64_t size_random(void)
{
    static const uint64_t edges[] = {0, 1, 16384, 16385, 65448, 65449, 130896};
    switch (rnd(16)) {
    case 0:
        return edges[rnd(SLC_ARRAY_COUNT(edges))];
    case 1:
        return 16000 + rnd(50000);
    case 2:
        return rnd(4) == 0 ? 100000 + rnd(400000) : 4000 + rnd(12000);
    default:
        return rnd(2500);
    }
}

static void append(uint64_t bytes)
{
    uint32_t targets = rnd(6) == 0 ? 1 + (uint32_t)rnd(live_queue_count) : 1;
    if (book->fact_count + targets > JOURNAL_FACTS_MAX)
        stop("too many messages", "");
    uint8_t *data = malloc(bytes + 1);
    if (data == NULL)
        stop("no memory", "");
    uint64_t content = book->contents++;
    journal_fill(data, bytes, content);
    slc_store_target to[QUEUES_LIVE_MAX];
    uint32_t first = book->fact_count, at = (uint32_t)rnd(live_queue_count);
    for (uint32_t i = 0; i < targets; i++) {
        uint32_t index = live_queues[(at + i) % live_queue_count];
        journal_queue *queue = &book->queues[index];
        queue->next_qseq += rnd(20) == 0 ? rnd(1000) : 0;
        to[i] = (slc_store_target){queue->qid, queue->next_qseq++, 0};
        book->facts[first + i] = (journal_fact){.queue = index,
                                                .shared = targets > 1,
                                                .qseq = to[i].qseq,
                                                .bytes = bytes,
                                                .content = content,
                                                .appended_at = tape_now()};
        live_bytes += bytes;
    }
    slc_store_ticket given =
        slc_store_append(store, 0, &(slc_store_content){data, bytes, data}, 1, 0, to, targets);
    uint64_t t = ticket(given & ~SLC_TICKET_LARGE);
    for (uint32_t i = 0; i < targets; i++) {
        book->facts[first + i].appended = t;
        book->facts[first + i].large = (given & SLC_TICKET_LARGE) != 0;
    }
    if ((given & SLC_TICKET_LARGE) != 0)
        large = t;
    book->fact_count += targets;
}

static bool fact_lives(const journal_fact *fact)
{
    return fact->dropped == 0 && book->queues[fact->queue].gone == 0;
}

static bool drop(uint32_t index, bool in_group)
{
    journal_fact *fact = &book->facts[index];
    if (!fact_lives(fact))
        return false;
    bool cancelled = false;
    fact->dropped_at = tape_now();
    fact->drop_in_group = in_group;
    fact->dropped =
        ticket(slc_store_drop(store, 0, book->queues[fact->queue].qid, fact->qseq,
                              (slc_drop_reason)rnd(SLC_DROP_DEAD_LETTERED + 1u), &cancelled));
    fact->cancelled = cancelled;
    if (in_group && cancelled)
        stop("a drop inside an atomic submission was cancelled", "");
    live_bytes -= fact->bytes;
    return true;
}

static void drop_oldest(bool in_group)
{
    while (oldest < book->fact_count && !drop(oldest, in_group))
        oldest++;
}

static void drop_some(void)
{
    // Mostly in order, so that the front of the log empties; sometimes the newest, which may be cancelled in flight.
    for (uint64_t n = rnd(24); n > 0; n--) {
        uint64_t kind = rnd(8);
        if (book->fact_count == 0 || (kind > 1 && oldest < book->fact_count))
            drop_oldest(false);
        else if (kind == 0)
            drop(book->fact_count - 1 -
                     (uint32_t)rnd(book->fact_count < 20 ? book->fact_count : 20),
                 false);
        else
            drop((uint32_t)rnd(book->fact_count), false);
    }
    while (live_bytes > LIVE_BYTES_MAX && oldest < book->fact_count)
        drop_oldest(false);
}

static void group(void)
{
    if (book->group_count == JOURNAL_GROUPS_MAX)
        return;
    uint64_t first = book->last_ticket + 1;
    slc_store_atomic_begin(store, 0);
    for (uint64_t n = 1 + rnd(6); n > 0; n--) {
        if (rnd(3) == 0)
            drop_oldest(true);
        else // sometimes more than a job takes: its batch has to span several
            append(rnd(8) == 0 ? 100000 + rnd(250000) : size_random());
    }
    slc_store_atomic_end(store, 0);
    if (book->last_ticket >= first)
        book->groups[book->group_count++] = (journal_group){first, book->last_ticket};
}

/* ---- time ---- */

// Run the loop until `wanted` is durable (0: do not ask) and ms have passed.
static void wait_until(uint64_t wanted, uint64_t ms)
{
    static uv_timer_t timer;
    uv_timer_init(&loop, &timer);
    ticked = ms == 0;
    uv_timer_start(&timer, on_tick, ms == 0 ? 100 : ms, 100);
    uint64_t deadline = slc_clock_now_ns() + DEADLINE_NS;
    while (durable < wanted || (large <= wanted && durable_large < large && wanted > 0) ||
           !ticked) {
        slc_store_flush(store);
        uv_run(&loop, UV_RUN_ONCE);
        if (slc_clock_now_ns() > deadline)
            stop("nothing becomes durable any more", "");
    }
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&loop, UV_RUN_NOWAIT);
}

static void step(void)
{
    for (uint64_t n = rnd(30); n > 0; n--)
        append(size_random());
    if (rnd(3) == 0)
        group();
    drop_some();
    if (rnd(25) == 0)
        queue_add();
    if (rnd(40) == 0 && live_queue_count > 2)
        queue_delete();
    slc_store_flush(store);
    switch (rnd(12)) {
    case 0: // everything is durable, and then housekeeping
        wait_until(book->last_ticket, IDLE_MS);
        break;
    case 1:
    case 2: // one flush for an idle store
        wait_until(book->last_ticket, 0);
        break;
    case 3:
    case 4: // something: the next job follows at once
        wait_until(durable + 1 <= book->last_ticket ? durable + 1 : 0, 0);
        break;
    default:
        uv_run(&loop, UV_RUN_NOWAIT);
        break;
    }
}

/* ---- one life of the store ---- */

static void open_store(const char *dir, slc_store_flush_mode flush)
{
    uv_loop_init(&loop);
    slc_store_options options = {.dir = dir,
                                 .loop = &loop,
                                 .map_size = WORKLOAD_MAP_BYTES,
                                 .log_bytes = WORKLOAD_LOG_BYTES,
                                 .flush = flush,
                                 .flush_interval_ms = 15,
                                 .batch_bytes = 300000, // large contents need several transactions
                                 .release = on_release,
                                 .durable = on_durable,
                                 .failed = on_failed,
                                 .space = on_space};
    slc_error error = {0};
    live_visitor nothing = {.queue = NULL};
    if (slc_store_open(&options, &store, &error) != SLC_OK ||
        live_recover(store, &loop, &nothing, NULL, &error) != SLC_OK)
        stop("opening: ", error.text);
    tape_note(TAPE_OPENED, 0);
}

static void close_store(void)
{
    closed = false;
    slc_store_close(store, on_closed, NULL);
    uint64_t deadline = slc_clock_now_ns() + DEADLINE_NS;
    while (!closed && slc_clock_now_ns() < deadline)
        uv_run(&loop, UV_RUN_ONCE);
    uv_run(&loop, UV_RUN_DEFAULT);
    if (!closed || uv_loop_close(&loop) != 0)
        stop("closing did not finish", "");
    // A close that is done has made everything durable, also with the interval setting.
    durable = ticket_base = book->last_ticket;
    durable_large = large;
    tape_note(TAPE_DURABLE, durable);
    tape_note(TAPE_DURABLE, large | SLC_TICKET_LARGE);
}

_Noreturn void workload_run(const char *dir, slc_store_flush_mode flush, uint64_t seed, tape *t,
                            journal *j)
{
    char path[160];
    snprintf(path, sizeof path, "%s/data.mdb", dir);
    book = j;
    rng = seed | 1;
    for (int i = 0; i < 20; i++)
        rnd(2);
    tape_record(t, path);
    for (uint32_t life = 0; life <= RESTARTS; life++) {
        open_store(dir, flush);
        while (live_queue_count < QUEUES_AT_START)
            queue_add();
        uint64_t upto = (life + 1) * TAPED_BYTES_MAX;
        while (tape_bytes() < upto)
            step();
        if (life < RESTARTS) {
            close_store();
            book->restarts++;
        }
    }
    // The last one ends without a stop, only not in the middle of a write: the file is compared with the tape.
    for (slc_store_stats stats = {.jobs_in_flight = 1}; stats.jobs_in_flight > 0;) {
        uv_run(&loop, UV_RUN_NOWAIT);
        slc_store_stat(store, &stats);
    }
    book->finished = true;
    _exit(0);
}
