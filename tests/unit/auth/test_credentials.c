// What a new password must be like, with RabbitMQ's names and words.
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#include "auth/auth.h"

TestSuite(credentials);

static slc_err check(slc_credentials_options options, const char *password, slc_error *error)
{
    slc_credentials c;
    slc_credentials_init(&c, &options);
    slc_err rc = slc_credentials_check(&c, slc_slice_str(password), error);
    slc_credentials_fini(&c);
    return rc;
}

Test(credentials, anything_goes_unless_there_is_a_rule)
{
    cr_expect(eq(int, check((slc_credentials_options){0}, "", NULL), SLC_OK));
}

Test(credentials, a_length_counts_octets)
{
    slc_credentials_options six = {.rule = SLC_CREDENTIAL_MIN_LENGTH, .min_length = 6};
    slc_error error = {0};
    cr_expect(eq(int, check(six, "12345", &error), SLC_EPRECONDITION));
    cr_expect(eq(str, error.text, "minimum required password length is 6"));
    cr_expect(eq(int, check(six, "123456", NULL), SLC_OK));
    cr_expect(eq(int, check(six, "\xc3\xa4\xc3\xb6\xc3\xbc", NULL), SLC_OK));
    cr_expect(eq(int, check(six, "\xc3\xa4\xc3\xb6", NULL), SLC_EPRECONDITION));
}

Test(credentials, a_regular_expression_is_searched_for)
{
    slc_credentials_options digits = {.rule = SLC_CREDENTIAL_REGEXP, .regexp = "[0-9]{3}"};
    slc_error error = {0};
    cr_expect(eq(int, check(digits, "a12b3", &error), SLC_EPRECONDITION));
    cr_expect(
        eq(str, error.text, "provided password does not match the validator regular expression"));
    cr_expect(eq(int, check(digits, "ab123c", NULL), SLC_OK));
}

Test(credentials, an_expression_that_explodes_matches_nothing)
{
    slc_credentials_options bad = {.rule = SLC_CREDENTIAL_REGEXP, .regexp = "^(a+)+$"};
    cr_expect(eq(int, check(bad, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab", NULL),
                 SLC_EPRECONDITION));
    cr_expect(eq(int, check(bad, "aaaa", NULL), SLC_OK));
}

/* ---- and in users ---- */

typedef struct outcome {
    bool came;
    slc_err rc;
    char text[SLC_ERROR_TEXT_BYTES];
} outcome;

static void on_done(slc_err rc, const slc_error *error, void *arg)
{
    outcome *o = arg;
    *o = (outcome){.came = true, .rc = rc};
    if (error != NULL)
        memcpy(o->text, error->text, sizeof o->text);
}

static outcome put(uv_loop_t *loop, slc_auth *auth, slc_auth_user_change change)
{
    outcome o = {0};
    change.name = slc_slice_str("bob");
    slc_auth_user_put(auth, &change, on_done, &o);
    while (!o.came)
        uv_run(loop, UV_RUN_ONCE);
    return o;
}

Test(credentials, users_get_passwords_that_are_allowed_only)
{
    uv_loop_t loop;
    uv_loop_init(&loop);
    slc_auth_options options = {
        .loop = &loop,
        .hashing = SLC_AUTH_SHA256,
        .credentials = {.rule = SLC_CREDENTIAL_MIN_LENGTH, .min_length = 6}};
    slc_auth *auth = slc_auth_new(&options);
    slc_auth_user_change change = {.put = SLC_AUTH_PUT_UPSERT | SLC_AUTH_PUT_PASSWORD,
                                   .password = slc_slice_str("short")};
    outcome o = put(&loop, auth, change);
    cr_expect(eq(int, o.rc, SLC_EPRECONDITION));
    cr_expect(eq(str, o.text, "minimum required password length is 6"));
    cr_expect(eq(ptr, (void *)slc_auth_user_find(auth, slc_slice_str("bob")), NULL));

    change.password = slc_slice_str("longer");
    cr_expect(eq(int, put(&loop, auth, change).rc, SLC_OK));
    // A hash is taken as it is, and a password that was allowed before stays good.
    cr_expect(
        eq(int, put(&loop, auth, (slc_auth_user_change){.put = SLC_AUTH_PUT_HASH}).rc, SLC_OK));
    options.credentials = (slc_credentials_options){.rule = SLC_CREDENTIAL_REGEXP, .regexp = "^x"};
    slc_auth_set(auth, &options);
    o = put(&loop, auth, change);
    cr_expect(eq(int, o.rc, SLC_EPRECONDITION));
    cr_expect(eq(str, o.text, "provided password does not match the validator regular expression"));
    slc_auth_free(auth);
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
}
