#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <string.h>

#include "base/error.h"

Test(error, every_code_has_name_and_text)
{
    for (int code = 0; code < SLC_ERR_COUNT; code++) {
        cr_expect(eq(int, strncmp(slc_err_name((slc_err)code), "SLC_", 4), 0));
        cr_expect(gt(sz, strlen(slc_err_text((slc_err)code)), 0));
    }
    cr_expect(eq(str, (char *)slc_err_name(SLC_ENOTFOUND), "SLC_ENOTFOUND"));
    cr_expect(eq(str, (char *)slc_err_text(SLC_ENOTFOUND), "not found"));
    cr_expect(ne(ptr, (void *)slc_err_text((slc_err)9999), NULL));
}

Test(error, set_returns_the_code_and_fills_the_sentence)
{
    slc_error error = {0};
    cr_assert(eq(int, slc_error_set(&error, SLC_EINVAL, "x is %d", 7), SLC_EINVAL));
    cr_expect(eq(int, error.code, SLC_EINVAL));
    cr_expect(eq(str, error.text, "x is 7"));
    cr_expect(eq(int, slc_error_set(NULL, SLC_EIO, "nobody listens"), SLC_EIO));
}

Test(error, the_old_sentence_may_be_an_argument)
{
    slc_error error = {0};
    cr_assert(eq(int, slc_error_set(&error, SLC_EIO, "disk"), SLC_EIO));
    cr_assert(eq(int, slc_error_set(&error, SLC_EIO, "again: %s", error.text), SLC_EIO));
    cr_expect(eq(str, error.text, "again: disk"));
}

Test(error, wrap_puts_context_first)
{
    slc_error error = {0};
    cr_assert(eq(int, slc_error_set(&error, SLC_ECORRUPT, "bad magic"), SLC_ECORRUPT));
    slc_error_wrap(&error, "opening %s", "store");
    cr_expect(eq(str, error.text, "opening store: bad magic"));
    cr_expect(eq(int, error.code, SLC_ECORRUPT));
    slc_error_wrap(NULL, "nobody listens");

    slc_error bare = {.code = SLC_EBUSY};
    slc_error_wrap(&bare, "lock");
    cr_expect(eq(str, bare.text, "lock: in use"));
}

Test(error, long_text_is_cut_and_terminated)
{
    char big[2000];
    memset(big, 'a', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    slc_error error = {0};
    cr_assert(eq(int, slc_error_set(&error, SLC_EIO, "%s", big), SLC_EIO));
    cr_expect(eq(sz, strlen(error.text), SLC_ERROR_TEXT_BYTES - 1));
    slc_error_wrap(&error, "%s", big);
    cr_expect(eq(sz, strlen(error.text), SLC_ERROR_TEXT_BYTES - 1));

    cr_assert(eq(int, slc_error_set(&error, SLC_EIO, "the reason"), SLC_EIO));
    slc_error_wrap(&error, "%s", big);
    cr_expect(ne(ptr, strstr(error.text, ": the reason"), NULL), "a long context hides the reason");
}

Test(error, errno_of_either_sign)
{
    cr_expect(eq(int, slc_err_from_errno(0), SLC_OK));
    cr_expect(eq(int, slc_err_from_errno(ENOSPC), SLC_ENOSPC));
    cr_expect(eq(int, slc_err_from_errno(-ENOSPC), SLC_ENOSPC));
    cr_expect(eq(int, slc_err_from_errno(EADDRINUSE), SLC_EADDRINUSE));
    cr_expect(eq(int, slc_err_from_errno(ENOMEM), SLC_ENOMEM));
    cr_expect(eq(int, slc_err_from_errno(EMFILE), SLC_ELIMIT));
    cr_expect(eq(int, slc_err_from_errno(EIO), SLC_EIO));
    cr_expect(eq(int, slc_err_from_errno(12345), SLC_EIO));
}
