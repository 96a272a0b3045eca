/** sluicectl: the admin CLI. Also answers to the name rabbitmqctl.
 *
 *      main ──> options + command table ──> run() of one noun ──> client (libcurl) ──> daemon
 *                                              └──> rows of cells ──> output (table, csv, json)
 *
 *  One table of commands and one of options drive parsing, help, the man page and completion. The CLI is a client of the HTTP API;
 *  there is no second protocol. Called as rabbitmqctl it prints what rabbitmqctl 3.10 prints: banners on stdout, rows unescaped,
 *  Erlang's spelling of arguments.
 *
 *  One process, one thread, one command.
 *  @spec operations 2
 */
#ifndef SLC_CTL_CTL_H
#define SLC_CTL_CTL_H

#include <jansson.h>
#include <regex.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/slice.h"
#include "base/table.h"

/** sysexits, as rabbitmqctl uses them. */
enum {
    CTL_OK = 0,
    CTL_USAGE = 64, // unknown command or column, wrong number of arguments
    CTL_DATA = 65,  // bad value, no such object
    CTL_NO_USER = 67,
    CTL_UNAVAILABLE = 69, // no daemon, unknown node
    CTL_SOFTWARE = 70,    // an answer that makes no sense
    CTL_TEMPFAIL = 75,    // timed out
    CTL_NOPERM = 77,      // the daemon refused us
    CTL_CONFIG = 78,      // the configuration is wrong
};

typedef struct slc_ctl slc_ctl;
typedef struct slc_ctl_command slc_ctl_command;

typedef enum slc_ctl_format {
    CTL_TABLE,
    CTL_PRETTY_TABLE,
    CTL_JSON,
    CTL_JSON_STREAM,
    CTL_CSV,
} slc_ctl_format;

/** Options; the bit says which a command takes besides the global ones. */
enum {
    OPT_VHOST = 1 << 0,
    OPT_IF_EMPTY = 1 << 1,
    OPT_IF_UNUSED = 1 << 2,
    OPT_GLOBAL = 1 << 3,
    OPT_LIMIT = 1 << 4,
    OPT_DELAY = 1 << 5,
    OPT_PLACE = 1 << 6,        // --online, --offline, --local, --unresponsive
    OPT_LIST = 1 << 7,         // --no-table-headers, --columns, --filter, --sort, --reverse
    OPT_CHANGE = 1 << 8,       // --dry-run
    OPT_FORMAT = 1 << 9,       // --formatter
    OPT_STORE = 1 << 10,       // --dir, --yes
    OPT_RATE = 1 << 11,        // --rate
    OPT_VHOST_DATA = 1 << 12,  // --description, --tags, --default-queue-type
    OPT_USER = 1 << 13,        // --user
    OPT_UNIT = 1 << 14,        // --unit
    OPT_ADDRESS = 1 << 15,     // --address
    OPT_POLICY = 1 << 16,      // --priority, --apply-to
    OPT_DEFINITIONS = 1 << 17, // --format
    OPT_HASHED = 1 << 18,      // --pre-hashed-password
    OPT_PLUGINS = 1 << 19,     // --minimal, --enabled
    OPT_ALL_VHOSTS = 1 << 20,  // --all-vhosts
    OPT_PID = 1 << 24,         // --pid
    OPT_NUMBER = 1 << 25,      // --number
    OPT_DURATION = 1 << 26,    // --duration
    OPT_ALL = 1 << 27,         // --all
    OPT_FAMILY = 1 << 28,      // --address-family
    OPT_SAMPLE = 1 << 29,      // --sample-interval
    OPT_CIPHERS = 1 << 30,     // --format
};

enum { CTL_FILTERS_MAX = 16 };

struct slc_ctl {
    bool alias;          // called as rabbitmqctl
    const char *program; // "sluicectl"
    int argc;            // arguments as given, for error texts
    char **argv;
    const slc_ctl_command *command;
    int arg_count;
    char **args;

    const char *socket; // --socket, SLUICECTL_SOCKET or NULL
    const char *node;   // --node, SLUICECTL_NODE, RABBITMQ_NODENAME or NULL
    const char *vhost;
    bool vhost_given;
    const char *timeout; // as given or NULL
    double timeout_s;    // < 0: none
    bool quiet, silent;
    slc_ctl_format format;
    const char *format_name;
    bool no_headers, reverse;
    const char *sort, *columns; // as given or NULL
    const char *filters[CTL_FILTERS_MAX];
    uint32_t filter_count;
    bool all_vhosts;
    bool online, offline; // which queues: --online and --local, --offline and --unresponsive
    bool if_empty, if_unused, global, dry_run;
    uint64_t limit, delay_ms;
    const char *dir; // of data; NULL: the running broker, or what the configuration says
    bool yes, socket_given;
    const char *rate;                // as given or NULL
    const char *priority, *apply_to; // as given or NULL
    const char *unit, *address;      // likewise
    const char *family, *format_of;  // likewise; --address-family, --format
    bool all;
    uint64_t pid, number, duration_s, sample_s; // 0: not given
    bool pre_hashed, minimal;
    const char *description, *tags, *default_queue_type, *user; // as given or NULL

    bool tty;          // stdout is a terminal, native: aligned columns
    char *socket_used; // for messages
};

struct slc_ctl_command {
    const char *name;
    const char *group;
    const char *arguments;  // "<queue>", for the usage line
    int min_args, max_args; // max -1: any number (columns)
    unsigned options;       // OPT_ bits
    int (*run)(slc_ctl *ctl);
    const char *summary;
    const struct slc_ctl_list *list; // for lists: its columns
};

/* ---- commands (command.c) ---- */
extern const slc_ctl_command slc_ctl_commands[];
/** `-` counts as `_`. NULL: none. */
const slc_ctl_command *slc_ctl_command_find(const char *name);
/** Parse everything; the exit code of a mistake or -1 to go on. */
int slc_ctl_parse(slc_ctl *ctl, int argc, char **argv);
/** A mistake in the call: text, usage line, 64. */
int slc_ctl_usage_error(const slc_ctl *ctl, const char *format, ...) SLC_PRINTF(2, 3);
void slc_ctl_usage_line(const slc_ctl *ctl, const slc_ctl_command *command, FILE *out);

typedef struct slc_ctl_option {
    char letter;          // 0: none
    const char *name;     // "vhost"
    const char *argument; // "<vhost>" or NULL
    unsigned bit;         // OPT_ bit; 0: every command
    const char *text;
} slc_ctl_option;
extern const slc_ctl_option slc_ctl_options[]; // ends with name NULL

/* ---- the daemon (client.c) ---- */
typedef struct slc_ctl_reply {
    long status;       // HTTP status
    json_t *body;      // NULL: none
    uint64_t messages; // header X-Sluice-Messages
    pid_t daemon_pid;  // who listens on the socket, as seen from here; 0: unknown
} slc_ctl_reply;

/** One request. Prints the reason and gives an exit code for everything that is no answer of the API: no daemon (69),
 *  timeout (75), 401 and 403 (77), 503 (69), an answer that is not JSON (70). CTL_OK: look at reply->status (2xx, 400, 404).
 *  reason: header X-Reason or NULL. */
int slc_ctl_request(slc_ctl *ctl, const char *method, const char *path, const char *reason,
                    slc_ctl_reply *reply);
/** The same with a JSON body of bytes octets. */
int slc_ctl_send(slc_ctl *ctl, const char *method, const char *path, const char *json, size_t bytes,
                 slc_ctl_reply *reply);
/** The same without a word when nobody answers or the daemon says 503: CTL_UNAVAILABLE. */
int slc_ctl_request_quietly(slc_ctl *ctl, const char *method, const char *path,
                            slc_ctl_reply *reply);
/** GET path. CTL_OK: it was a 200, and reply is to be finished; else said what is wrong. */
int slc_ctl_get(slc_ctl *ctl, const char *path, slc_ctl_reply *reply);
/** Members of an answer; "" and 0 where there is none. */
const char *slc_ctl_text_of(const json_t *object, const char *key);
uint64_t slc_ctl_number_of(const json_t *object, const char *key);
bool slc_ctl_wants_json(const slc_ctl *ctl);
/** One line. */
void slc_ctl_print_json(const json_t *value);
/** Print "Error:" and the reply's reason; returns code. */
int slc_ctl_reply_error(const slc_ctl_reply *reply, int code);
void slc_ctl_reply_fini(slc_ctl_reply *reply);
/** Percent-encode one path segment into out. */
void slc_ctl_path_segment(slc_buffer *out, const char *text);
/** A terminated path from a format in which each %s is a segment to encode. */
char *slc_ctl_path(const char *format, ...) __attribute__((format(printf, 1, 2)));
/** -n: is it the node that we talk to? CTL_OK or 69 with a text. */
int slc_ctl_check_node(slc_ctl *ctl);

/** "Error:\n<text>" on stderr; returns code. */
int slc_ctl_error(int code, const char *format, ...) SLC_PRINTF(2, 3);
/** Progress text: rabbitmqctl prints it on stdout unless -q; we on stderr, and only to a terminal. */
void slc_ctl_banner(const slc_ctl *ctl, const char *format, ...) SLC_PRINTF(2, 3);

/* ---- cells and output (output.c, erlang.c) ---- */
typedef enum slc_ctl_cell_kind {
    CELL_NONE, // nothing: empty text, JSON null
    CELL_TEXT,
    CELL_NUMBER, // text is its JSON spelling
    CELL_BOOL,
    CELL_AMQP_TABLE, // octets of a field table
    CELL_LIST,       // JSON text of an array of strings, shown as [a, b]
    CELL_TUPLE,      // an address, or {0,9,1}: a text; JSON of rabbitmqctl has a list of numbers
    CELL_OBJECT,     // JSON text of an object, as JSON the object
    CELL_JSON,       // JSON text; as JSON a string of it for rabbitmqctl, else the value
} slc_ctl_cell_kind;

typedef struct slc_ctl_cell {
    slc_ctl_cell_kind kind;
    bool boolean;
    bool owned;     // text is the cell's own memory
    slc_slice text; // or the table's content
} slc_ctl_cell;

static inline void slc_ctl_cell_fini(slc_ctl_cell *cell)
{
    if (cell->owned)
        slc_free((void *)(uintptr_t)cell->text.data);
    *cell = (slc_ctl_cell){0};
}

typedef struct slc_ctl_output {
    const slc_ctl *ctl;
    FILE *file;
    const char *const *columns;
    uint32_t column_count;
    uint64_t rows;
    bool is_whole;      // rabbitmqctl has all rows before it prints: none are an empty line
    slc_ctl_cell *kept; // pretty_table and aligned: all rows, to know the widths
    uint64_t kept_cap;
} slc_ctl_output;

/** columns is borrowed until the end. */
void slc_ctl_output_begin(slc_ctl_output *out, const slc_ctl *ctl, FILE *file,
                          const char *const *columns, uint32_t column_count);
/** cells: one per column; borrowed for the call. */
void slc_ctl_output_row(slc_ctl_output *out, const slc_ctl_cell *cells);
void slc_ctl_output_end(slc_ctl_output *out);

/** A cell as text (no escaping). alias: the way rabbitmqctl spells arguments. */
void slc_ctl_cell_text(const slc_ctl_cell *cell, bool alias, slc_buffer *out);
/** A JSON string; tab, line end and their like by their short names. */
void slc_ctl_json_string(slc_slice text, slc_buffer *out);
/** A cell as JSON. */
void slc_ctl_cell_json(const slc_ctl_cell *cell, bool alias, slc_buffer *out);
/** Arguments as Erlang prints them: strings are lists of code points, shown as text when all are printable Latin-1. */
void slc_ctl_erlang_table(slc_slice content, slc_buffer *out);
/** As [["x-max-priority","signedint",5]]. */
void slc_ctl_typed_json(slc_slice content, slc_buffer *out);
/** RFC 4648, strict; false: not base64. */
bool slc_ctl_base64_decode(slc_slice text, slc_buffer *out);

/* ---- lists (list.c) ---- */
typedef struct slc_ctl_column {
    const char *name;
    const char *
        path; // where it is in the object: "queue.name"; NULL: name; "=text": always that text; "": always empty
    bool table;            // field table, asked for as base64
    const char *from, *to; // this text is shown as that
    const char *rate_of;   // change per second of that member of the object
    const char *text;      // for help
    bool json;             // any JSON value, shown as its JSON text
    bool tuple;            // of numbers at rabbitmqctl, which shows it as a text
    bool object;           // an object, also in JSON
} slc_ctl_column;

typedef struct slc_ctl_list {
    const char *banner; // with %s for the vhost where scoped
    const char *path;   // with %s for the vhost where scoped
    bool by_vhost;
    bool of_vhost;                 // the path gives those of all vhosts: show one's
    bool timeout_banner;           // rabbitmqctl prints "Timeout: ..." for this one
    bool server_columns;           // the path takes columns=
    const char *defaults;          // "name,messages"
    const slc_ctl_column *columns; // ends with name NULL
} slc_ctl_list;

int slc_ctl_list_run(slc_ctl *ctl);
/** As slc_ctl_rows_of, with columns that say more about themselves; shown: their names, separated by commas. */
int slc_ctl_columns_of(slc_ctl *ctl, char *path, const slc_ctl_column *columns, const char *shown,
                       int not_found);
/** columns ends with name NULL. NULL: none of that name. */
const slc_ctl_column *slc_ctl_column_find(const slc_ctl_column *columns, slc_slice name);

/* ---- --filter (filter.c) ---- */
typedef enum slc_ctl_comparison {
    CTL_EQUAL,
    CTL_NOT_EQUAL,
    CTL_LESS,
    CTL_AT_MOST,
    CTL_MORE,
    CTL_AT_LEAST,
    CTL_MATCHING, // a POSIX extended regular expression, anywhere in the text
    CTL_NOT_MATCHING,
} slc_ctl_comparison;

typedef struct slc_ctl_filter {
    slc_slice name; // of the column, in the text
    const slc_ctl_column *column;
    slc_ctl_comparison comparison;
    slc_slice value;
    bool is_number;
    double number;
    regex_t regex;
} slc_ctl_filter;

/** "messages>=100"; text is borrowed. False: wrong says why, and there is nothing to fini. column is the caller's to set. */
bool slc_ctl_filter_parse(const char *text, slc_ctl_filter *out, slc_buffer *wrong);
void slc_ctl_filter_fini(slc_ctl_filter *filter);
/** Numbers are compared as such; everything else as the text that is shown (alias: as slc_ctl_cell_text). A cell that is no number is in no order. */
bool slc_ctl_filter_passes(const slc_ctl_filter *filter, const slc_ctl_cell *cell, bool alias);

/* ---- nouns ---- */
extern const slc_ctl_list slc_ctl_queues, slc_ctl_exchanges, slc_ctl_bindings, slc_ctl_connections,
    slc_ctl_channels, slc_ctl_consumers, slc_ctl_vhosts, slc_ctl_policies,
    slc_ctl_operator_policies, slc_ctl_parameters, slc_ctl_globals, slc_ctl_feature_flags;
extern const slc_ctl_list slc_ctl_certificates;
int slc_ctl_check_certificate_expiration(slc_ctl *ctl);
int slc_ctl_policy_set(slc_ctl *ctl); // and operator policies, by the command's name
int slc_ctl_policy_clear(slc_ctl *ctl);
int slc_ctl_policies_matching(slc_ctl *ctl);
int slc_ctl_parameter_set(slc_ctl *ctl);
int slc_ctl_parameter_clear(slc_ctl *ctl);
int slc_ctl_global_set(slc_ctl *ctl);
int slc_ctl_global_clear(slc_ctl *ctl);
int slc_ctl_definitions_export(slc_ctl *ctl);
int slc_ctl_definitions_import(slc_ctl *ctl);
/** JSON that an operator typed; NULL: said what is wrong (69, as rabbitmqctl). */
json_t *slc_ctl_json_argument(const char *text);
/** PUT body (stolen) or DELETE (body NULL) and say how it went. */
int slc_ctl_change(slc_ctl *ctl, char *path, json_t *body);
int slc_ctl_trace_on(slc_ctl *ctl);
int slc_ctl_trace_off(slc_ctl *ctl);
int slc_ctl_queue_purge(slc_ctl *ctl);
int slc_ctl_list_delayed(slc_ctl *ctl);
int slc_ctl_cancel_delayed(slc_ctl *ctl);
/** Sleep. */
void slc_ctl_pause_ms(uint64_t ms);
/** As slc_ctl_rows, with an exit status of its own for a 404. */
int slc_ctl_rows_of(slc_ctl *ctl, char *path, const char *const *columns, const char *const *keys,
                    uint32_t count, int not_found);
int slc_ctl_queue_delete(slc_ctl *ctl);
int slc_ctl_connection_close(slc_ctl *ctl);
int slc_ctl_connection_close_all(slc_ctl *ctl);
int slc_ctl_add_user(slc_ctl *ctl);
int slc_ctl_delete_user(slc_ctl *ctl);
int slc_ctl_change_password(slc_ctl *ctl);
int slc_ctl_clear_password(slc_ctl *ctl);
int slc_ctl_authenticate_user(slc_ctl *ctl);
int slc_ctl_set_user_tags(slc_ctl *ctl);
int slc_ctl_list_users(slc_ctl *ctl);
int slc_ctl_set_user_limits(slc_ctl *ctl);
int slc_ctl_clear_user_limits(slc_ctl *ctl);
int slc_ctl_list_user_limits(slc_ctl *ctl);
int slc_ctl_set_permissions(slc_ctl *ctl);
int slc_ctl_clear_permissions(slc_ctl *ctl);
int slc_ctl_list_permissions(slc_ctl *ctl);
int slc_ctl_list_user_permissions(slc_ctl *ctl);
int slc_ctl_set_topic_permissions(slc_ctl *ctl);
int slc_ctl_clear_topic_permissions(slc_ctl *ctl);
int slc_ctl_list_topic_permissions(slc_ctl *ctl);
int slc_ctl_list_user_topic_permissions(slc_ctl *ctl);
int slc_ctl_add_vhost(slc_ctl *ctl);
int slc_ctl_delete_vhost(slc_ctl *ctl);
int slc_ctl_update_vhost_metadata(slc_ctl *ctl);
int slc_ctl_set_vhost_limits(slc_ctl *ctl);
int slc_ctl_clear_vhost_limits(slc_ctl *ctl);
int slc_ctl_list_vhost_limits(slc_ctl *ctl);
/** A request with a JSON body (taken; NULL: none). Codes as slc_ctl_request; an answer that is no 2xx becomes an error with
 *  not_found for 404. */
int slc_ctl_apply(slc_ctl *ctl, const char *method, char *path, json_t *body, int not_found);
/** GET path (taken) and print its objects: columns are shown, keys say where they are. A 404 means that the user of the first
 *  argument, or else the vhost, is not there. */
int slc_ctl_rows(slc_ctl *ctl, char *path, const char *const *columns, const char *const *keys,
                 uint32_t count);
/** "there is no such user, vhost": texts and codes of rabbitmqctl, which has others where users are changed (changing). */
int slc_ctl_no_user(const slc_ctl *ctl, const char *name, bool changing);
int slc_ctl_no_vhost(const slc_ctl *ctl);
/** The broker's name as it gives it; the caller's to free; NULL: said what is wrong, *rc is the code. */
char *slc_ctl_node_name(slc_ctl *ctl, int *rc);
int slc_ctl_set_permissions_globally(slc_ctl *ctl);
int slc_ctl_set_vhost_tags(slc_ctl *ctl);
int slc_ctl_hash_password(slc_ctl *ctl);
int slc_ctl_connection_close_user(slc_ctl *ctl);
int slc_ctl_set_cluster_name(slc_ctl *ctl);
int slc_ctl_enable_feature_flag(slc_ctl *ctl);
/** A line for each alarm of /api/sluice/status; below it who holds most, and what can be done. */
void slc_ctl_alarms_text(const json_t *alarms, slc_buffer *out);
int slc_ctl_alarms(slc_ctl *ctl);
int slc_ctl_check_alarms(slc_ctl *ctl);
int slc_ctl_check_local_alarms(slc_ctl *ctl);
int slc_ctl_check_port_connectivity(slc_ctl *ctl);
int slc_ctl_check_port_listener(slc_ctl *ctl);
int slc_ctl_check_protocol_listener(slc_ctl *ctl);
int slc_ctl_check_running(slc_ctl *ctl);
int slc_ctl_check_virtual_hosts(slc_ctl *ctl);
int slc_ctl_is_booting(slc_ctl *ctl);
int slc_ctl_is_running(slc_ctl *ctl);
int slc_ctl_memory_breakdown(slc_ctl *ctl);
int slc_ctl_node_health_check(slc_ctl *ctl);
int slc_ctl_product_info(slc_ctl *ctl);
int slc_ctl_tls_versions(slc_ctl *ctl);
int slc_ctl_plugins_list(slc_ctl *ctl);
int slc_ctl_plugins_is_enabled(slc_ctl *ctl);
int slc_ctl_plugins_change(slc_ctl *ctl); // enable and disable
/** The arguments behind the first, and the banner that says so; what: "user". */
json_t *slc_ctl_tags(const slc_ctl *ctl, const char *what);
/** GET path (taken) and print the limits of the one in the answer, as they are set; none: the text for no limits. */
int slc_ctl_limits_line(slc_ctl *ctl, char *path, const char *none);
/** PUT each limit of the JSON object text; path has two %s, for name and limit. A key that is neither max-connections nor other is
 *  refused before anything is changed; no_object: code of a 404. */
int slc_ctl_limits_set(slc_ctl *ctl, const char *text, const char *path, const char *name,
                       const char *other, const char *what, int no_object);
/** The value as a cell: a list as [a, b], an object as JSON with sorted keys. */
slc_ctl_cell slc_ctl_json_cell(const json_t *value);
int slc_ctl_memory_limit(slc_ctl *ctl);
int slc_ctl_disk_limit(slc_ctl *ctl);
int slc_ctl_environment(slc_ctl *ctl);
int slc_ctl_status(slc_ctl *ctl);
int slc_ctl_ping(slc_ctl *ctl);
int slc_ctl_listeners(slc_ctl *ctl);
int slc_ctl_shutdown(slc_ctl *ctl);
int slc_ctl_store(slc_ctl *ctl);
int slc_ctl_backup(slc_ctl *ctl);
int slc_ctl_version(slc_ctl *ctl);
int slc_ctl_server_version(slc_ctl *ctl);
int slc_ctl_await_startup(slc_ctl *ctl);
int slc_ctl_cluster_status(slc_ctl *ctl);
int slc_ctl_config(slc_ctl *ctl); // show, diff, check
int slc_ctl_reload(slc_ctl *ctl);
int slc_ctl_log_level(slc_ctl *ctl);
int slc_ctl_log_location(slc_ctl *ctl);
int slc_ctl_log_rotate(slc_ctl *ctl);
int slc_ctl_log_tail(slc_ctl *ctl);
int slc_ctl_log_tail_stream(slc_ctl *ctl);
int slc_ctl_wait(slc_ctl *ctl);
int slc_ctl_arguments(slc_ctl *ctl);
int slc_ctl_cipher_suites(slc_ctl *ctl);
int slc_ctl_directories(slc_ctl *ctl);
int slc_ctl_interfaces(slc_ctl *ctl);
int slc_ctl_listeners_change(slc_ctl *ctl); // suspend_listeners, resume_listeners
int slc_ctl_os_env(slc_ctl *ctl);
int slc_ctl_resolve(slc_ctl *ctl);
int slc_ctl_thread_stats(slc_ctl *ctl);
int slc_ctl_eval(slc_ctl *ctl);
int slc_ctl_refuse(slc_ctl *ctl); // what cannot be done here: why, 69
int slc_ctl_restart_vhost(slc_ctl *ctl);
int slc_ctl_report(slc_ctl *ctl);
/** Parts of status: a heading, and alarms or (none). */
void slc_ctl_heading(const slc_ctl *ctl, const char *text);
void slc_ctl_print_alarms(const json_t *alarms);
/** The program sluiced that belongs to this sluicectl; path is room for its name. */
const char *slc_ctl_daemon_path(char *path, size_t cap);
/** That program cannot be started: said, 69. */
int slc_ctl_daemon_missing(const char *program);
int slc_ctl_help(slc_ctl *ctl);
int slc_ctl_man(slc_ctl *ctl);      // hidden __man
int slc_ctl_complete(slc_ctl *ctl); // hidden __complete WORDS
int slc_ctl_help_command(const slc_ctl *ctl, const slc_ctl_command *command);
int slc_ctl_help_all(const slc_ctl *ctl, FILE *out);

#endif
