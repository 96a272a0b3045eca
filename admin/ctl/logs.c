// set_log_level, rotate_logs, log_location, log_tail, log_tail_stream.
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "ctl.h"

enum { LINES_DEFAULT = 50, LINES_MAX = 10000, POLL_MS = 300 };

int slc_ctl_log_level(slc_ctl *ctl)
{
    json_t *body = json_pack("{s:s}", "level", ctl->args[0]);
    if (body == NULL)
        return slc_ctl_error(CTL_DATA, "the level is not UTF-8");
    // Said when it is so: rabbitmqctl says nothing about a level that is none, and ends with 69.
    int rc = slc_ctl_apply(ctl, "PUT", slc_strdup("/api/sluice/log/level"), body, CTL_DATA);
    if (rc == CTL_OK)
        slc_ctl_banner(ctl, "Setting log level to \"%s\" ...", ctl->args[0]);
    return rc == CTL_DATA && ctl->alias ? CTL_UNAVAILABLE : rc;
}

int slc_ctl_log_rotate(slc_ctl *ctl)
{
    slc_ctl_banner(ctl, "Reopening the log files ...");
    return slc_ctl_apply(ctl, "POST", slc_strdup("/api/sluice/logs/rotate"), NULL, CTL_DATA);
}

int slc_ctl_log_location(slc_ctl *ctl)
{
    slc_ctl_reply reply;
    size_t i;
    json_t *file;
    int rc = slc_ctl_get(ctl, "/api/sluice/status", &reply);
    if (rc != CTL_OK)
        return rc;
    json_t *files = json_object_get(reply.body, "log_files");
    slc_ctl_banner(ctl, "Log file location(s) on node %s ...", slc_ctl_text_of(reply.body, "node"));
    while (!ctl->all && json_array_size(files) > 1)
        json_array_remove(files, 1);
    if (slc_ctl_wants_json(ctl))
        slc_ctl_print_json(files);
    else
        json_array_foreach(files, i, file) printf("%s\n", json_string_value(file));
    slc_ctl_reply_fini(&reply);
    return CTL_OK;
}

// The last lines, and the number of the newest one there is.
static int lines_get(slc_ctl *ctl, uint64_t count, uint64_t after, uint64_t *last)
{
    slc_ctl_reply reply;
    char path[128];
    size_t i;
    json_t *line;
    snprintf(path, sizeof path, "/api/sluice/log?lines=%" PRIu64 "&after=%" PRIu64, count, after);
    int rc = slc_ctl_get(ctl, path, &reply);
    if (rc != CTL_OK)
        return rc;
    json_array_foreach(json_object_get(reply.body, "lines"), i, line)
        printf("%s\n", json_string_value(line));
    *last = slc_ctl_number_of(reply.body, "last");
    slc_ctl_reply_fini(&reply);
    return CTL_OK;
}

int slc_ctl_log_tail(slc_ctl *ctl)
{
    uint64_t count = ctl->number > 0 ? ctl->number : LINES_DEFAULT, last;
    if (count > LINES_MAX)
        return slc_ctl_error(CTL_DATA, "--number is at most %d", LINES_MAX);
    int rc = CTL_OK;
    char *node = slc_ctl_node_name(ctl, &rc);
    if (node == NULL)
        return rc;
    slc_ctl_banner(ctl, "Last %" PRIu64 " log lines on node %s ...", count, node);
    slc_free(node);
    return lines_get(ctl, count, 0, &last);
}

int slc_ctl_log_tail_stream(slc_ctl *ctl)
{
    uint64_t last = 0, end = UINT64_MAX;
    int rc = CTL_OK;
    char *node = slc_ctl_node_name(ctl, &rc);
    if (node == NULL)
        return rc;
    if (ctl->duration_s > 0)
        end = slc_clock_now_ns() + ctl->duration_s * SLC_NS_PER_S;
    slc_ctl_banner(ctl, "Streaming logs from node %s ...", node);
    slc_free(node);
    rc = lines_get(ctl, 0, 0, &last); // from now on
    while (rc == CTL_OK && slc_clock_now_ns() < end) {
        fflush(stdout);
        nanosleep(&(struct timespec){.tv_nsec = POLL_MS * 1000000L}, NULL);
        rc = lines_get(ctl, LINES_MAX, last, &last);
    }
    return rc;
}
