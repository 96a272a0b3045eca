// list_queues, purge_queue, delete_queue.
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "ctl.h"

static const slc_ctl_column columns[] = {
    {.name = "name", .text = "name of the queue"},
    {.name = "vhost", .text = "its virtual host"},
    {.name = "durable", .text = "whether it survives a restart"},
    {.name = "auto_delete", .text = "whether it goes with its last consumer"},
    {.name = "arguments", .table = true, .text = "arguments it was declared with"},
    {.name = "policy", .text = "name of the policy that applies"},
    {.name = "operator_policy", .text = "name of the operator policy that applies"},
    {.name = "effective_policy_definition",
     .json = true,
     .text = "what the two say together, as JSON"},
    {.name = "pid", .text = "identity of the queue; another one of its name has another"},
    {.name = "owner_pid", .text = "connection that owns it, when it is exclusive"},
    {.name = "exclusive", .text = "whether it belongs to one connection"},
    {.name = "exclusive_consumer_pid", .text = "channel of its exclusive consumer"},
    {.name = "exclusive_consumer_tag", .text = "tag of its exclusive consumer"},
    {.name = "messages_ready", .text = "messages ready to be delivered"},
    {.name = "messages_unacknowledged", .text = "messages delivered and not settled"},
    {.name = "messages", .text = "sum of ready and unacknowledged messages"},
    {.name = "messages_ready_ram", .text = "ready messages with their content in memory"},
    {.name = "messages_unacknowledged_ram", .text = "unacknowledged messages in memory"},
    {.name = "messages_ram", .text = "messages in memory"},
    {.name = "messages_persistent", .text = "messages that are stored"},
    {.name = "message_bytes", .text = "sum of the body sizes of all messages"},
    {.name = "message_bytes_ready", .text = "the same of ready messages"},
    {.name = "message_bytes_unacknowledged", .text = "the same of unacknowledged messages"},
    {.name = "message_bytes_ram", .text = "the same of messages in memory"},
    {.name = "message_bytes_persistent", .text = "the same of stored messages"},
    {.name = "head_message_timestamp",
     .text =
         "timestamp property of the oldest message, ready or not settled, s since 1970; empty when "
         "it has none or is not in memory"},
    {.name = "disk_reads", .text = "messages read back from the store, since the start"},
    {.name = "disk_writes",
     .text = "messages written to the store, since the start; those that left before do not count"},
    {.name = "consumers", .text = "number of consumers"},
    {.name = "consumer_utilisation", .text = "the same as consumer_capacity, its older name"},
    {.name = "consumer_capacity",
     .text =
         "share of the recent time, 0 to 1, in which no ready message waited for a consumer that "
         "could take it; 0 without consumers"},
    {.name = "memory", .text = "bytes of memory of the queue without message bodies"},
    {.name = "state", .text = "running"},
    {.name = "type", .text = "kind of the queue"},
    {.name = "leader", .text = "node of the leader; empty for a queue that is not replicated"},
    {.name = "members", .text = "nodes of the replicas; empty for a queue that is not replicated"},
    {.name = "online",
     .text = "nodes of the replicas that are up; empty for a queue that is not replicated"},
    {.name = "slave_pids", .path = "", .text = "mirrors; empty for a queue that is not mirrored"},
    {.name = "synchronised_slave_pids", .path = "", .text = "synchronised mirrors; likewise empty"},
    {.name = "node", .text = "node that has it"},
    {.name = "publish_rate",
     .rate_of = "publish_count",
     .text = "messages published per second, measured while the command takes one"},
    {.name = "deliver_rate",
     .rate_of = "deliver_count",
     .text = "messages handed out per second, likewise"},
    {.name = "ack_rate",
     .rate_of = "ack_count",
     .text = "messages acknowledged per second, likewise"},
    {.name = "idle_since", .text = "time of the last activity; empty when that was just now"},
    {0},
};

const slc_ctl_list slc_ctl_queues = {
    .banner = "Listing queues for vhost %s ...",
    .path = "/api/queues",
    .by_vhost = true,
    .timeout_banner = true,
    .server_columns = true,
    .defaults = "name,messages",
    .columns = columns,
};

static char *queue_path(const slc_ctl *ctl)
{
    return slc_ctl_path("/api/queues/%s/%s", ctl->vhost, ctl->args[0]);
}

int slc_ctl_queue_purge(slc_ctl *ctl)
{
    slc_ctl_banner(ctl, "Purging queue '%s' in vhost '%s' ...", ctl->args[0], ctl->vhost);
    char *path = slc_ctl_path("/api/queues/%s/%s/contents", ctl->vhost, ctl->args[0]);
    slc_ctl_reply reply;
    int rc = slc_ctl_request(ctl, "DELETE", path, NULL, &reply);
    slc_free(path);
    if (rc != CTL_OK || ctl->dry_run)
        return rc;
    if (reply.status == 404)
        rc = ctl->alias ? slc_ctl_error(CTL_UNAVAILABLE, "not_found")
                        : slc_ctl_error(CTL_DATA, "Queue '%s' not found in virtual host '%s'",
                                        ctl->args[0], ctl->vhost);
    else if (reply.status / 100 != 2)
        rc = slc_ctl_reply_error(&reply, CTL_SOFTWARE);
    else if (!ctl->alias && !ctl->quiet)
        printf("Purged %" PRIu64 " messages\n", reply.messages);
    slc_ctl_reply_fini(&reply);
    return rc;
}

static bool ends_with(const char *text, const char *end)
{
    size_t bytes = strlen(text), tail = strlen(end);
    return bytes >= tail && strcmp(text + bytes - tail, end) == 0;
}

// The texts that scripts around rabbitmqctl look for.
static int delete_refused(const slc_ctl_reply *reply)
{
    const char *reason = json_string_value(json_object_get(reply->body, "reason"));
    if (reply->status == 404)
        return slc_ctl_error(CTL_USAGE, "Queue not found");
    if (reply->status == 400 && reason != NULL && ends_with(reason, "in use"))
        return slc_ctl_error(CTL_USAGE, "Queue is in use");
    if (reply->status == 400 && reason != NULL && ends_with(reason, "not empty"))
        return slc_ctl_error(CTL_USAGE, "Queue is not empty");
    return slc_ctl_reply_error(reply, CTL_SOFTWARE);
}

int slc_ctl_queue_delete(slc_ctl *ctl)
{
    const char *conditions = ctl->if_empty && ctl->if_unused
                                 ? " if queue is empty and if queue is unused"
                             : ctl->if_empty  ? " if queue is empty"
                             : ctl->if_unused ? " if queue is unused"
                                              : "";
    slc_ctl_banner(ctl, "Deleting queue '%s' on vhost '%s'%s ...", ctl->args[0], ctl->vhost,
                   conditions);
    char *path = queue_path(ctl);
    slc_buffer full = {0};
    slc_buffer_format(&full, "%s%s%s%s", path, ctl->if_empty || ctl->if_unused ? "?" : "",
                      ctl->if_empty ? "if-empty=true&" : "",
                      ctl->if_unused ? "if-unused=true" : "");
    slc_buffer_put(&full, "", 1);
    slc_ctl_reply reply;
    int rc = slc_ctl_request(ctl, "DELETE", (const char *)full.data, NULL, &reply);
    slc_free(path);
    slc_buffer_fini(&full);
    if (rc != CTL_OK || ctl->dry_run)
        return rc;
    if (reply.status / 100 != 2)
        rc = delete_refused(&reply);
    else if (!ctl->quiet)
        printf("Queue was successfully deleted with %" PRIu64 " ready messages\n", reply.messages);
    slc_ctl_reply_fini(&reply);
    return rc;
}
