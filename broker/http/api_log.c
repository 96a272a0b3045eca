// The log: its last lines, its level, new files.  @spec operations 7, management-api 11
#include "base/log.h"
#include "base/log_recent.h"
#include "http/admin.h"
#include "http/api.h"
#include "http/body.h"

enum { LINES_DEFAULT = 50, LINES_MAX = 10000 };

static void line_put(const char *text, size_t bytes, void *arg)
{
    slc_json_slice(arg, slc_slice_of(text, bytes));
}

static bool number_of(const slc_path *path, const char *key, uint64_t high, uint64_t otherwise,
                      uint64_t *out)
{
    slc_slice text;
    *out = otherwise;
    if (!slc_path_param(path, key, &text))
        return true;
    if (text.bytes == 0 || text.bytes > 18)
        return false;
    *out = 0;
    for (size_t i = 0; i < text.bytes; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        *out = *out * 10 + (uint64_t)(text.data[i] - '0');
    }
    return *out <= high;
}

// lines=N&level=L&after=NUMBER: the number is that of an earlier answer's last line.
void slc_api_log(slc_http_request *request)
{
    uint64_t lines, after;
    slc_slice name;
    char level_name[16] = "debug";
    slc_log_level level;
    bool good = number_of(&request->path, "lines", LINES_MAX, LINES_DEFAULT, &lines) &&
                number_of(&request->path, "after", UINT64_MAX, 0, &after);
    if (slc_path_param(&request->path, "level", &name))
        snprintf(level_name, sizeof level_name, "%.*s", SLC_SLICE_FMT(name));
    if (!good || !slc_log_level_find(level_name, &level)) {
        slc_http_fail(
            request, 400, "bad_request",
            "lines is a number up to %d, after that of a line, and level one of debug, info, "
            "notice, warning, error, critical and none",
            LINES_MAX);
        slc_http_answer(request);
        return;
    }
    slc_api api = slc_api_begin(request);
    slc_json_open(&api.w, '{');
    slc_json_key(&api.w, "lines");
    slc_json_open(&api.w, '[');
    uint64_t last = slc_log_recent((uint32_t)lines, level, after, line_put, &api.w);
    slc_json_close(&api.w, ']');
    slc_json_put_u64(&api.w, "last", last);
    slc_json_close(&api.w, '}');
    slc_api_end(&api);
}

void slc_api_log_level(slc_http_request *request)
{
    static const char *const keys[] = {"level"};
    const slc_http_admin_ops *admin = slc_api_admin(request);
    const json_t *body = admin != NULL ? slc_api_body(request) : NULL;
    if (body == NULL || !slc_api_need(request, body, keys, 1))
        return;
    const char *level = json_string_value(json_object_get(body, "level"));
    slc_error error = {0};
    slc_err rc = admin->log_level(level != NULL ? level : "", &error,
                                  slc_http_options_of(request->http)->arg);
    slc_api_changed(request, rc, &error, 204);
}

void slc_api_log_rotate(slc_http_request *request)
{
    slc_log_reopen();
    slc_api_done(request);
}
