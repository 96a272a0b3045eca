"""Where the values of an LMDB file stand, without LMDB: so that a test can damage exactly one of them.

Data format 1: two meta pages, the newer one has the root of the main tree, whose values flagged 2 are the roots of the named
databases. A leaf entry has its value behind its key, or, flagged 1, the number of the page where it begins.
"""

import struct
from collections import namedtuple

Value = namedtuple("Value", "key offset size key_offset")  # offsets in the file

HEAD = 16
EMPTY = 2**64 - 1


class Pages:
    """The file as it is now."""

    def __init__(self, path):
        self.data = path.read_bytes()
        metas = []
        self.size = struct.unpack_from("<I", self.data, HEAD + 24)[0]
        for number in (0, 1):
            at = number * self.size + HEAD
            txnid = struct.unpack_from("<Q", self.data, at + 24 + 96 + 8)[0]
            metas.append((txnid, number, struct.unpack_from("<Q", self.data, at + 24 + 48 + 40)[0]))
        self.newest = max(metas)[1]
        self.main = max(metas)[2]
        self.databases = {}
        self.leaves = {}
        for key, offset, size, _, flags, _ in self._entries(max(metas)[2]):
            assert flags & 2 and size == 48
            root = struct.unpack_from("<Q", self.data, offset + 40)[0]
            entries = list(self._entries(root)) if root != EMPTY else []
            self.databases[key.decode()] = [Value(*e[:4]) for e in entries]
            self.leaves[key.decode()] = [e[5] for e in entries]

    def _entries(self, page):
        at = page * self.size
        flags, lower = struct.unpack_from("<HH", self.data, at + 10)
        for i in range((lower - HEAD) // 2):
            node = at + struct.unpack_from("<H", self.data, at + HEAD + 2 * i)[0]
            lo, hi, node_flags, key_size = struct.unpack_from("<4H", self.data, node)
            if flags & 1:
                yield from self._entries(lo | hi << 16 | node_flags << 32)
                continue
            key = self.data[node + 8:node + 8 + key_size]
            offset = node + 8 + key_size
            if node_flags & 1:
                offset = struct.unpack_from("<Q", self.data, offset)[0] * self.size + HEAD
            yield key, offset, lo | hi << 16, node + 8, node_flags, page

    def value(self, value):
        return self.data[value.offset:value.offset + value.size]


def flip(path, offset, mask=0x40):
    """Turn bits of one byte of the file."""
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ mask]))
