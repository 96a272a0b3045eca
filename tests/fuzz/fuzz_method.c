// The payload of a method frame.
#include "fuzz.h"

#include "../unit/wire/gen_method.h"
#include "wire/amqp_fast.h"

/** The fast decode of a busy method says what the general one says. */
static void check_fast(slc_slice payload, const slc_amqp_method *method, bool decoded)
{
    slc_amqp_method fast = {.id = method->id};
    bool taken;
    switch (method->id) {
    case SLC_AMQP_BASIC_PUBLISH:
        taken = slc_amqp_fast_publish(payload, &fast.basic_publish);
        break;
    case SLC_AMQP_BASIC_ACK:
        taken = slc_amqp_fast_ack(payload, &fast.basic_ack);
        break;
    case SLC_AMQP_BASIC_NACK:
        taken = slc_amqp_fast_nack(payload, &fast.basic_nack);
        break;
    case SLC_AMQP_BASIC_REJECT:
        taken = slc_amqp_fast_reject(payload, &fast.basic_reject);
        break;
    default:
        return;
    }
    SLC_ASSERT(taken == decoded);
    SLC_ASSERT(!taken || method_difference(method, &fast) == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    slc_slice payload = slc_slice_of(data, bytes);
    slc_amqp_method method;
    slc_error error = {0};
    slc_err rc = slc_amqp_method_decode(payload, &method, &error);
    SLC_ASSERT(method.id == slc_amqp_method_peek(payload));
    check_fast(payload, &method, rc == SLC_OK);
    if (rc != SLC_OK) {
        SLC_ASSERT(rc == SLC_EFRAME || rc == SLC_ECOMMAND || rc == SLC_ESYNTAX);
        SLC_ASSERT(error.text[0] != '\0');
        SLC_ASSERT((rc == SLC_ECOMMAND) == (bytes >= 4 && slc_amqp_method_name(method.id) == NULL));
        return 0;
    }
    // Nothing is lost but bits that mean nothing, so the size is the same.
    SLC_ASSERT(slc_amqp_method_bytes(&method) == bytes);
    uint8_t *out = slc_alloc(bytes);
    SLC_ASSERT(slc_amqp_method_encode(&method, out, bytes - 1) == 0);
    SLC_ASSERT(slc_amqp_method_encode(&method, out, bytes) == bytes);
    slc_amqp_method again;
    SLC_ASSERT(slc_amqp_method_decode(slc_slice_of(out, bytes), &again, NULL) == SLC_OK);
    SLC_ASSERT(method_difference(&method, &again) == NULL);
    slc_free(out);
    return 0;
}
