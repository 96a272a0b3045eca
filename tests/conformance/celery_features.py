"""The second Celery suite: results over rpc://, retries, tasks with an ETA, priorities, remote control.

A worker with everything on that is on by default. Prints one line for each check that failed, then `passed=N`. It is also the
module that the worker imports (application `app`)."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from celery import Celery, chain, group
from kombu import Queue

DEADLINE = 60.0

app = Celery("features", broker=os.environ["CELERY_BROKER"], backend="rpc://")
app.conf.update(
    task_acks_late=True,
    task_default_queue="features",
    task_queue_max_priority=10,
    task_queues=[Queue("features", routing_key="features", durable=True, max_priority=10)],
    worker_prefetch_multiplier=1,
    result_expires=600,
    broker_transport_options={"confirm_publish": True},
    broker_connection_retry_on_startup=True,
)


@app.task(name="features.add")
def add(a, b):
    """The simplest task with a result."""
    return a + b


@app.task(name="features.flaky", bind=True, max_retries=5)
def flaky(self, failures):
    """Fails that often before it succeeds; the result is the number of attempts."""
    if self.request.retries < failures:
        raise self.retry(countdown=0.05)
    return self.request.retries + 1


@app.task(name="features.when")
def when():
    """The time at which it ran."""
    return time.time()


@app.task(name="features.note")
def note(number):
    """The number goes to the file in one write: the order of execution."""
    fd = os.open(os.environ["CELERY_NOTES"], os.O_WRONLY | os.O_APPEND)
    try:
        os.write(fd, b"%d\n" % number)
    finally:
        os.close(fd)


@app.task(name="features.broken")
def broken():
    """Its result is an exception."""
    raise ValueError("as it should")


class Checks:
    """Counts, and names what failed."""

    def __init__(self):
        self.passed = self.total = 0

    def that(self, holds, text):
        self.total += 1
        if holds:
            self.passed += 1
        else:
            print(f"# failed: {text}", flush=True)


def start_worker(concurrency):
    """In a session of its own, so that all of it can be stopped."""
    return subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "celery_features", "worker", f"--concurrency={concurrency}", "--loglevel=WARNING"],
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent), "C_FORCE_ROOT": "1"})


def stop_worker(worker, checks):
    worker.send_signal(signal.SIGTERM)
    try:
        checks.that(worker.wait(60) == 0, "the worker stops in order")
    finally:
        try:
            os.killpg(worker.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def priorities(checks, notes):
    """What waits is taken in order of priority, and within one in order of arrival."""
    tasks = [(number, number * 7 % 10) for number in range(60)]
    for number, priority in tasks:
        note.apply_async((number,), priority=priority, ignore_result=True)
    worker = start_worker(1)
    end = time.monotonic() + DEADLINE
    while notes.read_bytes().count(b"\n") < len(tasks) and time.monotonic() < end:
        time.sleep(0.01)
    stop_worker(worker, checks)
    found = [int(x) for x in notes.read_bytes().split()]
    expected = [number for number, priority in sorted(tasks, key=lambda task: (-task[1], task[0]))]
    checks.that(found == expected, f"order of priorities: {found} instead of {expected}")


def results(checks):
    for number, result in [(n, add.delay(n, n)) for n in range(200)]:
        checks.that(result.get(timeout=DEADLINE) == 2 * number, f"result of add {number}")
    for failures, result in [(n % 4, flaky.delay(n % 4)) for n in range(20)]:
        checks.that(result.get(timeout=DEADLINE) == failures + 1, f"attempts after {failures} failures")
    due = []
    for n in range(20):
        delay = 0.1 + (n * 7 % 20) / 10
        due.append((time.time() + delay, when.apply_async(countdown=delay)))
    for eta, result in due:
        ran = result.get(timeout=DEADLINE)
        checks.that(ran >= eta - 0.01, f"a task due at {eta:.3f} ran at {ran:.3f}")
    checks.that(chain(add.s(1, 2), add.s(3), add.s(4))().get(timeout=DEADLINE) == 10, "a chain of tasks")
    checks.that(sorted(group(add.s(n, 1) for n in range(10))().get(timeout=DEADLINE)) == list(range(1, 11)), "a group of tasks")
    try:
        broken.delay().get(timeout=DEADLINE)
        checks.that(False, "an exception comes back")
    except ValueError as e:
        checks.that(str(e) == "as it should", "the exception's text")


def control(checks):
    """The pidbox: a broadcast with replies. There is one worker, so the first reply ends the wait."""
    answers = app.control.broadcast("ping", reply=True, timeout=60, limit=1)
    checks.that(len(answers) == 1 and list(answers[0].values())[0] == {"ok": "pong"}, f"ping: {answers}")
    queues = app.control.inspect(timeout=60, limit=1).active_queues() or {}
    checks.that([q["name"] for qs in queues.values() for q in qs] == ["features"], f"active queues: {queues}")
    checks.that(app.control.purge() == 0, "nothing is left to purge")


def main():
    checks = Checks()
    with tempfile.TemporaryDirectory(prefix="celery-features-") as directory:
        notes = Path(directory) / "notes"
        notes.touch()
        os.environ["CELERY_NOTES"] = str(notes)
        os.chdir(directory)
        try:
            priorities(checks, notes)
            worker = start_worker(2)
            try:
                results(checks)
                control(checks)
            finally:
                stop_worker(worker, checks)
        finally:
            print(f"passed={checks.passed}\ntotal={checks.total}", flush=True)


if __name__ == "__main__":
    # The worker knows the tasks by this module's own name.
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    import celery_features

    celery_features.main()
