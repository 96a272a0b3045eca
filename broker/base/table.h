/** AMQP field tables: arguments, message headers, client properties.
 *
 *  A table stays in its encoded form: `content` is the octets of its pairs, without the u32 length
 *  before them. An array is the same without keys. Reading allocates nothing: an iterator walks the
 *  octets and values point into them.
 *
 *      pair  = key length u8, key octets, value
 *      value = type octet, payload (slc_type)
 *
 *  What a stranger sent goes through slc_table_check once. Every other function may assume a
 *  checked table, or one made by slc_table_builder; given anything else it still stays within
 *  the slice and stops where the octets make no sense. Duplicate keys stay; a lookup gives the
 *  first. Order is kept.
 *
 *  Ownership: slices are borrowed; slc_buffer and slc_table_builder own their memory.
 *  Thread: any.  Spec: amqp-semantics 2, 8.1, 8.4, 9.2.
 */
#ifndef SLC_BASE_TABLE_H
#define SLC_BASE_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/slice.h"

/** Nested tables and arrays: the outermost table is depth 1. */
enum { SLC_TABLE_DEPTH_MAX = 64, SLC_TABLE_KEY_BYTES_MAX = 255 };

/** A growing run of octets. Start with {0}; slc_buffer_fini frees it. */
typedef struct slc_buffer {
    uint8_t *data;
    size_t bytes;
    size_t cap;
} slc_buffer;

void slc_buffer_fini(slc_buffer *buffer);
/** Room for bytes more octets; returns where they go. buffer->bytes does not change. */
uint8_t *slc_buffer_reserve(slc_buffer *buffer, size_t bytes);
void slc_buffer_put(slc_buffer *buffer, const void *data, size_t bytes);
static inline void slc_buffer_octet(slc_buffer *buffer, uint8_t octet)
{
    *slc_buffer_reserve(buffer, 1) = octet;
    buffer->bytes++;
}
void slc_buffer_text(slc_buffer *buffer, const char *text);
void slc_buffer_format(slc_buffer *buffer, const char *format, ...) SLC_PRINTF(2, 3);
static inline slc_slice slc_buffer_slice(const slc_buffer *buffer)
{
    return slc_slice_of(buffer->data, buffer->bytes);
}

/** The octet on the wire. L is signed, as in RabbitMQ; U is a signed 16-bit integer. Neither is
 *  ever written: slc_table_put_value turns them into l and s. */
typedef enum slc_type {
    SLC_TYPE_BOOL = 't',
    SLC_TYPE_I8 = 'b',
    SLC_TYPE_U8 = 'B',
    SLC_TYPE_I16 = 's',
    SLC_TYPE_I16_OLD = 'U',
    SLC_TYPE_U16 = 'u',
    SLC_TYPE_I32 = 'I',
    SLC_TYPE_U32 = 'i',
    SLC_TYPE_I64 = 'l',
    SLC_TYPE_I64_OLD = 'L',
    SLC_TYPE_FLOAT = 'f',
    SLC_TYPE_DOUBLE = 'd',
    SLC_TYPE_DECIMAL = 'D',
    SLC_TYPE_LONGSTR = 'S',
    SLC_TYPE_BINARY = 'x',
    SLC_TYPE_TIMESTAMP = 'T',
    SLC_TYPE_TABLE = 'F',
    SLC_TYPE_ARRAY = 'A',
    SLC_TYPE_VOID = 'V',
} slc_type;

typedef struct slc_value {
    char type; // an slc_type
    union {
        bool boolean;       // t
        int64_t integer;    // b B s U u I i l L
        uint64_t timestamp; // T, seconds since 1970
        double number;      // f d
        struct {
            uint8_t scale; // D: value / 10^scale
            uint32_t value;
        } decimal;
        slc_slice bytes; // S x: the octets; F: content of the table; A: content of the array
    };
    slc_slice raw; // type octet and payload as received; empty when made by hand
} slc_value;

/** Check a whole table: bounds, types, depth. SLC_ESYNTAX with a sentence (key and type) when it
 *  is not one. */
SLC_MUST_USE slc_err slc_table_check(slc_slice content, slc_error *error);

typedef struct slc_table_iter {
    const uint8_t *at;
    const uint8_t *end;
} slc_table_iter;

/** Of a table's or of an array's content. */
static inline slc_table_iter slc_table_iter_of(slc_slice content)
{
    return (slc_table_iter){content.data,
                            content.bytes > 0 ? content.data + content.bytes : content.data};
}
/** The next pair; false at the end (or where a table that was never checked makes no sense). */
bool slc_table_next(slc_table_iter *iter, slc_slice *key, slc_value *value);
/** The next value of an array. */
bool slc_array_next(slc_table_iter *iter, slc_value *value);
/** The first value of key. value may be NULL. */
bool slc_table_find(slc_slice content, slc_slice key, slc_value *value);
/** Number of pairs. */
uint32_t slc_table_count(slc_slice content);

/** "signedint", "longstr", ... ; "unknown" for any other octet. */
const char *slc_value_type_name(char type);
/** One of b B s U u I i l L. */
bool slc_value_is_integer(const slc_value *value);
/** The same argument in a redeclaration: what matches, and a timestamp equals an integer (RabbitMQ 3.10.8 was asked).
 *  @spec 2.3 */
bool slc_value_equivalent(const slc_value *a, const slc_value *b);
/** Equal for a headers exchange: integers of any width, longstr equals binary, 1 is not 1.0, arrays
 *  and tables element by element in their order. Void equals only void here: that a void argument
 *  matches any value is the exchange's rule. @spec 8.4 */
bool slc_value_match(const slc_value *a, const slc_value *b);

/** Append content with its pairs ordered by key (memcmp order, equal keys in their order): what
 *  makes two bindings the same. Nested tables stay as they are. @spec 8.1 */
void slc_table_sorted(slc_slice content, slc_buffer *out);

/** Makes a table. Start with {0}; keys up to 255 octets; slc_table_builder_fini frees it.
 *
 *      slc_table_builder b = {0};
 *      slc_table_put_longstr(&b, "product", slc_slice_str("Sluice"));
 *      slc_table_open(&b, "capabilities", SLC_TYPE_TABLE);
 *      slc_table_put_bool(&b, "basic.nack", true);
 *      slc_table_close(&b);
 *      use(slc_table_builder_content(&b));
 *
 *  Inside an open array the key is not written: pass NULL.
 */
typedef struct slc_table_builder {
    slc_buffer buffer;
    uint32_t depth;
    struct {
        size_t length_at; // where the u32 length of this level is
        bool array;
    } open[SLC_TABLE_DEPTH_MAX];
} slc_table_builder;

void slc_table_builder_fini(slc_table_builder *builder);
void slc_table_put_bool(slc_table_builder *builder, const char *key, bool value);
void slc_table_put_i32(slc_table_builder *builder, const char *key, int32_t value); // I
void slc_table_put_i64(slc_table_builder *builder, const char *key, int64_t value); // l
void slc_table_put_double(slc_table_builder *builder, const char *key, double value);
void slc_table_put_timestamp(slc_table_builder *builder, const char *key, uint64_t seconds);
void slc_table_put_longstr(slc_table_builder *builder, const char *key, slc_slice value);
void slc_table_put_text(slc_table_builder *builder, const char *key, const char *value); // longstr
/** A whole table, its content checked before. */
void slc_table_put_table(slc_table_builder *builder, const char *key, slc_slice content);
/** Any value, of any type; key is a slice since it may come from another table. value->raw is
 *  not used. */
void slc_table_put_value(slc_table_builder *builder, slc_slice key, const slc_value *value);
/** Begin a nested table (SLC_TYPE_TABLE) or array (SLC_TYPE_ARRAY); at most SLC_TABLE_DEPTH_MAX
 *  - 1 levels. */
void slc_table_open(slc_table_builder *builder, const char *key, slc_type type);
void slc_table_close(slc_table_builder *builder);
/** The content so far; every level must be closed. Borrowed until the next put or fini. */
slc_slice slc_table_builder_content(const slc_table_builder *builder);

/** As rabbitmqctl prints it, so with Erlang's habits (an empty string is []):
 *  [{"x-max-priority",5},{"x-queue-mode","lazy"}]. Appended to out without a terminator. */
void slc_table_text(slc_slice content, slc_buffer *out);
/** The value as error texts have it between their quotes: 5, lazy, true, 1.5, undefined (void).
 *  @spec 9.2 */
void slc_value_text(const slc_value *value, slc_buffer *out);
/** slc_value_text into a terminated string, cut at cap - 1; returns text. For error sentences. */
const char *slc_value_cstr(const slc_value *value, char *text, size_t cap);

/** As JSON: {"x-max-priority":5}. Binary, and longstr that is not UTF-8, become base64 strings;
 *  void null; timestamps and decimals numbers; infinities and NaN strings. Of duplicate keys the
 *  first. */
void slc_table_json(slc_slice content, slc_buffer *out);
void slc_value_json(const slc_value *value, slc_buffer *out);
/** A JSON string with quotes; octets that are not UTF-8 become U+FFFD. */
void slc_json_string(slc_slice text, slc_buffer *out);

/** Well-formed UTF-8 (no overlong forms, no surrogates, up to U+10FFFF). */
bool slc_utf8_check(slc_slice text);

#endif
