// Any sequence of publishing, delivering, settling, purging, deleting and restarting, with reads that are answered late and
// in any order, against a model: per queue, the state of each message. Delivered is always the lowest that is ready.
#include <string.h>

#include "backlog_support.h"

enum { QUEUES = 2, MESSAGES = 3000, STEPS = 1200, SEEDS = 40, TAGS = 65536, LEVELS = 8 };

typedef enum model_state {
    ABSENT, // not routed here, settled, purged, or lost as it should be
    READY,
    OUT,
} model_state;

typedef struct model_queue {
    char name[4];
    uint8_t state[MESSAGES];
    bool persistent[MESSAGES], again[MESSAGES];
    int lowest;     // none below it is ready
    uint8_t urgent; // its x-max-priority; 0: none
} model_queue;

typedef struct model_out {
    int queue, number; // number -1: none
} model_out;

static fake_world *w;
static fake_client *c;
static slc_session *publisher, *consumer[QUEUES], *getter;
static slc_client *sessions_of;
static model_queue model[QUEUES];
static model_out out_consumer[QUEUES][TAGS], out_getter[TAGS]; // by delivery tag
static uint8_t priority_of[MESSAGES];
static int published;
static unsigned seed;
static uint64_t random_state;

static void setup(void)
{
    w = fake_world_new();
}

static void teardown(void)
{
    fake_world_free(w);
    cr_expect(eq(u64, slc_message_bytes_alive(), 0), "every message was freed");
}

TestSuite(backlog_random, .init = setup, .fini = teardown, .timeout = 120);

static unsigned roll(unsigned sides)
{
    random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
    return (unsigned)(random_state >> 33) % sides;
}

static uint8_t level(const model_queue *q, int number)
{
    return priority_of[number] < q->urgent ? priority_of[number] : q->urgent;
}

/** The model's answer: it must be this one, with this flag. */
static void model_deliver(int queue, int number, bool again)
{
    model_queue *q = &model[queue];
    while (q->lowest < published && q->state[q->lowest] != READY)
        q->lowest++;
    int first = q->lowest;
    for (int k = first + 1; q->urgent > 0 && k < published && level(q, first) < q->urgent; k++) {
        if (q->state[k] == READY && level(q, k) > level(q, first))
            first = k;
    }
    if (number != first)
        cr_fatal("seed %u: %s delivers %d, the first is %d", seed, q->name, number, first);
    if (again != q->again[number])
        cr_fatal("seed %u: %s delivers %d with the flag %d", seed, q->name, number, again);
    q->state[number] = OUT;
    q->again[number] = true;
}

static void model_settle(model_out *out, bool back)
{
    model_queue *q = &model[out->queue];
    q->state[out->number] = back ? READY : ABSENT;
    if (back && out->number < q->lowest)
        q->lowest = out->number;
    out->number = -1;
}

static void on_deliver(slc_session *session, const slc_consumer *from, uint64_t tag,
                       bool redelivered, slc_message *m)
{
    (void)from;
    for (int i = 0; i < QUEUES; i++) {
        if (session != consumer[i])
            continue;
        model_deliver(i, message_number(m), redelivered);
        cr_assert(tag < TAGS);
        out_consumer[i][tag] = (model_out){i, message_number(m)};
    }
}

static void on_confirm(slc_session *session, uint64_t seq, bool multiple, bool ack)
{
    (void)session;
    (void)seq;
    (void)multiple;
    cr_assert(ack);
}

static void on_cancelled(slc_session *session, slc_slice tag)
{
    (void)session;
    (void)tag;
}

static void on_resume(slc_session *session)
{
    (void)session;
}

static const slc_session_ops ops = {
    .deliver = on_deliver, .confirm = on_confirm, .cancelled = on_cancelled, .resume = on_resume};

static void forget_outs(model_out *outs)
{
    for (int i = 0; i < TAGS; i++)
        outs[i].number = -1;
}

/** The deliveries of a session that ends go back. */
static void return_outs(model_out *outs)
{
    for (int i = 0; i < TAGS; i++) {
        if (outs[i].number >= 0 && model[outs[i].queue].state[outs[i].number] == OUT)
            model_settle(&outs[i], true);
    }
    forget_outs(outs);
}

static void open_sessions(void)
{
    slc_error error = {0};
    c = fake_client_open(w);
    publisher = fake_session(c);
    sessions_of = slc_session_client(publisher);
    cr_assert(eq(int, slc_session_confirm_select(publisher, &error), SLC_OK));
    getter = slc_session_open(sessions_of, 50, &ops, NULL);
    forget_outs(out_getter);
    for (int i = 0; i < QUEUES; i++) {
        consumer[i] = slc_session_open(sessions_of, (uint16_t)(60 + i), &ops, NULL);
        slc_session_qos(consumer[i], (uint16_t)(5 + 100 * (unsigned)i), false);
        forget_outs(out_consumer[i]);
    }
}

static void declare(int i)
{
    if (model[i].urgent > 0)
        declare_urgent(w, publisher, model[i].name, model[i].urgent);
    else
        cr_assert(eq(int, fake_queue(w, publisher, model[i].name, "d"), SLC_OK));
    cr_assert(eq(int, fake_bind(w, publisher, model[i].name, "x", ""), SLC_OK));
}

static void publish_some(void)
{
    int count = 1 + (int)roll(roll(8) == 0 ? 120 : 12);
    for (; count > 0 && published < MESSAGES; count--) {
        bool persistent = roll(4) != 0;
        priority_of[published] = (uint8_t)(roll(3) == 0 ? roll(6) : 0);
        unsigned where = roll(4);
        for (int i = 0; i < QUEUES; i++) {
            if (where < 2 && (int)where != i)
                continue;
            model[i].state[published] = READY;
            model[i].persistent[published] = persistent;
            if (published < model[i].lowest)
                model[i].lowest = published;
        }
        published++;
        publish_urgent(publisher, where < 2 ? "" : "x", where < 2 ? model[where].name : "",
                       published - 1, persistent, priority_of[published - 1]);
    }
}

/** One basic.get; when it has to wait, a later step comes back to it. */
static void get_some(void)
{
    static int waiting_queue;
    slc_error error = {0};
    slc_got got;
    if (getter->wait != SLC_WAIT_NONE)
        return;
    waiting_queue = (int)roll(QUEUES);
    for (int count = (int)roll(30); count > 0; count--) {
        slc_err rc =
            slc_session_get(getter, slc_slice_str(model[waiting_queue].name), false, &got, &error);
        if (rc == SLC_EPENDING)
            return;
        cr_assert(eq(int, rc, SLC_OK), "seed %u: %s", seed, error.text);
        if (got.message == NULL)
            return;
        model_deliver(waiting_queue, message_number(got.message), got.redelivered);
        out_getter[got.delivery_tag] = (model_out){waiting_queue, message_number(got.message)};
        slc_message_unref(got.message);
    }
}

static void settle_some(slc_session *session, model_out *outs)
{
    slc_error error = {0};
    int back_percent = (int)roll(3) * 20;
    for (uint64_t tag = 1; tag <= session->last_tag; tag++) {
        if (outs[tag].number < 0 || roll(3) == 0)
            continue;
        bool back = (int)roll(100) < back_percent;
        model_out out = outs[tag];
        outs[tag].number = -1;
        // Of a deleted queue nothing comes back.
        if (model[out.queue].state[out.number] == OUT)
            model_settle(&(model_out){out.queue, out.number}, back);
        cr_assert(eq(int,
                     slc_session_settle(session, tag, false,
                                        back ? SLC_SETTLE_REQUEUE : SLC_SETTLE_ACK, &error),
                     SLC_OK),
                  "seed %u: %s", seed, error.text);
    }
}

static void purge(int i)
{
    slc_error error = {0};
    uint32_t purged;
    uint32_t want = 0;
    for (int k = 0; k < published; k++) {
        if (model[i].state[k] == READY) {
            model[i].state[k] = ABSENT;
            want++;
        }
    }
    cr_assert(eq(int,
                 slc_session_queue_purge(publisher, slc_slice_str(model[i].name), &purged, &error),
                 SLC_OK));
    cr_assert(eq(u32, purged, want), "seed %u: purge of %s", seed, model[i].name);
}

/** Deleted with what it has in hands; then it exists again, empty. */
static void delete_and_declare(int i)
{
    fake_hold_store(w, false); // definitions are durable in the end
    cr_assert(eq(int, fake_queue_delete(w, publisher, model[i].name), SLC_OK));
    memset(model[i].state, ABSENT, sizeof model[i].state);
    for (int tag = 0; tag < TAGS; tag++) {
        if (out_consumer[i][tag].number >= 0 && out_consumer[i][tag].queue == i)
            cr_assert(model[i].state[out_consumer[i][tag].number] == ABSENT);
    }
    declare(i);
}

static void start_again(bool clean)
{
    fake_turn(w);
    fake_hold_store(w, false);
    fake_hold_reads(w, false);
    return_outs(out_getter);
    int last[QUEUES][LEVELS];
    memset(last, -1, sizeof last);
    for (int i = 0; i < QUEUES; i++) {
        consumer[i] = NULL; // what is delivered while all are closed does not count
        return_outs(out_consumer[i]);
        for (int k = 0; k < published; k++) {
            if (model[i].again[k])
                last[i][level(&model[i], k)] = k; // also of messages that are settled
        }
    }
    fake_hold_store(w, true);
    fake_sync(w);
    if (clean)
        fake_restart_clean(w);
    else
        fake_restart(w);
    fake_hold_store(w, roll(2) == 0);
    for (int i = 0; i < QUEUES; i++) {
        for (int k = 0; k < published; k++) {
            if (!model[i].persistent[k])
                model[i].state[k] = ABSENT;
            model[i].again[k] = !clean || k <= last[i][level(&model[i], k)];
        }
        model[i].lowest = 0;
    }
    open_sessions();
}

static void check(const char *when)
{
    char what[64];
    uint64_t ready_all = 0;
    for (int i = 0; i < QUEUES; i++) {
        const slc_queue *q = queue_named(w, model[i].name);
        snprintf(what, sizeof what, "seed %u, %s, %s", seed, when, model[i].name);
        recount(w, q, what);
        uint64_t ready = 0;
        uint64_t out = 0;
        uint64_t persistent = 0;
        for (int k = 0; k < published; k++) {
            ready += model[i].state[k] == READY;
            out += model[i].state[k] == OUT;
            persistent += model[i].state[k] != ABSENT && model[i].persistent[k];
        }
        cr_assert(eq(u64, q->ready, ready), "%s", what);
        cr_assert(eq(u64, q->unacked, out), "%s", what);
        cr_assert(eq(u64, q->persistent, persistent), "%s", what);
        ready_all += ready;
    }
    slc_broker_totals totals;
    slc_broker_total(fake_broker(w), &totals);
    cr_assert(eq(u64, totals.ready, ready_all), "seed %u, %s", seed, when);
}

static void step(void)
{
    unsigned choice = roll(100);
    if (choice < 30) {
        publish_some();
    } else if (choice < 40) {
        get_some();
    } else if (choice < 50) {
        settle_some(getter, out_getter);
    } else if (choice < 62) {
        unsigned i = roll(QUEUES);
        settle_some(consumer[i], out_consumer[i]);
    } else if (choice < 68) {
        int i = (int)roll(QUEUES);
        if (consumer[i]->consumers == NULL)
            cr_assert(eq(int, fake_consume(consumer[i], model[i].name, "c", ""), SLC_OK), "%s",
                      fake_error());
        else
            slc_session_writable(consumer[i], !consumer[i]->writable);
    } else if (choice < 70) {
        slc_error error = {0};
        cr_assert(eq(int, slc_session_cancel(consumer[roll(QUEUES)], slc_slice_str("c"), &error),
                     SLC_OK));
    } else if (choice < 78) {
        if (fake_reads_waiting(w) > 0)
            fake_read_execute(w, roll(fake_reads_waiting(w)));
    } else if (choice < 88) {
        if (fake_reads_waiting(w) > 0)
            fake_read_answer(w, roll(fake_reads_waiting(w)));
    } else if (choice < 93) {
        fake_sync(w);
    } else if (choice < 95) {
        fake_hold_reads(w, roll(4) != 0);
    } else if (choice == 95 && roll(8) == 0) {
        purge((int)roll(QUEUES));
    } else if (choice == 96 && roll(8) == 0) {
        delete_and_declare((int)roll(QUEUES));
    } else if (choice == 97 && roll(4) == 0) {
        start_again(roll(2) == 0);
        fake_hold_reads(w, true);
    }
    if (roll(2) == 0)
        slc_broker_turn(fake_broker(w));
}

static void drain(void)
{
    slc_error error = {0};
    fake_hold_reads(w, false);
    fake_hold_store(w, false);
    fake_turn(w);
    for (int i = 0; i < QUEUES; i++)
        cr_assert(eq(int, slc_session_cancel(consumer[i], slc_slice_str("c"), &error), SLC_OK));
    slc_session_recover(getter);
    return_outs(out_getter);
    for (int i = 0; i < QUEUES; i++) {
        slc_session_recover(consumer[i]);
        return_outs(out_consumer[i]);
    }
    check("before the end");
    for (int i = 0; i < QUEUES; i++) {
        const char *body;
        while ((body = fake_get(w, publisher, model[i].name, true, NULL)) != NULL) {
            int number = atoi(body);
            model_deliver(i, number, model[i].again[number]);
            model[i].state[number] = ABSENT;
        }
    }
    check("at the end");
    fake_turn(w);
    cr_assert(eq(u32, fake_stored(w), 0), "seed %u", seed);
    cr_assert(eq(u64, fake_broker(w)->hot_bytes, 0), "seed %u", seed);
    cr_assert(eq(u64, fake_broker(w)->reading_bytes, 0), "seed %u", seed);
    cr_assert(eq(u32, publisher->confirms.count, 0), "seed %u: all is confirmed", seed);
}

Test(backlog_random, agrees_with_the_model_whatever_happens)
{
    static const uint64_t caches[] = {0, 16 << 10, 64 << 10, 8 << 20, 64 << 20};
    for (seed = 1; seed <= SEEDS; seed++) {
        random_state = seed * 2654435761u;
        memset(model, 0, sizeof model);
        published = 0;
        fake_cache_bytes(w, caches[roll(SLC_ARRAY_COUNT(caches))]);
        fake_restart(w);
        open_sessions();
        cr_assert(eq(int, fake_exchange(w, publisher, "x", "fanout", "d"), SLC_OK));
        for (int i = 0; i < QUEUES; i++) {
            snprintf(model[i].name, sizeof model[i].name, "q%d", i);
            model[i].urgent = (uint8_t)(roll(2) * roll(LEVELS));
            declare(i);
        }
        fake_hold_reads(w, true);
        fake_hold_store(w, true);
        for (int i = 0; i < STEPS; i++) {
            step();
            if (i % 16 == 0)
                check("on the way");
        }
        drain();
        for (int i = 0; i < QUEUES; i++)
            cr_assert(eq(int, fake_queue_delete(w, publisher, model[i].name), SLC_OK));
    }
}
