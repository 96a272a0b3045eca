/** Help for the tests of decoders: a seeded generator of values, and memory that ends at a page
 *  nobody may touch.
 *
 *  The seed is SLC_TEST_SEED or 1; a failing property prints it. Used by the tests of wire, the
 *  table test of base and the fuzz targets.
 */
#ifndef SLC_TEST_GEN_H
#define SLC_TEST_GEN_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/table.h"

typedef struct gen {
    uint64_t seed;
    uint64_t state;
} gen;

static inline gen gen_start(void)
{
    const char *text = getenv("SLC_TEST_SEED");
    uint64_t seed = text == NULL ? 1 : strtoull(text, NULL, 10);
    return (gen){seed, seed};
}

/** splitmix64 */
static inline uint64_t gen_u64(gen *g)
{
    uint64_t z = g->state += 0x9E3779B97F4A7C15U;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9U;
    z = (z ^ z >> 27) * 0x94D049BB133111EBU;
    return z ^ z >> 31;
}

static inline uint32_t gen_below(gen *g, uint32_t limit)
{
    return (uint32_t)(gen_u64(g) % limit);
}

/** Memory of one test case: slices stay valid until gen_pool_free. */
typedef struct gen_pool {
    void *blocks[512];
    size_t count;
} gen_pool;

static inline void *gen_keep(gen_pool *pool, size_t bytes)
{
    SLC_ASSERT(pool->count < SLC_ARRAY_COUNT(pool->blocks));
    void *block = slc_alloc(bytes > 0 ? bytes : 1);
    pool->blocks[pool->count++] = block;
    return block;
}

static inline void gen_pool_free(gen_pool *pool)
{
    while (pool->count > 0)
        slc_free(pool->blocks[--pool->count]);
}

/** Letters, and now and then a two-octet UTF-8 character. */
static inline slc_slice gen_text(gen *g, gen_pool *pool, uint32_t bytes_max)
{
    uint32_t bytes = gen_below(g, bytes_max + 1);
    uint8_t *text = gen_keep(pool, bytes);
    for (uint32_t i = 0; i < bytes; i++) {
        if (i + 1 < bytes && gen_below(g, 8) == 0) {
            text[i++] = 0xC3;
            text[i] = (uint8_t)(0x80 + gen_below(g, 64));
        } else {
            text[i] = (uint8_t)('a' + gen_below(g, 26));
        }
    }
    return slc_slice_of(text, bytes);
}

static inline slc_slice gen_octets(gen *g, gen_pool *pool, uint32_t bytes_max)
{
    uint32_t bytes = gen_below(g, bytes_max + 1);
    uint8_t *octets = gen_keep(pool, bytes);
    for (uint32_t i = 0; i < bytes; i++)
        octets[i] = (uint8_t)gen_u64(g);
    return slc_slice_of(octets, bytes);
}

static inline slc_slice gen_table_content(gen *g, gen_pool *pool, unsigned depth, bool array);

/** A value of any type that is written (so neither U nor L). */
static inline slc_value gen_value(gen *g, gen_pool *pool, unsigned depth)
{
    static const char types[] = "tbBsuIilfdDSxTFAV";
    slc_value value = {.type = types[gen_below(g, sizeof types - 1)]};
    uint64_t bits = gen_u64(g);
    switch (value.type) {
    case SLC_TYPE_BOOL:
        value.boolean = (bits & 1) != 0;
        break;
    case SLC_TYPE_I8:
        value.integer = (int8_t)bits;
        break;
    case SLC_TYPE_U8:
        value.integer = (uint8_t)bits;
        break;
    case SLC_TYPE_I16:
        value.integer = (int16_t)bits;
        break;
    case SLC_TYPE_U16:
        value.integer = (uint16_t)bits;
        break;
    case SLC_TYPE_I32:
        value.integer = (int32_t)bits;
        break;
    case SLC_TYPE_U32:
        value.integer = (uint32_t)bits;
        break;
    case SLC_TYPE_I64:
        value.integer = (int64_t)bits;
        break;
    case SLC_TYPE_FLOAT:
        value.number = (double)(float)(int32_t)bits / 8;
        break;
    case SLC_TYPE_DOUBLE:
        value.number = (double)(int64_t)bits / 1024;
        break;
    case SLC_TYPE_DECIMAL:
        value.decimal.scale = (uint8_t)bits;
        value.decimal.value = (uint32_t)(bits >> 8);
        break;
    case SLC_TYPE_TIMESTAMP:
        value.timestamp = bits;
        break;
    case SLC_TYPE_LONGSTR:
        value.bytes = gen_text(g, pool, 40);
        break;
    case SLC_TYPE_BINARY:
        value.bytes = gen_octets(g, pool, 40);
        break;
    case SLC_TYPE_TABLE:
    case SLC_TYPE_ARRAY:
        value.bytes = gen_table_content(g, pool, depth, value.type == SLC_TYPE_ARRAY);
        break;
    default:
        break;
    }
    return value;
}

/** Content of a table (or array) of up to 5 values, up to `depth` levels below. */
static inline slc_slice gen_table_content(gen *g, gen_pool *pool, unsigned depth, bool array)
{
    slc_table_builder b = {0};
    uint32_t count = depth == 0 ? 0 : gen_below(g, 6);
    if (array) { // a builder starts with a table: take the content of an array inside it
        slc_table_open(&b, "", SLC_TYPE_ARRAY);
    }
    for (uint32_t i = 0; i < count; i++) {
        slc_slice key = array ? (slc_slice){0} : gen_text(g, pool, 12);
        slc_value value = gen_value(g, pool, depth - 1);
        slc_table_put_value(&b, key, &value);
    }
    if (array)
        slc_table_close(&b);
    slc_slice content = slc_table_builder_content(&b);
    if (array) // key length, type, u32 length
        content = slc_slice_of(content.data + 6, content.bytes - 6);
    uint8_t *kept = gen_keep(pool, content.bytes);
    if (content.bytes > 0)
        memcpy(kept, content.data, content.bytes);
    slc_table_builder_fini(&b);
    return slc_slice_of(kept, content.bytes);
}

/** Pages, the last of which must not be touched: one octet read too far ends the test, with or
 *  without a sanitizer. */
typedef struct guard {
    uint8_t *pages;
    size_t bytes; // of all, the last page included
    size_t page;
} guard;

static inline guard guard_new(size_t room)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t bytes = (room / page + 2) * page;
    uint8_t *pages = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    SLC_ASSERT(pages != MAP_FAILED);
    SLC_ASSERT(mprotect(pages + bytes - page, page, PROT_NONE) == 0);
    return (guard){pages, bytes, page};
}

/** A copy of octets that ends where the forbidden page begins. Replaces the copy before. */
static inline slc_slice guard_copy(const guard *g, const void *data, size_t bytes)
{
    SLC_ASSERT(bytes <= g->bytes - g->page);
    uint8_t *at = g->pages + g->bytes - g->page - bytes;
    if (bytes > 0)
        memcpy(at, data, bytes);
    return slc_slice_of(at, bytes);
}

static inline void guard_free(guard *g)
{
    munmap(g->pages, g->bytes);
}

#endif
