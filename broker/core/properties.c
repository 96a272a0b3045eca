#include "core/properties.h"

enum { FLAG_BYTES = 2, FLAG_FIRST = 15, FLAG_LAST = 2 };

/** What a property is on the wire, from its flag on. */
typedef enum field {
    FIELD_SHORTSTR, // u8 length, octets
    FIELD_TABLE,    // u32 length, octets
    FIELD_OCTET,
    FIELD_LONGLONG,
} field;

static field field_of(int bit)
{
    switch (bit) {
    case 13: // headers
        return FIELD_TABLE;
    case 12: // delivery-mode
    case 11: // priority
        return FIELD_OCTET;
    case 6: // timestamp
        return FIELD_LONGLONG;
    default:
        return FIELD_SHORTSTR;
    }
}

/** Octets of the length before the value, and of the value; false when they are not all there. */
static bool field_size(field kind, slc_slice list, size_t *head, size_t *bytes)
{
    *head = 0;
    switch (kind) {
    case FIELD_OCTET:
        *bytes = 1;
        break;
    case FIELD_LONGLONG:
        *bytes = 8;
        break;
    case FIELD_SHORTSTR:
        *head = 1;
        *bytes = list.bytes > 0 ? list.data[0] : 0;
        break;
    case FIELD_TABLE:
        *head = 4;
        *bytes = 0;
        for (size_t i = 0; i < 4 && i < list.bytes; i++)
            *bytes = *bytes << 8 | list.data[i];
        break;
    }
    return list.bytes >= *head && list.bytes - *head >= *bytes;
}

bool slc_message_property(const slc_message *message, slc_property property, slc_slice *value)
{
    slc_slice list = slc_message_props(message);
    if (list.bytes < FLAG_BYTES)
        return false;
    unsigned flags = (unsigned)list.data[0] << 8 | list.data[1];
    if ((flags & 1u << property) == 0)
        return false;
    list = slc_slice_of(list.data + FLAG_BYTES, list.bytes - FLAG_BYTES);
    for (int bit = FLAG_FIRST; bit >= FLAG_LAST; bit--) {
        if ((flags & 1u << bit) == 0)
            continue;
        size_t head, bytes;
        if (!field_size(field_of(bit), list, &head, &bytes))
            return false;
        if (bit == (int)property) {
            *value = slc_slice_of(list.data + head, bytes);
            return true;
        }
        list = slc_slice_of(list.data + head + bytes, list.bytes - head - bytes);
    }
    return false;
}

slc_slice slc_message_headers(const slc_message *message)
{
    slc_slice headers = {0};
    (void)slc_message_property(message, SLC_PROPERTY_HEADERS, &headers);
    return headers;
}

static void list_put_headers(slc_slice headers, slc_buffer *out)
{
    for (int shift = 24; shift >= 0; shift -= 8)
        slc_buffer_octet(out, (uint8_t)(headers.bytes >> shift));
    slc_buffer_put(out, headers.data, headers.bytes);
}

void slc_message_properties_with(const slc_message *message, slc_slice headers,
                                 slc_property without, slc_buffer *out)
{
    slc_slice list = slc_message_props(message);
    unsigned flags = list.bytes < FLAG_BYTES ? 0 : (unsigned)list.data[0] << 8 | list.data[1];
    unsigned wanted = flags & ~(1u << SLC_PROPERTY_HEADERS);
    if (without != SLC_PROPERTY_NONE)
        wanted &= ~(1u << without);
    if (headers.bytes > 0)
        wanted |= 1u << SLC_PROPERTY_HEADERS;
    slc_buffer_octet(out, (uint8_t)(wanted >> 8));
    slc_buffer_octet(out, (uint8_t)wanted);
    if (list.bytes >= FLAG_BYTES)
        list = slc_slice_of(list.data + FLAG_BYTES, list.bytes - FLAG_BYTES);
    for (int bit = FLAG_FIRST; bit >= FLAG_LAST; bit--) {
        if (bit == SLC_PROPERTY_HEADERS && headers.bytes > 0)
            list_put_headers(headers, out);
        if ((flags & 1u << bit) == 0)
            continue;
        size_t head, bytes;
        if (!field_size(field_of(bit), list, &head, &bytes))
            return;
        if (bit != SLC_PROPERTY_HEADERS && (wanted & 1u << bit) != 0)
            slc_buffer_put(out, list.data, head + bytes);
        list = slc_slice_of(list.data + head + bytes, list.bytes - head - bytes);
    }
}
