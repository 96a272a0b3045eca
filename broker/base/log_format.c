#include "base/log_impl.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// The end of a line that was cut, for both formats: "..." and what closes a JSON string and object.
enum { LINE_TAIL_BYTES = 8 };

typedef struct line {
    char *out;
    size_t bytes;
    size_t cap;
    bool cut;
} line;

static void line_put(line *l, const char *text, size_t bytes)
{
    if (l->cut || bytes > l->cap - l->bytes) {
        l->cut = true;
        return;
    }
    memcpy(l->out + l->bytes, text, bytes);
    l->bytes += bytes;
}

static void line_text(line *l, const char *text)
{
    line_put(l, text, strlen(text));
}

static void line_format(line *l, const char *format, ...) SLC_PRINTF(2, 3);
static void line_format(line *l, const char *format, ...)
{
    char text[128];
    va_list args;
    va_start(args, format);
    int bytes = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (bytes > 0)
        line_put(l, text, (size_t)bytes < sizeof text ? (size_t)bytes : sizeof text - 1);
}

// Bytes of the well-formed UTF-8 sequence at text, 0 when there is none. Its code point goes to
// *point.
static size_t line_utf8(const unsigned char *text, uint32_t *point)
{
    unsigned char lead = text[0];
    size_t bytes = lead < 0x80                   ? 1
                   : lead >= 0xc2 && lead < 0xe0 ? 2
                   : (lead & 0xf0) == 0xe0       ? 3
                   : lead >= 0xf0 && lead < 0xf5 ? 4
                                                 : 0;
    if (bytes == 0)
        return 0;
    uint32_t value = bytes == 1   ? lead
                     : bytes == 2 ? lead & 0x1fu
                     : bytes == 3 ? lead & 0x0fu
                                  : lead & 0x07u;
    for (size_t i = 1; i < bytes; i++) {
        if ((text[i] & 0xc0) != 0x80) // a terminator ends here too
            return 0;
        value = value << 6 | (text[i] & 0x3fu);
    }
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    if (value < least[bytes] || value > 0x10ffff || (value >= 0xd800 && value < 0xe000))
        return 0;
    *point = value;
    return bytes;
}

static bool point_prints(uint32_t point)
{
    // C0 and C1 control characters drive terminals; the line and paragraph separators break lines
    // in some viewers.
    return point >= 0x20 && !(point >= 0x7f && point < 0xa0) && point != 0x2028 && point != 0x2029;
}

static void line_escaped(line *l, const char *text, bool json)
{
    const unsigned char *at = (const unsigned char *)text;
    while (*at != '\0' && !l->cut) {
        uint32_t point = 0;
        size_t bytes = line_utf8(at, &point);
        if (bytes == 0) {
            if (json)
                line_text(l, "\xef\xbf\xbd");
            else
                line_format(l, "\\x%02x", (unsigned)*at);
            at++;
            continue;
        }
        if (point == '\n')
            line_text(l, "\\n");
        else if (point == '\t')
            line_text(l, "\\t");
        else if (json && (point == '"' || point == '\\'))
            line_format(l, "\\%c", (char)point);
        else if (point_prints(point))
            line_put(l, (const char *)at, bytes);
        else
            line_format(l, json ? "\\u%04" PRIx32 : "\\x{%" PRIx32 "}", point);
        at += bytes;
    }
}

static void line_string(line *l, const char *name, const char *text)
{
    line_text(l, "\"");
    line_escaped(l, name, true);
    line_text(l, "\":\"");
    line_escaped(l, text, true);
    line_text(l, "\"");
}

// 2026-11-22 18:59:17.007006+00:00, in the local time zone as RabbitMQ does.
static void line_time(line *l, const struct timespec *time)
{
    struct tm local;
    if (localtime_r(&time->tv_sec, &local) == NULL)
        memset(&local, 0, sizeof local);
    long offset = local.tm_gmtoff / 60;
    line_format(l, "%04d-%02d-%02d %02d:%02d:%02d.%06ld%c%02ld:%02ld", local.tm_year + 1900,
                local.tm_mon + 1, local.tm_mday, local.tm_hour, local.tm_min, local.tm_sec,
                time->tv_nsec / 1000, offset < 0 ? '-' : '+', labs(offset) / 60, labs(offset) % 60);
}

size_t slc_log_format_plain(const slc_log_record *record, char *out, size_t *message_at)
{
    line l = {.out = out, .cap = SLC_LOG_LINE_BYTES_MAX - LINE_TAIL_BYTES};
    line_time(&l, &record->time);
    line_text(&l, " [");
    line_text(&l, slc_log_level_name(record->level));
    line_text(&l, "] <");
    line_text(&l, record->category);
    const slc_field *first = record->fields.count > 0 ? &record->fields.fields[0] : NULL;
    if (first != NULL && first->text == NULL && strcmp(first->name, record->category) == 0)
        line_format(&l, "#%" PRIu64, first->number);
    line_text(&l, "> ");
    *message_at = l.bytes;
    line_escaped(&l, record->message, false);
    if (l.cut) {
        memcpy(out + l.bytes, "...", 3);
        l.bytes += 3;
    }
    out[l.bytes++] = '\n';
    return l.bytes;
}

size_t slc_log_format_json(const slc_log_record *record, char *out)
{
    line l = {.out = out, .cap = SLC_LOG_LINE_BYTES_MAX - LINE_TAIL_BYTES};
    line_text(&l, "{\"time\":\"");
    line_time(&l, &record->time);
    line_text(&l, "\",");
    line_string(&l, "level", slc_log_level_name(record->level));
    line_text(&l, ",");
    line_string(&l, "category", record->category);
    line_text(&l, ",");
    line_string(&l, "event", record->event);
    if (record->node != NULL) {
        line_text(&l, ",");
        line_string(&l, "node", record->node);
    }
    line_text(&l, ",");
    line_string(&l, "msg", record->message);
    // A field that no longer fits is left out whole: a reader can always parse the line.
    for (uint32_t i = 0; i < record->fields.count; i++) {
        const slc_field *field = &record->fields.fields[i];
        line before = l;
        line_text(&l, ",");
        if (field->text != NULL) {
            line_string(&l, field->name, field->text);
        } else {
            line_text(&l, "\"");
            line_escaped(&l, field->name, true);
            line_format(&l, "\":%" PRIu64, field->number);
        }
        if (l.cut) {
            l = before;
            l.cut = false;
        }
    }
    memcpy(out + l.bytes, "}\n", 2);
    return l.bytes + 2;
}

// Names of the journal are capitals, digits and underscores; one that begins with an underscore is dropped there.
static void line_journal_name(line *l, const char *prefix, const char *name)
{
    line_text(l, prefix);
    for (; *name != '\0'; name++) {
        char c = *name;
        bool good = (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (c >= 'a' && c <= 'z')
            c = (char)(c - 'a' + 'A');
        else if (!good)
            c = '_';
        line_put(l, &c, 1);
    }
    line_text(l, "=");
}

// NAME=value; the value is escaped, so it is one line and needs no binary form. One that does not fit is left out whole.
static void line_journal(line *l, const char *prefix, const char *name, const char *value)
{
    line before = *l;
    line_journal_name(l, prefix, name);
    line_escaped(l, value, false);
    line_text(l, "\n");
    if (l->cut) {
        *l = before;
        l->cut = false;
    }
}

size_t slc_log_format_journal(const slc_log_record *record, char *out)
{
    static const char *const priorities[] = {"7", "6", "4", "3", "3"};
    line l = {.out = out, .cap = SLC_LOG_LINE_BYTES_MAX};
    line_journal(&l, "", "priority", priorities[record->level]);
    line_journal(&l, "", "syslog_identifier", "sluiced");
    line_journal(&l, "", "message", record->message);
    line_journal(&l, "SLUICE_", "category", record->category);
    line_journal(&l, "SLUICE_", "event", record->event);
    if (record->node != NULL)
        line_journal(&l, "SLUICE_", "node", record->node);
    for (uint32_t i = 0; i < record->fields.count; i++) {
        const slc_field *field = &record->fields.fields[i];
        char number[24];
        snprintf(number, sizeof number, "%" PRIu64, field->number);
        line_journal(&l, "SLUICE_", field->name, field->text != NULL ? field->text : number);
    }
    return l.bytes;
}
