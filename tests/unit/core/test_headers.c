/* The headers exchange: x-match, types, texts of refusal, and against a naive matcher. Vector 23.
 */
#include "topology_support.h"

/* Tables as text: "key=value" pairs separated by spaces. Value: I5 l5 s5 (integers by type octet),
 * Sx (longstr), xx (binary), tx (bool, 0 or 1), d1.5 (double), V (void), T5 (timestamp). */
static slc_slice table_of(slc_table_builder *b, const char *text)
{
    *b = (slc_table_builder){0};
    char copy[256], *at = copy, *pair;
    snprintf(copy, sizeof copy, "%s", text);
    while ((pair = strsep(&at, " ")) != NULL) {
        if (*pair == 0)
            continue;
        char *value = strchr(pair, '=');
        *value++ = 0;
        slc_value v = {.type = *value++};
        switch (v.type) {
        case 'I':
        case 'l':
        case 's':
        case 'B':
            v.integer = strtoll(value, NULL, 10);
            break;
        case 'T':
            v.timestamp = strtoull(value, NULL, 10);
            break;
        case 'd':
            v.number = strtod(value, NULL);
            break;
        case 't':
            v.boolean = *value == '1';
            break;
        case 'S':
        case 'x':
            v.bytes = slc_slice_str(value);
            break;
        case 'V':
            break;
        default:
            cr_assert_fail("type '%c'", v.type);
        }
        slc_table_put_value(b, slc_slice_str(pair), &v);
    }
    return slc_table_builder_content(b);
}

struct headers_case {
    const char *arguments, *headers;
    bool want;
};

static const struct headers_case headers_cases[] = {
    /* all is the default */
    {"a=I1", "a=I1", true},
    {"a=I1 b=Sx", "a=I1", false},
    {"a=I1 b=Sx", "b=Sx a=I1 c=I3", true},
    {"a=I1 b=Sx x-match=Sall", "a=I1 b=Sy", false},
    {"a=I1 b=Sx x-match=Sall", "a=I1 b=Sx", true},
    {"", "", true},
    {"", "a=I1", true},
    {"x-match=Sall", "", true},
    {"a=I1", "", false},
    /* any */
    {"a=I1 b=Sx x-match=Sany", "a=I1", true},
    {"a=I1 b=Sx x-match=Sany", "a=I2 b=Sx", true},
    {"a=I1 b=Sx x-match=Sany", "a=I2 b=Sy", false},
    {"a=I1 b=Sx x-match=Sany", "", false},
    {"x-match=Sany", "", false},
    {"x-match=Sany", "a=I1", false},
    /* void asks for presence */
    {"a=V", "a=I1", true},
    {"a=V", "a=V", true},
    {"a=V", "b=I1", false},
    {"a=V b=Sx x-match=Sany", "a=Sz", true},
    {"a=I1", "a=V", false},
    /* x- arguments */
    {"x-a=I1 b=Sx", "b=Sx", true},
    {"x-a=I1 x-match=Sany", "x-a=I1", false},
    {"x-a=I1 b=Sx x-match=Sall-with-x", "b=Sx", false},
    {"x-a=I1 b=Sx x-match=Sall-with-x", "b=Sx x-a=I1", true},
    {"x-a=I1 b=Sx x-match=Sany-with-x", "x-a=I1", true},
    {"x-match=Sall-with-x", "", true},
    {"x-match=Sany-with-x", "x-match=Sany-with-x", false},
    {"x=I1", "", false},
    {"X-a=I1", "", false},
    /* values, not type tags */
    {"a=I1", "a=l1", true},
    {"a=B200", "a=s200", true},
    {"a=I1", "a=S1", false},
    {"a=I1", "a=d1.0", false},
    {"a=d1.5", "a=d1.5", true},
    {"a=I1", "a=t1", false},
    {"a=Sx", "a=xx", true},
    {"a=xx", "a=Sx", true},
    {"a=Sx", "a=SX", false},
    {"a=T5", "a=T5", true},
    {"a=T5", "a=T6", false},
    /* keys are case-sensitive; the first of duplicates counts */
    {"a=I1", "A=I1", false},
    {"a=I1", "a=I2 a=I1", false},
    {"a=I1", "a=I1 a=I2", true},
    {"a=I1 a=I2", "a=I1", false},
    {"a=I1 a=I2 x-match=Sany", "a=I2", true},
};

Test(headers, table)
{
    slc_exchange *x = test_exchange("x", "headers", NULL);
    slc_destination *q = test_queue("q");
    slc_route route = {0};
    for (size_t i = 0; i < SLC_ARRAY_COUNT(headers_cases); i++) {
        const struct headers_case *c = &headers_cases[i];
        slc_table_builder arguments, headers;
        slc_binding *b = test_bind_with(x, q, "ignored", table_of(&arguments, c->arguments));
        test_route(x, "k", table_of(&headers, c->headers), &route);
        cr_expect_eq(test_route_has(&route, q), c->want, "[%s] ~ [%s]", c->arguments, c->headers);
        cr_expect_not(route.cacheable);
        slc_binding_remove(b);
        slc_table_builder_fini(&arguments);
        slc_table_builder_fini(&headers);
    }
    slc_route_fini(&route);
    test_queue_free(q);
    test_vhost_clear();
}

Test(headers, arrays_and_tables_are_compared_inside)
{
    slc_exchange *x = test_exchange("x", "headers", NULL);
    slc_destination *q = test_queue("q");
    slc_route route = {0};
    slc_table_builder wanted[4];
    for (int i = 0; i < 4;
         i++) { // 0: as bound; 1: integers of another width; 2: another element; 3: another key
        slc_table_builder *b = &wanted[i];
        *b = (slc_table_builder){0};
        slc_table_open(b, "list", SLC_TYPE_ARRAY);
        if (i == 1)
            slc_table_put_i64(b, NULL, 1);
        else
            slc_table_put_i32(b, NULL, i == 2 ? 9 : 1);
        slc_table_put_text(b, NULL, "x");
        slc_table_close(b);
        slc_table_open(b, "table", SLC_TYPE_TABLE);
        slc_table_put_bool(b, i == 3 ? "other" : "k", true);
        slc_table_close(b);
    }
    test_bind_with(x, q, "", slc_table_builder_content(&wanted[0]));
    for (int i = 0; i < 4; i++) {
        test_route(x, "", slc_table_builder_content(&wanted[i]), &route);
        cr_expect_eq(route.count, i < 2, "%d", i);
        slc_table_builder_fini(&wanted[i]);
    }
    slc_route_fini(&route);
    test_queue_free(q);
    test_vhost_clear();
}

struct refusal {
    const char *arguments, *text; // NULL: accepted
};

Test(headers, bad_x_match_is_refused)
{
    static const struct refusal cases[] = {
        {"x-match=Sall", NULL},
        {"x-match=Sany-with-x", NULL},
        {"x-match=Ssome",
         "Invalid x-match field value <<\"some\">>; expected all, any, all-with-x, "
         "or any-with-x"},
        {"x-match=S", "Invalid x-match field value <<\"\">>; expected all, any, all-with-x, or "
                      "any-with-x"},
        {"a=I1 x-match=I5", "Invalid x-match field type signedint (value 5); expected longstr"},
        {"x-match=t1", "Invalid x-match field type bool (value true); expected longstr"},
    };
    slc_exchange *x = test_exchange("x", "headers", NULL);
    slc_destination *q = test_queue("q");
    for (size_t i = 0; i < SLC_ARRAY_COUNT(cases); i++) {
        slc_table_builder arguments;
        slc_binding *b = NULL;
        slc_error error = {0};
        slc_err rc = slc_binding_add(x, q, (slc_slice){0}, table_of(&arguments, cases[i].arguments),
                                     &b, &error);
        cr_expect_eq(rc, cases[i].text == NULL ? SLC_OK : SLC_EPRECONDITION, "%s",
                     cases[i].arguments);
        if (cases[i].text != NULL)
            cr_expect_str_eq(error.text, cases[i].text);
        slc_table_builder_fini(&arguments);
    }
    cr_expect_eq(q->bindings_in_count, 2);
    test_queue_free(q);
    test_vhost_clear();
}

/* ---- against a naive matcher, which works on its own representation ---- */

typedef struct naive_pair {
    int name;   // index into naive_names
    char type;  // I l S x V
    int number; // the value; longstr and binary: one letter
} naive_pair;

typedef struct naive_table {
    naive_pair pairs[6];
    uint32_t count;
} naive_table;

static const char *const naive_names[] = {"a", "b", "c", "x-d", "x-e"};
static const char *const naive_modes[] = {NULL, "all", "any", "all-with-x", "any-with-x"};

static void naive_random(naive_table *t, bool with_void)
{
    static const char types[] = {'I', 'l', 'S', 'x', 'V'};
    t->count = test_random(SLC_ARRAY_COUNT(t->pairs) - 1);
    for (uint32_t i = 0; i < t->count; i++)
        t->pairs[i] = (naive_pair){.name = (int)test_random(5),
                                   .type = types[test_random(with_void ? 5 : 4)],
                                   .number = (int)test_random(2)};
}

static slc_slice naive_encode(const naive_table *t, const char *mode, slc_table_builder *b)
{
    *b = (slc_table_builder){0};
    for (uint32_t i = 0; i < t->count; i++) {
        const naive_pair *p = &t->pairs[i];
        slc_value v = {.type = p->type};
        if (p->type == 'S' || p->type == 'x')
            v.bytes = slc_slice_str(p->number ? "y" : "n");
        else
            v.integer = p->number;
        slc_table_put_value(b, slc_slice_str(naive_names[p->name]), &v);
    }
    if (mode != NULL)
        slc_table_put_text(b, "x-match", mode);
    return slc_table_builder_content(b);
}

static bool naive_equal(const naive_pair *want, const naive_table *headers)
{
    for (uint32_t i = 0; i < headers->count; i++) {
        const naive_pair *have = &headers->pairs[i];
        if (have->name != want->name)
            continue;
        if (want->type == 'V')
            return true;
        bool want_text = want->type == 'S' || want->type == 'x';
        bool have_text = have->type == 'S' || have->type == 'x';
        return have->type != 'V' && want_text == have_text && want->number == have->number;
    }
    return false;
}

static bool naive_match(const naive_table *arguments, int mode, const naive_table *headers)
{
    uint32_t conditions = 0, held = 0;
    for (uint32_t i = 0; i < arguments->count; i++) {
        if (mode < 3 && naive_names[arguments->pairs[i].name][0] == 'x')
            continue;
        conditions++;
        held += naive_equal(&arguments->pairs[i], headers);
    }
    return mode == 2 || mode == 4 ? held > 0 : held == conditions;
}

Test(headers, agrees_with_a_naive_matcher, .timeout = 60)
{
    enum { QUEUES = 30, STEPS = 8000 };
    test_random_init();
    slc_exchange *x = test_exchange("x", "headers", NULL);
    slc_destination *queues[QUEUES];
    slc_binding *bound[QUEUES] = {0};
    naive_table arguments[QUEUES];
    int modes[QUEUES];
    char name[16];
    for (int i = 0; i < QUEUES; i++) {
        snprintf(name, sizeof name, "q%d", i);
        queues[i] = test_queue(name);
    }
    slc_route route = {0};
    uint64_t matched = 0;
    for (int step = 0; step < STEPS; step++) {
        slc_table_builder b;
        uint32_t q = test_random(QUEUES);
        if (bound[q] == NULL) {
            naive_random(&arguments[q], true);
            modes[q] = (int)test_random(5);
            bound[q] = test_bind_with(x, queues[q], "",
                                      naive_encode(&arguments[q], naive_modes[modes[q]], &b));
            slc_table_builder_fini(&b);
        } else {
            slc_binding_remove(bound[q]);
            bound[q] = NULL;
        }
        naive_table headers;
        naive_random(&headers, true);
        test_route(x, "", naive_encode(&headers, NULL, &b), &route);
        for (int i = 0; i < QUEUES; i++) {
            bool want = bound[i] != NULL && naive_match(&arguments[i], modes[i], &headers);
            cr_assert_eq(test_route_has(&route, queues[i]), want, "seed %" PRIu64 ", step %d, q%d",
                         test_seed, step, i);
            matched += want;
        }
        slc_table_builder_fini(&b);
    }
    cr_expect_gt(matched, 1000, "the generator hits nothing");
    slc_route_fini(&route);
    for (int i = 0; i < QUEUES; i++)
        test_queue_free(queues[i]);
    test_vhost_clear();
}
