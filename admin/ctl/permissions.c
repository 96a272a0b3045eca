// Permissions and topic permissions.
#include <stdlib.h>
#include <string.h>

#include "ctl.h"

/** GET says that there is one. */
static int object_there(slc_ctl *ctl, const char *path_format, const char *name, bool *there)
{
    slc_ctl_reply reply;
    char *path = slc_ctl_path(path_format, name);
    int rc = slc_ctl_request(ctl, "GET", path, NULL, &reply);
    slc_free(path);
    if (rc != CTL_OK)
        return rc;
    *there = reply.status != 404;
    slc_ctl_reply_fini(&reply);
    return CTL_OK;
}

/** A change of permissions of the user in the first argument. path and body (NULL: DELETE) are taken. The API's answer does not tell
 *  a user who is not there from a vhost; rabbitmqctl does. */
static int permission_change(slc_ctl *ctl, char *path, json_t *body)
{
    slc_ctl_reply reply;
    char *text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;
    int rc = body != NULL && text == NULL
                 ? slc_ctl_error(CTL_DATA, "a pattern is not UTF-8")
                 : slc_ctl_send(ctl, body != NULL ? "PUT" : "DELETE", path, text,
                                text != NULL ? strlen(text) : 0, &reply);
    free(text); // NOLINT: jansson's own allocation
    json_decref(body);
    slc_free(path);
    if (rc != CTL_OK || ctl->dry_run)
        return rc;
    if (reply.status / 100 != 2) {
        bool user = true, vhost = true;
        rc = object_there(ctl, "/api/users/%s", ctl->args[0], &user);
        if (rc == CTL_OK)
            rc = object_there(ctl, "/api/vhosts/%s", ctl->vhost, &vhost);
        if (rc == CTL_OK && !user)
            rc = slc_ctl_no_user(ctl, ctl->args[0], true);
        else if (rc == CTL_OK && !vhost && !ctl->alias)
            rc = slc_ctl_no_vhost(ctl);
        else if (rc == CTL_OK && !vhost)
            rc = slc_ctl_error(CTL_UNAVAILABLE, "Virtual host %s does not exist", ctl->vhost);
        else if (rc == CTL_OK && reply.status == 404 &&
                 !ctl->alias) // there was none: fine for rabbitmqctl
            rc = slc_ctl_error(CTL_DATA, "user '%s' has no such permission in vhost '%s'",
                               ctl->args[0], ctl->vhost);
        else if (rc == CTL_OK && reply.status != 404)
            rc = slc_ctl_reply_error(&reply, ctl->alias ? CTL_UNAVAILABLE : CTL_DATA);
    }
    slc_ctl_reply_fini(&reply);
    return rc;
}

static int permissions_put(slc_ctl *ctl)
{
    return permission_change(ctl, slc_ctl_path("/api/permissions/%s/%s", ctl->vhost, ctl->args[0]),
                             json_pack("{s:s,s:s,s:s}", "configure", ctl->args[1], "write",
                                       ctl->args[2], "read", ctl->args[3]));
}

int slc_ctl_set_permissions(slc_ctl *ctl)
{
    slc_ctl_banner(ctl, "Setting permissions for user \"%s\" in vhost \"%s\" ...", ctl->args[0],
                   ctl->vhost);
    return permissions_put(ctl);
}

int slc_ctl_set_permissions_globally(slc_ctl *ctl)
{
    slc_ctl_reply vhosts;
    bool dry_run = ctl->dry_run;
    slc_ctl_banner(ctl, "Setting permissions for user \"%s\" in all virtual hosts ...",
                   ctl->args[0]);
    ctl->dry_run = false; // the list changes nothing
    int rc = slc_ctl_request(ctl, "GET", "/api/vhosts", NULL, &vhosts);
    ctl->dry_run = dry_run;
    if (rc != CTL_OK)
        return rc;
    if (vhosts.status != 200)
        rc = slc_ctl_reply_error(&vhosts, CTL_SOFTWARE);
    for (size_t i = 0; rc == CTL_OK && i < json_array_size(vhosts.body); i++) {
        ctl->vhost = json_string_value(json_object_get(json_array_get(vhosts.body, i), "name"));
        rc = permissions_put(ctl);
    }
    slc_ctl_reply_fini(&vhosts);
    return rc;
}

int slc_ctl_clear_permissions(slc_ctl *ctl)
{
    slc_ctl_banner(ctl, "Clearing permissions for user \"%s\" in vhost \"%s\" ...", ctl->args[0],
                   ctl->vhost);
    return permission_change(ctl, slc_ctl_path("/api/permissions/%s/%s", ctl->vhost, ctl->args[0]),
                             NULL);
}

int slc_ctl_list_permissions(slc_ctl *ctl)
{
    static const char *const columns[] = {"user", "configure", "write", "read"};
    slc_ctl_banner(ctl, "Listing permissions for vhost \"%s\" ...", ctl->vhost);
    return slc_ctl_rows(ctl, slc_ctl_path("/api/vhosts/%s/permissions", ctl->vhost), columns,
                        columns, 4);
}

int slc_ctl_list_user_permissions(slc_ctl *ctl)
{
    static const char *const columns[] = {"vhost", "configure", "write", "read"};
    slc_ctl_banner(ctl, "Listing permissions for user \"%s\" ...", ctl->args[0]);
    return slc_ctl_rows(ctl, slc_ctl_path("/api/users/%s/permissions", ctl->args[0]), columns,
                        columns, 4);
}

int slc_ctl_set_topic_permissions(slc_ctl *ctl)
{
    slc_ctl_banner(ctl, "Setting topic permissions on \"%s\" for user \"%s\" in vhost \"%s\" ...",
                   ctl->args[1], ctl->args[0], ctl->vhost);
    return permission_change(ctl,
                             slc_ctl_path("/api/topic-permissions/%s/%s", ctl->vhost, ctl->args[0]),
                             json_pack("{s:s,s:s,s:s}", "exchange", ctl->args[1], "write",
                                       ctl->args[2], "read", ctl->args[3]));
}

int slc_ctl_clear_topic_permissions(slc_ctl *ctl)
{
    if (ctl->arg_count > 1) {
        slc_ctl_banner(ctl,
                       "Clearing topic permissions on \"%s\" for user \"%s\" in vhost \"%s\" ...",
                       ctl->args[1], ctl->args[0], ctl->vhost);
        return permission_change(
            ctl,
            slc_ctl_path("/api/topic-permissions/%s/%s/%s", ctl->vhost, ctl->args[0], ctl->args[1]),
            NULL);
    }
    slc_ctl_banner(ctl, "Clearing topic permissions for user \"%s\" in vhost \"%s\" ...",
                   ctl->args[0], ctl->vhost);
    return permission_change(
        ctl, slc_ctl_path("/api/topic-permissions/%s/%s", ctl->vhost, ctl->args[0]), NULL);
}

int slc_ctl_list_topic_permissions(slc_ctl *ctl)
{
    static const char *const columns[] = {"user", "exchange", "write", "read"};
    slc_ctl_banner(ctl, "Listing topic permissions for vhost \"%s\" ...", ctl->vhost);
    return slc_ctl_rows(ctl, slc_ctl_path("/api/vhosts/%s/topic-permissions", ctl->vhost), columns,
                        columns, 4);
}

int slc_ctl_list_user_topic_permissions(slc_ctl *ctl)
{
    static const char *const columns[] = {"vhost", "exchange", "write", "read"};
    slc_ctl_banner(ctl, "Listing topic permissions for user \"%s\" ...", ctl->args[0]);
    ctl->no_headers |= ctl->alias; // as rabbitmqctl 3.10
    return slc_ctl_rows(ctl, slc_ctl_path("/api/users/%s/topic-permissions", ctl->args[0]), columns,
                        columns, 4);
}
