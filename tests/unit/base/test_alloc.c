#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <criterion/redirect.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/map.h"

Test(alloc, zeroed_grown_and_copied)
{
    uint8_t *bytes = slc_alloc_zero(16, 4);
    for (size_t i = 0; i < 64; i++)
        cr_assert(eq(u8, bytes[i], 0));
    bytes[63] = 9;
    bytes = slc_realloc(bytes, 4096);
    cr_expect(eq(u8, bytes[63], 9));
    slc_free(bytes);
    slc_free(NULL);

    char *copy = slc_strndup("abcdef", 3);
    cr_expect(eq(str, copy, "abc"));
    slc_free(copy);
    copy = slc_strdup("");
    cr_expect(eq(str, copy, ""));
    slc_free(copy);
}

Test(alloc, try_alloc_refuses_what_is_not_there)
{
    volatile size_t huge = SIZE_MAX / 4;
#if !defined(__SANITIZE_ADDRESS__)
    void *none = slc_try_alloc(huge);
    cr_expect(eq(ptr, none, NULL));
    slc_free(none);
#else
    (void)huge; // ASan ends the process instead
#endif
    void *some = slc_try_alloc(0);
    cr_expect(ne(ptr, some, NULL));
    slc_free(some);
}

Test(alloc, zero_checks_overflow, .signal = SIGABRT)
{
    volatile size_t count = SIZE_MAX / 2;
    slc_free(slc_alloc_zero(count, 4));
}

Test(alloc, assertion_stops_the_process, .signal = SIGABRT)
{
    SLC_ASSERT(1 + 1 == 3);
}

Test(clock, goes_forward)
{
    uint64_t before = slc_clock_now_ns();
    uint64_t after = slc_clock_now_ns();
    cr_expect(le(u64, before, after));
    cr_expect(gt(u64, slc_clock_wall_ms(), 1600000000000ull));
}

Test(clock, random_bytes_differ_and_fill_everything)
{
    uint8_t a[300] = {0}, b[300] = {0};
    slc_random_bytes(a, sizeof a);
    slc_random_bytes(b, sizeof b);
    cr_expect(ne(int, memcmp(a, b, sizeof a), 0));
    uint8_t any = 0;
    for (size_t i = sizeof a - 16; i < sizeof a; i++)
        any |= a[i];
    cr_expect(ne(u8, any, 0));
}

struct entry {
    char name[24];
    UT_hash_handle hh;
};

Test(map, finds_and_iterates_in_insertion_order)
{
    struct entry entries[500];
    struct entry *map = NULL;
    for (int i = 0; i < 500; i++) {
        snprintf(entries[i].name, sizeof entries[i].name, "queue-%d", i);
        HASH_ADD_STR(map, name, &entries[i]);
    }
    struct entry *found = NULL;
    HASH_FIND_STR(map, "queue-321", found);
    cr_expect(eq(ptr, found, &entries[321]));
    HASH_FIND_STR(map, "queue-500", found);
    cr_expect(eq(ptr, found, NULL));

    int at = 0;
    for (struct entry *e = map; e != NULL; e = e->hh.next)
        cr_assert(eq(ptr, e, &entries[at++]));
    cr_expect(eq(int, at, 500));
    HASH_CLEAR(hh, map);
}

Test(map, the_seed_changes_the_hash)
{
    uint32_t fixed = slc_hash("name", 4);
    cr_expect(eq(u32, slc_hash("name", 4), fixed));
    slc_hash_seed(42);
    cr_expect(ne(u32, slc_hash("name", 4), fixed));
}
