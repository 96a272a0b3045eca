#!/usr/bin/python3
"""A message broker for the length of a test.

As a module: class Broker, and start() which picks the kind from the environment. As a program
(used by broker.sh): `broker.py serve DIR [key=value...]` keeps one broker running and listens for
commands on DIR/ctl; `broker.py ctl DIR stop|kill|start|restart|quit` sends one and waits until it
is done.

Environment:
  BROKER        sluice (default), rabbitmq or external
  SLUICED       the daemon to test, for BROKER=sluice
  SLUICED_WRAP  words put before it, such as a memory checker and its options
  AMQP_HOST, AMQP_PORT   where the broker is, for BROKER=external

Every wait has a deadline. Processes are stopped by the pid we started; nothing is left behind.
"""

import os
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

START_TIMEOUT = float(os.environ.get("BROKER_START_TIMEOUT", "120"))
STOP_TIMEOUT = float(os.environ.get("BROKER_STOP_TIMEOUT", "120"))
POLL = 0.01
HEADER = b"AMQP\x00\x00\x09\x01"


class BrokerError(RuntimeError):
    """The broker did not start, stop or behave as a process should."""


def wait_until(check, timeout, what):
    """Call check() until it is true; BrokerError when the deadline passes first."""
    end = time.monotonic() + timeout
    while True:
        got = check()
        if got:
            return got
        if time.monotonic() >= end:
            raise BrokerError(f"timed out after {timeout:g} s waiting for {what}")
        time.sleep(POLL)


def free_port(families=(socket.AF_INET,), low=20000, high=32000):
    """A loopback TCP port that nothing listens on, below the range the kernel gives to clients,
    so that it can be used again after a restart."""
    hosts = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}
    start = int.from_bytes(os.urandom(4), "big") % (high - low)
    for i in range(high - low):
        port = low + (start + i * 7) % (high - low)
        try:
            for family in families:
                with socket.socket(family, socket.SOCK_STREAM) as s:
                    s.bind((hosts[family], port))
            return port
        except OSError:
            continue
    raise BrokerError("no free port")


def has_ipv6_loopback():
    """Whether ::1 can be bound here."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as s:
            s.bind(("::1", 0))
        return True
    except OSError:
        return False


def _handshake(host, port):
    """The server properties in connection.start, or None while nobody answers."""
    try:
        with socket.create_connection((host, port), timeout=20) as s:
            s.settimeout(20)
            s.sendall(HEADER)
            data = b""
            while len(data) < 7 or len(data) < 8 + struct.unpack(">BHI", data[:7])[2]:
                got = s.recv(65536)
                if not got:
                    return None
                data += got
            return data
    except OSError:
        return None


def answers(host, port):
    """True once the broker sends connection.start to a new connection."""
    data = _handshake(host, port)
    return data is not None and data[:1] == b"\x01"


def is_rabbitmq(host, port):
    """True when the product in connection.start is RabbitMQ."""
    data = _handshake(host, port)
    return data is not None and b"\x07productS\x00\x00\x00\x08RabbitMQ" in data


class Broker:
    """One broker process with its own temporary directory. Use it as a context manager.

    host, port  where it speaks AMQP; the port may change with a restart unless it was given
    kind        sluice, rabbitmq or external
    product     what the tests expect of it: sluice or rabbitmq
    """

    kind = "?"

    def __init__(self, config=None, port=0, ipv6=False, plugins=()):
        self.config = dict(config or {})
        self.host = "127.0.0.1"
        self.port = port
        self.fixed_port = port
        self.ipv6 = ipv6
        self.plugins = tuple(plugins)
        self.pid = 0
        self.product = self.kind
        self.proc = None
        self.starts = 0
        self.dir = Path(tempfile.mkdtemp(prefix=f"sluice-test-{self.kind}-"))

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.close(failed=True)
            raise
        return self

    def __exit__(self, kind, value, trace):
        self.close(failed=kind is not None)

    def close(self, failed=False):
        """Stop what runs, print the log's end if something failed, remove the directory.
        BrokerError when it does not stop as it should, unless something failed before."""
        error = None
        try:
            if self.running():
                self.stop()
        except BrokerError as e:
            error = e
            self.kill()
        finally:
            if failed or error:
                self.print_log()
            self._cleanup()
            shutil.rmtree(self.dir, ignore_errors=True)
        if error and not failed:
            raise error

    def _cleanup(self):
        pass

    def ctl_words(self):
        """The words that begin a command of its admin tool (sluicectl or rabbitmqctl); none: it has no such tool."""
        return []

    def management_url(self):
        """Where its HTTP API listens; empty when it has none."""
        return ""

    def set_config(self, key, value):
        """Change one setting of a running broker and return when it is in force."""
        raise BrokerError(f"{self.kind} cannot change {key} while it runs")

    def running(self):
        """True while the process we started lives."""
        return self.proc is not None and self.proc.poll() is None

    def start(self):
        """Start it and return when it accepts connections."""
        if self.running():
            raise BrokerError("it runs already")
        self.starts += 1
        try:
            self._spawn()
        except OSError as e:
            raise BrokerError(f"cannot run {self.kind}: {e}") from None
        try:
            wait_until(self._ready, START_TIMEOUT, f"{self.kind} to accept connections")
        except BrokerError:
            self.kill()
            raise

    def _ready(self):
        if self.proc.poll() is not None:
            raise BrokerError(f"{self.kind} ended at start with status {self.proc.returncode}:\n"
                              + self.log_tail())
        return self._is_up()

    def stop(self):
        """SIGTERM; returns when the process has ended, which must be with status 0."""
        self._signal(signal.SIGTERM)
        try:
            status = self.proc.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            raise BrokerError(f"{self.kind} did not stop within {STOP_TIMEOUT:g} s") from None
        self.proc = None
        if status != 0:
            raise BrokerError(f"{self.kind} stopped with status {status}:\n" + self.log_tail())

    def kill(self):
        """SIGKILL; returns when the process is gone."""
        if self.running():
            self._signal(signal.SIGKILL)
            self.proc.wait(60)
        self.proc = None

    def restart(self, clean=True):
        """Stop (or kill) and start with the same data."""
        if clean:
            self.stop()
        else:
            self.kill()
        self.start()

    def _signal(self, number):
        os.kill(self.proc.pid, number)

    def log_files(self):
        """The files the broker logs to."""
        return sorted(p for p in self.dir.glob("*.log") if p.is_file())

    def log_text(self):
        """Everything it has logged so far, over restarts."""
        return "".join(p.read_text(errors="replace") for p in self.log_files())

    def log_tail(self, lines=60):
        """The last lines of the log."""
        return "\n".join(self.log_text().splitlines()[-lines:])

    def wait_log(self, text, timeout=60):
        """Everything it has logged, once text is in it: lines are written some time after what they tell of."""
        wait_until(lambda: text in self.log_text(), timeout, f"'{text}' in the log")
        return self.log_text()

    def print_log(self):
        """The end of the log to standard error, for a failed test."""
        text = self.log_tail()
        if text:
            print(f"# --- end of the log of {self.kind}\n{text}\n# ---", file=sys.stderr)


class Sluice(Broker):
    """The daemon named by $SLUICED on a loopback port of its own choice."""

    kind = "sluice"

    def __init__(self, config=None, port=0, ipv6=False, plugins=()):
        self.daemon = os.environ.get("SLUICED", "")
        if not self.daemon:
            raise BrokerError("SLUICED is not set: it names the daemon to test")
        super().__init__(config, port, ipv6, plugins)
        self.wrap = shlex.split(os.environ.get("SLUICED_WRAP", ""))
        self.data = self.dir / "data"
        self.data.mkdir()
        self.log = self.dir / "sluiced.log"
        self.admin = ""
        self.addresses = {}

    def management_url(self):
        return f"http://{self.addresses['http']}" if "http" in self.addresses else ""

    def _write_config(self):
        settings = {
            "listeners.tcp.1": f"127.0.0.1:{self.fixed_port}",
            "management.socket.path": str(self.data / "admin.sock"),
            "management.tcp.ip": "127.0.0.1",
            "management.tcp.port": "0",
            "allow_root": "true",
        }
        if self.ipv6:
            settings["listeners.tcp.2"] = f"[::1]:{self.fixed_port}"
        settings.update(self.config)
        path = self.dir / "sluice.conf"
        path.write_text("".join(f"{k} = {v}\n" for k, v in settings.items()))
        return path

    def _spawn(self):
        config = self._write_config()
        self._address_file().unlink(missing_ok=True)  # one of a killed predecessor
        with open(self.log, "ab") as log:
            self.proc = subprocess.Popen(
                [*self.wrap, self.daemon, "--config", str(config), "--data-dir", str(self.data)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.dir)

    def _address_file(self):
        return self.data / "addresses"

    def _is_up(self):
        try:
            text = self._address_file().read_text()
        except FileNotFoundError:
            return False
        self.addresses = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
        self.pid = int(self.addresses["pid"])
        self.port = int(self.addresses["amqp.1"].rsplit(":", 1)[1])
        self.admin = self.addresses.get("admin", "")
        return True

    def _signal(self, number):
        # Behind a wrapper the daemon is a child of the process we started.
        os.kill(self.pid if self.wrap and self.pid else self.proc.pid, number)

    def ctl_words(self):
        ctl = os.environ.get("SLUICECTL") or Path(self.daemon).resolve().parents[2] / "admin/ctl/sluicectl"
        return [str(ctl), "--socket", str(self.data / "admin.sock")]

    def set_config(self, key, value):
        self.config[key] = value
        self._write_config()
        text = "the configuration was reloaded"
        before = self.log_text().count(text)
        self._signal(signal.SIGHUP)
        wait_until(lambda: self.log_text().count(text) > before, 60, f"{key} = {value} to be reloaded")

    def stop(self):
        super().stop()
        if self._address_file().exists():
            raise BrokerError("a clean stop left the address file behind")


class RabbitMQ(Broker):
    """Debian's rabbitmq-server with its own directories, ports and name daemon."""

    kind = "rabbitmq"
    SERVER = "/usr/lib/rabbitmq/bin/rabbitmq-server"

    def __init__(self, config=None, port=0, ipv6=False, plugins=()):
        if not os.path.exists(self.SERVER):
            raise BrokerError("rabbitmq-server is not installed")
        super().__init__(config, port, ipv6, plugins)
        both = (socket.AF_INET, socket.AF_INET6) if ipv6 else (socket.AF_INET,)
        self.port = port or free_port(both)
        self.management_port = free_port() if "rabbitmq_management" in self.plugins else 0
        self.epmd = None
        self.epmd_port = free_port()
        self.dist_port = free_port()
        self.name = "rabbit@localhost"  # the name daemon is its own
        self.home = self.dir / "home"
        self.home.mkdir()
        (self.dir / "enabled_plugins").write_text(f"[{','.join(self.plugins)}].\n")

    def environment(self):
        """What the server and its tools need to find this node."""
        env = {k: v for k, v in os.environ.items() if not k.startswith(("RABBITMQ_", "ERL_"))}
        env.update(
            HOME=str(self.home),
            ERL_EPMD_ADDRESS="127.0.0.1",
            ERL_EPMD_PORT=str(self.epmd_port),
            RABBITMQ_NODENAME=self.name,
            RABBITMQ_DIST_PORT=str(self.dist_port),
            RABBITMQ_MNESIA_BASE=str(self.dir / "mnesia"),
            RABBITMQ_LOG_BASE=str(self.dir / "rabbit-log"),
            RABBITMQ_LOGS=str(self.dir / "rabbit.log"),
            RABBITMQ_ENABLED_PLUGINS_FILE=str(self.dir / "enabled_plugins"),
            RABBITMQ_PID_FILE=str(self.dir / "rabbit.pid"),
            RABBITMQ_CONFIG_FILE=str(self.dir / "rabbitmq.conf"),
            RABBITMQ_CONF_ENV_FILE="/dev/null",
            # no shared wait-state between the schedulers: keeps an idle node off the CPU
            RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="+sbwt none +sbwtdcpu none +sbwtdio none",
            RUNNING_UNDER_SYSTEMD="true",  # the script becomes the server: one process, its pid ours
        )
        env.pop("NOTIFY_SOCKET", None)
        return env

    def _spawn(self):
        if self.epmd is None:
            self.epmd = subprocess.Popen(
                ["epmd", "-address", "127.0.0.1", "-port", str(self.epmd_port)],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(self._epmd_up, 60, "epmd")
        settings = {"listeners.tcp.1": f"127.0.0.1:{self.port}"}
        if self.ipv6:
            settings["listeners.tcp.2"] = f"::1:{self.port}"
        if self.management_port:
            settings.update({"management.tcp.ip": self.host, "management.tcp.port": self.management_port})
        settings.update(self.config)
        (self.dir / "rabbitmq.conf").write_text("".join(f"{k} = {v}\n" for k, v in settings.items()))
        with open(self.dir / "console.log", "ab") as log:
            self.proc = subprocess.Popen([self.SERVER], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                         cwd=self.dir, env=self.environment())
        self.pid = self.proc.pid

    def _epmd_up(self):
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", self.epmd_port)) == 0

    def ctl_words(self):
        names = ("HOME", "ERL_EPMD_PORT")
        env = self.environment()
        return ["env", *(f"{name}={env[name]}" for name in names), "/usr/lib/rabbitmq/bin/rabbitmqctl", "-n", self.name]

    def management_url(self):
        return f"http://{self.host}:{self.management_port}" if self.management_port else ""

    def set_config(self, key, value):
        subprocess.run([*self.ctl_words(), "eval", f"application:set_env(rabbit, {key}, {value})."], check=True,
                       stdout=subprocess.DEVNULL)

    def _is_up(self):
        return answers(self.host, self.port)

    def _cleanup(self):
        if self.epmd is not None:
            self.epmd.terminate()
            self.epmd.wait(60)


class External(Broker):
    """A broker that somebody else runs; it cannot be stopped or started from here."""

    kind = "external"

    def __init__(self, config=None, port=0, ipv6=False, plugins=()):
        super().__init__(config, port, ipv6, plugins)
        self.host = os.environ.get("AMQP_HOST", "127.0.0.1")
        self.port = int(os.environ.get("AMQP_PORT", "5672"))

    def start(self):
        wait_until(lambda: answers(self.host, self.port), 60, f"a broker at {self.host}:{self.port}")
        self.product = "rabbitmq" if is_rabbitmq(self.host, self.port) else "sluice"

    def stop(self):
        raise BrokerError("an external broker is not ours to stop")

    def kill(self):
        pass


KINDS = {c.kind: c for c in (Sluice, RabbitMQ, External)}


def broker_kind():
    """The kind that the environment asks for."""
    kind = os.environ.get("BROKER", "sluice")
    if kind not in KINDS:
        raise BrokerError(f"BROKER={kind}: it must be one of {', '.join(sorted(KINDS))}")
    return kind


def new(config=None, port=0, ipv6=False, plugins=(), kind=None):
    """A broker of the kind the environment asks for, not started yet."""
    return KINDS[kind or broker_kind()](config, port, ipv6, plugins)


# --- the program behind broker.sh ---------------------------------------------------------------

COMMANDS = ("stop", "kill", "start", "restart", "ping", "set", "quit")


def _write_env(broker, path):
    here = Path(__file__).resolve()
    ctl = f"{sys.executable} {shlex.quote(str(here))} ctl {shlex.quote(str(path))}"
    values = {
        "AMQP_HOST": broker.host, "AMQP_PORT": broker.port, "BROKER_PID": broker.pid,
        "BROKER_DIR": path, "BROKER_PRODUCT": broker.product, "BROKER_LOG_DIR": broker.dir,
        "BROKER_STOP_CMD": f"{ctl} stop", "BROKER_START_CMD": f"{ctl} start",
        "BROKER_KILL_CMD": f"{ctl} kill", "BROKER_SET_CMD": f"{ctl} set", "BROKER_CTL": shlex.join(broker.ctl_words()),
        "MGMT_URL": broker.management_url(),
    }
    tmp = path / "env.new"
    tmp.write_text("".join(f"export {k}={shlex.quote(str(v))}\n" for k, v in values.items()))
    tmp.rename(path / "env")


def _obey(broker, path, command):
    command, *words = command.split()
    if command == "quit":
        return
    if command == "set":
        broker.set_config(*words)
    elif command == "ping":
        if not broker.running():
            raise BrokerError("it is not running")
    else:
        getattr(broker, command)()
    _write_env(broker, path)


def serve(path, words):
    """Run one broker until told to quit or until the process that started us is gone."""
    path = Path(path)
    config = dict(w.split("=", 1) for w in words)
    parent = os.getppid()
    ipv6 = config.pop("ipv6", "") == "1" and has_ipv6_loopback()
    plugins = tuple(p for p in config.pop("plugins", "").split(",") if p)
    port = free_port((socket.AF_INET, socket.AF_INET6) if ipv6 else (socket.AF_INET,))
    # A signal to us must not skip the clean-up.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ctrl-C reaches the script, which ends us in order
    with new(config, port, ipv6, plugins) as broker:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(str(path / "ctl"))
            listener.listen(4)
            listener.settimeout(0.5)
            _write_env(broker, path)
            command = ""
            while command != "quit" and os.getppid() == parent:
                try:
                    client, _ = listener.accept()
                except socket.timeout:
                    continue
                with client:
                    client.settimeout(60)
                    try:
                        command = client.recv(1024).decode()
                        _obey(broker, path, command)
                        client.sendall(b"ok")
                    except (BrokerError, OSError) as e:
                        client.sendall(str(e).encode())
    return 0


def ctl(path, command, *words):
    """Send one command to a serving broker and wait for its answer."""
    if command not in COMMANDS or len(words) != (2 if command == "set" else 0):
        raise BrokerError(f"{command}: it must be one of {', '.join(COMMANDS)}")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
        s.settimeout(START_TIMEOUT + STOP_TIMEOUT)
        s.connect(str(Path(path) / "ctl"))
        s.sendall(" ".join((command, *words)).encode())
        answer = b""
        while chunk := s.recv(65536):
            answer += chunk
    if answer != b"ok":
        print(answer.decode(errors="replace"), file=sys.stderr)
        return 1
    return 0


def main(argv):
    if len(argv) >= 2 and argv[0] == "serve":
        return serve(argv[1], argv[2:])
    if len(argv) >= 3 and argv[0] == "ctl":
        return ctl(*argv[1:])
    print("usage: broker.py serve DIR [key=value...] | broker.py ctl DIR COMMAND", file=sys.stderr)
    return 64


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except BrokerError as error:
        print(f"broker.py: {error}", file=sys.stderr)
        sys.exit(1)
