#include "http/access_log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/table.h"

struct slc_access_log {
    char *dir;
    int fd;
    int64_t hour; // of the file, since 1970
    bool warned;
};

static int file_open(const char *dir, const struct tm *utc)
{
    char path[4096];
    int n = snprintf(path, sizeof path, "%s/access.log.%04d_%02d_%02d_%02d", dir,
                     utc->tm_year + 1900, utc->tm_mon + 1, utc->tm_mday, utc->tm_hour);
    if (n < 0 || (size_t)n >= sizeof path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    return open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
}

slc_err slc_access_log_open(const char *dir, slc_access_log **out, slc_error *error)
{
    time_t now = time(NULL);
    struct tm utc;
    gmtime_r(&now, &utc);
    int fd = file_open(dir, &utc);
    if (fd < 0)
        return slc_error_set(error, slc_err_from_errno(errno),
                             "management.http_log_dir = %s: no file can be written there: %s", dir,
                             strerror(errno));
    slc_access_log *log = slc_alloc_zero(1, sizeof *log);
    log->dir = slc_strdup(dir);
    log->fd = fd;
    log->hour = (int64_t)now / 3600;
    *out = log;
    return SLC_OK;
}

void slc_access_log_close(slc_access_log *log)
{
    if (log == NULL)
        return;
    if (log->fd >= 0)
        close(log->fd);
    slc_free(log->dir);
    slc_free(log);
}

// A text of a stranger's between quotes, or a dash.
static void put_quoted(slc_buffer *line, const char *text)
{
    slc_buffer_text(line, " \"");
    for (const char *at = text != NULL ? text : "-"; *at != '\0'; at++) {
        if (*at == '"' || *at == '\\' || (uint8_t)*at < ' ' || *at == 0x7f)
            slc_buffer_format(line, "\\x%02x", (uint8_t)*at);
        else
            slc_buffer_octet(line, (uint8_t)*at);
    }
    slc_buffer_octet(line, '"');
}

// A user's name is a word here.
static void put_word(slc_buffer *line, const char *text)
{
    for (const char *at = text; *at != '\0'; at++)
        slc_buffer_octet(line, (uint8_t)*at > ' ' && *at != 0x7f ? (uint8_t)*at : '_');
}

void slc_access_log_write(slc_access_log *log, const slc_access_log_line *l)
{
    // A password is part of this path, so the rest of it is left out.
    static const char secret[] = "/auth/hash_password/";
    time_t now = time(NULL);
    struct tm utc;
    gmtime_r(&now, &utc);
    if ((int64_t)now / 3600 != log->hour) {
        if (log->fd >= 0)
            close(log->fd);
        log->fd = file_open(log->dir, &utc);
        log->hour = (int64_t)now / 3600;
    }
    char at[40];
    strftime(at, sizeof at, "[%d/%b/%Y:%H:%M:%S +0000]", &utc);
    const char *hidden = strstr(l->path, secret);
    size_t path_bytes =
        hidden != NULL ? (size_t)(hidden - l->path) + sizeof secret - 1 : strlen(l->path);
    slc_buffer request = {0}, line = {0};
    slc_buffer_format(&request, "%s %.*s HTTP/1.1", l->method, (int)path_bytes, l->path);
    slc_buffer_octet(&request, '\0');
    slc_buffer_format(&line, "%s - ", l->address[0] != '\0' ? l->address : "-");
    put_word(&line, l->user != NULL ? l->user : "-");
    slc_buffer_format(&line, " %s", at);
    put_quoted(&line, (const char *)request.data);
    slc_buffer_format(&line, " %u %" PRIu64, l->status, l->bytes);
    put_quoted(&line, l->referer);
    put_quoted(&line, l->agent);
    slc_buffer_octet(&line, '\n');
    // One call a line: lines stay whole, whoever reads along.
    bool written = log->fd >= 0 && write(log->fd, line.data, line.bytes) == (ssize_t)line.bytes;
    if (!written && !log->warned)
        slc_log(SLC_LOG_WARN, "http", "http.access_log.lost",
                SLC_FIELDS(SLC_F_STR("dir", log->dir)),
                "the access log in %s cannot be written: lines are lost", log->dir);
    log->warned = !written;
    slc_buffer_fini(&request);
    slc_buffer_fini(&line);
}
