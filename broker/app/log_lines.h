/** Lines of the log on their way to the exchange amq.rabbitmq.log.
 *
 *      writer thread of the log ──> line (a copy) ──mailbox, bounded──> loop: slc_broker_log_line
 *
 *  What does not fit is dropped and counted; when the box is empty again a line, which is not published, says how many. Lines
 *  that the publishing of such a line makes are muted (slc_log_mute), so that none makes another.
 *
 *  Owner: the daemon. Thread: the loop, but for the lines that come in.
 */
#ifndef SLC_APP_LOG_LINES_H
#define SLC_APP_LOG_LINES_H

#include "base/mailbox.h"
#include "core/broker.h"

enum { SLC_LOG_LINES_BYTES_MAX = 1024 * 1024 };

typedef struct slc_log_lines_box {
    slc_mailbox mailbox;
    slc_broker *broker;
    bool open;
    _Atomic uint64_t bytes;   // of lines that are on their way
    _Atomic uint64_t dropped; // since the start
    uint64_t told;            // of those, in the log
} slc_log_lines_box;

/** From now on lines are taken. */
SLC_MUST_USE slc_err slc_log_lines_open(slc_log_lines_box *box, uv_loop_t *loop, slc_broker *broker,
                                        slc_error *error);
/** No more; those that came are handled. The box may be freed when the loop has ended. Fine if it never opened. */
void slc_log_lines_close(slc_log_lines_box *box);

#endif
