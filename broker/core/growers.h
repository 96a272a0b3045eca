/** Who holds most while memory or disk space is short: what an operator wants to know first when an alarm is on.
 *
 *  One pass over queues and clients, no allocation. Not on the way of a message: when an alarm goes on (the broker keeps what was found
 *  then, for connection.blocked) and when an operator asks. Thread: the loop.  @spec operations 8, amqp-semantics 19.2
 */
#ifndef SLC_CORE_GROWERS_H
#define SLC_CORE_GROWERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct slc_broker slc_broker;
typedef struct slc_client slc_client;

typedef enum slc_resource {
    SLC_RESOURCE_MEMORY, // contents and entries of queues that are not paged out; output that a connection does not read
    SLC_RESOURCE_DISK, // contents of persistent messages
    SLC_RESOURCE_COUNT,
} slc_resource;

enum { SLC_GROWERS_MAX = 3 };

typedef struct slc_grower {
    bool connection; // else a queue
    char vhost[256], name[256];
    uint64_t bytes;    // contents that several queues hold count in each
    uint64_t messages; // of a queue
} slc_grower;

typedef struct slc_growers {
    slc_grower items[SLC_GROWERS_MAX]; // the biggest first
    uint32_t count;                    // of those that hold anything
} slc_growers;

/** The biggest now. What a connection has pending is as old as its info. */
void slc_growers_find(const slc_broker *broker, slc_resource resource, slc_growers *out);
/** As found when the alarm went on last. */
const slc_growers *slc_broker_growers(const slc_broker *broker, slc_resource resource);
/** "queue 'orders' in vhost '/' (12.5 MiB in 3 messages), connection 'x' (1.0 KiB)"; "" when there are none. Long names are cut. */
void slc_growers_text(const slc_growers *growers, char *out, size_t cap);
/** What an operator can do, a sentence without its full stop. */
const char *slc_growers_advice(slc_resource resource);

/** The reason that connection.blocked gives this client: RabbitMQ's ("low on memory"), and behind a colon the biggest queue of those above,
 *  if it is one of the client's vhost that its user has some permission for: names of others are nobody's business. out has room for 256
 *  octets; "" when no alarm is on. */
void slc_broker_blocked_reason(const slc_broker *broker, slc_client *client, char out[256]);

#endif
