// The encoding of a command: a durable format, see control_store.h.
#include <string.h>
#include <xxhash.h>

#include "base/alloc.h"
#include "cluster/control_store.h"

enum {
    COMMAND_HEAD_BYTES = 5,
    CHANGE_HEAD_BYTES = 7,
    COMMAND_SUM_BYTES = 8,
    OP_PUT = 1,
    OP_DELETE = 2
};

static void put_number(uint8_t *out, uint64_t value, uint32_t bytes)
{
    for (uint32_t i = 0; i < bytes; i++)
        out[i] = (uint8_t)(value >> (8 * (bytes - 1 - i)));
}

static uint64_t get_number(const uint8_t *in, uint32_t bytes)
{
    uint64_t value = 0;
    for (uint32_t i = 0; i < bytes; i++)
        value = value << 8 | in[i];
    return value;
}

slc_err slc_control_command_size(const slc_control_change *changes, uint32_t count, size_t *bytes)
{
    size_t sum = COMMAND_HEAD_BYTES + COMMAND_SUM_BYTES;
    for (uint32_t i = 0; i < count; i++) {
        const slc_control_change *change = &changes[i];
        size_t value = change->value.data == NULL ? 0 : change->value.bytes;
        if (change->key.bytes == 0 || change->key.bytes > SLC_CONTROL_KEY_BYTES_MAX ||
            value > SLC_CONTROL_VALUE_BYTES_MAX)
            return SLC_ELIMIT;
        sum += CHANGE_HEAD_BYTES + change->key.bytes + value;
        if (sum > SLC_CONTROL_COMMAND_BYTES_MAX)
            return SLC_ELIMIT;
    }
    *bytes = sum;
    return SLC_OK;
}

void slc_control_command_encode(const slc_control_change *changes, uint32_t count, uint8_t *out,
                                size_t bytes)
{
    uint8_t *at = out;
    *at++ = SLC_CONTROL_COMMAND_VERSION;
    put_number(at, count, 4);
    at += 4;
    for (uint32_t i = 0; i < count; i++) {
        const slc_control_change *change = &changes[i];
        bool put = change->value.data != NULL;
        size_t value = put ? change->value.bytes : 0;
        *at = put ? OP_PUT : OP_DELETE;
        put_number(at + 1, change->key.bytes, 2);
        put_number(at + 3, value, 4);
        at += CHANGE_HEAD_BYTES;
        memcpy(at, change->key.data, change->key.bytes);
        at += change->key.bytes;
        if (value > 0)
            memcpy(at, change->value.data, value);
        at += value;
    }
    size_t used = (size_t)(at - out);
    SLC_ASSERT(used + COMMAND_SUM_BYTES == bytes);
    put_number(at, XXH3_64bits(out, used), COMMAND_SUM_BYTES);
}

bool slc_control_command_next(slc_slice command, size_t *at, slc_control_change *change)
{
    size_t end = command.bytes - COMMAND_SUM_BYTES;
    if (*at == 0)
        *at = COMMAND_HEAD_BYTES;
    if (end - *at < CHANGE_HEAD_BYTES)
        return false;
    const uint8_t *head = command.data + *at;
    size_t key = (size_t)get_number(head + 1, 2), value = (size_t)get_number(head + 3, 4);
    if (key + value > end - *at - CHANGE_HEAD_BYTES)
        return false;
    const uint8_t *body = head + CHANGE_HEAD_BYTES;
    change->key = slc_slice_of(body, key);
    change->value = head[0] == OP_DELETE ? (slc_slice){0} : slc_slice_of(body + key, value);
    *at += CHANGE_HEAD_BYTES + key + value;
    return true;
}

slc_err slc_control_command_check(slc_slice command, uint32_t *count)
{
    if (command.bytes < COMMAND_HEAD_BYTES + COMMAND_SUM_BYTES)
        return SLC_ECORRUPT;
    size_t used = command.bytes - COMMAND_SUM_BYTES;
    if (get_number(command.data + used, COMMAND_SUM_BYTES) != XXH3_64bits(command.data, used))
        return SLC_ECORRUPT;
    if (command.data[0] != SLC_CONTROL_COMMAND_VERSION)
        return SLC_EVERSION;
    uint32_t found = 0;
    size_t at = 0;
    slc_control_change change;
    while (slc_control_command_next(command, &at, &change)) {
        if (change.key.bytes == 0)
            return SLC_ECORRUPT;
        found++;
    }
    *count = found;
    bool whole = (at == 0 ? COMMAND_HEAD_BYTES : at) == used;
    return whole && found == get_number(command.data + 1, 4) ? SLC_OK : SLC_ECORRUPT;
}
