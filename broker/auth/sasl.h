/** SASL mechanisms: how a user name and a password are packed. A new mechanism is a function and a
 * line in the table of sasl.c. Nothing is allocated; nothing is logged. Thread: any.  @spec
 * amqp-semantics 4.2
 */
#ifndef SLC_AUTH_SASL_H
#define SLC_AUTH_SASL_H

#include "base/error.h"
#include "base/slice.h"

typedef struct slc_sasl_credentials {
    slc_slice user, password; // point into the response
} slc_sasl_credentials;

typedef struct slc_sasl_mechanism {
    const char *name;
    const char *description; // RabbitMQ's words
    /** Read the client's response.
     *  @return SLC_OK: *out is filled and wants slc_auth_check; SLC_EPENDING: *challenge (static)
     * goes to the peer, whose answer is the next response; SLC_ESYNTAX: malformed (502). */
    slc_err (*respond)(slc_slice response, slc_sasl_credentials *out, slc_slice *challenge,
                       slc_error *error);
    /** The transport has checked who it is: the front end knows the user, *out stays empty. */
    bool external;
    /** The front end has a user for whoever comes, *out stays empty. */
    bool anonymous;
} slc_sasl_mechanism;

/** NULL: unknown. */
const slc_sasl_mechanism *slc_sasl_find(slc_slice name);
/** All of them from 0 on; NULL: no more. */
const slc_sasl_mechanism *slc_sasl_at(size_t i);

#endif
