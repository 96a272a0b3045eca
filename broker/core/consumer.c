// Consumers of a queue. Whoever can take a message stands in queue->ready_consumers, highest priority first, among equals
// next in turn first:
//
//      ready_consumers   a ─ b ─ c ─ d ─ e ─ f        a is served and goes behind c, the last ready one of its level;
//      levels            10: last c   0: last e   -1: last f      the place of a level is behind the last ready one above it
//
// So it costs the same whether there are priorities or not, but for the levels that are passed without a ready consumer.
// @spec amqp-semantics 12.1, 12.2
#include <math.h>

#include "core/event.h"
#include "core/internal.h"
#include "core/properties.h"
#include "core/trace.h"

/* ---- levels ---- */

/** The level of this priority, made when there is none. */
static slc_consumer_level *level_ensure(slc_queue *queue, int64_t priority)
{
    slc_consumer_level *level, *above = NULL;
    DL_FOREACH(queue->levels, level)
    {
        if (level->priority == priority)
            return level;
        if (level->priority < priority)
            break;
        above = level;
    }
    level = slc_alloc_zero(1, sizeof *level);
    level->priority = priority;
    DL_APPEND_ELEM(queue->levels, above, level);
    return level;
}

static void level_release(slc_queue *queue, slc_consumer_level *level)
{
    SLC_ASSERT(level->consumers > 0);
    if (--level->consumers > 0)
        return;
    SLC_ASSERT(level->last_ready == NULL);
    DL_DELETE(queue->levels, level);
    slc_free(level);
}

/** Last among the ready ones of its level. */
static void ready_enter(slc_consumer *c)
{
    slc_queue *queue = c->queue;
    slc_consumer_level *level = c->level;
    while (level->last_ready == NULL && level != queue->levels)
        level = level->prev;
    slc_consumer *behind = level->last_ready; // NULL: nobody is ready at its level or above
    DL_APPEND_ELEM2(queue->ready_consumers, behind, c, ready_prev, ready_next);
    c->level->last_ready = c;
}

static void ready_leave(slc_consumer *c)
{
    slc_queue *queue = c->queue;
    if (c->level->last_ready == c) {
        bool alone = c == queue->ready_consumers || c->ready_prev->level != c->level;
        c->level->last_ready = alone ? NULL : c->ready_prev;
    }
    DL_DELETE2(queue->ready_consumers, c, ready_prev, ready_next);
}

/* ---- capacity: the share of the time in which the queue was not kept waiting ----
 *
 *      fed ──something is ready and nobody can take it──> starved ──a consumer can──> fed
 *
 *  A queue without messages keeps nobody waiting, whatever its consumers do: it stays fed, as in RabbitMQ. The average forgets: what
 *  was a second ago counts half. Times are those of the loop's turns; many changes in one turn cost no more than counting does. */

enum { CAPACITY_HALF_LIFE_MS = 1000 };

static uint64_t wall_ms(const slc_queue *queue)
{
    return queue->broker->env.wall_ms(queue->broker->env.arg);
}

static uint64_t elapsed_ms(uint64_t from_ms, uint64_t to_ms)
{
    return to_ms > from_ms ? to_ms - from_ms : 0; // the clock may be set
}

static double capacity_average(double before, uint64_t fed_ms, uint64_t starved_ms)
{
    uint64_t total_ms = fed_ms + starved_ms;
    if (total_ms == 0)
        return before;
    double weight = exp2(-(double)total_ms / CAPACITY_HALF_LIFE_MS);
    return (double)fed_ms / (double)total_ms * (1 - weight) + before * weight;
}

void slc_consumers_missed(slc_queue *queue)
{
    slc_consumer_use *use = &queue->use;
    if (queue->starved)
        return;
    uint64_t now_ms = wall_ms(queue);
    use->fed_ms = elapsed_ms(use->since_ms, now_ms);
    use->since_ms = now_ms;
    queue->starved = true;
}

static void consumers_back(slc_queue *queue)
{
    slc_consumer_use *use = &queue->use;
    if (!queue->starved)
        return;
    uint64_t now_ms = wall_ms(queue);
    use->average = capacity_average(use->average, use->fed_ms, elapsed_ms(use->since_ms, now_ms));
    use->since_ms = now_ms;
    queue->starved = false;
}

double slc_consumer_capacity(const slc_queue *queue)
{
    const slc_consumer_use *use = &queue->use;
    if (queue->consumers == NULL)
        return 0;
    uint64_t lasts_ms = elapsed_ms(use->since_ms, wall_ms(queue));
    return queue->starved ? capacity_average(use->average, use->fed_ms, lasts_ms)
                          : capacity_average(use->average, lasts_ms, 0);
}

/* ---- life ---- */

static int64_t priority_asked(slc_slice arguments)
{
    slc_value value;
    return slc_table_find(arguments, slc_slice_str("x-priority"), &value) ? value.integer : 0;
}

/** Among the queue's, in order of coming; where one is the active one, highest priority first. */
static void queue_link(slc_queue *queue, slc_consumer *c)
{
    slc_consumer *last = queue->consumers != NULL ? queue->consumers->queue_prev : NULL;
    while (queue->settings.single_active && last != NULL &&
           last->level->priority < c->level->priority)
        last = last != queue->consumers ? last->queue_prev : NULL;
    DL_APPEND_ELEM2(queue->consumers, last, c, queue_prev, queue_next);
    queue->consumer_count++;
}

slc_consumer *slc_consumer_new(slc_session *session, slc_queue *queue, slc_slice tag,
                               const slc_consume *consume)
{
    slc_consumer *c = slc_alloc_lines(sizeof *c);
    c->session = session;
    c->queue = queue;
    c->tag = slc_name_keep(tag, c->tag_here, sizeof c->tag_here);
    c->arguments = slc_slice_copy(consume->arguments);
    c->no_ack = consume->no_ack;
    c->exclusive = consume->exclusive;
    c->prefetch = session->prefetch;
    HASH_ADD_KEYPTR(hh, session->consumers, c->tag.data, c->tag.bytes, c);
    c->level = level_ensure(queue, priority_asked(c->arguments));
    c->level->consumers++;
    queue_link(queue, c);
    slc_queue_used(queue);
    session->broker->totals.consumers++;
    if (c->exclusive)
        queue->exclusive_consumer = c;
    slc_ack_timeout_joined(c);
    c->waiting = queue->settings.single_active;
    if (queue->settings.single_active)
        slc_single_active_joined(c);
    else
        slc_consumer_update(c);
    slc_event_consumer(c, true);
    return c;
}

static void consumer_leave_ready(slc_consumer *c)
{
    if (!c->ready)
        return;
    c->ready = false;
    ready_leave(c);
    if (--c->queue->ready_consumer_count == 0 && c->queue->ready > 0)
        slc_consumers_missed(c->queue);
}

static void consumer_end(slc_consumer *c)
{
    slc_name_drop(c->tag, c->tag_here);
    slc_free((void *)c->arguments.data);
    slc_free(c);
}

void slc_consumer_free(slc_consumer *consumer)
{
    slc_queue *queue = consumer->queue;
    slc_session *session = consumer->session;
    slc_event_consumer(consumer, false);
    consumer_leave_ready(consumer);
    DL_DELETE2(queue->consumers, consumer, queue_prev, queue_next);
    queue->consumer_count--;
    slc_queue_used(queue);
    session->broker->totals.consumers--;
    if (queue->exclusive_consumer == consumer)
        queue->exclusive_consumer = NULL;
    HASH_DELETE(hh, session->consumers, consumer);
    level_release(queue, consumer->level);
    consumer->level = NULL;
    if (queue->settings.single_active)
        slc_single_active_left(consumer);
    // Its deliveries stay with the session and count for the session's limit, as in RabbitMQ. They point here, so it stays
    // until they are settled: looking for them now would cost all that the session holds.
    consumer->gone = true;
    if (consumer->unacked == 0)
        consumer_end(consumer);
}

void slc_consumer_settled(slc_consumer *consumer)
{
    if (--consumer->unacked > 0)
        return;
    if (consumer->draining)
        slc_single_active_drained(consumer);
    if (consumer->gone)
        consumer_end(consumer);
}

static bool consumer_can_take(const slc_consumer *c)
{
    const slc_session *s = c->session;
    if (!s->writable || s->closing || c->waiting)
        return false;
    // A session without room takes nothing at all, as in RabbitMQ; but what needs no ack takes no room.
    if (s->global_prefetch != 0 && s->global_unacked >= s->global_prefetch)
        return false;
    return c->no_ack || c->prefetch == 0 || c->unacked < c->prefetch;
}

void slc_consumer_update(slc_consumer *consumer)
{
    bool can = consumer_can_take(consumer);
    if (can == consumer->ready)
        return;
    if (!can) {
        consumer_leave_ready(consumer);
        return;
    }
    slc_queue *queue = consumer->queue;
    consumer->ready = true;
    ready_enter(consumer);
    queue->ready_consumer_count++;
    consumers_back(queue);
    if (queue->ready > 0)
        slc_queue_mark_dirty(queue);
}

/** It was just served: the next one in turn goes first. */
static void consumer_rotate(slc_consumer *c)
{
    slc_queue *queue = c->queue;
    slc_consumer *last = c->level->last_ready;
    if (queue->ready_consumers == c && last != c) {
        DL_DELETE2(queue->ready_consumers, c, ready_prev, ready_next);
        DL_APPEND_ELEM2(queue->ready_consumers, last, c, ready_prev, ready_next);
        c->level->last_ready = c;
    }
}

static void consumer_counted(slc_consumer *c)
{
    if (c->no_ack) {
        c->queue->stats.delivered_no_ack++;
        SLC_COUNT(c->session, delivered_no_ack);
    } else {
        c->queue->stats.delivered++;
        SLC_COUNT(c->session, delivered);
    }
}

void slc_consumer_pass(slc_consumer *consumer, slc_message *message)
{
    slc_session *session = consumer->session;
    consumer->queue->active_ms = message->ts_ms;
    consumer_rotate(consumer);
    consumer_counted(consumer);
    if (slc_tracing(session->broker))
        slc_trace_deliver(session, consumer->queue, message, false);
    session->ops->deliver(session, consumer, ++session->last_tag, false, message);
}

static void consumer_hand_over(slc_consumer *consumer, uint64_t tag, bool redelivered,
                               const slc_entry *entry)
{
    slc_session *session = consumer->session;
    if (slc_entry_returns(entry) == 0) {
        session->ops->deliver(session, consumer, tag, redelivered, entry->message);
        return;
    }
    slc_message *counted = slc_message_counted(entry->message, slc_entry_returns(entry));
    session->ops->deliver(session, consumer, tag, redelivered, counted);
    slc_message_unref(counted);
}

void slc_consumer_deliver(slc_consumer *consumer, slc_entry *entry)
{
    slc_session *session = consumer->session;
    slc_queue *queue = consumer->queue;
    uint64_t tag = ++session->last_tag;
    bool redelivered = (entry->flags & SLC_ENTRY_DELIVERED) != 0;
    if (redelivered) {
        queue->stats.redelivered++;
        SLC_COUNT(session, redelivered);
    }
    slc_lane *lane = slc_lane_of(queue, entry);
    if (entry->qseq > lane->delivered_qseq)
        lane->delivered_qseq = entry->qseq;
    consumer_rotate(consumer);
    consumer_counted(consumer);
    if (slc_tracing(session->broker))
        slc_trace_deliver(session, queue, entry->message, redelivered);
    if (consumer->no_ack) {
        consumer_hand_over(consumer, tag, redelivered, entry);
        slc_queue_settled(queue, entry, 0 /* ack */);
        return;
    }
    consumer->unacked++;
    session->global_unacked++;
    queue->unacked++;
    queue->unacked_bytes += entry->body_bytes;
    session->broker->totals.unacked++;
    slc_queue_hold(queue);
    uint64_t due_ms =
        consumer->ack_timeout_ms == 0 ? 0 : slc_ack_timeout_due(session, consumer->ack_timeout_ms);
    slc_unacked_push(&session->unacked, (slc_unacked){tag, entry, queue, consumer, due_ms});
    if (session->global_prefetch != 0 && session->global_unacked >= session->global_prefetch) {
        // Whoever took the last place is the last to be offered the next one.
        HASH_DELETE(hh, session->consumers, consumer);
        HASH_ADD_KEYPTR(hh, session->consumers, consumer->tag.data, consumer->tag.bytes, consumer);
        slc_consumer *other, *next;
        HASH_ITER(hh, session->consumers, other, next) slc_consumer_update(other);
    } else {
        slc_consumer_update(consumer);
    }
    consumer_hand_over(consumer, tag, redelivered, entry);
}

slc_slice slc_consumer_tag(const slc_consumer *consumer)
{
    return consumer->tag;
}
