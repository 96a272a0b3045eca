"""Small loads against a real broker: what is counted is what went through, and --verify sees what is wrong."""

import os
import signal
import subprocess
import threading
import time
import uuid

import pika
import pytest

import broker as support
from generator import LIMIT_S, program, run

LATENCY = {"count", "mean", "min", "p50", "p95", "p99", "p999", "max"}


def clean(verify):
    """No error in a verify object."""
    return all(verify[k] == 0 for k in ("gaps", "duplicates", "out_of_order", "bad_checksum", "foreign"))


def test_every_message_arrives_once(perf):
    done = perf("-C", 5000, "-s", 64, "-c", 100, "-q", 200, "-A", 50, "--verify", "--id", "once")
    assert done.status == 0, done.err
    j = done.json
    assert j["id"] == "once" and j["error"] is None and j["status"] == 0
    assert j["broker"]["product"] in ("Sluice", "RabbitMQ") and j["broker"]["version"]
    assert (j["published"], j["confirmed"], j["consumed"]) == (5000, 5000, 5000)
    assert (j["nacked"], j["returned"], j["redelivered"]) == (0, 0, 0)
    assert j["verify"]["checked"] == 5000 and clean(j["verify"])
    assert j["publish_rate"] > 0 and j["consume_rate"] > 0 and j["confirm_rate"] > 0
    assert j["seconds"] > 0 and j["cut"] is False
    for name in ("latency_us", "confirm_latency_us"):
        h = j[name]
        assert set(h) == LATENCY and h["count"] == 5000
        assert 0 < h["min"] <= h["p50"] <= h["p95"] <= h["p99"] <= h["p999"] <= h["max"]
    assert j["load"]["size"] == 64 and j["load"]["confirm"] == 100 and j["load"]["persistent"] is False
    assert j["generator_cpu_us_per_message"] > 0


@pytest.mark.parametrize("size", [0, 1, 15, 16, 23, 24, 4000, 8192, 131064, 131065, 300000])
def test_body_sizes(perf, size):
    verify = ["--verify"] if size >= 24 else []
    done = perf("-C", 20, "-s", size, "-c", 5, "-f", "persistent", *verify)
    assert done.status == 0, done.err
    assert done.json["consumed"] == 20
    # A body that is too small for a time stamp gives no latency instead of a wrong one.
    assert (done.json["latency_us"] is not None) == (size >= 16)
    if verify:
        assert done.json["verify"]["checked"] == 20


@pytest.mark.parametrize("words, copies", [
    (["--fanout", 8], 8),
    (["--bindings", 50], 1),
    (["--bindings", 50, "--queues", 4, "-y", 2], 1),
    (["-t", "direct", "-k", "same", "--queues", 3, "-y", 3], 3),
    (["-t", "topic", "--queues", 3, "-y", 1], 1),
    (["--queues", 5, "-y", 2], 1),
    (["-x", 3, "-y", 3, "--queues", 3], 1),
    (["-x", 1, "-y", 3], 1),
    (["-a"], 1),
    (["-q", 1], 1),
    (["-q", 10, "-A", 10], 1),
], ids=lambda v: " ".join(map(str, v)) if isinstance(v, list) else str(v))
def test_topologies(perf, words, copies):
    done = perf("-C", 300, "-s", 40, "-c", 20, "--verify", *words)
    assert done.status == 0, done.err
    j = done.json
    assert j["published"] == j["confirmed"] == 300 * j["load"]["producers"]
    assert j["consumed"] == copies * j["published"]
    assert clean(j["verify"])


def test_generated_names_leave_nothing_behind(perf, channel):
    name = uuid.uuid4().hex
    assert perf("-C", 10, "--fanout", 2, "-f", "persistent", "--id", name).status == 0
    for queue in (f"sluice-perf-{name}-1", f"sluice-perf-{name}-2"):
        with pytest.raises(pika.exceptions.ChannelClosedByBroker) as closed:
            channel.connection.channel().queue_declare(queue, passive=True)
        assert closed.value.reply_code == 404
    with pytest.raises(pika.exceptions.ChannelClosedByBroker):
        channel.connection.channel().exchange_declare(f"sluice-perf-{name}", passive=True)


def test_fill_then_drain(perf, queue, channel):
    done = perf("-u", queue, "--fill", "-f", "persistent", "-C", 1000, "-s", 100, "-c", 50)
    assert done.status == 0, done.err
    assert done.json["confirmed"] == 1000 and done.json["latency_us"] is None
    assert channel.queue_declare(queue, passive=True).method.message_count == 1000
    done = perf("-u", queue, "--drain", "--verify", "-q", 100, "-A", 10)
    assert done.status == 0, done.err
    assert done.json["consumed"] == 1000 and clean(done.json["verify"])
    assert channel.queue_declare(queue, passive=True).method.message_count == 0
    done = perf("-u", queue, "--drain")
    assert done.status == 0 and done.json["consumed"] == 0


def test_consumers_take_their_count_only(perf, queue, channel):
    assert perf("-u", queue, "--fill", "-C", 100, "-c", 10).status == 0
    done = perf("-u", queue, "-x", 0, "-D", 30, "-q", 10)
    assert done.status == 0, done.err
    assert done.json["consumed"] == 30
    deadline = time.monotonic() + LIMIT_S  # the channel's close gives the rest back
    while channel.queue_declare(queue, passive=True).method.message_count != 70:
        assert time.monotonic() < deadline
    assert perf("-u", queue, "-x", 0, "-D", 1, "--purge", "-z", 0.5).json["consumed"] == 0


def test_queue_pattern(perf, channel):
    tag = uuid.uuid4().hex
    words = ["--queue-pattern", f"{tag}-%d-q", "--queue-pattern-from", 3, "--queue-pattern-to", 5]
    try:
        assert perf(*words, "--fill", "-C", 9, "-c", 3).status == 0
        for n in (3, 4, 5):
            assert channel.queue_declare(f"{tag}-{n}-q", passive=True).method.message_count == 3
    finally:
        for n in (3, 4, 5):
            channel.queue_delete(f"{tag}-{n}-q")


def filled(perf, queue, count=20):
    """A queue with messages of one stream."""
    done = perf("-u", queue, "--fill", "-C", count, "-s", 64, "-c", 5)
    assert done.status == 0, done.err


def drained(perf, queue):
    """What --verify says of it; the status must tell as well."""
    done = perf("-u", queue, "--drain", "--verify")
    assert done.status == 65, done.err
    assert "--verify found errors" in done.err and done.json["status"] == 65
    return done.json["verify"]


def test_verify_sees_a_gap(perf, queue, channel):
    filled(perf, queue)
    channel.basic_get(queue, auto_ack=True)
    assert drained(perf, queue)["gaps"] == 1


def test_verify_sees_a_duplicate(perf, queue, channel):
    filled(perf, queue)
    method, properties, body = channel.basic_get(queue)
    channel.basic_nack(method.delivery_tag, requeue=True)
    channel.basic_publish("", queue, body, properties)
    channel.queue_declare(queue, passive=True)  # both are done
    assert drained(perf, queue)["duplicates"] == 1


def test_verify_sees_a_wrong_order(perf, queue, channel):
    filled(perf, queue)
    _, properties, body = channel.basic_get(queue, auto_ack=True)
    channel.basic_publish("", queue, body, properties)
    channel.queue_declare(queue, passive=True)
    verify = drained(perf, queue)
    assert (verify["out_of_order"], verify["gaps"], verify["duplicates"]) == (1, 0, 0)


@pytest.mark.parametrize("at", [0, 9, 15, 20, 40, 63])
def test_verify_sees_a_changed_octet(perf, queue, channel, at):
    filled(perf, queue, 3)
    for _ in range(3):
        _, properties, body = channel.basic_get(queue, auto_ack=True)
        body = body[:at] + bytes([body[at] ^ 1]) + body[at + 1:]
        channel.basic_publish("", queue, body, properties)
    channel.queue_declare(queue, passive=True)
    assert drained(perf, queue)["bad_checksum"] == 3


def test_verify_sees_a_foreign_message(perf, queue, channel):
    filled(perf, queue)
    channel.basic_publish("", queue, b"short")
    channel.queue_declare(queue, passive=True)
    assert drained(perf, queue)["foreign"] == 1


def test_queue_arguments_and_refused_messages(perf, queue, channel):
    """What is refused goes where the queue's arguments say; numbers are numbers, or the broker would not take them."""
    dead = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind(dead, "amq.direct", "dead")
    done = perf("-u", queue, "--queue-args", "x-dead-letter-exchange=amq.direct,x-dead-letter-routing-key=dead,x-max-length=1000",
                "-C", 100, "-c", 10, "-q", 20, "-A", 10, "--refuse")
    assert done.status == 0, done.err
    assert done.json["consumed"] == 100
    found = [channel.basic_get(dead, auto_ack=True) for _ in range(100)]
    assert {m[1].headers["x-death"][0]["reason"] for m in found} == {"rejected"}
    assert channel.basic_get(dead)[0] is None


def test_expiration_and_priorities_of_messages(perf, queue, channel):
    done = perf("-u", queue, "--fill", "-C", 6, "-c", 5, "-s", 30, "--expiration", 60000, "--priorities", 3, "--queue-args", "x-max-priority=5")
    assert done.status == 0, done.err
    found = [channel.basic_get(queue)[1] for _ in range(6)]
    assert [p.priority for p in found] == [2, 2, 1, 1, 0, 0]
    assert {p.expiration for p in found} == {"60000"}


def test_verify_knows_that_priorities_overtake(perf):
    done = perf("-C", 2000, "-c", 500, "-q", 50, "-s", 30, "--priorities", 4, "--queue-args", "x-max-priority=3", "--verify")
    assert done.status == 0, done.err
    assert done.json["verify"]["checked"] == 2000 and clean(done.json["verify"])


@pytest.fixture(scope="session")
def secure(tmp_path_factory):
    """(port, certificate) of a broker that speaks TLS as well."""
    path = tmp_path_factory.mktemp("tls")
    cert, key = path / "cert.pem", path / "key.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key,
                    "-out", cert, "-days", "2", "-subj", "/CN=broker", "-addext", "subjectAltName=IP:127.0.0.1"],
                   check=True, capture_output=True, timeout=60)
    port = 0 if support.broker_kind() == "sluice" else support.free_port()
    with support.new({"listeners.ssl.1": f"127.0.0.1:{port}", "ssl_options.certfile": cert, "ssl_options.keyfile": key}) as own:
        yield own, port or int(own.addresses["amqps.1"].rsplit(":", 1)[1]), cert


@pytest.mark.parametrize("size", [16, 1024, 20000, 300000])
def test_tls(secure, size):
    _, port, cert = secure
    done = run("-h", f"amqps://guest:guest@127.0.0.1:{port}/%2F", "--cacert", cert, "--json", "-C", 50, "-s", size, "-c", 20, "-q", 20,
               "-A", 5, *(["--verify"] if size >= 24 else []))
    assert done.status == 0, done.err
    assert done.json["confirmed"] == done.json["consumed"] == 50
    assert size < 24 or clean(done.json["verify"])


def test_tls_certificates(secure, tmp_path):
    own, port, cert = secure
    done = run("-h", f"amqps://localhost:{port}", "--cacert", cert, "-C", 1)
    assert done.status == 69 and "the broker's certificate: hostname mismatch" in done.err
    assert run("-h", f"amqps://127.0.0.1:{port}", "-C", 1).status == 0  # nobody is asked
    other = tmp_path / "other.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout",
                    tmp_path / "key.pem", "-out", other, "-days", "2", "-subj", "/CN=other"], check=True, capture_output=True, timeout=60)
    done = run("-h", f"amqps://127.0.0.1:{port}", "--cacert", other, "-C", 1)
    assert done.status == 69 and "the broker's certificate: self-signed certificate" in done.err
    done = run("-h", f"amqps://127.0.0.1:{port}", "--cacert", tmp_path / "none.pem", "-C", 1)
    assert done.status == 69 and f"--cacert {tmp_path / 'none.pem'}: No such file" in done.err
    done = run("-h", f"amqps://127.0.0.1:{own.port}", "-C", 1)  # not a TLS port
    assert done.status == 69 and "TLS handshake with the broker" in done.err


def test_returns_are_counted(perf):
    done = perf("-y", 0, "-f", "mandatory", "-C", 50, "-e", "amq.topic", "--predeclared", "-k", uuid.uuid4().hex, "-c", 10)
    assert done.status == 0, done.err
    assert done.json["returned"] == 50 and done.json["confirmed"] == 50


def test_without_confirms_the_end_is_known(perf, queue, channel):
    done = perf("-u", queue, "--fill", "-C", 20000)
    assert done.status == 0, done.err
    assert channel.queue_declare(queue, passive=True).method.message_count == 20000


def test_a_rate_is_kept(perf):
    done = perf("-r", 500, "-C", 250, "-x", 2)
    assert done.status == 0, done.err
    assert done.json["consumed"] == 500
    # Two producers of 500/s, 250 messages each: the last is due after 0.498 s.
    assert done.json["seconds"] >= 0.49
    assert done.json["publish_rate"] < 1100


def test_a_consumer_rate_is_kept(perf):
    done = perf("-R", 200, "-C", 100)
    assert done.status == 0, done.err
    assert done.json["consumed"] == 100 and done.json["seconds"] >= 0.49


def test_time_ends_it_with_nothing_lost(perf):
    done = perf("-z", 2, "-s", 32, "-c", 50, "--verify", "-x", 2, "-y", 2, "--queues", 2)
    assert done.status == 0, done.err
    assert done.json["cut"] is True
    assert done.json["consumed"] == done.json["confirmed"] == done.json["published"] > 0


def test_warm_up_is_not_counted(perf):
    done = perf("-r", 200, "-z", 4, "--warmup", 1)
    assert done.status == 0, done.err
    assert 0 < done.json["latency_us"]["count"] < done.json["consumed"]


def test_idle_connections(perf):
    done = perf("--connections-only", 20, "-z", 0.2)
    assert done.status == 0, done.err
    assert done.json["connections"] == 20 and "20 connections are open" in done.err


def test_text_output(uri):
    done = run("-h", uri, "-C", 100, "-c", 10, "-s", 24, "--verify")
    assert done.status == 0, done.err
    for word in ("published: 100 messages", "confirmed: 100", "consumed: 100 messages", "latency: p50", "confirm latency: p50", "verified: 100"):
        assert word in done.out


def test_progress_lines(uri):
    load = subprocess.Popen([program(), "-h", uri, "-r", "100", "-i", "0.1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        for _ in range(3):
            line = load.stderr.readline()
            assert "published" in line and "consumed" in line
        load.send_signal(signal.SIGINT)
        load.communicate(timeout=LIMIT_S)
        assert load.returncode == 0
    finally:
        load.kill()


def test_the_brokers_text_is_shown(perf, broker, queue, channel):
    done = run("-h", f"amqp://guest:wrong@{broker.host}:{broker.port}")
    assert done.status == 69 and "ACCESS_REFUSED" in done.err
    done = run("-h", f"amqp://{broker.host}:{broker.port}/nope", "--json")
    assert done.status == 69 and "vhost nope not found" in done.err
    assert "vhost nope not found" in done.json["error"]
    done = perf("-u", queue, "--predeclared")
    assert done.status == 69 and f"no queue '{queue}'" in done.json["error"]
    channel.queue_declare(queue, durable=True)
    done = perf("-u", queue, "-C", 1)
    assert done.status == 69 and "PRECONDITION_FAILED" in done.err and "queue.declare" in done.err


def test_a_deleted_queue_is_an_error(uri, queue, channel):
    channel.queue_declare(queue)
    load = subprocess.Popen([program(), "-h", uri, "-u", queue, "-x", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + LIMIT_S
        while channel.queue_declare(queue, passive=True).method.consumer_count == 0:
            assert time.monotonic() < deadline and load.poll() is None
        channel.queue_delete(queue)
        _, err = load.communicate(timeout=LIMIT_S)
        assert load.returncode == 69 and "cancelled a consumer" in err
    finally:
        load.kill()


def test_a_thief_is_noticed(uri, queue, channel):
    """Somebody else takes messages that our consumer should get: status 75 and how many are missing."""
    channel.queue_declare(queue)
    for _ in range(5):
        channel.basic_publish("", queue, b"x")
    stolen = []
    channel.basic_consume(queue, lambda c, m, p, b: stolen.append(b), auto_ack=True)
    result = {}
    thread = threading.Thread(target=lambda: result.update(done=run("-h", uri, "--json", "-u", queue, "-C", 200, "-c", 10, "--grace", 2)))
    thread.start()
    while thread.is_alive():
        channel.connection.process_data_events(0.1)
    thread.join()
    channel.basic_qos(prefetch_count=0)  # what was sent to the thief has come before this is answered
    channel.connection.process_data_events(0)
    assert len(stolen) > 5
    assert result["done"].status == 75
    assert f"{len(stolen) - 5} of 200 messages did not arrive" in result["done"].err


@pytest.mark.skipif(os.environ.get("BROKER", "sluice") != "sluice", reason="it needs our fail points")
def test_a_slow_disk_is_waited_for(monkeypatch):
    """A short --grace gives up what consumers leave behind, not the confirms."""
    monkeypatch.setenv("SLC_FAILPOINT", "store.commit.before=delay:300")
    with support.new(kind="sluice") as broker:
        done = run("-h", f"amqp://{broker.host}:{broker.port}", "--json", "-u", "q", "-f", "persistent", "-y", 0, "-c", 100, "-z", 3,
                   "--grace", 0.001)
    assert done.status == 0, done.err
    assert done.json["confirmed"] == done.json["published"] > 0


def test_an_interrupt_gives_the_report(uri):
    load = subprocess.Popen([program(), "-h", uri, "-c", "10", "-i", "0.1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert "published" in load.stderr.readline()  # it runs
        load.send_signal(signal.SIGINT)
        out, err = load.communicate(timeout=LIMIT_S)
        assert load.returncode == 0, err
        assert "consumed:" in out
    finally:
        load.kill()


@pytest.mark.skipif(os.environ.get("BROKER") == "external", reason="an external broker is not ours to kill")
def test_a_dying_broker_is_69():
    with support.new() as own:
        uri = f"amqp://{own.host}:{own.port}"
        load = subprocess.Popen([program(), "-h", uri, "-i", "0.1", "-c", "10"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            assert "published" in load.stderr.readline()
            own.kill()
            out, err = load.communicate(timeout=LIMIT_S)
            assert load.returncode == 69, err
            assert "broker" in err and "published:" in out
        finally:
            load.kill()
        own.start()  # so that the fixture's stop has something to stop
