/** Everything that lives in a store: the one place of this test that knows how recovery reports and how messages are read.
 *  When the store's interface for either changes, live.c changes and nothing else here. */
#ifndef POWER_LOSS_LIVE_H
#define POWER_LOSS_LIVE_H

#include <slc/store.h>

typedef struct live_visitor {
    /** Each queue, before its messages. */
    void (*queue)(uint32_t qid, const slc_uuid *uuid, uint64_t next_qseq, void *arg);
    /** Each live message, complete, by queue and ascending qseq. data is valid during the call. */
    void (*message)(uint32_t qid, uint64_t qseq, const uint8_t *data, uint64_t bytes, void *arg);
} live_visitor;

/** Recover the store (every queue is kept) and read every message of shard 0. Runs loop, which must be the store's. A function
 *  of the visitor may be NULL; without `message` nothing is read. */
SLC_MUST_USE slc_err live_recover(slc_store *store, uv_loop_t *loop, const live_visitor *visitor,
                                  void *arg, slc_error *error);

#endif
