// Compaction by LMDB itself, and what every tool does that puts a new file in the place of data.mdb.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tool_survey.h"

static const char *const new_file = "data.mdb.compact";

bool slc_tool_path(const slc_store_tool *tool, const char *file, char path[TOOL_PATH_BYTES])
{
    int bytes = snprintf(path, TOOL_PATH_BYTES, "%s/%s", tool->dir, file);
    return bytes > 0 && bytes < TOOL_PATH_BYTES;
}

static slc_err file_error(slc_error *error, const char *what, const char *path)
{
    int code = errno;
    return slc_error_set(error, slc_err_from_errno(code), "%s %s: %s", what, path, strerror(code));
}

static slc_err path_sync(const char *path, int flags, slc_error *error)
{
    int fd = open(path, flags | O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return file_error(error, "cannot open", path);
    slc_err rc = fsync(fd) == 0 ? SLC_OK : file_error(error, "cannot flush", path);
    close(fd);
    return rc;
}

slc_err slc_tool_verify(const slc_store_tool *tool, const char *file, uint64_t messages,
                        slc_error *error)
{
    slc_store_tool quiet = {.dir = tool->dir, .progress = tool->progress, .arg = tool->arg};
    slc_store_report found;
    slc_error first = {0};
    tool_survey s;
    slc_err rc = slc_tool_survey(&s, &quiet, file, true, &found, &first);
    slc_tool_survey_free(&s);
    if (rc != SLC_OK || found.damages > 0)
        return slc_error_set(error, SLC_EINTERNAL,
                             "the new file is not whole, the old one stays (%s)", first.text);
    if (found.messages != messages)
        return slc_error_set(error, SLC_EINTERNAL,
                             "the new file has %" PRIu64 " messages and should have %" PRIu64
                             "; the old one stays",
                             found.messages, messages);
    return SLC_OK;
}

// The new file is what it should be: same owner, on disk.
static slc_err file_finish(const char *old_path, const char *new_path, slc_error *error)
{
    struct stat old;
    if (stat(old_path, &old) != 0)
        return file_error(error, "cannot look at", old_path);
    // Root may do this for a broker that runs as another user, who has to open the file afterwards.
    if (geteuid() == 0 && chown(new_path, old.st_uid, old.st_gid) != 0)
        return file_error(error, "cannot change the owner of", new_path);
    if (chmod(new_path, old.st_mode & 07777) != 0)
        return file_error(error, "cannot change the mode of", new_path);
    return path_sync(new_path, 0, error);
}

slc_err slc_tool_replace(const slc_store_tool *tool, const char *file, const char *keep,
                         slc_error *error)
{
    char old_path[TOOL_PATH_BYTES], new_path[TOOL_PATH_BYTES], keep_path[TOOL_PATH_BYTES];
    if (!slc_tool_path(tool, "data.mdb", old_path) || !slc_tool_path(tool, file, new_path) ||
        !slc_tool_path(tool, keep != NULL ? keep : file, keep_path))
        return slc_error_set(error, SLC_EINVAL, "the path of the store is too long");
    slc_err rc = file_finish(old_path, new_path, error);
    if (rc != SLC_OK)
        return rc;
    // There is a data.mdb at every moment: without one a broker would begin an empty store.
    if (keep != NULL && link(old_path, keep_path) != 0) {
        if (errno != EPERM && errno != EOPNOTSUPP && errno != EMLINK)
            return file_error(error, "cannot keep the old file as", keep_path);
        if (renameat2(AT_FDCWD, new_path, AT_FDCWD, old_path, RENAME_EXCHANGE) != 0 ||
            rename(new_path, keep_path) != 0)
            return file_error(error, "cannot put the new file in the place of", old_path);
    } else if (rename(new_path, old_path) != 0) {
        return file_error(error, "cannot put the new file in the place of", old_path);
    }
    return path_sync(tool->dir, O_DIRECTORY, error);
}

/* ---- compaction ---- */

static slc_err copy_compact(const slc_store_tool *tool, const char *path, uint64_t file_bytes,
                            slc_error *error)
{
    MDB_env *env = NULL;
    (void)unlink(path); // of a compaction that was interrupted
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return file_error(error, "cannot create", path);
    int code = mdb_env_create(&env);
    if (code == 0) {
        mdb_env_set_mapsize(env, file_bytes + (1 << 20));
        code = mdb_env_open(env, tool->dir, MDB_RDONLY | MDB_NOLOCK | MDB_NOTLS, 0600);
        if (code == 0)
            code = mdb_env_copyfd2(env, fd, MDB_CP_COMPACT);
        mdb_env_close(env);
    }
    slc_err rc = slc_store_env_error(code, error, "writing the compacted copy");
    if (close(fd) != 0 && rc == SLC_OK)
        rc = file_error(error, "cannot write", path);
    return rc;
}

slc_err slc_store_compact(const slc_store_tool *tool, uint64_t *before, uint64_t *after,
                          slc_error *error)
{
    slc_store_report report;
    char path[TOOL_PATH_BYTES];
    *before = *after = 0;
    if (!slc_tool_path(tool, new_file, path))
        return slc_error_set(error, SLC_EINVAL, "the path of the store is too long");
    slc_err rc = slc_store_check(tool, &report, error);
    if (rc != SLC_OK)
        return rc;
    *before = report.file_bytes;
    rc = copy_compact(tool, path, report.file_bytes, error);
    if (rc == SLC_OK)
        rc = slc_tool_verify(tool, new_file, report.messages, error);
    struct stat stat_after = {0};
    if (rc == SLC_OK && stat(path, &stat_after) != 0)
        rc = file_error(error, "cannot look at", path);
    if (rc == SLC_OK)
        rc = slc_tool_replace(tool, new_file, NULL, error);
    if (rc != SLC_OK)
        (void)unlink(path);
    *after = (uint64_t)stat_after.st_size;
    return rc;
}
