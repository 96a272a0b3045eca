"""Section 12: consuming, prefetch, acknowledgement."""

import pytest

from expect import spec
from wire import METHOD, Timeout, encode_frame, encode_method


def quiet(ch, queue):
    """Nothing more comes: a passive declare of the queue is answered after what it had to send."""
    ch.send("queue.declare", queue=queue, passive=True)
    m = ch.recv()
    assert m.name == "queue.declare-ok", f"unexpected {m}"
    return m.message_count


def bodies(deliveries):
    return [d.body for d in deliveries]


# --- 12.1 consume ---


@spec("12.1", vector=50)
def test_consume_ok_comes_before_the_first_delivery(ch, name, put):
    ch.queue(name)
    put(name, b"1", b"2")
    for _ in range(50):
        ch.send("basic.consume", queue=name)
        tag = ch.expect("basic.consume-ok").consumer_tag
        assert bodies(ch.deliveries(2)) == [b"1", b"2"]
        ch.send("basic.recover", requeue=True)
        seen = sorted(ch.recv().name for _ in range(3))
        assert seen == ["basic.deliver", "basic.deliver", "basic.recover-ok"]
        ch.call("basic.cancel", consumer_tag=tag)
        ch.send("basic.nack", delivery_tag=0, multiple=True, requeue=True)
        ch.barrier()


@spec("12.1")
def test_deliver_fields(ch, name, put):
    ch.queue(name)
    ch.bind(name, "amq.topic", "a.#")
    tag = ch.consume(name, "my-tag")
    assert tag == "my-tag"
    put("a.b.c", b"body", props={"message_id": "m"}, exchange="amq.topic")
    m = ch.expect("basic.deliver")
    assert (m.consumer_tag, m.delivery_tag, m.redelivered, m.exchange, m.routing_key, m.body) == \
        ("my-tag", 1, False, "amq.topic", "a.b.c", b"body")
    assert m.props == {"message_id": "m"}


@spec("12.1", vector=50)
def test_tag_twice_on_a_channel_is_530(conn, ch, names):
    a, b = names("a"), names("b")
    ch.queue(a)
    ch.queue(b)
    ch.consume(a, "t")
    conn.channel().consume(a, "t")  # fine on another channel
    ch.send("basic.consume", queue=b, consumer_tag="t")
    conn.expect_close(530, "attempt to reuse consumer tag 't'", "basic.consume")


@spec("12.1")
def test_tag_is_free_after_cancel(ch, name):
    ch.queue(name)
    for _ in range(5):
        ch.consume(name, "t")
        assert ch.call("basic.cancel", consumer_tag="t").consumer_tag == "t"


@spec("12.1")
def test_tag_reuse_is_checked_before_the_queue(conn, ch, name):
    ch.queue(name)
    ch.consume(name, "t")
    ch.send("basic.consume", queue="not-there", consumer_tag="t")
    conn.expect_close(530)


@spec("12.1", vector=27)
def test_missing_queue_is_404(ch, name):
    ch.refused(404, f"no queue '{name}' in vhost '/'", "basic.consume", queue=name)
    ch.refused(404, "no previously declared queue", "basic.consume", queue="")
    ch.refused(404, f"no queue '{name}' in vhost '/'", "basic.consume", queue=name, nowait=True)


@spec("12.1")
def test_consume_nowait(ch, name, put):
    ch.queue(name)
    put(name, b"1")
    ch.send("basic.consume", queue=name, consumer_tag="t", nowait=True)
    assert ch.expect("basic.deliver").body == b"1"
    assert ch.queue(name, passive=True).consumer_count == 1


@spec("12.1")
def test_no_local_is_ignored(ch, name):
    ch.queue(name, exclusive=True)
    ch.consume(name, no_local=True)
    ch.publish("", name, b"mine")
    assert ch.expect("basic.deliver").body == b"mine"


@spec("12.1", vector=51)
@pytest.mark.parametrize("first,second", [(False, True), (True, False), (True, True)])
@pytest.mark.parametrize("same_channel", [True, False])
def test_exclusive_consumer(conn, ch, name, first, second, same_channel):
    ch.queue(name)
    other = ch if same_channel else conn.channel()
    tag = ch.consume(name, exclusive=first)
    if same_channel:
        other.send("basic.consume", queue=name, exclusive=second)
        other.expect_close(403, f"queue '{name}' in vhost '/' in exclusive use", "basic.consume")
        other.open()
    else:
        other.refused(403, f"queue '{name}' in vhost '/' in exclusive use", "basic.consume", queue=name,
                      exclusive=second)
        ch.call("basic.cancel", consumer_tag=tag)
    other.consume(name, exclusive=second)


@spec("12.1")
def test_exclusive_consumer_does_not_hinder_get(conn, ch, name, put):
    ch.queue(name)
    put(name, b"1", b"2")
    ch.call("basic.qos", prefetch_count=1)
    ch.consume(name, exclusive=True)
    ch.expect("basic.deliver")
    assert conn.channel().get(name).body == b"2"


@spec("12.1")
@pytest.mark.parametrize("value", ["high", 1.5, None], ids=["string", "float", "void"])
def test_consumer_priority_must_be_an_integer(ch, name, value):
    ch.queue(name)
    ch.refused(406, f"invalid arg 'x-priority' for queue '{name}' in vhost '/': \"expected integer, got ",
               "basic.consume", queue=name, arguments={"x-priority": value})


@spec("12.1")
@pytest.mark.parametrize("turn", [1, -1])
def test_which_of_several_bad_consumer_arguments_is_named(ch, name, turn):
    """And before an exclusive consumer of somebody else."""
    ch.queue(name)
    ch.conn.channel().consume(name, exclusive=True)
    bad = [("x-priority", "high"), ("x-cancel-on-ha-failover", 1)][::turn]
    ch.refused(406, f"invalid arg 'x-priority' for queue '{name}' in vhost '/'", "basic.consume", queue=name, arguments=bad)


@spec("12.1")
def test_unknown_consumer_arguments_are_accepted(ch, name):
    ch.queue(name)
    ch.consume(name, arguments={"mine": 1, "x-mine": [1]})


# --- 12.2 dispatch ---


@spec("12.2")
def test_round_robin(conn, ch, name, put):
    ch.queue(name)
    chs = [conn.channel() for _ in range(3)]
    for c in chs:
        c.consume(name)
    put(name, *[b"%d" % i for i in range(30)])
    got = [bodies(c.deliveries(10)) for c in chs]
    assert sorted(sum(got, []), key=int) == [b"%d" % i for i in range(30)]
    assert all(g == sorted(g, key=int) for g in got)


@spec("12.2", vector=57)
def test_consumer_priorities(conn, ch, name, put):
    ch.queue(name)
    low, high = conn.channel(), conn.channel()
    high.call("basic.qos", prefetch_count=3)
    low.consume(name, arguments={"x-priority": -1})
    high.consume(name, arguments={"x-priority": 10})
    put(name, *[b"%d" % i for i in range(5)])
    got = high.deliveries(3)
    assert bodies(got) == [b"0", b"1", b"2"]
    assert bodies(low.deliveries(2)) == [b"3", b"4"]
    high.send("basic.ack", delivery_tag=got[0].delivery_tag)
    high.barrier()
    put(name, b"5", b"6")
    assert bodies(high.deliveries(1)) == [b"5"]
    assert bodies(low.deliveries(1)) == [b"6"]


@spec("12.2")
def test_consumer_without_priority_is_zero(conn, ch, name, put):
    ch.queue(name)
    minus, none, plus = conn.channel(), conn.channel(), conn.channel()
    minus.consume(name, arguments={"x-priority": -5})
    none.call("basic.qos", prefetch_count=1)
    none.consume(name)
    plus.call("basic.qos", prefetch_count=1)
    plus.consume(name, arguments={"x-priority": 5})
    put(name, b"1", b"2", b"3")
    assert bodies(plus.deliveries(1) + none.deliveries(1) + minus.deliveries(1)) == [b"1", b"2", b"3"]


@spec("12.2")
def test_tags_count_every_delivery_of_the_channel(ch, names, put):
    a, b = names("a"), names("b")
    for q in (a, b):
        ch.queue(q)
        put(q, b"1", b"2")
    ch.consume(a, no_ack=True)
    assert [d.delivery_tag for d in ch.deliveries(2)] == [1, 2]
    assert ch.get(b, no_ack=True).delivery_tag == 3
    assert ch.get(b, no_ack=False).delivery_tag == 4
    put(a, b"3")
    assert ch.expect("basic.deliver").delivery_tag == 5


@spec("12.2")
def test_many_messages_in_order(ch, name, put):
    ch.queue(name)
    put(name, *[b"%d" % i for i in range(3000)])
    ch.call("basic.qos", prefetch_count=100)
    ch.consume(name)
    for i in range(3000):
        d = ch.expect("basic.deliver")
        assert (d.body, d.delivery_tag) == (b"%d" % i, i + 1)
        if i % 50 == 49:
            ch.send("basic.ack", delivery_tag=d.delivery_tag, multiple=True)
    ch.barrier()
    assert ch.count(name) == (0, 1)


@spec("12.2")
def test_no_ack_ignores_prefetch(ch, name, put):
    ch.queue(name)
    ch.call("basic.qos", prefetch_count=1)
    ch.consume(name, no_ack=True)
    put(name, *[b"x"] * 10)
    ch.deliveries(10)


# --- 12.3 qos ---


@spec("12.3", vector=52)
def test_prefetch_is_per_consumer(ch, name, put):
    ch.queue(name)
    ch.call("basic.qos", prefetch_count=2)
    a, b = ch.consume(name), ch.consume(name)
    put(name, *[b"x"] * 10)
    got = ch.deliveries(4)
    assert sorted(d.consumer_tag for d in got) == sorted([a, a, b, b])
    assert quiet(ch, name) == 6
    ch.send("basic.ack", delivery_tag=[d for d in got if d.consumer_tag == b][0].delivery_tag)
    assert ch.expect("basic.deliver").consumer_tag == b
    assert quiet(ch, name) == 5


@spec("12.3", vector=52)
def test_global_prefetch_is_over_all_consumers(ch, name, put):
    ch.queue(name)
    ch.call("basic.qos", prefetch_count=3, global_=True)
    ch.consume(name)
    ch.consume(name)
    put(name, *[b"x"] * 10)
    got = ch.deliveries(3)
    assert quiet(ch, name) == 7
    ch.send("basic.ack", delivery_tag=got[1].delivery_tag, multiple=True)
    ch.deliveries(2)
    assert quiet(ch, name) == 5


@spec("12.3")
def test_both_prefetches_must_have_room(ch, name, put):
    ch.queue(name)
    ch.call("basic.qos", prefetch_count=5, global_=True)
    ch.call("basic.qos", prefetch_count=2)
    ch.call("basic.qos", prefetch_count=5, global_=True)
    for _ in range(3):
        ch.consume(name)
    put(name, *[b"x"] * 20)
    got = ch.deliveries(5)
    tags = [d.consumer_tag for d in got]
    assert max(tags.count(t) for t in tags) <= 2
    assert quiet(ch, name) == 15


@spec("12.3")
def test_qos_holds_for_later_consumers_only(ch, name, put):
    ch.queue(name)
    ch.call("basic.qos", prefetch_count=1)
    a = ch.consume(name)
    ch.call("basic.qos", prefetch_count=3)
    b = ch.consume(name)
    put(name, *[b"x"] * 10)
    tags = [d.consumer_tag for d in ch.deliveries(4)]
    assert sorted(tags) == sorted([a, b, b, b])
    quiet(ch, name)


@spec("12.3")
def test_global_limit_can_be_raised_and_removed(ch, name, put):
    ch.queue(name)
    ch.call("basic.qos", prefetch_count=1, global_=True)
    ch.consume(name)
    put(name, *[b"x"] * 10)
    ch.deliveries(1)
    assert quiet(ch, name) == 9
    ch.send("basic.qos", prefetch_count=4, global_=True)
    seen = sorted(ch.recv().name for _ in range(4))
    assert seen == ["basic.deliver"] * 3 + ["basic.qos-ok"]
    assert quiet(ch, name) == 6
    ch.send("basic.qos", prefetch_count=0, global_=True)
    seen = sorted(ch.recv().name for _ in range(7))
    assert seen == ["basic.deliver"] * 6 + ["basic.qos-ok"]


@spec("12.3")
def test_lowered_global_limit_stops_delivery(ch, name, put):
    ch.queue(name)
    ch.call("basic.qos", prefetch_count=5, global_=True)
    ch.consume(name)
    put(name, *[b"x"] * 10)
    got = ch.deliveries(5)
    ch.call("basic.qos", prefetch_count=2, global_=True)
    for d in got[:3]:
        ch.send("basic.ack", delivery_tag=d.delivery_tag)
    assert quiet(ch, name) == 5
    ch.send("basic.ack", delivery_tag=got[3].delivery_tag)
    ch.deliveries(1)
    assert quiet(ch, name) == 4


@spec("12.3")
def test_global_limit_is_fair_to_consumers(ch, name, put):
    """One at a time over two consumers of a queue: both get their share."""
    ch.queue(name)
    ch.call("basic.qos", prefetch_count=1, global_=True)
    tags = [ch.consume(name), ch.consume(name)]
    put(name, *[b"x"] * 10)
    got = []
    for _ in range(10):
        d = ch.expect("basic.deliver")
        got.append(d.consumer_tag)
        ch.send("basic.ack", delivery_tag=d.delivery_tag)
    assert min(got.count(t) for t in tags) >= 2, got


@spec("12.3")
def test_global_limit_is_fair_to_queues(ch, names, put):
    """One at a time over three queues: none is left behind."""
    qs = [names("q") for _ in range(3)]
    for q in qs:
        ch.queue(q)
        put(q, *[b"x"] * 60)
    ch.call("basic.qos", prefetch_count=1, global_=True)
    for q in qs:
        ch.consume(q)
    served = set()
    for _ in range(59):
        d = ch.expect("basic.deliver")
        served.add(d.routing_key)
        ch.send("basic.ack", delivery_tag=d.delivery_tag)
    assert served == set(qs)


@spec("12.3")
def test_no_ack_consumer_waits_while_the_channel_is_at_its_global_limit(ch, names, put):
    """It does not count itself, but a channel without room takes nothing."""
    a, b = names("a"), names("b")
    ch.queue(a)
    ch.queue(b)
    ch.call("basic.qos", prefetch_count=1, global_=True)
    ch.consume(a)
    put(a, b"1")
    d = ch.expect("basic.deliver")
    ch.consume(b, no_ack=True)
    put(b, b"2")
    assert quiet(ch, b) == 1
    ch.send("basic.ack", delivery_tag=d.delivery_tag)
    assert ch.expect("basic.deliver").body == b"2"


@spec("12.3")
def test_get_is_not_limited(ch, name, put):
    ch.queue(name)
    ch.call("basic.qos", prefetch_count=1, global_=True)
    put(name, *[b"x"] * 5)
    for _ in range(5):
        assert ch.get(name, no_ack=False) is not None


@spec("12.3")
def test_prefetch_is_per_channel(conn, ch, name, put):
    ch.queue(name)
    other = conn.channel()
    ch.call("basic.qos", prefetch_count=1)
    other.consume(name)
    put(name, *[b"x"] * 10)
    other.deliveries(10)


@spec("12.3")
def test_prefetch_of_65535(ch, name, put):
    ch.queue(name)
    ch.call("basic.qos", prefetch_count=65535)
    ch.consume(name)
    put(name, *[b"x"] * 300)
    ch.deliveries(300)


@spec("12.3", vector=53)
@pytest.mark.parametrize("size", [1, 2**32 - 1])
def test_prefetch_size_is_540(conn, ch, size):
    ch.send("basic.qos", prefetch_size=size)
    conn.expect_close(540, f"prefetch_size!=0 ({size})", "basic.qos")


@spec("12.3")
def test_nack_and_reject_give_credit_back(ch, name, put):
    ch.queue(name)
    ch.call("basic.qos", prefetch_count=1)
    ch.consume(name)
    put(name, b"1", b"2", b"3")
    ch.send("basic.nack", delivery_tag=ch.expect("basic.deliver").delivery_tag, requeue=False)
    ch.send("basic.reject", delivery_tag=ch.expect("basic.deliver").delivery_tag, requeue=False)
    assert ch.expect("basic.deliver").body == b"3"


# --- 12.4 get ---


@spec("12.4", vector=58)
def test_get(ch, name, put):
    ch.queue(name)
    ch.send("basic.get", queue=name)
    m = ch.expect("basic.get-empty")
    assert m.payload == b"\x00\x3c\x00\x48\x00"
    put(name, b"1", b"2", b"3")
    got = [ch.get(name, no_ack=i == 1) for i in range(3)]
    assert [(m.body, m.message_count, m.delivery_tag, m.exchange, m.routing_key, m.redelivered) for m in got] == \
        [(b"1", 2, 1, "", name, False), (b"2", 1, 2, "", name, False), (b"3", 0, 3, "", name, False)]
    assert ch.get(name) is None


@spec("12.4")
def test_get_counts_ready_only(conn, ch, name, put):
    ch.queue(name)
    put(name, *[b"x"] * 5)
    other = conn.channel()
    for _ in range(2):
        other.get(name, no_ack=False)
    assert ch.get(name).message_count == 2


@spec("12.4")
def test_get_missing_is_404(ch, name):
    ch.refused(404, f"no queue '{name}' in vhost '/'", "basic.get", queue=name)


@spec("12.4")
def test_get_with_ack_must_be_settled(conn, ch, name, put):
    ch.queue(name)
    put(name, b"1")
    ch.get(name, no_ack=False)
    assert ch.get(name) is None
    ch.close()
    assert conn.channel().get(name).redelivered


# --- 12.5 ack, nack, reject ---


@spec("12.5", vector=54)
@pytest.mark.parametrize("method,fields", [
    ("basic.ack", {"delivery_tag": 1}), ("basic.ack", {"delivery_tag": 2**63}), ("basic.ack", {"delivery_tag": 0}),
    ("basic.ack", {"delivery_tag": 1, "multiple": True}), ("basic.nack", {"delivery_tag": 5}),
    ("basic.nack", {"delivery_tag": 5, "multiple": True}), ("basic.nack", {"delivery_tag": 0}),
    ("basic.reject", {"delivery_tag": 5}), ("basic.reject", {"delivery_tag": 0})],
    ids=lambda v: v if isinstance(v, str) else str(list(v.values())))
def test_unknown_tag_is_406(ch, method, fields):
    ch.refused(406, f"unknown delivery tag {fields['delivery_tag']}", method, **fields)


@spec("12.5", vector=54)
@pytest.mark.parametrize("method", ["basic.ack", "basic.nack", "basic.reject"])
def test_settling_twice_is_406(ch, name, put, method):
    ch.queue(name)
    put(name, b"1", b"2")
    ch.get(name, no_ack=False)
    ch.get(name, no_ack=False)
    ch.send(method, delivery_tag=1)
    ch.barrier()
    ch.refused(406, "unknown delivery tag 1", method, delivery_tag=1)
    ready = {"basic.ack": 1, "basic.nack": 1, "basic.reject": 1}[method]
    assert ch.count(name) == (ready, 0)


@spec("12.5")
def test_no_ack_delivery_cannot_be_acked(ch, name, put):
    ch.queue(name)
    put(name, b"1")
    ch.consume(name, no_ack=True)
    ch.expect("basic.deliver")
    ch.refused(406, "unknown delivery tag 1", "basic.ack", delivery_tag=1)


@spec("12.5")
def test_tag_of_another_channel_is_406(conn, ch, name, put):
    ch.queue(name)
    put(name, b"1")
    ch.get(name, no_ack=False)
    conn.channel().refused(406, "unknown delivery tag 1", "basic.ack", delivery_tag=1)
    ch.send("basic.ack", delivery_tag=1)
    ch.barrier()


@spec("12.5", vector=54)
@pytest.mark.parametrize("method", ["basic.ack", "basic.nack"])
def test_multiple_zero_with_none_outstanding_is_ok(ch, method):
    ch.send(method, delivery_tag=0, multiple=True)
    ch.barrier()


@spec("12.5", vector=54)
def test_multiple_zero_takes_all(ch, names, put):
    a, b = names("a"), names("b")
    for q in (a, b):
        ch.queue(q)
        put(q, b"1", b"2")
        ch.get(q, no_ack=False)
        ch.get(q, no_ack=False)
    ch.send("basic.ack", delivery_tag=0, multiple=True)
    ch.barrier()
    ch.refused(406, "unknown delivery tag 4", "basic.ack", delivery_tag=4)
    assert ch.count(a) == ch.count(b) == (0, 0)


@spec("12.5", vector=54)
def test_multiple_takes_all_up_to_the_tag(ch, names, put):
    a, b = names("a"), names("b")
    for q in (a, b):
        ch.queue(q)
        put(q, b"1", b"2", b"3")
    for _ in range(3):
        ch.get(a, no_ack=False)
        ch.get(b, no_ack=False)
    ch.send("basic.ack", delivery_tag=2)
    ch.send("basic.ack", delivery_tag=4, multiple=True)  # 1, 3, 4
    ch.barrier()
    ch.close()
    ch.open()
    assert (ch.drain(a), ch.drain(b)) == ([b"3"], [b"3"])


@spec("12.5", vector=54)
@pytest.mark.parametrize("tag", [2, 4])
def test_multiple_with_an_absent_tag_is_406(ch, name, put, tag):
    ch.queue(name)
    put(name, b"1", b"2", b"3")
    for _ in range(3):
        ch.get(name, no_ack=False)
    ch.send("basic.ack", delivery_tag=2)
    ch.refused(406, f"unknown delivery tag {tag}", "basic.ack", delivery_tag=tag, multiple=True)
    assert ch.count(name) == (2, 0)  # 1 and 3 came back


@spec("12.5")
def test_nack_multiple_requeues_all_up_to_the_tag(ch, name, put):
    ch.queue(name)
    put(name, b"1", b"2", b"3")
    for _ in range(3):
        ch.get(name, no_ack=False)
    ch.send("basic.nack", delivery_tag=2, multiple=True, requeue=True)
    ch.barrier()
    assert ch.drain(name) == [b"1", b"2"]


@spec("12.5")
@pytest.mark.parametrize("method", ["basic.nack", "basic.reject"])
def test_without_requeue_is_dropped(ch, name, put, method):
    ch.queue(name)
    put(name, b"1", b"2")
    ch.get(name, no_ack=False)
    ch.send(method, delivery_tag=1, requeue=False)
    ch.barrier()
    assert ch.drain(name) == [b"2"]


@spec("12.5")
def test_settling_for_a_deleted_queue_is_ok(ch, name, put):
    for method in ("basic.ack", "basic.nack", "basic.reject"):
        ch.queue(name)
        put(name, b"1")
        tag = ch.get(name, no_ack=False).delivery_tag
        ch.call("queue.delete", queue=name)
        ch.send(method, delivery_tag=tag, requeue=True) if method != "basic.ack" else ch.send(method, delivery_tag=tag)
        ch.barrier()


@spec("12.5")
def test_ten_thousand_acks_out_of_order(ch, name, put):
    ch.queue(name)
    put(name, *[b"x"] * 2000)
    ch.consume(name)
    tags = [d.delivery_tag for d in ch.deliveries(2000)]
    for tag in sorted(tags, key=lambda t: (t * 7919) % 2003):
        ch.send("basic.ack", delivery_tag=tag)
    ch.barrier()
    ch.close()
    ch.open()
    assert ch.count(name) == (0, 0)


# --- 12.6 requeue ---


@spec("12.6", vector=55)
@pytest.mark.parametrize("order", [[1, 2, 3], [3, 2, 1], [2, 3, 1]], ids=str)
@pytest.mark.parametrize("method", ["basic.nack", "basic.reject"])
def test_requeue_goes_to_the_old_place(ch, name, put, order, method):
    ch.queue(name)
    put(name, *[b"%d" % i for i in range(1, 6)])
    for _ in range(3):
        ch.get(name, no_ack=False)
    for tag in order:
        ch.send(method, delivery_tag=tag, requeue=True)
    ch.barrier()
    got = [ch.get(name) for _ in range(5)]
    assert [(m.body, m.redelivered) for m in got] == \
        [(b"1", True), (b"2", True), (b"3", True), (b"4", False), (b"5", False)]


@spec("12.6")
def test_requeue_between_others(ch, name, put):
    ch.queue(name)
    put(name, *[b"%d" % i for i in range(1, 7)])
    for _ in range(4):
        ch.get(name, no_ack=False)
    ch.send("basic.nack", delivery_tag=2, requeue=True)
    ch.send("basic.nack", delivery_tag=4, requeue=True)
    ch.barrier()
    assert ch.drain(name) == [b"2", b"4", b"5", b"6"]


@spec("12.6")
def test_requeued_message_goes_to_a_waiting_consumer(conn, ch, name, put):
    ch.queue(name)
    put(name, b"1")
    got = ch.get(name, no_ack=False)
    other = conn.channel()
    other.consume(name)
    ch.send("basic.reject", delivery_tag=got.delivery_tag, requeue=True)
    d = other.expect("basic.deliver")
    assert d.body == b"1" and d.redelivered


@spec("12.6")
def test_redelivered_stays_true(ch, name, put):
    ch.queue(name)
    put(name, b"1")
    for i in range(5):
        got = ch.get(name, no_ack=False)
        assert got.redelivered == (i > 0)
        ch.send("basic.nack", delivery_tag=got.delivery_tag, requeue=True)


@spec("12.6")
def test_requeue_of_durable_messages_keeps_body_and_properties(ch, name, put):
    ch.queue(name, durable=True)
    put(name, b"body", props={"delivery_mode": 2, "message_id": "m", "headers": {"a": 1}})
    first = ch.get(name, no_ack=False)
    ch.send("basic.nack", delivery_tag=1, requeue=True)
    again = ch.get(name)
    assert (again.body, again.props.raw) == (first.body, first.props.raw)


# --- 12.7 recover ---


@spec("12.7", vector=59)
def test_recover(ch, name, put):
    ch.queue(name)
    put(name, b"1", b"2", b"3")
    for _ in range(3):
        ch.get(name, no_ack=False)
    ch.send("basic.ack", delivery_tag=2)
    assert ch.call("basic.recover", requeue=True).name == "basic.recover-ok"
    got = [ch.get(name) for _ in range(2)]
    assert [(m.body, m.redelivered, m.delivery_tag) for m in got] == [(b"1", True, 4), (b"3", True, 5)]


@spec("12.7", vector=59)
def test_recover_gives_to_the_consumer_again(ch, name, put):
    ch.queue(name)
    put(name, b"1", b"2")
    ch.consume(name)
    ch.deliveries(2)
    ch.send("basic.recover", requeue=True)
    got = [ch.recv() for _ in range(3)]
    assert sorted(m.name for m in got) == ["basic.deliver", "basic.deliver", "basic.recover-ok"]
    assert [(m.body, m.redelivered) for m in got if m.name == "basic.deliver"] == [(b"1", True), (b"2", True)]


@spec("12.7")
def test_recover_async_has_no_answer(ch, name, put):
    ch.queue(name)
    put(name, b"1")
    ch.get(name, no_ack=False)
    ch.send("basic.recover-async", requeue=True)
    ch.barrier()
    assert ch.get(name).redelivered


@spec("12.7", vector=59)
@pytest.mark.parametrize("method", ["basic.recover", "basic.recover-async"])
def test_recover_without_requeue_is_540(conn, ch, method):
    ch.send(method, requeue=False)
    conn.expect_close(540, "requeue=false", method)


# --- 12.8 cancel ---


@spec("12.8")
def test_cancel_of_an_unknown_tag_is_ok(ch):
    assert ch.call("basic.cancel", consumer_tag="never").consumer_tag == "never"
    ch.send("basic.cancel", consumer_tag="never", nowait=True)
    ch.barrier()


@spec("12.8")
def test_nothing_comes_after_cancel_ok(conn, ch, name, put):
    ch.queue(name)
    other = conn.channel()
    for _ in range(20):
        tag = ch.consume(name, no_ack=True)
        for _ in range(20):
            other.publish("", name, b"x")
        ch.send("basic.cancel", consumer_tag=tag)
        while ch.expect("basic.deliver", "basic.cancel-ok").name == "basic.deliver":
            pass
        other.barrier()
        quiet(ch, name)
        ch.call("queue.purge", queue=name)


@spec("12.2")
@pytest.mark.parametrize("how", ["ack", "nack"])
def test_credit_is_used_before_the_next_method(conn, ch, name, put, how):
    """An ack and a cancel in one write: the freed credit has taken the next message before the cancel."""
    ch.queue(name)
    put(name, b"1", b"2", b"3")
    ch.call("basic.qos", prefetch_count=1)
    ch.consume(name, "t")
    d = ch.expect("basic.deliver")
    conn.send_raw(
        encode_frame(METHOD, ch.number, encode_method("basic." + how, delivery_tag=d.delivery_tag))
        + encode_frame(METHOD, ch.number, encode_method("basic.cancel", consumer_tag="t")))
    assert ch.expect("basic.deliver").body == b"2"
    ch.expect("basic.cancel-ok")
    assert ch.count(name) == (1, 0)


@spec("12.8", vector=56)
def test_cancel_keeps_the_unacked(conn, ch, name, put):
    ch.queue(name)
    put(name, b"1", b"2")
    other = conn.channel()
    tag = ch.consume(name)
    got = ch.deliveries(2)
    ch.call("basic.cancel", consumer_tag=tag)
    other.consume(name)
    assert quiet(other, name) == 0  # not redelivered
    ch.send("basic.ack", delivery_tag=got[0].delivery_tag)
    ch.close()
    d = other.expect("basic.deliver")
    assert d.body == b"2" and d.redelivered


@spec("12.8")
def test_cancel_nowait(ch, name):
    ch.queue(name)
    tag = ch.consume(name)
    ch.send("basic.cancel", consumer_tag=tag, nowait=True)
    ch.barrier()
    assert ch.count(name) == (0, 0)


@spec("12.8", vector=60)
def test_queue_deleted_under_a_consumer(conn, ch, name, put):
    ch.queue(name)
    put(name, b"1")
    other = conn.channel()
    tag = other.consume(name)
    d = other.expect("basic.deliver")
    ch.call("queue.delete", queue=name)
    m = other.expect("basic.cancel")
    assert (m.consumer_tag, m.nowait) == (tag, True)
    other.send("basic.ack", delivery_tag=d.delivery_tag)
    other.barrier()
    ch.queue(name)
    other.consume(name, tag)  # the tag is free


@spec("12.8", vector=60)
@pytest.mark.parametrize("capabilities", [{}, {"consumer_cancel_notify": False}, {"consumer_cancel_notify": 1}], ids=str)
def test_no_cancel_without_the_capability(connect, ch, name, put, capabilities):
    ch.queue(name)
    put(name, b"1")
    other = connect(capabilities=capabilities).channel()
    other.consume(name)
    d = other.expect("basic.deliver")
    ch.call("queue.delete", queue=name)
    other.send("basic.ack", delivery_tag=d.delivery_tag)
    other.barrier()
    with pytest.raises(Timeout):
        other.recv(timeout=0.1)


@spec("12.8")
def test_cancel_for_every_consumer_of_the_queue(conn, ch, name):
    ch.queue(name)
    other = conn.channel()
    tags = sorted(other.consume(name) for _ in range(3))
    ch.call("queue.delete", queue=name)
    assert sorted(other.expect("basic.cancel").consumer_tag for _ in range(3)) == tags
    other.barrier()


# --- 12.9 redelivered, slow consumers ---


@spec("12.9")
def test_redelivered_is_per_queue(ch, names, put):
    a, b = names("a"), names("b")
    for q in (a, b):
        ch.queue(q)
        ch.bind(q, "amq.fanout")
    put("", b"x", exchange="amq.fanout")
    ch.get(a, no_ack=False)
    ch.send("basic.nack", delivery_tag=1, requeue=True)
    assert ch.get(a).redelivered
    assert not ch.get(b).redelivered


@spec("12.2")
def test_consumer_that_does_not_read_hinders_nobody(connect, ch, name, put):
    """Its socket fills up; others go on."""
    ch.queue(name)
    slow = connect().channel()
    slow.send("basic.consume", queue=name, no_ack=True)
    slow.expect("basic.consume-ok")
    for _ in range(30):
        put(name, *[b"x" * 100_000] * 10)  # never read
    other = name + "-other"
    ch.queue(other, exclusive=True)
    for i in range(100):
        ch.publish("", other, b"%d" % i)
    ch.barrier()
    assert len(ch.drain(other)) == 100
