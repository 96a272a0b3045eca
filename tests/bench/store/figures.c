// What is measured, its targets, and how it is shown.
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

typedef struct figure {
    const char *target_id, *text, *unit, *reference; // reference: what value is compared with
    bool at_least;                                   // else at most
    double target;
    // filled by the runs
    uint32_t count;
    double value[BENCH_RUNS_MAX], against[BENCH_RUNS_MAX], compared[BENCH_RUNS_MAX];
    char note[160];
} figure;

// clang-format off
static figure figures[FIG_COUNT] = {
    [FIG_T1] = {"T1", "1 x 1 KiB per commit, one publisher waiting", "commits/s", "ceiling", true, 0.40},
    [FIG_T2] = {"T2", "100 x 1 KiB per commit", "commits/s", "ceiling", true, 0.60},
    [FIG_T3] = {"T3", "1,000 x 1 KiB per commit, backlog of 100,000, with deletes", "commits/s", "ceiling", true, 0.80},
    [FIG_T4_10] = {"T4", "deferred confirm, window 10", "messages/s", "off", true, 1.15},
    [FIG_T4_100] = {"T4", "deferred confirm, window 100", "messages/s", "off", true, 1.15},
    [FIG_T4_1000] = {"T4", "deferred confirm, window 1,000", "messages/s", "off", true, 1.15},
    [FIG_T5] = {"T5", "confirm latency, window 1, median", "ms", "one fdatasync round", false, 2.2},
    [FIG_T7_LOG] = {"T7", "written, 1,000 x 1 KiB per commit, log tier only", "MiB", "payload", false, 1.6},
    [FIG_T7_MOVED] = {"T7", "written in addition for what leaves the log", "MiB", "payload moved", false, 1.3},
    [FIG_T8] = {"T8", "1,000 queues, 1,000 per commit, with deletes", "messages/s", "one queue", true, 0.8},
    [FIG_T9_WARM] = {"T9", "restart until the first message is read, warm", "s", NULL, false, 3},
    [FIG_T9_COLD] = {"T9", "restart until the first message is read, cold", "s", NULL, false, 6},
    [FIG_T10] = {"T10", "highest RssAnon of a restart", "MiB", NULL, false, 256},
    [FIG_T10_FILL] = {"T10", "highest RssAnon while filling", "MiB", NULL, false, 256},
    [FIG_T12] = {"T12", "a message of 128 MiB", "MiB/s", "ceiling", true, 0.8},
    [FIG_T12_DELAY] = {"T12", "longest confirm of another publisher meanwhile", "ms", NULL, false, 150},
    [FIG_T14] = {"T14", "file less the log budget, after mixed churn", "MiB", "peak live", false, 1.25},
};
// clang-format on

void bench_sample(bench_figure id, double value, double reference, double compared)
{
    figure *f = &figures[id];
    SLC_ASSERT(f->count < BENCH_RUNS_MAX);
    f->value[f->count] = value;
    f->against[f->count] = reference;
    f->compared[f->count++] = compared;
}

void bench_note(bench_figure id, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(figures[id].note, sizeof figures[id].note, format, args);
    va_end(args);
}

/* ---- which ---- */

static bool list_has(const char *list, const char *word)
{
    size_t length = strlen(word);
    for (const char *at = list; at != NULL; at = strchr(at, ',')) {
        at += *at == ',';
        if (strncmp(at, word, length) == 0 && (at[length] == ',' || at[length] == '\0'))
            return true;
    }
    return false;
}

bool bench_asked(const char *target)
{
    return bench_opt.only == NULL || list_has(bench_opt.only, target);
}

bool bench_only_valid(void)
{
    if (bench_opt.only == NULL)
        return true;
    char *list = slc_strdup(bench_opt.only), *rest = NULL;
    bool valid = *list != '\0';
    for (char *word = strtok_r(list, ",", &rest); word != NULL; word = strtok_r(NULL, ",", &rest)) {
        bool known = false;
        for (uint32_t i = 0; i < FIG_COUNT; i++)
            known = known || strcmp(figures[i].target_id, word) == 0;
        valid = valid && known;
    }
    slc_free(list);
    return valid;
}

/* ---- medians ---- */

static int double_compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double bench_median(double *values, uint64_t count)
{
    SLC_ASSERT(count > 0);
    qsort(values, count, sizeof *values, double_compare);
    return count % 2 == 1 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

typedef struct summary {
    double median, least, most;
} summary;

static summary samples_sum_up(const double *values, uint32_t count)
{
    double sorted[BENCH_RUNS_MAX];
    memcpy(sorted, values, count * sizeof *values);
    summary s = {.median = bench_median(sorted, count)};
    s.least = sorted[0];
    s.most = sorted[count - 1];
    return s;
}

static bool figure_met(const figure *f)
{
    double median = samples_sum_up(f->compared, f->count).median;
    return f->at_least ? median >= f->target : median <= f->target;
}

/* ---- the table ---- */

// Three digits that mean something; thousands without an exponent.
static const char *number(double x, char out[32])
{
    int decimals = fabs(x) >= 100 ? 0 : fabs(x) >= 10 ? 1 : fabs(x) >= 1 ? 2 : 3;
    snprintf(out, 32, "%.*f", decimals, x);
    return out;
}

static void row_print(const figure *f)
{
    char a[32], b[32], c[32];
    printf("| %s | %s | %s %s%s%s |", f->target_id, f->text,
           f->at_least ? ">=" : "<=", number(f->target, a), f->reference ? "" : " ",
           f->reference ? "" : f->unit);
    if (f->count == 0) {
        printf(" | | | not measured |\n");
        return;
    }
    printf(" %s %s |", number(samples_sum_up(f->value, f->count).median, a), f->unit);
    if (f->reference != NULL)
        printf(" %s: %s |", f->reference, number(samples_sum_up(f->against, f->count).median, a));
    else
        printf(" |");
    summary s = samples_sum_up(f->compared, f->count);
    printf(" %s (%s - %s) | %s |\n", number(s.median, a), number(s.least, b), number(s.most, c),
           figure_met(f) ? "yes" : "**no**");
}

void bench_table_print(void)
{
    printf("| # | figure | target | value | compared with | ratio, or value: median (least - most) "
           "| met |\n|---|---|---|---|---|---|---|\n");
    for (uint32_t i = 0; i < FIG_COUNT; i++)
        if (bench_asked(figures[i].target_id))
            row_print(&figures[i]);
    printf("\n");
    for (uint32_t i = 0; i < FIG_COUNT; i++)
        if (bench_asked(figures[i].target_id) && figures[i].note[0] != '\0')
            printf("- %s, %s: %s.\n", figures[i].target_id, figures[i].text, figures[i].note);
}

/* ---- JSON ---- */

static void json_samples(FILE *out, const char *name, const double *values, uint32_t count)
{
    fprintf(out, ", \"%s\": [", name);
    for (uint32_t i = 0; i < count; i++)
        fprintf(out, "%s%.6g", i > 0 ? ", " : "", values[i]);
    fprintf(out, "]");
}

static void json_figure(FILE *out, const figure *f)
{
    fprintf(out,
            "    {\"target_id\": \"%s\", \"figure\": \"%s\", \"unit\": \"%s\", "
            "\"compared_with\": \"%s\", \"bound\": \"%s\", \"target\": %g",
            f->target_id, f->text, f->unit, f->reference ? f->reference : "",
            f->at_least ? "least" : "most", f->target);
    if (f->count == 0)
        fprintf(out, ", \"median\": null, \"met\": null");
    else
        fprintf(out, ", \"median\": %.6g, \"met\": %s",
                samples_sum_up(f->compared, f->count).median, figure_met(f) ? "true" : "false");
    json_samples(out, "ratios", f->compared, f->count);
    json_samples(out, "values", f->value, f->count);
    json_samples(out, "references", f->against, f->reference ? f->count : 0);
    fprintf(out, ", \"note\": \"%s\"}", f->note);
}

void bench_json_write(const char *path)
{
    FILE *out = fopen(path, "w");
    if (out == NULL)
        bench_fail("%s: %s", path, strerror(errno));
    char date[64];
    time_t now = time(NULL);
    struct tm utc;
    strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
    struct utsname system;
    uname(&system);
    fprintf(out,
            "{\n  \"date\": \"%s\", \"version\": \"%s\", \"kernel\": \"%s\", \"cpus\": %ld,\n"
            "  \"runs\": %u, \"seconds\": %g, \"messages\": %llu, \"minutes\": %g,\n"
            "  \"figures\": [\n",
            date, SLC_VERSION, system.release, sysconf(_SC_NPROCESSORS_ONLN), bench_opt.runs,
            bench_opt.seconds, (unsigned long long)bench_opt.messages, bench_opt.minutes);
    bool first = true;
    for (uint32_t i = 0; i < FIG_COUNT; i++) {
        if (!bench_asked(figures[i].target_id))
            continue;
        fprintf(out, "%s", first ? "" : ",\n");
        json_figure(out, &figures[i]);
        first = false;
    }
    fprintf(out, "\n  ]\n}\n");
    bool failed = ferror(out) != 0;
    if (fclose(out) != 0 || failed)
        bench_fail("%s: %s", path, strerror(errno));
}
