/** TLS inside net/: what conn.c and conn_out.c call. Every function is for connections with conn->tls set. */
#ifndef SLC_NET_TLS_IMPL_H
#define SLC_NET_TLS_IMPL_H

#include <openssl/ssl.h>
#include <sys/uio.h>

#include "net/net_impl.h"
#include "net/tls.h"

enum {
    TLS_RECORD_BYTES = 16 << 10, // plain octets of one record
    TLS_BATCH_BYTES = 256 << 10, // plain octets of one write
    TLS_KEEP_BYTES = 32 << 10,   // a buffer above this goes when it is empty
};

struct slc_tls_file;

struct slc_tls {
    SSL_CTX *ctx;
    SSL_CTX *sni[SLC_TLS_SNI_MAX];
    uint32_t sni_count;
    uint32_t handshake_timeout_ms;
    uint32_t refs; // the owner and every connection: the counters are ours
    slc_tls_cert *certs;
    uint32_t cert_count;
    struct slc_tls_file *files; // what was read
    uint32_t file_count;
    slc_tls_stats stats;
};

/** TLS of one connection.
 *
 *      HANDSHAKE ──> OPEN ──slc_tls_say_goodbye──> CLOSED
 *          └─────────┴──error──> FAILED: nothing is encrypted any more
 */
typedef enum tls_state {
    TLS_HANDSHAKE,
    TLS_OPEN,
    TLS_CLOSED,
    TLS_FAILED,
} tls_state;

struct slc_conn_tls {
    SSL *ssl;
    slc_tls *tls;
    tls_state state;
    bool unread;  // OpenSSL may hold octets that poll does not know of
    bool greeted; // the first octets were looked at
    uint64_t deadline_ms;
    uint8_t *out; // encrypted, to be sent: out[out_from, out_to)
    size_t out_from, out_to, out_cap;
    size_t
        out_plain; // octets of the connection's output that are in it: they count as written when all of it is
    char name[168];
    slc_tls_info info;
    char *subject, *issuer;
    char validity[64], key_exchange[32], cipher[32], hash[24];
};

/** RFC 4514; slc_free it. tls.c */
char *slc_tls_name_text(const X509_NAME *name);

/** name: of the peer, for the log. NULL: out of memory in OpenSSL. */
struct slc_conn_tls *slc_conn_tls_new(slc_conn *conn, slc_tls *tls, const char *name);
void slc_conn_tls_free(slc_conn *conn);
/** As recvmsg: octets, 0 at the end of the stream, -1 and errno. */
ssize_t slc_conn_tls_recv(slc_conn *conn, const struct iovec *iov, int count);
/** As sendmsg, for whole batches: SLC_OK: all that was given is sent, *written octets of it count now; SLC_EAGAIN. */
slc_err slc_conn_tls_send(slc_conn *conn, const struct iovec *iov, int count, size_t *written);
/** Encrypted octets wait. */
static inline bool slc_conn_tls_unsent(const slc_conn *conn)
{
    return conn->tls->out_to > conn->tls->out_from;
}
/** Say end of stream; the octets are to be flushed. */
void slc_conn_tls_goodbye(slc_conn *conn);
/** The socket closes: what can still be said without waiting. */
void slc_conn_tls_last(slc_conn *conn);
/** False: the handshake takes too long; it was logged. */
bool slc_conn_tls_in_time(slc_conn *conn, uint64_t now_ms);

#endif
