/** Direct reply-to: answers go from one channel straight to another, without a queue.
 *
 *      consume "amq.rabbitmq.reply-to" ──> the session has a name, "amq.rabbitmq.reply-to.<handle>.<token>"
 *      publish with reply-to = "amq.rabbitmq.reply-to" ──> the front end puts that name in its place
 *      publish to the default exchange with the name as key ──> delivered to the session, or unroutable when it is gone
 *
 *  The name holds the session's handle and 16 random octets: nobody can guess them, and a session that is gone is not
 *  mistaken for a later one.
 *
 *  No queue keeps a reply for a requester that does not read: beyond what its connection holds back for deliveries anyway it gets
 *  up to SLC_REPLY_BYTES_MAX more, then replies are as unroutable as those to a requester that is gone. Waiting instead would
 *  let one requester stop a service for all others. Owner: the session. Thread: the loop. @spec amqp-semantics 17.1
 */
#ifndef SLC_CORE_REPLY_TO_H
#define SLC_CORE_REPLY_TO_H

#include "core/session.h"

typedef struct slc_reply_to slc_reply_to;

#define SLC_REPLY_TO        "amq.rabbitmq.reply-to"
#define SLC_REPLY_BYTES_MAX (16u << 20) // of each connection; one more message may go over it

/** SLC_EPRECONDITION: with acknowledgements, or there is one already. tag: not empty. */
SLC_MUST_USE slc_err slc_reply_to_consume(slc_session *session, slc_slice tag, bool no_ack,
                                          const slc_consumer **out, slc_error *error);
/** False: this is not its tag. */
bool slc_reply_to_cancel(slc_session *session, slc_slice tag);
bool slc_reply_to_has_tag(const slc_session *session, slc_slice tag);
void slc_reply_to_fini(slc_session *session);
/** Begins as such a name does: no queue can have it. */
bool slc_reply_to_is_name(slc_slice name);
/** A name of this kind whose session still consumes, or the pseudo queue's own. */
bool slc_reply_to_alive(const slc_session *session, slc_slice name);
/** Deliver a message of the default exchange to those that its key (and more keys) name, once to each; how many. */
uint32_t slc_reply_to_publish(slc_broker *broker, slc_message *message);

#endif
