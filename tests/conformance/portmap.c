/*
 * A preloaded library: connections to a loopback port listed in PORTMAP ("5672=41000") go to the
 * other port. For client test suites that have RabbitMQ's default port written into them.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* The port to use instead of PORT; both in host order. */
static in_port_t mapped(in_port_t port)
{
    const char *p = getenv("PORTMAP");

    while (p && *p) {
        char *end;
        long from = strtol(p, &end, 10);

        if (*end != '=')
            break;
        long to = strtol(end + 1, &end, 10);

        if (from == port && to > 0 && to < 65536)
            return (in_port_t)to;
        if (*end != ',')
            break;
        p = end + 1;
    }
    return port;
}

int connect(int fd, const struct sockaddr *addr, socklen_t len)
{
    static int (*next)(int, const struct sockaddr *, socklen_t);
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_storage room;
    } a;

    if (!next)
        *(void **)&next = dlsym(RTLD_NEXT, "connect");
    if (!addr || len > sizeof a)
        return next(fd, addr, len);
    memset(&a, 0, sizeof a);
    memcpy(&a, addr, len);
    if (addr->sa_family == AF_INET && ntohl(a.v4.sin_addr.s_addr) >> 24 == 127)
        a.v4.sin_port = htons(mapped(ntohs(a.v4.sin_port)));
    else if (addr->sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&a.v6.sin6_addr))
        a.v6.sin6_port = htons(mapped(ntohs(a.v6.sin6_port)));
    return next(fd, &a.any, len);
}
