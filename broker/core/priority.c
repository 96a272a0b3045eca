// A lane per level of a priority queue, made when the level is first used, and a bit per level that has messages. So each level
// has its head in memory and the rest in the store, in a queue of its own there, as RabbitMQ has a queue for each priority: the
// next message is found without a look at those of other levels, after a start too. The queue's own lane is the level of messages
// without a priority: the only one of most quorum queues, which all have levels. @spec amqp-semantics 15.1
#include "core/internal.h"
#include "core/properties.h"

struct slc_lanes {
    slc_queue *queue;
    uint64_t used[4]; // bit n % 64 of word n / 64: level n has messages
    uint8_t max, plain;
    slc_lane *levels[]; // plain: the queue's own; NULL: never used
};

slc_lanes *slc_lanes_new(slc_queue *queue, uint8_t max, uint8_t plain)
{
    slc_lanes *l = slc_alloc_zero(1, sizeof *l + ((size_t)max + 1) * sizeof(slc_lane *));
    l->queue = queue;
    l->max = max;
    l->plain = plain;
    l->levels[plain] = &queue->lane;
    queue->lane.level = plain;
    return l;
}

void slc_lanes_free(slc_lanes *lanes)
{
    for (int i = 0; lanes != NULL && i <= lanes->max; i++) {
        if (i != lanes->plain)
            slc_free(lanes->levels[i]);
    }
    slc_free(lanes);
}

uint8_t slc_lanes_level(const slc_lanes *lanes, const slc_message *message)
{
    uint8_t priority = message->priority;
    slc_slice value;
    if (priority == 0 && lanes->plain != 0 &&
        !slc_message_property(message, SLC_PROPERTY_PRIORITY, &value))
        return lanes->plain;
    return priority < lanes->max ? priority : lanes->max;
}

slc_lane *slc_lanes_ensure(slc_lanes *lanes, uint8_t level)
{
    SLC_ASSERT(level <= lanes->max);
    if (lanes->levels[level] == NULL) {
        lanes->levels[level] = slc_alloc_zero(1, sizeof(slc_lane));
        slc_lane_init(lanes->levels[level], lanes->queue, level);
    }
    return lanes->levels[level];
}

void slc_lanes_used(slc_lanes *lanes, uint8_t level, bool used)
{
    uint64_t bit = 1ull << (level % 64);
    if (used)
        lanes->used[level / 64] |= bit;
    else
        lanes->used[level / 64] &= ~bit;
}

slc_lane *slc_lanes_first(const slc_lanes *lanes, bool highest)
{
    for (int i = 0; i < 4; i++) {
        int word = highest ? 3 - i : i;
        uint64_t used = lanes->used[word];
        if (used != 0)
            return lanes->levels[64 * word +
                                 (highest ? 63 - __builtin_clzll(used) : __builtin_ctzll(used))];
    }
    return NULL;
}

slc_lane *slc_lanes_above(const slc_lanes *lanes, int level)
{
    for (int i = level + 1; i <= lanes->max; i++) {
        if (lanes->levels[i] != NULL)
            return lanes->levels[i];
    }
    return NULL;
}
