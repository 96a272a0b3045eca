/** Users, permissions and topic permissions in a file of definitions: what core asks of definitions_file.h, answered by auth.
 *
 *      file ──> hold: passwords in clear are hashed (worker) ──> auth holds its own changes ──> items ──> release
 *
 *  A hash goes out and comes in as it is kept. RabbitMQ takes one by argon2id, refuses its logins, and gives it back as it was;
 *  with password_hashing_module = rabbit_password_hashing_sha256 new passwords work in both.
 *  Owner: the caller, in its own storage, until the loop has ended. Thread: the loop.  @spec management-api 5.9, 6
 */
#ifndef SLC_APP_USER_DEFINITIONS_H
#define SLC_APP_USER_DEFINITIONS_H

#include <uv.h>

#include "auth/auth.h"
#include "core/definitions_file.h"

typedef struct slc_user_definitions slc_user_definitions;

/** Both are borrowed until the broker is freed. */
slc_user_definitions *slc_user_definitions_new(uv_loop_t *loop, slc_broker *broker, slc_auth *auth);
/** New passwords are kept so from the next file on. */
void slc_user_definitions_hashing(slc_user_definitions *users, slc_auth_hashing hashing);
/** After the loop has ended. */
void slc_user_definitions_free(slc_user_definitions *users);

#endif
