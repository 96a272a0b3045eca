// Vhosts and their limits.
#include "ctl.h"

static json_t *metadata_of(const slc_ctl *ctl)
{
    return json_pack("{s:s*,s:s*,s:s*}", "description", ctl->description, "tags", ctl->tags,
                     "default_queue_type", ctl->default_queue_type);
}

static int vhost_put(slc_ctl *ctl)
{
    return slc_ctl_apply(ctl, "PUT", slc_ctl_path("/api/vhosts/%s", ctl->args[0]), metadata_of(ctl),
                         CTL_DATA);
}

int slc_ctl_add_vhost(slc_ctl *ctl)
{
    slc_ctl_banner(ctl, "Adding vhost \"%s\" ...", ctl->args[0]);
    return vhost_put(ctl);
}

static int vhost_there(slc_ctl *ctl, bool *there)
{
    slc_ctl_reply reply;
    char *path = slc_ctl_path("/api/vhosts/%s", ctl->args[0]);
    bool dry_run = ctl->dry_run;
    ctl->dry_run = false; // it changes nothing
    int rc = slc_ctl_request(ctl, "GET", path, NULL, &reply);
    ctl->dry_run = dry_run;
    slc_free(path);
    if (rc != CTL_OK)
        return rc;
    *there = reply.status == 200;
    slc_ctl_reply_fini(&reply);
    return CTL_OK;
}

int slc_ctl_update_vhost_metadata(slc_ctl *ctl)
{
    bool there;
    int rc = vhost_there(ctl, &there);
    if (rc != CTL_OK)
        return rc;
    if (!there)
        return slc_ctl_error(CTL_DATA, "Virtual host '%s' does not exist", ctl->args[0]);
    slc_ctl_banner(ctl, "Updating metadata of vhost \"%s\" ...", ctl->args[0]);
    return vhost_put(ctl);
}

int slc_ctl_delete_vhost(slc_ctl *ctl)
{
    slc_ctl_banner(ctl, "Deleting vhost \"%s\" ...", ctl->args[0]);
    return slc_ctl_apply(ctl, "DELETE", slc_ctl_path("/api/vhosts/%s", ctl->args[0]), NULL,
                         CTL_DATA);
}

int slc_ctl_set_vhost_tags(slc_ctl *ctl)
{
    json_t *tags = slc_ctl_tags(ctl, "virtual host");
    bool there;
    int rc = vhost_there(ctl, &there);
    if (rc == CTL_OK && !there)
        rc = slc_ctl_error(CTL_DATA, "Virtual host \"%s\" does not exist", ctl->args[0]);
    if (rc != CTL_OK) {
        json_decref(tags);
        return rc;
    }
    return slc_ctl_apply(ctl, "PUT", slc_ctl_path("/api/vhosts/%s", ctl->args[0]),
                         json_pack("{s:o}", "tags", tags), CTL_DATA);
}

int slc_ctl_set_vhost_limits(slc_ctl *ctl)
{
    slc_ctl_banner(ctl, "Setting vhost limits to \"%s\" for vhost \"%s\" ...", ctl->args[0],
                   ctl->vhost);
    return slc_ctl_limits_set(ctl, ctl->args[0], "/api/vhost-limits/%s/%s", ctl->vhost,
                              "max-queues", "vhost", CTL_DATA);
}

int slc_ctl_clear_vhost_limits(slc_ctl *ctl)
{
    slc_ctl_banner(ctl, "Clearing vhost \"%s\" limits ...", ctl->vhost);
    int rc = slc_ctl_apply(ctl, "DELETE",
                           slc_ctl_path("/api/vhost-limits/%s/max-connections", ctl->vhost), NULL,
                           CTL_DATA);
    if (rc == CTL_OK)
        rc = slc_ctl_apply(ctl, "DELETE",
                           slc_ctl_path("/api/vhost-limits/%s/max-queues", ctl->vhost), NULL,
                           CTL_DATA);
    return rc;
}

int slc_ctl_list_vhost_limits(slc_ctl *ctl)
{
    static const char *const columns[] = {"vhost", "limits"}, *const keys[] = {"vhost", "value"};
    if (!ctl->global) {
        slc_ctl_banner(ctl, "Listing limits for vhost \"%s\" ...", ctl->vhost);
        return slc_ctl_limits_line(ctl, slc_ctl_path("/api/vhost-limits/%s", ctl->vhost), "");
    }
    slc_ctl_banner(ctl, "Listing limits for all vhosts ...");
    return slc_ctl_rows(ctl, slc_strdup("/api/vhost-limits"), columns, keys, 2);
}

// A vhost that is there runs: nothing is to be restarted.
int slc_ctl_restart_vhost(slc_ctl *ctl)
{
    slc_ctl_reply reply;
    int rc;
    char *node = slc_ctl_node_name(ctl, &rc);
    if (node == NULL)
        return rc;
    slc_ctl_banner(ctl, "Trying to restart vhost '%s' on node '%s' ...", ctl->vhost, node);
    char *path = slc_ctl_path("/api/vhosts/%s/start/%s", ctl->vhost, node);
    rc = slc_ctl_request(ctl, "POST", path, NULL, &reply);
    slc_free(path);
    if (rc == CTL_OK && !ctl->dry_run) {
        if (reply.status / 100 == 2)
            printf("Vhost '%s' is already running on node '%s'\n", ctl->vhost, node);
        else if (reply.status == 404)
            rc = slc_ctl_error(CTL_SOFTWARE,
                               "Failed to start vhost '%s' on node '%s': there is no such vhost",
                               ctl->vhost, node);
        else
            rc = slc_ctl_reply_error(&reply, CTL_SOFTWARE);
        slc_ctl_reply_fini(&reply);
    }
    slc_free(node);
    return rc;
}
