/** Things that are due at a time: a binary heap of nodes that lie in their owners.
 *
 *  Ordered by (when, order); insert and remove O(log n), an insert behind all others O(1). A node is in one heap at most; zeroed it
 *  is in none. Thread: the loop.
 */
#ifndef SLC_CORE_DUE_H
#define SLC_CORE_DUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SLC_NEVER UINT64_MAX

typedef struct slc_due {
    uint64_t when;  // wall clock in ms, or any other unit of one heap
    uint64_t order; // among those of the same time
    uint32_t place; // index + 1; 0: in no heap
} slc_due;

typedef struct slc_due_heap {
    slc_due **items;
    uint32_t count, capacity;
} slc_due_heap;

void slc_due_insert(slc_due_heap *heap, slc_due *due, uint64_t when, uint64_t order);
/** Nothing when it is in none. */
void slc_due_remove(slc_due_heap *heap, slc_due *due);
/** Insert, move, or with SLC_NEVER remove. */
void slc_due_set(slc_due_heap *heap, slc_due *due, uint64_t when, uint64_t order);
void slc_due_fini(slc_due_heap *heap);

static inline slc_due *slc_due_first(const slc_due_heap *heap)
{
    return heap->count > 0 ? heap->items[0] : NULL;
}
static inline uint64_t slc_due_next(const slc_due_heap *heap)
{
    return heap->count > 0 ? heap->items[0]->when : SLC_NEVER;
}

#endif
