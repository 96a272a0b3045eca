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
    # name, configure, write, read, call, access, kind, object
    ("declare a queue", "^x$", ".*", ".*", lambda c: c.queue_declare("q"), "configure", "queue", "q"),
    ("delete a queue", "^x$", ".*", ".*", lambda c: c.queue_delete("q"), "configure", "queue", "q"),
    ("delete it when unused", "^x$", ".*", ".*", lambda c: c.queue_delete("q", if_unused=True, if_empty=True),
     "configure", "queue", "q"),
    ("declare an exchange", "^x$", ".*", ".*", lambda c: c.exchange_declare("e"), "configure", "exchange", "e"),
    ("delete an exchange", "^x$", ".*", ".*", lambda c: c.exchange_delete("e"), "configure", "exchange", "e"),
    ("delete it when unused", "^x$", ".*", ".*", lambda c: c.exchange_delete("e", if_unused=True), "configure",
     "exchange", "e"),
    ("get", ".*", ".*", "^x$", lambda c: c.basic_get("q"), "read", "queue", "q"),
    ("consume", ".*", ".*", "^x$", lambda c: c.basic_consume("q", print), "read", "queue", "q"),
    ("consume alone", ".*", ".*", "^x$", lambda c: c.basic_consume("q", print, exclusive=True), "read", "queue", "q"),
    ("purge", ".*", ".*", "^x$", lambda c: c.queue_purge("q"), "read", "queue", "q"),
    ("bind a queue to", ".*", ".*", "^x$", lambda c: c.queue_bind("q", "e", "k"), "read", "exchange", "e"),
    ("bind a queue", ".*", "^x$", ".*", lambda c: c.queue_bind("q", "e", "k"), "write", "queue", "q"),
    ("unbind a queue from", ".*", ".*", "^x$", lambda c: c.queue_unbind("q", "e", "k"), "read", "exchange", "e"),
    ("unbind a queue", ".*", "^x$", ".*", lambda c: c.queue_unbind("q", "e", "k"), "write", "queue", "q"),
    ("bind an exchange to", ".*", ".*", "^x$", lambda c: c.exchange_bind("d", "e", "k"), "read", "exchange", "e"),
    ("bind an exchange", ".*", "^x$", ".*", lambda c: c.exchange_bind("d", "e", "k"), "write", "exchange", "d"),
    ("unbind an exchange from", ".*", ".*", "^x$", lambda c: c.exchange_unbind("d", "e", "k"), "read", "exchange", "e"),
    ("unbind an exchange", ".*", "^x$", ".*", lambda c: c.exchange_unbind("d", "e", "k"), "write", "exchange", "d"),
    ("dead letters from", ".*", ".*", "^x$", lambda c: c.queue_declare(
        "n", arguments={"x-dead-letter-exchange": "d"}), "read", "queue", "n"),
    ("dead letters to", ".*", "^x$", ".*", lambda c: c.queue_declare(
        "n", arguments={"x-dead-letter-exchange": "d"}), "write", "exchange", "d"),
    ("dead letters by name", ".*", "^x$", ".*", lambda c: c.queue_declare(
        "n", arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "q"}), "write", "exchange",
     "amq.default"),
    ("alternate from", ".*", ".*", "^x$", lambda c: c.exchange_declare(
        "n", arguments={"alternate-exchange": "d"}), "read", "exchange", "n"),
    ("alternate to", ".*", "^x$", ".*", lambda c: c.exchange_declare(
        "n", arguments={"alternate-exchange": "d"}), "write", "exchange", "d"),
    ("publish", ".*", "^x$", ".*", lambda c: c.basic_publish("e", "q", b"m"), "write", "exchange", "e"),
    ("publish to a queue", ".*", "^x$", ".*", lambda c: c.basic_publish("", "q", b"m"), "write", "exchange",
     "amq.default"),
    ("publish in a transaction", ".*", "^x$", ".*", lambda c: (c.tx_select(), c.basic_publish("e", "q", b"m")), "write",
     "exchange", "e"),
    ("publish confirmed", ".*", "^x$", ".*", lambda c: (c.confirm_delivery(), c.basic_publish(
        "e", "q", b"m", mandatory=True)), "write", "exchange", "e"),
    # A bad property must not tell whether the exchange is there.
    ("publish what is bad", ".*", "^x$", ".*", lambda c: c.basic_publish("e", "q", b"m", BAD), "write", "exchange", "e"),
    ("publish what is bad", ".*", "^x$", ".*", lambda c: c.basic_publish("amq.direct", "q", b"m", BAD), "write",
     "exchange", "amq.direct"),
    ("publish what is bad", ".*", "^x$", ".*", lambda c: c.basic_publish("", "q", b"m", BAD), "write", "exchange",
     "amq.default"),
    ("look at a queue", "", "", "", lambda c: c.queue_declare("q", passive=True), "configure", "queue", "q"),
    ("look at an exchange", "", "", "", lambda c: c.exchange_declare("e", passive=True), "configure", "exchange", "e"),
]


@pytest.fixture(scope="module")
def probe(broker):
    """A user whose rights each case sets, and a channel of one who may everything."""
    user(broker, "probe")
    with connect(broker, "guest", "guest") as admin:
        yield admin.channel()


@pytest.mark.parametrize("exists", [False, True], ids=["missing", "there"])
@pytest.mark.parametrize("case", CASES, ids=[c[0] for c in CASES])
def test_each_missing_permission_is_named_whether_the_object_exists_or_not(broker, probe, case, exists):
    """The same words in both cases: nobody learns names by asking for them."""
    _, configure, write, read, call, access, kind, what = case
    ctl(broker, "set_permissions", "probe", configure, write, read)
    probe.queue_delete("q")
    for exchange in "de":
        probe.exchange_delete(exchange)
        if exists:
            probe.exchange_declare(exchange, "topic")
    if exists:
        probe.queue_declare("q")
        probe.basic_publish("", "q", b"m")
        probe.queue_bind("q", "e", "k")
        probe.exchange_bind("d", "e", "k")
    with connect(broker, "probe") as c:
        assert refused(c, call) == text(access, kind, what, "probe")


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


@pytest.mark.parametrize("call,access", [
    (lambda c: c.basic_publish("e", "no", b"m"), "write"),
    (lambda c: c.basic_publish("e", "ok", b"m", pika.BasicProperties(headers={"CC": ["ok", "no"]})), "write"),
    (lambda c: c.basic_publish("e", "ok", b"m", pika.BasicProperties(headers={"BCC": ["no"]})), "write"),
    (lambda c: c.queue_bind("q", "e", "no"), "read"),
    (lambda c: c.queue_unbind("q", "e", "no"), "read"),
    (lambda c: c.exchange_bind("d", "e", "no"), "read"),
    (lambda c: c.exchange_unbind("d", "e", "no"), "read"),
], ids=["key", "CC", "BCC", "bind", "unbind", "bind an exchange", "unbind an exchange"])
def test_each_missing_topic_permission_is_named(broker, probe, call, access):
    ctl(broker, "set_permissions", "probe", ".*", ".*", ".*")
    other = {"write": "read", "read": "write"}[access]
    patterns = {access: "^ok$", other: ".*"}
    ctl(broker, "set_topic_permissions", "probe", "e", patterns["write"], patterns["read"])
    probe.queue_declare("q")
    for exchange in "de":
        probe.exchange_delete(exchange)
        probe.exchange_declare(exchange, "topic")
    with connect(broker, "probe") as c:
        assert refused(c, call) == f"ACCESS_REFUSED - {access} access to topic 'no' in exchange 'e' in vhost '/' refused " \
            "for user 'probe'"
        channel = c.channel()  # what is allowed is
        channel.queue_bind("q", "e", "ok")
        channel.basic_publish("e", "ok", b"m")
        channel.queue_declare("q", passive=True)


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


LONG = "a" * 60 + "b"  # what a pattern of nested repetitions cannot say no to in less than 2^60 steps


@pytest.mark.parametrize("access,call", [
    ("configure access to queue", lambda c: c.queue_declare(LONG)),
    ("write access to exchange", lambda c: c.basic_publish(LONG, "k", b"m")),
    ("read access to queue", lambda c: c.basic_get(LONG)),
    ("write access to topic", lambda c: c.basic_publish("amq.topic", LONG, b"m")),
    ("read access to topic", lambda c: c.queue_bind("q", "amq.topic", LONG)),
])
def test_a_pattern_that_explodes_is_refused(broker, probe, access, call):
    word, kind = access.split(" access to ")
    patterns = {"configure": ".*", "write": ".*", "read": ".*"}
    if kind != "topic":
        patterns[word] = "^(a+)+$"
    ctl(broker, "set_permissions", "probe", *patterns.values())
    if kind == "topic":
        patterns[word] = "^({username}|a+)+$"
        ctl(broker, "set_topic_permissions", "probe", "amq.topic", patterns["write"], patterns["read"])
    probe.queue_declare("q")
    with connect(broker, "probe") as c:
        assert access in refused(c, call)
        c.channel()  # the broker lives
    broker.wait_log(f"user 'probe' in vhost '/': the permission pattern '{patterns[word]}' takes too much work")


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
        for _ in range(120):  # the end of the channel may be handed over first
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
    assert "maximum allowed user limit of (1)" in error.value.reply_text


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
            c.process_data_events(60)
        ctl(b, "delete_user", "alice", status=67)
