"""Guessing passwords makes the guesser wait, and nobody else.

A refused login costs the broker a computation of some 75 ms, so hundreds of them are many seconds of work. The guesser here
comes from 127.0.0.2 and is not waited for: what counts is who is answered while its guesses are still in the queue.
"""

import select
import socket
import struct
import sys
import time
from base64 import b64encode
from http.client import HTTPConnection
from pathlib import Path

import pika
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))
import broker as support  # noqa: E402
from test_auth import connect, ctl  # noqa: E402

GUESSER, OTHER = "127.0.0.2", "127.0.0.3"
GUESSES = 400


def frame(method, arguments):
    payload = struct.pack(">HH", *method) + arguments
    return struct.pack(">BHI", 1, 0, len(payload)) + payload + b"\xce"


def guess(broker, user, password, address=GUESSER):
    """A connection that has sent its login. It says that it wants to be told, so the answer is connection.close."""
    s = socket.create_connection(("127.0.0.1", broker.port), 30, source_address=(address, 0))
    response = b"\0" + user.encode() + b"\0" + password.encode()
    capability = b"\x1cauthentication_failure_closet\1"
    properties = b"\x0ccapabilitiesF" + struct.pack(">I", len(capability)) + capability
    s.sendall(support.HEADER + frame((10, 11), struct.pack(">I", len(properties)) + properties + b"\5PLAIN" +
                                     struct.pack(">I", len(response)) + response + b"\5en_US"))
    return s


def receive(s, count):
    data = b""
    while len(data) < count and (chunk := s.recv(count - len(data))):
        data += chunk
    return data


def method(s):
    """(class, method, the rest) of the next frame."""
    head = receive(s, 7)
    payload = receive(s, struct.unpack(">I", head[3:])[0] + 1)[:-1]
    return *struct.unpack(">HH", payload[:4]), payload[4:]


def verdict(s):
    """True: let in, False: refused, in RabbitMQ's words, which do not say why."""
    assert method(s)[:2] == (10, 10)
    _, number, rest = method(s)
    if number == 50:
        assert rest.startswith(struct.pack(">HB", 403, rest[2]) + b"ACCESS_REFUSED - Login was refused using authentication "
                               b"mechanism PLAIN. For details see the broker logfile.")
    return {30: True, 50: False}[number]


def answered(sockets):
    """How many have their verdict: more than connection.start waits to be read."""
    readable = select.select(sockets, [], [], 0)[0]
    return sum(b"ACCESS_REFUSED" in s.recv(65536, socket.MSG_PEEK) for s in readable)


@pytest.fixture
def broker(request):
    config = {"auth.failure_delay": "0", "auth.max_failures_per_minute": "0"}
    config.update(getattr(request, "param", {}))
    with support.new(config, kind="sluice") as running:
        ctl(running, "add_user", "good", "pw")
        ctl(running, "set_permissions", "good", ".*", ".*", ".*")
        yield running


def test_a_flood_of_guesses_holds_up_nobody(broker):
    with connect(broker, "guest", "guest") as publisher:
        channel = publisher.channel()
        channel.queue_declare("q", durable=True)
        channel.confirm_delivery()
        guesses = [guess(broker, "good" if i % 2 else "nobody", f"guess {i}") for i in range(GUESSES)]
        try:
            # A login that was never made before, so it has to be computed as well.
            connect(broker, "good").close()
            at_login = answered(guesses)
            for _ in range(30):
                channel.basic_publish("", "q", b"m", pika.BasicProperties(delivery_mode=2))
            at_confirms = answered(guesses)
            assert len(ctl(broker, "-q", "list_users").splitlines()) >= 2
            # Some were answered while the others were being sent, how many depends on the machine.
            assert at_login < GUESSES, "the login waited for the guesses"
            assert at_confirms < GUESSES, "the publisher waited for the guesses"
            assert channel.queue_declare("q", passive=True).method.message_count == 30
        finally:
            for s in guesses:
                s.close()
        # What nobody waits for any more is not computed: the next one who fails is not behind it.
        s = guess(broker, "good", "wrong", OTHER)
        assert not verdict(s)
        s.close()


@pytest.mark.parametrize("broker", [{"auth.max_failures_per_minute": "5"}], indirect=True)
def test_an_address_that_fails_too_often_is_refused_unread(broker):
    def tries(address, user, password):
        s = guess(broker, user, password, address)
        with s:
            return verdict(s)
    ctl(broker, "add_user", "known", "pw")
    assert tries(GUESSER, "known", "pw")
    guesses = [guess(broker, "good" if i % 2 else "nobody", f"guess {i}") for i in range(GUESSES)]
    assert not any(verdict(s) for s in guesses)
    for s in guesses:
        s.close()
    assert not tries(GUESSER, "good", "pw")  # right, and refused: it was not looked at
    assert tries(GUESSER, "known", "pw")  # known before: an application does not fall with its neighbour
    assert tries(OTHER, "good", "pw")
    assert tries(GUESSER, "good", "pw")  # by now that is known too
    broker.wait_log(f"too many failed logins from {GUESSER} within a minute")


@pytest.mark.parametrize("broker", [{"auth.max_failures_per_minute": "3"}], indirect=True)
def test_http_and_amqp_count_together(broker):
    def http(user, password, address):
        host, port = broker.addresses["http"].rsplit(":", 1)
        connection = HTTPConnection(host, int(port), timeout=30, source_address=(address, 0))
        login = b64encode(f"{user}:{password}".encode()).decode()
        connection.request("GET", "/api/whoami", headers={"Authorization": f"Basic {login}"})
        status = connection.getresponse().status
        connection.close()
        return status
    ctl(broker, "set_user_tags", "good", "management")
    for user in ("good", "nobody\nforged"):
        assert http(user, "secret guess", GUESSER) == 401
    with guess(broker, "good", "wrong") as s:
        assert not verdict(s)
    assert http("good", "pw", GUESSER) == 401
    with guess(broker, "good", "pw") as s:
        assert not verdict(s)
    assert http("good", "pw", OTHER) == 200
    for line in (f"HTTP access denied for {GUESSER}: user 'good' - invalid credentials",
                 f"HTTP access denied for {GUESSER}: too many failed logins from {GUESSER} within a minute"):
        broker.wait_log(line)
    assert "\nforged" not in broker.log_text() and "secret guess" not in broker.log_text()


@pytest.mark.parametrize("broker", [{"auth.failure_delay": "700ms"}], indirect=True)
def test_a_refusal_is_late(broker):
    for user, password in [("good", "wrong"), ("nobody", "pw"), ("good", ""), ("good", "x" * 2000)]:
        begin = time.monotonic()
        with guess(broker, user, password) as s:
            assert not verdict(s)
        assert time.monotonic() - begin >= 0.7


def test_a_name_cannot_forge_a_line_of_the_log(broker):
    with guess(broker, "x\n2026-01-01 00:00:00 [info] <auth> all is well", "wrong") as s:
        assert not verdict(s)
    broker.wait_log("PLAIN login refused: user 'x")
    assert not any(line.startswith("2026-01-01") for line in broker.log_text().splitlines())
    assert "wrong" not in broker.log_text()
