// The LMDB environment: opening, formats, the clean marker, the ballast, and its error codes.
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/lmdb_create.h"
#include "store_impl.h"

enum { STORE_FILE_MODE = 0640, MAX_DBS = 4096, BALLAST_VALUE = SLC_CHUNK_VALUE_MAX };
enum {
    SLACK_BYTES = 2 << 20, // blocks behind the file's end for what gives space back
    RESERVE_STEP = 8 << 20,
};

slc_err slc_store_env_error(int rc, slc_error *error, const char *what)
{
    switch (rc) {
    case 0:
        return SLC_OK;
    case ENOSPC:
    case EDQUOT:
        return slc_error_set(error, SLC_ENOSPC, "%s: the disk is full", what);
    case MDB_MAP_FULL:
        return slc_error_set(error, SLC_ENOSPC,
                             "%s: the store has reached store.map_size, which a restart can raise",
                             what);
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID:
    case MDB_BAD_VALSIZE:
        return slc_error_set(error, SLC_ECORRUPT, "%s: %s", what, mdb_strerror(rc));
    case MDB_VERSION_MISMATCH:
        return slc_error_set(error, SLC_EVERSION, "%s: %s", what, mdb_strerror(rc));
    case MDB_KEYEXIST:
        return slc_error_set(error, SLC_EINTERNAL, "%s: the chunk number is not above the last one",
                             what);
    case ENOMEM:
        return slc_error_set(error, SLC_ENOMEM, "%s: %s", what, mdb_strerror(rc));
    case EACCES:
    case EPERM:
    case EROFS:
        return slc_error_set(error, SLC_EACCESS, "%s: %s", what, mdb_strerror(rc));
    default:
        return slc_error_set(error, SLC_EIO, "%s: %s", what, mdb_strerror(rc));
    }
}

// Each environment has lists of 2 MiB that calloc clears, of which a small broker needs nothing. From mmap they are clean and stay
// untouched; from the heap calloc writes zeros over all of it.
static void allocator_open(void)
{
#ifdef __GLIBC__
    mallopt(M_MMAP_THRESHOLD, 1 << 20);
#endif
}

static void allocator_tune(void)
{
#ifdef __GLIBC__
    malloc_trim(0); // what opening took (a new store writes its ballast) does not come back soon
    // LMDB takes every dirty page run from malloc and gives it back at the commit. With glibc's defaults those pages go
    // back to the kernel each time and are faulted in again.
    mallopt(M_MMAP_THRESHOLD, 32 << 20);
    mallopt(M_TRIM_THRESHOLD, 512 << 20);
    mallopt(M_TOP_PAD, 16 << 20);
#endif
}

static uint64_t map_size_default(const char *dir)
{
    uint64_t size = 64ull << 30;
    struct statvfs fs;
    if (statvfs(dir, &fs) == 0 && 2 * (uint64_t)fs.f_blocks * fs.f_frsize > size)
        size = 2 * (uint64_t)fs.f_blocks * fs.f_frsize;
    return size;
}

static slc_err dir_make(const char *dir, slc_error *error)
{
    if (mkdir(dir, 0750) != 0 && errno != EEXIST)
        return slc_error_set(error, slc_err_from_errno(errno),
                             "creating the store directory %s: %s", dir, strerror(errno));
    return SLC_OK;
}

static int sys_get(MDB_txn *txn, MDB_dbi dbi, const char *name, MDB_val *data)
{
    MDB_val key = {.mv_size = strlen(name), .mv_data = (void *)(uintptr_t)name};
    return mdb_get(txn, dbi, &key, data);
}

static int sys_put(MDB_txn *txn, MDB_dbi dbi, const char *name, const void *bytes, size_t count)
{
    MDB_val key = {.mv_size = strlen(name), .mv_data = (void *)(uintptr_t)name};
    MDB_val data = {.mv_size = count, .mv_data = (void *)(uintptr_t)bytes};
    return mdb_put(txn, dbi, &key, &data, 0);
}

slc_err slc_store_env_mark(slc_store *store, MDB_txn *txn, bool clean, slc_error *error)
{
    uint8_t value = clean;
    return slc_store_env_error(sys_put(txn, store->sys, "clean", &value, 1), error,
                               "writing the clean marker");
}

slc_err slc_store_env_shard(slc_store *store, MDB_txn *txn, slc_shard *shard, slc_error *error)
{
    (void)store;
    static const char *const kinds[] = {"st", "log", "que", "res", "seg", "smd"};
    MDB_dbi *const handles[] = {&shard->st,  &shard->log, &shard->que,
                                &shard->res, &shard->seg, &shard->smd};
    for (uint32_t i = 0; i < SLC_ARRAY_COUNT(kinds); i++) {
        char name[16];
        snprintf(name, sizeof name, "%04x.%s", shard->id, kinds[i]);
        int code = mdb_dbi_open(txn, name, MDB_CREATE, handles[i]);
        if (code != 0)
            return slc_store_env_error(code, error, name);
    }
    return SLC_OK;
}

uint32_t slc_store_env_takes(const slc_store *store, uint32_t value_bytes)
{
    enum { PAGE_HEAD = 16, NODE_HEAD = 8, NODE_INDEX = 2, LSN_KEY = 8 };
    uint32_t node = NODE_HEAD + LSN_KEY + value_bytes + NODE_INDEX;
    if (node <= (store->page_bytes - PAGE_HEAD) / 2)
        return node;
    return (PAGE_HEAD + value_bytes + store->page_bytes - 1) / store->page_bytes *
           store->page_bytes;
}

/* ---- commit ---- */

// LMDB turns a write that came back short into EIO, and a file system that fills up gives just that; errno tells it from
// an EIO of the disk. What was written is of an aborted transaction, which no meta page names, so writing anew is safe
// once there is room. A failed write of the meta page makes every later transaction fail with MDB_PANIC: fatal.
int slc_store_env_commit(MDB_txn *txn)
{
    errno = 0;
    int code = mdb_txn_commit(txn);
    return code == EIO && errno != EIO ? ENOSPC : code;
}

slc_err slc_store_env_sync(slc_store *store, slc_error *error)
{
    slc_err rc = SLC_OK;
    if (SLC_FAILPOINT("store.sync.deferred", &rc))
        return slc_error_set(error, rc == SLC_ENOSPC ? SLC_EIO : rc, "store.sync.deferred");
    int code = mdb_env_sync(store->env, 1);
    // A flush that failed is never tried again: the kernel may have dropped what it could not write.
    return code == 0 ? SLC_OK
                     : slc_error_set(error, SLC_EIO, "flushing the store: %s", mdb_strerror(code));
}

/* ---- room ---- */

static uint64_t tree_pages(MDB_txn *txn, MDB_dbi dbi)
{
    MDB_stat stat;
    if (mdb_stat(txn, dbi, &stat) != 0)
        return 0;
    return stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages;
}

// LMDB counts the pages of each database, so nothing has to be walked: what belongs to none of them is free.
// After each commit: the transaction is kept, since a new one costs a table of all databases there might be.
void slc_store_env_size(slc_store *store, uint64_t *file_bytes, uint64_t *free_bytes)
{
    enum { FREE_DBI = 0, MAIN_DBI = 1, META_PAGES = 2 };
    MDB_txn *txn = store->size_txn;
    MDB_envinfo info;
    int code = txn != NULL ? mdb_txn_renew(txn)
                           : mdb_txn_begin(store->env, NULL, MDB_RDONLY, &store->size_txn);
    if (code != 0)
        return;
    txn = store->size_txn;
    uint64_t used = META_PAGES + tree_pages(txn, FREE_DBI) + tree_pages(txn, MAIN_DBI) +
                    tree_pages(txn, store->sys);
    for (uint32_t i = 0; i < store->shard_count; i++) {
        const slc_shard *shard = store->shards[i];
        const MDB_dbi dbis[] = {shard->st,  shard->log, shard->que,
                                shard->res, shard->seg, shard->smd};
        for (uint32_t k = 0; shard->opened && k < SLC_ARRAY_COUNT(dbis); k++)
            used += tree_pages(txn, dbis[k]);
    }
    if (mdb_env_info(store->env, &info) == 0) {
        uint64_t pages = info.me_last_pgno + 1;
        *file_bytes = pages * store->page_bytes;
        *free_bytes = (pages > used ? pages - used : 0) * store->page_bytes;
    }
    mdb_txn_reset(txn);
}

// Bytes of the pages that are free inside the file, near enough: LMDB keeps their numbers in its first database, one
// counted list per transaction that freed some.
static uint64_t free_bytes_inside(const slc_store *store, uint32_t page_bytes)
{
    MDB_txn *txn;
    MDB_cursor *cursor;
    MDB_val key, list;
    uint64_t pages = 0;
    if (mdb_txn_begin(store->env, NULL, MDB_RDONLY, &txn) != 0)
        return 0;
    if (mdb_cursor_open(txn, 0, &cursor) == 0) {
        while (mdb_cursor_get(cursor, &key, &list, MDB_NEXT) == 0) {
            size_t count;
            memcpy(&count, list.mv_data, sizeof count);
            pages += count;
        }
        mdb_cursor_close(cursor);
    }
    mdb_txn_abort(txn);
    return pages * page_bytes;
}

// A transaction that runs out of disk can be tried again, but what gives space back (drops, the ballast) needs pages to
// do so. SLACK_BYTES of blocks behind the end of the file are kept for that: whatever adds data must find its
// room before them, or, on a disk that is full, plenty of free pages inside the file.
slc_err slc_store_env_room(slc_store *store, uint64_t bytes, slc_error *error)
{
    MDB_envinfo info;
    MDB_stat stat;
    int fd;
    if (mdb_env_info(store->env, &info) != 0 || mdb_env_stat(store->env, &stat) != 0 ||
        mdb_env_get_fd(store->env, &fd) != 0)
        return slc_error_set(error, SLC_EINTERNAL, "the store has no file");
    uint64_t wanted = (info.me_last_pgno + 1) * stat.ms_psize + bytes + bytes / 8 + SLACK_BYTES;
    if (wanted > info.me_mapsize)
        wanted = info.me_mapsize; // LMDB says MDB_MAP_FULL where this ends
    if (wanted <= store->reserved_bytes)
        return SLC_OK;
    uint64_t generous = (wanted / RESERVE_STEP + 1) * RESERVE_STEP;
    if (fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)generous) == 0) {
        store->reserved_bytes = generous;
        return SLC_OK;
    }
    if (errno == EOPNOTSUPP ||
        errno == ENOSYS) { // a file system that cannot: a full disk shows at the commit
        store->reserved_bytes = UINT64_MAX;
        return SLC_OK;
    }
    if (fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)wanted) == 0) {
        store->reserved_bytes = wanted;
        return SLC_OK;
    }
    int code = errno;
    if (code == ENOSPC && free_bytes_inside(store, stat.ms_psize) >= 4 * (bytes + SLACK_BYTES))
        return SLC_OK;
    return slc_store_env_error(code, error, "making room");
}

/* ---- ballast ---- */

static uint32_t ballast_values(const slc_store *store)
{
    uint64_t bytes =
        store->map_size / 32 < STORE_BALLAST_BYTES ? store->map_size / 32 : STORE_BALLAST_BYTES;
    return (uint32_t)(bytes / (BALLAST_VALUE + 16));
}

static int ballast_txn(slc_store *store, bool keep)
{
    MDB_txn *txn;
    int code = mdb_txn_begin(store->env, NULL, 0, &txn);
    if (code != 0)
        return code;
    uint32_t count = ballast_values(store);
    for (uint32_t i = 0; i < count && code == 0; i++) {
        char name[24];
        snprintf(name, sizeof name, "ballast.%03" PRIu32, i);
        MDB_val key = {.mv_size = strlen(name), .mv_data = name};
        if (keep) {
            MDB_val data = {.mv_size = BALLAST_VALUE};
            code = mdb_put(txn, store->sys, &key, &data, MDB_RESERVE);
            if (code == 0)
                memset(data.mv_data, 0, data.mv_size);
        } else {
            code = mdb_del(txn, store->sys, &key, NULL);
            if (code == MDB_NOTFOUND)
                code = 0;
        }
    }
    if (code != 0) {
        mdb_txn_abort(txn);
        return code;
    }
    return slc_store_env_commit(txn);
}

// A transaction that changes one small value: LMDB reuses freed pages two transactions later.
static int tick_txn(slc_store *store)
{
    MDB_txn *txn;
    int code = mdb_txn_begin(store->env, NULL, 0, &txn);
    if (code != 0)
        return code;
    uint8_t now[8];
    slc_put64(now, slc_clock_wall_ms());
    code = sys_put(txn, store->sys, "tick", now, sizeof now);
    if (code != 0) {
        mdb_txn_abort(txn);
        return code;
    }
    return slc_store_env_commit(txn);
}

slc_err slc_store_env_tick(slc_store *store, slc_error *error)
{
    return slc_store_env_error(tick_txn(store), error, "an empty commit");
}

slc_err slc_store_env_ballast(slc_store *store, bool keep, slc_error *error)
{
    int code = ballast_txn(store, keep);
    if (code == 0 && !keep)
        code = tick_txn(store);
    return slc_store_env_error(code, error,
                               keep ? "keeping space in reserve" : "giving up the reserved space");
}

/* ---- reading ahead ---- */

static uintptr_t page_mask(void)
{
    static _Atomic uintptr_t mask;
    uintptr_t known = atomic_load_explicit(&mask, memory_order_relaxed);
    if (known == 0) {
        known = (uintptr_t)sysconf(_SC_PAGESIZE) - 1;
        atomic_store_explicit(&mask, known, memory_order_relaxed);
    }
    return known;
}

void slc_need_end(slc_need *need)
{
    if (need->to > need->from) // when it fails, pages come one by one
        (void)madvise((void *)need->from, need->to - need->from, MADV_WILLNEED);
    *need = (slc_need){0};
}

void slc_need_value(slc_need *need, const MDB_val *value)
{
    uintptr_t mask = page_mask(), from = (uintptr_t)value->mv_data;
    if (value->mv_size <= mask)
        return;
    uintptr_t to = (from + value->mv_size + mask) & ~mask;
    from &= ~mask;
    if (need->to == from) {
        need->to = to;
        return;
    }
    slc_need_end(need);
    *need = (slc_need){from, to};
}

/* ---- open and close ---- */

slc_err slc_store_format_refuse(const char *dir, uint32_t format, slc_error *error)
{
    bool older = format < SLC_FORMAT_VERSION;
    return slc_error_set(
        error, SLC_EVERSION,
        "the store in %s has format %" PRIu32 " of %s version of Sluice; this one reads format %d: "
        "go on with the version that wrote it%s",
        dir, format, older ? "an older" : "a newer", SLC_FORMAT_VERSION,
        older ? ", or consume with it what waits and then move this directory away; definitions "
                "stay, and the queues begin empty"
              : "");
}

static slc_err sys_create(slc_store *store, MDB_txn *txn, slc_error *error)
{
    uint8_t format[4], uuid[16];
    slc_put32(format, SLC_FORMAT_VERSION);
    slc_random_bytes(uuid, sizeof uuid);
    int code = sys_put(txn, store->sys, "format", format, sizeof format);
    if (code == 0)
        code = sys_put(txn, store->sys, "env_uuid", uuid, sizeof uuid);
    if (code != 0)
        return slc_store_env_error(code, error, "creating the store");
    store->was_clean = true; // nothing was there that could have been delivered
    return slc_store_env_mark(store, txn, true, error);
}

static slc_err sys_check(slc_store *store, MDB_txn *txn, slc_error *error)
{
    MDB_val data;
    int code = sys_get(txn, store->sys, "format", &data);
    if (code == MDB_NOTFOUND)
        return sys_create(store, txn, error);
    if (code != 0)
        return slc_store_env_error(code, error, "reading the store's format");
    uint32_t format = data.mv_size == 4 ? slc_get32(data.mv_data) : 0;
    if (format != SLC_FORMAT_VERSION)
        return slc_store_format_refuse(store->dir, format, error);
    code = sys_get(txn, store->sys, "clean", &data);
    store->was_clean = code == 0 && data.mv_size == 1 && *(const uint8_t *)data.mv_data == 1;
    store->has_ballast = sys_get(txn, store->sys, "ballast.000", &data) == 0;
    return SLC_OK;
}

static slc_err shards_find(slc_store *store, MDB_txn *txn, slc_error *error)
{
    MDB_dbi root;
    MDB_cursor *cursor;
    int code = mdb_dbi_open(txn, NULL, 0, &root);
    if (code == 0)
        code = mdb_cursor_open(txn, root, &cursor);
    if (code != 0)
        return slc_store_env_error(code, error, "listing the store's databases");
    MDB_val key, data;
    while ((code = mdb_cursor_get(cursor, &key, &data, MDB_NEXT)) == 0) {
        char name[8] = {0};
        unsigned id;
        if (key.mv_size != 7)
            continue;
        memcpy(name, key.mv_data, 7);
        int length = 0;
        if (sscanf(name, "%4x.st%n", &id, &length) == 1 && length == 7)
            slc_store_shard_new(store, (uint16_t)id);
    }
    mdb_cursor_close(cursor);
    if (code != MDB_NOTFOUND)
        return slc_store_env_error(code, error, "listing the store's databases");
    if (store->shard_count == 0)
        slc_store_shard_new(store, 0);
    slc_err rc = SLC_OK;
    for (uint32_t i = 0; i < store->shard_count && rc == SLC_OK; i++)
        rc = slc_store_env_shard(store, txn, store->shards[i], error);
    return rc;
}

static slc_err env_prepare(slc_store *store, slc_error *error)
{
    MDB_txn *txn;
    int code = mdb_txn_begin(store->env, NULL, 0, &txn);
    if (code != 0)
        return slc_store_env_error(code, error, "beginning a transaction");
    code = mdb_dbi_open(txn, "sys", MDB_CREATE, &store->sys);
    slc_err rc = code == 0 ? sys_check(store, txn, error) : slc_store_env_error(code, error, "sys");
    if (rc == SLC_OK)
        rc = shards_find(store, txn, error);
    if (rc != SLC_OK) {
        mdb_txn_abort(txn);
        return rc;
    }
    // A transaction that changed nothing writes nothing: a full disk does not keep a store from opening.
    code = mdb_txn_commit(txn);
    if (code != 0)
        return slc_store_env_error(code, error, "preparing the store");
    for (uint32_t i = 0; i < store->shard_count; i++)
        store->shards[i]->opened = true;
    slc_error ignored = {0};
    if (!store->has_ballast)
        store->has_ballast = slc_store_env_ballast(store, true, &ignored) == SLC_OK;
    return SLC_OK;
}

slc_err slc_store_env_open(slc_store *store, slc_error *error)
{
    allocator_open();
    slc_err rc = dir_make(store->dir, error);
    if (rc == SLC_OK)
        rc = slc_lmdb_create(store->dir, STORE_FILE_MODE, error);
    if (rc != SLC_OK)
        return rc;
    store->map_size =
        store->options.map_size != 0 ? store->options.map_size : map_size_default(store->dir);
    store->map_size &= ~(uint64_t)0xffff;
    int code = mdb_env_create(&store->env);
    if (code != 0)
        return slc_store_env_error(code, error, "creating the LMDB environment");
    mdb_env_set_mapsize(store->env, store->map_size);
    mdb_env_set_maxdbs(store->env, MAX_DBS);
    // Without MDB_NOMETASYNC a commit that returned is on disk with its meta page; with it, with the flush after that.
    // Read transactions belong to pool threads that come and go, hence MDB_NOTLS.
    // The messages of a queue, the chunks of the log between large contents, and what a commit looks at stand all over the
    // file. What the kernel reads around each page (128 KiB by default, 8 MiB on some clouds) is mostly thrown away, and where
    // the backlog is larger than memory that is most of what the disk does. slc_need asks for what is wanted.
    unsigned flags = MDB_NOTLS | MDB_NORDAHEAD | (slc_store_defers(store) ? MDB_NOMETASYNC : 0u);
    code = mdb_env_open(store->env, store->dir, flags, STORE_FILE_MODE);
    if (code == 0) {
        int dead;
        code = mdb_reader_check(store->env, &dead);
    }
    MDB_stat stat;
    if (code == 0)
        code = mdb_env_stat(store->env, &stat);
    MDB_envinfo info;
    if (code == 0)
        code = mdb_env_info(store->env, &info);
    if (code == 0) {
        store->page_bytes = stat.ms_psize;
        store->map_size = info.me_mapsize; // never less than the file has
    }
    rc = code == 0 ? env_prepare(store, error) : slc_store_env_error(code, error, store->dir);
    if (rc != SLC_OK) {
        mdb_env_close(store->env);
        store->env = NULL;
    }
    allocator_tune();
    return rc;
}

void slc_store_env_close(slc_store *store)
{
    if (store->size_txn != NULL)
        mdb_txn_abort(store->size_txn);
    if (store->env != NULL)
        mdb_env_close(store->env);
    store->size_txn = NULL;
    store->env = NULL;
}
