/** The handlers and what they share. Private to this folder. Thread: the loop.
 *
 *  A list has a table of fields: an X-macro of (name, statement that writes key and value). From it come the names for
 *  `columns=` and a switch that writes one field, so that a list with two columns costs two columns.
 */
#ifndef SLC_HTTP_API_H
#define SLC_HTTP_API_H

#include "core/growers.h"
#include "core/session.h"
#include "http/rates.h"
#include "http/request.h"

enum { SLC_API_FIELDS_MAX = 64 };

/** What `GROUP_age=60&GROUP_incr=5` asks for: values of the past. */
typedef enum slc_api_group {
    SLC_API_MSG_RATES,
    SLC_API_LENGTHS,
    SLC_API_DATA_RATES,
    SLC_API_NODE_STATS,
    SLC_API_GROUPS,
} slc_api_group;

typedef struct slc_api_window {
    uint64_t age_s, incr_s; // incr_s 0: nothing
} slc_api_window;

typedef struct slc_api_counter {
    const char *name;
    uint64_t value;
} slc_api_counter;

/** The counters of an object, with their rates and their past. */
typedef struct slc_api_rated {
    const void *of; // what they belong to
    slc_api_counter counters[SLC_RATES_COUNTERS_MAX];
    uint32_t count;
    double rates[SLC_RATES_COUNTERS_MAX];
    const slc_rates_window *past; // NULL: not asked for
    uint64_t now_ns, wall_ms;
} slc_api_rated;

/** Which fields of an object to write. */
typedef struct slc_api_select {
    uint32_t count;
    uint8_t fields[SLC_API_FIELDS_MAX];
    bool raw; // arguments=raw
} slc_api_select;

/** From the request's query. default_count: how many fields of the table are written when columns= does not choose (those
 *  behind are ours and cost more). basic: names of those that stay with disable_stats=true, separated by blanks; NULL: all. */
void slc_api_select_init(slc_api_select *select, slc_http_request *request,
                         const char *const *names, uint32_t count, uint32_t default_count,
                         const char *basic);

/** The handler's context: the answer being written. */
typedef struct slc_api {
    slc_http_request *request;
    const slc_http_options *options;
    slc_broker *broker;
    slc_json w;
    slc_api_select select;
    // what the walk looks for
    slc_slice want; // a name, when want_one
    bool want_one, found;
    const slc_vhost *vhost; // of the object being written; or the filter
    const slc_client *client;
    void *extra;
    slc_api_window windows[SLC_API_GROUPS];
    slc_api_rated rated;
} slc_api;

/** Look up the rates of r->counters. kind and name: what the object is, for the memory of them. group: of the past that may be
 *  asked for. age_ms: since they were 0; UINT64_MAX: not known. */
void slc_api_rated_look(slc_api *api, slc_api_rated *r, char kind, slc_slice vhost, slc_slice name,
                        slc_api_group group, uint64_t age_ms);
/** "x": n (with values), "x_details": {"rate": n, ...} of one of them. */
void slc_api_rated_put(slc_api *api, const slc_api_rated *r, uint32_t which, slc_api_group group,
                       bool values);
/** The first counters of every object that has messages. */
enum {
    SLC_API_PUBLISH,
    SLC_API_CONFIRM,
    SLC_API_RETURN,
    SLC_API_DROP,
    SLC_API_PUBLISHING, // how many these are; those of the other side follow
    SLC_API_STATS = 12,
};
void slc_api_stats_counters(slc_api_rated *r, const slc_stats *stats);
/** "message_stats": {...}; nothing when nothing happened. queue: it only knows what was published to it. */
void slc_api_message_stats(slc_api *api, const slc_api_rated *r, bool queue);
/** "key": "2026-11-30T19:40:50.953+00:00" when that is a second or more ago. */
void slc_api_idle_since(slc_json *w, uint64_t active_ms);
/** "key": who holds most now, [{"type": "queue", "vhost", "name", "bytes", "messages"}, ...]. What connections hold is as old as the last
 *  slc_http_status_get. */
void slc_api_growers_put(slc_api *api, const char *key, slc_resource resource);
/** An empty list. */
void slc_api_none(slc_json *w, const char *key);

/** Begin an answer of status 200. */
slc_api slc_api_begin(slc_http_request *request);
/** Send it; or 404 when one object was wanted and not found. */
void slc_api_end(slc_api *api);
/** Walk one vhost (path variable 0, when present) or all: 404 when it does not exist. */
bool slc_api_each_vhost(slc_api *api, void (*each)(slc_vhost *vhost, void *api));

/** Walk those that a list of vhosts shows: all of them to who may monitor, else those that the user may enter. */
void slc_api_each_listed_vhost(slc_api *api, void (*each)(slc_vhost *vhost, void *api));

/** The vhost of a name; NULL: answered with 404. */
slc_vhost *slc_api_vhost_named(slc_http_request *request, slc_slice name);
/** A set parameter's outcome: 201, 204, 400, 503; 404 for a clear of nothing. A slc_parameter_done; arg is the request. */
void slc_api_parameter_answer(slc_err rc, bool created, const slc_error *error, void *arg);
/** Any JSON value. */
void slc_api_json(slc_json *w, const json_t *value);

/** "<node.N.C.0>": a connection has channel 0. */
void slc_api_pid(slc_api *api, const slc_client *client, uint32_t channel);
/** "<node.NUMBER.PART.0>" */
void slc_api_pid_of(slc_api *api, uint64_t number, uint64_t part);
/** The client of a name or pid; NULL. */
slc_client *slc_api_client(slc_api *api, slc_slice name);
/** {"name","peer_host","peer_port"} */
void slc_api_connection_details(slc_api *api, const slc_client *client);

/** The body as a JSON object, {} without a body; NULL: it is none, and the request is answered. */
const json_t *slc_api_body(slc_http_request *request);
/** A string of the body; bytes 0 when it is absent. */
slc_slice slc_api_text(const json_t *body, const char *key);
/** 400 "[{key_missing,...}]" and answered: false. */
bool slc_api_need(slc_http_request *request, const json_t *body, const char *const *keys,
                  uint32_t count);
/** The integer under "value"; NULL: answered. */
const json_t *slc_api_limit(slc_http_request *request, const json_t *body);
/** The answer to a change: 204, or what the error means. */
void slc_api_changed(slc_http_request *request, slc_err rc, const slc_error *error,
                     unsigned status);

/** Those of one queue or one session, in a list; NULL: any. */
void slc_api_consumers_put(slc_api *api, slc_vhost *vhost, slc_slice queue,
                           const slc_client *client, uint16_t number);

/** Bindings: begin an answer with the fields asked for; one of them; those of the default exchange. api->vhost is set. */
slc_api slc_api_bindings_begin(slc_http_request *request);
void slc_api_binding_write(slc_api *api, const slc_binding_info *binding);
void slc_api_default_bindings(slc_api *api, slc_vhost *vhost);
/** Append a binding's properties_key; arguments with sorted keys. */
void slc_api_properties_key(slc_slice key, slc_slice arguments, slc_buffer *out);

/** The daemon's table of what an administrator may do; NULL: it has none, and the request is answered. */
const struct slc_http_admin_ops *slc_api_admin(slc_http_request *request);
/** "tags": [...] of a text with commas. */
void slc_api_tags_put(slc_json *w, slc_slice tags);
/** The node's name, or rabbit@ with its host. */
bool slc_api_is_node(const char *node, slc_slice name);
slc_slice slc_api_cluster_name_of(const slc_http_options *options);

/** handlers; named by the path */
void slc_api_login(slc_http_request *request);
void slc_api_logout(slc_http_request *request);
void slc_api_session(slc_http_request *request);
void slc_api_nothing(slc_http_request *request); // []
void slc_api_nothing_of_vhost(slc_http_request *request);
void slc_api_done(slc_http_request *request); // 204
void slc_api_vhost_start(slc_http_request *request);
void slc_api_reset(slc_http_request *request);
void slc_api_auth(slc_http_request *request);
void slc_api_attempts(slc_http_request *request);
void slc_api_attempts_by_source(slc_http_request *request);
void slc_api_attempts_reset(slc_http_request *request);
void slc_api_features(slc_http_request *request);
void slc_api_feature_enable(slc_http_request *request);
void slc_api_cluster_name(slc_http_request *request);
void slc_api_cluster_name_put(slc_http_request *request);
void slc_api_queue_action(slc_http_request *request);
void slc_api_connections_of_user(slc_http_request *request);
void slc_api_connections_of_user_close(slc_http_request *request);
void slc_api_channel(slc_http_request *request);
void slc_api_queue_declare(slc_http_request *request);
void slc_api_exchange_declare(slc_http_request *request);
void slc_api_exchange_delete(slc_http_request *request);
void slc_api_binding_pair(slc_http_request *request);
void slc_api_binding(slc_http_request *request);
void slc_api_exchange_bindings(slc_http_request *request);
void slc_api_bind(slc_http_request *request);
void slc_api_unbind(slc_http_request *request);
void slc_api_publish(slc_http_request *request);
void slc_api_get(slc_http_request *request);
void slc_api_limits(slc_http_request *request);
void slc_api_limits_set(slc_http_request *request);
void slc_api_config(slc_http_request *request);
void slc_api_config_reload(slc_http_request *request);
void slc_api_config_check(slc_http_request *request);
void slc_api_log(slc_http_request *request);
void slc_api_log_level(slc_http_request *request);
void slc_api_log_rotate(slc_http_request *request);
void slc_api_listeners_suspend(slc_http_request *request);
void slc_api_listeners_resume(slc_http_request *request);
void slc_api_process(slc_http_request *request);
void slc_api_threads(slc_http_request *request);
void slc_api_interfaces(slc_http_request *request);
void slc_api_ciphers(slc_http_request *request);
void slc_api_resolve(slc_http_request *request);
void slc_api_aliveness(slc_http_request *request);
void slc_api_overview(slc_http_request *request);
void slc_api_nodes(slc_http_request *request);
void slc_api_node(slc_http_request *request);
void slc_api_node_memory(slc_http_request *request); // and relative, by the path
void slc_api_vhosts(slc_http_request *request);
void slc_api_vhost(slc_http_request *request);
void slc_api_vhost_put(slc_http_request *request);
void slc_api_vhost_delete(slc_http_request *request);
void slc_api_vhost_permissions(slc_http_request *request);
void slc_api_vhost_topic_permissions(slc_http_request *request);
void slc_api_whoami(slc_http_request *request);
void slc_api_users(slc_http_request *request);
void slc_api_users_without_permissions(slc_http_request *request);
void slc_api_users_bulk_delete(slc_http_request *request);
void slc_api_user(slc_http_request *request);
void slc_api_user_put(slc_http_request *request);
void slc_api_user_delete(slc_http_request *request);
void slc_api_user_permissions(slc_http_request *request);
void slc_api_user_topic_permissions(slc_http_request *request);
void slc_api_permissions(slc_http_request *request);
void slc_api_permission(slc_http_request *request);
void slc_api_permission_put(slc_http_request *request);
void slc_api_permission_delete(slc_http_request *request);
void slc_api_topic_permissions(slc_http_request *request);
void slc_api_topic_permission(slc_http_request *request);
void slc_api_topic_permission_put(slc_http_request *request);
void slc_api_topic_permission_delete(slc_http_request *request);
void slc_api_user_limits(slc_http_request *request);
void slc_api_user_limit_put(slc_http_request *request);
void slc_api_user_limit_delete(slc_http_request *request);
void slc_api_vhost_limits(slc_http_request *request);
void slc_api_vhost_limit_put(slc_http_request *request);
void slc_api_vhost_limit_delete(slc_http_request *request);
void slc_api_authenticate(slc_http_request *request);
void slc_api_version(slc_http_request *request);
void slc_api_status(slc_http_request *request);
void slc_api_store(slc_http_request *request);
void slc_api_backup(slc_http_request *request);
void slc_api_backup_start(slc_http_request *request);
void slc_api_backup_cancel(slc_http_request *request);
void slc_api_ready(slc_http_request *request);
void slc_api_listeners(slc_http_request *request);
void slc_api_shutdown(slc_http_request *request);
void slc_api_health_node(slc_http_request *request);
void slc_api_health_alarms(slc_http_request *request);
void slc_api_health_port(slc_http_request *request);
void slc_api_health_protocol(slc_http_request *request);
void slc_api_health_vhosts(slc_http_request *request);
void slc_api_health_single_node(slc_http_request *request);
void slc_api_queues(slc_http_request *request);
void slc_api_queue(slc_http_request *request);
void slc_api_queue_delete(slc_http_request *request);
void slc_api_queue_purge(slc_http_request *request);
void slc_api_delayed(slc_http_request *request);
void slc_api_delayed_cancel(slc_http_request *request);
void slc_api_queue_bindings(slc_http_request *request);
void slc_api_exchanges(slc_http_request *request);
void slc_api_exchange(slc_http_request *request);
void slc_api_bindings(slc_http_request *request);
void slc_api_connections(slc_http_request *request);
void slc_api_vhost_connections(slc_http_request *request);
void slc_api_connection(slc_http_request *request);
void slc_api_connection_close(slc_http_request *request);
void slc_api_connection_channels(slc_http_request *request);
void slc_api_channels(slc_http_request *request);
void slc_api_vhost_channels(slc_http_request *request);
void slc_api_consumers(slc_http_request *request);
void slc_api_trace_on(slc_http_request *request);
void slc_api_trace_off(slc_http_request *request);
void slc_api_certificates(slc_http_request *request);
void slc_api_health_certificates(slc_http_request *request);
void slc_api_policies(slc_http_request *request); // and operator-policies, by the path
void slc_api_policy(slc_http_request *request);
void slc_api_policies_matching(slc_http_request *request);
void slc_api_policy_set(slc_http_request *request);
void slc_api_policy_clear(slc_http_request *request);
void slc_api_parameters(slc_http_request *request);
void slc_api_parameter(slc_http_request *request);
void slc_api_parameter_set(slc_http_request *request);
void slc_api_parameter_clear(slc_http_request *request);
void slc_api_globals(slc_http_request *request);
void slc_api_global(slc_http_request *request);
void slc_api_global_set(slc_http_request *request);
void slc_api_global_clear(slc_http_request *request);
void slc_api_definitions(slc_http_request *request);
void slc_api_definitions_import(slc_http_request *request);

#endif
