// The lists of compiled policies, what applies to an object, and the sweep after a change.
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/log.h"
#include "core/internal.h"
#include "core/json_table.h"
#include "core/policy_impl.h"
#include "core/queue_settings.h"

#define FAILED "Validation failed\n\n"

enum {
    PATTERN_BYTES_MAX = 65535,
    MATCH_HEAP_KIB = 1024,
    MATCH_COST = 8, // of one run of PCRE2, in comparisons
};

typedef enum apply_to {
    APPLY_ALL,
    APPLY_QUEUES,
    APPLY_EXCHANGES,
    APPLY_CLASSIC,
    APPLY_QUORUM,
    APPLY_STREAMS,
} apply_to;

struct slc_policy {
    uint32_t refs; // the list's and one of each object it applies to
    bool is_operator, warned;
    apply_to apply_to;
    double priority;
    slc_slice name;   // owned
    slc_slice table;  // owned: the definition
    slc_slice prefix; // owned: names that match begin with it; bytes 0: any name may
    bool prefix_only; // and those that begin with it match
    pcre2_code *code;
};

/* ---- patterns ---- */

/** One for all: one thread, one match at a time. It lives as long as the process. */
static pcre2_match_context *match_context;
static pcre2_match_data *match_data;

static void match_init(void)
{
    if (match_context != NULL)
        return;
    match_context = pcre2_match_context_create(NULL);
    match_data = pcre2_match_data_create(1, NULL);
    SLC_ASSERT(match_context != NULL);
    SLC_ASSERT(match_data != NULL);
    pcre2_set_match_limit(match_context, SLC_POLICY_MATCH_LIMIT);
    pcre2_set_depth_limit(match_context, SLC_POLICY_MATCH_LIMIT);
    pcre2_set_heap_limit(match_context, MATCH_HEAP_KIB);
}

static pcre2_code *pattern_compile(slc_slice pattern, slc_error *error)
{
    if (pattern.bytes > PATTERN_BYTES_MAX) {
        slc_error_set(error, SLC_EINVAL, FAILED "pattern has %zu octets, more than %d\n",
                      pattern.bytes, PATTERN_BYTES_MAX);
        return NULL;
    }
    int code = 0;
    PCRE2_SIZE at = 0;
    pcre2_code *compiled = pcre2_compile(pattern.data != NULL ? pattern.data : (PCRE2_SPTR) "",
                                         pattern.bytes, 0, &code, &at, NULL);
    if (compiled == NULL) {
        PCRE2_UCHAR text[160];
        pcre2_get_error_message(code, text, sizeof text);
        slc_error_set(error, SLC_EINVAL,
                      FAILED "pattern should be regular expression but is invalid: {\"%s\",%zu}\n",
                      (const char *)text, (size_t)at);
    }
    return compiled;
}

/** 1: found; 0: not; -1: the limit was met. */
static int pattern_find(const pcre2_code *code, slc_slice name)
{
    match_init();
    int rc = pcre2_match(code, name.data != NULL ? name.data : (PCRE2_SPTR) "", name.bytes, 0,
                         PCRE2_NO_UTF_CHECK, match_data, match_context);
    if (rc >= 0)
        return 1;
    return rc == PCRE2_ERROR_NOMATCH ? 0 : -1;
}

slc_err slc_policy_pattern_try(slc_slice pattern, slc_slice name, bool *found, slc_error *error)
{
    pcre2_code *code = pattern_compile(pattern, error);
    if (code == NULL)
        return SLC_EINVAL;
    slc_err rc = SLC_OK;
    if (found != NULL) {
        int got = pattern_find(code, name);
        *found = got > 0;
        if (got < 0)
            rc = slc_error_set(error, SLC_ELIMIT,
                               "pattern '%.*s' needs more than %d steps for the name '%.*s'",
                               SLC_SLICE_FMT(pattern), SLC_POLICY_MATCH_LIMIT, SLC_SLICE_FMT(name));
    }
    pcre2_code_free(code);
    return rc;
}

/** The text that a match must begin with: what stands between ^ and the first character that means something. An alternative
 *  anywhere, or a quantifier behind a character, makes that character (or all) optional. */
static slc_slice pattern_prefix(slc_slice pattern, bool *whole)
{
    *whole = false;
    if (pattern.bytes < 2 || pattern.data[0] != '^' ||
        memchr(pattern.data, '|', pattern.bytes) != NULL)
        return (slc_slice){0};
    size_t end = 1;
    while (end < pattern.bytes && pattern.data[end] != 0 &&
           strchr("\\^$.[]|()?*+{}#", pattern.data[end]) == NULL)
        end++;
    *whole = end == pattern.bytes;
    if (end < pattern.bytes && strchr("?*{+", pattern.data[end]) != NULL)
        end--;
    return end <= 1 ? (slc_slice){0} : slc_slice_of(pattern.data + 1, end - 1);
}

/* ---- one policy ---- */

static void policy_unref(slc_policy *policy)
{
    if (policy == NULL || --policy->refs > 0)
        return;
    pcre2_code_free(policy->code);
    slc_free((void *)policy->name.data);
    slc_free((void *)policy->table.data);
    slc_free((void *)policy->prefix.data);
    slc_free(policy);
}

slc_slice slc_policy_name(const slc_policy *policy)
{
    return policy != NULL ? policy->name : (slc_slice){0};
}

static apply_to apply_to_of(const json_t *value)
{
    static const char *const names[] = {"all",           "queues", "exchanges", "classic_queues",
                                        "quorum_queues", "streams"};
    const char *text = json_string_value(json_object_get(value, "apply-to"));
    for (size_t i = 0; text != NULL && i < SLC_ARRAY_COUNT(names); i++) {
        if (strcmp(text, names[i]) == 0)
            return (apply_to)i;
    }
    return APPLY_ALL;
}

/** NULL: stored by somebody who checks less than we do. */
static slc_policy *policy_new(slc_slice name, bool is_operator, const json_t *value,
                              slc_error *error)
{
    const json_t *pattern = json_object_get(value, "pattern");
    slc_buffer table = {0};
    if (slc_table_from_json(json_object_get(value, "definition"), &table, error) != SLC_OK) {
        slc_buffer_fini(&table);
        return NULL;
    }
    pcre2_code *code =
        json_is_string(pattern) ? pattern_compile(slc_json_string_slice(pattern), error) : NULL;
    if (code == NULL) {
        slc_buffer_fini(&table);
        return NULL;
    }
    slc_policy *policy = slc_alloc_zero(1, sizeof *policy);
    policy->refs = 1;
    policy->is_operator = is_operator;
    policy->apply_to = apply_to_of(value);
    policy->priority = json_number_value(json_object_get(value, "priority"));
    policy->name = slc_slice_copy(name);
    policy->table = slc_slice_copy(slc_buffer_slice(&table));
    policy->prefix =
        slc_slice_copy(pattern_prefix(slc_json_string_slice(pattern), &policy->prefix_only));
    policy->code = code;
    slc_buffer_fini(&table);
    return policy;
}

static bool policy_fits_kind(const slc_policy *policy, const slc_destination *dest)
{
    if (policy->apply_to == APPLY_ALL)
        return true;
    if (dest->kind == SLC_DEST_EXCHANGE)
        return policy->apply_to == APPLY_EXCHANGES;
    if (policy->apply_to == APPLY_QUEUES)
        return true;
    if (policy->apply_to == APPLY_EXCHANGES)
        return false;
    slc_value type;
    const slc_queue *queue = (const slc_queue *)dest;
    apply_to is = APPLY_CLASSIC;
    if (slc_table_find(queue->arguments, slc_slice_str("x-queue-type"), &type) &&
        type.type == SLC_TYPE_LONGSTR) {
        if (slc_slice_is(type.bytes, "quorum"))
            is = APPLY_QUORUM;
        else if (slc_slice_is(type.bytes, "stream"))
            is = APPLY_STREAMS;
    }
    return policy->apply_to == is;
}

static bool policy_matches(slc_policy *policy, const slc_destination *dest, uint64_t *cost)
{
    *cost += 1;
    slc_slice prefix = policy->prefix;
    if (prefix.bytes > 0 && (dest->name.bytes < prefix.bytes ||
                             memcmp(dest->name.data, prefix.data, prefix.bytes) != 0))
        return false;
    if (!policy_fits_kind(policy, dest))
        return false;
    if (policy->prefix_only)
        return true;
    *cost += MATCH_COST;
    int found = pattern_find(policy->code, dest->name);
    if (found < 0) {
        *cost += SLC_POLICY_MATCH_LIMIT / 16;
        if (!policy->warned)
            slc_log(SLC_LOG_WARN, "policy", "policy.pattern.limit", SLC_NO_FIELDS,
                    "the pattern of %s '%.*s' needs more than %d steps for the name '%.*s', which "
                    "counts as no match (said once); write it so that it does not have to try so "
                    "many ways",
                    policy->is_operator ? "operator policy" : "policy", SLC_SLICE_FMT(policy->name),
                    SLC_POLICY_MATCH_LIMIT, SLC_SLICE_FMT(dest->name));
        policy->warned = true;
    }
    return found > 0;
}

/* ---- lists ---- */

static bool policy_before(const slc_policy *a, const slc_policy *b)
{
    if (a->priority != b->priority)
        return a->priority > b->priority;
    return slc_slice_compare(a->name, b->name) < 0;
}

static void list_remove(slc_policy_list *list, slc_slice name)
{
    for (uint32_t i = 0; i < list->count; i++) {
        if (!slc_slice_equal(list->items[i]->name, name))
            continue;
        policy_unref(list->items[i]);
        memmove(list->items + i, list->items + i + 1, (list->count - i - 1) * sizeof(slc_policy *));
        list->count--;
        return;
    }
}

static void list_insert(slc_policy_list *list, slc_policy *policy)
{
    if (list->count == list->capacity) {
        list->capacity = list->capacity == 0 ? 8 : 2 * list->capacity;
        list->items = slc_realloc(list->items, list->capacity * sizeof(slc_policy *));
    }
    uint32_t low = 0, high = list->count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (policy_before(list->items[middle], policy))
            low = middle + 1;
        else
            high = middle;
    }
    memmove(list->items + low + 1, list->items + low, (list->count - low) * sizeof(slc_policy *));
    list->items[low] = policy;
    list->count++;
}

static void waiters_run(slc_policy_waiter *waiter)
{
    while (waiter != NULL) {
        slc_policy_waiter *next = waiter->next;
        waiter->done(waiter->arg);
        slc_free(waiter);
        waiter = next;
    }
}

void slc_policies_fini(slc_policies *policies)
{
    for (size_t k = 0; k < SLC_ARRAY_COUNT(policies->lists); k++) {
        slc_policy_list *list = &policies->lists[k];
        for (uint32_t i = 0; i < list->count; i++)
            policy_unref(list->items[i]);
        slc_free(list->items);
    }
    waiters_run(policies->waiters); // the vhost is going: there is nothing left to wait for
    waiters_run(policies->late);
    *policies = (slc_policies){0};
}

/* ---- what applies ---- */

static slc_policy *list_choose(const slc_policy_list *list, const slc_destination *dest,
                               uint64_t *cost)
{
    for (uint32_t i = 0; i < list->count; i++) {
        if (policy_matches(list->items[i], dest, cost))
            return list->items[i];
    }
    return NULL;
}

/** True when it is another one than before. */
static bool dest_set(slc_policy **held, slc_slice *table, slc_policy *policy)
{
    if (*held == policy)
        return false;
    slc_policy *before = *held;
    if (policy != NULL)
        policy->refs++;
    *held = policy;
    *table = policy != NULL ? policy->table : (slc_slice){0};
    policy_unref(before);
    return true;
}

static uint64_t dest_update(slc_vhost *vhost, slc_destination *dest)
{
    uint64_t cost = 1;
    const slc_policies *policies = &vhost->policies;
    slc_policy *policy = list_choose(&policies->lists[0], dest, &cost);
    slc_policy *by_operator = list_choose(&policies->lists[1], dest, &cost);
    // The old tables must outlive the reading of the new ones: settings point into them.
    slc_policy *keep[2] = {dest->policy_held, dest->operator_policy_held};
    for (size_t i = 0; i < SLC_ARRAY_COUNT(keep); i++) {
        if (keep[i] != NULL)
            keep[i]->refs++;
    }
    bool changed = dest_set(&dest->policy_held, &dest->policy, policy);
    changed |= dest_set(&dest->operator_policy_held, &dest->operator_policy, by_operator);
    if (changed && dest->kind == SLC_DEST_QUEUE)
        slc_queue_settings_changed((slc_queue *)dest);
    else if (changed)
        slc_exchange_settings_changed((slc_exchange *)dest);
    for (size_t i = 0; i < SLC_ARRAY_COUNT(keep); i++)
        policy_unref(keep[i]);
    return cost;
}

bool slc_policy_each_of_queue(slc_vhost *vhost, slc_slice queue, bool is_operator,
                              void (*each)(slc_slice policy, void *arg), void *arg)
{
    const slc_queue *q = slc_vhost_queue(vhost, queue);
    const slc_policy_list *list = &vhost->policies.lists[is_operator ? 1 : 0];
    uint64_t cost = 0;
    for (uint32_t i = 0; q != NULL && i < list->count; i++) {
        if (policy_matches(list->items[i], &q->dest, &cost))
            each(list->items[i]->name, arg);
    }
    return q != NULL;
}

void slc_policy_attach(slc_vhost *vhost, slc_destination *dest)
{
    if (vhost->policies.lists[0].count + vhost->policies.lists[1].count > 0 &&
        vhost->broker->started)
        dest_update(vhost, dest);
}

void slc_policy_detach(slc_destination *dest)
{
    policy_unref(dest->policy_held);
    policy_unref(dest->operator_policy_held);
    dest->policy_held = dest->operator_policy_held = NULL;
    dest->policy = dest->operator_policy = (slc_slice){0};
}

void slc_policy_leaving(slc_vhost *vhost, const slc_destination *dest)
{
    slc_policies *policies = &vhost->policies;
    if (dest == (const slc_destination *)policies->queue)
        policies->queue = policies->queue->hh.next;
    else if (dest == (const slc_destination *)policies->exchange)
        policies->exchange = policies->exchange->hh.next;
}

/* ---- sweeps ---- */

static void sweep_begin(slc_vhost *vhost)
{
    slc_policies *policies = &vhost->policies;
    policies->sweeping = true;
    policies->again = false;
    policies->queue = vhost->queues;
    policies->exchange = vhost->exchanges;
}

/** Up to budget; true: not finished. */
static bool sweep_some(slc_vhost *vhost, uint64_t budget)
{
    slc_policies *policies = &vhost->policies;
    uint64_t cost = 0;
    while (cost < budget) {
        if (policies->queue != NULL) {
            slc_queue *queue = policies->queue;
            policies->queue = queue->hh.next;
            cost += dest_update(vhost, &queue->dest);
        } else if (policies->exchange != NULL) {
            slc_exchange *exchange = policies->exchange;
            policies->exchange = exchange->hh.next;
            cost += dest_update(vhost, &exchange->dest);
        } else {
            slc_policy_waiter *waiters = policies->waiters;
            policies->waiters = policies->late;
            policies->late = NULL;
            policies->sweeping = false;
            if (policies->again)
                sweep_begin(vhost);
            waiters_run(waiters);
            if (!policies->sweeping)
                return false;
        }
    }
    return true;
}

void slc_policy_changed(slc_vhost *vhost, bool is_operator, slc_slice name, const json_t *value)
{
    slc_policies *policies = &vhost->policies;
    slc_policy_list *list = &policies->lists[is_operator ? 1 : 0];
    const char *what = is_operator ? "operator policy" : "policy";
    list_remove(list, name);
    if (value != NULL) {
        slc_error error = {0};
        slc_policy *policy = policy_new(name, is_operator, value, &error);
        if (policy != NULL)
            list_insert(list, policy);
        else
            slc_log(SLC_LOG_ERROR, "policy", "policy.unusable", SLC_NO_FIELDS,
                    "%s '%.*s' in vhost '%.*s' is left out, set it again: %s", what,
                    SLC_SLICE_FMT(name), SLC_SLICE_FMT(vhost->name), error.text);
        if (vhost->broker->started &&
            json_object_get(json_object_get(value, "definition"), "ha-mode") != NULL)
            slc_log(SLC_LOG_INFO, "policy", "policy.mirrors", SLC_NO_FIELDS,
                    "%s '%.*s' in vhost '%.*s' asks for mirrors: without other nodes that has no "
                    "effect",
                    what, SLC_SLICE_FMT(name), SLC_SLICE_FMT(vhost->name));
    }
    if (!vhost->broker->started)
        return;
    if (policies->sweeping)
        policies->again = true;
    else
        sweep_begin(vhost);
}

void slc_policy_wait(slc_vhost *vhost, void (*done)(void *arg), void *arg)
{
    slc_policies *policies = &vhost->policies;
    if (!policies->sweeping) {
        done(arg);
        return;
    }
    slc_policy_waiter *waiter = slc_alloc(sizeof *waiter);
    slc_policy_waiter **list = policies->again ? &policies->late : &policies->waiters;
    *waiter = (slc_policy_waiter){done, arg, *list};
    *list = waiter;
}

void slc_policy_start(slc_broker *broker)
{
    slc_vhost *vhost, *next;
    HASH_ITER(hh, broker->vhosts, vhost, next)
    {
        if (vhost->policies.lists[0].count + vhost->policies.lists[1].count == 0)
            continue;
        sweep_begin(vhost);
        while (sweep_some(vhost, UINT64_MAX))
            ;
    }
}

bool slc_policy_turn(slc_broker *broker)
{
    bool more = false;
    slc_vhost *vhost, *next;
    HASH_ITER(hh, broker->vhosts, vhost, next)
    {
        if (vhost->policies.sweeping)
            more |= sweep_some(vhost, SLC_POLICY_TURN_BUDGET);
    }
    return more;
}

/* ---- the effective definition ---- */

static bool is_smallest_wins(slc_slice key)
{
    static const char *const keys[] = {
        "expires",        "message-ttl",          "max-length",         "max-length-bytes",
        "delivery-limit", "max-in-memory-length", "max-in-memory-bytes"};
    for (size_t i = 0; i < SLC_ARRAY_COUNT(keys); i++) {
        if (slc_slice_is(key, keys[i]))
            return true;
    }
    return false;
}

void slc_policy_effective(slc_slice policy, slc_slice operator_policy, slc_buffer *out)
{
    slc_table_builder builder = {0};
    slc_table_iter iter = slc_table_iter_of(policy);
    slc_slice key;
    slc_value mine, theirs;
    while (slc_table_next(&iter, &key, &mine)) {
        bool both = slc_table_find(operator_policy, key, &theirs);
        bool smaller = both && is_smallest_wins(key) && slc_value_is_integer(&mine) &&
                       slc_value_is_integer(&theirs) && mine.integer >= 0 &&
                       (theirs.integer < 0 || mine.integer < theirs.integer);
        slc_table_put_value(&builder, key, both && !smaller ? &theirs : &mine);
    }
    iter = slc_table_iter_of(operator_policy);
    while (slc_table_next(&iter, &key, &theirs)) {
        if (!slc_table_find(policy, key, NULL))
            slc_table_put_value(&builder, key, &theirs);
    }
    slc_slice content = slc_table_builder_content(&builder);
    slc_buffer_put(out, content.data, content.bytes);
    slc_table_builder_fini(&builder);
}
