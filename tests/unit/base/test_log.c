#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"

// A log file of this test, alone in a directory of its own.
static char dir[] = "/tmp/sluice-log-XXXXXX";
static char path[64];

static void make_dir(void)
{
    cr_assert(ne(ptr, mkdtemp(dir), NULL));
    snprintf(path, sizeof path, "%s/a.log", dir);
}

static void remove_dir(void)
{
    char old[80];
    snprintf(old, sizeof old, "%s.1", path);
    unlink(old);
    unlink(path);
    rmdir(dir);
}

TestSuite(log, .init = make_dir, .fini = remove_dir, .timeout = 60);

static char *slurp(const char *name)
{
    FILE *file = fopen(name, "r");
    cr_assert(ne(ptr, file, NULL), "%s", name);
    char *text = slc_alloc(1 << 22);
    size_t bytes = fread(text, 1, (1 << 22) - 1, file);
    text[bytes] = '\0';
    fclose(file);
    return text;
}

static void start(slc_log_level level, bool json)
{
    slc_error error = {0};
    slc_err rc = slc_log_start(&(slc_log_options){.level = SLC_LOG_NONE,
                                                  .file = path,
                                                  .file_level = level,
                                                  .file_json = json,
                                                  .node = "sluice@test"},
                               &error);
    cr_assert(eq(int, rc, SLC_OK), "%s", error.text);
}

static void expect_match(const char *text, const char *pattern)
{
    regex_t regex;
    cr_assert(eq(int, regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB), 0));
    cr_expect(eq(int, regexec(&regex, text, 0, NULL, 0), 0), "'%s' is not %s", text, pattern);
    regfree(&regex);
}

static size_t count_of(const char *text, const char *part)
{
    size_t count = 0;
    for (const char *at = text; (at = strstr(at, part)) != NULL; at++)
        count++;
    return count;
}

#define TIME "[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}[.][0-9]{6}[+-][0-9]{2}:[0-9]{2}"

Test(log, a_plain_line)
{
    start(SLC_LOG_INFO, false);
    slc_log(SLC_LOG_WARN, "queue", "queue.full", SLC_FIELDS(SLC_F_STR("queue", "q1")),
            "queue '%s' is full", "q1");
    slc_log_stop();
    char *text = slurp(path);
    expect_match(text, "^" TIME " [[]warning[]] <queue> queue 'q1' is full\n$");
    slc_free(text);
}

Test(log, a_number_named_as_the_category_follows_it)
{
    start(SLC_LOG_INFO, false);
    slc_log(SLC_LOG_INFO, "connection", "connection.open", SLC_FIELDS(SLC_F_U64("connection", 12)),
            "hello");
    slc_log_stop();
    char *text = slurp(path);
    expect_match(text, " [[]info[]] <connection#12> hello\n$");
    slc_free(text);
}

Test(log, a_json_line)
{
    start(SLC_LOG_INFO, true);
    slc_log(SLC_LOG_ERROR, "store", "store.failed",
            SLC_FIELDS(SLC_F_STR("dir", "a\"b"), SLC_F_U64("bytes", 18446744073709551615u)),
            "tab\there \"q\" \\ \x01 \xff \xc3\xa9");
    slc_log_stop();
    char *text = slurp(path);
    expect_match(text, "^[{]\"time\":\"" TIME
                       "\",\"level\":\"error\",\"category\":\"store\",\"event\":\"store.failed\","
                       "\"node\":\"sluice@test\",\"msg\":\"");
    cr_expect(ne(ptr,
                 strstr(text, "\"msg\":\"tab\\there \\\"q\\\" \\\\ \\u0001 \xef\xbf\xbd \xc3\xa9\","
                              "\"dir\":\"a\\\"b\",\"bytes\":18446744073709551615}\n"),
                 NULL),
              "%s", text);
    slc_free(text);
}

Test(log, a_name_cannot_forge_a_line)
{
    start(SLC_LOG_INFO, false);
    slc_log(SLC_LOG_INFO, "queue", "x", SLC_NO_FIELDS, "queue '%s'",
            "a\nb\r\x1b[2J\xc2\x9b\xe2\x80\xa8\xf0\x28\x7f");
    slc_log_stop();
    char *text = slurp(path);
    cr_expect(
        ne(ptr, strstr(text, "queue 'a\\nb\\x{d}\\x{1b}[2J\\x{9b}\\x{2028}\\xf0(\\x{7f}'\n"), NULL),
        "%s", text);
    cr_expect(eq(sz, count_of(text, "\n"), 1));
    slc_free(text);
}

Test(log, levels_below_the_threshold_are_not_written)
{
    start(SLC_LOG_WARN, false);
    cr_expect(not(slc_log_enabled(SLC_LOG_INFO)));
    cr_expect(slc_log_enabled(SLC_LOG_WARN));
    slc_log(SLC_LOG_INFO, "default", "a", SLC_NO_FIELDS, "hidden");
    slc_log(SLC_LOG_WARN, "default", "b", SLC_NO_FIELDS, "shown");
    slc_log_stop();
    char *text = slurp(path);
    cr_expect(eq(ptr, strstr(text, "hidden"), NULL));
    cr_expect(ne(ptr, strstr(text, "shown"), NULL));
    slc_free(text);
}

Test(log, long_sentences_are_cut_between_characters)
{
    char *big = slc_alloc(6001);
    for (size_t i = 0; i < 6000; i += 2)
        memcpy(big + i, "\xc3\xa9", 2);
    big[6000] = '\0';
    start(SLC_LOG_INFO, true);
    slc_log(SLC_LOG_INFO, "default", "even", SLC_NO_FIELDS, "%s", big);
    slc_log(SLC_LOG_INFO, "default", "odd", SLC_NO_FIELDS, "x%s", big);
    memset(big, 1, 6000); // the worst case: each octet becomes six
    slc_log(SLC_LOG_INFO, "default", "worst",
            SLC_FIELDS(SLC_F_STR("more", big), SLC_F_U64("last", 7)), "%s", big);
    slc_log_stop();
    char *text = slurp(path);
    cr_expect(eq(sz, count_of(text, "\n"), 3));
    cr_expect(eq(sz, count_of(text, "...\""), 3));
    cr_expect(eq(ptr, strstr(text, "\xef\xbf\xbd"), NULL), "a character was cut in two");
    cr_expect(eq(sz, count_of(text, "\"last\":7}\n"), 1),
              "what fits behind a field that does not is kept");
    cr_expect(eq(sz, count_of(text, "\"more\""), 0));
    slc_free(text);
    slc_free(big);
}

Test(log, repeats_are_summarised_unless_an_operator_made_them)
{
    start(SLC_LOG_INFO, false);
    for (int i = 0; i < 500; i++) {
        slc_log(SLC_LOG_INFO, "connection", "connection.refused", SLC_NO_FIELDS, "refused %d", i);
        slc_log(SLC_LOG_INFO, "audit", "audit.call", SLC_NO_FIELDS, "audited %d", i);
        slc_log(SLC_LOG_INFO, "config", "config.reloaded", SLC_NO_FIELDS, "reloaded %d", i);
    }
    slc_log(SLC_LOG_INFO, "connection", "connection.other", SLC_NO_FIELDS, "other");
    slc_log_stop();
    char *text = slurp(path);
    size_t refused = count_of(text, "> refused ");
    size_t held_back = 0;
    for (const char *at = text; (at = strstr(at, "connection.refused: repeated ")) != NULL; at++)
        held_back += strtoul(at + strlen("connection.refused: repeated "), NULL, 10);
    cr_expect(ge(sz, refused, 20));
    cr_expect(le(sz, refused, 200), "500 lines within a few seconds at the most");
    cr_expect(eq(sz, refused + held_back, 500), "%zu + %zu", refused, held_back);
    cr_expect(eq(sz, count_of(text, "> audited "), 500));
    cr_expect(eq(sz, count_of(text, "> reloaded "), 500));
    cr_expect(eq(sz, count_of(text, "> other"), 1));
    slc_free(text);
}

Test(log, the_summary_comes_without_another_line)
{
    start(SLC_LOG_INFO, false);
    for (int i = 0; i < 100; i++)
        slc_log(SLC_LOG_INFO, "connection", "burst", SLC_NO_FIELDS, "burst");
    uint64_t deadline = slc_clock_now_ns() + 60 * SLC_NS_PER_S;
    bool seen = false;
    while (!seen && slc_clock_now_ns() < deadline) {
        char *text = slurp(path);
        seen = strstr(text, "burst: repeated ") != NULL;
        slc_free(text);
        poll(NULL, 0, 20);
    }
    cr_expect(seen);
    slc_log_stop();
}

Test(log, reopen_follows_logrotate)
{
    char old[80];
    snprintf(old, sizeof old, "%s.1", path);
    start(SLC_LOG_INFO, false);
    slc_log(SLC_LOG_INFO, "default", "a", SLC_NO_FIELDS, "first");
    cr_assert(eq(int, rename(path, old), 0));
    slc_log_reopen();
    uint64_t deadline = slc_clock_now_ns() + 60 * SLC_NS_PER_S;
    while (access(path, F_OK) != 0 && slc_clock_now_ns() < deadline)
        poll(NULL, 0, 5);
    slc_log(SLC_LOG_INFO, "default", "b", SLC_NO_FIELDS, "second");
    slc_log_stop();
    char *before = slurp(old), *after = slurp(path);
    cr_expect(ne(ptr, strstr(before, "first"), NULL));
    cr_expect(eq(ptr, strstr(before, "second"), NULL));
    cr_expect(ne(ptr, strstr(after, "second"), NULL));
    slc_free(before);
    slc_free(after);
}

Test(log, configure_changes_level_and_format)
{
    start(SLC_LOG_WARN, false);
    slc_error error = {0};
    slc_log_options options = {
        .level = SLC_LOG_NONE, .file = path, .file_level = SLC_LOG_DEBUG, .file_json = true};
    cr_assert(eq(int, slc_log_configure(&options, &error), SLC_OK));
    slc_log(SLC_LOG_DEBUG, "default", "a", SLC_NO_FIELDS, "now");
    options.file = "/nonexistent-sluice/a.log";
    cr_expect(eq(int, slc_log_configure(&options, &error), SLC_ENOTFOUND));
    cr_expect(ne(ptr, strstr(error.text, "/nonexistent-sluice/a.log"), NULL));
    slc_log(SLC_LOG_DEBUG, "default", "a", SLC_NO_FIELDS, "still");
    slc_log_stop();
    char *text = slurp(path);
    cr_expect(ne(ptr, strstr(text, "\"msg\":\"now\"}"), NULL));
    cr_expect(ne(ptr, strstr(text, "\"msg\":\"still\"}"), NULL));
    slc_free(text);
}

Test(log, a_file_that_cannot_be_opened_is_an_error)
{
    slc_error error = {0};
    slc_err rc = slc_log_start(&(slc_log_options){.file = "/nonexistent-sluice/x"}, &error);
    cr_expect(eq(int, rc, SLC_ENOTFOUND));
}

// stderr is a pipe that nobody reads: lines are dropped, nobody waits, and what is left comes out once somebody reads.
Test(log, a_stuck_terminal_holds_up_nobody)
{
    int ends[2];
    cr_assert(eq(int, pipe2(ends, O_NONBLOCK | O_CLOEXEC), 0));
    int saved = dup(STDERR_FILENO);
    dup2(ends[1], STDERR_FILENO);
    slc_error error = {0};
    slc_err rc = slc_log_start(
        &(slc_log_options){.level = SLC_LOG_INFO, .file = path, .file_level = SLC_LOG_NONE},
        &error);
    cr_assert(eq(int, rc, SLC_OK));
    char big[1000];
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    // 4 MB, twice the ring; audit is not rate limited. Nobody reads yet: a caller who waited would wait for ever.
    for (int i = 0; i < 4000; i++)
        slc_log(SLC_LOG_INFO, "audit", "a", SLC_NO_FIELDS, "%s", big);
    uint64_t after_info = slc_log_dropped();
    slc_log(SLC_LOG_ERROR, "audit", "last", SLC_NO_FIELDS, "the last words");
    uint64_t after_error = slc_log_dropped();

    bool seen_last = false, seen_dropped = false;
    uint64_t deadline = slc_clock_now_ns() + 60 * SLC_NS_PER_S;
    static char all[8 << 20];
    size_t bytes = 0;
    while (!(seen_last && seen_dropped) && slc_clock_now_ns() < deadline) {
        struct pollfd ready = {.fd = ends[0], .events = POLLIN};
        poll(&ready, 1, 100);
        ssize_t got = read(ends[0], all + bytes, sizeof all - 1 - bytes);
        if (got <= 0)
            continue;
        bytes += (size_t)got;
        all[bytes] = '\0';
        const char *tail = bytes > 200000 ? all + bytes - 200000 : all;
        seen_last = seen_last || strstr(tail, "the last words") != NULL;
        seen_dropped = seen_dropped || strstr(tail, "log lines were dropped") != NULL;
    }
    slc_log_stop();
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(ends[0]);
    close(ends[1]);
    cr_expect(gt(u64, after_info, 0));
    cr_expect(eq(u64, after_error, after_info), "errors have room of their own");
    cr_expect(seen_last);
    cr_expect(seen_dropped);
}
