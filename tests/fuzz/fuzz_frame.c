// A connection's octets: protocol header, then frames to the end or to the first error.
#include "fuzz.h"

#include "base/alloc.h"
#include "wire/amqp_frame.h"
#include "wire/amqp_method.h"
#include "wire/amqp_props.h"

enum { FRAME_MAX = 4096 };

/** A frame cut anywhere is asked on, or refused for what the whole of it is refused. */
static void check_cuts(slc_slice input, size_t whole, slc_err rc)
{
    size_t step = whole / 7 + 1;
    for (size_t bytes = 0; bytes < whole; bytes += step) {
        slc_amqp_frame frame;
        size_t used = 0;
        slc_err cut =
            slc_amqp_frame_decode(slc_slice_of(input.data, bytes), FRAME_MAX, &frame, &used, NULL);
        SLC_ASSERT(cut == SLC_ETRUNCATED || cut == rc);
        if (cut == SLC_ETRUNCATED)
            SLC_ASSERT(used > bytes);
        if (rc == SLC_OK)
            SLC_ASSERT(cut == SLC_ETRUNCATED);
    }
}

static void payload_decode(const slc_amqp_frame *frame)
{
    slc_error error = {0};
    slc_err rc = SLC_OK;
    slc_amqp_method method;
    slc_amqp_content content;
    if (frame->type == SLC_AMQP_FRAME_METHOD)
        rc = slc_amqp_method_decode(frame->payload, &method, &error);
    else if (frame->type == SLC_AMQP_FRAME_HEADER)
        rc = slc_amqp_content_decode(frame->payload, &content, &error);
    SLC_ASSERT((rc == SLC_OK) == (error.text[0] == '\0'));
    char text[SLC_AMQP_REPLY_TEXT_CAP];
    SLC_ASSERT(strlen(slc_amqp_reply_text(501, error.text, text)) <= 255);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    slc_slice input = slc_slice_of(data, bytes);
    slc_amqp_header header = slc_amqp_header_check(input);
    SLC_ASSERT((header == SLC_AMQP_HEADER_MORE) == (bytes < SLC_AMQP_HEADER_BYTES));
    if (header == SLC_AMQP_HEADER_OK)
        input = slc_slice_of(data + SLC_AMQP_HEADER_BYTES, bytes - SLC_AMQP_HEADER_BYTES);
    for (;;) {
        slc_amqp_frame frame;
        slc_error error = {0};
        size_t used = 0;
        slc_err rc = slc_amqp_frame_decode(input, FRAME_MAX, &frame, &used, &error);
        if (rc == SLC_ETRUNCATED) {
            SLC_ASSERT(used > input.bytes);
            SLC_ASSERT(used <= FRAME_MAX + SLC_AMQP_FRAME_EXTRA_BYTES);
            return 0;
        }
        check_cuts(input, rc == SLC_OK ? used : input.bytes, rc);
        if (rc != SLC_OK) {
            SLC_ASSERT(rc == SLC_EFRAME || rc == SLC_EUNEXPECTED);
            SLC_ASSERT(error.text[0] != '\0');
            return 0;
        }
        SLC_ASSERT(used <= input.bytes);
        SLC_ASSERT(frame.payload.bytes + SLC_AMQP_FRAME_EXTRA_BYTES == used);
        uint8_t head[SLC_AMQP_FRAME_HEAD_BYTES];
        slc_amqp_frame_head_encode(head, frame.type, frame.channel, (uint32_t)frame.payload.bytes);
        SLC_ASSERT(memcmp(head, input.data, sizeof head) == 0);
        payload_decode(&frame);
        input = slc_slice_of(input.data + used, input.bytes - used);
    }
}
