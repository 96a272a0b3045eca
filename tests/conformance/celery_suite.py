"""The Celery suite: sends the tasks, runs the worker, kills it once, counts what was done.

It is also the module that the worker imports (application `app`)."""

import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from celery import Celery
from kombu import Queue

TASKS = 1000
KILL_AFTER = 300
DEADLINE = 120.0
PROCESSES, PREFETCH = 2, 10

app = Celery("suite", broker=os.environ["CELERY_BROKER"])
app.conf.update(
    task_acks_late=True,
    task_ignore_result=True,
    task_default_queue="suite",
    task_queues=[Queue("suite", routing_key="suite", durable=True)],
    worker_prefetch_multiplier=PREFETCH,
    worker_enable_remote_control=False,
    broker_transport_options={"confirm_publish": True},
    broker_heartbeat=10,
)


@app.task(name="suite.record")
def record(number):
    """A little work, then the number goes to the file in one write."""
    hashlib.pbkdf2_hmac("sha256", b"work", b"salt", 2000)
    fd = os.open(os.environ["CELERY_DONE"], os.O_WRONLY | os.O_APPEND)
    try:
        os.write(fd, b"%d\n" % number)
    finally:
        os.close(fd)


def start_worker(directory):
    """A worker with some processes, in a session of its own so that all of it can be killed."""
    return subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "celery_suite", "worker", f"--concurrency={PROCESSES}", "--without-gossip",
         "--without-mingle", "--loglevel=WARNING"],
        cwd=directory, start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent), "C_FORCE_ROOT": "1"})


def wait_for(check, what, worker):
    end = time.monotonic() + DEADLINE
    while not check():
        if time.monotonic() > end:
            raise SystemExit(f"# timed out waiting for {what}")
        if worker.poll() is not None:
            raise SystemExit(f"# the worker ended with {worker.returncode} while waiting for {what}")
        time.sleep(0.005)


def left_in_the_queue():
    with app.connection_for_read() as connection:
        return connection.default_channel.queue_declare("suite", passive=True).message_count


def main():
    with tempfile.TemporaryDirectory(prefix="celery-suite-") as directory:
        done = Path(directory) / "done"
        done.touch()
        os.environ["CELERY_DONE"] = str(done)
        for n in range(1, TASKS + 1):
            record.delay(n)
        worker = start_worker(directory)
        try:
            wait_for(lambda: done.read_bytes().count(b"\n") >= KILL_AFTER, "the first tasks", worker)
            os.killpg(worker.pid, signal.SIGKILL)
            worker.wait(60)
            at_kill = done.read_bytes().count(b"\n")
            worker = start_worker(directory)
            wait_for(lambda: len(set(done.read_bytes().split())) >= TASKS, "all tasks", worker)
            worker.send_signal(signal.SIGTERM)
            status = worker.wait(60)
        finally:
            try:
                os.killpg(worker.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            numbers = [int(x) for x in done.read_bytes().split()]
            print(f"distinct={len(set(numbers) & set(range(1, TASKS + 1)))}", flush=True)
        left = left_in_the_queue()
        print(f"# killed after {at_kill} tasks; {len(numbers) - len(set(numbers))} done twice; {left} left; "
              f"worker status {status}")
        if at_kill >= TASKS:
            raise SystemExit("# the kill came too late")
        # What the first worker had taken without acknowledging it comes again, and the end may come before that is done again.
        if left > PROCESSES * PREFETCH or status:
            raise SystemExit("# the worker did not finish as it should")


if __name__ == "__main__":
    # The worker knows the task by this module's own name.
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    import celery_suite

    celery_suite.main()
