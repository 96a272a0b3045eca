#include "cluster/control.h"

#include <assert.h>
#include <sys/prctl.h>

#include "base/alloc.h"
#include "base/failpoint.h"
#include "base/mailbox.h"
#include "cluster/control_store.h"

// The loop and the control thread meet in two places: the queue of proposals (under the lock) and the mailbox of results.
//
//     propose ──> queue ──> thread takes all that is there: one transaction ──> results, in order ──> apply, proposed
//
// A transaction that does not fit is given back by LMDB as a whole; its commands are then tried one by one, so that the one
// that is too large fails alone and deletes go through.

enum {
    CONTROL_BATCH_MAX = 4096,
    CONTROL_BATCH_BYTES_MAX =
        64 * 1024 * 1024, // far below the dirty pages that a transaction may have
};

typedef struct control_proposal {
    slc_mail mail;
    struct control_proposal *next;
    slc_control_command command;
    slc_err rc;
    slc_control_proposed_cb proposed;
    void *arg;
    uint8_t encoded[];
} control_proposal;

struct slc_control {
    slc_control_options options; // dir is the store's
    slc_control_store store;     // applied: the thread's, once proposals run
    uv_thread_t thread;

    uv_mutex_t lock; // guards the next four
    uv_cond_t wake;
    control_proposal *head;
    control_proposal **tail;
    bool stopping;

    slc_mailbox results;
    slc_mail failed_mail;  // posted once, before the first proposal that gets SLC_EIO
    slc_mail stopped_mail; // the thread's last
    slc_error failure;     // written before failed_mail is posted

    // the loop's
    bool proposed_any;
    bool closing;
    void (*done)(void *arg);
    void *done_arg;
};

// ---- the thread

static control_proposal *control_take(slc_control *control, bool *stop)
{
    uv_mutex_lock(&control->lock);
    while (control->head == NULL && !control->stopping)
        uv_cond_wait(&control->wake, &control->lock);
    control_proposal *all = control->head;
    control->head = NULL;
    control->tail = &control->head;
    *stop = all == NULL;
    uv_mutex_unlock(&control->lock);
    return all;
}

static slc_err control_commit(slc_control *control, slc_control_command **commands, uint32_t count,
                              slc_error *error)
{
    slc_err rc = SLC_OK;
    bool half = false;
    if (SLC_FAILPOINT("ctl.append.before", &rc)) {
        half = rc == SLC_EAGAIN;
        if (!half)
            return slc_error_set(error, rc, "fail point ctl.append.before");
    }
    rc = slc_control_store_append(&control->store, commands, count, half, error);
    if (rc != SLC_OK)
        return rc;
    if (SLC_FAILPOINT("ctl.append.after", &rc))
        return slc_error_set(error, SLC_EIO, "fail point ctl.append.after");
    return SLC_OK;
}

static void control_fail(slc_control *control, const slc_error *error)
{
    if (control->failure.code != SLC_OK)
        return;
    control->failure = *error;
    slc_mailbox_post(&control->results, &control->failed_mail);
}

// Give the commands from first on their result; it ends with the one before end.
static void control_answer(slc_control *control, control_proposal *first,
                           const control_proposal *end)
{
    while (first != end) {
        control_proposal *next = first->next; // a posted proposal is no longer ours
        slc_mailbox_post(&control->results, &first->mail);
        first = next;
    }
}

// One transaction for the proposals from first to before end, those that were refused at once left out.
static void control_run_batch(slc_control *control, control_proposal *first,
                              const control_proposal *end)
{
    static_assert(sizeof(slc_control_command *) * CONTROL_BATCH_MAX <= 64 * 1024,
                  "fits on the stack");
    slc_control_command *commands[CONTROL_BATCH_MAX];
    uint32_t count = 0;
    for (control_proposal *p = first; p != end; p = p->next) {
        if (p->rc == SLC_OK)
            commands[count++] = &p->command;
    }
    slc_error error = {0};
    slc_err rc = SLC_OK;
    if (control->failure.code != SLC_OK)
        rc = SLC_EIO;
    else if (count > 0)
        rc = control_commit(control, commands, count, &error);

    if ((rc == SLC_ENOSPC || rc == SLC_ELIMIT) && count > 1) {
        for (control_proposal *p = first; p != end;) {
            control_proposal *next = p->next;
            control_run_batch(control, p, next);
            p = next;
        }
        return;
    }
    if (rc != SLC_OK && rc != SLC_ENOSPC && rc != SLC_ELIMIT) {
        control_fail(control, &error);
        rc = SLC_EIO;
    }
    for (control_proposal *p = first; p != end; p = p->next) {
        if (p->rc == SLC_OK)
            p->rc = rc;
    }
    control_answer(control, first, end);
}

static void control_thread(void *arg)
{
    slc_control *control = arg;
    prctl(PR_SET_NAME, "control");
    for (;;) {
        bool stop = false;
        control_proposal *first = control_take(control, &stop);
        if (stop)
            break;
        while (first != NULL) {
            uint32_t count = 0;
            size_t bytes = 0;
            control_proposal *end = first;
            while (end != NULL && count < CONTROL_BATCH_MAX && bytes <= CONTROL_BATCH_BYTES_MAX) {
                count++;
                bytes += end->command.bytes.bytes;
                end = end->next;
            }
            control_run_batch(control, first, end);
            first = end;
        }
    }
    slc_mailbox_post(&control->results, &control->stopped_mail);
}

// ---- the loop

static void control_closed(uv_handle_t *handle)
{
    slc_control *control =
        SLC_CONTAINER_OF(SLC_CONTAINER_OF(handle, slc_mailbox, async), slc_control, results);
    void (*done)(void *arg) = control->done;
    void *arg = control->done_arg;
    slc_control_store_close(&control->store);
    uv_cond_destroy(&control->wake);
    uv_mutex_destroy(&control->lock);
    slc_free(control);
    if (done != NULL)
        done(arg);
}

static void control_result(slc_mail *mail, void *arg)
{
    slc_control *control = arg;
    if (mail == &control->failed_mail) {
        control->options.failed(&control->failure, control->options.arg);
        return;
    }
    if (mail == &control->stopped_mail) {
        uv_thread_join(&control->thread); // it posted its last item and returns
        slc_mailbox_close(&control->results, control_closed);
        return;
    }
    control_proposal *proposal = SLC_CONTAINER_OF(mail, control_proposal, mail);
    if (proposal->rc == SLC_OK) {
        size_t at = 0;
        slc_control_change change;
        while (slc_control_command_next(proposal->command.bytes, &at, &change))
            control->options.apply(&change, proposal->command.index, control->options.arg);
    }
    if (proposal->proposed != NULL)
        proposal->proposed(proposal->rc, proposal->arg);
    slc_free(proposal);
}

slc_err slc_control_open(const slc_control_options *options, slc_control **out, slc_error *error)
{
    slc_control *control = slc_alloc_zero(1, sizeof *control);
    control->options = *options;
    control->tail = &control->head;
    slc_err rc = slc_control_store_open(&control->store, options->dir, options->map_bytes, error);
    if (rc != SLC_OK)
        goto free_control;
    control->options.dir = control->store.dir;

    int code = uv_mutex_init(&control->lock);
    SLC_ASSERT(code == 0);
    code = uv_cond_init(&control->wake);
    SLC_ASSERT(code == 0);
    // The mailbox comes last: once on the loop, a handle can only be closed by the loop. Without proposals the thread does not post.
    code = uv_thread_create(&control->thread, control_thread, control);
    if (code != 0) {
        rc = slc_error_set(error, slc_err_from_errno(code), "cannot start the control thread: %s",
                           uv_strerror(code));
        goto close_store;
    }
    rc = slc_mailbox_init(&control->results, options->loop, control_result, control);
    SLC_ASSERT(rc ==
               SLC_OK); // uv_loop_init opened the descriptor that all of a loop's handles share
    *out = control;
    return SLC_OK;

close_store:
    uv_cond_destroy(&control->wake);
    uv_mutex_destroy(&control->lock);
    slc_control_store_close(&control->store);
free_control:
    slc_free(control);
    return rc;
}

slc_err slc_control_load(slc_control *control, slc_error *error)
{
    SLC_ASSERT(!control->proposed_any);
    return slc_control_store_load(&control->store, control->options.apply, control->options.arg,
                                  error);
}

void slc_control_propose(slc_control *control, const slc_control_change *changes, uint32_t count,
                         slc_control_proposed_cb proposed, void *arg)
{
    SLC_ASSERT(!control->closing);
    SLC_ASSERT(count > 0);
    control->proposed_any = true;
    size_t bytes = 0;
    slc_err rc = slc_control_command_size(changes, count, &bytes);
    control_proposal *proposal = slc_alloc(sizeof *proposal + bytes);
    *proposal = (control_proposal){.rc = rc, .proposed = proposed, .arg = arg};
    if (rc == SLC_OK) {
        slc_control_command_encode(changes, count, proposal->encoded, bytes);
        proposal->command.bytes = slc_slice_of(proposal->encoded, bytes);
    }
    uv_mutex_lock(&control->lock);
    *control->tail = proposal;
    control->tail = &proposal->next;
    uv_cond_signal(&control->wake);
    uv_mutex_unlock(&control->lock);
}

void slc_control_close(slc_control *control, void (*done)(void *arg), void *arg)
{
    SLC_ASSERT(!control->closing);
    control->closing = true;
    control->done = done;
    control->done_arg = arg;
    uv_mutex_lock(&control->lock);
    control->stopping = true;
    uv_cond_signal(&control->wake);
    uv_mutex_unlock(&control->lock);
}

slc_err slc_control_copy(const slc_control *control, const char *dir, slc_error *error)
{
    return slc_control_store_copy(&control->store, dir, error);
}
