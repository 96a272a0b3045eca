"""A store with everything in it, made by a real broker once, and copies of it to be damaged."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pika
import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

from pages import Pages  # noqa: E402
from support import broker as support  # noqa: E402

CONFIG = {"store.log_bytes": "16MiB", "shutdown.timeout": "2s"}
LARGE = 200_000
PERSISTENT = pika.BasicProperties(delivery_mode=2)

# Ordinals per queue, from 1: the position of the n-th message of a queue is n.
PUBLISHED = {"old": 1500, "both": 1500, "new": 60, "large": 4}
ACKED = {"old": 40, "both": 10, "new": 25, "large": 0}


def body(queue, ordinal):
    size = LARGE if queue == "large" else 300 if queue == "new" else 8000
    return f"{queue}:{ordinal}:".encode().ljust(size, b"%d" % (ordinal % 10))


def ctl(*words, **how):
    """sluicectl; nobody is asked."""
    how.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.run([os.environ["SLUICECTL"], *map(str, words)], capture_output=True, text=True, timeout=120,
                          check=False, **how)


def offline(action, data, *words, **how):
    return ctl("store", action, "--dir", data, *words, **how)


def new_broker(data=None):
    """A broker, not started; with a copy of that data."""
    one = support.new(CONFIG, kind="sluice")
    if data is not None:
        shutil.copytree(data, one.data, dirs_exist_ok=True)
    return one


def connect(broker):
    return pika.BlockingConnection(pika.ConnectionParameters(broker.host, broker.port))


def figures(broker):
    done = ctl("--socket", broker.admin, "store", "stat", "--formatter", "json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def wait_figures(broker, check, what):
    support.wait_until(lambda: check(figures(broker)), 60, what)


def publish(broker, queue, first, last):
    """Confirmed when it returns."""
    connection = connect(broker)
    channel = connection.channel()
    channel.queue_declare(queue, durable=True)
    channel.tx_select()
    for ordinal in range(first, last + 1):
        channel.basic_publish("", queue, body(queue, ordinal), PERSISTENT)
        if ordinal % 100 == 0:
            channel.tx_commit()
    channel.tx_commit()
    connection.close()


def ack(broker, queue, count):
    connection = connect(broker)
    channel = connection.channel()
    for _ in range(count):
        method, _, _ = channel.basic_get(queue)
        channel.basic_ack(method.delivery_tag)
    connection.close()


def drain(broker, queue):
    """Ordinals of what is left, in order; each is byte for byte what was published."""
    connection = connect(broker)
    channel = connection.channel()
    found = []
    while True:
        method, _, content = channel.basic_get(queue, auto_ack=True)
        if method is None:
            break
        ordinal = int(content.split(b":")[1])
        assert content == body(queue, ordinal)
        found.append(ordinal)
    connection.close()
    return found


@pytest.fixture(scope="session")
def whole():
    """A data directory after a clean stop: segments, a log with messages and drops, large contents."""
    keep = Path(tempfile.mkdtemp(prefix="sluice-test-store-"))
    with new_broker() as broker:
        publish(broker, "old", 1, PUBLISHED["old"])
        publish(broker, "both", 1, PUBLISHED["both"])
        publish(broker, "large", 1, PUBLISHED["large"])
        wait_figures(broker, lambda f: f["segments"] > 0 and f["log_bytes"] < 17 << 20, "the migration")
        publish(broker, "new", 1, PUBLISHED["new"])
        for queue, count in ACKED.items():
            ack(broker, queue, count)
        left = sum(PUBLISHED.values()) - sum(ACKED.values())
        wait_figures(broker, lambda f: f["live_messages"] == left and f["batch_ops_open"] == 0, "the acks")
        broker.stop()
        shutil.copytree(broker.data, keep / "data", ignore=shutil.ignore_patterns("admin.sock", "addresses"))
    yield keep / "data"
    shutil.rmtree(keep)


@pytest.fixture
def data(whole, tmp_path):
    """A copy of it, to be damaged; removed at the end, since it is large."""
    shutil.copytree(whole, tmp_path / "data")
    yield tmp_path / "data"
    shutil.rmtree(tmp_path / "data")


@pytest.fixture
def pages(data):
    return Pages(data / "store" / "data.mdb")


@pytest.fixture
def start():
    """Start a broker with a copy of a data directory."""
    running = []

    def run(directory):
        one = new_broker(directory)
        running.append(one)
        one.start()
        return one
    yield run
    for one in running:
        one.close()
