/** Creation of an LMDB environment that a loss of power cannot leave half done.
 *
 *  LMDB writes the first two pages of a new file and flushes them with the first commit only: what lies on the disk before
 *  that may be one page, or half of one, and such a file is refused for ever. So the file is made beside its place:
 *
 *      data.mdb.new, two pages ──flush──> rename to data.mdb ──flush of the directory and of its parent──> opened as usual
 *
 *  Whatever a half creation left is removed by the next one. Thread: any, one at a time per directory; it blocks.
 */
#ifndef SLC_BASE_LMDB_CREATE_H
#define SLC_BASE_LMDB_CREATE_H

#include <sys/types.h>

#include "base/error.h"

/** dir exists. Nothing happens when it has a data.mdb. SLC_ECORRUPT: an empty one, which LMDB would take for a new one.
 *  SLC_ENOSPC, SLC_EACCESS, SLC_EIO: nothing is in place. */
SLC_MUST_USE slc_err slc_lmdb_create(const char *dir, mode_t mode, slc_error *error);

#endif
