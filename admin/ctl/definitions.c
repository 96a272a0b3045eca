// export_definitions, import_definitions.
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl.h"

enum { FILE_BYTES_MAX = 20000000 }; // what the broker takes

static bool is_stdio(const slc_ctl *ctl)
{
    return ctl->arg_count == 0 || strcmp(ctl->args[0], "-") == 0;
}

/** Into a new file beside it, which then takes its place: a file that is there is whole. Hashes of passwords are in it. */
static int write_file(const char *path, const char *text)
{
    slc_buffer fresh = {0};
    slc_buffer_format(&fresh, "%s.new", path);
    slc_buffer_put(&fresh, "", 1);
    const char *name = (const char *)fresh.data;
    int rc = CTL_OK;
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    FILE *out = fd >= 0 ? fdopen(fd, "w") : NULL;
    bool written = out != NULL && fputs(text, out) >= 0 && fputc('\n', out) >= 0;
    written = out != NULL && fclose(out) == 0 && written;
    if (!written || rename(name, path) != 0) {
        rc = slc_ctl_error(CTL_DATA, "cannot write %s: %s", path, strerror(errno));
        if (fd >= 0)
            unlink(name);
    }
    slc_buffer_fini(&fresh);
    return rc;
}

int slc_ctl_definitions_export(slc_ctl *ctl)
{
    if (!is_stdio(ctl))
        slc_ctl_banner(ctl, "Exporting definitions in JSON to a file at \"%s\" ...", ctl->args[0]);
    slc_ctl_reply reply;
    int rc = slc_ctl_request(ctl, "GET", "/api/definitions", NULL, &reply);
    if (rc != CTL_OK)
        return rc;
    if (reply.status != 200) {
        rc = slc_ctl_reply_error(&reply, CTL_SOFTWARE);
    } else {
        char *text = json_dumps(reply.body, JSON_COMPACT);
        SLC_ASSERT(text != NULL);
        if (is_stdio(ctl))
            puts(text);
        else
            rc = write_file(ctl->args[0], text);
        free(text); // NOLINT: jansson's own allocation
    }
    slc_ctl_reply_fini(&reply);
    return rc;
}

static int read_all(FILE *in, const char *name, slc_buffer *out)
{
    for (;;) {
        uint8_t *at = slc_buffer_reserve(out, 65536);
        size_t got = fread(at, 1, 65536, in);
        out->bytes += got;
        if (out->bytes > FILE_BYTES_MAX)
            return slc_ctl_error(CTL_DATA, "%s has more than %d octets", name, FILE_BYTES_MAX);
        if (got == 0)
            break;
    }
    return ferror(in) ? slc_ctl_error(CTL_DATA, "cannot read %s: %s", name, strerror(errno))
                      : CTL_OK;
}

int slc_ctl_definitions_import(slc_ctl *ctl)
{
    const char *name = is_stdio(ctl) ? "standard input" : ctl->args[0];
    if (is_stdio(ctl))
        slc_ctl_banner(ctl, "Importing definitions in JSON from standard input ...");
    else
        slc_ctl_banner(ctl, "Importing definitions in JSON from a file at \"%s\" ...", name);
    FILE *in = is_stdio(ctl) ? stdin : fopen(name, "re");
    if (in == NULL)
        return slc_ctl_error(CTL_DATA, "cannot read %s: %s", name, strerror(errno));
    slc_buffer text = {0};
    int rc = read_all(in, name, &text);
    if (in != stdin)
        fclose(in);
    json_error_t where;
    json_t *root = rc == CTL_OK
                       ? json_loadb((const char *)text.data, text.bytes, JSON_ALLOW_NUL, &where)
                       : NULL;
    if (rc == CTL_OK && root == NULL)
        rc = slc_ctl_error(CTL_DATA,
                           "Failed to deserialise input (format: JSON): %s, line %d column %d: %s",
                           name, where.line, where.column, where.text);
    json_decref(root);
    slc_ctl_reply reply = {0};
    if (rc == CTL_OK)
        rc = slc_ctl_send(ctl, "POST", "/api/definitions", (const char *)text.data, text.bytes,
                          &reply);
    slc_buffer_fini(&text);
    if (rc == CTL_OK && !ctl->dry_run && reply.status / 100 != 2)
        rc = slc_ctl_reply_error(&reply, CTL_DATA);
    slc_ctl_reply_fini(&reply);
    return rc;
}
