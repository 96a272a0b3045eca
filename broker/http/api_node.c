// The node: overview, nodes, status, listeners, shutdown.
#include <stdio.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "auth/auth.h"
#include "base/alloc.h"
#include "http/api.h"

// The RabbitMQ release whose behaviour tools may assume.
#define RABBITMQ_VERSION "3.13.7"

// Erlang's limit of processes, of which RabbitMQ has one or more for each connection, channel and queue. We have no limit of
// that kind, and checks divide by it.
enum { PROC_TOTAL = 1048576 };

static void texts_put(slc_json *w, const char *key, const char *const *texts, uint32_t count)
{
    slc_json_key(w, key);
    slc_json_open(w, '[');
    for (uint32_t i = 0; i < count; i++)
        slc_json_text(w, texts[i]);
    slc_json_close(w, ']');
}

static void exchange_types_put(slc_json *w)
{
    static const struct {
        const char *name, *description;
    } types[] = {
        {"direct", "AMQP direct exchange, as per the AMQP specification"},
        {"fanout", "AMQP fanout exchange, as per the AMQP specification"},
        {"headers", "AMQP headers exchange, as per the AMQP specification"},
        {"topic", "AMQP topic exchange, as per the AMQP specification"},
    };
    slc_json_key(w, "exchange_types");
    slc_json_open(w, '[');
    for (size_t i = 0; i < SLC_ARRAY_COUNT(types); i++) {
        slc_json_open(w, '{');
        slc_json_put_text(w, "name", types[i].name);
        slc_json_put_text(w, "description", types[i].description);
        slc_json_put_bool(w, "enabled", true);
        slc_json_close(w, '}');
    }
    slc_json_close(w, ']');
}

static void listener_put(slc_api *api, const char *protocol, const char *purpose, const char *ip,
                         uint16_t port)
{
    slc_json *w = &api->w;
    slc_json_open(w, '{');
    slc_json_put_text(w, "node", api->options->node);
    slc_json_put_text(w, "protocol", protocol);
    slc_json_put_text(w, "ip_address", ip);
    slc_json_put_u64(w, "port", port);
    if (purpose != NULL)
        slc_json_put_text(w, "purpose", purpose);
    slc_json_close(w, '}');
}

static void listeners_put(slc_api *api, const slc_http_status *status)
{
    slc_json_open(&api->w, '[');
    for (uint32_t i = 0; i < status->listener_count; i++) {
        const slc_http_listener *l = &status->listeners[i];
        listener_put(api, l->protocol, l->purpose, l->ip, l->port);
    }
    for (uint32_t i = 0; i < SLC_HTTP_TCP_MAX; i++) {
        uint16_t port = slc_http_tcp_port(api->request->http, i);
        const char *ip = api->options->tcp[i].ip;
        if (port != 0)
            listener_put(api, i == 0 ? "http" : "https", "management API",
                         ip != NULL ? ip : "::", port);
    }
    listener_put(api, "http", "management API on a unix socket",
                 slc_http_socket_path(api->request->http), 0);
    slc_json_close(&api->w, ']');
}

// of: whose totals these are; bytes 0: everybody's.
static void counters_put(slc_api *api, const char *key, char kind, slc_slice of,
                         const slc_api_counter *counters, uint32_t count, uint64_t age_ms)
{
    double rates[SLC_RATES_COUNTERS_MAX];
    slc_api_rates(api, kind, of, (slc_slice){0}, counters, count, age_ms, rates);
    slc_json_key(&api->w, key);
    slc_json_open(&api->w, '{');
    slc_api_counters_put(&api->w, counters, rates, count);
    slc_json_close(&api->w, '}');
}

// Who listens for HTTP, as RabbitMQ says it.
static void contexts_put(slc_api *api)
{
    slc_json *w = &api->w;
    slc_json_key(w, "contexts");
    slc_json_open(w, '[');
    for (uint32_t i = 0; i < SLC_HTTP_TCP_MAX; i++) {
        uint16_t port = slc_http_tcp_port(api->request->http, i);
        char text[8];
        if (port == 0)
            continue;
        snprintf(text, sizeof text, "%u", port);
        slc_json_open(w, '{');
        slc_json_put_text(w, "node", api->options->node);
        slc_json_put_text(w, "description", "Sluice Management");
        slc_json_put_text(w, "path", "/");
        slc_json_put_text(w, "ip",
                          api->options->tcp[i].ip != NULL ? api->options->tcp[i].ip : "::");
        slc_json_put_text(w, "port", text);
        slc_json_close(w, '}');
    }
    slc_json_close(w, ']');
}

// Totals of what a user may see who may not monitor.
typedef struct own_totals {
    slc_api *api;
    slc_broker_totals *out;
} own_totals;

static void own_queue(const slc_queue_info *q, void *arg)
{
    slc_broker_totals *out = arg;
    out->queues++;
    out->ready += q->ready;
    out->unacked += q->unacked;
}

static void own_exchange(const slc_exchange *exchange, void *arg)
{
    slc_broker_totals *out = arg;
    (void)exchange;
    out->exchanges++;
}

static void own_vhost(slc_vhost *vhost, void *arg)
{
    slc_broker_totals *out = ((slc_api *)arg)->extra;
    slc_vhost_each_queue(vhost, own_queue, out);
    slc_vhost_each_exchange(vhost, own_exchange, out);
}

static void own_connection(slc_client *client, void *arg)
{
    const own_totals *own = arg;
    if (!slc_http_may_see_of(own->api->request, client->info.user))
        return;
    own->out->connections++;
    own->out->sessions += client->session_count;
}

static void totals_visible(slc_api *api, bool all, slc_broker_totals *out)
{
    own_totals own = {.api = api, .out = out};
    if (all) {
        slc_broker_total(api->broker, out);
        return;
    }
    *out = (slc_broker_totals){0};
    api->extra = out;
    slc_api_each_listed_vhost(api, own_vhost);
    slc_broker_each_client(api->broker, own_connection, &own);
}

void slc_api_overview(slc_http_request *request)
{
    slc_api api = slc_api_begin(request);
    slc_http_status status;
    slc_http_status_get(request->http, &status);
    slc_broker_totals totals;
    const bool all = (request->tags & SLC_AUTH_TAG_MONITORING) != 0;
    const slc_slice of = all ? (slc_slice){0} : slc_slice_str(request->user);
    totals_visible(&api, all, &totals);

    slc_json *w = &api.w;
    slc_json_open(w, '{');
    slc_json_put_text(w, "management_version", RABBITMQ_VERSION);
    slc_json_put_text(w, "rabbitmq_version", RABBITMQ_VERSION);
    slc_json_put_text(w, "product_name", api.options->product);
    slc_json_put_text(w, "product_version", api.options->version);
    slc_json_put_slice(w, "cluster_name", slc_api_cluster_name_of(api.options));
    slc_json_put_text(w, "rates_mode", "basic");
    exchange_types_put(w);

    const slc_api_counter stats[] = {
        {"publish", totals.published},
        {"confirm", totals.confirmed},
        {"deliver_get", totals.delivered},
        {"ack", totals.acked},
        {"redeliver", totals.redelivered},
        {"return_unroutable", totals.returned},
        {"drop_unroutable", totals.unroutable - totals.returned},
    };
    counters_put(&api, "message_stats", 's', of, stats, SLC_ARRAY_COUNT(stats), status.uptime_ms);
    const slc_api_counter queue_totals[] = {
        {"messages", totals.ready + totals.unacked},
        {"messages_ready", totals.ready},
        {"messages_unacknowledged", totals.unacked},
    };
    counters_put(&api, "queue_totals", 't', of, queue_totals, SLC_ARRAY_COUNT(queue_totals),
                 UINT64_MAX);

    slc_json_key(w, "object_totals");
    slc_json_open(w, '{');
    slc_json_put_u64(w, "channels", totals.sessions);
    slc_json_put_u64(w, "connections", totals.connections);
    if (all)
        slc_json_put_u64(w, "consumers", totals.consumers);
    slc_json_put_u64(w, "exchanges", totals.exchanges);
    slc_json_put_u64(w, "queues", totals.queues);
    slc_json_close(w, '}');

    if (all) {
        slc_json_put_text(w, "node", api.options->node);
        slc_json_key(w, "listeners");
        listeners_put(&api, &status);
        contexts_put(&api);
    }
    slc_json_close(w, '}');
    slc_api_end(&api);
}

static void store_put(slc_json *w, const slc_http_status *status)
{
    if (status->store_count == 0 && status->store_flush == NULL)
        return;
    slc_json_key(w, "store");
    slc_json_open(w, '{');
    if (status->store_flush != NULL)
        slc_json_put_text(w, "flush", status->store_flush);
    for (uint32_t i = 0; i < status->store_count; i++)
        slc_json_put_u64(w, status->store[i].name, status->store[i].value);
    slc_json_close(w, '}');
}

static void node_put(slc_api *api)
{
    slc_http_status status;
    slc_http_status_get(api->request->http, &status);
    slc_broker_totals totals;
    slc_broker_total(api->broker, &totals);
    char pid[24];
    snprintf(pid, sizeof pid, "%ld", (long)getpid());

    slc_json *w = &api->w;
    slc_json_open(w, '{');
    slc_json_put_text(w, "name", api->options->node);
    slc_json_put_text(w, "type", "disc");
    slc_json_put_bool(w, "running", true);
    slc_json_put_u64(w, "uptime", status.uptime_ms);
    slc_json_put_text(w, "os_pid", pid);
    slc_json_put_text(w, "rabbitmq_version", RABBITMQ_VERSION);
    slc_json_put_u64(w, "fd_total", status.fd_total);
    slc_json_put_u64(w, "fd_used", status.fd_used);
    slc_json_put_u64(w, "sockets_used", totals.connections);
    // What nine of ten descriptors allow; the rest are files and our own. Clients divide by both.
    slc_json_put_u64(w, "sockets_total", status.fd_total > 10 ? status.fd_total / 10 * 9 : 1);
    slc_json_put_u64(w, "proc_used", totals.connections + totals.sessions + totals.queues);
    slc_json_put_u64(w, "proc_total", PROC_TOTAL);
    slc_json_put_u64(w, "mem_used", status.mem_used);
    slc_json_put_u64(w, "mem_rss", status.mem_rss);
    if (status.mem_limit != 0)
        slc_json_put_u64(w, "mem_limit", status.mem_limit);
    slc_json_put_bool(w, "mem_alarm", status.mem_alarm);
    slc_json_put_text(w, "mem_calculation_strategy", "rss");
    slc_json_put_u64(w, "disk_free", status.disk_free);
    slc_json_put_u64(w, "disk_free_limit", status.disk_free_limit);
    slc_json_put_bool(w, "disk_free_alarm", status.disk_alarm);
    slc_json_put_i64(w, "processors", sysconf(_SC_NPROCESSORS_ONLN));
    texts_put(w, "partitions", NULL, 0);
    texts_put(w, "cluster_links", NULL, 0);
    contexts_put(api);
    const slc_api_counter gauges[] = {
        {"mem_used", status.mem_used},
        {"fd_used", status.fd_used},
        {"sockets_used", totals.connections},
        {"disk_free", status.disk_free},
    };
    double rates[SLC_ARRAY_COUNT(gauges)];
    slc_api_rates(api, 'n', (slc_slice){0}, (slc_slice){0}, gauges, SLC_ARRAY_COUNT(gauges),
                  UINT64_MAX, rates);
    for (uint32_t i = 0; i < SLC_ARRAY_COUNT(gauges); i++)
        slc_api_rate_put(w, gauges[i].name, rates[i]);
    slc_json_put_bool(w, "being_drained", false);
    slc_json_put_text(w, "rates_mode", "basic");
    exchange_types_put(w);
    texts_put(w, "config_files", status.config_files, status.config_file_count);
    texts_put(w, "log_files", status.log_files, status.log_file_count);
    slc_json_put_text(w, "db_dir", status.data_dir);
    store_put(w, &status);
    slc_json_close(w, '}');
}

void slc_api_nodes(slc_http_request *request)
{
    slc_api api = slc_api_begin(request);
    slc_json_open(&api.w, '[');
    node_put(&api);
    slc_json_close(&api.w, ']');
    slc_api_end(&api);
}

bool slc_api_is_node(const char *node, slc_slice name)
{
    // Monitoring scripts have rabbit@HOST wired in: it names the node on that host.
    const char *host = strchr(node, '@');
    static const char rabbit[] = "rabbit";
    bool alias = host != NULL && name.bytes == sizeof rabbit - 1 + strlen(host) &&
                 memcmp(name.data, rabbit, sizeof rabbit - 1) == 0 &&
                 memcmp(name.data + sizeof rabbit - 1, host, strlen(host)) == 0;
    return alias || slc_slice_is(name, node);
}

void slc_api_node(slc_http_request *request)
{
    slc_api api = slc_api_begin(request);
    api.want_one = true;
    api.found = slc_api_is_node(api.options->node, request->vars[0]);
    if (api.found)
        node_put(&api);
    slc_api_end(&api);
}

void slc_api_version(slc_http_request *request)
{
    slc_api api = slc_api_begin(request);
    slc_json_text(&api.w, api.options->version);
    slc_api_end(&api);
}

static void alarms_put(slc_api *api, const slc_http_status *status)
{
    slc_json *w = &api->w;
    const bool on[] = {status->mem_alarm, status->disk_alarm};
    static const char *const resource[] = {"memory", "disk"};
    slc_json_key(w, "alarms");
    slc_json_open(w, '[');
    for (size_t i = 0; i < SLC_ARRAY_COUNT(on); i++) {
        if (!on[i])
            continue;
        slc_json_open(w, '{');
        slc_json_put_text(w, "node", api->options->node);
        slc_json_put_text(w, "resource", resource[i]);
        slc_json_close(w, '}');
    }
    slc_json_close(w, ']');
}

static void count_vhost(slc_vhost *vhost, void *arg)
{
    (void)vhost;
    uint64_t *count = arg;
    ++*count;
}

// The keys of `rabbitmqctl status --formatter json`.
void slc_api_status(slc_http_request *request)
{
    slc_api api = slc_api_begin(request);
    slc_http_status status;
    slc_http_status_get(request->http, &status);
    slc_broker_totals totals;
    slc_broker_total(api.broker, &totals);
    uint64_t vhosts = 0;
    slc_broker_each_vhost(api.broker, count_vhost, &vhosts);
    struct utsname os;
    if (uname(&os) != 0)
        snprintf(os.sysname, sizeof os.sysname, "Linux");

    slc_json *w = &api.w;
    slc_json_open(w, '{');
    slc_json_put_text(w, "node", api.options->node);
    slc_json_put_i64(w, "pid", getpid());
    slc_json_put_text(w, "os", os.sysname);
    slc_json_put_u64(w, "uptime", status.uptime_ms / 1000);
    slc_json_put_text(w, "product_name", api.options->product);
    slc_json_put_text(w, "product_version", api.options->version);
    slc_json_put_text(w, "rabbitmq_version", RABBITMQ_VERSION);
    slc_json_put_bool(w, "is_under_maintenance", false);
    alarms_put(&api, &status);
    slc_json_key(w, "memory");
    slc_json_open(w, '{');
    slc_json_put_text(w, "strategy", "rss");
    slc_json_put_u64(w, "used", status.mem_used);
    slc_json_put_u64(w, "messages", totals.message_bytes);
    slc_json_key(w, "total");
    slc_json_open(w, '{');
    slc_json_put_u64(w, "rss", status.mem_rss);
    slc_json_close(w, '}');
    slc_json_close(w, '}');
    slc_json_put_text(w, "vm_memory_calculation_strategy", "rss");
    if (status.mem_limit != 0)
        slc_json_put_u64(w, "vm_memory_high_watermark_limit", status.mem_limit);
    slc_json_put_u64(w, "disk_free", status.disk_free);
    slc_json_put_u64(w, "disk_free_limit", status.disk_free_limit);
    slc_json_key(w, "file_descriptors");
    slc_json_open(w, '{');
    slc_json_put_u64(w, "total_limit", status.fd_total);
    slc_json_put_u64(w, "total_used", status.fd_used);
    slc_json_put_u64(w, "sockets_used", totals.connections);
    slc_json_close(w, '}');
    slc_json_put_text(w, "data_directory", status.data_dir);
    texts_put(w, "config_files", status.config_files, status.config_file_count);
    texts_put(w, "log_files", status.log_files, status.log_file_count);
    slc_json_key(w, "totals");
    slc_json_open(w, '{');
    slc_json_put_u64(w, "connection_count", totals.connections);
    slc_json_put_u64(w, "queue_count", totals.queues);
    slc_json_put_u64(w, "virtual_host_count", vhosts);
    slc_json_put_u64(w, "messages", totals.ready + totals.unacked);
    slc_json_close(w, '}');
    store_put(w, &status);
    slc_json_key(w, "listeners");
    listeners_put(&api, &status);
    slc_json_close(w, '}');
    slc_api_end(&api);
}

void slc_api_ready(slc_http_request *request)
{
    slc_api api = slc_api_begin(request);
    slc_http_status status;
    slc_http_status_get(request->http, &status);
    if (!status.ready) {
        slc_http_fail(request, 503, "unavailable", "the broker is starting");
        slc_http_answer(request);
        return;
    }
    slc_json_open(&api.w, '{');
    slc_json_put_text(&api.w, "status", "ok");
    slc_json_close(&api.w, '}');
    slc_api_end(&api);
}

void slc_api_listeners(slc_http_request *request)
{
    slc_api api = slc_api_begin(request);
    slc_http_status status;
    slc_http_status_get(request->http, &status);
    listeners_put(&api, &status);
    slc_api_end(&api);
}

void slc_api_shutdown(slc_http_request *request)
{
    slc_api api = slc_api_begin(request);
    request->status = 202;
    slc_json_open(&api.w, '{');
    slc_json_put_i64(&api.w, "pid", getpid());
    slc_json_close(&api.w, '}');
    slc_api_end(&api);
    api.options->shutdown(api.options->arg);
}
