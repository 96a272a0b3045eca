/** What the tests of long queues share: a client that notes numbers instead of text, and a recount of a queue. */
#ifndef SLC_TESTS_BACKLOG_SUPPORT_H
#define SLC_TESTS_BACKLOG_SUPPORT_H

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/internal.h"
#include "fake_world.h"

/** Publish the body "number". */
static inline void publish_number(slc_session *s, const char *exchange, const char *key, int number,
                                  bool persistent)
{
    char body[16];
    snprintf(body, sizeof body, "%d", number);
    if (fake_publish(s, exchange, key, body, persistent ? "p" : "") != SLC_OK)
        cr_fatal("%s", fake_error());
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

/** Every counter of the ready part of a queue, from its entries and the store. */
static inline void recount(fake_world *w, const slc_queue *q, const char *what)
{
    uint64_t count = 0;
    uint64_t bytes = 0;
    uint64_t last = 0;
    // The heap, flattened into a stack of siblings through an array of its own.
    const slc_entry **stack = malloc((q->ready + 1) * sizeof(const slc_entry *));
    size_t depth = 0;
    if (q->returned != NULL)
        stack[depth++] = q->returned;
    while (depth > 0) {
        const slc_entry *e = stack[--depth];
        if (e->next != NULL)
            stack[depth++] = e->next;
        if (e->child != NULL)
            stack[depth++] = e->child;
        count++;
        bytes += e->body_bytes;
        if (e->qseq > last)
            last = e->qseq;
    }
    free(stack);
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
    count += q->fifo.count + q->late.count + q->cold_count;
    bytes += q->fifo.bytes + q->late.bytes + q->cold_bytes;
    cr_assert(eq(u64, q->ready, count), "%s: ready", what);
    cr_assert(eq(u64, q->ready_bytes, bytes), "%s: bytes", what);
}

#endif
