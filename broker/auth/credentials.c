#include "auth/credentials.h"

#include "base/alloc.h"

void slc_credentials_init(slc_credentials *c, const slc_credentials_options *options)
{
    *c = (slc_credentials){.rule = options->rule, .min_length = options->min_length};
    if (c->rule == SLC_CREDENTIAL_REGEXP) {
        slc_err rc = slc_pattern_new(slc_slice_str(options->regexp), &c->pattern, NULL);
        SLC_ASSERT(rc == SLC_OK); // the settings have tried
    }
}

void slc_credentials_fini(slc_credentials *c)
{
    slc_pattern_free(c->pattern);
    *c = (slc_credentials){0};
}

slc_err slc_credentials_check(const slc_credentials *c, slc_slice password, slc_error *error)
{
    switch (c->rule) {
    case SLC_CREDENTIAL_ANY:
        break;
    case SLC_CREDENTIAL_MIN_LENGTH:
        if (password.bytes < c->min_length)
            return slc_error_set(error, SLC_EPRECONDITION, "minimum required password length is %u",
                                 c->min_length);
        break;
    case SLC_CREDENTIAL_REGEXP:
        if (slc_pattern_match(c->pattern, password) != SLC_PATTERN_YES)
            return slc_error_set(
                error, SLC_EPRECONDITION,
                "provided password does not match the validator regular expression");
        break;
    }
    return SLC_OK;
}
