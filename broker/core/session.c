#include "core/event.h"
#include "core/internal.h"
#include "core/permission.h"
#include "core/properties.h"
#include "core/trace.h"

#include <inttypes.h>

/* ---- handles ---- */

static void handle_take(slc_session *s)
{
    slc_broker *broker = s->broker;
    uint32_t index = 0;
    // At most half of the slots are taken, so that the way past those that are is short on average. It grows with the
    // sessions that are open, not with those that ever were.
    if (2 * (broker->totals.sessions + 1) <= broker->session_capacity) {
        for (uint32_t i = 0; i < broker->session_capacity && index == 0; i++) {
            uint32_t at = 1 + (broker->session_free + i) % (broker->session_capacity - 1);
            if (broker->sessions[at] == NULL)
                index = at;
        }
    }
    if (index == 0) {
        index = broker->session_capacity == 0 ? 1 : broker->session_capacity;
        uint32_t capacity = broker->session_capacity == 0 ? 64 : 2 * broker->session_capacity;
        broker->sessions = slc_realloc(broker->sessions, capacity * sizeof *broker->sessions);
        broker->session_generation =
            slc_realloc(broker->session_generation, capacity * sizeof *broker->session_generation);
        for (uint32_t i = broker->session_capacity; i < capacity; i++) {
            broker->sessions[i] = NULL;
            broker->session_generation[i] = 0;
        }
        broker->session_capacity = capacity;
    }
    broker->session_free = index; // the search goes on behind it
    broker->sessions[index] = s;
    s->handle = (uint64_t)++broker->session_generation[index] << 32 | index;
}

slc_session *slc_session_open(slc_client *client, uint16_t number, const slc_session_ops *ops,
                              void *arg)
{
    slc_session *s = slc_alloc_zero(1, sizeof *s);
    s->broker = client->broker;
    s->client = client;
    s->number = number;
    s->ops = ops;
    s->arg = arg;
    s->writable = true;
    s->prefetch = client->broker->default_prefetch;
    handle_take(s);
    DL_APPEND(client->sessions, s);
    client->session_count++;
    s->broker->hidden_sessions += client->hidden;
    s->broker->totals.sessions++;
    s->broker->totals.sessions_opened += !client->hidden;
    s->active_ms = s->broker->env.wall_ms(s->broker->env.arg);
    slc_event_session(s, true);
    return s;
}

void *slc_session_arg(const slc_session *session)
{
    return session->arg;
}

uint16_t slc_session_number(const slc_session *session)
{
    return session->number;
}

slc_client *slc_session_client(const slc_session *session)
{
    return session->client;
}

/* ---- waiting ---- */

slc_err slc_session_wait(slc_session *session, slc_wait wait)
{
    SLC_ASSERT(session->wait == SLC_WAIT_NONE);
    SLC_ASSERT(wait != SLC_WAIT_NONE);
    session->wait = wait;
    DL_APPEND2(session->broker->waiting, session, wait_prev, wait_next);
    return SLC_EPENDING;
}

static void session_stop_waiting(slc_session *s)
{
    if (s->wait == SLC_WAIT_NONE)
        return;
    s->wait = SLC_WAIT_NONE;
    DL_DELETE2(s->broker->waiting, s, wait_prev, wait_next);
    if (s->wait_queue != NULL) {
        slc_queue_release(s->wait_queue);
        s->wait_queue = NULL;
    }
}

bool slc_session_finished(slc_session *session, slc_err *rc, uint64_t *result)
{
    if (!session->op_finished)
        return false;
    session->op_finished = false;
    *rc = session->op_rc;
    if (result != NULL)
        *result = session->op_result;
    return true;
}

static bool session_may_resume(const slc_session *s)
{
    switch (s->wait) {
    case SLC_WAIT_OP:
        return s->op_finished;
    case SLC_WAIT_CONFLICT:
        return true; // it looks again
    case SLC_WAIT_READ:
        return s->wait_queue == NULL || slc_queue_next(s->wait_queue) != SLC_NEXT_READING;
    case SLC_WAIT_TICKET:
        return s->wait_ticket <= s->broker->durable_ticket;
    case SLC_WAIT_NONE:
        break;
    }
    return false;
}

void slc_session_resume_ready(slc_broker *broker)
{
    uint32_t count = 0;
    slc_session *s;
    DL_COUNT2(broker->waiting, s, count, wait_next);
    // Resuming runs the front end, which may make any session wait, open or close: always take the head.
    for (; count > 0 && broker->waiting != NULL; count--) {
        s = broker->waiting;
        if (session_may_resume(s)) {
            session_stop_waiting(s);
            s->ops->resume(s);
        } else {
            DL_DELETE2(broker->waiting, s, wait_prev, wait_next);
            DL_APPEND2(broker->waiting, s, wait_prev, wait_next);
        }
    }
}

/* ---- settling ---- */

void slc_session_credit_back(slc_session *session, slc_consumer *consumer)
{
    bool was_full =
        session->global_prefetch != 0 && session->global_unacked >= session->global_prefetch;
    bool gone = consumer->gone;
    session->global_unacked--;
    slc_consumer_settled(consumer); // may free it when it is gone
    if (was_full) {
        slc_consumer *other, *next;
        HASH_ITER(hh, session->consumers, other, next) slc_consumer_update(other);
    } else if (!gone && !consumer->ready) {
        slc_consumer_update(consumer);
    }
}

void slc_settle_one(slc_session *session, const slc_unacked *item, slc_settle how)
{
    slc_queue *queue = item->queue;
    slc_entry *entry = item->entry;
    queue->unacked--;
    queue->unacked_bytes -= entry->body_bytes;
    session->broker->totals.unacked--;
    bool back = (how == SLC_SETTLE_REQUEUE || how == SLC_SETTLE_NACK) && !queue->deleted;
    bool counted = how == SLC_SETTLE_REQUEUE || !session->broker->nack_uncounted;
    if (back) {
        slc_queue_returned(queue, entry, counted);
    } else {
        if (how == SLC_SETTLE_ACK) {
            queue->stats.acked++;
            SLC_COUNT(session, acked);
        }
        if (how == SLC_SETTLE_REJECT)
            slc_queue_die(queue, entry, SLC_DEATH_REJECTED);
        else
            slc_queue_settled(queue, entry, how == SLC_SETTLE_ACK ? 0 : 1);
    }
    if (item->consumer != NULL)
        slc_session_credit_back(session, item->consumer);
    slc_queue_release(queue);
}

static void session_settle_item(slc_session *s, slc_unacked *item, slc_settle how)
{
    slc_unacked copy = *item;
    slc_unacked_clear(&s->unacked, item);
    copy.queue->active_ms = s->active_ms;
    if (s->tx != NULL)
        slc_tx_settle(s, &copy, how);
    else
        slc_settle_one(s, &copy, how);
}

slc_err slc_session_settle(slc_session *session, uint64_t tag, bool multiple, slc_settle how,
                           slc_error *error)
{
    slc_unacked_ring *ring = &session->unacked;
    session->active_ms = session->broker->env.wall_ms(session->broker->env.arg);
    if (multiple && tag == 0) {
        while (ring->count > 0)
            session_settle_item(session, slc_unacked_at(ring, 0), how);
        return SLC_OK;
    }
    slc_unacked *item = slc_unacked_find(ring, tag);
    if (item == NULL && !slc_ack_timeout_expired(session, tag))
        return slc_error_set(error, SLC_EPRECONDITION, "unknown delivery tag %" PRIu64, tag);
    if (!multiple && item == NULL)
        return SLC_OK;
    if (!multiple) {
        session_settle_item(session, item, how);
        return SLC_OK;
    }
    while (ring->count > 0) {
        item = slc_unacked_at(ring, 0);
        if (item->tag > tag)
            break;
        session_settle_item(session, item, how);
    }
    return SLC_OK;
}

static void session_requeue_all(slc_session *s)
{
    slc_unacked_ring *ring = &s->unacked;
    while (ring->count > 0) {
        slc_unacked item = *slc_unacked_at(ring, 0);
        slc_unacked_clear(ring, slc_unacked_at(ring, 0));
        slc_settle_one(s, &item, SLC_SETTLE_REQUEUE);
    }
}

void slc_session_recover(slc_session *session)
{
    session_requeue_all(session);
}

/* ---- consuming ---- */

void slc_session_qos(slc_session *session, uint16_t prefetch_count, bool global)
{
    slc_consumer *consumer, *next;
    if (global) {
        session->global_prefetch = prefetch_count;
    } else {
        session->prefetch = prefetch_count;
        session->global_prefetch = 0;
    }
    HASH_ITER(hh, session->consumers, consumer, next) slc_consumer_update(consumer);
}

void slc_session_writable(slc_session *session, bool writable)
{
    if (session->writable == writable)
        return;
    session->writable = writable;
    if (writable)
        session->client->reply_bytes = 0;
    slc_consumer *consumer, *next;
    HASH_ITER(hh, session->consumers, consumer, next) slc_consumer_update(consumer);
}

/** The queue named, or declared last; 404 and 405 as in amqp-semantics 9.4. */
static slc_err session_queue(slc_session *s, slc_slice name, slc_queue **out, slc_error *error)
{
    char text[640];
    if (name.bytes == 0) {
        if (s->last_queue.bytes == 0)
            return slc_error_set(error, SLC_ENOTFOUND, "no previously declared queue");
        name = s->last_queue;
    }
    slc_vhost *vhost = s->client->vhost;
    slc_err rc = slc_session_may(s, SLC_ACCESS_READ, SLC_DEST_QUEUE, name, error);
    if (rc != SLC_OK)
        return rc;
    slc_queue *queue = slc_vhost_queue(vhost, name);
    slc_resource_text(vhost, SLC_DEST_QUEUE, name, text, sizeof text);
    if (queue == NULL)
        return slc_error_set(error, SLC_ENOTFOUND, "no %s", text);
    if (queue->owner != NULL && queue->owner != s->client)
        return slc_error_set(
            error, SLC_ELOCKED,
            "cannot obtain exclusive access to locked %s. It could be originally declared on "
            "another "
            "connection or the exclusive property value does not match that of the original "
            "declaration.",
            text);
    *out = queue;
    return SLC_OK;
}

static slc_err consume_replies(slc_session *session, const slc_consume *consume,
                               const slc_consumer **out, slc_error *error)
{
    slc_slice tag =
        consume->tag.bytes > 0 ? consume->tag : slc_generated_name(session->broker, "amq.ctag-");
    slc_err rc = slc_reply_to_consume(session, tag, consume->no_ack, out, error);
    if (consume->tag.bytes == 0)
        slc_free((void *)tag.data);
    return rc;
}

slc_err slc_session_consume(slc_session *session, const slc_consume *consume,
                            const slc_consumer **out, slc_error *error)
{
    if (consume->queue.bytes == 0 && session->last_queue.bytes == 0)
        return slc_error_set(error, SLC_ENOTFOUND, "no previously declared queue");
    slc_consumer *consumer = NULL;
    if (consume->tag.bytes > 0)
        HASH_FIND(hh, session->consumers, consume->tag.data, consume->tag.bytes, consumer);
    if (consumer != NULL || slc_reply_to_has_tag(session, consume->tag))
        return slc_error_set(error, SLC_ENOTALLOWED, "attempt to reuse consumer tag '%.*s'",
                             SLC_SLICE_FMT(consume->tag));
    uint32_t consumers_max = session->broker->session_consumers_max;
    if (consumers_max != 0 && HASH_COUNT(session->consumers) >= consumers_max)
        return slc_error_set(error, SLC_ENOTALLOWED,
                             "reached maximum (%" PRIu32 ") of consumers per channel",
                             consumers_max);
    if (slc_slice_is(consume->queue, SLC_REPLY_TO))
        return consume_replies(session, consume, out, error);
    slc_queue *queue;
    slc_err rc = session_queue(session, consume->queue, &queue, error);
    if (rc != SLC_OK)
        return rc;
    slc_vhost *vhost = session->client->vhost;
    rc = slc_check_consume_arguments(vhost, queue->dest.name, consume->arguments, error);
    if (rc != SLC_OK)
        return rc;
    if (queue->exclusive_consumer != NULL ||
        (consume->exclusive && (queue->consumers != NULL || queue->settings.single_active))) {
        char text[640];
        return slc_error_set(
            error, SLC_EACCESS, "%s in exclusive use",
            slc_resource_text(vhost, SLC_DEST_QUEUE, queue->dest.name, text, sizeof text));
    }
    slc_slice tag =
        consume->tag.bytes > 0 ? consume->tag : slc_generated_name(session->broker, "amq.ctag-");
    *out = slc_consumer_new(session, queue, tag, consume);
    if (consume->tag.bytes == 0)
        slc_free((void *)tag.data);
    queue->active_ms = session->broker->env.wall_ms(session->broker->env.arg);
    return SLC_OK;
}

slc_err slc_session_cancel(slc_session *session, slc_slice tag, slc_error *error)
{
    slc_err rc;
    if (slc_session_finished(session, &rc, NULL))
        return SLC_OK; // whether the queue could be deleted or not, the consumer is gone
    (void)error;
    if (slc_reply_to_cancel(session, tag))
        return SLC_OK;
    slc_consumer *consumer;
    HASH_FIND(hh, session->consumers, tag.data, tag.bytes, consumer);
    if (consumer == NULL)
        return SLC_OK;
    slc_queue *queue = consumer->queue;
    // Credit that came in the same read as this cancel is used first, as in RabbitMQ: it was there before.
    if (queue->dirty)
        (void)slc_queue_dispatch(queue); // what is left keeps the queue dirty
    slc_queue_hold(queue);
    slc_consumer_free(consumer);
    slc_op *op = slc_queue_consumer_gone(queue, session);
    slc_queue_release(queue);
    return op != NULL ? slc_session_wait(session, SLC_WAIT_OP) : SLC_OK;
}

slc_err slc_session_get(slc_session *session, slc_slice name, bool no_ack, slc_got *out,
                        slc_error *error)
{
    slc_queue *queue;
    slc_err rc = session_queue(session, name, &queue, error);
    if (rc != SLC_OK)
        return rc;
    if (queue->settings.single_active) {
        rc = slc_single_active_may_get(queue, error);
        if (rc != SLC_OK)
            return rc;
    }
    bool reading;
    slc_entry *entry = slc_queue_take(queue, &reading);
    if (entry == NULL && reading) {
        if (slc_queue_next(queue) == SLC_NEXT_DAMAGED) {
            char text[640];
            return slc_error_set(error, SLC_EINTERNAL,
                                 "the next message of %s cannot be read from the store",
                                 slc_resource_text(queue->vhost, SLC_DEST_QUEUE, queue->dest.name,
                                                   text, sizeof text));
        }
        slc_queue_hold(queue);
        session->wait_queue = queue;
        return slc_session_wait(session, SLC_WAIT_READ);
    }
    queue->active_ms = session->broker->env.wall_ms(session->broker->env.arg);
    slc_queue_used(queue);
    *out = (slc_got){0};
    session->active_ms = queue->active_ms;
    if (entry == NULL) {
        queue->stats.got_empty++;
        SLC_COUNT(session, got_empty);
        return SLC_OK;
    }
    out->message = slc_entry_returns(entry) == 0
                       ? slc_message_ref(entry->message)
                       : slc_message_counted(entry->message, slc_entry_returns(entry));
    out->delivery_tag = ++session->last_tag;
    out->redelivered = (entry->flags & SLC_ENTRY_DELIVERED) != 0;
    if (out->redelivered) {
        queue->stats.redelivered++;
        SLC_COUNT(session, redelivered);
    }
    out->ready = (uint32_t)queue->ready;
    if (no_ack) {
        queue->stats.got_no_ack++;
        SLC_COUNT(session, got_no_ack);
    } else {
        queue->stats.got++;
        SLC_COUNT(session, got);
    }
    if (slc_tracing(session->broker))
        slc_trace_deliver(session, queue, out->message, out->redelivered);
    if (no_ack) {
        slc_queue_settled(queue, entry, 0);
        return SLC_OK;
    }
    queue->unacked++;
    queue->unacked_bytes += entry->body_bytes;
    session->broker->totals.unacked++;
    slc_queue_hold(queue);
    uint64_t due_ms =
        queue->ack_timeout_ms == 0 ? 0 : slc_ack_timeout_due(session, queue->ack_timeout_ms);
    slc_unacked_push(&session->unacked,
                     (slc_unacked){out->delivery_tag, entry, queue, NULL, due_ms});
    return SLC_OK;
}

/* ---- closing ---- */

/** Everything that others can see of it; afterwards no callback comes but resume. */
static void session_shut(slc_session *s)
{
    s->closing = true;
    slc_reply_to_fini(s);
    if (s->tx != NULL)
        slc_tx_fini(s);
    slc_consumer *consumer, *next;
    HASH_ITER(hh, s->consumers, consumer, next) slc_consumer_update(consumer);
    slc_confirm_fini(s);
    s->broker->sessions[(uint32_t)s->handle] = NULL;
    // Auto-delete queues whose last consumer goes drop their unacked messages with them, so requeue first.
    session_requeue_all(s);
}

/** Remove the next consumer; the op that deletes its auto-delete queue, or NULL. */
static slc_op *session_remove_consumer(slc_session *s, slc_session *waiter)
{
    slc_consumer *consumer = s->consumers;
    slc_queue *queue = consumer->queue;
    slc_queue_hold(queue);
    slc_consumer_free(consumer);
    slc_op *op = slc_queue_consumer_gone(queue, waiter);
    slc_queue_release(queue);
    return op;
}

static void session_free(slc_session *s)
{
    SLC_ASSERT(s->consumers == NULL);
    SLC_ASSERT(s->unacked.live == 0);
    session_stop_waiting(s);
    slc_ack_timeout_unwatch(s);
    if (s->op != NULL)
        s->op->session = NULL; // it goes on without us
    slc_unacked_fini(&s->unacked);
    slc_free(s->expired);
    slc_publish_route_fini(s);
    slc_permission_fini(s);
    DL_DELETE(s->client->sessions, s);
    s->client->session_count--;
    slc_event_session(s, false);
    s->broker->totals.sessions_closed += !s->client->hidden;
    s->broker->hidden_sessions -= s->client->hidden;
    s->broker->totals.sessions--;
    slc_free((void *)s->last_queue.data);
    slc_free((void *)s->declaring.data);
    slc_free(s);
}

slc_err slc_session_close(slc_session *session)
{
    slc_err rc;
    (void)slc_session_finished(session, &rc, NULL);
    if (!session->closing)
        session_shut(session);
    while (session->consumers != NULL) {
        if (session_remove_consumer(session, session) != NULL)
            return slc_session_wait(session, SLC_WAIT_OP);
    }
    session_free(session);
    return SLC_OK;
}

void slc_session_abandon(slc_session *session)
{
    session_stop_waiting(session);
    if (session->op != NULL) {
        session->op->session = NULL;
        session->op = NULL;
    }
    if (!session->closing)
        session_shut(session);
    while (session->consumers != NULL)
        session_remove_consumer(session, NULL);
    session_free(session);
}
