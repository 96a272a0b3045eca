/** The exchange kinds of this build; exchange.c has their table. Each lives in the file of its
 * name. Thread: the loop. */
#ifndef SLC_CORE_EXCHANGE_KINDS_H
#define SLC_CORE_EXCHANGE_KINDS_H

#include "core/topology.h"

extern const slc_exchange_kind slc_exchange_direct;  // binding key equals routing key
extern const slc_exchange_kind slc_exchange_fanout;  // every binding
extern const slc_exchange_kind slc_exchange_topic;   // words with wildcards, amqp-semantics 8.3
extern const slc_exchange_kind slc_exchange_headers; // the headers table, amqp-semantics 8.4

// With the names and checks of RabbitMQ's plugins, amqp-semantics 7.1, 8.5:
extern const slc_exchange_kind slc_exchange_consistent_hash; // one binding, by weights and a hash
extern const slc_exchange_kind slc_exchange_modulus_hash;    // one binding, by the hash of the key
extern const slc_exchange_kind slc_exchange_random;          // one binding of all
extern const slc_exchange_kind slc_exchange_recent_history;  // every binding, new ones get the last
extern const slc_exchange_kind slc_exchange_delayed; // another kind's rule, later; schedule.h

#endif
