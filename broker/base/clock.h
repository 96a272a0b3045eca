/** Time. Inside Sluice: uint64_t nanoseconds of the monotonic clock; at the edges milliseconds of the wall clock.
 *  core does not call these: it asks its env. Thread: any. */
#ifndef SLC_BASE_CLOCK_H
#define SLC_BASE_CLOCK_H

#include <stdint.h>

uint64_t slc_clock_now_ns(void);  // CLOCK_MONOTONIC
uint64_t slc_clock_wall_ms(void); // CLOCK_REALTIME, since 1970
/** Random octets for names and seeds (getrandom); never fails. */
void slc_random_bytes(void *out, uint32_t bytes);

#define SLC_NS_PER_MS 1000000ull
#define SLC_NS_PER_S  1000000000ull

#endif
