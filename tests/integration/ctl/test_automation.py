"""What Ansible, Puppet and munin call and parse, and commands that rabbitmqctl 3.10 does not have. @spec operations 2.4-2.6"""

import base64
import hashlib
import json
import socket

import pika
import pytest

STATUS_KEYS = """active_plugins alarms config_files data_directory disk_free disk_free_limit enabled_plugin_file erlang_version
    file_descriptors is_under_maintenance listeners log_files memory net_ticktime os pid processes product_name product_version
    rabbitmq_version release_series_support_status run_queue totals uptime vm_memory_calculation_strategy
    vm_memory_high_watermark_limit vm_memory_high_watermark_setting""".split()


def good(done):
    assert done.returncode == 0, done.stderr
    return done.stdout


def as_json(ctl, *words):
    return json.loads(good(ctl.run("-q", *words, "--formatter", "json", alias=True)))


@pytest.fixture
def alice(ctl):
    good(ctl.run("add_user", "alice", "pw"))
    yield "alice"
    ctl.run("delete_user", "alice")


def test_ansible_users(ctl, alice):
    good(ctl.run("set_user_tags", alice, "monitoring", "policymaker"))
    users = {u["user"]: u["tags"] for u in as_json(ctl, "list_users")}
    assert users == {"guest": ["administrator"], "alice": ["monitoring", "policymaker"]}
    assert as_json(ctl, "list_user_permissions", alice) == []
    good(ctl.run("set_permissions", alice, "^a", ".*", ""))
    assert as_json(ctl, "list_user_permissions", alice) == [{"vhost": "/", "configure": "^a", "write": ".*", "read": ""}]
    good(ctl.run("set_topic_permissions", alice, "amq.topic", "^a", ".*"))
    assert as_json(ctl, "list_user_topic_permissions", alice) == [
        {"vhost": "/", "exchange": "amq.topic", "write": "^a", "read": ".*"}]
    assert ctl.run("-q", "authenticate_user", alice, "pw", alias=True).returncode == 0
    assert ctl.run("-q", "authenticate_user", alice, "no", alias=True).returncode == 65
    good(ctl.run("set_user_limits", alice, '{"max-connections":5}'))
    assert as_json(ctl, "list_user_limits", "--user", alice) == {"max-connections": 5}


def test_ansible_tables(ctl):
    good(ctl.run("set_policy", "p", "^x\t", '{"max-length":1}', "--priority", "7"))
    rows = [line.split("\t") for line in good(ctl.run("-q", "list_policies", "-p", "/", alias=True)).splitlines()]
    assert rows[0] == ["vhost", "name", "pattern", "apply-to", "definition", "priority"]
    good(ctl.run("clear_policy", "p"))
    flags = [line.split("\t") for line in good(ctl.run("-q", "list_feature_flags", alias=True)).splitlines()]
    assert flags[0] == ["name", "state"] and ["quorum_queue", "enabled"] in flags
    good(ctl.run("-q", "enable_feature_flag", "all", alias=True))
    good(ctl.run("-q", "enable_feature_flag", "quorum_queue", alias=True))
    assert ctl.run("-q", "enable_feature_flag", "no_such_flag", alias=True).returncode == 65


def test_ansible_status(ctl):
    status = as_json(ctl, "status")
    assert set(STATUS_KEYS) <= set(status)
    assert status["rabbitmq_version"].split(".")[0].isdigit()


def test_ansible_plugins(ctl):
    names = good(ctl.run("list", "-E", "-m", alias="rabbitmq-plugins"))
    assert "rabbitmq_management\n" in names and "Listing" in names
    assert good(ctl.run("-q", "list", "-m", "random", alias="rabbitmq-plugins")) == "rabbitmq_random_exchange\n"
    for verb in ("enable", "disable", "is_enabled"):
        assert ctl.run(verb, "rabbitmq_management", alias="rabbitmq-plugins").returncode == 0
        done = ctl.run(verb, "rabbitmq_mqtt", alias="rabbitmq-plugins")
        assert done.returncode == 69 and "rabbitmq_mqtt" in done.stderr


def test_puppet_reads_text(ctl, alice):
    good(ctl.run("set_user_tags", alice, "a", "b"))
    assert "alice\t[a, b]\n" in good(ctl.run("-q", "list_users", alias=True))
    assert good(ctl.run("-q", "list_vhosts", alias=True)) == "name\n/\n"


def test_permissions_in_every_vhost(ctl, alice):
    good(ctl.run("add_vhost", "g1"))
    good(ctl.run("set_permissions_globally", alice, "^c", "^w", "^r"))
    rows = good(ctl.run("-s", "list_user_permissions", alice)).splitlines()
    assert sorted(rows) == ["/\t^c\t^w\t^r", "g1\t^c\t^w\t^r"]
    assert ctl.run("set_permissions_globally", "nobody", "", "", "").returncode == 67
    asked = good(ctl.run("set_permissions_globally", alice, "", "", "", "--dry-run")).splitlines()
    assert len(asked) >= 2 and good(ctl.run("-s", "list_user_permissions", alice)).splitlines() == rows
    good(ctl.run("delete_vhost", "g1"))


def test_a_hash_made_beforehand(ctl):
    text = good(ctl.run("hash_password", "pw")).strip()
    salted = base64.b64decode(text, validate=True)
    assert salted[4:] == hashlib.sha256(salted[:4] + b"pw").digest()
    assert good(ctl.run("hash_password", "pw")).strip() != text
    assert ctl.run("hash_password", "").returncode == 65
    good(ctl.run("add_user", "hashed", text, "--pre-hashed-password"))
    good(ctl.run("authenticate_user", "hashed", "pw"))
    assert ctl.run("add_user", "other", "pw!", "--pre-hashed-password").returncode == 65
    good(ctl.run("delete_user", "hashed"))


def test_what_a_vhost_says(ctl):
    good(ctl.run("add_vhost", "told", "--description", "what for", "--tags", "a,b", "--default-queue-type", "quorum"))
    row = good(ctl.run("-s", "list_vhosts", "name", "description", "tags", "default_queue_type", "tracing")).splitlines()
    assert "told\twhat for\t[a, b]\tquorum\tfalse" in row
    assert {"name": "told", "tags": ["a", "b"]} in json.loads(good(ctl.run("list_vhosts", "name", "tags", "--formatter", "json")))
    good(ctl.run("set_vhost_tags", "told"))
    assert "told\t[]" in good(ctl.run("-s", "list_vhosts", "name", "tags"))
    assert "told\twhat for" in good(ctl.run("-s", "list_vhosts", "name", "description")), "the rest stays"
    good(ctl.run("delete_vhost", "told"))


def test_limits_are_all_or_none(ctl):
    done = ctl.run("set_vhost_limits", '{"max-queues":3,"max-x":1}')
    assert done.returncode == 69 and "'max-x' is no limit of a vhost" in done.stderr
    assert good(ctl.run("-s", "list_vhost_limits")).strip() == ""
    assert ctl.run("set_vhost_limits", "[]").returncode == 65
    assert ctl.run("set_vhost_limits", "{").returncode == 69


def test_all_connections_of_a_user(ctl, broker, alice):
    good(ctl.run("set_permissions", alice, "", "", ""))
    theirs = [pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", broker.port,
                                                                credentials=pika.PlainCredentials(alice, "pw")))
              for _ in range(2)]
    mine = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", broker.port))
    assert good(ctl.run("close_all_user_connections", alice, "out")) == "Closed 2 connections\n"
    for connection in theirs:
        with pytest.raises(pika.exceptions.ConnectionClosedByBroker) as error:
            connection.process_data_events(60)
        assert (error.value.reply_code, error.value.reply_text) == (320, "CONNECTION_FORCED - out")
    mine.channel()
    mine.close()


def test_checks_fail_with_69_and_say_why(ctl, broker):
    assert good(ctl.run("check_port_listener", str(broker.port), "--formatter", "json")).endswith("\"result\":true}\n")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = str(closed.getsockname()[1])
        done = ctl.run("check_port_listener", port)
        assert done.returncode == 69
        assert f"No listener for port {port} is active" in done.stderr and str(broker.port) in done.stderr
    assert ctl.run("check_port_listener", "amqp").returncode == 65
    done = ctl.run("check_protocol_listener", "mqtt")
    assert done.returncode == 69 and "the following protocols: amqp" in done.stderr
    for name in ("amqp", "amqp091", "amqp0-9-1"):
        good(ctl.run("check_protocol_listener", name))
    good(ctl.run("check_port_connectivity"))
    done = ctl.run("check_port_connectivity", "--address", "127.0.0.2")
    assert done.returncode == 69 and f"127.0.0.2 port {broker.port}" in done.stderr
    good(ctl.run("set_vm_memory_high_watermark", "absolute", "1"))
    try:
        for command in ("check_alarms", "check_local_alarms", "node_health_check"):
            done = ctl.run(command)
            assert done.returncode == 69 and "Memory alarm on node" in done.stderr
        assert good(ctl.run("alarms")).startswith("Memory alarm on node")
        assert json.loads(good(ctl.run("alarms", "--formatter", "json")))["alarms"][0]["resource"] == "memory"
    finally:
        good(ctl.run("set_vm_memory_high_watermark", "0.6"))
    good(ctl.run("check_alarms"))


def test_memory_by_use(ctl):
    parts = json.loads(good(ctl.run("memory_breakdown", "--unit", "bytes", "--formatter", "json")))
    assert abs(sum(p["percentage"] for p in parts.values()) - 100) < 0.1
    assert good(ctl.run("memory_breakdown", "--unit", "mb")).startswith("messages: 0.")
    assert ctl.run("memory_breakdown", "--unit", "acre").returncode == 65


def test_names(ctl):
    good(ctl.run("set_cluster_name", "blue"))
    assert "blue" in good(ctl.run("-s", "list_global_parameters"))
    assert good(ctl.run("product_info")).startswith("Sluice version: ")
    assert json.loads(good(ctl.run("product_info", "--formatter", "json")))["product_name"] == "Sluice"
    assert good(ctl.run("tls_versions")) == "tlsv1.3\ntlsv1.2\n"
    assert "fully booted" in good(ctl.run("is_running")) and "fully booted" in good(ctl.run("is_booting"))
