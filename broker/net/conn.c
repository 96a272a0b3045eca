/* Life and input of a connection. Output: conn_out.c. */
#include "net/conn.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "net/net_impl.h"
#include "net/tls_impl.h"

static const slc_conn_ops NO_OPS = {0};

static void conn_polled(uv_poll_t *poll, int status, int events);

static void conn_freed(uv_handle_t *handle)
{
    slc_conn *conn = handle->data;
    slc_net *net = conn->net;
    slc_conn_tls_free(conn);
    slc_free(conn->in);
    slc_free(conn->segs);
    slc_free(conn);
    slc_net_handle_closed(net);
}

void slc_conn_destroy(slc_conn *conn)
{
    slc_net *net = conn->net;
    if (conn->state == CONN_GONE)
        return;
    conn->state = CONN_GONE;
    conn->ops = &NO_OPS;
    slc_conn_out_fini(conn);
    if (conn->listed)
        DL_DELETE2(net->dirty, conn, dirty_prev, dirty_next);
    if (conn->ready)
        DL_DELETE2(net->ready, conn, ready_prev, ready_next);
    conn->listed = conn->ready = false;
    conn->dirty = true; // nothing is listed again
    if (net->tick_next == conn)
        net->tick_next = conn->next;
    DL_DELETE(net->conns, conn);
    net->stats.connections--;
    if (conn->tls != NULL)
        slc_conn_tls_last(conn);
    // The handle must leave the loop's poll set before the descriptor closes.
    uv_close((uv_handle_t *)&conn->poll, conn_freed);
    close(conn->fd);
    conn->fd = -1;
}

void slc_conn_fail(slc_conn *conn, slc_err reason)
{
    const slc_conn_ops *ops = conn->ops;
    if (conn->state == CONN_GONE)
        return;
    // Callbacks below may append output for others, and for us by mistake of theirs: state says
    // that it is dropped.
    if (conn->state == CONN_OPEN && ops->lost != NULL) {
        conn->state = CONN_LINGERING;
        conn->ops = &NO_OPS;
        ops->lost(conn, reason);
    }
    slc_conn_destroy(conn);
}

void slc_conn_close(slc_conn *conn, uint32_t linger_ms)
{
    if (conn->state != CONN_OPEN)
        return;
    conn->ops = &NO_OPS;
    conn->arg = NULL;
    conn->sink_bytes = 0;
    conn->pause = 0;
    if (linger_ms == 0) {
        slc_conn_destroy(conn);
        return;
    }
    conn->state = CONN_FLUSHING;
    conn->deadline_ms = slc_net_now_ms(conn->net) + linger_ms;
    if (!conn->dirty)
        slc_conn_first(conn); // the flush goes on to linger
    slc_conn_poll_update(conn);
}

void slc_conn_poll_update(slc_conn *conn)
{
    int events = 0;
    if (conn->state == CONN_GONE)
        return;
    if (conn->pause == 0 && !conn->eof)
        events |= UV_READABLE;
    else if ((conn->pause & SLC_PAUSE_BLOCKED) != 0)
        events |= UV_DISCONNECT;
    if (conn->want_write)
        events |= UV_WRITABLE;
    if (events == conn->polled)
        return;
    conn->polled = (uint8_t)events;
    int rc =
        events == 0 ? uv_poll_stop(&conn->poll) : uv_poll_start(&conn->poll, events, conn_polled);
    SLC_ASSERT(rc == 0);
}

void slc_conn_pause(slc_conn *conn, slc_pause reason)
{
    if (conn->state != CONN_OPEN)
        return;
    conn->pause |= (uint8_t)reason;
    slc_conn_poll_update(conn);
}

/** OpenSSL may hold input that poll does not report. */
static bool conn_hidden(const slc_conn *conn)
{
    return conn->tls != NULL && conn->tls->unread;
}

void slc_conn_resume(slc_conn *conn, slc_pause reason)
{
    if ((conn->pause & reason) == 0)
        return;
    conn->pause &= (uint8_t) ~(unsigned)reason;
    slc_conn_poll_update(conn);
    if (conn->pause == 0 && (conn->in_bytes > 0 || conn_hidden(conn)))
        slc_net_ready_add(conn->net, conn);
}

/** Give octets to the protocol; returns how many are consumed (all of them once the protocol has
 * gone). */
static size_t conn_offer(slc_conn *conn, const uint8_t *data, size_t bytes)
{
    if (conn->state != CONN_OPEN || bytes == 0)
        return bytes;
    size_t used = conn->ops->input(conn, slc_slice_of(data, bytes));
    SLC_ASSERT(used <= bytes);
    if (conn->state != CONN_OPEN)
        return bytes;
    if (slc_conn_overfull(conn))
        slc_conn_pause(conn, SLC_PAUSE_OUTPUT);
    return used;
}

/** Make room for bytes in all, keeping what is in there. */
static void in_grow(slc_conn *conn, size_t bytes)
{
    if (conn->in_cap >= bytes)
        return;
    size_t cap = conn->in_cap == 0 ? 256 : conn->in_cap;
    while (cap < bytes)
        cap *= 2;
    conn->in = slc_realloc(conn->in, cap);
    conn->in_cap = (uint32_t)cap;
}

static void in_drop(slc_conn *conn)
{
    slc_free(conn->in);
    conn->in = NULL;
    conn->in_bytes = conn->in_cap = 0;
}

/** data[0, bytes) is unconsumed: keep it. It may lie in conn->in itself. */
static void in_keep(slc_conn *conn, const uint8_t *data, size_t bytes)
{
    if (bytes == 0) {
        if (conn->in != NULL)
            in_drop(conn);
        return;
    }
    bool inside = conn->in != NULL && data >= conn->in && data < conn->in + conn->in_cap;
    if (inside) {
        if (data != conn->in)
            memmove(conn->in, data, bytes);
    } else {
        conn->in_bytes = 0;
        in_grow(conn, bytes);
        memcpy(conn->in, data, bytes);
    }
    conn->in_bytes = (uint32_t)bytes;
}

static void conn_read(slc_conn *conn);

void slc_conn_refeed(slc_conn *conn)
{
    if (conn->state != CONN_OPEN || conn->pause != 0)
        return;
    if (conn->in_bytes > 0) {
        size_t bytes = conn->in_bytes;
        size_t used = conn_offer(conn, conn->in, bytes);
        if (conn->state == CONN_GONE)
            return;
        in_keep(conn, conn->in + used, bytes - used);
    }
    if (conn_hidden(conn) && conn->state == CONN_OPEN && conn->pause == 0)
        conn_read(conn);
}

/** Read once. Returns octets read, 0 when there is nothing more for now or the connection has
 * ended. *more: the kernel may have more. */
static size_t conn_read_once(slc_conn *conn, bool *more)
{
    slc_net *net = conn->net;
    size_t have = conn->in_bytes;
    uint8_t *base = net->scratch;
    size_t cap = NET_SCRATCH_BYTES;
    if (have > NET_IN_COPY_MAX) {
        in_grow(conn, have + NET_IN_COPY_MAX);
        base = conn->in;
        cap = conn->in_cap;
    } else if (have > 0) {
        memcpy(base, conn->in, have);
    }
    struct iovec iov[2];
    int count = 0;
    size_t sink = have == 0 ? conn->sink_bytes : 0;
    size_t room = cap - have < conn->read_max ? cap - have : conn->read_max;
    if (sink > 0) {
        iov[count++] = (struct iovec){conn->sink, sink};
        if (sink >= NET_SINK_BIG)
            room = NET_SINK_TAIL;
    }
    iov[count++] = (struct iovec){base + have, room};
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = (size_t)count};
    ssize_t n;
    do {
        net->stats.reads++;
        n = conn->tls == NULL || conn->state != CONN_OPEN ? recvmsg(conn->fd, &msg, MSG_DONTWAIT)
                                                          : slc_conn_tls_recv(conn, iov, count);
    } while (n < 0 && errno == EINTR);
    *more = n == (ssize_t)(sink + room);
    if (n < 0) {
        if (errno != EAGAIN && errno != EWOULDBLOCK)
            slc_conn_fail(conn, slc_err_from_errno(errno));
        return 0;
    }
    if (n == 0) {
        conn->eof = true;
        if (conn->state == CONN_FLUSHING)
            slc_conn_poll_update(conn); // what is pending may still go out
        else
            slc_conn_fail(conn, SLC_ECLOSED);
        return 0;
    }
    size_t got = (size_t)n;
    conn->recv_octets += got;
    conn->recv_count++;
    net->stats.recv_octets += got;
    if (conn->state != CONN_OPEN)
        return got; // dropped
    size_t sunk = got < sink ? got : sink;
    if (sunk > 0) {
        conn->sink += sunk;
        conn->sink_bytes -= sunk;
        conn->ops->sunk(conn, sunk);
    }
    size_t bytes = have + got - sunk;
    size_t used = conn_offer(conn, base, bytes);
    if (conn->state == CONN_GONE)
        return 0;
    in_keep(conn, base + used, bytes - used);
    return got;
}

static void conn_read(slc_conn *conn)
{
    size_t budget = NET_READ_BUDGET;
    bool more = true;
    while (more && conn->state != CONN_GONE && conn->pause == 0 && !conn->eof) {
        size_t got = conn_read_once(conn, &more);
        if (got == 0 || got >= budget)
            break;
        budget -= got;
    }
    if (conn->state == CONN_GONE)
        return;
    if (conn_hidden(conn) && conn->pause == 0 && !conn->eof)
        slc_net_ready_add(conn->net, conn);
    slc_conn_poll_update(conn);
}

static void conn_polled(uv_poll_t *poll, int status, int events)
{
    slc_conn *conn = poll->data;
    slc_net *net = conn->net;
    if (status < 0) {
        int code = 0;
        socklen_t bytes = sizeof code;
        conn->polled = 0; // libuv has stopped it
        if (getsockopt(conn->fd, SOL_SOCKET, SO_ERROR, &code, &bytes) != 0 || code == 0)
            code = ECONNRESET;
        slc_conn_fail(conn, slc_err_from_errno(code));
        return;
    }
    if ((events & UV_READABLE) != 0) {
        conn_read(conn);
        net->reads_since_flush++;
    }
    if ((events & UV_WRITABLE) != 0 && conn->state != CONN_GONE && conn->want_write)
        slc_conn_flush(conn);
    if ((events & UV_DISCONNECT) != 0 && conn->state == CONN_OPEN &&
        (conn->pause & SLC_PAUSE_BLOCKED) != 0)
        slc_conn_fail(conn, SLC_ECLOSED);
    if (net->reads_since_flush >= NET_READS_PER_FLUSH)
        slc_net_flush_all(net);
}

void slc_conn_tick(slc_conn *conn, uint64_t now_ms)
{
    if (conn->state == CONN_OPEN) {
        if (conn->tls != NULL && !slc_conn_tls_in_time(conn, now_ms)) {
            slc_conn_fail(conn, SLC_ETIMEDOUT);
            return;
        }
        if (conn->ops->tick != NULL)
            conn->ops->tick(conn, now_ms);
    } else if (now_ms >= conn->deadline_ms) {
        slc_conn_destroy(conn);
    }
}

slc_conn *slc_conn_new(slc_net *net, int fd, const slc_conn_ops *ops, void *arg,
                       const slc_conn_options *options)
{
    static const slc_conn_options none = {0};
    if (options == NULL)
        options = &none;
    slc_conn *conn = slc_alloc_zero(1, sizeof *conn);
    if (net->closing || uv_poll_init(net->loop, &conn->poll, fd) != 0) {
        close(fd);
        slc_free(conn);
        return NULL;
    }
    conn->poll.data = conn;
    conn->fd = fd;
    conn->net = net;
    conn->ops = ops;
    conn->arg = arg;
    conn->high = options->high_bytes != 0 ? options->high_bytes : 1 << 20;
    conn->low = options->low_bytes != 0 ? options->low_bytes : 256 << 10;
    conn->stop = options->stop_bytes != 0 ? options->stop_bytes : 4 << 20;
    conn->read_max = NET_SCRATCH_BYTES;
    conn->last_send_ms = slc_net_now_ms(net);
    if (options->tls != NULL)
        conn->tls = slc_conn_tls_new(conn, options->tls, options->name);
    slc_net_conn_add(net, conn);
    if (options->tls != NULL && conn->tls == NULL) {
        slc_conn_destroy(conn);
        return NULL;
    }
    slc_conn_poll_update(conn);
    return conn;
}
