/** TLS of listeners: the settings and certificates that new connections begin with, and what a connection says about its own.
 *
 *      files ──slc_tls_new──> slc_tls ──slc_tls_load (reload)──> slc_tls with new files
 *                               └──> a connection takes the context of the moment and keeps it
 *
 *  A connection with slc_conn_options.tls set reads and writes through TLS; conn.h stays the whole interface. Only TLS 1.2 and
 *  1.3; renegotiation and compression are off; ALPN `amqp`; session tickets on. A failed handshake is logged with the peer's
 *  name and the reason and ends its own connection only.
 *
 *  Ownership: options are copied. Thread: the loop's; loading reads small files and blocks.
 *  @spec operations 4.2, 6; amqp-semantics 4.2
 */
#ifndef SLC_NET_TLS_H
#define SLC_NET_TLS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

typedef struct slc_tls slc_tls;

/** A further certificate, for clients that ask (SNI) for one of the host names it is made for. */
typedef struct slc_tls_sni {
    const char *name; // of the configuration, for messages
    const char *certfile, *keyfile;
} slc_tls_sni;

enum { SLC_TLS_CIPHERS_MAX = 64, SLC_TLS_SNI_MAX = 32 };

/** Paths name PEM files. NULL: not given. */
typedef struct slc_tls_options {
    const char *prefix; // of the keys in messages; NULL: "ssl_options"
    const char *cacertfile;
    const char *certfile, *keyfile; // the certificate may be followed by its chain
    const char *password;           // of encrypted keys
    bool verify_peer;               // ask for a certificate and check it against cacertfile
    bool fail_if_no_peer_cert;
    uint32_t depth;    // intermediate certificates between the peer's and the root
    bool tls12, tls13; // neither: both
    const char *ciphers[SLC_TLS_CIPHERS_MAX]; // OpenSSL's or IANA's names; none: OpenSSL's choice
    uint32_t cipher_count;
    bool honor_cipher_order, honor_ecc_order; // the server's order counts
    uint32_t handshake_timeout_ms;
    slc_tls_sni sni[SLC_TLS_SNI_MAX];
    uint32_t sni_count;
} slc_tls_options;

/** SLC_EINVAL: error names key, file or value, and what is wrong with it. A certificate that is expired or not valid yet is a
 *  warning in the log. */
SLC_MUST_USE slc_err slc_tls_new(const slc_tls_options *options, slc_tls **out, slc_error *error);
/** Read everything again for connections accepted from now on. On an error everything stays as it is. */
SLC_MUST_USE slc_err slc_tls_load(slc_tls *tls, const slc_tls_options *options, slc_error *error);
void slc_tls_free(slc_tls *tls);
/** Whether a file has changed (time, size or identity) since it was read, or since this said so: what cannot be used is reported
 *  once. Blocks for some stat calls. */
bool slc_tls_changed(slc_tls *tls);

/** A certificate in use; times are seconds since 1970. */
typedef struct slc_tls_cert {
    char *key, *file; // "ssl_options.certfile", its path
    char *subject, *issuer, *serial;
    int64_t not_before, not_after;
} slc_tls_cert;

/** Those of the node, then those of cacertfile. Valid until the next load. */
const slc_tls_cert *slc_tls_certs(const slc_tls *tls, uint32_t *count);

/** The cipher suites that new connections are offered, in that order; tls NULL: what OpenSSL chooses. @thread any */
void slc_tls_each_cipher(const slc_tls *tls,
                         void (*each)(const char *openssl, const char *iana, void *arg), void *arg);

typedef struct slc_tls_stats {
    uint64_t handshakes; // completed
    uint64_t resumed;    // of them by a session ticket
    uint64_t failed, timeouts;
} slc_tls_stats;
void slc_tls_stats_get(const slc_tls *tls, slc_tls_stats *out);

/** What was negotiated, in the words RabbitMQ shows; texts are never NULL. */
typedef struct slc_tls_info {
    const char *protocol;         // "tlsv1.3"
    const char *key_exchange;     // "any", "ecdhe_rsa"
    const char *cipher;           // "aes_256_gcm"
    const char *hash;             // "aead", "sha256"
    const char *subject, *issuer; // of the peer's certificate, RFC 4514; "": none
    const char *validity;         // "2026-01-01T00:00:00Z - 2027-01-01T00:00:00Z"
} slc_tls_info;

typedef enum slc_tls_login {
    SLC_TLS_LOGIN_DN,
    SLC_TLS_LOGIN_CN,
    SLC_TLS_LOGIN_SAN,
} slc_tls_login;

typedef enum slc_tls_san {
    SLC_TLS_SAN_DNS,
    SLC_TLS_SAN_IP,
    SLC_TLS_SAN_EMAIL,
    SLC_TLS_SAN_URI,
    SLC_TLS_SAN_OTHER, // text values only
} slc_tls_san;

struct slc_conn;
/** NULL: not a TLS connection, or its handshake is not complete. Lives as long as the connection. */
const slc_tls_info *slc_conn_tls_info(const struct slc_conn *conn);
/** The user name in the peer's verified certificate. index counts the names of that type from 0.
 *  SLC_ENOTFOUND: no certificate, or it has no such name; SLC_ELIMIT: longer than 255 octets; SLC_EINVAL: it has control
 *  characters. error has the reason for the log. */
SLC_MUST_USE slc_err slc_conn_peer_login(const struct slc_conn *conn, slc_tls_login from,
                                         slc_tls_san san, uint32_t index, char out[256],
                                         slc_error *error);

#endif
