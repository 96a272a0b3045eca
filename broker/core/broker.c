#include <stdio.h>

#include "core/event.h"
#include "core/internal.h"
#include "core/schedule.h"
#include "core/system_message.h"

// Of one turn: messages of a queue, and queues.
enum { COOL_BUDGET = 4096, COOL_QUEUES = 64 };

slc_broker *slc_broker_new(const slc_broker_options *options)
{
    slc_broker *broker = slc_alloc_zero(1, sizeof *broker);
    broker->env = options->env;
    broker->cache_bytes = options->cache_bytes;
    broker->default_prefetch = options->default_prefetch;
    broker->unknown_type_ends_connection = options->unknown_type_ends_connection;
    broker->overflow_priority_head = options->overflow_priority_head;
    broker->on_mismatch = options->on_mismatch;
    broker->ttl_head_only = options->ttl_head_only;
    broker->due_max_ms = options->due_max_ms != 0 ? options->due_max_ms : SLC_DELAY_MAX_MS;
    broker->nack_uncounted = options->nack_uncounted;
    broker->x_death_trusted = options->x_death_trusted;
    broker->passive_needs_nothing = options->passive_needs_nothing;
    broker->x_death_drops_cc = options->x_death_drops_cc;
    broker->default_vhost = slc_strdup(options->default_vhost);
    broker->schedule_due_ms = UINT64_MAX;
    broker->sac_loose = options->sac_loose;
    broker->session_consumers_max = options->session_consumers_max;
    broker->ack_timeout_ms = options->ack_timeout_ms;
    broker->system.node = slc_strdup(options->node != NULL ? options->node : "");
    broker->system.log_lines = options->log_lines;
    broker->vhost_new = options->vhost_new;
    broker->vhost_new_arg = options->vhost_new_arg;
    if (options->event_vhost != NULL)
        broker->system.event_vhost = slc_strdup(options->event_vhost);
    return broker;
}

static uint64_t ignore_queue_del(void *arg, uint32_t qid)
{
    (void)arg;
    (void)qid;
    return 0;
}

static uint64_t ignore_drop_range(void *arg, uint32_t qid, uint64_t first, uint64_t last,
                                  int reason)
{
    (void)arg;
    (void)qid;
    (void)first;
    (void)last;
    (void)reason;
    return 0;
}

static uint64_t ignore_drop(void *arg, uint32_t qid, uint64_t qseq, int reason, bool *cancelled)
{
    (void)arg;
    (void)qid;
    (void)qseq;
    (void)reason;
    (void)cancelled;
    return 0;
}

void slc_broker_free(slc_broker *broker)
{
    SLC_ASSERT(broker->clients == NULL);
    slc_vhost *vhost, *next;
    slc_imports_free(broker);
    slc_dead_letter_fini(broker);
    broker->env.store_queue_del = ignore_queue_del; // freeing forgets nothing
    broker->env.store_drop = ignore_drop;
    broker->env.store_drop_range = ignore_drop_range;
    slc_system_fini(broker); // no events of what goes now
    HASH_ITER(hh, broker->vhosts, vhost, next) slc_vhost_free(vhost);
    slc_parameters_forget(broker, NULL); // the global ones
    slc_object *object, *next_object;
    HASH_ITER(hh, broker->objects, object, next_object)
    {
        HASH_DELETE(hh, broker->objects, object);
        slc_free(object);
    }
    slc_due_fini(&broker->expiries);
    slc_due_fini(&broker->scans);
    slc_due_fini(&broker->idles);
    slc_free(broker->sessions);
    slc_free(broker->session_generation);
    slc_free(broker->default_vhost);
    slc_free(broker->default_queue_type);
    slc_free(broker);
}

/* ---- start ---- */

/** The lane with that uuid: the queue's own, or one that differs in the last octet. */
static slc_lane *recover_lane(const slc_broker *broker, const slc_id *uuid)
{
    for (uint32_t number = 0; number <= UINT8_MAX; number++) {
        slc_id id = slc_lane_uuid(uuid, (uint8_t)number);
        slc_queue *queue = slc_object_find(broker, SLC_OBJECT_QUEUE, &id);
        if (queue == NULL)
            continue;
        if (number == 0)
            return &queue->lane;
        uint32_t level = number ^ queue->settings.plain_priority;
        return queue->lanes != NULL && level <= queue->settings.max_priority
                   ? slc_lanes_ensure(queue->lanes, (uint8_t)level)
                   : NULL;
    }
    return NULL;
}

bool slc_broker_recover_queue(slc_broker *broker, uint32_t qid, const uint8_t uuid[SLC_UUID_BYTES],
                              uint64_t next_qseq, uint64_t messages, uint64_t bytes,
                              uint64_t delivered_qseq)
{
    slc_id id;
    memcpy(id.octets, uuid, SLC_ID_BYTES);
    const slc_exchange *exchange = slc_object_find(broker, SLC_OBJECT_EXCHANGE, &id);
    if (exchange != NULL && slc_exchange_schedule(exchange) != NULL) {
        slc_schedule_recovered(slc_exchange_schedule(exchange), qid, next_qseq, messages);
        return true;
    }
    slc_lane *lane = recover_lane(broker, &id);
    if (lane == NULL)
        return false;
    slc_queue_recovered(lane, qid, next_qseq, messages, bytes, delivered_qseq);
    return true;
}

static void propose_vhost(slc_broker *broker, slc_slice name)
{
    slc_changes changes = {0};
    slc_id vhost = slc_id_new(broker);
    slc_changes_put_vhost(&changes, &vhost, name);
    for (uint32_t i = 0; i < slc_predeclared_count; i++) {
        const slc_predeclared *x = &slc_predeclared_exchanges[i];
        slc_id id = slc_id_new(broker);
        slc_changes_put_exchange(&changes, &id, &vhost, slc_slice_str(x->name),
                                 slc_slice_str(x->type), false, x->internal, (slc_slice){0});
    }
    slc_vhost_begins(broker, &changes, name, &vhost);
    slc_propose(broker, &changes, NULL, 0, 0);
}

/** By configuration a vhost may need an exchange of the broker that it does not have yet. */
static void propose_system_exchanges(slc_broker *broker)
{
    slc_changes changes = {0};
    slc_vhost *vhost, *next;
    HASH_ITER(hh, broker->vhosts, vhost, next)
    slc_system_exchanges(broker, &changes, vhost, vhost->name, &vhost->id);
    if (changes.count > 0)
        slc_propose(broker, &changes, NULL, 0, 0);
}

void slc_broker_start(slc_broker *broker)
{
    SLC_ASSERT(!broker->started);
    broker->started = true;
    slc_policy_start(broker);
    slc_vhost *vhost, *next;
    HASH_ITER(hh, broker->vhosts, vhost, next)
    {
        slc_queue *queue, *next_queue;
        HASH_ITER(hh, vhost->queues, queue, next_queue)
        {
            if (queue->lane.qid == 0)
                slc_queue_enter_store(queue);
        }
        slc_exchange *x, *next_x;
        HASH_ITER(hh, vhost->exchanges, x, next_x)
        {
            slc_schedule *schedule = slc_exchange_schedule(x);
            if (schedule == NULL || !x->dest.durable)
                continue;
            slc_schedule_enter_store(schedule, x->id);
            slc_schedule_start(schedule);
        }
    }
    propose_system_exchanges(broker);
    // Only where there is nothing at all: a default vhost that was deleted stays away.
    if (broker->vhosts == NULL)
        propose_vhost(broker, slc_slice_str(broker->default_vhost));
}

/* ---- turn ---- */

void slc_broker_delete_orphans(slc_broker *broker)
{
    slc_vhost *vhost, *next;
    HASH_ITER(hh, broker->vhosts, vhost, next)
    {
        slc_exchange *x, *next_x;
        HASH_ITER(hh, vhost->exchanges, x, next_x)
        {
            if (!x->auto_delete || !x->dest.durable || !x->had_binding || x->bindings != NULL)
                continue;
            uint64_t touch = slc_touch(vhost, SLC_DEST_EXCHANGE, x->dest.name);
            if (slc_op_conflict(broker, touch, 0)) {
                broker->orphans_later = true;
                continue;
            }
            slc_changes changes = {0};
            slc_changes_delete_destination(&changes, broker, &x->dest);
            slc_propose(broker, &changes, NULL, touch, 0);
        }
    }
}

static bool broker_dispatch(slc_broker *broker)
{
    // Only those that are dirty now: what dispatching makes dirty again waits for the next turn, after the sockets.
    slc_queue *last = broker->dirty != NULL ? broker->dirty->dirty_prev : NULL;
    while (broker->dirty != NULL) {
        slc_queue *queue = broker->dirty;
        DL_DELETE2(broker->dirty, queue, dirty_prev, dirty_next);
        queue->dirty = false;
        if (slc_queue_dispatch(queue))
            slc_queue_mark_dirty(queue);
        if (queue == last)
            break;
    }
    return broker->dirty != NULL;
}

static void broker_send_confirms(slc_broker *broker)
{
    slc_session *session, *next;
    DL_FOREACH_SAFE2(broker->confirm_list, session, next, confirm_next)
    {
        slc_confirm_send(session);
    }
}

static void broker_cool(slc_broker *broker)
{
    // In turn: who was looked at goes to the end of the list.
    for (uint32_t i = 0; i < COOL_QUEUES && broker->hot_bytes > slc_broker_warm_bytes(broker);
         i++) {
        slc_queue *queue = broker->stored;
        if (queue == NULL)
            break;
        slc_queue_cool(queue, COOL_BUDGET);
        DL_DELETE2(broker->stored, queue, stored_prev, stored_next);
        DL_APPEND2(broker->stored, queue, stored_prev, stored_next);
    }
}

bool slc_broker_turn(slc_broker *broker)
{
    if (broker->orphans_due) {
        broker->orphans_due = false;
        slc_broker_delete_orphans(broker);
    }
    if (broker->vhosts_doomed)
        slc_broker_delete_doomed(broker);
    if (broker->resume_due) {
        broker->resume_due = false;
        slc_session_resume_ready(broker);
    }
    if (broker->imports != NULL)
        slc_import_turn(broker);
    bool more = slc_policy_turn(broker);
    more |= broker->schedules != NULL && slc_schedules_turn(broker);
    more |= slc_expiry_next_due_ms(broker) != SLC_NEVER && slc_expiry_turn(broker);
    more |= slc_retry_turn(broker);
    more |= slc_dead_letter_turn(broker);
    more |= broker_dispatch(broker);
    more |= broker->system.first != NULL && slc_system_turn(broker);
    slc_trash_empty(broker, SLC_TRASH_BUDGET);
    if (broker->confirms_due) {
        broker->confirms_due = false;
        broker_send_confirms(broker);
    }
    if (broker->hot_bytes > slc_broker_warm_bytes(broker))
        broker_cool(broker);
    // A queue that was over its limit has given something up since the dead letters' turn.
    return more || broker->resume_due || broker->orphans_due || broker->trash != NULL ||
           !slc_dead_letter_idle(broker);
}

void slc_broker_durable(slc_broker *broker, uint64_t ticket)
{
    uint64_t *durable =
        (ticket & SLC_TICKET_LARGE) != 0 ? &broker->durable_large : &broker->durable_ticket;
    SLC_ASSERT(ticket >= *durable);
    *durable = ticket;
    broker->confirms_due = true;
    broker->resume_due = broker->resume_due || broker->waiting != NULL;
}

/* ---- whose doing it is ---- */

void slc_broker_act_as(slc_broker *broker, const char *user)
{
    snprintf(broker->actor, sizeof broker->actor, "%s", user != NULL ? user : "");
}

const char *slc_broker_actor(const slc_broker *broker)
{
    return broker->actor[0] != '\0' ? broker->actor : "rmq-internal";
}

/* ---- pressure ---- */

const char *slc_broker_pressure_reason(const slc_broker *broker)
{
    if (broker->memory_alarm)
        return broker->disk_alarm ? "low on memory & disk" : "low on memory";
    return broker->disk_alarm ? "low on disk" : NULL;
}

void slc_broker_pressure(slc_broker *broker, bool memory, bool disk)
{
    bool was = broker->memory_alarm || broker->disk_alarm;
    if (memory != broker->memory_alarm)
        slc_event_alarm(broker, "memory", memory);
    if (disk != broker->disk_alarm)
        slc_event_alarm(broker, "disk", disk);
    if (memory && !broker->memory_alarm)
        slc_growers_find(broker, SLC_RESOURCE_MEMORY, &broker->growers[SLC_RESOURCE_MEMORY]);
    if (disk && !broker->disk_alarm)
        slc_growers_find(broker, SLC_RESOURCE_DISK, &broker->growers[SLC_RESOURCE_DISK]);
    broker->memory_alarm = memory;
    broker->disk_alarm = disk;
    bool is = memory || disk;
    if (is == was)
        return;
    slc_client *client;
    DL_FOREACH(broker->clients, client)
    {
        client->ops->pressure(client, is, slc_broker_pressure_reason(broker));
    }
}

void slc_broker_flow(slc_broker *broker, bool on)
{
    if (broker->flow == on)
        return;
    broker->flow = on;
    slc_client *client;
    DL_FOREACH(broker->clients, client)
    {
        client->ops->flow(client, on);
    }
}

bool slc_broker_flowing(const slc_broker *broker)
{
    return broker->flow;
}

/* ---- stop ---- */

bool slc_broker_idle(const slc_broker *broker)
{
    if (broker->ops != NULL || broker->waiting != NULL || broker->trash != NULL ||
        broker->imports != NULL || !slc_dead_letter_idle(broker))
        return false;
    const slc_session *session;
    DL_FOREACH2(broker->confirm_list, session, confirm_next)
    {
        if (session->confirms.count > 0)
            return false;
    }
    return true;
}

void slc_broker_stop(slc_broker *broker)
{
    slc_trash_empty(broker, UINT64_MAX); // what was purged must not come back
    slc_queue *queue;
    DL_FOREACH2(broker->stored, queue, stored_next)
    {
        for (slc_lane *l = NULL; (l = slc_lane_next(queue, l)) != NULL;) {
            if (l->qid != 0)
                broker->env.store_delivered(broker->env.arg, l->qid, l->delivered_qseq);
        }
    }
}

/* ---- clients ---- */

static void text_default(const char **text)
{
    if (*text == NULL)
        *text = "";
}

void slc_client_open(slc_client *client)
{
    slc_broker *broker = client->broker;
    const char **texts[] = {
        &client->info.name,
        &client->info.user,
        &client->info.protocol,
        &client->info.state,
        &client->info.auth_mechanism,
        &client->info.tls_protocol,
        &client->info.tls_key_exchange,
        &client->info.tls_cipher,
        &client->info.tls_hash,
        &client->info.peer_subject,
        &client->info.peer_issuer,
        &client->info.peer_validity,
    };
    for (size_t i = 0; i < SLC_ARRAY_COUNT(texts); i++)
        text_default(texts[i]);
    client->id = ++broker->last_client_id;
    client->info.connected_at_ms = broker->env.wall_ms(broker->env.arg);
    DL_APPEND(broker->clients, client);
    broker->totals.connections += !client->hidden;
    broker->totals.connections_opened += !client->hidden;
    slc_event_client(client, true);
}

void slc_client_close(slc_client *client)
{
    SLC_ASSERT(client->sessions == NULL);
    while (client->exclusive_queues != NULL)
        slc_queue_delete(client->exclusive_queues);
    slc_event_client(client, false);
    DL_DELETE(client->broker->clients, client);
    client->broker->totals.connections -= !client->hidden;
    client->broker->totals.connections_closed += !client->hidden;
}
