// --filter: a column, a comparison and a value.
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "ctl.h"

// Longer ones first: "<=" is not "<" with a value that begins with "=".
static const struct {
    const char *text;
    slc_ctl_comparison comparison;
} comparisons[] = {
    {"!=", CTL_NOT_EQUAL}, {"!~", CTL_NOT_MATCHING}, {"<=", CTL_AT_MOST}, {">=", CTL_AT_LEAST},
    {"=", CTL_EQUAL},      {"~", CTL_MATCHING},      {"<", CTL_LESS},     {">", CTL_MORE},
};

static const char *skip_spaces(const char *text)
{
    return text + strspn(text, " ");
}

static bool number_of(slc_slice text, double *out)
{
    char copy[64], *end;
    if (text.bytes == 0 || text.bytes >= sizeof copy || isspace(text.data[0]))
        return false;
    memcpy(copy, text.data, text.bytes);
    copy[text.bytes] = '\0';
    *out = strtod(copy, &end);
    return end == copy + text.bytes;
}

static bool is_regex(const slc_ctl_filter *filter)
{
    return filter->comparison == CTL_MATCHING || filter->comparison == CTL_NOT_MATCHING;
}

static bool is_order(const slc_ctl_filter *filter)
{
    return filter->comparison == CTL_LESS || filter->comparison == CTL_MORE ||
           filter->comparison == CTL_AT_MOST || filter->comparison == CTL_AT_LEAST;
}

bool slc_ctl_filter_parse(const char *text, slc_ctl_filter *out, slc_buffer *wrong)
{
    const char *at = skip_spaces(text);
    size_t bytes = 0;
    while (isalnum((unsigned char)at[bytes]) || at[bytes] == '_' || at[bytes] == '-')
        bytes++;
    *out = (slc_ctl_filter){.name = slc_slice_of(at, bytes)};
    at = skip_spaces(at + bytes);
    size_t i = 0;
    while (i < SLC_ARRAY_COUNT(comparisons) &&
           strncmp(at, comparisons[i].text, strlen(comparisons[i].text)) != 0)
        i++;
    if (bytes == 0 || i == SLC_ARRAY_COUNT(comparisons)) {
        slc_buffer_format(
            wrong, "the filter '%s' is not a column, one of = != < <= > >= ~ !~ and a value", text);
        return false;
    }
    out->comparison = comparisons[i].comparison;
    out->value = slc_slice_str(skip_spaces(at + strlen(comparisons[i].text)));
    out->is_number = number_of(out->value, &out->number);
    if (is_order(out) && !out->is_number) {
        slc_buffer_format(wrong, "the filter '%s' compares with '%.*s', which is not a number",
                          text, SLC_SLICE_FMT(out->value));
        return false;
    }
    if (!is_regex(out))
        return true;
    int rc = regcomp(&out->regex, (const char *)out->value.data, REG_EXTENDED | REG_NOSUB);
    if (rc == 0)
        return true;
    char reason[128];
    regerror(rc, &out->regex, reason, sizeof reason);
    slc_buffer_format(wrong, "the filter '%s' has a bad regular expression: %s", text, reason);
    return false;
}

void slc_ctl_filter_fini(slc_ctl_filter *filter)
{
    if (is_regex(filter))
        regfree(&filter->regex);
}

static bool is_equal(const slc_ctl_filter *filter, const slc_ctl_cell *cell, slc_slice text)
{
    double number;
    if (cell->kind == CELL_NUMBER && filter->is_number && number_of(text, &number))
        return number >= filter->number && number <= filter->number;
    return slc_slice_equal(text, filter->value);
}

static bool is_in_order(const slc_ctl_filter *filter, const slc_ctl_cell *cell, slc_slice text)
{
    double number;
    if (cell->kind != CELL_NUMBER || !number_of(text, &number))
        return false; // what has no value is neither more nor less
    switch (filter->comparison) {
    case CTL_LESS:
        return number < filter->number;
    case CTL_AT_MOST:
        return number <= filter->number;
    case CTL_MORE:
        return number > filter->number;
    default:
        return number >= filter->number;
    }
}

bool slc_ctl_filter_passes(const slc_ctl_filter *filter, const slc_ctl_cell *cell, bool alias)
{
    slc_buffer text = {0};
    slc_ctl_cell_text(cell, alias, &text);
    slc_buffer_put(&text, "", 1); // for regexec
    slc_slice shown = slc_slice_of(text.data, text.bytes - 1);
    bool passes;
    if (is_order(filter)) {
        passes = is_in_order(filter, cell, shown);
    } else if (is_regex(filter)) {
        passes = regexec(&filter->regex, (const char *)text.data, 0, NULL, 0) == 0;
        passes = passes == (filter->comparison == CTL_MATCHING);
    } else {
        passes = is_equal(filter, cell, shown) == (filter->comparison == CTL_EQUAL);
    }
    slc_buffer_fini(&text);
    return passes;
}
