#include "core/dead_letter.h"

#include "core/internal.h"

void slc_dead_letter(slc_queue *queue, slc_entry *entry, slc_death reason)
{
    // Until messages are routed again from here, one that dies is dropped: as for a dead letter exchange that is not there.
    slc_queue_settled(queue, entry,
                      reason == SLC_DEATH_EXPIRED  ? 2
                      : reason == SLC_DEATH_MAXLEN ? 3
                                                   : 1);
}
