// Every fail point of the store, at the first, second, third ... pass, with what can happen there:
//   crash       SIGKILL, with a slow store thread, too, so that more is open; the end in the middle of a transaction (half)
//   error       EIO: the store has to stop, as a daemon does with exit status 74
//   full        ENOSPC, and again at the retry: the store has to block, get over it and lose nothing
// The last row kills recoveries.
//
// A child drives the store with a plan; what it submits and what it is told stands in shared memory, so its death takes
// nothing of that with it. Then the parent opens the store as a restart would and compares:
//   - nothing that was reported durable is missing (S1), nothing whose drop was reported durable is back;
//   - the appends that are there are a prefix of those submitted (S4), but for contents larger than a hand-over, which others
//     may overtake; atomic pairs are there together or not at all;
//   - positions ascend, so that no message is seen twice (S3); every content is what it was;
//   - a recovery that is killed changes nothing, and a second recovery gives the same (S4).
//
//     store_crash [--passes N] [--point NAME] [--seed N]
//
// Exit status 0: all held. A failure prints plan and seed. TMPDIR=/dev/shm makes long runs quick.
#include <slc/store.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
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
    PLAN_MAX = 160,
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
static uint64_t seed = 1, rng;
static char dir[64];
static char what_runs[PLAN_MAX];

static uint64_t rnd(uint64_t below)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return (rng >> 11) % below;
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
    if (book->count == 0)
        scenario(store);
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
        if (c.live[i] && f->dropped != 0 && f->dropped <= durable)
            fail("a message is back whose drop was durable", "");
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

static outcome try_plan(const char *plan, unsigned pass)
{
    snprintf(what_runs, sizeof what_runs, "%s", plan);
    rng = seed * 0x9e3779b97f4a7c15ull + pass * 7919u + 1;
    for (int i = 0; i < 8; i++)
        rnd(2);
    dir_clear();
    memset(book, 0, sizeof *book);
    outcome how = run_child(plan);
    // Somebody kills the first recovery; the scan has few passes when the log is short.
    char again[48];
    snprintf(again, sizeof again, "rec.scan.mid=crash@%u", 1 + pass % 3);
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

typedef enum action { CRASH, SLOW_CRASH, HALF, ERROR, FULL, ACTION_COUNT } action;

static const char *const action_names[ACTION_COUNT] = {"crash", "slow crash", "half", "error",
                                                       "full"};

static void plan_write(char out[PLAN_MAX], const char *point, action act, unsigned pass)
{
    static const char *const formats[ACTION_COUNT] = {
        [CRASH] = "%s=crash@%u",
        [SLOW_CRASH] = "store.txn.before_put=delay:2;%s=crash@%u",
        [HALF] = "%s=half@%u",
        [ERROR] = "%s=error:EIO@%u",
        [FULL] = "%s=error:ENOSPC@%u;%s=error:ENOSPC@%u",
    };
    SLC_ASSERT(strlen(point) < 40);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    if (act == FULL)
        snprintf(out, PLAN_MAX, formats[act], point, pass, point, pass + 1);
    else
        snprintf(out, PLAN_MAX, formats[act], point, pass);
#pragma GCC diagnostic pop
}

// Passes 1, 2, 3, then wider steps: a scenario has more passes than a short run can try. Returns how many were reached.
static unsigned sweep(const char *point, action act, unsigned passes)
{
    unsigned reached = 0;
    for (unsigned i = 0, pass = 1; i < passes; i++, pass += 1 + i / 3) {
        char plan[PLAN_MAX];
        plan_write(plan, point, act, pass);
        outcome how = try_plan(plan, pass);
        outcome wanted = act == ERROR ? FAILED : act == FULL ? FINISHED : KILLED;
        if (how == FINISHED && wanted != FINISHED)
            break; // it has no such pass
        if (how != wanted)
            fail("the child ended in another way",
                 how == FAILED ? book->failure.text : "it was killed");
        reached++;
    }
    return reached;
}

// A crash in the middle of a recovery changes nothing, however often it happens.
static unsigned sweep_recovery(unsigned passes)
{
    unsigned reached = 0;
    try_plan("store.commit.after=crash@9", 9);
    uint64_t before = check_once();
    for (unsigned pass = 1; pass <= passes; pass++) {
        snprintf(what_runs, sizeof what_runs, "rec.scan.mid=crash@%u", pass);
        uint64_t durable = book->durable;
        outcome how = run_child(what_runs);
        book->durable = durable;
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
    enum { C = 1 << CRASH, S = 1 << SLOW_CRASH, H = 1 << HALF, E = 1 << ERROR, F = 1 << FULL };
    static const struct {
        const char *name;
        unsigned actions;
    } points[] = {
        {"store.batch.serialise", C | E | F},
        {"store.txn.before_put", C | E | F},
        {"store.txn.mid_put", C | S | H | E | F},
        {"store.enospc", F},
        {"store.mapfull", F},
        {"store.eio", E},
        {"store.commit.before", C | S | E | F},
        {"store.sync.before", C | E | F},
        {"store.sync.after", C | E},
        {"store.commit.after", C | S | E},
        {"store.sync.deferred", C | E},
        {"store.notify.before", C | S},
        {"res.part", C | E | F},
        {"res.enq.before", C | E | F},
        {"mig.segment.put", C | S | E | F},
        {"mig.commit.before", C | S | E | F},
        {"mig.commit.after", C | S | E},
    };
    unsigned passes = 4;
    const char *only = NULL;
    slc_random_bytes(&seed, 4);
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--passes") == 0)
            passes = (unsigned)strtoul(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--point") == 0)
            only = argv[i + 1];
        else if (strcmp(argv[i], "--seed") == 0)
            seed = strtoull(argv[i + 1], NULL, 10);
        else
            argc = 0;
    }
    if (argc == 0 || argc % 2 == 0 || passes == 0) {
        fprintf(stderr, "usage: store_crash [--passes N] [--point NAME] [--seed N]\n");
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
    uint64_t base_ns = slc_clock_now_ns();
    try_plan("", 0);
    printf("without a fault: %llu messages migrated, %llu merged\n",
           (unsigned long long)book->migrated, (unsigned long long)book->merged);
    if (book->migrated == 0 || book->merged == 0)
        fail("the scenario does not migrate or does not merge", "");
    unsigned total = 0;
    for (uint32_t p = 0; p < SLC_ARRAY_COUNT(points); p++) {
        if (only != NULL && strcmp(only, points[p].name) != 0)
            continue;
        for (uint32_t act = 0; act < ACTION_COUNT; act++) {
            if ((points[p].actions >> act & 1) == 0)
                continue;
            unsigned reached = sweep(points[p].name, (action)act, passes);
            if (reached == 0)
                fail("the scenario never reaches the point", points[p].name);
            printf("%-24s %-10s %u\n", points[p].name, action_names[act], reached);
            total += reached;
        }
    }
    if (only == NULL || strcmp(only, "rec.scan.mid") == 0)
        total += sweep_recovery(passes);
    if (total == 0)
        fail("there is no such point", only);
    dir_clear();
    rmdir(dir);
    printf("%u faults, every store came back right (seed %llu, %.1f s)\n", total,
           (unsigned long long)seed, (double)(slc_clock_now_ns() - base_ns) / 1e9);
    return 0;
}
