// The process and what is around it: listeners, threads, command line, network interfaces, ciphers.  @spec operations 2.5
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <ifaddrs.h>
#include <inttypes.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netpacket/packet.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/alloc.h"
#include "http/admin.h"
#include "http/api.h"

static void listeners_set(slc_http_request *request, bool open)
{
    const slc_http_admin_ops *admin = slc_api_admin(request);
    slc_error error = {0};
    if (admin == NULL)
        return;
    slc_err rc = admin->listeners(open, &error, slc_http_options_of(request->http)->arg);
    slc_api_changed(request, rc, &error, 204);
}

void slc_api_listeners_suspend(slc_http_request *request)
{
    listeners_set(request, false);
}

void slc_api_listeners_resume(slc_http_request *request)
{
    listeners_set(request, true);
}

/* ---- command line and environment ---- */

typedef struct process {
    slc_json arguments, environment;
} process;

static void argument_put(const char *text, void *arg)
{
    slc_json_text(&((process *)arg)->arguments, text);
}

static void variable_put(const char *name, const char *value, void *arg)
{
    slc_json *w = &((process *)arg)->environment;
    slc_json_open(w, '{');
    slc_json_put_text(w, "name", name);
    slc_json_put_text(w, "value", value);
    slc_json_close(w, '}');
}

void slc_api_process(slc_http_request *request)
{
    const slc_http_admin_ops *admin = slc_api_admin(request);
    if (admin == NULL)
        return;
    slc_api api = slc_api_begin(request);
    slc_buffer arguments = {0}, environment = {0};
    process p = {slc_json_to(&arguments), slc_json_to(&environment)};
    slc_json_open(&p.arguments, '[');
    slc_json_open(&p.environment, '[');
    admin->process(argument_put, variable_put, &p, api.options->arg);
    slc_json_close(&p.arguments, ']');
    slc_json_close(&p.environment, ']');
    slc_json_open(&api.w, '{');
    slc_json_put_i64(&api.w, "pid", getpid());
    slc_json_key(&api.w, "arguments");
    slc_json_raw(&api.w, slc_buffer_slice(&arguments));
    slc_json_key(&api.w, "environment");
    slc_json_raw(&api.w, slc_buffer_slice(&environment));
    slc_json_close(&api.w, '}');
    slc_buffer_fini(&arguments);
    slc_buffer_fini(&environment);
    slc_api_end(&api);
}

/* ---- threads: proc(5), /proc/[pid]/task/[tid]/stat ---- */

static bool thread_read(const char *id, char name[32], uint64_t *user, uint64_t *system)
{
    char path[64], line[512];
    snprintf(path, sizeof path, "/proc/self/task/%.16s/stat", id);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return false; // it has ended
    bool good = fgets(line, sizeof line, file) != NULL;
    fclose(file);
    // "id (name) state ...": the name may have blanks and parentheses itself.
    const char *open = good ? strchr(line, '(') : NULL, *close = good ? strrchr(line, ')') : NULL;
    if (open == NULL || close == NULL || close < open)
        return false;
    snprintf(name, 32, "%.*s", (int)(close - open - 1), open + 1);
    const char *at = close + 1;
    for (int field = 3; field < 14 && at != NULL; field++) // up to field 14, utime
        at = strchr(at + 1, ' ');
    return at != NULL && sscanf(at, " %" SCNu64 " %" SCNu64, user, system) == 2;
}

// Threads that were not given a name have the program's.
static const char *thread_name(const char *id, const char *name)
{
    char pid[24];
    snprintf(pid, sizeof pid, "%ld", (long)getpid());
    if (strcmp(id, pid) == 0)
        return "loop";
    return strcmp(name, "sluiced") == 0 ? "worker" : name;
}

void slc_api_threads(slc_http_request *request)
{
    slc_api api = slc_api_begin(request);
    uint64_t tick_ms = 1000 / (uint64_t)sysconf(_SC_CLK_TCK);
    DIR *dir = opendir("/proc/self/task");
    const struct dirent *entry;
    slc_json_open(&api.w, '[');
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        char name[32];
        uint64_t user, system;
        if (entry->d_name[0] == '.' || !thread_read(entry->d_name, name, &user, &system))
            continue;
        slc_json_open(&api.w, '{');
        slc_json_put_u64(&api.w, "id", strtoull(entry->d_name, NULL, 10));
        slc_json_put_text(&api.w, "name", thread_name(entry->d_name, name));
        slc_json_put_u64(&api.w, "user_ms", user * tick_ms);
        slc_json_put_u64(&api.w, "system_ms", system * tick_ms);
        slc_json_close(&api.w, '}');
    }
    if (dir != NULL)
        closedir(dir);
    slc_json_close(&api.w, ']');
    slc_api_end(&api);
}

/* ---- network interfaces ---- */

static void flags_put(slc_json *w, unsigned flags)
{
    static const struct {
        unsigned flag;
        const char *name;
    } names[] = {{IFF_UP, "up"},
                 {IFF_BROADCAST, "broadcast"},
                 {IFF_LOOPBACK, "loopback"},
                 {IFF_POINTOPOINT, "pointtopoint"},
                 {IFF_RUNNING, "running"},
                 {IFF_MULTICAST, "multicast"}};
    char text[96] = "";
    size_t at = 0;
    for (size_t i = 0; i < SLC_ARRAY_COUNT(names); i++) {
        if ((flags & names[i].flag) != 0)
            at += (size_t)snprintf(text + at, sizeof text - at, "%s%s", at > 0 ? ", " : "",
                                   names[i].name);
    }
    slc_json_put_text(w, "flags", text);
}

// False: it is no address of the internet.
static bool address_text(const struct sockaddr *address, char *out, socklen_t cap)
{
    const void *octets = NULL;
    if (address != NULL && address->sa_family == AF_INET)
        octets = &((const struct sockaddr_in *)(const void *)address)->sin_addr;
    else if (address != NULL && address->sa_family == AF_INET6)
        octets = &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
    return octets != NULL && inet_ntop(address->sa_family, octets, out, cap) != NULL;
}

static void address_put(slc_json *w, const struct ifaddrs *at)
{
    char text[INET6_ADDRSTRLEN];
    if (!address_text(at->ifa_addr, text, sizeof text))
        return;
    slc_json_open(w, '{');
    slc_json_put_text(w, "addr", text);
    if (address_text(at->ifa_netmask, text, sizeof text))
        slc_json_put_text(w, "netmask", text);
    if ((at->ifa_flags & IFF_BROADCAST) != 0 && address_text(at->ifa_broadaddr, text, sizeof text))
        slc_json_put_text(w, "broadaddr", text);
    slc_json_close(w, '}');
}

static void interface_put(slc_json *w, const struct ifaddrs *all, const struct ifaddrs *first)
{
    slc_json_open(w, '{');
    slc_json_put_text(w, "name", first->ifa_name);
    flags_put(w, first->ifa_flags);
    if (first->ifa_addr != NULL && first->ifa_addr->sa_family == AF_PACKET) {
        const uint8_t *octets =
            ((const struct sockaddr_ll *)(const void *)first->ifa_addr)->sll_addr;
        char text[24];
        snprintf(text, sizeof text, "%02X:%02X:%02X:%02X:%02X:%02X", octets[0], octets[1],
                 octets[2], octets[3], octets[4], octets[5]);
        slc_json_put_text(w, "hwaddr", text);
    }
    slc_json_key(w, "addresses");
    slc_json_open(w, '[');
    for (const struct ifaddrs *at = all; at != NULL; at = at->ifa_next) {
        if (strcmp(at->ifa_name, first->ifa_name) == 0)
            address_put(w, at);
    }
    slc_json_close(w, ']');
    slc_json_close(w, '}');
}

void slc_api_interfaces(slc_http_request *request)
{
    struct ifaddrs *all;
    if (getifaddrs(&all) != 0) {
        slc_http_fail(request, 500, "internal_error", "the system does not tell its interfaces: %s",
                      strerror(errno));
        slc_http_answer(request);
        return;
    }
    slc_api api = slc_api_begin(request);
    slc_json_open(&api.w, '[');
    for (const struct ifaddrs *at = all; at != NULL; at = at->ifa_next) {
        const struct ifaddrs *before = all; // an interface is there once for each address
        while (strcmp(before->ifa_name, at->ifa_name) != 0)
            before = before->ifa_next;
        if (before == at)
            interface_put(&api.w, all, at);
    }
    freeifaddrs(all);
    slc_json_close(&api.w, ']');
    slc_api_end(&api);
}

/* ---- names ---- */

typedef struct resolving {
    uv_getaddrinfo_t handle;
    slc_http_request *request;
} resolving;

static void resolved(uv_getaddrinfo_t *handle, int status, struct addrinfo *found)
{
    resolving *r = handle->data;
    slc_http_request *request = r->request;
    slc_free(r);
    if (status != 0) {
        slc_http_fail(request, 404, "not_found",
                      "Hostname does not resolve (resolution failed with %s)",
                      status == UV_EAI_NONAME || status == UV_EAI_NODATA ? "an nxdomain"
                                                                         : uv_strerror(status));
        slc_http_answer(request);
        return;
    }
    slc_api api = slc_api_begin(request);
    slc_json_open(&api.w, '[');
    for (const struct addrinfo *at = found; at != NULL; at = at->ai_next) {
        char text[INET6_ADDRSTRLEN];
        if (address_text(at->ai_addr, text, sizeof text))
            slc_json_text(&api.w, text);
    }
    slc_json_close(&api.w, ']');
    uv_freeaddrinfo(found);
    slc_api_end(&api);
}

// ?family=ipv6: those, else ipv4. A thread of libuv's waits for the name server.
void slc_api_resolve(slc_http_request *request)
{
    slc_slice family;
    bool v6 = slc_path_param(&request->path, "family", &family) && slc_slice_is(family, "ipv6");
    const struct addrinfo hints = {.ai_family = v6 ? AF_INET6 : AF_INET,
                                   .ai_socktype = SOCK_STREAM};
    char name[256];
    resolving *r = slc_alloc_zero(1, sizeof *r);
    r->handle.data = r;
    r->request = request;
    snprintf(name, sizeof name, "%.*s", SLC_SLICE_FMT(request->vars[0]));
    int rc = uv_getaddrinfo(slc_http_options_of(request->http)->loop, &r->handle, resolved, name,
                            NULL, &hints);
    if (rc == 0)
        return;
    slc_free(r);
    slc_http_fail(request, 400, "bad_request", "'%s' cannot be looked up: %s", name,
                  uv_strerror(rc));
    slc_http_answer(request);
}

/* ---- ciphers ---- */

static void cipher_put(const char *openssl, const char *iana, void *arg)
{
    slc_json *w = &((slc_api *)arg)->w;
    slc_json_open(w, '{');
    slc_json_put_text(w, "openssl", openssl);
    slc_json_put_text(w, "iana", iana);
    slc_json_close(w, '}');
}

void slc_api_ciphers(slc_http_request *request)
{
    const slc_http_admin_ops *admin = slc_api_admin(request);
    if (admin == NULL)
        return;
    slc_api api = slc_api_begin(request);
    slc_json_open(&api.w, '[');
    admin->ciphers(cipher_put, &api, api.options->arg);
    slc_json_close(&api.w, ']');
    slc_api_end(&api);
}
