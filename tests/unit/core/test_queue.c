// Publishing, delivering, settling: what a consumer sees of a queue. @spec amqp-semantics 11, 12
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

TestSuite(queue, .init = setup, .fini = teardown, .timeout = 60);

static void publish_many(const char *queue, int from, int to, const char *flags)
{
    for (int i = from; i <= to; i++) {
        char body[16];
        snprintf(body, sizeof body, "m%d", i);
        if (fake_publish(s, "", queue, body, flags) != SLC_OK)
            cr_fatal("%s", fake_error());
    }
}

Test(queue, delivers_in_order_of_publishing)
{
    fake_queue(w, s, "q", "d");
    publish_many("q", 1, 3, "");
    fake_consume(s, "q", "c", "");
    fake_turn(w);
    cr_expect(eq(str, (char *)fake_take_log(c), "deliver 1 c m1; deliver 2 c m2; deliver 3 c m3"));
}

Test(queue, delivers_at_once_when_a_consumer_waits)
{
    fake_queue(w, s, "q", "");
    fake_consume(s, "q", "c", "n");
    publish_many("q", 1, 2, "");
    cr_expect(eq(str, (char *)fake_take_log(c), "deliver 1 c m1; deliver 2 c m2"));
}

Test(queue, takes_turns_among_consumers)
{
    fake_queue(w, s, "q", "");
    fake_consume(s, "q", "a", "n");
    fake_consume(s, "q", "b", "n");
    publish_many("q", 1, 4, "");
    cr_expect(eq(str, (char *)fake_take_log(c),
                 "deliver 1 a m1; deliver 2 b m2; deliver 3 a m3; deliver 4 b m4"));
}

Test(queue, prefetch_is_exact)
{
    slc_error error = {0};
    fake_queue(w, s, "q", "");
    slc_session_qos(s, 2, false);
    fake_consume(s, "q", "c", "");
    publish_many("q", 1, 4, "");
    fake_turn(w);
    cr_expect(eq(str, (char *)fake_take_log(c), "deliver 1 c m1; deliver 2 c m2"));
    cr_assert(eq(int, slc_session_settle(s, 1, false, SLC_SETTLE_ACK, &error), SLC_OK));
    fake_turn(w);
    cr_expect(eq(str, (char *)fake_take_log(c), "deliver 3 c m3"));
}

Test(queue, global_prefetch_bounds_the_whole_session)
{
    slc_error error = {0};
    fake_queue(w, s, "q", "");
    slc_session_qos(s, 3, true);
    fake_consume(s, "q", "a", "");
    fake_consume(s, "q", "b", "");
    publish_many("q", 1, 6, "");
    fake_turn(w);
    cr_expect(eq(str, (char *)fake_take_log(c), "deliver 1 a m1; deliver 2 b m2; deliver 3 a m3"));
    cr_assert(eq(int, slc_session_settle(s, 2, true, SLC_SETTLE_ACK, &error), SLC_OK));
    fake_turn(w);
    const char *log = fake_take_log(c);
    cr_expect(strstr(log, "m4") != NULL, "%s", log);
    cr_expect(strstr(log, "m5") != NULL, "%s", log);
    cr_expect(strstr(log, "m6") == NULL, "%s", log);
}

Test(queue, a_consumer_that_does_not_read_stops_only_itself)
{
    fake_queue(w, s, "q", "");
    fake_client *slow = fake_client_open(w);
    slc_session *slow_session = fake_session(slow);
    fake_consume(slow_session, "q", "slow", "n");
    fake_consume(s, "q", "fast", "n");
    slc_session_writable(slow_session, false);
    publish_many("q", 1, 3, "");
    fake_turn(w);
    cr_expect(eq(str, (char *)fake_take_log(c),
                 "deliver 1 fast m1; deliver 2 fast m2; deliver 3 fast m3"));
    cr_expect(eq(str, (char *)fake_take_log(slow), ""));
    slc_session_writable(slow_session, true);
    publish_many("q", 4, 5, "");
    fake_turn(w);
    cr_expect(strstr(fake_take_log(slow), "slow") != NULL);
}

Test(queue, requeued_messages_return_to_their_old_position)
{
    slc_error error = {0};
    fake_queue(w, s, "q", "");
    publish_many("q", 1, 5, "");
    uint64_t tags[3];
    for (int i = 0; i < 3; i++)
        cr_assert(fake_get(w, s, "q", false, &tags[i]) != NULL);
    const int order[] = {1, 2, 0}; // nacked out of order
    for (int i = 0; i < 3; i++)
        cr_assert(eq(int, slc_session_settle(s, tags[order[i]], false, SLC_SETTLE_REQUEUE, &error),
                     SLC_OK));
    fake_consume(s, "q", "c", "");
    fake_turn(w);
    cr_expect(eq(str, (char *)fake_take_log(c),
                 "deliver 4 c m1 again; deliver 5 c m2 again; deliver 6 c m3 again; deliver 7 c "
                 "m4; deliver 8 c m5"));
}

Test(queue, unknown_delivery_tags_are_refused)
{
    slc_error error = {0};
    fake_queue(w, s, "q", "");
    publish_many("q", 1, 2, "");
    uint64_t tag;
    fake_get(w, s, "q", false, &tag);
    cr_expect(eq(int, slc_session_settle(s, 7, false, SLC_SETTLE_ACK, &error), SLC_EPRECONDITION));
    cr_expect(eq(str, error.text, "unknown delivery tag 7"));
    cr_expect(eq(int, slc_session_settle(s, 7, true, SLC_SETTLE_ACK, &error), SLC_EPRECONDITION));
    cr_expect(eq(int, slc_session_settle(s, tag, false, SLC_SETTLE_ACK, &error), SLC_OK));
    cr_expect(
        eq(int, slc_session_settle(s, tag, false, SLC_SETTLE_ACK, &error), SLC_EPRECONDITION));
    cr_expect(eq(int, slc_session_settle(s, 0, true, SLC_SETTLE_ACK, &error), SLC_OK),
              "all of none is fine");
}

Test(queue, cancelling_keeps_the_unacked_with_the_session_and_closing_returns_them)
{
    slc_error error = {0};
    fake_queue(w, s, "q", "");
    fake_consume(s, "q", "c", "");
    publish_many("q", 1, 2, "");
    fake_turn(w);
    fake_take_log(c);
    cr_assert(eq(int, slc_session_cancel(s, slc_slice_str("c"), &error), SLC_OK));
    slc_session *other = fake_session(c);
    fake_consume(other, "q", "d", "n");
    fake_turn(w);
    cr_expect(eq(str, (char *)fake_take_log(c), ""));
    cr_assert(eq(int, slc_session_close(s), SLC_OK));
    fake_turn(w);
    cr_expect(eq(str, (char *)fake_take_log(c), "deliver 1 d m1 again; deliver 2 d m2 again"));
}

Test(queue, exclusive_consumers_are_alone)
{
    fake_queue(w, s, "q", "");
    cr_expect(eq(int, fake_consume(s, "q", "a", "x"), SLC_OK));
    cr_expect(eq(int, fake_consume(s, "q", "b", ""), SLC_EACCESS));
    cr_expect(eq(str, (char *)fake_error(), "queue 'q' in vhost '/' in exclusive use"));
    slc_error error = {0};
    cr_assert(eq(int, slc_session_cancel(s, slc_slice_str("a"), &error), SLC_OK));
    cr_expect(eq(int, fake_consume(s, "q", "b", ""), SLC_OK));
    cr_expect(eq(int, fake_consume(s, "q", "a", "x"), SLC_EACCESS));
    cr_expect(eq(int, fake_consume(s, "q", "b", ""), SLC_ENOTALLOWED),
              "a tag is used once per session");
}

Test(queue, confirms_cover_each_publish_once)
{
    slc_error error = {0};
    fake_queue(w, s, "q", "d");
    fake_turn(w);
    cr_assert(eq(int, slc_session_confirm_select(s, &error), SLC_OK));
    fake_hold_store(w, true);
    publish_many("q", 1, 3, "p");
    fake_turn(w);
    cr_expect(eq(str, (char *)fake_take_log(c), ""), "nothing is durable yet");
    fake_sync(w);
    fake_turn(w);
    cr_expect(eq(str, (char *)fake_take_log(c), "confirm to 3"));
    publish_many("q", 4, 4, "");
    fake_turn(w);
    cr_expect(eq(str, (char *)fake_take_log(c), "confirm 4"),
              "a transient message waits for nothing");
}

Test(queue, a_message_settled_in_flight_is_confirmed_without_the_disk)
{
    slc_error error = {0};
    fake_queue(w, s, "q", "d");
    fake_turn(w);
    cr_assert(eq(int, slc_session_confirm_select(s, &error), SLC_OK));
    fake_hold_store(w, true);
    fake_consume(s, "q", "c", "");
    publish_many("q", 1, 1, "p");
    cr_assert(eq(int, slc_session_settle(s, 1, false, SLC_SETTLE_ACK, &error), SLC_OK));
    fake_turn(w);
    cr_expect(eq(str, (char *)fake_take_log(c), "deliver 1 c m1; confirm 1"));
    fake_sync(w);
    cr_expect(eq(u32, fake_stored(w), 0));
}

Test(queue, a_no_ack_consumer_that_takes_it_at_once_keeps_it_off_the_disk)
{
    fake_queue(w, s, "q", "d");
    fake_consume(s, "q", "c", "n");
    publish_many("q", 1, 2, "p");
    cr_expect(eq(u32, fake_stored(w), 0));
    fake_turn(w);
    cr_expect(eq(u32, fake_stored(w), 0));
    cr_expect(eq(str, (char *)fake_take_log(c), "deliver 1 c m1; deliver 2 c m2"));
}

Test(queue, mandatory_and_unroutable_is_returned_before_its_confirm)
{
    slc_error error = {0};
    cr_assert(eq(int, slc_session_confirm_select(s, &error), SLC_OK));
    fake_publish(s, "", "nowhere", "m1", "m");
    fake_publish(s, "", "nowhere", "m2", "");
    fake_turn(w);
    cr_expect(eq(str, (char *)fake_take_log(c), "returned m1; confirm 1; confirm 2"));
}

Test(queue, persistent_messages_survive_a_restart_and_transient_ones_do_not)
{
    fake_queue(w, s, "q", "d");
    fake_queue(w, s, "t", "");
    publish_many("q", 1, 2, "p");
    publish_many("q", 3, 3, "");
    publish_many("t", 4, 4, "p");
    fake_turn(w);
    fake_restart(w);
    c = fake_client_open(w);
    s = fake_session(c);
    cr_expect(eq(int, fake_queue(w, s, "t", "p"), SLC_ENOTFOUND));
    fake_consume(s, "q", "c", "n");
    fake_turn(w);
    cr_expect(eq(str, (char *)fake_take_log(c), "deliver 1 c m1 again; deliver 2 c m2 again"));
}

Test(queue, positions_go_on_after_a_restart)
{
    fake_queue(w, s, "q", "d");
    publish_many("q", 1, 2, "p");
    fake_turn(w);
    fake_restart(w);
    c = fake_client_open(w);
    s = fake_session(c);
    publish_many("q", 3, 3, "p"); // the fake store asserts that positions ascend
    fake_turn(w);
    cr_expect(eq(u32, fake_stored(w), 3));
}

Test(queue, a_long_backlog_leaves_memory_and_comes_back_in_order)
{
    fake_cache_bytes(w, 16 * 1024);
    fake_restart(w);
    c = fake_client_open(w);
    s = fake_session(c);
    fake_queue(w, s, "q", "d");
    publish_many("q", 1, 6000, "p");
    fake_turn(w);
    cr_expect(lt(u64, slc_message_bytes_alive(), 6000 * 40 + 6000 * 80),
              "the store of the test holds them too");
    uint32_t before = fake_reads(w);
    for (int i = 1; i <= 6000; i++) {
        char want[16];
        snprintf(want, sizeof want, "m%d", i);
        const char *got = fake_get(w, s, "q", true, NULL);
        if (got == NULL || strcmp(got, want) != 0)
            cr_fatal("message %d is %s", i, got != NULL ? got : "missing");
    }
    cr_expect(gt(u32, fake_reads(w), before + 5));
    cr_expect(fake_get(w, s, "q", true, NULL) == NULL);
}

Test(queue, purge_while_a_page_in_is_under_way)
{
    fake_cache_bytes(w, 1024);
    fake_restart(w);
    c = fake_client_open(w);
    s = fake_session(c);
    fake_queue(w, s, "q", "d");
    publish_many("q", 1, 3000, "p");
    fake_turn(w);
    fake_restart(w);
    c = fake_client_open(w);
    s = fake_session(c);
    slc_got got;
    slc_error error = {0};
    cr_assert(eq(int, slc_session_get(s, slc_slice_str("q"), true, &got, &error), SLC_EPENDING));
    fake_client *other = fake_client_open(w);
    slc_session *purger = fake_session(other);
    uint32_t purged;
    cr_assert(
        eq(int, slc_session_queue_purge(purger, slc_slice_str("q"), &purged, &error), SLC_OK));
    cr_expect(eq(u32, purged, 3000));
    cr_assert(eq(int, fake_queue_delete(w, purger, "q"), SLC_OK));
    fake_turn(w);
    cr_expect(eq(int, slc_session_get(s, slc_slice_str("q"), true, &got, &error), SLC_ENOTFOUND));
}

Test(queue, damaged_messages_are_not_served)
{
    fake_queue(w, s, "q", "d");
    publish_many("q", 1, 2, "p");
    fake_turn(w);
    fake_restart(w);
    fake_damage(w, true);
    c = fake_client_open(w);
    s = fake_session(c);
    cr_expect(fake_get(w, s, "q", true, NULL) == NULL);
    cr_expect(strstr(fake_error(), "cannot be read") != NULL, "%s", fake_error());
}

Test(queue, transactions_take_effect_at_the_commit)
{
    slc_error error = {0};
    fake_queue(w, s, "q", "d");
    fake_turn(w);
    slc_session *reader = fake_session(c);
    fake_consume(reader, "q", "c", "n");
    cr_assert(eq(int, slc_session_tx_select(s, &error), SLC_OK));
    publish_many("q", 1, 2, "p");
    fake_turn(w);
    cr_expect(eq(str, (char *)fake_take_log(c), ""));
    cr_assert(eq(int, slc_session_tx_rollback(s, &error), SLC_OK));
    publish_many("q", 3, 3, "p");
    slc_err rc = slc_session_tx_commit(s, &error);
    if (rc == SLC_EPENDING) {
        fake_turn(w);
        rc = slc_session_tx_commit(s, &error);
    }
    cr_assert(eq(int, rc, SLC_OK));
    fake_turn(w);
    cr_expect(eq(str, (char *)fake_take_log(c), "deliver 1 c m3"));
}

Test(queue, a_rolled_back_ack_can_be_given_again)
{
    slc_error error = {0};
    fake_queue(w, s, "q", "");
    publish_many("q", 1, 3, "");
    cr_assert(eq(int, slc_session_tx_select(s, &error), SLC_OK));
    uint64_t tags[3];
    for (int i = 0; i < 3; i++)
        fake_get(w, s, "q", false, &tags[i]);
    cr_assert(eq(int, slc_session_settle(s, tags[2], false, SLC_SETTLE_ACK, &error), SLC_OK));
    cr_assert(eq(int, slc_session_settle(s, tags[0], false, SLC_SETTLE_ACK, &error), SLC_OK));
    cr_expect(
        eq(int, slc_session_settle(s, tags[0], false, SLC_SETTLE_ACK, &error), SLC_EPRECONDITION));
    cr_assert(eq(int, slc_session_tx_rollback(s, &error), SLC_OK));
    cr_expect(eq(int, slc_session_settle(s, tags[2], true, SLC_SETTLE_ACK, &error), SLC_OK));
    cr_assert(eq(int, slc_session_tx_commit(s, &error), SLC_OK));
    cr_expect(
        eq(int, slc_session_settle(s, tags[1], false, SLC_SETTLE_ACK, &error), SLC_EPRECONDITION));
}

/** Any sequence of publish, deliver, settle and restart: each message is in exactly one place, order is kept. */
Test(queue, random_walk_keeps_every_message_once, .timeout = 60)
{
    for (unsigned seed = 1; seed <= 30; seed++) {
        unsigned random = seed * 2654435761u;
        fake_queue(w, s, "q", "d");
        int published = 0;
        int settled = 0;
        char alive[400] = {0}; // by number: 1 published and not settled
        uint64_t tags[400];
        int of_tag[400];
        int held = 0;
        for (int step = 0; step < 400; step++) {
            random = random * 1664525u + 1013904223u;
            unsigned choice = (random >> 16) % 10;
            slc_error error = {0};
            if (choice < 4 && published < 390) {
                char body[16];
                snprintf(body, sizeof body, "%d", published);
                fake_publish(s, "", "q", body, "p");
                alive[published++] = 1;
            } else if (choice < 7) {
                uint64_t tag;
                const char *body = fake_get(w, s, "q", false, &tag);
                if (body != NULL) {
                    int number = atoi(body);
                    if (!alive[number])
                        cr_fatal("seed %u: %d came after it was settled", seed, number);
                    for (int i = 0; i < held; i++)
                        if (of_tag[i] == number)
                            cr_fatal("seed %u: %d is out twice", seed, number);
                    tags[held] = tag;
                    of_tag[held++] = number;
                }
            } else if (held > 0 && choice < 9) {
                int i = (int)((random >> 8) % (unsigned)held);
                bool ack = choice == 7;
                if (slc_session_settle(s, tags[i], false, ack ? SLC_SETTLE_ACK : SLC_SETTLE_REQUEUE,
                                       &error) != SLC_OK)
                    cr_fatal("seed %u: %s", seed, error.text);
                if (ack) {
                    alive[of_tag[i]] = 0;
                    settled++;
                }
                held--;
                tags[i] = tags[held];
                of_tag[i] = of_tag[held];
            } else if (choice == 9 && random % 5 == 0) {
                fake_turn(w);
                fake_restart(w);
                c = fake_client_open(w);
                s = fake_session(c);
                held = 0;
            }
        }
        fake_turn(w);
        slc_session_recover(s);
        int last = -1;
        int left = 0;
        const char *body;
        while ((body = fake_get(w, s, "q", true, NULL)) != NULL) {
            int number = atoi(body);
            if (!alive[number])
                cr_fatal("seed %u: %d", seed, number);
            if (number <= last)
                cr_fatal("seed %u: order, %d after %d", seed, number, last);
            last = number;
            left++;
        }
        cr_assert(eq(int, left + settled, published), "seed %u", seed);
        fake_queue_delete(w, s, "q");
    }
}

Test(queue, a_consumer_goes_while_settled_deliveries_lie_between_open_ones)
{
    slc_error error = {0};
    fake_queue(w, s, "q", "");
    fake_consume(s, "q", "c", "");
    publish_many("q", 1, 4, "");
    fake_turn(w);
    cr_assert(eq(int, slc_session_settle(s, 2, false, SLC_SETTLE_ACK, &error), SLC_OK));
    cr_assert(eq(int, slc_session_settle(s, 3, false, SLC_SETTLE_ACK, &error), SLC_OK));
    fake_queue_delete(w, fake_session(c), "q");
    cr_expect(eq(int, slc_session_settle(s, 4, true, SLC_SETTLE_ACK, &error), SLC_OK));
}
