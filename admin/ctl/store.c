// store stat | check | compact | salvage. Figures of a running broker come from it; everything else is done by sluiced, which
// has the store's code, on a node that is stopped or on a copy.
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ctl.h"

enum { WORDS_MAX = 8 };

/* ---- figures ---- */

static const char *const stat_columns[] = {"name", "value"};

static void figure_row(slc_ctl_output *out, const char *prefix, const char *key,
                       const json_t *value)
{
    char name[128], number[32];
    snprintf(name, sizeof name, "%s%s%s", prefix, prefix[0] != 0 ? "." : "", key);
    slc_ctl_cell cells[2] = {{.kind = CELL_TEXT, .text = slc_slice_str(name)}};
    if (json_is_boolean(value)) {
        cells[1] = (slc_ctl_cell){.kind = CELL_BOOL, .boolean = json_is_true(value)};
    } else if (json_is_string(value)) {
        cells[1] =
            (slc_ctl_cell){.kind = CELL_TEXT, .text = slc_slice_str(json_string_value(value))};
    } else {
        snprintf(number, sizeof number, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        cells[1] = (slc_ctl_cell){.kind = CELL_NUMBER, .text = slc_slice_str(number)};
    }
    slc_ctl_output_row(out, cells);
}

static void figures_rows(slc_ctl_output *out, const char *prefix, json_t *object)
{
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        char inner[128];
        if (!json_is_object(value)) {
            figure_row(out, prefix, key, value);
            continue;
        }
        snprintf(inner, sizeof inner, "%s%s%s", prefix, prefix[0] != 0 ? "." : "", key);
        figures_rows(out, inner, value);
    }
}

static void figures_print(const slc_ctl *ctl, json_t *figures)
{
    if (ctl->format == CTL_JSON || ctl->format == CTL_JSON_STREAM) {
        json_dumpf(figures, stdout, JSON_COMPACT);
        putchar('\n');
        return;
    }
    slc_ctl_output out;
    slc_ctl_output_begin(&out, ctl, stdout, stat_columns, SLC_ARRAY_COUNT(stat_columns));
    figures_rows(&out, "", figures);
    slc_ctl_output_end(&out);
}

static int stat_online(slc_ctl *ctl)
{
    slc_ctl_reply reply;
    int rc = slc_ctl_check_node(ctl);
    if (rc != CTL_OK)
        return rc;
    rc = slc_ctl_request(ctl, "GET", "/api/store", NULL, &reply);
    if (rc != CTL_OK)
        return rc;
    if (reply.status == 200)
        figures_print(ctl, reply.body);
    else
        rc = slc_ctl_reply_error(&reply, CTL_SOFTWARE);
    slc_ctl_reply_fini(&reply);
    return rc;
}

/* ---- sluiced ---- */

// The one that belongs to this sluicectl: SLUICECTL_SLUICED, beside it, in ../sbin, in the build tree, or in PATH.
const char *slc_ctl_daemon_path(char *path, size_t cap)
{
    static const char *const places[] = {"sluiced", "../sbin/sluiced", "../../broker/app/sluiced"};
    const char *given = getenv("SLUICECTL_SLUICED");
    if (given != NULL && given[0] != 0)
        return given;
    char self[PATH_MAX];
    ssize_t bytes = readlink("/proc/self/exe", self, sizeof self - 1);
    if (bytes > 0) {
        self[bytes] = 0;
        char *slash = strrchr(self, '/');
        *(slash != NULL ? slash : self) = 0;
        for (size_t i = 0; i < SLC_ARRAY_COUNT(places); i++)
            if (snprintf(path, cap, "%s/%s", self, places[i]) < (int)cap && access(path, X_OK) == 0)
                return path;
    }
    return "sluiced";
}

// sluiced --store ACTION and what goes with it; ends with NULL.
static void daemon_words(const slc_ctl *ctl, const char *program, const char *words[WORDS_MAX])
{
    uint32_t count = 0;
    words[count++] = program;
    words[count++] = "--store";
    words[count++] = ctl->args[0];
    if (ctl->dir != NULL) {
        words[count++] = "--data-dir";
        words[count++] = ctl->dir;
    }
    if (ctl->yes)
        words[count++] = "--yes";
    if (ctl->quiet)
        words[count++] = "--quiet";
    words[count] = NULL;
}

int slc_ctl_daemon_missing(const char *program)
{
    return slc_ctl_error(CTL_UNAVAILABLE,
                         "cannot start %s: %s. SLUICECTL_SLUICED may name the program", program,
                         strerror(errno));
}

static int daemon_become(const slc_ctl *ctl)
{
    char path[PATH_MAX];
    const char *words[WORDS_MAX];
    const char *program = slc_ctl_daemon_path(path, sizeof path);
    daemon_words(ctl, program, words);
    fflush(stdout);
    execvp(program, (char *const *)(uintptr_t)words);
    return slc_ctl_daemon_missing(program);
}

static int stat_offline(const slc_ctl *ctl)
{
    char path[PATH_MAX];
    const char *words[WORDS_MAX];
    const char *program = slc_ctl_daemon_path(path, sizeof path);
    int ends[2];
    daemon_words(ctl, program, words);
    if (pipe(ends) != 0)
        return slc_ctl_error(CTL_SOFTWARE, "cannot make a pipe: %s", strerror(errno));
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDOUT_FILENO);
        close(ends[0]);
        close(ends[1]);
        execvp(program, (char *const *)(uintptr_t)words);
        _exit(slc_ctl_daemon_missing(program));
    }
    close(ends[1]);
    FILE *in = child > 0 ? fdopen(ends[0], "r") : NULL;
    if (in == NULL) {
        close(ends[0]);
        return slc_ctl_error(CTL_SOFTWARE, "cannot start a process: %s", strerror(errno));
    }
    json_t *figures = json_loadf(in, JSON_DISABLE_EOF_CHECK, NULL);
    fclose(in);
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        continue;
    int rc = WIFEXITED(status) ? WEXITSTATUS(status) : CTL_SOFTWARE;
    if (json_is_object(figures))
        figures_print(ctl, figures);
    else if (rc == CTL_OK)
        rc = slc_ctl_error(CTL_SOFTWARE, "%s did not answer", program);
    json_decref(figures);
    return rc;
}

int slc_ctl_store(slc_ctl *ctl)
{
    static const char *const actions[] = {"stat", "check", "compact", "salvage"};
    const char *action = ctl->args[0];
    bool known = false, stat = strcmp(action, "stat") == 0;
    for (size_t i = 0; i < SLC_ARRAY_COUNT(actions); i++)
        known |= strcmp(action, actions[i]) == 0;
    if (!known)
        return slc_ctl_usage_error(ctl, "store knows stat, check, compact and salvage, not '%s'",
                                   action);
    if (ctl->yes && strcmp(action, "salvage") != 0)
        return slc_ctl_usage_error(ctl, "--yes is for store salvage");
    if (ctl->format_name != NULL && !stat)
        return slc_ctl_usage_error(ctl, "--formatter is for store stat");
    if (stat && ctl->dir == NULL)
        return stat_online(ctl);
    if (ctl->timeout != NULL || ctl->socket_given)
        return slc_ctl_usage_error(
            ctl, "--timeout and --socket are for what a running broker does; this is not");
    return stat ? stat_offline(ctl) : daemon_become(ctl);
}
