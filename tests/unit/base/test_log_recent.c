// The last lines of the log in memory: a bound, numbers, levels.
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/log_recent.h"

TestSuite(log_recent, .timeout = 60);

static char got[SLC_LOG_RECENT_BYTES_MAX * 2];
static size_t got_bytes;
static uint32_t got_lines;

static void take(const char *text, size_t bytes, void *arg)
{
    (void)arg;
    got_bytes +=
        (size_t)snprintf(got + got_bytes, sizeof got - got_bytes, "%.*s|", (int)bytes, text);
    got_lines++;
}

static uint64_t ask(uint32_t count, slc_log_level level, uint64_t after)
{
    got_bytes = got_lines = 0;
    got[0] = '\0';
    return slc_log_recent(count, level, after, take, NULL);
}

static void add(slc_log_level level, const char *text)
{
    slc_log_recent_add(level, text, strlen(text));
}

Test(log_recent, gives_the_last_of_a_level_in_their_order)
{
    cr_expect_eq(ask(10, SLC_LOG_DEBUG, 0), 0);
    add(SLC_LOG_DEBUG, "one\n");
    add(SLC_LOG_ERROR, "two\n");
    add(SLC_LOG_INFO, "three\n");
    cr_expect_eq(ask(10, SLC_LOG_DEBUG, 0), 3);
    cr_expect_str_eq(got, "one|two|three|");
    ask(2, SLC_LOG_DEBUG, 0);
    cr_expect_str_eq(got, "two|three|");
    ask(1, SLC_LOG_WARN, 0);
    cr_expect_str_eq(got, "two|");
    cr_expect_eq(ask(0, SLC_LOG_DEBUG, 0), 3);
    cr_expect_str_eq(got, "");
}

Test(log_recent, gives_what_is_new_since_a_number)
{
    add(SLC_LOG_INFO, "one\n");
    uint64_t last = ask(10, SLC_LOG_DEBUG, 0);
    cr_expect_eq(ask(10, SLC_LOG_DEBUG, last), last);
    cr_expect_str_eq(got, "");
    add(SLC_LOG_INFO, "two\n");
    cr_expect_eq(ask(10, SLC_LOG_DEBUG, last), last + 1);
    cr_expect_str_eq(got, "two|");
    cr_expect_eq(ask(10, SLC_LOG_DEBUG, UINT64_MAX), last + 1);
    cr_expect_str_eq(got, "");
}

Test(log_recent, forgets_the_oldest_by_bytes_and_by_number)
{
    static char line[1024];
    memset(line, 'x', sizeof line);
    for (int i = 0; i < 2000; i++)
        slc_log_recent_add(SLC_LOG_INFO, line, sizeof line);
    ask(UINT32_MAX, SLC_LOG_DEBUG, 0);
    cr_expect_eq(got_lines, SLC_LOG_RECENT_BYTES_MAX / sizeof line);
    for (int i = 0; i < 20000; i++)
        add(SLC_LOG_INFO, "y\n");
    cr_expect_eq(ask(UINT32_MAX, SLC_LOG_DEBUG, 0), 22000);
    cr_expect_eq(got_lines, SLC_LOG_RECENT_BYTES_MAX / 64);
    cr_expect_null(strchr(got, 'x'));
}
