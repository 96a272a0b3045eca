#include "core/incoming.h"

#include <inttypes.h>

#include "core/reply_to.h"

/** Milliseconds in decimal, at most ten years, as Erlang's string:to_integer reads them. Texts: amqp-semantics 11.1. */
static slc_err check_expiration(slc_incoming *in, slc_error *error)
{
    slc_slice text = in->expiration;
    const char *at = (const char *)text.data;
    size_t bytes = text.bytes;
    bool negative = bytes > 0 && *at == '-';
    size_t from = bytes > 0 && (*at == '-' || *at == '+') ? 1 : 0;
    size_t to = from;
    uint64_t value = 0;
    while (to < bytes && at[to] >= '0' && at[to] <= '9') {
        value = value > SLC_TTL_MAX_MS ? value : value * 10 + (uint64_t)(at[to] - '0');
        to++;
    }
    slc_slice digits = slc_slice_of(text.data + from, to - from);
    if (to == from)
        return slc_error_set(error, SLC_EPRECONDITION, "invalid expiration '%.*s': no_integer",
                             SLC_SLICE_FMT(text));
    if (to < bytes)
        return slc_error_set(
            error, SLC_EPRECONDITION, "invalid expiration '%.*s': {leftover_string,\"%.*s\"}",
            SLC_SLICE_FMT(text), SLC_SLICE_FMT(slc_slice_of(text.data + to, bytes - to)));
    if (negative && value > 0)
        return slc_error_set(error, SLC_EPRECONDITION,
                             "invalid expiration '%.*s': {value_negative,-%.*s}",
                             SLC_SLICE_FMT(text), SLC_SLICE_FMT(digits));
    if (value > SLC_TTL_MAX_MS)
        return slc_error_set(error, SLC_EPRECONDITION,
                             "invalid expiration '%.*s': {value_too_large,%.*s}",
                             SLC_SLICE_FMT(text), SLC_SLICE_FMT(digits));
    in->ttl = value + 1;
    return SLC_OK;
}

static slc_err check_more_keys(slc_incoming *in, const char *name, slc_error *error)
{
    slc_value value;
    if (!slc_table_find(in->headers, slc_slice_str(name), &value))
        return SLC_OK;
    if (value.type != SLC_TYPE_ARRAY)
        return slc_error_set(error, SLC_EPRECONDITION,
                             "invalid message: {unacceptable_type_in_header,\"%s\",%s}", name,
                             slc_value_type_name(value.type));
    in->more_keys = true;
    return SLC_OK;
}

/** In RabbitMQ's order (3.10.8 was asked): what is wrong in two ways gets the same answer. */
static slc_err check_properties(slc_session *session, slc_incoming *in, slc_error *error)
{
    const slc_client_info *client = &slc_session_client(session)->info;
    slc_err rc = SLC_OK;
    in->fast_reply =
        (in->flags & 1u << SLC_PROPERTY_REPLY_TO) != 0 && slc_slice_is(in->reply_to, SLC_REPLY_TO);
    if (in->fast_reply && slc_session_reply_name(session).bytes == 0)
        rc = slc_error_set(error, SLC_EPRECONDITION, "fast reply consumer does not exist");
    if (rc == SLC_OK && (in->flags & 1u << SLC_PROPERTY_USER_ID) != 0 && !client->impersonator &&
        !slc_slice_is(in->user_id, client->user))
        rc = slc_error_set(error, SLC_EPRECONDITION,
                           "user_id property set to '%.*s' but authenticated user was '%s'",
                           SLC_SLICE_FMT(in->user_id), client->user);
    if (rc == SLC_OK && (in->flags & 1u << SLC_PROPERTY_EXPIRATION) != 0)
        rc = check_expiration(in, error);
    if (rc == SLC_OK)
        rc = check_more_keys(in, "CC", error);
    if (rc == SLC_OK)
        rc = check_more_keys(in, "BCC", error);
    return rc;
}

slc_err slc_incoming_check(slc_session *session, slc_incoming *in, slc_error *error)
{
    in->more_keys = in->fast_reply = false;
    in->ttl = 0;
    if (in->body_bytes > in->body_bytes_max)
        return slc_error_set(error, SLC_EPRECONDITION,
                             "message size %" PRIu64 " is larger than configured max size %" PRIu64,
                             in->body_bytes, in->body_bytes_max);
    if (in->flags == 0)
        return SLC_OK;
    slc_err rc = check_properties(session, in, error);
    slc_error first;
    slc_err exchange_rc =
        rc != SLC_OK ? slc_session_may_publish(session, in->exchange, in->key, &first) : SLC_OK;
    if (exchange_rc == SLC_OK)
        return rc;
    *error = first;
    return exchange_rc;
}

/** The BCC header goes (the message hides its keys), the pseudo queue in reply-to becomes the name of this session. Octets of the
 *  headers that are left. */
static size_t list_rewrite(const slc_session *session, const slc_incoming *in, bool bcc,
                           slc_buffer *out)
{
    slc_slice headers = in->headers;
    slc_slice reply = in->fast_reply ? slc_session_reply_name(session) : (slc_slice){0};
    slc_table_builder b = {0};
    if (bcc) {
        slc_table_iter iter = slc_table_iter_of(headers);
        slc_slice key;
        slc_value value;
        while (slc_table_next(&iter, &key, &value)) {
            if (!slc_slice_is(key, "BCC"))
                slc_table_put_value(&b, key, &value);
        }
        headers = slc_table_builder_content(&b);
        if (headers.bytes == 0)
            headers = slc_slice_str(""); // as in RabbitMQ the table stays, also without an entry
    }
    slc_properties_with(in->list, headers, SLC_PROPERTY_NONE, reply, out);
    slc_table_builder_fini(&b);
    return headers.bytes;
}

/** One with a CC or BCC header, or with the pseudo queue in reply-to. */
static slc_message *message_rewritten(const slc_session *session, const slc_incoming *in,
                                      size_t *headers_bytes)
{
    slc_slice list = in->list;
    slc_buffer changed = {0}, hidden = {0};
    bool bcc = in->more_keys && slc_table_find(in->headers, slc_slice_str("BCC"), NULL);
    if (bcc | in->fast_reply) {
        if (bcc)
            slc_headers_hidden_keys(in->headers, &hidden);
        *headers_bytes = list_rewrite(session, in, bcc, &changed);
        list = slc_buffer_slice(&changed);
    }
    slc_message *m = slc_message_new_hidden(in->exchange, in->key, list, in->body_bytes,
                                            in->persistent, slc_buffer_slice(&hidden));
    slc_buffer_fini(&changed);
    slc_buffer_fini(&hidden);
    return m;
}

slc_message *slc_incoming_message(const slc_session *session, const slc_incoming *in,
                                  slc_slice *headers)
{
    size_t headers_bytes = in->headers.bytes;
    slc_message *m =
        in->more_keys | in->fast_reply
            ? message_rewritten(session, in, &headers_bytes)
            : slc_message_new(in->exchange, in->key, in->list, in->body_bytes, in->persistent);
    *headers = (slc_slice){0};
    if (m == NULL)
        return NULL;
    m->priority = in->priority;
    m->ttl = in->ttl;
    m->more_keys = in->more_keys;
    // Where the table lies in the message's own copy: nothing in front of it is ever changed.
    if (headers_bytes > 0)
        *headers = slc_slice_of(slc_message_props(m).data + (in->headers.data - in->list.data),
                                headers_bytes);
    return m;
}
