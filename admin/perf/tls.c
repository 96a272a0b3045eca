#include "perf/tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

/** What OpenSSL, or the socket below it, has to say. */
static slc_err tls_failed(SSL *tls, int result, const char *what, slc_error *error)
{
    int problem = errno;
    int kind = SSL_get_error(tls, result);
    if (kind == SSL_ERROR_WANT_READ || kind == SSL_ERROR_WANT_WRITE)
        return SLC_EAGAIN;
    long verified = SSL_get_verify_result(tls);
    unsigned long code = ERR_peek_error();
    const char *reason = code != 0 ? ERR_reason_error_string(code) : NULL;
    bool eof =
        kind == SSL_ERROR_ZERO_RETURN || ERR_GET_REASON(code) == SSL_R_UNEXPECTED_EOF_WHILE_READING;
    ERR_clear_error();
    if (verified != X509_V_OK)
        return slc_error_set(error, SLC_EINVAL, "the broker's certificate: %s",
                             X509_verify_cert_error_string(verified));
    if (eof)
        return slc_error_set(error, SLC_ECLOSED, "the broker closed the connection without a word");
    if (kind == SSL_ERROR_SYSCALL && reason == NULL)
        return slc_error_set(error, slc_err_from_errno(problem), "%s the broker: %s", what,
                             strerror(problem));
    return slc_error_set(error, SLC_EIO, "%s the broker: TLS: %s", what,
                         reason != NULL ? reason : "no reason given");
}

static slc_err tls_setup_failed(slc_error *error)
{
    const char *reason = ERR_reason_error_string(ERR_peek_error());
    ERR_clear_error();
    return slc_error_set(error, SLC_EINVAL, "TLS: %s", reason != NULL ? reason : "no reason given");
}

static slc_err tls_authorities(SSL_CTX *context, const char *ca, slc_error *error)
{
    FILE *file = fopen(ca, "re");
    if (file == NULL)
        return slc_error_set(error, slc_err_from_errno(errno), "--cacert %s: %s", ca,
                             strerror(errno));
    fclose(file); // only for the plain reason, which OpenSSL does not give
    if (SSL_CTX_load_verify_file(context, ca) == 1)
        return SLC_OK;
    ERR_clear_error();
    return slc_error_set(error, SLC_EINVAL, "--cacert %s: it has no certificate in PEM form", ca);
}

/** The peer must show a certificate for this host by one of these authorities. */
static bool tls_demand(SSL *tls, const char *host)
{
    struct in6_addr address;
    bool numeric =
        inet_pton(AF_INET, host, &address) == 1 || inet_pton(AF_INET6, host, &address) == 1;
    SSL_set_verify(tls, SSL_VERIFY_PEER, NULL);
    return numeric ? X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(tls), host) == 1
                   : SSL_set1_host(tls, host) == 1 && SSL_set_tlsext_host_name(tls, host) == 1;
}

slc_err slc_perf_tls_new(int fd, const char *host, const char *ca, SSL **out, slc_error *error)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL *tls = NULL;
    slc_err rc = SLC_OK;
    if (context == NULL)
        return tls_setup_failed(error);
    // A record that did not go out whole is offered again from where the buffer has moved to.
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    if (ca != NULL && (rc = tls_authorities(context, ca, error)) != SLC_OK)
        goto free_context;
    tls = SSL_new(context);
    if (tls == NULL || SSL_set_fd(tls, fd) != 1 || (ca != NULL && !tls_demand(tls, host))) {
        rc = tls_setup_failed(error);
        SSL_free(tls);
        goto free_context;
    }
    SSL_set_connect_state(tls);
    *out = tls;

free_context:
    SSL_CTX_free(context); // the connection holds it
    return rc;
}

void slc_perf_tls_free(SSL *tls)
{
    SSL_free(tls);
}

slc_err slc_perf_tls_handshake(SSL *tls, short *events, slc_error *error)
{
    int result = SSL_do_handshake(tls);
    if (result == 1)
        return SLC_OK;
    *events = SSL_want_write(tls) ? POLLOUT : POLLIN;
    return tls_failed(tls, result, "TLS handshake with", error);
}

slc_err slc_perf_tls_read(SSL *tls, void *to, size_t room, size_t *got, slc_error *error)
{
    int result = SSL_read_ex(tls, to, room, got);
    return result == 1 ? SLC_OK : tls_failed(tls, result, "reading from", error);
}

bool slc_perf_tls_pending(const SSL *tls)
{
    return SSL_pending(tls) > 0;
}

slc_err slc_perf_tls_write(SSL *tls, const void *from, size_t bytes, size_t *written,
                           slc_error *error)
{
    int result = SSL_write_ex(tls, from, bytes, written);
    return result == 1 ? SLC_OK : tls_failed(tls, result, "writing to", error);
}
