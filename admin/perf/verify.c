#include "perf/verify.h"

#include <string.h>

#include "base/alloc.h"
#include "perf/message.h"

enum { TRACK_FIRST_BYTES = 1024 };
static const uint64_t TRACK_SEQUENCE_MAX = 1ull << 33; // 1 GiB of bits

struct slc_perf_track {
    uint64_t end;  // 1 + the highest sequence seen
    uint64_t last; // sequence seen last
    uint64_t count;
    uint64_t bytes;
    uint8_t *bits;
};

void slc_perf_verify_init(slc_perf_verify *verify, uint32_t queues, uint32_t streams, bool ordered)
{
    *verify = (slc_perf_verify){.ordered = ordered, .queues = queues, .streams = streams};
    if (streams > 0)
        verify->tracks = slc_alloc_zero((size_t)queues * streams, sizeof *verify->tracks);
}

void slc_perf_verify_fini(slc_perf_verify *verify)
{
    for (size_t i = 0; i < (size_t)verify->queues * verify->streams; i++) {
        if (verify->tracks[i] != NULL)
            slc_free(verify->tracks[i]->bits);
        slc_free(verify->tracks[i]);
    }
    slc_free(verify->tracks);
    verify->tracks = NULL;
    verify->queues = verify->streams = 0;
}

/** A larger table for streams that were not announced; each queue's row moves. */
static void verify_widen(slc_perf_verify *verify, uint32_t stream)
{
    uint32_t streams = verify->streams ? verify->streams : 16;
    while (streams <= stream)
        streams *= 2;
    slc_perf_track **tracks = slc_alloc_zero((size_t)verify->queues * streams, sizeof *tracks);
    for (size_t q = 0; q < verify->queues && verify->streams > 0; q++)
        memcpy(tracks + q * streams, verify->tracks + q * verify->streams,
               verify->streams * sizeof *tracks);
    slc_free(verify->tracks);
    verify->tracks = tracks;
    verify->streams = streams;
}

static void track_grow(slc_perf_track *track, uint64_t sequence)
{
    uint64_t bytes = track->bytes ? track->bytes : TRACK_FIRST_BYTES;
    while (bytes <= sequence / 8)
        bytes *= 2;
    track->bits = slc_realloc(track->bits, bytes);
    memset(track->bits + track->bytes, 0, bytes - track->bytes);
    track->bytes = bytes;
}

void slc_perf_verify_seen(slc_perf_verify *verify, uint32_t queue, uint32_t stream,
                          uint64_t sequence, bool redelivered)
{
    SLC_ASSERT(queue < verify->queues);
    if (sequence >= TRACK_SEQUENCE_MAX || stream >= SLC_PERF_STREAMS_MAX) {
        verify->counts.foreign++;
        return;
    }
    if (stream >= verify->streams)
        verify_widen(verify, stream);
    slc_perf_track **slot = &verify->tracks[(size_t)queue * verify->streams + stream];
    if (*slot == NULL)
        *slot = slc_alloc_zero(1, sizeof **slot);
    slc_perf_track *track = *slot;
    if (sequence / 8 >= track->bytes)
        track_grow(track, sequence);
    verify->counts.checked++;
    uint8_t bit = (uint8_t)(1u << (sequence % 8));
    if (track->bits[sequence / 8] & bit) {
        if (redelivered)
            verify->counts.redelivered++;
        else
            verify->counts.duplicates++;
        return;
    }
    track->bits[sequence / 8] |= bit;
    track->count++;
    if (sequence >= track->end)
        track->end = sequence + 1;
    else if (verify->ordered && !redelivered && sequence < track->last)
        verify->counts.out_of_order++;
    track->last = sequence;
}

void slc_perf_verify_finish(slc_perf_verify *verify)
{
    for (size_t i = 0; i < (size_t)verify->queues * verify->streams; i++)
        if (verify->tracks[i] != NULL)
            verify->counts.gaps += verify->tracks[i]->end - verify->tracks[i]->count;
}

bool slc_perf_verify_good(const slc_perf_verify_counts *counts)
{
    return counts->duplicates == 0 && counts->out_of_order == 0 && counts->bad_checksum == 0 &&
           counts->foreign == 0 && counts->gaps == 0;
}
