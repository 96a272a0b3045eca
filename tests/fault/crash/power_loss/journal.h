/** What the workload submitted, to be compared with what an image holds. In shared memory, like the tape.
 *
 *  Tickets here count over restarts of the store (the store itself begins at 1 each time). A time is an event number of the
 *  tape: what was submitted at time e can be on the disk at moment m only when e < m.
 */
#ifndef POWER_LOSS_JOURNAL_H
#define POWER_LOSS_JOURNAL_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { JOURNAL_FACTS_MAX = 32768, JOURNAL_QUEUES_MAX = 256, JOURNAL_GROUPS_MAX = 2048 };

typedef struct journal_queue {
    uint32_t qid;
    uint64_t name;       // its uuid
    uint64_t made, gone; // tickets; gone 0: still there
    uint32_t made_at, gone_at;
    uint64_t next_qseq; // that the workload will use
} journal_queue;

/** One message in one queue. */
typedef struct journal_fact {
    uint32_t queue; // in journal.queues
    bool shared;    // its content went to several queues
    bool cancelled; // never was to reach the disk
    bool drop_in_group;
    bool large;                    // the ticket of the append had the mark SLC_TICKET_LARGE
    uint64_t qseq, bytes, content; // content: what journal_fill makes of it
    uint64_t appended, dropped;    // tickets; dropped 0: not dropped
    uint32_t appended_at, dropped_at;
} journal_fact;

/** An atomic submission: tickets first to last. */
typedef struct journal_group {
    uint64_t first, last;
} journal_group;

typedef struct journal {
    uint32_t fact_count, queue_count, group_count;
    uint64_t last_ticket;
    uint64_t contents;
    uint64_t restarts;
    bool finished;
    journal_queue queues[JOURNAL_QUEUES_MAX];
    journal_fact facts[JOURNAL_FACTS_MAX];
    journal_group groups[JOURNAL_GROUPS_MAX];
} journal;

/** Octets that belong to (content, bytes) and to nothing else. */
static inline void journal_fill(uint8_t *data, uint64_t bytes, uint64_t content)
{
    uint64_t x = (content + 1) * 0x9e3779b97f4a7c15ull ^ bytes;
    for (uint64_t i = 0; i < bytes; i += sizeof x) {
        x = x * 6364136223846793005ull + 1442695040888963407ull;
        memcpy(data + i, &x, bytes - i < sizeof x ? bytes - i : sizeof x);
    }
}

#endif
