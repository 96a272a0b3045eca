"""Stores that earlier versions wrote are read, checked and carried on. Each archive in tests/data/stores is a data directory
(without lock files) of a broker that was killed; what it held stands here."""

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pika
import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import format_reader  # noqa: E402
from support import broker as support  # noqa: E402

STORES = HERE.parent / "data" / "stores"
SIZES = (16 * 1024, 65_000, 65_448, 131_000, 300_000)  # of the messages in queue "large"


def body(size):
    return bytes(i * 7 % 251 for i in range(251)) * (size // 251) + bytes(size % 251)


def check(data):
    """What --store check says of a stopped broker's data."""
    done = subprocess.run([os.environ["SLUICED"], "--store", "check", "-d", data], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(name="broker")
def started_on_the_store_of_parts_of_64k():
    broker = support.Sluice()
    try:
        with tarfile.open(STORES / "parts-of-64k.tar.xz") as archive:
            archive.extractall(broker.data)
        yield broker
    finally:
        broker.close()


def messages(broker, acknowledge):
    """The bodies in the queue, in order."""
    found = []
    with pika.BlockingConnection(pika.ConnectionParameters(broker.host, broker.port)) as connection:
        channel = connection.channel()
        while (got := channel.basic_get("large"))[0] is not None:
            found.append(got[2])
            if acknowledge:
                channel.basic_ack(got[0].delivery_tag)
    return found


def test_a_store_with_parts_of_64k_is_whole(broker):
    assert "no damage" in check(broker.data)
    found = format_reader.read_directory(broker.data / "store").messages
    assert len(found) == len(SIZES)
    for message, size in zip(found, SIZES):
        assert 0 < message.size - size < 100  # exchange, key and properties come with the body


def test_its_messages_are_delivered_beside_new_ones(broker):
    broker.start()
    assert messages(broker, acknowledge=False) == [body(size) for size in SIZES]
    with pika.BlockingConnection(pika.ConnectionParameters(broker.host, broker.port)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.basic_publish("", "large", body(200_000), pika.BasicProperties(delivery_mode=2))
    broker.kill()
    assert "6 messages" in check(broker.data)
    broker.start()
    assert messages(broker, acknowledge=True) == [body(size) for size in (*SIZES, 200_000)]
    broker.stop()
    assert "0 messages" in check(broker.data)
