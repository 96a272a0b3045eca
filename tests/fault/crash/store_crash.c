// Every fail point of the store, at any of its passes, with what can happen there:
//   crash       SIGKILL; with a slow store thread, too (slow crash), so that more is open
//   half        half of it is done, then SIGKILL: of a transaction, or of one write to the file
//   error       EIO: the store has to stop, as a daemon does with exit status 74
//   full        ENOSPC, and again at the retry: the store has to block, get over it and lose nothing
//   delay       the point takes its time, and everything else goes on meanwhile
// Two points are not in the store: `write`, the calls by which LMDB writes pages, and `meta`, those of its meta pages; full
// and error find half of the bytes written there, too. The last row kills recoveries.
//
// A child drives the store with a plan; what it submits and what it is told stands in shared memory, so its death takes
// nothing of that with it. Then the parent opens the store as a restart would and compares:
//   - nothing that was reported durable is missing (S1), nothing whose drop was reported durable is back;
//   - the appends that are there are a prefix of those submitted (S4), but for contents larger than a hand-over, which others
//     may overtake; atomic pairs are there together or not at all;
//   - positions ascend, so that no message is seen twice (S3); every content is what it was;
//   - a recovery that is killed changes nothing, and a second recovery gives the same (S4).
//
//     store_crash [--samples N] [--all] [--point NAME] [--seed N]
//
// Without --all N passes of each point and action are tried, by chance (1); with it every one of them, some thousand runs.
// Exit status 0: all held. A failure prints plan and seed. TMPDIR=/dev/shm makes long runs quick.
#include <assert.h>
#include <dlfcn.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <slc/store.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/failpoint.h"

enum {
    FACTS_MAX = 4096,
    ROUNDS = 60,
    QUEUES = 3,
    BEHIND = 130, // messages that stay: more than the log may hold
    PLAN_MAX = 1000,
    POINTS_MAX = 24,
    DELAY_MS = 20,
    EXIT_FAILED = 3, // of the child: the store did not open, or said that it failed
};

typedef struct fact {
    uint32_t qid, pair; // pair: number of the atomic submission it belongs to, 0: none
    uint64_t qseq, bytes;
    uint32_t fill_qid; // the content is made of these: first target of its message
    uint64_t fill_qseq;
    uint64_t appended, dropped; // tickets; 0: not submitted, UINT64_MAX: about to be
    bool large;                 // the first has the mark, which is left out
} fact;

// Shared by parent and child.
typedef struct journal {
    uint64_t durable, durable_large;
    bool finished;
    uint64_t migrated, merged; // messages
    uint32_t deleted_qid;
    uint64_t deleted; // ticket
    slc_error failure;
    uint64_t passes[POINTS_MAX]; // of the points, in a run without a fault
    uint32_t count;
    fact facts[FACTS_MAX];
} journal;

typedef struct checked {
    uint8_t live[FACTS_MAX];
    uint32_t found;
    uint64_t sum; // of all that was seen, in order
    bool reading, end;
    const char *problem;
    slc_store_queue queues[64];
    uint32_t queue_count;
    uint32_t qid; // being read
    uint64_t next_qseq;
} checked;

static journal *book;
static uint64_t seed = 1, rng, picking;
static char dir[64];
static char what_runs[PLAN_MAX];

static uint64_t rnd(uint64_t below)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return (rng >> 11) % below;
}

// Which passes are tried; the scenario's own chances are those of the seed and the pass.
static uint64_t pick(uint64_t below)
{
    picking = picking * 6364136223846793005ull + 1442695040888963407ull;
    return (picking >> 33) % below;
}

static _Noreturn void fail(const char *text, const char *detail)
{
    fprintf(stderr, "store_crash: %s (%s) with %s, seed %llu; files in %s\n", text, detail,
            what_runs, (unsigned long long)seed, dir);
    exit(1);
}

static void fill(uint8_t *data, uint64_t bytes, uint32_t pair, uint32_t qid, uint64_t qseq)
{
    uint64_t x = ((uint64_t)qid << 40) + qseq * 2654435761u + bytes + pair;
    for (uint64_t i = 0; i < bytes; i++) {
        x = x * 6364136223846793005ull + 1442695040888963407ull;
        data[i] = (uint8_t)(x >> 56);
    }
}

static void dir_clear(void)
{
    static const char *const names[] = {"data.mdb", "lock.mdb"};
    for (uint32_t i = 0; i < SLC_ARRAY_COUNT(names); i++) {
        char path[96];
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        unlink(path);
    }
}

/* ---- what happens when ---- */

typedef enum action { CRASH, SLOW_CRASH, HALF, ERROR, FULL, DELAY, ACTION_COUNT } action;

enum {
    C = 1 << CRASH | 1 << SLOW_CRASH,
    H = 1 << HALF,
    E = 1 << ERROR,
    F = 1 << FULL,
    D = 1 << DELAY
};

static const char *const action_names[ACTION_COUNT] = {"crash", "slow crash", "half",
                                                       "error", "full",       "delay"};

typedef struct point {
    const char *name;
    unsigned actions;
} point;

// A full disk after the commit, or in the flush that makes it durable, is none that can be got over: an error.
static const point points[] = {
    {"store.batch.serialise", C | E | F | D},
    {"store.txn.before_put", C | E | F | D},
    {"store.txn.mid_put", C | H | E | F | D},
    {"store.enospc", F},
    {"store.mapfull", F},
    {"store.eio", E},
    {"store.commit.before", C | E | F | D},
    {"store.sync.before", C | E | F | D},
    {"store.sync.after", C | E | D},
    {"store.commit.after", C | E | D},
    {"store.sync.deferred", C | E | D},
    {"store.notify.before", C | D},
    {"res.part", C | E | F | D},
    {"res.enq.before", C | E | F | D},
    {"mig.segment.put", C | E | F | D},
    {"mig.commit.before", C | E | F | D},
    {"mig.commit.after", C | E | D},
    {"write", H | E | F | D},
    {"meta", H | E | D},
};
static_assert(SLC_ARRAY_COUNT(points) <= POINTS_MAX, "journal.passes has room");

typedef struct fault {
    const point *point; // NULL: none
    action act;
    unsigned pass;
} fault;

static bool in_store(const point *p)
{
    return strchr(p->name, '.') != NULL;
}

/* ---- writes ---- */

// Which write of the store goes wrong, and how. While it is armed the store thread alone writes, and it may still move things in the
// background when the main thread counts and disarms.
static struct {
    atomic_bool armed;
    fault what;                    // set before there is a store thread
    _Atomic uint64_t pages, metas; // writes so far
} writes;

// Does this write go wrong? Half of it is what the file gets then.
static bool write_torn(off_t offset)
{
    if (!writes.armed)
        return false;
    bool meta = offset < 2 * sysconf(_SC_PAGESIZE);
    uint64_t pass = meta ? ++writes.metas : ++writes.pages;
    const fault *w = &writes.what;
    if (w->point == NULL || in_store(w->point) || meta != (strcmp(w->point->name, "meta") == 0))
        return false;
    return pass == w->pass || (w->act == FULL && pass == w->pass + 1u);
}

// After half of it was written: what the caller gets.
static ssize_t write_end(ssize_t done)
{
    if (writes.what.act == HALF)
        raise(SIGKILL);
    if (writes.what.act == FULL)
        return done; // a file system that fills up takes what it can
    errno = EIO;
    return -1;
}

#define REAL(name, ...)                                                                            \
    static ssize_t (*real)(__VA_ARGS__);                                                           \
    if (real == NULL)                                                                              \
        *(void **)&real = dlsym(RTLD_NEXT, name);                                                  \
    SLC_ASSERT(real != NULL)

ssize_t pwrite(int fd, const void *data, size_t bytes, off_t offset)
{
    REAL("pwrite", int, const void *, size_t, off_t);
    if (!write_torn(offset))
        return real(fd, data, bytes, offset);
    if (writes.what.act != DELAY)
        return write_end(real(fd, data, bytes / 2, offset));
    usleep(DELAY_MS * 1000);
    return real(fd, data, bytes, offset);
}

ssize_t pwrite64(int fd, const void *data, size_t bytes, off64_t offset)
{
    return pwrite(fd, data, bytes, offset);
}

ssize_t writev(int fd, const struct iovec *pieces, int count)
{
    REAL("writev", int, const struct iovec *, int);
    if (!write_torn(lseek(fd, 0, SEEK_CUR)))
        return real(fd, pieces, count);
    if (writes.what.act == DELAY) {
        usleep(DELAY_MS * 1000);
        return real(fd, pieces, count);
    }
    // The first pieces, and half of the one behind them.
    struct iovec last = pieces[count / 2];
    last.iov_len /= 2;
    ssize_t done = count > 1 ? real(fd, pieces, count / 2) : 0;
    return write_end(done + real(fd, &last, 1));
}

/* ---- the child ---- */

static uv_loop_t loop;
static bool closed;

static void on_release(void *owner, void *arg)
{
    (void)arg;
    free(owner);
}

static void on_durable(uint16_t shard, slc_store_ticket up_to, void *arg)
{
    (void)shard;
    (void)arg;
    if ((up_to & SLC_TICKET_LARGE) != 0)
        book->durable_large = up_to & ~SLC_TICKET_LARGE;
    else
        book->durable = up_to;
}

static void on_failed(const slc_error *error, void *arg)
{
    (void)arg;
    book->failure = *error;
    _exit(EXIT_FAILED);
}

static void on_space(bool blocked, const slc_error *error, void *arg)
{
    (void)blocked;
    (void)error;
    (void)arg;
}

static void on_closed(void *arg)
{
    (void)arg;
    closed = true;
}

static bool keep_queue(uint16_t shard, const slc_store_queue *queue, void *arg)
{
    (void)shard;
    checked *c = arg;
    if (c != NULL && c->queue_count < SLC_ARRAY_COUNT(c->queues))
        c->queues[c->queue_count++] = *queue;
    return true;
}

static slc_err store_open(slc_store **store, checked *c, slc_error *error)
{
    uv_loop_init(&loop);
    closed = false;
    slc_store_options options = {.dir = dir,
                                 .loop = &loop,
                                 .map_size = 256u << 20,
                                 .batch_bytes = 300000, // large contents need several transactions
                                 .log_bytes = 20000,    // most of it moves to segments
                                 .release = on_release,
                                 .durable = on_durable,
                                 .failed = on_failed,
                                 .space = on_space};
    slc_err rc = slc_store_open(&options, store, error);
    return rc != SLC_OK ? rc : slc_store_recover(*store, keep_queue, c, error);
}

static void store_close(slc_store *store)
{
    slc_store_close(store, on_closed, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    if (!closed || uv_loop_close(&loop) != 0)
        fail("closing did not finish", "");
}

static void append(slc_store *store, const slc_store_target *targets, uint32_t count,
                   uint64_t bytes, uint32_t pair)
{
    if (book->count + count > FACTS_MAX)
        return;
    uint8_t *data = malloc(bytes + 1);
    fill(data, bytes, pair, targets[0].qid, targets[0].qseq);
    fact *f = &book->facts[book->count];
    for (uint32_t i = 0; i < count; i++)
        f[i] = (fact){.qid = targets[i].qid,
                      .pair = pair,
                      .qseq = targets[i].qseq,
                      .bytes = bytes,
                      .fill_qid = targets[0].qid,
                      .fill_qseq = targets[0].qseq,
                      .appended = UINT64_MAX};
    book->count += count;
    uint64_t ticket =
        slc_store_append(store, 0, &(slc_store_content){data, bytes, data}, 1, 0, targets, count);
    for (uint32_t i = 0; i < count; i++) {
        f[i].large = (ticket & SLC_TICKET_LARGE) != 0;
        f[i].appended = ticket & ~SLC_TICKET_LARGE;
    }
}

static void drop(slc_store *store, fact *f)
{
    if (f->dropped != 0 || f->pair != 0)
        return;
    f->dropped = UINT64_MAX;
    f->dropped = slc_store_drop(store, 0, f->qid, f->qseq, SLC_DROP_ACK, NULL);
}

// Facts of queue qid up to position last that live so far: UINT64_MAX before they are dropped, the ticket afterwards.
static void mark(uint32_t qid, uint64_t last, uint64_t from, uint64_t to)
{
    for (uint32_t i = 0; i < book->count; i++)
        if (book->facts[i].qid == qid && book->facts[i].qseq <= last &&
            book->facts[i].dropped == from)
            book->facts[i].dropped = to;
}

static void drop_range(slc_store *store, uint32_t qid, uint64_t last)
{
    mark(qid, last, 0, UINT64_MAX);
    uint64_t ticket = slc_store_drop_range(store, 0, qid, 1, last, SLC_DROP_PURGE);
    mark(qid, last, UINT64_MAX, ticket);
}

static void queue_del(slc_store *store, uint32_t qid)
{
    mark(qid, UINT64_MAX, 0, UINT64_MAX);
    book->deleted_qid = qid;
    book->deleted = UINT64_MAX;
    book->deleted = slc_store_queue_del(store, 0, qid);
    mark(qid, UINT64_MAX, UINT64_MAX, book->deleted);
}

static void wait_turn(uv_timer_t *timer)
{
    (void)timer;
}

static bool fact_durable(const fact *f, uint64_t durable, uint64_t durable_large)
{
    return f->appended <= (f->large ? durable_large : durable);
}

static void wait_durable(slc_store *store, const fact *f)
{
    uv_timer_t timer;
    uv_timer_init(&loop, &timer);
    uv_timer_start(&timer, wait_turn, 100, 100);
    slc_store_flush(store);
    uint64_t until = slc_clock_now_ns() + 20 * SLC_NS_PER_S;
    while (!fact_durable(f, book->durable, book->durable_large) && slc_clock_now_ns() < until)
        uv_run(&loop, UV_RUN_ONCE);
    if (!fact_durable(f, book->durable, book->durable_large))
        _exit(4);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&loop, UV_RUN_NOWAIT);
}

static void append_some(slc_store *store, const uint32_t *qids, uint64_t *qseq)
{
    for (uint64_t n = 1 + rnd(30); n > 0; n--) {
        // Most go to one queue, or it never had enough segments for a merge.
        uint32_t q = rnd(3) > 0 ? 1 : 1 + (uint32_t)rnd(QUEUES), count = rnd(8) == 0 ? 2 : 1;
        slc_store_target targets[2];
        for (uint32_t i = 0; i < count; i++) {
            uint32_t to = 1 + (q - 1 + i) % QUEUES;
            targets[i] = (slc_store_target){qids[to], ++qseq[to], 0};
        }
        append(store, targets, count, rnd(40) == 0 ? 17000 + rnd(400000) : rnd(2500), 0);
    }
}

static void append_pair(slc_store *store, const uint32_t *qids, uint64_t *qseq, uint32_t pair)
{
    slc_store_atomic_begin(store, 0);
    append(store, &(slc_store_target){qids[1], ++qseq[1], 0}, 1, rnd(2) == 0 ? 40000 : 100, pair);
    append(store, &(slc_store_target){qids[3], ++qseq[3], 0}, 1, 30, pair);
    slc_store_atomic_end(store, 0);
}

static void scenario(slc_store *store)
{
    uint64_t qseq[QUEUES + 1] = {0};
    uint32_t qids[QUEUES + 1];
    for (uint32_t q = 1; q <= QUEUES; q++)
        qids[q] = slc_store_queue_new(store, 0, &(slc_uuid){{(uint8_t)q}}, NULL);
    uint32_t oldest = 0;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        append_some(store, qids, qseq);
        if (round % 3 == 1)
            append_pair(store, qids, qseq, round);
        // Mostly in order and well behind, so that segments lose nearly all they have; sometimes not.
        for (uint32_t n = 0; n < 40 && oldest + BEHIND < book->count; n++, oldest++)
            if (oldest % 8 != 0)
                drop(store, &book->facts[oldest]);
        for (uint64_t n = rnd(6); n > 0; n--)
            drop(store, &book->facts[rnd(book->count)]);
        if (round == ROUNDS / 2)
            drop_range(store, qids[3], qseq[3] / 2);
        if (round == ROUNDS * 3 / 4) {
            queue_del(store, qids[2]);
            qids[2] = slc_store_queue_new(store, 0, &(slc_uuid){{9}}, NULL);
            qseq[2] = 0;
        }
        slc_store_flush(store);
        if (round % 4 == 0)
            uv_run(&loop, UV_RUN_NOWAIT);
        else
            wait_durable(store, &book->facts[book->count - 1]);
    }
    slc_store_stats stats;
    slc_store_stat(store, &stats);
    book->migrated = stats.migrated_messages;
    book->merged = stats.merged_messages;
}

static _Noreturn void child(const char *plan)
{
    slc_error error = {0};
    if (slc_failpoint_plan(plan, &error) != SLC_OK)
        _exit(5);
    slc_store *store;
    if (store_open(&store, NULL, &error) != SLC_OK)
        on_failed(&error, NULL);
    writes.armed = true;
    if (book->count == 0)
        scenario(store);
    for (uint32_t i = 0; i < SLC_ARRAY_COUNT(points); i++)
        book->passes[i] = in_store(&points[i]) ? slc_failpoint_passes(points[i].name)
                          : strcmp(points[i].name, "meta") == 0 ? writes.metas
                                                                : writes.pages;
    writes.armed = false;
    store_close(store);
    book->finished = true;
    _exit(0);
}

/* ---- the parent ---- */

static void check_message(checked *c, const slc_store_message *m)
{
    uint32_t k = 0;
    while (k < book->count && (book->facts[k].qid != c->qid || book->facts[k].qseq != m->qseq))
        k++;
    if (k == book->count) {
        c->problem = "a message that nobody appended";
        return;
    }
    const fact *f = &book->facts[k];
    c->live[k] = 1;
    c->found++;
    c->sum = c->sum * 6364136223846793005ull + ((uint64_t)f->qid << 40) + f->qseq + f->bytes;
    if (f->bytes != m->content.bytes) {
        c->problem = "a content of another size";
        return;
    }
    uint8_t *want = malloc(f->bytes + 1);
    fill(want, f->bytes, f->pair, f->fill_qid, f->fill_qseq);
    if (f->bytes > 0 && memcmp(want, m->content.data, f->bytes) != 0)
        c->problem = "a content is not what was appended";
    free(want);
}

static void check_read(slc_err rc, const slc_store_message *messages, uint32_t count, void *arg,
                       const slc_error *error)
{
    checked *c = arg;
    c->reading = false;
    c->end = rc != SLC_OK || count == 0;
    if (rc != SLC_OK) {
        fprintf(stderr, "%s\n", error->text);
        c->problem = "a content cannot be read";
    }
    for (uint32_t i = 0; i < count; i++) {
        if (messages[i].qseq < c->next_qseq)
            c->problem = "positions do not ascend";
        c->next_qseq = messages[i].qseq + 1;
        check_message(c, &messages[i]);
    }
}

static void check_queue(slc_store *store, checked *c, const slc_store_queue *queue)
{
    uint32_t before = c->found;
    c->qid = queue->qid;
    c->next_qseq = 1;
    do {
        c->reading = true;
        slc_store_read(store, 0, queue->qid, c->next_qseq, 100, 1 << 20, check_read, c);
        while (c->reading)
            uv_run(&loop, UV_RUN_ONCE);
    } while (!c->end);
    if (c->problem == NULL && c->found - before != queue->messages)
        c->problem = "a queue holds another number of messages than recovery said";
}

// No append is missing in front of one that is there; a large one, in front of a large one or in its queue.
static void check_prefix(const checked *c)
{
    uint64_t newest = 0, large = 0, of_queue[64] = {0};
    for (uint32_t i = 0; i < book->count; i++) {
        const fact *f = &book->facts[i];
        SLC_ASSERT(f->qid < SLC_ARRAY_COUNT(of_queue));
        if (c->live[i] && f->appended > newest)
            newest = f->appended;
        if (c->live[i] && f->appended > large && f->large)
            large = f->appended;
        if (c->live[i] && f->appended > of_queue[f->qid])
            of_queue[f->qid] = f->appended;
    }
    for (uint32_t i = 0; i < book->count; i++)
        if (!c->live[i] && book->facts[i].dropped == 0 &&
            (book->facts[i].appended < (book->facts[i].large ? large : newest) ||
             book->facts[i].appended < of_queue[book->facts[i].qid]))
            fail("an append is missing in front of one that is there", "");
}

// Returns a sum of all that it found.
static uint64_t check_once(void)
{
    static checked c;
    c = (checked){0};
    slc_store *store;
    slc_error error = {0};
    uint64_t durable = book->durable, durable_large = book->durable_large;
    if (store_open(&store, &c, &error) != SLC_OK)
        fail("recovery refused", error.text);
    for (uint32_t i = 0; i < c.queue_count; i++) {
        if (c.queues[i].qid == book->deleted_qid && book->deleted <= durable)
            fail("a deleted queue is back", "");
        check_queue(store, &c, &c.queues[i]);
    }
    if (c.problem != NULL)
        fail("reading back", c.problem);
    for (uint32_t i = 0; i < book->count; i++) {
        const fact *f = &book->facts[i];
        if (!c.live[i] && fact_durable(f, durable, durable_large) && f->dropped == 0)
            fail("a durable message is missing", "");
        if (c.live[i] && f->dropped != 0 && f->dropped <= durable) {
            char text[160];
            snprintf(text, sizeof text,
                     "queue %u position %" PRIu64 ", appended by %" PRIu64 ", dropped by %" PRIu64
                     ", durable up to %" PRIu64 ", %s",
                     f->qid, f->qseq, f->appended, f->dropped, durable,
                     f->large ? "large" : "small");
            fail("a message is back whose drop was durable", text);
        }
        for (uint32_t k = 0; f->pair != 0 && f->dropped == 0 && k < book->count; k++)
            if (book->facts[k].pair == f->pair && book->facts[k].dropped == 0 &&
                c.live[k] != c.live[i])
                fail("half of an atomic pair is there", "");
    }
    check_prefix(&c);
    store_close(store);
    book->durable = durable;
    book->durable_large = durable_large;
    return c.sum + c.found;
}

typedef enum outcome { KILLED, FAILED, FINISHED } outcome;

static outcome run_child(const char *plan)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0)
        fail("fork", "");
    if (pid == 0)
        child(plan);
    int status = 0;
    waitpid(pid, &status, 0);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
        return KILLED;
    if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_FAILED)
        return FAILED;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        char text[48];
        snprintf(text, sizeof text, "status 0x%x", (unsigned)status);
        fail("the child ended in another way", text);
    }
    return FINISHED;
}

static void plan_write(char out[PLAN_MAX], const fault *f)
{
    const char *name = f->point->name;
    out[0] = 0;
    if (!in_store(f->point))
        return;
    switch (f->act) {
    case CRASH:
        snprintf(out, PLAN_MAX, "%s=crash@%u", name, f->pass);
        break;
    case SLOW_CRASH:
        snprintf(out, PLAN_MAX, "store.txn.before_put=delay:2;%s=crash@%u", name, f->pass);
        break;
    case HALF:
        snprintf(out, PLAN_MAX, "%s=half@%u", name, f->pass);
        break;
    case ERROR:
        snprintf(out, PLAN_MAX, "%s=error:EIO@%u", name, f->pass);
        break;
    case FULL:
        snprintf(out, PLAN_MAX, "%s=error:ENOSPC@%u;%s=error:ENOSPC@%u", name, f->pass, name,
                 f->pass + 1);
        break;
    case DELAY:
        snprintf(out, PLAN_MAX, "%s=delay:%d@%u", name, DELAY_MS, f->pass);
        break;
    case ACTION_COUNT:
        SLC_ASSERT(false);
    }
}

// One run of the scenario; the store is checked afterwards. plan: in place of that of a fault.
static outcome try_fault(const fault *f, const char *plan)
{
    char written[PLAN_MAX];
    if (f->point != NULL)
        plan_write(written, f);
    else
        snprintf(written, sizeof written, "%s", plan);
    snprintf(what_runs, sizeof what_runs, "%s %s at pass %u (%.200s)",
             f->point != NULL ? f->point->name : "no fault,",
             f->point != NULL ? action_names[f->act] : "", f->pass, written);
    rng = seed * 0x9e3779b97f4a7c15ull + f->pass * 7919u + 1;
    for (int i = 0; i < 8; i++)
        rnd(2);
    dir_clear();
    memset(book, 0, sizeof *book);
    writes.what = *f;
    outcome how = run_child(written);
    writes.what = (fault){0};
    // Somebody kills the first recovery; the scan has few passes when the log is short.
    char again[48];
    snprintf(again, sizeof again, "rec.scan.mid=crash@%u", 1 + f->pass % 3);
    uint64_t durable = book->durable, durable_large = book->durable_large;
    if (book->count > 0)
        (void)run_child(again);
    book->durable = durable;
    book->durable_large = durable_large;
    uint64_t first = check_once();
    if (check_once() != first)
        fail("the second recovery found something else", "");
    return how;
}

// How often the scenario passes each point, more or less: the two threads meet as they like.
static void passes_count(uint64_t passes[POINTS_MAX])
{
    char plan[PLAN_MAX];
    size_t at = 0;
    for (uint32_t i = 0; i < SLC_ARRAY_COUNT(points); i++)
        if (in_store(&points[i]))
            at += (size_t)snprintf(plan + at, sizeof plan - at, "%s=delay:0;", points[i].name);
    SLC_ASSERT(at < sizeof plan);
    if (try_fault(&(fault){0}, plan) != FINISHED)
        fail("the scenario does not finish", book->failure.text);
    printf("without a fault: %llu messages migrated, %llu merged\n",
           (unsigned long long)book->migrated, (unsigned long long)book->merged);
    if (book->migrated == 0 || book->merged == 0)
        fail("the scenario does not migrate or does not merge", "");
    memcpy(passes, book->passes, sizeof book->passes);
}

// Whether the scenario came to that pass.
static bool fault_reached(const point *p, action act, unsigned pass)
{
    outcome how = try_fault(&(fault){p, act, pass}, NULL);
    outcome wanted = act == ERROR ? FAILED : act == FULL || act == DELAY ? FINISHED : KILLED;
    if (how != wanted && how != FINISHED)
        fail("the child ended in another way",
             how == FAILED ? book->failure.text : "it was killed");
    return how == wanted;
}

static unsigned sweep(const point *p, action act, unsigned samples, uint64_t passes)
{
    unsigned reached = 0;
    if (samples == 0)
        for (unsigned pass = 1; pass <= passes; pass++)
            reached += fault_reached(p, act, pass);
    for (unsigned i = 0; i < samples; i++) {
        unsigned pass = 1 + (unsigned)pick(passes);
        bool there = false;
        while (pass > 0 && !(there = fault_reached(p, act, pass)))
            pass /= 2;
        reached += there;
    }
    if (reached == 0)
        fail("the scenario never reaches the point", p->name);
    return reached;
}

// A crash in the middle of a recovery changes nothing, however often it happens.
static unsigned sweep_recovery(unsigned samples)
{
    static const point after = {"store.commit.after", C};
    unsigned reached = 0, passes = samples == 0 ? 1000 : samples + 2;
    (void)try_fault(&(fault){&after, CRASH, 9}, NULL);
    uint64_t before = check_once();
    for (unsigned pass = 1; pass <= passes; pass++) {
        snprintf(what_runs, sizeof what_runs, "rec.scan.mid=crash@%u", pass);
        uint64_t durable = book->durable, durable_large = book->durable_large;
        outcome how = run_child(what_runs);
        book->durable = durable;
        book->durable_large = durable_large;
        if (how != KILLED)
            break;
        if (check_once() != before)
            fail("a recovery that was killed changed something", "");
        reached++;
    }
    return reached;
}

int main(int argc, char **argv)
{
    unsigned samples = 1;
    const char *only = NULL;
    bool usage = false;
    slc_random_bytes(&seed, 4);
    for (int i = 1; i < argc && !usage; i++) {
        bool value = i + 1 < argc;
        if (strcmp(argv[i], "--all") == 0)
            samples = 0;
        else if (strcmp(argv[i], "--samples") == 0 && value)
            usage = (samples = (unsigned)strtoul(argv[++i], NULL, 10)) == 0;
        else if (strcmp(argv[i], "--point") == 0 && value)
            only = argv[++i];
        else if (strcmp(argv[i], "--seed") == 0 && value)
            seed = strtoull(argv[++i], NULL, 10);
        else
            usage = true;
    }
    if (usage) {
        fprintf(stderr, "usage: store_crash [--samples N] [--all] [--point NAME] [--seed N]\n");
        return 2;
    }
#if !SLC_FAILPOINTS
    fprintf(stderr, "store_crash: built without fail points\n");
    return 77;
#endif
    const char *base = getenv("TMPDIR");
    if (base == NULL || strlen(base) > sizeof dir - 24)
        base = "/tmp";
    snprintf(dir, sizeof dir, "%s/slc-crash-XXXXXX", base);
    if (mkdtemp(dir) == NULL)
        fail("mkdtemp", "");
    book = mmap(NULL, sizeof *book, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (book == MAP_FAILED)
        fail("mmap", "");
    printf("seed %llu\n", (unsigned long long)seed);
    picking = seed | 1;
    uint64_t base_ns = slc_clock_now_ns(), passes[POINTS_MAX];
    passes_count(passes);
    unsigned total = 0;
    for (uint32_t p = 0; p < SLC_ARRAY_COUNT(points); p++) {
        if (only != NULL && strcmp(only, points[p].name) != 0)
            continue;
        if (passes[p] == 0)
            fail("the scenario never reaches the point", points[p].name);
        for (uint32_t act = 0; act < ACTION_COUNT; act++) {
            if ((points[p].actions >> act & 1) == 0)
                continue;
            unsigned reached = sweep(&points[p], (action)act, samples, passes[p]);
            printf("%-24s %-10s %u of %llu passes\n", points[p].name, action_names[act], reached,
                   (unsigned long long)passes[p]);
            total += reached;
        }
    }
    if (only == NULL || strcmp(only, "rec.scan.mid") == 0)
        total += sweep_recovery(samples);
    if (total == 0)
        fail("there is no such point", only);
    dir_clear();
    rmdir(dir);
    printf("%u faults, every store came back right (seed %llu, %.1f s)\n", total,
           (unsigned long long)seed, (double)(slc_clock_now_ns() - base_ns) / 1e9);
    return 0;
}
