// The invariants of the store, S1 to S8, each under the pressure that would break it: a log budget so small that messages
// move to segments all the time, crashes without warning, and large contents that two queues share. S4 at every fail
// point is tests/fault/crash/store_crash.c and the random histories beside this file.
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "look.h"

enum { QUEUES = 4, POSITIONS = 40000 };

typedef enum place { NOWHERE, LIVE, DROPPED } place;

typedef struct entry {
    place place;
    uint32_t bytes, fill_qid;
    uint32_t fill_qseq;
} entry;

// What the store was told and said to be durable.
typedef struct ledger {
    subject s;
    uint64_t rng, bytes_max;
    uint32_t qids[QUEUES];
    uint64_t next[QUEUES], oldest[QUEUES];
    entry (*entries)[POSITIONS];
    slc_store_ticket last;
    uint64_t live, live_bytes, residents, resident_bytes; // residents: of live messages, each once
} ledger;

static uint64_t rnd(ledger *l, uint64_t below)
{
    l->rng ^= l->rng << 13;
    l->rng ^= l->rng >> 7;
    l->rng ^= l->rng << 17;
    return (l->rng >> 11) % below;
}

static slc_store_stats stat_of(const ledger *l)
{
    slc_store_stats stats;
    slc_store_stat(l->s.real, &stats);
    return stats;
}

static void ledger_open(ledger *l, uint64_t log_bytes)
{
    *l = (ledger){.rng = 88172645463325252ull, .bytes_max = 2500};
    subject_init(&l->s, false);
    l->s.log_bytes = log_bytes;
    l->s.batch_bytes = 300000;
    l->entries = calloc(QUEUES, sizeof *l->entries);
    slc_error error = {0};
    cr_assert(eq(int, subject_open(&l->s, &error), SLC_OK), "%s", error.text);
    for (uint8_t q = 0; q < QUEUES; q++) {
        l->qids[q] = s_queue_new(&l->s, (uint8_t)(q + 1));
        l->next[q] = l->oldest[q] = 1;
    }
}

static void ledger_close(ledger *l)
{
    (void)!slc_failpoint_plan(NULL, NULL);
    subject_fini(&l->s);
    cr_expect(eq(u32, l->s.appends, l->s.releases));
    free(l->entries);
}

static void append(ledger *l)
{
    uint32_t q = (uint32_t)rnd(l, QUEUES), count = rnd(l, 8) == 0 ? 2 : 1;
    uint32_t bytes = (uint32_t)rnd(l, rnd(l, 60) == 0 ? 150000 : l->bytes_max);
    slc_store_target targets[2];
    for (uint32_t i = 0; i < count; i++) {
        uint32_t to = (q + i) % QUEUES;
        targets[i] = (slc_store_target){l->qids[to], l->next[to]++, 0};
        cr_assert(targets[i].qseq < POSITIONS);
        l->entries[to][targets[i].qseq] =
            (entry){LIVE, bytes, targets[0].qid, (uint32_t)targets[0].qseq};
    }
    l->last = s_append_many(&l->s, targets, count, bytes);
}

static void drop(ledger *l, uint32_t q, uint64_t qseq)
{
    entry *e = &l->entries[q][qseq];
    if (e->place != LIVE)
        return;
    e->place = DROPPED;
    l->last = s_drop(&l->s, l->qids[q], qseq, NULL);
}

// Mostly from the front and now and then anywhere; one in twenty stays, so that segments with few survivors remain.
static void drop_some(ledger *l, uint32_t count)
{
    for (; count > 0; count--) {
        uint32_t q = (uint32_t)rnd(l, QUEUES);
        if (l->oldest[q] + 1 >= l->next[q])
            continue;
        uint64_t qseq =
            rnd(l, 5) == 0 ? l->oldest[q] + rnd(l, l->next[q] - l->oldest[q]) : l->oldest[q]++;
        if (qseq % 20 != 0)
            drop(l, q, qseq);
    }
}

static void traffic(ledger *l, uint32_t rounds)
{
    for (uint32_t round = 0; round < rounds; round++) {
        for (uint32_t i = 0; i < 60; i++)
            append(l);
        drop_some(l, 55);
        cr_assert(s_wait(&l->s, l->last), "%s", l->s.failure.text);
    }
}

static void recount(ledger *l)
{
    l->live = l->live_bytes = l->residents = l->resident_bytes = 0;
    for (uint32_t q = 0; q < QUEUES; q++) {
        for (uint64_t qseq = 1; qseq < l->next[q]; qseq++) {
            const entry *e = &l->entries[q][qseq];
            if (e->place != LIVE)
                continue;
            l->live++;
            l->live_bytes += e->bytes;
            // A shared one counts where it was appended first, or here when that copy is gone.
            uint32_t first = 0;
            while (l->qids[first] != e->fill_qid)
                first++;
            if (e->bytes > 16384 && (first == q || l->entries[first][e->fill_qseq].place != LIVE)) {
                l->residents++;
                l->resident_bytes += e->bytes;
            }
        }
    }
}

static void expect_exact(ledger *l)
{
    recount(l);
    cr_assert(eq(u64, l->s.message_count, l->live));
    cr_assert(eq(u32, l->s.queue_count, QUEUES));
    for (uint32_t i = 0; i < l->s.message_count; i++) {
        const seen_message *m = &l->s.messages[i];
        uint32_t q = 0;
        while (l->qids[q] != m->qid)
            q++;
        const entry *e = &l->entries[q][m->m.qseq];
        // Positions of a queue ascend strictly, or the subject stops the test; so equal numbers mean equal sets.
        cr_assert(e->place == LIVE, "queue %u, %llu is back", m->qid,
                  (unsigned long long)m->m.qseq);
        cr_assert(eq(u64, m->m.content_bytes, e->bytes));
        cr_assert(eq(u64, m->m.hash, body_hash(e->bytes, e->fill_qid, e->fill_qseq)));
    }
}

static void reopen(ledger *l)
{
    slc_error error = {0};
    l->last = 0;
    cr_assert(eq(int, subject_open(&l->s, &error), SLC_OK), "%s", error.text);
}

Test(invariants, s1_a_confirmed_message_is_there_after_any_crash_until_it_is_dropped,
     .timeout = 120)
{
    static ledger l;
    ledger_open(&l, 150000);
    uint64_t moved = 0;
    for (uint32_t crash = 0; crash < 25; crash++) {
        traffic(&l, 1 + crash % 5);
        if (crash % 3 == 0)
            s_turn(&l.s);
        moved += stat_of(&l).migrated_messages;
        subject_crash(&l.s);
        reopen(&l);
        expect_exact(&l);
    }
    cr_expect(gt(u64, moved, 500), "most of it has been in both tiers");
    ledger_close(&l);
}

// Drops of what stands in segments: their records leave the log, their effect may not.
Test(invariants, s2_a_chunk_goes_only_when_its_effects_are_elsewhere_or_dead, .timeout = 120)
{
    static ledger l;
    ledger_open(&l, 150000);
    uint32_t left = 0;
    for (uint32_t crash = 0; crash < 12; crash++) {
        traffic(&l, 6);
        s_settle(&l.s);
        // A few of each segment, so that the segments stay.
        for (uint32_t q = 0; q < QUEUES; q++)
            for (uint64_t qseq = 1 + crash; qseq < l.next[q]; qseq += 17)
                drop(&l, q, qseq);
        cr_assert(s_wait(&l.s, l.last));
        traffic(&l, crash % 4); // and on with the log, now more, now less
        subject_crash(&l.s);
        static look x;
        look_at(&x, &l.s);
        for (uint32_t i = 0; i < x.copy_count; i++)
            left += x.copies[i].lsn == 0 && x.copies[i].dead &&
                    !look_dropped_in_log(&x, x.copies[i].qid, x.copies[i].qseq);
        look_free(&x);
        reopen(&l);
        expect_exact(&l);
    }
    cr_expect(gt(u32, left, 100), "there were drops that only the directory knew");
    ledger_close(&l);
}

#if SLC_FAILPOINTS
// The store stops between the transaction that wrote segments and the one that deletes the chunks they came from.
Test(invariants, s3_what_stands_in_both_tiers_is_seen_once, .timeout = 120)
{
    static ledger l;
    ledger_open(&l, 400000);
    for (uint32_t again = 0; again < 6; again++) {
        char plan[64];
        snprintf(plan, sizeof plan, "mig.commit.after=error:EIO@%u", again + 1);
        cr_assert(eq(int, slc_failpoint_plan(plan, NULL), SLC_OK));
        for (uint32_t i = 0; i < 400 && l.s.failures == 0; i++) {
            for (uint32_t k = 0; k < 60; k++)
                append(&l);
            (void)s_wait(&l.s, l.last);
        }
        cr_assert(eq(u32, l.s.failures, 1));
        // What was told and never confirmed may be there or not: ask the store, for this is about something else.
        subject_close(&l.s);
        static look x;
        look_at(&x, &l.s);
        uint32_t doubles = look_doubles(&x);
        cr_expect(gt(u32, doubles, 10), "the situation this is about");
        reopen(&l);
        for (uint32_t q = 0; q < QUEUES; q++) {
            l.next[q] = l.s.queues[q].next_qseq;
            for (uint64_t qseq = l.next[q]; qseq < POSITIONS; qseq++)
                l.entries[q][qseq].place = NOWHERE;
        }
        expect_exact(&l);
        (void)!slc_failpoint_plan(NULL, NULL);
        // Half of the doubles go. None of these may come back, whichever copy the drop met.
        for (uint32_t i = 0; i < x.copy_count; i += 2)
            if (x.copies[i].lsn == 0)
                drop(&l, x.copies[i].qid - l.qids[0], x.copies[i].qseq);
        look_free(&x);
        cr_assert(s_wait(&l.s, l.last));
        subject_crash(&l.s);
        reopen(&l);
        expect_exact(&l);
        s_settle(&l.s);
        subject_crash(&l.s);
        look_at(&x, &l.s);
        look_free(&x);
        reopen(&l);
        expect_exact(&l);
    }
    ledger_close(&l);
}
#endif

Test(invariants, s4_recovery_twice_is_recovery_once, .timeout = 120)
{
    static ledger l;
    ledger_open(&l, 150000);
    for (uint32_t crash = 0; crash < 10; crash++) {
        traffic(&l, 1 + crash % 4);
        // Something that was submitted and not confirmed, so that there is a choice.
        for (uint32_t i = 0; i < 30; i++)
            append(&l);
        s_flush(&l.s);
        subject_crash(&l.s);
        reopen(&l);
        uint32_t count = l.s.message_count;
        seen_message *first = malloc((count + 1) * sizeof *first);
        memcpy(first, l.s.messages, count * sizeof *first);
        slc_store_stats before = stat_of(&l), after;
        for (uint32_t again = 0; again < 2; again++) {
            subject_crash(&l.s);
            reopen(&l);
            after = stat_of(&l);
            cr_assert(eq(u32, l.s.message_count, count));
            for (uint32_t i = 0; i < count; i++) {
                cr_assert(eq(u32, first[i].qid, l.s.messages[i].qid));
                cr_assert(eq(u64, first[i].m.qseq, l.s.messages[i].m.qseq));
                cr_assert(eq(u64, first[i].m.hash, l.s.messages[i].m.hash));
                cr_assert(eq(u64, first[i].m.ts_ms, l.s.messages[i].m.ts_ms));
                cr_assert(eq(u8, first[i].m.priority, l.s.messages[i].m.priority));
            }
            cr_expect(eq(u64, before.live_messages, after.live_messages));
            cr_expect(eq(u64, before.residents, after.residents));
            cr_expect(eq(u64, before.resident_bytes, after.resident_bytes));
        }
        for (uint32_t q = 0; q < QUEUES; q++)
            for (uint64_t qseq = l.s.queues[q].next_qseq; qseq < l.next[q]; qseq++)
                l.entries[q][qseq].place = NOWHERE;
        for (uint32_t q = 0; q < QUEUES; q++)
            l.next[q] = l.s.queues[q].next_qseq;
        expect_exact(&l);
        free(first);
    }
    ledger_close(&l);
}

// log_start <= HW + 1 <= last LSN + 1, and the front of the log is where the state says.
Test(invariants, s5_the_numbers_of_the_log_are_in_order, .timeout = 120)
{
    static ledger l;
    ledger_open(&l, 150000);
    uint64_t start = 0;
    for (uint32_t crash = 0; crash < 25; crash++) {
        traffic(&l, 1 + crash % 3);
        if (crash % 4 == 0)
            s_settle(&l.s);
        subject_crash(&l.s);
        static look x;
        look_at(&x, &l.s);
        cr_expect(ge(u64, x.state.log_start, start), "it moves forward");
        start = x.state.log_start;
        cr_expect(le(u64, start, x.state.hw + 1));
        if (x.log_last != 0) {
            cr_expect(le(u64, start, x.log_first));
            cr_expect(le(u64, x.state.hw, x.log_last), "batches end on a chunk of the log");
        }
        look_free(&x);
        reopen(&l);
        expect_exact(&l);
    }
    cr_expect(gt(u64, start, 20), "chunks have left");
    ledger_close(&l);
}

Test(invariants, s6_counters_equal_a_recount, .timeout = 120)
{
    static ledger l;
    ledger_open(&l, 200000);
    for (uint32_t part = 0; part < 8; part++) {
        traffic(&l, 12);
        for (uint32_t restart = 0; restart < 2; restart++) {
            recount(&l);
            slc_store_stats stats = stat_of(&l);
            cr_expect(eq(u64, stats.live_messages, l.live));
            cr_expect(le(u64, stats.live_bytes, l.live_bytes * 2), "near enough");
            cr_expect(ge(u64, stats.live_bytes * 2, l.live_bytes), "near enough");
            cr_expect(eq(u64, stats.residents, l.residents));
            cr_expect(eq(u64, stats.resident_bytes, l.resident_bytes));
            cr_expect(le(u64, stats.log_messages, stats.live_messages));
            if (restart == 0) {
                subject_crash(&l.s);
                reopen(&l);
            }
        }
        // Recovery's summaries, which a queue starts from, against what it then reads.
        for (uint32_t q = 0; q < QUEUES; q++) {
            uint64_t live = 0;
            for (uint64_t qseq = 1; qseq < l.next[q]; qseq++)
                live += l.entries[q][qseq].place == LIVE;
            cr_expect(eq(u64, l.s.queues[q].messages, live));
            cr_expect(eq(u64, l.s.queues[q].next_qseq, l.next[q]));
        }
    }
    s_settle(&l.s);
    slc_store_stats stats = stat_of(&l);
    subject_crash(&l.s);
    static look x;
    look_at(&x, &l.s);
    cr_expect(eq(u64, stats.segments, x.segments));
    cr_expect(eq(u64, stats.log_bytes, x.log_bytes));
    uint64_t in_log = 0;
    for (uint32_t i = 0; i < x.copy_count; i++) {
        const look_copy *c = &x.copies[i];
        in_log += c->lsn != 0 && l.entries[c->qid - l.qids[0]][c->qseq].place == LIVE &&
                  look_in_segment(&x, c->qid, c->qseq) == NULL;
    }
    cr_expect(eq(u64, stats.log_messages, in_log));
    look_free(&x);
    reopen(&l);
    ledger_close(&l);
}

typedef struct long_read {
    uint64_t from_ns, ns;
    uint32_t count;
    bool ascend, done;
} long_read;

static void long_read_done(slc_err rc, const slc_store_message *messages, uint32_t count, void *arg,
                           const slc_error *error)
{
    (void)error;
    long_read *r = arg;
    r->ns = slc_clock_now_ns() - r->from_ns;
    r->count = rc == SLC_OK ? count : 0;
    r->done = r->ascend = true;
    for (uint32_t i = 0; i < count; i++)
        r->ascend = r->ascend && messages[i].qseq == i + 1;
}

// How long the longest transaction lasts depends on the machine, so it is held against the whole of a long read: one
// transaction for all of it would last nearly as long, many of a few values each a small part. (How many values one may see is
// asserted where it ends.)
Test(invariants, s7_no_read_transaction_grows_old, .timeout = 120)
{
    enum { COUNT = 4000, BYTES = 16000 };
    for (uint32_t tier = 0; tier < 2; tier++) {
        static ledger l;
        ledger_open(&l, tier == 0 ? 0 : 1 << 20);
        for (uint64_t qseq = 1; qseq <= COUNT; qseq++)
            l.last = s_append(&l.s, l.qids[0], qseq, BYTES);
        cr_assert(s_wait(&l.s, l.last));
        s_settle(&l.s);
        cr_expect(eq(u64, stat_of(&l).segments > COUNT / 8, tier));
        double best = 1;
        for (uint32_t attempt = 0; attempt < 5 && best > 0.5; attempt++) {
            subject_close(&l.s);
            reopen(
                &l); // the figure starts anew, but reading it all to compare was also done in pages
            long_read r = {.from_ns = slc_clock_now_ns()};
            slc_store_read(l.s.real, 0, l.qids[0], 1, COUNT, (uint64_t)COUNT * BYTES,
                           long_read_done, &r);
            for (uint64_t until = slc_clock_now_ns() + 60 * SLC_NS_PER_S;
                 !r.done && slc_clock_now_ns() < until;)
                s_turn(&l.s);
            cr_assert(r.done);
            cr_assert(r.ascend);
            cr_assert(eq(u32, r.count, COUNT));
            uint64_t longest = stat_of(&l).read_longest_ns;
            cr_assert(gt(u64, longest, 0));
            double part = (double)longest / (double)r.ns;
            best = part < best ? part : best;
        }
        cr_expect(le(dbl, best, 0.5), "the longest transaction took %.2f of a read", best);
        ledger_close(&l);
    }
}

// Commits of a single message leave half of a page empty. It counts, or the log would take twice its budget in the file.
Test(invariants, s8_counts_whole_pages_of_the_log, .timeout = 120)
{
    static ledger l;
    ledger_open(&l, 1 << 20);
    enum { MESSAGES = 1000, BYTES = 2100 };
    for (uint64_t qseq = 1; qseq <= MESSAGES; qseq++) {
        l.last = s_append(&l.s, l.qids[0], qseq, BYTES);
        cr_assert(s_wait(&l.s, l.last));
    }
    s_settle(&l.s);
    slc_store_stats stats = stat_of(&l);
    cr_expect(le(u64, stats.log_bytes, 1 << 20));
    cr_expect(eq(u64, stats.log_bytes, stats.log_chunks * (uint64_t)sysconf(_SC_PAGESIZE)));
    cr_expect(gt(u64, stats.log_chunks, 100));
    ledger_close(&l);
}

// Whatever comes and goes, and although one message in twenty stays for good.
Test(invariants, s8_the_file_does_not_outgrow_what_lives, .timeout = 120)
{
    static ledger l;
    ledger_open(&l, 8 << 20);
    enum { MESSAGES = 36000, WINDOW = 6000, BYTES = 4000 };
    uint64_t live = 0, peak = 0;
    for (uint64_t qseq = 1; qseq <= MESSAGES; qseq++) {
        live += qseq * 37 % BYTES;
        l.last = s_append(&l.s, l.qids[0], qseq, qseq * 37 % BYTES);
        if (qseq > WINDOW && (qseq - WINDOW) % 20 != 0) {
            l.last = s_drop(&l.s, l.qids[0], qseq - WINDOW, NULL);
            live -= (qseq - WINDOW) * 37 % BYTES;
        }
        peak = live > peak ? live : peak;
        if (qseq % 400 == 0)
            cr_assert(s_wait(&l.s, l.last));
    }
    s_settle(&l.s);
    uint64_t file = stat_of(&l).file_bytes;
    cr_expect(le(u64, file, peak + peak / 4 + 2 * l.s.log_bytes),
              "%llu of data at most, %llu in the file", (unsigned long long)peak,
              (unsigned long long)file);
    cr_expect(gt(u64, stat_of(&l).migrated_messages, 1000));
    ledger_close(&l);
}
