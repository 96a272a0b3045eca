"""Every wrong option is refused with a sentence and status 64, before anything is connected."""

import re

import pytest

from generator import run

WRONG = [
    (["--nosuch"], "unknown option --nosuch"),
    (["-Z"], "unknown option -Z"),
    (["word"], "unexpected argument 'word'"),
    (["-x"], "--producers needs a value"),
    (["-x", "-1"], "--producers -1: it must be a whole number from 0"),
    (["-x", "2x"], "--producers 2x"),
    (["-x", ""], "--producers "),
    (["-s", "129M"], "--size 129M: it must be a size"),
    (["-s", "1G"], "--size 1G"),
    (["-c", "0"], "--confirm 0: it must be a whole number from 1"),
    (["-q", "65536"], "--qos 65536"),
    (["-r", "0"], "--rate 0"),
    (["-r", "fast"], "--rate fast"),
    (["-r", "nan"], "--rate nan"),
    (["-z", "-1"], "--time -1"),
    (["--json=yes"], "--json takes no value"),
    (["-f", "durable"], "--flag durable: it must be persistent or mandatory"),
    (["-t", "headers"], "--type headers: it must be direct, fanout or topic"),
    (["-t", "topic", "-e", ""], "the default exchange has no other type"),
    (["-k", "key"], "--routing-key needs --exchange or --type"),
    (["-h", "http://x"], "it must begin with amqp://"),
    (["-h", "amqp://"], "the host is missing"),
    (["-h", "amqpsx://x"], "it must begin with amqp:// or amqps://"),
    (["-h", "amqps://"], "the host is missing"),
    (["--cacert", "ca.pem"], "--cacert needs a --uri that begins with amqps://"),
    (["-h", "amqp://h:0"], "the port must be from 1 to 65535"),
    (["-h", "amqp://h:70000"], "the port must be from 1 to 65535"),
    (["-h", "amqp://h:56x"], "the port must be from 1 to 65535"),
    (["-h", "amqp://[::1"], "the ']' after the host is missing"),
    (["-h", "amqp://h/%zz"], "two hexadecimal digits"),
    (["-h", "amqp://h/v?heartbeat=1"], "query parameters are not supported"),
    (["-u", ""], "--queue: the name must not be empty"),
    (["-u", "x" * 201], "--queue: it must not have more than 200 octets"),
    (["--queue-pattern", "q"], "exactly one %d"),
    (["--queue-pattern", "q%s-%d"], "exactly one %d"),
    (["--queue-pattern", "q%d"], "--queue-pattern needs --queue-pattern-to"),
    (["--queue-pattern", "q%d", "--queue-pattern-from", "5", "--queue-pattern-to", "4"], "--queue-pattern-to 4"),
    (["--queue-pattern-to", "4"], "need --queue-pattern"),
    (["--queue-pattern", "q%d", "-u", "q"], "excludes --queue"),
    (["--fanout", "2", "-y", "1"], "--fanout makes its own"),
    (["--fanout", "2", "-t", "topic"], "--fanout makes its own"),
    (["--bindings", "5", "-t", "direct"], "--bindings needs a topic exchange"),
    (["--bindings", "5", "-k", "a"], "excludes --predeclared and --routing-key"),
    (["--queue-args", ""], "--queue-args : it must be KEY=VALUE"),
    (["--queue-args", "x-max-priority"], "--queue-args x-max-priority: it must be KEY=VALUE"),
    (["--queue-args", "=5"], "it must be KEY=VALUE"),
    (["--queue-args", "a=1,"], "it must be KEY=VALUE"),
    (["--queue-args", "a=1", "-u", "q", "--predeclared"], "--queue-args needs queues that are declared"),
    (["--queue-args", "a=1", "-u", "q", "--drain"], "--queue-args needs queues that are declared"),
    (["--priorities", "0"], "--priorities 0"),
    (["--priorities", "257"], "--priorities 257"),
    (["-x", "0", "--priorities", "2"], "need a producer"),
    (["-x", "0", "--expiration", "0"], "need a producer"),
    (["-y", "0", "--refuse"], "need a consumer"),
    (["-a", "--refuse"], "--autoack excludes --refuse"),
    (["--connections-only", "5", "--queue-args", "a=1"], "--connections-only opens idle connections and nothing else"),
    (["--predeclared"], "--predeclared needs --queue"),
    (["--predeclared", "-u", "q", "-t", "topic"], "excludes --type"),
    (["--predeclared", "-e", "x", "-y", "0"], "needs --routing-key or --queue"),
    (["-x", "0", "-y", "0"], "nothing to do"),
    (["-x", "0", "-c", "5"], "need a producer"),
    (["-x", "0", "-s", "5"], "need a producer"),
    (["-y", "0", "-q", "5"], "need a consumer"),
    (["-y", "0", "--verify", "-s", "50"], "--verify needs a consumer"),
    (["--verify"], "--verify needs --size 24 or more"),
    (["-a", "-A", "5"], "--autoack excludes --multi-ack-every"),
    (["-a", "-q", "5"], "--autoack excludes --qos"),
    (["-q", "5", "-A", "6"], "no ack would ever be sent"),
    (["--warmup", "2", "-z", "1"], "--warmup 2: it must be shorter than --time 1"),
    (["--fill"], "--fill needs --queue"),
    (["--fill", "-u", "q"], "--fill needs --queue"),
    (["--fill", "-u", "q", "-C", "5", "-y", "1"], "--fill publishes only"),
    (["--drain"], "--drain needs --queue"),
    (["--drain", "-u", "q", "-x", "1"], "--drain consumes only"),
    (["--drain", "-u", "q", "-f", "persistent"], "--drain declares nothing"),
    (["--drain", "--fill"], "exclude each other"),
    (["--connections-only", "5", "-u", "q"], "--connections-only opens idle connections and nothing else"),
    (["--connections-only", "5", "-s", "1"], "need a producer"),
]


@pytest.mark.parametrize("words, text", WRONG, ids=[" ".join(w)[:40] or "-" for w, _ in WRONG])
def test_a_wrong_option_is_refused(words, text):
    done = run(*words)
    assert done.status == 64, done.err
    assert text in done.err
    assert done.out == ""


def test_help_names_every_option_and_status():
    done = run("--help")
    assert done.status == 0
    for name in ("--uri", "--producers", "--confirm", "--multi-ack-every", "--fanout", "--bindings", "--drain", "--verify", "--json"):
        assert name in done.out
    for status in ("64", "65", "69", "75"):
        assert status in done.out


def test_version():
    done = run("--version")
    assert done.status == 0
    assert re.fullmatch(r"sluice-perf \d+\.\d+\.\d+\n", done.out)


def test_no_broker_is_69():
    done = run("-h", "amqp://127.0.0.1:1")
    assert done.status == 69
    assert "Connection refused" in done.err
