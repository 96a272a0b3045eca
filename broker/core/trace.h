/** The firehose: a copy of each message that a traced vhost takes in or hands out, published to amq.rabbitmq.trace there.
 *
 *      routing key   publish.EXCHANGE     each publish, before it is in its queues; in a transaction when it comes
 *                    deliver.QUEUE        each delivery to a consumer and each basic.get
 *      headers       exchange_name, routing_keys (key, CC, BCC), properties (table), node, vhost, connection, channel, user;
 *                    routed_queues of a publish, redelivered (0 or 1) of a delivery
 *      body          as it is
 *
 *  Types are those of RabbitMQ: integers are `I`, texts longstr. A timestamp that does not fit is `l`. Two differences:
 *  routed_queues names queues that exist only, and at most ROUTED_BYTES_MAX octets of names. A vhost without a binding on
 *  amq.rabbitmq.trace is not copied for nobody. What came through that exchange is not traced itself.
 *
 *  Tracing is not kept over a restart, as in RabbitMQ: it is a tool for a moment. Off, it costs publish and delivery one
 *  predictable branch each (slc_tracing). Thread: the loop. @spec amqp-semantics 7.4
 */
#ifndef SLC_CORE_TRACE_H
#define SLC_CORE_TRACE_H

#include "core/internal.h"

/** Some vhost is traced. */
static inline bool slc_tracing(const slc_broker *broker)
{
    return __builtin_expect(broker->traced_vhosts != 0, false);
}

/** A message that was routed and is not in its queues yet. What was posted before is published first. */
void slc_trace_publish(slc_session *session, const slc_message *message, slc_destination **queues,
                       uint32_t count);
/** A message that was handed out. */
void slc_trace_deliver(slc_session *session, const slc_queue *queue, const slc_message *message,
                       bool redelivered);

#endif
