#include "core/json_table.h"

#include <inttypes.h>
#include <stdio.h>

static slc_err put_value(slc_table_builder *builder, const char *key, size_t key_bytes,
                         const json_t *value, uint32_t depth, slc_error *error);

/** The length of a key on the wire is one octet, and ends where a NUL would cut it for the builder. */
static slc_err key_check(const char *key, slc_error *error)
{
    if (strlen(key) > SLC_TABLE_KEY_BYTES_MAX)
        return slc_error_set(error, SLC_EINVAL, "the key '%.40s...' is longer than 255 octets",
                             key);
    return SLC_OK;
}

static slc_err put_object(slc_table_builder *builder, const json_t *object, uint32_t depth,
                          slc_error *error)
{
    const char *key;
    json_t *value;
    slc_err rc = SLC_OK;
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        rc = key_check(key, error);
        if (rc == SLC_OK)
            rc = put_value(builder, key, strlen(key), value, depth, error);
        if (rc != SLC_OK)
            break;
    }
    return rc;
}

static slc_err put_nested(slc_table_builder *builder, const char *key, const json_t *value,
                          uint32_t depth, slc_error *error)
{
    if (depth + 2 >= SLC_TABLE_DEPTH_MAX)
        return slc_error_set(error, SLC_EINVAL, "it is nested deeper than %d levels",
                             SLC_TABLE_DEPTH_MAX - 2);
    slc_err rc = SLC_OK;
    if (json_is_object(value)) {
        slc_table_open(builder, key, SLC_TYPE_TABLE);
        rc = put_object(builder, value, depth + 1, error);
    } else {
        slc_table_open(builder, key, SLC_TYPE_ARRAY);
        for (size_t i = 0; i < json_array_size(value) && rc == SLC_OK; i++)
            rc = put_value(builder, NULL, 0, json_array_get(value, i), depth + 1, error);
    }
    slc_table_close(builder);
    return rc;
}

static slc_err put_value(slc_table_builder *builder, const char *key, size_t key_bytes,
                         const json_t *value, uint32_t depth, slc_error *error)
{
    slc_value v = {.type = SLC_TYPE_VOID};
    switch (json_typeof(value)) {
    case JSON_OBJECT:
    case JSON_ARRAY:
        return put_nested(builder, key, value, depth, error);
    case JSON_STRING:
        v.type = SLC_TYPE_LONGSTR;
        v.bytes = slc_json_string_slice(value);
        break;
    case JSON_INTEGER:
        v.type = SLC_TYPE_I64;
        v.integer = json_integer_value(value);
        break;
    case JSON_REAL:
        v.type = SLC_TYPE_DOUBLE;
        v.number = json_real_value(value);
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        v.type = SLC_TYPE_BOOL;
        v.boolean = json_is_true(value);
        break;
    case JSON_NULL:
        break;
    }
    slc_table_put_value(builder, slc_slice_of(key, key_bytes), &v); // in an array: key is NULL
    return SLC_OK;
}

slc_err slc_table_from_json(const json_t *object, slc_buffer *out, slc_error *error)
{
    if (object == NULL || json_is_null(object) ||
        (json_is_array(object) && json_array_size(object) == 0))
        return SLC_OK;
    if (!json_is_object(object))
        return slc_error_set(error, SLC_EINVAL, "it must be an object");
    slc_table_builder builder = {0};
    slc_err rc = put_object(&builder, object, 0, error);
    if (rc == SLC_OK) {
        slc_slice content = slc_table_builder_content(&builder);
        slc_buffer_put(out, content.data, content.bytes);
    }
    slc_table_builder_fini(&builder);
    return rc;
}

static void erlang_string(slc_slice text, slc_buffer *out)
{
    slc_buffer_text(out, "<<\"");
    for (size_t i = 0; i < text.bytes; i++) {
        if (text.data[i] == '"' || text.data[i] == '\\')
            slc_buffer_octet(out, '\\');
        slc_buffer_octet(out, text.data[i]);
    }
    slc_buffer_text(out, "\">>");
}

static void erlang_put(const json_t *value, slc_buffer *out, size_t end, uint32_t depth)
{
    if (out->bytes > end || depth > 32) {
        slc_buffer_text(out, "...");
        return;
    }
    switch (json_typeof(value)) {
    case JSON_OBJECT: {
        const char *key;
        json_t *item;
        bool first = true;
        slc_buffer_text(out, "[");
        json_object_foreach((json_t *)(uintptr_t)value, key, item)
        {
            slc_buffer_text(out, first ? "{" : ",{");
            first = false;
            erlang_string(slc_slice_str(key), out);
            slc_buffer_text(out, ",");
            erlang_put(item, out, end, depth + 1);
            slc_buffer_text(out, "}");
            if (out->bytes > end)
                break;
        }
        slc_buffer_text(out, "]");
        break;
    }
    case JSON_ARRAY:
        slc_buffer_text(out, "[");
        for (size_t i = 0; i < json_array_size(value) && out->bytes <= end; i++) {
            slc_buffer_text(out, i > 0 ? "," : "");
            erlang_put(json_array_get(value, i), out, end, depth + 1);
        }
        slc_buffer_text(out, "]");
        break;
    case JSON_STRING: {
        slc_slice text = slc_json_string_slice(value);
        if (text.bytes > end)
            text.bytes = end; // it is cut below anyway
        erlang_string(text, out);
        break;
    }
    case JSON_INTEGER:
        slc_buffer_format(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        break;
    case JSON_REAL: {
        slc_value v = {.type = SLC_TYPE_DOUBLE, .number = json_real_value(value)};
        slc_value_text(&v, out);
        break;
    }
    case JSON_TRUE:
        slc_buffer_text(out, "true");
        break;
    case JSON_FALSE:
        slc_buffer_text(out, "false");
        break;
    case JSON_NULL:
        slc_buffer_text(out, "null");
        break;
    }
}

void slc_json_erlang(const json_t *value, slc_buffer *out, size_t cap)
{
    erlang_put(value, out, out->bytes + cap, 0);
}

const char *slc_json_erlang_text(const json_t *value, char *text, size_t cap)
{
    slc_buffer out = {0};
    slc_json_erlang(value, &out, cap);
    snprintf(text, cap, "%.*s", SLC_SLICE_FMT(slc_buffer_slice(&out)));
    slc_buffer_fini(&out);
    return text;
}

bool slc_json_tags(const json_t *value, slc_buffer *out)
{
    if (json_is_string(value)) {
        slc_buffer_put(out, json_string_value(value), json_string_length(value));
        return true;
    }
    for (size_t i = 0; i < json_array_size(value); i++) {
        const json_t *tag = json_array_get(value, i);
        if (!json_is_string(tag))
            return false;
        slc_buffer_text(out, i > 0 ? "," : "");
        slc_buffer_put(out, json_string_value(tag), json_string_length(tag));
    }
    return json_is_array(value);
}

void slc_tags_json(slc_slice tags, slc_buffer *out)
{
    slc_buffer_text(out, "[");
    for (size_t at = 0; at < tags.bytes;) {
        const uint8_t *comma = memchr(tags.data + at, ',', tags.bytes - at);
        size_t end = comma != NULL ? (size_t)(comma - tags.data) : tags.bytes;
        slc_buffer_text(out, at > 0 ? "," : "");
        slc_json_string(slc_slice_of(tags.data + at, end - at), out);
        at = end + 1;
    }
    slc_buffer_text(out, "]");
}
