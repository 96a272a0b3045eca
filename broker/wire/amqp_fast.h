/** The busy methods of AMQP 0-9-1 without the union: decode of basic.publish, ack, nack and reject;
 *  encode of basic.ack, nack and deliver, whole frames.
 *
 *  They mean exactly what amqp_method.h means (a test compares them octet by octet). A decode that
 *  finds anything odd returns false, and the caller asks slc_amqp_method_decode for error and text.
 *  Thread: any.
 */
#ifndef SLC_WIRE_AMQP_FAST_H
#define SLC_WIRE_AMQP_FAST_H

#include "base/alloc.h"
#include "wire/amqp_frame.h"
#include "wire/amqp_method.h"

/** payload: of a method frame with this method's id, as slc_amqp_method_peek tells. */
static inline bool slc_amqp_fast_publish(slc_slice payload, slc_amqp_basic_publish *out)
{
    if (payload.bytes < 9) // id, ticket, two empty strings, bits
        return false;
    const uint8_t *at = payload.data + 6;
    const uint8_t *end = payload.data + payload.bytes;
    size_t exchange_bytes = *at++;
    if ((size_t)(end - at) < exchange_bytes + 2)
        return false;
    out->exchange = slc_slice_of(at, exchange_bytes);
    at += exchange_bytes;
    size_t key_bytes = *at++;
    if ((size_t)(end - at) != key_bytes + 1)
        return false;
    out->routing_key = slc_slice_of(at, key_bytes);
    at += key_bytes;
    out->ticket = slc_get_u16be(payload.data + 4);
    out->mandatory = (*at & 1) != 0;
    out->immediate = (*at & 2) != 0;
    return true;
}

static inline bool slc_amqp_fast_ack(slc_slice payload, slc_amqp_basic_ack *out)
{
    if (payload.bytes != 13)
        return false;
    out->delivery_tag = slc_get_u64be(payload.data + 4);
    out->multiple = (payload.data[12] & 1) != 0;
    return true;
}

static inline bool slc_amqp_fast_nack(slc_slice payload, slc_amqp_basic_nack *out)
{
    if (payload.bytes != 13)
        return false;
    out->delivery_tag = slc_get_u64be(payload.data + 4);
    out->multiple = (payload.data[12] & 1) != 0;
    out->requeue = (payload.data[12] & 2) != 0;
    return true;
}

static inline bool slc_amqp_fast_reject(slc_slice payload, slc_amqp_basic_reject *out)
{
    if (payload.bytes != 13)
        return false;
    out->delivery_tag = slc_get_u64be(payload.data + 4);
    out->requeue = (payload.data[12] & 1) != 0;
    return true;
}

/** Octets of the basic.ack and basic.nack frames. */
enum { SLC_AMQP_ACK_FRAME_BYTES = SLC_AMQP_FRAME_EXTRA_BYTES + 13 };

static inline uint8_t *slc_amqp_fast_settle_put(uint8_t *at, uint16_t channel, uint32_t id,
                                                uint64_t tag, uint8_t bits)
{
    slc_amqp_frame_head_encode(at, SLC_AMQP_FRAME_METHOD, channel, 13);
    slc_put_u32be(at + 7, id);
    slc_put_u64be(at + 11, tag);
    at[19] = bits;
    at[20] = SLC_AMQP_FRAME_END;
    return at + SLC_AMQP_ACK_FRAME_BYTES;
}
/** Write SLC_AMQP_ACK_FRAME_BYTES octets at `at`; returns the octet behind them. */
static inline uint8_t *slc_amqp_fast_ack_put(uint8_t *at, uint16_t channel, uint64_t tag,
                                             bool multiple)
{
    return slc_amqp_fast_settle_put(at, channel, SLC_AMQP_BASIC_ACK, tag, multiple);
}
static inline uint8_t *slc_amqp_fast_nack_put(uint8_t *at, uint16_t channel, uint64_t tag,
                                              bool multiple, bool requeue)
{
    return slc_amqp_fast_settle_put(at, channel, SLC_AMQP_BASIC_NACK, tag,
                                    (uint8_t)(multiple | requeue << 1));
}

static inline uint8_t *slc_amqp_put_shortstr(uint8_t *at, slc_slice text)
{
    SLC_DASSERT(text.bytes <= UINT8_MAX);
    *at++ = (uint8_t)text.bytes;
    if (text.bytes > 0)
        memcpy(at, text.data, text.bytes);
    return at + text.bytes;
}

/** Octets of the frames that slc_amqp_fast_deliver_put writes. */
static inline size_t slc_amqp_fast_deliver_bytes(size_t consumer_tag_bytes, size_t exchange_bytes,
                                                 size_t key_bytes, size_t list_bytes)
{
    return SLC_AMQP_FRAME_EXTRA_BYTES + 4 + 1 + consumer_tag_bytes + 8 + 1 + 1 + exchange_bytes +
           1 + key_bytes + SLC_AMQP_FRAME_EXTRA_BYTES + 12 + list_bytes;
}
/** All that stands before the body of a delivery: the basic.deliver frame and the header frame.
 *  list: property flags and list as stored. There is room for slc_amqp_fast_deliver_bytes.
 *  Returns the octet behind. */
static inline uint8_t *slc_amqp_fast_deliver_put(uint8_t *at, uint16_t channel,
                                                 slc_slice consumer_tag, uint64_t delivery_tag,
                                                 bool redelivered, slc_slice exchange,
                                                 slc_slice key, slc_slice list, uint64_t body_bytes)
{
    uint8_t *head = at;
    at += SLC_AMQP_FRAME_HEAD_BYTES;
    slc_put_u32be(at, SLC_AMQP_BASIC_DELIVER);
    at = slc_amqp_put_shortstr(at + 4, consumer_tag);
    slc_put_u64be(at, delivery_tag);
    at[8] = redelivered;
    at = slc_amqp_put_shortstr(at + 9, exchange);
    at = slc_amqp_put_shortstr(at, key);
    slc_amqp_frame_head_encode(head, SLC_AMQP_FRAME_METHOD, channel,
                               (uint32_t)(at - head - SLC_AMQP_FRAME_HEAD_BYTES));
    *at++ = SLC_AMQP_FRAME_END;

    slc_amqp_frame_head_encode(at, SLC_AMQP_FRAME_HEADER, channel, (uint32_t)(12 + list.bytes));
    slc_put_u16be(at + 7, 60); // class basic
    slc_put_u16be(at + 9, 0);  // weight
    slc_put_u64be(at + 11, body_bytes);
    memcpy(at + 19, list.data, list.bytes);
    at += 19 + list.bytes;
    *at++ = SLC_AMQP_FRAME_END;
    return at;
}

/** The head of a body frame; the body and SLC_AMQP_FRAME_END follow. */
static inline uint8_t *slc_amqp_fast_body_head_put(uint8_t *at, uint16_t channel, uint32_t bytes)
{
    slc_amqp_frame_head_encode(at, SLC_AMQP_FRAME_BODY, channel, bytes);
    return at + SLC_AMQP_FRAME_HEAD_BYTES;
}

/** Body octets that one frame carries: frame_max - 8, or all when frame_max is 0 (unlimited). */
static inline uint64_t slc_amqp_body_frame_bytes_max(uint32_t frame_max)
{
    return frame_max == 0 ? UINT32_MAX : frame_max - SLC_AMQP_FRAME_EXTRA_BYTES;
}

#endif
