/* headers: binding arguments against the headers table of the message. @spec amqp-semantics 8.4
 *
 * At bind time the arguments become a list of (key, wanted value); keys are shared by all bindings
 * of the exchange. A message's headers are looked up once, each in the map of keys, which leaves
 * its value at the key; then a binding compares values without searching. So a message costs (its
 * headers) + (conditions of the bindings), and no allocation.
 */
#include "core/exchange_kinds.h"

#include "base/alloc.h"
#include "base/map.h"
#include "base/table.h"

/** A header that some binding asks for. */
typedef struct headers_key {
    UT_hash_handle hh; // of headers_index.keys
    uint32_t users;    // conditions that point here
    uint64_t serial;   // of the last routing whose message had it
    slc_value value;   // of that message; borrowed while it is routed
    uint8_t name[];
} headers_key;

typedef struct headers_index {
    headers_key *keys;
    uint64_t serial; // of the last routing
} headers_index;

typedef struct headers_condition {
    headers_key *key;
    slc_value
        value; // points into the binding's arguments; void: the header needs to be there, no more
} headers_condition;

/** kind_data of a binding. */
typedef struct headers_match {
    bool any; // one condition is enough; else all must hold
    uint32_t count;
    headers_condition conditions[];
} headers_match;

typedef enum headers_mode {
    HEADERS_ALL,
    HEADERS_ANY,
    HEADERS_ALL_WITH_X,
    HEADERS_ANY_WITH_X,
    HEADERS_MODES,
} headers_mode;

static const char *const headers_mode_names[HEADERS_MODES] = {
    [HEADERS_ALL] = "all",
    [HEADERS_ANY] = "any",
    [HEADERS_ALL_WITH_X] = "all-with-x",
    [HEADERS_ANY_WITH_X] = "any-with-x",
};

static slc_err headers_mode_of(slc_slice arguments, headers_mode *out, slc_error *error)
{
    slc_value value;
    char text[256];
    *out = HEADERS_ALL;
    if (!slc_table_find(arguments, slc_slice_str("x-match"), &value))
        return SLC_OK;
    if (value.type != SLC_TYPE_LONGSTR)
        return slc_error_set(
            error, SLC_EPRECONDITION, "Invalid x-match field type %s (value %s); expected longstr",
            slc_value_type_name(value.type), slc_value_cstr(&value, text, sizeof text));
    for (headers_mode mode = HEADERS_ALL; mode < HEADERS_MODES; mode++) {
        if (slc_slice_is(value.bytes, headers_mode_names[mode])) {
            *out = mode;
            return SLC_OK;
        }
    }
    return slc_error_set(error, SLC_EPRECONDITION,
                         "Invalid x-match field value <<\"%s\">>; expected all, any, all-with-x, "
                         "or any-with-x",
                         slc_value_cstr(&value, text, sizeof text));
}

static slc_err headers_check(const slc_exchange *exchange, slc_slice key, slc_slice arguments,
                             slc_error *error)
{
    (void)exchange;
    (void)key;
    headers_mode mode;
    return headers_mode_of(arguments, &mode, error);
}

static void headers_init(slc_exchange *exchange)
{
    exchange->index = slc_alloc_zero(1, sizeof(headers_index));
}

static void headers_fini(slc_exchange *exchange)
{
    headers_index *index = exchange->index;
    SLC_ASSERT(index->keys == NULL);
    slc_free(index);
}

static headers_key *headers_key_find(const headers_index *index, slc_slice name)
{
    headers_key *key;
    const void *octets = name.bytes > 0 ? (const void *)name.data : ""; // memcmp wants no NULL
    HASH_FIND(hh, index->keys, octets, name.bytes, key);
    return key;
}

static headers_key *headers_key_use(headers_index *index, slc_slice name)
{
    headers_key *key = headers_key_find(index, name);
    if (key == NULL) {
        key = slc_alloc_zero(1, sizeof *key + name.bytes);
        if (name.bytes > 0)
            memcpy(key->name, name.data, name.bytes);
        HASH_ADD_KEYPTR(hh, index->keys, key->name, name.bytes, key);
    }
    key->users++;
    return key;
}

static bool headers_counts(headers_mode mode, slc_slice name)
{
    if (mode == HEADERS_ALL_WITH_X || mode == HEADERS_ANY_WITH_X)
        return !slc_slice_is(name, "x-match");
    return name.bytes < 2 || name.data[0] != 'x' || name.data[1] != '-';
}

static void headers_added(slc_exchange *exchange, slc_binding *binding)
{
    headers_index *index = exchange->index;
    headers_mode mode;
    SLC_ASSERT(headers_mode_of(binding->arguments, &mode, NULL) == SLC_OK); // headers_check
    headers_match *match = slc_alloc_zero(1, sizeof *match + slc_table_count(binding->arguments) *
                                                                 sizeof(headers_condition));
    match->any = mode == HEADERS_ANY || mode == HEADERS_ANY_WITH_X;

    slc_table_iter iter = slc_table_iter_of(binding->arguments);
    slc_slice name;
    slc_value value;
    while (slc_table_next(&iter, &name, &value)) {
        if (!headers_counts(mode, name))
            continue;
        match->conditions[match->count++] =
            (headers_condition){.key = headers_key_use(index, name), .value = value};
    }
    binding->kind_data = match;
}

static void headers_removed(slc_exchange *exchange, slc_binding *binding)
{
    headers_index *index = exchange->index;
    headers_match *match = binding->kind_data;
    for (uint32_t i = 0; i < match->count; i++) {
        headers_key *key = match->conditions[i].key;
        if (--key->users > 0)
            continue;
        HASH_DEL(index->keys, key);
        slc_free(key);
    }
    slc_free(match);
}

static bool headers_holds(const headers_condition *condition, uint64_t serial)
{
    const headers_key *key = condition->key;
    if (key->serial != serial)
        return false;
    return condition->value.type == SLC_TYPE_VOID ||
           slc_value_match(&condition->value, &key->value);
}

/** The first condition that holds decides `any`, the first that does not decides `all`. */
static bool headers_matches(const headers_match *match, uint64_t serial)
{
    for (uint32_t i = 0; i < match->count; i++) {
        if (headers_holds(&match->conditions[i], serial) == match->any)
            return match->any;
    }
    return !match->any;
}

static void headers_route(slc_exchange *exchange, const slc_route_input *input, slc_route *route)
{
    headers_index *index = exchange->index;
    index->serial++;
    if (index->keys != NULL) {
        slc_table_iter iter = slc_table_iter_of(input->headers);
        slc_slice name;
        slc_value value;
        while (slc_table_next(&iter, &name, &value)) {
            headers_key *key = headers_key_find(index, name);
            if (key == NULL || key->serial == index->serial) // of duplicate keys the first counts
                continue;
            key->serial = index->serial;
            key->value = value;
        }
    }
    for (slc_binding *b = exchange->bindings; b != NULL; b = b->hh.next) {
        if (headers_matches(b->kind_data, index->serial))
            slc_route_to(route, b);
    }
}

const slc_exchange_kind slc_exchange_headers = {
    .name = "headers",
    .description = "AMQP headers exchange, as per the AMQP specification",
    .by_key_only = false,
    .check = headers_check,
    .init = headers_init,
    .fini = headers_fini,
    .added = headers_added,
    .removed = headers_removed,
    .route = headers_route,
};
