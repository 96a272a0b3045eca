// A list per level, and a bit per level that has entries. Lists exist from the first message on. @spec amqp-semantics 15.1
#include "core/internal.h"

typedef struct level {
    slc_entry *head, *tail;
} level;

struct slc_levels {
    uint64_t used[4]; // bit n % 64 of word n / 64: level n has entries
    level *levels;    // NULL: none was needed yet
    uint8_t max;
};

slc_levels *slc_levels_new(uint8_t max)
{
    slc_levels *l = slc_alloc_zero(1, sizeof *l);
    l->max = max;
    return l;
}

void slc_levels_free(slc_levels *levels)
{
    if (levels != NULL)
        slc_free(levels->levels);
    slc_free(levels);
}

uint8_t slc_levels_of(const slc_queue *queue, const slc_entry *entry)
{
    uint8_t priority = entry->message->priority;
    return priority < queue->priorities->max ? priority : queue->priorities->max;
}

void slc_levels_push(slc_levels *levels, uint8_t at, slc_entry *entry)
{
    if (levels->levels == NULL)
        levels->levels = slc_alloc_zero((size_t)levels->max + 1, sizeof *levels->levels);
    level *l = &levels->levels[at];
    SLC_DASSERT(l->tail == NULL || l->tail->qseq < entry->qseq);
    entry->next = NULL;
    entry->prev = l->tail;
    if (l->tail != NULL)
        l->tail->next = entry;
    else
        l->head = entry;
    l->tail = entry;
    levels->used[at / 64] |= 1ull << (at % 64);
}

void slc_levels_remove(slc_levels *levels, uint8_t at, slc_entry *entry)
{
    level *l = &levels->levels[at];
    if (entry->prev != NULL)
        entry->prev->next = entry->next;
    else
        l->head = entry->next;
    if (entry->next != NULL)
        entry->next->prev = entry->prev;
    else
        l->tail = entry->prev;
    entry->next = entry->prev = NULL;
    if (l->head == NULL)
        levels->used[at / 64] &= ~(1ull << (at % 64));
}

slc_entry *slc_levels_first(const slc_levels *levels, bool highest, uint8_t *out)
{
    for (int i = 0; i < 4; i++) {
        int word = highest ? 3 - i : i;
        uint64_t used = levels->used[word];
        if (used == 0)
            continue;
        int bit = highest ? 63 - __builtin_clzll(used) : __builtin_ctzll(used);
        if (out != NULL)
            *out = (uint8_t)(64 * word + bit);
        return levels->levels[64 * word + bit].head;
    }
    return NULL;
}

slc_entry *slc_levels_clear(slc_levels *levels)
{
    slc_entry *all = NULL;
    uint8_t at;
    while (slc_levels_first(levels, true, &at) != NULL) {
        level *l = &levels->levels[at];
        l->tail->next = all;
        all = l->head;
        *l = (level){0};
        levels->used[at / 64] &= ~(1ull << (at % 64));
    }
    return all;
}
