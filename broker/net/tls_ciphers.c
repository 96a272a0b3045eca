// Which cipher suites are offered, by both of their names.
#include "net/tls_impl.h"

void slc_tls_each_cipher(const slc_tls *tls,
                         void (*each)(const char *openssl, const char *iana, void *arg), void *arg)
{
    SSL_CTX *ctx = tls != NULL ? tls->ctx : SSL_CTX_new(TLS_server_method());
    SSL *ssl = ctx != NULL ? SSL_new(ctx) : NULL;
    if (ssl != NULL && tls == NULL)
        (void)SSL_set_min_proto_version(ssl, TLS1_2_VERSION);
    // Those of versions that are switched off are not among them.
    STACK_OF(SSL_CIPHER) *ciphers = ssl != NULL ? SSL_get1_supported_ciphers(ssl) : NULL;
    for (int i = 0; i < sk_SSL_CIPHER_num(ciphers); i++) {
        const SSL_CIPHER *cipher = sk_SSL_CIPHER_value(ciphers, i);
        const char *iana = SSL_CIPHER_standard_name(cipher);
        each(SSL_CIPHER_get_name(cipher), iana != NULL ? iana : SSL_CIPHER_get_name(cipher), arg);
    }
    sk_SSL_CIPHER_free(ciphers);
    SSL_free(ssl);
    if (tls == NULL)
        SSL_CTX_free(ctx);
}
