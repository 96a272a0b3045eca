"""Start: what is published, what prevents it, and the exit status that says why."""

import json
import os
import re
import shutil
import signal
import socket
import time
from pathlib import Path

import pika
import pytest
from conftest import LIMIT_S, connect, support, wait_log

DATA_DIR, ADDRESS = 73, 75


def words(tmp_path, port=0):
    """Enough for a daemon of its own."""
    return ["--set", f"listeners.tcp.1=127.0.0.1:{port}", "--set", "allow_root=true",
            "--set", f"management.socket.path={tmp_path}/a.sock", "--set", "management.tcp.port=none"]


def test_addresses_are_published(broker):
    assert broker.addresses["pid"] == str(broker.proc.pid)
    host, port = broker.addresses["amqp.1"].rsplit(":", 1)
    assert host == "127.0.0.1"
    assert int(port) > 0
    assert Path(broker.addresses["admin"]).is_socket()
    connect(broker).close()


def test_both_families(start):
    if not support.has_ipv6_loopback():
        pytest.skip("no IPv6 here")
    broker = start(ipv6=True)
    assert broker.addresses["amqp.2"].startswith("[::1]:")
    with socket.create_connection(("::1", int(broker.addresses["amqp.2"].rsplit(":", 1)[1])), timeout=LIMIT_S) as s:
        s.sendall(support.HEADER)
        assert s.recv(1) == b"\x01"


def test_it_says_how_long_the_start_took(broker):
    assert re.search(r"server startup complete in \d+ ms", wait_log(broker, "server startup complete"))


def test_the_start_counts_queues_and_not_what_the_store_has_for_them(broker):
    """A priority queue has one of the store for each level that was used, a delayed exchange one too."""
    channel = connect(broker).channel()
    channel.queue_declare("levels", durable=True, arguments={"x-max-priority": 9})
    channel.queue_declare("plain", durable=True)
    channel.queue_declare("gone")
    channel.exchange_declare("later", "x-delayed-message", durable=True, arguments={"x-delayed-type": "fanout"})
    channel.confirm_delivery()
    for level in (0, 3, 5, 9):
        channel.basic_publish("", "levels", b"m", pika.BasicProperties(priority=level, delivery_mode=2))
    channel.basic_publish("", "plain", b"m", pika.BasicProperties(delivery_mode=2))
    broker.restart()
    wait_log(broker, ": 2 queues and 5 messages recovered")


def test_the_data_directory_is_made(start):
    broker = start({"node.data_dir": "ignored, --data-dir wins"})
    names = {p.name for p in broker.data.iterdir()}
    assert {"LOCK", "node.id", "addresses", "control", "store"} <= names
    assert len((broker.data / "node.id").read_text()) == 32
    assert broker.data.joinpath("store").stat().st_mode & 0o007 == 0


def test_the_node_keeps_its_id(broker):
    before = (broker.data / "node.id").read_text()
    broker.restart(clean=False)
    assert (broker.data / "node.id").read_text() == before


def test_a_data_directory_in_use(broker, sluiced, tmp_path):
    done = sluiced(*words(tmp_path), "--data-dir", broker.data)
    assert done.status == DATA_DIR
    assert f"{broker.data} is in use by another sluiced" in done.err
    connect(broker).close()  # the first one never noticed
    assert broker.addresses["amqp.1"] in (broker.data / "addresses").read_text()


def test_a_data_directory_that_cannot_be_made(sluiced, tmp_path):
    (tmp_path / "file").write_text("")
    done = sluiced(*words(tmp_path), "--data-dir", tmp_path / "file" / "data")
    assert done.status == DATA_DIR
    assert f"{tmp_path}/file/data" in done.err
    assert "Not a directory" in done.err


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to be root, to become somebody else")
def test_a_data_directory_that_is_not_writable(sluiced, tmp_path):
    data = tmp_path / "data"
    data.mkdir(mode=0o755)
    for path in (tmp_path, *tmp_path.parents):  # let the other user come this far
        if path == Path("/tmp"):
            break
        path.chmod(path.stat().st_mode | 0o011)
    if not os.access(os.environ["SLUICED"], os.X_OK) or not _others_reach(Path(os.environ["SLUICED"])):
        pytest.skip("another user cannot reach the program")
    done = sluiced(*words(tmp_path), "--data-dir", data, before=("setpriv", "--reuid=65534", "--regid=65534",
                                                                  "--clear-groups"))
    assert done.status == DATA_DIR
    assert str(data) in done.err
    assert "Permission denied" in done.err


def _others_reach(path):
    return all(p.stat().st_mode & 0o001 for p in (path.resolve(), *path.resolve().parents))


@pytest.mark.parametrize("management", [False, True])
def test_a_port_in_use(sluiced, tmp_path, management):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        port = s.getsockname()[1]
        options = words(tmp_path, 0 if management else port)
        if management:
            options += ["--set", "management.tcp.ip=127.0.0.1", "--set", f"management.tcp.port={port}"]
        done = sluiced(*options, "--data-dir", tmp_path / "data")
    assert done.status == ADDRESS
    assert (f"management API: cannot listen on 127.0.0.1 port {port}" if management else f"127.0.0.1:{port}") in done.err
    assert "in use" in done.err
    assert not (tmp_path / "data" / "addresses").exists()


def test_the_pid_file(start, tmp_path, monkeypatch):
    path = tmp_path / "pid"
    monkeypatch.setenv("SLUICED", _wrapper(tmp_path, f"--pid-file {path}"))
    broker = start()
    assert path.read_text().strip() == str(broker.pid)


def test_a_pid_file_that_cannot_be_written(sluiced, tmp_path):
    done = sluiced(*words(tmp_path), "--pid-file", tmp_path / "no" / "pid", "--data-dir", tmp_path / "data")
    assert done.status == DATA_DIR
    assert "no/pid" in done.err


def _wrapper(tmp_path, options):
    """A program that is sluiced with more options."""
    path = tmp_path / "wrapped"
    path.write_text(f'#!/bin/sh\nexec {os.environ["SLUICED"]} "$@" {options}\n')
    path.chmod(0o755)
    return str(path)


def test_readiness_is_told(start, tmp_path, monkeypatch):
    """sd_notify: READY=1 once it accepts connections, STOPPING=1 when it does not any more."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.bind(str(tmp_path / "notify"))
        s.settimeout(LIMIT_S)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        broker = start()

        def told(what):
            end = time.monotonic() + LIMIT_S
            while time.monotonic() < end:
                if what in s.recv(4096).decode().split("\n"):
                    return True
            return False
        assert told("READY=1")
        broker.stop()
        assert told("STOPPING=1")


def test_variables_reach_the_daemon(start, monkeypatch):
    monkeypatch.setenv("SLUICE_NODE_NAME", "left@here")
    monkeypatch.setenv("SLUICE_DEFAULT_USER", "ours")
    monkeypatch.setenv("SLUICE_DEFAULT_PASS", "hush")
    monkeypatch.setenv("SLUICE_CONF__channel_max", "7")
    broker = start()
    connection = connect(broker, credentials=pika.PlainCredentials("ours", "hush"))
    with pytest.raises(pika.exceptions.NoFreeChannels):
        for _ in range(8):
            connection.channel()
    assert "hush" not in wait_log(broker, "left@here")
    with pytest.raises(pika.exceptions.AMQPConnectionError):
        connect(broker, credentials=pika.PlainCredentials("guest", "guest"))


def test_json_log(start):
    broker = start({"log.console.formatter": "json", "log.console.level": "debug"})
    connect(broker).close()
    wait_log(broker, "granted access")
    broker.stop()
    lines = [json.loads(line) for line in broker.log_text().splitlines()]
    assert all({"time", "level", "msg", "category", "node"} <= set(line) for line in lines)
    assert {line["event"] for line in lines} >= {"start.begin", "start.done", "listener.started", "stop.begin"}
    assert next(x for x in lines if x["event"] == "start.begin")["pid"] == broker.pid


def test_plain_log(broker):
    line = wait_log(broker, "server startup complete").splitlines()[-1]
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}\+00:00 \[info\] <default> server startup complete", line)


def test_log_file_and_its_reopening(start, tmp_path):
    path = tmp_path / "sluice.log"
    broker = start({"log.file": str(path), "log.console": "false"})
    support.wait_until(lambda: "startup complete" in path.read_text(), LIMIT_S, "the start in the file")
    path.rename(tmp_path / "sluice.log.1")
    os.kill(broker.pid, signal.SIGUSR1)
    support.wait_until(path.exists, LIMIT_S, "a new log file")
    connect(broker).close()
    support.wait_until(lambda: "granted access" in path.read_text(), LIMIT_S, "lines in the new file")
    assert "granted access" not in (tmp_path / "sluice.log.1").read_text()
    assert broker.log_text() == ""


def test_the_state_on_request(broker):
    connection = connect(broker)
    channel = connection.channel()
    channel.queue_declare("held", durable=True)
    channel.confirm_delivery()
    for _ in range(3):
        channel.basic_publish("", "held", b"x" * 5000, pika.BasicProperties(delivery_mode=2))
    os.kill(broker.pid, signal.SIGUSR2)
    log = wait_log(broker, "state: most disk space is held by")
    assert re.search(r"state: up \d+ s, serving; 1 connections, 1 channels, 1 queues, 0 consumers, 3 messages ready, 0 unacked", log)
    assert re.search(r"state: memory \d+ of \d+ bytes; disk \d+ bytes free, limit \d+; \d+ of \d+ file descriptors", log)
    assert re.search(r"state: store: .*live_messages 3,", log)
    assert re.search(r"state: most disk space is held by queue 'held' in vhost '/' \(14\.6 KiB in 3 messages\)", log)
    connection.close()


def test_a_store_of_an_unknown_format_is_refused(broker, sluiced, tmp_path):
    """Something that is no LMDB environment at all: named, not overwritten."""
    broker.stop()
    files = [p for p in broker.data.joinpath("store").rglob("data.mdb")] or \
        [p for p in broker.data.joinpath("store").iterdir() if p.is_file() and "lock" not in p.name]
    assert files
    for path in files:
        size = path.stat().st_size
        path.write_bytes(b"this is not a store" + b"\0" * min(size, 65536))
    before = files[0].read_bytes()
    done = sluiced(*words(tmp_path), "--data-dir", broker.data)
    assert done.status == 65
    assert "store" in done.err
    assert files[0].read_bytes() == before
    # Nothing of ours leaves an empty file: whoever lost its contents must hear of it, and not begin without messages.
    files[0].write_bytes(b"")
    done = sluiced(*words(tmp_path), "--data-dir", broker.data)
    assert done.status == 65
    assert "data.mdb is empty" in done.err and files[0].stat().st_size == 0


def test_a_damaged_store_under_a_long_path(broker, sluiced, tmp_path):
    """What an operator is told to run names the whole directory or none."""
    broker.stop()
    data = tmp_path / ("long" * 25)
    shutil.copytree(broker.data, data)
    (data / "store" / "data.mdb").write_bytes(b"this is not a store" + b"\0" * 65536)
    done = sluiced(*words(tmp_path), "--data-dir", data)
    assert done.status == 65
    for given in re.findall(r"--dir ([^' ]+)", done.err):
        assert given in (str(data), "(the"), done.err
