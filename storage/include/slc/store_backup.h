/** A consistent copy of a store that goes on working.
 *
 *  A thread of its own copies with short read transactions into a new environment; the store thread, publishers and
 *  consumers go on. The copy is what a crash at the moment of its last read transaction would have left: whatever was durable
 *  when the copy began and was not dropped by its end is in it, nothing dropped before it began comes back, and it opens like
 *  a store that was not stopped in order. Definitions are not in here: copy them after `done`, so that they know the queues.
 *
 *  While it runs, chunks leave the log only after they were copied, and sparse segments are not merged: the store's file grows
 *  by what the copy is behind (at most SLC_STORE_BACKUP_BEHIND_MAX or a tenth of the store's disk, then the backup gives up).
 *
 *  Thread: the store's loop. Ownership: the backup belongs to the store and is freed after done returned. Errors: those of
 *  the copy (SLC_ENOSPC, SLC_EIO of its disk, SLC_ECORRUPT where a checksum of the store is wrong) end the backup and
 *  remove what it wrote; the store is never affected.
 */
#ifndef SLC_STORE_BACKUP_H
#define SLC_STORE_BACKUP_H

#include <slc/store.h>

typedef struct slc_store_backup slc_store_backup;

#define SLC_STORE_BACKUP_BEHIND_MAX (4ull << 30) // bytes of the log that wait to be copied

typedef struct slc_store_backup_figures {
    uint64_t bytes, bytes_total; // of values copied; what there was at the beginning, near enough
    uint64_t behind_bytes;       // of the log, not copied yet
    uint64_t chunks, parts, segments, queues; // copied
    uint64_t read_longest_ns;                 // of its read transactions so far
} slc_store_backup_figures;

typedef struct slc_store_backup_options {
    const char *dir; // of the new environment: absent, or an empty directory
    uint64_t
        bytes_per_s; // of segments and large contents; 0: no limit. The log is copied as it is written
    uint64_t keep_free_bytes; // give up when the disk of dir has less left
    /** Exactly once, on the loop, never inside start. SLC_ECLOSED: cancelled, or the store is being closed. The copy is complete
     *  and synced with SLC_OK; otherwise nothing of it is left. error is NULL with SLC_OK. */
    void (*done)(slc_err rc, const slc_store_backup_figures *figures, const slc_error *error,
                 void *arg);
    void *arg;
} slc_store_backup_options;

/** SLC_EBUSY: one is running; SLC_ENOSPC: the store waits for disk space; SLC_EEXIST: dir is not empty; SLC_ECLOSED: the store
 *  is not open; or dir cannot be made. With an error done never runs. */
SLC_MUST_USE slc_err slc_store_backup_start(slc_store *store,
                                            const slc_store_backup_options *options,
                                            slc_store_backup **out, slc_error *error);
/** Done comes soon with SLC_ECLOSED, or with how it ended just before. */
void slc_store_backup_cancel(slc_store_backup *backup);
void slc_store_backup_figure(const slc_store_backup *backup, slc_store_backup_figures *out);

#endif
