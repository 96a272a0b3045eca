"""Sections 13, 14, 15: expiry, length limits, dead letters, priority."""

import time

import pytest

from expect import differs, spec
from wire import METHOD, V, encode_frame, encode_method


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


# --- expiry of what is not ready ---


def tick(ch, names, put, ttl_ms):
    """Returns when a message that is published now has expired."""
    clock, over = names("clock"), names("over")
    ch.queue(over)
    ch.queue(clock, arguments={"x-message-ttl": ttl_ms, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": over})
    put(clock, b"tick")
    wait_get(ch, over, 30)


@spec("13.1")
def test_what_consumers_hold_expires_when_it_comes_back(conn, ch, names, put, dlx):
    x, dead = dlx
    held = {}
    for how in ("nack", "recover", "close", "reject", "ack"):
        q, other = names(how), conn.channel()
        ch.queue(q, arguments={"x-dead-letter-exchange": x, "x-message-ttl": 1000})
        put(q, how.encode(), props={"expiration": "900"})
        held[how] = (q, other, wait_get_unacked(other, q).delivery_tag)
    tick(ch, names, put, 1100)
    assert ch.count(dead) == (0, 0)
    for how, (q, other, tag) in held.items():
        if how == "close":
            other.close()
        elif how == "recover":
            other.call("basic.recover", requeue=True)
        else:
            other.send("basic." + how, delivery_tag=tag, **({} if how == "ack" else {"requeue": how == "nack"}))
            other.barrier()
        if how != "ack":
            m = wait_get(ch, dead, 20)
            reason = "rejected" if how == "reject" else "expired"
            assert (m.body, death(m)[0]["reason"], death(m)[0]["original-expiration"], m.redelivered) == \
                (how.encode(), reason, "900", False)
        assert ch.count(q) == ch.count(dead) == (0, 0)


@spec("13.1")
def test_get_passes_over_what_has_expired(ch, names, put, dlx):
    x, dead = dlx
    q = names("q")
    ch.queue(q, arguments={"x-dead-letter-exchange": x})
    put(q, b"1", b"2", b"3", props={"expiration": "50"})
    put(q, b"stays")
    tick(ch, names, put, 100)
    m = ch.get(q)
    assert (m.body, m.message_count) == (b"stays", 0)
    assert [wait_get(ch, dead).body for _ in range(3)] == [b"1", b"2", b"3"]


@spec("13.1")
def test_behind_a_busy_consumer_messages_expire(conn, ch, names, put, dlx):
    x, dead = dlx
    q = names("q")
    ch.queue(q, arguments={"x-dead-letter-exchange": x, "x-message-ttl": 200})
    other = conn.channel()
    other.call("basic.qos", prefetch_count=1)
    other.consume(q)
    put(q, b"held", b"1", b"2")
    first = other.expect("basic.deliver")
    assert first.body == b"held"
    assert [wait_get(ch, dead).body for _ in range(2)] == [b"1", b"2"]
    other.send("basic.ack", delivery_tag=first.delivery_tag)
    other.barrier()  # nothing more comes
    assert ch.count(q) == (0, 1)


@spec("13.1", vector=61)
@pytest.mark.parametrize("queue_ttl,message_ttl", [(0, "60000"), (60000, "0"), (0, "0")])
def test_ttl_zero_wins_over_any_other(conn, ch, names, put, dlx, queue_ttl, message_ttl):
    """Given to the consumer that has room; what the next one finds is dead, and so is what comes back."""
    x, dead = dlx
    q = names("q")
    ch.queue(q, arguments={"x-dead-letter-exchange": x, "x-message-ttl": queue_ttl})
    other = conn.channel()
    other.call("basic.qos", prefetch_count=1)
    other.consume(q)
    put(q, b"1", b"2", props={"expiration": message_ttl})
    d = other.expect("basic.deliver")
    assert d.body == b"1"
    assert wait_get(ch, dead).body == b"2"
    other.send("basic.nack", delivery_tag=d.delivery_tag, requeue=True)
    m = wait_get(ch, dead)
    assert m.body == b"1" and death(m)[0]["original-expiration"] == message_ttl
    other.barrier()


# --- length limits and what is not ready ---


@spec("13.2")
def test_only_ready_messages_count(ch, names, put, dlx):
    """What comes back over the limit is the oldest, and goes."""
    x, dead = dlx
    q = names("q")
    ch.queue(q, arguments={"x-dead-letter-exchange": x, "x-max-length": 2})
    put(q, b"1", b"2")
    tags = [wait_get_unacked(ch, q).delivery_tag for _ in range(2)]
    put(q, b"3", b"4")
    assert ch.get(dead) is None
    for tag in tags:
        ch.send("basic.nack", delivery_tag=tag, requeue=True)
    got = [wait_get(ch, dead) for _ in range(2)]
    assert [m.body for m in got] == [b"1", b"2"] and death(got[0])[0]["reason"] == "maxlen"
    assert ch.drain(q) == [b"3", b"4"]


@spec("13.2")
def test_what_comes_back_is_dropped_before_a_consumer_is_served(conn, ch, names, put, dlx):
    x, dead = dlx
    q = names("q")
    ch.queue(q, arguments={"x-dead-letter-exchange": x, "x-max-length": 2})
    other = conn.channel()
    other.call("basic.qos", prefetch_count=1)
    other.consume(q)
    put(q, *[b"%d" % i for i in range(6)])
    assert other.expect("basic.deliver").body == b"0"
    assert [wait_get(ch, dead).body for _ in range(3)] == [b"1", b"2", b"3"]
    other.send("basic.nack", delivery_tag=1, requeue=True)
    assert other.expect("basic.deliver").body == b"4"
    assert wait_get(ch, dead).body == b"0"


@spec("13.2")
def test_returned_messages_may_exceed_a_limit_that_rejects(conn, ch, names):
    q = names("q")
    ch.queue(q, arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    ch.confirm().publish("", q, b"1")
    ch.expect("basic.ack")
    other = conn.channel()
    tag = wait_get_unacked(other, q).delivery_tag
    ch.publish("", q, b"2")
    ch.expect("basic.ack")
    other.send("basic.nack", delivery_tag=tag, requeue=True)
    other.barrier()
    assert other.count(q) == (2, 0)
    ch.publish("", q, b"3")
    assert ch.expect("basic.nack").delivery_tag == 3
    assert other.drain(q) == [b"1", b"2"]


@spec("13.2")
def test_bytes_of_bodies_alone_and_both_limits(ch, names, put, dlx):
    x, dead = dlx
    q = names("q")
    ch.queue(q, arguments={"x-dead-letter-exchange": x, "x-max-length-bytes": 10, "x-max-length": 4})
    steps = [(b"12345", []), (b"1234", []), (b"", []), (b"", []), (b"", [b"12345"]),
             (b"0123456789x", [b"1234", b"", b"", b"", b"0123456789x"]), (b"0123456789", []), (b"", []), (b"x", [b"0123456789"])]
    for body, dropped in steps:
        put(q, body, props={"headers": {"k": "v" * 100}})
        assert [wait_get(ch, dead).body for _ in dropped] == dropped, body
    assert ch.drain(q) == [b"", b"x"]


@spec("13.2", vector=64)
def test_length_limit_of_a_priority_queue(ch, names, put, dlx):
    x, dead = dlx
    q = names("q")
    ch.queue(q, arguments={"x-dead-letter-exchange": x, "x-max-length": 3, "x-max-priority": 5})
    for body, priority in ((b"a1", 1), (b"b5", 5), (b"c3", 3), (b"d0", 0), (b"e9", 9)):
        put(q, body, props={"priority": priority})
    low, high = ([b"d0", b"a1"], [b"b5", b"e9", b"c3"]), ([b"b5", b"e9"], [b"c3", b"a1", b"d0"])
    dropped, kept = differs("A8", low, rabbitmq=high)
    assert [wait_get(ch, dead).body for _ in range(2)] == dropped
    assert ch.drain(q) == kept


# --- the history ---


FULL = {"content_type": "ct", "content_encoding": "ce", "delivery_mode": 2, "priority": 3, "correlation_id": "c",
        "reply_to": "r", "message_id": "m", "timestamp": 5, "type": "t", "app_id": "a"}


@spec("14.4", vector=66)
@pytest.mark.parametrize("keyed", [False, True])
@pytest.mark.parametrize("reason,arguments", [("expired", {"x-message-ttl": 1}), ("maxlen", {"x-max-length": 0}), ("rejected", {})])
def test_history_of_each_reason(ch, names, dlx, reason, arguments, keyed):
    """All fields; the other properties stay; the header CC stays but for a dead letter key."""
    x, dead = dlx
    q, source = names("q"), names("source")
    ch.exchange(source, "direct")
    key = {"x-dead-letter-routing-key": "new"} if keyed else {}
    ch.queue(q, arguments={"x-dead-letter-exchange": x, **arguments, **key})
    ch.bind(q, source, "k1")
    headers = [("CC", ["c1", "c2"]), ("BCC", ["b1"]), ("mine", 1)]
    ch.publish(source, "k1", b"b", {**FULL, "headers": headers, "expiration": "200000"})
    if reason == "rejected":
        reject_from(ch, q)
    m = wait_get(ch, dead)
    assert {k: v for k, v in m.props.items() if k != "headers"} == FULL
    assert (m.exchange, m.routing_key, m.redelivered) == (x, "new" if keyed else "k1", False)
    h = m.props["headers"]
    entry, = h.typed("x-death").value
    assert {k: (v.tag, v.value) for k, v in entry.value if k not in ("time", "routing-keys")} == {
        "count": ("l", 1), "reason": ("S", reason.encode()), "queue": ("S", q.encode()), "exchange": ("S", source.encode()),
        "original-expiration": ("S", b"200000")}
    assert death(m)[0]["routing-keys"] == ["k1", "c1", "c2"]
    assert [h.get(f"x-first-death-{k}") for k in ("reason", "queue", "exchange")] == [reason, q, source]
    has_cc = not keyed or differs("A9", True, rabbitmq=False)
    assert h.get("mine") == 1 and h.get("BCC") is None and h.get("CC") == (["c1", "c2"] if has_cc else None)


@spec("14.4", vector=67)
def test_a_retry_ladder_counts_both_deaths(ch, names):
    """Rejected to a queue whose TTL brings it back: what retry libraries count."""
    work, waits = names("work"), names("waits")
    ch.queue(work, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": waits})
    ch.queue(waits, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": work, "x-message-ttl": 20})
    ch.publish("", work, b"x", {"expiration": "300000"})
    for round_ in range(4):
        m = wait_get_unacked(ch, work)
        if round_:
            assert [(d["queue"], d["reason"], d["count"], d.get("original-expiration")) for d in death(m)] == \
                [(waits, "expired", round_, None), (work, "rejected", round_, "300000")]
            assert [m.props["headers"].get(f"x-first-death-{k}") for k in ("reason", "queue")] == ["rejected", work]
        ch.send("basic.reject", delivery_tag=m.delivery_tag, requeue=False)


@spec("14.4")
@pytest.mark.parametrize("mine", [True, False])
def test_history_that_a_client_sends(ch, names, dlx, mine):
    """RabbitMQ up to 3.13 goes on with it; we begin anew, as 4.0 does."""
    x, dead = dlx
    q = names("q")
    ch.queue(q, arguments={"x-dead-letter-exchange": x})
    sent = {"count": V("l", 7), "reason": "rejected", "queue": q if mine else "other", "exchange": "e", "routing-keys": ["a"],
            "time": V("T", 99)}
    first = {"x-first-death-reason": "expired", "x-first-death-queue": "zz", "x-first-death-exchange": "yy"}
    ch.publish("", q, b"x", {"headers": {"x-death": [sent], **first}})
    reject_from(ch, q)
    m = wait_get(ch, dead)
    seen = [(d["queue"], d["count"]) for d in death(m)]
    assert seen == differs("A10", [(q, 1)], rabbitmq=[(q, 8)] if mine else [(q, 1), ("other", 7)])
    assert m.props["headers"].get("x-first-death-queue") == differs("A10", q, rabbitmq="zz")


@spec("14.4")
@pytest.mark.parametrize("value", ["text", 5, [], {"a": 1}, [{}]], ids=str)
def test_history_that_makes_no_sense(ch, names, dlx, value):
    x, dead = dlx
    q = names("q")
    ch.queue(q, arguments={"x-dead-letter-exchange": x})
    ch.publish("", q, b"x", {"headers": {"x-death": value}})
    reject_from(ch, q)
    assert (death(wait_get(ch, dead))[0]["queue"], ch.get(dead)) == (q, None)


@spec("14.3", vector=68)
def test_a_circle_of_two_queues_ends(ch, names, put):
    a, b, over = names("a"), names("b"), names("over")
    x = names("x")
    ch.exchange(x, "fanout")
    ch.queue(over)
    ch.queue(a, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": b, "x-message-ttl": 10})
    ch.queue(b, arguments={"x-dead-letter-exchange": x, "x-message-ttl": 10})
    ch.bind(a, x)
    ch.bind(over, x)  # is no part of it
    put(a, b"x")
    assert [(d["queue"], d["count"]) for d in death(wait_get(ch, over, 20))] == [(b, 1), (a, 1)]
    assert ch.count(a) == ch.count(b) == (0, 0)


@spec("14.3", vector=68)
def test_a_circle_with_a_rejection_goes_on(ch, names):
    a, b = names("a"), names("b")
    ch.queue(a, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": b})
    ch.queue(b, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": a, "x-message-ttl": 10})
    ch.publish("", a, b"x")
    for i in range(1, 4):
        reject_from(ch, a)
        m = wait_get_unacked(ch, a)
        assert [(d["queue"], d["reason"], d["count"]) for d in death(m)] == [(b, "expired", i), (a, "rejected", i)]
        ch.send("basic.nack", delivery_tag=m.delivery_tag, requeue=True)


@spec("14.3")
def test_what_is_too_long_does_not_come_back(ch, names, put):
    q = names("q")
    ch.queue(q, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": q, "x-max-length": 1})
    put(q, b"1", b"2")
    m = wait_get(ch, q)
    assert m.body == b"2" and "headers" not in m.props
    assert ch.count(q) == (0, 0)


@spec("14.3")
def test_expired_by_its_own_time_it_would_be_a_circle_too(ch, names, put, dlx):
    """It has no expiration any more, and is dropped all the same."""
    q, over = names("q"), dlx[1]
    ch.queue(q, arguments={"x-dead-letter-exchange": dlx[0]})
    ch.bind(q, dlx[0])
    put(q, b"x", props={"expiration": "10"})
    assert wait_get(ch, over, 20).body == b"x"
    assert ch.count(q) == (0, 0)


@spec("14.2")
def test_dead_letter_exchange_internal_with_an_alternate(ch, names):
    """It is an exchange as any other: what it cannot route goes to its alternate exchange."""
    alternate, x, over, q = names("alternate"), names("x"), names("over"), names("q")
    ch.exchange(alternate, "fanout")
    ch.queue(over)
    ch.bind(over, alternate)
    ch.exchange(x, "direct", internal=True, arguments={"alternate-exchange": alternate})
    ch.queue(q, arguments={"x-dead-letter-exchange": x})
    ch.publish("", q, b"x", {"expiration": "1"}, mandatory=True)
    m = wait_get(ch, over, 20)
    assert (m.exchange, m.routing_key) == (x, q)
    ch.barrier()  # and mandatory was said to another exchange


@spec("14.2")
def test_a_headers_exchange_sees_the_new_headers(ch, names):
    x, over, q = names("x"), names("over"), names("q")
    ch.exchange(x, "headers")
    ch.queue(over)
    ch.bind(over, x, arguments={"x-match": "all-with-x", "x-first-death-reason": "expired"})
    ch.queue(q, arguments={"x-dead-letter-exchange": x})
    ch.publish("", q, b"rejected")
    reject_from(ch, q)
    ch.publish("", q, b"expired", {"expiration": "1"})
    assert wait_get(ch, over, 20).body == b"expired"
    assert ch.count(over) == (0, 0)


@spec("14.2")
def test_a_full_target_takes_no_dead_letter(ch, names, put):
    target, q = names("target"), names("q")
    ch.queue(target, arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    put(target, b"first")
    ch.queue(q, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": target})
    put(q, b"lost")
    reject_from(ch, q)
    ch.barrier()
    end = time.monotonic() + 20
    while ch.count(q)[0]:
        assert time.monotonic() < end
    assert ch.drain(target) == [b"first"]


# --- 15 ---


@spec("15.1")
@pytest.mark.parametrize("most", [0, 1, 2, 10])
def test_what_comes_back_keeps_its_level(ch, names, put, most):
    """With N = 0 there is one level. Over N is N, and first come first served within a level."""
    q = names("q")
    ch.queue(q, arguments={"x-max-priority": most})
    for body, priority in ((b"n", None), (b"0", 0), (b"1", 1), (b"2", 2), (b"0b", 0), (b"1b", 1)):
        put(q, body, props={} if priority is None else {"priority": priority})
    wanted = {0: [b"n", b"0", b"1", b"2", b"0b", b"1b"], 1: [b"1", b"2", b"1b", b"n", b"0", b"0b"]}.get(
        most, [b"2", b"1", b"1b", b"n", b"0", b"0b"])
    tags = [wait_get_unacked(ch, q).delivery_tag for _ in range(4)]
    for tag in reversed(tags):
        ch.send("basic.nack", delivery_tag=tag, requeue=True)
    ch.barrier()
    assert ch.drain(q) == wanted


@spec("15.2")
def test_single_active_order_of_takeover(conn, ch, names, put):
    """The first to come is active; then who has the highest priority, then who waits longest. What the old one held comes again."""
    q = names("q")
    ch.queue(q, arguments={"x-single-active-consumer": True})
    a, b, c, d = (conn.channel() for _ in range(4))
    a.consume(q)
    b.consume(q)
    c.consume(q, arguments={"x-priority": 5})
    d.consume(q)
    put(q, b"1")
    assert a.expect("basic.deliver").body == b"1"
    assert ch.count(q) == (0, 4)
    assert ch.get(q) is None
    for left, next_, body in ((a, c, b"2"), (c, b, b"3"), (b, d, b"4")):
        left.close()
        got = next_.expect("basic.deliver")
        assert (got.body, got.redelivered) == (b"1", True)
        put(q, body)
        bodies = [body] if body == b"2" else [b"2", body] if body == b"3" else [b"2", b"3", body]
        assert [m.body for m in next_.deliveries(len(bodies))] == bodies
    ch.call("queue.delete", queue=q)
    d.expect("basic.cancel")


@spec("15.2")
def test_takeover_by_cancel_waits_for_what_is_unacked(conn, ch, names, put):
    """So that order holds without closing the channel (sac.strict)."""
    q = names("q")
    ch.queue(q, arguments={"x-single-active-consumer": True})
    a, b = conn.channel(), conn.channel()
    tag = a.consume(q)
    b.consume(q)
    put(q, b"1", b"2")
    a.deliveries(2)
    a.call("basic.cancel", consumer_tag=tag)
    put(q, b"3")
    if differs("A12", True, rabbitmq=False):
        b.barrier()
        a.send("basic.ack", delivery_tag=1)
        a.barrier()
        b.barrier()
        a.send("basic.nack", delivery_tag=2, requeue=True)
        assert [m.body for m in b.deliveries(2)] == [b"2", b"3"]
    else:
        assert b.expect("basic.deliver").body == b"3"


@spec("15.2")
def test_single_active_without_credit_or_channel(conn, ch, names, put):
    """It stays the active one without credit; when its channel fails the next gets all, in order."""
    q = names("q")
    ch.queue(q, arguments={"x-single-active-consumer": True})
    a, b = conn.channel(), conn.channel()
    a.call("basic.qos", prefetch_count=1)
    a.consume(q)
    b.consume(q)
    put(q, b"1", b"2", b"3")
    assert a.expect("basic.deliver").body == b"1"
    a.send("basic.nack", delivery_tag=1, requeue=True)
    d = a.expect("basic.deliver")
    assert (d.body, d.redelivered) == (b"1", True)
    b.barrier()
    a.refused(406, "unknown delivery tag 99", "basic.ack", delivery_tag=99)
    assert [(m.body, m.redelivered) for m in b.deliveries(3)] == [(b"1", True), (b"2", False), (b"3", False)]


@spec("15.2")
def test_single_active_of_a_quorum_queue(conn, ch, names):
    """As in 4.x one of higher priority takes over, all consumers are counted, and an exclusive one is refused."""
    q = names("q")
    ch.queue(q, durable=True, arguments={"x-queue-type": "quorum", "x-single-active-consumer": True})
    low, high = conn.channel(), conn.channel()
    low.consume(q)
    high.consume(q, arguments={"x-priority": 1})
    ch.confirm().publish("", q, b"x")
    ch.wait_confirms(timeout=30)
    assert differs("A11", high, rabbitmq=low).expect("basic.deliver").body == b"x"
    assert ch.count(q)[1] == differs("A11", 2, rabbitmq=1)
    ch.refused(405, "basic.get operations are not supported by quorum queues with single active consumer", "basic.get", queue=q)
    if differs("A11", True, rabbitmq=False):
        ch.refused(403, "in exclusive use", "basic.consume", queue=q, exclusive=True)


@spec("15.4", vector=70)
@pytest.mark.parametrize("how", ["reject", "nack", "nack multiple", "recover", "channel", "connection"])
def test_each_way_back_counts_for_the_limit(connect, ch, names, dlx, how):
    x, dead = dlx
    q = names("q")
    ch.queue(q, durable=True, arguments={"x-queue-type": "quorum", "x-delivery-limit": 1, "x-dead-letter-exchange": x})
    ch.confirm().publish("", q, b"x", {"headers": {"mine": 1}})
    ch.wait_confirms(timeout=30)
    for i in range(2):
        c = connect().channel()
        m = wait_get_unacked(c, q)
        assert m.redelivered == (i > 0) and (i == 0 or m.props["headers"].get("x-delivery-count") == 1)
        if how == "channel":
            c.close()
        elif how == "connection":
            c.conn.close()
        elif how == "recover":
            c.call("basic.recover", requeue=True)
        else:
            fields = {"multiple": True} if how == "nack multiple" else {}
            c.send("basic." + how.split()[0], delivery_tag=m.delivery_tag, requeue=True, **fields)
            c.barrier()
    m = wait_get(ch, dead, 20)
    entry, = death(m)
    assert (entry["reason"], entry["count"], entry["queue"]) == ("delivery_limit", 1, q)
    assert m.props["headers"].get("mine") == 1 and m.props["headers"].get("x-delivery-count") is None
