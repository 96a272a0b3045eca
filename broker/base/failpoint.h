/** Fail points name the places where the world can fail us.
 *
 *      if (SLC_FAILPOINT("store.commit.before", &rc)) goto abort_txn;
 *
 *  The plan comes from the environment variable SLC_FAILPOINT or slc_failpoint_plan(), entries separated by `;`:
 *      name=crash@3        SIGKILL to this process at the third pass (default: the first)
 *      name=error:EIO@2    the macro is true and *rc is slc_err_from_errno(EIO), at the second pass
 *      name=delay:50       sleep 50 ms at each pass (with @n only at the n-th)
 *      name=half           the macro is true and *rc is SLC_EAGAIN: the caller writes half and then crashes (@n as above)
 *      name=hang           stop this thread for good
 *  @n+ means the n-th pass and every later one (a disk that stays full).
 *  In a release build (SLC_FAILPOINTS=0) the macro is the constant false. Thread: any.
 */
#ifndef SLC_BASE_FAILPOINT_H
#define SLC_BASE_FAILPOINT_H

#include <stdint.h>

#include "base/error.h"

#if SLC_FAILPOINTS
#define SLC_FAILPOINT(name, rc) slc_failpoint_pass(name, rc)
#else
#define SLC_FAILPOINT(name, rc) ((void)(name), (void)(rc), false)
#endif

/** Count one pass of the point and act on the plan. */
bool slc_failpoint_pass(const char *name, slc_err *rc);
/** How often the point was passed since it got into the plan; 0: it is not in it. For tests that sweep over the passes. */
uint64_t slc_failpoint_passes(const char *name);
/** Replace the plan (NULL or "": none) and reset all counters; SLC_EINVAL names the entry that does not parse,
 *  SLC_ENOTIMPL: a plan in a build without fail points. */
SLC_MUST_USE slc_err slc_failpoint_plan(const char *plan, slc_error *error);
/** Take the plan from the environment; in a build without fail points a set variable is an error. Call once at start. */
SLC_MUST_USE slc_err slc_failpoint_init(slc_error *error);

#endif
