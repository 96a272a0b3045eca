#include "http/body.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "core/json_table.h"

const json_t *slc_body_object(slc_http_request *request)
{
    if (request->json == NULL && request->json_error == NULL)
        request->json = json_object();
    return slc_http_json(request);
}

static const json_t *value_of(const json_t *body, const char *key)
{
    const json_t *value = json_object_get(body, key);
    return value == NULL || json_is_null(value) ? NULL : value;
}

// key, value, rule
static bool wrong(const json_t *value, const char *key, const char *rule, slc_error *error)
{
    char text[120];
    (void)slc_error_set(error, SLC_EINVAL, "'%s' is %s: %s", key,
                        slc_json_erlang_text(value, text, sizeof text), rule);
    return false;
}

bool slc_body_need(const json_t *body, const char *const *keys, uint32_t count, slc_error *error)
{
    slc_buffer missing = {0};
    for (uint32_t i = 0; i < count; i++) {
        if (json_object_get(body, keys[i]) == NULL)
            slc_buffer_format(&missing, "%s{key_missing,%s}", missing.bytes > 0 ? "," : "",
                              keys[i]);
    }
    bool complete = missing.bytes == 0;
    if (!complete)
        (void)slc_error_set(error, SLC_EINVAL, "[%.*s]", SLC_SLICE_FMT(slc_buffer_slice(&missing)));
    slc_buffer_fini(&missing);
    return complete;
}

bool slc_body_bool(const json_t *body, const char *key, bool otherwise, bool *out, slc_error *error)
{
    const json_t *value = value_of(body, key);
    *out = otherwise;
    if (value == NULL)
        return true;
    const char *text = json_string_value(value);
    if (json_is_boolean(value))
        *out = json_is_true(value);
    else if (text != NULL && strcmp(text, "true") == 0)
        *out = true;
    else if (text != NULL && strcmp(text, "false") == 0)
        *out = false;
    else
        return wrong(value, key, "not_boolean", error);
    return true;
}

bool slc_body_integer(const json_t *body, const char *key, int64_t low, int64_t high,
                      int64_t otherwise, int64_t *out, slc_error *error)
{
    const json_t *value = value_of(body, key);
    char rule[96];
    *out = otherwise;
    if (value == NULL)
        return true;
    const char *text = json_string_value(value);
    char *end = NULL;
    errno = 0;
    if (json_is_integer(value))
        *out = json_integer_value(value);
    else if (text != NULL)
        *out = strtoll(text, &end, 10);
    snprintf(rule, sizeof rule, "an integer from %" PRId64 " to %" PRId64 " is expected", low,
             high);
    if ((!json_is_integer(value) && (text == NULL || end == text || *end != '\0' || errno != 0)) ||
        *out < low || *out > high)
        return wrong(value, key, rule, error);
    return true;
}

bool slc_body_text(const json_t *body, const char *key, slc_slice otherwise, slc_slice *out,
                   slc_error *error)
{
    const json_t *value = value_of(body, key);
    *out = otherwise;
    if (value == NULL)
        return true;
    if (!json_is_string(value))
        return wrong(value, key, "a string is expected", error);
    *out = slc_slice_of(json_string_value(value), json_string_length(value));
    return true;
}

bool slc_body_table(const json_t *body, const char *key, slc_buffer *out, slc_error *error)
{
    slc_error why = {0};
    if (slc_table_from_json(json_object_get(body, key), out, &why) == SLC_OK)
        return true;
    (void)slc_error_set(error, SLC_EINVAL, "'%s': %.400s", key, why.text);
    return false;
}

static int base64_value(uint8_t c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool slc_base64_decode(slc_slice text, slc_buffer *out)
{
    uint8_t *at = slc_buffer_reserve(out, text.bytes / 4 * 3 + 3);
    uint32_t held = 0, bits = 0;
    size_t digits = 0, padding = 0;
    for (size_t i = 0; i < text.bytes; i++) {
        uint8_t c = text.data[i];
        if (c == '\r' || c == '\n') // lines, as the MIME way of writing it has
            continue;
        if (c == '=') {
            padding++;
            continue;
        }
        int value = base64_value(c);
        if (value < 0 || padding > 0)
            return false;
        held = held << 6 | (uint32_t)value;
        bits += 6;
        digits++;
        if (bits >= 8) {
            bits -= 8;
            *at++ = (uint8_t)(held >> bits);
        }
    }
    out->bytes = (size_t)(at - out->data);
    return padding <= 2 && (digits + padding) % 4 == 0;
}
