"""What README.md and the other documents tell people to type: it works as written, on another port."""

import os
import re
import shlex
import subprocess

import pytest
from conftest import ROOT

DOCUMENTS = ["README.md", "CONTRIBUTING.md", "packaging/doc/operations.md", "packaging/doc/moving-from-rabbitmq.md"]


def blocks(document, language):
    """The fenced blocks of that language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", (ROOT / document).read_text(), re.M | re.S)


def block_commands(program):
    """Of each shell block the lines that call program, without comments and with continued lines joined."""
    found = []
    for document in DOCUMENTS:
        for block in blocks(document, "sh"):
            lines = [part for line in block.replace("\\\n", " ").splitlines() for part in re.split(r" && ", line.split(" #")[0].strip())]
            found.append((document, [line for line in lines if line.split(" ")[0] == program]))
    return [(document, lines) for document, lines in found if lines]


def commands(program):
    """All of those lines."""
    return [(document, line) for document, lines in block_commands(program) for line in lines]


def run(broker, words, **how):
    env = {**os.environ, "SLUICECTL_SOCKET": broker.admin}
    return subprocess.run(words, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, env=env, check=True,
                          **how).stdout


def test_the_python_program(broker):
    (program,) = blocks("README.md", "python")
    assert run(broker, ["/usr/bin/python3", "-c", program.replace("5672", str(broker.port))]) == "work\n"


def test_the_shell_commands(broker):
    (script,) = [b for b in blocks("README.md", "sh") if "amqp-publish" in b]
    assert run(broker, ["bash", "-e", "-c", script.replace("5672", str(broker.port))]).split() == ["letters", "hello"]


def test_the_node_program(broker, tmp_path):
    """Only where amqplib is there (NODE_PATH); its own suite is tests/conformance/node-amqplib."""
    (program,) = blocks("README.md", "js")
    try:
        subprocess.run(["node", "-e", "require('amqplib')"], check=True, capture_output=True, timeout=60)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no node with amqplib")
    path = tmp_path / "program.js"
    path.write_text(program.replace("127.0.0.1:5672", f"127.0.0.1:{broker.port}"))
    assert run(broker, ["node", str(path)]) == "run\n"


def test_the_programs_named_by_path_exist():
    names = set()
    for document in DOCUMENTS:
        for block in blocks(document, "sh"):
            names |= set(re.findall(r"^((?:packaging|tests|\.ci)/\S+)", block, re.M))
        names |= set(re.findall(r"`((?:packaging|tests|\.ci)/[\w./-]*(?:run|quickstart|install-deps))\b", (ROOT / document).read_text()))
    assert {"packaging/quickstart", "tests/run", ".ci/run"} <= names
    assert [n for n in sorted(names) if not os.access(ROOT / n, os.X_OK)] == []


def test_the_options_of_sluiced(sluiced):
    known = sluiced("--help").out
    lines = commands("sluiced")
    assert lines
    for document, line in lines:
        for option in re.findall(r"(?<= )--[a-z-]+", line):
            assert option in known, f"{document}: {line}"
        for key in re.findall(r"--set (\S+)", line):
            assert sluiced("--check", "--set", key).status == 0, f"{document}: {line}"


@pytest.mark.parametrize(("document", "lines"), block_commands("sluicectl"))
def test_the_commands_of_sluicectl(broker, document, lines):
    """One after the other: a later one needs what an earlier one made."""
    for line in lines:
        run(broker, [os.environ["SLUICECTL"], *shlex.split(line)[1:]])


def test_the_configuration_examples(sluiced, tmp_path):
    """--check reads the files that an example names: they are made here."""
    secret, cert, key = tmp_path / "password", tmp_path / "cert.pem", tmp_path / "key.pem"
    secret.write_text("hush\n")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key,
                    "-out", cert, "-days", "2", "-subj", "/CN=broker"], check=True, capture_output=True, timeout=60)
    found = 0
    for document in DOCUMENTS:
        for block in blocks(document, "conf"):
            path = tmp_path / "example.conf"
            block = re.sub(r"file:\S+", f"file:{secret}", block)
            block = re.sub(r"(\.(?:ca)?certfile = )\S+", rf"\g<1>{cert}", block)
            path.write_text(re.sub(r"(\.keyfile = )\S+", rf"\g<1>{key}", block))
            done = sluiced("--check", "--config", path)
            assert (done.status, done.err) == (0, ""), f"{document}: {done.err}"
            found += 1
    assert found


def test_the_table_of_keys_in_moving_from_rabbitmq(sluiced):
    """Every key it names is a key, and none of them is one that does nothing."""
    text = (ROOT / "packaging/doc/moving-from-rabbitmq.md").read_text()
    table = re.search(r"\| key \| remark \|\n(.*?)\n\n", text, re.S).group(1)
    values = {"backlog": "10", "handshake_timeout": "5000", "heartbeat": "10", "frame_max": "8192", "channel_max": "10",
              "max_message_size": "1MiB", "default_user": "u", "default_pass": "p", "default_vhost": "/",
              "vm_memory_high_watermark.relative": "0.5", "disk_free_limit.absolute": "1GiB", "log.console": "true",
              "log.console.level": "info", "log.console.formatter": "json", "log.file": "x.log", "log.file.level": "info",
              "log.dir": "/tmp", "cluster_name": "c", "memory_monitor_interval": "5000", "default_consumer_prefetch": "10"}
    keys = [k for k in re.findall(r"`([a-z_.]+)`", table) if k in values]
    assert len(keys) >= 15
    words = [w for k in keys if k != "backlog" for w in ("--set", f"{k}={values[k]}")]
    done = sluiced("--check", *words, "--set", "tcp_listen_options.backlog=10")
    assert (done.status, done.err) == (0, "")


def test_what_is_pasted_runs():
    """No prompt signs and no tabs in what people copy."""
    for document in DOCUMENTS:
        for language in ("python", "sh", "js"):
            for block in blocks(document, language):
                assert "\t" not in block
                assert not re.search(r"^(\$|>>>|#!) ", block, re.M), block
