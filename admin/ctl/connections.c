// list_connections, list_channels, list_consumers, close_connection, close_all_connections.
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "ctl.h"

static const slc_ctl_column connection_columns[] = {
    {.name = "pid", .text = "identity of the connection, for close_connection"},
    {.name = "name", .text = "peer and own address"},
    {.name = "port", .text = "own port"},
    {.name = "host", .tuple = true, .text = "own address"},
    {.name = "peer_port", .text = "peer's port"},
    {.name = "peer_host", .tuple = true, .text = "peer's address"},
    {.name = "ssl", .text = "whether TLS protects it"},
    {.name = "ssl_protocol", .text = "TLS version"},
    {.name = "ssl_key_exchange", .text = "TLS key exchange"},
    {.name = "ssl_cipher", .text = "TLS cipher"},
    {.name = "ssl_hash", .text = "TLS hash"},
    {.name = "peer_cert_subject", .text = "subject of the peer's certificate"},
    {.name = "peer_cert_issuer", .text = "issuer of the peer's certificate"},
    {.name = "peer_cert_validity", .text = "validity of the peer's certificate"},
    {.name = "state", .text = "running, blocking, blocked, flow, closing"},
    {.name = "channels", .text = "number of channels"},
    {.name = "protocol",
     .tuple = true,
     .from = "AMQP 0-9-1",
     .to = "{0,9,1}",
     .text = "protocol version"},
    {.name = "auth_mechanism", .text = "SASL mechanism"},
    {.name = "user", .text = "user name"},
    {.name = "vhost", .text = "virtual host"},
    {.name = "timeout", .text = "heartbeat timeout, s"},
    {.name = "frame_max", .text = "largest frame, bytes"},
    {.name = "channel_max", .text = "largest number of channels"},
    {.name = "client_properties", .table = true, .text = "what the client told about itself"},
    {.name = "recv_oct", .text = "octets received"},
    {.name = "recv_cnt", .text = "packets received"},
    {.name = "send_oct", .text = "octets sent"},
    {.name = "send_cnt", .text = "packets sent"},
    {.name = "send_pend", .text = "octets waiting to be sent"},
    {.name = "connected_at", .text = "time of the connect, ms since 1970"},
    {0},
};

const slc_ctl_list slc_ctl_connections = {
    .banner = "Listing connections ...",
    .path = "/api/connections",
    .server_columns = true,
    .defaults = "user,peer_host,peer_port,state",
    .columns = connection_columns,
};

static const slc_ctl_column channel_columns[] = {
    {.name = "pid", .text = "identity of the channel"},
    {.name = "connection", .path = "connection_pid", .text = "identity of its connection"},
    {.name = "name", .text = "name of the connection and number"},
    {.name = "number", .text = "channel number"},
    {.name = "user", .text = "user name"},
    {.name = "vhost", .text = "virtual host"},
    {.name = "transactional", .text = "whether it is in tx mode"},
    {.name = "confirm", .text = "whether publishes are confirmed"},
    {.name = "consumer_count", .text = "number of consumers"},
    {.name = "messages_unacknowledged", .text = "messages delivered and not settled"},
    {.name = "messages_uncommitted", .text = "messages published in an open transaction"},
    {.name = "acks_uncommitted", .text = "acknowledgements in an open transaction"},
    {.name = "messages_unconfirmed", .text = "messages published and not confirmed yet"},
    {.name = "prefetch_count", .text = "limit of unsettled messages per consumer; 0: none"},
    {.name = "global_prefetch_count", .text = "the same for the whole channel; 0: none"},
    {0},
};

const slc_ctl_list slc_ctl_channels = {
    .banner = "Listing channels ...",
    .path = "/api/channels",
    .server_columns = true,
    .defaults = "pid,user,consumer_count,messages_unacknowledged",
    .columns = channel_columns,
};

static const slc_ctl_column consumer_columns[] = {
    {.name = "queue_name", .path = "queue.name", .text = "queue that it consumes from"},
    {.name = "channel_pid", .path = "channel_details.pid", .text = "identity of its channel"},
    {.name = "consumer_tag", .text = "tag, unique in its channel"},
    {.name = "ack_required", .text = "whether it must acknowledge"},
    {.name = "prefetch_count", .text = "limit of unsettled messages; 0: none"},
    {.name = "active", .text = "whether it gets messages"},
    {.name = "activity_status",
     .text = "up, or single_active or waiting where one consumer is active"},
    {.name = "arguments", .table = true, .text = "arguments of the subscription"},
    {.name = "consumer_timeout",
     .text = "time in which it must acknowledge a delivery, ms; 0: no limit"},
    {.name = "vhost", .path = "queue.vhost", .text = "its virtual host"},
    {0},
};

const slc_ctl_list slc_ctl_consumers = {
    .banner = "Listing consumers in vhost %s ...",
    .path = "/api/consumers",
    .by_vhost = true,
    .defaults = "queue_name,channel_pid,consumer_tag,ack_required,prefetch_count,active,arguments",
    .columns = consumer_columns,
};

int slc_ctl_connection_close(slc_ctl *ctl)
{
    slc_ctl_banner(ctl, "Closing connection %s, reason: %s...", ctl->args[0], ctl->args[1]);
    char *path = slc_ctl_path("/api/connections/%s", ctl->args[0]);
    slc_ctl_reply reply;
    int rc = slc_ctl_request(ctl, "DELETE", path, ctl->args[1], &reply);
    slc_free(path);
    if (rc != CTL_OK || ctl->dry_run)
        return rc;
    // For rabbitmqctl a connection that is gone is as good as closed.
    if (reply.status == 404 && !ctl->alias)
        rc = slc_ctl_error(CTL_DATA, "Connection %s does not exist", ctl->args[0]);
    else if (reply.status / 100 != 2 && reply.status != 404)
        rc = slc_ctl_reply_error(&reply, CTL_SOFTWARE);
    slc_ctl_reply_fini(&reply);
    return rc;
}

void slc_ctl_pause_ms(uint64_t ms)
{
    struct timespec time = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};
    while (nanosleep(&time, &time) != 0) {
    }
}

static int close_each(slc_ctl *ctl, const json_t *connections, uint64_t *closed)
{
    size_t i;
    json_t *connection;
    json_array_foreach(connections, i, connection)
    {
        if (ctl->limit != 0 && *closed >= ctl->limit)
            break;
        const char *pid = json_string_value(json_object_get(connection, "pid"));
        if (pid == NULL)
            continue;
        if (*closed > 0 && ctl->delay_ms > 0)
            slc_ctl_pause_ms(ctl->delay_ms);
        slc_ctl_reply reply;
        char *path = slc_ctl_path("/api/connections/%s", pid);
        int rc = slc_ctl_request(ctl, "DELETE", path, ctl->args[ctl->arg_count - 1], &reply);
        slc_free(path);
        if (rc != CTL_OK)
            return rc;
        if (!ctl->dry_run && reply.status / 100 == 2) // 404: it went by itself in the meantime
            ++*closed;
        slc_ctl_reply_fini(&reply);
    }
    return CTL_OK;
}

int slc_ctl_connection_close_all(slc_ctl *ctl)
{
    char count[32] = "all";
    if (ctl->limit != 0)
        snprintf(count, sizeof count, "%" PRIu64, ctl->limit);
    if (ctl->global)
        slc_ctl_banner(ctl, "Closing %s connections to node, reason: %s...", count, ctl->args[0]);
    else
        slc_ctl_banner(ctl, "Closing %s connections in vhost %s, reason: %s...", count, ctl->vhost,
                       ctl->args[0]);
    char *path = ctl->global ? slc_strdup("/api/connections?columns=pid")
                             : slc_ctl_path("/api/vhosts/%s/connections?columns=pid", ctl->vhost);
    slc_ctl_reply list;
    int rc = slc_ctl_request(ctl, "GET", path, NULL, &list);
    slc_free(path);
    if (rc != CTL_OK)
        return rc;
    uint64_t closed = 0;
    if (list.status == 404 && !ctl->alias)
        rc = slc_ctl_error(CTL_DATA, "Virtual host '%s' does not exist", ctl->vhost);
    else if (list.status != 200 && list.status != 404)
        rc = slc_ctl_reply_error(&list, CTL_SOFTWARE);
    else if (list.status == 200)
        rc = close_each(ctl, list.body, &closed);
    slc_ctl_reply_fini(&list);
    if (rc == CTL_OK && !ctl->quiet && !ctl->dry_run)
        printf("Closed %" PRIu64 " connections\n", closed);
    return rc;
}

int slc_ctl_connection_close_user(slc_ctl *ctl)
{
    slc_ctl_banner(ctl, "Closing connections of user %s, reason: %s...", ctl->args[0],
                   ctl->args[1]);
    slc_ctl_reply list;
    bool dry_run = ctl->dry_run;
    ctl->dry_run = false; // the list changes nothing
    int rc = slc_ctl_request(ctl, "GET", "/api/connections?columns=pid,user", NULL, &list);
    ctl->dry_run = dry_run;
    if (rc != CTL_OK)
        return rc;
    uint64_t closed = 0;
    json_t *own = json_array();
    size_t i;
    json_t *connection;
    json_array_foreach(list.body, i, connection)
    {
        const char *user = json_string_value(json_object_get(connection, "user"));
        if (user != NULL && strcmp(user, ctl->args[0]) == 0)
            json_array_append(own, connection);
    }
    rc = list.status == 200 ? close_each(ctl, own, &closed)
                            : slc_ctl_reply_error(&list, CTL_SOFTWARE);
    json_decref(own);
    slc_ctl_reply_fini(&list);
    if (rc == CTL_OK && !ctl->quiet && !ctl->dry_run && !ctl->alias)
        printf("Closed %" PRIu64 " connections\n", closed);
    return rc;
}
