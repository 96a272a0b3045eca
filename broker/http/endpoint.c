// Listening sockets: the unix socket of sluicectl, and TCP with and without TLS. Opened before the http thread runs; for new
// certificates a library object takes another's place.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/log.h"
#include "http/server_impl.h"

void slc_http_endpoint_free(slc_http_endpoint *e)
{
    MHD_stop_daemon(e->daemon);
    slc_free(e);
}

void slc_http_endpoint_retire(slc_http_endpoint *e)
{
    int fd = MHD_quiesce_daemon(e->daemon);
    SLC_ASSERT(fd >= 0);
    close(fd); // its copy
    e->retired = true;
}

bool slc_http_endpoint_idle(const slc_http_endpoint *e)
{
    const union MHD_DaemonInfo *info =
        MHD_get_daemon_info(e->daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS);
    return info == NULL || info->num_connections == 0;
}

/** What libmicrohttpd is told about TLS; it reads the texts at once, in MHD_start_daemon. */
typedef struct tls_items {
    struct MHD_OptionItem items[6];
    char versions[64];
    char *texts[3];
} tls_items;

static void tls_items_fini(tls_items *t)
{
    for (size_t i = 0; i < SLC_ARRAY_COUNT(t->texts); i++)
        slc_free(t->texts[i]);
}

// t is zeroed; fini it also after an error.
static slc_err tls_items_init(tls_items *t, const slc_http_tcp *tcp, slc_error *error)
{
    uint32_t count = 0;
    slc_err rc = SLC_OK;
    if (tcp->cert_file == NULL || tcp->key_file == NULL)
        return slc_error_set(error, SLC_EINVAL,
                             "management.ssl.port is set: management.ssl.certfile and "
                             "management.ssl.keyfile are needed");
    const struct {
        const char *path;
        enum MHD_OPTION option;
    } files[] = {{tcp->cert_file, MHD_OPTION_HTTPS_MEM_CERT},
                 {tcp->key_file, MHD_OPTION_HTTPS_MEM_KEY},
                 {tcp->ca_file, MHD_OPTION_HTTPS_MEM_TRUST}};
    for (size_t i = 0; rc == SLC_OK && i < SLC_ARRAY_COUNT(files); i++) {
        if (files[i].path == NULL)
            continue;
        rc = slc_http_file_read(files[i].path, &t->texts[i], error);
        t->items[count++] = (struct MHD_OptionItem){files[i].option, 0, t->texts[i]};
    }
    if (tcp->key_password != NULL)
        t->items[count++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_KEY_PASSWORD, 0,
                                                    (char *)(uintptr_t)tcp->key_password};
    // GnuTLS would speak TLS 1.0 too.
    snprintf(t->versions, sizeof t->versions, "NORMAL:-VERS-ALL%s%s",
             tcp->tls13 ? ":+VERS-TLS1.3" : "", tcp->tls12 ? ":+VERS-TLS1.2" : "");
    t->items[count++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_PRIORITIES, 0, t->versions};
    t->items[count] = (struct MHD_OptionItem){MHD_OPTION_END, 0, NULL};
    return rc;
}

static enum MHD_Result refuse(void *arg, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *upload,
                              size_t *upload_bytes, void **context)
{
    (void)arg, (void)connection, (void)url, (void)method, (void)version;
    (void)upload, (void)upload_bytes, (void)context;
    return MHD_NO;
}

slc_err slc_http_tls_check(const slc_http_tcp *tcp, slc_error *error)
{
    tls_items tls = {0};
    slc_err rc = tls_items_init(&tls, tcp, error);
    struct MHD_Daemon *daemon = NULL;
    if (rc == SLC_OK)
        daemon = MHD_start_daemon(MHD_USE_NO_LISTEN_SOCKET | MHD_USE_TLS, 0, NULL, NULL, refuse,
                                  NULL, MHD_OPTION_ARRAY, tls.items, MHD_OPTION_END);
    if (rc == SLC_OK && daemon == NULL)
        rc = slc_error_set(error, SLC_EINVAL,
                           "management.ssl.certfile = '%.200s', management.ssl.keyfile = '%.200s': "
                           "GnuTLS, which speaks HTTPS, cannot use them",
                           tcp->cert_file, tcp->key_file);
    if (daemon != NULL)
        MHD_stop_daemon(daemon);
    tls_items_fini(&tls);
    return rc;
}

/** On a copy of http->tls_fd. */
static slc_err endpoint_start_tls(slc_http *http, const slc_http_tcp *tcp, slc_http_endpoint **out,
                                  slc_error *error)
{
    tls_items tls = {0};
    slc_err rc = tls_items_init(&tls, tcp, error);
    int fd = -1;
    if (rc == SLC_OK) {
        fd = fcntl(http->tls_fd, F_DUPFD_CLOEXEC, 0);
        if (fd < 0)
            rc = slc_error_set(error, slc_err_from_errno(errno),
                               "management API: the socket of HTTPS cannot be copied: %s",
                               strerror(errno));
    }
    if (rc == SLC_OK)
        rc = slc_http_endpoint_start(http, fd, MHD_USE_TLS, tls.items, out, error);
    if (rc == SLC_OK)
        (*out)->tcp = true;
    tls_items_fini(&tls);
    return rc;
}

static slc_err endpoint_start_plain(slc_http *http, int fd, slc_http_endpoint **out,
                                    slc_error *error)
{
    struct MHD_OptionItem none[] = {{MHD_OPTION_END, 0, NULL}};
    slc_err rc = slc_http_endpoint_start(http, fd, 0, none, out, error);
    if (rc == SLC_OK)
        (*out)->tcp = true;
    return rc;
}

slc_err slc_http_endpoint_open_tcp(slc_http *http, uint32_t which, slc_error *error)
{
    const slc_http_tcp *tcp = &http->options.tcp[which];
    slc_http_endpoint *e;
    int fd;
    if (!tcp->on)
        return SLC_OK;
    slc_err rc = slc_http_tcp_open(tcp->ip, tcp->port, &fd, &http->ports[which], error);
    if (rc != SLC_OK)
        return rc;
    if (tcp->tls) {
        http->tls_fd = fd;
        rc = endpoint_start_tls(http, tcp, &e, error);
    } else {
        rc = endpoint_start_plain(http, fd, &e, error);
    }
    if (rc != SLC_OK)
        return rc;
    e->next = http->endpoints;
    http->endpoints = e;
    return SLC_OK;
}

slc_err slc_http_tls_load(slc_http *http, const slc_http_tcp *tcp, slc_error *error)
{
    slc_http_endpoint *e;
    if (http->tls_fd < 0)
        return slc_error_set(error, SLC_ENOTFOUND, "management API: HTTPS is not on");
    if (atomic_load(&http->stopping))
        return slc_error_set(error, SLC_ECLOSED, "management API: it is stopping");
    slc_err rc = endpoint_start_tls(http, tcp, &e, error);
    if (rc != SLC_OK)
        return rc;
    // Where the http thread has not taken the last one yet, this one goes in its stead.
    slc_http_endpoint *unused = atomic_exchange(&http->fresh, e);
    if (unused != NULL)
        slc_http_endpoint_free(unused);
    else
        slc_mailbox_post(&http->to_http, &http->tls_mail);
    return SLC_OK;
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
