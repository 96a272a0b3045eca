// Publishing and confirms. The hot paths: producer_put (a message) and producer_settle (a confirm).
#include "perf/run.h"

#include <string.h>
#include <sys/epoll.h>

#include "base/alloc.h"
#include "base/clock.h"

enum {
    PRODUCER_TIMEOUT_MS = 30000,
    PRODUCER_IN_BYTES = 64 * 1024,
    PRODUCER_WRITES = 8, // batches in a row before others get their turn
};

/** The routes of producer index: with as many producers as keys or more, one each; else every producers-th key from its own. */
static void producer_routes(slc_perf_producer *p, uint32_t index)
{
    slc_perf_run *run = p->run;
    const slc_perf_topology *t = &run->topology;
    uint32_t step = run->producer_count;
    bool all = run->options->bindings > 0; // topic keys: everybody uses all
    if (all)
        p->route_count = t->key_count;
    else
        p->route_count = t->key_count > index % t->key_count
                             ? (t->key_count - index % t->key_count - 1) / step + 1
                             : 1;
    // With priorities each key has a route for each of them: order holds within one priority only.
    uint32_t priorities = run->options->priorities > 0 ? run->options->priorities : 1;
    p->route_count *= priorities;
    p->templates = slc_alloc_zero(p->route_count, sizeof *p->templates);
    p->sequences = slc_alloc_zero(p->route_count, sizeof *p->sequences);
    for (uint32_t i = 0; i < p->route_count; i++) {
        uint32_t r = i / priorities;
        uint32_t key = all ? (r + index * (t->key_count / step + 1)) % t->key_count
                           : index % t->key_count + r * step;
        slc_perf_template_init(&p->templates[i], &run->body, run->options, t->exchange,
                               t->keys[key], i % priorities);
    }
    p->stream = run->streams;
    run->streams += p->route_count;
}

slc_err slc_perf_producer_open(slc_perf_producer *p, slc_perf_run *run, uint32_t index,
                               slc_error *error)
{
    const slc_perf_options *o = run->options;
    p->run = run;
    slc_err rc = slc_perf_conn_open(&p->conn, o, PRODUCER_TIMEOUT_MS, error);
    if (rc != SLC_OK)
        return rc;
    if (o->confirm > 0) {
        slc_amqp_method select = {.id = SLC_AMQP_CONFIRM_SELECT};
        rc = slc_perf_conn_call(&p->conn, SLC_PERF_CHANNEL, &select, SLC_AMQP_CONFIRM_SELECT_OK,
                                NULL, PRODUCER_TIMEOUT_MS, error);
        if (rc != SLC_OK)
            return rc;
        // Confirms may overtake each other, so the ring is wider than the window.
        uint64_t ring = 64;
        while (ring < 4ull * o->confirm)
            ring *= 2;
        p->times = slc_alloc_zero(ring, sizeof *p->times);
        p->times_mask = ring - 1;
    }
    p->unconfirmed_first = 1;
    if (run->body.frames == NULL)
        slc_perf_body_init(&run->body, o->size, p->conn.frame_max);
    if (p->conn.frame_max != run->control.frame_max)
        return slc_error_set(error, SLC_EUNEXPECTED,
                             "the broker negotiates frame_max %u and %u in one run",
                             run->control.frame_max, p->conn.frame_max);
    producer_routes(p, index);
    slc_perf_conn_in_reserve(&p->conn, PRODUCER_IN_BYTES);
    if (run->body.frames_bytes > run->body.head_bytes)
        p->heads = slc_alloc((size_t)SLC_PERF_BATCH_LARGE * (p->templates[0].head_bytes + 256));
    p->watch = (slc_perf_watch){.fd = p->conn.fd, .kind = SLC_PERF_WATCH_PRODUCER};
    return SLC_OK;
}

void slc_perf_producer_fini(slc_perf_producer *p)
{
    for (uint32_t r = 0; r < p->route_count; r++)
        slc_perf_template_fini(&p->templates[r]);
    slc_free(p->templates);
    slc_free(p->sequences);
    slc_free(p->times);
    slc_free(p->heads);
    slc_perf_conn_fini(&p->conn);
}

void slc_perf_producer_start(slc_perf_producer *p, uint32_t index)
{
    slc_perf_run *run = p->run;
    if (run->options->rate > 0) {
        p->pace_ns = 1e9 / run->options->rate;
        // Producers take turns instead of sending at the same instant.
        p->pace_start_ns = run->start_ns + (uint64_t)(p->pace_ns * index / run->producer_count);
    }
    slc_perf_run_watch(run, &p->watch, EPOLLIN);
}

static bool producer_pending(const slc_perf_producer *p)
{
    return p->iov_at < p->iov_count || p->conn.out_from < p->conn.out_to;
}

static uint64_t producer_due_ns(const slc_perf_producer *p, uint64_t message)
{
    return p->pace_start_ns + (uint64_t)((double)message * p->pace_ns);
}

/** How many messages may be sent now. */
static uint64_t producer_allowance(slc_perf_producer *p)
{
    const slc_perf_options *o = p->run->options;
    if (p->state != SLC_PERF_RUNNING)
        return 0;
    uint64_t n = UINT64_MAX;
    if (o->pmessages > 0)
        n = o->pmessages - p->sent;
    if (o->confirm > 0) {
        uint64_t window = o->confirm - p->outstanding;
        uint64_t ring = p->times_mask + 1 - (p->sent + 1 - p->unconfirmed_first);
        if (window > ring)
            window = ring;
        if (n > window)
            n = window;
    }
    if (p->pace_ns > 0) {
        uint64_t now = p->run->now_ns;
        uint64_t due = now < p->pace_start_ns
                           ? 0
                           : (uint64_t)((double)(now - p->pace_start_ns) / p->pace_ns) + 1;
        // Rounding must not leave a message that is due unsent: the loop would spin on it.
        if (due <= p->sent && producer_due_ns(p, p->sent) <= now)
            due = p->sent + 1;
        due = due > p->sent ? due - p->sent : 0;
        if (n > due)
            n = due;
    }
    return n;
}

/** One message: where its head goes. Returns the route's template, whose head was copied and stamped. */
static inline const slc_perf_template *producer_put(slc_perf_producer *p, uint8_t *at)
{
    uint32_t route = p->route_next;
    p->route_next = route + 1 == p->route_count ? 0 : route + 1;
    const slc_perf_template *t = &p->templates[route];
    // With a pace the time is when the message was due: waiting behind a slow broker is latency too.
    uint64_t time_ns = p->pace_ns > 0 ? producer_due_ns(p, p->sent) : p->run->now_ns;
    memcpy(at, t->head, t->head_bytes);
    slc_perf_stamp(at + t->stamp_at, &p->run->body, time_ns, p->stream + route,
                   p->sequences[route]++);
    p->sent++;
    if (p->times != NULL)
        p->times[p->sent & p->times_mask] = time_ns;
    return t;
}

static void producer_fill_small(slc_perf_producer *p, uint64_t allowance)
{
    uint64_t before = p->sent;
    uint8_t *at = slc_perf_conn_reserve(&p->conn, SLC_PERF_BATCH_BYTES);
    uint8_t *end = at + SLC_PERF_BATCH_BYTES;
    uint8_t *to = at;
    while (allowance > 0 && (size_t)(end - to) >= p->templates[p->route_next].head_bytes) {
        to += producer_put(p, to)->head_bytes;
        allowance--;
    }
    p->conn.out_to += (size_t)(to - at);
    p->outstanding += p->sent - before;
    p->run->counts.published += p->sent - before;
}

static void producer_fill_large(slc_perf_producer *p, uint64_t allowance)
{
    const slc_perf_body *body = &p->run->body;
    size_t total = 0;
    uint8_t *to = p->heads;
    p->iov_at = p->iov_count = 0;
    while (allowance > 0 && total < SLC_PERF_BATCH_LARGE_BYTES &&
           p->iov_count < 2 * SLC_PERF_BATCH_LARGE) {
        const slc_perf_template *t = producer_put(p, to);
        p->iov[p->iov_count++] = (struct iovec){to, t->head_bytes};
        p->iov[p->iov_count++] =
            (struct iovec){body->frames + body->head_bytes, body->frames_bytes - body->head_bytes};
        to += t->head_bytes;
        total += body->frames_bytes;
        allowance--;
    }
    p->outstanding += p->iov_count / 2;
    p->run->counts.published += p->iov_count / 2;
}

static slc_err producer_flush(slc_perf_producer *p, slc_error *error)
{
    while (p->iov_at < p->iov_count) {
        size_t left;
        slc_err rc = slc_perf_conn_write(&p->conn, p->iov + p->iov_at, p->iov_count - p->iov_at,
                                         &left, error);
        if (rc != SLC_OK)
            return rc == SLC_EAGAIN ? SLC_OK : rc;
        while (left > 0) {
            struct iovec *v = &p->iov[p->iov_at];
            size_t part = left < v->iov_len ? left : v->iov_len;
            v->iov_base = (uint8_t *)v->iov_base + part;
            v->iov_len -= part;
            left -= part;
            if (v->iov_len == 0)
                p->iov_at++;
        }
    }
    return slc_perf_conn_flush(&p->conn, error);
}

/** Has it published all it has to? */
static bool producer_exhausted(const slc_perf_producer *p)
{
    const slc_perf_options *o = p->run->options;
    return p->run->stopping || (o->pmessages > 0 && p->sent >= o->pmessages);
}

static void producer_advance(slc_perf_producer *p)
{
    if (p->state == SLC_PERF_RUNNING && producer_exhausted(p))
        p->state = SLC_PERF_FINISHING;
    // channel.close is answered after everything before it, so without confirms it says that the broker has read it all.
    if (p->state == SLC_PERF_FINISHING && !producer_pending(p) &&
        (p->times == NULL || p->outstanding == 0)) {
        slc_amqp_method close = {
            .id = SLC_AMQP_CHANNEL_CLOSE,
            .channel_close = {.reply_code = 200, .reply_text = slc_slice_str("bye")}};
        slc_perf_conn_put_method(&p->conn, SLC_PERF_CHANNEL, &close);
        p->state = SLC_PERF_CLOSING;
    }
}

static void producer_done(slc_perf_producer *p)
{
    p->state = SLC_PERF_DONE;
    p->run->producers_left--;
    slc_perf_run_watch(p->run, &p->watch, 0);
}

slc_err slc_perf_producer_pump(slc_perf_producer *p, slc_error *error)
{
    if (p->state == SLC_PERF_DONE)
        return SLC_OK;
    slc_err rc;
    uint64_t allowance = 0;
    for (int i = 0; i < PRODUCER_WRITES; i++) {
        if (producer_pending(p)) {
            if ((rc = producer_flush(p, error)) != SLC_OK)
                return rc;
            if (producer_pending(p))
                break;
        }
        if ((allowance = producer_allowance(p)) == 0)
            break;
        if (p->heads != NULL)
            producer_fill_large(p, allowance);
        else
            producer_fill_small(p, allowance);
    }
    producer_advance(p);
    if (producer_pending(p) && (rc = producer_flush(p, error)) != SLC_OK)
        return rc;
    producer_advance(p);
    if (p->pace_ns > 0 && p->state == SLC_PERF_RUNNING) {
        uint64_t due = producer_due_ns(p, p->sent);
        // A full window waits for confirms, not for the clock.
        bool window = p->times == NULL || p->outstanding < p->run->options->confirm;
        if (window && due < p->run->pace_next_ns)
            p->run->pace_next_ns = due;
    }
    bool more = producer_pending(p) || (p->pace_ns <= 0 && producer_allowance(p) > 0);
    slc_perf_run_watch(p->run, &p->watch, EPOLLIN | (more ? (uint32_t)EPOLLOUT : 0u));
    return SLC_OK;
}

static inline void producer_confirmed(slc_perf_producer *p, uint64_t tag, bool good)
{
    slc_perf_run *run = p->run;
    uint64_t *time = &p->times[tag & p->times_mask];
    if (*time == 0)
        return;
    if (run->measuring)
        slc_histogram_add(&run->confirm_latency, run->now_ns > *time ? run->now_ns - *time : 0);
    *time = 0;
    p->outstanding--;
    if (good)
        run->counts.confirmed++;
    else
        run->counts.nacked++;
}

static slc_err producer_settle(slc_perf_producer *p, uint64_t tag, bool multiple, bool good,
                               slc_error *error)
{
    if (tag == 0 && multiple)
        tag = p->sent;
    if (p->times == NULL || tag > p->sent || (tag == 0 && p->sent > 0))
        return slc_error_set(error, SLC_EUNEXPECTED, "the broker confirmed message %llu of %llu",
                             (unsigned long long)tag, (unsigned long long)p->sent);
    if (multiple) {
        for (uint64_t i = p->unconfirmed_first; i <= tag; i++)
            producer_confirmed(p, i, good);
        if (tag >= p->unconfirmed_first)
            p->unconfirmed_first = tag + 1;
    } else if (tag >= p->unconfirmed_first) {
        producer_confirmed(p, tag, good);
    }
    while (p->unconfirmed_first <= p->sent && p->times[p->unconfirmed_first & p->times_mask] == 0)
        p->unconfirmed_first++;
    return SLC_OK;
}

static slc_err producer_method(slc_perf_producer *p, const uint8_t *payload, uint32_t bytes,
                               slc_error *error)
{
    uint32_t id = slc_get_u32be(payload);
    switch (id) {
    case SLC_AMQP_BASIC_ACK:
    case SLC_AMQP_BASIC_NACK:
        if (bytes != 13)
            return slc_error_set(error, SLC_EFRAME, "the broker sent a confirm of %u octets",
                                 bytes);
        return producer_settle(p, slc_get_u64be(payload + 4), payload[12] & 1,
                               id == SLC_AMQP_BASIC_ACK, error);
    case SLC_AMQP_BASIC_RETURN:
        p->run->counts.returned++;
        return SLC_OK;
    case SLC_AMQP_CHANNEL_CLOSE_OK:
        if (p->state == SLC_PERF_CLOSING) {
            producer_done(p);
            return SLC_OK;
        }
        return slc_error_set(error, SLC_EUNEXPECTED,
                             "the broker sent channel.close-ok, which nobody asked for");
    default:
        return slc_perf_conn_cold_method(&p->conn, slc_slice_of(payload, bytes), error);
    }
}

static slc_err producer_parse(slc_perf_producer *p, slc_error *error)
{
    slc_perf_conn *c = &p->conn;
    while (c->in_to - c->in_from >= SLC_AMQP_FRAME_HEAD_BYTES) {
        const uint8_t *at = c->in + c->in_from;
        slc_amqp_frame_head head = slc_amqp_frame_head_decode(at);
        if (head.bytes > c->frame_max)
            return slc_error_set(error, SLC_EFRAME,
                                 "the broker sent a frame of %u octets, frame_max is %u",
                                 head.bytes, c->frame_max);
        if (c->in_to - c->in_from < (size_t)head.bytes + SLC_AMQP_FRAME_EXTRA_BYTES)
            return SLC_OK;
        if (at[SLC_AMQP_FRAME_HEAD_BYTES + head.bytes] != SLC_AMQP_FRAME_END)
            return slc_error_set(error, SLC_EFRAME,
                                 "the broker sent a frame without its end octet");
        c->in_from += (size_t)head.bytes + SLC_AMQP_FRAME_EXTRA_BYTES;
        if (head.type != SLC_AMQP_FRAME_METHOD)
            continue; // content of a return, or a heartbeat
        if (head.bytes < 4)
            return slc_error_set(error, SLC_EFRAME, "the broker sent a method of %u octets",
                                 head.bytes);
        slc_err rc = producer_method(p, at + SLC_AMQP_FRAME_HEAD_BYTES, head.bytes, error);
        if (rc != SLC_OK)
            return rc;
    }
    return SLC_OK;
}

slc_err slc_perf_producer_read(slc_perf_producer *p, slc_error *error)
{
    slc_err rc = slc_perf_conn_fill(&p->conn, error);
    if (rc != SLC_OK)
        return rc == SLC_EAGAIN ? SLC_OK : rc;
    p->run->now_ns = slc_clock_now_ns();
    return producer_parse(p, error);
}
