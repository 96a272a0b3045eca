/** The log: an event with a name, fields and a sentence.
 *
 *      slc_log(SLC_LOG_WARN, "queue", "consumer.timeout",
 *              SLC_FIELDS(SLC_F_STR("queue", name), SLC_F_U64("unacked_ms", age_ms)),
 *              "consumer of queue '%s' has not acknowledged for %" PRIu64 " ms", name, age_ms);
 *
 *  There are five outputs: stderr, a file, syslog, systemd's journal, and the function of slc_log_lines. Each has a level,
 *  and most a choice of plain text or JSON. A category may have a level of its own; for its lines that one counts in every
 *  output, higher or lower than the output's. Plain text prints time, level, category and the sentence; when the first field
 *  is a number named as the category, the line says <connection#12>. JSON and the journal get all fields. What is no printable
 *  UTF-8 is escaped, so that no name a peer chose can forge a line. Never bodies, passwords or tokens.
 *
 *  What a peer can trigger is rate limited: repeats of the same event in the same category beyond 20 a second are dropped
 *  and summarised ("... repeated 120 times"); the categories audit and config, which only an operator fills, are not. A
 *  writer thread takes lines from a bounded ring (2 MiB); when half of it is full, debug and info lines are dropped and
 *  counted, the other half is for warnings and errors. Nobody ever waits for the disk, the terminal or a socket; a socket that
 *  is absent or takes nothing loses lines, which the other outputs say once, and again when it is over. Before slc_log_start
 *  (and after slc_log_stop) lines go to stderr at once, in the caller's thread, as plain text from info up.
 *
 *  Thread: any.
 */
#ifndef SLC_BASE_LOG_H
#define SLC_BASE_LOG_H

#include <stdint.h>

#include "base/error.h"

typedef enum slc_log_level {
    SLC_LOG_DEBUG,
    SLC_LOG_INFO,
    SLC_LOG_WARN,
    SLC_LOG_ERROR,
    SLC_LOG_NONE, // as a threshold: nothing
} slc_log_level;

typedef struct slc_field {
    const char *name;
    const char *text; // NULL: the number counts
    uint64_t number;
} slc_field;

typedef struct slc_fields {
    const slc_field *fields;
    uint32_t count;
} slc_fields;

#define SLC_F_STR(name_, text_)  ((slc_field){.name = (name_), .text = (text_)})
#define SLC_F_U64(name_, value_) ((slc_field){.name = (name_), .number = (value_)})
#define SLC_FIELDS(...)                                                                            \
    ((slc_fields){(const slc_field[]){__VA_ARGS__},                                                \
                  sizeof((const slc_field[]){__VA_ARGS__}) / sizeof(slc_field)})
#define SLC_NO_FIELDS ((slc_fields){0})

/** A level for the lines of one category (log.connection.level): in every output it counts instead of the output's. */
typedef struct slc_log_category_level {
    const char *category; // one of slc_log_category_name
    slc_log_level level;
} slc_log_category_level;

typedef struct slc_log_syslog_options {
    bool on;
    slc_log_level level;
    bool json;
    const char *socket; // of the syslog daemon on this machine; counts when host is NULL
    const char *host;   // address or name of another one; looked up by a thread, so nobody waits
    uint16_t port;
    bool tcp;             // else UDP
    bool rfc5424;         // else the older RFC 3164
    uint8_t facility;     // 0 to 23, RFC 5424 table 1
    const char *identity; // name of the program in the lines
} slc_log_syslog_options;

typedef struct slc_log_options {
    slc_log_level
        level; // least level written to stderr; SLC_LOG_NONE: nothing, but for categories with a level
    bool console_off; // nothing at all
    bool json;
    const char *file; // NULL: none; else appended to (mode 0640), reopened by slc_log_reopen
    slc_log_level file_level;
    bool file_json;
    uint64_t file_bytes_max; // a line that would make it longer goes to a new file; 0: any length
    uint32_t file_old;       // that many old ones stay, as FILE.0 (the newest), FILE.1, ...
    const char *node;        // for JSON lines and the journal; may be NULL
    bool lines;              // lines are given to the function of slc_log_lines too
    slc_log_level line_level;
    bool line_json;
    slc_log_syslog_options syslog;
    bool journal; // stderr is off then where it leads to the journal too: no line twice
    slc_log_level journal_level;
    const char *journal_socket; // systemd's is /run/systemd/journal/socket
    const slc_log_category_level *categories;
    uint32_t category_count;
} slc_log_options;

/** Start the writer thread. Options are copied. */
SLC_MUST_USE slc_err slc_log_start(const slc_log_options *options, slc_error *error);
/** Change all of it while running (SIGHUP). When the file cannot be opened nothing changes. */
SLC_MUST_USE slc_err slc_log_configure(const slc_log_options *options, slc_error *error);
/** Reopen the file (SIGUSR1, logrotate). When that fails the old one stays, and a line says so. */
void slc_log_reopen(void);
/** From now on this is the least level of every output and every category, but for those that write nothing (none), until the next
 *  slc_log_configure (`set_log_level`). Not SLC_LOG_NONE. */
void slc_log_set_level(slc_log_level level);
/** Write out what is in the ring and stop the thread. */
void slc_log_stop(void);

typedef struct slc_log_line {
    slc_log_level level;
    uint64_t time_s; // wall clock
    bool json;
    const char *text; // with its line end; borrowed for the call
    size_t bytes;
} slc_log_line;

/** Give each line to line() too, from the writer thread: it must not wait, and not log. NULL: no more, and none is under way on
 *  return. The lines of the log about itself (dropped, repeated) are not given. @thread any but the writer's. */
void slc_log_lines(void (*line)(const slc_log_line *line, void *arg), void *arg);
/** What this thread logs until it says false is not given to the function of slc_log_lines: whoever handles such a line must not
 *  make another one by that. */
void slc_log_mute(bool on);

/** Whether a line of this level would be written anywhere. */
bool slc_log_enabled(slc_log_level level);
/** "debug", "info", "warning", "error", "none" */
const char *slc_log_level_name(slc_log_level level);
/** "info", also for notice; critical, alert and emergency are error. false: not a level. */
bool slc_log_level_find(const char *name, slc_log_level *out);
/** The names of categories by number from 0; NULL: no more. */
const char *slc_log_category_name(uint32_t number);
/** category and event are literals, the category one of slc_log_category_name (another one counts as default). */
void slc_log(slc_log_level level, const char *category, const char *event, slc_fields fields,
             const char *format, ...) SLC_PRINTF(5, 6);
/** Lines dropped since the start because the ring was full or a sink could not be written. */
uint64_t slc_log_dropped(void);

#endif
