// sluicectl, also called rabbitmqctl, rabbitmq-diagnostics, rabbitmq-queues and rabbitmq-plugins.
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "ctl.h"

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

static const char *environment(const char *name)
{
    const char *value = getenv(name);
    return value != NULL && value[0] != '\0' ? value : NULL;
}

static bool is_local(const slc_ctl_command *command)
{
    return command->run == slc_ctl_help || command->run == slc_ctl_version ||
           command->run == slc_ctl_man || command->run == slc_ctl_complete ||
           command->run == slc_ctl_await_startup || command->run == slc_ctl_store ||
           command->run == slc_ctl_wait || command->run == slc_ctl_refuse ||
           command->run == slc_ctl_config || command->run == slc_ctl_hash_password ||
           command->run == slc_ctl_plugins_list || command->run == slc_ctl_plugins_is_enabled ||
           command->run == slc_ctl_plugins_change;
}

int main(int argc, char **argv)
{
    setlocale(LC_CTYPE, "");
    signal(SIGPIPE, SIG_DFL); // `sluicectl list_queues | head` ends quietly

    slc_ctl ctl = {.vhost = "/", .timeout_s = 60};
    ctl.program = argc > 0 ? base_name(argv[0]) : "sluicectl";
    static const char *const aliases[] = {"rabbitmqctl", "rabbitmq-diagnostics", "rabbitmq-queues",
                                          "rabbitmq-plugins"};
    for (size_t i = 0; i < SLC_ARRAY_COUNT(aliases); i++)
        ctl.alias |= strcmp(ctl.program, aliases[i]) == 0;
    ctl.socket = environment("SLUICECTL_SOCKET");
    ctl.node = environment("SLUICECTL_NODE");
    if (ctl.node == NULL)
        ctl.node = environment("RABBITMQ_NODENAME");
    ctl.tty = !ctl.alias && isatty(STDOUT_FILENO);

    int rc = slc_ctl_parse(&ctl, argc, argv);
    if (rc < 0 && ctl.timeout_s == 0)
        rc = slc_ctl_error(CTL_TEMPFAIL, "operation %s timed out. Timeout value used: 0",
                           ctl.command->name);
    if (rc < 0 && !is_local(ctl.command)) {
        rc = slc_ctl_check_node(&ctl);
        if (rc == CTL_OK)
            rc = -1;
    }
    if (rc < 0)
        rc = ctl.command->run(&ctl);
    slc_free(ctl.args);
    if (fflush(stdout) != 0 && rc == CTL_OK)
        rc = slc_ctl_error(CTL_SOFTWARE, "writing the output failed");
    return rc;
}
