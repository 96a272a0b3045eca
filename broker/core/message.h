/** A message: one counted allocation that holds everything, in the layout in which it is stored.
 *
 *  The bytes are read from the socket once: the front end decodes exchange, routing key and properties, makes the message as
 *  soon as the body's size is known and receives the body into it. The store writes `content` as it is and gives it back
 *  as it was; delivery sends slices of it. Measured on the development machine: a copy of 1 KiB costs 0.03 to 0.1 us, a
 *  chain of shared read blocks costs more than that in bookkeeping and keeps big blocks alive for small messages.
 *
 *  content, version 1 (integers little-endian; the durable format of a message):
 *      0  u8  version = 1          1  u8  exchange bytes     2  u8  routing key bytes   3  u8 flags (SLC_MESSAGE_...)
 *      4  u32 properties bytes     8  u64 body bytes        16  exchange, routing key, properties, body, hidden keys
 *  properties: the property flags and list of a basic content header as received, without what nobody may see.
 *  hidden keys, with SLC_MESSAGE_HIDDEN only: routing keys of a BCC header, each a u8 length and so many octets; then u32 how
 *  many octets these are. They route a dead letter as they routed the message.
 *
 *  Shared: counted, not atomic. Thread: its loop; the store thread reads content while the loop holds a reference for it.
 *  Immutable once routed, but for the fields marked.
 */
#ifndef SLC_CORE_MESSAGE_H
#define SLC_CORE_MESSAGE_H

#include <stdint.h>

#include "base/error.h"
#include "base/slice.h"

/** The longest time to live, of messages and of queues: ten years. @spec amqp-semantics 13.1 */
#define SLC_TTL_MAX_MS 315360000000

enum {
    SLC_MESSAGE_HEAD_BYTES = 16,
    SLC_MESSAGE_PERSISTENT = 1,
    SLC_MESSAGE_DIED = 2, // its x-death header is the broker's own
    SLC_MESSAGE_ONE_KEY =
        4, // a dead letter routing key took the place of all its keys: a CC header does not route any more
    SLC_MESSAGE_HIDDEN = 8, // it has hidden keys
};

typedef struct slc_message {
    uint32_t refs;
    uint8_t exchange_bytes;
    uint8_t key_bytes;
    uint8_t priority;
    bool persistent;
    bool died;
    bool
        more_keys; // it is published with the keys of its CC and BCC headers too; set before it is routed
    bool one_key;
    uint32_t props_bytes;
    uint32_t hidden_bytes; // of the hidden keys, with their length; 0: none
    uint32_t
        ready; // ready entries of all queues that hold it: it counts once in what they use (changes)
    uint64_t body_bytes;
    uint64_t
        session; // handle of the session that waits for its confirm, 0: none (set once, when routed)
    uint64_t publish_seq; // its number in that session's confirm sequence
    uint64_t ts_ms;       // wall clock when it was routed
    uint64_t ttl; // of the message itself: milliseconds + 1; 0: none (not kept when it is stored)
    uint8_t content[];
} slc_message;

/** One reference, the body uninitialised. exchange and key up to 255 bytes. NULL when there is no memory (a peer chose the size). */
SLC_MUST_USE slc_message *slc_message_new(slc_slice exchange, slc_slice key, slc_slice props,
                                          uint64_t body_bytes, bool persistent);
/** The same with hidden keys as above, without their length; bytes 0: none. */
SLC_MUST_USE slc_message *slc_message_new_hidden(slc_slice exchange, slc_slice key, slc_slice props,
                                                 uint64_t body_bytes, bool persistent,
                                                 slc_slice hidden);
/** Its x-death header is the broker's own; before it is routed. */
void slc_message_set_died(slc_message *message);
/** Only its routing key counts from here on; before it is routed. */
void slc_message_set_one_key(slc_message *message);
/** From stored bytes; SLC_ECORRUPT when they are not a message, SLC_ENOMEM. */
SLC_MUST_USE slc_err slc_message_load(slc_slice content, slc_message **out);

static inline slc_message *slc_message_ref(slc_message *message)
{
    message->refs++;
    return message;
}
void slc_message_free_last(slc_message *message); // for slc_message_unref only
static inline void slc_message_unref(slc_message *message)
{
    if (--message->refs == 0)
        slc_message_free_last(message);
}

static inline uint64_t slc_message_content_bytes(const slc_message *m)
{
    return SLC_MESSAGE_HEAD_BYTES + (uint64_t)m->exchange_bytes + m->key_bytes + m->props_bytes +
           m->body_bytes + m->hidden_bytes;
}
static inline slc_slice slc_message_exchange(const slc_message *m)
{
    return slc_slice_of(m->content + SLC_MESSAGE_HEAD_BYTES, m->exchange_bytes);
}
static inline slc_slice slc_message_key(const slc_message *m)
{
    return slc_slice_of(m->content + SLC_MESSAGE_HEAD_BYTES + m->exchange_bytes, m->key_bytes);
}
static inline slc_slice slc_message_props(const slc_message *m)
{
    return slc_slice_of(m->content + SLC_MESSAGE_HEAD_BYTES + m->exchange_bytes + m->key_bytes,
                        m->props_bytes);
}
static inline uint8_t *slc_message_body(slc_message *m)
{
    return m->content + SLC_MESSAGE_HEAD_BYTES + m->exchange_bytes + m->key_bytes + m->props_bytes;
}
static inline slc_slice slc_message_body_slice(const slc_message *m)
{
    return slc_slice_of(m->content + SLC_MESSAGE_HEAD_BYTES + m->exchange_bytes + m->key_bytes +
                            m->props_bytes,
                        m->body_bytes);
}
/** The hidden keys without their length. */
static inline slc_slice slc_message_hidden(const slc_message *m)
{
    slc_slice body = slc_message_body_slice(m);
    return slc_slice_of(body.data + body.bytes,
                        m->hidden_bytes == 0 ? 0 : m->hidden_bytes - sizeof(uint32_t));
}

/** Bytes held by all messages alive in this process (allocation sizes). */
uint64_t slc_message_bytes_alive(void);
/** Give back the memory of freed messages that is kept for the next ones. */
void slc_message_trim(void);

#endif
