/** Password hashes: making and checking. Nothing is logged. Blocks: argon2id needs 19 MiB and about 75 ms (2 cores of 2026),
 *  so not on a loop once it runs. Thread: any, after slc_password_init. @spec operations 5 */
#ifndef SLC_AUTH_PASSWORD_H
#define SLC_AUTH_PASSWORD_H

#include "auth/auth.h"

/** Once, before anything else here. */
void slc_password_init(void);
/** @param out SLC_AUTH_HASH_BYTES_MAX octets. SLC_ENOMEM: argon2id found no memory. SLC_ENOTIMPL: hashing is MD5. */
SLC_MUST_USE slc_err slc_password_hash(slc_auth_hashing hashing, slc_slice password, uint8_t *out,
                                       size_t *bytes);
/** The same for the user of the first start, who is nearly always guest with the password "guest": that hash is known beforehand,
 *  because computing it would take longer than the rest of the start. */
SLC_MUST_USE slc_err slc_password_hash_first(slc_auth_hashing hashing, slc_slice password,
                                             uint8_t *out, size_t *bytes);
/** In constant time for hashes of one kind. False for an empty password. */
bool slc_password_verify(slc_auth_hashing hashing, slc_slice hash, slc_slice password);
/** Work as long as checking an argon2id hash takes. */
void slc_password_waste(slc_slice password);
/** Could hash be one of that kind, and is it cheap enough to check? */
SLC_MUST_USE slc_err slc_password_hash_check(slc_auth_hashing hashing, slc_slice hash,
                                             slc_error *error);

#endif
