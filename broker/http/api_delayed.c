// Messages of an x-delayed-message exchange that wait for their time: the list, and taking one out.
#include <inttypes.h>
#include <stdlib.h>

#include "auth/auth.h"
#include "core/topology.h"
#include "http/api.h"

enum { LIST_DEFAULT = 100 };

/** As in AMQP: whoever may read the exchange may see them, whoever may configure it may take them out. */
static bool may(slc_http_request *request, slc_auth_access access, const char *text)
{
    const slc_http_options *options = slc_http_options_of(request->http);
    if (request->user == NULL || slc_auth_may(options->auth, slc_slice_str(request->user),
                                              request->vars[0], access, request->vars[1]))
        return true;
    slc_http_fail(
        request, 401, "not_authorised",
        "ACCESS_REFUSED - %s access to exchange '%.*s' in vhost '%.*s' refused for user '%s'", text,
        SLC_SLICE_FMT(request->vars[1]), SLC_SLICE_FMT(request->vars[0]), request->user);
    slc_http_answer(request);
    return false;
}

static const slc_exchange *exchange_of(slc_http_request *request)
{
    slc_broker *broker = slc_http_options_of(request->http)->broker;
    slc_vhost *vhost = slc_broker_vhost(broker, request->vars[0]);
    return vhost != NULL ? slc_vhost_exchange(vhost, request->vars[1]) : NULL;
}

static void not_found(slc_http_request *request)
{
    slc_http_not_found(request);
    slc_http_answer(request);
}

static void listed(const slc_delayed_message *messages, uint32_t count, void *arg)
{
    slc_api api = slc_api_begin(arg);
    slc_json *w = &api.w;
    slc_json_open(w, '[');
    for (uint32_t i = 0; i < count; i++) {
        const slc_delayed_message *m = &messages[i];
        slc_json_open(w, '{');
        slc_json_put_u64(w, "position", m->position);
        slc_json_put_u64(w, "due", m->due_ms);
        if (m->known) {
            slc_json_put_slice(w, "routing_key", m->key);
            slc_json_put_slice(w, "message_id", m->message_id);
            slc_json_put_u64(w, "payload_bytes", m->body_bytes);
        }
        slc_json_close(w, '}');
    }
    slc_json_close(w, ']');
    slc_api_end(&api);
}

/** A number in decimal, all of text. */
static bool number_of(slc_slice text, uint64_t *out)
{
    uint64_t value = 0;
    if (text.bytes == 0 || text.bytes > 19)
        return false;
    for (size_t i = 0; i < text.bytes; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        value = 10 * value + (uint64_t)(text.data[i] - '0');
    }
    *out = value;
    return true;
}

void slc_api_delayed(slc_http_request *request)
{
    uint64_t max = LIST_DEFAULT;
    slc_slice limit;
    if (slc_path_param(&request->path, "limit", &limit) &&
        (!number_of(limit, &max) || max == 0 || max > SLC_DELAYED_LIST_MAX)) {
        slc_http_fail(request, 400, "bad_request", "limit is '%.*s'; it must be 1 to %d",
                      SLC_SLICE_FMT(limit), SLC_DELAYED_LIST_MAX);
        slc_http_answer(request);
        return;
    }
    if (!may(request, SLC_AUTH_READ, "read"))
        return;
    const slc_exchange *exchange = exchange_of(request);
    if (exchange == NULL || !slc_exchange_list_delayed(exchange, (uint32_t)max, listed, request))
        not_found(request);
}

void slc_api_delayed_cancel(slc_http_request *request)
{
    if (!may(request, SLC_AUTH_CONFIGURE, "configure"))
        return;
    uint64_t position;
    const slc_exchange *exchange = exchange_of(request);
    if (exchange == NULL || !number_of(request->vars[2], &position) ||
        slc_exchange_cancel_delayed(exchange, position) != SLC_OK) {
        not_found(request);
        return;
    }
    request->status = 204;
    slc_http_answer(request);
}
