/** What the files of the log share: log.c (levels, limits, ring, thread), log_format.c (how a line looks), log_output.c (where it
 *  goes), log_socket.c (outputs behind a socket), log_syslog.c (the header of a syslog line). Private to them.
 */
#ifndef SLC_BASE_LOG_IMPL_H
#define SLC_BASE_LOG_IMPL_H

#include <time.h>

#include "base/log.h"
#include "base/log_socket.h"

/** Longer sentences are cut and end in "...". A line has room for the longest with every octet
 * escaped as \u0000. */
enum { SLC_LOG_MESSAGE_BYTES_MAX = 2048, SLC_LOG_LINE_BYTES_MAX = 16384 };

typedef enum slc_log_output {
    SLC_LOG_CONSOLE,
    SLC_LOG_FILE,
    SLC_LOG_LINES,
    SLC_LOG_SYSLOG,
    SLC_LOG_JOURNAL,
    SLC_LOG_OUTPUT_COUNT
} slc_log_output;

typedef struct slc_log_record {
    struct timespec time; // CLOCK_REALTIME
    slc_log_level level;
    const char *category;
    const char *event;
    slc_fields fields;
    const char *node; // may be NULL
    const char *message;
} slc_log_record;

/** One line with its newline into out (SLC_LOG_LINE_BYTES_MAX); returns its bytes. The sentence of a plain one begins at
 *  *message_at. No state, no allocation. */
size_t slc_log_format_plain(const slc_log_record *record, char *out, size_t *message_at);
size_t slc_log_format_json(const slc_log_record *record, char *out);
/** An entry of the native protocol of systemd's journal: NAME=value lines. */
size_t slc_log_format_journal(const slc_log_record *record, char *out);

/** A line in the ring, or new outputs that hold for the lines behind it. */
typedef struct slc_log_entry {
    struct slc_log_entry *next;
    struct slc_log_outputs *outputs; // not a line; owned
    slc_log_level level;
    struct timespec time;
    const char *event;
    uint32_t wanted; // bits by slc_log_output
    uint32_t message_at;
    uint32_t plain_bytes; // 0: not made; so for the next, which stand behind it in this order
    uint32_t json_bytes;
    uint32_t journal_bytes;
    char text[];
} slc_log_entry;

typedef struct slc_log_outputs slc_log_outputs;

/** Open what options name. SLC_EINVAL, SLC_EACCESS, ...: the file cannot be opened. A socket that is not there is no error. */
SLC_MUST_USE slc_err slc_log_outputs_new(const slc_log_options *options, slc_log_outputs **out,
                                         slc_error *error);
/** NULL is fine. Waits up to a second for a TCP peer that is slow to take the last lines. */
void slc_log_outputs_free(slc_log_outputs *outputs);
/** Bits by slc_log_output of those that are open and write JSON. */
uint32_t slc_log_outputs_open(const slc_log_outputs *outputs);
uint32_t slc_log_outputs_json(const slc_log_outputs *outputs);
/** To the outputs of entry->wanted; false: one of them did not take it. */
bool slc_log_outputs_write(slc_log_outputs *outputs, const slc_log_entry *entry);
/** The file by its name anew. 0, or errno: the old one stays. */
int slc_log_outputs_reopen(slc_log_outputs *outputs);
const char *slc_log_outputs_path(const slc_log_outputs *outputs);
/** The socket of SLC_LOG_SYSLOG or SLC_LOG_JOURNAL; NULL: that output is off. */
slc_log_socket *slc_log_outputs_socket(slc_log_outputs *outputs, slc_log_output output);
/** Whether a socket wants a turn within a second, even if there are no lines. */
bool slc_log_outputs_wait(const slc_log_outputs *outputs);

/** stderr and nothing else, before the start and after the stop. */
void slc_log_write_stderr(const slc_log_entry *entry);

enum { SLC_LOG_SYSLOG_BYTES_MAX = SLC_LOG_LINE_BYTES_MAX + 1024 };

/** What stands before the text of every syslog line. */
typedef struct slc_log_syslog {
    uint8_t facility;
    bool rfc5424;
    bool local; // RFC 3164 on the socket of this machine: no host name, as syslog(3) writes it
    char host[256];
    char identity[49]; // 48: APP-NAME of RFC 5424
    int pid;
} slc_log_syslog;

/** The whole message without framing into out (SLC_LOG_SYSLOG_BYTES_MAX). text is the sentence or a JSON object, cut where it
 *  does not fit. */
size_t slc_log_syslog_format(const slc_log_syslog *syslog, slc_log_level level,
                             const struct timespec *time, const char *event, const char *text,
                             size_t bytes, char *out);

#endif
