#!/usr/bin/python3
"""A disk that is full again and again: publishers fill it, consumers empty it, and nothing that was confirmed is lost.

    SLUICED=build/dev/broker/app/sluiced tests/fault/diskfull/disk_full.py --rounds 50

The daemon's data are on a small file system of their own: ext4 in a file, mounted as a loop device; or, where that is not possible,
tmpfs. disk_free_limit is 0, so that it is the writes that fail. A round:

  fill      publishers, a queue each, send persistent messages of many sizes until connection.blocked reaches every one of them, in
            the middle of a message where it happens so. The reason has to begin with "low on disk".
  consume   a connection that opens only now takes messages and acks them, until connection.unblocked has come and all that was sent
            is confirmed: publishing goes on by itself.
  compare   every message that was ever sent comes, once, in order, octet for octet. Some stay for the next round.

The daemon is never restarted between rounds. At the end it is killed while the disk is full, starts on the full disk, and everything
confirmed has to come out.

Exit status 0: all of that held. 77: a file system cannot be mounted here (it needs root).
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

TESTS = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TESTS / "support"), str(TESTS / "conformance" / "amqp")]

import broker as support  # noqa: E402
import wire  # noqa: E402

MIB = 1 << 20
PATIENCE = 60.0
SKIP = 77
WINDOW = 48  # messages of a publisher that wait for their confirms
SIZES = (0, 100, 100, 1000, 1000, 1000, 4000, 16000, 16400, 70000, 300000)
POOL = random.Random(0).randbytes(400000)
REPORTS = ("AddressSanitizer", "LeakSanitizer", "ThreadSanitizer", "runtime error:", "Assertion")


class Wrong(AssertionError):
    """The daemon broke a promise."""


class CannotMount(Exception):
    """No file system can be mounted here."""


class SmallDisk:
    """A file system of so many MiB for the time of a `with`."""

    def __init__(self, size, kind):
        self.size, self.kind = size, kind
        self.dir = Path(tempfile.mkdtemp(prefix="sluice-full-"))
        self.root = self.dir / "disk"
        self.mounted = False

    def __enter__(self):
        kinds = ("ext4", "tmpfs") if self.kind == "any" else (self.kind,)
        problems = []
        try:
            self.root.mkdir()
            for kind in kinds:
                try:
                    getattr(self, f"_{kind}")()
                    self.kind, self.mounted = kind, True
                    return self
                except (subprocess.CalledProcessError, OSError) as e:
                    problems.append(f"{kind}: {(getattr(e, 'stderr', None) or str(e)).strip()}")
            raise CannotMount("; ".join(problems))
        except BaseException:
            self.__exit__()
            raise

    def _run(self, *command):
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)

    def _ext4(self):
        image = self.dir / "image"
        with open(image, "wb") as f:
            f.truncate(self.size * MIB)
        self._run("mkfs.ext4", "-q", "-F", "-m", "0", str(image))
        self._run("mount", "-o", "loop", str(image), str(self.root))

    def _tmpfs(self):
        self._run("mount", "-t", "tmpfs", "-o", f"size={self.size}m", "tmpfs", str(self.root))

    def __exit__(self, *_):
        if self.mounted or os.path.ismount(self.root):
            # Lazily when somebody still holds a file there: it is gone when he is.
            if subprocess.run(["umount", str(self.root)], capture_output=True, check=False).returncode != 0:
                subprocess.run(["umount", "-l", str(self.root)], check=True)
            self.mounted = False
        shutil.rmtree(self.dir, ignore_errors=True)


class Publisher:
    """One connection, one queue. Sends without waiting for anything but room in the socket and in its window."""

    def __init__(self, broker, number):
        self.queue = f"full.{number}"
        self.number = number
        self.sent = self.taken = 0
        self.bytes = 0
        self.confirmed = set()
        self.pending = b""
        self.blocked = False
        self.times_blocked = 0
        self.conn = wire.Conn(broker.host, broker.port, timeout=PATIENCE)
        self.channel = self.conn.channel()
        self.channel.queue(self.queue, durable=True)
        self.channel.confirm()
        self.lowest = 1

    def body(self, n):
        mark = b"%d:%010d;" % (self.number, n)
        dice = zlib.crc32(mark)
        size = SIZES[dice % len(SIZES)]
        at = (dice >> 8) % (len(POOL) - size)
        return mark + POOL[at:at + size]

    def message(self):
        self.sent += 1
        body = self.body(self.sent)
        self.bytes += len(body)
        limit = 131072 - 8
        return b"".join([
            wire.encode_frame(wire.METHOD, 1, wire.encode_method("basic.publish", routing_key=self.queue)),
            wire.encode_frame(wire.HEADER_FRAME, 1, wire.encode_header(len(body), {"delivery_mode": 2})),
            *(wire.encode_frame(wire.BODY, 1, body[i:i + limit]) for i in range(0, len(body), limit))])

    def hear(self, timeout=0.0005):
        """Take what has come for us."""
        try:
            while True:
                self.conn.read_one(timeout)
        except wire.Timeout:
            pass
        for m in self.conn.inbox.pop(0, []):
            if m.name == "connection.blocked" and m.reason.startswith("low on disk") and not self.blocked:
                self.blocked = True
                self.times_blocked += 1
            elif m.name == "connection.unblocked" and self.blocked:
                self.blocked = False
            else:
                raise Wrong(f"{self.queue}: unexpected {m!r}, blocked: {self.blocked}")
        for m in self.conn.inbox.pop(1, []):
            if m.name != "basic.ack" or m.delivery_tag > self.sent:
                raise Wrong(f"{self.queue}: {m!r} instead of a confirm")
            self.confirmed.update(range(self.lowest if m.multiple else m.delivery_tag, m.delivery_tag + 1))
            if m.multiple:
                self.lowest = max(self.lowest, m.delivery_tag + 1)

    def push(self, more=True, window=WINDOW):
        """Send what goes into the socket of the message that was begun, or of a new one."""
        if not self.pending and more and self.sent - len(self.confirmed) < window:
            self.pending = self.message()
        if self.pending:
            self.conn.sock.setblocking(False)
            try:
                self.pending = self.pending[self.conn.sock.send(self.pending):]
            except BlockingIOError:
                pass

    def done(self):
        return not self.pending and not self.blocked and len(self.confirmed) == self.sent


class Consumer:
    """Takes from all queues and compares with what was sent."""

    def __init__(self, broker, publishers, crashed=False):
        self.crashed = crashed  # what was acked last may come again, what was not confirmed may be missing
        self.publishers = {p.queue: p for p in publishers}
        self.conn = wire.Conn(broker.host, broker.port, timeout=PATIENCE)
        self.channel = self.conn.channel()
        self.channel.call("basic.qos", prefetch_count=20)
        for p in publishers:
            self.channel.consume(p.queue, tag=p.queue)
        self.cancelled = set()

    def cancel(self, p):
        """Leave the rest of a queue there. What is on its way to us goes back when we close."""
        if p.queue not in self.cancelled:
            self.cancelled.add(p.queue)
            self.channel.send("basic.cancel", consumer_tag=p.queue, nowait=True)

    def take(self, timeout):
        """One message from one queue. False when none comes."""
        try:
            m = self.channel.recv(timeout=timeout)
        except wire.Timeout:
            return False
        if m.name != "basic.deliver":
            raise Wrong(f"{m!r} instead of a delivery")
        p = self.publishers[m.consumer_tag]
        if p.queue in self.cancelled:
            return True
        n = int(m.body[2:12])
        if m.body != p.body(n):
            raise Wrong(f"{p.queue}: message {n} is not what was sent")
        again = self.crashed and m.redelivered and n <= p.taken
        gap = self.crashed and n > p.taken and p.confirmed.isdisjoint(range(p.taken + 1, n))
        if n != p.taken + 1 and not again and not gap:
            raise Wrong(f"{p.queue}: message {n} came after {p.taken}; {len(p.confirmed)} of {p.sent} are confirmed")
        p.taken = max(n, p.taken)
        self.channel.send("basic.ack", delivery_tag=m.delivery_tag, multiple=False)
        return True


def fill(disk, publishers):
    """Publish until everybody is told to stop."""
    end = time.monotonic() + PATIENCE
    before = sum(p.bytes for p in publishers)
    while not all(p.blocked for p in publishers):
        for p in publishers:
            p.hear()
            if not p.blocked:  # who has filled its window is told with its next message only
                p.push(window=2 * WINDOW if any(other.blocked for other in publishers) else WINDOW)
        if sum(p.bytes for p in publishers) - before > 3 * disk.size * MIB:
            raise Wrong(f"nobody was blocked by a disk of {disk.size} MiB")
        if time.monotonic() > end:
            raise Wrong("not blocked in time: " + ", ".join(f"{p.queue} {p.blocked}" for p in publishers))


def consume(broker, publishers, keep):
    """With the disk full: take until publishers are unblocked and everything is confirmed, then all but `keep` of each queue."""
    consumer = Consumer(broker, publishers)
    end = time.monotonic() + PATIENCE
    blocked_at_first = None
    while not all(p.done() for p in publishers) or any(p.taken < p.sent - keep for p in publishers):
        if consumer.take(0.002):
            end = time.monotonic() + PATIENCE
            blocked_at_first = blocked_at_first or [p.blocked for p in publishers]
        for p in publishers:
            p.hear()
            p.push(more=False)
        if all(p.done() for p in publishers):
            for p in publishers:
                if p.taken >= p.sent - keep:
                    consumer.cancel(p)
        if time.monotonic() > end:
            raise Wrong("it does not go on: " + ", ".join(
                f"{p.queue}: sent {p.sent}, confirmed {len(p.confirmed)}, taken {p.taken}, blocked {p.blocked}"
                for p in publishers))
        if not broker.running():
            raise Wrong("the daemon ended")
    if not blocked_at_first or not all(blocked_at_first):
        raise Wrong("it was over before a message was taken")
    consumer.conn.close()


def killed_when_full(disk, broker, publishers):
    """kill -9 with a full disk, start on it, take out all that was confirmed."""
    fill(disk, publishers)
    for p in publishers:
        p.hear(0.01)
    broker.kill()
    for p in publishers:
        p.conn.drop()
    broker.start()
    consumer = Consumer(broker, publishers, crashed=True)
    while any(p.taken < max(p.confirmed) for p in publishers):
        if not consumer.take(PATIENCE):
            raise Wrong("after the crash there is nothing more: " + ", ".join(
                f"{p.queue}: taken {p.taken}, confirmed up to {max(p.confirmed)}" for p in publishers))
    consumer.conn.close()


def run(disk, options, rng):
    broker = support.new({"disk_free_limit.absolute": "0", "store.map_size": "1GiB",
                          **dict(s.split("=", 1) for s in options.set)}, kind="sluice")
    failed = True
    try:
        broker.data = disk.root / "data"
        broker.data.mkdir()
        broker.start()
        pid = broker.pid
        publishers = [Publisher(broker, i) for i in range(options.publishers)]
        for number in range(options.rounds):
            before = sum(p.bytes for p in publishers)
            fill(disk, publishers)
            confirmed = sum(len(p.confirmed) for p in publishers)
            waiting = sum(p.sent for p in publishers) - confirmed
            keep = 0 if number % 3 == 0 else rng.randrange(60)
            consume(broker, publishers, keep)
            if broker.pid != pid or broker.starts != 1:
                raise Wrong("the daemon was restarted")
            print(f"round {number + 1}: full after {(sum(p.bytes for p in publishers) - before) / MIB:.1f} MiB with {waiting} "
                  f"messages unconfirmed; unblocked, {sum(p.sent for p in publishers)} confirmed, "
                  f"{sum(p.taken for p in publishers)} taken", flush=True)
        killed_when_full(disk, broker, publishers)
        print(f"killed with a full disk: all {sum(len(p.confirmed) for p in publishers)} confirmed messages came; "
              f"publishers were blocked {sum(p.times_blocked for p in publishers)} times", flush=True)
        broker.stop()
        found = [line for line in broker.log_text().splitlines() if any(r in line for r in REPORTS)]
        if found:
            raise Wrong(f"in the log: {found[:5]}")
        failed = False
    finally:
        broker.close(failed=failed)


def main(argv):
    parser = argparse.ArgumentParser(description="a disk that is full again and again; see the head of the file")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=None, help="default: of the clock; it is printed")
    parser.add_argument("--size", type=int, default=64, help="MiB of the file system")
    parser.add_argument("--fs", choices=("any", "ext4", "tmpfs"), default="any")
    parser.add_argument("--publishers", type=int, default=2)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="configuration of the daemon")
    options = parser.parse_args(argv)
    if options.rounds < 1 or options.size < 32 or not 1 <= options.publishers <= 9:
        parser.error("at least one round, 32 MiB, and 1 to 9 publishers")
    seed = options.seed if options.seed is not None else int(time.time() * 1000) % 1000000
    try:
        with SmallDisk(options.size, options.fs) as disk:
            print(f"disk_full: {options.rounds} rounds on {disk.kind} of {disk.size} MiB, seed {seed}", flush=True)
            run(disk, options, random.Random(seed))
    except CannotMount as e:
        print(f"disk_full: skipped: mounting is not allowed here (run as root): {e}")
        return SKIP
    except (Wrong, wire.WireError, support.BrokerError) as e:
        print(f"disk_full: failed: {type(e).__name__}: {e}\ndisk_full: again with --rounds {options.rounds} --seed {seed}")
        return 1
    print(f"disk_full: {options.rounds} rounds passed")
    return 0


if __name__ == "__main__":
    # `timeout` and CTest end a run with SIGTERM: the daemon and the mount must end with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main(sys.argv[1:]))
