// What a request holds: its body as JSON, the answer that a handler gives, its way between the threads.
#include <stdarg.h>
#include <stdio.h>

#include "base/alloc.h"
#include "http/multipart.h"
#include "http/server_impl.h"

void slc_http_request_free(slc_http_request *request)
{
    slc_buffer_fini(&request->body);
    slc_buffer_fini(&request->input);
    json_decref(request->json);
    slc_free(request->json_error);
    slc_free(request->target);
    slc_free(request->audit);
    slc_free(request->reason);
    slc_free(request->user);
    slc_free(request->password);
    slc_free(request->method_name);
    slc_free(request->session);
    slc_free(request->csrf);
    slc_free(request->location);
    slc_free(request->cookie);
    slc_free(request->file_name);
    slc_free(request);
}

void slc_http_fail(slc_http_request *request, unsigned status, const char *error,
                   const char *format, ...)
{
    char text[SLC_ERROR_TEXT_BYTES + 128];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    slc_http_fail_detail(request, status, error, text, NULL);
}

void slc_http_fail_detail(slc_http_request *request, unsigned status, const char *error,
                          const char *reason, const char *detail)
{
    request->status = status;
    request->body.bytes = 0;
    slc_json w = slc_json_to(&request->body);
    slc_json_open(&w, '{');
    slc_json_put_text(&w, "error", error);
    slc_json_put_text(&w, "reason", reason);
    if (detail != NULL)
        slc_json_put_text(&w, "detail", detail);
    slc_json_close(&w, '}');
}

const json_t *slc_http_json(slc_http_request *request)
{
    if (json_is_object(request->json))
        return request->json;
    // RabbitMQ's word, and the reason when there is one to give.
    if (request->json_error != NULL)
        slc_http_fail(request, MHD_HTTP_BAD_REQUEST, "bad_request", "not_json: %s",
                      request->json_error);
    else
        slc_http_fail(request, MHD_HTTP_BAD_REQUEST, "bad_request", "not_json");
    return NULL;
}

void slc_http_unauthorised(slc_http_request *request, const char *reason)
{
    slc_http_fail(request, MHD_HTTP_UNAUTHORIZED, "not_authorised", "%s", reason);
}

void slc_http_request_parse(slc_http_request *request)
{
    json_error_t where;
    if (request->input.bytes == 0)
        return;
    slc_slice text =
        slc_multipart_file(MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND,
                                                       MHD_HTTP_HEADER_CONTENT_TYPE),
                           slc_buffer_slice(&request->input));
    if (text.bytes == 0) {
        request->json_error = slc_strdup("multipart/form-data has no field 'file'");
        slc_buffer_fini(&request->input);
        return;
    }
    request->json =
        json_loadb((const char *)text.data, text.bytes, JSON_ALLOW_NUL | JSON_DECODE_ANY, &where);
    if (request->json == NULL) {
        char wrong[sizeof where.text + 64];
        snprintf(wrong, sizeof wrong, "line %d column %d: %s", where.line, where.column,
                 where.text);
        request->json_error = slc_strdup(wrong);
        return; // it may be a form
    }
    slc_buffer_fini(&request->input);
}

void slc_http_not_found(slc_http_request *request)
{
    slc_http_fail(request, MHD_HTTP_NOT_FOUND, "Object Not Found", "Not Found");
}

void slc_http_answer(slc_http_request *request)
{
    slc_mailbox_post(&request->http->to_http, &request->mail);
}

void slc_http_later(slc_http_request *request)
{
    slc_mailbox_post(&request->http->to_loop, &request->mail);
}
