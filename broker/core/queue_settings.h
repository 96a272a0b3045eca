/** What arguments and policies make of a queue: the effective values, merged once, read on every publish and delivery.
 *
 *  Merge: the operator policy over the policy (the smaller number; the operator's word otherwise), then with the argument (the
 *  smaller number; the argument's word otherwise; the policy's overflow on a quorum queue). SLC_UNLIMITED: nobody set it.
 *
 *  Owner: the queue. Slices point into its arguments or its policy and are taken anew by slc_queue_settings_changed.
 *  Thread: the loop. @spec amqp-semantics 10, 18.1
 */
#ifndef SLC_CORE_QUEUE_SETTINGS_H
#define SLC_CORE_QUEUE_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

typedef struct slc_queue slc_queue;

#define SLC_UNLIMITED UINT64_MAX

typedef enum slc_overflow {
    SLC_OVERFLOW_DROP_HEAD,
    SLC_OVERFLOW_REJECT,     // reject-publish
    SLC_OVERFLOW_REJECT_DLX, // reject-publish-dlx
} slc_overflow;

/** Which of those that consumers give back wait before they come again: those that count for the delivery limit (failed), the others
 *  (returned), or all. */
typedef enum slc_retry_type {
    SLC_RETRY_NONE,
    SLC_RETRY_ALL,
    SLC_RETRY_FAILED,
    SLC_RETRY_RETURNED,
} slc_retry_type;

typedef struct slc_queue_settings {
    bool quorum;
    bool limited; // max_length or max_length_bytes is set
    bool
        has_priority; // x-max-priority, or a quorum queue; decided when the queue is made, never changed
    bool single_active;
    bool dead_letter; // has a dead letter exchange
    bool has_dead_letter_key;
    slc_overflow overflow;
    uint8_t max_priority;
    uint8_t plain_priority; // of messages that have no priority
    slc_retry_type retry;
    uint64_t retry_min_ms, retry_max_ms; // the wait: as often min as it was given back, at most max
    slc_slice dead_letter_exchange, dead_letter_key;
    uint64_t ttl_ms;     // SLC_UNLIMITED; of messages that come from now on
    uint64_t expires_ms; // SLC_UNLIMITED; from 1
    uint64_t max_length, max_length_bytes;
    uint64_t delivery_limit;      // counted returns beyond it are too many; SLC_UNLIMITED
    uint64_t consumer_timeout_ms; // SLC_UNLIMITED: whatever the configuration says; 0: none
} slc_queue_settings;

/** Effective values of table contents (any may be empty); pure. */
void slc_queue_settings_merge(slc_slice arguments, slc_slice policy, slc_slice operator_policy,
                              slc_queue_settings *out);

/** dest.policy or dest.operator_policy changed: take the settings anew and act on them at once (a lower limit drops from the
 *  head, the time of an unused queue starts again). The TTL of messages that are there stays. */
void slc_queue_settings_changed(slc_queue *queue);

#endif
