#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdint.h>

#include "base/alloc.h"
#include "base/mailbox.h"

typedef struct item {
    slc_mail mail;
    uint32_t number;
} item;

typedef struct fixture {
    uv_loop_t loop;
    slc_mailbox box;
    uint32_t seen[64];
    uint32_t count;
    uint32_t nested; // drain (1) or close (2) from the handler of item 0; 3: post once more
    item extra;
    bool closed;
} fixture;

static void on_closed(uv_handle_t *handle)
{
    slc_mailbox *box = SLC_CONTAINER_OF(handle, slc_mailbox, async);
    ((fixture *)box->arg)->closed = true;
}

static void on_item(slc_mail *mail, void *arg)
{
    fixture *f = arg;
    uint32_t number = SLC_CONTAINER_OF(mail, item, mail)->number;
    f->seen[f->count++] = number;
    if (number != 0)
        return;
    if (f->nested == 1)
        slc_mailbox_drain(&f->box);
    else if (f->nested == 2)
        slc_mailbox_close(&f->box, on_closed);
    else if (f->nested == 3)
        slc_mailbox_post(&f->box, &f->extra.mail);
}

static void start(fixture *f)
{
    *f = (fixture){.extra.number = 99};
    cr_assert(eq(int, uv_loop_init(&f->loop), 0));
    slc_err rc = slc_mailbox_init(&f->box, &f->loop, on_item, f);
    cr_assert(eq(int, rc, SLC_OK));
}

static void post_all(fixture *f, item *items, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        items[i].number = i;
        slc_mailbox_post(&f->box, &items[i].mail);
    }
}

static void stop(fixture *f)
{
    if (!f->box.closed)
        slc_mailbox_close(&f->box, on_closed);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    cr_expect(f->closed);
    cr_expect(eq(int, uv_loop_close(&f->loop), 0));
}

static void expect_order(const fixture *f, uint32_t count)
{
    cr_assert(eq(u32, f->count, count));
    for (uint32_t i = 0; i < count; i++)
        cr_assert(eq(u32, f->seen[i], i));
}

Test(mailbox, handles_in_order_once_the_loop_runs)
{
    fixture f;
    item items[10];
    start(&f);
    post_all(&f, items, 10);
    cr_expect(eq(u32, f.count, 0), "never inside post");
    uv_run(&f.loop, UV_RUN_ONCE);
    expect_order(&f, 10);
    stop(&f);
}

Test(mailbox, drain_needs_no_wake_up)
{
    fixture f;
    item items[3];
    start(&f);
    post_all(&f, items, 3);
    slc_mailbox_drain(&f.box);
    expect_order(&f, 3);
    stop(&f);
    expect_order(&f, 3);
}

Test(mailbox, a_handler_that_drains_keeps_the_order)
{
    fixture f;
    item items[8];
    start(&f);
    f.nested = 1;
    post_all(&f, items, 8);
    uv_run(&f.loop, UV_RUN_ONCE);
    expect_order(&f, 8);
    stop(&f);
}

Test(mailbox, a_handler_may_close)
{
    fixture f;
    item items[8];
    start(&f);
    f.nested = 2;
    post_all(&f, items, 8);
    uv_run(&f.loop, UV_RUN_DEFAULT);
    expect_order(&f, 8);
    stop(&f);
}

Test(mailbox, a_handler_may_post)
{
    fixture f;
    item items[2];
    start(&f);
    f.nested = 3;
    post_all(&f, items, 2);
    while (f.count < 3)
        uv_run(&f.loop, UV_RUN_ONCE);
    cr_expect(eq(u32, f.seen[0], 0));
    cr_expect(eq(u32, f.seen[1], 1));
    cr_expect(eq(u32, f.seen[2], 99));
    stop(&f);
}

Test(mailbox, close_handles_what_is_inside)
{
    fixture f;
    item items[5];
    start(&f);
    post_all(&f, items, 5);
    stop(&f);
    expect_order(&f, 5);
}

Test(mailbox, unref_lets_the_loop_end)
{
    fixture f;
    start(&f);
    slc_mailbox_unref(&f.box);
    cr_expect(eq(int, uv_run(&f.loop, UV_RUN_DEFAULT), 0));
    stop(&f);
}
