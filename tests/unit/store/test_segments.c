// The second tier: what outgrows the log moves to segments of one queue, and everything that holds for the log holds there.
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>

#include "base/failpoint.h"
#include "subject.h"

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

// S8: the file stays near what lives, whatever comes and goes; one message in twenty stays for good.
Test(segments, the_file_does_not_outgrow_what_lives, .timeout = 120)
{
    static subject s;
    subject_init(&s, false);
    s.log_bytes = 4 << 20;
    slc_error error = {0};
    cr_assert(eq(int, subject_open(&s, &error), SLC_OK), "%s", error.text);
    uint32_t q = s_queue_new(&s, 'q');
    uint64_t live = 0, peak = 0;
    enum { WINDOW = 3000 };
    for (uint64_t i = 1; i <= 40000; i++) {
        live += i * 37 % 2000;
        slc_store_ticket last = s_append(&s, q, i, i * 37 % 2000);
        if (i > WINDOW && (i - WINDOW) % 20 != 0) {
            last = s_drop(&s, q, i - WINDOW, NULL);
            live -= (i - WINDOW) * 37 % 2000;
        }
        peak = live > peak ? live : peak;
        if (i % 400 == 0)
            cr_assert(s_wait(&s, last));
    }
    s_settle(&s);
    slc_store_stats stats = stat_of(&s);
    uint64_t ballast = 4 << 20, batch = 4 << 20;
    cr_expect(le(u64, stats.file_bytes, peak + peak / 4 + 2 * s.log_bytes + ballast + batch),
              "%llu of data at most, %llu in the file", (unsigned long long)peak,
              (unsigned long long)stats.file_bytes);
    subject_fini(&s);
}

#if SLC_FAILPOINTS
Test(segments, an_error_while_migrating_stops_the_store_and_loses_nothing, .timeout = 120)
{
    static const char *const points[] = {"mig.segment.put", "mig.commit.before",
                                         "mig.commit.after"};
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
                last = s_append(&s, q, ++i, 500);
            (void)s_wait(&s, last);
        }
        cr_assert(eq(u32, s.failures, 1), "%s was never reached", points[p]);
        (void)!slc_failpoint_plan(NULL, NULL);
        uint64_t durable = s.durable;
        subject_close(&s);
        cr_assert(eq(int, subject_open(&s, &error), SLC_OK), "%s: %s", points[p], error.text);
        cr_expect(ge(u64, s.message_count, durable - 1), "%s", points[p]);
        subject_fini(&s);
    }
}
#endif
