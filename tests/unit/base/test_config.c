#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <criterion/parameterized.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/config.h"
#include "base/config_impl.h"

enum {
    FLAG,
    COUNT,
    SIZE,
    TIME,
    SECONDS,
    SHARE,
    NAME,
    MODE,
    ADDRESS,
    PORTS,
    USERS,
    SECRET,
    FILE_NAME,
    KEYS
};

static const slc_config_key keys[KEYS] = {
    [FLAG] = {"a.flag", SLC_CONFIG_BOOL, SLC_CONFIG_RELOAD, NULL, 0, 0, "true", NULL, "One",
              "A flag."},
    [COUNT] = {"a.count", SLC_CONFIG_INTEGER, 0, "things", 2, 10, "5", "infinity", "One",
               "A count."},
    [SIZE] = {"a.size", SLC_CONFIG_SIZE, 0, NULL, 0, 1ull << 40, "4KiB", NULL, "One", "A size."},
    [TIME] = {"a.time", SLC_CONFIG_DURATION, 0, "ms", 0, 7 * 86400000ull, "500", NULL, "One",
              "A time."},
    [SECONDS] = {"a.seconds", SLC_CONFIG_DURATION, 0, "s", 0, 0, NULL, NULL, "One",
                 "Another time."},
    [SHARE] = {"a.share", SLC_CONFIG_FRACTION, 0, NULL, 0, 1000, "0.6", NULL, "One", "A share."},
    [NAME] = {"name", SLC_CONFIG_TEXT, 0, NULL, 0, 20, NULL, NULL, "Two",
              ".A name\\ with - signs."},
    [MODE] = {"mode", SLC_CONFIG_ENUM, 0, NULL, 0, 0, "group", "group full interval", "Two",
              "A mode."},
    [ADDRESS] = {"address", SLC_CONFIG_ADDRESS, 0, NULL, 0, 65535, NULL, NULL, "Two",
                 "An address."},
    [PORTS] = {"ports.tcp.N", SLC_CONFIG_ADDRESS, SLC_CONFIG_RELOAD, NULL, 0, 65535, NULL, NULL,
               "Two", "A port."},
    [USERS] = {"users.$name.admin", SLC_CONFIG_BOOL, 0, NULL, 0, 0, NULL, NULL, "Two", "A user."},
    [SECRET] = {"secret", SLC_CONFIG_TEXT, SLC_CONFIG_SECRET, NULL, 1, 4096, "hidden", NULL, "Two",
                "A secret."},
    [FILE_NAME] = {"file", SLC_CONFIG_TEXT, 0, NULL, 1, 100, "false", "false", "Two", "A file."},
};
static const slc_config_idle idle[] = {{"ssl_options.*", "there is no TLS"},
                                       {"vhost_max", "there are no vhosts"},
                                       {"erlang.*", "there is no Erlang"},
                                       {0}};
static const slc_config_table table = {.keys = keys, .count = KEYS, .idle = idle};

static slc_config *config;
static slc_error error;

static void setup(void)
{
    config = slc_config_new(&table);
    error = (slc_error){0};
}

static void teardown(void)
{
    slc_config_free(config);
    config = NULL;
}

TestSuite(config, .init = setup, .fini = teardown, .timeout = 60);

static slc_err parse(const char *text)
{
    return slc_config_parse(config, slc_slice_str(text), "x.conf", &error);
}

static void good(const char *text)
{
    slc_err rc = parse(text);
    cr_assert(eq(int, rc, SLC_OK), "%s: %s", text, error.text);
}

static void expect_in(const char *text, const char *part)
{
    cr_expect(ne(ptr, strstr(text, part), NULL), "'%s' is not in: %s", part, text);
}

static void expect_not_in(const char *text, const char *part)
{
    cr_expect(eq(ptr, strstr(text, part), NULL), "'%s' is in: %s", part, text);
}

Test(config, without_sources_defaults_hold)
{
    cr_expect(slc_config_bool(config, FLAG));
    cr_expect(eq(u64, slc_config_number(config, COUNT), 5));
    cr_expect(eq(u64, slc_config_number(config, SIZE), 4096));
    cr_expect(eq(u64, slc_config_number(config, TIME), 500));
    cr_expect(eq(u64, slc_config_number_or(config, SECONDS, 77), 77));
    cr_expect(eq(int, slc_config_enum(config, MODE), 0));
    cr_expect(eq(ptr, (void *)slc_config_text(config, NAME), NULL));
    cr_expect(eq(ptr, (void *)slc_config_text(config, FILE_NAME), NULL), "one of the words");
    cr_expect(eq(ptr, (void *)slc_config_get(config, ADDRESS), NULL));
    uint32_t count = 9;
    slc_config_list(config, PORTS, &count);
    cr_expect(eq(u32, count, 0));
    cr_expect(not(slc_config_is_set(config, FLAG)));
    cr_expect(eq(int, slc_config_finish(config, true, &error), SLC_OK));
}

Test(config, lines_comments_quotes_and_the_last_one_wins)
{
    good("\xef\xbb\xbf# a comment\r\n"
         "\r\n"
         "   a.flag=off   # why\r\n"
         "\ta.count\t=\t7\t\n"
         "name = first\n"
         "name = ' a # b '   # kept\n"
         "file = log file.txt\n"
         "mode = interval");
    cr_expect(not(slc_config_bool(config, FLAG)));
    cr_expect(eq(u64, slc_config_number(config, COUNT), 7));
    cr_expect(eq(str, (char *)slc_config_text(config, NAME), " a # b "));
    cr_expect(eq(str, (char *)slc_config_text(config, FILE_NAME), "log file.txt"));
    cr_expect(eq(int, slc_config_enum(config, MODE), 2));
    cr_expect(eq(u32, slc_config_get(config, NAME)->line, 6));
    cr_expect(eq(str, (char *)slc_config_get(config, NAME)->source, "x.conf"));
    good("name = ''\n");
    cr_expect(eq(str, (char *)slc_config_text(config, NAME), ""));
}

struct number_case {
    char text[32];
    int key;
    uint64_t want; // UINT64_MAX: refused
};

ParameterizedTestParameters(config, numbers)
{
    static struct number_case cases[] = {
        {"2", COUNT, 2},
        {"10", COUNT, 10},
        {"1", COUNT, UINT64_MAX},
        {"11", COUNT, UINT64_MAX},
        {"-3", COUNT, UINT64_MAX},
        {"5x", COUNT, UINT64_MAX},
        {"5.0", COUNT, UINT64_MAX},
        {"18446744073709551621", COUNT, UINT64_MAX}, // 2^64 + 5
        {"infinity", COUNT, 999},
        {"Infinity", COUNT, UINT64_MAX},
        {"100", SIZE, 100},
        {"10KB", SIZE, 10000},
        {"10kb", SIZE, 10000},
        {"10KiB", SIZE, 10240},
        {"10k", SIZE, 10240},
        {"10 MiB", SIZE, 10485760},
        {"3m", SIZE, 3145728},
        {"2MB", SIZE, 2000000},
        {"1GiB", SIZE, 1073741824},
        {"1gb", SIZE, 1000000000},
        {"1T", SIZE, 1ull << 40},
        {"1025g", SIZE, UINT64_MAX},              // above its maximum
        {"18014398509481985k", SIZE, UINT64_MAX}, // above 2^64
        {"k", SIZE, UINT64_MAX},
        {"1kk", SIZE, UINT64_MAX},
        {"1.5g", SIZE, UINT64_MAX},
        {"0", TIME, 0},
        {"250", TIME, 250},
        {"250ms", TIME, 250},
        {"10s", TIME, 10000},
        {"5m", TIME, 300000},
        {"2h", TIME, 7200000},
        {"7d", TIME, 604800000},
        {"8d", TIME, UINT64_MAX},
        {"5 weeks", TIME, UINT64_MAX},
        {"60", SECONDS, 60000},
        {"60ms", SECONDS, 60},
    };
    return cr_make_param_array(struct number_case, cases, sizeof cases / sizeof cases[0]);
}

ParameterizedTest(struct number_case *c, config, numbers)
{
    slc_err rc = slc_config_set(config, keys[c->key].name, c->text, "--set", &error);
    cr_expect(eq(int, rc, c->want == UINT64_MAX ? SLC_EINVAL : SLC_OK), "%s", c->text);
    if (rc == SLC_OK)
        cr_expect(eq(u64, slc_config_number_or(config, (uint32_t)c->key, 999), c->want), "%s",
                  c->text);
}

struct address_case {
    char text[64];
    char host[46]; // "!": refused
    int port;
};

ParameterizedTestParameters(config, addresses)
{
    static struct address_case cases[] = {
        {"5672", "", 5672},
        {"0", "", 0},
        {"127.0.0.1:5672", "127.0.0.1", 5672},
        {"[::1]:5672", "::1", 5672},
        {"::1:5672", "::1", 5672}, // RabbitMQ writes it so
        {"[fe80::1:2]:1", "fe80::1:2", 1},
        {"0.0.0.0:65535", "0.0.0.0", 65535},
        {"65536", "!", 0},
        {"localhost:5672", "!", 0},
        {"[127.0.0.1]:5672", "!", 0},
        {"127.0.0.1:", "!", 0},
        {"127.0.0.1", "!", 0},
        {"[::1]", "!", 0},
        {":5672", "!", 0},
        {"1.2.3:5672", "!", 0},
        {"5672x", "!", 0},
        {"[1234:1234:1234:1234:1234:1234:1234:1234:1234:1]:5", "!", 0},
    };
    return cr_make_param_array(struct address_case, cases, sizeof cases / sizeof cases[0]);
}

ParameterizedTest(struct address_case *c, config, addresses)
{
    slc_err rc = slc_config_set(config, "address", c->text, "--set", &error);
    cr_expect(eq(int, rc, c->host[0] == '!' ? SLC_EINVAL : SLC_OK), "%s", c->text);
    if (rc != SLC_OK)
        return;
    const slc_config_address *address = &slc_config_get(config, ADDRESS)->address;
    cr_expect(eq(str, (char *)address->host, c->host), "%s", c->text);
    cr_expect(eq(int, address->port, c->port), "%s", c->text);
}

Test(config, fractions_and_flags)
{
    good("a.share = 0.25\na.flag = on\n");
    cr_expect(epsilon_eq(dbl, slc_config_get(config, SHARE)->fraction, 0.25, 1e-12));
    good("a.share = 1\na.flag = false\n");
    cr_expect(epsilon_eq(dbl, slc_config_get(config, SHARE)->fraction, 1.0, 1e-12));
    cr_expect(eq(int, parse("a.share = 1.01\n"), SLC_EINVAL));
    cr_expect(eq(int, parse("a.share = .5\n"), SLC_EINVAL));
    cr_expect(eq(int, parse("a.share = 0.\n"), SLC_EINVAL));
    cr_expect(eq(int, parse("a.share = 0.6e1\n"), SLC_EINVAL));
    cr_expect(eq(int, parse("a.flag = yes\n"), SLC_EINVAL));
}

Test(config, an_error_names_file_line_key_value_and_what_is_allowed)
{
    cr_expect(eq(int, parse("\n\na.count = 11\n"), SLC_EINVAL));
    cr_expect(eq(str, error.text,
                 "x.conf:3: a.count = 11 is not allowed: it must be 2 to 10 things, or infinity"));
    cr_expect(eq(int, parse("mode = often\n"), SLC_EINVAL));
    cr_expect(eq(str, error.text,
                 "x.conf:1: mode = often is not allowed: it must be group, full or interval"));
    cr_expect(eq(int, slc_config_assign(config, " a.time = 9d ", "--set", &error), SLC_EINVAL));
    cr_expect(
        eq(str, error.text,
           "--set: a.time = 9d is not allowed: it must be a time such as 500ms, 10s or 5m, 0 s to "
           "7 d"));
    cr_expect(eq(int, parse("a.size = 2TiB\n"), SLC_EINVAL));
    expect_in(error.text, "a size such as 64MiB, 0 bytes to 1 TiB");
    cr_expect(eq(int, parse("ports.tcp.7 = x\n"), SLC_EINVAL));
    expect_in(error.text, "x.conf:1: ports.tcp.7 = x is not allowed: it must be [ip:]port");
    cr_expect(eq(int, parse("name = 123456789012345678901\n"), SLC_EINVAL));
    expect_in(error.text, "text of 0 to 20 bytes");
    cr_expect(eq(u64, slc_config_number(config, COUNT), 5), "a refused value changes nothing");
}

Test(config, syntax_errors)
{
    static const char *const bad[] = {
        "a.flag",       "= 5",           ".a = 5",       "a. = 5",           "a..b = 5",
        "a b = 5",      "n\xc3\xa9 = 5", "name =",       "name = # nothing", "name = 'open",
        "name = 'a' b", "name = \xff",   "name = a\x01", "name = a\x7f"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        slc_err rc = parse(bad[i]);
        cr_expect(eq(int, rc, SLC_ESYNTAX), "%s", bad[i]);
        expect_in(error.text, "x.conf:1: ");
    }
    char long_key[300];
    memset(long_key, 'k', sizeof long_key);
    memcpy(long_key + 290, " = 1", 5);
    cr_expect(eq(int, parse(long_key), SLC_ESYNTAX));
    cr_expect(eq(int, slc_config_parse(config, slc_slice_of("name = a\0b", 10), "x.conf", &error),
                 SLC_ESYNTAX));
    cr_expect(eq(int, slc_config_assign(config, "name", "--set", &error), SLC_ESYNTAX));
}

Test(config, all_mistakes_are_collected_and_the_first_is_the_error)
{
    cr_expect(eq(int, parse("a.count = 1\nname = fine\nnonsense\na.flag = 5\n"), SLC_EINVAL));
    expect_in(error.text, "x.conf:1: a.count");
    uint32_t count = 0;
    const slc_config_note *notes = slc_config_notes(config, &count);
    cr_assert(eq(u32, count, 3));
    expect_in(notes[1].text, "x.conf:3: 'nonsense' is not key = value");
    expect_in(notes[2].text, "x.conf:4: a.flag = 5");
    cr_expect(eq(str, (char *)slc_config_text(config, NAME), "fine"));
    slc_error again = {0};
    cr_expect(eq(int, slc_config_finish(config, true, &again), SLC_EINVAL));
    cr_expect(eq(str, again.text, (char *)notes[0].text));
}

Test(config, a_value_cut_by_a_comment_is_noted)
{
    good("secret = pass#word\n");
    uint32_t count = 0;
    const slc_config_note *notes = slc_config_notes(config, &count);
    cr_assert(eq(u32, count, 1));
    cr_expect(not(notes[0].error));
    expect_in(notes[0].text, "x.conf:1: secret: the value ends before the #");
    expect_not_in(notes[0].text, "pass");
}

Test(config, lists_by_number_then_by_name)
{
    good("ports.tcp.10 = 10\nports.tcp.lan = 77\nports.tcp.2 = 2\nports.tcp.default = "
         "66\nports.tcp.02 = 3\nports.tcp.10 = 11\n"
         "users.Alice.admin = true\nusers.bob-2.admin = false\n");
    uint32_t count = 0;
    const slc_config_value *ports = slc_config_list(config, PORTS, &count);
    cr_assert(eq(u32, count, 5));
    static const char *const want[] = {"02", "2", "10", "default", "lan"};
    for (uint32_t i = 0; i < 5; i++)
        cr_expect(eq(str, (char *)ports[i].element, (char *)want[i]));
    cr_expect(eq(int, ports[2].address.port, 11));
    cr_expect(slc_config_element(config, USERS, "Alice")->flag);
    cr_expect(not(slc_config_element(config, USERS, "bob-2")->flag));
    cr_expect(eq(ptr, (void *)slc_config_element(config, USERS, "alice"), NULL));
}

Test(config, a_list_is_bounded)
{
    char line[64];
    slc_err rc = SLC_OK;
    uint32_t taken = 0;
    while (rc == SLC_OK && taken < 10000) {
        snprintf(line, sizeof line, "ports.tcp.p%u = 1\n", taken);
        rc = parse(line);
        taken += rc == SLC_OK;
    }
    cr_expect(eq(int, rc, SLC_ELIMIT));
    cr_expect(eq(u32, taken, SLC_CONFIG_ELEMENTS_MAX));
    cr_expect(eq(int, parse("ports.tcp.p7 = 2\n"), SLC_OK), "one that is there may still change");
}

Test(config, an_unknown_key_suggests_the_nearest)
{
    good("a.cuont = 5\nports.tpc.3 = 5\nzebra_crossing_of_the_road = 1\nusers.bob.amdin = "
         "true\na.cuont = 6\n");
    cr_expect(eq(int, slc_config_finish(config, true, &error), SLC_EINVAL));
    cr_expect(eq(str, error.text, "x.conf:1: unknown key a.cuont; did you mean a.count?"));
    uint32_t count = 0;
    const slc_config_note *notes = slc_config_notes(config, &count);
    cr_assert(eq(u32, count, 4), "each key once");
    cr_expect(eq(str, (char *)notes[1].text,
                 "x.conf:2: unknown key ports.tpc.3; did you mean ports.tcp.3?"));
    cr_expect(eq(str, (char *)notes[2].text, "x.conf:3: unknown key zebra_crossing_of_the_road"));
    cr_expect(eq(str, (char *)notes[3].text,
                 "x.conf:4: unknown key users.bob.amdin; did you mean users.bob.admin?"));
}

Test(config, unknown_keys_may_be_warnings)
{
    good("a.cuont = 5\n");
    cr_expect(eq(int, slc_config_finish(config, false, &error), SLC_OK));
    uint32_t count = 0;
    const slc_config_note *notes = slc_config_notes(config, &count);
    cr_assert(eq(u32, count, 1));
    cr_expect(not(notes[0].error));
}

Test(config, keys_without_effect_are_a_warning_for_each_reason)
{
    good("ssl_options.verify = verify_peer\nerlang.K = true\nvhost_max = 5\nssl_options.verify = "
         "x\nssl_options.depth = 2\n");
    cr_expect(eq(int, slc_config_finish(config, true, &error), SLC_OK), "%s", error.text);
    uint32_t count = 0;
    const slc_config_note *notes = slc_config_notes(config, &count);
    static const char *const want[] = {
        "ssl_options.verify, ssl_options.depth have no effect: there is no TLS",
        "erlang.K has no effect: there is no Erlang",
        "vhost_max has no effect: there are no vhosts"};
    cr_assert(eq(u32, count, 3));
    for (uint32_t i = 0; i < 3; i++) {
        cr_expect(not(notes[i].error));
        cr_expect(eq(str, (char *)notes[i].text, (char *)want[i]));
    }
}

Test(config, notes_are_bounded_and_the_first_error_is_never_lost)
{
    char line[64];
    for (int i = 0; i < 300; i++) {
        snprintf(line, sizeof line, "name = a%d#x\n", i);
        good(line);
    }
    cr_expect(eq(int, parse("a.count = 1\n"), SLC_EINVAL));
    for (int i = 0; i < 300; i++)
        cr_expect(eq(int, parse("a.count = 99\n"), SLC_EINVAL));
    uint32_t count = 0;
    const slc_config_note *notes = slc_config_notes(config, &count);
    cr_expect(eq(u32, count, SLC_CONFIG_NOTES_MAX));
    cr_expect(notes[count - 1].error);
    cr_expect(eq(int, slc_config_finish(config, true, &error), SLC_EINVAL));
    expect_in(error.text, "a.count = 1 is not allowed");
}

Test(config, the_environment_names_any_key)
{
    char *environment[] = {
        "PATH=/bin", "T__a__count=8",     "T__ports__tcp__1=[::1]:77", "T__name=",
        "T__mode",   "OTHER__a__count=3", "T__users__x_y__admin=on",   NULL};
    cr_assert(eq(int, slc_config_environment(config, environment, "T__", &error), SLC_OK), "%s",
              error.text);
    cr_expect(eq(u64, slc_config_number(config, COUNT), 8));
    cr_expect(eq(int, slc_config_element(config, PORTS, "1")->address.port, 77));
    cr_expect(slc_config_element(config, USERS, "x_y")->flag);
    cr_expect(not(slc_config_is_set(config, NAME)), "an empty variable does not count");

    char *bad[] = {"T__a__count=99", "T__a__flag=maybe", NULL};
    cr_expect(eq(int, slc_config_environment(config, bad, "T__", &error), SLC_EINVAL));
    expect_in(error.text, "environment variable T__a__count: a.count = 99");
}

static char root[] = "/tmp/sluice-config-XXXXXX";

static void write_file(const char *name, const char *text, size_t bytes)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", root, name);
    FILE *file = fopen(path, "w");
    cr_assert(ne(ptr, file, NULL));
    cr_assert(eq(sz, fwrite(text, 1, bytes, file), bytes));
    fclose(file);
}

static void remove_files(const char *const *names)
{
    char path[128];
    for (; *names != NULL; names++) {
        snprintf(path, sizeof path, "%s/%s", root, *names);
        unlink(path);
    }
    rmdir(root);
}

Test(config, files_and_directories)
{
    cr_assert(ne(ptr, mkdtemp(root), NULL));
    char path[128];
    write_file("20-b.conf", "a.count = 3\nname = b\n", 21);
    write_file("10-a.conf", "a.count = 2\na.time = 7\n", 23);
    write_file("30-c.conf.bak", "nonsense", 8);
    write_file(".40-d.conf", "nonsense", 8);
    cr_expect(eq(int, slc_config_load_dir(config, root, &error), SLC_OK), "%s", error.text);
    cr_expect(eq(u64, slc_config_number(config, COUNT), 3), "in the order of names");
    cr_expect(eq(u64, slc_config_number(config, TIME), 7));
    snprintf(path, sizeof path, "%s/20-b.conf", root);
    cr_expect(eq(str, (char *)slc_config_get(config, COUNT)->source, path));

    snprintf(path, sizeof path, "%s/none", root);
    cr_expect(eq(int, slc_config_load_dir(config, path, &error), SLC_OK),
              "a directory that is not there is fine");
    cr_expect(eq(int, slc_config_load_file(config, path, &error), SLC_ENOTFOUND));
    expect_in(error.text, path);
    cr_expect(eq(int, slc_config_load_file(config, root, &error), SLC_EINVAL),
              "a directory is no file");

    char *big = slc_alloc(SLC_CONFIG_FILE_BYTES_MAX + 1);
    memset(big, '\n', SLC_CONFIG_FILE_BYTES_MAX + 1);
    write_file("big", big, SLC_CONFIG_FILE_BYTES_MAX);
    snprintf(path, sizeof path, "%s/big", root);
    cr_expect(eq(int, slc_config_load_file(config, path, &error), SLC_OK));
    write_file("big", big, SLC_CONFIG_FILE_BYTES_MAX + 1);
    cr_expect(eq(int, slc_config_load_file(config, path, &error), SLC_ELIMIT));
    slc_free(big);
    remove_files((const char *const[]){"20-b.conf", "10-a.conf", "30-c.conf.bak", ".40-d.conf",
                                       "big", NULL});
}

static char *printed(bool all)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    slc_config_print(config, all, out);
    fclose(out);
    return text;
}

Test(config, secrets_come_from_files_and_variables_and_are_never_shown)
{
    cr_assert(ne(ptr, mkdtemp(root), NULL));
    write_file("password", "s3cret#1\n", 9);
    write_file("empty", "", 0);
    write_file("lines", "a\nb\n", 4);
    char line[200];
    snprintf(line, sizeof line, "secret = file:%s/password\n", root);
    good(line);
    cr_assert(eq(int, slc_config_finish(config, true, &error), SLC_OK), "%s", error.text);
    cr_expect(eq(str, (char *)slc_config_text(config, SECRET), "s3cret#1"));
    char *text = printed(true);
    expect_in(text, line); // where it is from is no secret
    expect_not_in(text, "s3cret");
    free(text);

    setenv("SLUICE_TEST_SECRET", "from the environment", 1);
    good("secret = env:SLUICE_TEST_SECRET\n");
    cr_assert(eq(int, slc_config_finish(config, true, &error), SLC_OK), "%s", error.text);
    cr_expect(eq(str, (char *)slc_config_text(config, SECRET), "from the environment"));
    setenv("CREDENTIALS_DIRECTORY", root, 1);
    good("secret = credential:password\n");
    cr_assert(eq(int, slc_config_finish(config, true, &error), SLC_OK), "%s", error.text);
    cr_expect(eq(str, (char *)slc_config_text(config, SECRET), "s3cret#1"));

    good("secret = open sesame\n");
    cr_assert(eq(int, slc_config_finish(config, true, &error), SLC_OK), "%s", error.text);
    text = printed(true);
    expect_not_in(text, "sesame");
    expect_in(text, "secret = ********\n");
    free(text);

    static const char *const bad[] = {"file:/nonexistent-sluice",
                                      "env:SLUICE_TEST_NONE",
                                      "credential:../x",
                                      "credential:",
                                      "encrypted:abc",
                                      "file:%s/empty",
                                      "file:%s/lines"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        slc_config_free(config);
        config = slc_config_new(&table);
        char value[128];
        snprintf(value, sizeof value, bad[i], root);
        cr_assert(eq(int, slc_config_set(config, "secret", value, "--set", &error), SLC_OK));
        cr_expect(ne(int, slc_config_finish(config, true, &error), SLC_OK), "%s", value);
        expect_in(error.text, "--set: secret: ");
    }
    unsetenv("CREDENTIALS_DIRECTORY");
    remove_files((const char *const[]){"password", "empty", "lines", NULL});
}

Test(config, a_secret_that_is_not_allowed_is_not_shown_either)
{
    char *text = slc_alloc(5000);
    memset(text, 'p', 4999);
    text[4999] = '\0';
    cr_expect(eq(int, slc_config_set(config, "secret", text, "--set", &error), SLC_EINVAL));
    expect_not_in(error.text, "ppp");
    slc_free(text);
}

Test(config, what_is_printed_can_be_read_back)
{
    good("name = ' a # b '\na.count = infinity\na.size = 10k\nports.tcp.1 = "
         "[::1]:5\nusers.bob.admin = off\nmode = full\n");
    char *before = printed(true);
    expect_in(before, "a.time = 500 # default\n");
    slc_config_free(config);
    config = slc_config_new(&table);
    good(before);
    char *after = printed(false);
    expect_in(after, "name = ' a # b '\n");
    expect_in(after, "users.bob.admin = off\n");
    expect_in(after, "ports.tcp.1 = [::1]:5\n");
    free(before);
    free(after);
}

static char entries[2048];

static void note_entry(const slc_config_entry *entry, void *arg)
{
    (void)arg;
    size_t used = strlen(entries);
    snprintf(entries + used, sizeof entries - used, "%s=%s(%s)%s%s%s ", entry->name, entry->value,
             entry->fallback != NULL ? entry->fallback : "-",
             entry->source != NULL ? entry->source : "", entry->differs ? "!" : "",
             entry->reloadable ? "r" : "");
}

Test(config, entries_say_where_values_come_from_and_whether_they_are_the_defaults)
{
    good("a.flag = on\na.size = 4096\na.time = 1s\nports.tcp.1 = 5\nsecret = open\n");
    cr_assert(eq(int, slc_config_finish(config, true, &error), SLC_OK), "%s", error.text);
    slc_config_each(config, note_entry, NULL);
    expect_in(entries, "a.flag=on(true)x.confr "); // another word for the same
    expect_in(entries, "a.count=5(5) ");
    expect_in(entries, "a.size=4096(4KiB)x.conf "); // likewise
    expect_in(entries, "a.time=1s(500)x.conf! ");
    expect_in(entries, "ports.tcp.1=5(-)x.conf!r ");
    expect_in(entries, "secret=********(********)x.conf! ");
    cr_expect(eq(ptr, strstr(entries, "a.seconds"), NULL), "it has no value");
}

static char changes[512];

static void note_change(const char *name, bool needs_restart, void *arg)
{
    (void)arg;
    size_t used = strlen(changes);
    snprintf(changes + used, sizeof changes - used, "%s%s ", name, needs_restart ? "!" : "");
}

Test(config, differences_name_the_keys_and_what_they_need)
{
    slc_config *after = slc_config_new(&table);
    good("a.flag = on\na.size = 1024\nports.tcp.1 = 5\nports.tcp.2 = 6\nname = x\na.count = "
         "infinity\n");
    cr_assert(eq(
        int,
        slc_config_parse(after,
                         slc_slice_str("a.size = 1KiB\nports.tcp.2 = 7\nports.tcp.3 = 8\nname = y\n"
                                       "a.count = 5\na.time = 0.5s\n"),
                         "y", &error),
        SLC_EINVAL));
    slc_config_diff(config, after, note_change, NULL);
    // on is the default true, 1KiB is 1024; a refused value is no change
    cr_expect(eq(str, changes, "a.count! name! ports.tcp.1 ports.tcp.2 ports.tcp.3 "));
    changes[0] = '\0';
    slc_config_diff(after, after, note_change, NULL);
    cr_expect(eq(str, changes, ""));
    slc_config_free(after);
}

Test(config, the_manual_and_the_sample_name_every_key)
{
    char *man = NULL, *sample = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&man, &bytes);
    slc_config_write_man(&table, out);
    fclose(out);
    out = open_memstream(&sample, &bytes);
    slc_config_write_sample(&table, out);
    fclose(out);
    expect_in(man, ".SS One\n");
    expect_in(man,
              "\\fBa.count\\fR = 2 to 10 things, or infinity\nA count.\nDefault: \\fB5\\fR.\n");
    expect_in(man, "\\fBports.tcp.\\fIN\\fB\\fR = ");
    expect_in(man, "\\fBusers.\\fIname\\fB.admin\\fR = ");
    expect_in(man, "\n\\&.A name\\e with \\- signs.\n");
    expect_in(man, "Takes effect on reload.\n");
    expect_not_in(man, "hidden");
    expect_in(sample, "# ---- Two\n");
    expect_in(sample, "## A count.\n## Allowed: 2 to 10 things, or infinity.\n# a.count = 5\n");
    expect_in(sample, "# ports.tcp.1 =\n");
    expect_in(sample, "# users.NAME.admin =\n");
    expect_not_in(sample, "hidden");
    good(sample); // nothing but comments
    free(man);
    free(sample);
}

Test(config, distance_counts_edits)
{
    cr_expect(eq(u32, slc_config_distance("", ""), 0));
    cr_expect(eq(u32, slc_config_distance("abc", "abc"), 0));
    cr_expect(eq(u32, slc_config_distance("abc", ""), 3));
    cr_expect(eq(u32, slc_config_distance("abc", "acb"), 1)); // neighbours swapped
    cr_expect(eq(u32, slc_config_distance("abc", "abcd"), 1));
    cr_expect(eq(u32, slc_config_distance("kitten", "sitting"), 3));
}

// No bytes may do worse than an error; whatever parses can be printed and read again.
Test(config, random_bytes)
{
    static const char *const seeds[] = {"a.count = 5\n",           "name = 'a # b'\n",
                                        "ports.tcp.1 = [::1]:5\n", "secret = file:x\n",
                                        "a.size = 10MiB # c\n",    "ssl_options.x = 1\n",
                                        "users.b.admin = on\n"};
    uint64_t x = 88172645463325252ull;
    for (int round = 0; round < 5000; round++) {
        uint8_t *text = slc_alloc(200);
        size_t bytes = 0;
        for (int i = 0; i < 3; i++) {
            x ^= x << 13, x ^= x >> 7, x ^= x << 17;
            const char *seed = seeds[x % (sizeof seeds / sizeof seeds[0])];
            memcpy(text + bytes, seed, strlen(seed));
            bytes += strlen(seed);
        }
        for (int i = 0; i < 4; i++) {
            x ^= x << 13, x ^= x >> 7, x ^= x << 17;
            text[x % bytes] = (uint8_t)(x >> 32);
        }
        text = slc_realloc(text, bytes); // so that a sanitizer sees one octet too far
        slc_err rc = slc_config_parse(config, slc_slice_of(text, bytes), "random", &error);
        cr_assert(rc == SLC_OK || rc == SLC_EINVAL || rc == SLC_ESYNTAX || rc == SLC_ELIMIT);
        slc_free(text);
        if (round % 100 == 99) {
            slc_config_free(config);
            config = slc_config_new(&table);
        }
    }
}
