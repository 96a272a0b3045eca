// Direct replies to a requester that does not read. @spec amqp-semantics 17.1
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#include "core/internal.h"
#include "fake_world.h"

static fake_world *w;
static slc_session *s;

static void setup(void)
{
    w = fake_world_new();
    s = fake_session(fake_client_open(w));
}

static void teardown(void)
{
    fake_world_free(w);
    cr_expect(eq(u64, slc_message_bytes_alive(), 0), "every message was freed");
}

TestSuite(reply_to, .init = setup, .fini = teardown, .timeout = 60);

static slc_session *requester;
static uint32_t replies, returns;

static void count_reply(slc_session *session, const slc_consumer *from, uint64_t tag, bool again,
                        slc_message *m)
{
    (void)from;
    (void)tag;
    (void)again;
    (void)m;
    cr_assert(session == requester);
    replies++;
}

static void count_return(slc_session *session, slc_message *m)
{
    (void)session;
    (void)m;
    returns++;
}

static void reply_of(slc_session *from, uint64_t body_bytes)
{
    slc_error error = {0};
    slc_message *m = slc_message_new(slc_slice_str(""), slc_session_reply_name(requester),
                                     (slc_slice){0}, body_bytes, false);
    memset(slc_message_body(m), 'r', body_bytes);
    cr_assert(eq(int, slc_session_publish(from, m, (slc_slice){0}, true, &error), SLC_OK));
}

Test(reply_to, a_requester_that_does_not_read_gets_so_many_replies_and_no_more)
{
    static const slc_session_ops ops = {.deliver = count_reply, .returned = count_return};
    enum { MIB = 1 << 20, FIT = SLC_REPLY_BYTES_MAX / MIB };
    slc_error error = {0};
    slc_client *client = slc_session_client(s);
    requester = slc_session_open(client, 70, &ops, NULL);
    slc_session *other = slc_session_open(client, 71, &ops, NULL);
    slc_session *service =
        slc_session_open(slc_session_client(fake_session(fake_client_open(w))), 72, &ops, NULL);
    const slc_consumer *consumer;
    cr_assert(eq(int, slc_reply_to_consume(requester, slc_slice_str("t"), true, &consumer, &error),
                 SLC_OK));
    for (uint32_t i = 0; i < 2 * FIT; i++)
        reply_of(service, MIB);
    cr_expect(eq(u32, replies, 2 * FIT), "it reads: there is no limit");
    for (uint32_t round = 1; round <= 2; round++) {
        replies = returns = 0;
        slc_session_writable(requester, false);
        for (uint32_t i = 0; i < 2 * FIT; i++)
            reply_of(service, MIB);
        cr_expect(eq(u32, replies, FIT), "round %u", round);
        cr_expect(eq(u32, returns, FIT), "round %u", round);
        slc_session_writable(requester, true);
        reply_of(service, 1);
        cr_expect(eq(u32, replies, FIT + 1), "round %u", round);
    }
    // Another channel of the same connection has no other 16 MiB.
    slc_session_writable(requester, false);
    for (uint32_t i = 0; i < FIT; i++)
        reply_of(service, MIB);
    slc_session *first = requester;
    requester = other;
    cr_assert(
        eq(int, slc_reply_to_consume(other, slc_slice_str("t"), true, &consumer, &error), SLC_OK));
    slc_session_writable(other, false);
    replies = 0;
    reply_of(service, 1);
    cr_expect(eq(u32, replies, 0));
    slc_session_abandon(other);
    slc_session_abandon(first);
    slc_session_abandon(service);
}
