// set_policy, clear_policy, list_policies and the same for operator policies.
#include <stdlib.h>
#include <string.h>

#include "ctl.h"

static const slc_ctl_column columns[] = {
    {.name = "vhost", .text = "virtual host"},
    {.name = "name", .text = "name of the policy"},
    {.name = "pattern", .text = "regular expression that is looked for in names"},
    {.name = "apply-to", .text = "kind of objects"},
    {.name = "definition", .json = true, .text = "settings, as JSON"},
    {.name = "priority", .text = "the highest applies"},
    {0},
};

#define ALL_COLUMNS "vhost,name,pattern,apply-to,definition,priority"

const slc_ctl_list slc_ctl_policies = {
    .banner = "Listing policies for vhost \"%s\" ...",
    .path = "/api/policies",
    .by_vhost = true,
    .defaults = ALL_COLUMNS,
    .columns = columns,
};

const slc_ctl_list slc_ctl_operator_policies = {
    .banner = "Listing operator policy overrides for vhost \"%s\" ...",
    .path = "/api/operator-policies",
    .by_vhost = true,
    .defaults = ALL_COLUMNS,
    .columns = columns,
};

static bool is_operator(const slc_ctl *ctl)
{
    return strstr(ctl->command->name, "operator") != NULL;
}

static char *policy_path(const slc_ctl *ctl)
{
    return slc_ctl_path(is_operator(ctl) ? "/api/operator-policies/%s/%s" : "/api/policies/%s/%s",
                        ctl->vhost, ctl->args[0]);
}

json_t *slc_ctl_json_argument(const char *text)
{
    json_error_t where;
    json_t *value = json_loads(text, JSON_DECODE_ANY, &where);
    if (value == NULL)
        slc_ctl_error(CTL_UNAVAILABLE, "JSON decoding error. Reason: %s at column %d of %s",
                      where.text, where.column, text);
    return value;
}

int slc_ctl_change(slc_ctl *ctl, char *path, json_t *body)
{
    slc_ctl_reply reply;
    int rc;
    if (body != NULL) {
        char *text = json_dumps(body, JSON_COMPACT | JSON_ENCODE_ANY);
        SLC_ASSERT(text != NULL);
        rc = slc_ctl_send(ctl, "PUT", path, text, strlen(text), &reply);
        free(text); // NOLINT: jansson's own allocation
        json_decref(body);
    } else {
        rc = slc_ctl_request(ctl, "DELETE", path, NULL, &reply);
    }
    slc_free(path);
    if (rc != CTL_OK || ctl->dry_run)
        return rc;
    const char *reason = json_string_value(json_object_get(reply.body, "reason"));
    bool no_vhost = reason != NULL && strcmp(reason, "vhost_not_found") == 0;
    if (reply.status == 404 && no_vhost)
        rc = slc_ctl_error(CTL_DATA, "Virtual host '%s' does not exist", ctl->vhost);
    else if (reply.status == 404)
        rc = slc_ctl_error(CTL_UNAVAILABLE, "Parameter does not exist");
    else if (reply.status / 100 != 2)
        rc = slc_ctl_reply_error(&reply, CTL_UNAVAILABLE);
    slc_ctl_reply_fini(&reply);
    return rc;
}

int slc_ctl_policy_set(slc_ctl *ctl)
{
    const char *priority = ctl->priority != NULL ? ctl->priority : "0";
    slc_ctl_banner(
        ctl,
        "Setting %s \"%s\" for pattern \"%s\" to \"%s\" with priority \"%s\" for vhost \"%s\" ...",
        is_operator(ctl) ? "operator policy override" : "policy", ctl->args[0], ctl->args[1],
        ctl->args[2], priority, ctl->vhost);
    json_t *definition = slc_ctl_json_argument(ctl->args[2]);
    if (definition == NULL)
        return CTL_UNAVAILABLE;
    json_t *pattern = json_string(ctl->args[1]);
    if (pattern == NULL) {
        json_decref(definition);
        return slc_ctl_error(CTL_DATA, "the pattern is not UTF-8");
    }
    json_t *body = json_object();
    json_object_set_new(body, "pattern", pattern);
    json_object_set_new(body, "definition", definition);
    json_object_set_new(body, "priority", json_integer(strtoll(priority, NULL, 10)));
    json_object_set_new(body, "apply-to",
                        json_string(ctl->apply_to != NULL ? ctl->apply_to : "all"));
    return slc_ctl_change(ctl, policy_path(ctl), body);
}

int slc_ctl_policies_matching(slc_ctl *ctl)
{
    slc_ctl_banner(ctl, "Listing policies that match the queue \"%s\" in vhost \"%s\" ...",
                   ctl->args[0], ctl->vhost);
    return slc_ctl_columns_of(ctl,
                              slc_ctl_path("/api/sluice/policies/%s/%s", ctl->vhost, ctl->args[0]),
                              columns, ALL_COLUMNS, CTL_DATA);
}

int slc_ctl_policy_clear(slc_ctl *ctl)
{
    slc_ctl_banner(ctl, "Clearing %s \"%s\" on vhost \"%s\" ...",
                   is_operator(ctl) ? "operator policy" : "policy", ctl->args[0], ctl->vhost);
    return slc_ctl_change(ctl, policy_path(ctl), NULL);
}
