// The histogram that sluice-perf's percentiles come from.
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <stdlib.h>

#include "perf/histogram.h"

static slc_histogram h;

static void fresh(void)
{
    slc_histogram_init(&h);
}

TestSuite(histogram, .init = fresh, .timeout = 60);

Test(histogram, is_empty_at_first)
{
    cr_assert_eq(h.count, 0);
    cr_assert_eq(slc_histogram_percentile(&h, 50), 0);
    cr_assert_eq(slc_histogram_mean(&h), 0);
}

Test(histogram, buckets_tile_the_whole_range)
{
    uint64_t next = 0;
    for (uint32_t i = 0; i < SLC_HISTOGRAM_BUCKETS; i++) {
        uint64_t low = slc_histogram_low(i), high = slc_histogram_high(i);
        cr_assert_eq(low, next, "bucket %u starts at %lu, not %lu", i, low, next);
        cr_assert_geq(high, low);
        cr_assert_eq(slc_histogram_index(low), i);
        cr_assert_eq(slc_histogram_index(high), i);
        cr_assert_leq((double)(high - low), (double)low / SLC_HISTOGRAM_SUB + 1);
        next = high + 1;
    }
    cr_assert_eq(next, 1ull << SLC_HISTOGRAM_VALUE_BITS);
}

struct value_case {
    uint64_t value, counted;
};

ParameterizedTestParameters(histogram, one_value)
{
    static struct value_case cases[] = {
        {0, 0},
        {1, 1},
        {127, 127},
        {128, 128},
        {255, 255},
        {256, 256},
        {1000000, 1000000},
        {(1ull << 42) - 1, (1ull << 42) - 1},
        {1ull << 42, (1ull << 42) - 1}, // beyond the range counts as the largest
        {UINT64_MAX, (1ull << 42) - 1},
    };
    return cr_make_param_array(struct value_case, cases, sizeof cases / sizeof cases[0]);
}

ParameterizedTest(struct value_case *c, histogram, one_value, .timeout = 60)
{
    slc_histogram_init(&h);
    slc_histogram_add(&h, c->value);
    // With one value every percentile is that value, exactly.
    cr_assert_eq(slc_histogram_percentile(&h, 0), c->counted);
    cr_assert_eq(slc_histogram_percentile(&h, 50), c->counted);
    cr_assert_eq(slc_histogram_percentile(&h, 100), c->counted);
    cr_assert_eq(h.min, c->counted);
    cr_assert_eq(h.max, c->counted);
}

Test(histogram, small_values_are_exact)
{
    for (uint64_t v = 1; v <= 100; v++)
        slc_histogram_add(&h, v);
    cr_assert_eq(slc_histogram_percentile(&h, 1), 1);
    cr_assert_eq(slc_histogram_percentile(&h, 50), 50);
    cr_assert_eq(slc_histogram_percentile(&h, 99), 99);
    cr_assert_eq(slc_histogram_percentile(&h, 99.5), 100);
    cr_assert_eq(slc_histogram_percentile(&h, 100), 100);
    cr_assert_float_eq(slc_histogram_mean(&h), 50.5, 1e-9);
}

static int compare_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

// The law: for any values, a percentile is within 0.8 % of the one that sorting gives.
Test(histogram, percentiles_agree_with_sorting)
{
    enum { COUNT = 20000 };
    static uint64_t values[COUNT];
    static const double percents[] = {0, 1, 10, 50, 90, 95, 99, 99.9, 99.99, 100};
    for (unsigned seed = 1; seed <= 20; seed++) {
        slc_histogram_init(&h);
        uint64_t state = seed * 0x9e3779b97f4a7c15ull;
        for (int i = 0; i < COUNT; i++) {
            state = state * 6364136223846793005ull + 1442695040888963407ull;
            values[i] = (state >> 22) >> (state % 40); // every magnitude
            slc_histogram_add(&h, values[i]);
        }
        qsort(values, COUNT, sizeof values[0], compare_u64);
        for (size_t p = 0; p < sizeof percents / sizeof percents[0]; p++) {
            double at = percents[p] / 100 * COUNT;
            size_t rank = (size_t)at + ((double)(size_t)at < at);
            uint64_t want = values[rank == 0 ? 0 : rank - 1];
            uint64_t got = slc_histogram_percentile(&h, percents[p]);
            double error = got > want ? (double)(got - want) : (double)(want - got);
            cr_assert_leq(error, (double)want * 0.008, "seed %u p%g: %lu, not %lu", seed,
                          percents[p], got, want);
        }
    }
}
