/** Who may log in.
 *
 *  The users of this release are the one of the configuration (default_user, default_pass). Front
 * ends see only slc_auth_check, so a store of users can take its place. Thread: the loop.
 *  @spec amqp-semantics 4.2
 */
#ifndef SLC_AUTH_AUTH_H
#define SLC_AUTH_AUTH_H

#include <stdint.h>

#include "base/error.h"
#include "base/slice.h"

/** Longer passwords are refused. */
enum { SLC_AUTH_PASSWORD_BYTES_MAX = 1024 };

typedef struct slc_auth slc_auth;

typedef struct slc_auth_options {
    const char *default_user;
    const char *default_pass;
    const char *const *loopback_users; // names that may only come from this machine
    uint32_t loopback_user_count;
} slc_auth_options;

/** options are copied. */
slc_auth *slc_auth_new(const slc_auth_options *options);
void slc_auth_free(slc_auth *auth);
/** Reload; connections that are open stay. */
void slc_auth_set(slc_auth *auth, const slc_auth_options *options);

/** @param loopback the peer is on this machine.
 *  @return SLC_OK; SLC_EACCESS: refused; error has the reason for the log, which the peer must not
 * see. The time taken does not depend on where the password differs. Empty passwords are refused.
 */
SLC_MUST_USE slc_err slc_auth_check(const slc_auth *auth, slc_slice user, slc_slice password,
                                    bool loopback, slc_error *error);
/** The same for a user whom the transport has proved (EXTERNAL): there must be such a user. */
SLC_MUST_USE slc_err slc_auth_check_external(const slc_auth *auth, slc_slice user, bool loopback,
                                             slc_error *error);

#endif
