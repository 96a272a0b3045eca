// config show, diff and check, and reload.
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"

/* ---- show and diff ---- */

static slc_ctl_cell text_cell(const json_t *value)
{
    if (!json_is_string(value))
        return (slc_ctl_cell){0};
    return (slc_ctl_cell){.kind = CELL_TEXT,
                          .text =
                              slc_slice_of(json_string_value(value), json_string_length(value))};
}

// "/etc/sluice/sluice.conf:12", "--set" or "default".
static const char *source_of(const json_t *entry, char *out, size_t cap)
{
    const char *source = json_string_value(json_object_get(entry, "source"));
    uint64_t line = slc_ctl_number_of(entry, "line");
    if (line > 0)
        snprintf(out, cap, "%s:%llu", source, (unsigned long long)line);
    else
        snprintf(out, cap, "%s", source != NULL ? source : "default");
    return out;
}

static int entries_print(slc_ctl *ctl, bool only_different)
{
    static const char *const shown[] = {"key", "value", "source"};
    static const char *const different[] = {"key", "value", "default", "source"};
    slc_ctl_reply reply;
    slc_ctl_output out;
    size_t i;
    json_t *entry;
    int rc = slc_ctl_get(ctl, "/api/sluice/config", &reply);
    if (rc != CTL_OK)
        return rc;
    slc_ctl_output_begin(&out, ctl, stdout, only_different ? different : shown,
                         only_different ? 4 : 3);
    json_array_foreach(reply.body, i, entry)
    {
        char source[4200];
        slc_ctl_cell cells[4] = {text_cell(json_object_get(entry, "key")),
                                 text_cell(json_object_get(entry, "value")),
                                 text_cell(json_object_get(entry, "default_value"))};
        if (only_different && !json_is_true(json_object_get(entry, "differs")))
            continue;
        cells[only_different ? 3 : 2] = (slc_ctl_cell){
            .kind = CELL_TEXT, .text = slc_slice_str(source_of(entry, source, sizeof source))};
        slc_ctl_output_row(&out, cells);
    }
    slc_ctl_output_end(&out);
    slc_ctl_reply_fini(&reply);
    return CTL_OK;
}

/* ---- what a reload does, or would do ---- */

static void texts_gather(const json_t *array, slc_buffer *out)
{
    size_t i;
    json_t *text;
    json_array_foreach(array, i, text)
        slc_buffer_format(out, "%s%s", i > 0 ? "\n" : "", json_string_value(text));
}

// An answer to reload or check; finishes it.
static int outcome_print(slc_ctl *ctl, slc_ctl_reply *reply, const char *done)
{
    slc_buffer warnings = {0}, errors = {0};
    int rc = CTL_OK;
    size_t i;
    json_t *key;
    texts_gather(json_object_get(reply->body, "warnings"), &warnings);
    texts_gather(json_object_get(reply->body, "errors"), &errors);
    if (warnings.bytes > 0)
        fprintf(stderr, "Warning:\n%.*s\n", SLC_SLICE_FMT(slc_buffer_slice(&warnings)));
    if (errors.bytes > 0) {
        rc = slc_ctl_error(CTL_CONFIG, "%.*s", SLC_SLICE_FMT(slc_buffer_slice(&errors)));
    } else if (reply->status != 200) {
        rc = slc_ctl_reply_error(reply, CTL_CONFIG);
    } else if (slc_ctl_wants_json(ctl)) {
        slc_ctl_print_json(reply->body);
    } else {
        const json_t *changed = json_object_get(reply->body, "changed");
        json_array_foreach(changed, i, key) printf(
            "%s: changed%s\n", slc_ctl_text_of(key, "key"),
            json_is_true(json_object_get(key, "needs_restart")) ? ", takes effect at the next start"
                                                                : "");
        if (!ctl->quiet)
            printf("%s\n", done);
    }
    slc_buffer_fini(&warnings);
    slc_buffer_fini(&errors);
    slc_ctl_reply_fini(reply);
    return rc;
}

int slc_ctl_reload(slc_ctl *ctl)
{
    slc_ctl_reply reply;
    int rc = slc_ctl_request(ctl, "POST", "/api/sluice/config/reload", NULL, &reply);
    if (rc != CTL_OK || ctl->dry_run)
        return rc;
    return outcome_print(ctl, &reply, "The configuration was reloaded");
}

/* ---- check ---- */

// A file that no daemon has, or nobody to ask: sluiced looks by itself.
static int check_offline(const slc_ctl *ctl)
{
    char path[PATH_MAX];
    const char *program = slc_ctl_daemon_path(path, sizeof path);
    const char *words[] = {program, "--check", NULL, NULL, NULL};
    if (ctl->arg_count > 1) {
        words[2] = "--config";
        words[3] = ctl->args[1];
    }
    fflush(stdout);
    execvp(program, (char *const *)(uintptr_t)words);
    return slc_ctl_daemon_missing(program);
}

static int check_run(slc_ctl *ctl)
{
    slc_ctl_reply reply;
    int rc = ctl->arg_count > 1 ? CTL_UNAVAILABLE
                                : slc_ctl_request_quietly(ctl, "GET", "/api/version", &reply);
    if (rc == CTL_UNAVAILABLE)
        return check_offline(ctl);
    if (rc != CTL_OK)
        return rc;
    slc_ctl_reply_fini(&reply);
    rc = slc_ctl_request(ctl, "POST", "/api/sluice/config/check", NULL, &reply);
    return rc == CTL_OK ? outcome_print(ctl, &reply, "The configuration is valid") : rc;
}

int slc_ctl_config(slc_ctl *ctl)
{
    const char *action = ctl->args[0];
    bool check = strcmp(action, "check") == 0;
    if (!check && ctl->arg_count > 1)
        return slc_ctl_usage_error(ctl, "too many arguments.");
    if (check)
        return check_run(ctl);
    if (strcmp(action, "show") == 0)
        return entries_print(ctl, false);
    if (strcmp(action, "diff") == 0)
        return entries_print(ctl, true);
    return slc_ctl_usage_error(ctl, "config knows show, diff and check, not '%s'", action);
}
