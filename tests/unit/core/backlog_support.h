/** What the tests of long queues share: a client that notes numbers instead of text, and a recount of a queue. */
#ifndef SLC_TESTS_BACKLOG_SUPPORT_H
#define SLC_TESTS_BACKLOG_SUPPORT_H

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/internal.h"
#include "fake_world.h"

/** Publish the body "number". */
static inline void publish_urgent(slc_session *s, const char *exchange, const char *key, int number,
                                  bool persistent, uint8_t priority)
{
    char body[16];
    slc_error error = {0};
    int bytes = snprintf(body, sizeof body, "%d", number);
    slc_message *m = slc_message_new(slc_slice_str(exchange), slc_slice_str(key), (slc_slice){0},
                                     (uint64_t)bytes, persistent);
    memcpy(slc_message_body(m), body, (size_t)bytes);
    m->priority = priority;
    if (slc_session_publish(s, m, (slc_slice){0}, false, &error) != SLC_OK)
        cr_fatal("%s", error.text);
}

static inline void publish_number(slc_session *s, const char *exchange, const char *key, int number,
                                  bool persistent)
{
    publish_urgent(s, exchange, key, number, persistent, 0);
}

/** A durable queue with x-max-priority. */
static inline void declare_urgent(fake_world *w, slc_session *s, const char *name, int64_t max)
{
    slc_error error = {0};
    slc_queue_declared out;
    slc_table_builder arguments = {0};
    slc_table_put_i64(&arguments, "x-max-priority", max);
    slc_queue_declare declare = {.name = slc_slice_str(name),
                                 .durable = true,
                                 .arguments = slc_table_builder_content(&arguments)};
    slc_err rc = SLC_EPENDING;
    for (int i = 0; i < 100 && rc == SLC_EPENDING; i++) {
        rc = slc_session_queue_declare(s, &declare, &out, &error);
        fake_turn(w);
    }
    slc_table_builder_fini(&arguments);
    cr_assert(eq(int, rc, SLC_OK), "%s", error.text);
}

static inline int message_number(slc_message *m)
{
    char body[16];
    snprintf(body, sizeof body, "%.*s", (int)m->body_bytes, (const char *)slc_message_body(m));
    return atoi(body);
}

static inline slc_queue *queue_named(fake_world *w, const char *name)
{
    slc_queue *queue =
        slc_vhost_queue(slc_broker_vhost(fake_broker(w), slc_slice_str("/")), slc_slice_str(name));
    cr_assert(queue != NULL);
    return queue;
}

static inline void recount_list(const slc_entry_list *list, uint64_t *last, const char *what)
{
    slc_entry_list found = {0};
    const slc_entry *before = NULL;
    for (const slc_entry *e = list->head; e != NULL; before = e, e = e->next) {
        if (e->qseq <= *last)
            cr_fatal("%s: position %llu after %llu", what, (unsigned long long)e->qseq,
                     (unsigned long long)*last);
        *last = e->qseq;
        cr_assert(e->prev == before, "%s: backward link", what);
        cr_assert(e->message != NULL);
        found.count++;
        found.bytes += e->body_bytes;
        found.stored += e->flags & SLC_ENTRY_STORED;
    }
    cr_assert(list->tail == before, "%s: tail", what);
    cr_assert(eq(u64, found.count, list->count), "%s: count", what);
    cr_assert(eq(u64, found.bytes, list->bytes), "%s: bytes", what);
    cr_assert(eq(u64, found.stored, list->stored), "%s: stored", what);
}

/** Every counter of a lane, from its entries and the store; last: the highest position of those that came back. */
static inline void recount_lane(fake_world *w, const slc_lane *q, uint64_t last, uint64_t returned,
                                const char *what)
{
    recount_list(&q->fifo, &last, what);
    cr_assert(last < q->cold_from, "%s: the fifo is before the cold part", what);
    uint64_t late_last = q->cold_from - 1;
    if (q->cold_from == SLC_NOT_COLD) {
        cr_assert(eq(u64, q->cold_count, 0), "%s", what);
        cr_assert(q->late.head == NULL, "%s", what);
        cr_assert(q->cold_to == SLC_NOT_COLD, "%s", what);
    } else {
        recount_list(&q->late, &late_last, what);
        cr_assert(eq(u64, q->cold_count, fake_live_between(w, q->qid, q->cold_from, q->cold_to)),
                  "%s: what is cold is in the store", what);
    }
    uint64_t tail = 0;
    for (const slc_entry *e = q->late.head; e != NULL; e = e->next) {
        tail += q->cold_to != SLC_NOT_COLD && e->qseq >= q->cold_to;
        if ((e->flags & SLC_ENTRY_STORED) != 0 && e->qseq < q->cold_to)
            cr_fatal("%s: a stored message between cold ones", what);
    }
    cr_assert(eq(u64, tail, q->tail_count), "%s: tail", what);
    cr_assert(q->unsized_bytes <= q->cold_bytes, "%s: what is known is not less than nothing",
              what);
    cr_assert(eq(u64, q->count, returned + q->fifo.count + q->late.count + q->cold_count),
              "%s: count", what);
}

/** Every counter of the ready part of a queue, from its entries and the store. */
static inline void recount(fake_world *w, const slc_queue *queue, const char *what)
{
    slc_queue *q = (slc_queue *)queue; // nothing is changed
    uint64_t count = 0;
    uint64_t bytes = 0;
    uint64_t last[256] = {0}; // by level
    // The heaps, flattened into a stack of siblings through an array of its own.
    const slc_entry **stack = malloc((q->ready + 1) * sizeof(const slc_entry *));
    uint64_t returned[256] = {0}; // by level
    for (const slc_lane *l = NULL; (l = slc_lane_next(q, l)) != NULL;) {
        size_t depth = 0;
        if (l->returned != NULL)
            stack[depth++] = l->returned;
        while (depth > 0) {
            const slc_entry *e = stack[--depth];
            if (e->next != NULL)
                stack[depth++] = e->next;
            if (e->child != NULL)
                stack[depth++] = e->child;
            returned[l->level]++;
            bytes += e->body_bytes;
            cr_assert(slc_lane_of(q, e) == l, "%s: returned to another level", what);
            if (e->qseq > last[l->level])
                last[l->level] = e->qseq;
        }
    }
    free(stack);
    uint64_t cold = 0;
    uint64_t cold_bytes = 0;
    uint64_t unsized = 0;
    for (const slc_lane *l = NULL; (l = slc_lane_next(q, l)) != NULL;) {
        recount_lane(w, l, last[l->level], returned[l->level], what);
        count += l->count;
        bytes += l->fifo.bytes + l->late.bytes + l->cold_bytes;
        cold += l->cold_count;
        cold_bytes += l->cold_bytes;
        unsized += l->unsized_bytes;
    }
    cr_assert(eq(u64, q->unsized_bytes, unsized), "%s: bodies that are not known", what);
    cr_assert(eq(u64, q->cold_count, cold), "%s: cold", what);
    cr_assert(eq(u64, q->cold_bytes, cold_bytes), "%s: cold bytes", what);
    cr_assert(eq(u64, q->ready, count), "%s: ready", what);
    cr_assert(eq(u64, q->ready_bytes, bytes), "%s: bytes", what);
}

#endif
