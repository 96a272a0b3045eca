// Declaring, binding, deleting: errors, cascades, what a restart keeps. @spec amqp-semantics 7, 8, 9, 20
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/table.h"
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
    cr_expect(eq(u64, slc_message_bytes_alive(), 0));
}

TestSuite(definitions, .init = setup, .fini = teardown, .timeout = 60);

static void restart(void)
{
    fake_turn(w);
    fake_restart(w);
    c = fake_client_open(w);
    s = fake_session(c);
}

#define EXPECT_ERROR(call, code, text)                                                             \
    do {                                                                                           \
        cr_expect(eq(int, (call), (code)));                                                        \
        cr_expect(eq(str, (char *)fake_error(), (text)));                                          \
    } while (0)

Test(definitions, inequivalent_declares_name_what_differs)
{
    fake_queue(w, s, "q", "");
    EXPECT_ERROR(fake_queue(w, s, "q", "d"), SLC_EPRECONDITION,
                 "inequivalent arg 'durable' for queue 'q' in vhost '/': received 'true' but "
                 "current is 'false'");
    EXPECT_ERROR(fake_queue(w, s, "q", "a"), SLC_EPRECONDITION,
                 "inequivalent arg 'auto_delete' for queue 'q' in vhost '/': received 'true' but "
                 "current is 'false'");
    cr_expect(eq(int, fake_queue(w, s, "q", "x"), SLC_ELOCKED));
    fake_exchange(w, s, "x", "topic", "d");
    EXPECT_ERROR(fake_exchange(w, s, "x", "direct", "d"), SLC_EPRECONDITION,
                 "inequivalent arg 'type' for exchange 'x' in vhost '/': received 'direct' but "
                 "current is 'topic'");
    EXPECT_ERROR(fake_exchange(w, s, "x", "topic", ""), SLC_EPRECONDITION,
                 "inequivalent arg 'durable' for exchange 'x' in vhost '/': received 'false' but "
                 "current is 'true'");
    cr_expect(eq(int, fake_exchange(w, s, "x", "topic", "d"), SLC_OK));
}

Test(definitions, reserved_and_missing_names)
{
    EXPECT_ERROR(fake_queue(w, s, "amq.q", ""), SLC_EACCESS,
                 "queue name 'amq.q' contains reserved prefix 'amq.*'");
    EXPECT_ERROR(fake_exchange(w, s, "amq.x", "direct", ""), SLC_EACCESS,
                 "exchange name 'amq.x' contains reserved prefix 'amq.*'");
    cr_expect(eq(int, fake_exchange(w, s, "amq.direct", "direct", "d"), SLC_OK));
    EXPECT_ERROR(fake_exchange(w, s, "", "direct", ""), SLC_EACCESS,
                 "operation not permitted on the default exchange");
    EXPECT_ERROR(fake_exchange(w, s, "x", "direct", "p"), SLC_ENOTFOUND,
                 "no exchange 'x' in vhost '/'");
    EXPECT_ERROR(fake_exchange(w, s, "x", "nosuch", ""), SLC_EPRECONDITION,
                 "unknown exchange type 'nosuch'");
    EXPECT_ERROR(fake_queue(w, s, "q", "p"), SLC_ENOTFOUND, "no queue 'q' in vhost '/'");
    EXPECT_ERROR(fake_bind(w, s, "q", "x", "k"), SLC_ENOTFOUND, "no exchange 'x' in vhost '/'");
    EXPECT_ERROR(fake_bind(w, s, "q", "amq.direct", "k"), SLC_ENOTFOUND,
                 "no queue 'q' in vhost '/'");
    cr_expect(eq(int, fake_unbind(w, s, "q", "x", "k"), SLC_OK), "nothing to unbind is fine");
    EXPECT_ERROR(fake_consume(s, "", "c", ""), SLC_ENOTFOUND, "no previously declared queue");
    EXPECT_ERROR(fake_publish(s, "x", "k", "m", ""), SLC_ENOTFOUND, "no exchange 'x' in vhost '/'");
}

Test(definitions, exclusive_queues_belong_to_their_client)
{
    fake_queue(w, s, "q", "x");
    fake_client *other = fake_client_open(w);
    slc_session *foreign = fake_session(other);
    cr_expect(eq(int, fake_queue(w, foreign, "q", "x"), SLC_ELOCKED));
    cr_expect(eq(int, fake_queue(w, foreign, "q", "p"), SLC_ELOCKED));
    cr_expect(eq(int, fake_consume(foreign, "q", "c", ""), SLC_ELOCKED));
    cr_expect(eq(int, fake_bind(w, foreign, "q", "amq.direct", "k"), SLC_ELOCKED));
    cr_expect(eq(int, fake_queue_delete(w, foreign, "q"), SLC_ELOCKED));
    cr_expect(eq(int, fake_publish(foreign, "", "q", "m1", ""), SLC_OK));
    cr_expect(eq(str, (char *)fake_get(w, s, "q", true, NULL), "m1"));
    fake_client_close(c);
    cr_expect(eq(int, fake_queue(w, foreign, "q", "p"), SLC_ENOTFOUND));
}

Test(definitions, a_restart_keeps_durable_objects_and_their_bindings)
{
    fake_exchange(w, s, "dx", "topic", "d");
    fake_exchange(w, s, "tx", "topic", "");
    fake_queue(w, s, "dq", "d");
    fake_queue(w, s, "tq", "");
    fake_bind(w, s, "dq", "dx", "a.#");
    fake_bind(w, s, "dq", "tx", "a.#");
    fake_bind(w, s, "tq", "dx", "a.#");
    restart();
    cr_expect(eq(int, fake_exchange(w, s, "dx", "topic", "d"), SLC_OK));
    cr_expect(eq(int, fake_exchange(w, s, "tx", "topic", "p"), SLC_ENOTFOUND));
    cr_expect(eq(int, fake_queue(w, s, "tq", "p"), SLC_ENOTFOUND));
    fake_publish(s, "dx", "a.b", "m1", "p");
    cr_expect(eq(str, (char *)fake_get(w, s, "dq", true, NULL), "m1"));
    cr_expect(fake_get(w, s, "dq", true, NULL) == NULL);
}

Test(definitions, what_was_deleted_stays_deleted)
{
    fake_exchange(w, s, "x", "direct", "d");
    fake_queue(w, s, "q", "d");
    fake_bind(w, s, "q", "x", "k");
    fake_publish(s, "x", "k", "old", "p");
    fake_queue_delete(w, s, "q");
    fake_queue(w, s, "q", "d"); // the same name, another queue
    restart();
    fake_publish(s, "x", "k", "m1", "p");
    cr_expect(fake_get(w, s, "q", true, NULL) == NULL,
              "neither binding nor message came back with the name");
}

Test(definitions, auto_delete_exchange_goes_with_its_last_binding)
{
    for (int durable = 0; durable <= 1; durable++) {
        const char *flags = durable ? "da" : "a";
        fake_exchange(w, s, "x", "direct", flags);
        fake_queue(w, s, "q", durable ? "d" : "");
        fake_turn(w);
        cr_expect(eq(int, fake_exchange(w, s, "x", "", "p"), SLC_OK), "never bound: stays");
        fake_bind(w, s, "q", "x", "k");
        fake_unbind(w, s, "q", "x", "k");
        fake_turn(w);
        cr_expect(eq(int, fake_exchange(w, s, "x", "", "p"), SLC_ENOTFOUND));
        fake_exchange(w, s, "x", "direct", flags);
        fake_bind(w, s, "q", "x", "k");
        fake_queue_delete(w, s, "q");
        fake_turn(w);
        cr_expect(eq(int, fake_exchange(w, s, "x", "", "p"), SLC_ENOTFOUND));
    }
}

Test(definitions, auto_delete_cascades_over_exchanges_and_survives_a_restart)
{
    slc_error error = {0};
    fake_exchange(w, s, "a", "fanout", "da");
    fake_exchange(w, s, "b", "fanout", "d");
    slc_err rc;
    do {
        rc = slc_session_exchange_bind(s, slc_slice_str("b"), slc_slice_str("a"), slc_slice_str(""),
                                       (slc_slice){0}, &error);
        fake_turn(w);
    } while (rc == SLC_EPENDING);
    cr_assert(eq(int, rc, SLC_OK));
    do {
        rc = slc_session_exchange_delete(s, slc_slice_str("b"), false, &error);
        fake_turn(w);
    } while (rc == SLC_EPENDING);
    cr_assert(eq(int, rc, SLC_OK));
    cr_expect(eq(int, fake_exchange(w, s, "a", "", "p"), SLC_ENOTFOUND));
    restart();
    cr_expect(eq(int, fake_exchange(w, s, "a", "", "p"), SLC_ENOTFOUND));
}

Test(definitions, durable_auto_delete_exchange_with_a_transient_binding)
{
    fake_exchange(w, s, "x", "direct", "da");
    fake_queue(w, s, "dq", "d");
    fake_queue(w, s, "tq", "");
    fake_bind(w, s, "dq", "x", "k");
    fake_bind(w, s, "tq", "x", "k");
    fake_unbind(w, s, "dq", "x", "k");
    fake_turn(w);
    cr_expect(eq(int, fake_exchange(w, s, "x", "", "p"), SLC_OK), "the transient binding holds it");
    fake_queue_delete(w, s, "tq");
    fake_turn(w);
    cr_expect(eq(int, fake_exchange(w, s, "x", "", "p"), SLC_ENOTFOUND));
    restart();
    cr_expect(eq(int, fake_exchange(w, s, "x", "", "p"), SLC_ENOTFOUND));
}

Test(definitions, auto_delete_queue_goes_with_its_last_consumer)
{
    for (int durable = 0; durable <= 1; durable++) {
        slc_error error = {0};
        fake_queue(w, s, "q", durable ? "da" : "a");
        fake_get(w, s, "q", true, NULL);
        fake_consume(s, "q", "c1", "");
        fake_consume(s, "q", "c2", "");
        cr_expect(eq(int, slc_session_cancel(s, slc_slice_str("c1"), &error), SLC_OK));
        cr_expect(eq(int, fake_queue(w, s, "q", "p"), SLC_OK));
        slc_err rc = slc_session_cancel(s, slc_slice_str("c2"), &error);
        if (rc == SLC_EPENDING) {
            fake_turn(w);
            rc = slc_session_cancel(s, slc_slice_str("c2"), &error);
        }
        cr_expect(eq(int, rc, SLC_OK));
        cr_expect(eq(int, fake_queue(w, s, "q", "p"), SLC_ENOTFOUND),
                  "gone when cancel is answered");
    }
}

Test(definitions, consumers_of_a_deleted_queue_are_cancelled_and_their_acks_are_fine)
{
    slc_error error = {0};
    fake_queue(w, s, "q", "d");
    fake_consume(s, "q", "c", "");
    fake_publish(s, "", "q", "m1", "p");
    fake_turn(w);
    slc_session *other = fake_session(c);
    fake_queue_delete(w, other, "q");
    cr_expect(eq(str, (char *)fake_take_log(c), "deliver 1 c m1; cancelled c"));
    cr_expect(eq(int, slc_session_settle(s, 1, false, SLC_SETTLE_ACK, &error), SLC_OK));
}

Test(definitions, two_sessions_declare_the_same_queue_at_once)
{
    slc_error error = {0};
    slc_session *t = fake_session(c);
    slc_queue_declare durable = {.name = slc_slice_str("q"), .durable = true};
    slc_queue_declare other = {.name = slc_slice_str("q"), .durable = true, .auto_delete = true};
    slc_queue_declared out;
    cr_assert(eq(int, slc_session_queue_declare(s, &durable, &out, &error), SLC_EPENDING));
    cr_assert(eq(int, slc_session_queue_declare(t, &other, &out, &error), SLC_EPENDING));
    fake_turn(w);
    cr_expect(eq(int, slc_session_queue_declare(s, &durable, &out, &error), SLC_OK));
    cr_expect(eq(int, slc_session_queue_declare(t, &other, &out, &error), SLC_EPRECONDITION));
}

Test(definitions, a_session_lost_while_it_waits_leaves_its_declare_behind)
{
    slc_error error = {0};
    slc_queue_declare declare = {.name = slc_slice_str("q"), .durable = true};
    slc_queue_declared out;
    cr_assert(eq(int, slc_session_queue_declare(s, &declare, &out, &error), SLC_EPENDING));
    fake_client_close(c);
    fake_turn(w);
    c = fake_client_open(w);
    s = fake_session(c);
    cr_expect(eq(int, fake_queue(w, s, "q", "p"), SLC_OK));
}

Test(definitions, x_arguments_that_we_do_not_do_yet_are_refused)
{
    slc_error error = {0};
    slc_table_builder table = {0};
    slc_table_put_i32(&table, "x-message-deduplication", 5);
    slc_queue_declare declare = {.name = slc_slice_str("q"),
                                 .arguments = slc_table_builder_content(&table)};
    slc_queue_declared out;
    cr_expect(eq(int, slc_session_queue_declare(s, &declare, &out, &error), SLC_EPRECONDITION));
    cr_expect(eq(
        str, error.text,
        "invalid arg 'x-message-deduplication' for queue 'q' in vhost '/': \"5 is not supported by "
        "this version of Sluice\""));
    slc_table_builder_fini(&table);
}

Test(definitions, pressure_reaches_every_client_once)
{
    slc_broker_pressure(fake_broker(w), true, false);
    slc_broker_pressure(fake_broker(w), true, true);
    slc_broker_pressure(fake_broker(w), false, false);
    cr_expect(eq(str, (char *)fake_take_log(c), "blocked low on memory; unblocked "));
    slc_broker_flow(fake_broker(w), true);
    slc_broker_flow(fake_broker(w), true);
    slc_broker_flow(fake_broker(w), false);
    cr_expect(eq(str, (char *)fake_take_log(c), "flow; flow over"));
}

static void bind_exchanges(const char *destination, const char *source)
{
    slc_error error = {0};
    slc_err rc;
    do {
        rc = slc_session_exchange_bind(s, slc_slice_str(destination), slc_slice_str(source),
                                       slc_slice_str(""), (slc_slice){0}, &error);
        fake_turn(w);
    } while (rc == SLC_EPENDING);
    cr_assert(eq(int, rc, SLC_OK));
}

Test(definitions, a_cycle_of_auto_delete_exchanges_comes_down)
{
    for (int durable = 0; durable <= 1; durable++) {
        const char *flags = durable ? "da" : "a";
        fake_exchange(w, s, "a", "fanout", flags);
        fake_exchange(w, s, "b", "fanout", flags);
        fake_queue(w, s, "q", durable ? "d" : "");
        bind_exchanges("b", "a");
        bind_exchanges("a", "b");
        fake_bind(w, s, "q", "b", "");
        slc_error error = {0};
        slc_err rc;
        do {
            rc = slc_session_exchange_delete(s, slc_slice_str("a"), false, &error);
            fake_turn(w);
        } while (rc == SLC_EPENDING);
        cr_assert(eq(int, rc, SLC_OK));
        fake_queue_delete(w, s, "q");
        fake_turn(w);
        cr_expect(eq(int, fake_exchange(w, s, "a", "", "p"), SLC_ENOTFOUND));
        cr_expect(eq(int, fake_exchange(w, s, "b", "", "p"), SLC_ENOTFOUND));
    }
}
