/** The store's benchmark: what its scenarios share.
 *
 *  A scenario opens a store in a folder of its own, drives it through <slc/store.h> alone, and adds one sample per run to the
 *  figures it measures. The yardstick (bench_ceiling) is a file opened for append: one write and one fdatasync per batch.
 *  One thread; every function here ends the process with a sentence (bench_fail) when something does not work, because a
 *  benchmark that goes on after an error measures something else.
 */
#ifndef BENCH_H
#define BENCH_H

#include <slc/store.h>

#include "base/alloc.h"
#include "base/clock.h"

enum { BENCH_PATH_BYTES = 512, BENCH_RUNS_MAX = 101, BENCH_DATA_BYTES = 2 << 20 };

#define BENCH_MIB (1024.0 * 1024.0)

typedef struct bench_options {
    double seconds;    // of each timed stretch
    double minutes;    // of T14
    uint64_t messages; // of T9
    uint32_t runs;
    const char *json; // NULL: none
    const char *only; // NULL: all
    char dir[BENCH_PATH_BYTES / 2];
} bench_options;

extern bench_options bench_opt;

/* ---- main.c ---- */

/** Say why on standard error, remove the temporary folder, exit 1. */
_Noreturn void bench_fail(const char *format, ...) SLC_PRINTF(1, 2);
/** Ends the process when it was asked to stop (SIGINT, SIGTERM). */
void bench_check_signal(void);
/** The path of name in the temporary folder. */
void bench_path(char out[BENCH_PATH_BYTES], const char *name);
/** Delete a file, or a folder and the plain files in it. A path that is not there is fine. */
void bench_remove(const char *path);

/* ---- figures.c ---- */

typedef enum bench_figure {
    FIG_T1,
    FIG_T2,
    FIG_T3,
    FIG_T4_10,
    FIG_T4_100,
    FIG_T4_1000,
    FIG_T5,
    FIG_T7_LOG,
    FIG_T7_MOVED,
    FIG_T8,
    FIG_T9_WARM,
    FIG_T9_COLD,
    FIG_T10,
    FIG_T10_FILL,
    FIG_T12,
    FIG_T12_DELAY,
    FIG_T14,
    FIG_COUNT,
} bench_figure;

/** One sample. compared is what the target is about: a ratio, or the value itself. reference 0: the figure has none. */
void bench_sample(bench_figure figure, double value, double reference, double compared);
/** A sentence printed below the table, once per figure (the last one stays). */
void bench_note(bench_figure figure, const char *format, ...) SLC_PRINTF(2, 3);
/** The median of count > 0 values, which are sorted in place. */
double bench_median(double *values, uint64_t count);
/** Is a figure of this target ("T4") asked for with --only? */
bool bench_asked(const char *target);
/** False: --only names a target that does not exist. */
bool bench_only_valid(void);
void bench_table_print(void);
void bench_json_write(const char *path);

/* ---- driver.c ---- */

typedef struct bench_store {
    slc_store *store;
    uv_loop_t loop;
    uv_timer_t tick; // wakes the loop, so that deadlines and signals are looked at
    slc_store_ticket submitted, durable;
    slc_store_ticket durable_large; // of those with the mark SLC_TICKET_LARGE
    uint64_t progress_ns;           // when the last confirm came, or the wait began
    bool closed;
} bench_store;

/** Open and recover a store in dir, which must be empty. log_bytes: 256 MiB is the product's default. */
void bench_open(bench_store *b, const char *dir, slc_store_flush_mode flush, uint64_t log_bytes);
/** The same without recovery, for who measures it. */
void bench_open_only(bench_store *b, const char *dir, slc_store_flush_mode flush,
                     uint64_t log_bytes);
void bench_close(bench_store *b);
uint32_t bench_queue(bench_store *b);
/** bytes <= 1 MiB of incompressible data. */
slc_store_ticket bench_append(bench_store *b, uint32_t qid, uint64_t qseq, uint64_t bytes);
/** data must stay until the ticket is durable. */
slc_store_ticket bench_append_data(bench_store *b, uint32_t qid, uint64_t qseq, const uint8_t *data,
                                   uint64_t bytes);
slc_store_ticket bench_drop(bench_store *b, uint32_t qid, uint64_t qseq);
/** The end of a loop turn and the next one: flush, then wait for events. */
void bench_turn(bench_store *b);
void bench_wait(bench_store *b, slc_store_ticket ticket);
/** Run until the process has written nothing for a second (at most 60 s). */
void bench_settle(bench_store *b);

typedef struct bench_ceiling_result {
    double batches_per_s;
    double round_ms; // median of one write and its fdatasync
} bench_ceiling_result;

/** Append batches of batch_bytes to a new file for so many seconds, or batches of them when that is not 0. */
bench_ceiling_result bench_ceiling(uint64_t batch_bytes, double seconds, uint64_t batches);

/** Incompressible octets, BENCH_DATA_BYTES of them. */
const uint8_t *bench_data(void);
uint64_t bench_random(uint64_t below);
double bench_seconds_since(uint64_t from_ns);
/** What this process wrote so far, by system calls (/proc/self/io). */
uint64_t bench_written_bytes(void);
uint64_t bench_file_bytes(const char *dir);
/** A number of /proc/self/status in octets, such as "RssAnon:". */
uint64_t bench_status_bytes(const char *field);

/* ---- port.c: the two calls of <slc/store.h> that read what was stored ---- */

typedef struct bench_recovered {
    uint32_t queues, qid; // qid of the last one
    uint64_t messages;
} bench_recovered;

slc_err bench_recover(slc_store *store, bench_recovered *out, slc_error *error);
/** Read one message of the queue, the first from first_qseq on, and wait for it; its content must be there. */
void bench_read_first(bench_store *b, uint32_t qid, uint64_t first_qseq);

/* ---- scenarios ---- */

void bench_commit_1(uint32_t run);    // T1, T5
void bench_commit_100(uint32_t run);  // T2
void bench_commit_1000(uint32_t run); // T3
void bench_deferred(uint32_t run);    // T4
void bench_written(uint32_t run);     // T7
void bench_queues(uint32_t run);      // T8
void bench_restart(uint32_t run);     // T9, T10
void bench_large(uint32_t run);       // T12
void bench_churn(uint32_t run);       // T14, in the first run only
/** The processes that bench_restart starts: fill or recover the store in dir, print a line, die by SIGKILL. */
_Noreturn void bench_restart_child(const char *role, const char *dir, uint64_t messages);

#endif
