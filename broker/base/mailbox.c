#include "base/mailbox.h"

#include "base/alloc.h"

// Senders push on a stack with one compare-and-swap; the loop takes the whole stack with one
// exchange and reverses it. Taking everything at once is what makes this safe: a node is never
// popped alone, so there is no ABA.

static void mailbox_wake(uv_async_t *async)
{
    slc_mailbox_drain(SLC_CONTAINER_OF(async, slc_mailbox, async));
}

slc_err slc_mailbox_init(slc_mailbox *box, uv_loop_t *loop, slc_mail_fn handle, void *arg)
{
    int rc = uv_async_init(loop, &box->async, mailbox_wake);
    if (rc != 0)
        return slc_err_from_errno(rc);
    atomic_init(&box->head, NULL);
    box->todo = NULL;
    box->handle = handle;
    box->arg = arg;
    box->closed = false;
    return SLC_OK;
}

void slc_mailbox_post(slc_mailbox *box, slc_mail *item)
{
    slc_mail *head = atomic_load_explicit(&box->head, memory_order_relaxed);
    do {
        item->next = head;
    } while (!atomic_compare_exchange_weak_explicit(&box->head, &head, item, memory_order_release,
                                                    memory_order_relaxed));
    // From here on the item is the loop's. A box that was not empty has a wake-up on its way:
    // whoever found it empty sends it.
    if (head == NULL) {
        int rc = uv_async_send(&box->async);
        SLC_ASSERT(rc == 0);
    }
}

// What was posted since the last call, oldest first, behind what is still to be handled.
static void mailbox_collect(slc_mailbox *box)
{
    slc_mail *newest = atomic_exchange_explicit(&box->head, NULL, memory_order_acquire);
    slc_mail *oldest = NULL;
    while (newest != NULL) {
        slc_mail *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    slc_mail **end = &box->todo;
    while (*end != NULL)
        end = &(*end)->next;
    *end = oldest;
}

void slc_mailbox_drain(slc_mailbox *box)
{
    // The list is in the box, not on the stack: a handler that drains or closes the box keeps the
    // order.
    mailbox_collect(box);
    while (box->todo != NULL) {
        slc_mail *item = box->todo;
        box->todo = item->next;
        box->handle(item, box->arg);
    }
}

void slc_mailbox_unref(slc_mailbox *box)
{
    uv_unref((uv_handle_t *)&box->async);
}

void slc_mailbox_close(slc_mailbox *box, uv_close_cb done)
{
    SLC_ASSERT(!box->closed);
    do
        slc_mailbox_drain(box);
    while (atomic_load_explicit(&box->head, memory_order_relaxed) != NULL);
    box->closed = true;
    uv_close((uv_handle_t *)&box->async, done);
}
