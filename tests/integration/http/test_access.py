"""The management API over TCP: who is let in, and what bad requests get."""

import base64
import contextlib
import http.client
import json
import socket
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

from support import broker as support  # noqa: E402

TIMEOUT = 60


@pytest.fixture(scope="module")
def broker():
    with support.new(kind="sluice", config={"management.http.max_body_size": "4KiB"}) as running:
        yield running


def address(broker):
    host, port = broker.addresses["http"].rsplit(":", 1)
    return host, int(port)


def ask(broker, method, path, body=None, user="guest:guest"):
    connection = http.client.HTTPConnection(*address(broker), timeout=TIMEOUT)
    headers = {}
    if user is not None:
        headers["Authorization"] = "Basic " + base64.b64encode(user.encode()).decode()
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    return answer, text


@pytest.mark.parametrize("user", [None, "guest:wrong", "nobody:guest", "guest", "guest:"])
def test_no_login(broker, user):
    answer, text = ask(broker, "GET", "/api/queues", user=user)
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"] == 'Basic realm="RabbitMQ Management"'
    if user is not None and ":" in user:
        assert json.loads(text) == {"error": "not_authorized", "reason": "Login failed"}


def test_login(broker):
    answer, text = ask(broker, "GET", "/api/vhosts")
    assert answer.status == 200
    assert [v["name"] for v in json.loads(text)] == ["/"]
    answer, text = ask(broker, "HEAD", "/api/vhosts")
    assert (answer.status, text) == (200, b"")


def test_keep_alive(broker):
    connection = http.client.HTTPConnection(*address(broker), timeout=TIMEOUT)
    headers = {"Authorization": "Basic " + base64.b64encode(b"guest:guest").decode()}
    connection.connect()
    first = connection.sock
    for _ in range(3):
        connection.request("GET", "/api/version", headers=headers)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200
        assert connection.sock is first
    connection.close()


def test_wrong_json(broker):
    answer, text = ask(broker, "PUT", "/api/policies/%2F/p", '{"pattern":}')
    assert answer.status == 400
    assert "line 1 column" in json.loads(text)["reason"]
    answer, text = ask(broker, "PUT", "/api/policies/%2F/p", "[1]")
    assert answer.status == 400


def test_body_too_large(broker):
    answer, text = ask(broker, "PUT", "/api/policies/%2F/p", b"x" * 4097)
    assert answer.status == 413
    assert "management.http.max_body_size" in json.loads(text)["reason"]


@pytest.fixture(scope="module")
def impatient():
    with support.new(kind="sluice", config={"management.tcp.idle_timeout": "1000"}) as running:
        yield running


@pytest.mark.parametrize("sent", [b"", b"GET /api/version HT", b"PUT /api/policies/%2F/p HTTP/1.1\r\n"
                                  b"Host: a\r\nContent-Length: 100\r\n\r\n{"])
def test_idle_is_closed(impatient, sent):
    with socket.create_connection(address(impatient), timeout=TIMEOUT) as peer:
        received = b""
        with contextlib.suppress(ConnectionError):  # it was closed before all was sent
            peer.sendall(sent)
            while data := peer.recv(4096):
                received += data
        assert b" 200 " not in received


def test_https_needs_a_certificate():
    with pytest.raises(support.BrokerError):
        with support.new(kind="sluice", config={"management.ssl.port": "0"}):
            pass
