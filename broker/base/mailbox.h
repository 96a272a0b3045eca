/** A mailbox carries owned items from any thread to the thread of one libuv loop.
 *
 *  Intrusive: the item embeds an slc_mail, so posting cannot fail. The handler runs on the loop, once per item, in the
 *  order of posting (per sender), many per wake-up. Ownership of an item passes with the post.
 */
#ifndef SLC_BASE_MAILBOX_H
#define SLC_BASE_MAILBOX_H

#include <stdatomic.h>
#include <stdbool.h>
#include <uv.h>

#include "base/error.h"

typedef struct slc_mail {
    struct slc_mail *next;
} slc_mail;

/** Takes the item. @thread the loop's. */
typedef void (*slc_mail_fn)(slc_mail *item, void *arg);

typedef struct slc_mailbox {
    uv_async_t async;
    _Atomic(slc_mail *) head; // newest first; the handler reverses
    slc_mail *todo;           // oldest first, the loop's: taken from head and not handled yet
    slc_mail_fn handle;
    void *arg;
    bool closed;
} slc_mailbox;

/** @thread the loop's. arg is borrowed until the close callback. */
SLC_MUST_USE slc_err slc_mailbox_init(slc_mailbox *box, uv_loop_t *loop, slc_mail_fn handle,
                                      void *arg);
/** @thread any, also the loop's (the handler still runs later). Takes item. Wakes the loop only when the box was empty. */
void slc_mailbox_post(slc_mailbox *box, slc_mail *item);
/** Handle what is there now, without waiting for the wake-up. May be called by the handler. @thread the loop's. */
void slc_mailbox_drain(slc_mailbox *box);
/** Whether the handle keeps its loop alive (default: yes). */
void slc_mailbox_unref(slc_mailbox *box);
/** Nobody may post afterwards, nor be inside a post: join the senders' threads before. Items still inside are handled
 *  first. May be called by the handler. @thread the loop's; done runs on it later, then the box may be freed. */
void slc_mailbox_close(slc_mailbox *box, uv_close_cb done);

#endif
