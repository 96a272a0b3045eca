// Levels of categories, and the outputs behind sockets: syslog and systemd's journal, with sockets of the test's own.
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <poll.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"

static char dir[] = "/tmp/sluice-log-XXXXXX";
static char path[64], socket_path[64];

static void make_dir(void)
{
    cr_assert(ne(ptr, mkdtemp(dir), NULL));
    snprintf(path, sizeof path, "%s/a.log", dir);
    snprintf(socket_path, sizeof socket_path, "%s/socket", dir);
}

static void remove_dir(void)
{
    char old[80];
    for (int i = 0; i < 3; i++) {
        snprintf(old, sizeof old, "%s.%d", path, i);
        unlink(old);
    }
    unlink(path);
    unlink(socket_path);
    rmdir(dir);
}

TestSuite(log_outputs, .init = make_dir, .fini = remove_dir, .timeout = 60);

static const char *slurp_from(const char *name)
{
    static char text[4 << 20];
    FILE *file = fopen(name, "r");
    cr_assert(ne(ptr, file, NULL), "%s", name);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    return text;
}

static const char *slurp(void)
{
    return slurp_from(path);
}

static size_t count_of(const char *text, const char *part)
{
    size_t count = 0;
    for (const char *at = text; (at = strstr(at, part)) != NULL; at++)
        count++;
    return count;
}

static void expect_match(const char *text, const char *pattern)
{
    regex_t regex;
    cr_assert(eq(int, regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB), 0));
    cr_expect(eq(int, regexec(&regex, text, 0, NULL, 0), 0), "'%s' is not %s", text, pattern);
    regfree(&regex);
}

static slc_log_options options_new(void)
{
    return (slc_log_options){.console_off = true,
                             .file = path,
                             .file_level = SLC_LOG_INFO,
                             .node = "sluice@test",
                             .syslog = {.socket = socket_path,
                                        .level = SLC_LOG_INFO,
                                        .facility = 19,
                                        .identity = "my broker"},
                             .journal_socket = socket_path,
                             .journal_level = SLC_LOG_INFO};
}

static void start(const slc_log_options *options)
{
    slc_error error = {0};
    cr_assert(eq(int, slc_log_start(options, &error), SLC_OK), "%s", error.text);
}

static void say(slc_log_level level, const char *category, const char *text)
{
    slc_log(level, category, "an.event", SLC_FIELDS(SLC_F_STR("peer", "a\nb"), SLC_F_U64("n", 7)),
            "%s", text);
}

// ---- levels

Test(log_outputs, the_level_of_a_category_counts_instead_of_the_outputs)
{
    slc_log_options options = options_new();
    options.file_level = SLC_LOG_WARN;
    const slc_log_category_level levels[] = {
        {"connection", SLC_LOG_DEBUG}, {"queue", SLC_LOG_ERROR}, {"channel", SLC_LOG_NONE}};
    options.categories = levels;
    options.category_count = SLC_ARRAY_COUNT(levels);
    start(&options);
    say(SLC_LOG_DEBUG, "connection", "more of connections");
    say(SLC_LOG_WARN, "queue", "less of queues");
    say(SLC_LOG_ERROR, "queue", "errors of queues");
    say(SLC_LOG_ERROR, "channel", "nothing of channels");
    say(SLC_LOG_INFO, "default", "info of others");
    say(SLC_LOG_WARN, "default", "warning of others");
    slc_log_stop();
    const char *text = slurp();
    cr_expect(eq(sz, count_of(text, "more of connections"), 1));
    cr_expect(eq(sz, count_of(text, "less of queues"), 0));
    cr_expect(eq(sz, count_of(text, "errors of queues"), 1));
    cr_expect(eq(sz, count_of(text, "nothing of channels"), 0));
    cr_expect(eq(sz, count_of(text, "info of others"), 0));
    cr_expect(eq(sz, count_of(text, "warning of others"), 1));
}

Test(log_outputs, an_output_of_no_level_still_has_categories_with_one)
{
    slc_log_options options = options_new();
    options.file_level = SLC_LOG_NONE;
    const slc_log_category_level level = {"queue", SLC_LOG_INFO};
    options.categories = &level;
    options.category_count = 1;
    start(&options);
    say(SLC_LOG_ERROR, "default", "nothing");
    say(SLC_LOG_INFO, "queue", "something");
    slc_log_stop();
    const char *text = slurp();
    cr_expect(eq(sz, count_of(text, "nothing"), 0));
    cr_expect(eq(sz, count_of(text, "something"), 1));
}

Test(log_outputs, set_level_holds_until_the_next_configure_and_spares_what_writes_nothing)
{
    slc_log_options options = options_new();
    const slc_log_category_level levels[] = {{"connection", SLC_LOG_ERROR},
                                             {"channel", SLC_LOG_NONE}};
    options.categories = levels;
    options.category_count = SLC_ARRAY_COUNT(levels);
    start(&options);
    say(SLC_LOG_DEBUG, "default", "before");
    slc_log_set_level(SLC_LOG_DEBUG);
    cr_expect(slc_log_enabled(SLC_LOG_DEBUG));
    say(SLC_LOG_DEBUG, "default", "during");
    say(SLC_LOG_DEBUG, "connection", "connections too");
    say(SLC_LOG_ERROR, "channel", "channels not");
    slc_error error = {0};
    cr_assert(eq(int, slc_log_configure(&options, &error), SLC_OK));
    cr_expect(not(slc_log_enabled(SLC_LOG_DEBUG)));
    say(SLC_LOG_WARN, "connection", "after");
    slc_log_stop();
    const char *text = slurp();
    cr_expect(eq(sz, count_of(text, "before"), 0));
    cr_expect(eq(sz, count_of(text, "during"), 1));
    cr_expect(eq(sz, count_of(text, "connections too"), 1));
    cr_expect(eq(sz, count_of(text, "channels not"), 0));
    cr_expect(eq(sz, count_of(text, "after"), 0));
}

Test(log_outputs, levels_and_categories_have_the_names_of_rabbitmq)
{
    slc_log_level level = SLC_LOG_NONE;
    cr_expect(slc_log_level_find("notice", &level));
    cr_expect(eq(int, level, SLC_LOG_INFO));
    cr_expect(slc_log_level_find("emergency", &level));
    cr_expect(eq(int, level, SLC_LOG_ERROR));
    cr_expect(not(slc_log_level_find("loud", &level)));
    cr_expect(eq(str, (char *)slc_log_category_name(0), (char *)"default"));
    uint32_t count = 0;
    while (slc_log_category_name(count) != NULL)
        count++;
    cr_expect(ge(u32, count, 5));
}

// ---- the file

/** Lines from first to last, one by one through a log of its own, so that each start sees how long the file is. */
static void say_numbers(const slc_log_options *options, int first, int last)
{
    for (int i = first; i <= last; i++) {
        char text[101];
        snprintf(text, sizeof text, "number %03d %089d", i, 0);
        start(options);
        say(SLC_LOG_INFO, "default", text);
        slc_log_stop();
    }
}

static void expect_numbers(const char *suffix, int first, int last)
{
    char name[80], number[16];
    snprintf(name, sizeof name, "%s%s", path, suffix);
    const char *text = slurp_from(name);
    cr_expect(eq(sz, count_of(text, "number "), (size_t)(last - first + 1)), "%s: %s", name, text);
    for (int i = first; i <= last; i++) {
        snprintf(number, sizeof number, "number %03d ", i);
        cr_expect(eq(sz, count_of(text, number), 1), "%s: %s", name, text);
    }
}

Test(log_outputs, a_file_that_is_long_enough_makes_room_for_a_new_one)
{
    slc_log_options options = options_new();
    options.file_bytes_max = 500; // three lines of 151
    options.file_old = 2;
    say_numbers(&options, 1, 11);
    expect_numbers("", 10, 11);
    expect_numbers(".0", 7, 9);
    expect_numbers(".1", 4, 6);
    char gone[80];
    snprintf(gone, sizeof gone, "%s.2", path);
    cr_expect(ne(int, access(gone, F_OK), 0), "two old ones are enough");
    options.file_old = 0;
    say_numbers(&options, 12, 13);
    expect_numbers("", 13, 13);
    expect_numbers(".0", 7, 9);
    options.file_bytes_max = 10; // less than a line: each has a file
    options.file_old = 1;
    say_numbers(&options, 14, 15);
    expect_numbers("", 15, 15);
    expect_numbers(".0", 14, 14);
}

Test(log_outputs, a_file_that_cannot_be_rotated_is_written_on)
{
    slc_log_options options = options_new();
    options.file_bytes_max = 10;
    options.file_old = 1;
    start(&options);
    say(SLC_LOG_INFO, "default", "number one");
    slc_log_stop();
    char old[80];
    snprintf(old, sizeof old, "%s.0", path);
    cr_assert(eq(int, mkdir(old, 0700), 0)); // nothing can be renamed to it
    say_numbers(&options, 2, 3);
    rmdir(old);
    cr_expect(eq(sz, count_of(slurp(), "number "), 3));
}

// ---- sockets

static int unix_socket(void)
{
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", socket_path);
    cr_assert(eq(int, bind(fd, (struct sockaddr *)&address, sizeof address), 0));
    return fd;
}

static int inet_socket(int type, uint16_t *port)
{
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof address;
    cr_assert(eq(int, bind(fd, (struct sockaddr *)&address, bytes), 0));
    cr_assert(eq(int, getsockname(fd, (struct sockaddr *)&address, &bytes), 0));
    *port = ntohs(address.sin_port);
    return fd;
}

/** What comes next, within 50 s. */
static const char *receive(int fd)
{
    static char text[32768];
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    cr_assert(eq(int, poll(&ready, 1, 50000), 1), "nothing came");
    ssize_t bytes = recv(fd, text, sizeof text - 1, 0);
    cr_assert(gt(int, (int)bytes, 0));
    text[bytes] = '\0';
    return text;
}

/** Say something again and again until the file has text; read what comes from fd, unless it is negative. */
static void say_until(const char *text, int fd)
{
    char line[4096];
    uint64_t deadline = slc_clock_now_ns() + 50 * SLC_NS_PER_S;
    while (strstr(slurp(), text) == NULL) {
        cr_assert(lt(u64, slc_clock_now_ns(), deadline), "no '%s' in '%s'", text, slurp());
        say(SLC_LOG_INFO, "audit", "again"); // audit is not rate limited
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        poll(&ready, 1, 10);
        while (fd >= 0 && recv(fd, line, sizeof line, MSG_DONTWAIT) > 0)
            ;
    }
}

#define DAY_TIME "[A-Z][a-z]{2} [ 123][0-9] [0-9]{2}:[0-9]{2}:[0-9]{2} "

Test(log_outputs, the_local_syslog_gets_lines_as_syslog3_writes_them)
{
    int fd = unix_socket();
    slc_log_options options = options_new();
    options.syslog.on = true;
    start(&options);
    say(SLC_LOG_WARN, "queue", "a warning\nof two");
    say(SLC_LOG_DEBUG, "queue", "not this");
    say(SLC_LOG_ERROR, "queue", "an error");
    char pattern[200];
    snprintf(pattern, sizeof pattern, "^<156>" DAY_TIME "my_broker\\[%d\\]: a warning\\\\nof two$",
             (int)getpid());
    expect_match(receive(fd), pattern); // local3 is 19, a warning 4
    expect_match(receive(fd), "^<155>.*: an error$");
    slc_log_stop();
    close(fd);
}

Test(log_outputs, syslog_over_udp_as_rfc_5424_says_and_as_json)
{
    slc_log_options options = options_new();
    options.syslog.on = options.syslog.rfc5424 = true;
    options.syslog.host = "127.0.0.1";
    int fd = inet_socket(SOCK_DGRAM, &options.syslog.port);
    start(&options);
    say(SLC_LOG_INFO, "queue", "hello");
    char host[65] = "", pattern[300];
    gethostname(host, sizeof host - 1);
    snprintf(pattern, sizeof pattern,
             "^<158>1 [0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}[.][0-9]{6}Z %s my_broker %d an.event - "
             "hello$",
             host, (int)getpid());
    expect_match(receive(fd), pattern);
    options.syslog.json = true;
    slc_error error = {0};
    cr_assert(eq(int, slc_log_configure(&options, &error), SLC_OK));
    say(SLC_LOG_INFO, "queue", "hello");
    expect_match(receive(fd),
                 " - [{]\"time\":.*\"msg\":\"hello\",\"peer\":\"a\\\\nb\",\"n\":7[}]$");
    slc_log_stop();
    close(fd);
}

Test(log_outputs, a_name_of_a_host_is_looked_up)
{
    slc_log_options options = options_new();
    options.syslog.on = true;
    options.syslog.host = "localhost";
    int fd = inet_socket(SOCK_DGRAM, &options.syslog.port);
    start(&options);
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    uint64_t deadline = slc_clock_now_ns() + 50 * SLC_NS_PER_S;
    while (poll(&ready, 1, 10) == 0 && slc_clock_now_ns() < deadline)
        say(SLC_LOG_INFO, "audit", "found it");
    expect_match(receive(fd), "^<158>" DAY_TIME "[^ ]+ my_broker\\[[0-9]+\\]: found it$");
    slc_log_stop();
    close(fd);
}

Test(log_outputs, a_host_that_nobody_knows_costs_lines_only)
{
    slc_log_options options = options_new();
    options.syslog.on = true;
    options.syslog.host = "nobody.invalid";
    options.syslog.port = 514;
    start(&options);
    say_until("log.syslog: lines for nobody.invalid, port 514 (UDP) do not get through", -1);
    slc_log_stop();
    cr_expect(gt(u64, slc_log_dropped(), 0));
}

/** All that has come until the peer closes. */
static const char *receive_all(int fd)
{
    static char text[1 << 20];
    size_t bytes = 0;
    for (;;) {
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        cr_assert(eq(int, poll(&ready, 1, 50000), 1), "the stream has no end");
        ssize_t got = recv(fd, text + bytes, sizeof text - 1 - bytes, 0);
        cr_assert(ge(int, (int)got, 0));
        if (got == 0)
            break;
        bytes += (size_t)got;
    }
    text[bytes] = '\0';
    return text;
}

Test(log_outputs, tcp_counts_octets_and_keeps_what_came_before_the_connection)
{
    slc_log_options options = options_new();
    options.syslog.on = options.syslog.tcp = options.syslog.rfc5424 = true;
    options.syslog.host = "127.0.0.1";
    int fd = inet_socket(SOCK_STREAM, &options.syslog.port);
    start(&options); // nobody listens yet: refused, said once, tried again
    say(SLC_LOG_INFO, "queue", "the first");
    say_until("do not get through and are dropped: Connection refused", -1);
    cr_assert(eq(int, listen(fd, 5), 0));
    say_until("get through again, 0 were dropped", -1);
    int peer = accept(fd, NULL, NULL);
    say(SLC_LOG_INFO, "queue", "the last");
    slc_log_stop();
    const char *at = receive_all(peer);
    expect_match(at, "^[0-9]+ <158>1 [^<]* the first");
    size_t frames = 0;
    while (*at != '\0') {
        char *message;
        size_t bytes = strtoul(at, &message, 10);
        cr_assert(gt(sz, bytes, 0), "'%s'", at);
        cr_assert(eq(int, strncmp(message, " <158>1 ", 8), 0), "'%s'", at);
        at = message + 1 + bytes;
        frames++;
        if (*at == '\0')
            cr_expect(eq(int, strncmp(at - 8, "the last", 8), 0));
    }
    cr_expect(ge(sz, frames, 2));
    cr_expect(eq(sz, count_of(slurp(), "Connection refused"), 1), "once");
    close(peer);
    close(fd);
}

Test(log_outputs, a_tcp_peer_that_reads_nothing_holds_up_nobody)
{
    slc_log_options options = options_new();
    options.syslog.on = options.syslog.tcp = true;
    options.syslog.host = "127.0.0.1";
    int fd = inet_socket(SOCK_STREAM, &options.syslog.port);
    cr_assert(eq(int, listen(fd, 1), 0));
    options.file_level = SLC_LOG_WARN; // of what it says itself
    start(&options);
    char big[1500];
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    uint64_t deadline = slc_clock_now_ns() + 50 * SLC_NS_PER_S;
    while (strstr(slurp(), "Resource temporarily unavailable") == NULL) {
        cr_assert(lt(u64, slc_clock_now_ns(), deadline));
        for (int i = 0; i < 500; i++)
            say(SLC_LOG_INFO, "audit", big);
    }
    cr_expect(gt(u64, slc_log_dropped(), 0));
    slc_log_stop();
    close(fd);
}

Test(log_outputs, the_journal_gets_fields)
{
    int fd = unix_socket();
    slc_log_options options = options_new();
    options.journal = true;
    options.file = NULL;
    start(&options);
    say(SLC_LOG_WARN, "queue", "a warning\nMESSAGE=forged");
    const char *text = receive(fd);
    cr_expect(eq(str, (char *)text,
                 (char *)"PRIORITY=4\n"
                         "SYSLOG_IDENTIFIER=sluiced\n"
                         "MESSAGE=a warning\\nMESSAGE=forged\n"
                         "SLUICE_CATEGORY=queue\n"
                         "SLUICE_EVENT=an.event\n"
                         "SLUICE_NODE=sluice@test\n"
                         "SLUICE_PEER=a\\nb\n"
                         "SLUICE_N=7\n"));
    slc_log_stop();
    close(fd);
}

Test(log_outputs, an_absent_socket_is_said_once_and_its_return_too)
{
    slc_log_options options = options_new();
    options.journal = true;
    start(&options);
    say_until("log.journald: lines for ", -1);
    say(SLC_LOG_INFO, "queue", "lost");
    uint64_t dropped = slc_log_dropped();
    int fd = unix_socket();
    say_until("get through again, ", fd);
    cr_expect(ge(u64, slc_log_dropped(), dropped));
    const char *text = slurp();
    cr_expect(eq(sz, count_of(text, "are dropped: No such file or directory"), 1));
    cr_expect(eq(sz, count_of(text, "get through again, 0 were dropped"), 0));
    // The daemon is started anew: its socket has the same name but is another one, and nothing is lost.
    close(fd);
    unlink(socket_path);
    fd = unix_socket();
    say(SLC_LOG_INFO, "queue", "to the new one");
    expect_match(receive(fd), "MESSAGE=to the new one");
    slc_log_stop();
    close(fd);
}

Test(log_outputs, a_journal_that_is_the_only_output_is_missed_on_standard_error)
{
    int ends[2], saved = dup(STDERR_FILENO);
    cr_assert(eq(int, pipe(ends), 0));
    dup2(ends[1], STDERR_FILENO);
    slc_log_options options = options_new();
    options.file = NULL;
    options.journal = true;
    start(&options);
    say(SLC_LOG_INFO, "queue", "lost");
    slc_log_stop();
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(ends[1]);
    char text[4096] = "";
    ssize_t bytes = read(ends[0], text, sizeof text - 1);
    close(ends[0]);
    cr_assert(gt(int, (int)bytes, 0));
    cr_expect(ne(ptr, strstr(text, "do not get through and are dropped: No such file"), NULL), "%s",
              text);
    cr_expect(eq(ptr, strstr(text, "lost"), NULL), "%s", text);
}

Test(log_outputs, a_full_socket_loses_lines_and_holds_up_nobody)
{
    int fd = unix_socket(); // nobody reads
    slc_log_options options = options_new();
    options.journal = true;
    start(&options);
    say_until("are dropped: Resource temporarily unavailable", -1);
    for (int i = 0; i < 1000; i++)
        say(SLC_LOG_WARN, "audit", "to the file");
    slc_log_stop();
    const char *text = slurp();
    cr_expect(eq(sz, count_of(text, "to the file"), 1000), "the other outputs miss nothing");
    cr_expect(eq(sz, count_of(text, "do not get through"), 1));
    cr_expect(ge(u64, slc_log_dropped(), 1000));
    close(fd);
}

Test(log_outputs, a_socket_whose_name_is_too_long_is_an_error)
{
    char name[200];
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    slc_log_options options = options_new();
    options.journal = true;
    options.journal_socket = name;
    slc_error error = {0};
    cr_expect(eq(int, slc_log_start(&options, &error), SLC_EINVAL));
    cr_expect(ne(ptr, strstr(error.text, name), NULL), "%s", error.text);
}
