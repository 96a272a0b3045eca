// The limits that block publishers.  @spec management-api 11, operations 2
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "http/agent.h"
#include "http/api.h"
#include "http/body.h"

void slc_api_limits(slc_http_request *request)
{
    slc_api api = slc_api_begin(request);
    slc_http_status status;
    slc_http_status_get(request->http, &status);
    slc_json *w = &api.w;
    slc_json_open(w, '{');
    slc_json_put_u64(w, "mem_used", status.mem_used);
    slc_json_put_u64(w, "mem_limit", status.mem_limit);
    slc_json_put_bool(w, "mem_alarm", status.mem_alarm);
    slc_json_put_u64(w, "disk_free", status.disk_free);
    slc_json_put_u64(w, "disk_free_limit", status.disk_free_limit);
    slc_json_put_bool(w, "disk_free_alarm", status.disk_alarm);
    slc_json_close(w, '}');
    slc_api_end(&api);
}

// A string as the configuration has it, or a number.
static slc_err limit_set(const slc_http_options *options, const char *limit, const json_t *value,
                         slc_error *error)
{
    if (json_is_string(value))
        return options->set_limit(limit, json_string_value(value), error, options->arg);
    if (!json_is_number(value))
        return slc_error_set(error, SLC_EINVAL, "'%s': a string or a number is expected", limit);
    char text[64];
    if (json_is_integer(value))
        snprintf(text, sizeof text, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    else
        snprintf(text, sizeof text, "%.6f", json_real_value(value));
    return options->set_limit(limit, text, error, options->arg);
}

void slc_api_limits_set(slc_http_request *request)
{
#define X(key) key,
    static const char *const limits[] = {SLC_HTTP_LIMITS(X)};
#undef X
    const slc_http_options *options = slc_http_options_of(request->http);
    const json_t *body = slc_http_json(request);
    slc_error error = {0};
    slc_err rc = SLC_OK;
    if (body == NULL) {
        slc_http_answer(request);
        return;
    }
    if (options->set_limit == NULL)
        rc = slc_error_set(&error, SLC_ENOTIMPL, "limits cannot be set here");
    const char *limit = NULL;
    for (size_t i = 0; i < SLC_ARRAY_COUNT(limits); i++) {
        if (json_object_get(body, limits[i]) != NULL)
            limit = limits[i];
    }
    // One at a time: two where the second is wrong would leave the first in force.
    if (rc == SLC_OK && (limit == NULL || json_object_size(body) != 1))
        rc = slc_error_set(&error, SLC_EINVAL,
                           "one of vm_memory_high_watermark.relative, "
                           "vm_memory_high_watermark.absolute, disk_free_limit.absolute and "
                           "disk_free_limit.relative is expected");
    if (rc == SLC_OK)
        rc = limit_set(options, limit, json_object_get(body, limit), &error);
    request->status = 204;
    if (rc != SLC_OK)
        slc_http_fail_core(request, rc, &error);
    slc_http_answer(request);
}
