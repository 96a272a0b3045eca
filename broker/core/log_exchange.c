// Lines of the log as messages of amq.rabbitmq.log in the default vhost.
#include "base/log.h"
#include "core/system_message.h"

bool slc_broker_log_wanted(const slc_broker *broker)
{
    if (!broker->system.log_lines || !broker->started)
        return false;
    const slc_vhost *vhost = slc_broker_vhost(broker, slc_slice_str(broker->default_vhost));
    return vhost != NULL && slc_system_wanted(vhost, SLC_LOG_EXCHANGE);
}

void slc_broker_log_line(slc_broker *broker, const char *level, uint64_t time_s, bool json,
                         slc_slice line)
{
    if (!slc_broker_log_wanted(broker))
        return;
    slc_table_builder b = {0};
    slc_table_put_text(&b, "level", level);
    slc_table_put_text(&b, "node", broker->system.node);
    slc_system_properties properties = {
        .content_type = json ? "application/json" : "text/plain",
        .headers = slc_table_builder_content(&b),
        .timestamp_s = time_s,
    };
    slc_vhost *vhost = slc_broker_vhost(broker, slc_slice_str(broker->default_vhost));
    slc_system_post(vhost, SLC_LOG_EXCHANGE, slc_slice_str(level), &properties, line);
    slc_table_builder_fini(&b);
}
