"""The beginning of a file as it is written, for whoever is to say what it holds: records with all of their columns, or
lines of text. Every file is read by the reader that a corpus reads it with.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from textmill.specs.corpus import LimitSpec
from textmill.text.document import Document, Rejected, printable
from textmill.text.sources.formats import archive, parallel, sniff
from textmill.text.sources.formats.forms import AS_WRITTEN
from textmill.text.sources.formats.stream import Fields, SetAside
from textmill.text.sources.formats.table import RECORDS, open_file

ROWS = 2000  # of a file, which are looked at closely
_READ = 20_000  # records that are read to find these, evenly spread: files are often sorted by their labels
_COUNTED = 200_000  # lines that are read to count them; the first are looked at, since they belong together
_PACKED = 3  # how many times larger a file is that was packed, near enough to choose the size of a model by
NUMBERED = "column "  # what a column without a name is called, before its number


@dataclass(frozen=True)
class Sample:
    """Some records of a file, or the first lines of one that holds no records.

    Records are JSON values as they are written; the columns of a table are called `column 1` and so on, and its first
    row, which is always the first record here, may be a header. `rows`: records or lines of the whole file, about that
    many where it was not read to its end (`whole`).
    """

    path: str
    records: tuple[Any, ...] = ()
    lines: tuple[str, ...] = ()
    rows: int = 0
    whole: bool = True
    unread: int = 0  # of what was looked at
    reason: str = ""  # why nothing could be read

    @property
    def numbered(self) -> bool:
        """Whether these are rows of a table, whose columns are told by their numbers."""
        return bool(self.records) and all(
            isinstance(record, dict) and all(key.startswith(NUMBERED) for key in record)
            for record in self.records
        )


def sample(path: Path) -> Sample:
    """Some records of a file, or the first lines of one that holds no records.

    Records are JSON values as they are written; the columns of a table are called `column 1` and so on, and its first
    row, which is always the first record here, may be a header. `rows`: records or lines of the whole file, about that
    many where it was not read to its end (`whole`).
    """
    if not path.is_file():
        return Sample(str(path), reason="is not a regular file")
    try:
        return _records(path) if _of_records(path) else _lines(path)
    except (SetAside, OSError, EOFError, ValueError) as error:
        return Sample(str(path), reason=str(error))


def _of_records(path: Path) -> bool:
    """Whether a file's name, or how it begins, says that it holds records."""
    name = path.name
    while archive.is_packed(name):
        name = name.rpartition(".")[0]
    with open(path, "rb") as stream:
        head = stream.read(sniff.HEAD)
    form = "" if name != path.name else sniff.extension(name, head)
    return (f".{form}" if form else f".{name.lower().rpartition('.')[2]}") in RECORDS


def _records(path: Path) -> Sample:
    found: list[Any] = []
    unread, reason = 0, ""
    items = open_file(path, printable(path.name), Fields(format=AS_WRITTEN, header=False), LimitSpec())
    for item in islice(items, _READ):
        if isinstance(item, Document):
            found.append(json.loads(item.text))
        elif isinstance(item, Rejected):
            unread, reason = unread + 1, reason or f"{item.reason}: {item.detail}".rstrip(": ")
    whole = next(items, None) is None
    size = sum(_size(record) for record in found)
    return Sample(
        str(path),
        records=tuple(found[:: max(1, len(found) // ROWS)][:ROWS]),
        rows=len(found) if whole else _about(path, len(found), size),
        whole=whole,
        unread=unread,
        reason=reason if not found else "",
    )


def _lines(path: Path) -> Sample:
    found: list[str] = []
    with parallel.opened(path, LimitSpec()) as lines:
        while len(found) < _COUNTED and isinstance(line := lines.next(), str):
            found.append(line.rstrip("\r\n"))
        whole = lines.next() is None
    size = sum(len(line.encode("utf-8", "replace")) + 1 for line in found)
    return Sample(
        str(path),
        lines=tuple(found[:ROWS]),
        rows=len(found) if whole else _about(path, len(found), size),
        whole=whole,
    )


def _size(value: Any) -> int:
    """Bytes of what a record holds, as a file has it, without what stands around it."""
    if isinstance(value, dict):
        return sum(map(_size, value.values()))
    if isinstance(value, list):
        return sum(map(_size, value))
    return len(str(value).encode("utf-8", "replace")) + 1


def _about(path: Path, count: int, size: int) -> int:
    """How many rows a file has, of which `count` take `size` bytes: rounded, since nothing exact is known."""
    whole = path.stat().st_size * (_PACKED if archive.is_packed(path.name) else 1)
    estimate = max(count, round(whole * count / max(size, 1)))
    digits = len(str(estimate)) - 2
    return round(estimate, -digits) if digits > 0 else estimate
