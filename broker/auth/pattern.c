#include "auth/pattern.h"

#include "base/alloc.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

enum {
    MATCH_STEPS_MAX = 100000, // a few milliseconds
    MATCH_DEPTH_MAX = 1000,
    MATCH_HEAP_KIB_MAX = 1024,
};

struct slc_pattern {
    pcre2_code *code;
    pcre2_match_data *match;
    pcre2_match_context *context;
};

slc_err slc_pattern_new(slc_slice text, slc_pattern **out, slc_error *error)
{
    int code = 0;
    PCRE2_SIZE offset = 0;
    slc_slice used = text.bytes == 0 ? slc_slice_str("^$") : text;
    // Names are octets: a pattern that is UTF-8 finds its own octets, and no name has to be valid UTF-8.
    pcre2_code *compiled =
        pcre2_compile(used.data, used.bytes, PCRE2_NEVER_BACKSLASH_C, &code, &offset, NULL);
    if (compiled == NULL) {
        char why[128];
        pcre2_get_error_message(code, (PCRE2_UCHAR *)why, sizeof why);
        return slc_error_set(error, SLC_EINVAL,
                             "'%.*s' is no regular expression: %s at position %zu",
                             SLC_SLICE_FMT(text), why, offset);
    }
    slc_pattern *pattern = slc_alloc(sizeof *pattern);
    *pattern = (slc_pattern){
        .code = compiled,
        .match = pcre2_match_data_create_from_pattern(compiled, NULL),
        .context = pcre2_match_context_create(NULL),
    };
    SLC_ASSERT(pattern->match != NULL);
    SLC_ASSERT(pattern->context != NULL);
    pcre2_set_match_limit(pattern->context, MATCH_STEPS_MAX);
    pcre2_set_depth_limit(pattern->context, MATCH_DEPTH_MAX);
    pcre2_set_heap_limit(pattern->context, MATCH_HEAP_KIB_MAX);
    *out = pattern;
    return SLC_OK;
}

void slc_pattern_free(slc_pattern *pattern)
{
    if (pattern == NULL)
        return;
    pcre2_match_context_free(pattern->context);
    pcre2_match_data_free(pattern->match);
    pcre2_code_free(pattern->code);
    slc_free(pattern);
}

slc_pattern_verdict slc_pattern_match(const slc_pattern *pattern, slc_slice subject)
{
    const uint8_t *data = subject.data != NULL ? subject.data : (const uint8_t *)"";
    int rc =
        pcre2_match(pattern->code, data, subject.bytes, 0, 0, pattern->match, pattern->context);
    if (rc >= 0)
        return SLC_PATTERN_YES;
    return rc == PCRE2_ERROR_NOMATCH ? SLC_PATTERN_NO : SLC_PATTERN_LIMIT;
}
