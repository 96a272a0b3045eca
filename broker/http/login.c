#include "http/login.h"

#include "base/clock.h"

struct slc_logins {
    slc_login *all; // the one that was used the longest ago first
    uint64_t idle_ns;
};

slc_logins *slc_logins_new(uint64_t idle_ms)
{
    slc_logins *logins = slc_alloc_zero(1, sizeof *logins);
    logins->idle_ns = idle_ms * SLC_NS_PER_MS;
    return logins;
}

static void login_end(slc_logins *logins, slc_login *login)
{
    HASH_DEL(logins->all, login);
    slc_free(login->user);
    slc_free((void *)(uintptr_t)login->password_hash.data);
    slc_free(login);
}

void slc_logins_free(slc_logins *logins)
{
    slc_login *login, *next;
    HASH_ITER(hh, logins->all, login, next) login_end(logins, login);
    slc_free(logins);
}

static void token_make(char token[SLC_LOGIN_TOKEN_CHARS + 1])
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    uint8_t random[SLC_LOGIN_TOKEN_CHARS];
    slc_random_bytes(random, sizeof random);
    for (size_t i = 0; i < SLC_LOGIN_TOKEN_CHARS; i++)
        token[i] = alphabet[random[i] & 63];
    token[SLC_LOGIN_TOKEN_CHARS] = '\0';
}

static void expire(slc_logins *logins, uint64_t now_ns)
{
    while (logins->all != NULL && now_ns - logins->all->used_ns > logins->idle_ns)
        login_end(logins, logins->all);
}

const slc_login *slc_logins_open(slc_logins *logins, const char *user, slc_slice password_hash,
                                 bool loopback, uint64_t now_ns)
{
    expire(logins, now_ns);
    if (HASH_COUNT(logins->all) >= SLC_LOGINS_MAX)
        login_end(logins, logins->all);
    slc_login *login = slc_alloc_zero(1, sizeof *login);
    token_make(login->token);
    token_make(login->csrf);
    login->user = slc_strdup(user);
    login->password_hash = slc_slice_of(
        slc_strndup((const char *)password_hash.data, password_hash.bytes), password_hash.bytes);
    login->loopback = loopback;
    login->used_ns = now_ns;
    HASH_ADD(hh, logins->all, token, SLC_LOGIN_TOKEN_CHARS, login);
    return login;
}

static slc_login *find(const slc_logins *logins, const char *token)
{
    slc_login *login = NULL;
    if (strlen(token) == SLC_LOGIN_TOKEN_CHARS)
        HASH_FIND(hh, logins->all, token, SLC_LOGIN_TOKEN_CHARS, login);
    return login;
}

const slc_login *slc_logins_find(slc_logins *logins, const char *token, uint64_t now_ns)
{
    expire(logins, now_ns);
    slc_login *login = find(logins, token);
    if (login == NULL)
        return NULL;
    login->used_ns = now_ns;
    HASH_DEL(logins->all, login); // to the end
    HASH_ADD(hh, logins->all, token, SLC_LOGIN_TOKEN_CHARS, login);
    return login;
}

void slc_logins_close(slc_logins *logins, const char *token)
{
    slc_login *login = find(logins, token);
    if (login != NULL)
        login_end(logins, login);
}
