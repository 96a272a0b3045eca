#include "base/map.h"

// The hash of short names is a handful of instructions; a call into the library would cost more
// than the hash.
#define XXH_INLINE_ALL
#include <xxhash.h>

static uint64_t map_seed = 0x736c756963650001ull;

void slc_hash_seed(uint64_t seed)
{
    map_seed = seed;
}

uint32_t slc_hash(const void *key, size_t bytes)
{
    uint64_t hash = XXH3_64bits_withSeed(key, bytes, map_seed);
    return (uint32_t)(hash ^ (hash >> 32));
}
