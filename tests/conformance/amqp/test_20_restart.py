"""Section 20: what survives a stop and what survives SIGKILL. These tests run brokers of their own."""

import threading

import pytest

import broker as support
from expect import differs, spec
from wire import Closed, Conn, WireError, encode_header

pytestmark = pytest.mark.needs_restart

PROPS = {"delivery_mode": 2, "content_type": "text/plain", "headers": [("b", 1), ("a", "x")], "correlation_id": "c",
         "message_id": "m", "timestamp": 2**40, "priority": 3, "type": "t", "app_id": "a"}
BODY = bytes(range(256)) * 500


class After:
    """A broker after its restart, and what was prepared before it."""

    def __init__(self, how, b):
        self.how = how
        self.clean = how == "clean stop"
        self.broker = b
        self.last_words = []

    def prepare(self):
        c = Conn(self.broker.host, self.broker.port)
        ch, pub = c.channel(), c.channel().confirm()
        for kind, durable in (("durable", True), ("transient", False)):
            ch.queue(f"{kind}-queue", durable=durable)
            ch.exchange(f"{kind}-exchange", "fanout", durable=durable)
            for mode in (1, 2):
                pub.publish("", f"{kind}-queue", b"mode %d" % mode, {"delivery_mode": mode})
        ch.queue("quorum-queue", durable=True, arguments={"x-queue-type": "quorum"})
        for mode in (1, 2):
            pub.publish("", "quorum-queue", b"mode %d" % mode, {"delivery_mode": mode})
        ch.queue("levels", durable=True, arguments={"x-queue-type": "quorum"})
        for priority in (None, 0, 31, 5, 4, 255):
            props = {"delivery_mode": 2} if priority is None else {"delivery_mode": 2, "priority": priority}
            pub.publish("", "levels", b"%s" % str(priority).encode(), props)
        ch.queue("bound", durable=True)
        for x in ("durable-exchange", "transient-exchange"):
            ch.bind("bound", x)
        ch.bind("bound", "amq.topic", "a.#", {"n": 1})
        ch.exchange("second", "direct", durable=True)
        ch.bind_exchange("second", "durable-exchange", "k")
        ch.bind("bound", "second", "through")
        ch.bind("transient-queue", "durable-exchange")
        ch.exchange("auto", "fanout", durable=True, auto_delete=True)
        ch.bind("bound", "auto")
        ch.exchange("inner", "topic", durable=True, internal=True, arguments={"mine": 1})
        ch.queue("exclusive", exclusive=True, durable=True)
        ch.queue("auto-queue", durable=True, auto_delete=True)
        ch.queue("ordered", durable=True)
        for i in range(300):
            pub.publish("", "ordered", b"%d" % i, {"delivery_mode": 2})
        ch.queue("large", durable=True)
        pub.publish("amq.direct", "unrouted", BODY, PROPS)
        ch.bind("large", "amq.direct", "large")
        pub.publish("amq.direct", "large", BODY, PROPS)
        pub.publish("amq.direct", "large", b"", PROPS)
        ch.queue("deleted", durable=True)
        pub.publish("", "deleted", b"x", {"delivery_mode": 2})
        ch.queue("purged", durable=True)
        pub.publish("", "purged", b"x", {"delivery_mode": 2})
        ch.queue("acked", durable=True)
        ch.queue("unacked", durable=True)
        for i in range(4):
            pub.publish("", "acked", b"%d" % i, {"delivery_mode": 2})
            pub.publish("", "unacked", b"%d" % i, {"delivery_mode": 2})
        pub.wait_confirms()
        ch.call("queue.delete", queue="deleted")
        ch.call("queue.purge", queue="purged")
        tx = c.channel()
        tx.call("tx.select")
        for _ in range(2):
            tx.send("basic.ack", delivery_tag=tx.get("acked", no_ack=False).delivery_tag)
        tx.call("tx.commit")  # the acks are safe now
        for _ in range(2):
            ch.get("unacked", no_ack=False)
        self.conn = c

    def listen(self):
        """What the broker says at its end; a close is answered, as a client does."""
        try:
            while True:
                self.last_words.append(self.conn.recv(0, 60))
                if self.last_words[-1].name == "connection.close":
                    self.conn.send(0, "connection.close-ok")
        except (WireError, OSError) as e:
            self.last_words.append(e)
        self.conn.drop()

    def restart(self):
        listener = threading.Thread(target=self.listen)
        listener.start()
        self.broker.restart(clean=self.clean)
        listener.join(60)
        self.ch = Conn(self.broker.host, self.broker.port).channel()

    def missing(self, what, name):
        fields = {what: name}
        self.ch.refused(404, f"no {what} '{name}' in vhost '/'", f"{what}.declare", passive=True, **fields)


@pytest.fixture(scope="module", params=["clean stop", "SIGKILL"])
def after(request):
    with support.new() as b:
        a = After(request.param, b)
        a.prepare()
        a.restart()
        yield a
        a.ch.conn.drop()


@spec("3.5")
def test_clients_are_told_of_a_stop(after):
    if after.clean:
        m = after.last_words[0]
        assert (m.name, m.code) == ("connection.close", 320)
        assert m.text == "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'"
    else:
        assert isinstance(after.last_words[0], Closed)


@spec("20", vector=74)
def test_durable_queue_keeps_persistent_messages_only(after):
    got = after.ch.get("durable-queue")
    assert (got.body, got.message_count) == (b"mode 2", 0)
    if after.clean:
        assert not got.redelivered


@spec("20", vector=74)
def test_quorum_queue_keeps_every_message(after):
    got = []

    def both():
        got.extend(after.ch.drain("quorum-queue"))
        return len(got) >= 2

    support.wait_until(both, 60, "both messages")  # RabbitMQ chooses a leader first
    assert got == [b"mode 1", b"mode 2"]


@spec("15.1")
def test_a_quorum_queue_has_levels_of_priority(after):
    got = []

    def all_of_them():
        got.extend(after.ch.drain("levels"))
        return len(got) >= 6

    support.wait_until(all_of_them, 60, "the messages")  # as above
    assert got == differs("A5", [b"31", b"255", b"5", b"None", b"4", b"0"],
                          rabbitmq=[b"None", b"0", b"31", b"5", b"4", b"255"])


@spec("20", vector=74)
def test_transient_objects_are_gone(after):
    after.missing("queue", "transient-queue")
    after.missing("exchange", "transient-exchange")
    after.missing("queue", "exclusive")


@spec("20")
def test_deleted_queue_stays_away(after):
    if after.clean or differs("R2", True, rabbitmq=False):
        after.missing("queue", "deleted")


@spec("20", vector=74)
def test_durable_objects_keep_their_attributes(after):
    ch = after.ch
    ch.queue("durable-queue", durable=True)
    ch.queue("auto-queue", durable=True, auto_delete=True)
    ch.exchange("durable-exchange", "fanout", durable=True)
    ch.exchange("inner", "topic", durable=True, internal=True)
    ch.exchange("amq.topic", "topic", durable=True)
    ch.refused(406, "inequivalent arg 'durable'", "queue.declare", queue="durable-queue")
    assert ch.count("purged") == (0, 0)


@spec("20", vector=74)
@pytest.mark.parametrize("exchange,key,copies", [("durable-exchange", "k", 1), ("amq.topic", "a.b", 1),
                                                 ("amq.topic", "b", 0), ("second", "through", 1), ("auto", "", 1)])
def test_bindings_between_durable_objects_survive(after, exchange, key, copies):
    after.ch.publish(exchange, key, b"m")
    after.ch.barrier()
    assert len(after.ch.drain("bound")) == copies


@spec("20", vector=74)
def test_exchange_to_exchange_binding_survives(after):
    after.ch.queue("via-second", exclusive=True)
    after.ch.bind("via-second", "second", "k")
    after.ch.publish("durable-exchange", "k", b"m")
    after.ch.barrier()
    assert after.ch.drain("via-second") == [b"m"]
    after.ch.drain("bound")


@spec("20", vector=74)
def test_binding_of_a_transient_exchange_is_gone(after):
    after.ch.exchange("transient-exchange", "fanout")
    after.ch.publish("transient-exchange", "", b"m", mandatory=True)
    assert after.ch.expect("basic.return").code == 312


@spec("20", vector=74)
def test_order_is_kept(after):
    assert after.ch.drain("ordered") == [b"%d" % i for i in range(300)]


@spec("20", vector=74)
def test_body_and_properties_come_back_octet_for_octet(after):
    for body in (BODY, b""):
        got = after.ch.get("large")
        assert got.body == body and got.props.raw == encode_header(0, PROPS)[12:]
        assert (got.exchange, got.routing_key) == ("amq.direct", "large")


@spec("20")
def test_settled_messages_stay_away(after):
    got = after.ch.drain("acked")
    if after.clean or differs("R1", True, rabbitmq=False):
        assert got == [b"2", b"3"]
    else:
        assert got[-2:] == [b"2", b"3"]


@spec("20", vector=76)
def test_unacked_messages_are_ready_and_redelivered(after):
    got = [after.ch.get("unacked") for _ in range(4)]
    assert [m.body for m in got] == [b"0", b"1", b"2", b"3"]
    assert [m.redelivered for m in got[:2]] == [True, True]
    if after.clean:
        assert [m.redelivered for m in got[2:]] == [False, False]


@spec("20")
def test_auto_delete_exchange_still_auto_deletes(after):
    after.ch.call("queue.unbind", queue="bound", exchange="auto")
    after.missing("exchange", "auto")


def confirmed_until_the_end(ch, confirmed):
    """Adds what the broker still says before its connection ends."""
    try:
        while True:
            note(confirmed, ch.expect("basic.ack"))
    except (Closed, WireError):
        pass


def note(confirmed, ack):
    if ack.multiple:
        confirmed["upto"] = max(confirmed["upto"], ack.delivery_tag)
    else:
        confirmed["single"].add(ack.delivery_tag)


@spec("20", vector=75)
def test_kill_amid_ten_thousand_confirmed_publishes():
    with support.new() as b:
        ch = Conn(b.host, b.port).channel()
        ch.queue("q", durable=True)
        ch.confirm()
        confirmed = {"upto": 0, "single": set()}
        sent = 0
        while sent < 10_000 and len(confirmed["single"]) + confirmed["upto"] < 5_000:
            for _ in range(100):
                sent += 1
                ch.publish("", "q", b"%d" % sent, {"delivery_mode": 2})
            while sent - len(confirmed["single"]) - confirmed["upto"] > 800:
                note(confirmed, ch.expect("basic.ack"))
        for _ in range(200):
            sent += 1
            ch.publish("", "q", b"%d" % sent, {"delivery_mode": 2})
        b.restart(clean=False)
        confirmed_until_the_end(ch, confirmed)
        ch.conn.drop()
        got = [int(x) for x in Conn(b.host, b.port).channel().drain("q")]
        assert got == sorted(set(got)), "order or duplicates"
        wanted = set(range(1, confirmed["upto"] + 1)) | confirmed["single"]
        assert len(wanted) >= 4000
        assert not wanted - set(got), f"{len(wanted - set(got))} confirmed messages are missing"
        assert set(got) <= set(range(1, sent + 1))
