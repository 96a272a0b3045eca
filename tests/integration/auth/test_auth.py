"""Users, permissions and vhosts of a whole daemon, changed with sluicectl while it runs."""

import os
import subprocess
import sys
from pathlib import Path

import pika
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))
import broker as support  # noqa: E402

CTL = os.environ.get("SLUICECTL", "sluicectl")


@pytest.fixture(scope="module")
def broker():
    with support.Sluice() as b:
        yield b


def ctl(b, *args, status=0, stdin=""):
    """Run sluicectl and return what it printed."""
    sock = Path(b.dir) / "data" / "admin.sock"
    done = subprocess.run(
        [CTL, "--socket", str(next(Path(b.dir).rglob("admin.sock"), sock)), *args],
        input=stdin, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == status, done.stderr
    return done.stdout


def connect(b, user, password="pw", vhost="/"):
    return pika.BlockingConnection(pika.ConnectionParameters(
        "127.0.0.1", b.port, vhost, pika.PlainCredentials(user, password)))


def user(b, name, configure=".*", write=".*", read=".*", vhost="/"):
    ctl(b, "add_user", name, "pw")
    ctl(b, "set_permissions", "-p", vhost, name, configure, write, read)


def refused(connection, call):
    channel = connection.channel()
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as error:
        call(channel)
        channel.queue_declare("", exclusive=True)  # a publish is refused without an answer
    assert error.value.reply_code == 403
    return error.value.reply_text


def text(access, kind, name, who):
    return f"ACCESS_REFUSED - {access} access to {kind} '{name}' in vhost '/' refused for user '{who}'"


BAD = pika.BasicProperties(expiration="soon", user_id="nobody", headers={"CC": 1})

CASES = [
    # name of the user, configure, write, read, call, access, kind, object
    ("c1", "^x$", ".*", ".*", lambda c: c.queue_declare("q"), "configure", "queue", "q"),
    ("c2", "^x$", ".*", ".*", lambda c: c.queue_delete("q"), "configure", "queue", "q"),
    ("c3", "^x$", ".*", ".*", lambda c: c.exchange_declare("e"), "configure", "exchange", "e"),
    ("c4", "^x$", ".*", ".*", lambda c: c.exchange_delete("e"), "configure", "exchange", "e"),
    ("r1", ".*", ".*", "^x$", lambda c: c.basic_get("q"), "read", "queue", "q"),
    ("r2", ".*", ".*", "^x$", lambda c: c.basic_consume("q", print), "read", "queue", "q"),
    ("r3", ".*", ".*", "^x$", lambda c: c.queue_purge("q"), "read", "queue", "q"),
    ("r4", ".*", ".*", "^x$", lambda c: c.queue_bind("q", "amq.topic", "k"), "read", "exchange",
     "amq.topic"),
    ("r5", ".*", ".*", "^x$", lambda c: c.queue_declare(
        "n", arguments={"x-dead-letter-exchange": "d"}), "read", "queue", "n"),
    ("w1", ".*", "^x$", ".*", lambda c: c.basic_publish("", "q", b"m"), "write", "exchange",
     "amq.default"),
    ("w2", ".*", "^x$", ".*", lambda c: c.basic_publish("nope", "q", b"m"), "write", "exchange",
     "nope"),
    ("w3", ".*", "^x$", ".*", lambda c: c.queue_bind("q", "amq.topic", "k"), "write", "queue", "q"),
    ("w4", ".*", "^x$", ".*", lambda c: c.exchange_bind("amq.fanout", "amq.topic", "k"), "write",
     "exchange", "amq.fanout"),
    ("w5", ".*", "^x$", ".*", lambda c: c.queue_declare(
        "n", arguments={"x-dead-letter-exchange": "d"}), "write", "exchange", "d"),
    ("w6", ".*", "^x$", ".*", lambda c: c.exchange_declare(
        "n", arguments={"alternate-exchange": "a"}), "write", "exchange", "a"),
    # A bad property must not tell whether the exchange is there.
    ("w7", ".*", "^x$", ".*", lambda c: c.basic_publish("nope", "q", b"m", BAD), "write", "exchange",
     "nope"),
    ("w8", ".*", "^x$", ".*", lambda c: c.basic_publish("amq.direct", "q", b"m", BAD), "write",
     "exchange", "amq.direct"),
    ("w9", ".*", "^x$", ".*", lambda c: c.basic_publish("", "q", b"m", BAD), "write", "exchange",
     "amq.default"),
    ("n1", "", "", "", lambda c: c.queue_declare("q", passive=True), "configure", "queue", "q"),
]


@pytest.mark.parametrize("case", CASES, ids=[c[0] for c in CASES])
@pytest.mark.parametrize("exists", [False, True])
def test_each_missing_permission_is_named_whether_the_object_exists_or_not(broker, case, exists):
    name, configure, write, read, call, access, kind, what = case
    name = f"{name}{exists}"
    user(broker, name, configure, write, read)
    with connect(broker, "guest", "guest") as admin:
        channel = admin.channel()
        channel.queue_delete("q")
        if exists:
            channel.queue_declare("q")
        with connect(broker, name) as c:
            assert refused(c, call) == text(access, kind, what, name)


def test_a_change_counts_for_open_channels(broker):
    user(broker, "change")
    with connect(broker, "change") as c:
        channel = c.channel()
        channel.basic_publish("", "nowhere", b"m")
        channel.queue_declare("", exclusive=True)
        ctl(broker, "set_permissions", "change", ".*", "^$", ".*")
        assert text("write", "exchange", "amq.default", "change") == refused(
            c, lambda ch: ch.basic_publish("", "nowhere", b"m"))
        with pytest.raises(pika.exceptions.ChannelClosedByBroker):
            channel.basic_publish("", "nowhere", b"m")
            channel.queue_declare("", exclusive=True)


def test_topic_permissions_expand_variables(broker):
    user(broker, "to.pic")
    ctl(broker, "set_topic_permissions", "to.pic", "amq.topic", r"^{username}\.", "^b")
    with connect(broker, "to.pic") as c:
        channel = c.channel()
        channel.basic_publish("amq.topic", "to.pic.x", b"m")
        channel.queue_declare("", exclusive=True)
        assert "write access to topic 'toXpic.x' in exchange 'amq.topic' in vhost '/' refused for " \
            "user 'to.pic'" in refused(c, lambda ch: ch.basic_publish("amq.topic", "toXpic.x", b"m"))


@pytest.mark.parametrize("bad", [BAD, pika.BasicProperties(reply_to="amq.rabbitmq.reply-to")], ids=["many", "reply-to"])
def test_the_topic_is_judged_before_the_properties(broker, bad, request):
    """As in RabbitMQ 3.10.8."""
    name = "props" + request.node.callspec.id
    user(broker, name)
    ctl(broker, "set_topic_permissions", name, "amq.topic", "^ok$", "")
    with connect(broker, name) as c:
        assert f"write access to topic 'no' in exchange 'amq.topic' in vhost '/' refused for user '{name}'" in refused(
            c, lambda ch: ch.basic_publish("amq.topic", "no", b"m", bad))


def test_a_pattern_that_explodes_is_refused(broker):
    user(broker, "boom", r"^(a+)+$")
    with connect(broker, "boom") as c:
        assert "configure access to queue" in refused(c, lambda ch: ch.queue_declare("a" * 60 + "b"))
        c.channel()  # the broker lives
    support.wait_until(lambda: "takes too much work" in broker.log_text(), 20, "the line in the log")


def test_vhosts_come_and_go(broker):
    ctl(broker, "add_vhost", "v1", "--description", "first")
    user(broker, "inside", vhost="v1")
    with pytest.raises(pika.exceptions.AMQPConnectionError) as error:
        connect(broker, "inside")
    assert "access to vhost '/' refused for user 'inside'" in str(error.value)
    c = connect(broker, "inside", vhost="v1")
    c.channel().queue_declare("kept", durable=True)
    ctl(broker, "set_vhost_limits", "-p", "v1", '{"max-queues": 1}')
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as error:
        c.channel().queue_declare("more")
    assert "queue limit in vhost 'v1' (1) is reached" in error.value.reply_text
    ctl(broker, "delete_vhost", "v1")
    with pytest.raises(pika.exceptions.ConnectionClosedByBroker) as error:
        for _ in range(20):  # the end of the channel may be handed over first
            c.process_data_events(0.5)
    assert (error.value.reply_code, error.value.reply_text) == (
        320, "CONNECTION_FORCED - vhost 'v1' is deleted")
    assert "inside" not in ctl(broker, "list_user_permissions", "inside")
    assert "v1" not in ctl(broker, "list_vhosts").split()


def test_limits_of_a_user(broker):
    user(broker, "limited")
    ctl(broker, "set_user_limits", "limited", '{"max-connections": 1, "max-channels": 1}')
    c = connect(broker, "limited")
    with pytest.raises(pika.exceptions.AMQPConnectionError) as error:
        connect(broker, "limited")
    assert "user connection limit (1) is reached" in str(error.value)
    c.channel()
    with pytest.raises(pika.exceptions.ConnectionClosedByBroker) as error:
        c.channel()
    assert "maximum allowed user limit of 1" in error.value.reply_text


def test_users_of_sluicectl():
    with support.new(kind="sluice") as b:
        ctl(b, "add_user", "alice", "pw")
        ctl(b, "add_user", "alice", "pw", status=70)
        ctl(b, "set_user_tags", "alice", "monitoring", "policymaker")
        assert "alice\t[monitoring, policymaker]" in ctl(b, "list_users")
        ctl(b, "authenticate_user", "alice", "pw")
        ctl(b, "authenticate_user", "alice", "no", status=65)
        ctl(b, "change_password", "alice", "new")
        ctl(b, "authenticate_user", "alice", "pw", status=65)
        ctl(b, "set_permissions", "alice", ".*", ".*", ".*")
        b.kill()
        b.start()
        connect(b, "alice", "new").close()
        c = connect(b, "alice", "new")
        ctl(b, "delete_user", "alice")
        with pytest.raises(pika.exceptions.ConnectionClosedByBroker):
            c.process_data_events(5)
        ctl(b, "delete_user", "alice", status=67)
