#include "base/clock.h"

#include <errno.h>
#include <sys/random.h>
#include <time.h>

#include "base/alloc.h"

uint64_t slc_clock_now_ns(void)
{
    struct timespec now;
    int rc = clock_gettime(CLOCK_MONOTONIC, &now);
    SLC_ASSERT(rc == 0);
    return (uint64_t)now.tv_sec * SLC_NS_PER_S + (uint64_t)now.tv_nsec;
}

uint64_t slc_clock_wall_ms(void)
{
    struct timespec now;
    int rc = clock_gettime(CLOCK_REALTIME, &now);
    SLC_ASSERT(rc == 0);
    if (now.tv_sec < 0) // a clock before 1970
        return 0;
    return (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / SLC_NS_PER_MS;
}

void slc_random_bytes(void *out, uint32_t bytes)
{
    unsigned char *at = out;
    while (bytes > 0) {
        ssize_t got = getrandom(at, bytes, 0);
        if (got < 0 && errno == EINTR)
            continue;
        SLC_ASSERT(got > 0);
        at += got;
        bytes -= (uint32_t)got;
    }
}
