// Where lines go: descriptors for stderr and the file, a function, two sockets. Only the writer thread touches outputs that are in use.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "base/alloc.h"
#include "base/log_impl.h"

struct slc_log_outputs {
    uint32_t open; // bits by slc_log_output
    uint32_t json;
    bool console_is_journal; // its lines carry a priority
    int file_fd;
    uint64_t file_bytes, file_bytes_max;
    uint32_t file_old;
    char path[4096];
    slc_log_syslog syslog;
    slc_log_socket syslog_socket, journal_socket;
};

// Who gets the lines as well. Held during the call, so that nobody is in it once it was taken away.
static uv_once_t lines_once = UV_ONCE_INIT;
static uv_mutex_t lines_lock;
static void (*lines_call)(const slc_log_line *line, void *arg);
static void *lines_arg;

static void lines_setup(void)
{
    int rc = uv_mutex_init(&lines_lock);
    SLC_ASSERT(rc == 0);
}

void slc_log_lines(void (*line)(const slc_log_line *line, void *arg), void *arg)
{
    uv_once(&lines_once, lines_setup);
    uv_mutex_lock(&lines_lock);
    lines_call = line;
    lines_arg = arg;
    uv_mutex_unlock(&lines_lock);
}

// ---- opening and closing

/** The file by its name; the one that was open is closed. false, errno: it stays open. */
static bool file_open(slc_log_outputs *o)
{
    int fd = open(o->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0640);
    struct stat status;
    if (fd < 0)
        return false;
    if (o->file_fd >= 0)
        close(o->file_fd);
    o->file_fd = fd;
    o->file_bytes = fstat(fd, &status) == 0 ? (uint64_t)status.st_size : 0;
    return true;
}

/** log.file.rotation. What cannot be renamed or opened is tried again when as much has been written again. */
static void file_rotate(slc_log_outputs *o)
{
    char from[sizeof o->path + 16], to[sizeof o->path + 16];
    for (uint32_t i = o->file_old; i > 0; i--) {
        snprintf(to, sizeof to, "%s.%u", o->path, i - 1);
        if (i > 1)
            snprintf(from, sizeof from, "%s.%u", o->path, i - 2);
        (void)rename(i > 1 ? from : o->path, to);
    }
    if (o->file_old == 0)
        (void)unlink(o->path);
    (void)file_open(o);
    o->file_bytes = 0;
}

// JOURNAL_STREAM names the socket that systemd connected to stderr.
static bool stderr_is_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    struct stat status;
    if (stream == NULL || fstat(STDERR_FILENO, &status) != 0)
        return false;
    char own[64];
    snprintf(own, sizeof own, "%ju:%ju", (uintmax_t)status.st_dev, (uintmax_t)status.st_ino);
    return strcmp(own, stream) == 0;
}

static slc_err outputs_file(slc_log_outputs *o, const slc_log_options *options, slc_error *error)
{
    if (options->file == NULL)
        return SLC_OK;
    int written = snprintf(o->path, sizeof o->path, "%s", options->file);
    if (written < 0 || (size_t)written >= sizeof o->path)
        return slc_error_set(error, SLC_EINVAL, "the path of the log file is longer than %zu bytes",
                             sizeof o->path - 1);
    o->file_bytes_max = options->file_bytes_max;
    o->file_old = options->file_old;
    if (!file_open(o))
        return slc_error_set(error, slc_err_from_errno(errno), "cannot open the log file %s: %s",
                             options->file, strerrordesc_np(errno));
    o->open |= 1u << SLC_LOG_FILE;
    o->json |= (uint32_t)options->file_json << SLC_LOG_FILE;
    return SLC_OK;
}

static slc_err outputs_syslog(slc_log_outputs *o, const slc_log_syslog_options *options,
                              slc_error *error)
{
    if (!options->on)
        return SLC_OK;
    if (options->host != NULL)
        slc_log_socket_inet(&o->syslog_socket, options->host, options->port, options->tcp);
    else if (!slc_log_socket_unix(&o->syslog_socket, options->socket))
        return slc_error_set(error, SLC_EINVAL, "the socket of syslog has too long a name: %s",
                             options->socket);
    o->syslog = (slc_log_syslog){.facility = options->facility,
                                 .rfc5424 = options->rfc5424,
                                 .local = options->host == NULL,
                                 .pid = (int)getpid()};
    snprintf(o->syslog.identity, sizeof o->syslog.identity, "%s", options->identity);
    if (gethostname(o->syslog.host, sizeof o->syslog.host - 1) != 0)
        o->syslog.host[0] = '\0';
    o->open |= 1u << SLC_LOG_SYSLOG;
    o->json |= (uint32_t)options->json << SLC_LOG_SYSLOG;
    return SLC_OK;
}

static slc_err outputs_journal(slc_log_outputs *o, const slc_log_options *options, slc_error *error)
{
    if (!options->journal)
        return SLC_OK;
    if (!slc_log_socket_unix(&o->journal_socket, options->journal_socket))
        return slc_error_set(error, SLC_EINVAL, "the socket of the journal has too long a name: %s",
                             options->journal_socket);
    o->open |= 1u << SLC_LOG_JOURNAL;
    return SLC_OK;
}

slc_err slc_log_outputs_new(const slc_log_options *options, slc_log_outputs **out, slc_error *error)
{
    uv_once(&lines_once, lines_setup);
    slc_log_outputs *o = slc_alloc_zero(1, sizeof *o);
    o->file_fd = o->syslog_socket.fd = o->journal_socket.fd = -1;
    o->console_is_journal = stderr_is_journal();
    if (!options->console_off && !(options->journal && o->console_is_journal))
        o->open |= 1u << SLC_LOG_CONSOLE;
    if (options->lines)
        o->open |= 1u << SLC_LOG_LINES;
    o->json |= (uint32_t)options->json << SLC_LOG_CONSOLE;
    o->json |= (uint32_t)options->line_json << SLC_LOG_LINES;
    slc_err rc = outputs_syslog(o, &options->syslog, error);
    if (rc == SLC_OK)
        rc = outputs_journal(o, options, error);
    if (rc == SLC_OK)
        rc = outputs_file(o, options, error);
    if (rc != SLC_OK) {
        slc_log_outputs_free(o);
        return rc;
    }
    *out = o;
    return SLC_OK;
}

void slc_log_outputs_free(slc_log_outputs *outputs)
{
    if (outputs == NULL)
        return;
    if (outputs->file_fd >= 0)
        close(outputs->file_fd);
    slc_log_socket_close(&outputs->syslog_socket);
    slc_log_socket_close(&outputs->journal_socket);
    slc_free(outputs);
}

uint32_t slc_log_outputs_open(const slc_log_outputs *outputs)
{
    return outputs->open;
}

uint32_t slc_log_outputs_json(const slc_log_outputs *outputs)
{
    return outputs->json;
}

const char *slc_log_outputs_path(const slc_log_outputs *outputs)
{
    return outputs->path;
}

int slc_log_outputs_reopen(slc_log_outputs *outputs)
{
    return outputs->file_fd < 0 || file_open(outputs) ? 0 : errno;
}

slc_log_socket *slc_log_outputs_socket(slc_log_outputs *outputs, slc_log_output output)
{
    if ((outputs->open & 1u << output) == 0)
        return NULL;
    return output == SLC_LOG_SYSLOG ? &outputs->syslog_socket : &outputs->journal_socket;
}

bool slc_log_outputs_wait(const slc_log_outputs *outputs)
{
    return slc_log_socket_waits(&outputs->syslog_socket) ||
           slc_log_socket_waits(&outputs->journal_socket);
}

// ---- writing

// All of it, waiting for a terminal that is not ready; false when the sink does not take it.
static bool write_all(int fd, const char *text, size_t bytes)
{
    while (bytes > 0) {
        ssize_t done = write(fd, text, bytes);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0 && errno == EAGAIN) {
            struct pollfd ready = {.fd = fd, .events = POLLOUT};
            if (poll(&ready, 1, 1000) < 0 && errno != EINTR)
                return false;
            continue;
        }
        if (done <= 0)
            return false;
        text += done;
        bytes -= (size_t)done;
    }
    return true;
}

typedef struct text_of {
    const char *text; // with its line end
    size_t bytes;
    bool json;
} text_of;

static text_of entry_text(const slc_log_outputs *o, const slc_log_entry *entry, slc_log_output to)
{
    // After a change of options a few lines are in the other format: better than none.
    bool json = entry->json_bytes > 0 && ((o->json & 1u << to) != 0 || entry->plain_bytes == 0);
    return json ? (text_of){entry->text + entry->plain_bytes, entry->json_bytes, true}
                : (text_of){entry->text, entry->plain_bytes, false};
}

static bool console_write(const slc_log_outputs *o, const slc_log_entry *entry)
{
    text_of t = entry_text(o, entry, SLC_LOG_CONSOLE);
    if (!o->console_is_journal)
        return write_all(STDERR_FILENO, t.text, t.bytes);

    static const char priorities[] = {'7', '6', '4', '3', '3'};
    char marked[SLC_LOG_LINE_BYTES_MAX +
                3]; // one write, so that lines of other processes do not get between
    marked[0] = '<', marked[1] = priorities[entry->level], marked[2] = '>';
    memcpy(marked + 3, t.text, t.bytes);
    return write_all(STDERR_FILENO, marked, t.bytes + 3);
}

static bool file_write(slc_log_outputs *o, const slc_log_entry *entry)
{
    text_of t = entry_text(o, entry, SLC_LOG_FILE);
    if (o->file_bytes_max > 0 && o->file_bytes > 0 && o->file_bytes + t.bytes > o->file_bytes_max)
        file_rotate(o);
    o->file_bytes += t.bytes;
    return write_all(o->file_fd, t.text, t.bytes);
}

static void lines_write(const slc_log_outputs *o, const slc_log_entry *entry)
{
    text_of t = entry_text(o, entry, SLC_LOG_LINES);
    slc_log_line given = {.level = entry->level,
                          .time_s = (uint64_t)entry->time.tv_sec,
                          .json = t.json,
                          .text = t.text,
                          .bytes = t.bytes};
    uv_mutex_lock(&lines_lock);
    if (lines_call != NULL)
        lines_call(&given, lines_arg);
    uv_mutex_unlock(&lines_lock);
}

static bool syslog_write(slc_log_outputs *o, const slc_log_entry *entry)
{
    text_of t = entry_text(o, entry, SLC_LOG_SYSLOG);
    size_t skip = t.json ? 0 : entry->message_at; // time and level are in the header
    char out[SLC_LOG_SYSLOG_BYTES_MAX];
    size_t bytes = slc_log_syslog_format(&o->syslog, entry->level, &entry->time, entry->event,
                                         t.text + skip, t.bytes - skip - 1, out);
    return slc_log_socket_send(&o->syslog_socket, out, bytes);
}

static bool journal_write(slc_log_outputs *o, const slc_log_entry *entry)
{
    if (entry->journal_bytes == 0) // logged before the journal was an output
        return true;
    return slc_log_socket_send(&o->journal_socket,
                               entry->text + entry->plain_bytes + entry->json_bytes,
                               entry->journal_bytes);
}

bool slc_log_outputs_write(slc_log_outputs *o, const slc_log_entry *entry)
{
    uint32_t to = entry->wanted & o->open;
    bool taken = true;
    if (entry->plain_bytes + entry->json_bytes > 0) {
        if ((to & 1u << SLC_LOG_CONSOLE) != 0)
            taken &= console_write(o, entry);
        if ((to & 1u << SLC_LOG_FILE) != 0)
            taken &= file_write(o, entry);
        if ((to & 1u << SLC_LOG_LINES) != 0)
            lines_write(o, entry);
        if ((to & 1u << SLC_LOG_SYSLOG) != 0)
            taken &= syslog_write(o, entry);
    }
    if ((to & 1u << SLC_LOG_JOURNAL) != 0)
        taken &= journal_write(o, entry);
    return taken;
}

void slc_log_write_stderr(const slc_log_entry *entry)
{
    write_all(STDERR_FILENO, entry->text,
              entry->plain_bytes > 0 ? entry->plain_bytes : entry->json_bytes);
}
