"""An orderly stop: what clients see, what was confirmed stays, and how long it may take."""

import os
import signal
import socket
import time

import pika
import pytest
from conftest import LIMIT_S, connect, refuses, support, wait_log


def wait_close(connection, timeout=LIMIT_S):
    """The exception that a connection ends with."""
    end = time.monotonic() + timeout
    with pytest.raises(pika.exceptions.AMQPConnectionError) as caught:
        while time.monotonic() < end:
            connection.process_data_events(time_limit=0.1)
    return caught.value


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_clients_are_told(broker, number):
    connection = connect(broker)
    os.kill(broker.pid, number)
    closed = wait_close(connection)
    assert isinstance(closed, pika.exceptions.ConnectionClosedByBroker)
    assert closed.reply_code == 320
    assert closed.reply_text.startswith("CONNECTION_FORCED")
    assert broker.proc.wait(LIMIT_S) == 0
    assert refuses(broker)
    assert not (broker.data / "addresses").exists()
    assert not os.path.exists(broker.admin)


def test_the_log_says_why(broker):
    broker.stop()
    assert "stopping: SIGTERM" in broker.log_text()


def test_confirms_in_flight_are_finished(broker):
    """Publish as fast as it goes, stop in the middle: what was confirmed is there, what was not may be."""
    connection = connect(broker)
    channel = connection.channel()
    channel.queue_declare("q", durable=True)
    channel.confirm_delivery()
    confirmed = 0
    signalled = False
    with pytest.raises(pika.exceptions.AMQPError):
        for i in range(100000):
            channel.basic_publish("", "q", str(i).encode(), pika.BasicProperties(delivery_mode=2))
            confirmed = i + 1
            if i == 50 and not signalled:
                os.kill(broker.pid, signal.SIGTERM)
                signalled = True
    assert broker.proc.wait(LIMIT_S) == 0
    broker.proc = None
    broker.start()
    channel = connect(broker).channel()
    assert channel.queue_declare("q", passive=True).method.message_count >= confirmed
    for i in range(confirmed):
        assert channel.basic_get("q", auto_ack=True)[2] == str(i).encode()


def test_a_client_that_never_answers_does_not_hold_it_up(start):
    broker = start({"shutdown.timeout": "2s"})
    with socket.create_connection((broker.host, broker.port), timeout=LIMIT_S) as s:
        s.sendall(support.HEADER)
        assert s.recv(65536)
        os.kill(broker.pid, signal.SIGTERM)
        assert broker.proc.wait(50) == 0  # by default it would wait for a minute


def test_a_second_signal_stops_at_once(start):
    """With a client that is connected but does not read its close; the data stays consistent."""
    broker = start({"shutdown.timeout": "300s"})
    connection = connect(broker)
    channel = connection.channel()
    channel.queue_declare("q", durable=True)
    channel.confirm_delivery()
    channel.basic_publish("", "q", b"kept", pika.BasicProperties(delivery_mode=2))
    os.kill(broker.pid, signal.SIGTERM)  # the client says nothing: close-ok does not come
    wait_log(broker, "stopping: SIGTERM")
    if broker.running():
        os.kill(broker.pid, signal.SIGTERM)
    assert broker.proc.wait(LIMIT_S) == 0
    broker.proc = None
    broker.start()
    assert connect(broker).channel().basic_get("q", auto_ack=True)[2] == b"kept"


def test_transient_things_go_durable_things_stay(broker):
    connection = connect(broker)
    channel = connection.channel()
    channel.exchange_declare("stays", "topic", durable=True)
    channel.exchange_declare("goes", "topic")
    channel.queue_declare("stays", durable=True)
    channel.queue_declare("goes")
    channel.queue_bind("stays", "stays", "a.#")
    channel.confirm_delivery()
    channel.basic_publish("stays", "a.b", b"persistent", pika.BasicProperties(delivery_mode=2))
    channel.basic_publish("stays", "a.b", b"transient", pika.BasicProperties(delivery_mode=1))
    broker.restart()
    connection = connect(broker)
    for name in ("queue_declare", "exchange_declare"):
        with pytest.raises(pika.exceptions.ChannelClosedByBroker) as caught:
            getattr(connection.channel(), name)("goes", passive=True)
        assert caught.value.reply_code == 404
    channel = connection.channel()
    channel.exchange_declare("stays", "topic", durable=True)
    channel.confirm_delivery()
    channel.basic_publish("stays", "a.c", b"later", pika.BasicProperties(delivery_mode=2))
    bodies = [channel.basic_get("stays", auto_ack=True)[2] for _ in range(2)]
    assert bodies == [b"persistent", b"later"]
    assert channel.basic_get("stays")[0] is None
