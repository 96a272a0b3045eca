"""Fixtures of the AMQP conformance tests: one broker for the session, names that clean themselves
up, and what is expected of the broker under test."""

import os
import signal
import sys
import uuid
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

import broker as support  # noqa: E402
import probes  # noqa: E402
from expect import SEEN_DIFFERENCES, set_product, vectors_of  # noqa: E402
from wire import Conn, Timeout, Wire  # noqa: E402

# Small enough that a test can exceed it quickly; see section 11.2. An external broker must be set to it.
MAX_MESSAGE_SIZE = int(os.environ.get("AMQP_MAX_MESSAGE_SIZE", 2 * 1024 * 1024))


def _interrupted(*_):
    support.STOP_TIMEOUT = 5  # what comes next is SIGKILL for us
    raise KeyboardInterrupt


def pytest_configure(config):
    # `timeout` and CTest end a run with SIGTERM: the brokers must end with it.
    signal.signal(signal.SIGTERM, _interrupted)
    config.addinivalue_line("markers", "spec(section, vector): the section of the semantics document")
    config.addinivalue_line("markers", "later: needs what the first release refuses (x-arguments, ...)")
    config.addinivalue_line("markers", "slow_probe: a probe that waits in the background")
    config.addinivalue_line("markers", "needs_restart: stops and starts brokers of its own")


def pytest_addoption(parser):
    parser.addoption("--vectors", action="store_true", help="list the vectors and their tests, run nothing")


def pytest_collection_modifyitems(config, items):
    # Probes wait in the background while everything else runs, so their tests come last.
    items.sort(key=lambda i: i.get_closest_marker("slow_probe") is not None)
    kind = support.broker_kind()
    for item in items:
        if kind == "external" and item.get_closest_marker("needs_restart"):
            item.add_marker(pytest.mark.skip(reason="an external broker is not ours to stop"))
    if config.getoption("--vectors"):
        config.vectors = vectors_of(items)
        items.clear()


def pytest_sessionfinish(session):
    text = getattr(session.config, "vectors", None)
    if text is not None:
        print(text)
        session.exitstatus = 1 if "MISSING" in text else 0


@pytest.fixture(scope="session")
def broker(request):
    """The broker under test. Without one there is nothing to do: the run ends."""
    b = None
    try:
        b = support.new({"max_message_size": MAX_MESSAGE_SIZE})
        b.start()
    except support.BrokerError as e:
        if b is not None:
            b.close(failed=True)
        pytest.exit(f"no broker to test: {e}", returncode=3)
    set_product(b.product)
    yield b
    b.close(failed=bool(request.session.shouldstop))


@pytest.fixture(scope="session", autouse=True)
def background(request):
    """Start the slow probes of the tests that were selected, beside the other tests."""
    wanted = [i for i in request.session.items if i.get_closest_marker("slow_probe")]
    if not wanted:
        yield None
        return
    b = request.getfixturevalue("broker")
    with probes.Background(b) as bg:
        for item in wanted:
            bg.start(item.callspec.params["probe"] if hasattr(item, "callspec") else item.name)
        yield bg


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    b = getattr(item, "funcargs", {}).get("broker")
    if report.when == "call" and report.failed and b is not None:
        report.sections.append(("end of the broker's log", b.log_tail(15)))
        if call.excinfo.errisinstance(Timeout) and b.running() and not support.answers(b.host, b.port):
            support.STOP_TIMEOUT = 5
            item.session.shouldstop = f"the broker does not answer any more after {item.name}"


def still_alive(broker):
    """No test may bring the broker down."""
    if broker.kind != "external" and not broker.running():
        pytest.exit(f"the broker died with status {broker.proc.returncode}:\n{broker.log_tail()}", returncode=4)


@pytest.fixture
def connect(broker):
    """connect(**options) opens connections that end with the test. See wire.Conn."""
    opened = []

    def go(**options):
        c = Conn(broker.host, broker.port, **options)
        opened.append(c)
        return c

    yield go
    for c in opened:
        c.drop()
    still_alive(broker)


@pytest.fixture
def wire(broker):
    """wire() opens bare TCP connections that end with the test."""
    opened = []

    def go():
        w = Wire(broker.host, broker.port)
        opened.append(w)
        return w

    yield go
    for w in opened:
        w.drop()
    still_alive(broker)


@pytest.fixture
def conn(connect):
    return connect()


@pytest.fixture
def ch(conn):
    return conn.channel()


class Names:
    """Fresh names; queues and exchanges so called are deleted when the test ends."""

    def __init__(self):
        self.made = []
        self.tag = uuid.uuid4().hex[:8]

    def __call__(self, hint="n"):
        self.made.append(f"{hint}-{self.tag}-{len(self.made)}")
        return self.made[-1]


@pytest.fixture
def names(broker, request):
    n = Names()
    # The connections of the test end before its names are deleted.
    yield n
    if n.made:
        _delete(broker, n.made)


@pytest.fixture
def name(names):
    return names("x")


def _delete(broker, made):
    c = Conn(broker.host, broker.port)
    ch = c.channel()
    for name in made:
        for method, fields in (("queue.delete", {"queue": name}), ("exchange.delete", {"exchange": name})):
            ch.send(method, **fields)
            m = ch.recv()
            if m.name == "channel.close":  # an exclusive queue whose connection is just going
                ch.send("channel.close-ok")
                ch.open()
    c.close()


@pytest.fixture
def put(connect):
    """put(queue, *bodies, props=None) publishes through the default exchange and waits for the
    confirms, so that the messages are there for everybody."""
    state = {}

    def go(queue, *bodies, props=None, exchange="", mandatory=False):
        if "ch" not in state:
            state["ch"] = connect().channel().confirm()
        for body in bodies:
            state["ch"].publish(exchange, queue, body, props, mandatory)
        state["ch"].wait_confirms()

    return go


@pytest.fixture(scope="session", autouse=True)
def _differences_are_listed():
    """Every difference that a test used is in the table of the README."""
    yield
    text = (Path(__file__).resolve().parents[1] / "README.md").read_text()
    missing = sorted(d for d in SEEN_DIFFERENCES if f"| {d} |" not in text)
    assert not missing, f"not in tests/conformance/README.md: {missing}"
