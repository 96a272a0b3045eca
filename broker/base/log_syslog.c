// The header of a syslog line: RFC 3164 as syslog(3) and RFC 5424 write it.
#include <stdio.h>
#include <string.h>

#include "base/log_impl.h"

static int syslog_severity(slc_log_level level)
{
    static const int severities[] = {7, 6, 4, 3, 3};
    return severities[level];
}

// Both RFCs: the header is printable ASCII without blanks; what is none becomes '_'.
static void syslog_word(const char *text, size_t max, char *out)
{
    size_t bytes = 0;
    for (; text[bytes] != '\0' && bytes < max; bytes++)
        out[bytes] = text[bytes] > ' ' && text[bytes] <= '~' ? text[bytes] : '_';
    if (bytes == 0)
        out[bytes++] = '-';
    out[bytes] = '\0';
}

size_t slc_log_syslog_format(const slc_log_syslog *syslog, slc_log_level level,
                             const struct timespec *time, const char *event, const char *text,
                             size_t bytes, char *out)
{
    static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    int priority = syslog->facility * 8 + syslog_severity(level);
    char host[256], identity[49], id[33];
    syslog_word(syslog->host, 255, host);
    syslog_word(syslog->identity, 48, identity);
    struct tm tm = {0};
    int head;
    if (syslog->rfc5424) {
        syslog_word(event, 32, id);
        gmtime_r(&time->tv_sec, &tm);
        head = snprintf(out, SLC_LOG_SYSLOG_BYTES_MAX,
                        "<%d>1 %04d-%02d-%02dT%02d:%02d:%02d.%06ldZ %s %s %d %s - ", priority,
                        tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min,
                        tm.tm_sec, time->tv_nsec / 1000, host, identity, syslog->pid, id);
    } else {
        localtime_r(&time->tv_sec, &tm);
        head = snprintf(out, SLC_LOG_SYSLOG_BYTES_MAX,
                        "<%d>%s %2d %02d:%02d:%02d %s%s%s[%d]: ", priority, months[tm.tm_mon],
                        tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, syslog->local ? "" : host,
                        syslog->local ? "" : " ", identity, syslog->pid);
    }
    size_t at = (size_t)head;
    if (bytes > SLC_LOG_SYSLOG_BYTES_MAX - at)
        bytes = SLC_LOG_SYSLOG_BYTES_MAX - at;
    memcpy(out + at, text, bytes);
    return at + bytes;
}
