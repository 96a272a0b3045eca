#include "net/net.h"

#include <limits.h>
#include <sys/resource.h>

#include "net/net_impl.h"

static void net_free(slc_net *net)
{
    while (net->pool != NULL) {
        slc_chunk *chunk = net->pool;
        net->pool = chunk->next;
        slc_free(chunk);
    }
    slc_free(net->scratch);
    if (net->done != NULL)
        net->done(net->done_arg);
    slc_free(net);
}

void slc_net_handle_closed(slc_net *net)
{
    SLC_ASSERT(net->handles > 0);
    if (--net->handles == 0)
        net_free(net);
}

static void own_handle_closed(uv_handle_t *handle)
{
    slc_net_handle_closed(handle->data);
}

static void clock_advance(slc_net *net)
{
    net->clock_ms = slc_net_now_ms(net);
    net->clock_read_ms = uv_now(net->loop);
}

static void net_tick(uv_timer_t *timer)
{
    slc_net *net = timer->data;
    bool late = uv_now(net->loop) - net->clock_read_ms > NET_TICK_LATE_MS;
    clock_advance(net);
    // The process or the machine stood still: what came meanwhile is read first.
    net->tick_late = late && !net->tick_late;
    if (net->tick_late)
        return;
    uint64_t now_ms = net->clock_ms;
    for (slc_conn *conn = net->conns; conn != NULL; conn = net->tick_next) {
        net->tick_next = conn->next;
        slc_conn_tick(conn, now_ms);
    }
    if (net->conns == NULL) {
        uv_timer_stop(&net->tick);
        net->ticking = false;
    }
}

static void net_idle(uv_idle_t *idle)
{
    slc_net *net = idle->data;
    // What becomes ready meanwhile waits for the next turn: a connection whose answer is at hand each time must not keep
    // the loop from polling.
    uint32_t count = 0;
    slc_conn *conn;
    DL_COUNT2(net->ready, conn, count, ready_next);
    for (; count > 0 && net->ready != NULL; count--) {
        conn = net->ready;
        DL_DELETE2(net->ready, conn, ready_prev, ready_next);
        conn->ready = false;
        slc_conn_refeed(conn);
    }
    if (net->ready == NULL)
        uv_idle_stop(&net->idle);
}

void slc_net_ready_add(slc_net *net, slc_conn *conn)
{
    if (conn->ready || conn->state != CONN_OPEN)
        return;
    conn->ready = true;
    DL_APPEND2(net->ready, conn, ready_prev, ready_next);
    uv_idle_start(&net->idle, net_idle);
}

void slc_net_conn_add(slc_net *net, slc_conn *conn)
{
    net->handles++;
    net->stats.connections++;
    DL_APPEND(net->conns, conn);
    if (!net->ticking) {
        clock_advance(net);
        uv_timer_start(&net->tick, net_tick, NET_TICK_MS, NET_TICK_MS);
        net->ticking = true;
    }
}

void slc_net_flush_all(slc_net *net)
{
    net->reads_since_flush = 0;
    while (net->dirty != NULL) {
        slc_conn *conn = net->dirty;
        DL_DELETE2(net->dirty, conn, dirty_prev, dirty_next);
        conn->listed = false;
        slc_conn_flush(conn);
    }
}

slc_net *slc_net_new(uv_loop_t *loop)
{
    slc_net *net = slc_alloc_zero(1, sizeof *net);
    net->loop = loop;
    net->scratch = slc_alloc(NET_SCRATCH_BYTES);
    SLC_ASSERT(uv_timer_init(loop, &net->tick) == 0);
    SLC_ASSERT(uv_idle_init(loop, &net->idle) == 0);
    net->tick.data = net->idle.data = net;
    net->handles = 2;
    struct rlimit limit;
    net->fd_reserve = INT_MAX;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < INT_MAX)
        net->fd_reserve = (int)(limit.rlim_cur - limit.rlim_cur / 20);
    return net;
}

void slc_net_close(slc_net *net, void (*done)(void *arg), void *arg)
{
    if (net == NULL)
        return;
    SLC_ASSERT(!net->closing);
    net->closing = true;
    net->done = done;
    net->done_arg = arg;
    while (net->listeners != NULL)
        slc_listener_close(net->listeners);
    while (net->conns != NULL)
        slc_conn_destroy(net->conns);
    uv_close((uv_handle_t *)&net->tick, own_handle_closed);
    uv_close((uv_handle_t *)&net->idle, own_handle_closed);
}

uint64_t slc_net_now_ms(const slc_net *net)
{
    uint64_t passed = uv_now(net->loop) - net->clock_read_ms;
    return net->clock_ms + (passed < NET_TICK_LATE_MS ? passed : NET_TICK_LATE_MS);
}

uv_loop_t *slc_net_loop(const slc_net *net)
{
    return net->loop;
}

void slc_net_stats_get(const slc_net *net, slc_net_stats *out)
{
    *out = net->stats;
}
