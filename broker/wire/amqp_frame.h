/** AMQP 0-9-1 framing: protocol header, frame heads, whole small frames, reply codes.
 *
 *      0      1         3           7                    7 + bytes
 *      +------+---------+-----------+--------------------+------+
 *      | type | channel | bytes u32 | payload            | 0xCE |
 *      +------+---------+-----------+--------------------+------+
 *
 *  No I/O and no state: the connection keeps what it has read and asks. Integers are big-endian.
 *  Thread: any. Spec: amqp-semantics 1.1, 1.2, 1.3, 3.1, 3.2.
 */
#ifndef SLC_WIRE_AMQP_FRAME_H
#define SLC_WIRE_AMQP_FRAME_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/error.h"
#include "base/slice.h"

enum {
    SLC_AMQP_FRAME_METHOD = 1,
    SLC_AMQP_FRAME_HEADER = 2,
    SLC_AMQP_FRAME_BODY = 3,
    SLC_AMQP_FRAME_HEARTBEAT = 8,

    SLC_AMQP_FRAME_END = 0xCE,
    SLC_AMQP_FRAME_HEAD_BYTES = 7,
    SLC_AMQP_FRAME_EXTRA_BYTES = 8,    // head and end octet
    SLC_AMQP_HEADER_BYTES = 8,         // protocol header
    SLC_AMQP_FRAME_MIN = 4096,         // least frame_max that can be negotiated
    SLC_AMQP_FRAME_EARLY_MAX = 131072, // accepted before tuning, unless set otherwise
    SLC_AMQP_REPLY_TEXT_CAP = 256,     // 255 octets and a terminator
};

/** code, name on the wire, does it close the connection (else the channel, or nothing at all)?
 *  403 does so only while logging in: the caller knows. */
#define SLC_AMQP_REPLY_TABLE(X)                                                                    \
    X(200, REPLY_SUCCESS, false)                                                                   \
    X(311, CONTENT_TOO_LARGE, false)                                                               \
    X(312, NO_ROUTE, false)                                                                        \
    X(313, NO_CONSUMERS, false)                                                                    \
    X(320, CONNECTION_FORCED, true)                                                                \
    X(402, INVALID_PATH, true)                                                                     \
    X(403, ACCESS_REFUSED, false)                                                                  \
    X(404, NOT_FOUND, false)                                                                       \
    X(405, RESOURCE_LOCKED, false)                                                                 \
    X(406, PRECONDITION_FAILED, false)                                                             \
    X(501, FRAME_ERROR, true)                                                                      \
    X(502, SYNTAX_ERROR, true)                                                                     \
    X(503, COMMAND_INVALID, true)                                                                  \
    X(504, CHANNEL_ERROR, true)                                                                    \
    X(505, UNEXPECTED_FRAME, true)                                                                 \
    X(506, RESOURCE_ERROR, true)                                                                   \
    X(530, NOT_ALLOWED, true)                                                                      \
    X(540, NOT_IMPLEMENTED, true)                                                                  \
    X(541, INTERNAL_ERROR, true)

typedef enum slc_amqp_reply {
#define SLC_AMQP_REPLY_ENUM(code, name, fatal) SLC_AMQP_##name = code,
    SLC_AMQP_REPLY_TABLE(SLC_AMQP_REPLY_ENUM)
#undef SLC_AMQP_REPLY_ENUM
} slc_amqp_reply;

/** "ACCESS_REFUSED"; "UNKNOWN" for other codes. */
const char *slc_amqp_reply_name(uint16_t code);
/** Does this code close the whole connection? Unknown codes do. */
bool slc_amqp_reply_is_connection_error(uint16_t code);
/** "NAME - explanation" as reply-text: at most 255 octets of UTF-8. What is too long ends in
 *  "...", never inside a character; an empty explanation gives "NAME"; octets of an explanation
 *  that is not UTF-8 become '?'. Returns text. @spec 3.2 */
const char *slc_amqp_reply_text(uint16_t code, const char *explanation,
                                char text[SLC_AMQP_REPLY_TEXT_CAP]);

/** What a peer's first octets are. @spec 1.1 */
typedef enum slc_amqp_header {
    SLC_AMQP_HEADER_MORE,    // fewer than 8 octets so far, and nothing foreign in them
    SLC_AMQP_HEADER_OK,      // AMQP 0 0 9 1, or the old AMQP 1 1 0 9: go on with connection.start
    SLC_AMQP_HEADER_VERSION, // AMQP, of another version
    SLC_AMQP_HEADER_TLS,     // a TLS client on a plain port
    SLC_AMQP_HEADER_HTTP,    // an HTTP client
    SLC_AMQP_HEADER_FOREIGN, // something else
} slc_amqp_header;

/** Look at the first octets of a connection. What is neither MORE nor OK is answered with
 *  slc_amqp_header_ours, then closed. */
slc_amqp_header slc_amqp_header_check(slc_slice input);
/** "AMQP" 0 0 9 1 */
extern const uint8_t slc_amqp_header_ours[SLC_AMQP_HEADER_BYTES];

static inline uint16_t slc_get_u16be(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}
static inline uint32_t slc_get_u32be(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, 4);
    return __builtin_bswap32(value);
}
static inline uint64_t slc_get_u64be(const uint8_t *at)
{
    uint64_t value;
    memcpy(&value, at, 8);
    return __builtin_bswap64(value);
}
static inline void slc_put_u16be(uint8_t *at, uint16_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}
static inline void slc_put_u32be(uint8_t *at, uint32_t value)
{
    value = __builtin_bswap32(value);
    memcpy(at, &value, 4);
}
static inline void slc_put_u64be(uint8_t *at, uint64_t value)
{
    value = __builtin_bswap64(value);
    memcpy(at, &value, 8);
}
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
              "the swaps above are for little-endian machines");

typedef struct slc_amqp_frame_head {
    uint8_t type;
    uint16_t channel;
    uint32_t bytes; // of the payload
} slc_amqp_frame_head;

/** at: SLC_AMQP_FRAME_HEAD_BYTES octets. Nothing is judged here. */
static inline slc_amqp_frame_head slc_amqp_frame_head_decode(const uint8_t *at)
{
    return (slc_amqp_frame_head){at[0], slc_get_u16be(at + 1), slc_get_u32be(at + 3)};
}
static inline void slc_amqp_frame_head_encode(uint8_t *at, uint8_t type, uint16_t channel,
                                              uint32_t bytes)
{
    at[0] = type;
    slc_put_u16be(at + 1, channel);
    slc_put_u32be(at + 3, bytes);
}

/** One whole frame of a stream. */
typedef struct slc_amqp_frame {
    uint8_t type;
    uint16_t channel;
    slc_slice payload; // points into the input
} slc_amqp_frame;

/** Take the first frame of input. Judges what concerns the frame alone: size, end octet, type, a
 *  method shorter than 4 octets, a header shorter than 12, a heartbeat with a payload or off
 *  channel 0. The caller judges channel state and content sequence.
 *
 *  @param frame_max  negotiated; 0 unlimited. The payload may have up to frame_max octets, 8 too
 *                    many, as in RabbitMQ. A larger one is refused as soon as its head is there.
 *  @param used       SLC_OK: octets consumed. SLC_ETRUNCATED: octets the whole frame needs, 7 until
 *                    its head is there.
 *  @return SLC_OK; SLC_ETRUNCATED: more input needed; SLC_EFRAME: 501, SLC_EUNEXPECTED: 505, both
 *          fatal and with the text for the close in error.
 *  @spec   1.2
 */
SLC_MUST_USE slc_err slc_amqp_frame_decode(slc_slice input, uint32_t frame_max, slc_amqp_frame *out,
                                           size_t *used, slc_error *error);

/** 501 `type T, all octets = <<...>>: unknown_frame` (`first 16 octets` when longer).
 *  Returns SLC_EFRAME. @spec 1.2 */
slc_err slc_amqp_frame_unknown(uint8_t type, slc_slice payload, slc_error *error);
/** 505 `type T, all octets = <<...>>`: a frame out of place, such as content on channel 0 or any
 *  frame on another channel before connection.open-ok. Returns SLC_EUNEXPECTED. @spec 1.2 */
slc_err slc_amqp_frame_unexpected(uint8_t type, slc_slice payload, slc_error *error);
/** Erlang's way to show octets, <<1,2,255>>, written into text as far as cap allows and terminated;
 *  returns the length that all of it has, as snprintf does. */
size_t slc_amqp_octets_text(slc_slice octets, char *text, size_t cap);
/** The same, but octets that are all printable ASCII show as <<"text">> (Erlang's ~p, not ~w). */
size_t slc_amqp_octets_text_p(slc_slice octets, char *text, size_t cap);

/** The 8 octets of a heartbeat. */
extern const uint8_t slc_amqp_heartbeat[SLC_AMQP_FRAME_EXTRA_BYTES];

#endif
