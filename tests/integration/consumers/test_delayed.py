"""x-delayed-message over a crash of the broker. @spec amqp-semantics 8.6"""

import json
import socket
import subprocess
import time

import pika

from conftest import closed_by, connect, get_all, sluice_only, support, wait_for

pytestmark = sluice_only

EARLY_S = 0.05


def http(broker, method, path):
    """Status and body."""
    with socket.socket(socket.AF_UNIX) as admin:
        admin.settimeout(60)
        admin.connect(broker.admin)
        admin.sendall(f"{method} /api/exchanges/%2F/{path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
        answer = b""
        while part := admin.recv(65536):
            answer += part
    head, body = answer.split(b"\r\n\r\n", 1)
    return int(head.split()[1]), json.loads(body) if body else None


def delayed(broker, exchange):
    """messages_delayed as the list of exchanges has it."""
    return http(broker, "GET", exchange)[1]["messages_delayed"]


def ctl(broker, *words):
    return subprocess.run([*broker.ctl_words(), "--quiet", *words], capture_output=True, text=True, timeout=60)


def publish(channel, exchange, key, body, delay_ms, persistent=True, message_id=None):
    channel.basic_publish(
        exchange,
        key,
        body.encode(),
        pika.BasicProperties(
            headers={"x-delay": delay_ms}, delivery_mode=2 if persistent else 1, message_id=message_id
        ),
        mandatory=True,
    )


def test_not_before_it_is_due_and_in_order(connection, name):
    channel = connection.channel()
    channel.confirm_delivery()
    channel.exchange_declare(name, "x-delayed-message", auto_delete=True, arguments={"x-delayed-type": "topic"})
    channel.queue_declare(name, exclusive=True)
    channel.queue_bind(name, name, "a.#")
    seen = []
    began = time.monotonic()

    def on_message(ch, method, properties, body):
        seen.append((body.decode(), time.monotonic() - began, properties.headers["x-delay"], method.routing_key))

    channel.basic_consume(name, on_message, auto_ack=True)
    publish(channel, name, "a.b", "later", 5000)  # a machine that is busy may take its time until the next line
    publish(channel, name, "a.b", "sooner", 300, persistent=False)
    publish(channel, name, "a", "now", -1)
    publish(channel, name, "b", "elsewhere", 100)
    wait_for(connection, lambda: len(seen) == 3, "three deliveries")
    assert [(b, d, k) for b, _, d, k in seen] == [("now", -1, "a"), ("sooner", -300, "a.b"), ("later", -5000, "a.b")]
    # A message is stamped with the wall clock of the broker in whole milliseconds, as of the turn of the loop that read it.
    assert seen[1][1] >= 0.3 - EARLY_S and seen[2][1] >= 5 - EARLY_S


def test_confirmed_ones_survive_a_crash(name):
    with support.new() as broker:
        connection = connect(broker)
        channel = connection.channel()
        channel.confirm_delivery()
        channel.exchange_declare(name, "x-delayed-message", durable=True, arguments={"x-delayed-type": "direct"})
        channel.queue_declare(name, durable=True)
        channel.queue_bind(name, name, "k")
        began = time.monotonic()
        for i in range(50):
            publish(channel, name, "k", f"soon {i}", 3000 + i)
        publish(channel, name, "k", "in a month", 30 * 86400 * 1000)
        broker.kill()
        broker.start()
        connection = connect(broker)
        channel = connection.channel()
        got = []
        channel.basic_consume(name, lambda ch, m, p, b: got.append((b.decode(), time.monotonic() - began)), auto_ack=True)
        wait_for(connection, lambda: len(got) == 50, "fifty deliveries")
        assert [b for b, _ in got] == [f"soon {i}" for i in range(50)]
        assert min(t for _, t in got) >= 3 - EARLY_S
        # The other one still waits, over a second crash too. (What was delivered may come again: its settlement was young.)
        broker.kill()
        broker.start()
        connection = connect(broker)
        channel = connection.channel()
        wait_for(connection, lambda: delayed(broker, name) == 1, "the schedule to be read back")
        assert "in a month" not in get_all(channel, name)
        channel.exchange_delete(name)
        connection.close()


def test_those_that_wait_are_listed_and_cancelled(name):
    with support.new() as broker:
        connection = connect(broker)
        channel = connection.channel()
        channel.confirm_delivery()
        channel.exchange_declare(name, "x-delayed-message", durable=True, arguments={"x-delayed-type": "fanout"})
        channel.queue_declare(name, durable=True)
        channel.queue_bind(name, name)
        began = time.time()
        for body, hours in (("last", 3), ("second", 2), ("first", 1)):
            publish(channel, name, f"key of {body}", body, hours * 3600_000, message_id=f"id of {body}")
        broker.kill()
        broker.start()
        connection = connect(broker)
        wait_for(connection, lambda: len(http(broker, "GET", f"{name}/delayed")[1]) == 3, "it to be read back")
        status, listed = http(broker, "GET", f"{name}/delayed")
        assert status == 200
        assert [(m["routing_key"], m["message_id"], m["payload_bytes"]) for m in listed] == [
            (f"key of {body}", f"id of {body}", len(body)) for body in ("first", "second", "last")
        ]
        assert -EARLY_S < listed[2]["due"] / 1000 - began - 3 * 3600 <= time.time() - began + EARLY_S
        assert http(broker, "GET", f"{name}/delayed?limit=1")[1] == listed[:1]
        assert http(broker, "GET", f"{name}/delayed?limit=0")[0] == 400
        assert http(broker, "GET", "amq.direct/delayed")[0] == 404
        row = [str(listed[2][key]) for key in ("position", "due", "routing_key", "message_id", "payload_bytes")]
        assert "\t".join(row) in ctl(broker, "list_delayed_messages", name).stdout.splitlines()
        assert http(broker, "DELETE", f"{name}/delayed/{listed[1]['position']}")[0] == 204
        assert http(broker, "DELETE", f"{name}/delayed/{listed[1]['position']}")[0] == 404
        assert ctl(broker, "cancel_delayed_message", name, str(listed[2]["position"])).returncode == 0
        assert ctl(broker, "cancel_delayed_message", name, "999").returncode == 65
        assert delayed(broker, name) == 1
        # The schedule goes on without them.
        channel = connection.channel()
        got = []
        channel.basic_consume(name, lambda ch, m, p, b: got.append(b.decode()), auto_ack=True)
        publish(channel, name, "k", "soon", 200)
        wait_for(connection, lambda: got, "another one")
        wait_for(connection, lambda: delayed(broker, name) == 1, "the first to be alone")
        assert got == ["soon"]
        connection.close()


def test_type_is_needed(connection, name):
    want = (406, "PRECONDITION_FAILED - Invalid argument, 'x-delayed-type' must be an existing exchange type")
    assert closed_by(connection, lambda ch: ch.exchange_declare(name, "x-delayed-message")) == want
