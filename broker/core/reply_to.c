#include "core/reply_to.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/log.h"
#include "core/internal.h"
#include "core/properties.h"

enum {
    HANDLE_DIGITS = 16,
    TOKEN_BYTES = 16,
    TOKEN_CHARS = 24, // in base64
    NAME_BYTES = sizeof SLC_REPLY_TO + HANDLE_DIGITS + 1 + TOKEN_CHARS,
};

struct slc_reply_to {
    slc_consumer consumer; // in no list; no queue
    char name[NAME_BYTES + 1];
    bool refusing;   // it does not read: it was said once
    uint64_t serial; // of the publish that it was given last: one with several keys comes once
};

/** Clients of RabbitMQ have been seen to expect two parts, the second in base64. */
static void token_text(const uint8_t token[TOKEN_BYTES], char *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint32_t bits = 0;
    int count = 0;
    for (int i = 0; i < TOKEN_BYTES; i++) {
        bits = bits << 8 | token[i];
        for (count += 8; count >= 6; count -= 6)
            *out++ = digits[bits >> (count - 6) & 63];
    }
    *out++ = digits[bits << (6 - count) & 63]; // 128 bits: two are left over
    memcpy(out, "==", 3);
}

static void name_make(slc_session *session, char *name)
{
    uint8_t token[TOKEN_BYTES];
    session->broker->env.random(session->broker->env.arg, token, TOKEN_BYTES);
    name += sprintf(name, "%s.%016" PRIx64 ".", SLC_REPLY_TO, session->handle);
    token_text(token, name);
}

slc_err slc_reply_to_consume(slc_session *session, slc_slice tag, bool no_ack,
                             const slc_consumer **out, slc_error *error)
{
    if (!no_ack)
        return slc_error_set(error, SLC_EPRECONDITION, "reply consumer cannot acknowledge");
    if (session->reply_to != NULL)
        return slc_error_set(error, SLC_EPRECONDITION, "reply consumer already set");
    slc_reply_to *r = slc_alloc_zero(1, sizeof *r);
    r->consumer.session = session;
    r->consumer.no_ack = true;
    r->consumer.tag = slc_slice_copy(tag);
    name_make(session, r->name);
    session->reply_to = r;
    session->broker->reply_consumers++;
    *out = &r->consumer;
    return SLC_OK;
}

bool slc_reply_to_has_tag(const slc_session *session, slc_slice tag)
{
    return session->reply_to != NULL && slc_slice_equal(session->reply_to->consumer.tag, tag);
}

bool slc_reply_to_cancel(slc_session *session, slc_slice tag)
{
    if (!slc_reply_to_has_tag(session, tag))
        return false;
    slc_reply_to_fini(session);
    return true;
}

void slc_reply_to_fini(slc_session *session)
{
    if (session->reply_to == NULL)
        return;
    slc_free((void *)session->reply_to->consumer.tag.data);
    slc_free(session->reply_to);
    session->reply_to = NULL;
    session->broker->reply_consumers--;
}

slc_slice slc_session_reply_name(const slc_session *session)
{
    return session->reply_to == NULL ? (slc_slice){0} : slc_slice_str(session->reply_to->name);
}

bool slc_reply_to_is_name(slc_slice name)
{
    return name.bytes >= sizeof SLC_REPLY_TO &&
           memcmp(name.data, SLC_REPLY_TO ".", sizeof SLC_REPLY_TO) == 0;
}

static int digit_of(uint8_t c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static slc_session *session_of(const slc_broker *broker, slc_slice name)
{
    if (name.bytes != NAME_BYTES || !slc_reply_to_is_name(name))
        return NULL;
    uint64_t handle = 0;
    for (size_t i = sizeof SLC_REPLY_TO; i < sizeof SLC_REPLY_TO + HANDLE_DIGITS; i++) {
        int digit = digit_of(name.data[i]);
        if (digit < 0)
            return NULL;
        handle = handle << 4 | (uint64_t)digit;
    }
    slc_session *session = slc_session_by_handle(broker, handle);
    if (session == NULL || session->reply_to == NULL || session->closing ||
        !slc_slice_is(name, session->reply_to->name))
        return NULL;
    return session;
}

bool slc_reply_to_alive(const slc_session *session, slc_slice name)
{
    if (slc_slice_is(name, SLC_REPLY_TO))
        return true; // so clients find out whether a broker has direct replies, before they consume
    return session_of(session->broker, name) != NULL;
}

static void reply_refused(slc_session *session)
{
    if (session->reply_to->refusing)
        return;
    session->reply_to->refusing = true;
    slc_log(SLC_LOG_WARN, "channel", "reply_to.refused",
            SLC_FIELDS(SLC_F_STR("connection", session->client->info.name),
                       SLC_F_U64("channel", session->number)),
            "%s, channel %u does not read its direct replies: over %u MiB of them wait, more are "
            "not routed until it does",
            session->client->info.name, session->number, SLC_REPLY_BYTES_MAX >> 20);
}

static uint32_t deliver_to(slc_broker *broker, slc_message *m, slc_slice name)
{
    slc_session *session = session_of(broker, name);
    if (session == NULL || session->reply_to->serial == broker->reply_serial)
        return 0;
    slc_client *client = session->client;
    if (!session->writable) {
        if (client->reply_bytes >= SLC_REPLY_BYTES_MAX) {
            reply_refused(session);
            return 0;
        }
        client->reply_bytes += slc_message_content_bytes(m);
    }
    session->reply_to->refusing = false;
    session->reply_to->serial = broker->reply_serial;
    SLC_COUNT(session, delivered_no_ack);
    session->ops->deliver(session, &session->reply_to->consumer, ++session->last_tag, false, m);
    return 1;
}

uint32_t slc_reply_to_publish(slc_broker *broker, slc_message *message)
{
    broker->reply_serial++;
    uint32_t delivered = deliver_to(broker, message, slc_message_key(message));
    if (message->more_keys) {
        slc_slice *keys;
        uint32_t count = slc_message_more_keys(message, &keys);
        for (uint32_t i = 0; i < count; i++)
            delivered += deliver_to(broker, message, keys[i]);
        slc_free(keys);
    }
    return delivered;
}
