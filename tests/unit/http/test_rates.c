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
    slc_rates *rates = slc_rates_new();
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
    slc_rates *rates = slc_rates_new();
    expect(look(rates, "old", 500, 100 * S, 50 * S), 10);
    // What is new has its first moments spread over an interval.
    expect(look(rates, "new", 500, 100 * S, 100 * S - 1), 100);
    expect(look(rates, "now", 500, 100 * S, 100 * S), 100);
    expect(look(rates, "early", 500, 2 * S, S), 250); // the clock itself has just begun
    slc_rates_free(rates);
}

Test(rates, no_more_objects_than_allowed)
{
    slc_rates *rates = slc_rates_new();
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
