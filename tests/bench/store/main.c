// bench-store: the store against its targets, on the machine it runs on. Options below; tests/bench/README.md explains.
#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <linux/magic.h>

#include "bench.h"

static const char USAGE[] =
    "bench-store [options]: the store against its targets; prints a table\n"
    "  --only T1,T3     these targets (T1 T2 T3 T4 T5 T7 T8 T9 T10 T12 T14)\n"
    "  --runs N         interleaved runs of each, 1 to 101; figures are medians (5)\n"
    "  --seconds S      length of each timed stretch (2)\n"
    "  --messages N     backlog of 100 B messages for T9 and T10 (10000000)\n"
    "  --minutes M      of mixed churn for T14, once (2; its target says 60)\n"
    "  --dir D          where data is put, in a temporary folder that is removed (/var/tmp)\n"
    "  --json FILE      write every sample\n"
    "Exit status: 0 measured, whether targets are met or not; 1 something failed; 2 bad usage.\n";

bench_options bench_opt = {
    .seconds = 2, .minutes = 2, .messages = 10000000, .runs = 5, .dir = "/var/tmp"};

static char temp_dir[BENCH_PATH_BYTES / 2];
static volatile sig_atomic_t stop_signal;

/* ---- the temporary folder ---- */

void bench_path(char out[BENCH_PATH_BYTES], const char *name)
{
    snprintf(out, BENCH_PATH_BYTES, "%s/%s", temp_dir, name);
}

void bench_remove(const char *path)
{
    DIR *dir = opendir(path);
    if (dir == NULL) {
        unlink(path);
        return;
    }
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            unlinkat(dirfd(dir), entry->d_name, 0);
    closedir(dir);
    rmdir(path);
}

static void temp_dir_make(void)
{
    struct statfs fs;
    if (statfs(bench_opt.dir, &fs) != 0)
        bench_fail("%s: %s", bench_opt.dir, strerror(errno));
    if (fs.f_type == TMPFS_MAGIC)
        fprintf(stderr, "bench-store: %s is in memory, where a flush costs nothing\n",
                bench_opt.dir);
    char path[sizeof temp_dir];
    int n = snprintf(path, sizeof path, "%s/bench-store-XXXXXX", bench_opt.dir);
    if (n < 0 || (size_t)n >= sizeof path || mkdtemp(path) == NULL)
        bench_fail("no temporary folder in %s: %s", bench_opt.dir, strerror(errno));
    memcpy(temp_dir, path, sizeof temp_dir);
}

static void temp_dir_remove(void)
{
    static const char *const names[] = {"ceiling", "store", "restart", "churn"};
    if (temp_dir[0] == '\0')
        return;
    for (uint32_t i = 0; i < SLC_ARRAY_COUNT(names); i++) {
        char path[BENCH_PATH_BYTES];
        bench_path(path, names[i]);
        bench_remove(path);
    }
    rmdir(temp_dir);
}

/* ---- ends ---- */

void bench_fail(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "bench-store: ");
    vfprintf(stderr, format, args);
    fprintf(stderr, "\n");
    va_end(args);
    temp_dir_remove();
    // No exit handlers: a store thread may be at work.
    _exit(1);
}

static void on_signal(int number)
{
    stop_signal = number;
}

void bench_check_signal(void)
{
    if (stop_signal != 0)
        bench_fail("stopped by signal %d", (int)stop_signal);
}

/* ---- options ---- */

static _Noreturn void usage_fail(const char *text)
{
    fprintf(stderr, "bench-store: %s\n%s", text, USAGE);
    exit(2);
}

static double number_option(const char *name, double least, double most, bool whole)
{
    char *end;
    errno = 0;
    double value = strtod(optarg, &end);
    if (errno != 0 || end == optarg || *end != '\0' || !(value >= least && value <= most) ||
        (whole && value != floor(value))) {
        char text[128];
        snprintf(text, sizeof text, "--%s takes a %snumber from %g to %g", name,
                 whole ? "whole " : "", least, most);
        usage_fail(text);
    }
    return value;
}

static void options_read(int argc, char **argv)
{
    static const struct option options[] = {
        {"only", required_argument, NULL, 'o'},
        {"runs", required_argument, NULL, 'r'},
        {"seconds", required_argument, NULL, 's'},
        {"messages", required_argument, NULL, 'm'},
        {"minutes", required_argument, NULL, 't'},
        {"dir", required_argument, NULL, 'd'},
        {"json", required_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (c) {
        case 'o':
            bench_opt.only = optarg;
            break;
        case 'r':
            bench_opt.runs = (uint32_t)number_option("runs", 1, BENCH_RUNS_MAX, true);
            break;
        case 's':
            bench_opt.seconds = number_option("seconds", 0.01, 3600, false);
            break;
        case 'm':
            bench_opt.messages = (uint64_t)number_option("messages", 1, 1e9, true);
            break;
        case 't':
            bench_opt.minutes = number_option("minutes", 0.01, 1440, false);
            break;
        case 'd':
            if (strlen(optarg) >= sizeof bench_opt.dir - 32)
                usage_fail("--dir is too long");
            snprintf(bench_opt.dir, sizeof bench_opt.dir, "%s", optarg);
            break;
        case 'j':
            bench_opt.json = optarg;
            break;
        case 'h':
            fputs(USAGE, stdout);
            exit(0);
        default:
            usage_fail("what was that?");
        }
    }
    if (optind < argc)
        usage_fail("there are no arguments, only options");
    if (!bench_only_valid())
        usage_fail("--only names a target that is not measured here");
}

/* ---- runs ---- */

static const struct {
    const char *targets[2];
    void (*run)(uint32_t run);
} scenarios[] = {
    {{"T1", "T5"}, bench_commit_1}, {{"T2"}, bench_commit_100}, {{"T3"}, bench_commit_1000},
    {{"T4"}, bench_deferred},       {{"T7"}, bench_written},    {{"T8"}, bench_queues},
    {{"T9", "T10"}, bench_restart}, {{"T12"}, bench_large},     {{"T14"}, bench_churn},
};

static void runs_do(void)
{
    for (uint32_t run = 0; run < bench_opt.runs; run++) {
        fprintf(stderr, "run %u of %u:", run + 1, bench_opt.runs);
        for (uint32_t i = 0; i < SLC_ARRAY_COUNT(scenarios); i++) {
            const char *first = scenarios[i].targets[0], *second = scenarios[i].targets[1];
            if (!bench_asked(first) && (second == NULL || !bench_asked(second)))
                continue;
            fprintf(stderr, " %s", first);
            scenarios[i].run(run);
        }
        fprintf(stderr, "\n");
    }
}

int main(int argc, char **argv)
{
    if (argc == 5 && strcmp(argv[1], "--restart-child") == 0)
        bench_restart_child(argv[2], argv[3], strtoull(argv[4], NULL, 10));
    options_read(argc, argv);
    struct sigaction action = {.sa_handler = on_signal}; // without SA_RESTART: waits end
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    temp_dir_make();
    runs_do();
    temp_dir_remove();
    bench_table_print();
    if (bench_opt.json != NULL)
        bench_json_write(bench_opt.json);
    return 0;
}
