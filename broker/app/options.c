#include "app/options.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/store_tool.h"
#include "base/alloc.h"

enum { EXIT_USAGE_ERROR = 64, EXIT_CANNOT_CREATE = 73 };

struct slc_options {
    int argc;
    char **argv;
    const char *config, *data_dir, *pid_file;
    const char **set;
    uint32_t set_count;
    bool check, print_config;
    slc_store_action store;
    const char *restore;
    bool yes, quiet;
};

static const char usage[] =
    "Usage: sluiced [options]\n"
    "\n"
    "The Sluice message broker. It stays in the foreground; SIGTERM or SIGINT stop it in order, "
    "SIGHUP reloads the\n"
    "configuration, SIGUSR1 reopens the log file, SIGUSR2 writes the state to the log.\n"
    "\n"
    "  -c, --config FILE      read this configuration (default: " SLC_SETTINGS_FILE
    " when it exists)\n"
    "  -s, --set KEY=VALUE    set one key, over the file and the environment; may be repeated\n"
    "  -d, --data-dir DIR     keep the data there (node.data_dir)\n"
    "      --pid-file FILE    write the process id there\n"
    "      --check            check the configuration and the files it names, touch no data; exit "
    "status 0 or 78\n"
    "      --print-config     print the configuration in effect, with defaults, secrets masked\n"
    "      --print-sample     print a configuration file with every key as a comment\n"
    "      --store ACTION     with the store of a broker that is stopped, or a copy of one: stat, "
    "check, compact, salvage\n"
    "      --compact          the same as --store compact\n"
    "      --restore DIR      begin with the backup in DIR (sluicectl backup); the data directory "
    "must be "
    "empty\n"
    "      --yes              salvage without asking\n"
    "      --quiet            no progress on the terminal while the store is worked on\n"
    "  -V, --version          print the version\n"
    "  -h, --help             print this\n"
    "\n"
    "Keys: sluice.conf(5). Exit status: 0, 64 usage, 65 damaged store or backup, 73 data "
    "directory, "
    "74 disk error, 75 address in use, 77 no permission, 78 configuration.\n";

enum {
    OPT_PID_FILE = 256,
    OPT_CHECK,
    OPT_PRINT_CONFIG,
    OPT_PRINT_SAMPLE,
    OPT_PRINT_MAN,
    OPT_STORE,
    OPT_COMPACT,
    OPT_RESTORE,
    OPT_YES,
    OPT_QUIET
};

static const struct option long_options[] = {
    {"config", required_argument, NULL, 'c'},
    {"set", required_argument, NULL, 's'},
    {"data-dir", required_argument, NULL, 'd'},
    {"pid-file", required_argument, NULL, OPT_PID_FILE},
    {"check", no_argument, NULL, OPT_CHECK},
    {"print-config", no_argument, NULL, OPT_PRINT_CONFIG},
    {"print-sample", no_argument, NULL, OPT_PRINT_SAMPLE},
    {"print-man", no_argument, NULL, OPT_PRINT_MAN},
    {"store", required_argument, NULL, OPT_STORE},
    {"compact", no_argument, NULL, OPT_COMPACT},
    {"restore", required_argument, NULL, OPT_RESTORE},
    {"yes", no_argument, NULL, OPT_YES},
    {"quiet", no_argument, NULL, OPT_QUIET},
    {"version", no_argument, NULL, 'V'},
    {"help", no_argument, NULL, 'h'},
    {0},
};

static int options_end(slc_options *o, int status)
{
    slc_options_free(o);
    return status;
}

int slc_options_parse(int argc, char **argv, slc_options **out)
{
    slc_options *o = slc_alloc_zero(1, sizeof *o);
    *out = NULL;
    o->set = slc_alloc_zero((size_t)argc, sizeof *o->set);
    o->argc = argc;
    o->argv = argv;
    int option;
    while ((option = getopt_long(argc, argv, "c:s:d:Vh", long_options, NULL)) != -1) {
        switch (option) {
        case 'c':
            o->config = optarg;
            break;
        case 's':
            o->set[o->set_count++] = optarg;
            break;
        case 'd':
            o->data_dir = optarg;
            break;
        case OPT_PID_FILE:
            o->pid_file = optarg;
            break;
        case OPT_CHECK:
            o->check = true;
            break;
        case OPT_PRINT_CONFIG:
            o->print_config = true;
            break;
        case OPT_PRINT_SAMPLE:
            slc_settings_sample(stdout);
            return options_end(o, 0);
        case OPT_PRINT_MAN:
            slc_settings_man(stdout);
            return options_end(o, 0);
        case OPT_STORE:
            o->store = slc_store_action_of(optarg);
            if (o->store == SLC_STORE_ACTION_NONE) {
                fprintf(stderr,
                        "sluiced: --store knows stat, check, compact and salvage, not '%s'\n",
                        optarg);
                return options_end(o, EXIT_USAGE_ERROR);
            }
            break;
        case OPT_COMPACT:
            o->store = SLC_STORE_ACTION_COMPACT;
            break;
        case OPT_RESTORE:
            o->restore = optarg;
            break;
        case OPT_YES:
            o->yes = true;
            break;
        case OPT_QUIET:
            o->quiet = true;
            break;
        case 'V':
            puts("sluiced " SLC_VERSION);
            return options_end(o, 0);
        case 'h':
            fputs(usage, stdout);
            return options_end(o, 0);
        default: // getopt_long has said what is wrong
            fputs("Try 'sluiced --help'.\n", stderr);
            return options_end(o, EXIT_USAGE_ERROR);
        }
    }
    if (optind < argc) {
        fprintf(stderr, "sluiced: unexpected argument '%s'\nTry 'sluiced --help'.\n", argv[optind]);
        return options_end(o, EXIT_USAGE_ERROR);
    }
    if ((o->yes || o->quiet) && o->store == SLC_STORE_ACTION_NONE) {
        fputs("sluiced: --yes and --quiet go with --store only\n", stderr);
        return options_end(o, EXIT_USAGE_ERROR);
    }
    *out = o;
    return 0;
}

bool slc_options_store(const slc_options *options, const slc_settings *settings, int *status)
{
    const char *dir = options->data_dir;
    if (options->store == SLC_STORE_ACTION_NONE || (settings == NULL && dir == NULL))
        return false;
    if (dir == NULL)
        dir = settings->data_dir;
    *status = slc_store_tool_run(options->store, dir, options->yes, options->quiet);
    return true;
}

const char *slc_options_restore(const slc_options *options)
{
    return options->restore;
}

void slc_options_sources(const slc_options *options, slc_settings_sources *out)
{
    *out = (slc_settings_sources){
        .file = options->config,
        .set = options->set,
        .set_count = options->set_count,
        .data_dir = options->data_dir,
        .environment = environ,
    };
}

bool slc_options_check(const slc_options *options)
{
    return options->check;
}

bool slc_options_settle(const slc_options *options, const slc_settings *settings, int *status)
{
    if (options->print_config) {
        slc_settings_print(settings, stdout);
        *status = 0;
        return true;
    }
    if (options->pid_file == NULL)
        return false;
    FILE *out = fopen(options->pid_file, "we");
    if (out != NULL)
        fprintf(out, "%ld\n", (long)getpid());
    if (out == NULL || fclose(out) != 0) {
        fprintf(stderr, "sluiced: error: cannot write the pid file %s\n", options->pid_file);
        *status = EXIT_CANNOT_CREATE;
        return true;
    }
    return false;
}

// Where the KEY=VALUE of --set begins in a word; SIZE_MAX: it has none. follows: the word before was the option.
static size_t assignment_at(const char *word, bool follows)
{
    const char *equals = strchr(word, '=');
    if (follows)
        return 0;
    if (strncmp(word, "--se", 4) == 0 && equals != NULL)
        return (size_t)(equals - word) + 1;
    return strncmp(word, "-s", 2) == 0 ? 2 : SIZE_MAX;
}

void slc_options_each(const slc_options *options, void (*each)(const char *text, void *arg),
                      void *arg)
{
    bool follows = false;
    for (int i = 0; i < options->argc; i++) {
        const char *word = options->argv[i];
        char shown[8192];
        size_t at = i > 0 ? assignment_at(word, follows) : SIZE_MAX;
        if (at != SIZE_MAX) {
            snprintf(shown, sizeof shown, "%.*s", (int)at, word);
            slc_settings_masked(word + at, shown + at, sizeof shown - at);
        }
        each(at != SIZE_MAX ? shown : word, arg);
        follows =
            i > 0 && !follows &&
            (strcmp(word, "-s") == 0 || strcmp(word, "--set") == 0 || strcmp(word, "--se") == 0);
    }
}

void slc_options_free(slc_options *options)
{
    if (options == NULL)
        return;
    slc_free(options->set);
    slc_free(options);
}
