/** `sluiced --restore DIR`: begin from a backup, on this machine or another, under this node's name.
 *
 *      DIR/backup.json is there and fits ──> the data directory is absent or empty ──> LOCK, a fresh node.id ──> RESTORING
 *        ──> copies of store/ and control/, checked ──> in place ──> RESTORING removed ──> the daemon starts as always
 *
 *  DIR is only read. A data directory with RESTORING in it is one whose restore was interrupted: sluiced refuses to start from it.
 *  Thread: the main thread, before the loop.
 */
#ifndef SLC_APP_RESTORE_H
#define SLC_APP_RESTORE_H

#include "base/error.h"

enum { SLC_BACKUP_FORMAT = 2 }; // of backup.json and of what it stands for: the store's format too

/** *empty: nothing in dir (but lost+found). */
SLC_MUST_USE slc_err slc_dir_empty(const char *dir, bool *empty, slc_error *error);

/** Before the data directory is touched. SLC_ENOTFOUND: DIR has no backup.json, it is no finished backup; SLC_ECORRUPT, SLC_EVERSION: it
 *  is damaged or of another version; SLC_EEXIST: data_dir holds something. */
SLC_MUST_USE slc_err slc_restore_prepare(const char *from, const char *data_dir, slc_error *error);
/** Copy and check; data_dir is locked and ours. Progress on standard error when that is a terminal. */
SLC_MUST_USE slc_err slc_restore_run(const char *from, const char *data_dir, slc_error *error);
/** SLC_EPRECONDITION: a restore into data_dir did not end. */
SLC_MUST_USE slc_err slc_restore_check(const char *data_dir, slc_error *error);

#endif
