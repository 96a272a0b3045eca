#include "auth/password.h"

#include <openssl/evp.h>
#include <sodium.h>
#include <stdio.h>

#include "base/alloc.h"

enum {
    SALT_BYTES = 4,
    ARGON_PASSES = 2,
    ARGON_MEMORY_MAX_KIB = 1 << 20, // of a hash made elsewhere: 1 GiB
    ARGON_PASSES_MAX = 100,
};
#define ARGON_MEMORY_BYTES (19u << 20)

// Of "guest", which every first start needs and nobody believes to be a secret.
static const char guest_hash[] = "$argon2id$v=19$m=19456,t=2,p=1$509vJCO4NyoljjG/RDLT1Q"
                                 "$Vidds8mRYIW+Z2y6bdfdUdvNIcz5J105k3fkFB8VJmM";

static const struct {
    const char *name;
    size_t digest_bytes;
} hashings[] = {
    [SLC_AUTH_ARGON2ID] = {"argon2id", 0},
    [SLC_AUTH_SHA256] = {"rabbit_password_hashing_sha256", 32},
    [SLC_AUTH_SHA512] = {"rabbit_password_hashing_sha512", 64},
    [SLC_AUTH_MD5] = {"rabbit_password_hashing_md5", 16},
};

const char *slc_auth_hashing_name(slc_auth_hashing hashing)
{
    return hashings[hashing].name;
}

bool slc_auth_hashing_find(slc_slice name, slc_auth_hashing *out)
{
    if (name.bytes == 0) {
        *out = SLC_AUTH_SHA256;
        return true;
    }
    for (size_t i = 0; i < SLC_ARRAY_COUNT(hashings); i++) {
        if (slc_slice_is(name, hashings[i].name)) {
            *out = (slc_auth_hashing)i;
            return true;
        }
    }
    return false;
}

void slc_password_init(void)
{
    SLC_ASSERT(sodium_init() >= 0); // 1: it was done before
}

/** The digest of salt and password, as RabbitMQ makes it. */
static bool salted_digest(slc_auth_hashing hashing, const uint8_t salt[SALT_BYTES],
                          slc_slice password, uint8_t *out)
{
    const EVP_MD *kind = hashing == SLC_AUTH_SHA256   ? EVP_sha256()
                         : hashing == SLC_AUTH_SHA512 ? EVP_sha512()
                                                      : EVP_md5();
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool done = context != NULL && EVP_DigestInit_ex(context, kind, NULL) == 1 &&
                EVP_DigestUpdate(context, salt, SALT_BYTES) == 1 &&
                EVP_DigestUpdate(context, password.data, password.bytes) == 1 &&
                EVP_DigestFinal_ex(context, out, NULL) == 1;
    EVP_MD_CTX_free(context);
    return done;
}

slc_err slc_password_hash(slc_auth_hashing hashing, slc_slice password, uint8_t *out, size_t *bytes)
{
    if (hashing == SLC_AUTH_MD5)
        return SLC_ENOTIMPL;
    if (hashing == SLC_AUTH_ARGON2ID) {
        char text[crypto_pwhash_STRBYTES];
        if (crypto_pwhash_str_alg(text, (const char *)password.data, password.bytes, ARGON_PASSES,
                                  ARGON_MEMORY_BYTES, crypto_pwhash_ALG_ARGON2ID13) != 0)
            return SLC_ENOMEM;
        *bytes = strlen(text);
        memcpy(out, text, *bytes);
        return SLC_OK;
    }
    randombytes_buf(out, SALT_BYTES);
    if (!salted_digest(hashing, out, password, out + SALT_BYTES))
        return SLC_ENOMEM;
    *bytes = SALT_BYTES + hashings[hashing].digest_bytes;
    return SLC_OK;
}

slc_err slc_password_hash_first(slc_auth_hashing hashing, slc_slice password, uint8_t *out,
                                size_t *bytes)
{
    if (hashing != SLC_AUTH_ARGON2ID || !slc_slice_is(password, "guest"))
        return slc_password_hash(hashing, password, out, bytes);
    *bytes = strlen(guest_hash);
    memcpy(out, guest_hash, *bytes);
    return SLC_OK;
}

bool slc_password_verify(slc_auth_hashing hashing, slc_slice hash, slc_slice password)
{
    if (password.bytes == 0)
        return false;
    if (hashing == SLC_AUTH_ARGON2ID) {
        char text[crypto_pwhash_STRBYTES] = {0};
        if (hash.bytes >= sizeof text)
            return false;
        memcpy(text, hash.data, hash.bytes);
        return crypto_pwhash_str_verify(text, (const char *)password.data, password.bytes) == 0;
    }
    uint8_t digest[64];
    size_t digest_bytes = hashings[hashing].digest_bytes;
    if (hash.bytes != SALT_BYTES + digest_bytes ||
        !salted_digest(hashing, hash.data, password, digest))
        return false;
    return sodium_memcmp(digest, hash.data + SALT_BYTES, digest_bytes) == 0;
}

void slc_password_waste(slc_slice password)
{
    static const uint8_t salt[crypto_pwhash_SALTBYTES] = {0};
    uint8_t out[32];
    // Without memory it comes back early, as a check would.
    if (crypto_pwhash(out, sizeof out, (const char *)password.data, password.bytes, salt,
                      ARGON_PASSES, ARGON_MEMORY_BYTES, crypto_pwhash_ALG_ARGON2ID13) == 0)
        sodium_memzero(out, sizeof out);
}

static slc_err argon_check(slc_slice hash, slc_error *error)
{
    char text[crypto_pwhash_STRBYTES] = {0};
    unsigned version = 0, memory = 0, passes = 0, lanes = 0;
    if (hash.bytes >= sizeof text || memchr(hash.data, 0, hash.bytes) != NULL)
        return slc_error_set(error, SLC_EINVAL, "password_hash is no argon2id string");
    memcpy(text, hash.data, hash.bytes);
    if (sscanf(text, "$argon2id$v=%9u$m=%9u,t=%9u,p=%9u$", &version, &memory, &passes, &lanes) != 4)
        return slc_error_set(error, SLC_EINVAL, "password_hash is no argon2id string");
    if (memory > ARGON_MEMORY_MAX_KIB || passes > ARGON_PASSES_MAX || lanes != 1)
        return slc_error_set(
            error, SLC_EINVAL,
            "password_hash costs too much to check: m=%u,t=%u,p=%u; at most m=%u,t=%u,p=1", memory,
            passes, lanes, ARGON_MEMORY_MAX_KIB, ARGON_PASSES_MAX);
    return SLC_OK;
}

slc_err slc_password_hash_check(slc_auth_hashing hashing, slc_slice hash, slc_error *error)
{
    if (hash.bytes == 0)
        return SLC_OK; // no password
    if (hashing == SLC_AUTH_ARGON2ID)
        return argon_check(hash, error);
    size_t wanted = SALT_BYTES + hashings[hashing].digest_bytes;
    if (hash.bytes != wanted)
        return slc_error_set(error, SLC_EINVAL,
                             "password_hash has %zu octets; %s has %zu: 4 of salt and the digest",
                             hash.bytes, hashings[hashing].name, wanted);
    return SLC_OK;
}

bool slc_auth_hash_decode(slc_slice base64, uint8_t *out, size_t *bytes)
{
    return sodium_base642bin(out, SLC_AUTH_HASH_BYTES_MAX, (const char *)base64.data, base64.bytes,
                             NULL, bytes, NULL, sodium_base64_VARIANT_ORIGINAL) == 0;
}
