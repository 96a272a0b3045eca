// The content of a field table, and everything that can be made of it.
#include "fuzz.h"

#include <jansson.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/table.h"

/** Our JSON is JSON (but for a NUL in a key, which jansson cannot hold). */
static void check_json(const slc_buffer *json)
{
    json_error_t why;
    json_t *parsed = json_loadb((const char *)json->data, json->bytes,
                                JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL, &why);
    SLC_ASSERT(parsed != NULL || json_error_code(&why) == json_error_null_byte_in_key);
    json_decref(parsed);
}

static void check_forms(slc_slice content)
{
    slc_buffer out = {0};
    slc_table_text(content, &out);
    SLC_ASSERT(slc_utf8_check(slc_buffer_slice(&out)));
    out.bytes = 0;
    slc_table_json(content, &out);
    SLC_ASSERT(slc_utf8_check(slc_buffer_slice(&out)));
    check_json(&out);
    slc_buffer_fini(&out);
}

static void check_sorted(slc_slice content)
{
    slc_buffer sorted = {0};
    slc_buffer again = {0};
    slc_table_sorted(content, &sorted);
    SLC_ASSERT(sorted.bytes == content.bytes);
    SLC_ASSERT(slc_table_check(slc_buffer_slice(&sorted), NULL) == SLC_OK);
    SLC_ASSERT(slc_table_count(slc_buffer_slice(&sorted)) == slc_table_count(content));
    slc_table_sorted(slc_buffer_slice(&sorted), &again);
    SLC_ASSERT(slc_slice_equal(slc_buffer_slice(&sorted), slc_buffer_slice(&again)));
    slc_buffer_fini(&sorted);
    slc_buffer_fini(&again);
}

/** Every neighbouring pair of values: comparison is symmetric, and what matches is equivalent. */
static void check_compare(const slc_value *a, const slc_value *b)
{
    SLC_ASSERT(slc_value_equivalent(a, b) == slc_value_equivalent(b, a));
    SLC_ASSERT(slc_value_match(a, b) == slc_value_match(b, a));
    SLC_ASSERT(!slc_value_match(a, b) || slc_value_equivalent(a, b));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    slc_slice content = slc_slice_of(data, bytes);
    slc_error error = {0};
    slc_err rc = slc_table_check(content, &error);
    SLC_ASSERT(rc == SLC_OK || rc == SLC_ESYNTAX);
    SLC_ASSERT((rc == SLC_OK) == (error.text[0] == '\0'));

    // Reading stays within the slice whether it was checked or not.
    slc_table_builder rebuilt = {0};
    slc_table_iter iter = slc_table_iter_of(content);
    slc_slice key;
    slc_value value;
    slc_value before = {.type = SLC_TYPE_VOID};
    while (slc_table_next(&iter, &key, &value)) {
        SLC_ASSERT(value.raw.data >= data);
        SLC_ASSERT(value.raw.data + value.raw.bytes <= data + bytes);
        SLC_ASSERT(slc_table_find(content, key, NULL));
        check_compare(&before, &value);
        before = value;
        char text[64];
        slc_value_cstr(&value, text, sizeof text);
        slc_table_put_value(&rebuilt, key, &value);
        slc_table_iter inner = slc_table_iter_of(value.raw);
        slc_value same;
        SLC_ASSERT(slc_array_next(&inner, &same) && same.type == value.type);
    }
    if (rc == SLC_OK) {
        SLC_ASSERT(iter.at == iter.end);
        SLC_ASSERT(rebuilt.buffer.bytes == bytes);
        SLC_ASSERT(slc_table_check(slc_table_builder_content(&rebuilt), NULL) == SLC_OK);
        check_forms(content);
        check_sorted(content);
    }
    slc_table_builder_fini(&rebuilt);
    return 0;
}
