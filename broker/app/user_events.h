/** What happens to users and permissions, in the event exchange (core/event.h). Thread: the loop. */
#ifndef SLC_APP_USER_EVENTS_H
#define SLC_APP_USER_EVENTS_H

#include "auth/auth.h"
#include "core/broker.h"

/** Nothing while events are off, and while the definitions are loaded. */
void slc_user_event(slc_broker *broker, const slc_auth_event *event);

#endif
