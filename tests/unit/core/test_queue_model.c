// One queue with priorities, times to live, length limits, an overflow behaviour, a delivery limit and a dead letter queue, any
// of them together, against a naive model: an array of messages. @spec amqp-semantics 13, 14, 15.1, 15.4
#include <string.h>

#include "backlog_support.h"

enum { MESSAGES = 256, STEPS = 300, ROUNDS = 60, NONE = -1, LEVELS = 8 };

typedef enum model_state { READY, OUT, GONE } model_state;

typedef struct model_message {
    model_state state;
    int priority, returns;
    uint64_t bytes, expires_ms;    // 0: never
    bool persistent, again, plain; // plain: without a priority
    uint64_t tag;                  // while OUT
} model_message;

/** The settings of the round; NONE: not set. */
typedef struct model_settings {
    int max_priority, ttl, max_length, max_bytes, delivery_limit;
    bool quorum;
    slc_overflow overflow;
} model_settings;

static fake_world *w;
static fake_client *c;
static slc_session *s;
static model_settings settings;
static model_message model[MESSAGES];
static int count;                                                     // of the model
static int dead[MESSAGES], dead_step[MESSAGES], dead_count, step_now; // each dies once
static uint64_t expired, overflowed, undeliverable, now_ms;
static unsigned seed;
static uint64_t random_state;
static bool restarted;

static void start(void)
{
    c = fake_client_open(w);
    s = fake_session(c);
    slc_error error = {0};
    cr_assert(eq(int, slc_session_confirm_select(s, &error), SLC_OK));
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

TestSuite(queue_model, .init = setup, .fini = teardown, .timeout = 120);

static int roll(int sides)
{
    random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
    return (int)((random_state >> 33) % (unsigned)sides);
}

/* ---- the model ---- */

static int level_of(const model_message *m)
{
    if (settings.quorum)
        return m->plain ? 4 : m->priority < 31 ? m->priority : 31;
    if (settings.max_priority == NONE)
        return 0;
    return m->priority < settings.max_priority ? m->priority : settings.max_priority;
}

/** The next to deliver; lowest: the first to give up. -1: there is none. */
static int model_first(bool lowest)
{
    int first = -1;
    for (int i = 0; i < count; i++) {
        if (model[i].state != READY)
            continue;
        int better = first < 0 ? 1 : level_of(&model[i]) - level_of(&model[first]);
        if (first < 0 || (lowest ? better < 0 : better > 0))
            first = i;
    }
    return first;
}

static int model_ready(uint64_t *bytes)
{
    int ready = 0;
    *bytes = 0;
    for (int i = 0; i < count; i++) {
        if (model[i].state == READY) {
            ready++;
            *bytes += model[i].bytes;
        }
    }
    return ready;
}

static bool model_over(int more, uint64_t more_bytes)
{
    uint64_t bytes;
    int ready = model_ready(&bytes);
    return (settings.max_length != NONE && ready + more > settings.max_length) ||
           (settings.max_bytes != NONE && bytes + more_bytes > (uint64_t)settings.max_bytes);
}

static void model_die(int i, uint64_t *counter)
{
    model[i].state = GONE;
    dead[dead_count] = i;
    dead_step[dead_count++] = step_now;
    if (counter != NULL)
        ++*counter;
}

static void model_limit(void)
{
    while (settings.overflow == SLC_OVERFLOW_DROP_HEAD && model_over(0, 0))
        model_die(model_first(true), &overflowed);
}

/** Also what expired meanwhile: the limit is looked after first, as in RabbitMQ. */
static void model_return(int i)
{
    if (settings.delivery_limit != NONE && ++model[i].returns > settings.delivery_limit) {
        model_die(i, &undeliverable);
        return;
    }
    model[i].state = READY;
    model_limit();
}

/** What is due, by its time, then by its place. */
static void model_expire(void)
{
    for (;;) {
        int due = -1;
        for (int i = 0; i < count; i++) {
            const model_message *m = &model[i];
            if (m->state == READY && m->expires_ms != 0 && m->expires_ms <= now_ms &&
                (due < 0 || m->expires_ms < model[due].expires_ms))
                due = i;
        }
        if (due < 0)
            return;
        model_die(due, &expired);
    }
}

/* ---- the steps, done in both ---- */

static void put_i64(slc_table_builder *b, const char *key, int value)
{
    if (value != NONE)
        slc_table_put_i64(b, key, value);
}

static void declare(void)
{
    static const char *const overflows[] = {[SLC_OVERFLOW_DROP_HEAD] = "drop-head",
                                            [SLC_OVERFLOW_REJECT] = "reject-publish",
                                            [SLC_OVERFLOW_REJECT_DLX] = "reject-publish-dlx"};
    slc_table_builder b = {0};
    slc_error error = {0};
    slc_queue_declared out;
    slc_err rc;
    put_i64(&b, "x-max-priority", settings.max_priority);
    put_i64(&b, "x-message-ttl", settings.ttl);
    put_i64(&b, "x-max-length", settings.max_length);
    put_i64(&b, "x-max-length-bytes", settings.max_bytes);
    put_i64(&b, "x-delivery-limit", settings.delivery_limit);
    slc_table_put_text(&b, "x-overflow", overflows[settings.overflow]);
    slc_table_put_text(&b, "x-queue-type", settings.quorum ? "quorum" : "classic");
    slc_table_put_text(&b, "x-dead-letter-exchange", "");
    slc_table_put_text(&b, "x-dead-letter-routing-key", "dead");
    slc_queue_declare d = {
        .name = slc_slice_str("q"), .durable = true, .arguments = slc_table_builder_content(&b)};
    while ((rc = slc_session_queue_declare(s, &d, &out, &error)) == SLC_EPENDING)
        fake_turn(w);
    cr_assert(eq(int, rc, SLC_OK), "%s", error.text);
    slc_table_builder_fini(&b);
}

static void settings_any(void)
{
    settings = (model_settings){
        .quorum = roll(4) == 0,
        .max_priority = roll(2) == 0 ? roll(6) : NONE,
        .ttl = roll(2) == 0 ? roll(100) : NONE,
        .max_length = roll(2) == 0 ? roll(12) : NONE,
        .max_bytes = roll(3) == 0 ? roll(60) : NONE,
        .delivery_limit = NONE,
        .overflow = (slc_overflow)roll(3),
    };
    if (settings.quorum) {
        settings.max_priority = NONE;
        settings.delivery_limit = roll(4);
        if (settings.overflow == SLC_OVERFLOW_REJECT_DLX)
            settings.overflow = SLC_OVERFLOW_REJECT;
    }
}

static void publish(void)
{
    if (count == MESSAGES)
        return;
    char body[16];
    model_message *m = &model[count];
    uint64_t ttl = settings.ttl != NONE ? (uint64_t)settings.ttl : UINT64_MAX;
    *m = (model_message){.state = GONE, .priority = roll(LEVELS), .persistent = roll(3) != 0};
    m->bytes = (uint64_t)snprintf(body, sizeof body, "%d", count);
    m->plain = roll(3) == 0;
    if (m->plain)
        m->priority = 0;
    uint8_t props[] = {0x08, 0x00, (uint8_t)m->priority};
    slc_message *message = slc_message_new(
        slc_slice_str(""), slc_slice_str("q"),
        m->plain ? (slc_slice){0} : slc_slice_of(props, sizeof props), m->bytes, m->persistent);
    memcpy(slc_message_body(message), body, m->bytes);
    message->priority = (uint8_t)m->priority;
    if (roll(2) == 0) {
        // While the queue is being read back, one without time may be gone before the limit sees it.
        uint64_t own = (uint64_t)roll(150) + (restarted ? 1 : 0);
        message->ttl = own + 1;
        ttl = own < ttl ? own : ttl;
    }
    m->expires_ms = ttl == UINT64_MAX ? 0 : now_ms + ttl;
    bool refused = settings.overflow != SLC_OVERFLOW_DROP_HEAD && model_over(1, m->bytes);
    slc_error error = {0};
    cr_assert(eq(int, slc_session_publish(s, message, (slc_slice){0}, false, &error), SLC_OK));
    fake_turn(w);
    const char *log = fake_take_log(c);
    cr_assert(eq(int, strncmp(log, refused ? "refuse " : "confirm ", 7), 0), "seed %u, %d: %s",
              seed, count, log);
    count++;
    if (!refused) {
        m->state = READY;
        model_limit();
    } else if (settings.overflow == SLC_OVERFLOW_REJECT_DLX) {
        model_die(count - 1, &overflowed);
    }
}

static void get(void)
{
    slc_error error = {0};
    slc_got got = {0};
    slc_err rc;
    bool no_ack = roll(4) == 0;
    while ((rc = slc_session_get(s, slc_slice_str("q"), no_ack, &got, &error)) == SLC_EPENDING)
        fake_turn(w);
    cr_assert(eq(int, rc, SLC_OK));
    int want = model_first(false);
    int number = got.message != NULL ? message_number(got.message) : -1;
    cr_assert(eq(int, number, want), "seed %u", seed);
    if (want < 0)
        return;
    model_message *m = &model[want];
    cr_assert(eq(int, got.redelivered, m->again), "seed %u, message %d", seed, want);
    slc_message_unref(got.message);
    m->again = true;
    m->tag = got.delivery_tag;
    m->state = no_ack ? GONE : OUT;
}

static void settle(void)
{
    static const slc_settle hows[] = {SLC_SETTLE_ACK, SLC_SETTLE_REQUEUE, SLC_SETTLE_REQUEUE,
                                      SLC_SETTLE_REJECT};
    int i = roll(MESSAGES);
    slc_settle how = hows[roll(4)];
    for (int tries = 0; tries < MESSAGES && (i >= count || model[i].state != OUT); tries++)
        i = (i + 1) % MESSAGES;
    if (i >= count || model[i].state != OUT)
        return;
    slc_error error = {0};
    cr_assert(eq(int, slc_session_settle(s, model[i].tag, false, how, &error), SLC_OK));
    if (how == SLC_SETTLE_ACK) {
        model[i].state = GONE;
    } else if (how == SLC_SETTLE_REJECT) {
        model_die(i, NULL);
    } else {
        model_return(i);
    }
}

/** What the session holds goes back, all of it, in the order of delivery: at a clean stop while the daemon still runs. */
static void return_all(void)
{
    for (;;) {
        int first = -1;
        for (int i = 0; i < count; i++) {
            if (model[i].state == OUT && (first < 0 || model[i].tag < model[first].tag))
                first = i;
        }
        if (first < 0)
            return;
        model_return(first);
    }
}

static void start_again(bool clean)
{
    fake_turn(w);
    if (clean)
        fake_restart_clean(w);
    else
        fake_restart(w);
    start();
    restarted = true;
    if (clean)
        return_all();
    int last[LEVELS] = {0}, kept = 0; // of each level, the last that was delivered; one more
    for (int i = 0; i < count; i++) {
        if (model[i].again)
            last[level_of(&model[i])] = i + 1;
    }
    for (int i = 0; i < count; i++) {
        model_message *m = &model[i];
        m->returns = 0;
        m->again = !clean || i < last[level_of(m)];
        if (!m->persistent && !settings.quorum)
            m->state = GONE;
        else if (m->state == OUT)
            m->state = READY;
    }
    for (int i = 0; i < dead_count; i++) {
        if (!model[dead[i]].persistent)
            continue;
        dead[kept] = dead[i];
        dead_step[kept++] = dead_step[i];
    }
    dead_count = kept;
    expired = overflowed = undeliverable = 0;
    model_expire();
    model_limit();
}

/** Whether a restart has one right answer: what expired in somebody's hands may die of its age or of the limit it meets. */
static bool restart_is_clear(void)
{
    for (int i = 0; i < count; i++) {
        if (model[i].state == OUT && model[i].expires_ms != 0 && model[i].expires_ms <= now_ms)
            return false;
    }
    return true;
}

static void check(int step)
{
    const slc_queue *q = queue_named(w, "q");
    uint64_t bytes;
    uint64_t ready = (uint64_t)model_ready(&bytes);
    uint64_t out = 0;
    for (int i = 0; i < count; i++)
        out += model[i].state == OUT;
    cr_assert(eq(u64, q->ready, ready), "seed %u, step %d", seed, step);
    cr_assert(eq(u64, q->ready_bytes, bytes), "seed %u, step %d", seed, step);
    cr_assert(eq(u64, q->unacked, out), "seed %u, step %d", seed, step);
    cr_assert(eq(u64, q->expired, expired), "seed %u, step %d", seed, step);
    cr_assert(eq(u64, q->overflowed, overflowed), "seed %u, step %d", seed, step);
    cr_assert(eq(u64, q->undeliverable, undeliverable), "seed %u, step %d", seed, step);
    cr_assert(eq(u64, queue_named(w, "dead")->ready, dead_count), "seed %u, step %d", seed, step);
}

/** Dead letters come in the order of their deaths; those of one step (they expired together) in any. */
static void check_dead(void)
{
    for (int i = 0; i < dead_count; i++) {
        const char *body = fake_get(w, s, "dead", true, NULL);
        int number = body != NULL ? atoi(body) : -1;
        int at = i;
        while (at < dead_count && dead_step[at] == dead_step[i] && dead[at] != number)
            at++;
        cr_assert(at < dead_count && dead[at] == number, "seed %u: dead letter %d is %d, not %d",
                  seed, i, number, dead[i]);
        dead[at] = dead[i];
    }
    cr_assert(fake_get(w, s, "dead", true, NULL) == NULL);
}

static void step(void)
{
    int choice = roll(100);
    if (choice < 45) {
        publish();
    } else if (choice < 65) {
        get();
    } else if (choice < 85) {
        settle();
    } else if (choice < 97) {
        uint64_t ms = (uint64_t)roll(40);
        now_ms += ms;
        fake_pass_time(w, ms);
    } else if (settings.ttl != 0 && restart_is_clear()) {
        start_again(choice == 99);
    }
    model_expire();
    fake_turn(w);
}

Test(queue_model, everything_together_agrees_with_an_array)
{
    cr_assert(eq(int, fake_queue(w, s, "dead", "d"), SLC_OK));
    now_ms = 1000; // when the world begins
    for (seed = 1; seed <= ROUNDS; seed++) {
        random_state = seed * 2654435761u;
        count = dead_count = 0;
        expired = overflowed = undeliverable = 0;
        restarted = false;
        settings_any();
        declare();
        for (int i = 0; i < STEPS; i++) {
            step_now = i;
            step();
            check(i);
        }
        check_dead();
        cr_assert(eq(int, fake_queue_delete(w, s, "q"), SLC_OK));
        (void)fake_take_log(c);
    }
}
