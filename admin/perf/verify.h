/** --verify: what came, against what must come. One track per stream and queue keeps a bit per sequence number.
 *  Thread: one. Memory: the object owns its tracks; a track grows with the highest sequence seen (1 MiB for 8 million messages). */
#ifndef SLC_PERF_VERIFY_H
#define SLC_PERF_VERIFY_H

#include <stdbool.h>
#include <stdint.h>

typedef struct slc_perf_verify_counts {
    uint64_t checked;     // messages with a right checksum
    uint64_t duplicates;  // seen before and not flagged redelivered
    uint64_t redelivered; // seen before, flagged
    uint64_t
        out_of_order; // after a later one of its stream, not flagged redelivered; only where a queue has one consumer
    uint64_t bad_checksum;
    uint64_t foreign; // too short, or from a stream that is not ours
    uint64_t
        gaps; // never seen although a later one of its stream was; slc_perf_verify_finish counts them
} slc_perf_verify_counts;

typedef struct slc_perf_track slc_perf_track;

typedef struct slc_perf_verify {
    slc_perf_verify_counts counts;
    bool ordered; // check the order
    uint32_t queues, streams;
    slc_perf_track **tracks; // queue * streams + stream; made when first seen
} slc_perf_verify;

/** streams 0: as many as come (a drain does not know who filled the queue), at most SLC_PERF_STREAMS_MAX. */
void slc_perf_verify_init(slc_perf_verify *verify, uint32_t queues, uint32_t streams, bool ordered);
void slc_perf_verify_fini(slc_perf_verify *verify);
/** A message with a right checksum. queue: where it was consumed. */
void slc_perf_verify_seen(slc_perf_verify *verify, uint32_t queue, uint32_t stream,
                          uint64_t sequence, bool redelivered);
/** Count the gaps; once, at the end. */
void slc_perf_verify_finish(slc_perf_verify *verify);
/** Nothing wrong? */
bool slc_perf_verify_good(const slc_perf_verify_counts *counts);

#endif
