// The other forms of a table: pairs in key order, rabbitmqctl's text, error texts, JSON.
#include "base/table.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"

// ---- pairs in key order

typedef struct pair {
    slc_slice key;
    slc_slice whole; // key length, key, value
    bool repeated;   // an equal key stands before it
} pair;

static int pair_compare(const void *left, const void *right)
{
    const pair *const *a = left;
    const pair *const *b = right;
    int order = slc_slice_compare((*a)->key, (*b)->key);
    if (order != 0)
        return order;
    return *a < *b ? -1 : *a > *b; // positions in one array: makes the sort stable
}

/** All pairs in their order, and pointers to them in key order; the caller frees both. A sort
 * instead of a search per key: a peer may send tens of thousands of keys in one frame. */
static uint32_t pairs_collect(slc_slice content, pair **pairs, pair ***sorted)
{
    uint32_t count = slc_table_count(content);
    *pairs = NULL;
    *sorted = NULL;
    if (count == 0)
        return 0;
    *pairs = slc_alloc_zero(count, sizeof **pairs);
    *sorted = slc_alloc_zero(count, sizeof **sorted);
    slc_table_iter iter = slc_table_iter_of(content);
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *start = iter.at;
        slc_value value;
        bool there = slc_table_next(&iter, &(*pairs)[i].key, &value);
        SLC_ASSERT(there);
        (*pairs)[i].whole = slc_slice_of(start, (size_t)(iter.at - start));
        (*sorted)[i] = &(*pairs)[i];
    }
    qsort(*sorted, count, sizeof **sorted, pair_compare);
    for (uint32_t i = 1; i < count; i++)
        (*sorted)[i]->repeated = slc_slice_equal((*sorted)[i - 1]->key, (*sorted)[i]->key);
    return count;
}

void slc_table_sorted(slc_slice content, slc_buffer *out)
{
    pair *pairs;
    pair **sorted;
    uint32_t count = pairs_collect(content, &pairs, &sorted);
    for (uint32_t i = 0; i < count; i++)
        slc_buffer_put(out, sorted[i]->whole.data, sorted[i]->whole.bytes);
    slc_free(sorted);
    slc_free(pairs);
}

// ---- text

static bool is_octets(char type)
{
    return type == SLC_TYPE_LONGSTR || type == SLC_TYPE_BINARY;
}

/** Length of the UTF-8 character at the start of text, its code point in *point; 0 when there is
 * none. */
static size_t utf8_next(slc_slice text, uint32_t *point)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    if (text.bytes == 0)
        return 0;
    uint8_t first = text.data[0];
    size_t bytes = first < 0x80             ? 1
                   : (first & 0xE0) == 0xC0 ? 2
                   : (first & 0xF0) == 0xE0 ? 3
                   : (first & 0xF8) == 0xF0 ? 4
                                            : 0;
    if (bytes == 0 || bytes > text.bytes)
        return 0;
    uint32_t value = bytes == 1 ? first : first & (0xFFU >> (bytes + 1));
    for (size_t i = 1; i < bytes; i++) {
        if ((text.data[i] & 0xC0) != 0x80)
            return 0;
        value = value << 6 | (text.data[i] & 0x3F);
    }
    if (value < least[bytes] || value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF))
        return 0;
    *point = value;
    return bytes;
}

bool slc_utf8_check(slc_slice text)
{
    size_t at = 0;
    while (at < text.bytes) {
        uint64_t word;
        if (text.bytes - at >= sizeof word) {
            memcpy(&word, text.data + at, sizeof word);
            if ((word & 0x8080808080808080U) == 0) {
                at += sizeof word;
                continue;
            }
        }
        uint32_t point;
        size_t bytes = utf8_next(slc_slice_of(text.data + at, text.bytes - at), &point);
        if (bytes == 0)
            return false;
        at += bytes;
    }
    return true;
}

/** The shortest decimal that reads back as the same double, laid out as Erlang does it: 1.5,
 * 100.0, 1.0e20, 1.0e-7. */
static void number_text(double number, slc_buffer *out)
{
    if (!isfinite(number)) {
        slc_buffer_text(out, isnan(number) ? "nan" : number < 0 ? "-inf" : "inf");
        return;
    }
    char shortest[32];
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(shortest, sizeof shortest, "%.*e", digits - 1, number);
        if (strtod(shortest, NULL) == number)
            break;
    }
    // d.ddde[+-]dd: gather the digits and the place of the point, counted from their left end.
    char digits[20];
    int count = 0;
    const char *at = shortest;
    if (*at == '-') {
        slc_buffer_octet(out, '-');
        at++;
    }
    for (; *at != 'e'; at++) {
        if (*at != '.')
            digits[count++] = *at;
    }
    while (count > 1 && digits[count - 1] == '0')
        count--;
    int exponent = atoi(at + 1);
    int place = exponent + 1;
    if (number == 0) {
        slc_buffer_text(out, "0.0");
        return;
    }
    if (place > 0 && place < count) {
        slc_buffer_format(out, "%.*s.%.*s", place, digits, count - place, digits + place);
        return;
    }
    char exp_text[16];
    int exp_cost = snprintf(exp_text, sizeof exp_text, "%d", exponent) + 1 + (count == 1 ? 2 : 1);
    bool wide =
        fabs(number) >= 9007199254740992.0; // 2^53: from here digits would pretend to be exact
    if (place <= 0 && 2 - place <= exp_cost) {
        slc_buffer_text(out, "0.");
        for (int i = place; i < 0; i++)
            slc_buffer_octet(out, '0');
        slc_buffer_put(out, digits, (size_t)count);
    } else if (place >= count && !wide && place - count + 2 <= exp_cost) {
        slc_buffer_put(out, digits, (size_t)count);
        for (int i = count; i < place; i++)
            slc_buffer_octet(out, '0');
        slc_buffer_text(out, ".0");
    } else {
        slc_buffer_format(out, "%c.%.*se%s", digits[0], count > 1 ? count - 1 : 1,
                          count > 1 ? digits + 1 : "0", exp_text);
    }
}

/** One element of an Erlang string: printable in Latin-1, which is where rabbitmqctl draws the
 * line. */
static bool erlang_printable(uint32_t point)
{
    return (point >= 32 && point <= 126) || (point >= 160 && point <= 255) ||
           (point >= '\b' && point <= '\r') || point == 27;
}

/** The next character of text: UTF-8, or a single octet where it is none. */
static uint32_t point_next(slc_slice *text)
{
    uint32_t point;
    size_t bytes = utf8_next(*text, &point);
    if (bytes == 0) {
        point = text->data[0];
        bytes = 1;
    }
    *text = slc_slice_of(text->data + bytes, text->bytes - bytes);
    return point;
}

/** A character between Erlang's quotes, as UTF-8. */
static void erlang_char(uint32_t point, slc_buffer *out)
{
    static const char letters[] = {['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\v'] = 'v',
                                   ['\f'] = 'f', ['\r'] = 'r', [27] = 'e'};
    if (point == '"' || point == '\\') {
        slc_buffer_format(out, "\\%c", (char)point);
    } else if (point < 32) {
        slc_buffer_format(out, "\\%c", letters[point]);
    } else if (point < 0x80) {
        slc_buffer_octet(out, (uint8_t)point);
    } else {
        slc_buffer_octet(out, (uint8_t)(0xC0 | point >> 6));
        slc_buffer_octet(out, (uint8_t)(0x80 | (point & 0x3F)));
    }
}

/** "text", or the list of its code points when one is not printable; nothing is []. */
static void erlang_string(slc_slice text, slc_buffer *out)
{
    bool printable = text.bytes > 0;
    for (slc_slice rest = text; rest.bytes > 0 && printable;)
        printable = erlang_printable(point_next(&rest));
    slc_buffer_text(out, printable ? "\"" : "[");
    for (slc_slice rest = text; rest.bytes > 0;) {
        uint32_t point = point_next(&rest);
        if (printable)
            erlang_char(point, out);
        else
            slc_buffer_format(out, "%" PRIu32 "%s", point, rest.bytes > 0 ? "," : "");
    }
    slc_buffer_text(out, printable ? "\"" : "]");
}

/** <<"text">>, <<"t\u00e9xt"/utf8>>, or the list of octets <<1,2>>. */
static void erlang_binary(slc_slice octets, slc_buffer *out)
{
    bool printable = octets.bytes > 0;
    bool ascii = true;
    for (slc_slice rest = octets; rest.bytes > 0 && printable;) {
        uint32_t point = point_next(&rest);
        printable = erlang_printable(point);
        ascii = ascii && point < 0x80;
    }
    // Octets that are not UTF-8 but would show as Latin-1 are a list here: our output is UTF-8 and
    // says what it is.
    if (printable && !ascii && !slc_utf8_check(octets))
        printable = false;
    slc_buffer_text(out, printable ? "<<\"" : "<<");
    if (printable) {
        for (slc_slice rest = octets; rest.bytes > 0;)
            erlang_char(point_next(&rest), out);
        slc_buffer_text(out, ascii ? "\">>" : "\"/utf8>>");
        return;
    }
    for (size_t i = 0; i < octets.bytes; i++)
        slc_buffer_format(out, "%s%u", i > 0 ? "," : "", octets.data[i]);
    slc_buffer_text(out, ">>");
}

/** Would Erlang take this array of integers for a string? */
static bool array_is_string(slc_slice content)
{
    slc_table_iter iter = slc_table_iter_of(content);
    slc_value value;
    while (slc_array_next(&iter, &value)) {
        if (!slc_value_is_integer(&value) && value.type != SLC_TYPE_TIMESTAMP)
            return false;
        if (value.integer < 0 || value.integer > 255 || !erlang_printable((uint32_t)value.integer))
            return false;
    }
    return content.bytes > 0;
}

static void scalar_text(const slc_value *value, slc_buffer *out)
{
    switch (value->type) {
    case SLC_TYPE_BOOL:
        slc_buffer_text(out, value->boolean ? "true" : "false");
        break;
    case SLC_TYPE_FLOAT:
    case SLC_TYPE_DOUBLE:
        number_text(value->number, out);
        break;
    case SLC_TYPE_DECIMAL:
        slc_buffer_format(out, "{%u,%" PRIu32 "}", value->decimal.scale, value->decimal.value);
        break;
    case SLC_TYPE_TIMESTAMP:
        slc_buffer_format(out, "%" PRIu64, value->timestamp);
        break;
    case SLC_TYPE_VOID:
        slc_buffer_text(out, "undefined");
        break;
    default:
        slc_buffer_format(out, "%" PRId64, value->integer);
        break;
    }
}

static void cli_value(const slc_value *value, slc_buffer *out);

static void cli_array(slc_slice content, slc_buffer *out)
{
    slc_table_iter iter = slc_table_iter_of(content);
    slc_value value;
    bool string = array_is_string(content);
    const char *between = string ? "\"" : "[";
    while (slc_array_next(&iter, &value)) {
        slc_buffer_text(out, between);
        between = string ? "" : ",";
        if (string)
            erlang_char((uint32_t)value.integer, out);
        else
            cli_value(&value, out);
    }
    slc_buffer_text(out, string ? "\"" : content.bytes > 0 ? "]" : "[]");
}

void slc_table_text(slc_slice content, slc_buffer *out)
{
    slc_table_iter iter = slc_table_iter_of(content);
    slc_slice key;
    slc_value value;
    const char *between = "";
    slc_buffer_text(out, "[");
    while (slc_table_next(&iter, &key, &value)) {
        slc_buffer_text(out, between);
        between = ",";
        slc_buffer_text(out, "{");
        erlang_string(key, out);
        slc_buffer_text(out, ",");
        cli_value(&value, out);
        slc_buffer_text(out, "}");
    }
    slc_buffer_text(out, "]");
}

static void cli_value(const slc_value *value, slc_buffer *out)
{
    switch (value->type) {
    case SLC_TYPE_LONGSTR:
        erlang_string(value->bytes, out);
        break;
    case SLC_TYPE_BINARY:
        erlang_binary(value->bytes, out);
        break;
    case SLC_TYPE_TABLE:
        slc_table_text(value->bytes, out);
        break;
    case SLC_TYPE_ARRAY:
        cli_array(value->bytes, out);
        break;
    default:
        scalar_text(value, out);
        break;
    }
}

/** As RabbitMQ holds it: table [{<<"key">>,type,value}], array [{type,value}]. */
static void term_value(const slc_value *value, slc_buffer *out)
{
    bool table = value->type == SLC_TYPE_TABLE;
    if (is_octets(value->type)) {
        erlang_binary(value->bytes, out);
        return;
    }
    if (!table && value->type != SLC_TYPE_ARRAY) {
        scalar_text(value, out);
        return;
    }
    slc_table_iter iter = slc_table_iter_of(value->bytes);
    slc_slice key;
    slc_value inner;
    const char *between = "";
    slc_buffer_text(out, "[");
    while (table ? slc_table_next(&iter, &key, &inner) : slc_array_next(&iter, &inner)) {
        slc_buffer_format(out, "%s{", between);
        between = ",";
        if (table) {
            erlang_binary(key, out);
            slc_buffer_text(out, ",");
        }
        slc_buffer_format(out, "%s,", slc_value_type_name(inner.type));
        term_value(&inner, out);
        slc_buffer_text(out, "}");
    }
    slc_buffer_text(out, "]");
}

void slc_value_text(const slc_value *value, slc_buffer *out)
{
    if (is_octets(value->type))
        slc_buffer_put(out, value->bytes.data, value->bytes.bytes);
    else
        term_value(value, out);
}

const char *slc_value_cstr(const slc_value *value, char *text, size_t cap)
{
    SLC_ASSERT(cap > 0);
    slc_buffer out = {0};
    slc_value_text(value, &out);
    size_t bytes = out.bytes < cap - 1 ? out.bytes : cap - 1;
    if (bytes > 0)
        memcpy(text, out.data, bytes);
    text[bytes] = '\0';
    slc_buffer_fini(&out);
    return text;
}

// ---- JSON

void slc_json_string(slc_slice text, slc_buffer *out)
{
    slc_buffer_octet(out, '"');
    while (text.bytes > 0) {
        uint32_t point;
        size_t bytes = utf8_next(text, &point);
        if (bytes == 0) {
            slc_buffer_text(out, "\\ufffd");
            bytes = 1;
        } else if (point == '"' || point == '\\') {
            slc_buffer_format(out, "\\%c", (char)point);
        } else if (point < 0x20 || point == 0x7F) {
            slc_buffer_format(out, "\\u%04x", (unsigned)point);
        } else {
            slc_buffer_put(out, text.data, bytes);
        }
        text = slc_slice_of(text.data + bytes, text.bytes - bytes);
    }
    slc_buffer_octet(out, '"');
}

static void base64(slc_slice octets, slc_buffer *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < octets.bytes; i += 3) {
        size_t left = octets.bytes - i;
        uint32_t bits = (uint32_t)octets.data[i] << 16;
        if (left > 1)
            bits |= (uint32_t)octets.data[i + 1] << 8;
        if (left > 2)
            bits |= octets.data[i + 2];
        slc_buffer_octet(out, (uint8_t)digits[bits >> 18]);
        slc_buffer_octet(out, (uint8_t)digits[bits >> 12 & 63]);
        slc_buffer_octet(out, (uint8_t)(left > 1 ? digits[bits >> 6 & 63] : '='));
        slc_buffer_octet(out, (uint8_t)(left > 2 ? digits[bits & 63] : '='));
    }
}

void slc_table_json(slc_slice content, slc_buffer *out)
{
    pair *pairs;
    pair **sorted;
    uint32_t count = pairs_collect(content, &pairs, &sorted);
    slc_table_iter iter = slc_table_iter_of(content);
    const char *between = "{";
    for (uint32_t i = 0; i < count; i++) {
        slc_slice key;
        slc_value value;
        if (!slc_table_next(&iter, &key, &value) || pairs[i].repeated)
            continue;
        slc_buffer_text(out, between);
        between = ",";
        slc_json_string(key, out);
        slc_buffer_text(out, ":");
        slc_value_json(&value, out);
    }
    slc_buffer_text(out, count > 0 ? "}" : "{}");
    slc_free(sorted);
    slc_free(pairs);
}

void slc_value_json(const slc_value *value, slc_buffer *out)
{
    slc_table_iter iter;
    slc_value inner;
    const char *between = "";
    switch (value->type) {
    case SLC_TYPE_LONGSTR:
        if (slc_utf8_check(value->bytes)) {
            slc_json_string(value->bytes, out);
            break;
        }
        // fall through
    case SLC_TYPE_BINARY:
        slc_buffer_octet(out, '"');
        base64(value->bytes, out);
        slc_buffer_octet(out, '"');
        break;
    case SLC_TYPE_TABLE:
        slc_table_json(value->bytes, out);
        break;
    case SLC_TYPE_ARRAY:
        slc_buffer_text(out, "[");
        iter = slc_table_iter_of(value->bytes);
        while (slc_array_next(&iter, &inner)) {
            slc_buffer_text(out, between);
            between = ",";
            slc_value_json(&inner, out);
        }
        slc_buffer_text(out, "]");
        break;
    case SLC_TYPE_VOID:
        slc_buffer_text(out, "null");
        break;
    case SLC_TYPE_FLOAT:
    case SLC_TYPE_DOUBLE:
        if (!isfinite(value->number))
            slc_buffer_octet(out, '"');
        number_text(value->number, out);
        if (!isfinite(value->number))
            slc_buffer_octet(out, '"');
        break;
    case SLC_TYPE_DECIMAL:
        slc_buffer_format(out, "%" PRIu32, value->decimal.value);
        if (value->decimal.scale > 0)
            slc_buffer_format(out, "e-%u", value->decimal.scale);
        break;
    default:
        scalar_text(value, out);
        break;
    }
}
