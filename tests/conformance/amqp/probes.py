"""Checks that must wait for seconds. They run in threads beside the other tests."""

import time
from concurrent.futures import ThreadPoolExecutor

from wire import HEARTBEAT, Closed, Conn, Timeout, Wire

PROBES = {}


def probe(function):
    """Registers a function(broker) whose result a test in test_slow.py judges."""
    PROBES[function.__name__] = function
    return function


class Background:
    """The probes of one session."""

    def __init__(self, broker):
        self.broker = broker
        self.pool = ThreadPoolExecutor(max_workers=32)
        self.running = {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.pool.shutdown()

    def start(self, name):
        self.running[name] = self.pool.submit(PROBES[name], self.broker)

    def result(self, name):
        return self.running[name].result(60)


class Ending:
    """How a connection ended: seconds until TCP closed and the methods that came before."""

    def __init__(self, conn, timeout=15):
        begin = time.monotonic()
        self.methods = []
        self.heartbeats = 0
        self.closed = False
        while time.monotonic() - begin < timeout:
            try:
                self.methods.append(conn.recv(0, timeout - (time.monotonic() - begin)))
                if self.methods[-1].name == "connection.close":
                    self.close_after = time.monotonic() - begin
            except Closed:
                self.closed = True
                break
            except Timeout:
                break
        self.seconds = time.monotonic() - begin
        self.heartbeats = conn.heartbeats
        conn.drop()

    @property
    def names(self):
        return [m.name for m in self.methods]


def _conn(broker, **options):
    return Conn(broker.host, broker.port, timeout=20, **options)


@probe
def wrong_password_without_capability(broker):
    return Ending(_conn(broker, password="wrong", capabilities={}, stop="login"))


@probe
def wrong_password_with_false_capability(broker):
    caps = {"authentication_failure_close": False}
    return Ending(_conn(broker, password="wrong", capabilities=caps, stop="login"))


@probe
def capability_that_is_no_bool(broker):
    caps = {"authentication_failure_close": 1}
    return Ending(_conn(broker, password="wrong", capabilities=caps, stop="login"))


@probe
def malformed_plain_without_capability(broker):
    return Ending(_conn(broker, response=b"guest\0guest", capabilities={}, stop="login"))


@probe
def malformed_plain_with_capability(broker):
    return Ending(_conn(broker, response=b"guest\0guest", stop="login"))


@probe
def plain_with_three_parts(broker):
    return Ending(_conn(broker, response=b"\0guest\0guest\0more", stop="login"))


@probe
def amqplain_without_password(broker):
    return Ending(_conn(broker, mechanism="AMQPLAIN", response=b"\x05LOGINS\0\0\0\x05guest", stop="login"))


@probe
def unknown_mechanism_without_capability(broker):
    return Ending(_conn(broker, mechanism="KERBEROS", capabilities={}, stop="login"))


@probe
def unknown_mechanism_with_capability(broker):
    return Ending(_conn(broker, mechanism="KERBEROS", stop="login"))


@probe
def channel_max_too_high(broker):
    return Ending(_conn(broker, channel_max=3000, stop="open"))


@probe
def channel_max_too_high_without_capability(broker):
    return Ending(_conn(broker, channel_max=3000, capabilities={}, stop="open"))


@probe
def frame_max_too_high(broker):
    return Ending(_conn(broker, frame_max=131073, stop="open"))


@probe
def frame_max_too_low(broker):
    return Ending(_conn(broker, frame_max=4095, stop="open"))


@probe
def heartbeat_one_then_silence(broker):
    return Ending(_conn(broker, heartbeat=1), timeout=10)


@probe
def heartbeats_keep_a_connection(broker):
    """Five seconds with heartbeat 1 and only heartbeats sent: (still open, heartbeats got)."""
    c = _conn(broker, heartbeat=1)
    end = time.monotonic() + 5
    while time.monotonic() < end:
        c.send_frame(HEARTBEAT, 0, b"")
        try:
            c.recv(0, 0.5)
        except Timeout:
            continue
    ch = c.channel()
    ch.barrier()
    got = c.heartbeats
    c.drop()
    return got


@probe
def traffic_counts_as_heartbeat(broker):
    """Five seconds with heartbeat 1 and methods instead of heartbeats."""
    c = _conn(broker, heartbeat=1)
    ch = c.channel()
    end = time.monotonic() + 5
    while time.monotonic() < end:
        ch.barrier()
        try:
            c.recv(0, 0.5)
        except Timeout:
            continue
    ch.barrier()
    c.drop()
    return True


@probe
def heartbeat_zero(broker):
    """Five seconds of silence with heartbeat 0: the heartbeats that came, the connection works."""
    c = _conn(broker, heartbeat=0)
    try:
        c.recv(0, 5)
    except Timeout:
        pass
    c.channel().barrier()
    got = c.heartbeats
    c.drop()
    return got


@probe
def handshake_never_begun(broker):
    """A connection that sends nothing: (seconds, octets that came)."""
    w = Wire(broker.host, broker.port, 20)
    begin = time.monotonic()
    got = w.recv_until_closed(20)
    w.drop()
    return time.monotonic() - begin, got


@probe
def handshake_never_finished(broker):
    """A connection that stops after connection.start."""
    return Ending(_conn(broker, stop="start"), timeout=20)


@probe
def close_not_answered(broker):
    """connection.close that the client does not answer, heartbeat 2."""
    c = _conn(broker, heartbeat=2)
    c.send(7, "basic.qos", prefetch_count=1)
    return Ending(c, timeout=20)


@probe
def bad_frame_then_silence(broker):
    """An end octet that is wrong; the client then only listens."""
    c = _conn(broker, heartbeat=0)
    c.send_frame(HEARTBEAT, 0, b"", end=0)
    return Ending(c, timeout=40)
