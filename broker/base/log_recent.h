/** The last lines of the log, in memory: what `sluicectl log_tail` shows, also where the log is a terminal or the journal.
 *
 *  At most 256 KiB of them; the oldest go first. Lines are numbered from 1 on, so that a reader can come back for what is new.
 *  Thread: any.
 */
#ifndef SLC_BASE_LOG_RECENT_H
#define SLC_BASE_LOG_RECENT_H

#include <stdint.h>

#include "base/log.h"

enum { SLC_LOG_RECENT_BYTES_MAX = 256 * 1024 };

/** Keep a line with its line end. */
void slc_log_recent_add(slc_log_level level, const char *text, size_t bytes);
/** Call each for the last count lines of at least that level with a number above after, the oldest first, without their line ends. It
 *  must not log. Returns the number of the newest line there is. */
uint64_t slc_log_recent(uint32_t count, slc_log_level level, uint64_t after,
                        void (*each)(const char *text, size_t bytes, void *arg), void *arg);

#endif
