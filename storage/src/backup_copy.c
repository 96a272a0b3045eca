// The thread that copies a store while it works.
//
// Every read transaction is short (STORE_READ_VALUES values or STORE_READ_NS): LMDB reuses no page that a reader may see, and
// one long reader would make the file grow without bound. So the copy is not of one moment, but fuzzy: parts of it are
// older than others. The log makes it whole, as it does after a crash. In this order:
//
//   0. The loop, between two jobs: L0 is the first chunk of the log; from now on chunks leave only after they were copied, and
//      segments are not merged.
//   1. .smd and .seg in key order, a segment and its record in one read transaction. Only segments that were there at 0: what
//      moves later stands in the copied log, too.
//   2. .res in key order, as far as it went at 0.                      All the time, in between: .log from L0 on, as it grows.
//   3. The last read transaction: what of .log and .res is left (little, or this is not the last one), and .que, .st.
//      E is its last chunk that ended a batch. Only chunks and parts of ended batches are ever copied: the numbers of others may be
//      given again (space.c).
//
// What recovery makes of it is what it would have made of the store after 3. Take a message with position s of queue q:
//
//   (a) A segment never has a live message in its range, first to last, that is not in it. It is made of all messages that live
//       in a stretch of the queue, dropped ones are left out only when their drop is in an ended batch (migrate.c:
//       queue_ready), and later messages have higher positions. A merge would break this for copies: its result covers more
//       than its sources did; hence none while a copy runs, and the one under way is waited for (0).
//       The same keeps the ranges of copied segments apart, though they were not all there at the same time.
//   (b) It lives at E in the log only. Its chunk is >= L0, so it is copied, and no copied segment covers s, by (a): live.
//   (c) It lives at E in a segment. Was that there at 0: it was copied, with a record in which s is live.
//       Was it made later: then s stood in the log meanwhile, in a chunk >= L0, which was copied, and (b) holds.
//   (d) It was dropped by a record below L0, which left the log before 0: then its own chunk left as well, and a segment's
//       record had the drop before that (chores.c: job_mark_segments), in a transaction before 0. Dropped.
//   (e) It was dropped by a record from L0 to E: that is copied, and ends it wherever the copy has it.
//   (f) A segment that was deleted, before the copy came to it or after: all of it was dropped, (d) and (e), or its
//       queue is gone from .que, which is read last.
//   (g) Parts: those that live at E were there when the copy came to their key, since parts come with ascending numbers; those
//       above the copy's place are read in 3. Parts of what was dropped meanwhile may be absent; nothing names them.
//
// log_start of the copy is L0: chunks and LSNs are dense from there to E. Chunks that the store deletes after they were copied
// are dead ones to the copy's recovery, which lets them go.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "backup_impl.h"

typedef struct taken_value {
    uint32_t shard; // index
    uint8_t kind;
    uint8_t key_bytes;
    uint8_t key[SLC_SEGMENT_KEY_BYTES];
    uint32_t bytes;
    size_t offset;
} taken_value;

typedef struct copy {
    slc_store_backup *b;
    slc_error *error;
    MDB_txn *read;
    uint64_t read_since_ns;
    uint32_t read_values; // in this read transaction
    // values that were read and not written yet
    taken_value *values;
    uint32_t value_count, value_capacity;
    uint8_t *bytes;
    size_t bytes_used, bytes_room;
    // the copy
    MDB_env *env;
    MDB_dbi sys;
    MDB_txn *write;
    uint64_t written, unsynced; // in this transaction; since the last sync
    uint64_t pace_ns;           // when the next value of what is rate limited may be read
} copy;

static const char *const kind_names[BACKUP_KINDS] = {"st", "log", "que", "res", "seg", "smd"};

static bool stopped(const copy *c)
{
    return atomic_load(&c->b->stop);
}

static slc_err stop_error(copy *c)
{
    return slc_error_set(c->error, SLC_ECLOSED, "the backup was stopped");
}

/* ---- reading ---- */

static slc_err look_begin(copy *c)
{
    int code = c->read == NULL ? mdb_txn_begin(c->b->store->env, NULL, MDB_RDONLY, &c->read)
                               : mdb_txn_renew(c->read);
    c->read_since_ns = slc_clock_now_ns();
    c->read_values = 0;
    return slc_store_env_error(code, c->error, "reading the store");
}

static void look_end(copy *c)
{
    mdb_txn_reset(c->read);
    uint64_t age = slc_clock_now_ns() - c->read_since_ns;
    if (age > atomic_load(&c->b->read_longest_ns))
        atomic_store(&c->b->read_longest_ns, age);
}

static bool look_full(const copy *c)
{
    return c->read_values >= STORE_READ_VALUES ||
           slc_clock_now_ns() - c->read_since_ns >= STORE_READ_NS;
}

static void value_take(copy *c, uint32_t shard, backup_kind kind, MDB_val key, MDB_val data)
{
    SLC_ASSERT(key.mv_size <= SLC_SEGMENT_KEY_BYTES);
    if (c->bytes_room - c->bytes_used < data.mv_size) {
        c->bytes_room = c->bytes_room * 2 + data.mv_size + (1 << 20);
        c->bytes = slc_realloc(c->bytes, c->bytes_room);
    }
    slc_store_value_need(&data);
    memcpy(c->bytes + c->bytes_used, data.mv_data, data.mv_size);
    taken_value *value = STORE_PUSH(c->values, c->value_count, c->value_capacity);
    *value = (taken_value){.shard = shard,
                           .kind = (uint8_t)kind,
                           .key_bytes = (uint8_t)key.mv_size,
                           .bytes = (uint32_t)data.mv_size,
                           .offset = c->bytes_used};
    memcpy(value->key, key.mv_data, key.mv_size);
    c->bytes_used += data.mv_size;
    c->read_values++;
}

static slc_err key_error(copy *c, const slc_backup_shard *s, backup_kind kind)
{
    return slc_error_set(c->error, SLC_ECORRUPT, "a key of %04x.%s has a wrong size", s->id,
                         kind_names[kind]);
}

// The last chunk that ended a batch, as this read transaction sees it.
static slc_err end_look(copy *c, slc_backup_shard *s)
{
    MDB_cursor *cursor;
    int code = mdb_cursor_open(c->read, s->from[BACKUP_LOG], &cursor);
    if (code != 0)
        return slc_store_env_error(code, c->error, "reading the log");
    slc_err rc = SLC_OK;
    // What was copied may have left the log: its parts count as well.
    s->end_lsn = atomic_load(&s->log_copied);
    MDB_val key, data;
    for (code = mdb_cursor_get(cursor, &key, &data, MDB_LAST); code == 0;
         code = mdb_cursor_get(cursor, &key, &data, MDB_PREV)) {
        uint64_t lsn;
        if (key.mv_size != sizeof lsn || data.mv_size < SLC_CHUNK_HEAD_BYTES) {
            rc = key_error(c, s, BACKUP_LOG);
            break;
        }
        memcpy(&lsn, key.mv_data, sizeof lsn);
        if ((((const uint8_t *)data.mv_data)[1] & SLC_CHUNK_BATCH_END) == 0)
            continue;
        if (s->end_lsn < be64toh(lsn))
            s->end_lsn = be64toh(lsn);
        break;
    }
    mdb_cursor_close(cursor);
    if (rc == SLC_OK && code != 0 && code != MDB_NOTFOUND)
        rc = slc_store_env_error(code, c->error, "reading the log");
    return rc;
}

// Chunks or parts from *copied + 1 to the end of the last batch, until full(). *through: that was reached.
static slc_err lsn_take(copy *c, uint32_t index, backup_kind kind, uint64_t *copied,
                        uint64_t end_lsn, bool last, bool *through)
{
    slc_backup_shard *s = &c->b->shards[index];
    *through = false;
    MDB_cursor *cursor;
    int code = mdb_cursor_open(c->read, s->from[kind], &cursor);
    if (code != 0)
        return slc_store_env_error(code, c->error, "reading the store");
    uint64_t from = htobe64(*copied + 1), lsn;
    MDB_val key = {.mv_size = sizeof from, .mv_data = &from}, data;
    slc_err rc = SLC_OK;
    for (code = mdb_cursor_get(cursor, &key, &data, MDB_SET_RANGE); code == 0;
         code = mdb_cursor_get(cursor, &key, &data, MDB_NEXT)) {
        if (key.mv_size != sizeof lsn || data.mv_size > SLC_CHUNK_VALUE_MAX) {
            rc = key_error(c, s, kind);
            break;
        }
        memcpy(&lsn, key.mv_data, sizeof lsn);
        lsn = be64toh(lsn);
        if (lsn > end_lsn) {
            code = MDB_NOTFOUND;
            break;
        }
        if (last ? c->bytes_used >= BACKUP_LAST_BYTES : look_full(c))
            break;
        value_take(c, index, kind, key, data);
        *copied = lsn;
    }
    mdb_cursor_close(cursor);
    *through = rc == SLC_OK && code == MDB_NOTFOUND;
    if (rc == SLC_OK && code != 0 && code != MDB_NOTFOUND)
        rc = slc_store_env_error(code, c->error, "reading the store");
    return rc;
}

// Was the segment under key there at the beginning? If not, *key is where to look next, or nothing is left (MDB_NOTFOUND).
static int segment_wanted(slc_backup_shard *s, MDB_val *key, uint8_t seek[SLC_SEGMENT_KEY_BYTES])
{
    uint32_t qid;
    uint64_t first;
    if (key->mv_size != SLC_SEGMENT_KEY_BYTES)
        return 0; // the caller refuses it
    memcpy(&qid, key->mv_data, sizeof qid);
    memcpy(&first, (const uint8_t *)key->mv_data + sizeof qid, sizeof first);
    qid = be32toh(qid);
    first = be64toh(first);
    while (s->bound_at < s->bound_count &&
           (s->bounds[s->bound_at].qid < qid ||
            (s->bounds[s->bound_at].qid == qid && s->bounds[s->bound_at].first < first)))
        s->bound_at++;
    if (s->bound_at == s->bound_count)
        return MDB_NOTFOUND;
    if (s->bounds[s->bound_at].qid == qid)
        return 0;
    slc_segment_key(seek, s->bounds[s->bound_at].qid, 0);
    *key = (MDB_val){.mv_size = SLC_SEGMENT_KEY_BYTES, .mv_data = seek};
    return MDB_KEYEXIST;
}

static slc_err segments_take(copy *c, uint32_t index)
{
    slc_backup_shard *s = &c->b->shards[index];
    MDB_cursor *cursor;
    int code = mdb_cursor_open(c->read, s->from[BACKUP_SMD], &cursor);
    if (code != 0)
        return slc_store_env_error(code, c->error, "reading the segments");
    slc_err rc = SLC_OK;
    MDB_val key = {.mv_size = sizeof s->segment_last, .mv_data = s->segment_last}, record, value;
    code = mdb_cursor_get(cursor, &key, &record, s->segment_any ? MDB_SET_RANGE : MDB_FIRST);
    // It may be gone meanwhile.
    if (code == 0 && s->segment_any && key.mv_size == sizeof s->segment_last &&
        memcmp(key.mv_data, s->segment_last, sizeof s->segment_last) == 0)
        code = mdb_cursor_get(cursor, &key, &record, MDB_NEXT);
    uint8_t seek[SLC_SEGMENT_KEY_BYTES];
    for (; code == 0 && !look_full(c); code = mdb_cursor_get(cursor, &key, &record, MDB_NEXT)) {
        while (code == 0 && (code = segment_wanted(s, &key, seek)) == MDB_KEYEXIST)
            code = mdb_cursor_get(cursor, &key, &record, MDB_SET_RANGE);
        if (code != 0)
            break;
        if (key.mv_size != SLC_SEGMENT_KEY_BYTES || record.mv_size > SLC_DIRECTORY_MAX) {
            rc = key_error(c, s, BACKUP_SMD);
            break;
        }
        code = mdb_get(c->read, s->from[BACKUP_SEG], &key, &value);
        if (code != 0 || value.mv_size > SLC_CHUNK_VALUE_MAX) {
            rc = slc_error_set(c->error, SLC_ECORRUPT,
                               "shard %04x: a directory record has no segment", s->id);
            break;
        }
        value_take(c, index, BACKUP_SEG, key, value);
        value_take(c, index, BACKUP_SMD, key, record);
        memcpy(s->segment_last, key.mv_data, sizeof s->segment_last);
        s->segment_any = true;
    }
    mdb_cursor_close(cursor);
    s->segments_through = rc == SLC_OK && code == MDB_NOTFOUND;
    if (rc == SLC_OK && code != 0 && code != MDB_NOTFOUND)
        rc = slc_store_env_error(code, c->error, "reading the segments");
    return rc;
}

static slc_err queues_take(copy *c, uint32_t index)
{
    slc_backup_shard *s = &c->b->shards[index];
    MDB_cursor *cursor;
    int code = mdb_cursor_open(c->read, s->from[BACKUP_QUE], &cursor);
    if (code != 0)
        return slc_store_env_error(code, c->error, "reading the queues");
    slc_err rc = SLC_OK;
    MDB_val key, data;
    while (rc == SLC_OK && (code = mdb_cursor_get(cursor, &key, &data, MDB_NEXT)) == 0) {
        if (key.mv_size != sizeof(uint32_t) || data.mv_size > SLC_CHUNK_VALUE_MAX)
            rc = key_error(c, s, BACKUP_QUE);
        else
            value_take(c, index, BACKUP_QUE, key, data);
    }
    mdb_cursor_close(cursor);
    return rc != SLC_OK || code == MDB_NOTFOUND
               ? rc
               : slc_store_env_error(code, c->error, "reading the queues");
}

static slc_err state_look(copy *c, slc_backup_shard *s)
{
    MDB_val key = {.mv_size = 1, .mv_data = (void *)"s"}, data;
    int code = mdb_get(c->read, s->from[BACKUP_ST], &key, &data);
    s->state = (slc_shard_state){.log_start = 1, .next_qid = 1, .next_res = 1};
    if (code == MDB_NOTFOUND)
        return SLC_OK;
    if (code != 0)
        return slc_store_env_error(code, c->error, "reading the shard state");
    return slc_state_decode(slc_slice_of(data.mv_data, data.mv_size), s->id, &s->state, c->error);
}

/* ---- writing ---- */

// No copy of what is damaged: recovery of the copy would refuse it, or, worse, serve it.
static slc_err value_check(copy *c, const taken_value *value)
{
    slc_slice in = slc_slice_of(c->bytes + value->offset, value->bytes);
    uint16_t shard = c->b->shards[value->shard].id;
    uint64_t lsn = 0, first = 0;
    uint32_t qid = 0, count;
    slc_err rc = SLC_OK;
    slc_chunk_head head;
    slc_slice body;
    slc_directory directory;
    slc_queue_value queue;
    switch ((backup_kind)value->kind) {
    case BACKUP_LOG:
    case BACKUP_RES:
        memcpy(&lsn, value->key, sizeof lsn);
        rc = slc_chunk_open(in, shard, be64toh(lsn), &head, &body, c->error);
        break;
    case BACKUP_SEG:
    case BACKUP_SMD:
        rc = slc_segment_key_decode(slc_slice_of(value->key, value->key_bytes), &qid, &first,
                                    c->error);
        if (rc == SLC_OK && value->kind == BACKUP_SEG)
            rc = slc_segment_open(in, shard, qid, first, &count, c->error);
        else if (rc == SLC_OK)
            rc = slc_directory_decode(in, shard, qid, first, &directory, c->error);
        break;
    case BACKUP_QUE:
        memcpy(&qid, value->key, sizeof qid);
        rc = slc_queue_value_decode(in, shard, be32toh(qid), &queue, c->error);
        break;
    case BACKUP_ST:
    case BACKUP_KINDS:
        SLC_ASSERT(false);
        break;
    }
    if (rc == SLC_OK)
        return SLC_OK;
    char key[2 * SLC_SEGMENT_KEY_BYTES + 1] = {0};
    for (uint32_t i = 0; i < value->key_bytes; i++)
        snprintf(key + (size_t)i * 2, 3, "%02x", value->key[i]);
    slc_error_wrap(c->error, "the store is damaged (key %s of %04x.%s)", key, shard,
                   kind_names[value->kind]);
    return rc;
}

static slc_err room_check(copy *c, uint64_t wanted)
{
    struct statvfs fs;
    if (statvfs(c->b->dir, &fs) != 0)
        return SLC_OK;
    uint64_t left = (uint64_t)fs.f_bavail * fs.f_frsize;
    if (left >= wanted && left - wanted >= c->b->options.keep_free_bytes)
        return SLC_OK;
    return slc_error_set(c->error, SLC_ENOSPC,
                         "the disk of %s has %" PRIu64 " MiB left; the backup needs %" PRIu64
                         " MiB, and %" PRIu64 " MiB must stay free (disk_free_limit)",
                         c->b->dir, left >> 20, wanted >> 20, c->b->options.keep_free_bytes >> 20);
}

static slc_err write_begin(copy *c)
{
    if (c->write != NULL)
        return SLC_OK;
    return slc_store_env_error(mdb_txn_begin(c->env, NULL, 0, &c->write), c->error,
                               "writing the backup");
}

static slc_err write_commit(copy *c)
{
    if (c->write == NULL)
        return SLC_OK;
    // Until it is known how much there is, nothing that takes room is written, and no figure could be named.
    slc_err rc = atomic_load(&c->b->bytes_total) > 0 ? room_check(c, c->written) : SLC_OK;
    if (rc == SLC_OK && SLC_FAILPOINT("backup.commit", &rc))
        slc_error_set(c->error, rc, "backup.commit");
    if (rc != SLC_OK) {
        mdb_txn_abort(c->write);
        c->write = NULL;
        return rc;
    }
    int code = slc_store_env_commit(c->write);
    c->write = NULL;
    c->unsynced += c->written;
    c->written = 0;
    if (code == 0 && c->unsynced >= BACKUP_SYNC_BYTES) {
        code = mdb_env_sync(c->env, 1);
        c->unsynced = 0;
    }
    return slc_store_env_error(code, c->error, "writing the backup");
}

static slc_err value_put(copy *c, MDB_dbi dbi, MDB_val key, MDB_val data, unsigned flags)
{
    slc_err rc = write_begin(c);
    if (rc != SLC_OK)
        return rc;
    c->written += data.mv_size + 128;
    return slc_store_env_error(mdb_put(c->write, dbi, &key, &data, flags), c->error,
                               "writing the backup");
}

static slc_err values_write(copy *c)
{
    slc_store_backup *b = c->b;
    slc_err rc = SLC_OK;
    for (uint32_t i = 0; i < c->value_count && rc == SLC_OK; i++) {
        taken_value *value = &c->values[i];
        slc_backup_shard *s = &b->shards[value->shard];
        rc = value_check(c, value);
        if (rc != SLC_OK)
            break;
        MDB_val key = {.mv_size = value->key_bytes, .mv_data = value->key};
        MDB_val data = {.mv_size = value->bytes, .mv_data = c->bytes + value->offset};
        rc = value_put(c, s->to[value->kind], key, data, MDB_APPEND);
        if (value->kind == BACKUP_LOG)
            s->log_bytes += slc_store_env_takes(b->store, value->bytes);
        _Atomic uint64_t *const counts[BACKUP_KINDS] = {[BACKUP_LOG] = &b->chunks,
                                                        [BACKUP_RES] = &b->parts,
                                                        [BACKUP_SEG] = &b->segments,
                                                        [BACKUP_QUE] = &b->queues};
        if (counts[value->kind] != NULL)
            atomic_fetch_add(counts[value->kind], 1);
        atomic_fetch_add(&b->bytes, value->bytes);
        if (rc == SLC_OK && c->written >= BACKUP_COMMIT_BYTES)
            rc = write_commit(c);
    }
    c->value_count = 0;
    c->bytes_used = 0;
    return rc;
}

/* ---- the copy's environment ---- */

// Address space of map_bytes, and no file blocks. Nobody else opens it, and nothing counts before the last sync.
static int target_map(copy *c, uint64_t map_bytes)
{
    int code = mdb_env_create(&c->env);
    if (code != 0)
        return code;
    mdb_env_set_mapsize(c->env, map_bytes);
    mdb_env_set_maxdbs(c->env, c->b->shard_count * BACKUP_KINDS + 1);
    code = mdb_env_open(c->env, c->b->dir, MDB_NOSYNC | MDB_NOLOCK | MDB_NOTLS, 0640);
    if (code != 0) {
        mdb_env_close(c->env);
        c->env = NULL;
    }
    return code;
}

static slc_err target_open(copy *c)
{
    slc_store_backup *b = c->b;
    // The log of the copy has all that came in meanwhile, so it may become larger than the store. Where addresses are
    // scarce (ulimit -v, a sanitizer), less has to do.
    int code = target_map(c, 2 * b->store->map_size);
    if (code == ENOMEM)
        code = target_map(c, b->store->map_size);
    if (code != 0)
        return slc_store_env_error(code, c->error, b->dir);
    slc_err rc = write_begin(c);
    if (rc == SLC_OK)
        rc = slc_store_env_error(mdb_dbi_open(c->write, "sys", MDB_CREATE, &c->sys), c->error,
                                 "writing the backup");
    for (uint32_t i = 0; i < b->shard_count && rc == SLC_OK; i++) {
        for (uint32_t kind = 0; kind < BACKUP_KINDS && rc == SLC_OK; kind++) {
            char name[16];
            snprintf(name, sizeof name, "%04x.%s", b->shards[i].id, kind_names[kind]);
            rc = slc_store_env_error(
                mdb_dbi_open(c->write, name, MDB_CREATE, &b->shards[i].to[kind]), c->error, name);
        }
    }
    return rc == SLC_OK ? write_commit(c) : rc;
}

static slc_err sys_write(copy *c)
{
    uint8_t format[4], uuid[16], clean = 0;
    slc_put32(format, SLC_FORMAT_VERSION);
    slc_random_bytes(uuid, sizeof uuid);
    const struct {
        const char *name;
        void *data;
        size_t bytes;
    } entries[] = {{"format", format, sizeof format},
                   {"env_uuid", uuid, sizeof uuid},
                   {"clean", &clean, sizeof clean}};
    slc_err rc = SLC_OK;
    for (uint32_t i = 0; i < SLC_ARRAY_COUNT(entries) && rc == SLC_OK; i++)
        rc = value_put(c, c->sys,
                       (MDB_val){.mv_size = strlen(entries[i].name),
                                 .mv_data = (void *)(uintptr_t)entries[i].name},
                       (MDB_val){.mv_size = entries[i].bytes, .mv_data = entries[i].data}, 0);
    return rc;
}

static slc_err states_write(copy *c)
{
    slc_err rc = SLC_OK;
    for (uint32_t i = 0; i < c->b->shard_count && rc == SLC_OK; i++) {
        slc_backup_shard *s = &c->b->shards[i];
        slc_shard_state state = s->state;
        state.log_start = s->log_start;
        state.hw = s->end_lsn;
        state.log_bytes = s->log_bytes;
        uint8_t bytes[SLC_STATE_BYTES];
        slc_state_encode(bytes, s->id, &state);
        rc = value_put(c, s->to[BACKUP_ST], (MDB_val){.mv_size = 1, .mv_data = (void *)"s"},
                       (MDB_val){.mv_size = sizeof bytes, .mv_data = bytes}, 0);
    }
    return rc;
}

/* ---- the steps ---- */

// The size of what there is, and the beginning of the log as the disk has it.
static slc_err begin_look(copy *c)
{
    slc_store_backup *b = c->b;
    static const backup_kind counted[] = {BACKUP_LOG, BACKUP_RES, BACKUP_SEG, BACKUP_SMD};
    slc_err rc = look_begin(c);
    if (rc != SLC_OK)
        return rc;
    uint64_t total = 0;
    for (uint32_t i = 0; i < b->shard_count && rc == SLC_OK; i++) {
        for (uint32_t k = 0; k < SLC_ARRAY_COUNT(counted); k++) {
            MDB_stat stat;
            if (mdb_stat(c->read, b->shards[i].from[counted[k]], &stat) == 0)
                total += (stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages) *
                         (uint64_t)stat.ms_psize;
        }
        rc = state_look(c, &b->shards[i]);
        if (rc == SLC_OK)
            rc = end_look(c, &b->shards[i]);
        b->shards[i].res_begin_end = b->shards[i].end_lsn;
        if (rc == SLC_OK && b->shards[i].state.log_start != b->shards[i].log_start)
            rc = slc_error_set(c->error, SLC_EINTERNAL,
                               "shard %04x: the log begins at %" PRIu64 ", not at %" PRIu64,
                               b->shards[i].id, b->shards[i].state.log_start,
                               b->shards[i].log_start);
    }
    look_end(c);
    atomic_store(&b->bytes_total, total);
    return rc == SLC_OK ? room_check(c, total) : rc;
}

// Copy of each log what is there, within bounds: this is what keeps the store's file from growing.
static slc_err logs_pump(copy *c)
{
    slc_err rc = SLC_OK;
    for (uint32_t i = 0; i < c->b->shard_count && rc == SLC_OK; i++) {
        slc_backup_shard *s = &c->b->shards[i];
        bool through = false;
        for (uint32_t k = 0; k < BACKUP_PUMP_SLICES && !through && rc == SLC_OK; k++) {
            if (stopped(c))
                return stop_error(c);
            rc = look_begin(c);
            if (rc != SLC_OK)
                return rc;
            uint64_t copied = atomic_load(&s->log_copied);
            rc = end_look(c, s);
            if (rc == SLC_OK)
                rc = lsn_take(c, i, BACKUP_LOG, &copied, s->end_lsn, false, &through);
            look_end(c);
            if (rc == SLC_OK)
                atomic_store(&s->log_copied, copied);
            if (rc == SLC_OK)
                rc = values_write(c);
        }
    }
    return rc;
}

// Wait as the rate demands; the log does not.
static slc_err pace(copy *c, uint64_t bytes)
{
    uint64_t rate = c->b->options.bytes_per_s, now = slc_clock_now_ns();
    if (rate == 0)
        return SLC_OK;
    uint64_t burst_ns = SLC_NS_PER_S / 10, step_ns = 10 * SLC_NS_PER_MS;
    if (c->pace_ns + burst_ns < now)
        c->pace_ns = now - burst_ns;
    c->pace_ns += (uint64_t)((double)bytes * (double)SLC_NS_PER_S / (double)rate);
    slc_err rc = SLC_OK;
    while (rc == SLC_OK && (now = slc_clock_now_ns()) < c->pace_ns) {
        uint64_t left = c->pace_ns - now;
        struct timespec wait = {.tv_nsec = (long)(left < step_ns ? left : step_ns)};
        nanosleep(&wait, NULL);
        rc = logs_pump(c);
    }
    return rc;
}

static slc_err bulk_step(copy *c, uint32_t index, backup_kind kind)
{
    slc_backup_shard *s = &c->b->shards[index];
    slc_err rc = logs_pump(c);
    if (rc == SLC_OK)
        rc = look_begin(c);
    if (rc != SLC_OK)
        return rc;
    if (kind == BACKUP_SEG) {
        rc = segments_take(c, index);
    } else {
        rc = lsn_take(c, index, BACKUP_RES, &s->res_copied, s->res_begin_end, false,
                      &s->res_through);
    }
    look_end(c);
    uint64_t bytes = c->bytes_used;
    if (rc == SLC_OK)
        rc = values_write(c);
    return rc == SLC_OK ? pace(c, bytes) : rc;
}

static slc_err bulk_copy(copy *c)
{
    slc_err rc = SLC_OK;
    for (uint32_t i = 0; i < c->b->shard_count; i++)
        while (rc == SLC_OK && !c->b->shards[i].segments_through)
            rc = bulk_step(c, i, BACKUP_SEG);
    for (uint32_t i = 0; i < c->b->shard_count; i++)
        while (rc == SLC_OK && !c->b->shards[i].res_through)
            rc = bulk_step(c, i, BACKUP_RES);
    return rc;
}

// What is left of logs and parts, in one read transaction, and then the rest of it; *last when all of it fitted.
static slc_err last_look(copy *c, bool *last)
{
    slc_err rc = look_begin(c);
    if (rc != SLC_OK)
        return rc;
    *last = true;
    for (uint32_t i = 0; i < c->b->shard_count && rc == SLC_OK; i++) {
        slc_backup_shard *s = &c->b->shards[i];
        uint64_t copied = atomic_load(&s->log_copied);
        bool log_through = false, res_through = false;
        rc = end_look(c, s);
        if (rc == SLC_OK)
            rc = lsn_take(c, i, BACKUP_LOG, &copied, s->end_lsn, true, &log_through);
        if (rc == SLC_OK)
            rc = lsn_take(c, i, BACKUP_RES, &s->res_copied, s->end_lsn, true, &res_through);
        if (rc == SLC_OK)
            atomic_store(&s->log_copied, copied);
        *last = *last && log_through && res_through;
    }
    for (uint32_t i = 0; i < c->b->shard_count && rc == SLC_OK && *last; i++) {
        rc = state_look(c, &c->b->shards[i]);
        if (rc == SLC_OK)
            rc = queues_take(c, i);
    }
    look_end(c);
    if (rc == SLC_OK && *last)
        atomic_store(&c->b->holds, false);
    return rc;
}

static slc_err tail_copy(copy *c)
{
    for (bool last = false; !last;) {
        if (stopped(c))
            return stop_error(c);
        slc_err rc = last_look(c, &last);
        if (rc == SLC_OK)
            rc = values_write(c);
        if (rc != SLC_OK)
            return rc;
    }
    return SLC_OK;
}

static slc_err dir_sync(copy *c)
{
    int fd = open(c->b->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0) {
        int code = errno;
        if (fd >= 0)
            close(fd);
        return slc_error_set(c->error, slc_err_from_errno(code), "syncing %s: %s", c->b->dir,
                             strerror(code));
    }
    close(fd);
    return SLC_OK;
}

static slc_err copy_run(copy *c)
{
    slc_err rc = target_open(c);
    if (rc == SLC_OK)
        rc = begin_look(c);
    if (rc == SLC_OK)
        rc = bulk_copy(c);
    if (rc == SLC_OK)
        rc = tail_copy(c);
    if (rc == SLC_OK)
        rc = states_write(c);
    if (rc == SLC_OK)
        rc = sys_write(c);
    if (rc == SLC_OK)
        rc = write_commit(c);
    if (rc == SLC_OK)
        rc = slc_store_env_error(mdb_env_sync(c->env, 1), c->error, "syncing the backup");
    if (rc == SLC_OK)
        rc = dir_sync(c);
    return rc == SLC_OK && stopped(c) ? stop_error(c) : rc;
}

void slc_backup_main(void *arg)
{
    slc_store_backup *b = arg;
    copy c = {.b = b, .error = &b->error};
    b->rc = copy_run(&c);
    atomic_store(&b->holds, false);
    if (c.read != NULL)
        mdb_txn_abort(c.read);
    if (c.write != NULL)
        mdb_txn_abort(c.write);
    if (c.env != NULL)
        mdb_env_close(c.env);
    slc_free(c.values);
    slc_free(c.bytes);
    if (b->rc != SLC_OK && b->dir_made) {
        char path[4096 + 16];
        snprintf(path, sizeof path, "%s/data.mdb", b->dir);
        unlink(path);
        rmdir(b->dir);
    }
    slc_mailbox_post(&b->mailbox, &b->mail);
}
