#include "perf/histogram.h"

#include <math.h>
#include <string.h>

void slc_histogram_init(slc_histogram *histogram)
{
    memset(histogram, 0, sizeof *histogram);
    histogram->min = UINT64_MAX;
}

uint64_t slc_histogram_low(uint32_t index)
{
    if (index < 2 * SLC_HISTOGRAM_SUB)
        return index;
    uint32_t shift = index / SLC_HISTOGRAM_SUB - 1;
    return ((uint64_t)(index % SLC_HISTOGRAM_SUB) + SLC_HISTOGRAM_SUB) << shift;
}

uint64_t slc_histogram_high(uint32_t index)
{
    if (index < 2 * SLC_HISTOGRAM_SUB)
        return index;
    return slc_histogram_low(index) + (1ull << (index / SLC_HISTOGRAM_SUB - 1)) - 1;
}

uint64_t slc_histogram_percentile(const slc_histogram *histogram, double percent)
{
    if (histogram->count == 0)
        return 0;
    // The rank of the value we look for, from 1. The two ends are known exactly.
    double exact = ceil(percent / 100.0 * (double)histogram->count);
    uint64_t rank = exact < 1 ? 1 : (uint64_t)exact;
    if (rank >= histogram->count)
        return histogram->max;
    uint64_t passed = 0;
    for (uint32_t i = 0; i < SLC_HISTOGRAM_BUCKETS; i++) {
        passed += histogram->buckets[i];
        if (passed >= rank) {
            uint64_t low = slc_histogram_low(i);
            uint64_t middle = low + (slc_histogram_high(i) - low) / 2;
            if (middle < histogram->min)
                return histogram->min;
            return middle > histogram->max ? histogram->max : middle;
        }
    }
    return histogram->max;
}

double slc_histogram_mean(const slc_histogram *histogram)
{
    return histogram->count == 0 ? 0 : (double)histogram->sum / (double)histogram->count;
}
