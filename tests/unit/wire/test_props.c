// Content headers and property lists. amqp-semantics 1.3, 1.4.
#include <criterion/criterion.h>
#include <inttypes.h>

#include "gen_method.h"
#include "wire/amqp_frame.h"

#define STR(literal)                                                                               \
    {                                                                                              \
        (const uint8_t *)literal, sizeof(literal) - 1                                              \
    }

Test(props, a_header_written_by_hand)
{
    slc_amqp_props wanted = {.flags = 0xfffc,
                             .content_type = STR("ct"),
                             .content_encoding = STR("ce"),
                             .headers = STR("\1ht\1"),
                             .delivery_mode = 2,
                             .priority = 5,
                             .correlation_id = STR("cid"),
                             .reply_to = STR("rt"),
                             .expiration = STR("1000"),
                             .message_id = STR("id"),
                             .timestamp = 7,
                             .type = STR("ty"),
                             .user_id = STR("guest"),
                             .app_id = STR("app"),
                             .cluster_id = STR("cl")};
    slc_slice list = STR("\xff\xfc"
                         "\2ct\2ce\0\0\0\4\1ht\1\2\5\3cid\2rt\4"
                         "1000\2id\0\0\0\0\0\0\0\7\2ty\5guest\3app\2cl");
    slc_amqp_props got;
    slc_error error = {0};
    cr_expect_eq(slc_amqp_props_decode(list, &got, &error), SLC_OK, "%s", error.text);
    const char *difference = props_difference(&got, &wanted);
    cr_expect_null(difference, "%s", difference);
    uint8_t out[128];
    size_t bytes = slc_amqp_props_encode(&wanted, out, sizeof out);
    cr_expect(slc_slice_equal(slc_slice_of(out, bytes), list));
}

Test(props, a_whole_header)
{
    slc_slice payload = STR("\0\74\0\0\0\0\0\0\0\0\1\2\x18\0\2\5");
    slc_amqp_content content;
    cr_expect_eq(slc_amqp_content_decode(payload, &content, NULL), SLC_OK);
    cr_expect_eq(content.class_id, SLC_AMQP_CLASS_BASIC);
    cr_expect_eq(content.weight, 0);
    cr_expect_eq(content.body_bytes, 258);
    cr_expect_eq(content.props.flags, SLC_AMQP_PROP_DELIVERY_MODE | SLC_AMQP_PROP_PRIORITY);
    cr_expect_eq(content.props.delivery_mode, 2);
    cr_expect_eq(content.props.priority, 5);
    cr_expect_eq(content.list.data, payload.data + 12);
    cr_expect_eq(content.list.bytes, 4);
}

Test(props, class_and_weight_are_reported_not_judged)
{
    slc_amqp_content content;
    slc_slice other_class = STR("\0\62\0\0\0\0\0\0\0\0\0\0\xff\xff");
    cr_expect_eq(slc_amqp_content_decode(other_class, &content, NULL), SLC_OK);
    cr_expect_eq(content.class_id, 50);
    slc_slice heavy = STR("\0\74\0\1\0\0\0\0\0\0\0\0\0\0");
    cr_expect_eq(slc_amqp_content_decode(heavy, &content, NULL), SLC_OK);
    cr_expect_eq(content.weight, 1);
}

Test(props, refusals)
{
    static const struct {
        slc_slice payload;
        slc_err rc;
        const char *text;
    } cases[] = {
        {STR("\0\74\0\0\0\0\0\0\0\0\0"), SLC_EFRAME, "content header of 11 octets is too short"},
        {STR("\0\74\0\0\0\0\0\0\0\0\0\0\0"), SLC_EFRAME, "content header without property flags"},
        {STR("\0\74\0\0\0\0\0\0\0\0\0\0\0\1"), SLC_EFRAME,
         "unknown property flags 0x0001 in a content header"},
        {STR("\0\74\0\0\0\0\0\0\0\0\0\0\0\2"), SLC_EFRAME,
         "unknown property flags 0x0002 in a content header"},
        {STR("\0\74\0\0\0\0\0\0\0\0\0\0\x80\0\4abc"), SLC_EFRAME,
         "content header ends inside its properties"},
        {STR("\0\74\0\0\0\0\0\0\0\0\0\0\x80\0\3abcd"), SLC_EFRAME,
         "content header has 1 octets after its properties"},
        {STR("\0\74\0\0\0\0\0\0\0\0\0\0\x20\0\0\0\0\4\1a?"), SLC_EFRAME,
         "content header ends inside its properties"},
        {STR("\0\74\0\0\0\0\0\0\0\0\0\0\x20\0\0\0\0\3\1a?"), SLC_ESYNTAX,
         "field 'a' has the unknown value type 63"},
    };
    for (size_t i = 0; i < SLC_ARRAY_COUNT(cases); i++) {
        slc_amqp_content content;
        slc_error error = {0};
        slc_err rc = slc_amqp_content_decode(cases[i].payload, &content, &error);
        cr_expect_eq(rc, cases[i].rc, "case %zu: %s", i, slc_err_name(rc));
        cr_expect_str_eq(error.text, cases[i].text, "case %zu: %s", i, error.text);
    }
}

Test(props, random_properties_survive_and_truncations_are_refused)
{
    gen g = gen_start();
    gen_pool pool = {0};
    enum { CAP = 1 << 17 };
    guard page = guard_new(CAP);
    uint8_t *out = slc_alloc(CAP);
    for (int round = 0; round < 500; round++) {
        slc_amqp_props wanted = gen_props(&g, &pool);
        uint64_t body_bytes = gen_u64(&g);
        size_t list_bytes = slc_amqp_props_bytes(&wanted);
        cr_assert_eq(slc_amqp_props_encode(&wanted, out, list_bytes - 1), 0);
        cr_assert_eq(slc_amqp_props_encode(&wanted, out, list_bytes), list_bytes);
        uint8_t *list = slc_alloc(list_bytes);
        memcpy(list, out, list_bytes);
        size_t bytes = slc_amqp_header_frame_bytes(list_bytes);
        cr_assert_eq(slc_amqp_header_frame_encode(9, body_bytes, slc_slice_of(list, list_bytes),
                                                  out, bytes - 1),
                     0);
        cr_assert_eq(
            slc_amqp_header_frame_encode(9, body_bytes, slc_slice_of(list, list_bytes), out, bytes),
            bytes);
        slc_amqp_frame frame;
        size_t used;
        cr_assert_eq(slc_amqp_frame_decode(slc_slice_of(out, bytes), 0, &frame, &used, NULL),
                     SLC_OK);
        cr_assert_eq(frame.type, SLC_AMQP_FRAME_HEADER);
        cr_assert_eq(frame.channel, 9);
        slc_amqp_content got;
        slc_error error = {0};
        slc_slice payload = guard_copy(&page, frame.payload.data, frame.payload.bytes);
        cr_assert_eq(slc_amqp_content_decode(payload, &got, &error), SLC_OK, "seed %" PRIu64 ": %s",
                     g.seed, error.text);
        cr_assert_eq(got.body_bytes, body_bytes);
        const char *difference = props_difference(&got.props, &wanted);
        cr_assert_null(difference, "seed %" PRIu64 ": %s", g.seed, difference);
        cr_assert(slc_slice_equal(got.list, slc_slice_of(list, list_bytes)));
        for (size_t cut = 0; cut < frame.payload.bytes; cut++) {
            slc_err rc =
                slc_amqp_content_decode(guard_copy(&page, frame.payload.data, cut), &got, NULL);
            cr_assert_eq(rc, SLC_EFRAME, "seed %" PRIu64 " cut to %zu", g.seed, cut);
        }
        slc_free(list);
        gen_pool_free(&pool);
    }
    slc_free(out);
    guard_free(&page);
}

Test(props, encode_refuses_long_strings_and_unknown_flags)
{
    uint8_t out[512];
    uint8_t text[256] = {0};
    slc_amqp_props props = {.flags = SLC_AMQP_PROP_TYPE, .type = {text, sizeof text}};
    cr_expect_eq(slc_amqp_props_encode(&props, out, sizeof out), 0);
    props.type.bytes = 255;
    cr_expect_eq(slc_amqp_props_encode(&props, out, sizeof out), 2 + 256);
    props.flags |= 2;
    cr_expect_eq(slc_amqp_props_encode(&props, out, sizeof out), 0);
}

Test(props, absent_values_are_not_written)
{
    uint8_t out[16];
    slc_amqp_props props = {.delivery_mode = 2, .type = STR("x")};
    cr_expect_eq(slc_amqp_props_encode(&props, out, sizeof out), 2);
    cr_expect_arr_eq(out, "\0\0", 2);
}
