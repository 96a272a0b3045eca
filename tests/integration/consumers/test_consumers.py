"""Priorities, the single active consumer and late acknowledgements. @spec amqp-semantics 12.1, 12.2, 15.2, 15.3, 19.3"""

import json
import os
import subprocess

import pika
import pytest

from conftest import closed_by, connect, sluice_only, support, wait_for


def collect(channel, queue, seen, tag, **kwargs):
    def on_message(ch, method, properties, body):
        seen.append((tag, body.decode(), method.delivery_tag, method.redelivered))

    return channel.basic_consume(queue, on_message, consumer_tag=tag, **kwargs)


def publish(channel, queue, count, first=0):
    for i in range(first, first + count):
        channel.basic_publish("", queue, str(i).encode())


def test_high_priority_takes_all_it_has_credit_for(connection, name):
    low, high, publisher = connection.channel(), connection.channel(), connection.channel()
    publisher.queue_declare(name, exclusive=True)
    high.basic_qos(prefetch_count=3)
    seen = []
    collect(low, name, seen, "low")
    collect(high, name, seen, "high", arguments={"x-priority": 10})
    publish(publisher, name, 5)
    wait_for(connection, lambda: len(seen) == 5, "five deliveries")
    assert sorted(b for t, b, _, _ in seen if t == "high") == ["0", "1", "2"]
    assert sorted(b for t, b, _, _ in seen if t == "low") == ["3", "4"]
    high.basic_ack(0, multiple=True)
    publish(publisher, name, 1, first=5)
    wait_for(connection, lambda: len(seen) == 6, "the sixth")
    assert seen[-1][0] == "high"


@pytest.mark.parametrize(
    "arguments, text",
    [
        ({"x-priority": "high"}, "invalid arg 'x-priority' for queue '%s' in vhost '/': \"expected integer, got longstr\""),
        ({"x-priority": True}, "invalid arg 'x-priority' for queue '%s' in vhost '/': \"expected integer, got bool\""),
        (
            {"x-cancel-on-ha-failover": "yes"},
            "invalid arg 'x-cancel-on-ha-failover' for queue '%s' in vhost '/': {unacceptable_type,longstr}",
        ),
    ],
)
def test_wrong_arguments(connection, channel, name, arguments, text):
    channel.queue_declare(name, exclusive=True)
    code, got = closed_by(connection, lambda ch: ch.basic_consume(name, lambda *_: None, arguments=arguments))
    assert code == 406
    assert got == "PRECONDITION_FAILED - " + text % name


def test_single_active_takes_over_in_order(connection, name):
    first, second, publisher = connection.channel(), connection.channel(), connection.channel()
    publisher.queue_declare(name, exclusive=True, arguments={"x-single-active-consumer": True})
    seen = []
    collect(first, name, seen, "first")
    collect(second, name, seen, "second")
    publish(publisher, name, 4)
    wait_for(connection, lambda: len(seen) == 4, "four deliveries")
    assert {t for t, _, _, _ in seen} == {"first"}
    first.basic_ack(seen[0][2])
    del seen[:]
    first.close()
    wait_for(connection, lambda: len(seen) == 3, "the rest")
    assert [(t, b, r) for t, b, _, r in seen] == [("second", b, True) for b in ("1", "2", "3")]


@sluice_only
def test_cancelled_active_keeps_its_messages_until_settled(connection, name):
    first, second, publisher = connection.channel(), connection.channel(), connection.channel()
    publisher.queue_declare(name, exclusive=True, arguments={"x-single-active-consumer": True})
    first.basic_qos(prefetch_count=1)
    seen = []
    collect(first, name, seen, "first")
    collect(second, name, seen, "second")
    publish(publisher, name, 3)
    wait_for(connection, lambda: len(seen) == 1, "the first")
    first.basic_cancel("first")
    publisher.queue_declare(name, passive=True)  # nothing came before this answer
    assert len(seen) == 1
    first.basic_ack(seen[0][2])
    wait_for(connection, lambda: len(seen) == 3, "the others")
    assert [(t, b) for t, b, _, _ in seen] == [("first", "0"), ("second", "1"), ("second", "2")]


def test_exclusive_and_single_active_exclude_each_other(connection, channel, name):
    channel.queue_declare(name, exclusive=True, arguments={"x-single-active-consumer": True})
    code, text = closed_by(connection, lambda ch: ch.basic_consume(name, lambda *_: None, exclusive=True))
    assert (code, text) == (403, f"ACCESS_REFUSED - queue '{name}' in vhost '/' in exclusive use")


@sluice_only
def test_lists_show_who_is_active(broker, connection, name):
    channel = connection.channel()
    channel.queue_declare(name, arguments={"x-single-active-consumer": True})
    collect(channel, name, [], "first")
    collect(channel, name, [], "second", arguments={"x-priority": 5})
    done = subprocess.run(
        [os.environ["SLUICECTL"], "--formatter", "json", "list_consumers", "queue_name", "consumer_tag", "active", "activity_status"],
        env={**os.environ, "SLUICECTL_SOCKET": broker.admin},
        stdout=subprocess.PIPE, text=True, timeout=60, check=True,
    )
    rows = {r["consumer_tag"]: r for r in json.loads(done.stdout) if r["queue_name"] == name}
    assert {t: (r["active"], r["activity_status"]) for t, r in rows.items()} == {
        "first": (True, "single_active"),
        "second": (False, "waiting"),
    }
    channel.queue_delete(name)


@pytest.fixture(scope="module")
def strict():
    """A broker that waits a second for an acknowledgement and allows two consumers a channel."""
    with support.new({"consumer_timeout": "1000", "consumer_max_per_channel": "2"}) as running:
        yield running


@sluice_only
def test_a_late_acknowledgement_cancels_the_consumer(strict, name):
    connection = connect(strict)
    channel = connection.channel()
    channel.queue_declare(name, exclusive=True)
    seen, cancelled = [], []
    channel.add_on_cancel_callback(lambda frame: cancelled.append(frame.method.consumer_tag))
    collect(channel, name, seen, "late")
    publish(channel, name, 2)
    wait_for(connection, lambda: cancelled, "the cancel")
    assert cancelled == ["late"]
    assert channel.queue_declare(name, passive=True).method.message_count == 2
    channel.basic_ack(seen[0][2])  # too late, but no fault of the client
    method, _, body = channel.basic_get(name, auto_ack=True)
    assert (body, method.redelivered) == (b"0", True)
    # A consumer with a time of its own.
    collect(channel, name, seen, "patient", arguments={"x-consumer-timeout": 600000})
    wait_for(connection, lambda: seen[-1][0] == "patient", "the other message")
    connection.process_data_events(time_limit=3)
    assert cancelled == ["late"]
    connection.close()


@sluice_only
def test_a_late_acknowledgement_of_a_get_closes_the_channel(strict, name):
    connection = connect(strict)
    channel, other = connection.channel(), connection.channel()
    channel.queue_declare(name, exclusive=True)
    publish(channel, name, 1)
    assert channel.basic_get(name)[2] == b"0"
    closed = []
    channel._impl.add_on_close_callback(lambda ch, reason: closed.append(reason))
    wait_for(connection, lambda: closed, "the close")
    assert closed[0].reply_code == 406
    assert closed[0].reply_text == (
        "PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out. Timeout value used: 1000 ms. "
        "This timeout value can be configured, see consumers doc guide to learn more"
    )
    assert other.basic_get(name, auto_ack=True)[2] == b"0"
    connection.close()


@sluice_only
def test_consumers_of_a_channel_are_limited(strict, name):
    connection = connect(strict)
    connection.channel().queue_declare(name, exclusive=True)

    def three(channel):
        for _ in range(3):
            channel.basic_consume(name, lambda *_: None)

    assert closed_by(connection, three) == (530, "NOT_ALLOWED - reached maximum (2) of consumers per channel")
