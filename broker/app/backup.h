/** Hot backup of the whole node: `sluicectl backup DIR`.
 *
 *      idle ──start──> copy (the store, slc_store_backup) ──> definitions (slc_control_copy) ──> check (slc_store_check of the copy)
 *        ──> backup.json, synced ──> idle (done)              any failure, cancel ──> what was written is removed ──> idle (failed)
 *
 *  DIR gets store/, control/ and, last of all, backup.json: without it a restore refuses. The definitions come after the store,
 *  so that they know the queues of the copy, but for those that were deleted in between: as after a crash, recovery drops
 *  queues that the definitions do not know. One backup at a time.
 *
 *  Thread: the loop's. Blocking steps have a thread of their own.
 */
#ifndef SLC_APP_BACKUP_H
#define SLC_APP_BACKUP_H

#include "app/instance.h"
#include "app/world.h"
#include "http/backup.h"

typedef struct slc_app_backup slc_app_backup;

typedef struct slc_app_backup_options {
    slc_world *world;
    const slc_instance *instance;
    const char *node, *version; // for backup.json; copied
} slc_app_backup_options;

slc_app_backup *slc_app_backup_new(const slc_app_backup_options *options);
/** The disk of DIR keeps at least so much free. */
void slc_app_backup_keep_free(slc_app_backup *backup, uint64_t bytes);
/** For http; lives as long as the backup. */
const slc_http_backup_ops *slc_app_backup_ops(const slc_app_backup *backup);
/** Cancel what runs and free; done runs on the loop, or inside when nothing runs. A check of the copy is not waited for: the
 *  process may end under it, DIR has no backup.json then. */
void slc_app_backup_stop(slc_app_backup *backup, void (*done)(void *arg), void *arg);

#endif
