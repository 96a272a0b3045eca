/* Output of a connection: a ring of segments, each a run of octets in one of our chunks or
 * somebody's octets by reference.
 *
 *      segs:   [ chunk A 0..300 ][ body of a message ][ chunk A 300..307 ][ body ][ chunk A 307..
 * (tail, grows) ]
 *
 * So a large delivery costs two segments: its body, and the octets between it and the next body,
 * which lie side by side in the chunk. Chunks come from a pool of the loop and go back when their
 * last segment is written.
 */
#include <errno.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/clock.h"
#include "net/net_impl.h"
#include "net/tls_impl.h"

static slc_chunk *chunk_get(slc_net *net, size_t bytes)
{
    slc_chunk *chunk = net->pool;
    if (bytes <= NET_CHUNK_BYTES && chunk != NULL) {
        net->pool = chunk->next;
        net->pool_count--;
    } else {
        size_t cap = bytes <= NET_CHUNK_BYTES ? NET_CHUNK_BYTES : bytes;
        chunk = slc_alloc(sizeof *chunk + cap);
        chunk->cap = (uint32_t)cap;
        net->stats.chunk_bytes += sizeof *chunk + cap;
    }
    chunk->next = NULL;
    chunk->refs = 1;
    return chunk;
}

static void chunk_unref(slc_net *net, slc_chunk *chunk)
{
    if (--chunk->refs > 0)
        return;
    if (chunk->cap == NET_CHUNK_BYTES && net->pool_count < NET_POOL_CHUNKS) {
        chunk->next = net->pool;
        net->pool = chunk;
        net->pool_count++;
        return;
    }
    net->stats.chunk_bytes -= sizeof *chunk + chunk->cap;
    slc_free(chunk);
}

static slc_out_seg *seg_at(const slc_conn *conn, uint32_t index)
{
    return &conn->segs[(conn->seg_head + index) & (conn->seg_cap - 1)];
}

static slc_out_seg *seg_add(slc_conn *conn)
{
    if (conn->seg_count == conn->seg_cap) {
        uint32_t cap = conn->seg_cap == 0 ? 4 : conn->seg_cap * 2;
        slc_out_seg *segs = slc_alloc(cap * sizeof *segs);
        for (uint32_t i = 0; i < conn->seg_count; i++)
            segs[i] = *seg_at(conn, i);
        slc_free(conn->segs);
        conn->segs = segs;
        conn->seg_head = 0;
        conn->seg_cap = cap;
    }
    conn->seg_count++;
    return seg_at(conn, conn->seg_count - 1);
}

static void seg_release(slc_conn *conn, const slc_out_seg *seg)
{
    if (seg->release == NULL)
        chunk_unref(conn->net, seg->owner);
    else
        seg->release(seg->owner);
}

void slc_conn_room(slc_conn *conn, size_t bytes)
{
    slc_chunk *chunk = conn->chunk;
    if (chunk == NULL || (size_t)(chunk->data + chunk->cap - conn->out_at) < bytes) {
        if (chunk != NULL)
            chunk_unref(conn->net, chunk);
        SLC_ASSERT(bytes <= UINT32_MAX / 2);
        conn->chunk = chunk = chunk_get(conn->net, bytes);
        conn->out_at = chunk->data;
    }
    conn->out_end = chunk->data + chunk->cap;
    conn->out_tail = seg_add(conn);
    *conn->out_tail = (slc_out_seg){.data = conn->out_at, .owner = chunk};
    chunk->refs++;
}

void slc_conn_first(slc_conn *conn)
{
    conn->dirty = true;
    if (conn->want_write || conn->state >= CONN_LINGERING)
        return;
    conn->listed = true;
    DL_APPEND2(conn->net->dirty, conn, dirty_prev, dirty_next);
}

void slc_conn_over(slc_conn *conn)
{
    conn->over = true;
    if (conn->ops->writable != NULL)
        conn->ops->writable(conn, false);
}

void slc_conn_append_ref(slc_conn *conn, const uint8_t *data, size_t bytes, void *owner,
                         void (*release)(void *owner))
{
    if (bytes == 0) {
        release(owner);
        return;
    }
    slc_out_seg *seg = seg_add(conn);
    *seg = (slc_out_seg){.data = data, .bytes = bytes, .owner = owner, .release = release};
    conn->out_tail = NULL;
    conn->out_end = conn->out_at;
    conn->pending += bytes;
    conn->pending_refs += bytes;
    if (!conn->dirty)
        slc_conn_first(conn);
    if (conn->pending > conn->high && !conn->over)
        slc_conn_over(conn);
}

bool slc_conn_hold(slc_conn *conn)
{
    if (conn->pending <= conn->stop)
        return false;
    slc_conn_pause(conn, SLC_PAUSE_OUTPUT);
    return true;
}

void slc_conn_out_fini(slc_conn *conn)
{
    for (uint32_t i = 0; i < conn->seg_count; i++)
        seg_release(conn, seg_at(conn, i));
    conn->seg_count = conn->seg_head = 0;
    if (conn->chunk != NULL)
        chunk_unref(conn->net, conn->chunk);
    conn->chunk = NULL;
    conn->out_at = conn->out_end = NULL;
    conn->out_tail = NULL;
    conn->pending = conn->pending_refs = 0;
    if (conn->seg_cap > 64 || conn->state != CONN_OPEN) {
        slc_free(conn->segs);
        conn->segs = NULL;
        conn->seg_cap = 0;
    }
}

/** Forget the first `bytes` octets of output. */
static void out_written(slc_conn *conn, size_t bytes)
{
    conn->send_octets += bytes;
    conn->send_count++;
    conn->net->stats.send_octets += bytes;
    conn->last_send_ms = slc_net_now_ms(conn->net);
    conn->pending -= bytes;
    if (conn->pending == 0) {
        slc_conn_out_fini(conn);
        return;
    }
    while (bytes > 0) {
        slc_out_seg *seg = seg_at(conn, 0);
        size_t part = bytes < seg->bytes ? bytes : seg->bytes;
        seg->data += part;
        seg->bytes -= part;
        bytes -= part;
        if (seg->release != NULL)
            conn->pending_refs -= part;
        if (seg->bytes > 0)
            break;
        // The tail is the last segment and something is pending, so it is never the one dropped
        // here.
        seg_release(conn, seg);
        conn->seg_head = (conn->seg_head + 1) & (conn->seg_cap - 1);
        conn->seg_count--;
    }
}

/** One system call. SLC_OK: go on; SLC_EAGAIN: the kernel is full; else the connection is lost. */
static slc_err out_write(slc_conn *conn)
{
    struct iovec iov[NET_IOV_MAX];
    int count = 0;
    size_t total = 0;
    for (uint32_t i = 0; i < conn->seg_count && count < NET_IOV_MAX; i++) {
        const slc_out_seg *seg = seg_at(conn, i);
        if (seg->bytes == 0)
            continue;
        iov[count].iov_base = (void *)(uintptr_t)seg->data;
        iov[count].iov_len = seg->bytes;
        total += seg->bytes;
        count++;
    }
    if (conn->tls != NULL) {
        size_t written;
        slc_err rc = slc_conn_tls_send(conn, iov, count, &written);
        if (written > 0)
            out_written(conn, written);
        return rc;
    }
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = (size_t)count};
    conn->net->stats.writes++;
    ssize_t n = sendmsg(conn->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0) {
        if (errno == EINTR)
            return SLC_OK;
        if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS)
            return SLC_EAGAIN;
        return slc_err_from_errno(errno);
    }
    out_written(conn, (size_t)n);
    return (size_t)n < total ? SLC_EAGAIN : SLC_OK;
}

static bool out_waits(const slc_conn *conn)
{
    return conn->pending > 0 || (conn->tls != NULL && slc_conn_tls_unsent(conn));
}

void slc_conn_flush(slc_conn *conn)
{
    conn->dirty = false;
    if (conn->state >= CONN_LINGERING)
        return;
    slc_err rc = SLC_OK;
    while (out_waits(conn) && rc == SLC_OK)
        rc = out_write(conn);
    if (rc != SLC_OK && rc != SLC_EAGAIN) {
        slc_conn_fail(conn, rc);
        return;
    }
    // Output that waits for the handshake waits for the peer, not for the kernel.
    conn->want_write = conn->tls == NULL ? conn->pending > 0 : slc_conn_tls_unsent(conn);
    conn->dirty = conn->want_write;
    slc_conn_poll_update(conn);
    if (conn->over && conn->pending < conn->low) {
        conn->over = false;
        if (conn->ops->writable != NULL)
            conn->ops->writable(conn, true);
    }
    if ((conn->pause & SLC_PAUSE_OUTPUT) != 0 && conn->pending < conn->low)
        slc_conn_resume(conn, SLC_PAUSE_OUTPUT);
    if (conn->state == CONN_FLUSHING && !out_waits(conn)) {
        if (conn->tls != NULL && conn->tls->state == TLS_OPEN && !conn->peer_first) {
            slc_conn_tls_goodbye(conn);
            slc_conn_first(conn); // once more, with the end of stream
            return;
        }
        if (conn->eof || (!conn->peer_first && shutdown(conn->fd, SHUT_WR) != 0)) {
            slc_conn_destroy(conn);
            return;
        }
        conn->state = CONN_LINGERING;
        slc_conn_poll_update(conn);
    }
}
