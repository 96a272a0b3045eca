// Runtime parameters, of a virtual host and global.
#include "ctl.h"

static const slc_ctl_column columns[] = {
    {.name = "component", .text = "what it configures"},
    {.name = "name", .text = "name of the parameter"},
    {.name = "value", .json = true, .text = "its value, as JSON"},
    {0},
};

const slc_ctl_list slc_ctl_parameters = {
    .banner = "Listing runtime parameters for vhost \"%s\" ...",
    .path = "/api/parameters",
    .of_vhost = true,
    .defaults = "component,name,value",
    .columns = columns,
};

static const slc_ctl_column global_columns[] = {
    {.name = "name", .text = "name of the parameter"},
    {.name = "value", .json = true, .text = "its value, as JSON"},
    {0},
};

const slc_ctl_list slc_ctl_globals = {
    .banner = "Listing global runtime parameters ...",
    .path = "/api/global-parameters",
    .defaults = "name,value",
    .columns = global_columns,
};

static json_t *body_of(const char *text)
{
    json_t *value = slc_ctl_json_argument(text);
    if (value == NULL)
        return NULL;
    json_t *body = json_object();
    json_object_set_new(body, "value", value);
    return body;
}

int slc_ctl_parameter_set(slc_ctl *ctl)
{
    slc_ctl_banner(ctl,
                   "Setting runtime parameter \"%s\" for component \"%s\" to \"%s\" in vhost "
                   "\"%s\" ...",
                   ctl->args[1], ctl->args[0], ctl->args[2], ctl->vhost);
    json_t *body = body_of(ctl->args[2]);
    if (body == NULL)
        return CTL_UNAVAILABLE;
    return slc_ctl_change(
        ctl, slc_ctl_path("/api/parameters/%s/%s/%s", ctl->args[0], ctl->vhost, ctl->args[1]),
        body);
}

int slc_ctl_parameter_clear(slc_ctl *ctl)
{
    slc_ctl_banner(ctl,
                   "Clearing runtime parameter \"%s\" for component \"%s\" on vhost \"%s\" ...",
                   ctl->args[1], ctl->args[0], ctl->vhost);
    return slc_ctl_change(
        ctl, slc_ctl_path("/api/parameters/%s/%s/%s", ctl->args[0], ctl->vhost, ctl->args[1]),
        NULL);
}

int slc_ctl_global_set(slc_ctl *ctl)
{
    slc_ctl_banner(ctl, "Setting global runtime parameter \"%s\" to \"%s\" ...", ctl->args[0],
                   ctl->args[1]);
    json_t *body = body_of(ctl->args[1]);
    if (body == NULL)
        return CTL_UNAVAILABLE;
    return slc_ctl_change(ctl, slc_ctl_path("/api/global-parameters/%s", ctl->args[0]), body);
}

int slc_ctl_global_clear(slc_ctl *ctl)
{
    slc_ctl_banner(ctl, "Clearing global runtime parameter \"%s\" ...", ctl->args[0]);
    return slc_ctl_change(ctl, slc_ctl_path("/api/global-parameters/%s", ctl->args[0]), NULL);
}
