"""Files of records: JSON, JSON lines, CSV, TSV, Parquet and Arrow. One record, one document.

A record that lacks one of its texts is set aside with its line; the other scalar columns become the document's
metadata.
Lines are streamed, so such a file may be larger than memory; `limits.file_bytes` caps each record.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, BinaryIO

from textmill.text.document import Document, Rejected, collected, printable
from textmill.text.sources.formats.encoding import decode, marked, refuse_binary, wide
from textmill.text.sources.formats.stream import BLOCK, Fields, Input, SetAside, read_whole, seekable

_LONGEST_METADATA = 1000  # characters of a column that may still be metadata
_COLUMNS_NAMED = 12  # in a message
_ROWS = 256  # of a Parquet file in memory at once
_WRONG_BYTE = re.compile("[\udc80-\udcff]")  # what surrogateescape makes of it
Items = Iterator[Document | Rejected]


def _metadata(record: Mapping[str, Any], fields: Fields) -> dict[str, str]:
    """The columns that were asked for, or else those small and plain enough to be metadata, as text."""
    if fields.metadata:
        named = ((name, _said(_value(record, column))) for name, column in fields.metadata)
        return {_utf8(name): _utf8(text) for name, text in named if text is not None}
    metadata = {}
    for key, value in record.items():
        if key not in fields.columns and not isinstance(value, list):
            text = _said(value)
            if text is not None and len(text) <= _LONGEST_METADATA:
                metadata[_utf8(str(key))] = _utf8(text)
    return metadata


def _value(record: Mapping[str, Any], column: str) -> Any:
    """What a record holds under a key, or under a path of keys such as `meta.url`; None where it holds nothing."""
    if column in record or "." not in column:
        return record.get(column)
    key, _, rest = column.partition(".")
    below = record.get(key)
    return _value(below, rest) if isinstance(below, dict) else None


def _said(value: Any) -> str | None:
    """A plain value, or a list of them, as text; None for anything else."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):  # a long one is slow to write out, and no one's metadata
        return str(value) if value.bit_length() <= 1 << 10 else None
    if isinstance(value, float):
        return str(value)
    if isinstance(value, list):
        return ", ".join(filter(None, (None if isinstance(part, list) else _said(part) for part in value)))
    return None


def _utf8(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def _document(record: Any, location: str, fields: Fields) -> Document | Rejected:
    if not isinstance(record, dict):
        return Rejected(
            None, location, "read", "is not a record", f"a JSON object was expected, not {_kind(record)}"
        )
    texts = {}
    for role, column in fields.texts:
        value = _value(record, column)
        if value is None and column not in record:
            lack = _lack("field", role, column, record)
            return Rejected(None, location, "read", lack.reason, lack.detail)
        # An answer or a target may be a number; a text that stands alone is a mistake then.
        text = value if isinstance(value, str) else _said(value) if len(fields.texts) > 1 else None
        if text is None:
            return Rejected(None, location, "read", f"field {column!r} is not text", _kind(value))
        texts[role] = text
    return collected(texts, location, _metadata(record, fields))


def _kind(value: Any) -> str:
    kinds = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")


def _lack(kind: str, role: str, column: str, names: Iterable[Any]) -> SetAside:
    """What to say of a record or table with these names, none of which is the one that a text was to be under."""
    reason = f"has no {kind} {column!r}"
    there = [printable(str(name))[:40] for name in names]
    more = f" and {len(there) - _COLUMNS_NAMED} more" if len(there) > _COLUMNS_NAMED else ""
    if not there:
        return SetAside(reason, "it has none")
    advice = f'name the {role} in text_fields, such as "{role}={there[0]}"'
    return SetAside(reason, f"it has {', '.join(there[:_COLUMNS_NAMED])}{more}; {advice}")


# --- JSON -------------------------------------------------------------------------------------------------------
def json_lines(item: Input, fields: Fields) -> Items:
    """One JSON object a line (RFC 8259 within each; empty lines pass)."""
    head = item.stream.read(BLOCK)
    refuse_binary(head)
    yield from _json_lines(item, head, fields)


def _json_lines(item: Input, head: bytes, fields: Fields) -> Items:
    text = _text_stream(item, head, marked(head) or wide(head) or "utf-8", newline="\n")
    for number, line in _lines(text, item.limits.file_bytes):
        location = f"{item.place}:line {number}"
        if isinstance(line, SetAside):
            yield Rejected(None, location, "read", line.reason, line.detail)
        elif line.strip():
            yield _json_line(line, location, fields)


def _json_line(line: str, location: str, fields: Fields) -> Document | Rejected:
    if not _sound(line):
        return Rejected(None, location, "read", "is not valid UTF-8")
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        return Rejected(None, location, "read", "is not valid JSON", str(error))
    return _document(record, location, fields)


def json_records(item: Input, fields: Fields) -> Items:
    """A JSON list of objects, one object, or, as many data sets name them, JSON lines."""
    head = item.stream.read(BLOCK)
    refuse_binary(head)
    if _looks_like_lines(head):
        yield from _json_lines(item, head, fields)
        return
    text, _ = decode(read_whole(item, head), item.name)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SetAside("is not valid JSON", str(error)) from error
    if not isinstance(value, list):
        yield _document(value, item.place, fields)
        return
    for number, record in enumerate(value, 1):
        yield _document(record, f"{item.place}:item {number}", fields)


def _looks_like_lines(head: bytes) -> bool:
    first, _, rest = head.partition(b"\n")
    try:
        return rest.lstrip()[:1] == b"{" and isinstance(json.loads(first.decode("utf-8-sig")), dict)
    except (ValueError, RecursionError):
        return False


# --- CSV, TSV -----------------------------------------------------------------------------------------------------
def table_rows(item: Input, fields: Fields) -> Items:
    """Comma- or tab-separated values with a header (RFC 4180); `;` and `|` are recognised by the header."""
    head = item.stream.read(BLOCK)
    refuse_binary(head)
    text = _text_stream(item, head, _table_encoding(head), newline="")
    # The csv module keeps one cap for the whole process; ours is applied to every line by _lines.
    csv.field_size_limit(min(item.limits.file_bytes, sys.maxsize, (1 << 31) - 1))
    lines = _CountedLines(_lines(text, item.limits.file_bytes))
    first = next(iter(lines), "")
    delimiter = _delimiter(first, item.name, fields)
    lines.push(first)
    rows = csv.reader(lines, delimiter=delimiter, strict=True)
    header = _next_row(rows)
    if not isinstance(header, list):
        raise SetAside(f"has no column {fields.columns[0]!r}", str(header or "it is empty"))
    for role, column in fields.texts:
        if column not in header:
            raise _lack("column", role, column, header)
    while True:
        start = lines.number + 1
        row = _next_row(rows)
        if row is None:
            return
        if row != []:
            yield _row(row, header, f"{item.place}:line {start}", fields)


def _row(row: list[str] | Exception, header: list[str], location: str, fields: Fields) -> Document | Rejected:
    if isinstance(row, SetAside):
        return Rejected(None, location, "read", row.reason, row.detail)
    if isinstance(row, Exception):
        return Rejected(None, location, "read", "is not a valid row", str(row))
    if len(row) != len(header):
        return Rejected(
            None, location, "read", "has not as many fields as the header", f"{len(row)}, not {len(header)}"
        )
    if not all(map(_sound, row)):
        return Rejected(None, location, "read", "is not valid in the encoding of its file")
    return _document(dict(zip(header, row, strict=True)), location, fields)


def _next_row(rows: Iterator[list[str]]) -> list[str] | Exception | None:
    """The next row, what is wrong with it, or None at the end."""
    try:
        return next(rows)
    except StopIteration:
        return None
    except (csv.Error, SetAside) as error:
        return error


def _delimiter(header: str, name: str, fields: Fields) -> str:
    if name.lower().endswith(".tsv"):
        return "\t"
    for delimiter in ",;\t|":
        try:
            if set(fields.columns) & set(next(csv.reader([header], delimiter=delimiter), [])):
                return delimiter
        except csv.Error:
            continue
    return ","


def _table_encoding(head: bytes) -> str:
    """Spreadsheets write what they like: told from the first block, cut at a line end so no character is halved."""
    if known := marked(head) or wide(head):
        return known
    whole = head[: head.rfind(b"\n") + 1] if len(head) >= BLOCK else head
    encoding = decode(whole or head)[1]
    return "utf-8" if "damaged" in encoding else encoding


# --- lines --------------------------------------------------------------------------------------------------------
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


def _text_stream(item: Input, head: bytes, encoding: str, newline: str) -> io.TextIOWrapper:
    # A wrong byte becomes a lone surrogate, by which its line is known; wide encodings have no such way out.
    wide_units = codecs.lookup(encoding).name.startswith(("utf-16", "utf-32"))
    errors = "replace" if wide_units else "surrogateescape"
    if head.startswith(codecs.BOM_UTF8):
        encoding = "utf-8-sig"
    stream = io.BufferedReader(_Rejoined(head, item.stream), BLOCK)
    return io.TextIOWrapper(stream, encoding=encoding, errors=errors, newline=newline)


def _lines(text: io.TextIOWrapper, limit: int) -> Iterator[tuple[int, str | SetAside]]:
    """Numbered lines with their ends; a line of more than `limit` characters is passed over and said so."""
    number = 0
    while line := text.readline(limit + 1):
        number += 1
        if len(line) <= limit or line.endswith(("\n", "\r")):
            yield number, line
            continue
        while line and not line.endswith(("\n", "\r")):
            line = text.readline(BLOCK)
        yield number, SetAside("is larger than limits.file_bytes", f"a line of more than {limit} characters")


class _CountedLines:
    """Lines for csv.reader, which may take several for one row."""

    def __init__(self, lines: Iterator[tuple[int, str | SetAside]]) -> None:
        self._lines = lines
        self._pushed: str | None = None
        self.number = 0

    def push(self, line: str) -> None:
        """Give back the first line."""
        self._pushed, self.number = line, 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self._pushed:
            line, self._pushed = self._pushed, None
            self.number += 1
            return line
        self.number, line = next(self._lines)
        if isinstance(line, SetAside):
            raise line
        return line


def _sound(text: str) -> bool:
    """Whether decoding left no lone surrogate where a byte was wrong."""
    return text.isascii() or not _WRONG_BYTE.search(text)


# --- Parquet ------------------------------------------------------------------------------------------------------
def parquet_rows(item: Input, fields: Fields) -> Items:
    """The rows of a Parquet file; lists and structures in other columns are left out."""
    import pyarrow.parquet as pq

    with seekable(item) as stream, pq.ParquetFile(stream, pre_buffer=False) as file:
        columns = _columns_read(file.schema_arrow, fields)
        yield from _batches(item, file.iter_batches(batch_size=_ROWS, columns=columns), fields)


def arrow_rows(item: Input, fields: Fields) -> Items:
    """The rows of an Arrow IPC stream, as Hugging Face's `datasets` writes it, or of an Arrow file."""
    import pyarrow as pa

    with seekable(item) as stream:
        whole = stream.read(6) == b"ARROW1"
        stream.seek(0)
        with pa.ipc.open_file(stream) if whole else pa.ipc.open_stream(stream) as file:
            columns = _columns_read(file.schema, fields)
            batches = (file.get_batch(at) for at in range(file.num_record_batches)) if whole else file
            yield from _batches(item, (part for batch in batches for part in _slices(batch, columns)), fields)


def _slices(batch: Any, columns: list[str]) -> Iterator[Any]:
    batch.validate(full=True)  # offsets that point outside the memory would be followed
    batch = batch.select(columns)
    return (batch.slice(start, _ROWS) for start in range(0, batch.num_rows, _ROWS))


def _batches(item: Input, batches: Any, fields: Fields) -> Items:
    number = 0
    for batch in batches:
        item.budget.charge(batch.nbytes)
        for row in _rows(batch):
            number += 1
            yield _parquet_row(row, f"{item.place}:row {number}", fields, item.limits.file_bytes)


def _columns_read(schema: Any, fields: Fields) -> list[str]:
    """The columns that are texts or may be metadata. Raises SetAside when one of the texts is not among them."""
    from pyarrow import types

    def outermost(column: str) -> str:
        return column if column in schema.names else column.partition(".")[0]

    for role, column in fields.texts:
        if outermost(column) not in schema.names:
            raise _lack("column", role, column, schema.names)
    column = fields.columns[0]
    if len(fields.texts) == 1 and column in schema.names:
        kind = schema.field(column).type
        if not (types.is_string(kind) or types.is_large_string(kind)):
            raise SetAside(f"field {column!r} is not text", str(kind))
    texts = set(map(outermost, fields.columns))
    metadata = {outermost(column) for _, column in fields.metadata}
    return [
        field.name
        for field in schema
        if field.name in texts or (field.name in metadata if metadata else _plain(field.type))
    ]


def _parquet_row(
    row: dict[str, Any] | None, location: str, fields: Fields, limit: int
) -> Document | Rejected:
    if row is None:
        return Rejected(None, location, "read", "is not valid UTF-8")
    size = sum(len(text) for column in fields.columns if isinstance(text := row.get(column), str))
    if size > limit:
        return Rejected(None, location, "read", "is larger than limits.file_bytes", f"{size} characters")
    return _document(row, location, fields)


def _plain(kind: Any) -> bool:
    from pyarrow import types

    return any(
        test(kind)
        for test in (
            types.is_string,
            types.is_large_string,
            types.is_integer,
            types.is_floating,
            types.is_boolean,
        )
    ) or types.is_temporal(kind)


def _rows(batch: Any) -> Iterator[dict[str, Any] | None]:
    """Rows as dictionaries; None for one whose text is not UTF-8, which Parquet promises and does not check."""
    import pyarrow as pa

    columns = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
        number = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
        if text:
            wide_text = pa.types.is_large_string(column.type)
            columns[name] = column.view(pa.large_binary() if wide_text else pa.binary()).to_pylist()
        elif number or pa.types.is_boolean(column.type) or pa.types.is_nested(column.type):
            columns[name] = column.to_pylist()
        else:
            columns[name] = [None if value is None else str(value) for value in column]
    for values in zip(*columns.values(), strict=True):
        try:
            yield {
                name: value.decode() if isinstance(value, bytes) else value
                for name, value in zip(columns, values, strict=True)
            }
        except UnicodeDecodeError:
            yield None
