"""log.*: levels of outputs and categories, syslog and the journal, also over a reload."""

import re
import socket

import pytest
from conftest import connect, wait_log

from support import broker as support

ACCEPTED = "accepting AMQP connection"


def tell(broker):
    """Make lines of the category connection (info) and of config (info), in this order."""
    connect(broker).close()
    broker.set_config("shutdown.timeout", "3s")


# Each row was run with RabbitMQ 3.10.8 too, with log.console.level, log.default.level and log.connection.level.
@pytest.mark.parametrize("levels, connections, others", [
    ({"log.console.level": "error", "log.connection.level": "debug"}, True, False),
    ({"log.console.level": "debug", "log.connection.level": "error"}, False, True),
    ({"log.default.level": "error", "log.connection.level": "info"}, True, False),
    ({"log.default.level": "error", "log.console.level": "info"}, True, True),
    ({"log.console.level": "none", "log.connection.level": "info"}, True, False),
    ({"log.connection.level": "none"}, False, True),
])
def test_the_level_of_a_category_counts_instead_of_the_outputs(start, levels, connections, others):
    broker = start({**levels, "log.config.level": "info"})
    tell(broker)
    log = broker.log_text()
    assert (ACCEPTED in log, "server startup complete" in log) == (connections, others)


def test_levels_of_categories_over_a_reload(broker):
    connect(broker).close()
    wait_log(broker, ACCEPTED)
    broker.set_config("log.connection.level", "warning")
    before = broker.log_text().count(ACCEPTED)
    connect(broker).close()
    broker.set_config("log.connection.level", "debug")
    assert broker.log_text().count(ACCEPTED) == before
    connect(broker).close()
    support.wait_until(lambda: broker.log_text().count(ACCEPTED) == before + 1, 60, "the connection in the log")


def test_the_level_of_the_file_is_its_own(start, tmp_path):
    broker = start({"log.file": str(tmp_path / "file.log"), "log.file.level": "error", "log.console.level": "info"})
    tell(broker)
    assert (tmp_path / "file.log").read_text() == ""
    broker.set_config("log.file.level", "debug")
    connect(broker).close()
    support.wait_until(lambda: ACCEPTED in (tmp_path / "file.log").read_text(), 60, "the connection in the file")


class Receiver:
    """A datagram socket of the test, under a name or a port."""

    def __init__(self, path=None):
        self.socket = socket.socket(socket.AF_UNIX if path else socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(str(path) if path else ("127.0.0.1", 0))
        self.socket.settimeout(60)

    def find(self, text):
        """The first datagram with this text."""
        while True:
            got = self.socket.recv(65536).decode()
            if text in got:
                return got


def test_syslog_of_this_machine(start, tmp_path):
    receiver = Receiver(tmp_path / "log")
    broker = start({"log.syslog": "true", "log.syslog.socket": str(tmp_path / "log"), "log.syslog.identity": "mq",
                    "log.syslog.facility": "local3"})
    connect(broker)
    line = receiver.find(ACCEPTED)
    assert re.fullmatch(rf"<158>\w{{3}} [ \d]\d \d\d:\d\d:\d\d mq\[{broker.pid}\]: {ACCEPTED} [^\n]*", line), line


def test_syslog_over_the_network_and_a_reload(start):
    receiver = Receiver()
    broker = start({"log.syslog.level": "warning", "log.syslog.ip": "127.0.0.1", "log.syslog.protocol": "rfc5424",
                    "log.syslog.port": str(receiver.socket.getsockname()[1]), "log.syslog.formatter": "json"})
    broker.set_config("log.syslog.level", "info")  # a level alone has switched it on
    connect(broker)
    line = receiver.find(ACCEPTED)
    assert re.match(rf"<30>1 [-\d]+T[:\d.]+Z \S+ sluiced {broker.pid} [\w.]+ - \{{\"time\":", line), line


def test_the_journal(start, tmp_path):
    receiver = Receiver(tmp_path / "journal")
    broker = start({"log.journald": "true", "log.journald.socket": str(tmp_path / "journal"), "node.name": "j@h"})
    connect(broker)
    entry = dict(line.split("=", 1) for line in receiver.find(ACCEPTED).splitlines())
    assert entry["PRIORITY"] == "6" and entry["SYSLOG_IDENTIFIER"] == "sluiced"
    assert entry["SLUICE_CATEGORY"] == "connection" and entry["SLUICE_NODE"] == "j@h"
    assert entry["MESSAGE"].startswith(ACCEPTED) and "SLUICE_EVENT" in entry


def test_without_syslog_and_journal_the_daemon_says_so_once_and_works(start, tmp_path):
    broker = start({"log.syslog": "true", "log.syslog.socket": str(tmp_path / "none"), "log.journald": "true",
                    "log.journald.socket": str(tmp_path / "nobody")})
    for _ in range(5):
        connect(broker).close()
    for name in ("none", "nobody"):
        text = f"lines for {tmp_path / name} do not get through and are dropped: No such file or directory"
        assert wait_log(broker, text).count(text) == 1
