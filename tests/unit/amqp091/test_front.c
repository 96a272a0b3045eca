/* The front end over a real core: framing, content over any boundary, errors, alarms, garbage. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <unistd.h>

#include "fixture.h"

static void setup(void)
{
    fixture_start(NULL);
}

TestSuite(front, .init = setup, .fini = fixture_stop, .timeout = 240);

static uint8_t octet(size_t index)
{
    return (uint8_t)(index * 13 + index / 255);
}

static uint8_t *pattern(size_t bytes)
{
    uint8_t *data = slc_alloc(bytes + 1);
    for (size_t i = 0; i < bytes; i++)
        data[i] = octet(i);
    return data;
}

static void expect_body(client *c, const char *queue, size_t frame_body_max, size_t bytes)
{
    size_t got_bytes = 0;
    uint8_t *got = client_get(c, 1, queue, frame_body_max, &got_bytes);
    uint8_t *want = pattern(bytes);
    cr_assert_not_null(got);
    cr_assert_eq(got_bytes, bytes);
    cr_assert_eq(memcmp(got, want, bytes), 0);
    slc_free(got);
    slc_free(want);
}

Test(front, a_foreign_header_is_answered_with_ours_and_closed)
{
    client *c = client_new();
    client_send_bytes(c, "GET / HTTP/1.1\r\n\r\n", 18);
    for (int i = 0; i < 10; i++)
        fixture_turn();
    uint8_t answer[16];
    cr_assert_eq(read(c->fd, answer, sizeof answer), 8);
    cr_expect_arr_eq(answer, slc_amqp_header_ours, 8);
    cr_expect_eq(read(c->fd, answer, sizeof answer), 0);
    client_free(c);
}

struct size_case {
    size_t bytes;
};

ParameterizedTestParameters(front_size, output_is_split_at_frame_max)
{
    static struct size_case cases[] = {{0},    {1},    {2047}, {2048},  {2049},  {4087}, {4088},
                                       {4089}, {8176}, {8177}, {10000}, {65536}, {99999}};
    return cr_make_param_array(struct size_case, cases, sizeof cases / sizeof cases[0]);
}

ParameterizedTest(struct size_case *size, front_size, output_is_split_at_frame_max, .init = setup,
                  .fini = fixture_stop, .timeout = 240)
{
    uint8_t *body = pattern(size->bytes);
    client *large = client_open(0);
    client_channel(large, 1);
    client_queue(large, 1, "q");
    for (int i = 0; i < 2; i++)
        client_publish(large, 1, "q", NULL, slc_slice_of(body, size->bytes));
    expect_body(large, "q", 131064, size->bytes);
    client *small = client_open(4096);
    client_channel(small, 1);
    expect_body(small, "q", 4088, size->bytes);
    client_free(small);
    client_free(large);
    slc_free(body);
}

/** Publishing with its frames, as octets. */
static size_t publish_octets(uint8_t *out, size_t cap, size_t body_bytes, size_t frame_body_max)
{
    slc_amqp_method publish = {
        .id = SLC_AMQP_BASIC_PUBLISH,
        .basic_publish = {.routing_key = slc_slice_str("q")},
    };
    slc_amqp_props props = {
        .flags =
            SLC_AMQP_PROP_CONTENT_TYPE | SLC_AMQP_PROP_DELIVERY_MODE | SLC_AMQP_PROP_MESSAGE_ID,
        .delivery_mode = 1,
        .content_type = slc_slice_str("text/plain"),
        .message_id = slc_slice_str("m1"),
    };
    uint8_t list[200];
    size_t list_bytes = slc_amqp_props_encode(&props, list, sizeof list);
    size_t at = slc_amqp_method_frame_encode(1, &publish, out, cap);
    at += slc_amqp_header_frame_encode(1, body_bytes, slc_slice_of(list, list_bytes), out + at,
                                       cap - at);
    for (size_t done = 0; done < body_bytes;) {
        size_t part = body_bytes - done < frame_body_max ? body_bytes - done : frame_body_max;
        slc_amqp_frame_head_encode(out + at, SLC_AMQP_FRAME_BODY, 1, (uint32_t)part);
        at += SLC_AMQP_FRAME_HEAD_BYTES;
        for (size_t i = 0; i < part; i++)
            out[at++] = octet(done + i);
        out[at++] = SLC_AMQP_FRAME_END;
        done += part;
    }
    return at;
}

Test(front, a_publish_may_be_cut_anywhere)
{
    uint8_t octets[1000];
    client *c = client_open(0);
    client_channel(c, 1);
    client_queue(c, 1, "q");
    size_t bytes = publish_octets(octets, sizeof octets, 100, 64);
    for (size_t cut = 1; cut < bytes; cut++) {
        client_send_bytes(c, octets, cut);
        fixture_turn();
        client_send_bytes(c, octets + cut, bytes - cut);
        expect_body(c, "q", 131064, 100);
    }
    for (size_t i = 0; i < bytes; i++) // and everywhere at once
        client_send_bytes(c, octets + i, 1);
    expect_body(c, "q", 131064, 100);
    client_free(c);
}

Test(front, large_bodies_come_whole_through_the_sink)
{
    uint8_t *octets = slc_alloc(200000);
    client *c = client_open(0);
    client_channel(c, 1);
    client_queue(c, 1, "q");
    size_t bytes = publish_octets(octets, 200000, 99000, 33333);
    static const size_t pieces[] = {997, 4096, 20011, 65536};
    for (size_t p = 0; p < SLC_ARRAY_COUNT(pieces); p++) {
        for (size_t sent = 0; sent < bytes; sent += pieces[p])
            client_send_bytes(c, octets + sent,
                              bytes - sent < pieces[p] ? bytes - sent : pieces[p]);
        expect_body(c, "q", 131064, 99000);
    }
    client_free(c);
    slc_free(octets);
}

Test(front, channels_may_interleave_inside_a_content)
{
    slc_amqp_method publish = {.id = SLC_AMQP_BASIC_PUBLISH,
                               .basic_publish = {.routing_key = slc_slice_str("q")}};
    slc_amqp_method qos = {.id = SLC_AMQP_BASIC_QOS};
    uint8_t *body = pattern(6);
    uint8_t header[64];
    static const uint8_t no_props[2] = {0};
    client *c = client_open(0);
    client_channel(c, 1);
    client_channel(c, 2);
    client_queue(c, 1, "q");
    size_t bytes =
        slc_amqp_header_frame_encode(1, 6, slc_slice_of(no_props, 2), header, sizeof header);
    client_send(c, 1, &publish);
    client_send(c, 2, &qos);
    client_send_bytes(c, header, bytes);
    client_send(c, 2, &qos);
    client_send_frame(c, SLC_AMQP_FRAME_BODY, 1, slc_slice_of(body, 3));
    client_send(c, 2, &qos);
    client_send_frame(c, SLC_AMQP_FRAME_BODY, 1, slc_slice_of(body + 3, 3));
    for (int i = 0; i < 3; i++)
        (void)client_expect(c, 2, SLC_AMQP_BASIC_QOS_OK);
    expect_body(c, "q", 131064, 6);
    client_free(c);
    slc_free(body);
}

struct refused_case {
    char expiration[24];
    char text[100];
};

ParameterizedTestParameters(front_expiration, is_judged)
{
    static struct refused_case cases[] = {
        {"", "invalid expiration '': no_integer"},
        {"abc", "invalid expiration 'abc': no_integer"},
        {"10x", "invalid expiration '10x': {leftover_string,\"x\"}"},
        {"-1", "invalid expiration '-1': {value_negative,-1}"},
        {"315360000001", "invalid expiration '315360000001': {value_too_large,315360000001}"},
        {"99999999999999999999",
         "invalid expiration '99999999999999999999': {value_too_large,99999999999999999999}"},
    };
    return cr_make_param_array(struct refused_case, cases, sizeof cases / sizeof cases[0]);
}

ParameterizedTest(struct refused_case *r, front_expiration, is_judged, .init = setup,
                  .fini = fixture_stop, .timeout = 240)
{
    char want[128];
    slc_amqp_props props = {.flags = SLC_AMQP_PROP_EXPIRATION,
                            .expiration = slc_slice_str(r->expiration)};
    client *c = client_open(0);
    client_channel(c, 1);
    client_publish(c, 1, "q", &props, slc_slice_str("body"));
    const slc_amqp_channel_close *close =
        &client_expect(c, 1, SLC_AMQP_CHANNEL_CLOSE)->channel_close;
    snprintf(want, sizeof want, "PRECONDITION_FAILED - %s", r->text);
    cr_expect_eq(close->reply_code, 406);
    cr_expect_eq(close->class_id, 60);
    cr_expect_eq(close->method_id, 40);
    cr_expect_geq(close->reply_text.bytes, strlen(want));
    cr_expect_eq(memcmp(close->reply_text.data, want, strlen(want)), 0, "%.*s",
                 SLC_SLICE_FMT(close->reply_text));
    client_free(c);
}

Test(front, a_message_too_large_is_dropped_then_refused_and_the_next_channel_works)
{
    slc_amqp_method close_ok = {.id = SLC_AMQP_CHANNEL_CLOSE_OK};
    uint8_t *body = pattern(100001);
    uint64_t before = slc_message_bytes_alive();
    client *c = client_open(0);
    client_channel(c, 1);
    client_publish(c, 1, "", NULL, slc_slice_of(body, 100001));
    const slc_amqp_channel_close *close =
        &client_expect(c, 1, SLC_AMQP_CHANNEL_CLOSE)->channel_close;
    cr_expect(slc_slice_is(close->reply_text,
                           "PRECONDITION_FAILED - message size 100001 is larger than configured "
                           "max size 100000"));
    cr_expect_eq(slc_message_bytes_alive(), before);
    client_send(c, 1, &close_ok);
    client_channel(c, 1);
    client_queue(c, 1, "q");
    client_publish(c, 1, "q", NULL, slc_slice_of(body, 10));
    expect_body(c, "q", 131064, 10);
    client_free(c);
    slc_free(body);
}

struct fatal_case {
    uint8_t octets[24];
    size_t bytes;
    uint16_t code;
};

ParameterizedTestParameters(front_fatal, frames_get_their_code)
{
    static struct fatal_case cases[] = {
        {{8, 0, 0, 0, 0, 0, 0, 0}, 8, 501},          // wrong end octet
        {{8, 0, 1, 0, 0, 0, 0, 0xCE}, 8, 505},       // heartbeat off channel 0
        {{8, 0, 0, 0, 0, 0, 1, 0, 0xCE}, 9, 501},    // heartbeat with a payload
        {{99, 0, 0, 0, 0, 0, 1, 0, 0xCE}, 9, 501},   // unknown type
        {{1, 0, 0, 0x7F, 0xFF, 0xFF, 0xFF}, 7, 501}, // 2 GiB
        {{3, 0, 1, 0x7F, 0xFF, 0xFF, 0xFF}, 7, 501}, // the same as a body
        {{3, 0, 1, 0, 0, 0, 1, 0, 0xCE}, 9, 505},    // body without a publish
        {{2, 0, 1, 0, 0, 0, 14, 0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xCE},
         22,
         505},                                                   // header without a publish
        {{3, 0, 0, 0, 0, 0, 1, 0, 0xCE}, 9, 505},                // content on channel 0
        {{3, 0, 9, 0, 0, 0, 1, 0, 0xCE}, 9, 504},                // channel that is not open
        {{1, 0, 1, 0, 0, 0, 4, 0, 77, 0, 1, 0xCE}, 12, 503},     // unknown method
        {{1, 0, 1, 0, 0, 0, 5, 0, 60, 0, 80, 1, 0xCE}, 13, 501}, // arguments missing
        {{1, 0, 1, 0, 0, 0, 5, 0, 20, 0, 10, 0, 0xCE}, 13, 504}, // second channel.open
        {{1, 0, 1, 0, 0, 0, 4, 0, 10, 0, 51, 0xCE}, 12, 503},    // connection class on a channel
        {{1, 0, 1, 0, 0, 0, 9, 0, 60, 0, 40, 0, 0, 0, 0, 2, 0xCE}, 17, 540}, // immediate
    };
    return cr_make_param_array(struct fatal_case, cases, sizeof cases / sizeof cases[0]);
}

ParameterizedTest(struct fatal_case *f, front_fatal, frames_get_their_code, .init = setup,
                  .fini = fixture_stop, .timeout = 240)
{
    client *c = client_open(0);
    client_channel(c, 1);
    client_send_bytes(c, f->octets, f->bytes);
    const slc_amqp_connection_close *close =
        &client_expect(c, 0, SLC_AMQP_CONNECTION_CLOSE)->connection_close;
    cr_expect_eq(close->reply_code, f->code, "wanted %u, got %u: %.*s", f->code, close->reply_code,
                 SLC_SLICE_FMT(close->reply_text));
    slc_amqp_method close_ok = {.id = SLC_AMQP_CONNECTION_CLOSE_OK};
    client_send(c, 0, &close_ok);
    client_expect_eof(c); // at once, or after the silence that 501 costs
    client_free(c);
}

Test(front, an_alarm_blocks_publishers_and_nobody_else)
{
    client *publisher = client_open(0);
    client *reader = client_open(0);
    uint8_t *body = pattern(5);
    client_channel(publisher, 1);
    client_channel(reader, 1);
    client_queue(reader, 1, "q");
    slc_broker_pressure(fx.broker, true, false);
    fixture_turn();
    cr_expect(client_quiet(publisher), "it has not published yet");
    client_publish(publisher, 1, "q", NULL, slc_slice_of(body, 5));
    client_publish(publisher, 1, "q", NULL, slc_slice_of(body, 5));
    const slc_amqp_method *blocked = client_expect(publisher, 0, SLC_AMQP_CONNECTION_BLOCKED);
    cr_expect(slc_slice_is(blocked->connection_blocked.reason, "low on memory"));
    cr_expect(client_quiet(publisher), "told once");
    size_t bytes;
    cr_expect_null(client_get(reader, 1, "q", 131064, &bytes));
    slc_broker_pressure(fx.broker, false, false);
    (void)client_expect(publisher, 0, SLC_AMQP_CONNECTION_UNBLOCKED);
    cr_expect(client_quiet(publisher));
    expect_body(reader, "q", 131064, 5);
    expect_body(reader, "q", 131064, 5);
    client_free(publisher);
    client_free(reader);
    slc_free(body);
}

Test(front, a_durable_declare_waits_and_what_is_pipelined_behind_it_too)
{
    slc_amqp_method declare = {
        .id = SLC_AMQP_QUEUE_DECLARE,
        .queue_declare = {.queue = slc_slice_str("d"), .durable = true},
    };
    slc_amqp_method qos = {.id = SLC_AMQP_BASIC_QOS};
    client *c = client_open(0);
    client_channel(c, 1);
    client_send(c, 1, &declare);
    client_send(c, 1, &qos);
    client_send(c, 1, &declare);
    cr_expect(
        slc_slice_is(client_expect(c, 1, SLC_AMQP_QUEUE_DECLARE_OK)->queue_declare_ok.queue, "d"));
    (void)client_expect(c, 1, SLC_AMQP_BASIC_QOS_OK);
    (void)client_expect(c, 1, SLC_AMQP_QUEUE_DECLARE_OK);
    client_free(c);
}

static void stopped(void *arg)
{
    *(bool *)arg = true;
}

Test(front, shutdown_closes_everybody_with_320)
{
    bool done = false;
    slc_amqp_method close_ok = {.id = SLC_AMQP_CONNECTION_CLOSE_OK};
    client *polite = client_open(0);
    client *rude = client_open(0);
    client *early = client_new();
    client_channel(polite, 1);
    slc_amqp_quiesce(fx.server);
    slc_amqp_shutdown(fx.server, "shutdown", 200, stopped, &done);
    const slc_amqp_connection_close *close =
        &client_expect(polite, 0, SLC_AMQP_CONNECTION_CLOSE)->connection_close;
    cr_expect_eq(close->reply_code, 320);
    cr_expect(slc_slice_is(
        close->reply_text,
        "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'"));
    client_expect_eof(early);
    (void)client_expect(rude, 0, SLC_AMQP_CONNECTION_CLOSE);
    cr_expect_not(done);
    client_send(polite, 0, &close_ok);
    client_expect_eof(polite);
    client_expect_eof(rude); // cut off
    for (int i = 0; i < 5; i++)
        fixture_turn();
    cr_expect(done);
    cr_expect_eq(slc_amqp_connections(fx.server), 0);
    client_free(polite);
    client_free(rude);
    client_free(early);
}

/** Streams of valid frames with octets changed, dropped and doubled: never more than the end of that one connection. */
Test(front, garbage_ends_only_its_own_connection)
{
    uint32_t seed = 20261122;
    uint8_t octets[4000];
    client *witness = client_open(0);
    client_channel(witness, 1);
    client_queue(witness, 1, "q");
    for (int round = 0; round < 300; round++) {
        client *c = client_open(0);
        client_channel(c, 1);
        size_t bytes = 0;
        while (bytes < 1500)
            bytes += publish_octets(octets + bytes, sizeof octets - bytes, bytes % 300, 100);
        for (int hit = 0; hit < 1 + round % 4; hit++) {
            seed = seed * 1664525 + 1013904223;
            size_t at = (seed >> 8) % bytes;
            if (seed % 3 == 0)
                octets[at] = (uint8_t)(seed >> 24);
            else if (seed % 3 == 1)
                memmove(octets + at, octets + at + 1, --bytes - at);
            else
                octets[at] ^= (uint8_t)(1 << (seed >> 27) % 8);
        }
        client_send_bytes(c, octets, bytes);
        for (int i = 0; i < 3; i++)
            fixture_turn();
        client_free(c);
    }
    slc_amqp_method purge = {.id = SLC_AMQP_QUEUE_PURGE,
                             .queue_purge = {.queue = slc_slice_str("q")}};
    client_send(witness, 1, &purge);
    (void)client_expect(witness, 1, SLC_AMQP_QUEUE_PURGE_OK);
    client_free(witness);
}
