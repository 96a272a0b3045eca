// Cells and rows: the spelling of field tables, TSV, CSV, JSON, and the parser of the command line.
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"

static char *text_of(slc_buffer *buffer)
{
    slc_buffer_put(buffer, "", 1);
    return (char *)buffer->data;
}

/* ---- Erlang's spelling; expected texts come from rabbitmqctl 3.10.8 and, for numbers, from Erlang 25 ---- */

struct string_case {
    char value[32];
    char want[64];
};

ParameterizedTestParameters(erlang, strings)
{
    static struct string_case cases[] = {
        {"orders", "\"orders\""},
        {"", "[]"},
        {"s\"tr\\", "\"s\\\"tr\\\\\""},
        {"a\tb\nc", "\"a\\tb\\nc\""},
        {"a\x1b\x0b\x08\x0c\rb", "\"a\\e\\v\\b\\f\\rb\""},
        {"\xc3\xbc", "\"\xc3\xbc\""}, // Latin-1 is printable
        {"\xe6\x97\xa5\xe6\x9c\xac", "[26085,26412]"},
        {"a\x01z", "[97,1,122]"},
        {"a\x7fz", "[97,127,122]"},
        {"a\xc2\xa0\xc2\x85z", "[97,160,133,122]"},
        {"\xf0\x9f\x98\x80", "[128512]"},
        {"\xff", "<<255>>"}, // no text at all; rabbitmqctl fails here
    };
    return cr_make_param_array(struct string_case, cases, sizeof cases / sizeof cases[0]);
}

ParameterizedTest(struct string_case *c, erlang, strings, .timeout = 60)
{
    slc_table_builder b = {0};
    slc_table_put_text(&b, "k", c->value);
    slc_buffer out = {0};
    slc_ctl_erlang_table(slc_table_builder_content(&b), &out);
    char want[96];
    snprintf(want, sizeof want, "[{\"k\",%s}]", c->want);
    cr_expect_str_eq(text_of(&out), want);
    slc_buffer_fini(&out);
    slc_table_builder_fini(&b);
}

struct number_case {
    double value;
    char want[32];
};

ParameterizedTestParameters(erlang, doubles)
{
    static struct number_case cases[] = {
        {1.5, "1.5"},
        {-0.25, "-0.25"},
        {100.0, "100.0"},
        {1e5, "1.0e5"}, // shorter so
        {123456.789, "123456.789"},
        {0.0001, "0.0001"},
        {0.00001, "1.0e-5"},
        {0.000123, "1.23e-4"},
        {1234560000000.0, "1.23456e12"},
        {4503599627370496.0, "4503599627370496.0"},
        {9007199254740992.0, "9.007199254740992e15"}, // 2^53
        {1.7976931348623157e308, "1.7976931348623157e308"},
        {5e-324, "5.0e-324"},
        {0.0, "0.0"},
        {-0.0, "-0.0"},
    };
    return cr_make_param_array(struct number_case, cases, sizeof cases / sizeof cases[0]);
}

ParameterizedTest(struct number_case *c, erlang, doubles, .timeout = 60)
{
    slc_table_builder b = {0};
    slc_table_put_double(&b, "k", c->value);
    slc_buffer out = {0};
    slc_ctl_erlang_table(slc_table_builder_content(&b), &out);
    char want[64];
    snprintf(want, sizeof want, "[{\"k\",%s}]", c->want);
    cr_expect_str_eq(text_of(&out), want);
    slc_buffer_fini(&out);
    slc_table_builder_fini(&b);
}

Test(erlang, arrays_tables_and_typed_json, .timeout = 60)
{
    slc_table_builder b = {0};
    slc_table_open(&b, "ints", SLC_TYPE_ARRAY); // all printable: a string to Erlang
    for (int32_t i = 97; i < 100; i++)
        slc_table_put_i32(&b, NULL, i);
    slc_table_close(&b);
    slc_table_open(&b, "mixed", SLC_TYPE_ARRAY);
    slc_table_put_i32(&b, NULL, 97);
    slc_table_put_text(&b, NULL, "b");
    slc_table_close(&b);
    slc_table_open(&b, "t", SLC_TYPE_TABLE);
    slc_table_put_bool(&b, "on", true);
    slc_table_close(&b);
    slc_table_open(&b, "none", SLC_TYPE_TABLE);
    slc_table_close(&b);
    slc_slice content = slc_table_builder_content(&b);
    slc_buffer text = {0}, json = {0};
    slc_ctl_erlang_table(content, &text);
    cr_expect_str_eq(
        text_of(&text),
        "[{\"ints\",\"abc\"},{\"mixed\",[97,\"b\"]},{\"t\",[{\"on\",true}]},{\"none\",[]}]");
    slc_ctl_typed_json(content, &json);
    cr_expect_str_eq(
        text_of(&json),
        "[[\"ints\",\"array\",[[\"signedint\",97],[\"signedint\",98],[\"signedint\",99]]],"
        "[\"mixed\",\"array\",[[\"signedint\",97],[\"longstr\",\"b\"]]],"
        "[\"t\",\"table\",[[\"on\",\"bool\",true]]],[\"none\",\"table\",[]]]");
    slc_buffer_fini(&text);
    slc_buffer_fini(&json);
    slc_table_builder_fini(&b);
}

/* ---- rows ---- */

static char *print(const slc_ctl *ctl, const slc_ctl_cell *cells, uint32_t rows)
{
    static const char *const columns[] = {"name", "n"};
    char *text = NULL;
    size_t bytes = 0;
    FILE *file = open_memstream(&text, &bytes);
    slc_ctl_output out;
    slc_ctl_output_begin(&out, ctl, file, columns, 2);
    for (uint32_t i = 0; i < rows; i++)
        slc_ctl_output_row(&out, cells + 2 * i);
    slc_ctl_output_end(&out);
    fclose(file);
    return text;
}

static void expect_rows(slc_ctl ctl, const slc_ctl_cell *cells, uint32_t rows, const char *want)
{
    char *text = print(&ctl, cells, rows);
    cr_expect_str_eq(text, want);
    free(text);
}

Test(output, every_format, .timeout = 60)
{
    const slc_ctl_cell cells[] = {
        {.kind = CELL_TEXT, .text = slc_slice_str("a\tb\\\"")},
        {.kind = CELL_NUMBER, .text = slc_slice_str("12")},
        {.kind = CELL_NONE},
        {.kind = CELL_BOOL, .boolean = true},
    };
    expect_rows((slc_ctl){.format = CTL_TABLE}, cells, 2, "name\tn\na\\tb\\\\\"\t12\n\ttrue\n");
    expect_rows((slc_ctl){.format = CTL_TABLE, .alias = true}, cells, 2,
                "name\tn\na\tb\\\"\t12\n\ttrue\n");
    expect_rows((slc_ctl){.format = CTL_TABLE, .no_headers = true}, cells, 1, "a\\tb\\\\\"\t12\n");
    expect_rows((slc_ctl){.format = CTL_CSV}, cells, 2,
                "\"name\",\"n\"\n\"a\tb\\\"\"\",\"12\"\n\"\",\"true\"\n");
    expect_rows((slc_ctl){.format = CTL_JSON}, cells, 2,
                "[\n{\"name\":\"a\\tb\\\\\\\"\",\"n\":12}\n,{\"name\":null,\"n\":true}\n]\n");
    expect_rows((slc_ctl){.format = CTL_JSON_STREAM}, cells + 2, 1, "{\"name\":null,\"n\":true}\n");
    // Nothing to list: nothing printed, not even a header.
    expect_rows((slc_ctl){.format = CTL_TABLE}, cells, 0, "");
    expect_rows((slc_ctl){.format = CTL_CSV}, cells, 0, "");
    expect_rows((slc_ctl){.format = CTL_PRETTY_TABLE}, cells, 0, "");
    expect_rows((slc_ctl){.format = CTL_JSON}, cells, 0, "[\n]\n");
    setenv("NO_COLOR", "1", 1);
    expect_rows((slc_ctl){.format = CTL_TABLE, .tty = true}, cells, 2,
                "name    n\na\\tb\\\"  12\n        true\n");
}

// What the JSON formatter prints is JSON again, whatever octets a name has.
Test(output, json_strings_read_back, .timeout = 60)
{
    unsigned seed = 3;
    for (int round = 0; round < 20000; round++) {
        char text[12];
        size_t n = (size_t)(rand_r(&seed) % 12);
        for (size_t i = 0; i < n; i++)
            text[i] = "ab\\u0009\t\n\r\b\f\x01\x1f\"/"[rand_r(&seed) % 16];
        slc_buffer json = {0};
        slc_ctl_json_string(slc_slice_of(text, n), &json);
        json_t *got =
            json_loadb((char *)json.data, json.bytes, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
        cr_assert_not_null(got, "round %d: %.*s", round, (int)json.bytes, (char *)json.data);
        cr_assert_eq(json_string_length(got), n, "round %d", round);
        cr_assert(memcmp(json_string_value(got), text, n) == 0, "round %d", round);
        json_decref(got);
        slc_buffer_fini(&json);
    }
}

Test(output, base64_is_strict, .timeout = 60)
{
    static const struct {
        const char *text, *want; // want NULL: refused
    } cases[] = {
        {"", ""},       {"QQ==", "A"},  {"QUI=", "AB"}, {"QUJD", "ABC"}, {"QUJDRA==", "ABCD"},
        {"QQ", NULL},   {"QQ=", NULL},  {"Q===", NULL}, {"====", NULL},  {"QQ==QUJD", NULL},
        {"Q-JD", NULL}, {"QU D", NULL}, {"Q=I=", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        slc_buffer out = {0};
        bool ok = slc_ctl_base64_decode(slc_slice_str(cases[i].text), &out);
        cr_expect_eq(ok, cases[i].want != NULL, "%s", cases[i].text);
        if (ok && cases[i].want != NULL)
            cr_expect(slc_slice_is(slc_buffer_slice(&out), cases[i].want), "%s", cases[i].text);
        slc_buffer_fini(&out);
    }
}

/* ---- the command line ---- */

static int parse(slc_ctl *ctl, int argc, char **argv)
{
    slc_free(ctl->args); // of the call before
    *ctl = (slc_ctl){.vhost = "/", .timeout_s = 60, .program = "sluicectl"};
    return slc_ctl_parse(ctl, argc, argv);
}
#define PARSE(ctl, ...)                                                                            \
    parse(ctl, (int)(sizeof((char *[]){__VA_ARGS__}) / sizeof(char *)), (char *[]){__VA_ARGS__})

Test(parser, options_stand_anywhere, .timeout = 60)
{
    slc_ctl ctl = {0};
    cr_assert_eq(
        PARSE(&ctl, "x", "-qp", "v", "list-queues", "name", "--formatter=csv", "messages", "-t5"),
        -1);
    cr_expect_str_eq(ctl.command->name, "list_queues");
    cr_expect_str_eq(ctl.vhost, "v");
    cr_expect(ctl.quiet && !ctl.silent);
    cr_expect_eq(ctl.format, CTL_CSV);
    cr_expect(ctl.timeout_s == 5);
    cr_expect_eq(ctl.arg_count, 2);
    cr_assert_eq(PARSE(&ctl, "x", "delete_queue", "--", "--if-empty"), -1);
    cr_expect_str_eq(ctl.args[0], "--if-empty");
    cr_expect_not(ctl.if_empty);
    cr_assert_eq(PARSE(&ctl, "x", "list_queues", "-s", "-t", "infinity"), -1);
    cr_expect(ctl.silent && ctl.no_headers && ctl.timeout_s < 0);
    slc_free(ctl.args);
}

Test(parser, each_option_names_its_commands, .timeout = 60)
{
    // Every option of the table is taken by some command, and refused by one that does not know it.
    for (const slc_ctl_option *o = slc_ctl_options; o->name != NULL; o++) {
        bool taken = o->bit == 0;
        for (const slc_ctl_command *c = slc_ctl_commands; c->name != NULL; c++)
            taken |= (c->options & o->bit) != 0;
        cr_expect(taken, "--%s", o->name);
        if (o->bit == 0)
            continue;
        slc_ctl ctl = {0};
        char word[64];
        snprintf(word, sizeof word, "--%s%s", o->name, o->argument != NULL ? "=1" : "");
        cr_expect_eq(PARSE(&ctl, "x", "version", word), CTL_USAGE, "%s", word);
        slc_free(ctl.args);
    }
}

Test(parser, columns_of_lists_are_found, .timeout = 60)
{
    for (const slc_ctl_command *c = slc_ctl_commands; c->name != NULL; c++) {
        cr_expect_eq(slc_ctl_command_find(c->name), c);
        if (c->list == NULL)
            continue;
        for (const char *at = c->list->defaults; *at != '\0';) {
            size_t bytes = strcspn(at, ",");
            cr_expect_not_null(slc_ctl_column_find(c->list->columns, slc_slice_of(at, bytes)),
                               "%s: %.*s", c->name, (int)bytes, at);
            at += bytes + (at[bytes] == ',');
        }
    }
    cr_expect_null(slc_ctl_command_find("list_queue"), "prefixes are no names");
    cr_expect_null(slc_ctl_command_find("list_queuesx"));
}

/* ---- tuples ---- */

struct tuple_case {
    char text[48];
    char want[48]; // of rabbitmqctl
};

ParameterizedTestParameters(json, tuples)
{
    static struct tuple_case cases[] = {
        {"127.0.0.1", "[127,0,0,1]"},
        {"::1", "[0,0,0,0,0,0,0,1]"},
        {"fe80::ff:1", "[65152,0,0,0,0,0,255,1]"},
        {"{0,9,1}", "[0,9,1]"},
        {"broker.example", "\"broker.example\""},
        {"1.2.3", "\"1.2.3\""},
        {"", "\"\""},
    };
    return cr_make_param_array(struct tuple_case, cases, sizeof cases / sizeof cases[0]);
}

ParameterizedTest(struct tuple_case *c, json, tuples, .timeout = 60)
{
    slc_ctl_cell cell = {.kind = CELL_TUPLE, .text = slc_slice_str(c->text)};
    slc_buffer out = {0};
    slc_ctl_cell_json(&cell, true, &out);
    cr_expect_str_eq(text_of(&out), c->want);
    slc_buffer_fini(&out);
    slc_ctl_cell_json(&cell, false, &out);
    cr_expect(out.bytes == strlen(c->text) + 2, "a text");
    slc_buffer_fini(&out);
}
