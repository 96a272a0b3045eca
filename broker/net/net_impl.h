/** What the files of net/ share. Nobody else includes it. */
#ifndef SLC_NET_NET_IMPL_H
#define SLC_NET_NET_IMPL_H

#include <utlist.h>

#include "net/conn.h"
#include "net/listener.h"

enum {
    NET_SCRATCH_BYTES = 256 << 10, // one read
    NET_READ_BUDGET = 256 << 10,   // per connection and turn
    NET_READS_PER_FLUSH = 64,      // connections read before the output is flushed
    NET_IN_COPY_MAX =
        4 << 10, // a rest up to this is copied before the next read instead of being grown in place
    NET_SINK_BIG = 16 << 10, // behind a sink of this size
    NET_SINK_TAIL =
        4 << 10, // only so much more is read, so that the next body goes to its own sink
    NET_CHUNK_BYTES = 16 << 10,
    NET_POOL_CHUNKS = 128,
    NET_TICK_MS = 500,
    NET_TICK_LATE_MS = 2 * NET_TICK_MS, // what goes beyond it between two ticks is not counted
    NET_IOV_MAX = 256,
};

enum {
    CONN_OPEN,
    CONN_FLUSHING,
    CONN_LINGERING,
    CONN_GONE,
};

struct slc_net {
    uv_loop_t *loop;
    uv_timer_t tick;
    uv_idle_t idle;   // active while `ready` is not empty
    uint32_t handles; // not yet closed, own ones included
    bool closing;
    bool ticking;
    bool tick_late;                   // the last tick was, and looked at nobody
    uint64_t clock_ms, clock_read_ms; // slc_net_now_ms at the last tick, and uv_now then
    void (*done)(void *arg);
    void *done_arg;

    slc_conn *conns;         // DL list
    slc_conn *tick_next;     // cursor of the tick, moved on when that connection goes
    slc_conn *dirty;         // DL list by dirty_prev/next: output to flush
    slc_conn *ready;         // DL list by ready_prev/next: input to offer again
    slc_listener *listeners; // DL list
    uint32_t reads_since_flush;
    int fd_reserve; // accepted sockets from here on are refused: the rest of the descriptors is for others

    slc_chunk *pool;
    uint32_t pool_count;
    slc_net_stats stats;
    uint8_t *scratch;
};

void slc_net_handle_closed(slc_net *net);
void slc_net_ready_add(slc_net *net, slc_conn *conn);
void slc_net_conn_add(slc_net *net, slc_conn *conn);

/** Offer unconsumed input again. */
void slc_conn_refeed(slc_conn *conn);
void slc_conn_tick(slc_conn *conn, uint64_t now_ms);
/** Write; may call lost() or finish a close. */
void slc_conn_flush(slc_conn *conn);
void slc_conn_poll_update(slc_conn *conn);
/** Drop all output. */
void slc_conn_out_fini(slc_conn *conn);
/** Close the socket now; frees the connection in a later turn. */
void slc_conn_destroy(slc_conn *conn);
/** Tell the protocol (when it is still there) and destroy. */
void slc_conn_fail(slc_conn *conn, slc_err reason);

#endif
