// alarms and checks, under the names and with the words of rabbitmq-diagnostics: all of them from one answer of the broker.
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "ctl.h"

enum { CONNECT_S = 5 };

/** The state of the broker; CTL_OK: the reply's body is it, to be finished. */
static int state_get(slc_ctl *ctl, slc_ctl_reply *reply)
{
    return slc_ctl_get(ctl, "/api/sluice/status", reply);
}

/** The outcome of a check: a line on stdout, unless -s, or the reason on stderr and 69. text is taken. */
static int verdict(const slc_ctl *ctl, bool good, slc_buffer *text)
{
    if (slc_ctl_wants_json(ctl)) {
        slc_buffer line = {0};
        slc_buffer_text(&line, "{\"message\":");
        slc_ctl_json_string(slc_buffer_slice(text), &line);
        printf("%.*s,\"result\":%s}\n", SLC_SLICE_FMT(slc_buffer_slice(&line)),
               good ? "true" : "false");
        slc_buffer_fini(&line);
    } else if (good && !ctl->silent) {
        printf("%.*s\n", SLC_SLICE_FMT(slc_buffer_slice(text)));
    } else if (!good) {
        slc_ctl_error(CTL_UNAVAILABLE, "%.*s", SLC_SLICE_FMT(slc_buffer_slice(text)));
    }
    slc_buffer_fini(text);
    return good ? CTL_OK : CTL_UNAVAILABLE;
}

/* ---- alarms ---- */

static void biggest_text(const json_t *one, slc_buffer *out)
{
    json_int_t messages = json_integer_value(json_object_get(one, "messages"));
    slc_buffer_format(out, "\n  %s '%s' in vhost '%s' holds %" JSON_INTEGER_FORMAT " bytes",
                      slc_ctl_text_of(one, "type"), slc_ctl_text_of(one, "name"),
                      slc_ctl_text_of(one, "vhost"),
                      json_integer_value(json_object_get(one, "bytes")));
    if (messages > 0)
        slc_buffer_format(out, " in %" JSON_INTEGER_FORMAT " message%s", messages,
                          messages == 1 ? "" : "s");
}

void slc_ctl_alarms_text(const json_t *alarms, slc_buffer *out)
{
    size_t i, k;
    json_t *alarm, *one;
    json_array_foreach(alarms, i, alarm)
    {
        slc_buffer_format(
            out, "%s%s alarm on node %s", i > 0 ? "\n" : "",
            strcmp(slc_ctl_text_of(alarm, "resource"), "disk") == 0 ? "Free disk space" : "Memory",
            slc_ctl_text_of(alarm, "node"));
        if (*slc_ctl_text_of(alarm, "cause") != '\0')
            slc_buffer_format(out, "\n  %s", slc_ctl_text_of(alarm, "cause"));
        json_array_foreach(json_object_get(alarm, "biggest"), k, one) biggest_text(one, out);
        slc_buffer_format(out, "\n  %s", slc_ctl_text_of(alarm, "advice"));
    }
}

/** A check fails where there is an alarm; `alarms` only says so. scope: what there is none of; NULL: of anything. */
static int alarms_run(slc_ctl *ctl, const char *banner, const char *scope, bool is_check)
{
    slc_ctl_reply reply;
    slc_buffer text = {0};
    int rc = state_get(ctl, &reply);
    if (rc != CTL_OK)
        return rc;
    const char *node = slc_ctl_text_of(reply.body, "node");
    const json_t *alarms = json_object_get(reply.body, "alarms");
    slc_ctl_banner(ctl, banner, node);
    bool any = json_array_size(alarms) > 0;
    if (!any && scope == NULL)
        slc_buffer_text(&text, "Health check passed");
    else if (!any)
        slc_buffer_format(&text, "Node %s reported no %s", node, scope);
    else
        slc_ctl_alarms_text(alarms, &text);
    if (slc_ctl_wants_json(ctl) && !is_check) {
        json_t *out = json_pack("{s:O,s:s,s:s}", "alarms", alarms, "node", node, "result", "ok");
        slc_ctl_print_json(out);
        json_decref(out);
        slc_buffer_fini(&text);
    } else {
        rc = verdict(ctl, !any || !is_check, &text);
    }
    slc_ctl_reply_fini(&reply);
    return rc;
}

int slc_ctl_alarms(slc_ctl *ctl)
{
    return alarms_run(ctl, "Asking node %s to report any known resource alarms ...",
                      "alarms, local or clusterwide", false);
}

int slc_ctl_check_alarms(slc_ctl *ctl)
{
    return alarms_run(ctl, "Asking node %s to report any local resource alarms ...",
                      "alarms, local or clusterwide", true);
}

int slc_ctl_check_local_alarms(slc_ctl *ctl)
{
    return alarms_run(ctl, "Asking node %s to report any local resource alarms ...", "local alarms",
                      true);
}

/* ---- listeners ---- */

// It is there, and takes nobody: nothing listens as far as clients can tell.
static bool is_suspended(const json_t *listener)
{
    return json_is_true(json_object_get(listener, "suspended"));
}

/** Ports or protocols of the listeners, each once, separated by commas. */
static void listeners_text(const json_t *state, bool ports, slc_buffer *out)
{
    size_t i, k;
    json_t *l, *before;
    const json_t *all = json_object_get(state, "listeners");
    json_array_foreach(all, i, l)
    {
        const char *key = ports ? "port" : "protocol";
        const json_t *value = json_object_get(l, key);
        bool known = is_suspended(l) || (ports && json_integer_value(value) == 0); // a unix socket
        json_array_foreach(all, k, before)
        {
            if (k < i)
                known |= json_equal(json_object_get(before, key), value) != 0;
        }
        if (known)
            continue;
        slc_buffer_text(out, out->bytes > 0 ? ", " : "");
        if (ports)
            slc_buffer_format(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        else
            slc_buffer_text(out, slc_ctl_text_of(l, key));
    }
}

int slc_ctl_check_port_listener(slc_ctl *ctl)
{
    slc_ctl_reply reply;
    slc_buffer text = {0}, found = {0};
    char *end;
    long port = strtol(ctl->args[0], &end, 10);
    if (*end != '\0' || port < 1 || port > 65535)
        return slc_ctl_error(CTL_DATA, "'%s' is no port: 1 to 65535", ctl->args[0]);
    int rc = state_get(ctl, &reply);
    if (rc != CTL_OK)
        return rc;
    const char *node = slc_ctl_text_of(reply.body, "node");
    slc_ctl_banner(ctl, "Asking node %s if there's an active listener on port %ld ...", node, port);
    size_t i;
    json_t *l;
    bool good = false;
    json_array_foreach(json_object_get(reply.body, "listeners"), i, l) good |=
        json_integer_value(json_object_get(l, "port")) == port && !is_suspended(l);
    listeners_text(reply.body, true, &found);
    if (good)
        slc_buffer_format(&text, "A listener for port %ld is running on node %s.", port, node);
    else
        slc_buffer_format(&text,
                          "No listener for port %ld is active on node %s. Found listeners that use "
                          "the following ports: %.*s",
                          port, node, SLC_SLICE_FMT(slc_buffer_slice(&found)));
    slc_buffer_fini(&found);
    rc = verdict(ctl, good, &text);
    slc_ctl_reply_fini(&reply);
    return rc;
}

int slc_ctl_check_protocol_listener(slc_ctl *ctl)
{
    // 0-9-1 goes by several names.
    static const char *const aliases[] = {"amqp091", "amqp0.9.1", "amqp0-9-1", "amqp0_9_1"};
    const char *asked = ctl->args[0];
    for (size_t i = 0; i < SLC_ARRAY_COUNT(aliases); i++)
        asked = strcmp(asked, aliases[i]) == 0 ? "amqp" : asked;
    slc_ctl_reply reply;
    slc_buffer text = {0}, found = {0};
    int rc = state_get(ctl, &reply);
    if (rc != CTL_OK)
        return rc;
    const char *node = slc_ctl_text_of(reply.body, "node");
    slc_ctl_banner(ctl, "Asking node %s if there's an active listener for protocol %s ...", node,
                   ctl->args[0]);
    size_t i;
    json_t *l;
    bool good = false;
    json_array_foreach(json_object_get(reply.body, "listeners"), i, l) good |=
        strcmp(slc_ctl_text_of(l, "protocol"), asked) == 0 && !is_suspended(l);
    listeners_text(reply.body, false, &found);
    if (good)
        slc_buffer_format(&text, "A listener for protocol %s is running on node %s.", ctl->args[0],
                          node);
    else
        slc_buffer_format(&text,
                          "No listener for protocol %s is active on node %s. Found listeners for "
                          "the following protocols: %.*s",
                          ctl->args[0], node, SLC_SLICE_FMT(slc_buffer_slice(&found)));
    slc_buffer_fini(&found);
    rc = verdict(ctl, good, &text);
    slc_ctl_reply_fini(&reply);
    return rc;
}

static bool can_connect(const char *host, const char *port)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    bool good = false;
    if (getaddrinfo(host, port, &hints, &found) != 0)
        return false;
    for (const struct addrinfo *at = found; at != NULL && !good; at = at->ai_next) {
        int fd = socket(at->ai_family, at->ai_socktype | SOCK_CLOEXEC, at->ai_protocol);
        struct timeval limit = {.tv_sec = CONNECT_S};
        if (fd < 0)
            continue;
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit); // connect waits as long
        good = connect(fd, at->ai_addr, at->ai_addrlen) == 0;
        close(fd);
    }
    freeaddrinfo(found);
    return good;
}

int slc_ctl_check_port_connectivity(slc_ctl *ctl)
{
    slc_ctl_reply reply;
    slc_buffer text = {0}, found = {0}, failed = {0};
    int rc = state_get(ctl, &reply);
    if (rc != CTL_OK)
        return rc;
    const char *node = slc_ctl_text_of(reply.body, "node");
    slc_ctl_banner(ctl, "Testing TCP connections to all active listeners on node %s ...", node);
    size_t i;
    json_t *l;
    json_array_foreach(json_object_get(reply.body, "listeners"), i, l)
    {
        char port[16];
        const char *ip = slc_ctl_text_of(l, "ip_address");
        bool any = strcmp(ip, "::") == 0 || strcmp(ip, "0.0.0.0") == 0;
        const char *host = ctl->address != NULL ? ctl->address : any ? "localhost" : ip;
        json_int_t number = json_integer_value(json_object_get(l, "port"));
        if (number == 0)
            continue;
        snprintf(port, sizeof port, "%" JSON_INTEGER_FORMAT, number);
        if (!can_connect(host, port))
            slc_buffer_format(&failed, "%s%s port %s", failed.bytes > 0 ? ", " : "", host, port);
    }
    listeners_text(reply.body, true, &found);
    if (failed.bytes == 0)
        slc_buffer_format(&text, "Successfully connected to ports %.*s on node %s.",
                          SLC_SLICE_FMT(slc_buffer_slice(&found)), node);
    else
        slc_buffer_format(&text, "Connection attempts failed on node %s: %.*s", node,
                          SLC_SLICE_FMT(slc_buffer_slice(&failed)));
    rc = verdict(ctl, failed.bytes == 0, &text);
    slc_buffer_fini(&found);
    slc_buffer_fini(&failed);
    slc_ctl_reply_fini(&reply);
    return rc;
}

/* ---- does it run ---- */

/** What is so of a broker that answers at all. */
static int answers(slc_ctl *ctl, const char *banner, const char *text_format)
{
    slc_ctl_reply reply;
    slc_buffer text = {0};
    int rc = state_get(ctl, &reply);
    if (rc != CTL_OK)
        return rc;
    const char *node = slc_ctl_text_of(reply.body, "node");
    slc_ctl_banner(ctl, banner, node);
    // Each has one %s.
    const char *place = strstr(text_format, "%s");
    slc_buffer_put(&text, text_format,
                   place != NULL ? (size_t)(place - text_format) : strlen(text_format));
    if (place != NULL) {
        slc_buffer_text(&text, node);
        slc_buffer_text(&text, place + 2);
    }
    rc = verdict(ctl, true, &text);
    slc_ctl_reply_fini(&reply);
    return rc;
}

int slc_ctl_check_running(slc_ctl *ctl)
{
    return answers(ctl, "Checking if RabbitMQ is running on node %s ...",
                   "RabbitMQ on node %s is fully booted and running");
}

int slc_ctl_is_running(slc_ctl *ctl)
{
    return answers(ctl, "Asking node %s for its status ...",
                   "RabbitMQ on node %s is fully booted and running");
}

int slc_ctl_is_booting(slc_ctl *ctl)
{
    // The socket that answers is there before the listeners are.
    slc_ctl_reply ready;
    int rc = slc_ctl_request_quietly(ctl, "GET", "/api/sluice/ready", &ready);
    bool booting = rc == CTL_OK && ready.status != 200;
    if (rc == CTL_OK)
        slc_ctl_reply_fini(&ready);
    return answers(ctl, "Asking node %s for its boot status ...",
                   booting ? "RabbitMQ on node %s is booting"
                           : "RabbitMQ on node %s is fully booted (check with is_running), stopped "
                             "or has not started booting yet");
}

int slc_ctl_check_virtual_hosts(slc_ctl *ctl)
{
    return answers(ctl, "Checking if all vhosts are running on node %s ...",
                   "Node %s reported all vhosts as running");
}

int slc_ctl_node_health_check(slc_ctl *ctl)
{
    if (ctl->alias)
        slc_ctl_banner(ctl, "This command is DEPRECATED and will be removed in a future version.\n"
                            "It performs intrusive, opinionated health checks and requires a fully "
                            "booted node.\n"
                            "Use one of the options covered in "
                            "https://www.rabbitmq.com/monitoring.html#health-checks instead.\n"
                            "Timeout: 70 seconds ...");
    return alarms_run(ctl, "Checking health of node %s ...", NULL, true);
}

/* ---- figures ---- */

int slc_ctl_memory_breakdown(slc_ctl *ctl)
{
    static const struct {
        const char *name;
        double bytes;
    } units[] = {{"gb", 1e9}, {"gib", 1 << 30}, {"mb", 1e6}, {"mib", 1 << 20},
                 {"kb", 1e3}, {"kib", 1 << 10}, {"bytes", 1}};
    const char *unit = ctl->unit != NULL ? ctl->unit : "gb";
    size_t u = 0;
    while (u < SLC_ARRAY_COUNT(units) && strcmp(units[u].name, unit) != 0)
        u++;
    if (u == SLC_ARRAY_COUNT(units))
        return slc_ctl_error(CTL_DATA,
                             "unit '%s' is not supported. Please use one of: bytes, mb, mib, gb, "
                             "gib, kb, kib",
                             unit);
    slc_ctl_reply reply;
    int rc = state_get(ctl, &reply);
    if (rc != CTL_OK)
        return rc;
    slc_ctl_banner(ctl, "Reporting memory breakdown on node %s...",
                   slc_ctl_text_of(reply.body, "node"));
    const json_t *memory = json_object_get(reply.body, "memory");
    double used = (double)json_integer_value(json_object_get(memory, "used"));
    double messages = (double)json_integer_value(json_object_get(memory, "messages"));
    double rss =
        (double)json_integer_value(json_object_get(json_object_get(memory, "total"), "rss"));
    // Messages count their content; the rest of what the process allocated; pages of files that the system may take back.
    const struct {
        const char *name;
        double bytes;
    } parts[] = {{"messages", messages < used ? messages : used},
                 {"other_proc", messages < used ? used - messages : 0},
                 {"mapped_files", rss > used ? rss - used : 0}};
    double total = rss > used ? rss : used;
    json_t *out = json_object();
    for (size_t i = 0; i < SLC_ARRAY_COUNT(parts); i++) {
        double percent = total > 0 ? parts[i].bytes * 100 / total : 0;
        json_object_set_new(out, parts[i].name,
                            json_pack("{s:I,s:f}", "bytes", (json_int_t)parts[i].bytes,
                                      "percentage", (double)(long)(percent * 100 + 0.5) / 100));
        if (!slc_ctl_wants_json(ctl) && strcmp(unit, "bytes") == 0)
            printf("%s: %.0f bytes (%.2f%%)\n", parts[i].name, parts[i].bytes, percent);
        else if (!slc_ctl_wants_json(ctl))
            printf("%s: %.4f %s (%.2f%%)\n", parts[i].name, parts[i].bytes / units[u].bytes, unit,
                   percent);
    }
    if (slc_ctl_wants_json(ctl)) {
        slc_ctl_print_json(out);
    }
    json_decref(out);
    slc_ctl_reply_fini(&reply);
    return CTL_OK;
}

int slc_ctl_product_info(slc_ctl *ctl)
{
    slc_ctl_reply reply;
    int rc = state_get(ctl, &reply);
    if (rc != CTL_OK)
        return rc;
    slc_ctl_banner(ctl, "Product information ...");
    const char *name = slc_ctl_text_of(reply.body, "product_name");
    const char *version = slc_ctl_text_of(reply.body, "product_version");
    if (slc_ctl_wants_json(ctl)) {
        json_t *out =
            json_pack("{s:s,s:s,s:s}", "product_name", name, "product_version", version,
                      "rabbitmq_version", slc_ctl_text_of(reply.body, "rabbitmq_version"));
        slc_ctl_print_json(out);
        json_decref(out);
    } else {
        printf("%s version: %s\n", name, version);
    }
    slc_ctl_reply_fini(&reply);
    return CTL_OK;
}

int slc_ctl_tls_versions(slc_ctl *ctl)
{
    slc_ctl_banner(ctl, "Listing all TLS versions supported by the runtime...");
    if (slc_ctl_wants_json(ctl))
        printf("[\"tlsv1.3\",\"tlsv1.2\"]\n");
    else
        printf("tlsv1.3\ntlsv1.2\n");
    return CTL_OK;
}
