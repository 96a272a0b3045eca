#include "http/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"

// Before each value or key: a comma unless it is the first of its level. After a key the value follows without one, which
// is why json_key clears nothing but sets the pending bit at depth 63 + 1, kept in the top bit of `started`.
#define AFTER_KEY (UINT64_C(1) << SLC_JSON_DEPTH_MAX)

static void json_separate(slc_json *w)
{
    if (w->started & AFTER_KEY) {
        w->started &= ~AFTER_KEY;
        return;
    }
    uint64_t bit = UINT64_C(1) << w->depth;
    if (w->started & bit)
        slc_buffer_put(w->out, ",", 1);
    w->started |= bit;
}

void slc_json_open(slc_json *w, char bracket)
{
    SLC_ASSERT(w->depth + 1 < SLC_JSON_DEPTH_MAX);
    json_separate(w);
    slc_buffer_put(w->out, &bracket, 1);
    w->depth++;
    w->started &= ~(UINT64_C(1) << w->depth);
}

void slc_json_close(slc_json *w, char bracket)
{
    SLC_ASSERT(w->depth > 0);
    SLC_ASSERT(!(w->started & AFTER_KEY));
    w->depth--;
    slc_buffer_put(w->out, &bracket, 1);
}

void slc_json_key_bytes(slc_json *w, const char *key, size_t bytes)
{
    SLC_ASSERT(!(w->started & AFTER_KEY));
    json_separate(w);
    uint8_t *at = slc_buffer_reserve(w->out, bytes + 3);
    at[0] = '"';
    memcpy(at + 1, key, bytes);
    at[bytes + 1] = '"';
    at[bytes + 2] = ':';
    w->out->bytes += bytes + 3;
    w->started |= AFTER_KEY;
}

void slc_json_slice(slc_json *w, slc_slice text)
{
    json_separate(w);
    // Nearly every name is printable ASCII: copy it in one go and leave the rest to the careful function.
    size_t plain = 0;
    while (plain < text.bytes && text.data[plain] >= 0x20 && text.data[plain] < 0x7f &&
           text.data[plain] != '"' && text.data[plain] != '\\')
        plain++;
    if (plain < text.bytes) {
        slc_json_string(text, w->out);
        return;
    }
    uint8_t *at = slc_buffer_reserve(w->out, text.bytes + 2);
    at[0] = '"';
    if (text.bytes > 0)
        memcpy(at + 1, text.data, text.bytes);
    at[text.bytes + 1] = '"';
    w->out->bytes += text.bytes + 2;
}

void slc_json_raw(slc_json *w, slc_slice value)
{
    json_separate(w);
    slc_buffer_put(w->out, value.data, value.bytes);
}

void slc_json_text(slc_json *w, const char *text)
{
    if (text == NULL)
        slc_json_null(w);
    else
        slc_json_slice(w, slc_slice_str(text));
}

void slc_json_u64(slc_json *w, uint64_t value)
{
    char digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    json_separate(w);
    slc_buffer_put(w->out, digits + at, sizeof digits - at);
}

void slc_json_i64(slc_json *w, int64_t value)
{
    if (value >= 0) {
        slc_json_u64(w, (uint64_t)value);
        return;
    }
    json_separate(w);
    slc_buffer_put(w->out, "-", 1);
    w->started |= AFTER_KEY; // the digits continue this value
    slc_json_u64(w, (uint64_t)0 - (uint64_t)value);
}

void slc_json_bool(slc_json *w, bool value)
{
    json_separate(w);
    if (value)
        slc_buffer_put(w->out, "true", 4);
    else
        slc_buffer_put(w->out, "false", 5);
}

void slc_json_null(slc_json *w)
{
    json_separate(w);
    slc_buffer_put(w->out, "null", 4);
}

void slc_json_double(slc_json *w, double value)
{
    if (!isfinite(value)) {
        slc_json_null(w);
        return;
    }
    char text[32];
    for (int precision = 15; precision <= 17; precision++) {
        snprintf(text, sizeof text, "%.*g", precision, value);
        if (strtod(text, NULL) == value)
            break;
    }
    json_separate(w);
    slc_buffer_text(w->out, text);
}

void slc_json_table(slc_json *w, slc_slice content, bool raw)
{
    json_separate(w);
    if (!raw) {
        slc_table_json(content, w->out);
        return;
    }
    slc_buffer_put(w->out, "\"", 1);
    slc_base64_encode(content, w->out);
    slc_buffer_put(w->out, "\"", 1);
}

void slc_base64_encode(slc_slice octets, slc_buffer *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t groups = (octets.bytes + 2) / 3;
    uint8_t *at = slc_buffer_reserve(out, groups * 4);
    for (size_t i = 0; i < octets.bytes; i += 3) {
        size_t left = octets.bytes - i;
        uint32_t v = (uint32_t)octets.data[i] << 16;
        if (left > 1)
            v |= (uint32_t)octets.data[i + 1] << 8;
        if (left > 2)
            v |= octets.data[i + 2];
        *at++ = (uint8_t)digits[v >> 18];
        *at++ = (uint8_t)digits[v >> 12 & 63];
        *at++ = left > 1 ? (uint8_t)digits[v >> 6 & 63] : '=';
        *at++ = left > 2 ? (uint8_t)digits[v & 63] : '=';
    }
    out->bytes += groups * 4;
}
