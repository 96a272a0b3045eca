/** The world as core sees it (core/env.h), made of the real store, control plane and clock.
 *
 *  It introduces the parts to each other: core's appends become the store's, the store's durable tickets become confirms, a
 *  committed definition is applied. A part that fails for good (a sync that failed, an EIO) ends the process with exit status
 *  74: from then on nothing may be confirmed. Thread: the loop.
 */
#ifndef SLC_APP_WORLD_H
#define SLC_APP_WORLD_H

#include <slc/store.h>
#include <uv.h>

#include "auth/auth.h"
#include "cluster/control.h"
#include "core/broker.h"

typedef struct slc_world {
    uv_loop_t *loop;
    slc_store *store;
    slc_control *control;
    slc_broker *broker;
    slc_auth
        *auth; // the caller's; set before slc_world_open: it gets its objects of the definitions
    int64_t wall_offset_ms; // wall clock minus the loop's clock
    struct slc_world_proposal
        *proposals;        // DL: under way, in the order in which they will be applied
    bool first_start;      // there was no vhost
    bool disk_full;        // the store refuses appends for now
    slc_error disk_error;  // and this is why
    uint64_t window_bytes; // messages that may wait for the store before publishers are not read
    uint64_t held_bytes;   // messages that wait for it now
} slc_world;

typedef struct slc_world_options {
    const char *data_dir; // exists; gets control/ and store/
    uint64_t map_size, log_bytes, cache_bytes, window_bytes;
    slc_store_flush_mode flush;
    uint32_t flush_interval_ms;
    bool overflow_priority_head, nack_uncounted, x_death_trusted, x_death_drops_cc,
        passive_needs_nothing, ttl_head_only; // see slc_broker_options
    slc_on_mismatch on_mismatch;
    uint64_t due_max_ms;
    uint16_t default_prefetch;
    bool unknown_type_ends_connection;
    bool sac_loose;
    uint32_t session_consumers_max;
    uint64_t ack_timeout_ms;
    const char *default_vhost;
    const char *node, *event_vhost; // as in slc_broker_options
    bool log_lines;
    slc_vhost_new_hook vhost_new;
    void *vhost_new_arg;
    slc_auth_first
        first_user; // created where there is nothing at all; user NULL: not by slc_world_open
} slc_world_options;

typedef struct slc_world_recovered {
    uint64_t queues, messages, bytes; // of queues that the definitions know
} slc_world_recovered;

/** Open everything, load the definitions, recover the store, start the broker. world is the caller's memory, loop is set. */
SLC_MUST_USE slc_err slc_world_open(slc_world *world, const slc_world_options *options,
                                    slc_world_recovered *recovered, slc_error *error);
/** Propose to the control plane. slc_broker_act_as counts for what the changes cause and while done runs. */
void slc_world_propose(slc_world *world, const slc_change *changes, uint32_t count,
                       void (*done)(slc_err rc, void *done_arg), void *done_arg);
/** Where nobody exists: create the first user at the first start, warn at another. For a caller that lets definitions bring users
 *  first. done runs once, inside or later. */
void slc_world_first_user(slc_world *world, const slc_auth_first *first, void (*done)(void *arg),
                          void *arg);
/** Slow publishers down or let them go on; at the end of each turn. */
void slc_world_turn(slc_world *world);
/** Take the wall clock anew; call about once a second. */
void slc_world_sync_clock(slc_world *world);
/** The wall clock as the broker sees it. */
uint64_t slc_world_wall_ms(const slc_world *world);
/** After the clients are gone: finish what was submitted, write marks, close; done runs on the loop. */
void slc_world_close(slc_world *world, void (*done)(void *arg), void *arg);

#endif
