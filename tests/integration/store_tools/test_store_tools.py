"""What is damaged is named, what is not is kept, and nothing is written without being said."""

import hashlib
import json
import os
import pty
import re
import struct
import subprocess

import pytest
from conftest import ACKED, PUBLISHED, ctl, drain, new_broker, offline, wait_figures
from pages import HEAD, Pages, flip
from support import broker as support

LEFT = {queue: list(range(ACKED[queue] + 1, PUBLISHED[queue] + 1)) for queue in PUBLISHED}
LIVE = sum(map(len, LEFT.values()))


def data_file(data):
    return data / "store" / "data.mdb"


def snapshot(directory):
    """Every file: name, time, content."""
    return {str(p.relative_to(directory)): (p.stat().st_mtime_ns, hashlib.sha256(p.read_bytes()).hexdigest() if p.is_file() else "")
            for p in sorted(directory.rglob("*"))}


def qid_names(pages):
    """Queues were declared in this order."""
    keys = [struct.unpack(">I", v.key)[0] for v in pages.databases["0000.que"]]
    return dict(zip(keys, ["old", "both", "large", "new"]))


def lost_positions(text):
    """What check says is lost: {qid: positions}."""
    lost = {}
    for line in re.findall(r"^    positions lost: (.*)$", text, re.M):
        for qid, ranges in re.findall(r"queue (\d+): ([0-9, -]+)", line):
            for part in ranges.split(", "):
                first, _, last = part.partition("-")
                lost.setdefault(int(qid), []).extend(range(int(first), int(last or first) + 1))
    return lost


def record_of(chunk):
    """Type of the first record of a chunk."""
    return chunk[40] if len(chunk) > 40 else 0


def check_whole(data):
    done = offline("check", data)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    return done.stdout


def salvage_and_drain(start, data, names, lost, returned=None):
    """Salvage; then a broker starts and has everything but what was named."""
    before = data_file(data).read_bytes()
    done = offline("salvage", data, "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    kept = re.search(r"the old file is (\S+)", done.stdout).group(1)
    with open(kept, "rb") as file:
        assert file.read() == before
    os.unlink(kept)
    check_whole(data)
    broker = start(data)
    for qid, name in names.items():
        gone = set(lost.get(qid, []))
        want = [n for n in LEFT[name] if n not in gone]
        found = drain(broker, name)
        if returned and name in returned:
            assert set(want) <= set(found) <= set(want) | set(returned[name])
            assert found == sorted(found)
        else:
            assert found == want, name
    broker.stop()


# ---- nothing is damaged ----

def test_check_of_a_whole_store_changes_nothing(data):
    before = snapshot(data)
    text = check_whole(data)
    assert f"{LIVE} messages" in text and "4 queues" in text and "4 large contents" in text
    assert snapshot(data) == before


def test_check_takes_the_store_directory_alone(data):
    before = snapshot(data)
    assert f"{LIVE} messages" in check_whole(data / "store")
    assert snapshot(data) == before


def test_check_works_where_nothing_can_be_written(data):
    """As a user who may read and not write."""
    if os.geteuid() != 0:
        pytest.skip("needs root to become somebody else")
    for path in [data, *data.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o444)
    for path in list(data.parents)[:3]:
        path.chmod(path.stat().st_mode | 0o055)
    before = snapshot(data)
    done = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", os.environ["SLUICED"], "--store", "check",
                           "--data-dir", str(data)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert snapshot(data) == before


def test_figures_of_a_stopped_node(data, pages):
    done = offline("stat", data, "--formatter", "json")
    assert done.returncode == 0, done.stderr
    got = json.loads(done.stdout)
    assert got["live_messages"] == LIVE == got["log_messages"] + got["segment_messages"]
    assert got["queues"] == 4 and got["residents"] == 4 and got["clean_stop"] is True
    assert got["segments"] == len(pages.databases["0000.seg"]) > 0
    assert {k: v["entries"] for k, v in got["databases"].items()} == {k: len(v) for k, v in pages.databases.items()}
    assert got["used_bytes"] + got["free_bytes"] <= got["file_bytes"] == len(pages.data)
    table = offline("stat", data).stdout.splitlines()
    assert table[0] == "name\tvalue" and f"live_messages\t{LIVE}" in table


def test_salvage_of_a_whole_store_does_nothing(data):
    before = snapshot(data)
    done = offline("salvage", data, "--yes")
    assert done.returncode == 0 and "nothing was done" in done.stdout
    assert snapshot(data) == before


# ---- who may, and when ----

def test_a_running_broker_is_left_alone(data, start):
    broker = start(data)
    for action in ("stat", "check", "compact", "salvage"):
        done = offline(action, broker.data)
        assert done.returncode == 73 and "in use" in done.stderr and "backup" in done.stderr, action
        assert offline(action, broker.data / "store").returncode == 73
    got = json.loads(ctl("--socket", broker.admin, "store", "stat", "--formatter", "json").stdout)
    assert got["live_messages"] == LIVE and got["segments"] > 0
    table = ctl("--socket", broker.admin, "store", "stat")
    assert f"live_messages\t{LIVE}" in table.stdout.splitlines()


def test_no_store_there(tmp_path):
    done = offline("check", tmp_path)
    assert done.returncode == 65 and "no store" in done.stderr
    (tmp_path / "data.mdb").write_bytes(b"\0" * 8192)
    done = offline("check", tmp_path)
    assert done.returncode == 65 and "meta page" in done.stderr


@pytest.mark.parametrize("words", [("store",), ("store", "mend"), ("store", "check", "--yes"), ("store", "check", "--formatter", "json"),
                                   ("store", "check", "--dir", "/", "-t", "5")])
def test_wrong_words(words):
    assert ctl(*words).returncode == 64


@pytest.mark.parametrize("words", [("--store", "mend"), ("--yes",), ("--store",)])
def test_wrong_words_of_sluiced(words):
    done = subprocess.run([os.environ["SLUICED"], *words], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 64 and done.stderr


def test_a_store_of_an_older_format(data, pages, start):
    """No tool touches it; a start says what to do, and that works."""
    value = next(v for v in pages.databases["sys"] if v.key == b"format")
    flip(data_file(data), value.offset, 2 ^ 1)
    before = snapshot(data)
    told = f"the store in {data}/store has format 1 of an older version of Sluice"
    for action in ("stat", "check", "compact", "salvage"):
        done = offline(action, data, *["--yes"][:action == "salvage"])
        assert done.returncode == 78 and told in done.stderr, (action, done.stderr)
    assert snapshot(data) == before
    broker = new_broker(data)
    with pytest.raises(support.BrokerError, match="status 78"):
        broker.start()
    log = broker.log_text()
    broker.close(failed=False)
    assert "has format 1 of an older version of Sluice; this one reads format 2" in log
    assert "move this directory away; definitions stay, and the queues begin empty" in log
    (data / "store").rename(data / "store.old")
    broker = start(data)
    assert [drain(broker, name) for name in PUBLISHED] == [[]] * len(PUBLISHED)


def test_salvage_asks(data, pages):
    """Without a terminal it wants --yes; with one it waits for yes. Either way it says first what will be lost."""
    segment = pages.databases["0000.seg"][2]
    flip(data_file(data), segment.offset + segment.size - 1)
    before = snapshot(data)
    done = offline("salvage", data)
    assert done.returncode == 64 and "--yes" in done.stderr and "positions lost: queue" in done.stdout
    assert snapshot(data) == before

    def answer(text):
        ours, theirs = pty.openpty()
        try:
            os.write(ours, text)
            return offline("salvage", data, stdin=theirs)
        finally:
            os.close(ours)
            os.close(theirs)
    assert answer(b"no\n").returncode == 65
    assert snapshot(data) == before
    done = answer(b"yes\n")
    assert done.returncode == 0 and "salvaged" in done.stdout, done.stderr
    check_whole(data)


def test_progress_on_a_terminal_only(data):
    ours, theirs = pty.openpty()
    done = subprocess.run([os.environ["SLUICED"], "--store", "check", "--data-dir", str(data)], stderr=theirs, stdout=subprocess.PIPE,
                          text=True, timeout=60, check=False)
    os.close(theirs)
    shown = os.read(ours, 1 << 16)
    os.close(ours)
    assert done.returncode == 0 and b"reading the store: " in shown and b" %" in shown


# ---- one byte ----

def damage_state(pages):
    return pages.databases["0000.st"][0], 20


def damage_queue(pages):
    return pages.databases["0000.que"][1], 26


def damage_record(pages):
    return pages.databases["0000.smd"][1], 9


def damage_segment(pages):
    value = pages.databases["0000.seg"][3]
    return value, value.size - 5


def damage_slot(pages):
    return pages.databases["0000.seg"][4], 32 + 41


def damage_chunk(pages):
    # The last of its size: all messages of an early one may be settled, and then nothing is lost with it.
    value = [v for v in pages.databases["0000.log"] if record_of(pages.value(v)) == 1 and v.size > 10000][-1]
    return value, value.size - 5


def damage_chunk_head(pages):
    value = [v for v in pages.databases["0000.log"] if record_of(pages.value(v)) == 1][-3]
    return value, 17


def damage_last_chunk(pages):
    return pages.databases["0000.log"][-1], 30


def damage_part(pages):
    value = pages.databases["0000.res"][1]
    return value, value.size // 2


# what to damage, whether a start reads it, which queue may get messages back that were settled
KINDS = [(damage_state, True, {}), (damage_queue, True, {}), (damage_record, True, {"old": range(1, 41), "both": range(1, 11)}),
         (damage_segment, False, {}), (damage_slot, False, {}), (damage_chunk, True, {}), (damage_chunk_head, True, {}),
         (damage_last_chunk, True, {"new": range(1, 26), "old": range(1, 41), "both": range(1, 11)}), (damage_part, False, {})]


@pytest.mark.parametrize(("choose", "refused", "returned"), KINDS, ids=[k[0].__name__ for k in KINDS])
def test_one_damaged_byte(data, pages, start, choose, refused, returned):
    value, at = choose(pages)
    database = next(name for name, values in pages.databases.items() if value in values)
    flip(data_file(data), value.offset + at)
    before = snapshot(data)
    done = offline("check", data)
    assert done.returncode == 65, done.stdout + done.stderr
    found = re.findall(r"^damaged: (.*)$", done.stdout, re.M)
    key = value.key.decode() if value.key == b"s" else value.key[:4].hex() + " " + value.key[4:].hex() if len(value.key) == 12 else value.key.hex()
    assert len(found) == 1 and found[0].startswith(f"{database}, key {key}: "), done.stdout
    assert snapshot(data) == before
    lost = lost_positions(done.stdout)
    assert f"1 damaged, {sum(map(len, lost.values()))} messages lost" in done.stdout
    if database in ("0000.seg", "0000.res") or choose is damage_chunk:
        assert lost, "messages must be named"
    else:
        assert choose is damage_chunk_head or not lost

    if refused:
        broker = new_broker(data)
        with pytest.raises(support.BrokerError):
            broker.start()
        log = broker.log_text()
        broker.close(failed=False)
        assert "sluicectl store check" in log and "sluicectl store salvage" in log, log
        assert database in log
    salvage_and_drain(start, data, qid_names(pages), lost, returned)


def test_every_byte_of_small_values_counts(data, pages):
    """The values that everything hangs on: no byte of them can change unnoticed, but those that FORMAT.md calls zero and not looked at."""
    path = data_file(data)
    for database, skip in (("0000.st", ()), ("0000.que", ()), ("0000.smd", ())):
        value = pages.databases[database][0]
        for at in range(0, min(value.size, 72), 3):
            flip(path, value.offset + at)
            done = offline("check", data)
            assert done.returncode == 65 and f"{database}, key" in done.stdout, (database, at)
            flip(path, value.offset + at)
    check_whole(data)


def test_the_ballast_and_the_meta_pages(data, pages, start):
    path = data_file(data)
    ballast = next(v for v in pages.databases["sys"] if v.key.startswith(b"ballast"))
    flip(path, ballast.offset + 100)
    done = offline("check", data)
    assert done.returncode == 65 and "sys, key ballast" in done.stdout and "0 messages lost" in done.stdout
    flip(path, ballast.offset + 100)
    check_whole(data)
    flip(path, (1 - pages.newest) * pages.size + HEAD)  # magic of the older one: nobody opens it any more
    done = offline("check", data)
    assert done.returncode == 65 and "meta page" in done.stdout, done.stdout
    salvage_and_drain(start, data, qid_names(pages), {})


@pytest.mark.parametrize("database", ["0000.log", "0000.seg", "0000.res", "0000.smd"])
def test_a_page_of_the_tree(data, pages, start, database):
    """A leaf that is not one: LMDB would follow its wild offsets. What stood behind it is named where it is missed."""
    page = pages.leaves[database][0]
    flip(data_file(data), page * pages.size + 12, 0xff)
    done = offline("check", data)
    assert done.returncode == 65 and f"{database}, page {page}" in done.stdout, done.stdout + done.stderr
    lost = lost_positions(done.stdout)
    back = {}
    names = qid_names(pages)
    done = offline("salvage", data, "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    check_whole(data)
    broker = start(data)
    for qid, name in names.items():
        found = drain(broker, name)
        want = set(LEFT[name]) - set(lost.get(qid, []))
        assert found == sorted(set(found)), "in order, none twice"
        if database == "0000.log":
            assert set(found) <= set(range(1, PUBLISHED[name] + 1))
        elif database == "0000.smd":
            assert want <= set(found)
        else:
            assert set(found) == want, back


def test_the_page_of_the_queues(data, pages, start):
    """Their numbers and uuids are in the log too, as long as it holds the chunk in which they were declared."""
    page = pages.leaves["0000.que"][0]
    flip(data_file(data), page * pages.size + 12, 0xff)
    done = offline("check", data)
    assert done.returncode == 65 and f"0000.que, page {page}" in done.stdout
    told = {int(q) for q in re.findall(r"queue (\d+): its entry is missing\n    salvage makes it anew with the uuid in the log", done.stdout)}
    names = qid_names(pages)
    assert "new" in {names[q] for q in told}, "it was declared last"
    lost = {int(q): int(n) for q, n in re.findall(r"queue (\d+): its entry is missing\n.*drops the queue with its (\d+) messages", done.stdout)}
    assert told | set(lost) == set(names)
    assert lost == {q: len(LEFT[names[q]]) for q in lost}
    done = offline("salvage", data, "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    check_whole(data)
    broker = start(data)
    for qid, name in names.items():
        found = drain(broker, name)
        assert found == ([] if qid in lost else LEFT[name]), name


def test_a_queue_under_another_number(data, pages, start):
    """It says itself whose entry it is."""
    names = qid_names(pages)
    entry = next(v for v in pages.databases["0000.que"] if names[struct.unpack(">I", v.key)[0]] == "new")
    flip(data_file(data), entry.key_offset + 3, 0x40)
    done = offline("check", data)
    number = struct.unpack(">I", entry.key)[0]
    assert done.returncode == 65 and f"the key is damaged: the entry of queue {number} stands under it" in done.stdout
    assert "1 damaged, 0 messages lost" in done.stdout
    salvage_and_drain(start, data, names, {})


def test_the_page_that_names_the_databases(data, pages):
    """The one page without which nothing can be found: it says so, and a salvage changes nothing."""
    flip(data_file(data), pages.main * pages.size + 12, 0xff)
    before = snapshot(data)
    for words in (("check",), ("salvage", "--yes")):
        done = offline(words[0], data, *words[1:])
        assert done.returncode == 65 and "restore a backup" in done.stderr, done.stdout
    assert snapshot(data) == before


def test_a_file_that_was_cut(data, pages):
    cut = len(pages.data) * 2 // 3
    with open(data_file(data), "r+b") as file:
        file.truncate(cut)
    done, salvage = offline("check", data), offline("salvage", data, "--yes")
    if (pages.main + 1) * pages.size > cut:  # LMDB puts that page where it likes: the case of the test before this one
        assert (done.returncode, salvage.returncode) == (65, 65) and "restore a backup" in salvage.stderr
        return
    assert done.returncode == 65 and "the file ends before it" in done.stdout
    torn = any(page * pages.size >= cut for name in ("0000.log", "0000.que") for page in pages.leaves[name])
    assert not torn or " messages lost and others that nobody can count; what is left: " in done.stdout, done.stdout
    assert not torn or "and those that nobody can count, are then lost for good" in salvage.stdout
    assert salvage.returncode == 0
    check_whole(data)


@pytest.mark.parametrize("database", ["0000.log", "0000.res", "0000.seg"])
def test_a_damaged_key_costs_nothing(data, pages, start, database):
    """What stands under it is whole and says itself what it is. LMDB would not find anything behind a key that is out of order."""
    large = [v for v in pages.databases[database] if v.size > 4096]
    victim = large[len(large) // 2]
    flip(data_file(data), victim.key_offset + len(victim.key) - 8, 0x80)
    done = offline("check", data)
    assert done.returncode == 65 and f"damaged: {database}, key " in done.stdout and "the key is damaged" in done.stdout, done.stdout
    assert " 0 messages lost" in done.stdout and not lost_positions(done.stdout), done.stdout
    salvage_and_drain(start, data, qid_names(pages), {})


@pytest.mark.parametrize("database", ["0000.log", "0000.res"])
def test_a_damaged_key_and_a_damaged_value(data, pages, start, database):
    """Then nobody can tell what it was: it is missing. All others are there."""
    large = [v for v in pages.databases[database] if v.size > 4096]
    victim = large[len(large) // 2]
    flip(data_file(data), victim.key_offset, 0x80)
    flip(data_file(data), victim.offset + victim.size - 1)
    done = offline("check", data)
    assert done.returncode == 65 and "number cannot be told" in done.stdout, done.stdout
    number = struct.unpack(">Q", victim.key)[0]
    lost = lost_positions(done.stdout)
    if database == "0000.res":
        assert "of a large content is missing" in done.stdout and sum(map(len, lost.values())) == 1
        salvage_and_drain(start, data, qid_names(pages), lost)
        return
    assert f"chunk {number} is missing" in done.stdout and not lost
    done = offline("salvage", data, "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    check_whole(data)
    broker = start(data)
    names = qid_names(pages).values()
    missing = sum(len(LEFT[name]) - len(drain(broker, name)) for name in names)
    assert 0 < missing * 8000 < 2 * 65536, "one chunk"


# ---- compaction ----

def test_compact_gives_space_back(data, start):
    broker = start(data)
    assert ctl("--socket", broker.admin, "purge_queue", "old").returncode == 0
    wait_figures(broker, lambda f: f["live_messages"] == LIVE - len(LEFT["old"]) and f["segment_bytes"] < 1 << 20, "the purge")
    broker.stop()
    path = data_file(broker.data)
    before = path.stat()
    done = offline("compact", broker.data)
    assert done.returncode == 0, done.stderr
    after = path.stat()
    assert f"{before.st_size} bytes before, {after.st_size} bytes after" in done.stdout
    assert after.st_size < before.st_size * 3 // 4
    assert (after.st_uid, after.st_gid, after.st_mode) == (before.st_uid, before.st_gid, before.st_mode)
    assert sorted(p.name for p in (broker.data / "store").iterdir()) == ["data.mdb", "lock.mdb"]
    assert Pages(path).databases.keys() >= {"sys", "0000.log"}
    check_whole(broker.data)
    broker.start()
    for name in ("both", "new", "large"):
        assert drain(broker, name) == LEFT[name]
    assert drain(broker, "old") == []


def test_compact_refuses_damage(data, pages):
    segment = pages.databases["0000.seg"][0]
    flip(data_file(data), segment.offset + segment.size - 1)
    before = snapshot(data)
    done = offline("compact", data)
    assert done.returncode == 65 and "salvage" in done.stderr
    assert snapshot(data) == before
