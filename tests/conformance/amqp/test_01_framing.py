"""Section 1: protocol header, frames, content."""

import struct

import pytest

from expect import differs, spec
from wire import (BODY, HEADER, HEADER_FRAME, HEARTBEAT, METHOD, Raw, encode_frame, encode_header,
                  encode_method)

# --- 1.1 protocol header ---


@spec("1.1", vector=1)
@pytest.mark.parametrize("header", [b"AMQP\x00\x00\x08\x00", b"AMQP\x00\x00\x0a\x00", b"AMQP\x00\x00\x09\x02",
                                    b"AMQP\x01\x01\x00\x08", b"AMQP\x03\x01\x00\x00", b"AMQP\x00\x01\x00\x00",
                                    b"GET / HT", b"\x16\x03\x01\x02\x00\x01\x00\x01", b"\x00" * 8],
                         ids=["0-8", "0-10", "0-9-2", "1-1-0-8", "1.0 sasl", "1.0", "http", "tls", "zeros"])
def test_other_header_gets_ours_and_the_end(wire, header):
    w = wire()
    w.send_raw(header)
    assert w.recv_until_closed() == HEADER


@spec("1.1")
@pytest.mark.parametrize("header", [HEADER, b"AMQP\x01\x01\x00\x09"], ids=["0-9-1", "0-9"])
def test_header_of_0_9_is_accepted(wire, header):
    w = wire()
    w.send_raw(header)
    f = w.recv_frame()
    assert (f.kind, f.channel, f.payload[:4]) == (METHOD, 0, b"\x00\x0a\x00\x0a")


@spec("1.1")
def test_header_octet_by_octet(wire):
    w = wire()
    for i in range(8):
        w.send_raw(HEADER[i:i + 1])
    assert w.recv_frame().payload[:4] == b"\x00\x0a\x00\x0a"


@spec("1.1")
def test_connect_and_close_harms_nobody(wire, ch):
    for _ in range(20):
        wire().drop()
    ch.barrier()


# --- 1.2 frames ---


@spec("1.2", vector=10)
@pytest.mark.parametrize("end", [0x00, 0xCD, 0xCF])
def test_wrong_end_octet_is_501(conn, end):
    conn.send_frame(METHOD, 1, encode_method("channel.open"), end=end)
    conn.expect_close(501, fatal=True)


@spec("1.2")
def test_wrong_end_octet_on_an_open_channel_is_501(conn, ch):
    conn.send_frame(METHOD, 1, encode_method("channel.flow", active=True), end=0)
    conn.expect_close(501, fatal=True)


@spec("1.2", vector=9)
def test_heartbeat_on_a_channel_is_505(conn):
    conn.send_frame(HEARTBEAT, 1, b"")
    conn.expect_close(505)


@spec("1.2")
def test_heartbeat_on_an_open_channel_is_505(conn, ch):
    conn.send_frame(HEARTBEAT, 1, b"")
    conn.expect_close(505)


@spec("1.2")
@pytest.mark.parametrize("kind,payload", [(9, b""), (0, b"abcd"), (4, b"x" * 40), (255, b"\x00"),
                                          (METHOD, b""), (METHOD, b"\x00\x0a\x00"), (HEARTBEAT, b"\x00")],
                         ids=["type 9", "type 0", "type 4 long", "type 255", "empty method",
                              "method of 3 octets", "heartbeat with payload"])
def test_unknown_frame_is_501(conn, kind, payload):
    conn.send_frame(kind, 0, payload)
    m = conn.expect(0, "connection.close")
    assert m.code == 501 and "unknown_frame" in m.text and f"type {kind}" in m.text, m
    assert ("first 16 octets" in m.text) == (len(payload) > 16), m.text


@spec("1.2")
@pytest.mark.parametrize("kind", [HEADER_FRAME, BODY])
def test_content_frame_on_channel_0_is_505(conn, kind):
    conn.send_frame(kind, 0, encode_header(0))
    conn.expect_close(505)


@spec("1.2")
def test_frame_on_a_channel_before_open_is_505(connect):
    c = connect(stop="opened")
    c.expect(0, "connection.open-ok")  # the control: open works
    c = connect(stop="tune")
    c.send(0, "connection.tune-ok", channel_max=c.channel_max, frame_max=c.frame_max, heartbeat=0)
    c.send(1, "channel.open")
    m = c.expect(0, "connection.close")
    assert m.code == 505, m


@spec("1.2")
def test_payload_of_frame_max_is_tolerated(connect, name):
    c = connect(frame_max=4096)
    ch = c.channel()
    ch.queue(name, exclusive=True)
    body = bytes(range(256)) * 16
    ch.send("basic.publish", routing_key=name)
    c.send_raw(encode_frame(HEADER_FRAME, 1, encode_header(len(body))) + encode_frame(BODY, 1, body))
    ch.barrier()
    got = ch.get(name)
    assert got.body == body
    assert got.frames == [4088, 8]


@spec("1.2")
def test_payload_over_frame_max_is_501(connect, name):
    c = connect(frame_max=4096)
    ch = c.channel()
    ch.send("basic.publish", routing_key=name)
    c.send_raw(encode_frame(HEADER_FRAME, 1, encode_header(9000)) + encode_frame(BODY, 1, b"x" * 4097))
    c.expect_close(501, fatal=True)


@spec("1.2")
@pytest.mark.parametrize("class_id,method_id", [(10, 99), (60, 119), (99, 1), (0, 0), (30, 12), (65535, 65535)])
def test_unknown_method_is_503(conn, ch, class_id, method_id):
    conn.send_frame(METHOD, 1, struct.pack(">HH", class_id, method_id))
    if differs("C3", 503, rabbitmq=None) is None:
        conn.expect_eof()
    else:
        conn.expect_close(503)


TRUNCATED = [
    ("queue.declare", encode_method("queue.declare", queue="q")[:-5]),
    ("queue.declare", encode_method("queue.declare", queue="q")[:6]),
    ("basic.consume", encode_method("basic.consume", queue="q")[:-1]),
    ("basic.ack", encode_method("basic.ack", delivery_tag=1)[:-1]),
    ("exchange.declare", encode_method("exchange.declare", exchange="x", type="direct")[:-2]),
    ("basic.qos", encode_method("basic.qos")[:-3]),
    ("basic.publish", encode_method("basic.publish", routing_key="abc")[:8]),
]


@spec("1.2")
@pytest.mark.parametrize("method,payload", TRUNCATED, ids=[f"{m} {len(p)}" for m, p in TRUNCATED])
def test_method_cut_short_is_501(conn, ch, method, payload):
    conn.send_frame(METHOD, 1, payload)
    conn.expect_close(501, "cannot decode", method)


@spec("1.2")
@pytest.mark.parametrize("method,fields", [
    ("queue.declare", {"queue": b"\xff\xfe"}), ("exchange.declare", {"exchange": b"a\x80", "type": "direct"}),
    ("queue.bind", {"queue": b"\xc0\xaf", "exchange": "amq.direct"}),
    ("basic.consume", {"queue": "q", "consumer_tag": b"t\xff"})],
    ids=["queue.declare", "exchange.declare", "queue.bind", "consumer tag"])
def test_shortstr_that_is_not_utf8_is_501(conn, ch, method, fields):
    ch.send(method, **fields)
    conn.expect_close(501, "Malformed UTF-8 in shortstr")


@spec("1.2")
def test_routing_key_of_publish_may_be_any_octets(connect, ch, name):
    ch.queue(name, exclusive=True)
    ch.bind(name, "amq.fanout")
    ch.publish("amq.fanout", b"\xff\xfe\x00", b"body")
    ch.barrier()
    ch.send("basic.get", queue=name, no_ack=True)
    f = ch.conn.recv_frame()
    assert b"\x03\xff\xfe\x00" in f.payload
    assert ch.conn.recv_frame().kind == HEADER_FRAME
    assert ch.conn.recv_frame().payload == b"body"


@spec("1.2")
def test_every_cut_of_a_session_gives_the_same(connect, name):
    """The same octets in one write, and octet by octet."""
    for step in (1, 7, 100000):
        c = connect()
        out = b"".join([
            encode_frame(METHOD, 1, encode_method("channel.open")),
            encode_frame(METHOD, 1, encode_method("queue.declare", queue=name)),
            encode_frame(METHOD, 1, encode_method("basic.publish", routing_key=name)),
            encode_frame(HEADER_FRAME, 1, encode_header(5, {"content_type": "text/plain"})),
            encode_frame(BODY, 1, b"he"), encode_frame(BODY, 1, b"llo"),
            encode_frame(METHOD, 1, encode_method("basic.get", queue=name, no_ack=True))])
        for i in range(0, len(out), step):
            c.send_raw(out[i:i + step])
        c.expect(1, "channel.open-ok")
        c.expect(1, "queue.declare-ok")
        assert c.expect(1, "basic.get-ok").body == b"hello"


# --- 1.3 content ---


def publish(c, key="nowhere"):
    c.send(1, "basic.publish", routing_key=key)


@spec("1.3", vector=9)
@pytest.mark.parametrize("kind,payload", [(BODY, b"x"), (HEADER_FRAME, encode_header(1))], ids=["body", "header"])
def test_content_without_publish_is_505(conn, ch, kind, payload):
    conn.send_frame(kind, 1, payload)
    conn.expect_close(505, "expected method frame, got non method frame instead")


@spec("1.3")
@pytest.mark.parametrize("kind,payload", [(METHOD, encode_method("channel.flow", active=True)), (BODY, b"x")],
                         ids=["method", "body"])
def test_other_frame_for_the_header_is_505(conn, ch, kind, payload):
    publish(conn)
    conn.send_frame(kind, 1, payload)
    conn.expect_close(505, "expected content header for class 60, got non content header frame instead")


@spec("1.3")
def test_header_of_another_class_is_505(conn, ch):
    publish(conn)
    conn.send_frame(HEADER_FRAME, 1, encode_header(0, class_id=50))
    conn.expect_close(505, "expected content header for class 60, got one for class 50 instead")


@spec("1.3")
def test_header_with_weight_is_505(conn, ch):
    publish(conn)
    conn.send_frame(HEADER_FRAME, 1, encode_header(0, weight=1))
    conn.expect_close(505, "got non content header frame instead")


@spec("1.3")
@pytest.mark.parametrize("kind,payload", [(METHOD, encode_method("channel.flow", active=True)),
                                          (HEADER_FRAME, encode_header(3))], ids=["method", "header"])
def test_other_frame_for_the_body_is_505(conn, ch, kind, payload):
    publish(conn)
    conn.send_frame(HEADER_FRAME, 1, encode_header(3))
    conn.send_frame(BODY, 1, b"a")
    conn.send_frame(kind, 1, payload)
    conn.expect_close(505, "expected content body, got non content body frame instead")


@spec("1.3")
def test_body_beyond_the_declared_size(conn, ch):
    publish(conn)
    conn.send_frame(HEADER_FRAME, 1, encode_header(3))
    conn.send_frame(BODY, 1, b"abcd")
    if differs("C6", 501, rabbitmq=505) == 505:
        conn.send_frame(METHOD, 1, encode_method("channel.flow", active=True))
        conn.expect_close(505, "expected content body")
    else:
        conn.expect_close(501, "content body frame exceeds remaining content size")


@spec("1.3")
def test_declared_size_over_512_mib(conn, ch):
    publish(conn)
    conn.send_frame(HEADER_FRAME, 1, encode_header(536870913))
    if differs("C6", 501, rabbitmq=None) is None:
        conn.send_frame(METHOD, 1, encode_method("channel.flow", active=True))
        conn.expect_close(505, "expected content body")
    else:
        conn.expect_close(501, "content body size 536870913 exceeds maximum allowed size 536870912")


@spec("1.3")
def test_empty_body_is_complete_at_once(ch, name):
    ch.queue(name, exclusive=True)
    ch.publish("", name, b"")
    ch.barrier()
    got = ch.get(name)
    assert got.body == b"" and got.frames == []


@spec("1.3")
def test_empty_body_frames_are_read_past(ch, name):
    ch.queue(name, exclusive=True)
    ch.send("basic.publish", routing_key=name)
    ch.conn.send_frame(HEADER_FRAME, 1, encode_header(2))
    for part in (b"", b"a", b"", b"b"):
        ch.conn.send_frame(BODY, 1, part)
    ch.barrier()
    assert ch.get(name).body == b"ab"


@spec("1.3")
def test_content_of_two_channels_may_interleave(conn, names):
    a, b = conn.channel(), conn.channel()
    qa, qb = names("a"), names("b")
    a.queue(qa, exclusive=True)
    b.queue(qb, exclusive=True)
    conn.send(1, "basic.publish", routing_key=qa)
    conn.send(2, "basic.publish", routing_key=qb)
    conn.send_frame(HEADER_FRAME, 2, encode_header(4))
    conn.send_frame(HEADER_FRAME, 1, encode_header(4))
    conn.send_frame(BODY, 1, b"aa")
    conn.send_frame(BODY, 2, b"bb")
    b.conn.send_frame(HEARTBEAT, 0, b"")
    conn.send_frame(BODY, 2, b"BB")
    b.barrier()
    assert b.get(qb).body == b"bbBB"
    conn.send_frame(BODY, 1, b"AA")
    a.barrier()
    assert a.get(qa).body == b"aaAA"


@spec("1.3")
@pytest.mark.parametrize("frame_max,size,frames", [
    (4096, 4088, [4088]), (4096, 4089, [4088, 1]), (4096, 10000, [4088, 4088, 1824]),
    (131072, 131064, [131064]), (131072, 131065, [131064, 1]), (131072, 1, [1])])
def test_delivered_body_frames(connect, name, frame_max, size, frames):
    c = connect(frame_max=frame_max)
    ch = c.channel()
    ch.queue(name, exclusive=True)
    body = (bytes(range(256)) * (size // 256 + 1))[:size]
    ch.publish("", name, body)
    ch.consume(name, no_ack=True)
    m = ch.expect("basic.deliver")
    assert m.body == body and m.frames == frames


@spec("1.3")
def test_deliveries_are_contiguous_on_a_channel(connect, names, put):
    """Two queues and an RPC stream on one channel: wire.py fails on a frame amid a content."""
    c = connect(frame_max=4096)
    ch = c.channel()
    qs = names("a"), names("b")
    for q in qs:
        ch.queue(q)
        put(q, *[bytes([i]) * 9000 for i in range(20)])
    for q in qs:
        ch.send("basic.consume", queue=q, no_ack=True)
    for _ in range(20):
        ch.send("channel.flow", active=True)
    got = {"basic.deliver": 0, "channel.flow-ok": 0, "basic.consume-ok": 0}
    for _ in range(62):
        m = ch.expect(*got)
        got[m.name] += 1
        if m.name == "basic.deliver":
            assert len(m.body) == 9000 and len(set(m.body)) == 1
    assert list(got.values()) == [40, 20, 2]


# --- 1.4 properties ---

ALL_PROPS = {
    "content_type": "application/octet-stream", "content_encoding": "gzip", "delivery_mode": 1,
    "headers": [("z", "last first"), ("a", 1), ("z", "again")], "priority": 7, "correlation_id": "c" * 255,
    "reply_to": "somewhere", "expiration": "360000", "message_id": "m-1", "timestamp": 2**63 + 5,
    "type": "t\u00fcp", "user_id": "guest", "app_id": "app", "cluster_id": "old",
}


def roundtrip(ch, name, props):
    ch.queue(name, exclusive=True)
    ch.publish("", name, b"x", props)
    ch.barrier()
    return ch.get(name)


@spec("1.4")
@pytest.mark.parametrize("prop", [
    p
    for p in (*sorted(ALL_PROPS), "none", "all but expiration", "all")])
def test_property_comes_back_bit_exact(ch, name, prop):
    props = {"none": {}, "all": ALL_PROPS, "all but expiration":
             {k: v for k, v in ALL_PROPS.items() if k != "expiration"}}.get(prop)
    if props is None:
        props = {prop: ALL_PROPS[prop]}
    got = roundtrip(ch, name, props)
    assert got.props.raw == encode_header(1, props)[12:]


@spec("1.4")
@pytest.mark.parametrize("props", [
    {"content_type": ""}, {"correlation_id": b"\xff\x00\xfe"}, {"headers": {}}, {"priority": 255}, {"timestamp": 0}, {"timestamp": 2**64 - 1},
    {"message_id": "\u20ac" * 85}],
    ids=["empty string", "not utf-8", "no headers", "priority 255", "time 0",
         "time max", "255 octets"])
def test_edge_of_a_property_comes_back_bit_exact(conn, ch, name, props):
    ch.queue(name, exclusive=True)
    ch.publish("", name, b"x", props)
    ch.barrier()
    ch.send("basic.get", queue=name, no_ack=True)
    conn.recv_frame()
    assert conn.recv_frame().payload == encode_header(1, props)


@spec("11.1")
@pytest.mark.parametrize("mode", [0, 3, 255])
def test_other_delivery_mode_is_transient(ch, name, mode):
    ch.queue(name, exclusive=True)
    ch.publish("", name, b"x", {"delivery_mode": mode})
    if differs("C5", None, rabbitmq=406) == 406:
        ch.expect_close(406, "invalid message: {delivery_mode_unknown,%d}" % mode, "basic.publish")
    else:
        ch.barrier()
        assert ch.get(name).props["delivery_mode"] == mode


@spec("1.4")
def test_property_order_of_headers_is_kept(ch, name):
    headers = [(f"k{(i * 37) % 101}", i) for i in range(101)]
    got = roundtrip(ch, name, {"headers": headers})
    assert got.props["headers"].keys() == [k for k, _ in headers]


@spec("1.4")
def test_properties_cut_short_close_the_connection(conn, ch, name):
    publish(conn, name)
    conn.send_frame(HEADER_FRAME, 1, struct.pack(">HHQ", 60, 0, 0) + b"\x80\x00\x05ab")
    conn.expect_close(differs("C4", 501, rabbitmq=541))


@spec("1.4")
def test_properties_are_kept_for_every_queue(ch, names, put):
    a, b = names("a"), names("b")
    for q in (a, b):
        ch.queue(q, durable=True)
        ch.bind(q, "amq.fanout")
    props = {k: v for k, v in ALL_PROPS.items() if k != "expiration"}
    put("k", b"x", props=props, exchange="amq.fanout")
    for q in (a, b):
        assert ch.get(q).props.raw == encode_header(1, props)[12:]


@spec("1.4")
def test_continuation_flag_word_is_refused(conn, ch, name):
    """Bit 0 says that another flag word follows; nothing is defined there."""
    ch.queue(name, exclusive=True)
    publish(conn, name)
    conn.send_frame(HEADER_FRAME, 1, encode_header(0, Raw(b"\x00\x01\x00\x01\x00\x00")))
    if differs("C4", 501, rabbitmq=None) is not None:
        conn.expect_close(501)
    else:  # stored, and fails when it is read
        ch.send("basic.get", queue=name)
        conn.expect_close(541)
