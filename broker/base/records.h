/** Small records that cross the borders between core, the store and the control plane, which do not know each other. */
#ifndef SLC_BASE_RECORDS_H
#define SLC_BASE_RECORDS_H

#include "base/slice.h"

/** Where one message goes: a position in one durable queue. */
typedef struct slc_target {
    uint32_t qid;        // number of the queue in its shard
    uint64_t qseq;       // position, above every earlier one of this queue
    uint64_t expires_ms; // absolute wall clock, 0: never
} slc_target;

/** Marks the ticket of a message so large that others may overtake it on its way to disk: "durable up to t" does not cover it,
 *  "durable up to t with this mark" says that it and all marked ones before it are. */
#define SLC_TICKET_LARGE (UINT64_C(1) << 63)

/** One message read back; content is valid during the callback that hands it over. */
typedef struct slc_stored_message {
    uint64_t qseq;
    uint64_t ts_ms;      // wall clock when it was routed
    uint64_t expires_ms; // absolute wall clock, 0: never
    slc_slice content;
    uint8_t priority;
} slc_stored_message;

/** One primitive change of the definitions; value.data NULL deletes the key. */
typedef struct slc_change {
    slc_slice key;   // 1..511 bytes
    slc_slice value; // up to 1 MiB
} slc_change;

#endif
