#include "look.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <lmdb.h>
#include <stdlib.h>

typedef struct databases {
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi st, log, que, res, seg, smd;
} databases;

#define GROW(array, count, capacity)                                                               \
    ((count) == (capacity) ? ((capacity) = (capacity) ? (capacity)*2 : 64,                         \
                              (array) = realloc((array), (capacity) * sizeof *(array)))            \
                           : (array),                                                              \
     &(array)[(count)++])

static slc_slice slice_of(const MDB_val *value)
{
    return slc_slice_of(value->mv_data, value->mv_size);
}

static void databases_open(databases *d, const subject *s)
{
    cr_assert(eq(int, mdb_env_create(&d->env), 0));
    mdb_env_set_maxdbs(d->env, 8);
    cr_assert(eq(int, mdb_env_open(d->env, s->dir, MDB_RDONLY | MDB_NOLOCK, 0), 0));
    cr_assert(eq(int, mdb_txn_begin(d->env, NULL, MDB_RDONLY, &d->txn), 0));
    cr_assert(eq(int, mdb_dbi_open(d->txn, "0000.st", 0, &d->st), 0));
    cr_assert(eq(int, mdb_dbi_open(d->txn, "0000.log", 0, &d->log), 0));
    cr_assert(eq(int, mdb_dbi_open(d->txn, "0000.que", 0, &d->que), 0));
    cr_assert(eq(int, mdb_dbi_open(d->txn, "0000.res", 0, &d->res), 0));
    cr_assert(eq(int, mdb_dbi_open(d->txn, "0000.seg", 0, &d->seg), 0));
    cr_assert(eq(int, mdb_dbi_open(d->txn, "0000.smd", 0, &d->smd), 0));
}

static uint64_t key_lsn(const MDB_val *key)
{
    uint64_t lsn = 0;
    cr_assert(eq(sz, key->mv_size, sizeof lsn));
    memcpy(&lsn, key->mv_data, sizeof lsn);
    return be64toh(lsn);
}

static void chunk_look(look *l, uint64_t lsn, slc_slice records)
{
    slc_error error = {0};
    while (records.bytes > 0) {
        slc_record record;
        cr_assert(eq(int, slc_record_next(&records, &record, &error), SLC_OK), "%s", error.text);
        for (uint32_t i = 0; record.type == SLC_RECORD_ENQ && i < record.enq.targets; i++) {
            slc_store_target target = slc_record_target(&record, i);
            if (target.qid != 0)
                *GROW(l->copies, l->copy_count, l->copy_capacity) =
                    (look_copy){.qid = target.qid, .qseq = target.qseq, .lsn = lsn};
        }
        for (uint32_t i = 0; record.type == SLC_RECORD_DROP && i < record.drop.ranges; i++) {
            look_drop drop = {.qid = record.drop.qid, .lsn = lsn};
            uint32_t count;
            slc_record_range(&record, i, &drop.first, &count);
            drop.last = drop.first + count - 1;
            *GROW(l->drops, l->drop_count, l->drop_capacity) = drop;
        }
    }
}

static void log_look(look *l, const databases *d)
{
    MDB_cursor *cursor;
    MDB_val key, value;
    MDB_stat stat; // larger values have pages of their own, which LMDB counts
    cr_assert(eq(int, mdb_stat(d->txn, d->log, &stat), 0));
    cr_assert(eq(int, mdb_cursor_open(d->txn, d->log, &cursor), 0));
    while (mdb_cursor_get(cursor, &key, &value, MDB_NEXT) == 0) {
        uint64_t lsn = key_lsn(&key);
        slc_chunk_head head;
        slc_slice records;
        slc_error error = {0};
        cr_assert(
            eq(int, slc_chunk_open(slice_of(&value), 0, lsn, &head, &records, &error), SLC_OK),
            "%s", error.text);
        if (l->log_first == 0)
            l->log_first = lsn;
        else
            cr_assert(eq(u64, lsn - head.skipped, l->log_last + 1), "chunk numbers are dense");
        l->log_last = lsn;
        l->log_chunks++;
        if (value.mv_size + 18 <= (stat.ms_psize - 16) / 2)
            l->log_bytes += value.mv_size + 18;
        chunk_look(l, lsn, records);
    }
    mdb_cursor_close(cursor);
    l->log_bytes += stat.ms_overflow_pages * stat.ms_psize;
}

static void parts_look(look *l, const databases *d)
{
    MDB_cursor *cursor;
    MDB_val key, value;
    cr_assert(eq(int, mdb_cursor_open(d->txn, d->res, &cursor), 0));
    while (mdb_cursor_get(cursor, &key, &value, MDB_NEXT) == 0) {
        slc_chunk_head head;
        slc_slice records;
        slc_error error = {0};
        l->last_part = key_lsn(&key);
        l->parts++;
        l->part_max = value.mv_size > l->part_max ? value.mv_size : l->part_max;
        cr_assert(eq(int,
                     slc_chunk_open(slice_of(&value), 0, l->last_part, &head, &records, &error),
                     SLC_OK),
                  "%s", error.text);
        cr_assert(eq(u32, head.flags & SLC_CHUNK_RESIDENT, SLC_CHUNK_RESIDENT));
    }
    mdb_cursor_close(cursor);
}

static bool directory_dead(const slc_directory *directory, uint64_t first, uint64_t qseq)
{
    uint64_t bit = qseq - first;
    return directory->dead != NULL && (directory->dead[bit / 8] >> bit % 8 & 1) != 0;
}

static bool queue_there(const databases *d, uint32_t qid)
{
    qid = htobe32(qid);
    MDB_val key = {.mv_size = sizeof qid, .mv_data = &qid}, value;
    return mdb_get(d->txn, d->que, &key, &value) == 0;
}

static void slot_look(look *l, const databases *d, uint32_t qid, const slc_slot *slot, bool dead)
{
    *GROW(l->copies, l->copy_count, l->copy_capacity) =
        (look_copy){.qid = qid, .qseq = slot->qseq, .dead = dead};
    // What was dropped by a record that is still in the log may have lost its parts, as may what a deleted queue held.
    if (slot->resident_lsn == 0 || dead || look_dropped_in_log(l, qid, slot->qseq) ||
        !queue_there(d, qid))
        return;
    for (uint32_t part = 0; part < slot->resident_parts; part++) {
        uint64_t lsn = htobe64(slot->resident_lsn + part);
        MDB_val key = {.mv_size = sizeof lsn, .mv_data = &lsn}, value;
        cr_assert(eq(int, mdb_get(d->txn, d->res, &key, &value), 0),
                  "part %u of a live large content is gone", part);
    }
}

static void segments_look(look *l, const databases *d)
{
    MDB_cursor *cursor;
    MDB_val key, value;
    uint32_t last_qid = 0;
    uint64_t last = 0;
    cr_assert(eq(int, mdb_cursor_open(d->txn, d->seg, &cursor), 0));
    while (mdb_cursor_get(cursor, &key, &value, MDB_NEXT) == 0) {
        uint32_t qid, count;
        uint64_t first;
        slc_error error = {0};
        cr_assert(eq(int, slc_segment_key_decode(slice_of(&key), &qid, &first, &error), SLC_OK));
        cr_assert(
            eq(int, slc_segment_open(slice_of(&value), 0, qid, first, &count, &error), SLC_OK),
            "%s", error.text);
        MDB_val record;
        slc_directory directory;
        cr_assert(eq(int, mdb_get(d->txn, d->smd, &key, &record), 0),
                  "a segment has a directory record");
        cr_assert(eq(int,
                     slc_directory_decode(slice_of(&record), 0, qid, first, &directory, &error),
                     SLC_OK),
                  "%s", error.text);
        cr_assert(eq(u32, directory.count, count));
        if (count > 1 && value.mv_size > l->segment_max)
            l->segment_max = value.mv_size;
        cr_assert(qid != last_qid || first > last, "segments of a queue do not overlap");
        uint32_t live = 0;
        for (uint32_t i = 0; i < count; i++) {
            slc_slot slot;
            cr_assert(eq(int, slc_segment_slot(slice_of(&value), i, &slot, &error), SLC_OK), "%s",
                      error.text);
            bool dead = directory_dead(&directory, first, slot.qseq);
            live += !dead;
            slot_look(l, d, qid, &slot, dead);
            cr_assert(i > 0 || slot.qseq == first);
            cr_assert(i + 1 < count || slot.qseq == directory.last);
        }
        cr_assert(eq(u32, live, directory.live), "a directory record counts its bits");
        last_qid = qid;
        last = directory.last;
        l->segments++;
    }
    mdb_cursor_close(cursor);
    MDB_stat stat;
    cr_assert(eq(int, mdb_stat(d->txn, d->smd, &stat), 0));
    cr_assert(eq(u64, stat.ms_entries, l->segments), "a directory record has a segment");
}

void look_at(look *l, const subject *s)
{
    *l = (look){0};
    databases d;
    databases_open(&d, s);
    MDB_val key = {.mv_size = 1, .mv_data = "s"}, value;
    slc_error error = {0};
    cr_assert(eq(int, mdb_get(d.txn, d.st, &key, &value), 0));
    cr_assert(eq(int, slc_state_decode(slice_of(&value), 0, &l->state, &error), SLC_OK), "%s",
              error.text);
    log_look(l, &d);
    parts_look(l, &d);
    segments_look(l, &d);
    mdb_txn_abort(d.txn);
    mdb_env_close(d.env);
}

void look_free(look *l)
{
    free(l->copies);
    free(l->drops);
    *l = (look){0};
}

static int copy_compare(const void *a, const void *b)
{
    const look_copy *x = a, *y = b;
    if (x->qid != y->qid)
        return x->qid < y->qid ? -1 : 1;
    return x->qseq < y->qseq ? -1 : x->qseq > y->qseq;
}

uint32_t look_doubles(const look *l)
{
    look_copy *sorted = malloc((l->copy_count + 1) * sizeof *sorted);
    if (l->copy_count > 0)
        memcpy(sorted, l->copies, l->copy_count * sizeof *sorted);
    qsort(sorted, l->copy_count, sizeof *sorted, copy_compare);
    uint32_t doubles = 0;
    for (uint32_t i = 1; i < l->copy_count; i++)
        doubles += copy_compare(&sorted[i - 1], &sorted[i]) == 0;
    free(sorted);
    return doubles;
}

bool look_dropped_in_log(const look *l, uint32_t qid, uint64_t qseq)
{
    for (uint32_t i = 0; i < l->drop_count; i++)
        if (l->drops[i].qid == qid && l->drops[i].first <= qseq && qseq <= l->drops[i].last)
            return true;
    return false;
}

const look_copy *look_in_segment(const look *l, uint32_t qid, uint64_t qseq)
{
    for (uint32_t i = 0; i < l->copy_count; i++)
        if (l->copies[i].lsn == 0 && l->copies[i].qid == qid && l->copies[i].qseq == qseq)
            return &l->copies[i];
    return NULL;
}
