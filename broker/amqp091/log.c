/* Log lines about connections and channels, in the words that operators of RabbitMQ grep for. @spec operations 7 */
#include <ctype.h>
#include <stdio.h>

#include "amqp091/amqp_impl.h"
#include "base/log.h"

enum { WHO_BYTES = 1024 };

/** `NAME, vhost: '/', user: 'guest'`, as much of it as is known, and the name that the client gave itself. */
static const char *who(const amqp_conn *c, char out[WHO_BYTES])
{
    slc_value value;
    slc_slice given = {0};
    if (slc_table_find(c->client.info.client_properties, slc_slice_str("connection_name"),
                       &value) &&
        value.type == SLC_TYPE_LONGSTR)
        given = value.bytes;
    if (given.bytes > 200)
        given.bytes = 200;
    int n = snprintf(out, WHO_BYTES, "%s%s%.*s", c->name, given.bytes > 0 ? " - " : "",
                     SLC_SLICE_FMT(given));
    if (c->user != NULL && n > 0 && n < WHO_BYTES)
        snprintf(out + n, (size_t)(WHO_BYTES - n), ", vhost: '%s', user: '%s'",
                 c->vhost != NULL ? c->vhost : "none", c->user);
    return out;
}

static const char *operation(uint32_t id)
{
    const char *name = slc_amqp_method_name(id);
    return name != NULL ? name : "none";
}

static const char *code_name(uint16_t code, char out[32])
{
    snprintf(out, 32, "%s", slc_amqp_reply_name(code));
    for (char *at = out; *at != '\0'; at++)
        *at = (char)tolower((unsigned char)*at);
    return out;
}

void slc_amqp_log_accepted(const amqp_conn *c)
{
    slc_log(SLC_LOG_INFO, "connection", "connection.accepted",
            SLC_FIELDS(SLC_F_STR("connection", c->name)), "accepting AMQP connection (%s)",
            c->name);
}

void slc_amqp_log_opened(const amqp_conn *c)
{
    slc_slice vhost = slc_vhost_name(c->client.vhost);
    slc_value value;
    bool named = slc_table_find(c->client.info.client_properties, slc_slice_str("connection_name"),
                                &value) &&
                 value.type == SLC_TYPE_LONGSTR && value.bytes.bytes <= 200;
    slc_log(SLC_LOG_INFO, "connection", "connection.opened",
            SLC_FIELDS(SLC_F_STR("connection", c->name), SLC_F_STR("user", c->user)),
            "connection %s%s%.*s: user '%s' authenticated and granted access to vhost '%.*s'",
            c->name, named ? " - " : "", SLC_SLICE_FMT(named ? value.bytes : (slc_slice){0}),
            c->user, SLC_SLICE_FMT(vhost));
}

void slc_amqp_log_closed(const amqp_conn *c)
{
    char text[WHO_BYTES];
    slc_log(SLC_LOG_INFO, "connection", "connection.closed",
            SLC_FIELDS(SLC_F_STR("connection", c->name)), "closing AMQP connection (%s)",
            who(c, text));
}

void slc_amqp_log_lost(const amqp_conn *c, slc_err reason)
{
    char text[WHO_BYTES];
    // A connect that sends nothing is somebody's health check; after our close the peer may go as it likes.
    bool quiet = c->io->recv_octets == 0 || c->state >= AMQP_CLOSING;
    slc_log(quiet ? SLC_LOG_DEBUG : SLC_LOG_WARN, "connection", "connection.lost",
            SLC_FIELDS(SLC_F_STR("connection", c->name), SLC_F_STR("error", slc_err_name(reason))),
            "closing AMQP connection (%s): %s", who(c, text),
            reason == SLC_ECLOSED ? "client unexpectedly closed TCP connection"
                                  : slc_err_text(reason));
}

void slc_amqp_log_conn_error(const amqp_conn *c, uint16_t code, uint32_t id,
                             const char *explanation)
{
    char text[WHO_BYTES];
    char name[32];
    slc_log(code == SLC_AMQP_CONNECTION_FORCED ? SLC_LOG_INFO : SLC_LOG_ERROR, "connection",
            "connection.error",
            SLC_FIELDS(SLC_F_STR("connection", c->name), SLC_F_U64("code", code)),
            "Error on AMQP connection (%s, state: %s), channel 0: %soperation %s caused a "
            "connection exception %s: %s",
            who(c, text), slc_amqp_state_name(c),
            c->state == AMQP_TUNE ? "failed to negotiate connection parameters: " : "",
            operation(id), code_name(code, name), explanation);
}

void slc_amqp_log_channel_error(const amqp_channel *ch, uint16_t code, uint32_t id,
                                const char *explanation)
{
    char text[WHO_BYTES];
    char name[32];
    slc_log(SLC_LOG_ERROR, "channel", "channel.error",
            SLC_FIELDS(SLC_F_STR("connection", ch->conn->name), SLC_F_U64("channel", ch->number),
                       SLC_F_U64("code", code)),
            "Channel error on connection (%s), channel %u: operation %s caused a channel exception "
            "%s: %s",
            who(ch->conn, text), ch->number, operation(id), code_name(code, name), explanation);
}
