"""Section 9: queues."""

import pytest

from expect import differs, spec
from wire import V

LOCKED = ("cannot obtain exclusive access to locked queue '{}' in vhost '/'. It could be originally declared on "
          "another connection or the exclusive property value does not match that of the original declaration.")


def missing(ch, name):
    ch.refused(404, f"no queue '{name}' in vhost '/'", "queue.declare", queue=name, passive=True)


# --- 9.1 declare ---


@spec("9.1")
@pytest.mark.parametrize("flags", [{}, {"durable": True}, {"auto_delete": True}, {"durable": True, "auto_delete": True},
                                   {"exclusive": True}, {"exclusive": True, "durable": True},
                                   {"exclusive": True, "auto_delete": True}], ids=lambda f: "+".join(f) or "plain")
def test_declare_twice(ch, name, flags):
    for _ in range(2):
        m = ch.queue(name, **flags)
        assert (m.queue, m.message_count, m.consumer_count) == (name, 0, 0)


@spec("9.1", vector=38)
def test_declare_counts(conn, ch, name, put):
    ch.queue(name)
    put(name, *[b"x"] * 5)
    for _ in range(2):
        ch.get(name, no_ack=False)
    other = conn.channel()
    assert ch.count(name) == (3, 0)
    other.call("basic.qos", prefetch_count=1)
    other.consume(name)
    other.consume(name)
    other.deliveries(2)
    for passive in (True, False):
        m = ch.queue(name, passive=passive)
        assert (m.message_count, m.consumer_count) == (1, 2)


@spec("9.1")
def test_declare_nowait(ch, names):
    q = names("q")
    ch.send("queue.declare", queue=q, nowait=True)
    ch.barrier()
    ch.publish("", q, b"x")
    ch.barrier()
    assert ch.get("").body == b"x"  # it is the last declared queue
    ch.refused(406, "inequivalent arg 'durable'", "queue.declare", queue=q, durable=True, nowait=True)


@spec("9.1", vector=26)
def test_every_declare_sets_the_last_declared_queue(ch, names, put):
    a, b, c = names("a"), names("b"), names("c")
    for q in (a, b, c):
        ch.queue(q)
        put(q, q.encode())
    ch.queue(a, passive=True)
    assert ch.get("", no_ack=False).body == a.encode()
    ch.send("queue.declare", queue=b, passive=True, nowait=True)
    assert ch.get("", no_ack=False).body == b.encode()
    ch.queue(c)
    ch.consume("", no_ack=True)
    assert ch.expect("basic.deliver").body == c.encode()
    ch.call("queue.purge", queue="")
    ch.send("queue.delete", queue="")
    assert sorted(ch.recv().name for _ in range(2)) == ["basic.cancel", "queue.delete-ok"]
    missing(ch, c)


@spec("9.1")
def test_last_declared_queue_that_was_deleted(ch, name):
    ch.queue(name)
    ch.call("queue.delete", queue=name)
    ch.refused(404, None, "basic.get", queue="")


@spec("9.1")
def test_last_declared_queue_is_per_channel(conn, ch, name):
    ch.queue(name, exclusive=True)
    conn.channel().refused(404, "no previously declared queue", "basic.get", queue="")


# --- 9.2 equivalence ---


@spec("9.2")
@pytest.mark.parametrize("field", ["durable", "auto_delete"])
@pytest.mark.parametrize("first", [False, True])
def test_changed_flag_is_406(ch, name, field, first):
    ch.queue(name, **{field: first})
    text = {False: "false", True: "true"}
    ch.refused(406, f"inequivalent arg '{field}' for queue '{name}' in vhost '/': received '{text[not first]}' "
               f"but current is '{text[first]}'", "queue.declare", queue=name, **{field: not first})
    assert ch.count(name) == (0, 0)


@spec("9.2")
def test_durable_is_not_compared_for_an_exclusive_queue(ch, names):
    a, b = names("a"), names("b")
    ch.queue(a, exclusive=True)
    ch.queue(a, exclusive=True, durable=True)
    ch.queue(b, exclusive=True, durable=True)
    ch.queue(b, exclusive=True)


@spec("9.2", vector=32)
def test_exclusive_is_strict(conn, ch, names):
    a, b = names("a"), names("b")
    ch.queue(a, exclusive=True)
    ch.refused(405, LOCKED.format(a)[:200], "queue.declare", queue=a)
    ch.queue(b)
    ch.refused(405, LOCKED.format(b)[:200], "queue.declare", queue=b, exclusive=True)
    conn.channel().queue(a, exclusive=True)  # another channel of the same connection


@spec("9.2")
def test_exclusive_is_compared_first(ch, name):
    ch.queue(name)
    ch.refused(405, None, "queue.declare", queue=name, exclusive=True, durable=True, auto_delete=True)


@spec("9.2")
def test_durable_is_compared_before_auto_delete(ch, name):
    ch.queue(name)
    ch.refused(406, "inequivalent arg 'durable'", "queue.declare", queue=name, durable=True, auto_delete=True)


@spec("9.2", vector=30)
def test_unknown_arguments_are_not_compared(ch, name):
    ch.queue(name, arguments={"mine": 1})
    for arguments in ({}, {"mine": 2}, {"mine": "x", "other": [1]}):
        ch.queue(name, arguments=arguments)


@spec("9.2", vector=29)
def test_queue_type_classic_equals_absent(ch, names):
    a, b = names("a"), names("b")
    ch.queue(a, durable=True, arguments={"x-queue-type": "classic"})
    ch.queue(a, durable=True)
    ch.queue(b, durable=True)
    ch.queue(b, durable=True, arguments={"x-queue-type": "classic"})


@spec("9.2", vector=28)
@pytest.mark.parametrize("old,new,text", [
    ({"x-max-length": 10}, {"x-max-length": 20}, "received '20' but current is '10'"),
    ({}, {"x-max-length": 20}, "received the value '20' of type 'signedint' but current is none"),
    ({"x-max-length": 10}, {}, "received none but current is the value '10' of type 'signedint'"),
    ({"x-max-length": V("l", 10)}, {}, "received none but current is the value '10' of type 'long'")],
    ids=["changed", "added", "removed", "removed long"])
def test_changed_argument_is_406(ch, name, old, new, text):
    ch.queue(name, arguments=old)
    ch.refused(406, f"inequivalent arg 'x-max-length' for queue '{name}' in vhost '/': {text}",
               "queue.declare", queue=name, arguments=new)


# --- 9.3 passive ---


@spec("9.3")
def test_passive_declare(ch, names):
    q = names("q")
    missing(ch, q)
    ch.queue(q)
    ch.queue(q, passive=True, durable=True, auto_delete=True, arguments={"x-max-length": "nonsense"})
    ch.refused(404, "no queue '' in vhost '/'", "queue.declare", queue="", passive=True)


# --- 9.4 exclusive ---


@spec("9.4", vector=31)
@pytest.mark.parametrize("method,fields", [
    ("queue.declare", {"exclusive": True}), ("queue.declare", {}), ("queue.declare", {"passive": True}),
    ("basic.consume", {}), ("basic.get", {}), ("queue.purge", {}), ("queue.delete", {}),
    ("queue.bind", {"exchange": "amq.direct"}), ("queue.unbind", {"exchange": "amq.direct", "routing_key": "bound"})],
    ids=["declare", "declare not exclusive", "passive", "consume", "get", "purge", "delete", "bind", "unbind"])
def test_exclusive_queue_is_locked_for_others(connect, ch, name, method, fields):
    ch.queue(name, exclusive=True)
    ch.bind(name, "amq.direct", "bound")
    other = connect().channel()
    m = other.refused(405, f"cannot obtain exclusive access to locked queue '{name}' in vhost '/'", method,
                      queue=name, **fields)
    assert m.text[len("RESOURCE_LOCKED - "):] == LOCKED.format(name)[:255 - len("RESOURCE_LOCKED - ")]
    ch.barrier()


@spec("9.4", vector=31)
def test_anybody_publishes_to_an_exclusive_queue(connect, ch, name, put):
    ch.queue(name, exclusive=True)
    ch.bind(name, "amq.fanout")
    put(name, b"1")
    put("k", b"2", exchange="amq.fanout")
    assert ch.drain(name) == [b"1", b"2"]


@spec("9.4")
def test_all_channels_of_the_connection_use_it(conn, ch, name):
    ch.queue(name, exclusive=True)
    other = conn.channel()
    other.bind(name, "amq.direct", "k")
    other.publish("amq.direct", "k", b"x")
    other.barrier()
    assert other.drain(name) == [b"x"]
    ch.close()  # the channel that declared it
    assert other.count(name) == (0, 0)
    other.call("queue.delete", queue=name)


@spec("9.4", vector=11)
@pytest.mark.parametrize("durable", [False, True])
def test_exclusive_queue_goes_with_the_connection(connect, ch, name, durable):
    c = connect()
    other = c.channel()
    other.queue(name, exclusive=True, durable=durable)
    other.publish("", name, b"x")
    other.barrier()
    c.close()
    missing(ch, name)


# --- 9.5 auto-delete ---


@spec("9.5", vector=33)
def test_auto_delete_needs_a_consumer_once(ch, name):
    ch.queue(name, auto_delete=True)
    ch.publish("", name, b"x")
    ch.barrier()
    assert ch.get(name).body == b"x"
    assert ch.count(name) == (0, 0)


@spec("9.5", vector=33)
def test_auto_delete_at_the_last_cancel(ch, name):
    ch.queue(name, auto_delete=True)
    one, two = ch.consume(name), ch.consume(name)
    ch.publish("", name, b"unacked")
    ch.expect("basic.deliver")
    ch.call("basic.cancel", consumer_tag=one)
    assert ch.count(name) == (0, 1)
    ch.call("basic.cancel", consumer_tag=two)
    missing(ch, name)


@spec("9.5")
def test_auto_delete_ack_after_it_has_gone(ch, name):
    ch.queue(name, auto_delete=True)
    tag = ch.consume(name)
    ch.publish("", name, b"x")
    d = ch.expect("basic.deliver")
    ch.call("basic.cancel", consumer_tag=tag)
    ch.send("basic.ack", delivery_tag=d.delivery_tag)
    ch.barrier()


@spec("9.5", vector=33)
def test_auto_delete_at_channel_close(conn, ch, name):
    ch.queue(name, auto_delete=True)
    other = conn.channel()
    other.consume(name)
    other.close()
    missing(ch, name)


@spec("9.5")
def test_auto_delete_at_channel_exception_and_connection_close(connect, ch, names):
    a, b = names("a"), names("b")
    c = connect()
    one, two = c.channel(), c.channel()
    for q, owner in ((a, one), (b, two)):
        ch.queue(q, auto_delete=True)
        owner.consume(q)
    one.send("queue.declare", queue="not-there", passive=True)
    one.expect("channel.close")
    missing(ch, a)
    c.close()
    missing(ch, b)


@spec("9.5")
def test_auto_delete_redeclare_does_not_reset(ch, name):
    ch.queue(name, auto_delete=True)
    tag = ch.consume(name)
    ch.queue(name, auto_delete=True)
    ch.call("basic.cancel", consumer_tag=tag)
    missing(ch, name)


# --- 9.6 delete ---


@spec("9.6", vector=34)
def test_delete_missing_is_ok(ch, name):
    assert ch.call("queue.delete", queue=name).message_count == 0
    assert ch.call("queue.delete", queue=name, if_empty=True, if_unused=True).message_count == 0


@spec("9.6", vector=34)
def test_delete_counts_ready_messages(ch, name, put):
    ch.queue(name)
    put(name, b"1", b"2", b"3")
    ch.get(name, no_ack=False)
    assert ch.call("queue.delete", queue=name).message_count == 2
    missing(ch, name)


@spec("9.6", vector=34)
def test_delete_if_empty(ch, name, put):
    ch.queue(name)
    put(name, b"1")
    ch.refused(406, f"queue '{name}' in vhost '/' not empty", "queue.delete", queue=name, if_empty=True)
    ch.get(name, no_ack=False)
    assert ch.call("queue.delete", queue=name, if_empty=True).message_count == 0


@spec("9.6", vector=34)
def test_delete_if_unused(ch, conn, name, put):
    ch.queue(name)
    other = conn.channel()
    tag = other.consume(name)
    ch.refused(406, f"queue '{name}' in vhost '/' in use", "queue.delete", queue=name, if_unused=True)
    other.call("basic.cancel", consumer_tag=tag)
    ch.call("queue.delete", queue=name, if_unused=True)


@spec("9.6")
def test_delete_checks_empty_before_unused(ch, conn, name, put):
    ch.queue(name)
    put(name, b"1", b"2")
    other = conn.channel()
    other.call("basic.qos", prefetch_count=1)
    other.consume(name)
    other.expect("basic.deliver")
    ch.refused(406, "not empty", "queue.delete", queue=name, if_unused=True, if_empty=True)


@spec("9.6")
def test_delete_nowait(ch, name):
    ch.queue(name)
    ch.send("queue.delete", queue=name, nowait=True)
    ch.barrier()
    missing(ch, name)


@spec("9.6")
def test_delete_and_declare_again_is_a_new_queue(ch, name, put):
    for _ in range(20):
        ch.queue(name, durable=True)
        put(name, b"old", props={"delivery_mode": 2})
        ch.call("queue.delete", queue=name)
    ch.queue(name, durable=True)
    assert ch.count(name) == (0, 0)


# --- 9.7 purge ---


@spec("9.7", vector=35)
def test_purge_leaves_the_unacked(ch, name, put):
    ch.queue(name)
    put(name, *[b"%d" % i for i in range(5)])
    tags = [ch.get(name, no_ack=False).delivery_tag for _ in range(2)]
    assert ch.call("queue.purge", queue=name).message_count == 3
    assert ch.call("queue.purge", queue=name).message_count == 0
    ch.send("basic.ack", delivery_tag=tags[0])
    ch.send("basic.nack", delivery_tag=tags[1], requeue=True)
    ch.barrier()
    assert ch.drain(name) == [b"1"]


@spec("9.7")
def test_purge_nowait_and_missing(ch, name, put):
    ch.queue(name)
    put(name, b"1")
    ch.send("queue.purge", queue=name, nowait=True)
    ch.barrier()
    assert ch.count(name) == (0, 0)
    ch.refused(404, "no queue 'not-there' in vhost '/'", "queue.purge", queue="not-there")


# --- the life of messages in a queue ---


@spec("9")
def test_fifo(ch, name, put):
    ch.queue(name)
    put(name, *[b"%d" % i for i in range(500)])
    assert ch.drain(name) == [b"%d" % i for i in range(500)]


# --- what the first release says about arguments it knows and does not do ---

KNOWN = [("x-message-ttl", 1000), ("x-expires", 1000), ("x-max-length", 5), ("x-max-length-bytes", 500),
         ("x-overflow", "reject-publish"), ("x-dead-letter-exchange", "dlx"), ("x-max-priority", 5),
         ("x-single-active-consumer", True), ("x-queue-type", "quorum"), ("x-queue-type", "stream")]


@spec("10")
@pytest.mark.parametrize("key,value", KNOWN, ids=[f"{k}={v}" for k, v in KNOWN])
def test_known_argument_is_done_or_refused(ch, name, key, value):
    """Never accepted and ignored: the declare is refused, or a changed redeclare is."""
    ch.send("queue.declare", queue=name, durable=True, arguments={key: value})
    m = ch.recv()
    if m.name == "channel.close":
        assert differs("Q1", True, rabbitmq=False), "RabbitMQ knows it"
        assert m.code in (406, 540) and key in m.text, m
        ch.send("channel.close-ok")
        ch.open()
        missing(ch, name)
    else:
        ch.refused(406, f"inequivalent arg '{key}'", "queue.declare", queue=name, durable=True)


@spec("10")
@pytest.mark.parametrize("kind", ["x", "Classic", ""])
def test_unknown_queue_type_is_406(ch, name, kind):
    ch.refused(406, f"invalid arg 'x-queue-type' for queue '{name}' in vhost '/'", "queue.declare", queue=name,
               durable=True, arguments={"x-queue-type": kind})
    missing(ch, name)
