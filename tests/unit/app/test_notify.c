#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "app/notify.h"

static char root[] = "/tmp/sluice-notify-XXXXXX";
static char path[64];

static void setup(void)
{
    cr_assert(ne(ptr, mkdtemp(root), NULL));
    snprintf(path, sizeof path, "%s/socket", root);
}

static void teardown(void)
{
    slc_notify_close();
    unlink(path);
    rmdir(root);
}

TestSuite(notify, .init = setup, .fini = teardown, .timeout = 60);

// A socket such as systemd's; name begins with @ for an abstract one. NOTIFY_SOCKET names it.
static int listen_at(const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, name, strlen(name));
    bool abstract = name[0] == '@';
    if (abstract)
        address.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    cr_assert(ge(int, fd, 0));
    socklen_t bytes =
        (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name) + !abstract);
    cr_assert(eq(int, bind(fd, (struct sockaddr *)&address, bytes), 0));
    setenv("NOTIFY_SOCKET", name, 1);
    return fd;
}

static const char *receive(int fd)
{
    static char text[4096];
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    if (poll(&ready, 1, 5000) != 1)
        return "(nothing)";
    ssize_t bytes = recv(fd, text, sizeof text - 1, 0);
    text[bytes < 0 ? 0 : bytes] = '\0';
    return text;
}

static void opens(void)
{
    slc_error error = {0};
    slc_err rc = slc_notify_open(&error);
    cr_assert(eq(int, rc, SLC_OK), "%s", error.text);
}

Test(notify, every_state_is_one_datagram)
{
    int fd = listen_at(path);
    opens();
    cr_expect(eq(ptr, getenv("NOTIFY_SOCKET"), NULL), "not for children");
    slc_notify_status("recovering 3/10 queues");
    cr_expect(eq(str, (char *)receive(fd), "STATUS=recovering 3/10 queues"));
    slc_notify_ready("accepting connections");
    cr_expect(eq(str, (char *)receive(fd), "READY=1\nSTATUS=accepting connections"));
    slc_notify_ready(NULL);
    cr_expect(eq(str, (char *)receive(fd), "READY=1"));
    slc_notify_reloading();
    cr_expect(eq(int, strncmp(receive(fd), "RELOADING=1\nMONOTONIC_USEC=", 27), 0));
    slc_notify_stopping();
    cr_expect(eq(str, (char *)receive(fd), "STOPPING=1"));
    close(fd);
}

Test(notify, an_abstract_socket)
{
    char name[64];
    snprintf(name, sizeof name, "@%s", root + 5);
    int fd = listen_at(name);
    opens();
    slc_notify_ready(NULL);
    cr_expect(eq(str, (char *)receive(fd), "READY=1"));
    close(fd);
}

Test(notify, nobody_listens)
{
    unsetenv("NOTIFY_SOCKET");
    opens();
    cr_expect(eq(int, slc_notify("READY=1"), SLC_OK));

    setenv("NOTIFY_SOCKET", path, 1); // its listener is gone
    opens();
    cr_expect(ne(int, slc_notify("READY=1"), SLC_OK));
    slc_notify_ready(NULL);
}

Test(notify, a_full_socket_does_not_block)
{
    int fd = listen_at(path);
    opens();
    slc_err rc = SLC_OK;
    for (int i = 0; i < 100000 && rc == SLC_OK; i++)
        rc = slc_notify("STATUS=%d", i);
    cr_expect(eq(int, rc, SLC_EAGAIN));
    close(fd);
}

Test(notify, what_is_no_address_or_too_long)
{
    static const char *const bad[] = {"relative", "@", "/"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        slc_error error = {0};
        setenv("NOTIFY_SOCKET", bad[i], 1);
        cr_expect(eq(int, slc_notify_open(&error), SLC_EINVAL), "%s", bad[i]);
    }
    char long_path[300];
    memset(long_path, 'x', sizeof long_path - 1);
    long_path[0] = '/';
    long_path[sizeof long_path - 1] = '\0';
    setenv("NOTIFY_SOCKET", long_path, 1);
    cr_expect(eq(int, slc_notify_open(NULL), SLC_EINVAL));

    int fd = listen_at(path);
    opens();
    char status[3000];
    memset(status, 's', sizeof status - 1);
    status[sizeof status - 1] = '\0';
    cr_expect(eq(int, slc_notify("STATUS=%s", status), SLC_ELIMIT));
    close(fd);
}
