"""sluicectl backup and sluiced --restore: a copy made at full load, restored elsewhere under another name.

SLUICED and SLUICECTL name the programs. The load and its model are those of the crash test (tests/fault/crash/broker_crash.py):
publishers with confirms, consumers whose acks are known to be synced, a declarer of queues. SLC_BACKUP_SECONDS makes the load
before and after longer.
"""

import json
import os
import random
import re
import selectors
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TESTS / "support"), str(TESTS / "conformance" / "amqp"), str(TESTS / "fault" / "crash")]

import broker as support  # noqa: E402
import broker_crash as crash  # noqa: E402
import wire  # noqa: E402

LIMIT_S = 120
SECONDS = float(os.environ.get("SLC_BACKUP_SECONDS", "2"))
# Small, so that messages move to segments all the time.
CONFIG = {"store.log_bytes": "16MiB"}


def ctl(broker, *words, **more):
    return subprocess.run([os.environ["SLUICECTL"], "--socket", broker.admin, *map(str, words)],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT_S, check=False, **more)


def ctl_start(broker, *words):
    return subprocess.Popen([os.environ["SLUICECTL"], "--socket", broker.admin, *map(str, words)],
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def restore(target, source, *words):
    """sluiced --restore that has to end by itself."""
    return subprocess.run([os.environ["SLUICED"], "--restore", str(source), "--data-dir", str(target),
                           "--set", "allow_root=true", "--set", "listeners.tcp.1=127.0.0.1:0",
                           "--set", f"management.socket.path={target}/admin.sock",
                           "--set", "management.tcp.port=none", *words],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT_S, check=False)


class Restored(support.Sluice):
    """A daemon under another name whose first start is from a backup."""

    def __init__(self, source):
        super().__init__({**CONFIG, "node.name": "elsewhere@other"})
        self.source = source

    def _spawn(self):
        if self.starts > 1:
            super()._spawn()
            return
        config = self._write_config()
        with open(self.log, "ab") as log:
            self.proc = subprocess.Popen(
                [self.daemon, "--config", str(config), "--data-dir", str(self.data), "--restore", str(self.source)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.dir)


class Timed(crash.Publisher):
    """Notes how long each confirm took, and every message it sent."""

    def __init__(self, session, model, rng, routes, window, **more):
        super().__init__(session, model, rng, routes, window, **more)
        self.sent_at = {}
        self.latencies = []

    def send_confirmed(self, exchange, key, message, queues):
        self.sent_at[message.key] = time.monotonic()
        self.model.sent[message.key] = message
        super().send_confirmed(exchange, key, message, queues)

    def was_confirmed(self, message):
        self.latencies.append(time.monotonic() - self.sent_at.pop(message.key))


def keep_sent(part_class):
    """The same part, but every message it sends is remembered."""
    class Kept(part_class):
        def send(self, exchange, key, message, queues):
            self.model.sent[message.key] = message
            super().send(exchange, key, message, queues)
    return Kept


class Load:
    """Everything at once on one broker; work() drives it."""

    def __init__(self, broker, seed):
        self.broker = broker
        self.model = model = crash.Model()
        model.sent = {}
        self.rng = rng = random.Random(seed)
        crash.set_up(broker, model)
        q = [model.queues[n] for n in crash.WORK]
        fan = ("crash.fan", "", q[1:])
        default = [("", x.name, [x]) for x in q]
        self.sessions = one, two, three, four = [crash.Session(broker) for _ in range(4)]
        r = lambda: random.Random(rng.random())  # noqa: E731
        self.timed = Timed(one, model, r(), default[:1], 100, transient=0)
        Timed(two, model, r(), [fan, default[3]], 30, weights=crash.BIG_WEIGHTS)
        Timed(three, model, r(), [default[1], default[2]], 200)
        keep_sent(crash.TxPublisher)(three, model, r(), [("", crash.WORK[4], [q[4]])])
        keep_sent(crash.Consumer)(four, model, r(), q[0], "single", 200)
        keep_sent(crash.Consumer)(four, model, r(), q[1], "multiple", 100)
        keep_sent(crash.Consumer)(one, model, r(), q[3], "nack", 50)
        keep_sent(crash.Declarer)(four, model, r(), 1)
        for s in self.sessions:
            s.run()
        self.selector = selectors.DefaultSelector()
        for s in self.sessions:
            self.selector.register(s.sock, selectors.EVENT_READ | selectors.EVENT_WRITE, s)

    def work(self, until):
        """Drive all sessions until until() is true."""
        end = time.monotonic() + LIMIT_S
        while not until():
            assert time.monotonic() < end, "the load did not come to its end"
            for key, events in self.selector.select(0.02):
                s = key.data
                assert not events & selectors.EVENT_READ or s.read(), "the broker closed a connection"
                for part in s.parts.values():
                    if len(s.out) < 200000:
                        part.pump()
                s.write()
                wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if s.out else 0)
                if key.events != wanted:
                    self.selector.modify(s.sock, wanted, s)

    def work_for(self, seconds):
        end = time.monotonic() + seconds
        self.work(lambda: time.monotonic() >= end)

    def latencies(self):
        """Median, 99th percentile and highest of the confirms since the last call, in ms."""
        self.work(lambda: self.timed.latencies)
        times, self.timed.latencies = sorted(self.timed.latencies), []
        return [round(1000 * times[min(len(times) - 1, int(len(times) * p))], 1) for p in (0.5, 0.99, 1)]

    def promised(self):
        """queue name -> keys that must be in a copy that begins now, if nobody acks them before its end."""
        return {name: {k for k, e in q.entries.items() if e.message.must_survive() and e.ack == crash.NONE}
                for name, q in self.model.queues.items() if q.state == "yes"}

    def settled(self):
        """queue name -> keys whose acks are synced."""
        return {name: set(q.gone) for name, q in self.model.queues.items()}

    def deleted(self):
        return {name for name, q in self.model.queues.items() if q.state == "no"}

    def close(self):
        for s in self.sessions:
            s.sock.close()
        self.selector.close()


def contents(broker, name):
    """(key, header, body) of all messages of a queue, in order; None: there is no such queue."""
    c = wire.Conn(broker.host, broker.port, timeout=LIMIT_S)
    ch = c.channel()
    ok = crash.passive(ch, "queue", name)
    if ok is None:
        c.close()
        return None
    got = []
    if ok.message_count:
        ch.consume(name, no_ack=True)
        for _ in range(ok.message_count):
            m = ch.expect("basic.deliver", timeout=LIMIT_S)
            found = re.search(crash.ID, m.header)
            got.append(((int(found[1]), int(found[2])), m.header, m.body))
    c.close()
    return got


def compare(broker, load, promised, gone_before, deleted_before):
    """Is everything there that must be, and nothing that must not?"""
    total = 0
    for name, keys in promised.items():
        queue = load.model.queues.get(name)
        got = contents(broker, name)
        if queue is None or queue.state != "yes":
            continue  # deleted while the copy was made: either is right
        assert got is not None, f"queue {name} is not in the backup"
        present = [key for key, _, _ in got]
        total += len(present)
        assert len(set(present)) == len(present), f"a message is twice in {name}"
        must = {k for k in keys if k in queue.entries and queue.entries[k].ack == crash.NONE}
        missing = must - set(present)
        assert not missing, f"{len(missing)} of {len(must)} confirmed messages of {name} are missing: {sorted(missing)[:5]}"
        back = set(present) & gone_before.get(name, set())
        assert not back, f"{len(back)} messages of {name} are back though their acks were synced: {sorted(back)[:5]}"
        last = {}
        for key, header, body in got:
            m = load.model.sent.get(key)
            assert m is not None, f"{key} in {name} was never sent"
            assert header == m.header and body == m.body, f"{key} in {name} differs from what was sent"
            assert last.get(key[0], 0) < key[1], f"{name}: {key} stands behind {last[key[0]]}"
            last[key[0]] = key[1]
    for name in deleted_before:
        assert contents(broker, name) is None, f"queue {name} was deleted before and is back"
    assert total > 0
    return total


def figures(broker):
    """What the store counts."""
    return json.loads(ctl(broker, "store", "stat", "--formatter", "json").stdout)


def file_bytes(broker):
    return (broker.data / "store" / "data.mdb").stat().st_size


@pytest.mark.parametrize("seed, words", [(1, ()), (2, ("--rate", "20MB")), (3, ())])
def test_backup_under_load_restored_elsewhere(tmp_path, seed, words, record_property):
    target = tmp_path / "backup"
    with support.Sluice(CONFIG) as b:
        load = Load(b, seed)
        load.work_for(SECONDS)
        for _ in range(60):  # on a slow machine it takes longer until messages move to segments
            if figures(b)["migrated_messages"] > 0:
                break
            load.work_for(1)
        load.latencies()
        load.work_for(SECONDS)
        quiet, size = load.latencies(), file_bytes(b)
        promised, gone, deleted = load.promised(), load.settled(), load.deleted()
        began = time.monotonic()
        tool = ctl_start(b, "backup", *words, target)
        load.work(lambda: tool.poll() is not None)
        took = time.monotonic() - began
        during, grown = load.latencies(), file_bytes(b) - size
        out, err = tool.communicate()
        assert tool.returncode == 0, err
        load.work_for(SECONDS / 2)
        status = figures(b)
        assert status["migrated_messages"] > 0
        load.close()
        assert "error" not in "\n".join(ln for ln in b.log_text().splitlines() if "[error]" in ln)
    print(f"backup in {took:.1f} s: confirm ms (median, p99, max) {quiet} before, {during} during; "
          f"file grew by {grown / 1e6:.1f} of {size / 1e6:.1f} MB, longest read transaction "
          f"{status['read_longest_us'] / 1000:.1f} ms")
    record_property("confirm_ms", f"{quiet} {during}")
    manifest = json.loads((target / "backup.json").read_text())
    assert manifest["format"] == 2 and manifest["messages"] > 0
    with Restored(target) as r:
        name = json.loads(ctl(r, "status", "--formatter", "json").stdout or "{}")
        assert name.get("node", "elsewhere@other") == "elsewhere@other"
        assert (r.data / "node.id").read_text() != ""
        # A second start finds what the first found.
        r.kill()
        r.start()
        compare(r, load, promised, gone, deleted)
        # It is a broker like any other.
        c = wire.Conn(r.host, r.port)
        ch = c.channel()
        ch.queue("after", durable=True)
        ch.confirm()
        ch.publish("", "after", b"x", {"delivery_mode": 2})
        ch.wait_confirms()
        c.close()


def filled(broker, megabytes=40):
    """Fill a durable queue with persistent messages of 50 kB, all confirmed."""
    c = wire.Conn(broker.host, broker.port, timeout=LIMIT_S)
    ch = c.channel()
    ch.queue("full", durable=True)
    ch.confirm()
    for n in range(megabytes * 20):
        ch.publish("", "full", n.to_bytes(4, "big") * 12500, {"delivery_mode": 2})
        if n % 100 == 99:
            ch.wait_confirms(timeout=LIMIT_S)
    ch.wait_confirms(timeout=LIMIT_S)
    c.close()


def running(broker):
    """The step of the backup that runs, or None."""
    text = subprocess.run(["curl", "-s", "--unix-socket", broker.admin, "http://localhost/api/sluice/backup"],
                          capture_output=True, text=True, timeout=LIMIT_S, check=True).stdout
    state = json.loads(text)
    return state.get("step") if state["state"] == "running" else None


def test_killed_in_the_middle_it_is_no_backup(tmp_path):
    target, elsewhere = tmp_path / "backup", tmp_path / "elsewhere"
    with support.Sluice(CONFIG) as b:
        filled(b)
        tool = ctl_start(b, "backup", "--rate", "100KB", target)
        support.wait_until(lambda: (target / "store" / "data.mdb").exists(), LIMIT_S, "the copy to begin")
        b.kill()
        tool.communicate(timeout=LIMIT_S)
        assert tool.returncode == 69
        assert not (target / "backup.json").exists()
        done = restore(elsewhere, target)
        assert done.returncode == 65, done.stderr
        assert "backup.json" in done.stderr
        assert not elsewhere.exists()
        # The broker itself comes back as after any crash.
        b.start()
        assert waiting(b) == 800
        again = ctl(b, "backup", target)
        assert again.returncode == 73 and "not empty" in again.stderr


def waiting(broker):
    c = wire.Conn(broker.host, broker.port, timeout=LIMIT_S)
    count, _ = c.channel().count("full")
    c.close()
    return count


def test_interrupted_it_is_removed(tmp_path):
    target = tmp_path / "backup"
    with support.Sluice(CONFIG) as b:
        filled(b)
        tool = ctl_start(b, "backup", "--rate", "100KB", target)
        support.wait_until(lambda: running(b) == "copy", LIMIT_S, "the copy to begin")
        second = ctl(b, "backup", tmp_path / "other")
        assert second.returncode == 75 and "running" in second.stderr
        assert not (tmp_path / "other").exists()
        tool.send_signal(signal.SIGINT)
        out, err = tool.communicate(timeout=LIMIT_S)
        assert tool.returncode == 130 and "cancelled" in err
        assert not target.exists()
        timed = ctl(b, "backup", "--timeout", "0.5", "--rate", "1MB", target)
        assert timed.returncode == 75
        assert not target.exists()
        whole = ctl(b, "backup", target)
        assert whole.returncode == 0 and "800 messages" in whole.stdout, whole.stderr
        assert whole.stderr == ""


def test_a_stop_cancels_it(tmp_path):
    target = tmp_path / "backup"
    with support.Sluice(CONFIG) as b:
        filled(b)
        tool = ctl_start(b, "backup", "--rate", "100KB", target)
        support.wait_until(lambda: running(b) == "copy", LIMIT_S, "the copy to begin")
        b.stop()
        tool.communicate(timeout=LIMIT_S)
        assert tool.returncode == 69
        assert not target.exists()


def test_a_stop_does_not_wait_for_the_check(tmp_path, monkeypatch):
    target = tmp_path / "backup"
    monkeypatch.setenv("SLC_FAILPOINT", "backup.manifest.before=hang")
    with support.Sluice(CONFIG) as b:
        tool = ctl_start(b, "backup", target)
        support.wait_until(lambda: running(b) == "check", LIMIT_S, "the check to begin")
        b.stop()
        tool.communicate(timeout=LIMIT_S)
        assert tool.returncode == 69
    assert not (target / "backup.json").exists()
    monkeypatch.delenv("SLC_FAILPOINT")
    assert restore(tmp_path / "data", target).returncode == 65


def test_a_full_target_fails_the_backup_only(tmp_path, monkeypatch):
    monkeypatch.setenv("SLC_FAILPOINT", "backup.commit=error:ENOSPC@3")
    with support.Sluice(CONFIG) as b:
        filled(b)
        full = ctl(b, "backup", tmp_path / "backup")
        assert full.returncode == 73 and "no backup was made" in full.stderr
        assert not (tmp_path / "backup").exists()
        filled(b, 5)
        assert waiting(b) == 900
        # The point is passed: the next one is whole.
        assert ctl(b, "backup", tmp_path / "backup").returncode == 0


def test_a_target_without_room_is_refused_with_figures(tmp_path):
    """Before anything is copied, and with what it would take and what must stay free."""
    with support.Sluice(CONFIG) as b:
        filled(b, 5)
        assert ctl(b, "set_disk_free_limit", "1000TiB").returncode == 0
        small = ctl(b, "backup", tmp_path / "backup")
        assert small.returncode == 73
        said = re.search(r"MiB left; the backup needs (\d+) MiB, and 1048576000 MiB must stay free \(disk_free_limit\)", small.stderr)
        assert said and 4 <= int(said[1]) <= 12, small.stderr
        assert not (tmp_path / "backup").exists()


def test_a_restore_that_dies_is_no_data_directory(tmp_path, monkeypatch):
    backup, data = tmp_path / "backup", tmp_path / "data"
    with support.Sluice(CONFIG) as b:
        filled(b, 10)
        assert ctl(b, "backup", backup).returncode == 0
    monkeypatch.setenv("SLC_FAILPOINT", "restore.copied=crash")
    assert restore(data, backup).returncode == -signal.SIGKILL
    monkeypatch.delenv("SLC_FAILPOINT")
    done = subprocess.run([os.environ["SLUICED"], "--data-dir", str(data), "--set", "allow_root=true",
                           "--set", "listeners.tcp.1=127.0.0.1:0"], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 73 and "did not end" in done.stderr
    assert restore(data, backup).returncode == 73
    with Restored(backup) as r:
        assert waiting(r) == 200


def test_targets_that_are_refused(tmp_path):
    with support.Sluice(CONFIG) as b:
        for target, text in ((b.data, "inside each other"), (b.data / "x", "inside each other"),
                             (b.data.parent, "inside each other"), (tmp_path / "none" / "x", "No such file"),
                             ("/proc/x", "cannot create")):
            refused = ctl(b, "backup", target)
            assert refused.returncode == 73 and text in refused.stderr, (target, refused.stderr)
        assert ctl(b, "backup", "--rate", "fast", tmp_path / "x").returncode == 64
        assert ctl(b, "backup", "--dry-run", tmp_path / "x").stdout.startswith("POST /api/sluice/backup?dir=")
        # Relative to where the caller is.
        assert ctl(b, "backup", "here", cwd=tmp_path).returncode == 0
        assert (tmp_path / "here" / "backup.json").exists()


def test_restores_that_are_refused(tmp_path):
    backup, data = tmp_path / "backup", tmp_path / "data"
    with support.Sluice(CONFIG) as b:
        filled(b, 10)
        assert ctl(b, "backup", backup).returncode == 0
    assert restore(data, tmp_path / "nothing").returncode == 65
    # The data directory holds something.
    data.mkdir()
    (data / "mine").write_text("x")
    done = restore(data, backup)
    assert done.returncode == 73 and "not empty" in done.stderr
    assert sorted(p.name for p in data.iterdir()) == ["mine"]
    (data / "mine").unlink()
    # A changed octet of a message.
    store = backup / "store" / "data.mdb"
    with open(store, "r+b") as f:
        at = f.read().index((100).to_bytes(4, "big") * 1000)
        f.seek(at)
        f.write(b"\xff")
    done = restore(data, backup)
    assert done.returncode == 65 and "cannot be used" in done.stderr, done.stderr
    # A file that was cut.
    os.truncate(store, store.stat().st_size - 4096)
    done = restore(tmp_path / "data2", backup)
    assert done.returncode == 65 and "backup.json says" in done.stderr
    assert "start with a copy of it" in done.stderr, "what is left for one that was salvaged is said"
    assert not (tmp_path / "data2").exists()
