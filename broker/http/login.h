/** Sessions of browsers: a login gives a token, so that the password is sent once and kept nowhere.
 *
 *  A session lasts while it is used at least every idle_ms and its user keeps the password that it began with. Whoever makes one
 *  too many ends the one that was used the longest ago.
 *
 *  Owner: the http server. Thread: the loop.  @spec management-api 1.2
 */
#ifndef SLC_HTTP_LOGIN_H
#define SLC_HTTP_LOGIN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/map.h"
#include "base/slice.h"

enum { SLC_LOGIN_TOKEN_CHARS = 43, SLC_LOGINS_MAX = 1000 };

typedef struct slc_logins slc_logins;

typedef struct slc_login {
    char token[SLC_LOGIN_TOKEN_CHARS + 1]; // 256 random bits in base64url
    char csrf[SLC_LOGIN_TOKEN_CHARS + 1];  // a page of ours knows it, a page of others does not
    char *user;
    slc_slice password_hash; // the user's, when it began; owned
    bool loopback;           // begun on this machine
    uint64_t used_ns;
    UT_hash_handle hh; // in order of use
} slc_login;

slc_logins *slc_logins_new(uint64_t idle_ms);
void slc_logins_free(slc_logins *logins);

/** Everything is copied. Valid until the next call. */
const slc_login *slc_logins_open(slc_logins *logins, const char *user, slc_slice password_hash,
                                 bool loopback, uint64_t now_ns);
/** And it is used now. NULL: unknown, or over. */
const slc_login *slc_logins_find(slc_logins *logins, const char *token, uint64_t now_ns);
/** An unknown one is fine. */
void slc_logins_close(slc_logins *logins, const char *token);

#endif
