#include "core/message.h"

#include "base/alloc.h"

static uint64_t bytes_alive; // loop only

/* Messages come and go by the hundred thousand, and above 1,032 octets glibc takes and merges each in its slow lists: a tenth
 * of what a message of 1 KiB costs. So the last ones freed are kept, by size, and the next come from there while they are
 * still in the processor's cache. Not under a sanitizer, which could not see who uses a message that is gone. */
enum {
    POOL_STEP = 64,  // octets; sizes are rounded up to that
    POOL_SIZES = 65, // larger ones, above 4 KiB, are malloc's
    POOL_BYTES = 2 << 20,
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    POOL_SMALLEST = POOL_SIZES,
#else
    POOL_SMALLEST = 17, // malloc is as fast below
#endif
};

typedef struct pool_item {
    struct pool_item *next;
} pool_item;

static pool_item *pool[POOL_SIZES]; // loop only
static uint64_t pool_bytes;         // at most POOL_BYTES

static uint64_t pool_size(uint64_t bytes)
{
    return (bytes + POOL_STEP - 1) / POOL_STEP;
}

static bool pool_has(uint64_t size)
{
    return size >= POOL_SMALLEST && size < POOL_SIZES;
}

static void *pool_take(size_t bytes)
{
    uint64_t size = pool_size(bytes);
    if (!pool_has(size))
        return slc_try_alloc(bytes);
    pool_item *item = pool[size];
    if (item == NULL)
        return slc_try_alloc(size * POOL_STEP);
    pool[size] = item->next;
    pool_bytes -= size * POOL_STEP;
    return item;
}

static void pool_give(void *memory, uint64_t bytes)
{
    uint64_t size = pool_size(bytes);
    if (!pool_has(size) || pool_bytes + size * POOL_STEP > POOL_BYTES) {
        slc_free(memory);
        return;
    }
    pool_item *item = memory;
    item->next = pool[size];
    pool[size] = item;
    pool_bytes += size * POOL_STEP;
}

void slc_message_trim(void)
{
    for (uint32_t size = POOL_SMALLEST; size < POOL_SIZES; size++) {
        for (pool_item *item = pool[size], *next; item != NULL; item = next) {
            next = item->next;
            slc_free(item);
        }
        pool[size] = NULL;
    }
    pool_bytes = 0;
}

static void put_u32(uint8_t *at, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

static void put_u64(uint8_t *at, uint64_t value)
{
    put_u32(at, (uint32_t)value);
    put_u32(at + 4, (uint32_t)(value >> 32));
}

static uint64_t get_uint(const uint8_t *at, int bytes)
{
    uint64_t value = 0;
    for (int i = bytes - 1; i >= 0; i--)
        value = value << 8 | at[i];
    return value;
}

static slc_message *message_alloc(uint64_t content_bytes)
{
    if (content_bytes > SIZE_MAX / 2)
        return NULL;
    slc_message *m = pool_take(sizeof *m + (size_t)content_bytes);
    if (m == NULL)
        return NULL;
    *m = (slc_message){.refs = 1};
    bytes_alive += sizeof *m + content_bytes;
    return m;
}

/** The body and the hidden keys uninitialised. */
static slc_message *message_new(slc_slice exchange, slc_slice key, slc_slice props,
                                uint64_t body_bytes, bool persistent, size_t hidden_bytes)
{
    SLC_ASSERT(hidden_bytes <= UINT32_MAX);
    SLC_ASSERT(exchange.bytes <= UINT8_MAX);
    SLC_ASSERT(key.bytes <= UINT8_MAX);
    SLC_ASSERT(props.bytes <= UINT32_MAX);
    if (body_bytes > SIZE_MAX / 4)
        return NULL;
    slc_message *m = message_alloc(SLC_MESSAGE_HEAD_BYTES + exchange.bytes + key.bytes +
                                   props.bytes + body_bytes + hidden_bytes);
    if (m == NULL)
        return NULL;
    m->exchange_bytes = (uint8_t)exchange.bytes;
    m->key_bytes = (uint8_t)key.bytes;
    m->props_bytes = (uint32_t)props.bytes;
    m->body_bytes = body_bytes;
    m->hidden_bytes = (uint32_t)hidden_bytes;
    m->persistent = persistent;
    m->content[0] = 1;
    m->content[1] = m->exchange_bytes;
    m->content[2] = m->key_bytes;
    m->content[3] = persistent ? SLC_MESSAGE_PERSISTENT : 0;
    put_u32(m->content + 4, m->props_bytes);
    put_u64(m->content + 8, body_bytes);
    uint8_t *at = m->content + SLC_MESSAGE_HEAD_BYTES;
    if (exchange.bytes > 0)
        memcpy(at, exchange.data, exchange.bytes);
    at += exchange.bytes;
    if (key.bytes > 0)
        memcpy(at, key.data, key.bytes);
    at += key.bytes;
    if (props.bytes > 0)
        memcpy(at, props.data, props.bytes);
    return m;
}

slc_message *slc_message_new(slc_slice exchange, slc_slice key, slc_slice props,
                             uint64_t body_bytes, bool persistent)
{
    return message_new(exchange, key, props, body_bytes, persistent, 0);
}

slc_message *slc_message_new_hidden(slc_slice exchange, slc_slice key, slc_slice props,
                                    uint64_t body_bytes, bool persistent, slc_slice hidden)
{
    size_t hidden_bytes = hidden.bytes == 0 ? 0 : hidden.bytes + sizeof(uint32_t);
    slc_message *m = message_new(exchange, key, props, body_bytes, persistent, hidden_bytes);
    if (m == NULL || hidden_bytes == 0)
        return m;
    m->content[3] |= SLC_MESSAGE_HIDDEN;
    uint8_t *at = slc_message_body(m) + body_bytes;
    memcpy(at, hidden.data, hidden.bytes);
    put_u32(at + hidden.bytes, (uint32_t)hidden.bytes);
    return m;
}

void slc_message_set_died(slc_message *message)
{
    message->died = true;
    message->content[3] |= SLC_MESSAGE_DIED;
}

void slc_message_set_one_key(slc_message *message)
{
    message->one_key = true;
    message->content[3] |= SLC_MESSAGE_ONE_KEY;
}

/** What the hidden keys at the end of a content take; false: they are damaged. */
static bool hidden_of(slc_slice content, uint64_t head, uint32_t *bytes)
{
    *bytes = 0;
    if ((content.data[3] & SLC_MESSAGE_HIDDEN) == 0)
        return true;
    uint64_t most = content.bytes - head;
    if (most < sizeof(uint32_t))
        return false;
    most -= sizeof(uint32_t);
    uint64_t keys = get_uint(content.data + content.bytes - sizeof(uint32_t), 4);
    if (keys > most || keys > UINT32_MAX - sizeof(uint32_t))
        return false;
    const uint8_t *at = content.data + content.bytes - sizeof(uint32_t) - keys;
    for (uint64_t left = keys; left > 0;) {
        uint64_t one = 1 + (uint64_t)*at;
        if (one > left)
            return false;
        left -= one;
        at += one;
    }
    *bytes = (uint32_t)keys + (uint32_t)sizeof(uint32_t);
    return true;
}

slc_err slc_message_load(slc_slice content, slc_message **out)
{
    if (content.bytes < SLC_MESSAGE_HEAD_BYTES)
        return SLC_ECORRUPT;
    if (content.data[0] != 1)
        return SLC_EVERSION;
    uint32_t props_bytes = (uint32_t)get_uint(content.data + 4, 4);
    uint64_t body_bytes = get_uint(content.data + 8, 8);
    uint64_t head =
        SLC_MESSAGE_HEAD_BYTES + (uint64_t)content.data[1] + content.data[2] + props_bytes;
    if (head > content.bytes)
        return SLC_ECORRUPT;
    uint32_t hidden_bytes;
    if (!hidden_of(content, head, &hidden_bytes))
        return SLC_ECORRUPT;
    if (content.bytes - head - hidden_bytes != body_bytes)
        return SLC_ECORRUPT;
    slc_message *m = message_alloc(content.bytes);
    if (m == NULL)
        return SLC_ENOMEM;
    m->exchange_bytes = content.data[1];
    m->key_bytes = content.data[2];
    m->persistent = (content.data[3] & SLC_MESSAGE_PERSISTENT) != 0;
    m->died = (content.data[3] & SLC_MESSAGE_DIED) != 0;
    m->one_key = (content.data[3] & SLC_MESSAGE_ONE_KEY) != 0;
    m->hidden_bytes = hidden_bytes;
    m->props_bytes = props_bytes;
    m->body_bytes = body_bytes;
    memcpy(m->content, content.data, content.bytes);
    *out = m;
    return SLC_OK;
}

void slc_message_free_last(slc_message *message)
{
    SLC_ASSERT(message->refs == 0);
    uint64_t bytes = sizeof *message + slc_message_content_bytes(message);
    bytes_alive -= bytes;
    pool_give(message, bytes);
}

uint64_t slc_message_bytes_alive(void)
{
    return bytes_alive;
}
