// Confirms of one session leave in publishing order: the front of the ring waits for its ticket, everything behind it
// waits for the front. So one acknowledgement with `multiple` covers whatever became durable since the last.
//
//      add ──> ticket ──durable, or settled before──> acked
//      add_nack ──> deaths ──died, the last──> nack with a ticket ──durable──> nacked
//
// A message that full queues gave to their dead letter exchange is nacked when it is as safe there as an acked one is in its queue:
// the publisher that hears the nack may forget it.
#include "core/internal.h"

// Beside a ticket: it ends with a nack.
#define NACK (UINT64_C(1) << 62)
// A number of deaths in place of the ticket: no disk makes it good.
#define DEATHS       (UINT64_C(1) << 61)
#define DEATH_STORED (UINT64_C(1) << 60) // one of them, so far

static bool ticket_safe(const slc_broker *broker, uint64_t ticket)
{
    return ticket <=
           ((ticket & SLC_TICKET_LARGE) != 0 ? broker->durable_large : broker->durable_ticket);
}

static void confirm_list_enter(slc_session *s)
{
    if (s->in_confirm_list)
        return;
    s->in_confirm_list = true;
    DL_APPEND2(s->broker->confirm_list, s, confirm_prev, confirm_next);
}

static void confirm_list_leave(slc_session *s)
{
    if (!s->in_confirm_list)
        return;
    s->in_confirm_list = false;
    DL_DELETE2(s->broker->confirm_list, s, confirm_prev, confirm_next);
}

static uint64_t *ring_slot(const slc_confirm_ring *ring, uint32_t i)
{
    return &ring->tickets[(ring->first + i) & (ring->capacity - 1)];
}

static void ring_grow(slc_confirm_ring *ring)
{
    uint32_t capacity = ring->capacity == 0 ? 16 : ring->capacity * 2;
    uint64_t *tickets = slc_alloc((size_t)capacity * sizeof *tickets);
    for (uint32_t i = 0; i < ring->count; i++)
        tickets[i] = *ring_slot(ring, i);
    slc_free(ring->tickets);
    ring->tickets = tickets;
    ring->capacity = capacity;
    ring->first = 0;
}

void slc_confirm_add(slc_session *session, uint64_t ticket)
{
    slc_confirm_ring *ring = &session->confirms;
    if (ring->count == ring->capacity)
        ring_grow(ring);
    *ring_slot(ring, ring->count++) = ticket;
    ring->next_seq++;
    confirm_list_enter(session);
    if (ticket_safe(session->broker, ticket))
        session->broker->confirms_due = true;
}

void slc_confirm_add_nack(slc_session *session, uint32_t deaths)
{
    slc_confirm_add(session, NACK | (deaths > 0 ? DEATHS | deaths : 0));
    session->broker->confirms_due = true;
}

slc_session *slc_session_by_handle(const slc_broker *broker, uint64_t handle)
{
    uint32_t index = (uint32_t)handle;
    if (handle == 0 || index >= broker->session_capacity)
        return NULL;
    slc_session *session = broker->sessions[index];
    return session != NULL && session->handle == handle ? session : NULL;
}

/** NULL: it is confirmed already. */
static uint64_t *ring_find(const slc_confirm_ring *ring, uint64_t seq)
{
    uint64_t first_seq = ring->next_seq - ring->count;
    if (seq < first_seq || seq >= ring->next_seq)
        return NULL;
    return ring_slot(ring, (uint32_t)(seq - first_seq));
}

void slc_confirm_settled(slc_broker *broker, const slc_message *message)
{
    slc_session *session = slc_session_by_handle(broker, message->session);
    if (session == NULL)
        return;
    uint64_t *slot = ring_find(&session->confirms, message->publish_seq);
    if (slot == NULL || (*slot & NACK) != 0) // refused by another of its queues
        return;
    *slot = 0;
    broker->confirms_due = true;
}

void slc_confirm_died(slc_broker *broker, uint64_t session_handle, uint64_t publish_seq,
                      bool stored, uint32_t more)
{
    slc_session *session = slc_session_by_handle(broker, session_handle);
    if (session == NULL)
        return;
    if (session->tx != NULL) {
        slc_tx_died(session, more);
        return;
    }
    uint64_t *slot = ring_find(&session->confirms, publish_seq);
    if (slot == NULL)
        return; // it was not published with confirms
    SLC_ASSERT((*slot & DEATHS) != 0);
    *slot = (*slot | (stored ? DEATH_STORED : 0)) + more - 1;
    if ((uint32_t)*slot > 0)
        return;
    // The last ticket covers what is with the store of all of them.
    *slot = NACK | ((*slot & DEATH_STORED) != 0 ? broker->last_ticket : 0);
    broker->confirms_due = true;
}

static void confirm_pop(slc_confirm_ring *ring)
{
    ring->first = (ring->first + 1) & (ring->capacity - 1);
    ring->count--;
}

static void confirm_acked(slc_session *session, uint32_t sent)
{
    if (sent == 0)
        return;
    session->confirms.acked_seq += sent;
    session->stats.confirmed += sent;
    session->client->vhost->stats.confirmed += sent;
    session->broker->totals.stats.confirmed += sent;
    if (!session->closing)
        session->ops->confirm(session, session->confirms.acked_seq, sent > 1, true);
}

void slc_confirm_send(slc_session *session)
{
    slc_confirm_ring *ring = &session->confirms;
    uint32_t sent = 0;
    while (ring->count > 0) {
        uint64_t ticket = *ring_slot(ring, 0);
        if (!ticket_safe(session->broker, ticket & ~NACK))
            break;
        confirm_pop(ring);
        if ((ticket & NACK) == 0) {
            sent++;
            continue;
        }
        confirm_acked(session, sent); // those before it
        sent = 0;
        session->confirms.acked_seq++;
        if (!session->closing)
            session->ops->confirm(session, session->confirms.acked_seq, false, false);
    }
    confirm_acked(session, sent);
    if (ring->count == 0)
        confirm_list_leave(session);
}

void slc_confirm_fini(slc_session *session)
{
    confirm_list_leave(session);
    slc_free(session->confirms.tickets);
    session->confirms = (slc_confirm_ring){0};
}
