"""amq.rabbitmq.trace: publishes and deliveries of a traced vhost."""

import pika
import pytest
from conftest import Tap, closed_code, ctl, sluice_only, support, wait_for

PROPERTIES = dict(
    content_type="text/plain", content_encoding="utf8", headers={"a": 1, "b": [1, "x"], "t": {"k": True}},
    delivery_mode=2, priority=5, correlation_id="c", reply_to="r", expiration="60000", message_id="m",
    timestamp=1234, type="t", user_id="guest", app_id="app", cluster_id="cl")


@pytest.fixture
def queue(channel, name):
    channel.queue_declare(name)
    yield name
    channel.queue_delete(name)


@pytest.fixture
def tap(connection):
    return Tap(connection.channel(), "amq.rabbitmq.trace")


def common(connection, channel, message):
    """The headers that every message of the firehose has; the rest."""
    rest = dict(message.headers)
    assert rest.pop("vhost") == "/"
    assert rest.pop("user") == "guest"
    assert rest.pop("channel") == channel.channel_number
    assert "@" in rest.pop("node")
    sock = connection._impl._transport._sock
    here, there = sock.getsockname(), sock.getpeername()
    assert rest.pop("connection") == f"{here[0]}:{here[1]} -> {there[0]}:{there[1]}"
    return rest


def test_publish_with_all_properties(connection, channel, traced, tap, queue):
    channel.basic_publish("", queue, b"body", pika.BasicProperties(**PROPERTIES))
    message = tap.wait(lambda m: m.key == "publish.")
    assert message.exchange == "amq.rabbitmq.trace"
    assert message.body == b"body"
    assert common(connection, channel, message) == {
        "exchange_name": "", "routing_keys": [queue], "routed_queues": [queue], "properties": PROPERTIES}
    own = {k: v for k, v in vars(message.properties).items() if v is not None}
    assert set(own) == {"headers"}  # transient, whatever the message was


def test_publish_to_exchange_names_all_queues(connection, channel, traced, tap, queue, name):
    exchange = name + "x"
    other = name + "2"
    channel.exchange_declare(exchange, "fanout", auto_delete=True)
    channel.queue_declare(other, exclusive=True)
    for q in (queue, other):
        channel.queue_bind(q, exchange)
    channel.basic_publish(exchange, "key", b"1")
    message = tap.wait(lambda m: m.key == "publish." + exchange)
    rest = common(connection, channel, message)
    assert sorted(rest.pop("routed_queues")) == sorted([queue, other])
    assert rest == {"exchange_name": exchange, "routing_keys": ["key"], "properties": {}}


def test_publish_without_a_queue(connection, channel, traced, tap, name):
    channel.exchange_declare(name, "fanout")
    channel.basic_publish(name, "key", b"1")
    message = tap.wait(lambda m: m.key == "publish." + name)
    channel.exchange_delete(name)
    assert common(connection, channel, message)["routed_queues"] == []


def test_get_and_redelivery(connection, channel, traced, tap, queue):
    channel.basic_publish("", queue, b"body", pika.BasicProperties(**PROPERTIES))
    method, _, _ = channel.basic_get(queue)
    channel.basic_nack(method.delivery_tag, requeue=True)
    method, _, _ = channel.basic_get(queue)
    channel.basic_ack(method.delivery_tag)
    first = tap.wait(lambda m: m.key == "deliver." + queue)
    second = tap.wait(lambda m: m.key == "deliver." + queue and m is not first)
    for message, redelivered in ((first, 0), (second, 1)):
        assert message.body == b"body"
        assert common(connection, channel, message) == {
            "exchange_name": "", "routing_keys": [queue], "properties": PROPERTIES, "redelivered": redelivered}


@pytest.mark.parametrize("no_ack", [True, False])
@pytest.mark.parametrize("waiting", [True, False])
def test_consume(connection, channel, traced, tap, queue, no_ack, waiting):
    if not waiting:
        channel.basic_publish("", queue, b"body")
    got = []
    channel.basic_consume(queue, lambda *a: got.append(a[3]), auto_ack=no_ack)
    if waiting:
        channel.basic_publish("", queue, b"body")
    message = tap.wait(lambda m: m.key == "deliver." + queue)
    assert message.headers["redelivered"] == 0
    assert message.body == b"body"
    keys = [m.key for m in tap.seen]
    assert ("publish." in keys) and keys.index("publish.") < keys.index("deliver." + queue)


def test_transaction_is_traced_when_it_comes(connection, traced, tap, queue):
    channel = connection.channel()
    channel.tx_select()
    channel.basic_publish("", queue, b"rolled back")
    channel.tx_rollback()
    assert tap.wait(lambda m: m.key == "publish.").body == b"rolled back"


def test_firehose_is_not_traced_itself(connection, channel, traced, queue):
    """A queue that gets both the firehose and what it traces: each message once."""
    channel.queue_bind(queue, "amq.rabbitmq.trace", "#")
    got = []
    channel.basic_consume(queue, lambda c, m, p, body: got.append((m.exchange, m.routing_key, body)), auto_ack=True)
    channel.basic_publish("", queue, b"1")
    marker = Tap(connection.channel(), "amq.rabbitmq.trace", "deliver." + queue)
    channel.basic_publish("", queue, b"2")
    marker.wait(lambda m: m.body == b"2")
    channel.queue_declare(queue, passive=True)  # everything before it was delivered
    end = [("amq.rabbitmq.trace", "publish.", b"2"), ("", queue, b"2"), ("amq.rabbitmq.trace", "deliver." + queue, b"2")]
    wait_for(connection, lambda: set(end) <= set(got), "the second round")
    assert sorted(got) == sorted(end + [(a, b, b"1") for a, b, _ in end])


def test_off(broker, connection, channel, queue):
    tap = Tap(connection.channel(), "amq.rabbitmq.trace")
    channel.basic_publish("", queue, b"untraced")
    assert ctl(broker, "trace_on")[0] == 0
    try:
        channel.basic_publish("", queue, b"traced")
        assert tap.wait(lambda m: m.key == "publish.").body == b"traced"
    finally:
        code, out, _ = ctl(broker, "trace_off")
    assert code == 0 and "Trace disabled for vhost /" in out
    channel.basic_publish("", queue, b"untraced again")
    channel.queue_declare(queue, passive=True)
    assert channel.queue_declare(tap.queue, passive=True).method.message_count == 0


def test_list_vhosts_says_so(broker, traced):
    _, out, _ = ctl(broker, "list_vhosts", "name", "tracing")
    assert "/\ttrue" in out


@sluice_only
def test_trace_on_of_an_unknown_vhost(broker):
    code, _, err = ctl(broker, "trace_on", "-p", "nope")
    assert code == 65 and "Virtual host 'nope' does not exist" in err


@sluice_only
def test_trace_is_off_after_a_restart():
    with support.new() as broker:
        assert ctl(broker, "trace_on")[0] == 0
        broker.restart()
        assert "/\tfalse" in ctl(broker, "list_vhosts", "name", "tracing")[1]


def test_nobody_publishes_there(channel):
    assert closed_code(channel, lambda c: c.basic_publish("amq.rabbitmq.trace", "k", b"")) == 403
