/** The load that is recorded: messages of all sizes, drops, atomic submissions, queues that come and go, jobs that follow each
 *  other and pauses between them, a clean stop and a start. */
#ifndef POWER_LOSS_WORKLOAD_H
#define POWER_LOSS_WORKLOAD_H

#include <slc/store.h>

#include "journal.h"
#include "tape.h"

/** Run it on a new store in dir, recording to t and j. Called in a process of its own, which ends here: status 0, or another one
 *  after a line on standard error. */
_Noreturn void workload_run(const char *dir, slc_store_flush_mode flush, uint64_t seed, tape *t,
                            journal *j);

/** Room for the data file; the same for who opens the images. */
#define WORKLOAD_MAP_BYTES (64ull << 20)
#define WORKLOAD_LOG_BYTES 150000 // most of what lives moves to segments

#endif
