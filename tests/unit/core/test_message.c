// The memory of messages: what is freed is taken again, and nobody gets what another still holds.
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/message.h"

enum { HELD = 200, STEPS = 20000, BODY_MAX = 5000 };

static bool body_is(const slc_message *m, uint8_t octet)
{
    slc_slice body = slc_message_body_slice(m);
    for (size_t i = 0; i < body.bytes; i++) {
        if (body.data[i] != octet)
            return false;
    }
    return true;
}

Test(message, sizes_at_random_never_share_memory, .timeout = 120)
{
    unsigned seed = (unsigned)time(NULL);
    cr_log_info("seed %u", seed);
    static slc_message *held[HELD];
    for (uint32_t step = 0; step < STEPS; step++) {
        uint32_t at = (uint32_t)rand_r(&seed) % HELD;
        uint8_t octet = (uint8_t)at;
        if (held[at] != NULL) {
            cr_assert(body_is(held[at], octet), "message %u in step %u", at, step);
            slc_message_unref(held[at]);
            held[at] = NULL;
            continue;
        }
        size_t bytes = (size_t)rand_r(&seed) % BODY_MAX;
        held[at] =
            slc_message_new(slc_slice_str("x"), slc_slice_str("key"), (slc_slice){0}, bytes, false);
        memset(slc_message_body(held[at]), octet, bytes);
        if (step % 1000 == 0)
            slc_message_trim();
    }
    for (uint32_t at = 0; at < HELD; at++) {
        if (held[at] != NULL) {
            cr_expect(body_is(held[at], (uint8_t)at));
            slc_message_unref(held[at]);
        }
    }
    cr_expect(eq(u64, slc_message_bytes_alive(), 0));
    slc_message_trim(); // a leak checker would see what stays
}
