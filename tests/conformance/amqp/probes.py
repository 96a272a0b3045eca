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
        return self.running[name].result(180)


class Ending:
    """How a connection ended: the methods that came before TCP closed, and how long after connecting that was."""

    def __init__(self, conn):
        self.methods = []
        self.heartbeats = 0
        self.closed = False
        end = time.monotonic() + 120
        while not self.closed and time.monotonic() < end:
            try:
                self.methods.append(conn.recv(0, max(end - time.monotonic(), 0.0005)))
            except Closed:
                self.closed = True
            except Timeout:
                break
        self.seconds = time.monotonic() - conn.begun
        self.heartbeats = conn.heartbeats
        conn.drop()

    @property
    def names(self):
        return [m.name for m in self.methods]


def _conn(broker, **options):
    begun = time.monotonic()
    conn = Conn(broker.host, broker.port, **options)
    conn.begun = begun
    return conn


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
    return Ending(_conn(broker, heartbeat=1))


@probe
def heartbeats_keep_a_connection(broker):
    """Heartbeat 4 and only heartbeats sent, for longer than silence may last: the heartbeats that came."""
    c = _conn(broker, heartbeat=4)
    while time.monotonic() < c.begun + 13:
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
    """The same with methods instead of heartbeats."""
    c = _conn(broker, heartbeat=4)
    ch = c.channel()
    while time.monotonic() < c.begun + 13:
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
    begin = time.monotonic()
    w = Wire(broker.host, broker.port)
    got = w.recv_until_closed()
    w.drop()
    return time.monotonic() - begin, got


@probe
def handshake_never_finished(broker):
    """A connection that stops after connection.start."""
    return Ending(_conn(broker, stop="start"))


@probe
def close_not_answered(broker):
    """connection.close that the client does not answer, heartbeat 2."""
    c = _conn(broker, heartbeat=2)
    c.send(7, "basic.qos", prefetch_count=1)
    return Ending(c)


@probe
def bad_frame_then_silence(broker):
    """An end octet that is wrong; the client then only listens."""
    c = _conn(broker, heartbeat=0)
    c.send_frame(HEARTBEAT, 0, b"", end=0)
    return Ending(c)
