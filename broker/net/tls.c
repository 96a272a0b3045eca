/* The context of TLS listeners: files and settings become an SSL_CTX. Connections: tls_conn.c. */
#include "net/tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#include "base/log.h"
#include "base/table.h"
#include "net/tls_impl.h"

struct slc_tls_file {
    char *path;
    struct timespec changed;
    off_t bytes;
    ino_t inode;
};
typedef struct slc_tls_file slc_tls_file;

/* ---- errors ---- */

/** The oldest error of OpenSSL in a few words; clears all. */
static const char *openssl_reason(void)
{
    unsigned long code = ERR_peek_error();
    const char *text = code != 0 ? ERR_reason_error_string(code) : NULL;
    if (text == NULL && code != 0 && ERR_SYSTEM_ERROR(code))
        text = strerror(ERR_GET_REASON(code));
    ERR_clear_error();
    return text != NULL ? text : "no reason given";
}

static slc_err tls_error(slc_error *error, const char *key, const char *file, const char *what)
{
    return slc_error_set(error, SLC_EINVAL, "%.80s = '%.200s': %s", key, file, what);
}

/** "ssl_options.certfile" */
static const char *key_name(const slc_tls_options *o, const char *last, char out[300])
{
    snprintf(out, 300, "%s.%s", o->prefix != NULL ? o->prefix : "ssl_options", last);
    return out;
}

/* ---- files ---- */

static bool file_look(slc_tls_file *file)
{
    struct stat s;
    if (stat(file->path, &s) != 0)
        return false;
    file->changed = s.st_mtim;
    file->bytes = s.st_size;
    file->inode = s.st_ino;
    return true;
}

/** Remember it for slc_tls_changed, and say early and plainly when it cannot be read. */
static slc_err file_use(slc_tls *tls, const char *key, const char *path, slc_error *error)
{
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return tls_error(error, key, path, strerror(errno));
    fclose(f);
    slc_tls_file file = {.path = slc_strdup(path)};
    file_look(&file);
    tls->files = slc_realloc(tls->files, (tls->file_count + 1) * sizeof *tls->files);
    tls->files[tls->file_count++] = file;
    return SLC_OK;
}

bool slc_tls_changed(slc_tls *tls)
{
    bool changed = false;
    for (uint32_t i = 0; i < tls->file_count; i++) {
        slc_tls_file *known = &tls->files[i];
        slc_tls_file now = {.path = known->path};
        // A file that is away for a moment is being replaced.
        if (file_look(&now) && (now.bytes != known->bytes || now.inode != known->inode ||
                                now.changed.tv_sec != known->changed.tv_sec ||
                                now.changed.tv_nsec != known->changed.tv_nsec)) {
            *known = now;
            changed = true;
        }
    }
    return changed;
}

/* ---- certificates as text ---- */

// RabbitMQ's words for the parts of a distinguished name; OpenSSL has others for some.
static const struct {
    int nid;
    const char *word;
} name_words[] = {
    {NID_commonName, "CN"},
    {NID_organizationName, "O"},
    {NID_organizationalUnitName, "OU"},
    {NID_countryName, "C"},
    {NID_localityName, "L"},
    {NID_stateOrProvinceName, "ST"},
    {NID_domainComponent, "DC"},
    {NID_userId, "UID"},
    {NID_pkcs9_emailAddress, "EMAILADDRESS"},
    {NID_serialNumber, "SERIALNUMBER"},
    {NID_surname, "SN"},
    {NID_givenName, "GIVENNAME"},
    {NID_initials, "INITIALS"},
    {NID_generationQualifier, "GENERATIONQUALIFIER"},
    {NID_title, "TITLE"},
    {NID_pseudonym, "PSEUDONYM"},
};

static void name_type_put(slc_buffer *out, const ASN1_OBJECT *type)
{
    char oid[128];
    int nid = OBJ_obj2nid(type);
    for (size_t i = 0; i < SLC_ARRAY_COUNT(name_words); i++) {
        if (name_words[i].nid == nid) {
            slc_buffer_text(out, name_words[i].word);
            return;
        }
    }
    OBJ_obj2txt(oid, sizeof oid, type, 1);
    slc_buffer_text(out, oid);
}

/** Nothing but printable ASCII: what else there is becomes octets in hexadecimal, also ~, as in RabbitMQ. */
static void name_value_put(slc_buffer *out, const ASN1_STRING *value)
{
    unsigned char *text = NULL;
    int bytes = ASN1_STRING_to_UTF8(&text, value);
    for (int i = 0; i < bytes; i++) {
        unsigned char c = text[i];
        bool edge = (i == 0 && (c == ' ' || c == '#')) || (i == bytes - 1 && c == ' ');
        if (c < 0x20 || c >= 0x7e)
            slc_buffer_format(out, "\\%02X", c);
        else
            slc_buffer_format(out, "%s%c", edge || strchr(",+\"\\<>;", c) != NULL ? "\\" : "", c);
    }
    OPENSSL_free(text);
    ERR_clear_error(); // of a value that is no text
}

// RFC 4514: the most specific part first. EXTERNAL makes it a user's name, so every octet is as RabbitMQ writes it.
char *slc_tls_name_text(const X509_NAME *name)
{
    slc_buffer out = {0};
    int from = X509_NAME_entry_count(name);
    while (from > 0) {
        int end = from--;
        int set = X509_NAME_ENTRY_set(X509_NAME_get_entry(name, from));
        while (from > 0 && X509_NAME_ENTRY_set(X509_NAME_get_entry(name, from - 1)) == set)
            from--;
        for (int i = from; i < end; i++) {
            const X509_NAME_ENTRY *entry = X509_NAME_get_entry(name, i);
            if (out.bytes > 0)
                slc_buffer_text(&out, i > from ? "+" : ",");
            name_type_put(&out, X509_NAME_ENTRY_get_object(entry));
            slc_buffer_text(&out, "=");
            name_value_put(&out, X509_NAME_ENTRY_get_data(entry));
        }
    }
    char *text = slc_strndup(out.bytes > 0 ? (const char *)out.data : "", out.bytes);
    slc_buffer_fini(&out);
    return text;
}

static int64_t time_of(const ASN1_TIME *time)
{
    struct tm tm;
    return ASN1_TIME_to_tm(time, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

static char *serial_text(X509 *cert)
{
    BIGNUM *number = ASN1_INTEGER_to_BN(X509_get0_serialNumber(cert), NULL);
    char *hex = number != NULL ? BN_bn2hex(number) : NULL;
    char *text = slc_strdup(hex != NULL ? hex : "");
    OPENSSL_free(hex);
    BN_free(number);
    return text;
}

static void cert_add(slc_tls *tls, const char *key, const char *file, X509 *cert)
{
    tls->certs = slc_realloc(tls->certs, (tls->cert_count + 1) * sizeof *tls->certs);
    tls->certs[tls->cert_count++] = (slc_tls_cert){
        .key = slc_strdup(key),
        .file = slc_strdup(file),
        .subject = slc_tls_name_text(X509_get_subject_name(cert)),
        .issuer = slc_tls_name_text(X509_get_issuer_name(cert)),
        .serial = serial_text(cert),
        .not_before = time_of(X509_get0_notBefore(cert)),
        .not_after = time_of(X509_get0_notAfter(cert)),
    };
}

static void cert_judge(const slc_tls_cert *cert)
{
    int64_t now = (int64_t)time(NULL);
    if (now <= cert->not_after && now >= cert->not_before)
        return;
    slc_log(SLC_LOG_WARN, "connection", "tls.certificate_time",
            SLC_FIELDS(SLC_F_STR("file", cert->file), SLC_F_STR("subject", cert->subject)),
            "%s = '%s': the certificate of '%s' %s; clients that check it will refuse us",
            cert->key, cert->file, cert->subject,
            now > cert->not_after ? "has expired" : "is not valid yet");
}

/** Every certificate of a file; the first only when chain is false. */
static void certs_read(slc_tls *tls, const char *key, const char *file, bool all)
{
    BIO *bio = BIO_new_file(file, "r");
    X509 *cert;
    while (bio != NULL && (cert = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
        cert_add(tls, key, file, cert);
        cert_judge(&tls->certs[tls->cert_count - 1]);
        X509_free(cert);
        if (!all)
            break;
    }
    BIO_free(bio);
    ERR_clear_error(); // the end of the file is one
}

/* ---- the context ---- */

static int password_give(char *out, int cap, int for_writing, void *arg)
{
    const char *password = arg;
    (void)for_writing;
    if (password == NULL || strlen(password) >= (size_t)cap)
        return 0; // and nobody is asked on a terminal
    memcpy(out, password, strlen(password));
    return (int)strlen(password);
}

static int alpn_choose(SSL *ssl, const unsigned char **out, unsigned char *out_bytes,
                       const unsigned char *in, unsigned in_bytes, void *arg)
{
    static const unsigned char ours[] = "\x04"
                                        "amqp";
    (void)ssl;
    (void)arg;
    // A client that offers only other names may still speak AMQP: it will show.
    return SSL_select_next_proto((unsigned char **)(uintptr_t)out, out_bytes, ours, sizeof ours - 1,
                                 in, in_bytes) == OPENSSL_NPN_NEGOTIATED
               ? SSL_TLSEXT_ERR_OK
               : SSL_TLSEXT_ERR_NOACK;
}

static int sni_choose(SSL *ssl, int *alert, void *arg)
{
    slc_tls *tls = arg;
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    (void)alert;
    if (name == NULL)
        return SSL_TLSEXT_ERR_NOACK;
    for (uint32_t i = 0; i < tls->sni_count; i++) {
        X509 *cert = SSL_CTX_get0_certificate(tls->sni[i]);
        if (cert != NULL && X509_check_host(cert, name, 0, 0, NULL) == 1) {
            SSL_set_SSL_CTX(ssl, tls->sni[i]);
            break;
        }
    }
    return SSL_TLSEXT_ERR_OK;
}

static slc_err ctx_identity(SSL_CTX *ctx, slc_tls *tls, const slc_tls_options *o,
                            const char *cert_key, const char *certfile, const char *key_key,
                            const char *keyfile, slc_error *error)
{
    slc_err rc = file_use(tls, cert_key, certfile, error);
    if (rc == SLC_OK)
        rc = file_use(tls, key_key, keyfile, error);
    if (rc != SLC_OK)
        return rc;
    char text[300], name[300];
    ERR_clear_error();
    SSL_CTX_set_default_passwd_cb(ctx, password_give);
    SSL_CTX_set_default_passwd_cb_userdata(ctx, (void *)(uintptr_t)o->password);
    if (SSL_CTX_use_certificate_chain_file(ctx, certfile) != 1) {
        snprintf(text, sizeof text, "it has no usable certificate in PEM form (%s)",
                 openssl_reason());
        rc = tls_error(error, cert_key, certfile, text);
    } else if (SSL_CTX_use_PrivateKey_file(ctx, keyfile, SSL_FILETYPE_PEM) != 1) {
        bool mismatch = ERR_GET_REASON(ERR_peek_last_error()) == X509_R_KEY_VALUES_MISMATCH ||
                        ERR_GET_REASON(ERR_peek_last_error()) == X509_R_KEY_TYPE_MISMATCH;
        if (mismatch)
            snprintf(text, sizeof text, "the key does not match the certificate of %s", cert_key);
        else
            snprintf(text, sizeof text, "it has no usable private key in PEM form (%s)%s%s",
                     openssl_reason(), o->password == NULL ? "; an encrypted key needs " : "",
                     o->password == NULL ? key_name(o, "password", name) : "");
        ERR_clear_error();
        rc = tls_error(error, key_key, keyfile, text);
    } else if (SSL_CTX_check_private_key(ctx) != 1) {
        snprintf(text, sizeof text, "the key does not match the certificate of %s", cert_key);
        ERR_clear_error();
        rc = tls_error(error, key_key, keyfile, text);
    }
    SSL_CTX_set_default_passwd_cb_userdata(ctx, NULL); // the password is the caller's
    if (rc == SLC_OK)
        certs_read(tls, cert_key, certfile, false);
    return rc;
}

static slc_err ctx_verify(SSL_CTX *ctx, slc_tls *tls, const slc_tls_options *o, slc_error *error)
{
    if (o->cacertfile != NULL) {
        char key[300];
        slc_err rc = file_use(tls, key_name(o, "cacertfile", key), o->cacertfile, error);
        if (rc != SLC_OK)
            return rc;
        ERR_clear_error();
        STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(o->cacertfile);
        if (names == NULL || SSL_CTX_load_verify_file(ctx, o->cacertfile) != 1) {
            char text[200];
            snprintf(text, sizeof text, "it has no usable certificate in PEM form (%s)",
                     openssl_reason());
            sk_X509_NAME_pop_free(names, X509_NAME_free);
            return tls_error(error, key, o->cacertfile, text);
        }
        SSL_CTX_set_client_CA_list(ctx, names); // takes them
    }
    if (!o->verify_peer)
        return SLC_OK;
    if (o->cacertfile == NULL)
        return slc_error_set(
            error, SLC_EINVAL,
            "ssl_options.verify = verify_peer needs ssl_options.cacertfile: it says whom to trust");
    SSL_CTX_set_verify(
        ctx, SSL_VERIFY_PEER | (o->fail_if_no_peer_cert ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0),
        NULL);
    SSL_CTX_set_verify_depth(ctx, (int)o->depth);
    return SLC_OK;
}

/** TLS 1.3 suites have a list of their own. */
static slc_err ctx_ciphers(SSL_CTX *ctx, const slc_tls_options *o, slc_error *error)
{
    char old[4096] = "", new[1024] = "";
    if (o->cipher_count == 0)
        return SLC_OK;
    for (uint32_t i = 0; i < o->cipher_count; i++) {
        const char *name = o->ciphers[i];
        bool tls13 = strncmp(name, "TLS_", 4) == 0 && strstr(name, "_WITH_") == NULL;
        const char *openssl = name;
        if (!tls13 && strncmp(name, "TLS_", 4) == 0)
            openssl = OPENSSL_cipher_name(name); // "(NONE)" for what it does not know
        ERR_clear_error();
        bool known = tls13 ? SSL_CTX_set_ciphersuites(ctx, name) == 1
                           : SSL_CTX_set_cipher_list(ctx, openssl) == 1;
        ERR_clear_error();
        if (!known)
            return tls_error(error, "ssl_options.ciphers", name,
                             "OpenSSL has no such cipher suite, or it is too weak");
        char *list = tls13 ? new : old;
        size_t cap = tls13 ? sizeof new : sizeof old, at = strlen(list);
        int n = snprintf(list + at, cap - at, "%s%s", at > 0 ? ":" : "", openssl);
        if (n < 0 || (size_t)n >= cap - at)
            return slc_error_set(error, SLC_EINVAL, "ssl_options.ciphers: the list is too long");
    }
    // A list without any suite of one version leaves none for it: the list is the whole truth.
    if (SSL_CTX_set_ciphersuites(ctx, new) != 1 ||
        (old[0] != '\0' && SSL_CTX_set_cipher_list(ctx, old) != 1))
        return slc_error_set(error, SLC_EINVAL, "ssl_options.ciphers: %s", openssl_reason());
    bool tls12 = o->tls12 || !o->tls13, tls13 = o->tls13 || !o->tls12;
    if (old[0] == '\0')
        tls12 = false;
    if (new[0] == '\0')
        tls13 = false;
    if (!tls12 && !tls13)
        return slc_error_set(
            error, SLC_EINVAL,
            "ssl_options.ciphers: none of them belongs to a version of ssl_options.versions");
    SSL_CTX_set_min_proto_version(ctx, tls12 ? TLS1_2_VERSION : TLS1_3_VERSION);
    SSL_CTX_set_max_proto_version(ctx, tls13 ? TLS1_3_VERSION : TLS1_2_VERSION);
    return SLC_OK;
}

static slc_err ctx_make(slc_tls *tls, const slc_tls_options *o, const char *cert_key,
                        const char *certfile, const char *key_key, const char *keyfile,
                        SSL_CTX **out, slc_error *error)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    if (ctx == NULL)
        return slc_error_set(error, SLC_EINTERNAL, "cannot make a TLS context: %s",
                             openssl_reason());
    bool tls12 = o->tls12 || !o->tls13, tls13 = o->tls13 || !o->tls12;
    SSL_CTX_set_min_proto_version(ctx, tls12 ? TLS1_2_VERSION : TLS1_3_VERSION);
    SSL_CTX_set_max_proto_version(ctx, tls13 ? TLS1_3_VERSION : TLS1_2_VERSION);
    uint64_t flags = SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION;
    // AMQP has an end of its own; most clients just close.
    flags |= SSL_OP_IGNORE_UNEXPECTED_EOF;
    if (o->honor_cipher_order || o->honor_ecc_order)
        flags |= SSL_OP_CIPHER_SERVER_PREFERENCE; // OpenSSL has one switch for suites and groups
    SSL_CTX_set_options(ctx, flags);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(ctx, 1);
    SSL_CTX_set_default_read_buffer_len(ctx, 64 << 10);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF); // tickets keep the state at the client
    SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"sluice", 6);
    SSL_CTX_set_alpn_select_cb(ctx, alpn_choose, NULL);
    slc_err rc = ctx_identity(ctx, tls, o, cert_key, certfile, key_key, keyfile, error);
    if (rc == SLC_OK)
        rc = ctx_verify(ctx, tls, o, error);
    if (rc == SLC_OK)
        rc = ctx_ciphers(ctx, o, error);
    if (rc != SLC_OK) {
        SSL_CTX_free(ctx);
        return rc;
    }
    *out = ctx;
    return SLC_OK;
}

static void tls_drop(slc_tls *tls)
{
    SSL_CTX_free(tls->ctx);
    tls->ctx = NULL;
    for (uint32_t i = 0; i < tls->sni_count; i++)
        SSL_CTX_free(tls->sni[i]);
    for (uint32_t i = 0; i < tls->cert_count; i++) {
        slc_tls_cert *c = &tls->certs[i];
        slc_free(c->key);
        slc_free(c->file);
        slc_free(c->subject);
        slc_free(c->issuer);
        slc_free(c->serial);
    }
    for (uint32_t i = 0; i < tls->file_count; i++)
        slc_free(tls->files[i].path);
    slc_free(tls->certs);
    slc_free(tls->files);
    tls->certs = NULL;
    tls->files = NULL;
    tls->sni_count = tls->cert_count = tls->file_count = 0;
}

static slc_err tls_fill(slc_tls *tls, const slc_tls_options *o, slc_error *error)
{
    char cert_key[300], key_key[300], ca_key[300];
    key_name(o, "certfile", cert_key);
    key_name(o, "keyfile", key_key);
    if (o->certfile == NULL || o->keyfile == NULL)
        return slc_error_set(error, SLC_EINVAL, "a TLS listener needs %s and %s", cert_key,
                             key_key);
    slc_err rc = ctx_make(tls, o, cert_key, o->certfile, key_key, o->keyfile, &tls->ctx, error);
    for (uint32_t i = 0; i < o->sni_count && rc == SLC_OK; i++) {
        const slc_tls_sni *s = &o->sni[i];
        snprintf(cert_key, sizeof cert_key, "ssl_options.sni.%s.certfile", s->name);
        snprintf(key_key, sizeof key_key, "ssl_options.sni.%s.keyfile", s->name);
        rc = ctx_make(tls, o, cert_key, s->certfile, key_key, s->keyfile, &tls->sni[i], error);
        if (rc == SLC_OK)
            tls->sni_count++;
    }
    if (rc != SLC_OK)
        return rc;
    if (o->cacertfile != NULL)
        certs_read(tls, key_name(o, "cacertfile", ca_key), o->cacertfile, true);
    tls->handshake_timeout_ms = o->handshake_timeout_ms != 0 ? o->handshake_timeout_ms : 5000;
    return SLC_OK;
}

slc_err slc_tls_load(slc_tls *tls, const slc_tls_options *options, slc_error *error)
{
    slc_tls fresh = {0};
    slc_err rc = tls_fill(&fresh, options, error);
    if (rc != SLC_OK) {
        tls_drop(&fresh);
        return rc;
    }
    fresh.refs = tls->refs;
    fresh.stats = tls->stats;
    tls_drop(tls); // connections hold the old contexts as long as they need them
    *tls = fresh;
    if (tls->sni_count > 0) {
        SSL_CTX_set_tlsext_servername_callback(tls->ctx, sni_choose);
        SSL_CTX_set_tlsext_servername_arg(tls->ctx, tls);
    }
    return SLC_OK;
}

slc_err slc_tls_new(const slc_tls_options *options, slc_tls **out, slc_error *error)
{
    slc_tls *tls = slc_alloc_zero(1, sizeof *tls);
    tls->refs = 1;
    slc_err rc = slc_tls_load(tls, options, error);
    if (rc != SLC_OK) {
        slc_free(tls);
        return rc;
    }
    *out = tls;
    return SLC_OK;
}

void slc_tls_free(slc_tls *tls)
{
    if (tls == NULL || --tls->refs > 0)
        return;
    tls_drop(tls);
    slc_free(tls);
}

const slc_tls_cert *slc_tls_certs(const slc_tls *tls, uint32_t *count)
{
    *count = tls->cert_count;
    return tls->certs;
}

void slc_tls_stats_get(const slc_tls *tls, slc_tls_stats *out)
{
    *out = tls->stats;
}
