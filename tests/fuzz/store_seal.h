/** A value of the store with the checksum that its bytes ask for: behind it is what a fuzzer has to reach. Thread: any. */
#ifndef SLC_FUZZ_STORE_SEAL_H
#define SLC_FUZZ_STORE_SEAL_H

#include <stdlib.h>

#include "base/alloc.h"
#include "format.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { FUZZ_SHARD = 7 };

/** A copy of data with the version of this program in its first version_bytes and, at `at`, the checksum of key, the bytes in
 *  front of it and those from behind it to `end`. Free it. data has at least at + 8 bytes. */
static inline uint8_t *store_sealed(slc_slice data, size_t version_bytes, slc_slice key, size_t at,
                                    size_t end)
{
    uint8_t *value = slc_alloc(data.bytes);
    memcpy(value, data.data, data.bytes);
    value[0] = SLC_FORMAT_VERSION;
    if (version_bytes > 1)
        value[1] = 0;
    XXH3_state_t state;
    XXH3_64bits_reset_withSeed(&state, FUZZ_SHARD);
    XXH3_64bits_update(&state, key.data, key.bytes);
    XXH3_64bits_update(&state, value, at);
    XXH3_64bits_update(&state, value + at + 8, end - at - 8);
    slc_put64(value + at, XXH3_64bits_digest(&state));
    return value;
}

/** What every decoder of the store answers: a value, or why not, in a sentence. */
static inline bool store_opened(slc_err rc, const slc_error *error)
{
    SLC_ASSERT(rc == SLC_OK || rc == SLC_ECORRUPT || rc == SLC_EVERSION);
    SLC_ASSERT((rc == SLC_OK) == (error->text[0] == 0));
    return rc == SLC_OK;
}

/** part lies inside whole. */
static inline bool store_inside(slc_slice part, slc_slice whole)
{
    return part.bytes == 0 ||
           (part.data >= whole.data && part.data + part.bytes <= whole.data + whole.bytes);
}

#endif
