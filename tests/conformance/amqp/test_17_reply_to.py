"""Section 17: direct reply-to, CC and BCC, user-id."""

import pytest

import broker as support
from expect import differs, spec
from wire import Conn, V, encode_header


PSEUDO = "amq.rabbitmq.reply-to"


@spec("17.1", vector=73)
def test_round_trip(connect, ch, name):
    server = connect().channel()
    server.queue(name, exclusive=True)
    tag = ch.consume(PSEUDO, no_ack=True)
    ch.publish("", name, b"question", {"reply_to": PSEUDO, "correlation_id": "7"})
    server.consume(name, no_ack=True)
    asked = server.expect("basic.deliver")
    reply_to = asked.props["reply_to"]
    assert reply_to.startswith(PSEUDO + ".") and len(reply_to) > len(PSEUDO) + 10
    m = server.queue(reply_to)
    assert (m.queue, m.message_count, m.consumer_count) == (reply_to, 0, 1)
    # 3.10 returns a mandatory answer although it delivers it.
    server.confirm().publish("", reply_to, b"answer", {"correlation_id": asked.props["correlation_id"]},
                             mandatory=differs("A6", True, rabbitmq=False))
    server.expect("basic.ack")
    d = ch.expect("basic.deliver")
    assert (d.body, d.consumer_tag, d.exchange, d.routing_key) == (b"answer", tag, "", reply_to)
    ch.close()
    server.refused(404, "no queue", "queue.declare", queue=reply_to)


@spec("17.1", vector=73)
def test_publish_without_the_consumer_is_406(ch, name):
    ch.queue(name, exclusive=True)
    ch.publish("", name, b"x", {"reply_to": PSEUDO})
    ch.expect_close(406, "fast reply consumer does not exist", "basic.publish")


@spec("17.1", vector=73)
def test_consumer_must_be_no_ack_and_alone(ch):
    ch.refused(406, "reply consumer cannot acknowledge", "basic.consume", queue=PSEUDO)
    ch.consume(PSEUDO, no_ack=True)
    ch.refused(406, "reply consumer already set", "basic.consume", queue=PSEUDO, no_ack=True)


@spec("17.1")
def test_cancel_ends_it(ch, name):
    ch.queue(name, exclusive=True)
    tag = ch.consume(PSEUDO, no_ack=True)
    ch.call("basic.cancel", consumer_tag=tag)
    ch.publish("", name, b"x", {"reply_to": PSEUDO})
    ch.expect_close(406, "fast reply consumer does not exist")


@spec("17.2", vector=48)
def test_cc_and_bcc(ch, names):
    a, b, c = names("a"), names("b"), names("c")
    for q in (a, b, c):
        ch.queue(q, exclusive=True)
    ch.publish("", a, b"x", {"headers": [("CC", [b, "nowhere"]), ("BCC", [c]), ("k", 1)]})
    ch.barrier()
    for q in (a, b, c):
        m = ch.get(q)
        assert m.routing_key == a
        assert m.props["headers"].keys() == ["CC", "k"] and m.props["headers"].get("CC") == [b, "nowhere"]


@spec("17.2", vector=48)
@pytest.mark.parametrize("header", ["CC", "BCC"])
def test_cc_that_is_no_array_is_406(ch, name, header):
    ch.queue(name, exclusive=True)
    ch.publish("", name, b"x", {"headers": {header: "string"}})
    m = ch.expect_close(406, None, "basic.publish")
    assert f'unacceptable_type_in_header,"{header}",longstr' in m.text or header in m.text


@spec("17.2", vector=48)
@pytest.mark.parametrize("headers,also", [
    ({"CC": ["b", 1, None, ["c"], V("x", b"c")]}, "b"), ({"cc": ["b"]}, ""), ([("CC", ["b"]), ("CC", ["c"])], "b"),
    ({"CC": ["k" * 300]}, "")], ids=["other types", "lower case", "twice", "long key"])
def test_what_of_cc_counts(ch, names, headers, also):
    a, b, c = (names(n) for n in "abc")
    for q in (a, b, c):
        ch.queue(q, exclusive=True)
    items = headers.items() if isinstance(headers, dict) else headers
    real = {"b": b, "c": c}
    table = [(k, [real.get(x, x) if isinstance(x, str) else x for x in v]) for k, v in items]
    ch.publish("", a, b"x", {"headers": table})
    ch.barrier()
    assert [len(ch.drain(q)) for q in (a, b, c)] == [1, int("b" in also), int("c" in also)]


@spec("17.2")
def test_a_return_has_cc_but_not_bcc(ch):
    ch.publish("amq.topic", "no", b"x", {"headers": [("CC", ["no2"]), ("BCC", ["no3"])]}, mandatory=True)
    m = ch.expect("basic.return")
    assert m.routing_key == "no" and m.props["headers"].keys() == ["CC"]


@spec("17.3", vector=47)
def test_user_id(ch, name):
    ch.queue(name, exclusive=True)
    ch.publish("", name, b"x", {"user_id": "guest"})
    ch.barrier()
    ch.publish("", name, b"x", {"user_id": "other"})
    ch.expect_close(406, "user_id property set to 'other' but authenticated user was 'guest'", "basic.publish")


@pytest.mark.needs_restart
@spec("17.3", vector=47)
def test_user_id_of_an_impersonator():
    with support.new({"default_user_tags.impersonator": "true"}) as b:
        ch = Conn(b.host, b.port).channel()
        ch.queue("q", exclusive=True)
        ch.publish("", "q", b"x", {"user_id": "other"})
        ch.barrier()
        assert ch.get("q").props["user_id"] == "other"
        ch.conn.drop()


def ask(ch, server, queue):
    """The name under which ch takes answers, as server sees it."""
    server.queue(queue)
    ch.consume(PSEUDO, no_ack=True)
    ch.publish("", queue, b"question", {"reply_to": PSEUDO})
    ch.barrier()
    return server.get(queue).props["reply_to"]


@spec("17.1")
def test_further_keys_name_a_requester(connect, ch, name):
    """Once to each, with the key it was published with."""
    server = connect().channel()
    reply = ask(ch, server, name)
    server.publish("", name, b"1", {"headers": {"CC": [reply]}})
    server.publish("", "nowhere", b"2", {"headers": {"BCC": [reply, reply]}})
    server.publish("", reply, b"3", {"headers": {"CC": [reply]}})
    got = [(d.body, d.routing_key) for d in ch.deliveries(3)]
    assert got == [(b"1", name), (b"2", "nowhere"), (b"3", reply)]
    server.barrier()
    ch.barrier()
    assert server.drain(name) == [b"1"]


@spec("17.1")
def test_answers_of_a_transaction(connect, ch, name):
    server = connect().channel()
    reply = ask(ch, server, name)
    server.call("tx.select")
    server.publish("", name, b"1", {"headers": {"CC": [reply]}})
    server.publish("", "nowhere", b"2", {"headers": {"BCC": [reply]}}, mandatory=differs("A6", True, rabbitmq=False))
    server.publish("", reply, b"3")
    server.barrier()
    if differs("A7", True, rabbitmq=False):
        ch.barrier()  # nothing before the commit
    server.call("tx.commit")
    assert sorted(d.body for d in ch.deliveries(3)) == [b"1", b"2", b"3"]


@spec("17.1")
@pytest.mark.parametrize("opaque", ["", "x", "0" * 48])
@pytest.mark.parametrize("passive", [False, True])
def test_declare_of_a_name_that_nobody_has_is_404(ch, opaque, passive):
    ch.refused(404, "no queue", "queue.declare", queue=f"{PSEUDO}.{opaque}", passive=passive)


@spec("17.1")
@pytest.mark.parametrize("flags", [{}, {"passive": True}, {"exclusive": True, "durable": True}], ids=str)
def test_the_pseudo_queue_can_be_declared_by_anybody(ch, flags):
    """So clients find out whether a broker has direct replies, before anybody consumes."""
    m = ch.queue(PSEUDO, **flags)
    assert (m.queue, m.message_count, m.consumer_count) == (PSEUDO, 0, 1)


@spec("17.1")
@pytest.mark.parametrize("method,fields", [("basic.get", {}), ("queue.purge", {}), ("queue.bind", {"exchange": "amq.direct"})],
                         ids=["get", "purge", "bind"])
def test_nothing_else_is_done_with_the_pseudo_queue(ch, method, fields):
    ch.refused(404, f"no queue '{PSEUDO}' in vhost '/'", method, queue=PSEUDO, **fields)
    assert ch.call("queue.delete", queue=PSEUDO).message_count == 0


@spec("17.1", vector=73)
def test_an_answer_is_a_message_like_others(connect, ch, name):
    """Its properties come through, it is counted, and cannot be acked."""
    server = connect().channel()
    reply = ask(ch, server, name)
    props = {"expiration": "0", "headers": {"h": 1}, "reply_to": "elsewhere", "correlation_id": "c"}
    server.confirm().publish("", reply, b"answer", props)
    d = ch.expect("basic.deliver")
    assert (d.body, d.delivery_tag, d.redelivered, d.exchange, d.routing_key) == (b"answer", 1, False, "", reply)
    assert d.props.raw == encode_header(0, props)[12:]
    server.expect("basic.ack")
    ch.refused(406, "unknown delivery tag 1", "basic.ack", delivery_tag=1)


@spec("17.1")
@pytest.mark.parametrize("exchange,to", [("amq.direct", "requester"), ("", "requester that has gone"), ("", PSEUDO), ("", PSEUDO + ".x")])
def test_what_reaches_no_requester_is_no_route(connect, ch, name, exchange, to):
    server = connect().channel()
    reply = ask(ch, server, name)
    if to == "requester that has gone":
        ch.close()
    server.confirm().publish(exchange, reply if to.startswith("requester") else to, b"x", mandatory=True)
    assert server.expect("basic.return").code == 312
    server.expect("basic.ack")


@spec("17.1")
def test_each_consumer_has_a_name_of_its_own(connect, ch, name):
    server = connect().channel()
    first = ask(ch, server, name)
    ch.close()
    ch.open()
    assert ask(ch, server, name) != first
    server.refused(404, "no queue", "queue.declare", queue=first)


@spec("17.1")
def test_nowait_and_what_is_ignored(connect, ch, name):
    server = connect().channel()
    server.queue(name)
    ch.send("basic.consume", queue=PSEUDO, consumer_tag="t", no_ack=True, exclusive=True, nowait=True, arguments={"x-priority": "high"})
    ch.publish("", name, b"question", {"reply_to": PSEUDO})
    ch.barrier()
    server.publish("", server.get(name).props["reply_to"], b"answer")
    d = ch.expect("basic.deliver")
    assert (d.consumer_tag, d.body) == ("t", b"answer")


@spec("17.1")
def test_only_that_name_is_rewritten(ch, name):
    ch.queue(name, exclusive=True)
    ch.publish("", name, b"x", {"reply_to": PSEUDO + ".mine"})
    ch.barrier()
    assert ch.get(name).props["reply_to"] == PSEUDO + ".mine"


@spec("17.1")
@pytest.mark.parametrize("method", ["basic.get", "queue.purge", "basic.consume"])
def test_a_name_is_no_queue(connect, ch, name, method):
    reply = ask(ch, connect().channel(), name)
    ch.refused(404, f"no queue '{reply}'", method, queue=reply)
    assert ch.call("queue.delete", queue=reply).message_count == 0


@spec("17.2")
@pytest.mark.parametrize("keys", [[], ["nowhere"]])
def test_headers_without_bcc_may_be_empty(ch, name, keys):
    ch.queue(name, exclusive=True)
    ch.publish("", name, b"x", {"headers": {"BCC": keys}})
    assert ch.get(name).props.raw == b"\x20\x00\x00\x00\x00\x00"


@spec("17.2")
def test_a_key_named_twice_gives_one_copy(ch, name):
    ch.queue(name, exclusive=True)
    ch.publish("", name, b"x", {"headers": {"CC": [name, 5, name], "BCC": [name]}})
    assert ch.drain(name) == [b"x"]
