#include "perf/message.h"

#include <stdio.h>

#include "base/alloc.h"
#include "perf/conn.h"
#include "wire/amqp_props.h"

void slc_perf_body_init(slc_perf_body *body, uint32_t size, uint32_t frame_max)
{
    uint32_t piece_max = frame_max - SLC_AMQP_FRAME_EXTRA_BYTES;
    uint32_t pieces = size / piece_max + (size % piece_max != 0);
    *body = (slc_perf_body){.size = size,
                            .frames_bytes = size + (size_t)pieces * SLC_AMQP_FRAME_EXTRA_BYTES};
    uint8_t *noise = slc_alloc((size_t)size + 1);
    uint64_t state = 0x2545f4914f6cdd1dull;
    for (uint32_t i = 0; i < size; i++) {
        state = state * 6364136223846793005ull + 1442695040888963407ull;
        noise[i] = (uint8_t)(state >> 56);
    }
    if (size >= SLC_PERF_STAMP_BYTES)
        body->noise_hash = XXH3_64bits(noise + SLC_PERF_STAMP_BYTES, size - SLC_PERF_STAMP_BYTES);

    body->frames = slc_alloc(body->frames_bytes + 1);
    uint8_t *at = body->frames;
    for (uint32_t done = 0; done < size;) {
        uint32_t piece = size - done < piece_max ? size - done : piece_max;
        slc_amqp_frame_head_encode(at, SLC_AMQP_FRAME_BODY, SLC_PERF_CHANNEL, piece);
        memcpy(at + SLC_AMQP_FRAME_HEAD_BYTES, noise + done, piece);
        at[SLC_AMQP_FRAME_HEAD_BYTES + piece] = SLC_AMQP_FRAME_END;
        at += piece + SLC_AMQP_FRAME_EXTRA_BYTES;
        done += piece;
    }
    slc_free(noise);
    // A first piece shorter than the stamp cannot be: frame_max is 4096 or more.
    body->head_bytes = body->frames_bytes <= SLC_PERF_WHOLE_BYTES
                           ? (uint32_t)body->frames_bytes
                           : SLC_AMQP_FRAME_HEAD_BYTES + SLC_PERF_STAMP_BYTES;
}

void slc_perf_body_fini(slc_perf_body *body)
{
    slc_free(body->frames);
    body->frames = NULL;
}

void slc_perf_template_init(slc_perf_template *template, const slc_perf_body *body,
                            const slc_perf_options *options, const char *exchange,
                            const char *routing_key, uint32_t priority)
{
    slc_amqp_method publish = {.id = SLC_AMQP_BASIC_PUBLISH,
                               .basic_publish = {.exchange = slc_slice_str(exchange),
                                                 .routing_key = slc_slice_str(routing_key),
                                                 .mandatory = options->mandatory}};
    slc_amqp_props props = {0};
    if (options->persistent)
        props = (slc_amqp_props){.flags = SLC_AMQP_PROP_DELIVERY_MODE, .delivery_mode = 2};
    if (options->priorities > 0) {
        props.flags |= SLC_AMQP_PROP_PRIORITY;
        props.priority = (uint8_t)priority;
    }
    char expiration[16];
    if (options->expiration_set) {
        snprintf(expiration, sizeof expiration, "%u", options->expiration_ms);
        props.flags |= SLC_AMQP_PROP_EXPIRATION;
        props.expiration = slc_slice_str(expiration);
    }
    uint8_t list[32];
    size_t list_bytes = slc_amqp_props_encode(&props, list, sizeof list);
    size_t method_bytes = slc_amqp_method_frame_bytes(&publish);
    size_t header_bytes = slc_amqp_header_frame_bytes(list_bytes);
    size_t total = method_bytes + header_bytes + body->head_bytes;
    uint8_t *head = slc_alloc(total);
    size_t n = slc_amqp_method_frame_encode(SLC_PERF_CHANNEL, &publish, head, total);
    SLC_ASSERT(n == method_bytes);
    n += slc_amqp_header_frame_encode(SLC_PERF_CHANNEL, body->size, slc_slice_of(list, list_bytes),
                                      head + n, total - n);
    SLC_ASSERT(n == method_bytes + header_bytes);
    memcpy(head + n, body->frames, body->head_bytes);
    *template = (slc_perf_template){.head = head,
                                    .head_bytes = (uint32_t)total,
                                    .stamp_at = (uint32_t)n + SLC_AMQP_FRAME_HEAD_BYTES};
}

void slc_perf_template_fini(slc_perf_template *template)
{
    slc_free(template->head);
    template->head = NULL;
}
