// Salvage: what the survey found good, written into a new file. The old one is never written to; LMDB only ever sees the new
// one, so no damaged page can mislead it.
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tool_survey.h"

static const char *const new_file = "data.mdb.salvage";

enum { COMMIT_BYTES = 16 << 20, DROP_RANGES_MAX = 5000 };

typedef struct writing {
    tool_survey *s;
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi sys, dbis[DB_COUNT];
    tool_shard *shard;
    slc_err rc;
    slc_error *error;
    uint64_t bytes, uncommitted;

    // .log
    uint64_t last_lsn;  // written
    uint8_t last_flags; // of it
    uint64_t log_start;
} writing;

static bool write_failed(writing *w, int code, const char *what)
{
    if (code != 0 && w->rc == SLC_OK)
        w->rc = slc_store_env_error(code, w->error, what);
    return w->rc != SLC_OK;
}

static void txn_turn(writing *w, bool more)
{
    if (w->rc != SLC_OK)
        return;
    w->uncommitted = 0;
    int code = slc_store_env_commit(w->txn);
    w->txn = NULL;
    if (!write_failed(w, code, "writing the new file") && more)
        (void)write_failed(w, mdb_txn_begin(w->env, NULL, 0, &w->txn), "writing the new file");
}

static void put(writing *w, MDB_dbi dbi, slc_slice key, slc_slice value)
{
    if (w->rc != SLC_OK)
        return;
    MDB_val k = {.mv_size = key.bytes, .mv_data = (void *)(uintptr_t)key.data};
    MDB_val v = {.mv_size = value.bytes, .mv_data = (void *)(uintptr_t)value.data};
    if (write_failed(w, mdb_put(w->txn, dbi, &k, &v, 0), "writing the new file"))
        return;
    w->bytes += value.bytes;
    w->uncommitted += value.bytes;
    if (w->uncommitted < COMMIT_BYTES)
        return;
    txn_turn(w, true);
    if (w->s->tool->progress != NULL)
        w->s->tool->progress("writing the new file", w->bytes,
                             w->s->report->pages_used * w->s->pages.page_bytes, w->s->tool->arg);
}

static void put_lsn(writing *w, tool_db db, uint64_t lsn, slc_slice value)
{
    uint64_t key = htobe64(lsn);
    put(w, w->dbis[db], slc_slice_of(&key, sizeof key), value);
}

/* ---- the log ---- */

static void chunk_put(writing *w, uint64_t lsn, uint8_t flags, slc_slice value)
{
    put_lsn(w, DB_LOG, lsn, value);
    w->last_lsn = lsn;
    w->last_flags = flags;
}

// A chunk made here; body_bytes stand at value + 40 already.
static void chunk_make(writing *w, uint64_t lsn, uint8_t flags, uint16_t records, uint8_t *value,
                       uint32_t body_bytes)
{
    slc_chunk_head head = {.version = SLC_FORMAT_VERSION,
                           .flags = flags,
                           .records = records,
                           .epoch = w->shard->state.epoch,
                           .lsn = lsn,
                           .wall_ms = slc_clock_wall_ms(),
                           .body_bytes = body_bytes,
                           .skipped = (uint32_t)(lsn - w->last_lsn - 1)};
    if ((w->last_flags & SLC_CHUNK_BATCH_END) != 0 && head.skipped == 0)
        head.flags |= SLC_CHUNK_BATCH_BEGIN;
    slc_chunk_seal(value, w->shard->id, &head);
    chunk_put(w, lsn, head.flags, slc_slice_of(value, SLC_CHUNK_HEAD_BYTES + body_bytes));
}

static void chunk_empty(writing *w, uint64_t lsn, uint8_t flags)
{
    uint8_t value[SLC_CHUNK_HEAD_BYTES];
    chunk_make(w, lsn, flags, 0, value, 0);
}

// Whole, but it claims to pass over numbers that are taken.
static void chunk_renumber(writing *w, const tool_chunk *chunk, slc_slice value)
{
    uint8_t *copy = slc_alloc(value.bytes);
    memcpy(copy, value.data, value.bytes);
    chunk_make(w, chunk->lsn, chunk->flags, slc_get16(copy + 2), copy,
               (uint32_t)(value.bytes - SLC_CHUNK_HEAD_BYTES));
    slc_free(copy);
}

static void front_find(writing *w, const tool_chunk *chunk)
{
    uint64_t from =
        chunk->ok && chunk->skipped < chunk->lsn ? chunk->lsn - chunk->skipped : chunk->lsn;
    w->log_start = w->shard->state.log_start;
    if (w->log_start > chunk->lsn || (chunk->ok && from > w->log_start))
        w->log_start = from;
    w->last_lsn = w->log_start - 1;
    w->last_flags = SLC_CHUNK_BATCH_END;
}

static void log_each(tool_chunk *chunk, slc_slice value, void *arg)
{
    writing *w = arg;
    uint64_t lsn = chunk->lsn;
    if (w->rc != SLC_OK || chunk->stray || lsn > w->shard->end_lsn)
        return;
    if (w->log_start == 0)
        front_find(w, chunk);
    if (!chunk->ok) {
        chunk_empty(w, lsn, chunk->flags);
        return;
    }
    bool front = w->last_lsn + 1 == w->log_start;
    uint64_t from = chunk->lsn - chunk->skipped;
    if (chunk->skipped >= lsn || (!front && from <= w->last_lsn)) {
        chunk_renumber(w, chunk, value);
        return;
    }
    if (!front && from > w->last_lsn + 1)
        chunk_empty(w, from - 1, SLC_CHUNK_BATCH_END); // in place of all that are missing
    chunk_put(w, lsn, chunk->flags, value);
}

static int drop_compare(const void *a, const void *b)
{
    const tool_drop *x = a, *y = b;
    if (x->qid != y->qid)
        return x->qid < y->qid ? -1 : 1;
    return x->qseq < y->qseq ? -1 : x->qseq > y->qseq;
}

// One chunk with drops from index at on; returns where the next one goes on.
static uint32_t drops_chunk(writing *w, uint32_t at)
{
    tool_shard *shard = w->shard;
    uint8_t value[SLC_CHUNK_VALUE_MAX];
    uint32_t used = SLC_CHUNK_HEAD_BYTES;
    uint16_t records = 0;
    while (at < shard->drop_count && used + SLC_DROP_HEAD_BYTES + SLC_RANGE_BYTES <= sizeof value) {
        uint8_t *record = value + used;
        uint32_t qid = shard->drops[at].qid;
        uint16_t ranges = 0;
        used += slc_drop_encode(record, qid, SLC_DROP_REJECT);
        while (at < shard->drop_count && shard->drops[at].qid == qid && ranges < DROP_RANGES_MAX &&
               used + SLC_RANGE_BYTES <= sizeof value) {
            uint64_t first = shard->drops[at].qseq;
            uint32_t count = 1;
            for (at++; at < shard->drop_count && shard->drops[at].qid == qid &&
                       shard->drops[at].qseq == first + count;
                 at++)
                count++;
            slc_put64(value + used, first);
            slc_put32(value + used + 8, count);
            used += SLC_RANGE_BYTES;
            ranges++;
        }
        slc_put16(record + 14, ranges);
        slc_put32(record + 4, (uint32_t)(value + used - record));
        records++;
    }
    chunk_make(w, w->last_lsn + 1, SLC_CHUNK_BATCH_BEGIN | SLC_CHUNK_BATCH_END, records, value,
               used - SLC_CHUNK_HEAD_BYTES);
    return at;
}

static void log_write(writing *w)
{
    tool_shard *shard = w->shard;
    w->log_start = 0;
    slc_tool_log_walk(w->s, shard, log_each, w);
    if (w->log_start == 0) { // empty
        w->log_start = shard->state.log_start;
        w->last_lsn = w->log_start - 1;
        w->last_flags = SLC_CHUNK_BATCH_END;
    }
    if (shard->drop_count > 0)
        qsort(shard->drops, shard->drop_count, sizeof *shard->drops, drop_compare);
    for (uint32_t at = 0; at < shard->drop_count && w->rc == SLC_OK;)
        at = drops_chunk(w, at);
}

/* ---- the rest ---- */

static void part_each(const slc_pages_node *node, void *arg)
{
    writing *w = arg;
    uint64_t lsn;
    bool moved;
    slc_chunk_head head;
    slc_slice body;
    const tool_part *part = w->rc == SLC_OK && slc_tool_lsn(w->shard, node, &lsn, &moved)
                                ? slc_tool_part_at(w->shard, lsn)
                                : NULL;
    // Another one may claim the same number, and is damaged.
    if (part != NULL && part->needed &&
        slc_chunk_open(node->value, w->shard->id, lsn, &head, &body, NULL) == SLC_OK)
        put_lsn(w, DB_RES, lsn, node->value);
}

static bool segment_stays(const tool_shard *shard, const tool_segment *segment)
{
    tool_queue *queue;
    HASH_FIND(hh, shard->queues, &segment->qid, sizeof segment->qid, queue);
    return !segment->lost && queue != NULL && queue->known;
}

static void segment_each(const slc_pages_node *node, void *arg)
{
    writing *w = arg;
    uint32_t qid;
    uint64_t first;
    bool moved;
    if (w->rc != SLC_OK || !slc_tool_segment_key(w->shard, node, &qid, &first, &moved))
        return;
    tool_queue *queue = slc_tool_queue(w->shard, qid);
    const tool_segment *segment =
        queue == NULL ? NULL : slc_tool_segment_at(w->shard, queue, first);
    if (segment == NULL || segment->first != first || !segment_stays(w->shard, segment))
        return;
    uint8_t key[SLC_SEGMENT_KEY_BYTES];
    slc_segment_key(key, qid, first);
    put(w, w->dbis[DB_SEG], slc_slice_of(key, sizeof key), node->value);
}

static void record_write(writing *w, const tool_segment *segment)
{
    uint8_t key[SLC_SEGMENT_KEY_BYTES], value[SLC_DIRECTORY_MAX];
    slc_segment_key(key, segment->qid, segment->first);
    uint64_t span = segment->last - segment->first + 1;
    slc_directory directory = {.count = segment->count,
                               .last = segment->last,
                               .bytes = segment->bytes,
                               .dead = segment->dead,
                               .dead_bytes = segment->dead == NULL ? 0 : (uint32_t)((span + 7) / 8),
                               .residents = segment->resident_count};
    for (uint64_t q = segment->first; q <= segment->last; q++)
        directory.live += !slc_tool_segment_dead(segment, q);
    slc_directory_resident *residents =
        slc_alloc((segment->resident_count + 1u) * sizeof *residents);
    for (uint32_t i = 0; i < segment->resident_count; i++)
        residents[i] = (slc_directory_resident){.qseq = segment->residents[i].qseq,
                                                .first_lsn = segment->residents[i].first_lsn,
                                                .bytes = segment->residents[i].bytes,
                                                .parts = segment->residents[i].parts};
    uint32_t bytes = slc_directory_encode(value, w->shard->id, segment->qid, segment->first,
                                          &directory, residents);
    put(w, w->dbis[DB_SMD], slc_slice_of(key, sizeof key), slc_slice_of(value, bytes));
    slc_free(residents);
}

static void queues_write(writing *w)
{
    tool_queue *queue, *next;
    HASH_ITER(hh, w->shard->queues, queue, next)
    {
        if (!queue->known)
            continue;
        slc_queue_value made = queue->value;
        if (queue->rebuilt) {
            if (made.next_qseq <= queue->highest)
                made.next_qseq = queue->highest + 1;
            made.delivered = made.next_qseq - 1;
        }
        uint8_t value[SLC_QUEUE_VALUE_BYTES];
        slc_queue_value_encode(value, w->shard->id, queue->qid, &made);
        uint32_t key = htobe32(queue->qid);
        put(w, w->dbis[DB_QUE], slc_slice_of(&key, sizeof key), slc_slice_of(value, sizeof value));
    }
}

static void shard_write(writing *w, tool_shard *shard)
{
    static const char *const kinds[DB_COUNT] = {"st", "log", "que", "res", "seg", "smd"};
    char names[DB_COUNT][16];
    w->shard = shard;
    for (int i = 0; i < DB_COUNT; i++) {
        snprintf(names[i], sizeof names[i], "%04x.%s", shard->id, kinds[i]);
        if (w->rc == SLC_OK)
            (void)write_failed(w, mdb_dbi_open(w->txn, names[i], MDB_CREATE, &w->dbis[i]),
                               names[i]);
    }
    txn_turn(w, true); // handles of a transaction that is committed stay valid for the others
    log_write(w);
    (void)slc_pages_walk(&w->s->pages, names[DB_RES], &shard->trees[DB_RES], false, false, 0,
                         part_each, w);
    (void)slc_pages_walk(&w->s->pages, names[DB_SEG], &shard->trees[DB_SEG], false, false, 0,
                         segment_each, w);
    for (uint32_t i = 0; i < shard->segment_count; i++)
        if (segment_stays(shard, &shard->segments[i]))
            record_write(w, &shard->segments[i]);
    queues_write(w);
    slc_shard_state state = shard->state;
    state.log_start = w->log_start;
    // Recovery takes it for the end of a batch; a lower one is right too.
    state.hw = (w->last_flags & SLC_CHUNK_BATCH_END) != 0 ? w->last_lsn : w->log_start - 1;
    uint8_t value[SLC_STATE_BYTES];
    slc_state_encode(value, shard->id, &state);
    put(w, w->dbis[DB_ST], slc_slice_str("s"), slc_slice_of(value, sizeof value));
}

static void sys_write(writing *w)
{
    uint8_t format[4], tick[8], clean = 0;
    slc_put32(format, SLC_FORMAT_VERSION);
    slc_put64(tick, slc_clock_wall_ms());
    if (!w->s->has_uuid)
        slc_random_bytes(w->s->uuid, sizeof w->s->uuid);
    (void)write_failed(w, mdb_dbi_open(w->txn, "sys", MDB_CREATE, &w->sys), "sys");
    put(w, w->sys, slc_slice_str("format"), slc_slice_of(format, sizeof format));
    put(w, w->sys, slc_slice_str("env_uuid"), slc_slice_of(w->s->uuid, sizeof w->s->uuid));
    put(w, w->sys, slc_slice_str("clean"), slc_slice_of(&clean, 1));
    put(w, w->sys, slc_slice_str("tick"), slc_slice_of(tick, sizeof tick));
}

static slc_err file_write(tool_survey *s, const char *path, slc_error *error)
{
    writing w = {.s = s, .error = error};
    (void)unlink(path); // of a salvage that was interrupted
    if (write_failed(&w, mdb_env_create(&w.env), path))
        return w.rc;
    mdb_env_set_maxdbs(w.env, DB_COUNT * s->shard_count + 1);
    mdb_env_set_mapsize(w.env, s->pages.file_bytes * 2 + (64 << 20));
    int code = mdb_env_open(w.env, path, MDB_NOSUBDIR | MDB_NOLOCK | MDB_NOSYNC | MDB_NOTLS, 0600);
    if (!write_failed(&w, code, path) &&
        !write_failed(&w, mdb_txn_begin(w.env, NULL, 0, &w.txn), path)) {
        sys_write(&w);
        for (uint32_t i = 0; i < s->shard_count; i++)
            shard_write(&w, &s->shards[i]);
        txn_turn(&w, false);
    }
    if (w.txn != NULL)
        mdb_txn_abort(w.txn);
    if (w.rc == SLC_OK)
        (void)write_failed(&w, mdb_env_sync(w.env, 1), "flushing the new file");
    mdb_env_close(w.env);
    return w.rc;
}

static slc_err salvage_with(tool_survey *s, const slc_store_report *found, char *kept,
                            size_t kept_room, slc_error *error)
{
    char path[TOOL_PATH_BYTES];
    if (!slc_tool_path(s->tool, new_file, path))
        return slc_error_set(error, SLC_EINVAL, "the path of the store is too long");
    if (s->newer)
        return slc_error_set(error, SLC_EVERSION,
                             "a newer program wrote into this store: salvage it with that one");
    if (s->shard_count == 0)
        return slc_error_set(
            error, SLC_ECORRUPT,
            "no database of the store can be found in it: nothing can be salvaged");
    slc_err rc = file_write(s, path, error);
    if (rc == SLC_OK)
        rc = slc_tool_verify(s->tool, new_file, found->messages, error);
    struct tm now;
    time_t seconds = (time_t)(slc_clock_wall_ms() / 1000);
    if (gmtime_r(&seconds, &now) == NULL)
        now = (struct tm){0};
    char keep[64];
    strftime(keep, sizeof keep, "data.mdb.damaged-%Y%m%dT%H%M%SZ", &now);
    if (rc == SLC_OK)
        rc = slc_tool_replace(s->tool, new_file, keep, error);
    if (rc == SLC_OK)
        snprintf(kept, kept_room, "%s", keep);
    else
        (void)unlink(path);
    return rc;
}

slc_err slc_store_salvage(const slc_store_tool *tool, slc_store_report *out, char *kept,
                          size_t kept_room, slc_error *error)
{
    tool_survey s;
    slc_error first = {0};
    kept[0] = 0;
    slc_err rc = slc_tool_survey(&s, tool, "data.mdb", true, out, &first);
    if (rc != SLC_OK)
        slc_error_set(error, rc, "%s", first.text);
    else if (out->damages > 0)
        rc = salvage_with(&s, out, kept, kept_room, error);
    slc_tool_survey_free(&s);
    return rc;
}
