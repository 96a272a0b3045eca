/** What /api/sluice/backup asks of the daemon. Thread: the loop's. */
#ifndef SLC_HTTP_BACKUP_H
#define SLC_HTTP_BACKUP_H

#include <stdint.h>

#include "base/error.h"
#include "base/slice.h"

/** The last backup since the start of the daemon, or the one that runs. Strings live until the next call. */
typedef struct slc_http_backup {
    const char *state; // "none", "running", "done", "failed"
    const char *step;  // of a running one: "copy", "definitions", "check"
    const char *dir;
    const char *reason;    // of a failed one, or NULL
    uint64_t done, total;  // bytes of this step; total 0: not known
    uint64_t behind_bytes; // of the log: not copied yet
    uint64_t seconds;
    uint64_t bytes, queues, messages; // of a finished one
} slc_http_backup;

typedef struct slc_http_backup_ops {
    /** dir is absolute. SLC_EBUSY: one is running; SLC_EINVAL, SLC_EEXIST, ...: with a sentence. */
    slc_err (*start)(slc_slice dir, uint64_t bytes_per_s, slc_error *error, void *arg);
    void (*cancel)(void *arg);
    void (*look)(slc_http_backup *out, void *arg);
    void *arg;
} slc_http_backup_ops;

#endif
