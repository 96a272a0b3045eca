/** The files of a store that nobody has open, read with LMDB and the format alone: what recovery is going to find, and
 *  whether it fits together. Thread: the caller's. Ownership: look_free.
 */
#ifndef LOOK_H
#define LOOK_H

#include "format.h"
#include "subject.h"

/** A message as one of the tiers has it, drops not counted. */
typedef struct look_copy {
    uint32_t qid;
    uint64_t qseq, lsn; // lsn: chunk of the log; 0: it stands in a segment
    bool dead;          // its segment's directory record says that it was dropped
} look_copy;

/** A DROP record's range; last is included. */
typedef struct look_drop {
    uint32_t qid;
    uint64_t first, last, lsn;
} look_drop;

typedef struct look {
    slc_shard_state state;
    uint64_t log_first, log_last; // keys of .log; 0: it is empty
    uint64_t log_chunks, log_bytes;
    uint64_t segments, parts, last_part; // last_part: highest key of .res
    size_t part_max, segment_max;        // largest values; of segments with more than one message
    look_copy *copies;
    uint32_t copy_count, copy_capacity;
    look_drop *drops;
    uint32_t drop_count, drop_capacity;
} look;

/** Read the store in s->dir. Fails the test when a checksum is wrong, a chunk number is missing, a segment lacks its
 *  directory record or has one that says something else, segments of a queue overlap, or a part of a large content of a
 *  live slot is not there. */
void look_at(look *l, const subject *s);
void look_free(look *l);

/** Messages that stand in the log and in a segment. */
uint32_t look_doubles(const look *l);
/** The log has a DROP record for the position. */
bool look_dropped_in_log(const look *l, uint32_t qid, uint64_t qseq);
/** The copy in a segment, or NULL. */
const look_copy *look_in_segment(const look *l, uint32_t qid, uint64_t qseq);

#endif
