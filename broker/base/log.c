#include "base/log.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <uv.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log_impl.h"
#include "base/log_recent.h"

//     slc_log ──> which outputs want it ──> rate limit ──> formats that they want ──> ring (list under the lock) ──>
//     writer thread ──> slc_log_outputs_write
//
// The lock is held for the list, the rate table and the options, never for formatting or writing.

enum {
    LOG_RING_BYTES = 2 * 1024 * 1024, // debug and info may fill half of it
    LOG_RATE_SLOTS = 256, // by hash of category and event; a collision only shares a budget
    LOG_RATE_MAX = 20,    // lines of one event each second
    LOG_NODE_BYTES = 256,
};

// The first is that of unknown names.
static const char *const log_categories[] = {"default", "connection", "channel", "queue",
                                             "policy",  "cluster",    "store",   "auth",
                                             "http",    "audit",      "config",  "upgrade"};
enum { LOG_CATEGORIES = SLC_ARRAY_COUNT(log_categories) };

typedef struct log_rate {
    const char *category; // of the last line, literals
    const char *event;
    slc_log_level level;
    uint64_t second;
    uint32_t count;
    uint64_t suppressed;
} log_rate;

static uv_once_t log_once = UV_ONCE_INIT;
static uv_mutex_t log_lock; // guards everything below down to the atomics
static uv_cond_t log_wake;
static bool log_running;
static bool log_stopping;
static bool log_reopen_wanted;

static slc_log_entry *log_head;
static slc_log_entry **log_tail = &log_head;
static size_t log_ring_bytes;
static uint64_t log_ring_lost; // since the last "dropped" line
static log_rate log_rates[LOG_RATE_SLOTS];
static uint64_t log_suppressed; // sum over the table: the writer has something to summarise
static uint32_t log_open;       // bits by slc_log_output: there is such an output
static uint32_t log_json;       // and it writes JSON
static slc_log_level log_thresholds[SLC_LOG_OUTPUT_COUNT][LOG_CATEGORIES];
static char log_node[LOG_NODE_BYTES];

static _Atomic int log_least = SLC_LOG_INFO;
static _Atomic uint8_t log_wanted[LOG_CATEGORIES][SLC_LOG_NONE]; // bits by slc_log_output
static _Atomic uint64_t log_lost;

static slc_log_outputs *log_out; // only the writer touches it while it runs
static uv_thread_t log_thread;
static _Thread_local bool log_muted;

static void log_setup(void)
{
    int rc = uv_mutex_init(&log_lock);
    SLC_ASSERT(rc == 0);
    rc = uv_cond_init(&log_wake);
    SLC_ASSERT(rc == 0);
}

const char *slc_log_level_name(slc_log_level level)
{
    static const char *const names[] = {"debug", "info", "warning", "error", "none"};
    return (unsigned)level < SLC_ARRAY_COUNT(names) ? names[level] : "none";
}

bool slc_log_level_find(const char *name, slc_log_level *out)
{
    static const struct {
        const char *name;
        slc_log_level level;
    } names[] = {
        {"debug", SLC_LOG_DEBUG},  {"info", SLC_LOG_INFO},       {"notice", SLC_LOG_INFO},
        {"warning", SLC_LOG_WARN}, {"error", SLC_LOG_ERROR},     {"critical", SLC_LOG_ERROR},
        {"alert", SLC_LOG_ERROR},  {"emergency", SLC_LOG_ERROR}, {"none", SLC_LOG_NONE}};
    for (size_t i = 0; i < SLC_ARRAY_COUNT(names); i++) {
        if (strcmp(name, names[i].name) != 0)
            continue;
        *out = names[i].level;
        return true;
    }
    return false;
}

const char *slc_log_category_name(uint32_t number)
{
    return number < LOG_CATEGORIES ? log_categories[number] : NULL;
}

static uint32_t log_category(const char *name)
{
    for (uint32_t i = 0; i < LOG_CATEGORIES; i++)
        if (strcmp(name, log_categories[i]) == 0)
            return i;
    return 0;
}

bool slc_log_enabled(slc_log_level level)
{
    return (int)level >= atomic_load_explicit(&log_least, memory_order_relaxed);
}

uint64_t slc_log_dropped(void)
{
    return atomic_load_explicit(&log_lost, memory_order_relaxed);
}

void slc_log_mute(bool on)
{
    log_muted = on;
}

// The formats that the outputs of wanted write.
static slc_log_entry *log_entry_new(const slc_log_record *record, uint32_t wanted, uint32_t json)
{
    char text[3 * SLC_LOG_LINE_BYTES_MAX];
    uint32_t texts = wanted & ~(1u << SLC_LOG_JOURNAL);
    size_t message_at = 0;
    // One of both is made in any case, for whoever asks for the last lines.
    size_t plain = (texts & json) == 0 || (texts & ~json) != 0
                       ? slc_log_format_plain(record, text, &message_at)
                       : 0;
    size_t object = (texts & json) != 0 ? slc_log_format_json(record, text + plain) : 0;
    size_t journal = (wanted & 1u << SLC_LOG_JOURNAL) != 0
                         ? slc_log_format_journal(record, text + plain + object)
                         : 0;
    slc_log_entry *entry = slc_alloc(sizeof *entry + plain + object + journal);
    *entry = (slc_log_entry){.level = record->level,
                             .time = record->time,
                             .event = record->event,
                             .wanted = wanted,
                             .message_at = (uint32_t)message_at,
                             .plain_bytes = (uint32_t)plain,
                             .json_bytes = (uint32_t)object,
                             .journal_bytes = (uint32_t)journal};
    memcpy(entry->text, text, plain + object + journal);
    return entry;
}

static size_t log_entry_size(const slc_log_entry *entry)
{
    return sizeof *entry + entry->plain_bytes + entry->json_bytes + entry->journal_bytes;
}

// For whoever asks for the last lines.
static void log_keep(const slc_log_entry *entry)
{
    slc_log_recent_add(entry->level, entry->text,
                       entry->plain_bytes > 0 ? entry->plain_bytes : entry->json_bytes);
}

// A line of the log about itself, from the writer, past ring and limits, to the outputs that want it but for those of without.
static void log_say(slc_log_level level, const char *category, const char *event, slc_fields fields,
                    uint32_t without, const char *message)
{
    char node[LOG_NODE_BYTES];
    uv_mutex_lock(&log_lock);
    memcpy(node, log_node, sizeof node);
    uint32_t json = log_json;
    uv_mutex_unlock(&log_lock);
    uint32_t wanted =
        atomic_load(&log_wanted[log_category(category)][level]) & ~without & ~(1u << SLC_LOG_LINES);
    slc_log_record record = {.level = level,
                             .category = category,
                             .event = event,
                             .fields = fields,
                             .node = node[0] != '\0' ? node : NULL,
                             .message = message};
    clock_gettime(CLOCK_REALTIME, &record.time);
    // Where a socket that fails is the only output, standard error hears of it.
    bool nowhere = wanted == 0 && without != 0;
    slc_log_entry *entry = log_entry_new(&record, nowhere ? 1u << SLC_LOG_CONSOLE : wanted, json);
    if (nowhere)
        slc_log_write_stderr(entry);
    else
        (void)slc_log_outputs_write(log_out, entry);
    log_keep(entry);
    slc_free(entry);
}

static void log_say_dropped(uint64_t lines)
{
    char text[96];
    snprintf(text, sizeof text,
             "%" PRIu64 " log lines were dropped: they came faster than they could be written",
             lines);
    log_say(SLC_LOG_WARN, "default", "log.dropped", SLC_FIELDS(SLC_F_U64("lines", lines)), 0, text);
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
                SLC_FIELDS(SLC_F_U64("repeated", slot.suppressed)), 0, text);
    }
}

static void log_file_reopen(void)
{
    int number = slc_log_outputs_reopen(log_out);
    if (number == 0)
        return;
    char text[SLC_LOG_MESSAGE_BYTES_MAX];
    snprintf(text, sizeof text,
             "cannot reopen the log file %.1024s: %s; writing goes on in the old one",
             slc_log_outputs_path(log_out), strerrordesc_np(number));
    log_say(SLC_LOG_ERROR, "default", "log.reopen_failed", SLC_NO_FIELDS, 0, text);
}

// What happens to lines behind a socket is said where they still get through.
static void log_say_socket(slc_log_output output, const char *what)
{
    slc_log_socket *socket = slc_log_outputs_socket(log_out, output);
    if (socket == NULL)
        return;
    slc_log_socket_turn(socket);
    char news[1024], text[1100];
    if (!slc_log_socket_news(socket, news, sizeof news))
        return;
    snprintf(text, sizeof text, "%s: %s", what, news);
    log_say(SLC_LOG_WARN, "default", "log.socket", SLC_FIELDS(SLC_F_STR("output", what)),
            1u << output, text);
}

static void log_write_entries(slc_log_entry *entries)
{
    uint64_t failed = 0;
    while (entries != NULL) {
        slc_log_entry *entry = entries;
        entries = entry->next;
        if (entry->outputs != NULL) {
            slc_log_outputs_free(log_out);
            log_out = entry->outputs;
        } else {
            failed += !slc_log_outputs_write(log_out, entry);
            log_keep(entry);
        }
        slc_free(entry);
    }
    if (failed > 0)
        atomic_fetch_add_explicit(&log_lost, failed, memory_order_relaxed);
}

static void log_writer(void *arg)
{
    (void)arg;
    prctl(PR_SET_NAME, "log");
    bool stop = false;
    while (!stop) {
        uv_mutex_lock(&log_lock);
        bool timed_out = false;
        while (log_head == NULL && !log_stopping && !log_reopen_wanted && !timed_out) {
            if (log_suppressed > 0 || slc_log_outputs_wait(log_out))
                timed_out = uv_cond_timedwait(&log_wake, &log_lock, SLC_NS_PER_S) != 0;
            else
                uv_cond_wait(&log_wake, &log_lock);
        }
        stop = log_stopping;
        bool reopen = log_reopen_wanted;
        log_reopen_wanted = false;

        slc_log_entry *entries = log_head;
        log_head = NULL;
        log_tail = &log_head;
        log_ring_bytes = 0;
        uint64_t lost = log_ring_lost;
        log_ring_lost = 0;
        bool repeated = log_suppressed > 0;
        uv_mutex_unlock(&log_lock);

        log_write_entries(entries);
        if (lost > 0)
            log_say_dropped(lost);
        if (repeated)
            log_summarise(stop);
        if (reopen)
            log_file_reopen();
        log_say_socket(SLC_LOG_SYSLOG, "log.syslog");
        log_say_socket(SLC_LOG_JOURNAL, "log.journald");
    }
}

// @locked. Takes entry.
static void log_append(slc_log_entry *entry)
{
    *log_tail = entry;
    log_tail = &entry->next;
    uv_cond_signal(&log_wake);
}

// @locked. From the thresholds to who wants what.
static void log_thresholds_apply(void)
{
    int least = SLC_LOG_NONE;
    for (uint32_t c = 0; c < LOG_CATEGORIES; c++) {
        for (int level = SLC_LOG_DEBUG; level < SLC_LOG_NONE; level++) {
            uint8_t wanted = 0;
            for (uint32_t o = 0; o < SLC_LOG_OUTPUT_COUNT; o++)
                if ((log_open & 1u << o) != 0 && level >= (int)log_thresholds[o][c])
                    wanted |= (uint8_t)(1u << o);
            atomic_store_explicit(&log_wanted[c][level], wanted, memory_order_relaxed);
            if (wanted != 0 && level < least)
                least = level;
        }
    }
    atomic_store(&log_least, least);
}

// @locked
static void log_options_apply(const slc_log_options *options, const slc_log_outputs *outputs)
{
    const slc_log_level levels[SLC_LOG_OUTPUT_COUNT] = {
        [SLC_LOG_CONSOLE] = options->level,         [SLC_LOG_FILE] = options->file_level,
        [SLC_LOG_LINES] = options->line_level,      [SLC_LOG_SYSLOG] = options->syslog.level,
        [SLC_LOG_JOURNAL] = options->journal_level,
    };
    for (uint32_t o = 0; o < SLC_LOG_OUTPUT_COUNT; o++)
        for (uint32_t c = 0; c < LOG_CATEGORIES; c++)
            log_thresholds[o][c] = levels[o];
    for (uint32_t i = 0; i < options->category_count; i++)
        for (uint32_t o = 0; o < SLC_LOG_OUTPUT_COUNT; o++)
            log_thresholds[o][log_category(options->categories[i].category)] =
                options->categories[i].level;
    log_open = slc_log_outputs_open(outputs);
    log_json = slc_log_outputs_json(outputs);
    snprintf(log_node, sizeof log_node, "%s", options->node == NULL ? "" : options->node);
    log_thresholds_apply();
}

void slc_log_set_level(slc_log_level level)
{
    SLC_ASSERT(level < SLC_LOG_NONE);
    uv_once(&log_once, log_setup);
    uv_mutex_lock(&log_lock);
    for (uint32_t o = 0; log_running && o < SLC_LOG_OUTPUT_COUNT; o++)
        for (uint32_t c = 0; c < LOG_CATEGORIES; c++)
            if (log_thresholds[o][c] != SLC_LOG_NONE)
                log_thresholds[o][c] = level;
    if (log_running)
        log_thresholds_apply();
    uv_mutex_unlock(&log_lock);
}

slc_err slc_log_start(const slc_log_options *options, slc_error *error)
{
    uv_once(&log_once, log_setup);
    SLC_ASSERT(!log_running);
    slc_log_outputs *outputs = NULL;
    slc_err rc = slc_log_outputs_new(options, &outputs, error);
    if (rc != SLC_OK)
        return rc;

    uv_mutex_lock(&log_lock);
    log_out = outputs;
    log_stopping = false;
    uv_mutex_unlock(&log_lock);
    int started = uv_thread_create(&log_thread, log_writer, NULL);
    if (started != 0) {
        slc_log_outputs_free(log_out);
        log_out = NULL;
        return slc_error_set(error, slc_err_from_errno(started), "cannot start the log thread: %s",
                             uv_strerror(started));
    }
    uv_mutex_lock(&log_lock);
    log_options_apply(options, outputs);
    log_running = true;
    uv_mutex_unlock(&log_lock);
    return SLC_OK;
}

slc_err slc_log_configure(const slc_log_options *options, slc_error *error)
{
    uv_once(&log_once, log_setup);
    slc_log_outputs *outputs = NULL;
    slc_err rc = slc_log_outputs_new(options, &outputs, error);
    if (rc != SLC_OK)
        return rc;
    slc_log_entry *change = slc_alloc(sizeof *change);
    *change = (slc_log_entry){.outputs = outputs};
    uv_mutex_lock(&log_lock);
    SLC_ASSERT(log_running);
    log_options_apply(options, outputs);
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
    slc_log_outputs_free(log_out);
    log_out = NULL;
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

// @locked. Takes entry.
static void log_push(slc_log_entry *entry)
{
    size_t bytes = log_entry_size(entry);
    size_t room = entry->level >= SLC_LOG_WARN ? LOG_RING_BYTES : LOG_RING_BYTES / 2;
    if (log_ring_bytes + bytes > room) {
        log_ring_lost++;
        atomic_fetch_add_explicit(&log_lost, 1, memory_order_relaxed);
        slc_free(entry);
        return;
    }
    log_ring_bytes += bytes;
    log_append(entry);
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

    uint32_t number = log_category(category);
    char node[LOG_NODE_BYTES];
    uv_mutex_lock(&log_lock);
    bool running = log_running;
    uint32_t wanted = 1u << SLC_LOG_CONSOLE, json = 0;
    if (running) {
        wanted = atomic_load_explicit(&log_wanted[number][level], memory_order_relaxed);
        if (log_muted)
            wanted &= ~(1u << SLC_LOG_LINES);
        json = log_json;
    }
    if (wanted == 0 || (running && !log_rate_pass(level, category, event))) {
        uv_mutex_unlock(&log_lock);
        return;
    }
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

    slc_log_entry *entry = log_entry_new(&record, wanted, json);
    uv_mutex_lock(&log_lock);
    running = log_running;
    if (running)
        log_push(entry);
    uv_mutex_unlock(&log_lock);
    if (!running) {
        slc_log_write_stderr(entry);
        slc_free(entry);
    }
}
