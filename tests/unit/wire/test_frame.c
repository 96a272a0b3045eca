// Framing, protocol header and reply texts. amqp-semantics 1.1, 1.2, 3.1, 3.2.
#include <criterion/criterion.h>
#include <inttypes.h>

#include "gen.h"
#include "wire/amqp_frame.h"

#define SLICE(literal) slc_slice_of(literal, sizeof(literal) - 1)

Test(frame, protocol_header)
{
    static const struct {
        const char *octets;
        slc_amqp_header header;
    } cases[] = {
        {"AMQP\0\0\11\1", SLC_AMQP_HEADER_OK},
        {"AMQP\1\1\0\11", SLC_AMQP_HEADER_OK},
        {"AMQP\0\0\10\0", SLC_AMQP_HEADER_VERSION},
        {"AMQP\0\0\12\1", SLC_AMQP_HEADER_VERSION},
        {"AMQP\0\1\0\0", SLC_AMQP_HEADER_VERSION},
        {"AMQP\3\1\0\0", SLC_AMQP_HEADER_VERSION},
        {"GET / HT", SLC_AMQP_HEADER_HTTP},
        {"POST /a ", SLC_AMQP_HEADER_HTTP},
        {"PRI * HT", SLC_AMQP_HEADER_HTTP},
        {"\x16\x03\x01\x02\x00\x01\x00\x01", SLC_AMQP_HEADER_TLS},
        {"\x16\x03\x01\x02\x00\x02\x00\x01", SLC_AMQP_HEADER_FOREIGN},
        {"SSH-2.0-", SLC_AMQP_HEADER_FOREIGN},
        {"amqp\0\0\11\1", SLC_AMQP_HEADER_FOREIGN},
    };
    for (size_t i = 0; i < SLC_ARRAY_COUNT(cases); i++) {
        for (size_t bytes = 0; bytes < 8; bytes++)
            cr_expect_eq(slc_amqp_header_check(slc_slice_of(cases[i].octets, bytes)),
                         SLC_AMQP_HEADER_MORE);
        cr_expect_eq(slc_amqp_header_check(slc_slice_of(cases[i].octets, 8)), cases[i].header,
                     "case %zu", i);
    }
    cr_expect_arr_eq(slc_amqp_header_ours, "AMQP\0\0\11\1", 8);
}

typedef struct frame_case {
    const char *name;
    const char *octets;
    size_t bytes;
    uint32_t frame_max;
    slc_err rc;
    const char *text;
} frame_case;

#define FRAME(literal) literal, sizeof(literal) - 1

static const frame_case frame_cases[] = {
    {"method", FRAME("\1\0\5\0\0\0\4\0\12\0\13\xce"), 4096, SLC_OK, ""},
    {"header", FRAME("\2\0\5\0\0\0\16\0\74\0\0\0\0\0\0\0\0\0\0\0\0\xce"), 4096, SLC_OK, ""},
    {"short header", FRAME("\2\0\0\0\0\0\3abc\xce"), 4096, SLC_EFRAME,
     "type 2, all octets = <<\"abc\">>: unknown_frame"},
    {"body", FRAME("\3\0\5\0\0\0\3abc\xce"), 4096, SLC_OK, ""},
    {"heartbeat", FRAME("\10\0\0\0\0\0\0\xce"), 4096, SLC_OK, ""},
    {"as large as RabbitMQ tolerates", FRAME("\3\0\5\0\0\0\3abc\xce"), 3, SLC_OK, ""},
    {"unlimited", FRAME("\3\0\5\0\0\0\3abc\xce"), 0, SLC_OK, ""},
    {"too large", FRAME("\3\0\5\0\0\20\1"), 4096, SLC_EFRAME,
     "type 3, all octets = <<>>: {frame_too_large,4097,4088}"},
    {"bad end", FRAME("\3\0\5\0\0\0\3\1\2\3\0"), 4096, SLC_EFRAME,
     "type 3, all octets = <<1,2,3>>: {invalid_frame_end_marker,0}"},
    {"unknown type", FRAME("\7\0\5\0\0\0\3\1\2\3\xce"), 4096, SLC_EFRAME,
     "type 7, all octets = <<1,2,3>>: unknown_frame"},
    {"printable octets show as text", FRAME("\0\0\5\0\0\0\3abc\xce"), 4096, SLC_EFRAME,
     "type 0, all octets = <<\"abc\">>: unknown_frame"},
    {"16 octets", FRAME("\7\0\0\0\0\0\x10\1\2\3\4\5\6\7\10\11\12\13\14\15\16\17\20\xce"), 4096,
     SLC_EFRAME, "type 7, all octets = <<1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16>>: unknown_frame"},
    {"17 octets", FRAME("\7\0\0\0\0\0\x11\1\2\3\4\5\6\7\10\11\12\13\14\15\16\17\20\21\xce"), 4096,
     SLC_EFRAME,
     "type 7, first 16 octets = <<1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16>>: unknown_frame"},
    {"short method", FRAME("\1\0\0\0\0\0\3\0\12\0\xce"), 4096, SLC_EFRAME,
     "type 1, all octets = <<0,10,0>>: unknown_frame"},
    {"empty method", FRAME("\1\0\0\0\0\0\0\xce"), 4096, SLC_EFRAME,
     "type 1, all octets = <<>>: unknown_frame"},
    {"heartbeat with payload", FRAME("\10\0\0\0\0\0\1\1\xce"), 4096, SLC_EFRAME,
     "type 8, all octets = <<1>>: unknown_frame"},
    {"heartbeat on a channel", FRAME("\10\0\1\0\0\0\0\xce"), 4096, SLC_EUNEXPECTED,
     "type 8, all octets = <<>>"},
};

Test(frame, frames_are_taken_or_refused_with_rabbitmqs_text)
{
    guard page = guard_new(64);
    for (size_t i = 0; i < SLC_ARRAY_COUNT(frame_cases); i++) {
        const frame_case *c = &frame_cases[i];
        slc_slice input = guard_copy(&page, c->octets, c->bytes);
        slc_amqp_frame frame;
        slc_error error = {0};
        size_t used = 0;
        slc_err rc = slc_amqp_frame_decode(input, c->frame_max, &frame, &used, &error);
        cr_expect_eq(rc, c->rc, "%s: %s", c->name, slc_err_name(rc));
        cr_expect_str_eq(error.text, c->text, "%s: %s", c->name, error.text);
        if (rc != SLC_OK)
            continue;
        cr_expect_eq(used, c->bytes);
        cr_expect_eq(frame.type, (uint8_t)c->octets[0]);
        cr_expect_eq(frame.channel, c->octets[2]);
        cr_expect_eq(frame.payload.bytes, c->bytes - 8);
    }
    guard_free(&page);
}

Test(frame, every_truncation_asks_for_more)
{
    guard page = guard_new(64);
    for (size_t i = 0; i < SLC_ARRAY_COUNT(frame_cases); i++) {
        const frame_case *c = &frame_cases[i];
        if (c->rc != SLC_OK)
            continue;
        for (size_t bytes = 0; bytes < c->bytes; bytes++) {
            slc_slice cut = guard_copy(&page, c->octets, bytes);
            slc_amqp_frame frame;
            size_t used = 0;
            cr_expect_eq(slc_amqp_frame_decode(cut, c->frame_max, &frame, &used, NULL),
                         SLC_ETRUNCATED);
            cr_expect_eq(used, bytes < 7 ? 7 : c->bytes, "%s cut to %zu", c->name, bytes);
        }
    }
    guard_free(&page);
}

Test(frame, unexpected_frame_text)
{
    slc_error error = {0};
    cr_expect_eq(slc_amqp_frame_unexpected(3, SLICE("abc"), &error), SLC_EUNEXPECTED);
    cr_expect_str_eq(error.text, "type 3, all octets = <<\"abc\">>");
}

Test(frame, octet_lists)
{
    char text[32];
    cr_expect_eq(slc_amqp_octets_text((slc_slice){0}, text, sizeof text), 4);
    cr_expect_str_eq(text, "<<>>");
    cr_expect_eq(slc_amqp_octets_text(SLICE("\0a\xff"), text, sizeof text), 12);
    cr_expect_str_eq(text, "<<0,97,255>>");
    cr_expect_eq(slc_amqp_octets_text(SLICE("\0a\xff"), text, 8), 12);
    cr_expect_str_eq(text, "<<0,97,");
    cr_expect_eq(slc_amqp_octets_text(SLICE("\0a\xff"), NULL, 0), 12);
    slc_amqp_octets_text_p(SLICE("a b"), text, sizeof text);
    cr_expect_str_eq(text, "<<\"a b\">>");
    slc_amqp_octets_text_p(SLICE("a\n"), text, sizeof text);
    cr_expect_str_eq(text, "<<97,10>>");
}

Test(frame, heartbeat_is_a_frame)
{
    slc_amqp_frame frame;
    size_t used;
    slc_slice input = slc_slice_of(slc_amqp_heartbeat, sizeof slc_amqp_heartbeat);
    cr_expect_eq(slc_amqp_frame_decode(input, 4096, &frame, &used, NULL), SLC_OK);
    cr_expect_eq(frame.type, SLC_AMQP_FRAME_HEARTBEAT);
    cr_expect_eq(used, 8);
}

Test(frame, reply_codes)
{
    static const struct {
        uint16_t code;
        const char *name;
        bool connection;
    } cases[] = {
        {200, "REPLY_SUCCESS", false},    {311, "CONTENT_TOO_LARGE", false},
        {312, "NO_ROUTE", false},         {313, "NO_CONSUMERS", false},
        {320, "CONNECTION_FORCED", true}, {402, "INVALID_PATH", true},
        {403, "ACCESS_REFUSED", false},   {404, "NOT_FOUND", false},
        {405, "RESOURCE_LOCKED", false},  {406, "PRECONDITION_FAILED", false},
        {501, "FRAME_ERROR", true},       {502, "SYNTAX_ERROR", true},
        {503, "COMMAND_INVALID", true},   {504, "CHANNEL_ERROR", true},
        {505, "UNEXPECTED_FRAME", true},  {506, "RESOURCE_ERROR", true},
        {530, "NOT_ALLOWED", true},       {540, "NOT_IMPLEMENTED", true},
        {541, "INTERNAL_ERROR", true},    {999, "UNKNOWN", true},
    };
    for (size_t i = 0; i < SLC_ARRAY_COUNT(cases); i++) {
        cr_expect_str_eq(slc_amqp_reply_name(cases[i].code), cases[i].name);
        cr_expect_eq(slc_amqp_reply_is_connection_error(cases[i].code), cases[i].connection);
    }
}

Test(frame, reply_text)
{
    char text[SLC_AMQP_REPLY_TEXT_CAP];
    cr_expect_str_eq(slc_amqp_reply_text(404, "no queue 'q' in vhost '/'", text),
                     "NOT_FOUND - no queue 'q' in vhost '/'");
    cr_expect_str_eq(slc_amqp_reply_text(541, "", text), "INTERNAL_ERROR");
    cr_expect_str_eq(slc_amqp_reply_text(541, NULL, text), "INTERNAL_ERROR");
    cr_expect_str_eq(slc_amqp_reply_text(404, "no queue '\xff'", text), "NOT_FOUND - no queue '?'");
}

Test(frame, reply_text_is_cut_between_characters)
{
    char text[SLC_AMQP_REPLY_TEXT_CAP];
    char long_text[512];
    for (size_t lead = 0; lead < 4; lead++) {
        // "NOT_FOUND - " has 12 octets; characters of 3 octets begin behind it and `lead` letters.
        memset(long_text, 'x', lead);
        for (size_t i = lead; i + 3 < sizeof long_text; i += 3)
            memcpy(long_text + i, "\xe2\x82\xac", 4);
        slc_amqp_reply_text(404, long_text, text);
        cr_expect(strlen(text) <= 255);
        cr_expect(strlen(text) >= 252);
        cr_expect_str_eq(text + strlen(text) - 3, "...");
        cr_expect(slc_utf8_check(slc_slice_str(text)));
        cr_expect_null(strchr(text, '?'));
    }
    memset(long_text, 'x', sizeof long_text);
    long_text[255 - 12] = '\0';
    cr_expect_eq(strlen(slc_amqp_reply_text(404, long_text, text)), 255);
    cr_expect_str_eq(text + 252, "xxx");
}

Test(frame, random_octets_are_judged_within_bounds)
{
    gen g = gen_start();
    guard page = guard_new(128);
    for (int round = 0; round < 100000; round++) {
        uint8_t octets[64];
        size_t bytes = gen_below(&g, sizeof octets);
        for (size_t i = 0; i < bytes; i++)
            octets[i] = gen_below(&g, 2) == 0 ? (uint8_t)gen_below(&g, 9) : (uint8_t)gen_u64(&g);
        slc_slice input = guard_copy(&page, octets, bytes);
        slc_amqp_frame frame;
        size_t used = 0;
        slc_error error = {0};
        slc_err rc = slc_amqp_frame_decode(input, 4096, &frame, &used, &error);
        if (rc == SLC_OK)
            cr_assert(used <= bytes && frame.payload.bytes + 8 == used, "seed %" PRIu64, g.seed);
        else if (rc == SLC_ETRUNCATED)
            cr_assert(used > bytes, "seed %" PRIu64, g.seed);
        else
            cr_assert(error.text[0] != '\0', "seed %" PRIu64, g.seed);
    }
    guard_free(&page);
}
