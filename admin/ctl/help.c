// help, the man page and shell completion, all from the tables.
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "ctl.h"

// Groups are shown in the order in which the table comes to them.
static bool group_begins(const slc_ctl_command *command)
{
    for (const slc_ctl_command *c = slc_ctl_commands; c != command; c++) {
        if (c->group != NULL && command->group != NULL && strcmp(c->group, command->group) == 0)
            return false;
    }
    return command->group != NULL;
}

static void group_each(const char *group, void (*each)(const slc_ctl_command *command, FILE *out),
                       FILE *out)
{
    for (const slc_ctl_command *c = slc_ctl_commands; c->name != NULL; c++) {
        if (c->group != NULL && strcmp(c->group, group) == 0)
            each(c, out);
    }
}

static void command_line(const slc_ctl_command *c, FILE *out)
{
    fprintf(out, "   %-28s %s\n", c->name, c->summary);
}

static void option_line(const slc_ctl_option *o, FILE *out)
{
    char letter[8] = "    ";
    char name[64];
    if (o->letter != 0)
        snprintf(letter, sizeof letter, "-%c, ", o->letter);
    snprintf(name, sizeof name, "--%s%s%s", o->name, o->argument != NULL ? " " : "",
             o->argument != NULL ? o->argument : "");
    fprintf(out, "  %s%-28s %s\n", letter, name, o->text);
}

static void global_options(FILE *out)
{
    for (const slc_ctl_option *o = slc_ctl_options; o->name != NULL; o++) {
        if (o->bit == 0)
            option_line(o, out);
    }
}

int slc_ctl_help_all(const slc_ctl *ctl, FILE *out)
{
    fprintf(out, "\nUsage\n\n%s [<options>] <command> [<arguments>]\n\nAvailable commands:\n",
            ctl->program);
    for (const slc_ctl_command *c = slc_ctl_commands; c->name != NULL; c++) {
        if (group_begins(c)) {
            fprintf(out, "\n%s:\n\n", c->group);
            group_each(c->group, command_line, out);
        }
    }
    fprintf(out, "\nGeneral options:\n\n");
    global_options(out);
    fprintf(out, "\nUse '%s help <command>' to learn more about a specific command\n",
            ctl->program);
    return CTL_OK;
}

int slc_ctl_help_command(const slc_ctl *ctl, const slc_ctl_command *command)
{
    printf("\nUsage\n\n");
    slc_ctl_usage_line(ctl, command, stdout);
    if (command->summary != NULL)
        printf("\n%s.\n", command->summary);
    if (command->list != NULL) {
        printf("\nColumns (default: %s):\n\n", command->list->defaults);
        for (const slc_ctl_column *c = command->list->columns; c->name != NULL; c++)
            printf("  %-30s %s\n", c->name, c->text);
    }
    printf("\nOptions:\n\n");
    for (const slc_ctl_option *o = slc_ctl_options; o->name != NULL; o++) {
        if (o->bit != 0 && (o->bit & command->options) != 0)
            option_line(o, stdout);
    }
    global_options(stdout);
    putchar('\n');
    return CTL_OK;
}

int slc_ctl_help(slc_ctl *ctl)
{
    if (ctl->arg_count == 0)
        return slc_ctl_help_all(ctl, stdout);
    const slc_ctl_command *command = slc_ctl_command_find(ctl->args[0]);
    if (command == NULL || command->group == NULL)
        return slc_ctl_usage_error(ctl, "Command '%s' not found", ctl->args[0]);
    return slc_ctl_help_command(ctl, command);
}

/* ---- the man page ---- */

// Text for roff: a dash is a minus in options, a leading dot or quote would be a request.
static void roff(const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '-')
            fputs("\\-", stdout);
        else if (*text == '\\')
            fputs("\\e", stdout);
        else
            putchar(*text);
    }
}

static void roff_option(const slc_ctl_option *o)
{
    printf(".TP\n");
    if (o->letter != 0)
        printf(".BR \\-%c \", \" \\-\\-", o->letter);
    else
        printf(".B \\-\\-");
    roff(o->name);
    if (o->argument != NULL && o->letter != 0)
        printf(" \" \\fI%.*s\\fR\"", (int)strlen(o->argument) - 2, o->argument + 1);
    else if (o->argument != NULL)
        printf(" \\fI%.*s\\fR", (int)strlen(o->argument) - 2, o->argument + 1);
    putchar('\n');
    roff(o->text);
    puts(".");
}

static void roff_command(const slc_ctl_command *c, FILE *out)
{
    (void)out; // the page is standard output
    printf(".TP\n.B %s", c->name);
    for (const slc_ctl_option *o = slc_ctl_options; o->name != NULL; o++) {
        if (o->bit != 0 && (o->bit & c->options) != 0 && (o->bit & (OPT_LIST | OPT_FORMAT)) == 0) {
            printf(" \\fR[\\fB\\-\\-");
            roff(o->name);
            if (o->argument != NULL)
                printf(" \\fI%.*s", (int)strlen(o->argument) - 2, o->argument + 1);
            printf("\\fR]\\fB");
        }
    }
    if (c->arguments[0] != '\0') {
        printf(" \\fR");
        roff(c->arguments);
    }
    putchar('\n');
    roff(c->summary);
    puts(".");
    if (c->list == NULL)
        return;
    printf(".RS\n.PP\nColumns (default \\fI");
    for (const char *d = c->list->defaults; *d != '\0'; d++)
        fputs(*d == ',' ? " " : (char[]){*d, '\0'}, stdout);
    printf("\\fR):\n");
    for (const slc_ctl_column *column = c->list->columns; column->name != NULL; column++) {
        printf(".IP \\fB%s\\fR 4\n", column->name);
        roff(column->text);
        puts(".");
    }
    printf(".RE\n");
}

int slc_ctl_man(slc_ctl *ctl)
{
    (void)ctl;
    puts(".\\\" Made by `sluicectl __man` from the tables of commands and options; do not edit.\n"
         ".TH SLUICECTL 1 \"\" \"Sluice " SLC_VERSION "\" \"Sluice manual\"\n"
         ".SH NAME\nsluicectl \\- administer a Sluice message broker\n"
         ".SH SYNOPSIS\n.B sluicectl\n[\\fIoptions\\fR] \\fIcommand\\fR [\\fIarguments\\fR]\n"
         ".SH DESCRIPTION\n"
         ".B sluicectl\ntalks to a running\n.BR sluiced (8)\n"
         "over its admin socket. Root, the user that the broker runs as, and members of its socket "
         "group may use it.\n"
         ".PP\nOptions may stand anywhere;\n.B \\-\\-\nends them. In the name of a command\n.B "
         "\\-\ncounts as\n.BR _ .\n"
         ".PP\nLists print a header row and one row for each object, separated by tabs; tabs, line "
         "ends and backslashes in values\n"
         "are escaped. On a terminal the columns are aligned. An empty list prints nothing. "
         "Columns to show are given as\n"
         "arguments, separated by spaces or commas.\n"
         ".PP\nCalled by the name\n.B rabbitmqctl\nit prints what that program prints: banners on "
         "standard output, values unescaped, and\n"
         "arguments in its notation.\n"
         ".SH OPTIONS");
    for (const slc_ctl_option *o = slc_ctl_options; o->name != NULL; o++)
        roff_option(o);
    puts(".SH COMMANDS");
    for (const slc_ctl_command *c = slc_ctl_commands; c->name != NULL; c++) {
        if (group_begins(c)) {
            printf(".SS %s\n", c->group);
            group_each(c->group, roff_command, stdout);
        }
    }
    puts(
        ".SH EXIT STATUS\n"
        ".TP\n.B 0\nDone; also a list without rows.\n"
        ".TP\n.B 64\nUnknown command, option or column, wrong number of arguments; a queue to "
        "delete that does not exist or does not\n"
        "meet the conditions.\n"
        ".TP\n.B 65\nNo such virtual host, queue or connection; no store there, or it is damaged.\n"
        ".TP\n.B 69\nNo broker answers at the socket, it is another node, or it is stopping.\n"
        ".TP\n.B 70\nInternal error.\n"
        ".TP\n.B 73\nThe store is in use by a running broker, or there is no room for its copy; no "
        "backup was made.\n"
        ".TP\n.B 74\nThe disk cannot be read or written.\n"
        ".TP\n.B 75\nTimed out; a backup is running already.\n"
        ".TP\n.B 77\nThe caller may not administer the broker, or read its files.\n"
        ".TP\n.B 78\nThe configuration of sluiced is wrong, or the store is one of another "
        "version.\n"
        ".TP\n.BR 130 \", \" 143\nA backup was interrupted, and removed.\n"
        ".SH ENVIRONMENT\n"
        ".TP\n.B SLUICECTL_SOCKET\nThe admin socket.\n"
        ".TP\n.BR SLUICECTL_NODE \", \" RABBITMQ_NODENAME\nAs\n.BR \\-\\-node .\n"
        ".TP\n.B SLUICECTL_SLUICED\nThe program that works on stores; by default the\n.B "
        "sluiced\nof the same "
        "installation.\n"
        ".TP\n.B NO_COLOR\nNo bold header on a terminal.\n"
        ".SH FILES\n"
        ".TP\n.I /run/sluice/admin.sock\nThe admin socket.\n"
        ".TP\n.I /var/lib/sluice/admin.sock\nThe same, when the broker may not write /run/sluice.\n"
        ".SH EXAMPLES\n.nf\n"
        "sluicectl list_queues name messages consumers\n"
        "sluicectl \\-q list_queues \\-\\-formatter json name arguments\n"
        "sluicectl list_queues \\-\\-sort messages \\-\\-reverse\n"
        "sluicectl backup /var/backups/sluice/monday\n"
        "sluicectl store check \\-\\-dir /var/backups/sluice\n"
        "sluicectl close_all_connections \\-\\-global \\(dqmaintenance\\(dq\n"
        ".fi\n"
        ".SH SEE ALSO\n.BR sluiced (8),\n.BR sluice.conf (5),\n.BR sluice\\-perf (1)");
    return CTL_OK;
}

/* ---- completion: `sluicectl __complete WORD...`; the last word is the one being typed ---- */

static void offer(const char *word, const char *prefix, const char *text)
{
    if (strncmp(text, word, strlen(word)) == 0)
        printf("%s%s\n", prefix, text);
}

// Names from the broker, when it answers at once.
static void offer_names(slc_ctl *ctl, const char *word, const char *path, const char *key)
{
    slc_ctl_reply reply;
    ctl->timeout_s = 0.3;
    if (slc_ctl_request_quietly(ctl, "GET", path, &reply) != CTL_OK)
        return;
    size_t i;
    json_t *item;
    json_array_foreach(reply.body, i, item)
    {
        const char *name = json_string_value(json_object_get(item, key));
        if (name != NULL)
            offer(word, "", name);
    }
    slc_ctl_reply_fini(&reply);
}

static void offer_options(const slc_ctl_command *command, const char *word)
{
    for (const slc_ctl_option *o = slc_ctl_options; o->name != NULL; o++) {
        char name[64];
        snprintf(name, sizeof name, "--%s", o->name);
        if (o->bit == 0 || (command != NULL && (o->bit & command->options) != 0))
            offer(word, "", name);
    }
}

static void offer_columns(const slc_ctl_command *command, const char *word)
{
    for (const slc_ctl_column *c = command->list->columns; c->name != NULL; c++)
        offer(word, "", c->name);
}

static bool takes_columns(const char *option)
{
    return strcmp(option, "--sort") == 0 || strcmp(option, "--columns") == 0 ||
           strcmp(option, "--filter") == 0;
}

static void offer_arguments(slc_ctl *ctl, const slc_ctl_command *command, const char *vhost,
                            const char *word)
{
    if (command->list != NULL) {
        offer_columns(command, word);
    } else if (command->run == slc_ctl_queue_purge || command->run == slc_ctl_queue_delete) {
        char *path = slc_ctl_path("/api/queues/%s?columns=name", vhost);
        offer_names(ctl, word, path, "name");
        slc_free(path);
    } else if (command->run == slc_ctl_store) {
        static const char *const actions[] = {"stat", "check", "compact", "salvage"};
        for (size_t i = 0; i < SLC_ARRAY_COUNT(actions); i++)
            offer(word, "", actions[i]);
    } else if (command->run == slc_ctl_connection_close) {
        offer_names(ctl, word, "/api/connections?columns=pid", "pid");
    }
}

static void offer_commands(const char *word)
{
    for (const slc_ctl_command *c = slc_ctl_commands; c->name != NULL; c++) {
        if (c->group != NULL)
            offer(word, "", c->name);
    }
}

int slc_ctl_complete(slc_ctl *ctl)
{
    if (ctl->arg_count == 0)
        return CTL_OK;
    const char *word = ctl->args[ctl->arg_count - 1];
    const char *before = ctl->arg_count > 1 ? ctl->args[ctl->arg_count - 2] : "";
    const char *vhost = "/";
    const slc_ctl_command *command = NULL;
    for (int i = 0; i + 1 < ctl->arg_count; i++) {
        const char *w = ctl->args[i];
        bool value = i > 0 && (strcmp(ctl->args[i - 1], "-p") == 0 ||
                               strcmp(ctl->args[i - 1], "--vhost") == 0);
        if (value)
            vhost = w;
        else if (i > 0 && strcmp(ctl->args[i - 1], "--socket") == 0)
            ctl->socket = w;
        else if (command == NULL && w[0] != '-')
            command = slc_ctl_command_find(w);
    }
    if (strcmp(before, "-p") == 0 || strcmp(before, "--vhost") == 0) {
        offer_names(ctl, word, "/api/vhosts", "name");
    } else if (strcmp(before, "--formatter") == 0) {
        static const char *const formats[] = {"table", "pretty_table", "csv", "json",
                                              "json_stream"};
        for (size_t i = 0; i < SLC_ARRAY_COUNT(formats); i++)
            offer(word, "", formats[i]);
    } else if (takes_columns(before) && command != NULL && command->list != NULL) {
        offer_columns(command, word);
    } else if (word[0] == '-') {
        offer_options(command, word);
    } else if (command == NULL || command->run == slc_ctl_help) {
        offer_commands(word);
    } else {
        offer_arguments(ctl, command, vhost, word);
    }
    return CTL_OK;
}
