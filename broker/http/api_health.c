// Health checks: 200 {"status":"ok"} or 503 {"status":"failed","reason":...}.  @spec management-api 8
#include "auth/auth.h"
#include "base/alloc.h"
#include "http/api.h"

static void check_ok(slc_api *api, const char *key, slc_slice value)
{
    slc_json *w = &api->w;
    slc_json_open(w, '{');
    slc_json_put_text(w, "status", "ok");
    if (key != NULL)
        slc_json_put_slice(w, key, value);
    slc_json_close(w, '}');
    slc_api_end(api);
}

static void failed_open(slc_api *api, const char *reason)
{
    api->request->status = 503;
    slc_json_open(&api->w, '{');
    slc_json_put_text(&api->w, "status", "failed");
    slc_json_put_text(&api->w, "reason", reason);
}

static void failed_close(slc_api *api)
{
    slc_json_close(&api->w, '}');
    slc_api_end(api);
}

// The old check: 200 in both cases.
void slc_api_health_node(slc_http_request *request)
{
    slc_api api = slc_api_begin(request);
    const char *reason = slc_broker_pressure_reason(api.broker);
    slc_json_open(&api.w, '{');
    slc_json_put_text(&api.w, "status", reason == NULL ? "ok" : "failed");
    if (reason != NULL)
        slc_json_put_text(&api.w, "reason", reason);
    slc_json_close(&api.w, '}');
    slc_api_end(&api);
}

void slc_api_health_alarms(slc_http_request *request)
{
    slc_api api = slc_api_begin(request);
    slc_http_status status;
    slc_http_status_get(request->http, &status);
    if (!status.mem_alarm && !status.disk_alarm) {
        check_ok(&api, NULL, (slc_slice){0});
        return;
    }
    failed_open(&api, "resource alarm(s) in effect");
    slc_json *w = &api.w;
    slc_json_key(w, "alarms");
    slc_json_open(w, '[');
    const bool on[SLC_RESOURCE_COUNT] = {status.mem_alarm, status.disk_alarm};
    static const char *const resource[] = {"memory", "disk"};
    for (size_t i = 0; i < SLC_ARRAY_COUNT(on); i++) {
        if (!on[i])
            continue;
        slc_json_open(w, '{');
        slc_json_put_text(w, "node", api.options->node);
        slc_json_put_text(w, "resource", resource[i]);
        if ((request->tags & SLC_AUTH_TAG_MONITORING) != 0) // names of every vhost
            slc_api_growers_put(&api, "biggest", (slc_resource)i);
        slc_json_close(w, '}');
    }
    slc_json_close(w, ']');
    failed_close(&api);
}

void slc_api_health_port(slc_http_request *request)
{
    slc_api api = slc_api_begin(request);
    slc_slice text = request->vars[0];
    uint32_t port = 0;
    for (size_t i = 0; i < text.bytes && port <= UINT16_MAX; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            port = UINT16_MAX;
        port = port * 10 + (uint32_t)(text.data[i] - '0');
    }
    if (port == 0 || port > UINT16_MAX) {
        slc_http_fail(request, 400, "bad_request", "Invalid port");
        slc_http_answer(request);
        return;
    }
    slc_http_status status;
    slc_http_status_get(request->http, &status);
    slc_json *w = &api.w;
    uint16_t ports[256];
    uint32_t count = 0;
    for (uint32_t i = 0; i < status.listener_count && count < SLC_ARRAY_COUNT(ports); i++)
        if (!status.listeners[i].suspended)
            ports[count++] = status.listeners[i].port;
    for (uint32_t i = 0; i < SLC_HTTP_TCP_MAX && count < SLC_ARRAY_COUNT(ports); i++) {
        ports[count] = slc_http_tcp_port(request->http, i);
        count += ports[count] != 0;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (ports[i] != port)
            continue;
        slc_json_open(w, '{');
        slc_json_put_text(w, "status", "ok");
        slc_json_put_u64(w, "port", port);
        slc_json_close(w, '}');
        slc_api_end(&api);
        return;
    }
    failed_open(&api, "No active listener");
    slc_json_put_u64(w, "missing", port);
    slc_json_key(w, "ports");
    slc_json_open(w, '[');
    for (uint32_t i = 0; i < count; i++)
        slc_json_u64(w, ports[i]);
    slc_json_close(w, ']');
    failed_close(&api);
}

// 0-9-1 goes by several names.
static slc_slice protocol_name(slc_slice asked)
{
    return slc_slice_is(asked, "amqp091") || slc_slice_is(asked, "amqp0.9.1") ||
                   slc_slice_is(asked, "amqp0-9-1")
               ? slc_slice_str("amqp")
               : asked;
}

static bool protocol_listens(const slc_http_status *status, slc_slice asked)
{
    if (slc_slice_is(asked, "http"))
        return true; // it answers this request
    for (uint32_t i = 0; i < status->listener_count; i++) {
        if (!status->listeners[i].suspended &&
            slc_slice_is(protocol_name(asked), status->listeners[i].protocol))
            return true;
    }
    return false;
}

void slc_api_health_protocol(slc_http_request *request)
{
    slc_api api = slc_api_begin(request);
    slc_http_status status;
    slc_http_status_get(request->http, &status);
    slc_slice asked = request->vars[0];
    slc_json *w = &api.w;
    bool all = true;
    slc_slice missing = {0};
    for (const uint8_t *at = asked.data, *end = at + asked.bytes; at <= end;) {
        const uint8_t *comma = memchr(at, ',', (size_t)(end - at));
        const uint8_t *next = comma != NULL ? comma : end;
        slc_slice one = slc_slice_of(at, (size_t)(next - at));
        if (all && !protocol_listens(&status, one)) {
            all = false;
            missing = one;
        }
        at = next + 1;
    }
    if (all) {
        check_ok(&api, "protocol", protocol_name(asked));
        return;
    }
    failed_open(&api, "No active listener");
    slc_json_put_slice(w, "missing", missing);
    slc_json_key(w, "protocols");
    slc_json_open(w, '[');
    for (uint32_t i = 0; i < status.listener_count; i++)
        if (!status.listeners[i].suspended)
            slc_json_text(w, status.listeners[i].protocol);
    slc_json_text(w, "http");
    slc_json_close(w, ']');
    failed_close(&api);
}

// A vhost that is open is up: nothing of it runs apart.
void slc_api_health_vhosts(slc_http_request *request)
{
    slc_api api = slc_api_begin(request);
    check_ok(&api, NULL, (slc_slice){0});
}

void slc_api_health_single_node(slc_http_request *request)
{
    slc_api api = slc_api_begin(request);
    check_ok(&api, "reason", slc_slice_str("single node cluster"));
}
