"""Bytes that no client should send: each gets its error or the end, and nobody else notices."""

import os
import random
import selectors
import socket
import struct
import time

import pytest
import wire
from conftest import descriptors, eventually

SEED = int(os.environ.get("BADINPUT_SEED", "20"))
ROUNDS = int(os.environ.get("BADINPUT_ROUNDS", "1500"))
AT_ONCE = 64


def method(name, channel=1, **fields):
    return wire.encode_frame(wire.METHOD, channel, wire.encode_method(name, **fields))


def publish(body, key="mutant", end=wire.END):
    return [method("basic.publish", routing_key=key, mandatory=1),
            wire.encode_frame(wire.HEADER_FRAME, 1, wire.encode_header(len(body), {"headers": {"a": [1, {"b": "c"}]},
                                                                                "delivery_mode": 2, "priority": 3})),
            *[wire.encode_frame(wire.BODY, 1, body[at:at + 4000], end) for at in range(0, len(body), 4000)]]


def good_session():
    """Everything that a client says in a session that uses each class, frame by frame."""
    opening = [
        wire.HEADER,
        method("connection.start-ok", 0, client_properties={"product": "mutant", "capabilities": wire.ALL_CAPABILITIES},
               mechanism="PLAIN", response=wire.plain_response(), locale="en_US"),
        method("connection.tune-ok", 0, channel_max=100, frame_max=8192, heartbeat=60),
        method("connection.open", 0, vhost="/"),
        method("channel.open"),
    ]
    work = [
        method("exchange.declare", exchange="mutant.x", type="headers"),
        method("queue.declare", queue="mutant", durable=1),
        method("queue.bind", queue="mutant", exchange="mutant.x", routing_key="k", arguments={"x-match": "all", "n": 1}),
        method("exchange.declare", exchange="mutant.t", type="topic", auto_delete=1),
        method("exchange.bind", destination="mutant.x", source="mutant.t", routing_key="a.*.#"),
        method("confirm.select"),
        *publish(b"first"), *publish(b"x" * 10000), *publish(b"", key="nowhere"),
        method("basic.qos", prefetch_count=3),
        method("basic.get", queue="mutant"),
        method("basic.ack", delivery_tag=1),
        method("basic.consume", queue="mutant", consumer_tag="c"),
        method("basic.nack", delivery_tag=0, multiple=1, requeue=1),
        method("basic.cancel", consumer_tag="c"),
        method("basic.get", queue="mutant", no_ack=1),
        method("basic.recover", requeue=1),
        method("channel.open", 2), method("tx.select", 2),
        method("basic.publish", 2, exchange="mutant.t", routing_key="a.b.c"),
        wire.encode_frame(wire.HEADER_FRAME, 2, wire.encode_header(3)), wire.encode_frame(wire.BODY, 2, b"abc"),
        method("tx.commit", 2), method("tx.rollback", 2), method("channel.close", 2, code=200, text="bye"),
        wire.encode_frame(wire.HEARTBEAT, 0, b""),
        method("queue.purge", queue="mutant"), method("queue.delete", queue="mutant"),
        method("exchange.delete", exchange="mutant.x"),
        method("connection.close", 0, code=200, text="bye"),
    ]
    return opening, work


def mutate(rng, opening, work):
    """A session with something wrong; mostly behind the handshake, where there is more to break."""
    first = 0 if rng.random() < 0.2 else len(opening)
    frames = opening + work
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        i = rng.randrange(first, len(frames))
        f = bytearray(frames[i])
        kind = rng.randrange(10)
        if kind == 0:  # truncated, and nothing more
            return b"".join(frames[:i]) + bytes(f[:rng.randrange(len(f))])
        if kind == 1:  # bits flipped
            for _ in range(rng.randint(1, 4)):
                f[rng.randrange(len(f))] ^= 1 << rng.randrange(8)
        elif kind == 2:  # a length that lies
            at = rng.randrange(len(f))
            f[at:at + 4] = struct.pack(">I", rng.choice((0, 1, 0xffffffff, 0x7fffffff, 0x80000000, 131072, 8193)))
        elif kind == 3:  # another frame type or channel
            f[0:3] = struct.pack(">BH", rng.choice((0, 1, 2, 3, 4, 8, 255)), rng.choice((0, 1, 2, 100, 101, 65535)))
        elif kind == 4:  # octets in between
            at = rng.randrange(len(f))
            f[at:at] = rng.randbytes(rng.randint(1, 40))
        elif kind == 5:  # octets missing
            at = rng.randrange(len(f))
            del f[at:at + rng.randint(1, 8)]
        elif kind == 6:  # out of order
            j = rng.randrange(first, len(frames))
            frames[i], frames[j] = frames[j], frames[i]
            continue
        elif kind == 7:  # twice
            frames.insert(i, bytes(f))
            continue
        elif kind == 8:  # another payload in a sound frame
            payload = rng.randbytes(rng.choice((0, 3, 4, 12, 60, 3000)))
            if rng.random() < 0.7:  # of a method that exists
                payload = struct.pack(">HH", *rng.choice(list(wire.BY_ID))) + payload
            f = bytearray(wire.encode_frame(rng.choice((1, 2, 3, 8)), rng.choice((0, 1)), payload))
        else:  # a method frame with a payload that ends early
            if len(f) > 16:
                f = bytearray(wire.encode_frame(f[0], struct.unpack(">H", f[1:3])[0], bytes(f[7:-rng.randint(2, 8)])))
        frames[i] = bytes(f)
    return b"".join(frames)


def check_answers(data, sent):
    """What the daemon says is well formed up to where it was cut."""
    at = 0
    while len(data) - at >= 8:
        if data[at:at + 4] == b"AMQP":
            assert bytes(data[at:at + 8]) == wire.HEADER
            at += 8
            continue
        kind, _, size = struct.unpack_from(">BHI", data, at)
        assert kind in (1, 2, 3, 8), (kind, sent[:200])
        if len(data) - at < size + 8:
            break
        assert data[at + 7 + size] == wire.END
        if kind == wire.METHOD:
            m = wire.Method(bytes(data[at + 7:at + 7 + size]))
            assert m.name in wire.METHODS, m.name
            if m.name in ("connection.close", "channel.close"):
                assert m.code in wire.CODES and m.code != 541, (m, sent)
                wire.check_close(m, m.code)
        at += size + 8


def run_all(broker, sessions):
    """Each session on its own connection, AT_ONCE of them together; ends when the daemon has closed them all."""
    selector = selectors.DefaultSelector()
    sessions = iter(sessions)
    active = 0
    end = time.monotonic() + 400
    while True:
        while active < AT_ONCE and (data := next(sessions, None)) is not None:
            s = socket.create_connection((broker.host, broker.port), timeout=60)
            s.setblocking(False)
            selector.register(s, selectors.EVENT_READ | selectors.EVENT_WRITE, [data, bytearray(), data])
            active += 1
        if active == 0:
            break
        assert time.monotonic() < end, f"{active} connections were not closed"
        for key, events in selector.select(1):
            s, state = key.fileobj, key.data
            try:
                if events & selectors.EVENT_WRITE:
                    state[0] = state[0][s.send(state[0]):]
                    if not state[0]:
                        s.shutdown(socket.SHUT_WR)
                        selector.modify(s, selectors.EVENT_READ, state)
                got = s.recv(65536) if events & selectors.EVENT_READ else None
            except BlockingIOError:
                continue
            except OSError:
                got = b""
            if got:
                state[1] += got
            elif got == b"":
                check_answers(state[1], state[2])
                selector.unregister(s)
                s.close()
                active -= 1
    selector.close()


def test_good_session_is_good(daemon):
    """The seed of the mutations is accepted to its end, or they would test the first frame only."""
    b = daemon()
    opening, work = good_session()
    w = wire.Wire(b.host, b.port)
    w.send_raw(b"".join(opening + work))
    names = []
    while not names or names[-1] != "connection.close-ok":
        f = w.recv_frame()
        if f.kind == wire.METHOD:
            names.append(wire.Method(f.payload).name)
            assert names[-1] not in ("connection.close", "channel.close"), wire.Method(f.payload)
    assert names.count("basic.ack") >= 1 and "tx.commit-ok" in names and "basic.return" in names
    w.drop()


def test_mutated_sessions(daemon, bystander):
    b = daemon({"handshake_timeout": "20000"})
    someone = bystander(b)
    before = descriptors(b)
    rng = random.Random(SEED)
    print(f"BADINPUT_SEED={SEED} BADINPUT_ROUNDS={ROUNDS}")
    opening, work = good_session()
    run_all(b, (mutate(rng, opening, work) for _ in range(ROUNDS)))
    someone.progress()
    eventually(lambda: descriptors(b) <= before, "the descriptors of the dead connections")


def test_random_octets(daemon, bystander):
    b = daemon({"handshake_timeout": "20000"})
    someone = bystander(b)
    rng = random.Random(SEED)
    opening, _ = good_session()
    start = b"".join(opening)
    run_all(b, (rng.choice((b"", wire.HEADER, start)) + rng.randbytes(rng.randint(1, 5000)) for _ in range(300)))
    someone.progress()


M = wire.METHOD
CASES = {
    "end octet missing": (501, wire.encode_frame(M, 1, wire.encode_method("tx.select"), end=0)),
    "larger than frame_max": (501, struct.pack(">BHI", 3, 1, 1 << 30) + b"x" * 100),
    "method cut short": (501, wire.encode_frame(M, 1, wire.encode_method("queue.declare", queue="q")[:-3])),
    "method unknown": (None, wire.encode_frame(M, 1, b"\0\x32\0\x63")),
    "channel not open": (504, method("basic.get", 7, queue="q")),
    "opened twice": (504, method("channel.open")),
    "header alone": (505, wire.encode_frame(2, 1, wire.encode_header(1))),
    "body alone": (505, wire.encode_frame(3, 1, b"x")),
    "method amid content": (505, method("basic.publish") + method("basic.get", queue="q")),
    "body too long": (None, method("basic.publish") + wire.encode_frame(2, 1, wire.encode_header(1)) +
                      wire.encode_frame(3, 1, b"xy")),
    "body for method": (505, method("basic.publish") + wire.encode_frame(3, 1, b"x")),
    "heartbeat off channel 0": (505, wire.encode_frame(8, 1, b"")),
    "field of unknown type": (502, method("queue.declare", queue="q",
                                          arguments=wire.Raw(b"\0\0\0\x04\x01k\xfe\0"))),
}


@pytest.mark.parametrize("case", CASES)
def test_error_of_the_spec(daemon, bystander, case):
    """The close method names the kind of fault; the others go on."""
    code, data = CASES[case]
    b = daemon()
    someone = bystander(b)
    c = wire.Conn(b.host, b.port)
    c.channel()
    c.send_raw(data)
    m = c.expect(0, "connection.close")
    assert m.code == code or code is None and m.code in (501, 503, 505, 540), m
    wire.check_close(m, m.code)
    c.drop()
    someone.progress(100)
