// A policy as JSON: checked, and when it is good, turned into a table and merged with itself.
#include "fuzz.h"

#include <jansson.h>

#include "base/alloc.h"
#include "core/json_table.h"
#include "core/parameter.h"
#include "core/policy.h"

static void check_one(const json_t *value, bool is_operator)
{
    slc_error error = {0};
    slc_err rc = slc_policy_check(value, is_operator, &error);
    SLC_ASSERT(rc == SLC_OK || rc == SLC_EINVAL);
    SLC_ASSERT((rc == SLC_OK) == (error.text[0] == '\0'));
    if (rc != SLC_OK)
        return;
    SLC_ASSERT(slc_policy_check(value, false, NULL) == SLC_OK); // operators know no key more
    const json_t *pattern = json_object_get(value, "pattern");
    bool found = false;
    rc = slc_policy_pattern_try(slc_json_string_slice(pattern), slc_slice_str("orders.new.eu"),
                                &found, NULL);
    SLC_ASSERT(rc == SLC_OK || rc == SLC_ELIMIT);
    slc_buffer table = {0}, merged = {0};
    rc = slc_table_from_json(json_object_get(value, "definition"), &table, NULL);
    SLC_ASSERT(rc == SLC_OK);
    SLC_ASSERT(slc_table_check(slc_buffer_slice(&table), NULL) == SLC_OK);
    slc_policy_effective(slc_buffer_slice(&table), slc_buffer_slice(&table), &merged);
    SLC_ASSERT(slc_slice_equal(slc_buffer_slice(&table), slc_buffer_slice(&merged)));
    slc_buffer_fini(&table);
    slc_buffer_fini(&merged);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    json_t *value = json_loadb((const char *)data, bytes, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    if (value == NULL)
        return 0;
    check_one(value, false);
    check_one(value, true);
    // Any JSON as arguments: a table that checks, or an error.
    slc_buffer table = {0};
    slc_error error = {0};
    if (slc_table_from_json(value, &table, &error) == SLC_OK)
        SLC_ASSERT(slc_table_check(slc_buffer_slice(&table), NULL) == SLC_OK);
    else
        SLC_ASSERT(error.text[0] != '\0');
    slc_buffer_fini(&table);
    char text[160];
    slc_json_erlang_text(value, text, sizeof text);
    slc_err rc = slc_parameter_check(false, slc_slice_str("vhost-limits"), slc_slice_str("limits"),
                                     value, NULL);
    SLC_ASSERT(rc == SLC_OK || rc == SLC_EINVAL);
    json_decref(value);
    return 0;
}
