/* x-consistent-hash: each message goes to one binding, chosen by a hash, in proportion to the
 * weights that the binding keys are. @spec amqp-semantics 8.5
 *
 * Weighted rendezvous hashing instead of a ring: for each destination the hash of (message,
 * destination) is a random number u between 0 and 1, and the largest of weight / -ln(u) wins. A
 * destination wins with a probability of exactly its share of the weights; one that comes takes its
 * share from all the others and moves nothing between them, one that goes leaves its share to them.
 * The choice depends on names and weights only, so it is the same after a restart and whatever the
 * order of binding was. A ring needs entries in proportion to the weights, which a peer chooses; this
 * costs one logarithm a binding and message.
 *
 * A destination that is bound twice counts with the larger of its weights, since its u is the same.
 */
#include "core/exchange_kinds.h"

#include <math.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/alloc.h"
#include "base/table.h"
#include "core/properties.h"

/** What is hashed; index of the exchange. */
typedef struct hash_source {
    slc_slice header;      // name of a header; bytes 0: not by header
    slc_property property; // SLC_PROPERTY_NONE: not by property
} hash_source;

/** kind_data of a binding. */
typedef struct hash_bucket {
    uint64_t seed; // of the destination
    double weight;
} hash_bucket;

static bool property_of(slc_slice name, slc_property *out)
{
    static const struct {
        const char *name;
        slc_property property;
    } properties[] = {
        {"correlation_id", SLC_PROPERTY_CORRELATION_ID},
        {"message_id", SLC_PROPERTY_MESSAGE_ID},
        {"timestamp", SLC_PROPERTY_TIMESTAMP},
    };
    for (size_t i = 0; i < SLC_ARRAY_COUNT(properties); i++) {
        if (slc_slice_is(name, properties[i].name)) {
            *out = properties[i].property;
            return true;
        }
    }
    return false;
}

static slc_err hash_check_arguments(slc_slice arguments, slc_error *error)
{
    slc_value header, property;
    bool by_header = slc_table_find(arguments, slc_slice_str("hash-header"), &header);
    bool by_property = slc_table_find(arguments, slc_slice_str("hash-property"), &property);
    if (by_header && by_property)
        return slc_error_set(error, SLC_EPRECONDITION,
                             "hash-header and hash-property are mutually exclusive");
    slc_property known;
    char text[128];
    if (by_property && (property.type != SLC_TYPE_LONGSTR || !property_of(property.bytes, &known)))
        return slc_error_set(error, SLC_EPRECONDITION, "Unsupported property: %s",
                             slc_value_cstr(&property, text, sizeof text));
    if (by_header && header.type != SLC_TYPE_LONGSTR)
        return slc_error_set(error, SLC_EPRECONDITION,
                             "invalid type '%s' for arg 'hash-header': it must be a longstr",
                             slc_value_type_name(header.type));
    return SLC_OK;
}

/** A decimal integer; *weight is 0 or less when it is no weight. */
static bool weight_of(slc_slice key, double *weight)
{
    size_t at = 0;
    bool negative = key.bytes > 0 && key.data[0] == '-';
    if (key.bytes > 0 && (key.data[0] == '-' || key.data[0] == '+'))
        at = 1;
    if (at == key.bytes)
        return false;
    double value = 0;
    for (; at < key.bytes; at++) {
        if (key.data[at] < '0' || key.data[at] > '9')
            return false;
        value = value * 10 + (key.data[at] - '0');
    }
    *weight = negative ? -value : value;
    return true;
}

static slc_err hash_check(const slc_exchange *exchange, slc_slice key, slc_slice arguments,
                          slc_error *error)
{
    (void)exchange;
    (void)arguments;
    double weight;
    if (!weight_of(key, &weight))
        return slc_error_set(error, SLC_EPRECONDITION,
                             "The binding key must be an integer: <<\"%.*s\">>",
                             SLC_SLICE_FMT(key));
    if (weight < 1)
        return slc_error_set(error, SLC_EPRECONDITION, "The binding key must be greater than 0");
    return SLC_OK;
}

static void hash_init(slc_exchange *exchange)
{
    hash_source *source = slc_alloc_zero(1, sizeof *source);
    slc_value value;
    if (slc_table_find(exchange->arguments, slc_slice_str("hash-header"), &value) &&
        value.type == SLC_TYPE_LONGSTR)
        source->header = value.bytes;
    if (slc_table_find(exchange->arguments, slc_slice_str("hash-property"), &value) &&
        value.type == SLC_TYPE_LONGSTR)
        (void)property_of(value.bytes, &source->property);
    exchange->index = source;
}

static void hash_fini(slc_exchange *exchange)
{
    slc_free(exchange->index);
}

static void hash_added(slc_exchange *exchange, slc_binding *binding)
{
    (void)exchange;
    hash_bucket *bucket = slc_alloc(sizeof *bucket);
    const slc_destination *to = binding->destination;
    bucket->seed = XXH3_64bits_withSeed(to->name.data, to->name.bytes, (uint64_t)to->kind);
    bool is_weight = weight_of(binding->key, &bucket->weight);
    SLC_ASSERT(is_weight);
    binding->kind_data = bucket;
}

static void hash_removed(slc_exchange *exchange, slc_binding *binding)
{
    (void)exchange;
    slc_free(binding->kind_data);
}

static uint64_t hash_octets(slc_slice octets)
{
    return XXH3_64bits(octets.bytes > 0 ? (const void *)octets.data : "", octets.bytes);
}

/** Equal values have the same hash, whatever their width. */
static uint64_t hash_value(const slc_value *value)
{
    if (value->type == SLC_TYPE_LONGSTR || value->type == SLC_TYPE_BINARY)
        return hash_octets(value->bytes);
    if (slc_value_is_integer(value))
        return XXH3_64bits(&value->integer, sizeof value->integer);
    return hash_octets(value->raw);
}

static uint64_t hash_message(const hash_source *source, const slc_route_input *input,
                             slc_route *route)
{
    if (source->header.bytes > 0) {
        slc_value value;
        route->cacheable = false;
        if (!slc_table_find(input->headers, source->header, &value))
            return hash_octets((slc_slice){0}); // all without it go one way, as in RabbitMQ
        return hash_value(&value);
    }
    if (source->property != SLC_PROPERTY_NONE) {
        slc_slice value = {0};
        route->cacheable = false;
        if (input->message != NULL)
            (void)slc_message_property(input->message, source->property, &value);
        return hash_octets(value);
    }
    return hash_octets(input->key);
}

/** splitmix64's last step: each bit of the result depends on each of z. */
static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

static void hash_route(slc_exchange *exchange, const slc_route_input *input, slc_route *route)
{
    uint64_t hash = hash_message(exchange->index, input, route);
    slc_binding *best = NULL;
    double best_score = 0;
    for (slc_binding *b = exchange->bindings; b != NULL; b = b->hh.next) {
        const hash_bucket *bucket = b->kind_data;
        // 53 bits and a half: never 0 or 1, whose logarithms are of no use.
        double u = ((double)(mix(hash ^ bucket->seed) >> 11) + 0.5) * 0x1p-53;
        double score = bucket->weight / -log(u);
        if (best == NULL || score > best_score) {
            best = b;
            best_score = score;
        }
    }
    if (best != NULL)
        slc_route_to(route, best);
}

static const char *const hash_compared[] = {"hash-header", "hash-property", NULL};

const slc_exchange_kind slc_exchange_consistent_hash = {
    .name = "x-consistent-hash",
    .description = "Consistent Hashing Exchange",
    .by_key_only = true, // else its route says so
    .compared = hash_compared,
    .check_arguments = hash_check_arguments,
    .check = hash_check,
    .init = hash_init,
    .fini = hash_fini,
    .added = hash_added,
    .removed = hash_removed,
    .route = hash_route,
};
