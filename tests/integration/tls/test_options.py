"""What each ssl_* setting does to a handshake."""

import concurrent.futures
import contextlib
import http.client
import os
import signal
import socket
import ssl
import subprocess
import threading

import pytest

from conftest import HOW, ended, openssl, support

OLD, NEW = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
AES128, AES256, CHACHA = ("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384",
                          "ECDHE-ECDSA-CHACHA20-POLY1305")


def handshake(broker, context, name="127.0.0.1", session=None):
    """(version, cipher suite) that were settled; the connection has answered in AMQP."""
    with socket.create_connection(("127.0.0.1", broker.port), 60) as s, \
            context.wrap_socket(s, server_hostname=name, session=session) as tls:
        tls.sendall(b"AMQP\0\0\x09\x01")
        assert tls.recv(10)[:1] == b"\x01"
        return tls.version(), tls.cipher()[0]


def refused(broker, context):
    """The handshake fails, or with TLS 1.3 the first thing to be read says that it has failed."""
    with pytest.raises(OSError):
        handshake(broker, context)


def suites(**values):
    """The settings of ssl_options.ciphers and the like."""
    return {"ssl_options." + k.replace("__", "."): v for k, v in values.items()}


@pytest.mark.parametrize("versions,good,bad", [
    ([], [OLD, NEW], [ssl.TLSVersion.TLSv1_1]),
    (["tlsv1.2"], [OLD], [NEW]),
    (["tlsv1.3"], [NEW], [OLD]),
    (["tlsv1.3", "tlsv1.2"], [OLD, NEW], []),
])
def test_versions(make, versions, good, bad):
    with make(**suites(**{f"versions__{i}": v for i, v in enumerate(versions)})) as broker:
        for version in good:
            assert handshake(broker, broker.context(version=version))[0] == version.name.replace("_", ".")
        for version in bad:
            context = broker.context(version=version)
            context.set_ciphers("DEFAULT@SECLEVEL=0")  # else the client itself would not say TLS 1.1
            refused(broker, context)


@pytest.mark.parametrize("setting,offer,settled", [
    ([AES128], AES128, AES128),
    ([AES128], AES256, None),
    (["TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"], AES256, AES256),  # by IANA's name
    (["TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"], CHACHA, CHACHA),
    (["TLS_AES_128_GCM_SHA256"], AES128, None),  # a suite of TLS 1.3 is none of 1.2
])
def test_cipher_of_tls12(make, setting, offer, settled):
    with make(**suites(**{f"ciphers__{i}": v for i, v in enumerate(setting)})) as broker:
        context = broker.context(version=OLD)
        context.set_ciphers(offer)
        if settled is None:
            refused(broker, context)
        else:
            assert handshake(broker, context)[1] == settled


@pytest.mark.parametrize("suite", ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"])
def test_suite_of_tls13(make, suite):
    with make(**suites(ciphers__1=suite, ciphers__2=AES128)) as broker:
        assert handshake(broker, broker.context(version=NEW)) == ("TLSv1.3", suite)
        assert handshake(broker, broker.context(version=OLD)) == ("TLSv1.2", AES128)


@pytest.mark.parametrize("honor,settled", [("false", AES256), ("true", AES128)])
def test_whose_order_of_ciphers_counts(make, honor, settled):
    with make(**suites(ciphers__1=AES128, ciphers__2=AES256, honor_cipher_order=honor)) as broker:
        context = broker.context(version=OLD)
        context.set_ciphers(f"{AES256}:{AES128}")
        assert handshake(broker, context)[1] == settled


def s_client(broker, *words, text=""):
    """What the openssl program says of a connection."""
    done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{broker.port}", *words], input=text,
                          capture_output=True, text=True, timeout=60, check=False)
    return done.stdout + done.stderr


@pytest.mark.parametrize("honor,settled", [("false", "ECDH, prime256v1"), ("true", "X25519")])
def test_whose_order_of_curves_counts(make, honor, settled):
    with make(**suites(honor_ecc_order=honor)) as broker:
        assert settled in s_client(broker, "-tls1_2", "-curves", "P-256:X25519")


def test_clients_cannot_renegotiate(plain_verify):
    said = s_client(plain_verify, "-tls1_2", text="R\n")
    assert "RENEGOTIATING" in said and "no renegotiation" in said


def test_protocol_name(plain_verify):
    assert "ALPN protocol: amqp" in s_client(plain_verify, "-alpn", "http/1.1,amqp")
    assert "No ALPN negotiated" in s_client(plain_verify, "-alpn", "http/1.1")


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_depth_counts_the_certificates_between(make, pki, tmp_path, depth):
    first = pki.ours.under(f"first {depth}")
    second = first.under("second")
    chains = []
    for i, authorities in enumerate([[], [first], [second, first]]):
        signer = authorities[0] if authorities else pki.ours
        cert, key = signer.issue(f"depth{depth}", "/CN=guest", "DNS:guest")
        chain = tmp_path / f"chain{i}.pem"
        chain.write_bytes(b"".join(p.read_bytes() for p in [cert, *(a.ca for a in authorities)]))
        chains.append((chain, key))
    with make(**suites(verify="verify_peer", fail_if_no_peer_cert="true", depth=depth)) as broker:
        for between, client in enumerate(chains):
            if between <= depth:
                handshake(broker, broker.context(client=client))
            else:
                refused(broker, broker.context(client=client))
        if depth < 2:
            broker.logged("the client's certificate is refused: certificate chain too long")


def test_clients_are_not_asked_without_verify_peer(make, pki):
    with make(ssl_options__fail_if_no_peer_cert="true") as broker:
        for client in (None, pki.client, pki.stranger, pki.expired, pki.lonely):
            handshake(broker, broker.context(client=client))


def encrypted(key, path, traditional=False):
    """key, in a file that needs the password `open sesame`."""
    how = ["ec", "-aes128"] if traditional else ["pkcs8", "-topk8", "-v2", "aes256"]
    openssl(*how, "-in", key, "-out", path, "-passout", "pass:open sesame")
    return path


@pytest.mark.parametrize("traditional", [False, True])
def test_encrypted_key(make, pki, tmp_path, traditional):
    key = encrypted(pki.server[1], tmp_path / "key.pem", traditional)
    secret = tmp_path / "secret"
    secret.write_text("open sesame\n")
    with make(**suites(keyfile=key, password=f"file:{secret}")) as broker:
        handshake(broker, broker.context())
        os.kill(broker.broker.pid, signal.SIGHUP)
        broker.logged("the certificates were read again")
        handshake(broker, broker.context())


@pytest.mark.parametrize("password,words", [
    ("wrong", []),
    (None, ["an encrypted key needs ssl_options.password"]),
])
@HOW
def test_encrypted_key_without_its_password(pki, tmp_path, how, password, words):
    config = {"listeners.tcp": "none", "listeners.ssl.1": "127.0.0.1:0", "allow_root": "true",
              "ssl_options.certfile": pki.server[0], "management.socket.path": tmp_path / "s",
              "ssl_options.keyfile": encrypted(pki.server[1], tmp_path / "key.pem")}
    if password:
        config["ssl_options.password"] = password
    done = ended(tmp_path, how, config)
    assert done.returncode == 78
    for word in ["ssl_options.keyfile", "key.pem", "no usable private key", *words]:
        assert word in done.stderr
    assert not password or password not in done.stderr


def test_a_session_does_not_outlive_trust(make, pki, tmp_path):
    """A ticket of the time before a reload must not spare its owner the check against the new authorities."""
    trusted = tmp_path / "ca.pem"
    trusted.write_bytes(pki.ours_ca.read_bytes())
    with make(**suites(cacertfile=trusted, verify="verify_peer", fail_if_no_peer_cert="true")) as broker:
        context = broker.context(client=pki.client, version=OLD)

        def connect(session):
            with socket.create_connection(("127.0.0.1", broker.port), 60) as s, \
                    context.wrap_socket(s, server_hostname="127.0.0.1", session=session) as tls:
                tls.sendall(b"AMQP\0\0\x09\x01")
                assert tls.recv(10)[:1] == b"\x01"
                return tls.session, tls.session_reused
        session, reused = connect(None)
        assert not reused
        assert connect(session)[1]  # else the rest shows nothing
        trusted.write_bytes(pki.other.ca.read_bytes())
        os.kill(broker.broker.pid, signal.SIGHUP)
        broker.logged("the certificates were read again")
        with pytest.raises(OSError):
            connect(session)
        broker.logged("the client's certificate is refused")


def test_changed_files_are_seen(make, pki, tmp_path):
    cert, key = tmp_path / "c.pem", tmp_path / "k.pem"

    def replace(path, content):  # at once, as tools that renew certificates do
        fresh = tmp_path / "fresh"
        fresh.write_bytes(content)
        fresh.rename(path)

    def subject():
        with socket.create_connection(("127.0.0.1", broker.port), 60) as s, \
                broker.context().wrap_socket(s, server_hostname="127.0.0.1") as tls:
            return tls.getpeercert()["subject"][0][0][1]
    replace(cert, pki.server[0].read_bytes())
    replace(key, pki.server[1].read_bytes())
    with make(**suites(certfile=cert, keyfile=key, watch="true")) as broker:
        old = broker.connect()
        assert subject() == "server one"
        replace(cert, b"-----BEGIN CERTIFICATE-----\nno\n-----END CERTIFICATE-----\n")
        broker.logged("the certificates stay as they are: ssl_options.certfile")
        assert subject() == "server one"
        replace(key, pki.server2[1].read_bytes())
        replace(cert, pki.server2[0].read_bytes())
        broker.logged("the certificates were read again")
        assert subject() == "server two"
        old.channel().queue_declare("", exclusive=True)  # what is open stays
        old.close()
        # Each change was looked at once: the broken file, and the new pair in one or two steps.
        assert broker.broker.log_text().count("the certificates stay as they are") <= 2


@pytest.mark.parametrize("certfile,keyfile,more,words", [
    ("/nonexistent.pem", "server", {}, ["management.ssl.certfile", "/nonexistent.pem", "No such file"]),
    ("server", "/nonexistent.pem", {}, ["management.ssl.keyfile", "/nonexistent.pem", "No such file"]),
    ("/dev/null", "server", {}, ["management.ssl.certfile", "/dev/null", "no usable certificate"]),
    ("server", "nobody", {}, ["management.ssl.keyfile", "does not match", "management.ssl.certfile"]),
    ("server", "server", {"cacertfile": "/dev/null"}, ["management.ssl.cacertfile", "/dev/null"]),
    ("server", None, {}, ["management.ssl.certfile", "management.ssl.keyfile"]),
    ("server", "encrypted", {}, ["management.ssl.keyfile", "needs management.ssl.password"]),
    ("server", "encrypted", {"password": "wrong"}, ["management.ssl.keyfile", "no usable private key"]),
])
@HOW
def test_bad_files_of_https_are_named(pki, tmp_path, how, certfile, keyfile, more, words):
    def path(name, part):
        return name if name.startswith("/") else getattr(pki, name)[part]
    config = {"listeners.tcp.1": "127.0.0.1:0", "allow_root": "true", "management.socket.path": tmp_path / "s",
              "management.tcp.port": "none", "management.ssl.ip": "127.0.0.1", "management.ssl.port": "0",
              "management.ssl.certfile": path(certfile, 0)}
    config.update({f"management.ssl.{k}": v for k, v in more.items()})
    if keyfile == "encrypted":
        config["management.ssl.keyfile"] = encrypted(pki.server[1], tmp_path / "key.pem")
    elif keyfile:
        config["management.ssl.keyfile"] = path(keyfile, 1)
    done = ended(tmp_path, how, config)
    assert done.returncode == 78
    for word in words:
        assert word in done.stderr


@pytest.mark.parametrize("versions,good,bad", [
    ([], [OLD, NEW], [ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1]),
    (["tlsv1.2"], [OLD], [NEW]),
    (["tlsv1.3"], [NEW], [OLD]),
])
def test_versions_of_https(make, pki, versions, good, bad):
    config = {"management.ssl.ip": "127.0.0.1", "management.ssl.port": "0", "management.ssl.certfile": pki.server[0],
              "management.ssl.keyfile": pki.server[1], **{f"management.ssl.versions.{i}": v for i, v in enumerate(versions)}}
    with make(**config) as broker:
        port = int(broker.broker.addresses["https"].rsplit(":", 1)[1])
        for version in good + bad:
            context = broker.context(version=version)
            context.set_ciphers("DEFAULT@SECLEVEL=0")
            with socket.create_connection(("127.0.0.1", port), 60) as s:
                if version in good:
                    context.wrap_socket(s, server_hostname="127.0.0.1").close()
                    continue
                with pytest.raises(OSError):
                    context.wrap_socket(s, server_hostname="127.0.0.1")


def test_https(make, pki, tmp_path, ctl):
    config = {"management.ssl.ip": "127.0.0.1", "management.ssl.port": "0", "management.ssl.certfile": pki.server2[0],
              "management.ssl.keyfile": encrypted(pki.server2[1], tmp_path / "key.pem"),
              "management.ssl.password": "open sesame"}
    with make(**config) as broker:
        port = int(broker.broker.addresses["https"].rsplit(":", 1)[1])
        with socket.create_connection(("127.0.0.1", port), 60) as s, \
                broker.context().wrap_socket(s, server_hostname="127.0.0.1") as tls:
            assert tls.getpeercert()["subject"][0][0][1] == "server two"
            tls.sendall(b"GET /api/whoami HTTP/1.1\r\nHost: a\r\nAuthorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\n\r\n")
            assert tls.recv(4096).startswith(b"HTTP/1.1 200 ")
        listed = ctl(broker, "-q", "--no-table-headers", "certificates", "key", "subject").stdout
        assert "management.ssl.certfile\tCN=server two\n" in listed


class Https:
    """A daemon's HTTPS with a certificate and a key that change."""

    def __init__(self, make, pki, path, **more):
        self.pki, self.cert, self.key = pki, path / "c.pem", path / "k.pem"
        self.take(pki.server)
        self.make = make(**{"management.ssl.ip": "127.0.0.1", "management.ssl.port": "0", "management.ssl.certfile": self.cert,
                            "management.ssl.keyfile": self.key, **more})

    def __enter__(self):
        self.broker = self.make.__enter__()
        self.port = int(self.broker.broker.addresses["https"].rsplit(":", 1)[1])
        return self

    def __exit__(self, *what):
        return self.make.__exit__(*what)

    def take(self, files):
        """Other files under the same names."""
        for at, path in zip(files, (self.cert, self.key)):
            path.with_suffix(".new").write_bytes(at.read_bytes())
            path.with_suffix(".new").rename(path)

    def reload(self, ctl):
        return ctl(self.broker, "reload")

    def connect(self):
        plain = socket.create_connection(("127.0.0.1", self.port), 60)
        return self.broker.context().wrap_socket(plain, server_hostname="127.0.0.1")

    def subject(self):
        with self.connect() as tls:
            assert whoami(tls)[0] == 200
            return tls.getpeercert()["subject"][0][0][1]


def whoami(tls):
    """(status, whether the server closes behind it)"""
    tls.sendall(b"GET /api/whoami HTTP/1.1\r\nHost: a\r\nAuthorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\n\r\n")
    answer = http.client.HTTPResponse(tls)
    answer.begin()
    answer.read()
    return answer.status, answer.getheader("Connection") == "close"


def test_https_has_new_certificates_after_a_reload(make, pki, tmp_path, ctl):
    with Https(make, pki, tmp_path) as server, server.connect() as kept, server.connect() as silent:
        assert server.subject() == "server one"
        assert whoami(kept) == (200, False)
        server.key.write_bytes(pki.server2[1].read_bytes())  # a key without its certificate
        done = server.reload(ctl)
        assert done.returncode != 0 and "management.ssl.keyfile" in done.stderr and "does not match" in done.stderr
        assert server.subject() == "server one"
        assert whoami(kept) == (200, False)
        server.take(pki.server2)
        assert server.reload(ctl).returncode == 0
        server.broker.logged("the certificates of HTTPS were read again")
        assert server.subject() == "server two"
        assert "management.ssl.certfile\tCN=server two\n" in ctl(server.broker, "-q", "--no-table-headers", "certificates",
                                                                 "key", "subject").stdout
        # What began before is answered, and asked to come again.
        assert whoami(kept) == (200, True)
        assert kept.recv(1) == b""
        assert whoami(silent) == (200, True)


def test_https_takes_connections_while_certificates_change(make, pki, tmp_path, ctl):
    with Https(make, pki, tmp_path) as server:
        names, stop = [], threading.Event()

        def ask():
            while not stop.is_set():
                names.append(server.subject())
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            asking = pool.submit(ask)
            try:
                for i in range(6):
                    server.take((pki.server2, pki.server)[i % 2])
                    assert server.reload(ctl).returncode == 0
                    before = len(names)
                    support.wait_until(lambda: len(names) > before + 1 or asking.done(), 60, "an answer")
            finally:
                stop.set()
            asking.result(60)  # nothing was refused
        assert names[-1] == "server one"
        assert set(names) == {"server one", "server two"}


def test_idle_connections_of_old_certificates_do_not_pile_up(make, pki, tmp_path, ctl):
    with Https(make, pki, tmp_path) as server, contextlib.ExitStack() as stack:
        old = []
        for _ in range(7):
            old.append(stack.enter_context(server.connect()))
            assert server.reload(ctl).returncode == 0
        for tls in old[:3]:  # of four earlier sets of certificates the connections are kept
            with contextlib.suppress(ConnectionError):
                assert tls.recv(1) == b""
        for tls in old[3:]:
            assert whoami(tls) == (200, True)
        assert server.subject() == "server one"


def test_https_files_are_watched(make, pki, tmp_path):
    with Https(make, pki, tmp_path, **{"ssl_options.watch": "true"}) as server:
        assert server.subject() == "server one"
        server.take(pki.server2)
        server.broker.logged("the certificates of HTTPS were read again")
        assert server.subject() == "server two"
