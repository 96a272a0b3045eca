// Contents larger than a hand-over go to disk in pieces, ahead of the batch that names them, and others need not wait.
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/failpoint.h"
#include "format.h"
#include "look.h"

enum { BATCH = 100000, LARGE = 3000000 }; // a large content takes some 30 jobs or more

static uint32_t a, b;

static void reopen(subject *s, bool crash)
{
    if (crash)
        subject_crash(s);
    else
        subject_close(s);
    slc_error error = {0};
    cr_assert(eq(int, subject_open(s, &error), SLC_OK), "%s", error.text);
}

static subject *begin(void)
{
    subject *s = malloc(sizeof *s);
    subject_init(s, false);
    s->batch_bytes = BATCH;
    slc_error error = {0};
    cr_assert(eq(int, subject_open(s, &error), SLC_OK), "%s", error.text);
    a = s_queue_new(s, 1);
    b = s_queue_new(s, 2);
    return s;
}

static void end(subject *s)
{
    (void)!slc_failpoint_plan(NULL, NULL);
    subject_fini(s);
    cr_expect(eq(u32, s->appends, s->releases), "every content is released once");
    free(s);
}

// Until ticket, which has no mark, is durable; large ones are not waited for.
static void wait_small(subject *s, slc_store_ticket ticket)
{
    for (uint32_t turns = 0; s->durable < ticket; turns++) {
        cr_assert(lt(u32, turns, 4000));
        s_flush(s);
        s_turn(s);
    }
}

// Nothing of a large content is left behind.
static void expect_no_parts(subject *s)
{
    s_settle(s);
    subject_close(s);
    look l;
    look_at(&l, s);
    cr_expect(eq(u64, l.parts, 0));
    look_free(&l);
    slc_error error = {0};
    cr_assert(eq(int, subject_open(s, &error), SLC_OK), "%s", error.text);
}

Test(upload, a_message_to_another_queue_is_durable_first, .timeout = 60)
{
    subject *s = begin();
    slc_store_ticket large = s_append(s, a, 1, LARGE);
    cr_assert(eq(u64, s->large, large), "the ticket has the mark");
    s_flush(s);
    for (uint64_t qseq = 1; qseq <= 5; qseq++)
        wait_small(s, s_append(s, b, qseq, 1000));
    cr_expect(eq(u64, s->durable_large, 0));
    cr_expect(s_wait(s, large), "it becomes durable by itself");
    cr_expect(eq(u64, s->durable_large, large));
    reopen(s, true);
    cr_expect(eq(u32, s_recovered_count(s, a), 1));
    cr_expect(eq(u32, s_recovered_count(s, b), 5));
    cr_expect(eq(u64, s->messages[0].m.hash, body_hash(LARGE, a, 1)));
    subject_close(s);
    look l;
    look_at(&l, s);
    cr_expect(le(sz, l.part_max, 8 * 4096 - 16), "it has to fit into short runs of free pages");
    look_free(&l);
    end(s);
}

Test(upload, a_crash_in_between_leaves_the_others_and_no_parts, .timeout = 60)
{
    subject *s = begin();
    s_append(s, a, 1, LARGE);
    s_flush(s);
    wait_small(s, s_append(s, b, 1, 1000));
    reopen(s, true);
    cr_expect(eq(u32, s_recovered_count(s, a), 0));
    cr_expect(eq(u32, s_recovered_count(s, b), 1));
    expect_no_parts(s);
    // Positions and numbers of parts may be given again.
    cr_expect(s_wait(s, s_append(s, a, 1, LARGE)));
    reopen(s, true);
    cr_expect(eq(u32, s_recovered_count(s, a), 1));
    end(s);
}

Test(upload, order_in_a_queue_is_kept, .timeout = 60)
{
    subject *s = begin();
    slc_store_ticket large = s_append(s, a, 1, LARGE);
    s_append(s, a, 2, LARGE);
    s_flush(s);
    s_turn(s);
    wait_small(s, s_append(s, a, 3, 1000));
    cr_expect(ge(u64, s->durable_large, large), "what stands in front of it is durable");
    reopen(s, true);
    cr_assert(eq(u32, s_recovered_count(s, a), 3));
    for (uint32_t i = 0; i < 3; i++)
        cr_expect(eq(u64, s->messages[i].m.qseq, i + 1));
    end(s);
}

Test(upload, a_drop_before_anything_is_written_cancels_it, .timeout = 60)
{
    subject *s = begin();
    slc_store_ticket large = s_append(s, a, 1, LARGE);
    bool cancelled = false;
    slc_store_ticket last = s_drop(s, a, 1, &cancelled);
    cr_expect(cancelled);
    cr_expect(eq(u32, s->releases, 1));
    cr_expect(s_wait(s, last));
    cr_expect(eq(u64, s->durable_large, large), "its publisher hears of it");
    expect_no_parts(s);
    end(s);
}

Test(upload, a_drop_later_needs_a_record, .timeout = 60)
{
    subject *s = begin();
    s_append(s, a, 1, LARGE);
    s_append(s, b, 1, LARGE);
    s_flush(s);
    s_turn(s);
    bool cancelled = true;
    slc_store_ticket last = s_drop(s, a, 1, &cancelled);
    cr_expect(not(cancelled));
    cr_expect(s_wait(s, last));
    reopen(s, true);
    cr_expect(eq(u32, s_recovered_count(s, a), 0));
    cr_expect(eq(u32, s_recovered_count(s, b), 1));
    cr_expect(s_wait(s, s_drop(s, b, 1, NULL)));
    expect_no_parts(s);
    end(s);
}

// What ends a queue, or all that is in it, ends what is on its way there.
Test(upload, a_purge_and_a_delete_find_it, .timeout = 60)
{
    for (int what = 0; what < 2; what++) {
        subject *s = begin();
        s_append(s, a, 1, LARGE);
        s_flush(s);
        s_turn(s);
        slc_store_ticket last = what == 0 ? s_drop_range(s, a, 1, UINT64_MAX) : s_queue_del(s, a);
        cr_expect(s_wait(s, last));
        reopen(s, true);
        cr_expect(eq(u32, s->message_count, 0));
        expect_no_parts(s);
        end(s);
    }
}

Test(upload, it_is_read_while_it_is_on_its_way, .timeout = 60)
{
    subject *s = begin();
    s_append(s, a, 1, 100);
    s_append(s, a, 2, LARGE);
    s_flush(s);
    s_turn(s);
    const uint64_t qseqs[] = {1, 2};
    s_read(s, a, qseqs, 2, UINT64_MAX);
    cr_expect(eq(int, s->read_rc, SLC_OK));
    cr_expect(eq(u32, s->read_count, 2));
    cr_expect(s->read_match);
    slc_store_stats stats;
    slc_store_stat(s->real, &stats);
    cr_expect(eq(u64, stats.live_messages, 2));
    cr_expect(eq(u64, stats.live_bytes, LARGE + 100));
    end(s);
}

Test(upload, counters_know_it_before_it_has_a_place, .timeout = 60)
{
    subject *s = begin();
    s_append_many(s, (slc_store_target[]){{a, 1, 0}, {b, 1, 0}}, 2, LARGE);
    slc_store_stats stats;
    slc_store_stat(s->real, &stats);
    cr_expect(eq(u64, stats.live_messages, 2));
    cr_expect(eq(u64, stats.live_bytes, 2 * LARGE));
    cr_expect(eq(u64, stats.batch_ops_open, 3), "with the two queues");
    end(s);
}

Test(upload, a_target_less_leaves_the_other, .timeout = 60)
{
    subject *s = begin();
    s_append_many(s, (slc_store_target[]){{a, 1, 0}, {b, 1, 0}}, 2, LARGE);
    bool cancelled = true;
    slc_store_ticket last = s_drop(s, a, 1, &cancelled);
    cr_expect(not(cancelled), "it stays for the other queue");
    cr_expect(s_wait(s, last));
    reopen(s, true);
    cr_expect(eq(u32, s_recovered_count(s, a), 0));
    cr_assert(eq(u32, s_recovered_count(s, b), 1));
    cr_expect(eq(u64, s->messages[0].m.hash, body_hash(LARGE, a, 1)));
    end(s);
}

Test(upload, an_atomic_submission_is_not_taken_apart, .timeout = 60)
{
    subject *s = begin();
    s_append(s, a, 1, LARGE);
    s_flush(s);
    s_turn(s);
    s_atomic(s, true);
    slc_store_ticket inside = s_append(s, b, 1, LARGE);
    cr_expect(ne(u64, s->large, inside), "it is part of its batch");
    s_append(s, a, 2, 100);
    s_atomic(s, false);
    wait_small(s, inside + 1);
    reopen(s, true);
    cr_expect(eq(u32, s_recovered_count(s, a), 2));
    cr_expect(eq(u32, s_recovered_count(s, b), 1));
    end(s);
}

Test(upload, closing_finishes_it, .timeout = 60)
{
    subject *s = begin();
    s_append(s, a, 1, LARGE);
    s_append(s, b, 1, LARGE);
    s_flush(s);
    reopen(s, false);
    cr_expect(eq(u32, s->message_count, 2));
    end(s);
}

#if SLC_FAILPOINTS
// A full disk in the middle: written parts keep their numbers, what is open gets others, nothing is lost.
Test(upload, a_disk_that_is_full_for_a_while, .timeout = 120)
{
    for (unsigned pass = 2; pass < 60; pass += 7) {
        subject *s = begin();
        cr_assert(s_wait(s, s_append(s, b, 1, 1000)));
        char plan[96];
        snprintf(plan, sizeof plan,
                 "store.enospc=error:ENOSPC@%u;store.sync.before=error:ENOSPC@%u", pass, pass + 1);
        slc_error error = {0};
        cr_assert(eq(int, slc_failpoint_plan(plan, &error), SLC_OK), "%s", error.text);
        s_append(s, a, 1, LARGE);
        s_flush(s);
        s_append(s, b, 2, 80000); // with parts of its own, behind those
        wait_small(s, s_append(s, b, 3, 1000));
        slc_store_ticket last = s_drop(s, b, 1, NULL);
        cr_assert(s_wait(s, last), "pass %u: %s", pass, s->failure.text);
        (void)!slc_failpoint_plan(NULL, NULL);
        reopen(s, true);
        cr_expect(eq(u32, s_recovered_count(s, a), 1), "pass %u", pass);
        cr_expect(eq(u32, s_recovered_count(s, b), 2), "pass %u", pass);
        for (uint32_t i = 0; i < s->message_count; i++)
            cr_expect(eq(u64, s->messages[i].m.hash,
                         body_hash(s->messages[i].m.content_bytes, s->messages[i].qid,
                                   s->messages[i].m.qseq)));
        s_drop(s, a, 1, NULL);
        s_drop(s, b, 2, NULL);
        cr_expect(s_wait(s, s_drop(s, b, 3, NULL)));
        expect_no_parts(s);
        end(s);
    }
}
#endif

// Contents that are no uploads, but of which the last one in a job is always cut: housekeeping comes nevertheless.
Test(upload, a_stream_that_never_ends_with_a_job_frees_what_it_leaves, .timeout = 60)
{
    enum { PARTS = 47, AHEAD = 6, COUNT = 90, FILE_MAX = 24 << 20 };
    const uint64_t content = PARTS * SLC_PART_DATA_MAX;
    subject *s = malloc(sizeof *s);
    subject_init(s, false);
    s->batch_bytes = (PARTS + 1) * SLC_PART_VALUE_MAX + 2000; // another part fits
    slc_error error = {0};
    cr_assert(eq(int, subject_open(s, &error), SLC_OK), "%s", error.text);
    a = s_queue_new(s, 1);
    slc_store_ticket tickets[COUNT + 1];
    for (uint64_t sent = 0, done = 0; done < COUNT;) {
        while (sent < COUNT && sent < done + AHEAD) {
            sent++;
            tickets[sent] = s_append(s, a, sent, content);
        }
        s_flush(s);
        s_turn(s);
        while (done < sent && tickets[done + 1] <= s->durable)
            s_drop(s, a, ++done, NULL);
    }
    slc_store_stats now;
    slc_store_stat(s->real, &now);
    cr_expect(lt(u64, now.file_bytes, FILE_MAX), "of %u MB that went through",
              (unsigned)(COUNT * content / 1000000));
    expect_no_parts(s);
    end(s);
}
