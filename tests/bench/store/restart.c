// T9, T10: a start with a large backlog, after kill -9. Filling and each start are processes of their own, so that memory is
// what the store holds and death is real.
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

enum { MESSAGE_BYTES = 100, WINDOW = 4096 };
static const uint64_t LOG_BYTES = 256u << 20;

/* ---- in the child ---- */

// The highest RssAnon, which the kernel does not keep, is sampled.
typedef struct sampler {
    uv_thread_t thread;
    uv_mutex_t lock;
    uv_cond_t wake;
    bool stop;
    uint64_t peak_bytes;
} sampler;

static void sampler_main(void *arg)
{
    enum { EVERY_MS = 10 };
    sampler *s = arg;
    uv_mutex_lock(&s->lock);
    while (!s->stop) {
        uint64_t bytes = bench_status_bytes("RssAnon:");
        if (bytes > s->peak_bytes)
            s->peak_bytes = bytes;
        uv_cond_timedwait(&s->wake, &s->lock, EVERY_MS * SLC_NS_PER_MS);
    }
    uv_mutex_unlock(&s->lock);
}

static void sampler_start(sampler *s)
{
    *s = (sampler){0};
    if (uv_mutex_init(&s->lock) != 0 || uv_cond_init(&s->wake) != 0 ||
        uv_thread_create(&s->thread, sampler_main, s) != 0)
        bench_fail("starting the memory sampler");
}

static uint64_t sampler_end(sampler *s)
{
    uv_mutex_lock(&s->lock);
    s->stop = true;
    uv_cond_signal(&s->wake);
    uv_mutex_unlock(&s->lock);
    uv_thread_join(&s->thread);
    uint64_t now = bench_status_bytes("RssAnon:");
    return now > s->peak_bytes ? now : s->peak_bytes;
}

static void child_fill(const char *dir, uint64_t messages)
{
    bench_store b;
    bench_open(&b, dir, SLC_STORE_FLUSH_GROUP, LOG_BYTES);
    uint32_t qid = bench_queue(&b);
    for (uint64_t n = 0; n < messages;) {
        for (; n < messages && b.submitted - b.durable < WINDOW; n++)
            bench_append(&b, qid, n + 1, MESSAGE_BYTES);
        bench_turn(&b);
    }
    bench_wait(&b, b.submitted);
}

static void child_recover(const char *dir, uint64_t messages)
{
    bench_store b;
    bench_open_only(&b, dir, SLC_STORE_FLUSH_GROUP, LOG_BYTES);
    bench_recovered recovered;
    slc_error error = {0};
    if (bench_recover(b.store, &recovered, &error) != SLC_OK)
        bench_fail("recovering: %s", error.text);
    if (recovered.queues != 1 || recovered.messages != messages)
        bench_fail("%" PRIu64 " messages were durable, a start found %" PRIu64, messages,
                   recovered.messages);
    bench_read_first(&b, recovered.qid, 1);
}

_Noreturn void bench_restart_child(const char *role, const char *dir, uint64_t messages)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    sampler s;
    sampler_start(&s);
    uint64_t from_ns = slc_clock_now_ns();
    if (strcmp(role, "fill") == 0)
        child_fill(dir, messages);
    else
        child_recover(dir, messages);
    double seconds = bench_seconds_since(from_ns);
    printf("%.6f %" PRIu64 "\n", seconds, sampler_end(&s));
    fflush(stdout);
    raise(SIGKILL);
    _exit(1);
}

/* ---- in the parent ---- */

typedef struct child_result {
    double seconds;
    double rss_mib;
} child_result;

static child_result child_run(const char *role, const char *dir)
{
    char messages[32], self[BENCH_PATH_BYTES];
    snprintf(messages, sizeof messages, "%" PRIu64, bench_opt.messages);
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    if (length < 0)
        bench_fail("/proc/self/exe: %s", strerror(errno));
    self[length] = '\0';
    int pipe_fds[2];
    if (pipe2(pipe_fds, O_CLOEXEC) != 0)
        bench_fail("pipe: %s", strerror(errno));
    pid_t pid = fork();
    if (pid < 0)
        bench_fail("fork: %s", strerror(errno));
    if (pid == 0) {
        dup2(pipe_fds[1], STDOUT_FILENO);
        execl(self, self, "--restart-child", role, dir, messages, (char *)NULL);
        _exit(127);
    }
    close(pipe_fds[1]);
    FILE *out = fdopen(pipe_fds[0], "r");
    char line[128] = "";
    if (out == NULL || fgets(line, sizeof line, out) == NULL)
        kill(pid, SIGKILL); // it died, or we were asked to stop
    if (out != NULL)
        fclose(out);
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        kill(pid, SIGKILL);
    bench_check_signal();
    child_result result;
    uint64_t rss;
    if (sscanf(line, "%lf %" SCNu64, &result.seconds, &rss) != 2 || !WIFSIGNALED(status) ||
        WTERMSIG(status) != SIGKILL)
        bench_fail("the process that was to %s the store went wrong", role);
    result.rss_mib = (double)rss / BENCH_MIB;
    return result;
}

// Returns the part of the file that stayed in the page cache.
static double cache_drop(const char *dir)
{
    char path[BENCH_PATH_BYTES + 16];
    snprintf(path, sizeof path, "%s/data.mdb", dir);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat info;
    if (fd < 0 || fstat(fd, &info) != 0 || info.st_size == 0)
        bench_fail("%s: %s", path, strerror(errno));
    if (fdatasync(fd) != 0)
        bench_fail("flushing %s: %s", path, strerror(errno));
    int rc = posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    if (rc != 0)
        bench_fail("dropping the page cache of %s: %s", path, strerror(rc));
    size_t bytes = (size_t)info.st_size, page = (size_t)sysconf(_SC_PAGESIZE);
    size_t pages = (bytes + page - 1) / page, resident = 0;
    unsigned char *map = slc_alloc(pages);
    void *file = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
    if (file == MAP_FAILED || mincore(file, bytes, map) != 0)
        bench_fail("looking at the page cache of %s: %s", path, strerror(errno));
    for (size_t i = 0; i < pages; i++)
        resident += map[i] & 1;
    munmap(file, bytes);
    close(fd);
    slc_free(map);
    return (double)resident / (double)pages;
}

void bench_restart(uint32_t run)
{
    char dir[BENCH_PATH_BYTES];
    bench_path(dir, "restart"); // filled by the first run, used by all
    if (run == 0) {
        child_result fill = child_run("fill", dir);
        bench_sample(FIG_T10_FILL, fill.rss_mib, 0, fill.rss_mib);
        bench_note(FIG_T10_FILL,
                   "%" PRIu64 " messages of %d B in %.1f s; the data file has %.0f MiB",
                   bench_opt.messages, MESSAGE_BYTES, fill.seconds,
                   (double)bench_file_bytes(dir) / BENCH_MIB);
    }
    double cached = cache_drop(dir);
    if (cached > 0.05)
        bench_note(FIG_T9_COLD, "not cold: %.0f %% of the file stayed in the page cache",
                   cached * 100);
    child_result cold = child_run("recover", dir), warm = child_run("recover", dir);
    bench_sample(FIG_T9_COLD, cold.seconds, 0, cold.seconds);
    bench_sample(FIG_T9_WARM, warm.seconds, 0, warm.seconds);
    double rss = cold.rss_mib > warm.rss_mib ? cold.rss_mib : warm.rss_mib;
    bench_sample(FIG_T10, rss, 0, rss);
    if (run + 1 == bench_opt.runs)
        bench_remove(dir);
}
