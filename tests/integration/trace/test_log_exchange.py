"""amq.rabbitmq.log: lines of the log as messages."""

import time

import pika
import pytest
from conftest import Tap, connect, sluice_only, support


@pytest.fixture
def tap(connection):
    return Tap(connection.channel(), "amq.rabbitmq.log")


def fail_to_log_in(broker):
    with pytest.raises(pika.exceptions.AMQPConnectionError):
        connect(broker, credentials=pika.PlainCredentials("guest", "wrong"))


def test_a_line_is_a_message(broker, tap):
    fail_to_log_in(broker)
    message = tap.wait(lambda m: b"guest" in m.body, "the refused login")
    level = message.key
    assert level in ("warning", "error")
    assert f"[{level}]".encode() in message.body and message.body.endswith(b"\n")
    assert message.properties.content_type == "text/plain"
    assert abs(message.properties.timestamp - time.time()) < 3600
    assert set(message.headers) == {"node"} and "@" in message.headers["node"]
    assert message.properties.delivery_mode is None


def test_level_is_the_routing_key(broker, connection):
    taps = {level: Tap(connection.channel(), "amq.rabbitmq.log", level) for level in ("info", "warning", "error")}
    everything = Tap(connection.channel(), "amq.rabbitmq.log")
    fail_to_log_in(broker)
    level = everything.wait(lambda m: b"guest" in m.body).key
    taps[level].wait(lambda m: b"guest" in m.body)
    for name, tap in taps.items():
        assert {m.key for m in tap.seen} <= {name}


@sluice_only
def test_json_and_level():
    with support.new({"log.exchange": "true", "log.exchange.formatter": "json", "log.exchange.level": "debug",
                      "log.console.level": "error"}) as broker, connect(broker) as connection:
        tap = Tap(connection.channel(), "amq.rabbitmq.log")
        fail_to_log_in(broker)
        message = tap.wait(lambda m: b"guest" in m.body)
        assert message.body.startswith(b'{"time":') and message.properties.content_type == "application/json"
        assert b"guest" not in broker.log_text().encode() or message.key == "error"


@sluice_only
def test_a_line_about_a_line_makes_no_other():
    """A line whose publishing logs again: its exchange leads to one that has no route, whose alternate is missing."""
    with support.new({"log.exchange": "true"}) as broker, connect(broker) as connection:
        ch = connection.channel()
        ch.exchange_declare("dead-end", "topic", arguments={"alternate-exchange": "not-there"})
        ch.exchange_bind("dead-end", "amq.rabbitmq.log", "#")
        tap = Tap(connection.channel(), "amq.rabbitmq.log")
        fail_to_log_in(broker)
        tap.wait(lambda m: b"guest" in m.body)
        broker.wait_log("not-there")
        fail_to_log_in(broker)
        tap.wait(lambda m: b"guest" in m.body and sum(b"guest" in x.body for x in tap.seen) >= 2)
        assert not any(b"not-there" in m.body for m in tap.seen)


@sluice_only
def test_off_unless_configured():
    with support.new() as broker, connect(broker) as connection:
        with pytest.raises(pika.exceptions.ChannelClosedByBroker):
            connection.channel().exchange_declare("amq.rabbitmq.log", passive=True)


