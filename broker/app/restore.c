#include "app/restore.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <slc/store_tools.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/failpoint.h"
#include "base/log.h"

enum { PATH_ROOM = 4096, COPY_STEP = 16 << 20, COPY_BUFFER = 1 << 20 };

static const char *const files[] = {"control/data.mdb", "store/data.mdb"};

static void path_in(char out[PATH_ROOM], const char *dir, const char *name)
{
    snprintf(out, PATH_ROOM, "%s/%s", dir, name);
}

static slc_err path_error(slc_error *error, const char *what, const char *path)
{
    int code = errno;
    return slc_error_set(error, slc_err_from_errno(code), "cannot %s %s: %s", what, path,
                         strerror(code));
}

slc_err slc_dir_empty(const char *dir, bool *empty, slc_error *error)
{
    DIR *d = opendir(dir);
    if (d == NULL)
        return path_error(error, "read", dir);
    *empty = true;
    for (struct dirent *entry; (entry = readdir(d)) != NULL;)
        *empty = *empty && (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
                            strcmp(entry->d_name, "lost+found") == 0);
    closedir(d);
    return SLC_OK;
}

/* ---- backup.json ---- */

// What a file must have; -1: it is not named.
static int64_t manifest_bytes(const json_t *root, const char *name)
{
    const json_t *bytes = json_object_get(json_object_get(root, "files"), name);
    return json_is_integer(bytes) ? (int64_t)json_integer_value(bytes) : -1;
}

static slc_err manifest_check(const char *from, const json_t *root, slc_error *error)
{
    const json_t *format = json_object_get(root, "format");
    if (!json_is_integer(format))
        return slc_error_set(error, SLC_ECORRUPT, "%s/backup.json has no format", from);
    if (json_integer_value(format) != SLC_BACKUP_FORMAT)
        return slc_error_set(error, SLC_EVERSION,
                             "the backup in %s has format %" JSON_INTEGER_FORMAT
                             "; this version of Sluice reads format %d: restore it with the "
                             "version that wrote it, which backup.json names",
                             from, json_integer_value(format), SLC_BACKUP_FORMAT);
    for (size_t i = 0; i < SLC_ARRAY_COUNT(files); i++) {
        char path[PATH_ROOM];
        struct stat st;
        path_in(path, from, files[i]);
        if (stat(path, &st) != 0)
            return path_error(error, "look at", path);
        int64_t wanted = manifest_bytes(root, files[i]);
        if (wanted != (int64_t)st.st_size)
            return slc_error_set(error, SLC_ECORRUPT,
                                 "%s has %" PRId64 " bytes; backup.json says %" PRId64
                                 ": it was cut, or changed after the backup. One that was salvaged "
                                 "or compacted is a data directory: start with a copy of it",
                                 path, (int64_t)st.st_size, wanted);
    }
    return SLC_OK;
}

static slc_err manifest_read(const char *from, json_t **out, slc_error *error)
{
    char path[PATH_ROOM];
    path_in(path, from, "backup.json");
    if (access(path, F_OK) != 0)
        return errno == ENOENT
                   ? slc_error_set(error, SLC_ENOTFOUND,
                                   "%s has no backup.json: it is no backup, or one that was not "
                                   "finished, and nothing is restored from it",
                                   from)
                   : path_error(error, "read", path);
    json_error_t where;
    *out = json_load_file(path, 0, &where);
    if (*out == NULL)
        return slc_error_set(error, SLC_ECORRUPT, "%s: %s", path, where.text);
    slc_err rc = manifest_check(from, *out, error);
    if (rc != SLC_OK)
        json_decref(*out);
    return rc;
}

slc_err slc_restore_prepare(const char *from, const char *data_dir, slc_error *error)
{
    json_t *root;
    slc_err rc = manifest_read(from, &root, error);
    if (rc != SLC_OK)
        return rc;
    json_decref(root);
    struct stat st;
    if (stat(data_dir, &st) != 0)
        return errno == ENOENT ? SLC_OK : path_error(error, "look at", data_dir);
    bool empty = false;
    rc = slc_dir_empty(data_dir, &empty, error);
    if (rc == SLC_OK && !empty)
        rc = slc_error_set(error, SLC_EEXIST,
                           "the data directory %s is not empty: a backup is restored into an empty "
                           "one only. Name another with --data-dir, or move this one away",
                           data_dir);
    return rc;
}

/* ---- copy ---- */

static void progress(const char *what, uint64_t done, uint64_t total, void *arg)
{
    (void)arg;
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\rrestore: %-20s %3" PRIu64 " %%", what,
                total == 0 ? 100 : done * 100 / total);
}

// The kernel copies (or shares the blocks) where it can.
static ssize_t step_copy(int in, int out, char *buffer)
{
    ssize_t n = copy_file_range(in, NULL, out, NULL, COPY_STEP, 0);
    if (n >= 0 || (errno != EXDEV && errno != EINVAL && errno != ENOSYS && errno != EOPNOTSUPP))
        return n;
    n = read(in, buffer, COPY_BUFFER);
    for (ssize_t done = 0; done < n;) {
        ssize_t wrote = write(out, buffer + done, (size_t)(n - done));
        if (wrote < 0 && errno != EINTR)
            return -1;
        done += wrote < 0 ? 0 : wrote;
    }
    return n;
}

static slc_err file_copy(const char *from, const char *to, slc_error *error)
{
    int in = open(from, O_RDONLY | O_CLOEXEC);
    if (in < 0)
        return path_error(error, "read", from);
    slc_err rc = SLC_OK;
    char *buffer = slc_alloc(COPY_BUFFER);
    struct stat st = {0};
    int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
    if (out < 0 || fstat(in, &st) != 0)
        rc = path_error(error, "create", to);
    uint64_t done = 0;
    for (ssize_t n = 1; rc == SLC_OK && n > 0;) {
        n = step_copy(in, out, buffer);
        if (n < 0 && errno == EINTR)
            n = 1;
        else if (n < 0)
            rc = path_error(error, "write", to);
        else
            done += (uint64_t)n;
        progress("copying", done, (uint64_t)st.st_size, NULL);
    }
    if (rc == SLC_OK && fsync(out) != 0)
        rc = path_error(error, "sync", to);
    if (out >= 0)
        close(out);
    close(in);
    slc_free(buffer);
    return rc;
}

static slc_err dir_sync(const char *dir, slc_error *error)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool synced = fd >= 0 && fsync(fd) == 0;
    slc_err rc = synced ? SLC_OK : path_error(error, "sync", dir);
    if (fd >= 0)
        close(fd);
    return rc;
}

static slc_err tree_copy(const char *from, const char *to, slc_error *error)
{
    static const char *const dirs[] = {"control", "store"};
    slc_err rc = SLC_OK;
    char source[PATH_ROOM], target[PATH_ROOM];
    for (size_t i = 0; i < SLC_ARRAY_COUNT(dirs) && rc == SLC_OK; i++) {
        path_in(target, to, dirs[i]);
        if (mkdir(target, 0750) != 0)
            rc = path_error(error, "create", target);
    }
    for (size_t i = 0; i < SLC_ARRAY_COUNT(files) && rc == SLC_OK; i++) {
        path_in(source, from, files[i]);
        path_in(target, to, files[i]);
        rc = file_copy(source, target, error);
    }
    for (size_t i = 0; i < SLC_ARRAY_COUNT(dirs) && rc == SLC_OK; i++) {
        path_in(target, to, dirs[i]);
        rc = dir_sync(target, error);
    }
    return rc;
}

static slc_err marker_make(const char *data_dir, slc_error *error)
{
    char path[PATH_ROOM];
    path_in(path, data_dir, "RESTORING");
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0640);
    slc_err rc = fd >= 0 && fsync(fd) == 0 ? SLC_OK : path_error(error, "create", path);
    if (fd >= 0)
        close(fd);
    return rc == SLC_OK ? dir_sync(data_dir, error) : rc;
}

slc_err slc_restore_run(const char *from, const char *data_dir, slc_error *error)
{
    char path[PATH_ROOM];
    slc_log(SLC_LOG_INFO, "store", "restore.begin", SLC_FIELDS(SLC_F_STR("dir", from)),
            "restoring the backup in %s into %s", from, data_dir);
    slc_err rc = marker_make(data_dir, error);
    if (rc == SLC_OK)
        rc = tree_copy(from, data_dir, error);
    if (rc == SLC_OK && SLC_FAILPOINT("restore.copied", &rc))
        slc_error_set(error, rc, "restore.copied");
    slc_store_report report = {0};
    if (rc == SLC_OK) {
        path_in(path, data_dir, "store");
        slc_store_tool tool = {.dir = path, .progress = progress};
        rc = slc_store_check(&tool, &report, error);
        if (rc != SLC_OK)
            slc_error_wrap(error, "the backup in %s cannot be used", from);
    }
    if (isatty(STDERR_FILENO))
        fputc('\n', stderr);
    if (rc == SLC_OK)
        rc = dir_sync(data_dir, error);
    path_in(path, data_dir, "RESTORING");
    if (rc == SLC_OK && unlink(path) != 0)
        rc = path_error(error, "remove", path);
    if (rc == SLC_OK)
        rc = dir_sync(data_dir, error);
    if (rc == SLC_OK)
        slc_log(
            SLC_LOG_INFO, "store", "restore.done",
            SLC_FIELDS(SLC_F_U64("queues", report.queues), SLC_F_U64("messages", report.messages)),
            "restored %" PRIu64 " messages in %" PRIu64 " queues", report.messages, report.queues);
    return rc;
}

slc_err slc_restore_check(const char *data_dir, slc_error *error)
{
    char path[PATH_ROOM];
    path_in(path, data_dir, "RESTORING");
    if (access(path, F_OK) != 0)
        return SLC_OK;
    return slc_error_set(error, SLC_EPRECONDITION,
                         "a restore into %s did not end: empty that directory, then restore again "
                         "(sluiced --restore)",
                         data_dir);
}
