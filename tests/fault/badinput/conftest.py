"""Daemons for the tests of bad input, and a bystander who must not notice.

Every daemon ends with a clean stop: exit status 0, no address file, no sanitizer's report in the log.
"""

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TESTS / "support"), str(TESTS / "conformance" / "amqp")]

import broker as support  # noqa: E402
import wire  # noqa: E402

REPORTS = ("AddressSanitizer", "LeakSanitizer", "ThreadSanitizer", "runtime error:", "Assertion")
PATIENCE = 60.0


def pytest_configure(config):
    def interrupted(*_):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # what follows is the clean-up
        support.STOP_TIMEOUT = 5
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupted)


class Bystander(threading.Thread):
    """Publishes persistent messages with confirms and consumes them with acks on a connection of its own. What must not be
    disturbed is counted: progress(n) waits for n more."""

    def __init__(self, broker):
        super().__init__(daemon=True)
        self.conn = wire.Conn(broker.host, broker.port, timeout=PATIENCE)
        self.channel = self.conn.channel()
        self.channel.queue("bystander", durable=True)
        self.channel.confirm()
        self.channel.consume("bystander")
        self.done = 0
        self.stopping = False
        self.error = None
        self.start()

    def run(self):
        try:
            while not self.stopping:
                self.turn(20)
        except Exception as e:  # the thread's end is told by progress()
            self.error = e

    def turn(self, count):
        ch = self.channel
        bodies = [b"%08d" % (self.done + i) + b"x" * 1016 for i in range(count)]
        for body in bodies:
            ch.publish("", "bystander", body, {"delivery_mode": 2})
        tag, confirmed, came = ch.published, 0, []
        while confirmed < tag or len(came) < count:
            m = ch.expect("basic.ack", "basic.deliver", timeout=PATIENCE)
            if m.name == "basic.ack":
                confirmed = max(confirmed, m.delivery_tag)
            else:
                came.append(m.body)
                ch.send("basic.ack", delivery_tag=m.delivery_tag)
        assert came == bodies
        self.done += count

    def progress(self, count=200):
        """count more messages confirmed and consumed within the deadline, whatever else goes on."""
        wanted = self.done + count
        end = time.monotonic() + PATIENCE
        while self.done < wanted:
            assert self.error is None, f"the bystander was disturbed: {self.error!r}"
            assert time.monotonic() < end, f"the bystander did {self.done} of {wanted} messages in {PATIENCE:g} s"
            time.sleep(0.005)

    def finish(self):
        self.stopping = True
        self.join(PATIENCE)
        assert self.error is None, f"the bystander was disturbed: {self.error!r}"
        self.conn.close()


@pytest.fixture
def daemon(monkeypatch):
    """daemon(config, limit=N): a running broker; limit: its descriptors."""
    made = []
    # A quarantine of freed memory would keep the memory alarm on for ever.
    monkeypatch.setenv("ASAN_OPTIONS", os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=1:allocator_release_to_os_interval_ms=500")

    def go(config=None, limit=None, prepare=None):
        if limit:
            monkeypatch.setenv("SLUICED_WRAP", f"prlimit --nofile={limit}:{limit}")
        b = support.new({"disk_free_limit.absolute": "16MiB", **(config or {})}, kind="sluice")
        made.append(b)
        if prepare:
            prepare(b)
        b.start()
        return b

    yield go
    for b in made:
        if b.proc is not None and b.proc.poll() is not None:
            b.print_log()
            b.close()
            pytest.fail(f"the daemon died with status {b.proc.returncode if b.proc else '?'}")
        if b.running():
            b.stop()  # status 0, within the deadline
        found = [line for line in b.log_text().splitlines() if any(r in line for r in REPORTS)]
        b.close(failed=bool(found))
        assert not found, found[:5]


@pytest.fixture
def bystander(request):
    """bystander(broker) starts one; it is stopped, and must be well, when the test ends."""
    made = []

    def go(broker):
        made.append(Bystander(broker))
        made[-1].progress(20)
        return made[-1]

    yield go
    for b in made:
        b.finish()


def memory(broker):
    """Anonymous memory of the daemon in bytes."""
    for line in Path(f"/proc/{broker.pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no RssAnon")


def descriptors(broker):
    return len(os.listdir(f"/proc/{broker.pid}/fd"))


def eventually(check, what, timeout=PATIENCE):
    return support.wait_until(check, timeout, what)


def reload(broker, **changes):
    """Change keys (a__b for a.b) and SIGHUP; returns when the log says that it was done."""
    before = broker.log_text().count("the configuration was reloaded")
    broker.config.update({k.replace("__", "."): v for k, v in changes.items()})
    broker._write_config()
    os.kill(broker.pid, signal.SIGHUP)
    eventually(lambda: broker.log_text().count("the configuration was reloaded") > before, "the reload")
