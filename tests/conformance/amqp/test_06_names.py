"""Section 6: names, reserved names, the exchanges that are always there."""

import re

import pytest

from expect import spec


@spec("6.1")
@pytest.mark.parametrize("suffix", [" with space", "\u00fc\u20ac\U0001f600", "#*.", "/\\'\"<>", "\t\x01"],
                         ids=["space", "unicode", "wildcards", "punctuation", "control"])
def test_any_utf8_is_a_name(ch, names, suffix):
    q, x = names("q") + suffix, names("x") + suffix
    ch.queue(q, exclusive=True)
    ch.exchange(x, "direct", auto_delete=True)
    ch.bind(q, x, "key" + suffix)
    ch.publish(x, "key" + suffix, b"routed")
    ch.barrier()
    got = ch.get(q)
    assert (got.body, got.exchange, got.routing_key) == (b"routed", x, "key" + suffix)


@spec("6.1")
def test_name_of_255_octets(ch, names):
    q = (names("q") + "x" * 255)[:255]
    assert ch.queue(q, exclusive=True).queue == q
    ch.publish("", q, b"x")
    ch.barrier()
    assert ch.get(q).routing_key == q


@spec("6.1")
def test_cr_and_lf_are_removed(ch, names):
    q, x = names("q"), names("x")
    assert ch.queue("\r\n" + q + "\n", exclusive=True).queue == q
    ch.exchange(x[:3] + "\n" + x[3:])
    ch.call("exchange.declare", exchange=x, passive=True)
    ch.bind(q[:2] + "\r" + q[2:], x + "\r\n", "k")
    ch.publish(x, "k", b"1")
    ch.barrier()
    assert ch.get(q).body == b"1"
    ch.call("queue.unbind", queue=q + "\n", exchange="\r" + x, routing_key="k")
    ch.call("exchange.delete", exchange=x + "\n")
    ch.refused(404, None, "exchange.declare", exchange=x, passive=True)
    ch.call("queue.delete", queue=q + "\r")
    ch.refused(404, None, "queue.declare", queue=q, passive=True)


@spec("6.1", vector=16)
@pytest.mark.parametrize("name", ["amq.foo", "amq.", "amq.gen-x"])
def test_reserved_exchange_name_is_403(ch, name):
    ch.refused(403, f"exchange name '{name}' contains reserved prefix 'amq.*'",
               "exchange.declare", exchange=name, type="direct")


@spec("6.1")
@pytest.mark.parametrize("name", ["amq.foo", "amq.", "amq.gen-x"])
def test_reserved_queue_name_is_403(ch, name):
    ch.refused(403, f"queue name '{name}' contains reserved prefix 'amq.*'", "queue.declare", queue=name)


@spec("6.1")
@pytest.mark.parametrize("name", ["amqx", "AMQ.foo", "xamq.foo"])
def test_names_that_only_look_reserved(ch, names, name):
    ch.queue(name + names("q"), exclusive=True)


@spec("6.1")
def test_declaring_a_generated_name_again_is_403(ch):
    q = ch.queue("", exclusive=True).queue
    ch.refused(403, "reserved prefix", "queue.declare", queue=q, exclusive=True)
    assert ch.call("queue.declare", queue=q, passive=True).queue == q


@spec("6.1", vector=26)
def test_generated_names(ch):
    qs = [ch.queue("", exclusive=True).queue for _ in range(20)]
    assert all(re.fullmatch(r"amq\.gen-[A-Za-z0-9_-]{22}", q) for q in qs), qs
    tags = [ch.consume(q) for q in qs]
    assert all(re.fullmatch(r"amq\.ctag-[A-Za-z0-9_-]{22}", t) for t in tags), tags
    assert len(set(qs)) == len(set(tags)) == 20


@spec("6.1", vector=26)
def test_empty_name_is_the_generated_one(ch):
    q = ch.queue("", exclusive=True).queue
    tag = ch.consume("", no_ack=True)
    ch.bind("", "amq.direct")  # with its name as the key
    ch.publish("amq.direct", q, b"x")
    d = ch.expect("basic.deliver")
    assert (d.consumer_tag, d.routing_key, d.body) == (tag, q, b"x")


STANDARD = [("amq.direct", "direct"), ("amq.fanout", "fanout"), ("amq.topic", "topic"),
            ("amq.headers", "headers"), ("amq.match", "headers")]


@spec("6.2", vector=16)
@pytest.mark.parametrize("name,kind", STANDARD, ids=[n for n, _ in STANDARD])
def test_standard_exchange(ch, name, kind):
    ch.exchange(name, kind, durable=True)
    ch.call("exchange.declare", exchange=name, passive=True)
    ch.refused(406, f"inequivalent arg 'durable' for exchange '{name}' in vhost '/': received 'false' "
               "but current is 'true'", "exchange.declare", exchange=name, type=kind)
    ch.refused(403, f"deletion of system exchange '{name}' in vhost '/' not allowed",
               "exchange.delete", exchange=name)


@spec("6.2")
def test_trace_exchange_is_internal(ch):
    ch.exchange("amq.rabbitmq.trace", "topic", durable=True, internal=True)
    ch.publish("amq.rabbitmq.trace", "k", b"x")
    ch.expect_close(403, "cannot publish to internal exchange 'amq.rabbitmq.trace' in vhost '/'", "basic.publish")
