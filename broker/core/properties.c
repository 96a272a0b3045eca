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
