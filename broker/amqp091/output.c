/* Frames to the client. Everything one call writes stays together: a content's method, header and body frames are never
 * interrupted, since only the loop writes and each of these functions writes all of them. */
#include "amqp091/amqp_impl.h"

void slc_amqp_send(amqp_conn *c, uint16_t number, const slc_amqp_method *method)
{
    size_t bytes = slc_amqp_method_frame_bytes(method);
    uint8_t *at = slc_conn_reserve(c->io, bytes);
    size_t written = slc_amqp_method_frame_encode(number, method, at, bytes);
    SLC_ASSERT(written == bytes);
    slc_conn_commit(c->io, at + written);
}

void slc_amqp_send_empty(amqp_conn *c, uint16_t number, uint32_t id)
{
    slc_amqp_method method = {.id = id};
    slc_amqp_send(c, number, &method);
}

static void message_release(void *message)
{
    slc_message_unref(message);
}

/** Body frames, each of at most frame_max octets. */
static void put_body(amqp_conn *c, uint16_t number, slc_message *message)
{
    uint64_t left = message->body_bytes;
    uint64_t part_max = slc_amqp_body_frame_bytes_max(c->frame_max);
    const uint8_t *body = slc_message_body(message);
    while (left > 0) {
        uint32_t part = (uint32_t)(left < part_max ? left : part_max);
        if (part <= AMQP_COPY_MAX) {
            uint8_t *at = slc_conn_reserve(c->io, part + SLC_AMQP_FRAME_EXTRA_BYTES);
            at = slc_amqp_fast_body_head_put(at, number, part);
            memcpy(at, body, part);
            at[part] = SLC_AMQP_FRAME_END;
            slc_conn_commit(c->io, at + part + 1);
        } else {
            uint8_t *at = slc_conn_reserve(c->io, SLC_AMQP_FRAME_HEAD_BYTES);
            slc_conn_commit(c->io, slc_amqp_fast_body_head_put(at, number, part));
            slc_conn_append_ref(c->io, body, part, slc_message_ref(message), message_release);
            at = slc_conn_reserve(c->io, 1);
            *at = SLC_AMQP_FRAME_END;
            slc_conn_commit(c->io, at + 1);
        }
        body += part;
        left -= part;
    }
}

/** Flags and properties; what came without any (another front end) has no flag set. */
static slc_slice props_of(const slc_message *message)
{
    static const uint8_t none[2] = {0};
    slc_slice list = slc_message_props(message);
    return list.bytes >= sizeof none ? list : slc_slice_of(none, sizeof none);
}

void slc_amqp_send_content(amqp_conn *c, uint16_t number, const slc_amqp_method *method,
                           slc_message *message)
{
    slc_slice list = props_of(message);
    slc_amqp_send(c, number, method);
    size_t bytes = slc_amqp_header_frame_bytes(list.bytes);
    uint8_t *at = slc_conn_reserve(c->io, bytes);
    size_t written = slc_amqp_header_frame_encode(number, message->body_bytes, list, at, bytes);
    SLC_ASSERT(written == bytes);
    slc_conn_commit(c->io, at + written);
    put_body(c, number, message);
}

/* ---- callbacks of core; they must not call back into it, but for failed ---- */

static void session_deliver(slc_session *session, const slc_consumer *consumer,
                            uint64_t delivery_tag, bool redelivered, slc_message *message)
{
    amqp_channel *ch = slc_session_arg(session);
    amqp_conn *c = ch->conn;
    slc_slice tag = slc_consumer_tag(consumer);
    slc_slice exchange = slc_message_exchange(message);
    slc_slice key = slc_message_key(message);
    slc_slice list = props_of(message);
    size_t head_bytes =
        slc_amqp_fast_deliver_bytes(tag.bytes, exchange.bytes, key.bytes, list.bytes);
    size_t body_bytes = message->body_bytes;
    bool small = body_bytes <= AMQP_COPY_MAX; // fits one frame: the least frame_max is twice that
    size_t room = head_bytes + (small ? body_bytes + SLC_AMQP_FRAME_EXTRA_BYTES : 0);

    uint8_t *at = slc_conn_reserve(c->io, room);
    at = slc_amqp_fast_deliver_put(at, ch->number, tag, delivery_tag, redelivered, exchange, key,
                                   list, message->body_bytes);
    if (small && body_bytes > 0) {
        at = slc_amqp_fast_body_head_put(at, ch->number, (uint32_t)body_bytes);
        memcpy(at, slc_message_body(message), body_bytes);
        at[body_bytes] = SLC_AMQP_FRAME_END;
        at += body_bytes + 1;
    }
    slc_conn_commit(c->io, at);
    if (!small)
        put_body(c, ch->number, message);
}

static void session_confirm(slc_session *session, uint64_t seq, bool multiple, bool ack)
{
    amqp_channel *ch = slc_session_arg(session);
    uint8_t *at = slc_conn_reserve(ch->conn->io, SLC_AMQP_ACK_FRAME_BYTES);
    // The requeue bit of a nack means nothing here; RabbitMQ leaves it at its default, 1.
    at = ack ? slc_amqp_fast_ack_put(at, ch->number, seq, multiple)
             : slc_amqp_fast_nack_put(at, ch->number, seq, multiple, true);
    slc_conn_commit(ch->conn->io, at);
}

static void session_returned(slc_session *session, slc_message *message)
{
    amqp_channel *ch = slc_session_arg(session);
    slc_amqp_method method = {
        .id = SLC_AMQP_BASIC_RETURN,
        .basic_return = {.reply_code = SLC_AMQP_NO_ROUTE,
                         .reply_text = slc_slice_str("NO_ROUTE"),
                         .exchange = slc_message_exchange(message),
                         .routing_key = slc_message_key(message)},
    };
    slc_amqp_send_content(ch->conn, ch->number, &method, message);
}

static void session_cancelled(slc_session *session, slc_slice consumer_tag)
{
    amqp_channel *ch = slc_session_arg(session);
    if (!ch->conn->cap_cancel_notify)
        return; // for such a client the consumer just vanishes (amqp-semantics 12.8)
    slc_amqp_method method = {
        .id = SLC_AMQP_BASIC_CANCEL,
        .basic_cancel = {.consumer_tag = consumer_tag, .nowait = true},
    };
    slc_amqp_send(ch->conn, ch->number, &method);
}

static void session_failed(slc_session *session, slc_err rc, const slc_error *error)
{
    slc_amqp_core_error(slc_session_arg(session), rc, 0, error);
}

static void session_resume(slc_session *session)
{
    amqp_channel *ch = slc_session_arg(session);
    slc_conn_resume(ch->conn->io, SLC_PAUSE_PENDING);
}

const slc_session_ops slc_amqp_session_ops = {
    .deliver = session_deliver,
    .confirm = session_confirm,
    .returned = session_returned,
    .cancelled = session_cancelled,
    .failed = session_failed,
    .resume = session_resume,
};
