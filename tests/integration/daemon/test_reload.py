"""SIGHUP: what may change changes, a wrong file changes nothing."""

import os
import signal

import pika
import pytest
from conftest import connect, wait_log


def reload(broker, **keys):
    """New settings in its file, and the signal."""
    for key, value in keys.items():
        broker.config[key.replace("__", ".")] = value
    broker._write_config()
    os.kill(broker.pid, signal.SIGHUP)


def test_the_log_level(broker):
    connect(broker).close()
    wait_log(broker, "granted access")
    reload(broker, log__console__level="error")
    log = wait_log(broker, "log.console.level was changed")
    connect(broker).close()
    assert broker.log_text().count("granted access") == log.count("granted access")


def test_a_limit_for_new_connections(broker):
    kept = connect(broker)
    reload(broker, max_connections="1")
    wait_log(broker, "the configuration was reloaded")
    with pytest.raises(pika.exceptions.AMQPConnectionError):
        connect(broker)
    kept.channel().queue_declare("works")
    reload(broker, max_connections="10")
    wait_log(broker, "max_connections was changed")
    kept.process_data_events()
    kept.close()


def test_a_wrong_file_changes_nothing(broker):
    reload(broker, log__console__level="error", frame_max="1")
    log = wait_log(broker, "not reloaded")
    assert "frame_max = 1" in log
    connect(broker).close()
    wait_log(broker, "granted access")  # the level is the old one


def test_what_needs_a_restart_says_so(broker):
    reload(broker, frame_max="8192")
    wait_log(broker, "frame_max was changed and takes effect at the next start")
    connect(broker).close()
    broker.restart()
    connect(broker).close()


def test_a_file_that_is_gone_changes_nothing(broker):
    (broker.dir / "sluice.conf").unlink()
    os.kill(broker.pid, signal.SIGHUP)
    wait_log(broker, "not reloaded")
    connect(broker).close()
