// Permissions and topic permissions. Paths: vhost first, then user. @spec management-api 4
#include "auth/auth.h"
#include "http/api.h"

static slc_auth *auth_of(slc_http_request *request)
{
    return slc_http_options_of(request->http)->auth;
}

static void permission_put(const slc_auth_permission *p, void *arg)
{
    slc_json *w = &((slc_api *)arg)->w;
    slc_json_open(w, '{');
    slc_json_put_slice(w, "user", p->user);
    slc_json_put_slice(w, "vhost", p->vhost);
    slc_json_put_slice(w, "configure", p->configure);
    slc_json_put_slice(w, "write", p->write);
    slc_json_put_slice(w, "read", p->read);
    slc_json_close(w, '}');
}

static void topic_put(const slc_auth_permission *p, void *arg)
{
    slc_api *api = arg;
    slc_json *w = &api->w;
    if (api->want.data != NULL && !slc_slice_equal(api->want, p->exchange))
        return;
    api->found = true;
    slc_json_open(w, '{');
    slc_json_put_slice(w, "user", p->user);
    slc_json_put_slice(w, "vhost", p->vhost);
    slc_json_put_slice(w, "exchange", p->exchange);
    slc_json_put_slice(w, "write", p->write);
    slc_json_put_slice(w, "read", p->read);
    slc_json_close(w, '}');
}

/** All of user and vhost; bytes 0: any. */
static void list(slc_http_request *request, slc_slice user, slc_slice vhost, bool topic)
{
    slc_api api = slc_api_begin(request);
    slc_json_open(&api.w, '[');
    if (topic)
        slc_auth_each_topic_permission(api.options->auth, user, vhost, topic_put, &api);
    else
        slc_auth_each_permission(api.options->auth, user, vhost, permission_put, &api);
    slc_json_close(&api.w, ']');
    slc_api_end(&api);
}

static bool known(slc_http_request *request, bool is_known)
{
    if (is_known)
        return true;
    slc_http_not_found(request);
    slc_http_answer(request);
    return false;
}

static bool vhost_known(slc_http_request *request)
{
    return known(request, slc_broker_vhost(slc_http_options_of(request->http)->broker,
                                           request->vars[0]) != NULL);
}

static bool user_known(slc_http_request *request, uint32_t var)
{
    return known(request, slc_auth_user_find(auth_of(request), request->vars[var]) != NULL);
}

void slc_api_permissions(slc_http_request *request)
{
    list(request, (slc_slice){0}, (slc_slice){0}, false);
}

void slc_api_topic_permissions(slc_http_request *request)
{
    list(request, (slc_slice){0}, (slc_slice){0}, true);
}

void slc_api_vhost_permissions(slc_http_request *request)
{
    if (vhost_known(request))
        list(request, (slc_slice){0}, request->vars[0], false);
}

void slc_api_vhost_topic_permissions(slc_http_request *request)
{
    if (vhost_known(request))
        list(request, (slc_slice){0}, request->vars[0], true);
}

void slc_api_user_permissions(slc_http_request *request)
{
    if (user_known(request, 0))
        list(request, request->vars[0], (slc_slice){0}, false);
}

void slc_api_user_topic_permissions(slc_http_request *request)
{
    if (user_known(request, 0))
        list(request, request->vars[0], (slc_slice){0}, true);
}

void slc_api_permission(slc_http_request *request)
{
    slc_api api = slc_api_begin(request);
    const slc_auth_permission *p =
        slc_auth_permission_find(api.options->auth, request->vars[1], request->vars[0]);
    api.want_one = true;
    api.found = p != NULL;
    if (p != NULL)
        permission_put(p, &api);
    slc_api_end(&api);
}

void slc_api_topic_permission(slc_http_request *request)
{
    if (!vhost_known(request) || !user_known(request, 1))
        return;
    slc_api api = slc_api_begin(request);
    if (request->var_count > 2)
        api.want = request->vars[2];
    slc_json_open(&api.w, '[');
    slc_auth_each_topic_permission(api.options->auth, request->vars[1], request->vars[0], topic_put,
                                   &api);
    slc_json_close(&api.w, ']');
    slc_api_end(&api);
}

static void created(slc_err rc, const slc_error *error, void *arg)
{
    slc_api_changed(arg, rc, error, 201);
}

static void changed(slc_err rc, const slc_error *error, void *arg)
{
    slc_api_changed(arg, rc, error, 204);
}

static void put(slc_http_request *request, bool topic)
{
    static const char *const keys[] = {"configure", "write", "read"};
    static const char *const topic_keys[] = {"exchange", "write", "read"};
    const slc_http_options *options = slc_http_options_of(request->http);
    const json_t *body = slc_api_body(request);
    if (body == NULL || !slc_api_need(request, body, topic ? topic_keys : keys, 3))
        return;
    slc_slice vhost = request->vars[0], user = request->vars[1];
    if (slc_broker_vhost(options->broker, vhost) == NULL ||
        slc_auth_user_find(options->auth, user) == NULL) {
        slc_http_fail(request, 400, "bad_request", "vhost_or_user_not_found");
        slc_http_answer(request);
        return;
    }
    slc_auth_permission p = {
        .user = user,
        .vhost = vhost,
        .exchange = slc_api_text(body, "exchange"),
        .configure = slc_api_text(body, "configure"),
        .write = slc_api_text(body, "write"),
        .read = slc_api_text(body, "read"),
    };
    if (topic)
        p.configure = (slc_slice){0};
    else
        p.exchange = (slc_slice){0};
    bool exists = !topic && slc_auth_permission_find(options->auth, user, vhost) != NULL;
    slc_auth_permission_put(options->auth, &p, topic, exists ? changed : created, request);
}

void slc_api_permission_put(slc_http_request *request)
{
    put(request, false);
}

void slc_api_topic_permission_put(slc_http_request *request)
{
    put(request, true);
}

void slc_api_permission_delete(slc_http_request *request)
{
    slc_auth_permission_delete(auth_of(request), request->vars[1], request->vars[0], false,
                               (slc_slice){0}, changed, request);
}

void slc_api_topic_permission_delete(slc_http_request *request)
{
    slc_slice exchange = request->var_count > 2 ? request->vars[2] : (slc_slice){0};
    slc_auth_permission_delete(auth_of(request), request->vars[1], request->vars[0], true, exchange,
                               changed, request);
}
