#include "fake_impl.h"

#include <string.h>

#include "base/alloc.h"

/** One append; its copies in the queues point to it. */
typedef struct appended {
    slc_message *message; // a reference of ours
    uint64_t ticket;      // durable when <= world->durable
    uint32_t copies;      // stored ones that point here
    uint32_t live;        // those of them that are not dropped
} appended;

typedef struct stored {
    uint64_t qseq;
    uint64_t drop_ticket; // 0: alive
    appended *append;
    uint64_t expires_ms;
} stored;

typedef struct stored_queue {
    uint32_t qid;
    uint8_t uuid[SLC_UUID_BYTES];
    uint64_t new_ticket, del_ticket, next_qseq;
    uint64_t delivered_qseq, dropped_to;
    stored *items; // ascending
    uint32_t count, capacity;
    struct stored_queue *next;
} stored_queue;

typedef struct definition {
    uint8_t key[512];
    size_t key_bytes;
    uint8_t *value;
    size_t value_bytes;
    struct definition *next;
} definition;

typedef struct proposal {
    slc_env_change *changes;
    uint32_t count;
    void (*done)(slc_err rc, void *arg);
    void *arg;
    struct proposal *next;
} proposal;

typedef struct pending_read {
    uint32_t qid, count_max;
    uint64_t from, bytes_max;
    bool executed;
    slc_err rc; // and what was read, once it is executed
    slc_env_read_message *messages;
    slc_message **held;
    uint32_t count;
    slc_env_read_cb cb;
    void *arg;
    struct pending_read *next;
} pending_read;

/* ---- env ---- */

static uint64_t fake_now_ns(void *arg)
{
    return ((fake_world *)arg)->time_ms * 1000000;
}

static uint64_t fake_wall_ms(void *arg)
{
    return ((fake_world *)arg)->time_ms;
}

static void fake_random(void *arg, void *out, uint32_t bytes)
{
    fake_world *w = arg;
    for (uint32_t i = 0; i < bytes; i++) {
        w->random = w->random * 6364136223846793005ull + 1442695040888963407ull;
        ((uint8_t *)out)[i] = (uint8_t)(w->random >> 56);
    }
}

static uint32_t fake_queue_new(void *arg, const uint8_t uuid[SLC_UUID_BYTES], uint64_t *ticket)
{
    fake_world *w = arg;
    stored_queue *q = slc_alloc_zero(1, sizeof *q);
    q->qid = ++w->last_qid;
    memcpy(q->uuid, uuid, SLC_UUID_BYTES);
    q->new_ticket = *ticket = ++w->ticket;
    q->next_qseq = 1;
    q->next = w->queues;
    w->queues = q;
    return q->qid;
}

static stored_queue *find_queue(fake_world *w, uint32_t qid)
{
    stored_queue *q = w->queues;
    while (q != NULL && q->qid != qid)
        q = q->next;
    return q;
}

static void drop(fake_world *w, stored *item)
{
    if (item->drop_ticket != 0)
        return;
    item->drop_ticket = w->ticket;
    item->append->live--;
}

static uint64_t fake_queue_del(void *arg, uint32_t qid)
{
    fake_world *w = arg;
    stored_queue *q = find_queue(w, qid);
    SLC_ASSERT(q != NULL);
    q->del_ticket = ++w->ticket;
    for (uint32_t i = 0; i < q->count; i++)
        drop(w, &q->items[i]);
    return w->ticket;
}

static uint64_t fake_append(void *arg, slc_message *message, const slc_env_target *targets,
                            uint32_t count)
{
    fake_world *w = arg;
    appended *append = slc_alloc(sizeof *append);
    *append = (appended){slc_message_ref(message), ++w->ticket, count, count};
    for (uint32_t i = 0; i < count; i++) {
        stored_queue *q = find_queue(w, targets[i].qid);
        SLC_ASSERT(q != NULL);
        SLC_ASSERT(targets[i].qseq >= q->next_qseq);
        SLC_ASSERT(targets[i].qseq > q->dropped_to);
        q->next_qseq = targets[i].qseq + 1;
        if (q->count == q->capacity) {
            q->capacity = q->capacity == 0 ? 64 : 2 * q->capacity;
            q->items = slc_realloc(q->items, q->capacity * sizeof *q->items);
        }
        q->items[q->count++] = (stored){targets[i].qseq, 0, append, targets[i].expires_ms};
    }
    if (w->atomic || w->large_bytes == 0 || slc_message_content_bytes(message) < w->large_bytes)
        return w->ticket;
    w->large_ticket = w->ticket | SLC_TICKET_LARGE;
    return w->large_ticket;
}

/** The first item at or above qseq. */
static uint32_t find_item(const stored_queue *q, uint64_t qseq)
{
    uint32_t low = 0;
    uint32_t high = q->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (q->items[middle].qseq < qseq)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static uint64_t fake_drop(void *arg, uint32_t qid, uint64_t qseq, int reason, bool *cancelled)
{
    fake_world *w = arg;
    (void)reason;
    w->ticket++;
    stored_queue *q = find_queue(w, qid);
    SLC_ASSERT(q != NULL);
    uint32_t at = find_item(q, qseq);
    // core never drops what it did not append, nor twice
    SLC_ASSERT(at < q->count);
    stored *item = &q->items[at];
    SLC_ASSERT(item->qseq == qseq);
    SLC_ASSERT(item->drop_ticket == 0);
    drop(w, item);
    *cancelled = !w->atomic && item->append->ticket > w->durable && item->append->live == 0;
    return w->ticket;
}

static uint64_t fake_drop_range(void *arg, uint32_t qid, uint64_t first, uint64_t last, int reason)
{
    fake_world *w = arg;
    (void)reason;
    w->ticket++;
    w->range_drops++;
    stored_queue *q = find_queue(w, qid);
    SLC_ASSERT(q != NULL);
    SLC_ASSERT(first <= last);
    SLC_ASSERT(last >= q->dropped_to);
    q->dropped_to = last;
    for (uint32_t i = find_item(q, first); i < q->count && q->items[i].qseq <= last; i++)
        drop(w, &q->items[i]);
    return w->ticket;
}

static void fake_atomic(void *arg, bool begin)
{
    fake_world *w = arg;
    SLC_ASSERT(w->atomic != begin);
    w->atomic = begin;
}

static void fake_read(void *arg, uint32_t qid, uint64_t from_qseq, uint32_t count_max,
                      uint64_t bytes_max, slc_env_read_cb cb, void *cb_arg)
{
    fake_world *w = arg;
    SLC_ASSERT(count_max >= 1);
    SLC_ASSERT(count_max <= 4096);
    SLC_ASSERT(from_qseq > find_queue(w, qid)->dropped_to);
    pending_read *r = slc_alloc_zero(1, sizeof *r);
    r->qid = qid;
    r->from = from_qseq;
    r->count_max = count_max;
    r->bytes_max = bytes_max;
    r->cb = cb;
    r->arg = cb_arg;
    r->next = w->reads;
    w->reads = r;
    w->read_count++;
}

static void fake_delivered(void *arg, uint32_t qid, uint64_t highest_qseq)
{
    find_queue(arg, qid)->delivered_qseq = highest_qseq;
}

static slc_slice copy_slice(slc_slice from)
{
    if (from.data == NULL)
        return from;
    uint8_t *data = slc_alloc(from.bytes + 1);
    memcpy(data, from.data, from.bytes);
    return slc_slice_of(data, from.bytes);
}

static void fake_propose(void *arg, const slc_env_change *changes, uint32_t count,
                         void (*done)(slc_err, void *), void *done_arg)
{
    fake_world *w = arg;
    proposal *p = slc_alloc_zero(1, sizeof *p);
    p->changes = slc_alloc(count * sizeof *p->changes);
    for (uint32_t i = 0; i < count; i++)
        p->changes[i] = (slc_env_change){copy_slice(changes[i].key), copy_slice(changes[i].value)};
    p->count = count;
    p->done = done;
    p->arg = done_arg;
    proposal **at = &w->proposals;
    while (*at != NULL)
        at = &(*at)->next;
    *at = p;
}

/* ---- the world's part of a turn ---- */

static void define(fake_world *w, const slc_env_change *change)
{
    definition **at = &w->definitions;
    while (*at != NULL && !slc_slice_equal(slc_slice_of((*at)->key, (*at)->key_bytes), change->key))
        at = &(*at)->next;
    if (change->value.data == NULL) {
        definition *gone = *at;
        if (gone != NULL) {
            *at = gone->next;
            slc_free(gone->value);
            slc_free(gone);
        }
        return;
    }
    if (*at == NULL) {
        *at = slc_alloc_zero(1, sizeof **at);
        memcpy((*at)->key, change->key.data, change->key.bytes);
        (*at)->key_bytes = change->key.bytes;
    }
    slc_free((*at)->value);
    (*at)->value = (uint8_t *)copy_slice(change->value).data;
    (*at)->value_bytes = change->value.bytes;
}

static bool apply_proposals(fake_world *w)
{
    bool any = false;
    while (w->proposals != NULL) {
        proposal *p = w->proposals;
        w->proposals = p->next;
        for (uint32_t i = 0; i < p->count; i++) {
            if (w->refuse_rc == SLC_OK) {
                define(w, &p->changes[i]);
                SLC_ASSERT(slc_broker_apply(w->broker, &p->changes[i], NULL) == SLC_OK);
            }
            slc_free((void *)p->changes[i].key.data);
            slc_free((void *)p->changes[i].value.data);
        }
        p->done(w->refuse_rc, p->arg);
        slc_free(p->changes);
        slc_free(p);
        any = true;
    }
    return any;
}

static void read_execute(fake_world *w, pending_read *r)
{
    if (r->executed)
        return;
    r->executed = true;
    stored_queue *q = find_queue(w, r->qid);
    uint64_t bytes = 0;
    r->messages = slc_alloc(r->count_max * sizeof *r->messages);
    r->held = slc_alloc(r->count_max * sizeof(r->held[0]));
    r->rc = w->damaged ? SLC_ECORRUPT : SLC_OK;
    for (uint32_t i = find_item(q, r->from); i < q->count && r->rc == SLC_OK; i++) {
        const stored *item = &q->items[i];
        if (r->count == r->count_max || (r->count > 0 && bytes >= r->bytes_max))
            break;
        if (item->drop_ticket != 0)
            continue;
        if (item->qseq == w->damaged_qseq) {
            r->rc = r->count == 0 ? SLC_ECORRUPT : SLC_OK;
            break;
        }
        slc_message *m = slc_message_ref(item->append->message);
        bytes += slc_message_content_bytes(m);
        r->held[r->count] = m;
        r->messages[r->count++] = (slc_env_read_message){
            .qseq = item->qseq,
            .ts_ms = m->ts_ms,
            .expires_ms = item->expires_ms,
            .priority = m->priority,
            .content = slc_slice_of(m->content, slc_message_content_bytes(m)),
        };
    }
}

static void read_answer(fake_world *w, pending_read *r)
{
    pending_read **at = &w->reads;
    while (*at != r)
        at = &(*at)->next;
    *at = r->next;
    read_execute(w, r);
    r->cb(r->rc, r->messages, r->count, r->arg);
    for (uint32_t i = 0; i < r->count; i++)
        slc_message_unref(r->held[i]);
    slc_free(r->messages);
    slc_free(r->held);
    slc_free(r);
}

static bool answer_reads(fake_world *w)
{
    bool any = false;
    while (w->reads != NULL) {
        read_answer(w, w->reads);
        any = true;
    }
    return any;
}

static pending_read *read_at(fake_world *w, uint32_t index)
{
    pending_read *r = w->reads;
    for (; index > 0 && r != NULL; index--)
        r = r->next;
    SLC_ASSERT(r != NULL);
    return r;
}

void fake_hold_reads(fake_world *w, bool hold)
{
    w->hold_reads = hold;
}

uint32_t fake_reads_waiting(const fake_world *w)
{
    uint32_t count = 0;
    for (const pending_read *r = w->reads; r != NULL; r = r->next)
        count++;
    return count;
}

void fake_read_execute(fake_world *w, uint32_t index)
{
    read_execute(w, read_at(w, index));
}

void fake_read_answer(fake_world *w, uint32_t index)
{
    read_answer(w, read_at(w, index));
}

static void append_unref(appended *append)
{
    if (--append->copies > 0)
        return;
    slc_message_unref(append->message);
    slc_free(append);
}

static void forget_dropped(fake_world *w)
{
    for (stored_queue *q = w->queues; q != NULL; q = q->next) {
        uint32_t kept = 0;
        for (uint32_t i = 0; i < q->count; i++) {
            if (q->items[i].drop_ticket != 0 && q->items[i].drop_ticket <= w->durable)
                append_unref(q->items[i].append);
            else
                q->items[kept++] = q->items[i];
        }
        q->count = kept;
    }
}

void fake_sync(fake_world *w)
{
    if (w->durable == w->ticket)
        return;
    w->durable = w->ticket;
    forget_dropped(w);
    slc_broker_durable(w->broker, w->durable);
}

void fake_large_from(fake_world *w, uint64_t bytes)
{
    w->large_bytes = bytes;
}

void fake_sync_large(fake_world *w)
{
    slc_broker_durable(w->broker, w->large_ticket);
}

void fake_hold_store(fake_world *w, bool hold)
{
    w->hold = hold;
}

void fake_turn(fake_world *w)
{
    for (int i = 0; i < 200; i++) {
        bool more = slc_broker_turn(w->broker);
        more = apply_proposals(w) || more;
        more = (!w->hold_reads && answer_reads(w)) || more;
        if (!w->hold && w->durable != w->ticket) {
            fake_sync(w);
            more = true;
        }
        if (!more)
            return;
    }
}

/* ---- life ---- */

static void broker_make(fake_world *w)
{
    slc_broker_options options = w->options;
    options.env = (slc_env){
        w,           fake_now_ns, fake_wall_ms, fake_random,     fake_queue_new, fake_queue_del,
        fake_append, fake_drop,   fake_atomic,  fake_drop_range, fake_read,      fake_delivered,
        fake_propose};
    options.cache_bytes = w->cache_bytes;
    options.default_vhost = "/";
    options.node = "sluice@test";
    options.event_vhost = w->system_exchanges ? "/" : NULL;
    options.log_lines = w->system_exchanges;
    w->broker = slc_broker_new(&options);
}

fake_world *fake_world_new(void)
{
    fake_world *w = slc_alloc_zero(1, sizeof *w);
    w->random = 1;
    w->time_ms = 1000;
    w->cache_bytes = 64 << 20;
    broker_make(w);
    slc_broker_start(w->broker);
    fake_turn(w);
    return w;
}

void fake_cache_bytes(fake_world *w, uint64_t bytes)
{
    w->cache_bytes = bytes;
}

slc_broker_options *fake_options(fake_world *w)
{
    return &w->options;
}

void fake_system_exchanges(fake_world *w)
{
    w->system_exchanges = true;
}

void fake_refuse_definitions(fake_world *w, slc_err rc)
{
    w->refuse_rc = rc;
}

void fake_damage(fake_world *w, bool damaged)
{
    w->damaged = damaged;
}

void fake_damage_at(fake_world *w, uint64_t qseq)
{
    w->damaged_qseq = qseq;
}

void fake_lose(fake_world *w, uint64_t qseq)
{
    w->ticket++;
    for (stored_queue *q = w->queues; q != NULL; q = q->next) {
        uint32_t at = find_item(q, qseq);
        if (at < q->count && q->items[at].qseq == qseq)
            drop(w, &q->items[at]);
    }
}

uint32_t fake_range_drops(const fake_world *w)
{
    return w->range_drops;
}

slc_broker *fake_broker(fake_world *w)
{
    return w->broker;
}

uint32_t fake_stored(const fake_world *w)
{
    uint32_t count = 0;
    for (const stored_queue *q = w->queues; q != NULL; q = q->next) {
        for (uint32_t i = 0; i < q->count; i++) {
            const stored *item = &q->items[i];
            count += item->append->ticket <= w->durable &&
                     (item->drop_ticket == 0 || item->drop_ticket > w->durable);
        }
    }
    return count;
}

uint32_t fake_live_between(const fake_world *w, uint32_t qid, uint64_t from, uint64_t to)
{
    uint32_t count = 0;
    const stored_queue *q = w->queues;
    while (q != NULL && q->qid != qid)
        q = q->next;
    for (uint32_t i = q != NULL ? find_item(q, from) : 0; q != NULL && i < q->count; i++)
        count += q->items[i].qseq < to && q->items[i].drop_ticket == 0;
    return count;
}

uint32_t fake_reads(const fake_world *w)
{
    return w->read_count;
}

/** Appends and drops that are not durable are forgotten. */
static void forget_open(fake_world *w)
{
    for (stored_queue *q = w->queues; q != NULL; q = q->next) {
        uint32_t kept = 0;
        for (uint32_t i = 0; i < q->count; i++) {
            stored *item = &q->items[i];
            if (item->append->ticket > w->durable) {
                append_unref(item->append);
                continue;
            }
            if (item->drop_ticket > w->durable) {
                item->drop_ticket = 0;
                item->append->live++;
            }
            q->items[kept++] = *item;
        }
        q->count = kept;
    }
}

static void restart(fake_world *w, bool clean)
{
    while (w->clients != NULL)
        fake_client_close(w->clients);
    apply_proposals(w);
    answer_reads(w);
    if (clean) {
        fake_turn(w);
        slc_broker_stop(w->broker);
        fake_sync(w);
    } else {
        for (stored_queue *q = w->queues; q != NULL; q = q->next)
            q->delivered_qseq = UINT64_MAX;
    }
    uint64_t durable = w->durable;
    forget_open(w);
    slc_broker_free(w->broker);
    broker_make(w);
    for (uint8_t kind = 1; kind <= 8; kind++) {
        for (definition *d = w->definitions; d != NULL; d = d->next) {
            slc_env_change change = {slc_slice_of(d->key, d->key_bytes),
                                     slc_slice_of(d->value, d->value_bytes)};
            if (d->key[0] == kind)
                SLC_ASSERT(slc_broker_apply(w->broker, &change, NULL) == SLC_OK);
        }
    }
    for (stored_queue *q = w->queues; q != NULL; q = q->next) {
        if (q->new_ticket > durable || (q->del_ticket != 0 && q->del_ticket <= durable))
            continue;
        q->dropped_to = 0; // whoever starts knows no positions and reads from the first
        uint64_t live = 0;
        uint64_t bytes = 0;
        for (uint32_t i = 0; i < q->count; i++) {
            if (q->items[i].drop_ticket != 0)
                continue;
            live++;
            bytes += slc_message_content_bytes(q->items[i].append->message);
        }
        SLC_ASSERT(slc_broker_recover_queue(w->broker, q->qid, q->uuid, q->next_qseq, live, bytes,
                                            q->delivered_qseq));
    }
    slc_broker_start(w->broker);
    slc_broker_durable(w->broker, w->durable);
    fake_turn(w);
}

void fake_restart(fake_world *w)
{
    restart(w, false);
}

void fake_restart_clean(fake_world *w)
{
    restart(w, true);
}

void fake_world_free(fake_world *w)
{
    while (w->clients != NULL)
        fake_client_close(w->clients);
    w->hold_reads = false;
    fake_turn(w);
    answer_reads(w);
    slc_broker_free(w->broker);
    while (w->queues != NULL) {
        stored_queue *q = w->queues;
        w->queues = q->next;
        for (uint32_t i = 0; i < q->count; i++)
            append_unref(q->items[i].append);
        slc_free(q->items);
        slc_free(q);
    }
    while (w->definitions != NULL) {
        definition *next = w->definitions->next;
        slc_free(w->definitions->value);
        slc_free(w->definitions);
        w->definitions = next;
    }
    slc_free(w);
}

uint64_t fake_now_ms(const fake_world *w)
{
    return w->time_ms;
}

void fake_advance(fake_world *w, uint64_t ms)
{
    w->time_ms += ms;
    slc_broker_tick(w->broker);
    fake_turn(w);
}

void fake_pass_time(fake_world *w, uint64_t ms)
{
    w->time_ms += ms;
    fake_turn(w);
}
