// Runtime parameters of vhosts, and global ones. Policies have paths of their own and are not shown here, operator policies are.
#include "core/parameter.h"
#include "http/api.h"

static slc_broker *broker_of(const slc_http_request *request)
{
    return slc_http_options_of(request->http)->broker;
}

/* ---- of vhosts ---- */

static void parameter_write(slc_json *w, const slc_parameter *p)
{
    slc_json_open(w, '{');
    slc_json_key(w, "value");
    slc_api_json(w, p->value);
    slc_json_put_slice(w, "vhost", slc_vhost_name(p->vhost));
    slc_json_put_slice(w, "component", p->component);
    slc_json_put_slice(w, "name", p->name);
    slc_json_close(w, '}');
}

static void parameter_each(const slc_parameter *p, void *arg)
{
    slc_api *api = arg;
    if (p->vhost == NULL || slc_slice_is(p->component, "policy") ||
        (api->want_one && !slc_slice_equal(p->component, api->want)) ||
        (api->vhost != NULL && api->vhost != p->vhost) ||
        !slc_http_may_enter(api->request, slc_vhost_name(p->vhost)))
        return;
    parameter_write(&api->w, p);
}

void slc_api_parameters(slc_http_request *request)
{
    slc_vhost *vhost = NULL;
    if (request->var_count > 1) {
        vhost = slc_api_vhost_named(request, request->vars[1]);
        if (vhost == NULL)
            return;
    }
    slc_api api = slc_api_begin(request);
    api.vhost = vhost;
    api.want_one = request->var_count > 0;
    api.want = api.want_one ? request->vars[0] : (slc_slice){0};
    slc_json_open(&api.w, '[');
    slc_broker_each_parameter(api.broker, parameter_each, &api);
    slc_json_close(&api.w, ']');
    slc_http_answer(request); // a component without any is an empty list
}

void slc_api_parameter(slc_http_request *request)
{
    slc_vhost *vhost = slc_api_vhost_named(request, request->vars[1]);
    if (vhost == NULL)
        return;
    slc_api api = slc_api_begin(request);
    const slc_parameter *p =
        slc_parameter_find(api.broker, vhost, request->vars[0], request->vars[2]);
    if (p != NULL)
        parameter_write(&api.w, p);
    else
        slc_http_not_found(request);
    slc_http_answer(request);
}

/** The value of the body; NULL: answered. */
static const json_t *value_of(slc_http_request *request)
{
    const json_t *body = slc_http_json(request);
    const json_t *value = body != NULL ? json_object_get(body, "value") : NULL;
    if (body != NULL && value == NULL)
        slc_http_fail(request, 400, "bad_request", "[{key_missing,value}]");
    if (value == NULL)
        slc_http_answer(request);
    return value;
}

/** False: answered. */
static bool not_policies(slc_http_request *request)
{
    if (!slc_slice_is(request->vars[0], "policy"))
        return true;
    slc_http_fail(request, 400, "bad_request", "policies may not be set using this method");
    slc_http_answer(request);
    return false;
}

void slc_api_parameter_set(slc_http_request *request)
{
    slc_vhost *vhost = slc_broker_vhost(broker_of(request), request->vars[1]);
    if (vhost == NULL) {
        slc_http_fail(request, 404, "not_found", "vhost_not_found");
        slc_http_answer(request);
        return;
    }
    if (!not_policies(request))
        return;
    const json_t *value = value_of(request);
    if (value != NULL)
        slc_parameter_set(broker_of(request), vhost, request->vars[0], request->vars[2], value,
                          slc_api_parameter_answer, request);
}

void slc_api_parameter_clear(slc_http_request *request)
{
    slc_vhost *vhost = slc_api_vhost_named(request, request->vars[1]);
    if (vhost != NULL && not_policies(request))
        slc_parameter_clear(broker_of(request), vhost, request->vars[0], request->vars[2],
                            slc_api_parameter_answer, request);
}

/* ---- global ---- */

static void global_write(slc_json *w, const slc_parameter *p)
{
    slc_json_open(w, '{');
    slc_json_put_slice(w, "name", p->name);
    slc_json_key(w, "value");
    slc_api_json(w, p->value);
    slc_json_close(w, '}');
}

static void global_each(const slc_parameter *p, void *arg)
{
    slc_api *api = arg;
    if (p->vhost == NULL)
        global_write(&api->w, p);
}

// Agents tell clusters apart by it. It is no parameter of ours: it cannot be set.
static const char cluster_id_name[] = "internal_cluster_id";

static void cluster_id_write(slc_api *api)
{
    slc_json *w = &api->w;
    slc_json_open(w, '{');
    slc_json_put_text(w, "name", cluster_id_name);
    slc_json_put_text(w, "value", api->options->cluster_id);
    slc_json_close(w, '}');
}

void slc_api_globals(slc_http_request *request)
{
    slc_api api = slc_api_begin(request);
    slc_json_open(&api.w, '[');
    if (api.options->cluster_id != NULL &&
        slc_parameter_find(api.broker, NULL, (slc_slice){0}, slc_slice_str(cluster_id_name)) ==
            NULL)
        cluster_id_write(&api);
    slc_broker_each_parameter(api.broker, global_each, &api);
    slc_json_close(&api.w, ']');
    slc_api_end(&api);
}

void slc_api_global(slc_http_request *request)
{
    slc_api api = slc_api_begin(request);
    const slc_parameter *p = slc_parameter_find(api.broker, NULL, (slc_slice){0}, request->vars[0]);
    if (p != NULL)
        global_write(&api.w, p);
    else if (api.options->cluster_id != NULL && slc_slice_is(request->vars[0], cluster_id_name))
        cluster_id_write(&api);
    else
        slc_http_not_found(request);
    slc_http_answer(request);
}

void slc_api_global_set(slc_http_request *request)
{
    const json_t *value = value_of(request);
    if (value != NULL)
        slc_parameter_set(broker_of(request), NULL, (slc_slice){0}, request->vars[0], value,
                          slc_api_parameter_answer, request);
}

void slc_api_global_clear(slc_http_request *request)
{
    slc_parameter_clear(broker_of(request), NULL, (slc_slice){0}, request->vars[0],
                        slc_api_parameter_answer, request);
}
