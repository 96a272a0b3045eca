// The answer goes out: body, headers, who may read it from another origin, a line in the access log. All on the http thread.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "http/server_impl.h"

static void header_put(struct MHD_Response *response, const char *name, const char *value)
{
    if (MHD_add_response_header(response, name, value) != MHD_YES)
        slc_log(SLC_LOG_DEBUG, "http", "http.header.refused", SLC_NO_FIELDS,
                "header %s not accepted", name);
}

const char *slc_http_request_header(const slc_http_request *request, const char *name)
{
    return MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
}

// Answers that a page of another origin may read, where the configuration names that origin.
static void cors_put(const slc_http_request *request, struct MHD_Response *response,
                     const char *methods)
{
    const slc_http_options *o = &request->http->options;
    const char *origin = slc_http_request_header(request, "Origin");
    bool allowed = false;
    if (!request->peer.tcp || o->cors_origin_count == 0)
        return;
    header_put(response, MHD_HTTP_HEADER_VARY, "Accept, Origin");
    for (uint32_t i = 0; i < o->cors_origin_count && origin != NULL; i++)
        allowed |= strcmp(o->cors_origins[i], origin) == 0 || strcmp(o->cors_origins[i], "*") == 0;
    if (!allowed)
        return;
    header_put(response, "Access-Control-Allow-Origin", origin);
    header_put(response, "Access-Control-Allow-Credentials", "true");
    if (request->method != SLC_HTTP_OPTIONS)
        return;
    const char *asked = slc_http_request_header(request, "Access-Control-Request-Headers");
    char seconds[24];
    snprintf(seconds, sizeof seconds, "%" PRIu64, o->cors_max_age_s);
    header_put(response, "Access-Control-Max-Age", seconds);
    header_put(response, "Access-Control-Allow-Methods", methods);
    if (asked != NULL)
        header_put(response, "Access-Control-Allow-Headers", asked);
}

static void headers_put(const slc_http_request *request, struct MHD_Response *response,
                        unsigned allowed)
{
    const slc_http_options *o = &request->http->options;
    char methods[64];
    header_put(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-cache");
    for (uint32_t i = 0; i < o->header_count; i++)
        header_put(response, o->headers[i].name, o->headers[i].value);
    // A browser would ask for the password in a window of its own.
    const char *with = slc_http_request_header(request, "X-Requested-With");
    if (request->challenge && request->peer.tcp &&
        (with == NULL || strcmp(with, "XMLHttpRequest") != 0))
        header_put(response, MHD_HTTP_HEADER_WWW_AUTHENTICATE, request->http->challenge);
    if (request->location != NULL)
        header_put(response, MHD_HTTP_HEADER_LOCATION, request->location);
    if (request->cookie != NULL)
        header_put(response, MHD_HTTP_HEADER_SET_COOKIE, request->cookie);
    if (request->file_name != NULL) {
        char text[300];
        snprintf(text, sizeof text, "attachment; filename=\"%.255s\"", request->file_name);
        header_put(response, MHD_HTTP_HEADER_CONTENT_DISPOSITION, text);
    }
    slc_http_methods_text(allowed, methods, sizeof methods);
    if (allowed != 0)
        header_put(response, MHD_HTTP_HEADER_ALLOW, methods);
    cors_put(request, response, methods);
    if (request->messages_known) {
        char number[24];
        snprintf(number, sizeof number, "%" PRIu64, request->messages);
        header_put(response, "X-Sluice-Messages", number);
    }
    if (request->from->retired || request->http->draining || atomic_load(&request->http->stopping))
        header_put(response, MHD_HTTP_HEADER_CONNECTION, "close");
}

enum MHD_Result slc_http_send(slc_http_request *request, unsigned allowed)
{
    size_t bytes = request->body.bytes;
    struct MHD_Response *response;
    if (bytes > 0) {
        // The response owns the text from here on; lists are sent from this one buffer.
        response =
            MHD_create_response_from_buffer_with_free_callback(bytes, request->body.data, slc_free);
        if (response != NULL)
            request->body = (slc_buffer){0};
    } else {
        static char nothing[1];
        response = MHD_create_response_from_buffer(0, nothing, MHD_RESPMEM_PERSISTENT);
    }
    if (response == NULL)
        return MHD_NO;
    if (bytes > 0)
        header_put(response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/json");
    headers_put(request, response, allowed);
    request->sent = true;
    if (request->http->access_log != NULL)
        slc_access_log_write(
            request->http->access_log,
            &(slc_access_log_line){
                .address = request->peer.address,
                .user = request->user,
                .method = request->method_name,
                .path = request->audit,
                .status = request->status,
                .bytes = bytes,
                .referer = slc_http_request_header(request, MHD_HTTP_HEADER_REFERER),
                .agent = slc_http_request_header(request, MHD_HTTP_HEADER_USER_AGENT),
            });
    enum MHD_Result rc = MHD_queue_response(request->connection, request->status, response);
    MHD_destroy_response(response);
    return rc;
}
