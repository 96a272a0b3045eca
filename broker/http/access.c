// Basic authentication, and what a user's tags allow.
//
// The unix socket's peer is an administrator without a user: it sees everything. Over TCP the table below says which tag a
// path needs; what it does not name needs an administrator, so a path that is forgotten here is closed, not open.
#include <stdio.h>
#include <strings.h>

#include "auth/auth.h"
#include "base/alloc.h"
#include "http/request.h"

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

/** The first fitting line counts. vhost: variable 0 is a vhost that the user must be able to enter. */
static const struct {
    unsigned methods;
    const char *prefix; // of the route's pattern
    slc_auth_tag tag;
    bool vhost;
} needs[] = {
    {SLC_HTTP_GET, "queues", SLC_AUTH_TAG_MANAGEMENT, true},
    {SLC_HTTP_GET, "exchanges", SLC_AUTH_TAG_MANAGEMENT, true},
    {SLC_HTTP_GET, "bindings", SLC_AUTH_TAG_MANAGEMENT, true},
    {SLC_HTTP_GET, "version", SLC_AUTH_TAG_MANAGEMENT, false},
    {SLC_HTTP_GET, "whoami", SLC_AUTH_TAG_MANAGEMENT, false},
    {SLC_HTTP_GET, "overview", SLC_AUTH_TAG_MONITORING, false},
    {SLC_HTTP_GET, "nodes", SLC_AUTH_TAG_MONITORING, false},
    {SLC_HTTP_GET, "connections", SLC_AUTH_TAG_MONITORING, false},
    {SLC_HTTP_GET, "channels", SLC_AUTH_TAG_MONITORING, false},
    {SLC_HTTP_GET, "consumers", SLC_AUTH_TAG_MONITORING, false},
    {SLC_HTTP_GET, "health", SLC_AUTH_TAG_MONITORING, false},
    {SLC_HTTP_PUT | SLC_HTTP_POST | SLC_HTTP_DELETE, "queues", SLC_AUTH_TAG_MANAGEMENT, true},
    {SLC_HTTP_PUT | SLC_HTTP_POST | SLC_HTTP_DELETE, "exchanges", SLC_AUTH_TAG_MANAGEMENT, true},
    {SLC_HTTP_POST | SLC_HTTP_DELETE, "bindings", SLC_AUTH_TAG_MANAGEMENT, true},
    {SLC_HTTP_GET, "aliveness-test", SLC_AUTH_TAG_MANAGEMENT, true},
};

bool slc_http_may_enter(const slc_http_request *request, slc_slice vhost)
{
    const slc_http_options *options = slc_http_options_of(request->http);
    return request->user == NULL ||
           slc_auth_may_enter(options->auth, slc_slice_str(request->user), vhost);
}

static bool access_queue(slc_http_request *request)
{
    const slc_http_options *options = slc_http_options_of(request->http);
    if (request->method != SLC_HTTP_DELETE || request->user == NULL || request->var_count < 2)
        return true;
    bool purge = strcmp(request->route->pattern, "queues/*/*/contents") == 0;
    if (slc_auth_may(options->auth, slc_slice_str(request->user), request->vars[0],
                     purge ? SLC_AUTH_READ : SLC_AUTH_CONFIGURE, request->vars[1]))
        return true;
    slc_http_fail(request, 401, "not_authorised",
                  "ACCESS_REFUSED - access to queue '%.*s' in vhost '%.*s' refused for user '%s'",
                  SLC_SLICE_FMT(request->vars[1]), SLC_SLICE_FMT(request->vars[0]), request->user);
    return false;
}

/** False: answered. */
static bool access_granted(slc_http_request *request)
{
    slc_auth_tag tag = SLC_AUTH_TAG_ADMINISTRATOR;
    bool vhost = false, queue = false;
    for (size_t i = 0; i < SLC_ARRAY_COUNT(needs); i++) {
        if ((needs[i].methods & request->method) == 0 ||
            strncmp(request->route->pattern, needs[i].prefix, strlen(needs[i].prefix)) != 0)
            continue;
        tag = needs[i].tag;
        vhost = needs[i].vhost;
        queue = strcmp(needs[i].prefix, "queues") == 0;
        break;
    }
    if ((request->tags & SLC_AUTH_TAG_MANAGEMENT) == 0)
        slc_http_unauthorised(request, "Not management user");
    else if ((request->tags & tag) == 0)
        slc_http_unauthorised(request, tag == SLC_AUTH_TAG_ADMINISTRATOR ? "Not administrator user"
                                                                         : "Not monitor user");
    else if (vhost && request->var_count > 0 && !slc_http_may_enter(request, request->vars[0]))
        slc_http_unauthorised(request, "User not authorised to access virtual host");
    else
        return !queue || access_queue(request);
    return false;
}

static void login_checked(slc_err rc, const slc_error *error, void *arg)
{
    slc_http_request *request = arg;
    const slc_http_options *options = slc_http_options_of(request->http);
    (void)error; // slc_auth_check has logged it
    const slc_auth_user *user =
        rc == SLC_OK ? slc_auth_user_find(options->auth, slc_slice_str(request->user)) : NULL;
    if (user == NULL) {
        slc_http_fail(request, 401, "not_authorized", "Login failed");
        slc_http_answer(request);
        return;
    }
    request->tags = user->tag_bits;
    if (access_granted(request))
        request->route->handle(request);
    else
        slc_http_answer(request);
}

void slc_http_login(slc_http_request *request)
{
    const slc_http_options *options = slc_http_options_of(request->http);
    if (!request->peer.tcp) {
        request->route->handle(request);
        return;
    }
    slc_auth_ticket *ticket; // not kept: the answer is waited for, the connection is suspended
    slc_err rc = slc_auth_check(options->auth, slc_slice_str(request->user),
                                slc_slice_str(request->password), request->peer.address,
                                request->peer.loopback, login_checked, request, &ticket);
    if (rc != SLC_EPENDING)
        login_checked(rc, NULL, request);
}
