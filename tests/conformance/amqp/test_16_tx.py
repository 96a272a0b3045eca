"""Section 16: the tx class."""

import time

import pytest

from expect import spec


@spec("16")
def test_select_is_idempotent(ch):
    ch.call("tx.select")
    ch.call("tx.select")


@spec("16")
@pytest.mark.parametrize("method", ["tx.commit", "tx.rollback"])
def test_without_select_is_406(ch, method):
    ch.refused(406, "channel is not transactional", method)


@spec("16", vector=71)
def test_publish_commit_and_rollback(conn, ch, name):
    ch.queue(name)
    watch = conn.channel()
    ch.call("tx.select")
    ch.publish("", name, b"rolled back")
    ch.barrier()
    assert watch.count(name) == (0, 0)
    ch.call("tx.rollback")
    ch.publish("", name, b"1")
    ch.publish("", name, b"2")
    ch.barrier()
    assert watch.count(name) == (0, 0)
    ch.call("tx.commit")
    assert watch.drain(name) == [b"1", b"2"]
    ch.call("tx.commit")
    assert watch.count(name) == (0, 0)


@spec("16", vector=71)
def test_mandatory_return_at_commit(ch):
    ch.call("tx.select")
    ch.publish("", "no-such-queue", b"x", mandatory=True)
    ch.barrier()
    ch.send("tx.commit")
    assert ch.expect("basic.return").code == 312
    ch.expect("tx.commit-ok")
    ch.publish("", "no-such-queue", b"x", mandatory=True)
    ch.call("tx.rollback")
    ch.barrier()


@spec("16")
def test_publish_errors_are_immediate(ch, name):
    ch.call("tx.select")
    ch.publish(name, "k", b"x")
    ch.expect_close(404, None, "basic.publish")


@spec("16")
def test_routing_is_done_at_publish(conn, ch, names):
    x, q = names("x"), names("q")
    ch.exchange(x, "fanout")
    ch.queue(q)
    ch.bind(q, x)
    ch.call("tx.select")
    ch.publish(x, "", b"x")
    ch.barrier()
    conn.channel().call("queue.unbind", queue=q, exchange=x)
    ch.call("tx.commit")
    assert ch.count(q) == (1, 0)


@spec("16")
def test_queue_that_goes_before_the_commit_is_no_route(conn, ch, name):
    ch.queue(name)
    ch.call("tx.select")
    ch.publish("", name, b"x", mandatory=True)
    conn.channel().call("queue.delete", queue=name)
    ch.send("tx.commit")
    m = ch.expect("basic.return")
    assert (m.code, m.routing_key, m.body) == (312, name, b"x")
    ch.expect("tx.commit-ok")


@spec("16", vector=72)
def test_ack_commit_and_rollback(conn, ch, name, put):
    ch.queue(name)
    put(name, b"1", b"2")
    ch.call("tx.select")
    tag = ch.get(name, no_ack=False).delivery_tag
    ch.send("basic.ack", delivery_tag=tag)
    ch.call("tx.rollback")
    ch.send("basic.ack", delivery_tag=tag)  # unacked again, with its old tag
    ch.call("tx.commit")
    ch.close()
    assert conn.channel().drain(name) == [b"2"]


@spec("16", vector=72)
def test_second_ack_before_commit_is_406(ch, name, put):
    ch.queue(name)
    put(name, b"1")
    ch.call("tx.select")
    ch.get(name, no_ack=False)
    ch.send("basic.ack", delivery_tag=1)
    ch.barrier()
    ch.refused(406, "unknown delivery tag 1", "basic.ack", delivery_tag=1)
    assert ch.drain(name) == [b"1"]  # the transaction was given up


@spec("16")
@pytest.mark.parametrize("requeue", [True, False])
@pytest.mark.parametrize("method", ["basic.nack", "basic.reject"])
def test_nack_takes_effect_at_commit(conn, ch, name, put, method, requeue):
    ch.queue(name)
    put(name, b"1")
    watch = conn.channel()
    ch.call("tx.select")
    ch.get(name, no_ack=False)
    ch.send(method, delivery_tag=1, requeue=requeue)
    ch.barrier()
    assert watch.count(name) == (0, 0)
    ch.call("tx.commit")
    assert watch.count(name) == (int(requeue), 0)


@spec("16")
def test_rollback_of_multiple_acks(ch, name, put):
    ch.queue(name)
    put(name, *[b"%d" % i for i in range(5)])
    ch.call("tx.select")
    for _ in range(5):
        ch.get(name, no_ack=False)
    ch.send("basic.ack", delivery_tag=2)
    ch.send("basic.nack", delivery_tag=4, multiple=True, requeue=False)
    ch.call("tx.rollback")
    ch.send("basic.ack", delivery_tag=0, multiple=True)
    ch.call("tx.commit")
    ch.close()
    ch.open()
    assert ch.count(name) == (0, 0)


@spec("16")
def test_credit_comes_back_at_commit(ch, name, put):
    ch.queue(name)
    put(name, b"1", b"2")
    ch.call("tx.select")
    ch.call("basic.qos", prefetch_count=1)
    ch.consume(name)
    d = ch.expect("basic.deliver")
    ch.send("basic.ack", delivery_tag=d.delivery_tag)
    ch.send("queue.declare", queue=name, passive=True)
    assert ch.recv().message_count == 1
    ch.send("tx.commit")
    got = sorted(ch.recv().name for _ in range(2))
    assert got == ["basic.deliver", "tx.commit-ok"]


@spec("16")
def test_closing_the_channel_is_a_rollback(conn, ch, name, put):
    ch.queue(name)
    put(name, b"1")
    ch.call("tx.select")
    ch.get(name, no_ack=False)
    ch.send("basic.ack", delivery_tag=1)
    ch.publish("", name, b"lost")
    ch.close()
    got = conn.channel().get(name)
    assert (got.body, got.redelivered, got.message_count) == (b"1", True, 0)


@spec("16")
def test_an_exception_is_a_rollback(conn, ch, name):
    ch.queue(name)
    ch.call("tx.select")
    ch.publish("", name, b"lost")
    ch.refused(404, None, "queue.declare", queue="not-there", passive=True)
    assert ch.count(name) == (0, 0)
    ch.refused(406, "channel is not transactional", "tx.commit")


@spec("16")
def test_declarations_are_not_transactional(ch, names):
    q = names("q")
    ch.call("tx.select")
    ch.queue(q)
    ch.bind(q, "amq.direct", q)
    ch.call("tx.rollback")
    ch.publish("amq.direct", q, b"x")
    ch.call("tx.commit")
    assert ch.drain(q) == [b"x"]


@spec("16")
def test_commit_of_many_to_several_queues(conn, ch, names):
    qs = [names("q") for _ in range(3)]
    for i, q in enumerate(qs):
        ch.queue(q, durable=i != 1)
        ch.bind(q, "amq.fanout")
    ch.call("tx.select")
    for i in range(300):
        ch.publish("amq.fanout", "", b"%d" % i, {"delivery_mode": 1 + i % 2})
    ch.call("tx.commit")
    for q in qs:
        assert ch.drain(q) == [b"%d" % i for i in range(300)]


@spec("16")
def test_publish_and_ack_in_one_transaction(conn, ch, names, put):
    a, b = names("a"), names("b")
    ch.queue(a, durable=True)
    ch.queue(b, durable=True)
    put(a, b"1", props={"delivery_mode": 2})
    ch.call("tx.select")
    got = ch.get(a, no_ack=False)
    ch.publish("", b, got.body, {"delivery_mode": 2})
    ch.send("basic.ack", delivery_tag=got.delivery_tag)
    ch.call("tx.rollback")
    assert ch.count(b) == (0, 0)
    ch.publish("", b, got.body, {"delivery_mode": 2})
    ch.send("basic.ack", delivery_tag=got.delivery_tag)
    ch.call("tx.commit")
    ch.close()
    ch.open()
    assert (ch.drain(a), ch.drain(b)) == ([], [b"1"])


@spec("16")
@pytest.mark.parametrize("overflow", ["drop-head", "reject-publish", "reject-publish-dlx"])
def test_commit_to_a_full_queue(conn, ch, names, overflow):
    """What other queues took they keep."""
    q, other, dead = names("q"), names("other"), names("dead")
    watch = conn.channel()
    for name in (other, dead):
        watch.queue(name)
    watch.queue(q, arguments={"x-max-length": 1, "x-overflow": overflow, "x-dead-letter-exchange": "",
                              "x-dead-letter-routing-key": dead})
    ch.call("tx.select")
    for to, body in ((q, b"1"), (q, b"2"), (other, b"3")):
        ch.publish("", to, body)
    if overflow == "drop-head":
        ch.call("tx.commit")
    else:
        ch.refused(406, "partial tx completion", "tx.commit")
    dropped = {"drop-head": [b"1"], "reject-publish": [], "reject-publish-dlx": [b"2"]}[overflow]
    for _ in dropped:
        end = time.monotonic() + 20
        while not watch.count(dead)[0]:
            assert time.monotonic() < end
    assert watch.drain(dead) == dropped
    assert (watch.drain(q), watch.drain(other)) == ([b"2"] if overflow == "drop-head" else [b"1"], [b"3"])
    if overflow != "drop-head":
        ch.refused(406, "channel is not transactional", "tx.commit")


@spec("16")
def test_rejected_dies_at_the_commit(conn, ch, names, put):
    q, dead = names("q"), names("dead")
    watch = conn.channel()
    watch.queue(dead)
    watch.consume(dead, no_ack=True)
    watch.queue(q, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead})
    put(q, b"1", b"2")
    ch.call("tx.select")
    for _ in range(2):
        ch.get(q, no_ack=False)
    ch.send("basic.reject", delivery_tag=2, requeue=False)
    ch.call("tx.rollback")
    ch.send("basic.nack", delivery_tag=1, requeue=False)
    ch.barrier()
    watch.barrier()  # nothing yet
    ch.call("tx.commit")
    m = watch.expect("basic.deliver")
    assert m.body == b"1" and m.props["headers"].get("x-death")[0]["reason"] == "rejected"
    watch.barrier()


@spec("16")
def test_time_to_live_begins_at_the_commit(conn, ch, names):
    """With none at all it dies there, and was routed."""
    q, dead = names("q"), names("dead")
    watch = conn.channel()
    watch.queue(dead)
    watch.consume(dead, no_ack=True)
    watch.queue(q, arguments={"x-message-ttl": 0, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead})
    ch.call("tx.select")
    ch.publish("", q, b"x", mandatory=True)
    ch.barrier()
    watch.barrier()
    ch.call("tx.commit")
    assert watch.expect("basic.deliver").body == b"x"


@spec("16")
def test_recover_leaves_what_the_transaction_settles(conn, ch, name, put):
    ch.queue(name)
    put(name, b"1", b"2")
    watch = conn.channel()
    ch.call("tx.select")
    for _ in range(2):
        ch.get(name, no_ack=False)
    ch.send("basic.ack", delivery_tag=1)
    ch.call("basic.recover", requeue=True)
    assert watch.drain(name) == [b"2"]
    ch.call("tx.rollback")
    assert watch.count(name) == (0, 0)
    ch.call("basic.recover", requeue=True)
    assert [m.body for m in (watch.get(name),)] == [b"1"]


@spec("16")
def test_deliveries_without_ack_are_not_undone(ch, name, put):
    ch.queue(name)
    put(name, b"1")
    ch.call("tx.select")
    assert ch.get(name).body == b"1"
    ch.call("tx.rollback")
    assert ch.count(name) == (0, 0)


@spec("16")
def test_what_goes_meanwhile_does_not_hinder_a_commit(conn, ch, names, put):
    """The exchange of a publish, which was routed; the queue of an ack."""
    x, q, gone = names("x"), names("q"), names("gone")
    watch = conn.channel()
    watch.exchange(x, "fanout")
    watch.queue(q)
    watch.bind(q, x)
    watch.queue(gone)
    put(gone, b"1")
    ch.call("tx.select")
    ch.publish(x, "", b"routed")
    ch.get(gone, no_ack=False)
    ch.send("basic.ack", delivery_tag=1)
    ch.barrier()
    watch.call("exchange.delete", exchange=x)
    watch.call("queue.delete", queue=gone)
    ch.call("tx.commit")
    assert watch.drain(q) == [b"routed"]


@spec("5")
def test_command_amid_a_commit(conn, ch, name):
    """504 while the commit is at work; a broker that has finished by then just goes on."""
    ch.queue(name, durable=True)
    ch.call("tx.select")
    for _ in range(50):
        ch.publish("", name, b"x" * 1000, {"delivery_mode": 2})
    ch.send("tx.commit")
    ch.send("basic.qos", prefetch_count=1)
    while True:
        conn.read_one()
        if conn.inbox.get(0):
            conn.expect_close(504, "unexpected command while processing 'tx.commit'")
            return
        if len(conn.inbox.get(1, [])) == 2:
            assert [m.name for m in conn.inbox[1]] == ["tx.commit-ok", "basic.qos-ok"]
            return
