#include "auth/sasl.h"

#include "base/alloc.h"
#include "base/table.h"

/** The response holds a password, so errors do not quote it. */
static slc_err response_invalid(slc_slice response, slc_error *error)
{
    return slc_error_set(error, SLC_ESYNTAX, "response of %zu octets invalid", response.bytes);
}

/** NUL user NUL password */
static slc_err plain_respond(slc_slice response, slc_sasl_credentials *out, slc_slice *challenge,
                             slc_error *error)
{
    (void)challenge;
    if (response.bytes < 2 || response.data[0] != 0)
        return response_invalid(response, error);
    const uint8_t *user = response.data + 1;
    size_t rest = response.bytes - 1;
    const uint8_t *nul = memchr(user, 0, rest);
    if (nul == NULL)
        return response_invalid(response, error);
    size_t user_bytes = (size_t)(nul - user);
    size_t password_bytes = rest - user_bytes - 1;
    if (password_bytes > 0 && memchr(nul + 1, 0, password_bytes) != NULL)
        return response_invalid(response, error);
    out->user = slc_slice_of(user, user_bytes);
    out->password = slc_slice_of(nul + 1, password_bytes);
    return SLC_OK;
}

static bool find_text(slc_slice table, const char *key, slc_slice *out)
{
    slc_value value;
    if (!slc_table_find(table, slc_slice_str(key), &value))
        return false;
    if (value.type != SLC_TYPE_LONGSTR && value.type != SLC_TYPE_BINARY)
        return false;
    *out = value.bytes;
    return true;
}

/** A field table without its length: LOGIN, PASSWORD. */
static slc_err amqplain_respond(slc_slice response, slc_sasl_credentials *out, slc_slice *challenge,
                                slc_error *error)
{
    (void)challenge;
    if (slc_table_check(response, NULL) != SLC_OK)
        return response_invalid(response, error);
    if (!find_text(response, "LOGIN", &out->user) ||
        !find_text(response, "PASSWORD", &out->password))
        return slc_error_set(error, SLC_ESYNTAX,
                             "AMQPLAIN auth info is missing LOGIN or PASSWORD field");
    return SLC_OK;
}

/** Whatever the response says: a certificate speaks (EXTERNAL), or nobody has to (ANONYMOUS, RFC 4505: a trace at most). */
static slc_err empty_respond(slc_slice response, slc_sasl_credentials *out, slc_slice *challenge,
                             slc_error *error)
{
    (void)response;
    (void)challenge;
    (void)error;
    *out = (slc_sasl_credentials){0};
    return SLC_OK;
}

static const slc_sasl_mechanism MECHANISMS[] = {
    {"PLAIN", "SASL PLAIN authentication mechanism", plain_respond},
    {"AMQPLAIN", "QPid AMQPLAIN mechanism", amqplain_respond},
    {"EXTERNAL",
     "TLS peer verification-based authentication plugin. Used in combination with the EXTERNAL "
     "SASL mechanism.",
     empty_respond, .external = true},
    {"ANONYMOUS", "SASL ANONYMOUS authentication mechanism", empty_respond, .anonymous = true},
};

const slc_sasl_mechanism *slc_sasl_find(slc_slice name)
{
    for (size_t i = 0; i < SLC_ARRAY_COUNT(MECHANISMS); i++)
        if (slc_slice_is(name, MECHANISMS[i].name))
            return &MECHANISMS[i];
    return NULL;
}

const slc_sasl_mechanism *slc_sasl_at(size_t i)
{
    return i < SLC_ARRAY_COUNT(MECHANISMS) ? &MECHANISMS[i] : NULL;
}
