// What RabbitMQ's tools ask for and this broker has little or nothing to say about; and who tried to log in.  @spec management-api 4
#include <stdio.h>

#include "auth/auth.h"
#include "base/clock.h"
#include "core/parameter.h"
#include "http/api.h"
#include "http/body.h"
#include "http/login.h"

static void empty_list(slc_http_request *request)
{
    slc_api api = slc_api_begin(request);
    slc_json_open(&api.w, '[');
    slc_json_close(&api.w, ']');
    slc_api_end(&api);
}

void slc_api_nothing(slc_http_request *request)
{
    empty_list(request);
}

void slc_api_nothing_of_vhost(slc_http_request *request)
{
    if (slc_api_vhost_named(request, request->vars[0]) != NULL)
        empty_list(request);
}

void slc_api_done(slc_http_request *request)
{
    request->status = 204;
    slc_http_answer(request);
}

static bool node_known(slc_http_request *request, slc_slice name)
{
    if (slc_api_is_node(slc_http_options_of(request->http)->node, name))
        return true;
    slc_http_not_found(request);
    slc_http_answer(request);
    return false;
}

void slc_api_vhost_start(slc_http_request *request)
{
    if (slc_api_vhost_named(request, request->vars[0]) != NULL &&
        node_known(request, request->vars[1]))
        slc_api_done(request);
}

void slc_api_reset(slc_http_request *request)
{
    if (request->var_count > 0 && !node_known(request, request->vars[0]))
        return;
    slc_rates_clear(slc_http_rates(request->http));
    slc_api_done(request);
}

void slc_api_auth(slc_http_request *request)
{
    slc_api api = slc_api_begin(request);
    slc_json_open(&api.w, '{');
    slc_json_put_bool(&api.w, "enable_uaa", false);
    slc_json_put_text(&api.w, "uaa_client_id", "");
    slc_json_put_text(&api.w, "uaa_location", "");
    slc_json_put_bool(&api.w, "oauth_enabled", false);
    slc_json_close(&api.w, '}');
    slc_api_end(&api);
}

/* ---- features: all that there are, for good ---- */

static const char *const features[] = {
    "classic_mirrored_queue_version",
    "classic_queue_type_delivery_support",
    "direct_exchange_routing_v2",
    "drop_unroutable_metric",
    "empty_basic_get_metric",
    "feature_flags_v2",
    "implicit_default_bindings",
    "listener_records_in_ets",
    "maintenance_mode_status",
    "message_containers",
    "quorum_queue",
    "restart_streams",
    "stream_filtering",
    "stream_queue",
    "stream_sac_coordinator_unblock_group",
    "tracking_records_in_ets",
    "user_limits",
    "virtual_host_metadata",
};

void slc_api_features(slc_http_request *request)
{
    slc_api api = slc_api_begin(request);
    slc_json_open(&api.w, '[');
    for (size_t i = 0; i < SLC_ARRAY_COUNT(features); i++) {
        slc_json_open(&api.w, '{');
        slc_json_put_text(&api.w, "name", features[i]);
        slc_json_put_text(&api.w, "desc", "");
        slc_json_put_text(&api.w, "doc_url", "");
        slc_json_put_text(&api.w, "state", "enabled");
        slc_json_put_text(&api.w, "stability", "stable");
        slc_json_put_text(&api.w, "provided_by", "rabbit");
        slc_json_close(&api.w, '}');
    }
    slc_json_close(&api.w, ']');
    slc_api_end(&api);
}

void slc_api_feature_enable(slc_http_request *request)
{
    for (size_t i = 0; i < SLC_ARRAY_COUNT(features); i++) {
        if (slc_slice_is(request->vars[0], features[i])) {
            slc_api_done(request);
            return;
        }
    }
    slc_http_fail(request, 400, "bad_request", "unsupported: there is no feature flag '%.*s'",
                  SLC_SLICE_FMT(request->vars[0]));
    slc_http_answer(request);
}

/* ---- the cluster's name: a global parameter, once somebody gives it another one ---- */

slc_slice slc_api_cluster_name_of(const slc_http_options *options)
{
    return slc_slice_str(slc_cluster_name(options->broker, options->cluster_name));
}

void slc_api_cluster_name(slc_http_request *request)
{
    slc_api api = slc_api_begin(request);
    slc_json_open(&api.w, '{');
    slc_json_put_slice(&api.w, "name", slc_api_cluster_name_of(api.options));
    slc_json_close(&api.w, '}');
    slc_api_end(&api);
}

static void cluster_named(slc_err rc, bool created, const slc_error *error, void *arg)
{
    (void)created;
    slc_api_parameter_answer(rc, false, error, arg);
}

void slc_api_cluster_name_put(slc_http_request *request)
{
    static const char *const keys[] = {"name"};
    const json_t *body = slc_api_body(request);
    if (body == NULL || !slc_api_need(request, body, keys, 1))
        return;
    slc_parameter_set(slc_http_options_of(request->http)->broker, NULL, (slc_slice){0},
                      slc_slice_str("cluster_name"), json_object_get(body, "name"), cluster_named,
                      request);
}

/* ---- logins ---- */

static void attempts_put(slc_json *w, const char *protocol, uint64_t good, uint64_t failed)
{
    if (good + failed == 0)
        return; // as RabbitMQ: nobody has tried
    slc_json_open(w, '{');
    slc_json_put_text(w, "protocol", protocol);
    slc_json_put_u64(w, "auth_attempts", good + failed);
    slc_json_put_u64(w, "auth_attempts_failed", failed);
    slc_json_put_u64(w, "auth_attempts_succeeded", good);
    slc_json_close(w, '}');
}

// What is not over HTTP is over AMQP.
static slc_http_attempts attempts_amqp(slc_http_request *request)
{
    const slc_http_attempts *http = slc_http_attempts_of(request->http);
    slc_auth_counts all;
    slc_auth_counts_get(slc_http_options_of(request->http)->auth, &all);
    return (slc_http_attempts){
        .good = all.attempts - all.failed - http->good,
        .failed = all.failed - http->failed,
    };
}

void slc_api_attempts(slc_http_request *request)
{
    if (!node_known(request, request->vars[0]))
        return;
    const slc_http_attempts *http = slc_http_attempts_of(request->http);
    slc_http_attempts amqp = attempts_amqp(request);
    slc_api api = slc_api_begin(request);
    slc_json_open(&api.w, '[');
    attempts_put(&api.w, "http", http->good - http->http_good_before,
                 http->failed - http->http_failed_before);
    attempts_put(&api.w, "amqp091", amqp.good - http->amqp_good_before,
                 amqp.failed - http->amqp_failed_before);
    slc_json_close(&api.w, ']');
    slc_api_end(&api);
}

// By source nobody counts: attempts of strangers would fill the memory.
void slc_api_attempts_by_source(slc_http_request *request)
{
    if (!node_known(request, request->vars[0]))
        return;
    if (request->method == SLC_HTTP_GET)
        empty_list(request);
    else
        slc_api_done(request);
}

void slc_api_attempts_reset(slc_http_request *request)
{
    if (!node_known(request, request->vars[0]))
        return;
    slc_http_attempts *http = slc_http_attempts_of(request->http);
    slc_http_attempts amqp = attempts_amqp(request);
    http->http_good_before = http->good;
    http->http_failed_before = http->failed;
    http->amqp_good_before = amqp.good;
    http->amqp_failed_before = amqp.failed;
    slc_api_done(request);
}

/* ---- who is asking ---- */

void slc_api_tags_put(slc_json *w, slc_slice tags)
{
    slc_json_key(w, "tags");
    slc_json_open(w, '[');
    for (size_t at = 0; at < tags.bytes;) {
        const uint8_t *comma = memchr(tags.data + at, ',', tags.bytes - at);
        size_t end = comma != NULL ? (size_t)(comma - tags.data) : tags.bytes;
        slc_json_slice(w, slc_slice_of(tags.data + at, end - at));
        at = end + 1;
    }
    slc_json_close(w, ']');
}

static void identity_put(slc_api *api)
{
    const slc_http_request *request = api->request;
    char uid[32];
    snprintf(uid, sizeof uid, "uid:%u", (unsigned)request->peer.uid);
    // On the admin socket it is the system that says who somebody is.
    const slc_auth_user *user =
        request->user != NULL ? slc_auth_user_find(api->options->auth, slc_slice_str(request->user))
                              : NULL;
    slc_json_put_slice(&api->w, "name", user != NULL ? user->name : slc_slice_str(uid));
    slc_api_tags_put(&api->w, user != NULL ? user->tags : slc_slice_str("administrator"));
}

void slc_api_whoami(slc_http_request *request)
{
    slc_api api = slc_api_begin(request);
    slc_json_open(&api.w, '{');
    identity_put(&api);
    slc_json_put_bool(&api.w, "is_internal_user", request->user != NULL);
    slc_json_close(&api.w, '}');
    slc_api_end(&api);
}

// What a page of ours needs to know first; csrf is null where there is no session.
void slc_api_session(slc_http_request *request)
{
    slc_api api = slc_api_begin(request);
    const slc_login *login =
        request->session != NULL && request->password == NULL
            ? slc_logins_find(slc_http_logins(request->http), request->session, slc_clock_now_ns())
            : NULL;
    slc_json_open(&api.w, '{');
    identity_put(&api);
    slc_json_put_text(&api.w, "csrf", login != NULL ? login->csrf : NULL);
    slc_json_put_u64(&api.w, "idle_timeout_ms", api.options->login_idle_ms);
    slc_json_put_u64(&api.w, "time", slc_clock_wall_ms());
    slc_json_put_text(&api.w, "product", api.options->product);
    slc_json_put_text(&api.w, "version", api.options->version);
    slc_json_close(&api.w, '}');
    slc_api_end(&api);
}
