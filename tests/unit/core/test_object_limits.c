// Limits of queues, exchanges and vhosts count what is under way to the store as well as what is there: clients that declare at the
// same time never get more than the limit, and what the store refuses is given back. @spec amqp-semantics 18
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>

#include "base/table.h"
#include "core/client.h"
#include "core/parameter.h"
#include "fake_impl.h"

enum { CLIENTS = 4 };

static fake_world *w;
static slc_session *s[CLIENTS]; // each of a connection of its own
static slc_error error;

static void setup(void)
{
    w = fake_world_new();
    for (int i = 0; i < CLIENTS; i++)
        s[i] = fake_session(fake_client_open(w));
}

static void teardown(void)
{
    fake_world_free(w);
}

TestSuite(object_limits, .init = setup, .fini = teardown, .timeout = 60);

static slc_err queue_ask(slc_session *session, const char *name, bool durable)
{
    error = (slc_error){0};
    slc_queue_declare declare = {.name = slc_slice_str(name), .durable = durable};
    slc_queue_declared out;
    return slc_session_queue_declare(session, &declare, &out, &error);
}

static slc_err exchange_ask(slc_session *session, const char *name, bool durable)
{
    error = (slc_error){0};
    slc_exchange_declare declare = {
        .name = slc_slice_str(name), .type = slc_slice_str("direct"), .durable = durable};
    return slc_session_exchange_declare(session, &declare, &error);
}

static void limit_set(slc_err rc, bool created, const slc_error *why, void *arg)
{
    (void)created, (void)why, (void)arg;
    cr_assert(eq(int, rc, SLC_OK));
}

static void limit_queues_of(const char *vhost, json_int_t limit)
{
    json_t *value = json_pack("{s:I}", "max-queues", limit);
    slc_parameter_set(fake_broker(w), slc_broker_vhost(fake_broker(w), slc_slice_str(vhost)),
                      slc_slice_str("vhost-limits"), slc_slice_str("limits"), value, limit_set,
                      NULL);
    json_decref(value);
    fake_turn(w);
}

static void count_exchange(const slc_exchange *exchange, void *arg)
{
    (void)exchange;
    ++*(uint32_t *)arg;
}

static uint32_t exchanges(void)
{
    uint32_t count = 0;
    slc_vhost_each_exchange(slc_broker_vhost(fake_broker(w), slc_slice_str("/")), count_exchange,
                            &count);
    return count;
}

static slc_err vhost_rc; // of the last one asked for; SLC_EPENDING: it is under way

static void vhost_made(slc_err rc, bool created, const slc_error *why, void *arg)
{
    (void)created, (void)why, (void)arg;
    vhost_rc = rc;
}

static void vhost_ask(const char *name)
{
    vhost_rc = SLC_EPENDING;
    slc_broker_vhost_put(fake_broker(w), slc_slice_str(name), &(slc_vhost_metadata){0}, NULL, 0,
                         vhost_made, NULL);
}

static void queues_overshoot(const char *text)
{
    cr_assert(eq(int, queue_ask(s[0], "a", true), SLC_EPENDING));
    cr_assert(eq(int, queue_ask(s[1], "b", true), SLC_EPENDING));
    cr_expect(eq(int, queue_ask(s[2], "c", true), SLC_EPRECONDITION));
    cr_expect(eq(str, error.text, (char *)text));
    cr_expect(eq(int, queue_ask(s[2], "d", false), SLC_EPRECONDITION), "a transient one neither");
    cr_expect(eq(int, queue_ask(s[3], "a", true), SLC_EPENDING), "that one is on its way");
    fake_turn(w);
    cr_expect(eq(int, queue_ask(s[0], "a", true), SLC_OK));
    cr_expect(eq(int, queue_ask(s[1], "b", true), SLC_OK));
    cr_expect(eq(int, queue_ask(s[3], "a", true), SLC_OK));
    cr_expect(eq(int, queue_ask(s[2], "c", true), SLC_EPRECONDITION));
    cr_expect(eq(int, fake_queue_delete(w, s[0], "a"), SLC_OK));
    cr_expect(eq(int, fake_queue(w, s[2], "c", "d"), SLC_OK), "%s", fake_error());
    cr_expect(eq(int, queue_ask(s[2], "d", true), SLC_EPRECONDITION));
}

static void queues_given_back(void)
{
    fake_refuse_definitions(w, SLC_ENOSPC);
    cr_assert(eq(int, queue_ask(s[0], "a", true), SLC_EPENDING));
    cr_assert(eq(int, queue_ask(s[1], "b", true), SLC_EPENDING));
    fake_turn(w);
    cr_expect(eq(int, queue_ask(s[0], "a", true), SLC_EPRECONDITION));
    cr_expect(eq(str, error.text, "cannot store the definition of queue 'a': no space left"));
    cr_expect(eq(int, queue_ask(s[1], "b", true), SLC_EPRECONDITION));
    fake_refuse_definitions(w, SLC_OK);
    cr_expect(eq(int, fake_queue(w, s[0], "c", "d"), SLC_OK), "%s", fake_error());
    cr_expect(eq(int, fake_queue(w, s[1], "d", "d"), SLC_OK), "%s", fake_error());
    cr_expect(eq(int, queue_ask(s[2], "e", true), SLC_EPRECONDITION));
}

Test(object_limits, queues_of_a_vhost)
{
    limit_queues_of("/", 2);
    queues_overshoot("cannot declare queue 'c': queue limit in vhost '/' (2) is reached");
}

Test(object_limits, queues_of_a_vhost_that_the_store_refused)
{
    limit_queues_of("/", 2);
    queues_given_back();
}

Test(object_limits, queues_of_all)
{
    slc_broker_set_limits(fake_broker(w), &(slc_broker_limits){.queues = 2});
    queues_overshoot("cannot declare queue 'c': queue limit in cluster (2) is reached");
}

Test(object_limits, queues_of_all_that_the_store_refused)
{
    slc_broker_set_limits(fake_broker(w), &(slc_broker_limits){.queues = 2});
    queues_given_back();
}

Test(object_limits, a_session_that_goes_leaves_its_queue_to_count)
{
    limit_queues_of("/", 1);
    cr_assert(eq(int, queue_ask(s[0], "a", true), SLC_EPENDING));
    slc_session_abandon(s[0]);
    cr_expect(eq(int, queue_ask(s[1], "b", true), SLC_EPRECONDITION));
    fake_turn(w);
    cr_expect(eq(int, queue_ask(s[1], "b", true), SLC_EPRECONDITION));
    cr_expect(eq(int, queue_ask(s[1], "a", true), SLC_OK));
}

Test(object_limits, one_vhost_does_not_count_for_another)
{
    vhost_ask("v");
    fake_turn(w);
    limit_queues_of("/", 1);
    limit_queues_of("v", 1);
    fake_client *other = fake_client_open(w);
    other->client.vhost = slc_broker_vhost(fake_broker(w), slc_slice_str("v"));
    slc_session *there = fake_session(other);
    cr_assert(eq(int, queue_ask(s[0], "a", true), SLC_EPENDING));
    cr_assert(eq(int, queue_ask(there, "a", true), SLC_EPENDING));
    cr_expect(eq(int, queue_ask(s[1], "b", true), SLC_EPRECONDITION));
    fake_turn(w);
    cr_expect(eq(int, queue_ask(s[0], "a", true), SLC_OK));
    cr_expect(eq(int, queue_ask(there, "a", true), SLC_OK));
}

Test(object_limits, other_arguments_for_a_queue_are_no_new_queue)
{
    fake_options(w)->on_mismatch = SLC_MISMATCH_UPDATE;
    fake_restart(w);
    for (int i = 0; i < 2; i++)
        s[i] = fake_session(fake_client_open(w));
    limit_queues_of("/", 2);
    fake_queue(w, s[0], "a", "d");
    slc_table_builder table = {0};
    slc_table_put_i32(&table, "x-max-length", 5);
    slc_queue_declare declare = {.name = slc_slice_str("a"),
                                 .durable = true,
                                 .arguments = slc_table_builder_content(&table)};
    slc_queue_declared out;
    cr_assert(eq(int, slc_session_queue_declare(s[0], &declare, &out, &error), SLC_EPENDING));
    cr_expect(eq(int, queue_ask(s[1], "b", true), SLC_EPENDING), "%s", error.text);
    slc_table_builder_fini(&table);
}

Test(object_limits, exchanges)
{
    uint32_t there = exchanges();
    slc_broker_set_limits(fake_broker(w), &(slc_broker_limits){.exchanges = there + 2});
    for (int refused = 1; refused >= 0; refused--) {
        fake_refuse_definitions(w, refused ? SLC_ENOSPC : SLC_OK);
        cr_assert(eq(int, exchange_ask(s[0], "a", true), SLC_EPENDING));
        cr_assert(eq(int, exchange_ask(s[1], "b", true), SLC_EPENDING));
        cr_expect(eq(int, exchange_ask(s[2], "c", true), SLC_EPRECONDITION));
        cr_expect(eq(int, exchange_ask(s[2], "c", false), SLC_EPRECONDITION));
        cr_expect(eq(int, exchange_ask(s[3], "a", true), SLC_EPENDING), "that one is on its way");
        fake_turn(w);
        cr_expect(eq(int, exchange_ask(s[0], "a", true), refused ? SLC_EPRECONDITION : SLC_OK));
        cr_expect(eq(int, exchange_ask(s[1], "b", true), refused ? SLC_EPRECONDITION : SLC_OK));
        fake_refuse_definitions(w, SLC_OK);
        // The third one that waited for "a" makes it when the first could not.
        cr_expect(eq(int, exchange_ask(s[3], "a", true), refused ? SLC_EPENDING : SLC_OK));
        fake_turn(w);
        cr_expect(eq(int, exchange_ask(s[3], "a", true), SLC_OK));
        if (refused) {
            slc_err rc;
            while ((rc = slc_session_exchange_delete(s[3], slc_slice_str("a"), false, &error)) ==
                   SLC_EPENDING)
                fake_turn(w);
            cr_assert(eq(int, rc, SLC_OK));
        }
    }
    cr_expect(eq(int, exchange_ask(s[2], "c", true), SLC_EPRECONDITION));
    char text[160];
    snprintf(text, sizeof text,
             "cannot declare exchange 'c' in vhost '/': exchange limit of %u is reached",
             there + 2);
    cr_expect(eq(str, error.text, text));
}

Test(object_limits, vhosts_and_the_exchanges_that_come_with_them)
{
    uint32_t each = exchanges();
    slc_broker_set_limits(fake_broker(w), &(slc_broker_limits){.vhosts = 2});
    fake_refuse_definitions(w, SLC_ENOSPC);
    vhost_ask("v");
    cr_expect(eq(int, vhost_rc, SLC_EPENDING));
    vhost_ask("w");
    cr_expect(eq(int, vhost_rc, SLC_ELIMIT));
    fake_turn(w);
    fake_refuse_definitions(w, SLC_OK);
    vhost_ask("w");
    cr_expect(eq(int, vhost_rc, SLC_EPENDING), "the other was not stored");
    slc_broker_set_limits(fake_broker(w), &(slc_broker_limits){.exchanges = 2 * each});
    cr_expect(eq(int, exchange_ask(s[0], "a", false), SLC_EPRECONDITION), "the new vhost's count");
    fake_turn(w);
    cr_expect(eq(int, vhost_rc, SLC_OK));
    cr_expect(eq(int, exchange_ask(s[0], "a", false), SLC_EPRECONDITION));
    slc_broker_set_limits(fake_broker(w), &(slc_broker_limits){.exchanges = 2 * each + 1});
    cr_expect(eq(int, exchange_ask(s[0], "a", false), SLC_OK));
}
