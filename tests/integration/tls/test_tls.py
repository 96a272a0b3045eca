"""Clients of a TLS listener, good and bad."""

import contextlib
import hashlib
import os
import signal
import socket
import ssl
import struct
import time

import pika
import pytest

from conftest import HOW, Authority, ended, openssl


def round_trip(connection, sizes):
    """Bodies of these sizes go in and come out the same."""
    channel = connection.channel()
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.confirm_delivery()
    bodies = [hashlib.shake_128(str(n).encode()).digest(n) for n in sizes]
    for body in bodies:
        channel.basic_publish("", queue, body)
    for body in bodies:
        assert channel.basic_get(queue, auto_ack=True)[2] == body


def works(broker):
    """Others are not disturbed."""
    connection = broker.connect()
    round_trip(connection, [10])
    connection.close()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_bodies_both_ways(plain_verify, version):
    connection = plain_verify.connect(plain_verify.context(version=version))
    round_trip(connection, [0, 1, 100, 16384, 131064, 131065, 1 << 20, (8 << 20) + 3])
    connection.close()


def test_lists_show_what_was_negotiated(plain_verify, pki, ctl):
    context = plain_verify.context(client=pki.client, version=ssl.TLSVersion.TLSv1_3)
    connection = plain_verify.connect(context)
    columns = ["ssl", "ssl_protocol", "ssl_key_exchange", "ssl_cipher", "ssl_hash", "peer_cert_subject",
               "peer_cert_issuer", "peer_cert_validity"]
    done = ctl(plain_verify, "-q", "--no-table-headers", "list_connections", *columns)
    assert done.returncode == 0, done.stderr
    values = done.stdout.rstrip("\n").split("\t")
    assert values[:7] == ["true", "tlsv1.3", "any", "aes_256_gcm", "aead", "CN=guest,O=Tests", "CN=Test CA"]
    assert " - " in values[7]
    connection.close()


@pytest.mark.parametrize("who,reason", [("stranger", "unable to get"), ("expired", "certificate has expired"),
                                        ("lonely", "self-signed certificate")])
def test_bad_client_certificate_is_refused(plain_verify, pki, who, reason):
    with pytest.raises(Exception):
        plain_verify.connect(plain_verify.context(client=getattr(pki, who)))
    plain_verify.logged("the client's certificate is refused: " + reason)
    works(plain_verify)


def test_client_that_does_not_know_our_authority(plain_verify, pki):
    with pytest.raises(ssl.SSLCertVerificationError):
        plain_verify.connect(plain_verify.context(ca=pki.other.ca))
    plain_verify.logged("TLS handshake failed")
    works(plain_verify)


def test_missing_client_certificate(make, pki):
    with make(ssl_options__verify="verify_peer", ssl_options__fail_if_no_peer_cert="true") as broker:
        with pytest.raises(Exception):
            broker.connect()
        broker.logged("peer did not return a certificate")
        broker.connect(broker.context(client=pki.client)).close()


def test_external_login(plain_verify, pki, ctl):
    connection = plain_verify.connect(plain_verify.context(client=pki.client), external=True)
    shown = ctl(plain_verify, "-q", "--no-table-headers", "list_connections", "user", "auth_mechanism").stdout
    assert "guest\tEXTERNAL\n" in shown
    connection.close()
    with pytest.raises(pika.exceptions.ProbableAuthenticationError):
        plain_verify.connect(plain_verify.context(client=pki.nobody), external=True)
    plain_verify.logged("EXTERNAL login refused: user 'nobody'")
    with pytest.raises(pika.exceptions.ProbableAuthenticationError):
        plain_verify.connect(external=True)
    plain_verify.logged("EXTERNAL login refused: the client gave no certificate")


def test_external_is_not_offered_on_plain(plain_verify):
    with socket.create_connection(("127.0.0.1", plain_verify.broker.port), 60) as s:
        s.sendall(b"AMQP\0\0\x09\x01")
        start = s.recv(4096)
    assert b"PLAIN" in start and b"EXTERNAL" not in start


def test_plain_on_tls_and_tls_on_plain(plain_verify):
    with socket.create_connection(("127.0.0.1", plain_verify.port), 60) as s:
        s.sendall(b"AMQP\0\0\x09\x01")
        with contextlib.suppress(ConnectionResetError):
            assert s.recv(10) == b""
    plain_verify.logged("plain AMQP client on TLS port")
    with socket.create_connection(("127.0.0.1", plain_verify.broker.port), 60) as s, pytest.raises(OSError):
        plain_verify.context().wrap_socket(s, server_hostname="127.0.0.1")
    plain_verify.logged("TLS client on plain port")


def test_stalled_handshake_times_out(make):
    with make(ssl_handshake_timeout="1s") as broker:
        with socket.create_connection(("127.0.0.1", broker.port), 60) as s:
            with contextlib.suppress(ConnectionError):  # it was closed before that was sent
                s.sendall(b"\x16\x03\x01\x02\x00")
                assert s.recv(10) == b""
        broker.logged("not complete within ssl_handshake_timeout")


def test_two_hundred_handshakes_and_some_killed(plain_verify):
    context = plain_verify.context()
    sockets = []
    for i in range(200):
        s = socket.create_connection(("127.0.0.1", plain_verify.port), 60)
        s.setblocking(False)
        tls = context.wrap_socket(s, server_hostname="127.0.0.1", do_handshake_on_connect=False)
        with contextlib.suppress(ssl.SSLWantReadError):
            tls.do_handshake()
        if i % 4 == 0:  # mid-handshake, with a reset
            tls.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            tls.close()
        else:
            sockets.append(tls)
    for tls in sockets:
        tls.settimeout(60)
        tls.do_handshake()
        tls.sendall(b"AMQP\0\0\x09\x01")
    for tls in sockets:
        assert tls.recv(4096)[:1] == b"\x01"
        tls.close()
    works(plain_verify)


def test_slow_reader_gets_everything(plain_verify):
    connection = plain_verify.connect()
    channel = connection.channel()
    queue = channel.queue_declare("").method.queue
    body = os.urandom(1 << 20)
    channel.confirm_delivery()
    for _ in range(24):
        channel.basic_publish("", queue, body)
    slow = plain_verify.connect()
    consumer = slow.channel()
    got = []
    consumer.basic_consume(queue, lambda _c, _m, _p, data: got.append(data == body), auto_ack=True)
    works(plain_verify)  # while nothing is read there
    deadline = time.monotonic() + 60
    while len(got) < 24 and time.monotonic() < deadline:
        slow.process_data_events(1)
    assert got == [True] * 24
    slow.close()
    channel.queue_delete(queue)
    connection.close()


def test_reload_and_sni(make, pki, tmp_path):
    cert, key = tmp_path / "c.pem", tmp_path / "k.pem"
    cert.write_bytes(pki.server[0].read_bytes())
    key.write_bytes(pki.server[1].read_bytes())

    def subject(name):
        with socket.create_connection(("127.0.0.1", broker.port), 60) as s, \
                broker.context().wrap_socket(s, server_hostname=name) as tls:
            return tls.getpeercert()["subject"][0][0][1]
    with make(**{"ssl_options.certfile": cert, "ssl_options.keyfile": key,
                 "ssl_options.sni.a.certfile": pki.named[0], "ssl_options.sni.a.keyfile": pki.named[1]}) as broker:
        assert subject("localhost") == "server one"
        assert subject("named.example") == "named"
        old = broker.connect()
        key.write_bytes(pki.server2[1].read_bytes())  # a key without its certificate
        os.kill(broker.broker.pid, signal.SIGHUP)
        broker.logged("everything stays as it is: ssl_options.keyfile")
        assert subject("localhost") == "server one"
        cert.write_bytes(pki.server2[0].read_bytes())
        os.kill(broker.broker.pid, signal.SIGHUP)
        broker.logged("the certificates were read again")
        assert subject("localhost") == "server two"
        round_trip(old, [100])
        old.close()


@pytest.mark.parametrize("settings,words", [
    ({"ssl_options.certfile": "/nonexistent.pem"}, ["ssl_options.certfile", "/nonexistent.pem", "No such file"]),
    ({"ssl_options.keyfile": "nobody"}, ["ssl_options.keyfile", "does not match"]),
    ({"ssl_options.cacertfile": "/dev/null"}, ["ssl_options.cacertfile", "/dev/null"]),
    ({"ssl_options.ciphers.1": "NO-SUCH"}, ["ssl_options.ciphers", "NO-SUCH"]),
    ({"ssl_options.versions.1": "tlsv1.1"}, ["ssl_options.versions", "tlsv1.1"]),
    ({"ssl_options.client_renegotiation": "true"}, ["ssl_options.client_renegotiation", "true"]),
    # What an operator relies on and we cannot do is no warning.
    ({"ssl_options.crl_check": "true"}, ["ssl_options.crl_check", "true"]),
    ({"management.ssl.verify": "verify_peer"}, ["management.ssl.verify", "verify_peer"]),
    ({"management.ssl.fail_if_no_peer_cert": "true"}, ["management.ssl.fail_if_no_peer_cert", "true"]),
    ({"ssl_options.cacertfile": "nothing", "ssl_options.verify": "verify_peer"},
     ["ssl_options.verify = verify_peer needs ssl_options.cacertfile"]),
    ({"ssl_options.versions.1": "tlsv1.3", "ssl_options.ciphers.1": "ECDHE-ECDSA-AES128-GCM-SHA256"},
     ["ssl_options.ciphers", "none of them belongs to a version"]),
    ({"ssl_options.sni.a.certfile": "c.pem"}, ["ssl_options.sni.a.keyfile is missing"]),
    ({"ssl_options.sni.a.certfile": "/nonexistent.pem", "ssl_options.sni.a.keyfile": "k.pem"},
     ["ssl_options.sni.a.certfile", "/nonexistent.pem", "No such file"]),
])
@HOW
def test_bad_settings_are_named(pki, tmp_path, how, settings, words):
    config = {"listeners.tcp": "none", "listeners.ssl.1": "127.0.0.1:0", "ssl_options.cacertfile": pki.ours_ca,
              "ssl_options.certfile": pki.server[0], "ssl_options.keyfile": pki.server[1], "allow_root": "true",
              "management.socket.path": tmp_path / "s"}
    config.update(settings)
    if config["ssl_options.keyfile"] == "nobody":
        config["ssl_options.keyfile"] = pki.nobody[1]
    if config["ssl_options.cacertfile"] == "nothing":
        del config["ssl_options.cacertfile"]
    done = ended(tmp_path, how, config)
    assert done.returncode == 78
    for word in words:
        assert word in done.stderr


def test_check_names_every_bad_file(pki, tmp_path):
    """Both listeners, the definitions and the logs in one go; a start would end at the first of them."""
    there = tmp_path / "a file"
    there.write_text("")
    done = ended(tmp_path, "check", {
        "listeners.ssl.1": "127.0.0.1:0", "ssl_options.certfile": pki.server[0], "ssl_options.keyfile": pki.nobody[1],
        "management.ssl.port": "0", "management.ssl.certfile": pki.nobody[0], "management.ssl.keyfile": pki.server[1],
        "load_definitions": tmp_path / "none.json", "log.file": tmp_path / "nowhere/sluice.log",
        "management.http_log_dir": there})
    lines = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (78, "")
    for line, words in zip(lines, [("ssl_options.keyfile", str(pki.nobody[1]), "does not match"),
                                   ("management.ssl.keyfile", str(pki.server[1]), "does not match"),
                                   ("log.file", f"{tmp_path}/nowhere/sluice.log", "No such file"),
                                   ("management.http_log_dir", str(there), "Not a directory"),
                                   ("load_definitions", f"{tmp_path}/none.json", "No such file")], strict=True):
        assert line.startswith("sluiced: error: ")
        assert [word for word in words if word not in line] == []


def test_check_of_good_files_starts_nothing_and_leaves_nothing(pki, tmp_path):
    (tmp_path / "some.json").write_text('{"vhosts": []}')
    secret = tmp_path / "secret"
    secret.write_text("hush\n")
    before = sorted(tmp_path.iterdir())
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]  # of the daemon that runs while its next configuration is checked
        done = ended(tmp_path, "check", {
            "listeners.ssl.1": f"127.0.0.1:{port}", "ssl_options.certfile": pki.server[0],
            "ssl_options.keyfile": pki.server[1], "ssl_options.cacertfile": pki.ours_ca, "management.ssl.port": port,
            "management.ssl.certfile": pki.server[0], "management.ssl.keyfile": pki.server[1],
            "default_pass": f"file:{secret}", "load_definitions": tmp_path / "some.json",
            "log.file": tmp_path / "sluice.log", "management.http_log_dir": tmp_path})
    assert (done.returncode, done.stderr) == (0, "")
    assert "configuration is valid" in done.stdout
    assert sorted(tmp_path.iterdir()) == before


@HOW
def test_a_key_that_only_openssl_knows_is_none_for_https(tmp_path, how):
    """GnuTLS has no such curve; without the check libmicrohttpd only says that it does not start."""
    key, cert = tmp_path / "k.pem", tmp_path / "c.pem"
    openssl("ecparam", "-name", "secp256k1", "-genkey", "-noout", "-out", key)
    Authority.self_signed("odd", key, cert, "subjectAltName=IP:127.0.0.1")
    done = ended(tmp_path, how, {"listeners.tcp.1": "127.0.0.1:0", "allow_root": "true", "management.ssl.port": "0",
                                 "management.socket.path": tmp_path / "s", "management.ssl.ip": "127.0.0.1",
                                 "management.ssl.certfile": cert, "management.ssl.keyfile": key})
    assert done.returncode == 78
    for word in ("management.ssl.certfile", str(cert), "management.ssl.keyfile", str(key), "GnuTLS"):
        assert word in done.stderr


def test_check_warns_of_an_expired_certificate(pki, tmp_path):
    done = ended(tmp_path, "check", {"listeners.ssl.1": "127.0.0.1:0", "ssl_options.certfile": pki.expired[0],
                                     "ssl_options.keyfile": pki.expired[1]})
    assert done.returncode == 0
    assert "has expired" in done.stderr and str(pki.expired[0]) in done.stderr


def test_certificates_are_listed_and_checked(plain_verify, ctl):
    listed = ctl(plain_verify, "-q", "--no-table-headers", "certificates", "key", "subject").stdout.splitlines()
    assert listed == ["ssl_options.certfile\tCN=server one", "ssl_options.cacertfile\tCN=Test CA"]
    assert ctl(plain_verify, "check_certificate_expiration", "1", "days").returncode == 0
    soon = ctl(plain_verify, "check_certificate_expiration", "3", "days")
    assert soon.returncode != 0 and "CN=server one" in soon.stderr
    assert ctl(plain_verify, "check_certificate_expiration", "0", "days").returncode != 0
