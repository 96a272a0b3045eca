#include "core/properties.h"

#include <string.h>

#include "base/alloc.h"

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

void slc_properties_with(slc_slice props, slc_slice headers, slc_property without,
                         slc_slice reply_to, slc_buffer *out)
{
    slc_slice list = props;
    unsigned flags = list.bytes < FLAG_BYTES ? 0 : (unsigned)list.data[0] << 8 | list.data[1];
    unsigned wanted = flags & ~(1u << SLC_PROPERTY_HEADERS);
    if (without != SLC_PROPERTY_NONE)
        wanted &= ~(1u << without);
    if (headers.data != NULL)
        wanted |= 1u << SLC_PROPERTY_HEADERS;
    slc_buffer_octet(out, (uint8_t)(wanted >> 8));
    slc_buffer_octet(out, (uint8_t)wanted);
    if (list.bytes >= FLAG_BYTES)
        list = slc_slice_of(list.data + FLAG_BYTES, list.bytes - FLAG_BYTES);
    for (int bit = FLAG_FIRST; bit >= FLAG_LAST; bit--) {
        if (bit == SLC_PROPERTY_HEADERS && headers.data != NULL)
            list_put_headers(headers, out);
        if ((flags & 1u << bit) == 0)
            continue;
        size_t head, bytes;
        if (!field_size(field_of(bit), list, &head, &bytes))
            return;
        if (bit == SLC_PROPERTY_REPLY_TO && reply_to.bytes > 0) {
            slc_buffer_octet(out, (uint8_t)reply_to.bytes);
            slc_buffer_put(out, reply_to.data, reply_to.bytes);
        } else if (bit != SLC_PROPERTY_HEADERS && (wanted & 1u << bit) != 0) {
            slc_buffer_put(out, list.data, head + bytes);
        }
        list = slc_slice_of(list.data + head + bytes, list.bytes - head - bytes);
    }
}

/** The next of the texts in an array header that can be routing keys. */
static bool key_next(slc_table_iter *iter, slc_slice *key)
{
    slc_value value;
    while (slc_array_next(iter, &value)) {
        if (value.type == SLC_TYPE_LONGSTR && value.bytes.bytes <= UINT8_MAX) {
            *key = value.bytes;
            return true;
        }
    }
    return false;
}

static bool keys_begin(slc_slice headers, const char *name, slc_table_iter *iter)
{
    slc_value list;
    if (!slc_table_find(headers, slc_slice_str(name), &list) || list.type != SLC_TYPE_ARRAY)
        return false;
    *iter = slc_table_iter_of(list.bytes);
    return true;
}

void slc_headers_hidden_keys(slc_slice headers, slc_buffer *out)
{
    slc_table_iter iter;
    slc_slice key;
    if (!keys_begin(headers, "BCC", &iter))
        return;
    while (key_next(&iter, &key)) {
        slc_buffer_octet(out, (uint8_t)key.bytes);
        slc_buffer_put(out, key.data, key.bytes);
    }
}

static bool hidden_next(slc_slice *left, slc_slice *key)
{
    if (left->bytes == 0)
        return false;
    *key = slc_slice_of(left->data + 1, left->data[0]);
    *left = slc_slice_of(key->data + key->bytes, left->bytes - 1 - key->bytes);
    return true;
}

uint32_t slc_message_more_keys(const slc_message *message, slc_slice **keys)
{
    uint32_t count = 0, capacity = 0;
    slc_slice hidden = slc_message_hidden(message), key;
    slc_table_iter iter;
    *keys = NULL;
    if (message->one_key)
        return 0;
    bool visible = keys_begin(slc_message_headers(message), "CC", &iter);
    while ((visible && key_next(&iter, &key)) || hidden_next(&hidden, &key)) {
        if (count == capacity) {
            capacity = capacity == 0 ? 8 : 2 * capacity;
            *keys = slc_realloc(*keys, capacity * sizeof **keys);
        }
        (*keys)[count++] = key;
    }
    return count;
}

uint64_t slc_message_expiration(const slc_message *message)
{
    slc_slice text;
    if (!slc_message_property(message, SLC_PROPERTY_EXPIRATION, &text))
        return 0;
    uint64_t value = 0;
    for (size_t i = 0; i < text.bytes && value <= SLC_TTL_MAX_MS; i++) {
        if (text.data[i] >= '0' && text.data[i] <= '9') // a sign may be in front
            value = value * 10 + (uint64_t)(text.data[i] - '0');
    }
    return value + 1;
}

slc_message *slc_message_counted(slc_message *message, uint32_t returns)
{
    static const char name[] = "x-delivery-count";
    slc_table_builder b = {0};
    slc_buffer props = {0};
    slc_slice headers = slc_message_headers(message), key;
    slc_table_iter iter = slc_table_iter_of(headers);
    slc_value value;
    while (slc_table_next(&iter, &key, &value)) {
        if (!slc_slice_is(key, name))
            slc_table_put_value(&b, key, &value);
    }
    slc_table_put_i64(&b, name, returns);
    slc_properties_with(slc_message_props(message), slc_table_builder_content(&b),
                        SLC_PROPERTY_NONE, (slc_slice){0}, &props);
    slc_message *copy =
        slc_message_new(slc_message_exchange(message), slc_message_key(message),
                        slc_buffer_slice(&props), message->body_bytes, message->persistent);
    slc_table_builder_fini(&b);
    slc_buffer_fini(&props);
    if (copy == NULL)
        return slc_message_ref(message);
    if (message->body_bytes > 0)
        memcpy(slc_message_body(copy), slc_message_body(message), message->body_bytes);
    return copy;
}
