#!/usr/bin/python3
"""Crash test of the whole daemon: load at full speed, death at a bad moment, restart, look.

    SLUICED=build/dev/broker/app/sluiced tests/fault/crash/broker_crash.py --rounds 200 --seed 7

A round starts the daemon on the data of the round before, lets publishers (confirms, tx), consumers (single and multiple acks,
nacks with requeue, tx) and a declarer of queues work, and ends it: SIGKILL at a random moment, or at the n-th pass of a fail point
(every store.*, res.*, rec.* and ctl.* point that the sources name, in turn). Sometimes the next start is killed too. Then everything is compared
with a model of what the daemon promised:

  confirmed    a persistent message whose confirm or commit-ok came is in each of its durable queues, once, octet for octet,
               unless a consumer sent an ack for it
  settled      a message whose ack is known to be synced does not come back. An ack is known to be synced when a *later
               confirm on the same channel* came: the channel's frames are handled in order, so the drop was submitted to the
               store before the marker that follows it; the store makes operations durable in the order of submission, and
               a marker goes to a queue without consumers, so it cannot be cancelled in flight and its confirm
               means that it, and all before it, was synced. For a tx channel commit-ok is that sign.
  whole        of a transaction all messages are there or none; none without a commit
  transient    messages with delivery mode 1, transient and exclusive queues and transient exchanges are gone
  order        in each queue the messages of one publishing channel come in publishing order; so do first deliveries while the
               load runs; nothing comes twice without the redelivered flag, and what was recovered carries it
  definitions  what was declared with -ok is there and routes, what was deleted with -ok is not

The same seed gives the same plan of rounds (not the same interleaving: that is the kernel's). Exit status 0: every round was right.
"""

import argparse
import os
import random
import re
import selectors
import signal
import struct
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
TESTS = HERE.parents[1]
sys.path[:0] = [str(TESTS / "support"), str(TESTS / "conformance" / "amqp")]

import broker as support  # noqa: E402
import wire  # noqa: E402

SIZES = (0, 1, 16, 200, 1024, 4000, 16384, 65521, 70000, 102400)
SIZE_WEIGHTS = (4, 4, 20, 20, 20, 8, 4, 1, 1, 1)
BIG_WEIGHTS = (1, 1, 2, 2, 4, 4, 4, 4, 8, 8)
POOL = random.Random(0).randbytes(300000)
ID = re.compile(rb"m(\d+)-(\d+);")
MARKERS = "crash.markers"

NONE, ACK_SENT, GONE = range(3)


class Wrong(AssertionError):
    """The daemon broke a promise."""


class Batch:
    """The messages of one transaction. state: open, committing, committed or rolled back."""

    __slots__ = ("messages", "state")

    def __init__(self):
        self.messages = []
        self.state = "open"


class Message:
    __slots__ = ("key", "header", "body", "persistent", "confirmed", "batch")

    def __init__(self, key, size, persistent, batch=None):
        self.key = key
        at = (key[0] * 7919 + key[1] * 131) % (len(POOL) - 102400)
        self.body = memoryview(POOL)[at:at + size]
        props = {"message_id": f"m{key[0]}-{key[1]};"}
        if persistent or key[1] % 2:
            props["delivery_mode"] = 2 if persistent else 1
        if key[1] % 3 == 0:
            props["headers"] = {"n": key[1], "text": "ä" * (key[1] % 20), "list": [1, None, True]}
        if key[1] % 5 == 0:
            props["correlation_id"] = "c" * (key[1] % 200)
        self.header = wire.encode_header(size, props)
        self.persistent = persistent
        self.confirmed = False
        self.batch = batch

    def must_survive(self):
        return self.persistent and (self.confirmed if self.batch is None else self.batch.state == "committed")

    def may_survive(self):
        return self.persistent and (self.batch is None or self.batch.state in ("committing", "committed"))


class Entry:
    """A message in one queue."""

    __slots__ = ("message", "ack", "delivered", "old")

    def __init__(self, message):
        self.message = message
        self.ack = NONE
        self.delivered = False
        self.old = False  # it has survived a restart


class Queue:
    """What the model knows of a durable queue. state: yes, no, declaring, deleting."""

    def __init__(self, name, state="declaring"):
        self.name = name
        self.state = state
        self.entries = {}
        self.gone = set()  # keys that may never come back
        self.last_first = {}  # publishing channel -> highest sequence delivered for the first time

    def settled(self, key):
        if self.entries.pop(key, None) is not None:
            self.gone.add(key)


class Model:
    def __init__(self):
        self.queues = {}
        self.exchanges = {}  # name -> [state, bound queue or None]; state as of a queue
        self.next_publisher = 0
        self.confirmed = 0
        self.rounds = 0
        self.absent = {}  # of the last look: transaction -> [(queue, entry)] that are not there
        self.present = {}  # transaction -> a key that is

    def publisher(self):
        self.next_publisher += 1
        return self.next_publisher

    def delivered(self, queue, header, body, redelivered, why):
        """A message came out of a queue: is it what was put there? Its entry."""
        found = ID.search(header)
        if not found:
            raise Wrong(f"{why}: {queue.name} delivered a message that nobody sent: {header[:80]!r}")
        key = int(found[1]), int(found[2])
        if key in queue.gone:
            raise Wrong(f"{why}: message {key} of {queue.name} came back although its ack was synced")
        entry = queue.entries.get(key)
        if entry is None:
            raise Wrong(f"{why}: message {key} was never routed to {queue.name}")
        m = entry.message
        if header != m.header:
            raise Wrong(f"{why}: properties of {key} in {queue.name} differ:\n{header!r}\n{m.header!r}")
        if body != m.body:
            raise Wrong(f"{why}: body of {key} in {queue.name} differs ({len(body)} of {len(m.body)} octets)")
        if m.batch is not None and m.batch.state not in ("committing", "committed"):
            raise Wrong(f"{why}: {key} in {queue.name} belongs to a transaction that is {m.batch.state}")
        if not redelivered:
            if entry.old:
                raise Wrong(f"{why}: {key} of {queue.name} survived a crash without the redelivered flag")
            if entry.delivered:
                raise Wrong(f"{why}: {key} of {queue.name} came twice without the redelivered flag")
            if queue.last_first.get(key[0], 0) >= key[1]:
                raise Wrong(f"{why}: {key} of {queue.name} came first after {queue.last_first[key[0]]}")
            queue.last_first[key[0]] = key[1]
        entry.delivered = True
        return entry


# --- the load ---------------------------------------------------------------------------------


class Session:
    """One connection of the load, driven by a selector. Parts (publisher, consumer, ...) own a channel each."""

    def __init__(self, broker, frame_max=None):
        self.conn = wire.Conn(broker.host, broker.port, frame_max=frame_max)
        self.limit = self.conn.frame_max - 8
        self.parts = {}
        self.out = bytearray()
        self.open = True
        self.content = {}

    def add(self, part):
        self.parts[part.number] = part

    def run(self):
        """The channels are set up: from here on nothing blocks."""
        self.sock = self.conn.sock
        self.sock.setblocking(False)
        self.data = self.conn.data

    def method(self, channel, name, **fields):
        self.out += wire.encode_frame(wire.METHOD, channel, wire.encode_method(name, **fields))

    def publish(self, channel, exchange, key, message):
        self.method(channel, "basic.publish", exchange=exchange, routing_key=key, mandatory=0)
        self.out += wire.encode_frame(wire.HEADER_FRAME, channel, message.header)
        for at in range(0, len(message.body), self.limit):
            self.out += wire.encode_frame(wire.BODY, channel, bytes(message.body[at:at + self.limit]))

    def write(self):
        if not self.open or not self.out:
            return
        try:
            del self.out[:self.sock.send(memoryview(self.out)[:262144].tobytes())]
        except BlockingIOError:
            pass
        except OSError:
            self.out.clear()  # it died; what it said before is still to be read

    def read(self):
        """What has come. False at the end of the stream."""
        try:
            got = self.sock.recv(262144)
        except BlockingIOError:
            return True
        except OSError:
            got = b""
        if not got:
            self.open = False
            return False
        self.data += got
        self.frames()
        return True

    def frames(self):
        data, at, size = self.data, 0, len(self.data)
        while size - at >= 8:
            kind, channel, length = struct.unpack_from(">BHI", data, at)
            if size - at < length + 8:
                break
            payload = bytes(data[at + 7:at + 7 + length])
            if data[at + 7 + length] != wire.END:
                raise Wrong("a frame without its end octet")
            at += length + 8
            self.frame(kind, channel, payload)
        del data[:at]

    def frame(self, kind, channel, payload):
        if channel == 0:
            if kind == wire.METHOD and payload[:4] not in (b"\0\x0a\0\x3c", b"\0\x0a\0\x3d"):
                raise Wrong(f"on channel 0: {wire.Method(payload)}")
            return
        part = self.parts[channel]
        if kind == wire.METHOD:
            if payload[:4] == b"\0\x3c\0\x3c":
                self.content[channel] = [payload, None, b"", 0]
                self.finish(channel)
            elif payload[:4] == b"\0\x3c\0\x50":
                tag, multiple = struct.unpack_from(">QB", payload, 4)
                part.confirm(tag, multiple & 1)
            else:
                part.answer(wire.Method(payload))
        elif kind == wire.HEADER_FRAME:
            c = self.content[channel]
            c[1], c[3] = payload, struct.unpack_from(">Q", payload, 4)[0]
            self.finish(channel)
        elif kind == wire.BODY:
            self.content[channel][2] += payload
            self.finish(channel)

    def finish(self, channel):
        method, header, body, size = self.content[channel]
        if header is not None and len(body) >= size:
            del self.content[channel]
            n = 5 + method[4]
            tag, redelivered = struct.unpack_from(">QB", method, n)
            self.parts[channel].deliver(tag, redelivered & 1, header, body)


class Part:
    """One channel with a job."""

    def __init__(self, session, model, rng, mode=None):
        self.session, self.model, self.rng = session, model, rng
        self.channel = session.conn.channel()
        self.number = self.channel.number
        self.unconfirmed = {}
        self.next_tag = 1
        self.lowest = 1
        if mode:
            self.channel.call(f"{mode}.select")
        session.add(self)

    def send(self, exchange, key, message, queues):
        for queue in queues:
            queue.entries[message.key] = Entry(message)
        self.session.publish(self.number, exchange, key, message)

    def send_confirmed(self, exchange, key, message, queues):
        self.send(exchange, key, message, queues)
        self.unconfirmed[self.next_tag] = message
        self.next_tag += 1

    def confirm(self, tag, multiple):
        first = self.lowest if multiple else tag
        for n in range(first, tag + 1):
            message = self.unconfirmed.pop(n, None)
            if message is not None:
                message.confirmed = True
                self.model.confirmed += 1
                self.was_confirmed(message)
            elif not multiple:
                raise Wrong(f"confirm of {n}, which is not open")
        if multiple:
            self.lowest = tag + 1

    def was_confirmed(self, message):
        pass

    def answer(self, method):
        raise Wrong(f"unexpected on channel {self.number}: {method}")

    def deliver(self, *_):
        raise Wrong(f"a delivery on channel {self.number}, which has no consumer")

    def pump(self):
        """Send more, if there is something to do."""


class Publisher(Part):
    """Confirms with a window. routes: (exchange, key, queues)."""

    def __init__(self, session, model, rng, routes, window, transient=0.1, weights=SIZE_WEIGHTS):
        super().__init__(session, model, rng, "confirm")
        self.routes, self.window, self.transient, self.weights = routes, window, transient, weights
        self.id = model.publisher()
        self.seq = 0

    def pump(self):
        while len(self.unconfirmed) < self.window and len(self.session.out) < 200000:
            self.seq += 1
            size = self.rng.choices(SIZES, self.weights)[0]
            m = Message((self.id, self.seq), size, self.rng.random() >= self.transient)
            exchange, key, queues = self.rng.choice(self.routes)
            self.send_confirmed(exchange, key, m, queues)


class TxPublisher(Part):
    """Transactions, some rolled back, one at a time."""

    def __init__(self, session, model, rng, routes):
        super().__init__(session, model, rng, "tx")
        self.routes = routes
        self.id = model.publisher()
        self.seq = 0
        self.batch = None

    def pump(self):
        if self.batch is not None:
            return
        self.batch = Batch()
        for _ in range(self.rng.randint(1, 20)):
            self.seq += 1
            m = Message((self.id, self.seq), self.rng.choices(SIZES, SIZE_WEIGHTS)[0], True, self.batch)
            self.batch.messages.append(m)
            exchange, key, queues = self.rng.choice(self.routes)
            self.send(exchange, key, m, queues)
        if self.rng.random() < 0.15:
            self.batch.state = "rolled back"
            self.session.method(self.number, "tx.rollback")
        else:
            self.batch.state = "committing"
            self.session.method(self.number, "tx.commit")

    def answer(self, method):
        if method.name == "tx.commit-ok":
            self.batch.state = "committed"
            self.model.confirmed += len(self.batch.messages)
        elif method.name != "tx.rollback-ok":
            super().answer(method)
        self.batch = None


class Consumer(Part):
    """Acks on a channel in confirm mode; a marker after them tells when they are synced. how: single, multiple or nack."""

    def __init__(self, session, model, rng, queue, how, prefetch):
        super().__init__(session, model, rng, "tx" if how == "tx" else "confirm")
        self.queue, self.how = queue, how
        self.id = model.publisher()
        self.seq = 0
        self.held = {}  # delivery tag -> key
        self.acked = []  # keys acked since the last marker
        self.behind = {}  # marker's sequence -> keys
        self.committing = None
        self.channel.call("basic.qos", prefetch_count=prefetch)
        self.prefetch = prefetch
        self.session.method(self.number, "basic.consume", queue=queue.name, consumer_tag="c", no_ack=0)

    def answer(self, method):
        if method.name == "tx.commit-ok" and self.committing is not None:
            for key in self.committing:
                self.queue.settled(key)
            self.committing = None
        elif method.name != "basic.consume-ok":
            super().answer(method)

    def deliver(self, tag, redelivered, header, body):
        entry = self.model.delivered(self.queue, header, body, redelivered, "under load")
        if entry.ack != NONE:
            raise Wrong(f"{entry.message.key} of {self.queue.name} was delivered again after its ack")
        self.held[tag] = entry
        if len(self.held) > self.prefetch:
            raise Wrong(f"{len(self.held)} deliveries unacknowledged on {self.queue.name}, prefetch {self.prefetch}")
        if self.how == "multiple" or self.how == "tx":
            if len(self.held) >= self.prefetch // 2 and self.rng.random() < 0.5:
                self.ack_all(tag)
        elif self.how == "nack" and self.rng.random() < 0.2:
            multiple = self.rng.random() < 0.3
            for t in [t for t in self.held if t == tag or multiple]:
                del self.held[t]
            self.session.method(self.number, "basic.nack", delivery_tag=tag, multiple=multiple, requeue=1)
        else:
            del self.held[tag]
            entry.ack = ACK_SENT
            self.acked.append(entry.message.key)
            self.session.method(self.number, "basic.ack", delivery_tag=tag)

    def ack_all(self, tag):
        for entry in self.held.values():
            entry.ack = ACK_SENT
            self.acked.append(entry.message.key)
        self.held.clear()
        self.session.method(self.number, "basic.ack", delivery_tag=tag, multiple=1)

    def pump(self):
        if self.held and self.how in ("multiple", "tx"):
            self.ack_all(max(self.held))
        if not self.acked:
            return
        if self.how == "tx":
            if self.committing is None:
                self.committing, self.acked = self.acked, []
                self.session.method(self.number, "tx.commit")
        elif len(self.behind) < 8:
            self.seq += 1
            m = Message((self.id, self.seq), 16, True)
            self.behind[self.seq], self.acked = self.acked, []
            self.send_confirmed("", MARKERS, m, [self.model.queues[MARKERS]])

    def was_confirmed(self, message):
        for key in self.behind.pop(message.key[1]):
            self.queue.settled(key)


class Declarer(Part):
    """Declares durable queues and exchanges, binds, publishes, deletes; one request at a time."""

    def __init__(self, session, model, rng, number):
        super().__init__(session, model, rng, "confirm")
        self.id = model.publisher()
        self.seq = 0
        self.steps = self.script(number)
        self.waiting = None

    def ask(self, name, **fields):
        self.waiting = name + "-ok"
        self.session.method(self.number, name, **fields)
        return self.waiting

    def script(self, number):
        """Yields after each request; goes on when its answer is there."""
        model, n = self.model, 0
        while True:
            n += 1
            name, exchange = f"crash.q.{number}.{n}", f"crash.x.{number}.{n}"
            queue = model.queues[name] = Queue(name)
            yield self.ask("queue.declare", queue=name, durable=1)
            queue.state = "yes"
            e = model.exchanges[exchange] = ["declaring", None]
            yield self.ask("exchange.declare", exchange=exchange, type="direct", durable=1)
            e[0] = "yes"
            yield self.ask("queue.bind", queue=name, exchange=exchange, routing_key="k")
            e[1] = name
            for _ in range(2):
                self.seq += 1
                m = Message((self.id, self.seq), self.rng.choice(SIZES[:6]), True)
                self.send_confirmed(exchange, "k", m, [queue])
            victims = [(q, model.queues[q]) for q in list(model.queues)
                       if q.startswith("crash.q.") and model.queues[q].state == "yes"]
            if len(victims) > 3:
                victim, q = self.rng.choice(victims)
                x = victim.replace(".q.", ".x.")
                if self.rng.random() < 0.5 and model.exchanges.get(x, ("no",))[0] == "yes":
                    model.exchanges[x][0] = "deleting"
                    yield self.ask("exchange.delete", exchange=x)
                    model.exchanges[x][0] = "no"
                q.state = "deleting"
                if x in model.exchanges:
                    model.exchanges[x][1] = None
                yield self.ask("queue.delete", queue=victim)
                q.state = "no"
                q.entries.clear()

    def answer(self, method):
        if method.name != self.waiting:
            super().answer(method)
        self.waiting = None

    def pump(self):
        if self.waiting is None:
            next(self.steps)


# --- a round ----------------------------------------------------------------------------------

WORK = [f"crash.work.{i}" for i in range(5)]


def set_up(broker, model):
    """The queues that live through all rounds; and, every time, transient ones that must not."""
    c = wire.Conn(broker.host, broker.port)
    ch = c.channel()
    ch.exchange("crash.fan", "fanout", durable=True)
    ch.exchange("crash.topic", "topic", durable=True)
    ch.exchange("crash.passing", "direct")
    ch.queue("crash.transient")
    for name in WORK + [MARKERS]:
        ch.queue(name, durable=True)
        model.queues.setdefault(name, Queue(name)).state = "yes"
    for name in (*WORK[1:], "crash.transient"):
        ch.bind(name, "crash.fan")
    ch.bind(WORK[0], "crash.topic", "a.#")
    ch.bind(WORK[3], "crash.topic", "a.*.c")
    ch.bind(WORK[3], "crash.passing", "k")
    c.close()


def load(broker, model, rng, number):
    """Sessions at work. The exclusive queue lives on the first connection."""
    q = [model.queues[n] for n in WORK]
    fan = ("crash.fan", "", q[1:])
    topic = ("crash.topic", "a.b.c", [q[0], q[3]])
    default = [("", x.name, [x]) for x in q]
    one, two, three, four = (Session(broker), Session(broker, frame_max=4096), Session(broker), Session(broker))
    sessions = [one, two, three, four]
    r = lambda: random.Random(rng.random())  # noqa: E731
    Publisher(one, model, r(), default[:1], 500)
    Publisher(one, model, r(), [fan, topic, *default], 100, transient=0.2)
    Publisher(two, model, r(), [fan, default[3]], 50, weights=BIG_WEIGHTS)
    Publisher(two, model, r(), [("", "crash.transient", []), default[1]], 1)
    TxPublisher(three, model, r(), [("", WORK[4], [q[4]]), topic, fan])
    Consumer(four, model, r(), q[0], "single", 200)
    Consumer(four, model, r(), q[1], "multiple", 100)
    Consumer(three, model, r(), q[2], "nack", 50)
    five = Session(broker)
    Consumer(five, model, r(), q[4], "tx", 60)
    Declarer(five, model, r(), number)
    five.conn.channel(99).queue(f"crash.exclusive.{number}", durable=True, exclusive=True)
    sessions.append(five)
    for s in sessions:
        s.run()
    return sessions


def drive(broker, sessions, seconds):
    """Work until the time is over or the daemon has died, then hear its last words."""
    selector = selectors.DefaultSelector()
    for s in sessions:
        selector.register(s.sock, selectors.EVENT_READ | selectors.EVENT_WRITE, s)
    end = time.monotonic() + seconds
    while time.monotonic() < end and broker.proc.poll() is None:
        for key, events in selector.select(0.02):
            s = key.data
            if events & selectors.EVENT_READ and not s.read():
                selector.unregister(s.sock)
                continue
            for part in s.parts.values():
                if len(s.out) < 400000:
                    part.pump()
            s.write()
            wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if s.out else 0)
            if key.events != wanted:
                selector.modify(s.sock, wanted, s)
    if broker.proc.poll() is None:
        os.kill(broker.proc.pid, signal.SIGKILL)
    status = broker.proc.wait(60)
    for s in sessions:
        if s.open:
            s.sock.setblocking(True)
            s.sock.settimeout(10)
            while s.read():
                pass
        s.sock.close()
    selector.close()
    return status


def look(broker, model, rng):
    """Compare what is there with what was promised, and take it out or leave it there."""
    c = wire.Conn(broker.host, broker.port, timeout=60)
    ch = c.channel()
    for name in ("crash.transient", f"crash.exclusive.{model.rounds - 1}"):
        ch.refused(404, None, "queue.declare", queue=name, passive=1)
    ch.refused(404, None, "exchange.declare", exchange="crash.passing", passive=1)
    total = 0
    for name in list(model.queues):
        total += look_queue(c, ch, model, model.queues[name], rng)
    look_exchanges(ch, model)
    look_batches(model)
    c.close()
    return total


def passive(ch, what, name):
    """The -ok of a passive declare, or None when there is no such thing."""
    ch.send(f"{what}.declare", **{what: name}, passive=1)
    m = ch.expect(f"{what}.declare-ok", "channel.close", timeout=60)
    if m.name == "channel.close":
        wire.check_close(m, 404)
        ch.send("channel.close-ok")
        ch.open()
        return None
    return m


def look_queue(c, ch, model, queue, rng):
    ok = passive(ch, "queue", queue.name)
    if ok is None:
        if queue.state == "yes":
            raise Wrong(f"queue {queue.name} was declared and is gone")
        del model.queues[queue.name]
        return 0
    if queue.state == "no":
        raise Wrong(f"queue {queue.name} was deleted and is back")
    doubtful = queue.state == "deleting"  # its delete was under way: messages may have been dropped
    queue.state = "yes"
    reader = c.channel()
    reader.consume(queue.name)
    seen, last, tag = set(), {}, 0
    for _ in range(ok.message_count):
        m = reader.expect("basic.deliver", timeout=60)
        tag = m.delivery_tag
        entry = model.delivered(queue, m.header, m.body, m.redelivered, "after the restart")
        key = entry.message.key
        if key in seen:
            raise Wrong(f"{key} is twice in {queue.name}")
        if not entry.message.may_survive():
            raise Wrong(f"{key} in {queue.name} is transient and survived")
        if last.get(key[0], 0) >= key[1]:
            raise Wrong(f"{queue.name}: {key} stands behind {last[key[0]]} of the same publisher")
        last[key[0]] = key[1]
        seen.add(key)
    reader.barrier()  # nothing more than the count said
    lost = [k for k, e in queue.entries.items()
            if e.message.must_survive() and e.ack == NONE and k not in seen and not doubtful]
    if lost:
        raise Wrong(f"{len(lost)} confirmed messages of {queue.name} are missing, such as {sorted(lost)[:8]}; "
                    f"{len(seen)} are there")
    for key in [k for k in queue.entries if k not in seen]:
        # It is not there now, so it may not be there later.
        if queue.entries[key].message.batch is not None:
            model.absent.setdefault(queue.entries[key].message.batch, []).append((queue, queue.entries[key]))
        queue.settled(key)
    for key in seen:
        e = queue.entries[key]
        e.old, e.ack = True, NONE
        if e.message.batch is None:
            e.message.confirmed = True
        else:
            model.present.setdefault(e.message.batch, key)
    queue.last_first.clear()
    if seen and (rng.random() < 0.75 or queue.name == MARKERS):
        reader.send("basic.ack", delivery_tag=tag, multiple=1)
        reader.confirm()
        m = Message((model.publisher(), 1), 0, True)
        sink = model.queues[MARKERS]
        sink.entries[m.key] = Entry(m)
        reader.send("basic.publish", routing_key=MARKERS)
        c.send_raw(wire.encode_frame(wire.HEADER_FRAME, reader.number, m.header))
        while reader.expect("basic.ack", "basic.deliver", timeout=60).name != "basic.ack":
            pass  # the marker's own queue delivers it
        m.confirmed = True
        for key in seen:
            queue.settled(key)
    reader.close()
    return len(seen)


def look_exchanges(ch, model):
    for name, e in list(model.exchanges.items()):
        there = passive(ch, "exchange", name) is not None
        if e[0] == "yes" and not there:
            raise Wrong(f"exchange {name} was declared and is gone")
        if e[0] == "no" and there:
            raise Wrong(f"exchange {name} was deleted and is back")
        if not there:
            del model.exchanges[name]
            continue
        sure = e[0] == "yes"
        e[0] = "yes"
        if sure and e[1] in model.queues:
            # A binding that was confirmed routes: a transient message must not be returned.
            m = Message((model.publisher(), 1), 0, False)
            model.queues[e[1]].entries[m.key] = Entry(m)
            ch.send("basic.publish", exchange=name, routing_key="k", mandatory=1)
            ch.conn.send_frame(wire.HEADER_FRAME, ch.number, m.header)
            ch.barrier()


def look_batches(model):
    """All or nothing: no transaction is partly there. What a consumer acked does not count."""
    for batch, missing in model.absent.items():
        if batch in model.present:
            for queue, entry in missing:
                if entry.ack == NONE and queue.state == "yes":
                    raise Wrong(f"a transaction is torn: {entry.message.key} is not in {queue.name}, "
                                f"{model.present[batch]} of the same transaction survived")
        batch.state = "committed" if batch in model.present else "rolled back"
    for batch in model.present:
        batch.state = "committed"


def fail_points():
    """Every fail point that the sources pass."""
    found = set()
    for folder in ("storage", "broker"):
        for path in (TESTS.parent / folder).rglob("*.c"):
            found.update(re.findall(r'SLC_FAILPOINT\(\s*"([a-z_.]+)"', path.read_text()))
    if not found:
        raise SystemExit("broker_crash: no fail point found beside me in storage/ and broker/")
    return sorted(found)


PASSES = {"store": 150, "res": 12, "ctl": 30, "rec": 40, "mig": 10}


def plans(rng, points):
    """Endless: (plan or None, what may end the daemon). Fail points in turn, SIGKILL between them."""
    turn = []
    while True:
        yield None
        if not turn:
            turn = list(points)
            rng.shuffle(turn)
        point = turn.pop()
        n = rng.randint(1, PASSES.get(point.split(".")[0], 20))
        if point in ("store.enospc", "store.mapfull"):
            yield f"{point}=error:ENOSPC@{n}+"
        elif point == "store.eio":
            yield f"{point}=error:EIO@{n}"
        elif point == "res.part" and rng.random() < 0.5:
            yield f"{point}=error:EIO@{n}"
        elif point == "store.txn.mid_put" and rng.random() < 0.5:
            yield f"{point}=half@{n}"
        elif point == "store.notify.before" and rng.random() < 0.5:
            yield f"{point}=delay:15"
        else:
            yield f"{point}=crash@{n}"


class Crash:
    def __init__(self, seed, use_points, config):
        self.rng = random.Random(seed)
        self.model = Model()
        self.broker = support.new(config, kind="sluice")
        self.points = fail_points() if use_points else []
        self.plans = plans(self.rng, self.points) if self.points else None
        self.hit = {}
        self.messages = 0

    def start(self, plan):
        """True when it serves, False when the plan ended it before that."""
        os.environ.pop("SLC_FAILPOINT", None)
        if plan:
            os.environ["SLC_FAILPOINT"] = plan
        try:
            self.broker.start()
            return True
        except support.BrokerError:
            status = self.broker.proc.returncode if self.broker.proc else -signal.SIGKILL
            self.check_status(plan, status)
            if not plan:
                raise
            return False
        finally:
            os.environ.pop("SLC_FAILPOINT", None)

    def check_status(self, plan, status):
        allowed = {-signal.SIGKILL}
        if plan and "error:" in plan:
            allowed |= {73, 74}
        if status not in allowed:
            raise Wrong(f"the daemon ended with status {status} under plan {plan}")

    def count(self, plan, died):
        if plan and ("crash" in plan or "half" in plan or "EIO" in plan):
            name = plan.split("=")[0]
            passed, hits = self.hit.get(name, (0, 0))
            self.hit[name] = passed + 1, hits + died

    def round(self, number):
        rng, model = self.rng, self.model
        plan = next(self.plans) if self.plans else None
        seconds = rng.uniform(0.02, 0.9)
        if plan and not plan.endswith("+") and "delay" not in plan:
            seconds = 3.0  # the fail point comes first, if it comes at all
        status = -signal.SIGKILL
        before = model.confirmed
        try_recovery = plan is not None and plan.startswith("rec.")
        died = False
        if self.start(plan):
            began = time.monotonic()
            try:
                set_up(self.broker, model)
                sessions = load(self.broker, model, rng, number)
            except (OSError, wire.Closed):
                if not plan:
                    raise
                status = self.broker.proc.wait(60)
            else:
                status = drive(self.broker, sessions, seconds)
            died = status != -signal.SIGKILL or time.monotonic() - began < seconds
            self.check_status(plan, status)
        else:
            died = True
        self.broker.kill()
        self.count(plan, died)
        extra = ""
        if rng.random() < 0.25 and self.points and not try_recovery:
            point = f"rec.scan.mid=crash@{rng.randint(1, 30)}"
            started = self.start(point)
            self.broker.kill()
            self.count(point, not started)
            extra = ", again in recovery" if not started else ", again after recovery"
        model.rounds = number + 1
        model.absent, model.present = {}, {}
        self.start(None)
        found = look(self.broker, model, rng)
        self.broker.kill()
        self.messages += model.confirmed - before
        print(f"round {number + 1}: {plan or f'kill after {seconds:.2f} s'}{extra}: "
              f"{model.confirmed - before} confirmed, {found} found", flush=True)


def main(argv):
    parser = argparse.ArgumentParser(description="crash test of the daemon; see the head of the file")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--seed", type=int, default=None, help="default: of the clock; it is printed")
    parser.add_argument("--no-failpoints", action="store_true", help="SIGKILL only: for a release build")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="configuration of the daemon")
    options = parser.parse_args(argv)
    seed = options.seed if options.seed is not None else int(time.time() * 1000) % 1000000
    print(f"broker_crash: --rounds {options.rounds} --seed {seed}", flush=True)
    config = {"disk_free_limit.absolute": "64MiB", **dict(s.split("=", 1) for s in options.set)}
    crash = Crash(seed, not options.no_failpoints, config)
    failed = True
    done = 0
    try:
        for done in range(options.rounds):
            crash.round(done)
        failed = False
    except (Wrong, wire.WireError, support.BrokerError) as e:
        print(f"broker_crash: round {done + 1} failed: {type(e).__name__}: {e}\n"
              f"broker_crash: again with --rounds {options.rounds} --seed {seed}", flush=True)
        if os.environ.get("CRASH_KEEP"):
            print(f"broker_crash: the data stay in {crash.broker.data}", flush=True)
            crash.broker.kill()
            return 1
    finally:
        if not os.environ.get("CRASH_KEEP") or not failed:
            crash.broker.close(failed=failed)
    for name, (tried, hit) in sorted(crash.hit.items()):
        print(f"  {name}: planned {tried}, reached {hit}")
    if not failed:
        print(f"broker_crash: {options.rounds} rounds passed, {crash.messages} confirmed messages")
    return int(failed)


if __name__ == "__main__":
    # `timeout` and CTest end a run with SIGTERM: the daemon must end with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main(sys.argv[1:]))
