/** A slice: bytes that somebody else owns. Borrowed for the call unless the function says otherwise. Thread: any. */
#ifndef SLC_BASE_SLICE_H
#define SLC_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct slc_slice {
    const uint8_t *data; // may be NULL when bytes is 0
    size_t bytes;
} slc_slice;

static inline slc_slice slc_slice_of(const void *data, size_t bytes)
{
    return (slc_slice){.data = data, .bytes = bytes};
}

/** Of a terminated string, without the terminator. */
static inline slc_slice slc_slice_str(const char *text)
{
    return (slc_slice){.data = (const uint8_t *)text, .bytes = strlen(text)};
}

static inline bool slc_slice_equal(slc_slice a, slc_slice b)
{
    return a.bytes == b.bytes && (a.bytes == 0 || memcmp(a.data, b.data, a.bytes) == 0);
}

static inline bool slc_slice_is(slc_slice a, const char *text)
{
    return slc_slice_equal(a, slc_slice_str(text));
}

/** memcmp order, the shorter first when one is a prefix of the other. */
static inline int slc_slice_compare(slc_slice a, slc_slice b)
{
    size_t common = a.bytes < b.bytes ? a.bytes : b.bytes;
    int order = common == 0 ? 0 : memcmp(a.data, b.data, common);
    if (order != 0)
        return order;
    return a.bytes < b.bytes ? -1 : a.bytes > b.bytes;
}

/** Arguments for "%.*s". */
#define SLC_SLICE_FMT(slice)                                                                       \
    (int)(slice).bytes,                                                                            \
        (const char *)((slice).bytes ? (const void *)(slice).data : (const void *)"")

#endif
