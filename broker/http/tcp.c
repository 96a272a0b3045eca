// Listening over TCP, and the address of a peer.
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "http/request.h"

enum { FILE_BYTES_MAX = 1024 * 1024 };

static int tcp_try(const struct addrinfo *address, int *fd_out)
{
    const int on = 1, off = 0;
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return errno;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (address->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (bind(fd, address->ai_addr, address->ai_addrlen) != 0 || listen(fd, 128) != 0) {
        int code = errno;
        close(fd);
        return code;
    }
    *fd_out = fd;
    return 0;
}

slc_err slc_http_tcp_open(const char *ip, uint16_t port, int *fd_out, uint16_t *bound,
                          slc_error *error)
{
    // A machine without IPv6 has 0.0.0.0 only.
    const char *const every[] = {"::", "0.0.0.0"};
    const char *const one[] = {ip};
    const char *const *hosts = ip != NULL ? one : every;
    size_t count = ip != NULL ? 1 : SLC_ARRAY_COUNT(every);
    const struct addrinfo hints = {
        .ai_flags = AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV,
        .ai_socktype = SOCK_STREAM,
    };
    char service[8];
    snprintf(service, sizeof service, "%u", port);
    int code = 0;
    for (size_t i = 0; i < count; i++) {
        struct addrinfo *address;
        if (getaddrinfo(hosts[i], service, &hints, &address) != 0)
            return slc_error_set(error, SLC_EINVAL,
                                 "management API: '%s' is not an IPv4 or IPv6 address", hosts[i]);
        code = tcp_try(address, fd_out);
        freeaddrinfo(address);
        if (code == 0 || code == EADDRINUSE)
            break;
    }
    if (code != 0)
        return slc_error_set(error, slc_err_from_errno(code),
                             "management API: cannot listen on %s port %u: %s",
                             ip != NULL ? ip : "every address", port, strerror(code));
    struct sockaddr_storage name = {0};
    socklen_t bytes = sizeof name;
    getsockname(*fd_out, (struct sockaddr *)&name, &bytes);
    *bound = ntohs(name.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&name)->sin6_port
                                              : ((struct sockaddr_in *)&name)->sin_port);
    return SLC_OK;
}

void slc_http_peer_address(int fd, slc_http_peer *out)
{
    *out = (slc_http_peer){.tcp = true};
    struct sockaddr_storage name = {0};
    socklen_t bytes = sizeof name;
    if (getpeername(fd, (struct sockaddr *)&name, &bytes) != 0 ||
        getnameinfo((struct sockaddr *)&name, bytes, out->address, sizeof out->address, NULL, 0,
                    NI_NUMERICHOST) != 0)
        return;
    const char mapped[] = "::ffff:"; // IPv4 on a socket of both
    if (strncmp(out->address, mapped, sizeof mapped - 1) == 0)
        memmove(out->address, out->address + sizeof mapped - 1,
                strlen(out->address + sizeof mapped - 1) + 1);
    out->known = true;
    out->loopback = strncmp(out->address, "127.", 4) == 0 || strcmp(out->address, "::1") == 0;
}

slc_err slc_http_file_read(const char *path, char **text, slc_error *error)
{
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return slc_error_set(error, slc_err_from_errno(errno), "management API: reading %s: %s",
                             path, strerror(errno));
    char *buffer = slc_alloc(FILE_BYTES_MAX + 1);
    size_t bytes = fread(buffer, 1, FILE_BYTES_MAX + 1, file);
    fclose(file);
    if (bytes == 0 || bytes > FILE_BYTES_MAX) {
        slc_free(buffer);
        return slc_error_set(error, SLC_EINVAL, "management API: %s: 1 to %d octets are expected",
                             path, FILE_BYTES_MAX);
    }
    buffer[bytes] = '\0';
    *text = slc_strndup(buffer, bytes);
    slc_free(buffer);
    return SLC_OK;
}
