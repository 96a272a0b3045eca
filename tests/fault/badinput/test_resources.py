"""Memory and disk that run out: publishers wait and are told why, consumers go on, nothing confirmed is lost."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
import wire
from conftest import eventually, memory, reload, support

MIB = 1 << 20


class Publisher:
    """Publishes without waiting for anything but room in the socket."""

    def __init__(self, broker, queue, size, mode, capable=True):
        capabilities = dict(wire.ALL_CAPABILITIES)
        if not capable:
            del capabilities["connection.blocked"]
        self.conn = wire.Conn(broker.host, broker.port, capabilities=capabilities)
        self.channel = self.conn.channel()
        self.channel.confirm()
        self.queue, self.size, self.mode = queue, size, mode
        self.sent = 0
        self.confirmed = set()
        self.lowest = 1
        self.events = []  # reasons of blocked, "" for unblocked
        self.holders = []  # what stands behind the colon of such a reason
        self.pending = b""

    def body(self, n):
        return b"%010d" % n + b"p" * (self.size - 10)

    def message(self):
        self.sent += 1
        return (wire.encode_frame(wire.METHOD, 1, wire.encode_method("basic.publish", routing_key=self.queue))
                + wire.encode_frame(wire.HEADER_FRAME, 1, wire.encode_header(self.size, {"delivery_mode": self.mode}))
                + wire.encode_frame(wire.BODY, 1, self.body(self.sent)))

    def hear(self, timeout=0.0005):
        """Take what has come for us."""
        try:
            while True:
                self.conn.read_one(timeout)
        except wire.Timeout:
            pass
        for m in self.conn.inbox.pop(0, []):
            assert m.name in ("connection.blocked", "connection.unblocked"), m
            reason, _, holder = getattr(m, "reason", "").partition(": ")
            self.events.append(reason)
            self.holders.append(holder)
        for m in self.conn.inbox.pop(1, []):
            assert m.name == "basic.ack", m
            self.confirmed.update(range(self.lowest if m.multiple else m.delivery_tag, m.delivery_tag + 1))
            if m.multiple:
                self.lowest = m.delivery_tag + 1

    def push(self):
        """Send one more message, as much of it as goes. False when the socket is full."""
        if not self.pending:
            self.pending = self.message()
        self.conn.sock.setblocking(False)
        try:
            self.pending = self.pending[self.conn.sock.send(self.pending):]
        except BlockingIOError:
            return False
        return True

    def until_blocked(self, most, window=64):
        """Publish until connection.blocked comes; at most `most` octets."""
        while not self.events:
            self.hear()
            if self.sent - len(self.confirmed) < window:
                self.push()
            assert self.sent * self.size < most, f"not blocked after {most // MIB} MiB"
        return self.events[-1]

    def finish(self):
        """Everything sent is confirmed."""
        def done():
            if self.pending:
                self.push()
            self.hear(0.005)
            return not self.pending and len(self.confirmed) == self.sent
        eventually(done, "the rest of the confirms")


def take_all(channel, queue, publisher):
    """Consume what the publisher put there, in order, until all that was confirmed has come."""
    channel.consume(queue, tag="taker")
    wanted = len(publisher.confirmed)
    last, n = 0, 0
    while n < wanted:
        m = channel.expect("basic.deliver", timeout=60)
        number = int(m.body[:10])
        assert number > last and m.body == publisher.body(number)
        last, n = number, n + 1
        channel.send("basic.ack", delivery_tag=m.delivery_tag)
    return n


@pytest.mark.skipif("TSAN_OPTIONS" in os.environ, reason="what ThreadSanitizer takes of memory for itself comes and goes")
def test_memory_watermark(daemon, bystander):
    b = daemon({"memory_monitor_interval": "100"})
    c = wire.Conn(b.host, b.port)
    ch = c.channel()
    ch.queue("heap")
    reload(b, vm_memory_high_watermark__absolute=str(memory(b) + 24 * MIB))
    quiet = Publisher(b, "heap", 1000, 1, capable=False)
    quiet.push()
    quiet.finish()
    p = Publisher(b, "heap", 16384, 1)
    assert p.until_blocked(400 * MIB) == "low on memory"
    assert p.holders[0].startswith("queue 'heap' holds ") and p.holders[0].endswith("MiB")
    # Read no more: all that may still come in is what stood in the socket's buffers.
    while p.push() and p.sent * p.size < 400 * MIB:
        pass
    assert p.sent * p.size < 400 * MIB, "a blocked publisher is still being read"
    before = ch.count("heap")[0]
    quiet.push()  # blocked too, without a word
    other = wire.Conn(b.host, b.port)
    taker = other.channel()
    taker.call("basic.qos", prefetch_count=100)
    assert ch.count("heap")[0] == before
    # A connection that does not publish is not blocked; taking everything out ends the alarm.
    taker.consume("heap")

    def unblocked():
        try:
            m = taker.recv(timeout=0.05)
            if m.name == "basic.deliver":
                taker.send("basic.ack", delivery_tag=m.delivery_tag)
                return False
        except wire.Timeout:
            pass
        p.hear()
        return len(p.events) > 1 and p.events[-1] == ""

    eventually(unblocked, "connection.unblocked")
    # What stood in the sockets' buffers may set the alarm off again for a moment.
    assert p.events == ["low on memory", ""] * (len(p.events) // 2)
    assert not quiet.events
    bystander(b).progress(100)
    for conn in (p.conn, quiet.conn, other, c):
        conn.drop()


def test_disk_limit(daemon):
    """The alarm by the free space of the file system, there and back by reload."""
    b = daemon()
    c = wire.Conn(b.host, b.port)
    ch = c.channel()
    ch.queue("disk", durable=True)
    p = Publisher(b, "disk", 1000, 2)
    p.push()
    p.finish()
    reload(b, disk_free_limit__absolute="16777215TiB")
    assert p.until_blocked(10 * MIB) == "low on disk"
    assert p.holders == ["queue 'disk' holds 1000 bytes"]
    assert take_all(ch, "disk", p) >= 1
    reload(b, disk_free_limit__absolute="16MiB")
    eventually(lambda: p.hear(0.01) or len(p.events) > 1, "connection.unblocked")
    p.finish()
    assert p.events == ["low on disk", ""]
    p.conn.close()
    c.drop()


@pytest.fixture
def small_disk():
    """small_disk(MiB): a directory on a file system of that size. Ask for it before `daemon`, so that it goes last."""
    made = []

    def go(size, options=""):
        directory = Path(tempfile.mkdtemp(prefix="sluice-disk-"))
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}m{options}", "tmpfs", str(directory)],
                              capture_output=True, text=True, check=False)
        if done.returncode != 0:
            directory.rmdir()
            pytest.skip(f"mounting is not allowed here (run as root): {done.stderr.strip()}")
        made.append(directory)
        return directory

    yield go
    for directory in made:
        subprocess.run(["umount", "-l", str(directory)], check=True)  # also when a daemon was cut off in there
        directory.rmdir()


def full_disk_broker(daemon, directory, **config):
    def prepare(b):
        shutil.rmtree(b.data)
        b.data = directory

    return daemon({"disk_free_limit.absolute": "0", "store.map_size": "1GiB", **config}, prepare=prepare)


def fill_with(directory, leave):
    """A file that takes all the space but `leave` octets."""
    filler = directory / "filler"
    with open(filler, "wb") as f:
        space = os.statvfs(directory)
        left = space.f_bavail * space.f_bsize - leave
        os.posix_fallocate(f.fileno(), 0, left)
    return filler


def test_full_disk_and_space_returns(small_disk, daemon):
    """The write itself fails. Publishers wait and are told, nothing confirmed is lost, and it goes on by itself."""
    directory = small_disk(160)
    b = full_disk_broker(daemon, directory)
    c = wire.Conn(b.host, b.port)
    ch = c.channel()
    ch.queue("full", durable=True)
    filler = fill_with(directory, 4 * MIB)
    p = Publisher(b, "full", 10000, 2)
    assert p.until_blocked(100 * MIB) == "low on disk"
    assert p.confirmed, "nothing was confirmed before the disk was full"
    held = len(p.confirmed)
    for _ in range(20):
        p.hear()
    assert len(p.confirmed) < p.sent
    filler.unlink()
    eventually(lambda: p.hear(0.01) or p.events[-1] == "", "connection.unblocked")
    p.finish()
    assert len(p.confirmed) > held
    b.restart(clean=False)
    c = wire.Conn(b.host, b.port)
    assert take_all(c.channel(), "full", p) == p.sent
    c.close()
    p.conn.drop()


def takes_and_unblocks(ch, p):
    """Acknowledge what the consumer on ch is given; whether the publisher may go on."""
    p.hear(0.01)
    try:
        m = ch.recv(timeout=0.01)
        ch.send("basic.ack", delivery_tag=m.delivery_tag)
    except wire.Timeout:
        pass
    return p.events[-1] == ""


def test_full_disk_consumers_free_space(small_disk, daemon):
    """Consumers go on with a full disk; what they take away makes room for publishers."""
    directory = small_disk(64)
    b = full_disk_broker(daemon, directory)
    c = wire.Conn(b.host, b.port)
    ch = c.channel()
    ch.queue("full", durable=True)
    p = Publisher(b, "full", 10000, 2)
    assert p.until_blocked(100 * MIB) == "low on disk"
    assert len(p.confirmed) * p.size > 20 * MIB
    ch.call("basic.qos", prefetch_count=50)
    assert take_all(ch, "full", p) > 0

    eventually(lambda: takes_and_unblocks(ch, p), "connection.unblocked after the queue was emptied")
    for _ in range(200):
        p.push()
        takes_and_unblocks(ch, p)
    while not p.pending and len(p.confirmed) < p.sent:
        takes_and_unblocks(ch, p)
    p.conn.drop()
    c.drop()


def test_disk_limit_after_everything_was_consumed(small_disk, daemon):
    """The store's file does not shrink: what is free inside it counts, or the alarm would never end."""
    directory = small_disk(128)
    b = full_disk_broker(daemon, directory, **{"disk_free_limit.absolute": "40MiB"})
    c = wire.Conn(b.host, b.port)
    ch = c.channel()
    ch.queue("full", durable=True)
    p = Publisher(b, "full", 10000, 2)
    assert p.until_blocked(120 * MIB) == "low on disk"
    said = [line for line in b.log_text().splitlines() if "disk resource limit alarm set" in line]
    assert "MiB inside the store, the limit is 40 MiB; publishers" in said[0]
    ch.call("basic.qos", prefetch_count=50)
    assert take_all(ch, "full", p) > 0

    eventually(lambda: takes_and_unblocks(ch, p), "connection.unblocked after the queue was emptied")
    space = os.statvfs(directory)
    assert space.f_bavail * space.f_bsize < 40 * MIB, "the file shrank: nothing was tested"
    # And it is room: as much again goes in before the next alarm.
    before = p.sent
    c.drop()
    b.wait_log("disk resource limit alarm cleared", 60)
    while p.pending or p.events[-1] == "" and (p.sent - before) * p.size < 20 * MIB:
        p.push()
        p.hear()
    assert (p.sent - before) * p.size >= 20 * MIB, p.events
    p.conn.drop()


def test_map_full_is_named(daemon):
    """The store ends before the disk does: alarm and commands say so, for no space on the disk would help."""
    b = daemon({"disk_free_limit.absolute": "1MiB", "store.map_size": "32MiB"})
    c = wire.Conn(b.host, b.port)
    c.channel().queue("map", durable=True)
    p = Publisher(b, "map", 10000, 2)
    assert p.until_blocked(100 * MIB) == "low on disk"
    said = [line for line in b.log_text().splitlines() if "disk resource limit alarm set" in line]
    assert "the store has reached store.map_size" in said[0]
    alarms = subprocess.run([*b.ctl_words(), "alarms"], capture_output=True, text=True, timeout=60, check=True).stdout
    assert "the store has reached store.map_size" in alarms
    p.conn.drop()
    c.drop()
    # What is not confirmed finds no room, and the daemon does not wait for some: it stops, and what was confirmed is there.
    b.restart()
    c = wire.Conn(b.host, b.port)
    assert c.channel().count("map")[0] >= len(p.confirmed)
    c.drop()


def test_killed_with_a_full_disk(small_disk, daemon):
    """kill -9 while it is blocked, start on the disk that is still full: everything confirmed is there and can be taken."""
    directory = small_disk(96)
    b = full_disk_broker(daemon, directory)
    c = wire.Conn(b.host, b.port)
    c.channel().queue("full", durable=True)
    p = Publisher(b, "full", 10000, 2)
    filler = fill_with(directory, 8 * MIB)
    p.until_blocked(100 * MIB)
    p.hear()
    assert p.confirmed
    b.kill()
    p.conn.drop()
    b.start()
    c = wire.Conn(b.host, b.port)
    ch = c.channel()
    there = ch.count("full")[0]
    assert len(p.confirmed) <= there <= p.sent
    ch.call("basic.qos", prefetch_count=100)
    take_all(ch, "full", p)
    filler.unlink()
    again = Publisher(b, "full", 10000, 2)
    again.push()
    again.finish()
    again.conn.drop()
    c.drop()


def start_fails(directory, status, text):
    """The daemon ends by itself with this status and says why."""
    b = support.new({"disk_free_limit.absolute": "0"}, kind="sluice")
    try:
        command = [*b.wrap, b.daemon, "--config", str(b._write_config()), "--data-dir", str(directory)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    finally:
        b.close()
    assert done.returncode == status, done
    assert text in done.stderr.lower(), done.stderr
    assert "runtime error" not in done.stderr and "Sanitizer" not in done.stderr, done.stderr


def test_read_only_data_directory(small_disk):
    start_fails(small_disk(8, ",ro"), 73, "read-only")


def test_data_directory_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("not a directory")
    start_fails(tmp_path / "file", 73, "not a directory")


def test_no_room_to_start(small_disk, daemon):
    """A disk that is full from the beginning: a clear end, no half-made store that prevents the next start."""
    directory = small_disk(64)
    filler = fill_with(directory, 64 * 1024)
    start_fails(directory, 73, "no space")
    filler.unlink()
    b = full_disk_broker(daemon, directory)
    c = wire.Conn(b.host, b.port)
    c.channel().queue("q", durable=True)
    c.close()
