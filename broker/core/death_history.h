/** The x-death header: what a message remembers of its deaths.
 *
 *      x-death   array of tables, most recent first, one for each (queue, reason); count tells how often
 *      x-first-death-reason, -queue, -exchange   of the first death, never changed
 *      x-last-death-reason, -queue, -exchange    of the last
 *
 *  Pure functions over field tables; nothing is kept. Thread: any. @spec amqp-semantics 14.3, 14.4
 */
#ifndef SLC_CORE_DEATH_HISTORY_H
#define SLC_CORE_DEATH_HISTORY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"
#include "base/table.h"

/** One death; slices are borrowed. */
typedef struct slc_death_event {
    const char *reason;
    slc_slice queue;    // in which it died
    slc_slice exchange; // to which it was published before
    slc_slice key;      // with which; the keys of its CC header count too, but for key_only
    bool key_only;
    slc_slice expiration; // its property; bytes 0: none
    uint64_t time_s;
} slc_death_event;

/** Append the headers that a message has after this death to out.
 *  headers: those it had; bytes 0: none. known: their x-death is the broker's own; else it is a client's, and is left out.
 *  without_cc: the CC header goes (its keys are in the event). */
void slc_death_headers(slc_slice headers, bool known, bool without_cc, const slc_death_event *event,
                       slc_buffer *out);
/** It died in that queue before, and not been rejected since: sending it there again would go on for ever. headers: after the
 *  last death. */
bool slc_death_is_cycle(slc_slice headers, slc_slice queue);

#endif
