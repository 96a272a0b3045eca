// See check.h.
#include "check.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "live.h"
#include "workload.h"

enum { NONE = -1, MORE = 6 };

// What the check itself adds to the image, and whether it has to be there afterwards.
typedef struct extra {
    uint32_t qid;
    uint64_t qseq, bytes, content;
} extra;

typedef struct checker {
    const journal *book;
    check_result *result;
    uint32_t moment;
    uint64_t durable, durable_large;
    uint64_t newest_large; // that is there
    bool second;           // opened again, after the additions
    bool *live, *was;      // by fact: lives now; lived when first opened
    bool *queue_live;      // by queue of the journal
    uint32_t *slots;       // (queue, qseq) -> fact + 1
    uint32_t slot_mask;
    uint32_t last_qid;
    uint64_t last_qseq;
    uint32_t highest_qid;
    uint64_t next_qseq[JOURNAL_QUEUES_MAX];
    extra extras[MORE];
    uint32_t extra_count, extras_seen;
    uint32_t new_qid;
} checker;

static uv_loop_t loop;
static uint64_t reported;
static bool closed;

__attribute__((format(printf, 2, 3))) static void bad(checker *c, const char *format, ...)
{
    if (c->result->bad)
        return; // the first one tells most
    c->result->bad = true;
    va_list args;
    va_start(args, format);
    int n = c->second ? snprintf(c->result->text, sizeof c->result->text, "opened again: ") : 0;
    vsnprintf(c->result->text + n, sizeof c->result->text - (size_t)n, format, args);
    va_end(args);
}

/* ---- finding ---- */

static uint32_t slot_of(const checker *c, uint32_t queue, uint64_t qseq)
{
    uint64_t hash = (qseq * 256 + queue) * 0x9e3779b97f4a7c15ull;
    return (uint32_t)(hash >> 32) & c->slot_mask;
}

static void facts_index(checker *c)
{
    c->slot_mask = 2 * JOURNAL_FACTS_MAX - 1;
    c->slots = slc_alloc_zero(c->slot_mask + 1u, sizeof *c->slots);
    for (uint32_t i = 0; i < c->book->fact_count; i++) {
        uint32_t at = slot_of(c, c->book->facts[i].queue, c->book->facts[i].qseq);
        while (c->slots[at] != 0)
            at = (at + 1) & c->slot_mask;
        c->slots[at] = i + 1;
    }
}

static int64_t fact_find(const checker *c, uint32_t queue, uint64_t qseq)
{
    for (uint32_t at = slot_of(c, queue, qseq); c->slots[at] != 0; at = (at + 1) & c->slot_mask) {
        const journal_fact *fact = &c->book->facts[c->slots[at] - 1];
        if (fact->queue == queue && fact->qseq == qseq)
            return c->slots[at] - 1;
    }
    return NONE;
}

static int64_t queue_find(const checker *c, uint32_t qid)
{
    for (uint32_t i = 0; i < c->book->queue_count; i++)
        if (c->book->queues[i].qid == qid)
            return i;
    return NONE;
}

/* ---- what the store shows ---- */

static void on_queue(uint32_t qid, const slc_uuid *uuid, uint64_t next_qseq, void *arg)
{
    checker *c = arg;
    if (qid > c->highest_qid)
        c->highest_qid = qid;
    if (c->second && qid == c->new_qid)
        return;
    int64_t at = queue_find(c, qid);
    if (at == NONE || c->book->queues[at].made_at >= c->moment) {
        bad(c, "queue %" PRIu32 " is there, which nobody had made", qid);
        return;
    }
    const journal_queue *queue = &c->book->queues[at];
    if (memcmp(uuid->octets, &queue->name, sizeof queue->name) != 0)
        bad(c, "queue %" PRIu32 " has another uuid", qid);
    c->queue_live[at] = true;
    c->next_qseq[at] = next_qseq;
}

static bool content_is(const uint8_t *data, uint64_t bytes, uint64_t content)
{
    uint8_t *want = slc_alloc(bytes + 1);
    journal_fill(want, bytes, content);
    bool same = bytes == 0 || memcmp(want, data, bytes) == 0;
    slc_free(want);
    return same;
}

static bool extra_is(checker *c, uint32_t qid, uint64_t qseq, const uint8_t *data, uint64_t bytes)
{
    for (uint32_t i = 0; i < c->extra_count; i++) {
        const extra *e = &c->extras[i];
        if (e->qid != qid || e->qseq != qseq)
            continue;
        c->extras_seen++;
        if (e->bytes != bytes || !content_is(data, bytes, e->content))
            bad(c,
                "message %" PRIu64 " of queue %" PRIu32
                ", appended to the image, has another content",
                qseq, qid);
        return true;
    }
    return false;
}

static void on_message(uint32_t qid, uint64_t qseq, const uint8_t *data, uint64_t bytes, void *arg)
{
    checker *c = arg;
    if (qid == c->last_qid && qseq <= c->last_qseq)
        bad(c, "positions in queue %" PRIu32 " do not ascend", qid);
    c->last_qid = qid;
    c->last_qseq = qseq;
    if (c->second && extra_is(c, qid, qseq, data, bytes))
        return;
    int64_t queue = queue_find(c, qid);
    int64_t at = queue == NONE ? NONE : fact_find(c, (uint32_t)queue, qseq);
    if (at == NONE) {
        bad(c, "message %" PRIu64 " of queue %" PRIu32 " was appended by nobody", qseq, qid);
        return;
    }
    const journal_fact *fact = &c->book->facts[at];
    if (fact->bytes != bytes || !content_is(data, bytes, fact->content))
        bad(c, "message %" PRIu64 " of queue %" PRIu32 " has another content", qseq, qid);
    if (c->next_qseq[queue] <= qseq)
        bad(c,
            "the next position of queue %" PRIu32 " is %" PRIu64 ", and message %" PRIu64 " lives",
            qid, c->next_qseq[queue], qseq);
    c->live[at] = true;
    c->result->live += !c->second;
}

/* ---- promises ---- */

static bool dropped_before(const checker *c, const journal_fact *fact)
{
    return fact->dropped != 0 && fact->dropped_at < c->moment;
}

static bool gone_before(const checker *c, const journal_queue *queue)
{
    return queue->gone != 0 && queue->gone_at < c->moment;
}

static void queues_check(checker *c)
{
    for (uint32_t i = 0; i < c->book->queue_count; i++) {
        const journal_queue *queue = &c->book->queues[i];
        bool gone = gone_before(c, queue);
        if (!c->queue_live[i] && !gone && queue->made <= c->durable)
            bad(c, "queue %" PRIu32 ", made durably with ticket %" PRIu64 ", is missing",
                queue->qid, queue->made);
        if (c->queue_live[i] && gone && queue->gone <= c->durable)
            bad(c, "queue %" PRIu32 ", deleted durably with ticket %" PRIu64 ", is back",
                queue->qid, queue->gone);
    }
}

// The bounds of T, the number of operations that the image holds, that one message tells.
typedef struct bounds {
    uint64_t low, high;
    const journal_fact *low_fact, *high_fact;
    int32_t *barred; // changes of the number of reasons why T cannot be base + i
    uint64_t base, count;
} bounds;

// T is not in [from, to).
static void bar(bounds *b, uint64_t from, uint64_t to)
{
    if (to <= b->base || from >= to)
        return;
    from = from < b->base ? 0 : from - b->base;
    to -= b->base;
    if (from >= b->count)
        return;
    b->barred[from]++;
    b->barred[to < b->count ? to : b->count]--;
}

static void low_set(bounds *b, uint64_t low, const journal_fact *fact)
{
    if (low > b->low) {
        b->low = low;
        b->low_fact = fact;
    }
}

static void high_set(bounds *b, uint64_t high, const journal_fact *fact)
{
    if (high < b->high) {
        b->high = high;
        b->high_fact = fact;
    }
}

static bool append_durable(const checker *c, const journal_fact *fact)
{
    return fact->appended <= (fact->large ? c->durable_large : c->durable);
}

static void live_check(checker *c, const journal_fact *fact, bounds *b)
{
    const journal_queue *queue = &c->book->queues[fact->queue];
    bool dropped = dropped_before(c, fact);
    if (fact->appended_at >= c->moment)
        bad(c, "message %" PRIu64 " of queue %" PRIu32 " is there before it was appended",
            fact->qseq, queue->qid);
    else if (fact->cancelled)
        bad(c, "message %" PRIu64 " of queue %" PRIu32 " is there, and was cancelled", fact->qseq,
            queue->qid);
    else if (dropped && fact->dropped <= c->durable)
        bad(c,
            "message %" PRIu64 " of queue %" PRIu32 " is back; its drop, ticket %" PRIu64
            ", was durable (up to %" PRIu64 ")",
            fact->qseq, queue->qid, fact->dropped, c->durable);
    if (fact->large && fact->appended > c->newest_large)
        c->newest_large = fact->appended;
    low_set(b, fact->appended, fact); // a large one stands behind all that was submitted before it
    if (dropped)
        high_set(b, fact->dropped - 1, fact);
}

static void absent_check(checker *c, const journal_fact *fact, bounds *b)
{
    const journal_queue *queue = &c->book->queues[fact->queue];
    if (gone_before(c, queue) || fact->appended_at >= c->moment)
        return;
    if (dropped_before(c, fact)) {
        // Drops may move forward inside a batch, those of atomic submissions may not.
        if (fact->drop_in_group && !fact->large)
            bar(b, fact->appended, fact->dropped);
        return;
    }
    if (append_durable(c, fact))
        bad(c,
            "message %" PRIu64 " of queue %" PRIu32 " (%" PRIu64 " octets, ticket %" PRIu64
            ") is missing; durable was %" PRIu64,
            fact->qseq, queue->qid, fact->bytes, fact->appended, c->durable);
    if (!fact->large) // others may have overtaken it
        high_set(b, fact->appended - 1, fact);
}

static void large_check(checker *c, const journal_fact *fact, uint64_t newest)
{
    const journal_queue *queue = &c->book->queues[fact->queue];
    if (!gone_before(c, queue) && fact->appended_at < c->moment && !dropped_before(c, fact) &&
        fact->appended < newest)
        bad(c, "large message %" PRIu64 " of queue %" PRIu32 " is missing in front of another",
            fact->qseq, queue->qid);
}

static void positions_check(checker *c, const journal_fact *fact)
{
    const journal_queue *queue = &c->book->queues[fact->queue];
    // A queue's deletion cancels what is not written yet, as drops do.
    if (c->queue_live[fact->queue] && !gone_before(c, queue) && append_durable(c, fact) &&
        !fact->cancelled && !fact->shared && fact->qseq >= c->next_qseq[fact->queue])
        bad(c,
            "the next position of queue %" PRIu32 " is %" PRIu64 ", and message %" PRIu64
            " was durable",
            queue->qid, c->next_qseq[fact->queue], fact->qseq);
}

// The image is the state after T operations in their order, for some T.
static void prefix_check(checker *c, const bounds *b)
{
    if (b->low > b->high) {
        const journal_fact *l = b->low_fact, *h = b->high_fact;
        bad(c,
            "no prefix of what was submitted: %s%" PRIu64 " says at least ticket %" PRIu64
            ", message %" PRIu64 " says at most %" PRIu64,
            l == NULL ? "durable " : "message ", l == NULL ? b->low : l->qseq, b->low,
            h == NULL ? 0 : h->qseq, b->high);
        return;
    }
    int64_t reasons = 0;
    for (uint64_t i = 0; i < b->count; i++) {
        reasons += b->barred[i];
        if (reasons == 0 && b->base + i >= b->low && b->base + i <= b->high)
            return;
    }
    bad(c, "an atomic submission is there in part: between tickets %" PRIu64 " and %" PRIu64,
        b->low, b->high);
}

static void facts_check(checker *c)
{
    bounds b = {.low = c->durable, .high = c->book->last_ticket, .base = c->durable};
    b.count = c->book->last_ticket - c->durable + 1;
    b.barred = slc_alloc_zero(b.count + 1, sizeof *b.barred);
    for (uint32_t i = 0; i < c->book->group_count; i++)
        bar(&b, c->book->groups[i].first, c->book->groups[i].last);
    for (uint32_t i = 0; i < c->book->fact_count; i++) {
        const journal_fact *fact = &c->book->facts[i];
        if (c->live[i])
            live_check(c, fact, &b);
        else
            absent_check(c, fact, &b);
        positions_check(c, fact);
    }
    // Not one large one without those before it, nor what was appended to a queue behind one.
    uint64_t newest[JOURNAL_QUEUES_MAX] = {0};
    for (uint32_t i = 0; i < c->book->fact_count; i++)
        if (c->live[i])
            newest[c->book->facts[i].queue] = c->book->facts[i].appended;
    for (uint32_t i = 0; i < c->book->fact_count; i++) {
        const journal_fact *fact = &c->book->facts[i];
        if (fact->large && !c->live[i])
            large_check(c, fact,
                        c->newest_large > newest[fact->queue] ? c->newest_large
                                                              : newest[fact->queue]);
    }
    if (!c->result->bad)
        prefix_check(c, &b);
    slc_free(b.barred);
}

/* ---- going on ---- */

static void on_release(void *owner, void *arg)
{
    (void)arg;
    free(owner);
}

static void on_durable(uint16_t shard, slc_store_ticket up_to, void *arg)
{
    (void)shard;
    (void)arg;
    reported = up_to;
}

static void on_failed(const slc_error *error, void *arg)
{
    bad(arg, "the store failed: %s", error->text);
}

static void on_space(bool blocked, const slc_error *error, void *arg)
{
    if (blocked)
        bad(arg, "the store has no room: %s", error->text);
}

static void on_closed(void *arg)
{
    (void)arg;
    closed = true;
}

static slc_store *image_open(checker *c, const char *dir, slc_store_flush_mode flush)
{
    uv_loop_init(&loop);
    slc_store_options options = {.dir = dir,
                                 .loop = &loop,
                                 .map_size = 2 * WORKLOAD_MAP_BYTES,
                                 .log_bytes = WORKLOAD_LOG_BYTES,
                                 .flush = flush,
                                 .flush_interval_ms = 1,
                                 .release = on_release,
                                 .durable = on_durable,
                                 .failed = on_failed,
                                 .space = on_space,
                                 .arg = c};
    slc_store *store = NULL;
    slc_error error = {0};
    live_visitor visitor = {.queue = on_queue, .message = on_message};
    c->last_qid = 0;
    c->highest_qid = 0;
    slc_err rc = slc_store_open(&options, &store, &error);
    if (rc != SLC_OK) {
        bad(c, "it does not open: %s", error.text);
        return NULL;
    }
    rc = live_recover(store, &loop, &visitor, c, &error);
    if (rc != SLC_OK)
        bad(c, "recovery or reading: %s", error.text);
    return c->result->bad ? NULL : store;
}

static void image_close(slc_store *store)
{
    closed = false;
    slc_store_close(store, on_closed, NULL);
    while (!closed) // the parent's deadline ends this
        uv_run(&loop, UV_RUN_ONCE);
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
}

static slc_store_ticket extra_append(checker *c, slc_store *store, uint32_t qid, uint64_t qseq,
                                     uint64_t bytes)
{
    extra *e = &c->extras[c->extra_count++];
    *e = (extra){qid, qseq, bytes, UINT64_MAX - c->extra_count};
    uint8_t *data = malloc(bytes + 1);
    if (data == NULL)
        abort();
    journal_fill(data, bytes, e->content);
    return slc_store_append(store, 0, &(slc_store_content){data, bytes, data}, 1, 0,
                            &(slc_store_target){qid, qseq, 0}, 1);
}

static void fact_drop(checker *c, slc_store *store, uint32_t from)
{
    for (uint32_t i = from; i < c->book->fact_count; i++) {
        const journal_fact *fact = &c->book->facts[i];
        if (!c->was[i])
            continue;
        slc_store_drop(store, 0, c->book->queues[fact->queue].qid, fact->qseq, SLC_DROP_ACK, NULL);
        c->was[i] = false;
        return;
    }
}

static void image_use(checker *c, slc_store *store)
{
    slc_store_ticket last = 0;
    c->new_qid = slc_store_queue_new(store, 0, &(slc_uuid){{255}}, &last);
    if (c->new_qid <= c->highest_qid)
        bad(c, "queue number %" PRIu32 " is given a second time", c->new_qid);
    for (uint32_t i = 0; i < c->book->queue_count; i++)
        if (c->book->queues[i].made <= c->durable && c->new_qid <= c->book->queues[i].qid)
            bad(c, "queue number %" PRIu32 " is given again, after %" PRIu32, c->new_qid,
                c->book->queues[i].qid);
    last = extra_append(c, store, c->new_qid, 1, 10);
    last = extra_append(c, store, c->new_qid, 2, 90000);
    slc_store_atomic_begin(store, 0);
    for (uint32_t i = 0; i < c->book->queue_count; i++) {
        if (c->queue_live[i]) {
            last = extra_append(c, store, c->book->queues[i].qid, c->next_qseq[i], 700);
            break;
        }
    }
    fact_drop(c, store, 0);
    slc_store_atomic_end(store, 0);
    fact_drop(c, store, c->book->fact_count / 2);
    slc_store_flush(store);
    while (reported < last && !c->result->bad) // the parent's deadline ends this
        uv_run(&loop, UV_RUN_ONCE);
}

static void second_check(checker *c)
{
    for (uint32_t i = 0; i < c->book->fact_count; i++)
        if (c->live[i] != c->was[i])
            bad(c, "message %" PRIu64 " of queue %" PRIu32 " %s", c->book->facts[i].qseq,
                c->book->queues[c->book->facts[i].queue].qid,
                c->live[i] ? "is back after a drop" : "is gone");
    if (c->extras_seen != c->extra_count)
        bad(c, "%" PRIu32 " of %" PRIu32 " messages that were appended to the image are there",
            c->extras_seen, c->extra_count);
}

void check_image(const char *dir, slc_store_flush_mode flush, const journal *book, uint32_t moment,
                 uint64_t durable, uint64_t durable_large, check_result *result)
{
    checker *c = slc_alloc_zero(1, sizeof *c);
    *c = (checker){.book = book,
                   .result = result,
                   .moment = moment,
                   .durable = durable,
                   .durable_large = durable_large};
    bool *flags = slc_alloc_zero(2u * JOURNAL_FACTS_MAX + JOURNAL_QUEUES_MAX, sizeof *flags);
    c->live = flags;
    c->was = flags + JOURNAL_FACTS_MAX;
    c->queue_live = flags + 2 * JOURNAL_FACTS_MAX;
    facts_index(c);
    slc_store *store = image_open(c, dir, flush);
    if (store != NULL) {
        queues_check(c);
        facts_check(c);
        memcpy(c->was, c->live, JOURNAL_FACTS_MAX * sizeof *c->live);
        image_use(c, store);
        // A bad image is left as it is: this process ends anyway.
        if (!result->bad) {
            image_close(store);
            c->second = true;
            memset(c->live, 0, JOURNAL_FACTS_MAX * sizeof *c->live);
            store = image_open(c, dir, flush);
            if (store != NULL) {
                second_check(c);
                image_close(store);
            }
        }
    }
    slc_free(c->slots);
    slc_free(flags);
    slc_free(c);
}
