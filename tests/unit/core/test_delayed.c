// x-delayed-message: the schedule against a naive list, with restarts. @spec amqp-semantics 8.6
#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/internal.h"
#include "core/properties.h"
#include "core/schedule.h"
#include "fake_world.h"

enum { STEPS = 400 };

static void declare_delayed(fake_world *w, slc_session *s, const char *name, const char *type,
                            bool durable)
{
    slc_table_builder b = {0};
    slc_error error = {0};
    slc_table_put_text(&b, "x-delayed-type", type);
    slc_exchange_declare declare = {.name = slc_slice_str(name),
                                    .type = slc_slice_str("x-delayed-message"),
                                    .durable = durable,
                                    .arguments = slc_table_builder_content(&b)};
    slc_err rc;
    while ((rc = slc_session_exchange_declare(s, &declare, &error)) == SLC_EPENDING)
        fake_turn(w);
    if (rc != SLC_OK)
        cr_assert_fail("declare: %s", error.text);
    slc_table_builder_fini(&b);
}

/** With properties as a front end leaves them. */
static void publish_delayed(slc_session *s, const char *exchange, const char *key, const char *body,
                            int64_t delay_ms, bool persistent)
{
    slc_table_builder b = {0};
    slc_buffer props = {0};
    slc_error error = {0};
    slc_table_put_i64(&b, "x-delay", delay_ms);
    slc_slice headers = slc_table_builder_content(&b);
    uint8_t head[6] = {0x20, 0, 0, 0, 0, (uint8_t)headers.bytes};
    slc_buffer_put(&props, head, sizeof head);
    slc_buffer_put(&props, headers.data, headers.bytes);
    slc_message *m = slc_message_new(slc_slice_str(exchange), slc_slice_str(key),
                                     slc_buffer_slice(&props), strlen(body), persistent);
    memcpy(slc_message_body(m), body, strlen(body));
    slc_err rc = slc_session_publish(s, m, slc_message_headers(m), true, &error);
    if (rc != SLC_OK)
        cr_assert_fail("publish: %s", error.text);
    slc_table_builder_fini(&b);
    slc_buffer_fini(&props);
}

static uint64_t delayed_count(fake_world *w, const char *name)
{
    uint64_t count = 0;
    const slc_exchange *x = slc_vhost_exchange(slc_broker_vhost(fake_broker(w), slc_slice_str("/")),
                                               slc_slice_str(name));
    cr_assert(slc_exchange_messages_delayed(x, &count));
    return count;
}

/* ---- the model ---- */

typedef struct pending {
    uint64_t due_ms;
    uint32_t number;
    bool persistent;
} pending;

typedef struct model {
    fake_world *w;
    fake_client *client;
    slc_session *session;
    pending list[STEPS];
    uint32_t count, published;
    uint64_t time_ms; // since the start
    char want[65536], got[65536];
} model;

static uint64_t seed, state;

static uint32_t below(uint32_t n)
{
    uint64_t z = (state += UINT64_C(0x9E3779B97F4A7C15));
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return (uint32_t)((z ^ (z >> 31)) % n);
}

static void model_open(model *m)
{
    m->client = fake_client_open(m->w);
    m->session = fake_session(m->client);
}

/** Those that are due, in order of due time, then of publishing. */
static void model_fire(model *m)
{
    for (;;) {
        uint32_t best = m->count;
        for (uint32_t i = 0; i < m->count; i++) {
            if (m->list[i].due_ms <= m->time_ms &&
                (best == m->count || m->list[i].due_ms < m->list[best].due_ms ||
                 (m->list[i].due_ms == m->list[best].due_ms &&
                  m->list[i].number < m->list[best].number)))
                best = i;
        }
        if (best == m->count)
            return;
        snprintf(m->want + strlen(m->want), 16, "m%u ", m->list[best].number);
        m->list[best] = m->list[--m->count];
    }
}

static void model_drain(model *m)
{
    const char *body;
    while ((body = fake_get(m->w, m->session, "q", true, NULL)) != NULL)
        snprintf(m->got + strlen(m->got), 16, "%s ", body);
}

static void model_restart(model *m)
{
    if (below(2) == 0) {
        fake_restart_clean(m->w);
    } else {
        fake_sync(m->w);
        fake_restart(m->w);
    }
    uint32_t kept = 0;
    for (uint32_t i = 0; i < m->count; i++) {
        if (m->list[i].persistent)
            m->list[kept++] = m->list[i];
    }
    m->count = kept;
    model_open(m);
    fake_turn(m->w);
}

Test(delayed, agrees_with_a_naive_list_over_restarts, .timeout = 60)
{
    const char *given = getenv("SLC_TEST_SEED");
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    seed = given != NULL ? strtoull(given, NULL, 0)
                         : (uint64_t)now.tv_sec * 1000000007u ^ (uint64_t)now.tv_nsec;
    state = seed;
    model *m = slc_alloc_zero(1, sizeof *m);
    m->w = fake_world_new();
    model_open(m);
    fake_queue(m->w, m->session, "q", "d");
    declare_delayed(m->w, m->session, "x", "topic", true);
    fake_bind(m->w, m->session, "q", "x", "to.#");
    for (int step = 0; step < STEPS; step++) {
        uint32_t what = below(100);
        if (what < 60) {
            char body[16];
            uint32_t delay = 1 + (below(2) == 0 ? below(300) : below(20000));
            pending p = {m->time_ms + delay, m->published++, below(4) > 0};
            snprintf(body, sizeof body, "m%u", p.number);
            publish_delayed(m->session, "x", "to.q", body, delay, p.persistent);
            m->list[m->count++] = p;
        } else if (what < 96) {
            uint32_t ms = below(1500);
            m->time_ms += ms;
            fake_advance(m->w, ms);
        } else {
            model_drain(m); // what is in the queue there is the queue's test
            model_restart(m);
        }
        fake_turn(m->w);
        model_fire(m);
        model_drain(m);
        if (strcmp(m->got, m->want) != 0)
            cr_assert_fail("seed %" PRIu64 ", step %d: got %s, want %s", seed, step, m->got,
                           m->want);
        cr_assert(delayed_count(m->w, "x") == m->count, "seed %" PRIu64 ", step %d", seed, step);
        m->got[0] = m->want[0] = 0;
    }
    fake_advance(m->w, 30000);
    fake_turn(m->w);
    m->time_ms += 30000;
    model_fire(m);
    model_drain(m);
    cr_expect_str_eq(m->got, m->want, "seed %" PRIu64, seed);
    fake_turn(m->w);
    cr_expect(fake_stored(m->w) == 0, "seed %" PRIu64 ": nothing is left in the store", seed);
    fake_client_close(m->client);
    fake_world_free(m->w);
    slc_free(m);
}

/* ---- single rules ---- */

Test(delayed, confirms_when_it_is_stored_and_returns_nothing, .timeout = 60)
{
    fake_world *w = fake_world_new();
    fake_client *c = fake_client_open(w);
    slc_session *s = fake_session(c);
    slc_error error = {0};
    declare_delayed(w, s, "x", "direct", true);
    cr_assert(slc_session_confirm_select(s, &error) == SLC_OK);
    fake_turn(w);
    fake_hold_store(w, true);
    publish_delayed(s, "x", "nowhere", "m", 60000, true); // mandatory
    fake_turn(w);
    cr_expect_str_eq(fake_take_log(c), "");
    cr_expect(delayed_count(w, "x") == 1);
    fake_hold_store(w, false);
    fake_sync(w);
    fake_turn(w);
    cr_expect_str_eq(fake_take_log(c), "confirm 1");
    fake_advance(w, 60000);
    cr_expect(delayed_count(w, "x") == 0); // due, and no way leads on
    cr_expect(fake_stored(w) == 0);
    publish_delayed(s, "x", "nowhere", "n", -5, false); // at once: unroutable as ever
    fake_turn(w);
    cr_expect_str_eq(fake_take_log(c), "returned n; confirm 2");
    fake_client_close(c);
    fake_world_free(w);
}

static int64_t got_delay(fake_world *w, slc_session *s, const char *queue)
{
    slc_error error = {0};
    slc_got got = {0};
    while (slc_session_get(s, slc_slice_str(queue), true, &got, &error) == SLC_EPENDING)
        fake_turn(w);
    cr_assert(got.message != NULL);
    slc_value value;
    cr_assert(slc_table_find(slc_message_headers(got.message), slc_slice_str("x-delay"), &value));
    slc_message_unref(got.message);
    return value.integer;
}

Test(delayed, the_header_is_negative_when_it_was_delayed, .timeout = 60)
{
    fake_world *w = fake_world_new();
    fake_client *c = fake_client_open(w);
    slc_session *s = fake_session(c);
    fake_queue(w, s, "q", "d");
    declare_delayed(w, s, "x", "fanout", true);
    fake_bind(w, s, "q", "x", "");
    for (int persistent = 0; persistent < 2; persistent++) {
        publish_delayed(s, "x", "", "m", 5000, persistent == 1);
        fake_turn(w);
        fake_advance(w, 4999);
        cr_expect(fake_get(w, s, "q", true, NULL) == NULL);
        cr_expect(slc_broker_next_due_ms(fake_broker(w)) != UINT64_MAX);
        fake_advance(w, 1);
        cr_expect(got_delay(w, s, "q") == -5000);
    }
    // Through a second one: it has waited already.
    slc_error error = {0};
    fake_queue(w, s, "q2", "");
    declare_delayed(w, s, "y", "fanout", false);
    cr_expect(slc_session_exchange_bind(s, slc_slice_str("y"), slc_slice_str("x"),
                                        slc_slice_str(""), (slc_slice){0}, &error) == SLC_OK);
    fake_bind(w, s, "q2", "y", "");
    publish_delayed(s, "x", "", "m", 5000, false);
    fake_advance(w, 5000);
    cr_expect(got_delay(w, s, "q") == -5000);
    cr_expect(got_delay(w, s, "q2") == -5000);
    fake_client_close(c);
    fake_world_free(w);
}

Test(delayed, a_transaction_delays_from_its_commit, .timeout = 60)
{
    fake_world *w = fake_world_new();
    fake_client *c = fake_client_open(w);
    slc_session *s = fake_session(c);
    slc_session *other = fake_session(c);
    slc_error error = {0};
    fake_queue(w, s, "q", "");
    declare_delayed(w, s, "x", "fanout", true);
    fake_bind(w, s, "q", "x", "");
    cr_assert(slc_session_tx_select(s, &error) == SLC_OK);
    publish_delayed(s, "x", "", "rolled back", 1000, true);
    cr_expect(slc_session_tx_rollback(s, &error) == SLC_OK);
    publish_delayed(s, "x", "", "m", 1000, true);
    cr_expect(delayed_count(w, "x") == 0);
    fake_advance(w, 5000);
    while (slc_session_tx_commit(s, &error) == SLC_EPENDING)
        fake_turn(w);
    cr_expect(delayed_count(w, "x") == 1);
    fake_advance(w, 999);
    cr_expect(fake_get(w, other, "q", true, NULL) == NULL);
    fake_advance(w, 1);
    cr_expect_str_eq(fake_get(w, other, "q", true, NULL), "m");
    fake_client_close(c);
    fake_world_free(w);
}

Test(delayed, deleting_the_exchange_forgets_what_waits, .timeout = 60)
{
    fake_world *w = fake_world_new();
    fake_client *c = fake_client_open(w);
    slc_session *s = fake_session(c);
    slc_error error = {0};
    declare_delayed(w, s, "x", "fanout", true);
    publish_delayed(s, "x", "", "m", 10000, true);
    publish_delayed(s, "x", "", "n", 10000, false);
    fake_turn(w);
    fake_hold_reads(w, true);
    fake_advance(w, 10000); // a read is under way
    cr_expect(fake_reads_waiting(w) == 1);
    while (slc_session_exchange_delete(s, slc_slice_str("x"), false, &error) == SLC_EPENDING)
        fake_turn(w);
    fake_read_execute(w, 0);
    fake_read_answer(w, 0);
    fake_hold_reads(w, false);
    fake_turn(w);
    cr_expect(fake_stored(w) == 0);
    fake_client_close(c);
    fake_world_free(w);
}

Test(delayed, the_type_must_exist_and_stay, .timeout = 60)
{
    fake_world *w = fake_world_new();
    fake_client *c = fake_client_open(w);
    slc_session *s = fake_session(c);
    static const char *const types[] = {"nope", "x-delayed-message", ""};
    slc_error error = {0};
    slc_exchange_declare declare = {.name = slc_slice_str("x"),
                                    .type = slc_slice_str("x-delayed-message")};
    for (size_t i = 0; i < SLC_ARRAY_COUNT(types); i++) {
        slc_table_builder b = {0};
        if (types[i][0] != 0)
            slc_table_put_text(&b, "x-delayed-type", types[i]);
        declare.arguments = slc_table_builder_content(&b);
        cr_expect(slc_session_exchange_declare(s, &declare, &error) == SLC_EPRECONDITION);
        cr_expect_str_eq(error.text,
                         "Invalid argument, 'x-delayed-type' must be an existing exchange type");
        slc_table_builder_fini(&b);
    }
    declare_delayed(w, s, "x", "direct", false);
    slc_table_builder b = {0};
    slc_table_put_text(&b, "x-delayed-type", "topic");
    declare.arguments = slc_table_builder_content(&b);
    cr_expect(slc_session_exchange_declare(s, &declare, &error) == SLC_EPRECONDITION);
    cr_expect_str_eq(error.text, "inequivalent arg 'x-delayed-type' for exchange 'x' in vhost '/': "
                                 "received 'topic' but current is 'direct'");
    slc_table_builder_fini(&b);
    fake_client_close(c);
    fake_world_free(w);
}

Test(delayed, it_keeps_its_expiration_and_all_of_its_keys, .timeout = 60)
{
    fake_world *w = fake_world_new();
    slc_session *s = fake_session(fake_client_open(w));
    declare_delayed(w, s, "later", "direct", true);
    static const char *const names[] = {"k", "cc", "bcc"};
    for (size_t i = 0; i < SLC_ARRAY_COUNT(names); i++) {
        fake_queue(w, s, names[i], "d");
        fake_bind(w, s, names[i], "later", names[i]);
    }
    for (int restart = 0; restart < 2; restart++) {
        slc_table_builder b = {0};
        slc_buffer props = {0};
        slc_error error = {0};
        slc_table_put_i64(&b, "x-delay", 100000);
        slc_table_open(&b, "CC", SLC_TYPE_ARRAY);
        slc_table_put_text(&b, NULL, "cc");
        slc_table_close(&b);
        slc_slice headers = slc_table_builder_content(&b);
        uint8_t head[6] = {0x21, 0, 0, 0, 0, (uint8_t)headers.bytes}; // headers, expiration
        slc_buffer_put(&props, head, sizeof head);
        slc_buffer_put(&props, headers.data, headers.bytes);
        slc_buffer_text(&props, "\003500");
        slc_message *m =
            slc_message_new_hidden(slc_slice_str("later"), slc_slice_str("k"),
                                   slc_buffer_slice(&props), 0, true, slc_slice_str("\003bcc"));
        m->ttl = slc_message_expiration(m);
        m->more_keys = true;
        cr_assert_eq(m->ttl, 501);
        cr_assert_eq(slc_session_publish(s, m, slc_message_headers(m), false, &error), SLC_OK);
        fake_turn(w);
        if (restart) {
            fake_restart(w);
            s = fake_session(fake_client_open(w));
        }
        fake_pass_time(w, 100000);
        for (int expired = 0; expired < 2; expired++) {
            for (size_t i = 0; i < SLC_ARRAY_COUNT(names); i++) {
                slc_queue_declared out;
                slc_queue_declare passive = {.name = slc_slice_str(names[i]), .passive = true};
                cr_assert_eq(slc_session_queue_declare(s, &passive, &out, &error), SLC_OK);
                cr_assert_eq(out.ready, expired ? 0 : 1, "%s, restart %d, expired %d", names[i],
                             restart, expired);
            }
            fake_pass_time(w, 600);
        }
        slc_table_builder_fini(&b);
        slc_buffer_fini(&props);
    }
    fake_world_free(w);
}

Test(delayed, the_longest_delay_is_a_setting)
{
    fake_world *w = fake_world_new();
    static const uint64_t day_ms = 86400000;
    static const struct {
        uint64_t max_ms, delay_ms, want_ms;
    } cases[] = {
        {0, 3650 * day_ms, 3650 * day_ms},
        {0, 4000 * day_ms, 3650 * day_ms},
        {2 * day_ms, day_ms, day_ms},
        {2 * day_ms, 3 * day_ms, 2 * day_ms},
        {4000 * day_ms, INT64_MAX, 4000 * day_ms},
    };
    for (size_t i = 0; i < SLC_ARRAY_COUNT(cases); i++) {
        fake_options(w)->due_max_ms = cases[i].max_ms;
        fake_restart(w);
        slc_session *s = fake_session(fake_client_open(w));
        declare_delayed(w, s, "x", "fanout", false);
        fake_queue(w, s, "q", "");
        fake_bind(w, s, "q", "x", "");
        publish_delayed(s, "x", "", "m", (int64_t)cases[i].delay_ms, false);
        fake_pass_time(w, cases[i].want_ms - 1);
        cr_expect(fake_get(w, s, "q", true, NULL) == NULL, "case %zu", i);
        fake_pass_time(w, 1);
        cr_expect(fake_get(w, s, "q", true, NULL) != NULL, "case %zu", i);
    }
    fake_world_free(w);
}

/* ---- for operators ---- */

typedef struct seen {
    slc_delayed_message items[64];
    char keys[64][16];
    uint32_t count, calls;
} seen;

static void on_listed(const slc_delayed_message *messages, uint32_t count, void *arg)
{
    seen *s = arg;
    cr_assert(count <= 64);
    s->calls++;
    s->count = count;
    for (uint32_t i = 0; i < count; i++) {
        s->items[i] = messages[i];
        snprintf(s->keys[i], 16, "%.*s", SLC_SLICE_FMT(messages[i].key));
    }
}

Test(delayed, what_waits_is_listed_in_order_and_can_be_cancelled)
{
    enum { MESSAGES = 60, DURABLE = 1, RESTARTED = 2 };
    for (int how = 0; how <= (DURABLE | RESTARTED); how++) {
        fake_world *w = fake_world_new();
        slc_session *s = fake_session(fake_client_open(w));
        declare_delayed(w, s, "x", "fanout", (how & DURABLE) != 0);
        fake_exchange(w, s, "f", "fanout", "");
        fake_queue(w, s, "q", "d");
        fake_bind(w, s, "q", "x", "");
        char key[16];
        uint64_t now = fake_now_ms(w);
        // In order of due time: 1, 14, 27 ...; some of the same time, in order of publishing.
        for (uint32_t i = 0; i < MESSAGES; i++) {
            snprintf(key, sizeof key, "%u", i);
            publish_delayed(s, "x", key, key, 1000 + i * 7 % 20 * 1000, true);
        }
        fake_turn(w);
        if ((how & RESTARTED) != 0 && (how & DURABLE) == 0) {
            fake_world_free(w);
            continue; // nothing is left
        }
        if ((how & RESTARTED) != 0) {
            fake_restart(w);
            s = fake_session(fake_client_open(w));
        }
        slc_vhost *vhost = slc_broker_vhost(fake_broker(w), slc_slice_str("/"));
        const slc_exchange *x = slc_vhost_exchange(vhost, slc_slice_str("x"));
        static seen list;
        list = (seen){0};
        cr_assert(slc_exchange_list_delayed(x, 50, on_listed, &list));
        fake_turn(w);
        cr_assert(list.calls == 1);
        cr_assert(list.count == 50);
        for (uint32_t i = 0; i < list.count; i++) {
            const slc_delayed_message *m = &list.items[i];
            uint32_t number = (uint32_t)atoi(list.keys[i]);
            cr_assert(m->known);
            cr_expect(m->due_ms == now + 1000 + number * 7 % 20 * 1000, "%u", number);
            cr_expect(m->body_bytes == strlen(list.keys[i]));
            if (i > 0)
                cr_assert(m[-1].due_ms < m->due_ms ||
                          (m[-1].due_ms == m->due_ms && m[-1].position < m->position));
        }
        // Every other one of the list goes; after a restart the first is about to be read when it does.
        fake_hold_reads(w, true);
        fake_pass_time(w, (how & RESTARTED) != 0 ? 1000 : 999);
        for (uint32_t i = 0; i < list.count; i += 2) {
            cr_expect(slc_exchange_cancel_delayed(x, list.items[i].position) == SLC_OK);
            cr_expect(slc_exchange_cancel_delayed(x, list.items[i].position) == SLC_ENOTFOUND);
        }
        cr_expect(slc_exchange_cancel_delayed(x, 1 << 20) == SLC_ENOTFOUND);
        fake_hold_reads(w, false);
        fake_pass_time(w, 60000);
        uint32_t got = 0;
        const char *body;
        while ((body = fake_get(w, s, "q", true, NULL)) != NULL) {
            bool expected = false;
            for (uint32_t i = 1; i < list.count; i += 2)
                expected = expected || strcmp(body, list.keys[i]) == 0;
            got++;
            cr_expect(expected || got > list.count / 2, "%s was cancelled", body);
        }
        cr_expect(got == MESSAGES - 25);
        fake_turn(w);
        cr_expect(fake_stored(w) == 0);
        const slc_exchange *f = slc_vhost_exchange(vhost, slc_slice_str("amq.fanout"));
        cr_expect(!slc_exchange_list_delayed(f, 1, on_listed, &list));
        cr_expect(slc_exchange_cancel_delayed(f, 1) == SLC_ENOTFOUND);
        fake_world_free(w);
    }
}
