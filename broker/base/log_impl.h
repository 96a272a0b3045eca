/** How a log line looks. Private to log.c and log_format.c. No state, no allocation. */
#ifndef SLC_BASE_LOG_IMPL_H
#define SLC_BASE_LOG_IMPL_H

#include <time.h>

#include "base/log.h"

/** Longer sentences are cut and end in "...". A line has room for the longest with every octet
 * escaped as \u0000. */
enum { SLC_LOG_MESSAGE_BYTES_MAX = 2048, SLC_LOG_LINE_BYTES_MAX = 16384 };

typedef struct slc_log_record {
    struct timespec time; // CLOCK_REALTIME
    slc_log_level level;
    const char *category;
    const char *event;
    slc_fields fields;
    const char *node; // may be NULL
    const char *message;
} slc_log_record;

/** One line with its newline into out (SLC_LOG_LINE_BYTES_MAX); returns its bytes. */
size_t slc_log_format_plain(const slc_log_record *record, char *out);
size_t slc_log_format_json(const slc_log_record *record, char *out);

#endif
