// Queues longer than their window in memory: what waits far behind the head is in the store only.
#include <string.h>

#include "backlog_support.h"

static fake_world *w;
static fake_client *c;
static slc_session *s;

/** A world with so much memory for ready messages; 0: as little as there can be. */
static void start(uint64_t cache_bytes)
{
    fake_cache_bytes(w, cache_bytes);
    fake_restart(w);
    c = fake_client_open(w);
    s = fake_session(c);
}

static void setup(void)
{
    w = fake_world_new();
    start(0);
    fake_queue(w, s, "q", "d");
    fake_turn(w);
}

static void teardown(void)
{
    fake_world_free(w);
    cr_expect(eq(u64, slc_message_bytes_alive(), 0), "every message was freed");
}

TestSuite(backlog, .init = setup, .fini = teardown, .timeout = 60);

static void publish(int from, int to, bool persistent)
{
    for (int i = from; i <= to; i++)
        publish_number(s, "", "q", i, persistent);
}

static void expect_get(int want)
{
    const char *got = fake_get(w, s, "q", true, NULL);
    if (got == NULL || atoi(got) != want)
        cr_fatal("%s instead of %d", got != NULL ? got : "nothing", want);
}

static void expect_empty(void)
{
    cr_assert(fake_get(w, s, "q", true, NULL) == NULL);
    slc_broker_totals totals;
    slc_broker_total(fake_broker(w), &totals);
    const slc_queue *q = queue_named(w, "q");
    recount(w, q, "empty");
    cr_expect(eq(u64, totals.ready, 0));
    cr_expect(eq(u64, q->ready_bytes, 0));
    cr_expect(eq(u64, q->persistent, 0));
    cr_expect(eq(u64, q->persistent_bytes, 0));
    cr_expect(eq(u64, fake_broker(w)->hot_bytes, 0));
    cr_expect(eq(u64, fake_broker(w)->reading_bytes, 0));
    fake_turn(w);
    cr_expect(eq(u32, fake_stored(w), 0));
}

/* ---- order ---- */

Test(backlog, stored_and_transient_messages_come_in_order_exactly_once)
{
    for (int i = 1; i <= 5000; i++)
        publish(i, i, i % 3 != 0 && (i < 1000 || i > 1400));
    const slc_queue *q = queue_named(w, "q");
    cr_assert(gt(u64, q->cold_count, 2000));
    recount(w, q, "published");
    for (int i = 1; i <= 5000; i++)
        expect_get(i);
    expect_empty();
}

Test(backlog, publishing_goes_on_behind_a_cold_backlog)
{
    publish(1, 500, true);
    int next = 501;
    for (int i = 1; i <= 3000; i++) {
        if (next <= 3000) {
            publish(next, next, next % 7 != 0);
            next++;
        }
        expect_get(i);
    }
    expect_empty();
}

Test(backlog, a_queue_within_its_window_never_asks_the_store)
{
    start(64 << 20);
    uint32_t before = fake_reads(w);
    publish(1, 8000, true);
    for (int i = 1; i <= 40000; i++) {
        publish(8000 + i, 8000 + i, true);
        expect_get(i);
    }
    cr_expect(eq(u32, fake_reads(w), before));
}

Test(backlog, only_the_head_of_a_long_queue_is_in_memory)
{
    start(64 << 20);
    fake_hold_store(w, true);
    uint64_t most = 0;
    const slc_queue *q = queue_named(w, "q");
    for (int i = 1; i <= 1000000; i++) {
        fake_publish(s, "", "q", "m", "p");
        uint64_t entries = q->ready - q->cold_count;
        most = entries > most ? entries : most;
    }
    cr_expect(eq(u64, q->ready, 1000000));
    cr_expect(le(u64, most, 8192));
    cr_expect(le(u64, fake_broker(w)->hot_bytes, 8192 * 200));
    fake_hold_store(w, false);
    fake_turn(w);
    for (int i = 1; i <= 100000; i++)
        cr_assert(fake_get(w, s, "q", true, NULL) != NULL);
    most = q->ready - q->cold_count;
    cr_expect(le(u64, most, 8192));
    recount(w, q, "drained in part");
}

Test(backlog, only_the_head_of_each_level_of_a_priority_queue_is_in_memory)
{
    enum { LEVELS = 10, EACH = 40000, WINDOW = 8192 + LEVELS * 16 };
    start(64 << 20);
    declare_urgent(w, s, "u", LEVELS - 1);
    fake_hold_store(w, true);
    const slc_queue *q = queue_named(w, "u");
    uint64_t most = 0;
    for (int i = 0; i < LEVELS * EACH; i++) {
        publish_urgent(s, "", "u", i, true, (uint8_t)(i % LEVELS));
        if (q->ready - q->cold_count > most)
            most = q->ready - q->cold_count;
    }
    cr_expect(le(u64, most, WINDOW));
    cr_expect(le(u64, fake_broker(w)->hot_bytes, WINDOW * 200));
    fake_hold_store(w, false);
    fake_turn(w);
    recount(w, q, "published");
    for (int restarts = 0; restarts < 2; restarts++) {
        // What is next is found without a look at the levels below, after a start too.
        uint32_t before = fake_reads(w);
        for (int i = restarts; i < EACH; i += 2) {
            const char *got = fake_get(w, s, "u", true, NULL);
            cr_assert(got != NULL);
            if (atoi(got) % LEVELS != LEVELS - 1 - restarts)
                cr_fatal("%s, restarts %d", got, restarts);
            got = fake_get(w, s, "u", true, NULL);
            cr_assert(got != NULL);
            most = q->ready - q->cold_count;
            cr_assert(le(u64, most, WINDOW + 2048));
        }
        cr_expect(le(u32, fake_reads(w) - before, 30 + 2 * LEVELS));
        fake_turn(w);
        start(64 << 20);
        q = queue_named(w, "u");
        recount(w, q, "after a start");
        cr_expect(eq(u64, q->ready, (LEVELS - 1 - restarts) * EACH));
    }
    cr_assert(eq(int, fake_queue_delete(w, s, "u"), SLC_OK));
    fake_turn(w);
    cr_expect(eq(u32, fake_stored(w), 0), "nothing of any level is left");
}

Test(backlog, a_level_that_cannot_be_read_does_not_stop_a_higher_one)
{
    declare_urgent(w, s, "u", 3);
    for (int i = 1; i <= 300; i++)
        publish_urgent(s, "", "u", i, true, (uint8_t)(1 + i % 2));
    fake_turn(w);
    start(0);
    fake_damage_at(w, 2); // of level 1
    for (int i = 1; i <= 299; i += 2) {
        const char *got = fake_get(w, s, "u", true, NULL);
        cr_assert(got != NULL);
        cr_assert(eq(int, atoi(got), i));
    }
    slc_got got;
    slc_error error = {0};
    slc_err rc = SLC_EPENDING;
    for (int i = 0; i < 10 && rc == SLC_EPENDING; i++) {
        rc = slc_session_get(s, slc_slice_str("u"), true, &got, &error);
        fake_turn(w);
    }
    cr_expect(eq(int, rc, SLC_EINTERNAL));
    publish_urgent(s, "", "u", 1000, true, 3);
    const char *urgent = fake_get(w, s, "u", true, NULL);
    cr_assert(urgent != NULL);
    cr_expect(eq(str, (char *)urgent, "1000"));
    fake_damage_at(w, 0);
}

Test(backlog, many_queues_share_one_budget_and_all_get_on)
{
    start(256 * 1024);
    char name[16];
    for (int i = 0; i < 300; i++) {
        snprintf(name, sizeof name, "q%d", i);
        fake_queue(w, s, name, "d");
    }
    for (int k = 0; k < 100; k++) {
        for (int i = 0; i < 300; i++) {
            snprintf(name, sizeof name, "q%d", i);
            publish_number(s, "", name, k, true);
        }
        fake_turn(w);
    }
    // Each may keep 16, of some 200 octets with their entries.
    cr_expect(le(u64, fake_broker(w)->hot_bytes, 256 * 1024 + 300 * 16 * 256));
    for (int k = 0; k < 100; k++) {
        for (int i = 0; i < 300; i++) {
            snprintf(name, sizeof name, "q%d", i);
            const char *got = fake_get(w, s, name, true, NULL);
            if (got == NULL || atoi(got) != k)
                cr_fatal("queue %d: %s instead of %d", i, got != NULL ? got : "nothing", k);
        }
    }
    cr_expect(eq(u64, fake_broker(w)->hot_bytes, 0));
}

Test(backlog, a_copy_in_many_queues_counts_once)
{
    start(64 << 20);
    fake_exchange(w, s, "x", "fanout", "");
    char name[16];
    for (int i = 0; i < 50; i++) {
        snprintf(name, sizeof name, "q%d", i);
        fake_queue(w, s, name, "d");
        fake_bind(w, s, name, "x", "");
    }
    static char body[100001];
    memset(body, 'a', 100000);
    fake_publish(s, "x", "", body, "p");
    cr_expect(lt(u64, fake_broker(w)->hot_bytes, 110000));
    for (int i = 0; i < 49; i++) {
        snprintf(name, sizeof name, "q%d", i);
        cr_assert(fake_get(w, s, name, true, NULL) != NULL);
    }
    cr_expect(gt(u64, fake_broker(w)->hot_bytes, 100000), "one queue still has it");
    cr_assert(fake_get(w, s, "q49", true, NULL) != NULL);
    cr_expect(eq(u64, fake_broker(w)->hot_bytes, 0));
}

/* ---- giving up memory ---- */

Test(backlog, an_idle_queue_makes_room_for_one_that_is_used)
{
    start(768 << 10); // a message takes some 140
    fake_queue(w, s, "idle", "d");
    for (int i = 1; i <= 2000; i++)
        publish_number(s, "", "idle", i, i % 10 != 0);
    const slc_queue *idle = queue_named(w, "idle");
    cr_assert(eq(u64, idle->lane.fifo.count, 2000));
    int taken = 0;
    for (int i = 1; i <= 9000; i++) {
        publish(i, i, true);
        if (i % 3 != 0)
            expect_get(++taken);
        if (i % 100 == 0)
            fake_turn(w);
    }
    cr_expect(eq(u32, fake_reads(w), 0), "that one keeps what it needs, 3000 messages");
    cr_expect(lt(u64, idle->lane.fifo.count, 1500));
    recount(w, idle, "cooled");
    cr_expect(gt(u64, idle->lane.late.count, 50), "transient messages stay");
    cr_expect(eq(u64, idle->ready, 2000));
    cr_expect(le(u64, fake_broker(w)->hot_bytes, 768 << 10));
    for (int i = 1; i <= 2000; i++) {
        const char *got = fake_get(w, s, "idle", true, NULL);
        if (got == NULL || atoi(got) != i)
            cr_fatal("%s instead of %d", got != NULL ? got : "nothing", i);
    }
    while (taken < 9000)
        expect_get(++taken);
    expect_empty();
}

Test(backlog, a_queue_of_transient_messages_keeps_them_all)
{
    fake_queue(w, s, "t", "");
    for (int i = 1; i <= 20000; i++) {
        publish_number(s, "", "t", i, true); // persistent, but the queue is not durable
        publish(i, i, false);                // the other way round
    }
    fake_turn(w);
    cr_expect(eq(u64, queue_named(w, "t")->lane.fifo.count, 20000));
    cr_expect(eq(u64, queue_named(w, "q")->lane.fifo.count, 20000));
    recount(w, queue_named(w, "q"), "transient");
    for (int i = 1; i <= 20000; i++)
        expect_get(i);
    cr_expect(eq(u32, fake_reads(w), 0));
}

/** 3000 transient messages between stored ones: more than one turn may move. */
Test(backlog, memory_is_given_up_in_slices)
{
    start(8 << 20);
    publish(1, 100, true);
    publish(101, 9000, false);
    publish(9001, 9100, true);
    const slc_queue *q = queue_named(w, "q");
    fake_queue(w, s, "other", "");
    for (int i = 0; i < 60000; i++)
        publish_number(s, "", "other", i, false); // cannot be given up
    for (int turn = 0; turn < 10; turn++) {
        slc_broker_turn(fake_broker(w));
        recount(w, q, "between turns");
        publish(9101 + turn, 9101 + turn, turn % 2 == 0);
    }
    cr_expect(le(u64, q->lane.fifo.count, 16));
    for (int i = 1; i <= 9110; i++)
        expect_get(i);
    cr_assert(fake_get(w, s, "q", true, NULL) == NULL);
    recount(w, q, "empty");
}

/* ---- consumers ---- */

static int delivered_next;
static int delivered_count;

static void note_delivery(slc_session *session, const slc_consumer *consumer, uint64_t tag,
                          bool redelivered, slc_message *m)
{
    (void)session;
    (void)consumer;
    (void)tag;
    (void)redelivered;
    if (message_number(m) != delivered_next)
        cr_fatal("%d instead of %d", message_number(m), delivered_next);
    delivered_next++;
    delivered_count++;
}

static void nothing(slc_session *session)
{
    (void)session;
}

static void ignore_cancel(slc_session *session, slc_slice tag)
{
    (void)session;
    (void)tag;
}

static const slc_session_ops note_ops = {
    .deliver = note_delivery, .cancelled = ignore_cancel, .resume = nothing};

static slc_session *consumer_from(int first)
{
    delivered_next = first;
    delivered_count = 0;
    slc_session *session = slc_session_open(slc_session_client(s), 77, &note_ops, NULL);
    cr_assert(eq(int, fake_consume(session, "q", "c", "n"), SLC_OK));
    return session;
}

Test(backlog, reads_are_ahead_of_the_consumer)
{
    start(64 << 20);
    publish(1, 30000, true);
    fake_turn(w);
    fake_restart(w);
    s = fake_session(fake_client_open(w));
    fake_hold_reads(w, true);
    consumer_from(1);
    int stalls = 0;
    for (int i = 0; i < 300 && delivered_count < 30000; i++) {
        int before = delivered_count;
        slc_broker_turn(fake_broker(w));
        // An answer takes three turns of 512 deliveries.
        if (i % 3 == 2 && fake_reads_waiting(w) > 0)
            fake_read_answer(w, 0);
        stalls += i > 3 && delivered_count == before && delivered_count < 30000;
    }
    cr_expect(eq(int, delivered_count, 30000));
    cr_expect(le(int, stalls, 1));
}

/** Otherwise it would go round for ever: each answer finds a few more cold messages behind it. */
Test(backlog, a_consumer_that_caught_up_leaves_the_store_behind_while_publishing_goes_on)
{
    start(64 << 20);
    publish(1, 20000, true);
    fake_turn(w);
    fake_hold_reads(w, true);
    consumer_from(1);
    const slc_queue *q = queue_named(w, "q");
    int next = 20001;
    uint32_t reads = 0;
    for (int i = 0; i < 400; i++) {
        for (int k = 0; k < 300; k++, next++)
            publish(next, next, next % 50 != 0);
        if (fake_reads_waiting(w) > 0)
            fake_read_execute(w, 0); // and is answered after some more was published
        for (int k = 0; k < 100; k++, next++)
            publish(next, next, true);
        if (fake_reads_waiting(w) > 0)
            fake_read_answer(w, 0);
        slc_broker_turn(fake_broker(w));
        recount(w, q, "while publishing");
        if (i == 300)
            reads = fake_reads(w);
    }
    cr_expect(q->lane.cold_from == SLC_NOT_COLD);
    cr_expect(eq(u32, fake_reads(w), reads), "none of the last 40,000 was read back");
    fake_hold_reads(w, false);
    fake_turn(w);
    cr_expect(eq(int, delivered_next, next));
}

Test(backlog, the_tail_in_memory_turns_cold_when_the_consumer_stops)
{
    start(64 << 20);
    publish(1, 10000, true);
    fake_hold_reads(w, true);
    slc_session *reader = consumer_from(1);
    for (int i = 0; i < 20; i++)
        slc_broker_turn(fake_broker(w));
    cr_assert(eq(u32, fake_reads_waiting(w), 1));
    const slc_queue *q = queue_named(w, "q");
    publish(10001, 11000, true);
    publish(11001, 11100, false);
    cr_assert(eq(u64, q->lane.cold_to, 10001));
    cr_assert(eq(u64, q->lane.tail_count, 1100));
    slc_session_writable(reader, false);
    publish(11101, 14000, true);
    recount(w, q, "closed");
    cr_expect(q->lane.cold_to == SLC_NOT_COLD);
    cr_expect(eq(u64, q->lane.late.count, 100));
    // The answer was to a question before the tail turned cold; it fits still.
    fake_hold_reads(w, false);
    fake_turn(w);
    recount(w, q, "read");
    slc_session_writable(reader, true);
    fake_turn(w);
    cr_expect(eq(int, delivered_next, 14001));
    expect_empty();
}

Test(backlog, messages_come_back_to_their_place_while_the_rest_is_cold)
{
    slc_error error = {0};
    publish(1, 1000, true);
    uint64_t tags[200];
    slc_session *holder = fake_session(c);
    for (int i = 0; i < 200; i++)
        cr_assert(fake_get(w, holder, "q", false, &tags[i]) != NULL);
    recount(w, queue_named(w, "q"), "200 are out");
    for (int i = 150; i < 200; i++)
        cr_assert(eq(int, slc_session_settle(holder, tags[i], false, SLC_SETTLE_REQUEUE, &error),
                     SLC_OK));
    publish(1001, 1100, false);
    recount(w, queue_named(w, "q"), "50 are back");
    expect_get(151);
    slc_session_recover(holder);
    for (int i = 1; i <= 150; i++)
        expect_get(i);
    for (int i = 152; i <= 1100; i++)
        expect_get(i);
    expect_empty();
}

Test(backlog, several_that_wait_for_one_read_all_get_their_message)
{
    publish(1, 100, true);
    fake_turn(w);
    fake_restart(w);
    c = fake_client_open(w);
    s = fake_session(c);
    fake_hold_reads(w, true);
    slc_session *getters[5];
    slc_error error = {0};
    slc_got got;
    for (int i = 0; i < 5; i++) {
        getters[i] = fake_session(c);
        cr_assert(eq(int, slc_session_get(getters[i], slc_slice_str("q"), true, &got, &error),
                     SLC_EPENDING));
    }
    cr_assert(eq(u32, fake_reads_waiting(w), 1));
    fake_read_answer(w, 0);
    slc_broker_turn(fake_broker(w));
    for (int i = 0; i < 5; i++) {
        cr_assert(
            eq(int, slc_session_get(getters[i], slc_slice_str("q"), true, &got, &error), SLC_OK));
        cr_expect(eq(int, message_number(got.message), i + 1));
        slc_message_unref(got.message);
    }
}

/* ---- confirms ---- */

Test(backlog, a_message_that_is_cold_before_it_is_durable_is_confirmed)
{
    slc_error error = {0};
    cr_assert(eq(int, slc_session_confirm_select(s, &error), SLC_OK));
    fake_hold_store(w, true);
    publish(1, 100, true);
    fake_turn(w);
    cr_assert(gt(u64, queue_named(w, "q")->cold_count, 80));
    cr_expect(eq(str, (char *)fake_take_log(c), ""));
    fake_sync(w);
    fake_turn(w);
    cr_expect(eq(str, (char *)fake_take_log(c), "confirm to 100"));
}

Test(backlog, a_message_read_back_and_settled_before_it_is_durable_is_confirmed_once)
{
    slc_error error = {0};
    cr_assert(eq(int, slc_session_confirm_select(s, &error), SLC_OK));
    fake_hold_store(w, true);
    publish(1, 60, true);
    slc_session *reader = fake_session(c);
    for (int i = 1; i <= 60; i++)
        cr_assert(eq(int, atoi(fake_get(w, reader, "q", true, NULL)), i));
    fake_turn(w);
    fake_sync(w);
    fake_turn(w);
    const char *log = fake_take_log(c);
    cr_expect(strstr(log, "confirm to 60") != NULL, "%s", log);
    publish(61, 61, true);
    fake_sync(w);
    fake_turn(w);
    cr_expect(eq(str, (char *)fake_take_log(c), "confirm 61"));
}

Test(backlog, a_purge_of_what_is_not_durable_leaves_its_confirms)
{
    slc_error error = {0};
    uint32_t purged;
    cr_assert(eq(int, slc_session_confirm_select(s, &error), SLC_OK));
    fake_hold_store(w, true);
    publish(1, 100, true);
    cr_assert(eq(int, slc_session_queue_purge(s, slc_slice_str("q"), &purged, &error), SLC_OK));
    cr_expect(eq(u32, purged, 100));
    fake_sync(w);
    fake_turn(w);
    const char *log = fake_take_log(c);
    cr_expect(strstr(log, "confirm to 100") != NULL, "%s", log);
    expect_empty();
}

/* ---- purge and delete ---- */

static void purge(uint32_t want)
{
    slc_error error = {0};
    uint32_t purged;
    slc_session *purger = fake_session(c);
    cr_assert(
        eq(int, slc_session_queue_purge(purger, slc_slice_str("q"), &purged, &error), SLC_OK));
    cr_assert(eq(u32, purged, want));
    cr_assert(eq(int, slc_session_close(purger), SLC_OK));
}

Test(backlog, a_purge_drops_what_is_cold_with_one_record)
{
    publish(1, 20000, true);
    for (int i = 20001; i <= 20100; i++)
        publish(i, i, false);
    slc_session *holder = fake_session(c);
    uint64_t tag;
    cr_assert(fake_get(w, holder, "q", false, &tag) != NULL);
    purge(20099);
    cr_expect(eq(u32, fake_range_drops(w), 1));
    fake_turn(w);
    cr_expect(eq(u32, fake_stored(w), 1), "the unacked one");
    publish(1, 50, true);
    slc_session_recover(holder);
    expect_get(1);
    for (int i = 1; i <= 50; i++)
        expect_get(i);
    expect_empty();
    fake_restart(w);
    s = fake_session(fake_client_open(w));
    expect_empty();
}

Test(backlog, nothing_purged_comes_back_with_a_read_that_was_under_way)
{
    publish(1, 1000, true);
    fake_turn(w);
    for (int executed = 0; executed <= 1; executed++) {
        fake_restart(w);
        c = fake_client_open(w);
        s = fake_session(c);
        fake_hold_reads(w, true);
        slc_session *reader = consumer_from(1);
        slc_broker_turn(fake_broker(w));
        cr_assert(eq(u32, fake_reads_waiting(w), 1));
        if (executed)
            fake_read_execute(w, 0);
        purge(1000);
        slc_session_writable(reader, false);
        publish(1, 1000, true); // most of them are cold as well
        fake_read_answer(w, 0);
        recount(w, queue_named(w, "q"), "after the answer");
        slc_session_writable(reader, true);
        delivered_next = 1;
        fake_hold_reads(w, false);
        fake_turn(w);
        cr_expect(eq(int, delivered_count, 1000), "executed %d", executed);
        expect_empty();
        fake_client_close(c);
        c = fake_client_open(w);
        s = fake_session(c);
        publish(1, 1000, true);
        fake_turn(w);
    }
}

Test(backlog, a_purge_takes_the_tail_in_memory_too)
{
    start(64 << 20);
    publish(1, 10000, true);
    fake_hold_reads(w, true);
    consumer_from(1);
    for (int i = 0; i < 20; i++)
        slc_broker_turn(fake_broker(w));
    publish(10001, 11000, true);
    const slc_queue *q = queue_named(w, "q");
    cr_assert(eq(u64, q->lane.tail_count, 1000));
    purge(11000 - (uint32_t)delivered_count);
    delivered_next = 11001;
    publish(11001, 11010, true);
    fake_hold_reads(w, false);
    fake_turn(w);
    cr_expect(eq(int, delivered_next, 11011));
    expect_empty();
}

Test(backlog, a_queue_may_be_deleted_during_a_read)
{
    publish(1, 1000, true);
    fake_hold_reads(w, true);
    consumer_from(1);
    slc_broker_turn(fake_broker(w));
    slc_broker_turn(fake_broker(w));
    cr_assert(eq(u32, fake_reads_waiting(w), 1));
    fake_read_execute(w, 0);
    slc_session *other = fake_session(c);
    cr_assert(eq(int, fake_queue_delete(w, other, "q"), SLC_OK));
    cr_assert(eq(int, fake_queue(w, other, "q", "d"), SLC_OK));
    fake_hold_reads(w, false);
    fake_turn(w);
    cr_expect(eq(u64, fake_broker(w)->hot_bytes, 0));
    cr_expect(eq(u64, fake_broker(w)->reading_bytes, 0));
    cr_expect(eq(u32, fake_stored(w), 0));
    expect_empty();
}

/* ---- what is damaged ---- */

Test(backlog, a_queue_stands_still_in_front_of_a_damaged_message)
{
    publish(1, 500, true);
    fake_damage_at(w, 300);
    for (int i = 1; i < 300; i++)
        expect_get(i);
    for (int i = 0; i < 3; i++) {
        cr_expect(fake_get(w, s, "q", true, NULL) == NULL);
        cr_expect(strstr(fake_error(), "cannot be read") != NULL, "%s", fake_error());
    }
    uint32_t reads = fake_reads(w);
    publish(501, 600, true);
    slc_session *reader = fake_session(c);
    fake_consume(reader, "q", "c", "n");
    fake_turn(w);
    cr_expect(eq(u32, fake_reads(w), reads), "it is not asked for again and again");
    cr_expect(eq(u64, queue_named(w, "q")->ready, 301));
    recount(w, queue_named(w, "q"), "damaged");
    purge(301);
    fake_take_log(c);
    slc_error error = {0};
    cr_assert(eq(int, slc_session_cancel(reader, slc_slice_str("c"), &error), SLC_OK));
    publish(601, 700, true);
    cr_assert(gt(u64, queue_named(w, "q")->cold_count, 0));
    for (int i = 601; i <= 700; i++) // a purge ends it
        expect_get(i);
    expect_empty();
}

Test(backlog, a_queue_stands_still_where_the_store_lost_messages)
{
    publish(1, 100, true);
    fake_turn(w);
    for (uint64_t qseq = 90; qseq <= 100; qseq++)
        fake_lose(w, qseq);
    for (int i = 1; i < 90; i++)
        expect_get(i);
    cr_expect(fake_get(w, s, "q", true, NULL) == NULL);
    cr_expect(strstr(fake_error(), "cannot be read") != NULL, "%s", fake_error());
    cr_expect(eq(u64, queue_named(w, "q")->ready, 11));
}

Test(backlog, what_is_in_memory_is_not_served_twice_where_the_store_lost_messages)
{
    start(64 << 20);
    publish(1, 9000, true);
    fake_hold_reads(w, true);
    consumer_from(1);
    for (int i = 0; i < 20; i++)
        slc_broker_turn(fake_broker(w));
    cr_assert(eq(u32, fake_reads_waiting(w), 1));
    publish(9001, 9500, true);
    const slc_queue *q = queue_named(w, "q");
    cr_assert(eq(u64, q->lane.cold_to, 9001));
    fake_lose(w, 8999);
    fake_lose(w, 9000);
    fake_hold_reads(w, false);
    fake_turn(w);
    cr_expect(eq(int, delivered_next, 8999), "it stands where they are missing");
    cr_expect(eq(u64, q->ready, 502));
    cr_expect(eq(u64, q->lane.tail_count, 500));
}

/* ---- restart ---- */

Test(backlog, after_an_orderly_stop_only_what_was_handed_out_counts_as_delivered_before)
{
    publish(1, 300, true);
    slc_session *holder = fake_session(c);
    for (int i = 1; i <= 120; i++)
        cr_assert(fake_get(w, holder, "q", false, NULL) != NULL);
    for (int round = 0; round < 2;
         round++) { // the second stop hands out nothing and must not forget
        fake_restart_clean(w);
        c = fake_client_open(w);
        s = fake_session(c);
        cr_assert(eq(u64, queue_named(w, "q")->ready, 300));
        recount(w, queue_named(w, "q"), "recovered");
    }
    slc_got got;
    slc_error error = {0};
    for (int i = 1; i <= 300; i++) {
        slc_err rc;
        while ((rc = slc_session_get(s, slc_slice_str("q"), true, &got, &error)) == SLC_EPENDING)
            fake_turn(w);
        cr_assert(eq(int, rc, SLC_OK));
        cr_assert(eq(int, message_number(got.message), i));
        cr_assert(eq(int, got.redelivered, i <= 120), "%d", i);
        slc_message_unref(got.message);
    }
    expect_empty();
}

Test(backlog, figures_of_a_recovered_queue_become_exact_as_it_is_read)
{
    for (int i = 1; i <= 500; i++)
        publish(i, i, true);
    fake_turn(w);
    const slc_queue *q = queue_named(w, "q");
    uint64_t exact = q->ready_bytes;
    fake_restart(w);
    s = fake_session(fake_client_open(w));
    q = queue_named(w, "q");
    slc_broker_totals totals;
    slc_broker_total(fake_broker(w), &totals);
    cr_expect(eq(u64, totals.ready, 500));
    cr_expect(eq(u64, q->persistent, 500));
    cr_expect(gt(u64, q->ready_bytes, exact), "whole contents");
    publish(501, 600, true);
    for (int i = 1; i <= 500; i++)
        expect_get(i);
    cr_expect(eq(u64, q->ready_bytes, 300), "three digits each");
    cr_expect(eq(u64, q->persistent_bytes, 300));
    for (int i = 501; i <= 600; i++)
        expect_get(i);
    expect_empty();
}
