/* Input of a connection: frames.
 *
 * Whole frames are handled where they lie in net's buffer. A body frame may be larger than what has come: its head is taken
 * at once, then its octets go to the message as they come (net reads them straight into it), then its end octet is checked.
 */
#include "amqp091/amqp_impl.h"

/** Payload octets that a method or header frame may have. */
static uint32_t frame_limit(const amqp_conn *c)
{
    if (c->state < AMQP_OPENING)
        return c->server->settings.initial_frame_max;
    return c->frame_max != 0 ? c->frame_max : AMQP_UNLIMITED_FRAME_MAX;
}

static bool channel_is_open(const amqp_channel *ch)
{
    return ch != NULL && ch->session != NULL;
}

/** Judge a content frame that came for ch. False: an exception was raised. @spec amqp-semantics 1.3, 5 */
static bool content_expected(amqp_conn *c, const amqp_channel *ch, uint16_t number, uint8_t type)
{
    if (number == 0)
        slc_amqp_conn_error(c, SLC_AMQP_UNEXPECTED_FRAME, 0, "content frame on channel 0");
    else if (ch == NULL)
        slc_amqp_conn_error(c, SLC_AMQP_CHANNEL_ERROR, 0, "expected 'channel.open'");
    else if (ch->content == AMQP_CONTENT_NONE)
        slc_amqp_conn_error(c, SLC_AMQP_UNEXPECTED_FRAME, 0,
                            "expected method frame, got non method frame instead");
    else if (ch->content == AMQP_CONTENT_HEADER && type != SLC_AMQP_FRAME_HEADER)
        slc_amqp_conn_error(
            c, SLC_AMQP_UNEXPECTED_FRAME, SLC_AMQP_BASIC_PUBLISH,
            "expected content header for class 60, got non content header frame instead");
    else if (ch->content == AMQP_CONTENT_BODY && type != SLC_AMQP_FRAME_BODY)
        slc_amqp_conn_error(c, SLC_AMQP_UNEXPECTED_FRAME, SLC_AMQP_BASIC_PUBLISH,
                            "expected content body, got non content body frame instead");
    else
        return true;
    return false;
}

/** The head of a body frame is at hand (and was found to be of an acceptable size). Returns octets consumed. */
static size_t body_frame_begin(amqp_conn *c, slc_amqp_frame_head head)
{
    amqp_channel *ch = NULL;
    if (c->state == AMQP_RUNNING) {
        ch = slc_amqp_channel_find(c, head.channel);
        if (ch != NULL && ch->session == NULL) {
            ch = NULL; // closing: dropped
        } else {
            if (!content_expected(c, ch, head.channel, SLC_AMQP_FRAME_BODY)) {
                ch = NULL; // as is what follows an exception
            } else if (head.bytes > ch->body_left) {
                slc_amqp_conn_error(c, SLC_AMQP_FRAME_ERROR, SLC_AMQP_BASIC_PUBLISH,
                                    "content body frame exceeds remaining content size");
                ch = NULL;
            }
        }
    }
    c->frame_open = true;
    c->frame_left = head.bytes;
    c->frame_channel = ch;
    return SLC_AMQP_FRAME_HEAD_BYTES;
}

/** Inside a body frame: take what is there. Returns octets consumed; 0 with c->frame_open still set: more must come. */
static size_t body_frame_go_on(amqp_conn *c, slc_slice input)
{
    amqp_channel *ch = c->frame_channel;
    if (c->frame_left > 0) {
        size_t part = input.bytes < c->frame_left ? input.bytes : (size_t)c->frame_left;
        if (ch != NULL)
            slc_amqp_content_body(ch, input.data, part);
        c->frame_left -= part;
        uint8_t *to = ch != NULL ? slc_amqp_content_at(ch) : NULL;
        if (c->frame_left > 0 && to != NULL && part == input.bytes)
            slc_conn_sink(c->io, to, (size_t)c->frame_left);
        return part;
    }
    if (input.bytes == 0)
        return 0;
    c->frame_open = false;
    c->frame_channel = NULL;
    if (input.data[0] != SLC_AMQP_FRAME_END) {
        slc_amqp_conn_frame_error(c, SLC_AMQP_FRAME_ERROR, 0, "body frame does not end with 206");
        return 0;
    }
    if (ch != NULL && ch->body_left == 0)
        slc_amqp_content_done(ch);
    return 1;
}

void slc_amqp_sunk(slc_conn *io, size_t bytes)
{
    amqp_conn *c = io->arg;
    SLC_ASSERT(bytes <= c->frame_left);
    c->frame_left -= bytes;
    if (c->frame_channel != NULL)
        slc_amqp_content_advance(c->frame_channel, bytes);
}

static amqp_verdict handle_method(amqp_conn *c, const slc_amqp_frame *frame, slc_slice rest,
                                  size_t *more)
{
    if (frame->channel == 0)
        return slc_amqp_connection_method(c, frame->payload);
    if (c->state == AMQP_CLOSING)
        return AMQP_TAKEN;
    if (c->state != AMQP_RUNNING) {
        slc_amqp_conn_error(c, SLC_AMQP_UNEXPECTED_FRAME, 0,
                            "frame on channel %u in connection state %s", frame->channel,
                            slc_amqp_state_name(c));
        return AMQP_TAKEN;
    }
    amqp_channel *ch = slc_amqp_channel_find(c, frame->channel);
    if (channel_is_open(ch)) {
        if (ch->content != AMQP_CONTENT_NONE) {
            (void)content_expected(c, ch, frame->channel, SLC_AMQP_FRAME_METHOD);
            return AMQP_TAKEN;
        }
        if (slc_get_u32be(frame->payload.data) == SLC_AMQP_BASIC_PUBLISH)
            return slc_amqp_publish(ch, frame->payload, rest, more);
    }
    return slc_amqp_channel_method(c, frame->channel, frame->payload);
}

static void handle_header(amqp_conn *c, const slc_amqp_frame *frame)
{
    if (c->state == AMQP_CLOSING)
        return;
    if (c->state != AMQP_RUNNING) {
        slc_amqp_conn_error(c, SLC_AMQP_UNEXPECTED_FRAME, 0,
                            "frame on channel %u in connection state %s", frame->channel,
                            slc_amqp_state_name(c));
        return;
    }
    amqp_channel *ch = slc_amqp_channel_find(c, frame->channel);
    if (ch != NULL && ch->session == NULL)
        return; // closing: dropped
    if (content_expected(c, ch, frame->channel, SLC_AMQP_FRAME_HEADER))
        slc_amqp_content_header(ch, frame->payload);
}

/** A whole frame at the front of input. The usual one is recognised here, all others are judged by the codec. */
static slc_err next_frame(amqp_conn *c, slc_slice input, slc_amqp_frame *frame, size_t *used)
{
    uint32_t limit = frame_limit(c);
    if (input.bytes >= SLC_AMQP_FRAME_EXTRA_BYTES + 4) {
        slc_amqp_frame_head head = slc_amqp_frame_head_decode(input.data);
        if (head.type == SLC_AMQP_FRAME_METHOD && head.bytes >= 4 && head.bytes <= limit &&
            head.bytes <= input.bytes - SLC_AMQP_FRAME_EXTRA_BYTES &&
            input.data[SLC_AMQP_FRAME_HEAD_BYTES + head.bytes] == SLC_AMQP_FRAME_END) {
            frame->type = head.type;
            frame->channel = head.channel;
            frame->payload = slc_slice_of(input.data + SLC_AMQP_FRAME_HEAD_BYTES, head.bytes);
            *used = head.bytes + SLC_AMQP_FRAME_EXTRA_BYTES;
            return SLC_OK;
        }
    }
    c->server->error.text[0] = '\0';
    // Only body frames may be of any size when none was negotiated: they are never collected.
    if (c->frame_max == 0 && c->state >= AMQP_OPENING && input.bytes > 0 &&
        input.data[0] == SLC_AMQP_FRAME_BODY)
        limit = 0;
    return slc_amqp_frame_decode(input, limit, frame, used, &c->server->error);
}

/** Octets of the frame at the front of input, as far as they are there. */
static size_t frame_whole(slc_slice input)
{
    slc_amqp_frame_head head = slc_amqp_frame_head_decode(input.data);
    size_t bytes = (size_t)head.bytes + SLC_AMQP_FRAME_EXTRA_BYTES;
    return bytes < input.bytes ? bytes : input.bytes;
}

/** While closing, frames of any kind are dropped as long as it is plain where they end. */
static bool frame_skippable(const amqp_conn *c, slc_slice input)
{
    slc_amqp_frame_head head = slc_amqp_frame_head_decode(input.data);
    size_t whole = frame_whole(input);
    return head.bytes <= frame_limit(c) &&
           whole == (size_t)head.bytes + SLC_AMQP_FRAME_EXTRA_BYTES &&
           input.data[whole - 1] == SLC_AMQP_FRAME_END;
}

/** One step. Returns octets consumed; 0: nothing more can be done with this input now. */
static size_t input_step(amqp_conn *c, slc_slice input)
{
    if (c->state == AMQP_DEAF)
        return input.bytes;
    if (c->frame_open)
        return body_frame_go_on(c, input);
    if (c->state == AMQP_HEADER)
        return slc_amqp_handshake_header(c, input);

    slc_amqp_frame frame;
    size_t used = 0;
    size_t more = 0;
    slc_err rc = next_frame(c, input, &frame, &used);
    if (rc == SLC_ETRUNCATED) {
        if (input.bytes < SLC_AMQP_FRAME_HEAD_BYTES || input.data[0] != SLC_AMQP_FRAME_BODY)
            return 0;
        if (c->state == AMQP_RUNNING || c->state == AMQP_CLOSING)
            return body_frame_begin(c, slc_amqp_frame_head_decode(input.data));
        frame.type = SLC_AMQP_FRAME_BODY; // out of place whatever follows
        frame.channel = slc_get_u16be(input.data + 1);
        rc = SLC_OK;
    }
    if (rc != SLC_OK && c->state == AMQP_CLOSING && frame_skippable(c, input))
        return frame_whole(input);
    if (rc != SLC_OK) {
        uint16_t code = rc == SLC_EUNEXPECTED ? SLC_AMQP_UNEXPECTED_FRAME : SLC_AMQP_FRAME_ERROR;
        slc_amqp_conn_frame_error(c, code, 0, c->server->error.text);
        // 501: deaf from now on. A frame that was merely out of place is over, and the next one may be the close-ok.
        return rc == SLC_EUNEXPECTED ? frame_whole(input) : 0;
    }
    amqp_verdict verdict = AMQP_TAKEN;
    switch (frame.type) {
    case SLC_AMQP_FRAME_METHOD:
        verdict =
            handle_method(c, &frame, slc_slice_of(input.data + used, input.bytes - used), &more);
        break;
    case SLC_AMQP_FRAME_HEADER:
        handle_header(c, &frame);
        break;
    case SLC_AMQP_FRAME_BODY:
        if (c->state == AMQP_RUNNING || c->state == AMQP_CLOSING)
            return body_frame_begin(c, slc_amqp_frame_head_decode(input.data));
        slc_amqp_conn_error(c, SLC_AMQP_UNEXPECTED_FRAME, 0, "content frame in connection state %s",
                            slc_amqp_state_name(c));
        break;
    default: // a heartbeat: that it came is all it says
        break;
    }
    return verdict == AMQP_WAIT ? 0 : used + more;
}

size_t slc_amqp_input(slc_conn *io, slc_slice input)
{
    amqp_conn *c = io->arg;
    size_t used = 0;
    c->in_input = true;
    while (used < input.bytes) {
        size_t step = input_step(c, slc_slice_of(input.data + used, input.bytes - used));
        used += step;
        if (c->state == AMQP_GONE || step == 0)
            break;
        if (slc_conn_paused(io) || slc_conn_overfull(io))
            break;
    }
    c->in_input = false;
    if (c->state == AMQP_DEAF)
        used = input.bytes;
    if (c->state == AMQP_GONE) {
        slc_amqp_conn_free(c);
        return input.bytes;
    }
    c->client.info.recv_octets = io->recv_octets;
    return used;
}
