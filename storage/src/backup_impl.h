/** The inside of a backup: backup.c is its half on the loop, backup_copy.c the thread that copies.
 *
 *  They share atomics only: how far the log is copied (loop reads it before chunks leave), whether the copy still needs what the
 *  store would delete or merge, and the wish to stop.
 */
#ifndef SLC_STORE_BACKUP_IMPL_H
#define SLC_STORE_BACKUP_IMPL_H

#include <slc/store_backup.h>

#include "store_impl.h"

enum {
    BACKUP_COMMIT_BYTES = 8 << 20, // of one transaction of the copy
    // Written back at least so often: one flood at the end would hold up the store's own flushes.
    BACKUP_SYNC_BYTES = 16 << 20,
    BACKUP_PUMP_SLICES = 16,      // of the log, between two of the rest
    BACKUP_LAST_BYTES = 16 << 20, // the last read transaction may copy so much of the log
    BACKUP_TIMER_MS = 100,
};

typedef enum backup_kind {
    BACKUP_ST,
    BACKUP_LOG,
    BACKUP_QUE,
    BACKUP_RES,
    BACKUP_SEG,
    BACKUP_SMD,
    BACKUP_KINDS
} backup_kind;

/** The last segment that a queue had when the backup began: later ones hold what the copied log has as well. */
typedef struct slc_backup_bound {
    uint32_t qid;
    uint64_t first;
} slc_backup_bound;

/** One shard of a backup. Everything but log_copied is the thread's once it runs. */
typedef struct slc_backup_shard {
    slc_store_backup *backup;
    uint16_t id;
    MDB_dbi from[BACKUP_KINDS], to[BACKUP_KINDS];
    _Atomic uint64_t log_copied; // last chunk; the loop keeps those above
    uint64_t log_start;          // of the copy
    uint64_t end_lsn;            // last chunk that ended a batch, in the last look
    uint64_t res_copied;
    uint64_t
        res_begin_end; // parts above came after the beginning: they are copied last, whatever the rate
    slc_backup_bound *bounds; // qid ascending
    uint32_t bound_count, bound_capacity, bound_at;
    bool res_through; // a pass over .res came to the end of it
    uint8_t segment_last[SLC_SEGMENT_KEY_BYTES];
    bool segment_any; // segment_last is set
    bool segments_through;
    slc_shard_state state; // of the last read transaction
    uint64_t log_bytes;    // copied
} slc_backup_shard;

struct slc_store_backup {
    slc_store *store;
    slc_store_backup_options options;
    char *dir;
    slc_backup_shard *shards;
    uint32_t shard_count, shard_room;
    uint64_t behind_max;
    _Atomic bool holds; // the store keeps what is not copied yet
    _Atomic bool stop;
    _Atomic uint64_t bytes, bytes_total, chunks, parts, segments, queues, read_longest_ns;

    // loop
    uv_timer_t timer;
    slc_mailbox mailbox;
    slc_mail mail;
    uv_thread_t thread;
    bool running, finished;
    uint32_t handles_open;
    slc_error reason; // why the loop stopped it
    uint64_t behind_bytes;

    // thread, then loop
    slc_err rc;
    slc_error error;
    bool dir_made;
};

/** The thread: copies, posts backup->mail. */
void slc_backup_main(void *arg);

#endif
