// Deliveries, parsed where they were read. The hot path is consumer_parse -> consumer_message.
#include "perf/run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/alloc.h"
#include "base/clock.h"

enum {
    CONSUMER_TIMEOUT_MS = 30000,
    CONSUMER_ACK_BYTES = 21,
    CONSUMER_FLUSH_BYTES = 64 * 1024, // of acks, before the end of a turn
    CONSUMER_READS = 4,               // in a row before others get their turn
    CONSUMER_CATCH_UP_NS = 100 * 1000 * 1000,
};

/** Connected, prefetch set; it consumes from slc_perf_consumer_start on. */
slc_err slc_perf_consumer_open(slc_perf_consumer *c, slc_perf_run *run, uint32_t index,
                               slc_error *error)
{
    const slc_perf_options *o = run->options;
    c->run = run;
    slc_err rc = slc_perf_conn_open(&c->conn, o, CONSUMER_TIMEOUT_MS, error);
    if (rc != SLC_OK)
        return rc;
    if (o->qos > 0) {
        slc_amqp_method qos = {.id = SLC_AMQP_BASIC_QOS,
                               .basic_qos = {.prefetch_count = (uint16_t)o->qos}};
        rc = slc_perf_conn_call(&c->conn, SLC_PERF_CHANNEL, &qos, SLC_AMQP_BASIC_QOS_OK, NULL,
                                CONSUMER_TIMEOUT_MS, error);
        if (rc != SLC_OK)
            return rc;
    }
    uint32_t queues = run->topology.queue_count;
    uint32_t step = run->consumer_count;
    uint32_t first = index % queues;
    c->queue_count = step >= queues ? 1 : (queues - first - 1) / step + 1;
    c->queues = slc_alloc_zero(c->queue_count, sizeof *c->queues);
    for (uint32_t i = 0; i < c->queue_count; i++)
        c->queues[i] = first + i * step;
    if (o->verify)
        c->hash = XXH3_createState();
    slc_perf_conn_in_reserve(&c->conn, SLC_PERF_IN_BYTES);
    c->watch = (slc_perf_watch){.fd = c->conn.fd, .kind = SLC_PERF_WATCH_CONSUMER};
    return SLC_OK;
}

void slc_perf_consumer_fini(slc_perf_consumer *c)
{
    slc_free(c->queues);
    XXH3_freeState(c->hash);
    slc_perf_conn_fini(&c->conn);
}

void slc_perf_consumer_start(slc_perf_consumer *c)
{
    slc_perf_run *run = c->run;
    for (uint32_t i = 0; i < c->queue_count; i++) {
        char tag[16]; // says the queue, which a delivery does not
        snprintf(tag, sizeof tag, "%u", c->queues[i]);
        slc_amqp_method consume = {
            .id = SLC_AMQP_BASIC_CONSUME,
            .basic_consume = {.queue = slc_slice_str(run->topology.queues[c->queues[i]]),
                              .consumer_tag = slc_slice_str(tag),
                              .no_ack = run->options->autoack}};
        slc_perf_conn_put_method(&c->conn, SLC_PERF_CHANNEL, &consume);
        run->subscriptions++;
    }
    if (run->options->consumer_rate > 0) {
        c->pace_ns = (uint64_t)(1e9 / run->options->consumer_rate);
    }
    slc_perf_run_watch(run, &c->watch, EPOLLIN | EPOLLOUT);
}

static void consumer_put_ack(slc_perf_consumer *c)
{
    if (c->unacked == 0)
        return;
    uint8_t *at = slc_perf_conn_reserve(&c->conn, CONSUMER_ACK_BYTES);
    slc_amqp_frame_head_encode(at, SLC_AMQP_FRAME_METHOD, SLC_PERF_CHANNEL, 13);
    // The same octets but for the id; a nack has one more bit, requeue, which stays off.
    slc_put_u32be(at + 7, c->run->options->refuse ? SLC_AMQP_BASIC_NACK : SLC_AMQP_BASIC_ACK);
    slc_put_u64be(at + 11, c->last_tag);
    at[19] = c->unacked > 1;
    at[20] = SLC_AMQP_FRAME_END;
    c->conn.out_to += CONSUMER_ACK_BYTES;
    c->unacked = 0;
}

slc_err slc_perf_consumer_finish(slc_perf_consumer *c, slc_error *error)
{
    if (c->state != SLC_PERF_RUNNING)
        return SLC_OK;
    consumer_put_ack(c);
    slc_amqp_method close = {
        .id = SLC_AMQP_CHANNEL_CLOSE,
        .channel_close = {.reply_code = 200, .reply_text = slc_slice_str("bye")}};
    slc_perf_conn_put_method(&c->conn, SLC_PERF_CHANNEL, &close);
    c->state = SLC_PERF_CLOSING;
    slc_err rc = slc_perf_conn_flush(&c->conn, error);
    slc_perf_run_watch(c->run, &c->watch,
                       EPOLLIN | (c->conn.out_from < c->conn.out_to ? (uint32_t)EPOLLOUT : 0u));
    return rc;
}

/** Verify a whole message; stamp and, when it came in pieces, hash are those of the consumer. */
static void consumer_verify(slc_perf_consumer *c, const uint8_t *body, uint32_t piece_bytes)
{
    slc_perf_verify *verify = &c->run->verify;
    if (c->body_bytes < SLC_PERF_STAMP_BYTES || c->stamp_bytes < SLC_PERF_STAMP_BYTES) {
        verify->counts.foreign++;
        return;
    }
    uint64_t noise =
        c->hashing ? XXH3_64bits_digest(c->hash)
                   : XXH3_64bits(body + SLC_PERF_STAMP_BYTES, piece_bytes - SLC_PERF_STAMP_BYTES);
    if (slc_perf_checksum(c->stamp, noise) != slc_get_u64be(c->stamp + 16)) {
        verify->counts.bad_checksum++;
        return;
    }
    uint64_t place = slc_get_u64be(c->stamp + 8);
    uint32_t stream = (uint32_t)(place >> 40);
    if (c->run->streams > 0 && stream >= c->run->streams) {
        verify->counts.foreign++;
        return;
    }
    slc_perf_verify_seen(verify, verify->queues == 1 ? 0 : c->queue, stream,
                         place & ((1ull << 40) - 1), c->redelivered);
}

/** A message is complete. piece: its last (mostly only) body frame. */
static inline slc_err consumer_message(slc_perf_consumer *c, const uint8_t *piece,
                                       uint32_t piece_bytes, slc_error *error)
{
    slc_perf_run *run = c->run;
    const slc_perf_options *o = run->options;
    c->content = CONTENT_NONE;
    if (c->state != SLC_PERF_RUNNING)
        return SLC_OK; // came after the last one we wanted: the broker takes it back
    run->counts.consumed++;
    c->received++;
    if (c->pace_ns > 0) {
        // What was missed while nothing came is made up for a tenth of a second at most.
        bool late = c->pace_next_ns + CONSUMER_CATCH_UP_NS < run->now_ns;
        c->pace_next_ns = (late ? run->now_ns : c->pace_next_ns) + c->pace_ns;
    }
    if (c->redelivered)
        run->counts.redelivered++;
    if (run->measuring && c->stamp_bytes >= SLC_PERF_BODY_STAMPED) {
        uint64_t sent_ns = slc_get_u64be(c->stamp);
        if (sent_ns <= run->now_ns)
            slc_histogram_add(&run->latency, run->now_ns - sent_ns);
        else
            run->counts.undated++;
    }
    if (o->verify)
        consumer_verify(c, piece, piece_bytes);
    if (!o->autoack) {
        c->unacked++;
        if (c->unacked >= o->ack_every)
            consumer_put_ack(c);
    }
    if (o->cmessages > 0 && c->received >= o->cmessages)
        return slc_perf_consumer_finish(c, error);
    return SLC_OK;
}

static slc_err consumer_deliver(slc_perf_consumer *c, const uint8_t *payload, uint32_t bytes,
                                slc_error *error)
{
    // id u32, consumer tag, delivery tag u64, redelivered, exchange, routing key
    uint32_t tag_bytes = bytes > 4 ? payload[4] : 0;
    if (bytes < 5 + tag_bytes + 9)
        return slc_error_set(error, SLC_EFRAME, "the broker sent a basic.deliver of %u octets",
                             bytes);
    const uint8_t *at = payload + 5 + tag_bytes;
    c->redelivered = at[8] & 1;
    if (c->state == SLC_PERF_RUNNING)
        c->last_tag = slc_get_u64be(at);
    c->content = CONTENT_HEADER;
    if (c->hash != NULL) { // --verify
        c->queue = 0;
        for (uint32_t i = 0; i < tag_bytes; i++)
            c->queue = c->queue * 10 + (uint32_t)(payload[5 + i] - '0');
        if (c->queue >= c->run->topology.queue_count)
            return slc_error_set(error, SLC_EUNEXPECTED,
                                 "the broker delivered to a consumer tag that is not ours");
    }
    return SLC_OK;
}

static slc_err consumer_header(slc_perf_consumer *c, const uint8_t *payload, uint32_t bytes,
                               slc_error *error)
{
    if (c->content != CONTENT_HEADER || bytes < 14)
        return slc_error_set(error, SLC_EUNEXPECTED,
                             "the broker sent a content header out of place");
    c->body_bytes = c->body_left = slc_get_u64be(payload + 4);
    c->stamp_bytes = 0;
    c->hashing = false;
    c->content = CONTENT_BODY;
    return c->body_bytes == 0 ? consumer_message(c, payload, 0, error) : SLC_OK;
}

static slc_err consumer_body(slc_perf_consumer *c, const uint8_t *payload, uint32_t bytes,
                             slc_error *error)
{
    if (c->content != CONTENT_BODY || bytes > c->body_left)
        return slc_error_set(error, SLC_EUNEXPECTED, "the broker sent a content body out of place");
    if (c->body_left == c->body_bytes) { // the first piece
        c->stamp_bytes = bytes < SLC_PERF_STAMP_BYTES ? bytes : SLC_PERF_STAMP_BYTES;
        memcpy(c->stamp, payload, c->stamp_bytes);
        if (bytes < c->body_bytes && c->hash != NULL) {
            c->hashing = true;
            XXH3_64bits_reset(c->hash);
            if (bytes > SLC_PERF_STAMP_BYTES)
                XXH3_64bits_update(c->hash, payload + SLC_PERF_STAMP_BYTES,
                                   bytes - SLC_PERF_STAMP_BYTES);
        }
    } else if (c->hashing) {
        XXH3_64bits_update(c->hash, payload, bytes);
    }
    c->body_left -= bytes;
    return c->body_left == 0 ? consumer_message(c, payload, bytes, error) : SLC_OK;
}

static slc_err consumer_method(slc_perf_consumer *c, const uint8_t *payload, uint32_t bytes,
                               slc_error *error)
{
    if (bytes < 4 || c->content != CONTENT_NONE)
        return slc_error_set(error, SLC_EUNEXPECTED, "the broker sent a method out of place");
    uint32_t id = slc_get_u32be(payload);
    if (id == SLC_AMQP_BASIC_DELIVER)
        return consumer_deliver(c, payload, bytes, error);
    if (id == SLC_AMQP_BASIC_CONSUME_OK) {
        c->run->subscribed++;
        return SLC_OK;
    }
    if (id == SLC_AMQP_CHANNEL_CLOSE_OK && c->state == SLC_PERF_CLOSING) {
        c->state = SLC_PERF_DONE;
        c->run->consumers_left--;
        slc_perf_run_watch(c->run, &c->watch, 0);
        return SLC_OK;
    }
    return slc_perf_conn_cold_method(&c->conn, slc_slice_of(payload, bytes), error);
}

/** May another message be taken now? With --consumer-rate the rest stays in the buffer, and then in the socket. */
static inline bool consumer_may(const slc_perf_consumer *c)
{
    return c->pace_ns == 0 || c->state != SLC_PERF_RUNNING || c->run->now_ns >= c->pace_next_ns;
}

static slc_err consumer_parse(slc_perf_consumer *c, slc_error *error)
{
    slc_perf_conn *conn = &c->conn;
    slc_err rc = SLC_OK;
    while (rc == SLC_OK && conn->in_to - conn->in_from >= SLC_AMQP_FRAME_HEAD_BYTES &&
           consumer_may(c)) {
        const uint8_t *at = conn->in + conn->in_from;
        slc_amqp_frame_head head = slc_amqp_frame_head_decode(at);
        if (head.bytes > conn->frame_max)
            return slc_error_set(error, SLC_EFRAME,
                                 "the broker sent a frame of %u octets, frame_max is %u",
                                 head.bytes, conn->frame_max);
        if (conn->in_to - conn->in_from < (size_t)head.bytes + SLC_AMQP_FRAME_EXTRA_BYTES)
            break;
        const uint8_t *payload = at + SLC_AMQP_FRAME_HEAD_BYTES;
        if (payload[head.bytes] != SLC_AMQP_FRAME_END)
            return slc_error_set(error, SLC_EFRAME,
                                 "the broker sent a frame without its end octet");
        conn->in_from += (size_t)head.bytes + SLC_AMQP_FRAME_EXTRA_BYTES;
        switch (head.type) {
        case SLC_AMQP_FRAME_METHOD:
            rc = consumer_method(c, payload, head.bytes, error);
            break;
        case SLC_AMQP_FRAME_HEADER:
            rc = consumer_header(c, payload, head.bytes, error);
            break;
        case SLC_AMQP_FRAME_BODY:
            rc = consumer_body(c, payload, head.bytes, error);
            break;
        case SLC_AMQP_FRAME_HEARTBEAT:
            break;
        default:
            rc = slc_error_set(error, SLC_EFRAME, "the broker sent a frame of type %u", head.type);
        }
        if (conn->out_to - conn->out_from >= CONSUMER_FLUSH_BYTES && rc == SLC_OK &&
            conn->out_from == 0)
            rc = slc_perf_conn_flush(conn, error);
    }
    return rc;
}

slc_err slc_perf_consumer_pump(slc_perf_consumer *c, slc_error *error)
{
    if (c->state == SLC_PERF_DONE)
        return SLC_OK;
    slc_err rc = c->pace_ns > 0 ? consumer_parse(c, error) : SLC_OK;
    if (rc == SLC_OK)
        rc = slc_perf_conn_flush(&c->conn, error);
    if (rc != SLC_OK || c->state == SLC_PERF_DONE)
        return rc;
    bool may = consumer_may(c);
    if (!may && c->pace_next_ns < c->run->pace_next_ns)
        c->run->pace_next_ns = c->pace_next_ns;
    bool pending = c->conn.out_from < c->conn.out_to;
    slc_perf_run_watch(c->run, &c->watch,
                       (may ? (uint32_t)EPOLLIN : 0u) | (pending ? (uint32_t)EPOLLOUT : 0u));
    return SLC_OK;
}

slc_err slc_perf_consumer_read(slc_perf_consumer *c, slc_error *error)
{
    for (int i = 0; i < CONSUMER_READS && c->state != SLC_PERF_DONE; i++) {
        size_t room = c->conn.in_cap - c->conn.in_to;
        size_t before = c->conn.in_to - c->conn.in_from;
        slc_err rc = slc_perf_conn_fill(&c->conn, error);
        if (rc == SLC_EAGAIN)
            break;
        if (rc != SLC_OK)
            return rc;
        c->run->now_ns = slc_clock_now_ns();
        bool full = c->conn.in_to - c->conn.in_from - before >= room;
        if ((rc = consumer_parse(c, error)) != SLC_OK)
            return rc;
        if (!full || !consumer_may(c))
            break; // the socket is empty, or we must not take more
    }
    return slc_perf_consumer_pump(c, error);
}
