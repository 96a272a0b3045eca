/** Readiness for systemd (and whoever else sets NOTIFY_SOCKET): one datagram per change of state, without libsystemd.
 *
 *  Does nothing where NOTIFY_SOCKET is not set. Never blocks: a datagram that does not fit is dropped. Thread: the main thread.
 *  Spec: operations 3; sd_notify(3).
 */
#ifndef SLC_APP_NOTIFY_H
#define SLC_APP_NOTIFY_H

#include "base/error.h"

/** Take the address from the environment, and the variable out of it. SLC_EINVAL: it is no address of a unix socket. */
SLC_MUST_USE slc_err slc_notify_open(slc_error *error);
void slc_notify_close(void);

/** Assignments as sd_notify takes them: "READY=1\nSTATUS=accepting connections". SLC_OK also when nobody listens. */
slc_err slc_notify(const char *format, ...) SLC_PRINTF(1, 2);

/** READY=1; status may be NULL. */
void slc_notify_ready(const char *status);
/** STATUS=...: progress, for systemctl status. */
void slc_notify_status(const char *status);
/** RELOADING=1 with the time it began; slc_notify_ready ends it. */
void slc_notify_reloading(void);
/** STOPPING=1 */
void slc_notify_stopping(void);

#endif
