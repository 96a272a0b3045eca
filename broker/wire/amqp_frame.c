#include "wire/amqp_frame.h"

#include <stdio.h>

#include "base/table.h"

enum { CONTENT_HEAD_BYTES = 12 }; // class, weight and body size of a content header

const uint8_t slc_amqp_header_ours[SLC_AMQP_HEADER_BYTES] = {'A', 'M', 'Q', 'P', 0, 0, 9, 1};

const uint8_t slc_amqp_heartbeat[SLC_AMQP_FRAME_EXTRA_BYTES] = {
    SLC_AMQP_FRAME_HEARTBEAT, 0, 0, 0, 0, 0, 0, SLC_AMQP_FRAME_END};

const char *slc_amqp_reply_name(uint16_t code)
{
    switch (code) {
#define REPLY_NAME(number, name, fatal)                                                            \
    case number:                                                                                   \
        return #name;
        SLC_AMQP_REPLY_TABLE(REPLY_NAME)
#undef REPLY_NAME
    default:
        return "UNKNOWN";
    }
}

bool slc_amqp_reply_is_connection_error(uint16_t code)
{
    switch (code) {
#define REPLY_FATAL(number, name, fatal)                                                           \
    case number:                                                                                   \
        return fatal;
        SLC_AMQP_REPLY_TABLE(REPLY_FATAL)
#undef REPLY_FATAL
    default:
        return true;
    }
}

const char *slc_amqp_reply_text(uint16_t code, const char *explanation,
                                char text[SLC_AMQP_REPLY_TEXT_CAP])
{
    bool bare = explanation == NULL || explanation[0] == '\0';
    // The octets of a name may not be UTF-8 (only names in methods are checked), and a short string
    // has to be.
    int length = snprintf(text, SLC_AMQP_REPLY_TEXT_CAP, "%s%s%s", slc_amqp_reply_name(code),
                          bare ? "" : " - ", bare ? "" : explanation);
    size_t bytes = (size_t)length;
    if (bytes >= SLC_AMQP_REPLY_TEXT_CAP) {
        bytes = SLC_AMQP_REPLY_TEXT_CAP - 4;
        while (bytes > 0 && ((uint8_t)text[bytes] & 0xC0) == 0x80)
            bytes--;
        memcpy(text + bytes, "...", 4);
    }
    if (!slc_utf8_check(slc_slice_str(text))) {
        for (char *at = text; *at != '\0'; at++) {
            if ((uint8_t)*at >= 0x80)
                *at = '?';
        }
    }
    return text;
}

/** Request lines of HTTP/1 and the preface of HTTP/2; four octets tell them apart. */
static bool is_http(const uint8_t *at)
{
    static const char verbs[][5] = {"GET ", "POST", "PUT ", "HEAD", "DELE",
                                    "OPTI", "PATC", "CONN", "TRAC", "PRI "};
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        if (memcmp(at, verbs[i], 4) == 0)
            return true;
    }
    return false;
}

slc_amqp_header slc_amqp_header_check(slc_slice input)
{
    static const uint8_t old[SLC_AMQP_HEADER_BYTES] = {'A', 'M', 'Q', 'P', 1, 1, 0, 9};
    if (input.bytes < SLC_AMQP_HEADER_BYTES)
        return SLC_AMQP_HEADER_MORE;
    if (memcmp(input.data, slc_amqp_header_ours, sizeof old) == 0)
        return SLC_AMQP_HEADER_OK;
    if (memcmp(input.data, old, sizeof old) == 0)
        return SLC_AMQP_HEADER_OK;
    if (memcmp(input.data, "AMQP", 4) == 0)
        return SLC_AMQP_HEADER_VERSION;
    if (input.data[0] == 0x16 && input.data[1] == 3 && input.data[5] == 1)
        return SLC_AMQP_HEADER_TLS;
    return is_http(input.data) ? SLC_AMQP_HEADER_HTTP : SLC_AMQP_HEADER_FOREIGN;
}

/** Writes like snprintf: as much as fits, and the length that all of it would have. */
size_t slc_amqp_octets_text(slc_slice octets, char *text, size_t cap)
{
    size_t length = 0;
    for (size_t i = 0; i <= octets.bytes; i++) {
        bool last = i == octets.bytes;
        char item[8];
        int bytes = last     ? snprintf(item, sizeof item, "%s>>", i == 0 ? "<<" : "")
                    : i == 0 ? snprintf(item, sizeof item, "<<%u", octets.data[i])
                             : snprintf(item, sizeof item, ",%u", octets.data[i]);
        for (int j = 0; j < bytes; j++, length++) {
            if (length + 1 < cap)
                text[length] = item[j];
        }
    }
    if (cap > 0)
        text[length < cap ? length : cap - 1] = '\0';
    return length;
}

size_t slc_amqp_octets_text_p(slc_slice octets, char *text, size_t cap)
{
    for (size_t i = 0; i < octets.bytes; i++) {
        uint8_t octet = octets.data[i];
        if (octet < 32 || octet > 126 || octet == '"' || octet == '\\')
            return slc_amqp_octets_text(octets, text, cap);
    }
    if (octets.bytes == 0)
        return slc_amqp_octets_text(octets, text, cap);
    int length = snprintf(text, cap, "<<\"%.*s\">>", SLC_SLICE_FMT(octets));
    return length < 0 ? 0 : (size_t)length;
}

/** The sentence that RabbitMQ makes of a frame it does not want; why: a further word, or "". */
static slc_err frame_refused(slc_err code, uint8_t type, slc_slice payload, const char *why,
                             slc_error *error)
{
    enum { SHOWN = 16 };
    bool all = payload.bytes <= SHOWN;
    char octets[4 + SHOWN * 4 + 1];
    slc_amqp_octets_text_p(slc_slice_of(payload.data, all ? payload.bytes : SHOWN), octets,
                           sizeof octets);
    return slc_error_set(error, code, "type %u, %s octets = %s%s%s", type, all ? "all" : "first 16",
                         octets, why[0] == '\0' ? "" : ": ", why);
}

slc_err slc_amqp_frame_unknown(uint8_t type, slc_slice payload, slc_error *error)
{
    return frame_refused(SLC_EFRAME, type, payload, "unknown_frame", error);
}

slc_err slc_amqp_frame_unexpected(uint8_t type, slc_slice payload, slc_error *error)
{
    return frame_refused(SLC_EUNEXPECTED, type, payload, "", error);
}

slc_err slc_amqp_frame_decode(slc_slice input, uint32_t frame_max, slc_amqp_frame *out,
                              size_t *used, slc_error *error)
{
    char why[64];
    if (input.bytes < SLC_AMQP_FRAME_HEAD_BYTES) {
        *used = SLC_AMQP_FRAME_HEAD_BYTES;
        return SLC_ETRUNCATED;
    }
    slc_amqp_frame_head head = slc_amqp_frame_head_decode(input.data);
    // Refused before anything is buffered: a stranger's length must not make us wait for 4 GiB.
    if (frame_max != 0 && head.bytes > frame_max) {
        snprintf(why, sizeof why, "{frame_too_large,%u,%u}", head.bytes,
                 frame_max > SLC_AMQP_FRAME_EXTRA_BYTES ? frame_max - SLC_AMQP_FRAME_EXTRA_BYTES
                                                        : 0);
        return frame_refused(SLC_EFRAME, head.type, (slc_slice){0}, why, error);
    }
    size_t whole = (size_t)head.bytes + SLC_AMQP_FRAME_EXTRA_BYTES;
    *used = whole;
    if (input.bytes < whole)
        return SLC_ETRUNCATED;
    slc_slice payload = slc_slice_of(input.data + SLC_AMQP_FRAME_HEAD_BYTES, head.bytes);
    uint8_t end = input.data[whole - 1];
    if (end != SLC_AMQP_FRAME_END) {
        snprintf(why, sizeof why, "{invalid_frame_end_marker,%u}", end);
        return frame_refused(SLC_EFRAME, head.type, payload, why, error);
    }
    switch (head.type) {
    case SLC_AMQP_FRAME_METHOD:
        if (payload.bytes < 4)
            return slc_amqp_frame_unknown(head.type, payload, error);
        break;
    case SLC_AMQP_FRAME_HEADER:
        if (payload.bytes < CONTENT_HEAD_BYTES)
            return slc_amqp_frame_unknown(head.type, payload, error);
        break;
    case SLC_AMQP_FRAME_BODY:
        break;
    case SLC_AMQP_FRAME_HEARTBEAT:
        if (payload.bytes != 0)
            return slc_amqp_frame_unknown(head.type, payload, error);
        if (head.channel != 0)
            return slc_amqp_frame_unexpected(head.type, payload, error);
        break;
    default:
        return slc_amqp_frame_unknown(head.type, payload, error);
    }
    *out = (slc_amqp_frame){head.type, head.channel, payload};
    return SLC_OK;
}
