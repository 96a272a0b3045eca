/** Sockets between accept and the end of their PROXY header. Private to net. Thread: the loop. */
#ifndef SLC_NET_PROXY_WAIT_H
#define SLC_NET_PROXY_WAIT_H

#include "net/net_impl.h"
#include "net/proxy.h"

typedef struct slc_proxy_wait slc_proxy_wait;

/** Takes fd; list is the listener's. done gets fd and the addresses that count; else fd is closed, with a log line. */
void slc_proxy_wait_new(slc_net *net, slc_listener *listener, slc_proxy_wait **list, int fd,
                        const slc_peer *peer, uint32_t timeout_ms,
                        void (*done)(slc_listener *listener, int fd, const slc_peer *peer));
void slc_proxy_wait_end_all(slc_proxy_wait **list);

#endif
