// Listening sockets: the unix socket of sluicectl, and TCP with and without TLS. Opened before the http thread runs.
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/log.h"
#include "http/server_impl.h"

void slc_http_endpoints_stop(slc_http *http)
{
    for (uint32_t i = 0; i < SLC_HTTP_ENDPOINTS; i++) {
        if (http->endpoints[i].daemon != NULL)
            MHD_stop_daemon(http->endpoints[i].daemon);
        http->endpoints[i].daemon = NULL;
    }
}

// One of options.tcp. The texts of the files live until libmicrohttpd has read them, which it does at once.
slc_err slc_http_endpoint_open_tcp(slc_http *http, uint32_t which, slc_error *error)
{
    slc_http_endpoint *e = &http->endpoints[1 + which];
    const slc_http_options *o = &http->options;
    struct MHD_OptionItem tls[6] = {{MHD_OPTION_END, 0, NULL}};
    char versions[64];
    char *texts[3] = {NULL};
    uint32_t count = 0;
    int fd = -1;
    slc_err rc = SLC_OK;
    if (!o->tcp[which].on)
        return SLC_OK;
    if (o->tcp[which].tls && (o->tcp[which].cert_file == NULL || o->tcp[which].key_file == NULL))
        return slc_error_set(error, SLC_EINVAL,
                             "management.ssl.port is set: management.ssl.certfile and "
                             "management.ssl.keyfile are needed");
    if (o->tcp[which].tls) {
        const struct {
            const char *path;
            enum MHD_OPTION option;
        } files[] = {{o->tcp[which].cert_file, MHD_OPTION_HTTPS_MEM_CERT},
                     {o->tcp[which].key_file, MHD_OPTION_HTTPS_MEM_KEY},
                     {o->tcp[which].ca_file, MHD_OPTION_HTTPS_MEM_TRUST}};
        for (size_t i = 0; rc == SLC_OK && i < SLC_ARRAY_COUNT(files); i++) {
            if (files[i].path == NULL)
                continue;
            rc = slc_http_file_read(files[i].path, &texts[i], error);
            tls[count++] = (struct MHD_OptionItem){files[i].option, 0, texts[i]};
        }
        if (o->tcp[which].key_password != NULL)
            tls[count++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_KEY_PASSWORD, 0,
                                                   (char *)(uintptr_t)o->tcp[which].key_password};
        // GnuTLS would speak TLS 1.0 too.
        snprintf(versions, sizeof versions, "NORMAL:-VERS-ALL%s%s",
                 o->tcp[which].tls13 ? ":+VERS-TLS1.3" : "",
                 o->tcp[which].tls12 ? ":+VERS-TLS1.2" : "");
        tls[count++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_PRIORITIES, 0, versions};
        tls[count] = (struct MHD_OptionItem){MHD_OPTION_END, 0, NULL};
    }
    if (rc == SLC_OK)
        rc = slc_http_tcp_open(o->tcp[which].ip, o->tcp[which].port, &fd, &e->port, error);
    if (rc == SLC_OK) {
        e->tcp = true;
        e->tls = o->tcp[which].tls;
        rc = slc_http_endpoint_start(http, e, fd, o->tcp[which].tls ? MHD_USE_TLS : 0, tls, error);
        if (rc != SLC_OK)
            close(fd);
    }
    for (size_t i = 0; i < SLC_ARRAY_COUNT(texts); i++)
        slc_free(texts[i]);
    return rc;
}

slc_err slc_http_endpoint_open_socket(slc_http *http, const slc_http_options *options, int *fd,
                                      slc_error *error)
{
    const char *path = options->socket_path;
    slc_err rc = slc_http_socket_open(path, fd, error);
    const char *fallback = options->socket_path_fallback;
    if (rc != SLC_OK && rc != SLC_EADDRINUSE && fallback != NULL && strcmp(path, fallback) != 0) {
        slc_error why = {.text = "?"};
        if (error != NULL)
            why = *error;
        slc_log(SLC_LOG_WARN, "http", "http.socket.fallback",
                SLC_FIELDS(SLC_F_STR("path", fallback)), "%s; using %s (sluicectl --socket)",
                why.text, fallback);
        path = fallback;
        rc = slc_http_socket_open(path, fd, error);
    }
    if (rc != SLC_OK)
        return rc;
    http->socket_path = slc_strdup(path);
    struct stat st;
    if (lstat(path, &st) == 0) {
        http->socket_dev = st.st_dev;
        http->socket_ino = st.st_ino;
    }
    return SLC_OK;
}
