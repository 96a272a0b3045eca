// Hot backup: begin, look, cancel. It runs in the daemon, so a caller that goes away changes nothing.
#include <stdlib.h>

#include "http/api.h"
#include "http/backup.h"

static const slc_http_backup_ops *ops_of(slc_http_request *request)
{
    const slc_http_backup_ops *ops = slc_http_options_of(request->http)->backup;
    if (ops == NULL) {
        slc_http_fail(request, 404, "not_found", "this node makes no backups");
        slc_http_answer(request);
    }
    return ops;
}

static void backup_put(slc_http_request *request, const slc_http_backup_ops *ops, unsigned status)
{
    slc_api api = slc_api_begin(request);
    request->status = status;
    slc_http_backup b = {0};
    ops->look(&b, ops->arg);
    slc_json *w = &api.w;
    slc_json_open(w, '{');
    slc_json_put_text(w, "state", b.state);
    if (b.step != NULL)
        slc_json_put_text(w, "step", b.step);
    if (b.dir != NULL)
        slc_json_put_text(w, "dir", b.dir);
    if (b.reason != NULL)
        slc_json_put_text(w, "reason", b.reason);
    slc_json_put_u64(w, "done", b.done);
    slc_json_put_u64(w, "total", b.total);
    slc_json_put_u64(w, "behind_bytes", b.behind_bytes);
    slc_json_put_u64(w, "seconds", b.seconds);
    slc_json_put_u64(w, "bytes", b.bytes);
    slc_json_put_u64(w, "queues", b.queues);
    slc_json_put_u64(w, "messages", b.messages);
    slc_json_close(w, '}');
    slc_api_end(&api);
}

void slc_api_backup(slc_http_request *request)
{
    const slc_http_backup_ops *ops = ops_of(request);
    if (ops != NULL)
        backup_put(request, ops, 200);
}

// Digits only; 0 means no limit.
static bool rate_parse(slc_slice text, uint64_t *out)
{
    *out = 0;
    for (size_t i = 0; i < text.bytes; i++) {
        uint8_t c = text.data[i];
        if (c < '0' || c > '9' || *out > UINT64_MAX / 10 - 9)
            return false;
        *out = *out * 10 + (uint64_t)(c - '0');
    }
    return true;
}

void slc_api_backup_start(slc_http_request *request)
{
    const slc_http_backup_ops *ops = ops_of(request);
    if (ops == NULL)
        return;
    slc_slice dir, rate = {0};
    uint64_t bytes_per_s;
    slc_error error = {0};
    slc_err rc;
    (void)slc_path_param(&request->path, "rate", &rate);
    if (!slc_path_param(&request->path, "dir", &dir) || dir.bytes == 0 || dir.data[0] != '/')
        rc = slc_error_set(&error, SLC_EINVAL, "dir must be an absolute path");
    else if (!rate_parse(rate, &bytes_per_s))
        rc = slc_error_set(&error, SLC_EINVAL, "rate must be a number of bytes per second");
    else
        rc = ops->start(dir, bytes_per_s, &error, ops->arg);
    if (rc == SLC_OK) {
        backup_put(request, ops, 202);
        return;
    }
    slc_http_fail(request, rc == SLC_EBUSY ? 409 : 400, "bad_request", "%s", error.text);
    slc_http_answer(request);
}

void slc_api_backup_cancel(slc_http_request *request)
{
    const slc_http_backup_ops *ops = ops_of(request);
    if (ops == NULL)
        return;
    ops->cancel(ops->arg);
    backup_put(request, ops, 202);
}
