// status, ping, listeners, shutdown, stop, version, server_version, await_startup, wait.
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "ctl.h"

/* ---- status ---- */

void slc_ctl_heading(const slc_ctl *ctl, const char *text)
{
    bool bold = isatty(STDOUT_FILENO) && !ctl->alias;
    printf("\n%s%s%s\n\n", bold ? "\033[1m" : "", text, bold ? "\033[0m" : "");
}

static double gib(uint64_t bytes)
{
    return (double)bytes / 1e9;
}

static void print_texts(const json_t *array)
{
    size_t i;
    json_t *item;
    if (json_array_size(array) == 0)
        printf("(none)\n");
    json_array_foreach(array, i, item) printf(" * %s\n", json_string_value(item));
}

static void print_listeners(const json_t *array)
{
    size_t i;
    json_t *l;
    json_array_foreach(array, i, l)
    {
        const char *ip = slc_ctl_text_of(l, "ip_address");
        bool v6 = strchr(ip, ':') != NULL;
        uint64_t port = slc_ctl_number_of(l, "port");
        printf("Interface: %s%s%s", v6 ? "[" : "", ip, v6 ? "]" : "");
        if (port != 0)
            printf(", port: %" PRIu64, port);
        printf(", protocol: %s, purpose: %s%s\n", slc_ctl_text_of(l, "protocol"),
               slc_ctl_text_of(l, "purpose"),
               json_is_true(json_object_get(l, "suspended")) ? ", suspended" : "");
    }
}

void slc_ctl_print_alarms(const json_t *alarms)
{
    slc_buffer text = {0};
    slc_ctl_alarms_text(alarms, &text);
    if (text.bytes == 0)
        slc_buffer_text(&text, "(none)");
    printf("%.*s\n", SLC_SLICE_FMT(slc_buffer_slice(&text)));
    slc_buffer_fini(&text);
}

static void print_store(const slc_ctl *ctl, const json_t *store)
{
    if (store == NULL)
        return;
    slc_ctl_heading(ctl, "Store");
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)store, key, value)
    {
        if (json_is_string(value))
            printf("%s: %s\n", key, json_string_value(value));
        else
            printf("%s: %" JSON_INTEGER_FORMAT "\n", key, json_integer_value(value));
    }
}

static void print_status(const slc_ctl *ctl, const json_t *s)
{
    slc_ctl_heading(ctl, "Runtime");
    printf("OS PID: %" PRIu64 "\n", slc_ctl_number_of(s, "pid"));
    printf("OS: %s\n", slc_ctl_text_of(s, "os"));
    printf("Uptime (seconds): %" PRIu64 "\n", slc_ctl_number_of(s, "uptime"));
    printf("Is under maintenance?: %s\n",
           json_is_true(json_object_get(s, "is_under_maintenance")) ? "true" : "false");
    printf("%s version: %s\n", slc_ctl_text_of(s, "product_name"),
           slc_ctl_text_of(s, "product_version"));
    printf("RabbitMQ version: %s\n", slc_ctl_text_of(s, "rabbitmq_version"));
    printf("Node name: %s\n", slc_ctl_text_of(s, "node"));

    slc_ctl_heading(ctl, "Data directory");
    printf("Node data directory: %s\n", slc_ctl_text_of(s, "data_directory"));
    slc_ctl_heading(ctl, "Config files");
    print_texts(json_object_get(s, "config_files"));
    slc_ctl_heading(ctl, "Log file(s)");
    print_texts(json_object_get(s, "log_files"));
    slc_ctl_heading(ctl, "Alarms");
    slc_ctl_print_alarms(json_object_get(s, "alarms"));

    const json_t *memory = json_object_get(s, "memory");
    slc_ctl_heading(ctl, "Memory");
    printf("Total memory used: %.4f gb\n", gib(slc_ctl_number_of(memory, "used")));
    printf("Resident: %.4f gb\n", gib(slc_ctl_number_of(json_object_get(memory, "total"), "rss")));
    printf("Messages: %.4f gb\n", gib(slc_ctl_number_of(memory, "messages")));
    if (json_object_get(s, "vm_memory_high_watermark_limit") != NULL)
        printf("Memory high watermark: %.4f gb\n",
               gib(slc_ctl_number_of(s, "vm_memory_high_watermark_limit")));

    const json_t *files = json_object_get(s, "file_descriptors");
    slc_ctl_heading(ctl, "File Descriptors");
    printf("Total: %" PRIu64 ", limit: %" PRIu64 "\n", slc_ctl_number_of(files, "total_used"),
           slc_ctl_number_of(files, "total_limit"));
    printf("Sockets: %" PRIu64 "\n", slc_ctl_number_of(files, "sockets_used"));
    slc_ctl_heading(ctl, "Free Disk Space");
    printf("Low free disk space watermark: %.4f gb\n",
           gib(slc_ctl_number_of(s, "disk_free_limit")));
    printf("Free disk space: %.4f gb\n", gib(slc_ctl_number_of(s, "disk_free")));
    printf("Free inside the store: %.4f gb\n",
           gib(slc_ctl_number_of(json_object_get(s, "store"), "free_bytes")));
    print_store(ctl, json_object_get(s, "store"));

    const json_t *totals = json_object_get(s, "totals");
    slc_ctl_heading(ctl, "Totals");
    printf("Connection count: %" PRIu64 "\n", slc_ctl_number_of(totals, "connection_count"));
    printf("Queue count: %" PRIu64 "\n", slc_ctl_number_of(totals, "queue_count"));
    printf("Virtual host count: %" PRIu64 "\n", slc_ctl_number_of(totals, "virtual_host_count"));
    slc_ctl_heading(ctl, "Listeners");
    print_listeners(json_object_get(s, "listeners"));
}

/** Keys that tools of RabbitMQ look up, where there is nothing here that they could mean. */
static void add_of_rabbitmq(json_t *status)
{
    const json_t *files = json_object_get(status, "file_descriptors");
    json_t *more = json_pack(
        "{s:[],s:s,s:s,s:s,s:i,s:{s:I,s:I},s:s,s:i}", "active_plugins", "enabled_plugin_file", "",
        "erlang_version", "0", "release_series_support_status", "supported", "net_ticktime", 60,
        "processes", "limit", json_integer_value(json_object_get(files, "total_limit")), "used",
        json_integer_value(json_object_get(files, "total_used")),
        "vm_memory_high_watermark_setting", "relative", "run_queue", 0);
    json_object_update_missing(status, more);
    json_decref(more);
}

int slc_ctl_status(slc_ctl *ctl)
{
    slc_ctl_reply reply;
    int rc = slc_ctl_get(ctl, "/api/sluice/status", &reply);
    if (rc != CTL_OK)
        return rc;
    if (slc_ctl_wants_json(ctl)) {
        if (ctl->alias)
            add_of_rabbitmq(reply.body);
        slc_ctl_print_json(reply.body);
    } else {
        slc_ctl_banner(ctl, "Status of node %s ...", slc_ctl_text_of(reply.body, "node"));
        print_status(ctl, reply.body);
    }
    slc_ctl_reply_fini(&reply);
    return CTL_OK;
}

/* ---- small ones ---- */

int slc_ctl_ping(slc_ctl *ctl)
{
    slc_ctl_reply reply;
    int rc = slc_ctl_get(ctl, "/api/version", &reply);
    if (rc != CTL_OK)
        return rc;
    slc_ctl_reply_fini(&reply);
    if (!ctl->quiet)
        printf("Ping succeeded\n");
    return CTL_OK;
}

int slc_ctl_server_version(slc_ctl *ctl)
{
    slc_ctl_reply reply;
    int rc = slc_ctl_get(ctl, "/api/version", &reply);
    if (rc != CTL_OK)
        return rc;
    printf("%s\n", json_is_string(reply.body) ? json_string_value(reply.body) : "");
    slc_ctl_reply_fini(&reply);
    return CTL_OK;
}

int slc_ctl_version(slc_ctl *ctl)
{
    (void)ctl;
    printf("%s\n", SLC_VERSION);
    return CTL_OK;
}

int slc_ctl_listeners(slc_ctl *ctl)
{
    slc_ctl_reply reply;
    int rc = slc_ctl_get(ctl, "/api/sluice/listeners", &reply);
    if (rc != CTL_OK)
        return rc;
    if (slc_ctl_wants_json(ctl)) {
        slc_ctl_print_json(reply.body);
    } else {
        slc_ctl_banner(ctl, "Asking the broker to report its listeners ...");
        print_listeners(reply.body);
    }
    slc_ctl_reply_fini(&reply);
    return CTL_OK;
}

/* ---- names ---- */

char *slc_ctl_node_name(slc_ctl *ctl, int *rc)
{
    slc_ctl_reply reply;
    bool dry_run = ctl->dry_run;
    ctl->dry_run = false; // it changes nothing
    *rc = slc_ctl_get(ctl, "/api/sluice/status", &reply);
    ctl->dry_run = dry_run;
    if (*rc != CTL_OK)
        return NULL;
    char *name = slc_strdup(slc_ctl_text_of(reply.body, "node"));
    slc_ctl_reply_fini(&reply);
    return name;
}

int slc_ctl_set_cluster_name(slc_ctl *ctl)
{
    slc_ctl_banner(ctl, "Setting cluster name to %s ...", ctl->args[0]);
    json_t *body = json_pack("{s:s}", "name", ctl->args[0]);
    if (body == NULL)
        return slc_ctl_error(CTL_DATA, "the name is not UTF-8");
    return slc_ctl_apply(ctl, "PUT", slc_strdup("/api/cluster-name"), body, CTL_DATA);
}

static const slc_ctl_column feature_columns[] = {
    {.name = "name", .text = "name of the feature flag"},
    {.name = "state", .text = "enabled"},
    {.name = "stability", .text = "stable"},
    {.name = "provided_by", .text = "who needs it"},
    {.name = "desc", .text = "what it is for"},
    {.name = "doc_url", .text = "where to read about it"},
    {0},
};

const slc_ctl_list slc_ctl_feature_flags = {
    .banner = "Listing feature flags ...",
    .path = "/api/feature-flags",
    .defaults = "name,state",
    .columns = feature_columns,
};

int slc_ctl_enable_feature_flag(slc_ctl *ctl)
{
    if (strcmp(ctl->args[0], "all") == 0) {
        slc_ctl_banner(ctl, "Enabling all feature flags ...");
        return CTL_OK;
    }
    slc_ctl_banner(ctl, "Enabling feature flag \"%s\" ...", ctl->args[0]);
    return slc_ctl_apply(ctl, "PUT", slc_ctl_path("/api/feature-flags/%s/enable", ctl->args[0]),
                         json_object(), CTL_DATA);
}

/* ---- waiting ---- */

static uint64_t deadline_of(const slc_ctl *ctl)
{
    return ctl->timeout_s < 0 ? UINT64_MAX : slc_clock_now_ns() + (uint64_t)(ctl->timeout_s * 1e9);
}

static int left_ms(uint64_t deadline_ns)
{
    uint64_t now = slc_clock_now_ns();
    if (deadline_ns == UINT64_MAX)
        return -1;
    return now >= deadline_ns ? 0 : (int)((deadline_ns - now) / SLC_NS_PER_MS) + 1;
}

static void pause_short(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 50 * 1000000}, NULL);
}

int slc_ctl_await_startup(slc_ctl *ctl)
{
    uint64_t deadline = deadline_of(ctl);
    for (;;) {
        slc_ctl_reply reply;
        int rc = slc_ctl_request_quietly(ctl, "GET", "/api/sluice/ready", &reply);
        if (rc == CTL_OK) {
            bool ready = reply.status == 200;
            slc_ctl_reply_fini(&reply);
            if (ready)
                return CTL_OK;
        } else if (rc != CTL_UNAVAILABLE) {
            return rc;
        }
        if (left_ms(deadline) == 0)
            return slc_ctl_error(CTL_TEMPFAIL,
                                 "operation await_startup timed out. Timeout value used: %s",
                                 ctl->timeout != NULL ? ctl->timeout : "300");
        pause_short();
    }
}

// The daemon closes its socket before it ends; a script that goes on wants the process gone. A pid descriptor needs no
// rights over the process. Where the pid means nothing here (another container), silence at the socket must do.
static int wait_gone(slc_ctl *ctl, pid_t pid, uint64_t deadline)
{
    int fd = pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
    if (fd >= 0) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        int rc;
        do
            rc = poll(&wait, 1, left_ms(deadline));
        while (rc < 0 && errno == EINTR);
        close(fd);
        return rc > 0 ? CTL_OK : CTL_TEMPFAIL;
    }
    if (pid > 0 && errno == ESRCH)
        return CTL_OK;
    for (;;) {
        slc_ctl_reply reply;
        int rc = slc_ctl_request_quietly(ctl, "GET", "/api/version", &reply);
        if (rc != CTL_OK)
            return CTL_OK;
        slc_ctl_reply_fini(&reply);
        if (left_ms(deadline) == 0)
            return CTL_TEMPFAIL;
        pause_short();
    }
}

// The number in a pid file; 0: none.
static pid_t pidfile_read(const char *path)
{
    long pid = 0;
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return 0;
    if (fscanf(file, "%ld", &pid) != 1 || pid <= 0)
        pid = 0;
    fclose(file);
    return (pid_t)pid;
}

int slc_ctl_shutdown(slc_ctl *ctl)
{
    uint64_t deadline = deadline_of(ctl);
    pid_t named = 0;
    if (ctl->arg_count > 0 && (named = pidfile_read(ctl->args[0])) == 0)
        return slc_ctl_error(CTL_DATA, "%s: no process id can be read from it", ctl->args[0]);
    slc_ctl_reply reply;
    int rc = slc_ctl_request(ctl, "POST", "/api/sluice/shutdown", NULL, &reply);
    if (rc != CTL_OK || ctl->dry_run)
        return rc;
    if (reply.status != 202) {
        rc = slc_ctl_reply_error(&reply, CTL_SOFTWARE);
        slc_ctl_reply_fini(&reply);
        return rc;
    }
    slc_ctl_banner(ctl, "Shutting down the broker (PID %" PRIu64 ") ...",
                   slc_ctl_number_of(reply.body, "pid"));
    rc = wait_gone(ctl, named != 0 ? named : reply.daemon_pid, deadline);
    slc_ctl_reply_fini(&reply);
    if (rc != CTL_OK)
        return slc_ctl_error(rc, "the broker is still stopping; its log says what it waits for");
    return CTL_OK;
}

/* ---- wait ---- */

static int wait_timed_out(const slc_ctl *ctl)
{
    return slc_ctl_error(CTL_TEMPFAIL, "operation wait timed out. Timeout value used: %s",
                         ctl->timeout != NULL ? ctl->timeout : "10");
}

static bool is_ready(slc_ctl *ctl, int *rc)
{
    slc_ctl_reply reply;
    *rc = slc_ctl_request_quietly(ctl, "GET", "/api/sluice/ready", &reply);
    bool ready = *rc == CTL_OK && reply.status == 200;
    if (*rc == CTL_OK)
        slc_ctl_reply_fini(&reply);
    return ready;
}

int slc_ctl_wait(slc_ctl *ctl)
{
    uint64_t deadline = deadline_of(ctl);
    pid_t pid = (pid_t)ctl->pid;
    if (ctl->pid == 0 && ctl->arg_count == 0)
        return slc_ctl_usage_error(ctl, "\"No pid or pidfile specified\"");
    if (ctl->pid != 0 && ctl->arg_count != 0)
        return slc_ctl_usage_error(ctl, "\"Cannot specify both pid and pidfile\"");
    if (pid == 0)
        slc_ctl_banner(ctl, "Waiting for pid file '%s' to appear", ctl->args[0]);
    for (; pid == 0 && (pid = pidfile_read(ctl->args[0])) == 0; pause_short()) {
        if (left_ms(deadline) == 0)
            return wait_timed_out(ctl);
    }
    slc_ctl_banner(ctl, "Waiting for the broker to start while OS process '%d' is running",
                   (int)pid);
    for (;; pause_short()) {
        int rc;
        if (kill(pid, 0) != 0 && errno == ESRCH)
            return slc_ctl_error(CTL_UNAVAILABLE, "process %d is not running", (int)pid);
        if (is_ready(ctl, &rc))
            break;
        if (rc != CTL_OK && rc != CTL_UNAVAILABLE)
            return rc;
        if (left_ms(deadline) == 0)
            return wait_timed_out(ctl);
    }
    slc_ctl_banner(ctl, "The broker is running");
    return CTL_OK;
}
