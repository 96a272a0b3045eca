// Paths to handlers. A linear table: a few dozen entries, one request at a time.
#include <stdio.h>

#include "base/alloc.h"
#include "http/api.h"

#define GET    SLC_HTTP_GET
#define PUT    SLC_HTTP_PUT
#define POST   SLC_HTTP_POST
#define DELETE SLC_HTTP_DELETE

// The first entry that fits counts, so words stand before `*`.
static const slc_route_entry routes[] = {
    {POST, "login", slc_api_login, .open = true},
    {DELETE, "login", slc_api_logout, .open = true},
    {GET, "auth", slc_api_auth, .open = true},
    {GET, "auth/attempts/*", slc_api_attempts},
    {DELETE, "auth/attempts/*", slc_api_attempts_reset},
    {GET, "auth/attempts/*/source", slc_api_attempts_by_source},
    {DELETE, "auth/attempts/*/source", slc_api_attempts_by_source},
    {GET, "sluice/session", slc_api_session},
    {GET, "overview", slc_api_overview},
    {GET, "cluster-name", slc_api_cluster_name},
    {PUT, "cluster-name", slc_api_cluster_name_put},
    {GET, "extensions", slc_api_nothing},
    {GET, "feature-flags", slc_api_features},
    {PUT, "feature-flags/*/enable", slc_api_feature_enable},
    {GET, "deprecated-features", slc_api_nothing},
    {GET, "deprecated-features/used", slc_api_nothing},
    {GET, "federation-links", slc_api_nothing},
    {GET, "federation-links/*", slc_api_nothing_of_vhost},
    {GET, "shovels", slc_api_nothing},
    {GET, "shovels/*", slc_api_nothing_of_vhost},
    {POST, "rebalance/queues", slc_api_done},
    {DELETE, "reset", slc_api_reset},
    {DELETE, "reset/*", slc_api_reset},
    {POST, "vhosts/*/start/*", slc_api_vhost_start},
    {GET, "version", slc_api_version},
    {GET, "nodes", slc_api_nodes},
    {GET, "nodes/*", slc_api_node},
    {GET, "nodes/*/memory", slc_api_node_memory},
    {GET, "nodes/*/memory/relative", slc_api_node_memory},
    {GET, "vhosts", slc_api_vhosts},
    {GET, "vhosts/*", slc_api_vhost},
    {PUT, "vhosts/*", slc_api_vhost_put},
    {DELETE, "vhosts/*", slc_api_vhost_delete},
    {GET, "vhosts/*/permissions", slc_api_vhost_permissions},
    {GET, "vhosts/*/topic-permissions", slc_api_vhost_topic_permissions},
    {GET, "whoami", slc_api_whoami},
    {GET, "users", slc_api_users},
    {GET, "users/without-permissions", slc_api_users_without_permissions},
    {POST, "users/bulk-delete", slc_api_users_bulk_delete},
    {GET, "users/*", slc_api_user},
    {PUT, "users/*", slc_api_user_put},
    {DELETE, "users/*", slc_api_user_delete},
    {GET, "users/*/permissions", slc_api_user_permissions},
    {GET, "users/*/topic-permissions", slc_api_user_topic_permissions},
    {GET, "permissions", slc_api_permissions},
    {GET, "permissions/*/*", slc_api_permission},
    {PUT, "permissions/*/*", slc_api_permission_put},
    {DELETE, "permissions/*/*", slc_api_permission_delete},
    {GET, "topic-permissions", slc_api_topic_permissions},
    {GET, "topic-permissions/*/*", slc_api_topic_permission},
    {PUT, "topic-permissions/*/*", slc_api_topic_permission_put},
    {DELETE, "topic-permissions/*/*", slc_api_topic_permission_delete},
    {GET, "topic-permissions/*/*/*", slc_api_topic_permission},
    {DELETE, "topic-permissions/*/*/*", slc_api_topic_permission_delete},
    {GET, "user-limits", slc_api_user_limits},
    {GET, "user-limits/*", slc_api_user_limits},
    {PUT, "user-limits/*/*", slc_api_user_limit_put},
    {DELETE, "user-limits/*/*", slc_api_user_limit_delete},
    {GET, "vhost-limits", slc_api_vhost_limits},
    {GET, "vhost-limits/*", slc_api_vhost_limits},
    {PUT, "vhost-limits/*/*", slc_api_vhost_limit_put},
    {DELETE, "vhost-limits/*/*", slc_api_vhost_limit_delete},
    {POST, "sluice/authenticate", slc_api_authenticate},
    {GET, "vhosts/*/connections", slc_api_vhost_connections},
    {GET, "vhosts/*/channels", slc_api_vhost_channels},
    {GET, "healthchecks/node", slc_api_health_node},
    {GET, "healthchecks/node/*", slc_api_health_node},
    {GET, "health/checks/alarms", slc_api_health_alarms},
    {GET, "health/checks/local-alarms", slc_api_health_alarms},
    {GET, "health/checks/port-listener/*", slc_api_health_port},
    {GET, "health/checks/protocol-listener/*", slc_api_health_protocol},
    {GET, "health/checks/virtual-hosts", slc_api_health_vhosts},
    {GET, "health/checks/node-is-mirror-sync-critical", slc_api_health_single_node},
    {GET, "health/checks/node-is-quorum-critical", slc_api_health_single_node},
    {GET, "queues", slc_api_queues},
    {GET, "queues/*", slc_api_queues},
    {GET, "queues/*/*", slc_api_queue},
    {DELETE, "queues/*/*", slc_api_queue_delete},
    {DELETE, "queues/*/*/contents", slc_api_queue_purge},
    {GET, "queues/*/*/bindings", slc_api_queue_bindings},
    {GET, "exchanges", slc_api_exchanges},
    {GET, "exchanges/*", slc_api_exchanges},
    {GET, "exchanges/*/*", slc_api_exchange},
    {GET, "bindings", slc_api_bindings},
    {GET, "bindings/*", slc_api_bindings},
    {GET, "connections", slc_api_connections},
    {GET, "connections/username/*", slc_api_connections_of_user},
    {DELETE, "connections/username/*", slc_api_connections_of_user_close},
    {GET, "connections/*", slc_api_connection},
    {DELETE, "connections/*", slc_api_connection_close},
    {GET, "connections/*/channels", slc_api_connection_channels},
    {GET, "channels", slc_api_channels},
    {GET, "channels/*", slc_api_channel},
    {GET, "consumers", slc_api_consumers},
    {GET, "consumers/*", slc_api_consumers},
    {GET, "policies", slc_api_policies},
    {GET, "policies/*", slc_api_policies},
    {GET, "policies/*/*", slc_api_policy},
    {PUT, "policies/*/*", slc_api_policy_set},
    {DELETE, "policies/*/*", slc_api_policy_clear},
    {GET, "operator-policies", slc_api_policies},
    {GET, "operator-policies/*", slc_api_policies},
    {GET, "operator-policies/*/*", slc_api_policy},
    {PUT, "operator-policies/*/*", slc_api_policy_set},
    {DELETE, "operator-policies/*/*", slc_api_policy_clear},
    {GET, "parameters", slc_api_parameters},
    {GET, "parameters/*", slc_api_parameters},
    {GET, "parameters/*/*", slc_api_parameters},
    {GET, "parameters/*/*/*", slc_api_parameter},
    {PUT, "parameters/*/*/*", slc_api_parameter_set},
    {DELETE, "parameters/*/*/*", slc_api_parameter_clear},
    {GET, "global-parameters", slc_api_globals},
    {GET, "global-parameters/*", slc_api_global},
    {PUT, "global-parameters/*", slc_api_global_set},
    {DELETE, "global-parameters/*", slc_api_global_clear},
    {GET, "definitions", slc_api_definitions},
    {POST, "definitions", slc_api_definitions_import},
    {GET, "definitions/*", slc_api_definitions},
    {POST, "definitions/*", slc_api_definitions_import},
    {GET, "all-configuration", slc_api_definitions},
    {POST, "all-configuration", slc_api_definitions_import},
    {PUT, "queues/*/*", slc_api_queue_declare},
    {POST, "queues/*/*/get", slc_api_get},
    {POST, "queues/*/*/actions", slc_api_queue_action},
    {PUT, "exchanges/*/*", slc_api_exchange_declare},
    {DELETE, "exchanges/*/*", slc_api_exchange_delete},
    {POST, "exchanges/*/*/publish", slc_api_publish},
    {GET, "exchanges/*/*/delayed", slc_api_delayed},
    {DELETE, "exchanges/*/*/delayed/*", slc_api_delayed_cancel},
    {GET, "exchanges/*/*/bindings/source", slc_api_exchange_bindings},
    {GET, "exchanges/*/*/bindings/destination", slc_api_exchange_bindings},
    {GET, "bindings/*/e/*/q/*", slc_api_binding_pair},
    {POST, "bindings/*/e/*/q/*", slc_api_bind},
    {GET, "bindings/*/e/*/q/*/*", slc_api_binding},
    {DELETE, "bindings/*/e/*/q/*/*", slc_api_unbind},
    {GET, "bindings/*/e/*/e/*", slc_api_binding_pair},
    {POST, "bindings/*/e/*/e/*", slc_api_bind},
    {GET, "bindings/*/e/*/e/*/*", slc_api_binding},
    {DELETE, "bindings/*/e/*/e/*/*", slc_api_unbind},
    {GET, "aliveness-test/*", slc_api_aliveness},
    {GET, "sluice/alarms/limits", slc_api_limits},
    {PUT, "sluice/alarms/limits", slc_api_limits_set},
    {GET, "sluice/policies/*/*", slc_api_policies_matching},
    {GET, "sluice/config", slc_api_config},
    {POST, "sluice/config/reload", slc_api_config_reload},
    {POST, "sluice/config/check", slc_api_config_check},
    {GET, "sluice/log", slc_api_log},
    {PUT, "sluice/log/level", slc_api_log_level},
    {POST, "sluice/logs/rotate", slc_api_log_rotate},
    {POST, "sluice/listeners/suspend", slc_api_listeners_suspend},
    {POST, "sluice/listeners/resume", slc_api_listeners_resume},
    {GET, "sluice/process", slc_api_process},
    {GET, "sluice/threads", slc_api_threads},
    {GET, "sluice/interfaces", slc_api_interfaces},
    {GET, "sluice/cipher-suites", slc_api_ciphers},
    {GET, "sluice/resolve/*", slc_api_resolve},
    {GET, "store", slc_api_store},
    {GET, "sluice/status", slc_api_status},
    {GET, "sluice/ready", slc_api_ready},
    {GET, "sluice/certificates", slc_api_certificates},
    {GET, "health/checks/certificate-expiration/*/*", slc_api_health_certificates},
    {SLC_HTTP_PUT, "sluice/trace/*", slc_api_trace_on},
    {DELETE, "sluice/trace/*", slc_api_trace_off},
    {GET, "sluice/listeners", slc_api_listeners},
    {POST, "sluice/shutdown", slc_api_shutdown},
    {GET, "sluice/backup", slc_api_backup},
    {POST, "sluice/backup", slc_api_backup_start},
    {DELETE, "sluice/backup", slc_api_backup_cancel},
};

static bool route_fits(const char *pattern, slc_http_request *request)
{
    const slc_path *path = &request->path;
    request->var_count = 0;
    for (uint32_t i = 1; i < path->segment_count; i++) {
        size_t bytes = strcspn(pattern, "/");
        if (bytes == 1 && pattern[0] == '*')
            request->vars[request->var_count++] = path->segments[i];
        else if (!slc_slice_equal(slc_slice_of(pattern, bytes), path->segments[i]) || bytes == 0)
            return false;
        pattern += bytes;
        if (*pattern == '\0')
            return i + 1 == path->segment_count;
        pattern++;
    }
    return false;
}

/** management.restrictions.operator_policy_changes: over the network they can be read only, as if nothing else were there. */
static bool route_locked(const slc_route_entry *route, const slc_http_request *request)
{
    return route->method != SLC_HTTP_GET && request->peer.tcp &&
           slc_http_options_of(request->http)->operator_policies_locked &&
           strncmp(route->pattern, "operator-policies", 17) == 0;
}

unsigned slc_http_route(slc_http_request *request, unsigned *allowed)
{
    *allowed = 0;
    const slc_path *path = &request->path;
    if (path->segment_count < 2 || !slc_slice_is(path->segments[0], "api"))
        return 404;
    for (size_t i = 0; i < SLC_ARRAY_COUNT(routes); i++) {
        if (!route_fits(routes[i].pattern, request) || route_locked(&routes[i], request))
            continue;
        *allowed |= routes[i].method;
        if (routes[i].method == request->method) {
            request->route = &routes[i];
            return 0;
        }
    }
    return *allowed != 0 ? 405 : 404;
}

const char *slc_http_methods_text(unsigned methods, char *text, size_t cap)
{
    static const struct {
        unsigned method;
        const char *name;
    } names[] = {{GET, "GET, HEAD"},
                 {SLC_HTTP_PUT, "PUT"},
                 {POST, "POST"},
                 {DELETE, "DELETE"},
                 {SLC_HTTP_OPTIONS, "OPTIONS"}};
    size_t at = 0;
    text[0] = '\0';
    for (size_t i = 0; i < SLC_ARRAY_COUNT(names); i++) {
        if ((methods & names[i].method) == 0)
            continue;
        int n = snprintf(text + at, cap - at, "%s%s", at > 0 ? ", " : "", names[i].name);
        if (n < 0 || (size_t)n >= cap - at)
            break;
        at += (size_t)n;
    }
    return text;
}
