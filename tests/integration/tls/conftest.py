"""A daemon with TLS and certificates that the openssl program makes for each run."""

import os
import ssl
import subprocess
import sys
from pathlib import Path

import pika
import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

from support import broker as support  # noqa: E402


def openssl(*words):
    """Run the program; its output matters only when it fails."""
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True, timeout=60)


class Authority:
    """A CA of its own directory and the certificates it signs."""

    def __init__(self, path, name="Test CA"):
        self.dir = path
        path.mkdir()
        self.ca = path / "ca.pem"
        self._key(path / "ca.key")
        self.self_signed(name, path / "ca.key", self.ca, "basicConstraints=critical,CA:TRUE")

    @staticmethod
    def _key(path):
        openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", path)

    @staticmethod
    def self_signed(name, key, cert, extension):
        """A certificate that vouches for itself."""
        openssl("req", "-x509", "-new", "-key", key, "-subj", f"/CN={name}", "-days", "2", "-addext", extension,
                "-out", cert)

    def under(self, name):
        """Another authority that this one vouches for."""
        cert, key = self.issue(name, f"/CN={name}", None)
        lower = Authority.__new__(Authority)
        lower.dir, lower.ca = self.dir / f"{name}.d", cert
        lower.dir.mkdir()
        (lower.dir / "ca.key").write_bytes(key.read_bytes())
        return lower

    def issue(self, name, subject, san, days=2, start=None):
        """(certificate, key); san None: it is an authority's."""
        key, request, cert = (self.dir / f"{name}.{end}" for end in ("key", "csr", "pem"))
        self._key(key)
        openssl("req", "-new", "-utf8", "-key", key, "-subj", subject, "-out", request)
        extensions = self.dir / f"{name}.ext"
        extensions.write_text("basicConstraints=critical,CA:TRUE\n" if san is None else f"subjectAltName={san}\n")
        if start is None:
            openssl("x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self.dir / "ca.key",
                    "-CAcreateserial", "-days", days, "-extfile", extensions, "-out", cert)
        else:
            (self.dir / "index.txt").write_text("")
            (self.dir / "serial").write_text("1000\n")
            conf = self.dir / "ca.conf"
            conf.write_text(f"[ca]\ndefault_ca=d\n[d]\nnew_certs_dir={self.dir}\ndatabase={self.dir}/index.txt\n"
                            f"serial={self.dir}/serial\ndefault_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n")
            openssl("ca", "-batch", "-config", conf, "-cert", self.ca, "-keyfile", self.dir / "ca.key",
                    "-in", request, "-out", cert, "-startdate", start[0], "-enddate", start[1],
                    "-extfile", extensions, "-notext")
        return cert, key


class Pki:
    """Everything the tests show to each other."""

    def __init__(self, path):
        self.ours = Authority(path / "ours")
        self.other = Authority(path / "other", "Other CA")
        san = "DNS:localhost,IP:127.0.0.1"
        self.server = self.ours.issue("server", "/CN=server one", san)
        self.server2 = self.ours.issue("server2", "/CN=server two", san)
        self.named = self.ours.issue("named", "/CN=named", "DNS:named.example")
        self.client = self.ours.issue("client", "/O=Tests/CN=guest", "DNS:guest,email:guest@example.org")
        self.nobody = self.ours.issue("nobody", "/CN=nobody", "DNS:nobody")
        self.stranger = self.other.issue("client", "/CN=guest", "DNS:guest")
        self.expired = self.ours.issue("expired", "/CN=guest", "DNS:guest",
                                       start=("20200101000000Z", "20200201000000Z"))
        key = path / "lonely.key"
        key.write_bytes(self.client[1].read_bytes())
        self.lonely = path / "lonely.pem", key
        Authority.self_signed("guest", key, self.lonely[0], "subjectAltName=DNS:guest")
        self.ours_ca = self.ours.ca


@pytest.fixture(scope="session")
def pki(tmp_path_factory):
    """The certificates."""
    return Pki(tmp_path_factory.mktemp("pki"))


class TlsBroker:
    """A daemon with a TLS listener beside its plain one."""

    def __init__(self, pki, **settings):
        self.pki = pki
        config = {"listeners.ssl.default": "127.0.0.1:0", "ssl_options.cacertfile": pki.ours_ca,
                  "ssl_options.certfile": pki.server[0], "ssl_options.keyfile": pki.server[1],
                  "shutdown.timeout": "3", "log.console.level": "debug",
                  "handshake_timeout": "60s", "ssl_handshake_timeout": "60s"}
        config.update({k.replace("__", "."): v for k, v in settings.items()})
        self.broker = support.new(config, kind="sluice")

    def __enter__(self):
        self.broker.__enter__()
        if not self.broker.running():
            self.broker.start()
        return self

    def __exit__(self, *what):
        return self.broker.__exit__(*what)

    @property
    def port(self):
        """Of the TLS listener."""
        return int(self.broker.addresses["amqps.1"].rsplit(":", 1)[1])

    def context(self, client=None, ca=None, version=None):
        """A client's settings."""
        context = ssl.create_default_context(cafile=str(ca or self.pki.ours_ca))
        if version is not None:
            context.minimum_version = context.maximum_version = version
        if client is not None:
            context.load_cert_chain(str(client[0]), str(client[1]))
        return context

    def connect(self, context=None, external=False, **more):
        """A pika connection over TLS."""
        credentials = pika.credentials.ExternalCredentials() if external else pika.PlainCredentials("guest", "guest")
        return pika.BlockingConnection(pika.ConnectionParameters(
            "127.0.0.1", self.port, credentials=credentials, socket_timeout=60, blocked_connection_timeout=60,
            ssl_options=pika.SSLOptions(context or self.context(), "127.0.0.1"), **more))

    def logged(self, text):
        """Wait until the log has text."""
        self.broker.wait_log(text)


@pytest.fixture(scope="module")
def plain_verify(pki):
    """Clients may give a certificate or not."""
    with TlsBroker(pki, ssl_options__verify="verify_peer", auth_mechanisms__1="PLAIN",
                   auth_mechanisms__2="EXTERNAL", ssl_cert_login_from="common_name",
                   ssl_handshake_timeout="60s") as broker:
        yield broker


@pytest.fixture(scope="session")
def make(pki):
    """A daemon with other settings."""
    return lambda **settings: TlsBroker(pki, **settings)


@pytest.fixture(scope="session")
def ctl():
    """Run sluicectl against a daemon."""
    def run(broker, *words):
        return subprocess.run([os.environ["SLUICECTL"], "--socket", broker.broker.admin, *words], check=False,
                              capture_output=True, text=True, timeout=60)
    return run


HOW = pytest.mark.parametrize("how", ["start", "check"])


def ended(tmp_path, how, config):
    """A daemon that ended by itself; --check has not touched the data directory."""
    words = [w for k, v in config.items() for w in ("--set", f"{k}={v}")] + (["--check"] if how == "check" else [])
    done = subprocess.run([os.environ["SLUICED"], "--data-dir", str(tmp_path / "d"), *words], check=False,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert how != "check" or not (tmp_path / "d").exists()
    return done
