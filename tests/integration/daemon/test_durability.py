"""kill -9 and a new start: what was confirmed is there, byte for byte, in order."""

import hashlib
import os
import subprocess

import pika
import pytest
from conftest import connect

PROPERTIES = {
    "content_type": "application/x-test", "content_encoding": "identity", "priority": 3, "correlation_id": "c-1",
    "reply_to": "somewhere", "message_id": "m-1", "timestamp": 1700000000, "type": "t", "app_id": "tests",
    "headers": {"text": "ä", "number": -5, "big": 1 << 40, "yes": True, "list": [1, "two"], "inner": {"a": 1}},
}


def body(number):
    """Bodies of all sizes around the borders of frames and of the store's chunks."""
    sizes = (0, 1, 100, 1024, 16 * 1024, 16 * 1024 + 1, 65520, 131072 - 8, 131072, 300000)
    seed = hashlib.sha256(str(number).encode()).digest()
    size = sizes[number % len(sizes)]
    return (seed * (size // len(seed) + 1))[:size]


@pytest.mark.parametrize("rounds", [3])
def test_confirmed_messages_survive_kill(broker, rounds):
    expected = []
    for turn in range(rounds):
        connection = connect(broker)
        channel = connection.channel()
        channel.queue_declare("q", durable=True)
        channel.confirm_delivery()
        for i in range(turn * 40, turn * 40 + 40):
            properties = pika.BasicProperties(delivery_mode=2, **PROPERTIES)
            channel.basic_publish("", "q", body(i), properties)
            expected.append(body(i))
        # settle a few, in a transaction so that we know when it is on the disk
        other = connection.channel()
        other.tx_select()
        for _ in range(10):
            method, _, got = other.basic_get("q")
            assert got == expected.pop(0)
            other.basic_ack(method.delivery_tag)
        other.tx_commit()
        broker.restart(clean=False)
    channel = connect(broker).channel()
    for want in expected:
        method, properties, got = channel.basic_get("q", auto_ack=True)
        assert got == want
        assert method.redelivered
        assert properties.delivery_mode == 2
        for name, value in PROPERTIES.items():
            assert getattr(properties, name) == value
    assert channel.basic_get("q")[0] is None


def test_transient_messages_are_lost(broker):
    channel = connect(broker).channel()
    channel.queue_declare("durable", durable=True)
    channel.queue_declare("transient")
    channel.confirm_delivery()
    channel.basic_publish("", "durable", b"t", pika.BasicProperties(delivery_mode=1))
    channel.basic_publish("", "transient", b"p", pika.BasicProperties(delivery_mode=2))
    broker.restart(clean=False)
    connection = connect(broker)
    assert connection.channel().queue_declare("durable", passive=True).method.message_count == 0
    with pytest.raises(pika.exceptions.ChannelClosedByBroker):
        connection.channel().queue_declare("transient", passive=True)


def test_unacked_messages_come_back(broker):
    channel = connect(broker).channel()
    channel.queue_declare("q", durable=True)
    channel.confirm_delivery()
    for i in range(5):
        channel.basic_publish("", "q", str(i).encode(), pika.BasicProperties(delivery_mode=2))
    assert [channel.basic_get("q")[2] for _ in range(3)] == [b"0", b"1", b"2"]
    broker.restart(clean=False)
    channel = connect(broker).channel()
    got = [channel.basic_get("q", auto_ack=True) for _ in range(5)]
    assert [g[2] for g in got] == [b"0", b"1", b"2", b"3", b"4"]
    assert all(g[0].redelivered for g in got)


def test_after_an_orderly_stop_only_delivered_messages_are_flagged(broker):
    channel = connect(broker).channel()
    channel.queue_declare("q", durable=True)
    channel.confirm_delivery()
    for i in range(4):
        channel.basic_publish("", "q", str(i).encode(), pika.BasicProperties(delivery_mode=2))
    assert channel.basic_get("q")[2] == b"0"
    assert channel.basic_get("q")[2] == b"1"
    broker.restart()
    channel = connect(broker).channel()
    got = [channel.basic_get("q", auto_ack=True)[0].redelivered for _ in range(4)]
    assert got == [True, True, False, False]


def test_purged_and_deleted_stay_away(broker):
    channel = connect(broker).channel()
    channel.confirm_delivery()
    for name in ("purged", "deleted", "kept"):
        channel.queue_declare(name, durable=True)
        for i in range(100):
            channel.basic_publish("", name, str(i).encode(), pika.BasicProperties(delivery_mode=2))
    assert channel.queue_purge("purged").method.message_count == 100
    channel.queue_delete("deleted")
    broker.restart()
    connection = connect(broker)
    channel = connection.channel()
    assert channel.queue_declare("purged", passive=True).method.message_count == 0
    assert channel.queue_declare("kept", passive=True).method.message_count == 100
    with pytest.raises(pika.exceptions.ChannelClosedByBroker):
        connection.channel().queue_declare("deleted", passive=True)


def test_fanned_out_messages_survive_in_every_queue(broker):
    channel = connect(broker).channel()
    channel.exchange_declare("all", "fanout", durable=True)
    names = [f"q{i}" for i in range(8)]
    for name in names:
        channel.queue_declare(name, durable=True)
        channel.queue_bind(name, "all")
    channel.confirm_delivery()
    for i in range(50):
        channel.basic_publish("all", "", body(i), pika.BasicProperties(delivery_mode=2))
    broker.restart(clean=False)
    channel = connect(broker).channel()
    for name in names:
        for i in range(50):
            assert channel.basic_get(name, auto_ack=True)[2] == body(i)


def test_amqp_tools_over_a_kill(broker):
    """The programs of Debian's amqp-tools, before and after."""
    def tool(name, *words, **how):
        url = f"amqp://guest:guest@{broker.host}:{broker.port}"
        return subprocess.run([f"amqp-{name}", "-u", url, *words], capture_output=True, timeout=30, check=True, **how).stdout
    assert tool("declare-queue", "-d", "-q", "tools").strip() == b"tools"
    for i in range(5):
        tool("publish", "-p", "-r", "tools", "-b", f"message {i}")
    # A publish without confirms is safe once a later confirm on the same store came.
    channel = connect(broker).channel()
    channel.confirm_delivery()
    channel.basic_publish("", "tools", b"last", pika.BasicProperties(delivery_mode=2))
    broker.restart(clean=False)
    assert [tool("get", "-q", "tools") for _ in range(5)] == [f"message {i}".encode() for i in range(5)]
    assert tool("consume", "-q", "tools", "-c", "1", "cat") == b"last"
    assert tool("delete-queue", "-q", "tools").strip() == b"0"


def test_a_start_reads_what_it_needs(broker):
    """Large contents stand between the chunks of the log. A start has no use for them, and what the kernel reads around each page on
    its own account would bring most of them."""
    connection = connect(broker)
    channel = connection.channel()
    channel.queue_declare("mixed", durable=True)
    channel.confirm_delivery()
    for i in range(400):
        channel.basic_publish("", "mixed", b"x" * (200_000 if i % 2 else 100), pika.BasicProperties(delivery_mode=2))
    connection.close()
    broker.stop()
    store = broker.data / "store" / "data.mdb"
    with open(store, "rb") as f:
        os.fsync(f.fileno())
        os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    broker.start()
    with open(f"/proc/{broker.pid}/io") as f:
        read = int(next(line for line in f if line.startswith("read_bytes:")).split()[1])
    assert connect(broker).channel().queue_declare("mixed", passive=True).method.message_count == 400
    if read == 0:
        pytest.skip("the data directory is not on a disk, or its cache cannot be dropped")
    assert read < store.stat().st_size // 4
