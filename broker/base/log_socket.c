#include "base/log_socket.h"

#include <errno.h>
#include <inttypes.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"

enum {
    SOCKET_RETRY_MS = 1000,
    SOCKET_FULL_WAIT_MS = 100,
    SOCKET_CLOSE_WAIT_MS = 1000,
    SOCKET_GOOD_MS = 1000, // so that one which is full every now and then does not fill the log
};

// ---- names

enum { LOOKUP_RUNNING, LOOKUP_DONE, LOOKUP_ABANDONED };

// Whoever comes second, the thread that is done or the socket that needs it no more, frees it.
typedef struct log_lookup {
    _Atomic int state;
    char host[256];
    char port[8];
    bool stream;
    slc_log_address addresses[SLC_LOG_SOCKET_ADDRESSES_MAX];
    uint32_t count;
} log_lookup;

static uint32_t addresses_of(const char *host, const char *port, bool stream, bool numeric,
                             slc_log_address *out)
{
    struct addrinfo hints = {.ai_socktype = stream ? SOCK_STREAM : SOCK_DGRAM,
                             .ai_flags = AI_NUMERICSERV | (numeric ? AI_NUMERICHOST : 0)};
    struct addrinfo *found = NULL;
    if (getaddrinfo(host, port, &hints, &found) != 0)
        return 0;
    uint32_t count = 0;
    for (struct addrinfo *at = found; at != NULL && count < SLC_LOG_SOCKET_ADDRESSES_MAX;
         at = at->ai_next) {
        memcpy(&out[count].address, at->ai_addr, at->ai_addrlen);
        out[count++].bytes = at->ai_addrlen;
    }
    freeaddrinfo(found);
    return count;
}

static void *lookup_run(void *arg)
{
    log_lookup *l = arg;
    l->count = addresses_of(l->host, l->port, l->stream, false, l->addresses);
    if (atomic_exchange(&l->state, LOOKUP_DONE) == LOOKUP_ABANDONED)
        slc_free(l);
    return NULL;
}

static void lookup_start(slc_log_socket *s)
{
    log_lookup *l = slc_alloc_zero(1, sizeof *l);
    snprintf(l->host, sizeof l->host, "%s", s->host);
    snprintf(l->port, sizeof l->port, "%u", (unsigned)s->port);
    l->stream = s->stream;
    pthread_t thread;
    if (pthread_create(&thread, NULL, lookup_run, l) != 0) {
        slc_free(l);
        s->why = EAGAIN;
        return;
    }
    pthread_detach(thread);
    s->lookup = l;
}

static void lookup_take(slc_log_socket *s)
{
    log_lookup *l = s->lookup;
    if (l == NULL || atomic_load(&l->state) != LOOKUP_DONE)
        return;
    memcpy(s->addresses, l->addresses, sizeof s->addresses);
    s->address_count = l->count;
    s->address_next = 0;
    if (l->count == 0) {
        s->why = -1;
        s->failing = true;
    } else {
        s->retry_ns = 0;
    }
    s->lookup = NULL;
    slc_free(l);
}

static void lookup_drop(slc_log_socket *s)
{
    if (s->lookup != NULL && atomic_exchange(&s->lookup->state, LOOKUP_ABANDONED) == LOOKUP_DONE)
        slc_free(s->lookup);
    s->lookup = NULL;
}

// ---- connecting

bool slc_log_socket_unix(slc_log_socket *s, const char *path)
{
    *s = (slc_log_socket){.fd = -1, .address_count = 1};
    struct sockaddr_un *un = (struct sockaddr_un *)&s->addresses[0].address;
    if (strlen(path) >= sizeof un->sun_path)
        return false;
    un->sun_family = AF_UNIX;
    strcpy(un->sun_path, path);
    s->addresses[0].bytes = sizeof *un;
    snprintf(s->name, sizeof s->name, "%s", path);
    return true;
}

void slc_log_socket_inet(slc_log_socket *s, const char *host, uint16_t port, bool tcp)
{
    *s = (slc_log_socket){.fd = -1, .port = port, .stream = tcp};
    snprintf(s->host, sizeof s->host, "%s", host);
    snprintf(s->name, sizeof s->name, "%s, port %u (%s)", host, (unsigned)port,
             tcp ? "TCP" : "UDP");
    char text[8];
    snprintf(text, sizeof text, "%u", (unsigned)port);
    s->address_count = addresses_of(host, text, tcp, true, s->addresses);
    s->named = s->address_count == 0;
    if (tcp)
        s->pending = slc_alloc(SLC_LOG_SOCKET_PENDING_BYTES_MAX);
}

static void socket_lose(slc_log_socket *s, int why)
{
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
    s->state = SLC_LOG_SOCKET_ABSENT;
    s->why = why;
    s->full = false;
    s->failing = true;
    bool another = s->address_next < s->address_count;
    s->retry_ns = another ? 0 : slc_clock_now_ns() + SOCKET_RETRY_MS * SLC_NS_PER_MS;
}

static void socket_opened(slc_log_socket *s)
{
    s->state = SLC_LOG_SOCKET_OPEN;
    s->failing = false;
}

static void socket_connect(slc_log_socket *s)
{
    lookup_take(s);
    if (s->state != SLC_LOG_SOCKET_ABSENT || s->lookup != NULL || slc_clock_now_ns() < s->retry_ns)
        return;
    if (s->address_next >= s->address_count) { // all were tried, and a name may lead elsewhere now
        s->address_next = 0;
        if (s->named) {
            s->address_count = 0;
            s->retry_ns = slc_clock_now_ns() + SOCKET_RETRY_MS * SLC_NS_PER_MS;
            lookup_start(s);
            return;
        }
    }
    const slc_log_address *to = &s->addresses[s->address_next++];
    s->fd = socket(to->address.ss_family,
                   (s->stream ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s->fd < 0) {
        socket_lose(s, errno);
    } else if (connect(s->fd, (const struct sockaddr *)&to->address, to->bytes) == 0) {
        socket_opened(s);
    } else if (errno == EINPROGRESS) {
        s->state = SLC_LOG_SOCKET_CONNECTING;
        s->why = errno;
    } else {
        socket_lose(s, errno);
    }
}

// ---- sending

static bool socket_writable(const slc_log_socket *s, int wait_ms)
{
    struct pollfd ready = {.fd = s->fd, .events = POLLOUT};
    return poll(&ready, 1, wait_ms) > 0;
}

static void socket_drop(slc_log_socket *s, uint64_t lines)
{
    s->dropped += lines;
    s->lost_ns = slc_clock_now_ns();
}

static void stream_drop(slc_log_socket *s)
{
    socket_drop(s, s->pending_lines);
    s->pending_lines = 0;
    s->pending_bytes = 0;
}

static void stream_flush(slc_log_socket *s, int wait_ms)
{
    if (s->state == SLC_LOG_SOCKET_CONNECTING && socket_writable(s, wait_ms)) {
        int why = 0;
        socklen_t bytes = sizeof why;
        if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &why, &bytes) != 0)
            why = errno;
        if (why != 0)
            socket_lose(s, why);
        else
            socket_opened(s);
    }
    // A peer that went has closed its side; without this look the first line after that would be lost unnoticed.
    char octet;
    if (s->state == SLC_LOG_SOCKET_OPEN && recv(s->fd, &octet, 1, MSG_PEEK) == 0)
        socket_lose(s, ECONNRESET);
    while (s->state == SLC_LOG_SOCKET_OPEN && s->pending_bytes > 0) {
        ssize_t sent = send(s->fd, s->pending, s->pending_bytes, MSG_NOSIGNAL);
        if (sent >= 0) {
            s->pending_bytes -= (size_t)sent;
            memmove(s->pending, s->pending + sent, s->pending_bytes);
        } else if (errno == EAGAIN) {
            s->why = errno;
            if (wait_ms == 0 || !socket_writable(s, wait_ms))
                return;
            wait_ms = 0; // once
        } else if (errno != EINTR) {
            socket_lose(s, errno);
            stream_drop(s); // the first of them may have been sent in part
        }
    }
    if (s->pending_bytes == 0)
        s->pending_lines = 0;
}

static bool stream_send(slc_log_socket *s, const char *text, size_t bytes)
{
    char frame[24]; // RFC 6587: octets are counted, so a message may hold anything
    size_t frame_bytes = (size_t)snprintf(frame, sizeof frame, "%zu ", bytes);
    size_t all = frame_bytes + bytes;
    socket_connect(s);
    stream_flush(s, 0);
    if (all > SLC_LOG_SOCKET_PENDING_BYTES_MAX - s->pending_bytes && !s->full)
        stream_flush(s, SOCKET_FULL_WAIT_MS);
    s->full = all > SLC_LOG_SOCKET_PENDING_BYTES_MAX - s->pending_bytes;
    if (s->full)
        return false;
    memcpy(s->pending + s->pending_bytes, frame, frame_bytes);
    memcpy(s->pending + s->pending_bytes + frame_bytes, text, bytes);
    s->pending_bytes += all;
    s->pending_lines++;
    stream_flush(s, 0);
    return true;
}

static bool datagram_send(slc_log_socket *s, const char *text, size_t bytes)
{
    // A daemon that was restarted has a new socket under the old name: the first attempt tells, the second goes there.
    for (int attempt = 0; attempt < 2; attempt++) {
        socket_connect(s);
        if (s->state != SLC_LOG_SOCKET_OPEN)
            return false;
        if (send(s->fd, text, bytes, MSG_NOSIGNAL) >= 0) {
            s->full = false;
            s->refused = attempt > 0 && s->refused;
            return true;
        }
        s->why = errno;
        if (errno == EAGAIN || errno == ENOBUFS) {
            bool waited = s->full;
            s->full = true;
            if (waited || !socket_writable(s, SOCKET_FULL_WAIT_MS))
                return false;
        } else if (errno == EMSGSIZE) {
            return false;
        } else {
            if (s->host[0] != '\0') // UDP tells late: an earlier line was refused, this one not
                socket_drop(s, 1);
            s->refused = true;
            socket_lose(s, errno);
            if (attempt == 0)
                s->retry_ns = 0;
        }
    }
    return false;
}

bool slc_log_socket_send(slc_log_socket *s, const char *text, size_t bytes)
{
    bool sent = s->stream ? stream_send(s, text, bytes) : datagram_send(s, text, bytes);
    if (!sent)
        socket_drop(s, 1);
    return sent;
}

void slc_log_socket_turn(slc_log_socket *s)
{
    socket_connect(s);
    stream_flush(s, 0);
}

bool slc_log_socket_waits(const slc_log_socket *s)
{
    return s->pending_bytes > 0 || (s->told && s->state == SLC_LOG_SOCKET_OPEN);
}

bool slc_log_socket_news(slc_log_socket *s, char *out, size_t cap)
{
    bool works = s->state == SLC_LOG_SOCKET_OPEN && !s->full && !s->refused &&
                 slc_clock_now_ns() - s->lost_ns >= SOCKET_GOOD_MS * SLC_NS_PER_MS;
    if (!s->told && (s->dropped > 0 || s->failing)) {
        s->told = true;
        snprintf(out, cap, "lines for %s do not get through and are dropped: %s", s->name,
                 s->why < 0          ? "nobody knows the name"
                 : s->lookup != NULL ? "its address is not known yet"
                                     : strerrordesc_np(s->why));
        return true;
    }
    if (!s->told || !works)
        return false;
    snprintf(out, cap, "lines for %s get through again, %" PRIu64 " were dropped", s->name,
             s->dropped);
    s->told = false;
    s->dropped = 0;
    return true;
}

void slc_log_socket_close(slc_log_socket *s)
{
    lookup_drop(s);
    uint64_t end = slc_clock_now_ns() + SOCKET_CLOSE_WAIT_MS * SLC_NS_PER_MS;
    while (s->fd >= 0 && s->pending_bytes > 0) {
        uint64_t now = slc_clock_now_ns();
        if (now >= end || !socket_writable(s, (int)((end - now) / SLC_NS_PER_MS) + 1))
            break;
        stream_flush(s, 0);
    }
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
    slc_free(s->pending);
    s->pending = NULL;
}
