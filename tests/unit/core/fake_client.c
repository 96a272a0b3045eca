#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "fake_impl.h"

static char error_text[SLC_ERROR_TEXT_BYTES];

const char *fake_error(void)
{
    return error_text;
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

static void on_failed(slc_session *s, slc_err rc, const slc_error *error)
{
    client_log(client_of(s), "failed %u %s %s", slc_session_number(s), slc_err_name(rc),
               error->text);
    slc_session_abandon(s);
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

static const slc_session_ops session_ops = {on_deliver,   on_confirm, on_returned,
                                            on_cancelled, on_failed,  on_resume};
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
