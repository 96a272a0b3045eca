"""Section 5: channels."""

import pytest

from expect import differs, spec
from wire import CONTENT, Channel


@spec("5")
def test_open_ok_is_an_empty_longstr(conn):
    conn.send(1, "channel.open")
    assert conn.expect(1, "channel.open-ok").payload == b"\x00\x14\x00\x0b\x00\x00\x00\x00"


@spec("5", vector=7)
@pytest.mark.parametrize("limit", [1, 5])
def test_one_channel_too_many_is_530(connect, limit):
    c = connect(channel_max=limit)
    for _ in range(limit):
        c.channel().barrier()
    c.send(limit + 1, "channel.open")
    c.expect_close(530, f"number of channels opened ({limit}) has reached the negotiated channel_max ({limit})")


@spec("5", vector=7)
def test_all_2047_channels(conn):
    for n in range(1, 2048):
        conn.send(n, "channel.open")
    for n in range(1, 2048):
        conn.expect(n, "channel.open-ok")
    Channel(conn, 2047).barrier()
    conn.send(2048, "channel.open")
    conn.expect_close(530, "number of channels opened (2047) has reached the negotiated channel_max (2047)")


@spec("5")
@pytest.mark.parametrize("number", [1, 255, 256, 2048, 65535])
def test_limit_is_on_the_count_not_the_number(connect, number):
    connect(channel_max=2).channel(number).barrier()


@spec("5")
def test_closed_channels_do_not_count(connect):
    c = connect(channel_max=2)
    for n in range(1, 30):
        c.channel(n).close()
    c.channel(30).barrier()


@spec("5", vector=8)
@pytest.mark.parametrize("method,fields", [
    ("queue.declare", {"queue": "q"}), ("basic.qos", {}), ("tx.select", {}), ("exchange.delete", {"exchange": "x"}),
    ("basic.ack", {"delivery_tag": 1})], ids=lambda v: v if isinstance(v, str) else "")
def test_method_on_an_unopened_channel_is_504(conn, method, fields):
    conn.send(5, method, **fields)
    conn.expect_close(504, "expected 'channel.open'", method)


@spec("5", vector=8)
def test_publish_on_an_unopened_channel_is_504(conn):
    conn.send(5, "basic.publish", routing_key="k")
    conn.send_content(5, b"x")
    conn.expect_close(504, "expected 'channel.open'", "basic.publish")


@spec("5", vector=8)
def test_second_open_is_504(conn, ch):
    ch.send("channel.open")
    conn.expect_close(504, "second 'channel.open' seen", "channel.open")


@spec("5")
def test_method_on_a_closed_channel_is_504(conn, ch):
    ch.close()
    ch.send("basic.qos")
    conn.expect_close(504, "expected 'channel.open'", "basic.qos")


@spec("5")
@pytest.mark.parametrize("method", ["connection.open", "connection.tune-ok", "connection.close", "connection.close-ok",
                                    "connection.start-ok", "connection.update-secret"])
def test_connection_class_on_a_channel_is_503(conn, ch, method):
    ch.send(method)
    conn.expect_close(503, "unimplemented method", method)


@spec("5")
def test_close_requeues_before_close_ok(conn, ch, name, put):
    other = conn.channel()
    ch.queue(name)
    put(name, b"1", b"2", b"3")
    other.consume(name)
    other.deliveries(3)
    assert ch.count(name) == (0, 1)
    other.close()
    assert ch.count(name) == (3, 0)


@spec("5")
def test_number_is_free_at_close_ok(ch):
    for _ in range(200):
        ch.close()
        ch.open()
    ch.barrier()


@spec("5")
def test_open_pipelined_after_close(ch):
    ch.send("channel.close")
    ch.expect("channel.close-ok")
    for _ in range(5):
        ch.send("channel.open")
        ch.send("channel.flow", active=True)
        ch.expect("channel.open-ok")
        ch.expect("channel.flow-ok")
        ch.close()


@spec("5")
def test_flow_active(ch):
    assert ch.call("channel.flow", active=True).active


@spec("5")
def test_flow_inactive_is_540(conn, ch):
    ch.send("channel.flow", active=False)
    conn.expect_close(540, "active=false", "channel.flow")


@spec("5")
def test_access_request_gets_ticket_1(ch):
    assert ch.call("access.request", realm="/data", read=True, write=True).ticket == 1


@spec("5")
def test_tickets_are_ignored(ch, name):
    ch.queue(name, ticket=65535)
    ch.call("queue.delete", queue=name, ticket=7)


@spec("5")
def test_answers_keep_the_order_of_a_pipeline(ch, names):
    qs = [names("q") for _ in range(50)]
    for q in qs:
        ch.send("queue.declare", queue=q)
        ch.send("queue.bind", queue=q, exchange="amq.fanout")
        ch.send("queue.purge", queue=q)
        ch.send("basic.get", queue=q)
    for q in qs:
        assert ch.expect("queue.declare-ok").queue == q
        ch.expect("queue.bind-ok")
        ch.expect("queue.purge-ok")
        ch.expect("basic.get-empty")


@spec("5")
def test_channels_do_not_wait_for_each_other(conn, ch, name):
    """A content that is not finished blocks only its own channel."""
    from wire import HEADER_FRAME, encode_header
    other = conn.channel()
    ch.send("basic.publish", routing_key=name)
    conn.send_frame(HEADER_FRAME, 1, encode_header(10))
    for _ in range(10):
        other.barrier()


@spec("5")
@pytest.mark.parametrize("method,fields", [
    ("basic.deliver", {}), ("basic.get-ok", {}), ("basic.get-empty", {}), ("queue.declare-ok", {}),
    ("confirm.select-ok", {}), ("channel.open-ok", {}), ("basic.consume-ok", {}), ("tx.select-ok", {}),
    ("exchange.declare-ok", {})], ids=lambda v: v if isinstance(v, str) else "")
def test_method_of_the_broker_from_a_client_is_503(conn, ch, method, fields):
    ch.send(method, **fields)
    if method in CONTENT:
        conn.send_content(1, b"x")
    conn.expect_close(503, "unimplemented method", method)


@spec("12.8")
def test_cancel_ok_of_a_client_is_read_past(conn, ch):
    ch.send("basic.cancel-ok", consumer_tag="t")
    if differs("C10", "ignored", rabbitmq="refused") == "refused":
        conn.expect_close(503, "unimplemented method", "basic.cancel-ok")
    else:
        ch.barrier()
