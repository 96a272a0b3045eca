"""Dead letters with pika, also across kill -9. @spec amqp-semantics 14"""

import random
import sys
import threading
from pathlib import Path

import pika

sys.path[:0] = [str(Path(__file__).resolve().parents[2])]

from support import broker as support  # noqa: E402

PERSISTENT = pika.BasicProperties(delivery_mode=2)


def connect(broker):
    return pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", broker.port, heartbeat=0))


def declare_chain(channel):
    """Messages expire in `first`, are pushed out of `second` and end in `last`."""
    channel.exchange_declare("dead", "direct", durable=True)
    channel.queue_declare("first", durable=True, arguments={
        "x-message-ttl": 20, "x-dead-letter-exchange": "dead", "x-dead-letter-routing-key": "second"})
    channel.queue_declare("second", durable=True, arguments={
        "x-max-length": 10, "x-dead-letter-exchange": "dead", "x-dead-letter-routing-key": "last"})
    channel.queue_declare("last", durable=True)
    channel.queue_bind("second", "dead")
    channel.queue_bind("last", "dead")


def ready(channel, queue):
    return channel.queue_declare(queue, passive=True).method.message_count


def drain(channel, queue):
    got = []
    while True:
        method, properties, body = channel.basic_get(queue, auto_ack=True)
        if method is None:
            return got
        got.append((int(body), properties))


def test_headers_and_properties():
    with support.new() as broker:
        channel = connect(broker).channel()
        declare_chain(channel)
        channel.queue_purge("last")
        channel.queue_declare("short", arguments={"x-dead-letter-exchange": "dead", "x-dead-letter-routing-key": "last"})
        channel.basic_publish("", "short", b"1", pika.BasicProperties(
            content_type="text/x", expiration="1", headers={"mine": 5}, message_id="m", delivery_mode=2))
        support.wait_until(lambda: ready(channel, "last") == 1, 60, "the dead letter")
        (number, properties), = drain(channel, "last")
        assert number == 1
        assert (properties.content_type, properties.message_id, properties.expiration) == ("text/x", "m", None)
        assert properties.headers["mine"] == 5
        death, = properties.headers["x-death"]
        assert {k: v for k, v in death.items() if k != "time"} == {
            "original-expiration": "1", "count": 1, "reason": "expired", "queue": "short", "exchange": "", "routing-keys": ["short"]}
        assert properties.headers["x-first-death-queue"] == "short"


def publish_until_it_dies(broker, numbers, confirmed):
    try:
        channel = connect(broker).channel()
        channel.confirm_delivery()
        for number in numbers:
            channel.basic_publish("", "first", str(number).encode(), PERSISTENT)
            confirmed.append(number)
    except (pika.exceptions.AMQPError, OSError):
        pass


def test_kill_9_in_a_chain_of_dead_letters():
    """What was confirmed comes out at the end exactly once, wherever it was when the broker was killed."""
    rng = random.Random()
    confirmed, sent = [], 0
    with support.new() as broker:
        declare_chain(connect(broker).channel())
        for _ in range(6):
            numbers = range(sent, sent + 3000)
            sent += 3000
            publisher = threading.Thread(target=publish_until_it_dies, args=(broker, numbers, confirmed))
            publisher.start()
            before, enough = len(confirmed), rng.randrange(50, 400)
            support.wait_until(lambda: len(confirmed) - before >= enough or not publisher.is_alive(), 60, "confirmed messages")
            broker.restart(clean=False)
            publisher.join(60)
            assert not publisher.is_alive()
        channel = connect(broker).channel()
        support.wait_until(lambda: ready(channel, "first") == 0 and ready(channel, "second") <= 10, 60, "the last message to expire")
        seen = [number for queue in ("second", "last") for number, _ in drain(channel, queue)]
        assert len(seen) == len(set(seen)), "a dead letter was doubled"
        assert set(confirmed) <= set(seen), "a confirmed message was lost"
        assert set(seen) <= set(range(sent))
