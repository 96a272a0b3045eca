// Dead letters: the headers, the way, cycles, and that a crash neither loses nor doubles one. @spec amqp-semantics 14
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/table.h"
#include "core/death_history.h"
#include "core/internal.h"
#include "fake_world.h"

static fake_world *w;
static fake_client *c;
static slc_session *s;

static void start(void)
{
    c = fake_client_open(w);
    s = fake_session(c);
}

static void setup(void)
{
    w = fake_world_new();
    start();
}

static void teardown(void)
{
    fake_world_free(w);
    cr_expect(eq(u64, slc_message_bytes_alive(), 0), "every message was freed");
}

TestSuite(dead_letter, .init = setup, .fini = teardown, .timeout = 60);

/** Arguments: pairs of key and text; a text of digits is a number. */
static void declare(const char *name, bool durable, const char *const *pairs)
{
    slc_table_builder b = {0};
    for (; *pairs != NULL; pairs += 2) {
        char *end;
        long number = strtol(pairs[1], &end, 10);
        if (*end == '\0' && end != pairs[1])
            slc_table_put_i64(&b, pairs[0], number);
        else
            slc_table_put_text(&b, pairs[0], pairs[1]);
    }
    slc_queue_declare declare = {.name = slc_slice_str(name),
                                 .durable = durable,
                                 .arguments = slc_table_builder_content(&b)};
    slc_queue_declared out;
    slc_error error = {0};
    slc_err rc = SLC_EPENDING;
    for (int i = 0; i < 100 && rc == SLC_EPENDING; i++) {
        rc = slc_session_queue_declare(s, &declare, &out, &error);
        fake_turn(w);
    }
    slc_table_builder_fini(&b);
    cr_assert(eq(int, rc, SLC_OK), "%s", error.text);
}
#define DECLARE(name, durable, ...) declare(name, durable, (const char *const[]){__VA_ARGS__, NULL})

static void settle(uint64_t tag, slc_settle how)
{
    slc_error error = {0};
    cr_assert(eq(int, slc_session_settle(s, tag, false, how, &error), SLC_OK), "%s", error.text);
    fake_turn(w);
}

static const char *take(const char *queue)
{
    const char *body = fake_get(w, s, queue, true, NULL);
    return body != NULL ? body : "(empty)";
}

static void reject(const char *queue)
{
    uint64_t tag;
    cr_assert(ne(ptr, (void *)(uintptr_t)fake_get(w, s, queue, false, &tag), NULL));
    settle(tag, SLC_SETTLE_REJECT);
}

#define EXPECT_TAKE(queue, want) cr_expect(eq(str, (char *)take(queue), (char *)(want)))

/* ---- headers ---- */

static char *headers_after(slc_slice headers, bool known, bool without_cc,
                           const slc_death_event *event, slc_buffer *out)
{
    static slc_buffer text;
    text.bytes = 0;
    out->bytes = 0;
    slc_death_headers(headers, known, without_cc, event, out);
    slc_table_text(slc_buffer_slice(out), &text);
    slc_buffer_octet(&text, '\0');
    return (char *)text.data;
}

Test(dead_letter, headers_tell_each_death_once_and_count)
{
    slc_table_builder b = {0};
    slc_table_put_text(&b, "mine", "stays");
    slc_table_open(&b, "CC", SLC_TYPE_ARRAY);
    slc_table_put_text(&b, NULL, "k2");
    slc_table_close(&b);
    slc_death_event e = {.reason = "expired",
                         .queue = slc_slice_str("q1"),
                         .exchange = slc_slice_str("x"),
                         .key = slc_slice_str("k"),
                         .expiration = slc_slice_str("50"),
                         .time_s = 7};
    slc_buffer one = {0}, two = {0}, three = {0};
    cr_expect(eq(str, headers_after(slc_table_builder_content(&b), false, false, &e, &one),
                 "[{\"mine\",\"stays\"},{\"CC\",[\"k2\"]},{\"x-death\",[[{\"original-expiration\","
                 "\"50\"},{\"count\",1},{\"reason\",\"expired\"},{\"queue\",\"q1\"},{\"time\",7},"
                 "{\"exchange\",\"x\"},{\"routing-keys\",[\"k\",\"k2\"]}]]},"
                 "{\"x-first-death-reason\",\"expired\"},{\"x-first-death-queue\",\"q1\"},"
                 "{\"x-first-death-exchange\",\"x\"},{\"x-last-death-reason\",\"expired\"},"
                 "{\"x-last-death-queue\",\"q1\"},{\"x-last-death-exchange\",\"x\"}]"));
    // Another queue: a second entry, in front. The same again: its count, in front, everything else as it was.
    slc_death_event other = {.reason = "rejected", .queue = slc_slice_str("q2"), .time_s = 8};
    (void)headers_after(slc_buffer_slice(&one), true, true, &other, &two);
    e.time_s = 9;
    char *text = headers_after(slc_buffer_slice(&two), true, true, &e, &three);
    cr_expect(ne(ptr,
                 strstr(text, "{\"x-death\",[[{\"original-expiration\",\"50\"},{\"count\",2},"
                              "{\"reason\",\"expired\"},{\"queue\",\"q1\"},{\"time\",7},"),
                 NULL),
              "%s", text);
    cr_expect(
        ne(ptr, strstr(text, "[{\"count\",1},{\"reason\",\"rejected\"},{\"queue\",\"q2\"}"), NULL),
        "%s", text);
    cr_expect(ne(ptr, strstr(text, "{\"x-first-death-queue\",\"q1\"}"), NULL), "%s", text);
    cr_expect(eq(ptr, strstr(text, "\"CC\""), NULL), "%s", text);
    // What a client wrote is no history.
    text = headers_after(slc_buffer_slice(&three), false, false, &other, &two);
    cr_expect(eq(ptr, strstr(text, "expired"), NULL), "%s", text);
    slc_table_builder_fini(&b);
    slc_buffer_fini(&one);
    slc_buffer_fini(&two);
    slc_buffer_fini(&three);
}

Test(dead_letter, a_cycle_is_a_death_there_without_a_rejection_since)
{
    slc_buffer h[4] = {0};
    slc_death_event in_a = {.reason = "expired", .queue = slc_slice_str("a")};
    slc_death_event in_b = {.reason = "maxlen", .queue = slc_slice_str("b")};
    slc_death_event rejected = {.reason = "rejected", .queue = slc_slice_str("c")};
    slc_death_headers((slc_slice){0}, true, false, &in_a, &h[0]);
    slc_death_headers(slc_buffer_slice(&h[0]), true, false, &in_b, &h[1]);
    cr_expect(slc_death_is_cycle(slc_buffer_slice(&h[1]), slc_slice_str("a")));
    cr_expect(slc_death_is_cycle(slc_buffer_slice(&h[1]), slc_slice_str("b")));
    cr_expect(not(slc_death_is_cycle(slc_buffer_slice(&h[1]), slc_slice_str("c"))));
    slc_death_headers(slc_buffer_slice(&h[1]), true, false, &rejected, &h[2]);
    cr_expect(not(slc_death_is_cycle(slc_buffer_slice(&h[2]), slc_slice_str("a"))));
    slc_death_headers(slc_buffer_slice(&h[2]), true, false, &in_b, &h[3]);
    cr_expect(slc_death_is_cycle(slc_buffer_slice(&h[3]), slc_slice_str("b")));
    cr_expect(not(slc_death_is_cycle(slc_buffer_slice(&h[3]), slc_slice_str("a"))));
    for (int i = 0; i < 4; i++)
        slc_buffer_fini(&h[i]);
}

/* ---- the way ---- */

Test(dead_letter, rejected_goes_to_the_exchange_with_its_key_or_the_queues)
{
    fake_exchange(w, s, "dlx", "direct", "");
    fake_queue(w, s, "dead", "");
    fake_queue(w, s, "dead2", "");
    fake_bind(w, s, "dead", "dlx", "source");
    fake_bind(w, s, "dead2", "dlx", "other");
    DECLARE("source", false, "x-dead-letter-exchange", "dlx");
    DECLARE("keyed", false, "x-dead-letter-exchange", "dlx", "x-dead-letter-routing-key", "other");
    fake_publish(s, "", "source", "m1", "");
    fake_publish(s, "", "keyed", "m2", "");
    reject("source");
    reject("keyed");
    EXPECT_TAKE("dead", "m1");
    EXPECT_TAKE("dead2", "m2");
    EXPECT_TAKE("source", "(empty)");
}

Test(dead_letter, without_the_exchange_it_is_dropped_and_counted)
{
    DECLARE("source", true, "x-dead-letter-exchange", "nowhere");
    fake_publish(s, "", "source", "m1", "p");
    fake_turn(w);
    reject("source");
    slc_broker_totals totals;
    slc_broker_total(fake_broker(w), &totals);
    cr_expect(eq(u64, totals.dead_lettered_dropped, 1));
    cr_expect(eq(u64, totals.dead_lettered, 0));
    cr_expect(eq(u32, fake_stored(w), 0));
}

Test(dead_letter, what_would_go_round_is_dropped)
{
    // Expires in a, is pushed out of b by length 0, and would come back to a.
    DECLARE("a", false, "x-message-ttl", "10", "x-dead-letter-exchange", "",
            "x-dead-letter-routing-key", "b");
    DECLARE("b", false, "x-max-length", "0", "x-dead-letter-exchange", "",
            "x-dead-letter-routing-key", "a");
    fake_publish(s, "", "a", "m", "");
    fake_pass_time(w, 50);
    fake_pass_time(w, 50);
    EXPECT_TAKE("a", "(empty)");
    EXPECT_TAKE("b", "(empty)");
    slc_broker_totals totals;
    slc_broker_total(fake_broker(w), &totals);
    cr_expect(eq(u64, totals.dead_lettered, 1));
    cr_expect(eq(u64, totals.dead_lettered_dropped, 1));
}

Test(dead_letter, one_message_in_many_queues_dies_in_each_for_itself)
{
    fake_exchange(w, s, "all", "fanout", "");
    fake_queue(w, s, "dead", "");
    static const char *const names[] = {"q0", "q1", "q2", "q3"};
    for (int i = 0; i < 4; i++) {
        DECLARE(names[i], false, "x-dead-letter-exchange", "", "x-dead-letter-routing-key", "dead");
        fake_bind(w, s, names[i], "all", "");
    }
    fake_publish(s, "all", "", "m", "");
    reject("q0");
    reject("q2");
    EXPECT_TAKE("dead", "m");
    EXPECT_TAKE("dead", "m");
    EXPECT_TAKE("dead", "(empty)");
    EXPECT_TAKE("q1", "m");
    EXPECT_TAKE("q3", "m");
}

Test(dead_letter, the_order_of_death_is_kept_over_many_turns)
{
    fake_queue(w, s, "dead", "d");
    DECLARE("source", true, "x-max-length", "10", "x-dead-letter-exchange", "",
            "x-dead-letter-routing-key", "dead");
    char body[16];
    for (int i = 0; i < 5000; i++) {
        snprintf(body, sizeof body, "%d", i);
        fake_publish(s, "", "source", body, "p");
    }
    fake_turn(w);
    for (int i = 0; i < 4990; i++) {
        snprintf(body, sizeof body, "%d", i);
        EXPECT_TAKE("dead", body);
    }
    EXPECT_TAKE("dead", "(empty)");
    EXPECT_TAKE("source", "4990");
}

/** Reject without a turn, so that the death still waits. */
static void reject_only(const char *queue)
{
    uint64_t tag;
    slc_error error = {0};
    cr_assert(ne(ptr, (void *)(uintptr_t)fake_get(w, s, queue, false, &tag), NULL));
    cr_assert(eq(int, slc_session_settle(s, tag, false, SLC_SETTLE_REJECT, &error), SLC_OK));
}

Test(dead_letter, what_died_goes_on_although_its_queue_is_deleted)
{
    fake_queue(w, s, "dead", "d");
    static const char *const names[] = {"transient", "durable"};
    for (int durable = 0; durable < 2; durable++) {
        DECLARE(names[durable], durable != 0, "x-dead-letter-exchange", "",
                "x-dead-letter-routing-key", "dead");
        fake_publish(s, "", names[durable], "m1", "p");
        fake_publish(s, "", names[durable], "m2", "p");
        fake_publish(s, "", names[durable], "m3", "p");
        reject_only(names[durable]);
        reject_only(names[durable]);
        cr_assert(eq(int, fake_queue_delete(w, s, names[durable]), SLC_OK));
        fake_restart_clean(w);
        start();
        EXPECT_TAKE("dead", "m1");
        EXPECT_TAKE("dead", "m2");
        EXPECT_TAKE("dead", "(empty)");
    }
    slc_broker_totals totals;
    slc_broker_total(fake_broker(w), &totals);
    cr_expect(eq(u64, totals.dead_lettered_dropped, 0));
}

Test(dead_letter, what_died_goes_on_although_its_connection_ends)
{
    fake_client *other = fake_client_open(w);
    slc_session *others = fake_session(other);
    fake_queue(w, others, "dead", "");
    fake_consume(others, "dead", "t", "n");
    slc_table_builder b = {0};
    slc_table_put_text(&b, "x-dead-letter-exchange", "");
    slc_table_put_text(&b, "x-dead-letter-routing-key", "dead");
    slc_queue_declare exclusive = {.name = slc_slice_str("mine"),
                                   .exclusive = true,
                                   .arguments = slc_table_builder_content(&b)};
    slc_queue_declared out;
    slc_error error = {0};
    cr_assert(eq(int, slc_session_queue_declare(s, &exclusive, &out, &error), SLC_OK));
    slc_table_builder_fini(&b);
    fake_publish(s, "", "mine", "m1", "");
    reject_only("mine");
    fake_client_close(c);
    fake_turn(w);
    cr_expect(eq(str, (char *)fake_take_log(other), "deliver 1 t m1"));
}

/* ---- crashes ---- */

Test(dead_letter, a_crash_before_the_batch_is_durable_leaves_it_in_its_queue_after_it_in_the_other)
{
    for (int durable = 0; durable < 2; durable++) {
        fake_queue(w, s, "dead", "d");
        DECLARE("source", true, "x-dead-letter-exchange", "", "x-dead-letter-routing-key", "dead");
        fake_publish(s, "", "source", "m", "p");
        fake_turn(w);
        fake_hold_store(w, true);
        reject("source");
        if (durable)
            fake_sync(w);
        fake_hold_store(w, false);
        fake_restart(w);
        start();
        EXPECT_TAKE("source", durable ? "(empty)" : "m");
        EXPECT_TAKE("dead", durable ? "m" : "(empty)");
        EXPECT_TAKE("source", "(empty)");
        EXPECT_TAKE("dead", "(empty)");
    }
}

Test(dead_letter, random_deaths_and_restarts_lose_and_double_nothing)
{
    static const char *const names[] = {"a", "b", "c"};
    unsigned seed = (unsigned)time(NULL);
    cr_log_info("seed %u", seed);
    for (int round = 0; round < 20; round++) {
        DECLARE("a", true, "x-message-ttl", "30", "x-dead-letter-exchange", "",
                "x-dead-letter-routing-key", "b");
        DECLARE("b", true, "x-max-length", "5", "x-dead-letter-exchange", "",
                "x-dead-letter-routing-key", "c");
        DECLARE("c", true, "x-queue-mode", "default");
        uint32_t published = 0, seen[64] = {0};
        char body[16];
        for (int step = 0; step < 120; step++) {
            switch (rand_r(&seed) % 5) {
            case 0:
            case 1:
                if (published < 64) {
                    snprintf(body, sizeof body, "%u", published++);
                    fake_publish(s, "", names[rand_r(&seed) % 3], body, "p");
                    fake_turn(w);
                }
                break;
            case 2:
                fake_pass_time(w, rand_r(&seed) % 40);
                break;
            case 3: {
                const char *queue = names[rand_r(&seed) % 2];
                uint64_t tag;
                if (fake_get(w, s, queue, false, &tag) != NULL)
                    settle(tag, SLC_SETTLE_REJECT);
                break;
            }
            default:
                if (rand_r(&seed) % 8 == 0) {
                    fake_restart(w);
                    start();
                }
            }
        }
        for (int i = 0; i < 3; i++) {
            const char *body_got;
            while ((body_got = fake_get(w, s, names[i], true, NULL)) != NULL)
                seen[atoi(body_got)]++;
        }
        for (uint32_t i = 0; i < published; i++)
            cr_assert(eq(u32, seen[i], 1), "message %u of round %d, seed %u", i, round, seed);
        fake_restart(w);
        start();
        for (int i = 0; i < 3; i++)
            cr_assert(eq(int, fake_queue_delete(w, s, names[i]), SLC_OK));
    }
}

/* ---- a nack is an answer ---- */

/** A queue of this name that is full and gives what it refuses to the default exchange with this key. */
static void declare_full(const char *name, const char *dead_key)
{
    DECLARE(name, true, "x-max-length", "0", "x-overflow", "reject-publish-dlx",
            "x-dead-letter-exchange", "", "x-dead-letter-routing-key", dead_key);
}

static void confirm_select(void)
{
    slc_error error = {0};
    cr_assert(eq(int, slc_session_confirm_select(s, &error), SLC_OK));
}

static void expect_log(const char *want)
{
    fake_turn(w);
    cr_expect(eq(str, (char *)fake_take_log(c), (char *)want));
}

Test(dead_letter, a_refused_message_is_nacked_when_it_is_safe_among_the_dead)
{
    DECLARE("dead", true, NULL);
    declare_full("q", "dead");
    confirm_select();
    fake_hold_store(w, true);
    fake_publish(s, "", "q", "m1", "p");
    fake_publish(s, "", "nowhere", "m2", "");
    expect_log(""); // later ones do not overtake it
    fake_sync(w);
    expect_log("refuse 1; confirm 2");
    fake_restart(w);
    start();
    EXPECT_TAKE("dead", "m1");
    EXPECT_TAKE("dead", "(empty)");
}

Test(dead_letter, a_refused_message_that_is_dropped_or_transient_is_nacked_at_once)
{
    DECLARE("dead", true, NULL);
    DECLARE("transient", false, NULL);
    declare_full("q1", "nowhere");
    declare_full("q2", "dead");
    declare_full("q3", "transient");
    declare_full("q4", "q4"); // in a circle
    DECLARE("q5", true, "x-max-length", "0", "x-overflow", "reject-publish-dlx");
    confirm_select();
    fake_hold_store(w, true);
    fake_publish(s, "", "q1", "m", "p");
    fake_publish(s, "", "q2", "m", "");
    fake_publish(s, "", "q3", "m", "p");
    fake_publish(s, "", "q4", "m", "p");
    fake_publish(s, "", "q5", "m", "p");
    expect_log("refuse 1; refuse 2; refuse 3; refuse 4; refuse 5");
}

Test(dead_letter, a_refused_message_is_followed_through_full_queues)
{
    DECLARE("dead", true, NULL);
    declare_full("q1", "q2");
    declare_full("q2", "q3");
    declare_full("q3", "dead");
    confirm_select();
    fake_hold_store(w, true);
    fake_publish(s, "", "q1", "m1", "p");
    expect_log("");
    fake_sync(w);
    expect_log("refuse 1");
    EXPECT_TAKE("dead", "m1");
}

Test(dead_letter, a_refused_message_waits_for_all_the_queues_that_refused_it)
{
    // The dead letter that is dropped comes first, last, or is none; beside a queue that takes the message and one that drops
    // it by its own rule.
    static const char *const keys[][2] = {
        {"dead1", "dead2"}, {"nowhere", "dead2"}, {"dead1", "nowhere"}};
    DECLARE("dead1", true, NULL);
    DECLARE("dead2", true, NULL);
    DECLARE("takes", true, NULL);
    DECLARE("short", true, "x-max-length", "0", "x-dead-letter-exchange", "",
            "x-dead-letter-routing-key", "dead1");
    fake_exchange(w, s, "all", "fanout", "");
    fake_bind(w, s, "short", "all", "");
    fake_bind(w, s, "takes", "all", "");
    confirm_select();
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        char names[2][8], want[16];
        snprintf(names[0], sizeof names[0], "q%zu", i);
        snprintf(names[1], sizeof names[1], "r%zu", i);
        for (int k = 0; k < 2; k++) {
            declare_full(names[k], keys[i][k]);
            fake_bind(w, s, names[k], "all", "");
        }
        fake_hold_store(w, true);
        fake_publish(s, "all", "", "m", "p");
        expect_log("");
        fake_sync(w);
        snprintf(want, sizeof want, "refuse %zu", i + 1);
        expect_log(want);
        fake_hold_store(w, false);
        EXPECT_TAKE("takes", "m");
        EXPECT_TAKE("dead1", "m");
        for (int k = 0; k < 2; k++)
            fake_queue_delete(w, s, names[k]);
    }
}

Test(dead_letter, a_large_refused_message_is_no_exception)
{
    DECLARE("dead", true, NULL);
    declare_full("q", "dead");
    confirm_select();
    fake_large_from(w, 10);
    fake_hold_store(w, true);
    fake_publish(s, "", "q", "a large message", "p");
    expect_log("");
    fake_sync(w);
    expect_log("refuse 1");
    fake_restart(w);
    start();
    EXPECT_TAKE("dead", "a large message");
}

Test(dead_letter, a_refused_message_whose_queue_or_publisher_goes)
{
    DECLARE("dead", true, NULL);
    declare_full("q", "dead");
    confirm_select();
    fake_hold_store(w, true);
    slc_session *other = fake_session(c);
    slc_error error = {0};
    cr_assert(eq(int, slc_session_confirm_select(other, &error), SLC_OK));
    fake_publish(other, "", "q", "m1", "p");
    slc_session_abandon(other);
    fake_publish(s, "", "q", "m2", "p");
    uint32_t ready;
    cr_expect(eq(int, slc_session_queue_delete(s, slc_slice_str("q"), false, false, &ready, &error),
                 SLC_EPENDING));
    expect_log("");
    cr_expect(eq(int, slc_session_queue_delete(s, slc_slice_str("q"), false, false, &ready, &error),
                 SLC_OK));
    fake_sync(w);
    expect_log("refuse 1");
    EXPECT_TAKE("dead", "m1");
    EXPECT_TAKE("dead", "m2");
}

Test(dead_letter, a_commit_with_refused_messages_fails_when_they_are_safe_among_the_dead)
{
    DECLARE("dead", true, NULL);
    DECLARE("takes", true, NULL);
    declare_full("q", "dead");
    declare_full("lost", "nowhere");
    slc_error error = {0};
    cr_assert(eq(int, slc_session_tx_select(s, &error), SLC_OK));
    static const char *const queues[][3] = {{"q", "takes", "q"}, {"q", "q", "lost"}};
    for (int i = 0; i < 2; i++) {
        for (int k = 0; k < 3; k++)
            fake_publish(s, "", queues[i][k], "m", "p");
        fake_hold_store(w, true);
        cr_expect(eq(int, slc_session_tx_commit(s, &error), SLC_EPENDING));
        fake_turn(w);
        cr_expect(eq(int, s->wait, SLC_WAIT_TICKET));
        fake_sync(w);
        fake_turn(w);
        cr_expect(eq(int, s->wait, SLC_WAIT_NONE));
        cr_expect(eq(int, slc_session_tx_commit(s, &error), SLC_EPRECONDITION));
        cr_expect(eq(str, error.text, "partial tx completion"));
        fake_hold_store(w, false);
    }
    for (int i = 0; i < 4; i++)
        EXPECT_TAKE("dead", "m");
    fake_publish(s, "", "lost", "m", "p");
    fake_turn(w);
    fake_hold_store(w, true);
    cr_expect(eq(int, slc_session_tx_commit(s, &error), SLC_EPENDING));
    fake_turn(w);
    cr_assert(eq(int, s->wait, SLC_WAIT_NONE), "nothing to wait for");
    cr_expect(eq(int, slc_session_tx_commit(s, &error), SLC_EPRECONDITION));
    fake_publish(s, "", "takes", "m", "");
    cr_expect(eq(int, slc_session_tx_commit(s, &error), SLC_OK), "the next commit is another");
}
