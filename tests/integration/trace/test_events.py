"""amq.rabbitmq.event: life cycles of objects. What both brokers say alike is compared; Sluice's own spelling is in the tests
of Sluice alone."""

import time

import pika
import pytest
from conftest import RABBIT, Tap, connect, ctl, sluice_only, support, wait_for


@pytest.fixture
def tap(connection):
    return Tap(connection.channel(), "amq.rabbitmq.event")


def event(tap, key, **fields):
    """The first event of that name with those fields."""
    wanted = {k.replace("__", "-"): v for k, v in fields.items()}
    message = tap.wait(lambda m: m.key == key and wanted.items() <= m.headers.items(), f"{key} {wanted}")
    assert message.body == b""
    assert message.properties.delivery_mode == 2
    assert abs(message.properties.timestamp - time.time()) < 3600
    assert message.headers["timestamp_in_ms"] // 1000 == message.properties.timestamp
    return message


def keys(tap, name):
    """Names of the events about an object, in order."""
    return [m.key for m in tap.seen if m.headers.get("name") == name]


def test_queue(channel, tap, name):
    for durable in (False, True):
        channel.queue_declare(name, durable=durable)
        event(tap, "queue.created", name=name, vhost="/", durable=durable, auto_delete=False, exclusive=False, owner_pid="")
        channel.queue_declare(name, durable=durable)  # it is there: no event
        channel.queue_delete(name)
        event(tap, "queue.deleted", name=name, vhost="/")
        assert keys(tap, name) == ["queue.created", "queue.deleted"]
        tap.seen.clear()


def test_exclusive_queue_goes_with_its_connection(broker, tap, name):
    other = connect(broker)
    other.channel().queue_declare(name, exclusive=True)
    created = event(tap, "queue.created", name=name, exclusive=True)
    assert created.headers["owner_pid"].startswith("<") and created.headers["owner_pid"].endswith(".0>")
    other.close()
    event(tap, "queue.deleted", name=name)


def test_exchange(channel, tap, name):
    channel.exchange_declare(name, "headers", durable=True, internal=True)
    event(tap, "exchange.created", name=name, vhost="/", type="headers", durable=True, auto_delete=False, internal=True)
    channel.exchange_delete(name)
    event(tap, "exchange.deleted", name=name, vhost="/")
    assert keys(tap, name).count("exchange.created") == 1


def test_binding(channel, tap, name):
    channel.exchange_declare(name, "topic", durable=True)
    channel.queue_declare(name, durable=True)
    binding = dict(source_kind="exchange", source_name=name, destination_kind="queue", destination_name=name,
                   routing_key="a.#", vhost="/")
    channel.queue_bind(name, name, "a.#")
    event(tap, "binding.created", **binding)
    channel.queue_unbind(name, name, "a.#")
    event(tap, "binding.deleted", **binding)
    channel.exchange_bind("amq.fanout", name, "e")
    event(tap, "binding.created", **dict(binding, destination_kind="exchange", destination_name="amq.fanout",
                                         routing_key="e"))
    channel.exchange_delete(name)
    event(tap, "binding.deleted", source_name=name, destination_name="amq.fanout")
    channel.queue_delete(name)


def test_connection_and_channel(broker, tap):
    other = connect(broker, client_properties={"connection_name": "me"})
    sock = other._impl._transport._sock
    name = "{0[0]}:{0[1]} -> {1[0]}:{1[1]}".format(sock.getsockname(), sock.getpeername())
    created = event(tap, "connection.created", name=name, vhost="/", user="guest", protocol="{0,9,1}",
                    auth_mechanism="PLAIN", ssl=False, peer_port=sock.getsockname()[1])
    pid = created.headers["pid"]
    ch = other.channel(7)
    opened = event(tap, "channel.created", connection=pid, number=7, user="guest", vhost="/", name=name + " (7)")
    ch.close()
    event(tap, "channel.closed", pid=opened.headers["pid"])
    other.close()
    closed = event(tap, "connection.closed", name=name, pid=pid)
    assert closed.headers["node"] == created.headers["node"]
    if not RABBIT:
        assert created.headers["client_properties"]["connection_name"] == "me"
        assert created.headers["peer_host"] == "127.0.0.1"


def test_consumer(connection, channel, tap, name):
    channel.queue_declare(name, exclusive=True)
    channel.basic_qos(prefetch_count=9)
    channel.basic_consume(name, lambda *a: None, consumer_tag="tag-" + name, exclusive=True)
    created = event(tap, "consumer.created", queue=name, consumer_tag="tag-" + name, exclusive=True, ack_required=True,
                    prefetch_count=9, vhost="/", user_who_performed_action="guest")
    channel.basic_cancel("tag-" + name)
    event(tap, "consumer.deleted", queue=name, consumer_tag="tag-" + name, channel=created.headers["channel"])


def test_policy_and_parameter(broker, tap, name):
    assert ctl(broker, "set_policy", name, "^never$", '{"max-length":5}')[0] == 0
    event(tap, "policy.set", name=name, vhost="/", pattern="^never$", definition={"max-length": 5}, priority=0,
          apply__to="all")
    assert ctl(broker, "clear_policy", name)[0] == 0
    event(tap, "policy.cleared", name=name, vhost="/")
    assert ctl(broker, "set_operator_policy", name, "^never$", '{"max-length":6}')[0] == 0
    assert event(tap, "parameter.set", name=name, component="operator_policy").headers["value"]["pattern"] == "^never$"
    assert ctl(broker, "clear_operator_policy", name)[0] == 0
    event(tap, "operator.policy.cleared", name=name, vhost="/")
    assert ctl(broker, "set_global_parameter", name, "17")[0] == 0
    event(tap, "parameter.set", name=name, component="global", value=17)
    assert ctl(broker, "clear_global_parameter", name)[0] == 0


def test_pattern_chooses(channel, connection, name):
    only = Tap(connection.channel(), "amq.rabbitmq.event", "queue.*")
    channel.exchange_declare(name, auto_delete=True)
    channel.queue_declare(name, exclusive=True)
    channel.queue_bind(name, name)
    channel.queue_delete(name)
    event(only, "queue.deleted", name=name)
    assert {m.key.split(".")[0] for m in only.seen} == {"queue"}


@sluice_only
def test_arguments_are_a_table(channel, tap, name):
    channel.exchange_declare(name, "fanout", auto_delete=True, arguments={"alternate-exchange": "amq.direct"})
    assert event(tap, "exchange.created", name=name).headers["arguments"] == {"alternate-exchange": "amq.direct"}
    channel.exchange_delete(name)


@sluice_only
def test_alarm(tap, broker):
    broker.set_config("vm_memory_high_watermark.absolute", "1")
    set_ = event(tap, "alarm.set", source="memory")
    broker.set_config("vm_memory_high_watermark.absolute", "100GiB")
    event(tap, "alarm.cleared", source="memory", node=set_.headers["node"])


@sluice_only
def test_events_are_kept_in_a_durable_queue():
    with support.new({"event_exchange.vhost": "/"}) as broker:
        with connect(broker) as connection:
            ch = connection.channel()
            ch.queue_declare("kept", durable=True)
            ch.queue_bind("kept", "amq.rabbitmq.event", "queue.created")
            ch.queue_declare("other", durable=True)
            wait_for(connection, lambda: ch.queue_declare("kept", passive=True).method.message_count == 1, "the event")
        broker.restart()
        with connect(broker) as connection:
            method, properties, _ = connection.channel().basic_get("kept", auto_ack=True)
            assert method.routing_key == "queue.created" and properties.headers["name"] == "other"


@sluice_only
def test_off_unless_configured():
    with support.new() as broker, connect(broker) as connection:
        with pytest.raises(pika.exceptions.ChannelClosedByBroker):
            connection.channel().exchange_declare("amq.rabbitmq.event", passive=True)
        # configured later: the exchange is made at the next start
        broker.config["event_exchange.vhost"] = "/"
        connection.close()
        broker.restart()
        with connect(broker) as again:
            again.channel().exchange_declare("amq.rabbitmq.event", passive=True)
            out = ctl(broker, "list_exchanges", "name", "type", "durable", "internal")[1]
            assert "amq.rabbitmq.event\ttopic\ttrue\ttrue" in out
