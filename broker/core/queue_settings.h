/** Settings of a queue that policies and arguments decide. Thread: the loop. @spec amqp-semantics 10, 18.1 */
#ifndef SLC_CORE_QUEUE_SETTINGS_H
#define SLC_CORE_QUEUE_SETTINGS_H

#include "core/topology.h"

/** queue->dest.policy or .operator_policy is another one than before: read the settings again and act on them at once. */
void slc_queue_settings_changed(slc_queue *queue);

#endif
