// The process and its machine: command line, environment, directories, threads, ciphers, network; suspend_listeners and
// resume_listeners.
#include <inttypes.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "ctl.h"

enum { SAMPLE_S = 5, SAMPLE_S_MAX = 3600 };

/** GET path behind a banner with the node's name. */
static int get_said(slc_ctl *ctl, const char *banner, const char *path, slc_ctl_reply *reply)
{
    int rc = CTL_OK;
    char *node = slc_ctl_node_name(ctl, &rc);
    if (node == NULL)
        return rc;
    slc_ctl_banner(ctl, banner, node);
    slc_free(node);
    return slc_ctl_get(ctl, path, reply);
}

int slc_ctl_listeners_change(slc_ctl *ctl)
{
    bool suspend = strcmp(ctl->command->name, "suspend_listeners") == 0;
    int rc = CTL_OK;
    char *node = slc_ctl_node_name(ctl, &rc);
    if (node == NULL)
        return rc;
    slc_ctl_banner(ctl,
                   suspend ? "Will suspend client connection listeners on node %s. The node will "
                             "no longer accept client connections!"
                           : "Will resume client connection listeners on node %s. The node will "
                             "now accept client connections",
                   node);
    slc_free(node);
    return slc_ctl_apply(
        ctl, "POST",
        slc_strdup(suspend ? "/api/sluice/listeners/suspend" : "/api/sluice/listeners/resume"),
        NULL, CTL_DATA);
}

/* ---- the process ---- */

int slc_ctl_arguments(slc_ctl *ctl)
{
    slc_ctl_reply reply;
    size_t i;
    json_t *word;
    int rc = get_said(ctl, "Command line arguments of node %s ...", "/api/sluice/process", &reply);
    if (rc != CTL_OK)
        return rc;
    const json_t *words = json_object_get(reply.body, "arguments");
    if (slc_ctl_wants_json(ctl))
        slc_ctl_print_json(words);
    else
        json_array_foreach(words, i, word) printf("%s\n", json_string_value(word));
    slc_ctl_reply_fini(&reply);
    return CTL_OK;
}

int slc_ctl_os_env(slc_ctl *ctl)
{
    slc_ctl_reply reply;
    size_t i;
    json_t *variable;
    int rc = get_said(ctl, "Listing environment variables that configure node %s...",
                      "/api/sluice/process", &reply);
    if (rc != CTL_OK)
        return rc;
    const json_t *variables = json_object_get(reply.body, "environment");
    if (slc_ctl_wants_json(ctl))
        slc_ctl_print_json(variables);
    else
        json_array_foreach(variables, i, variable) printf(
            "%s=%s\n", slc_ctl_text_of(variable, "name"), slc_ctl_text_of(variable, "value"));
    slc_ctl_reply_fini(&reply);
    return CTL_OK;
}

static void places_print(const char *what, const json_t *places)
{
    size_t i;
    json_t *place;
    json_array_foreach(places, i, place) printf("%s: %s\n", what, json_string_value(place));
}

int slc_ctl_directories(slc_ctl *ctl)
{
    slc_ctl_reply reply;
    size_t i;
    json_t *listener;
    int rc = get_said(ctl, "Listing directories and files used by node %s", "/api/sluice/status",
                      &reply);
    if (rc != CTL_OK)
        return rc;
    printf("Data directory: %s\n", slc_ctl_text_of(reply.body, "data_directory"));
    places_print("Config file", json_object_get(reply.body, "config_files"));
    places_print("Log file", json_object_get(reply.body, "log_files"));
    json_array_foreach(json_object_get(reply.body, "listeners"), i, listener)
    {
        if (slc_ctl_number_of(listener, "port") == 0)
            printf("Admin socket: %s\n", slc_ctl_text_of(listener, "ip_address"));
    }
    slc_ctl_reply_fini(&reply);
    return CTL_OK;
}

/* ---- threads ---- */

static const json_t *thread_find(const json_t *threads, uint64_t id)
{
    size_t i;
    json_t *thread;
    json_array_foreach(threads, i, thread)
    {
        if (slc_ctl_number_of(thread, "id") == id)
            return thread;
    }
    return NULL;
}

// Hundredths of a percent of the time between the two samples.
static uint64_t share_of(const json_t *before, const json_t *after, const char *key, uint64_t ms)
{
    uint64_t from = before != NULL ? slc_ctl_number_of(before, key) : 0;
    uint64_t to = slc_ctl_number_of(after, key);
    uint64_t share = to > from ? (to - from) * 10000 / ms : 0;
    return share < 10000 ? share : 10000; // the system counts in ticks
}

static void threads_print(const slc_ctl *ctl, const json_t *before, const json_t *after,
                          uint64_t ms)
{
    static const char *const columns[] = {"thread", "id", "user", "system", "sleep"};
    slc_ctl_output out;
    size_t i;
    json_t *thread;
    slc_ctl_output_begin(&out, ctl, stdout, columns, SLC_ARRAY_COUNT(columns));
    json_array_foreach(after, i, thread)
    {
        char texts[4][32];
        uint64_t id = slc_ctl_number_of(thread, "id");
        const json_t *earlier = thread_find(before, id);
        uint64_t user = share_of(earlier, thread, "user_ms", ms);
        uint64_t system = share_of(earlier, thread, "system_ms", ms);
        uint64_t sleep = user + system < 10000 ? 10000 - user - system : 0;
        const uint64_t shares[] = {user, system, sleep};
        slc_ctl_cell cells[5] = {
            {.kind = CELL_TEXT, .text = slc_slice_str(slc_ctl_text_of(thread, "name"))}};
        snprintf(texts[0], sizeof texts[0], "%" PRIu64, id);
        for (size_t k = 0; k < SLC_ARRAY_COUNT(shares); k++)
            snprintf(texts[k + 1], sizeof texts[k + 1], "%" PRIu64 ".%02" PRIu64, shares[k] / 100,
                     shares[k] % 100);
        for (size_t k = 0; k < 4; k++)
            cells[k + 1] = (slc_ctl_cell){.kind = CELL_NUMBER, .text = slc_slice_str(texts[k])};
        slc_ctl_output_row(&out, cells);
    }
    slc_ctl_output_end(&out);
}

static uint64_t clock_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

int slc_ctl_thread_stats(slc_ctl *ctl)
{
    slc_ctl_reply before, after;
    uint64_t seconds = ctl->sample_s > 0 ? ctl->sample_s : SAMPLE_S;
    if (seconds > SAMPLE_S_MAX)
        return slc_ctl_error(CTL_DATA, "--sample-interval is at most %d", SAMPLE_S_MAX);
    int rc = CTL_OK;
    char *node = slc_ctl_node_name(ctl, &rc);
    if (node == NULL)
        return rc;
    slc_ctl_banner(ctl, "Will collect thread stats on %s for %" PRIu64 " seconds...", node,
                   seconds);
    slc_free(node);
    rc = slc_ctl_get(ctl, "/api/sluice/threads", &before);
    if (rc != CTL_OK)
        return rc;
    uint64_t begin_ms = clock_ms();
    nanosleep(&(struct timespec){.tv_sec = (time_t)seconds}, NULL);
    rc = slc_ctl_get(ctl, "/api/sluice/threads", &after);
    if (rc == CTL_OK) {
        uint64_t ms = clock_ms() - begin_ms;
        threads_print(ctl, before.body, after.body, ms > 0 ? ms : 1);
        slc_ctl_reply_fini(&after);
    }
    slc_ctl_reply_fini(&before);
    return rc;
}

/* ---- network and ciphers ---- */

int slc_ctl_cipher_suites(slc_ctl *ctl)
{
    slc_ctl_reply reply;
    size_t i;
    json_t *cipher;
    const char *format = ctl->format_of != NULL ? ctl->format_of : "openssl";
    if (strcmp(format, "openssl") != 0 && strcmp(format, "iana") != 0)
        return slc_ctl_error(CTL_DATA, "Bad argument: Format should be either openssl or iana");
    slc_ctl_banner(ctl, "Listing available cipher suites in %s format",
                   format[0] == 'o' ? "OpenSSL" : "IANA");
    int rc = slc_ctl_get(ctl, "/api/sluice/cipher-suites", &reply);
    if (rc != CTL_OK)
        return rc;
    json_t *names = json_array();
    json_array_foreach(reply.body, i, cipher)
        json_array_append(names, json_object_get(cipher, format));
    if (slc_ctl_wants_json(ctl))
        slc_ctl_print_json(names);
    else
        json_array_foreach(names, i, cipher) printf("%s\n", json_string_value(cipher));
    json_decref(names);
    slc_ctl_reply_fini(&reply);
    return CTL_OK;
}

static void interface_print(const slc_ctl *ctl, const json_t *interface)
{
    static const char *const keys[] = {"netmask", "broadaddr", "addr"};
    char title[64];
    size_t i;
    json_t *address;
    snprintf(title, sizeof title, "Interface %s", slc_ctl_text_of(interface, "name"));
    slc_ctl_heading(ctl, title);
    if (slc_ctl_text_of(interface, "hwaddr")[0] != '\0')
        printf("hwaddr: %s\n", slc_ctl_text_of(interface, "hwaddr"));
    json_array_foreach(json_object_get(interface, "addresses"), i, address)
    {
        for (size_t k = 0; k < SLC_ARRAY_COUNT(keys); k++) {
            const char *text = slc_ctl_text_of(address, keys[k]);
            if (text[0] != '\0')
                printf("%s: %s\n", keys[k], text);
        }
    }
    printf("flags: %s\n", slc_ctl_text_of(interface, "flags"));
}

int slc_ctl_interfaces(slc_ctl *ctl)
{
    slc_ctl_reply reply;
    size_t i;
    json_t *interface;
    int rc = get_said(ctl, "Asking node %s to report its network interfaces ...",
                      "/api/sluice/interfaces", &reply);
    if (rc != CTL_OK)
        return rc;
    if (slc_ctl_wants_json(ctl))
        slc_ctl_print_json(reply.body);
    else
        json_array_foreach(reply.body, i, interface) interface_print(ctl, interface);
    slc_ctl_reply_fini(&reply);
    return CTL_OK;
}

int slc_ctl_resolve(slc_ctl *ctl)
{
    slc_ctl_reply reply;
    size_t i;
    json_t *address;
    const char *family = ctl->family != NULL ? ctl->family : "ipv4";
    if (strcmp(family, "ipv4") != 0 && strcmp(family, "ipv6") != 0)
        return slc_ctl_error(CTL_DATA,
                             "Bad argument: unsupported IP address family %s. Valid values are: "
                             "ipv4, ipv6",
                             family);
    int rc = CTL_OK;
    char *node = slc_ctl_node_name(ctl, &rc);
    if (node == NULL)
        return rc;
    slc_ctl_banner(ctl, "Asking node %s to resolve hostname %s to %s addresses...", node,
                   ctl->args[0], ctl->family != NULL ? family : "IPv4");
    slc_free(node);
    char *path = slc_ctl_path("/api/sluice/resolve/%s?family=%s", ctl->args[0], family);
    rc = slc_ctl_request(ctl, "GET", path, NULL, &reply);
    slc_free(path);
    if (rc != CTL_OK)
        return rc;
    if (reply.status != 200)
        rc = slc_ctl_reply_error(&reply, CTL_DATA);
    else if (slc_ctl_wants_json(ctl))
        slc_ctl_print_json(reply.body);
    else
        json_array_foreach(reply.body, i, address) printf("%s\n", json_string_value(address));
    slc_ctl_reply_fini(&reply);
    return rc;
}
