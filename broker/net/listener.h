/** A listening TCP socket.
 *
 *  The last twentieth of the descriptors that the process may have is kept from peers: the admin socket, files and links to other
 *  nodes need some. When there is none at all, a spare one is used to take the peer off the queue and close it. Both with a
 *  log line; when even that fails, accepting rests for 100 ms. It never spins.
 * Thread: the loop's.
 */
#ifndef SLC_NET_LISTENER_H
#define SLC_NET_LISTENER_H

#include <stdint.h>

#include "base/error.h"
#include "net/net.h"

typedef struct slc_listener slc_listener;

/** The two ends of an accepted connection, as text; an IPv4 peer of an IPv6 socket shows as IPv4.
 */
typedef struct slc_peer {
    char host[64], peer_host[64];
    uint16_t port, peer_port;
    bool
        loopback; // the peer is on this machine; behind a proxy: the proxy is, and the client that it names
} slc_peer;

typedef struct slc_listener_options {
    /** "5672" every address, IPv6 and IPv4; "127.0.0.1:5672"; "[::1]:5672" or "::1:5672". Port 0:
     * any free port. */
    const char *address;
    int backlog;               // 0: 128
    bool proxy_protocol;       // every connection begins with a PROXY header (net/proxy.h)
    uint32_t proxy_timeout_ms; // for it [5 s]
    bool nodelay;              // TCP_NODELAY on what is accepted
    bool keepalive;            // SO_KEEPALIVE there
    bool linger;               // SO_LINGER there, with linger_s
    uint16_t linger_s;
    struct slc_tls *
        tls; // what accepted() gives its connections (net/tls.h); NULL: plain; borrowed until the close
    uint32_t sndbuf, recbuf; // socket buffers in octets; 0: the system's choice
    /** Takes fd (non-blocking, close on exec). peer is borrowed. */
    void (*accepted)(slc_listener *listener, int fd, const slc_peer *peer, void *arg);
    void *arg;
} slc_listener_options;

/** options is copied, address too. SLC_EINVAL: not an address; SLC_EADDRINUSE; SLC_EACCESS; others
 * from the system. */
SLC_MUST_USE slc_err slc_listener_open(slc_net *net, const slc_listener_options *options,
                                       slc_listener **out, slc_error *error);
/** Stops at once; frees in a later turn. */
void slc_listener_close(slc_listener *listener);
/** Take no connections: who tries one is refused, who waits for being accepted is reset. Address and port stay ours. */
void slc_listener_suspend(slc_listener *listener);
/** Take them again. Fine when it was not suspended. */
SLC_MUST_USE slc_err slc_listener_resume(slc_listener *listener, slc_error *error);
bool slc_listener_suspended(const slc_listener *listener);
/** The bound address: "0.0.0.0", "::" or as given. host is terminated and belongs to the listener.
 */
const char *slc_listener_host(const slc_listener *listener);
uint16_t slc_listener_port(const slc_listener *listener);
/** NULL: a plain one. */
struct slc_tls *slc_listener_tls(const slc_listener *listener);

#endif
