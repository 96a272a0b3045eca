// Delayed retry: what a consumer gave back waits before it is ready again, the longer the more often that happened. Meanwhile it
// counts as unacknowledged: it is with nobody, but no purge may take it either. After a start it is ready at once. @spec
// amqp-semantics 15.4
#include "core/internal.h"

enum { TURN_BUDGET = 1024 };

struct slc_retry {
    slc_due due;      // first; in broker->retries
    slc_queue *queue; // held
    slc_entry *entry;
    slc_retry *prev, *next; // of queue->retries
};

static uint64_t delay_of(const slc_queue_settings *s, const slc_entry *entry, bool counted)
{
    if (s->retry == SLC_RETRY_NONE || (s->retry == SLC_RETRY_FAILED && !counted) ||
        (s->retry == SLC_RETRY_RETURNED && counted))
        return 0;
    uint64_t count = slc_entry_returns(entry);
    if (count == 0)
        count = 1; // a return that does not count is one all the same
    return s->retry_min_ms > s->retry_max_ms / count ? s->retry_max_ms : s->retry_min_ms * count;
}

bool slc_retry_later(slc_queue *queue, slc_entry *entry, bool counted)
{
    slc_broker *broker = queue->broker;
    uint64_t delay_ms = delay_of(&queue->settings, entry, counted);
    if (delay_ms == 0)
        return false;
    slc_retry *r = slc_alloc_zero(1, sizeof *r);
    r->queue = queue;
    r->entry = entry;
    slc_queue_hold(queue);
    queue->unacked++;
    queue->unacked_bytes += entry->body_bytes;
    broker->totals.unacked++;
    DL_APPEND(queue->retries, r);
    slc_due_insert(&broker->retries, &r->due, broker->env.wall_ms(broker->env.arg) + delay_ms,
                   entry->qseq);
    return true;
}

/** It waits no more; the entry is the caller's. */
static slc_entry *retry_end(slc_retry *r)
{
    slc_queue *queue = r->queue;
    slc_entry *entry = r->entry;
    slc_due_remove(&queue->broker->retries, &r->due);
    DL_DELETE(queue->retries, r);
    queue->unacked--;
    queue->unacked_bytes -= entry->body_bytes;
    queue->broker->totals.unacked--;
    slc_free(r);
    return entry;
}

bool slc_retry_turn(slc_broker *broker)
{
    uint64_t now = broker->env.wall_ms(broker->env.arg);
    slc_due *first;
    for (uint32_t budget = TURN_BUDGET;
         (first = slc_due_first(&broker->retries)) != NULL && first->when <= now; budget--) {
        if (budget == 0)
            return true;
        slc_retry *r = (slc_retry *)(void *)first;
        slc_queue *queue = r->queue;
        slc_queue_requeue(queue, retry_end(r));
        if (queue->settings.limited)
            slc_queue_limit(queue);
        slc_queue_release(queue);
    }
    return false;
}

void slc_retry_forget(slc_queue *queue)
{
    while (queue->retries != NULL) {
        slc_queue_settled(queue, retry_end(queue->retries), 4 /* purge */);
        slc_queue_release(queue);
    }
}
