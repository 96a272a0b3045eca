/* A connection over a socketpair: partial writes, marks, sinks over odd boundaries, pauses, closing. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "net/conn.h"

enum { DEADLINE_MS = 60000 };

static uv_loop_t loop;
static slc_net *net;
static int peer_fd;
static slc_conn *conn;

/** What the protocol of the test has seen. */
static struct {
    uint8_t *data; // consumed input
    size_t bytes;
    size_t take_max; // consume at most so much per call
    size_t unit;     // consume whole units of this size only, 0: anything
    uint32_t calls;
    uint32_t high_count, low_count;
    uint32_t lost_count;
    slc_err lost_reason;
    uint32_t released;
    // sink: after a one-octet length (times 1000) the body goes to `body`
    bool bodies;
    uint8_t *body;
    size_t body_bytes, body_left;
    uint32_t body_count;
    size_t sunk;
    uint32_t ticks;
    uint64_t tick_ms;  // the clock of the first one
    size_t tick_bytes; // the input that was there by then
} seen;

static void seen_add(const uint8_t *data, size_t bytes)
{
    seen.data = slc_realloc(seen.data, seen.bytes + bytes + 1);
    memcpy(seen.data + seen.bytes, data, bytes);
    seen.bytes += bytes;
}

static void body_complete(void)
{
    seen_add(seen.body, seen.body_bytes);
    slc_free(seen.body);
    seen.body = NULL;
    seen.body_count++;
}

static size_t input_bodies(slc_conn *c, slc_slice input)
{
    size_t used = 0;
    while (used < input.bytes) {
        if (seen.body == NULL) {
            seen.body_bytes = seen.body_left = (size_t)input.data[used++] * 1000;
            seen.body = slc_alloc(seen.body_bytes + 1);
        }
        size_t part = input.bytes - used < seen.body_left ? input.bytes - used : seen.body_left;
        memcpy(seen.body + seen.body_bytes - seen.body_left, input.data + used, part);
        used += part;
        seen.body_left -= part;
        if (seen.body_left == 0)
            body_complete();
        else
            slc_conn_sink(c, seen.body + seen.body_bytes - seen.body_left, seen.body_left);
    }
    return used;
}

static size_t on_input(slc_conn *c, slc_slice input)
{
    seen.calls++;
    if (seen.bodies)
        return input_bodies(c, input);
    size_t used = input.bytes;
    if (seen.take_max != 0 && used > seen.take_max)
        used = seen.take_max;
    if (seen.unit != 0)
        used -= used % seen.unit;
    seen_add(input.data, used);
    return used;
}

static void on_sunk(slc_conn *c, size_t bytes)
{
    (void)c;
    seen.sunk += bytes;
    seen.body_left -= bytes;
    if (seen.body_left == 0)
        body_complete();
}

static void on_writable(slc_conn *c, bool writable)
{
    (void)c;
    if (writable)
        seen.low_count++;
    else
        seen.high_count++;
}

static void on_lost(slc_conn *c, slc_err reason)
{
    (void)c;
    conn = NULL;
    seen.lost_count++;
    seen.lost_reason = reason;
}

static void on_tick(slc_conn *c, uint64_t now_ms)
{
    (void)c;
    if (seen.ticks++ > 0)
        return;
    seen.tick_ms = now_ms;
    seen.tick_bytes = seen.bytes;
}

static void release(void *owner)
{
    (void)owner;
    seen.released++;
}

static const slc_conn_ops ops = {
    .input = on_input,
    .sunk = on_sunk,
    .writable = on_writable,
    .lost = on_lost,
    .tick = on_tick,
};

static void setup(void)
{
    int fds[2];
    memset(&seen, 0, sizeof seen);
    cr_assert_eq(uv_loop_init(&loop), 0);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    peer_fd = fds[1];
    net = slc_net_new(&loop);
    conn = slc_conn_new(
        net, fds[0], &ops, NULL,
        &(slc_conn_options){.high_bytes = 100000, .low_bytes = 20000, .stop_bytes = 200000});
    cr_assert_not_null(conn);
}

static void teardown(void)
{
    slc_net_close(net, NULL, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    cr_expect_eq(uv_loop_close(&loop), 0);
    if (peer_fd >= 0)
        close(peer_fd);
    slc_free(seen.data);
    slc_free(seen.body);
}

TestSuite(conn, .init = setup, .fini = teardown, .timeout = 60);

/** One turn of the loop as the daemon drives it. */
static void turn(void)
{
    slc_net_flush_all(net);
    uv_run(&loop, UV_RUN_NOWAIT);
    slc_net_flush_all(net);
}

#define TURN_UNTIL(condition)                                                                      \
    do {                                                                                           \
        uint64_t turn_until_ns = slc_clock_now_ns() + DEADLINE_MS * SLC_NS_PER_MS;                 \
        while (!(condition)) {                                                                     \
            turn();                                                                                \
            cr_assert_lt(slc_clock_now_ns(), turn_until_ns, "in time: " #condition);               \
        }                                                                                          \
    } while (0)

static uint8_t octet(size_t index)
{
    return (uint8_t)(index * 7 + index / 251);
}

/** Read up to cap octets from the peer's end and check that they continue the pattern. */
static size_t peer_read(size_t from, size_t cap)
{
    static uint8_t buffer[65536];
    ssize_t n = read(peer_fd, buffer, cap < sizeof buffer ? cap : sizeof buffer);
    if (n <= 0)
        return 0;
    for (ssize_t i = 0; i < n; i++)
        cr_assert_eq(buffer[i], octet(from + (size_t)i), "octet %zu", from + (size_t)i);
    return (size_t)n;
}

Test(conn, output_survives_partial_writes_in_order)
{
    size_t total = 0;
    uint32_t refs = 0;
    uint8_t *pattern = slc_alloc(3 << 20);
    for (size_t i = 0; i < 3 << 20; i++)
        pattern[i] = octet(i);
    for (uint32_t i = 0; total < 2 << 20; i++) {
        size_t bytes = (i * 7919) % 9000;
        if (i % 3 == 2) {
            slc_conn_append_ref(conn, pattern + total, bytes, pattern, release);
            refs++;
        } else {
            slc_conn_append(conn, pattern + total, bytes);
        }
        total += bytes;
    }
    cr_expect_eq(seen.high_count, 1, "told once, not for each octet over the mark");
    cr_expect_eq(seen.low_count, 0);
    size_t got = 0;
    uint32_t round = 0;
    while (got < total) {
        turn();
        got += peer_read(got, 1 + (round++ * 131) % 50000);
        cr_assert_lt(round, 1000000u);
    }
    turn();
    cr_expect_eq(got, total);
    cr_expect_eq(conn->pending, 0);
    cr_expect_eq(conn->pending_refs, 0);
    cr_expect_eq(seen.released, refs);
    cr_expect_eq(seen.low_count, 1);
    cr_expect_eq(conn->send_octets, total);
    slc_free(pattern);
}

Test(conn, references_are_released_when_the_peer_goes)
{
    static uint8_t body[100000];
    for (int i = 0; i < 50; i++)
        slc_conn_append_ref(conn, body, sizeof body, body, release);
    turn();
    cr_assert_lt(seen.released, 50u, "the kernel cannot have taken 5 MB");
    close(peer_fd);
    peer_fd = -1;
    TURN_UNTIL(seen.lost_count == 1);
    cr_expect_eq(seen.released, 50);
}

Test(conn, an_idle_connection_keeps_no_buffer)
{
    cr_assert_eq(write(peer_fd, "hello", 5), 5);
    TURN_UNTIL(seen.bytes == 5);
    slc_conn_append(conn, "world", 5);
    turn();
    cr_expect_null(conn->in);
    cr_expect_null(conn->chunk);
    cr_expect_leq(conn->seg_cap, 64);
}

struct split_case {
    size_t piece;
};

ParameterizedTestParameters(conn_sink, bodies_over_odd_boundaries)
{
    static struct split_case cases[] = {{1},    {2},    {3},    {7},     {999},
                                        {1000}, {1001}, {4096}, {65537}, {1 << 20}};
    return cr_make_param_array(struct split_case, cases, sizeof cases / sizeof cases[0]);
}

ParameterizedTest(struct split_case *split, conn_sink, bodies_over_odd_boundaries, .init = setup,
                  .fini = teardown, .timeout = 60)
{
    static const uint8_t sizes[] = {1, 0, 2, 40, 255, 3, 0, 0, 100, 17};
    uint8_t *stream = slc_alloc(1 << 20);
    uint8_t *want = slc_alloc(1 << 20);
    size_t bytes = 0;
    size_t want_bytes = 0;
    for (size_t i = 0; i < sizeof sizes; i++) {
        stream[bytes++] = sizes[i];
        for (size_t j = 0; j < sizes[i] * 1000u; j++) {
            want[want_bytes] = octet(want_bytes);
            stream[bytes++] = want[want_bytes++];
        }
    }
    if (split->piece < 7)
        bytes = 1 + 1000 + 1 + 1 + 2000; // octet by octet: the first three are enough
    seen.bodies = true;
    size_t sent = 0;
    uint64_t until_ns = slc_clock_now_ns() + DEADLINE_MS * SLC_NS_PER_MS;
    while (sent < bytes) {
        size_t part = bytes - sent < split->piece ? bytes - sent : split->piece;
        ssize_t n = write(peer_fd, stream + sent, part);
        if (n > 0)
            sent += (size_t)n;
        turn();
        cr_assert_lt(slc_clock_now_ns(), until_ns);
    }
    size_t expected = split->piece < 7 ? 3000 : want_bytes;
    TURN_UNTIL(seen.bytes >= expected);
    cr_expect_eq(seen.bytes, expected);
    cr_expect_eq(memcmp(seen.data, want, expected), 0);
    cr_expect_eq(seen.body_count, split->piece < 7 ? 3 : sizeof sizes);
    cr_expect(split->piece > 65536 || seen.sunk > 0, "some of it went straight to the body");
    slc_free(stream);
    slc_free(want);
}

Test(conn, input_that_was_not_consumed_comes_again_with_more)
{
    static uint8_t data[30000];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = octet(i);
    seen.unit = 10000; // beyond what is copied between reads, so that the rest grows in place
    size_t sent = 0;
    while (sent < sizeof data) {
        ssize_t n =
            write(peer_fd, data + sent, 700 < sizeof data - sent ? 700 : sizeof data - sent);
        if (n > 0)
            sent += (size_t)n;
        turn();
    }
    TURN_UNTIL(seen.bytes == sizeof data);
    cr_expect_eq(memcmp(seen.data, data, sizeof data), 0);
    cr_expect_null(conn->in);
}

Test(conn, a_paused_connection_is_not_read_and_goes_on_where_it_was)
{
    seen.take_max = 4;
    cr_assert_eq(write(peer_fd, "abcdefgh", 8), 8);
    TURN_UNTIL(seen.bytes == 4);
    slc_conn_pause(conn, SLC_PAUSE_PENDING);
    slc_conn_pause(conn, SLC_PAUSE_QUIESCE);
    cr_assert_eq(write(peer_fd, "ij", 2), 2);
    uint32_t calls = seen.calls;
    for (int i = 0; i < 10; i++)
        turn();
    cr_expect_eq(seen.calls, calls);
    slc_conn_resume(conn, SLC_PAUSE_PENDING);
    turn();
    cr_expect_eq(seen.calls, calls, "one reason is left");
    slc_conn_resume(conn, SLC_PAUSE_QUIESCE);
    TURN_UNTIL(seen.bytes == 10);
    cr_expect_arr_eq(seen.data, "abcdefghij", 10);
}

Test(conn, who_asks_and_never_reads_is_read_no_more)
{
    static uint8_t answer[150000];
    cr_assert_eq(write(peer_fd, "x", 1), 1);
    TURN_UNTIL(seen.bytes == 1);
    for (int i = 0; i < 10; i++)
        slc_conn_append(conn, answer, sizeof answer);
    turn();
    cr_assert(slc_conn_overfull(conn));
    cr_assert_eq(write(peer_fd, "y", 1), 1);
    TURN_UNTIL(seen.bytes == 2); // what is read shows the mark
    cr_expect(slc_conn_paused(conn));
    cr_assert_eq(write(peer_fd, "z", 1), 1);
    for (int i = 0; i < 20; i++)
        turn();
    cr_expect_eq(seen.bytes, 2);
    static uint8_t drop[65536];
    uint64_t until_ns = slc_clock_now_ns() + DEADLINE_MS * SLC_NS_PER_MS;
    while (seen.bytes < 3) {
        (void)!read(peer_fd, drop, sizeof drop);
        turn();
        cr_assert_lt(slc_clock_now_ns(), until_ns);
    }
}

Test(conn, a_blocked_connection_notices_that_the_peer_left)
{
    slc_conn_pause(conn, SLC_PAUSE_BLOCKED);
    close(peer_fd);
    peer_fd = -1;
    TURN_UNTIL(seen.lost_count == 1);
    cr_expect_eq(seen.lost_reason, SLC_ECLOSED);
}

Test(conn, close_writes_everything_then_ends_the_stream)
{
    static uint8_t data[700000];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = octet(i);
    slc_conn_append(conn, data, sizeof data);
    slc_conn_close(conn, 10000);
    size_t got = 0;
    uint64_t until_ns = slc_clock_now_ns() + DEADLINE_MS * SLC_NS_PER_MS;
    while (got < sizeof data) {
        turn();
        got += peer_read(got, 30000);
        cr_assert_lt(slc_clock_now_ns(), until_ns);
    }
    uint8_t octets[10];
    slc_net_stats stats;
    ssize_t n;
    turn();
    cr_assert_eq(n = read(peer_fd, octets, sizeof octets), 0, "end of stream");
    slc_net_stats_get(net, &stats);
    cr_expect_eq(stats.connections, 1, "lingers until the peer closes");
    cr_assert_eq(write(peer_fd, "late", 4), 4);
    close(peer_fd);
    peer_fd = -1;
    TURN_UNTIL((slc_net_stats_get(net, &stats), stats.connections == 0));
    cr_expect_eq(seen.lost_count, 0, "no callback after close");
    cr_expect_eq(seen.bytes, 0);
}

Test(conn, close_does_not_wait_for_ever)
{
    static uint8_t data[700000];
    slc_net_stats stats;
    slc_conn_append(conn, data, sizeof data);
    slc_conn_close(conn, 100);
    turn();
    slc_net_stats_get(net, &stats);
    cr_assert_eq(stats.connections, 1);
    TURN_UNTIL((slc_net_stats_get(net, &stats), stats.connections == 0));
    size_t got = 0;
    size_t part;
    while ((part = (size_t)read(peer_fd, data, sizeof data)) > 0 && part < sizeof data)
        got += part;
    cr_expect_lt(got, sizeof data);
}

Test(conn, time_in_which_the_loop_stood_still_does_not_count)
{
    enum { STALL_MS = 2500 };
    turn();
    uint64_t before_ms = slc_net_now_ms(net);
    cr_assert_eq(write(peer_fd, "here", 4), 4);
    uv_sleep(STALL_MS); // as a stopped process or a suspended machine does
    TURN_UNTIL(seen.ticks > 0);
    cr_expect_eq(seen.tick_bytes, 4,
                 "what came meanwhile is read before anybody looks at a deadline");
    cr_expect_lt(seen.tick_ms - before_ms, STALL_MS);
}
