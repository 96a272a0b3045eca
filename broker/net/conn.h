/** A connection: one stream socket with batched input and output. It knows no protocol.
 *
 *      open ──slc_conn_close──> flushing ──all written──> lingering ──peer closed or deadline──>
 * gone └──peer closed, error──> lost() ──────────────────────────────────────────────────────> gone
 *
 *  Input. ops->input gets what has been read and says how much of it is consumed; the rest comes
 * again with more behind it. A *sink* lets the octets of a large body go straight from the socket
 * to where they belong (slc_conn_sink). At most 256 KiB are read per turn, so that nobody starves
 * the others.
 *
 *  Output. slc_conn_reserve/commit append octets to a chunk, slc_conn_append_ref appends somebody's
 * octets by reference. All of it is written by slc_net_flush_all in as few system calls as
 * possible. Crossing `high` calls ops->writable(false), falling below `low` ops->writable(true):
 * what can wait (deliveries) waits. What cannot wait (answers, confirms) stops the input at `stop`
 * instead, so a peer that sends and never reads has bounded memory.
 *
 *  TLS (options.tls): nothing above changes. Octets are counted as the protocol sees them, and count as written when all of
 * their records are. A peer that does not complete its handshake in time is lost.
 *
 *  Owner: net frees the connection; the protocol holds a pointer until it called slc_conn_close or
 * got lost(). Thread: the loop. Callbacks come from the loop only: never inside a call of this
 * header, except ops->writable(false), which may come inside slc_conn_commit and
 * slc_conn_append_ref.
 */
#ifndef SLC_NET_CONN_H
#define SLC_NET_CONN_H

#include <stdint.h>
#include <uv.h>

#include "base/alloc.h"
#include "base/slice.h"
#include "net/net.h"

typedef struct slc_conn slc_conn;

typedef struct slc_conn_ops {
    /** Returns octets consumed from the front, 0 to input.bytes. May close the connection. */
    size_t (*input)(slc_conn *conn, slc_slice input);
    /** bytes octets were put into the sink; its pointer and size have moved on. NULL: no sink is
     * ever used. */
    void (*sunk)(slc_conn *conn, size_t bytes);
    /** Output crossed a mark. Must not close the connection. */
    void (*writable)(slc_conn *conn, bool writable);
    /** About every 500 ms. */
    void (*tick)(slc_conn *conn, uint64_t now_ms);
    /** The socket is gone: SLC_ECLOSED the peer closed it, else an error. The last callback; do not
     * call slc_conn_close. */
    void (*lost)(slc_conn *conn, slc_err reason);
} slc_conn_ops;

struct slc_conn_tls;
struct slc_tls;

typedef struct slc_conn_options {
    size_t high_bytes;   // 0: 1 MiB
    size_t low_bytes;    // 0: 256 KiB
    size_t stop_bytes;   // 0: 4 MiB, of octets that were copied
    struct slc_tls *tls; // NULL: plain; borrowed until slc_conn_new returns (net/tls.h)
    const char *name;    // of the peer, for log lines about TLS
} slc_conn_options;

/** Why input rests; it goes on when no reason is left. */
typedef enum slc_pause {
    SLC_PAUSE_PENDING = 1, // an answer is awaited; short
    SLC_PAUSE_BLOCKED = 2, // for long: the peer's close is noticed meanwhile, and counts as lost
    SLC_PAUSE_OUTPUT = 4,  // net: too much output is pending
    SLC_PAUSE_QUIESCE = 8, // the protocol's server stops
    SLC_PAUSE_FLOW = 16,   // the store is behind; short
} slc_pause;

/** One run of octets to write. private to net. */
typedef struct slc_out_seg {
    const uint8_t *data;
    size_t bytes;
    void *owner;
    void (*release)(void *owner); // NULL: owner is an slc_chunk
} slc_out_seg;

typedef struct slc_chunk {
    struct slc_chunk *next; // in the pool
    uint32_t refs;          // segments, and one while it is a connection's open chunk
    uint32_t cap;
    uint8_t data[];
} slc_chunk;

/** Fields are net's, but for arg and those read by the inline functions below. */
struct slc_conn {
    // output
    uint8_t *out_at, *out_end; // room in the open chunk, directly behind the last segment
    slc_out_seg *out_tail;     // last segment, NULL: none that can grow
    size_t pending;            // octets not yet written
    size_t pending_refs;       // of them by reference
    size_t high, low, stop;
    bool dirty;      // nothing to do when octets are appended: listed for the flush, or waiting for
                     // POLLOUT
    bool listed;     // in net->dirty
    bool over;       // above high, not yet below low
    bool want_write; // the kernel is full
    uint8_t state;
    bool eof;
    bool peer_first; // lingering without an end of stream of ours
    uint8_t pause;   // slc_pause bits
    uint8_t polled;  // uv_poll events now asked for
    bool ready;      // in net->ready
    slc_chunk *chunk;
    slc_out_seg *segs; // ring
    uint32_t seg_head, seg_count, seg_cap;

    // input
    uint32_t in_bytes, in_cap;
    uint8_t *in; // what input() has not consumed
    uint32_t
        read_max; // octets of one read; the protocol may lower it while it expects to pause soon
    uint8_t *sink;
    size_t sink_bytes;

    int fd;
    struct slc_conn_tls *tls; // NULL: plain
    slc_net *net;
    const slc_conn_ops *ops;
    void *arg;
    uint64_t recv_octets, send_octets;
    uint64_t recv_count, send_count;   // system calls that moved octets
    uint64_t last_send_ms;             // when octets went out last
    uint64_t deadline_ms;              // of flushing and lingering
    slc_conn *prev, *next;             // net->conns
    slc_conn *dirty_prev, *dirty_next; // net->dirty
    slc_conn *ready_prev, *ready_next; // net->ready
    uv_poll_t poll;
};

/** Takes fd (non-blocking; also when it fails). options may be NULL. NULL: the loop cannot watch
 * it. */
slc_conn *slc_conn_new(slc_net *net, int fd, const slc_conn_ops *ops, void *arg,
                       const slc_conn_options *options);

/** Write what is pending, say end of stream, drop what still comes until the peer closes too: at
 * most linger_ms, then the socket closes in any case. 0: drop the output and close now. No callback
 * comes any more; arg may be freed at once. */
void slc_conn_close(slc_conn *conn, uint32_t linger_ms);

/** The same, but the end of the stream is left to the peer while linger_ms last: it was told that it may close. */
static inline void slc_conn_close_after_peer(slc_conn *conn, uint32_t linger_ms)
{
    conn->peer_first = true;
    slc_conn_close(conn, linger_ms);
}

void slc_conn_pause(slc_conn *conn, slc_pause reason);
/** Input that was left unconsumed is offered again in the next turn. */
void slc_conn_resume(slc_conn *conn, slc_pause reason);
static inline bool slc_conn_paused(const slc_conn *conn)
{
    return conn->pause != 0;
}

/** The next bytes octets from the socket go to `to` (and are reported by ops->sunk) before anything
 * goes to ops->input. Only when all input before them is consumed. bytes 0: no sink. */
static inline void slc_conn_sink(slc_conn *conn, uint8_t *to, size_t bytes)
{
    conn->sink = to;
    conn->sink_bytes = bytes;
}

/* ---- output ---- */

void slc_conn_room(slc_conn *conn, size_t bytes); // for slc_conn_reserve only
void slc_conn_first(slc_conn *conn);              // for slc_conn_commit only
void slc_conn_over(slc_conn *conn);               // for slc_conn_commit only

/** Room for bytes (> 0) octets, to be filled before any other call on this connection; then commit up to
 * where you came. */
static inline uint8_t *slc_conn_reserve(slc_conn *conn, size_t bytes)
{
    if ((size_t)(conn->out_end - conn->out_at) < bytes)
        slc_conn_room(conn, bytes);
    return conn->out_at;
}
static inline void slc_conn_commit(slc_conn *conn, const uint8_t *end)
{
    size_t bytes = (size_t)(end - conn->out_at);
    conn->out_at += bytes;
    conn->out_tail->bytes += bytes;
    conn->pending += bytes;
    if (!conn->dirty)
        slc_conn_first(conn);
    if (conn->pending > conn->high && !conn->over)
        slc_conn_over(conn);
}
static inline void slc_conn_append(slc_conn *conn, const void *data, size_t bytes)
{
    if (bytes == 0)
        return;
    uint8_t *at = slc_conn_reserve(conn, bytes);
    memcpy(at, data, bytes);
    slc_conn_commit(conn, at + bytes);
}
/** release(owner) runs once, when the octets are written or dropped; they stay unchanged until
 * then. */
void slc_conn_append_ref(slc_conn *conn, const uint8_t *data, size_t bytes, void *owner,
                         void (*release)(void *owner));

/** Too many answers wait for a peer that does not read: consume no more input now, net will offer
 * it again. */
static inline bool slc_conn_overfull(const slc_conn *conn)
{
    return conn->pending - conn->pending_refs > conn->stop;
}
/** For answers by reference: true when pending octets of any kind are over `stop`; input then rests
 * until they are written. */
bool slc_conn_hold(slc_conn *conn);

#endif
