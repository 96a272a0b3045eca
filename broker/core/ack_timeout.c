// Deliveries that are not settled in time. @spec amqp-semantics 19.3
//
// A delivery with a time limit knows when it is due (slc_unacked.due_ms). Sessions that hold such deliveries are watched: each
// knows a time before which none of its deliveries is due, so that a tick looks at those only whose time has come, and a
// session that settles in time is scanned once per timeout.
//
// What is late costs its consumer: it is cancelled and what it holds goes back to the queue, if the client can be told so;
// else, and for basic.get, the channel is closed.
#include <inttypes.h>
#include <stdlib.h>

#include "base/log.h"
#include "core/internal.h"

enum {
    QUORUM_TIMEOUT_MS = 30 * 60 * 1000,
    EXPIRED_MAX = 65536, // tags of taken back deliveries that a session remembers
};

/** What argument and policy say, else the configuration, else the kind. */
static uint64_t queue_timeout(const slc_queue *queue)
{
    const slc_queue_settings *settings = &queue->settings;
    if (settings->consumer_timeout_ms != SLC_UNLIMITED)
        return settings->consumer_timeout_ms;
    if (queue->broker->ack_timeout_ms != SLC_ACK_TIMEOUT_OF_KIND)
        return queue->broker->ack_timeout_ms;
    return settings->quorum ? QUORUM_TIMEOUT_MS : 0;
}

static uint64_t consumer_timeout(const slc_consumer *consumer)
{
    slc_value value;
    if (consumer->no_ack)
        return 0;
    if (slc_table_find(consumer->arguments, slc_slice_str("x-consumer-timeout"), &value))
        return (uint64_t)value.integer; // checked: an integer, not negative
    return consumer->queue->ack_timeout_ms;
}

void slc_ack_timeout_changed(slc_queue *queue)
{
    queue->ack_timeout_ms = queue_timeout(queue);
    slc_consumer *consumer;
    DL_FOREACH2(queue->consumers, consumer, queue_next)
    {
        consumer->ack_timeout_ms = consumer_timeout(consumer);
    }
}

void slc_ack_timeout_joined(slc_consumer *consumer)
{
    consumer->ack_timeout_ms = consumer_timeout(consumer);
}

void slc_broker_ack_timeout(slc_broker *broker, uint64_t timeout_ms)
{
    broker->ack_timeout_ms = timeout_ms;
    slc_vhost *vhost, *next_vhost;
    HASH_ITER(hh, broker->vhosts, vhost, next_vhost)
    {
        slc_queue *queue, *next;
        HASH_ITER(hh, vhost->queues, queue, next) slc_ack_timeout_changed(queue);
    }
}

/* ---- watching ---- */

static uint64_t now_ms(const slc_broker *broker)
{
    return broker->env.now_ns(broker->env.arg) / 1000000;
}

void slc_ack_timeout_watch(slc_session *session, uint64_t due_ms)
{
    slc_broker *broker = session->broker;
    if (!session->ack_watched) {
        session->ack_watched = true;
        session->ack_due_ms = due_ms;
        DL_APPEND2(broker->ack_watched, session, ack_prev, ack_next);
    } else if (due_ms < session->ack_due_ms) {
        session->ack_due_ms = due_ms;
    }
}

uint64_t slc_ack_timeout_due(slc_session *session, uint64_t timeout_ms)
{
    uint64_t now = now_ms(session->broker);
    uint64_t due_ms = timeout_ms < UINT64_MAX - now ? now + timeout_ms : UINT64_MAX;
    slc_ack_timeout_watch(session, due_ms);
    return due_ms;
}

void slc_ack_timeout_unwatch(slc_session *session)
{
    if (!session->ack_watched)
        return;
    session->ack_watched = false;
    DL_DELETE2(session->broker->ack_watched, session, ack_prev, ack_next);
}

/* ---- what is late ---- */

static void late_log(const slc_session *s, const slc_unacked *late, uint64_t timeout_ms,
                     bool cancels)
{
    char text[640];
    slc_resource_text(s->client->vhost, SLC_DEST_QUEUE, late->queue->dest.name, text, sizeof text);
    slc_log(SLC_LOG_WARN, "default", "consumer.timeout",
            SLC_FIELDS(SLC_F_STR("queue", text), SLC_F_U64("channel", s->number),
                       SLC_F_U64("timeout_ms", timeout_ms)),
            "a delivery from %s on channel %u was not acknowledged within %" PRIu64 " ms; %s", text,
            s->number, timeout_ms,
            cancels ? "its consumer is cancelled and what it holds goes back to the queue"
                    : "the channel is closed");
}

static int tag_compare(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return left < right ? -1 : left > right;
}

/** The client knows nothing of it yet and may still settle them: that is no error. */
static void expired_add(slc_session *s, const slc_unacked *items, uint32_t count)
{
    uint32_t skip = 0;
    if (s->expired_count + count > EXPIRED_MAX) { // the oldest are forgotten
        skip = s->expired_count + count - EXPIRED_MAX;
        skip = skip < s->expired_count ? skip : s->expired_count;
        s->expired_count -= skip;
        memmove(s->expired, s->expired + skip, s->expired_count * sizeof *s->expired);
    }
    s->expired = slc_realloc(s->expired, ((size_t)s->expired_count + count) * sizeof *s->expired);
    for (uint32_t i = 0; i < count; i++)
        s->expired[s->expired_count++] = items[i].tag;
    qsort(s->expired, s->expired_count, sizeof *s->expired, tag_compare);
}

bool slc_ack_timeout_expired(const slc_session *session, uint64_t tag)
{
    return session->expired_count > 0 &&
           bsearch(&tag, session->expired, session->expired_count, sizeof tag, tag_compare) != NULL;
}

/** The consumer goes, and what it holds back to its queue. */
static void consumer_expire(slc_session *s, slc_consumer *consumer)
{
    slc_unacked_ring *ring = &s->unacked;
    slc_queue *queue = consumer->queue;
    slc_unacked *items = slc_alloc(consumer->unacked * sizeof *items);
    uint32_t count = 0;
    for (uint32_t i = 0; i < ring->count; i++) {
        const slc_unacked *item = slc_unacked_at(ring, i);
        if (item->entry != NULL && item->consumer == consumer)
            items[count++] = *item;
    }
    slc_queue_hold(queue);
    bool was_there = !consumer->gone; // one that the client cancelled gives back what it still held
    if (was_there) {
        s->ops->cancelled(s, consumer->tag);
        // First out of the way: what goes back would come to it again. It is freed with its last delivery.
        slc_consumer_free(consumer);
    }
    expired_add(s, items, count);
    for (uint32_t i = 0; i < count; i++) {
        slc_unacked_clear(ring, slc_unacked_find(ring, items[i].tag));
        slc_settle_one(s, &items[i], SLC_SETTLE_REQUEUE);
    }
    slc_free(items);
    if (was_there)
        (void)slc_queue_consumer_gone(queue, NULL);
    slc_queue_release(queue);
}

/** The oldest delivery that is late, NULL: none. *next_ms: when the next one is due, UINT64_MAX: none has a limit. */
static slc_unacked *late_find(slc_session *s, uint64_t now, uint64_t *next_ms)
{
    *next_ms = UINT64_MAX;
    for (uint32_t i = 0; i < s->unacked.count; i++) {
        slc_unacked *item = slc_unacked_at(&s->unacked, i);
        if (item->entry == NULL || item->due_ms == 0)
            continue;
        if (item->due_ms <= now)
            return item;
        if (item->due_ms < *next_ms)
            *next_ms = item->due_ms;
    }
    return NULL;
}

/** The session may be gone afterwards. */
static void session_look(slc_session *s, uint64_t now)
{
    uint64_t next_ms;
    const slc_unacked *late;
    // Each round takes all that one consumer holds.
    while ((late = late_find(s, now, &next_ms)) != NULL) {
        slc_consumer *consumer = late->consumer;
        uint64_t timeout_ms =
            consumer != NULL ? consumer->ack_timeout_ms : late->queue->ack_timeout_ms;
        bool cancels = consumer != NULL && s->client->cancel_notify;
        late_log(s, late, timeout_ms, cancels);
        s->broker->totals.ack_timeouts++;
        if (cancels) {
            consumer_expire(s, consumer);
            continue;
        }
        slc_error error = {0};
        slc_err rc = slc_error_set(
            &error, SLC_EPRECONDITION,
            "delivery acknowledgement on channel %u timed out. Timeout value used: %" PRIu64
            " ms. This timeout value can be configured, see consumers doc guide to learn more",
            s->number, timeout_ms);
        s->ops->failed(s, rc, &error);
        return;
    }
    s->ack_due_ms = next_ms;
    if (next_ms == UINT64_MAX)
        slc_ack_timeout_unwatch(s);
}

void slc_broker_tick(slc_broker *broker)
{
    if (broker->ack_watched == NULL)
        return;
    uint64_t now = now_ms(broker);
    uint32_t count = 0;
    slc_session *s;
    DL_COUNT2(broker->ack_watched, s, count, ack_next);
    // A session may go, and others with it: always take the head.
    for (; count > 0 && broker->ack_watched != NULL; count--) {
        s = broker->ack_watched;
        DL_DELETE2(broker->ack_watched, s, ack_prev, ack_next);
        DL_APPEND2(broker->ack_watched, s, ack_prev, ack_next);
        // One that waits for a definition is looked at when it is done.
        if (s->ack_due_ms <= now && s->wait == SLC_WAIT_NONE && !s->closing)
            session_look(s, now);
    }
}
