/** Memory and assertions.
 *
 *  Small, fixed allocations use slc_alloc, which ends the process with a clear line when the system has no more memory:
 *  the memory watermark blocks publishers long before. Sizes that a peer chooses use slc_try_alloc, where a refusal is an
 *  answer to that peer. All memory of these functions is freed with slc_free. Thread: any.
 */
#ifndef SLC_BASE_ALLOC_H
#define SLC_BASE_ALLOC_H

#include <stddef.h>

#include "base/error.h"

/** bytes > 0; never NULL; not cleared. */
void *slc_alloc(size_t bytes) __attribute__((malloc, returns_nonnull));
/** The same, cleared; count * bytes is checked for overflow. */
void *slc_alloc_zero(size_t count, size_t bytes) __attribute__((malloc, returns_nonnull));
/** Cleared, from the start of a pair of cache lines, which the machine fetches together: for what exists in thousands and is
 *  touched by each message, with what is touched first. Not to be grown. */
void *slc_alloc_lines(size_t bytes) __attribute__((malloc, returns_nonnull));
/** Grow or shrink; never NULL. memory may be NULL. */
void *slc_realloc(void *memory, size_t bytes) __attribute__((returns_nonnull));
/** NULL when there is no memory. */
void *slc_try_alloc(size_t bytes) SLC_MUST_USE;
char *slc_strdup(const char *text) __attribute__((malloc, returns_nonnull));
/** A terminated copy of bytes octets. */
char *slc_strndup(const char *text, size_t bytes) __attribute__((malloc, returns_nonnull));
/** slc_free(NULL) is fine. */
void slc_free(void *memory);

/** An invariant of ours; checked in release too. Stopping beats confirming what we did not store. */
#define SLC_ASSERT(condition)                                                                      \
    (__builtin_expect(!!(condition), 1) ? (void)0                                                  \
                                        : slc_assert_failed(#condition, __FILE__, __LINE__))
/** For costly checks: debug, test and simulation builds only. */
#ifdef NDEBUG
#define SLC_DASSERT(condition) ((void)0)
#else
#define SLC_DASSERT(condition) SLC_ASSERT(condition)
#endif

_Noreturn void slc_assert_failed(const char *condition, const char *file, int line);

#define SLC_CONTAINER_OF(pointer, type, member)                                                    \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))
#define SLC_ARRAY_COUNT(array) (sizeof(array) / sizeof((array)[0]))

#endif
