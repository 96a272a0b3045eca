// Connect, handshake, cold methods.
#include "perf/conn.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/table.h"
#include "perf/tls.h"

enum { CONN_OUT_BYTES = 1024 };

uint8_t *slc_perf_conn_reserve(slc_perf_conn *conn, size_t bytes)
{
    if (conn->out_from == conn->out_to)
        conn->out_from = conn->out_to = 0;
    if (conn->out_cap - conn->out_to < bytes) {
        size_t cap = conn->out_cap ? conn->out_cap : CONN_OUT_BYTES;
        while (cap - conn->out_to < bytes)
            cap *= 2;
        conn->out = slc_realloc(conn->out, cap);
        conn->out_cap = cap;
    }
    return conn->out + conn->out_to;
}

void slc_perf_conn_put_method(slc_perf_conn *conn, uint16_t channel, const slc_amqp_method *method)
{
    size_t bytes = slc_amqp_method_frame_bytes(method);
    uint8_t *at = slc_perf_conn_reserve(conn, bytes);
    size_t written = slc_amqp_method_frame_encode(channel, method, at, bytes);
    SLC_ASSERT(written == bytes); // every name was checked by options.c
    conn->out_to += bytes;
}

slc_err slc_perf_conn_write(slc_perf_conn *conn, const struct iovec *v, size_t count,
                            size_t *written, slc_error *error)
{
    if (conn->tls != NULL)
        return slc_perf_tls_write(conn->tls, v[0].iov_base, v[0].iov_len, written, error);
    struct msghdr message = {.msg_iov = (struct iovec *)v, .msg_iovlen = count};
    ssize_t n;
    do
        n = sendmsg(conn->fd, &message, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return SLC_EAGAIN;
    if (n < 0)
        return slc_error_set(error, slc_err_from_errno(errno), "writing to the broker: %s",
                             strerror(errno));
    *written = (size_t)n;
    return SLC_OK;
}

slc_err slc_perf_conn_flush(slc_perf_conn *conn, slc_error *error)
{
    while (conn->out_from < conn->out_to) {
        struct iovec v = {conn->out + conn->out_from, conn->out_to - conn->out_from};
        size_t written;
        slc_err rc = slc_perf_conn_write(conn, &v, 1, &written, error);
        if (rc != SLC_OK)
            return rc == SLC_EAGAIN ? SLC_OK : rc;
        conn->out_from += written;
    }
    conn->out_from = conn->out_to = 0;
    return SLC_OK;
}

void slc_perf_conn_in_reserve(slc_perf_conn *conn, size_t cap)
{
    if (conn->in_cap >= cap)
        return;
    conn->in = slc_realloc(conn->in, cap);
    conn->in_cap = cap;
}

/** Records until the socket is empty or the buffer is full. Nothing may stay inside OpenSSL: epoll does not see it. */
static slc_err conn_fill_tls(slc_perf_conn *conn, slc_error *error)
{
    slc_err rc;
    size_t before = conn->in_to;
    do {
        if (conn->in_to == conn->in_cap)
            slc_perf_conn_in_reserve(conn, conn->in_cap * 2);
        size_t got;
        rc = slc_perf_tls_read(conn->tls, conn->in + conn->in_to, conn->in_cap - conn->in_to, &got,
                               error);
        if (rc == SLC_OK)
            conn->in_to += got;
    } while (rc == SLC_OK && (conn->in_to < conn->in_cap || slc_perf_tls_pending(conn->tls)));
    return rc == SLC_EAGAIN && conn->in_to > before ? SLC_OK : rc;
}

slc_err slc_perf_conn_fill(slc_perf_conn *conn, slc_error *error)
{
    if (conn->in_from == conn->in_to) {
        conn->in_from = conn->in_to = 0;
    } else if (conn->in_cap - conn->in_to < conn->in_cap / 4) {
        memmove(conn->in, conn->in + conn->in_from, conn->in_to - conn->in_from);
        conn->in_to -= conn->in_from;
        conn->in_from = 0;
    }
    if (conn->in_to == conn->in_cap) // one frame is larger than the buffer
        slc_perf_conn_in_reserve(conn, conn->in_cap * 2);
    if (conn->tls != NULL)
        return conn_fill_tls(conn, error);
    ssize_t n = recv(conn->fd, conn->in + conn->in_to, conn->in_cap - conn->in_to, MSG_DONTWAIT);
    if (n > 0) {
        conn->in_to += (size_t)n;
        return SLC_OK;
    }
    if (n == 0)
        return slc_error_set(error, SLC_ECLOSED, "the broker closed the connection without a word");
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)
        return SLC_EAGAIN;
    return slc_error_set(error, slc_err_from_errno(errno), "reading from the broker: %s",
                         strerror(errno));
}

static slc_err conn_wait(slc_perf_conn *conn, short events, uint64_t deadline_ns, slc_error *error)
{
    for (;;) {
        uint64_t now = slc_clock_now_ns();
        int left_ms = now >= deadline_ns ? 0 : (int)((deadline_ns - now) / SLC_NS_PER_MS) + 1;
        struct pollfd p = {.fd = conn->fd, .events = events};
        int n = poll(&p, 1, left_ms);
        if (n > 0)
            return SLC_OK;
        if (n < 0 && errno != EINTR)
            return slc_error_set(error, SLC_EIO, "poll: %s", strerror(errno));
        if (n == 0)
            return slc_error_set(error, SLC_ETIMEDOUT, "the broker did not answer in time");
    }
}

/** Everything in out goes to the socket before the deadline. */
static slc_err conn_send_all(slc_perf_conn *conn, uint64_t deadline_ns, slc_error *error)
{
    for (;;) {
        slc_err rc = slc_perf_conn_flush(conn, error);
        if (rc != SLC_OK || conn->out_from == conn->out_to)
            return rc;
        if ((rc = conn_wait(conn, POLLOUT, deadline_ns, error)) != SLC_OK)
            return rc;
    }
}

/** The next whole frame; its payload points into the input buffer and holds until the next read. */
static slc_err conn_next_frame(slc_perf_conn *conn, slc_amqp_frame *frame, uint64_t deadline_ns,
                               slc_error *error)
{
    for (;;) {
        slc_slice input = slc_slice_of(conn->in + conn->in_from, conn->in_to - conn->in_from);
        if (input.bytes >= SLC_AMQP_HEADER_BYTES && memcmp(input.data, "AMQP", 4) == 0)
            return slc_error_set(error, SLC_EVERSION,
                                 "the peer does not speak AMQP 0-9-1: it offers %u-%u-%u",
                                 input.data[5], input.data[6], input.data[7]);
        size_t used = 0;
        uint32_t limit = conn->frame_max ? conn->frame_max : SLC_AMQP_FRAME_EARLY_MAX;
        slc_err rc = slc_amqp_frame_decode(input, limit, frame, &used, error);
        if (rc == SLC_OK) {
            conn->in_from += used;
            return SLC_OK;
        }
        if (rc != SLC_ETRUNCATED) {
            slc_error_wrap(error, "the peer does not speak AMQP 0-9-1");
            return rc;
        }
        if ((rc = conn_wait(conn, POLLIN, deadline_ns, error)) != SLC_OK)
            return rc;
        if ((rc = slc_perf_conn_fill(conn, error)) != SLC_OK && rc != SLC_EAGAIN)
            return rc;
    }
}

static slc_err conn_close_error(uint16_t code, slc_slice text, uint16_t class_id,
                                uint16_t method_id, const char *what, slc_error *error)
{
    const char *name = slc_amqp_method_name((uint32_t)class_id << 16 | method_id);
    return slc_error_set(error, SLC_ECLOSED, "the broker closed the %s: %u %.*s%s%s%s", what, code,
                         SLC_SLICE_FMT(text), name ? " (" : "", name ? name : "", name ? ")" : "");
}

/** @return SLC_EAGAIN: nothing that ends anything */
static slc_err conn_judge(slc_perf_conn *conn, const slc_amqp_method *method, slc_error *error)
{
    slc_error ignored;
    switch (method->id) {
    case SLC_AMQP_CONNECTION_CLOSE: {
        const slc_amqp_connection_close *c = &method->connection_close;
        slc_err rc = conn_close_error(c->reply_code, c->reply_text, c->class_id, c->method_id,
                                      "connection", error);
        slc_perf_conn_put_method(conn, 0, &(slc_amqp_method){.id = SLC_AMQP_CONNECTION_CLOSE_OK});
        (void)!slc_perf_conn_flush(conn, &ignored);
        return rc;
    }
    case SLC_AMQP_CHANNEL_CLOSE: {
        const slc_amqp_channel_close *c = &method->channel_close;
        slc_err rc = conn_close_error(c->reply_code, c->reply_text, c->class_id, c->method_id,
                                      "channel", error);
        slc_perf_conn_put_method(conn, SLC_PERF_CHANNEL,
                                 &(slc_amqp_method){.id = SLC_AMQP_CHANNEL_CLOSE_OK});
        (void)!slc_perf_conn_flush(conn, &ignored);
        return rc;
    }
    case SLC_AMQP_CONNECTION_BLOCKED:
        fprintf(stderr, "sluice-perf: the broker blocks publishers: %.*s\n",
                SLC_SLICE_FMT(method->connection_blocked.reason));
        return SLC_EAGAIN;
    case SLC_AMQP_CONNECTION_UNBLOCKED:
        fprintf(stderr, "sluice-perf: the broker accepts messages again\n");
        return SLC_EAGAIN;
    case SLC_AMQP_BASIC_CANCEL:
        return slc_error_set(error, SLC_ECLOSED,
                             "the broker cancelled a consumer: its queue is gone");
    case SLC_AMQP_BASIC_DELIVER:
    case SLC_AMQP_BASIC_RETURN:
    case SLC_AMQP_BASIC_ACK:
    case SLC_AMQP_BASIC_NACK:
        return SLC_EAGAIN;
    default: {
        const char *name = slc_amqp_method_name(method->id);
        return slc_error_set(error, SLC_EUNEXPECTED, "the broker sent %s, which nobody asked for",
                             name ? name : "an unknown method");
    }
    }
}

slc_err slc_perf_conn_cold_method(slc_perf_conn *conn, slc_slice payload, slc_error *error)
{
    slc_amqp_method method;
    slc_err rc = slc_amqp_method_decode(payload, &method, error);
    if (rc == SLC_OK)
        rc = conn_judge(conn, &method, error);
    return rc == SLC_EAGAIN ? SLC_OK : rc;
}

/** Wait for one of two methods. */
static slc_err conn_expect(slc_perf_conn *conn, uint32_t want, slc_amqp_method *reply,
                           uint64_t deadline_ns, slc_error *error)
{
    for (;;) {
        slc_amqp_frame frame;
        slc_err rc = conn_next_frame(conn, &frame, deadline_ns, error);
        if (rc != SLC_OK)
            return rc;
        if (frame.type != SLC_AMQP_FRAME_METHOD)
            continue;
        slc_amqp_method method;
        if ((rc = slc_amqp_method_decode(frame.payload, &method, error)) != SLC_OK)
            return rc;
        if (method.id == want) {
            if (reply != NULL)
                *reply = method;
            return SLC_OK;
        }
        if ((rc = conn_judge(conn, &method, error)) != SLC_EAGAIN)
            return rc;
    }
}

slc_err slc_perf_conn_call(slc_perf_conn *conn, uint16_t channel, const slc_amqp_method *method,
                           uint32_t want, slc_amqp_method *reply, int timeout_ms, slc_error *error)
{
    uint64_t deadline_ns = slc_clock_now_ns() + (uint64_t)(uint32_t)timeout_ms * SLC_NS_PER_MS;
    slc_perf_conn_put_method(conn, channel, method);
    slc_err rc = conn_send_all(conn, deadline_ns, error);
    if (rc == SLC_OK)
        rc = conn_expect(conn, want, reply, deadline_ns, error);
    if (rc == SLC_ETIMEDOUT)
        slc_error_wrap(error, "waiting for %s", slc_amqp_method_name(want));
    return rc;
}

static slc_err conn_start_tls(slc_perf_conn *conn, const slc_perf_options *options,
                              uint64_t deadline_ns, slc_error *error)
{
    slc_err rc = slc_perf_tls_new(conn->fd, options->host, options->ca, &conn->tls, error);
    while (rc == SLC_OK) {
        short events = 0;
        rc = slc_perf_tls_handshake(conn->tls, &events, error);
        if (rc != SLC_EAGAIN)
            break;
        rc = conn_wait(conn, events, deadline_ns, error);
    }
    return rc;
}

static slc_err conn_connect(slc_perf_conn *conn, const slc_perf_options *options,
                            uint64_t deadline_ns, slc_error *error)
{
    char port[8];
    snprintf(port, sizeof port, "%u", options->port);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
    int failed = getaddrinfo(options->host, port, &hints, &list);
    if (failed)
        return slc_error_set(error, SLC_ENOTFOUND, "%s: %s", options->host, gai_strerror(failed));
    slc_err rc = SLC_EIO;
    for (struct addrinfo *a = list; a != NULL; a = a->ai_next) {
        conn->fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (conn->fd < 0) {
            rc = slc_error_set(error, SLC_EIO, "socket: %s", strerror(errno));
            continue;
        }
        int problem = connect(conn->fd, a->ai_addr, a->ai_addrlen) == 0 ? 0 : errno;
        if (problem == EINPROGRESS) {
            problem = ETIMEDOUT;
            socklen_t bytes = sizeof problem;
            if (conn_wait(conn, POLLOUT, deadline_ns, error) == SLC_OK)
                getsockopt(conn->fd, SOL_SOCKET, SO_ERROR, &problem, &bytes);
        }
        if (problem == 0) {
            int on = 1;
            setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
            rc = SLC_OK;
            break;
        }
        rc = slc_error_set(error, slc_err_from_errno(problem), "%s port %s: %s", options->host,
                           port, strerror(problem));
        close(conn->fd);
        conn->fd = -1;
    }
    freeaddrinfo(list);
    return rc;
}

static void conn_note(char *out, slc_slice table, const char *key)
{
    slc_value value;
    if (slc_table_find(table, slc_slice_str(key), &value) && value.type == SLC_TYPE_LONGSTR)
        snprintf(out, SLC_PERF_NAME_CAP, "%.*s", SLC_SLICE_FMT(value.bytes));
}

static void conn_put_start_ok(slc_perf_conn *conn, const slc_perf_options *options)
{
    slc_table_builder client = {0};
    slc_table_put_text(&client, "product", "sluice-perf");
    slc_table_put_text(&client, "version", SLC_VERSION);
    char name[256];
    snprintf(name, sizeof name, "sluice-perf %s", options->id);
    slc_table_put_text(&client, "connection_name", name);
    slc_table_open(&client, "capabilities", SLC_TYPE_TABLE);
    slc_table_put_bool(&client, "authentication_failure_close", true);
    slc_table_put_bool(&client, "consumer_cancel_notify", true);
    slc_table_put_bool(&client, "connection.blocked", true);
    slc_table_put_bool(&client, "publisher_confirms", true);
    slc_table_put_bool(&client, "basic.nack", true);
    slc_table_close(&client);

    // PLAIN: NUL user NUL password
    size_t user = strlen(options->user), pass = strlen(options->pass);
    uint8_t *plain = slc_alloc(user + pass + 2);
    plain[0] = 0;
    memcpy(plain + 1, options->user, user);
    plain[1 + user] = 0;
    memcpy(plain + 2 + user, options->pass, pass);
    slc_amqp_method method = {.id = SLC_AMQP_CONNECTION_START_OK,
                              .connection_start_ok = {
                                  .client_properties = slc_table_builder_content(&client),
                                  .mechanism = slc_slice_str("PLAIN"),
                                  .response = slc_slice_of(plain, user + pass + 2),
                                  .locale = slc_slice_str("en_US"),
                              }};
    slc_perf_conn_put_method(conn, 0, &method);
    slc_free(plain);
    slc_table_builder_fini(&client);
}

static slc_err conn_handshake(slc_perf_conn *conn, const slc_perf_options *options,
                              uint64_t deadline_ns, slc_error *error)
{
    slc_amqp_method reply;
    memcpy(slc_perf_conn_reserve(conn, SLC_AMQP_HEADER_BYTES), slc_amqp_header_ours,
           SLC_AMQP_HEADER_BYTES);
    conn->out_to += SLC_AMQP_HEADER_BYTES;
    slc_err rc = conn_send_all(conn, deadline_ns, error);
    if (rc != SLC_OK ||
        (rc = conn_expect(conn, SLC_AMQP_CONNECTION_START, &reply, deadline_ns, error)) != SLC_OK)
        return rc;
    conn_note(conn->product, reply.connection_start.server_properties, "product");
    conn_note(conn->version, reply.connection_start.server_properties, "version");

    conn_put_start_ok(conn, options);
    if ((rc = conn_send_all(conn, deadline_ns, error)) != SLC_OK ||
        (rc = conn_expect(conn, SLC_AMQP_CONNECTION_TUNE, &reply, deadline_ns, error)) != SLC_OK)
        return rc;
    // No heartbeats: a broker that is busy with our load must not cut us off, and idle connections should idle.
    uint32_t frame_max = reply.connection_tune.frame_max;
    conn->frame_max = frame_max == 0 ? 131072 : frame_max;
    slc_amqp_method tune = {.id = SLC_AMQP_CONNECTION_TUNE_OK,
                            .connection_tune_ok = {.channel_max = reply.connection_tune.channel_max,
                                                   .frame_max = frame_max}};
    slc_amqp_method open = {.id = SLC_AMQP_CONNECTION_OPEN,
                            .connection_open = {.virtual_host = slc_slice_str(options->vhost)}};
    slc_perf_conn_put_method(conn, 0, &tune);
    slc_perf_conn_put_method(conn, 0, &open);
    slc_amqp_method channel = {.id = SLC_AMQP_CHANNEL_OPEN};
    if ((rc = conn_send_all(conn, deadline_ns, error)) != SLC_OK ||
        (rc = conn_expect(conn, SLC_AMQP_CONNECTION_OPEN_OK, NULL, deadline_ns, error)) != SLC_OK)
        return rc;
    slc_perf_conn_put_method(conn, SLC_PERF_CHANNEL, &channel);
    if ((rc = conn_send_all(conn, deadline_ns, error)) != SLC_OK)
        return rc;
    return conn_expect(conn, SLC_AMQP_CHANNEL_OPEN_OK, NULL, deadline_ns, error);
}

slc_err slc_perf_conn_open(slc_perf_conn *conn, const slc_perf_options *options, int timeout_ms,
                           slc_error *error)
{
    *conn = (slc_perf_conn){.fd = -1};
    uint64_t deadline_ns = slc_clock_now_ns() + (uint64_t)(uint32_t)timeout_ms * SLC_NS_PER_MS;
    slc_err rc = conn_connect(conn, options, deadline_ns, error);
    if (rc != SLC_OK)
        return rc;
    slc_perf_conn_in_reserve(conn, SLC_PERF_IN_IDLE_BYTES);
    if (options->tls)
        rc = conn_start_tls(conn, options, deadline_ns, error);
    if (rc == SLC_OK)
        rc = conn_handshake(conn, options, deadline_ns, error);
    if (rc != SLC_OK) {
        slc_error_wrap(error, "opening a connection to %s port %u", options->host, options->port);
        slc_perf_conn_fini(conn);
    }
    return rc;
}

void slc_perf_conn_fini(slc_perf_conn *conn)
{
    slc_perf_tls_free(conn->tls);
    conn->tls = NULL;
    if (conn->fd >= 0)
        close(conn->fd);
    conn->fd = -1;
    slc_free(conn->in);
    slc_free(conn->out);
    conn->in = conn->out = NULL;
    conn->in_cap = conn->out_cap = conn->in_from = conn->in_to = conn->out_from = conn->out_to = 0;
}

void slc_perf_conn_close(slc_perf_conn *conn, int timeout_ms)
{
    slc_error ignored;
    slc_amqp_method method = {
        .id = SLC_AMQP_CONNECTION_CLOSE,
        .connection_close = {.reply_code = 200, .reply_text = slc_slice_str("bye")}};
    // A partly written frame in out must not be cut by ours: call() appends behind it.
    if (conn->fd >= 0)
        (void)!slc_perf_conn_call(conn, 0, &method, SLC_AMQP_CONNECTION_CLOSE_OK, NULL, timeout_ms,
                                  &ignored);
    slc_perf_conn_fini(conn);
}
