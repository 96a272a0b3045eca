#include "core/due.h"

#include "base/alloc.h"

static bool due_before(const slc_due *a, const slc_due *b)
{
    return a->when != b->when ? a->when < b->when : a->order < b->order;
}

static void heap_set(slc_due_heap *heap, uint32_t at, slc_due *due)
{
    heap->items[at] = due;
    due->place = at + 1;
}

static void heap_up(slc_due_heap *heap, uint32_t at, slc_due *due)
{
    while (at > 0) {
        uint32_t parent = (at - 1) / 2;
        if (!due_before(due, heap->items[parent]))
            break;
        heap_set(heap, at, heap->items[parent]);
        at = parent;
    }
    heap_set(heap, at, due);
}

static void heap_down(slc_due_heap *heap, uint32_t at, slc_due *due)
{
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= heap->count)
            break;
        if (child + 1 < heap->count && due_before(heap->items[child + 1], heap->items[child]))
            child++;
        if (!due_before(heap->items[child], due))
            break;
        heap_set(heap, at, heap->items[child]);
        at = child;
    }
    heap_set(heap, at, due);
}

void slc_due_insert(slc_due_heap *heap, slc_due *due, uint64_t when, uint64_t order)
{
    SLC_ASSERT(due->place == 0);
    if (heap->count == heap->capacity) {
        heap->capacity = heap->capacity == 0 ? 8 : 2 * heap->capacity;
        heap->items = slc_realloc(heap->items, heap->capacity * sizeof(heap->items[0]));
    }
    due->when = when;
    due->order = order;
    heap_up(heap, heap->count++, due);
}

void slc_due_remove(slc_due_heap *heap, slc_due *due)
{
    if (due->place == 0)
        return;
    uint32_t at = due->place - 1;
    SLC_ASSERT(at < heap->count && heap->items[at] == due);
    due->place = 0;
    slc_due *last = heap->items[--heap->count];
    if (last != due) {
        if (at > 0 && due_before(last, heap->items[(at - 1) / 2]))
            heap_up(heap, at, last);
        else
            heap_down(heap, at, last);
    }
    if (heap->count == 0)
        slc_due_fini(heap);
}

void slc_due_set(slc_due_heap *heap, slc_due *due, uint64_t when, uint64_t order)
{
    if (due->place != 0 && due->when == when && due->order == order)
        return;
    slc_due_remove(heap, due);
    if (when != SLC_NEVER)
        slc_due_insert(heap, due, when, order);
}

void slc_due_fini(slc_due_heap *heap)
{
    slc_free(heap->items);
    *heap = (slc_due_heap){0};
}
