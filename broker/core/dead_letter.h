/** Messages that a queue gives up and that its dead letter exchange gets.
 *
 *      dies ──> broker->deaths (in order) ──turn──> routed again ──> enqueued in the targets and settled in its queue:
 *                                                        │           one batch of the store, so a crash neither loses nor doubles it
 *                                                        └──no exchange, no queue, a cycle──> settled: dropped
 *
 *  Deaths wait for the turn, since a message that is routed again may push the next one out of a queue. While it waits a
 *  message belongs to no list of its queue, but to the store as before: what a stop or crash interrupts dies again.
 *  Thread: the loop. @spec amqp-semantics 14
 */
#ifndef SLC_CORE_DEAD_LETTER_H
#define SLC_CORE_DEAD_LETTER_H

#include <stdbool.h>
#include <stdint.h>

typedef struct slc_broker slc_broker;
typedef struct slc_queue slc_queue;
typedef struct slc_entry slc_entry;

typedef enum slc_death {
    SLC_DEATH_REJECTED,
    SLC_DEATH_EXPIRED,
    SLC_DEATH_MAXLEN,
    SLC_DEATH_DELIVERY_LIMIT,
} slc_death;

/** The queue->settings have a dead letter exchange; entry is out of every list of its queue. Takes entry. */
void slc_dead_letter(slc_queue *queue, slc_entry *entry, slc_death reason);
/** Work deaths off, bounded; true: there are more. */
bool slc_dead_letter_turn(slc_broker *broker);
/** The queue is about to be deleted: what died in it before goes on first. Not from within routing. */
void slc_dead_letter_leaving(slc_queue *queue);
bool slc_dead_letter_idle(const slc_broker *broker);
/** At the end: forget what waits. */
void slc_dead_letter_fini(slc_broker *broker);

#endif
