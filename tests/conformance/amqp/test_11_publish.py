"""Section 11: publishing, mandatory, confirms."""

import pytest

from conftest import MAX_MESSAGE_SIZE
from expect import spec
from wire import BODY, HEADER_FRAME, encode_frame, encode_header

# --- 11.1 ---


@spec("11.1", vector=41)
@pytest.mark.parametrize("exchange", ["", "amq.direct", "no-such-exchange"])
def test_immediate_is_540(conn, ch, exchange):
    ch.publish(exchange, "k", b"x", immediate=True)
    conn.expect_close(540, "immediate=true", "basic.publish")


@spec("11.1", vector=39)
def test_missing_exchange_is_404(ch, name):
    ch.publish(name, "k", b"x")
    ch.expect_close(404, f"no exchange '{name}' in vhost '/'", "basic.publish")


@spec("11.1")
@pytest.mark.parametrize("mandatory", [False, True])
def test_missing_exchange_consumes_no_sequence_number(ch, name, mandatory):
    ch.confirm()
    ch.publish(name, "k", b"x", mandatory=mandatory)
    m = ch.expect("channel.close")
    assert m.code == 404  # neither return nor ack before it


@spec("11.1")
def test_default_exchange_with_no_such_queue_is_unroutable(ch, name):
    ch.publish("", name, b"x")
    ch.barrier()


@spec("11.1", vector=42)
@pytest.mark.parametrize("value,text", [
    ("", "no_integer"), ("abc", "no_integer"), ("-1", "{value_negative,-1}"), ("10x", "{leftover_string,\"x\"}"),
    ("1.5", "{leftover_string,\".5\"}"), (" 1", "no_integer"), ("99999999999999", "{value_too_large,99999999999999}"),
    ("315360000001", "{value_too_large,315360000001}"), ("+", "no_integer"), ("1e3", "{leftover_string,\"e3\"}")],
    ids=["empty", "letters", "negative", "rest", "fraction", "space", "too large", "over ten years", "sign", "power"])
def test_bad_expiration_is_406(ch, name, value, text):
    ch.queue(name, exclusive=True)
    ch.publish("", name, b"x", {"expiration": value})
    m = ch.expect_close(406, f"invalid expiration '{value}'", "basic.publish")
    assert text in m.text or text == "no_integer" and value in ("", " 1"), m.text
    ch.open()
    assert ch.count(name) == (0, 0)


@spec("11.1")
@pytest.mark.parametrize("value", ["4294967295", "4294967296", "315360000000", "+900000", "0900000"])
def test_expiration_up_to_ten_years(ch, name, value):
    ch.queue(name, exclusive=True)
    ch.publish("", name, b"x", {"expiration": value})
    ch.barrier()
    assert ch.get(name).props["expiration"] == value


@spec("11.1")
def test_order_exchange_before_expiration(ch, name):
    ch.publish(name, "k", b"x", {"expiration": "abc"})
    ch.expect_close(404)


@spec("11.1")
def test_internal_before_expiration(ch, name):
    ch.exchange(name, "fanout", internal=True)
    ch.publish(name, "k", b"x", {"expiration": "abc"})
    ch.expect_close(403, "cannot publish to internal exchange")


@spec("11.1")
@pytest.mark.parametrize("props,text", [
    ({"reply_to": "amq.rabbitmq.reply-to", "user_id": "other", "expiration": "abc", "headers": {"CC": 1}},
     "fast reply consumer does not exist"),
    ({"user_id": "other", "expiration": "abc", "headers": {"CC": 1}}, "user_id property set to 'other'"),
    ({"expiration": "abc", "headers": {"CC": 1}}, "invalid expiration 'abc'"),
    ({"headers": {"CC": 1}}, "unacceptable_type_in_header"),
], ids=["reply-to", "user-id", "expiration", "CC"])
def test_order_of_properties(ch, props, text):
    ch.publish("amq.direct", "k", b"x", props)
    ch.expect_close(406, text, "basic.publish")


# --- 11.2 size ---


@spec("11.2", vector=49)
@pytest.mark.parametrize("over", [1, 3_000_000])
def test_too_large_is_406_and_the_channel_works_again(ch, name, over):
    ch.queue(name, exclusive=True)
    size = MAX_MESSAGE_SIZE + over
    ch.publish("", name, b"x" * size)
    ch.expect_close(406, f"message size {size} is larger than configured max size {MAX_MESSAGE_SIZE}",
                    "basic.publish")
    ch.open()
    ch.publish("", name, b"small")
    ch.barrier()
    assert ch.drain(name) == [b"small"]


@spec("11.2")
def test_size_is_checked_before_the_exchange(ch, name):
    ch.publish(name, "k", b"x" * (MAX_MESSAGE_SIZE + 1))
    ch.expect_close(406, "is larger than configured max size")


@spec("11.2", vector=49)
@pytest.mark.parametrize("size", [MAX_MESSAGE_SIZE, MAX_MESSAGE_SIZE - 1, 131064, 131065])
def test_message_of_this_size_goes_through(ch, name, size):
    ch.queue(name, exclusive=True)
    body = (bytes(range(251)) * (size // 251 + 1))[:size]
    ch.publish("", name, body)
    ch.barrier()
    assert ch.get(name).body == body


@spec("11.2")
def test_durable_messages_of_many_sizes(ch, name, put):
    ch.queue(name, durable=True)
    sizes = [0, 1, 2, 255, 256, 4095, 4096, 4097, 16384, 65535, 65536, 100_000, 131072, 300_000, 1_000_000]
    bodies = [(bytes(range(251)) * (s // 251 + 1))[:s] for s in sizes]
    put(name, *bodies, props={"delivery_mode": 2})
    assert ch.drain(name) == bodies


# --- 11.3 mandatory ---


@spec("11.3", vector=40)
@pytest.mark.parametrize("body", [b"", b"returned", b"x" * 300_000], ids=["empty", "small", "large"])
def test_mandatory_unroutable_is_returned_then_acked(ch, body):
    ch.confirm()
    props = {"content_type": "t", "headers": {"k": 1}, "delivery_mode": 2, "message_id": "m"}
    ch.publish("amq.direct", "no-such-key", body, props, mandatory=True)
    m = ch.expect("basic.return")
    assert (m.code, m.text, m.exchange, m.routing_key) == (312, "NO_ROUTE", "amq.direct", "no-such-key")
    assert m.body == body and m.props.raw == encode_header(0, props)[12:]
    assert ch.expect("basic.ack").delivery_tag == 1


@spec("11.3", vector=40)
def test_not_mandatory_unroutable_is_acked(ch):
    ch.confirm().publish("amq.direct", "no-such-key", b"x")
    assert ch.expect("basic.ack").delivery_tag == 1
    ch.barrier()


@spec("11.3")
def test_mandatory_without_confirms_is_returned(ch):
    ch.publish("", "no-such-queue", b"x", mandatory=True)
    m = ch.expect("basic.return")
    assert (m.exchange, m.routing_key) == ("", "no-such-queue")
    ch.barrier()


@spec("11.3")
def test_mandatory_routable_is_not_returned(ch, name):
    ch.queue(name, exclusive=True)
    ch.confirm().publish("", name, b"x", mandatory=True)
    ch.expect("basic.ack")
    ch.barrier()


@spec("11.3", vector=40)
@pytest.mark.parametrize("arguments,answer", [({"x-message-ttl": 0}, "basic.ack"), ({"x-max-length": 0}, "basic.ack"),
                                              ({"x-max-length": 0, "x-overflow": "reject-publish"}, "basic.nack")], ids=str)
def test_what_a_queue_does_not_keep_was_routed(ch, name, arguments, answer):
    ch.queue(name, arguments=arguments)
    ch.confirm().publish("", name, b"x", mandatory=True)
    ch.expect(answer)  # and no return
    assert ch.count(name) == (0, 0)


@spec("11.3")
def test_returns_keep_their_order(ch):
    for i in range(100):
        ch.publish("", "no-such-queue", b"%d" % i, mandatory=True)
    assert [ch.expect("basic.return").body for _ in range(100)] == [b"%d" % i for i in range(100)]


@spec("11.3")
def test_each_return_comes_before_its_ack(ch, name):
    ch.queue(name, exclusive=True)
    ch.confirm()
    for i in range(50):
        ch.publish("", name if i % 2 else "no-such-queue", b"%d" % i, mandatory=True)
    returned, acked = [], 0
    while acked < 50:
        m = ch.expect("basic.return", "basic.ack")
        if m.name == "basic.return":
            number = int(m.body) + 1
            returned.append(number)
            assert number > acked
        elif m.multiple:
            assert all(n in returned for n in range(acked + 1, m.delivery_tag + 1) if n % 2)
            acked = max(acked, m.delivery_tag)
        else:
            assert m.delivery_tag % 2 == 0 or m.delivery_tag in returned
            acked = max(acked, m.delivery_tag)
    assert returned == list(range(1, 51, 2))


# --- 11.4 confirms ---


def collect(ch, count):
    """The sequence numbers that acks cover, in order; an overlap or a gap fails."""
    open_numbers = set(range(1, count + 1))
    while open_numbers:
        m = ch.expect("basic.ack")
        covered = {n for n in open_numbers if n <= m.delivery_tag} if m.multiple else {m.delivery_tag}
        assert m.delivery_tag in open_numbers, f"{m.delivery_tag} again"
        open_numbers -= covered
    ch.barrier()


@spec("11.4", vector=43)
@pytest.mark.parametrize("durable,mode", [(False, 1), (True, 1), (True, 2), (False, 2)])
def test_confirms_cover_each_number_once(ch, name, durable, mode):
    ch.queue(name, durable=durable)
    ch.confirm()
    for i in range(1000):
        ch.publish("", name, b"%d" % i, {"delivery_mode": mode})
    collect(ch, 1000)
    assert ch.count(name) == (1000, 0)


@spec("11.4", vector=43)
def test_confirms_of_a_mixture(ch, names):
    """Durable, transient, unroutable, several queues: every number once."""
    d, t = names("d"), names("t")
    ch.queue(d, durable=True)
    ch.queue(t)
    for q in (d, t):
        ch.bind(q, "amq.fanout")
    ch.confirm()
    for i in range(600):
        exchange, key = [("", d), ("", t), ("", "nowhere"), ("amq.fanout", "")][i % 4]
        ch.publish(exchange, key, b"x", {"delivery_mode": 1 + i % 2})
    collect(ch, 600)
    assert ch.count(d) == ch.count(t) == (300, 0)


@spec("11.4")
def test_confirm_select_is_idempotent_and_nowait(ch):
    ch.confirm().publish("", "nowhere")
    assert ch.expect("basic.ack").delivery_tag == 1
    ch.call("confirm.select")
    ch.send("confirm.select", nowait=True)
    ch.publish("", "nowhere")
    assert ch.expect("basic.ack").delivery_tag == 2


@spec("11.4")
def test_no_confirms_without_select(ch, name):
    ch.queue(name)
    ch.publish("", name)
    ch.barrier()
    ch.confirm().publish("", name)  # numbers start after confirm.select
    assert ch.expect("basic.ack").delivery_tag == 1


@spec("11.4", vector=46)
def test_confirm_and_tx_exclude_each_other(conn, ch):
    ch.call("confirm.select")
    ch.refused(406, "cannot switch from confirm to tx mode", "tx.select")
    ch.call("tx.select")
    ch.refused(406, "cannot switch from tx to confirm mode", "confirm.select")
    ch.call("tx.select")
    ch.refused(406, "cannot switch from tx to confirm mode", "confirm.select", nowait=True)


@spec("11.4", vector=45)
def test_queue_deleted_with_unconfirmed_messages(conn, ch, name):
    ch.queue(name, durable=True)
    ch.confirm()
    other = conn.channel()
    for i in range(500):
        ch.publish("", name, b"x" * 100, {"delivery_mode": 2})
        if i == 250:
            other.call("queue.delete", queue=name)
    collect(ch, 500)


@spec("11.4")
def test_confirm_of_a_message_consumed_at_once(conn, ch, name):
    ch.queue(name, durable=True)
    other = conn.channel()
    other.consume(name, no_ack=True)
    ch.confirm()
    for i in range(200):
        ch.publish("", name, b"%d" % i, {"delivery_mode": 2})
    collect(ch, 200)
    assert [d.body for d in other.deliveries(200)] == [b"%d" % i for i in range(200)]


@spec("11.4")
def test_confirm_does_not_wait_for_an_idle_channel(ch, name):
    """One publish at a time: each is confirmed without a successor that pushes it."""
    ch.queue(name, durable=True)
    ch.confirm()
    for i in range(1, 51):
        ch.publish("", name, b"x", {"delivery_mode": 2})
        assert ch.expect("basic.ack").delivery_tag == i


@spec("11.4")
def test_sequence_is_per_channel(conn, name):
    a, b = conn.channel().confirm(), conn.channel().confirm()
    a.queue(name, exclusive=True)
    for _ in range(3):
        a.publish("", name)
    a.wait_confirms()
    b.publish("", name)
    assert b.expect("basic.ack").delivery_tag == 1


@spec("11.4")
def test_large_window_in_one_write(conn, ch, name):
    ch.queue(name, durable=True)
    ch.confirm()
    one = (encode_frame(1, 1, b"\x00\x3c\x00\x28\x00\x00\x00" + bytes([len(name)]) + name.encode() + b"\x00")
           + encode_frame(HEADER_FRAME, 1, encode_header(64, {"delivery_mode": 2})) + encode_frame(BODY, 1, b"y" * 64))
    conn.send_raw(one * 5000)
    collect(ch, 5000)
    assert ch.count(name) == (5000, 0)


@spec("11.4", vector=44)
def test_reject_publish_nacks(ch, names):
    full, other = names("full"), names("other")
    ch.queue(full, arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    ch.queue(other)
    ch.bind(full, "amq.fanout")
    ch.bind(other, "amq.fanout")
    ch.confirm()
    ch.publish("", full, b"1")
    assert ch.expect("basic.ack").delivery_tag == 1
    ch.publish("", full, b"2")
    assert ch.expect("basic.nack").delivery_tag == 2
    ch.publish("amq.fanout", "", b"3")
    m = ch.expect("basic.nack")
    assert m.delivery_tag == 3 and m.requeue
    assert ch.drain(other) == [b"3"]
    assert ch.drain(full) == [b"1"]
