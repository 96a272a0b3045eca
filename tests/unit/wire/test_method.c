// Methods: layouts, round trips, refusals; the fast paths against the general ones.
// amqp-semantics 1.2, 21.
#include <criterion/criterion.h>
#include <inttypes.h>

#include "gen_method.h"
#include "wire/amqp_fast.h"
#include "wire/amqp_frame.h"

#define SLICE(literal) slc_slice_of(literal, sizeof(literal) - 1)
#define STR(literal)                                                                               \
    {                                                                                              \
        (const uint8_t *)literal, sizeof(literal) - 1                                              \
    }

enum { ROOM = 1 << 20 };

/** Layouts written down by hand, octet for octet: what the table must mean. */
static const struct {
    slc_amqp_method method;
    slc_slice payload;
} layouts[] = {
    {{.id = SLC_AMQP_CONNECTION_START,
      .connection_start = {.version_minor = 9,
                           .server_properties = STR("\1kt\1"),
                           .mechanisms = STR("PLAIN"),
                           .locales = STR("en_US")}},
     STR("\0\12\0\12\0\11\0\0\0\4\1kt\1\0\0\0\5PLAIN\0\0\0\5en_US")},
    {{.id = SLC_AMQP_CONNECTION_START_OK,
      .connection_start_ok = {.mechanism = STR("PLAIN"),
                              .response = STR("\0u\0p"),
                              .locale = STR("en_US")}},
     STR("\0\12\0\13\0\0\0\0\5PLAIN\0\0\0\4\0u\0p\5en_US")},
    {{.id = SLC_AMQP_CONNECTION_TUNE,
      .connection_tune = {.channel_max = 2047, .frame_max = 131072, .heartbeat = 60}},
     STR("\0\12\0\36\7\377\0\2\0\0\0\74")},
    {{.id = SLC_AMQP_CONNECTION_OPEN,
      .connection_open = {.virtual_host = STR("/"), .insist = true}},
     STR("\0\12\0\50\1/\0\1")},
    {{.id = SLC_AMQP_CONNECTION_OPEN_OK}, STR("\0\12\0\51\0")},
    {{.id = SLC_AMQP_CONNECTION_CLOSE,
      .connection_close =
          {.reply_code = 320, .reply_text = STR("x"), .class_id = 60, .method_id = 40}},
     STR("\0\12\0\62\1\100\1x\0\74\0\50")},
    {{.id = SLC_AMQP_CONNECTION_BLOCKED, .connection_blocked = {.reason = STR("low")}},
     STR("\0\12\0\74\3low")},
    {{.id = SLC_AMQP_CONNECTION_UPDATE_SECRET,
      .connection_update_secret = {.new_secret = STR("s"), .reason = STR("r")}},
     STR("\0\12\0\106\0\0\0\1s\1r")},
    {{.id = SLC_AMQP_CHANNEL_OPEN}, STR("\0\24\0\12\0")},
    {{.id = SLC_AMQP_CHANNEL_OPEN_OK}, STR("\0\24\0\13\0\0\0\0")},
    {{.id = SLC_AMQP_CHANNEL_FLOW, .channel_flow = {.active = true}}, STR("\0\24\0\24\1")},
    {{.id = SLC_AMQP_CHANNEL_CLOSE_OK}, STR("\0\24\0\51")},
    {{.id = SLC_AMQP_ACCESS_REQUEST,
      .access_request = {.realm = STR("/data"), .passive = true, .read = true}},
     STR("\0\36\0\12\5/data\22")},
    {{.id = SLC_AMQP_EXCHANGE_DECLARE,
      .exchange_declare = {.exchange = STR("e"),
                           .type = STR("topic"),
                           .durable = true,
                           .internal = true,
                           .arguments = STR("\1aV")}},
     STR("\0\50\0\12\0\0\1e\5topic\12\0\0\0\3\1aV")},
    {{.id = SLC_AMQP_EXCHANGE_DELETE, .exchange_delete = {.exchange = STR("e"), .nowait = true}},
     STR("\0\50\0\24\0\0\1e\2")},
    {{.id = SLC_AMQP_EXCHANGE_BIND,
      .exchange_bind = {.destination = STR("d"), .source = STR("s"), .routing_key = STR("k")}},
     STR("\0\50\0\36\0\0\1d\1s\1k\0\0\0\0\0")},
    {{.id = SLC_AMQP_EXCHANGE_UNBIND_OK}, STR("\0\50\0\63")},
    {{.id = SLC_AMQP_QUEUE_DECLARE,
      .queue_declare = {.queue = STR("q"), .passive = true, .exclusive = true, .nowait = true}},
     STR("\0\62\0\12\0\0\1q\25\0\0\0\0")},
    {{.id = SLC_AMQP_QUEUE_DECLARE_OK,
      .queue_declare_ok = {.queue = STR("q"), .message_count = 3, .consumer_count = 1}},
     STR("\0\62\0\13\1q\0\0\0\3\0\0\0\1")},
    {{.id = SLC_AMQP_QUEUE_BIND,
      .queue_bind =
          {.queue = STR("q"), .exchange = STR("e"), .routing_key = STR("k"), .nowait = true}},
     STR("\0\62\0\24\0\0\1q\1e\1k\1\0\0\0\0")},
    {{.id = SLC_AMQP_QUEUE_UNBIND,
      .queue_unbind = {.queue = STR("q"), .exchange = STR("e"), .routing_key = STR("k")}},
     STR("\0\62\0\62\0\0\1q\1e\1k\0\0\0\0")},
    {{.id = SLC_AMQP_QUEUE_PURGE, .queue_purge = {.queue = STR("q")}}, STR("\0\62\0\36\0\0\1q\0")},
    {{.id = SLC_AMQP_QUEUE_DELETE,
      .queue_delete = {.queue = STR("q"), .if_unused = true, .if_empty = true}},
     STR("\0\62\0\50\0\0\1q\3")},
    {{.id = SLC_AMQP_BASIC_QOS, .basic_qos = {.prefetch_count = 2, .global = true}},
     STR("\0\74\0\12\0\0\0\0\0\2\1")},
    {{.id = SLC_AMQP_BASIC_CONSUME,
      .basic_consume =
          {.queue = STR("q"), .consumer_tag = STR("t"), .no_ack = true, .exclusive = true}},
     STR("\0\74\0\24\0\0\1q\1t\6\0\0\0\0")},
    {{.id = SLC_AMQP_BASIC_CANCEL, .basic_cancel = {.consumer_tag = STR("t"), .nowait = true}},
     STR("\0\74\0\36\1t\1")},
    {{.id = SLC_AMQP_BASIC_PUBLISH,
      .basic_publish = {.exchange = STR("e"), .routing_key = STR("k"), .mandatory = true}},
     STR("\0\74\0\50\0\0\1e\1k\1")},
    {{.id = SLC_AMQP_BASIC_RETURN,
      .basic_return = {.reply_code = 312, .reply_text = STR("NO_ROUTE"), .routing_key = STR("k")}},
     STR("\0\74\0\62\1\70\10NO_ROUTE\0\1k")},
    {{.id = SLC_AMQP_BASIC_DELIVER,
      .basic_deliver = {.consumer_tag = STR("t"),
                        .delivery_tag = 258,
                        .redelivered = true,
                        .exchange = STR("e"),
                        .routing_key = STR("k")}},
     STR("\0\74\0\74\1t\0\0\0\0\0\0\1\2\1\1e\1k")},
    {{.id = SLC_AMQP_BASIC_GET, .basic_get = {.queue = STR("q"), .no_ack = true}},
     STR("\0\74\0\106\0\0\1q\1")},
    {{.id = SLC_AMQP_BASIC_GET_OK,
      .basic_get_ok =
          {.delivery_tag = 1, .exchange = STR("e"), .routing_key = STR("k"), .message_count = 9}},
     STR("\0\74\0\107\0\0\0\0\0\0\0\1\0\1e\1k\0\0\0\11")},
    {{.id = SLC_AMQP_BASIC_GET_EMPTY}, STR("\0\74\0\110\0")},
    {{.id = SLC_AMQP_BASIC_ACK, .basic_ack = {.delivery_tag = 7, .multiple = true}},
     STR("\0\74\0\120\0\0\0\0\0\0\0\7\1")},
    {{.id = SLC_AMQP_BASIC_REJECT, .basic_reject = {.delivery_tag = 7, .requeue = true}},
     STR("\0\74\0\132\0\0\0\0\0\0\0\7\1")},
    {{.id = SLC_AMQP_BASIC_NACK, .basic_nack = {.delivery_tag = 7, .requeue = true}},
     STR("\0\74\0\170\0\0\0\0\0\0\0\7\2")},
    {{.id = SLC_AMQP_BASIC_RECOVER, .basic_recover = {.requeue = true}}, STR("\0\74\0\156\1")},
    {{.id = SLC_AMQP_CONFIRM_SELECT, .confirm_select = {.nowait = true}}, STR("\0\125\0\12\1")},
    {{.id = SLC_AMQP_TX_COMMIT_OK}, STR("\0\132\0\25")},
};

Test(method, layouts)
{
    uint8_t out[256];
    for (size_t i = 0; i < SLC_ARRAY_COUNT(layouts); i++) {
        const slc_amqp_method *wanted = &layouts[i].method;
        const char *name = slc_amqp_method_name(wanted->id);
        cr_assert_not_null(name);
        size_t bytes = slc_amqp_method_encode(wanted, out, sizeof out);
        cr_expect(slc_slice_equal(slc_slice_of(out, bytes), layouts[i].payload), "%s", name);
        slc_amqp_method got;
        slc_error error = {0};
        cr_expect_eq(slc_amqp_method_decode(layouts[i].payload, &got, &error), SLC_OK, "%s: %s",
                     name, error.text);
        const char *difference = method_difference(&got, wanted);
        cr_expect_null(difference, "%s: %s", name, difference);
    }
}

Test(method, names_and_ids)
{
    static const struct {
        uint32_t class_id, method_id;
        const char *name;
    } cases[] = {
        {10, 10, "connection.start"},
        {10, 11, "connection.start-ok"},
        {10, 20, "connection.secure"},
        {10, 21, "connection.secure-ok"},
        {10, 30, "connection.tune"},
        {10, 31, "connection.tune-ok"},
        {10, 40, "connection.open"},
        {10, 41, "connection.open-ok"},
        {10, 50, "connection.close"},
        {10, 51, "connection.close-ok"},
        {10, 60, "connection.blocked"},
        {10, 61, "connection.unblocked"},
        {10, 70, "connection.update-secret"},
        {10, 71, "connection.update-secret-ok"},
        {20, 10, "channel.open"},
        {20, 11, "channel.open-ok"},
        {20, 20, "channel.flow"},
        {20, 21, "channel.flow-ok"},
        {20, 40, "channel.close"},
        {20, 41, "channel.close-ok"},
        {30, 10, "access.request"},
        {30, 11, "access.request-ok"},
        {40, 10, "exchange.declare"},
        {40, 11, "exchange.declare-ok"},
        {40, 20, "exchange.delete"},
        {40, 21, "exchange.delete-ok"},
        {40, 30, "exchange.bind"},
        {40, 31, "exchange.bind-ok"},
        {40, 40, "exchange.unbind"},
        {40, 51, "exchange.unbind-ok"},
        {50, 10, "queue.declare"},
        {50, 11, "queue.declare-ok"},
        {50, 20, "queue.bind"},
        {50, 21, "queue.bind-ok"},
        {50, 30, "queue.purge"},
        {50, 31, "queue.purge-ok"},
        {50, 40, "queue.delete"},
        {50, 41, "queue.delete-ok"},
        {50, 50, "queue.unbind"},
        {50, 51, "queue.unbind-ok"},
        {60, 10, "basic.qos"},
        {60, 11, "basic.qos-ok"},
        {60, 20, "basic.consume"},
        {60, 21, "basic.consume-ok"},
        {60, 30, "basic.cancel"},
        {60, 31, "basic.cancel-ok"},
        {60, 40, "basic.publish"},
        {60, 50, "basic.return"},
        {60, 60, "basic.deliver"},
        {60, 70, "basic.get"},
        {60, 71, "basic.get-ok"},
        {60, 72, "basic.get-empty"},
        {60, 80, "basic.ack"},
        {60, 90, "basic.reject"},
        {60, 100, "basic.recover-async"},
        {60, 110, "basic.recover"},
        {60, 111, "basic.recover-ok"},
        {60, 120, "basic.nack"},
        {85, 10, "confirm.select"},
        {85, 11, "confirm.select-ok"},
        {90, 10, "tx.select"},
        {90, 11, "tx.select-ok"},
        {90, 20, "tx.commit"},
        {90, 21, "tx.commit-ok"},
        {90, 30, "tx.rollback"},
        {90, 31, "tx.rollback-ok"},
    };
    for (uint32_t i = 0; i < SLC_ARRAY_COUNT(cases); i++) {
        uint32_t id = cases[i].class_id << 16 | cases[i].method_id;
        cr_expect_eq(slc_amqp_method_at(i), id, "%s", cases[i].name);
        const char *name = slc_amqp_method_name(id);
        cr_assert_not_null(name, "%s", cases[i].name);
        cr_expect_str_eq(name, cases[i].name);
        bool content = id == SLC_AMQP_BASIC_PUBLISH || id == SLC_AMQP_BASIC_RETURN ||
                       id == SLC_AMQP_BASIC_DELIVER || id == SLC_AMQP_BASIC_GET_OK;
        cr_expect_eq(slc_amqp_method_has_content(id), content, "%s", name);
    }
    cr_expect_eq(slc_amqp_method_at(SLC_ARRAY_COUNT(cases)), 0);
    cr_expect_null(slc_amqp_method_name(0));
    cr_expect_null(slc_amqp_method_name(40 << 16 | 41)); // exchange.unbind-ok is 51
    cr_expect_not(slc_amqp_method_has_content(0));
}

Test(method, random_methods_survive_a_round_trip)
{
    gen g = gen_start();
    gen_pool pool = {0};
    guard page = guard_new(ROOM);
    uint8_t *out = slc_alloc(ROOM);
    for (int round = 0; round < 100; round++) {
        for (uint32_t i = 0; slc_amqp_method_at(i) != 0; i++) {
            slc_amqp_method wanted = gen_method(&g, &pool, slc_amqp_method_at(i));
            const char *name = slc_amqp_method_name(wanted.id);
            size_t bytes = slc_amqp_method_bytes(&wanted);
            cr_assert_eq(slc_amqp_method_encode(&wanted, out, bytes - 1), 0, "%s", name);
            cr_assert_eq(slc_amqp_method_encode(&wanted, out, bytes), bytes, "%s", name);
            slc_slice payload = guard_copy(&page, out, bytes);
            slc_amqp_method got;
            slc_error error = {0};
            cr_assert_eq(slc_amqp_method_decode(payload, &got, &error), SLC_OK,
                         "seed %" PRIu64 " %s: %s", g.seed, name, error.text);
            const char *difference = method_difference(&got, &wanted);
            cr_assert_null(difference, "seed %" PRIu64 " %s: %s", g.seed, name, difference);
            gen_pool_free(&pool);
        }
    }
    slc_free(out);
    guard_free(&page);
}

Test(method, every_truncation_of_every_method_is_refused)
{
    gen g = gen_start();
    gen_pool pool = {0};
    guard page = guard_new(ROOM);
    uint8_t *out = slc_alloc(ROOM);
    for (int round = 0; round < 3; round++) {
        for (uint32_t i = 0; slc_amqp_method_at(i) != 0; i++) {
            slc_amqp_method method = gen_method(&g, &pool, slc_amqp_method_at(i));
            const char *name = slc_amqp_method_name(method.id);
            size_t whole = slc_amqp_method_encode(&method, out, ROOM - 1);
            for (size_t bytes = 0; bytes < whole; bytes++) {
                slc_amqp_method got;
                slc_error error = {0};
                slc_err rc = slc_amqp_method_decode(guard_copy(&page, out, bytes), &got, &error);
                cr_assert_eq(rc, SLC_EFRAME, "seed %" PRIu64 " %s cut to %zu: %s", g.seed, name,
                             bytes, slc_err_name(rc));
                cr_assert_eq(got.id, bytes < 4 ? 0 : method.id);
                cr_assert_eq(strncmp(error.text, "cannot decode <<", 16), 0, "%s", error.text);
            }
            out[whole] = 0; // one octet too many
            slc_amqp_method got;
            cr_assert_eq(slc_amqp_method_decode(guard_copy(&page, out, whole + 1), &got, NULL),
                         SLC_EFRAME, "%s", name);
            gen_pool_free(&pool);
        }
    }
    slc_free(out);
    guard_free(&page);
}

Test(method, refusals)
{
    static const struct {
        slc_slice payload;
        slc_err rc;
        const char *text;
    } cases[] = {
        {STR(""), SLC_EFRAME, "cannot decode <<>>"},
        {STR("\0\74\1\1"), SLC_ECOMMAND, "unknown method 257 of class 60"},
        {STR("\0\1\0\1"), SLC_ECOMMAND, "unknown method 1 of class 1"},
        {STR("\0\62\0\12\0\0\5q"), SLC_EFRAME, "cannot decode <<0,0,5,113>>"},
        {STR("\0\132\0\12\1"), SLC_EFRAME, "cannot decode <<1>>"},
        {STR("\0\62\0\12\0\0\1\377\0\0\0\0\0"), SLC_EFRAME, "Malformed UTF-8 in shortstr"},
        {STR("\0\62\0\12\0\0\1q\0\0\0\0\3\1a?"), SLC_ESYNTAX,
         "field 'a' has the unknown value type 63"},
        {STR("\0\62\0\12\0\0\1q\0\0\0\0\4\1aS\0"), SLC_ESYNTAX,
         "field 'a' is longer than its table"},
        // The table's own length is the method's affair.
        {STR("\0\62\0\12\0\0\1q\0\0\0\0\4\1aV"), SLC_EFRAME,
         "cannot decode <<0,0,1,113,0,0,0,0,4,1,97,86>>"},
        // Octets of a routing key are the publisher's affair.
        {STR("\0\74\0\50\0\0\1\377\1\376\0"), SLC_OK, ""},
    };
    for (size_t i = 0; i < SLC_ARRAY_COUNT(cases); i++) {
        slc_amqp_method method;
        slc_error error = {0};
        slc_err rc = slc_amqp_method_decode(cases[i].payload, &method, &error);
        cr_expect_eq(rc, cases[i].rc, "case %zu: %s", i, slc_err_name(rc));
        cr_expect_str_eq(error.text, cases[i].text, "case %zu: %s", i, error.text);
    }
}

Test(method, long_refusals_are_cut_as_rabbitmq_cuts_them)
{
    uint8_t payload[204] = {0, 90, 0, 10};
    slc_amqp_method method;
    slc_error error = {0};
    char text[SLC_AMQP_REPLY_TEXT_CAP];
    char wanted[SLC_AMQP_REPLY_TEXT_CAP] = "FRAME_ERROR - cannot decode <<0";
    cr_expect_eq(slc_amqp_method_decode(slc_slice_of(payload, sizeof payload), &method, &error),
                 SLC_EFRAME);
    slc_amqp_reply_text(SLC_AMQP_FRAME_ERROR, error.text, text);
    while (strlen(wanted) < 252)
        strcat(wanted, ",0");
    strcpy(wanted + 252, "...");
    cr_expect_str_eq(text, wanted);
}

Test(method, unused_bits_are_ignored)
{
    slc_amqp_method method;
    cr_expect_eq(slc_amqp_method_decode(SLICE("\0\62\0\36\0\0\1q\376"), &method, NULL), SLC_OK);
    cr_expect_not(method.queue_purge.nowait);
}

Test(method, encode_refuses_what_does_not_fit)
{
    uint8_t out[1024];
    uint8_t name[256] = {0};
    slc_amqp_method method = {.id = SLC_AMQP_QUEUE_PURGE,
                              .queue_purge = {.queue = {name, sizeof name}}};
    cr_expect_eq(slc_amqp_method_encode(&method, out, sizeof out), 0);
    method.queue_purge.queue.bytes = 255;
    cr_expect_eq(slc_amqp_method_encode(&method, out, sizeof out), 4 + 2 + 256 + 1);
    method.id = 1;
    cr_expect_eq(slc_amqp_method_encode(&method, out, sizeof out), 0);
    cr_expect_eq(slc_amqp_method_bytes(&method), 0);
    cr_expect_eq(slc_amqp_method_frame_bytes(&method), 0);
    cr_expect_eq(slc_amqp_method_frame_encode(1, &method, out, sizeof out), 0);
}

Test(method, whole_frames)
{
    uint8_t out[64];
    slc_amqp_method method = {.id = SLC_AMQP_TX_SELECT_OK};
    cr_expect_eq(slc_amqp_method_frame_bytes(&method), 12);
    for (size_t cap = 0; cap < 12; cap++)
        cr_expect_eq(slc_amqp_method_frame_encode(258, &method, out, cap), 0);
    cr_expect_eq(slc_amqp_method_frame_encode(258, &method, out, sizeof out), 12);
    cr_expect_arr_eq(out, "\1\1\2\0\0\0\4\0\132\0\13\xce", 12);
}

// ---- fast paths

/** Fast decode of a payload must say what the general decode says, or nothing. */
static void fast_agrees(slc_slice payload, uint64_t seed)
{
    slc_amqp_method slow = {0};
    slc_amqp_method fast = {0};
    bool decoded = slc_amqp_method_decode(payload, &slow, NULL) == SLC_OK;
    bool taken = false;
    fast.id = slow.id;
    switch (slow.id) {
    case SLC_AMQP_BASIC_PUBLISH:
        taken = slc_amqp_fast_publish(payload, &fast.basic_publish);
        break;
    case SLC_AMQP_BASIC_ACK:
        taken = slc_amqp_fast_ack(payload, &fast.basic_ack);
        break;
    case SLC_AMQP_BASIC_NACK:
        taken = slc_amqp_fast_nack(payload, &fast.basic_nack);
        break;
    case SLC_AMQP_BASIC_REJECT:
        taken = slc_amqp_fast_reject(payload, &fast.basic_reject);
        break;
    default:
        return;
    }
    cr_assert_eq(taken, decoded, "seed %" PRIu64 " %s", seed, slc_amqp_method_name(slow.id));
    const char *difference = taken ? method_difference(&slow, &fast) : NULL;
    cr_assert_null(difference, "seed %" PRIu64 " %s", seed, difference);
}

Test(method, fast_decodes_agree_with_the_general_decode)
{
    static const uint32_t ids[] = {SLC_AMQP_BASIC_PUBLISH, SLC_AMQP_BASIC_ACK, SLC_AMQP_BASIC_NACK,
                                   SLC_AMQP_BASIC_REJECT};
    gen g = gen_start();
    gen_pool pool = {0};
    guard page = guard_new(2048);
    uint8_t out[1024];
    for (int round = 0; round < 2000; round++) {
        slc_amqp_method method = gen_method(&g, &pool, ids[round % 4]);
        size_t whole = slc_amqp_method_encode(&method, out, sizeof out);
        cr_assert(whole > 0);
        fast_agrees(guard_copy(&page, out, whole), g.seed);
        fast_agrees(guard_copy(&page, out, 4 + gen_below(&g, (uint32_t)whole - 4)), g.seed);
        out[whole] = (uint8_t)gen_u64(&g);
        fast_agrees(guard_copy(&page, out, whole + 1), g.seed);
        size_t at = 4 + gen_below(&g, (uint32_t)whole - 4);
        out[at] = (uint8_t)gen_u64(&g);
        fast_agrees(guard_copy(&page, out, whole), g.seed);
        gen_pool_free(&pool);
    }
    guard_free(&page);
}

Test(method, fast_settlement_frames_are_the_general_ones)
{
    gen g = gen_start();
    for (int round = 0; round < 1000; round++) {
        uint8_t fast[SLC_AMQP_ACK_FRAME_BYTES];
        uint8_t slow[64];
        uint16_t channel = (uint16_t)gen_u64(&g);
        uint64_t tag = gen_u64(&g);
        bool multiple = (gen_u64(&g) & 1) != 0;
        bool requeue = (gen_u64(&g) & 1) != 0;
        slc_amqp_method ack = {.id = SLC_AMQP_BASIC_ACK, .basic_ack = {tag, multiple}};
        cr_assert_eq(slc_amqp_fast_ack_put(fast, channel, tag, multiple), fast + sizeof fast);
        cr_assert_eq(slc_amqp_method_frame_encode(channel, &ack, slow, sizeof slow), sizeof fast);
        cr_assert_arr_eq(fast, slow, sizeof fast);
        slc_amqp_method nack = {.id = SLC_AMQP_BASIC_NACK, .basic_nack = {tag, multiple, requeue}};
        cr_assert_eq(slc_amqp_fast_nack_put(fast, channel, tag, multiple, requeue),
                     fast + sizeof fast);
        cr_assert_eq(slc_amqp_method_frame_encode(channel, &nack, slow, sizeof slow), sizeof fast);
        cr_assert_arr_eq(fast, slow, sizeof fast);
    }
}

Test(method, fast_deliveries_are_the_general_frames)
{
    gen g = gen_start();
    gen_pool pool = {0};
    enum { CAP = 1 << 16 };
    uint8_t *fast = slc_alloc(CAP);
    uint8_t *slow = slc_alloc(CAP);
    uint8_t *list = slc_alloc(CAP);
    for (int round = 0; round < 1000; round++) {
        uint16_t channel = (uint16_t)gen_u64(&g);
        slc_amqp_method deliver = gen_method(&g, &pool, SLC_AMQP_BASIC_DELIVER);
        slc_amqp_props props = gen_props(&g, &pool);
        uint64_t body_bytes = gen_u64(&g);
        size_t list_bytes = slc_amqp_props_encode(&props, list, CAP);
        cr_assert(list_bytes > 0);
        const slc_amqp_basic_deliver *d = &deliver.basic_deliver;
        uint8_t *end = slc_amqp_fast_deliver_put(fast, channel, d->consumer_tag, d->delivery_tag,
                                                 d->redelivered, d->exchange, d->routing_key,
                                                 slc_slice_of(list, list_bytes), body_bytes);
        size_t method_bytes = slc_amqp_method_frame_encode(channel, &deliver, slow, CAP);
        size_t header_bytes =
            slc_amqp_header_frame_encode(channel, body_bytes, slc_slice_of(list, list_bytes),
                                         slow + method_bytes, CAP - method_bytes);
        cr_assert_eq(header_bytes, slc_amqp_header_frame_bytes(list_bytes));
        cr_assert_eq((size_t)(end - fast), method_bytes + header_bytes, "seed %" PRIu64, g.seed);
        cr_assert_eq((size_t)(end - fast),
                     slc_amqp_fast_deliver_bytes(d->consumer_tag.bytes, d->exchange.bytes,
                                                 d->routing_key.bytes, list_bytes));
        cr_assert_arr_eq(fast, slow, method_bytes + header_bytes, "seed %" PRIu64, g.seed);
        gen_pool_free(&pool);
    }
    slc_free(fast);
    slc_free(slow);
    slc_free(list);
}

Test(method, body_frames)
{
    uint8_t head[7];
    cr_expect_eq(slc_amqp_fast_body_head_put(head, 258, 66051), head + 7);
    cr_expect_arr_eq(head, "\3\1\2\0\1\2\3", 7);
    cr_expect_eq(slc_amqp_body_frame_bytes_max(4096), 4088);
    cr_expect_eq(slc_amqp_body_frame_bytes_max(0), UINT32_MAX);
}
