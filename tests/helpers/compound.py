"""Compound files ([MS-CFB]) from their streams: what old office files and messages of Outlook lie in."""

from __future__ import annotations

import itertools
import struct
from dataclasses import dataclass, field

_END, _FREE, _FAT = 0xFFFFFFFE, 0xFFFFFFFF, 0xFFFFFFFD
_SECTOR, _SMALL, _CUTOFF = 512, 64, 4096


@dataclass
class _Entry:
    """An entry of the directory."""

    name: str
    kind: int = 2  # 1: storage, 2: stream, 5: root
    right: int = _FREE
    child: int = _FREE
    start: int = _END
    data: bytes = b""

    def packed(self) -> bytes:
        name = self.name.encode("utf-16-le")
        head = name.ljust(64, b"\0") + struct.pack(
            "<HBBIII", len(name) + 2, self.kind, 1, _FREE, self.right, self.child
        )
        return head + bytes(36) + struct.pack("<IQ", self.start, len(self.data))


@dataclass
class _Sectors:
    """Data in blocks of one size, each with a link to the next."""

    size: int
    blocks: list[bytes] = field(default_factory=list)
    links: list[int] = field(default_factory=list)

    def add(self, data: bytes, filler: bytes = b"\0") -> int:
        """Where data begins."""
        if not data:
            return _END
        first = len(self.blocks)
        self.blocks += [
            data[at : at + self.size].ljust(self.size, filler) for at in range(0, len(data), self.size)
        ]
        self.links += [*range(first + 1, len(self.blocks)), _END]
        return first


def compound(files: dict[str, bytes]) -> bytes:
    """A compound file of streams named `storage/stream`."""
    entries = [_Entry("Root Entry", 5)]
    _add(_tree(files), entries, 0)
    large, small = _Sectors(_SECTOR), _Sectors(_SMALL)
    for entry in entries[1:]:
        entry.start = (small if len(entry.data) < _CUTOFF else large).add(entry.data)
    entries[0].data = b"".join(small.blocks)
    entries[0].start = large.add(entries[0].data)
    links = large.add(struct.pack(f"<{len(small.links)}I", *small.links), b"\xff")
    directory = large.add(b"".join(entry.packed() for entry in entries))
    count = -(-(len(large.links) + 1) // 127)
    first = len(large.blocks)
    table = struct.pack(f"<{len(large.links) + count}I", *large.links, *[_FAT] * count)
    large.add(table, b"\xff")
    header = (
        bytes.fromhex("d0cf11e0a1b11ae1")
        + bytes(16)
        + struct.pack("<HHHHH", 0x3E, 3, 0xFFFE, 9, 6)
        + bytes(6)
    )
    header += struct.pack(
        "<IIIIIIIIII", 0, count, directory, 0, _CUTOFF, links, -(-len(small.links) // 128), _END, 0, first
    )
    header += struct.pack("<108I", *range(first + 1, first + count), *[_FREE] * (109 - count))
    return header + b"".join(large.blocks)


def _tree(files: dict[str, bytes]) -> dict:
    tree: dict = {}
    for path, data in files.items():
        *folders, name = path.split("/")
        place = tree
        for folder in folders:
            place = place.setdefault(folder, {})
        place[name] = data
    return tree


def _add(place: dict, entries: list[_Entry], parent: int) -> None:
    """The entries of a storage, as a tree that leans to the right."""
    numbers = []
    for name, inside in sorted(place.items(), key=lambda item: (len(item[0]), item[0].upper())):
        numbers.append(len(entries))
        storage = isinstance(inside, dict)
        entries.append(_Entry(name, 1 if storage else 2, data=b"" if storage else inside))
        if storage:
            _add(inside, entries, numbers[-1])
    for before, after in itertools.pairwise(numbers):
        entries[before].right = after
    if numbers:
        entries[parent].child = numbers[0]
