#include "http/rates.h"

#include "base/alloc.h"
#include "base/map.h"

// A look that comes sooner than an interval after the one before is answered with the rates of that one.
#define INTERVAL_NS (5 * UINT64_C(1000000000))
#define FORGET_NS   (600 * UINT64_C(1000000000))
enum { SWEEP_LOOKS = 4096 };

typedef struct rates_object {
    slc_slice key; // owned
    uint64_t at_ns;
    uint32_t count;
    uint64_t counters[SLC_RATES_COUNTERS_MAX]; // at at_ns
    double rates[SLC_RATES_COUNTERS_MAX];      // of the interval that ended at at_ns
    UT_hash_handle hh;
} rates_object;

struct slc_rates {
    rates_object *objects;
    uint32_t looks; // since the last sweep
};

slc_rates *slc_rates_new(void)
{
    return slc_alloc_zero(1, sizeof(slc_rates));
}

static void object_free(slc_rates *rates, rates_object *object)
{
    HASH_DEL(rates->objects, object);
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
        HASH_ADD_KEYPTR(hh, rates->objects, object->key.data, object->key.bytes, object);
        // Since its beginning when that is known; else there is nothing to compare with.
        // What an object did in its first moments is spread over an interval: a handshake is no traffic.
        uint64_t from_ns = now_ns > INTERVAL_NS ? now_ns - INTERVAL_NS : 0;
        if (since_ns < from_ns)
            from_ns = since_ns;
        interval_end(object, counters, now_ns, since_ns == UINT64_MAX ? now_ns : from_ns);
    } else if (now_ns - object->at_ns >= INTERVAL_NS) {
        interval_end(object, counters, now_ns, object->at_ns);
    }
    for (uint32_t i = 0; i < count; i++)
        out[i] = object->rates[i];
}
