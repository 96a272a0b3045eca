"""Section 10: queue arguments. The first release refuses them (test_09_queues.py says so)."""

import pytest

from expect import differs, spec
from wire import V


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
]


@spec("10", vector=37)
@pytest.mark.parametrize("arguments,key,reason", BAD, ids=[str(b[0]) for b in BAD])
def test_bad_argument_is_406(ch, name, arguments, key, reason):
    m = ch.refused(406, f"invalid arg '{key}' for queue '{name}' in vhost '/'", "queue.declare", queue=name,
                   arguments=arguments)
    assert reason in m.text, m.text
    ch.refused(404, None, "queue.declare", queue=name, passive=True)


@spec("10", vector=37)
def test_bad_queue_type_is_406(ch, name):
    m = ch.refused(406, f"invalid arg 'x-queue-type' for queue '{name}' in vhost '/'", "queue.declare", queue=name,
                   arguments={"x-queue-type": "x"})
    assert differs("A1", "unsupported queue type 'x'", rabbitmq="unsupported queue type") in m.text


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
@pytest.mark.parametrize("use,stays", [("nothing", False), ("get", True), ("publish", False), ("passive", True)])
def test_expires(ch, name, put, use, stays):
    import time
    q = name
    ch.queue(q, arguments={"x-expires": 500})
    end = time.monotonic() + 1.5
    next_use = 0.0
    gone = False
    while time.monotonic() < end and not gone:
        now = time.monotonic()
        if now >= next_use:
            next_use = now + 0.2
            if use == "get":
                ch.send("basic.get", queue=q)
            elif use == "passive":
                ch.send("queue.declare", queue=q, passive=True)
            elif use == "publish":
                ch.publish("", q, b"x")
        try:
            gone = ch.recv(0.05).name == "channel.close"
        except AssertionError:
            continue
    if gone:
        ch.send("channel.close-ok")
        ch.open()
    if stays:
        assert not gone
        ch.queue(q, passive=True)
    else:
        ch.refused(404, None, "queue.declare", queue=q, passive=True)
