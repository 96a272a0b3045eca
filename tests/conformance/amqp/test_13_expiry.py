"""Sections 13, 14, 15: expiry, length limits, dead letters, priority. With the x-arguments (issue 4)."""

import time

import pytest

from expect import differs, spec
from wire import METHOD, encode_frame, encode_method



@pytest.fixture
def dlx(ch, names):
    """(exchange, queue) that collect the dead."""
    x, q = names("dlx"), names("dead")
    ch.exchange(x, "fanout")
    ch.queue(q)
    ch.bind(q, x)
    return x, q


def wait_get(ch, q, timeout=30):
    """The next message of q, with a deadline that is less than the long times to live of these tests."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        m = ch.get(q)
        if m is not None:
            return m
    raise AssertionError(f"nothing came to {q}")


def death(m):
    return m.props["headers"].get("x-death")


# --- 13.1 ---


@spec("13.1", vector=61)
@pytest.mark.parametrize("by", ["message", "queue"])
def test_ttl_zero(ch, names, dlx, by):
    x, dead = dlx
    q = names("q")
    arguments = {"x-dead-letter-exchange": x}
    props = {"expiration": "0"} if by == "message" else {}
    if by == "queue":
        arguments["x-message-ttl"] = 0
    ch.queue(q, arguments=arguments)
    ch.publish("", q, b"nobody", props)
    m = wait_get(ch, dead)
    assert m.body == b"nobody" and death(m)[0]["reason"] == "expired"
    ch.consume(q, no_ack=True)
    ch.publish("", q, b"somebody", props)
    assert ch.expect("basic.deliver").body == b"somebody"


@spec("13.1", vector=62)
@pytest.mark.parametrize("queue_ttl,message_ttl", [(100, "60000"), (60000, "100")])
def test_the_smaller_ttl_holds(ch, names, dlx, queue_ttl, message_ttl):
    x, dead = dlx
    q = names("q")
    ch.queue(q, arguments={"x-dead-letter-exchange": x, "x-message-ttl": queue_ttl})
    begin = time.monotonic()
    ch.publish("", q, b"x", {"expiration": message_ttl})
    wait_get(ch, dead)
    assert time.monotonic() - begin >= 0.08


@spec("13.1", vector=63)
def test_short_ttl_behind_a_long_one(ch, names, dlx):
    x, dead = dlx
    q = names("q")
    ch.queue(q, arguments={"x-dead-letter-exchange": x})
    ch.publish("", q, b"long", {"expiration": "10000"})
    ch.publish("", q, b"short", {"expiration": "100"})
    if differs("A2", "on time", rabbitmq="at the head") == "on time":
        assert wait_get(ch, dead).body == b"short"
    else:
        with pytest.raises(AssertionError):
            wait_get(ch, dead, 0.5)
        ch.get(q)
        assert wait_get(ch, dead).body == b"short"


@spec("13.1", vector=69)
def test_original_expiration(ch, names, dlx):
    x, dead = dlx
    q = names("q")
    ch.queue(q, arguments={"x-dead-letter-exchange": x})
    ch.publish("", q, b"x", {"expiration": "50", "message_id": "m"})
    m = wait_get(ch, dead)
    assert "expiration" not in m.props and m.props["message_id"] == "m"
    assert death(m)[0]["original-expiration"] == "50"


# --- 13.2 ---


@spec("13.2", vector=64)
@pytest.mark.parametrize("arguments,bodies", [
    ({"x-max-length": 2}, [b"1", b"2", b"3", b"4"]),
    ({"x-max-length-bytes": 20}, [b"1" * 10, b"2" * 10, b"3" * 10, b"4" * 10])], ids=["length", "bytes"])
def test_drop_head(ch, names, dlx, arguments, bodies):
    x, dead = dlx
    q = names("q")
    ch.queue(q, arguments={"x-dead-letter-exchange": x, **arguments})
    ch.confirm()
    for b in bodies:
        ch.publish("", q, b, {"headers": {"k": 1}})
    ch.wait_confirms()
    assert ch.drain(q) == bodies[2:]
    got = [wait_get(ch, dead) for _ in range(2)]
    assert [m.body for m in got] == bodies[:2]
    assert {death(m)[0]["reason"] for m in got} == {"maxlen"}


@spec("13.2", vector=65)
def test_reject_publish_dlx(ch, names, dlx):
    x, dead = dlx
    q = names("q")
    ch.queue(q, arguments={"x-dead-letter-exchange": x, "x-max-length": 1, "x-overflow": "reject-publish-dlx"})
    ch.confirm()
    ch.publish("", q, b"1")
    assert ch.expect("basic.ack").delivery_tag == 1
    ch.publish("", q, b"2")
    assert ch.expect("basic.nack").delivery_tag == 2
    m = wait_get(ch, dead)
    assert m.body == b"2" and death(m)[0]["reason"] == "maxlen"
    assert ch.drain(q) == [b"1"]


# --- 14 ---


@spec("14.4", vector=66)
def test_headers_of_a_first_death(ch, names, dlx):
    x, dead = dlx
    q = names("q")
    ch.queue(q, arguments={"x-dead-letter-exchange": x})
    ch.bind(q, "amq.topic", "a.#")
    ch.publish("amq.topic", "a.b", b"x", {"headers": {"mine": 1}})
    ch.barrier()
    got = ch.get(q, no_ack=False)
    ch.send("basic.nack", delivery_tag=got.delivery_tag, requeue=False)
    m = wait_get(ch, dead)
    headers = m.props["headers"]
    assert headers.get("mine") == 1
    assert (m.exchange, m.routing_key, m.redelivered) == (x, "a.b", False)
    assert len(death(m)) == 1
    entry = death(m)[0]
    assert (entry["count"], entry["reason"], entry["queue"], entry["exchange"], entry["routing-keys"]) == \
        (1, "rejected", q, "amq.topic", ["a.b"])
    assert abs(entry["time"] - time.time()) < 60 and "original-expiration" not in entry
    types = {k: v.tag for k, v in headers.typed("x-death").value[0].value}
    assert types == {"count": "l", "reason": "S", "queue": "S", "time": "T", "exchange": "S", "routing-keys": "A"}
    assert [headers.get(f"x-first-death-{k}") for k in ("reason", "queue", "exchange")] == ["rejected", q, "amq.topic"]
    if differs("A3", True, rabbitmq=False):
        assert [headers.get(f"x-last-death-{k}") for k in ("reason", "queue", "exchange")] == \
            ["rejected", q, "amq.topic"]


@spec("14.4", vector=67)
def test_repeated_deaths_are_counted(ch, names):
    a, b = names("a"), names("b")
    ch.queue(a, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": b})
    ch.queue(b, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": a})
    ch.publish("", a, b"x")
    for q in (a, b, a):
        m = wait_get_unacked(ch, q)
        ch.send("basic.reject", delivery_tag=m.delivery_tag, requeue=False)
    m = wait_get(ch, b)
    assert [(d["queue"], d["reason"], d["count"]) for d in death(m)] == [(a, "rejected", 2), (b, "rejected", 1)]
    assert m.props["headers"].get("x-first-death-queue") == a


def wait_get_unacked(ch, q):
    end = time.monotonic() + 30
    while time.monotonic() < end:
        m = ch.get(q, no_ack=False)
        if m is not None:
            return m
    raise AssertionError(f"nothing came to {q}")


@spec("14.2", vector=68)
def test_missing_dead_letter_exchange_drops(ch, names):
    q = names("q")
    ch.queue(q, arguments={"x-dead-letter-exchange": names("not-there")})
    ch.publish("", q, b"x")
    ch.barrier()
    ch.send("basic.nack", delivery_tag=ch.get(q, no_ack=False).delivery_tag, requeue=False)
    ch.barrier()
    assert ch.count(q) == (0, 0)


@spec("14.3", vector=68)
def test_cycle_by_ttl_is_dropped_by_reject_loops(ch, names, put):
    q = names("q")
    ch.queue(q, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": q})
    put(q, b"expires", props={"expiration": "1"})
    end = time.monotonic() + 30
    while ch.count(q)[0]:
        assert time.monotonic() < end
    ch.publish("", q, b"rejected")
    ch.barrier()
    for i in range(5):
        m = wait_get_unacked(ch, q)
        assert m.body == b"rejected"
        if i:
            assert death(m)[0]["count"] == i
        ch.send("basic.reject", delivery_tag=m.delivery_tag, requeue=False)


def reject_and(ch, tag, then, **fields):
    """Both methods in one write, so that the queue goes before anybody has looked after the dead letter."""
    reject = encode_frame(METHOD, ch.number, encode_method("basic.reject", delivery_tag=tag, requeue=False))
    number = 0 if then.startswith("connection.") else ch.number
    ch.conn.send_raw(reject + encode_frame(METHOD, number, encode_method(then, **fields)))
    return ch.conn.expect(number, then + "-ok")


@spec("14.2")
@pytest.mark.parametrize("durable", [False, True])
def test_reject_then_delete_of_the_queue(ch, names, dlx, durable):
    x, dead = dlx
    q = names("q")
    ch.queue(q, durable=durable, arguments={"x-dead-letter-exchange": x})
    ch.publish("", q, b"x")
    reject_and(ch, ch.get(q, no_ack=False).delivery_tag, "queue.delete", queue=q)
    assert wait_get(ch, dead).body == b"x"


@spec("14.2")
def test_reject_then_cancel_of_the_last_consumer(conn, ch, names, dlx):
    x, dead = dlx
    q = names("q")
    ch.queue(q, auto_delete=True, arguments={"x-dead-letter-exchange": x})
    tag = ch.consume(q)
    ch.publish("", q, b"x")
    reject_and(ch, ch.expect("basic.deliver").delivery_tag, "basic.cancel", consumer_tag=tag)
    assert wait_get(ch, dead).body == b"x"


@spec("14.2")
def test_reject_then_close_of_the_owner(connect, ch, names, dlx):
    x, dead = dlx
    q = names("q")
    owner = connect().channel()
    owner.queue(q, exclusive=True, arguments={"x-dead-letter-exchange": x})
    owner.publish("", q, b"x")
    reject_and(owner, owner.get(q, no_ack=False).delivery_tag, "connection.close", code=200)
    assert wait_get(ch, dead).body == b"x"


def reject_from(ch, q):
    ch.send("basic.reject", delivery_tag=wait_get_unacked(ch, q).delivery_tag, requeue=False)


@spec("14.2")
def test_all_original_keys_also_those_of_bcc(ch, names):
    x, keys, q = names("x"), [names("a"), names("b"), names("c")], names("q")
    ch.exchange(x, "direct")
    for k in keys:
        ch.queue(k)
        ch.bind(k, x, k)
    ch.queue(q, arguments={"x-dead-letter-exchange": x})
    ch.bind(q, "amq.direct", keys[0])
    ch.publish("amq.direct", keys[0], b"x", {"headers": [("CC", [keys[1]]), ("BCC", [keys[2]])]})
    reject_from(ch, q)
    for k in keys:
        m = wait_get(ch, k)
        assert m.routing_key == keys[0] and "BCC" not in m.props["headers"].keys()
        assert death(m)[0]["routing-keys"] == keys[:2]


@spec("14.2")
def test_a_dead_letter_key_takes_the_place_of_all_keys_for_good(ch, names):
    x, a, b, first, second = names("x"), names("a"), names("b"), names("first"), names("second")
    ch.exchange(x, "direct")
    for q, key in ((a, second), (b, b)):
        ch.queue(q)
        ch.bind(q, x, key)
    ch.queue(first, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": second})
    ch.queue(second, arguments={"x-dead-letter-exchange": x})
    ch.publish("", first, b"x", {"headers": {"CC": [b, 1]}})
    reject_from(ch, first)
    reject_from(ch, second)
    m = wait_get(ch, a)
    assert [d["routing-keys"] for d in death(m)] == [[second], [first, b]]
    assert ch.drain(b) == [b"x"]  # what the publish gave it


@spec("15.4", vector=70)
def test_delivery_limit(ch, names, dlx):
    x, dead = dlx
    q = names("q")
    ch.queue(q, durable=True, arguments={"x-queue-type": "quorum", "x-delivery-limit": 2, "x-dead-letter-exchange": x})
    ch.confirm()
    ch.publish("", q, b"x")
    ch.wait_confirms()
    seen = []
    for _ in range(3):
        m = wait_get_unacked(ch, q)
        seen.append(m.props["headers"].get("x-delivery-count") if "headers" in m.props else None)
        ch.send("basic.reject", delivery_tag=m.delivery_tag, requeue=True)
    assert seen == differs("A4", [None, 1, 2], rabbitmq=[0, 1, 2])
    m = wait_get(ch, dead)
    assert death(m)[0]["reason"] == "delivery_limit"


# --- 15.1 ---


@spec("15.1")
def test_priorities(ch, names):
    q = names("q")
    ch.queue(q, arguments={"x-max-priority": 5})
    ch.confirm()
    for body, p in ((b"none", None), (b"1", 1), (b"9", 9), (b"5", 5), (b"0", 0), (b"1b", 1)):
        ch.publish("", q, body, {} if p is None else {"priority": p})
    ch.wait_confirms()
    assert ch.drain(q) == [b"9", b"5", b"1", b"1b", b"none", b"0"]


@spec("15.2")
def test_single_active_consumer(conn, ch, names, put):
    q = names("q")
    ch.queue(q, arguments={"x-single-active-consumer": True})
    a, b = conn.channel(), conn.channel()
    tag = a.consume(q, no_ack=True)
    b.consume(q, no_ack=True)
    put(q, b"1", b"2")
    assert [d.body for d in a.deliveries(2)] == [b"1", b"2"]
    a.call("basic.cancel", consumer_tag=tag)
    put(q, b"3")
    assert b.expect("basic.deliver").body == b"3"
    ch.refused(403, "in exclusive use", "basic.consume", queue=q, exclusive=True)
