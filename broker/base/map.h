/** uthash, configured for Sluice: seeded hash (peers choose names), our allocator, no exit() on failure.
 *
 *  Include this instead of <uthash.h>. Iteration is in insertion order, so it is deterministic.
 */
#ifndef SLC_BASE_MAP_H
#define SLC_BASE_MAP_H

#include <stdint.h>

#include "base/alloc.h"

/** XXH3 of the key with the process's seed. */
uint32_t slc_hash(const void *key, size_t bytes);
/** Set the seed before the first map is made; without a call it is a fixed value (tests, simulation). */
void slc_hash_seed(uint64_t seed);

#define HASH_FUNCTION(keyptr, keylen, hashv) ((hashv) = slc_hash((keyptr), (size_t)(keylen)))
#define uthash_malloc(bytes)                 slc_alloc(bytes)
#define uthash_free(memory, bytes)           slc_free(memory)
#define uthash_fatal(message)                SLC_ASSERT(!"uthash: " message)
#include <uthash.h>

// A table grows as soon as one chain has this many. The ten of uthash leave five in each of a large map, and a look-up has to
// fetch every one that it passes.
#undef HASH_BKT_CAPACITY_THRESH
#define HASH_BKT_CAPACITY_THRESH 4U

#endif
