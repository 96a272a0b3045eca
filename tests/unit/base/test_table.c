// Field tables: reading, comparing, building and their text forms. amqp-semantics 2, 8.1, 8.4, 9.2.
#include <criterion/criterion.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>

#include "../wire/gen.h"

#define SLICE(literal) slc_slice_of(literal, sizeof(literal) - 1)

static void expect_text(const slc_buffer *out, const char *wanted)
{
    cr_expect(slc_slice_is(slc_buffer_slice(out), wanted), "got %.*s, wanted %s",
              SLC_SLICE_FMT(slc_buffer_slice(out)), wanted);
}

typedef struct type_case {
    const char *pair; // key "k" and the value
    size_t bytes;
    char type;
    int64_t integer;
    const char *name;
    const char *text; // of slc_value_text
    const char *cli;  // of slc_table_text
    const char *json;
} type_case;

#define PAIR(literal) "\1k" literal, sizeof("\1k" literal) - 1

static const type_case type_cases[] = {
    {PAIR("t\1"), 't', 0, "bool", "true", "[{\"k\",true}]", "{\"k\":true}"},
    {PAIR("t\2"), 't', 0, "bool", "true", "[{\"k\",true}]", "{\"k\":true}"},
    {PAIR("t\0"), 't', 0, "bool", "false", "[{\"k\",false}]", "{\"k\":false}"},
    {PAIR("b\xff"), 'b', -1, "byte", "-1", "[{\"k\",-1}]", "{\"k\":-1}"},
    {PAIR("B\xff"), 'B', 255, "unsignedbyte", "255", "[{\"k\",255}]", "{\"k\":255}"},
    {PAIR("s\xff\xfe"), 's', -2, "short", "-2", "[{\"k\",-2}]", "{\"k\":-2}"},
    {PAIR("U\xff\xfe"), 'U', -2, "short", "-2", "[{\"k\",-2}]", "{\"k\":-2}"},
    {PAIR("u\xff\xfe"), 'u', 65534, "unsignedshort", "65534", "[{\"k\",65534}]", "{\"k\":65534}"},
    {PAIR("I\0\0\0\5"), 'I', 5, "signedint", "5", "[{\"k\",5}]", "{\"k\":5}"},
    {PAIR("I\x80\0\0\0"), 'I', INT32_MIN, "signedint", "-2147483648", "[{\"k\",-2147483648}]",
     "{\"k\":-2147483648}"},
    {PAIR("i\x80\0\0\0"), 'i', 2147483648, "unsignedint", "2147483648", "[{\"k\",2147483648}]",
     "{\"k\":2147483648}"},
    {PAIR("l\x80\0\0\0\0\0\0\0"), 'l', INT64_MIN, "long", "-9223372036854775808",
     "[{\"k\",-9223372036854775808}]", "{\"k\":-9223372036854775808}"},
    {PAIR("L\xff\xff\xff\xff\xff\xff\xff\xff"), 'L', -1, "long", "-1", "[{\"k\",-1}]",
     "{\"k\":-1}"},
    {PAIR("f\x3f\xc0\0\0"), 'f', 0, "float", "1.5", "[{\"k\",1.5}]", "{\"k\":1.5}"},
    {PAIR("d\x3f\xb9\x99\x99\x99\x99\x99\x9a"), 'd', 0, "double", "0.1", "[{\"k\",0.1}]",
     "{\"k\":0.1}"},
    {PAIR("D\2\0\0\1\x3a"), 'D', 0, "decimal", "{2,314}", "[{\"k\",{2,314}}]", "{\"k\":314e-2}"},
    {PAIR("S\0\0\0\4lazy"), 'S', 0, "longstr", "lazy", "[{\"k\",\"lazy\"}]", "{\"k\":\"lazy\"}"},
    {PAIR("S\0\0\0\0"), 'S', 0, "longstr", "", "[{\"k\",[]}]", "{\"k\":\"\"}"},
    {PAIR("S\0\0\0\2\xc3\xa9"), 'S', 0, "longstr", "\xc3\xa9", "[{\"k\",\"\xc3\xa9\"}]",
     "{\"k\":\"\xc3\xa9\"}"},
    {PAIR("S\0\0\0\2\xc5\xbe"), 'S', 0, "longstr", "\xc5\xbe", "[{\"k\",[382]}]",
     "{\"k\":\"\xc5\xbe\"}"},
    {PAIR("S\0\0\0\3a\"\n"), 'S', 0, "longstr", "a\"\n", "[{\"k\",\"a\\\"\\n\"}]",
     "{\"k\":\"a\\\"\\u000a\"}"},
    {PAIR("S\0\0\0\2\xff\x01"), 'S', 0, "longstr", "\xff\x01", "[{\"k\",[255,1]}]",
     "{\"k\":\"/wE=\"}"},
    {PAIR("x\0\0\0\2ab"), 'x', 0, "binary", "ab", "[{\"k\",<<\"ab\">>}]", "{\"k\":\"YWI=\"}"},
    {PAIR("x\0\0\0\3\1\2\377"), 'x', 0, "binary", "\1\2\377", "[{\"k\",<<1,2,255>>}]",
     "{\"k\":\"AQL/\"}"},
    {PAIR("T\0\0\0\0\x65\x53\xf1\0"), 'T', 0, "timestamp", "1700000000", "[{\"k\",1700000000}]",
     "{\"k\":1700000000}"},
    {PAIR("V"), 'V', 0, "void", "undefined", "[{\"k\",undefined}]", "{\"k\":null}"},
    {PAIR("F\0\0\0\4\1at\1"), 'F', 0, "table", "[{<<\"a\">>,bool,true}]",
     "[{\"k\",[{\"a\",true}]}]", "{\"k\":{\"a\":true}}"},
    {PAIR("F\0\0\0\0"), 'F', 0, "table", "[]", "[{\"k\",[]}]", "{\"k\":{}}"},
    {PAIR("A\0\0\0\5B\1Vt\1"), 'A', 0, "array", "[{unsignedbyte,1},{void,undefined},{bool,true}]",
     "[{\"k\",[1,undefined,true]}]", "{\"k\":[1,null,true]}"},
    {PAIR("A\0\0\0\0"), 'A', 0, "array", "[]", "[{\"k\",[]}]", "{\"k\":[]}"},
    {PAIR("A\0\0\0\4BABB"), 'A', 0, "array", "[{unsignedbyte,65},{unsignedbyte,66}]",
     "[{\"k\",\"AB\"}]", "{\"k\":[65,66]}"},
};

Test(table, every_type_is_read_named_and_printed)
{
    for (size_t i = 0; i < SLC_ARRAY_COUNT(type_cases); i++) {
        const type_case *c = &type_cases[i];
        slc_slice content = slc_slice_of(c->pair, c->bytes);
        slc_error error = {0};
        cr_expect_eq(slc_table_check(content, &error), SLC_OK, "case %zu: %s", i, error.text);
        slc_value value;
        cr_assert(slc_table_find(content, slc_slice_str("k"), &value), "case %zu", i);
        cr_expect_eq(value.type, c->type, "case %zu", i);
        cr_expect_str_eq(slc_value_type_name(value.type), c->name);
        cr_expect_eq(value.raw.bytes, c->bytes - 2);
        if (slc_value_is_integer(&value))
            cr_expect_eq(value.integer, c->integer, "case %zu", i);
        slc_buffer out = {0};
        slc_value_text(&value, &out);
        expect_text(&out, c->text);
        out.bytes = 0;
        slc_table_text(content, &out);
        expect_text(&out, c->cli);
        out.bytes = 0;
        slc_table_json(content, &out);
        expect_text(&out, c->json);
        slc_buffer_fini(&out);
    }
}

Test(table, every_truncation_of_every_type_is_refused)
{
    guard g = guard_new(256);
    for (size_t i = 0; i < SLC_ARRAY_COUNT(type_cases); i++) {
        const type_case *c = &type_cases[i];
        for (size_t bytes = 1; bytes < c->bytes; bytes++) {
            slc_slice cut = guard_copy(&g, c->pair, bytes);
            cr_expect_eq(slc_table_check(cut, NULL), SLC_ESYNTAX, "case %zu cut to %zu", i, bytes);
            cr_expect_not(slc_table_find(cut, slc_slice_str("k"), NULL));
        }
    }
    guard_free(&g);
}

Test(table, bad_octets_are_refused_by_name)
{
    static const struct {
        slc_slice content;
        const char *text;
    } cases[] = {
        {{(const uint8_t *)"\3abcz", 5}, "field 'abc' has the unknown value type 122"},
        {{(const uint8_t *)"\3abcS\0\0\0\2x", 10}, "field 'abc' is longer than its table"},
        {{(const uint8_t *)"\3abcS\xff\xff\xff\xffx", 10}, "field 'abc' is longer than its table"},
        {{(const uint8_t *)"\5abc", 4}, "a key of 5 octets is longer than its table"},
        {{(const uint8_t *)"\1aA\0\0\0\1?", 8}, "array element '' has the unknown value type 63"},
    };
    for (size_t i = 0; i < SLC_ARRAY_COUNT(cases); i++) {
        slc_error error = {0};
        cr_expect_eq(slc_table_check(cases[i].content, &error), SLC_ESYNTAX);
        cr_expect_str_eq(error.text, cases[i].text);
    }
}

/** A table of `depth` levels: depth - 1 openings around nothing. */
static slc_slice nested(uint8_t *at, size_t cap, unsigned depth)
{
    size_t bytes = 0;
    for (unsigned level = 1; level < depth; level++) {
        cr_assert(bytes + 6 <= cap);
        memmove(at + 6, at, bytes);
        at[0] = 0;
        at[1] = SLC_TYPE_TABLE;
        at[2] = at[3] = 0;
        at[4] = (uint8_t)(bytes >> 8);
        at[5] = (uint8_t)bytes;
        bytes += 6;
    }
    return slc_slice_of(at, bytes);
}

Test(table, depth_is_bounded)
{
    static uint8_t octets[6 * 20000];
    cr_expect_eq(slc_table_check(nested(octets, sizeof octets, SLC_TABLE_DEPTH_MAX), NULL), SLC_OK);
    slc_error error = {0};
    cr_expect_eq(slc_table_check(nested(octets, sizeof octets, SLC_TABLE_DEPTH_MAX + 1), &error),
                 SLC_ESYNTAX);
    cr_expect_str_eq(error.text, "tables are nested deeper than 64");
    cr_expect_eq(slc_table_check(nested(octets, sizeof octets, 5000), NULL), SLC_ESYNTAX);
}

Test(table, first_of_duplicate_keys_is_found)
{
    slc_slice content = SLICE("\1kB\1\1kB\2\1KB\3");
    slc_value value;
    cr_assert(slc_table_find(content, slc_slice_str("k"), &value));
    cr_expect_eq(value.integer, 1);
    cr_assert(slc_table_find(content, slc_slice_str("K"), &value));
    cr_expect_eq(value.integer, 3);
    cr_expect_not(slc_table_find(content, slc_slice_str("x"), NULL));
    cr_expect_eq(slc_table_count(content), 3);
    slc_buffer out = {0};
    slc_table_json(content, &out);
    expect_text(&out, "{\"k\":1,\"K\":3}");
    out.bytes = 0;
    slc_table_text(content, &out);
    expect_text(&out, "[{\"k\",1},{\"k\",2},{\"K\",3}]");
    slc_buffer_fini(&out);
}

Test(table, empty_table)
{
    slc_slice content = {0};
    slc_buffer out = {0};
    cr_expect_eq(slc_table_check(content, NULL), SLC_OK);
    cr_expect_eq(slc_table_count(content), 0);
    slc_table_sorted(content, &out);
    cr_expect_eq(out.bytes, 0);
    slc_table_text(content, &out);
    expect_text(&out, "[]");
    out.bytes = 0;
    slc_table_json(content, &out);
    expect_text(&out, "{}");
    slc_buffer_fini(&out);
}

typedef struct compare_case {
    const char *a; // a value: type octet and payload
    size_t a_bytes;
    const char *b;
    size_t b_bytes;
    bool equivalent;
    bool match;
} compare_case;

#define TWO(left, right) left, sizeof(left) - 1, right, sizeof(right) - 1

static slc_value value_of(const char *octets, size_t bytes)
{
    slc_table_iter iter = slc_table_iter_of(slc_slice_of(octets, bytes));
    slc_value value;
    cr_assert(slc_array_next(&iter, &value));
    return value;
}

Test(table, equivalence_and_match)
{
    static const compare_case cases[] = {
        {TWO("I\0\0\0\5", "l\0\0\0\0\0\0\0\5"), true, true},
        {TWO("b\xff", "l\xff\xff\xff\xff\xff\xff\xff\xff"), true, true},
        {TWO("B\xff", "b\xff"), false, false},
        {TWO("U\0\5", "s\0\5"), true, true},
        {TWO("L\0\0\0\0\0\0\0\5", "B\5"), true, true},
        {TWO("I\0\0\0\1", "f\x3f\x80\0\0"), false, false},
        {TWO("f\x3f\x80\0\0", "d\x3f\xf0\0\0\0\0\0\0"), true, true},
        {TWO("f\0\0\0\0", "B\0"), false, false},
        {TWO("d\0\0\0\0\0\0\0\0", "T\0\0\0\0\0\0\0\0"), false, false},
        {TWO("I\0\0\0\1", "t\1"), false, false},
        {TWO("I\0\0\0\1", "T\0\0\0\0\0\0\0\1"), true, false},
        {TWO("l\xff\xff\xff\xff\xff\xff\xff\xff", "T\xff\xff\xff\xff\xff\xff\xff\xff"), false,
         false},
        {TWO("I\0\0\0\1", "D\0\0\0\0\1"), false, false},
        {TWO("D\1\0\0\0\1", "D\1\0\0\0\1"), true, true},
        {TWO("D\1\0\0\0\1", "D\2\0\0\0\1"), false, false},
        {TWO("S\0\0\0\1a", "x\0\0\0\1a"), true, true},
        {TWO("S\0\0\0\1a", "S\0\0\0\1b"), false, false},
        {TWO("S\0\0\0\1"
             "1",
             "B\1"),
         false, false},
        {TWO("V", "V"), true, true},
        {TWO("V", "t\0"), false, false},
        {TWO("t\1", "t\xff"), true, true},
        {TWO("t\1", "t\0"), false, false},
        {TWO("T\0\0\0\0\0\0\0\1", "T\0\0\0\0\0\0\0\1"), true, true},
        {TWO("A\0\0\0\2B\1", "A\0\0\0\5I\0\0\0\1"), true, true},
        {TWO("A\0\0\0\2B\1", "A\0\0\0\4B\1B\2"), false, false},
        {TWO("A\0\0\0\4B\1B\2", "A\0\0\0\2B\1"), false, false},
        {TWO("A\0\0\0\0", "F\0\0\0\0"), false, false},
        {TWO("F\0\0\0\4\1aB\1", "F\0\0\0\5\1as\0\1"), true, true},
        {TWO("F\0\0\0\4\1aB\1", "F\0\0\0\4\1bB\1"), false, false},
        {TWO("F\0\0\0\7\1aS\0\0\0\0", "F\0\0\0\7\1ax\0\0\0\0"), true, true},
    };
    for (size_t i = 0; i < SLC_ARRAY_COUNT(cases); i++) {
        const compare_case *c = &cases[i];
        slc_value a = value_of(c->a, c->a_bytes);
        slc_value b = value_of(c->b, c->b_bytes);
        cr_expect_eq(slc_value_equivalent(&a, &b), c->equivalent, "case %zu", i);
        cr_expect_eq(slc_value_equivalent(&b, &a), c->equivalent, "case %zu", i);
        cr_expect_eq(slc_value_match(&a, &b), c->match, "case %zu", i);
        cr_expect_eq(slc_value_match(&b, &a), c->match, "case %zu", i);
        cr_expect(slc_value_equivalent(&a, &a) && slc_value_match(&b, &b), "case %zu", i);
    }
}

Test(table, sorted_is_stable_and_independent_of_order)
{
    slc_buffer one = {0}, two = {0};
    slc_table_sorted(SLICE("\1bB\1\0B\2\2aaB\3\1aB\4"), &one);
    cr_expect(slc_slice_equal(slc_buffer_slice(&one), SLICE("\0B\2\1aB\4\2aaB\3\1bB\1")));
    slc_table_sorted(SLICE("\2aaB\3\1aB\4\1bB\1\0B\2"), &two);
    cr_expect(slc_slice_equal(slc_buffer_slice(&one), slc_buffer_slice(&two)));
    one.bytes = 0;
    slc_table_sorted(SLICE("\1bB\1\1aB\2\1bB\0\1aB\1"), &one);
    cr_expect(slc_slice_equal(slc_buffer_slice(&one), SLICE("\1aB\2\1aB\1\1bB\1\1bB\0")));
    slc_buffer_fini(&one);
    slc_buffer_fini(&two);
}

Test(table, builder_writes_what_the_reader_reads)
{
    slc_table_builder b = {0};
    slc_table_put_text(&b, "product", "Sluice");
    slc_table_open(&b, "capabilities", SLC_TYPE_TABLE);
    slc_table_put_bool(&b, "basic.nack", true);
    slc_table_open(&b, "list", SLC_TYPE_ARRAY);
    slc_table_put_i32(&b, NULL, -7);
    slc_table_open(&b, NULL, SLC_TYPE_TABLE);
    slc_table_put_i64(&b, "big", INT64_MAX);
    slc_table_close(&b);
    slc_table_put_double(&b, NULL, 2.5);
    slc_table_close(&b);
    slc_table_close(&b);
    slc_table_put_timestamp(&b, "when", 1700000000);
    slc_table_put_table(&b, "whole", SLICE("\1aB\1"));
    slc_slice content = slc_table_builder_content(&b);
    cr_expect_eq(slc_table_check(content, NULL), SLC_OK);
    slc_buffer out = {0};
    slc_table_json(content, &out);
    expect_text(&out, "{\"product\":\"Sluice\",\"capabilities\":{\"basic.nack\":true,\"list\":"
                      "[-7,{\"big\":9223372036854775807},2.5]},\"when\":1700000000,"
                      "\"whole\":{\"a\":1}}");
    slc_buffer_fini(&out);
    slc_table_builder_fini(&b);
}

Test(table, builder_writes_old_types_as_their_modern_ones)
{
    slc_slice content = SLICE("\1aU\xff\xfe\1bL\0\0\0\0\0\0\0\1");
    slc_table_iter iter = slc_table_iter_of(content);
    slc_table_builder b = {0};
    slc_slice key;
    slc_value value;
    while (slc_table_next(&iter, &key, &value))
        slc_table_put_value(&b, key, &value);
    cr_expect(
        slc_slice_equal(slc_table_builder_content(&b), SLICE("\1as\xff\xfe\1bl\0\0\0\0\0\0\0\1")));
    slc_table_builder_fini(&b);
}

Test(table, random_tables_survive_a_rebuild)
{
    gen g = gen_start();
    gen_pool pool = {0};
    guard page = guard_new(1 << 20);
    for (int round = 0; round < 2000; round++) {
        slc_slice content = gen_table_content(&g, &pool, 4, false);
        slc_slice seen = guard_copy(&page, content.data, content.bytes);
        slc_error error = {0};
        cr_assert_eq(slc_table_check(seen, &error), SLC_OK, "seed %" PRIu64 " round %d: %s", g.seed,
                     round, error.text);
        slc_table_builder b = {0};
        slc_table_iter iter = slc_table_iter_of(seen);
        slc_slice key;
        slc_value value;
        while (slc_table_next(&iter, &key, &value)) {
            cr_assert(slc_value_equivalent(&value, &value), "seed %" PRIu64, g.seed);
            cr_assert(slc_value_match(&value, &value), "seed %" PRIu64, g.seed);
            slc_table_put_value(&b, key, &value);
        }
        cr_assert(slc_slice_equal(slc_table_builder_content(&b), content),
                  "seed %" PRIu64 " round %d", g.seed, round);
        slc_table_builder_fini(&b);

        slc_buffer sorted = {0}, again = {0};
        slc_table_sorted(seen, &sorted);
        cr_assert_eq(sorted.bytes, content.bytes, "seed %" PRIu64 " round %d", g.seed, round);
        slc_table_sorted(slc_buffer_slice(&sorted), &again);
        cr_assert(slc_slice_equal(slc_buffer_slice(&sorted), slc_buffer_slice(&again)));
        slc_buffer_fini(&sorted);
        slc_buffer_fini(&again);
        gen_pool_free(&pool);
    }
    guard_free(&page);
}

Test(table, random_octets_never_read_out_of_bounds)
{
    gen g = gen_start();
    guard page = guard_new(256);
    uint8_t octets[64];
    static const char types[] = "tbBsuIilfdDSxTFAVUL";
    for (int round = 0; round < 200000; round++) {
        size_t bytes = gen_below(&g, sizeof octets);
        for (size_t i = 0; i < bytes; i++) {
            uint32_t kind = gen_below(&g, 3);
            octets[i] = kind == 0   ? (uint8_t)types[gen_below(&g, sizeof types - 1)]
                        : kind == 1 ? (uint8_t)gen_below(&g, 6)
                                    : 0;
        }
        slc_slice content = guard_copy(&page, octets, bytes);
        bool checked = slc_table_check(content, NULL) == SLC_OK;
        slc_table_iter iter = slc_table_iter_of(content);
        slc_slice key;
        slc_value value;
        while (slc_table_next(&iter, &key, &value)) {
        }
        // Iteration of a checked table ends at its end and nowhere else.
        cr_assert(!checked || iter.at == iter.end, "seed %" PRIu64 " round %d", g.seed, round);
    }
    guard_free(&page);
}

Test(table, json_of_a_table_with_many_keys_is_fast_and_right)
{
    // 30,000 keys: a search per key would take seconds, and a peer can send this in one frame.
    enum { KEYS = 30000 };
    slc_table_builder b = {0};
    char key[16];
    for (int i = 0; i < KEYS; i++) {
        snprintf(key, sizeof key, "%d", i);
        slc_table_put_bool(&b, key, true);
        if (i % 100 == 0)
            slc_table_put_bool(&b, key, false);
    }
    slc_buffer out = {0};
    slc_table_json(slc_table_builder_content(&b), &out);
    slc_buffer wanted = {0};
    for (int i = 0; i < KEYS; i++)
        slc_buffer_format(&wanted, "%c\"%d\":true", i == 0 ? '{' : ',', i);
    slc_buffer_text(&wanted, "}");
    cr_expect(slc_slice_equal(slc_buffer_slice(&out), slc_buffer_slice(&wanted)));
    slc_buffer_fini(&wanted);
    slc_buffer_fini(&out);
    slc_table_builder_fini(&b);
}

Test(table, numbers_read_back_as_the_same_double)
{
    static const struct {
        double number;
        const char *text; // as Erlang 25 prints it
    } cases[] = {
        {0.0, "0.0"},
        {-0.0, "-0.0"},
        {1.5, "1.5"},
        {100.0, "100.0"},
        {1000.0, "1.0e3"},
        {1.0e4, "1.0e4"},
        {1.2e6, "1.2e6"},
        {123456789.0, "123456789.0"},
        {1e20, "1.0e20"},
        {1e-7, "1.0e-7"},
        {0.1, "0.1"},
        {0.01, "0.01"},
        {0.001, "0.001"},
        {0.0001, "0.0001"},
        {0.00012, "1.2e-4"},
        {0.000123456, "1.23456e-4"},
        {3e-5, "3.0e-5"},
        {-2.5e-3, "-0.0025"},
        {12345.678, "12345.678"},
        {9007199254740991.0, "9007199254740991.0"},
        {9007199254740992.0, "9.007199254740992e15"},
        {1.7976931348623157e308, "1.7976931348623157e308"},
        {5e-324, "5.0e-324"},
        {1.23e12, "1.23e12"},
    };
    for (size_t i = 0; i < SLC_ARRAY_COUNT(cases); i++) {
        slc_value value = {.type = SLC_TYPE_DOUBLE, .number = cases[i].number};
        char text[64];
        cr_expect_str_eq(slc_value_cstr(&value, text, sizeof text), cases[i].text);
        cr_expect_eq(strtod(text, NULL), cases[i].number);
    }
    gen g = gen_start();
    for (int round = 0; round < 20000; round++) {
        uint64_t bits = gen_u64(&g);
        slc_value value = {.type = SLC_TYPE_DOUBLE};
        memcpy(&value.number, &bits, sizeof bits);
        if (!isfinite(value.number))
            continue;
        char text[64];
        slc_value_cstr(&value, text, sizeof text);
        cr_assert_eq(strtod(text, NULL), value.number, "seed %" PRIu64 ": %s", g.seed, text);
    }
}

Test(table, infinities_are_json_strings)
{
    slc_buffer out = {0};
    slc_value_json(&(slc_value){.type = SLC_TYPE_DOUBLE, .number = -INFINITY}, &out);
    slc_value_json(&(slc_value){.type = SLC_TYPE_DOUBLE, .number = NAN}, &out);
    expect_text(&out, "\"-inf\"\"nan\"");
    slc_buffer_fini(&out);
}

Test(table, cstr_is_cut_to_its_room)
{
    slc_value value = {.type = SLC_TYPE_LONGSTR, .bytes = SLICE("abcdef")};
    char text[4];
    cr_expect_str_eq(slc_value_cstr(&value, text, sizeof text), "abc");
}

Test(table, utf8)
{
    static const struct {
        slc_slice text;
        bool good;
    } cases[] = {
        {{(const uint8_t *)"", 0}, true},
        {{(const uint8_t *)"plain ascii, longer than eight", 30}, true},
        {{(const uint8_t *)"a\0b", 3}, true},
        {{(const uint8_t *)"\xc3\xa9", 2}, true},
        {{(const uint8_t *)"\xe2\x82\xac", 3}, true},
        {{(const uint8_t *)"\xf0\x9f\x98\x80", 4}, true},
        {{(const uint8_t *)"\xf4\x8f\xbf\xbf", 4}, true},
        {{(const uint8_t *)"\xf4\x90\x80\x80", 4}, false}, // above U+10FFFF
        {{(const uint8_t *)"\xc0\x80", 2}, false},         // overlong
        {{(const uint8_t *)"\xe0\x80\x80", 3}, false},
        {{(const uint8_t *)"\xf0\x80\x80\x80", 4}, false},
        {{(const uint8_t *)"\xed\xa0\x80", 3}, false}, // surrogate
        {{(const uint8_t *)"\x80", 1}, false},
        {{(const uint8_t *)"\xff", 1}, false},
        {{(const uint8_t *)"\xc3", 1}, false},
        {{(const uint8_t *)"\xc3(", 2}, false},
        {{(const uint8_t *)"eightoct\xc3", 9}, false},
        {{(const uint8_t *)"1234567\xc3\xa9", 9}, true},
    };
    guard page = guard_new(64);
    for (size_t i = 0; i < SLC_ARRAY_COUNT(cases); i++) {
        slc_slice text = guard_copy(&page, cases[i].text.data, cases[i].text.bytes);
        cr_expect_eq(slc_utf8_check(text), cases[i].good, "case %zu", i);
    }
    guard_free(&page);
}

Test(table, builder_refuses_to_give_an_open_table, .signal = SIGABRT)
{
    slc_table_builder b = {0};
    slc_table_open(&b, "k", SLC_TYPE_TABLE);
    slc_table_builder_content(&b);
}
