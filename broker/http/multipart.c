#include "http/multipart.h"

#include <string.h>
#include <strings.h>

enum { BOUNDARY_MAX = 70 }; // RFC 2046 5.1.1

/** "\r\n--" and the boundary of the content type; bytes 0: it names none that is allowed. */
static size_t delimiter_of(const char *type, char out[4 + BOUNDARY_MAX])
{
    const char *at = strcasestr(type, "boundary=");
    if (at == NULL)
        return 0;
    at += strlen("boundary=");
    bool quoted = *at == '"';
    at += quoted;
    size_t bytes = strcspn(at, quoted ? "\"" : "; \t");
    if (bytes == 0 || bytes > BOUNDARY_MAX)
        return 0;
    memcpy(out, "\r\n--", 4);
    memcpy(out + 4, at, bytes);
    return 4 + bytes;
}

/** The headers have a content-disposition with name="file" (or name=file). */
static bool headers_name_file(slc_slice headers)
{
    static const char *const names[] = {"name=\"file\"", "name=file"};
    for (size_t at = 0; at < headers.bytes;) {
        const uint8_t *line = headers.data + at;
        const uint8_t *end = memmem(line, headers.bytes - at, "\r\n", 2);
        size_t bytes = end != NULL ? (size_t)(end - line) : headers.bytes - at;
        at += bytes + 2;
        if (bytes < 20 || strncasecmp((const char *)line, "content-disposition:", 20) != 0)
            continue;
        for (size_t i = 0; i < 2; i++) {
            const uint8_t *name = memmem(line, bytes, names[i], strlen(names[i]));
            // Not the end of filename="file".
            if (name != NULL && (name[-1] == ' ' || name[-1] == ';'))
                return true;
        }
    }
    return false;
}

slc_slice slc_multipart_file(const char *type, slc_slice body)
{
    static const char kind[] = "multipart/form-data";
    if (type == NULL || strncasecmp(type, kind, sizeof kind - 1) != 0)
        return body;
    char delimiter[4 + BOUNDARY_MAX];
    size_t bytes = delimiter_of(type, delimiter);
    // The first delimiter may be where the body begins, without a line end before it.
    if (bytes == 0 || body.bytes < bytes - 2 || memcmp(body.data, delimiter + 2, bytes - 2) != 0)
        return (slc_slice){0};
    const uint8_t *at = body.data + bytes - 2, *end = body.data + body.bytes;
    while (end - at >= 2 && memcmp(at, "\r\n", 2) == 0) {
        const uint8_t *stop = memmem(at, (size_t)(end - at), delimiter, bytes);
        // What stands between the two: "\r\n" headers "\r\n\r\n" content.
        const uint8_t *content = memmem(at, (size_t)(end - at), "\r\n\r\n", 4);
        if (stop == NULL || content == NULL || content + 4 > stop)
            break;
        if (headers_name_file(slc_slice_of(at, (size_t)(content - at))))
            return slc_slice_of(content + 4, (size_t)(stop - content - 4));
        at = stop + bytes;
    }
    return (slc_slice){0};
}
