// Users, their limits, and who asks. @spec management-api 4, 5.9
#include <stdio.h>

#include "auth/auth.h"
#include "core/json_table.h"
#include "http/api.h"

const json_t *slc_api_body(slc_http_request *request)
{
    // As RabbitMQ has it: no body says no more than {} does.
    if (request->json == NULL && request->json_error == NULL)
        request->json = json_object();
    const json_t *body = slc_http_json(request);
    if (body == NULL)
        slc_http_answer(request);
    return body;
}

slc_slice slc_api_text(const json_t *body, const char *key)
{
    const json_t *value = json_object_get(body, key);
    return json_is_string(value) ? slc_slice_of(json_string_value(value), json_string_length(value))
                                 : (slc_slice){0};
}

bool slc_api_need(slc_http_request *request, const json_t *body, const char *const *keys,
                  uint32_t count)
{
    slc_buffer missing = {0};
    for (uint32_t i = 0; i < count; i++) {
        if (!json_is_string(json_object_get(body, keys[i])))
            slc_buffer_format(&missing, "%s{key_missing,%s}", missing.bytes > 0 ? "," : "",
                              keys[i]);
    }
    bool all = missing.bytes == 0;
    if (!all) {
        slc_http_fail(request, 400, "bad_request", "[%.*s]",
                      SLC_SLICE_FMT(slc_buffer_slice(&missing)));
        slc_http_answer(request);
    }
    slc_buffer_fini(&missing);
    return all;
}

void slc_api_changed(slc_http_request *request, slc_err rc, const slc_error *error, unsigned status)
{
    const char *text = error != NULL && error->text[0] ? error->text : slc_err_text(rc);
    switch (rc) {
    case SLC_OK:
        request->status = status;
        break;
    case SLC_ENOTFOUND:
        slc_http_not_found(request);
        break;
    case SLC_ENOSPC:
    case SLC_ENOMEM:
        slc_http_fail(request, 503, "unavailable", "%s", text);
        break;
    case SLC_EPRECONDITION: // RabbitMQ's word; sluicectl shows the sentence
        slc_http_fail_detail(request, 400, "bad_request", "credential_validation_failed", text);
        break;
    default:
        slc_http_fail(request, 400, "bad_request", "%s", text);
    }
    slc_http_answer(request);
}

static void user_put(const slc_auth_user *user, void *arg)
{
    slc_api *api = arg;
    slc_json *w = &api->w;
    slc_buffer hash = {0};
    slc_base64_encode(user->password_hash, &hash);
    slc_json_open(w, '{');
    slc_json_put_slice(w, "name", user->name);
    slc_json_put_slice(w, "password_hash", slc_buffer_slice(&hash));
    slc_json_put_text(w, "hashing_algorithm", slc_auth_hashing_name(user->hashing));
    slc_api_tags_put(w, user->tags);
    slc_json_key(w, "limits");
    slc_json_open(w, '{');
    if (user->max_connections_set)
        slc_json_put_i64(w, "max-connections", user->max_connections);
    if (user->max_channels_set)
        slc_json_put_i64(w, "max-channels", user->max_channels);
    slc_json_close(w, '}');
    slc_json_close(w, '}');
    slc_buffer_fini(&hash);
}

void slc_api_users(slc_http_request *request)
{
    slc_api api = slc_api_begin(request);
    slc_json_open(&api.w, '[');
    slc_auth_each_user(api.options->auth, user_put, &api);
    slc_json_close(&api.w, ']');
    slc_api_end(&api);
}

static void found_any(const slc_auth_permission *permission, void *arg)
{
    (void)permission;
    *(bool *)arg = true;
}

static void user_put_without(const slc_auth_user *user, void *arg)
{
    slc_api *api = arg;
    bool any = false;
    slc_auth_each_permission(api->options->auth, user->name, (slc_slice){0}, found_any, &any);
    if (!any)
        user_put(user, api);
}

void slc_api_users_without_permissions(slc_http_request *request)
{
    slc_api api = slc_api_begin(request);
    slc_json_open(&api.w, '[');
    slc_auth_each_user(api.options->auth, user_put_without, &api);
    slc_json_close(&api.w, ']');
    slc_api_end(&api);
}

void slc_api_user(slc_http_request *request)
{
    slc_api api = slc_api_begin(request);
    const slc_auth_user *user = slc_auth_user_find(api.options->auth, request->vars[0]);
    api.want_one = true;
    api.found = user != NULL;
    if (user != NULL)
        user_put(user, &api);
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

void slc_api_user_put(slc_http_request *request)
{
    slc_auth *auth = slc_http_options_of(request->http)->auth;
    const json_t *body = slc_api_body(request);
    if (body == NULL)
        return;
    slc_buffer tags = {0};
    uint8_t hash[SLC_AUTH_HASH_BYTES_MAX];
    size_t hash_bytes = 0;
    bool exists = slc_auth_user_find(auth, request->vars[0]) != NULL;
    slc_slice password = slc_api_text(body, "password");
    slc_slice encoded = slc_api_text(body, "password_hash");
    slc_auth_user_change change = {.put = SLC_AUTH_PUT_UPSERT, .name = request->vars[0]};
    const char *wrong = NULL;
    if (json_object_get(body, "tags") != NULL) {
        change.put |= SLC_AUTH_PUT_TAGS;
        if (!slc_json_tags(json_object_get(body, "tags"), &tags))
            wrong = "tags must be a list of strings, or one with commas";
        change.tags = slc_buffer_slice(&tags);
    } else {
        wrong = "tags_not_present";
    }
    if (password.bytes > 0) {
        change.put |= SLC_AUTH_PUT_PASSWORD;
        change.password = password;
    } else if (json_is_string(json_object_get(body, "password_hash"))) {
        change.put |= SLC_AUTH_PUT_HASH;
        if (!slc_auth_hash_decode(encoded, hash, &hash_bytes))
            wrong = "password_hash is no base64 of a hash";
        if (!slc_auth_hashing_find(slc_api_text(body, "hashing_algorithm"), &change.hashing))
            wrong = "hashing_algorithm is not known";
        change.password_hash = slc_slice_of(hash, hash_bytes);
    } else {
        change.put |= SLC_AUTH_PUT_HASH; // as RabbitMQ: a user without a password
    }
    slc_error refused = {0};
    if (wrong != NULL) {
        slc_http_fail(request, 400, "bad_request", "%s", wrong);
        slc_http_answer(request);
    } else if (!exists && (change.put & SLC_AUTH_PUT_PASSWORD) == 0 &&
               !json_is_string(json_object_get(body, "password_hash")) &&
               slc_auth_password_allowed(auth, change.name, (slc_slice){0}, &refused) != SLC_OK) {
        // As RabbitMQ 3.10: a new user without a password has an empty one for the validator.
        slc_api_changed(request, refused.code, &refused, 0);
    } else {
        slc_auth_user_put(auth, &change, exists ? changed : created, request);
    }
    slc_buffer_fini(&tags);
}

void slc_api_user_delete(slc_http_request *request)
{
    slc_auth_users_delete(slc_http_options_of(request->http)->auth, &request->vars[0], 1, changed,
                          request);
}

static void bulk_deleted(slc_err rc, const slc_error *error, void *arg)
{
    slc_http_request *request = arg;
    if (rc != SLC_ENOTFOUND) {
        slc_api_changed(request, rc, error, 204);
        return;
    }
    slc_http_fail(request, 400, "bad_request", "no_such_user: %s", error->text);
    slc_http_answer(request);
}

void slc_api_users_bulk_delete(slc_http_request *request)
{
    const json_t *body = slc_api_body(request);
    if (body == NULL)
        return;
    const json_t *users = json_object_get(body, "users");
    size_t count = json_array_size(users);
    bool good = json_is_array(users);
    slc_slice *names = slc_alloc((count + 1) * sizeof *names);
    for (size_t i = 0; i < count; i++) {
        const json_t *name = json_array_get(users, i);
        good = good && json_is_string(name);
        if (good)
            names[i] = slc_slice_of(json_string_value(name), json_string_length(name));
    }
    if (good) {
        slc_auth_users_delete(slc_http_options_of(request->http)->auth, names, (uint32_t)count,
                              bulk_deleted, request);
    } else {
        slc_http_fail(request, 400, "bad_request", "%s",
                      users == NULL ? "[{key_missing,users}]" : "users must be a list of names");
        slc_http_answer(request);
    }
    slc_free(names);
}

/* ---- limits ---- */

static void limits_put(const slc_auth_user *user, void *arg)
{
    slc_api *api = arg;
    if ((!user->max_connections_set && !user->max_channels_set) ||
        (api->want.data != NULL && !slc_slice_equal(api->want, user->name)))
        return;
    slc_json *w = &api->w;
    slc_json_open(w, '{');
    slc_json_put_slice(w, "user", user->name);
    slc_json_key(w, "value");
    slc_json_open(w, '{');
    if (user->max_connections_set)
        slc_json_put_i64(w, "max-connections", user->max_connections);
    if (user->max_channels_set)
        slc_json_put_i64(w, "max-channels", user->max_channels);
    slc_json_close(w, '}');
    slc_json_close(w, '}');
}

void slc_api_user_limits(slc_http_request *request)
{
    slc_api api = slc_api_begin(request);
    if (request->var_count > 0) {
        api.want = request->vars[0];
        if (slc_auth_user_find(api.options->auth, api.want) == NULL) {
            slc_http_not_found(request);
            slc_http_answer(request);
            return;
        }
    }
    slc_json_open(&api.w, '[');
    slc_auth_each_user(api.options->auth, limits_put, &api);
    slc_json_close(&api.w, ']');
    slc_api_end(&api);
}

/** "max-connections" or "max-channels"; 0: answered. */
static uint32_t limit_bit(slc_http_request *request, uint32_t connections, uint32_t channels)
{
    if (slc_slice_is(request->vars[1], "max-connections"))
        return connections;
    if (slc_slice_is(request->vars[1], "max-channels"))
        return channels;
    slc_http_fail(request, 400, "bad_request",
                  "'%.*s' is no limit of a user: max-connections, max-channels",
                  SLC_SLICE_FMT(request->vars[1]));
    slc_http_answer(request);
    return 0;
}

void slc_api_user_limit_put(slc_http_request *request)
{
    const json_t *body = slc_api_body(request);
    if (body == NULL)
        return;
    uint32_t bit = limit_bit(request, SLC_AUTH_PUT_MAX_CONNECTIONS, SLC_AUTH_PUT_MAX_CHANNELS);
    if (bit == 0)
        return;
    const json_t *value = slc_api_limit(request, body);
    if (value == NULL)
        return;
    int64_t limit = json_integer_value(value);
    slc_auth_user_change change = {
        .put = bit, .name = request->vars[0], .max_connections = limit, .max_channels = limit};
    slc_auth_user_put(slc_http_options_of(request->http)->auth, &change, changed, request);
}

void slc_api_user_limit_delete(slc_http_request *request)
{
    uint32_t bit = limit_bit(request, SLC_AUTH_CLEAR_MAX_CONNECTIONS, SLC_AUTH_CLEAR_MAX_CHANNELS);
    if (bit == 0)
        return;
    slc_auth_user_change change = {.put = bit, .name = request->vars[0]};
    slc_auth_user_put(slc_http_options_of(request->http)->auth, &change, changed, request);
}

/* ---- authenticate_user ---- */

static void authenticated(slc_err rc, const slc_error *error, void *arg)
{
    slc_http_request *request = arg;
    if (rc == SLC_OK)
        request->status = 204;
    else
        slc_http_fail(request, 400, "not_authorised", "%s", error->text);
    slc_http_answer(request);
}

void slc_api_authenticate(slc_http_request *request)
{
    static const char *const keys[] = {"username", "password"};
    const json_t *body = slc_api_body(request);
    if (body == NULL || !slc_api_need(request, body, keys, 2))
        return;
    slc_auth_ticket *ticket;
    if (slc_auth_check(slc_http_options_of(request->http)->auth, slc_api_text(body, keys[0]),
                       slc_api_text(body, keys[1]), "", true, authenticated, request,
                       &ticket) == SLC_OK)
        authenticated(SLC_OK, NULL, request);
}
