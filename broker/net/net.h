/** The network side of one loop: its connections, their shared buffers, one coarse timer, and the
 * flush at the end of a turn.
 *
 *      poll ──> connections read, protocols act, output is collected ──> (caller: broker turn) ──>
 * slc_net_flush_all ──> poll
 *
 *  Whoever drives the loop calls slc_net_flush_all once per turn, after everything that may write
 * (a uv_check handle is the place). Between two flushes at most 64 connections are read; then net
 * flushes by itself, so that a turn with a thousand readable sockets does not hold back the answers
 * to the first.
 *
 *  Memory: reads go into one scratch buffer of the loop and only an unfinished rest is kept per
 * connection; output is collected in chunks from a pool. An idle connection costs its struct and
 * nothing else. Thread: the loop's.
 */
#ifndef SLC_NET_NET_H
#define SLC_NET_NET_H

#include <stdint.h>
#include <uv.h>

#include "base/error.h"

typedef struct slc_net slc_net;

/** Never blocks; owns a timer and an idle handle on loop, both active only while there is something
 * to do. */
slc_net *slc_net_new(uv_loop_t *loop);
/** Close all listeners and connections at once (without callbacks; output that is pending is
 * dropped), then free. done (may be NULL) runs when no handle of net is left on the loop; until
 * then the loop must run. */
void slc_net_close(slc_net *net, void (*done)(void *arg), void *arg);

/** Write what the connections have collected. */
void slc_net_flush_all(slc_net *net);

/** The clock of all deadlines of connections: milliseconds, monotonic, as old as the turn. Time in which the loop stood
 * still (a suspended process or machine) is left out but for a second: nobody is closed for a silence that only we heard.
 */
uint64_t slc_net_now_ms(const slc_net *net);
uv_loop_t *slc_net_loop(const slc_net *net);

typedef struct slc_net_stats {
    uint32_t connections;       // sockets, those that only linger included
    uint64_t accepted, refused; // refused: out of descriptors
    uint64_t reads, writes;     // system calls
    uint64_t recv_octets, send_octets;
    uint64_t chunk_bytes; // output memory, pool included
} slc_net_stats;

void slc_net_stats_get(const slc_net *net, slc_net_stats *out);

#endif
