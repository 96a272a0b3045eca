#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/failpoint.h"

#if SLC_FAILPOINTS

static void plan(const char *text)
{
    slc_error error = {0};
    slc_err rc = slc_failpoint_plan(text, &error);
    cr_assert(eq(int, rc, SLC_OK), "%s", error.text);
}

Test(failpoint, without_a_plan_nothing_happens)
{
    slc_err rc = SLC_OK;
    cr_expect(not(SLC_FAILPOINT("a.b", &rc)));
    cr_expect(eq(int, rc, SLC_OK));
}

Test(failpoint, error_at_the_second_pass_only)
{
    plan("a.b=error:ENOSPC@2; other=error:EIO");
    slc_err rc = SLC_OK;
    cr_expect(not(SLC_FAILPOINT("a.b", &rc)));
    cr_expect(SLC_FAILPOINT("a.b", &rc));
    cr_expect(eq(int, rc, SLC_ENOSPC));
    rc = SLC_OK;
    cr_expect(not(SLC_FAILPOINT("a.b", &rc)));
    cr_expect(eq(int, rc, SLC_OK));
    cr_expect(SLC_FAILPOINT("other", &rc));
    cr_expect(eq(int, rc, SLC_EIO));
}

Test(failpoint, plus_means_every_later_pass)
{
    plan("disk=error:EIO@2+");
    slc_err rc = SLC_OK;
    cr_expect(not(SLC_FAILPOINT("disk", &rc)));
    for (int i = 0; i < 5; i++)
        cr_expect(SLC_FAILPOINT("disk", &rc));
}

Test(failpoint, half_is_again_and_delay_is_false)
{
    plan("half=half;slow=delay:30");
    slc_err rc = SLC_OK;
    cr_expect(SLC_FAILPOINT("half", &rc));
    cr_expect(eq(int, rc, SLC_EAGAIN));
    for (int i = 0; i < 2; i++) { // a delay acts at each pass
        uint64_t before = slc_clock_now_ns();
        cr_expect(not(SLC_FAILPOINT("slow", &rc)));
        cr_expect(ge(u64, slc_clock_now_ns() - before, 30 * SLC_NS_PER_MS));
    }
}

Test(failpoint, a_new_plan_resets_the_counters)
{
    slc_err rc = SLC_OK;
    plan("a=error:EIO@2");
    cr_expect(not(SLC_FAILPOINT("a", &rc)));
    plan("a=error:EIO@2");
    cr_expect(not(SLC_FAILPOINT("a", &rc)));
    cr_expect(SLC_FAILPOINT("a", &rc));
    plan(NULL);
    cr_expect(not(SLC_FAILPOINT("a", &rc)));
}

Test(failpoint, crash_at_the_third_pass)
{
    pid_t child = fork();
    if (child == 0) {
        setenv("SLC_FAILPOINT", "x=crash@3", 1);
        slc_error error = {0};
        if (slc_failpoint_init(&error) != SLC_OK)
            _exit(90);
        slc_err rc;
        for (int pass = 1; pass <= 5; pass++) {
            (void)SLC_FAILPOINT("x", &rc);
            if (pass == 3)
                _exit(91);
        }
        _exit(92);
    }
    int status = 0;
    cr_assert(eq(int, waitpid(child, &status, 0), child));
    cr_assert(ne(int, WIFSIGNALED(status), 0), "exit status %d", WEXITSTATUS(status));
    cr_expect(eq(int, WTERMSIG(status), SIGKILL));
}

Test(failpoint, passes_are_counted_from_the_plan_on)
{
    slc_err rc = SLC_OK;
    plan(NULL);
    cr_expect(not(SLC_FAILPOINT("counted", &rc)));
    cr_expect(eq(u64, slc_failpoint_passes("counted"), 0));
    plan("counted=delay:0;other=error:EIO");
    for (int i = 0; i < 3; i++)
        cr_expect(not(SLC_FAILPOINT("counted", &rc)));
    cr_expect(eq(u64, slc_failpoint_passes("counted"), 3));
    cr_expect(eq(u64, slc_failpoint_passes("other"), 0));
    cr_expect(eq(u64, slc_failpoint_passes("unknown"), 0));
}

Test(failpoint, bad_plans_are_named_and_change_nothing)
{
    static const char *const bad[] = {"a",         "=crash",     "a=",        "a=crsh",
                                      "a=crash@",  "a=crash@0",  "a=crash@x", "a=error",
                                      "a=error:E", "a=delay:x",  "a=crash:1", "a=half@-1",
                                      "a=delay",   "b=crash;c=", "a=crash@+", "a=delay:99999999"};
    plan("kept=error:EIO");
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        slc_error error = {0};
        cr_expect(eq(int, slc_failpoint_plan(bad[i], &error), SLC_EINVAL), "%s", bad[i]);
        cr_expect(ne(ptr, strstr(error.text, "fail point '"), NULL), "%s", error.text);
    }
    slc_err rc = SLC_OK;
    cr_expect(SLC_FAILPOINT("kept", &rc));
}

#else

Test(failpoint, a_release_build_refuses_a_plan)
{
    slc_error error = {0};
    cr_expect(eq(int, slc_failpoint_plan("a=crash", &error), SLC_ENOTIMPL));
    setenv("SLC_FAILPOINT", "a=crash", 1);
    cr_expect(eq(int, slc_failpoint_init(&error), SLC_ENOTIMPL));
    unsetenv("SLC_FAILPOINT");
    cr_expect(eq(int, slc_failpoint_init(&error), SLC_OK));
}

#endif
