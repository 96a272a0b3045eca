#include "core/schedule.h"

#include <inttypes.h>

#include "base/log.h"
#include "core/internal.h"
#include "core/properties.h"

enum {
    SOON_MS = 2000,    // a stored message that is due by then stays in memory
    TURN_BUDGET = 512, // messages routed per turn and schedule
    READ_COUNT = 512,
    READ_BYTES = 2 * 1024 * 1024,
};

typedef struct waiting {
    uint64_t due_ms;
    uint64_t qseq;
    slc_message *message; // a reference; NULL: in the store only
} waiting;

struct slc_schedule {
    slc_broker *broker;
    slc_exchange *exchange; // NULL: closed, it lives until its read is answered
    slc_queue *queue;
    waiting *heap; // binary, by due time, then position
    uint32_t count, capacity;
    waiting *ripe; // due, with their message, in order
    uint32_t ripe_first, ripe_count, ripe_capacity;
    uint64_t recover_count; // at the start: so many are still to be read
    uint64_t recover_from;
    uint64_t read_qseq; // what the read under way was asked for
    bool reading;
    bool damaged; // a read failed: what is stored stands still
    slc_route route;
    slc_schedule *prev, *next; // of broker->schedules
};

/* ---- x-delay ---- */

uint64_t slc_delay_of(slc_slice headers)
{
    slc_value value;
    if (headers.bytes == 0 || !slc_table_find(headers, slc_slice_str("x-delay"), &value) ||
        !slc_value_is_integer(&value) || value.integer <= 0)
        return 0;
    return (uint64_t)value.integer;
}

/** x-delay becomes negative, as a consumer of the plugin sees it. In place, so an unsigned type becomes the signed one of its
 *  width; a value that this cannot hold stays as it is. message: nobody else has it. */
static void delay_negate(slc_message *message)
{
    slc_value value;
    if (!slc_table_find(slc_message_headers(message), slc_slice_str("x-delay"), &value) ||
        !slc_value_is_integer(&value) || value.raw.bytes < 2)
        return;
    static const char unsigned_types[][2] = {{'B', 'b'}, {'u', 's'}, {'i', 'I'}};
    size_t bytes = value.raw.bytes - 1;
    uint8_t *at = message->content + (value.raw.data - message->content);
    char type = value.type;
    for (size_t i = 0; i < SLC_ARRAY_COUNT(unsigned_types); i++) {
        if (type == unsigned_types[i][0])
            type = unsigned_types[i][1];
    }
    if (bytes < 8 && value.integer > INT64_C(1) << (8 * bytes - 1))
        return;
    uint64_t negated = 0 - (uint64_t)value.integer;
    at[0] = (uint8_t)type;
    for (size_t i = 0; i < bytes; i++)
        at[bytes - i] = (uint8_t)(negated >> (8 * i));
}

/* ---- heap ---- */

static bool earlier(const waiting *a, const waiting *b)
{
    return a->due_ms < b->due_ms || (a->due_ms == b->due_ms && a->qseq < b->qseq);
}

static void heap_push(slc_schedule *s, waiting item)
{
    if (s->count == s->capacity) {
        SLC_ASSERT(s->capacity <= UINT32_MAX / 2);
        s->capacity = s->capacity == 0 ? 16 : 2 * s->capacity;
        s->heap = slc_realloc(s->heap, s->capacity * sizeof *s->heap);
    }
    uint32_t at = s->count++;
    for (; at > 0 && earlier(&item, &s->heap[(at - 1) / 2]); at = (at - 1) / 2)
        s->heap[at] = s->heap[(at - 1) / 2];
    s->heap[at] = item;
}

static waiting heap_take(slc_schedule *s, uint32_t at)
{
    waiting taken = s->heap[at];
    waiting item = s->heap[--s->count];
    if (at == s->count)
        return taken;
    for (; at > 0 && earlier(&item, &s->heap[(at - 1) / 2]); at = (at - 1) / 2)
        s->heap[at] = s->heap[(at - 1) / 2];
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= s->count)
            break;
        if (child + 1 < s->count && earlier(&s->heap[child + 1], &s->heap[child]))
            child++;
        if (!earlier(&s->heap[child], &item))
            break;
        s->heap[at] = s->heap[child];
        at = child;
    }
    s->heap[at] = item;
    return taken;
}

static waiting heap_pop(slc_schedule *s)
{
    return heap_take(s, 0);
}

/** The broker looks again by then. */
static void schedule_wake(slc_schedule *s)
{
    slc_broker *broker = s->broker;
    uint64_t due_ms = s->ripe_count > 0 ? 0 : s->count > 0 ? s->heap[0].due_ms : UINT64_MAX;
    if (due_ms < broker->schedule_due_ms)
        broker->schedule_due_ms = due_ms;
}

/* ---- life ---- */

slc_schedule *slc_schedule_new(slc_exchange *exchange)
{
    slc_schedule *s = slc_alloc_zero(1, sizeof *s);
    s->broker = exchange->vhost->broker;
    s->exchange = exchange;
    slc_queue *q = slc_alloc_zero(1, sizeof *q);
    q->dest.kind = SLC_DEST_QUEUE;
    q->dest.name = slc_slice_copy(exchange->dest.name);
    q->dest.durable = exchange->dest.durable;
    q->broker = s->broker;
    q->vhost = exchange->vhost;
    q->next_qseq = 1;
    slc_lane_init(&q->lane, q, 0);
    q->schedule = s;
    s->queue = q;
    slc_queue_hold(q);
    DL_APPEND(s->broker->schedules, s);
    return s;
}

static void schedule_free(slc_schedule *s)
{
    while (s->count > 0) {
        waiting item = heap_pop(s);
        if (item.message != NULL)
            slc_message_unref(item.message);
    }
    for (uint32_t i = 0; i < s->ripe_count; i++)
        slc_message_unref(s->ripe[s->ripe_first + i].message);
    slc_free(s->heap);
    slc_free(s->ripe);
    slc_route_fini(&s->route);
    slc_queue_release(s->queue);
    slc_free(s);
}

void slc_schedule_close(slc_schedule *schedule)
{
    slc_broker *broker = schedule->broker;
    slc_queue *queue = schedule->queue;
    DL_DELETE(broker->schedules, schedule);
    if (queue->lane.qid != 0)
        broker->last_ticket = broker->env.store_queue_del(broker->env.arg, queue->lane.qid);
    queue->deleted = true; // a transaction may still hold it
    schedule->exchange = NULL;
    if (!schedule->reading)
        schedule_free(schedule);
}

slc_queue *slc_schedule_queue(const slc_schedule *schedule)
{
    return schedule->queue;
}

uint64_t slc_schedule_count(const slc_schedule *schedule)
{
    return (uint64_t)schedule->count + schedule->ripe_count + schedule->recover_count;
}

/* ---- in ---- */

uint64_t slc_schedule_due_ms(const slc_schedule *schedule, const slc_message *message)
{
    uint64_t ms = slc_delay_of(slc_message_headers(message));
    uint64_t max_ms = schedule->broker->due_max_ms;
    return message->ts_ms + (ms < max_ms ? ms : max_ms);
}

void slc_schedule_put(slc_schedule *schedule, uint64_t qseq, slc_message *message, bool stored)
{
    uint64_t due_ms = slc_schedule_due_ms(schedule, message);
    bool keep = !stored || due_ms <= message->ts_ms + SOON_MS;
    heap_push(schedule, (waiting){due_ms, qseq, keep ? slc_message_ref(message) : NULL});
    schedule_wake(schedule);
}

/* ---- out ---- */

/** Route one message whose time has come. */
static void schedule_fire(slc_schedule *s, waiting item)
{
    slc_broker *broker = s->broker;
    const slc_env *env = &broker->env;
    slc_message *message = item.message;
    if (message->refs > 1) {
        // The store may be writing it, its publisher may wait for it: a copy goes on.
        slc_message *copy;
        slc_slice content = slc_slice_of(message->content, slc_message_content_bytes(message));
        if (slc_message_load(content, &copy) != SLC_OK) { // no memory: it waits on
            heap_push(s, item);
            return;
        }
        copy->priority = message->priority;
        slc_message_unref(message);
        message = copy;
    }
    message->session = 0;
    message->ts_ms = env->wall_ms(env->arg);
    bool stored = s->queue->lane.qid != 0 && message->persistent;
    delay_negate(message);
    message->ttl = slc_message_expiration(message); // one that was stored or copied has lost it
    slc_slice *keys;
    uint32_t key_count = slc_message_more_keys(message, &keys);
    slc_route_input input = {.key = slc_message_key(message),
                             .more_keys = keys,
                             .more_key_count = key_count,
                             .headers = slc_message_headers(message),
                             .message = message};
    slc_route_message(s->exchange, &input, &s->route);
    slc_free(keys);
    if (stored)
        env->store_atomic(env->arg, true);
    if (s->route.count > 0)
        (void)slc_publish_to(broker, message, s->route.queues, s->route.count);
    else
        broker->totals.stats.dropped++;
    if (stored) {
        // What cancels its append is in the same batch as the append of the copies: its confirm comes with that.
        bool cancelled;
        broker->last_ticket =
            env->store_drop(env->arg, s->queue->lane.qid, item.qseq, 0 /* ack */, &cancelled);
        env->store_atomic(env->arg, false);
    }
    slc_message_unref(message);
}

static void ripe_push(slc_schedule *s, waiting item)
{
    if (s->ripe_count == 0)
        s->ripe_first = 0;
    if (s->ripe_first + s->ripe_count == s->ripe_capacity) {
        s->ripe_capacity = s->ripe_capacity == 0 ? 64 : 2 * s->ripe_capacity;
        s->ripe = slc_realloc(s->ripe, s->ripe_capacity * sizeof *s->ripe);
    }
    s->ripe[s->ripe_first + s->ripe_count++] = item;
}

static void damage_log(const slc_schedule *s, uint64_t qseq, const char *what)
{
    char text[640];
    slc_resource_text(s->exchange->vhost, SLC_DEST_EXCHANGE, s->exchange->dest.name, text,
                      sizeof text);
    slc_log(SLC_LOG_ERROR, "queue", "exchange.delayed.damaged",
            SLC_FIELDS(SLC_F_STR("exchange", text), SLC_F_U64("position", qseq)),
            "the delayed message at position %" PRIu64
            " of %s is not in the store as it should be; %s",
            qseq, text, what);
}

static const slc_env_read_message *read_find(const slc_env_read_message *messages, uint32_t count,
                                             uint64_t qseq)
{
    uint32_t low = 0, high = count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (messages[middle].qseq < qseq)
            low = middle + 1;
        else
            high = middle;
    }
    return low < count && messages[low].qseq == qseq ? &messages[low] : NULL;
}

/** Those that are due, in their order, as far as this read brought them. */
static void read_ripen(slc_schedule *s, const slc_env_read_message *messages, uint32_t count)
{
    uint64_t now = s->broker->env.wall_ms(s->broker->env.arg);
    for (bool first = true; s->count > 0 && s->heap[0].due_ms <= now; first = false) {
        if (s->heap[0].message == NULL) {
            const slc_env_read_message *read = read_find(messages, count, s->heap[0].qseq);
            slc_err rc =
                read != NULL ? slc_message_load(read->content, &s->heap[0].message) : SLC_ENOTFOUND;
            if (rc == SLC_ENOMEM || (rc != SLC_OK && (!first || s->heap[0].qseq != s->read_qseq)))
                return; // asked for again, at the pace of the reads
            if (rc != SLC_OK) {
                damage_log(s, heap_pop(s).qseq, "it is left out");
                continue;
            }
            s->heap[0].message->priority = read->priority;
        }
        ripe_push(s, heap_pop(s));
    }
}

static void read_done(slc_err rc, const slc_env_read_message *messages, uint32_t count, void *arg)
{
    slc_schedule *s = arg;
    s->reading = false;
    if (s->exchange == NULL) {
        schedule_free(s);
        return;
    }
    if (rc == SLC_OK)
        read_ripen(s, messages, count);
    else if (rc != SLC_ENOMEM) {
        s->damaged = true;
        damage_log(s, s->heap[0].qseq, "the stored messages of the exchange stand still");
    }
    s->broker->schedule_due_ms = 0;
}

/** True: more of it can go at once. */
static bool schedule_turn(slc_schedule *s, uint64_t now)
{
    const slc_env *env = &s->broker->env;
    for (uint32_t budget = TURN_BUDGET; budget > 0; budget--) {
        if (s->ripe_count > 0) {
            s->ripe_count--;
            schedule_fire(s, s->ripe[s->ripe_first++]);
            continue;
        }
        if (s->reading || s->recover_count > 0 || s->count == 0 || s->heap[0].due_ms > now)
            return false;
        if (s->heap[0].message != NULL) {
            schedule_fire(s, heap_pop(s));
            continue;
        }
        if (s->damaged)
            return false;
        s->reading = true;
        s->read_qseq = s->heap[0].qseq;
        env->store_read(env->arg, s->queue->lane.qid, s->heap[0].qseq, READ_COUNT, READ_BYTES,
                        read_done, s);
        return false;
    }
    return true;
}

bool slc_schedules_turn(slc_broker *broker)
{
    uint64_t now = broker->env.wall_ms(broker->env.arg);
    if (now < broker->schedule_due_ms)
        return false;
    // Routing raises it again where a way leads into a schedule.
    broker->schedule_due_ms = UINT64_MAX;
    bool more = false;
    slc_schedule *s;
    DL_FOREACH(broker->schedules, s)
    {
        more = schedule_turn(s, now) || more;
    }
    DL_FOREACH(broker->schedules, s)
    {
        // One that waits for a read is woken by it; one that is damaged stands still.
        if (!s->reading && s->recover_count == 0 && !s->damaged)
            schedule_wake(s);
    }
    return more;
}

uint64_t slc_broker_next_due_ms(const slc_broker *broker)
{
    uint64_t due_ms = broker->schedules != NULL ? broker->schedule_due_ms : UINT64_MAX;
    uint64_t expiry_ms = slc_expiry_next_due_ms(broker);
    uint64_t retry_ms = slc_due_next(&broker->retries);
    if (retry_ms < due_ms)
        due_ms = retry_ms;
    return expiry_ms < due_ms ? expiry_ms : due_ms;
}

/* ---- for operators ---- */

/** A list under way: what is not in memory is read one by one, so that no more than one body is held. */
typedef struct listing {
    slc_broker *broker;
    uint32_t qid;
    uint32_t count, next;
    slc_delayed_listed done;
    void *arg;
    slc_delayed_message items[];
} listing;

static void listing_learn(slc_delayed_message *item, const slc_message *message)
{
    slc_slice id = {0};
    (void)slc_message_property(message, SLC_PROPERTY_MESSAGE_ID, &id);
    item->known = true;
    item->body_bytes = message->body_bytes;
    item->key = slc_slice_copy(slc_message_key(message));
    item->message_id = slc_slice_copy(id);
}

static void listing_read(listing *l);

static void listing_read_done(slc_err rc, const slc_env_read_message *messages, uint32_t count,
                              void *arg)
{
    listing *l = arg;
    slc_delayed_message *item = &l->items[l->next++];
    slc_message *message;
    if (rc == SLC_OK && count > 0 && messages[0].qseq == item->position &&
        slc_message_load(messages[0].content, &message) == SLC_OK) {
        listing_learn(item, message);
        slc_message_unref(message);
    }
    listing_read(l);
}

static void listing_read(listing *l)
{
    while (l->next < l->count && l->items[l->next].known)
        l->next++;
    if (l->next < l->count) {
        l->broker->env.store_read(l->broker->env.arg, l->qid, l->items[l->next].position, 1, 1,
                                  listing_read_done, l);
        return;
    }
    l->done(l->items, l->count, l->arg);
    for (uint32_t i = 0; i < l->count; i++) {
        slc_free((void *)l->items[i].key.data);
        slc_free((void *)l->items[i].message_id.data);
    }
    slc_free(l);
}

static void listing_add(listing *l, const waiting *w)
{
    slc_delayed_message *item = &l->items[l->count++];
    *item = (slc_delayed_message){.position = w->qseq, .due_ms = w->due_ms};
    if (w->message != NULL)
        listing_learn(item, w->message);
}

void slc_schedule_list(const slc_schedule *schedule, uint32_t max, slc_delayed_listed done,
                       void *arg)
{
    SLC_ASSERT(max > 0 && max <= SLC_DELAYED_LIST_MAX);
    listing *l = slc_alloc_zero(1, sizeof *l + max * sizeof l->items[0]);
    l->broker = schedule->broker;
    l->qid = schedule->queue->lane.qid;
    l->done = done;
    l->arg = arg;
    for (uint32_t i = 0; i < schedule->ripe_count && l->count < max; i++)
        listing_add(l, &schedule->ripe[schedule->ripe_first + i]);
    // The top of the heap, then always the earliest of those whose parent was taken.
    uint32_t edge[SLC_DELAYED_LIST_MAX + 1], edges = 0;
    if (schedule->count > 0)
        edge[edges++] = 0;
    while (edges > 0 && l->count < max) {
        uint32_t best = 0;
        for (uint32_t i = 1; i < edges; i++) {
            if (earlier(&schedule->heap[edge[i]], &schedule->heap[edge[best]]))
                best = i;
        }
        uint32_t at = edge[best];
        edge[best] = edge[--edges];
        listing_add(l, &schedule->heap[at]);
        for (uint32_t child = 2 * at + 1; child <= 2 * at + 2 && child < schedule->count; child++)
            edge[edges++] = child;
    }
    listing_read(l);
}

bool slc_schedule_cancel(slc_schedule *schedule, uint64_t position)
{
    slc_broker *broker = schedule->broker;
    uint32_t at = 0;
    while (at < schedule->count && schedule->heap[at].qseq != position)
        at++;
    if (at == schedule->count)
        return false;
    waiting item = heap_take(schedule, at);
    bool stored = item.message == NULL || item.message->persistent;
    if (schedule->queue->lane.qid != 0 && stored) {
        // Where this cancels its append the confirm comes with the ticket all the same.
        bool cancelled;
        broker->last_ticket = broker->env.store_drop(broker->env.arg, schedule->queue->lane.qid,
                                                     position, 0 /* ack */, &cancelled);
    }
    if (item.message != NULL)
        slc_message_unref(item.message);
    return true;
}

/* ---- the store ---- */

void slc_schedule_enter_store(slc_schedule *schedule, const uint8_t uuid[16])
{
    const slc_env *env = &schedule->broker->env;
    if (schedule->queue->lane.qid == 0)
        schedule->queue->lane.qid =
            env->store_queue_new(env->arg, uuid, &schedule->broker->last_ticket);
}

void slc_schedule_recovered(slc_schedule *schedule, uint32_t qid, uint64_t next_qseq,
                            uint64_t messages)
{
    schedule->queue->lane.qid = qid;
    schedule->queue->next_qseq = next_qseq;
    schedule->recover_count = messages;
    schedule->recover_from = 1;
}

static void recover_done(slc_err rc, const slc_env_read_message *messages, uint32_t count,
                         void *arg)
{
    slc_schedule *s = arg;
    s->reading = false;
    if (s->exchange == NULL) {
        schedule_free(s);
        return;
    }
    for (uint32_t i = 0; rc == SLC_OK && i < count && s->recover_count > 0; i++) {
        heap_push(s, (waiting){messages[i].expires_ms, messages[i].qseq, NULL});
        s->recover_from = messages[i].qseq + 1;
        s->recover_count--;
    }
    if (s->recover_count > 0 && (rc == SLC_ENOMEM || (rc == SLC_OK && count > 0))) {
        slc_schedule_start(s);
        return;
    }
    if (s->recover_count > 0)
        damage_log(s, s->recover_from, "it and those behind it stay where they are");
    s->recover_count = 0;
    s->broker->schedule_due_ms = 0;
}

void slc_schedule_start(slc_schedule *schedule)
{
    const slc_env *env = &schedule->broker->env;
    if (schedule->recover_count == 0)
        return;
    schedule->reading = true;
    env->store_read(env->arg, schedule->queue->lane.qid, schedule->recover_from, READ_COUNT,
                    READ_BYTES, recover_done, schedule);
}
