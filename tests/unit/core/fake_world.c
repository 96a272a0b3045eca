#include "fake_world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

typedef struct stored {
    uint32_t qid;
    uint64_t qseq;
    uint64_t append_ticket; // durable when <= world->durable
    uint64_t drop_ticket;   // 0: alive
    slc_message *message;   // a reference of ours
    struct stored *next;
} stored;

typedef struct stored_queue {
    uint32_t qid;
    uint8_t uuid[SLC_UUID_BYTES];
    uint64_t new_ticket, del_ticket, next_qseq;
    struct stored_queue *next;
} stored_queue;

typedef struct definition {
    uint8_t key[64];
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
    uint32_t qid, count;
    uint64_t *qseqs;
    slc_env_read_cb cb;
    void *arg;
    struct pending_read *next;
} pending_read;

struct fake_client {
    slc_client client; // first
    fake_world *world;
    uint16_t channels;
    char log[65536], taken[65536];
    struct fake_client *next;
};

struct fake_world {
    slc_broker *broker;
    stored *stored, **stored_end;
    stored_queue *queues;
    definition *definitions;
    proposal *proposals;
    pending_read *reads;
    uint32_t read_count;
    uint64_t ticket, durable, time_ms;
    uint32_t last_qid;
    uint64_t random, cache_bytes;
    bool hold, damaged;
    fake_client *clients;
};

static char error_text[SLC_ERROR_TEXT_BYTES];

const char *fake_error(void)
{
    return error_text;
}

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

static uint64_t fake_queue_del(void *arg, uint32_t qid)
{
    fake_world *w = arg;
    stored_queue *q = find_queue(w, qid);
    SLC_ASSERT(q != NULL);
    q->del_ticket = ++w->ticket;
    for (stored *s = w->stored; s != NULL; s = s->next) {
        if (s->qid == qid && s->drop_ticket == 0)
            s->drop_ticket = w->ticket;
    }
    return w->ticket;
}

static uint64_t fake_append(void *arg, slc_message *message, const slc_env_target *targets,
                            uint32_t count)
{
    fake_world *w = arg;
    w->ticket++;
    for (uint32_t i = 0; i < count; i++) {
        stored_queue *q = find_queue(w, targets[i].qid);
        SLC_ASSERT(q != NULL);
        SLC_ASSERT(targets[i].qseq >= q->next_qseq);
        q->next_qseq = targets[i].qseq + 1;
        stored *s = slc_alloc_zero(1, sizeof *s);
        *s =
            (stored){targets[i].qid, targets[i].qseq, w->ticket, 0, slc_message_ref(message), NULL};
        *w->stored_end = s;
        w->stored_end = &s->next;
    }
    return w->ticket;
}

static uint64_t fake_drop(void *arg, uint32_t qid, uint64_t qseq, int reason, bool *cancelled)
{
    fake_world *w = arg;
    (void)reason;
    w->ticket++;
    stored *found = NULL;
    for (stored *s = w->stored; s != NULL && found == NULL; s = s->next) {
        if (s->qid == qid && s->qseq == qseq && s->drop_ticket == 0)
            found = s;
    }
    SLC_ASSERT(found != NULL); // core never drops what it did not append, nor twice
    found->drop_ticket = w->ticket;
    if (found->append_ticket > w->durable) { // still in the open batch
        bool last = true;
        for (stored *s = w->stored; s != NULL; s = s->next)
            last = last && !(s->append_ticket == found->append_ticket && s->drop_ticket == 0);
        *cancelled = last;
    }
    return w->ticket;
}

static void fake_atomic(void *arg, bool begin)
{
    (void)arg;
    (void)begin;
}

static void fake_read(void *arg, uint32_t qid, const uint64_t *qseqs, uint32_t count,
                      uint64_t bytes_max, slc_env_read_cb cb, void *cb_arg)
{
    fake_world *w = arg;
    (void)bytes_max;
    pending_read *r = slc_alloc_zero(1, sizeof *r);
    r->qid = qid;
    r->count = count;
    r->qseqs = slc_alloc(count * sizeof *qseqs);
    memcpy(r->qseqs, qseqs, count * sizeof *qseqs);
    r->cb = cb;
    r->arg = cb_arg;
    r->next = w->reads;
    w->reads = r;
}

static void fake_delivered(void *arg, uint32_t qid, uint64_t highest_qseq)
{
    (void)arg;
    (void)qid;
    (void)highest_qseq;
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
            define(w, &p->changes[i]);
            SLC_ASSERT(slc_broker_apply(w->broker, &p->changes[i], NULL) == SLC_OK);
            slc_free((void *)p->changes[i].key.data);
            slc_free((void *)p->changes[i].value.data);
        }
        p->done(SLC_OK, p->arg);
        slc_free(p->changes);
        slc_free(p);
        any = true;
    }
    return any;
}

static bool answer_reads(fake_world *w)
{
    bool any = false;
    while (w->reads != NULL) {
        pending_read *r = w->reads;
        w->reads = r->next;
        w->read_count++;
        slc_env_read_message *messages = slc_alloc((r->count + 1) * sizeof *messages);
        uint32_t count = 0;
        for (uint32_t i = 0; i < r->count; i++) {
            for (stored *s = w->stored; s != NULL; s = s->next) {
                if (s->qid == r->qid && s->qseq == r->qseqs[i] && s->drop_ticket == 0)
                    messages[count++] = (slc_env_read_message){
                        s->qseq,
                        slc_slice_of(s->message->content, slc_message_content_bytes(s->message))};
            }
        }
        r->cb(w->damaged ? SLC_ECORRUPT : SLC_OK, messages, w->damaged ? 0 : count, r->arg);
        slc_free(messages);
        slc_free(r->qseqs);
        slc_free(r);
        any = true;
    }
    return any;
}

static void forget_dropped(fake_world *w)
{
    stored **at = &w->stored;
    while (*at != NULL) {
        stored *s = *at;
        if (s->drop_ticket != 0 && s->drop_ticket <= w->durable) {
            *at = s->next;
            slc_message_unref(s->message);
            slc_free(s);
        } else {
            at = &s->next;
        }
    }
    w->stored_end = at;
}

void fake_sync(fake_world *w)
{
    if (w->durable == w->ticket)
        return;
    w->durable = w->ticket;
    forget_dropped(w);
    slc_broker_durable(w->broker, w->durable);
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
        more = answer_reads(w) || more;
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
    slc_broker_options options = {
        .env = {w, fake_now_ns, fake_wall_ms, fake_random, fake_queue_new, fake_queue_del,
                fake_append, fake_drop, fake_atomic, fake_read, fake_delivered, fake_propose},
        .cache_bytes = w->cache_bytes,
        .default_vhost = "/",
    };
    w->broker = slc_broker_new(&options);
}

fake_world *fake_world_new(void)
{
    fake_world *w = slc_alloc_zero(1, sizeof *w);
    w->stored_end = &w->stored;
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

void fake_damage(fake_world *w, bool damaged)
{
    w->damaged = damaged;
}

slc_broker *fake_broker(fake_world *w)
{
    return w->broker;
}

uint32_t fake_stored(const fake_world *w)
{
    uint32_t count = 0;
    for (const stored *s = w->stored; s != NULL; s = s->next)
        count +=
            s->append_ticket <= w->durable && (s->drop_ticket == 0 || s->drop_ticket > w->durable);
    return count;
}

uint32_t fake_reads(const fake_world *w)
{
    return w->read_count;
}

void fake_restart(fake_world *w)
{
    while (w->clients != NULL)
        fake_client_close(w->clients);
    apply_proposals(w);
    answer_reads(w);
    uint64_t durable = w->durable;
    // Unbound drops and appends are forgotten: cut back to what was durable before the clients went.
    stored **at = &w->stored;
    while (*at != NULL) {
        stored *s = *at;
        if (s->append_ticket > durable) {
            *at = s->next;
            slc_message_unref(s->message);
            slc_free(s);
        } else {
            if (s->drop_ticket > durable)
                s->drop_ticket = 0;
            at = &s->next;
        }
    }
    w->stored_end = at;
    slc_broker_free(w->broker);
    broker_make(w);
    for (uint8_t kind = 1; kind <= 4; kind++) {
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
        if (!slc_broker_recover_queue(w->broker, q->qid, q->uuid, q->next_qseq))
            continue;
        for (stored *s = w->stored; s != NULL; s = s->next) {
            if (s->qid == q->qid && s->drop_ticket == 0)
                slc_broker_recover_message(w->broker, s->qid, s->qseq,
                                           slc_message_content_bytes(s->message), true);
        }
    }
    slc_broker_start(w->broker);
    slc_broker_durable(w->broker, w->durable);
    fake_turn(w);
}

void fake_world_free(fake_world *w)
{
    while (w->clients != NULL)
        fake_client_close(w->clients);
    fake_turn(w);
    slc_broker_free(w->broker);
    w->durable = w->ticket;
    for (stored *s = w->stored; s != NULL; s = s->next)
        s->drop_ticket = 1;
    forget_dropped(w);
    while (w->queues != NULL) {
        stored_queue *next = w->queues->next;
        slc_free(w->queues);
        w->queues = next;
    }
    while (w->definitions != NULL) {
        definition *next = w->definitions->next;
        slc_free(w->definitions->value);
        slc_free(w->definitions);
        w->definitions = next;
    }
    slc_free(w);
}

/* ---- clients ---- */

static fake_client *client_of(const slc_session *s)
{
    return (fake_client *)slc_session_client(s);
}

static void client_log(fake_client *c, const char *format, ...) SLC_PRINTF(2, 3);
static void client_log(fake_client *c, const char *format, ...)
{
    size_t at = strlen(c->log);
    va_list args;
    va_start(args, format);
    if (at > 0)
        at += (size_t)snprintf(c->log + at, sizeof c->log - at, "; ");
    vsnprintf(c->log + at, sizeof c->log - at, format, args);
    va_end(args);
}

static void on_deliver(slc_session *s, const slc_consumer *consumer, uint64_t tag, bool redelivered,
                       slc_message *m)
{
    client_log(client_of(s), "deliver %llu %.*s %.*s%s", (unsigned long long)tag,
               SLC_SLICE_FMT(slc_consumer_tag(consumer)), (int)m->body_bytes,
               (const char *)slc_message_body(m), redelivered ? " again" : "");
}

static void on_confirm(slc_session *s, uint64_t seq, bool multiple, bool ack)
{
    client_log(client_of(s), "%s%s %llu", ack ? "confirm" : "refuse", multiple ? " to" : "",
               (unsigned long long)seq);
}

static void on_returned(slc_session *s, slc_message *m)
{
    client_log(client_of(s), "returned %.*s", (int)m->body_bytes,
               (const char *)slc_message_body(m));
}

static void on_cancelled(slc_session *s, slc_slice tag)
{
    client_log(client_of(s), "cancelled %.*s", SLC_SLICE_FMT(tag));
}

static void on_resume(slc_session *s)
{
    (void)s; // the short forms below try again after each turn
}

static void on_close(slc_client *client, const char *reason)
{
    client_log((fake_client *)client, "close %s", reason);
}

static void on_pressure(slc_client *client, bool blocked, const char *reason)
{
    client_log((fake_client *)client, "%s %s", blocked ? "blocked" : "unblocked",
               blocked ? reason : "");
}

static const slc_session_ops session_ops = {on_deliver, on_confirm, on_returned, on_cancelled,
                                            on_resume};
static void on_flow(slc_client *client, bool on)
{
    client_log((fake_client *)client, on ? "flow" : "flow over");
}

static const slc_client_ops client_ops = {on_close, on_pressure, on_flow};

fake_client *fake_client_open(fake_world *w)
{
    fake_client *c = slc_alloc_zero(1, sizeof *c);
    c->world = w;
    c->client.broker = w->broker;
    c->client.vhost = slc_broker_vhost(w->broker, slc_slice_str("/"));
    SLC_ASSERT(c->client.vhost != NULL);
    c->client.ops = &client_ops;
    slc_client_open(&c->client);
    c->next = w->clients;
    w->clients = c;
    return c;
}

void fake_client_close(fake_client *c)
{
    fake_client **at = &c->world->clients;
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    while (c->client.sessions != NULL)
        slc_session_abandon(c->client.sessions);
    slc_client_close(&c->client);
    slc_free(c);
}

slc_session *fake_session(fake_client *c)
{
    return slc_session_open(&c->client, ++c->channels, &session_ops, NULL);
}

const char *fake_take_log(fake_client *c)
{
    memcpy(c->taken, c->log, sizeof c->log);
    c->log[0] = 0;
    return c->taken;
}

/* ---- short forms ---- */

static slc_err outcome(slc_err rc, const slc_error *error)
{
    snprintf(error_text, sizeof error_text, "%s", rc == SLC_OK ? "" : error->text);
    return rc;
}

#define UNTIL_DONE(w, rc, call)                                                                    \
    do {                                                                                           \
        (rc) = (call);                                                                             \
        if ((rc) == SLC_EPENDING)                                                                  \
            fake_turn(w);                                                                          \
    } while ((rc) == SLC_EPENDING)

slc_err fake_queue(fake_world *w, slc_session *s, const char *name, const char *flags)
{
    slc_error error = {0};
    slc_queue_declared out;
    slc_queue_declare declare = {
        .name = slc_slice_str(name),
        .durable = strchr(flags, 'd') != NULL,
        .exclusive = strchr(flags, 'x') != NULL,
        .auto_delete = strchr(flags, 'a') != NULL,
        .passive = strchr(flags, 'p') != NULL,
    };
    slc_err rc;
    UNTIL_DONE(w, rc, slc_session_queue_declare(s, &declare, &out, &error));
    return outcome(rc, &error);
}

slc_err fake_exchange(fake_world *w, slc_session *s, const char *name, const char *type,
                      const char *flags)
{
    slc_error error = {0};
    slc_exchange_declare declare = {
        .name = slc_slice_str(name),
        .type = slc_slice_str(type),
        .durable = strchr(flags, 'd') != NULL,
        .auto_delete = strchr(flags, 'a') != NULL,
        .internal = strchr(flags, 'i') != NULL,
        .passive = strchr(flags, 'p') != NULL,
    };
    slc_err rc;
    UNTIL_DONE(w, rc, slc_session_exchange_declare(s, &declare, &error));
    return outcome(rc, &error);
}

slc_err fake_bind(fake_world *w, slc_session *s, const char *queue, const char *exchange,
                  const char *key)
{
    slc_error error = {0};
    slc_err rc;
    UNTIL_DONE(w, rc,
               slc_session_queue_bind(s, slc_slice_str(queue), slc_slice_str(exchange),
                                      slc_slice_str(key), (slc_slice){0}, &error));
    return outcome(rc, &error);
}

slc_err fake_unbind(fake_world *w, slc_session *s, const char *queue, const char *exchange,
                    const char *key)
{
    slc_error error = {0};
    slc_err rc;
    UNTIL_DONE(w, rc,
               slc_session_queue_unbind(s, slc_slice_str(queue), slc_slice_str(exchange),
                                        slc_slice_str(key), (slc_slice){0}, &error));
    return outcome(rc, &error);
}

slc_err fake_queue_delete(fake_world *w, slc_session *s, const char *name)
{
    slc_error error = {0};
    slc_err rc;
    uint32_t ready;
    UNTIL_DONE(w, rc,
               slc_session_queue_delete(s, slc_slice_str(name), false, false, &ready, &error));
    return outcome(rc, &error);
}

slc_err fake_publish(slc_session *s, const char *exchange, const char *key, const char *body,
                     const char *flags)
{
    slc_error error = {0};
    slc_message *m = slc_message_new(slc_slice_str(exchange), slc_slice_str(key), (slc_slice){0},
                                     strlen(body), strchr(flags, 'p') != NULL);
    SLC_ASSERT(m != NULL);
    memcpy(slc_message_body(m), body, strlen(body));
    return outcome(slc_session_publish(s, m, (slc_slice){0}, strchr(flags, 'm') != NULL, &error),
                   &error);
}

slc_err fake_consume(slc_session *s, const char *queue, const char *tag, const char *flags)
{
    slc_error error = {0};
    const slc_consumer *consumer;
    slc_consume consume = {
        .queue = slc_slice_str(queue),
        .tag = slc_slice_str(tag),
        .no_ack = strchr(flags, 'n') != NULL,
        .exclusive = strchr(flags, 'x') != NULL,
    };
    return outcome(slc_session_consume(s, &consume, &consumer, &error), &error);
}

const char *fake_get(fake_world *w, slc_session *s, const char *queue, bool no_ack, uint64_t *tag)
{
    static char body[1024];
    slc_error error = {0};
    slc_got got = {0};
    slc_err rc;
    UNTIL_DONE(w, rc, slc_session_get(s, slc_slice_str(queue), no_ack, &got, &error));
    if (outcome(rc, &error) != SLC_OK || got.message == NULL)
        return NULL;
    snprintf(body, sizeof body, "%.*s", (int)got.message->body_bytes,
             (const char *)slc_message_body(got.message));
    slc_message_unref(got.message);
    if (tag != NULL)
        *tag = got.delivery_tag;
    return body;
}
