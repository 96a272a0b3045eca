// A backup of a store at work: opened again, it has what was durable when it began and was not dropped before it ended.
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <criterion/parameterized.h>
#include <fcntl.h>
#include <inttypes.h>
#include <lmdb.h>
#include <slc/store_backup.h>
#include <slc/store_tools.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "store_impl.h"

enum { QUEUES_MAX = 64, BODY_MAX = 400000 };

typedef struct message {
    uint32_t bytes;
    slc_store_ticket appended, dropped; // 0: not
} message;

typedef struct queue {
    uint32_t qid; // 0: deleted
    slc_store_ticket made, deleted;
    message *messages; // position 1 is [1]
    uint32_t count;    // highest position
    uint32_t oldest;   // nothing below is live
} queue;

typedef struct world {
    char dir[64];
    uv_loop_t loop;
    slc_store *store;
    slc_store_ticket durable, last;
    bool large_done; // the store reported a ticket with the mark
    uint64_t random;
    queue queues[QUEUES_MAX];
    uint32_t queue_count;
    bool closed, done;
    slc_err rc;
    slc_error error;
    slc_store_backup_figures figures;
    slc_store_backup *backup;
    slc_store_ticket at_start,
        at_end; // durable when the backup began; submitted last when it was done
} world;

static uint64_t dice(world *w, uint64_t sides)
{
    w->random = w->random * 6364136223846793005ull + 1442695040888963407ull;
    return (w->random >> 33) % sides;
}

static uint8_t *body_of(uint32_t qid, uint64_t qseq, uint32_t bytes)
{
    uint8_t *body = malloc(bytes + 1u);
    uint64_t x = (qid * 0x9e3779b97f4a7c15ull) ^ (qseq * 0xbf58476d1ce4e5b9ull) ^ bytes;
    for (uint32_t i = 0; i < bytes; i++) {
        if (i % 8 == 0)
            x = x * 6364136223846793005ull + 1442695040888963407ull;
        body[i] = (uint8_t)(x >> (8 * (i % 8)));
    }
    return body;
}

/* ---- the store ---- */

static void on_release(void *owner, void *arg)
{
    (void)arg;
    free(owner);
}

static void on_durable(uint16_t shard, slc_store_ticket up_to, void *arg)
{
    (void)shard;
    world *w = arg;
    if ((up_to & SLC_TICKET_LARGE) == 0)
        w->durable = up_to;
    else
        w->large_done = true;
}

static void on_failed(const slc_error *error, void *arg)
{
    (void)arg;
    cr_fatal("the store failed: %s", error->text);
}

static void on_space(bool blocked, const slc_error *error, void *arg)
{
    (void)blocked;
    (void)error;
    (void)arg;
}

static void on_closed(void *arg)
{
    *(bool *)arg = true;
}

static bool keep(uint16_t shard, const slc_store_queue *summary, void *arg)
{
    (void)shard;
    (void)summary;
    (void)arg;
    return true;
}

static slc_store *store_open(world *w, const char *dir, slc_store_visitor visitor, void *arg)
{
    slc_store_options options = {.dir = dir,
                                 .loop = &w->loop,
                                 .map_size = 4ull << 30,
                                 .log_bytes = 1 << 20,
                                 .release = on_release,
                                 .durable = on_durable,
                                 .failed = on_failed,
                                 .space = on_space,
                                 .arg = w};
    slc_error error = {0};
    slc_store *store;
    cr_assert(eq(int, slc_store_open(&options, &store, &error), SLC_OK), "%s", error.text);
    cr_assert(eq(int, slc_store_recover(store, visitor, arg, &error), SLC_OK), "%s", error.text);
    return store;
}

static void world_open(world *w, uint64_t seed)
{
    *w = (world){.random = seed};
    strcpy(w->dir, "/tmp/slc-backup-XXXXXX");
    cr_assert(mkdtemp(w->dir) != NULL);
    uv_loop_init(&w->loop);
    char path[128];
    snprintf(path, sizeof path, "%s/store", w->dir);
    w->store = store_open(w, path, keep, w);
}

static const char *copy_path(const world *w, char path[128])
{
    snprintf(path, 128, "%s/copy", w->dir);
    return path;
}

static void dir_drop(const char *dir)
{
    static const char *const names[] = {"data.mdb", "lock.mdb"};
    for (uint32_t i = 0; i < 2; i++) {
        char path[192];
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        unlink(path);
    }
    rmdir(dir);
}

static void store_close(world *w, slc_store *store)
{
    w->closed = false;
    slc_store_close(store, on_closed, &w->closed);
    while (!w->closed)
        uv_run(&w->loop, UV_RUN_ONCE);
}

static void world_close(world *w)
{
    if (w->store != NULL)
        store_close(w, w->store);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    cr_assert(eq(int, uv_loop_close(&w->loop), 0));
    char path[128];
    snprintf(path, sizeof path, "%s/store", w->dir);
    dir_drop(path);
    dir_drop(copy_path(w, path));
    cr_expect(eq(int, rmdir(w->dir), 0), "something was left in %s", w->dir);
    for (uint32_t i = 0; i < w->queue_count; i++)
        free(w->queues[i].messages);
}

static void wake(uv_timer_t *timer)
{
    (void)timer;
}

static void turn(world *w)
{
    slc_store_flush(w->store);
    uv_timer_t timer; // so that the loop cannot sleep for ever
    uv_timer_init(&w->loop, &timer);
    uv_timer_start(&timer, wake, 5, 5);
    uv_run(&w->loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&w->loop, UV_RUN_NOWAIT);
}

/* ---- what happens in it ---- */

static queue *queue_make(world *w)
{
    cr_assert(w->queue_count < QUEUES_MAX);
    queue *q = &w->queues[w->queue_count++];
    *q = (queue){.oldest = 1};
    slc_uuid uuid = {{(uint8_t)w->queue_count, 7}};
    q->qid = slc_store_queue_new(w->store, 0, &uuid, &q->made);
    cr_assert(eq(u32, q->qid, w->queue_count));
    w->last = q->made;
    return q;
}

static void append(world *w, queue *q, uint32_t bytes)
{
    q->messages = realloc(q->messages, (q->count + 2u) * sizeof *q->messages);
    message *m = &q->messages[++q->count];
    uint8_t *body = body_of(q->qid, q->count, bytes);
    slc_store_target target = {.qid = q->qid, .qseq = q->count};
    w->last =
        slc_store_append(w->store, 0, &(slc_store_content){body, bytes, body}, 1, 0, &target, 1) &
        ~SLC_TICKET_LARGE;
    *m = (message){.bytes = bytes, .appended = w->last};
}

static void drop(world *w, queue *q, uint32_t at)
{
    message *m = &q->messages[at];
    if (m->dropped != 0)
        return;
    w->last = m->dropped = slc_store_drop(w->store, 0, q->qid, at, SLC_DROP_ACK, NULL);
    while (q->oldest <= q->count && q->messages[q->oldest].dropped != 0)
        q->oldest++;
}

static void purge(world *w, queue *q)
{
    if (q->oldest > q->count)
        return;
    w->last = slc_store_drop_range(w->store, 0, q->qid, q->oldest, q->count, SLC_DROP_PURGE);
    for (; q->oldest <= q->count; q->oldest++)
        if (q->messages[q->oldest].dropped == 0)
            q->messages[q->oldest].dropped = w->last;
}

// Publishers, consumers that ack most, some far behind, some that leave holes; now and then a queue comes, goes, is purged.
static void act(world *w, uint32_t times)
{
    for (uint32_t i = 0; i < times; i++) {
        queue *q = &w->queues[dice(w, w->queue_count)];
        if (q->qid == 0)
            continue;
        uint64_t what = dice(w, 1000);
        if (what < 500) {
            append(w, q,
                   dice(w, 60) == 0 ? 17000 + (uint32_t)dice(w, BODY_MAX - 17000)
                                    : (uint32_t)dice(w, 1500));
        } else if (what < 940 && q->oldest <= q->count) {
            uint32_t at = q->oldest, span = q->count - q->oldest + 1;
            // Every third queue is acked out of order: its segments become sparse.
            if (q->qid % 3 == 0)
                at += (uint32_t)dice(w, span);
            drop(w, q, at);
        } else if (what == 998 && w->queue_count < QUEUES_MAX - 1) {
            queue_make(w);
        } else if (what == 999 && dice(w, 4) == 0) {
            if (dice(w, 2) == 0) {
                purge(w, q);
            } else {
                q->deleted = w->last = slc_store_queue_del(w->store, 0, q->qid);
                q->qid = 0;
            }
        }
    }
}

/* ---- a backup ---- */

static void on_done(slc_err rc, const slc_store_backup_figures *figures, const slc_error *error,
                    void *arg)
{
    world *w = arg;
    cr_assert(not(w->done));
    cr_assert(eq(int, (error == NULL), (rc == SLC_OK)));
    w->done = true;
    w->rc = rc;
    w->figures = *figures;
    w->backup = NULL;
    w->at_end = w->last;
    if (error != NULL)
        w->error = *error;
}

static slc_err backup_start(world *w, uint64_t rate, uint64_t keep_free)
{
    char path[128];
    slc_store_backup_options options = {.dir = copy_path(w, path),
                                        .bytes_per_s = rate,
                                        .keep_free_bytes = keep_free,
                                        .done = on_done,
                                        .arg = w};
    w->done = false;
    w->error = (slc_error){0};
    w->at_start = w->durable;
    return slc_store_backup_start(w->store, &options, &w->backup, &w->error);
}

static void backup_wait(world *w, uint32_t acts)
{
    for (uint64_t until = slc_clock_now_ns() + 100 * SLC_NS_PER_S;
         !w->done && slc_clock_now_ns() < until;) {
        act(w, acts);
        turn(w);
    }
    cr_assert(w->done, "no end of the backup within 100 s");
}

/* ---- the copy, opened ---- */

typedef struct reading {
    uint32_t qid;
    queue *q;
    uint64_t from;
    bool *seen; // by position
    bool through, answered;
} reading;

static void on_read(slc_err rc, const slc_store_message *messages, uint32_t count, void *arg,
                    const slc_error *error)
{
    reading *r = arg;
    cr_assert(eq(int, rc, SLC_OK), "reading queue %" PRIu32 ": %s", r->qid, error->text);
    r->through = count == 0;
    for (uint32_t i = 0; i < count; i++) {
        const slc_store_message *m = &messages[i];
        cr_assert(m->qseq >= r->from && m->qseq <= r->q->count,
                  "queue %" PRIu32 " has a position %" PRIu64 " that is out of order or never was",
                  r->qid, m->qseq);
        uint8_t *want = body_of(r->qid, m->qseq, r->q->messages[m->qseq].bytes);
        cr_assert(eq(u64, m->content.bytes, r->q->messages[m->qseq].bytes));
        cr_assert(memcmp(want, m->content.data, m->content.bytes) == 0,
                  "message %" PRIu64 " of queue %" PRIu32 " has another content", m->qseq, r->qid);
        free(want);
        r->seen[m->qseq] = true;
        r->from = m->qseq + 1;
    }
    r->answered = true;
}

typedef struct found {
    bool queues[QUEUES_MAX + 1]; // by qid
    uint64_t messages;
} found;

static bool note_queue(uint16_t shard, const slc_store_queue *summary, void *arg)
{
    found *f = arg;
    (void)shard;
    cr_assert(summary->qid <= QUEUES_MAX);
    f->queues[summary->qid] = true;
    f->messages += summary->messages;
    return true;
}

// loop: that of the copy
static uint64_t queue_compare(world *w, uv_loop_t *loop, slc_store *copy, uint32_t qid)
{
    queue *q = &w->queues[qid - 1];
    uint64_t present = 0;
    reading r = {.qid = qid, .q = q, .from = 1, .seen = calloc(q->count + 2u, sizeof(bool))};
    while (!r.through) {
        r.answered = false;
        slc_store_read(copy, 0, qid, r.from, 4096, 8 << 20, on_read, &r);
        while (!r.answered)
            uv_run(loop, UV_RUN_ONCE);
    }
    for (uint32_t at = 1; at <= q->count; at++) {
        const message *m = &q->messages[at];
        present += r.seen[at];
        if (m->appended <= w->at_start && (m->dropped == 0 || m->dropped > w->at_end))
            cr_assert(r.seen[at], "message %u of queue %u was durable and is not in the copy", at,
                      qid);
        if (m->dropped != 0 && m->dropped <= w->at_start)
            cr_assert(not(r.seen[at]), "message %u of queue %u was dropped before and is back", at,
                      qid);
        if (m->appended > w->at_end)
            cr_assert(not(r.seen[at]), "message %u of queue %u is younger than the copy", at, qid);
    }
    free(r.seen);
    return present;
}

// Open the copy and look at all of it; returns the messages in it.
static uint64_t copy_read(world *w, const char *path)
{
    found f = {0};
    world *other = calloc(1, sizeof *other); // its tickets are not ours
    uv_loop_init(&other->loop);
    slc_store *copy = store_open(other, path, note_queue, &f);
    uint64_t present = 0;
    for (uint32_t qid = 1; qid <= w->queue_count; qid++) {
        const queue *q = &w->queues[qid - 1];
        if (q->made <= w->at_start && (q->deleted == 0 || q->deleted > w->at_end))
            cr_assert(f.queues[qid], "queue %u is not in the copy", qid);
        if (q->deleted != 0 && q->deleted <= w->at_start)
            cr_assert(not(f.queues[qid]), "queue %u was deleted before and is back", qid);
        if (f.queues[qid])
            present += queue_compare(w, &other->loop, copy, qid);
    }
    cr_expect(eq(u64, present, f.messages));
    store_close(other, copy);
    uv_run(&other->loop, UV_RUN_DEFAULT);
    cr_assert(eq(int, uv_loop_close(&other->loop), 0));
    free(other);
    return present;
}

static void copy_check(world *w)
{
    char path[128];
    slc_store_report report;
    slc_error error = {0};
    slc_store_tool tool = {.dir = copy_path(w, path)};
    cr_assert(eq(int, slc_store_check(&tool, &report, &error), SLC_OK), "%s", error.text);
    uint64_t messages = copy_read(w, path);
    cr_assert(eq(u64, messages, report.messages));
    // The first start changed it (graves dug, parts freed, messages moved): a second one finds the same.
    cr_assert(eq(u64, copy_read(w, path), messages));
    dir_drop(path);
}

static void fill(world *w)
{
    for (uint32_t i = 0; i < 12; i++)
        queue_make(w);
    for (uint32_t i = 0; i < 150; i++) {
        act(w, 160);
        turn(w);
    }
}

static uint64_t seed_of(uint64_t fallback)
{
    const char *given = getenv("SLC_SEED");
    return given != NULL ? strtoull(given, NULL, 10) : fallback;
}

struct seed_case {
    uint64_t seed;
    uint64_t rate;
    uint32_t acts; // per turn of the loop
};

ParameterizedTestParameters(backup, under_load)
{
    static struct seed_case cases[] = {
        {1, 0, 200},       {2, 0, 40},        {3, 60 << 20, 100},
        {4, 40 << 20, 30}, {5, 20 << 20, 10}, {6, 0, 3},
    };
    return cr_make_param_array(struct seed_case, cases, SLC_ARRAY_COUNT(cases));
}

ParameterizedTest(struct seed_case *c, backup, under_load, .timeout = 120)
{
    world *w = calloc(1, sizeof *w);
    uint64_t seed = seed_of(c->seed);
    world_open(w, seed);
    fill(w);
    slc_store_stats before, after;
    slc_store_stat(w->store, &before);
    cr_expect(gt(u64, before.segments, 0));
    cr_expect(gt(u64, before.residents, 0));
    for (uint32_t round = 0; round < 2; round++) {
        cr_assert(eq(int, backup_start(w, c->rate, 0), SLC_OK), "%s", w->error.text);
        backup_wait(w, c->acts);
        cr_assert(eq(int, w->rc, SLC_OK), "seed %" PRIu64 ": %s", seed, w->error.text);
        cr_expect(gt(u64, w->figures.segments, 0));
        cr_expect(gt(u64, w->figures.read_longest_ns, 0)); // how long is the machine's affair too
        copy_check(w);
        for (uint32_t i = 0; i < 10; i++) {
            act(w, 120);
            turn(w);
        }
    }
    slc_store_stat(w->store, &after);
    cr_expect(gt(u64, after.migrated_messages, before.migrated_messages));
    world_close(w);
    free(w);
}

Test(backup, of_an_empty_store, .timeout = 60)
{
    world *w = calloc(1, sizeof *w);
    world_open(w, 1);
    cr_assert(eq(int, backup_start(w, 0, 0), SLC_OK), "%s", w->error.text);
    backup_wait(w, 0);
    cr_assert(eq(int, w->rc, SLC_OK), "%s", w->error.text);
    cr_expect(eq(u64, w->figures.chunks, 0));
    copy_check(w);
    world_close(w);
    free(w);
}

Test(backup, an_idle_store_needs_no_work_to_begin_or_end, .timeout = 60)
{
    world *w = calloc(1, sizeof *w);
    world_open(w, 9);
    fill(w);
    while (w->durable < w->last)
        turn(w);
    cr_assert(eq(int, backup_start(w, 0, 0), SLC_OK), "%s", w->error.text);
    backup_wait(w, 0);
    cr_assert(eq(int, w->rc, SLC_OK), "%s", w->error.text);
    copy_check(w);
    world_close(w);
    free(w);
}

// Messages of q, 20 large ones among them, that all stand in segments; the log is empty afterwards.
static void move_all(world *w, queue *q)
{
    queue *short_lived = queue_make(w);
    slc_store_stats now;
    slc_store_stat(w->store, &now);
    uint64_t wanted = now.migrated_messages + 3000, first = q->count + 1;
    for (uint32_t i = 0; i < 20; i++)
        append(w, q, 100000);
    for (uint32_t i = 0; i < 3000; i++) {
        append(w, q, 1000);
        append(w, short_lived, 1000);
        if (i % 50 == 0)
            turn(w);
    }
    uint64_t until = slc_clock_now_ns() + 60 * SLC_NS_PER_S;
    do {
        turn(w);
        slc_store_stat(w->store, &now);
    } while (now.migrated_messages < wanted && slc_clock_now_ns() < until);
    // What has not moved is acked: nothing of the log is wanted any more.
    for (uint32_t at = 1; at <= short_lived->count; at++)
        drop(w, short_lived, at);
    for (uint32_t at = q->count; at > first + 1000; at--)
        drop(w, q, at);
    do {
        turn(w);
        slc_store_stat(w->store, &now);
    } while (now.log_chunks > 0 && slc_clock_now_ns() < until);
    cr_assert(eq(u64, now.log_chunks, 0));
}

// Segments and large contents, and an empty log: their numbers lie below its beginning.
Test(backup, of_a_store_with_an_empty_log, .timeout = 60)
{
    world *w = calloc(1, sizeof *w);
    world_open(w, 9);
    move_all(w, queue_make(w));
    cr_assert(eq(int, backup_start(w, 0, 0), SLC_OK), "%s", w->error.text);
    backup_wait(w, 0);
    cr_assert(eq(int, w->rc, SLC_OK), "%s", w->error.text);
    cr_expect(eq(u64, w->figures.chunks, 0));
    cr_expect(eq(u64, w->figures.parts, 20 * (100000 / SLC_PART_DATA_MAX + 1)));
    copy_check(w);
    world_close(w);
    free(w);
}

// A copy that is over before what was to happen meanwhile shows nothing: a very slow machine.
static void overtaken_skips(world *w)
{
    if (!w->done)
        return;
    world_close(w);
    free(w);
    cr_skip("the copy was faster than the load");
}

// Large contents that came while the copy was made, in chunks that had left the log again when it came to their parts.
Test(backup, of_parts_whose_chunks_have_left_the_log, .timeout = 120)
{
    world *w = calloc(1, sizeof *w);
    world_open(w, 9);
    queue *q = queue_make(w);
    for (uint32_t i = 0; i < 2; i++)
        move_all(w, q);
    cr_assert(eq(int, backup_start(w, 1 << 20, 0), SLC_OK), "%s", w->error.text);
    move_all(w, q);
    overtaken_skips(w);
    backup_wait(w, 0);
    cr_assert(eq(int, w->rc, SLC_OK), "%s", w->error.text);
    cr_expect(gt(u64, w->figures.chunks, 0));
    w->at_start =
        w->durable; // all of it came before the copy's last look, and nothing happened since
    copy_check(w);
    world_close(w);
    free(w);
}

// The copy takes parts in the order of their numbers; those of an upload come late, between others. It is waited for, and
// what comes meanwhile is not uploaded.
Test(backup, waits_for_an_upload, .timeout = 120)
{
    world *w = calloc(1, sizeof *w);
    world_open(w, 9);
    queue *q = queue_make(w), *other = queue_make(w);
    append(w, q, 40 << 20);
    turn(w);
    for (uint32_t i = 0; i < 20; i++)
        append(w, other, 100000);
    cr_assert(eq(int, backup_start(w, 0, 0), SLC_OK), "%s", w->error.text);
    append(w, other, 6 << 20);
    backup_wait(w, 0);
    cr_assert(eq(int, w->rc, SLC_OK), "%s", w->error.text);
    cr_expect(w->large_done, "the backup ended before it");
    w->at_start = w->durable;
    copy_check(w);
    world_close(w);
    free(w);
}

// Segments become sparse while they are copied: they are merged afterwards, not before.
Test(backup, of_segments_that_become_sparse_meanwhile, .timeout = 120)
{
    world *w = calloc(1, sizeof *w);
    world_open(w, 9);
    queue *q = queue_make(w);
    slc_store_stats now = {0}, before;
    for (uint32_t i = 0; i < 8000; i++) {
        append(w, q, 1000);
        if (i % 100 == 0)
            turn(w);
    }
    uint64_t until = slc_clock_now_ns() + 60 * SLC_NS_PER_S;
    while (now.migrated_messages < 6500 && slc_clock_now_ns() < until) {
        turn(w);
        slc_store_stat(w->store, &now);
    }
    slc_store_stat(w->store, &before);
    cr_assert(gt(u64, before.segments, 2 * STORE_SPARSE_MIN));
    cr_assert(eq(int, backup_start(w, 1 << 20, 0), SLC_OK), "%s", w->error.text);
    // From the back, so that what the copy has not come to changes first and neighbours cross its place.
    for (uint32_t at = q->count; at > 0 && !w->done; at--) {
        if (at % 9 != 0)
            drop(w, q, at);
        if (at % 40 == 0)
            turn(w);
    }
    overtaken_skips(w);
    slc_store_stat(w->store, &now);
    cr_expect(eq(u64, now.merged_messages, before.merged_messages));
    backup_wait(w, 0);
    cr_assert(eq(int, w->rc, SLC_OK), "%s", w->error.text);
    copy_check(w);
    do {
        turn(w);
        slc_store_stat(w->store, &now);
    } while (now.merged_messages == before.merged_messages && slc_clock_now_ns() < until);
    cr_expect(gt(u64, now.merged_messages, before.merged_messages),
              "nothing was merged afterwards");
    world_close(w);
    free(w);
}

Test(backup, lets_the_log_go_as_it_copies, .timeout = 60)
{
    world *w = calloc(1, sizeof *w);
    world_open(w, 3);
    fill(w);
    slc_store_stats now, start;
    slc_store_stat(w->store, &start);
    // Slow enough that the log turns over many times meanwhile.
    cr_assert(eq(int, backup_start(w, 1 << 18, 0), SLC_OK), "%s", w->error.text);
    uint64_t log_most = 0, behind_most = 0;
    for (uint64_t until = slc_clock_now_ns() + 60 * SLC_NS_PER_S;
         !w->done && slc_clock_now_ns() < until;) {
        slc_store_stat(w->store, &now);
        if (now.bytes_written - start.bytes_written > 80 << 20)
            break;
        act(w, 100);
        turn(w);
        log_most = now.log_bytes > log_most ? now.log_bytes : log_most;
        if (!w->done) {
            slc_store_backup_figures figures;
            slc_store_backup_figure(w->backup, &figures);
            behind_most = figures.behind_bytes > behind_most ? figures.behind_bytes : behind_most;
        }
    }
    cr_assert(not(w->done), "it was to be slow");
    cr_expect(lt(u64, log_most, 24 << 20), "the log grew to %" PRIu64, log_most);
    cr_expect(lt(u64, behind_most, 16 << 20), "behind by %" PRIu64, behind_most);
    slc_store_backup_cancel(w->backup);
    backup_wait(w, 1);
    cr_expect(eq(int, w->rc, SLC_ECLOSED));
    char path[128];
    cr_expect(eq(int, access(copy_path(w, path), F_OK), -1), "a cancelled backup left something");
    world_close(w);
    free(w);
}

Test(backup, refuses_what_it_must_not_touch, .timeout = 60)
{
    world *w = calloc(1, sizeof *w);
    world_open(w, 4);
    fill(w);
    char path[128], file[160];
    mkdir(copy_path(w, path), 0700);
    snprintf(file, sizeof file, "%s/lock.mdb", path);
    close(open(file, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    cr_expect(eq(int, backup_start(w, 0, 0), SLC_EEXIST));
    cr_expect(eq(int, access(file, F_OK), 0));
    unlink(file);
    cr_assert(eq(int, backup_start(w, 0, 0), SLC_OK), "%s", w->error.text);
    slc_store_backup *first = w->backup;
    cr_expect(eq(int, backup_start(w, 0, 0), SLC_EBUSY));
    w->backup = first;
    backup_wait(w, 10);
    cr_expect(eq(int, w->rc, SLC_OK), "%s", w->error.text);
    copy_check(w);
    cr_assert(eq(int, backup_start(w, 0, 1ull << 60), SLC_OK), "%s", w->error.text);
    backup_wait(w, 10);
    cr_expect(eq(int, w->rc, SLC_ENOSPC));
    cr_expect(eq(int, access(path, F_OK), -1));
    world_close(w);
    free(w);
}

Test(backup, ends_with_the_store, .timeout = 60)
{
    world *w = calloc(1, sizeof *w);
    world_open(w, 5);
    fill(w);
    cr_assert(eq(int, backup_start(w, 1 << 18, 0), SLC_OK), "%s", w->error.text);
    slc_store *store = w->store;
    w->store = NULL;
    store_close(w, store);
    cr_expect(w->done);
    cr_expect(eq(int, w->rc, SLC_ECLOSED));
    world_close(w);
    free(w);
}

static void on_disk_full(const char *plan, slc_err want)
{
    world *w = calloc(1, sizeof *w);
    world_open(w, 6);
    fill(w);
    slc_error error = {0};
    cr_assert(eq(int, slc_failpoint_plan(plan, &error), SLC_OK), "%s", error.text);
    cr_assert(eq(int, backup_start(w, 0, 0), SLC_OK), "%s", w->error.text);
    backup_wait(w, 30);
    cr_expect(eq(int, w->rc, want), "%s", w->error.text);
    cr_assert(eq(int, slc_failpoint_plan(NULL, &error), SLC_OK));
    char path[128];
    cr_expect(eq(int, access(copy_path(w, path), F_OK), -1));
    // The store never noticed.
    append(w, queue_make(w), 10);
    while (w->durable < w->last)
        turn(w);
    cr_assert(eq(int, backup_start(w, 0, 0), SLC_OK), "%s", w->error.text);
    backup_wait(w, 30);
    cr_expect(eq(int, w->rc, SLC_OK), "%s", w->error.text);
    copy_check(w);
    world_close(w);
    free(w);
}

Test(backup, a_full_target_fails_the_backup_only, .timeout = 60)
{
    on_disk_full("backup.commit=error:ENOSPC@2", SLC_ENOSPC);
}

Test(backup, a_broken_target_fails_the_backup_only, .timeout = 60)
{
    on_disk_full("backup.commit=error:EIO@2", SLC_EIO);
}

// A segment whose bytes have changed is named and not copied.
Test(backup, no_copy_of_damage, .timeout = 60)
{
    world *w = calloc(1, sizeof *w);
    world_open(w, 7);
    fill(w);
    while (w->durable < w->last)
        turn(w);
    MDB_txn *txn;
    MDB_cursor *cursor;
    MDB_val key, data;
    slc_shard *shard = slc_store_shard(w->store, 0);
    cr_assert(eq(int, mdb_txn_begin(w->store->env, NULL, 0, &txn), 0));
    cr_assert(eq(int, mdb_cursor_open(txn, shard->seg, &cursor), 0));
    cr_assert(eq(int, mdb_cursor_get(cursor, &key, &data, MDB_LAST), 0));
    uint8_t value[SLC_CHUNK_VALUE_MAX];
    memcpy(value, data.mv_data, data.mv_size);
    value[data.mv_size / 2] ^= 1;
    MDB_val changed = {.mv_size = data.mv_size, .mv_data = value};
    cr_assert(eq(int, mdb_cursor_put(cursor, &key, &changed, MDB_CURRENT), 0));
    mdb_cursor_close(cursor);
    cr_assert(eq(int, mdb_txn_commit(txn), 0));
    cr_assert(eq(int, backup_start(w, 0, 0), SLC_OK), "%s", w->error.text);
    backup_wait(w, 0);
    cr_expect(eq(int, w->rc, SLC_ECORRUPT));
    cr_expect(strstr(w->error.text, "0000.seg") != NULL, "%s", w->error.text);
    world_close(w);
    free(w);
}
