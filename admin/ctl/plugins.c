// list, is_enabled, enable, disable of rabbitmq-plugins: what is built in, under the names of RabbitMQ's plugins, for tools that
// make sure of one.
#include <string.h>

#include "ctl.h"

static const char *const built_in[] = {
    "rabbitmq_consistent_hash_exchange", "rabbitmq_delayed_message_exchange",
    "rabbitmq_event_exchange",           "rabbitmq_management",
    "rabbitmq_management_agent",         "rabbitmq_random_exchange",
    "rabbitmq_recent_history_exchange",
};

static bool is_built_in(const char *name)
{
    bool found = false;
    for (size_t i = 0; i < SLC_ARRAY_COUNT(built_in); i++)
        found |= strcmp(name, built_in[i]) == 0;
    return found;
}

/** The arguments are all built in; else one that is not, said with 69. */
static int all_built_in(const slc_ctl *ctl)
{
    for (int i = 0; i < ctl->arg_count; i++) {
        if (!is_built_in(ctl->args[i]))
            return slc_ctl_error(CTL_UNAVAILABLE,
                                 "The following plugins could not be found:\n  %s\nNothing can be "
                                 "added to %s; what is built in is always enabled",
                                 ctl->args[i], "sluiced");
    }
    return CTL_OK;
}

int slc_ctl_plugins_list(slc_ctl *ctl)
{
    const char *pattern = ctl->arg_count > 0 ? ctl->args[0] : "";
    slc_ctl_banner(ctl, "Listing plugins with pattern \"%s\" ...",
                   ctl->arg_count > 0 ? pattern : ".*");
    for (size_t i = 0; i < SLC_ARRAY_COUNT(built_in); i++) {
        if (strstr(built_in[i], pattern) == NULL)
            continue;
        if (ctl->minimal)
            printf("%s\n", built_in[i]);
        else
            printf("[E*] %-36s %s\n", built_in[i], SLC_VERSION);
    }
    return CTL_OK;
}

int slc_ctl_plugins_is_enabled(slc_ctl *ctl)
{
    int rc = all_built_in(ctl);
    if (rc == CTL_OK && !ctl->silent)
        printf("Plugin %s is enabled on node\n", ctl->args[0]);
    return rc;
}

int slc_ctl_plugins_change(slc_ctl *ctl)
{
    bool enable = strcmp(ctl->command->name, "enable") == 0;
    int rc = all_built_in(ctl);
    if (rc == CTL_OK)
        slc_ctl_banner(ctl, enable ? "Plugin configuration unchanged: it is built in."
                                   : "Plugin configuration unchanged: what is built in stays.");
    return rc;
}
