// Who holds most when memory or disk space is short, and who is told.
#include "core/growers.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <string.h>

#include "core/client.h"
#include "fake_impl.h"

static fake_world *w;
static fake_client *c;
static slc_session *s;

static void setup(void)
{
    w = fake_world_new();
    fake_turn(w);
    c = fake_client_open(w);
    c->client.info.name = "1 -> 2";
    s = fake_session(c);
}

static void teardown(void)
{
    fake_world_free(w);
}

TestSuite(growers, .init = setup, .fini = teardown, .timeout = 60);

/** count messages of bytes each, in a durable queue of that name. */
static void fill(const char *queue, uint32_t count, size_t bytes, const char *flags)
{
    char body[4096];
    memset(body, 'x', sizeof body);
    body[bytes] = '\0';
    cr_assert(eq(int, fake_queue(w, s, queue, "d"), SLC_OK));
    for (uint32_t i = 0; i < count; i++)
        cr_assert(eq(int, fake_publish(s, "", queue, body, flags), SLC_OK));
    fake_turn(w);
}

static slc_growers found(slc_resource resource)
{
    slc_growers g;
    slc_growers_find(fake_broker(w), resource, &g);
    return g;
}

Test(growers, nothing_is_held_by_nobody)
{
    char text[100];
    cr_assert(eq(int, fake_queue(w, s, "empty", "d"), SLC_OK));
    slc_growers g = found(SLC_RESOURCE_MEMORY);
    cr_expect(eq(u32, g.count, 0));
    slc_growers_text(&g, text, sizeof text);
    cr_expect(eq(str, text, ""));
    slc_broker_pressure(fake_broker(w), true, false);
    char reason[256];
    slc_broker_blocked_reason(fake_broker(w), &c->client, reason);
    cr_expect(eq(str, reason, "low on memory"));
}

Test(growers, the_three_biggest_in_order)
{
    // Made in an order in which each place of the list is taken from somebody.
    fill("third", 3, 1000, "");
    fill("small", 1, 10, "");
    fill("first", 10, 4000, "");
    fill("fourth", 2, 1000, "");
    fill("second", 4, 4000, "");
    slc_growers g = found(SLC_RESOURCE_MEMORY);
    cr_assert(eq(u32, g.count, 3));
    cr_expect(eq(str, g.items[0].name, "first"));
    cr_expect(eq(str, g.items[1].name, "second"));
    cr_expect(eq(str, g.items[2].name, "third"));
    cr_expect(eq(str, g.items[0].vhost, "/"));
    cr_expect(eq(u64, g.items[0].messages, 10));
    cr_expect(ge(u64, g.items[0].bytes, 40000), "contents, and what an entry costs");
    cr_expect(lt(u64, g.items[0].bytes, 60000));
}

Test(growers, unacked_messages_count)
{
    uint64_t tag;
    fill("ready", 3, 1000, "");
    fill("taken", 4, 1000, "");
    for (int i = 0; i < 4; i++)
        cr_assert_not_null(fake_get(w, s, "taken", false, &tag));
    slc_growers g = found(SLC_RESOURCE_MEMORY);
    cr_expect(eq(str, g.items[0].name, "taken"));
}

Test(growers, disk_counts_what_is_persistent)
{
    fill("transient", 10, 4000, "");
    fill("kept", 2, 1000, "p");
    slc_growers g = found(SLC_RESOURCE_DISK);
    cr_assert(eq(u32, g.count, 1));
    cr_expect(eq(str, g.items[0].name, "kept"));
    cr_expect(eq(u64, g.items[0].bytes, 2000));
    cr_expect(eq(u64, g.items[0].messages, 2));
}

Test(growers, a_connection_that_does_not_read)
{
    fill("q", 1, 100, "");
    c->client.info.send_pending = 3 << 20;
    slc_growers g = found(SLC_RESOURCE_MEMORY);
    cr_assert(eq(u32, g.count, 2));
    cr_expect(g.items[0].connection);
    char text[400];
    slc_growers_text(&g, text, sizeof text);
    cr_expect_not_null(
        strstr(text, "connection '1 -> 2' in vhost '/' (3.0 MiB), queue 'q' in vhost '/' ("));
    cr_expect_not_null(strstr(text, " bytes in 1 message)"));
    cr_expect(eq(u32, found(SLC_RESOURCE_DISK).count, 0));
}

Test(growers, a_long_name_is_cut_between_characters)
{
    char name[200] = "";
    for (int i = 0; i < 60; i++)
        strcat(name, i == 0 ? "x" : "ü"); // octets 1, 2-3, 4-5, ...: 100 would cut one in two
    fill(name, 1, 100, "");
    slc_growers g = found(SLC_RESOURCE_MEMORY);
    char text[400], want[120];
    slc_growers_text(&g, text, sizeof text);
    snprintf(want, sizeof want, "queue '%.99s' in", name);
    cr_expect(eq(int, strncmp(text, want, strlen(want)), 0), "%s", text);
}

Test(growers, what_was_found_when_the_alarm_went_on_stays)
{
    fill("q", 2, 1000, "p");
    slc_broker_pressure(fake_broker(w), false, true);
    fill("later", 9, 1000, "p");
    slc_broker_pressure(fake_broker(w), false, true);
    cr_expect(
        eq(str, (char *)slc_broker_growers(fake_broker(w), SLC_RESOURCE_DISK)->items[0].name, "q"));
    slc_broker_pressure(fake_broker(w), false, false);
    slc_broker_pressure(fake_broker(w), false, true);
    cr_expect(eq(str, (char *)slc_broker_growers(fake_broker(w), SLC_RESOURCE_DISK)->items[0].name,
                 "later"));
}

static bool may_second(slc_client *client, slc_access access, int kind, slc_slice name)
{
    (void)client;
    return kind == SLC_DEST_QUEUE && access == SLC_ACCESS_WRITE && slc_slice_is(name, "second");
}

static void vhost_made(slc_err rc, bool created, const slc_error *error, void *arg)
{
    (void)error;
    (void)arg;
    cr_assert(eq(int, rc, SLC_OK));
    cr_assert(created);
}

Test(growers, a_client_hears_of_what_it_may_touch_only)
{
    char reason[256];
    slc_client_ops ops = *c->client.ops;
    fill("first", 10, 1000, "p");
    fill("second", 5, 1024, "p");
    slc_broker_blocked_reason(fake_broker(w), &c->client, reason);
    cr_expect(eq(str, reason, ""), "no alarm");
    slc_broker_pressure(fake_broker(w), false, true);
    slc_broker_blocked_reason(fake_broker(w), &c->client, reason);
    cr_expect(eq(str, reason, "low on disk: queue 'first' holds 9.8 KiB"));
    ops.may = may_second;
    c->client.ops = &ops;
    slc_broker_blocked_reason(fake_broker(w), &c->client, reason);
    cr_expect(eq(str, reason, "low on disk: queue 'second' holds 5.0 KiB"));
    // A vhost of its own, in which it may do everything.
    slc_vhost *here = c->client.vhost;
    ops.may = NULL;
    slc_vhost_metadata none = {0};
    slc_broker_vhost_put(fake_broker(w), slc_slice_str("other"), &none, NULL, 0, vhost_made, NULL);
    fake_turn(w);
    c->client.vhost = slc_broker_vhost(fake_broker(w), slc_slice_str("other"));
    slc_broker_blocked_reason(fake_broker(w), &c->client, reason);
    cr_expect(eq(str, reason, "low on disk"));
    c->client.vhost = here;
}
