/** One run: connections, the loop that drives them, counters, and when it is over.
 *
 *  One thread drives every connection with epoll.
 *
 *      warm-up ──> measuring ──> stopping ──> over
 *                     │              │
 *                     │              └ producers finish (last confirms, or channel.close-ok), consumers wait for what is due
 *                     └ ends with --time, with the last message of -C or -D, with a signal or an error
 *
 *  Producer: running ─> finishing (nothing more is published; confirms come in) ─> closing (channel.close sent) ─> done
 *  Consumer: running ─> closing (last ack and channel.close sent) ─> done
 */
#ifndef SLC_PERF_RUN_H
#define SLC_PERF_RUN_H

#include <sys/uio.h>

#include "perf/conn.h"
#include "perf/histogram.h"
#include "perf/message.h"
#include "perf/topology.h"
#include "perf/verify.h"

typedef struct slc_perf_run slc_perf_run;

typedef enum slc_perf_state {
    SLC_PERF_RUNNING,
    SLC_PERF_FINISHING,
    SLC_PERF_CLOSING,
    SLC_PERF_DONE
} slc_perf_state;

/** What epoll hands back: the first member of what it belongs to. */
typedef struct slc_perf_watch {
    int fd;
    enum { SLC_PERF_WATCH_PRODUCER, SLC_PERF_WATCH_CONSUMER, SLC_PERF_WATCH_IDLE } kind;
    uint32_t events; // registered now; 0: not registered
} slc_perf_watch;

enum {
    SLC_PERF_BATCH_BYTES = 128 * 1024,        // of small messages in one write
    SLC_PERF_BATCH_LARGE_BYTES = 1024 * 1024, // of large ones
    SLC_PERF_BATCH_LARGE = 64,                // large messages in one write
};

typedef struct slc_perf_producer {
    slc_perf_watch watch;
    slc_perf_run *run;
    slc_perf_conn conn;
    slc_perf_state state;

    slc_perf_template *templates; // one per route
    uint64_t *sequences;          // next sequence of each route
    uint32_t route_count, route_next;
    uint32_t stream; // of the first route
    uint64_t sent;

    // Confirms: the time of message `tag` stands at times[tag & times_mask]; 0 once it is confirmed.
    uint64_t *times;
    uint64_t times_mask;
    uint64_t unconfirmed_first; // every smaller tag is confirmed
    uint64_t outstanding;

    // Pacing: message i (from 0) is due at pace_start_ns + i * pace_ns.
    uint64_t pace_start_ns;
    double pace_ns; // 0: as fast as it goes

    // Large messages: heads are copied, the tail is the shared body. Small ones go to conn.out.
    uint8_t *heads;
    struct iovec iov[2 * SLC_PERF_BATCH_LARGE];
    uint32_t iov_at, iov_count;
} slc_perf_producer;

typedef struct slc_perf_consumer {
    slc_perf_watch watch;
    slc_perf_run *run;
    slc_perf_conn conn;
    slc_perf_state state;
    uint32_t *queues; // indices of the queues it consumes
    uint32_t queue_count;

    uint64_t received;
    uint64_t last_tag;
    uint32_t unacked;

    // The message that is coming in.
    enum { CONTENT_NONE, CONTENT_HEADER, CONTENT_BODY } content;
    bool redelivered;
    bool hashing;   // the body comes in several frames, hash holds the part so far
    uint32_t queue; // where it came from; kept for --verify only
    uint64_t body_bytes, body_left;
    uint8_t stamp[SLC_PERF_STAMP_BYTES];
    uint32_t stamp_bytes;
    XXH3_state_t *hash;

    // --consumer-rate
    uint64_t pace_next_ns; // when the next message may be taken
    uint64_t pace_ns;      // 0: no limit
} slc_perf_consumer;

/** --connections-only */
typedef struct slc_perf_idle {
    slc_perf_watch watch;
    slc_perf_conn conn;
} slc_perf_idle;

typedef struct slc_perf_counts {
    uint64_t published, confirmed, nacked, returned;
    uint64_t consumed, redelivered, undated;
} slc_perf_counts;

struct slc_perf_run {
    const slc_perf_options *options;
    slc_perf_topology topology;
    slc_perf_conn control;
    slc_perf_body body;
    slc_perf_producer *producers;
    slc_perf_consumer *consumers;
    slc_perf_idle *idle;
    uint32_t producer_count, consumer_count, idle_count;
    uint32_t producers_left, consumers_left; // not done
    uint32_t subscribed, subscriptions;      // basic.consume answered, sent
    uint32_t streams;
    int epoll_fd;

    uint64_t now_ns;                        // read once per turn and after each read from a socket
    uint64_t start_ns, stop_ns, measure_ns; // stop_ns: UINT64_MAX without --time
    uint64_t pace_next_ns;                  // when the first paced connection has something to do
    bool measuring, stopping;
    bool cut;            // --time, or a signal, ended it before its counts were reached
    uint64_t goal;       // messages that all consumers together wait for; UINT64_MAX: none
    uint64_t moved_ns;   // when it last got anywhere
    uint64_t moved_mark; // what was done by then
    uint64_t tick_ns;    // when the next progress line is due; UINT64_MAX: never
    slc_perf_counts tick_counts;

    slc_perf_counts counts;
    slc_perf_counts counts_start; // at the beginning of the measured time
    slc_perf_counts counts_end;   // at its end
    bool ended;                   // counts_end is there
    uint64_t publish_end_ns, consume_end_ns;
    slc_histogram latency, confirm_latency;
    slc_perf_verify verify;
    double open_s;             // to open all connections of the load
    double cpu_start_s, cpu_s; // ours; at the start, and of the load
};

/** Connect, declare, consume. */
SLC_MUST_USE slc_err slc_perf_run_open(slc_perf_run *run, const slc_perf_options *options,
                                       slc_error *error);
/** Until it is over. SLC_ETIMEDOUT: something that was due did not come. */
SLC_MUST_USE slc_err slc_perf_run_drive(slc_perf_run *run, slc_error *error);
/** Delete what was generated, close, free. error may come from the broker's refusal to delete. */
slc_err slc_perf_run_close(slc_perf_run *run, slc_error *error);
/** SIGINT and SIGTERM: stop as --time does. Async-signal-safe. */
void slc_perf_run_interrupt(void);

// Between run.c, producer.c and consumer.c:

void slc_perf_run_watch(slc_perf_run *run, slc_perf_watch *watch, uint32_t events);

SLC_MUST_USE slc_err slc_perf_producer_open(slc_perf_producer *producer, slc_perf_run *run,
                                            uint32_t index, slc_error *error);
void slc_perf_producer_fini(slc_perf_producer *producer);
void slc_perf_producer_start(slc_perf_producer *producer, uint32_t index);
/** The socket has something. */
SLC_MUST_USE slc_err slc_perf_producer_read(slc_perf_producer *producer, slc_error *error);
/** Publish what is due and fits, write it, move through the states. */
SLC_MUST_USE slc_err slc_perf_producer_pump(slc_perf_producer *producer, slc_error *error);

SLC_MUST_USE slc_err slc_perf_consumer_open(slc_perf_consumer *consumer, slc_perf_run *run,
                                            uint32_t index, slc_error *error);
void slc_perf_consumer_fini(slc_perf_consumer *consumer);
/** Ask for deliveries; the answers are counted in run->subscribed. */
void slc_perf_consumer_start(slc_perf_consumer *consumer);
SLC_MUST_USE slc_err slc_perf_consumer_read(slc_perf_consumer *consumer, slc_error *error);
/** Go on with what is in the buffer (after a pause of --consumer-rate) and write what waits. */
SLC_MUST_USE slc_err slc_perf_consumer_pump(slc_perf_consumer *consumer, slc_error *error);
/** No more deliveries wanted: ack what is open and close the channel. */
SLC_MUST_USE slc_err slc_perf_consumer_finish(slc_perf_consumer *consumer, slc_error *error);

#endif
