/** Is an image what the store promised?
 *
 *  Good means: it opens and recovers; every message that lives can be read and is what was appended; what was reported durable
 *  before the moment is there unless a drop of it was submitted; what was dropped durably is not; the whole is the state
 *  after some number of the submitted operations, at least the durable ones, and that number does not fall inside an atomic
 *  submission (only contents larger than a hand-over may be missing in front of others, though not of each other nor in their
 *  queue); queues likewise; no position and no queue number is given twice; and the store goes on: it takes messages and drops,
 *  closes, and shows just that when opened again.
 */
#ifndef POWER_LOSS_CHECK_H
#define POWER_LOSS_CHECK_H

#include <slc/store.h>

#include "journal.h"

typedef struct check_result {
    bool bad;
    char text[400];
    uint32_t live; // messages that were found
} check_result;

/** Check the store in dir, an image of the moment, at which `durable` was the last ticket reported, and `durable_large` the last
 *  one with the mark (without it). Called in a process of its
 *  own, since LMDB may well crash on a bad image. result: shared memory; text is set when bad. */
void check_image(const char *dir, slc_store_flush_mode flush, const journal *book, uint32_t moment,
                 uint64_t durable, uint64_t durable_large, check_result *result);

#endif
