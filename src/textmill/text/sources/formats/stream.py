"""Bytes on their way from a file to a decoder, counted while they are read: headers are never believed."""

from __future__ import annotations

import contextlib
import functools
import io
import lzma
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO, cast

from textmill.specs.corpus import LimitSpec, RecordSource, RecordSpec, named
from textmill.text.document import TEXT, Document, Rejected, kind_of, printable

BLOCK = 1 << 18
# Small files compress without meaning harm (a megabyte of spaces): the ratio counts from here on.
RATIO_FLOOR = 1 << 20
_XZ_MEMORY = 256 << 20  # bytes; `xz -9` asks for 65 MiB, a hostile header for 4 GiB
_SPOOL = 16 << 20  # bytes kept in memory before a temporary file takes over
LAYERS = 4  # archives, compressions and messages within one another, such as .tar.gz in .zip: 3


class SetAside(Exception):
    """What is being read cannot be read, or may not be; whoever opened it notes that and goes on."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason} ({detail})" if detail else reason)
        self.reason, self.detail = reason, detail


class Exhausted(SetAside):
    """The outermost archive cost all it may: nothing more is read from it."""


@dataclass
class Budget:
    """What one outermost file may unpack to, through however many archives inside it."""

    packed: int  # bytes of the outermost file
    limits: LimitSpec
    unpacked: int = field(default=0, init=False)  # bytes that came out of decompressors
    forgiven: int = field(default=0, init=False)  # of these, bytes of members refused on their own account
    members: int = field(default=0, init=False)

    def charge(self, count: int) -> None:
        """Account for `count` unpacked bytes. Raises Exhausted past `archive_bytes` or `ratio`."""
        self.unpacked += count
        if self.unpacked > self.limits.archive_bytes:
            raise Exhausted(
                "unpacks to more than limits.archive_bytes; the rest is not read",
                f"{self.limits.archive_bytes} bytes",
            )
        if self.unpacked - self.forgiven > max(RATIO_FLOOR, self.limits.ratio * self.packed):
            raise Exhausted(
                "unpacks to more than limits.ratio times its size; the rest is not read",
                f"{self.packed} bytes packed",
            )

    def member(self) -> None:
        """Account for one more member. Raises Exhausted past `members`."""
        self.members += 1
        if self.members > self.limits.members:
            raise Exhausted(
                "holds more than limits.members members; the rest is not read", f"{self.limits.members}"
            )


@dataclass(frozen=True)
class Input:
    """One stream of bytes, read once from its beginning, and what a person calls it."""

    place: str
    name: str  # its endings say the format
    stream: BinaryIO
    budget: Budget
    size: int | None = None  # bytes, where the file system says so
    layers: int = 0  # archives, compressions and messages around it
    metered: bool = False  # whether its bytes are already charged to the budget
    charset: str = ""  # the encoding it was sent with, where somebody said so
    metadata: Mapping[str, str] = field(default_factory=dict)  # what is known of it before it is read

    @property
    def limits(self) -> LimitSpec:
        return self.budget.limits

    def part(
        self, location: str, name: str, data: bytes, layers: int, charset: str = "", **known: str
    ) -> Input:
        """Something in this input, already in memory, `layers` archives and messages deep; `known` is metadata."""
        inside = {"charset": charset, "metadata": known}
        return Input(location, name, io.BytesIO(data), self.budget, len(data), layers, metered=True, **inside)


_BY_COLUMN = (None, "table", "json", "parallel")  # formats in which texts are columns of records


@dataclass(frozen=True)
class Fields:
    """How a file of records becomes documents: which of its columns are their texts, and which are metadata.

    texts, metadata, facts pair the name a column gets with the column: its name, a path of names (`a.b`), or its number
    (`#1`, from the end `#-1`). No metadata: every column small enough, under its own name. facts: beside those.
    several: texts of which a record may hold a list; tags: metadata with a tag for each word, where records have any
    format: what the files hold, whatever their names say; header: whether a table's first row names its columns
    unnamed: whether the only text is in the usual column, and nobody has named it
    """

    texts: tuple[tuple[str, str], ...] = ((TEXT, TEXT),)
    metadata: tuple[tuple[str, str], ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    several: tuple[str, ...] = ()
    tags: str | None = None
    format: str | None = None
    header: bool = True
    unnamed: bool = False

    @classmethod
    def of(cls, source: RecordSource, record: RecordSpec | None = None) -> Fields:
        """Those of a source whose records are read for an objective."""
        given = {name: column if isinstance(column, str) else f"#{column}" for name, column in source.named()}
        record = record or RecordSpec()
        texts = {}
        by_column = source.format in _BY_COLUMN
        for entry in source.text_fields or (tuple(given) if by_column else ()) or (TEXT,):
            role, column = named(entry)
            texts[role] = given.get(role, column) if column == role else column
        texts |= {name: given[name] for name in given if kind_of(name) in record.several}
        return cls(
            tuple(texts.items()),
            tuple(map(named, source.metadata_fields)),
            tuple((name, column) for name, column in given.items() if name not in texts),
            record.several,
            record.tags,
            source.format,
            source.header,
            texts == {TEXT: TEXT} and TEXT not in given and record.tags is None and source.format is None,
        )

    @functools.cached_property
    def columns(self) -> tuple[str, ...]:
        """The columns of the texts; `a.b` is key `b` of column `a` where no column has that name."""
        return tuple(column for _, column in self.texts)

    @property
    def by_column(self) -> bool:
        """Whether texts are columns of records, and no form of records says what they are."""
        return self.format in _BY_COLUMN

    @property
    def role(self) -> str:
        """The role of the first text: of the only one of what is no record."""
        return self.texts[0][0]

    def column(self, name: str, otherwise: str) -> str:
        """The column that is to be read as something: that named so, where it has another name, else the usual."""
        found = dict((*self.texts, *self.facts)).get(name, name)
        return otherwise if found == name else found


class Deadline:
    """How long one document may take.

    It is asked between pages, parts, records and blocks; a single call into a library cannot be cut short.
    """

    def __init__(self, limits: LimitSpec) -> None:
        self._seconds = limits.file_seconds
        self._end = time.monotonic() + self._seconds

    def check(self) -> None:
        """Raises SetAside when the time is over."""
        if time.monotonic() > self._end:
            raise SetAside("takes longer than limits.file_seconds", f"{self._seconds:g} seconds")


Entries = Iterator[Document | Rejected | Input]


def guarded(entries: Entries, place: str) -> Entries:
    """What a reader gives, and what it raises as Rejected. Raises Exhausted only."""
    try:
        yield from entries
    except Exhausted:
        raise
    except SetAside as error:
        yield Rejected(None, place, "read", error.reason, error.detail)
    except Exception as error:  # the parsers of two dozen formats raise anything over hostile bytes
        detail = printable(f"{type(error).__name__}: {error}")[:300]
        yield Rejected(None, place, "read", "is damaged, or not what its file extension says", detail)


def deeper(item: Input) -> int:
    """The layers around what is inside an input. Raises SetAside for more than LAYERS."""
    if item.layers >= LAYERS:
        raise SetAside(
            "is nested too deeply", f"more than {LAYERS} nested archives, compressions or messages"
        )
    return item.layers + 1


class _Metered(io.RawIOBase):
    def __init__(self, stream: BinaryIO, charge: Callable[[int], None]) -> None:
        super().__init__()
        self._stream, self._charge = stream, charge

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        self._charge(len(data))
        return len(data)


def metered(stream: BinaryIO, charge: Callable[[int], None]) -> BinaryIO:
    """`stream`, buffered, calling `charge(bytes)` for every block that is read."""
    return cast(BinaryIO, io.BufferedReader(_Metered(stream, charge), BLOCK))


def read_whole(item: Input, head: bytes = b"") -> bytes:
    """All bytes of an input, `head` being those already taken. Raises SetAside past `limits.file_bytes`."""
    limit = item.limits.file_bytes
    too_large = SetAside("is larger than limits.file_bytes", f"{limit} bytes")
    if item.size is not None and item.size > limit:
        raise too_large
    blocks, total = [head], len(head)
    while total <= limit and (block := item.stream.read(min(BLOCK, limit + 1 - total))):
        blocks.append(block)
        total += len(block)
    if total > limit:
        raise too_large
    return b"".join(blocks)


@contextlib.contextmanager
def seekable(item: Input) -> Iterator[BinaryIO]:
    """The input as a stream that can seek: itself, or a temporary copy, which is gone after the block.

    The copy is no larger than the budget allows: only metered streams cannot seek.
    """
    if item.stream.seekable():
        yield item.stream
        return
    with tempfile.SpooledTemporaryFile(max_size=_SPOOL) as copy:
        while block := item.stream.read(BLOCK):
            copy.write(block)
        copy.seek(0)
        yield cast(BinaryIO, copy)


class Xz(io.RawIOBase):
    """The unpacked bytes of .xz and .lzma data, in bounded memory (`lzma.LZMAFile` lets a header ask for any)."""

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__()
        self._stream, self._pending = stream, b""
        self._unpack: lzma.LZMADecompressor | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        while True:
            unpack = self._unpack
            if (unpack is None or unpack.eof) and (unpack := self._next_stream()) is None:
                return 0
            packed, self._pending = self._pending, b""
            if not packed and unpack.needs_input and not (packed := self._stream.read(BLOCK)):
                raise EOFError("ends before its end marker")
            if data := unpack.decompress(packed, max_length=len(buffer)):
                buffer[: len(data)] = data
                return len(data)

    def _next_stream(self) -> lzma.LZMADecompressor | None:
        """Start on the next of the streams that may follow one another, padded with zeros."""
        data = self._unpack.unused_data.lstrip(b"\0") if self._unpack else b""
        while not data and (block := self._stream.read(BLOCK)):
            data = block.lstrip(b"\0")
        if not data and self._unpack is None:
            raise EOFError("is empty")
        if not data:
            return None
        self._pending = data
        self._unpack = lzma.LZMADecompressor(memlimit=_XZ_MEMORY)
        return self._unpack
