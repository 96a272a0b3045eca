#include "app/store_tool.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <slc/store_tools.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "http/json.h"

enum {
    EXIT_USAGE_ERROR = 64,
    EXIT_DAMAGED = 65,
    EXIT_INTERNAL = 70,
    EXIT_CANNOT_CREATE = 73,
    EXIT_IO = 74,
    EXIT_PERMISSION = 77,
    EXIT_VERSION = 78,
};

typedef struct tool_run {
    char dir[4096];  // of the store
    char lock[4096]; // "": none
    int lock_fd;
    bool progress;     // to standard error
    unsigned shown;    // percent on the terminal
    const char *phase; // of it
} tool_run;

static int status_of(slc_err rc)
{
    switch (rc) {
    case SLC_OK:
        return 0;
    case SLC_ECORRUPT:
    case SLC_ENOTFOUND:
        return EXIT_DAMAGED;
    case SLC_EBUSY:
    case SLC_ENOSPC:
    case SLC_EEXIST:
        return EXIT_CANNOT_CREATE;
    case SLC_EACCESS:
        return EXIT_PERMISSION;
    case SLC_EVERSION:
        return EXIT_VERSION;
    case SLC_EIO:
        return EXIT_IO;
    default:
        return EXIT_INTERNAL;
    }
}

slc_store_action slc_store_action_of(const char *name)
{
    static const char *const names[] = {
        [SLC_STORE_ACTION_STAT] = "stat",
        [SLC_STORE_ACTION_CHECK] = "check",
        [SLC_STORE_ACTION_COMPACT] = "compact",
        [SLC_STORE_ACTION_SALVAGE] = "salvage",
    };
    for (unsigned i = SLC_STORE_ACTION_STAT; i <= SLC_STORE_ACTION_SALVAGE; i++)
        if (strcmp(name, names[i]) == 0)
            return (slc_store_action)i;
    return SLC_STORE_ACTION_NONE;
}

/* ---- terminal ---- */

static void progress_clear(tool_run *t)
{
    if (t->phase != NULL)
        fputs("\r\033[K", stderr);
    t->phase = NULL;
}

static void progress_show(const char *what, uint64_t done, uint64_t total, void *arg)
{
    tool_run *t = arg;
    unsigned percent = total == 0 || done >= total ? 99 : (unsigned)(done * 100 / total);
    if (!t->progress || (t->phase != NULL && strcmp(t->phase, what) == 0 && t->shown == percent))
        return;
    t->phase = what;
    t->shown = percent;
    fprintf(stderr, "\r\033[K%s: %u %%", what, percent);
    fflush(stderr);
}

static void damage_print(const slc_store_damage *damage, void *arg)
{
    tool_run *t = arg;
    progress_clear(t);
    printf("damaged: %s: %s\n    %s\n", damage->where, damage->what, damage->means);
    if (damage->positions[0] != 0)
        printf("    positions lost: %s\n", damage->positions);
}

static slc_store_tool tool_of(tool_run *t, bool print)
{
    return (slc_store_tool){.dir = t->dir,
                            .damage = print ? damage_print : NULL,
                            .progress = t->progress ? progress_show : NULL,
                            .arg = t};
}

static int fail(tool_run *t, slc_err rc, const slc_error *error)
{
    progress_clear(t);
    fflush(stdout);
    fprintf(stderr, "Error:\n%s\n", error->text);
    return status_of(rc);
}

/* ---- which directory, and is it free ---- */

static bool exists(const char *dir, const char *name)
{
    char path[4096];
    struct stat stat_of;
    return snprintf(path, sizeof path, "%s/%s", dir, name) < (int)sizeof path &&
           stat(path, &stat_of) == 0;
}

static slc_err dir_find(tool_run *t, const char *dir, slc_error *error)
{
    bool data = exists(dir, "store/data.mdb");
    if (!data && !exists(dir, "data.mdb"))
        return slc_error_set(error, SLC_ENOTFOUND,
                             "there is no store in %s: neither store/data.mdb nor data.mdb can be "
                             "found there",
                             dir);
    int bytes = snprintf(t->dir, sizeof t->dir, "%s%s", dir, data ? "/store" : "");
    int lock_bytes = snprintf(t->lock, sizeof t->lock, "%s/%s", dir, data ? "LOCK" : "../LOCK");
    if (bytes >= (int)sizeof t->dir || lock_bytes >= (int)sizeof t->lock)
        return slc_error_set(error, SLC_EINVAL, "the path %.100s... is too long", dir);
    if (!data && !exists(dir, "../LOCK"))
        t->lock[0] = 0; // a copy of a store alone: no daemon can have it open
    return SLC_OK;
}

// Of its directory's owner: the daemon has to open it later.
static void lock_owner(const tool_run *t)
{
    struct stat stat_of;
    if (geteuid() == 0 && stat(t->dir, &stat_of) == 0 &&
        fchown(t->lock_fd, stat_of.st_uid, stat_of.st_gid) != 0)
        fprintf(stderr, "warning: cannot change the owner of %s: %s\n", t->lock, strerror(errno));
}

static slc_err dir_lock(tool_run *t, bool alone, slc_error *error)
{
    if (t->lock[0] == 0)
        return SLC_OK;
    t->lock_fd = open(t->lock, O_RDONLY | O_CLOEXEC);
    if (t->lock_fd < 0 && errno == ENOENT && !alone)
        return SLC_OK; // a copy: it is not made for the sake of looking
    if (t->lock_fd < 0 && errno == ENOENT) {
        t->lock_fd = open(t->lock, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
        if (t->lock_fd >= 0)
            lock_owner(t);
    }
    if (t->lock_fd < 0) {
        int code = errno;
        return slc_error_set(error, slc_err_from_errno(code), "cannot open %s: %s", t->lock,
                             strerror(code));
    }
    if (flock(t->lock_fd, (alone ? LOCK_EX : LOCK_SH) | LOCK_NB) == 0)
        return SLC_OK;
    if (errno != EWOULDBLOCK)
        return slc_error_set(error, SLC_EIO, "cannot lock %s: %s", t->lock, strerror(errno));
    return slc_error_set(
        error, SLC_EBUSY,
        "the store in %s is in use. Stop the broker first (sluicectl stop), or work on "
        "a copy: sluicectl backup makes one while the broker runs",
        t->dir);
}

/* ---- actions ---- */

static void stat_json(const slc_store_report *r, slc_buffer *out)
{
    slc_json w = slc_json_to(out);
    slc_json_open(&w, '{');
    slc_json_put_bool(&w, "clean_stop", r->clean);
    slc_json_put_u64(&w, "queues", r->queues);
    slc_json_put_u64(&w, "live_messages", r->messages);
    slc_json_put_u64(&w, "live_bytes", r->bytes);
    slc_json_put_u64(&w, "log_bytes", r->log_bytes);
    slc_json_put_u64(&w, "log_chunks", r->log_chunks);
    slc_json_put_u64(&w, "log_messages", r->log_messages);
    slc_json_put_u64(&w, "segments", r->segments);
    slc_json_put_u64(&w, "segment_bytes", r->segment_bytes);
    slc_json_put_u64(&w, "segment_messages", r->segment_messages);
    slc_json_put_u64(&w, "residents", r->residents);
    slc_json_put_u64(&w, "resident_bytes", r->resident_bytes);
    slc_json_put_u64(&w, "file_bytes", r->file_bytes);
    slc_json_put_u64(&w, "page_bytes", r->page_bytes);
    slc_json_put_u64(&w, "used_bytes", r->pages_used * r->page_bytes);
    slc_json_put_u64(&w, "free_bytes", r->pages_free * r->page_bytes);
    slc_json_key(&w, "databases");
    slc_json_open(&w, '{');
    for (uint32_t i = 0; i < r->database_count && i < SLC_STORE_TOOL_DATABASES; i++) {
        slc_json_key(&w, r->databases[i].name);
        slc_json_open(&w, '{');
        slc_json_put_u64(&w, "entries", r->databases[i].entries);
        slc_json_put_u64(&w, "bytes", r->databases[i].bytes);
        slc_json_close(&w, '}');
    }
    slc_json_close(&w, '}');
    slc_json_close(&w, '}');
}

static int run_stat(tool_run *t)
{
    slc_store_tool tool = tool_of(t, false);
    slc_store_report report;
    slc_error error = {0};
    slc_err rc = slc_store_figures(&tool, &report, &error);
    if (rc != SLC_OK && rc != SLC_ECORRUPT)
        return fail(t, rc, &error);
    if (rc == SLC_ECORRUPT && report.pages == 0)
        return fail(t, rc, &error);
    progress_clear(t);
    slc_buffer out = {0};
    stat_json(&report, &out);
    printf("%.*s\n", SLC_SLICE_FMT(slc_buffer_slice(&out)));
    slc_buffer_fini(&out);
    if (rc == SLC_ECORRUPT)
        fprintf(stderr,
                "warning: the store is damaged, and these figures are what can be read (%s); "
                "sluicectl store check tells all\n",
                error.text);
    return status_of(rc);
}

static void report_print(const slc_store_report *r)
{
    printf("%" PRIu64 " queues, %" PRIu64 " messages (%" PRIu64 " in %" PRIu64
           " chunks of the log, %" PRIu64 " in %" PRIu64 " segments), %" PRIu64 " large contents",
           r->queues, r->messages, r->log_messages, r->log_chunks, r->segment_messages, r->segments,
           r->residents);
    if (r->unfinished > 0)
        printf(", %" PRIu64 " pieces of an unfinished batch that the next start deletes",
               r->unfinished);
    putchar('\n');
}

static void damage_summary(const slc_store_report *r)
{
    printf("%" PRIu64 " damaged, %" PRIu64 " messages lost%s", r->damages, r->lost,
           r->uncounted > 0 ? " and others that nobody can count" : "");
    if (r->returned > 0)
        printf(", %" PRIu64 " that were settled come back", r->returned);
    printf("; what is left: ");
    report_print(r);
}

static int run_check(tool_run *t)
{
    slc_store_tool tool = tool_of(t, true);
    slc_store_report report;
    slc_error error = {0};
    slc_err rc = slc_store_check(&tool, &report, &error);
    progress_clear(t);
    if (rc != SLC_OK && (rc != SLC_ECORRUPT || report.pages == 0))
        return fail(t, rc, &error);
    printf("store in %s: ", t->dir);
    if (rc == SLC_OK) {
        fputs("no damage; ", stdout);
        report_print(&report);
    } else {
        damage_summary(&report);
    }
    return status_of(rc);
}

static int run_compact(tool_run *t)
{
    slc_store_tool tool = tool_of(t, true);
    uint64_t before = 0, after = 0;
    slc_error error = {0};
    slc_err rc = slc_store_compact(&tool, &before, &after, &error);
    if (rc == SLC_ECORRUPT)
        slc_error_wrap(&error, "a damaged store is not compacted; see sluicectl store salvage");
    if (rc != SLC_OK)
        return fail(t, rc, &error);
    progress_clear(t);
    printf("store in %s: %" PRIu64 " bytes before, %" PRIu64 " bytes after\n", t->dir, before,
           after);
    return 0;
}

static bool confirmed(bool yes, int *status)
{
    if (yes)
        return true;
    if (isatty(STDIN_FILENO) == 0) {
        fputs("Nothing was changed. Say --yes to have it done\n", stderr);
        *status = EXIT_USAGE_ERROR;
        return false;
    }
    char answer[16] = "";
    fputs("Go on? Type yes: ", stdout);
    fflush(stdout);
    if (fgets(answer, sizeof answer, stdin) != NULL && strcmp(answer, "yes\n") == 0)
        return true;
    puts("Nothing was changed.");
    *status = EXIT_DAMAGED;
    return false;
}

static int run_salvage(tool_run *t, bool yes)
{
    slc_store_tool tool = tool_of(t, true);
    slc_store_report report;
    slc_error error = {0};
    slc_err rc = slc_store_check(&tool, &report, &error);
    progress_clear(t);
    if (rc == SLC_OK) {
        printf("store in %s: no damage; nothing was done\n", t->dir);
        return 0;
    }
    if (rc != SLC_ECORRUPT || report.pages == 0)
        return fail(t, rc, &error);
    printf("store in %s: ", t->dir);
    damage_summary(&report);
    printf(
        "Salvage writes a new data file with what is left and keeps the old one beside it. Those "
        "%" PRIu64 " messages%s are then lost for good; all others count as delivered before.\n",
        report.lost, report.uncounted > 0 ? ", and those that nobody can count," : "");
    fflush(stdout);
    int status = 0;
    if (!confirmed(yes, &status))
        return status;
    char kept[256];
    tool.damage = NULL; // they were printed
    rc = slc_store_salvage(&tool, &report, kept, sizeof kept, &error);
    if (rc != SLC_OK)
        return fail(t, rc, &error);
    progress_clear(t);
    printf("store in %s: salvaged; the old file is %s/%s (delete it when nothing is missed); ",
           t->dir, t->dir, kept);
    report_print(&report);
    return 0;
}

int slc_store_tool_run(slc_store_action action, const char *dir, bool yes, bool quiet)
{
    tool_run t = {.lock_fd = -1, .progress = !quiet && isatty(STDERR_FILENO) != 0};
    slc_error error = {0};
    bool alone = action == SLC_STORE_ACTION_COMPACT || action == SLC_STORE_ACTION_SALVAGE;
    slc_err rc = dir_find(&t, dir, &error);
    if (rc == SLC_OK)
        rc = dir_lock(&t, alone, &error);
    int status = 0;
    if (rc != SLC_OK)
        status = fail(&t, rc, &error);
    else if (action == SLC_STORE_ACTION_STAT)
        status = run_stat(&t);
    else if (action == SLC_STORE_ACTION_CHECK)
        status = run_check(&t);
    else if (action == SLC_STORE_ACTION_COMPACT)
        status = run_compact(&t);
    else
        status = run_salvage(&t, yes);
    if (t.lock_fd >= 0)
        close(t.lock_fd);
    if (fflush(stdout) != 0 && status == 0)
        status = EXIT_IO;
    return status;
}
