#include "base/table.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/alloc.h"

// ---- octets

static uint64_t get_be(const uint8_t *at, size_t bytes)
{
    uint64_t value = 0;
    for (size_t i = 0; i < bytes; i++)
        value = value << 8 | at[i];
    return value;
}

static void put_be(uint8_t *at, uint64_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        at[i] = (uint8_t)(value >> (8 * (bytes - 1 - i)));
}

void slc_buffer_fini(slc_buffer *buffer)
{
    slc_free(buffer->data);
    *buffer = (slc_buffer){0};
}

uint8_t *slc_buffer_reserve(slc_buffer *buffer, size_t bytes)
{
    SLC_ASSERT(bytes <= SIZE_MAX / 4 - buffer->bytes);
    size_t wanted = buffer->bytes + bytes;
    if (wanted > buffer->cap || buffer->data == NULL) {
        size_t cap = buffer->cap * 2 > wanted ? buffer->cap * 2 : wanted;
        if (cap < 64)
            cap = 64;
        buffer->data = slc_realloc(buffer->data, cap);
        buffer->cap = cap;
    }
    return buffer->data + buffer->bytes;
}

void slc_buffer_put(slc_buffer *buffer, const void *data, size_t bytes)
{
    if (bytes == 0)
        return;
    memcpy(slc_buffer_reserve(buffer, bytes), data, bytes);
    buffer->bytes += bytes;
}

void slc_buffer_text(slc_buffer *buffer, const char *text)
{
    slc_buffer_put(buffer, text, strlen(text));
}

void slc_buffer_format(slc_buffer *buffer, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    va_list again;
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    SLC_ASSERT(length >= 0);
    uint8_t *at = slc_buffer_reserve(buffer, (size_t)length + 1);
    vsnprintf((char *)at, (size_t)length + 1, format, again);
    va_end(again);
    buffer->bytes += (size_t)length;
}

// ---- reading

/** How a type's payload is laid out: octets of a fixed one, or that a u32 length comes first. */
typedef struct type_info {
    uint8_t bytes;
    bool length;
    bool integer;
    bool is_signed;
    const char *name; // NULL: no such type
} type_info;

static const type_info types[256] = {
    [SLC_TYPE_BOOL] = {1, .name = "bool"},
    [SLC_TYPE_I8] = {1, .integer = true, .is_signed = true, .name = "byte"},
    [SLC_TYPE_U8] = {1, .integer = true, .name = "unsignedbyte"},
    [SLC_TYPE_I16] = {2, .integer = true, .is_signed = true, .name = "short"},
    [SLC_TYPE_I16_OLD] = {2, .integer = true, .is_signed = true, .name = "short"},
    [SLC_TYPE_U16] = {2, .integer = true, .name = "unsignedshort"},
    [SLC_TYPE_I32] = {4, .integer = true, .is_signed = true, .name = "signedint"},
    [SLC_TYPE_U32] = {4, .integer = true, .name = "unsignedint"},
    [SLC_TYPE_I64] = {8, .integer = true, .is_signed = true, .name = "long"},
    [SLC_TYPE_I64_OLD] = {8, .integer = true, .is_signed = true, .name = "long"},
    [SLC_TYPE_FLOAT] = {4, .name = "float"},
    [SLC_TYPE_DOUBLE] = {8, .name = "double"},
    [SLC_TYPE_DECIMAL] = {5, .name = "decimal"},
    [SLC_TYPE_LONGSTR] = {4, .length = true, .name = "longstr"},
    [SLC_TYPE_BINARY] = {4, .length = true, .name = "binary"},
    [SLC_TYPE_TIMESTAMP] = {8, .name = "timestamp"},
    [SLC_TYPE_TABLE] = {4, .length = true, .name = "table"},
    [SLC_TYPE_ARRAY] = {4, .length = true, .name = "array"},
    [SLC_TYPE_VOID] = {0, .name = "void"},
};

const char *slc_value_type_name(char type)
{
    const char *name = types[(uint8_t)type].name;
    return name == NULL ? "unknown" : name;
}

bool slc_value_is_integer(const slc_value *value)
{
    return types[(uint8_t)value->type].integer;
}

static double get_double(const uint8_t *at, size_t bytes)
{
    if (bytes == 4) {
        uint32_t bits = (uint32_t)get_be(at, 4);
        float value;
        memcpy(&value, &bits, sizeof value);
        return (double)value;
    }
    uint64_t bits = get_be(at, 8);
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/** One value at *at. false: it does not end before `end`, or its type is unknown; nothing moved. */
static bool value_next(const uint8_t **at, const uint8_t *end, slc_value *value)
{
    if (*at == end)
        return false;
    const uint8_t *start = *at;
    const type_info *type = &types[*start];
    const uint8_t *payload = start + 1;
    if (type->name == NULL)
        return false;
    if ((size_t)(end - payload) < type->bytes)
        return false;
    value->type = (char)*start;
    const uint8_t *next = payload + type->bytes;
    if (type->length) {
        size_t bytes = (size_t)get_be(payload, 4);
        if ((size_t)(end - next) < bytes)
            return false;
        value->bytes = slc_slice_of(next, bytes);
        next += bytes;
    } else if (type->integer) {
        uint64_t bits = get_be(payload, type->bytes);
        unsigned spare = 64 - 8U * type->bytes;
        if (type->is_signed && spare > 0)
            bits = (uint64_t)((int64_t)(bits << spare) >> spare);
        value->integer = (int64_t)bits;
    } else {
        switch (value->type) {
        case SLC_TYPE_BOOL:
            value->boolean = *payload != 0;
            break;
        case SLC_TYPE_FLOAT:
        case SLC_TYPE_DOUBLE:
            value->number = get_double(payload, type->bytes);
            break;
        case SLC_TYPE_DECIMAL:
            value->decimal.scale = payload[0];
            value->decimal.value = (uint32_t)get_be(payload + 1, 4);
            break;
        case SLC_TYPE_TIMESTAMP:
            value->timestamp = get_be(payload, 8);
            break;
        default: // void
            value->integer = 0;
            break;
        }
    }
    value->raw = slc_slice_of(start, (size_t)(next - start));
    *at = next;
    return true;
}

bool slc_array_next(slc_table_iter *iter, slc_value *value)
{
    return value_next(&iter->at, iter->end, value);
}

bool slc_table_next(slc_table_iter *iter, slc_slice *key, slc_value *value)
{
    if (iter->at == iter->end)
        return false;
    size_t bytes = *iter->at;
    const uint8_t *at = iter->at + 1;
    if ((size_t)(iter->end - at) < bytes)
        return false;
    *key = slc_slice_of(at, bytes);
    at += bytes;
    if (!value_next(&at, iter->end, value))
        return false;
    iter->at = at;
    return true;
}

bool slc_table_find(slc_slice content, slc_slice key, slc_value *value)
{
    slc_table_iter iter = slc_table_iter_of(content);
    slc_slice found;
    slc_value at;
    while (slc_table_next(&iter, &found, &at)) {
        if (slc_slice_equal(found, key)) {
            if (value != NULL)
                *value = at;
            return true;
        }
    }
    return false;
}

uint32_t slc_table_count(slc_slice content)
{
    slc_table_iter iter = slc_table_iter_of(content);
    slc_slice key;
    slc_value value;
    uint32_t count = 0;
    while (slc_table_next(&iter, &key, &value))
        count++;
    return count;
}

/** Why value_next refused, in words. key.data is NULL inside an array. */
static slc_err check_failed(slc_slice key, const uint8_t *at, const uint8_t *end, slc_error *error)
{
    const char *what = key.data == NULL ? "array element" : "field";
    if (at < end && types[*at].name == NULL)
        return slc_error_set(error, SLC_ESYNTAX, "%s '%.*s' has the unknown value type %u", what,
                             SLC_SLICE_FMT(key), *at);
    return slc_error_set(error, SLC_ESYNTAX, "%s '%.*s' is longer than its table", what,
                         SLC_SLICE_FMT(key));
}

static slc_err content_check(slc_slice content, bool array, unsigned depth, slc_error *error)
{
    // The recursion is bounded here, before anything of the nested table is read.
    if (depth > SLC_TABLE_DEPTH_MAX)
        return slc_error_set(error, SLC_ESYNTAX, "tables are nested deeper than %d",
                             SLC_TABLE_DEPTH_MAX);
    slc_table_iter iter = slc_table_iter_of(content);
    while (iter.at != iter.end) {
        slc_slice key = {0};
        slc_value value;
        if (!array) {
            size_t bytes = *iter.at++;
            if ((size_t)(iter.end - iter.at) < bytes)
                return slc_error_set(error, SLC_ESYNTAX,
                                     "a key of %zu octets is longer than its table", bytes);
            key = slc_slice_of(iter.at, bytes);
            iter.at += bytes;
        }
        if (!value_next(&iter.at, iter.end, &value))
            return check_failed(key, iter.at, iter.end, error);
        if (value.type == SLC_TYPE_TABLE || value.type == SLC_TYPE_ARRAY) {
            slc_err rc = content_check(value.bytes, value.type == SLC_TYPE_ARRAY, depth + 1, error);
            if (rc != SLC_OK)
                return rc;
        }
    }
    return SLC_OK;
}

slc_err slc_table_check(slc_slice content, slc_error *error)
{
    return content_check(content, false, 1, error);
}

// ---- comparing

static bool is_number(char type)
{
    return type == SLC_TYPE_FLOAT || type == SLC_TYPE_DOUBLE;
}

static bool is_octets(char type)
{
    return type == SLC_TYPE_LONGSTR || type == SLC_TYPE_BINARY;
}

/** depth bounds what was never checked. */
static bool value_equal(const slc_value *a, const slc_value *b, unsigned depth)
{
    if (depth > SLC_TABLE_DEPTH_MAX)
        return false;
    if (slc_value_is_integer(a))
        return slc_value_is_integer(b) && a->integer == b->integer;
    if (is_number(a->type))
        return is_number(b->type) && a->number == b->number;
    if (is_octets(a->type))
        return is_octets(b->type) && slc_slice_equal(a->bytes, b->bytes);
    if (a->type != b->type)
        return false;
    slc_table_iter left, right;
    slc_slice left_key, right_key;
    slc_value left_value, right_value;
    switch (a->type) {
    case SLC_TYPE_BOOL:
        return a->boolean == b->boolean;
    case SLC_TYPE_DECIMAL:
        return a->decimal.scale == b->decimal.scale && a->decimal.value == b->decimal.value;
    case SLC_TYPE_TIMESTAMP:
        return a->timestamp == b->timestamp;
    case SLC_TYPE_VOID:
        return true;
    case SLC_TYPE_ARRAY:
        left = slc_table_iter_of(a->bytes);
        right = slc_table_iter_of(b->bytes);
        while (slc_array_next(&left, &left_value)) {
            if (!slc_array_next(&right, &right_value))
                return false;
            if (!value_equal(&left_value, &right_value, depth + 1))
                return false;
        }
        return left.at == left.end && right.at == right.end;
    case SLC_TYPE_TABLE:
        left = slc_table_iter_of(a->bytes);
        right = slc_table_iter_of(b->bytes);
        while (slc_table_next(&left, &left_key, &left_value)) {
            if (!slc_table_next(&right, &right_key, &right_value))
                return false;
            if (!slc_slice_equal(left_key, right_key) ||
                !value_equal(&left_value, &right_value, depth + 1))
                return false;
        }
        return left.at == left.end && right.at == right.end;
    default:
        return slc_slice_equal(a->bytes, b->bytes);
    }
}

/** RabbitMQ compares what it decoded, and that is a number here, too. */
static slc_value timestamp_as_integer(const slc_value *value)
{
    if (value->type != SLC_TYPE_TIMESTAMP || value->timestamp > INT64_MAX)
        return *value;
    return (slc_value){.type = SLC_TYPE_I64, .integer = (int64_t)value->timestamp};
}

bool slc_value_equivalent(const slc_value *a, const slc_value *b)
{
    slc_value left = timestamp_as_integer(a), right = timestamp_as_integer(b);
    return value_equal(&left, &right, 1);
}

bool slc_value_match(const slc_value *a, const slc_value *b)
{
    return value_equal(a, b, 1);
}

// ---- building

void slc_table_builder_fini(slc_table_builder *builder)
{
    slc_buffer_fini(&builder->buffer);
    builder->depth = 0;
}

/** Key (unless in an array) and type octet; room for the payload, which the caller fills. */
static uint8_t *builder_begin(slc_table_builder *builder, slc_slice key, char type, size_t bytes)
{
    if (builder->depth == 0 || !builder->open[builder->depth - 1].array) {
        SLC_ASSERT(key.bytes <= SLC_TABLE_KEY_BYTES_MAX);
        slc_buffer_octet(&builder->buffer, (uint8_t)key.bytes);
        slc_buffer_put(&builder->buffer, key.data, key.bytes);
    }
    slc_buffer_octet(&builder->buffer, (uint8_t)type);
    uint8_t *at = slc_buffer_reserve(&builder->buffer, bytes);
    builder->buffer.bytes += bytes;
    return at;
}

static slc_slice key_slice(const char *key)
{
    return key == NULL ? (slc_slice){0} : slc_slice_str(key);
}

void slc_table_put_value(slc_table_builder *builder, slc_slice key, const slc_value *value)
{
    // Two types are read for old clients' sake and written as what they mean.
    char type = value->type == SLC_TYPE_I16_OLD   ? (char)SLC_TYPE_I16
                : value->type == SLC_TYPE_I64_OLD ? (char)SLC_TYPE_I64
                                                  : value->type;
    const type_info *info = &types[(uint8_t)type];
    SLC_ASSERT(info->name != NULL);
    if (info->length)
        SLC_ASSERT(value->bytes.bytes <= UINT32_MAX);
    uint8_t *at = builder_begin(builder, key, type, info->bytes);
    if (info->length) {
        put_be(at, value->bytes.bytes, 4);
        slc_buffer_put(&builder->buffer, value->bytes.data, value->bytes.bytes);
    } else if (info->integer) {
        put_be(at, (uint64_t)value->integer, info->bytes);
    } else if (type == SLC_TYPE_BOOL) {
        *at = value->boolean;
    } else if (type == SLC_TYPE_FLOAT) {
        float number = (float)value->number;
        uint32_t bits;
        memcpy(&bits, &number, sizeof bits);
        put_be(at, bits, 4);
    } else if (type == SLC_TYPE_DOUBLE) {
        uint64_t bits;
        memcpy(&bits, &value->number, sizeof bits);
        put_be(at, bits, 8);
    } else if (type == SLC_TYPE_DECIMAL) {
        at[0] = value->decimal.scale;
        put_be(at + 1, value->decimal.value, 4);
    } else if (type == SLC_TYPE_TIMESTAMP) {
        put_be(at, value->timestamp, 8);
    }
}

void slc_table_put_bool(slc_table_builder *builder, const char *key, bool value)
{
    slc_table_put_value(builder, key_slice(key),
                        &(slc_value){.type = SLC_TYPE_BOOL, .boolean = value});
}

void slc_table_put_i32(slc_table_builder *builder, const char *key, int32_t value)
{
    slc_table_put_value(builder, key_slice(key),
                        &(slc_value){.type = SLC_TYPE_I32, .integer = value});
}

void slc_table_put_i64(slc_table_builder *builder, const char *key, int64_t value)
{
    slc_table_put_value(builder, key_slice(key),
                        &(slc_value){.type = SLC_TYPE_I64, .integer = value});
}

void slc_table_put_double(slc_table_builder *builder, const char *key, double value)
{
    slc_table_put_value(builder, key_slice(key),
                        &(slc_value){.type = SLC_TYPE_DOUBLE, .number = value});
}

void slc_table_put_timestamp(slc_table_builder *builder, const char *key, uint64_t seconds)
{
    slc_table_put_value(builder, key_slice(key),
                        &(slc_value){.type = SLC_TYPE_TIMESTAMP, .timestamp = seconds});
}

void slc_table_put_longstr(slc_table_builder *builder, const char *key, slc_slice value)
{
    slc_table_put_value(builder, key_slice(key),
                        &(slc_value){.type = SLC_TYPE_LONGSTR, .bytes = value});
}

void slc_table_put_text(slc_table_builder *builder, const char *key, const char *value)
{
    slc_table_put_longstr(builder, key, slc_slice_str(value));
}

void slc_table_put_table(slc_table_builder *builder, const char *key, slc_slice content)
{
    slc_table_put_value(builder, key_slice(key),
                        &(slc_value){.type = SLC_TYPE_TABLE, .bytes = content});
}

void slc_table_open(slc_table_builder *builder, const char *key, slc_type type)
{
    SLC_ASSERT(type == SLC_TYPE_TABLE || type == SLC_TYPE_ARRAY);
    SLC_ASSERT(builder->depth < SLC_TABLE_DEPTH_MAX - 1);
    builder_begin(builder, key_slice(key), (char)type, 4);
    builder->open[builder->depth].length_at = builder->buffer.bytes - 4;
    builder->open[builder->depth].array = type == SLC_TYPE_ARRAY;
    builder->depth++;
}

void slc_table_close(slc_table_builder *builder)
{
    SLC_ASSERT(builder->depth > 0);
    builder->depth--;
    size_t at = builder->open[builder->depth].length_at;
    size_t bytes = builder->buffer.bytes - at - 4;
    SLC_ASSERT(bytes <= UINT32_MAX);
    put_be(builder->buffer.data + at, bytes, 4);
}

slc_slice slc_table_builder_content(const slc_table_builder *builder)
{
    SLC_ASSERT(builder->depth == 0);
    return slc_buffer_slice(&builder->buffer);
}
