// The second tier: what outgrows the log moves to segments of one queue, and everything that holds for the log holds there.
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "look.h"
#include "store_impl.h"

enum { LOG_BYTES = 200000, MANY = 6000 };

static slc_store_stats stat_of(const subject *s)
{
    slc_store_stats stats;
    slc_store_stat(s->real, &stats);
    return stats;
}

static void open_again(subject *s, bool crash)
{
    slc_error error = {0};
    if (crash)
        subject_crash(s);
    else
        subject_close(s);
    cr_assert(eq(int, subject_open(s, &error), SLC_OK), "%s", error.text);
}

// MANY messages in one queue, every 50th of them large and in a second queue too; the log keeps a small part.
static void fill(subject *s, uint32_t *a, uint32_t *b)
{
    subject_init(s, false);
    s->log_bytes = LOG_BYTES;
    slc_error error = {0};
    cr_assert(eq(int, subject_open(s, &error), SLC_OK), "%s", error.text);
    *a = s_queue_new(s, 'a');
    *b = s_queue_new(s, 'b');
    slc_store_ticket last = 0;
    for (uint64_t i = 1; i <= MANY; i++) {
        slc_store_target targets[] = {{*a, i, i * 7}, {*b, i, i * 9}};
        last = i % 50 == 0 ? s_append_many(s, targets, 2, 20000 + i)
                           : s_append_many(s, targets, 1, i % 900);
        if (i % 500 == 0)
            cr_assert(s_wait(s, last));
    }
    cr_assert(s_wait(s, last));
    s_settle(s);
}

static void expect_filled(const subject *s, uint32_t a, uint32_t b)
{
    cr_assert(eq(u32, s_recovered_count(s, a), MANY));
    cr_assert(eq(u32, s_recovered_count(s, b), MANY / 50));
    for (uint32_t i = 0; i < s->message_count; i++) {
        const seen_message *m = &s->messages[i];
        bool large = m->m.qseq % 50 == 0;
        cr_assert(eq(u64, m->m.content_bytes, large ? 20000 + m->m.qseq : m->m.qseq % 900));
        cr_assert(eq(u64, m->m.expires_ms, m->m.qseq * (m->qid == a ? 7 : 9)));
        cr_assert(eq(u64, m->m.ts_ms, 1000 + m->m.qseq));
        cr_assert(eq(u8, m->m.priority, m->m.qseq % 10));
    }
}

Test(segments, a_backlog_leaves_the_log_and_keeps_everything, .timeout = 60)
{
    static subject s;
    uint32_t a, b;
    fill(&s, &a, &b);
    slc_store_stats stats = stat_of(&s);
    cr_expect(le(u64, stats.log_bytes, LOG_BYTES), "%llu", (unsigned long long)stats.log_bytes);
    cr_expect(gt(u64, stats.segments, 20));
    cr_expect(eq(u64, stats.live_messages, MANY + MANY / 50));
    cr_expect(eq(u64, stats.residents, MANY / 50), "a large content is there once for both queues");
    cr_expect(gt(u64, stats.migrated_messages, stats.log_messages));

    subject_close(&s);
    static look x;
    look_at(&x, &s);
    cr_expect(le(sz, x.part_max, 8 * 4096 - 16), "it has to fit into short runs of free pages");
    cr_expect(le(sz, x.segment_max, 8 * 4096 - 16));
    look_free(&x);
    slc_error error = {0};
    cr_assert(eq(int, subject_open(&s, &error), SLC_OK), "%s", error.text);

    open_again(&s, true);
    expect_filled(&s, a, b);
    open_again(&s, false);
    expect_filled(&s, a, b);
    stats = stat_of(&s);
    cr_expect(eq(u64, stats.live_messages, MANY + MANY / 50));
    static uint64_t qseqs[MANY];
    for (uint64_t i = 0; i < MANY; i++)
        qseqs[i] = i + 1;
    for (uint32_t from = 0; from < MANY; from += 2000) {
        s_read(&s, a, qseqs + from, 2000, UINT64_MAX);
        cr_expect(eq(u32, s.read_count, 2000));
        cr_expect(s.read_match, "contents from position %u on", from + 1);
    }
    subject_fini(&s);
    cr_expect(eq(u32, s.appends, s.releases));
}

Test(segments, drops_of_what_stands_there_survive_and_free_it, .timeout = 60)
{
    static subject s;
    uint32_t a, b;
    fill(&s, &a, &b);
    uint64_t segments = stat_of(&s).segments;
    slc_store_ticket last = 0;
    for (uint64_t i = 1; i <= MANY; i++)
        if (i % 3 != 0)
            last = s_drop(&s, a, i, NULL);
    cr_assert(s_wait(&s, last));
    open_again(&s, true);
    cr_assert(eq(u32, s_recovered_count(&s, a), MANY / 3));
    cr_assert(eq(u32, s_recovered_count(&s, b), MANY / 50));
    for (uint32_t i = 0; i < s.message_count; i++)
        cr_assert(s.messages[i].qid == b || s.messages[i].m.qseq % 3 == 0);
    cr_expect(eq(u64, stat_of(&s).live_messages, MANY / 3 + MANY / 50));

    // New traffic pushes the drops out of the log: the directory knows them then.
    for (uint64_t i = 1; i <= 2000; i++) {
        last = s_append(&s, b, MANY + i, 600);
        if (i % 200 == 0)
            cr_assert(s_wait(&s, last));
    }
    s_settle(&s);
    open_again(&s, true);
    cr_assert(eq(u32, s_recovered_count(&s, a), MANY / 3));
    cr_assert(eq(u32, s_recovered_count(&s, b), MANY / 50 + 2000));

    for (uint32_t i = 0; i < s.message_count; i++)
        last = s_drop(&s, s.messages[i].qid, s.messages[i].m.qseq, NULL);
    cr_assert(s_wait(&s, last));
    s_settle(&s);
    slc_store_stats stats = stat_of(&s);
    cr_expect(gt(u64, segments, 0));
    cr_expect(eq(u64, stats.segments, 0));
    cr_expect(eq(u64, stats.residents, 0));
    cr_expect(eq(u64, stats.log_bytes, 0));
    cr_expect(eq(u64, stats.live_bytes, 0));
    subject_fini(&s);
}

Test(segments, few_survivors_of_many_segments_are_merged, .timeout = 60)
{
    static subject s;
    uint32_t a, b;
    fill(&s, &a, &b);
    uint64_t before = stat_of(&s).segments;
    slc_store_ticket last = 0;
    for (uint64_t i = 1; i <= MANY; i++)
        if (i % 20 != 0)
            last = s_drop(&s, a, i, NULL);
    cr_assert(s_wait(&s, last));
    s_settle(&s);
    slc_store_stats stats = stat_of(&s);
    cr_expect(gt(u64, stats.merged_messages, 0));
    cr_expect(lt(u64, stats.segments, before / 2), "%llu of %llu",
              (unsigned long long)stats.segments, (unsigned long long)before);
    open_again(&s, true);
    cr_assert(eq(u32, s_recovered_count(&s, a), MANY / 20));
    for (uint32_t i = 0; i < s.message_count; i++)
        cr_assert(s.messages[i].qid == b || s.messages[i].m.qseq % 20 == 0);
    static uint64_t qseqs[MANY / 20];
    for (uint64_t i = 0; i < MANY / 20; i++)
        qseqs[i] = (i + 1) * 20;
    s_read(&s, a, qseqs, MANY / 20, UINT64_MAX);
    cr_expect(eq(u32, s.read_count, MANY / 20));
    cr_expect(s.read_match);
    subject_fini(&s);
}

// Segments, log and open batch at once.
Test(segments, a_dropped_range_goes_from_every_tier, .timeout = 60)
{
    static subject s;
    uint32_t a, b;
    fill(&s, &a, &b);
    s_append(&s, a, MANY + 1, 100);
    slc_store_ticket purge = s_drop_range(&s, a, 1000, UINT64_MAX);
    slc_store_ticket after = s_append(&s, a, MANY + 2, 100);
    cr_assert(lt(u64, purge, after));
    cr_assert(s_wait(&s, after));
    open_again(&s, true);
    cr_assert(eq(u32, s_recovered_count(&s, a), 1000));
    cr_expect(s_live(&s, a, 999));
    cr_expect(not(s_live(&s, a, 1000)));
    cr_expect(s_live(&s, a, MANY + 2));
    s_settle(&s);
    cr_expect(eq(u64, stat_of(&s).live_messages, 1000 + MANY / 50));
    subject_fini(&s);
    cr_expect(eq(u32, s.appends, s.releases));
}

Test(segments, a_crash_in_the_deletion_of_a_long_queue_is_finished_later, .timeout = 60)
{
    static subject s;
    uint32_t a, b;
    fill(&s, &a, &b);
    cr_assert(s_wait(&s, s_queue_del(&s, a)));
    open_again(&s, true); // its segments are still there, or some of them
    cr_assert(eq(u32, s.queue_count, 1));
    cr_assert(eq(u32, s_recovered_count(&s, b), MANY / 50));
    s_settle(&s);
    slc_store_stats stats = stat_of(&s);
    cr_expect(eq(u64, stats.live_messages, MANY / 50));
    cr_expect(le(u64, stats.segments, 10), "those of the other queue");
    open_again(&s, true);
    cr_assert(eq(u32, s_recovered_count(&s, b), MANY / 50));
    subject_fini(&s);
}

// A queue is deleted while a long batch is under way, so that its end comes to the disk some commits later. The front of the log moves
// on meanwhile, but not past drops that only the log tells of the queue's segments: a crash brings the queue back, without them.
Test(segments, what_was_dropped_of_a_deleted_queue_does_not_come_back, .timeout = 120)
{
    static subject s;
    static const uint64_t dropped[] = {3, 7, 500};
    uint32_t alive = 0, moved = 0;
    for (uint32_t commit = 1; commit <= 12; commit++) {
        subject_init(&s, false);
        s.log_bytes = 20000;
        s.batch_bytes = 70000;
        slc_error error = {0};
        cr_assert(eq(int, subject_open(&s, &error), SLC_OK), "%s", error.text);
        uint32_t a = s_queue_new(&s, 'a'), b = s_queue_new(&s, 'b'), c = s_queue_new(&s, 'c');
        slc_store_ticket last = 0;
        for (uint64_t i = 1; i <= 1200; i++)
            last = s_append(&s, a, i, 300);
        cr_assert(s_wait(&s, last));
        s_settle(&s);
        cr_assert(s_wait(&s, s_drop_range(&s, a, 1001, UINT64_MAX))); // what is still in the log
        s_settle(&s);
        // Enough dead chunks that they are worth a deletion; each has a commit of its own.
        for (uint64_t i = 1; i <= STORE_DELETE_MIN + 16; i++)
            cr_assert(s_wait(&s, s_append(&s, b, i, 10)));
        uint64_t front = slc_store_shard(s.real, 0)->log_first;
        for (size_t i = 0; i < SLC_ARRAY_COUNT(dropped); i++)
            last = s_drop(&s, a, dropped[i], NULL);
        cr_assert(s_wait(&s, last));
        uint64_t drops = slc_store_shard(s.real, 0)->ended_lsn;
        s_drop_range(&s, b, 1, UINT64_MAX);
        for (uint64_t i = 1; i <= 100; i++)
            s_append(&s, c, i, 10000);
        s_queue_del(&s, a);
        char plan[64];
        snprintf(plan, sizeof plan, "store.commit.after=error:EIO@%u", commit);
        cr_assert(eq(int, slc_failpoint_plan(plan, NULL), SLC_OK));
        s_flush(&s);
        for (uint64_t until = slc_clock_now_ns() + 60 * SLC_NS_PER_S;
             s.failures == 0 && slc_clock_now_ns() < until;)
            s_turn(&s);
        cr_assert(eq(u32, s.failures, 1));
        (void)!slc_failpoint_plan(NULL, NULL);
        subject_close(&s);
        cr_assert(eq(int, subject_open(&s, &error), SLC_OK), "%s", error.text);
        for (size_t i = 0; i < SLC_ARRAY_COUNT(dropped); i++)
            cr_expect(not(s_live(&s, a, dropped[i])), "%llu is back after commit %u",
                      (unsigned long long)dropped[i], commit);
        if (s_recovered_count(&s, a) > 0) {
            uint64_t now = slc_store_shard(s.real, 0)->log_first;
            alive++;
            moved += now > front && now <= drops;
        }
        subject_fini(&s);
    }
    cr_expect(gt(u32, alive, 0), "the queue was deleted by the first commit");
    cr_expect(gt(u32, moved, 0), "nothing had left the log while the queue was still there");
}

// A range that begins in a segment and ends in the log, while what is above it goes on.
Test(segments, a_range_in_the_middle_goes_and_its_neighbours_stay, .timeout = 60)
{
    static subject s;
    uint32_t a, b;
    fill(&s, &a, &b);
    const slc_squeue *queue = slc_shard_queue(s.real->shards[0], a);
    uint64_t in_log = queue->entries[queue->head].qseq;
    cr_assert(lt(u64, in_log + 20, MANY), "the newest stand in the log");
    uint64_t first = MANY / 2 + 7, last = in_log + 10;
    cr_assert(s_wait(&s, s_drop_range(&s, a, first, last)));
    uint64_t above[] = {last, last + 1, last + 2, MANY};
    s_read(&s, a, above + 1, 3, UINT64_MAX);
    cr_expect(eq(u32, s.read_count, 3));
    for (uint32_t round = 0; round < 2; round++) {
        open_again(&s, round == 0);
        cr_assert(eq(u32, s_recovered_count(&s, a), MANY - (last - first + 1)));
        cr_expect(s_live(&s, a, first - 1));
        cr_expect(not(s_live(&s, a, first)));
        cr_expect(not(s_live(&s, a, last)));
        cr_expect(s_live(&s, a, last + 1));
        s_settle(&s);
    }
    subject_fini(&s);
    cr_expect(eq(u32, s.appends, s.releases));
}

Test(segments, a_large_content_lives_as_long_as_one_of_its_queues_wants_it, .timeout = 60)
{
    static subject s;
    static look x;
    uint32_t a, b;
    fill(&s, &a, &b);
    slc_store_ticket last = 0;
    for (uint64_t i = 50; i <= MANY; i += 50)
        last = s_drop(&s, i % 100 == 0 ? a : b, i, NULL);
    cr_assert(s_wait(&s, last));
    s_settle(&s);
    cr_expect(eq(u64, stat_of(&s).residents, MANY / 50), "one queue of each still has it");
    open_again(&s, true);
    static uint64_t qseqs[MANY / 100];
    for (uint64_t i = 0; i < MANY / 100; i++)
        qseqs[i] = 100 * (i + 1);
    s_read(&s, b, qseqs, MANY / 100, UINT64_MAX);
    cr_expect(eq(u32, s.read_count, MANY / 100));
    for (uint32_t i = 0; i < s.message_count; i++) {
        const seen_message *m = &s.messages[i];
        if (m->m.content_bytes > 20000)
            cr_assert(eq(u64, m->m.hash, body_hash(m->m.content_bytes, a, m->m.qseq)));
    }
    for (uint64_t i = 50; i <= MANY; i += 50)
        last = s_drop(&s, i % 100 == 0 ? b : a, i, NULL);
    cr_assert(s_wait(&s, last));
    s_settle(&s);
    cr_expect(eq(u64, stat_of(&s).residents, 0));
    cr_expect(eq(u64, stat_of(&s).resident_bytes, 0));
    subject_crash(&s);
    look_at(&x, &s);
    cr_expect(eq(u64, x.parts, 0), "and none of its parts is left on disk");
    look_free(&x);
    slc_error error = {0};
    cr_assert(eq(int, subject_open(&s, &error), SLC_OK), "%s", error.text);
    cr_expect(eq(u32, s_recovered_count(&s, b), 0));
    subject_fini(&s);
}

// A consumer far behind its publisher: it reads page after page out of both tiers, drops what it has seen, and the log moves
// on under it.
Test(segments, a_slow_consumer_sees_everything_once_and_in_order, .timeout = 60)
{
    static subject s;
    subject_init(&s, false);
    s.log_bytes = 60000;
    slc_error error = {0};
    cr_assert(eq(int, subject_open(&s, &error), SLC_OK), "%s", error.text);
    uint32_t q = s_queue_new(&s, 'q');
    enum { ALL = 5000 };
    uint64_t appended = 0, seen = 0;
    slc_store_ticket last = 0;
    while (seen < ALL) {
        for (uint32_t i = 0; i < 60 && appended < ALL; i++) {
            appended++;
            last = s_append(&s, q, appended, appended % 97 == 0 ? 30000 : appended % 800);
        }
        if (appended < 1500) { // far behind
            cr_assert(s_wait(&s, last));
            continue;
        }
        s_flush(&s);
        uint64_t wanted[40];
        uint32_t count = 0;
        while (count < 40 && seen + count < appended) {
            wanted[count] = seen + 1 + count;
            count++;
        }
        s_read(&s, q, wanted, count, 15000);
        cr_assert(eq(int, s.read_rc, SLC_OK), "%s", s.read_error.text);
        cr_assert(gt(u32, s.read_count, 0), "%llu was appended", (unsigned long long)seen + 1);
        cr_assert(s.read_match);
        for (uint32_t i = 0; i < s.read_count; i++) {
            cr_assert(eq(u64, s.read_qseqs[i], seen + 1));
            s_drop(&s, q, ++seen, NULL);
        }
    }
    cr_expect(gt(u64, stat_of(&s).migrated_messages, 500));
    s_settle(&s);
    cr_expect(eq(u64, stat_of(&s).live_messages, 0));
    cr_expect(eq(u64, stat_of(&s).segments, 0));
    subject_fini(&s);
}

// What was freed is used again: the file of the tenth backlog is no larger than that of the second.
Test(segments, the_space_of_a_drained_backlog_is_used_again, .timeout = 60)
{
    static subject s;
    subject_init(&s, false);
    s.log_bytes = LOG_BYTES;
    slc_error error = {0};
    cr_assert(eq(int, subject_open(&s, &error), SLC_OK), "%s", error.text);
    uint32_t q = s_queue_new(&s, 'q');
    uint64_t qseq = 0, second = 0;
    for (uint32_t round = 1; round <= 10; round++) {
        uint64_t from = qseq + 1;
        slc_store_ticket last = 0;
        while (qseq < from + 3000) {
            last = s_append(&s, q, ++qseq, 1000);
            if (qseq % 300 == 0)
                cr_assert(s_wait(&s, last));
        }
        cr_assert(s_wait(&s, last));
        for (uint64_t i = from; i <= qseq; i++)
            last = s_drop(&s, q, i, NULL);
        cr_assert(s_wait(&s, last));
        s_settle(&s);
        slc_store_stats stats = stat_of(&s);
        cr_assert(eq(u64, stats.segments, 0));
        cr_assert(eq(u64, stats.log_bytes, 0));
        second = round == 2 ? stats.file_bytes : second;
        if (round > 2)
            cr_assert(le(u64, stats.file_bytes, second + second / 4));
    }
    subject_fini(&s);
}

/* ---- reading beside a merge ---- */

typedef struct gate {
    uv_work_t work;
    uv_sem_t entered, leave;
} gate;

static void gate_work(uv_work_t *work)
{
    gate *g = SLC_CONTAINER_OF(work, gate, work);
    uv_sem_post(&g->entered);
    uv_sem_wait(&g->leave);
}

typedef struct page {
    bool done;
    slc_err rc;
    uint32_t count;
    uint64_t qseqs[4096];
} page;

static void page_read(slc_err rc, const slc_store_message *messages, uint32_t count, void *arg,
                      const slc_error *error)
{
    (void)error;
    page *p = arg;
    p->done = true;
    p->rc = rc;
    p->count = count;
    for (uint32_t i = 0; i < count; i++)
        p->qseqs[i] = messages[i].qseq;
}

// The read is planned, then its segments are merged, under the keys of the first of each row, and only then its thread
// comes to look.
Test(segments, a_read_that_a_merge_overtakes_skips_nothing, .timeout = 60)
{
    cr_assert(eq(int, setenv("UV_THREADPOOL_SIZE", "1", 1), 0));
    static subject s;
    uint32_t a, b;
    fill(&s, &a, &b);
    static bool stays[MANY + 1];
    const slc_squeue *queue = slc_shard_queue(s.real->shards[0], a);
    for (uint32_t i = queue->segment_head; i < queue->segment_tail; i++)
        stays[queue->segments[i]->first] = true;
    uint64_t segments_end = queue->segments[queue->segment_tail - 1]->last;
    for (uint64_t i = 1; i <= MANY; i++)
        stays[i] = stays[i] || i % 20 == 0 || i > segments_end;
    slc_store_ticket last = 0;
    for (uint64_t i = 3; i <= MANY; i += 60) // so that the segments have gaps to be remembered
        if (!stays[i])
            last = s_drop(&s, a, i, NULL);
    cr_assert(s_wait(&s, last));
    s_settle(&s);
    uint64_t merged = stat_of(&s).merged_messages;

    gate g;
    cr_assert(eq(int, uv_sem_init(&g.entered, 0), 0));
    cr_assert(eq(int, uv_sem_init(&g.leave, 0), 0));
    cr_assert(eq(int, uv_queue_work(&s.loop, &g.work, gate_work, NULL), 0));
    uv_sem_wait(&g.entered);
    static page p;
    slc_store_read(s.real, 0, a, 1, 4096, UINT64_MAX, page_read, &p);
    for (uint64_t i = 1; i <= MANY; i++)
        if (!stays[i])
            last = s_drop(&s, a, i, NULL);
    cr_assert(s_wait(&s, last));
    s_settle(&s);
    cr_assert(gt(u64, stat_of(&s).merged_messages, merged));
    cr_assert(not(p.done));
    uv_sem_post(&g.leave);
    for (uint64_t until = slc_clock_now_ns() + 60 * SLC_NS_PER_S;
         !p.done && slc_clock_now_ns() < until;)
        s_turn(&s);
    cr_assert(p.done);
    cr_assert(eq(int, p.rc, SLC_OK));
    cr_assert(gt(u32, p.count, 0));
    uint64_t next = 1;
    for (uint32_t i = 0; i < p.count; i++) {
        while (!stays[next])
            next++;
        cr_assert(eq(u64, p.qseqs[i], next), "a live message was passed over");
        next++;
    }
    uv_sem_destroy(&g.entered);
    uv_sem_destroy(&g.leave);
    subject_fini(&s);
}

#if SLC_FAILPOINTS
Test(segments, an_error_while_migrating_stops_the_store_and_loses_nothing, .timeout = 120)
{
    static const char *const points[] = {"mig.segment.put", "mig.commit.before", "mig.commit.after",
                                         "res.part", "res.enq.before"};
    for (uint32_t p = 0; p < SLC_ARRAY_COUNT(points); p++) {
        static subject s;
        subject_init(&s, false);
        s.log_bytes = LOG_BYTES;
        slc_error error = {0};
        cr_assert(eq(int, subject_open(&s, &error), SLC_OK), "%s", error.text);
        uint32_t q = s_queue_new(&s, 'q');
        char plan[64];
        snprintf(plan, sizeof plan, "%s=error:EIO@2", points[p]);
        cr_assert(eq(int, slc_failpoint_plan(plan, NULL), SLC_OK));
        uint64_t i = 0;
        for (slc_store_ticket last; s.failures == 0 && i < 20000;) {
            for (uint32_t k = 0; k < 100; k++)
                last = s_append(&s, q, ++i, k == 50 ? 100000 : 500);
            (void)s_wait(&s, last);
        }
        cr_assert(eq(u32, s.failures, 1), "%s was never reached", points[p]);
        (void)!slc_failpoint_plan(NULL, NULL);
        uint64_t durable = s.durable;
        subject_close(&s);
        cr_assert(eq(int, subject_open(&s, &error), SLC_OK), "%s: %s", points[p], error.text);
        cr_expect(ge(u64, s.message_count + 1, durable), "%s", points[p]); // one is the queue's
        subject_fini(&s);
    }
}

// The purge covers messages that were cancelled in the open batch. After a crash nobody knows their positions any more but
// its record, which must not end what came later under the same positions and has moved to a segment since.
Test(segments, a_purge_does_not_end_what_comes_after_a_crash, .timeout = 60)
{
    static subject s;
    subject_init(&s, false);
    s.log_bytes = 50000;
    slc_error error = {0};
    cr_assert(eq(int, subject_open(&s, &error), SLC_OK), "%s", error.text);
    uint32_t q = s_queue_new(&s, 'q');
    slc_store_ticket last = 0;
    for (uint64_t i = 1; i <= 20; i++)
        last = s_append(&s, q, i, 100);
    cr_assert(s_wait(&s, last));
    for (uint64_t i = 21; i <= 60; i++)
        s_append(&s, q, i, 100);
    cr_assert(s_wait(&s, s_drop_range(&s, q, 5, UINT64_MAX)));
    subject_crash(&s);
    cr_assert(eq(int, subject_open(&s, &error), SLC_OK), "%s", error.text);
    cr_assert(eq(u32, s.message_count, 4));
    // The store stops right after the first segments are on disk, before the chunks they came from are gone.
    cr_assert(eq(int, slc_failpoint_plan("mig.commit.after=error:EIO", NULL), SLC_OK));
    uint64_t first = s.queues[0].next_qseq, qseq = first;
    for (uint32_t rounds = 0; rounds < 200 && s.failures == 0; rounds++) {
        for (uint32_t i = 0; i < 30; i++)
            last = s_append(&s, q, qseq++, 300);
        (void)s_wait(&s, last);
    }
    cr_assert(eq(u32, s.failures, 1));
    (void)!slc_failpoint_plan(NULL, NULL);
    slc_store_ticket durable = s.durable; // ticket t is that of position first + t - 1
    subject_close(&s);
    cr_assert(eq(int, subject_open(&s, &error), SLC_OK), "%s", error.text);
    for (uint64_t i = first; i < first + durable; i++)
        cr_assert(s_live(&s, q, i), "position %llu is lost", (unsigned long long)i);
    subject_fini(&s);
}
#endif
