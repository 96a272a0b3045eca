"""Who is behind a proxy: PROXY headers of version 1 and 2 on plain and TLS listeners."""

import contextlib
import socket
import struct

import pytest

V2 = b"\r\n\r\n\0\r\nQUIT\n"
AMQP = b"AMQP\0\0\x09\x01"
REMOTE = b"PROXY TCP4 192.0.2.7 192.0.2.9 40000 5672\r\n"


def v2(command, family, addresses):
    return V2 + struct.pack(">BBH", 0x20 | command, family, len(addresses)) + addresses


def v2_tcp(source, target, source_port, target_port, more=b""):
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    ends = socket.inet_pton(family, source) + socket.inet_pton(family, target)
    return v2(1, 0x21 if ":" in source else 0x11, ends + struct.pack(">HH", source_port, target_port) + more)


@pytest.fixture(scope="module")
def proxied(make, ctl):
    with make(proxy_protocol="true", handshake_timeout="60s", ssl_handshake_timeout="60s") as broker:
        assert ctl(broker, "add_user", "far", "away").returncode == 0
        assert ctl(broker, "set_permissions", "far", "", "", "").returncode == 0
        yield broker


@contextlib.contextmanager
def peer(broker, secure, header, pieces=1):
    """A connection that has sent header and, over TLS or not, what opens an AMQP session."""
    with socket.create_connection(("127.0.0.1", broker.port if secure else broker.broker.port), 60) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if secure:
            for i in range(pieces):
                s.sendall(header[i * len(header) // pieces:(i + 1) * len(header) // pieces])
            s = broker.context().wrap_socket(s, server_hostname="127.0.0.1")
            s.sendall(AMQP)
        else:
            whole = header + AMQP
            for i in range(pieces):
                s.sendall(whole[i * len(whole) // pieces:(i + 1) * len(whole) // pieces])
        yield s
        s.close()


def frame(s):
    """The payload of the next frame; b'': the peer has closed."""
    data = b""
    while len(data) < 7 or len(data) < 8 + struct.unpack(">I", data[3:7])[0]:
        with contextlib.suppress(ConnectionResetError):
            if chunk := s.recv(8 + struct.unpack(">I", data[3:7])[0] - len(data) if len(data) >= 7 else 7 - len(data)):
                data += chunk
                continue
        return b""
    return data[7:-1]


def method(class_id, method_id, arguments):
    """A method frame on channel 0."""
    payload = struct.pack(">HH", class_id, method_id) + arguments
    return struct.pack(">BHI", 1, 0, len(payload)) + payload + b"\xce"


def start_ok(user=b"guest", password=b"guest"):
    """With the capability of clients that want to be told that their login is refused."""
    response = b"\0" + user + b"\0" + password
    capability = b"\x1cauthentication_failure_closet\1"
    properties = b"\x0ccapabilitiesF" + struct.pack(">I", len(capability)) + capability
    return method(10, 11, struct.pack(">I", len(properties)) + properties + b"\5PLAIN" +
                  struct.pack(">I", len(response)) + response + b"\5en_US")


START, TUNE, OPEN_OK, CLOSE = (struct.pack(">HH", 10, n) for n in (10, 30, 41, 50))


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("header,shown", [
    (REMOTE, "192.0.2.7\t40000\t192.0.2.9\t5672"),
    (b"PROXY TCP6 2001:db8::7 2001:db8::9 40001 5671\r\n", "2001:db8::7\t40001\t2001:db8::9\t5671"),
    (v2_tcp("192.0.2.8", "192.0.2.9", 40002, 5671), "192.0.2.8\t40002\t192.0.2.9\t5671"),
    (v2_tcp("2001:db8::8", "2001:db8::9", 40003, 5671, b"\4\0\2no"), "2001:db8::8\t40003\t2001:db8::9\t5671"),
    (b"PROXY UNKNOWN\r\n", "127.0.0.1\t"), (v2(0, 0, b""), "127.0.0.1\t"),
], ids=["v1", "v1 ipv6", "v2", "v2 ipv6 and more", "v1 unknown", "v2 local"])
def test_the_peer_is_the_one_that_the_header_names(proxied, ctl, secure, header, shown):
    with peer(proxied, secure, header, pieces=5) as s:
        assert frame(s)[:4] == START
        s.sendall(start_ok(b"far", b"away"))
        assert frame(s)[:4] == TUNE
        s.sendall(method(10, 31, b"\0" * 8) + method(10, 40, b"\1/\0\0"))
        assert frame(s)[:4] == OPEN_OK
        columns = ["peer_host", "peer_port", "host", "port"]
        listed = ctl(proxied, "-q", "--no-table-headers", "list_connections", *columns).stdout
        assert any(line.startswith(shown) for line in listed.splitlines()), listed


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("header,allowed", [
    (REMOTE, False),
    (v2_tcp("192.0.2.8", "127.0.0.1", 40002, 5671), False),  # whatever the proxy says of its own end
    (v2_tcp("::ffff:192.0.2.8", "::1", 40002, 5671), False),
    (b"PROXY TCP4 127.0.0.1 127.0.0.1 40000 5672\r\n", True),
    (b"PROXY UNKNOWN\r\n", True), (v2(0, 0, b""), True),
], ids=["remote", "remote to loopback", "mapped", "loopback", "unknown", "local"])
def test_guest_comes_from_this_machine_only(proxied, secure, header, allowed):
    """RabbitMQ looks at the socket, so that whoever reaches a proxy on the broker's machine may be guest there. We do not."""
    with peer(proxied, secure, header) as s:
        assert frame(s)[:4] == START
        s.sendall(start_ok())
        answer = frame(s)
        if allowed:
            assert answer[:4] == TUNE
        else:
            assert answer[:6] == CLOSE + b"\x01\x93"  # 403
            proxied.logged("user 'guest' can only connect via localhost")


def test_failed_logins_count_for_the_client_not_for_the_proxy(make):
    with make(proxy_protocol="true", **{"auth.max_failures_per_minute": "1", "auth.failure_delay": "0"}) as broker:
        for source, reason in [("192.0.2.7", "user 'nobody' - invalid credentials"),
                               ("192.0.2.7", "too many failed logins from 192.0.2.7"),
                               ("192.0.2.8", "user 'nobody' - invalid credentials")]:
            with peer(broker, False, v2_tcp(source, "192.0.2.9", 40000, 5672)) as s:
                assert frame(s)[:4] == START
                s.sendall(start_ok(b"nobody"))
                assert frame(s)[:4] == CLOSE
            broker.logged(f"({source}:40000 -> 192.0.2.9:5672, state: starting): PLAIN login refused: {reason}")


@pytest.mark.parametrize("secure,header,offered", [
    (False, REMOTE, b""), (True, REMOTE, b"PLAIN AMQPLAIN"), (False, b"PROXY UNKNOWN\r\n", b"PLAIN AMQPLAIN"),
], ids=["remote", "remote tls", "local"])
def test_no_password_without_tls(make, ctl, secure, header, offered):
    with make(proxy_protocol="true", **{"auth.require_tls": "true"}) as broker:
        ctl(broker, "add_user", "far", "away")
        with peer(broker, secure, header) as s:
            start = frame(s)
            assert start.endswith(struct.pack(">I", len(offered)) + offered + b"\0\0\0\5en_US")
            s.sendall(start_ok(b"far", b"away"))
            answer = frame(s)
            if offered:
                assert answer[:4] == TUNE
            else:
                assert answer[:6] == CLOSE + struct.pack(">H", 503)
                assert b"unknown authentication mechanism 'PLAIN': this broker wants TLS (auth.require_tls)" in answer


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("sent", [b"", b"P", REMOTE[:-1], V2, v2(1, 0x11, b"x" * 12)[:-1]],
                         ids=["nothing", "a letter", "no line end", "signature", "all but one"])
def test_a_header_that_does_not_come(make, secure, sent):
    with make(proxy_protocol="true", handshake_timeout="300ms") as broker:
        with socket.create_connection(("127.0.0.1", broker.port if secure else broker.broker.port), 60) as s:
            with contextlib.suppress(ConnectionError):  # it was closed before that was sent
                s.sendall(sent)
                assert s.recv(10) == b""
        broker.logged("timeout: no complete PROXY header in time")


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("sent,reason", [
    (AMQP, "no PROXY header"), (b"\x16\x03\x01\x02\0", "no PROXY header"),
    (b"PROXY TCP4 192.0.2.7 192.0.2.9 40000 99999\r\n", "a port must be"),
    (b"PROXY TCP4 2001:db8::7 192.0.2.9 40000 5672\r\n", "not an address of the family"),
    (b"PROXY " + b"x" * 200, "no end of line"),
    (V2 + b"\x31\x11\0\x0c" + b"x" * 12, "version 3"),
    (V2 + b"\x21\x11\xff\xff", "octets are more than"),
], ids=["amqp", "tls hello", "port", "family", "endless", "version", "length"])
def test_a_bad_header_ends_its_connection_only(proxied, secure, sent, reason):
    with socket.create_connection(("127.0.0.1", proxied.port if secure else proxied.broker.port), 60) as s:
        s.sendall(sent)
        with contextlib.suppress(ConnectionResetError):
            assert s.recv(10) == b""
    proxied.logged(reason)
    with peer(proxied, secure, REMOTE) as s:
        assert frame(s)[:4] == START


def test_hundreds_that_wait_hold_up_nobody(proxied):
    waiting = []
    try:
        for _ in range(300):
            waiting.append(socket.create_connection(("127.0.0.1", proxied.broker.port), 60))
            waiting[-1].sendall(b"PROX")
        with peer(proxied, False, REMOTE) as s:
            assert frame(s)[:4] == START
        for s in waiting:
            s.sendall(REMOTE[4:] + AMQP)
        for s in waiting:
            assert frame(s)[:4] == START
    finally:
        for s in waiting:
            s.close()
