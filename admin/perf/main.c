// sluice-perf: load generator for AMQP 0-9-1 brokers.
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/alloc.h"
#include "perf/report.h"

static void on_signal(int number)
{
    (void)number;
    slc_perf_run_interrupt();
}

/** Many connections need many descriptors: as many as we may have. */
static void raise_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static int exit_status(slc_err rc)
{
    switch (rc) {
    case SLC_OK:
        return 0;
    case SLC_ETIMEDOUT:
        return SLC_PERF_EXIT_TIMEOUT;
    default:
        return SLC_PERF_EXIT_UNAVAILABLE;
    }
}

static int run(const slc_perf_options *options)
{
    slc_error error = {0};
    slc_perf_run *r = slc_alloc_zero(1, sizeof *r);
    bool driven = false;
    slc_err rc = slc_perf_run_open(r, options, &error);
    if (rc == SLC_OK) {
        if (options->connections_only > 0)
            fprintf(stderr, "sluice-perf: %u connections are open\n", r->idle_count);
        driven = true;
        rc = slc_perf_run_drive(r, &error);
    }
    int status = exit_status(rc);
    if (rc == SLC_OK && options->verify && !slc_perf_verify_good(&r->verify.counts)) {
        status = SLC_PERF_EXIT_DATA;
        slc_error_set(&error, SLC_ECORRUPT, "--verify found errors");
    }
    const char *problem = status ? error.text : NULL;
    if (problem != NULL)
        fprintf(stderr, "sluice-perf: %s\n", problem);
    if (options->json)
        slc_perf_report_json(r, problem, status, stdout);
    else if (driven)
        slc_perf_report_text(r, stdout);

    slc_error closing = {0};
    slc_err closed = slc_perf_run_close(r, &closing);
    if (closed != SLC_OK && status == 0) {
        fprintf(stderr, "sluice-perf: cleaning up: %s\n", closing.text);
        status = exit_status(closed);
    }
    slc_free(r);
    return status;
}

int main(int argc, char **argv)
{
    slc_perf_options options;
    slc_error error = {0};
    int status = 0;
    if (slc_perf_options_parse(argc, argv, &options, &error) != SLC_OK) {
        fprintf(stderr, "sluice-perf: %s\nTry sluice-perf --help.\n", error.text);
        status = SLC_PERF_EXIT_USAGE;
    } else if (options.help) {
        slc_perf_options_help(stdout);
    } else if (options.version) {
        puts("sluice-perf " SLC_VERSION);
    } else {
        signal(SIGPIPE, SIG_IGN);
        struct sigaction action = {.sa_handler = on_signal};
        sigaction(SIGINT, &action, NULL);
        sigaction(SIGTERM, &action, NULL);
        raise_descriptors();
        status = run(&options);
    }
    slc_perf_options_fini(&options);
    return status;
}
