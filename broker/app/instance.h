/** The data directory as this process holds it: made when missing, locked, named, and with the addresses it serves.
 *
 *  Files: LOCK (flock while the daemon runs), node.id (16 random octets in hex, written once), addresses (lines
 *  `name=value`, there while the daemon accepts connections: pid, amqp.1 .., admin). Thread: the loop's.
 */
#ifndef SLC_APP_INSTANCE_H
#define SLC_APP_INSTANCE_H

#include <stdio.h>

#include "base/error.h"

typedef struct slc_instance {
    char *dir;   // absolute
    char id[33]; // node.id
    int lock_fd;
} slc_instance;

/** SLC_EBUSY: another process holds it; SLC_EACCESS, SLC_ENOSPC, SLC_EIO: with the path and what to do. */
SLC_MUST_USE slc_err slc_instance_open(slc_instance *instance, const char *dir, slc_error *error);
/** Replace the addresses file by what write prints; atomically. */
SLC_MUST_USE slc_err slc_instance_publish(const slc_instance *instance,
                                          void (*write)(FILE *out, void *arg), void *arg,
                                          slc_error *error);
/** Remove the addresses file: connections are no longer accepted. */
void slc_instance_withdraw(const slc_instance *instance);
void slc_instance_close(slc_instance *instance);

#endif
