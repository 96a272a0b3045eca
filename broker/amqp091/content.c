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
#include <stdarg.h>
#include <stdio.h>

#include "amqp091/amqp_impl.h"
#include "core/properties.h"
#include "core/reply_to.h"

static void refuse(amqp_channel *ch, const char *format, ...) SLC_PRINTF(2, 3);

static void refuse(amqp_channel *ch, const char *format, ...)
{
    char text[SLC_ERROR_TEXT_BYTES];
    va_list args;
    if (ch->refusal != NULL)
        return; // the first counts
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    ch->refusal = slc_alloc(sizeof *ch->refusal);
    (void)slc_error_set(ch->refusal, SLC_EPRECONDITION, "%s", text);
}

/** Milliseconds in decimal, 0 to 2^32 - 1, as Erlang's string:to_integer reads them. Texts: amqp-semantics 11.1. */
static void check_expiration(amqp_channel *ch, slc_slice text)
{
    const char *at = (const char *)text.data;
    size_t bytes = text.bytes;
    bool negative = bytes > 0 && *at == '-';
    size_t from = bytes > 0 && (*at == '-' || *at == '+') ? 1 : 0;
    size_t to = from;
    uint64_t value = 0;
    while (to < bytes && at[to] >= '0' && at[to] <= '9') {
        value = value > UINT32_MAX ? value : value * 10 + (uint64_t)(at[to] - '0');
        to++;
    }
    slc_slice digits = slc_slice_of(text.data + from, to - from);
    if (to == from)
        refuse(ch, "invalid expiration '%.*s': no_integer", SLC_SLICE_FMT(text));
    else if (to < bytes)
        refuse(ch, "invalid expiration '%.*s': {leftover_string,\"%.*s\"}", SLC_SLICE_FMT(text),
               SLC_SLICE_FMT(slc_slice_of(text.data + to, bytes - to)));
    else if (negative && value > 0)
        refuse(ch, "invalid expiration '%.*s': {value_negative,-%.*s}", SLC_SLICE_FMT(text),
               SLC_SLICE_FMT(digits));
    else if (value > UINT32_MAX)
        refuse(ch, "invalid expiration '%.*s': {value_too_large,%.*s}", SLC_SLICE_FMT(text),
               SLC_SLICE_FMT(digits));
    else
        ch->ttl = value + 1;
}

static void check_extra_keys(amqp_channel *ch, slc_slice headers, const char *name)
{
    slc_value value;
    if (!slc_table_find(headers, slc_slice_str(name), &value))
        return;
    if (value.type != SLC_TYPE_ARRAY)
        refuse(ch, "invalid message: {unacceptable_type_in_header,\"%s\",%s}", name,
               slc_value_type_name(value.type));
    else
        ch->more_keys = true;
}

/** What the broker changes before anybody sees the message: the BCC header goes (the message hides its keys), the pseudo queue in
 *  reply-to becomes the name of this channel. Octets of the headers that are left. */
static size_t props_rewrite(amqp_channel *ch, const slc_amqp_content *content, bool bcc,
                            slc_buffer *out)
{
    slc_slice headers = content->props.headers;
    slc_slice reply = ch->fast_reply ? slc_session_reply_name(ch->session) : (slc_slice){0};
    slc_table_builder b = {0};
    if (bcc) {
        slc_table_iter iter = slc_table_iter_of(headers);
        slc_slice key;
        slc_value value;
        while (slc_table_next(&iter, &key, &value)) {
            if (!slc_slice_is(key, "BCC"))
                slc_table_put_value(&b, key, &value);
        }
        headers = slc_table_builder_content(&b);
        if (headers.bytes == 0)
            headers = slc_slice_str(""); // as in RabbitMQ the table stays, also without an entry
    }
    slc_properties_with(content->list, headers, SLC_PROPERTY_NONE, reply, out);
    slc_table_builder_fini(&b);
    return headers.bytes;
}

/** NULL: no memory for it. */
static slc_message *message_make(amqp_channel *ch, slc_slice exchange, slc_slice key,
                                 const slc_amqp_content *content)
{
    slc_slice list = content->list;
    size_t headers_bytes = content->props.headers.bytes;
    slc_buffer changed = {0}, hidden = {0};
    bool bcc = ch->more_keys && slc_table_find(content->props.headers, slc_slice_str("BCC"), NULL);
    if (bcc | ch->fast_reply) {
        if (bcc)
            slc_headers_hidden_keys(content->props.headers, &hidden);
        headers_bytes = props_rewrite(ch, content, bcc, &changed);
        list = slc_buffer_slice(&changed);
    }
    slc_message *m =
        slc_message_new_hidden(exchange, key, list, content->body_bytes,
                               content->props.delivery_mode == 2, slc_buffer_slice(&hidden));
    slc_buffer_fini(&changed);
    slc_buffer_fini(&hidden);
    if (m == NULL)
        return NULL;
    m->priority = content->props.priority;
    m->ttl = ch->ttl;
    m->more_keys = ch->more_keys;
    // Where the table lies in the message's own copy: nothing in front of it is ever changed.
    if (headers_bytes > 0)
        ch->headers = slc_slice_of(slc_message_props(m).data +
                                       (content->props.headers.data - content->list.data),
                                   headers_bytes);
    return m;
}

/** In RabbitMQ's order (3.10.8 was asked): what is wrong in two ways gets the same answer. */
static void check_props(amqp_channel *ch, const slc_amqp_props *props)
{
    if ((props->flags & SLC_AMQP_PROP_REPLY_TO) != 0 &&
        slc_slice_is(props->reply_to, SLC_REPLY_TO)) {
        ch->fast_reply = true;
        if (slc_session_reply_name(ch->session).bytes == 0)
            refuse(ch, "fast reply consumer does not exist");
    }
    if ((props->flags & SLC_AMQP_PROP_USER_ID) != 0 && !ch->conn->client.info.impersonator &&
        !slc_slice_is(props->user_id, ch->conn->user))
        refuse(ch, "user_id property set to '%.*s' but authenticated user was '%s'",
               SLC_SLICE_FMT(props->user_id), ch->conn->user);
    if ((props->flags & SLC_AMQP_PROP_EXPIRATION) != 0)
        check_expiration(ch, props->expiration);
    if (props->headers.bytes > 0) {
        check_extra_keys(ch, props->headers, "CC");
        check_extra_keys(ch, props->headers, "BCC");
    }
}

/** RabbitMQ looks at the exchange and the topic permission before it looks at properties, so a message that is wrong in both
 *  ways gets the answer about the exchange. @spec amqp-semantics 11.1 */
static void check_exchange_first(amqp_channel *ch, slc_slice name, slc_slice key)
{
    slc_error first;
    if (ch->refusal != NULL && slc_session_may_publish(ch->session, name, key, &first) != SLC_OK)
        *ch->refusal = first;
}

/** A header with nothing or just content-type and delivery-mode, which most publishers send: no table, nothing to check. */
static bool props_simple(slc_slice list, uint8_t *delivery_mode)
{
    const uint8_t *at = list.data;
    *delivery_mode = 0;
    switch (slc_get_u16be(at)) {
    case 0:
        return list.bytes == 2;
    case SLC_AMQP_PROP_DELIVERY_MODE:
        *delivery_mode = at[2];
        return list.bytes == 3;
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
    if (payload.bytes >= SLC_AMQP_CONTENT_HEAD_BYTES + 3 &&
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
    ch->ttl = 0;
    ch->more_keys = ch->fast_reply = false;
    uint64_t bytes_max = c->server->settings.max_message_bytes;
    if (content.body_bytes > bytes_max) {
        refuse(ch, "message size %" PRIu64 " is larger than configured max size %" PRIu64,
               content.body_bytes, bytes_max);
    } else if (content.props.flags != 0) {
        check_props(ch, &content.props);
        check_exchange_first(ch, exchange, key);
    }

    ch->headers = (slc_slice){0};
    if (ch->refusal == NULL) {
        ch->message = message_make(ch, exchange, key, &content);
        if (ch->message == NULL)
            refuse(ch, "not enough memory for a message of %" PRIu64 " octets", content.body_bytes);
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
