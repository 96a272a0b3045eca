// A backup on the loop: begin between two jobs, keep what the copy has not read yet, give up when that becomes too much.
#include <errno.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "backup_impl.h"

/* ---- what the housekeeping asks ---- */

bool slc_backup_holds(const slc_shard *shard)
{
    return shard->backup != NULL && atomic_load(&shard->backup->backup->holds);
}

uint64_t slc_backup_pinned_below(const slc_shard *shard, uint64_t to)
{
    if (!slc_backup_holds(shard))
        return to;
    uint64_t copied = atomic_load(&shard->backup->log_copied);
    return to > copied + 1 ? copied + 1 : to;
}

/* ---- end ---- */

static void backup_free(slc_store_backup *b)
{
    slc_store *store = b->store;
    store->reads_open--;
    slc_store_close_step(store);
    for (uint32_t i = 0; i < b->shard_count; i++)
        slc_free(b->shards[i].bounds);
    slc_free(b->shards);
    slc_free(b->dir);
    slc_free(b);
}

static void timer_closed(uv_handle_t *handle)
{
    slc_store_backup *b = handle->data;
    if (--b->handles_open == 0)
        backup_free(b);
}

static void mailbox_closed(uv_handle_t *handle)
{
    slc_mailbox *box = SLC_CONTAINER_OF((uv_async_t *)handle, slc_mailbox, async);
    slc_store_backup *b = SLC_CONTAINER_OF(box, slc_store_backup, mailbox);
    if (--b->handles_open == 0)
        backup_free(b);
}

static void backup_unhook(slc_store_backup *b)
{
    slc_store *store = b->store;
    atomic_store(&b->holds, false);
    for (uint32_t i = 0; i < store->shard_count; i++)
        store->shards[i]->backup = NULL;
    store->backup = NULL;
}

static void backup_finish(slc_store_backup *b)
{
    SLC_ASSERT(!b->finished);
    b->finished = true;
    slc_store *store = b->store;
    backup_unhook(b);
    if (b->rc != SLC_OK && b->dir_made)
        rmdir(b->dir); // the thread removed what was inside; it may never have run
    slc_store_backup_figures figures;
    slc_store_backup_figure(b, &figures);
    if (store->stats.read_longest_ns < figures.read_longest_ns)
        store->stats.read_longest_ns = figures.read_longest_ns;
    const slc_error *error = b->reason.code != SLC_OK && b->rc != SLC_OK ? &b->reason : &b->error;
    slc_err rc = b->rc == SLC_OK ? SLC_OK : error->code;
    b->options.done(rc, &figures, rc == SLC_OK ? NULL : error, b->options.arg);
    uv_close((uv_handle_t *)&b->timer, timer_closed);
    slc_mailbox_close(&b->mailbox, mailbox_closed);
    slc_store_flush(store); // what was held back
}

static void backup_mail(slc_mail *item, void *arg)
{
    (void)item;
    slc_store_backup *b = arg;
    if (b->running)
        uv_thread_join(&b->thread);
    b->running = false;
    backup_finish(b);
}

static void backup_stop(slc_store_backup *b, slc_err rc, const char *why)
{
    if (b->reason.code != SLC_OK || b->finished)
        return;
    slc_error_set(&b->reason, rc, "%s", why);
    atomic_store(&b->stop, true);
    atomic_store(&b->holds, false);
    if (b->running)
        return;
    // It never began.
    b->rc = rc;
    slc_mailbox_post(&b->mailbox, &b->mail);
}

void slc_store_backup_cancel(slc_store_backup *backup)
{
    backup_stop(backup, SLC_ECLOSED, "the backup was cancelled");
}

/* ---- watching ---- */

static uint64_t shard_behind(const slc_shard *shard, uint64_t limit)
{
    uint64_t bytes = 0, lsn = atomic_load(&shard->backup->log_copied) + 1;
    for (lsn = lsn < shard->log_first ? shard->log_first : lsn;
         lsn <= shard->ended_lsn && bytes <= limit; lsn++)
        bytes += slc_shard_lsn(shard, lsn)->bytes;
    return bytes;
}

static void backup_timer(uv_timer_t *timer)
{
    slc_store_backup *b = timer->data;
    slc_store *store = b->store;
    if (store->close_asked)
        backup_stop(b, SLC_ECLOSED, "the backup was cancelled: the store is being closed");
    else if (store->failed)
        backup_stop(b, SLC_EIO, "the store failed");
    else if (store->blocked)
        backup_stop(b, SLC_ENOSPC,
                    "the disk of the store is full; a backup keeps it from giving space back");
    else if (!store->busy)
        slc_backup_job_done(store); // what it waits for may have ended without a job
    b->behind_bytes = 0;
    for (uint32_t i = 0; i < store->shard_count; i++)
        if (slc_backup_holds(store->shards[i]))
            b->behind_bytes += shard_behind(store->shards[i], b->behind_max);
    if (b->behind_bytes > b->behind_max)
        backup_stop(b, SLC_ELIMIT,
                    "messages come in faster than the target takes them: the backup fell too far "
                    "behind. Use a faster disk, or a quieter hour");
}

void slc_store_backup_figure(const slc_store_backup *backup, slc_store_backup_figures *out)
{
    *out = (slc_store_backup_figures){
        .bytes = atomic_load(&backup->bytes),
        .bytes_total = atomic_load(&backup->bytes_total),
        .behind_bytes = backup->behind_bytes,
        .chunks = atomic_load(&backup->chunks),
        .parts = atomic_load(&backup->parts),
        .segments = atomic_load(&backup->segments),
        .queues = atomic_load(&backup->queues),
        .read_longest_ns = atomic_load(&backup->read_longest_ns),
    };
}

/* ---- begin ---- */

// What migration adds from here on stands in the log from its first chunk on, which is copied: those segments are not needed,
// and a copy that is slower than what comes in would never come to their end.
static void bounds_note(slc_backup_shard *to, const slc_shard *shard)
{
    for (uint32_t p = 0; p < shard->queue_page_count; p++) {
        for (uint32_t i = 0; shard->queue_pages[p] != NULL && i < STORE_QUEUE_PAGE; i++) {
            const slc_squeue *queue = shard->queue_pages[p][i];
            if (queue != NULL && queue->segment_head < queue->segment_tail)
                *STORE_PUSH(to->bounds, to->bound_count, to->bound_capacity) =
                    (slc_backup_bound){queue->qid, queue->segments[queue->segment_tail - 1]->first};
        }
    }
}

// No job is with the store thread: what leaves the disk from now on was built with the pins in place.
static void backup_begin(slc_store_backup *b)
{
    slc_store *store = b->store;
    for (uint32_t i = 0; i < store->shard_count; i++) {
        slc_shard *shard = store->shards[i];
        shard->backup = NULL;
        if (!shard->opened || b->shard_count == b->shard_room)
            continue; // it has nothing on disk, or is younger than this backup
        slc_backup_shard *to = &b->shards[b->shard_count++];
        to->backup = b;
        to->id = shard->id;
        shard->backup = to;
        const MDB_dbi from[BACKUP_KINDS] = {
            [BACKUP_ST] = shard->st,   [BACKUP_LOG] = shard->log, [BACKUP_QUE] = shard->que,
            [BACKUP_RES] = shard->res, [BACKUP_SEG] = shard->seg, [BACKUP_SMD] = shard->smd};
        memcpy(to->from, from, sizeof from);
        to->log_start = shard->log_first;
        bounds_note(to, shard);
        atomic_store(&to->log_copied, shard->log_first - 1);
    }
    b->running = uv_thread_create(&b->thread, slc_backup_main, b) == 0;
    if (!b->running)
        backup_stop(b, SLC_EINTERNAL, "creating the backup's thread");
}

void slc_backup_job_done(slc_store *store)
{
    slc_store_backup *b = store->backup;
    // Parts come to the copy in the order of their numbers, but for uploads (upload.c): those are waited for.
    for (uint32_t i = 0; b != NULL && i < store->shard_count; i++)
        if (store->shards[i]->upload_first != NULL)
            return;
    if (b != NULL && !b->running && !b->finished && b->reason.code == SLC_OK)
        backup_begin(b);
}

static void pins_set(slc_store_backup *b)
{
    slc_store *store = b->store;
    b->shard_room = store->shard_count;
    b->shards = slc_alloc_zero(b->shard_room + 1u, sizeof *b->shards);
    for (uint32_t i = 0; i < store->shard_count; i++) {
        slc_backup_shard *to = &b->shards[i];
        to->backup = b;
        atomic_store(&to->log_copied, store->shards[i]->log_first - 1);
        store->shards[i]->backup = to;
    }
}

static uint64_t behind_max(const slc_store *store)
{
    struct statvfs fs;
    uint64_t tenth =
        statvfs(store->dir, &fs) == 0 ? (uint64_t)fs.f_blocks * fs.f_frsize / 10 : UINT64_MAX;
    return tenth < SLC_STORE_BACKUP_BEHIND_MAX ? tenth : SLC_STORE_BACKUP_BEHIND_MAX;
}

static slc_err dir_take(slc_store_backup *b, slc_error *error)
{
    b->dir_made = mkdir(b->dir, 0750) == 0;
    if (b->dir_made)
        return SLC_OK;
    if (errno != EEXIST)
        return slc_error_set(error, slc_err_from_errno(errno), "creating %s: %s", b->dir,
                             strerror(errno));
    // An empty directory can be replaced by itself.
    if (rmdir(b->dir) == 0 && mkdir(b->dir, 0750) == 0) {
        b->dir_made = true;
        return SLC_OK;
    }
    return slc_error_set(error, errno == ENOTEMPTY ? SLC_EEXIST : slc_err_from_errno(errno),
                         "%s: %s", b->dir, strerror(errno));
}

slc_err slc_store_backup_start(slc_store *store, const slc_store_backup_options *options,
                               slc_store_backup **out, slc_error *error)
{
    SLC_ASSERT(options->done != NULL);
    if (!store->recovered || store->failed || store->close_asked)
        return slc_error_set(error, SLC_ECLOSED, "the store is not open");
    if (store->backup != NULL)
        return slc_error_set(error, SLC_EBUSY, "a backup is running already");
    if (store->blocked)
        return slc_error_set(error, SLC_ENOSPC,
                             "the disk of the store is full; no backup can begin before there is "
                             "room again");
    slc_store_backup *b = slc_alloc_zero(1, sizeof *b);
    b->store = store;
    b->options = *options;
    b->dir = slc_strdup(options->dir);
    b->behind_max = behind_max(store);
    slc_err rc = dir_take(b, error);
    if (rc != SLC_OK)
        goto free_backup;
    rc = slc_mailbox_init(&b->mailbox, store->options.loop, backup_mail, b);
    if (rc != SLC_OK) {
        slc_error_set(error, rc, "creating the backup's mailbox");
        goto remove_dir;
    }
    uv_timer_init(store->options.loop, &b->timer);
    b->timer.data = b;
    b->handles_open = 2;
    uv_timer_start(&b->timer, backup_timer, BACKUP_TIMER_MS, BACKUP_TIMER_MS);
    atomic_store(&b->holds, true);
    pins_set(b);
    store->backup = b;
    store->reads_open++;
    if (!store->busy)
        slc_backup_job_done(store);
    *out = b;
    return SLC_OK;

remove_dir:
    rmdir(b->dir);
free_backup:
    slc_free(b->dir);
    slc_free(b);
    return rc;
}
