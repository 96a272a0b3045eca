// cluster_status.
#include <inttypes.h>
#include <string.h>

#include "ctl.h"

static void node_print(const slc_ctl *ctl, const char *title, const char *node)
{
    slc_ctl_heading(ctl, title);
    printf("%s\n", node);
}

static const char *interface_of(const json_t *listener, char *out, size_t cap)
{
    const char *ip = slc_ctl_text_of(listener, "ip_address");
    snprintf(out, cap, strchr(ip, ':') != NULL ? "[%s]" : "%s", ip);
    return out;
}

static void text_print(const slc_ctl *ctl, const json_t *state, const char *name,
                       const json_t *features)
{
    const char *node = slc_ctl_text_of(state, "node");
    size_t i;
    json_t *item;
    slc_ctl_heading(ctl, "Basics");
    printf("Cluster name: %s\n", name);
    node_print(ctl, "Disk Nodes", node);
    node_print(ctl, "Running Nodes", node);
    slc_ctl_heading(ctl, "Versions");
    printf("%s: %s %s\n", node, slc_ctl_text_of(state, "product_name"),
           slc_ctl_text_of(state, "product_version"));
    slc_ctl_heading(ctl, "Maintenance status");
    printf("Node: %s, status: %s\n", node,
           json_is_true(json_object_get(state, "is_under_maintenance")) ? "under maintenance"
                                                                        : "not under maintenance");
    slc_ctl_heading(ctl, "Alarms");
    slc_ctl_print_alarms(json_object_get(state, "alarms"));
    slc_ctl_heading(ctl, "Network Partitions");
    printf("(none)\n");
    slc_ctl_heading(ctl, "Listeners");
    json_array_foreach(json_object_get(state, "listeners"), i, item)
    {
        char interface[128];
        if (slc_ctl_number_of(item, "port") != 0)
            printf("Node: %s, interface: %s, port: %" PRIu64 ", protocol: %s, purpose: %s\n", node,
                   interface_of(item, interface, sizeof interface), slc_ctl_number_of(item, "port"),
                   slc_ctl_text_of(item, "protocol"), slc_ctl_text_of(item, "purpose"));
    }
    slc_ctl_heading(ctl, "Feature flags");
    json_array_foreach(features, i, item) printf(
        "Flag: %s, state: %s\n", slc_ctl_text_of(item, "name"), slc_ctl_text_of(item, "state"));
}

static void json_print(const json_t *state, const char *name, json_t *features)
{
    const char *node = slc_ctl_text_of(state, "node");
    json_t *listeners = json_array();
    size_t i;
    json_t *item;
    json_array_foreach(json_object_get(state, "listeners"), i, item)
    {
        char interface[128];
        if (slc_ctl_number_of(item, "port") != 0)
            json_array_append_new(
                listeners, json_pack("{s:s,s:s,s:I,s:s,s:s}", "interface",
                                     interface_of(item, interface, sizeof interface), "node", node,
                                     "port", (json_int_t)slc_ctl_number_of(item, "port"),
                                     "protocol", slc_ctl_text_of(item, "protocol"), "purpose",
                                     slc_ctl_text_of(item, "purpose")));
    }
    json_t *out = json_pack(
        "{s:O,s:s,s:[s],s:O,s:{s:o},s:{s:s},s:{},s:[],s:[s],s:{s:{s:s,s:s,s:s}}}", "alarms",
        json_object_get(state, "alarms"), "cluster_name", name, "disk_nodes", node, "feature_flags",
        features, "listeners", node, listeners, "maintenance_status", node, "not under maintenance",
        "partitions", "ram_nodes", "running_nodes", node, "versions", node, "erlang_version", "0",
        "rabbitmq_name", slc_ctl_text_of(state, "product_name"), "rabbitmq_version",
        slc_ctl_text_of(state, "rabbitmq_version"));
    slc_ctl_print_json(out);
    json_decref(out);
}

int slc_ctl_cluster_status(slc_ctl *ctl)
{
    slc_ctl_reply state, name, features;
    int rc = slc_ctl_get(ctl, "/api/sluice/status", &state);
    if (rc != CTL_OK)
        return rc;
    rc = slc_ctl_get(ctl, "/api/cluster-name", &name);
    if (rc != CTL_OK)
        goto free_state;
    rc = slc_ctl_get(ctl, "/api/feature-flags", &features);
    if (rc != CTL_OK)
        goto free_name;
    if (slc_ctl_wants_json(ctl)) {
        json_print(state.body, slc_ctl_text_of(name.body, "name"), features.body);
    } else {
        slc_ctl_banner(ctl, "Cluster status of node %s ...", slc_ctl_text_of(state.body, "node"));
        text_print(ctl, state.body, slc_ctl_text_of(name.body, "name"), features.body);
    }
    slc_ctl_reply_fini(&features);
free_name:
    slc_ctl_reply_fini(&name);
free_state:
    slc_ctl_reply_fini(&state);
    return rc;
}
