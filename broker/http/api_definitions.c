// Definitions: the whole broker or one vhost, out and in.
#include "core/definitions_file.h"
#include "http/api.h"

void slc_api_definitions(slc_http_request *request)
{
    slc_vhost *vhost = NULL;
    if (request->var_count > 0) {
        vhost = slc_api_vhost_named(request, request->vars[0]);
        if (vhost == NULL)
            return;
    }
    const slc_http_options *options = slc_http_options_of(request->http);
    request->status = 200;
    slc_definitions_export(options->broker, vhost, options->product, options->version,
                           &request->body);
    slc_http_answer(request);
}

static void imported(slc_err rc, const char *report, void *arg)
{
    slc_http_request *request = arg;
    if (rc == SLC_OK) {
        request->status = 204;
    } else {
        // The report may be longer than what slc_http_fail takes.
        request->status = rc == SLC_ENOSPC || rc == SLC_EIO ? 503 : 400;
        slc_json w = slc_json_to(&request->body);
        slc_json_open(&w, '{');
        slc_json_put_text(&w, "error", request->status == 503 ? "unavailable" : "bad_request");
        slc_json_put_text(&w, "reason", report);
        slc_json_close(&w, '}');
    }
    slc_http_answer(request);
}

void slc_api_definitions_import(slc_http_request *request)
{
    slc_slice vhost = request->var_count > 0 ? request->vars[0] : (slc_slice){0};
    slc_broker *broker = slc_http_options_of(request->http)->broker;
    if (vhost.bytes > 0 && slc_broker_vhost(broker, vhost) == NULL) {
        slc_http_fail(request, 404, "not_found", "vhost_not_found");
        slc_http_answer(request);
        return;
    }
    const json_t *body = slc_http_json(request);
    if (body == NULL)
        slc_http_answer(request);
    else
        slc_definitions_import(broker, (json_t *)(uintptr_t)body, vhost, imported, request);
}
