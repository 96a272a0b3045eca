"""Users, permissions, vhosts, limits, policies and checks: calls in this order on a broker with nothing in it, recorded from
RabbitMQ's programs. A name that begins with diag- is rabbitmq-diagnostics. @port is the broker's.

Left out, because it is meant to differ: trace_on of a vhost that is not there (0 there, 65 here); what the default vhost says of
itself ("Default virtual host" there).
"""

import json
import re

from golden import DATA

POLICY = '{"max-length":10,"overflow":"reject-publish"}'

LOGIN = 'rabbit_access_control:check_user_pass_login(<<"guest">>, <<"%s">>).'

# name of the file in tests/data/ctl/administration: arguments
CASES = {
    "list_users-first": ["list_users"],
    "add_user": ["add_user", "alice", "pw"],
    "add_user-exists": ["add_user", "alice", "pw"],
    "add_user-too-few": ["add_user"],
    "add_user-quiet": ["-q", "add_user", "bob", "pw"],
    "add_user-silent": ["-s", "add_user", "carol", "pw"],
    "set_user_tags": ["set_user_tags", "alice", "monitoring", "policymaker"],
    "set_user_tags-none": ["set_user_tags", "bob"],
    "set_user_tags-nobody": ["set_user_tags", "nobody", "monitoring"],
    "list_users": ["list_users"],
    "list_users-quiet": ["-q", "list_users"],
    "list_users-silent": ["-s", "list_users"],
    "list_users-json": ["list_users", "--formatter", "json"],
    "list_users-csv": ["list_users", "--formatter", "csv"],
    "change_password": ["change_password", "alice", "new"],
    "change_password-nobody": ["change_password", "nobody", "new"],
    "authenticate_user": ["authenticate_user", "alice", "new"],
    "authenticate_user-wrong": ["authenticate_user", "alice", "pw"],
    "authenticate_user-nobody": ["authenticate_user", "nobody", "pw"],
    "clear_password": ["clear_password", "alice"],
    "clear_password-nobody": ["clear_password", "nobody"],
    "authenticate_user-cleared": ["authenticate_user", "alice", "new"],
    "set_user_limits": ["set_user_limits", "alice", '{"max-connections": 3, "max-channels": 9}'],
    "set_user_limits-unknown": ["set_user_limits", "alice", '{"max-x": 3}'],
    "set_user_limits-nobody": ["set_user_limits", "nobody", '{"max-channels": 3}'],
    "list_user_limits": ["list_user_limits", "--user", "alice"],
    "list_user_limits-nobody": ["list_user_limits", "--user", "nobody"],
    "list_user_limits-global": ["list_user_limits", "--global"],
    "list_user_limits-json": ["list_user_limits", "--global", "--formatter", "json"],
    "clear_user_limits": ["clear_user_limits", "alice", "max-channels"],
    "clear_user_limits-all": ["clear_user_limits", "alice", "all"],
    "list_user_limits-none": ["list_user_limits", "--user", "alice"],
    "add_vhost": ["add_vhost", "v1"],
    "add_vhost-again": ["add_vhost", "v1"],
    "add_vhost-told": ["add_vhost", "v2", "--description", "what for", "--tags", "a,b", "--default-queue-type", "quorum"],
    "list_vhosts-unknown-column": ["list_vhosts", "name", "nosuch"],
    "set_vhost_tags": ["set_vhost_tags", "v1", "x", "y"],
    "set_vhost_tags-missing": ["set_vhost_tags", "nope", "x"],
    "list_vhosts-tags": ["list_vhosts", "name", "tags"],
    "set_vhost_limits": ["set_vhost_limits", "-p", "v1", '{"max-queues": 3}'],
    "set_vhost_limits-unknown": ["set_vhost_limits", "-p", "v1", '{"max-x": 3}'],
    "set_vhost_limits-no-json": ["set_vhost_limits", "-p", "v1", "{x"],
    "set_vhost_limits-missing": ["set_vhost_limits", "-p", "nope", '{"max-queues": 3}'],
    "list_vhost_limits": ["list_vhost_limits", "-p", "v1"],
    "list_vhost_limits-none": ["list_vhost_limits", "-p", "v2"],
    "list_vhost_limits-global": ["list_vhost_limits", "--global"],
    "list_vhost_limits-missing": ["list_vhost_limits", "-p", "nope"],
    "clear_vhost_limits": ["clear_vhost_limits", "-p", "v1"],
    "set_permissions": ["set_permissions", "-p", "v1", "alice", "^a", ".*", ""],
    "set_permissions-nobody": ["set_permissions", "nobody", "", "", ""],
    "set_permissions-no-vhost": ["set_permissions", "-p", "nope", "alice", "", "", ""],
    "set_permissions-bad": ["set_permissions", "alice", "(", "", ""],
    "set_permissions-too-few": ["set_permissions", "alice", ".*"],
    "list_permissions": ["list_permissions", "-p", "v1"],
    "list_permissions-json": ["list_permissions", "-p", "v1", "--formatter", "json"],
    "list_permissions-no-vhost": ["list_permissions", "-p", "nope"],
    "list_user_permissions": ["list_user_permissions", "alice"],
    "list_user_permissions-json": ["list_user_permissions", "alice", "--formatter", "json"],
    "list_user_permissions-nobody": ["list_user_permissions", "nobody"],
    "set_topic_permissions": ["set_topic_permissions", "-p", "v1", "alice", "amq.topic", "^a", "b"],
    "set_topic_permissions-nobody": ["set_topic_permissions", "nobody", "amq.topic", "^a", "b"],
    "list_topic_permissions": ["list_topic_permissions", "-p", "v1"],
    "list_user_topic_permissions": ["list_user_topic_permissions", "alice"],
    "list_user_topic_permissions-json": ["list_user_topic_permissions", "alice", "--formatter", "json"],
    "clear_topic_permissions": ["clear_topic_permissions", "-p", "v1", "alice"],
    "clear_topic_permissions-one": ["clear_topic_permissions", "-p", "v1", "alice", "amq.topic"],
    "clear_permissions": ["clear_permissions", "-p", "v1", "alice"],
    "clear_permissions-nobody": ["clear_permissions", "nobody"],
    "set_policy": ["set_policy", "p1", "^a", POLICY, "--priority", "3", "--apply-to", "queues"],
    "set_policy-bad": ["set_policy", "p2", "^a", '{"nosuch":1}'],
    "set_policy-no-json": ["set_policy", "p2", "^a", "{"],
    "list_policies": ["list_policies"],
    "list_policies-json": ["list_policies", "--formatter", "json"],
    "clear_policy": ["clear_policy", "p1"],
    "clear_policy-missing": ["clear_policy", "p1"],
    "set_operator_policy": ["set_operator_policy", "o1", "^a", '{"max-length":5}'],
    "list_operator_policies": ["list_operator_policies"],
    "clear_operator_policy": ["clear_operator_policy", "o1"],
    "clear_operator_policy-missing": ["clear_operator_policy", "o1"],
    "set_global_parameter": ["set_global_parameter", "site", '{"a":[1,null]}'],
    "clear_global_parameter": ["clear_global_parameter", "site"],
    "clear_global_parameter-missing": ["clear_global_parameter", "site"],
    "set_parameter-unknown": ["set_parameter", "nosuch", "n", "1"],
    "list_parameters": ["list_parameters", "-p", "v2"],
    "clear_parameter-missing": ["clear_parameter", "vhost-limits", "limits"],
    "trace_on": ["trace_on", "-p", "v1"],
    "trace_off": ["trace_off", "-p", "v1"],
    "set_vm_memory_high_watermark-bad": ["set_vm_memory_high_watermark", "abc"],
    "set_vm_memory_high_watermark": ["set_vm_memory_high_watermark", "0.5"],
    "set_disk_free_limit": ["set_disk_free_limit", "10MB"],
    "set_disk_free_limit-bad": ["set_disk_free_limit", "lots"],
    "close_all_user_connections": ["close_all_user_connections", "alice", "because"],
    "close_all_connections": ["close_all_connections", "-p", "v1", "because"],
    "delete_vhost": ["delete_vhost", "v1"],
    "delete_vhost-missing": ["delete_vhost", "v1"],
    "delete_user": ["delete_user", "alice"],
    "delete_user-missing": ["delete_user", "alice"],
    "diag-alarms": ["alarms"],
    "diag-alarms-json": ["alarms", "--formatter", "json"],
    "diag-check_alarms": ["check_alarms"],
    "diag-check_alarms-quiet": ["-q", "check_alarms"],
    "diag-check_alarms-silent": ["-s", "check_alarms"],
    "diag-check_local_alarms": ["check_local_alarms"],
    "diag-check_port_listener": ["check_port_listener", "@port"],
    "diag-check_protocol_listener": ["check_protocol_listener", "amqp"],
    "diag-check_virtual_hosts": ["check_virtual_hosts"],
    "diag-check_running": ["check_running"],
    "diag-is_running": ["is_running"],
    "diag-is_booting": ["is_booting"],
    "diag-node_health_check": ["node_health_check"],
    "set_cluster_name": ["set_cluster_name", "named"],
    "set_log_level": ["set_log_level", "debug"],
    "set_log_level-unknown": ["set_log_level", "bogus"],
    "set_log_level-too-few": ["set_log_level"],
    "wait-for-nothing": ["wait"],
    "suspend_listeners": ["suspend_listeners"],
    "suspend_listeners-again": ["suspend_listeners"],
    "resume_listeners": ["resume_listeners"],
    "resume_listeners-again": ["resume_listeners"],
    "restart_vhost": ["restart_vhost"],
    "restart_vhost-missing": ["restart_vhost", "-p", "nope"],
    "eval-good": ["eval", LOGIN % "guest"],
    "eval-wrong": ["eval", LOGIN % "x"],
    "eval-nobody": ["eval", LOGIN.replace("guest", "nobody") % "x"],
    "diag-resolve_hostname": ["resolve_hostname", "localhost"],
    "diag-resolve_hostname-family": ["resolve_hostname", "localhost", "--address-family", "xx"],
    "diag-cipher_suites-format": ["cipher_suites", "--format", "nosuch"],
}


def program(name):
    return "rabbitmq-diagnostics" if name.startswith("diag-") else "rabbitmqctl"


def arguments(name, port):
    return [str(port) if word == "@port" else word for word in CASES[name]]


def read(name):
    """(stdout, exit status) as recorded."""
    index = json.loads((DATA / "administration" / "index.json").read_text())
    return (DATA / "administration" / f"{name}.out").read_bytes(), index[name]


def comparable(output):
    """The lines, sorted, since RabbitMQ lists in the order of its tables; JSON rows without the comma before them. Names of nodes
    and ports are not compared."""
    text = re.sub(r"\b(rabbit|sluice)@[\w.-]+\w", "NODE", output.decode())
    text = re.sub(r"\bport \d{4,5}\b", "port PORT", text)
    return sorted(line.removeprefix(",") for line in text.split("\n"))
