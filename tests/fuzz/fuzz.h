/** What every fuzz target has: one function that gets a stranger's octets and must survive them.
 *
 *  A target asserts (SLC_ASSERT) what must hold for any input: bounds, decode(encode(x)) == x, an
 *  error has a sentence.
 */
#ifndef SLC_FUZZ_H
#define SLC_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/** libFuzzer's entry. data has exactly `bytes` octets. Returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

#endif
