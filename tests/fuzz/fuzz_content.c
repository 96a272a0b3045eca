// The payload of a content header frame.
#include "fuzz.h"

#include "../unit/wire/gen_method.h"
#include "wire/amqp_frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    slc_amqp_content content;
    slc_error error = {0};
    slc_err rc = slc_amqp_content_decode(slc_slice_of(data, bytes), &content, &error);
    SLC_ASSERT(rc == SLC_OK || rc == SLC_EFRAME || rc == SLC_ESYNTAX);
    SLC_ASSERT((rc == SLC_OK) == (error.text[0] == '\0'));
    if (rc != SLC_OK)
        return 0;
    SLC_ASSERT(content.list.bytes == bytes - SLC_AMQP_CONTENT_HEAD_BYTES);
    if (content.class_id != SLC_AMQP_CLASS_BASIC || content.weight != 0)
        return 0;

    // Every octet of a good list means something: encoding gives it back.
    size_t list_bytes = slc_amqp_props_bytes(&content.props);
    SLC_ASSERT(list_bytes == content.list.bytes);
    uint8_t *list = slc_alloc(list_bytes);
    SLC_ASSERT(slc_amqp_props_encode(&content.props, list, list_bytes - 1) == 0);
    SLC_ASSERT(slc_amqp_props_encode(&content.props, list, list_bytes) == list_bytes);
    SLC_ASSERT(slc_slice_equal(slc_slice_of(list, list_bytes), content.list));
    slc_amqp_props again;
    SLC_ASSERT(slc_amqp_props_decode(content.list, &again, NULL) == SLC_OK);
    SLC_ASSERT(props_difference(&content.props, &again) == NULL);

    size_t frame_bytes = slc_amqp_header_frame_bytes(list_bytes);
    uint8_t *frame = slc_alloc(frame_bytes);
    SLC_ASSERT(slc_amqp_header_frame_encode(1, content.body_bytes, content.list, frame,
                                            frame_bytes) == frame_bytes);
    SLC_ASSERT(memcmp(frame + SLC_AMQP_FRAME_HEAD_BYTES, data, bytes) == 0);
    slc_free(frame);
    slc_free(list);
    return 0;
}
