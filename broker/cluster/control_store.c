#include "cluster/control_store.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/lmdb_create.h"

enum { CONTROL_DIR_MODE = 0750, CONTROL_FILE_MODE = 0640 };

static const uint64_t control_map_bytes = 8ull << 30;

static slc_err store_code(int rc)
{
    switch (rc) {
    case MDB_SUCCESS:
        return SLC_OK;
    case MDB_MAP_FULL:
        return SLC_ENOSPC;
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID:
        return SLC_ECORRUPT;
    case MDB_VERSION_MISMATCH:
        return SLC_EVERSION;
    case MDB_PANIC:
        return SLC_EIO;
    case MDB_TXN_FULL:
        return SLC_ELIMIT;
    default:
        return rc > 0 ? slc_err_from_errno(rc) : SLC_EINTERNAL;
    }
}

static slc_err store_failed(const slc_control_store *store, int rc, const char *what,
                            slc_error *error)
{
    return slc_error_set(error, store_code(rc), "control store in %s: %s: %s", store->dir, what,
                         mdb_strerror(rc));
}

static void put_u64(uint8_t out[8], uint64_t value)
{
    for (uint32_t i = 0; i < 8; i++)
        out[i] = (uint8_t)(value >> (56 - 8 * i));
}

static uint64_t get_u64(const void *data)
{
    const uint8_t *in = data;
    uint64_t value = 0;
    for (uint32_t i = 0; i < 8; i++)
        value = value << 8 | in[i];
    return value;
}

static MDB_val val_of(const void *data, size_t bytes)
{
    return (MDB_val){.mv_size = bytes,
                     .mv_data = (void *)(uintptr_t)data}; // LMDB does not write through it
}

static MDB_val val_str(const char *text)
{
    return val_of(text, strlen(text));
}

// ---- opening

static slc_err store_meta(slc_control_store *store, MDB_txn *txn, slc_error *error)
{
    MDB_val key = val_str("format"), value;
    int rc = mdb_get(txn, store->meta, &key, &value);
    if (rc == MDB_NOTFOUND) {
        static const uint8_t format[4] = {0, 0, 0, SLC_CONTROL_FORMAT};
        value = val_of(format, sizeof format);
        rc = mdb_put(txn, store->meta, &key, &value, 0);
        return rc == 0 ? SLC_OK : store_failed(store, rc, "writing its format", error);
    }
    if (rc != 0)
        return store_failed(store, rc, "reading its format", error);
    const uint8_t *f = value.mv_data;
    if (value.mv_size != 4)
        return slc_error_set(error, SLC_ECORRUPT, "control store in %s: its format has %zu bytes",
                             store->dir, value.mv_size);
    uint32_t format = (uint32_t)f[0] << 24 | (uint32_t)f[1] << 16 | (uint32_t)f[2] << 8 | f[3];
    if (format != SLC_CONTROL_FORMAT)
        return slc_error_set(error, SLC_EVERSION,
                             "control store in %s has format %u, this daemon knows %d: it was "
                             "written by another version of Sluice",
                             store->dir, format, SLC_CONTROL_FORMAT);
    key = val_str("applied");
    rc = mdb_get(txn, store->meta, &key, &value);
    if (rc != 0 && rc != MDB_NOTFOUND)
        return store_failed(store, rc, "reading its last index", error);
    if (rc == 0 && value.mv_size != 8)
        return slc_error_set(error, SLC_ECORRUPT,
                             "control store in %s: its last index has %zu bytes", store->dir,
                             value.mv_size);
    store->applied = rc == 0 ? get_u64(value.mv_data) : 0;
    return SLC_OK;
}

static slc_err store_databases(slc_control_store *store, slc_error *error)
{
    MDB_txn *txn = NULL;
    int rc = mdb_txn_begin(store->env, NULL, 0, &txn);
    if (rc != 0)
        return store_failed(store, rc, "beginning a transaction", error);
    rc = mdb_dbi_open(txn, "meta", MDB_CREATE, &store->meta);
    if (rc == 0)
        rc = mdb_dbi_open(txn, "log", MDB_CREATE, &store->log);
    if (rc == 0)
        rc = mdb_dbi_open(txn, "state", MDB_CREATE, &store->state);
    if (rc != 0) {
        mdb_txn_abort(txn);
        return store_failed(store, rc, "opening its databases", error);
    }
    slc_err code = store_meta(store, txn, error);
    if (code != SLC_OK) {
        mdb_txn_abort(txn);
        return code;
    }
    rc = mdb_txn_commit(txn);
    return rc == 0 ? SLC_OK : store_failed(store, rc, "creating its databases", error);
}

slc_err slc_control_store_open(slc_control_store *store, const char *dir, uint64_t map_bytes,
                               slc_error *error)
{
    *store = (slc_control_store){.dir = slc_strdup(dir)};
    slc_err code = SLC_OK;
    if (mkdir(dir, CONTROL_DIR_MODE) != 0 && errno != EEXIST) {
        code = slc_error_set(error, slc_err_from_errno(errno), "cannot create the directory %s: %s",
                             dir, strerrordesc_np(errno));
        goto free_dir;
    }
    code = slc_lmdb_create(dir, CONTROL_FILE_MODE, error);
    if (code != SLC_OK)
        goto free_dir;
    int rc = mdb_env_create(&store->env);
    if (rc != 0) {
        code = store_failed(store, rc, "creating the environment", error);
        goto free_dir;
    }
    rc = mdb_env_set_maxdbs(store->env, 8);
    if (rc == 0)
        rc = mdb_env_set_mapsize(store->env,
                                 (size_t)(map_bytes == 0 ? control_map_bytes : map_bytes));
    // Full sync: no flag weakens it. NOTLS: a read transaction belongs to the code that holds it, not to its thread.
    if (rc == 0)
        rc = mdb_env_open(store->env, dir, MDB_NOTLS, CONTROL_FILE_MODE);
    if (rc != 0) {
        code = store_failed(store, rc, "opening it", error);
        goto close_env;
    }
    int stale = 0;
    rc = mdb_reader_check(store->env, &stale);
    if (rc != 0) {
        code = store_failed(store, rc, "looking for readers that are gone", error);
        goto close_env;
    }
    code = store_databases(store, error);
    if (code == SLC_OK)
        return SLC_OK;

close_env:
    mdb_env_close(store->env);
free_dir:
    slc_free(store->dir);
    return code;
}

void slc_control_store_close(slc_control_store *store)
{
    mdb_env_close(store->env);
    slc_free(store->dir);
}

// ---- loading

// The log must end with the command that the state says it has, and that command must be whole.
static slc_err store_check_log(const slc_control_store *store, MDB_txn *txn, slc_error *error)
{
    MDB_cursor *cursor = NULL;
    int rc = mdb_cursor_open(txn, store->log, &cursor);
    if (rc != 0)
        return store_failed(store, rc, "reading the log", error);
    MDB_val key, value;
    rc = mdb_cursor_get(cursor, &key, &value, MDB_LAST);
    slc_err code = SLC_OK;
    if (rc != 0 && rc != MDB_NOTFOUND) {
        code = store_failed(store, rc, "reading the log", error);
    } else if (rc == MDB_NOTFOUND || key.mv_size != 8 || get_u64(key.mv_data) != store->applied) {
        if (rc == 0 || store->applied != 0)
            code = slc_error_set(
                error, SLC_ECORRUPT,
                "control store in %s: the log does not end with command %llu, which the state has",
                store->dir, (unsigned long long)store->applied);
    } else {
        uint32_t count = 0;
        code = slc_control_command_check(slc_slice_of(value.mv_data, value.mv_size), &count);
        if (code != SLC_OK)
            slc_error_set(error, code, "control store in %s: command %llu in the log: %s",
                          store->dir, (unsigned long long)store->applied, slc_err_text(code));
    }
    mdb_cursor_close(cursor);
    return code;
}

slc_err slc_control_store_load(slc_control_store *store,
                               void (*apply)(const slc_control_change *change, uint64_t index,
                                             void *arg),
                               void *arg, slc_error *error)
{
    MDB_txn *txn = NULL;
    int rc = mdb_txn_begin(store->env, NULL, MDB_RDONLY, &txn);
    if (rc != 0)
        return store_failed(store, rc, "beginning to read", error);
    MDB_cursor *cursor = NULL;
    slc_err code = store_check_log(store, txn, error);
    if (code != SLC_OK)
        goto abort_txn;
    rc = mdb_cursor_open(txn, store->state, &cursor);
    if (rc != 0) {
        code = store_failed(store, rc, "reading the state", error);
        goto abort_txn;
    }
    MDB_val key, value;
    while ((rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
        slc_control_change change = {.key = slc_slice_of(key.mv_data, key.mv_size),
                                     .value = slc_slice_of(value.mv_data, value.mv_size)};
        apply(&change, store->applied, arg);
    }
    if (rc != MDB_NOTFOUND)
        code = store_failed(store, rc, "reading the state", error);
    mdb_cursor_close(cursor);

abort_txn:
    mdb_txn_abort(txn);
    return code;
}

// ---- appending

// LMDB 0.9.24 gives the same EIO for a file system that is full (a short write) and for a disk that fails. The first must be
// answered, the second must stop us, so the blocks are asked for before the writes: what fails after that is the disk.
// Commands that put keep some room free behind them, for the commands that delete once the disk is full.

// Pages that a transaction of these commands can need at most.
static uint64_t store_pages(const slc_control_store *store, MDB_txn *txn,
                            slc_control_command **commands, uint32_t count, uint32_t *page_bytes,
                            bool *puts)
{
    MDB_stat state = {0}, log = {0};
    int rc = mdb_stat(txn, store->state, &state);
    SLC_ASSERT(rc == 0);
    rc = mdb_stat(txn, store->log, &log);
    SLC_ASSERT(rc == 0);
    uint64_t bytes = 0, changes = 0;
    for (uint32_t i = 0; i < count; i++) {
        size_t at = 0;
        slc_control_change change;
        bytes += commands[i]->bytes.bytes;
        for (; slc_control_command_next(commands[i]->bytes, &at, &change); changes++)
            *puts = *puts || change.value.data != NULL;
    }
    // New content: pages half full after splits, and one page of rounding for each value that has pages of its own.
    uint64_t content = 2 * bytes / state.ms_psize + bytes / 1000 + 8;
    // Old pages that are copied: a path for each change, but no page twice.
    uint64_t copied = changes * 2 * (state.ms_depth + 1u);
    uint64_t tree = state.ms_branch_pages + state.ms_leaf_pages + 16;
    uint64_t pages = content + (copied < tree ? copied : tree);
    pages += content + 4 * (log.ms_depth + 2u) + count; // both ends of the log
    *page_bytes = state.ms_psize;
    return pages + pages / 256 + 32; // meta, and the list of free pages
}

static slc_err store_reserve(slc_control_store *store, MDB_txn *txn, slc_control_command **commands,
                             uint32_t count, slc_error *error)
{
    enum { CHUNK = 1024 * 1024, FOR_DELETES = 512 * 1024 };
    uint32_t page_bytes = 0;
    bool puts = false;
    uint64_t pages = store_pages(store, txn, commands, count, &page_bytes, &puts);
    MDB_envinfo info;
    int fd = -1;
    int rc = mdb_env_info(store->env, &info);
    SLC_ASSERT(rc == 0);
    rc = mdb_env_get_fd(store->env, &fd);
    SLC_ASSERT(rc == 0);
    uint64_t wanted = (info.me_last_pgno + 1 + pages) * page_bytes + (puts ? FOR_DELETES : 0);
    if (wanted > info.me_mapsize)
        wanted = info.me_mapsize; // LMDB says MDB_MAP_FULL where this ends
    if (wanted <= store->reserved)
        return SLC_OK;

    uint64_t generous = (wanted + CHUNK - 1) / CHUNK * CHUNK;
    if (fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)generous) == 0) {
        store->reserved = generous;
        return SLC_OK;
    }
    int result;
    do
        result = fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)wanted);
    while (result != 0 && errno == EINTR);
    if (result == 0) {
        store->reserved = wanted;
        return SLC_OK;
    }
    if (errno == EOPNOTSUPP ||
        errno == ENOSYS) { // a few network file systems: there a full disk stops us
        store->reserved = UINT64_MAX;
        return SLC_OK;
    }
    return slc_error_set(error, slc_err_from_errno(errno),
                         "control store in %s: room for a command: %s", store->dir,
                         strerrordesc_np(errno));
}

static int store_apply(const slc_control_store *store, MDB_txn *txn,
                       const slc_control_command *command)
{
    size_t at = 0;
    slc_control_change change;
    while (slc_control_command_next(command->bytes, &at, &change)) {
        MDB_val key = val_of(change.key.data, change.key.bytes);
        int rc;
        if (change.value.data == NULL) {
            rc = mdb_del(txn, store->state, &key, NULL);
            if (rc == MDB_NOTFOUND)
                rc = 0;
        } else {
            MDB_val value = val_of(change.value.data, change.value.bytes);
            rc = mdb_put(txn, store->state, &key, &value, 0);
        }
        if (rc != 0)
            return rc;
    }
    return 0;
}

// Commands that are not kept any more go from the front of the log.
static int store_trim(const slc_control_store *store, MDB_txn *txn, uint64_t last)
{
    MDB_cursor *cursor = NULL;
    int rc = mdb_cursor_open(txn, store->log, &cursor);
    if (rc != 0)
        return rc;
    MDB_val key, value;
    while ((rc = mdb_cursor_get(cursor, &key, &value, MDB_FIRST)) == 0) {
        if (get_u64(key.mv_data) + SLC_CONTROL_LOG_KEPT > last)
            break;
        rc = mdb_cursor_del(cursor, 0);
        if (rc != 0)
            break;
    }
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static int store_write(const slc_control_store *store, MDB_txn *txn, slc_control_command **commands,
                       uint32_t count)
{
    uint8_t number[8];
    for (uint32_t i = 0; i < count; i++) {
        commands[i]->index = store->applied + 1 + i;
        put_u64(number, commands[i]->index);
        MDB_val key = val_of(number, sizeof number);
        MDB_val value = val_of(commands[i]->bytes.data, commands[i]->bytes.bytes);
        int rc = mdb_put(txn, store->log, &key, &value, MDB_APPEND);
        if (rc == 0)
            rc = store_apply(store, txn, commands[i]);
        if (rc != 0)
            return rc;
    }
    put_u64(number, store->applied + count);
    MDB_val key = val_str("applied"), value = val_of(number, sizeof number);
    int rc = mdb_put(txn, store->meta, &key, &value, 0);
    return rc == 0 ? store_trim(store, txn, store->applied + count) : rc;
}

slc_err slc_control_store_append(slc_control_store *store, slc_control_command **commands,
                                 uint32_t count, bool half, slc_error *error)
{
    MDB_txn *txn = NULL;
    int rc = mdb_txn_begin(store->env, NULL, 0, &txn);
    if (rc != 0)
        return store_failed(store, rc, "beginning a transaction", error);
    slc_err code = store_reserve(store, txn, commands, count, error);
    if (code != SLC_OK) {
        mdb_txn_abort(txn);
        return code;
    }
    rc = store_write(store, txn, commands, count);
    if (rc != 0) {
        mdb_txn_abort(txn);
        return store_failed(store, rc, "writing a command", error);
    }
    if (half)
        kill(getpid(), SIGKILL);
    rc = mdb_txn_commit(txn);
    if (rc != 0)
        return store_failed(store, rc, "making a command durable", error);
    store->applied += count;
    return SLC_OK;
}
