#include "app/user_events.h"

#include <string.h>

#include "base/table.h"
#include "core/event.h"

static void put_user(slc_table_builder *b, const char *event, const slc_auth_user *user)
{
    if (strncmp(event, "user.limits.", 12) != 0) {
        slc_table_put_longstr(b, "name", user->name);
        if (strcmp(event, "user.tags.set") == 0)
            slc_event_put_tags(b, user->tags);
        return;
    }
    slc_table_put_text(b, "name", "limits");
    slc_table_put_longstr(b, "username", user->name);
    if (user->max_connections_set)
        slc_table_put_i64(b, "max-connections", user->max_connections);
    if (user->max_channels_set)
        slc_table_put_i64(b, "max-channels", user->max_channels);
}

static void put_permission(slc_table_builder *b, const slc_auth_event *event)
{
    const slc_auth_permission *p = event->permission;
    bool topic = strncmp(event->name, "topic.", 6) == 0;
    slc_table_put_longstr(b, "user", p->user);
    slc_table_put_longstr(b, "vhost", p->vhost);
    if (topic)
        slc_table_put_longstr(b, "exchange", p->exchange);
    if (event->deleted)
        return;
    if (!topic)
        slc_table_put_longstr(b, "configure", p->configure);
    slc_table_put_longstr(b, "write", p->write);
    slc_table_put_longstr(b, "read", p->read);
}

void slc_user_event(slc_broker *broker, const slc_auth_event *event)
{
    slc_table_builder b = {0};
    if (event->user != NULL)
        put_user(&b, event->name, event->user);
    else
        put_permission(&b, event);
    slc_table_put_text(&b, "user_who_performed_action", slc_broker_actor(broker));
    slc_event_table(broker, event->name, slc_table_builder_content(&b));
    slc_table_builder_fini(&b);
}
