#include "http/path.h"

#include <stdint.h>

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

size_t slc_percent_decode(char *text, size_t bytes, bool plus_is_space)
{
    size_t out = 0;
    for (size_t i = 0; i < bytes; i++) {
        char c = text[i];
        if (c == '+' && plus_is_space) {
            c = ' ';
        } else if (c == '%') {
            int high = i + 2 < bytes ? hex_digit(text[i + 1]) : -1;
            int low = high >= 0 ? hex_digit(text[i + 2]) : -1;
            if (low < 0)
                return SIZE_MAX;
            c = (char)(high << 4 | low);
            i += 2;
        }
        text[out++] = c;
    }
    return out;
}

// One part from text to end, decoded in place.
static bool part_decode(char *text, const char *end, bool query, slc_slice *out)
{
    size_t bytes = slc_percent_decode(text, (size_t)(end - text), query);
    if (bytes == SIZE_MAX)
        return false;
    *out = slc_slice_of(text, bytes);
    return true;
}

static bool path_add_segment(slc_path *path, char *text, const char *end)
{
    if (path->segment_count == SLC_PATH_SEGMENTS)
        return false;
    return part_decode(text, end, false, &path->segments[path->segment_count++]);
}

static bool path_add_param(slc_path *path, char *text, char *end)
{
    if (text == end)
        return true; // "a=1&&b=2"
    if (path->param_count == SLC_PATH_PARAMS)
        return false;
    char *equals = memchr(text, '=', (size_t)(end - text));
    char *value = equals != NULL ? equals + 1 : end;
    uint32_t at = path->param_count++;
    return part_decode(text, equals != NULL ? equals : end, true, &path->params[at].name) &&
           part_decode(value, end, true, &path->params[at].value);
}

slc_err slc_path_parse(char *target, slc_path *out)
{
    out->segment_count = 0;
    out->param_count = 0;
    if (target[0] != '/')
        return SLC_EINVAL;
    char *end = target + strlen(target);
    char *query = memchr(target, '?', (size_t)(end - target));
    char *path_end = query != NULL ? query : end;

    for (char *at = target + 1; at <= path_end;) {
        char *slash = memchr(at, '/', (size_t)(path_end - at));
        char *next = slash != NULL ? slash : path_end;
        bool trailing = slash == NULL && next == at;
        if (!trailing && !path_add_segment(out, at, next))
            return SLC_EINVAL;
        at = next + 1;
    }
    if (query == NULL)
        return SLC_OK;
    for (char *at = query + 1; at <= end;) {
        char *amp = memchr(at, '&', (size_t)(end - at));
        char *next = amp != NULL ? amp : end;
        if (!path_add_param(out, at, next))
            return SLC_EINVAL;
        at = next + 1;
    }
    return SLC_OK;
}

bool slc_path_param(const slc_path *path, const char *name, slc_slice *value)
{
    for (uint32_t i = 0; i < path->param_count; i++) {
        if (slc_slice_is(path->params[i].name, name)) {
            *value = path->params[i].value;
            return true;
        }
    }
    return false;
}

bool slc_path_flag(const slc_path *path, const char *name)
{
    slc_slice value;
    return slc_path_param(path, name, &value) && (value.bytes == 0 || slc_slice_is(value, "true"));
}
