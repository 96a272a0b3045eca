// What lists and operators see.
#include "core/internal.h"
#include "core/properties.h"

void slc_broker_each_vhost(slc_broker *broker, void (*each)(slc_vhost *vhost, void *arg), void *arg)
{
    slc_vhost *vhost, *next;
    HASH_ITER(hh, broker->vhosts, vhost, next) each(vhost, arg);
}

void slc_vhost_each_exchange(slc_vhost *vhost,
                             void (*each)(const slc_exchange *exchange, void *arg), void *arg)
{
    slc_exchange *exchange, *next;
    each(vhost->default_exchange, arg);
    HASH_ITER(hh, vhost->exchanges, exchange, next) each(exchange, arg);
}

void slc_vhost_each_queue(slc_vhost *vhost, void (*each)(const slc_queue_info *queue, void *arg),
                          void *arg)
{
    slc_queue *queue, *next;
    HASH_ITER(hh, vhost->queues, queue, next)
    {
        slc_queue_info info;
        slc_queue_stat(queue, &info);
        each(&info, arg);
    }
}

bool slc_vhost_find_queue(slc_vhost *vhost, slc_slice name, slc_queue_info *out)
{
    const slc_queue *queue = slc_vhost_queue(vhost, name);
    if (queue != NULL && out != NULL)
        slc_queue_stat(queue, out);
    return queue != NULL;
}

/* ---- the oldest timestamp ---- */

enum { HELD_LOOKS = 4096 }; // deliveries and sessions that are looked at for one queue

static void timestamp_take(const slc_entry *entry, uint64_t *oldest)
{
    slc_slice octets;
    uint64_t timestamp = 0;
    if (entry == NULL || !slc_message_property(entry->message, SLC_PROPERTY_TIMESTAMP, &octets))
        return;
    for (size_t i = 0; i < octets.bytes; i++)
        timestamp = timestamp << 8 | octets.data[i];
    if (timestamp < *oldest)
        *oldest = timestamp;
}

/** What a session has held longest of a queue: for this consumer, or (NULL) for basic.get and consumers that are gone. NULL: nothing, or
 *  it stands behind too much else. */
static const slc_entry *held_first(slc_session *session, const slc_queue *queue,
                                   const slc_consumer *consumer, uint32_t *looks)
{
    slc_unacked_ring *ring = &session->unacked;
    for (uint32_t i = 0; i<ring->count && * looks> 0; i++, --*looks) {
        const slc_unacked *item = slc_unacked_at(ring, i);
        const slc_consumer *holder =
            item->consumer != NULL && !item->consumer->gone ? item->consumer : NULL;
        if (item->entry != NULL && item->queue == queue && holder == consumer)
            return item->entry;
    }
    return NULL;
}

/** What is held and no consumer of the queue holds. */
static void stray_take(const slc_queue *queue, uint32_t *looks, uint64_t *oldest)
{
    const slc_client *client;
    DL_FOREACH(queue->broker->clients, client)
    {
        slc_session *session;
        DL_FOREACH(client->sessions, session)
        {
            if (*looks == 0)
                return;
            --*looks;
            timestamp_take(held_first(session, queue, NULL, looks), oldest);
        }
    }
}

bool slc_queue_head_timestamp(const slc_queue_info *info, uint64_t *timestamp_out)
{
    const slc_queue *queue = (const slc_queue *)(const void *)info->dest; // its first member
    uint64_t oldest = UINT64_MAX;
    uint64_t held = 0;
    uint32_t looks = HELD_LOOKS;
    timestamp_take(slc_queue_peek(queue), &oldest);
    const slc_consumer *consumer;
    DL_FOREACH2(queue->consumers, consumer, queue_next)
    {
        held += consumer->unacked;
        if (consumer->unacked > 0)
            timestamp_take(held_first(consumer->session, queue, consumer, &looks), &oldest);
    }
    if (queue->unacked > held)
        stray_take(queue, &looks, &oldest);
    if (oldest == UINT64_MAX)
        return false;
    *timestamp_out = oldest;
    return true;
}

void slc_vhost_each_binding(slc_vhost *vhost,
                            void (*each)(const slc_binding_info *binding, void *arg), void *arg)
{
    slc_queue *queue, *next_queue;
    HASH_ITER(hh, vhost->queues, queue, next_queue)
    {
        slc_binding_info info = {
            .destination = queue->dest.name,
            .key = queue->dest.name,
            .destination_kind = SLC_DEST_QUEUE,
        };
        each(&info, arg);
    }
    slc_exchange *exchange, *next;
    HASH_ITER(hh, vhost->exchanges, exchange, next)
    {
        slc_binding *binding, *next_binding;
        HASH_ITER(hh, exchange->bindings, binding, next_binding)
        {
            slc_binding_info info = {
                .source = exchange->dest.name,
                .destination = binding->destination->name,
                .destination_kind = binding->destination->kind,
                .key = binding->key,
                .arguments = binding->arguments,
            };
            each(&info, arg);
        }
    }
}

void slc_vhost_each_consumer(slc_vhost *vhost,
                             void (*each)(const slc_consumer_info *consumer, void *arg), void *arg)
{
    slc_queue *queue, *next;
    HASH_ITER(hh, vhost->queues, queue, next)
    {
        slc_consumer *consumer;
        DL_FOREACH2(queue->consumers, consumer, queue_next)
        {
            slc_consumer_info info = {
                .session = consumer->session,
                .queue = queue->dest.name,
                .tag = consumer->tag,
                .arguments = consumer->arguments,
                .ack_required = !consumer->no_ack,
                .active = !queue->settings.single_active || queue->active_consumer == consumer,
                .activity = !queue->settings.single_active       ? "up"
                            : queue->active_consumer == consumer ? "single_active"
                                                                 : "waiting",
                .priority = consumer->level->priority,
                .exclusive = consumer->exclusive,
                .prefetch_count = consumer->prefetch,
                .ack_timeout_ms = consumer->ack_timeout_ms,
            };
            each(&info, arg);
        }
    }
}

void slc_broker_each_client(slc_broker *broker, void (*each)(slc_client *client, void *arg),
                            void *arg)
{
    slc_client *client, *next;
    DL_FOREACH_SAFE(broker->clients, client, next)
    {
        if (!client->hidden)
            each(client, arg);
    }
}

void slc_broker_each_session(slc_broker *broker,
                             void (*each)(const slc_session_info *session, void *arg), void *arg)
{
    slc_client *client;
    DL_FOREACH(broker->clients, client)
    {
        if (client->hidden)
            continue;
        slc_session *session;
        DL_FOREACH(client->sessions, session)
        {
            slc_session_info info = {
                .client = client,
                .number = session->number,
                .transactional = session->tx != NULL,
                .confirm = session->confirming,
                .consumers = HASH_COUNT(session->consumers),
                .unacked = session->unacked.live,
                .unconfirmed = session->confirms.count,
                .uncommitted = slc_tx_publishes(session),
                .acks_uncommitted = slc_tx_settlements(session),
                .prefetch_count = session->prefetch,
                .global_prefetch_count = session->global_prefetch,
                .stats = session->stats,
                .active_ms = session->active_ms,
            };
            each(&info, arg);
        }
    }
}

slc_err slc_vhost_queue_purge(slc_vhost *vhost, slc_slice name, uint64_t *purged_out,
                              slc_error *error)
{
    slc_queue *queue = slc_vhost_queue(vhost, name);
    if (queue == NULL)
        return slc_error_set(error, SLC_ENOTFOUND, "no queue '%.*s' in vhost '%.*s'",
                             SLC_SLICE_FMT(name), SLC_SLICE_FMT(vhost->name));
    *purged_out = slc_queue_purge(queue);
    return SLC_OK;
}

typedef struct operator_delete {
    void (*done)(slc_err rc, const slc_error *error, uint64_t ready, void *arg);
    void *arg;
} operator_delete;

static void operator_delete_done(slc_op *op, slc_err rc)
{
    operator_delete *request = op->done_arg;
    slc_error error = {0};
    if (rc != SLC_OK)
        slc_error_set(&error, rc, "the queue could not be deleted: %s", slc_err_text(rc));
    request->done(rc, &error, op->result, request->arg);
    slc_free(request);
}

void slc_vhost_queue_delete(slc_vhost *vhost, slc_slice name, bool if_unused, bool if_empty,
                            void (*done)(slc_err rc, const slc_error *error, uint64_t ready,
                                         void *arg),
                            void *arg)
{
    slc_error error = {0};
    slc_queue *queue = slc_vhost_queue(vhost, name);
    char text[640];
    slc_resource_text(vhost, SLC_DEST_QUEUE, name, text, sizeof text);
    if (queue == NULL)
        slc_error_set(&error, SLC_ENOTFOUND, "no %s", text);
    else if (if_empty && queue->ready > 0)
        slc_error_set(&error, SLC_EBUSY, "%s not empty", text);
    else if (if_unused && queue->consumers != NULL)
        slc_error_set(&error, SLC_EBUSY, "%s in use", text);
    if (error.code != SLC_OK) {
        done(error.code, &error, 0, arg);
        return;
    }
    uint64_t ready = queue->ready;
    slc_changes changes = {0};
    slc_changes_delete_destination(&changes, vhost->broker, &queue->dest);
    uint64_t touch = slc_touch(vhost, SLC_DEST_QUEUE, name);
    if (!queue->dest.durable)
        slc_queue_delete(queue);
    if (changes.count == 0) {
        done(SLC_OK, &error, ready, arg);
        return;
    }
    operator_delete *request = slc_alloc(sizeof *request);
    *request = (operator_delete){done, arg};
    slc_op *op = slc_propose(vhost->broker, &changes, NULL, touch, 0);
    op->result = ready;
    op->done = operator_delete_done;
    op->done_arg = request;
}

void slc_broker_total(const slc_broker *broker, slc_broker_totals *out)
{
    *out = broker->totals;
    out->sessions -= broker->hidden_sessions;
    out->queues = 0;
    out->exchanges = 0;
    const slc_vhost *vhost;
    for (vhost = broker->vhosts; vhost != NULL; vhost = vhost->hh.next) {
        out->queues += HASH_COUNT(vhost->queues);
        out->exchanges += HASH_COUNT(vhost->exchanges) + 1;
        out->bindings += HASH_COUNT(vhost->queues);
    }
    out->message_bytes = slc_message_bytes_alive();
}
