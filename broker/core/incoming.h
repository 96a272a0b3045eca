/** A message on its way in: what every front end checks of its properties, and what the broker changes before anybody sees it.
 *
 *      slc_incoming in = {.exchange = ..., .list = ..., .flags = ...};
 *      slc_incoming_check(session, &in, &error)  ──>  slc_incoming_message(session, &in, &headers)  ──>  body, slc_session_publish
 *
 *  Slices are borrowed: the front end's memory. Thread: the loop.  @spec amqp-semantics 11.1, 17
 */
#ifndef SLC_CORE_INCOMING_H
#define SLC_CORE_INCOMING_H

#include "core/properties.h"
#include "core/session.h"

typedef struct slc_incoming {
    slc_slice exchange, key;
    slc_slice list; // flags and list of a basic content header, checked; the next ones lie in it
    slc_slice headers, expiration, reply_to, user_id;
    unsigned flags; // bit slc_property: it has it
    uint64_t body_bytes, body_bytes_max;
    uint8_t priority;
    bool persistent;
    // what slc_incoming_check found
    bool more_keys;  // it has a CC or BCC header
    bool fast_reply; // its reply-to is the pseudo queue
    uint64_t ttl;    // as in slc_message
} slc_incoming;

/** SLC_EPRECONDITION: too large, a property that is not as it should be. RabbitMQ looks at the exchange and the topic
 *  permission before it looks at properties, so a message that is wrong in both ways gets the answer about the exchange:
 *  SLC_EACCESS, SLC_ENOTFOUND. */
SLC_MUST_USE slc_err slc_incoming_check(slc_session *session, slc_incoming *in, slc_error *error);
/** The message of a checked one, its body not filled. *headers: the table inside it, for slc_session_publish. NULL: there is no
 *  memory for it. */
SLC_MUST_USE slc_message *slc_incoming_message(const slc_session *session, const slc_incoming *in,
                                               slc_slice *headers);

#endif
