/* x-recent-history: a fanout that keeps the last messages and gives them to each new binding. What
 * it keeps is in memory only: after a restart it begins anew, as the plugin of RabbitMQ does.
 * @spec amqp-semantics 7.1 */
#include "core/exchange_kinds.h"

#include "core/internal.h"
#include "core/properties.h"

enum { HISTORY_DEFAULT = 20 };

/** The last messages: a ring that grows up to `length` slots. */
typedef struct history {
    slc_message **messages; // references
    uint64_t length;        // how many are kept
    uint32_t capacity, first, count;
} history;

static slc_err history_check_arguments(slc_slice arguments, slc_error *error)
{
    slc_value value;
    if (!slc_table_find(arguments, slc_slice_str("x-recent-history-length"), &value) ||
        (slc_value_is_integer(&value) && value.integer > 0))
        return SLC_OK;
    char text[128];
    return slc_error_set(
        error, SLC_EPRECONDITION,
        "Invalid argument %s, 'x-recent-history-length' must be a positive integer",
        slc_value_cstr(&value, text, sizeof text));
}

static void history_init(slc_exchange *exchange)
{
    history *h = slc_alloc_zero(1, sizeof *h);
    slc_value value;
    h->length = HISTORY_DEFAULT;
    if (slc_table_find(exchange->arguments, slc_slice_str("x-recent-history-length"), &value) &&
        slc_value_is_integer(&value) && value.integer > 0)
        h->length = (uint64_t)value.integer;
    exchange->index = h;
}

static slc_message **history_slot(const history *h, uint32_t i)
{
    return &h->messages[(h->first + i) % h->capacity];
}

static void history_fini(slc_exchange *exchange)
{
    history *h = exchange->index;
    for (uint32_t i = 0; i < h->count; i++)
        slc_message_unref(*history_slot(h, i));
    slc_free(h->messages);
    slc_free(h);
}

static void history_keep(history *h, slc_message *message)
{
    if (h->count == h->length || h->count == UINT32_MAX / 2) {
        slc_message_unref(*history_slot(h, 0));
        h->first = (h->first + 1) % h->capacity;
        h->count--;
    } else if (h->count ==
               h->capacity) { // it has not wrapped yet: first is 0 until it is full length
        SLC_ASSERT(h->first == 0);
        uint64_t capacity = h->capacity == 0 ? 16 : 2ull * h->capacity;
        h->capacity = (uint32_t)(capacity < h->length ? capacity : h->length);
        h->messages = slc_realloc(h->messages, h->capacity * sizeof(h->messages[0]));
    }
    *history_slot(h, h->count++) = slc_message_ref(message);
}

static void history_route(slc_exchange *exchange, const slc_route_input *input, slc_route *route)
{
    slc_value no_store;
    bool keep =
        input->message != NULL &&
        !(slc_table_find(input->headers, slc_slice_str("x-recent-history-no-store"), &no_store) &&
          no_store.type == SLC_TYPE_BOOL && no_store.boolean);
    if (keep)
        history_keep(exchange->index, input->message);
    for (slc_binding *b = exchange->bindings; b != NULL; b = b->hh.next)
        slc_route_to(route, b);
}

static void history_added(slc_exchange *exchange, slc_binding *binding)
{
    (void)exchange;
    (void)binding;
}

static void history_removed(slc_exchange *exchange, slc_binding *binding)
{
    (void)exchange;
    (void)binding;
}

/** One kept message to a destination. A copy: the original may still stand for a confirm of its publisher, which must not
 *  depend on what becomes of this one. */
static void history_give(slc_broker *broker, const slc_message *kept, slc_destination *to)
{
    slc_message *copy;
    slc_slice content = slc_slice_of(kept->content, slc_message_content_bytes(kept));
    if (slc_message_load(content, &copy) != SLC_OK)
        return; // no memory for it
    copy->priority = kept->priority;
    copy->ttl = slc_message_expiration(copy);
    copy->ts_ms = broker->env.wall_ms(broker->env.arg);
    if (to->kind == SLC_DEST_QUEUE) {
        (void)slc_publish_to(broker, copy, &to, 1);
    } else {
        slc_route route = {0};
        slc_route_input input = {
            .key = slc_message_key(copy), .headers = slc_message_headers(copy), .message = copy};
        slc_route_message(SLC_CONTAINER_OF(to, slc_exchange, dest), &input, &route);
        if (route.count > 0)
            (void)slc_publish_to(broker, copy, route.queues, route.count);
        slc_route_fini(&route);
    }
    slc_message_unref(copy);
}

static void history_bound(slc_exchange *exchange, slc_binding *binding)
{
    history *h = exchange->index;
    // Those of now: where the way leads back here, each one given is kept again.
    uint32_t count = h->count;
    slc_message **messages = slc_alloc((count + 1) * sizeof *messages);
    for (uint32_t i = 0; i < count; i++)
        messages[i] = slc_message_ref(*history_slot(h, i));
    for (uint32_t i = 0; i < count; i++) {
        history_give(exchange->vhost->broker, messages[i], binding->destination);
        slc_message_unref(messages[i]);
    }
    slc_free(messages);
}

const slc_exchange_kind slc_exchange_recent_history = {
    .name = "x-recent-history",
    .description = "Recent History Exchange.",
    .by_key_only = false, // it must see each message
    .check_arguments = history_check_arguments,
    .init = history_init,
    .fini = history_fini,
    .added = history_added,
    .removed = history_removed,
    .bound = history_bound,
    .route = history_route,
};
