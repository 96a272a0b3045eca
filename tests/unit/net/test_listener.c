/* Listeners: addresses, port 0, and a full descriptor table. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "net/conn.h"
#include "net/listener.h"

static uv_loop_t loop;
static slc_net *net;
static uint32_t accepted;
static slc_peer last_peer;
static int accepted_fds[64];
static uint64_t accepted_ms[64]; // the loop's time
static uint32_t busy_ms;         // what each takes

static void on_accepted(slc_listener *listener, int fd, const slc_peer *peer, void *arg)
{
    (void)listener;
    (void)arg;
    accepted_ms[accepted % 64] = uv_now(&loop);
    for (uint64_t until = slc_clock_now_ns() + busy_ms * SLC_NS_PER_MS;
         slc_clock_now_ns() < until;) {
    }
    accepted_fds[accepted++ % 64] = fd;
    last_peer = *peer;
}

static void setup(void)
{
    cr_assert_eq(uv_loop_init(&loop), 0);
    net = slc_net_new(&loop);
    accepted = 0;
}

static void teardown(void)
{
    slc_net_close(net, NULL, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    cr_expect_eq(uv_loop_close(&loop), 0);
}

TestSuite(listener, .init = setup, .fini = teardown, .timeout = 60);

static slc_err listen_on(const char *address, slc_listener **out, slc_error *error)
{
    slc_listener_options options = {.address = address, .nodelay = true, .accepted = on_accepted};
    return slc_listener_open(net, &options, out, error);
}

static int dial(uint16_t port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_geq(fd, 0);
    cr_assert_eq(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

Test(listener, port_zero_gives_a_port_and_ipv4_shows_as_ipv4)
{
    slc_listener *l = NULL;
    cr_assert_eq(listen_on("0", &l, NULL), SLC_OK);
    cr_assert_neq(slc_listener_port(l), 0);
    int fd = dial(slc_listener_port(l));
    for (int i = 0; i < 1000 && accepted == 0; i++)
        uv_run(&loop, UV_RUN_ONCE);
    cr_assert_eq(accepted, 1);
    cr_expect_str_eq(last_peer.peer_host, "127.0.0.1");
    cr_expect_str_eq(last_peer.host, "127.0.0.1");
    cr_expect_eq(last_peer.port, slc_listener_port(l));
    cr_expect(last_peer.loopback);
    close(fd);
    close(accepted_fds[0]);
}

Test(listener, the_time_of_a_peer_begins_when_it_is_accepted_not_with_the_turn)
{
    slc_listener *l = NULL;
    cr_assert_eq(listen_on("127.0.0.1:0", &l, NULL), SLC_OK);
    int fds[2] = {dial(slc_listener_port(l)), dial(slc_listener_port(l))};
    busy_ms = 20;
    while (accepted < 2)
        uv_run(&loop, UV_RUN_ONCE);
    busy_ms = 0;
    cr_expect_geq(accepted_ms[1], accepted_ms[0] + 19); // whole milliseconds
    for (int i = 0; i < 2; i++) {
        close(fds[i]);
        close(accepted_fds[i]);
    }
}

Test(listener, a_used_port_is_an_error_with_the_address_in_it)
{
    slc_listener *l = NULL;
    slc_listener *second = NULL;
    slc_error error = {0};
    char address[40];
    cr_assert_eq(listen_on("127.0.0.1:0", &l, NULL), SLC_OK);
    snprintf(address, sizeof address, "127.0.0.1:%u", slc_listener_port(l));
    cr_expect_eq(listen_on(address, &second, &error), SLC_EADDRINUSE);
    cr_expect_not_null(strstr(error.text, address));
}

static int try_dial(uint16_t port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_geq(fd, 0);
    if (connect(fd, (struct sockaddr *)&to, sizeof to) == 0)
        return fd;
    close(fd);
    return -1;
}

Test(listener, suspended_it_refuses_and_then_takes_connections_at_the_same_port)
{
    slc_error error = {0};
    slc_listener *found = NULL, *fixed = NULL;
    char address[40];
    cr_assert_eq(listen_on("127.0.0.1:0", &found, NULL), SLC_OK);
    uint16_t port = slc_listener_port(found);
    for (int round = 0; round < 2;
         round++) { // a port that the system chose, and one that we asked for
        slc_listener *l = round == 0 ? found : fixed;
        for (int again = 0; again < 2; again++) {
            slc_listener_suspend(l);
            slc_listener_suspend(l);
            cr_expect(slc_listener_suspended(l));
            cr_expect_lt(try_dial(port), 0);
            cr_assert_eq(slc_listener_resume(l, &error), SLC_OK, "%s", error.text);
            cr_assert_eq(slc_listener_resume(l, &error), SLC_OK);
            cr_expect_not(slc_listener_suspended(l));
            accepted = 0;
            int fd = dial(port);
            for (int i = 0; i < 1000 && accepted == 0; i++)
                uv_run(&loop, UV_RUN_ONCE);
            cr_expect_eq(accepted, 1);
            close(fd);
            close(accepted_fds[0]);
        }
        if (round == 0) {
            slc_listener_close(found);
            snprintf(address, sizeof address, "127.0.0.1:%u", port);
            cr_assert_eq(listen_on(address, &fixed, &error), SLC_OK, "%s", error.text);
        }
    }
}

Test(listener, a_port_that_was_lost_meanwhile_is_named)
{
    slc_error error = {0};
    slc_listener *l = NULL, *other = NULL;
    char address[40];
    cr_assert_eq(listen_on("127.0.0.1:0", &l, NULL), SLC_OK);
    snprintf(address, sizeof address, "127.0.0.1:%u", slc_listener_port(l));
    slc_listener_suspend(l);
    cr_assert_eq(listen_on(address, &other, &error), SLC_OK, "%s", error.text);
    cr_expect_eq(slc_listener_resume(l, &error), SLC_EADDRINUSE);
    cr_expect_not_null(strstr(error.text, address));
    cr_expect(slc_listener_suspended(l));
    slc_listener_close(other);
    cr_expect_eq(slc_listener_resume(l, &error), SLC_OK);
}

struct address_case {
    char text[64];
};

ParameterizedTestParameters(listener_address, bad_ones_are_refused)
{
    static struct address_case cases[] = {
        {""},           {"x"},           {"70000"},         {"-1"},
        {":5672"},      {"[]:5672"},     {"example.org:1"}, {"127.0.0.1:"},
        {"1.2.3:5672"}, {"127.0.0.1:5x"}};
    return cr_make_param_array(struct address_case, cases, sizeof cases / sizeof cases[0]);
}

ParameterizedTest(struct address_case *c, listener_address, bad_ones_are_refused, .init = setup,
                  .fini = teardown)
{
    slc_listener *l = NULL;
    slc_error error = {0};
    cr_expect_eq(listen_on(c->text, &l, &error), SLC_EINVAL, "'%s'", c->text);
    cr_expect(error.text[0] != '\0');
}

Test(listener, a_full_descriptor_table_refuses_and_recovers)
{
    slc_listener *l = NULL;
    slc_net_stats stats;
    struct rlimit limit;
    cr_assert_eq(listen_on("127.0.0.1:0", &l, NULL), SLC_OK);
    int waiting[4];
    for (int i = 0; i < 4; i++)
        waiting[i] = dial(slc_listener_port(l));
    // Nothing may be opened from here on: the limit is the lowest free number.
    int lowest = dup(0);
    close(lowest);
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    rlim_t before = limit.rlim_cur;
    limit.rlim_cur = (rlim_t)lowest;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    for (int i = 0; i < 200; i++) {
        uv_run(&loop, UV_RUN_NOWAIT);
        slc_net_stats_get(net, &stats);
        if (stats.refused == 4)
            break;
    }
    cr_expect_eq(stats.refused, 4);
    cr_expect_eq(accepted, 0);
    char octet;
    for (int i = 0; i < 4; i++)
        cr_expect_leq(read(waiting[i], &octet, 1), 0, "closed, not left waiting");
    limit.rlim_cur = before;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    int fd = dial(slc_listener_port(l));
    uint64_t until_ns = slc_clock_now_ns() + 60 * SLC_NS_PER_S;
    while (accepted == 0) {
        uv_run(&loop, UV_RUN_NOWAIT);
        cr_assert_lt(slc_clock_now_ns(), until_ns);
    }
    close(fd);
    close(accepted_fds[0]);
    for (int i = 0; i < 4; i++)
        close(waiting[i]);
}

Test(listener, what_is_accepted_has_the_options_of_its_listener)
{
    slc_listener_options options = {.address = "127.0.0.1:0",
                                    .keepalive = true,
                                    .linger = true,
                                    .linger_s = 7,
                                    .accepted = on_accepted};
    static const slc_listener_options none = {.address = "127.0.0.1:0", .accepted = on_accepted};
    for (int set = 1; set >= 0; set--) {
        slc_listener *listener;
        slc_error error = {0};
        accepted = 0;
        cr_assert_eq(slc_listener_open(net, set ? &options : &none, &listener, &error), SLC_OK);
        int fd = dial(slc_listener_port(listener));
        while (accepted == 0)
            uv_run(&loop, UV_RUN_ONCE);
        int keepalive = -1;
        struct linger linger = {-1, -1};
        socklen_t bytes = sizeof keepalive;
        cr_assert_eq(getsockopt(accepted_fds[0], SOL_SOCKET, SO_KEEPALIVE, &keepalive, &bytes), 0);
        bytes = sizeof linger;
        cr_assert_eq(getsockopt(accepted_fds[0], SOL_SOCKET, SO_LINGER, &linger, &bytes), 0);
        cr_expect_eq(keepalive, set);
        cr_expect_eq(linger.l_onoff, set);
        cr_expect_eq(linger.l_linger, set ? 7 : 0);
        close(accepted_fds[0]);
        close(fd);
        slc_listener_close(listener);
    }
}
