// Time to live, length limits, priority and delivery limit of queues. @spec amqp-semantics 9.8, 10, 13, 15.1, 15.4
#include <stdio.h>
#include <string.h>

#include "backlog_support.h"

static fake_world *w;
static fake_client *c;
static slc_session *s;
static slc_error last_error;

static void start(void)
{
    c = fake_client_open(w);
    s = fake_session(c);
}

static void setup(void)
{
    w = fake_world_new();
    fake_cache_bytes(w, 0);
    fake_restart(w);
    start();
}

static void teardown(void)
{
    fake_world_free(w);
    cr_expect(eq(u64, slc_message_bytes_alive(), 0), "every message was freed");
}

TestSuite(queue_limits, .init = setup, .fini = teardown, .timeout = 60);

static slc_err declare_table(const char *name, bool durable, slc_slice arguments)
{
    slc_queue_declare declare = {
        .name = slc_slice_str(name), .durable = durable, .arguments = arguments};
    slc_queue_declared out;
    last_error = (slc_error){0};
    for (int i = 0; i < 100; i++) {
        slc_err rc = slc_session_queue_declare(s, &declare, &out, &last_error);
        if (rc != SLC_EPENDING)
            return rc;
        fake_turn(w);
    }
    cr_fatal("no end of a declare");
}

/** Arguments as pairs: name, number; a name without "x-" ends them. text: one more, "name=value". */
static slc_err declare(const char *name, bool durable, const char *text, int count,
                       const char *const *keys, const int64_t *values)
{
    slc_table_builder b = {0};
    for (int i = 0; i < count; i++)
        slc_table_put_i64(&b, keys[i], values[i]);
    if (text != NULL) {
        char key[64];
        const char *equals = strchr(text, '=');
        snprintf(key, sizeof key, "%.*s", (int)(equals - text), text);
        slc_table_put_longstr(&b, key, slc_slice_str(equals + 1));
    }
    slc_err rc = declare_table(name, durable, slc_table_builder_content(&b));
    slc_table_builder_fini(&b);
    return rc;
}

static slc_err declare_one(const char *name, bool durable, const char *key, int64_t value)
{
    return declare(name, durable, NULL, 1, &key, &value);
}

static void publish(const char *queue, const char *body, bool persistent, uint64_t ttl,
                    uint8_t priority)
{
    slc_error error = {0};
    slc_message *m = slc_message_new(slc_slice_str(""), slc_slice_str(queue), (slc_slice){0},
                                     strlen(body), persistent);
    memcpy(slc_message_body(m), body, strlen(body));
    m->ttl = ttl;
    m->priority = priority;
    cr_assert(eq(int, slc_session_publish(s, m, (slc_slice){0}, false, &error), SLC_OK));
}

static void publish_n(const char *queue, int n, bool persistent, uint64_t ttl, uint8_t priority)
{
    char body[16];
    snprintf(body, sizeof body, "%d", n);
    publish(queue, body, persistent, ttl, priority);
}

#define EXPECT_GET(queue, want)                                                                    \
    do {                                                                                           \
        const char *answer = fake_get(w, s, queue, true, NULL);                                    \
        cr_expect(eq(str, (char *)(answer != NULL ? answer : ""), (char *)(want)));                \
    } while (0)

Test(queue_limits, refuses_bad_arguments_with_rabbitmqs_texts)
{
    static const struct {
        const char *key;
        int64_t value;
        const char *reason;
    } cases[] = {
        {"x-message-ttl", -1, "{value_negative,-1}"},
        {"x-expires", 0, "{value_zero,0}"},
        {"x-max-priority", 256, "{max_value_exceeded,256}"},
        {"x-max-length", -5, "{value_negative,-5}"},
        {"x-consumer-disconnected-timeout", -1, "{value_negative,-1}"},
        {"x-overflow", 1, "{unacceptable_type,long}"},
        {"x-max-age", 1, NULL},
    };
    for (size_t i = 0; i < SLC_ARRAY_COUNT(cases); i++) {
        char want[256];
        cr_expect(
            eq(int, declare_one("bad", true, cases[i].key, cases[i].value), SLC_EPRECONDITION));
        if (cases[i].reason != NULL)
            snprintf(want, sizeof want, "invalid arg '%s' for queue 'bad' in vhost '/': %s",
                     cases[i].key, cases[i].reason);
        else
            snprintf(want, sizeof want,
                     "invalid arg '%s' for queue 'bad' in vhost '/' of queue type classic",
                     cases[i].key);
        cr_expect(eq(str, last_error.text, want));
    }
    cr_expect(eq(int, declare("bad", true, "x-dead-letter-routing-key=k", 0, NULL, NULL),
                 SLC_EPRECONDITION));
    cr_expect(eq(str, last_error.text,
                 "invalid arg 'x-dead-letter-routing-key' for queue 'bad' in vhost '/': "
                 "routing_key_but_no_dlx_defined"));
    cr_expect(
        eq(int, declare("bad", false, "x-queue-type=quorum", 0, NULL, NULL), SLC_EPRECONDITION));
    cr_expect(
        eq(str, last_error.text, "invalid property 'non-durable' for queue 'bad' in vhost '/'"));
}

Test(queue_limits, what_concerns_other_nodes_is_taken_and_says_nothing_here)
{
    static const char *const keys[] = {"x-consumer-disconnected-timeout",
                                       "x-quorum-initial-group-size"};
    static const int64_t values[] = {60000, 3};
    cr_assert(eq(int, declare("q", true, "x-queue-type=quorum", 2, keys, values), SLC_OK));
    publish_n("q", 1, true, 0, 0);
    fake_client *other = fake_client_open(w);
    cr_assert(eq(int, fake_consume(fake_session(other), "q", "c", ""), SLC_OK));
    fake_turn(w);
    cr_expect(eq(str, (char *)fake_take_log(other), "deliver 1 c 1"));
    fake_client_close(other); // its connection broke: nobody waits for it to come back
    EXPECT_GET("q", "1");
}

Test(queue_limits, a_message_expires_wherever_it_stands)
{
    declare_one("q", true, "x-message-ttl", 1000);
    publish_n("q", 1, true, 0, 0);
    publish_n("q", 2, true, 101, 0);  // 100 ms, behind one that lives longer
    publish_n("q", 3, true, 5001, 0); // the queue's is shorter
    cr_expect(eq(u64, queue_named(w, "q")->ready, 3));
    fake_pass_time(w, 99);
    cr_expect(eq(u64, queue_named(w, "q")->ready, 3));
    fake_pass_time(w, 1);
    cr_expect(eq(u64, queue_named(w, "q")->ready, 2));
    fake_pass_time(w, 899);
    cr_expect(eq(u64, queue_named(w, "q")->ready, 2));
    fake_pass_time(w, 1);
    cr_expect(eq(u64, queue_named(w, "q")->ready, 0));
    cr_expect(eq(u64, queue_named(w, "q")->expired, 3));
    cr_expect(eq(u32, fake_stored(w), 0));
}

Test(queue_limits, cold_messages_expire_too_and_after_a_crash)
{
    fake_queue(w, s, "q", "d");
    enum { MANY = 20000 };
    for (int i = 0; i < MANY; i++)
        publish_n("q", i, true, i % 3 == 0 ? (uint64_t)(2 + i * 7919 % 1000) : 0, 0);
    fake_turn(w);
    cr_assert(queue_named(w, "q")->cold_count > 0, "some are cold");
    fake_restart(w);
    start();
    fake_pass_time(w, 500);
    for (int i = 0; i < 600; i++)
        fake_pass_time(w, 1);
    uint64_t left = MANY - (MANY + 2) / 3;
    cr_expect(eq(u64, queue_named(w, "q")->ready, left));
    cr_expect(eq(u32, fake_stored(w), (uint32_t)left));
    for (int i = 0; i < MANY; i++) {
        if (i % 3 == 0)
            continue;
        const char *got = fake_get(w, s, "q", true, NULL);
        if (got == NULL || atoi(got) != i)
            cr_fatal("%s instead of %d", got != NULL ? got : "nothing", i);
    }
    cr_expect(eq(u64, queue_named(w, "q")->ready_bytes, 0));
    cr_expect(eq(u64, queue_named(w, "q")->persistent, 0));
}

Test(queue_limits, ttl_zero_is_for_whoever_waits)
{
    declare_one("q", false, "x-message-ttl", 0);
    publish_n("q", 1, false, 0, 0);
    fake_turn(w);
    cr_expect(fake_get(w, s, "q", true, NULL) == NULL);
    fake_consume(s, "q", "c", "");
    publish_n("q", 2, false, 0, 0);
    fake_turn(w);
    cr_expect(eq(u64, queue_named(w, "q")->unacked, 1));
    fake_take_log(c);
}

Test(queue_limits, an_expired_message_that_comes_back_is_not_seen_again)
{
    declare_one("q", true, "x-message-ttl", 100);
    publish_n("q", 1, true, 0, 0);
    publish_n("q", 2, true, 0, 0);
    uint64_t tag;
    fake_get(w, s, "q", false, &tag);
    fake_pass_time(w, 50);
    slc_error error = {0};
    cr_assert(eq(int, slc_session_settle(s, tag, false, SLC_SETTLE_REQUEUE, &error), SLC_OK));
    fake_pass_time(w, 50);
    cr_expect(eq(u64, queue_named(w, "q")->ready, 0));
    cr_expect(eq(u64, queue_named(w, "q")->expired, 2));
}

Test(queue_limits, an_unused_queue_goes)
{
    declare_one("q", true, "x-expires", 500);
    fake_pass_time(w, 400);
    cr_expect(fake_get(w, s, "q", true, NULL) == NULL);
    fake_pass_time(w, 499);
    cr_assert(queue_named(w, "q") != NULL);
    publish_n("q", 1, true, 0, 0); // is no use of it
    fake_pass_time(w, 1);
    cr_expect(eq(int, fake_queue(w, s, "q", "p"), SLC_ENOTFOUND));
    declare_one("q", false, "x-expires", 500);
    fake_consume(s, "q", "c", "");
    fake_pass_time(w, 1000);
    slc_error error = {0};
    cr_expect(eq(int, slc_session_cancel(s, slc_slice_str("c"), &error), SLC_OK));
    fake_pass_time(w, 499);
    cr_expect(queue_named(w, "q") != NULL);
    fake_pass_time(w, 1);
    cr_expect(eq(int, fake_queue(w, s, "q", "p"), SLC_ENOTFOUND));
}

Test(queue_limits, a_full_queue_drops_its_head)
{
    declare_one("q", true, "x-max-length", 2);
    declare_one("b", true, "x-max-length-bytes", 5);
    declare_one("z", true, "x-max-length", 0);
    for (int i = 1; i <= 4; i++)
        publish_n("q", i, true, 0, 0);
    fake_turn(w);
    EXPECT_GET("q", "3");
    EXPECT_GET("q", "4");
    EXPECT_GET("q", "");
    publish("b", "aaa", true, 0, 0);
    publish("b", "bb", true, 0, 0);
    publish("b", "c", true, 0, 0);
    EXPECT_GET("b", "bb");
    publish("b", "too long", true, 0, 0);
    EXPECT_GET("b", "");
    publish_n("z", 1, true, 0, 0);
    EXPECT_GET("z", "");
    fake_consume(s, "z", "c", "n");
    publish_n("z", 2, true, 0, 0);
    fake_turn(w);
    cr_expect(eq(u64, queue_named(w, "z")->stats.delivered_no_ack, 1));
    cr_expect(eq(u32, fake_stored(w), 0));
    fake_take_log(c);
}

Test(queue_limits, bytes_are_limited_before_all_that_was_found_at_the_start_is_known)
{
    declare_one("d", true, "x-max-length-bytes", 10);
    const char *key = "x-max-length-bytes";
    int64_t ten = 10;
    declare("r", true, "x-overflow=reject-publish", 1, &key, &ten);
    for (int i = 0; i < 2; i++) {
        publish("d", i == 0 ? "aaaa" : "bbbb", true, 0, 0);
        publish("r", i == 0 ? "aaaa" : "bbbb", true, 0, 0);
    }
    fake_turn(w);
    fake_hold_reads(w, true); // nobody has looked at their bodies
    fake_restart(w);
    start();
    uint32_t scans = fake_reads_waiting(w);
    cr_assert(eq(u32, scans, 2));
    publish("r", "more than ten", true, 0, 0);
    cr_expect(eq(u64, queue_named(w, "r")->refused, 1));
    publish("r", "dddddd", true, 0, 0);
    publish("r", "eeeeee", true, 0, 0);
    cr_expect(eq(u64, queue_named(w, "r")->refused, 2), "what came since is known");
    publish("d", "cccc", true, 0, 0);
    publish("d", "dddd", true, 0, 0);
    cr_expect(eq(u32, fake_reads_waiting(w), scans));
    publish("d", "eeee", true, 0, 0);
    cr_assert(eq(u32, fake_reads_waiting(w), scans + 1), "the head is asked for");
    fake_read_answer(w, 0);
    fake_turn(w);
    cr_expect(eq(u64, queue_named(w, "d")->ready_bytes, 8));
    fake_hold_reads(w, false);
    fake_turn(w);
    EXPECT_GET("d", "dddd");
    EXPECT_GET("d", "eeee");
    EXPECT_GET("d", "");
    publish("r", "f", true, 0, 0);
    cr_expect(eq(u64, queue_named(w, "r")->refused, 3));
    cr_expect(eq(u64, queue_named(w, "r")->ready_bytes, 14));
}

Test(queue_limits, a_long_queue_drops_its_head_through_the_cold_part)
{
    enum { LIMIT = 20000, MANY = 45000 };
    declare_one("q", true, "x-max-length", LIMIT);
    for (int i = 0; i < MANY; i++) {
        publish_n("q", i, true, 0, 0);
        if (i % 64 == 0)
            fake_turn(w);
    }
    fake_turn(w);
    cr_expect(eq(u64, queue_named(w, "q")->ready, LIMIT));
    cr_expect(eq(u32, fake_stored(w), LIMIT));
    EXPECT_GET("q", "25000");
}

Test(queue_limits, a_full_queue_refuses)
{
    slc_error error = {0};
    const char *key = "x-max-length";
    int64_t one = 1;
    declare("q", true, "x-overflow=reject-publish", 1, &key, &one);
    cr_assert(eq(int, slc_session_confirm_select(s, &error), SLC_OK));
    publish_n("q", 1, true, 0, 0);
    publish_n("q", 2, true, 0, 0);
    publish_n("q", 3, true, 0, 0);
    fake_turn(w);
    cr_expect(eq(str, (char *)fake_take_log(c), "confirm 1; refuse 2; refuse 3"));
    EXPECT_GET("q", "1");
    EXPECT_GET("q", "");
    slc_session *t = fake_session(c);
    cr_assert(eq(int, slc_session_tx_select(t, &error), SLC_OK));
    for (int i = 0; i < 2; i++)
        fake_publish(t, "", "q", "t", "p");
    slc_err rc = SLC_EPENDING;
    for (int i = 0; i < 10 && rc == SLC_EPENDING; i++) {
        rc = slc_session_tx_commit(t, &error);
        fake_turn(w);
    }
    cr_expect(eq(int, rc, SLC_EPRECONDITION));
    cr_expect(eq(str, error.text, "partial tx completion"));
}

Test(queue_limits, higher_priority_first_and_after_a_restart)
{
    declare_one("q", true, "x-max-priority", 5);
    static const uint8_t priorities[] = {0, 3, 5, 9, 3, 1, 5};
    for (int i = 0; i < 7; i++)
        publish_n("q", i, true, 0, priorities[i]);
    uint64_t tag;
    const char *got = fake_get(w, s, "q", false, &tag);
    cr_expect(eq(str, (char *)got, "2"));
    slc_error error = {0};
    cr_assert(eq(int, slc_session_settle(s, tag, false, SLC_SETTLE_REQUEUE, &error), SLC_OK));
    EXPECT_GET("q", "2");
    EXPECT_GET("q", "3");
    fake_turn(w);
    fake_restart(w);
    start();
    publish_n("q", 7, true, 0, 4);
    publish_n("q", 8, false, 0, 1);
    static const char *const want[] = {"6", "7", "1", "4", "5", "8", "0", ""};
    for (size_t i = 0; i < SLC_ARRAY_COUNT(want); i++)
        EXPECT_GET("q", want[i]);
    cr_expect(eq(u64, queue_named(w, "q")->ready_bytes, 0));
}

/** With a priority property; -1: without one. */
static void publish_prior(const char *queue, int n, bool persistent, int priority)
{
    char body[16];
    int bytes = snprintf(body, sizeof body, "%d", n);
    uint8_t props[] = {0x08, 0x00, (uint8_t)priority};
    slc_message *m =
        slc_message_new(slc_slice_str(""), slc_slice_str(queue),
                        priority < 0 ? (slc_slice){0} : slc_slice_of(props, sizeof props),
                        (uint64_t)bytes, persistent);
    memcpy(slc_message_body(m), body, (size_t)bytes);
    m->priority = priority < 0 ? 0 : (uint8_t)priority;
    slc_error error = {0};
    cr_assert(eq(int, slc_session_publish(s, m, (slc_slice){0}, false, &error), SLC_OK));
}

Test(queue_limits, a_quorum_queue_has_32_levels_and_4_is_that_of_messages_without_a_priority)
{
    static const int priorities[] = {-1, 0, 31, 255, 5, 4, 3, -1, 0, 30};
    static const char *const want[] = {"2", "3", "9", "4", "0", "5", "7", "6", "1", "8", ""};
    for (int restart = 0; restart <= 1; restart++) {
        cr_assert(eq(int, declare("q", true, "x-queue-type=quorum", 0, NULL, NULL), SLC_OK));
        for (int i = 0; i < 10; i++)
            publish_prior("q", i, i % 2 == 0, priorities[i]);
        fake_turn(w);
        if (restart) {
            fake_restart(w);
            start();
        }
        for (size_t i = 0; i < SLC_ARRAY_COUNT(want); i++)
            EXPECT_GET("q", want[i]);
    }
}

Test(queue_limits, levels_of_a_quorum_queue_hold_what_does_not_fit_in_memory)
{
    enum { MANY = 12000 }; // over the window
    cr_assert(eq(int, declare("q", true, "x-queue-type=quorum", 0, NULL, NULL), SLC_OK));
    for (int i = 0; i < MANY; i++) {
        publish_prior("q", i, true, i % 3 == 0 ? -1 : i % 3 == 1 ? 0 : 9);
        if (i % 64 == 0)
            fake_turn(w);
    }
    fake_turn(w);
    for (int k = 0; k < 3; k++) {
        for (int i = (int[]){2, 0, 1}[k]; i < MANY; i += 3) {
            char body[16];
            snprintf(body, sizeof body, "%d", i);
            EXPECT_GET("q", body);
        }
    }
    EXPECT_GET("q", "");
}

Test(queue_limits, declaring_again_with_other_properties)
{
    static const struct {
        slc_on_mismatch how;
        const char *key, *name; // the argument, and the text that goes with it
        int64_t value;
        slc_err rc;
        uint64_t length; // x-max-length afterwards
        bool durable;
    } cases[] = {
        {SLC_MISMATCH_ERROR, "x-max-length", NULL, 5, SLC_OK, 5, true},
        {SLC_MISMATCH_ERROR, "x-max-length", NULL, 6, SLC_EPRECONDITION, 5, true},
        {SLC_MISMATCH_ERROR, "x-max-length", NULL, 5, SLC_EPRECONDITION, 5, false},
        {SLC_MISMATCH_IGNORE, "x-max-length", NULL, 6, SLC_OK, 5, true},
        {SLC_MISMATCH_IGNORE, "x-max-length", NULL, 5, SLC_OK, 5, false},
        {SLC_MISMATCH_IGNORE, "x-max-length", "x-queue-type=quorum", 5, SLC_OK, 5, true},
        {SLC_MISMATCH_UPDATE, "x-max-length", NULL, 5, SLC_OK, 5, true},
        {SLC_MISMATCH_UPDATE, "x-max-length", NULL, 6, SLC_OK, 6, true},
        {SLC_MISMATCH_UPDATE, "x-max-length", NULL, 2, SLC_OK, 2, true},
        {SLC_MISMATCH_UPDATE, "x-message-ttl", NULL, 1000, SLC_OK, SLC_UNLIMITED, true},
        {SLC_MISMATCH_UPDATE, "x-max-length", NULL, -1, SLC_EPRECONDITION, 5, true},
        {SLC_MISMATCH_UPDATE, "x-max-length", NULL, 5, SLC_EPRECONDITION, 5, false},
        {SLC_MISMATCH_UPDATE, "x-max-length", "x-queue-type=quorum", 5, SLC_EPRECONDITION, 5, true},
        {SLC_MISMATCH_UPDATE, "x-max-priority", NULL, 5, SLC_EPRECONDITION, 5, true},
    };
    for (size_t i = 0; i < SLC_ARRAY_COUNT(cases); i++) {
        fake_options(w)->on_mismatch = cases[i].how;
        fake_restart(w);
        start();
        cr_assert(eq(int, declare_one("q", true, "x-max-length", 5), SLC_OK));
        for (int n = 0; n < 4; n++)
            publish_n("q", n, true, 0, 0);
        slc_err rc =
            declare("q", cases[i].durable, cases[i].name, 1, &cases[i].key, &cases[i].value);
        cr_expect(eq(int, rc, cases[i].rc), "case %zu: %s", i, last_error.text);
        for (int restarts = 0; restarts < 2; restarts++) {
            fake_turn(w);
            const slc_queue *q = queue_named(w, "q");
            cr_expect(eq(u64, q->settings.max_length, cases[i].length), "case %zu", i);
            cr_expect(eq(u64, q->ready, cases[i].length < 4 ? cases[i].length : 4), "case %zu", i);
            if (restarts == 0)
                fake_restart(w);
        }
        start();
        cr_assert(eq(int, fake_queue_delete(w, s, "q"), SLC_OK));
    }
    // What belongs to another connection is no mismatch.
    fake_options(w)->on_mismatch = SLC_MISMATCH_IGNORE;
    fake_restart(w);
    start();
    cr_assert(eq(int, fake_queue(w, s, "q", "x"), SLC_OK));
    slc_session *other = fake_session(fake_client_open(w));
    cr_expect(eq(int, fake_queue(w, other, "q", ""), SLC_ELOCKED));
    cr_expect(eq(int, fake_queue(w, s, "q", "d"), SLC_ELOCKED));
}

Test(queue_limits, a_message_that_fails_too_often_goes)
{
    const char *key = "x-delivery-limit";
    int64_t two = 2;
    declare("q", true, "x-queue-type=quorum", 1, &key, &two);
    publish_n("q", 1, false, 0, 0);
    fake_turn(w);
    cr_expect(eq(u32, fake_stored(w), 1), "a quorum queue stores transient ones");
    slc_error error = {0};
    for (int i = 0; i < 3; i++) {
        uint64_t tag = 0;
        cr_assert(fake_get(w, s, "q", false, &tag) != NULL);
        cr_assert(eq(int, slc_session_settle(s, tag, false, SLC_SETTLE_REQUEUE, &error), SLC_OK));
    }
    EXPECT_GET("q", "");
    fake_turn(w);
    cr_expect(eq(u32, fake_stored(w), 0));
}
