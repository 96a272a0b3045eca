// backup DIR: the broker makes the copy; this begins it, shows how far it is, and cancels it when interrupted.
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "ctl.h"

enum { REQUEST_S = 60, LOOK_MS = 100, EXIT_SIGNAL = 128, EXIT_CANNOT_CREATE = 73 };

static volatile sig_atomic_t interrupted; // number of the signal

static void on_signal(int number)
{
    interrupted = number;
}

// The broker has another working directory.
static char *absolute(const char *dir)
{
    if (dir[0] == '/')
        return slc_strdup(dir);
    char *here = getcwd(NULL, 0);
    if (here == NULL)
        return NULL;
    slc_buffer path = {0};
    slc_buffer_format(&path, "%s/%s", here, dir);
    char *text = slc_strndup((const char *)path.data, path.bytes);
    slc_buffer_fini(&path);
    free(here); // NOLINT: getcwd's own allocation
    return text;
}

// "100MB", "50MiB", "1000000": bytes per second.
static bool rate_parse(const char *text, uint64_t *out)
{
    static const struct {
        const char *name;
        uint64_t factor;
    } units[] = {
        {"", 1},          {"KB", 1000},     {"MB", 1000 * 1000}, {"GB", 1000 * 1000 * 1000},
        {"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}};
    char *end;
    errno = 0;
    if (text[0] < '0' || text[0] > '9')
        return false;
    uint64_t count = strtoull(text, &end, 10);
    for (size_t i = 0; i < SLC_ARRAY_COUNT(units); i++) {
        if (strcmp(end, units[i].name) == 0) {
            *out = count * units[i].factor;
            return errno == 0 && count > 0 && count <= UINT64_MAX / units[i].factor / 16;
        }
    }
    return false;
}

static uint64_t number_of(const json_t *object, const char *key)
{
    return (uint64_t)json_integer_value(json_object_get(object, key));
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL ? text : "";
}

static void progress_show(const slc_ctl *ctl, const json_t *state)
{
    static const char *const steps[][2] = {{"copy", "Copying the messages"},
                                           {"definitions", "Copying the definitions"},
                                           {"check", "Checking the copy"}};
    if (ctl->quiet || !isatty(STDERR_FILENO))
        return;
    const char *what = "";
    for (size_t i = 0; i < SLC_ARRAY_COUNT(steps); i++)
        if (strcmp(steps[i][0], text_of(state, "step")) == 0)
            what = steps[i][1];
    uint64_t done = number_of(state, "done"), total = number_of(state, "total");
    fprintf(stderr, "\r%-24s", what);
    if (total > 0)
        // What comes in meanwhile is copied as well: there may be more in the end than there was at the beginning.
        fprintf(stderr, "%3" PRIu64 " %%  %.1f MB   ", done >= total ? 99 : done * 100 / total,
                (double)done / 1e6);
}

static void progress_end(const slc_ctl *ctl)
{
    if (!ctl->quiet && isatty(STDERR_FILENO))
        fputs("\r\033[K", stderr);
}

static int backup_begin(slc_ctl *ctl, const char *dir, uint64_t rate)
{
    slc_buffer path = {0};
    slc_buffer_text(&path, "/api/sluice/backup?dir=");
    slc_ctl_path_segment(&path, dir);
    slc_buffer_format(&path, "&rate=%" PRIu64, rate);
    slc_buffer_put(&path, "", 1);
    slc_ctl_reply reply;
    int rc = slc_ctl_request(ctl, "POST", (const char *)path.data, NULL, &reply);
    slc_buffer_fini(&path);
    if (rc != CTL_OK || ctl->dry_run)
        return rc;
    if (reply.status / 100 != 2)
        rc = slc_ctl_reply_error(&reply, reply.status == 409 ? CTL_TEMPFAIL : EXIT_CANNOT_CREATE);
    slc_ctl_reply_fini(&reply);
    return rc;
}

static int backup_result(const slc_ctl *ctl, const json_t *state, int cancelled)
{
    if (strcmp(text_of(state, "state"), "done") == 0) {
        if (!ctl->quiet)
            printf("Backup complete: %" PRIu64 " messages in %" PRIu64 " queues, %.1f MB, in %s\n",
                   number_of(state, "messages"), number_of(state, "queues"),
                   (double)number_of(state, "bytes") / 1e6, text_of(state, "dir"));
        return CTL_OK;
    }
    const char *reason = text_of(state, "reason");
    return slc_ctl_error(cancelled != 0 ? cancelled : EXIT_CANNOT_CREATE, "no backup was made: %s",
                         reason[0] != 0 ? reason : "the broker knows of none");
}

static int backup_wait(slc_ctl *ctl)
{
    uint64_t deadline_ns = ctl->timeout == NULL || ctl->timeout_s < 0
                               ? UINT64_MAX
                               : slc_clock_now_ns() + (uint64_t)(ctl->timeout_s * 1e9);
    int cancelled = 0;
    ctl->timeout_s =
        REQUEST_S; // of each question: the deadline must not end this before it has cancelled
    for (;;) {
        slc_ctl_reply reply;
        int why = interrupted != 0                    ? EXIT_SIGNAL + interrupted
                  : slc_clock_now_ns() >= deadline_ns ? CTL_TEMPFAIL
                                                      : 0;
        bool cancel = why != 0 && cancelled == 0;
        if (cancel)
            cancelled = why;
        int rc =
            slc_ctl_request(ctl, cancel ? "DELETE" : "GET", "/api/sluice/backup", NULL, &reply);
        if (rc == CTL_OK && reply.status / 100 != 2)
            rc = slc_ctl_reply_error(&reply, CTL_SOFTWARE);
        else if (rc == CTL_OK && strcmp(text_of(reply.body, "state"), "running") != 0) {
            progress_end(ctl);
            rc = backup_result(ctl, reply.body, cancelled);
            slc_ctl_reply_fini(&reply);
            return rc;
        }
        if (rc != CTL_OK) {
            progress_end(ctl);
            return rc;
        }
        progress_show(ctl, reply.body);
        slc_ctl_reply_fini(&reply);
        nanosleep(&(struct timespec){.tv_nsec = LOOK_MS * 1000000L}, NULL);
    }
}

int slc_ctl_backup(slc_ctl *ctl)
{
    uint64_t rate = 0;
    if (ctl->rate != NULL && !rate_parse(ctl->rate, &rate))
        return slc_ctl_usage_error(
            ctl, "--rate is bytes per second, such as 100MB or 50MiB, not '%s'", ctl->rate);
    char *dir = absolute(ctl->args[0]);
    if (dir == NULL)
        return slc_ctl_error(CTL_DATA, "cannot tell the working directory: %s", strerror(errno));
    int rc = slc_ctl_check_node(ctl);
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    if (rc == CTL_OK)
        rc = backup_begin(ctl, dir, rate);
    if (rc == CTL_OK && !ctl->dry_run)
        rc = backup_wait(ctl);
    slc_free(dir);
    return rc;
}
