"""Section 19: what an alarm means for connections. With a broker of its own, which is told to have no memory left."""

import subprocess

import pytest

import broker as support
from expect import spec
from wire import Conn, Timeout

pytestmark = pytest.mark.needs_restart


def set_watermark(broker, fraction):
    subprocess.run([*broker.ctl_words(), "set_vm_memory_high_watermark", fraction], check=True, capture_output=True, timeout=120)


@spec("19.2")
def test_memory_alarm():
    """Who publishes is blocked with the first message and told once, if it can be; all others go on. Nothing is lost."""
    with support.new() as b:
        opened = []

        def connect(**options):
            opened.append(Conn(b.host, b.port, **options))
            return opened[-1]

        taker = connect().channel()
        taker.queue("q")
        taker.consume("q", no_ack=True)
        before, mute = connect().channel(), connect(capabilities={"connection.blocked": False}).channel()
        before.publish("", "q", b"0")
        assert taker.expect("basic.deliver").body == b"0"
        set_watermark(b, "0.0000001")
        after = connect().channel()  # also who comes now
        for number, ch in ((b"1", before), (b"2", after)):
            ch.publish("", "q", number)
            ch.publish("", "q", number)
            assert ch.conn.expect(0, "connection.blocked", timeout=60).reason == "low on memory"
        mute.publish("", "q", b"3")
        # Whoever does not publish works as ever, and has got nothing from those that are blocked.
        for ch in (taker, connect().channel()):
            assert ch.queue("q", passive=True).message_count == 0
            ch.queue("other")
            assert ch.get("other") is None
        set_watermark(b, "0.9")
        for ch in (before, after):
            ch.conn.expect(0, "connection.unblocked", timeout=60)
            ch.barrier()
        mute.barrier()
        got = sorted(m.body for m in taker.deliveries(5, timeout=60))
        assert got == [b"1", b"1", b"2", b"2", b"3"]
        for ch in (before, after, mute):
            with pytest.raises(Timeout):  # no second blocked, and no word to who cannot hear it
                ch.conn.recv(0, timeout=0.1)
        for c in opened:
            c.drop()
