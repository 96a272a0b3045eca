// Messages that die again and again on their way through queues whose dead letter keys lead anywhere, in circles too: where each
// one is and what its x-death says, against a naive model. @spec amqp-semantics 14
#include <string.h>

#include "backlog_support.h"
#include "base/table.h"
#include "core/properties.h"

enum {
    QUEUES = 5,
    MESSAGES = 60,
    STEPS = 250,
    ROUNDS = 40,
    TTL_MS = 7,
    LENGTH_MAX = 3,
    NOWHERE = QUEUES
};

typedef enum kind { PLAIN, EXPIRES, LIMITED } kind;

static const char *const reasons[] = {"rejected", "expired", "maxlen"};
enum { REJECTED, EXPIRED, MAXLEN };

/** One entry of x-death. */
typedef struct death {
    int queue, reason;
    unsigned count;
    uint64_t time_s;
} death;

typedef struct model_message {
    int queue; // -1: gone
    uint64_t expires_ms, place;
    death deaths[3 * QUEUES]; // the latest first
    int death_count, first_queue, first_reason, last_queue, last_reason;
} model_message;

typedef struct model_queue {
    char name[8];
    kind kind;
    int target; // a queue, or NOWHERE
} model_queue;

typedef struct waiting {
    int message, queue, reason;
} waiting;

static fake_world *w;
static fake_client *c;
static slc_session *s;
static model_queue queues[QUEUES];
static model_message model[MESSAGES];
static int count;
static waiting line[4096]; // of one step
static int line_first, line_end;
static uint64_t now_ms, places, gone_round;
static unsigned seed;
static uint64_t random_state;

static void setup(void)
{
    w = fake_world_new();
    c = fake_client_open(w);
    s = fake_session(c);
}

static void teardown(void)
{
    fake_world_free(w);
    cr_expect(eq(u64, slc_message_bytes_alive(), 0), "every message was freed");
}

TestSuite(death_model, .init = setup, .fini = teardown, .timeout = 120);

static int roll(int sides)
{
    random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
    return (int)((random_state >> 33) % (unsigned)sides);
}

/* ---- the model ---- */

static int model_first(int queue)
{
    int first = -1;
    for (int i = 0; i < count; i++) {
        if (model[i].queue == queue && (first < 0 || model[i].place < model[first].place))
            first = i;
    }
    return first;
}

static int model_length(int queue)
{
    int length = 0;
    for (int i = 0; i < count; i++)
        length += model[i].queue == queue;
    return length;
}

/** Out of its queue; what becomes of it, a later turn decides. */
static void model_die(int i, int reason)
{
    line[line_end++] = (waiting){i, model[i].queue, reason};
    model[i].queue = -1;
}

static void model_enter(int i, int queue)
{
    model_message *m = &model[i];
    m->queue = queue;
    m->place = ++places;
    m->expires_ms = queues[queue].kind == EXPIRES ? now_ms + TTL_MS : 0;
    if (queues[queue].kind == LIMITED && model_length(queue) > LENGTH_MAX)
        model_die(model_first(queue), MAXLEN);
}

static void model_note(model_message *m, int queue, int reason)
{
    death d = {queue, reason, 0, now_ms / 1000};
    int at = 0;
    while (at < m->death_count && (m->deaths[at].queue != queue || m->deaths[at].reason != reason))
        at++;
    if (at < m->death_count)
        d = m->deaths[at];
    else
        m->death_count++;
    memmove(m->deaths + 1, m->deaths, (size_t)at * sizeof d);
    d.count++;
    m->deaths[0] = d;
    if (m->death_count == 1 && d.count == 1) {
        m->first_queue = queue;
        m->first_reason = reason;
    }
    m->last_queue = queue;
    m->last_reason = reason;
}

/** It was there before, and nobody has rejected it from then on. */
static bool model_cycle(const model_message *m, int queue)
{
    for (int i = 0; i < m->death_count && m->deaths[i].reason != REJECTED; i++) {
        if (m->deaths[i].queue == queue)
            return true;
    }
    return false;
}

static void model_turn(void)
{
    while (line_first < line_end) {
        waiting d = line[line_first++];
        model_message *m = &model[d.message];
        int target = queues[d.queue].target;
        model_note(m, d.queue, d.reason);
        if (target != NOWHERE && (d.reason == REJECTED || !model_cycle(m, target)))
            model_enter(d.message, target);
        else
            gone_round++;
    }
    line_first = line_end = 0;
}

static void model_expire(void)
{
    for (;;) {
        int due = -1;
        for (int i = 0; i < count; i++) {
            const model_message *m = &model[i];
            if (m->queue >= 0 && m->expires_ms != 0 && m->expires_ms <= now_ms &&
                (due < 0 || m->expires_ms < model[due].expires_ms ||
                 (m->expires_ms == model[due].expires_ms && m->place < model[due].place)))
                due = i;
        }
        if (due < 0)
            return;
        model_die(due, EXPIRED);
    }
}

/* ---- both ---- */

static void declare(int i)
{
    slc_table_builder b = {0};
    slc_error error = {0};
    slc_queue_declared out;
    slc_err rc;
    if (queues[i].kind == EXPIRES)
        slc_table_put_i64(&b, "x-message-ttl", TTL_MS);
    else if (queues[i].kind == LIMITED)
        slc_table_put_i64(&b, "x-max-length", LENGTH_MAX);
    slc_table_put_text(&b, "x-dead-letter-exchange", "");
    slc_table_put_text(&b, "x-dead-letter-routing-key",
                       queues[i].target == NOWHERE ? "nowhere" : queues[queues[i].target].name);
    slc_queue_declare d = {.name = slc_slice_str(queues[i].name),
                           .durable = roll(2) == 0,
                           .arguments = slc_table_builder_content(&b)};
    while ((rc = slc_session_queue_declare(s, &d, &out, &error)) == SLC_EPENDING)
        fake_turn(w);
    cr_assert(eq(int, rc, SLC_OK), "%s", error.text);
    slc_table_builder_fini(&b);
}

/** Its headers tell the model's story of it. */
static void check_headers(const slc_message *m, const model_message *want, int number)
{
    char text[8192] = "[";
    slc_buffer got = {0};
    size_t at = 1;
    slc_table_text(slc_message_headers(m), &got);
    slc_buffer_octet(&got, '\0');
    if (want->death_count == 0) {
        cr_assert(strstr((char *)got.data, "x-death") == NULL, "seed %u: %s", seed, got.data);
        slc_buffer_fini(&got);
        return;
    }
    for (int i = 0; i < want->death_count; i++) {
        const death *d = &want->deaths[i];
        const char *name = queues[d->queue].name;
        at += (size_t)snprintf(text + at, sizeof text - at,
                               "%s[{\"count\",%u},{\"reason\",\"%s\"},{\"queue\",\"%s\"},"
                               "{\"time\",%llu},{\"exchange\",[]},{\"routing-keys\",[\"%s\"]}]",
                               i > 0 ? "," : "", d->count, reasons[d->reason], name,
                               (unsigned long long)d->time_s, name);
    }
    snprintf(text + at, sizeof text - at, "]");
    cr_assert(strstr((char *)got.data, text) != NULL, "seed %u, message %d:\n%s\nhas not\n%s", seed,
              number, got.data, text);
    snprintf(text, sizeof text,
             "{\"x-first-death-reason\",\"%s\"},{\"x-first-death-queue\",\"%s\"}",
             reasons[want->first_reason], queues[want->first_queue].name);
    cr_assert(strstr((char *)got.data, text) != NULL, "seed %u, message %d:\n%s\nhas not\n%s", seed,
              number, got.data, text);
    snprintf(text, sizeof text, "{\"x-last-death-reason\",\"%s\"},{\"x-last-death-queue\",\"%s\"}",
             reasons[want->last_reason], queues[want->last_queue].name);
    cr_assert(strstr((char *)got.data, text) != NULL, "seed %u, message %d:\n%s\nhas not\n%s", seed,
              number, got.data, text);
    slc_buffer_fini(&got);
}

/** The first of a queue, checked. Its tag; 0: there is none. */
static uint64_t take(int queue, int *number)
{
    slc_error error = {0};
    slc_got got = {0};
    slc_err rc;
    while ((rc = slc_session_get(s, slc_slice_str(queues[queue].name), false, &got, &error)) ==
           SLC_EPENDING)
        fake_turn(w);
    cr_assert(eq(int, rc, SLC_OK), "%s", error.text);
    *number = got.message != NULL ? message_number(got.message) : -1;
    cr_assert(eq(int, *number, model_first(queue)), "seed %u, queue %d", seed, queue);
    if (got.message == NULL)
        return 0;
    check_headers(got.message, &model[*number], *number);
    slc_message_unref(got.message);
    return got.delivery_tag;
}

static void step(void)
{
    int choice = roll(10), queue = roll(QUEUES), number;
    slc_error error = {0};
    if (choice < 3 && count < MESSAGES) {
        model[count] = (model_message){.queue = -1};
        publish_number(s, "", queues[queue].name, count, roll(2) == 0);
        model_enter(count++, queue);
    } else if (choice < 7) {
        uint64_t tag = take(queue, &number);
        if (tag != 0) {
            model_die(number, REJECTED);
            cr_assert(
                eq(int, slc_session_settle(s, tag, false, SLC_SETTLE_REJECT, &error), SLC_OK));
        }
    } else {
        uint64_t ms = (uint64_t)roll(9) * (roll(8) == 0 ? 200 : 1);
        now_ms += ms;
        fake_pass_time(w, ms);
    }
    model_expire();
    model_turn();
    fake_turn(w);
    for (int i = 0; i < QUEUES; i++)
        cr_assert(eq(u64, queue_named(w, queues[i].name)->ready, model_length(i)),
                  "seed %u, queue %d", seed, i);
}

Test(death_model, every_way_and_every_circle)
{
    now_ms = 1000; // when the world begins
    for (seed = 1; seed <= ROUNDS; seed++) {
        random_state = seed * 2654435761u;
        count = 0;
        int expiring = roll(QUEUES); // one: the order of two that expire at the same time is open
        for (int i = 0; i < QUEUES; i++) {
            snprintf(queues[i].name, sizeof queues[i].name, "q%d", i);
            queues[i].kind = i == expiring ? EXPIRES : roll(2) == 0 ? LIMITED : PLAIN;
            queues[i].target = roll(QUEUES + 1);
        }
        for (int i = 0; i < QUEUES; i++)
            declare(i);
        for (int i = 0; i < STEPS; i++)
            step();
        for (int i = 0; i < QUEUES; i++) {
            int number;
            while (take(i, &number) != 0)
                model[number].queue = -1;
            cr_assert(eq(int, fake_queue_delete(w, s, queues[i].name), SLC_OK));
        }
    }
    slc_broker_totals totals;
    slc_broker_total(fake_broker(w), &totals);
    cr_expect(eq(u64, totals.dead_lettered_dropped, gone_round));
}
