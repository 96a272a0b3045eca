#include "base/lmdb_create.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <lmdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static slc_err create_failed(const char *path, const char *what, int code, slc_error *error)
{
    return slc_error_set(error, code > 0 ? slc_err_from_errno(code) : SLC_EINTERNAL,
                         "creating %s: %s: %s", path, what, mdb_strerror(code));
}

/** The two first pages of an empty environment, on the disk. */
static int pages_write(const char *path, mode_t mode)
{
    MDB_env *env;
    int code = mdb_env_create(&env);
    if (code != 0)
        return code;
    code = mdb_env_open(env, path, MDB_NOSUBDIR | MDB_NOLOCK, mode);
    if (code == 0)
        code = mdb_env_sync(env, 1);
    mdb_env_close(env);
    return code;
}

static int dir_sync(const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return errno;
    int code = fsync(fd) == 0 ? 0 : errno;
    close(fd);
    return code;
}

slc_err slc_lmdb_create(const char *dir, mode_t mode, slc_error *error)
{
    char path[PATH_MAX], fresh[PATH_MAX], parent[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/data.mdb", dir) >= (int)sizeof path ||
        snprintf(fresh, sizeof fresh, "%s/data.mdb.new", dir) >= (int)sizeof fresh ||
        snprintf(parent, sizeof parent, "%s/..", dir) >= (int)sizeof parent)
        return slc_error_set(error, SLC_ELIMIT, "the path %s is too long", dir);
    struct stat st;
    if (stat(path, &st) == 0) {
        if (st.st_size > 0)
            return SLC_OK;
        return slc_error_set(error, SLC_ECORRUPT,
                             "%s is empty, and was not left so by Sluice: what was in it is lost. "
                             "Restore a backup, or remove the file to begin without it",
                             path);
    }
    if (unlink(fresh) != 0 && errno != ENOENT)
        return create_failed(fresh, "removing what is left of it", errno, error);
    int code = pages_write(fresh, mode);
    const char *what = "writing its first pages";
    if (code == 0 && rename(fresh, path) != 0) {
        code = errno;
        what = "renaming it";
    }
    if (code == 0) {
        what = "flushing its directory";
        code = dir_sync(dir);
        if (code == 0)
            code = dir_sync(parent);
    }
    if (code == 0)
        return SLC_OK;
    unlink(fresh);
    return create_failed(path, what, code, error);
}
