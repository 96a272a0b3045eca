// What --verify counts.
#include <criterion/criterion.h>

#include "perf/verify.h"

static slc_perf_verify v;

static void finish(void)
{
    slc_perf_verify_fini(&v);
}

TestSuite(verify, .fini = finish, .timeout = 60);

static void see(uint32_t queue, uint32_t stream, uint64_t from, uint64_t to)
{
    for (uint64_t s = from; s < to; s++)
        slc_perf_verify_seen(&v, queue, stream, s, false);
}

Test(verify, everything_in_order_is_good)
{
    slc_perf_verify_init(&v, 2, 3, true);
    for (uint32_t q = 0; q < 2; q++)
        for (uint32_t s = 0; s < 3; s++)
            see(q, s, 0, 20000); // more than the first bits of a track
    slc_perf_verify_finish(&v);
    cr_assert_eq(v.counts.checked, 120000);
    cr_assert(slc_perf_verify_good(&v.counts));
}

Test(verify, a_gap_is_what_a_later_one_passed)
{
    slc_perf_verify_init(&v, 1, 1, true);
    see(0, 0, 0, 10);
    see(0, 0, 13, 20); // 10, 11 and 12 are missing; what comes after 19 may be on its way
    slc_perf_verify_finish(&v);
    cr_assert_eq(v.counts.gaps, 3);
    cr_assert_not(slc_perf_verify_good(&v.counts));
}

Test(verify, duplicates_count_unless_flagged)
{
    slc_perf_verify_init(&v, 1, 1, true);
    see(0, 0, 0, 5);
    slc_perf_verify_seen(&v, 0, 0, 3, true);
    slc_perf_verify_seen(&v, 0, 0, 3, false);
    slc_perf_verify_finish(&v);
    cr_assert_eq(v.counts.redelivered, 1);
    cr_assert_eq(v.counts.duplicates, 1);
}

Test(verify, order_matters_only_where_it_is_promised)
{
    for (int ordered = 0; ordered < 2; ordered++) {
        slc_perf_verify_init(&v, 1, 1, ordered);
        see(0, 0, 2, 4);
        see(0, 0, 0, 1);
        slc_perf_verify_seen(&v, 0, 0, 1, true); // redelivered: it may come late
        slc_perf_verify_finish(&v);
        cr_assert_eq(v.counts.out_of_order, (uint64_t)ordered);
        cr_assert_eq(v.counts.gaps, 0);
        slc_perf_verify_fini(&v);
    }
}

Test(verify, queues_and_streams_are_apart)
{
    slc_perf_verify_init(&v, 2, 2, true);
    slc_perf_verify_seen(&v, 0, 0, 0, false);
    slc_perf_verify_seen(&v, 0, 1, 0, false);
    slc_perf_verify_seen(&v, 1, 0, 0, false);
    slc_perf_verify_seen(&v, 1, 1, 0, false);
    slc_perf_verify_finish(&v);
    cr_assert(slc_perf_verify_good(&v.counts));
}

// A drain does not know how many streams filled its queues: the table widens and keeps what it has.
Test(verify, streams_nobody_announced)
{
    slc_perf_verify_init(&v, 3, 0, true);
    for (uint32_t stream = 0; stream < 1000; stream += 37)
        for (uint32_t q = 0; q < 3; q++)
            see(q, stream, 0, 3);
    for (uint32_t q = 0; q < 3; q++)
        see(q, 0, 0, 3); // known from before the table was widened
    slc_perf_verify_finish(&v);
    cr_assert_eq(v.counts.duplicates, 9);
    cr_assert_eq(v.counts.gaps, 0);
}

Test(verify, absurd_numbers_are_foreign)
{
    slc_perf_verify_init(&v, 1, 0, true);
    slc_perf_verify_seen(&v, 0, 1 << 24, 0, false);
    slc_perf_verify_seen(&v, 0, 0, 1ull << 39, false);
    slc_perf_verify_finish(&v);
    cr_assert_eq(v.counts.foreign, 2);
    cr_assert_eq(v.counts.checked, 0);
}
