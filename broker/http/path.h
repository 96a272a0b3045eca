/** The target of a request: path segments and query values, percent-decoded.
 *
 *  Split first, then decode, so that `%2F` is a slash inside a name. A `+` is a plus in the path and a space in the query.
 *  Nothing is normalised: `//`, `.` and `..` are segments like any other. One trailing slash is dropped.
 *
 *  Memory: decoding happens inside the caller's copy of the target; slices point into it. Bounds: SLC_PATH_SEGMENTS segments
 *  and SLC_PATH_PARAMS parameters, more are refused. Thread: any.  @spec management-api 1.1
 */
#ifndef SLC_HTTP_PATH_H
#define SLC_HTTP_PATH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/slice.h"

enum { SLC_PATH_SEGMENTS = 10, SLC_PATH_PARAMS = 32 };

typedef struct slc_path {
    uint32_t segment_count;
    slc_slice segments[SLC_PATH_SEGMENTS];
    uint32_t param_count;
    struct {
        slc_slice name, value; // value of `?a` is empty
    } params[SLC_PATH_PARAMS];
} slc_path;

/** Takes target apart, in place. target begins with "/" (an absolute URL is refused: we are no proxy). SLC_EINVAL: a
 *  percent sign without two hex digits, an octet that does not belong, or too many parts. */
SLC_MUST_USE slc_err slc_path_parse(char *target, slc_path *out);

/** False when there is none; the first when there are several. */
bool slc_path_param(const slc_path *path, const char *name, slc_slice *value);
/** True for `true` and for a parameter without a value (`?if-unused`). */
bool slc_path_flag(const slc_path *path, const char *name);

/** Decode in place; returns the new length or SIZE_MAX when a percent sign is not followed by two hex digits. */
size_t slc_percent_decode(char *text, size_t bytes, bool plus_is_space);

#endif
