/** Messages that a queue gives up. Thread: the loop. @spec amqp-semantics 14 */
#ifndef SLC_CORE_DEAD_LETTER_H
#define SLC_CORE_DEAD_LETTER_H

typedef struct slc_queue slc_queue;
typedef struct slc_entry slc_entry;

typedef enum slc_death {
    SLC_DEATH_REJECTED,
    SLC_DEATH_EXPIRED,
    SLC_DEATH_MAXLEN,
    SLC_DEATH_DELIVERY_LIMIT,
} slc_death;

/** entry is out of every list of its queue; its message goes to the dead letter exchange of the queue's settings and the
 *  entry is settled. Takes entry. */
void slc_dead_letter(slc_queue *queue, slc_entry *entry, slc_death reason);

#endif
