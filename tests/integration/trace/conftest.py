"""One broker with events and the log exchange for all tests of this folder. SLUICED names the daemon; BROKER=rabbitmq runs
them against RabbitMQ with its plugin."""

import os
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pika
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from support import broker as support  # noqa: E402

LIMIT_S = 60
RABBIT = support.broker_kind() == "rabbitmq"
sluice_only = pytest.mark.skipif(RABBIT, reason="differs from RabbitMQ, or is not in it")


class LoggingRabbit(support.RabbitMQ):
    """RABBITMQ_LOGS in the environment would replace every other output, the exchange among them."""

    def environment(self):
        env = super().environment()
        del env["RABBITMQ_LOGS"]
        return env


def connect(broker, **options):
    return pika.BlockingConnection(pika.ConnectionParameters(broker.host, broker.port, heartbeat=0, **options))


def ctl(broker, *words):
    done = subprocess.run([*broker.ctl_words(), *words], capture_output=True, text=True, timeout=LIMIT_S)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="session")
def broker():
    if RABBIT:
        running = LoggingRabbit({"log.exchange": "true"}, plugins=("rabbitmq_event_exchange",))
    else:
        running = support.new({"log.exchange": "true", "event_exchange.vhost": "/"})
    with running:
        yield running


@pytest.fixture
def connection(broker):
    connection = connect(broker)
    yield connection
    if connection.is_open:
        connection.close()


@pytest.fixture
def channel(connection):
    return connection.channel()


@pytest.fixture
def name():
    """A name that no other test has."""
    return "t-" + uuid.uuid4().hex[:12]


@pytest.fixture
def traced(broker):
    """The firehose of the default vhost is on during the test."""
    assert ctl(broker, "trace_on")[0] == 0
    yield
    assert ctl(broker, "trace_off")[0] == 0


class Tap:
    """A queue bound to an exchange of the broker; what came, in order."""

    def __init__(self, channel, exchange, key="#"):
        self.channel = channel
        self.queue = channel.queue_declare("", exclusive=True).method.queue
        end = time.monotonic() + LIMIT_S
        while True:  # RabbitMQ makes its log exchange some time after it has opened its port
            bind = channel.connection.channel()
            try:
                bind.queue_bind(self.queue, exchange, key)
                break
            except pika.exceptions.ChannelClosedByBroker as e:
                assert e.reply_code == 404 and time.monotonic() < end, e
                channel.connection.process_data_events(time_limit=0.05)
        bind.close()
        self.seen = []

    def wait(self, wanted, what="a message"):
        """The first message for which wanted(message) is true, among those that came before it too."""
        end = time.monotonic() + LIMIT_S
        looked = 0
        while True:
            for message in self.seen[looked:]:
                if wanted(message):
                    return message
            looked = len(self.seen)
            assert time.monotonic() < end, f"timed out waiting for {what}; came: {[m.key for m in self.seen]}"
            method, properties, body = self.channel.basic_get(self.queue, auto_ack=True)
            if method is None:
                self.channel.connection.process_data_events(time_limit=0.02)
            else:
                self.seen.append(Message(method, properties, body))


class Message:
    def __init__(self, method, properties, body):
        self.exchange = method.exchange
        self.key = method.routing_key
        self.redelivered = method.redelivered
        self.properties = properties
        self.headers = properties.headers or {}
        self.body = body


def wait_for(connection, check, what, limit=LIMIT_S):
    """Handle the connection's input until check() is true."""
    end = time.monotonic() + limit
    while not check():
        assert time.monotonic() < end, f"timed out waiting for {what}"
        connection.process_data_events(time_limit=0.02)


def closed_code(channel, action):
    """The code with which the broker closes the channel."""
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as caught:
        action(channel)
        channel.queue_declare("", exclusive=True)
    return caught.value.reply_code
