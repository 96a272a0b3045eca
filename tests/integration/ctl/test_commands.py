"""sluicectl under its own name: output, changes, exit status."""

import csv
import io
import json
import os
import pwd
import shutil
import socket
import time

import pika
import pytest
import topology


@pytest.fixture(scope="module")
def objects(broker):
    made = topology.Topology(broker.host, broker.port)
    yield made
    made.close()


def rows(done):
    """The cells of TSV output without its header."""
    assert done.returncode == 0, done.stderr
    return [line.split("\t") for line in done.stdout.splitlines()[1:]]


def test_table_is_tsv_with_escapes_and_without_banners(ctl, objects):
    done = ctl.run("list_queues")
    assert done.stdout.splitlines()[0] == "name\tmessages"
    assert done.stderr == ""
    listed = dict(rows(done))
    assert listed["q.durable"] == "5" and listed["q.transient"] == "3"
    assert "tab\\tback\\\\slash\"quote'é" in listed, "a tab in a name must not break the row"


def test_silent_has_no_header_and_quiet_has(ctl, objects):
    quiet, silent = ctl.run("-q", "list_exchanges").stdout, ctl.run("-s", "list_exchanges").stdout
    assert quiet == "name\ttype\n" + silent


def test_csv_reads_back(ctl, objects):
    done = ctl.run("list_queues", "--formatter", "csv", "name", "messages")
    table = list(csv.reader(io.StringIO(done.stdout)))
    assert table[0] == ["name", "messages"]
    assert [topology.ODD, "0"] in table


def test_json_has_types_and_column_order(ctl, objects):
    done = ctl.run("list_queues", "--formatter=json", "messages", "name", "durable", "arguments", "policy", "owner_pid")
    listed = json.loads(done.stdout)
    by_name = {q["name"]: q for q in listed}
    assert list(listed[0]) == ["messages", "name", "durable", "arguments", "policy", "owner_pid"]
    assert by_name["q.durable"]["messages"] == 5 and by_name["q.durable"]["durable"] is True
    assert by_name["q.durable"]["policy"] is None
    assert by_name["q.exclusive"]["owner_pid"].startswith("<")
    arguments = by_name["q.arguments"]["arguments"]
    assert arguments["my-int"] == 5 and arguments["cjk"] == "日本" and arguments["my-table"]["b"] == {"c": "d"}


def test_json_stream_is_one_object_a_line(ctl, objects):
    done = ctl.run("list_exchanges", "--formatter", "json_stream")
    assert {json.loads(line)["name"] for line in done.stdout.splitlines()} >= {"", "orders", "logs"}


def test_pretty_table_lines_up(ctl, objects):
    lines = ctl.run("list_exchanges", "--formatter", "pretty_table", NO_COLOR="1").stdout.splitlines()
    assert lines[0].startswith("┌") and lines[-1].startswith("└")
    assert len({len(line) for line in lines}) == 1


def test_sort_and_reverse(ctl, objects):
    ordered = [int(m) for _, m in rows(ctl.run("list_queues", "--sort", "messages"))]
    assert ordered == sorted(ordered) and ordered[-1] == 5
    names = [n for (n,) in rows(ctl.run("list_queues", "name", "--sort=messages", "--reverse"))]
    assert names[0] == "q.durable"


def test_lists_of_clients(ctl, objects):
    ((pid, name, user),) = rows(ctl.run("list_connections", "pid", "name", "user"))
    assert user == "guest" and " -> " in name
    ((channel, connection, consumers, unacked),) = rows(ctl.run(
        "list_channels", "pid", "connection", "consumer_count", "messages_unacknowledged"))
    assert connection == pid and channel != pid and (consumers, unacked) == ("2", "2")
    listed = rows(ctl.run("list_consumers", "queue_name", "channel_pid", "consumer_tag"))
    assert sorted(listed) == [["q.auto", channel, "ct2"], ["q.durable", channel, "ct1"]]
    holders = dict(rows(ctl.run("list_queues", "name", "exclusive_consumer_pid")))
    assert holders["q.auto"] == channel and holders["q.durable"] == ""


def test_status_ping_listeners_versions(ctl, broker):
    status = json.loads(ctl.run("status", "--formatter", "json").stdout)
    assert status["pid"] == broker.pid and status["totals"]["virtual_host_count"] == 1
    assert {"alarms", "config_files", "data_directory", "disk_free", "file_descriptors", "listeners", "memory", "os",
            "product_name", "product_version", "rabbitmq_version", "uptime"} <= set(status)
    text = ctl.run("status").stdout
    assert f"OS PID: {broker.pid}" in text and "\033" not in text
    assert ctl.run("ping").stdout == "Ping succeeded\n"
    assert f"port: {broker.port}, protocol: amqp" in ctl.run("listeners").stdout
    assert ctl.run("server_version").stdout.strip() == status["product_version"]
    assert ctl.run("version").stdout == ctl.run("--version").stdout
    assert ctl.run("await-startup", "-t", "60").returncode == 0, "a dash counts as an underscore"


def test_purge_and_delete(ctl, broker):
    connection = pika.BlockingConnection(pika.ConnectionParameters(broker.host, broker.port))
    channel = connection.channel()
    channel.confirm_delivery()
    channel.queue_declare("p/ %", durable=True)
    for _ in range(4):
        channel.basic_publish("", "p/ %", b"x", pika.BasicProperties(delivery_mode=2))
    assert ctl.run("purge_queue", "p/ %", "--dry-run").stdout == "DELETE /api/queues/%2F/p%2F%20%25/contents\n"
    assert dict(rows(ctl.run("list_queues")))["p/ %"] == "4"
    assert ctl.run("purge_queue", "p/ %").stdout == "Purged 4 messages\n"
    assert dict(rows(ctl.run("list_queues")))["p/ %"] == "0"
    assert ctl.run("purge_queue", "nope").returncode == 65
    channel.basic_publish("", "p/ %", b"x")
    refused = ctl.run("delete_queue", "-e", "p/ %")
    assert (refused.returncode, refused.stderr) == (64, "Error:\nQueue is not empty\n")
    assert ctl.run("delete_queue", "p/ %").stdout == "Queue was successfully deleted with 1 ready messages\n"
    assert "p/ %" not in dict(rows(ctl.run("list_queues")))
    connection.close()


def closed_reason(connection, deadline=60):
    """The text with which the broker closes the connection."""
    end = time.monotonic() + deadline
    while time.monotonic() < end:
        try:
            connection.process_data_events(0.1)
        except pika.exceptions.ConnectionClosedByBroker as closed:
            return closed.reply_code, closed.reply_text
    raise AssertionError("the connection is still open")


def connect(broker, name):
    return pika.BlockingConnection(pika.ConnectionParameters(
        broker.host, broker.port, client_properties={"connection_name": name}))


def test_close_connection_by_pid_and_by_name(ctl, broker):
    for column in ("pid", "name"):
        connection = connect(broker, "victim")
        before = rows(ctl.run("list_connections", column, "connected_at", "--sort", "connected_at"))
        assert ctl.run("close_connection", before[-1][0], "go away").returncode == 0
        assert closed_reason(connection) == (320, "CONNECTION_FORCED - go away")
    assert ctl.run("close_connection", "<sluice@x.99999.0.0>", "bye").returncode == 65


def test_close_all_connections(ctl, broker):
    connections = [connect(broker, f"c{i}") for i in range(3)]
    already = len(rows(ctl.run("list_connections"))) - 3
    done = ctl.run("close_all_connections", "--limit", "1", "one", "--vhost", "/")
    assert done.stdout == "Closed 1 connections\n"
    done = ctl.run("close_all_connections", "--global", "all of you")
    assert done.stdout == f"Closed {already + 2} connections\n"
    reasons = sorted(closed_reason(c)[1] for c in connections)
    # Which one is closed first is a matter of names, with ports in them; it may be one that was there already.
    assert reasons[:2] == ["CONNECTION_FORCED - all of you"] * 2
    assert reasons[2] == "CONNECTION_FORCED - one" or already > 0


@pytest.mark.parametrize("arguments, status, text", [
    ((), 64, "Available commands"),
    (("nosuch",), 64, "Command 'nosuch' not found"),
    (("list_queue",), 64, "Did you mean 'list_queues'"),
    (("list_queues", "nosuch"), 64, "Info key(s) nosuch are not supported"),
    (("list_queues", "name,nosuch", "b", "nosuch"), 64, "Info key(s) b,nosuch are not supported"),
    (("list_queues", "--sort", "nosuch"), 64, "Info key(s) nosuch are not supported"),
    (("list_queues", "--bogus"), 64, "Invalid options"),
    (("list_queues", "--if-empty"), 64, "Invalid options"),
    (("list_queues", "--formatter", "erlang"), 64, "Invalid options"),
    (("list_queues", "-t", "abc"), 64, "Invalid options"),
    (("list_queues", "-t"), 64, "a value is missing"),
    (("list_queues", "-t", "0"), 75, "timed out"),
    (("list_queues", "-p", "nope"), 65, "Virtual host 'nope' does not exist"),
    (("delete_queue",), 64, "not enough arguments"),
    (("delete_queue", "a", "b"), 64, "too many arguments"),
    (("delete_queue", "--", "-x"), 64, "Queue not found"),
    (("-n", "other@nowhere", "ping"), 69, "other@nowhere"),
    (("help", "nosuch"), 64, "not found"),
])
def test_mistakes(ctl, broker, arguments, status, text):
    done = ctl.run(*arguments)
    assert done.returncode == status, done.stderr
    assert text in done.stderr
    assert done.stdout == ""


def test_node_is_checked(ctl, broker):
    name = json.loads(ctl.run("status", "--formatter", "json").stdout)["node"]
    assert ctl.run("-n", name, "ping").returncode == 0
    assert ctl.run("-n", "rabbit@" + name.split("@")[1], "ping").returncode == 0
    assert ctl.run("ping", RABBITMQ_NODENAME="rabbit@elsewhere.invalid").returncode == 69


def test_no_daemon_gives_advice(ctl, tmp_path):
    for path in (tmp_path / "none.sock", tmp_path / ("long" * 40)):
        done = ctl.run("ping", "--socket", str(path))
        assert done.returncode == 69
        assert str(path) in done.stderr and done.stderr.count("  * ") == 3


def test_a_daemon_that_hangs_times_out(ctl, tmp_path):
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "s"))
        silent.listen(1)
        done = ctl.run("ping", "--socket", str(tmp_path / "s"), "-t", "0.3")
    assert done.returncode == 75


def test_strangers_are_refused(ctl, broker, tmp_path):
    if os.geteuid() != 0:
        pytest.skip("needs root to become somebody else")
    nobody = pwd.getpwnam("nobody")
    # The stranger may reach the socket and the program: only who it is decides.
    shared = tmp_path
    while str(shared) != "/":
        if shared.stat().st_uid == 0 and shared.stat().st_mode & 0o005 != 0o005 and "pytest" in str(shared):
            shared.chmod(0o755)
        shared = shared.parent
    program = tmp_path / "sluicectl"
    shutil.copy(ctl.program, program)
    program.chmod(0o755)
    for directory in (broker.dir, broker.data):
        os.chmod(directory, 0o755)
    before = ["setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups", str(program)]
    ctl_program, ctl.program = ctl.program, "list_queues"
    try:
        done = ctl.run(before=before)
    finally:
        ctl.program = ctl_program
    assert done.returncode == 77, done.stderr
    assert f"uid {nobody.pw_uid} may not administer this broker" in done.stderr


def test_help_man_and_completion_come_from_the_tables(ctl, broker):
    everything = ctl.run("help").stdout
    for command in ("list_queues", "close_connection", "await_startup"):
        assert command in everything
    assert "__man" not in everything
    one = ctl.run("help", "list_queues").stdout
    assert "messages_unacknowledged" in one and "--vhost" in one
    assert ctl.run("list_queues", "--help").stdout == one

    def complete(*words):
        return ctl.run("__complete", *words).stdout.split()

    assert complete("list_q") == ["list_queues"]
    assert "messages_ready" in complete("list_queues", "name", "mess")
    assert complete("list_queues", "--form") == ["--formatter"]
    assert "/" in complete("list_queues", "-p", "")
    assert complete("--socket", "/nonexistent", "purge_queue", "") == []
