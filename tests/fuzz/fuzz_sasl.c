// SASL responses. The first octet picks the mechanism, the rest is the response: a stranger's, before anybody is logged in.
// Credentials lie inside the response, a good PLAIN response is exactly its parts, an error never quotes what may be a password.
#include "fuzz.h"

#include <stdio.h>

#include "auth/sasl.h"
#include "base/alloc.h"

static const char *const names[] = {"PLAIN", "AMQPLAIN", "EXTERNAL"};

static void check_inside(slc_slice part, slc_slice whole)
{
    SLC_ASSERT(part.data >= whole.data);
    SLC_ASSERT(part.data + part.bytes <= whole.data + whole.bytes);
}

static void check_plain(const slc_sasl_credentials *given, slc_slice response)
{
    SLC_ASSERT(given->user.bytes + given->password.bytes + 2 == response.bytes);
    SLC_ASSERT(given->user.data == response.data + 1);
    SLC_ASSERT(given->password.data == given->user.data + given->user.bytes + 1);
    SLC_ASSERT(memchr(given->user.data, 0, given->user.bytes) == NULL);
    SLC_ASSERT(given->password.bytes == 0 ||
               memchr(given->password.data, 0, given->password.bytes) == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    slc_sasl_credentials given = {0};
    slc_slice challenge = {0};
    slc_error error = {0};
    if (bytes == 0)
        return 0;
    const char *name = names[data[0] % SLC_ARRAY_COUNT(names)];
    slc_slice response = slc_slice_of(data + 1, bytes - 1);
    const slc_sasl_mechanism *mechanism = slc_sasl_find(slc_slice_str(name));
    slc_err rc = mechanism->respond(response, &given, &challenge, &error);
    SLC_ASSERT(rc == SLC_OK || rc == SLC_ESYNTAX);
    SLC_ASSERT((rc == SLC_ESYNTAX) == (error.text[0] != '\0'));
    if (rc != SLC_OK) {
        // The text has the length of the response, and nothing else of it.
        char wanted[64];
        snprintf(wanted, sizeof wanted, "response of %zu octets invalid", response.bytes);
        SLC_ASSERT(strcmp(error.text, wanted) == 0 ||
                   strcmp(error.text, "AMQPLAIN auth info is missing LOGIN or PASSWORD field") ==
                       0);
        return 0;
    }
    if (mechanism->external) {
        SLC_ASSERT(given.user.bytes == 0 && given.password.bytes == 0);
        return 0;
    }
    check_inside(given.user, response);
    check_inside(given.password, response);
    if (data[0] % SLC_ARRAY_COUNT(names) == 0)
        check_plain(&given, response);
    return 0;
}
