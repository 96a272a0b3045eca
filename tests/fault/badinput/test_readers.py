"""Peers that do not read: the daemon's memory stays bounded and nobody else waits."""

import select

import wire
from conftest import eventually, memory

MIB = 1 << 20
BOUND = 40 * MIB  # for one peer: output marks, socket buffers, the store's cache, and what a checker adds


def fill(broker, queue, count, size):
    c = wire.Conn(broker.host, broker.port)
    ch = c.channel()
    ch.queue(queue, durable=True)
    ch.confirm()
    for _ in range(count // 50):
        for _ in range(50):
            ch.publish("", queue, b"z" * size, {"delivery_mode": 2})
        ch.wait_confirms(timeout=60)
    return c, ch


def test_consumer_that_does_not_read(daemon, bystander):
    b = daemon({"memory.cache_bytes": "8MiB"})
    someone = bystander(b)
    c, ch = fill(b, "backlog", 2000, 64 * 1024)
    before = memory(b)
    deaf = wire.Conn(b.host, b.port)
    d = deaf.channel()
    d.send("basic.consume", queue="backlog", no_ack=1)

    # Deliveries stop by themselves: the same count while a bystander's 200 messages pass.
    counts = [ch.count("backlog")[0]]

    def settled():
        someone.progress(200)
        counts.append(ch.count("backlog")[0])
        return counts[-1] == counts[-2] < 2000

    eventually(settled, "the deliveries to stop")
    assert counts[-1] > 1500, f"{2000 - counts[-1]} messages of 64 KiB were sent to somebody who does not read"
    assert memory(b) - before < BOUND
    # It gets the rest as soon as it reads.
    d.expect("basic.consume-ok", timeout=60)
    for _ in range(2000):
        assert len(d.expect("basic.deliver", timeout=60).body) == 64 * 1024
    someone.progress(100)
    deaf.close()
    c.close()


def test_requests_without_reading_answers(daemon, bystander):
    b = daemon()
    someone = bystander(b)
    c = wire.Conn(b.host, b.port)
    c.channel().queue("asked", durable=True)
    before = memory(b)
    request = wire.encode_frame(wire.METHOD, 1, wire.encode_method("queue.declare", queue="asked", passive=1))
    c.sock.setblocking(False)
    data, sent = request * 2000, 0
    while True:
        # Stuck: nothing could be sent while a bystander did 200 messages.
        if not select.select([], [c.sock], [], 0.2)[1]:
            someone.progress(200)
            if not select.select([], [c.sock], [], 0)[1]:
                break
        try:
            sent += c.sock.send(data[sent % len(request):])
        except BlockingIOError:
            pass
        assert sent < 256 * MIB, "the daemon takes requests for ever from a peer that reads no answer"
    assert memory(b) - before < BOUND, f"{(memory(b) - before) // MIB} MiB more after {sent // MIB} MiB of requests"
    # Every whole request is answered once it reads.
    answers = 0
    while answers < sent // len(request):
        c.sock.setblocking(True)
        assert wire.Method(c.recv_frame(timeout=60).payload).name == "queue.declare-ok"
        answers += 1
    someone.progress(100)
    c.drop()


def test_returns_without_reading(daemon, bystander):
    """The content of a returned message is output too."""
    b = daemon()
    someone = bystander(b)
    c = wire.Conn(b.host, b.port)
    c.channel()
    before = memory(b)
    body = b"r" * 60000
    data = (wire.encode_frame(wire.METHOD, 1, wire.encode_method("basic.publish", routing_key="nowhere", mandatory=1))
            + wire.encode_frame(wire.HEADER_FRAME, 1, wire.encode_header(len(body)))
            + wire.encode_frame(wire.BODY, 1, body))
    c.sock.setblocking(False)
    sent = 0
    while True:
        if not select.select([], [c.sock], [], 0.2)[1]:
            someone.progress(200)
            if not select.select([], [c.sock], [], 0)[1]:
                break
        try:
            sent += c.sock.send(data[sent % len(data):])
        except BlockingIOError:
            pass
        assert sent < 256 * MIB, "the daemon takes messages for ever from a peer that reads no return"
    assert memory(b) - before < BOUND
    c.drop()
    someone.progress(100)
