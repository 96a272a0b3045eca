#include "core/internal.h"

slc_consumer *slc_consumer_new(slc_session *session, slc_queue *queue, slc_slice tag,
                               const slc_consume *consume)
{
    slc_consumer *c = slc_alloc_zero(1, sizeof *c);
    c->session = session;
    c->queue = queue;
    c->tag = slc_slice_copy(tag);
    c->arguments = slc_slice_copy(consume->arguments);
    c->no_ack = consume->no_ack;
    c->exclusive = consume->exclusive;
    c->prefetch = session->prefetch;
    HASH_ADD_KEYPTR(hh, session->consumers, c->tag.data, c->tag.bytes, c);
    DL_APPEND2(queue->consumers, c, queue_prev, queue_next);
    queue->consumer_count++;
    session->broker->totals.consumers++;
    if (c->exclusive)
        queue->exclusive_consumer = c;
    slc_consumer_update(c);
    return c;
}

static void consumer_leave_ready(slc_consumer *c)
{
    if (!c->ready)
        return;
    c->ready = false;
    DL_DELETE2(c->queue->ready_consumers, c, ready_prev, ready_next);
    c->queue->ready_consumer_count--;
}

static void consumer_end(slc_consumer *c)
{
    slc_free((void *)c->tag.data);
    slc_free((void *)c->arguments.data);
    slc_free(c);
}

void slc_consumer_free(slc_consumer *consumer)
{
    slc_queue *queue = consumer->queue;
    slc_session *session = consumer->session;
    consumer_leave_ready(consumer);
    DL_DELETE2(queue->consumers, consumer, queue_prev, queue_next);
    queue->consumer_count--;
    session->broker->totals.consumers--;
    if (queue->exclusive_consumer == consumer)
        queue->exclusive_consumer = NULL;
    HASH_DELETE(hh, session->consumers, consumer);
    // Its deliveries stay with the session and count for the session's limit, as in RabbitMQ. They point here, so it stays
    // until they are settled: looking for them now would cost all that the session holds.
    consumer->gone = true;
    if (consumer->unacked == 0)
        consumer_end(consumer);
}

void slc_consumer_settled(slc_consumer *consumer)
{
    if (--consumer->unacked == 0 && consumer->gone)
        consumer_end(consumer);
}

static bool consumer_can_take(const slc_consumer *c)
{
    const slc_session *s = c->session;
    if (!s->writable || s->closing)
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
    DL_APPEND2(queue->ready_consumers, consumer, ready_prev, ready_next);
    queue->ready_consumer_count++;
    if (queue->ready > 0)
        slc_queue_mark_dirty(queue);
}

/** It was just served: the next one in turn goes first. */
static void consumer_rotate(slc_consumer *c)
{
    slc_queue *queue = c->queue;
    if (queue->ready_consumers == c && c->ready_next != NULL) {
        DL_DELETE2(queue->ready_consumers, c, ready_prev, ready_next);
        DL_APPEND2(queue->ready_consumers, c, ready_prev, ready_next);
    }
}

static void consumer_counted(slc_consumer *c)
{
    c->queue->delivered++;
    c->session->broker->totals.delivered++;
}

void slc_consumer_pass(slc_consumer *consumer, slc_message *message)
{
    slc_session *session = consumer->session;
    consumer_rotate(consumer);
    consumer_counted(consumer);
    session->ops->deliver(session, consumer, ++session->last_tag, false, message);
}

void slc_consumer_deliver(slc_consumer *consumer, slc_entry *entry)
{
    slc_session *session = consumer->session;
    slc_queue *queue = consumer->queue;
    uint64_t tag = ++session->last_tag;
    bool redelivered = (entry->flags & SLC_ENTRY_DELIVERED) != 0;
    if (redelivered) {
        queue->redelivered++;
        session->broker->totals.redelivered++;
    }
    if (entry->qseq > queue->delivered_qseq)
        queue->delivered_qseq = entry->qseq;
    consumer_rotate(consumer);
    consumer_counted(consumer);
    if (consumer->no_ack) {
        session->ops->deliver(session, consumer, tag, redelivered, entry->message);
        slc_queue_settled(queue, entry, 0 /* ack */);
        return;
    }
    consumer->unacked++;
    session->global_unacked++;
    queue->unacked++;
    queue->unacked_bytes += entry->body_bytes;
    session->broker->totals.unacked++;
    slc_queue_hold(queue);
    slc_unacked_push(&session->unacked, (slc_unacked){tag, entry, queue, consumer});
    if (session->global_prefetch != 0 && session->global_unacked >= session->global_prefetch) {
        // Whoever took the last place is the last to be offered the next one.
        HASH_DELETE(hh, session->consumers, consumer);
        HASH_ADD_KEYPTR(hh, session->consumers, consumer->tag.data, consumer->tag.bytes, consumer);
        slc_consumer *other, *next;
        HASH_ITER(hh, session->consumers, other, next) slc_consumer_update(other);
    } else {
        slc_consumer_update(consumer);
    }
    session->ops->deliver(session, consumer, tag, redelivered, entry->message);
}

slc_slice slc_consumer_tag(const slc_consumer *consumer)
{
    return consumer->tag;
}
