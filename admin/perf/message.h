/** The messages that the generator sends: publish frames encoded once, patched in place for every message.
 *
 *  A body begins with a stamp, as far as its size allows; what follows is the same noise in every message:
 *
 *      0          8           11              16             24
 *      +----------+-----------+---------------+--------------+----------------+
 *      | time u64 | stream u24| sequence u40  | checksum u64 | noise ...      |
 *      +----------+-----------+---------------+--------------+----------------+
 *      '------- 16 octets or more ------------'---- 24 octets or more --------'
 *
 *  time: CLOCK_MONOTONIC in nanoseconds when the message was to be sent. stream: one per producer and route, so that sequence (from 0)
 *  has no holes in a queue. checksum: XXH3 of the first 16 octets, seeded with the XXH3 of what follows the stamp. Big-endian.
 *
 *  A template is the head of one message: method frame, header frame, and the body frames up to the stamp's end; a small message is
 *  in there as a whole, so sending it is one memcpy. The rest of a large one (tail) is shared by all templates of a body and never
 *  copied.
 */
#ifndef SLC_PERF_MESSAGE_H
#define SLC_PERF_MESSAGE_H

#include <xxhash.h>

#include "perf/options.h"
#include "wire/amqp_frame.h"

enum {
    SLC_PERF_STAMP_BYTES = 24,
    SLC_PERF_WHOLE_BYTES = 8192, // body frames up to this size are copied into the template
    SLC_PERF_STREAMS_MAX = 1 << 24,
};

typedef struct slc_perf_body {
    uint8_t *frames; // all body frames of one message, heads and ends included
    size_t frames_bytes;
    uint32_t size;       // of the body itself
    uint32_t head_bytes; // of frames that go into the templates
    uint64_t noise_hash;
} slc_perf_body;

typedef struct slc_perf_template {
    uint8_t *head;
    uint32_t head_bytes;
    uint32_t stamp_at; // offset of the body in head
} slc_perf_template;

void slc_perf_body_init(slc_perf_body *body, uint32_t size, uint32_t frame_max);
void slc_perf_body_fini(slc_perf_body *body);
/** priority counts with --priorities only. */
void slc_perf_template_init(slc_perf_template *template, const slc_perf_body *body,
                            const slc_perf_options *options, const char *exchange,
                            const char *routing_key, uint32_t priority);
void slc_perf_template_fini(slc_perf_template *template);

static inline uint64_t slc_perf_checksum(const uint8_t *stamp, uint64_t noise_hash)
{
    return XXH3_64bits_withSeed(stamp, SLC_PERF_BODY_STAMPED, noise_hash);
}

/** at: the body in a copied head. */
static inline void slc_perf_stamp(uint8_t *at, const slc_perf_body *body, uint64_t time_ns,
                                  uint32_t stream, uint64_t sequence)
{
    if (body->size < SLC_PERF_BODY_STAMPED)
        return;
    slc_put_u64be(at, time_ns);
    slc_put_u64be(at + 8, (uint64_t)stream << 40 | sequence);
    if (body->size >= SLC_PERF_STAMP_BYTES)
        slc_put_u64be(at + 16, slc_perf_checksum(at, body->noise_hash));
}

#endif
