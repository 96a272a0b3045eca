#include "net/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "net/net_impl.h"
#include "net/proxy_wait.h"

enum {
    ACCEPTS_PER_TURN = 64,
    ACCEPT_REST_MS = 100,
};

struct slc_listener {
    slc_net *net;
    slc_listener_options options;
    char *address;
    char host[64];
    uint16_t port;
    int fd;
    int spare; // given up for a moment when there is no descriptor left; -1: could not be had back
               // yet
    bool closed, suspended;
    uv_poll_t poll;
    uv_timer_t rest;
    int handles;
    slc_proxy_wait *waiting; // DL list: the PROXY header is to come
    slc_listener *prev, *next;
};

typedef union any_address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_storage storage;
} any_address;

/** Text, port and whether it is of this machine. IPv4 inside IPv6 shows as IPv4. */
static bool address_text(const any_address *address, char host[64], uint16_t *port)
{
    const uint8_t *v4 = NULL;
    host[0] = '\0';
    *port = 0;
    if (address->any.sa_family == AF_INET) {
        v4 = (const uint8_t *)&address->v4.sin_addr;
        *port = ntohs(address->v4.sin_port);
    } else if (address->any.sa_family == AF_INET6) {
        *port = ntohs(address->v6.sin6_port);
        if (IN6_IS_ADDR_V4MAPPED(&address->v6.sin6_addr))
            v4 = address->v6.sin6_addr.s6_addr + 12;
    } else {
        return false;
    }
    if (v4 != NULL) {
        inet_ntop(AF_INET, v4, host, 64);
        return v4[0] == 127;
    }
    inet_ntop(AF_INET6, &address->v6.sin6_addr, host, 64);
    return IN6_IS_ADDR_LOOPBACK(&address->v6.sin6_addr);
}

static slc_err address_parse(const char *text, any_address *out, socklen_t *bytes, bool *any,
                             slc_error *error)
{
    const char *colon = strrchr(text, ':');
    const char *port_text = colon != NULL ? colon + 1 : text;
    char host[64] = "";
    if (colon != NULL) {
        const char *from = text;
        const char *to = colon;
        if (to - from >= 2 && *from == '[' && to[-1] == ']') {
            from++;
            to--;
        }
        if (to == from || (size_t)(to - from) >= sizeof host)
            return slc_error_set(error, SLC_EINVAL,
                                 "listener address '%s': the host must be an IP address", text);
        memcpy(host, from, (size_t)(to - from));
        host[to - from] = '\0';
    }
    char *end = NULL;
    errno = 0;
    unsigned long port = strtoul(port_text, &end, 10);
    if (*port_text < '0' || *port_text > '9' || *end != '\0' || errno != 0 || port > 65535)
        return slc_error_set(error, SLC_EINVAL,
                             "listener address '%s': the port must be 0 to 65535", text);

    memset(out, 0, sizeof *out);
    *any = host[0] == '\0';
    if (*any || inet_pton(AF_INET6, host, &out->v6.sin6_addr) == 1) {
        out->v6.sin6_family = AF_INET6; // zeros are the address "any"
        out->v6.sin6_port = htons((uint16_t)port);
        *bytes = sizeof out->v6;
        return SLC_OK;
    }
    if (inet_pton(AF_INET, host, &out->v4.sin_addr) == 1) {
        out->v4.sin_family = AF_INET;
        out->v4.sin_port = htons((uint16_t)port);
        *bytes = sizeof out->v4;
        return SLC_OK;
    }
    return slc_error_set(error, SLC_EINVAL, "listener address '%s': '%s' is not an IP address",
                         text, host);
}

static int listener_backlog(const slc_listener *l)
{
    return l->options.backlog > 0 ? l->options.backlog : 128;
}

static int listener_socket(slc_listener *l, any_address *address, socklen_t *bytes, bool any)
{
    int fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 && any && errno == EAFNOSUPPORT) {
        uint16_t port = address->v6.sin6_port;
        memset(address, 0, sizeof *address);
        address->v4.sin_family = AF_INET;
        address->v4.sin_port = port;
        *bytes = sizeof address->v4;
        fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    }
    if (fd < 0)
        return -1;
    int one = 1;
    int v6only = !any;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (address->any.sa_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6only, sizeof v6only);
    // Set on the listening socket so that the window is right from the first packet; accepted
    // sockets inherit them.
    int sndbuf = (int)l->options.sndbuf;
    int recbuf = (int)l->options.recbuf;
    if (sndbuf > 0)
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &sndbuf, sizeof sndbuf);
    if (recbuf > 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &recbuf, sizeof recbuf);
    int rc = bind(fd, &address->any, *bytes);
    if (rc != 0 && any && errno == EADDRNOTAVAIL && address->any.sa_family == AF_INET6) {
        // IPv6 is compiled in but switched off on this machine.
        uint16_t port = address->v6.sin6_port;
        close(fd);
        memset(address, 0, sizeof *address);
        address->v4.sin_family = AF_INET;
        address->v4.sin_port = port;
        *bytes = sizeof address->v4;
        return listener_socket(l, address, bytes, false);
    }
    if (rc != 0 || listen(fd, listener_backlog(l)) != 0) {
        int saved = errno;
        close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}

static void listener_polled(uv_poll_t *poll, int status, int events);

static void listener_listen(slc_listener *l)
{
    if (!l->closed && !l->suspended)
        SLC_ASSERT(uv_poll_start(&l->poll, UV_READABLE, listener_polled) == 0);
}

static void spare_open(slc_listener *l)
{
    if (l->spare < 0)
        l->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void listener_rested(uv_timer_t *timer)
{
    slc_listener *l = timer->data;
    spare_open(l);
    listener_listen(l);
}

static void listener_rest(slc_listener *l)
{
    uv_poll_stop(&l->poll);
    uv_timer_start(&l->rest, listener_rested, ACCEPT_REST_MS, 0);
}

static void log_refused(const slc_listener *l, const char *reason)
{
    slc_log(SLC_LOG_ERROR, "connection", "accept.refused",
            SLC_FIELDS(SLC_F_STR("listener", l->address), SLC_F_STR("error", reason)),
            "refusing a connection on listener %s:%u: %s (raise the limit of open files, or lower "
            "the number of connections)",
            l->host, l->port, reason);
}

/** The system gives the lowest free descriptor: this one says that all below it are in use. */
static bool listener_reserve(slc_listener *l, int fd)
{
    if (fd < l->net->fd_reserve)
        return false;
    close(fd);
    l->net->stats.refused++;
    log_refused(l,
                "nearly all file descriptors are in use, and the last are kept for other things");
    return true;
}

/** Out of descriptors. Without taking the peer off the queue, the listening socket would stay readable for ever. False: nothing
 *  more can be done now. */
static bool listener_refuse(slc_listener *l, int code)
{
    bool had_spare = l->spare >= 0;
    int fd = -1;
    if (had_spare) {
        close(l->spare);
        l->spare = -1;
        fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            close(fd);
            l->net->stats.refused++;
        }
        spare_open(l);
    }
    if (fd >= 0 || !had_spare) // else nobody waits: the system says EMFILE before it looks
        log_refused(l, strerror(code));
    return fd >= 0 && l->spare >= 0;
}

static void listener_hand_over(slc_listener *l, int fd, const slc_peer *peer)
{
    l->options.accepted(l, fd, peer, l->options.arg);
}

static void listener_accepted(slc_listener *l, int fd, const any_address *from)
{
    slc_peer peer = {0};
    any_address here;
    socklen_t bytes = sizeof here;
    int one = 1;
    memset(&here, 0, sizeof here);
    peer.loopback = address_text(from, peer.peer_host, &peer.peer_port);
    if (getsockname(fd, &here.any, &bytes) == 0)
        (void)address_text(&here, peer.host, &peer.port);
    if (l->options.nodelay)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (l->options.keepalive)
        setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
    if (l->options.linger) {
        struct linger linger = {.l_onoff = 1, .l_linger = l->options.linger_s};
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    }
    l->net->stats.accepted++;
    // What the peer has to do in time is counted from here, and the turn of the loop may have begun long ago.
    uv_update_time(l->net->loop);
    if (l->options.proxy_protocol)
        slc_proxy_wait_new(l->net, l, &l->waiting, fd, &peer, l->options.proxy_timeout_ms,
                           listener_hand_over);
    else
        listener_hand_over(l, fd, &peer);
}

static void listener_polled(uv_poll_t *poll, int status, int events)
{
    slc_listener *l = poll->data;
    (void)events;
    if (status < 0) {
        listener_rest(l);
        return;
    }
    for (int i = 0; i < ACCEPTS_PER_TURN && !l->closed && !l->suspended; i++) {
        any_address from;
        socklen_t bytes = sizeof from;
        memset(&from, 0, sizeof from);
        int fd = accept4(l->fd, &from.any, &bytes, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            if (!listener_reserve(l, fd))
                listener_accepted(l, fd, &from);
            continue;
        }
        switch (errno) {
        case EAGAIN:
            return;
        case EMFILE:
        case ENFILE:
            if (!listener_refuse(l, errno)) {
                listener_rest(l);
                return;
            }
            break;
        case ENOBUFS:
        case ENOMEM:
            listener_rest(l);
            return;
        default: // the peer has given up meanwhile, or the network has news for it
            break;
        }
    }
}

static void listener_handle_closed(uv_handle_t *handle)
{
    slc_listener *l = handle->data;
    if (--l->handles > 0)
        return;
    slc_net *net = l->net;
    slc_free(l->address);
    slc_free(l);
    slc_net_handle_closed(net);
}

slc_err slc_listener_open(slc_net *net, const slc_listener_options *options, slc_listener **out,
                          slc_error *error)
{
    any_address address;
    socklen_t bytes = 0;
    bool any = false;
    slc_err rc = address_parse(options->address, &address, &bytes, &any, error);
    if (rc != SLC_OK)
        return rc;

    slc_listener *l = slc_alloc_zero(1, sizeof *l);
    l->net = net;
    l->options = *options;
    l->address = slc_strdup(options->address);
    l->options.address = l->address;
    if (l->options.proxy_timeout_ms == 0)
        l->options.proxy_timeout_ms = 5000;
    l->spare = -1;
    l->fd = listener_socket(l, &address, &bytes, any);
    if (l->fd < 0) {
        int code = errno;
        rc = slc_error_set(error, slc_err_from_errno(code), "cannot listen on '%s': %s", l->address,
                           strerror(code));
        goto free_listener;
    }
    bytes = sizeof address;
    if (getsockname(l->fd, &address.any, &bytes) == 0)
        (void)address_text(&address, l->host, &l->port);
    int code = uv_poll_init(net->loop, &l->poll, l->fd);
    if (code != 0) {
        rc = slc_error_set(error, slc_err_from_errno(code), "cannot watch the listener '%s': %s",
                           l->address, uv_strerror(code));
        goto close_socket;
    }
    SLC_ASSERT(uv_timer_init(net->loop, &l->rest) == 0);
    l->poll.data = l->rest.data = l;
    l->handles = 2;
    net->handles++;
    DL_APPEND(net->listeners, l);
    spare_open(l);
    listener_listen(l);
    *out = l;
    return SLC_OK;

close_socket:
    close(l->fd);
free_listener:
    slc_free(l->address);
    slc_free(l);
    return rc;
}

void slc_listener_close(slc_listener *l)
{
    if (l == NULL || l->closed)
        return;
    l->closed = true;
    DL_DELETE(l->net->listeners, l);
    slc_proxy_wait_end_all(&l->waiting);
    uv_close((uv_handle_t *)&l->poll, listener_handle_closed);
    uv_close((uv_handle_t *)&l->rest, listener_handle_closed);
    close(l->fd);
    if (l->spare >= 0)
        close(l->spare);
}

/* ---- suspended: on Linux a listening socket that is shut down refuses connections, stays bound, and can listen again ---- */

void slc_listener_suspend(slc_listener *l)
{
    if (l->closed || l->suspended)
        return;
    l->suspended = true;
    uv_poll_stop(&l->poll);
    shutdown(l->fd, SHUT_RDWR);
}

// A port that the system chose is given back by the shutdown: ask for the same one. One that was asked for is still ours.
static int listener_bind_again(const slc_listener *l)
{
    any_address address;
    memset(&address, 0, sizeof address);
    if (inet_pton(AF_INET6, l->host, &address.v6.sin6_addr) == 1) {
        address.v6.sin6_family = AF_INET6;
        address.v6.sin6_port = htons(l->port);
    } else if (inet_pton(AF_INET, l->host, &address.v4.sin_addr) == 1) {
        address.v4.sin_family = AF_INET;
        address.v4.sin_port = htons(l->port);
    }
    socklen_t bytes = address.any.sa_family == AF_INET6 ? sizeof address.v6 : sizeof address.v4;
    int rc = bind(l->fd, &address.any, bytes);
    return rc != 0 && errno == EINVAL ? 0 : rc; // that says: it is bound
}

slc_err slc_listener_resume(slc_listener *l, slc_error *error)
{
    if (l->closed || !l->suspended)
        return SLC_OK;
    if (listener_bind_again(l) != 0 || listen(l->fd, listener_backlog(l)) != 0)
        return slc_error_set(error, slc_err_from_errno(errno), "cannot listen on %s:%u again: %s",
                             l->host, l->port, strerror(errno));
    l->suspended = false;
    listener_listen(l);
    return SLC_OK;
}

bool slc_listener_suspended(const slc_listener *l)
{
    return l->suspended;
}

const char *slc_listener_host(const slc_listener *l)
{
    return l->host;
}

uint16_t slc_listener_port(const slc_listener *l)
{
    return l->port;
}

struct slc_tls *slc_listener_tls(const slc_listener *l)
{
    return l->options.tls;
}
