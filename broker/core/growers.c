#include "core/growers.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/internal.h"

enum { NAME_SHOWN_BYTES = 100 };

/* ---- the pass ---- */

/** What is known of one before its names are copied: most are not among the biggest. */
typedef struct candidate {
    const slc_queue *queue; // NULL: client
    const slc_client *client;
    uint64_t bytes, messages;
} candidate;

typedef struct candidates {
    candidate items[SLC_GROWERS_MAX];
    uint32_t count;
} candidates;

static void consider(candidates *best, candidate one)
{
    uint32_t at = best->count;
    if (one.bytes == 0)
        return;
    while (at > 0 && best->items[at - 1].bytes < one.bytes)
        at--;
    if (at == SLC_GROWERS_MAX)
        return;
    uint32_t behind = best->count - at;
    if (best->count < SLC_GROWERS_MAX)
        best->count++;
    else
        behind--;
    memmove(&best->items[at + 1], &best->items[at], behind * sizeof one);
    best->items[at] = one;
}

static candidate queue_holds(const slc_queue *queue, slc_resource resource)
{
    candidate c = {.queue = queue};
    if (resource == SLC_RESOURCE_DISK) {
        c.bytes = queue->persistent_bytes;
        c.messages = queue->persistent;
    } else {
        c.messages = queue->ready - queue->cold_count + queue->unacked;
        c.bytes = queue->ready_bytes - queue->cold_bytes + queue->unacked_bytes +
                  c.messages * (sizeof(slc_entry) + sizeof(slc_message));
    }
    return c;
}

static void name_copy(char out[256], slc_slice name)
{
    snprintf(out, 256, "%.*s", SLC_SLICE_FMT(name));
}

void slc_growers_find(const slc_broker *broker, slc_resource resource, slc_growers *out)
{
    candidates best = {0};
    const slc_vhost *vhost, *next_vhost;
    const slc_queue *queue, *next;
    const slc_client *client;
    HASH_ITER(hh, broker->vhosts, vhost, next_vhost)
    {
        HASH_ITER(hh, vhost->queues, queue, next) consider(&best, queue_holds(queue, resource));
    }
    if (resource == SLC_RESOURCE_MEMORY) {
        DL_FOREACH(broker->clients, client)
        {
            if (!client->hidden)
                consider(&best,
                         (candidate){.client = client,
                                     .bytes = client->info.send_pending + client->reply_bytes});
        }
    }
    *out = (slc_growers){.count = best.count};
    for (uint32_t i = 0; i < best.count; i++) {
        const candidate *from = &best.items[i];
        slc_grower *to = &out->items[i];
        to->connection = from->client != NULL;
        to->bytes = from->bytes;
        to->messages = from->messages;
        name_copy(to->vhost, to->connection ? from->client->vhost->name : from->queue->vhost->name);
        name_copy(to->name,
                  to->connection ? slc_slice_str(from->client->info.name) : from->queue->dest.name);
    }
}

const slc_growers *slc_broker_growers(const slc_broker *broker, slc_resource resource)
{
    return &broker->growers[resource];
}

/* ---- text ---- */

static void bytes_text(uint64_t bytes, char out[32])
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB"};
    double value = (double)bytes / 1024;
    size_t unit = 0;
    for (; value >= 1024 && unit + 1 < SLC_ARRAY_COUNT(units); unit++)
        value /= 1024;
    if (bytes < 1024)
        snprintf(out, 32, "%" PRIu64 " bytes", bytes);
    else
        snprintf(out, 32, "%.1f %s", value, units[unit]);
}

/** How much of a name is shown: no character is cut in two. */
static int shown(const char *name)
{
    size_t bytes = strlen(name);
    if (bytes <= NAME_SHOWN_BYTES)
        return (int)bytes;
    bytes = NAME_SHOWN_BYTES;
    while (bytes > 0 && ((uint8_t)name[bytes] & 0xc0) == 0x80)
        bytes--;
    return (int)bytes;
}

void slc_growers_text(const slc_growers *growers, char *out, size_t cap)
{
    size_t at = 0;
    out[0] = '\0';
    for (uint32_t i = 0; i < growers->count && at < cap; i++) {
        const slc_grower *g = &growers->items[i];
        char bytes[32], messages[48] = "";
        bytes_text(g->bytes, bytes);
        if (!g->connection)
            snprintf(messages, sizeof messages, " in %" PRIu64 " message%s", g->messages,
                     g->messages == 1 ? "" : "s");
        int n = snprintf(out + at, cap - at, "%s%s '%.*s' in vhost '%.*s' (%s%s)",
                         i > 0 ? ", " : "", g->connection ? "connection" : "queue", shown(g->name),
                         g->name, shown(g->vhost), g->vhost, bytes, messages);
        at += n > 0 ? (size_t)n : 0;
    }
}

const char *slc_growers_advice(slc_resource resource)
{
    return resource == SLC_RESOURCE_DISK
               ? "consume from the queues or purge them, bound them with a policy (max-length, "
                 "message-ttl), free space beside the broker, or lower disk_free_limit"
               : "consume from the queues or purge them, bound them with a policy (max-length, "
                 "message-ttl), or raise vm_memory_high_watermark";
}

/* ---- what a client is told ---- */

static bool client_knows(slc_client *client, const slc_grower *g)
{
    static const slc_access accesses[] = {SLC_ACCESS_READ, SLC_ACCESS_WRITE, SLC_ACCESS_CONFIGURE};
    if (g->connection || !slc_slice_is(client->vhost->name, g->vhost))
        return false;
    for (size_t i = 0; i < SLC_ARRAY_COUNT(accesses); i++) {
        if (client->ops->may == NULL ||
            client->ops->may(client, accesses[i], SLC_DEST_QUEUE, slc_slice_str(g->name)))
            return true;
    }
    return false;
}

void slc_broker_blocked_reason(const slc_broker *broker, slc_client *client, char out[256])
{
    const char *reason = slc_broker_pressure_reason(broker);
    snprintf(out, 256, "%s", reason != NULL ? reason : "");
    if (reason == NULL)
        return;
    const slc_growers *growers =
        &broker->growers[broker->memory_alarm ? SLC_RESOURCE_MEMORY : SLC_RESOURCE_DISK];
    for (uint32_t i = 0; i < growers->count; i++) {
        const slc_grower *g = &growers->items[i];
        char bytes[32];
        if (!client_knows(client, g))
            continue;
        bytes_text(g->bytes, bytes);
        snprintf(out, 256, "%s: queue '%.*s' holds %s", reason, shown(g->name), g->name, bytes);
        return;
    }
}
