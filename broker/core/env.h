/** All that core asks of the world. The daemon fills it with the real clock, store and control plane; tests and the
 *  simulator fill it with virtual ones. core has no socket, file, thread, clock or random number of its own.
 *
 *  The store functions have the meaning of <slc/store.h>, those of definitions the meaning of cluster/control.h.
 *  Thread: the loop.
 */
#ifndef SLC_CORE_ENV_H
#define SLC_CORE_ENV_H

#include <stdint.h>

#include "base/error.h"
#include "base/records.h"

typedef struct slc_message slc_message;

enum { SLC_UUID_BYTES = 16 };

typedef slc_target slc_env_target;
typedef slc_stored_message slc_env_read_message;
typedef slc_change slc_env_change;

typedef void (*slc_env_read_cb)(slc_err rc, const slc_env_read_message *messages, uint32_t count,
                                void *arg);

typedef struct slc_env {
    void *arg; // first argument of all below

    uint64_t (*now_ns)(void *arg);
    uint64_t (*wall_ms)(void *arg);
    void (*random)(void *arg, void *out, uint32_t bytes);

    uint32_t (*store_queue_new)(void *arg, const uint8_t uuid[SLC_UUID_BYTES], uint64_t *ticket);
    uint64_t (*store_queue_del)(void *arg, uint32_t qid);
    /** Holds a reference of message (slc_message_ref) until it calls slc_message_unref. */
    uint64_t (*store_append)(void *arg, slc_message *message, const slc_env_target *targets,
                             uint32_t count);
    uint64_t (*store_drop)(void *arg, uint32_t qid, uint64_t qseq, int reason, bool *cancelled);
    void (*store_atomic)(void *arg, bool begin);
    uint64_t (*store_drop_range)(void *arg, uint32_t qid, uint64_t first, uint64_t last,
                                 int reason);
    void (*store_read)(void *arg, uint32_t qid, uint64_t from_qseq, uint32_t count_max,
                       uint64_t bytes_max, slc_env_read_cb cb, void *cb_arg);
    void (*store_delivered)(void *arg, uint32_t qid, uint64_t highest_qseq);

    void (*propose)(void *arg, const slc_env_change *changes, uint32_t count,
                    void (*done)(slc_err rc, void *done_arg), void *done_arg);
} slc_env;

#endif
