// Basic authentication, sessions of browsers, and what a user's tags allow.
//
// The unix socket's peer is an administrator without a user: it sees everything. Over TCP the table below says which tag a
// path needs; what it does not name needs an administrator, so a path that is forgotten here is closed, not open.
#include <stdio.h>
#include <strings.h>

#include "auth/auth.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "http/api.h"
#include "http/login.h"

enum { CREDENTIALS_BYTES_MAX = SLC_AUTH_NAME_BYTES_MAX + 1 + SLC_AUTH_PASSWORD_BYTES_MAX };

static int base64_value(char c)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c != '\0' ? strchr(alphabet, c) : NULL;
    return at != NULL ? (int)(at - alphabet) : -1;
}

bool slc_http_credentials(slc_http_request *request, const char *value)
{
    if (value == NULL || strncasecmp(value, "Basic ", 6) != 0)
        return false;
    value += 6;
    value += strspn(value, " ");
    char text[CREDENTIALS_BYTES_MAX + 1];
    size_t bytes = 0;
    uint32_t bits = 0, held = 0;
    for (; *value != '\0' && *value != '='; value++) {
        int v = base64_value(*value);
        if (v < 0)
            return false;
        held = (held << 6 | (uint32_t)v) & 0xffff;
        bits += 6;
        if (bits < 8)
            continue;
        bits -= 8;
        if (bytes == CREDENTIALS_BYTES_MAX)
            return false;
        text[bytes++] = (char)(held >> bits);
    }
    if (value[strspn(value, "=")] != '\0')
        return false;
    text[bytes] = '\0';
    const char *colon = memchr(text, ':', bytes);
    // The strings end at a NUL: none may stand inside.
    if (colon == NULL || memchr(text, '\0', bytes) != NULL)
        return false;
    request->user = slc_strndup(text, (size_t)(colon - text));
    request->password = slc_strdup(colon + 1);
    explicit_bzero(text, sizeof text);
    return true;
}

/** Whether the user must be able to enter a vhost, and which variable of the path names it. */
typedef enum need_vhost { VHOST_NONE, VHOST_FIRST, VHOST_SECOND } need_vhost;

/** The first fitting line counts. A prefix of the route's pattern; with $ at its end, all of it. */
static const struct {
    unsigned methods;
    const char *prefix;
    slc_auth_tag tag;
    need_vhost vhost;
} needs[] = {
    {SLC_HTTP_ALL, "queues/*/*/actions", SLC_AUTH_TAG_ADMINISTRATOR, VHOST_FIRST},
    {SLC_HTTP_ALL, "queues", SLC_AUTH_TAG_MANAGEMENT, VHOST_FIRST},
    {SLC_HTTP_ALL, "exchanges", SLC_AUTH_TAG_MANAGEMENT, VHOST_FIRST},
    {SLC_HTTP_ALL, "bindings", SLC_AUTH_TAG_MANAGEMENT, VHOST_FIRST},
    {SLC_HTTP_GET, "aliveness-test", SLC_AUTH_TAG_MANAGEMENT, VHOST_FIRST},
    {SLC_HTTP_GET, "version", SLC_AUTH_TAG_MANAGEMENT, VHOST_NONE},
    {SLC_HTTP_GET, "whoami", SLC_AUTH_TAG_MANAGEMENT, VHOST_NONE},
    {SLC_HTTP_GET, "overview", SLC_AUTH_TAG_MANAGEMENT, VHOST_NONE},
    {SLC_HTTP_GET, "cluster-name", SLC_AUTH_TAG_MANAGEMENT, VHOST_NONE},
    {SLC_HTTP_GET, "extensions", SLC_AUTH_TAG_MANAGEMENT, VHOST_NONE},
    {SLC_HTTP_GET, "deprecated-features", SLC_AUTH_TAG_MANAGEMENT, VHOST_NONE},
    {SLC_HTTP_GET, "sluice/session", SLC_AUTH_TAG_MANAGEMENT, VHOST_NONE},
    {SLC_HTTP_ALL, "connections", SLC_AUTH_TAG_MANAGEMENT, VHOST_NONE},
    {SLC_HTTP_GET, "channels", SLC_AUTH_TAG_MANAGEMENT, VHOST_NONE},
    {SLC_HTTP_GET, "consumers", SLC_AUTH_TAG_MANAGEMENT, VHOST_FIRST},
    {SLC_HTTP_GET, "vhosts$", SLC_AUTH_TAG_MANAGEMENT, VHOST_NONE},
    {SLC_HTTP_GET, "vhosts/*/connections", SLC_AUTH_TAG_MANAGEMENT, VHOST_FIRST},
    {SLC_HTTP_GET, "vhosts/*/channels", SLC_AUTH_TAG_MANAGEMENT, VHOST_FIRST},
    {SLC_HTTP_GET, "user-limits", SLC_AUTH_TAG_MANAGEMENT, VHOST_NONE},
    {SLC_HTTP_GET, "vhost-limits", SLC_AUTH_TAG_MANAGEMENT, VHOST_FIRST},
    {SLC_HTTP_GET, "health", SLC_AUTH_TAG_MANAGEMENT, VHOST_NONE},
    {SLC_HTTP_GET, "healthchecks", SLC_AUTH_TAG_MANAGEMENT, VHOST_NONE},
    {SLC_HTTP_GET, "policies", SLC_AUTH_TAG_MANAGEMENT, VHOST_FIRST},
    {SLC_HTTP_ALL, "policies", SLC_AUTH_TAG_POLICYMAKER, VHOST_FIRST},
    {SLC_HTTP_GET, "operator-policies", SLC_AUTH_TAG_MANAGEMENT, VHOST_FIRST},
    {SLC_HTTP_ALL, "parameters", SLC_AUTH_TAG_POLICYMAKER, VHOST_SECOND},
    {SLC_HTTP_ALL, "global-parameters", SLC_AUTH_TAG_POLICYMAKER, VHOST_NONE},
    {SLC_HTTP_GET, "nodes", SLC_AUTH_TAG_MONITORING, VHOST_NONE},
    {SLC_HTTP_ALL, "auth/attempts", SLC_AUTH_TAG_MONITORING, VHOST_NONE},
    {SLC_HTTP_GET, "federation-links", SLC_AUTH_TAG_MONITORING, VHOST_FIRST},
    {SLC_HTTP_GET, "shovels", SLC_AUTH_TAG_MONITORING, VHOST_FIRST},
};

static bool need_fits(const char *prefix, const char *pattern)
{
    size_t bytes = strcspn(prefix, "$");
    return strncmp(pattern, prefix, bytes) == 0 &&
           (pattern[bytes] == '\0' || (prefix[bytes] != '$' && pattern[bytes] == '/'));
}

bool slc_http_may_enter(const slc_http_request *request, slc_slice vhost)
{
    const slc_http_options *options = slc_http_options_of(request->http);
    return (request->tags & SLC_AUTH_TAG_ADMINISTRATOR) != 0 ||
           slc_auth_may_enter(options->auth, slc_slice_str(request->user), vhost);
}

bool slc_http_may_see_of(const slc_http_request *request, const char *user)
{
    return (request->tags & SLC_AUTH_TAG_MONITORING) != 0 || strcmp(request->user, user) == 0;
}

// Deleting and purging is an operator's in core, so what a session would ask is asked here.
static bool access_queue(slc_http_request *request)
{
    const slc_http_options *options = slc_http_options_of(request->http);
    bool purge = strcmp(request->route->pattern, "queues/*/*/contents") == 0;
    slc_slice vhost_name = request->vars[0], name = request->vars[1];
    if (request->method != SLC_HTTP_DELETE ||
        (!purge && strcmp(request->route->pattern, "queues/*/*") != 0))
        return true;
    if (!slc_auth_may(options->auth, slc_slice_str(request->user), vhost_name,
                      purge ? SLC_AUTH_READ : SLC_AUTH_CONFIGURE, name)) {
        slc_http_fail(
            request, 401, "not_authorised",
            "ACCESS_REFUSED - access to queue '%.*s' in vhost '%.*s' refused for user '%s'",
            SLC_SLICE_FMT(name), SLC_SLICE_FMT(vhost_name), request->user);
        return false;
    }
    slc_vhost *vhost = slc_broker_vhost(options->broker, vhost_name);
    slc_queue_info queue;
    if (vhost == NULL || !slc_vhost_find_queue(vhost, name, &queue) || !queue.exclusive)
        return true;
    slc_http_fail(request, 400, "bad_request",
                  "cannot obtain exclusive access to locked queue '%.*s' in vhost '%.*s': it "
                  "belongs to a connection",
                  SLC_SLICE_FMT(name), SLC_SLICE_FMT(vhost_name));
    return false;
}

/** False: answered. */
static bool access_granted(slc_http_request *request)
{
    const char *pattern = request->route->pattern;
    slc_auth_tag tag = SLC_AUTH_TAG_ADMINISTRATOR;
    need_vhost vhost = VHOST_NONE;
    for (size_t i = 0; i < SLC_ARRAY_COUNT(needs); i++) {
        if ((needs[i].methods & request->method) == 0 || !need_fits(needs[i].prefix, pattern))
            continue;
        tag = needs[i].tag;
        vhost = needs[i].vhost;
        break;
    }
    bool administrator = (request->tags & SLC_AUTH_TAG_ADMINISTRATOR) != 0;
    bool inside = vhost == VHOST_NONE || request->var_count < (uint32_t)vhost ||
                  slc_http_may_enter(request, request->vars[vhost - VHOST_FIRST]);
    if ((request->tags & SLC_AUTH_TAG_MANAGEMENT) == 0)
        slc_http_unauthorised(request, "Not management user");
    else if (tag == SLC_AUTH_TAG_POLICYMAKER && !administrator &&
             ((request->tags & tag) == 0 || !inside))
        slc_http_unauthorised(request, "User not authorised to access object");
    else if ((request->tags & tag) == 0 && !administrator)
        slc_http_unauthorised(request, tag == SLC_AUTH_TAG_MONITORING ? "Not monitor user"
                                                                      : "Not administrator user");
    else if (!inside)
        slc_http_unauthorised(request, "User not authorised to access virtual host");
    else
        return access_queue(request);
    return false;
}

/* ---- who is it ---- */

static void refuse_login(slc_http_request *request)
{
    slc_http_fail(request, 401, "not_authorized", "Login failed");
    request->challenge = true;
    slc_http_answer(request);
}

/** Who asks for it; on our socket RabbitMQ's names for its command line. */
const char *slc_http_actor(const slc_http_request *request)
{
    const char *pattern = request->route->pattern;
    if (request->user != NULL)
        return request->user;
    if (request->method == SLC_HTTP_DELETE && strcmp(pattern, "queues/*/*") == 0)
        return "cli_user"; // delete_queue
    if (request->method == SLC_HTTP_POST && strncmp(pattern, "definitions", 11) == 0)
        return NULL; // import_definitions
    return "rmq-cli";
}

static void handle(slc_http_request *request)
{
    slc_broker *broker = slc_http_options_of(request->http)->broker;
    slc_broker_act_as(broker, slc_http_actor(request));
    request->route->handle(request); // and it may be gone
    slc_broker_act_as(broker, NULL);
}

static void handle_as(slc_http_request *request, const slc_auth_user *user)
{
    request->tags = user->tag_bits;
    if (access_granted(request))
        handle(request);
    else
        slc_http_answer(request);
}

/** Of a check of name and password. error says why not, for the log alone. */
static void login_settled(slc_http_request *request, slc_err rc, const slc_error *error)
{
    slc_http_attempt(request->http, rc == SLC_OK);
    if (rc != SLC_OK)
        slc_log(SLC_LOG_WARN, "http", "http.login_refused",
                SLC_FIELDS(SLC_F_STR("peer", request->peer.address)),
                "HTTP access denied for %s: %s", request->peer.address, error->text);
}

static void basic_checked(slc_err rc, const slc_error *error, void *arg)
{
    slc_http_request *request = arg;
    const slc_http_options *options = slc_http_options_of(request->http);
    login_settled(request, rc, error);
    const slc_auth_user *user =
        rc == SLC_OK ? slc_auth_user_find(options->auth, slc_slice_str(request->user)) : NULL;
    if (user != NULL)
        handle_as(request, user);
    else
        refuse_login(request);
}

static void basic_check(slc_http_request *request, slc_auth_checked done)
{
    slc_auth_ticket *ticket; // not kept: the answer is waited for, the connection is suspended
    slc_err rc =
        slc_auth_check(slc_http_options_of(request->http)->auth, slc_slice_str(request->user),
                       slc_slice_str(request->password), request->peer.address,
                       request->peer.loopback, done, request, &ticket);
    if (rc != SLC_EPENDING)
        done(rc, NULL, request);
}

// A request with the cookie of a session. One that changes something also needs what only a page of ours can know: a browser
// sends the cookie for pages of others too.
static void session_check(slc_http_request *request)
{
    const slc_http_options *options = slc_http_options_of(request->http);
    const slc_login *login =
        slc_logins_find(slc_http_logins(request->http), request->session, slc_clock_now_ns());
    const slc_auth_user *user = login != NULL && (!login->loopback || request->peer.loopback)
                                    ? slc_auth_user_find(options->auth, slc_slice_str(login->user))
                                    : NULL;
    if (user == NULL || !slc_slice_equal(user->password_hash, login->password_hash)) {
        slc_logins_close(slc_http_logins(request->http), request->session);
        refuse_login(request);
        return;
    }
    if (request->method != SLC_HTTP_GET &&
        (request->csrf == NULL || strcmp(request->csrf, login->csrf) != 0)) {
        slc_http_fail(request, 403, "forbidden",
                      "a change in a session needs the header X-Sluice-CSRF with the value that "
                      "GET /api/sluice/session gives");
        slc_http_answer(request);
        return;
    }
    request->user = slc_strdup(login->user);
    handle_as(request, user);
}

void slc_http_login(slc_http_request *request)
{
    if (!request->peer.tcp || request->route->open)
        handle(request);
    else if (request->user != NULL)
        basic_check(request, basic_checked);
    else
        session_check(request);
}

/* ---- sessions ---- */

// username=guest&password=guest
static char *form_value(slc_buffer *form, const char *name)
{
    size_t name_bytes = strlen(name);
    char *at = (char *)form->data, *end = at + form->bytes;
    while (at < end) {
        char *next = memchr(at, '&', (size_t)(end - at));
        size_t bytes = (size_t)((next != NULL ? next : end) - at);
        if (bytes > name_bytes && memcmp(at, name, name_bytes) == 0 && at[name_bytes] == '=') {
            char *value = slc_strndup(at + name_bytes + 1, bytes - name_bytes - 1);
            size_t decoded = slc_percent_decode(value, strlen(value), true);
            if (decoded == SIZE_MAX || memchr(value, '\0', decoded) != NULL)
                decoded = 0; // nobody's
            value[decoded] = '\0';
            return value;
        }
        at += bytes + 1;
    }
    return slc_strdup("");
}

static void session_checked(slc_err rc, const slc_error *error, void *arg)
{
    slc_http_request *request = arg;
    const slc_http_options *options = slc_http_options_of(request->http);
    login_settled(request, rc, error);
    const slc_auth_user *user =
        rc == SLC_OK ? slc_auth_user_find(options->auth, slc_slice_str(request->user)) : NULL;
    if (user == NULL || (user->tag_bits & SLC_AUTH_TAG_MANAGEMENT) == 0) {
        slc_http_fail(request, 401, "not_authorized", "Login failed");
        slc_http_answer(request);
        return;
    }
    const slc_login *login =
        slc_logins_open(slc_http_logins(request->http), request->user, user->password_hash,
                        request->peer.loopback, slc_clock_now_ns());
    slc_http_cookie(request, login->token);
    slc_json w = slc_json_to(&request->body);
    request->status = 200;
    slc_json_text(&w, "ok");
    slc_http_answer(request);
}

static char *json_value(const json_t *body, const char *name)
{
    const json_t *value = json_object_get(body, name);
    const char *text = json_string_value(value);
    bool whole = text != NULL && strlen(text) == json_string_length(value);
    return slc_strdup(whole ? text : "");
}

void slc_api_login(slc_http_request *request)
{
    const json_t *body = json_is_object(request->json) ? request->json : NULL;
    if (body != NULL) {
        request->user = json_value(body, "username");
        request->password = json_value(body, "password");
    } else {
        request->user = form_value(&request->input, "username");
        request->password = form_value(&request->input, "password");
    }
    basic_check(request, session_checked);
}

void slc_api_logout(slc_http_request *request)
{
    if (request->session != NULL)
        slc_logins_close(slc_http_logins(request->http), request->session);
    slc_http_cookie(request, NULL);
    request->status = 204;
    slc_http_answer(request);
}

#define COOKIE "sluice_session"

void slc_http_cookie(slc_http_request *request, const char *token)
{
    char text[160];
    snprintf(text, sizeof text, COOKIE "=%s; Path=/; HttpOnly; SameSite=Strict%s%s",
             token != NULL ? token : "", request->peer.tls ? "; Secure" : "",
             token != NULL ? "" : "; Max-Age=0");
    slc_free(request->cookie);
    request->cookie = slc_strdup(text);
}

char *slc_http_cookie_find(const char *header)
{
    static const char name[] = COOKIE "=";
    for (const char *at = header; at != NULL && *at != '\0'; at += strcspn(at, ";")) {
        at += strspn(at, "; ");
        if (strncmp(at, name, sizeof name - 1) == 0)
            return slc_strndup(at + sizeof name - 1, strcspn(at + sizeof name - 1, "; "));
    }
    return NULL;
}
