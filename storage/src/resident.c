// Large contents: written once, as parts of their own database, and shared by every message that has them.
#include "store_impl.h"

uint32_t slc_shard_resident_add(slc_shard *shard, uint64_t first_lsn, uint32_t parts,
                                uint64_t bytes)
{
    uint32_t slot = shard->resident_free;
    if (slot != UINT32_MAX) {
        shard->resident_free = shard->residents[slot].next_free;
    } else {
        slot = shard->resident_count;
        slc_resident *added =
            STORE_PUSH(shard->residents, shard->resident_count, shard->resident_capacity);
        (void)added;
    }
    shard->residents[slot] = (slc_resident){.first_lsn = first_lsn, .parts = parts, .bytes = bytes};
    shard->store->stats.residents++;
    shard->store->stats.resident_bytes += bytes;
    return slot;
}

static void slot_free(slc_shard *shard, uint32_t slot)
{
    slc_resident *resident = &shard->residents[slot];
    shard->store->stats.residents--;
    shard->store->stats.resident_bytes -= resident->bytes;
    resident->run = NULL;
    resident->next_free = shard->resident_free;
    shard->resident_free = slot;
}

void slc_shard_resident_unref(slc_shard *shard, uint32_t slot, uint64_t drop_lsn)
{
    slc_resident *resident = &shard->residents[slot];
    SLC_ASSERT(resident->refs > 0);
    // Not always the last one: the drops of a deleted queue count from its QDEL record, however late they are swept.
    if (resident->drop_lsn < drop_lsn)
        resident->drop_lsn = drop_lsn;
    if (--resident->refs > 0)
        return;
    *STORE_PUSH(shard->frees, shard->free_count, shard->free_capacity) = (slc_freed){
        .first = resident->first_lsn, .count = resident->parts, .drop_lsn = resident->drop_lsn};
    if (resident->run != NULL)
        resident->run->slot = UINT32_MAX;
    slot_free(shard, slot);
}

void slc_shard_resident_cancel(slc_shard *shard, slc_chunk *run)
{
    SLC_ASSERT(run->live_ops == 0);
    slot_free(shard, run->slot);
    run->slot = UINT32_MAX;
    run->cancelled = true;
    shard->store->options.release(run->owner, shard->store->options.arg);
    run->owner = NULL;
}
