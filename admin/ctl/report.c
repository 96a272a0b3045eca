// report: what other commands display, one after the other, for somebody who was not there. No messages, and no secrets: the broker
// masks those of its configuration; passwords in addresses and in values of parameters are masked here, whoever shows them.
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/alloc.h"
#include "ctl.h"

enum { ARGUMENTS_MAX = 16, LOG_LINES = 200 };

#define MASK "********"

/* ---- no secrets ---- */

// amqp://user:PASSWORD@host
static size_t password_in_address(const char *text, size_t *begin)
{
    if (strncmp(text, "://", 3) != 0)
        return 0;
    size_t bytes = strcspn(text + 3, "/?# \t\n\"'<>");
    const char *colon = memchr(text + 3, ':', bytes), *at = memrchr(text + 3, '@', bytes);
    if (colon == NULL || at == NULL || colon > at)
        return 0;
    *begin = (size_t)(colon + 1 - text);
    return (size_t)(at - colon - 1);
}

// "...password": "VALUE", also where a table has put another backslash before each quote inside.
static size_t value_of_secret(const char *text, size_t *begin)
{
    static const char *const words[] = {"password", "passphrase", "secret", "token"};
    bool secret = false;
    if (text[0] != '"')
        return 0;
    size_t key =
        strspn(text + 1, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.");
    for (size_t i = 0; i < SLC_ARRAY_COUNT(words); i++) {
        const char *found = strcasestr(text + 1, words[i]);
        secret |= found != NULL && found + strlen(words[i]) <= text + 1 + key;
    }
    const char *at = text + 1 + key;
    if (!secret || *at != '"')
        return 0;
    at++;
    at += strspn(at, " ");
    if (*at != ':')
        return 0;
    at++;
    at += strspn(at, " ");
    if (*at != '"')
        return 0;
    const char *end = ++at;
    while (*end != '\0' && *end != '\n' && (*end != '"' || end[-1] == '\\'))
        end++;
    *begin = (size_t)(at - text);
    return (size_t)(end - at);
}

static void print_masked(const char *text, FILE *out)
{
    while (*text != '\0') {
        size_t begin = 0, bytes = password_in_address(text, &begin);
        if (bytes == 0)
            bytes = value_of_secret(text, &begin);
        if (bytes == 0) {
            fputc(*text++, out);
            continue;
        }
        fwrite(text, 1, begin, out);
        fputs(MASK, out);
        text += begin + bytes;
    }
}

/* ---- sections ---- */

typedef struct report {
    slc_ctl *ctl;
    FILE *out; // where it goes
    int rc;    // of the first section that failed
} report;

/** What run prints on standard output, masked. */
static void captured(report *r, int (*run)(slc_ctl *ctl), slc_ctl *ctl)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *memory = open_memstream(&text, &bytes);
    if (memory == NULL) {
        r->rc = r->rc == CTL_OK ? CTL_SOFTWARE : r->rc;
        return;
    }
    stdout = memory;
    int rc = run(ctl);
    stdout = r->out;
    fclose(memory);
    print_masked(text, r->out);
    free(text); // NOLINT: of open_memstream
    if (r->rc == CTL_OK)
        r->rc = rc;
}

/** A command with its arguments, separated by blanks. */
static void section(report *r, const char *title, const char *name, const char *arguments)
{
    slc_ctl ctl = *r->ctl;
    char words[512], *rest = words, *word;
    char *args[ARGUMENTS_MAX + 1] = {0};
    ctl.command = slc_ctl_command_find(name);
    SLC_ASSERT(ctl.command != NULL);
    ctl.quiet = true;
    ctl.tty = false;
    ctl.args = args;
    ctl.arg_count = 0;
    ctl.number = LOG_LINES;
    snprintf(words, sizeof words, "%s", arguments);
    while ((word = strsep(&rest, " ")) != NULL && ctl.arg_count < ARGUMENTS_MAX) {
        if (word[0] != '\0')
            args[ctl.arg_count++] = word;
    }
    slc_ctl_heading(&ctl, title);
    captured(r, ctl.command->run, &ctl);
}

static void section_of_vhost(report *r, const char *what, const char *name, const char *arguments)
{
    char title[600];
    snprintf(title, sizeof title, "%s of virtual host %s", what, r->ctl->vhost);
    section(r, title, name, arguments);
}

static void vhost_print(report *r)
{
    section_of_vhost(r, "Queues", "list_queues",
                     "name type durable auto_delete exclusive arguments policy messages_ready "
                     "messages_unacknowledged consumers memory state");
    section_of_vhost(r, "Exchanges", "list_exchanges",
                     "name type durable auto_delete internal arguments policy");
    section_of_vhost(r, "Bindings", "list_bindings", "");
    section_of_vhost(r, "Consumers", "list_consumers", "");
    section_of_vhost(r, "Permissions", "list_permissions", "");
    section_of_vhost(r, "Topic permissions", "list_topic_permissions", "");
    section_of_vhost(r, "Policies", "list_policies", "");
    section_of_vhost(r, "Operator policies", "list_operator_policies", "");
    section_of_vhost(r, "Runtime parameters", "list_parameters", "");
    section_of_vhost(r, "Limits", "list_vhost_limits", "");
}

static void vhosts_print(report *r)
{
    slc_ctl_reply reply;
    size_t i;
    json_t *vhost;
    int rc = slc_ctl_get(r->ctl, "/api/vhosts", &reply);
    if (rc != CTL_OK) {
        r->rc = r->rc == CTL_OK ? rc : r->rc;
        return;
    }
    const char *given = r->ctl->vhost;
    json_array_foreach(reply.body, i, vhost)
    {
        r->ctl->vhost = slc_ctl_text_of(vhost, "name");
        vhost_print(r);
    }
    r->ctl->vhost = given;
    slc_ctl_reply_fini(&reply);
}

/* ---- the system: the broker is on this machine, since its socket is ---- */

static void file_print(const char *path)
{
    char line[256];
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return;
    if (fgets(line, sizeof line, file) != NULL)
        printf("%s: %s%s", path, line, strchr(line, '\n') != NULL ? "" : "\n");
    fclose(file);
}

static int system_print(slc_ctl *ctl)
{
    static const char *const files[] = {
        "/proc/version",
        "/proc/loadavg",
        "/proc/sys/fs/file-max",
        "/proc/sys/net/core/somaxconn",
        "/proc/sys/net/ipv4/ip_local_port_range",
        "/proc/sys/vm/max_map_count",
        "/proc/sys/vm/overcommit_memory",
        "/proc/sys/vm/swappiness",
        "/sys/kernel/mm/transparent_hugepage/enabled",
        "/sys/fs/cgroup/memory.max",
    };
    struct utsname system;
    char line[256];
    (void)ctl;
    if (uname(&system) == 0)
        printf("%s %s %s\n", system.sysname, system.release, system.machine);
    printf("Processors: %ld\n", sysconf(_SC_NPROCESSORS_ONLN));
    FILE *memory = fopen("/proc/meminfo", "re");
    for (int i = 0; memory != NULL && i < 3 && fgets(line, sizeof line, memory) != NULL; i++)
        printf("%s", line);
    if (memory != NULL)
        fclose(memory);
    for (size_t i = 0; i < SLC_ARRAY_COUNT(files); i++)
        file_print(files[i]);
    return CTL_OK;
}

int slc_ctl_report(slc_ctl *ctl)
{
    report r = {.ctl = ctl, .out = stdout};
    int rc = CTL_OK;
    char *node = slc_ctl_node_name(ctl, &rc);
    if (node == NULL)
        return rc;
    slc_ctl_banner(ctl, "Reporting server status of node %s ...", node);
    slc_free(node);
    section(&r, "Status", "status", "");
    section(&r, "Cluster", "cluster_status", "");
    section(&r, "Command line", "command_line_arguments", "");
    section(&r, "Environment variables", "os_env", "");
    section(&r, "Configuration", "environment", "");
    section(&r, "Memory", "memory_breakdown", "");
    section(&r, "Certificates", "certificates", "");
    section(&r, "Network interfaces", "list_network_interfaces", "");
    slc_ctl_heading(ctl, "System");
    captured(&r, system_print, ctl);
    section(&r, "Connections", "list_connections",
            "pid name user vhost state protocol ssl channels recv_oct send_oct");
    section(&r, "Channels", "list_channels",
            "pid name user vhost number consumer_count messages_unacknowledged prefetch_count");
    section(&r, "Users", "list_users", "");
    section(&r, "Virtual hosts", "list_vhosts", "");
    section(&r, "Global runtime parameters", "list_global_parameters", "");
    vhosts_print(&r);
    section(&r, "Log", "log_tail", "");
    return r.rc;
}
