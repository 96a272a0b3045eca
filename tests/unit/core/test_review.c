// Corners where two things happen at once: a cancel under a prefetch limit, a definition under way, a consumer that fills up in
// the middle of a fan-out; and what a client could make large. @spec amqp-semantics 7.5, 9.2, 11.4, 12.3
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <string.h>

#include "core/internal.h"
#include "fake_world.h"

static fake_world *w;
static fake_client *c;
static slc_session *s;

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

TestSuite(review, .init = setup, .fini = teardown, .timeout = 60);

static void settle(uint64_t tag, slc_settle how)
{
    slc_error error = {0};
    cr_assert(eq(int, slc_session_settle(s, tag, false, how, &error), SLC_OK), "%s", error.text);
}

/* ---- prefetch and cancel ---- */

static void one_for_all_and_cancel(void)
{
    slc_error error = {0};
    fake_queue(w, s, "q1", "");
    fake_queue(w, s, "q2", "");
    slc_session_qos(s, 1, true);
    fake_consume(s, "q1", "a", "");
    fake_consume(s, "q2", "b", "");
    fake_publish(s, "", "q1", "m1", "");
    fake_turn(w);
    cr_assert(eq(str, (char *)fake_take_log(c), "deliver 1 a m1"));
    cr_assert(eq(int, slc_session_cancel(s, slc_slice_str("a"), &error), SLC_OK));
    fake_publish(s, "", "q2", "m2", "");
    fake_turn(w);
}

Test(review, a_cancelled_consumers_delivery_counts_for_the_global_limit_until_it_is_settled)
{
    one_for_all_and_cancel();
    cr_expect(eq(str, (char *)fake_take_log(c), ""), "one is unacked, one is the limit");
    settle(1, SLC_SETTLE_ACK);
    fake_turn(w);
    cr_expect(eq(str, (char *)fake_take_log(c), "deliver 2 b m2"));
}

Test(review, a_cancelled_consumers_delivery_can_be_requeued_and_rolled_back)
{
    slc_error error = {0};
    one_for_all_and_cancel();
    cr_assert(eq(int, slc_session_tx_select(s, &error), SLC_OK));
    settle(1, SLC_SETTLE_ACK);
    cr_assert(eq(int, slc_session_tx_rollback(s, &error), SLC_OK));
    settle(1, SLC_SETTLE_REQUEUE);
    cr_expect(eq(str, (char *)fake_take_log(c), ""), "its credit comes back with the commit");
    cr_assert(eq(int, slc_session_tx_commit(s, &error), SLC_OK));
    fake_turn(w);
    cr_expect(eq(str, (char *)fake_take_log(c), "deliver 2 b m2"));
}

Test(review, a_session_closes_with_deliveries_of_consumers_that_are_gone)
{
    one_for_all_and_cancel();
    slc_session *other = fake_session(c);
    cr_assert(eq(int, slc_session_close(s), SLC_OK));
    s = other;
    cr_expect(eq(str, (char *)fake_get(w, s, "q1", true, NULL), "m1"));
}

Test(review, a_deleted_queues_consumer_leaves_its_deliveries_behind)
{
    slc_broker_totals totals;
    fake_queue(w, s, "q", "");
    fake_consume(s, "q", "a", "");
    fake_publish(s, "", "q", "m1", "");
    cr_assert(eq(int, fake_queue_delete(w, s, "q"), SLC_OK));
    cr_expect(eq(str, (char *)fake_take_log(c), "deliver 1 a m1; cancelled a"));
    cr_assert(eq(int, fake_queue(w, s, "q", ""), SLC_OK));
    cr_assert(eq(int, fake_consume(s, "q", "a", ""), SLC_OK), "the tag is free again");
    settle(1, SLC_SETTLE_ACK);
    slc_broker_total(fake_broker(w), &totals);
    cr_expect(eq(u64, totals.unacked, 0));
}

Test(review, the_last_place_of_a_session_goes_round)
{
    const char *names[] = {"q0", "q1", "q2"};
    uint32_t served[3] = {0};
    for (int i = 0; i < 3; i++) {
        fake_queue(w, s, names[i], "");
        for (int k = 0; k < 30; k++)
            fake_publish(s, "", names[i], names[i], "");
    }
    slc_session_qos(s, 1, true);
    for (int i = 0; i < 3; i++)
        fake_consume(s, names[i], names[i], "");
    for (uint64_t tag = 1; tag <= 30; tag++) {
        fake_turn(w);
        const char *log = fake_take_log(c);
        for (int i = 0; i < 3; i++)
            served[i] += strstr(log, names[i]) != NULL;
        settle(tag, SLC_SETTLE_ACK);
    }
    for (int i = 0; i < 3; i++)
        cr_expect(eq(u32, served[i], 10), "%s", names[i]);
}

Test(review, a_session_without_room_takes_nothing_without_ack_either)
{
    fake_queue(w, s, "q1", "");
    fake_queue(w, s, "q2", "");
    slc_session_qos(s, 1, true);
    fake_consume(s, "q1", "a", "");
    fake_publish(s, "", "q1", "m1", "");
    fake_consume(s, "q2", "b", "n");
    fake_publish(s, "", "q2", "m2", "");
    fake_turn(w);
    cr_expect(eq(str, (char *)fake_take_log(c), "deliver 1 a m1"));
    settle(1, SLC_SETTLE_ACK);
    fake_turn(w);
    cr_expect(eq(str, (char *)fake_take_log(c), "deliver 2 b m2"));
}

/* ---- confirms ---- */

static void deliver_and_be_full(slc_session *session, const slc_consumer *consumer, uint64_t tag,
                                bool redelivered, slc_message *message)
{
    (void)consumer;
    (void)tag;
    (void)redelivered;
    (void)message;
    slc_session_writable(session, false);
}

static void nothing(slc_session *session)
{
    (void)session;
}

Test(review, a_copy_taken_from_the_batch_does_not_confirm_the_others)
{
    static const slc_session_ops ops = {.deliver = deliver_and_be_full, .resume = nothing};
    slc_error error = {0};
    slc_session *full = slc_session_open(slc_session_client(s), 77, &ops, NULL);
    fake_exchange(w, s, "x", "fanout", "d");
    const char *names[] = {"q0", "q1", "q2"};
    for (int i = 0; i < 3; i++) {
        fake_queue(w, s, names[i], "d");
        fake_bind(w, s, names[i], "x", "");
    }
    fake_consume(full, "q1", "a", "n");
    fake_consume(full, "q2", "b", "n");
    cr_assert(eq(int, slc_session_confirm_select(s, &error), SLC_OK));
    fake_hold_store(w, true);
    fake_publish(s, "x", "", "m",
                 "p"); // q0 keeps it, q1 passes it on, q2 keeps it: the peer is full now
    cr_assert(eq(str, (char *)fake_get(w, s, "q2", true, NULL), "m"));
    fake_turn(w);
    cr_expect(eq(str, (char *)fake_take_log(c), ""), "the copy of q0 is not on disk");
    fake_hold_store(w, false);
    fake_turn(w);
    cr_expect(eq(str, (char *)fake_take_log(c), "confirm 1"));
    cr_expect(eq(u32, fake_stored(w), 1));
}

/* ---- definitions under way ---- */

Test(review, a_transient_queue_waits_for_the_durable_one_of_its_name)
{
    slc_error error = {0};
    slc_queue_declared out;
    slc_session *other = fake_session(fake_client_open(w));
    slc_queue_declare durable = {.name = slc_slice_str("q"), .durable = true};
    cr_assert(eq(int, slc_session_queue_declare(s, &durable, &out, &error), SLC_EPENDING));
    cr_expect(eq(int, fake_queue(w, other, "q", ""), SLC_EPRECONDITION));
    cr_expect(strstr(fake_error(), "inequivalent arg 'durable'") != NULL, "%s", fake_error());
    cr_assert(eq(int, slc_session_queue_declare(s, &durable, &out, &error), SLC_OK), "%s",
              error.text);
}

Test(review, a_transient_exchange_waits_for_the_durable_one_of_its_name)
{
    slc_error error = {0};
    slc_session *other = fake_session(fake_client_open(w));
    slc_exchange_declare durable = {
        .name = slc_slice_str("x"), .type = slc_slice_str("direct"), .durable = true};
    cr_assert(eq(int, slc_session_exchange_declare(s, &durable, &error), SLC_EPENDING));
    cr_expect(eq(int, fake_exchange(w, other, "x", "direct", ""), SLC_EPRECONDITION));
    cr_assert(eq(int, slc_session_exchange_declare(s, &durable, &error), SLC_OK), "%s", error.text);
}

/* ---- what a client can make large ---- */

static void exchange_chain(int count, const char *flags)
{
    slc_error error = {0};
    char name[32], next[32];
    for (int i = 0; i < count; i++) {
        snprintf(name, sizeof name, "x%d", i);
        cr_assert(eq(int, fake_exchange(w, s, name, "fanout", flags), SLC_OK));
        if (i == 0)
            continue;
        snprintf(next, sizeof next, "x%d", i - 1);
        cr_assert(eq(int,
                     slc_session_exchange_bind(s, slc_slice_str(next), slc_slice_str(name),
                                               (slc_slice){0}, (slc_slice){0}, &error),
                     SLC_OK));
    }
    fake_queue(w, s, "q", "");
    fake_bind(w, s, "q", "x0", "");
}

Test(review, a_long_chain_of_auto_delete_exchanges_goes_with_its_end)
{
    slc_broker_totals before, after;
    slc_broker_total(fake_broker(w), &before);
    exchange_chain(150000, "a");
    cr_assert(eq(int, fake_queue_delete(w, s, "q"), SLC_OK));
    slc_broker_total(fake_broker(w), &after);
    cr_expect(eq(u64, after.exchanges, before.exchanges));
    cr_expect(eq(u64, after.bindings, before.bindings));
}

Test(review, the_table_of_sessions_does_not_grow_with_every_channel_ever_opened)
{
    for (int i = 0; i < 200; i++)
        fake_session(c);
    slc_client *client = slc_session_client(s);
    static const slc_session_ops ops = {.resume = nothing};
    for (int i = 0; i < 50000; i++)
        cr_assert(eq(int, slc_session_close(slc_session_open(client, 300, &ops, NULL)), SLC_OK));
    cr_expect(le(u32, fake_broker(w)->session_capacity, 1024));
}

Test(review, purged_and_deleted_messages_leave_in_slices)
{
    slc_error error = {0};
    slc_broker_totals totals;
    uint32_t purged = 0;
    fake_queue(w, s, "q", "");
    for (int i = 0; i < 100000; i++)
        fake_publish(s, "", "q", "m", "");
    cr_assert(eq(int, slc_session_queue_purge(s, slc_slice_str("q"), &purged, &error), SLC_OK));
    cr_expect(eq(u32, purged, 100000));
    slc_broker_total(fake_broker(w), &totals);
    cr_expect(eq(u64, totals.ready, 0));
    cr_expect(slc_message_bytes_alive() > 0, "not all in one go");
    fake_publish(s, "", "q", "after", "");
    cr_expect(eq(str, (char *)fake_get(w, s, "q", true, NULL), "after"));
    fake_turn(w);
    cr_expect(eq(u64, slc_message_bytes_alive(), 0));
}

Test(review, purged_messages_do_not_come_back_after_a_restart)
{
    slc_error error = {0};
    uint32_t purged = 0;
    fake_queue(w, s, "q", "d");
    for (int i = 0; i < 6000; i++)
        fake_publish(s, "", "q", "m", "p");
    fake_turn(w);
    cr_assert(eq(int, slc_session_queue_purge(s, slc_slice_str("q"), &purged, &error), SLC_OK));
    cr_expect(eq(u32, purged, 6000));
    cr_expect(not(slc_broker_idle(fake_broker(w))), "a stop waits for the rest");
    fake_publish(s, "", "q", "after", "p");
    fake_turn(w);
    cr_expect(eq(u32, fake_stored(w), 1));
    fake_restart(w);
    s = fake_session(fake_client_open(w));
    cr_expect(eq(str, (char *)fake_get(w, s, "q", true, NULL), "after"));
}

Test(review, a_queue_may_be_deleted_while_its_purge_goes_on)
{
    slc_error error = {0};
    uint32_t purged = 0;
    fake_queue(w, s, "q", "");
    for (int i = 0; i < 20000; i++)
        fake_publish(s, "", "q", "m", "");
    for (int i = 0; i < 9000; i++)
        fake_get(w, s, "q", false, NULL);
    slc_session_recover(s); // part of them is in the heap
    cr_assert(eq(int, slc_session_queue_purge(s, slc_slice_str("q"), &purged, &error), SLC_OK));
    cr_expect(eq(u32, purged, 20000));
    for (int i = 0; i < 9000; i++)
        fake_publish(s, "", "q", "m", "");
    cr_assert(eq(int, fake_queue_delete(w, s, "q"), SLC_OK));
    cr_assert(eq(int, fake_queue(w, s, "q", ""), SLC_OK));
    fake_turn(w);
    cr_expect(eq(u64, slc_message_bytes_alive(), 0));
}

Test(review, a_route_is_remembered_whatever_its_size)
{
    char key[300];
    fake_exchange(w, s, "x", "topic", "");
    for (int i = 0; i < 40; i++) {
        char name[16];
        snprintf(name, sizeof name, "q%d", i);
        fake_queue(w, s, name, "");
        fake_bind(w, s, name, "x", i % 3 == 0 ? "#" : i % 3 == 1 ? "a.#" : "b.#");
    }
    uint32_t copies = 0;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 250; i++) {
            snprintf(key, sizeof key, "%c.%0*d", i % 2 == 0 ? 'a' : 'b', (i + 1) % 251, i);
            cr_assert(eq(int, fake_publish(s, "x", key, "m", ""), SLC_OK));
            copies += 14 + 13; // those of "#", and those of its first word
        }
    }
    slc_broker_totals totals;
    slc_broker_total(fake_broker(w), &totals);
    cr_expect(eq(u64, totals.ready, copies));
}
