/** Messages that the broker itself publishes: the firehose, events, lines of the log.
 *
 *      trace.c, event.c, log_exchange.c ──> new ──> post (a list in the broker) ──> publish, in the next turn at the latest
 *
 *  They wait in a list because most are made in the middle of something: a delivery inside a publish, a binding that goes with
 *  its queue. Publishing there could take a position of a queue before a message that already has a lower one. The order of
 *  posting is the order of publishing. They are no publishes of a session: no confirm, no return, no count in the totals.
 *
 *  The exchanges are durable topic exchanges of the broker, internal, so that no client can publish to them:
 *      amq.rabbitmq.trace   in every vhost
 *      amq.rabbitmq.event   in the vhost of event_exchange.vhost
 *      amq.rabbitmq.log     in the default vhost, with log.exchange
 *
 *  Thread: the loop.
 */
#ifndef SLC_CORE_SYSTEM_MESSAGE_H
#define SLC_CORE_SYSTEM_MESSAGE_H

#include "core/internal.h"

#define SLC_TRACE_EXCHANGE "amq.rabbitmq.trace"
#define SLC_EVENT_EXCHANGE "amq.rabbitmq.event"
#define SLC_LOG_EXCHANGE   "amq.rabbitmq.log"

typedef struct slc_system_properties {
    const char *content_type; // NULL: none
    slc_slice headers;        // content of the table
    uint64_t timestamp_s;     // 0: none
    bool persistent;          // delivery-mode 2; else the message has none
} slc_system_properties;

/** Whether a message to that exchange could go anywhere: who asks first saves making it. */
bool slc_system_wanted(const slc_vhost *vhost, const char *exchange);
/** To be published soon. key is cut to 255 octets. Without memory for it the message is dropped and counted. */
void slc_system_post(slc_vhost *vhost, const char *exchange, slc_slice key,
                     const slc_system_properties *properties, slc_slice body);
/** Publish what was posted, all of it. Not from inside slc_publish_to. */
void slc_system_flush(slc_broker *broker);
/** The same within a budget; true when some are left. */
bool slc_system_turn(slc_broker *broker);
/** The vhost goes: so does what was posted for it. */
void slc_system_forget(const slc_vhost *vhost);
/** Add to changes the exchanges that this vhost should have by configuration, but for those it has. vhost NULL: a new one of
 *  that name and id. */
void slc_system_exchanges(slc_broker *broker, slc_changes *changes, const slc_vhost *vhost,
                          slc_slice name, const slc_id *id);
/** Forget everything: the broker ends. */
void slc_system_fini(slc_broker *broker);

#endif
