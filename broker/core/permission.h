/** What a session may touch. core asks the front end of the client (slc_client_ops.may, may_topic), which knows the users;
 *  the texts and the order of questions are here.
 *
 *  Every method asks before it looks whether the object exists, so that nobody finds out names by trying. A yes is kept for
 *  the session until slc_broker_permissions_changed; a no ends the channel. A publish on a route that the session knows asks
 *  nothing: a change of permissions makes the known routes void (they carry the vhost's topology_version).
 *
 *  Thread: the loop.  @spec amqp-semantics 6.3, 6.4
 */
#ifndef SLC_CORE_PERMISSION_H
#define SLC_CORE_PERMISSION_H

#include "core/session.h"
#include "core/topology.h"

/** SLC_EACCESS: "write access to exchange 'x' in vhost '/' refused for user 'u'". The default exchange is amq.default. */
SLC_MUST_USE slc_err slc_session_may(slc_session *session, slc_access access, slc_dest_kind kind,
                                     slc_slice name, slc_error *error);
/** Any of the three (passive declares; none at all where the broker says so); the text is that of a refused configure. */
SLC_MUST_USE slc_err slc_session_may_any(slc_session *session, slc_dest_kind kind, slc_slice name,
                                         slc_error *error);
/** For topic exchanges (SLC_OK for all others): write for each key of a message, read for the key of a binding. Not kept. */
SLC_MUST_USE slc_err slc_session_may_topic(slc_session *session, slc_access access,
                                           const slc_exchange *exchange, slc_slice key,
                                           slc_error *error);
/** What was answered before is void, for every session. */
void slc_broker_permissions_changed(slc_broker *broker);

#endif
