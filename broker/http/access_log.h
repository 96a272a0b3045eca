/** A line for each answered request, in the combined format that log readers know, in files of an hour each:
 *  DIR/access.log.2026_11_30_19, as RabbitMQ names them (UTC).
 *
 *  Owner: the http server. Thread: the http thread. A line that cannot be written is lost and counted in one warning.
 */
#ifndef SLC_HTTP_ACCESS_LOG_H
#define SLC_HTTP_ACCESS_LOG_H

#include <stdint.h>

#include "base/error.h"

typedef struct slc_access_log slc_access_log;

typedef struct slc_access_log_line {
    const char *address; // "": none
    const char *user;    // NULL: none
    const char *method, *path;
    unsigned status;
    uint64_t bytes;
    const char *referer, *agent; // NULL: none
} slc_access_log_line;

/** The directory is there and can be written to: SLC_ENOTFOUND, SLC_EACCESS, ... */
SLC_MUST_USE slc_err slc_access_log_open(const char *dir, slc_access_log **out, slc_error *error);
/** NULL is fine. */
void slc_access_log_close(slc_access_log *log);
void slc_access_log_write(slc_access_log *log, const slc_access_log_line *line);

#endif
