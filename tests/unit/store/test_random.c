// Random histories, checked against a list of what was submitted: after any crash everything durable is there, nothing
// durably dropped is back, atomic groups are whole, the appends are a prefix of what was submitted (S4), order and content are
// right, and the counters equal a recount (S6). A disk that is full or fails, at any of the store's fail points, is one of the
// things that happen.
//
// A failure prints the seed; STORE_SEED=n runs that one alone, STORE_ROUNDS=n more of them (TMPDIR=/dev/shm makes that quick).
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "subject.h"

enum { QUEUES_MAX = 12, HISTORY_MAX = 60000 };

typedef struct fact {
    uint32_t qid;
    uint64_t qseq, bytes;
    slc_store_ticket appended, dropped; // 0: not
    bool there;        // recovered after the last crash: as good as appended with ticket 0
    uint32_t fill_qid; // of the content: first target of its message
    uint64_t fill_qseq;
    uint32_t group; // of the append; 0: none
    uint32_t drop_group;
    bool large; // of the append: others may be durable earlier
    bool stays; // until its queue is purged, deleted, or everything is
} fact;

typedef struct history {
    subject *s;
    uint64_t seed, rng;
    fact *facts;
    uint32_t count;
    uint32_t qids[QUEUES_MAX];
    uint64_t next_qseq[QUEUES_MAX];
    slc_store_ticket deleted[QUEUES_MAX]; // ticket of queue_del, 0: it lives
    slc_store_ticket created[QUEUES_MAX];
    uint64_t purged_from[QUEUES_MAX], purged_to[QUEUES_MAX]; // not to be read any more
    uint32_t queue_count;
    slc_store_ticket last;
    uint32_t groups;
    uint64_t live_bytes;
} history;

static uint64_t rnd(history *h, uint64_t below)
{
    h->rng ^= h->rng << 13;
    h->rng ^= h->rng >> 7;
    h->rng ^= h->rng << 17;
    return (h->rng >> 11) % below;
}

#define CHECK(condition, ...)                                                                      \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "seed %llu: ", (unsigned long long)h->seed);                           \
            fprintf(stderr, __VA_ARGS__);                                                          \
            fprintf(stderr, "\n");                                                                 \
            cr_fatal("seed %llu: " #condition, (unsigned long long)h->seed);                       \
        }                                                                                          \
    } while (0)

static bool fact_live(const history *h, const fact *f)
{
    if (f->dropped != 0 || (f->appended == 0 && !f->there))
        return false;
    for (uint32_t q = 0; q < h->queue_count; q++)
        if (h->qids[q] == f->qid)
            return h->deleted[q] == 0;
    return false;
}

static void do_queue_new(history *h)
{
    if (h->queue_count == QUEUES_MAX)
        return;
    uint32_t q = h->queue_count++;
    h->qids[q] = s_queue_new(h->s, (uint8_t)(q + 1));
    h->next_qseq[q] = 1;
    h->deleted[q] = 0;
    h->purged_from[q] = h->purged_to[q] = 0;
    h->created[q] = ++h->last;
}

static uint64_t size_pick(history *h)
{
    switch (rnd(h, 40)) {
    case 0:
        return 16385 + rnd(h, 300000);
    case 1:
        return 65440 + rnd(h, 40);
    case 2:
        return 0;
    default:
        return rnd(h, rnd(h, 4) == 0 ? 16385 : 700);
    }
}

static void do_append(history *h, uint32_t group)
{
    slc_store_target targets[4];
    uint32_t count = 0, wanted = rnd(h, 5) == 0 ? 4 : 1;
    for (uint32_t tries = 0; count < wanted && tries < 8; tries++) {
        uint32_t q = (uint32_t)rnd(h, h->queue_count);
        bool again = h->deleted[q] != 0;
        for (uint32_t i = 0; i < count; i++)
            again = again || targets[i].qid == h->qids[q];
        if (again)
            continue;
        h->next_qseq[q] += rnd(h, 10) == 0 ? rnd(h, 5) : 0;
        targets[count++] = (slc_store_target){h->qids[q], h->next_qseq[q]++, 0};
    }
    if (count == 0 || h->count + 4 > HISTORY_MAX)
        return;
    uint64_t bytes = size_pick(h);
    slc_store_ticket ticket = s_append_many(h->s, targets, count, bytes);
    CHECK(ticket == ++h->last, "ticket %llu", (unsigned long long)ticket);
    for (uint32_t i = 0; i < count; i++)
        h->facts[h->count++] = (fact){.qid = targets[i].qid,
                                      .qseq = targets[i].qseq,
                                      .bytes = bytes,
                                      .appended = ticket,
                                      .fill_qid = targets[0].qid,
                                      .fill_qseq = targets[0].qseq,
                                      .group = group,
                                      .large = h->s->large == ticket,
                                      .stays = rnd(h, 20) == 0};
}

static void do_drop(history *h, uint32_t group)
{
    if (h->count == 0)
        return;
    bool recent = rnd(h, 2) == 0;
    uint32_t span = recent && h->count > 200 ? 200 : h->count;
    uint32_t at = h->count - 1 - (uint32_t)rnd(h, span), run = 1 + (uint32_t)rnd(h, 30);
    for (uint32_t i = at; i < h->count && run > 0; i++, run--) {
        fact *f = &h->facts[i];
        if (!fact_live(h, f) || f->stays)
            continue;
        bool cancelled = false;
        f->dropped = s_drop(h->s, f->qid, f->qseq, &cancelled);
        f->drop_group = group;
        CHECK(f->dropped == ++h->last, "ticket of a drop");
        CHECK(!(cancelled && group != 0), "cancelled inside a group");
    }
}

static void do_group(history *h)
{
    uint32_t group = ++h->groups;
    s_atomic(h->s, true);
    for (uint32_t i = 1 + (uint32_t)rnd(h, 12); i > 0; i--) {
        if (rnd(h, 2) == 0)
            do_append(h, group);
        else
            do_drop(h, group);
    }
    s_atomic(h->s, false);
}

static void do_queue_del(history *h)
{
    uint32_t q = (uint32_t)rnd(h, h->queue_count);
    if (h->deleted[q] != 0)
        return;
    h->deleted[q] = s_queue_del(h->s, h->qids[q]);
    CHECK(h->deleted[q] == ++h->last, "ticket of a delete");
}

// A purge: everything from some position on, or some of what is there. What was submitted later stays.
static void do_drop_range(history *h)
{
    uint32_t q = (uint32_t)rnd(h, h->queue_count);
    if (h->deleted[q] != 0 || h->next_qseq[q] < 2)
        return;
    uint64_t first = 1 + rnd(h, h->next_qseq[q] - 1), last = UINT64_MAX;
    if (rnd(h, 2) == 0)
        last = first + rnd(h, h->next_qseq[q] - first);
    slc_store_ticket ticket = s_drop_range(h->s, h->qids[q], first, last);
    CHECK(ticket == ++h->last, "ticket of a drop of a range");
    for (uint32_t i = 0; i < h->count; i++) {
        fact *f = &h->facts[i];
        if (f->qid == h->qids[q] && f->qseq >= first && f->qseq <= last && fact_live(h, f))
            f->dropped = ticket;
    }
    if (h->purged_from[q] == 0 || h->purged_from[q] > first)
        h->purged_from[q] = first;
    if (last >= h->next_qseq[q])
        last = h->next_qseq[q] - 1;
    if (h->purged_to[q] < last)
        h->purged_to[q] = last;
}

static void do_read(history *h)
{
    uint32_t q = (uint32_t)rnd(h, h->queue_count);
    uint64_t qseqs[64];
    const fact *wanted[64];
    uint32_t count = 0, live = 0;
    for (uint32_t i = (uint32_t)rnd(h, h->count + 1); i < h->count && count < 64; i++) {
        if (h->facts[i].qid != h->qids[q] ||
            (h->facts[i].qseq >= h->purged_from[q] && h->facts[i].qseq <= h->purged_to[q]))
            continue;
        qseqs[count++] = h->facts[i].qseq;
        if (fact_live(h, &h->facts[i]))
            wanted[live++] = &h->facts[i];
    }
    s_read(h->s, h->qids[q], qseqs, count, UINT64_MAX);
    CHECK(h->s->read_rc == SLC_OK, "read: %s", h->s->read_error.text);
    CHECK(h->s->read_count == live, "read %u of %u", h->s->read_count, live);
    uint64_t at = 0;
    for (uint32_t i = 0; i < live; i++) {
        CHECK(h->s->read_qseqs[i] == wanted[i]->qseq, "order of a read");
        CHECK(h->s->read_bytes[i] == wanted[i]->bytes, "size of a read");
        uint8_t *want = malloc(wanted[i]->bytes + 1);
        body_fill(want, wanted[i]->bytes, wanted[i]->fill_qid, wanted[i]->fill_qseq);
        CHECK(memcmp(want, h->s->read_data + at, wanted[i]->bytes) == 0,
              "content of queue %u, %llu", wanted[i]->qid, (unsigned long long)wanted[i]->qseq);
        at += wanted[i]->bytes;
        free(want);
    }
}

static void check_counters(history *h)
{
    if (h->s->model)
        return;
    uint64_t live = 0, bytes = 0;
    for (uint32_t i = 0; i < h->count; i++) {
        if (fact_live(h, &h->facts[i])) {
            live++;
            bytes += h->facts[i].bytes;
        }
    }
    bool dying = false; // what a deleted queue held goes in slices
    for (uint32_t q = 0; q < h->queue_count; q++)
        dying = dying || h->deleted[q] != 0 || h->purged_to[q] != 0;
    slc_store_stats stats;
    slc_store_stat(h->s->real, &stats);
    CHECK(dying ? stats.live_messages >= live : stats.live_messages == live,
          "%llu messages counted, %llu there", (unsigned long long)stats.live_messages,
          (unsigned long long)live);
    // In a segment that lost some messages their sizes are not known one by one.
    CHECK(dying || stats.segments > 0 || stats.live_bytes == bytes, "bytes counted");
}

// S4: what is there comes from a prefix of the batches, so no append is missing in front of one that is there. Large ones
// may be overtaken, though not by large ones, nor by others in the same queue.
static void check_prefix(history *h)
{
    slc_store_ticket newest = 0, large = 0, of_queue[QUEUES_MAX] = {0};
    for (uint32_t i = 0; i < h->count; i++) {
        const fact *f = &h->facts[i];
        if (!s_live(h->s, f->qid, f->qseq))
            continue;
        newest = f->appended > newest ? f->appended : newest;
        large = f->large && f->appended > large ? f->appended : large;
        for (uint32_t q = 0; q < h->queue_count; q++)
            if (h->qids[q] == f->qid && f->appended > of_queue[q])
                of_queue[q] = f->appended;
    }
    for (uint32_t i = 0; i < h->count; i++) {
        const fact *f = &h->facts[i];
        uint32_t q = 0;
        while (h->qids[q] != f->qid)
            q++;
        slc_store_ticket before = !f->large ? newest : large > of_queue[q] ? large : of_queue[q];
        CHECK(!fact_live(h, f) || f->appended >= before || s_live(h->s, f->qid, f->qseq),
              "ticket %llu is there and %llu is not", (unsigned long long)before,
              (unsigned long long)f->appended);
    }
}

// After the reopening: compare, then take what is there as the new truth.
static void check_recovered(history *h, slc_store_ticket durable, slc_store_ticket durable_large,
                            bool clean)
{
    subject *s = h->s;
    check_prefix(h);
    uint8_t *group_there = calloc(h->groups + 1u, 1), *group_gone = calloc(h->groups + 1u, 1);
    uint32_t found = 0;
    for (uint32_t i = 0; i < h->count; i++) {
        fact *f = &h->facts[i];
        uint32_t q = 0;
        while (h->qids[q] != f->qid)
            q++;
        bool live = s_live(s, f->qid, f->qseq);
        found += live;
        bool safe = f->there || f->appended <= (f->large ? durable_large : durable);
        bool must = safe && f->dropped == 0 && h->deleted[q] == 0;
        bool may = (f->there || f->appended != 0) && !(f->dropped != 0 && f->dropped <= durable) &&
                   !(h->deleted[q] != 0 && h->deleted[q] <= durable);
        if (clean)
            may = must = fact_live(h, f);
        CHECK(live || !must, "lost: queue %u, %llu (ticket %llu, durable %llu)", f->qid,
              (unsigned long long)f->qseq, (unsigned long long)f->appended,
              (unsigned long long)durable);
        CHECK(!live || may, "back: queue %u, %llu", f->qid, (unsigned long long)f->qseq);
        // A group of appends only: whole or not at all (when nothing of it was touched later).
        if (f->group != 0 && f->dropped == 0 && h->deleted[q] == 0)
            (live ? group_there : group_gone)[f->group] = 1;
        // A drop of a group is there when the group is, and not without it (a purge may have taken the message, too).
        if (f->drop_group != 0 && h->deleted[q] == 0 && live)
            group_gone[f->drop_group] = 1;
        bool purged = f->qseq >= h->purged_from[q] && f->qseq <= h->purged_to[q];
        if (f->drop_group != 0 && h->deleted[q] == 0 && !live && !purged && safe)
            group_there[f->drop_group] = 1;
        f->there = live;
        f->appended = 0;
        f->large = false;
        if (live)
            f->dropped = 0;
        f->group = f->drop_group = 0;
    }
    for (uint32_t g = 1; g <= h->groups; g++)
        CHECK(!(group_there[g] && group_gone[g]), "group %u is there in part", g);
    CHECK(found == s->message_count, "%u messages that nobody appended", s->message_count - found);
    h->groups = 0;
    free(group_there);
    free(group_gone);
    // Forget facts that are gone, renew the queues' numbers.
    uint32_t kept = 0;
    for (uint32_t i = 0; i < h->count; i++)
        if (h->facts[i].there)
            h->facts[kept++] = h->facts[i];
    h->count = kept;
    uint32_t queues = 0;
    for (uint32_t i = 0; i < h->queue_count; i++) {
        const seen_queue *there = NULL;
        for (uint32_t k = 0; k < s->queue_count; k++)
            if (s->queues[k].qid == h->qids[i])
                there = &s->queues[k];
        CHECK(there != NULL || h->deleted[i] != 0 || h->created[i] > durable, "queue %u is lost",
              h->qids[i]);
        CHECK(there == NULL || h->deleted[i] == 0 || h->deleted[i] > durable, "queue %u is back",
              h->qids[i]);
        if (there == NULL)
            continue;
        h->qids[queues] = there->qid;
        h->next_qseq[queues] = there->next_qseq;
        h->created[queues] = 0;
        h->purged_from[queues] = h->purged_to[queues] = 0;
        h->deleted[queues++] = 0;
    }
    h->queue_count = queues;
    h->last = 0;
    for (uint32_t i = 0; i < s->message_count; i++) {
        const seen_message *m = &s->messages[i];
        for (uint32_t k = 0; k < h->count; k++)
            if (h->facts[k].qid == m->qid && h->facts[k].qseq == m->m.qseq) {
                const fact *f = &h->facts[k];
                CHECK(f->bytes == m->m.content_bytes, "size after recovery");
                CHECK(body_hash(f->bytes, f->fill_qid, f->fill_qseq) == m->m.hash,
                      "content of queue %u, %llu after recovery", f->qid,
                      (unsigned long long)f->qseq);
            }
    }
}

// S4: recovery twice is recovery once.
static void check_again(history *h)
{
    subject *s = h->s;
    uint32_t count = s->message_count;
    seen_message *first = malloc((count + 1) * sizeof *first);
    if (count > 0)
        memcpy(first, s->messages, count * sizeof *first);
    subject_crash(s);
    slc_error error = {0};
    slc_err rc = subject_open(s, &error);
    CHECK(rc == SLC_OK, "second recovery: %s", error.text);
    CHECK(s->message_count == count, "%u messages, %u the second time", count, s->message_count);
    for (uint32_t i = 0; i < count; i++)
        CHECK(first[i].qid == s->messages[i].qid && first[i].m.qseq == s->messages[i].m.qseq &&
                  first[i].m.hash == s->messages[i].m.hash,
              "message %u is another one the second time", i);
    free(first);
}

static void reopen(history *h, bool crash)
{
    subject *s = h->s;
    slc_store_ticket durable = s->durable, durable_large = s->durable_large;
    (void)!slc_failpoint_plan(NULL, NULL);
    if (crash)
        subject_crash(s);
    else
        subject_close(s);
    bool clean = !crash && s->failures == 0;
    slc_error error = {0};
    slc_err rc = subject_open(s, &error);
    CHECK(rc == SLC_OK, "recovery: %s", error.text);
    if (crash && rnd(h, 4) == 0)
        check_again(h);
    check_recovered(h, durable, durable_large, clean);
    for (uint32_t q = h->queue_count; q < 3; q++)
        do_queue_new(h);
}

#if SLC_FAILPOINTS
// A disk that is full for a while (0) or fails for good (1).
static void plan_trouble(history *h, uint64_t kind)
{
    static const char *const points[] = {
        "store.batch.serialise", "store.txn.before_put",
        "store.txn.mid_put",     "store.eio",
        "store.commit.before",   "store.sync.before",
        "store.sync.after",      "store.commit.after",
        "store.sync.deferred",   "res.part",
        "res.enq.before",        "mig.segment.put",
        "mig.commit.before",     "mig.commit.after",
    };
    char plan[96];
    unsigned pass = (unsigned)(1 + rnd(h, 4));
    if (kind == 1)
        snprintf(plan, sizeof plan, "%s=error:EIO@%u", points[rnd(h, SLC_ARRAY_COUNT(points))],
                 pass);
    else // the second entry refuses the retry too, so that the store blocks and renumbers
        snprintf(plan, sizeof plan,
                 "store.enospc=error:ENOSPC@%u;store.sync.before=error:ENOSPC@%u", pass,
                 pass + (rnd(h, 4) == 0));
    slc_error error = {0};
    CHECK(slc_failpoint_plan(plan, &error) == SLC_OK, "%s", error.text);
}
#endif

static void run(uint64_t seed, bool model, uint32_t steps)
{
    subject s;
    subject_init(&s, model);
    history *h = calloc(1, sizeof *h);
    *h = (history){.s = &s, .seed = seed, .rng = seed * 0x9e3779b97f4a7c15ull + 1};
    h->facts = calloc(HISTORY_MAX, sizeof *h->facts);
    for (uint32_t i = 0; i < 10; i++)
        rnd(h, 2);
    s.batch_bytes = rnd(h, 2) == 0 ? 0 : 70000 + rnd(h, 200000);
    // Mostly so small that messages move to segments all the time.
    s.log_bytes = rnd(h, 4) == 0 ? 0 : 30000 + rnd(h, 1000000);
    uint64_t flavour = rnd(h, 4);
    slc_error error = {0};
    CHECK(subject_open(&s, &error) == SLC_OK, "open: %s", error.text);
    for (uint32_t q = 0; q < 3; q++)
        do_queue_new(h);
    for (uint32_t step = 0; step < steps; step++) {
#if SLC_FAILPOINTS
        if (!model && flavour < 2 && rnd(h, 100) == 0)
            plan_trouble(h, flavour);
#endif
        if (s.failures > 0) {
            reopen(h, rnd(h, 2) == 0);
            continue;
        }
        uint64_t what = rnd(h, 1000);
        if (what < 500)
            do_append(h, 0);
        else if (what < 800)
            do_drop(h, 0);
        else if (what < 850)
            do_group(h);
        else if (what < 900)
            s_flush(&s);
        else if (what < 950)
            s_turn(&s);
        else if (what < 970)
            do_read(h);
        else if (what < 985)
            CHECK(s_wait(&s, h->last) || s.failures > 0, "ticket %llu of %llu is not durable: %s",
                  (unsigned long long)s.durable, (unsigned long long)h->last, s.failure.text);
        else if (what < 988)
            do_queue_new(h);
        else if (what < 989 && h->queue_count > 4)
            do_queue_del(h);
        else if (what < 991)
            do_drop_range(h);
        else if (what < 993)
            s_settle(&s);
        else if (what < 997)
            reopen(h, what < 995);
        else
            check_counters(h);
    }
    (void)!slc_failpoint_plan(NULL, NULL);
    if (!s_wait(&s, h->last)) {
        CHECK(s.failures > 0, "the end is not durable");
        reopen(h, true);
    }
    reopen(h, false);
    check_counters(h);
    slc_store_ticket last = 0;
    for (uint32_t i = 0; i < h->count; i++)
        last = s_drop(&s, h->facts[i].qid, h->facts[i].qseq, NULL);
    CHECK(last == 0 || s_wait(&s, last), "the last drops");
    s_settle(&s);
    if (!model) {
        slc_store_stats stats;
        slc_store_stat(s.real, &stats);
        CHECK(stats.log_chunks == 0, "%llu chunks are left of an empty store",
              (unsigned long long)stats.log_chunks);
        CHECK(stats.log_bytes == 0, "%llu bytes are left of an empty store",
              (unsigned long long)stats.log_bytes);
        CHECK(stats.live_messages == 0 && stats.live_bytes == 0, "counters of an empty store");
        CHECK(stats.segments == 0 && stats.residents == 0 && stats.resident_bytes == 0,
              "%llu segments and %llu large contents are left of an empty store",
              (unsigned long long)stats.segments, (unsigned long long)stats.residents);
    }
    subject_fini(&s);
    CHECK(s.appends == s.releases, "%u contents, %u releases", s.appends, s.releases);
    free(h->facts);
    free(h);
}

static void run_all(bool model, uint32_t rounds)
{
    const char *one = getenv("STORE_SEED"), *more = getenv("STORE_ROUNDS");
    if (one != NULL) {
        run(strtoull(one, NULL, 10), model, 1500);
        return;
    }
    if (more != NULL)
        rounds = (uint32_t)strtoul(more, NULL, 10);
    uint64_t base = 0;
    slc_random_bytes(&base, 4);
    for (uint32_t i = 0; i < rounds; i++)
        run(i < rounds / 2 ? i + 1 : base + i, model, 1500); // some fixed, some new
}

Test(random, real, .timeout = 280)
{
    run_all(false, 10);
}

Test(random, model, .timeout = 120)
{
    run_all(true, 10);
}
