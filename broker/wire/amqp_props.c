#include "wire/amqp_props.h"

#include <string.h>

#include "base/table.h"
#include "wire/amqp_frame.h"

enum {
    // Bit 0 announces another word of flags, bit 1 has no property: one word is all that class
    // basic needs.
    FLAGS_UNKNOWN = 3,
};

/** Takes octets from the front of a list; `failed` stays set after the first that are missing. */
typedef struct reader {
    const uint8_t *at;
    const uint8_t *end;
    bool failed;
} reader;

static const uint8_t *reader_take(reader *r, size_t bytes)
{
    if ((size_t)(r->end - r->at) < bytes)
        r->failed = true;
    if (r->failed)
        return NULL;
    const uint8_t *at = r->at;
    r->at += bytes;
    return at;
}

static uint8_t read_OCTET(reader *r)
{
    const uint8_t *at = reader_take(r, 1);
    return at == NULL ? 0 : *at;
}

static uint64_t read_LONGLONG(reader *r)
{
    const uint8_t *at = reader_take(r, 8);
    return at == NULL ? 0 : slc_get_u64be(at);
}

static slc_slice reader_octets(reader *r, size_t bytes)
{
    const uint8_t *at = reader_take(r, bytes);
    return at == NULL ? (slc_slice){0} : slc_slice_of(at, bytes);
}

static slc_slice read_SHORTSTR(reader *r)
{
    return reader_octets(r, read_OCTET(r));
}

static slc_slice read_TABLE(reader *r)
{
    const uint8_t *at = reader_take(r, 4);
    return at == NULL ? (slc_slice){0} : reader_octets(r, slc_get_u32be(at));
}

slc_err slc_amqp_props_decode(slc_slice list, slc_amqp_props *out, slc_error *error)
{
    *out = (slc_amqp_props){0};
    if (list.bytes < 2)
        return slc_error_set(error, SLC_EFRAME, "content header without property flags");
    out->flags = slc_get_u16be(list.data);
    if ((out->flags & FLAGS_UNKNOWN) != 0)
        return slc_error_set(error, SLC_EFRAME, "unknown property flags 0x%04x in a content header",
                             out->flags);
    reader r = {list.data + 2, list.data + list.bytes, false};
#define READ(FLAG, bit, TYPE, name)                                                                \
    if ((out->flags & SLC_AMQP_PROP_##FLAG) != 0)                                                  \
        out->name = read_##TYPE(&r);
    SLC_AMQP_PROPS_TABLE(READ)
#undef READ
    if (r.failed)
        return slc_error_set(error, SLC_EFRAME, "content header ends inside its properties");
    if (r.at != r.end)
        return slc_error_set(error, SLC_EFRAME,
                             "content header has %zu octets after its properties",
                             (size_t)(r.end - r.at));
    return slc_table_check(out->headers, error);
}

slc_err slc_amqp_content_decode(slc_slice payload, slc_amqp_content *out, slc_error *error)
{
    *out = (slc_amqp_content){0};
    if (payload.bytes < SLC_AMQP_CONTENT_HEAD_BYTES)
        return slc_error_set(error, SLC_EFRAME, "content header of %zu octets is too short",
                             payload.bytes);
    out->class_id = slc_get_u16be(payload.data);
    out->weight = slc_get_u16be(payload.data + 2);
    out->body_bytes = slc_get_u64be(payload.data + 4);
    out->list = slc_slice_of(payload.data + SLC_AMQP_CONTENT_HEAD_BYTES,
                             payload.bytes - SLC_AMQP_CONTENT_HEAD_BYTES);
    if (out->class_id != SLC_AMQP_CLASS_BASIC || out->weight != 0)
        return SLC_OK;
    return slc_amqp_props_decode(out->list, &out->props, error);
}

static size_t bytes_OCTET(uint8_t value)
{
    return sizeof value;
}

static size_t bytes_LONGLONG(uint64_t value)
{
    return sizeof value;
}

static size_t bytes_SHORTSTR(slc_slice value)
{
    return 1 + value.bytes;
}

static size_t bytes_TABLE(slc_slice value)
{
    return 4 + value.bytes;
}

static uint8_t *write_OCTET(uint8_t *at, uint8_t value)
{
    *at = value;
    return at + 1;
}

static uint8_t *write_LONGLONG(uint8_t *at, uint64_t value)
{
    slc_put_u64be(at, value);
    return at + 8;
}

static uint8_t *write_octets(uint8_t *at, slc_slice value)
{
    if (value.bytes > 0)
        memcpy(at, value.data, value.bytes);
    return at + value.bytes;
}

static uint8_t *write_SHORTSTR(uint8_t *at, slc_slice value)
{
    return write_octets(write_OCTET(at, (uint8_t)value.bytes), value);
}

static uint8_t *write_TABLE(uint8_t *at, slc_slice value)
{
    slc_put_u32be(at, (uint32_t)value.bytes);
    return write_octets(at + 4, value);
}

size_t slc_amqp_props_bytes(const slc_amqp_props *props)
{
    size_t bytes = 2;
#define BYTES(FLAG, bit, TYPE, name)                                                               \
    if ((props->flags & SLC_AMQP_PROP_##FLAG) != 0)                                                \
        bytes += bytes_##TYPE(props->name);
    SLC_AMQP_PROPS_TABLE(BYTES)
#undef BYTES
    return bytes;
}

static bool fits_OCTET(uint8_t value)
{
    (void)value;
    return true;
}

static bool fits_LONGLONG(uint64_t value)
{
    (void)value;
    return true;
}

static bool fits_SHORTSTR(slc_slice value)
{
    return value.bytes <= UINT8_MAX;
}

static bool fits_TABLE(slc_slice value)
{
    return value.bytes <= UINT32_MAX;
}

size_t slc_amqp_props_encode(const slc_amqp_props *props, uint8_t *out, size_t cap)
{
    if ((props->flags & FLAGS_UNKNOWN) != 0 || slc_amqp_props_bytes(props) > cap)
        return 0;
    uint8_t *at = out;
    slc_put_u16be(at, props->flags);
    at += 2;
#define WRITE(FLAG, bit, TYPE, name)                                                               \
    if ((props->flags & SLC_AMQP_PROP_##FLAG) != 0) {                                              \
        if (!fits_##TYPE(props->name))                                                             \
            return 0;                                                                              \
        at = write_##TYPE(at, props->name);                                                        \
    }
    SLC_AMQP_PROPS_TABLE(WRITE)
#undef WRITE
    return (size_t)(at - out);
}

size_t slc_amqp_header_frame_bytes(size_t list_bytes)
{
    return SLC_AMQP_FRAME_EXTRA_BYTES + SLC_AMQP_CONTENT_HEAD_BYTES + list_bytes;
}

size_t slc_amqp_header_frame_encode(uint16_t channel, uint64_t body_bytes, slc_slice list,
                                    uint8_t *out, size_t cap)
{
    size_t bytes = slc_amqp_header_frame_bytes(list.bytes);
    if (bytes > cap || bytes > UINT32_MAX)
        return 0;
    slc_amqp_frame_head_encode(out, SLC_AMQP_FRAME_HEADER, channel,
                               (uint32_t)(SLC_AMQP_CONTENT_HEAD_BYTES + list.bytes));
    uint8_t *at = out + SLC_AMQP_FRAME_HEAD_BYTES;
    slc_put_u16be(at, SLC_AMQP_CLASS_BASIC);
    slc_put_u16be(at + 2, 0); // weight
    slc_put_u64be(at + 4, body_bytes);
    at = write_octets(at + SLC_AMQP_CONTENT_HEAD_BYTES, list);
    *at = SLC_AMQP_FRAME_END;
    return bytes;
}
