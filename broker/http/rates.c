#include "http/rates.h"

#include "base/alloc.h"
#include "base/map.h"

#define FORGET_NS (600 * UINT64_C(1000000000))
enum { SWEEP_LOOKS = 4096 };

struct slc_rates_window {
    uint64_t since_ns; // as of the object
    uint32_t count;    // of its counters
    uint32_t first, length;
    uint64_t at_ns[SLC_RATES_HISTORY];
    uint64_t values[]; // SLC_RATES_HISTORY times the object's counters
};

typedef struct rates_object {
    slc_slice key; // owned
    uint64_t at_ns;
    uint32_t count;
    uint64_t counters[SLC_RATES_COUNTERS_MAX]; // at at_ns
    double rates[SLC_RATES_COUNTERS_MAX];      // of the interval that ended at at_ns
    uint64_t since_ns;
    slc_rates_window *past; // NULL: nobody asked
    UT_hash_handle hh;
} rates_object;

struct slc_rates {
    rates_object *objects;
    uint32_t looks; // since the last sweep
    uint32_t histories;
    // A look that comes sooner than an interval after the one before is answered with the rates of that one.
    uint64_t interval_ns;
};

slc_rates *slc_rates_new(uint64_t interval_ms)
{
    slc_rates *rates = slc_alloc_zero(1, sizeof *rates);
    rates->interval_ns = interval_ms * 1000000;
    return rates;
}

static void object_free(slc_rates *rates, rates_object *object)
{
    HASH_DEL(rates->objects, object);
    rates->histories -= object->past != NULL;
    slc_free(object->past);
    slc_free((void *)object->key.data);
    slc_free(object);
}

void slc_rates_clear(slc_rates *rates)
{
    rates_object *object, *next;
    HASH_ITER(hh, rates->objects, object, next) object_free(rates, object);
}

void slc_rates_free(slc_rates *rates)
{
    slc_rates_clear(rates);
    slc_free(rates);
}

static void sweep(slc_rates *rates, uint64_t now_ns)
{
    rates_object *object, *next;
    // As often as there are objects, so that a list costs no more than twice its length.
    if (++rates->looks < SWEEP_LOOKS + HASH_COUNT(rates->objects))
        return;
    rates->looks = 0;
    HASH_ITER(hh, rates->objects, object, next)
    {
        if (now_ns - object->at_ns > FORGET_NS)
            object_free(rates, object);
    }
}

static void past_put(rates_object *object)
{
    slc_rates_window *past = object->past;
    uint32_t at = (past->first + past->length) % SLC_RATES_HISTORY;
    if (past->length == SLC_RATES_HISTORY)
        past->first = (past->first + 1) % SLC_RATES_HISTORY;
    else
        past->length++;
    past->at_ns[at] = object->at_ns;
    memcpy(past->values + (size_t)at * object->count, object->counters,
           object->count * sizeof object->counters[0]);
}

static void interval_end(rates_object *object, const uint64_t *counters, uint64_t now_ns,
                         uint64_t from_ns)
{
    double seconds = (double)(now_ns - from_ns) / 1e9;
    for (uint32_t i = 0; i < object->count; i++) {
        double change = (double)counters[i] - (double)object->counters[i];
        object->rates[i] = seconds > 0 ? change / seconds : 0;
        object->counters[i] = counters[i];
    }
    object->at_ns = now_ns;
    if (object->past != NULL)
        past_put(object);
}

void slc_rates_look(slc_rates *rates, slc_slice key, const uint64_t *counters, uint32_t count,
                    uint64_t now_ns, uint64_t since_ns, double *out)
{
    SLC_ASSERT(count <= SLC_RATES_COUNTERS_MAX);
    rates_object *object = NULL;
    sweep(rates, now_ns);
    HASH_FIND(hh, rates->objects, key.data, key.bytes, object);
    if (object == NULL) {
        for (uint32_t i = 0; i < count; i++)
            out[i] = 0;
        if (HASH_COUNT(rates->objects) >= SLC_RATES_OBJECTS_MAX)
            return;
        object = slc_alloc_zero(1, sizeof *object);
        uint8_t *copy = slc_alloc(key.bytes);
        memcpy(copy, key.data, key.bytes);
        object->key = slc_slice_of(copy, key.bytes);
        object->count = count;
        object->since_ns = since_ns;
        HASH_ADD_KEYPTR(hh, rates->objects, object->key.data, object->key.bytes, object);
        // Since its beginning when that is known; else there is nothing to compare with.
        // What an object did in its first moments is spread over an interval: a handshake is no traffic.
        uint64_t from_ns = now_ns > rates->interval_ns ? now_ns - rates->interval_ns : 0;
        if (since_ns < from_ns)
            from_ns = since_ns;
        interval_end(object, counters, now_ns, since_ns == UINT64_MAX ? now_ns : from_ns);
    } else if (now_ns - object->at_ns >= rates->interval_ns) {
        interval_end(object, counters, now_ns, object->at_ns);
    }
    for (uint32_t i = 0; i < count; i++)
        out[i] = object->rates[i];
}

slc_rates_window *slc_rates_past(slc_rates *rates, slc_slice key)
{
    rates_object *object = NULL;
    HASH_FIND(hh, rates->objects, key.data, key.bytes, object);
    if (object == NULL || object->past != NULL)
        return object != NULL ? object->past : NULL;
    if (rates->histories == SLC_RATES_HISTORIES_MAX)
        return NULL;
    rates->histories++;
    size_t values = (size_t)SLC_RATES_HISTORY * object->count * sizeof(uint64_t);
    object->past = slc_alloc(sizeof *object->past + values);
    object->past->since_ns = object->since_ns;
    object->past->first = object->past->length = 0;
    object->past->count = object->count;
    past_put(object);
    return object->past;
}

uint64_t slc_rates_value(const slc_rates_window *past, uint32_t which, uint64_t at_ns)
{
    if (past->since_ns != UINT64_MAX && at_ns < past->since_ns)
        return 0;
    // The newest that is not newer than asked for; what is asked for most is the end.
    for (uint32_t i = past->length; i > 0; i--) {
        uint32_t at = (past->first + i - 1) % SLC_RATES_HISTORY;
        if (i == 1 || past->at_ns[at] <= at_ns)
            return past->values[(size_t)at * past->count + which];
    }
    return 0;
}
