#include "core/internal.h"
#include "core/permission.h"
#include "core/properties.h"
#include "core/schedule.h"
#include "core/trace.h"

#include <assert.h>

enum { ROUTE_SLOTS = 64, ROUTE_CACHED_MAX = 32 };

/** A small direct-mapped cache per session: (exchange, key) -> queues, valid for one topology version. A slot is as large as
 *  what it holds: there may be many sessions, and most know one route. */
struct slc_route_slot {
    uint64_t version;
    uint8_t exchange_bytes, key_bytes;
    uint16_t capacity; // octets of this allocation
    uint32_t count;
    slc_exchange *exchange;
    slc_destination *queues[]; // then the names of exchange and key
};

static_assert(sizeof(slc_route_slot) + ROUTE_CACHED_MAX * sizeof(void *) + 2 * SLC_NAME_MAX <=
                  UINT16_MAX,
              "capacity");

void slc_publish_route_fini(slc_session *session)
{
    for (uint32_t i = 0; session->route_cache != NULL && i < ROUTE_SLOTS; i++)
        slc_free(session->route_cache[i]);
    slc_free(session->route_cache);
    slc_route_fini(&session->route);
}

static bool slot_matches(const slc_route_slot *slot, uint64_t version, const slc_message *m)
{
    return slot != NULL && slot->version == version && slot->exchange_bytes == m->exchange_bytes &&
           slot->key_bytes == m->key_bytes &&
           memcmp(slot->queues + slot->count, m->content + SLC_MESSAGE_HEAD_BYTES,
                  (size_t)m->exchange_bytes + m->key_bytes) == 0;
}

static void slot_fill(slc_route_slot **at, uint64_t version, const slc_message *m,
                      slc_exchange *exchange, const slc_route *route)
{
    size_t names = (size_t)m->exchange_bytes + m->key_bytes;
    size_t bytes = sizeof **at + route->count * sizeof((*at)->queues[0]) + names;
    slc_route_slot *slot = *at;
    if (slot == NULL || slot->capacity < bytes) {
        slot = *at = slc_realloc(slot, bytes);
        slot->capacity = (uint16_t)bytes;
    }
    slot->version = version;
    slot->exchange_bytes = m->exchange_bytes;
    slot->key_bytes = m->key_bytes;
    slot->exchange = exchange;
    slot->count = route->count;
    if (route->count > 0)
        memcpy(slot->queues, route->queues, route->count * sizeof(route->queues[0]));
    memcpy(slot->queues + slot->count, m->content + SLC_MESSAGE_HEAD_BYTES, names);
}

/** A full queue: it takes nothing, but may still pass it on. */
static void publish_refuse(slc_queue *q, slc_message *message, slc_refusal *refusal)
{
    q->refused++;
    refusal->refused = true;
    if (q->settings.overflow != SLC_OVERFLOW_REJECT_DLX)
        return;
    slc_entry *entry = slc_entry_new(q, q->next_qseq++, message, false, 0);
    if (q->settings.dead_letter) {
        entry->flags |= SLC_ENTRY_REFUSED;
        refusal->deaths++;
    }
    slc_queue_die(q, entry, SLC_DEATH_MAXLEN);
}

/** Where the store keeps a message of a durable queue. 0: the queue is not in the store. */
static uint32_t publish_qid(slc_queue *q, const slc_message *message)
{
    if (q->lanes == NULL || q->lane.qid == 0)
        return q->lane.qid;
    slc_lane *lane = slc_lane_for(q, message);
    slc_lane_enter_store(lane);
    return lane->qid;
}

static void publish_put(slc_queue *q, uint64_t qseq, slc_message *message, bool stored,
                        uint64_t expires_ms)
{
    slc_queue_put(q, qseq, message, stored, expires_ms);
    if (q->settings.limited)
        slc_queue_limit(q);
}

uint64_t slc_publish_try(slc_broker *broker, slc_message *message, slc_destination **queues,
                         uint32_t count, slc_refusal *refusal)
{
    const slc_env *env = &broker->env;
    slc_env_target small[16];
    slc_env_target *targets = small;
    uint32_t stored = 0;
    if (count > SLC_ARRAY_COUNT(small))
        targets = slc_alloc(count * sizeof *targets);
    // First those that need no storing: each delivery may fill up the consumer of a later queue. What is left is stored by
    // one append: a copy that is dropped before it is written may confirm the message only when it was the last.
    for (uint32_t i = 0; i < count; i++) {
        slc_queue *q = (slc_queue *)queues[i];
        uint64_t expires_ms = 0;
        bool keep = message->persistent;
        if (q->special | (message->ttl != 0)) {
            if (slc_queue_refuses(q, message->body_bytes)) {
                publish_refuse(q, message, refusal);
                continue;
            }
            expires_ms = slc_expiry_of(q, message);
            keep |= q->settings.quorum;
        }
        uint64_t qseq = q->next_qseq++;
        q->stats.published++;
        // What a no-ack consumer takes at once is settled before it could be written: it need not be.
        if (slc_queue_passes_through(q))
            slc_consumer_pass(q->ready_consumers, message);
        else if (keep && q->lane.qid != 0)
            targets[stored++] = (slc_env_target){
                .qid = publish_qid(q, message),
                .qseq = qseq,
                .expires_ms =
                    q->schedule != NULL ? slc_schedule_due_ms(q->schedule, message) : expires_ms,
            };
        else
            publish_put(q, qseq, message, false, expires_ms);
    }
    if (stored == 0) {
        if (targets != small)
            slc_free(targets);
        return 0;
    }
    uint64_t ticket = env->store_append(env->arg, message, targets, stored);
    broker->last_ticket = ticket & ~SLC_TICKET_LARGE;
    uint32_t next = 0;
    for (uint32_t i = 0; i < count && next < stored; i++) {
        slc_queue *q = (slc_queue *)queues[i];
        if (publish_qid(q, message) ==
            targets[next].qid) { // each queue comes once; 0 is in no target
            publish_put(q, targets[next].qseq, message, true, targets[next].expires_ms);
            next++;
        }
    }
    SLC_ASSERT(next == stored);
    if (targets != small)
        slc_free(targets);
    return ticket;
}

uint64_t slc_publish_to(slc_broker *broker, slc_message *message, slc_destination **queues,
                        uint32_t count)
{
    slc_refusal refusal = {0};
    return slc_publish_try(broker, message, queues, count, &refusal);
}

static slc_err exchange_of(slc_vhost *vhost, slc_slice name, slc_exchange **out, slc_error *error)
{
    char text[640];
    slc_exchange *exchange = slc_vhost_exchange(vhost, name);
    if (exchange == NULL)
        return slc_error_set(error, SLC_ENOTFOUND, "no %s",
                             slc_resource_text(vhost, SLC_DEST_EXCHANGE, name, text, sizeof text));
    if (exchange->internal)
        return slc_error_set(error, SLC_EACCESS, "cannot publish to internal %s",
                             slc_resource_text(vhost, SLC_DEST_EXCHANGE, name, text, sizeof text));
    *out = exchange;
    return SLC_OK;
}

/** The exchange that this session may publish to; NULL: the default exchange. The last one is remembered: it is there, and the
 *  permission stands, as long as the topology's version does. */
static slc_err exchange_to_write(slc_session *s, slc_slice name, slc_exchange **out,
                                 slc_error *error)
{
    slc_vhost *vhost = s->client->vhost;
    bool known = s->written_version == vhost->topology_version; // else it may be gone
    if (!known ||
        !slc_slice_equal(s->written != NULL ? s->written->dest.name : (slc_slice){0}, name)) {
        slc_exchange *exchange = NULL;
        slc_err rc = slc_session_may(s, SLC_ACCESS_WRITE, SLC_DEST_EXCHANGE, name, error);
        if (rc == SLC_OK && name.bytes > 0)
            rc = exchange_of(vhost, name, &exchange, error);
        if (rc != SLC_OK)
            return rc;
        s->written = exchange;
        s->written_version = vhost->topology_version;
    }
    *out = s->written;
    return SLC_OK;
}

static void route_to_name(slc_vhost *vhost, slc_slice name, slc_route *route)
{
    slc_queue *queue = slc_vhost_queue(vhost, name);
    if (queue != NULL)
        slc_route_to_queue(route, &queue->dest);
}

void slc_route_all_keys(slc_vhost *vhost, slc_exchange *exchange, slc_message *m, slc_slice headers,
                        slc_route *route)
{
    slc_slice *keys;
    uint32_t count = slc_message_more_keys(m, &keys);
    if (exchange != NULL) {
        slc_route_input input = {.key = slc_message_key(m),
                                 .more_keys = keys,
                                 .more_key_count = count,
                                 .headers = headers,
                                 .message = m};
        slc_route_message(exchange, &input, route);
    } else {
        slc_route_begin(route);
        route_to_name(vhost, slc_message_key(m), route);
        for (uint32_t i = 0; i < count; i++)
            route_to_name(vhost, keys[i], route);
    }
    slc_free(keys);
}

static slc_err may_topic_all(slc_session *s, const slc_exchange *exchange, const slc_message *m,
                             slc_error *error)
{
    slc_slice *keys;
    uint32_t count = slc_message_more_keys(m, &keys);
    slc_err rc = slc_session_may_topic(s, SLC_ACCESS_WRITE, exchange, slc_message_key(m), error);
    for (uint32_t i = 0; i < count && rc == SLC_OK; i++)
        rc = slc_session_may_topic(s, SLC_ACCESS_WRITE, exchange, keys[i], error);
    slc_free(keys);
    return rc;
}

slc_err slc_session_may_publish(slc_session *session, slc_slice name, slc_slice key,
                                slc_error *error)
{
    slc_exchange *exchange;
    slc_err rc = exchange_to_write(session, name, &exchange, error);
    if (rc == SLC_OK && exchange != NULL)
        rc = slc_session_may_topic(session, SLC_ACCESS_WRITE, exchange, key, error);
    return rc;
}

static slc_err publish_route_keys(slc_session *s, slc_message *m, slc_slice headers,
                                  slc_exchange **via, slc_error *error)
{
    slc_vhost *vhost = s->client->vhost;
    slc_exchange *exchange;
    slc_err rc = exchange_to_write(s, slc_message_exchange(m), &exchange, error);
    if (rc == SLC_OK && exchange != NULL)
        rc = may_topic_all(s, exchange, m, error);
    if (rc != SLC_OK)
        return rc;
    if (exchange != NULL)
        *via = exchange;
    slc_route_all_keys(vhost, exchange, m, headers, &s->route);
    return SLC_OK;
}

/** The queue of that name: the cache would cost as much as the look-up, and more where there are many queues. */
static slc_err publish_route_default(slc_session *s, slc_message *m, slc_destination ***queues,
                                     uint32_t *count, slc_error *error)
{
    slc_vhost *vhost = s->client->vhost;
    if (s->written != NULL || s->written_version != vhost->topology_version) {
        slc_exchange *none;
        slc_err rc = exchange_to_write(s, (slc_slice){0}, &none, error);
        if (rc != SLC_OK)
            return rc;
    }
    slc_queue *queue = slc_vhost_queue(vhost, slc_message_key(m));
    s->direct = queue != NULL ? &queue->dest : NULL;
    *queues = &s->direct;
    *count = queue != NULL;
    return SLC_OK;
}

/** The queues for message, and the exchange that it comes through; from the cache when the topology has not changed. */
static slc_err publish_route(slc_session *s, slc_message *m, slc_slice headers,
                             slc_destination ***queues, uint32_t *count, slc_exchange **via,
                             slc_error *error)
{
    slc_vhost *vhost = s->client->vhost;
    slc_route *route = &s->route;
    *via = vhost->default_exchange;
    if (m->more_keys) {
        slc_err rc = publish_route_keys(s, m, headers, via, error);
        *queues = route->queues;
        *count = route->count;
        return rc;
    }
    if (m->exchange_bytes == 0)
        return publish_route_default(s, m, queues, count, error);
    if (s->route_cache == NULL)
        s->route_cache = slc_alloc_zero(ROUTE_SLOTS, sizeof *s->route_cache);
    slc_slice key = slc_message_key(m);
    uint32_t hash =
        slc_hash(m->content + SLC_MESSAGE_HEAD_BYTES, (size_t)m->exchange_bytes + m->key_bytes);
    slc_route_slot **at = &s->route_cache[hash % ROUTE_SLOTS];
    slc_route_slot *slot = *at;
    if (slot_matches(slot, vhost->topology_version, m)) {
        *via = slot->exchange;
        *queues = slot->queues;
        *count = slot->count;
        return SLC_OK;
    }
    slc_exchange *exchange;
    slc_err rc = exchange_to_write(s, slc_message_exchange(m), &exchange, error);
    if (rc == SLC_OK)
        rc = slc_session_may_topic(s, SLC_ACCESS_WRITE, exchange, key, error);
    if (rc != SLC_OK)
        return rc;
    *via = exchange;
    slc_route_message(exchange, &(slc_route_input){.key = key, .headers = headers, .message = m},
                      route);
    *queues = route->queues;
    *count = route->count;
    if (route->cacheable && route->count <= ROUTE_CACHED_MAX)
        slot_fill(at, vhost->topology_version, m, exchange, route);
    return SLC_OK;
}

void slc_publish_nowhere(slc_session *session, slc_message *message, bool mandatory)
{
    if (mandatory) {
        SLC_COUNT(session, returned);
        session->ops->returned(session, message);
    } else {
        SLC_COUNT(session, dropped);
    }
}

slc_err slc_session_publish(slc_session *session, slc_message *message, slc_slice headers,
                            bool mandatory, slc_error *error)
{
    slc_broker *broker = session->broker;
    slc_destination **queues;
    slc_exchange *via;
    uint32_t count;
    slc_err rc = publish_route(session, message, headers, &queues, &count, &via, error);
    if (rc != SLC_OK) {
        slc_message_unref(message);
        return rc;
    }
    via->messages_in++;
    via->messages_out += count;
    if (slc_tracing(broker))
        slc_trace_publish(session, message, queues, count);
    if (session->tx != NULL) {
        slc_route route = {.queues = queues, .count = count};
        slc_tx_publish(session, message, &route, mandatory);
        return SLC_OK;
    }
    SLC_COUNT(session, published);
    message->ts_ms = session->active_ms = broker->env.wall_ms(broker->env.arg);
    if (session->confirming) {
        message->session = session->handle;
        message->publish_seq = session->confirms.next_seq;
    }
    uint64_t ticket = 0;
    slc_refusal refusal = {0};
    bool replied = broker->reply_consumers > 0 && message->exchange_bytes == 0 &&
                   (count == 0 || message->more_keys) && slc_reply_to_publish(broker, message) > 0;
    if (count == 0 && !replied) {
        slc_publish_nowhere(session, message, mandatory);
    } else if (count > 0) {
        ticket = slc_publish_try(broker, message, queues, count, &refusal);
    }
    if (session->confirming && refusal.refused)
        slc_confirm_add_nack(session, refusal.deaths);
    else if (session->confirming)
        slc_confirm_add(session, ticket);
    // As in RabbitMQ the ack of what went nowhere comes at once, behind its return: some clients take the two as a pair.
    if (session->confirming && count == 0)
        slc_confirm_send(session);
    slc_message_unref(message);
    return SLC_OK;
}

slc_err slc_session_confirm_select(slc_session *session, slc_error *error)
{
    if (session->tx != NULL)
        return slc_error_set(error, SLC_EPRECONDITION, "cannot switch from tx to confirm mode");
    if (!session->confirming) {
        session->confirming = true;
        session->confirms.next_seq = 1;
    }
    return SLC_OK;
}
