/** Messages of an x-delayed-message exchange that wait for their time.
 *
 *      routed to the schedule ──> waiting (heap by due time) ──due──> routed by the delayed type's rule, dropped here
 *                                    │ stored and not due soon: only position and due time stay in memory
 *                                    └──due──> read back ──> ripe ──> routed
 *
 *  To routing and publishing a schedule is a queue that no list shows: so a transaction, a confirm and `mandatory` treat a
 *  delayed message as one that reached a queue. Of a durable exchange that queue has a qid, with the exchange's id as uuid;
 *  the due time is slc_target.expires_ms. Leaving the schedule and entering the queues is one atomic batch of the store: after
 *  a crash the message is in one or the other. At the start the due times are read back from the store.
 *
 *  Owner: its exchange. Thread: the loop. Memory: 24 octets a waiting message, and the message itself when it is transient or
 *  due within some seconds. @spec amqp-semantics 8.6
 */
#ifndef SLC_CORE_SCHEDULE_H
#define SLC_CORE_SCHEDULE_H

#include <stdint.h>

#include "base/slice.h"
#include "core/topology.h"

typedef struct slc_schedule slc_schedule;
typedef struct slc_exchange slc_exchange;
typedef struct slc_broker slc_broker;
typedef struct slc_queue slc_queue;
typedef struct slc_message slc_message;

/** Longer delays are cut to this unless due.max_days says otherwise: ten years. */
#define SLC_DELAY_MAX_MS (3650ull * 86400 * 1000)

/** Milliseconds of header x-delay, 0: none, negative or no integer. headers: checked table content. */
uint64_t slc_delay_of(slc_slice headers);

slc_schedule *slc_schedule_new(slc_exchange *exchange);
/** The exchange goes: what waits is forgotten, in the store too. */
void slc_schedule_close(slc_schedule *schedule);
/** What slc_route_to_queue takes. */
slc_queue *slc_schedule_queue(const slc_schedule *schedule);
/** Messages that wait. */
uint64_t slc_schedule_count(const slc_schedule *schedule);

/** As slc_exchange_list_delayed and slc_exchange_cancel_delayed. */
void slc_schedule_list(const slc_schedule *schedule, uint32_t max, slc_delayed_listed done,
                       void *arg);
bool slc_schedule_cancel(slc_schedule *schedule, uint64_t position);

/** When a message that is routed to the schedule now is due: absolute wall clock. */
uint64_t slc_schedule_due_ms(const slc_schedule *schedule, const slc_message *message);
/** Keep it. stored: it was appended at qseq with its due time. */
void slc_schedule_put(slc_schedule *schedule, uint64_t qseq, slc_message *message, bool stored);

/** A durable exchange without a qid gets one. */
void slc_schedule_enter_store(slc_schedule *schedule, const uint8_t uuid[16]);
/** What the store knows of it; before the broker starts. */
void slc_schedule_recovered(slc_schedule *schedule, uint32_t qid, uint64_t next_qseq,
                            uint64_t messages);
/** Begin to read the due times back. */
void slc_schedule_start(slc_schedule *schedule);

/** Route what is due, bounded; true: there is more. */
bool slc_schedules_turn(slc_broker *broker);

#endif
