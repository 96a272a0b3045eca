"""Section 3: what an exception does."""

import pytest

from expect import differs, spec
from wire import BODY, HEADER_FRAME, ids


@spec("3.2")
@pytest.mark.parametrize("method,fields", [
    ("exchange.declare", {"exchange": "missing", "passive": True}),
    ("exchange.bind", {"destination": "missing", "source": "missing"}),
    ("queue.declare", {"queue": "missing", "passive": True}),
    ("queue.bind", {"queue": "missing", "exchange": "amq.direct"}),
    ("queue.purge", {"queue": "missing"}),
    ("basic.consume", {"queue": "missing"}),
    ("basic.get", {"queue": "missing"})], ids=lambda v: v if isinstance(v, str) else "")
def test_close_carries_the_ids_of_the_method(ch, method, fields):
    m = ch.refused(404, "missing' in vhost '/'", method, **fields)
    assert (m.class_id, m.method_id) == ids(method)
    ch.barrier()


@spec("3.2")
def test_text_is_cut_to_255_octets(ch):
    name = "n" * 255
    ch.send("queue.declare", queue=name, passive=True)
    m = ch.expect_close(404, None, "queue.declare")
    assert len(m.text.encode()) == 255 or len(m.text.encode()) < 255 and m.text.startswith("NOT_FOUND - no queue 'n")
    assert m.text.startswith("NOT_FOUND - no queue '" + "n" * 200)


@spec("3.2")
def test_cut_text_is_still_utf8(ch):
    ch.send("queue.declare", queue="\u20ac" * 85, passive=True)
    m = ch.expect("channel.close")
    assert m.code == 404
    octets = m.text.encode(errors="surrogateescape")
    assert len(octets) == 255 or 252 < len(octets) < 255
    if differs("E1", True, rabbitmq=False):
        octets.decode()


@spec("3.3", vector=39)
def test_frames_after_an_exception_are_dropped_until_close_ok(conn, ch, name):
    ch.queue(name)
    ch.publish("missing-exchange", "k", b"x")
    ch.publish("", name, b"dropped")
    ch.send("queue.declare", queue=name, passive=True)
    ch.send("basic.ack", delivery_tag=77)
    ch.send("queue.delete", queue=name)
    ch.expect_close(404, "no exchange 'missing-exchange' in vhost '/'", "basic.publish")
    ch.open()
    assert ch.count(name) == (0, 0)


@spec("3.3")
def test_half_content_after_an_exception_is_dropped(conn, ch):
    ch.send("queue.declare", queue="missing", passive=True)
    ch.send("basic.publish", routing_key="k")
    conn.send_frame(HEADER_FRAME, 1, b"\x00\x3c\x00\x00" + b"\x00" * 7 + b"\x05\x00\x00")
    conn.send_frame(BODY, 1, b"hello")
    ch.expect_close(404)
    ch.open()
    ch.barrier()


@spec("3.3")
def test_simultaneous_close_is_answered(ch):
    ch.send("queue.declare", queue="missing", passive=True)
    ch.send("channel.close", code=200, text="me too")
    got = [ch.recv().name for _ in range(2)]
    assert sorted(got) == ["channel.close", "channel.close-ok"]
    ch.send("channel.close-ok")
    ch.conn.channel(9).barrier()


@spec("3.3")
def test_other_channels_do_not_notice(conn, ch, name):
    other = conn.channel(7)
    other.queue(name, exclusive=True)
    tag = other.consume(name)
    ch.refused(404, None, "queue.declare", queue="missing", passive=True)
    other.publish("", name, b"still here")
    assert other.expect("basic.deliver").consumer_tag == tag


@spec("3.3")
def test_exception_requeues_and_stops_consumers(conn, ch, name, put):
    other = conn.channel()
    other.queue(name)
    put(name, b"1", b"2")
    ch2 = conn.channel(5)
    ch2.consume(name)
    assert [m.body for m in ch2.deliveries(2)] == [b"1", b"2"]
    ch2.send("queue.declare", queue="missing", passive=True)
    ch2.expect_close(404)
    assert other.count(name) == (2, 0)
    got = other.get(name)
    assert got.body == b"1" and got.redelivered


@spec("3.3")
def test_number_is_reusable_and_tags_restart(ch, name, put):
    ch.queue(name)
    put(name, b"1", b"2")
    assert [ch.get(name, no_ack=False).delivery_tag for _ in range(2)] == [1, 2]
    ch.refused(404, None, "queue.declare", queue="missing", passive=True)
    assert ch.get(name).delivery_tag == 1


@spec("3.3")
def test_publish_sequence_restarts(ch):
    ch.confirm()
    for _ in range(3):
        ch.publish("", "nowhere")
    ch.wait_confirms()
    ch.refused(404, None, "queue.declare", queue="missing", passive=True)
    ch.call("confirm.select")
    ch.publish("", "nowhere")
    assert ch.expect("basic.ack").delivery_tag == 1


@spec("3.3")
def test_a_thousand_exceptions(ch):
    """The channel is as good as new each time."""
    for _ in range(1000):
        ch.send("queue.declare", queue="missing", passive=True)
        ch.expect("channel.close")
        ch.send("channel.close-ok")
        ch.open()


@spec("3.4")
def test_connection_exception_requeues_and_deletes_exclusive(connect, names, put):
    shared, own = names("shared"), names("own")
    watch = connect().channel()
    watch.queue(shared)
    put(shared, b"1")
    c = connect()
    ch = c.channel()
    ch.queue(own, exclusive=True)
    ch.get(shared, no_ack=False)
    c.send(9, "basic.qos")
    c.expect(0, "connection.close")
    assert watch.count(shared) == (1, 0)  # done before the close is sent
    c.send(0, "connection.close-ok")
    c.expect_eof()
    watch.refused(404, f"no queue '{own}' in vhost '/'", "queue.declare", queue=own, passive=True)


@spec("3.4")
def test_everything_after_a_connection_exception_is_dropped(conn, ch, connect, name):
    conn.send(9, "basic.qos")
    conn.expect(0, "connection.close")
    ch.send("queue.declare", queue=name)
    ch.publish("", name, b"x")
    ch.send("channel.close")
    conn.send_frame(44, 3, b"nonsense")
    conn.send(0, "connection.close-ok")
    conn.expect_eof()
    connect().channel().refused(404, None, "queue.declare", queue=name, passive=True)


@spec("3.4")
def test_close_crossing_a_connection_exception_is_answered(conn, ch):
    conn.send(9, "basic.qos")
    conn.expect(0, "connection.close")
    conn.send(0, "connection.close", code=200)
    conn.expect(0, "connection.close-ok")
