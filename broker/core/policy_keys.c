// What may stand in a policy: its own fields, and the keys of its definition. Texts are RabbitMQ's.
// @spec amqp-semantics 10, 18.1
#include <string.h>

#include "core/json_table.h"
#include "core/policy.h"

#define FAILED "Validation failed\n\n"

typedef bool (*fits_fn)(const json_t *value);

static bool fits_not_negative(const json_t *value)
{
    return json_is_integer(value) && json_integer_value(value) >= 0;
}

static bool fits_positive(const json_t *value)
{
    return json_is_integer(value) && json_integer_value(value) > 0;
}

static bool fits_string(const json_t *value)
{
    return json_is_string(value);
}

static bool is_one_of(const json_t *value, const char *words)
{
    if (!json_is_string(value) || json_string_length(value) == 0)
        return false;
    slc_slice text = slc_json_string_slice(value);
    for (const char *at = words; *at != '\0';) {
        size_t bytes = strcspn(at, " ");
        if (slc_slice_equal(slc_slice_of(at, bytes), text))
            return true;
        at += bytes + (at[bytes] == ' ');
    }
    return false;
}

static bool fits_overflow(const json_t *value)
{
    return is_one_of(value, "drop-head reject-publish reject-publish-dlx");
}

static bool fits_strategy(const json_t *value)
{
    return is_one_of(value, "at-most-once at-least-once");
}

static bool fits_mode(const json_t *value)
{
    return is_one_of(value, "default lazy");
}

static bool fits_version(const json_t *value)
{
    return json_is_integer(value) &&
           (json_integer_value(value) == 1 || json_integer_value(value) == 2);
}

static bool fits_leader_locator(const json_t *value)
{
    return is_one_of(value, "client-local balanced random least-leaders");
}

static bool fits_retry_type(const json_t *value)
{
    return is_one_of(value, "disabled all failed returned");
}

static bool fits_master_locator(const json_t *value)
{
    return is_one_of(value, "client-local min-masters random");
}

/** "7D": a number and one of Y M D h m s. */
static bool fits_max_age(const json_t *value)
{
    if (!json_is_string(value))
        return false;
    slc_slice text = slc_json_string_slice(value);
    if (text.bytes < 2 || text.bytes > 19 || strchr("YMDhms", text.data[text.bytes - 1]) == NULL)
        return false;
    for (size_t i = 0; i + 1 < text.bytes; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
    }
    return true;
}

static bool fits_always(const json_t *value)
{
    return is_one_of(value, "always when-synced");
}

static bool fits_sync_mode(const json_t *value)
{
    return is_one_of(value, "manual automatic");
}

static bool fits_anything(const json_t *value)
{
    (void)value;
    return true; // looked at with ha-mode
}

/** text: what follows "<value> ", or with before what precedes "<value>[after]". Keys of streams are known, as they are to RabbitMQ;
 *  they take effect on streams only. */
static const struct policy_key {
    const char *name;
    bool for_operator;
    fits_fn fits;
    const char *before, *after;
} policy_keys[] = {
    {"message-ttl", true, fits_not_negative, "", " is not a valid message TTL"},
    {"expires", true, fits_positive, "", " is not a valid queue expiry"},
    {"max-length", true, fits_not_negative, "", " is not a valid maximum length"},
    {"max-length-bytes", true, fits_not_negative, "", " is not a valid maximum length in bytes"},
    {"max-in-memory-length", true, fits_not_negative, "",
     " is not a valid maximum memory in bytes"},
    {"max-in-memory-bytes", true, fits_not_negative, "", " is not a valid maximum memory in bytes"},
    {"delivery-limit", true, fits_not_negative, "", " is not a valid delivery limit"},
    {"overflow", true, fits_overflow, "", " is not a valid overflow value"},
    {"queue-version", true, fits_version, "", " is not a valid queue-version value"},
    {"target-group-size", true, fits_positive, "", " is not a valid target count"},
    {"consumer-timeout", false, fits_not_negative, "", " is not a valid consumer timeout"},
    {"consumer-disconnected-timeout", false, fits_not_negative, "",
     " is not a valid consumer disconnected timeout"},
    {"delayed-retry-type", false, fits_retry_type, "", " is not a valid delayed retry type"},
    {"delayed-retry-min", false, fits_not_negative, "", " is not a valid delayed retry time"},
    {"delayed-retry-max", false, fits_not_negative, "", " is not a valid delayed retry time"},
    {"dead-letter-exchange", false, fits_string, "", " is not a valid dead letter exchange name"},
    {"dead-letter-routing-key", false, fits_string, "", " is not a valid dead letter routing key"},
    {"dead-letter-strategy", false, fits_strategy, "", " is not a valid dead letter strategy"},
    {"alternate-exchange", false, fits_string, "", " is not a valid alternate exchange name"},
    {"queue-mode", false, fits_mode, "", " is not a valid queue-mode value"},
    {"queue-leader-locator", false, fits_leader_locator, "",
     " is not a valid queue leader locator value"},
    {"queue-master-locator", false, fits_master_locator, "", " invalid queue-master-locator value"},
    {"initial-cluster-size", false, fits_not_negative, "", " is not a valid cluster size"},
    {"max-age", false, fits_max_age, "", " is not a valid max age"},
    {"stream-max-segment-size-bytes", false, fits_not_negative, "", " is not a valid segment size"},
    {"ha-mode", true, fits_anything, "", ""},
    {"ha-params", true, fits_anything, "", ""},
    {"ha-sync-mode", true, fits_sync_mode, "ha-sync-mode must be \"manual\" or \"automatic\", got ",
     ""},
    {"ha-sync-batch-size", false, fits_positive,
     "ha-sync-batch-size takes an integer greater than 0, ", " given"},
    {"ha-promote-on-shutdown", false, fits_always,
     "ha-promote-on-shutdown must be \"always\" or \"when-synced\", got ", ""},
    {"ha-promote-on-failure", false, fits_always,
     "ha-promote-on-failure must be \"always\" or \"when-synced\", got ", ""},
};

static const struct policy_key *key_find(const char *name, bool is_operator)
{
    for (size_t i = 0; i < SLC_ARRAY_COUNT(policy_keys); i++) {
        if (strcmp(policy_keys[i].name, name) == 0)
            return is_operator && !policy_keys[i].for_operator ? NULL : &policy_keys[i];
    }
    return NULL;
}

static slc_err ha_check(const json_t *definition, slc_error *error)
{
    const json_t *mode = json_object_get(definition, "ha-mode");
    const json_t *params = json_object_get(definition, "ha-params");
    char text[160];
    if (mode == NULL) {
        if (params == NULL && json_object_get(definition, "ha-sync-mode") == NULL &&
            json_object_get(definition, "ha-sync-batch-size") == NULL &&
            json_object_get(definition, "ha-promote-on-shutdown") == NULL &&
            json_object_get(definition, "ha-promote-on-failure") == NULL)
            return SLC_OK;
        return slc_error_set(error, SLC_EINVAL,
                             FAILED "ha-mode must be specified to specify ha-params, ha-sync-mode "
                                    "or ha-promote-on-shutdown\n");
    }
    if (is_one_of(mode, "all")) {
        if (params != NULL)
            return slc_error_set(error, SLC_EINVAL,
                                 FAILED "ha-mode=\"all\" does not take parameters\n");
        return SLC_OK;
    }
    if (is_one_of(mode, "exactly")) {
        if (fits_positive(params))
            return SLC_OK;
        return slc_error_set(
            error, SLC_EINVAL, FAILED "ha-mode=\"exactly\" takes an integer, %s given\n",
            params != NULL ? slc_json_erlang_text(params, text, sizeof text) : "none");
    }
    if (is_one_of(mode, "nodes")) {
        if (!json_is_array(params))
            return slc_error_set(
                error, SLC_EINVAL, FAILED "ha-mode=\"nodes\" takes a list, %s given\n",
                params != NULL ? slc_json_erlang_text(params, text, sizeof text) : "none");
        if (json_array_size(params) == 0)
            return slc_error_set(error, SLC_EINVAL,
                                 FAILED "ha-mode=\"nodes\" list must be non-empty\n");
        for (size_t i = 0; i < json_array_size(params); i++) {
            const json_t *node = json_array_get(params, i);
            if (!json_is_string(node))
                return slc_error_set(error, SLC_EINVAL,
                                     FAILED "ha-mode=\"nodes\" takes a list of strings, %s given\n",
                                     slc_json_erlang_text(params, text, sizeof text));
        }
        return SLC_OK;
    }
    return slc_error_set(error, SLC_EINVAL, FAILED "%s is not a valid ha-mode value\n",
                         slc_json_erlang_text(mode, text, sizeof text));
}

/** All unknown keys at once, as RabbitMQ names them. */
static slc_err unknown_check(const json_t *definition, bool is_operator, slc_error *error)
{
    json_t *unknown = json_object();
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)definition, key, value)
    {
        if (key_find(key, is_operator) == NULL)
            json_object_set_new(unknown, key, json_incref(value));
    }
    slc_err rc = SLC_OK;
    if (json_object_size(unknown) > 0) {
        char text[400];
        rc = slc_error_set(error, SLC_EINVAL, FAILED "%s are not recognised policy settings\n",
                           slc_json_erlang_text(unknown, text, sizeof text));
    }
    json_decref(unknown);
    return rc;
}

slc_err slc_policy_check_definition(const json_t *definition, bool is_operator, slc_error *error)
{
    char text[160];
    if (!json_is_object(definition))
        return slc_error_set(error, SLC_EINVAL, FAILED "definition must be a dictionary: %s\n",
                             slc_json_erlang_text(definition, text, sizeof text));
    if (json_object_size(definition) == 0)
        return slc_error_set(error, SLC_EINVAL, FAILED "no policy provided\n");
    slc_err rc = unknown_check(definition, is_operator, error);
    if (rc != SLC_OK)
        return rc;
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)definition, name, value)
    {
        const struct policy_key *key = key_find(name, is_operator);
        if (!key->fits(value))
            return slc_error_set(error, SLC_EINVAL, FAILED "%s%s%s\n", key->before,
                                 slc_json_erlang_text(value, text, sizeof text), key->after);
    }
    return ha_check(definition, error);
}

slc_err slc_policy_check(const json_t *value, bool is_operator, slc_error *error)
{
    char text[160];
    if (!json_is_object(value))
        return slc_error_set(error, SLC_EINVAL, FAILED "a policy must be an object, not %s\n",
                             slc_json_erlang_text(value, text, sizeof text));
    static const char *const needed[] = {"pattern", "definition"};
    for (size_t i = 0; i < SLC_ARRAY_COUNT(needed); i++) {
        if (json_object_get(value, needed[i]) == NULL)
            return slc_error_set(error, SLC_EINVAL, FAILED "Key \"%s\" not found\n", needed[i]);
    }
    const char *key;
    json_t *item;
    json_object_foreach((json_t *)(uintptr_t)value, key, item)
    {
        if (strcmp(key, "pattern") != 0 && strcmp(key, "definition") != 0 &&
            strcmp(key, "priority") != 0 && strcmp(key, "apply-to") != 0)
            return slc_error_set(error, SLC_EINVAL,
                                 FAILED "Unrecognised terms [{<<\"%.64s\">>,%s}] in policy\n", key,
                                 slc_json_erlang_text(item, text, sizeof text));
    }
    const json_t *pattern = json_object_get(value, "pattern");
    if (!json_is_string(pattern))
        return slc_error_set(error, SLC_EINVAL, FAILED "pattern should be a binary but was %s\n",
                             slc_json_erlang_text(pattern, text, sizeof text));
    slc_err rc =
        slc_policy_pattern_try(slc_json_string_slice(pattern), (slc_slice){0}, NULL, error);
    if (rc != SLC_OK)
        return rc;
    const json_t *priority = json_object_get(value, "priority");
    if (priority != NULL && !json_is_number(priority))
        return slc_error_set(error, SLC_EINVAL,
                             FAILED "priority should be a number, actually was %s\n",
                             slc_json_erlang_text(priority, text, sizeof text));
    const json_t *apply_to = json_object_get(value, "apply-to");
    if (apply_to != NULL &&
        !is_one_of(apply_to, "all queues exchanges classic_queues quorum_queues streams")) {
        const char *got = json_is_string(apply_to)
                              ? json_string_value(apply_to)
                              : slc_json_erlang_text(apply_to, text, sizeof text);
        return slc_error_set(error, SLC_EINVAL,
                             FAILED "apply-to '%.64s' unrecognised; should be 'queues', "
                                    "'exchanges', 'classic_queues', 'quorum_queues', 'streams' or "
                                    "'all'\n",
                             got);
    }
    return slc_policy_check_definition(json_object_get(value, "definition"), is_operator, error);
}
