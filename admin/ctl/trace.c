// trace_on, trace_off: the firehose of a vhost.
#include "base/alloc.h"
#include "ctl.h"

static int trace_set(slc_ctl *ctl, bool on)
{
    slc_ctl_banner(ctl, "%s tracing for vhost \"%s\" ...", on ? "Starting" : "Stopping",
                   ctl->vhost);
    char *path = slc_ctl_path("/api/sluice/trace/%s", ctl->vhost);
    slc_ctl_reply reply;
    int rc = slc_ctl_request(ctl, on ? "PUT" : "DELETE", path, NULL, &reply);
    slc_free(path);
    if (rc != CTL_OK || ctl->dry_run)
        return rc;
    if (reply.status == 404)
        rc = slc_ctl_error(CTL_DATA, "Virtual host '%s' does not exist", ctl->vhost);
    else if (reply.status / 100 != 2)
        rc = slc_ctl_reply_error(&reply, CTL_SOFTWARE);
    else if (!ctl->quiet)
        printf("Trace %s for vhost %s\n", on ? "enabled" : "disabled", ctl->vhost);
    slc_ctl_reply_fini(&reply);
    return rc;
}

int slc_ctl_trace_on(slc_ctl *ctl)
{
    return trace_set(ctl, true);
}

int slc_ctl_trace_off(slc_ctl *ctl)
{
    return trace_set(ctl, false);
}
