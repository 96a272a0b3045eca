/** What new vhosts begin with by configuration: limits, operator policies, users with permissions (default_limits.vhosts,
 *  default_policies.operator, default_users), as RabbitMQ has them.
 *
 *  A user who is there already keeps password and tags and gets the permissions. Passwords are hashed when this is made, 75 ms
 *  each. Thread: the loop.  @spec operations 4.2
 */
#ifndef SLC_APP_VHOST_SEEDS_H
#define SLC_APP_VHOST_SEEDS_H

#include "app/settings.h"
#include "auth/auth.h"
#include "core/broker.h"

typedef struct slc_vhost_seeds slc_vhost_seeds;

/** settings and auth are borrowed; those of the start count until the end. Blocks. */
slc_vhost_seeds *slc_vhost_seeds_new(const slc_settings *settings, const slc_auth *auth);
void slc_vhost_seeds_free(slc_vhost_seeds *seeds);
/** An slc_vhost_new_hook; arg: the seeds. */
void slc_vhost_seeds_begin(slc_slice name, slc_vhost_begin *begin, void *arg);

#endif
