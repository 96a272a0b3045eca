/* topic: binding keys are patterns of words; topic.c has the trie. */
#include "core/exchange_kinds.h"

#include "core/topic.h"

/* More than enough for any sane pattern. The trie's cost is bounded without it; it keeps what a
 * peer can ask for in sight. */
enum { HASH_WORDS_MAX = 8 };

static slc_err topic_check(const slc_exchange *exchange, slc_slice key, slc_slice arguments,
                           slc_error *error)
{
    (void)exchange;
    (void)arguments;
    uint32_t count = slc_topic_hash_words(key);
    if (count <= HASH_WORDS_MAX)
        return SLC_OK;
    return slc_error_set(error, SLC_EPRECONDITION,
                         "Topic binding key '%.*s' uses %u '#' wildcards, at most %d are allowed",
                         SLC_SLICE_FMT(key), count, HASH_WORDS_MAX);
}

static void topic_init(slc_exchange *exchange)
{
    exchange->index = slc_topic_new();
}

static void topic_fini(slc_exchange *exchange)
{
    slc_topic_free(exchange->index);
}

static void topic_added(slc_exchange *exchange, slc_binding *binding)
{
    slc_topic_add(exchange->index, binding);
}

static void topic_removed(slc_exchange *exchange, slc_binding *binding)
{
    slc_topic_remove(exchange->index, binding);
}

static void topic_route(slc_exchange *exchange, const slc_route_input *input, slc_route *route)
{
    slc_topic_route(exchange->index, input->key, route);
}

const slc_exchange_kind slc_exchange_topic = {
    .name = "topic",
    .description = "AMQP topic exchange, as per the AMQP specification",
    .by_key_only = true,
    .check = topic_check,
    .init = topic_init,
    .fini = topic_fini,
    .added = topic_added,
    .removed = topic_removed,
    .route = topic_route,
};
