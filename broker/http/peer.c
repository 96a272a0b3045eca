// Who is at the other end of the admin socket, and the socket itself.
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/alloc.h"
#include "http/request.h"

enum { GROUPS_MAX = 65536 }; // the kernel's NGROUPS_MAX

gid_t slc_http_group_id(const char *name)
{
    if (name == NULL || name[0] == '\0')
        return (gid_t)-1;
    size_t cap = 1024;
    for (;;) {
        char *memory = slc_alloc(cap);
        struct group entry, *found = NULL;
        int rc = getgrnam_r(name, &entry, memory, cap, &found);
        gid_t gid = found != NULL ? found->gr_gid : (gid_t)-1;
        slc_free(memory);
        if (rc != ERANGE || cap > (1u << 20))
            return gid;
        cap *= 4; // a group with many members
    }
}

// SO_PEERCRED knows the primary group only; SO_PEERGROUPS the supplementary ones, as they were at connect().
static bool peer_in_group(int fd, gid_t group)
{
    gid_t few[64];
    socklen_t bytes = sizeof few;
    gid_t *groups = few;
    int rc = getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, few, &bytes);
    if (rc != 0 && errno == ERANGE && bytes <= GROUPS_MAX * sizeof(gid_t)) {
        groups = slc_alloc(bytes);
        rc = getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &bytes);
    }
    bool member = false;
    for (size_t i = 0; rc == 0 && i < bytes / sizeof(gid_t); i++)
        member |= groups[i] == group;
    if (groups != few)
        slc_free(groups);
    return member;
}

void slc_http_peer_get(int fd, gid_t group, slc_http_peer *out)
{
    *out = (slc_http_peer){0};
    struct ucred cred;
    socklen_t bytes = sizeof cred;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &bytes) != 0 || bytes != sizeof cred)
        return;
    out->known = true;
    out->uid = cred.uid;
    out->pid = cred.pid;
    out->admin = cred.uid == 0 || cred.uid == geteuid() ||
                 (group != (gid_t)-1 && (cred.gid == group || peer_in_group(fd, group)));
}

// A connect that succeeds means that somebody listens there.
static bool socket_answers(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return false;
    // EAGAIN: its backlog is full, so it is alive.
    bool alive =
        connect(fd, (const struct sockaddr *)address, sizeof *address) == 0 || errno == EAGAIN;
    close(fd);
    return alive;
}

slc_err slc_http_socket_open(const char *path, int *fd_out, slc_error *error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (path[0] == '\0' || strlen(path) >= sizeof address.sun_path)
        return slc_error_set(error, SLC_EINVAL,
                             "admin socket '%s': a path of 1 to %zu octets is needed", path,
                             sizeof address.sun_path - 1);
    memcpy(address.sun_path, path, strlen(path) + 1);

    struct stat st;
    if (lstat(path, &st) == 0) {
        if (!S_ISSOCK(st.st_mode))
            return slc_error_set(error, SLC_EEXIST,
                                 "admin socket %s: a file that is no socket stands there", path);
        if (socket_answers(&address))
            return slc_error_set(error, SLC_EADDRINUSE,
                                 "admin socket %s: another daemon listens there", path);
        if (unlink(path) != 0)
            return slc_error_set(error, slc_err_from_errno(errno),
                                 "admin socket %s: removing the old one: %s", path,
                                 strerror(errno));
    }
    slc_err rc = SLC_OK;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return slc_error_set(error, slc_err_from_errno(errno), "admin socket: %s", strerror(errno));
    if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        rc = slc_error_set(error, slc_err_from_errno(errno), "admin socket %s: %s", path,
                           strerror(errno));
        goto close_fd;
    }
    // Everybody may connect; what they may do is decided by who they are.
    if (chmod(path, 0666) != 0 || listen(fd, 128) != 0) {
        rc = slc_error_set(error, slc_err_from_errno(errno), "admin socket %s: %s", path,
                           strerror(errno));
        goto remove_file;
    }
    *fd_out = fd;
    return SLC_OK;

remove_file:
    unlink(path);
close_fd:
    close(fd);
    return rc;
}
