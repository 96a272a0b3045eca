// Lines of the log as messages of amq.rabbitmq.log in the default vhost.
#include "core/system_message.h"

/** NULL: nobody wants lines. */
static slc_vhost *log_vhost(const slc_broker *broker)
{
    if (!broker->system.log_lines || !broker->started)
        return NULL;
    slc_vhost *vhost = slc_broker_vhost(broker, slc_slice_str(broker->default_vhost));
    return vhost != NULL && slc_system_wanted(vhost, SLC_LOG_EXCHANGE) ? vhost : NULL;
}

void slc_broker_log_line(slc_broker *broker, const char *level, uint64_t time_s, bool json,
                         slc_slice line)
{
    slc_vhost *vhost = log_vhost(broker);
    if (vhost == NULL)
        return;
    slc_table_builder b = {0};
    slc_table_put_text(&b, "node", broker->system.node);
    slc_system_properties properties = {
        .content_type = json ? "application/json" : "text/plain",
        .headers = slc_table_builder_content(&b),
        .timestamp_s = time_s,
    };
    slc_system_post(vhost, SLC_LOG_EXCHANGE, slc_slice_str(level), &properties, line);
    slc_table_builder_fini(&b);
}
