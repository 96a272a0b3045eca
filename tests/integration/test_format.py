"""storage/FORMAT.md holds: a reader written from it alone finds in the files of a killed broker what was confirmed and not
acked, the broker delivers exactly that, and no damaged value passes the reader."""

import contextlib
import hashlib
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import lmdb
import pika
import pytest
import xxhash

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import format_reader  # noqa: E402
from support import broker as support  # noqa: E402

LIMIT_S = 120
CONFIG = {"store.log_bytes": "16MiB", "shutdown.timeout": "2s"}
# Around the borders of frames, parts and chunks; over 16 KiB a content is resident.
SIZES = (0, 1, 100, 3000, 16 * 1024 - 200, 16 * 1024 + 1, 65448, 65520, 131072, 200_000)

DELETED = ("deleted", "late")

SENT, CONFIRMED, ACK_SENT, SETTLED = range(4)


def content(exchange, key, properties, body):
    """A message as the store holds it (broker/core/message.h)."""
    props = b"".join(properties.encode())
    head = struct.pack("<4BIQ", 1, len(exchange), len(key), int(properties.delivery_mode == 2), len(props), len(body))
    return head + exchange.encode() + key.encode() + props + body


class Entry:
    """One message: what is known of it, and what the store must say of it."""

    def __init__(self, data, priority):
        self.size, self.priority = len(data), priority
        self.state = SENT


class Ledger:
    """What a broker was told and what it promised. A queue has one publisher, so the order in it is known."""

    def __init__(self):
        self.queues = {}  # name -> {digest: Entry}, in order
        self.doubtful = []  # of the transaction whose commit got no answer: (queue, digest)
        self.number = 0
        self.lock = threading.Lock()

    def body(self, size):
        """Nothing is published twice."""
        with self.lock:
            self.number += 1
            return (b"%d;" % self.number * (size // 2 + 1))[:max(size, 10)] if size else b""

    def declare(self, channel, name):
        channel.queue_declare(name, durable=True)
        self.queues[name] = {}

    def publish(self, channel, queues, size, exchange="", **properties):
        """Publish one message; (queue, digest) of each copy. The caller knows what makes it confirmed."""
        key = "" if exchange else queues[0]
        properties = pika.BasicProperties(delivery_mode=2, message_id=str(self.number), **properties)
        body = self.body(size)
        data = content(exchange, key, properties, body)
        digest = hashlib.sha256(data).hexdigest()
        for queue in queues:
            self.queues[queue][digest] = Entry(data, properties.priority or 0)
        channel.basic_publish(exchange, key, body, properties)
        return [(queue, digest) for queue in queues]

    def mark(self, copies, state):
        for queue, digest in copies:
            entry = self.queues[queue][digest]
            entry.state = max(entry.state, state)

    def confirmed(self, channel, queues, size, **how):
        """The same on a channel with confirms."""
        self.mark(self.publish(channel, queues, size, **how), CONFIRMED)

    def committed(self, channel, messages):
        """Publish (queues, size) of each in one transaction."""
        copies = [copy for queues, size in messages for copy in self.publish(channel, queues, size)]
        self.doubtful = copies
        channel.tx_commit()
        self.mark(copies, CONFIRMED)
        self.doubtful = []


def connect(broker):
    return pika.BlockingConnection(pika.ConnectionParameters(broker.host, broker.port))


def digest_of(method, properties, body):
    return hashlib.sha256(content(method.exchange, method.routing_key, properties, body)).hexdigest()


def ack_some(ledger, connection, queue, count, wanted=lambda i: True):
    """Take count messages and ack those that are wanted; the others return. The acks are on the disk when it returns: the
    broker works a channel's frames off in order, and a confirm on it came later."""
    channel = connection.channel()
    channel.confirm_delivery()
    acked = []
    for i in range(count):
        method, properties, body = channel.basic_get(queue)
        if method is None:
            break
        if wanted(i):
            acked.append((queue, digest_of(method, properties, body)))
            ledger.mark(acked[-1:], ACK_SENT)
            channel.basic_ack(method.delivery_tag)
    ledger.confirmed(channel, ["markers"], 20)
    ledger.mark(acked, SETTLED)
    channel.close()
    return len(acked)


def store_of(broker):
    return broker.data / "store"


def shard_of(broker):
    """The shard of a running broker, as another process sees it."""
    return format_reader.read_directory(store_of(broker), lock=True).shards["0000"]


def fill(broker, ledger):
    """Everything that the format has, at rest."""
    connection = connect(broker)
    channel = connection.channel()
    for name in ("markers", "old", "aged", "new", "large", "purged", *DELETED, "empty", "f1", "f2", "f3", "work", "tx1", "tx2",
                 "ranked"):
        ledger.declare(channel, name)
    channel.exchange_declare("all", "fanout", durable=True)
    bulk = connection.channel()
    bulk.tx_select()
    channel.confirm_delivery()

    for name in ("f1", "f2", "f3"):
        channel.queue_bind(name, "all")
    for size in SIZES:
        ledger.confirmed(channel, ["large"], size, headers={"text": "ä", "number": 1 << 40, "list": [1, "two", True]})
        ledger.confirmed(channel, ["f1", "f2", "f3"], size, exchange="all", content_type="application/x-test")
        ledger.confirmed(channel, ["ranked"], size, priority=len(ledger.queues["ranked"]) * 7 % 5)
    for name in ("purged", "deleted", "empty"):
        for size in SIZES:
            ledger.confirmed(channel, [name], size)

    # Over the budget of the log, so that its older half moves to segments.
    for _ in range(13):
        ledger.committed(bulk, [([name], 8000) for _ in range(100) for name in ("old", "aged")])
    support.wait_until(lambda: shard_of(broker).segments, LIMIT_S, "segments")
    assert ack_some(ledger, connection, "old", 400, lambda i: i < 200 or i % 3)
    assert ack_some(ledger, connection, "aged", 60, lambda i: i % 2)
    assert ack_some(ledger, connection, "large", 7, lambda i: i != 2)
    assert ack_some(ledger, connection, "f1", 20)
    assert ack_some(ledger, connection, "f2", 10)
    assert ack_some(ledger, connection, "empty", 20) == len(SIZES)
    for name in ("purged", "deleted"):
        ledger.mark([(name, digest) for digest in ledger.queues[name]], SETTLED)
    assert channel.queue_purge("purged").method.message_count == len(SIZES)
    channel.queue_delete("deleted")
    for size in SIZES:
        ledger.confirmed(channel, ["purged"], size)
    # Push these drops out of the log, into the directory; and leave some in it.
    for _ in range(13):
        ledger.committed(bulk, [(["new"], 8000)] * 200)
    support.wait_until(lambda: shard_of(broker).settled_in_directory > 100, LIMIT_S, "drops in the directory")
    assert ack_some(ledger, connection, "new", 30)
    assert ack_some(ledger, connection, "aged", 30, lambda i: i % 4)
    for size in SIZES:
        ledger.confirmed(channel, ["late"], size)
    ledger.mark([("late", digest) for digest in ledger.queues["late"]], SETTLED)
    channel.queue_delete("late")
    for name in ("f1", "f2", "f3"):
        ledger.confirmed(channel, [name], 30)  # one that the others have not: the queue is known by it
    connection.close()


class Work:
    """Publishers and a consumer that go on until the broker is gone."""

    def __init__(self, broker, ledger):
        self.broker, self.ledger = broker, ledger
        self.done = {"confirms": 0, "fanout": 0, "transactions": 0, "acks": 0}
        self.wrong = []
        self.killed = threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(job,), daemon=True)
                        for job in (self.confirms, self.fanout, self.transactions, self.acks)]
        for thread in self.threads:
            thread.start()

    def run(self, job):
        try:
            connection = connect(self.broker)
            for i in range(1_000_000):
                self.done[job.__name__] += job(i, connection)
        except Exception as error:  # pika ends a lost connection with many a kind; the main thread wants to hear of all others
            if not self.killed.is_set():
                self.wrong.append(repr(error))

    def channel(self, connection, tx=False):
        """The one channel of that connection."""
        if not hasattr(connection, "the_channel"):
            connection.the_channel = connection.channel()
            if tx:
                connection.the_channel.tx_select()
            else:
                connection.the_channel.confirm_delivery()
        return connection.the_channel

    def confirms(self, i, connection):
        self.ledger.confirmed(self.channel(connection), ["work"], SIZES[i % len(SIZES)])
        return 1

    def fanout(self, i, connection):
        self.ledger.confirmed(self.channel(connection), ["f1", "f2", "f3"], SIZES[i * 3 % len(SIZES)], exchange="all")
        if i % 30 == 1:  # larger than a hand-over: what the other threads do meanwhile passes it by
            self.ledger.confirmed(self.channel(connection), ["large"], 9_000_000)
        return 1

    def transactions(self, i, connection):
        sizes = (10, 5000, SIZES[i % len(SIZES)], 300_000 if i % 5 == 0 else 0)
        self.ledger.committed(self.channel(connection, tx=True), [([f"tx{1 + n % 2}"], size) for n, size in enumerate(sizes)])
        return 1

    def acks(self, i, connection):
        return ack_some(self.ledger, connection, "work", 10, lambda n: (n + i) % 3)

    def finish(self):
        """Kill the broker under them."""
        self.killed.set()
        self.broker.kill()
        for thread in self.threads:
            thread.join(LIMIT_S)
            assert not thread.is_alive()
        assert not self.wrong


class Crash:
    """A broker that was killed at work, what it had promised, and what the reader found in its files."""

    def __init__(self, broker):
        self.broker, self.ledger = broker, Ledger()
        self.begin_ms = int(time.time() * 1000)
        fill(broker, self.ledger)
        work = Work(broker, self.ledger)
        self.snapshots = []
        end = time.monotonic() + LIMIT_S
        while len(self.snapshots) < 2 or not all(n >= 60 for n in work.done.values()):
            assert time.monotonic() < end, f"only {work.done}"
            assert not work.wrong
            # What another process sees at a commit is what a crash would leave behind.
            self.snapshots.append(format_reader.read_directory(store_of(broker), lock=True))
        work.finish()
        self.end_ms = int(time.time() * 1000)
        self.store = format_reader.read_directory(store_of(broker))
        self.shard = self.store.shards["0000"]
        self.found = {}  # queue uuid -> messages, in order
        for message in self.store.messages:
            self.found.setdefault(message.queue, []).append(message)

    def name(self, uuid):
        """The queue that this uuid stands for: it alone has all its messages."""
        names = [name for name, entries in self.ledger.queues.items() if all(m.sha256 in entries for m in self.found[uuid])]
        assert len(names) == 1, f"{uuid} holds what nobody published there"
        return names[0]


@pytest.fixture(scope="module")
def files():
    """A directory of our own."""
    path = Path(tempfile.mkdtemp(prefix="sluice-test-format-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def crash(files):
    """The crash; a copy of the data directory is in `files`."""
    with support.new(CONFIG, kind="sluice") as broker:
        one = Crash(broker)
        shutil.copytree(broker.data, files, dirs_exist_ok=True,
                        ignore=shutil.ignore_patterns("admin.sock", "addresses", "LOCK"))
        yield one


# --- a crash --------------------------------------------------------------------------------------


def test_scenario_has_everything(crash):
    """Otherwise the tests below would prove less than they say."""
    assert not crash.store.clean
    assert crash.shard.segments > 100 and crash.shard.in_segments > 1000
    assert crash.shard.settled_in_directory > 100
    assert crash.shard.chunks > 100
    assert len(crash.shard.residents) > 30
    assert len(crash.store.messages) - crash.shard.in_segments > 500
    states = {entry.state for entries in crash.ledger.queues.values() for entry in entries.values()}
    assert {CONFIRMED, SETTLED} <= states


def test_snapshots_of_a_running_broker_keep_the_rules(crash):
    assert all(snapshot.messages and not snapshot.clean for snapshot in crash.snapshots)


def test_reader_finds_what_was_confirmed_and_not_acked(crash):
    assert len(crash.shard.queues) == len(crash.ledger.queues) - len(DELETED)
    names = {crash.name(uuid): uuid for uuid in crash.found}
    assert len(names) == len(crash.found)
    for name, entries in crash.ledger.queues.items():
        found = [message.sha256 for message in crash.found[names[name]]] if name in names else []
        order = {digest: i for i, digest in enumerate(entries)}
        places = [order[digest] for digest in found]
        assert places == sorted(set(places)), f"{name}: not in the order in which they were published"
        there = set(found)
        assert not [d for d, entry in entries.items() if entry.state == CONFIRMED and d not in there], f"{name}: lost"
        assert not [d for d, entry in entries.items() if entry.state == SETTLED and d in there], f"{name}: came back"


def test_transaction_without_answer_is_there_or_not(crash):
    there = {crash.name(uuid): {message.sha256 for message in found} for uuid, found in crash.found.items()}
    assert len({digest in there[queue] for queue, digest in crash.ledger.doubtful}) <= 1


def test_reader_finds_the_fields_of_the_messages(crash):
    for uuid, found in crash.found.items():
        name = crash.name(uuid)
        for message in found:
            entry = crash.ledger.queues[name][message.sha256]
            assert message.size == entry.size
            assert message.priority == entry.priority
            assert crash.begin_ms <= message.ts <= crash.end_ms
            assert message.expires == 0  # nothing here has a time to live
        positions = [message.qseq for message in found]
        assert positions == sorted(set(positions))


def test_program_prints_the_same(crash, files):
    done = reader(files / "store")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == len(crash.store.messages)
    for line, message in zip(lines, crash.store.messages):
        assert json.loads(line) == message._asdict()


def chunk(lsn, flags, skipped, record):
    """A chunk with one record."""
    head = struct.pack("<BBHIQQII", 2, flags, 1, 0, lsn, 0, len(record), skipped)
    checksum = xxhash.xxh3_64_intdigest(head + record)
    return lsn.to_bytes(8, "big"), head + checksum.to_bytes(8, "little") + record


@pytest.mark.parametrize("ended", [False, True])
def test_batch_counts_when_it_has_ended(crash, files, ended):
    """A crash in the middle of a batch leaves chunks without BATCH_END: here a part and the message that names it."""
    qid, lsn = crash.store.messages[0].qid, crash.shard.next_lsn
    body = content("", "large", pika.BasicProperties(delivery_mode=2), bytes(20000))
    part = struct.pack("<BBHIQIIQ", 9, 0, 24, 32 + len(body), lsn, 0, 1, len(body)) + body
    enq = struct.pack("<BBHIHBBIQQQII", 1, 1, 40, 68, 1, 0, 0, 0, len(body), 1, lsn, 1, 0)
    enq += struct.pack("<IQQ", qid, 1 << 40, 0)
    with contextlib.closing(support.new(CONFIG, kind="sluice")) as other:
        shutil.copytree(files, other.data, dirs_exist_ok=True)
        with lmdb.open(str(store_of(other)), create=False, lock=False, max_dbs=16, map_size=1 << 30) as env:
            with env.begin(write=True) as txn:
                for name, (key, data) in (
                        (b"0000.res", chunk(lsn, format_reader.BATCH_BEGIN | format_reader.RESIDENT, 0, part)),
                        (b"0000.log", chunk(lsn + 1, format_reader.BATCH_END * ended, 1, enq))):
                    db = env.open_db(name, txn=txn, create=False)
                    with txn.cursor(db) as cursor:  # the kill may have left such a batch itself
                        while cursor.set_range(lsn.to_bytes(8, "big")):
                            cursor.delete()
                    txn.put(key, data, db=db)
        found = [message for message in format_reader.read_directory(store_of(other)).messages if message.qseq == 1 << 40]
        assert [message.sha256 for message in found] == [hashlib.sha256(body).hexdigest()] * ended
        other.start()
        channel = connect(other).channel()
        names = {found[0].qid: crash.name(uuid) for uuid, found in crash.found.items()}
        count = len([message for message in crash.store.messages if message.qid == qid])
        assert channel.queue_declare(names[qid], passive=True).method.message_count == count + ended
        channel.connection.close()


def test_broker_delivers_what_the_reader_found(crash):
    names = {crash.name(uuid): found for uuid, found in crash.found.items()}
    crash.broker.start()
    connection = connect(crash.broker)
    channel = connection.channel()
    for name in crash.ledger.queues:
        if name in DELETED:
            continue
        want = names.get(name, [])
        assert channel.queue_declare(name, passive=True).method.message_count == len(want)
        for message in want:
            method, properties, body = channel.basic_get(name, auto_ack=True)
            assert digest_of(method, properties, body) == message.sha256
            assert method.redelivered  # it was no orderly stop
        assert channel.basic_get(name)[0] is None
    for name in DELETED:
        with pytest.raises(pika.exceptions.ChannelClosedByBroker):
            connection.channel().queue_declare(name, passive=True)
    connection.close()
    crash.broker.stop()
    store = format_reader.read_directory(store_of(crash.broker))
    assert store.clean
    assert not store.messages
    assert len(store.shards["0000"].queues) == len(crash.ledger.queues) - len(DELETED)


# --- damage ---------------------------------------------------------------------------------------


def reader(directory):
    """The reader as a program."""
    return subprocess.run(["/usr/bin/python3", str(HERE / "format_reader.py"), str(directory)], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=LIMIT_S, check=False)


@pytest.fixture
def env(crash, files):
    """The copy, to be changed."""
    size = os.path.getsize(files / "store" / "data.mdb")
    with lmdb.open(str(files / "store"), create=False, lock=False, max_dbs=16, map_size=2 * size + (64 << 20)) as env:
        yield env


def notices(env, database, key, change, where=None):
    """The damage that the reader reports when this value (None: the entry) is put there; nothing remains changed."""
    txn = env.begin(write=True, buffers=True)
    try:
        db = env.open_db(database.encode(), txn=txn, create=False)
        if change is None:
            assert txn.delete(key, db=db)
        else:
            assert txn.put(key, change, db=db)
        with pytest.raises(format_reader.Damage) as found:
            format_reader.read(env, txn, hashes=False)
        assert str(found.value).startswith(where or f"{database}, key ")
        return str(found.value)
    finally:
        txn.abort()


def entries(env, database):
    with env.begin() as txn:
        with txn.cursor(env.open_db(database.encode(), txn=txn, create=False)) as cursor:
            return list(cursor)


def some(env, database):
    """The first, the last and one in between."""
    found = entries(env, database)
    return {0: found[0], 1: found[len(found) // 2], 2: found[-1]}.values()


DATABASES = ("0000.st", "0000.que", "0000.log", "0000.res", "0000.seg", "0000.smd")


@pytest.mark.parametrize("database", DATABASES)
def test_flipped_byte_is_noticed(env, database):
    """Any byte: of the head, of the contents, of the checksum itself."""
    chance = random.Random(database)
    for key, data in some(env, database):
        for at in {0, len(data) - 1, *chance.sample(range(len(data)), 6)}:
            bad = bytearray(data)
            bad[at] ^= 1 << chance.randrange(8)
            notices(env, database, key, bytes(bad))


@pytest.mark.parametrize("database", DATABASES)
def test_cut_or_longer_value_is_noticed(env, database):
    key, data = list(some(env, database))[1 if database != "0000.st" else 0]
    for bad in (b"", data[:-1], data[:20], data + b"\0"):
        notices(env, database, key, bad)


@pytest.mark.parametrize("name,value", [
    ("format", b"\1\0\0\0"), ("format", b"\3\0\0\0"), ("format", b"\1"), ("clean", b"\x80"), ("env_uuid", b"short"), ("tick", b"1"),
    ("ballast.000", bytes(65519) + b"\1"), ("ballast.000", b""), ("something", b"else"),
])
def test_wrong_sys_value_is_noticed(env, name, value):
    notices(env, "sys", name.encode(), value)


@pytest.mark.parametrize("database,rule", [
    ("0000.log", "a gap behind"),
    ("0000.seg", "a directory record without segment"),
    ("0000.smd", "a segment without directory record"),
])
def test_missing_value_is_noticed(env, database, rule):
    found = entries(env, database)
    assert rule in notices(env, database, found[len(found) // 2][0], None, where="0000.")


def test_missing_ends_of_the_log_are_noticed(env, crash):
    first, last = entries(env, "0000.log")[0][0], (crash.shard.next_lsn - 1).to_bytes(8, "big")
    assert "the log begins at" in notices(env, "0000.log", first, None)
    told = notices(env, "0000.log", last, None, where="0000.log")
    assert "the shard state knows" in told or "a gap behind" in told  # the latter when the kill left an unfinished batch


def test_missing_part_is_noticed(env, crash):
    first = max(crash.shard.residents)
    told = notices(env, "0000.res", first.to_bytes(8, "big"), None, where="0000.")
    assert "is missing" in told or "a batch without beginning" in told  # the latter when the batch began with that part


@pytest.mark.parametrize("database", ["0000.que", "0000.log", "0000.res", "0000.seg", "0000.smd"])
def test_value_under_another_key_is_noticed(env, database):
    (key, _), (_, data) = entries(env, database)[:2]
    notices(env, database, key, data)


def rewrite(data, at, byte, checksum, key=b""):
    """A value with one byte changed and a checksum to match."""
    data = bytearray(data)
    data[at] = byte
    hashed = key + bytes(data[:checksum]) + bytes(data[checksum + 8:])
    data[checksum:checksum + 8] = xxhash.xxh3_64_intdigest(hashed).to_bytes(8, "little")
    return bytes(data)


@pytest.mark.parametrize("database,at,byte,checksum,rule", [
    ("0000.st", 0, 3, 64, "format 3"),
    ("0000.que", 0, 3, 40, "format 3"),
    ("0000.log", 0, 3, 32, "chunk version 3"),
    ("0000.log", 1, 8, 32, "unknown flags 0x8"),
    ("0000.log", 28, 99, 32, "a gap behind"),
    ("0000.log", 40, 3, 32, "unknown type 3"),
    ("0000.res", 1, 0, 32, "RESIDENT"),
    ("0000.seg", 0, 3, 24, "format 3"),
    ("0000.smd", 0, 3, 40, "format 3"),
    ("0000.smd", 8, 255, 40, "live messages"),
])
def test_right_checksum_does_not_hide_a_broken_rule(env, database, at, byte, checksum, rule):
    found = entries(env, database)
    key, data = next(one for one in found[len(found) // 2:] if len(one[1]) > 40)  # a chunk may be empty
    hashed_key = key if len(key) == 12 else b""
    assert rewrite(data, at, data[at], checksum, hashed_key) == data  # else the checksum would be what is noticed
    assert rule in notices(env, database, key, rewrite(data, at, byte, checksum, hashed_key))


def test_program_names_the_damage(env, files):
    """In the file, and from outside."""
    key, data = list(some(env, "0000.seg"))[1]
    bad = bytearray(data)
    bad[-1] ^= 1
    for value, status, text in ((bytes(bad), 1, f"0000.seg, key {key.hex()}: wrong checksum"), (data, 0, "")):
        with env.begin(write=True) as txn:
            assert txn.put(key, value, db=env.open_db(b"0000.seg", txn=txn, create=False))
        done = reader(files / "store")
        assert done.returncode == status
        assert text in done.stderr
    assert reader(files / "nothing").returncode == 1
