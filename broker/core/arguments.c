// Arguments of queues and consumers: which ones we know, what values they take, when two declarations are equal.
// @spec amqp-semantics 9.2, 10
#include "core/internal.h"

#include <inttypes.h>
#include <stdio.h>

#define QUEUE_TYPE      "x-queue-type"
#define DEAD_LETTER_KEY "x-dead-letter-routing-key"

typedef slc_err (*check_fn)(const slc_value *value, char *reason, size_t bytes);

static slc_err check_integer(const slc_value *value, char *reason, size_t bytes)
{
    if (slc_value_is_integer(value))
        return SLC_OK;
    snprintf(reason, bytes, "\"expected integer, got %s\"", slc_value_type_name(value->type));
    return SLC_EINVAL;
}

static slc_err check_not_negative(const slc_value *value, char *reason, size_t bytes)
{
    slc_err rc = check_integer(value, reason, bytes);
    if (rc != SLC_OK || value->integer >= 0)
        return rc;
    snprintf(reason, bytes, "{value_negative,%" PRId64 "}", value->integer);
    return SLC_EINVAL;
}

static slc_err check_positive(const slc_value *value, char *reason, size_t bytes)
{
    slc_err rc = check_not_negative(value, reason, bytes);
    if (rc != SLC_OK || value->integer > 0)
        return rc;
    snprintf(reason, bytes, "{value_zero,0}");
    return SLC_EINVAL;
}

static slc_err check_time(const slc_value *value, char *reason, size_t bytes)
{
    slc_err rc = check_not_negative(value, reason, bytes);
    if (rc != SLC_OK || value->integer <= SLC_TTL_MAX_MS)
        return rc;
    snprintf(reason, bytes, "{value_too_large,%" PRId64 "}", value->integer);
    return SLC_EINVAL;
}

static slc_err check_expires(const slc_value *value, char *reason, size_t bytes)
{
    slc_err rc = check_positive(value, reason, bytes);
    return rc == SLC_OK ? check_time(value, reason, bytes) : rc;
}

static slc_err check_priority(const slc_value *value, char *reason, size_t bytes)
{
    slc_err rc = check_not_negative(value, reason, bytes);
    if (rc != SLC_OK || value->integer <= UINT8_MAX)
        return rc;
    snprintf(reason, bytes, "{max_value_exceeded,%" PRId64 "}", value->integer);
    return SLC_EINVAL;
}

static slc_err check_type(const slc_value *value, char type, char *reason, size_t bytes)
{
    if (value->type == type)
        return SLC_OK;
    snprintf(reason, bytes, "{unacceptable_type,%s}", slc_value_type_name(value->type));
    return SLC_EINVAL;
}

static slc_err check_boolean(const slc_value *value, char *reason, size_t bytes)
{
    return check_type(value, SLC_TYPE_BOOL, reason, bytes);
}

static slc_err check_text(const slc_value *value, char *reason, size_t bytes)
{
    return check_type(value, SLC_TYPE_LONGSTR, reason, bytes);
}

static slc_err check_word(const slc_value *value, const char *const *words, const char *otherwise,
                          char *reason, size_t bytes)
{
    slc_err rc = check_text(value, reason, bytes);
    if (rc != SLC_OK)
        return rc;
    for (; *words != NULL; words++) {
        if (slc_slice_is(value->bytes, *words))
            return SLC_OK;
    }
    snprintf(reason, bytes, "%s", otherwise);
    return SLC_EINVAL;
}

static slc_err check_overflow(const slc_value *value, char *reason, size_t bytes)
{
    static const char *const words[] = {"drop-head", "reject-publish", "reject-publish-dlx", NULL};
    return check_word(value, words, "invalid_overflow", reason, bytes);
}

static slc_err check_dead_letter_strategy(const slc_value *value, char *reason, size_t bytes)
{
    static const char *const words[] = {"at-most-once", "at-least-once", NULL};
    return check_word(value, words, "invalid_dlx_strategy", reason, bytes);
}

static slc_err check_retry_type(const slc_value *value, char *reason, size_t bytes)
{
    static const char *const words[] = {"disabled", "all", "failed", "returned", NULL};
    return check_word(value, words, "invalid_delayed_retry_type", reason, bytes);
}

static slc_err check_leader_locator(const slc_value *value, char *reason, size_t bytes)
{
    static const char *const words[] = {"client-local",  "balanced",    "random",
                                        "least-leaders", "min-masters", NULL};
    return check_word(value, words, "invalid_queue_locator_arg", reason, bytes);
}

static slc_err check_queue_type(const slc_value *value, char *reason, size_t bytes)
{
    slc_err rc = check_text(value, reason, bytes);
    if (rc != SLC_OK || slc_slice_is(value->bytes, "classic") ||
        slc_slice_is(value->bytes, "quorum"))
        return rc;
    snprintf(reason, bytes, "\"unsupported queue type '%.*s'\"", SLC_SLICE_FMT(value->bytes));
    return SLC_EINVAL;
}

static slc_err check_queue_mode(const slc_value *value, char *reason, size_t bytes)
{
    slc_err rc = check_text(value, reason, bytes);
    if (rc != SLC_OK || slc_slice_is(value->bytes, "default") || slc_slice_is(value->bytes, "lazy"))
        return rc;
    snprintf(reason, bytes, "\"unsupported queue mode '%.*s'\"", SLC_SLICE_FMT(value->bytes));
    return SLC_EINVAL;
}

static slc_err check_queue_version(const slc_value *value, char *reason, size_t bytes)
{
    slc_err rc = check_not_negative(value, reason, bytes);
    if (rc != SLC_OK || value->integer == 1 || value->integer == 2)
        return rc;
    snprintf(reason, bytes, "\"unsupported queue version '%" PRId64 "'\"", value->integer);
    return SLC_EINVAL;
}

static slc_err check_not_yet(const slc_value *value, char *reason, size_t bytes)
{
    (void)value;
    (void)reason;
    (void)bytes;
    return SLC_ENOTIMPL;
}

/** A stream has these, and only it. */
static slc_err check_stream_only(const slc_value *value, char *reason, size_t bytes)
{
    (void)value;
    (void)reason;
    (void)bytes;
    return SLC_ENOTFOUND;
}

/** What RabbitMQ knows, in the order in which it looks at them: what is wrong in two arguments gets the same answer. fixed: what a
 *  queue is made with; the others can change (declare.on_mismatch). quorum_only: RabbitMQ refuses a new classic queue with it, we do
 *  not. Mode, version, places and sizes of groups have no effect on one node: all our queues page by themselves. Nor has the time that a
 *  consumer on an unreachable node is waited for: here all are on this one, and what one holds whose connection breaks comes back at
 *  once, as at RabbitMQ. */
static const struct known_argument {
    const char *key;
    check_fn check;
    bool fixed, quorum_only;
} queue_arguments[] =
    {
        {"x-expires", check_expires},
        {"x-message-ttl", check_time},
        {"x-dead-letter-exchange", check_text},
        {DEAD_LETTER_KEY, check_text},
        {"x-dead-letter-strategy", check_dead_letter_strategy, .quorum_only = true},
        {"x-max-length", check_not_negative},
        {"x-max-length-bytes", check_not_negative},
        {"x-max-in-memory-length", check_not_negative, .quorum_only = true},
        {"x-max-in-memory-bytes", check_not_negative, .quorum_only = true},
        {"x-max-priority", check_priority, .fixed = true},
        {"x-overflow", check_overflow},
        {"x-queue-mode", check_queue_mode},
        {"x-queue-version", check_queue_version},
        {"x-single-active-consumer", check_boolean, .fixed = true},
        {QUEUE_TYPE, check_queue_type, .fixed = true},
        {"x-quorum-initial-group-size", check_positive, .quorum_only = true},
        {"x-quorum-target-group-size", check_positive, .quorum_only = true},
        {"x-delivery-limit", check_integer, .quorum_only = true},
        {"x-consumer-timeout", check_not_negative},
        {"x-consumer-disconnected-timeout", check_not_negative, .quorum_only = true},
        {"x-delayed-retry-type", check_retry_type, .quorum_only = true},
        {"x-delayed-retry-min", check_time, .quorum_only = true},
        {"x-delayed-retry-max", check_time, .quorum_only = true},
        {"x-max-age", check_stream_only},
        {"x-stream-max-segment-size-bytes", check_stream_only},
        {"x-stream-filter-size-bytes", check_stream_only},
        {"x-initial-cluster-size", check_stream_only},
        {"x-queue-leader-locator", check_leader_locator},
        {"x-queue-master-locator", check_text},
        {"x-message-deduplication", check_not_yet},
        {"x-cache-size", check_not_yet},
        {"x-cache-ttl", check_not_yet},
        {"x-deduplication-header", check_not_yet},
},
  consume_arguments[] = {
      {"x-priority", check_integer},
      {"x-cancel-on-ha-failover", check_boolean},
      {"x-consumer-timeout", check_not_negative},
      {"x-stream-offset", check_not_yet},
      {"x-stream-filter", check_not_yet},
      {"x-stream-match-unfiltered", check_not_yet},
      {"x-credit", check_not_yet},
};

static bool is_quorum(slc_slice arguments)
{
    slc_value value;
    return slc_table_find(arguments, slc_slice_str(QUEUE_TYPE), &value) &&
           value.type == SLC_TYPE_LONGSTR && slc_slice_is(value.bytes, "quorum");
}

/** Unknown keys are stored and shown. */
static slc_err check_argument(const struct known_argument *known, const slc_vhost *vhost,
                              slc_slice queue, slc_slice arguments, slc_error *error)
{
    slc_value value;
    if (!slc_table_find(arguments, slc_slice_str(known->key), &value))
        return SLC_OK;
    char reason[320] = "", name[640];
    slc_err rc = known->check(&value, reason, sizeof reason);
    if (rc == SLC_OK)
        return SLC_OK;
    slc_resource_text(vhost, SLC_DEST_QUEUE, queue, name, sizeof name);
    if (rc == SLC_ENOTIMPL) {
        char text[64];
        return slc_error_set(
            error, SLC_EPRECONDITION,
            "invalid arg '%s' for %s: \"%s is not supported by this version of Sluice\"",
            known->key, name, slc_value_cstr(&value, text, sizeof text));
    }
    if (rc == SLC_ENOTFOUND)
        return slc_error_set(error, SLC_EPRECONDITION, "invalid arg '%s' for %s of queue type %s",
                             known->key, name, is_quorum(arguments) ? "quorum" : "classic");
    return slc_error_set(error, SLC_EPRECONDITION, "invalid arg '%s' for %s: %s", known->key, name,
                         reason);
}

/** A key without an exchange to send to with it. */
static bool is_lone_dead_letter_key(const char *key, slc_slice arguments)
{
    return strcmp(key, DEAD_LETTER_KEY) == 0 &&
           slc_table_find(arguments, slc_slice_str(key), NULL) &&
           !slc_table_find(arguments, slc_slice_str("x-dead-letter-exchange"), NULL);
}

slc_err slc_check_queue_arguments(const slc_vhost *vhost, slc_slice name, slc_slice arguments,
                                  slc_error *error)
{
    static const struct known_argument type = {QUEUE_TYPE, check_queue_type};
    char text[640];
    slc_resource_text(vhost, SLC_DEST_QUEUE, name, text, sizeof text);
    slc_value value;
    if (slc_table_find(arguments, slc_slice_str("x-dead-letter-exchange"), &value) &&
        value.type != SLC_TYPE_LONGSTR)
        return slc_error_set(error, SLC_EPRECONDITION,
                             "invalid type '%s' for arg 'x-dead-letter-exchange' in %s",
                             slc_value_type_name(value.type), text);
    slc_err rc = check_argument(&type, vhost, name, arguments, error); // before all others
    for (size_t i = 0; rc == SLC_OK && i < SLC_ARRAY_COUNT(queue_arguments); i++) {
        const struct known_argument *known = &queue_arguments[i];
        rc = check_argument(known, vhost, name, arguments, error);
        if (rc == SLC_OK && is_lone_dead_letter_key(known->key, arguments))
            rc = slc_error_set(error, SLC_EPRECONDITION,
                               "invalid arg '%s' for %s: routing_key_but_no_dlx_defined",
                               known->key, text);
    }
    return rc;
}

slc_err slc_check_queue_type(const slc_vhost *vhost, slc_slice name, slc_slice arguments,
                             bool durable, bool exclusive, bool auto_delete, slc_error *error)
{
    if (!is_quorum(arguments) || (durable && !exclusive && !auto_delete))
        return SLC_OK;
    char text[640];
    return slc_error_set(error, SLC_EPRECONDITION, "invalid property '%s' for %s",
                         auto_delete ? "auto-delete"
                         : exclusive ? "exclusive-owner"
                                     : "non-durable",
                         slc_resource_text(vhost, SLC_DEST_QUEUE, name, text, sizeof text));
}

slc_err slc_check_consume_arguments(const slc_vhost *vhost, slc_slice queue, slc_slice arguments,
                                    slc_error *error)
{
    slc_err rc = SLC_OK;
    for (size_t i = 0; rc == SLC_OK && i < SLC_ARRAY_COUNT(consume_arguments); i++)
        rc = check_argument(&consume_arguments[i], vhost, queue, arguments, error);
    return rc;
}

/** One argument of an existing object against a new declaration. @spec amqp-semantics 9.2 */
slc_err slc_compare_argument(const char *key, slc_slice current, slc_slice received,
                             const char *resource, slc_error *error)
{
    slc_value was, now;
    bool have_was = slc_table_find(current, slc_slice_str(key), &was);
    bool have_now = slc_table_find(received, slc_slice_str(key), &now);
    char text_was[128], text_now[128];
    if (have_was && have_now) {
        if (slc_value_equivalent(&was, &now))
            return SLC_OK;
        if (now.type == SLC_TYPE_VOID)
            return slc_error_set(error, SLC_EPRECONDITION,
                                 "inequivalent arg '%s' for %s: received none but current is '%s'",
                                 key, resource, slc_value_cstr(&was, text_was, sizeof text_was));
        return slc_error_set(error, SLC_EPRECONDITION,
                             "inequivalent arg '%s' for %s: received '%s' but current is '%s'", key,
                             resource, slc_value_cstr(&now, text_now, sizeof text_now),
                             slc_value_cstr(&was, text_was, sizeof text_was));
    }
    if (have_now)
        return slc_error_set(error, SLC_EPRECONDITION,
                             "inequivalent arg '%s' for %s: received the value '%s' of type '%s' "
                             "but current is none",
                             key, resource, slc_value_cstr(&now, text_now, sizeof text_now),
                             slc_value_type_name(now.type));
    if (have_was)
        return slc_error_set(error, SLC_EPRECONDITION,
                             "inequivalent arg '%s' for %s: received none but current is the value "
                             "'%s' of type '%s'",
                             key, resource, slc_value_cstr(&was, text_was, sizeof text_was),
                             slc_value_type_name(was.type));
    return SLC_OK;
}

static bool is_classic_or_absent(slc_slice arguments)
{
    slc_value value;
    return !slc_table_find(arguments, slc_slice_str(QUEUE_TYPE), &value) ||
           (value.type == SLC_TYPE_LONGSTR && slc_slice_is(value.bytes, "classic"));
}

/** Of an existing queue only the arguments of its kind are compared. One with which only we make such a queue counts when both
 *  have it: then the queue is one of ours. */
static bool is_unknown_to_kind(const struct known_argument *known, slc_slice current,
                               slc_slice received)
{
    if (known->check == check_stream_only)
        return true;
    slc_slice key = slc_slice_str(known->key);
    return known->quorum_only && !is_quorum(current) &&
           !(slc_table_find(current, key, NULL) && slc_table_find(received, key, NULL));
}

static slc_err compare_arguments(const slc_queue *queue, slc_slice arguments, bool fixed_only,
                                 slc_error *error)
{
    char name[640];
    slc_resource_text(queue->vhost, SLC_DEST_QUEUE, queue->dest.name, name, sizeof name);
    for (size_t i = 0; i < SLC_ARRAY_COUNT(queue_arguments); i++) {
        const struct known_argument *known = &queue_arguments[i];
        if ((fixed_only && !known->fixed) || is_unknown_to_kind(known, queue->arguments, arguments))
            continue;
        if (strcmp(known->key, QUEUE_TYPE) == 0 && is_classic_or_absent(arguments) &&
            is_classic_or_absent(queue->arguments))
            continue;
        slc_err rc = slc_compare_argument(known->key, queue->arguments, arguments, name, error);
        if (rc != SLC_OK)
            return rc;
    }
    return SLC_OK;
}

slc_err slc_compare_queue_arguments(const slc_queue *queue, slc_slice arguments, slc_error *error)
{
    return compare_arguments(queue, arguments, false, error);
}

slc_err slc_compare_fixed_arguments(const slc_queue *queue, slc_slice arguments, slc_error *error)
{
    return compare_arguments(queue, arguments, true, error);
}
