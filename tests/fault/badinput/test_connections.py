"""Connections that only take up room: slow, silent, or one too many."""

import resource
import selectors
import socket
import subprocess
import time

import pytest
import wire
from conftest import descriptors, eventually, memory


def connect_many(broker, count):
    """count TCP connections that have said nothing."""
    made = []
    for _ in range(count):
        s = socket.create_connection((broker.host, broker.port), timeout=60)
        s.setblocking(False)
        made.append(s)
    return made


def wait_closed(sockets, seconds, feed=None):
    """Reads until the daemon has closed every one of them; feed(socket) is called for the open ones now and then."""
    selector = selectors.DefaultSelector()
    for s in sockets:
        selector.register(s, selectors.EVENT_READ)
    left, end, fed = len(sockets), time.monotonic() + seconds, 0.0
    while left:
        assert time.monotonic() < end, f"{left} of {len(sockets)} connections are still open after {seconds} s"
        for key, _ in selector.select(0.05):
            try:
                got = key.fileobj.recv(4096)
            except BlockingIOError:
                continue
            except OSError:
                got = b""
            if not got:
                selector.unregister(key.fileobj)
                key.fileobj.close()
                left -= 1
        if feed and time.monotonic() - fed > 0.1:
            fed = time.monotonic()
            for key in list(selector.get_map().values()):
                feed(key.fileobj)
    selector.close()


def test_slow_handshakes(daemon, bystander):
    """An octet now and then does not keep a connection alive that never opens."""
    b = daemon({"handshake_timeout": "5000"})
    someone = bystander(b)
    before = descriptors(b)
    hello = wire.HEADER + wire.encode_frame(wire.METHOD, 0, wire.encode_method(
        "connection.start-ok", mechanism="PLAIN", response=wire.plain_response(), locale="en_US",
        client_properties={"product": "x" * 500}))
    sent = {}

    def feed(s):
        at = sent.get(s, 0)
        try:
            sent[s] = at + s.send(hello[at:at + 1])
        except OSError:
            pass

    wait_closed(connect_many(b, 200), 120, feed)
    someone.progress()
    eventually(lambda: descriptors(b) <= before, "the descriptors of the slow connections")


def test_half_open_connections(daemon, bystander):
    """10,000 peers that connect and say nothing, as far as this process may have descriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        count = min(10000, hard - 500)
        if count < 500:
            pytest.skip(f"only {hard} descriptors are allowed (ulimit -Hn)")
        b = daemon({"handshake_timeout": "15000", "tcp_listen_options.backlog": "1024"})
        someone = bystander(b)
        before, used = descriptors(b), memory(b)
        sockets = connect_many(b, count)
        print(f"{count} half-open connections")
        eventually(lambda: descriptors(b) >= before + count // 2, "the daemon to accept half of them")
        per_connection = (memory(b) - used) / count
        someone.progress()
        wait_closed(sockets, 180)
        someone.progress()
        eventually(lambda: descriptors(b) <= before, "their descriptors")
        assert per_connection < 32768, f"{per_connection:.0f} octets of memory for a connection that said nothing"
        wire.Conn(b.host, b.port).close()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_full_descriptor_table(daemon, bystander):
    """The one too many is refused and logged; those that are there go on; all is well when some leave."""
    b = daemon({"handshake_timeout": "60000"}, limit=80)
    someone = bystander(b)
    friend = wire.Conn(b.host, b.port)
    ch = friend.channel()
    held, refused = [], 0
    while refused < 20:
        assert len(held) < 80, "more connections than descriptors"
        w = wire.Wire(b.host, b.port)
        w.send_raw(wire.HEADER)
        try:
            w.recv_frame()
            held.append(w)
        except wire.Closed:
            refused += 1
            w.drop()
    assert len(held) > 20
    b.wait_log("refusing a connection on listener")
    # The last descriptors are not for them: who has to look after it gets in.
    seen = subprocess.run([*b.ctl_words(), "list_connections", "name"], capture_output=True, text=True, timeout=60, check=False)
    assert seen.returncode == 0, seen.stderr
    someone.progress()
    ch.queue("there", exclusive=True)
    ch.publish("", "there", b"still")
    assert ch.get("there").body == b"still"
    for w in held:
        w.drop()

    def works():
        try:
            wire.Conn(b.host, b.port).close()
            return True
        except (wire.WireError, OSError):
            return False

    eventually(works, "new connections to be accepted again")
    someone.progress()
    friend.close()
