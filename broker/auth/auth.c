#include "auth/auth.h"

#include "base/alloc.h"

struct slc_auth {
    char *user;
    slc_slice password; // owned; bytes 0: nobody can log in
    char **loopback_users;
    uint32_t loopback_user_count;
};

static void auth_fini(slc_auth *auth)
{
    slc_free(auth->user);
    if (auth->password.bytes > 0)
        explicit_bzero((void *)(uintptr_t)auth->password.data, auth->password.bytes);
    slc_free((void *)(uintptr_t)auth->password.data);
    for (uint32_t i = 0; i < auth->loopback_user_count; i++)
        slc_free(auth->loopback_users[i]);
    slc_free(auth->loopback_users);
}

void slc_auth_set(slc_auth *auth, const slc_auth_options *options)
{
    auth_fini(auth);
    *auth = (slc_auth){
        .user = slc_strdup(options->default_user),
        .password = slc_slice_str(slc_strdup(options->default_pass)),
        .loopback_user_count = options->loopback_user_count,
    };
    if (options->loopback_user_count == 0)
        return;
    auth->loopback_users = slc_alloc_zero(options->loopback_user_count, sizeof(char *));
    for (uint32_t i = 0; i < options->loopback_user_count; i++)
        auth->loopback_users[i] = slc_strdup(options->loopback_users[i]);
}

slc_auth *slc_auth_new(const slc_auth_options *options)
{
    slc_auth *auth = slc_alloc_zero(1, sizeof *auth);
    slc_auth_set(auth, options);
    return auth;
}

void slc_auth_free(slc_auth *auth)
{
    if (auth == NULL)
        return;
    auth_fini(auth);
    slc_free(auth);
}

/** Equal? Both are laid into buffers of one fixed size, so that every comparison does the same work
 * whatever their lengths and contents are. */
static bool password_equal(slc_slice a, slc_slice b)
{
    uint8_t left[SLC_AUTH_PASSWORD_BYTES_MAX] = {0};
    uint8_t right[SLC_AUTH_PASSWORD_BYTES_MAX] = {0};
    if (a.bytes > sizeof left || b.bytes > sizeof right)
        return false;
    if (a.bytes > 0)
        memcpy(left, a.data, a.bytes);
    if (b.bytes > 0)
        memcpy(right, b.data, b.bytes);
    volatile size_t differ = a.bytes ^ b.bytes;
    for (size_t i = 0; i < sizeof left; i++)
        differ |= (size_t)(left[i] ^ right[i]);
    explicit_bzero(left, sizeof left);
    explicit_bzero(right, sizeof right);
    return differ == 0;
}

static slc_err place_check(const slc_auth *auth, slc_slice user, bool loopback, slc_error *error)
{
    for (uint32_t i = 0; !loopback && i < auth->loopback_user_count; i++)
        if (slc_slice_is(user, auth->loopback_users[i]))
            return slc_error_set(error, SLC_EACCESS, "user '%.*s' can only connect via localhost",
                                 SLC_SLICE_FMT(user));
    return SLC_OK;
}

slc_err slc_auth_check(const slc_auth *auth, slc_slice user, slc_slice password, bool loopback,
                       slc_error *error)
{
    bool known = slc_slice_is(user, auth->user);
    bool equal = password_equal(
        password, auth->password); // also for unknown users: the time must not tell them apart
    if (!known || !equal || password.bytes == 0)
        return slc_error_set(error, SLC_EACCESS, "user '%.*s' - invalid credentials",
                             SLC_SLICE_FMT(user));
    return place_check(auth, user, loopback, error);
}

slc_err slc_auth_check_external(const slc_auth *auth, slc_slice user, bool loopback,
                                slc_error *error)
{
    if (!slc_slice_is(user, auth->user))
        return slc_error_set(error, SLC_EACCESS, "user '%.*s' - not found", SLC_SLICE_FMT(user));
    return place_check(auth, user, loopback, error);
}
