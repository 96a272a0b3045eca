// Length limits, and what becomes of messages that a queue gives up. @spec amqp-semantics 13.2, 15.4
#include "core/internal.h"

enum { LIMIT_BUDGET = 2048, DROP_REJECT = 1, DROP_EXPIRED = 2, DROP_MAXLEN = 3 };

static bool over_limit(const slc_queue *q, uint64_t messages, uint64_t bytes)
{
    const slc_queue_settings *s = &q->settings;
    // Of cold messages that were found at the start the bodies are known when expiry.c has been through: until then they count
    // nothing. That is never too much, and what came since has to go (or is refused) at once.
    return messages > s->max_length || bytes - q->unsized_bytes > s->max_length_bytes;
}

bool slc_queue_refuses(const slc_queue *queue, uint64_t body_bytes)
{
    return queue->settings.limited && queue->settings.overflow != SLC_OVERFLOW_DROP_HEAD &&
           over_limit(queue, queue->ready + 1, queue->ready_bytes + body_bytes);
}

void slc_queue_limit(slc_queue *queue)
{
    if (queue->limiting || queue->deleted || queue->settings.overflow != SLC_OVERFLOW_DROP_HEAD ||
        !over_limit(queue, queue->ready, queue->ready_bytes))
        return;
    queue->limiting = true;
    if (queue->ready_consumers != NULL)
        (void)slc_queue_dispatch(queue); // what goes straight to a consumer is not too much
    for (uint32_t i = 0; over_limit(queue, queue->ready, queue->ready_bytes); i++) {
        if (i == LIMIT_BUDGET || queue->ready_consumers != NULL) {
            slc_queue_mark_dirty(queue);
            break;
        }
        bool reading;
        slc_entry *entry = slc_ready_take_victim(queue, &reading);
        if (entry == NULL)
            break; // the read that is under way makes it dirty
        slc_queue_die(queue, entry, SLC_DEATH_MAXLEN);
    }
    queue->limiting = false;
}

void slc_queue_die(slc_queue *queue, slc_entry *entry, slc_death reason)
{
    static const int drop_reasons[] = {
        [SLC_DEATH_REJECTED] = DROP_REJECT,
        [SLC_DEATH_EXPIRED] = DROP_EXPIRED,
        [SLC_DEATH_MAXLEN] = DROP_MAXLEN,
        [SLC_DEATH_DELIVERY_LIMIT] = DROP_REJECT,
    };
    if (reason == SLC_DEATH_EXPIRED)
        queue->expired++;
    else if (reason == SLC_DEATH_MAXLEN)
        queue->overflowed++;
    else if (reason == SLC_DEATH_DELIVERY_LIMIT)
        queue->undeliverable++;
    if (queue->settings.dead_letter && !queue->deleted)
        slc_dead_letter(queue, entry, reason);
    else
        slc_queue_settled(queue, entry, drop_reasons[reason]);
}
