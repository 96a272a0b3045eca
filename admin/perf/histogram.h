/** A log-linear histogram of durations: constant memory, constant cost, under 0.8 % error at every magnitude.
 *
 *  Values below 128 have a bucket each; above, every power of two is cut into 128 equal buckets. Percentiles give the middle
 *  of a bucket, never beyond the largest or below the smallest value seen; count, mean, min and max are exact.
 *  Values are nanoseconds by custom; what is above 2^42 - 1 (73 minutes) counts as that. Thread: one at a time.
 */
#ifndef SLC_PERF_HISTOGRAM_H
#define SLC_PERF_HISTOGRAM_H

#include <stdint.h>

enum {
    SLC_HISTOGRAM_SUB_BITS = 7,
    SLC_HISTOGRAM_SUB = 1 << SLC_HISTOGRAM_SUB_BITS,
    SLC_HISTOGRAM_VALUE_BITS = 42,
    SLC_HISTOGRAM_BUCKETS =
        (SLC_HISTOGRAM_VALUE_BITS - SLC_HISTOGRAM_SUB_BITS + 1) * SLC_HISTOGRAM_SUB,
};

typedef struct slc_histogram {
    uint64_t count;
    uint64_t sum; // wraps after 584 years of nanoseconds
    uint64_t min; // UINT64_MAX while empty
    uint64_t max;
    uint64_t buckets[SLC_HISTOGRAM_BUCKETS];
} slc_histogram;

/** Empty it. A histogram must go through here before the first value. */
void slc_histogram_init(slc_histogram *histogram);

/** The bucket of a value. */
static inline uint32_t slc_histogram_index(uint64_t value)
{
    if (value < SLC_HISTOGRAM_SUB)
        return (uint32_t)value;
    uint32_t shift = 63u - (uint32_t)__builtin_clzll(value) - SLC_HISTOGRAM_SUB_BITS;
    return shift * SLC_HISTOGRAM_SUB + (uint32_t)(value >> shift);
}

static inline void slc_histogram_add(slc_histogram *histogram, uint64_t value)
{
    if (value >> SLC_HISTOGRAM_VALUE_BITS)
        value = (1ull << SLC_HISTOGRAM_VALUE_BITS) - 1;
    histogram->count++;
    histogram->sum += value;
    if (value < histogram->min)
        histogram->min = value;
    if (value > histogram->max)
        histogram->max = value;
    histogram->buckets[slc_histogram_index(value)]++;
}

/** The smallest and the largest value of a bucket. */
uint64_t slc_histogram_low(uint32_t index);
uint64_t slc_histogram_high(uint32_t index);

/** The value that percent of all values do not exceed; percent in 0..100. 0 when empty. */
uint64_t slc_histogram_percentile(const slc_histogram *histogram, double percent);
/** 0 when empty. */
double slc_histogram_mean(const slc_histogram *histogram);

#endif
