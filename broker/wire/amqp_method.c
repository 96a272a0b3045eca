#include "wire/amqp_method.h"

#include "base/alloc.h"
#include "base/table.h"
#include "wire/amqp_frame.h"

enum {
    FIELD_OCTET,
    FIELD_SHORT,
    FIELD_LONG,
    FIELD_LONGLONG,
    FIELD_SHORTSTR,
    FIELD_LONGSTR,
    FIELD_TABLE,
    FIELD_BIT,
    FIELD_END
};

/** Where a field of a method lies in its struct. A method's list ends with FIELD_END. */
typedef struct field {
    uint8_t type;
    uint8_t offset;
} field;

typedef struct method_info {
    const char *name;
    const field *fields;
    bool content;
} method_info;

// One static list of fields per method; `self` is that method's struct.
// clang-format off
#define FIELD_INFO(TYPE, name) {FIELD_##TYPE, offsetof(self, name)},
#define METHOD_INFO(name_, NAME, text, class_, method_, content_, ...)                             \
    case SLC_AMQP_##NAME: {                                                                        \
        typedef slc_amqp_##name_ self;                                                             \
        _Static_assert(sizeof(self) <= UINT8_MAX, "offsets are one octet");                        \
        static const field fields[] = {__VA_ARGS__ {FIELD_END, sizeof(self)}};                     \
        *out = (method_info){text, fields, content_};                                              \
        return true;                                                                               \
    }
// clang-format on

static bool method_find(uint32_t id, method_info *out)
{
    switch (id) {
        SLC_AMQP_METHOD_TABLE(METHOD_INFO, FIELD_INFO)
    default:
        return false;
    }
}

/** Where the members of the union begin: all at the same place. */
enum { MEMBERS_AT = offsetof(slc_amqp_method, connection_start) };

static const uint8_t *method_members(const slc_amqp_method *method)
{
    return (const uint8_t *)method + MEMBERS_AT;
}

static void member_store(slc_amqp_method *method, field f, const void *value, size_t bytes)
{
    memcpy((uint8_t *)method + MEMBERS_AT + f.offset, value, bytes);
}

static slc_slice member_slice(const slc_amqp_method *method, field f)
{
    slc_slice slice;
    memcpy(&slice, method_members(method) + f.offset, sizeof slice);
    return slice;
}

/** Octets of a number, of the length before octets, or of the shared octet that bits begin. */
static size_t field_head_bytes(uint8_t type)
{
    static const uint8_t bytes[] = {[FIELD_OCTET] = 1,    [FIELD_SHORT] = 2,    [FIELD_LONG] = 4,
                                    [FIELD_LONGLONG] = 8, [FIELD_SHORTSTR] = 1, [FIELD_LONGSTR] = 4,
                                    [FIELD_TABLE] = 4,    [FIELD_BIT] = 1,      [FIELD_END] = 0};
    return bytes[type];
}

static slc_err decode_refused(slc_slice arguments, slc_error *error)
{
    char octets[256]; // the reply text has 255
    slc_amqp_octets_text(arguments, octets, sizeof octets);
    return slc_error_set(error, SLC_EFRAME, "cannot decode %s", octets);
}

uint32_t slc_amqp_method_peek(slc_slice payload)
{
    return payload.bytes < 4 ? 0 : slc_get_u32be(payload.data);
}

slc_err slc_amqp_method_decode(slc_slice payload, slc_amqp_method *out, slc_error *error)
{
    method_info info;
    out->id = slc_amqp_method_peek(payload);
    if (payload.bytes < 4)
        return decode_refused(payload, error);
    if (!method_find(out->id, &info))
        return slc_error_set(error, SLC_ECOMMAND, "unknown method %u of class %u", out->id & 0xFFFF,
                             out->id >> 16);
    slc_slice arguments = slc_slice_of(payload.data + 4, payload.bytes - 4);
    const uint8_t *at = arguments.data;
    const uint8_t *end = at + arguments.bytes;
    unsigned bit = 0; // next bit of the octet before `at`; 0: no octet is open
    bool utf8 = true;
    for (const field *f = info.fields; f->type != FIELD_END; f++) {
        size_t head = field_head_bytes(f->type);
        if (f->type != FIELD_BIT || bit == 8)
            bit = 0;
        if (bit == 0) {
            if ((size_t)(end - at) < head)
                return decode_refused(arguments, error);
            at += head;
        }
        slc_slice slice = {0};
        uint16_t u16;
        uint32_t u32;
        uint64_t u64;
        switch (f->type) {
        case FIELD_OCTET:
            member_store(out, *f, at - 1, 1);
            break;
        case FIELD_SHORT:
            u16 = slc_get_u16be(at - 2);
            member_store(out, *f, &u16, sizeof u16);
            break;
        case FIELD_LONG:
            u32 = slc_get_u32be(at - 4);
            member_store(out, *f, &u32, sizeof u32);
            break;
        case FIELD_LONGLONG:
            u64 = slc_get_u64be(at - 8);
            member_store(out, *f, &u64, sizeof u64);
            break;
        case FIELD_BIT: {
            bool set = (at[-1] >> bit & 1) != 0;
            bit++;
            member_store(out, *f, &set, sizeof set);
            break;
        }
        default: // SHORTSTR, LONGSTR, TABLE
            slice.bytes = f->type == FIELD_SHORTSTR ? at[-1] : slc_get_u32be(at - 4);
            slice.data = at;
            if ((size_t)(end - at) < slice.bytes)
                return decode_refused(arguments, error);
            at += slice.bytes;
            if (f->type == FIELD_SHORTSTR && !info.content)
                utf8 = utf8 && slc_utf8_check(slice);
            if (f->type == FIELD_TABLE) {
                slc_err rc = slc_table_check(slice, error);
                if (rc != SLC_OK)
                    return rc;
            }
            member_store(out, *f, &slice, sizeof slice);
            break;
        }
    }
    if (at != end)
        return decode_refused(arguments, error);
    if (!utf8)
        return slc_error_set(error, SLC_EFRAME, "Malformed UTF-8 in shortstr");
    return SLC_OK;
}

size_t slc_amqp_method_bytes(const slc_amqp_method *method)
{
    method_info info;
    if (!method_find(method->id, &info))
        return 0;
    size_t bytes = 4;
    unsigned bit = 0;
    for (const field *f = info.fields; f->type != FIELD_END; f++) {
        if (f->type != FIELD_BIT || bit == 8)
            bit = 0;
        if (bit == 0)
            bytes += field_head_bytes(f->type);
        if (f->type == FIELD_BIT)
            bit++;
        if (f->type == FIELD_SHORTSTR || f->type == FIELD_LONGSTR || f->type == FIELD_TABLE)
            bytes += member_slice(method, *f).bytes;
    }
    return bytes;
}

/** Write a length and octets; NULL when a short string is not short. */
static uint8_t *octets_put(uint8_t *at, uint8_t type, slc_slice octets)
{
    if (octets.bytes > (type == FIELD_SHORTSTR ? UINT8_MAX : UINT32_MAX))
        return NULL;
    if (type == FIELD_SHORTSTR)
        *at = (uint8_t)octets.bytes;
    else
        slc_put_u32be(at, (uint32_t)octets.bytes);
    at += field_head_bytes(type);
    if (octets.bytes > 0)
        memcpy(at, octets.data, octets.bytes);
    return at + octets.bytes;
}

size_t slc_amqp_method_encode(const slc_amqp_method *method, uint8_t *out, size_t cap)
{
    method_info info;
    size_t bytes = slc_amqp_method_bytes(method);
    if (bytes == 0 || bytes > cap || !method_find(method->id, &info))
        return 0;
    const uint8_t *from = method_members(method);
    uint8_t *at = out;
    slc_put_u32be(at, method->id);
    at += 4;
    unsigned bit = 0;
    for (const field *f = info.fields; f->type != FIELD_END; f++) {
        if (f->type != FIELD_BIT || bit == 8)
            bit = 0;
        uint16_t u16;
        uint32_t u32;
        uint64_t u64;
        bool set;
        switch (f->type) {
        case FIELD_OCTET:
            *at++ = from[f->offset];
            break;
        case FIELD_SHORT:
            memcpy(&u16, from + f->offset, sizeof u16);
            slc_put_u16be(at, u16);
            at += 2;
            break;
        case FIELD_LONG:
            memcpy(&u32, from + f->offset, sizeof u32);
            slc_put_u32be(at, u32);
            at += 4;
            break;
        case FIELD_LONGLONG:
            memcpy(&u64, from + f->offset, sizeof u64);
            slc_put_u64be(at, u64);
            at += 8;
            break;
        case FIELD_BIT:
            memcpy(&set, from + f->offset, sizeof set);
            if (bit == 0)
                *at++ = 0;
            at[-1] = (uint8_t)(at[-1] | (unsigned)set << bit);
            bit++;
            break;
        default:
            at = octets_put(at, f->type, member_slice(method, *f));
            if (at == NULL)
                return 0;
            break;
        }
    }
    SLC_ASSERT((size_t)(at - out) == bytes);
    return bytes;
}

size_t slc_amqp_method_frame_bytes(const slc_amqp_method *method)
{
    size_t bytes = slc_amqp_method_bytes(method);
    return bytes == 0 ? 0 : bytes + SLC_AMQP_FRAME_EXTRA_BYTES;
}

size_t slc_amqp_method_frame_encode(uint16_t channel, const slc_amqp_method *method, uint8_t *out,
                                    size_t cap)
{
    if (cap < SLC_AMQP_FRAME_EXTRA_BYTES)
        return 0;
    size_t bytes = slc_amqp_method_encode(method, out + SLC_AMQP_FRAME_HEAD_BYTES,
                                          cap - SLC_AMQP_FRAME_EXTRA_BYTES);
    if (bytes == 0 || bytes > UINT32_MAX)
        return 0;
    slc_amqp_frame_head_encode(out, SLC_AMQP_FRAME_METHOD, channel, (uint32_t)bytes);
    out[SLC_AMQP_FRAME_HEAD_BYTES + bytes] = SLC_AMQP_FRAME_END;
    return bytes + SLC_AMQP_FRAME_EXTRA_BYTES;
}

const char *slc_amqp_method_name(uint32_t id)
{
    method_info info;
    return method_find(id, &info) ? info.name : NULL;
}

bool slc_amqp_method_has_content(uint32_t id)
{
    method_info info;
    return method_find(id, &info) && info.content;
}

uint32_t slc_amqp_method_at(uint32_t index)
{
#define METHOD_ID(name, NAME, ...) SLC_AMQP_##NAME,
    static const uint32_t ids[] = {SLC_AMQP_METHOD_TABLE(METHOD_ID, SLC_AMQP_FIELD_NONE)};
#undef METHOD_ID
    return index < SLC_ARRAY_COUNT(ids) ? ids[index] : 0;
}
