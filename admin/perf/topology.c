#include "perf/topology.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/table.h"

enum { TOPOLOGY_TIMEOUT_MS = 60000 };

static char *topology_name(const char *format, ...) SLC_PRINTF(1, 2);
static char *topology_name(const char *format, ...)
{
    char text[512];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    return slc_strdup(text);
}

static void topology_queues(slc_perf_topology *t, const slc_perf_options *o)
{
    if (o->queue_pattern != NULL) {
        int before = (int)(strchr(o->queue_pattern, '%') - o->queue_pattern);
        t->queue_count = o->queue_to - o->queue_from + 1;
        t->queues = slc_alloc_zero(t->queue_count, sizeof *t->queues);
        for (uint32_t i = 0; i < t->queue_count; i++)
            t->queues[i] = topology_name("%.*s%u%s", before, o->queue_pattern, o->queue_from + i,
                                         o->queue_pattern + before + 2);
        return;
    }
    t->queue_count = o->queues;
    t->queues = slc_alloc_zero(t->queue_count, sizeof *t->queues);
    t->queues_generated = o->queue == NULL;
    char *base = o->queue != NULL ? slc_strdup(o->queue) : topology_name("sluice-perf-%s", o->id);
    for (uint32_t i = 0; i < t->queue_count; i++)
        t->queues[i] = t->queue_count == 1 ? slc_strdup(base) : topology_name("%s-%u", base, i + 1);
    slc_free(base);
}

/** The key that message number binding uses, and the wildcard that matches it. */
static char *topology_topic_key(uint32_t binding)
{
    return topology_name("perf.%05u.new.eu", binding);
}

static char *topology_topic_pattern(uint32_t binding)
{
    return binding % 2 == 0 ? topology_name("perf.%05u.*.eu", binding)
                            : topology_name("perf.%05u.#", binding);
}

void slc_perf_topology_init(slc_perf_topology *t, const slc_perf_options *o)
{
    *t = (slc_perf_topology){.copies = 1};
    topology_queues(t, o);
    t->exchange_generated = o->type != NULL && o->exchange[0] == '\0';
    t->exchange =
        t->exchange_generated ? topology_name("sluice-perf-%s", o->id) : slc_strdup(o->exchange);

    if (o->bindings > 0) {
        t->key_count = o->bindings;
        t->keys = slc_alloc_zero(t->key_count, sizeof *t->keys);
        for (uint32_t i = 0; i < t->key_count; i++)
            t->keys[i] = topology_topic_key(i);
    } else if (o->routing_key != NULL || (o->type != NULL && strcmp(o->type, "fanout") == 0)) {
        t->key_count = 1;
        t->keys = slc_alloc_zero(1, sizeof *t->keys);
        t->keys[0] = slc_strdup(o->routing_key != NULL ? o->routing_key : "");
        t->copies = t->queue_count;
    } else {
        t->key_count = t->queue_count;
        t->keys = slc_alloc_zero(t->key_count, sizeof *t->keys);
        for (uint32_t i = 0; i < t->key_count; i++)
            t->keys[i] = slc_strdup(t->queues[i]);
    }
}

void slc_perf_topology_fini(slc_perf_topology *t)
{
    for (uint32_t i = 0; i < t->queue_count; i++)
        slc_free(t->queues[i]);
    for (uint32_t i = 0; i < t->key_count; i++)
        slc_free(t->keys[i]);
    slc_free(t->queues);
    slc_free(t->keys);
    slc_free(t->exchange);
}

static slc_err topology_bind(slc_perf_conn *conn, const char *queue, const char *exchange,
                             const char *key, slc_error *error)
{
    slc_amqp_method bind = {.id = SLC_AMQP_QUEUE_BIND,
                            .queue_bind = {.queue = slc_slice_str(queue),
                                           .exchange = slc_slice_str(exchange),
                                           .routing_key = slc_slice_str(key)}};
    return slc_perf_conn_call(conn, SLC_PERF_CHANNEL, &bind, SLC_AMQP_QUEUE_BIND_OK, NULL,
                              TOPOLOGY_TIMEOUT_MS, error);
}

static slc_err topology_bind_all(const slc_perf_topology *t, const slc_perf_options *o,
                                 slc_perf_conn *conn, slc_error *error)
{
    if (o->bindings > 0) {
        for (uint32_t i = 0; i < o->bindings; i++) {
            char *pattern = topology_topic_pattern(i);
            slc_err rc =
                topology_bind(conn, t->queues[i % t->queue_count], t->exchange, pattern, error);
            slc_free(pattern);
            if (rc != SLC_OK)
                return rc;
        }
        return SLC_OK;
    }
    for (uint32_t i = 0; i < t->queue_count; i++) {
        slc_err rc =
            topology_bind(conn, t->queues[i], t->exchange, t->keys[i % t->key_count], error);
        if (rc != SLC_OK)
            return rc;
    }
    return SLC_OK;
}

static slc_err topology_purge(const slc_perf_topology *t, slc_perf_conn *conn, slc_error *error)
{
    for (uint32_t i = 0; i < t->queue_count; i++) {
        slc_amqp_method purge = {.id = SLC_AMQP_QUEUE_PURGE,
                                 .queue_purge = {.queue = slc_slice_str(t->queues[i])}};
        slc_err rc = slc_perf_conn_call(conn, SLC_PERF_CHANNEL, &purge, SLC_AMQP_QUEUE_PURGE_OK,
                                        NULL, TOPOLOGY_TIMEOUT_MS, error);
        if (rc != SLC_OK)
            return rc;
    }
    return SLC_OK;
}

/** --queue-args as a table; options.c has seen that each part is KEY=VALUE. */
static void topology_arguments(const char *text, slc_table_builder *out)
{
    for (const char *at = text; at != NULL && *at != '\0';) {
        size_t bytes = strcspn(at, ",");
        char *part = slc_strndup(at, bytes);
        char *value = strchr(part, '=');
        *value++ = '\0';
        char *end;
        errno = 0;
        long long number = strtoll(value, &end, 10);
        if (*value != '\0' && *end == '\0' && errno == 0)
            slc_table_put_i64(out, part, number);
        else
            slc_table_put_text(out, part, value);
        slc_free(part);
        at += bytes + (at[bytes] == ',');
    }
}

static slc_err topology_declare_queue(slc_perf_conn *conn, const char *queue, bool passive,
                                      bool durable, slc_slice arguments, uint32_t *messages,
                                      slc_error *error)
{
    slc_amqp_method reply;
    slc_amqp_method declare = {.id = SLC_AMQP_QUEUE_DECLARE,
                               .queue_declare = {.queue = slc_slice_str(queue),
                                                 .passive = passive,
                                                 .durable = durable,
                                                 .arguments = arguments}};
    slc_err rc = slc_perf_conn_call(conn, SLC_PERF_CHANNEL, &declare, SLC_AMQP_QUEUE_DECLARE_OK,
                                    &reply, TOPOLOGY_TIMEOUT_MS, error);
    if (rc == SLC_OK && messages != NULL)
        *messages = reply.queue_declare_ok.message_count;
    return rc;
}

slc_err slc_perf_topology_declare(const slc_perf_topology *t, const slc_perf_options *o,
                                  slc_perf_conn *conn, slc_error *error)
{
    slc_err rc = SLC_OK;
    if (!o->predeclared && !o->drain) {
        if (o->type != NULL) {
            slc_amqp_method declare = {.id = SLC_AMQP_EXCHANGE_DECLARE,
                                       .exchange_declare = {.exchange = slc_slice_str(t->exchange),
                                                            .type = slc_slice_str(o->type),
                                                            .durable = o->persistent}};
            rc = slc_perf_conn_call(conn, SLC_PERF_CHANNEL, &declare, SLC_AMQP_EXCHANGE_DECLARE_OK,
                                    NULL, TOPOLOGY_TIMEOUT_MS, error);
        }
        slc_table_builder arguments = {0};
        topology_arguments(o->queue_args, &arguments);
        for (uint32_t i = 0; i < t->queue_count && rc == SLC_OK; i++)
            rc = topology_declare_queue(conn, t->queues[i], false, o->persistent,
                                        slc_table_builder_content(&arguments), NULL, error);
        slc_table_builder_fini(&arguments);
        if (rc == SLC_OK && t->exchange[0] != '\0')
            rc = topology_bind_all(t, o, conn, error);
    }
    if (rc == SLC_OK && o->purge)
        rc = topology_purge(t, conn, error);
    return rc;
}

slc_err slc_perf_topology_count(const slc_perf_topology *t, slc_perf_conn *conn, uint64_t *out,
                                slc_error *error)
{
    *out = 0;
    for (uint32_t i = 0; i < t->queue_count; i++) {
        uint32_t messages = 0;
        slc_err rc = topology_declare_queue(conn, t->queues[i], true, false, (slc_slice){0},
                                            &messages, error);
        if (rc != SLC_OK)
            return rc;
        *out += messages;
    }
    return SLC_OK;
}

slc_err slc_perf_topology_delete(const slc_perf_topology *t, const slc_perf_options *o,
                                 slc_perf_conn *conn, slc_error *error)
{
    slc_err rc = SLC_OK;
    if (o->predeclared || o->drain)
        return rc;
    for (uint32_t i = 0; i < t->queue_count && t->queues_generated && rc == SLC_OK; i++) {
        slc_amqp_method delete = {.id = SLC_AMQP_QUEUE_DELETE,
                                  .queue_delete = {.queue = slc_slice_str(t->queues[i])}};
        rc = slc_perf_conn_call(conn, SLC_PERF_CHANNEL, &delete, SLC_AMQP_QUEUE_DELETE_OK, NULL,
                                TOPOLOGY_TIMEOUT_MS, error);
    }
    if (t->exchange_generated && rc == SLC_OK) {
        slc_amqp_method delete = {.id = SLC_AMQP_EXCHANGE_DELETE,
                                  .exchange_delete = {.exchange = slc_slice_str(t->exchange)}};
        rc = slc_perf_conn_call(conn, SLC_PERF_CHANNEL, &delete, SLC_AMQP_EXCHANGE_DELETE_OK, NULL,
                                TOPOLOGY_TIMEOUT_MS, error);
    }
    return rc;
}
