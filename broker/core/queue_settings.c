#include "core/internal.h"

enum { QUORUM_DELIVERY_LIMIT = 20, QUORUM_MAX_PRIORITY = 31, QUORUM_PLAIN_PRIORITY = 4 };

typedef struct sources {
    slc_slice arguments, policy, operator_policy;
} sources;

/** Neither policies nor arguments were stored with another type: a value of the wrong one is as good as none. */
static uint64_t number(slc_slice table, const char *key)
{
    slc_value value;
    if (table.bytes == 0 || !slc_table_find(table, slc_slice_str(key), &value) ||
        !slc_value_is_integer(&value) || value.integer < 0)
        return SLC_UNLIMITED; // negative: as for delivery-limit
    return (uint64_t)value.integer;
}

static bool present(slc_slice table, const char *key)
{
    return table.bytes > 0 && slc_table_find(table, slc_slice_str(key), NULL);
}

static uint64_t least(const sources *s, const char *argument)
{
    const char *key = argument + 2; // the policies' names have no x-
    uint64_t a = number(s->arguments, argument);
    uint64_t b = number(s->policy, key);
    uint64_t c = number(s->operator_policy, key);
    b = b < c ? b : c;
    return a < b ? a : b;
}

static bool text(slc_slice table, const char *key, slc_slice *out)
{
    slc_value value;
    if (table.bytes == 0 || !slc_table_find(table, slc_slice_str(key), &value) ||
        value.type != SLC_TYPE_LONGSTR)
        return false;
    *out = value.bytes;
    return true;
}

static bool boolean(slc_slice table, const char *key)
{
    slc_value value;
    return table.bytes > 0 && slc_table_find(table, slc_slice_str(key), &value) &&
           value.type == SLC_TYPE_BOOL && value.boolean;
}

/** The argument's word, or the policies'. */
static bool word(const sources *s, const char *argument, slc_slice *out)
{
    return text(s->arguments, argument, out) || text(s->operator_policy, argument + 2, out) ||
           text(s->policy, argument + 2, out);
}

static slc_overflow merge_overflow(const sources *s, bool quorum)
{
    slc_slice value;
    bool set = quorum ? text(s->operator_policy, "overflow", &value) ||
                            text(s->policy, "overflow", &value) ||
                            text(s->arguments, "x-overflow", &value)
                      : word(s, "x-overflow", &value);
    if (set && slc_slice_is(value, "reject-publish"))
        return SLC_OVERFLOW_REJECT;
    // A quorum queue has no such mode and falls back.
    if (set && slc_slice_is(value, "reject-publish-dlx") && !quorum)
        return SLC_OVERFLOW_REJECT_DLX;
    return SLC_OVERFLOW_DROP_HEAD;
}

/** The argument's number, or the policies'. */
static uint64_t first_number(const sources *s, const char *argument)
{
    if (present(s->arguments, argument))
        return number(s->arguments, argument);
    return present(s->operator_policy, argument + 2) ? number(s->operator_policy, argument + 2)
                                                     : number(s->policy, argument + 2);
}

static slc_retry_type merge_retry(const sources *s)
{
    static const struct {
        const char *word;
        slc_retry_type type;
    } types[] = {
        {"all", SLC_RETRY_ALL}, {"failed", SLC_RETRY_FAILED}, {"returned", SLC_RETRY_RETURNED}};
    slc_slice value;
    if (!word(s, "x-delayed-retry-type", &value))
        return SLC_RETRY_NONE;
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (slc_slice_is(value, types[i].word))
            return types[i].type;
    }
    return SLC_RETRY_NONE;
}

void slc_queue_settings_merge(slc_slice arguments, slc_slice policy, slc_slice operator_policy,
                              slc_queue_settings *out)
{
    sources s = {arguments, policy, operator_policy};
    slc_slice value;
    *out = (slc_queue_settings){
        .quorum = text(arguments, "x-queue-type", &value) && slc_slice_is(value, "quorum"),
        .single_active = boolean(arguments, "x-single-active-consumer"),
        .ttl_ms = least(&s, "x-message-ttl"),
        .expires_ms = least(&s, "x-expires"),
        .max_length = least(&s, "x-max-length"),
        .max_length_bytes = least(&s, "x-max-length-bytes"),
        .delivery_limit = least(&s, "x-delivery-limit"),
        .consumer_timeout_ms = least(&s, "x-consumer-timeout"),
    };
    out->limited = out->max_length != SLC_UNLIMITED || out->max_length_bytes != SLC_UNLIMITED;
    out->retry = merge_retry(&s);
    out->retry_min_ms = first_number(&s, "x-delayed-retry-min");
    out->retry_max_ms = first_number(&s, "x-delayed-retry-max");
    if (out->retry_min_ms == SLC_UNLIMITED)
        out->retry_min_ms = 0;
    if (out->retry_max_ms == SLC_UNLIMITED)
        out->retry_max_ms = SLC_TTL_MAX_MS;
    out->overflow = merge_overflow(&s, out->quorum);
    out->dead_letter = word(&s, "x-dead-letter-exchange", &out->dead_letter_exchange);
    out->has_dead_letter_key = word(&s, "x-dead-letter-routing-key", &out->dead_letter_key);
    uint64_t priority = number(arguments, "x-max-priority");
    if (out->quorum) { // always, as since RabbitMQ 4.3; the argument says nothing there. @spec amqp-semantics 15.1
        out->has_priority = true;
        out->max_priority = QUORUM_MAX_PRIORITY;
        out->plain_priority = QUORUM_PLAIN_PRIORITY;
    } else if (priority > 0 && priority != SLC_UNLIMITED) { // 0: there is one level only
        out->has_priority = true;
        out->max_priority = (uint8_t)(priority > 255 ? 255 : priority);
    }
    // A limit of -1 means none; only when nobody says anything is there a default.
    if (out->quorum && !present(arguments, "x-delivery-limit") &&
        !present(policy, "delivery-limit") && !present(operator_policy, "delivery-limit"))
        out->delivery_limit = QUORUM_DELIVERY_LIMIT;
}

void slc_queue_settings_changed(slc_queue *queue)
{
    slc_queue_settings *s = &queue->settings;
    uint64_t expires_ms = s->expires_ms;
    slc_queue_settings_merge(queue->arguments, queue->dest.policy, queue->dest.operator_policy, s);
    queue->special = s->limited || s->ttl_ms != SLC_UNLIMITED || s->quorum;
    if (s->expires_ms != expires_ms)
        slc_queue_used(queue);
    slc_ack_timeout_changed(queue);
    if (s->limited)
        slc_queue_limit(queue);
}
