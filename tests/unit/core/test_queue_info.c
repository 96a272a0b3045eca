// What lists say of a queue beyond its counts: how well its consumers keep up, its oldest timestamp, what the store did for it.
#include "backlog_support.h"

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

TestSuite(queue_info, .init = setup, .fini = teardown, .timeout = 60);

static slc_queue_info info_of(const char *name)
{
    slc_queue_info info;
    cr_assert(slc_vhost_find_queue(slc_broker_vhost(fake_broker(w), slc_slice_str("/")),
                                   slc_slice_str(name), &info));
    return info;
}

static void consume(const char *tag, uint16_t prefetch)
{
    slc_session_qos(s, prefetch, false);
    cr_assert(eq(int, fake_consume(s, "q", tag, ""), SLC_OK));
}

static void ack(uint64_t tag)
{
    slc_error error = {0};
    cr_assert(eq(int, slc_session_settle(s, tag, false, SLC_SETTLE_ACK, &error), SLC_OK));
    fake_turn(w);
}

/* ---- capacity: the half-life is a second, so each second of one state is worth half ---- */

static void expect_capacity(double want, const char *when)
{
    cr_expect(epsilon_eq(dbl, info_of("q").consumer_capacity, want, 0.001), "%s", when);
}

Test(queue_info, a_queue_without_consumers_has_no_capacity)
{
    fake_queue(w, s, "q", "");
    expect_capacity(0, "nobody");
    consume("c", 0);
    fake_advance(w, 5000);
    expect_capacity(1, "somebody waits for messages");
    slc_error error = {0};
    cr_assert(eq(int, slc_session_cancel(s, slc_slice_str("c"), &error), SLC_OK));
    expect_capacity(0, "nobody again");
}

Test(queue_info, capacity_is_the_share_of_the_time_in_which_no_message_waited)
{
    fake_queue(w, s, "q", "");
    consume("c", 1);
    fake_publish(s, "", "q", "m1", "");
    fake_turn(w);
    fake_advance(w, 60 * 1000);
    expect_capacity(1, "its consumer is busy, and nothing else is there to do");
    fake_publish(s, "", "q", "m2", "");
    fake_turn(w);
    fake_advance(w, 60 * 1000);
    expect_capacity(0.5, "of two minutes one");
    ack(1);
    expect_capacity(0.5, "it took m2, and nothing waits");
    fake_advance(w, 1000);
    expect_capacity(0.75, "half way back");
    fake_publish(s, "", "q", "m3", "");
    fake_turn(w);
    ack(2);
    fake_advance(w, 60 * 1000);
    expect_capacity(1, "m3 waited for no time");
}

Test(queue_info, what_waits_for_a_first_consumer_counts_too)
{
    fake_queue(w, s, "q", "");
    fake_publish(s, "", "q", "m1", "");
    fake_publish(s, "", "q", "m2", "");
    fake_turn(w);
    fake_advance(w, 3000);
    consume("c", 1);
    fake_turn(w);
    expect_capacity(0.125, "three seconds");
    fake_advance(w, 1000);
    expect_capacity(0.0625, "m2 waits on");
}

Test(queue_info, a_message_that_comes_back_waits)
{
    fake_queue(w, s, "q", "");
    slc_session *getter = fake_session(c);
    uint64_t tag;
    slc_error error = {0};
    consume("c", 1);
    fake_publish(s, "", "q", "m1", "");
    fake_turn(w);
    slc_session_qos(getter, 0, false);
    fake_publish(s, "", "q", "m2", "");
    cr_assert(fake_get(w, getter, "q", false, &tag) != NULL);
    ack(1);
    fake_advance(w, 60 * 1000);
    expect_capacity(1, "nothing waits");
    fake_publish(s, "", "q", "m3", "");
    fake_turn(w);
    cr_assert(eq(int, slc_session_settle(getter, tag, false, SLC_SETTLE_REQUEUE, &error), SLC_OK));
    fake_advance(w, 60 * 1000);
    expect_capacity(0.5, "m2 waits while c has m3");
}

/* ---- the store ---- */

Test(queue_info, what_left_before_it_was_written_is_no_write)
{
    fake_queue(w, s, "q", "d");
    fake_hold_store(w, true);
    fake_publish(s, "", "q", "m1", "p");
    fake_publish(s, "", "q", "m2", "p");
    fake_publish(s, "", "q", "m3", "");
    cr_assert_str_eq(fake_get(w, s, "q", true, NULL), "m1");
    cr_expect(eq(u64, info_of("q").disk_writes, 1), "m2; m1 is gone, m3 is transient");
    fake_hold_store(w, false);
    fake_sync(w);
    fake_turn(w);
    cr_assert_str_eq(fake_get(w, s, "q", true, NULL), "m2");
    cr_expect(eq(u64, info_of("q").disk_writes, 1), "it was written, and dropped later");
    cr_expect(eq(u64, info_of("q").disk_reads, 0));
}

Test(queue_info, what_is_read_back_counts_once)
{
    fake_queue(w, s, "q", "d");
    for (int i = 1; i <= 3; i++)
        publish_number(s, "", "q", i, true);
    fake_turn(w);
    fake_restart(w);
    c = fake_client_open(w);
    s = fake_session(c);
    cr_expect(eq(u64, info_of("q").disk_reads, 0), "nobody asked for them");
    cr_expect(eq(u64, info_of("q").disk_writes, 0), "since the start");
    for (int i = 1; i <= 3; i++)
        cr_assert(eq(int, atoi(fake_get(w, s, "q", true, NULL)), i));
    cr_expect(eq(u64, info_of("q").disk_reads, 3));
}

/* ---- the oldest timestamp ---- */

static void publish_at(const char *queue, uint64_t timestamp)
{
    enum { TIMESTAMP = 1 << 6 };
    uint8_t props[10] = {TIMESTAMP >> 8, TIMESTAMP & 0xff};
    slc_error error = {0};
    for (int i = 0; i < 8; i++)
        props[2 + i] = (uint8_t)(timestamp >> (56 - 8 * i));
    slc_slice none = {0};
    slc_message *m =
        slc_message_new(none, slc_slice_str(queue),
                        timestamp != 0 ? slc_slice_of(props, sizeof props) : none, 0, true);
    cr_assert(eq(int, slc_session_publish(s, m, none, false, &error), SLC_OK));
    fake_turn(w);
}

/** 0: none. */
static uint64_t head(const char *queue)
{
    slc_queue_info info = info_of(queue);
    uint64_t timestamp = 0;
    if (!slc_queue_head_timestamp(&info, &timestamp))
        cr_expect(eq(u64, timestamp, 0));
    return timestamp;
}

Test(queue_info, the_timestamp_is_that_of_the_first_message)
{
    fake_queue(w, s, "q", "d");
    cr_expect(eq(u64, head("q"), 0), "empty");
    publish_at("q", 1600000000);
    publish_at("q", 1500000000);
    publish_at("q", 0);
    cr_expect(eq(u64, head("q"), 1600000000), "the first one, not the smallest of all");
    fake_get(w, s, "q", true, NULL);
    cr_expect(eq(u64, head("q"), 1500000000));
    fake_get(w, s, "q", true, NULL);
    cr_expect(eq(u64, head("q"), 0), "it has none");
}

Test(queue_info, what_is_not_settled_is_older_than_what_is_ready)
{
    fake_queue(w, s, "q", "d");
    fake_queue(w, s, "other", "d");
    for (uint64_t i = 1; i <= 4; i++)
        publish_at("q", i);
    publish_at("other", 100);
    uint64_t tag;
    cr_assert(fake_get(w, s, "other", false, NULL) != NULL); // stands before those of q
    cr_assert(fake_get(w, s, "q", false, &tag) != NULL);
    consume("c", 1);
    fake_turn(w);
    cr_expect(eq(u64, head("q"), 1), "basic.get holds 1, c holds 2, 3 is ready");
    ack(tag);
    cr_expect(eq(u64, head("q"), 2));
    slc_error error = {0};
    cr_assert(eq(int, slc_session_cancel(s, slc_slice_str("c"), &error), SLC_OK));
    cr_expect(eq(u64, head("q"), 2), "c is gone and still holds it");
    cr_expect(eq(u64, head("other"), 100));
}

Test(queue_info, of_priorities_the_highest_has_the_first_message)
{
    declare_urgent(w, s, "q", 5);
    publish_at("q", 10);
    publish_urgent(s, "", "q", 1, true, 3);
    cr_expect(eq(u64, head("q"), 0), "the first one has none");
}

Test(queue_info, a_message_that_is_not_in_memory_is_not_read_for_its_timestamp)
{
    fake_queue(w, s, "q", "d");
    publish_at("q", 7);
    publish_at("q", 8);
    fake_restart(w);
    c = fake_client_open(w);
    s = fake_session(c);
    uint32_t reads = fake_reads(w);
    cr_expect(eq(u64, head("q"), 0));
    fake_turn(w);
    cr_expect(eq(u32, fake_reads(w), reads));
    cr_assert(fake_get(w, s, "q", true, NULL) != NULL);
    cr_expect(eq(u64, head("q"), 8));
}

/* ---- identity ---- */

Test(queue_info, another_queue_of_the_name_is_another_queue)
{
    fake_queue(w, s, "q", "d");
    slc_queue_info first = info_of("q"), again;
    fake_queue_delete(w, s, "q");
    fake_queue(w, s, "q", "d");
    again = info_of("q");
    cr_expect(first.created_ms != again.created_ms || first.created_serial != again.created_serial);
    fake_restart(w);
    cr_expect(eq(u64, info_of("q").created_ms, again.created_ms), "it is kept");
    cr_expect(eq(u64, info_of("q").created_serial, again.created_serial));
}
