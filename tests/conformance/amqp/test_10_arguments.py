"""Section 10: queue arguments."""

import time

import pytest

from expect import spec
from wire import METHOD, V, encode_frame, encode_method

EXPIRES_S = 1

BAD = [
    ({"x-message-ttl": -1}, "x-message-ttl", "{value_negative,-1}"),
    ({"x-message-ttl": "x"}, "x-message-ttl", ""),
    ({"x-message-ttl": V("l", 315360000001)}, "x-message-ttl", "{value_too_large,315360000001}"),
    ({"x-expires": 0}, "x-expires", "{value_zero,0}"),
    ({"x-expires": -1}, "x-expires", "{value_negative,-1}"),
    ({"x-expires": "1"}, "x-expires", ""),
    ({"x-max-length": -1}, "x-max-length", "{value_negative,-1}"),
    ({"x-max-length": "5"}, "x-max-length", ""),
    ({"x-max-length-bytes": -1}, "x-max-length-bytes", "{value_negative,-1}"),
    ({"x-max-priority": 256}, "x-max-priority", "{max_value_exceeded,256}"),
    ({"x-max-priority": -1}, "x-max-priority", "{value_negative,-1}"),
    ({"x-max-priority": "5"}, "x-max-priority", ""),
    ({"x-overflow": "x"}, "x-overflow", "invalid_overflow"),
    ({"x-overflow": 5}, "x-overflow", ""),
    ({"x-dead-letter-routing-key": "k"}, "x-dead-letter-routing-key", "routing_key_but_no_dlx_defined"),
    ({"x-dead-letter-exchange": "", "x-dead-letter-routing-key": 5}, "x-dead-letter-routing-key", ""),
    ({"x-queue-mode": "x"}, "x-queue-mode", "unsupported queue mode 'x'"),
    ({"x-single-active-consumer": "yes"}, "x-single-active-consumer", ""),
    ({"x-message-ttl": V("d", 5.0)}, "x-message-ttl", "double"),
    ({"x-message-ttl": V("T", 5)}, "x-message-ttl", "timestamp"),
    ({"x-message-ttl": None}, "x-message-ttl", "void"),
    ({"x-expires": V("l", 315360000001)}, "x-expires", "{value_too_large,315360000001}"),
    ({"x-max-length": True}, "x-max-length", "bool"),
    ({"x-max-priority": V("b", -128)}, "x-max-priority", "{value_negative,-128}"),
    ({"x-overflow": ""}, "x-overflow", "invalid_overflow"),
    ({"x-overflow": V("x", b"drop-head")}, "x-overflow", "{unacceptable_type,binary}"),
    ({"x-queue-mode": 5}, "x-queue-mode", "{unacceptable_type,signedint}"),
    ({"x-queue-version": 3}, "x-queue-version", "unsupported queue version"),
    ({"x-queue-type": 5}, "x-queue-type", "{unacceptable_type,signedint}"),
    ({"x-queue-type": V("x", b"classic")}, "x-queue-type", "{unacceptable_type,binary}"),
    ({"x-queue-type": "x"}, "x-queue-type", "unsupported queue type 'x'"),
]


@spec("10", vector=37)
@pytest.mark.parametrize("arguments,key,reason", BAD, ids=[str(b[0]) for b in BAD])
def test_bad_argument_is_406(ch, name, arguments, key, reason):
    m = ch.refused(406, f"invalid arg '{key}' for queue '{name}' in vhost '/'", "queue.declare", queue=name,
                   arguments=arguments)
    assert reason in m.text, m.text
    ch.refused(404, None, "queue.declare", queue=name, passive=True)


@spec("9.1", vector=37)
def test_dead_letter_exchange_must_be_a_string(ch, name):
    ch.refused(406, "invalid type 'signedint' for arg 'x-dead-letter-exchange'", "queue.declare", queue=name,
               arguments={"x-dead-letter-exchange": 5})


@spec("10")
@pytest.mark.parametrize("flags,text", [({"exclusive": True, "durable": True}, "exclusive"),
                                        ({"auto_delete": True, "durable": True}, "auto-delete"), ({}, "non-durable")],
                         ids=["exclusive", "auto-delete", "not durable"])
def test_quorum_refuses(ch, name, flags, text):
    ch.refused(406, f"invalid property '{text}", "queue.declare", queue=name,
               arguments={"x-queue-type": "quorum"}, **flags)


@spec("9.8", vector=36)
@pytest.mark.parametrize("use", ["get", "passive"])
def test_a_queue_in_use_does_not_expire(ch, names, use):
    """Three times as long as it would last. A machine that let more time pass between two uses has shown nothing: once more."""
    for _ in range(10):
        q, longest = names("q"), 0.0
        begin = used = time.monotonic()
        ch.queue(q, arguments={"x-expires": EXPIRES_S * 1000})
        while time.monotonic() - begin < 3 * EXPIRES_S:
            now = time.monotonic()
            if use == "get":
                ch.send("basic.get", queue=q)
            else:
                ch.send("queue.declare", queue=q, passive=True)
            answer = ch.recv().name
            longest, used = max(longest, time.monotonic() - used), now
            if answer == "channel.close":
                ch.send("channel.close-ok")
                ch.open()
                break
            time.sleep(EXPIRES_S / 10)
        else:
            return
        assert longest >= EXPIRES_S, f"it expired although nothing but {longest:.3f} s passed between two uses"
    pytest.skip("this machine is too busy")


@spec("9.8", vector=36)
@pytest.mark.parametrize("use", ["nothing", "publish"])
def test_a_queue_that_is_not_used_expires(ch, name, use):
    ch.queue(name, arguments={"x-expires": EXPIRES_S * 1000})
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if use == "publish":
            ch.publish("", name, b"x")
        # With other arguments: refused while it is there, which is no use of it.
        ch.send("queue.declare", queue=name)
        if ch.recv().name == "queue.declare-ok":
            return
        ch.send("channel.close-ok")
        ch.open()
    raise AssertionError("it is there after a minute")


# What RabbitMQ looks at first comes first; the values are wrong, or differ from those of OTHER.
ORDER = [("x-queue-type", "x", None), ("x-expires", 0, 100_000), ("x-message-ttl", -1, 1000),
         ("x-dead-letter-exchange", None, "a"), ("x-dead-letter-routing-key", 5, "k"), ("x-max-length", -1, 5),
         ("x-max-length-bytes", -1, 9), ("x-max-priority", -1, 3), ("x-overflow", "x", "drop-head"),
         ("x-queue-mode", "x", "default"), ("x-single-active-consumer", 1, False)]
OTHER = {"x-expires": 100_001, "x-message-ttl": 1001, "x-dead-letter-exchange": "b", "x-dead-letter-routing-key": "l",
         "x-max-length": 6, "x-max-length-bytes": 10, "x-max-priority": 4, "x-overflow": "reject-publish",
         "x-queue-mode": "lazy", "x-single-active-consumer": True}


def complaints(ch, name, wanted, arguments):
    """The arguments that declare is refused for, each taken out once it was named; they are sent in the opposite order."""
    named = []
    while arguments:
        ch.send("queue.declare", queue=name, arguments=list(reversed(arguments)))
        if (m := ch.recv()).name != "channel.close":
            break
        assert m.code == 406 and wanted in m.text, m
        named.append(m.text.split("'")[1])
        arguments = [a for a in arguments if a[0] != named[-1]]
        ch.send("channel.close-ok")
        ch.open()
    return named


@spec("10")
def test_which_of_several_bad_arguments_is_named(ch, name):
    bad = [(key, value) for key, value, _ in ORDER if value is not None]
    assert complaints(ch, name, "invalid arg", bad) == [key for key, _ in bad]


@spec("10")
@pytest.mark.parametrize("key", [key for key, bad, _ in ORDER if bad is not None and key != "x-dead-letter-exchange"])
def test_a_dead_letter_exchange_that_is_no_string_comes_first(ch, name, key):
    bad = next(value for k, value, _ in ORDER if k == key)
    ch.refused(406, "invalid type 'signedint' for arg 'x-dead-letter-exchange'", "queue.declare", queue=name,
               arguments=[(key, bad), ("x-dead-letter-exchange", 5)])


@spec("9.2")
def test_which_of_several_other_arguments_is_named(ch, name):
    ch.queue(name, arguments=[(key, value) for key, _, value in ORDER if value is not None])
    rest = [key for key, _, value in ORDER if value is not None]
    for expected in rest:
        changed = rest[rest.index(expected):]
        arguments = {key: OTHER[key] if key in changed else value for key, _, value in ORDER if value is not None}
        ch.refused(406, f"inequivalent arg '{expected}' for queue '{name}' in vhost '/'", "queue.declare", queue=name,
                   arguments=arguments)


NUMBERS = ["x-message-ttl", "x-expires", "x-max-length", "x-max-length-bytes"]


@spec("2.3", vector=29)
@pytest.mark.parametrize("key", NUMBERS + ["x-max-priority"])
def test_equal_numbers_of_every_type(ch, name, key):
    """A timestamp is a number too, a float is not; neither could make the queue."""
    number = 5 if key == "x-max-priority" else 30_000
    ch.queue(name, arguments={key: V("I", number)})
    for tag in "bBsuiIlLT" if number < 100 else "suiIlLT":
        ch.queue(name, arguments={key: V(tag, number)})
        ch.refused(406, f"inequivalent arg '{key}'", "queue.declare", queue=name, arguments={key: V(tag, number + 1)})
    for value in (V("f", number), V("d", number), str(number), True, [], {}):
        ch.refused(406, f"inequivalent arg '{key}'", "queue.declare", queue=name, arguments={key: value})
    ch.refused(406, f"inequivalent arg '{key}' for queue '{name}' in vhost '/': received none but current is '{number}'",
               "queue.declare", queue=name, arguments={key: None})
    ch.refused(406, f"received none but current is the value '{number}' of type 'signedint'", "queue.declare", queue=name)


@spec("2.3")
@pytest.mark.parametrize("key,value,other", [
    ("x-overflow", "drop-head", "reject-publish"), ("x-dead-letter-exchange", "a", "b"), ("x-queue-mode", "lazy", "default"),
    ("x-queue-type", "classic", "quorum"), ("x-single-active-consumer", True, False)])
def test_equal_words(ch, name, key, value, other):
    """Octets that are no string (x) equal a string."""
    ch.queue(name, durable=True, arguments={key: value})
    ch.queue(name, durable=True, arguments={key: value})
    if value is not True:
        ch.queue(name, durable=True, arguments={key: V("x", value)})
    for bad in (other, 1, None):
        ch.refused(406, f"inequivalent arg '{key}' for queue '{name}' in vhost '/': received ", "queue.declare", queue=name,
                   durable=True, arguments={key: bad})


@spec("9.2")
@pytest.mark.parametrize("arguments", [{"x-max-age": "1D"}, {"x-stream-max-segment-size-bytes": 5}, {"x-delivery-limit": 5},
                                       {"x-dead-letter-strategy": "at-least-once"}, {"x-max-in-memory-length": 1}], ids=str)
def test_arguments_of_other_kinds_are_not_compared(ch, name, arguments):
    ch.queue(name)
    ch.queue(name, arguments=arguments)


@spec("9.2")
def test_what_is_wrong_with_an_existing_queue_is_that_it_differs(ch, name):
    ch.queue(name, arguments={"x-message-ttl": 5})
    for arguments, text in (({"x-message-ttl": -1}, "inequivalent arg 'x-message-ttl'"),
                            ({"x-message-ttl": 5, "x-expires": 0}, "received the value '0' of type 'signedint' but current is none"),
                            ({"x-message-ttl": 5, "x-queue-type": "x"}, "inequivalent arg 'x-queue-type'"),
                            ({"x-message-ttl": 5, "x-dead-letter-routing-key": "k"}, "inequivalent arg 'x-dead-letter-routing-key'"),
                            ({"x-message-ttl": 5, "x-dead-letter-exchange": 5}, "inequivalent arg 'x-dead-letter-exchange'")):
        ch.refused(406, text, "queue.declare", queue=name, arguments=arguments)


@spec("9.3")
def test_a_passive_declare_looks_at_nothing_else(ch, name):
    ch.queue(name)
    ch.queue(name, passive=True, durable=True, exclusive=True, auto_delete=True,
             arguments={"x-message-ttl": -1, "x-queue-type": "x", "x-dead-letter-exchange": 5})


@spec("10")
@pytest.mark.parametrize("flags,text", [
    ({"exclusive": True, "auto_delete": True, "durable": True}, "auto-delete"), ({"auto_delete": True}, "auto-delete"),
    ({"exclusive": True}, "exclusive"), ({}, "non-durable")], ids=str)
def test_quorum_names_one_property(ch, name, flags, text):
    ch.send("queue.declare", queue=name, arguments={"x-queue-type": "quorum"}, **flags)
    ch.expect_close(406, f"invalid property '{text}")


@spec("9.8")
def test_expires_not_while_there_is_a_consumer(conn, ch, names, put):
    """And then its bindings go with it, and its messages nowhere. The clock is a message that expires later."""
    q, x, dead, clock = names("q"), names("x"), names("dead"), names("clock")
    ch.exchange(x, "fanout")
    ch.queue(dead)
    ch.bind(dead, x)
    # In one write: between the two no time passes for this machine's sake.
    declare = encode_method("queue.declare", queue=q, arguments={"x-expires": 1000, "x-dead-letter-exchange": x})
    consume = encode_method("basic.consume", queue=q, consumer_tag="t")
    conn.send_raw(encode_frame(METHOD, ch.number, declare) + encode_frame(METHOD, ch.number, consume))
    ch.expect("queue.declare-ok")
    tag = ch.expect("basic.consume-ok").consumer_tag
    ch.bind(q, "amq.direct", q)
    ch.queue(clock, arguments={"x-dead-letter-exchange": x, "x-message-ttl": 2000})
    put(clock, b"tick")
    watch = conn.channel()
    watch.consume(dead, no_ack=True)
    assert watch.expect("basic.deliver", timeout=30).body == b"tick"
    assert ch.count(q) == (0, 1)
    put(q, b"left", exchange="amq.direct")
    assert ch.expect("basic.deliver").body == b"left"
    ch.call("basic.cancel", consumer_tag=tag)
    end = time.monotonic() + 60
    while True:  # refused while it is there, which is no use of it
        assert time.monotonic() < end
        watch.send("queue.declare", queue=q)
        if watch.recv().name == "queue.declare-ok":
            break
        watch.send("channel.close-ok")
        watch.open()
    put(q, b"x", exchange="amq.direct")  # to nobody: the binding has gone
    assert ch.count(dead)[0] == 0 and ch.get(q) is None
    ch.send("basic.ack", delivery_tag=1)  # of a queue that has gone
