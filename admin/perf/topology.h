/** Exchange, queues, bindings and keys of a run, and their life: declare, purge, count, delete.
 *  What was made under a generated name is deleted at the end; what the user named stays. Thread: one. */
#ifndef SLC_PERF_TOPOLOGY_H
#define SLC_PERF_TOPOLOGY_H

#include "perf/conn.h"
#include "perf/options.h"

typedef struct slc_perf_topology {
    char *exchange; // "" is the default exchange
    bool exchange_generated;
    char **queues;
    uint32_t queue_count;
    bool queues_generated;
    /** Routes: the keys that producers use. With one key per queue, key i leads to queue i. */
    char **keys;
    uint32_t key_count;
    uint32_t copies; // of each message, in the queues of this run
} slc_perf_topology;

void slc_perf_topology_init(slc_perf_topology *topology, const slc_perf_options *options);
void slc_perf_topology_fini(slc_perf_topology *topology);
SLC_MUST_USE slc_err slc_perf_topology_declare(const slc_perf_topology *topology,
                                               const slc_perf_options *options, slc_perf_conn *conn,
                                               slc_error *error);
/** Messages ready in all queues, by passive declares. */
SLC_MUST_USE slc_err slc_perf_topology_count(const slc_perf_topology *topology, slc_perf_conn *conn,
                                             uint64_t *out, slc_error *error);
/** Delete what was generated. */
SLC_MUST_USE slc_err slc_perf_topology_delete(const slc_perf_topology *topology,
                                              const slc_perf_options *options, slc_perf_conn *conn,
                                              slc_error *error);

#endif
