#!/usr/bin/python3
"""A second reader of the store's files, written from storage/FORMAT.md alone.

    format_reader.py DIRECTORY

Opens the LMDB environment in DIRECTORY (a data directory's `store`) read-only, verifies every checksum and every rule that
the page states, applies "From these to the messages" and prints each live message as one line of JSON, ordered by shard, queue
and position:

    {"shard": 0, "qid": 1, "queue": "<uuid, hex>", "qseq": 1, "ts": ms, "expires": ms or 0, "priority": 0,
     "sha256": "<of the content>", "size": bytes of the content}

Exit status: 0; 1 when something is not as the page says (the first such thing is named); 64 for a wrong command line.

It is stricter than the store's own recovery: it reads the segments and parts too, and refuses what the page gives no meaning
(a database, a key, a non-zero value of a field called zero). A page that promises more than the store keeps shows here, and so
does a store that writes what the page does not say. No code is shared with the store. As a module: read(), read_directory().
"""

import bisect
import hashlib
import json
import re
import struct
import sys
from collections import namedtuple

import lmdb
import xxhash

CHUNK_BYTES = 65520
CHUNK_HEAD = 40
PART_BYTES_MAX = 65448
RESIDENT_FROM = 16 * 1024  # contents above it are resident
SEGMENT_HEAD, SLOT_BYTES, SLOT_SPAN = 32, 40, 8191
DIRECTORY_HEAD = 48
BATCH_BEGIN, BATCH_END, RESIDENT = 1, 2, 4
ENQ, DROP, QNEW, QDEL, PART = 1, 2, 4, 5, 9
KINDS = ("st", "log", "que", "res", "seg", "smd")

Message = namedtuple("Message", "shard qid queue qseq ts expires priority sha256 size")
Resident = namedtuple("Resident", "first bytes parts")  # how a message names its parts
Chunk = namedtuple("Chunk", "value lsn flags records skipped")
Part = namedtuple("Part", "chunk resident index data")
Segment = namedtuple("Segment", "first last slots")
Slot = namedtuple("Slot", "qseq ts expires priority content")
State = namedtuple("State", "epoch log_start hw next_qid")


class Damage(Exception):
    """Something is not as storage/FORMAT.md says."""


class Value:
    """One value, and how to say where it stands."""

    __slots__ = ("database", "key", "data")

    def __init__(self, database, key, data):
        self.database, self.key, self.data = database, bytes(key), data

    def need(self, true, rule):
        if not true:
            key = self.key.decode() if self.database == "sys" or self.database.endswith(".st") else self.key.hex()
            raise Damage(f"{self.database}, key {key}: {rule}")

    def unpack(self, fields, at):
        """Little-endian fields; they must be there."""
        self.need(at + struct.calcsize("<" + fields) <= len(self.data), f"ends within the fields at {at}")
        return struct.unpack_from("<" + fields, self.data, at)

    def checksum(self, at, *pieces):
        state = xxhash.xxh3_64(seed=int(self.database[:4], 16))
        for piece in pieces:
            state.update(piece)
        self.need(self.unpack("Q", at)[0] == state.intdigest(), "wrong checksum")


# --- values ---------------------------------------------------------------------------------------


def check_sys(values):
    """The whole of `sys`; whether the last stop was an orderly one."""
    found = {value.key.decode(errors="replace"): value for value in values}
    nothing = Value("sys", b"format", b"")
    value = found.pop("format", nothing)
    value.need(len(value.data) == 4 and value.unpack("I", 0) == (2,), "must be 2, in 4 bytes")
    for name, size in (("env_uuid", 16), ("clean", 1), ("tick", 8)):
        value = found.pop(name, None)
        nothing.need(value is not None or name == "tick", f"there is no {name}")
        if value is not None:
            value.need(len(value.data) == size, f"must have {size} bytes")
            if name == "clean":
                clean = value.data[0]
                value.need(clean <= 1, "must be 0 or 1")
    for name, value in found.items():
        value.need(re.fullmatch(r"ballast\.\d{3}", name), "nobody knows this key")
        value.need(len(value.data) == CHUNK_BYTES and not any(value.data), "must be 65520 zeros")
    nothing.need(len(found) * CHUNK_BYTES <= 4 << 20, "more than 4 MiB of ballast")
    return clean == 1


def read_state(values):
    """The shard state; None when there is none, which is an empty shard."""
    values = list(values)
    if not values:
        return None
    for value in values:
        value.need(value.key == b"s", "nobody knows this key")
    value = values[0]
    value.need(len(value.data) == 72, "must have 72 bytes")
    value.checksum(64, value.data[:64])
    version, flags, epoch, log_start, migrated, hw, next_qid, zero, next_res, _, zero2 = value.unpack("HHIQQQIIQQQ", 0)
    value.need(version == 2, f"format {version}")
    value.need(flags == migrated == zero == zero2 == 0 and next_res == 1, "a field that is fixed is not what it must be")
    value.need(log_start >= 1 and next_qid >= 1, "LSNs and qids count from 1")
    return State(epoch, log_start, hw, next_qid)


def read_queues(values, state):
    """uuid of each qid."""
    queues = {}
    for value in values:
        value.need(len(value.key) == 4 and len(value.data) == 48, "key of 4, value of 48 bytes")
        value.checksum(40, value.data[:40])
        version, flags, own, uuid, next_qseq, _ = value.unpack("HHI16sQQ", 0)
        value.need(version == 2, f"format {version}")
        value.need(flags == 0, "a field called zero is not")
        qid = int.from_bytes(value.key, "big")
        value.need(own == qid, f"holds the entry of queue {own}")
        value.need(1 <= qid < state.next_qid, "qid is not below next_qid")
        value.need(next_qseq >= 1, "positions count from 1")
        queues[qid] = uuid
    return queues


def read_chunk(value, resident):
    """The head of a chunk; its checksum is right then."""
    value.need(len(value.key) == 8, "key of 8 bytes")
    value.need(CHUNK_HEAD <= len(value.data) <= CHUNK_BYTES, "a chunk has 40 to 65520 bytes")
    value.checksum(32, value.data[:32], value.data[40:])
    version, flags, records, _, lsn, _, body, skipped = value.unpack("BBHIQQII", 0)
    value.need(version == 2, f"chunk version {version}")
    value.need(flags & ~(BATCH_BEGIN | BATCH_END | RESIDENT) == 0, f"unknown flags {flags:#x}")
    value.need(lsn == int.from_bytes(value.key, "big") and lsn >= 1, f"holds chunk {lsn}")
    value.need(body == len(value.data) - CHUNK_HEAD, f"says {body} bytes of records")
    value.need(bool(flags & RESIDENT) == resident, "RESIDENT is a flag of the chunks in .res, and of them only")
    value.need(not resident or (skipped == 0 and not flags & BATCH_END), "a part has no skipped and ends no batch")
    return Chunk(value, lsn, flags, records, skipped)


def records(chunk):
    """(offset, type, flags, end of the fixed fields, end) of the records that this version knows."""
    value, at = chunk.value, CHUNK_HEAD
    fixed = {ENQ: 24, DROP: 8, QNEW: 24, QDEL: 24, PART: 24}
    for _ in range(chunk.records):
        kind, flags, extra, total = value.unpack("BBHI", at)
        value.need(8 + extra <= total <= len(value.data) - at, f"the record at {at} does not fit")
        if kind in fixed:
            least = 40 if kind == ENQ and flags & 1 else fixed[kind]
            value.need(extra >= least, f"the record at {at} lacks fixed fields")
            value.need(flags & ~0x80 & ~(kind == ENQ) == 0, f"the record at {at} has unknown flags {flags:#x}")
            yield at, kind, flags, at + 8 + extra, at + total
        else:
            value.need(flags & 0x80, f"the record at {at} is of the unknown type {kind}")
        at += total
    value.need(at == len(value.data), f"more bytes than {chunk.records} records")


def check_resident(value, resident):
    value.need(resident.bytes and resident.parts, f"{resident.bytes} bytes of content in {resident.parts} parts")


def read_parts(values):
    """The parts by LSN."""
    parts = {}
    for value in values:
        chunk = read_chunk(value, resident=True)
        found = list(records(chunk))
        value.need(chunk.records == 1 and len(found) == 1 and found[0][1] == PART, "a chunk of .res holds one part")
        at, _, _, begin, end = found[0]
        first, index, count, size = value.unpack("QIIQ", at + 8)
        resident = Resident(first, size, count)
        check_resident(value, resident)
        value.need(index < count and chunk.lsn == first + index, "a part that is not where it says")
        value.need(end - begin <= PART_BYTES_MAX, f"part {index} of {count} has {end - begin} bytes")
        value.need(index == count - 1 or -(-size // (end - begin or 1)) == count,
                   f"part {index} has {end - begin} bytes, which does not make {count} parts of {size}")
        parts[chunk.lsn] = Part(chunk, resident, index, value.data[begin:end])
    return parts


def content_of(value, resident, parts):
    """The pieces of a resident content that somebody wants."""
    pieces = []
    for index in range(resident.parts):
        part = parts.get(resident.first + index)
        value.need(part is not None, f"part {index} of the content at {resident.first} is missing")
        value.need((part.resident, part.index) == (resident, index), f"{part.chunk.lsn} is part of another content")
        pieces.append(part.data)
    value.need(all(len(p) == len(pieces[0]) for p in pieces[:-1]) and sum(map(len, pieces)) == resident.bytes,
               f"the parts of the content at {resident.first} do not add up")
    return pieces


# --- segments -------------------------------------------------------------------------------------


def read_segment(value):
    value.need(len(value.key) == 12 and len(value.data) <= CHUNK_BYTES, "key of 12, value of up to 65520 bytes")
    version, zero, count, qid, zero2, first = value.unpack("HHIIIQ", 0)
    value.checksum(24, value.key, value.data[:24], value.data[32:])
    value.need(version == 2, f"format {version}")
    value.need(zero == 0 and zero2 == 0, "a field called zero is not")
    value.need((qid, first) == struct.unpack(">IQ", value.key), "holds another segment")
    value.need(count >= 1, "no slots")
    contents = SEGMENT_HEAD + count * SLOT_BYTES
    value.need(contents <= len(value.data), f"{count} slots do not fit")
    slots, last = [], first - 1
    for at in range(SEGMENT_HEAD, contents, SLOT_BYTES):
        qseq, ts, expires, offset, size, priority, flags, zero = value.unpack("QQQIIBB6s", at)
        value.need(last < qseq <= first + SLOT_SPAN, "positions must ascend, within 8191 of the first")
        value.need(at > SEGMENT_HEAD or qseq == first, "the first slot is not the key's")
        value.need(contents <= offset and offset + size <= len(value.data), f"the content of {qseq} is outside")
        value.need(flags <= 1 and not any(zero), f"the slot of {qseq} has unknown flags")
        content = value.data[offset:offset + size]
        if flags:
            value.need(size == 24, "a resident slot has 24 bytes")
            lsn, whole, parts, zero = value.unpack("QQII", offset)
            value.need(zero == 0, "a field called zero is not")
            content = Resident(lsn, whole, parts)
            check_resident(value, content)
        else:
            value.need(size <= RESIDENT_FROM, "contents over 16 KiB are resident")
        slots.append(Slot(qseq, ts, expires, priority, content))
        last = qseq
    return Segment(first, last, slots)


def read_directory_record(value, segment):
    """The slots of the segment that are live as far as its directory record knows."""
    value.checksum(40, value.key, value.data[:40], value.data[DIRECTORY_HEAD:])
    version, zero, count, live, map_bytes, last, size, residents, zero2 = value.unpack("HHIIIQQII", 0)
    value.need(version == 2, f"format {version}")
    value.need(zero == 0 and zero2 == 0, "a field called zero is not")
    value.need(count == len(segment.slots) and last == segment.last, "its segment has other messages")
    span = last - segment.first
    value.need(map_bytes in (0, span // 8 + 1), f"a map of {map_bytes} bytes")
    value.need(len(value.data) == DIRECTORY_HEAD + map_bytes + 32 * residents, "its size is not what its fields say")

    sizes = (slot.content.bytes if isinstance(slot.content, Resident) else len(slot.content) for slot in segment.slots)
    value.need(size == sum(sizes), f"{size} bytes of content are not those of the segment")
    told = {}
    for at in range(DIRECTORY_HEAD + map_bytes, len(value.data), 32):
        qseq, lsn, whole, parts, zero = value.unpack("QQQII", at)
        value.need(zero == 0, "a field called zero is not")
        told[qseq] = Resident(lsn, whole, parts)
    there = {slot.qseq: slot.content for slot in segment.slots if isinstance(slot.content, Resident)}
    value.need(len(told) == residents and told.items() <= there.items(), "residents that its segment has not")

    settled = value.data[DIRECTORY_HEAD:DIRECTORY_HEAD + map_bytes] if map_bytes else bytes(span // 8 + 1)
    left = [slot for slot in segment.slots
            if not settled[(slot.qseq - segment.first) // 8] >> (slot.qseq - segment.first) % 8 & 1]
    clear = sum(not settled[i // 8] >> i % 8 & 1 for i in range(span + 1))
    value.need(clear == len(left), "positions without a message count as live")
    value.need(live == len(left), f"says {live} live messages, its map {len(left)}")
    value.need(all(slot.qseq in told for slot in left if slot.qseq in there), "a live resident is not among its residents")
    return left


def read_segments(values, records_of):
    """Per qid its segments in order, and what is live in them: {qid: [Segment]}, {qid: {qseq: (Slot, Value)}}."""
    segments, live = {}, {}
    directory = {value.key: value for value in records_of}
    for value in values:
        segment = read_segment(value)
        qid = int.from_bytes(value.key[:4], "big")
        record = directory.pop(value.key, None)
        value.need(record is not None, "a segment without directory record")
        of_queue = segments.setdefault(qid, [])
        value.need(not of_queue or of_queue[-1].last < segment.first, "overlaps the segment before it")
        of_queue.append(segment)
        live.setdefault(qid, {}).update((slot.qseq, (slot, value)) for slot in read_directory_record(record, segment))
    for record in directory.values():
        record.need(False, "a directory record without segment")
    return segments, live


# --- the log --------------------------------------------------------------------------------------


def read_log(values, state, parts):
    """The chunks of `.log` up to the last BATCH_END, and the LSN behind it."""
    chunks = []
    for value in values:
        chunk = read_chunk(value, resident=False)
        if not chunks:
            value.need(chunk.lsn - chunk.skipped <= state.log_start <= chunk.lsn, f"the log begins at {state.log_start}")
        else:
            value.need(chunk.lsn - chunk.skipped - 1 == chunks[-1].lsn, f"a gap behind {chunks[-1].lsn}")
        value.need(chunk.lsn not in parts, "the same LSN is in .res")
        chunks.append(chunk)
    while chunks and not chunks[-1].flags & BATCH_END:
        chunks.pop()
    next_lsn = chunks[-1].lsn + 1 if chunks else state.log_start

    # A batch begins where the last one ended, unless the part that began it is gone.
    open_batch, before = None, None
    from_lsn = chunks[0].lsn if chunks else next_lsn
    mixed = [*chunks, *(part.chunk for lsn, part in parts.items() if from_lsn < lsn < next_lsn)]
    for chunk in sorted(mixed, key=lambda chunk: chunk.lsn):
        if chunk.lsn in parts and not open_batch and not chunk.flags & BATCH_BEGIN:
            before = chunk.lsn  # written ahead of its batch
            continue
        if chunk.flags & BATCH_BEGIN:
            chunk.value.need(not open_batch, "a batch begins within another")
        else:
            chunk.value.need(open_batch is not False or before + 1 < chunk.lsn, "a batch without beginning")
        open_batch, before = not chunk.flags & BATCH_END, chunk.lsn
    return chunks, next_lsn


class Replay:
    """Step 3 of "From these to the messages"."""

    def __init__(self, queues, segments, live, chunks):
        self.queues, self.segments, self.live = queues, segments, live
        self.log_begins = chunks[0].lsn if chunks else 0
        self.skipped = [range(chunk.lsn - chunk.skipped, chunk.lsn) for chunk in chunks if chunk.skipped]
        self.last = {}  # qid -> position of its last ENQ
        self.named = set()  # residents that an ENQ of the log names
        self.begun = {}  # qid -> uuid, of queues that a QNEW of the log began
        does = {ENQ: self.enq, DROP: self.drop, QNEW: self.qnew, QDEL: self.qdel, PART: self.part}
        for chunk in chunks:
            for at, kind, flags, begin, end in records(chunk):
                does[kind](chunk, at, flags, begin, end)
        for qid, (uuid, value) in self.begun.items():
            value.need(queues.get(qid) == uuid, f"queue {qid} begins here, has no such entry and never ends")

    def enq(self, chunk, at, flags, begin, end):
        value = chunk.value
        count, priority, zero, zero2, size, ts = value.unpack("HBBIQQ", at + 8)
        value.need(zero == 0 and zero2 == 0, f"a field called zero of the record at {at} is not")
        after = begin + 20 * count
        if flags & 1:
            first, parts, zero = value.unpack("QII", at + 32)
            value.need(zero == 0, f"a field called zero of the record at {at} is not")
            content = Resident(first, size, parts)
            check_resident(value, content)
            value.need(after == end, f"the message at {at} does not fill its record")
            value.need(first + parts <= chunk.lsn, f"the message at {at} names parts behind it")
            if content not in self.named and first > self.log_begins:
                around = [r for r in self.skipped if first in r and first + parts - 1 in r]
                value.need(around, f"the parts of the message at {at} are not in one skipped range")
            self.named.add(content)
        else:
            value.need(after + size == end, f"the message at {at} does not fill its record")
            value.need(size <= RESIDENT_FROM, f"the message at {at} has over 16 KiB and is not resident")
            content = value.data[after:end]
        for target in range(begin, after, 20):
            qid, qseq, expires = value.unpack("IQQ", target)
            if qid == 0:
                continue
            value.need(qseq > self.last.get(qid, 0), f"position {qseq} of queue {qid} does not ascend")
            self.last[qid] = qseq
            if not self.in_segment(qid, qseq):
                self.live.setdefault(qid, {})[qseq] = (Slot(qseq, ts, expires, priority, content), value)

    def in_segment(self, qid, qseq):
        of_queue = self.segments.get(qid, [])
        i = bisect.bisect_right(of_queue, qseq, key=lambda segment: segment.first)
        return i > 0 and qseq <= of_queue[i - 1].last

    def drop(self, chunk, at, _flags, begin, end):
        value = chunk.value
        qid, reason, zero, ranges = value.unpack("IBBH", at + 8)
        value.need(qid >= 1 and reason <= 5 and zero == 0, f"the drop at {at} is none")
        value.need(begin + 12 * ranges == end, f"the ranges of the drop at {at} do not fill it")
        live = self.live.get(qid, {})
        for place in range(begin, end, 12):
            first, count = value.unpack("QI", place)
            value.need(first >= 1 and count >= 1, f"an empty range in the drop at {at}")
            within = range(first, first + count)
            for qseq in within if count < len(live) else [q for q in live if q in within]:
                live.pop(qseq, None)

    def queue_record(self, chunk, at):
        qid, zero, uuid = chunk.value.unpack("II16s", at + 8)
        chunk.value.need(qid >= 1 and zero == 0, f"the queue record at {at} is none")
        return qid, uuid

    def qnew(self, chunk, at, _flags, _begin, _end):
        qid, uuid = self.queue_record(chunk, at)
        chunk.value.need(qid not in self.begun, f"queue {qid} begins twice")
        self.begun[qid] = uuid, chunk.value

    def qdel(self, chunk, at, _flags, _begin, _end):
        qid, _ = self.queue_record(chunk, at)
        chunk.value.need(qid not in self.queues, f"queue {qid} ended here and has an entry")
        self.begun.pop(qid, None)

    def part(self, chunk, at, *_):
        chunk.value.need(False, f"a part at {at} of a chunk of the log")


# --- all together ---------------------------------------------------------------------------------


class Shard:
    """queues: {qid: uuid}; messages: what is live, by queue and position; the rest counts what was looked at."""

    def __init__(self, number, databases, hashes):
        self.state = read_state(databases["st"])
        state = self.state or State(0, 1, 0, 1)
        self.queues = read_queues(databases["que"], state)
        parts = read_parts(databases["res"])
        segments, live = read_segments(databases["seg"], databases["smd"])
        chunks, next_lsn = read_log(databases["log"], state, parts)
        if next_lsn - 1 < state.hw:
            raise Damage(f"{number:04x}.log ends at {next_lsn - 1}, the shard state knows {state.hw}")
        for qid in segments:
            if not 1 <= qid < state.next_qid:
                raise Damage(f"{number:04x}.seg: a segment of queue {qid}, next_qid is {state.next_qid}")
        self.segments = sum(map(len, segments.values()))
        self.settled_in_directory = sum(len(s.slots) for of in segments.values() for s in of) - sum(map(len, live.values()))
        self.chunks = len(chunks)
        self.next_lsn = next_lsn

        ended = {lsn: part for lsn, part in parts.items() if lsn < next_lsn}
        Replay(self.queues, segments, live, chunks)
        self.messages, self.residents, self.in_segments = [], set(), 0
        for qid in sorted(self.queues):
            for qseq, (slot, value) in sorted(live.get(qid, {}).items()):
                self.in_segments += value.database.endswith(".seg")
                pieces = [slot.content]
                if isinstance(slot.content, Resident):
                    pieces = content_of(value, slot.content, ended)
                    self.residents.add(slot.content.first)
                digest = hashlib.sha256()
                for piece in pieces if hashes else ():
                    digest.update(piece)
                self.messages.append(Message(number, qid, self.queues[qid].hex(), qseq, slot.ts, slot.expires, slot.priority,
                                             digest.hexdigest() if hashes else "", sum(map(len, pieces))))


class Store:
    """clean: whether it was stopped in order; shards: {number: Shard}; messages: those of all shards."""

    def __init__(self, databases, hashes):
        self.clean = check_sys(databases("sys"))
        self.shards = {}
        for name in databases():
            match = re.fullmatch(rf"([0-9a-f]{{4}})\.({'|'.join(KINDS)})", name)
            if name != "sys" and not match:
                raise Damage(f"nobody knows the database {name}")
            if match and match[1] not in self.shards:
                self.shards[match[1]] = Shard(int(match[1], 16), {kind: databases(f"{match[1]}.{kind}") for kind in KINDS},
                                               hashes)
        self.messages = [message for shard in self.shards.values() for message in shard.messages]


def read(env, txn, hashes=True):
    """The store in an open environment, as this transaction sees it (begun with buffers=True). hashes: compute sha256, else
    it is empty. Damage, lmdb.Error."""
    names = [bytes(key).decode(errors="replace") for key, _ in txn.cursor()]

    def databases(name=None):
        if name is None:
            return names
        if name not in names:
            raise Damage(f"there is no database {name}")
        with txn.cursor(env.open_db(name.encode(), txn=txn, create=False)) as cursor:
            return [Value(name, key, data) for key, data in cursor]
    return Store(databases, hashes)


def read_directory(directory, lock=False):
    """The store in that directory; lock must be true while a broker works on it. Damage, lmdb.Error, OSError."""
    with lmdb.open(str(directory), readonly=True, lock=lock, create=False, max_dbs=512) as env:
        with env.begin(buffers=True) as txn:
            return read(env, txn)


def main(words):
    if len(words) != 1 or words[0].startswith("-"):
        print("usage: format_reader.py DIRECTORY", file=sys.stderr)
        return 64
    try:
        store = read_directory(words[0])
    except (Damage, lmdb.Error, OSError) as error:
        print(f"format_reader.py: {words[0]}: {error}", file=sys.stderr)
        return 1
    for message in store.messages:
        print(json.dumps(message._asdict()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
