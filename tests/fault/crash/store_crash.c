// kill -9 at every fail point of the store, at the first, second, third ... pass, until the scenario gets through.
//
// A child drives the store with a plan; what it submits and what it is told stands in shared memory, so its death takes
// nothing of that with it. Then the parent opens the store as a restart would and compares:
//   - nothing that was reported durable is missing, nothing whose drop was reported durable is back;
//   - atomic pairs are there together or not at all; positions ascend; every content is what it was;
//   - a second recovery gives the same.
//
//     store_crash [--passes N] [--point NAME] [--seed N]
//
// Exit status 0: all held. A failure prints point, pass and seed.
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

enum { FACTS_MAX = 4096, ROUNDS = 24, QUEUES = 3 };

typedef struct fact {
    uint32_t qid, pair; // pair: number of the atomic submission it belongs to, 0: none
    uint64_t qseq, bytes;
    uint64_t appended, dropped; // tickets; 0: not submitted, UINT64_MAX: about to be
} fact;

// Shared by parent and child.
typedef struct journal {
    uint64_t durable;
    bool finished;
    uint32_t count;
    fact facts[FACTS_MAX];
} journal;

typedef struct checked {
    uint8_t live[FACTS_MAX];
    uint32_t found;
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
static const char *what_runs = "";
static unsigned pass_runs;

static uint64_t rnd(uint64_t below)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return (rng >> 11) % below;
}

static _Noreturn void fail(const char *text, const char *detail)
{
    fprintf(stderr, "store_crash: %s (%s) at %s, pass %u, seed %llu; files in %s\n", text, detail,
            what_runs, pass_runs, (unsigned long long)seed, dir);
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
    book->durable = up_to;
}

static void on_failed(const slc_error *error, void *arg)
{
    (void)arg;
    fprintf(stderr, "%s\n", error->text);
    _exit(3);
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
                                 .log_bytes = 60000,    // most of it moves to segments
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

static void append(slc_store *store, uint32_t qid, uint64_t qseq, uint64_t bytes, uint32_t pair)
{
    if (book->count == FACTS_MAX)
        return;
    uint8_t *data = malloc(bytes + 1);
    fill(data, bytes, pair, qid, qseq);
    fact *f = &book->facts[book->count];
    *f = (fact){.qid = qid, .pair = pair, .qseq = qseq, .bytes = bytes, .appended = UINT64_MAX};
    book->count++;
    f->appended = slc_store_append(store, 0, &(slc_store_content){data, bytes, data}, 1, 0,
                                   &(slc_store_target){qid, qseq, 0}, 1);
}

static void wait_turn(uv_timer_t *timer)
{
    (void)timer;
}

static void wait_durable(slc_store *store, uint64_t ticket)
{
    uv_timer_t timer;
    uv_timer_init(&loop, &timer);
    uv_timer_start(&timer, wait_turn, 100, 100);
    slc_store_flush(store);
    uint64_t until = slc_clock_now_ns() + 20 * SLC_NS_PER_S;
    while (book->durable < ticket && slc_clock_now_ns() < until)
        uv_run(&loop, UV_RUN_ONCE);
    if (book->durable < ticket)
        _exit(4);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&loop, UV_RUN_NOWAIT);
}

static void scenario(slc_store *store)
{
    uint64_t qseq[QUEUES + 1] = {0};
    uint32_t qids[QUEUES + 1];
    for (uint32_t q = 1; q <= QUEUES; q++)
        qids[q] = slc_store_queue_new(store, 0, &(slc_uuid){{(uint8_t)q}}, NULL);
    uint32_t pairs = 0, oldest = 0;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        for (uint64_t n = 1 + rnd(25); n > 0; n--) {
            uint32_t q = 1 + (uint32_t)rnd(QUEUES);
            append(store, qids[q], ++qseq[q], rnd(12) == 0 ? 17000 + rnd(500000) : rnd(3000), 0);
        }
        if (round % 3 == 1) {
            slc_store_atomic_begin(store, 0);
            pairs++;
            append(store, qids[1], ++qseq[1], rnd(2) == 0 ? 40000 : 100, pairs);
            append(store, qids[2], ++qseq[2], 30, pairs);
            slc_store_atomic_end(store, 0);
        }
        // Mostly in order, so that the front of the log empties; sometimes not.
        for (uint64_t n = rnd(24); n > 0 && oldest < book->count; n--) {
            fact *f = &book->facts[rnd(4) == 0 ? rnd(book->count) : oldest++];
            if (f->dropped != 0 || f->pair != 0)
                continue;
            f->dropped = UINT64_MAX;
            f->dropped = slc_store_drop(store, 0, f->qid, f->qseq, SLC_DROP_ACK, NULL);
        }
        slc_store_flush(store);
        if (round % 2 == 0)
            wait_durable(store, book->facts[rnd(book->count)].appended);
        else
            uv_run(&loop, UV_RUN_NOWAIT);
    }
}

static _Noreturn void child(const char *plan)
{
    slc_error error = {0};
    if (slc_failpoint_plan(plan, &error) != SLC_OK)
        _exit(5);
    slc_store *store;
    if (store_open(&store, NULL, &error) != SLC_OK)
        _exit(6);
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
    if (f->bytes != m->content.bytes) {
        c->problem = "a content of another size";
        return;
    }
    uint8_t *want = malloc(f->bytes + 1);
    fill(want, f->bytes, f->pair, f->qid, f->qseq);
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

static uint32_t check_once(void)
{
    static checked c;
    c = (checked){0};
    slc_store *store;
    slc_error error = {0};
    uint64_t durable = book->durable;
    if (store_open(&store, &c, &error) != SLC_OK)
        fail("recovery refused", error.text);
    for (uint32_t i = 0; i < c.queue_count; i++)
        check_queue(store, &c, &c.queues[i]);
    if (c.problem != NULL)
        fail("reading back", c.problem);
    for (uint32_t i = 0; i < book->count; i++) {
        const fact *f = &book->facts[i];
        if (!c.live[i] && f->appended <= durable && f->dropped == 0)
            fail("a durable message is missing", "");
        if (c.live[i] && f->dropped != 0 && f->dropped <= durable)
            fail("a message is back whose drop was durable", "");
        for (uint32_t k = 0; f->pair != 0 && k < book->count; k++)
            if (book->facts[k].pair == f->pair && c.live[k] != c.live[i])
                fail("half of an atomic pair is there", "");
    }
    store_close(store);
    book->durable = durable;
    return c.found;
}

// True when the child was killed by its plan.
static bool run_child(const char *point, unsigned pass)
{
    char plan[96];
    snprintf(plan, sizeof plan, "%s=crash@%u", point, pass);
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0)
        fail("fork", "");
    if (pid == 0)
        child(plan);
    int status = 0;
    waitpid(pid, &status, 0);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
        return true;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        char text[48];
        snprintf(text, sizeof text, "status 0x%x", (unsigned)status);
        fail("the child ended in another way", text);
    }
    return false;
}

static bool try_pass(const char *point, unsigned pass)
{
    what_runs = point;
    pass_runs = pass;
    rng = seed * 0x9e3779b97f4a7c15ull + pass * 7919u + 1;
    for (int i = 0; i < 8; i++)
        rnd(2);
    dir_clear();
    memset(book, 0, sizeof *book);
    bool crashed = run_child(point, pass);
    uint32_t first = check_once();
    if (check_once() != first)
        fail("the second recovery found something else", "");
    return crashed;
}

// A crash in the middle of a recovery changes nothing.
static void try_recovery(unsigned passes)
{
    try_pass("store.commit.after", 9);
    what_runs = "rec.scan.mid";
    for (pass_runs = 1; pass_runs <= passes; pass_runs++) {
        if (!run_child("rec.scan.mid", pass_runs))
            break;
        check_once();
    }
}

int main(int argc, char **argv)
{
    static const char *const points[] = {
        "store.batch.serialise", "store.txn.before_put", "store.txn.mid_put",
        "store.commit.before",   "store.sync.before",    "store.sync.after",
        "store.commit.after",    "store.notify.before",  "res.part",
        "res.enq.before",        "mig.segment.put",      "mig.commit.before",
        "mig.commit.after",
    };
    unsigned passes = 10;
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
    strcpy(dir, "/tmp/slc-crash-XXXXXX");
    if (mkdtemp(dir) == NULL)
        fail("mkdtemp", "");
    book = mmap(NULL, sizeof *book, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (book == MAP_FAILED)
        fail("mmap", "");
    unsigned crashes = 0;
    for (uint32_t p = 0; p < SLC_ARRAY_COUNT(points); p++) {
        if (only != NULL && strcmp(only, points[p]) != 0)
            continue;
        unsigned reached = 0;
        // Passes 1, 2, 3, then wider steps: a scenario has more passes than a short run can try.
        for (unsigned i = 0, pass = 1; i < passes; i++, pass += 1 + i / 3) {
            if (!try_pass(points[p], pass))
                break;
            reached++;
        }
        if (reached == 0)
            fail("the scenario never reaches the point", points[p]);
        printf("%-24s %u crashes\n", points[p], reached);
        crashes += reached;
    }
    if (only == NULL || strcmp(only, "rec.scan.mid") == 0)
        try_recovery(passes);
    dir_clear();
    rmdir(dir);
    printf("%u crashes, every store came back right (seed %llu)\n", crashes,
           (unsigned long long)seed);
    return 0;
}
