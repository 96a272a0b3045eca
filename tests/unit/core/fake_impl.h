/** What the two halves of the fake world share: fake_world.c is store, definitions and turns, fake_client.c the clients. */
#ifndef SLC_TESTS_FAKE_IMPL_H
#define SLC_TESTS_FAKE_IMPL_H

#include "fake_world.h"

typedef struct stored_queue stored_queue;
typedef struct definition definition;
typedef struct proposal proposal;
typedef struct pending_read pending_read;

struct fake_client {
    slc_client client; // first
    fake_world *world;
    uint16_t channels;
    char log[65536], taken[65536];
    struct fake_client *next;
};

struct fake_world {
    slc_broker *broker;
    stored_queue *queues;
    definition *definitions;
    proposal *proposals;
    slc_err refuse_rc; // of proposals; SLC_OK: they are applied
    pending_read *reads;
    uint32_t read_count, range_drops;
    uint64_t damaged_qseq; // 0: none
    uint64_t ticket, durable, time_ms;
    uint64_t large_ticket,
        large_bytes; // the last one with the mark; bodies of which size get it, 0: none
    uint32_t last_qid;
    uint64_t random, cache_bytes;
    slc_broker_options options;
    bool system_exchanges;
    bool hold, hold_reads, damaged, atomic;
    fake_client *clients;
};

#endif
