"""Section 10: queue arguments. The first release refuses them (test_09_queues.py says so)."""

import time

import pytest

from expect import differs, spec
from wire import V

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
