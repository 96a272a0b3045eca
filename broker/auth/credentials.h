/** What a new password must be like, by the names that RabbitMQ has for it (credential_validator.*). Hashes that are taken over and
 *  passwords that are checked are not looked at. Thread: any, one at a time for one. @spec operations 4.2
 */
#ifndef SLC_AUTH_CREDENTIALS_H
#define SLC_AUTH_CREDENTIALS_H

#include "auth/pattern.h"

typedef enum slc_credential_rule {
    SLC_CREDENTIAL_ANY,        // rabbit_credential_validator_accept_everything
    SLC_CREDENTIAL_MIN_LENGTH, // rabbit_credential_validator_min_password_length: octets
    SLC_CREDENTIAL_REGEXP,     // rabbit_credential_validator_password_regexp: it is found somewhere
} slc_credential_rule;

typedef struct slc_credentials_options {
    slc_credential_rule rule;
    uint32_t min_length;
    const char *regexp; // compiles (slc_pattern_new)
} slc_credentials_options;

typedef struct slc_credentials {
    slc_credential_rule rule;
    uint32_t min_length;
    slc_pattern *pattern;
} slc_credentials;

void slc_credentials_init(slc_credentials *c, const slc_credentials_options *options);
void slc_credentials_fini(slc_credentials *c);
/** SLC_EPRECONDITION with RabbitMQ's sentence. */
SLC_MUST_USE slc_err slc_credentials_check(const slc_credentials *c, slc_slice password,
                                           slc_error *error);

#endif
