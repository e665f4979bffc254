"""Numbered lines of files of records, in memory that does not grow with the file; a line read may be given back."""

from __future__ import annotations

import codecs
import io
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO, TextIO

from textmill.text.sources.formats.encoding import decode, marked, refuse_binary, wide
from textmill.text.sources.formats.stream import BLOCK, Input, SetAside

MARK = "\ufeff"  # a byte order mark, decoded: at the head of a file, and where files were joined
_SPARSE = 0.01  # share of zero bytes up to which they are strays among text
_STRAYS = b"\0\x1e"  # zero bytes, and the record separator of JSON sequences (RFC 7464)


class Lines:
    """The lines of a text, each with its end, and the number of the last one given."""

    def __init__(self, text: TextIO, limit: int) -> None:
        """limit: characters of the longest line; a longer one is passed over, and a SetAside stands for it."""
        self.limit, self.number = limit, 0
        self._returned: deque[str | SetAside] = deque()
        # The next line, what is wrong with it, or None at the end; without a frame of its own, as it is asked so often.
        self.next: Callable[[], str | SetAside | None] = self._given(text.readline).__next__

    def _given(self, read: Callable[[int], str]) -> Iterator[str | SetAside | None]:
        returned, limit = self._returned, self.limit
        while True:
            if returned:
                line = returned.popleft()
            elif not (line := read(limit + 1)):
                yield None
                continue
            elif len(line) > limit and not line.endswith(("\n", "\r")):
                while line and not line.endswith(("\n", "\r")):
                    line = read(BLOCK)
                line = SetAside("is larger than limits.file_bytes", f"a line of more than {limit} characters")
            self.number += 1
            yield line

    def give_back(self, lines: Iterable[str | SetAside]) -> None:
        """Take lines back: the last ones given, in their order."""
        lines = list(lines)
        self._returned.extendleft(reversed(lines))
        self.number -= len(lines)


def span(first: int, last: int) -> str:
    """Lines as a message names them."""
    return f"line {first}" if first == last else f"lines {first:,} to {last:,}"


def refuse_binary_records(head: bytes) -> None:
    """As `refuse_binary`, but a few zero bytes and record separators are strays: they cost their record at most.

    Raises SetAside when the first bytes of a file are no records in text.
    """
    if not marked(head) and not wide(head) and head.count(0) <= max(1, _SPARSE * len(head)):
        head = head.translate(None, _STRAYS)
    refuse_binary(head)


def sound(text: str) -> bool:
    """Whether decoding left no lone surrogate where a byte was wrong."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return False
    return True


def text_encoding(head: bytes) -> str:
    """The encoding of lines that begin so. Spreadsheets write what they like: told from the first block, cut at a line
    end so no character is halved."""
    if known := marked(head) or wide(head):
        return known
    whole = head[: head.rfind(b"\n") + 1] if len(head) >= BLOCK else head
    encoding = decode((whole or head).translate(None, b"\0"))[1]
    return "utf-8" if "damaged" in encoding else encoding


def text_stream(item: Input, head: bytes, encoding: str) -> io.TextIOWrapper:
    """The text of an input whose first bytes are already taken; lines end at LF, CR LF or CR, which are kept.

    A wrong byte becomes a lone surrogate, by which its line is known; wide encodings have no such way out.
    """
    wide_units = codecs.lookup(encoding).name.startswith(("utf-16", "utf-32"))
    errors = "replace" if wide_units else "surrogateescape"
    if head.startswith(codecs.BOM_UTF8):
        encoding = "utf-8-sig"
    stream = io.BufferedReader(_Rejoined(head, item.stream), BLOCK)
    return io.TextIOWrapper(stream, encoding=encoding, errors=errors, newline="")


class _Rejoined(io.RawIOBase):
    """A stream whose first block has already been taken."""

    def __init__(self, head: bytes, stream: BinaryIO) -> None:
        super().__init__()
        self._head, self._stream = memoryview(head), stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        data = self._head[: len(buffer)] if self._head else self._stream.read(len(buffer))
        self._head = self._head[len(data) :]
        buffer[: len(data)] = data
        return len(data)
