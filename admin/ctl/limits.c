// set_vm_memory_high_watermark, set_disk_free_limit, environment.
#include <stdio.h>
#include <string.h>

#include "ctl.h"

/** LIMIT, or KIND LIMIT where kind is a word: the key of the configuration that it is. */
static int limit_set(slc_ctl *ctl, const char *plain, const char *kind, const char *with_kind,
                     const char *what, const char *plain_unit)
{
    const char *value = ctl->args[ctl->arg_count - 1];
    const char *key = ctl->arg_count == 1 ? plain : with_kind;
    if (ctl->arg_count == 2 && strcmp(ctl->args[0], kind) != 0)
        return slc_ctl_usage_error(ctl, "'%s' is no kind of limit: %s is expected", ctl->args[0],
                                   kind);
    const char *unit = key == plain             ? plain_unit
                       : ctl->args[0][0] == 'm' ? " times the total RAM"
                                                : " bytes";
    json_t *text = json_string(value);
    if (text == NULL)
        return slc_ctl_error(CTL_DATA, "the limit is not UTF-8");
    int rc;
    char *node = slc_ctl_node_name(ctl, &rc);
    if (node == NULL) {
        json_decref(text);
        return rc;
    }
    json_t *body = json_object();
    json_object_set_new(body, key, text);
    // Said when it is so: rabbitmqctl says nothing about a value that is none.
    rc = slc_ctl_apply(ctl, "PUT", slc_strdup("/api/sluice/alarms/limits"), body, CTL_DATA);
    if (rc == CTL_OK)
        slc_ctl_banner(ctl, "Setting %s on %s to %s%s ...", what, node, value, unit);
    slc_free(node);
    return rc;
}

int slc_ctl_memory_limit(slc_ctl *ctl)
{
    return limit_set(ctl, "vm_memory_high_watermark.relative", "absolute",
                     "vm_memory_high_watermark.absolute", "memory threshold", "");
}

int slc_ctl_disk_limit(slc_ctl *ctl)
{
    return limit_set(ctl, "disk_free_limit.absolute", "mem_relative", "disk_free_limit.relative",
                     "disk free limit", " bytes");
}

int slc_ctl_environment(slc_ctl *ctl)
{
    slc_ctl_reply reply;
    size_t i;
    json_t *entry;
    int rc = slc_ctl_request(ctl, "GET", "/api/sluice/config", NULL, &reply);
    if (rc != CTL_OK)
        return rc;
    if (reply.status != 200) {
        rc = slc_ctl_reply_error(&reply, CTL_SOFTWARE);
    } else if (ctl->format == CTL_JSON || ctl->format == CTL_JSON_STREAM) {
        json_dumpf(reply.body, stdout, JSON_COMPACT);
        putchar('\n');
    } else {
        slc_ctl_banner(ctl, "Application environment of the node ...");
        json_array_foreach(reply.body, i, entry)
        {
            printf("%s = %s%s\n", json_string_value(json_object_get(entry, "key")),
                   json_string_value(json_object_get(entry, "value")),
                   json_is_true(json_object_get(entry, "default")) ? " # default" : "");
        }
    }
    slc_ctl_reply_fini(&reply);
    return rc;
}
