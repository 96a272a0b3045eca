/* TLS of one connection.
 *
 *      socket ──OpenSSL reads it (with read-ahead)──> plain octets into the iovecs of conn.c
 *      segments ──records of 16 KiB──> out[] ──one send──> socket
 *
 *  Input: OpenSSL reads the socket itself, so nothing is copied twice; what it holds beyond the octets asked for is noted in
 * `unread`, because poll will not report it. Output: small segments are put together to whole records, large ones are encrypted
 * from where they lie, and a batch goes out in one system call. The octets of a batch stay in the connection's ring until all of
 * the batch is sent: pending, the marks and the release of references mean the same as without TLS.
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <sys/socket.h>

#include "base/log.h"
#include "net/tls_impl.h"

/* ---- encrypted output: a BIO that collects ---- */

static void out_put(struct slc_conn_tls *t, const void *data, size_t bytes)
{
    if (t->out_from == t->out_to)
        t->out_from = t->out_to = 0;
    if (t->out_cap - t->out_to < bytes) {
        size_t cap = t->out_cap == 0 ? 4096 : t->out_cap;
        while (cap - t->out_to < bytes)
            cap *= 2;
        t->out = slc_realloc(t->out, cap);
        t->out_cap = cap;
    }
    memcpy(t->out + t->out_to, data, bytes);
    t->out_to += bytes;
}

static int collect_write(BIO *bio, const char *data, int bytes)
{
    if (bytes <= 0)
        return 0;
    out_put(BIO_get_data(bio), data, (size_t)bytes);
    return bytes;
}

static long collect_ctrl(BIO *bio, int what, long number, void *arg)
{
    (void)bio;
    (void)number;
    (void)arg;
    return what == BIO_CTRL_FLUSH || what == BIO_CTRL_PUSH || what == BIO_CTRL_POP;
}

static BIO_METHOD *collect_method(void)
{
    static BIO_METHOD *method; // one for the process
    if (method == NULL) {
        method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "sluice");
        BIO_meth_set_write(method, collect_write);
        BIO_meth_set_ctrl(method, collect_ctrl);
    }
    return method;
}

struct slc_conn_tls *slc_conn_tls_new(slc_conn *conn, slc_tls *tls, const char *name)
{
    struct slc_conn_tls *t = slc_alloc_zero(1, sizeof *t);
    t->ssl = SSL_new(tls->ctx);
    BIO *in = BIO_new_socket(conn->fd, BIO_NOCLOSE);
    BIO *out = BIO_new(collect_method());
    if (t->ssl == NULL || in == NULL || out == NULL) {
        ERR_clear_error();
        BIO_free(in);
        BIO_free(out);
        SSL_free(t->ssl);
        slc_free(t);
        return NULL;
    }
    BIO_set_data(out, t);
    BIO_set_init(out, 1);
    SSL_set_bio(t->ssl, in, out);
    SSL_set_accept_state(t->ssl);
    t->tls = tls;
    tls->refs++;
    t->deadline_ms = slc_net_now_ms(conn->net) + tls->handshake_timeout_ms;
    snprintf(t->name, sizeof t->name, "%s", name != NULL ? name : "unknown peer");
    return t;
}

/** The kernel takes what it can. */
static slc_err out_send(slc_conn *conn)
{
    struct slc_conn_tls *t = conn->tls;
    while (t->out_from < t->out_to) {
        conn->net->stats.writes++;
        ssize_t n = send(conn->fd, t->out + t->out_from, t->out_to - t->out_from,
                         MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0) {
            if (errno == EINTR)
                continue;
            if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS)
                return SLC_EAGAIN;
            return slc_err_from_errno(errno);
        }
        t->out_from += (size_t)n;
    }
    t->out_from = t->out_to = 0;
    if (t->out_cap > TLS_KEEP_BYTES) {
        slc_free(t->out);
        t->out = NULL;
        t->out_cap = 0;
    }
    return SLC_OK;
}

void slc_conn_tls_goodbye(slc_conn *conn)
{
    struct slc_conn_tls *t = conn->tls;
    if (t->state != TLS_OPEN)
        return;
    t->state = TLS_CLOSED;
    ERR_clear_error();
    SSL_shutdown(t->ssl);
    ERR_clear_error();
}

void slc_conn_tls_last(slc_conn *conn)
{
    if (slc_conn_tls_unsent(conn))
        return; // a record that is half sent must not be followed by anything
    slc_conn_tls_goodbye(conn);
    (void)!out_send(conn);
}

void slc_conn_tls_free(slc_conn *conn)
{
    struct slc_conn_tls *t = conn->tls;
    if (t == NULL)
        return;
    conn->tls = NULL;
    SSL_free(t->ssl);
    ERR_clear_error();
    slc_tls_free(t->tls);
    slc_free(t->out);
    slc_free(t->subject);
    slc_free(t->issuer);
    slc_free(t);
}

/* ---- what was negotiated ---- */

static void lower(char *out, size_t cap, const char *text)
{
    size_t i = 0;
    for (; text[i] != '\0' && i + 1 < cap; i++)
        out[i] = text[i] == '-' ? '_' : (char)tolower((unsigned char)text[i]);
    out[i] = '\0';
}

static const char *cipher_word(int nid)
{
    switch (nid) {
    case NID_aes_128_gcm:
        return "aes_128_gcm";
    case NID_aes_256_gcm:
        return "aes_256_gcm";
    case NID_aes_128_ccm:
        return "aes_128_ccm";
    case NID_aes_256_ccm:
        return "aes_256_ccm";
    case NID_aes_128_cbc:
        return "aes_128_cbc";
    case NID_aes_256_cbc:
        return "aes_256_cbc";
    case NID_chacha20_poly1305:
        return "chacha20_poly1305";
    default:
        return OBJ_nid2sn(nid);
    }
}

static const char *key_exchange_word(int nid)
{
    switch (nid) {
    case NID_kx_ecdhe:
        return "ecdhe";
    case NID_kx_dhe:
        return "dhe";
    case NID_kx_rsa:
        return "rsa";
    case NID_kx_psk:
        return "psk";
    default:
        return "any"; // TLS 1.3 settles it elsewhere
    }
}

static void time_text(const ASN1_TIME *time, char out[24])
{
    struct tm tm;
    out[0] = '\0';
    if (ASN1_TIME_to_tm(time, &tm) == 1)
        strftime(out, 24, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

static void info_make(struct slc_conn_tls *t)
{
    const SSL_CIPHER *cipher = SSL_get_current_cipher(t->ssl);
    int kx = SSL_CIPHER_get_kx_nid(cipher), auth = SSL_CIPHER_get_auth_nid(cipher);
    const char *with = auth == NID_auth_rsa ? "_rsa" : auth == NID_auth_ecdsa ? "_ecdsa" : "";
    snprintf(t->key_exchange, sizeof t->key_exchange, "%s%s", key_exchange_word(kx),
             kx == NID_kx_ecdhe || kx == NID_kx_dhe ? with : "");
    lower(t->cipher, sizeof t->cipher, cipher_word(SSL_CIPHER_get_cipher_nid(cipher)));
    if (SSL_CIPHER_is_aead(cipher))
        snprintf(t->hash, sizeof t->hash, "aead");
    else
        lower(t->hash, sizeof t->hash, OBJ_nid2sn(SSL_CIPHER_get_digest_nid(cipher)));
    X509 *cert = SSL_get0_peer_certificate(t->ssl);
    if (cert != NULL) {
        char from[24], to[24];
        time_text(X509_get0_notBefore(cert), from);
        time_text(X509_get0_notAfter(cert), to);
        snprintf(t->validity, sizeof t->validity, "%s - %s", from, to);
        t->subject = slc_tls_name_text(X509_get_subject_name(cert));
        t->issuer = slc_tls_name_text(X509_get_issuer_name(cert));
    }
    t->info = (slc_tls_info){
        .protocol = SSL_version(t->ssl) == TLS1_3_VERSION ? "tlsv1.3" : "tlsv1.2",
        .key_exchange = t->key_exchange,
        .cipher = t->cipher,
        .hash = t->hash,
        .subject = t->subject != NULL ? t->subject : "",
        .issuer = t->issuer != NULL ? t->issuer : "",
        .validity = t->validity,
    };
}

const slc_tls_info *slc_conn_tls_info(const slc_conn *conn)
{
    return conn->tls != NULL && conn->tls->info.protocol != NULL ? &conn->tls->info : NULL;
}

/* ---- handshake ---- */

static void handshake_failed(slc_conn *conn, const char *reason, bool quiet)
{
    struct slc_conn_tls *t = conn->tls;
    t->state = TLS_FAILED;
    t->tls->stats.failed++;
    slc_log(quiet ? SLC_LOG_DEBUG : SLC_LOG_WARN, "connection", "tls.handshake_failed",
            SLC_FIELDS(SLC_F_STR("connection", t->name), SLC_F_STR("reason", reason)),
            "TLS handshake failed (%s): %s", t->name, reason);
    (void)!out_send(conn); // the alert, if it goes at once
}

bool slc_conn_tls_in_time(slc_conn *conn, uint64_t now_ms)
{
    struct slc_conn_tls *t = conn->tls;
    if (t->state != TLS_HANDSHAKE || now_ms < t->deadline_ms)
        return true;
    t->tls->stats.timeouts++;
    handshake_failed(conn, "not complete within ssl_handshake_timeout", false);
    return false;
}

/** What a peer that speaks something else sends first. NULL: it may be TLS. */
static const char *first_octets(struct slc_conn_tls *t, int fd)
{
    char data[5];
    ssize_t n = recv(fd, data, sizeof data, MSG_PEEK | MSG_DONTWAIT);
    if (n <= 0)
        return NULL;
    t->greeted = true;
    if (n >= 4 && memcmp(data, "AMQP", 4) == 0)
        return "plain AMQP client on TLS port";
    if (n >= 4 && (memcmp(data, "GET ", 4) == 0 || memcmp(data, "POST", 4) == 0 ||
                   memcmp(data, "HEAD", 4) == 0))
        return "HTTP on TLS port";
    if (data[0] != 0x16)
        return "the peer does not speak TLS";
    return NULL;
}

static const char *handshake_reason(struct slc_conn_tls *t, char out[256])
{
    long verify = SSL_get_verify_result(t->ssl);
    unsigned long code = ERR_peek_last_error();
    const char *text = code != 0 ? ERR_reason_error_string(code) : NULL;
    if (verify != X509_V_OK)
        snprintf(out, 256, "the client's certificate is refused: %s",
                 X509_verify_cert_error_string(verify));
    else
        snprintf(out, 256, "%s", text != NULL ? text : "the peer broke it off");
    return out;
}

/** 1: complete; 0: the peer closed; -1 and errno. */
static int handshake(slc_conn *conn)
{
    struct slc_conn_tls *t = conn->tls;
    char text[256];
    const char *wrong = t->greeted ? NULL : first_octets(t, conn->fd);
    if (wrong != NULL) {
        handshake_failed(conn, wrong, false);
        errno = EPROTO;
        return -1;
    }
    ERR_clear_error();
    errno = 0;
    int rc = SSL_do_handshake(t->ssl);
    int saved = errno;
    if (rc == 1) {
        t->state = TLS_OPEN;
        t->unread = true;
        t->tls->stats.handshakes++;
        if (SSL_session_reused(t->ssl))
            t->tls->stats.resumed++;
        info_make(t);
        slc_log(SLC_LOG_DEBUG, "connection", "tls.handshake",
                SLC_FIELDS(SLC_F_STR("connection", t->name)), "TLS handshake complete (%s): %s, %s",
                t->name, t->info.protocol, SSL_get_cipher_name(t->ssl));
        return 1;
    }
    switch (SSL_get_error(t->ssl, rc)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        errno = EAGAIN;
        return -1;
    case SSL_ERROR_ZERO_RETURN:
        handshake_failed(conn, "the peer closed the connection", !t->greeted);
        ERR_clear_error();
        return 0;
    case SSL_ERROR_SYSCALL:
        handshake_failed(conn, saved != 0 ? strerror(saved) : "the peer closed the connection",
                         !t->greeted);
        ERR_clear_error();
        errno = saved;
        return saved != 0 ? -1 : 0;
    default:
        handshake_failed(conn, handshake_reason(t, text), false);
        ERR_clear_error();
        errno = EPROTO;
        return -1;
    }
}

/* ---- input ---- */

/** OpenSSL had something to say (a ticket, an answer to a key update): out with it in this turn. */
static void speak(slc_conn *conn)
{
    if (slc_conn_tls_unsent(conn) && !conn->dirty)
        slc_conn_first(conn);
}

/** One SSL_read. More than 0: octets; 0: end; -1: errno. */
static ssize_t read_some(struct slc_conn_tls *t, uint8_t *to, size_t bytes)
{
    size_t got = 0;
    ERR_clear_error();
    errno = 0;
    int rc = SSL_read_ex(t->ssl, to, bytes, &got);
    int saved = errno;
    if (rc == 1)
        return (ssize_t)got;
    switch (SSL_get_error(t->ssl, rc)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        t->unread = false;
        errno = EAGAIN;
        return -1;
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    case SSL_ERROR_SYSCALL:
        t->state = TLS_FAILED;
        errno = saved;
        ERR_clear_error();
        return saved != 0 ? -1 : 0;
    default:
        t->state = TLS_FAILED;
        ERR_clear_error();
        errno = EPROTO;
        return -1;
    }
}

ssize_t slc_conn_tls_recv(slc_conn *conn, const struct iovec *iov, int count)
{
    struct slc_conn_tls *t = conn->tls;
    if (t->state == TLS_HANDSHAKE) {
        int rc = handshake(conn);
        int saved = errno;
        speak(conn);
        if (rc <= 0) {
            errno = saved;
            return rc;
        }
        if (conn->pending > 0 && !conn->dirty)
            slc_conn_first(conn); // it waited for this
    }
    if (t->state == TLS_FAILED) {
        errno = EPROTO;
        return -1;
    }
    size_t total = 0;
    t->unread = true;
    for (int i = 0; i < count; i++) {
        size_t at = 0;
        while (at < iov[i].iov_len) {
            if (total >= NET_READ_BUDGET)
                goto done;
            ssize_t n = read_some(t, (uint8_t *)iov[i].iov_base + at, iov[i].iov_len - at);
            if (n <= 0) {
                int saved = errno;
                speak(conn);
                errno = saved;
                return total > 0 ? (ssize_t)total
                                 : n; // an end or error comes again with the next call
            }
            at += (size_t)n;
            total += (size_t)n;
        }
    }
done:
    speak(conn);
    return (ssize_t)total;
}

/* ---- output ---- */

/** Encrypt bytes octets into out. */
static slc_err encrypt(struct slc_conn_tls *t, const uint8_t *data, size_t bytes)
{
    while (bytes > 0) {
        size_t done = 0;
        ERR_clear_error();
        if (SSL_write_ex(t->ssl, data, bytes, &done) != 1) {
            t->state = TLS_FAILED;
            ERR_clear_error();
            return SLC_EIO;
        }
        data += done;
        bytes -= done;
        t->out_plain += done;
    }
    return SLC_OK;
}

static slc_err encrypt_all(struct slc_conn_tls *t, const struct iovec *iov, int count)
{
    uint8_t record[TLS_RECORD_BYTES];
    size_t fill = 0;
    for (int i = 0; i < count && t->out_plain + fill < TLS_BATCH_BYTES; i++) {
        const uint8_t *data = iov[i].iov_base;
        size_t bytes = iov[i].iov_len, room = TLS_BATCH_BYTES - t->out_plain - fill;
        if (bytes > room)
            bytes = room;
        while (bytes > 0) {
            if (fill == 0 && bytes >= TLS_RECORD_BYTES) {
                size_t whole = bytes - bytes % TLS_RECORD_BYTES;
                slc_err rc = encrypt(t, data, whole);
                if (rc != SLC_OK)
                    return rc;
                data += whole;
                bytes -= whole;
                continue;
            }
            size_t part = sizeof record - fill < bytes ? sizeof record - fill : bytes;
            memcpy(record + fill, data, part);
            fill += part;
            data += part;
            bytes -= part;
            if (fill == sizeof record) {
                slc_err rc = encrypt(t, record, fill);
                if (rc != SLC_OK)
                    return rc;
                fill = 0;
            }
        }
    }
    return encrypt(t, record, fill);
}

slc_err slc_conn_tls_send(slc_conn *conn, const struct iovec *iov, int count, size_t *written)
{
    struct slc_conn_tls *t = conn->tls;
    *written = 0;
    if (!slc_conn_tls_unsent(conn) || t->out_plain == 0) {
        if (t->state == TLS_FAILED)
            return SLC_EIO;
        if (t->state == TLS_OPEN && count > 0) {
            slc_err rc = encrypt_all(t, iov, count);
            if (rc != SLC_OK)
                return rc;
        }
    }
    slc_err rc = out_send(conn);
    if (rc != SLC_OK)
        return rc;
    *written = t->out_plain;
    t->out_plain = 0;
    return t->state == TLS_HANDSHAKE ? SLC_EAGAIN : SLC_OK; // output waits for the handshake's end
}

/* ---- the user in a certificate ---- */

static slc_err error_long(slc_error *error)
{
    return slc_error_set(error, SLC_ELIMIT,
                         "the name in the client's certificate is longer than 255 octets");
}

static slc_err login_take(const uint8_t *text, int bytes, char out[256], slc_error *error)
{
    if (bytes <= 0)
        return slc_error_set(error, SLC_ENOTFOUND, "the name in the client's certificate is empty");
    if (bytes > 255)
        return error_long(error);
    for (int i = 0; i < bytes; i++)
        if (text[i] < 0x20 || text[i] == 0x7f)
            return slc_error_set(error, SLC_EINVAL,
                                 "the name in the client's certificate has control characters");
    memcpy(out, text, (size_t)bytes);
    out[bytes] = '\0';
    return SLC_OK;
}

static slc_err login_string(const ASN1_STRING *text, char out[256], slc_error *error)
{
    unsigned char *utf8 = NULL;
    int bytes = ASN1_STRING_to_UTF8(&utf8, text);
    slc_err rc = login_take(utf8, bytes, out, error);
    OPENSSL_free(utf8);
    ERR_clear_error();
    return rc;
}

/** Several common names make one user name, with commas between them, as in RabbitMQ: whoever gets a second one into a
 *  certificate is not the first one's user. */
static slc_err login_cn(X509 *cert, char out[256], slc_error *error)
{
    X509_NAME *subject = X509_get_subject_name(cert);
    char name[256];
    int at = -1;
    out[0] = '\0';
    while ((at = X509_NAME_get_index_by_NID(subject, NID_commonName, at)) >= 0) {
        const ASN1_STRING *text = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at));
        slc_err rc = login_string(text, name, error);
        if (rc != SLC_OK)
            return rc;
        if (strlen(out) + strlen(name) + 1 > 255)
            return error_long(error);
        if (out[0] != '\0')
            strcat(out, ",");
        strcat(out, name);
    }
    if (out[0] == '\0')
        return slc_error_set(error, SLC_ENOTFOUND, "the client's certificate has no common name");
    return SLC_OK;
}

static slc_err login_general(const GENERAL_NAME *name, char out[256], slc_error *error)
{
    char text[INET6_ADDRSTRLEN] = "";
    switch (name->type) {
    case GEN_IPADD: {
        const ASN1_OCTET_STRING *ip = name->d.iPAddress;
        int family = ASN1_STRING_length(ip) == 4    ? AF_INET
                     : ASN1_STRING_length(ip) == 16 ? AF_INET6
                                                    : 0;
        if (family != 0)
            inet_ntop(family, ASN1_STRING_get0_data(ip), text, sizeof text);
        return login_take((const uint8_t *)text, (int)strlen(text), out, error);
    }
    case GEN_OTHERNAME: {
        const ASN1_TYPE *value = name->d.otherName->value;
        if (value->type != V_ASN1_UTF8STRING && value->type != V_ASN1_IA5STRING &&
            value->type != V_ASN1_PRINTABLESTRING)
            return slc_error_set(error, SLC_ENOTFOUND,
                                 "the other name in the client's certificate is not a text");
        return login_string(value->value.asn1_string, out, error);
    }
    default:
        return login_string(name->d.ia5, out, error);
    }
}

static slc_err login_san(X509 *cert, slc_tls_san san, uint32_t index, char out[256],
                         slc_error *error)
{
    static const int kinds[] = {
        [SLC_TLS_SAN_DNS] = GEN_DNS,         [SLC_TLS_SAN_IP] = GEN_IPADD,
        [SLC_TLS_SAN_EMAIL] = GEN_EMAIL,     [SLC_TLS_SAN_URI] = GEN_URI,
        [SLC_TLS_SAN_OTHER] = GEN_OTHERNAME,
    };
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    slc_err rc = slc_error_set(
        error, SLC_ENOTFOUND,
        "the client's certificate has no subject alternative name of the wanted type and index");
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type == kinds[san] && index-- == 0) {
            rc = login_general(name, out, error);
            break;
        }
    }
    GENERAL_NAMES_free(names);
    ERR_clear_error();
    return rc;
}

slc_err slc_conn_peer_login(const slc_conn *conn, slc_tls_login from, slc_tls_san san,
                            uint32_t index, char out[256], slc_error *error)
{
    const struct slc_conn_tls *t = conn->tls;
    // Without verify_peer nobody is asked for a certificate, and a refused one ends the handshake: what is here was checked.
    X509 *cert = t != NULL ? SSL_get0_peer_certificate(t->ssl) : NULL;
    if (cert == NULL || SSL_get_verify_result(t->ssl) != X509_V_OK)
        return slc_error_set(error, SLC_ENOTFOUND, "the client gave no certificate");
    switch (from) {
    case SLC_TLS_LOGIN_CN:
        return login_cn(cert, out, error);
    case SLC_TLS_LOGIN_SAN:
        return login_san(cert, san, index, out, error);
    case SLC_TLS_LOGIN_DN:
        break;
    }
    return login_take((const uint8_t *)t->info.subject, (int)strlen(t->info.subject), out, error);
}
