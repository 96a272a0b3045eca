#include "core/dead_letter.h"

#include "base/log.h"
#include "core/death_history.h"
#include "core/internal.h"
#include "core/properties.h"

enum { TURN_BUDGET = 1024, DROP_DEAD_LETTERED = 5 };

/** One message that waits. */
typedef struct waiting_death {
    slc_queue *queue; // held
    slc_entry *entry;
    slc_death reason;
} waiting_death;

/** A ring, grown when it is full. */
struct slc_deaths {
    waiting_death *items;
    uint32_t capacity; // power of two
    uint32_t first, count;
    slc_route route;
    slc_buffer headers, props;
};

static const char *const reasons[] = {
    [SLC_DEATH_REJECTED] = "rejected",
    [SLC_DEATH_EXPIRED] = "expired",
    [SLC_DEATH_MAXLEN] = "maxlen",
    [SLC_DEATH_DELIVERY_LIMIT] = "delivery_limit",
};

void slc_dead_letter(slc_queue *queue, slc_entry *entry, slc_death reason)
{
    slc_broker *broker = queue->broker;
    if (broker->deaths == NULL)
        broker->deaths = slc_alloc_zero(1, sizeof *broker->deaths);
    slc_deaths *d = broker->deaths;
    if (d->count == d->capacity) {
        uint32_t capacity = d->capacity == 0 ? 64 : 2 * d->capacity;
        waiting_death *items = slc_alloc(capacity * sizeof *items);
        for (uint32_t i = 0; i < d->count; i++)
            items[i] = d->items[(d->first + i) & (d->capacity - 1)];
        slc_free(d->items);
        d->items = items;
        d->capacity = capacity;
        d->first = 0;
    }
    slc_queue_hold(queue);
    queue->dying++;
    d->items[(d->first + d->count++) & (d->capacity - 1)] =
        (waiting_death){.queue = queue, .entry = entry, .reason = reason};
}

/* ---- the message that goes on ---- */

/** A copy with its new exchange and key, the death in its headers, and no expiration. NULL: no memory for its body. */
static slc_message *message_after(slc_deaths *d, const slc_queue *queue, const slc_message *m,
                                  slc_death reason)
{
    const slc_queue_settings *settings = &queue->settings;
    slc_broker *broker = queue->broker;
    slc_slice headers = slc_message_headers(m), expiration = {0};
    (void)slc_message_property(m, SLC_PROPERTY_EXPIRATION, &expiration);
    slc_death_event event = {
        .reason = reasons[reason],
        .queue = queue->dest.name,
        .exchange = slc_message_exchange(m),
        .key = slc_message_key(m),
        .key_only = m->one_key,
        .expiration = expiration,
        .time_s = broker->env.wall_ms(broker->env.arg) / 1000,
    };
    d->headers.bytes = d->props.bytes = 0;
    slc_death_headers(headers, m->died || broker->x_death_trusted,
                      settings->has_dead_letter_key && broker->x_death_drops_cc, &event,
                      &d->headers);
    slc_properties_with(slc_message_props(m), slc_buffer_slice(&d->headers),
                        SLC_PROPERTY_EXPIRATION, (slc_slice){0}, &d->props);
    bool keyed = settings->has_dead_letter_key;
    slc_message *copy = slc_message_new_hidden(
        settings->dead_letter_exchange, keyed ? settings->dead_letter_key : slc_message_key(m),
        slc_buffer_slice(&d->props), m->body_bytes, m->persistent,
        keyed ? (slc_slice){0} : slc_message_hidden(m));
    if (copy == NULL)
        return NULL;
    if (m->body_bytes > 0)
        memcpy(slc_message_body(copy), slc_message_body((slc_message *)(uintptr_t)m),
               m->body_bytes);
    slc_message_set_died(copy);
    if (keyed || m->one_key)
        slc_message_set_one_key(copy);
    copy->priority = m->priority;
    copy->ts_ms = broker->env.wall_ms(broker->env.arg);
    return copy;
}

/* ---- where to ---- */

/** The queues that get m; false: there is no such exchange. */
static bool deaths_route(slc_vhost *vhost, slc_message *m, slc_route *route)
{
    slc_slice name = slc_message_exchange(m);
    slc_exchange *exchange = name.bytes == 0 ? NULL : slc_vhost_exchange(vhost, name);
    if (exchange == NULL && name.bytes > 0)
        return false;
    slc_route_all_keys(vhost, exchange, m, slc_message_headers(m), route);
    if (exchange == NULL)
        exchange = vhost->default_exchange;
    exchange->messages_in++;
    exchange->messages_out += route->count;
    return true;
}

static void cycles_drop(slc_queue *queue, const slc_message *m, slc_death reason, slc_route *route)
{
    if (reason == SLC_DEATH_REJECTED)
        return; // somebody did that, and may not do it the next time
    slc_slice headers = slc_message_headers(m);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < route->count; i++) {
        if (!slc_death_is_cycle(headers, route->queues[i]->name)) {
            route->queues[kept++] = route->queues[i];
            continue;
        }
        if (queue->cycle_logged)
            continue;
        queue->cycle_logged = true;
        char text[640];
        slc_resource_text(queue->vhost, SLC_DEST_QUEUE, queue->dest.name, text, sizeof text);
        slc_log(SLC_LOG_WARN, "queue", "queue.dead_letter.cycle",
                SLC_FIELDS(SLC_F_STR("queue", text)),
                "a message that died (%s) in %s would come back to queue '%.*s', in which it died "
                "before without having been rejected since: it is dropped, as any later one",
                reasons[reason], text, SLC_SLICE_FMT(route->queues[i]->name));
    }
    route->count = kept;
}

static void death_work(slc_broker *broker, slc_deaths *d, const waiting_death *w)
{
    const slc_env *env = &broker->env;
    slc_queue *queue = w->queue;
    slc_message *copy = NULL;
    if (!queue->deleted && queue->settings.dead_letter)
        copy = message_after(d, queue, w->entry->message, w->reason);
    bool routed = copy != NULL && deaths_route(queue->vhost, copy, &d->route);
    // Its publisher waits for what becomes of a refused message, also when the next queue is full too.
    bool refused = (w->entry->flags & SLC_ENTRY_REFUSED) != 0;
    uint64_t session = refused ? w->entry->message->session : 0;
    uint64_t publish_seq = w->entry->message->publish_seq;
    uint64_t ticket = 0;
    slc_refusal again = {0};
    if (routed)
        cycles_drop(queue, copy, w->reason, &d->route);
    if (!routed || d->route.count == 0) {
        broker->totals.dead_lettered_dropped++;
        slc_queue_settled(queue, w->entry, DROP_DEAD_LETTERED);
    } else {
        broker->totals.dead_lettered++;
        // What is submitted so has no mark SLC_TICKET_LARGE: the last ticket of some deaths covers them all.
        bool atomic = refused || (w->entry->flags & SLC_ENTRY_STORED) != 0;
        copy->session = session;
        copy->publish_seq = publish_seq;
        if (atomic)
            env->store_atomic(env->arg, true);
        ticket = slc_publish_try(broker, copy, d->route.queues, d->route.count, &again);
        slc_queue_settled(queue, w->entry, DROP_DEAD_LETTERED);
        if (atomic)
            env->store_atomic(env->arg, false);
    }
    if (refused)
        slc_confirm_died(broker, session, publish_seq, ticket != 0, again.deaths);
    if (copy != NULL)
        slc_message_unref(copy);
    slc_queue_release(queue);
}

static waiting_death deaths_pop(slc_deaths *d)
{
    waiting_death w = d->items[d->first];
    d->first = (d->first + 1) & (d->capacity - 1);
    d->count--;
    w.queue->dying--;
    return w;
}

static void deaths_work_next(slc_broker *broker)
{
    waiting_death w = deaths_pop(broker->deaths);
    death_work(broker, broker->deaths, &w);
}

bool slc_dead_letter_turn(slc_broker *broker)
{
    slc_deaths *d = broker->deaths;
    if (d == NULL)
        return false;
    for (uint32_t i = 0; i < TURN_BUDGET && d->count > 0; i++)
        deaths_work_next(broker);
    return d->count > 0;
}

void slc_dead_letter_leaving(slc_queue *queue)
{
    // In order, with those of other queues that died before.
    while (queue->dying > 0)
        deaths_work_next(queue->broker);
}

bool slc_dead_letter_idle(const slc_broker *broker)
{
    return broker->deaths == NULL || broker->deaths->count == 0;
}

void slc_dead_letter_fini(slc_broker *broker)
{
    slc_deaths *d = broker->deaths;
    if (d == NULL)
        return;
    while (d->count > 0) {
        waiting_death w = deaths_pop(d);
        slc_entry_free(w.queue, w.entry);
        slc_queue_release(w.queue);
    }
    slc_free(d->items);
    slc_route_fini(&d->route);
    slc_buffer_fini(&d->headers);
    slc_buffer_fini(&d->props);
    slc_free(d);
    broker->deaths = NULL;
}
