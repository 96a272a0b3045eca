// Permissions and topic permissions.
#include "ctl.h"

int slc_ctl_set_permissions(slc_ctl *ctl)
{
    slc_ctl_banner(ctl, "Setting permissions for user \"%s\" in vhost \"%s\" ...", ctl->args[0],
                   ctl->vhost);
    return slc_ctl_apply(ctl, "PUT",
                         slc_ctl_path("/api/permissions/%s/%s", ctl->vhost, ctl->args[0]),
                         json_pack("{s:s,s:s,s:s}", "configure", ctl->args[1], "write",
                                   ctl->args[2], "read", ctl->args[3]),
                         CTL_DATA);
}

int slc_ctl_clear_permissions(slc_ctl *ctl)
{
    slc_ctl_banner(ctl, "Clearing permissions for user \"%s\" in vhost \"%s\" ...", ctl->args[0],
                   ctl->vhost);
    return slc_ctl_apply(ctl, "DELETE",
                         slc_ctl_path("/api/permissions/%s/%s", ctl->vhost, ctl->args[0]), NULL,
                         CTL_DATA);
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
    return slc_ctl_apply(ctl, "PUT",
                         slc_ctl_path("/api/topic-permissions/%s/%s", ctl->vhost, ctl->args[0]),
                         json_pack("{s:s,s:s,s:s}", "exchange", ctl->args[1], "write", ctl->args[2],
                                   "read", ctl->args[3]),
                         CTL_DATA);
}

int slc_ctl_clear_topic_permissions(slc_ctl *ctl)
{
    slc_ctl_banner(ctl, "Clearing topic permissions for user \"%s\" in vhost \"%s\" ...",
                   ctl->args[0], ctl->vhost);
    char *path = ctl->arg_count > 1
                     ? slc_ctl_path("/api/topic-permissions/%s/%s/%s", ctl->vhost, ctl->args[0],
                                    ctl->args[1])
                     : slc_ctl_path("/api/topic-permissions/%s/%s", ctl->vhost, ctl->args[0]);
    return slc_ctl_apply(ctl, "DELETE", path, NULL, CTL_DATA);
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
    return slc_ctl_rows(ctl, slc_ctl_path("/api/users/%s/topic-permissions", ctl->args[0]), columns,
                        columns, 4);
}
