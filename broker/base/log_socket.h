/** Lines of the log on their way through a socket: datagrams to a unix socket or over UDP, or a TCP stream.
 *
 *      absent ──connect──> connecting (TCP) ──> open ──error──> absent; a next attempt after a second, at another address
 *
 *  It never waits but in two bounded cases: a socket that is full for the first time gets 100 ms, so that a burst need not lose
 *  lines, and a TCP peer gets a second at the end. While it is absent or stays full, lines are dropped and counted; TCP keeps up to
 *  64 KiB for a peer that is slow or still to be connected. Names are looked up by a thread of their own.
 *
 *  Owner: the writer thread of the log, which alone calls this. Private to the log.
 */
#ifndef SLC_BASE_LOG_SOCKET_H
#define SLC_BASE_LOG_SOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

enum {
    SLC_LOG_SOCKET_ADDRESSES_MAX = 8,
    SLC_LOG_SOCKET_PENDING_BYTES_MAX = 64 * 1024,
};

typedef struct slc_log_address {
    struct sockaddr_storage address;
    socklen_t bytes;
} slc_log_address;

typedef enum slc_log_socket_state {
    SLC_LOG_SOCKET_ABSENT,
    SLC_LOG_SOCKET_CONNECTING,
    SLC_LOG_SOCKET_OPEN,
} slc_log_socket_state;

typedef struct slc_log_socket {
    char name[512]; // for people
    char host[256]; // "": a unix socket
    uint16_t port;
    bool stream;
    slc_log_socket_state state;
    int fd; // -1: absent
    slc_log_address addresses[SLC_LOG_SOCKET_ADDRESSES_MAX];
    uint32_t address_count, address_next;
    bool named;                // host is no address
    struct log_lookup *lookup; // under way; shared with its thread
    uint64_t retry_ns;         // no attempt to connect before
    bool full;                 // it was when last tried: no waiting any more
    bool refused;              // a peer did, and no line went without that since
    char *pending;             // of a stream: to be sent before anything else
    size_t pending_bytes;
    uint64_t pending_lines;

    bool failing;     // the last attempt to connect failed
    uint64_t dropped; // since the last news of an end
    uint64_t lost_ns; // when the last one was
    bool told;        // that lines do not get through
    int why;          // errno of the last failure; -1: nobody knows the name
} slc_log_socket;

/** socket: a path. Nothing is connected yet. false: it is longer than a socket's name may be (107 octets). */
bool slc_log_socket_unix(slc_log_socket *s, const char *path);
/** host: an address or a name. */
void slc_log_socket_inet(slc_log_socket *s, const char *host, uint16_t port, bool tcp);
void slc_log_socket_close(slc_log_socket *s);

/** false: dropped, and counted. */
bool slc_log_socket_send(slc_log_socket *s, const char *text, size_t bytes);
/** Pass on what is pending, connect what waits for it. */
void slc_log_socket_turn(slc_log_socket *s);
/** It wants another slc_log_socket_turn within a second, even if there are no lines: some wait, or there are news to come. */
bool slc_log_socket_waits(const slc_log_socket *s);
/** true once when lines do not get through, and once when none was lost for a second after that: out says so. */
bool slc_log_socket_news(slc_log_socket *s, char *out, size_t cap);

#endif
