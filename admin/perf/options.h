/** What sluice-perf was asked to do: one table of options drives parsing, checking and --help.
 *
 *  The names are PerfTest's where they mean the same. Every combination that cannot be honoured is refused with a sentence;
 *  nothing is accepted and ignored. Memory: const text points into argv, the rest is the object's own; slc_perf_options_fini frees it.
 */
#ifndef SLC_PERF_OPTIONS_H
#define SLC_PERF_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"

enum {
    SLC_PERF_EXIT_USAGE = 64,       // wrong options
    SLC_PERF_EXIT_DATA = 65,        // --verify found something
    SLC_PERF_EXIT_UNAVAILABLE = 69, // no broker, or it closed the connection
    SLC_PERF_EXIT_TIMEOUT = 75,     // messages or confirms that were expected did not come

    SLC_PERF_CONFIRM_MAX = 1 << 20, // confirm window
    SLC_PERF_BODY_STAMPED = 16,     // least size that carries time and sequence
    SLC_PERF_BODY_VERIFIED = 24,    // and a checksum
};

typedef struct slc_perf_options {
    // where
    const char *uri;
    char *host, *user, *pass, *vhost;
    uint16_t port;
    bool tls; // amqps://
    const char
        *ca; // file with the authorities that may vouch for the broker; NULL: nobody is asked
    const char *id; // part of generated names, and in the output
    char *id_made;  // its memory when it was not given

    // topology
    const char *exchange; // "" is the default exchange
    const char *type;     // NULL: the default exchange, or an exchange that exists
    const char *routing_key;
    const char *queue; // NULL: a generated name
    const char *queue_pattern;
    uint32_t queue_from, queue_to; // of the pattern; from 0 with queue_to < queue_from: not set
    uint32_t queues;
    uint32_t bindings;
    uint32_t fanout;
    const char *queue_args; // KEY=VALUE,...; NULL: none
    bool predeclared;
    bool purge;

    // load
    uint32_t producers, consumers;
    bool producers_set, consumers_set;
    uint32_t size;
    bool size_set;
    uint32_t confirm; // window; 0: no confirms
    uint32_t qos;     // 0: no limit
    uint32_t ack_every;
    bool ack_every_set;
    bool autoack;
    bool refuse; // nack without requeue instead of ack
    bool persistent, mandatory;
    uint32_t expiration_ms; // of each message
    bool expiration_set;
    uint32_t priorities;           // 0: none; else messages have 0 to priorities - 1 in turn
    double rate, consumer_rate;    // per producer, per consumer; 0: as fast as it goes
    uint64_t pmessages, cmessages; // per producer, per consumer; 0: no limit
    double seconds;                // 0: no limit
    double warmup_s;
    double grace_s;
    uint32_t connections_only;
    bool fill, drain, verify;

    // output
    bool json;
    double interval_s; // of progress lines; 0: none; below 0: not set
    bool help, version;
} slc_perf_options;

/** Parse and check. On an error: SLC_EINVAL with a sentence that names the option, the value and what is allowed. */
SLC_MUST_USE slc_err slc_perf_options_parse(int argc, char **argv, slc_perf_options *out,
                                            slc_error *error);

/** Also after an error. */
void slc_perf_options_fini(slc_perf_options *options);

void slc_perf_options_help(FILE *out);

#endif
