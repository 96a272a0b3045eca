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

/** An entry of exchange_types and auth_mechanisms. */
static void kind_put(slc_json *w, const char *name, const char *description, bool enabled)
{
    slc_json_open(w, '{');
    slc_json_put_text(w, "name", name);
    slc_json_put_text(w, "description", description);
    slc_json_put_bool(w, "enabled", enabled);
    slc_json_close(w, '}');
}

static void exchange_types_put(slc_json *w)
{
    const slc_exchange_kind *kind;
    slc_json_key(w, "exchange_types");
    slc_json_open(w, '[');
    for (size_t i = 0; (kind = slc_exchange_kind_at(i)) != NULL; i++)
        kind_put(w, kind->name, kind->description, true);
    slc_json_close(w, ']');
}

static void listener_put(slc_api *api, const char *protocol, const char *purpose, const char *ip,
                         uint16_t port, bool suspended)
{
    slc_json *w = &api->w;
    slc_json_open(w, '{');
    slc_json_put_text(w, "node", api->options->node);
    slc_json_put_text(w, "protocol", protocol);
    slc_json_put_text(w, "ip_address", ip);
    slc_json_put_u64(w, "port", port);
    if (purpose != NULL)
        slc_json_put_text(w, "purpose", purpose);
    if (suspended)
        slc_json_put_bool(w, "suspended", true);
    slc_json_close(w, '}');
}

static void listeners_put(slc_api *api, const slc_http_status *status)
{
    slc_json_open(&api->w, '[');
    for (uint32_t i = 0; i < status->listener_count; i++) {
        const slc_http_listener *l = &status->listeners[i];
        listener_put(api, l->protocol, l->purpose, l->ip, l->port, l->suspended);
    }
    for (uint32_t i = 0; i < SLC_HTTP_TCP_MAX; i++) {
        uint16_t port = slc_http_tcp_port(api->request->http, i);
        const char *ip = api->options->tcp[i].ip;
        if (port != 0)
            listener_put(api, i == 0 ? "http" : "https", "management API",
                         ip != NULL ? ip : "::", port, false);
    }
    listener_put(api, "http", "management API on a unix socket",
                 slc_http_socket_path(api->request->http), 0, false);
    slc_json_close(&api->w, ']');
}

// An object of counters; of: whose totals these are, bytes 0: everybody's.
static void counters_put(slc_api *api, const char *key, char kind, slc_slice of,
                         const slc_api_counter *counters, uint32_t count, slc_api_group group,
                         uint64_t age_ms)
{
    slc_api_rated *r = &api->rated;
    memcpy(r->counters, counters, count * sizeof *counters);
    r->count = count;
    slc_api_rated_look(api, r, kind, of, (slc_slice){0}, group, age_ms);
    if (key != NULL) {
        slc_json_key(&api->w, key);
        slc_json_open(&api->w, '{');
    }
    for (uint32_t i = 0; i < count; i++)
        slc_api_rated_put(api, r, i, group, true);
    if (key != NULL)
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

static void own_stats(slc_vhost *vhost, void *arg)
{
    slc_broker_totals *out = ((slc_api *)arg)->extra;
    const slc_stats *from = slc_vhost_stats(vhost);
    slc_stats *to = &out->stats;
    to->published += from->published;
    to->confirmed += from->confirmed;
    to->returned += from->returned;
    to->dropped += from->dropped;
    to->delivered += from->delivered;
    to->got += from->got;
    to->delivered_no_ack += from->delivered_no_ack;
    to->got_no_ack += from->got_no_ack;
    to->got_empty += from->got_empty;
    to->redelivered += from->redelivered;
    to->acked += from->acked;
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
    slc_api_each_listed_vhost(api, own_stats);
    slc_broker_each_client(api->broker, own_connection, &own);
}

// How long values of the past are kept, in seconds.
static void retention_put(slc_json *w, const char *key)
{
    slc_json_key(w, key);
    slc_json_open(w, '[');
    slc_json_u64(w, 600);
    slc_json_close(w, ']');
}

static uint64_t store_stat(const slc_http_status *status, const char *name)
{
    for (uint32_t i = 0; i < status->store_count; i++) {
        if (strcmp(status->store[i].name, name) == 0)
            return status->store[i].value;
    }
    return 0;
}

// Always all of them, unlike RabbitMQ: there are programs that take an overview without for an error.
static void overview_stats(slc_api *api, const slc_broker_totals *totals,
                           const slc_http_status *status, slc_slice of)
{
    slc_api_rated *r = &api->rated;
    slc_api_stats_counters(r, &totals->stats);
    r->counters[r->count++] = (slc_api_counter){"disk_reads", 0};
    r->counters[r->count++] = (slc_api_counter){"disk_writes", store_stat(status, "commits")};
    slc_api_rated_look(api, r, 'o', of, (slc_slice){0}, SLC_API_MSG_RATES,
                       of.bytes > 0 ? UINT64_MAX : status->uptime_ms);
    if (api->options->rates_off)
        return;
    slc_json_key(&api->w, "message_stats");
    slc_json_open(&api->w, '{');
    for (uint32_t i = 0; i < r->count; i++)
        slc_api_rated_put(api, r, i, SLC_API_MSG_RATES, true);
    slc_json_close(&api->w, '}');
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
    slc_json_put_text(w, "rates_mode", api.options->rates_off ? "none" : "basic");
    slc_json_key(w, "sample_retention_policies");
    slc_json_open(w, '{');
    retention_put(w, "global");
    retention_put(w, "basic");
    retention_put(w, "detailed");
    slc_json_close(w, '}');
    slc_json_put_text(w, "erlang_version", "0");
    slc_json_put_text(w, "erlang_full_version", "none: Sluice is written in C");
    slc_json_put_text(w, "release_series_support_status", "supported");
    slc_json_put_bool(w, "disable_stats", api.options->stats_off);
    slc_json_put_bool(w, "enable_queue_totals", api.options->queue_totals);
    exchange_types_put(w);

    overview_stats(&api, &totals, &status, of);
    const slc_api_counter churn[] = {
        {"channel_closed", totals.sessions_closed},
        {"channel_created", totals.sessions_opened},
        {"connection_closed", totals.connections_closed},
        {"connection_created", totals.connections_opened},
        {"queue_created", totals.queues_created},
        {"queue_declared", totals.queues_declared},
        {"queue_deleted", totals.queues_deleted},
    };
    counters_put(&api, "churn_rates", 'u', of, churn, SLC_ARRAY_COUNT(churn), SLC_API_MSG_RATES,
                 UINT64_MAX);
    const slc_api_counter queue_totals[] = {
        {"messages", totals.ready + totals.unacked},
        {"messages_ready", totals.ready},
        {"messages_unacknowledged", totals.unacked},
    };
    counters_put(&api, "queue_totals", 't', of, queue_totals, SLC_ARRAY_COUNT(queue_totals),
                 SLC_API_LENGTHS, UINT64_MAX);
    slc_json_put_u64(w, "statistics_db_event_queue", 0);

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

static void auth_mechanisms_put(slc_json *w, const slc_http_status *status)
{
    slc_json_key(w, "auth_mechanisms");
    slc_json_open(w, '[');
    for (uint32_t i = 0; i < status->mechanism_count; i++)
        kind_put(w, status->mechanisms[i].name, status->mechanisms[i].description,
                 status->mechanisms[i].offered);
    slc_json_close(w, ']');
}

static void applications_put(slc_api *api)
{
    slc_json *w = &api->w;
    slc_json_key(w, "applications");
    slc_json_open(w, '[');
    slc_json_open(w, '{');
    slc_json_put_text(w, "name", "rabbit");
    slc_json_put_text(w, "description", api->options->product);
    slc_json_put_text(w, "version", RABBITMQ_VERSION);
    slc_json_close(w, '}');
    slc_json_close(w, ']');
}

// What is built in, by the names that scripts look for.
static void plugins_put(slc_json *w)
{
    static const char *const plugins[] = {"rabbitmq_consistent_hash_exchange",
                                          "rabbitmq_delayed_message_exchange",
                                          "rabbitmq_event_exchange", "rabbitmq_management"};
    texts_put(w, "enabled_plugins", plugins, SLC_ARRAY_COUNT(plugins));
}

/* Where the memory is, under RabbitMQ's keys: programs index by name. relative: in hundredths of all of it. */
static void memory_put(slc_api *api, const slc_http_status *status, const slc_broker_totals *totals,
                       bool relative)
{
    slc_json *w = &api->w;
    uint64_t messages =
        totals->message_bytes < status->mem_used ? totals->message_bytes : status->mem_used;
    const struct {
        const char *key;
        uint64_t bytes;
    } parts[] = {
        {"connection_readers", 0},
        {"connection_writers", 0},
        {"connection_channels", 0},
        {"connection_other", 0},
        {"queue_procs", 0},
        {"queue_slave_procs", 0},
        {"quorum_queue_procs", 0},
        {"quorum_queue_dlx_procs", 0},
        {"stream_queue_procs", 0},
        {"stream_queue_replica_reader_procs", 0},
        {"stream_queue_coordinator_procs", 0},
        {"plugins", 0},
        {"metadata_store", 0},
        {"metadata_store_ets", 0},
        {"other_proc", status->mem_used - messages},
        {"metrics", 0},
        {"mgmt_db", 0},
        {"mnesia", 0},
        {"quorum_ets", 0},
        {"other_ets", 0},
        {"binary", messages},
        {"msg_index", 0},
        {"code", status->mem_rss > status->mem_used ? status->mem_rss - status->mem_used : 0},
        {"atom", 0},
        {"other_system", 0},
        {"allocated_unused", 0},
        {"reserved_unallocated", 0},
    };
    uint64_t all = status->mem_rss > status->mem_used ? status->mem_rss : status->mem_used;
    slc_json_key(w, "memory");
    slc_json_open(w, '{');
    for (size_t i = 0; i < SLC_ARRAY_COUNT(parts); i++) {
        slc_json_key(w, parts[i].key);
        slc_json_u64(w,
                     relative && all > 0 ? (parts[i].bytes * 100 + all - 1) / all : parts[i].bytes);
    }
    if (relative) {
        slc_json_put_u64(w, "total", 100);
    } else {
        slc_json_put_text(w, "strategy", "rss");
        slc_json_key(w, "total");
        slc_json_open(w, '{');
        slc_json_put_u64(w, "erlang", status->mem_used);
        slc_json_put_u64(w, "rss", status->mem_rss);
        slc_json_put_u64(w, "allocated", status->mem_used);
        slc_json_close(w, '}');
    }
    slc_json_close(w, '}');
}

void slc_api_node_memory(slc_http_request *request)
{
    slc_api api = slc_api_begin(request);
    slc_http_status status;
    slc_http_status_get(request->http, &status);
    slc_broker_totals totals;
    slc_broker_total(api.broker, &totals);
    api.want_one = true;
    api.found = slc_api_is_node(api.options->node, request->vars[0]);
    slc_json_open(&api.w, '{');
    memory_put(&api, &status, &totals, request->path.segment_count > 4);
    slc_json_close(&api.w, '}');
    slc_api_end(&api);
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
    // What nine of ten descriptors allow; the rest are files and our own. Clients divide by both.
    slc_json_put_u64(w, "sockets_total", status.fd_total > 10 ? status.fd_total / 10 * 9 : 1);
    slc_json_put_u64(w, "proc_total", PROC_TOTAL);
    slc_json_put_u64(w, "mem_rss", status.mem_rss);
    if (status.mem_limit != 0)
        slc_json_put_u64(w, "mem_limit", status.mem_limit);
    slc_json_put_bool(w, "mem_alarm", status.mem_alarm);
    if (status.mem_alarm)
        slc_api_growers_put(api, "mem_alarm_biggest", SLC_RESOURCE_MEMORY);
    slc_json_put_text(w, "mem_calculation_strategy", "rss");
    slc_json_put_u64(w, "disk_free_limit", status.disk_free_limit);
    slc_json_put_bool(w, "disk_free_alarm", status.disk_alarm);
    if (status.disk_alarm)
        slc_api_growers_put(api, "disk_free_alarm_biggest", SLC_RESOURCE_DISK);
    slc_json_put_i64(w, "processors", sysconf(_SC_NPROCESSORS_ONLN));
    texts_put(w, "partitions", NULL, 0);
    texts_put(w, "cluster_links", NULL, 0);
    contexts_put(api);
    const slc_api_counter gauges[] = {
        {"mem_used", status.mem_used},
        {"fd_used", status.fd_used},
        {"sockets_used", totals.connections},
        {"proc_used", totals.connections + totals.sessions + totals.queues},
        {"disk_free", status.disk_free},
    };
    counters_put(api, NULL, 'n', (slc_slice){0}, gauges, SLC_ARRAY_COUNT(gauges),
                 SLC_API_NODE_STATS, UINT64_MAX);
    const slc_api_counter churn[] = {
        {"connection_created", totals.connections_opened},
        {"connection_closed", totals.connections_closed},
        {"channel_created", totals.sessions_opened},
        {"channel_closed", totals.sessions_closed},
        {"queue_declared", totals.queues_declared},
        {"queue_created", totals.queues_created},
        {"queue_deleted", totals.queues_deleted},
        {"context_switches", 0},
        {"gc_num", 0},
        {"gc_bytes_reclaimed", 0},
    };
    counters_put(api, NULL, 'h', (slc_slice){0}, churn, SLC_ARRAY_COUNT(churn), SLC_API_NODE_STATS,
                 UINT64_MAX);
    // The store does its writing through a map: what it counts is its commits, each with its syncs.
    const uint64_t commits = store_stat(&status, "commits");
    const slc_api_counter io[] = {
        {"io_read_count", 0},          {"io_read_bytes", 0},         {"io_write_count", commits},
        {"io_write_bytes", 0},         {"io_sync_count", commits},   {"io_seek_count", 0},
        {"io_reopen_count", 0},        {"mnesia_ram_tx_count", 0},   {"mnesia_disk_tx_count", 0},
        {"msg_store_read_count", 0},   {"msg_store_write_count", 0}, {"queue_index_write_count", 0},
        {"queue_index_read_count", 0},
    };
    counters_put(api, NULL, 'i', (slc_slice){0}, io, SLC_ARRAY_COUNT(io), SLC_API_NODE_STATS,
                 UINT64_MAX);
    const slc_api_counter times[] = {{"io_read_avg_time", 0},
                                     {"io_write_avg_time", 0},
                                     {"io_sync_avg_time", 0},
                                     {"io_seek_avg_time", 0}};
    counters_put(api, NULL, 'a', (slc_slice){0}, times, SLC_ARRAY_COUNT(times), SLC_API_NODE_STATS,
                 UINT64_MAX);
    slc_json_put_u64(w, "run_queue", 0);
    slc_json_put_u64(w, "net_ticktime", 60);
    auth_mechanisms_put(w, &status);
    applications_put(api);
    plugins_put(w);
    slc_json_key(w, "metrics_gc_queue_length");
    slc_json_open(w, '{');
    slc_json_close(w, '}');
    if (slc_path_flag(&api->request->path, "memory"))
        memory_put(api, &status, &totals, false);
    slc_json_put_bool(w, "being_drained", false);
    slc_json_put_text(w, "rates_mode", api->options->rates_off ? "none" : "basic");
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

void slc_api_growers_put(slc_api *api, const char *key, slc_resource resource)
{
    slc_json *w = &api->w;
    slc_growers growers;
    slc_growers_find(api->broker, resource, &growers);
    slc_json_key(w, key);
    slc_json_open(w, '[');
    for (uint32_t i = 0; i < growers.count; i++) {
        const slc_grower *g = &growers.items[i];
        slc_json_open(w, '{');
        slc_json_put_text(w, "type", g->connection ? "connection" : "queue");
        slc_json_put_text(w, "vhost", g->vhost);
        slc_json_put_text(w, "name", g->name);
        slc_json_put_u64(w, "bytes", g->bytes);
        if (!g->connection)
            slc_json_put_u64(w, "messages", g->messages);
        slc_json_close(w, '}');
    }
    slc_json_close(w, ']');
}

static void alarms_put(slc_api *api, const slc_http_status *status)
{
    slc_json *w = &api->w;
    const bool on[SLC_RESOURCE_COUNT] = {status->mem_alarm, status->disk_alarm};
    static const char *const resource[] = {"memory", "disk"};
    slc_json_key(w, "alarms");
    slc_json_open(w, '[');
    for (size_t i = 0; i < SLC_ARRAY_COUNT(on); i++) {
        if (!on[i])
            continue;
        slc_json_open(w, '{');
        slc_json_put_text(w, "node", api->options->node);
        slc_json_put_text(w, "resource", resource[i]);
        if (i == SLC_RESOURCE_DISK && status->disk_cause != NULL)
            slc_json_put_text(w, "cause", status->disk_cause);
        slc_api_growers_put(api, "biggest", (slc_resource)i);
        slc_json_put_text(w, "advice", slc_growers_advice((slc_resource)i));
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
