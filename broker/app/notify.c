#include "app/notify.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"

static int notify_fd = -1;
static struct sockaddr_un notify_address;
static socklen_t notify_address_bytes;

slc_err slc_notify_open(slc_error *error)
{
    const char *path = getenv("NOTIFY_SOCKET");
    if (path == NULL || *path == '\0' || notify_fd >= 0)
        return SLC_OK;
    size_t bytes = strlen(path);
    if ((path[0] != '/' && path[0] != '@') || bytes < 2 || bytes >= sizeof notify_address.sun_path)
        return slc_error_set(
            error, SLC_EINVAL,
            "NOTIFY_SOCKET=%s: it must be the path of a unix socket, or @ and an abstract name",
            path);
    notify_address = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(notify_address.sun_path, path, bytes);
    if (path[0] == '@') // abstract: the name begins with a zero octet and has no end but the length
        notify_address.sun_path[0] = '\0';
    notify_address_bytes =
        (socklen_t)(offsetof(struct sockaddr_un, sun_path) + bytes + (path[0] == '/'));

    notify_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (notify_fd < 0)
        return slc_error_set(error, slc_err_from_errno(errno), "socket for NOTIFY_SOCKET: %s",
                             strerrordesc_np(errno));
    unsetenv("NOTIFY_SOCKET"); // a child is not the service
    return SLC_OK;
}

void slc_notify_close(void)
{
    if (notify_fd >= 0)
        close(notify_fd);
    notify_fd = -1;
}

slc_err slc_notify(const char *format, ...)
{
    if (notify_fd < 0)
        return SLC_OK;
    char text[2048];
    va_list args;
    va_start(args, format);
    int bytes = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (bytes < 0 || (size_t)bytes >= sizeof text)
        return SLC_ELIMIT;
    ssize_t sent = sendto(notify_fd, text, (size_t)bytes, MSG_NOSIGNAL,
                          (const struct sockaddr *)&notify_address, notify_address_bytes);
    return sent == bytes ? SLC_OK : slc_err_from_errno(errno);
}

void slc_notify_ready(const char *status)
{
    if (status != NULL)
        slc_notify("READY=1\nSTATUS=%s", status);
    else
        slc_notify("READY=1");
}

void slc_notify_status(const char *status)
{
    slc_notify("STATUS=%s", status);
}

void slc_notify_reloading(void)
{
    slc_notify("RELOADING=1\nMONOTONIC_USEC=%" PRIu64, slc_clock_now_ns() / 1000);
}

void slc_notify_stopping(void)
{
    slc_notify("STOPPING=1");
}
