/** One AMQP 0-9-1 connection of the load generator, with one open channel (number 1).
 *
 *  Cold methods (handshake, declare, consume, close) go through slc_perf_conn_call, which blocks with a deadline. While the
 *  load runs the socket is non-blocking and producer.c and consumer.c work on the two buffers themselves:
 *
 *      in:  |  parsed  | in_from ... in_to |  free  |      slc_perf_conn_fill reads behind in_to
 *      out: |  sent    | out_from .. out_to |  free  |     slc_perf_conn_flush writes what is there
 *
 *  Thread: one. Memory: the connection owns its buffers.  Spec: amqp-semantics 1, 4, 5.
 */
#ifndef SLC_PERF_CONN_H
#define SLC_PERF_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/error.h"
#include "perf/options.h"
#include "wire/amqp_frame.h"
#include "wire/amqp_method.h"

enum {
    SLC_PERF_CHANNEL = 1,
    SLC_PERF_IN_IDLE_BYTES = 4096, // while no load runs; grows when a frame needs more
    SLC_PERF_IN_BYTES = 512 * 1024,
    SLC_PERF_NAME_CAP = 128, // product and version of the broker
};

typedef struct slc_perf_conn {
    int fd;             // -1: closed
    struct ssl_st *tls; // NULL: plain
    uint32_t frame_max;
    uint8_t *in;
    size_t in_from, in_to, in_cap;
    uint8_t *out;
    size_t out_from, out_to, out_cap;
    char product[SLC_PERF_NAME_CAP]; // what connection.start said
    char version[SLC_PERF_NAME_CAP];
} slc_perf_conn;

/** Connect, log in, open the vhost and channel 1. Tries every address of the host. timeout_ms bounds each step.
 *  SLC_ECLOSED: the broker refused (its text is in error); SLC_ETIMEDOUT; SLC_EIO and others from the socket. */
SLC_MUST_USE slc_err slc_perf_conn_open(slc_perf_conn *conn, const slc_perf_options *options,
                                        int timeout_ms, slc_error *error);
/** Close the socket and free the buffers; nothing is said to the broker. */
void slc_perf_conn_fini(slc_perf_conn *conn);
/** connection.close and its answer, then fini. Bounded by timeout_ms; errors do not matter any more. */
void slc_perf_conn_close(slc_perf_conn *conn, int timeout_ms);

/** Send a method on a channel and wait for the answer with the id want. Deliveries, returns, confirms and heartbeats that come
 *  in between are dropped. reply may be NULL; its slices hold until the next use of conn. SLC_ECLOSED when the broker closes channel or
 *  connection instead. */
SLC_MUST_USE slc_err slc_perf_conn_call(slc_perf_conn *conn, uint16_t channel,
                                        const slc_amqp_method *method, uint32_t want,
                                        slc_amqp_method *reply, int timeout_ms, slc_error *error);

/** Room for bytes behind out_to. */
uint8_t *slc_perf_conn_reserve(slc_perf_conn *conn, size_t bytes);
/** A whole method frame behind out_to. */
void slc_perf_conn_put_method(slc_perf_conn *conn, uint16_t channel, const slc_amqp_method *method);
/** One write of some of what v[0] to v[count - 1] have; after SLC_EAGAIN the next write must begin with the same octets.
 *  SLC_OK: *written is not 0; SLC_EAGAIN: the socket is full; SLC_ECLOSED, SLC_EIO. */
SLC_MUST_USE slc_err slc_perf_conn_write(slc_perf_conn *conn, const struct iovec *v, size_t count,
                                         size_t *written, slc_error *error);
/** Write what out has, as far as the socket takes it. SLC_OK also when something is left (out_from < out_to). */
SLC_MUST_USE slc_err slc_perf_conn_flush(slc_perf_conn *conn, slc_error *error);
/** Grow the input buffer to cap octets. */
void slc_perf_conn_in_reserve(slc_perf_conn *conn, size_t cap);
/** Read what the socket has. SLC_OK: something came; SLC_EAGAIN: nothing now; SLC_ECLOSED: the peer closed; SLC_EIO. */
SLC_MUST_USE slc_err slc_perf_conn_fill(slc_perf_conn *conn, slc_error *error);

/** A cold method frame during the load: answers connection.close and channel.close, and turns them and whatever has no business here
 *  into an error. SLC_OK for what may be ignored (blocked and unblocked are reported on standard error). */
SLC_MUST_USE slc_err slc_perf_conn_cold_method(slc_perf_conn *conn, slc_slice payload,
                                               slc_error *error);

#endif
