// --filter: what is understood, and what meets it.
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <stdio.h>
#include <string.h>

#include "ctl.h"

struct filter_case {
    char filter[40];
    slc_ctl_cell_kind kind;
    char value[24]; // of the cell
    bool want;
};

ParameterizedTestParameters(filter, passes)
{
    static struct filter_case cases[] = {
        {"n=5", CELL_NUMBER, "5", true},
        {"n=5.0", CELL_NUMBER, "5", true}, // as a number
        {"n=5", CELL_NUMBER, "51", false},
        {"n = 5", CELL_NUMBER, "5", true},
        {" n=5", CELL_NUMBER, "5", true},
        {"n!=5", CELL_NUMBER, "5", false},
        {"n!=5", CELL_NUMBER, "6", true},
        {"n>9", CELL_NUMBER, "10", true}, // not as a text
        {"n>9", CELL_NUMBER, "9", false},
        {"n>=9", CELL_NUMBER, "9", true},
        {"n>=9", CELL_NUMBER, "8", false},
        {"n<9", CELL_NUMBER, "10", false},
        {"n<9", CELL_NUMBER, "8", true},
        {"n<=9", CELL_NUMBER, "9", true},
        {"n<=9", CELL_NUMBER, "9.5", false},
        {"n>0.5", CELL_NUMBER, "0.75", true},
        {"n>-1", CELL_NUMBER, "0", true},
        {"n>0", CELL_NONE, "", false}, // nothing is in no order
        {"n<1", CELL_NONE, "", false},
        {"n>0", CELL_TEXT, "5", false}, // a name is no number
        {"name=5", CELL_TEXT, "5", true},
        {"name=5.0", CELL_TEXT, "5", false},
        {"name=orders", CELL_TEXT, "orders", true},
        {"name=orders", CELL_TEXT, "Orders", false},
        {"name==a", CELL_TEXT, "=a", true},
        {"apply-to=all", CELL_TEXT, "all", true},
        {"policy=", CELL_NONE, "", true}, // has none
        {"policy=", CELL_TEXT, "p", false},
        {"policy!=", CELL_TEXT, "p", true},
        {"durable=true", CELL_BOOL, "true", true},
        {"durable=true", CELL_BOOL, "", false},
        {"name~^ord.*s$", CELL_TEXT, "orders", true},
        {"name~de", CELL_TEXT, "orders", true}, // anywhere
        {"name~^de", CELL_TEXT, "orders", false},
        {"name~a|b", CELL_TEXT, "b", true},
        {"name!~de", CELL_TEXT, "orders", false},
        {"name!~de", CELL_TEXT, "logs", true},
        {"name~^$", CELL_NONE, "", true},
        {"tags~y", CELL_LIST, "[\"x\",\"y\"]", true},
    };
    return cr_make_param_array(struct filter_case, cases, sizeof cases / sizeof cases[0]);
}

ParameterizedTest(struct filter_case *c, filter, passes, .timeout = 60)
{
    slc_ctl_filter filter;
    slc_buffer wrong = {0};
    slc_ctl_cell cell = {.kind = c->kind, .boolean = c->value[0] != '\0'};
    cell.text = slc_slice_str(c->value);
    cr_assert(slc_ctl_filter_parse(c->filter, &filter, &wrong), "%s", c->filter);
    cr_expect(slc_ctl_filter_passes(&filter, &cell, false) == c->want, "%s of %s", c->filter,
              c->value);
    slc_ctl_filter_fini(&filter);
}

struct wrong_case {
    char filter[32];
    char why[40];
};

ParameterizedTestParameters(filter, wrong)
{
    static struct wrong_case cases[] = {
        {"", "is not a column, one of"},           {"messages", "is not a column, one of"},
        {"=5", "is not a column, one of"},         {"messages!5", "is not a column, one of"},
        {"a b=5", "is not a column, one of"},      {"messages>", "which is not a number"},
        {"messages>=1x", "which is not a number"}, {"messages<many", "compares with 'many'"},
        {"name~(", "bad regular expression"},
    };
    return cr_make_param_array(struct wrong_case, cases, sizeof cases / sizeof cases[0]);
}

ParameterizedTest(struct wrong_case *c, filter, wrong, .timeout = 60)
{
    slc_ctl_filter filter;
    slc_buffer wrong = {0};
    cr_expect(!slc_ctl_filter_parse(c->filter, &filter, &wrong), "%s", c->filter);
    slc_buffer_put(&wrong, "", 1);
    cr_expect(strstr((const char *)wrong.data, c->why) != NULL, "%s: %s", c->filter,
              (const char *)wrong.data);
    cr_expect(strstr((const char *)wrong.data, c->filter) != NULL, "it is named");
    slc_buffer_fini(&wrong);
}
