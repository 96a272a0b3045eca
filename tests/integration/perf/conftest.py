"""Fixtures of the sluice-perf tests: a broker of the kind that $BROKER asks for, the generator that
$SLUICE_PERF names, queues that clean themselves up."""

import sys
import uuid
from pathlib import Path

import pika
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

import broker as support  # noqa: E402
from generator import run  # noqa: E402


@pytest.fixture(scope="session")
def broker():
    """The broker under test."""
    with support.new() as b:
        yield b


@pytest.fixture
def uri(broker):
    """Where it is."""
    return f"amqp://guest:guest@{broker.host}:{broker.port}/%2F"


@pytest.fixture
def perf(uri):
    """Run the generator against the broker; JSON output."""
    def call(*words):
        return run("-h", uri, "--json", *words)
    return call


@pytest.fixture
def channel(uri):
    """A channel of a client that is not ours."""
    connection = pika.BlockingConnection(pika.URLParameters(uri))
    yield connection.channel()
    connection.close()


@pytest.fixture
def queue(uri):
    """A queue name; the queue is deleted afterwards if it exists."""
    name = f"perf-test-{uuid.uuid4().hex}"
    yield name
    connection = pika.BlockingConnection(pika.URLParameters(uri))
    connection.channel().queue_delete(name)
    connection.close()
