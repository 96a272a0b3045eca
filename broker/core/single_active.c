// A queue with x-single-active-consumer: of its consumers one takes messages, the others wait. @spec amqp-semantics 15.2
//
//      joined ──> waiting ──nobody is active, nothing drains──> active ──left, stepped down──> draining ──settled──> waiting
//                    ^ the first of queue->consumers:             │                                             or gone
//                    │ highest priority, then longest there       └── left, nothing unacked ──> gone
//
// What a former active consumer holds unacked belongs before what the next one gets; only sac.strict = false lets the next one
// begin at once. A quorum queue's consumer steps down for one of higher priority, a classic queue's never does.
#include "core/internal.h"

slc_err slc_single_active_may_get(const slc_queue *queue, slc_error *error)
{
    if (!queue->settings.quorum)
        return SLC_OK;
    char text[640];
    return slc_error_set(
        error, SLC_ELOCKED,
        "cannot obtain access to locked %s. basic.get operations are not supported by quorum "
        "queues with single active consumer",
        slc_resource_text(queue->vhost, SLC_DEST_QUEUE, queue->dest.name, text, sizeof text));
}

/** The first in line becomes the active one, unless its turn has not come. */
static void active_choose(slc_queue *queue)
{
    if (queue->deleted || queue->active_consumer != NULL || queue->active_draining > 0)
        return;
    slc_consumer *next = queue->consumers;
    while (next != NULL && next->session->closing)
        next = next->queue_next; // it is about to leave
    if (next == NULL)
        return;
    queue->active_consumer = next;
    next->waiting = false;
    slc_consumer_update(next);
}

/** The active one is it no more. */
static void active_resign(slc_consumer *consumer)
{
    slc_queue *queue = consumer->queue;
    SLC_ASSERT(queue->active_consumer == consumer);
    queue->active_consumer = NULL;
    if (consumer->unacked > 0 && !queue->broker->sac_loose) {
        consumer->draining = true;
        queue->active_draining++;
    }
}

void slc_single_active_joined(slc_consumer *consumer)
{
    slc_queue *queue = consumer->queue;
    slc_consumer *active = queue->active_consumer;
    SLC_ASSERT(consumer->waiting);
    if (active != NULL && consumer->level->priority > active->level->priority &&
        queue->settings.quorum) {
        active->waiting = true;
        slc_consumer_update(active);
        active_resign(active);
    }
    active_choose(queue);
}

void slc_single_active_left(slc_consumer *consumer)
{
    if (consumer->queue->active_consumer == consumer)
        active_resign(consumer);
    active_choose(consumer->queue);
}

void slc_single_active_drained(slc_consumer *consumer)
{
    slc_queue *queue = consumer->queue;
    SLC_ASSERT(consumer->unacked == 0);
    SLC_ASSERT(queue->active_draining > 0);
    consumer->draining = false;
    queue->active_draining--;
    active_choose(queue);
}
