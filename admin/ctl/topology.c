// list_exchanges, list_bindings, list_vhosts.
#include "ctl.h"

static const slc_ctl_column exchange_columns[] = {
    {.name = "name", .text = "name of the exchange; empty for the default one"},
    {.name = "type", .text = "direct, fanout, topic or headers"},
    {.name = "durable", .text = "whether it survives a restart"},
    {.name = "auto_delete", .text = "whether it goes with its last binding"},
    {.name = "internal", .text = "whether clients may not publish to it"},
    {.name = "arguments", .table = true, .text = "arguments it was declared with"},
    {.name = "policy", .text = "name of the policy that applies"},
    {.name = "vhost", .text = "its virtual host"},
    {0},
};

const slc_ctl_list slc_ctl_exchanges = {
    .banner = "Listing exchanges for vhost %s ...",
    .path = "/api/exchanges",
    .by_vhost = true,
    .server_columns = true,
    .defaults = "name,type",
    .columns = exchange_columns,
};

int slc_ctl_list_delayed(slc_ctl *ctl)
{
    static const char *const columns[] = {"position", "due", "routing_key", "message_id",
                                          "payload_bytes"};
    slc_ctl_banner(ctl, "Listing delayed messages of exchange '%s' in vhost '%s' ...", ctl->args[0],
                   ctl->vhost);
    char *path = slc_ctl_path("/api/exchanges/%s/%s/delayed?limit=1000", ctl->vhost, ctl->args[0]);
    return slc_ctl_rows_of(ctl, path, columns, columns, 5, CTL_DATA);
}

int slc_ctl_cancel_delayed(slc_ctl *ctl)
{
    slc_ctl_banner(ctl, "Cancelling the delayed message %s of exchange '%s' in vhost '%s' ...",
                   ctl->args[1], ctl->args[0], ctl->vhost);
    return slc_ctl_apply(
        ctl, "DELETE",
        slc_ctl_path("/api/exchanges/%s/%s/delayed/%s", ctl->vhost, ctl->args[0], ctl->args[1]),
        NULL, CTL_DATA);
}

static const slc_ctl_column binding_columns[] = {
    {.name = "source_name", .path = "source", .text = "exchange that messages come from"},
    {.name = "source_kind", .path = "=exchange", .text = "always exchange"},
    {.name = "destination_name",
     .path = "destination",
     .text = "queue or exchange that they go to"},
    {.name = "destination_kind", .path = "destination_type", .text = "queue or exchange"},
    {.name = "routing_key", .text = "binding key"},
    {.name = "arguments", .table = true, .text = "binding arguments"},
    {.name = "vhost", .text = "its virtual host"},
    {0},
};

const slc_ctl_list slc_ctl_bindings = {
    .banner = "Listing bindings for vhost %s...", // without a space, as rabbitmqctl has it
    .path = "/api/bindings",
    .by_vhost = true,
    .server_columns = true,
    .defaults = "source_name,source_kind,destination_name,destination_kind,routing_key,arguments",
    .columns = binding_columns,
};

static const slc_ctl_column vhost_columns[] = {
    {.name = "name", .text = "name of the virtual host"},
    {.name = "tracing", .text = "whether tracing is on"},
    {.name = "description", .text = "what it is for"},
    {.name = "tags", .text = "its tags"},
    {.name = "default_queue_type", .text = "type of queues that are declared without one"},
    {.name = "cluster_state", .object = true, .text = "state on each node, as JSON"},
    {.name = "metadata", .json = true, .text = "description, tags and default queue type, as JSON"},
    {0},
};

const slc_ctl_list slc_ctl_vhosts = {
    .banner = "Listing vhosts ...",
    .path = "/api/vhosts",
    .defaults = "name",
    .columns = vhost_columns,
};
