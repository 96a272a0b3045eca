// A full disk or map: appends wait, drops go on, nothing durable is lost, and it ends by itself.
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <stdio.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "subject.h"

static void open_small(subject *s, uint64_t map_size)
{
    subject_init(s, false);
    s->map_size = map_size;
    slc_error error = {0};
    cr_assert(eq(int, subject_open(s, &error), SLC_OK), "%s", error.text);
}

static bool wait_blocked(subject *s, bool blocked)
{
    for (uint64_t until = slc_clock_now_ns() + 60 * SLC_NS_PER_S;
         s->blocked != blocked && s->failures == 0 && slc_clock_now_ns() < until;)
        s_turn(s);
    return s->blocked == blocked;
}

Test(space, a_full_map_blocks_appends_and_lets_drops_through, .timeout = 60)
{
    static subject s;
    open_small(&s, 24u << 20);
    uint32_t q = s_queue_new(&s, 'q');
    uint64_t qseq = 0;
    while (!s.blocked && qseq < 30000) {
        for (uint32_t i = 0; i < 500; i++)
            s_append(&s, q, ++qseq, 1000);
        s_flush(&s);
        s_turn(&s);
    }
    cr_assert(wait_blocked(&s, true));
    cr_expect(eq(u32, s.failures, 0));
    slc_store_ticket safe = s.durable;
    cr_assert(lt(u64, safe, 1 + qseq), "something had to wait");
    cr_assert(gt(u64, safe, 5000), "most of the map was usable");

    // Half of what is safe is dropped; the drops free the front, and what waited is written.
    slc_store_ticket last = 0;
    for (uint64_t i = 1; i <= safe / 2; i++)
        last = s_drop(&s, q, i, NULL);
    cr_expect(s_wait(&s, last));
    cr_expect(wait_blocked(&s, false));
    uint64_t probe[] = {safe / 2, safe / 2 + 1, qseq};
    s_read(&s, q, probe, 3, UINT64_MAX);
    cr_expect(eq(u32, s.read_count, 2));
    cr_expect(s.read_match);

    slc_error error = {0};
    subject_crash(&s);
    cr_assert(eq(int, subject_open(&s, &error), SLC_OK), "%s", error.text);
    cr_expect(eq(u64, s.message_count, qseq - safe / 2));
    subject_fini(&s);
    cr_expect(eq(u32, s.appends, s.releases));
}

#if SLC_FAILPOINTS
// A record that will be written still names a large content when one of its targets went by a DROP record: cancelling the
// other target must not take the parts away.
Test(space, a_large_content_stays_while_a_record_names_it, .timeout = 60)
{
    static subject s;
    open_small(&s, 0);
    uint32_t a = s_queue_new(&s, 'a'), b = s_queue_new(&s, 'b');
    cr_assert(s_wait(&s, s_append(&s, a, 1, 10)));
    cr_assert(
        eq(int,
           slc_failpoint_plan("store.enospc=error:ENOSPC@1;store.sync.before=error:ENOSPC@1", NULL),
           SLC_OK));
    slc_store_target both[] = {{a, 2, 0}, {b, 1, 0}};
    s_append_many(&s, both, 2, 200000);
    s_flush(&s);
    s_drop(&s, a, 2, NULL); // the message is handed over: a record
    cr_assert(wait_blocked(&s, true));
    bool cancelled = false;
    s_drop(&s, b, 1, &cancelled); // now it is open again
    slc_store_ticket last = s_append(&s, b, 2, 30000);
    cr_assert(wait_blocked(&s, false));
    cr_assert(s_wait(&s, last));
    slc_error error = {0};
    subject_crash(&s);
    cr_assert(eq(int, subject_open(&s, &error), SLC_OK), "%s", error.text);
    cr_expect(eq(u64, s.message_count, 2));
    cr_expect(s_live(&s, a, 1));
    cr_expect(s_live(&s, b, 2));
    subject_fini(&s);
    cr_expect(eq(u32, s.appends, s.releases));
}

Test(space, drops_reach_the_disk_while_appends_do_not, .timeout = 120)
{
    static subject s;
    open_small(&s, 0);
    uint32_t q = s_queue_new(&s, 'q');
    for (uint64_t i = 1; i < 1000; i++)
        s_append(&s, q, i, 500);
    cr_assert(s_wait(&s, s_append(&s, q, 1000, 500)));
    // No room for the large one, until it was looked at the disk; for the drops alone there is.
    cr_assert(eq(int, slc_failpoint_plan("res.part=error:ENOSPC@1+", NULL), SLC_OK));
    s_append(&s, q, 2000, 500);
    s_append(&s, q, 2001, 200000);
    for (uint64_t i = 1; i <= 900; i++)
        s_drop(&s, q, i, NULL);
    s_atomic(&s, true);
    s_append(&s, q, 2002, 500);
    s_drop(&s, q, 950, NULL);
    s_atomic(&s, false);
    s_flush(&s);
    cr_assert(wait_blocked(&s, true));
    // The job after the refused one holds the drops alone; when the next attempt is refused, it is on the disk.
    uint64_t refused = slc_failpoint_passes("res.part");
    for (uint64_t until = slc_clock_now_ns() + 60 * SLC_NS_PER_S;
         slc_failpoint_passes("res.part") == refused && slc_clock_now_ns() < until;)
        s_turn(&s);
    char copy[96];
    snprintf(copy, sizeof copy, "%s.look", s.dir);
    dir_copy(s.dir, copy);
    cr_assert(eq(int, slc_failpoint_plan(NULL, NULL), SLC_OK));

    slc_store_ticket last = s_append(&s, q, 2003, 10);
    cr_expect(wait_blocked(&s, false));
    cr_assert(s_wait(&s, last));
    subject_close(&s);
    slc_error error = {0};
    cr_assert(eq(int, subject_open(&s, &error), SLC_OK), "%s", error.text);
    cr_expect(eq(u32, s.message_count, 99 + 4));
    cr_expect(not(s_live(&s, q, 900)));
    cr_expect(not(s_live(&s, q, 950)));
    cr_expect(s_live(&s, q, 2001));
    s_read(&s, q, (uint64_t[]){901, 2000, 2001, 2002, 2003}, 5, UINT64_MAX);
    cr_expect(eq(u32, s.read_count, 5));
    cr_expect(s.read_match);
    subject_fini(&s);

    static subject look;
    subject_init(&look, false);
    dir_remove(look.dir);
    cr_assert(eq(int, rename(copy, look.dir), 0));
    cr_assert(eq(int, subject_open(&look, &error), SLC_OK), "%s", error.text);
    cr_expect(not(s_live(&look, q, 900)), "the drops did not wait for the appends");
    cr_expect(s_live(&look, q, 950), "but one that belongs to an append did");
    cr_expect(not(s_live(&look, q, 2002)));
    subject_fini(&look);
}

Test(space, a_failed_sync_stops_everything, .timeout = 60)
{
    static subject s;
    open_small(&s, 0);
    uint32_t q = s_queue_new(&s, 'q');
    cr_assert(s_wait(&s, s_append(&s, q, 1, 10)));
    cr_assert(eq(int, slc_failpoint_plan("store.sync.before=error:EIO", NULL), SLC_OK));
    slc_store_ticket lost = s_append(&s, q, 2, 10);
    cr_expect(not(s_wait(&s, lost)));
    cr_expect(eq(u32, s.failures, 1));
    cr_expect(eq(int, s.failure.code, SLC_EIO));
    s_append(&s, q, 3, 10);
    s_flush(&s);
    for (uint32_t i = 0; i < 5; i++)
        s_turn(&s);
    cr_expect(eq(u32, s.failures, 1), "told once");
    cr_expect(lt(u64, s.durable, lost), "and nothing is confirmed afterwards");
    slc_error error = {0};
    subject_close(&s);
    cr_expect(eq(u32, s.appends, s.releases));
    cr_assert(eq(int, subject_open(&s, &error), SLC_OK), "%s", error.text);
    cr_expect(eq(u32, s.message_count, 1));
    cr_expect(s.messages[0].m.delivered, "that was no clean stop");
    subject_fini(&s);
}
#endif

Test(space, interval_reports_at_hand_over_and_syncs_later, .timeout = 60)
{
    static subject s;
    subject_init(&s, false);
    s.flush = SLC_STORE_FLUSH_INTERVAL;
    s.flush_interval_ms = 50;
    slc_error error = {0};
    cr_assert(eq(int, subject_open(&s, &error), SLC_OK), "%s", error.text);
    uint32_t q = s_queue_new(&s, 'q');
    slc_store_ticket last = 0;
    for (uint64_t i = 1; i <= 300; i++) {
        last = s_append(&s, q, i, 10);
        s_flush(&s);
    }
    cr_assert(s_wait(&s, last));
    slc_store_stats stats;
    slc_store_stat(s.real, &stats);
    cr_expect(lt(u64, stats.commits, 4));
    subject_close(&s);
    cr_assert(eq(int, subject_open(&s, &error), SLC_OK), "%s", error.text);
    cr_expect(eq(u32, s.message_count, 300));
    subject_fini(&s);
}
