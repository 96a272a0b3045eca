// The JSON writer against jansson, and base64.
#include <criterion/criterion.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "http/json.h"

// A random value written by us and built as jansson's tree at the same time.
static json_t *grow(slc_json *w, unsigned *seed, int depth)
{
    static const char *const texts[] = {"", "plain", "a\"b\\c\n\t\x01", "h\xc3\xa9 \xe6\x97\xa5",
                                        "\x7f/"};
    switch ((unsigned)rand_r(seed) % (depth < 6 ? 8 : 6)) {
    case 0: {
        const char *text = texts[(unsigned)rand_r(seed) % 5];
        slc_json_text(w, text);
        return json_string(text);
    }
    case 1: {
        int64_t value = ((int64_t)rand_r(seed) << 32 | rand_r(seed)) * (rand_r(seed) % 2 ? 1 : -1);
        slc_json_i64(w, value);
        return json_integer(value);
    }
    case 2: {
        bool value = rand_r(seed) % 2;
        slc_json_bool(w, value);
        return json_boolean(value);
    }
    case 3:
        slc_json_null(w);
        return json_null();
    case 4: {
        double value = ldexp((double)rand_r(seed) + 0.5, rand_r(seed) % 100 - 50);
        slc_json_double(w, value);
        return json_real(value);
    }
    case 5: {
        uint64_t value = (uint64_t)rand_r(seed);
        slc_json_u64(w, value);
        return json_integer((json_int_t)value);
    }
    case 6: {
        json_t *array = json_array();
        slc_json_open(w, '[');
        for (int n = rand_r(seed) % 4; n > 0; n--)
            json_array_append_new(array, grow(w, seed, depth + 1));
        slc_json_close(w, ']');
        return array;
    }
    default: {
        static const char *const keys[] = {"a", "messages", "x_y"};
        json_t *object = json_object();
        slc_json_open(w, '{');
        for (int i = 0, n = rand_r(seed) % 4; i < n; i++) {
            slc_json_key(w, keys[i]);
            json_object_set_new(object, keys[i], grow(w, seed, depth + 1));
        }
        slc_json_close(w, '}');
        return object;
    }
    }
}

Test(json, agrees_with_jansson, .timeout = 60)
{
    for (unsigned round = 1; round <= 20000; round++) {
        unsigned seed = round;
        slc_buffer text = {0};
        slc_json w = slc_json_to(&text);
        json_t *want = grow(&w, &seed, 0);
        json_error_t error;
        json_t *got = json_loadb((char *)text.data, text.bytes,
                                 JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &error);
        cr_assert_not_null(got, "seed %u: %s in %.*s", round, error.text, (int)text.bytes,
                           (char *)text.data);
        // A whole real reads back as an integer; compare as texts of numbers then.
        if (!json_is_number(want) || json_typeof(want) == json_typeof(got)) {
            char *a = json_dumps(want, JSON_ENCODE_ANY | JSON_SORT_KEYS | JSON_REAL_PRECISION(17));
            char *b = json_dumps(got, JSON_ENCODE_ANY | JSON_SORT_KEYS | JSON_REAL_PRECISION(17));
            if (strchr(a, '.') == NULL)
                cr_assert_str_eq(a, b, "seed %u", round);
            free(a);
            free(b);
        } else {
            cr_assert(json_number_value(want) == json_number_value(got), "seed %u", round);
        }
        json_decref(want);
        json_decref(got);
        slc_buffer_fini(&text);
    }
}

static void expect_text(const slc_buffer *text, const char *want)
{
    cr_expect(text->bytes == strlen(want) && memcmp(text->data, want, text->bytes) == 0,
              "%.*s is not %s", (int)text->bytes, (char *)text->data, want);
}

Test(json, numbers_at_their_ends, .timeout = 60)
{
    slc_buffer text = {0};
    slc_json w = slc_json_to(&text);
    slc_json_open(&w, '[');
    slc_json_u64(&w, 0);
    slc_json_u64(&w, UINT64_MAX);
    slc_json_i64(&w, INT64_MIN);
    slc_json_i64(&w, -1);
    slc_json_double(&w, 0.1);
    slc_json_double(&w, NAN);
    slc_json_double(&w, -INFINITY);
    slc_json_close(&w, ']');
    expect_text(&text, "[0,18446744073709551615,-9223372036854775808,-1,0.1,null,null]");
    slc_buffer_fini(&text);
}

Test(json, deepest_level_and_broken_text, .timeout = 60)
{
    slc_buffer text = {0};
    slc_json w = slc_json_to(&text);
    for (int i = 0; i + 2 < SLC_JSON_DEPTH_MAX; i++)
        slc_json_open(&w, '[');
    slc_json_slice(&w, slc_slice_of("\xff\xfe", 2));
    slc_json_bool(&w, true);
    for (int i = 0; i + 2 < SLC_JSON_DEPTH_MAX; i++)
        slc_json_close(&w, ']');
    json_t *got = json_loadb((char *)text.data, text.bytes, 0, NULL);
    cr_expect_not_null(got, "octets that are no text must still give JSON");
    json_decref(got);
    slc_buffer_fini(&text);
}

Test(json, base64_of_every_length, .timeout = 60)
{
    static const char *const want[] = {"",         "AA==",     "AAE=",    "AAEC",
                                       "AAECAw==", "AAECAwQ=", "AAECAwQF"};
    const uint8_t octets[] = {0, 1, 2, 3, 4, 5};
    for (size_t n = 0; n <= sizeof octets; n++) {
        slc_buffer text = {0};
        slc_base64_encode(slc_slice_of(octets, n), &text);
        expect_text(&text, want[n]);
        slc_buffer_fini(&text);
    }
}

Test(json, tables_as_object_or_base64, .timeout = 60)
{
    slc_table_builder b = {0};
    slc_table_put_i32(&b, "x", 5);
    slc_buffer text = {0};
    slc_json w = slc_json_to(&text);
    slc_json_open(&w, '[');
    slc_json_table(&w, slc_table_builder_content(&b), false);
    slc_json_table(&w, slc_table_builder_content(&b), true);
    slc_json_close(&w, ']');
    expect_text(&text, "[{\"x\":5},\"AXhJAAAABQ==\"]");
    slc_buffer_fini(&text);
    slc_table_builder_fini(&b);
}
