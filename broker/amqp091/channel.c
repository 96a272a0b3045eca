/* Channels: life, lookup, exceptions. */
#include "amqp091/amqp_impl.h"

amqp_channel *slc_amqp_channel_lookup(amqp_conn *c, uint16_t number)
{
    amqp_channel *ch = NULL;
    HASH_FIND(hh, c->channels, &number, sizeof number, ch);
    if (ch != NULL)
        c->last = ch;
    return ch;
}

amqp_channel *slc_amqp_channel_new(amqp_conn *c, uint16_t number)
{
    amqp_channel *ch = slc_alloc_zero(1, sizeof *ch);
    ch->number = number;
    ch->conn = c;
    ch->session = slc_session_open(&c->client, number, &slc_amqp_session_ops, ch);
    HASH_ADD(hh, c->channels, number, sizeof ch->number, ch);
    if (c->io->over)
        slc_session_writable(ch->session, false);
    return ch;
}

void slc_amqp_channel_drop_content(amqp_channel *ch)
{
    amqp_conn *c = ch->conn;
    if (c->frame_channel == ch) {
        // The rest of the frame is still on its way: it is read and dropped.
        c->frame_channel = NULL;
        slc_conn_sink(c->io, NULL, 0);
    }
    if (ch->message != NULL)
        slc_message_unref(ch->message);
    ch->message = NULL;
    slc_free(ch->publish);
    ch->publish = NULL;
    slc_free(ch->refusal);
    ch->refusal = NULL;
    ch->content = AMQP_CONTENT_NONE;
    ch->body_left = 0;
}

void slc_amqp_channel_free(amqp_channel *ch)
{
    amqp_conn *c = ch->conn;
    slc_amqp_channel_drop_content(ch);
    if (c->last == ch)
        c->last = NULL;
    HASH_DEL(c->channels, ch);
    slc_free(ch);
}

void slc_amqp_channel_error(amqp_channel *ch, uint16_t code, uint32_t id, const char *text)
{
    amqp_conn *c = ch->conn;
    char reply[SLC_AMQP_REPLY_TEXT_CAP];
    SLC_ASSERT(ch->session != NULL);
    slc_amqp_log_channel_error(ch, code, id, text);
    slc_session_abandon(ch->session);
    ch->session = NULL;
    slc_amqp_channel_drop_content(ch);
    slc_amqp_method method = {
        .id = SLC_AMQP_CHANNEL_CLOSE,
        .channel_close = {.reply_code = code,
                          .reply_text = slc_slice_str(slc_amqp_reply_text(code, text, reply)),
                          .class_id = (uint16_t)(id >> 16),
                          .method_id = (uint16_t)id},
    };
    slc_amqp_send(c, ch->number, &method);
}

uint16_t slc_amqp_code_of(slc_err rc)
{
    switch (rc) {
    case SLC_EACCESS:
        return SLC_AMQP_ACCESS_REFUSED;
    case SLC_ENOTFOUND:
        return SLC_AMQP_NOT_FOUND;
    case SLC_ELOCKED:
        return SLC_AMQP_RESOURCE_LOCKED;
    case SLC_EPRECONDITION:
    case SLC_EINVAL:
    case SLC_EEXIST:
    case SLC_EBUSY:
    case SLC_ENOMEM: // a size that this client chose
        return SLC_AMQP_PRECONDITION_FAILED;
    case SLC_EFRAME:
        return SLC_AMQP_FRAME_ERROR;
    case SLC_ESYNTAX:
        return SLC_AMQP_SYNTAX_ERROR;
    case SLC_ECOMMAND:
        return SLC_AMQP_COMMAND_INVALID;
    case SLC_ECHANNEL:
        return SLC_AMQP_CHANNEL_ERROR;
    case SLC_EUNEXPECTED:
        return SLC_AMQP_UNEXPECTED_FRAME;
    case SLC_ENOSPC:
    case SLC_ELIMIT:
        return SLC_AMQP_RESOURCE_ERROR;
    case SLC_ENOTALLOWED:
        return SLC_AMQP_NOT_ALLOWED;
    case SLC_ENOTIMPL:
        return SLC_AMQP_NOT_IMPLEMENTED;
    default:
        return SLC_AMQP_INTERNAL_ERROR;
    }
}

void slc_amqp_core_error(amqp_channel *ch, slc_err rc, uint32_t id, const slc_error *error)
{
    uint16_t code = slc_amqp_code_of(rc);
    const char *text = error->text[0] != '\0' ? error->text : slc_err_text(rc);
    if (slc_amqp_reply_is_connection_error(code))
        slc_amqp_conn_error(ch->conn, code, id, "%s", text);
    else
        slc_amqp_channel_error(ch, code, id, text);
}
