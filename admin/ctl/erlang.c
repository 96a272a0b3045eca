// Field tables the way rabbitmqctl prints them, and base64.
//
// rabbitmqctl turns longstrs into lists of code points and prints the whole with Erlang's ~tp, whose printable range is Latin-1:
// a list whose elements are all printable is shown as a string, any other as a list of numbers, an empty one as []. So "日本" is
// [26085,26412], an array of the integers 97, 98, 99 is "abc", and an empty table, array or string is [].
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "ctl.h"

static bool is_printable(int64_t c)
{
    return (c >= 32 && c <= 126) || (c >= 160 && c <= 255) || (c >= 8 && c <= 13) || c == 27;
}

static void put_code_point(uint32_t c, slc_buffer *out)
{
    uint8_t octets[2];
    size_t count = 1;
    if (c < 0x80) {
        octets[0] = (uint8_t)c;
    } else {
        octets[0] = (uint8_t)(0xc0 | c >> 6);
        octets[1] = (uint8_t)(0x80 | (c & 63));
        count = 2;
    }
    slc_buffer_put(out, octets, count);
}

// Between quotes; c is printable.
static void put_string_char(uint32_t c, slc_buffer *out)
{
    static const struct {
        uint32_t c;
        const char *text;
    } escapes[] = {
        {'"', "\\\""}, {'\\', "\\\\"}, {'\n', "\\n"}, {'\t', "\\t"}, {'\r', "\\r"},
        {'\v', "\\v"}, {'\b', "\\b"},  {'\f', "\\f"}, {27, "\\e"},
    };
    for (size_t i = 0; i < SLC_ARRAY_COUNT(escapes); i++) {
        if (c == escapes[i].c) {
            slc_buffer_text(out, escapes[i].text);
            return;
        }
    }
    put_code_point(c, out);
}

// A list of integers: as a string when every one is printable.
static void put_list(const int64_t *items, size_t count, slc_buffer *out)
{
    bool text = count > 0;
    for (size_t i = 0; i < count; i++)
        text = text && is_printable(items[i]);
    slc_buffer_text(out, text ? "\"" : "[");
    for (size_t i = 0; i < count; i++) {
        if (text)
            put_string_char((uint32_t)items[i], out);
        else
            slc_buffer_format(out, "%s%" PRId64, i > 0 ? "," : "", items[i]);
    }
    slc_buffer_text(out, text ? "\"" : "]");
}

// Code points of well-formed UTF-8; items has room for one per octet.
static size_t code_points(slc_slice text, int64_t *items)
{
    size_t count = 0;
    for (size_t i = 0; i < text.bytes;) {
        uint8_t c = text.data[i];
        size_t length = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
        int64_t point = length == 1 ? c : c & (0x7f >> length);
        for (size_t k = 1; k < length; k++)
            point = point << 6 | (text.data[i + k] & 63);
        items[count++] = point;
        i += length;
    }
    return count;
}

// <<"abc">>, <<"é"/utf8>> or <<255,0>>.
static void put_binary(slc_slice octets, slc_buffer *out)
{
    int64_t *items = slc_alloc((octets.bytes + 1) * sizeof *items);
    size_t count = octets.bytes;
    bool ascii = true, latin = slc_utf8_check(octets);
    for (size_t i = 0; i < octets.bytes; i++) {
        items[i] = octets.data[i];
        ascii = ascii && octets.data[i] < 0x80 && is_printable(octets.data[i]);
    }
    if (!ascii && latin) {
        count = code_points(octets, items);
        for (size_t i = 0; i < count; i++)
            latin = latin && is_printable(items[i]);
    }
    slc_buffer_text(out, "<<");
    if (count > 0 && (ascii || latin)) {
        slc_buffer_put(out, "\"", 1);
        for (size_t i = 0; i < count; i++)
            put_string_char((uint32_t)items[i], out);
        slc_buffer_text(out, ascii ? "\"" : "\"/utf8");
    } else {
        for (size_t i = 0; i < octets.bytes; i++)
            slc_buffer_format(out, "%s%u", i > 0 ? "," : "", (unsigned)octets.data[i]);
    }
    slc_buffer_text(out, ">>");
    slc_free(items);
}

static void put_longstr(slc_slice text, slc_buffer *out)
{
    if (!slc_utf8_check(text)) { // rabbitmqctl ends with an exception here
        put_binary(text, out);
        return;
    }
    int64_t *items = slc_alloc((text.bytes + 1) * sizeof *items);
    put_list(items, code_points(text, items), out);
    slc_free(items);
}

// The shortest digits that read back; as a decimal or with an exponent, whichever is shorter, but from 2^53 on always with one.
static void put_double(double value, slc_buffer *out)
{
    char text[40];
    if (!isfinite(value)) { // Erlang has no such number
        slc_buffer_text(out, isnan(value) ? "nan" : value > 0 ? "infinity" : "-infinity");
        return;
    }
    for (int precision = 0; precision <= 17; precision++) {
        snprintf(text, sizeof text, "%.*e", precision, value);
        if (strtod(text, NULL) == value)
            break;
    }
    char digits[24];
    int count = 0;
    const char *c = text;
    for (; *c != 'e'; c++) {
        if (*c >= '0' && *c <= '9')
            digits[count++] = *c;
    }
    int place = (int)strtol(c + 1, NULL, 10) + 1; // digits before the point
    char exponent[8];
    int exponent_cost =
        snprintf(exponent, sizeof exponent, "%d", place - 1) + 1 + (count == 1 ? 2 : 1);
    bool decimal = value == 0 || (place >= 0 && place < count);
    if (place < 0)
        decimal = decimal || 2 - place <= exponent_cost;
    else if (place >= count)
        decimal =
            decimal || (place - count + 2 <= exponent_cost && fabs(value) < 9007199254740992.0);

    if (signbit(value))
        slc_buffer_put(out, "-", 1);
    if (decimal)
        slc_buffer_format(out, "%.*f", count > place ? count - place : 1, fabs(value));
    else
        slc_buffer_format(out, "%c.%.*se%s", digits[0], count > 1 ? count - 1 : 1,
                          count > 1 ? digits + 1 : "0", exponent);
}

static void put_value(const slc_value *value, slc_buffer *out);

static void put_array(slc_slice content, slc_buffer *out)
{
    // All integers: the same rule as for strings.
    size_t count = 0;
    bool integers = true;
    slc_value value;
    for (slc_table_iter it = slc_table_iter_of(content); slc_array_next(&it, &value);) {
        integers = integers && slc_value_is_integer(&value);
        count++;
    }
    slc_table_iter it = slc_table_iter_of(content);
    if (integers) {
        int64_t *items = slc_alloc((count + 1) * sizeof *items);
        for (size_t i = 0; slc_array_next(&it, &value); i++)
            items[i] = value.integer;
        put_list(items, count, out);
        slc_free(items);
        return;
    }
    slc_buffer_put(out, "[", 1);
    for (size_t i = 0; slc_array_next(&it, &value); i++) {
        if (i > 0)
            slc_buffer_put(out, ",", 1);
        put_value(&value, out);
    }
    slc_buffer_put(out, "]", 1);
}

static void put_value(const slc_value *value, slc_buffer *out)
{
    switch (value->type) {
    case SLC_TYPE_BOOL:
        slc_buffer_text(out, value->boolean ? "true" : "false");
        break;
    case SLC_TYPE_LONGSTR:
        put_longstr(value->bytes, out);
        break;
    case SLC_TYPE_BINARY:
        put_binary(value->bytes, out);
        break;
    case SLC_TYPE_TABLE:
        slc_ctl_erlang_table(value->bytes, out);
        break;
    case SLC_TYPE_ARRAY:
        put_array(value->bytes, out);
        break;
    case SLC_TYPE_TIMESTAMP:
        slc_buffer_format(out, "%" PRIu64, value->timestamp);
        break;
    case SLC_TYPE_DECIMAL:
        slc_buffer_format(out, "{%u,%" PRIu32 "}", (unsigned)value->decimal.scale,
                          value->decimal.value);
        break;
    case SLC_TYPE_FLOAT:
    case SLC_TYPE_DOUBLE:
        put_double(value->number, out);
        break;
    case SLC_TYPE_VOID:
        slc_buffer_text(out, "undefined");
        break;
    default:
        slc_buffer_format(out, "%" PRId64, value->integer);
    }
}

void slc_ctl_erlang_table(slc_slice content, slc_buffer *out)
{
    slc_slice key;
    slc_value value;
    bool first = true;
    slc_buffer_put(out, "[", 1);
    for (slc_table_iter it = slc_table_iter_of(content); slc_table_next(&it, &key, &value);) {
        slc_buffer_text(out, first ? "{" : ",{");
        first = false;
        put_longstr(key, out);
        slc_buffer_put(out, ",", 1);
        put_value(&value, out);
        slc_buffer_put(out, "}", 1);
    }
    slc_buffer_put(out, "]", 1);
}

/* ---- typed JSON ---- */

static void typed_value(const slc_value *value, slc_buffer *out);

static void typed_array(slc_slice content, slc_buffer *out)
{
    slc_value value;
    bool first = true;
    slc_buffer_put(out, "[", 1);
    for (slc_table_iter it = slc_table_iter_of(content); slc_array_next(&it, &value);) {
        slc_buffer_format(out, "%s[\"%s\",", first ? "" : ",", slc_value_type_name(value.type));
        first = false;
        typed_value(&value, out);
        slc_buffer_put(out, "]", 1);
    }
    slc_buffer_put(out, "]", 1);
}

static void typed_value(const slc_value *value, slc_buffer *out)
{
    if (value->type == SLC_TYPE_TABLE)
        slc_ctl_typed_json(value->bytes, out);
    else if (value->type == SLC_TYPE_ARRAY)
        typed_array(value->bytes, out);
    else if (value->type == SLC_TYPE_DECIMAL)
        slc_buffer_format(out, "[%u,%" PRIu32 "]", (unsigned)value->decimal.scale,
                          value->decimal.value);
    else if (value->type == SLC_TYPE_LONGSTR && slc_utf8_check(value->bytes))
        slc_ctl_json_string(value->bytes, out);
    else
        slc_value_json(value, out);
}

void slc_ctl_typed_json(slc_slice content, slc_buffer *out)
{
    slc_slice key;
    slc_value value;
    bool first = true;
    slc_buffer_put(out, "[", 1);
    for (slc_table_iter it = slc_table_iter_of(content); slc_table_next(&it, &key, &value);) {
        slc_buffer_text(out, first ? "[" : ",[");
        first = false;
        slc_ctl_json_string(key, out);
        slc_buffer_format(out, ",\"%s\",", slc_value_type_name(value.type));
        typed_value(&value, out);
        slc_buffer_put(out, "]", 1);
    }
    slc_buffer_put(out, "]", 1);
}

/* ---- base64 ---- */

static int base64_digit(uint8_t c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool slc_ctl_base64_decode(slc_slice text, slc_buffer *out)
{
    if (text.bytes % 4 != 0)
        return false;
    for (size_t i = 0; i < text.bytes; i += 4) {
        bool last = i + 4 == text.bytes;
        int pad = last ? (text.data[i + 3] == '=') + (text.data[i + 2] == '=') : 0;
        uint32_t bits = 0;
        for (int k = 0; k < 4; k++) {
            int digit = k < 4 - pad ? base64_digit(text.data[i + (size_t)k]) : 0;
            if (digit < 0 || (k >= 4 - pad && text.data[i + (size_t)k] != '='))
                return false;
            bits = bits << 6 | (uint32_t)digit;
        }
        uint8_t octets[3] = {(uint8_t)(bits >> 16), (uint8_t)(bits >> 8), (uint8_t)bits};
        slc_buffer_put(out, octets, 3 - (size_t)pad);
    }
    return true;
}
