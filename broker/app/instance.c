#include "app/instance.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"

static slc_err path_error(slc_error *error, const char *what, const char *path)
{
    int code = errno;
    return slc_error_set(error, slc_err_from_errno(code), "cannot %s %s: %s", what, path,
                         strerror(code));
}

/** mkdir -p, for the last components that are missing. */
static slc_err make_dirs(char *path, slc_error *error)
{
    for (char *at = path + (*path != 0);; at++) {
        if (*at != '/' && *at != 0)
            continue;
        char end = *at;
        *at = 0;
        int rc = mkdir(path, 0750);
        if (rc != 0 && errno != EEXIST) {
            slc_err code = path_error(error, "create the data directory", path);
            *at = end;
            return code;
        }
        *at = end;
        if (end == 0)
            return SLC_OK;
    }
}

static slc_err read_or_make_id(slc_instance *instance, slc_error *error)
{
    char path[4096], fresh[4096 + 8];
    snprintf(path, sizeof path, "%s/node.id", instance->dir);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        ssize_t got = read(fd, instance->id, 32);
        close(fd);
        if (got != 32 || strspn(instance->id, "0123456789abcdef") != 32)
            return slc_error_set(error, SLC_ECORRUPT,
                                 "%s is not 32 hexadecimal digits; restore it from a backup (a "
                                 "node must not change its "
                                 "id), or remove it if this node never was in a cluster",
                                 path);
        return SLC_OK;
    }
    if (errno != ENOENT)
        return path_error(error, "read", path);
    uint8_t octets[16];
    slc_random_bytes(octets, sizeof octets);
    for (int i = 0; i < 16; i++)
        snprintf(instance->id + 2 * i, 3, "%02x", octets[i]);
    snprintf(fresh, sizeof fresh, "%s.new", path);
    fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
    if (fd < 0)
        return path_error(error, "create", fresh);
    bool written = write(fd, instance->id, 32) == 32 && fsync(fd) == 0;
    close(fd);
    if (!written || rename(fresh, path) != 0)
        return path_error(error, "write", path);
    return SLC_OK;
}

slc_err slc_instance_open(slc_instance *instance, const char *dir, slc_error *error)
{
    *instance = (slc_instance){.lock_fd = -1};
    char *copy = slc_strdup(dir);
    slc_err rc = make_dirs(copy, error);
    char *absolute = rc == SLC_OK ? realpath(copy, NULL) : NULL;
    if (rc == SLC_OK && absolute == NULL)
        rc = path_error(error, "resolve", copy);
    slc_free(copy);
    if (rc != SLC_OK)
        return rc;
    instance->dir = slc_strdup(absolute);
    free(absolute); // NOLINT: realpath's own allocation

    char path[4096];
    snprintf(path, sizeof path, "%s/LOCK", instance->dir);
    instance->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    if (instance->lock_fd < 0) {
        rc = path_error(error, "open", path);
        goto close_instance;
    }
    if (flock(instance->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        rc = errno == EWOULDBLOCK ? slc_error_set(error, SLC_EBUSY,
                                                  "the data directory %s is in use by another "
                                                  "sluiced; stop that one or choose another "
                                                  "node.data_dir",
                                                  instance->dir)
                                  : path_error(error, "lock", path);
        goto close_instance;
    }
    slc_instance_withdraw(instance); // of a process that was killed
    rc = read_or_make_id(instance, error);
    if (rc == SLC_OK)
        return SLC_OK;
close_instance:
    slc_instance_close(instance);
    return rc;
}

slc_err slc_instance_publish(const slc_instance *instance, void (*write)(FILE *out, void *arg),
                             void *arg, slc_error *error)
{
    char path[4096], fresh[4096 + 8];
    snprintf(path, sizeof path, "%s/addresses", instance->dir);
    snprintf(fresh, sizeof fresh, "%s.new", path);
    FILE *out = fopen(fresh, "we");
    if (out == NULL)
        return path_error(error, "create", fresh);
    fprintf(out, "pid=%ld\n", (long)getpid());
    write(out, arg);
    bool written = ferror(out) == 0;
    written = fclose(out) == 0 && written;
    if (!written || rename(fresh, path) != 0)
        return path_error(error, "write", path);
    return SLC_OK;
}

void slc_instance_withdraw(const slc_instance *instance)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/addresses", instance->dir);
    unlink(path);
}

void slc_instance_close(slc_instance *instance)
{
    if (instance->lock_fd >= 0)
        close(instance->lock_fd);
    slc_free(instance->dir);
    *instance = (slc_instance){.lock_fd = -1};
}
