#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log_impl.h"

//     slc_log ──> rate limit ──> formats that the sinks want ──> ring (list under the lock) ──>
//     writer thread ──> write(2)
//
// The lock is held for the list, the rate table and the options, never for formatting or writing.

enum {
    LOG_RING_BYTES = 2 * 1024 * 1024, // debug and info may fill half of it
    LOG_RATE_SLOTS = 256, // by hash of category and event; a collision only shares a budget
    LOG_RATE_MAX = 20,    // lines of one event each second
    LOG_NODE_BYTES = 256,
};

struct log_output;

typedef struct log_line {
    struct log_line *next;
    struct log_output *output; // not a line but new options, owned: they hold for the lines behind
    slc_log_level level;
    uint64_t time_s;
    bool muted;           // not for the function of slc_log_lines
    uint32_t plain_bytes; // 0: not made
    uint32_t json_bytes;  // behind the plain text; 0: not made
    char text[];
} log_line;

typedef struct log_rate {
    const char *category; // of the last line, literals
    const char *event;
    slc_log_level level;
    uint64_t second;
    uint32_t count;
    uint64_t suppressed;
} log_rate;

typedef struct log_sink {
    int fd; // -1: off
    slc_log_level level;
    bool json;
    bool journal; // stderr is the journal: lines carry a priority
} log_sink;

// What the writer works with; only it touches these while it runs.
typedef struct log_output {
    log_sink console;
    log_sink file;
    slc_log_level line_level;
    bool line_json;
    char path[4096];
} log_output;

static uv_once_t log_once = UV_ONCE_INIT;
static uv_mutex_t log_lock; // guards everything below down to the atomics
static uv_cond_t log_wake;
static bool log_running;
static bool log_stopping;
static bool log_reopen_wanted;

static log_line *log_head;
static log_line **log_tail = &log_head;
static size_t log_ring_bytes;
static uint64_t log_ring_lost; // since the last "dropped" line
static log_rate log_rates[LOG_RATE_SLOTS];
static uint64_t log_suppressed; // sum over the table: the writer has something to summarise
static bool log_want_plain;
static bool log_want_json;
static char log_node[LOG_NODE_BYTES];

static _Atomic int log_least = SLC_LOG_INFO;
static _Atomic uint64_t log_lost;
static log_output log_out = {.console.fd = -1, .file.fd = -1, .line_level = SLC_LOG_NONE};
static uv_thread_t log_thread;

// Who gets the lines as well. Held during the call, so that nobody is in it once it was taken away.
static uv_mutex_t log_lines_lock;
static void (*log_lines_call)(const slc_log_line *line, void *arg);
static void *log_lines_arg;
static _Thread_local bool log_muted;

static void log_setup(void)
{
    int rc = uv_mutex_init(&log_lock);
    SLC_ASSERT(rc == 0);
    rc = uv_mutex_init(&log_lines_lock);
    SLC_ASSERT(rc == 0);
    rc = uv_cond_init(&log_wake);
    SLC_ASSERT(rc == 0);
}

const char *slc_log_level_name(slc_log_level level)
{
    static const char *const names[] = {"debug", "info", "warning", "error", "none"};
    return (unsigned)level < SLC_ARRAY_COUNT(names) ? names[level] : "none";
}

bool slc_log_enabled(slc_log_level level)
{
    return (int)level >= atomic_load_explicit(&log_least, memory_order_relaxed);
}

uint64_t slc_log_dropped(void)
{
    return atomic_load_explicit(&log_lost, memory_order_relaxed);
}

// All of it, waiting for a terminal that is not ready; false when the sink does not take it.
static bool log_write_all(int fd, const char *text, size_t bytes)
{
    while (bytes > 0) {
        ssize_t done = write(fd, text, bytes);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0 && errno == EAGAIN) {
            struct pollfd ready = {.fd = fd, .events = POLLOUT};
            if (poll(&ready, 1, 1000) < 0 && errno != EINTR)
                return false;
            continue;
        }
        if (done <= 0)
            return false;
        text += done;
        bytes -= (size_t)done;
    }
    return true;
}

static bool log_sink_wants(const log_sink *sink, slc_log_level level)
{
    return sink->fd >= 0 && level >= sink->level;
}

static bool log_sink_write(const log_sink *sink, const log_line *line)
{
    if (!log_sink_wants(sink, line->level))
        return true;
    // After a change of options a few lines are in the other format: better than none.
    bool json = line->json_bytes > 0 && (sink->json || line->plain_bytes == 0);
    const char *text = json ? line->text + line->plain_bytes : line->text;
    size_t bytes = json ? line->json_bytes : line->plain_bytes;
    if (!sink->journal)
        return log_write_all(sink->fd, text, bytes);

    static const char priorities[] = {'7', '6', '4', '3', '3'};
    char marked[SLC_LOG_LINE_BYTES_MAX +
                3]; // one write, so that lines of other processes do not get between
    marked[0] = '<', marked[1] = priorities[line->level], marked[2] = '>';
    memcpy(marked + 3, text, bytes);
    return log_write_all(sink->fd, marked, bytes + 3);
}

static log_line *log_line_new(const slc_log_record *record, bool plain, bool json)
{
    char text[2 * SLC_LOG_LINE_BYTES_MAX];
    size_t plain_bytes = plain || !json ? slc_log_format_plain(record, text) : 0;
    size_t json_bytes = json ? slc_log_format_json(record, text + plain_bytes) : 0;
    log_line *line = slc_alloc(sizeof *line + plain_bytes + json_bytes);
    *line = (log_line){.level = record->level,
                       .time_s = (uint64_t)record->time.tv_sec,
                       .muted = log_muted,
                       .plain_bytes = (uint32_t)plain_bytes,
                       .json_bytes = (uint32_t)json_bytes};
    memcpy(line->text, text, plain_bytes + json_bytes);
    return line;
}

static size_t log_line_size(const log_line *line)
{
    return sizeof *line + line->plain_bytes + line->json_bytes;
}

// A line of the log about itself, from the writer, past ring and limits.
static void log_say(slc_log_level level, const char *category, const char *event, slc_fields fields,
                    const char *message)
{
    char node[LOG_NODE_BYTES];
    uv_mutex_lock(&log_lock);
    memcpy(node, log_node, sizeof node);
    uv_mutex_unlock(&log_lock);
    slc_log_record record = {.level = level,
                             .category = category,
                             .event = event,
                             .fields = fields,
                             .node = node[0] != '\0' ? node : NULL,
                             .message = message};
    clock_gettime(CLOCK_REALTIME, &record.time);
    log_line *line = log_line_new(&record, !log_out.console.json || !log_out.file.json,
                                  log_out.console.json || log_out.file.json);
    log_sink_write(&log_out.console, line);
    log_sink_write(&log_out.file, line);
    slc_free(line);
}

static void log_say_dropped(uint64_t lines)
{
    char text[96];
    snprintf(text, sizeof text,
             "%" PRIu64 " log lines were dropped: they came faster than they could be written",
             lines);
    log_say(SLC_LOG_WARN, "default", "log.dropped", SLC_FIELDS(SLC_F_U64("lines", lines)), text);
}

// Say how many lines of events that are over (or of all, at the end) were held back.
static void log_summarise(bool all)
{
    uint64_t second = slc_clock_now_ns() / SLC_NS_PER_S;
    for (uint32_t i = 0; i < LOG_RATE_SLOTS; i++) {
        uv_mutex_lock(&log_lock);
        log_rate slot = log_rates[i];
        bool due = slot.suppressed > 0 && (all || slot.second != second);
        if (due) {
            log_suppressed -= slot.suppressed;
            log_rates[i].suppressed = 0;
        }
        uv_mutex_unlock(&log_lock);
        if (!due)
            continue;
        char text[160];
        snprintf(text, sizeof text, "%s: repeated %" PRIu64 " times", slot.event, slot.suppressed);
        log_say(slot.level, slot.category, slot.event,
                SLC_FIELDS(SLC_F_U64("repeated", slot.suppressed)), text);
    }
}

static int log_file_open(const char *path)
{
    return open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0640);
}

static void log_file_close(log_output *out)
{
    if (out->file.fd >= 0)
        close(out->file.fd);
    out->file.fd = -1;
}

static void log_file_reopen(void)
{
    if (log_out.file.fd < 0)
        return;
    int fd = log_file_open(log_out.path);
    if (fd < 0) {
        char text[SLC_LOG_MESSAGE_BYTES_MAX];
        snprintf(text, sizeof text,
                 "cannot reopen the log file %.1024s: %s; writing goes on in the old one",
                 log_out.path, strerrordesc_np(errno));
        log_say(SLC_LOG_ERROR, "default", "log.reopen_failed", SLC_NO_FIELDS, text);
        return;
    }
    log_file_close(&log_out);
    log_out.file.fd = fd;
}

// Takes output.
static void log_output_take(log_output *output)
{
    log_file_close(&log_out);
    log_out = *output;
    slc_free(output);
}

static void log_line_give(const log_line *line)
{
    if (line->muted || log_out.line_level == SLC_LOG_NONE || line->level < log_out.line_level)
        return;
    bool json = line->json_bytes > 0 && (log_out.line_json || line->plain_bytes == 0);
    slc_log_line given = {
        .level = line->level,
        .time_s = line->time_s,
        .json = json,
        .text = json ? line->text + line->plain_bytes : line->text,
        .bytes = json ? line->json_bytes : line->plain_bytes,
    };
    uv_mutex_lock(&log_lines_lock);
    if (log_lines_call != NULL)
        log_lines_call(&given, log_lines_arg);
    uv_mutex_unlock(&log_lines_lock);
}

void slc_log_lines(void (*line)(const slc_log_line *line, void *arg), void *arg)
{
    uv_once(&log_once, log_setup);
    uv_mutex_lock(&log_lines_lock);
    log_lines_call = line;
    log_lines_arg = arg;
    uv_mutex_unlock(&log_lines_lock);
}

void slc_log_mute(bool on)
{
    log_muted = on;
}

static void log_write_lines(log_line *lines)
{
    uint64_t failed = 0;
    while (lines != NULL) {
        log_line *line = lines;
        lines = line->next;
        if (line->output != NULL) {
            log_output_take(line->output);
            slc_free(line);
            continue;
        }
        bool console = log_sink_write(&log_out.console, line);
        bool file = log_sink_write(&log_out.file, line);
        failed += !console || !file;
        log_line_give(line);
        slc_free(line);
    }
    if (failed > 0)
        atomic_fetch_add_explicit(&log_lost, failed, memory_order_relaxed);
}

static void log_writer(void *arg)
{
    (void)arg;
    bool stop = false;
    while (!stop) {
        uv_mutex_lock(&log_lock);
        bool timed_out = false;
        while (log_head == NULL && !log_stopping && !log_reopen_wanted && !timed_out) {
            if (log_suppressed > 0)
                timed_out = uv_cond_timedwait(&log_wake, &log_lock, SLC_NS_PER_S) != 0;
            else
                uv_cond_wait(&log_wake, &log_lock);
        }
        stop = log_stopping;
        bool reopen = log_reopen_wanted;
        log_reopen_wanted = false;

        log_line *lines = log_head;
        log_head = NULL;
        log_tail = &log_head;
        log_ring_bytes = 0;
        uint64_t lost = log_ring_lost;
        log_ring_lost = 0;
        bool repeated = log_suppressed > 0;
        uv_mutex_unlock(&log_lock);

        log_write_lines(lines);
        if (lost > 0)
            log_say_dropped(lost);
        if (repeated)
            log_summarise(stop);
        if (reopen)
            log_file_reopen();
    }
}

// JOURNAL_STREAM names the socket that systemd connected to stderr.
static bool log_stderr_is_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    struct stat status;
    if (stream == NULL || fstat(STDERR_FILENO, &status) != 0)
        return false;
    char own[64];
    snprintf(own, sizeof own, "%ju:%ju", (uintmax_t)status.st_dev, (uintmax_t)status.st_ino);
    return strcmp(own, stream) == 0;
}

static slc_err log_output_new(const slc_log_options *options, log_output **out, slc_error *error)
{
    log_output *output = slc_alloc_zero(1, sizeof *output);
    output->console = (log_sink){.fd = options->level == SLC_LOG_NONE ? -1 : STDERR_FILENO,
                                 .level = options->level,
                                 .json = options->json,
                                 .journal = log_stderr_is_journal()};
    output->file = (log_sink){.fd = -1, .level = options->file_level, .json = options->file_json};
    output->line_level = options->lines ? options->line_level : SLC_LOG_NONE;
    output->line_json = options->line_json;
    if (options->file != NULL) {
        int written = snprintf(output->path, sizeof output->path, "%s", options->file);
        if (written < 0 || (size_t)written >= sizeof output->path) {
            slc_free(output);
            return slc_error_set(error, SLC_EINVAL,
                                 "the path of the log file is longer than %zu bytes",
                                 sizeof output->path - 1);
        }
        output->file.fd = log_file_open(output->path);
        if (output->file.fd < 0) {
            int number = errno;
            slc_free(output);
            return slc_error_set(error, slc_err_from_errno(number),
                                 "cannot open the log file %s: %s", options->file,
                                 strerrordesc_np(number));
        }
    }
    *out = output;
    return SLC_OK;
}

// @locked. Takes line.
static void log_append(log_line *line)
{
    *log_tail = line;
    log_tail = &line->next;
    uv_cond_signal(&log_wake);
}

// @locked
static void log_options_apply(const slc_log_options *options)
{
    bool console = options->level != SLC_LOG_NONE;
    bool file = options->file != NULL && options->file_level != SLC_LOG_NONE;
    bool lines = options->lines && options->line_level != SLC_LOG_NONE;
    log_want_plain = (console && !options->json) || (file && !options->file_json) ||
                     (lines && !options->line_json);
    log_want_json =
        (console && options->json) || (file && options->file_json) || (lines && options->line_json);
    snprintf(log_node, sizeof log_node, "%s", options->node == NULL ? "" : options->node);
    int least = (int)options->level;
    if (file && (int)options->file_level < least)
        least = (int)options->file_level;
    if (lines && (int)options->line_level < least)
        least = (int)options->line_level;
    atomic_store(&log_least, least);
}

slc_err slc_log_start(const slc_log_options *options, slc_error *error)
{
    uv_once(&log_once, log_setup);
    SLC_ASSERT(!log_running);
    log_output *output = NULL;
    slc_err rc = log_output_new(options, &output, error);
    if (rc != SLC_OK)
        return rc;

    uv_mutex_lock(&log_lock);
    log_out = *output;
    log_stopping = false;
    uv_mutex_unlock(&log_lock);
    slc_free(output);
    int started = uv_thread_create(&log_thread, log_writer, NULL);
    if (started != 0) {
        log_file_close(&log_out);
        return slc_error_set(error, slc_err_from_errno(started), "cannot start the log thread: %s",
                             uv_strerror(started));
    }
    uv_mutex_lock(&log_lock);
    log_options_apply(options);
    log_running = true;
    uv_mutex_unlock(&log_lock);
    return SLC_OK;
}

slc_err slc_log_configure(const slc_log_options *options, slc_error *error)
{
    uv_once(&log_once, log_setup);
    log_output *output = NULL;
    slc_err rc = log_output_new(options, &output, error);
    if (rc != SLC_OK)
        return rc;
    log_line *change = slc_alloc(sizeof *change);
    *change = (log_line){.output = output};
    uv_mutex_lock(&log_lock);
    SLC_ASSERT(log_running);
    log_options_apply(options);
    log_append(change);
    uv_mutex_unlock(&log_lock);
    return SLC_OK;
}

void slc_log_reopen(void)
{
    uv_once(&log_once, log_setup);
    uv_mutex_lock(&log_lock);
    log_reopen_wanted = log_running;
    uv_cond_signal(&log_wake);
    uv_mutex_unlock(&log_lock);
}

void slc_log_stop(void)
{
    uv_once(&log_once, log_setup);
    uv_mutex_lock(&log_lock);
    bool running = log_running;
    log_running = false; // from here on lines go to stderr directly
    log_stopping = true;
    uv_cond_signal(&log_wake);
    uv_mutex_unlock(&log_lock);
    if (!running)
        return;
    uv_thread_join(&log_thread);
    log_file_close(&log_out);
    log_out.console.fd = -1;
    atomic_store(&log_least, SLC_LOG_INFO);
}

// Count the line; false: more than its share this second. @locked
static bool log_rate_pass(slc_log_level level, const char *category, const char *event)
{
    if (strcmp(category, "audit") == 0 || strcmp(category, "config") == 0)
        return true;             // an operator did it, and wants to read each
    uint32_t hash = 2166136261u; // FNV-1a: the names are our own literals
    for (const char *at = category; *at != '\0'; at++)
        hash = (hash ^ (unsigned char)*at) * 16777619u;
    for (const char *at = event; *at != '\0'; at++)
        hash = (hash ^ (unsigned char)*at) * 16777619u;
    log_rate *slot = &log_rates[(hash ^ hash >> 16) % LOG_RATE_SLOTS];
    uint64_t second = slc_clock_now_ns() / SLC_NS_PER_S;
    if (slot->second != second) {
        slot->second = second;
        slot->count = 0;
    }
    if (slot->suppressed == 0) {
        slot->category = category;
        slot->event = event;
        slot->level = level;
    }
    if (++slot->count <= LOG_RATE_MAX)
        return true;
    slot->suppressed++;
    if (log_suppressed++ == 0)
        uv_cond_signal(&log_wake); // the writer waits with a time limit from now on
    return false;
}

// @locked. Takes line.
static void log_push(log_line *line)
{
    size_t bytes = log_line_size(line);
    size_t room = line->level >= SLC_LOG_WARN ? LOG_RING_BYTES : LOG_RING_BYTES / 2;
    if (log_ring_bytes + bytes > room) {
        log_ring_lost++;
        atomic_fetch_add_explicit(&log_lost, 1, memory_order_relaxed);
        slc_free(line);
        return;
    }
    log_ring_bytes += bytes;
    log_append(line);
}

void slc_log(slc_log_level level, const char *category, const char *event, slc_fields fields,
             const char *format, ...)
{
    if (!slc_log_enabled(level))
        return;
    uv_once(&log_once, log_setup);
    slc_log_record record = {
        .level = level, .category = category, .event = event, .fields = fields};
    clock_gettime(CLOCK_REALTIME, &record.time);

    char node[LOG_NODE_BYTES];
    uv_mutex_lock(&log_lock);
    bool running = log_running;
    if (running && !log_rate_pass(level, category, event)) {
        uv_mutex_unlock(&log_lock);
        return;
    }
    bool plain = log_want_plain, json = log_want_json;
    memcpy(node, log_node, sizeof node);
    uv_mutex_unlock(&log_lock);

    char message[SLC_LOG_MESSAGE_BYTES_MAX];
    va_list args;
    va_start(args, format);
    int written = vsnprintf(message, sizeof message, format, args);
    va_end(args);
    if (written < 0)
        message[0] = '\0';
    else if ((size_t)written >= sizeof message) {
        size_t end = sizeof message - 4;
        while (end > 0 && ((unsigned char)message[end] & 0xc0) ==
                              0x80) // not through the middle of a character
            end--;
        memcpy(message + end, "...", 4);
    }
    record.message = message;
    record.node = running && node[0] != '\0' ? node : NULL;

    log_line *line = log_line_new(&record, !running || plain, running && json);
    uv_mutex_lock(&log_lock);
    running = log_running;
    if (running)
        log_push(line);
    uv_mutex_unlock(&log_lock);
    if (!running) {
        log_write_all(STDERR_FILENO, line->text,
                      line->plain_bytes > 0 ? line->plain_bytes : line->json_bytes);
        slc_free(line);
    }
}
