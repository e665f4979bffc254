"""Rows as they stand in a file, all of their columns, to be handed on with something beside them.

JSON lines, CSV, TSV, Parquet and Arrow are read as `formats` reads them; any other text is a row a line, of one column.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from textmill.specs.corpus import LimitSpec
from textmill.text.document import Rejected
from textmill.text.sources.formats import columnar, delimited, json_values, sniff
from textmill.text.sources.formats.forms import ROW
from textmill.text.sources.formats.lines import (
    Lines,
    refuse_binary_records,
    sound,
    text_encoding,
    text_stream,
)
from textmill.text.sources.formats.records import unread
from textmill.text.sources.formats.stream import BLOCK, Budget, Exhausted, Fields, Input, SetAside, guarded
from textmill.text.sources.formats.table import READERS, reader_of

LINE = "line"  # the column of what is no table
_RECORDS = (
    json_values.json_lines,
    json_values.json_records,
    delimited.table_rows,
    columnar.parquet_rows,
    columnar.arrow_rows,
)
KINDS = ("jsonl", "csv", "tsv", "parquet", "text")  # what a person may call a file, whatever its name says


@dataclass(frozen=True, slots=True)
class Row:
    """A row: its values by column, as they were read, and where it stands."""

    values: dict[str, Any]
    place: str


def of_file(path: Path, kind: str | None = None, *, header: bool = True) -> Iterator[Row | Rejected]:
    """The rows of a file, in order; what cannot be read stands in its place as Rejected. kind: one of KINDS, whatever
    its name says. header: whether the first row of a table names its columns; otherwise they are `column 1`, `column 2`
    and so on. Raises OSError where the file cannot be opened."""
    with open(path, "rb") as stream:
        size = path.stat().st_size
        yield from of_stream(stream, str(path), path.name, kind, size, header=header)


def of_stream(
    stream: BinaryIO,
    place: str,
    name: str = "",
    kind: str | None = None,
    size: int | None = None,
    *,
    header: bool = True,
) -> Iterator[Row | Rejected]:
    """The same of a stream that can be read once; what it is, its beginning says where neither name nor kind does."""
    limits = LimitSpec()
    item = Input(
        place, name if kind is None else f"rows.{kind}", stream, Budget(size or 1 << 40, limits), size
    )
    try:
        entries: Any = guarded(_rows(item, kind, named=bool(name), header=header), place)
        yield from entries
    except Exhausted as error:
        yield Rejected(None, place, "read", error.reason, error.detail)


def _rows(item: Input, kind: str | None, *, named: bool, header: bool) -> Iterator[Any]:
    head = sniff.beginning(item)
    if kind is None and not named:
        kind = "jsonl" if head.lstrip().startswith(b"{") else "text"
    read = None if kind == "text" else READERS[f".{kind}"] if kind else reader_of(item.name, head)
    if read not in _RECORDS:
        yield from _lines(item)
        return
    for found in read(item, Fields(format=ROW, header=header)):
        yield found if isinstance(found, Rejected) else Row(json.loads(found.texts[ROW]), found.source)


def _lines(item: Input) -> Iterator[Row | Rejected]:
    head = item.stream.read(BLOCK)
    refuse_binary_records(head)
    lines = Lines(text_stream(item, head, text_encoding(head)), item.limits.file_bytes)
    while (line := lines.next()) is not None:
        place = f"{item.place}:line {lines.number}"
        if isinstance(line, SetAside):
            yield unread(place, line.reason, line.detail)
        elif not sound(line):
            yield unread(place, "is not valid in the encoding of its file")
        else:
            yield Row({LINE: line.rstrip("\r\n")}, place)
