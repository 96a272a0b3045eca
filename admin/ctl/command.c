// The tables of commands and options, and the parser that reads both.
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "ctl.h"

#define LIST      OPT_LIST | OPT_FORMAT
#define OF_VHOSTS OPT_VHOST | OPT_ALL_VHOSTS

const slc_ctl_command slc_ctl_commands[] = {
    {"help", "Help", "[<command>]", 0, 1, 0, slc_ctl_help,
     "Displays usage information for a command", NULL},
    {"version", "Help", "", 0, 0, 0, slc_ctl_version, "Displays the version of this tool", NULL},

    {"await_startup", "Nodes", "", 0, 0, 0, slc_ctl_await_startup,
     "Waits until the broker accepts connections", NULL},
    {"check_running", "Nodes", "", 0, 0, OPT_FORMAT, slc_ctl_check_running,
     "Checks that the broker runs and serves", NULL},
    {"enable_feature_flag", "Nodes", "all|<name>", 1, 1, OPT_CHANGE, slc_ctl_enable_feature_flag,
     "Does nothing: every feature flag that is known is on", NULL},
    {"is_booting", "Nodes", "", 0, 0, OPT_FORMAT, slc_ctl_is_booting,
     "Displays whether the broker is starting", NULL},
    {"is_running", "Nodes", "", 0, 0, OPT_FORMAT, slc_ctl_is_running,
     "Displays whether the broker runs", NULL},
    {"list_feature_flags", "Nodes", "[<column>...]", 0, -1, LIST, slc_ctl_list_run,
     "Lists feature flags, for tools that ask for them", &slc_ctl_feature_flags},
    {"product_info", "Nodes", "", 0, 0, OPT_FORMAT, slc_ctl_product_info,
     "Displays name and version of the broker", NULL},
    {"set_cluster_name", "Nodes", "<name>", 1, 1, OPT_CHANGE, slc_ctl_set_cluster_name,
     "Sets the name that tools and clients show", NULL},
    {"ping", "Nodes", "", 0, 0, 0, slc_ctl_ping, "Checks that the broker answers", NULL},
    {"server_version", "Nodes", "", 0, 0, 0, slc_ctl_server_version,
     "Displays the version of the broker", NULL},
    {"shutdown", "Nodes", "", 0, 0, OPT_CHANGE, slc_ctl_shutdown,
     "Stops the broker in order and waits until its process has ended", NULL},
    {"status", "Nodes", "", 0, 0, OPT_FORMAT, slc_ctl_status, "Displays the state of the broker",
     NULL},
    {"stop", "Nodes", "[<pidfile>]", 0, 1, OPT_CHANGE, slc_ctl_shutdown,
     "Stops the broker in order and waits until its process (or the one in <pidfile>) has ended",
     NULL},
    {"listeners", "Nodes", "", 0, 0, OPT_FORMAT, slc_ctl_listeners,
     "Displays the addresses on which the broker listens", NULL},

    {"cluster_status", "Nodes", "", 0, 0, OPT_FORMAT, slc_ctl_cluster_status,
     "Displays the nodes of the cluster, their versions, alarms and listeners", NULL},
    {"config", "Nodes", "show|diff|check [<file>]", 1, 2, OPT_FORMAT, slc_ctl_config,
     "Displays the configuration in force with where each value comes from (show), or what of it "
     "differs from the defaults (diff), secrets masked; says whether the configuration as it is "
     "written now, or <file>, can be used, and what would change (check)",
     NULL},
    {"reload", "Nodes", "", 0, 0, OPT_FORMAT | OPT_CHANGE, slc_ctl_reload,
     "Reads configuration and certificates again. All of it is used, as far as it needs no "
     "restart, "
     "or when something is wrong none",
     NULL},
    {"resume_listeners", "Nodes", "", 0, 0, OPT_CHANGE, slc_ctl_listeners_change,
     "Takes connections of clients again", NULL},
    {"suspend_listeners", "Nodes", "", 0, 0, OPT_CHANGE, slc_ctl_listeners_change,
     "Takes no more connections of clients until resume_listeners or the next start; those that "
     "are "
     "open stay",
     NULL},
    {"wait", "Nodes", "[<pidfile>]", 0, 1, OPT_PID, slc_ctl_wait,
     "Waits until the broker accepts connections, as long as the process of <pidfile> or --pid "
     "runs",
     NULL},

    {"log_location", "Logs", "", 0, 0, OPT_ALL | OPT_FORMAT, slc_ctl_log_location,
     "Displays where the log is written", NULL},
    {"log_tail", "Logs", "", 0, 0, OPT_NUMBER, slc_ctl_log_tail,
     "Displays the last lines of the log, as many of them as the broker remembers since its start "
     "(256 KiB)",
     NULL},
    {"log_tail_stream", "Logs", "", 0, 0, OPT_DURATION, slc_ctl_log_tail_stream,
     "Displays lines of the log as they are written", NULL},
    {"rotate_logs", "Logs", "", 0, 0, OPT_CHANGE, slc_ctl_log_rotate,
     "Opens the log file anew, after something else has renamed it", NULL},
    {"set_log_level", "Logs", "<level>", 1, 1, OPT_CHANGE, slc_ctl_log_level,
     "Sets the level of console, file and exchange: debug, info, notice, warning, error, critical "
     "or "
     "none, until the next reload or start",
     NULL},

    {"cipher_suites", "Machine", "", 0, 0, OPT_CIPHERS | OPT_FORMAT, slc_ctl_cipher_suites,
     "Displays the cipher suites that listeners of AMQP over TLS offer, or would offer", NULL},
    {"command_line_arguments", "Machine", "", 0, 0, OPT_FORMAT, slc_ctl_arguments,
     "Displays the command line of the broker, secrets masked", NULL},
    {"directories", "Machine", "", 0, 0, 0, slc_ctl_directories,
     "Displays directories and files of the broker", NULL},
    {"list_network_interfaces", "Machine", "", 0, 0, OPT_FORMAT, slc_ctl_interfaces,
     "Displays the network interfaces that the broker sees", NULL},
    {"os_env", "Machine", "", 0, 0, OPT_FORMAT, slc_ctl_os_env,
     "Displays the environment variables that configure the broker, secrets masked", NULL},
    {"resolve_hostname", "Machine", "<hostname>", 1, 1, OPT_FAMILY | OPT_FORMAT, slc_ctl_resolve,
     "Resolves a host name as the broker does", NULL},
    {"runtime_thread_stats", "Machine", "", 0, 0, OPT_SAMPLE | OPT_FORMAT, slc_ctl_thread_stats,
     "Displays in percent how busy each thread of the broker is", NULL},
    {"report", "Machine", "", 0, 0, 0, slc_ctl_report,
     "Displays all that helps to find a problem: status, configuration, lists of every virtual "
     "host, "
     "limits, log. It has no messages and no secrets",
     NULL},

    {"certificates", "Nodes", "[<column>...]", 0, -1, LIST, slc_ctl_list_run,
     "Lists the certificates of all listeners, AMQP over TLS and HTTPS", &slc_ctl_certificates},
    {"check_certificate_expiration", "Nodes", "<number> <unit>", 2, 2, 0,
     slc_ctl_check_certificate_expiration,
     "Checks that no certificate of a listener, AMQP over TLS or HTTPS, ends within this many "
     "days, "
     "weeks, months or years",
     NULL},

    {"alarms", "Checks", "", 0, 0, OPT_FORMAT, slc_ctl_alarms, "Displays alarms that are in effect",
     NULL},
    {"check_alarms", "Checks", "", 0, 0, OPT_FORMAT, slc_ctl_check_alarms,
     "Checks that no alarm is in effect", NULL},
    {"check_local_alarms", "Checks", "", 0, 0, OPT_FORMAT, slc_ctl_check_local_alarms,
     "Checks that no alarm is in effect on this node", NULL},
    {"check_port_connectivity", "Checks", "", 0, 0, OPT_FORMAT | OPT_ADDRESS,
     slc_ctl_check_port_connectivity,
     "Checks that every port of the broker takes a TCP connection from here", NULL},
    {"check_port_listener", "Checks", "<port>", 1, 1, OPT_FORMAT, slc_ctl_check_port_listener,
     "Checks that the broker listens on a port", NULL},
    {"check_protocol_listener", "Checks", "<protocol>", 1, 1, OPT_FORMAT,
     slc_ctl_check_protocol_listener, "Checks that the broker listens for a protocol", NULL},
    {"check_virtual_hosts", "Checks", "", 0, 0, OPT_FORMAT, slc_ctl_check_virtual_hosts,
     "Checks that all virtual hosts are up", NULL},
    {"memory_breakdown", "Checks", "", 0, 0, OPT_FORMAT | OPT_UNIT, slc_ctl_memory_breakdown,
     "Displays what the memory is used for", NULL},
    {"node_health_check", "Checks", "", 0, 0, OPT_FORMAT, slc_ctl_node_health_check,
     "Checks that the broker answers and has no alarm; the old name of check_alarms", NULL},
    {"tls_versions", "Checks", "", 0, 0, OPT_FORMAT, slc_ctl_tls_versions,
     "Displays the versions of TLS that can be spoken", NULL},

    {"list_bindings", "Lists", "[<column>...]", 0, -1, OF_VHOSTS | LIST, slc_ctl_list_run,
     "Lists bindings of a virtual host", &slc_ctl_bindings},
    {"list_channels", "Lists", "[<column>...]", 0, -1, LIST, slc_ctl_list_run, "Lists channels",
     &slc_ctl_channels},
    {"list_connections", "Lists", "[<column>...]", 0, -1, LIST, slc_ctl_list_run,
     "Lists connections of clients", &slc_ctl_connections},
    {"list_consumers", "Lists", "[<column>...]", 0, -1, OF_VHOSTS | LIST, slc_ctl_list_run,
     "Lists consumers of a virtual host", &slc_ctl_consumers},
    {"list_exchanges", "Lists", "[<column>...]", 0, -1, OF_VHOSTS | LIST, slc_ctl_list_run,
     "Lists exchanges of a virtual host", &slc_ctl_exchanges},
    {"list_queues", "Lists", "[<column>...]", 0, -1, OF_VHOSTS | OPT_PLACE | LIST, slc_ctl_list_run,
     "Lists queues of a virtual host and their properties", &slc_ctl_queues},
    {"list_vhosts", "Lists", "[<column>...]", 0, -1, LIST, slc_ctl_list_run, "Lists virtual hosts",
     &slc_ctl_vhosts},

    {"add_user", "Users", "<user> [<password>]", 1, 2, OPT_HASHED | OPT_CHANGE, slc_ctl_add_user,
     "Creates a user; without <password> it is read from standard input", NULL},
    {"authenticate_user", "Users", "<user> [<password>]", 1, 2, 0, slc_ctl_authenticate_user,
     "Checks a user's password", NULL},
    {"change_password", "Users", "<user> [<password>]", 1, 2, OPT_CHANGE, slc_ctl_change_password,
     "Changes a user's password; without <password> it is read from standard input", NULL},
    {"clear_password", "Users", "<user>", 1, 1, OPT_CHANGE, slc_ctl_clear_password,
     "Takes a user's password away: no password logs in", NULL},
    {"clear_user_limits", "Users", "<user> all|max-connections|max-channels", 2, 2, OPT_CHANGE,
     slc_ctl_clear_user_limits, "Takes limits of a user away", NULL},
    {"delete_user", "Users", "<user>", 1, 1, OPT_CHANGE, slc_ctl_delete_user,
     "Deletes a user with all permissions and closes the user's connections", NULL},
    {"hash_password", "Users", "[<password>]", 0, 1, 0, slc_ctl_hash_password,
     "Displays the salted SHA-256 hash of a password, as definitions and --pre-hashed-password "
     "have "
     "it",
     NULL},
    {"list_user_limits", "Users", "", 0, 0, OPT_USER | OPT_GLOBAL | LIST, slc_ctl_list_user_limits,
     "Lists limits of users", NULL},
    {"list_users", "Users", "", 0, 0, LIST, slc_ctl_list_users, "Lists users and their tags", NULL},
    {"set_user_limits", "Users", "<user> <JSON>", 2, 2, OPT_CHANGE, slc_ctl_set_user_limits,
     "Sets limits of a user, such as {\"max-connections\": 10}", NULL},
    {"set_user_tags", "Users", "<user> [<tag>...]", 1, -1, OPT_CHANGE, slc_ctl_set_user_tags,
     "Sets the tags of a user", NULL},

    {"clear_permissions", "Access", "<user>", 1, 1, OPT_VHOST | OPT_CHANGE,
     slc_ctl_clear_permissions, "Takes a user's permissions in a virtual host away", NULL},
    {"clear_topic_permissions", "Access", "<user> [<exchange>]", 1, 2, OPT_VHOST | OPT_CHANGE,
     slc_ctl_clear_topic_permissions, "Takes topic permissions of a user away", NULL},
    {"list_permissions", "Access", "", 0, 0, OPT_VHOST | LIST, slc_ctl_list_permissions,
     "Lists permissions in a virtual host", NULL},
    {"list_topic_permissions", "Access", "", 0, 0, OPT_VHOST | LIST, slc_ctl_list_topic_permissions,
     "Lists topic permissions in a virtual host", NULL},
    {"list_user_permissions", "Access", "<user>", 1, 1, LIST, slc_ctl_list_user_permissions,
     "Lists permissions of a user", NULL},
    {"list_user_topic_permissions", "Access", "<user>", 1, 1, LIST,
     slc_ctl_list_user_topic_permissions, "Lists topic permissions of a user", NULL},
    {"set_permissions", "Access", "<user> <configure> <write> <read>", 4, 4, OPT_VHOST | OPT_CHANGE,
     slc_ctl_set_permissions, "Sets a user's permissions in a virtual host", NULL},
    {"set_permissions_globally", "Access", "<user> <configure> <write> <read>", 4, 4, OPT_CHANGE,
     slc_ctl_set_permissions_globally, "Sets a user's permissions in every virtual host there is",
     NULL},
    {"set_topic_permissions", "Access", "<user> <exchange> <write> <read>", 4, 4,
     OPT_VHOST | OPT_CHANGE, slc_ctl_set_topic_permissions,
     "Sets a user's permissions for routing keys of a topic exchange", NULL},

    {"add_vhost", "Vhosts", "<vhost>", 1, 1, OPT_VHOST_DATA | OPT_CHANGE, slc_ctl_add_vhost,
     "Creates a virtual host", NULL},
    {"clear_vhost_limits", "Vhosts", "", 0, 0, OPT_VHOST | OPT_CHANGE, slc_ctl_clear_vhost_limits,
     "Takes the limits of a virtual host away", NULL},
    {"delete_vhost", "Vhosts", "<vhost>", 1, 1, OPT_CHANGE, slc_ctl_delete_vhost,
     "Deletes a virtual host with all that is in it", NULL},
    {"list_vhost_limits", "Vhosts", "", 0, 0, OPT_VHOST | OPT_GLOBAL | LIST,
     slc_ctl_list_vhost_limits, "Lists limits of virtual hosts", NULL},
    {"restart_vhost", "Vhosts", "", 0, 0, OPT_VHOST | OPT_CHANGE, slc_ctl_restart_vhost,
     "Does nothing for a virtual host that there is: it runs", NULL},
    {"set_vhost_limits", "Vhosts", "<JSON>", 1, 1, OPT_VHOST | OPT_CHANGE, slc_ctl_set_vhost_limits,
     "Sets limits of a virtual host, such as {\"max-queues\": 10}", NULL},
    {"set_vhost_tags", "Vhosts", "<vhost> [<tag>...]", 1, -1, OPT_CHANGE, slc_ctl_set_vhost_tags,
     "Sets the tags of a virtual host", NULL},
    {"update_vhost_metadata", "Vhosts", "<vhost>", 1, 1, OPT_VHOST_DATA | OPT_CHANGE,
     slc_ctl_update_vhost_metadata, "Changes what a virtual host says of itself", NULL},

    {"backup", "Operations", "<directory>", 1, 1, OPT_RATE | OPT_CHANGE, slc_ctl_backup,
     "Makes a consistent, checked copy of the messages and definitions while the broker works; "
     "sluiced --restore begins with it. The directory is one of the broker's machine, empty or not "
     "there yet. Interrupted, or at --timeout, it is cancelled and removed",
     NULL},
    {"cancel_delayed_message", "Operations", "<exchange> <position>", 2, 2, OPT_VHOST | OPT_CHANGE,
     slc_ctl_cancel_delayed,
     "Takes a message out of an x-delayed-message exchange before its time; list_delayed_messages "
     "shows its position",
     NULL},
    {"list_delayed_messages", "Operations", "<exchange>", 1, 1, OPT_VHOST | LIST,
     slc_ctl_list_delayed,
     "Lists the next 1000 messages that wait in an x-delayed-message exchange, with the time in "
     "milliseconds when they are due",
     NULL},
    {"close_all_connections", "Operations", "<explanation>", 1, 1,
     OPT_VHOST | OPT_GLOBAL | OPT_LIMIT | OPT_DELAY | OPT_CHANGE, slc_ctl_connection_close_all,
     "Closes the connections to a virtual host or to the whole broker", NULL},
    {"close_all_user_connections", "Operations", "<user> <explanation>", 2, 2, OPT_CHANGE,
     slc_ctl_connection_close_user, "Closes all connections of a user", NULL},
    {"close_connection", "Operations", "<pid or name> <explanation>", 2, 2, OPT_CHANGE,
     slc_ctl_connection_close, "Closes one connection; its client gets the explanation", NULL},
    {"delete_queue", "Operations", "<queue>", 1, 1,
     OPT_VHOST | OPT_IF_EMPTY | OPT_IF_UNUSED | OPT_CHANGE, slc_ctl_queue_delete,
     "Deletes a queue with its messages", NULL},
    {"store", "Operations", "stat|check|compact|salvage", 1, 1, OPT_STORE | OPT_FORMAT,
     slc_ctl_store,
     "Displays the figures of the message store (stat); of a stopped node, or of a copy of its "
     "data: "
     "stat, look for damage (check), give free space back to the file system (compact), make a "
     "damaged store usable again, after saying what is lost (salvage)",
     NULL},
    {"trace_on", "Operations", "", 0, 0, OPT_VHOST | OPT_CHANGE, slc_ctl_trace_on,
     "Publishes a copy of every message of a virtual host to amq.rabbitmq.trace there, until "
     "trace_off or the next start",
     NULL},
    {"trace_off", "Operations", "", 0, 0, OPT_VHOST | OPT_CHANGE, slc_ctl_trace_off,
     "Stops the copies of trace_on", NULL},
    {"environment", "Operations", "", 0, 0, OPT_FORMAT, slc_ctl_environment,
     "Displays the configuration in force, with secrets masked", NULL},
    {"set_disk_free_limit", "Operations", "[mem_relative] <limit>", 1, 2, OPT_CHANGE,
     slc_ctl_disk_limit,
     "Sets the free disk space below which publishers are blocked, in bytes (1GiB) or as a share "
     "of the memory, until the next reload or start",
     NULL},
    {"set_vm_memory_high_watermark", "Operations", "[absolute] <limit>", 1, 2, OPT_CHANGE,
     slc_ctl_memory_limit,
     "Sets the memory above which publishers are blocked, as a share of the memory (0.4) or in "
     "bytes (absolute 2GiB), until the next reload or start",
     NULL},
    {"purge_queue", "Operations", "<queue>", 1, 1, OPT_VHOST | OPT_CHANGE, slc_ctl_queue_purge,
     "Removes all ready messages of a queue", NULL},

    {"clear_global_parameter", "Policies", "<name>", 1, 1, OPT_CHANGE, slc_ctl_global_clear,
     "Removes a global runtime parameter", NULL},
    {"clear_operator_policy", "Policies", "<name>", 1, 1, OPT_VHOST | OPT_CHANGE,
     slc_ctl_policy_clear, "Removes an operator policy", NULL},
    {"clear_parameter", "Policies", "<component> <name>", 2, 2, OPT_VHOST | OPT_CHANGE,
     slc_ctl_parameter_clear, "Removes a runtime parameter", NULL},
    {"clear_policy", "Policies", "<name>", 1, 1, OPT_VHOST | OPT_CHANGE, slc_ctl_policy_clear,
     "Removes a policy", NULL},
    {"list_global_parameters", "Policies", "", 0, 0, LIST, slc_ctl_list_run,
     "Lists global runtime parameters", &slc_ctl_globals},
    {"list_operator_policies", "Policies", "", 0, 0, OPT_VHOST | LIST, slc_ctl_list_run,
     "Lists the operator policies of a virtual host", &slc_ctl_operator_policies},
    {"list_parameters", "Policies", "", 0, 0, OPT_VHOST | LIST, slc_ctl_list_run,
     "Lists the runtime parameters of a virtual host", &slc_ctl_parameters},
    {"list_policies", "Policies", "", 0, 0, OPT_VHOST | LIST, slc_ctl_list_run,
     "Lists the policies of a virtual host", &slc_ctl_policies},
    {"list_policies_that_match", "Policies", "<queue>", 1, 1, OPT_VHOST | LIST,
     slc_ctl_policies_matching,
     "Lists the policies that a queue matches; the first is the one that applies", NULL},
    {"set_global_parameter", "Policies", "<name> <JSON>", 2, 2, OPT_CHANGE, slc_ctl_global_set,
     "Sets a global runtime parameter", NULL},
    {"set_operator_policy", "Policies", "<name> <pattern> <definition>", 3, 3,
     OPT_VHOST | OPT_POLICY | OPT_CHANGE, slc_ctl_policy_set,
     "Sets limits that no policy and no application can exceed, for the queues whose names the "
     "pattern finds",
     NULL},
    {"set_parameter", "Policies", "<component> <name> <JSON>", 3, 3, OPT_VHOST | OPT_CHANGE,
     slc_ctl_parameter_set, "Sets a runtime parameter of a component", NULL},
    {"set_policy", "Policies", "<name> <pattern> <definition>", 3, 3,
     OPT_VHOST | OPT_POLICY | OPT_CHANGE, slc_ctl_policy_set,
     "Gives settings to the queues and exchanges whose names the pattern finds", NULL},

    {"export_definitions", "Definitions", "<file>|-", 1, 1, OPT_DEFINITIONS,
     slc_ctl_definitions_export,
     "Writes users, virtual hosts, permissions, policies, queues, exchanges and bindings as JSON "
     "to a file or to standard output",
     NULL},
    {"import_definitions", "Definitions", "[<file>|-]", 0, 1, OPT_DEFINITIONS | OPT_CHANGE,
     slc_ctl_definitions_import,
     "Adds the definitions of a file or of standard input; all of them or, when something is "
     "wrong, none",
     NULL},

    {"list", "Plugins", "[<pattern>]", 0, 1, OPT_PLUGINS, slc_ctl_plugins_list,
     "Lists what is built in, by the names of RabbitMQ's plugins", NULL},
    {"is_enabled", "Plugins", "<plugin>...", 1, -1, 0, slc_ctl_plugins_is_enabled,
     "Checks that a plugin of RabbitMQ is built in", NULL},
    {"enable", "Plugins", "<plugin>...", 1, -1, 0, slc_ctl_plugins_change,
     "Does nothing for what is built in, and refuses everything else", NULL},
    {"disable", "Plugins", "<plugin>...", 1, -1, 0, slc_ctl_plugins_change,
     "Does nothing for what is built in, and refuses everything else", NULL},

    {"decode", "Erlang", "[<argument>...]", 0, -1, 0, slc_ctl_refuse,
     "Refused: encrypted values are not used here", NULL},
    {"encode", "Erlang", "[<argument>...]", 0, -1, 0, slc_ctl_refuse,
     "Refused: encrypted values are not used here", NULL},
    {"eval", "Erlang", "<expression>", 1, 1, 0, slc_ctl_eval,
     "Checks a password with the one expression that Puppet does that with; refuses any other",
     NULL},
    {"exec", "Erlang", "[<argument>...]", 0, -1, 0, slc_ctl_refuse,
     "Refused: there is no Elixir here", NULL},
    {"observer", "Erlang", "[<argument>...]", 0, -1, 0, slc_ctl_refuse,
     "Refused: there is no Erlang here", NULL},
    {"remote_shell", "Erlang", "", 0, 0, 0, slc_ctl_refuse, "Refused: there is no Erlang here",
     NULL},

    {"__complete", NULL, "", 0, -1, 0, slc_ctl_complete, NULL, NULL},
    {"__man", NULL, "", 0, 0, 0, slc_ctl_man, NULL, NULL},
    {0},
};

const slc_ctl_option slc_ctl_options[] = {
    {'?', "help", NULL, 0, "show help"},
    {'n', "node", "<node>", 0,
     "make sure that this is the node that answers (SLUICECTL_NODE, RABBITMQ_NODENAME)"},
    {0, "socket", "<path>", 0, "the broker's admin socket (SLUICECTL_SOCKET)"},
    {'t', "timeout", "<seconds>", 0,
     "limit for the whole operation, or infinity; 60 by default, 300 for await_startup, 10 for "
     "wait, "
     "none for backup, shutdown and stop"},
    {'q', "quiet", NULL, 0, "no progress messages"},
    {'s', "silent", NULL, 0, "no progress messages and no header row"},
    {'p', "vhost", "<vhost>", OPT_VHOST, "virtual host; / by default"},
    {0, "formatter", "<format>", OPT_FORMAT,
     "table (tab separated), pretty_table, csv, json or json_stream"},
    {0, "no-table-headers", NULL, OPT_LIST, "no header row"},
    {0, "columns", "<column,...>", OPT_LIST, "columns to show, besides those among the arguments"},
    {0, "filter", "<condition>", OPT_LIST,
     "only rows that meet it: a column, = != < <= > >= ~ or !~, and a value, such as "
     "messages>=100; "
     "~ looks for a regular expression. Of several all must be met"},
    {0, "sort", "<column>", OPT_LIST, "order rows by this column"},
    {0, "reverse", NULL, OPT_LIST, "turn the order round"},
    {0, "online", NULL, OPT_PLACE, "only queues on nodes that are up (on a single node: all)"},
    {0, "offline", NULL, OPT_PLACE, "only queues on nodes that are down (on a single node: none)"},
    {0, "local", NULL, OPT_PLACE, "only queues of this node (on a single node: all)"},
    {0, "unresponsive", NULL, OPT_PLACE,
     "only queues that do not answer (on a single node: none, for it answers for all)"},
    {0, "all-vhosts", NULL, OPT_ALL_VHOSTS, "of all virtual hosts"},
    {'e', "if-empty", NULL, OPT_IF_EMPTY, "only if it has no messages"},
    {'u', "if-unused", NULL, OPT_IF_UNUSED, "only if it has no consumers"},
    {0, "global", NULL, OPT_GLOBAL, "connections of every virtual host"},
    {0, "limit", "<count>", OPT_LIMIT, "close at most so many; 0: all"},
    {0, "per-connection-delay", "<ms>", OPT_DELAY, "wait so long after each"},
    {0, "rate", "<bytes/s>", OPT_RATE,
     "copy no faster than this, such as 100MB; messages that come in meanwhile do not count"},
    {0, "description", "<text>", OPT_VHOST_DATA, "what the virtual host is for"},
    {0, "tags", "<tag,...>", OPT_VHOST_DATA, "tags of the virtual host"},
    {0, "default-queue-type", "<type>", OPT_VHOST_DATA,
     "type of queues that are declared without one: classic, quorum, stream"},
    {0, "user", "<user>", OPT_USER, "of this user only"},
    {0, "pre-hashed-password", NULL, OPT_HASHED,
     "<password> is a hash as hash_password displays it"},
    {'m', "minimal", NULL, OPT_PLUGINS, "names only"},
    {'E', "enabled", NULL, OPT_PLUGINS, "only what is enabled: everything is"},
    {0, "address", "<host>", OPT_ADDRESS, "connect to this address instead of the listener's own"},
    {0, "unit", "<unit>", OPT_UNIT, "gb (default), mb, kb, gib, mib, kib or bytes"},
    {0, "dir", "<directory>", OPT_STORE,
     "data directory, or the store directory in it, of a node that is stopped, or a copy of one; "
     "by "
     "default stat asks the running broker, and the others take the configured data directory"},
    {'y', "yes", NULL, OPT_STORE, "salvage without asking"},
    {0, "priority", "<priority>", OPT_POLICY,
     "of several policies that match, the one with the highest applies; 0 by default"},
    {0, "apply-to", "<kind>", OPT_POLICY,
     "all, queues, exchanges, classic_queues, quorum_queues or streams"},
    {0, "format", "<format>", OPT_DEFINITIONS | OPT_CIPHERS,
     "of definitions: json, the only one; of cipher suites: openssl (default) or iana"},
    {'P', "pid", "<pid>", OPT_PID, "process to wait for"},
    {'N', "number", "<count>", OPT_NUMBER, "how many lines; 50 by default, at most 10000"},
    {'d', "duration", "<seconds>", OPT_DURATION, "end after so long; by default when interrupted"},
    {0, "all", NULL, OPT_ALL, "every place, not only the first"},
    {0, "address-family", "<family>", OPT_FAMILY, "ipv4 (default) or ipv6"},
    {0, "sample-interval", "<seconds>", OPT_SAMPLE, "how long to look; 5 by default"},
    {0, "dry-run", NULL, OPT_CHANGE, "print the request that would be sent"},
    {0},
};

const slc_ctl_command *slc_ctl_command_find(const char *name)
{
    for (const slc_ctl_command *c = slc_ctl_commands; c->name != NULL; c++) {
        const char *a = name, *b = c->name;
        while (*a != '\0' && (*a == *b || (*a == '-' && *b == '_')))
            a++, b++;
        if (*a == '\0' && *b == '\0')
            return c;
    }
    return NULL;
}

void slc_ctl_usage_line(const slc_ctl *ctl, const slc_ctl_command *command, FILE *out)
{
    fprintf(out, "%s [<options>] %s", ctl->program, command->name);
    for (const slc_ctl_option *o = slc_ctl_options; o->name != NULL; o++) {
        if ((o->bit & command->options) != 0)
            fprintf(out, " [--%s%s%s]", o->name, o->argument != NULL ? " " : "",
                    o->argument != NULL ? o->argument : "");
    }
    fprintf(out, "%s%s\n", command->arguments[0] != '\0' ? " " : "", command->arguments);
}

int slc_ctl_usage_error(const slc_ctl *ctl, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fflush(stdout);
    fputs("Error (argument validation): ", stderr);
    vfprintf(stderr, format, args);
    va_end(args);
    fputs("\nArguments given:\n\t", stderr);
    for (int i = 1; i < ctl->argc; i++)
        fprintf(stderr, "%s%s", i > 1 ? " " : "", ctl->argv[i]);
    fputs("\n\nUsage\n\n", stderr);
    if (ctl->command != NULL)
        slc_ctl_usage_line(ctl, ctl->command, stderr);
    else
        fprintf(stderr, "%s [<options>] <command> [<arguments>]\n", ctl->program);
    return CTL_USAGE;
}

/* ---- values of options ---- */

static bool parse_count(const char *text, uint64_t *out)
{
    char *end;
    errno = 0;
    if (text[0] < '0' || text[0] > '9')
        return false;
    *out = strtoull(text, &end, 10);
    return *end == '\0' && errno == 0;
}

static bool parse_integer(const char *text, const char **out)
{
    char *end;
    errno = 0;
    (void)strtoll(text, &end, 10);
    *out = text;
    return end != text && *end == '\0' && errno == 0;
}

static bool parse_timeout(slc_ctl *ctl, const char *text)
{
    char *end;
    ctl->timeout = text;
    if (strcmp(text, "infinity") == 0) {
        ctl->timeout_s = -1;
        return true;
    }
    ctl->timeout_s = strtod(text, &end);
    return end != text && *end == '\0' && ctl->timeout_s >= 0 && ctl->timeout_s < 1e7;
}

static bool parse_format(slc_ctl *ctl, const char *text)
{
    static const char *const names[] = {"table", "pretty_table", "json", "json_stream", "csv"};
    static const slc_ctl_format formats[] = {CTL_TABLE, CTL_PRETTY_TABLE, CTL_JSON, CTL_JSON_STREAM,
                                             CTL_CSV};
    for (size_t i = 0; i < SLC_ARRAY_COUNT(names); i++) {
        if (strcmp(text, names[i]) == 0) {
            ctl->format = formats[i];
            ctl->format_name = text;
            return true;
        }
    }
    return false;
}

static bool filter_add(slc_ctl *ctl, const char *text)
{
    if (ctl->filter_count == CTL_FILTERS_MAX)
        return false;
    ctl->filters[ctl->filter_count++] = text;
    return true;
}

// Of definitions there is one; cipher_suites looks by itself.
static bool format_of(slc_ctl *ctl, const char *text)
{
    ctl->format_of = text;
    return (ctl->command->options & OPT_CIPHERS) != 0 || strcmp(text, "json") == 0;
}

// False: the value is no good.
static bool option_apply(slc_ctl *ctl, const slc_ctl_option *option, const char *value)
{
    const char *name = option->name;
    if (strcmp(name, "node") == 0)
        ctl->node = value;
    else if (strcmp(name, "socket") == 0)
        ctl->socket = value, ctl->socket_given = true;
    else if (strcmp(name, "timeout") == 0)
        return parse_timeout(ctl, value);
    else if (strcmp(name, "quiet") == 0)
        ctl->quiet = true;
    else if (strcmp(name, "silent") == 0)
        ctl->quiet = ctl->silent = true;
    else if (strcmp(name, "vhost") == 0)
        ctl->vhost = value, ctl->vhost_given = true;
    else if (strcmp(name, "formatter") == 0)
        return parse_format(ctl, value);
    else if (strcmp(name, "no-table-headers") == 0)
        ctl->no_headers = true;
    else if (strcmp(name, "sort") == 0)
        ctl->sort = value;
    else if (strcmp(name, "reverse") == 0)
        ctl->reverse = true;
    else if (strcmp(name, "columns") == 0)
        ctl->columns = value;
    else if (strcmp(name, "filter") == 0)
        return filter_add(ctl, value);
    else if (strcmp(name, "all-vhosts") == 0)
        ctl->all_vhosts = true;
    else if (strcmp(name, "online") == 0 || strcmp(name, "local") == 0)
        ctl->online = true;
    else if (strcmp(name, "offline") == 0 || strcmp(name, "unresponsive") == 0)
        ctl->offline = true;
    else if (strcmp(name, "if-empty") == 0)
        ctl->if_empty = true;
    else if (strcmp(name, "if-unused") == 0)
        ctl->if_unused = true;
    else if (strcmp(name, "global") == 0)
        ctl->global = true;
    else if (strcmp(name, "limit") == 0)
        return parse_count(value, &ctl->limit);
    else if (strcmp(name, "per-connection-delay") == 0)
        return parse_count(value, &ctl->delay_ms);
    else if (strcmp(name, "dir") == 0)
        ctl->dir = value;
    else if (strcmp(name, "description") == 0)
        ctl->description = value;
    else if (strcmp(name, "tags") == 0)
        ctl->tags = value;
    else if (strcmp(name, "default-queue-type") == 0)
        ctl->default_queue_type = value;
    else if (strcmp(name, "user") == 0)
        ctl->user = value;
    else if (strcmp(name, "pre-hashed-password") == 0)
        ctl->pre_hashed = true;
    else if (strcmp(name, "minimal") == 0)
        ctl->minimal = true;
    else if (strcmp(name, "address") == 0)
        ctl->address = value;
    else if (strcmp(name, "unit") == 0)
        ctl->unit = value;
    else if (strcmp(name, "rate") == 0)
        ctl->rate = value;
    else if (strcmp(name, "yes") == 0)
        ctl->yes = true;
    else if (strcmp(name, "priority") == 0)
        return parse_integer(value, &ctl->priority);
    else if (strcmp(name, "apply-to") == 0)
        ctl->apply_to = value;
    else if (strcmp(name, "format") == 0)
        return format_of(ctl, value);
    else if (strcmp(name, "pid") == 0)
        return parse_count(value, &ctl->pid) && ctl->pid > 0 && ctl->pid <= INT32_MAX;
    else if (strcmp(name, "number") == 0)
        return parse_count(value, &ctl->number) && ctl->number > 0;
    else if (strcmp(name, "duration") == 0)
        return parse_count(value, &ctl->duration_s) && ctl->duration_s > 0 &&
               ctl->duration_s < 1000000000;
    else if (strcmp(name, "all") == 0)
        ctl->all = true;
    else if (strcmp(name, "address-family") == 0)
        ctl->family = value;
    else if (strcmp(name, "sample-interval") == 0)
        return parse_count(value, &ctl->sample_s) && ctl->sample_s > 0;
    else if (strcmp(name, "dry-run") == 0)
        ctl->dry_run = true;
    return true; // --enabled chooses everything there is
}

/* ---- the parser ---- */

typedef struct given {
    const slc_ctl_option *option;
    const char *value;
} given;

typedef struct parse {
    given options[64];
    uint32_t option_count;
    bool help;
} parse;

static const slc_ctl_option *option_find(char letter, const char *name, size_t bytes)
{
    for (const slc_ctl_option *o = slc_ctl_options; o->name != NULL; o++) {
        if (name == NULL ? o->letter != 0 && o->letter == letter
                         : strlen(o->name) == bytes && memcmp(o->name, name, bytes) == 0)
            return o;
    }
    return NULL;
}

// One word that begins with a dash; *i moves over its value. NULL: fine, else what is wrong.
static const char *parse_option(slc_ctl *ctl, parse *out, int *i)
{
    const char *word = ctl->argv[*i];
    bool is_long = word[1] == '-';
    const char *equals = is_long ? strchr(word, '=') : NULL;
    const char *rest = word + 1; // short letters still to read
    do {
        const slc_ctl_option *option =
            is_long ? option_find(0, word + 2,
                                  equals != NULL ? (size_t)(equals - word - 2) : strlen(word + 2))
                    : option_find(*rest, NULL, 0);
        if (option == NULL)
            return "unknown option";
        rest++;
        const char *value = NULL;
        if (option->argument != NULL) {
            value = is_long ? (equals != NULL ? equals + 1 : NULL) : (*rest != '\0' ? rest : NULL);
            if (value == NULL) {
                if (*i + 1 >= ctl->argc)
                    return "a value is missing";
                value = ctl->argv[++*i];
            }
            rest = "";
        } else if (equals != NULL) {
            return "takes no value";
        }
        if (out->option_count == SLC_ARRAY_COUNT(out->options))
            return "too many options";
        out->help |= strcmp(option->name, "help") == 0;
        out->options[out->option_count++] = (given){option, value};
    } while (!is_long && *rest != '\0');
    return NULL;
}

static int unknown_command(const slc_ctl *ctl, const char *name)
{
    fprintf(stderr, "\nCommand '%s' not found. \n", name);
    // The nearest by common beginning, if any.
    const slc_ctl_command *nearest = NULL;
    size_t best = 2;
    for (const slc_ctl_command *c = slc_ctl_commands; c->name != NULL; c++) {
        size_t same = 0;
        while (name[same] != '\0' && name[same] == c->name[same])
            same++;
        if (same > best && c->group != NULL) {
            best = same;
            nearest = c;
        }
    }
    if (nearest != NULL)
        fprintf(stderr, "Did you mean '%s'? \n\n", nearest->name);
    else
        fprintf(stderr, "`%s help` lists them.\n\n", ctl->program);
    return CTL_USAGE;
}

static int apply_options(slc_ctl *ctl, const parse *p)
{
    for (uint32_t i = 0; i < p->option_count; i++) {
        const slc_ctl_option *o = p->options[i].option;
        const char *value = p->options[i].value;
        if (o->bit != 0 && (ctl->command->options & o->bit) == 0 && ctl->command->group != NULL)
            return slc_ctl_usage_error(ctl, "Invalid options for this command:\n--%s : %s", o->name,
                                       value != NULL ? value : "");
        if (!option_apply(ctl, o, value))
            return slc_ctl_usage_error(ctl, "Invalid options for this command:\n--%s : %s", o->name,
                                       value);
    }
    if (ctl->timeout == NULL)
        ctl->timeout_s = ctl->command->run == slc_ctl_await_startup ? 300
                         : ctl->command->run == slc_ctl_wait        ? 10
                         : ctl->command->run == slc_ctl_shutdown    ? -1
                                                                    : 60;
    ctl->no_headers |= ctl->silent;
    return -1;
}

int slc_ctl_parse(slc_ctl *ctl, int argc, char **argv)
{
    parse p = {0};
    ctl->argc = argc;
    ctl->argv = argv;
    ctl->args = slc_alloc_zero((size_t)argc + 1, sizeof *ctl->args);
    bool options_end = false;
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        if (!options_end && strcmp(word, "--") == 0) {
            options_end = true;
        } else if (!options_end && strcmp(word, "--version") == 0) {
            ctl->command = slc_ctl_command_find("version");
        } else if (!options_end && word[0] == '-' && word[1] != '\0') {
            const char *wrong = parse_option(ctl, &p, &i);
            if (wrong != NULL)
                return slc_ctl_usage_error(ctl, "Invalid options for this command:\n%s : %s", word,
                                           wrong);
        } else if (ctl->command == NULL) {
            ctl->command = slc_ctl_command_find(word);
            if (ctl->command == NULL)
                return unknown_command(ctl, word);
            options_end = ctl->command->run == slc_ctl_complete; // its words are not ours to read
        } else {
            ctl->args[ctl->arg_count++] = argv[i];
        }
    }
    if (p.help && ctl->command != NULL)
        return slc_ctl_help_command(ctl, ctl->command);
    if (p.help)
        return slc_ctl_help_all(ctl, stdout);
    if (ctl->command == NULL) {
        slc_ctl_help_all(ctl, stderr);
        return CTL_USAGE;
    }
    int rc = apply_options(ctl, &p);
    if (rc >= 0)
        return rc;
    if (ctl->arg_count < ctl->command->min_args)
        return slc_ctl_usage_error(ctl, "not enough arguments.");
    if (ctl->command->max_args >= 0 && ctl->arg_count > ctl->command->max_args)
        return slc_ctl_usage_error(ctl, "too many arguments.");
    return -1;
}
