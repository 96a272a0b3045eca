#include <criterion/criterion.h>
#include <string.h>

#include "base/clock.h"
#include "http/login.h"

enum { IDLE_MS = 1000 };

static const slc_login *login(slc_logins *logins, const char *user, uint64_t at_ms)
{
    return slc_logins_open(logins, user, slc_slice_str("hash"), true, at_ms * SLC_NS_PER_MS);
}

static const slc_login *find(slc_logins *logins, const char *token, uint64_t at_ms)
{
    return slc_logins_find(logins, token, at_ms * SLC_NS_PER_MS);
}

Test(login, lasts_while_it_is_used, .timeout = 60)
{
    slc_logins *logins = slc_logins_new(IDLE_MS);
    const slc_login *one = login(logins, "a", 1);
    char token[SLC_LOGIN_TOKEN_CHARS + 1];
    strcpy(token, one->token);
    cr_assert_eq(strlen(token), SLC_LOGIN_TOKEN_CHARS);
    cr_assert_str_neq(one->token, one->csrf);
    cr_assert(slc_slice_is(one->password_hash, "hash"));
    for (uint64_t at = 1; at < 10 * IDLE_MS; at += IDLE_MS) {
        one = find(logins, token, at);
        cr_assert_not_null(one);
        cr_assert_str_eq(one->user, "a");
    }
    cr_assert_null(find(logins, token, 20 * IDLE_MS));
    cr_assert_null(find(logins, token, 20 * IDLE_MS));
    slc_logins_free(logins);
}

Test(login, unknown_tokens, .timeout = 60)
{
    slc_logins *logins = slc_logins_new(IDLE_MS);
    const slc_login *one = login(logins, "a", 1);
    char token[SLC_LOGIN_TOKEN_CHARS + 1];
    strcpy(token, one->token);
    cr_assert_null(find(logins, "", 1));
    cr_assert_null(find(logins, token + 1, 1));
    token[0] = token[0] == 'a' ? 'b' : 'a';
    cr_assert_null(find(logins, token, 1));
    slc_logins_close(logins, token);
    cr_assert_not_null(find(logins, one->token, 1));
    slc_logins_close(logins, one->token);
    slc_logins_free(logins);
}

// Whoever has the right password cannot fill the memory.
Test(login, the_one_used_the_longest_ago_goes, .timeout = 60)
{
    slc_logins *logins = slc_logins_new(UINT64_C(1000) * 3600);
    char first[SLC_LOGIN_TOKEN_CHARS + 1], second[SLC_LOGIN_TOKEN_CHARS + 1];
    strcpy(first, login(logins, "a", 1)->token);
    strcpy(second, login(logins, "b", 2)->token);
    cr_assert_not_null(find(logins, first, 3));
    for (uint32_t i = 2; i <= SLC_LOGINS_MAX; i++)
        login(logins, "more", 3 + i);
    cr_assert_null(find(logins, second, 2000));
    cr_assert_not_null(find(logins, first, 2000));
    slc_logins_free(logins);
}
