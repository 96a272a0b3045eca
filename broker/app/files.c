#include "app/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app/definitions_check.h"
#include "base/alloc.h"

slc_http_tcp slc_files_https(const slc_settings *s)
{
    return (slc_http_tcp){
        .on = s->management_ssl_port >= 0,
        .ip = s->management_ssl_ip,
        .port = (uint16_t)s->management_ssl_port,
        .tls = true,
        .cert_file = s->management_cert,
        .key_file = s->management_key,
        .key_password = s->management_key_password,
        .tls12 = s->management_tls12,
        .tls13 = s->management_tls13,
        .ca_file = s->management_ca,
    };
}

static slc_err open_amqps(const slc_settings *s, slc_tls **out, slc_error *error)
{
    return s->ssl_count > 0 ? slc_tls_new(&s->tls, out, error) : SLC_OK;
}

// GnuTLS, which speaks HTTPS, only says that it does not start: OpenSSL says what is wrong with the files before.
slc_err slc_files_open_https(const slc_settings *s, slc_tls **out, slc_error *error)
{
    slc_http_tcp tcp = slc_files_https(s);
    if (!tcp.on)
        return SLC_OK;
    slc_err rc = slc_tls_new(&(slc_tls_options){.prefix = "management.ssl",
                                                .cacertfile = tcp.ca_file,
                                                .certfile = tcp.cert_file,
                                                .keyfile = tcp.key_file,
                                                .password = tcp.key_password,
                                                .tls12 = tcp.tls12,
                                                .tls13 = tcp.tls13},
                             out, error);
    return rc == SLC_OK ? slc_http_tls_check(&tcp, error) : rc;
}

slc_err slc_files_open_tls(const slc_settings *s, slc_tls **amqps, slc_tls **https,
                           slc_error *error)
{
    slc_err rc = open_amqps(s, amqps, error);
    return rc == SLC_OK ? slc_files_open_https(s, https, error) : rc;
}

/** Files can be made in path. */
static bool dir_writable(const char *path)
{
    char dot[4096]; // a file of that name has none
    int bytes = snprintf(dot, sizeof dot, "%s/.", path);
    if (bytes < 0 || (size_t)bytes >= sizeof dot)
        errno = ENAMETOOLONG;
    else if (faccessat(AT_FDCWD, dot, W_OK | X_OK, AT_EACCESS) == 0)
        return true;
    return false;
}

/** The log can be written there, as far as that is known without making it. */
static slc_err check_log_file(const char *path, slc_error *error)
{
    char dir[4096];
    snprintf(dir, sizeof dir, "%s", path);
    char *slash = strrchr(dir, '/');
    SLC_ASSERT(slash != NULL); // the settings made it a whole path
    slash[slash == dir ? 1 : 0] = '\0';
    if (faccessat(AT_FDCWD, path, W_OK, AT_EACCESS) == 0 || (errno == ENOENT && dir_writable(dir)))
        return SLC_OK;
    return slc_error_set(error, SLC_EINVAL, "log.file: %s cannot be written: %s", path,
                         strerror(errno));
}

static slc_err check_access_log(const char *dir, slc_error *error)
{
    if (dir_writable(dir))
        return SLC_OK;
    return slc_error_set(error, SLC_EINVAL,
                         "management.http_log_dir = %s: no file can be written there: %s", dir,
                         strerror(errno));
}

bool slc_files_check_used(const slc_settings *s,
                          void (*note)(bool is_error, const char *text, void *arg), void *arg)
{
    slc_tls *tls[2] = {NULL};
    slc_error errors[4] = {0};
    const slc_err done[] = {
        open_amqps(s, &tls[0], &errors[0]),
        slc_files_open_https(s, &tls[1], &errors[1]),
        s->log.file != NULL ? check_log_file(s->log.file, &errors[2]) : SLC_OK,
        s->management_log_dir != NULL ? check_access_log(s->management_log_dir, &errors[3])
                                      : SLC_OK,
    };
    bool good = true;
    for (size_t i = 0; i < SLC_ARRAY_COUNT(done); i++) {
        if (done[i] != SLC_OK)
            note(true, errors[i].text, arg);
        good &= done[i] == SLC_OK;
    }
    slc_tls_free(tls[0]);
    slc_tls_free(tls[1]);
    return good;
}

bool slc_files_check(const slc_settings *s,
                     void (*note)(bool is_error, const char *text, void *arg), void *arg)
{
    slc_error error = {0};
    bool good = slc_files_check_used(s, note, arg);
    if (slc_definitions_check(s, &error) == SLC_OK)
        return good;
    note(true, error.text, arg);
    return false;
}
