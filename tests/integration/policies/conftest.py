"""A daemon with sluicectl and plain HTTP over its admin socket. SLUICED and SLUICECTL name the programs."""

import http.client
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pika
import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

from support import broker as support  # noqa: E402

DATA = HERE.parents[1] / "data" / "definitions"


class Admin:
    """The HTTP API and the command line of one broker."""

    def __init__(self, broker):
        self.broker = broker

    def http(self, method, *segments, body=None, raw=None):
        """Status and decoded body of a request; segments are names, not encoded."""
        connection = http.client.HTTPConnection("localhost", timeout=60)
        connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.sock.settimeout(60)
        connection.sock.connect(self.broker.admin)
        data = raw if raw is not None else (None if body is None else json.dumps(body).encode())
        connection.request(method, "/api/" + "/".join(quote(s, safe="") for s in segments), body=data,
                           headers={"Content-Type": "application/json"} if data is not None else {})
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        return answer.status, json.loads(text) if text else None

    def environment(self):
        env = {k: v for k, v in os.environ.items() if not k.startswith(("SLUICECTL_", "RABBITMQ_"))}
        env.update({"LC_ALL": "C.UTF-8", "SLUICECTL_SOCKET": self.broker.admin})
        return env

    def ctl(self, *words, stdin=""):
        """The finished process of sluicectl."""
        return subprocess.run([os.environ["SLUICECTL"], *words], env=self.environment(), input=stdin, capture_output=True,
                              timeout=60, check=False, encoding="utf-8")

    def start(self, *words):
        """sluicectl, running."""
        return subprocess.Popen([os.environ["SLUICECTL"], *words], env=self.environment(), stdin=subprocess.DEVNULL)

    def rows(self, *words):
        """What a list command prints, without its header."""
        done = self.ctl(*words)
        assert done.returncode == 0, done.stderr
        return [line.split("\t") for line in done.stdout.splitlines()[1:]]

    def definitions(self):
        status, body = self.http("GET", "definitions")
        assert status == 200
        return body


@pytest.fixture
def broker():
    with support.new(kind="sluice") as running:
        yield running


@pytest.fixture
def admin(broker):
    return Admin(broker)


@pytest.fixture
def channel(broker):
    connection = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", broker.port))
    yield connection.channel()
    if connection.is_open:
        connection.close()
