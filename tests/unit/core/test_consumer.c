// Priorities of consumers and the single active one against a naive model: a list of consumers in the order of their turn.
// @spec amqp-semantics 12.1, 12.2, 15.2
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/internal.h"
#include "fake_world.h"

enum { CONSUMERS_MAX = 12, UNACKED_MAX = 8, STEPS = 1500 };

static slc_err consume_with(slc_session *s, const char *queue, const char *tag, slc_slice arguments,
                            bool exclusive, slc_error *error)
{
    const slc_consumer *consumer;
    slc_consume consume = {.queue = slc_slice_str(queue),
                           .tag = slc_slice_str(tag),
                           .exclusive = exclusive,
                           .arguments = arguments};
    return slc_session_consume(s, &consume, &consumer, error);
}

static slc_err consume_at(slc_session *s, const char *queue, const char *tag, int64_t priority)
{
    slc_table_builder b = {0};
    slc_error error = {0};
    slc_table_put_i64(&b, "x-priority", priority);
    slc_err rc = consume_with(s, queue, tag, slc_table_builder_content(&b), false, &error);
    slc_table_builder_fini(&b);
    return rc;
}

static void declare_with(fake_world *w, slc_session *s, const char *name, slc_table_builder *b)
{
    slc_error error = {0};
    slc_queue_declared out;
    slc_queue_declare declare = {.name = slc_slice_str(name),
                                 .arguments = slc_table_builder_content(b)};
    slc_err rc = slc_session_queue_declare(s, &declare, &out, &error);
    if (rc != SLC_OK)
        cr_assert_fail("declare: %s", error.text);
    slc_table_builder_fini(b);
    (void)w;
}

/** A durable quorum queue with a single active consumer. */
static void declare_quorum(fake_world *w, slc_session *s, const char *name)
{
    slc_table_builder b = {0};
    slc_error error = {0};
    slc_queue_declared out;
    slc_table_put_text(&b, "x-queue-type", "quorum");
    slc_table_put_bool(&b, "x-single-active-consumer", true);
    slc_queue_declare declare = {
        .name = slc_slice_str(name), .durable = true, .arguments = slc_table_builder_content(&b)};
    slc_err rc = SLC_EPENDING;
    for (int i = 0; i < 10 && rc == SLC_EPENDING; i++) {
        rc = slc_session_queue_declare(s, &declare, &out, &error);
        fake_turn(w);
    }
    cr_assert(rc == SLC_OK, "%s", error.text);
    slc_table_builder_fini(&b);
}

static void declare_single_active(fake_world *w, slc_session *s, const char *name)
{
    slc_table_builder b = {0};
    slc_table_put_bool(&b, "x-single-active-consumer", true);
    declare_with(w, s, name, &b);
}

/* ---- the model ---- */

typedef struct model_consumer {
    slc_session *session;
    char tag[16];
    int64_t priority;
    uint16_t prefetch;
    bool there;    // subscribed
    uint64_t came; // order of subscription
    uint64_t turn; // the lower, the sooner it is its turn
    bool was_ready;
    bool drains; // was active: the next one waits for what it holds
    uint64_t tags[UNACKED_MAX];
    char bodies[UNACKED_MAX][16];
    uint32_t unacked;
    uint64_t last_tag;
} model_consumer;

typedef struct model {
    fake_world *w;
    fake_client *client;
    slc_session *publisher;
    model_consumer consumers[CONSUMERS_MAX];
    model_consumer *active;
    bool single, quorum;
    uint64_t clock;
    char ready[STEPS + 1][16]; // in order
    uint32_t first, count;
    uint32_t published;
    char want[8192];
} model;

static uint64_t seed, state;

static uint32_t below(uint32_t n)
{
    uint64_t z = (state += UINT64_C(0x9E3779B97F4A7C15));
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return (uint32_t)((z ^ (z >> 31)) % n);
}

static bool model_can(const model *m, const model_consumer *c)
{
    return c->there && c->unacked < c->prefetch && (!m->single || m->active == c);
}

/** Who stands up now takes a place at the end of the line. */
static void model_line_up(model *m)
{
    for (int i = 0; i < CONSUMERS_MAX; i++) {
        model_consumer *c = &m->consumers[i];
        bool can = model_can(m, c);
        if (can && !c->was_ready)
            c->turn = ++m->clock;
        c->was_ready = can;
    }
}

static void model_choose_active(model *m)
{
    if (!m->single || m->active != NULL)
        return;
    model_consumer *best = NULL;
    for (int i = 0; i < CONSUMERS_MAX; i++) {
        model_consumer *c = &m->consumers[i];
        if (c->drains)
            return;
        if (c->there && (best == NULL || c->priority > best->priority ||
                         (c->priority == best->priority && c->came < best->came)))
            best = c;
    }
    m->active = best;
}

/** Hand out what can be handed out. */
static void model_dispatch(model *m)
{
    for (;;) {
        model_choose_active(m);
        model_line_up(m);
        model_consumer *best = NULL;
        for (int i = 0; i < CONSUMERS_MAX && m->count > 0; i++) {
            model_consumer *c = &m->consumers[i];
            if (model_can(m, c) && (best == NULL || c->priority > best->priority ||
                                    (c->priority == best->priority && c->turn < best->turn)))
                best = c;
        }
        if (best == NULL)
            return;
        best->turn = ++m->clock;
        best->tags[best->unacked] = ++best->last_tag;
        strcpy(best->bodies[best->unacked++], m->ready[m->first]);
        size_t at = strlen(m->want);
        snprintf(m->want + at, sizeof m->want - at, "%sdeliver %llu %s %s", at > 0 ? "; " : "",
                 (unsigned long long)best->last_tag, best->tag, m->ready[m->first]);
        m->first++;
        m->count--;
    }
}

static void model_settle(model *m, model_consumer *c)
{
    if (c->unacked == 0)
        return;
    uint32_t i = below(c->unacked);
    slc_error error = {0};
    cr_assert(slc_session_settle(c->session, c->tags[i], false, SLC_SETTLE_ACK, &error) == SLC_OK,
              "seed %llu: %s", (unsigned long long)seed, error.text);
    c->unacked--;
    memmove(&c->tags[i], &c->tags[i + 1], (c->unacked - i) * sizeof c->tags[0]);
    memmove(&c->bodies[i], &c->bodies[i + 1], (c->unacked - i) * sizeof c->bodies[0]);
    c->drains = c->drains && c->unacked > 0;
    (void)m;
}

static void model_subscribe(model *m, model_consumer *c)
{
    c->priority = (int64_t)below(4) - 1;
    c->prefetch = (uint16_t)(1 + below(UNACKED_MAX - 1));
    if (c->unacked > 0)
        return; // a new subscription has its own count; the model keeps one
    slc_session_qos(c->session, c->prefetch, false);
    cr_assert(consume_at(c->session, "q", c->tag, c->priority) == SLC_OK);
    c->there = true;
    c->came = ++m->clock;
    c->was_ready = false;
    if (m->quorum && m->active != NULL && c->priority > m->active->priority) {
        m->active->drains = m->active->unacked > 0; // it steps down
        m->active = NULL;
    }
}

static void model_cancel(model *m, model_consumer *c)
{
    slc_error error = {0};
    cr_assert(slc_session_cancel(c->session, slc_slice_str(c->tag), &error) == SLC_OK);
    c->there = c->was_ready = false;
    if (m->active == c) {
        m->active = NULL;
        c->drains = c->unacked > 0;
    }
}

static void model_step(model *m)
{
    model_consumer *c = &m->consumers[below(CONSUMERS_MAX)];
    uint32_t what = below(100);
    if (what < 45) {
        char body[16];
        snprintf(body, sizeof body, "m%u", m->published++);
        strcpy(m->ready[m->first + m->count++], body);
        cr_assert(fake_publish(m->publisher, "", "q", body, "") == SLC_OK);
    } else if (what < 85) {
        for (int i = 0; i < CONSUMERS_MAX && c->unacked == 0; i++)
            c = &m->consumers[below(CONSUMERS_MAX)];
        model_settle(m, c);
    } else if (c->there) {
        model_cancel(m, c);
    } else {
        model_subscribe(m, c);
    }
    model_dispatch(m);
}

static void model_run(bool single, bool quorum)
{
    const char *given = getenv("SLC_TEST_SEED");
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    seed = given != NULL ? strtoull(given, NULL, 0)
                         : (uint64_t)now.tv_sec * 1000000007u ^ (uint64_t)now.tv_nsec;
    state = seed;
    model *m = slc_alloc_zero(1, sizeof *m);
    m->single = single;
    m->quorum = quorum;
    m->w = fake_world_new();
    m->client = fake_client_open(m->w);
    m->publisher = fake_session(m->client);
    if (quorum)
        declare_quorum(m->w, m->publisher, "q");
    else if (single)
        declare_single_active(m->w, m->publisher, "q");
    else
        cr_assert(fake_queue(m->w, m->publisher, "q", "") == SLC_OK);
    for (int i = 0; i < CONSUMERS_MAX; i++) {
        model_consumer *c = &m->consumers[i];
        c->session = fake_session(m->client);
        snprintf(c->tag, sizeof c->tag, "c%d", i);
    }
    uint32_t delivered = 0;
    for (int step = 0; step < STEPS; step++) {
        m->want[0] = 0;
        model_step(m);
        fake_turn(m->w);
        const char *got = fake_take_log(m->client);
        if (strcmp(got, m->want) != 0)
            cr_assert_fail("seed %llu, step %d: got '%s', want '%s'", (unsigned long long)seed,
                           step, got, m->want);
        delivered += m->want[0] != 0;
    }
    cr_assert(delivered > STEPS / 10, "seed %llu: too little happened", (unsigned long long)seed);
    fake_client_close(m->client);
    fake_world_free(m->w);
    slc_free(m);
}

Test(consumer, priorities_agree_with_a_naive_model, .timeout = 60)
{
    model_run(false, false);
}

Test(consumer, single_active_agrees_with_a_naive_model, .timeout = 60)
{
    model_run(true, false);
}

Test(consumer, single_active_of_a_quorum_queue_agrees_with_a_naive_model, .timeout = 60)
{
    model_run(true, true);
}

/* ---- priorities ---- */

Test(consumer, a_blocked_high_priority_lets_lower_ones_take, .timeout = 60)
{
    fake_world *w = fake_world_new();
    fake_client *c = fake_client_open(w);
    slc_session *high = fake_session(c);
    slc_session *low = fake_session(c);
    fake_queue(w, low, "q", "");
    slc_session_qos(high, 1, false);
    consume_at(low, "q", "low", -5);
    consume_at(high, "q", "high", INT64_MAX);
    for (int i = 0; i < 3; i++)
        fake_publish(low, "", "q", "m", "");
    fake_turn(w);
    cr_expect_str_eq(fake_take_log(c), "deliver 1 high m; deliver 1 low m; deliver 2 low m");
    slc_error error = {0};
    cr_expect(slc_session_settle(high, 1, false, SLC_SETTLE_ACK, &error) == SLC_OK);
    fake_publish(low, "", "q", "n", "");
    fake_turn(w);
    cr_expect_str_eq(fake_take_log(c), "deliver 2 high n");
    fake_client_close(c);
    fake_world_free(w);
}

struct argument_case {
    char key[32];
    char text
        [96]; // of the error, behind "invalid arg 'KEY' for queue 'q' in vhost '/': "; empty: accepted
    int what; // 0 text, 1 integer 5, 2 true, 3 integer -1
};

Test(consumer, arguments_are_checked, .timeout = 60)
{
    static const struct argument_case cases[] = {
        {"x-priority", "", 1},
        {"x-priority", "", 3},
        {"x-priority", "\"expected integer, got longstr\"", 0},
        {"x-priority", "\"expected integer, got bool\"", 2},
        {"x-cancel-on-ha-failover", "", 2},
        {"x-cancel-on-ha-failover", "{unacceptable_type,longstr}", 0},
        {"x-consumer-timeout", "", 1},
        {"x-consumer-timeout", "{value_negative,-1}", 3},
        {"x-consumer-timeout", "\"expected integer, got longstr\"", 0},
        {"x-stream-offset", "\"text is not supported by this version of Sluice\"", 0},
        {"x-unknown", "", 0},
    };
    fake_world *w = fake_world_new();
    fake_client *c = fake_client_open(w);
    slc_session *s = fake_session(c);
    fake_queue(w, s, "q", "");
    for (size_t i = 0; i < SLC_ARRAY_COUNT(cases); i++) {
        slc_table_builder b = {0};
        slc_error error = {0};
        char tag[16], want[256] = "";
        snprintf(tag, sizeof tag, "c%zu", i);
        if (cases[i].what == 0)
            slc_table_put_text(&b, cases[i].key, "text");
        else if (cases[i].what == 2)
            slc_table_put_bool(&b, cases[i].key, true);
        else
            slc_table_put_i32(&b, cases[i].key, cases[i].what == 1 ? 5 : -1);
        slc_err rc = consume_with(s, "q", tag, slc_table_builder_content(&b), false, &error);
        if (cases[i].text[0] != 0)
            snprintf(want, sizeof want, "invalid arg '%s' for queue 'q' in vhost '/': %s",
                     cases[i].key, cases[i].text);
        cr_expect(rc == (want[0] != 0 ? SLC_EPRECONDITION : SLC_OK), "case %zu", i);
        cr_expect_str_eq(rc == SLC_OK ? "" : error.text, want);
        slc_table_builder_fini(&b);
    }
    fake_client_close(c);
    fake_world_free(w);
}

/* ---- the single active consumer ---- */

Test(consumer, exclusive_is_refused_beside_a_single_active_consumer, .timeout = 60)
{
    fake_world *w = fake_world_new();
    fake_client *c = fake_client_open(w);
    slc_session *s = fake_session(c);
    declare_single_active(w, s, "q");
    slc_error error = {0};
    cr_expect(consume_with(s, "q", "c", (slc_slice){0}, true, &error) == SLC_EACCESS);
    cr_expect_str_eq(error.text, "queue 'q' in vhost '/' in exclusive use");
    uint64_t tag;
    fake_publish(s, "", "q", "m", "");
    cr_expect_str_eq(fake_get(w, s, "q", true, &tag), "m"); // of a classic queue anybody may get
    fake_client_close(c);
    fake_world_free(w);
}

static void consumer_gather(const slc_consumer_info *info, void *arg)
{
    char *text = arg;
    size_t at = strlen(text);
    snprintf(text + at, 256 - at, "%.*s %s %d; ", SLC_SLICE_FMT(info->tag), info->activity,
             info->active);
}

Test(consumer, the_list_says_who_is_active, .timeout = 60)
{
    fake_world *w = fake_world_new();
    fake_client *c = fake_client_open(w);
    slc_session *a = fake_session(c);
    slc_session *b = fake_session(c);
    declare_single_active(w, a, "q");
    fake_queue(w, a, "plain", "");
    fake_consume(a, "q", "first", "");
    fake_consume(b, "q", "second", "");
    fake_consume(b, "plain", "third", "");
    char text[256] = "";
    slc_vhost_each_consumer(slc_broker_vhost(fake_broker(w), slc_slice_str("/")), consumer_gather,
                            text);
    cr_expect_str_eq(text, "first single_active 1; second waiting 0; third up 1; ");
    // The channel of the active one is lost with a message: the next gets it, and again in order.
    fake_publish(b, "", "q", "m1", "");
    fake_publish(b, "", "q", "m2", "");
    fake_turn(w);
    cr_expect_str_eq(fake_take_log(c), "deliver 1 first m1; deliver 2 first m2");
    slc_session_abandon(a);
    fake_turn(w);
    cr_expect_str_eq(fake_take_log(c), "deliver 1 second m1 again; deliver 2 second m2 again");
    fake_client_close(c);
    fake_world_free(w);
}

/* ---- deliveries that are not settled in time ---- */

static slc_err consume_timed(slc_session *s, const char *queue, const char *tag, int64_t timeout_ms)
{
    slc_table_builder b = {0};
    slc_error error = {0};
    slc_table_put_i64(&b, "x-consumer-timeout", timeout_ms);
    slc_err rc = consume_with(s, queue, tag, slc_table_builder_content(&b), false, &error);
    slc_table_builder_fini(&b);
    return rc;
}

#define LATE(channel, ms)                                                                          \
    "failed " #channel " SLC_EPRECONDITION delivery acknowledgement on channel " #channel          \
    " timed out. Timeout value used: " #ms                                                         \
    " ms. This timeout value can be configured, see consumers doc guide to learn more"

Test(consumer, a_late_delivery_cancels_its_consumer, .timeout = 60)
{
    fake_world *w = fake_world_new();
    fake_client *c = fake_client_open(w);
    slc_session *s = fake_session(c);
    slc_session_client(s)->cancel_notify = true;
    fake_queue(w, s, "q", "");
    consume_timed(s, "q", "late", 5000);
    fake_publish(s, "", "q", "m1", "");
    fake_publish(s, "", "q", "m2", "");
    fake_advance(w, 3000);
    fake_publish(s, "", "q", "m3", "");
    cr_expect_str_eq(fake_take_log(c), "deliver 1 late m1; deliver 2 late m2; deliver 3 late m3");
    slc_error error = {0};
    cr_expect(slc_session_settle(s, 1, false, SLC_SETTLE_ACK, &error) == SLC_OK);
    fake_advance(w, 1999);
    cr_expect_str_eq(fake_take_log(c), "");
    fake_advance(w, 1);
    cr_expect_str_eq(fake_take_log(c), "cancelled late");
    // What it held is back in its order; who settles it now does no harm, and nothing to the message.
    cr_expect(slc_session_settle(s, 2, false, SLC_SETTLE_ACK, &error) == SLC_OK);
    cr_expect(slc_session_settle(s, 3, true, SLC_SETTLE_ACK, &error) == SLC_OK);
    cr_expect(slc_session_settle(s, 4, false, SLC_SETTLE_ACK, &error) == SLC_EPRECONDITION);
    cr_expect(slc_session_settle(s, 1, false, SLC_SETTLE_ACK, &error) == SLC_EPRECONDITION);
    fake_consume(s, "q", "next", "");
    fake_turn(w);
    cr_expect_str_eq(fake_take_log(c), "deliver 4 next m2 again; deliver 5 next m3 again");
    fake_client_close(c);
    fake_world_free(w);
}

Test(consumer, a_late_delivery_ends_a_channel_that_cannot_be_told, .timeout = 60)
{
    fake_world *w = fake_world_new();
    fake_client *c = fake_client_open(w);
    slc_session *other = fake_session(c);
    slc_session *s = fake_session(c);
    fake_queue(w, s, "q", "");
    consume_timed(s, "q", "late", 5000);
    fake_publish(s, "", "q", "m1", "");
    fake_advance(w, 5000);
    cr_expect_str_eq(fake_take_log(c), "deliver 1 late m1; " LATE(2, 5000));
    uint64_t tag;
    cr_expect_str_eq(fake_get(w, other, "q", false, &tag), "m1");
    fake_client_close(c);
    fake_world_free(w);
}

Test(consumer, what_is_got_has_the_timeout_of_the_broker, .timeout = 60)
{
    fake_world *w = fake_world_new();
    fake_client *c = fake_client_open(w);
    slc_session *s = fake_session(c);
    slc_session_client(s)->cancel_notify = true;
    fake_queue(w, s, "q", "");
    slc_broker_ack_timeout(fake_broker(w), 2000);
    consume_timed(s, "q", "patient", 0); // its own: never
    fake_publish(s, "", "q", "m1", "");
    slc_error error = {0};
    cr_expect(slc_session_cancel(s, slc_slice_str("patient"), &error) == SLC_OK);
    fake_publish(s, "", "q", "m2", "");
    uint64_t tag;
    cr_expect_str_eq(fake_get(w, s, "q", true, &tag),
                     "m2"); // without an ack there is nothing to wait for
    fake_advance(w, 100000);
    cr_expect_str_eq(fake_take_log(c), "deliver 1 patient m1");
    fake_publish(s, "", "q", "m3", "");
    cr_expect_str_eq(fake_get(w, s, "q", false, &tag), "m3");
    fake_advance(w, 1999);
    cr_expect_str_eq(fake_take_log(c), "");
    fake_advance(w, 1); // no consumer that could be cancelled
    cr_expect_str_eq(fake_take_log(c), LATE(1, 2000));
    fake_client_close(c);
    fake_world_free(w);
}

Test(consumer, a_rolled_back_ack_is_late_too, .timeout = 60)
{
    fake_world *w = fake_world_new();
    fake_client *c = fake_client_open(w);
    slc_session *s = fake_session(c);
    slc_session_client(s)->cancel_notify = true;
    slc_error error = {0};
    fake_queue(w, s, "q", "");
    fake_publish(s, "", "q", "m1", "");
    cr_assert(slc_session_tx_select(s, &error) == SLC_OK);
    consume_timed(s, "q", "late", 5000);
    fake_turn(w);
    cr_expect(slc_session_settle(s, 1, false, SLC_SETTLE_ACK, &error) == SLC_OK);
    fake_advance(w, 6000);
    cr_expect_str_eq(fake_take_log(c),
                     "deliver 1 late m1"); // acknowledged in time, as far as one knows
    cr_expect(slc_session_tx_rollback(s, &error) == SLC_OK);
    fake_advance(w, 1);
    cr_expect_str_eq(fake_take_log(c), "cancelled late");
    fake_client_close(c);
    fake_world_free(w);
}

Test(consumer, a_late_single_active_consumer_hands_over, .timeout = 60)
{
    fake_world *w = fake_world_new();
    fake_client *c = fake_client_open(w);
    slc_session *s = fake_session(c);
    slc_session_client(s)->cancel_notify = true;
    declare_single_active(w, s, "q");
    consume_timed(s, "q", "first", 1000);
    fake_consume(s, "q", "second", "");
    fake_publish(s, "", "q", "m1", "");
    fake_publish(s, "", "q", "m2", "");
    fake_take_log(c);
    fake_advance(w, 1000);
    cr_expect_str_eq(fake_take_log(c),
                     "cancelled first; deliver 3 second m1 again; deliver 4 second m2 again");
    fake_client_close(c);
    fake_world_free(w);
}

Test(consumer, a_policy_sets_the_timeout_and_the_smaller_one_counts, .timeout = 60)
{
    fake_world *w = fake_world_new();
    fake_client *c = fake_client_open(w);
    slc_session *s = fake_session(c);
    slc_session_client(s)->cancel_notify = true;
    fake_queue(w, s, "q", "");
    fake_consume(s, "q", "c", "");
    slc_queue *queue =
        slc_vhost_queue(slc_broker_vhost(fake_broker(w), slc_slice_str("/")), slc_slice_str("q"));
    slc_table_builder policy = {0}, operator_policy = {0};
    slc_table_put_i64(&policy, "consumer-timeout", 9000);
    slc_table_put_i64(&operator_policy, "consumer-timeout", 4000);
    queue->dest.policy = slc_table_builder_content(&policy);
    queue->dest.operator_policy = slc_table_builder_content(&operator_policy);
    slc_queue_settings_changed(queue);
    fake_publish(s, "", "q", "m1", "");
    fake_advance(w, 3999);
    cr_expect_str_eq(fake_take_log(c), "deliver 1 c m1");
    fake_advance(w, 1);
    cr_expect_str_eq(fake_take_log(c), "cancelled c");
    fake_client_close(c);
    fake_world_free(w);
    slc_table_builder_fini(&policy);
    slc_table_builder_fini(&operator_policy);
}

Test(consumer, a_quorum_queue_waits_thirty_minutes_and_its_consumer_steps_down, .timeout = 60)
{
    fake_world *w = fake_world_new();
    slc_broker_ack_timeout(fake_broker(w), SLC_ACK_TIMEOUT_OF_KIND);
    fake_client *c = fake_client_open(w);
    slc_session *s = fake_session(c);
    slc_session_client(s)->cancel_notify = true;
    declare_quorum(w, s, "q");
    slc_got got;
    slc_error error = {0};
    cr_expect(slc_session_get(s, slc_slice_str("q"), false, &got, &error) == SLC_ELOCKED);
    consume_at(s, "q", "low", 1);
    fake_publish(s, "", "q", "m1", "");
    fake_turn(w);
    cr_expect_str_eq(fake_take_log(c), "deliver 1 low m1");
    consume_at(s, "q", "high", 2);
    fake_publish(s, "", "q", "m2", "");
    fake_turn(w);
    cr_expect_str_eq(fake_take_log(c), "", "m1 is not settled yet");
    cr_expect(slc_session_settle(s, 1, false, SLC_SETTLE_ACK, &error) == SLC_OK);
    fake_turn(w);
    cr_expect_str_eq(fake_take_log(c), "deliver 2 high m2");
    fake_advance(w, 30 * 60 * 1000 - 1);
    cr_expect_str_eq(fake_take_log(c), "");
    fake_advance(w, 1);
    cr_expect_str_eq(fake_take_log(c), "cancelled high; deliver 3 low m2 again");
    fake_client_close(c);
    fake_world_free(w);
}
