// A copy of the control environment, for a backup: small, so one read transaction for all of it is short.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cluster/control_store.h"

static slc_err file_sync(const char *path, int flags, slc_error *error)
{
    int fd = open(path, flags | O_RDONLY | O_CLOEXEC);
    int rc = fd < 0 ? -1 : fsync(fd), code = errno;
    if (fd >= 0)
        close(fd);
    return rc == 0 ? SLC_OK
                   : slc_error_set(error, slc_err_from_errno(code), "syncing %s: %s", path,
                                   strerrordesc_np(code));
}

slc_err slc_control_store_copy(const slc_control_store *store, const char *dir, slc_error *error)
{
    if (mkdir(dir, 0750) != 0)
        return slc_error_set(error, slc_err_from_errno(errno), "cannot create the directory %s: %s",
                             dir, strerrordesc_np(errno));
    // Without the free pages: what was deleted is not to be found in a backup.
    int rc = mdb_env_copy2(store->env, dir, MDB_CP_COMPACT);
    char path[4096];
    snprintf(path, sizeof path, "%s/data.mdb", dir);
    slc_err code = SLC_OK;
    if (rc != 0)
        code = slc_error_set(error, rc > 0 ? slc_err_from_errno(rc) : SLC_ECORRUPT,
                             "copying the definitions to %s: %s", dir, mdb_strerror(rc));
    if (code == SLC_OK)
        code = file_sync(path, 0, error);
    if (code == SLC_OK)
        code = file_sync(dir, O_DIRECTORY, error);
    if (code != SLC_OK) {
        unlink(path);
        rmdir(dir);
    }
    return code;
}
