// certificates, check_certificate_expiration.
#include "base/alloc.h"
#include "ctl.h"

static const slc_ctl_column certificate_columns[] = {
    {.name = "key", .text = "configuration key that names its file"},
    {.name = "file", .text = "file it was read from"},
    {.name = "subject", .text = "whose it is"},
    {.name = "issuer", .text = "who signed it"},
    {.name = "serial", .text = "serial number, hexadecimal"},
    {.name = "not_before", .text = "begin of its validity, s since 1970"},
    {.name = "not_after", .text = "end of its validity, s since 1970"},
    {0},
};

const slc_ctl_list slc_ctl_certificates = {
    .banner = "Listing certificates ...",
    .path = "/api/sluice/certificates",
    .defaults = "key,subject,issuer,not_before,not_after,file",
    .columns = certificate_columns,
};

int slc_ctl_check_certificate_expiration(slc_ctl *ctl)
{
    char *path =
        slc_ctl_path("/api/health/checks/certificate-expiration/%s/%s", ctl->args[0], ctl->args[1]);
    slc_ctl_reply reply;
    int rc = slc_ctl_request(ctl, "GET", path, NULL, &reply);
    slc_free(path);
    if (rc != CTL_OK || ctl->dry_run)
        return rc;
    if (reply.status == 200) {
        if (!ctl->quiet)
            printf("No certificates are expiring within %s %s\n", ctl->args[0], ctl->args[1]);
    } else {
        rc = slc_ctl_reply_error(&reply, CTL_SOFTWARE);
    }
    slc_ctl_reply_fini(&reply);
    return rc;
}
