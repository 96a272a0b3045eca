/** Rates of counters: the change per second between two looks that are at least an interval apart; and their values of the last
 *  minutes, for who asks for them.
 *
 *  Counters are looked at when somebody asks for them, not by a timer: a broker with many queues that nobody watches pays
 *  nothing. So a rate covers the time since the look before, at least the interval; the first look at an object covers the
 *  time since it began, when the caller knows that, else it has 0. Objects that nobody has asked for in a while are forgotten.
 *
 *  Values of the past begin with the first look that asks for them (a page that shows a queue asks every few seconds); before
 *  that the object counts as it did then, and before it began as 0.
 *
 *  Owner: the http server. Thread: the loop.  @spec management-api 3
 */
#ifndef SLC_HTTP_RATES_H
#define SLC_HTTP_RATES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

typedef struct slc_rates slc_rates;

enum {
    SLC_RATES_COUNTERS_MAX = 16,
    SLC_RATES_OBJECTS_MAX = 100000,
    SLC_RATES_HISTORY = 121,        // values of an object: ten minutes of five seconds
    SLC_RATES_HISTORIES_MAX = 1000, // objects that have them; at most 15 KiB each
};

slc_rates *slc_rates_new(uint64_t interval_ms);
void slc_rates_free(slc_rates *rates);
/** Forget everything. */
void slc_rates_clear(slc_rates *rates);

/** Look at the counters of the object `key` (any octets) at now_ns.
 *
 *  @param since_ns when all of them were 0; UINT64_MAX: not known.
 *  @param out      one rate for each counter, per second; a gauge's may be negative. Beyond SLC_RATES_OBJECTS_MAX objects: 0. */
void slc_rates_look(slc_rates *rates, slc_slice key, const uint64_t *counters, uint32_t count,
                    uint64_t now_ns, uint64_t since_ns, double *out);

typedef struct slc_rates_window slc_rates_window;

/** The past of an object that was just looked at, from now on kept; NULL: too many have one. */
slc_rates_window *slc_rates_past(slc_rates *rates, slc_slice key);
/** Counter number `which` as it was at_ns. */
uint64_t slc_rates_value(const slc_rates_window *window, uint32_t which, uint64_t at_ns);

#endif
