"""What /proc knows of a server: CPU time and memory of its whole process tree."""

import os
import re
import threading
import time
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def process_tree(pid):
    """pid and everything below it."""
    children = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = Path("/proc", entry, "stat").read_text()
            except OSError:
                continue
            children.setdefault(int(stat.rsplit(")", 1)[1].split()[1]), []).append(int(entry))
    todo, found = [pid], []
    while todo:
        one = todo.pop()
        found.append(one)
        todo += children.get(one, [])
    return found


def cpu_seconds(pid):
    """User and system time of the tree, children that have ended included."""
    total = 0
    for one in process_tree(pid):
        try:
            fields = Path("/proc", str(one), "stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        total += sum(int(f) for f in fields[11:15])
    return total / TICKS


def memory_kib(pid, *names):
    """The sum over the tree of some fields of /proc/PID/status."""
    sums = dict.fromkeys(names, 0)
    for one in process_tree(pid):
        try:
            text = Path("/proc", str(one), "status").read_text()
        except OSError:
            continue
        for name in names:
            match = re.search(rf"^{name}:\s+(\d+) kB", text, re.M)
            if match:
                sums[name] += int(match.group(1))
    return [sums[n] for n in names]


class Watch:
    """CPU and memory of a server between enter and exit. Peak resident memory is VmHWM, reset
    at the start; RssAnon has no such mark and is sampled."""

    def __init__(self, pid):
        self.pid = pid
        self.anon_kib = 0
        self.cpu_s = self.rss_kib = 0
        self._end = threading.Event()

    def __enter__(self):
        for one in process_tree(self.pid):
            try:
                Path("/proc", str(one), "clear_refs").write_text("5")
            except OSError:
                pass  # not ours to reset: VmHWM is then since the start of the process
        self._start = cpu_seconds(self.pid)
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()
        return self

    def _sample(self):
        while True:
            self.anon_kib = max(self.anon_kib, memory_kib(self.pid, "RssAnon")[0])
            if self._end.wait(0.2):
                return

    def __exit__(self, *_):
        self.cpu_s = cpu_seconds(self.pid) - self._start
        self._end.set()
        self._thread.join()
        self.rss_kib = memory_kib(self.pid, "VmHWM")[0]


def settle(pid, limit_s=10):
    """Wait until the server is nearly idle, so that one scenario does not pay for the one before."""
    end = time.monotonic() + limit_s
    before = cpu_seconds(pid)
    while time.monotonic() < end:
        time.sleep(0.3)  # the length of the measurement, not a guess
        now = cpu_seconds(pid)
        if now - before <= 0.03:
            return
        before = now
