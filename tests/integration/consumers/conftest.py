"""One broker for all tests of this folder that need no configuration of their own. SLUICED names the daemon;
BROKER=rabbitmq runs the tests that are not about Sluice alone against RabbitMQ with its plugins."""

import os
import sys
import time
import uuid
from pathlib import Path

import pika
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from support import broker as support  # noqa: E402

PLUGINS = (
    "rabbitmq_consistent_hash_exchange",
    "rabbitmq_random_exchange",
    "rabbitmq_recent_history_exchange",
    "rabbitmq_sharding",
)
LIMIT_S = 60


def connect(broker):
    return pika.BlockingConnection(pika.ConnectionParameters(broker.host, broker.port, heartbeat=0))


@pytest.fixture(scope="session")
def broker():
    rabbit = support.broker_kind() == "rabbitmq"
    with support.new(plugins=PLUGINS if rabbit else ()) as running:
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


sluice_only = pytest.mark.skipif(os.environ.get("BROKER", "sluice") == "rabbitmq", reason="not in RabbitMQ 3.10")


def wait_for(connection, check, what, limit=LIMIT_S):
    """Handle the connection's input until check() is true."""
    end = time.monotonic() + limit
    while not check():
        assert time.monotonic() < end, f"timed out waiting for {what}"
        connection.process_data_events(time_limit=0.05)


def closed_by(connection, action):
    """(code, text) of the close of the channel or connection that action(channel) provokes."""
    channel = connection.channel()
    with pytest.raises((pika.exceptions.ChannelClosedByBroker, pika.exceptions.ConnectionClosedByBroker)) as caught:
        action(channel)
    return caught.value.reply_code, caught.value.reply_text


def get_all(channel, queue):
    bodies = []
    while True:
        method, _, body = channel.basic_get(queue, auto_ack=True)
        if method is None:
            return bodies
        bodies.append(body.decode())
