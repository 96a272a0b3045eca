"""amq.rabbitmq.event: life cycles of objects. What both brokers say alike is compared; Sluice's own spelling is in the tests
of Sluice alone."""

import base64
import json
import time
import urllib.request

import pika
import pytest
from conftest import LIMIT_S, RABBIT, Tap, connect, ctl, sluice_only, support, wait_for


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


# Who did it: RabbitMQ's name for its command line.
CLI = {"user_who_performed_action": "rmq-cli"}


def test_user(broker, tap, name):
    assert ctl(broker, "add_user", name, "pw")[0] == 0
    event(tap, "user.created", name=name, **CLI)
    assert ctl(broker, "set_user_tags", name, "a", "b")[0] == 0
    event(tap, "user.tags.set", name=name, tags=["a", "b"], **CLI)
    assert ctl(broker, "change_password", name, "other")[0] == 0
    event(tap, "user.password.changed", name=name, **CLI)
    assert ctl(broker, "clear_password", name)[0] == 0
    event(tap, "user.password.cleared", name=name, **CLI)
    assert ctl(broker, "set_user_limits", name, '{"max-connections":3}')[0] == 0
    event(tap, "user.limits.set", name="limits", username=name, max__connections=3, **CLI)
    assert ctl(broker, "clear_user_limits", name, "all")[0] == 0
    event(tap, "user.limits.cleared", name="limits", username=name, **CLI)
    assert ctl(broker, "delete_user", name)[0] == 0
    event(tap, "user.deleted", name=name, **CLI)
    assert keys(tap, name) == ["user.created", "user.tags.set", "user.password.changed", "user.password.cleared",
                               "user.deleted"]


def test_permission(broker, tap, name):
    assert ctl(broker, "add_user", name, "pw")[0] == 0
    assert ctl(broker, "set_permissions", name, "^c", "^w", "^r")[0] == 0
    event(tap, "permission.created", user=name, vhost="/", configure="^c", write="^w", read="^r", **CLI)
    assert ctl(broker, "clear_permissions", name)[0] == 0
    event(tap, "permission.deleted", user=name, vhost="/", **CLI)
    assert ctl(broker, "set_topic_permissions", name, "amq.topic", "^w", "^r")[0] == 0
    event(tap, "topic.permission.created", user=name, vhost="/", exchange="amq.topic", write="^w", read="^r", **CLI)
    assert ctl(broker, "clear_topic_permissions", name)[0] == 0
    event(tap, "topic.permission.deleted", user=name, vhost="/", **CLI)
    tap.seen.clear()
    # With a user they go without a word, with a vhost they do not.
    assert ctl(broker, "set_permissions", name, "", "", "")[0] == 0
    assert ctl(broker, "delete_user", name)[0] == 0
    event(tap, "user.deleted", name=name, **CLI)
    assert [m.key for m in tap.seen if m.headers.get("user") == name] == ["permission.created"]
    assert ctl(broker, "add_vhost", name)[0] == 0
    assert ctl(broker, "set_permissions", "-p", name, "guest", "", "", "")[0] == 0
    assert ctl(broker, "delete_vhost", name)[0] == 0
    event(tap, "permission.deleted", user="guest", vhost=name, **CLI)


def test_vhost(broker, tap, name):
    assert ctl(broker, "add_vhost", name, "--description", "what for", "--tags", "a,b")[0] == 0
    # rabbitmqctl 3.10 leaves the tags in one text, which RabbitMQ then shows; over HTTP it is a list there too.
    tags = "a,b" if RABBIT else ["a", "b"]
    event(tap, "vhost.created", name=name, description="what for", tags=tags, tracing=False, **CLI)
    assert ctl(broker, "set_vhost_limits", "-p", name, '{"max-queues":7}')[0] == 0
    event(tap, "vhost.limits.set", name="limits", max__queues=7, **CLI)
    event(tap, "parameter.set", component="vhost-limits", vhost=name, **CLI)
    assert ctl(broker, "delete_vhost", name)[0] == 0
    event(tap, "vhost.deleted", name=name, **CLI)
    assert keys(tap, name)[:2] == ["vhost.created", "vhost.deleted"]  # and RabbitMQ: vhost.down


def by(user):
    return {"user_who_performed_action": user}


INTERNAL = by("rmq-internal")


@pytest.fixture
def second(broker, name):
    """A channel of another user."""
    user = name + "-user"
    assert ctl(broker, "add_user", user, "pw")[0] == 0
    assert ctl(broker, "set_permissions", user, ".*", ".*", ".*")[0] == 0
    connection = connect(broker, credentials=pika.PlainCredentials(user, "pw"))
    channel = connection.channel()
    channel.user = user
    yield channel
    connection.close()
    assert ctl(broker, "delete_user", user)[0] == 0


@pytest.mark.parametrize("durable", [False, True])
def test_who_did_it_to_queues_exchanges_and_bindings(channel, second, tap, name, durable):
    other, binding = by(second.user), {"source_name": name, "destination_name": name}

    def declare(auto_delete):
        tap.seen.clear()
        channel.exchange_declare(name, "direct", durable=durable, auto_delete=auto_delete)
        channel.queue_declare(name, durable=durable)
        channel.queue_bind(name, name, "k")
        event(tap, "binding.created", **binding, **by("guest"))
        event(tap, "exchange.created", name=name, **by("guest"))
    declare(False)
    event(tap, "queue.created", name=name, **by("guest"))
    second.exchange_delete(name)
    event(tap, "exchange.deleted", name=name, **other)
    event(tap, "binding.deleted", **binding, **other)
    # What follows from the end of a binding is the doing of who has ended it,
    declare(True)
    second.queue_unbind(name, name, "k")
    event(tap, "binding.deleted", **binding, **other)
    event(tap, "exchange.deleted", name=name, **other)
    # and with a queue all that goes by itself.
    declare(True)
    second.queue_delete(name)
    event(tap, "binding.deleted", **binding, **INTERNAL)
    event(tap, "exchange.deleted", name=name, **INTERNAL)
    event(tap, "queue.deleted", name=name, **other)
    # Between exchanges.
    channel.exchange_declare(name, "direct", durable=durable, auto_delete=True)
    channel.exchange_declare(name + "-to", "direct", durable=durable)
    channel.exchange_bind(name + "-to", name, "k")
    event(tap, "binding.created", source_name=name, destination_name=name + "-to", **by("guest"))
    tap.seen.clear()
    second.exchange_delete(name + "-to")
    event(tap, "exchange.deleted", name=name + "-to", **other)
    event(tap, "exchange.deleted", name=name, **other)
    event(tap, "binding.deleted", source_name=name, destination_name=name + "-to", **other)


def test_nobody_did_what_ends_by_itself(broker, channel, second, tap, name):
    for durable in (False, True):
        tap.seen.clear()
        channel.queue_declare(name, durable=durable, auto_delete=True)
        second.queue_bind(name, "amq.direct", name)
        event(tap, "binding.created", destination_name=name, **by(second.user))
        second.basic_cancel(second.basic_consume(name, lambda *_: None))
        event(tap, "binding.deleted", destination_name=name, **INTERNAL)
        event(tap, "queue.deleted", name=name, **INTERNAL)
    tap.seen.clear()
    channel.queue_declare(name, durable=True, arguments={"x-expires": 100})
    event(tap, "queue.deleted", name=name, **INTERNAL)
    tap.seen.clear()
    owner = connect(broker)
    owner.channel().queue_declare(name, exclusive=True)
    event(tap, "queue.created", name=name, **by("guest"))
    owner.close()
    event(tap, "queue.deleted", name=name, **INTERNAL)


def test_what_the_command_line_did(broker, channel, tap, name, tmp_path):
    channel.queue_declare(name, durable=True)
    channel.queue_bind(name, "amq.direct", name)
    assert ctl(broker, "delete_queue", name)[0] == 0
    event(tap, "binding.deleted", destination_name=name, **INTERNAL)
    event(tap, "queue.deleted", name=name, **by("cli_user"))
    assert ctl(broker, "add_vhost", name)[0] == 0
    event(tap, "exchange.created", vhost=name, name="amq.topic", **CLI)
    file = tmp_path / "definitions.json"
    file.write_text(json.dumps({
        "users": [], "vhosts": [{"name": name}],
        "queues": [{"name": name, "vhost": name, "durable": True, "auto_delete": False, "arguments": {}}],
        "exchanges": [{"name": name, "vhost": name, "type": "fanout", "durable": True, "auto_delete": False,
                       "internal": False, "arguments": {}}],
        "bindings": [{"source": name, "vhost": name, "destination": name, "destination_type": "queue", "routing_key": "k",
                      "arguments": {}}]}))
    tap.seen.clear()
    assert ctl(broker, "import_definitions", str(file))[0] == 0
    event(tap, "exchange.created", vhost=name, name=name, **INTERNAL)
    event(tap, "queue.created", vhost=name, name=name, **INTERNAL)
    event(tap, "binding.created", vhost=name, source_name=name, **INTERNAL)
    assert ctl(broker, "delete_vhost", name)[0] == 0
    event(tap, "binding.deleted", vhost=name, source_name=name, **INTERNAL)
    event(tap, "queue.deleted", vhost=name, name=name, **CLI)
    event(tap, "exchange.deleted", vhost=name, name=name, **CLI)


@sluice_only
def test_who_did_it_over_http(broker, tap, name):
    """Also where it takes time: a password is hashed, a vhost waits for its connections, a file for its turn."""
    def put(path, body=None, method="PUT"):
        url = f"{broker.management_url()}/api/{path.replace('NAME', name)}"
        request = urllib.request.Request(url, json.dumps(body).encode() if body is not None else None, method=method, headers={
            "Authorization": "Basic " + base64.b64encode(b"guest:guest").decode()})
        with urllib.request.urlopen(request, timeout=LIMIT_S) as answer:
            assert answer.status in (200, 201, 204)
    guest = {"user_who_performed_action": "guest"}
    put("users/NAME", {"password": "pw", "tags": "monitoring"})
    event(tap, "user.created", name=name, **guest)
    event(tap, "user.tags.set", name=name, tags=["monitoring"], **guest)
    put("vhosts/NAME", {"description": "d"})
    event(tap, "vhost.created", name=name, **guest)
    event(tap, "permission.created", user="guest", vhost=name, **guest)
    put("permissions/NAME/NAME", {"configure": "", "write": "", "read": ""})
    event(tap, "permission.created", user=name, vhost=name, **guest)
    put("vhost-limits/NAME/max-queues", {"value": 3})
    event(tap, "vhost.limits.set", vhost=name, max__queues=3, **guest)
    event(tap, "exchange.created", vhost=name, name="amq.fanout", **guest)
    put("queues/NAME/NAME", {"durable": True})
    event(tap, "queue.created", vhost=name, name=name, **guest)
    put("exchanges/NAME/NAME", {"type": "fanout"})
    event(tap, "exchange.created", vhost=name, name=name, **guest)
    put("bindings/NAME/e/NAME/q/NAME", {"routing_key": "k"}, "POST")
    event(tap, "binding.created", vhost=name, source_name=name, destination_name=name, **guest)
    put("bindings/NAME/e/NAME/q/NAME/k", method="DELETE")
    event(tap, "binding.deleted", vhost=name, source_name=name, destination_name=name, **guest)
    put("exchanges/NAME/NAME", method="DELETE")
    event(tap, "exchange.deleted", vhost=name, name=name, **guest)
    put("queues/NAME/NAME", method="DELETE")
    event(tap, "queue.deleted", vhost=name, name=name, **guest)
    put("definitions/NAME", {"queues": [{"name": name + "3", "durable": True, "auto_delete": False, "arguments": {}}]}, "POST")
    event(tap, "queue.created", vhost=name, name=name + "3", **guest)
    put("definitions", {"users": [{"name": name + "2", "password": "p", "tags": []}],
                        "permissions": [{"user": name + "2", "vhost": name, "configure": "", "write": "", "read": ""}]}, "POST")
    event(tap, "user.created", name=name + "2", **guest)
    event(tap, "permission.created", user=name + "2", vhost=name, **guest)
    put("vhosts/NAME", method="DELETE")
    event(tap, "queue.deleted", vhost=name, name=name + "3", **guest)
    event(tap, "vhost.deleted", name=name, **guest)
    event(tap, "permission.deleted", user=name, vhost=name, **guest)
    put("users/NAME", method="DELETE")
    event(tap, "user.deleted", name=name, **guest)
    # And it is over: what the command line does next is its own.
    assert ctl(broker, "delete_user", name + "2")[0] == 0
    event(tap, "user.deleted", name=name + "2", **CLI)


@sluice_only
def test_vhost_updated(broker, tap, name):
    for text in ("one", "two", "two"):
        assert ctl(broker, "add_vhost", name, "--description", text)[0] == 0
    assert ctl(broker, "clear_vhost_limits", "-p", name)[0] == 0
    assert ctl(broker, "set_vhost_limits", "-p", name, '{"max-queues":7}')[0] == 0
    assert ctl(broker, "clear_vhost_limits", "-p", name)[0] == 0
    event(tap, "vhost.limits.cleared", name="limits", vhost=name)
    assert ctl(broker, "delete_vhost", name)[0] == 0
    event(tap, "vhost.deleted", name=name)
    assert keys(tap, name) == ["vhost.created", "vhost.updated", "vhost.deleted"]


def test_login(broker, tap, name):
    connect(broker).close()
    event(tap, "user.authentication.success", name="guest", auth_mechanism="PLAIN", ssl=False, connection_type="network",
          protocol="{0,9,1}")
    with pytest.raises(pika.exceptions.AMQPConnectionError):
        connect(broker, credentials=pika.PlainCredentials(name, "wrong"))
    event(tap, "user.authentication.failure", name=name, auth_mechanism="PLAIN", ssl=False)


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
