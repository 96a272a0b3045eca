// What the handlers share: field selection, walking, names of connections.
#include "http/api.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

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

static void select_words(slc_api_select *select, const char *words, const char *const *names,
                         uint32_t count)
{
    for (const char *at = words; *at != '\0'; at += *at == ' ') {
        size_t bytes = strcspn(at, " ");
        select_add(select, slc_slice_of(at, bytes), names, count);
        at += bytes;
    }
}

void slc_api_select_init(slc_api_select *select, slc_http_request *request,
                         const char *const *names, uint32_t count, uint32_t default_count,
                         const char *basic)
{
    const slc_http_options *options = slc_http_options_of(request->http);
    SLC_ASSERT(count <= SLC_API_FIELDS_MAX);
    *select = (slc_api_select){0};
    slc_slice value;
    select->raw = slc_path_param(&request->path, "arguments", &value) && slc_slice_is(value, "raw");
    if (basic != NULL && (options->stats_off || slc_path_flag(&request->path, "disable_stats"))) {
        select_words(select, basic, names, count);
        if (options->queue_totals || slc_path_flag(&request->path, "enable_queue_totals"))
            select_words(select, "messages messages_ready messages_unacknowledged", names, count);
        return;
    }
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
    slc_slice needed[SLC_LIST_NEEDS_MAX];
    for (uint32_t i = slc_list_query_needs(&request->path, needed); i > 0; i--)
        select_add(select, needed[i - 1], names, count);
    request->columns_done = !slc_list_query_again(&request->path);
}

enum { SAMPLES_MAX = 1000 }; // of one counter in one answer

static uint64_t param_number(const slc_http_request *request, const char *group, const char *what)
{
    char name[32];
    slc_slice text;
    uint64_t value = 0;
    snprintf(name, sizeof name, "%s_%s", group, what);
    if (!slc_path_param(&request->path, name, &text) || text.bytes > 9)
        return 0;
    for (size_t i = 0; i < text.bytes; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return 0;
        value = value * 10 + (uint64_t)(text.data[i] - '0');
    }
    return value;
}

static void windows_read(slc_api *api)
{
    static const char *const groups[] = {
        [SLC_API_MSG_RATES] = "msg_rates",
        [SLC_API_LENGTHS] = "lengths",
        [SLC_API_DATA_RATES] = "data_rates",
        [SLC_API_NODE_STATS] = "node_stats",
    };
    for (size_t i = 0; i < SLC_API_GROUPS; i++) {
        slc_api_window *window = &api->windows[i];
        window->age_s = param_number(api->request, groups[i], "age");
        window->incr_s = window->age_s > 0 ? param_number(api->request, groups[i], "incr") : 0;
        if (window->incr_s > 0 && window->age_s / window->incr_s >= SAMPLES_MAX)
            window->age_s = window->incr_s * (SAMPLES_MAX - 1);
    }
}

slc_api slc_api_begin(slc_http_request *request)
{
    const slc_http_options *options = slc_http_options_of(request->http);
    request->status = 200;
    slc_api api = {
        .request = request,
        .options = options,
        .broker = options->broker,
        .w = slc_json_to(&request->body),
    };
    if (request->path.param_count > 0)
        windows_read(&api);
    return api;
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

/* ---- rates ---- */

void slc_api_rated_look(slc_api *api, slc_api_rated *r, char kind, slc_slice vhost, slc_slice name,
                        slc_api_group group, uint64_t age_ms)
{
    struct slc_rates *memory = slc_http_rates(api->request->http);
    uint64_t values[SLC_RATES_COUNTERS_MAX];
    uint8_t key[2 + 2 * 255];
    size_t bytes = 0;
    SLC_ASSERT(r->count <= SLC_RATES_COUNTERS_MAX);
    SLC_ASSERT(vhost.bytes <= 255 && name.bytes <= 255);
    for (uint32_t i = 0; i < r->count; i++)
        values[i] = r->counters[i].value;
    key[bytes++] = (uint8_t)kind;
    key[bytes++] = (uint8_t)vhost.bytes;
    if (vhost.bytes > 0)
        memcpy(key + bytes, vhost.data, vhost.bytes);
    bytes += vhost.bytes;
    if (name.bytes > 0)
        memcpy(key + bytes, name.data, name.bytes);
    bytes += name.bytes;
    r->now_ns = slc_clock_now_ns();
    r->wall_ms = slc_clock_wall_ms();
    uint64_t since_ns = UINT64_MAX;
    if (age_ms != UINT64_MAX && age_ms * SLC_NS_PER_MS < r->now_ns)
        since_ns = r->now_ns - age_ms * SLC_NS_PER_MS;
    slc_rates_look(memory, slc_slice_of(key, bytes), values, r->count, r->now_ns, since_ns,
                   r->rates);
    r->past = NULL;
    if (api->windows[group].incr_s > 0 ||
        (group == SLC_API_MSG_RATES && api->windows[SLC_API_LENGTHS].incr_s > 0))
        r->past = slc_rates_past(memory, slc_slice_of(key, bytes));
}

static void samples_put(slc_json *w, const slc_api_rated *r, uint32_t which, slc_api_window window)
{
    uint64_t count = window.age_s / window.incr_s + 1;
    uint64_t newest_ms = r->wall_ms - r->wall_ms % (window.incr_s * 1000);
    uint64_t first = 0, last = 0, sum = 0;
    slc_json_key(w, "samples");
    slc_json_open(w, '[');
    for (uint64_t i = 0; i < count; i++) {
        uint64_t at_ms = newest_ms - i * window.incr_s * 1000;
        uint64_t back_ns = (r->wall_ms - at_ms) * SLC_NS_PER_MS;
        uint64_t value =
            slc_rates_value(r->past, which, r->now_ns > back_ns ? r->now_ns - back_ns : 0);
        slc_json_open(w, '{');
        slc_json_put_u64(w, "sample", value);
        slc_json_put_u64(w, "timestamp", at_ms);
        slc_json_close(w, '}');
        last = i == 0 ? value : last;
        first = value;
        sum += value;
    }
    slc_json_close(w, ']');
    slc_json_put_double(w, "avg_rate",
                        ((double)last - (double)first) /
                            (double)((count - 1) * window.incr_s + (count == 1)));
    slc_json_put_double(w, "avg", (double)sum / (double)count);
}

void slc_api_rated_put(slc_api *api, const slc_api_rated *r, uint32_t which, slc_api_group group,
                       bool values)
{
    slc_json *w = &api->w;
    const char *name = r->counters[which].name;
    char key[64];
    int bytes = snprintf(key, sizeof key, "%s_details", name);
    SLC_ASSERT(bytes > 0 && (size_t)bytes < sizeof key);
    if (values)
        slc_json_put_u64(w, name, r->counters[which].value);
    if (api->options->rates_off)
        return;
    slc_json_key(w, key);
    slc_json_open(w, '{');
    slc_json_put_double(w, "rate", r->rates[which]);
    if (r->past != NULL && api->windows[group].incr_s > 0)
        samples_put(w, r, which, api->windows[group]);
    slc_json_close(w, '}');
}

void slc_api_stats_counters(slc_api_rated *r, const slc_stats *s)
{
    const slc_api_counter counters[SLC_API_STATS] = {
        [SLC_API_PUBLISH] = {"publish", s->published},
        [SLC_API_CONFIRM] = {"confirm", s->confirmed},
        [SLC_API_RETURN] = {"return_unroutable", s->returned},
        [SLC_API_DROP] = {"drop_unroutable", s->dropped},
        {"deliver", s->delivered},
        {"deliver_no_ack", s->delivered_no_ack},
        {"get", s->got},
        {"get_no_ack", s->got_no_ack},
        {"get_empty", s->got_empty},
        {"deliver_get", s->delivered + s->delivered_no_ack + s->got + s->got_no_ack},
        {"redeliver", s->redelivered},
        {"ack", s->acked},
    };
    memcpy(r->counters, counters, sizeof counters);
    r->count = SLC_API_STATS;
}

static bool any(const slc_api_rated *r, uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++) {
        if (r->counters[i].value > 0)
            return true;
    }
    return false;
}

void slc_api_message_stats(slc_api *api, const slc_api_rated *r, bool queue)
{
    bool in = any(r, 0, SLC_API_PUBLISHING);
    bool out = any(r, SLC_API_PUBLISHING, SLC_API_STATS);
    if ((!in && !out) || api->options->rates_off)
        return;
    slc_json_key(&api->w, "message_stats");
    slc_json_open(&api->w, '{');
    for (uint32_t i = 0; i < SLC_API_STATS; i++) {
        if (i < SLC_API_PUBLISHING ? in && (i == SLC_API_PUBLISH || !queue) : out)
            slc_api_rated_put(api, r, i, SLC_API_MSG_RATES, true);
    }
    slc_json_close(&api->w, '}');
}

void slc_api_idle_since(slc_json *w, uint64_t active_ms)
{
    char text[40], milliseconds[16];
    time_t seconds = (time_t)(active_ms / 1000);
    struct tm utc;
    if (slc_clock_wall_ms() < active_ms + 1000)
        return;
    gmtime_r(&seconds, &utc);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(milliseconds, sizeof milliseconds, ".%03u+00:00", (unsigned)(active_ms % 1000));
    strcat(text, milliseconds);
    slc_json_put_text(w, "idle_since", text);
}

void slc_api_none(slc_json *w, const char *key)
{
    slc_json_key(w, key);
    slc_json_open(w, '[');
    slc_json_close(w, ']');
}

static size_t pid_text(const slc_api *api, uint64_t number, uint64_t part, char *text, size_t cap)
{
    int n =
        snprintf(text, cap, "<%.400s.%" PRIu64 ".%" PRIu64 ".0>", api->options->node, number, part);
    return n > 0 ? (size_t)n : 0;
}

void slc_api_pid_of(slc_api *api, uint64_t number, uint64_t part)
{
    char text[512];
    size_t bytes = pid_text(api, number, part, text, sizeof text);
    slc_json_slice(&api->w, slc_slice_of(text, bytes));
}

void slc_api_pid(slc_api *api, const slc_client *client, uint32_t channel)
{
    slc_api_pid_of(api, client->id, channel);
}

static void client_match(slc_client *client, void *arg)
{
    slc_api *api = arg;
    char text[512];
    if (api->found)
        return;
    size_t bytes = pid_text(api, client->id, 0, text, sizeof text);
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
