// Vhosts made, changed and deleted; their limits (runtime parameters of component vhost-limits). @spec management-api 4
#include <stdio.h>

#include "auth/auth.h"
#include "core/json_table.h"
#include "core/parameter.h"
#include "http/api.h"

static const char component[] = "vhost-limits", limits_name[] = "limits";

static slc_broker *broker_of(slc_http_request *request)
{
    return slc_http_options_of(request->http)->broker;
}

static void vhost_changed(slc_err rc, bool created, const slc_error *error, void *arg)
{
    slc_api_changed(arg, rc, error, created ? 201 : 204);
}

static void creator_let_in(slc_err rc, const slc_error *error, void *arg)
{
    vhost_changed(rc, true, error, arg);
}

// As at RabbitMQ: who makes a vhost may do everything in it.
static void creator_let_in_begin(slc_http_request *request)
{
    const slc_slice every = slc_slice_str(".*");
    const slc_auth_permission permission = {
        .user = slc_slice_str(request->user),
        .vhost = request->vars[0],
        .configure = every,
        .write = every,
        .read = every,
    };
    slc_auth_permission_put(slc_http_options_of(request->http)->auth, &permission, false,
                            creator_let_in, request);
}

static void vhost_put(slc_err rc, bool created, const slc_error *error, void *arg)
{
    slc_http_request *request = arg;
    slc_vhost *vhost = slc_broker_vhost(broker_of(request), request->vars[0]);
    const json_t *tracing = json_object_get(slc_http_json(request), "tracing");
    if (rc == SLC_OK && vhost != NULL && json_is_boolean(tracing))
        slc_vhost_trace(vhost, json_is_true(tracing));
    if (rc == SLC_OK && created && request->user != NULL)
        creator_let_in_begin(request);
    else
        vhost_changed(rc, created, error, arg);
}

void slc_api_vhost_put(slc_http_request *request)
{
    const json_t *body = slc_api_body(request);
    if (body == NULL)
        return;
    slc_vhost *vhost = slc_broker_vhost(broker_of(request), request->vars[0]);
    slc_vhost_metadata metadata = {0};
    if (vhost != NULL) // what is not said stays
        metadata = *slc_vhost_metadata_of(vhost);
    if (json_is_string(json_object_get(body, "description")))
        metadata.description = slc_api_text(body, "description");
    if (json_is_string(json_object_get(body, "default_queue_type")))
        metadata.default_queue_type = slc_api_text(body, "default_queue_type");
    slc_buffer tags = {0};
    bool good = true;
    if (json_object_get(body, "tags") != NULL) {
        good = slc_json_tags(json_object_get(body, "tags"), &tags);
        metadata.tags = slc_buffer_slice(&tags);
    }
    if (!good) {
        slc_http_fail(request, 400, "bad_request",
                      "tags must be a list of strings, or one with commas");
        slc_http_answer(request);
    } else {
        slc_broker_vhost_put(broker_of(request), request->vars[0], &metadata, NULL, 0, vhost_put,
                             request);
    }
    slc_buffer_fini(&tags);
}

void slc_api_vhost_delete(slc_http_request *request)
{
    slc_broker_vhost_delete(broker_of(request), request->vars[0], vhost_changed, request);
}

/* ---- limits ---- */

static const slc_parameter *limits_find(slc_broker *broker, const slc_vhost *vhost)
{
    return slc_parameter_find(broker, vhost, slc_slice_str(component), slc_slice_str(limits_name));
}

static void limits_put(slc_vhost *vhost, void *arg)
{
    static const char *const names[] = {"max-connections", "max-queues"};
    slc_api *api = arg;
    slc_json *w = &api->w;
    if (limits_find(api->broker, vhost) == NULL)
        return;
    slc_json_open(w, '{');
    slc_json_put_slice(w, "vhost", slc_vhost_name(vhost));
    slc_json_key(w, "value");
    slc_json_open(w, '{');
    const json_t *value = limits_find(api->broker, vhost)->value;
    for (size_t i = 0; i < SLC_ARRAY_COUNT(names); i++) {
        const json_t *limit = json_object_get(value, names[i]);
        if (!json_is_integer(limit))
            continue;
        slc_json_key(w, names[i]);
        slc_json_i64(w, json_integer_value(limit));
    }
    slc_json_close(w, '}');
    slc_json_close(w, '}');
}

void slc_api_vhost_limits(slc_http_request *request)
{
    slc_api api = slc_api_begin(request);
    slc_json_open(&api.w, '[');
    if (!slc_api_each_vhost(&api, limits_put))
        return;
    slc_json_close(&api.w, ']');
    slc_api_end(&api);
}

static void limit_changed(slc_err rc, bool created, const slc_error *error, void *arg)
{
    (void)created;
    slc_api_changed(arg, rc, error, 204);
}

/** The limits with one of them set, or without it (limit NULL). */
static void limit_set(slc_http_request *request, const json_t *limit)
{
    slc_broker *broker = broker_of(request);
    char text[64]; // no limit has such a long name: what is cut is refused as unknown
    snprintf(text, sizeof text, "%.*s", SLC_SLICE_FMT(request->vars[1]));
    slc_vhost *vhost = slc_broker_vhost(broker, request->vars[0]);
    if (vhost == NULL) {
        slc_http_fail(request, 404, "not_found", "vhost_not_found");
        slc_http_answer(request);
        return;
    }
    const slc_parameter *old = limits_find(broker, vhost);
    json_t *value = old != NULL ? json_copy(old->value) : json_object();
    if (limit != NULL)
        json_object_set_new(value, text, json_deep_copy(limit));
    else
        (void)json_object_del(value, text);
    if (json_object_size(value) == 0 && old != NULL)
        slc_parameter_clear(broker, vhost, slc_slice_str(component), slc_slice_str(limits_name),
                            limit_changed, request);
    else if (json_object_size(value) == 0)
        limit_changed(SLC_OK, false, NULL, request);
    else
        slc_parameter_set(broker, vhost, slc_slice_str(component), slc_slice_str(limits_name),
                          value, limit_changed, request);
    json_decref(value);
}

const json_t *slc_api_limit(slc_http_request *request, const json_t *body)
{
    const json_t *value = json_object_get(body, "value");
    if (json_is_integer(value))
        return value;
    slc_http_fail(request, 400, "bad_request", "%s",
                  value == NULL ? "[{key_missing,value}]"
                                : "value must be an integer; negative: no limit");
    slc_http_answer(request);
    return NULL;
}

void slc_api_vhost_limit_put(slc_http_request *request)
{
    const json_t *body = slc_api_body(request);
    if (body == NULL)
        return;
    const json_t *value = slc_api_limit(request, body);
    if (value != NULL)
        limit_set(request, value);
}

void slc_api_vhost_limit_delete(slc_http_request *request)
{
    limit_set(request, NULL);
}
