#include "app/backup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <slc/store_backup.h>
#include <slc/store_tools.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "app/restore.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "base/mailbox.h"

enum { PATH_ROOM = 4096 };
enum { HANDOFF_NONE, HANDOFF_FINISHED, HANDOFF_LEFT };

typedef enum step { STEP_NONE, STEP_COPY, STEP_DEFINITIONS, STEP_CHECK } step;

/** One backup. The thread of the blocking steps has it to itself but for the atomics. */
typedef struct run {
    slc_app_backup *owner;
    char *dir;
    bool made_dir;
    char began[32];
    uint64_t began_ns;
    char *node, *version;
    const slc_control *control;
    slc_store_report report;
    slc_store_backup_figures figures;
    slc_err rc;
    slc_error error;
    _Atomic uint64_t check_done, check_total;
    _Atomic bool cancelled;
    _Atomic int
        handoff; // who is first: the thread that has finished, or the loop that does not wait for it
    bool last_step; // of the thread: after the check, else after the definitions
} run;

struct slc_app_backup {
    slc_app_backup_options options;
    slc_http_backup_ops ops;
    uint64_t keep_free_bytes;
    step step;
    slc_store_backup *store;
    run *run;
    uv_thread_t thread;
    slc_mailbox mailbox;
    slc_mail mail;
    bool mailbox_open;
    void (*stopped)(void *arg);
    void *stopped_arg;

    // what is told of the last one
    char *dir;
    bool any;
    slc_err rc;
    slc_error error;
    uint64_t seconds, bytes, queues, messages;
};

static void run_free(run *r)
{
    slc_free(r->dir);
    slc_free(r->node);
    slc_free(r->version);
    slc_free(r);
}

/* ---- paths ---- */

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

static bool is_inside(const char *path, const char *dir)
{
    size_t bytes = strlen(dir);
    return strncmp(path, dir, bytes) == 0 && (path[bytes] == '/' || path[bytes] == 0);
}

// Absent (its parent is there), or an empty directory; neither in the data directory nor around it.
static slc_err dir_resolve(const slc_app_backup *b, slc_slice given, char **out, slc_error *error)
{
    char path[PATH_ROOM];
    if (given.bytes >= sizeof path - 64 || memchr(given.data, 0, given.bytes) != NULL)
        return slc_error_set(error, SLC_EINVAL, "the path of the backup is too long");
    snprintf(path, sizeof path, "%.*s", SLC_SLICE_FMT(given));
    for (size_t end = strlen(path); end > 1 && path[end - 1] == '/';)
        path[--end] = 0;
    char *slash = strrchr(path, '/');
    char *full = realpath(path, NULL);
    if (full == NULL && errno == ENOENT && slash != NULL && slash[1] != 0) {
        *slash = 0;
        char *parent = realpath(slash == path ? "/" : path, NULL);
        *slash = '/';
        if (parent == NULL)
            return path_error(error, "make a backup in", path);
        char joined[2 * PATH_ROOM];
        snprintf(joined, sizeof joined, "%s%s", strcmp(parent, "/") == 0 ? "" : parent, slash);
        free(parent); // NOLINT: realpath's own allocation
        *out = slc_strdup(joined);
    } else if (full == NULL) {
        return path_error(error, "make a backup in", path);
    } else {
        *out = slc_strdup(full);
        free(full); // NOLINT: realpath's own allocation
    }
    if (!is_inside(*out, b->options.instance->dir) && !is_inside(b->options.instance->dir, *out))
        return SLC_OK;
    slc_error_set(error, SLC_EINVAL, "%s and the data directory %s must not lie inside each other",
                  *out, b->options.instance->dir);
    slc_free(*out);
    *out = NULL;
    return SLC_EINVAL;
}

static slc_err dir_take(run *r, slc_error *error)
{
    r->made_dir = mkdir(r->dir, 0750) == 0;
    if (r->made_dir)
        return SLC_OK;
    if (errno != EEXIST)
        return path_error(error, "create", r->dir);
    bool empty;
    slc_err rc = slc_dir_empty(r->dir, &empty, error);
    if (rc == SLC_OK && !empty)
        rc = slc_error_set(error, SLC_EEXIST,
                           "%s is not empty; a backup wants a directory of its own", r->dir);
    return rc;
}

static void dir_clear(const run *r)
{
    static const char *const names[] = {"backup.json.new", "store/data.mdb", "store/lock.mdb",
                                        "control/data.mdb", "control/lock.mdb"};
    char path[PATH_ROOM];
    for (size_t i = 0; i < SLC_ARRAY_COUNT(names); i++) {
        path_in(path, r->dir, names[i]);
        unlink(path);
    }
    path_in(path, r->dir, "store");
    rmdir(path);
    path_in(path, r->dir, "control");
    rmdir(path);
    if (r->made_dir)
        rmdir(r->dir);
}

/* ---- the thread: what blocks ---- */

static void on_check(const char *what, uint64_t done, uint64_t total, void *arg)
{
    run *r = arg;
    (void)what;
    atomic_store(&r->check_done, done);
    atomic_store(&r->check_total, total);
}

static slc_err cancelled(run *r)
{
    return slc_error_set(&r->error, SLC_ECLOSED, "the backup was cancelled");
}

static slc_err file_bytes(run *r, const char *name, json_t *files)
{
    char path[PATH_ROOM];
    struct stat st;
    path_in(path, r->dir, name);
    if (stat(path, &st) != 0)
        return path_error(&r->error, "look at", path);
    json_object_set_new(files, name, json_integer(st.st_size));
    return SLC_OK;
}

static void time_text(char out[32])
{
    time_t now = time(NULL);
    struct tm utc;
    gmtime_r(&now, &utc);
    strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &utc);
}

static slc_err dir_sync(run *r)
{
    int fd = open(r->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool synced = fd >= 0 && fsync(fd) == 0;
    slc_err rc = synced ? SLC_OK : path_error(&r->error, "sync", r->dir);
    if (fd >= 0)
        close(fd);
    return rc;
}

static slc_err text_write(run *r, const char *text)
{
    char fresh[PATH_ROOM], path[PATH_ROOM];
    path_in(fresh, r->dir, "backup.json.new");
    path_in(path, r->dir, "backup.json");
    int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
    if (fd < 0)
        return path_error(&r->error, "create", fresh);
    size_t bytes = strlen(text);
    bool written = write(fd, text, bytes) == (ssize_t)bytes && fsync(fd) == 0;
    slc_err rc = written ? SLC_OK : path_error(&r->error, "write", fresh);
    close(fd);
    if (rc == SLC_OK && rename(fresh, path) != 0)
        rc = path_error(&r->error, "write", path);
    return rc == SLC_OK ? dir_sync(r) : rc;
}

static slc_err manifest_write(run *r)
{
    char ended[32];
    time_text(ended);
    json_t *files = json_object();
    slc_err rc = file_bytes(r, "store/data.mdb", files);
    if (rc == SLC_OK)
        rc = file_bytes(r, "control/data.mdb", files);
    json_t *root =
        json_pack("{s:i s:s s:s s:s s:s s:I s:I s:I s:o}", "format", SLC_BACKUP_FORMAT, "version",
                  r->version, "node", r->node, "began", r->began, "ended", ended, "queues",
                  (json_int_t)r->report.queues, "messages", (json_int_t)r->report.messages, "bytes",
                  (json_int_t)r->report.bytes, "files", files);
    char *text = rc == SLC_OK ? json_dumps(root, JSON_INDENT(2)) : NULL;
    json_decref(root);
    if (rc == SLC_OK && text == NULL)
        rc = slc_error_set(&r->error, SLC_ENOMEM, "writing backup.json");
    // The entries of store and control must be there before this names them.
    if (rc == SLC_OK)
        rc = dir_sync(r);
    if (rc == SLC_OK)
        rc = text_write(r, text);
    free(text); // NOLINT: jansson's own allocation
    return rc;
}

static slc_err check_step(run *r)
{
    char path[PATH_ROOM];
    path_in(path, r->dir, "store");
    slc_store_tool tool = {.dir = path, .progress = on_check, .arg = r};
    slc_err rc = slc_store_check(&tool, &r->report, &r->error);
    if (rc != SLC_OK) {
        slc_error_wrap(&r->error, "the copy is not as it should be");
        return rc;
    }
    slc_err point = SLC_OK;
    if (SLC_FAILPOINT("backup.manifest.before", &point))
        return slc_error_set(&r->error, point, "backup.manifest.before");
    return atomic_load(&r->cancelled) ? cancelled(r) : manifest_write(r);
}

static void run_thread(void *arg)
{
    run *r = arg;
    if (!r->last_step) {
        char path[PATH_ROOM];
        path_in(path, r->dir, "control");
        r->rc = slc_control_copy(r->control, path, &r->error);
    } else {
        r->rc = check_step(r);
    }
    if (r->rc != SLC_OK)
        dir_clear(r);
    if (atomic_exchange(&r->handoff, HANDOFF_FINISHED) == HANDOFF_LEFT)
        run_free(r);
    else
        slc_mailbox_post(&r->owner->mailbox, &r->owner->mail);
}

/* ---- the loop ---- */

static void backup_free(slc_app_backup *b)
{
    void (*stopped)(void *arg) = b->stopped;
    void *arg = b->stopped_arg;
    slc_free((void *)(uintptr_t)b->options.node);
    slc_free((void *)(uintptr_t)b->options.version);
    slc_free(b->dir);
    slc_free(b);
    stopped(arg);
}

static void mailbox_closed(uv_handle_t *handle)
{
    slc_mailbox *box = SLC_CONTAINER_OF((uv_async_t *)handle, slc_mailbox, async);
    slc_app_backup *b = SLC_CONTAINER_OF(box, slc_app_backup, mailbox);
    b->mailbox_open = false;
    if (b->stopped != NULL)
        backup_free(b);
}

// Nothing runs any more; r is freed.
static void run_end(slc_app_backup *b, run *r)
{
    b->step = STEP_NONE;
    b->run = NULL;
    b->rc = r->rc;
    b->error = r->error;
    b->seconds = (slc_clock_now_ns() - r->began_ns) / SLC_NS_PER_S;
    b->bytes = r->report.file_bytes;
    b->queues = r->report.queues;
    b->messages = r->report.messages;
    if (r->rc == SLC_OK)
        slc_log(SLC_LOG_INFO, "store", "backup.done",
                SLC_FIELDS(SLC_F_STR("dir", r->dir), SLC_F_U64("messages", b->messages),
                           SLC_F_U64("bytes", b->bytes), SLC_F_U64("seconds", b->seconds),
                           SLC_F_U64("read_longest_us", r->figures.read_longest_ns / 1000)),
                "backup to %s complete: %" PRIu64 " messages in %" PRIu64 " queues", r->dir,
                b->messages, b->queues);
    else
        slc_log(r->rc == SLC_ECLOSED ? SLC_LOG_INFO : SLC_LOG_ERROR, "store", "backup.failed",
                SLC_FIELDS(SLC_F_STR("dir", r->dir)), "no backup in %s: %s", r->dir, r->error.text);
    run_free(r);
    if (b->stopped != NULL) {
        if (b->mailbox_open)
            slc_mailbox_close(&b->mailbox, mailbox_closed);
        else
            backup_free(b);
    }
}

static void thread_start(slc_app_backup *b, step next)
{
    run *r = b->run;
    b->step = next;
    r->last_step = next == STEP_CHECK;
    atomic_store(&r->handoff, HANDOFF_NONE);
    if (uv_thread_create(&b->thread, run_thread, r) == 0)
        return;
    r->rc = slc_error_set(&r->error, SLC_EINTERNAL, "creating the thread of a backup");
    dir_clear(r);
    run_end(b, r);
}

static void on_mail(slc_mail *item, void *arg)
{
    slc_app_backup *b = arg;
    (void)item;
    uv_thread_join(&b->thread);
    run *r = b->run;
    if (r->rc == SLC_OK && atomic_load(&r->cancelled) && b->step == STEP_DEFINITIONS) {
        r->rc = cancelled(r);
        dir_clear(r);
    }
    if (r->rc == SLC_OK && b->step == STEP_DEFINITIONS)
        thread_start(b, STEP_CHECK);
    else
        run_end(b, r);
}

static void on_store_done(slc_err rc, const slc_store_backup_figures *figures,
                          const slc_error *error, void *arg)
{
    slc_app_backup *b = arg;
    run *r = b->run;
    b->store = NULL;
    r->figures = *figures;
    if (rc == SLC_OK && !atomic_load(&r->cancelled)) {
        thread_start(b, STEP_DEFINITIONS);
        return;
    }
    r->rc = rc;
    if (rc == SLC_OK)
        r->rc = cancelled(r);
    else
        r->error = *error;
    dir_clear(r);
    run_end(b, r);
}

static slc_err start(slc_slice dir, uint64_t bytes_per_s, slc_error *error, void *arg)
{
    slc_app_backup *b = arg;
    if (b->step != STEP_NONE)
        return slc_error_set(error, SLC_EBUSY, "a backup to %s is running", b->dir);
    if (b->stopped != NULL)
        return slc_error_set(error, SLC_ECLOSED, "the broker is stopping");
    run *r = slc_alloc_zero(1, sizeof *r);
    r->owner = b;
    slc_err rc = dir_resolve(b, dir, &r->dir, error);
    if (rc == SLC_OK)
        rc = dir_take(r, error);
    if (rc == SLC_OK && !b->mailbox_open) {
        rc = slc_mailbox_init(&b->mailbox, b->options.world->loop, on_mail, b);
        b->mailbox_open = rc == SLC_OK;
        if (rc == SLC_OK)
            slc_mailbox_unref(&b->mailbox); // an idle one must not keep the loop
        else
            slc_error_set(error, rc, "creating a mailbox");
    }
    if (rc != SLC_OK)
        goto undo;
    char path[PATH_ROOM];
    path_in(path, r->dir, "store");
    slc_store_backup_options options = {.dir = path,
                                        .bytes_per_s = bytes_per_s,
                                        .keep_free_bytes = b->keep_free_bytes,
                                        .done = on_store_done,
                                        .arg = b};
    r->began_ns = slc_clock_now_ns();
    time_text(r->began);
    r->node = slc_strdup(b->options.node);
    r->version = slc_strdup(b->options.version);
    r->control = b->options.world->control;
    rc = slc_store_backup_start(b->options.world->store, &options, &b->store, error);
    if (rc != SLC_OK)
        goto undo;
    b->run = r;
    b->step = STEP_COPY;
    b->any = true;
    slc_free(b->dir);
    b->dir = slc_strdup(r->dir);
    slc_log(SLC_LOG_INFO, "store", "backup.begin",
            SLC_FIELDS(SLC_F_STR("dir", r->dir), SLC_F_U64("bytes_per_s", bytes_per_s)),
            "backup to %s begins", r->dir);
    return SLC_OK;

undo:
    if (r->made_dir)
        rmdir(r->dir);
    run_free(r);
    return rc;
}

static void cancel(void *arg)
{
    slc_app_backup *b = arg;
    if (b->run == NULL)
        return;
    atomic_store(&b->run->cancelled, true);
    if (b->store != NULL)
        slc_store_backup_cancel(b->store);
}

static void look(slc_http_backup *out, void *arg)
{
    const slc_app_backup *b = arg;
    static const char *const steps[] = {
        [STEP_COPY] = "copy", [STEP_DEFINITIONS] = "definitions", [STEP_CHECK] = "check"};
    *out = (slc_http_backup){.state = "none"};
    if (!b->any)
        return;
    out->dir = b->dir;
    if (b->step != STEP_NONE) {
        out->state = "running";
        out->step = steps[b->step];
        out->seconds = (slc_clock_now_ns() - b->run->began_ns) / SLC_NS_PER_S;
        if (b->store != NULL) {
            slc_store_backup_figures figures;
            slc_store_backup_figure(b->store, &figures);
            out->done = figures.bytes;
            out->total = figures.bytes_total;
            out->behind_bytes = figures.behind_bytes;
        } else if (b->step == STEP_CHECK) {
            out->done = atomic_load(&b->run->check_done);
            out->total = atomic_load(&b->run->check_total);
        }
        return;
    }
    out->state = b->rc == SLC_OK ? "done" : "failed";
    out->seconds = b->seconds;
    out->reason = b->rc == SLC_OK ? NULL : b->error.text;
    if (b->rc == SLC_OK) {
        out->bytes = b->bytes;
        out->queues = b->queues;
        out->messages = b->messages;
    }
}

slc_app_backup *slc_app_backup_new(const slc_app_backup_options *options)
{
    slc_app_backup *b = slc_alloc_zero(1, sizeof *b);
    b->options = *options;
    b->options.node = slc_strdup(options->node);
    b->options.version = slc_strdup(options->version);
    b->ops = (slc_http_backup_ops){start, cancel, look, b};
    return b;
}

void slc_app_backup_keep_free(slc_app_backup *backup, uint64_t bytes)
{
    backup->keep_free_bytes = bytes;
}

const slc_http_backup_ops *slc_app_backup_ops(const slc_app_backup *backup)
{
    return &backup->ops;
}

void slc_app_backup_stop(slc_app_backup *backup, void (*done)(void *arg), void *arg)
{
    cancel(backup);
    backup->stopped = done;
    backup->stopped_arg = arg;
    // It reads the copy only, and what it has is its own then.
    if (backup->step == STEP_CHECK &&
        atomic_exchange(&backup->run->handoff, HANDOFF_LEFT) == HANDOFF_NONE)
        backup->step = STEP_NONE;
    if (backup->step != STEP_NONE)
        return; // run_end goes on
    if (backup->mailbox_open)
        slc_mailbox_close(&backup->mailbox, mailbox_closed);
    else
        backup_free(backup);
}
