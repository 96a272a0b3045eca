// Delayed retry: what consumers give back waits, the longer the more often it came. @spec amqp-semantics 15.4
#include <string.h>

#include "backlog_support.h"

static fake_world *w;
static slc_session *s;

static void start(bool nack_uncounted)
{
    fake_options(w)->nack_uncounted = nack_uncounted;
    fake_restart(w);
    s = fake_session(fake_client_open(w));
}

static void setup(void)
{
    w = fake_world_new();
}

static void teardown(void)
{
    fake_world_free(w);
    cr_expect(eq(u64, slc_message_bytes_alive(), 0), "every message was freed");
}

TestSuite(retry, .init = setup, .fini = teardown, .timeout = 60);

static slc_err declare(const char *type, int64_t min, int64_t max, int64_t delivery_limit)
{
    slc_error error = {0};
    slc_queue_declared out;
    slc_table_builder b = {0};
    if (type != NULL)
        slc_table_put_text(&b, "x-delayed-retry-type", type);
    slc_table_put_i64(&b, "x-delayed-retry-min", min);
    if (max >= 0)
        slc_table_put_i64(&b, "x-delayed-retry-max", max);
    if (delivery_limit >= 0)
        slc_table_put_i64(&b, "x-delivery-limit", delivery_limit);
    slc_queue_declare declare = {
        .name = slc_slice_str("q"), .durable = true, .arguments = slc_table_builder_content(&b)};
    slc_err rc = SLC_EPENDING;
    for (int i = 0; i < 100 && rc == SLC_EPENDING; i++) {
        rc = slc_session_queue_declare(s, &declare, &out, &error);
        fake_turn(w);
    }
    slc_table_builder_fini(&b);
    return rc;
}

/** Take it and give it back. */
static void give_back(slc_settle how)
{
    uint64_t tag;
    slc_error error = {0};
    cr_assert(fake_get(w, s, "q", false, &tag) != NULL);
    cr_assert(eq(int, slc_session_settle(s, tag, false, how, &error), SLC_OK));
    fake_turn(w);
}

Test(retry, waits_as_often_the_least_time_as_it_came_back)
{
    enum { COUNTED = SLC_SETTLE_REQUEUE, UNCOUNTED = SLC_SETTLE_NACK };
    static const struct {
        char type[16];
        int64_t min, max;
        int how; // with nacks that do not count
        uint64_t want[4];
    } cases[] = {
        {"all", 100, -1, COUNTED, {100, 200, 300, 400}},
        {"all", 100, 250, COUNTED, {100, 200, 250, 250}},
        {"all", 100, 50, COUNTED, {50, 50, 50, 50}},
        {"all", 100, 250, UNCOUNTED, {100, 100, 100, 100}},
        {"failed", 100, 250, COUNTED, {100, 200, 250, 250}},
        {"failed", 100, 250, UNCOUNTED, {0, 0, 0, 0}},
        {"returned", 100, 250, COUNTED, {0, 0, 0, 0}},
        {"returned", 100, 250, UNCOUNTED, {100, 100, 100, 100}},
        {"disabled", 100, 250, COUNTED, {0, 0, 0, 0}},
        {"all", 0, 250, COUNTED, {0, 0, 0, 0}},
        {"all",
         315360000000,
         -1,
         COUNTED,
         {315360000000, 315360000000, 315360000000, 315360000000}},
    };
    for (size_t i = 0; i < SLC_ARRAY_COUNT(cases); i++) {
        start(true);
        cr_assert(eq(int, declare(cases[i].type, cases[i].min, cases[i].max, -1), SLC_OK));
        publish_number(s, "", "q", 1, true);
        for (size_t k = 0; k < SLC_ARRAY_COUNT(cases[i].want); k++) {
            uint64_t want = cases[i].want[k];
            const slc_queue *q = queue_named(w, "q");
            give_back((slc_settle)cases[i].how);
            if (want > 0) {
                cr_expect(eq(u64, q->ready, 0), "case %zu, return %zu", i, k);
                cr_expect(eq(u64, q->unacked, 1), "case %zu, return %zu", i, k);
                cr_expect(eq(u64, slc_broker_next_due_ms(fake_broker(w)), fake_now_ms(w) + want));
                fake_pass_time(w, want - 1);
                cr_expect(eq(u64, q->ready, 0), "case %zu, return %zu", i, k);
                fake_pass_time(w, 1);
            }
            cr_expect(eq(u64, q->ready, 1), "case %zu, return %zu", i, k);
            cr_expect(eq(u64, q->unacked, 0), "case %zu, return %zu", i, k);
        }
        cr_assert(eq(int, fake_queue_delete(w, s, "q"), SLC_OK));
    }
    cr_expect(eq(int, declare("sometimes", 1, 1, -1), SLC_EPRECONDITION));
    cr_expect(eq(int, declare("all", -1, 1, -1), SLC_EPRECONDITION));
}

Test(retry, others_pass_and_it_keeps_its_place_and_its_limit)
{
    start(false);
    cr_assert(eq(int, declare("all", 100, -1, 1), SLC_OK));
    publish_number(s, "", "q", 1, true);
    publish_number(s, "", "q", 2, true);
    publish_number(s, "", "q", 3, true);
    give_back(SLC_SETTLE_REQUEUE);
    const char *got = fake_get(w, s, "q", true, NULL);
    cr_assert(got != NULL);
    cr_expect(eq(str, (char *)got, "2"));
    fake_pass_time(w, 100);
    give_back(SLC_SETTLE_REQUEUE); // once too often: it goes and does not wait
    cr_expect(eq(u64, queue_named(w, "q")->undeliverable, 1));
    cr_expect(eq(u64, queue_named(w, "q")->unacked, 0));
    got = fake_get(w, s, "q", true, NULL);
    cr_assert(got != NULL);
    cr_expect(eq(str, (char *)got, "3"));
}

Test(retry, it_is_not_lost_and_goes_with_its_queue)
{
    start(false);
    cr_assert(eq(int, declare("all", 100, -1, -1), SLC_OK));
    publish_number(s, "", "q", 1, true);
    give_back(SLC_SETTLE_NACK);
    start(false); // a crash: it is ready at once
    give_back(SLC_SETTLE_NACK);
    slc_error error = {0};
    uint32_t purged;
    cr_expect(eq(int, slc_session_queue_purge(s, slc_slice_str("q"), &purged, &error), SLC_OK));
    cr_expect(eq(u32, purged, 0), "only what is ready is purged");
    cr_assert(eq(int, fake_queue_delete(w, s, "q"), SLC_OK));
    fake_pass_time(w, 1000);
    cr_expect(eq(u32, fake_stored(w), 0));
    slc_broker_totals totals;
    slc_broker_total(fake_broker(w), &totals);
    cr_expect(eq(u64, totals.unacked, 0));
    cr_expect(slc_broker_next_due_ms(fake_broker(w)) == UINT64_MAX);
}
