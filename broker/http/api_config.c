// The configuration: what is in force, and reading it again.  @spec operations 4.6, management-api 11
#include <stdio.h>

#include "http/admin.h"
#include "http/api.h"

/** The daemon's table; NULL: it has none here, and the request is answered. */
const slc_http_admin_ops *slc_api_admin(slc_http_request *request)
{
    const slc_http_options *options = slc_http_options_of(request->http);
    if (options->admin != NULL)
        return options->admin;
    slc_http_fail(request, 400, "bad_request", "this cannot be done here");
    slc_http_answer(request);
    return NULL;
}

static void entry_put(const slc_config_entry *entry, void *arg)
{
    slc_json *w = &((slc_api *)arg)->w;
    slc_json_open(w, '{');
    slc_json_put_text(w, "key", entry->name);
    slc_json_put_text(w, "value", entry->value);
    slc_json_put_bool(w, "default", entry->source == NULL);
    slc_json_put_text(w, "default_value", entry->fallback);
    slc_json_put_bool(w, "differs", entry->differs);
    slc_json_put_bool(w, "reloadable", entry->reloadable);
    slc_json_put_text(w, "source", entry->source);
    if (entry->line > 0)
        slc_json_put_u64(w, "line", entry->line);
    slc_json_close(w, '}');
}

void slc_api_config(slc_http_request *request)
{
    const slc_http_admin_ops *admin = slc_api_admin(request);
    if (admin == NULL)
        return;
    slc_api api = slc_api_begin(request);
    slc_json_open(&api.w, '[');
    admin->config(entry_put, &api, api.options->arg);
    slc_json_close(&api.w, ']');
    slc_api_end(&api);
}

/* ---- reload ---- */

// Two lists grow at the same time.
typedef struct reload {
    slc_buffer changed_text, warnings_text, errors_text;
    slc_json changed, warnings, errors;
} reload;

static void reload_note(bool is_error, const char *text, void *arg)
{
    reload *r = arg;
    slc_json_text(is_error ? &r->errors : &r->warnings, text);
}

static void reload_changed(const char *key, bool needs_restart, void *arg)
{
    slc_json *w = &((reload *)arg)->changed;
    slc_json_open(w, '{');
    slc_json_put_text(w, "key", key);
    slc_json_put_bool(w, "needs_restart", needs_restart);
    slc_json_close(w, '}');
}

static void list_put(slc_json *w, const char *key, slc_json *list)
{
    slc_json_close(list, ']');
    slc_json_key(w, key);
    slc_json_raw(w, slc_buffer_slice(list->out));
}

static void reload_run(slc_http_request *request, bool check)
{
    const slc_http_admin_ops *admin = slc_api_admin(request);
    if (admin == NULL)
        return;
    reload r = {0};
    slc_error error = {0};
    r.changed = slc_json_to(&r.changed_text);
    r.warnings = slc_json_to(&r.warnings_text);
    r.errors = slc_json_to(&r.errors_text);
    slc_json_open(&r.changed, '[');
    slc_json_open(&r.warnings, '[');
    slc_json_open(&r.errors, '[');
    slc_api api = slc_api_begin(request);
    slc_err rc = admin->reload(
        check, &(slc_http_reload){.note = reload_note, .changed = reload_changed, .arg = &r},
        &error, api.options->arg);
    slc_json_open(&api.w, '{');
    if (rc != SLC_OK) {
        request->status = rc == SLC_EBUSY ? 503 : 400;
        slc_json_put_text(&api.w, "error", rc == SLC_EBUSY ? "unavailable" : "configuration");
        slc_json_put_text(&api.w, "reason", error.text);
        list_put(&api.w, "errors", &r.errors);
    } else {
        list_put(&api.w, "changed", &r.changed);
    }
    list_put(&api.w, "warnings", &r.warnings);
    slc_json_close(&api.w, '}');
    slc_buffer_fini(&r.changed_text);
    slc_buffer_fini(&r.warnings_text);
    slc_buffer_fini(&r.errors_text);
    slc_api_end(&api);
}

void slc_api_config_reload(slc_http_request *request)
{
    reload_run(request, false);
}

void slc_api_config_check(slc_http_request *request)
{
    reload_run(request, true);
}
