// What the handlers share: field selection, walking, names of connections.
#include "http/api.h"

#include <inttypes.h>
#include <stdio.h>

#include "auth/auth.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "http/list_query.h"

// The top-level part of one column: "message_stats" of "message_stats.publish".
static slc_slice column_top(slc_slice column)
{
    for (size_t i = 0; i < column.bytes; i++) {
        if (column.data[i] == '.')
            return slc_slice_of(column.data, i);
    }
    return column;
}

static void select_add(slc_api_select *select, slc_slice name, const char *const *names,
                       uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (!slc_slice_is(name, names[i]))
            continue;
        for (uint32_t k = 0; k < select->count; k++) {
            if (select->fields[k] == i)
                return; // a key appears once in an object
        }
        select->fields[select->count++] = (uint8_t)i;
        return;
    }
}

void slc_api_select_init(slc_api_select *select, slc_http_request *request,
                         const char *const *names, uint32_t count, uint32_t default_count)
{
    SLC_ASSERT(count <= SLC_API_FIELDS_MAX);
    *select = (slc_api_select){0};
    slc_slice value;
    select->raw = slc_path_param(&request->path, "arguments", &value) && slc_slice_is(value, "raw");
    if (!slc_path_param(&request->path, "columns", &value) || value.bytes == 0) {
        select->count = default_count;
        for (uint32_t i = 0; i < default_count; i++)
            select->fields[i] = (uint8_t)i;
        return;
    }
    const uint8_t *at = value.data;
    const uint8_t *end = value.data + value.bytes;
    while (at < end) {
        const uint8_t *comma = memchr(at, ',', (size_t)(end - at));
        const uint8_t *next = comma != NULL ? comma : end;
        select_add(select, column_top(slc_slice_of(at, (size_t)(next - at))), names, count);
        at = next + 1;
    }
    slc_slice needed[2];
    for (uint32_t i = slc_list_query_needs(&request->path, needed); i > 0; i--)
        select_add(select, needed[i - 1], names, count);
    request->columns_done = !slc_list_query_again(&request->path);
}

slc_api slc_api_begin(slc_http_request *request)
{
    const slc_http_options *options = slc_http_options_of(request->http);
    request->status = 200;
    return (slc_api){
        .request = request,
        .options = options,
        .broker = options->broker,
        .w = slc_json_to(&request->body),
    };
}

void slc_api_end(slc_api *api)
{
    if (api->want_one && !api->found)
        slc_http_not_found(api->request);
    slc_http_answer(api->request);
}

typedef struct vhost_filter {
    slc_api *api;
    void (*each)(slc_vhost *vhost, void *api);
    bool all;
} vhost_filter;

static void vhost_if_visible(slc_vhost *vhost, void *arg)
{
    const vhost_filter *filter = arg;
    if (filter->all || slc_http_may_enter(filter->api->request, slc_vhost_name(vhost)))
        filter->each(vhost, filter->api);
}

void slc_api_each_listed_vhost(slc_api *api, void (*each)(slc_vhost *vhost, void *api))
{
    vhost_filter filter = {
        .api = api,
        .each = each,
        .all = (api->request->tags & SLC_AUTH_TAG_MONITORING) != 0,
    };
    slc_broker_each_vhost(api->broker, vhost_if_visible, &filter);
}

bool slc_api_each_vhost(slc_api *api, void (*each)(slc_vhost *vhost, void *api))
{
    if (api->request->var_count == 0) {
        vhost_filter filter = {.api = api, .each = each};
        slc_broker_each_vhost(api->broker, vhost_if_visible, &filter);
        return true;
    }
    slc_vhost *vhost = slc_broker_vhost(api->broker, api->request->vars[0]);
    if (vhost == NULL) {
        slc_http_not_found(api->request);
        slc_http_answer(api->request);
        return false;
    }
    each(vhost, api);
    return true;
}

void slc_api_rates(slc_api *api, char kind, slc_slice vhost, slc_slice name,
                   const slc_api_counter *counters, uint32_t count, uint64_t age_ms, double *out)
{
    uint64_t values[SLC_RATES_COUNTERS_MAX];
    uint8_t key[2 + 2 * 255];
    size_t bytes = 0;
    SLC_ASSERT(count <= SLC_RATES_COUNTERS_MAX);
    SLC_ASSERT(vhost.bytes <= 255 && name.bytes <= 255);
    for (uint32_t i = 0; i < count; i++)
        values[i] = counters[i].value;
    key[bytes++] = (uint8_t)kind;
    key[bytes++] = (uint8_t)vhost.bytes;
    if (vhost.bytes > 0)
        memcpy(key + bytes, vhost.data, vhost.bytes);
    bytes += vhost.bytes;
    if (name.bytes > 0)
        memcpy(key + bytes, name.data, name.bytes);
    bytes += name.bytes;
    uint64_t now_ns = slc_clock_now_ns();
    uint64_t since_ns = UINT64_MAX;
    if (age_ms != UINT64_MAX && age_ms * SLC_NS_PER_MS < now_ns)
        since_ns = now_ns - age_ms * SLC_NS_PER_MS;
    slc_rates_look(slc_http_rates(api->request->http), slc_slice_of(key, bytes), values, count,
                   now_ns, since_ns, out);
}

void slc_api_rate_put(slc_json *w, const char *name, double rate)
{
    char key[64];
    int bytes = snprintf(key, sizeof key, "%s_details", name);
    SLC_ASSERT(bytes > 0 && (size_t)bytes < sizeof key);
    slc_json_key(w, key);
    slc_json_open(w, '{');
    slc_json_put_double(w, "rate", rate);
    slc_json_close(w, '}');
}

void slc_api_counters_put(slc_json *w, const slc_api_counter *counters, const double *rates,
                          uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        slc_json_put_u64(w, counters[i].name, counters[i].value);
        slc_api_rate_put(w, counters[i].name, rates[i]);
    }
}

static size_t pid_text(const slc_api *api, const slc_client *client, uint32_t channel, char *text,
                       size_t cap)
{
    int n = snprintf(text, cap, "<%.400s.%" PRIu64 ".%" PRIu32 ".0>", api->options->node,
                     client->id, channel);
    return n > 0 ? (size_t)n : 0;
}

void slc_api_pid(slc_api *api, const slc_client *client, uint32_t channel)
{
    char text[512];
    size_t bytes = pid_text(api, client, channel, text, sizeof text);
    slc_json_slice(&api->w, slc_slice_of(text, bytes));
}

static void client_match(slc_client *client, void *arg)
{
    slc_api *api = arg;
    char text[512];
    if (api->found)
        return;
    size_t bytes = pid_text(api, client, 0, text, sizeof text);
    if (slc_slice_is(api->want, client->info.name) ||
        slc_slice_equal(api->want, slc_slice_of(text, bytes))) {
        api->client = client;
        api->found = true;
    }
}

slc_client *slc_api_client(slc_api *api, slc_slice name)
{
    api->want = name;
    api->found = false;
    api->client = NULL;
    slc_broker_each_client(api->broker, client_match, api);
    return (slc_client *)(uintptr_t)api->client;
}

void slc_api_connection_details(slc_api *api, const slc_client *client)
{
    slc_json *w = &api->w;
    slc_json_open(w, '{');
    slc_json_put_text(w, "name", client->info.name);
    slc_json_put_text(w, "peer_host", client->info.peer_host);
    slc_json_put_u64(w, "peer_port", client->info.peer_port);
    slc_json_close(w, '}');
}
