// Policies and operator policies. Both are parameters; the path says which.
#include <stdlib.h>

#include "base/alloc.h"
#include "core/parameter.h"
#include "core/policy.h"
#include "http/api.h"

static slc_slice component_of(const slc_http_request *request)
{
    return slc_slice_str(slc_slice_is(request->path.segments[1], "policies") ? "policy"
                                                                             : "operator_policy");
}

void slc_api_json(slc_json *w, const json_t *value)
{
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    SLC_ASSERT(text != NULL);
    slc_json_raw(w, slc_slice_str(text));
    free(text); // NOLINT: jansson's own allocation
}

slc_vhost *slc_api_vhost_named(slc_http_request *request, slc_slice name)
{
    slc_vhost *vhost = slc_broker_vhost(slc_http_options_of(request->http)->broker, name);
    if (vhost == NULL) {
        slc_http_not_found(request);
        slc_http_answer(request);
    }
    return vhost;
}

/* ---- reading ---- */

static void policy_write(slc_json *w, const slc_parameter *p)
{
    const json_t *apply_to = json_object_get(p->value, "apply-to");
    const json_t *priority = json_object_get(p->value, "priority");
    slc_json_open(w, '{');
    slc_json_put_slice(w, "vhost", slc_vhost_name(p->vhost));
    slc_json_put_slice(w, "name", p->name);
    slc_json_key(w, "pattern");
    slc_api_json(w, json_object_get(p->value, "pattern"));
    slc_json_put_text(w, "apply-to", apply_to != NULL ? json_string_value(apply_to) : "all");
    slc_json_key(w, "definition");
    slc_api_json(w, json_object_get(p->value, "definition"));
    slc_json_key(w, "priority");
    if (priority != NULL)
        slc_api_json(w, priority);
    else
        slc_json_u64(w, 0);
    slc_json_close(w, '}');
}

static void policy_each(const slc_parameter *p, void *arg)
{
    slc_api *api = arg;
    if (p->vhost != NULL && (api->vhost == NULL || p->vhost == api->vhost) &&
        slc_slice_equal(p->component, api->want) &&
        slc_http_may_enter(api->request, slc_vhost_name(p->vhost)))
        policy_write(&api->w, p);
}

void slc_api_policies(slc_http_request *request)
{
    slc_vhost *vhost = NULL;
    if (request->var_count > 0) {
        vhost = slc_api_vhost_named(request, request->vars[0]);
        if (vhost == NULL)
            return;
    }
    slc_api api = slc_api_begin(request);
    api.vhost = vhost;
    api.want = component_of(request);
    slc_json_open(&api.w, '[');
    slc_broker_each_parameter(api.broker, policy_each, &api);
    slc_json_close(&api.w, ']');
    slc_api_end(&api);
}

static void matching_each(slc_slice name, void *arg)
{
    slc_api *api = arg;
    const slc_parameter *p = slc_parameter_find(api->broker, (slc_vhost *)(uintptr_t)api->vhost,
                                                slc_slice_str("policy"), name);
    if (p != NULL)
        policy_write(&api->w, p);
}

// Those that fit a queue, the one that applies first.
void slc_api_policies_matching(slc_http_request *request)
{
    slc_vhost *vhost = slc_api_vhost_named(request, request->vars[0]);
    if (vhost == NULL)
        return;
    slc_api api = slc_api_begin(request);
    api.vhost = vhost;
    api.want_one = true;
    slc_json_open(&api.w, '[');
    api.found = slc_policy_each_of_queue(vhost, request->vars[1], false, matching_each, &api);
    slc_json_close(&api.w, ']');
    slc_api_end(&api);
}

void slc_api_policy(slc_http_request *request)
{
    slc_vhost *vhost = slc_api_vhost_named(request, request->vars[0]);
    if (vhost == NULL)
        return;
    slc_api api = slc_api_begin(request);
    const slc_parameter *p =
        slc_parameter_find(api.broker, vhost, component_of(request), request->vars[1]);
    if (p != NULL)
        policy_write(&api.w, p);
    else
        slc_http_not_found(request);
    slc_http_answer(request);
}

/* ---- changing ---- */

void slc_api_parameter_answer(slc_err rc, bool created, const slc_error *error, void *arg)
{
    slc_http_request *request = arg;
    switch (rc) {
    case SLC_OK:
        request->status = created ? 201 : 204;
        break;
    case SLC_ENOTFOUND:
        slc_http_not_found(request);
        break;
    case SLC_ENOSPC:
    case SLC_EIO:
        slc_http_fail(request, 503, "unavailable", "%s", error->text);
        break;
    default:
        slc_http_fail(request, 400, "bad_request", "%s", error->text);
    }
    slc_http_answer(request);
}

/** vhost_not_found is RabbitMQ's word for writes. */
static slc_vhost *vhost_to_change(slc_http_request *request)
{
    slc_vhost *vhost =
        slc_broker_vhost(slc_http_options_of(request->http)->broker, request->vars[0]);
    if (vhost == NULL) {
        slc_http_fail(request, 404, "not_found", "vhost_not_found");
        slc_http_answer(request);
    }
    return vhost;
}

void slc_api_policy_set(slc_http_request *request)
{
    slc_vhost *vhost = vhost_to_change(request);
    if (vhost == NULL)
        return;
    const json_t *body = slc_http_json(request);
    if (body == NULL) {
        slc_http_answer(request);
        return;
    }
    const json_t *pattern = json_object_get(body, "pattern");
    const json_t *definition = json_object_get(body, "definition");
    if (pattern == NULL || definition == NULL) {
        slc_http_fail(request, 400, "bad_request", "[%s%s%s]",
                      pattern == NULL ? "{key_missing,pattern}" : "",
                      pattern == NULL && definition == NULL ? "," : "",
                      definition == NULL ? "{key_missing,definition}" : "");
        slc_http_answer(request);
        return;
    }
    // Other keys of the body (name, vhost) are the path's business.
    json_t *value = json_object();
    json_object_set(value, "pattern", (json_t *)(uintptr_t)pattern);
    json_object_set(value, "definition", (json_t *)(uintptr_t)definition);
    json_t *priority = json_object_get(body, "priority");
    json_t *apply_to = json_object_get(body, "apply-to");
    json_object_set_new(value, "priority",
                        priority != NULL ? json_incref(priority) : json_integer(0));
    json_object_set_new(value, "apply-to",
                        apply_to != NULL ? json_incref(apply_to) : json_string("all"));
    slc_parameter_set(slc_http_options_of(request->http)->broker, vhost, component_of(request),
                      request->vars[1], value, slc_api_parameter_answer, request);
    json_decref(value);
}

void slc_api_policy_clear(slc_http_request *request)
{
    slc_vhost *vhost = slc_api_vhost_named(request, request->vars[0]);
    if (vhost != NULL)
        slc_parameter_clear(slc_http_options_of(request->http)->broker, vhost,
                            component_of(request), request->vars[1], slc_api_parameter_answer,
                            request);
}
