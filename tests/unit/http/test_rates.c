// Rates: what the first look, the next ones and many objects give.
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>

#include "http/rates.h"

#define S UINT64_C(1000000000)

static double look(slc_rates *rates, const char *name, uint64_t value, uint64_t now, uint64_t since)
{
    double rate = NAN;
    slc_rates_look(rates, slc_slice_str(name), &value, 1, now, since, &rate);
    return rate;
}

static void expect(double have, double want)
{
    cr_expect(fabs(have - want) < 1e-9, "%f, wanted %f", have, want);
}

Test(rates, between_two_looks)
{
    slc_rates *rates = slc_rates_new(5000);
    expect(look(rates, "q", 1000, 100 * S, UINT64_MAX), 0);
    expect(look(rates, "q", 1100, 104 * S, UINT64_MAX), 0); // too soon: as before
    expect(look(rates, "q", 1200, 110 * S, UINT64_MAX), 20);
    expect(look(rates, "q", 9999, 112 * S, UINT64_MAX), 20);
    expect(look(rates, "q", 1000, 120 * S, UINT64_MAX), -20); // a gauge
    expect(look(rates, "other", 5, 120 * S, UINT64_MAX), 0);  // an object of its own
    slc_rates_free(rates);
}

Test(rates, since_the_beginning)
{
    slc_rates *rates = slc_rates_new(5000);
    expect(look(rates, "old", 500, 100 * S, 50 * S), 10);
    // What is new has its first moments spread over an interval.
    expect(look(rates, "new", 500, 100 * S, 100 * S - 1), 100);
    expect(look(rates, "now", 500, 100 * S, 100 * S), 100);
    expect(look(rates, "early", 500, 2 * S, S), 250); // the clock itself has just begun
    slc_rates_free(rates);
}

Test(rates, no_more_objects_than_allowed)
{
    slc_rates *rates = slc_rates_new(5000);
    char name[16];
    for (uint32_t i = 0; i < SLC_RATES_OBJECTS_MAX; i++) {
        snprintf(name, sizeof name, "%u", i);
        look(rates, name, 0, 10 * S, UINT64_MAX);
    }
    look(rates, "one too many", 0, 10 * S, UINT64_MAX);
    expect(look(rates, "one too many", 1000, 20 * S, UINT64_MAX), 0);
    expect(look(rates, "7", 1000, 20 * S, UINT64_MAX), 100);
    // Those that nobody asks for are forgotten in time.
    for (uint32_t i = 0; i < 2 * SLC_RATES_OBJECTS_MAX; i++)
        look(rates, "7", 1000, 1000 * S, UINT64_MAX);
    look(rates, "one too many", 0, 1000 * S, UINT64_MAX);
    expect(look(rates, "one too many", 1000, 1010 * S, UINT64_MAX), 100);
    slc_rates_free(rates);
}

// What was asked for is kept from then on; before, the object was as it was then, and before it began, nothing.
Test(rates, values_of_the_past, .timeout = 60)
{
    slc_rates *rates = slc_rates_new(5000);
    slc_slice key = slc_slice_str("q");
    cr_assert_null(slc_rates_past(rates, key));
    look(rates, "q", 10, 100 * S, 50 * S);
    slc_rates_window *past = slc_rates_past(rates, key);
    cr_assert_not_null(past);
    cr_assert_eq(slc_rates_past(rates, key), past);
    cr_expect_eq(slc_rates_value(past, 0, 100 * S), 10);
    cr_expect_eq(slc_rates_value(past, 0, 60 * S), 10);
    cr_expect_eq(slc_rates_value(past, 0, 49 * S), 0);
    look(rates, "q", 11, 102 * S, 50 * S); // too early to count
    look(rates, "q", 30, 105 * S, 50 * S);
    cr_expect_eq(slc_rates_value(past, 0, 104 * S), 10);
    cr_expect_eq(slc_rates_value(past, 0, 105 * S), 30);
    cr_expect_eq(slc_rates_value(past, 0, 1000 * S), 30);
    for (uint64_t i = 1; i <= 2 * SLC_RATES_HISTORY; i++)
        look(rates, "q", 30 + i, (105 + 5 * i) * S, 50 * S);
    cr_expect_eq(slc_rates_value(past, 0, (105 + 5 * (2 * SLC_RATES_HISTORY - 3)) * S),
                 30 + 2 * SLC_RATES_HISTORY - 3);
    cr_expect_eq(slc_rates_value(past, 0, 105 * S), 30 + SLC_RATES_HISTORY + 1, "the oldest kept");
    slc_rates_clear(rates);
    cr_assert_null(slc_rates_past(rates, key));
    slc_rates_free(rates);
}

Test(rates, not_everything_has_a_past, .timeout = 60)
{
    slc_rates *rates = slc_rates_new(5000);
    char name[16];
    for (int i = 0; i < SLC_RATES_HISTORIES_MAX; i++) {
        snprintf(name, sizeof name, "q%d", i);
        look(rates, name, 1, S, UINT64_MAX);
        cr_assert_not_null(slc_rates_past(rates, slc_slice_str(name)));
    }
    look(rates, "one more", 1, S, UINT64_MAX);
    cr_assert_null(slc_rates_past(rates, slc_slice_str("one more")));
    slc_rates_free(rates);
}
