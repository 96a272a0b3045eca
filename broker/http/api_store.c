// Figures of the message store: one object of numbers, those of slc_store_stat.
#include "http/api.h"

void slc_api_store(slc_http_request *request)
{
    slc_api api = slc_api_begin(request);
    slc_http_status status;
    slc_http_status_get(request->http, &status);
    slc_json *w = &api.w;
    slc_json_open(w, '{');
    if (status.store_flush != NULL)
        slc_json_put_text(w, "flush", status.store_flush);
    for (uint32_t i = 0; i < status.store_count; i++)
        slc_json_put_u64(w, status.store[i].name, status.store[i].value);
    slc_json_close(w, '}');
    slc_api_end(&api);
}
