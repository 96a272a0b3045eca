// Splitting and decoding of request targets.
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/path.h"

struct path_case {
    char target[64];
    int segments; // -1: refused
    char last[32];
    char param[32]; // value of "q"; "-": none
};

ParameterizedTestParameters(path, split_then_decode)
{
    static struct path_case cases[] = {
        {"/api/queues", 2, "queues", "-"},
        {"/api/queues/", 2, "queues", "-"}, // one trailing slash is dropped
        {"/api/queues//", 3, "", "-"},      // an empty name is a name
        {"/api//x", 3, "x", "-"},
        {"/", 0, "", "-"},
        {"/api/queues/%2F/a%2Fb", 4, "a/b", "-"},
        {"/api/a+b", 2, "a+b", "-"}, // a plus in a path is a plus
        {"/api/a%20b", 2, "a b", "-"},
        {"/api/..", 2, "..", "-"},
        {"/api/x?q=a+b%2B", 2, "x", "a b+"},
        {"/api/x?q", 2, "x", ""},
        {"/api/x?q=", 2, "x", ""},
        {"/api/x?&&a=1&q=2&q=3", 2, "x", "2"},
        {"/api/x?a=q", 2, "x", "-"},
        {"/api/%25", 2, "%", "-"},
        {"/api/%", -1, "", ""},
        {"/api/%2", -1, "", ""},
        {"/api/%zz", -1, "", ""},
        {"/api/x?q=%f", -1, "", ""},
        {"http://h/api", -1, "", ""},
        {"", -1, "", ""},
        {"*", -1, "", ""},
        {"/1/2/3/4/5/6/7/8/9/10/11", -1, "", ""}, // more than SLC_PATH_SEGMENTS
    };
    return cr_make_param_array(struct path_case, cases, sizeof cases / sizeof cases[0]);
}

ParameterizedTest(struct path_case *c, path, split_then_decode, .timeout = 60)
{
    char target[64];
    memcpy(target, c->target, sizeof target);
    slc_path path;
    slc_err rc = slc_path_parse(target, &path);
    if (c->segments < 0) {
        cr_assert_eq(rc, SLC_EINVAL, "%s must be refused", c->target);
        return;
    }
    cr_assert_eq(rc, SLC_OK, "%s", c->target);
    cr_assert_eq((int)path.segment_count, c->segments, "%s: %u segments", c->target,
                 path.segment_count);
    if (path.segment_count > 0)
        cr_expect(slc_slice_is(path.segments[path.segment_count - 1], c->last), "%s", c->target);
    slc_slice value;
    bool found = slc_path_param(&path, "q", &value);
    if (strcmp(c->param, "-") == 0)
        cr_expect_not(found, "%s", c->target);
    else
        cr_expect(found && slc_slice_is(value, c->param), "%s", c->target);
}

Test(path, flags, .timeout = 60)
{
    char target[] = "/x?a&b=true&c=false&d=1";
    slc_path path;
    cr_assert_eq(slc_path_parse(target, &path), SLC_OK);
    cr_expect(slc_path_flag(&path, "a"));
    cr_expect(slc_path_flag(&path, "b"));
    cr_expect_not(slc_path_flag(&path, "c"));
    cr_expect_not(slc_path_flag(&path, "d"));
    cr_expect_not(slc_path_flag(&path, "e"));
}

// decode(encode(x)) is x for all octets.
Test(path, every_octet_comes_back, .timeout = 60)
{
    char text[3 * 256 + 1];
    for (int i = 0; i < 256; i++)
        snprintf(text + 3 * i, 4, i % 2 ? "%%%02x" : "%%%02X", (unsigned)i);
    cr_assert_eq(slc_percent_decode(text, 3 * 256, true), 256u);
    for (int i = 0; i < 256; i++)
        cr_expect_eq((unsigned char)text[i], i);
}

Test(path, many_params_are_refused_and_random_text_is_safe, .timeout = 60)
{
    char many[256] = "/x?";
    for (int i = 0; i <= SLC_PATH_PARAMS; i++)
        strcat(many, "a=1&");
    slc_path path;
    cr_expect_eq(slc_path_parse(many, &path), SLC_EINVAL);

    static const char alphabet[] = "/?&=%2F+a.\xff";
    unsigned seed = 7;
    for (int round = 0; round < 100000; round++) {
        size_t n = (size_t)(rand_r(&seed) % 24);
        char *target = malloc(n + 1); // exact, so that a sanitizer sees a read behind the end
        for (size_t i = 0; i < n; i++)
            target[i] = alphabet[(size_t)rand_r(&seed) % (sizeof alphabet - 1)];
        target[n] = '\0';
        if (slc_path_parse(target, &path) == SLC_OK)
            cr_assert_leq(path.segment_count, (uint32_t)SLC_PATH_SEGMENTS);
        free(target);
    }
}
