"""Limits of a node, a vhost and a user: what one more of them is told. @spec amqp-semantics 4.4, 9.1, 18.2"""

import contextlib
import re
import sys
from pathlib import Path

import pika
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))
import broker as support  # noqa: E402
from test_auth import connect, ctl, user  # noqa: E402


@pytest.fixture(scope="module")
def broker():
    with support.new(kind="sluice") as running:
        for name in ("one", "two"):
            user(running, name)
        yield running


@pytest.fixture
def setting(broker):
    """A setting for the length of a test."""
    changed = []

    def change(key, value):
        changed.append(key)
        broker.set_config(key, value)
    yield change
    for key in changed:
        broker.set_config(key, "infinity")


@contextlib.contextmanager
def limits(broker, of, **values):
    """Limits of user or vhost `of` for a while."""
    text = "{" + ", ".join(f'"{k.replace("_", "-")}": {v}' for k, v in values.items()) + "}"
    if of == "/":
        ctl(broker, "set_vhost_limits", "-p", of, text)
    else:
        ctl(broker, "set_user_limits", of, text)
    try:
        yield
    finally:
        ctl(broker, *(["clear_vhost_limits", "-p", of] if of == "/" else ["clear_user_limits", of, "all"]))


@contextlib.contextmanager
def connections(broker, *names):
    """Open ones."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(connect(broker, name)) for name in names]


def refused(broker, name):
    """What a connection too many is told."""
    with pytest.raises(pika.exceptions.AMQPConnectionError) as error:
        connect(broker, name)
    found = re.search(r"""\(530\) ["'](.* is reached)""", str(error.value).replace("\\'", "'"))
    assert found, repr(error.value)
    return found.group(1)


def closed(call, code):
    """What a channel or its connection is told at its end."""
    with pytest.raises((pika.exceptions.ChannelClosedByBroker, pika.exceptions.ConnectionClosedByBroker)) as error:
        call()
    assert error.value.reply_code == code
    return error.value.reply_text


@pytest.mark.parametrize("key", ["connection_max", "max_connections"])
def test_connections_of_a_node(broker, setting, key):
    setting("connection_max", 5)
    setting("max_connections", 5)
    setting(key, 2)
    with connections(broker, "one", "two") as held:
        for _ in range(2):  # what is refused does not count
            assert refused(broker, "one") == "NOT_ALLOWED - connection refused: node connection limit (2) is reached"
        held[0].close()
        with connections(broker, "one"):
            pass
        held[0] = connect(broker, "two")
        held[0].close()


def test_connections_of_a_vhost(broker):
    with limits(broker, "/", max_connections=1), connections(broker, "one"):
        assert refused(broker, "two") == (
            "NOT_ALLOWED - access to vhost '/' refused for user 'two': connection limit (1) is reached")
    with limits(broker, "/", max_connections=0):
        assert refused(broker, "one") == (
            "NOT_ALLOWED - access to vhost '/' refused for user 'one': connection limit (0) is reached")
    with limits(broker, "/", max_connections=-1), connections(broker, "one", "two"):
        pass


def test_connections_of_a_user(broker):
    with limits(broker, "one", max_connections=1), connections(broker, "one", "two", "two"):
        assert refused(broker, "one") == (
            "NOT_ALLOWED - connection refused for user 'one': user connection limit (1) is reached")
    with limits(broker, "one", max_connections=0):
        assert refused(broker, "one") == (
            "NOT_ALLOWED - connection refused for user 'one': user connection limit (0) is reached")
    with limits(broker, "one", max_connections=-1), connections(broker, "one", "one"):
        pass


def test_the_widest_limit_is_told_first(broker, setting):
    with connections(broker, "one"), limits(broker, "one", max_connections=1):
        with limits(broker, "/", max_connections=1):
            setting("connection_max", 1)
            assert "node connection limit" in refused(broker, "one")
            setting("connection_max", "infinity")
            assert "access to vhost '/' refused" in refused(broker, "one")
        assert "user connection limit" in refused(broker, "one")


def test_channels_of_a_user(broker):
    with limits(broker, "one", max_channels=2), connections(broker, "one", "one", "two") as (first, second, other):
        first.channel()
        second.channel()
        other.channel()
        assert closed(second.channel, 530) == (
            "NOT_ALLOWED - number of channels opened for user 'one' has reached the maximum allowed user limit of (2)")
    with limits(broker, "one", max_channels=0), connections(broker, "one") as (first,):
        assert closed(first.channel, 530).endswith("user limit of (0)")
    with limits(broker, "one", max_channels=-1), connections(broker, "one") as (first,):
        first.channel().queue_declare("", exclusive=True)


def test_channels_of_a_node(broker, setting):
    setting("channel_max_per_node", 2)
    with connections(broker, "one", "two") as (first, second):
        first.channel()
        second.channel().close()
        second.channel()
        assert "has reached the maximum allowed limit of (2)" in closed(second.channel, 530)


def test_queues_of_a_vhost(broker):
    with connections(broker, "one") as (connection,):
        channel = connection.channel()
        channel.queue_declare("there")
        with limits(broker, "/", max_queues=1):
            channel.queue_declare("there")  # it is
            # Whatever else is wrong with it.
            for kwargs in ({"queue": "new"}, {"queue": "new", "durable": True},
                           {"queue": "new", "arguments": {"x-message-ttl": -1, "x-dead-letter-exchange": 5}},
                           {"queue": "new", "arguments": {"x-queue-type": "quorum"}}):
                assert closed(lambda arguments=kwargs: connection.channel().queue_declare(**arguments), 406) == (
                    "PRECONDITION_FAILED - cannot declare queue 'new': queue limit in vhost '/' (1) is reached")
            assert "queue limit in vhost '/' (1) is reached" in closed(
                lambda: connection.channel().queue_declare("", exclusive=True), 406)
            channel.queue_delete("there")
            channel.queue_declare("new")
            channel.queue_delete("new")
        with limits(broker, "/", max_queues=0):
            assert "queue limit in vhost '/' (0) is reached" in closed(lambda: channel.queue_declare("new"), 406)
        with limits(broker, "/", max_queues=-1):
            connection.channel().queue_declare("", exclusive=True)


def test_queues_of_all_vhosts(broker, setting):
    ctl(broker, "add_vhost", "v")
    ctl(broker, "set_permissions", "-p", "v", "one", ".*", ".*", ".*")
    setting("cluster_queue_limit", 2)
    with connections(broker, "one") as (first,), connect(broker, "one", vhost="v") as second:
        first.channel().queue_declare("a", exclusive=True)
        second.channel().queue_declare("b", exclusive=True)
        second.channel().queue_declare("b", exclusive=True)
        assert closed(lambda: first.channel().queue_declare("c", exclusive=True), 406) == (
            "PRECONDITION_FAILED - cannot declare queue 'c': queue limit in cluster (2) is reached")
    ctl(broker, "delete_vhost", "v")


def test_exchanges_of_all_vhosts(broker, setting):
    with connections(broker, "one") as (connection,):
        there = len(ctl(broker, "-q", "--no-table-headers", "list_exchanges", "name").splitlines())
        setting("cluster_exchange_limit", there + 1)
        channel = connection.channel()
        channel.exchange_declare("a", durable=True)
        channel.exchange_declare("a", durable=True)
        channel.exchange_declare("amq.direct", durable=True)
        for durable in (False, True):
            assert closed(lambda d=durable: connection.channel().exchange_declare("b", durable=d), 406) == (
                "PRECONDITION_FAILED - cannot declare exchange 'b' in vhost '/': exchange limit of "
                f"{there + 1} is reached")
        channel.exchange_delete("a")
        channel.exchange_declare("b")
        channel.exchange_delete("b")


def test_vhosts(broker, setting):
    setting("vhost_max", 2)
    ctl(broker, "add_vhost", "second")
    done = support.subprocess.run([*broker.ctl_words(), "add_vhost", "third"], capture_output=True, text=True, timeout=60,
                                  check=False)
    assert done.returncode != 0 and "cannot create vhost 'third': vhost limit of 2 is reached" in done.stderr
    ctl(broker, "add_vhost", "second")  # it is there
    ctl(broker, "delete_vhost", "second")
    ctl(broker, "add_vhost", "third")
    ctl(broker, "delete_vhost", "third")


def test_open_connections_stay_when_a_limit_falls_below_them(broker):
    with connections(broker, "one", "one") as held:
        channels = [c.channel() for c in held]
        with limits(broker, "one", max_connections=0, max_channels=0), limits(broker, "/", max_connections=0, max_queues=0):
            for channel in channels:
                channel.basic_publish("", "nowhere", b"m")
                channel.exchange_declare("amq.direct", passive=True)
