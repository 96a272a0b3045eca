#include "core/internal.h"

static slc_unacked *ring_slot(const slc_unacked_ring *ring, uint32_t i)
{
    return &ring->items[(ring->first + i) & (ring->capacity - 1)];
}

/** Move the live ones together into an array of capacity slots. */
static void ring_rebuild(slc_unacked_ring *ring, uint32_t capacity)
{
    slc_unacked *items = slc_alloc((size_t)capacity * sizeof *items);
    uint32_t live = 0;
    for (uint32_t i = 0; i < ring->count; i++) {
        slc_unacked *item = ring_slot(ring, i);
        if (item->entry != NULL)
            items[live++] = *item;
    }
    SLC_ASSERT(live == ring->live);
    slc_free(ring->items);
    ring->items = items;
    ring->capacity = capacity;
    ring->first = 0;
    ring->count = live;
}

void slc_unacked_push(slc_unacked_ring *ring, slc_unacked item)
{
    SLC_DASSERT(ring->count == 0 || ring_slot(ring, ring->count - 1)->tag < item.tag);
    if (ring->count == ring->capacity) {
        uint32_t capacity = ring->capacity == 0 ? 8 : ring->capacity;
        while (capacity < 2 * ring->live)
            capacity *= 2;
        ring_rebuild(ring, capacity);
    }
    *ring_slot(ring, ring->count++) = item;
    ring->live++;
}

slc_unacked *slc_unacked_find(slc_unacked_ring *ring, uint64_t tag)
{
    uint32_t low = 0;
    uint32_t high = ring->count;
    if (high > 0 && ring_slot(ring, 0)->tag == tag)
        high = 1;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        slc_unacked *item = ring_slot(ring, middle);
        if (item->tag == tag)
            return item->entry != NULL ? item : NULL;
        if (item->tag < tag)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

slc_unacked *slc_unacked_at(slc_unacked_ring *ring, uint32_t i)
{
    SLC_ASSERT(i < ring->count);
    return ring_slot(ring, i);
}

void slc_unacked_clear(slc_unacked_ring *ring, slc_unacked *item)
{
    SLC_ASSERT(item->entry != NULL);
    item->entry = NULL;
    ring->live--;
    while (ring->count > 0 && ring_slot(ring, 0)->entry == NULL) {
        ring->first = (ring->first + 1) & (ring->capacity - 1);
        ring->count--;
    }
    while (ring->count > 0 && ring_slot(ring, ring->count - 1)->entry == NULL)
        ring->count--;
}

void slc_unacked_fini(slc_unacked_ring *ring)
{
    slc_free(ring->items);
    *ring = (slc_unacked_ring){0};
}
