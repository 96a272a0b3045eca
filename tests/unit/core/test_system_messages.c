// What the broker publishes itself: the firehose, events, lines of the log. @spec amqp-semantics 6.2
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/event.h"
#include "core/internal.h"
#include "core/properties.h"
#include "core/system_message.h"
#include "core/trace.h"
#include "fake_world.h"

TestSuite(system_messages, .timeout = 60);

static slc_vhost *vhost(fake_world *w)
{
    return slc_broker_vhost(fake_broker(w), slc_slice_str("/"));
}

/** The next message of a queue; a reference, NULL: none. */
static slc_message *take(fake_world *w, slc_session *s, const char *queue)
{
    slc_got got;
    slc_error error = {0};
    slc_err rc;
    while ((rc = slc_session_get(s, slc_slice_str(queue), true, &got, &error)) == SLC_EPENDING)
        fake_turn(w);
    cr_assert(eq(int, rc, SLC_OK), "%s", error.text);
    return got.message;
}

/** "key body | key body" of all that is in a queue. */
static const char *contents(fake_world *w, slc_session *s, const char *queue, bool traced)
{
    static char text[4096];
    size_t n = 0;
    text[0] = 0;
    slc_vhost_trace(vhost(w), false); // looking must not be seen
    for (slc_message *m; (m = take(w, s, queue)) != NULL; slc_message_unref(m)) {
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%.*s %.*s", n > 0 ? " | " : "",
                              SLC_SLICE_FMT(slc_message_key(m)), (int)m->body_bytes,
                              (const char *)slc_message_body(m));
    }
    slc_vhost_trace(vhost(w), traced);
    return text;
}

static bool header(const slc_message *m, const char *name, slc_value *value)
{
    return slc_table_find(slc_message_headers(m), slc_slice_str(name), value);
}

static void expect_text(const slc_message *m, const char *name, const char *want)
{
    slc_value value;
    cr_assert(header(m, name, &value), "no %s", name);
    cr_expect(slc_slice_is(value.bytes, want), "%s is %.*s", name, SLC_SLICE_FMT(value.bytes));
}

/* ---- firehose ---- */

Test(system_messages, each_publish_and_delivery_is_copied_once)
{
    fake_world *w = fake_world_new();
    slc_session *s = fake_session(fake_client_open(w));
    fake_queue(w, s, "q", "");
    fake_queue(w, s, "hose", "");
    fake_bind(w, s, "hose", "amq.rabbitmq.trace", "#");
    fake_publish(s, "", "q", "before", "");
    cr_expect(eq(str, (char *)contents(w, s, "hose", true), ""));
    fake_publish(s, "", "q", "m1", "");
    slc_message_unref(take(w, s, "q"));
    slc_message_unref(take(w, s, "q"));
    fake_consume(s, "q", "c", "n");
    fake_turn(w);
    fake_publish(s, "", "q", "m2", "");
    fake_turn(w);
    cr_expect(eq(str, (char *)contents(w, s, "hose", false),
                 "publish. m1 | deliver.q before | deliver.q m1 | publish. m2 | deliver.q m2"));
    fake_publish(s, "", "q", "after", "");
    fake_turn(w);
    cr_expect(eq(str, (char *)contents(w, s, "hose", false), ""));
    fake_world_free(w);
}

// Queue "both" has its position for m when the delivery to the consumer of "fast" is traced, and gets the copy too.
Test(system_messages, a_copy_never_overtakes_the_message_it_was_made_from)
{
    fake_world *w = fake_world_new();
    slc_session *s = fake_session(fake_client_open(w));
    fake_exchange(w, s, "x", "fanout", "");
    fake_queue(w, s, "both", "d");
    fake_queue(w, s, "fast", "d");
    fake_bind(w, s, "both", "x", "");
    fake_bind(w, s, "fast", "x", "");
    fake_bind(w, s, "both", "amq.rabbitmq.trace", "#");
    fake_consume(s, "fast", "c", "n");
    fake_turn(w);
    slc_vhost_trace(vhost(w), true);
    fake_publish(s, "x", "k", "m", "p");
    fake_turn(w);
    cr_expect(eq(str, (char *)contents(w, s, "both", false), "publish.x m | k m | deliver.fast m"));
    fake_world_free(w);
}

Test(system_messages, a_publish_is_traced_with_what_is_known_of_it)
{
    fake_world *w = fake_world_new();
    slc_session *s = fake_session(fake_client_open(w));
    fake_exchange(w, s, "x", "fanout", "");
    fake_queue(w, s, "a", "");
    fake_queue(w, s, "b", "");
    fake_bind(w, s, "a", "x", "");
    fake_bind(w, s, "b", "x", "");
    fake_queue(w, s, "hose", "");
    fake_bind(w, s, "hose", "amq.rabbitmq.trace", "publish.#");
    slc_vhost_trace(vhost(w), true);

    slc_table_builder b = {0};
    slc_table_open(&b, "CC", SLC_TYPE_ARRAY);
    slc_table_put_text(&b, NULL, "c1");
    slc_table_put_text(&b, NULL, "c2");
    slc_table_close(&b);
    slc_slice headers = slc_table_builder_content(&b);
    slc_buffer props = {0};
    uint8_t head[] = {0x30, 0x40, 0,
                      0,    0,    (uint8_t)headers.bytes}; // headers, delivery-mode, timestamp
    uint8_t rest[] = {2, 0, 0, 0, 1, 0, 0, 0, 0};
    slc_buffer_put(&props, head, sizeof head);
    slc_buffer_put(&props, headers.data, headers.bytes);
    slc_buffer_put(&props, rest, sizeof rest);
    slc_message *m = slc_message_new(slc_slice_str("x"), slc_slice_str("key"),
                                     slc_buffer_slice(&props), 0, true);
    cr_assert(eq(int, slc_session_publish(s, m, headers, false, NULL), SLC_OK));

    slc_message *copy = take(w, s, "hose");
    cr_assert(ne(ptr, copy, NULL));
    cr_expect(slc_slice_is(slc_message_key(copy), "publish.x"));
    cr_expect(not(copy->persistent));
    expect_text(copy, "exchange_name", "x");
    expect_text(copy, "node", "sluice@test");
    expect_text(copy, "vhost", "/");
    slc_buffer text = {0};
    slc_table_json(slc_message_headers(copy), &text);
    slc_buffer_octet(&text, 0);
    cr_expect(ne(ptr, strstr((char *)text.data, "\"routing_keys\":[\"key\",\"c1\",\"c2\"]"), NULL));
    cr_expect(ne(ptr, strstr((char *)text.data, "\"routed_queues\":[\"a\",\"b\"]"), NULL));
    cr_expect(ne(ptr,
                 strstr((char *)text.data, "\"properties\":{\"headers\":{\"CC\":[\"c1\",\"c2\"]},"
                                           "\"delivery_mode\":2,\"timestamp\":4294967296}"),
                 NULL),
              "%s", (char *)text.data);
    slc_buffer_fini(&text);
    slc_message_unref(copy);
    slc_buffer_fini(&props);
    slc_table_builder_fini(&b);
    fake_world_free(w);
}

Test(system_messages, nothing_is_made_for_nobody)
{
    fake_world *w = fake_world_new();
    slc_session *s = fake_session(fake_client_open(w));
    fake_queue(w, s, "q", "");
    slc_vhost_trace(vhost(w), true);
    slc_vhost_trace(vhost(w), true); // twice is once
    uint64_t before = slc_message_bytes_alive();
    fake_publish(s, "", "q", "m", "");
    const slc_exchange *x = slc_vhost_exchange(vhost(w), slc_slice_str(SLC_TRACE_EXCHANGE));
    cr_expect(eq(u64, x->messages_in, 0));
    cr_expect(gt(u64, slc_message_bytes_alive(), before)); // the message itself
    slc_vhost_trace(vhost(w), false);
    cr_expect(not(slc_tracing(fake_broker(w))));
    fake_world_free(w);
}

/* ---- events ---- */

static slc_session *with_events(fake_world *w, const char *key)
{
    fake_system_exchanges(w);
    fake_restart_clean(w);
    slc_session *s = fake_session(fake_client_open(w));
    fake_queue(w, s, "events", "");
    fake_bind(w, s, "events", SLC_EVENT_EXCHANGE, key);
    return s;
}

Test(system_messages, a_life_cycle_is_two_events)
{
    fake_world *w = fake_world_new();
    slc_session *s = with_events(w, "*.created");
    fake_bind(w, s, "events", SLC_EVENT_EXCHANGE, "*.deleted");
    fake_turn(w);
    (void)contents(w, s, "events", false); // of the bindings
    fake_exchange(w, s, "x", "fanout", "d");
    fake_queue(w, s, "q", "d");
    fake_bind(w, s, "q", "x", "k");
    fake_bind(w, s, "q", "x", "k"); // no other
    fake_queue_delete(w, s, "q");
    fake_turn(w);
    cr_expect(eq(str, (char *)contents(w, s, "events", false),
                 "exchange.created  | queue.created  | binding.created  | binding.deleted  | "
                 "queue.deleted "));
    fake_world_free(w);
}

Test(system_messages, an_event_has_its_fields)
{
    fake_world *w = fake_world_new();
    slc_session *s = with_events(w, "user.#");
    slc_event(fake_broker(w), "user.tags.set", SLC_EVENT_TEXT("name", "u"),
              SLC_EVENT_NUMBER("n", 7), SLC_EVENT_BOOL("yes", true));
    fake_turn(w);
    slc_message *m = take(w, s, "events");
    cr_assert(ne(ptr, m, NULL));
    cr_expect(m->persistent);
    cr_expect(eq(u64, m->body_bytes, 0));
    expect_text(m, "name", "u");
    slc_value value;
    cr_expect(header(m, "n", &value) && value.integer == 7);
    cr_expect(header(m, "yes", &value) && value.boolean);
    cr_expect(header(m, "timestamp_in_ms", &value) && value.type == SLC_TYPE_I64);
    slc_message_unref(m);
    fake_world_free(w);
}

Test(system_messages, a_start_makes_no_events)
{
    fake_world *w = fake_world_new();
    slc_session *s = with_events(w, "#");
    fake_queue(w, s, "kept", "d");
    fake_queue(w, s, "durable", "d");
    fake_bind(w, s, "kept", SLC_EVENT_EXCHANGE, "#");
    fake_turn(w);
    fake_restart_clean(w);
    s = fake_session(fake_client_open(w));
    // Of the bind itself and of the clients, which went before the stop and came after the start; not of the queues.
    cr_expect(eq(str, (char *)contents(w, s, "kept", false),
                 "binding.created  | channel.closed  | connection.closed  | connection.created  | "
                 "channel.created "));
    fake_world_free(w);
}

/* ---- lines of the log ---- */

Test(system_messages, a_line_goes_by_its_level)
{
    fake_world *w = fake_world_new();
    fake_system_exchanges(w);
    fake_restart_clean(w);
    slc_session *s = fake_session(fake_client_open(w));
    fake_queue(w, s, "lines", "");
    slc_broker_log_line(fake_broker(w), "info", 5, false, slc_slice_str("nobody"));
    fake_bind(w, s, "lines", SLC_LOG_EXCHANGE, "warning");
    slc_broker_log_line(fake_broker(w), "info", 5, false, slc_slice_str("other"));
    slc_broker_log_line(fake_broker(w), "warning", 5, true, slc_slice_str("line"));
    fake_turn(w);
    slc_message *m = take(w, s, "lines");
    cr_assert(ne(ptr, m, NULL));
    slc_slice value;
    cr_expect(slc_message_property(m, SLC_PROPERTY_CONTENT_TYPE, &value) &&
              slc_slice_is(value, "application/json"));
    cr_expect(slc_message_property(m, SLC_PROPERTY_TIMESTAMP, &value) && value.data[7] == 5);
    expect_text(m, "node", "sluice@test");
    cr_expect(not(slc_message_property(m, SLC_PROPERTY_DELIVERY_MODE, &value)));
    slc_message_unref(m);
    cr_expect(eq(ptr, take(w, s, "lines"), NULL));
    fake_world_free(w);
}
