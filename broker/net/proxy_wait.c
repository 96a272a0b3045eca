/* Accepted sockets whose PROXY header is still to come. Only octets of the header are taken from the socket: what follows
 * belongs to TLS or AMQP. */
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "net/proxy_wait.h"

struct slc_proxy_wait {
    slc_net *net;
    slc_listener *listener;
    slc_proxy_wait **list;
    slc_peer peer;
    void (*done)(slc_listener *listener, int fd, const slc_peer *peer);
    int fd;
    int handles;
    uint32_t bytes;
    uv_poll_t poll;
    uv_timer_t timer;
    slc_proxy_wait *prev, *next;
    uint8_t data[SLC_PROXY_BYTES_MAX];
};

static void wait_handle_closed(uv_handle_t *handle)
{
    slc_proxy_wait *w = handle->data;
    slc_net *net = w->net;
    if (--w->handles > 0)
        return;
    slc_free(w);
    slc_net_handle_closed(net);
}

/** Leave the list and the loop; returns the socket. */
static int wait_end(slc_proxy_wait *w)
{
    int fd = w->fd;
    w->fd = -1;
    DL_DELETE(*w->list, w);
    uv_close((uv_handle_t *)&w->poll, wait_handle_closed);
    uv_close((uv_handle_t *)&w->timer, wait_handle_closed);
    return fd;
}

static void wait_fail(slc_proxy_wait *w, const char *reason)
{
    slc_log(w->bytes > 0 || reason[0] != 't' ? SLC_LOG_WARN : SLC_LOG_DEBUG, "connection",
            "proxy.refused",
            SLC_FIELDS(SLC_F_STR("peer", w->peer.peer_host), SLC_F_U64("port", w->peer.peer_port)),
            "closing connection (%s:%u -> %s:%u): %s", w->peer.peer_host, w->peer.peer_port,
            w->peer.host, w->peer.port, reason);
    close(wait_end(w));
}

static void wait_done(slc_proxy_wait *w, const slc_proxy_header *header)
{
    slc_peer peer = w->peer;
    slc_listener *listener = w->listener;
    void (*done)(slc_listener *, int, const slc_peer *) = w->done;
    if (header->known) {
        memcpy(peer.peer_host, header->source, sizeof peer.peer_host);
        memcpy(peer.host, header->target, sizeof peer.host);
        peer.peer_port = header->source_port;
        peer.port = header->target_port;
        // A proxy on another machine forwards what is local there, not here.
        peer.loopback = peer.loopback && header->source_loopback;
    }
    done(listener, wait_end(w), &peer);
}

static void wait_polled(uv_poll_t *poll, int status, int events)
{
    slc_proxy_wait *w = poll->data;
    (void)events;
    if (status < 0) {
        wait_fail(w, "the peer closed it before its PROXY header");
        return;
    }
    uint8_t *at = w->data + w->bytes;
    size_t room = sizeof w->data - w->bytes;
    ssize_t n = recv(w->fd, at, room, MSG_PEEK | MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return;
    if (n <= 0) {
        wait_fail(w, n == 0 ? "the peer closed it before its PROXY header" : strerror(errno));
        return;
    }
    slc_proxy_header header;
    size_t used = 0;
    slc_error error = {0};
    size_t had = w->bytes;
    slc_err rc = slc_proxy_decode(slc_slice_of(w->data, had + (size_t)n), &header, &used, &error);
    if (rc != SLC_OK && rc != SLC_ETRUNCATED) {
        w->bytes += (uint32_t)n;
        wait_fail(w, error.text);
        return;
    }
    size_t take = rc == SLC_OK ? used - had : (size_t)n;
    ssize_t taken = recv(w->fd, at, take, MSG_DONTWAIT); // they are there: they were just seen
    if (taken != (ssize_t)take) {
        wait_fail(w, "the socket failed in its PROXY header");
        return;
    }
    w->bytes += (uint32_t)take;
    if (rc == SLC_OK)
        wait_done(w, &header);
}

static void wait_late(uv_timer_t *timer)
{
    wait_fail(timer->data, "timeout: no complete PROXY header in time");
}

void slc_proxy_wait_new(slc_net *net, slc_listener *listener, slc_proxy_wait **list, int fd,
                        const slc_peer *peer, uint32_t timeout_ms,
                        void (*done)(slc_listener *listener, int fd, const slc_peer *peer))
{
    slc_proxy_wait *w = slc_alloc_zero(1, sizeof *w);
    if (uv_poll_init(net->loop, &w->poll, fd) != 0) {
        close(fd);
        slc_free(w);
        return;
    }
    SLC_ASSERT(uv_timer_init(net->loop, &w->timer) == 0);
    w->poll.data = w->timer.data = w;
    w->net = net;
    w->listener = listener;
    w->list = list;
    w->peer = *peer;
    w->done = done;
    w->fd = fd;
    w->handles = 2;
    net->handles++;
    DL_APPEND(*list, w);
    SLC_ASSERT(uv_poll_start(&w->poll, UV_READABLE, wait_polled) == 0);
    uv_timer_start(&w->timer, wait_late, timeout_ms, 0);
}

void slc_proxy_wait_end_all(slc_proxy_wait **list)
{
    while (*list != NULL)
        close(wait_end(*list));
}
