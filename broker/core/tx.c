// Transactions: publishes are routed at once and wait here; settlements leave the unacked list at once and wait here.
// A commit is one batch of the store: publishes in order, then settlements in order.
#include "core/internal.h"

#include <stdlib.h>

typedef struct tx_publish {
    slc_message *message;
    slc_destination **queues; // owned; each held
    uint32_t count;
    bool mandatory;
    struct tx_publish *next;
} tx_publish;

typedef struct tx_settle {
    slc_unacked item;
    slc_settle how;
} tx_settle;

struct slc_tx {
    tx_publish *first, *last;
    uint32_t publishes;
    tx_settle *settles;
    uint32_t settle_count, settle_capacity;
    bool committing;     // the batch is with the store
    slc_refusal refusal; // its deaths are worked off in later batches
};

slc_err slc_session_tx_select(slc_session *session, slc_error *error)
{
    if (session->confirming)
        return slc_error_set(error, SLC_EPRECONDITION, "cannot switch from confirm to tx mode");
    if (session->tx == NULL)
        session->tx = slc_alloc_zero(1, sizeof *session->tx);
    return SLC_OK;
}

void slc_tx_publish(slc_session *session, slc_message *message, const slc_route *route,
                    bool mandatory)
{
    slc_tx *tx = session->tx;
    tx_publish *publish = slc_alloc_zero(1, sizeof *publish);
    publish->message = message;
    publish->mandatory = mandatory;
    publish->count = route->count;
    if (route->count > 0) {
        publish->queues = slc_alloc(route->count * sizeof(publish->queues[0]));
        for (uint32_t i = 0; i < route->count; i++) {
            publish->queues[i] = route->queues[i];
            slc_queue_hold((slc_queue *)route->queues[i]);
        }
    }
    if (tx->last != NULL)
        tx->last->next = publish;
    else
        tx->first = publish;
    tx->last = publish;
    tx->publishes++;
}

void slc_tx_settle(slc_session *session, const slc_unacked *item, slc_settle how)
{
    slc_tx *tx = session->tx;
    if (tx->settle_count == tx->settle_capacity) {
        tx->settle_capacity = tx->settle_capacity == 0 ? 16 : 2 * tx->settle_capacity;
        tx->settles = slc_realloc(tx->settles, tx->settle_capacity * sizeof *tx->settles);
    }
    tx->settles[tx->settle_count++] = (tx_settle){*item, how};
}

static tx_publish *tx_pop(slc_tx *tx)
{
    tx_publish *publish = tx->first;
    tx->first = publish->next;
    if (tx->first == NULL)
        tx->last = NULL;
    tx->publishes--;
    return publish;
}

static void publish_free(tx_publish *publish)
{
    for (uint32_t i = 0; i < publish->count; i++)
        slc_queue_release((slc_queue *)publish->queues[i]);
    slc_message_unref(publish->message);
    slc_free(publish->queues);
    slc_free(publish);
}

/** Put the message into those of its queues that still exist. */
static void tx_apply_publish(slc_session *session, tx_publish *publish)
{
    slc_broker *broker = session->broker;
    slc_message *message = publish->message;
    uint32_t alive = 0;
    for (uint32_t i = 0; i < publish->count; i++) {
        slc_queue *queue = (slc_queue *)publish->queues[i];
        if (queue->deleted)
            slc_queue_release(queue);
        else
            publish->queues[alive++] = publish->queues[i];
    }
    publish->count = alive;
    SLC_COUNT(session, published);
    message->session = session->handle;
    message->ts_ms = session->active_ms = broker->env.wall_ms(broker->env.arg);
    bool replied = message->exchange_bytes == 0 && (alive == 0 || message->more_keys) &&
                   slc_reply_to_publish(broker, message) > 0;
    if (alive > 0)
        slc_publish_try(broker, message, publish->queues, alive, &session->tx->refusal);
    if (alive > 0 || replied)
        return;
    slc_publish_nowhere(session, message, publish->mandatory);
}

static slc_err tx_outcome(slc_tx *tx, slc_error *error)
{
    bool refused = tx->refusal.refused;
    tx->refusal.refused = false;
    return refused ? slc_error_set(error, SLC_EPRECONDITION, "partial tx completion") : SLC_OK;
}

slc_err slc_session_tx_commit(slc_session *session, slc_error *error)
{
    slc_tx *tx = session->tx;
    slc_broker *broker = session->broker;
    if (tx == NULL)
        return slc_error_set(error, SLC_EPRECONDITION, "channel is not transactional");
    if (tx->committing) {
        tx->committing = false;
        return tx_outcome(tx, error);
    }
    uint64_t before = broker->last_ticket;
    broker->env.store_atomic(broker->env.arg, true);
    while (tx->first != NULL) {
        tx_publish *publish = tx_pop(tx);
        tx_apply_publish(session, publish);
        publish_free(publish);
    }
    uint32_t count = tx->settle_count;
    tx->settle_count = 0;
    for (uint32_t i = 0; i < count; i++)
        slc_settle_one(session, &tx->settles[i].item, tx->settles[i].how);
    broker->env.store_atomic(broker->env.arg, false);
    if (broker->last_ticket == before && tx->refusal.deaths == 0)
        return tx_outcome(tx, error); // nothing of it concerned the store
    tx->committing = true;
    session->wait_ticket = tx->refusal.deaths > 0 ? UINT64_MAX : broker->last_ticket;
    return slc_session_wait(session, SLC_WAIT_TICKET);
}

void slc_tx_died(slc_session *session, uint32_t more)
{
    slc_refusal *refusal = &session->tx->refusal;
    SLC_ASSERT(refusal->deaths > 0);
    refusal->deaths += more - 1;
    if (refusal->deaths > 0)
        return;
    session->wait_ticket = session->broker->last_ticket;
    session->broker->resume_due = true;
}

static int settle_compare(const void *a, const void *b)
{
    uint64_t tag_a = ((const tx_settle *)a)->item.tag;
    uint64_t tag_b = ((const tx_settle *)b)->item.tag;
    return tag_a < tag_b ? -1 : tag_a > tag_b;
}

/** The deliveries are unacked again, under the same tags. */
static void tx_restore_unacked(slc_session *session)
{
    slc_tx *tx = session->tx;
    slc_unacked_ring merged = {0};
    // Settlements may have come in any order of tags.
    qsort(tx->settles, tx->settle_count, sizeof *tx->settles, settle_compare);
    uint32_t next = 0;
    for (uint32_t i = 0; i < session->unacked.count; i++) {
        const slc_unacked *item = slc_unacked_at(&session->unacked, i);
        if (item->entry == NULL)
            continue;
        while (next < tx->settle_count && tx->settles[next].item.tag < item->tag)
            slc_unacked_push(&merged, tx->settles[next++].item);
        slc_unacked_push(&merged, *item);
    }
    while (next < tx->settle_count)
        slc_unacked_push(&merged, tx->settles[next++].item);
    tx->settle_count = 0;
    slc_unacked_fini(&session->unacked);
    session->unacked = merged;
    slc_ack_timeout_watch(session, 0); // some may have a time limit
}

slc_err slc_session_tx_rollback(slc_session *session, slc_error *error)
{
    slc_tx *tx = session->tx;
    if (tx == NULL)
        return slc_error_set(error, SLC_EPRECONDITION, "channel is not transactional");
    while (tx->first != NULL)
        publish_free(tx_pop(tx));
    if (tx->settle_count > 0)
        tx_restore_unacked(session);
    return SLC_OK;
}

void slc_tx_fini(slc_session *session)
{
    slc_tx *tx = session->tx;
    while (tx->first != NULL)
        publish_free(tx_pop(tx));
    if (tx->settle_count > 0)
        tx_restore_unacked(session);
    slc_free(tx->settles);
    slc_free(tx);
    session->tx = NULL;
}

uint32_t slc_tx_publishes(const slc_session *session)
{
    return session->tx != NULL ? session->tx->publishes : 0;
}

uint32_t slc_tx_settlements(const slc_session *session)
{
    return session->tx != NULL ? session->tx->settle_count : 0;
}
