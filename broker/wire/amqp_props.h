/** AMQP 0-9-1 content header: what stands between a publish or deliver method and the body.
 *
 *      +-----------+------------+---------------+-----------+----------------------------+
 *      | class u16 | weight u16 | body size u64 | flags u16 | properties, by their flags |
 *      +-----------+------------+---------------+-----------+----------------------------+
 *                                               '------- list: kept as received --------'
 *
 *  The broker keeps `list` byte for byte and looks at a few properties only, so a decode yields
 *  numbers and slices into the payload; nothing is allocated. Thread: any.
 *  Spec: amqp-semantics 1.3, 1.4.
 */
#ifndef SLC_WIRE_AMQP_PROPS_H
#define SLC_WIRE_AMQP_PROPS_H

#include <stdint.h>

#include "base/error.h"
#include "base/slice.h"

enum {
    SLC_AMQP_CLASS_BASIC = 60,
    SLC_AMQP_CONTENT_HEAD_BYTES = 12, // class, weight, body size
};

/** flag, type, name: in the order of the wire, from bit 15 down. */
#define SLC_AMQP_PROPS_TABLE(X)                                                                    \
    X(CONTENT_TYPE, 15, SHORTSTR, content_type)                                                    \
    X(CONTENT_ENCODING, 14, SHORTSTR, content_encoding)                                            \
    X(HEADERS, 13, TABLE, headers)                                                                 \
    X(DELIVERY_MODE, 12, OCTET, delivery_mode)                                                     \
    X(PRIORITY, 11, OCTET, priority)                                                               \
    X(CORRELATION_ID, 10, SHORTSTR, correlation_id)                                                \
    X(REPLY_TO, 9, SHORTSTR, reply_to)                                                             \
    X(EXPIRATION, 8, SHORTSTR, expiration)                                                         \
    X(MESSAGE_ID, 7, SHORTSTR, message_id)                                                         \
    X(TIMESTAMP, 6, LONGLONG, timestamp)                                                           \
    X(TYPE, 5, SHORTSTR, type)                                                                     \
    X(USER_ID, 4, SHORTSTR, user_id)                                                               \
    X(APP_ID, 3, SHORTSTR, app_id)                                                                 \
    X(CLUSTER_ID, 2, SHORTSTR, cluster_id)

enum {
#define SLC_AMQP_PROPS_FLAG(FLAG, bit, TYPE, name) SLC_AMQP_PROP_##FLAG = 1 << bit,
    SLC_AMQP_PROPS_TABLE(SLC_AMQP_PROPS_FLAG)
#undef SLC_AMQP_PROPS_FLAG
};

typedef struct slc_amqp_props {
    uint16_t flags; // SLC_AMQP_PROP_*: which of the rest are present; an absent one is 0 or empty
    uint8_t delivery_mode;
    uint8_t priority;
    uint64_t timestamp; // seconds
    slc_slice content_type;
    slc_slice content_encoding;
    slc_slice headers; // content of the table, checked
    slc_slice correlation_id;
    slc_slice reply_to;
    slc_slice expiration;
    slc_slice message_id;
    slc_slice type;
    slc_slice user_id;
    slc_slice app_id;
    slc_slice cluster_id;
} slc_amqp_props;

typedef struct slc_amqp_content {
    uint16_t class_id;
    uint16_t weight;
    uint64_t body_bytes;
    slc_slice list; // flags and properties exactly as received
    slc_amqp_props props;
} slc_amqp_content;

/** The payload of a header frame.
 *
 *  Class and weight are reported, not judged: the channel knows what it expects and which text says
 *  so. Properties of another class or with weight != 0 are not looked at.
 *
 *  @return SLC_OK; SLC_EFRAME: malformed (501): too short, unknown flag bits, lengths, octets left
 *          over; SLC_ESYNTAX: the headers table is bad (502). *out counts only after SLC_OK.
 */
SLC_MUST_USE slc_err slc_amqp_content_decode(slc_slice payload, slc_amqp_content *out,
                                             slc_error *error);
/** A list alone (of a stored message). Errors as above. */
SLC_MUST_USE slc_err slc_amqp_props_decode(slc_slice list, slc_amqp_props *out, slc_error *error);

/** Octets of the list that slc_amqp_props_encode writes. */
size_t slc_amqp_props_bytes(const slc_amqp_props *props);
/** Flags and properties. Returns octets written; 0 when cap is too small, a short string has more
 *  than 255 octets or flags has bits that the table does not know. */
size_t slc_amqp_props_encode(const slc_amqp_props *props, uint8_t *out, size_t cap);

/** Octets of a whole header frame around a list. */
size_t slc_amqp_header_frame_bytes(size_t list_bytes);
/** A whole header frame of class basic: head, class, weight 0, body size, list, end octet. Returns
 *  octets written, 0 when cap is too small. */
size_t slc_amqp_header_frame_encode(uint16_t channel, uint64_t body_bytes, slc_slice list,
                                    uint8_t *out, size_t cap);

#endif
