/* Content being received: publish method, header frame, body frames.
 *
 *      NONE ──basic.publish──> HEADER ──header──> BODY ──last octet──> done: into core, NONE again
 *                │                                  ▲
 *                └──header right behind it ─────────┘   (the usual case: nothing is copied but into the message)
 *
 * What makes a message unacceptable (too large, bad property) is remembered and raised when its content is complete: a channel
 * exception in the middle could make the client's close-ok overtake its own body frames.
 */
#include <inttypes.h>

#include "amqp091/amqp_impl.h"
#include "core/incoming.h"

/** A header with nothing or just content-type and delivery-mode, which most publishers send: no table, nothing to check. */
static bool props_simple(slc_slice list, uint8_t *delivery_mode)
{
    const uint8_t *at = list.data;
    *delivery_mode = 0;
    switch (slc_get_u16be(at)) {
    case 0:
        return list.bytes == 2;
    case SLC_AMQP_PROP_DELIVERY_MODE:
        if (list.bytes != 3)
            return false;
        *delivery_mode = at[2];
        return true;
    case SLC_AMQP_PROP_CONTENT_TYPE | SLC_AMQP_PROP_DELIVERY_MODE:
        if (list.bytes < 4 || list.bytes != 4u + at[2])
            return false;
        *delivery_mode = at[list.bytes - 1];
        return true;
    default:
        return false;
    }
}

/** The header frame is there: make the message. False: nothing of ch is to be received (ch may be gone). */
static bool content_begin(amqp_channel *ch, slc_slice exchange, slc_slice key, slc_slice payload)
{
    amqp_conn *c = ch->conn;
    slc_amqp_content content = {0};
    if (payload.bytes >= SLC_AMQP_CONTENT_HEAD_BYTES + 2 &&
        slc_get_u32be(payload.data) == (uint32_t)SLC_AMQP_CLASS_BASIC << 16 &&
        props_simple(slc_slice_of(payload.data + SLC_AMQP_CONTENT_HEAD_BYTES,
                                  payload.bytes - SLC_AMQP_CONTENT_HEAD_BYTES),
                     &content.props.delivery_mode)) {
        content.body_bytes = slc_get_u64be(payload.data + 4);
        content.list = slc_slice_of(payload.data + SLC_AMQP_CONTENT_HEAD_BYTES,
                                    payload.bytes - SLC_AMQP_CONTENT_HEAD_BYTES);
    } else {
        slc_error *error = &c->server->error;
        error->text[0] = '\0';
        slc_err rc = slc_amqp_content_decode(payload, &content, error);
        if (rc != SLC_OK) {
            slc_amqp_conn_error(c, slc_amqp_code_of(rc), SLC_AMQP_BASIC_PUBLISH, "%s", error->text);
            return false;
        }
        if (content.weight != 0) {
            slc_amqp_conn_error(
                c, SLC_AMQP_UNEXPECTED_FRAME, SLC_AMQP_BASIC_PUBLISH,
                "expected content header for class 60, got non content header frame instead");
            return false;
        }
        if (content.class_id != SLC_AMQP_CLASS_BASIC) {
            slc_amqp_conn_error(
                c, SLC_AMQP_UNEXPECTED_FRAME, SLC_AMQP_BASIC_PUBLISH,
                "expected content header for class 60, got one for class %u instead",
                content.class_id);
            return false;
        }
    }
    if (content.body_bytes > AMQP_BODY_BYTES_MAX) {
        slc_amqp_conn_error(c, SLC_AMQP_FRAME_ERROR, SLC_AMQP_BASIC_PUBLISH,
                            "content body size %" PRIu64 " exceeds maximum allowed size %llu",
                            content.body_bytes, AMQP_BODY_BYTES_MAX);
        return false;
    }
    const slc_amqp_props *props = &content.props;
    slc_incoming in = {
        .exchange = exchange,
        .key = key,
        .list = content.list,
        .headers = props->headers,
        .expiration = props->expiration,
        .reply_to = props->reply_to,
        .user_id = props->user_id,
        .flags = props->flags,
        .body_bytes = content.body_bytes,
        .body_bytes_max = c->server->settings.max_message_bytes,
        .priority = props->priority,
        .persistent = props->delivery_mode == 2,
    };
    slc_error refusal; // half a KiB, which the usual message need not pay for
    slc_err rc = slc_incoming_check(ch->session, &in, &refusal);
    if (rc == SLC_OK) {
        ch->message = slc_incoming_message(ch->session, &in, &ch->headers);
        if (ch->message == NULL)
            rc = slc_error_set(&refusal, SLC_EPRECONDITION,
                               "not enough memory for a message of %" PRIu64 " octets",
                               content.body_bytes);
    }
    if (rc != SLC_OK) {
        ch->refusal = slc_alloc(sizeof *ch->refusal);
        *ch->refusal = refusal;
    }
    slc_free(ch->publish);
    ch->publish = NULL;
    ch->content = AMQP_CONTENT_BODY;
    ch->body_left = content.body_bytes;
    if (ch->body_left > 0)
        return true;
    slc_amqp_content_done(ch);
    return false;
}

void slc_amqp_content_done(amqp_channel *ch)
{
    slc_error *error = &ch->conn->server->error;
    slc_message *message = ch->message;
    ch->content = AMQP_CONTENT_NONE;
    if (ch->refusal != NULL) {
        *error = *ch->refusal;
        slc_amqp_core_error(ch, error->code, SLC_AMQP_BASIC_PUBLISH, error);
        return;
    }
    ch->message = NULL;
    error->text[0] = '\0';
    slc_err rc = slc_session_publish(ch->session, message, ch->headers, ch->mandatory, error);
    if (rc != SLC_OK)
        slc_amqp_core_error(ch, rc, SLC_AMQP_BASIC_PUBLISH, error);
}

uint8_t *slc_amqp_content_at(amqp_channel *ch)
{
    if (ch->message == NULL)
        return NULL;
    return slc_message_body(ch->message) + (ch->message->body_bytes - ch->body_left);
}

void slc_amqp_content_advance(amqp_channel *ch, size_t bytes)
{
    SLC_ASSERT(bytes <= ch->body_left);
    ch->body_left -= bytes;
}

void slc_amqp_content_body(amqp_channel *ch, const uint8_t *data, size_t bytes)
{
    uint8_t *to = slc_amqp_content_at(ch);
    SLC_ASSERT(bytes <= ch->body_left);
    if (to != NULL && bytes > 0)
        memcpy(to, data, bytes);
    ch->body_left -= bytes;
}

/** A whole frame of that type and channel at the front of input? */
static bool frame_at(slc_slice input, uint8_t type, const amqp_channel *ch, slc_slice *payload)
{
    if (input.bytes < SLC_AMQP_FRAME_EXTRA_BYTES)
        return false;
    slc_amqp_frame_head head = slc_amqp_frame_head_decode(input.data);
    uint32_t frame_max = ch->conn->frame_max;
    if (head.type != type || head.channel != ch->number ||
        (frame_max != 0 && head.bytes > frame_max))
        return false;
    if (input.bytes - SLC_AMQP_FRAME_EXTRA_BYTES < head.bytes)
        return false;
    *payload = slc_slice_of(input.data + SLC_AMQP_FRAME_HEAD_BYTES, head.bytes);
    return payload->data[head.bytes] == SLC_AMQP_FRAME_END;
}

amqp_verdict slc_amqp_publish(amqp_channel *ch, slc_slice payload, slc_slice rest, size_t *more)
{
    amqp_conn *c = ch->conn;
    slc_amqp_basic_publish publish;
    slc_slice next;
    if (!slc_amqp_fast_publish(payload, &publish)) {
        slc_amqp_method method;
        slc_error *error = &c->server->error;
        slc_err rc = slc_amqp_method_decode(payload, &method, error);
        SLC_ASSERT(rc != SLC_OK); // both decoders mean the same
        slc_amqp_conn_error(c, slc_amqp_code_of(rc), SLC_AMQP_BASIC_PUBLISH, "%s", error->text);
        return AMQP_TAKEN;
    }
    if (publish.immediate) {
        slc_amqp_conn_error(c, SLC_AMQP_NOT_IMPLEMENTED, SLC_AMQP_BASIC_PUBLISH, "immediate=true");
        return AMQP_TAKEN;
    }
    if (c->alarm) {
        slc_amqp_conn_block(c);
        return AMQP_WAIT;
    }
    // What comes back by basic.return waits for a peer that may not read.
    if (publish.mandatory && slc_conn_hold(c->io))
        return AMQP_WAIT;
    if (c->flow) {
        slc_conn_pause(c->io, SLC_PAUSE_FLOW);
        return AMQP_WAIT;
    }
    ch->mandatory = publish.mandatory;
    if (!frame_at(rest, SLC_AMQP_FRAME_HEADER, ch, &next)) {
        size_t bytes = publish.exchange.bytes + publish.routing_key.bytes;
        ch->publish = slc_alloc(bytes + 1);
        memcpy(ch->publish, publish.exchange.data, publish.exchange.bytes);
        memcpy(ch->publish + publish.exchange.bytes, publish.routing_key.data,
               publish.routing_key.bytes);
        ch->publish_exchange_bytes = (uint8_t)publish.exchange.bytes;
        ch->publish_key_bytes = (uint8_t)publish.routing_key.bytes;
        ch->content = AMQP_CONTENT_HEADER;
        return AMQP_TAKEN;
    }
    *more = next.bytes + SLC_AMQP_FRAME_EXTRA_BYTES;
    if (!content_begin(ch, publish.exchange, publish.routing_key, next))
        return AMQP_TAKEN;
    rest = slc_slice_of(rest.data + *more, rest.bytes - *more);
    if (frame_at(rest, SLC_AMQP_FRAME_BODY, ch, &next) && next.bytes == ch->body_left) {
        *more += next.bytes + SLC_AMQP_FRAME_EXTRA_BYTES;
        slc_amqp_content_body(ch, next.data, next.bytes);
        slc_amqp_content_done(ch);
    }
    return AMQP_TAKEN;
}

void slc_amqp_content_header(amqp_channel *ch, slc_slice payload)
{
    slc_slice exchange = slc_slice_of(ch->publish, ch->publish_exchange_bytes);
    slc_slice key = slc_slice_of(ch->publish + ch->publish_exchange_bytes, ch->publish_key_bytes);
    (void)content_begin(ch, exchange, key, payload);
}
