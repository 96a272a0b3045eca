"""Commands for who runs the broker: configuration, log, listeners, the process and its machine.  @spec operations 2.5, 2.6, 4.6, 7"""

import base64
import json
import os
import re
import signal
import socket
import subprocess
import urllib.error
import urllib.request

import conftest
import pika
import pytest
from conftest import support

SECRET = "s3cret-0815"


def good(done):
    assert done.returncode == 0, done.stderr
    return done.stdout


def as_json(ctl, *words):
    return json.loads(good(ctl.run("-q", *words, "--formatter", "json")))


def until(check, what):
    return support.wait_until(check, 60, what)


def can_connect(broker):
    try:
        socket.create_connection((broker.host, broker.port), 20).close()
        return True
    except ConnectionRefusedError:
        return False


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A daemon with a log file and secrets of several kinds, and sluicectl for it."""
    monkeypatch.setenv("SLUICE_CONF__ssl_options__password", SECRET)
    monkeypatch.setenv("SLUICE_DEFAULT_PASS", SECRET)
    with support.new(kind="sluice", config={"log.dir": tmp_path, "log.file": "own.log", "heartbeat": "60",
                                            "management.ssl.password": SECRET}) as broker:
        yield broker, conftest.Ctl(tmp_path, broker.admin), tmp_path / "own.log"


def write(broker, **keys):
    """New settings in its file."""
    broker.config.update({key.replace("__", "."): value for key, value in keys.items()})
    broker._write_config()


# ---- configuration


def test_config_shows_sources_and_differences(own):
    broker, ctl, _ = own
    shown = {e["key"]: e for e in as_json(ctl, "config", "show")}
    file = str(broker.dir / "sluice.conf")
    assert shown["listeners.tcp.1"] == {"key": "listeners.tcp.1", "value": "127.0.0.1:0", "source": f"{file}:1"}
    assert shown["node.data_dir"]["source"] == "--data-dir"
    assert shown["frame_max"] == {"key": "frame_max", "value": "131072", "source": "default"}
    different = {e["key"]: e for e in as_json(ctl, "config", "diff")}
    assert different["node.data_dir"]["default"] == "/var/lib/sluice"
    assert "heartbeat" not in different, "60 is the default, whoever says so"
    assert "frame_max" not in different and different["listeners.tcp.1"]["default"] is None
    for text in (good(ctl.run("config", "show")), good(ctl.run("config", "diff")), good(ctl.run("environment"))):
        assert SECRET not in text and "management.ssl.password" in text
    assert ctl.run("config", "bogus").returncode == 64
    assert ctl.run("config", "show", "x").returncode == 64


def test_reload_says_what_changed(own):
    broker, ctl, _ = own
    write(broker, max_connections="1", frame_max="8192")
    for command, end in (("config check", "is valid"), ("reload", "was reloaded")):
        lines = good(ctl.run(*command.split())).splitlines()
        assert lines[:2] == ["max_connections: changed", "frame_max: changed, takes effect at the next start"]
        assert lines[2].endswith(end)
    kept = pika.BlockingConnection(pika.ConnectionParameters(broker.host, broker.port, credentials=pika.PlainCredentials("guest", SECRET)))
    with pytest.raises(pika.exceptions.AMQPConnectionError):
        pika.BlockingConnection(pika.ConnectionParameters(broker.host, broker.port, credentials=pika.PlainCredentials("guest", SECRET)))
    kept.close()
    assert json.loads(good(ctl.run("reload", "--formatter", "json"))) == {"changed": [], "warnings": []}
    assert good(ctl.run("reload", "--dry-run")) == "POST /api/sluice/config/reload\n"


@pytest.mark.parametrize("wrong", ["value", "file", "certificate", "log"])
def test_a_wrong_configuration_is_the_error_of_the_command(own, tmp_path, wrong):
    broker, ctl, log = own
    (tmp_path / "no.pem").write_text("no")
    keys = {"value": {"frame_max": "1"}, "file": {}, "log": {"log__dir": tmp_path / "nosuch"},
            "certificate": {"listeners__ssl__1": "127.0.0.1:0", "ssl_options__certfile": tmp_path / "no.pem",
                            "ssl_options__keyfile": tmp_path / "no.pem"}}[wrong]
    write(broker, log__console__level="error", log__file__level="error", **keys)
    if wrong == "file":
        (broker.dir / "sluice.conf").unlink()
    said = {"value": "sluice.conf:", "file": "sluice.conf", "log": "nosuch/own.log", "certificate": "ssl_options.certfile"}[wrong]
    for command in (["reload"], ["config", "check"]):
        done = ctl.run(*command)
        assert done.returncode == 78, done.stderr
        assert said in done.stderr
    assert "log.file.level" not in {e["key"] for e in as_json(ctl, "config", "diff")}
    good(ctl.run("add_vhost", "seen"))
    until(lambda: "vhosts/seen" in log.read_text(), "a line of level info: the level is the old one")


def test_check_without_a_broker_or_of_another_file(ctl, tmp_path):
    (tmp_path / "good.conf").write_text("heartbeat = 5\n")
    (tmp_path / "bad.conf").write_text("heartbeat = often\n")
    (tmp_path / "tls.conf").write_text(f"listeners.ssl.1 = 1\nssl_options.certfile = {tmp_path}/good.conf\n"
                                       f"ssl_options.keyfile = {tmp_path}/good.conf\n")
    assert "is valid" in good(ctl.run("config", "check", str(tmp_path / "good.conf")))
    for name, said in (("bad", "heartbeat"), ("tls", "ssl_options.certfile"), ("nosuch", "nosuch.conf")):
        done = ctl.run("config", "check", str(tmp_path / f"{name}.conf"))
        assert done.returncode == 78 and said in done.stderr
    nobody = dict(SLUICECTL_SOCKET=str(tmp_path / "nobody.sock"))
    assert ctl.run("config", "check", SLUICE_CONFIG=str(tmp_path / "bad.conf"), **nobody).returncode == 78
    assert "is valid" in good(ctl.run("config", "check", SLUICE_CONFIG=str(tmp_path / "good.conf"), **nobody))
    assert ctl.run("config", "show", **nobody).returncode == 69


# ---- log


def test_the_log_level_takes_effect_at_once_and_until_a_reload(own):
    broker, ctl, log = own

    def connect():
        pika.BlockingConnection(pika.ConnectionParameters(broker.host, broker.port, credentials=pika.PlainCredentials("guest", SECRET))).close()

    def settled():
        """A line of level error, behind which everything else has been written."""
        with socket.create_connection((broker.host, broker.port), 20) as bad:
            before = log.read_text().count("[error]")
            bad.sendall(b"AMQP\0\0\x09\x01" + b"\x09" * 8)
            until(lambda: log.read_text().count("[error]") > before, "an error in the log")

    good(ctl.run("set_log_level", "error"))
    connect()
    good(ctl.run("add_vhost", "unseen"))
    settled()
    assert "granted access" not in log.read_text() and "vhosts/unseen" not in log.read_text()
    good(ctl.run("set_log_level", "notice"))
    connect()
    until(lambda: "granted access" in log.read_text(), "a line of level info")
    good(ctl.run("set_log_level", "none"))
    good(ctl.run("add_vhost", "unseen2"))
    good(ctl.run("reload"))
    good(ctl.run("add_vhost", "seen"))
    until(lambda: "vhosts/seen" in log.read_text(), "a line: the level is the file's again")
    assert "vhosts/unseen2" not in log.read_text()
    done = ctl.run("set_log_level", "loud")
    assert done.returncode == 65 and "level loud is not supported" in done.stderr and "warning" in done.stderr


@pytest.mark.parametrize("how", ["command", "signal"])
def test_rotated_logs_go_on_in_a_new_file(own, how):
    broker, ctl, log = own
    log.rename(log.with_suffix(".1"))
    if how == "command":
        good(ctl.run("rotate_logs"))
    else:
        os.kill(broker.pid, signal.SIGUSR1)
    until(log.exists, "a new file")
    good(ctl.run("add_vhost", "after"))
    until(lambda: "vhosts/after" in log.read_text(), "lines in the new file")
    assert "vhosts/after" not in log.with_suffix(".1").read_text()
    assert "starting Sluice" in log.with_suffix(".1").read_text()


def test_where_the_log_is_and_how_it_ends(own):
    broker, ctl, log = own
    assert good(ctl.run("log_location")) == f"{log}\n"
    assert good(ctl.run("log_location", "--all")) == f"{log}\n<stderr>\n"
    good(ctl.run("add_vhost", "last"))
    until(lambda: "vhosts/last" in good(ctl.run("log_tail", "-N", "1")), "the line")
    written = log.read_text().splitlines()
    assert good(ctl.run("log_tail", "--number", "3")).splitlines() == written[-3:]
    assert good(ctl.run("log_tail")).splitlines() == written[-50:]
    assert ctl.run("log_tail", "-N", "0").returncode == 64
    assert ctl.run("log_tail", "-N", "1000000").returncode == 65


def test_the_log_can_be_followed(own, tmp_path):
    _, ctl, _ = own
    with open(tmp_path / "followed", "w", encoding="utf-8") as out:
        process = subprocess.Popen([ctl.program, "log_tail_stream"], env=ctl.environment(), stdout=out)

    def seen():
        """When it listens it has the next line."""
        good(ctl.run("set_log_level", "info"))
        return "the log level was set to info" in (tmp_path / "followed").read_text()

    try:
        until(seen, "a line that was written after it began")
        assert "starting Sluice" not in (tmp_path / "followed").read_text()
    finally:
        process.terminate()
        process.wait(60)
    good(ctl.run("log_tail_stream", "-d", "1"))


# ---- the process


def test_wait(own, tmp_path):
    broker, ctl, _ = own
    good(ctl.run("wait", "--pid", str(broker.pid)))
    pidfile = tmp_path / "pid"
    pidfile.write_text(f"{broker.pid}\n")
    good(ctl.run("wait", str(pidfile)))
    assert ctl.run("wait").returncode == 64
    assert ctl.run("wait", str(pidfile), "--pid", "1").returncode == 64
    assert ctl.run("wait", "--pid", "x").returncode == 64
    done = ctl.run("wait", str(tmp_path / "nosuch"), "-t", "0.2")
    assert done.returncode == 75 and "timed out" in done.stderr
    child = subprocess.Popen(["true"])
    child.wait()
    done = ctl.run("wait", "--pid", str(child.pid), SLUICECTL_SOCKET=str(tmp_path / "nobody.sock"))
    assert done.returncode == 69 and f"process {child.pid} is not running" in done.stderr
    done = ctl.run("wait", "--pid", str(os.getpid()), "-t", "0.2", SLUICECTL_SOCKET=str(tmp_path / "nobody.sock"))
    assert done.returncode == 75, "it runs and is no broker"


def test_command_line_and_environment_have_no_secrets(tmp_path, monkeypatch):
    """Every spelling of --set that getopt_long takes."""
    monkeypatch.setenv("SLUICE_DEFAULT_PASS", SECRET)
    monkeypatch.setenv("SLUICE_CONF__management__ssl__password", SECRET)
    monkeypatch.setenv("SLUICE_CONF__heartbeat", "7")
    monkeypatch.setenv("UNRELATED", "x")
    words = ["--set", f"default_pass={SECRET}", f"--set=management.ssl.password={SECRET}", "-s", f"default_pass = {SECRET}",
             f"-sssl_options.password={SECRET}", f"--se=default_pass={SECRET}", "--set", "heartbeat=8"]
    program = tmp_path / "sluiced"
    program.write_text("#!/bin/sh\nexec " + os.environ["SLUICED"] + ' "$@" ' + " ".join(f"'{w}'" for w in words) + "\n")
    program.chmod(0o755)
    monkeypatch.setenv("SLUICED", str(program))
    with support.new(kind="sluice") as broker:
        ctl = conftest.Ctl(tmp_path, broker.admin)
        shown = good(ctl.run("command_line_arguments")).splitlines()
        assert shown[-9:] == ["--set", "default_pass=********", "--set=management.ssl.password=********", "-s", "default_pass=********",
                              "-sssl_options.password=********", "--se=default_pass=********", "--set", "heartbeat=8"]
        assert as_json(ctl, "command_line_arguments") == shown
        variables = dict(line.split("=", 1) for line in good(ctl.run("os_env")).splitlines())
        assert variables["SLUICE_CONF__heartbeat"] == "7"
        assert variables["SLUICE_DEFAULT_PASS"] == variables["SLUICE_CONF__management__ssl__password"] == "********"
        assert "UNRELATED" not in variables
        assert SECRET not in good(ctl.run("report"))


def test_directories(own):
    broker, ctl, log = own
    lines = good(ctl.run("directories")).splitlines()
    assert lines == [f"Data directory: {broker.data}", f"Config file: {broker.dir}/sluice.conf", f"Log file: {log}",
                     "Log file: <stderr>", f"Admin socket: {broker.admin}"]


def test_threads(ctl):
    rows = as_json(ctl, "runtime_thread_stats", "--sample-interval", "1")
    assert {"loop", "http", "store", "control", "log"} <= {row["thread"] for row in rows}
    for row in rows:
        assert abs(row["user"] + row["system"] + row["sleep"] - 100) < 0.1 and row["sleep"] >= 0
    assert ctl.run("runtime_thread_stats", "--sample-interval", "0").returncode == 64


def test_ciphers_and_network(ctl):
    for kind in ("openssl", "iana"):
        names = good(ctl.run("cipher_suites", "--format", kind)).splitlines()
        assert names == as_json(ctl, "cipher_suites", "--format", kind) and "TLS_AES_256_GCM_SHA384" in names
    assert "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384" in names and "ECDHE-RSA-AES256-GCM-SHA384" in good(ctl.run("cipher_suites"))
    assert ctl.run("cipher_suites", "--format", "erlang").returncode == 65
    (lo,) = [i for i in as_json(ctl, "list_network_interfaces") if i["name"] == "lo"]
    assert {"addr": "127.0.0.1", "netmask": "255.0.0.0"} in lo["addresses"] and "loopback" in lo["flags"]
    assert "Interface lo\n" in good(ctl.run("list_network_interfaces"))
    assert "127.0.0.1" in good(ctl.run("resolve_hostname", "localhost")).splitlines()
    assert as_json(ctl, "resolve_hostname", "::1", "--address-family", "ipv6") == ["::1"]
    done = ctl.run("resolve_hostname", "::1")
    assert done.returncode == 65 and "does not resolve" in done.stderr
    assert ctl.run("resolve_hostname", "localhost", "--address-family", "ipx").returncode == 65


def test_the_ciphers_are_those_of_the_listener(own, tmp_path):
    broker, ctl, _ = own
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=x",
                    "-keyout", tmp_path / "k.pem", "-out", tmp_path / "c.pem"], check=True, capture_output=True)
    write(broker, listeners__ssl__1="127.0.0.1:0", ssl_options__certfile=tmp_path / "c.pem", ssl_options__keyfile=tmp_path / "k.pem",
          ssl_options__versions__1="tlsv1.2", ssl_options__ciphers__1="ECDHE-ECDSA-AES256-GCM-SHA384")
    broker.restart()
    assert good(ctl.run("cipher_suites")).splitlines() == ["ECDHE-ECDSA-AES256-GCM-SHA384"]


# ---- listeners


def health(broker, check):
    """The status of a health check, over HTTP as a load balancer asks."""
    request = urllib.request.Request(f"{broker.management_url()}/api/health/checks/{check}")
    request.add_header("Authorization", "Basic " + base64.b64encode(b"guest:guest").decode())
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def test_suspended_listeners_refuse_and_resume(ctl, broker):
    kept = pika.BlockingConnection(pika.ConnectionParameters(broker.host, broker.port))
    for _ in range(2):
        good(ctl.run("suspend_listeners"))
        good(ctl.run("suspend_listeners"))
        assert not can_connect(broker)
        assert f"port: {broker.port}, protocol: amqp, purpose: AMQP 0-9-1, suspended" in good(ctl.run("listeners"))
        assert ctl.run("check_port_listener", str(broker.port)).returncode == 69
        assert ctl.run("check_protocol_listener", "amqp").returncode == 69
        assert [health(broker, check) for check in (f"port-listener/{broker.port}", "protocol-listener/amqp")] == [503, 503]
        kept.channel().queue_declare("works", exclusive=True)
        good(ctl.run("resume_listeners"))
        assert can_connect(broker)
        good(ctl.run("check_port_listener", str(broker.port)))
        assert [health(broker, check) for check in (f"port-listener/{broker.port}", "protocol-listener/amqp")] == [200, 200]
        assert "suspended" not in good(ctl.run("listeners"))
    kept.close()


def test_a_stop_of_a_suspended_broker_is_clean(own):
    broker, ctl, _ = own
    good(ctl.run("suspend_listeners"))
    broker.restart()
    assert can_connect(broker)


# ---- cluster, report, eval


def test_cluster_status(ctl, broker):
    text = good(ctl.run("cluster_status"))
    node = json.loads(good(ctl.run("status", "--formatter", "json")))["node"]
    assert f"Disk Nodes\n\n{node}\n" in text and f"Node: {node}, status: not under maintenance" in text
    assert f"interface: 127.0.0.1, port: {broker.port}, protocol: amqp" in text
    state = as_json(ctl, "cluster_status")
    assert state["running_nodes"] == state["disk_nodes"] == [node] and state["alarms"] == [] and state["partitions"] == {}
    assert {"amqp", "http"} <= {x["protocol"] for x in state["listeners"][node]}
    assert state["versions"][node]["rabbitmq_name"] == "Sluice"


def test_report_has_everything_but_secrets_and_messages(own):
    broker, ctl, _ = own
    connection = pika.BlockingConnection(pika.ConnectionParameters(broker.host, broker.port, credentials=pika.PlainCredentials("guest", SECRET)))
    channel = connection.channel()
    channel.queue_declare("reported", durable=True)
    channel.confirm_delivery()
    channel.basic_publish("", "reported", b"the-body-of-it")
    good(ctl.run("add_vhost", "second"))
    good(ctl.run("set_policy", "p1", "^a", '{"max-length":10}'))
    good(ctl.run("set_global_parameter", "site", json.dumps(
        {"uri": f"amqp://u:{SECRET}@h/v", "upstream-password": f'{SECRET} " {SECRET}', "kept": "this"})))
    text = good(ctl.run("report"))
    connection.close()
    for part in ("OS PID: ", "Cluster name: ", "heartbeat = 60", "reported\tclassic", "Queues of virtual host second", "p1\t^a",
                 "amq.topic", "guest\t[administrator]", '"kept":"this"', "amqp://u:********@h/v", '"upstream-password":"********"',
                 "Processors: ", "starting Sluice", "Sockets: 1"):
        assert part in text, part
    assert SECRET not in text and "the-body-of-it" not in text and "\033" not in text


LOGIN = "rabbit_access_control:check_user_pass_login({}, {})."


def test_puppet_checks_a_password(ctl):
    good(ctl.run("add_user", "eve", 'p"w\\'))
    for user, word in (('list_to_binary("eve")', 'list_to_binary("p\\"w\\\\")'), ('<<"eve">>', '<<"p\\"w\\\\"/utf8>>')):
        assert good(ctl.run("eval", LOGIN.format(user, word))).startswith('{ok,{user,<<"eve">>,[],')
        assert good(ctl.run("eval", LOGIN.format(user, '<<"no">>'))) == \
            '{refused,<<"eve">>,"user \'~s\' - invalid credentials",[<<"eve">>]}\n'
    good(ctl.run("delete_user", "eve"))


@pytest.mark.parametrize("expression", [
    "1+1.", "", "rabbit_access_control:check_user_pass_login(<<\"guest\">>).", LOGIN.format('<<"guest">>', "\"guest\""),
    LOGIN.format('<<"guest">>', '<<"guest">>') + " init:stop().", LOGIN.format('<<"guest">>', '<<"guest"').rstrip("."),
    LOGIN.format('<<"guest">>', '<<"gu\\x{65}st">>'), "rabbit:stop().", LOGIN.format('<<"guest">>', '<<"guest\\'),
])
def test_no_other_expression_is_evaluated(ctl, expression):
    done = ctl.run("eval", expression)
    assert (done.returncode, done.stdout) == (69, "") and "there is no Erlang" in done.stderr


def test_what_needs_erlang_is_refused_with_a_way_out(ctl):
    for command in ("encode", "decode", "exec", "observer", "remote_shell"):
        done = ctl.run(command)
        assert (done.returncode, done.stdout) == (69, "") and len(done.stderr.splitlines()) == 2
    assert "file:/path" in ctl.run("encode", "v", "pass").stderr


def test_policies_that_match_a_queue(ctl, broker):
    connection = pika.BlockingConnection(pika.ConnectionParameters(broker.host, broker.port))
    connection.channel().queue_declare("matched.q")
    try:
        for name, pattern, kind, priority in (("low", "^matched", "all", 1), ("high", "q$", "queues", 9), ("other", "^x", "all", 99),
                                              ("exchanges", ".*", "exchanges", 99)):
            good(ctl.run("set_policy", name, pattern, '{"max-length":5}', "--apply-to", kind, "--priority", str(priority)))
        rows = as_json(ctl, "list_policies_that_match", "matched.q")
        assert [row["name"] for row in rows] == ["high", "low"]
        assert rows[0] in as_json(ctl, "list_policies") and rows[0]["definition"] == {"max-length": 5}
        assert good(ctl.run("-s", "list_queues", "name", "policy")) == "matched.q\thigh\n"
        assert ctl.run("list_policies_that_match", "nosuch").returncode == 65
        assert ctl.run("list_policies_that_match", "-p", "nosuch", "matched.q").returncode == 65
    finally:
        for name in ("low", "high", "other", "exchanges"):
            ctl.run("clear_policy", name)
        connection.channel().queue_delete("matched.q")
        connection.close()


# ---- who may


PATHS = [("GET", "config"), ("POST", "config/reload"), ("POST", "config/check"), ("GET", "log"), ("PUT", "log/level"),
         ("POST", "logs/rotate"), ("POST", "listeners/suspend"), ("POST", "listeners/resume"), ("GET", "process"),
         ("GET", "policies/%2F/q"), ("GET", "threads"), ("GET", "interfaces"), ("GET", "cipher-suites"), ("GET", "resolve/localhost")]


def test_only_administrators_may(ctl, broker):
    good(ctl.run("add_user", "watcher", "pw"))
    good(ctl.run("set_user_tags", "watcher", "monitoring", "policymaker"))
    for method, path in PATHS:
        request = urllib.request.Request(f"{broker.management_url()}/api/sluice/{path}", method=method, data=b"{}" if method == "PUT" else None)
        request.add_header("Authorization", "Basic " + base64.b64encode(b"watcher:pw").decode())
        with pytest.raises(urllib.error.HTTPError) as error:
            urllib.request.urlopen(request, timeout=30)
        assert error.value.code == 401, path
    assert can_connect(broker)
    good(ctl.run("delete_user", "watcher"))


def test_bad_questions_to_the_log(broker):
    for query in ("lines=x", "lines=99999", "lines=", "after=-1", "level=loud"):
        request = urllib.request.Request(f"{broker.management_url()}/api/sluice/log?{query}")
        request.add_header("Authorization", "Basic " + base64.b64encode(b"guest:guest").decode())
        with pytest.raises(urllib.error.HTTPError) as error:
            urllib.request.urlopen(request, timeout=30)
        assert error.value.code == 400 and re.search("lines is a number", error.value.read().decode())
