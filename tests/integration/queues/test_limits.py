"""Time to live, limits and priority with pika, also across kill -9. @spec amqp-semantics 9.8, 13, 15"""

import sys
import time
from pathlib import Path

import pika
import pytest

sys.path[:0] = [str(Path(__file__).resolve().parents[2])]

from support import broker as support  # noqa: E402

PERSISTENT = pika.BasicProperties(delivery_mode=2)


@pytest.fixture
def broker():
    with support.new() as started:
        yield started


def connect(broker):
    return pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", broker.port, heartbeat=0))


def ready(channel, queue):
    return channel.queue_declare(queue, passive=True).method.message_count


def until(check, what):
    support.wait_until(check, 60, what)


def drain(channel, queue):
    got = []
    while True:
        method, _, body = channel.basic_get(queue, auto_ack=True)
        if method is None:
            return got
        got.append(body.decode())


def test_expires_on_time_behind_one_that_stays(broker):
    channel = connect(broker).channel()
    channel.queue_declare("q", durable=True, arguments={"x-message-ttl": 60000})
    channel.basic_publish("", "q", b"stays", PERSISTENT)
    channel.basic_publish("", "q", b"goes", pika.BasicProperties(delivery_mode=2, expiration="50"))
    until(lambda: ready(channel, "q") == 1, "the short-lived message to go")
    assert drain(channel, "q") == ["stays"]


@pytest.mark.parametrize("clean", [True, False])
def test_expiry_and_limit_hold_after_a_restart(broker, clean):
    channel = connect(broker).channel()
    channel.confirm_delivery()
    channel.queue_declare("ttl", durable=True)
    channel.queue_declare("max", durable=True, arguments={"x-max-length": 3})
    channel.queue_declare("prio", durable=True, arguments={"x-max-priority": 9})
    for number in range(6):
        channel.basic_publish("", "ttl", b"%d" % number, pika.BasicProperties(
            delivery_mode=2, expiration="1500" if number % 2 else None))
        channel.basic_publish("", "max", b"%d" % number, PERSISTENT)
        channel.basic_publish("", "prio", b"%d" % number, pika.BasicProperties(delivery_mode=2, priority=number))
    channel.connection.close()
    broker.restart(clean=clean)
    channel = connect(broker).channel()
    until(lambda: ready(channel, "ttl") == 3, "expiry after the restart")
    assert drain(channel, "ttl") == ["0", "2", "4"]
    channel.confirm_delivery()
    channel.basic_publish("", "max", b"6", PERSISTENT)
    assert drain(channel, "max") == ["4", "5", "6"]
    assert drain(channel, "prio") == ["5", "4", "3", "2", "1", "0"]


def test_full_queue_nacks(broker):
    channel = connect(broker).channel()
    channel.confirm_delivery()
    channel.queue_declare("full", arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    channel.queue_declare("open")
    for queue in ("full", "open"):
        channel.queue_bind(queue, "amq.fanout")
    channel.basic_publish("amq.fanout", "", b"1")
    with pytest.raises(pika.exceptions.NackError):
        channel.basic_publish("amq.fanout", "", b"2")
    assert drain(channel, "full") == ["1"]
    assert drain(channel, "open") == ["1", "2"]


def test_unused_queue_goes_and_tells_its_name_is_free(broker):
    connection = connect(broker)
    channel = connection.channel()
    channel.queue_declare("brief", durable=True, arguments={"x-expires": 200})
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            # Without arguments: refused while it is there, and looking at it in vain is no use of it.
            probe = connection.channel()
            probe.queue_declare("brief", durable=True)
            break
        except pika.exceptions.ChannelClosedByBroker as error:
            assert error.reply_code == 406
            assert "inequivalent arg 'x-expires'" in error.reply_text
    else:
        pytest.fail("the queue did not go")


def test_quorum_queue_survives_with_transient_messages_and_limits_deliveries(broker):
    channel = connect(broker).channel()
    channel.confirm_delivery()
    arguments = {"x-queue-type": "quorum", "x-delivery-limit": 1}
    channel.queue_declare("quorum", durable=True, arguments=arguments)
    channel.basic_publish("", "quorum", b"1")
    broker.restart(clean=False)
    channel = connect(broker).channel()
    channel.queue_declare("quorum", durable=True, arguments=arguments)
    for _ in range(2):
        method, _, body = channel.basic_get("quorum")
        assert body == b"1"
        channel.basic_nack(method.delivery_tag, requeue=True)
    assert channel.basic_get("quorum")[0] is None
