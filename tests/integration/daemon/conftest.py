"""The daemon as a process. SLUICED, SLUICECTL and SLUICE_PERF name the programs under test."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pika
import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

from support import broker as support  # noqa: E402

# Starts of a daemon that must fail end long before; a sanitizer or a busy machine makes them slow.
LIMIT_S = 60


class Done:
    """A daemon that ended by itself."""

    def __init__(self, process):
        self.status = process.returncode
        self.out = process.stdout
        self.err = process.stderr


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    """No setting of the shell that runs the tests reaches the daemon."""
    for name in list(os.environ):
        if name.startswith(("SLUICE_", "RABBITMQ_", "SLUICECTL_")) and name not in ("SLUICE_PERF",):
            monkeypatch.delenv(name)
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)


@pytest.fixture
def sluiced(tmp_path):
    """Run it with these words until it ends; it must end by itself."""
    def run(*words, before=(), **environment):
        return Done(subprocess.run([*before, os.environ["SLUICED"], *map(str, words)], stdin=subprocess.DEVNULL,
                                   capture_output=True, text=True, timeout=LIMIT_S, check=False, cwd=tmp_path,
                                   env={**os.environ, **environment}))
    return run


@pytest.fixture
def config(tmp_path):
    """Write a configuration file of these lines; its path."""
    def write(*lines):
        path = tmp_path / "test.conf"
        path.write_text("".join(line + "\n" for line in lines))
        return path
    return write


# A client that does not answer connection.close holds an orderly stop up for this long, 60 s by default; the clients
# of these tests only answer while a test waits for them.
STOP_S = "2s"


@pytest.fixture
def start():
    """Start a daemon with these settings; it ends with the test."""
    running = []

    def run(config=None, **options):
        one = support.new({"shutdown.timeout": STOP_S, **(config or {})}, kind="sluice", **options)
        running.append(one)
        one.start()
        return one
    yield run
    while connections:
        try:
            connections.pop().close()
        except pika.exceptions.AMQPError:
            pass  # the test ended it, or the daemon did
    for one in running:
        one.close()


@pytest.fixture
def broker(start):
    """A running daemon with nothing special."""
    return start()


connections = []


def connect(broker, **parameters):
    """A connection of pika, closed at the end of the test."""
    connection = pika.BlockingConnection(pika.ConnectionParameters(broker.host, broker.port, **parameters))
    connections.append(connection)
    return connection


def refuses(broker):
    """Whether nobody accepts connections there."""
    with socket.socket() as s:
        s.settimeout(LIMIT_S)
        return s.connect_ex((broker.host, broker.port)) != 0


def wait_log(broker, text):
    """The log, once it has this text."""
    return broker.wait_log(text)
