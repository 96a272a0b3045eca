// Loss of power at random moments, against the store as it ships.
//
//     power-loss [--images N] [--only MODE] [--seed N]
//
// A process runs the workload while every write and flush of the data file is recorded. From the recording come images: what
// a disk may hold when power fails at some moment (disk.h). Each is opened by a process of its own and compared with what
// had been promised by then (check.h). N is the number of images of the shipped setting (120 unless told); the others get a
// share of it.
//
//     group           deferred confirm, the shipped setting          0 bad
//     full            every commit flushed with its meta page        0 bad
//     interval        reported at hand-over: only the state of the   0 bad
//                     store is checked, not what was reported
//     early-confirm   control: group, but a job counts as reported   many bad
//                     when its commit returned
//     late-flush      control: group, and each flush takes effect    many bad
//                     only when the next one returns
//     creation        group, at moments before the store was opened    0 bad
//                     first
//
// Exit status 0: all as it has to be. The seed of a run is printed; threads race each other, so the same seed gives the same
// load and the same kinds of images, not the same octets. POWER_LOSS_KEEP=1 keeps the first bad image where the last line says.
#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "check.h"
#include "disk.h"
#include "workload.h"

enum {
    IMAGES_QUICK = 120,
    IMAGES_CONTROL =
        60, // at least: a quarter and more of them are bad, and none would be if the test were blind
    IMAGES_PER_RECORDING = 60,
    CHECK_SECONDS = 60,
    TEXTS_MAX = 5,
};

typedef enum promise {
    PROMISE_REPORTED,  // what the store reported durable
    PROMISE_COMMITTED, // what had been committed: too early
    PROMISE_NOTHING,
} promise;

typedef struct promised_tickets {
    uint64_t durable, large; // the latter of tickets with the mark, without it
} promised_tickets;

typedef struct mode {
    const char *name;
    slc_store_flush_mode flush;
    promise promise;
    bool late_flush, creation;
    uint32_t share;    // of N, in percent
    uint32_t bad_from; // percent of bad images that a control has to find; 0: none may be bad
} mode;

static const mode modes[] = {
    {"group", SLC_STORE_FLUSH_GROUP, PROMISE_REPORTED, false, false, 100, 0},
    {"full", SLC_STORE_FLUSH_FULL, PROMISE_REPORTED, false, false, 40, 0},
    {"interval", SLC_STORE_FLUSH_INTERVAL, PROMISE_NOTHING, false, false, 15, 0},
    {"creation", SLC_STORE_FLUSH_GROUP, PROMISE_REPORTED, false, true, 30, 0},
    {"early-confirm", SLC_STORE_FLUSH_GROUP, PROMISE_COMMITTED, false, false, 20, 5},
    {"late-flush", SLC_STORE_FLUSH_GROUP, PROMISE_REPORTED, true, false, 20, 5},
};

typedef struct figures {
    uint32_t images, bad, with_unflushed, recordings;
    uint64_t unflushed, live, writes, meta_writes, through, flushes;
    uint64_t by_commit; // reports that the next commit's flush made good
    uint64_t by_sync;   // those that a flush of their own did
} figures;

static tape *record;
static journal *book;
static check_result *result;
static uint64_t seed, rng;
static char dir[64], store_dir[80], store_file[96], image_dir[80], image_file[96];
static bool keep;
static promised_tickets *promised; // by event: what counts as reported when it has happened
static pid_t owner;

static int entry_remove(const char *path, const struct stat *info, int type, struct FTW *walk)
{
    (void)info;
    (void)type;
    (void)walk;
    return remove(path);
}

static void clean_up(void)
{
    if (getpid() == owner && dir[0] != '\0' && !keep)
        nftw(dir, entry_remove, 8, FTW_DEPTH | FTW_PHYS);
}

static void on_signal(int number)
{
    clean_up();
    signal(number, SIG_DFL);
    raise(number);
}

static _Noreturn void fail(const char *text, const char *detail)
{
    fprintf(stderr, "power-loss: %s%s (seed %" PRIu64 ")\n", text, detail, seed);
    exit(1);
}

static void dir_fresh(const char *path)
{
    nftw(path, entry_remove, 8, FTW_DEPTH | FTW_PHYS);
    if (mkdir(path, 0700) != 0)
        fail("making a directory: ", strerror(errno));
}

/* ---- recording ---- */

static void record_run(const mode *m)
{
    tape_clear(record, disk_random(&rng, UINT32_MAX));
    madvise(book, sizeof *book, MADV_REMOVE);
    uint64_t load_seed = disk_random(&rng, UINT32_MAX);
    dir_fresh(store_dir);
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0)
        fail("fork: ", strerror(errno));
    if (pid == 0)
        workload_run(store_dir, m->flush, load_seed, record, book);
    int status = 0;
    waitpid(pid, &status, 0);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0 || !book->finished)
        fail("the workload did not get through", "");
    if (!disk_complete(record, store_file))
        fail("the recording does not give the data file: writes of LMDB passed it by", "");
}

static void promise_note(promised_tickets *p, uint64_t ticket)
{
    uint64_t *of = (ticket & SLC_TICKET_LARGE) != 0 ? &p->large : &p->durable;
    if (*of < (ticket & ~SLC_TICKET_LARGE))
        *of = ticket & ~SLC_TICKET_LARGE;
}

// Which flush made a report true, and when its last commit had returned: the last meta page before that flush.
static void promises_find(const mode *m, figures *f)
{
    uint32_t flush = 0, meta = 0, meta_before_flush = 0;
    bool data_before_flush = false, data = false;
    memset(promised, 0, (record->count + 1u) * sizeof *promised);
    for (uint32_t i = 0; i < record->count; i++) {
        const tape_event *event = &record->events[i];
        switch ((tape_kind)event->kind) {
        case TAPE_WRITE:
            f->writes++;
            break;
        case TAPE_WRITTEN:
            f->through += event->through;
            if (tape_is_meta(event)) {
                f->meta_writes++;
                meta = i;
                data = false;
            } else {
                data = true;
            }
            break;
        case TAPE_FLUSH:
            flush = i;
            meta_before_flush = meta;
            data_before_flush = data;
            break;
        case TAPE_FLUSHED:
            f->flushes++;
            break;
        case TAPE_DURABLE:
            if (flush > 0 && m->promise == PROMISE_COMMITTED)
                promise_note(&promised[meta_before_flush], event->ticket);
            if (m->promise == PROMISE_REPORTED)
                promise_note(&promised[i], event->ticket);
            f->by_commit += data_before_flush;
            f->by_sync += !data_before_flush;
            break;
        case TAPE_NAMED:
        case TAPE_OPENED:
            break;
        }
    }
    // promised[i]: when the events up to i have happened.
    for (uint32_t i = 1; i < record->count; i++) {
        promise_note(&promised[i], promised[i - 1].durable);
        promise_note(&promised[i], promised[i - 1].large | SLC_TICKET_LARGE);
    }
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

enum { MOMENT_REPORT, MOMENT_FLUSH, MOMENT_META, MOMENT_META_WAITS };

// A moment at or behind `from` with what matters most: a report, a flush, a meta page; or one at which a commit has returned
// and its meta page waits for the next flush.
static uint32_t moment_find(uint32_t from, uint32_t to, uint64_t kind)
{
    for (uint32_t at = from; at < to; at++) {
        const tape_event *event = &record->events[at];
        if ((kind == MOMENT_REPORT && event->kind == TAPE_DURABLE) ||
            (kind == MOMENT_FLUSH && (event->kind == TAPE_FLUSH || event->kind == TAPE_FLUSHED)) ||
            (kind == MOMENT_META && event->kind <= TAPE_WRITTEN && tape_is_meta(event)))
            return at + 1;
        if (kind >= MOMENT_META_WAITS && event->kind == TAPE_WRITTEN && tape_is_meta(event)) {
            uint32_t end = at + 1;
            while (end < to && record->events[end].kind != TAPE_FLUSHED)
                end++;
            return at + 1 + (uint32_t)disk_random(&rng, end - at);
        }
    }
    return to;
}

static void moments_choose(const mode *m, uint32_t *moments, uint32_t count)
{
    uint32_t opened = 0;
    while (record->events[opened].kind != TAPE_OPENED)
        opened++;
    uint32_t from = m->creation ? 0 : opened, to = m->creation ? opened : record->count;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t at = from + (uint32_t)disk_random(&rng, to - from);
        uint64_t kind = m->promise == PROMISE_COMMITTED ? MOMENT_META_WAITS : disk_random(&rng, 9);
        moments[i] = kind > MOMENT_META_WAITS + 2 ? at + 1 : moment_find(at, to, kind);
    }
    qsort(moments, count, sizeof *moments, by_value);
}

/* ---- images ---- */

static void image_try(const mode *m, uint32_t moment, const disk *d, figures *f)
{
    dir_fresh(image_dir);
    disk_image(d, image_file, &rng);
    *result = (check_result){0};
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0)
        fail("fork: ", strerror(errno));
    if (pid == 0) {
        alarm(CHECK_SECONDS);
        // What LMDB prints before it aborts is expected of a control.
        if (m->bad_from > 0 && freopen("/dev/null", "w", stderr) == NULL)
            _exit(70);
        tape_no_flush();
        const promised_tickets *p = &promised[moment == 0 ? 0 : moment - 1];
        check_image(image_dir, m->flush, book, moment, moment == 0 ? 0 : p->durable,
                    moment == 0 ? 0 : p->large, result);
        _exit(0);
    }
    int status = 0;
    waitpid(pid, &status, 0);
    if (!result->bad && WIFSIGNALED(status)) {
        result->bad = true;
        snprintf(result->text, sizeof result->text, "%s: %s",
                 WTERMSIG(status) == SIGALRM ? "opening or using it does not end"
                                             : "it kills the store",
                 strsignal(WTERMSIG(status)));
    } else if (!result->bad && WEXITSTATUS(status) != 0) {
        result->bad = true;
        snprintf(result->text, sizeof result->text, "the check ended with status %d",
                 WEXITSTATUS(status));
    }
    f->images++;
    f->live += result->live;
    f->unflushed += disk_unflushed(d);
    f->with_unflushed += disk_unflushed(d) > 0;
    if (!result->bad)
        return;
    f->bad++;
    bool control = m->bad_from > 0;
    if (f->bad <= TEXTS_MAX && !control)
        fprintf(stderr,
                "power-loss: %s: bad image, moment %" PRIu32 " of %" PRIu32 ", %" PRIu32
                " unflushed pages: %s\n",
                m->name, moment, record->count, disk_unflushed(d), result->text);
    else if (f->bad == 1)
        printf("%-14s finds, for example: %s\n", m->name, result->text);
    if (!control && getenv("POWER_LOSS_KEEP") != NULL) {
        keep = true;
        fprintf(stderr, "power-loss: the image (used by the check) is in %s\n", image_dir);
        exit(1);
    }
}

static void mode_print(const mode *m, const figures *f, uint64_t since_ns)
{
    printf("%-14s %5" PRIu32 " images, %" PRIu32
           " bad (%.1f %%), %.0f %% with unflushed pages (%.0f "
           "on average), %.0f messages each, %.0f s\n",
           m->name, f->images, f->bad, 100.0 * f->bad / f->images,
           100.0 * f->with_unflushed / f->images, (double)f->unflushed / f->images,
           (double)f->live / f->images, (double)(slc_clock_now_ns() - since_ns) / 1e9);
    printf("%-14s %5" PRIu32 " recordings: %" PRIu64 " writes, %" PRIu64
           " of them meta pages, %" PRIu64 " through; %" PRIu64
           " flushes; reports made good by the next commit %" PRIu64
           ", by a flush of their own %" PRIu64 "\n",
           "", f->recordings, f->writes, f->meta_writes, f->through, f->flushes, f->by_commit,
           f->by_sync);
    fflush(stdout);
}

// The recordings have to show what the mode is about, else its verdict means nothing.
static bool mode_plausible(const mode *m, const figures *f)
{
    bool plausible = f->flushes > 0 && f->meta_writes > 0 && f->with_unflushed > 0;
    if (m->flush == SLC_STORE_FLUSH_GROUP && !m->creation)
        plausible = plausible && f->through == 0 && f->by_commit > 0 && f->by_sync > 0;
    if (m->flush != SLC_STORE_FLUSH_GROUP)
        plausible = plausible && f->through > 0;
    if (!plausible)
        fprintf(stderr, "power-loss: %s: the recordings lack what it is to test\n", m->name);
    return plausible;
}

static bool mode_run(const mode *m, uint32_t images)
{
    figures f = {0};
    uint64_t since_ns = slc_clock_now_ns();
    while (f.images < images) {
        record_run(m);
        f.recordings++;
        promises_find(m, &f);
        uint32_t moments[IMAGES_PER_RECORDING];
        uint32_t count =
            images - f.images < IMAGES_PER_RECORDING ? images - f.images : IMAGES_PER_RECORDING;
        moments_choose(m, moments, count);
        disk *d = disk_new(record, m->late_flush);
        for (uint32_t i = 0; i < count; i++) {
            disk_advance(d, moments[i]);
            image_try(m, moments[i], d, &f);
        }
        disk_free(d);
    }
    mode_print(m, &f, since_ns);
    bool held = m->bad_from == 0 ? f.bad == 0 : 100 * f.bad >= m->bad_from * f.images;
    if (!held)
        fprintf(stderr,
                m->bad_from == 0
                    ? "power-loss: %s: promises were broken\n"
                    : "power-loss: %s: too few bad images; this test would not notice\n",
                m->name);
    return mode_plausible(m, &f) && held;
}

static void *shared(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        fail("no shared memory: ", strerror(errno));
    return memory;
}

static _Noreturn void usage(void)
{
    fprintf(stderr, "usage: power-loss [--images N] [--only MODE] [--seed N]\nmodes:");
    for (uint32_t i = 0; i < SLC_ARRAY_COUNT(modes); i++)
        fprintf(stderr, " %s", modes[i].name);
    fprintf(stderr, "\n");
    exit(2);
}

static uint64_t number(const char *text)
{
    char *end;
    errno = 0;
    uint64_t value = strtoull(text, &end, 10);
    if (end == text || *end != '\0' || errno != 0)
        usage();
    return value;
}

int main(int argc, char **argv)
{
    uint64_t images = IMAGES_QUICK;
    const char *only = NULL;
    bool known = false;
    slc_random_bytes(&seed, 4);
    if (argc % 2 == 0)
        usage();
    for (int i = 1; i < argc; i += 2) {
        if (strcmp(argv[i], "--images") == 0)
            images = number(argv[i + 1]);
        else if (strcmp(argv[i], "--only") == 0)
            only = argv[i + 1];
        else if (strcmp(argv[i], "--seed") == 0)
            seed = number(argv[i + 1]);
        else
            usage();
    }
    for (uint32_t i = 0; i < SLC_ARRAY_COUNT(modes); i++)
        known = known || only == NULL || strcmp(only, modes[i].name) == 0;
    if (!known || images == 0 || images > 1000000)
        usage();
    owner = getpid();
    strcpy(dir, "/tmp/slc-power-XXXXXX");
    if (mkdtemp(dir) == NULL) {
        dir[0] = '\0';
        fail("making a directory: ", strerror(errno));
    }
    atexit(clean_up);
    signal(SIGTERM, on_signal);
    signal(SIGINT, on_signal);
    snprintf(store_dir, sizeof store_dir, "%s/store", dir);
    snprintf(store_file, sizeof store_file, "%s/data.mdb", store_dir);
    snprintf(image_dir, sizeof image_dir, "%s/image", dir);
    snprintf(image_file, sizeof image_file, "%s/data.mdb", image_dir);
    record = tape_new();
    book = shared(sizeof *book);
    result = shared(sizeof *result);
    promised = shared((TAPE_EVENTS_MAX + 1u) * sizeof *promised);
    printf("seed %" PRIu64 "\n", seed);
    bool all = true;
    for (uint32_t i = 0; i < SLC_ARRAY_COUNT(modes); i++) {
        if (only != NULL && strcmp(only, modes[i].name) != 0)
            continue;
        rng = (seed + i + 1) * 0x9e3779b97f4a7c15ull | 1;
        for (int k = 0; k < 20; k++)
            disk_random(&rng, 2);
        uint64_t count = only != NULL ? images : images * modes[i].share / 100;
        uint64_t least = modes[i].bad_from > 0 ? IMAGES_CONTROL : 1;
        all = mode_run(&modes[i], (uint32_t)(count < least ? least : count)) && all;
    }
    return all ? 0 : 1;
}
