"""A disk that fails: the daemon ends at once with status 74 and says what to do, and nothing that was confirmed is lost."""

import pika
import pytest
from conftest import LIMIT_S, connect

TRIES = 400  # more than any plan here lets through

FAILURES = {
    "write": ("store.eio=error:EIO@6", "the message store"),
    "write of a part": ("res.part=error:EIO@3", "the message store"),
    "flush": ("store.sync.before=error:EIO@6", "the message store"),
    "flush on its own": ("store.sync.deferred=error:EIO@5", "the message store"),
    "after the commit": ("store.commit.after=error:EIO@6", "the message store"),
    "definitions": ("ctl.append.before=error:EIO@20", "the definitions"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_failed_write_or_flush_ends_the_daemon(start, monkeypatch, name):
    plan, what = FAILURES[name]
    monkeypatch.setenv("SLC_FAILPOINT", plan)
    broker = start()
    channel = connect(broker).channel()
    channel.confirm_delivery()
    confirmed = []
    with pytest.raises(pika.exceptions.AMQPError):
        channel.queue_declare("q", durable=True)
        for number in range(TRIES):
            body = b"%d:" % number + bytes(20_000 if number % 10 == 0 else 8_000)
            channel.basic_publish("", "q", body, pika.BasicProperties(delivery_mode=2))
            confirmed.append(body)
            if name == "definitions":
                channel.queue_declare(f"q{number}", durable=True)
    assert broker.proc.wait(LIMIT_S) == 74
    log = broker.log_text()
    assert f"stopping at once: writing {what} failed" in log
    assert "Nothing was confirmed that is not on disk. Check the disk and its cables (dmesg), then start sluiced again" in log

    monkeypatch.delenv("SLC_FAILPOINT")
    broker.start()
    channel = connect(broker).channel()
    found = [channel.basic_get("q", auto_ack=True)[2] for _ in confirmed]
    assert found == confirmed and confirmed
