// The interposed calls, and the tape that they write.
#include "tape.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { FLUSH_NS_MAX = 3000000 };

static tape *recorder;
static const char *watched;
static char watched_new[4096];
static bool no_flush;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

#define REAL(type, name, ...)                                                                      \
    static type (*real)(__VA_ARGS__);                                                              \
    if (real == NULL)                                                                              \
        *(void **)&real = dlsym(RTLD_NEXT, name);                                                  \
    if (real == NULL)                                                                              \
    abort()

static _Noreturn void tape_fail(const char *text)
{
    fprintf(stderr, "power-loss: recording: %s\n", text);
    _exit(70);
}

tape *tape_new(void)
{
    tape *t = mmap(NULL, sizeof *t + TAPE_DATA_MAX, PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (t == MAP_FAILED)
        tape_fail("no memory for the tape");
    return t;
}

void tape_clear(tape *t, uint64_t seed)
{
    madvise(t, sizeof *t + TAPE_DATA_MAX, MADV_REMOVE);
    t->count = 0;
    t->data_bytes = 0;
    t->seed = seed | 1;
}

void tape_record(tape *t, const char *path)
{
    recorder = t;
    watched = path;
    if (path != NULL)
        snprintf(watched_new, sizeof watched_new, "%s.new", path);
}

void tape_no_flush(void)
{
    no_flush = true;
}

bool tape_is_meta(const tape_event *event)
{
    return event->offset < 2 * (uint64_t)sysconf(_SC_PAGESIZE);
}

// Under the lock.
static tape_event *event_add(tape_kind kind)
{
    if (recorder->count == TAPE_EVENTS_MAX)
        tape_fail("too many events");
    tape_event *event = &recorder->events[recorder->count++];
    *event = (tape_event){.kind = (uint8_t)kind};
    return event;
}

void tape_note(tape_kind kind, uint64_t ticket)
{
    pthread_mutex_lock(&lock);
    event_add(kind)->ticket = ticket;
    pthread_mutex_unlock(&lock);
}

uint32_t tape_now(void)
{
    pthread_mutex_lock(&lock);
    uint32_t now = recorder->count;
    pthread_mutex_unlock(&lock);
    return now;
}

uint64_t tape_bytes(void)
{
    pthread_mutex_lock(&lock);
    uint64_t bytes = recorder->data_bytes;
    pthread_mutex_unlock(&lock);
    return bytes;
}

static bool is_open_at(int fd, const char *path)
{
    struct stat file, open_file;
    return stat(path, &file) == 0 && fstat(fd, &open_file) == 0 &&
           file.st_ino == open_file.st_ino && file.st_dev == open_file.st_dev;
}

static bool is_watched(int fd)
{
    return watched != NULL && (is_open_at(fd, watched) || is_open_at(fd, watched_new));
}

static uint32_t write_begin(const struct iovec *pieces, int count, off_t offset)
{
    pthread_mutex_lock(&lock);
    tape_event *event = event_add(TAPE_WRITE);
    event->offset = (uint64_t)offset;
    event->data = recorder->data_bytes;
    for (int i = 0; i < count; i++) {
        if (pieces[i].iov_len > TAPE_DATA_MAX - recorder->data_bytes)
            tape_fail("too much data");
        if (pieces[i].iov_len > 0)
            memcpy(recorder->data + recorder->data_bytes, pieces[i].iov_base, pieces[i].iov_len);
        recorder->data_bytes += pieces[i].iov_len;
        event->bytes += pieces[i].iov_len;
    }
    uint32_t begin = recorder->count - 1;
    pthread_mutex_unlock(&lock);
    return begin;
}

static void write_end(int fd, uint32_t begin, ssize_t done)
{
    pthread_mutex_lock(&lock);
    if (done < 0 || (uint64_t)done != recorder->events[begin].bytes)
        tape_fail("a write came back short; is the disk of the test full?");
    tape_event *event = event_add(TAPE_WRITTEN);
    event->begin = begin;
    event->offset = recorder->events[begin].offset;
    event->bytes = recorder->events[begin].bytes;
    int flags = fcntl(fd, F_GETFL);
    event->through = flags >= 0 && (flags & (O_DSYNC | O_SYNC)) != 0;
    pthread_mutex_unlock(&lock);
}

static int flush(void)
{
    pthread_mutex_lock(&lock);
    event_add(TAPE_FLUSH);
    uint32_t begin = recorder->count - 1;
    recorder->seed = recorder->seed * 6364136223846793005ull + 1442695040888963407ull;
    struct timespec takes = {.tv_nsec = (long)((recorder->seed >> 33) % FLUSH_NS_MAX)};
    pthread_mutex_unlock(&lock);
    nanosleep(&takes, NULL); // the disk at work: jobs meet and miss each other as they would on one
    pthread_mutex_lock(&lock);
    event_add(TAPE_FLUSHED)->begin = begin;
    pthread_mutex_unlock(&lock);
    return 0;
}

/* ---- the calls ---- */

ssize_t pwrite(int fd, const void *data, size_t bytes, off_t offset)
{
    REAL(ssize_t, "pwrite", int, const void *, size_t, off_t);
    if (!is_watched(fd))
        return real(fd, data, bytes, offset);
    struct iovec piece = {.iov_base = (void *)(uintptr_t)data, .iov_len = bytes};
    uint32_t begin = write_begin(&piece, 1, offset);
    ssize_t done = real(fd, data, bytes, offset);
    write_end(fd, begin, done);
    return done;
}

ssize_t pwritev(int fd, const struct iovec *pieces, int count, off_t offset)
{
    REAL(ssize_t, "pwritev", int, const struct iovec *, int, off_t);
    if (!is_watched(fd))
        return real(fd, pieces, count, offset);
    uint32_t begin = write_begin(pieces, count, offset);
    ssize_t done = real(fd, pieces, count, offset);
    write_end(fd, begin, done);
    return done;
}

ssize_t writev(int fd, const struct iovec *pieces, int count)
{
    REAL(ssize_t, "writev", int, const struct iovec *, int);
    if (!is_watched(fd))
        return real(fd, pieces, count);
    uint32_t begin = write_begin(pieces, count, lseek(fd, 0, SEEK_CUR));
    ssize_t done = real(fd, pieces, count);
    write_end(fd, begin, done);
    return done;
}

ssize_t write(int fd, const void *data, size_t bytes)
{
    REAL(ssize_t, "write", int, const void *, size_t);
    if (!is_watched(fd))
        return real(fd, data, bytes);
    struct iovec piece = {.iov_base = (void *)(uintptr_t)data, .iov_len = bytes};
    uint32_t begin = write_begin(&piece, 1, lseek(fd, 0, SEEK_CUR));
    ssize_t done = real(fd, data, bytes);
    write_end(fd, begin, done);
    return done;
}

int rename(const char *from, const char *to)
{
    REAL(int, "rename", const char *, const char *);
    int rc = real(from, to);
    if (rc == 0 && watched != NULL && strcmp(to, watched) == 0)
        tape_note(TAPE_NAMED, 0);
    return rc;
}

int fdatasync(int fd)
{
    REAL(int, "fdatasync", int);
    return is_watched(fd) ? flush() : no_flush ? 0 : real(fd);
}

int fsync(int fd)
{
    REAL(int, "fsync", int);
    return is_watched(fd) ? flush() : no_flush ? 0 : real(fd);
}

// Where off_t has 64 bits anyway these are other names of the same calls, and a library may have been built with either.
#if __SIZEOF_LONG__ == 8
ssize_t pwrite64(int fd, const void *data, size_t bytes, off64_t offset)
{
    return pwrite(fd, data, bytes, offset);
}

ssize_t pwritev64(int fd, const struct iovec *pieces, int count, off64_t offset)
{
    return pwritev(fd, pieces, count, offset);
}
#endif
