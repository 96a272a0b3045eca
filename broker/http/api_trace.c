// The firehose of a vhost, for sluicectl trace_on and trace_off. @spec management-api 4
#include "http/api.h"

static void trace_set(slc_http_request *request, bool on)
{
    slc_vhost *vhost =
        slc_broker_vhost(slc_http_options_of(request->http)->broker, request->vars[0]);
    if (vhost == NULL) {
        slc_http_not_found(request);
    } else {
        slc_vhost_trace(vhost, on);
        request->status = 204;
    }
    slc_http_answer(request);
}

void slc_api_trace_on(slc_http_request *request)
{
    trace_set(request, true);
}

void slc_api_trace_off(slc_http_request *request)
{
    trace_set(request, false);
}
