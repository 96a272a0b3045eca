/** Permission patterns: Perl-compatible regular expressions, searched for (not anchored). The empty pattern means ^$.
 *
 *  What a pattern may cost is bounded: a match that needs too many steps or too much depth does not match, and says so.
 *  No JIT: it needs memory that is writable and executable. Thread: any, one at a time per pattern. @spec operations 5
 */
#ifndef SLC_AUTH_PATTERN_H
#define SLC_AUTH_PATTERN_H

#include "base/error.h"
#include "base/slice.h"

typedef struct slc_pattern slc_pattern;

typedef enum slc_pattern_verdict {
    SLC_PATTERN_NO,
    SLC_PATTERN_YES,
    SLC_PATTERN_LIMIT, // too much work: count it as NO
} slc_pattern_verdict;

/** SLC_EINVAL: error names the pattern, the place and the rule. */
SLC_MUST_USE slc_err slc_pattern_new(slc_slice text, slc_pattern **out, slc_error *error);
void slc_pattern_free(slc_pattern *pattern);
slc_pattern_verdict slc_pattern_match(const slc_pattern *pattern, slc_slice subject);

#endif
