/** The control plane: definitions as a command log with full sync, in the `control/` LMDB environment.
 *
 *  A *command* is a list of primitive changes (put or delete of one object by key), applied all or nothing. Commands get
 *  an index, are durable before they are applied, and are applied on the loop in index order; the state they lead to is kept
 *  beside the log, so a start reads the state and not the history. This header will hide libraft: with one voter a
 *  proposal commits as soon as it is synced; with more, when a majority has it. Nothing above this header changes.
 *
 *      propose (loop) ──> mailbox ──> control thread: one transaction for all that queued up, full sync ──> mailbox ──>
 *      apply(change) for each change, then proposed(rc) (loop)
 *
 *  Keys and values are bytes: `core` encodes them (core/command.h). Thread: every function on the loop; nothing blocks but
 *  open and load. A failed write or sync is fatal: options.failed is called once and the process must stop (exit 74);
 *  ENOSPC answers the proposal with SLC_ENOSPC and changes nothing.
 */
#ifndef SLC_CLUSTER_CONTROL_H
#define SLC_CLUSTER_CONTROL_H

#include <stdint.h>
#include <uv.h>

#include "base/error.h"
#include "base/records.h"

typedef struct slc_control slc_control;

typedef slc_change slc_control_change; // value.data NULL: delete the key (a missing key is fine)

typedef struct slc_control_options {
    const char *dir;    // of the environment; created when missing
    uint64_t map_bytes; // address space, the most it can grow to; 0: 8 GiB
    uv_loop_t *loop;
    /** A committed change. Slices are valid during the call. */
    void (*apply)(const slc_control_change *change, uint64_t index, void *arg);
    void (*failed)(const slc_error *error, void *arg);
    void *arg;
} slc_control_options;

SLC_MUST_USE slc_err slc_control_open(const slc_control_options *options, slc_control **out,
                                      slc_error *error);

/** Read the whole state in key order: apply is called once per object, with the index of the last command, inside this call, before
 *  any proposal. SLC_ECORRUPT: log and state do not fit together. */
SLC_MUST_USE slc_err slc_control_load(slc_control *control, slc_error *error);

/** SLC_OK after apply has seen every change. Nothing changed: SLC_ENOSPC; SLC_ELIMIT, a key, a value or the sum of them (64 MiB) is
 *  too large. SLC_EIO: options.failed was called before, whether the command is durable is not known. */
typedef void (*slc_control_proposed_cb)(slc_err rc, void *arg);

/** Changes (at least one) are copied. proposed runs exactly once on the loop, never inside this call; it may be NULL. */
void slc_control_propose(slc_control *control, const slc_control_change *changes, uint32_t count,
                         slc_control_proposed_cb proposed, void *arg);

/** Write the state as of now to a new environment in dir, which must not exist, and sync it. With an error nothing is left there.
 *  @thread any but the loop's: it blocks. The control plane must not be closed meanwhile. */
SLC_MUST_USE slc_err slc_control_copy(const slc_control *control, const char *dir,
                                      slc_error *error);

/** Finish what was proposed (the callbacks still run), stop the thread, free. done runs on the loop; it may be NULL. Nothing may be
 *  proposed afterwards. */
void slc_control_close(slc_control *control, void (*done)(void *arg), void *arg);

#endif
