"""Columns on disk: Parquet, Arrow and Feather files. One row, one document.

However a column is stored (in a dictionary, as views, with offsets of 64 bits, as bytes), it is read as what it means.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from textmill.text.sources.formats.forms import documents
from textmill.text.sources.formats.records import Items, held, lacking, unread
from textmill.text.sources.formats.stream import Fields, Input, SetAside, seekable

_ROWS = 256  # of a file in memory at once
_FEATHER_1 = b"FEA1"
_NOT_UTF8 = object()


def parquet_rows(item: Input, fields: Fields) -> Items:
    """The rows of a Parquet file; lists and structures in other columns than those asked for are left out."""
    import pyarrow.parquet as pq

    with seekable(item) as stream, pq.ParquetFile(stream, pre_buffer=False) as file:
        columns = _columns_read(file.schema_arrow, fields, file.metadata.num_rows)
        yield from _rows(item, file.iter_batches(batch_size=_ROWS, columns=columns), fields)


def arrow_rows(item: Input, fields: Fields) -> Items:
    """The rows of an Arrow IPC stream, as Hugging Face's `datasets` writes it, or of an Arrow or Feather file."""
    import pyarrow as pa

    with seekable(item) as stream:
        magic = stream.read(6)
        if magic.startswith(_FEATHER_1):
            raise SetAside(
                "is not in a format that is read", "Feather of version 1; save it as version 2 or Parquet"
            )
        stream.seek(0)
        whole = magic == b"ARROW1"
        with pa.ipc.open_file(stream) if whole else pa.ipc.open_stream(stream) as file:
            columns = _columns_read(file.schema, fields)
            batches = (file.get_batch(at) for at in range(file.num_record_batches)) if whole else file
            yield from _rows(item, (part for batch in batches for part in _slices(batch, columns)), fields)


def _slices(batch: Any, columns: list[str]) -> Iterator[Any]:
    batch.validate(full=True)  # offsets that point outside the memory would be followed
    batch = batch.select(columns)
    return (batch.slice(start, _ROWS) for start in range(0, batch.num_rows, _ROWS))


def _rows(item: Input, batches: Iterable[Any], fields: Fields) -> Items:
    number = 0
    for batch in batches:
        item.budget.charge(batch.nbytes)
        columns = {
            name: _values(column) for name, column in zip(batch.schema.names, batch.columns, strict=True)
        }
        for values in zip(*columns.values(), strict=True):
            number += 1
            row = dict(zip(columns, values, strict=True))
            yield from _documents(row, f"{item.place}:row {number}", fields, item.limits.file_bytes)


def _documents(row: dict[str, Any], location: str, fields: Fields, limit: int) -> Items:
    if any(value is _NOT_UTF8 for value in row.values()):
        yield unread(location, "is not valid UTF-8")
        return
    size = sum(len(text) for column in fields.columns if isinstance(text := row.get(column), str))
    if size > limit:
        yield unread(location, "is larger than limits.file_bytes", f"{size} characters")
    else:
        yield from documents(row, location, fields)


def _columns_read(schema: Any, fields: Fields, rows: int | None = None) -> list[str]:
    """The columns that are texts or may be metadata, of a form of records all. Raises SetAside when one of the texts is
    not among them."""
    if not fields.by_column:
        return list(schema.names)

    def outermost(column: str) -> str:
        return held(schema.names, column) or column.partition(".")[0]

    for role, column in fields.texts:
        if outermost(column) not in schema.names:
            raise lacking("column", role, column.removeprefix("#"), schema.names)
    column = outermost(fields.columns[0])
    if len(fields.texts) == 1 and "." not in fields.columns[0] and not _holds_text(schema.field(column).type):
        kind = schema.field(column).type
        raise SetAside(f"field {column!r} is not text", f"{kind}" + (f"; {rows:,} rows" if rows else ""))
    texts = {outermost(column) for _, column in (*fields.texts, *fields.facts)}
    metadata = {outermost(column) for _, column in fields.metadata}
    return [
        field.name
        for field in schema
        if field.name in texts
        or field.name == fields.tags
        or (field.name in metadata if metadata else _is_plain(field.type))
    ]


def _holds_text(kind: Any) -> bool:
    """Whether values are text, or lists of words or sentences."""
    from pyarrow import types

    kind = _meant(kind)
    if types.is_list(kind) or types.is_large_list(kind):
        return _is_text(kind.value_type)
    return _is_text(kind)


# --- what columns mean --------------------------------------------------------------------------------------------
def _meant(kind: Any) -> Any:
    """The type of the values that a type stores in some other way."""
    import pyarrow as pa

    if isinstance(kind, pa.BaseExtensionType):
        return _meant(kind.storage_type)
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return _meant(kind.value_type)
    return kind


def _any(kind: Any, *tests: Callable[[Any], bool]) -> bool:
    return any(test(kind) for test in tests)


def _is_text(kind: Any) -> bool:
    """Whether values are text, or bytes that may be the UTF-8 of one."""
    from pyarrow import types

    bytes_of_text = (types.is_binary, types.is_large_binary, types.is_binary_view)
    return _is_string(_meant(kind)) or _any(_meant(kind), *bytes_of_text)


def _is_string(kind: Any) -> bool:
    from pyarrow import types

    return _any(kind, types.is_string, types.is_large_string, types.is_string_view)


def _is_plain(kind: Any) -> bool:
    from pyarrow import types

    kind = _meant(kind)
    numbers = (types.is_integer, types.is_floating, types.is_decimal, types.is_boolean, types.is_temporal)
    return _is_string(kind) or _any(kind, *numbers)


def _values(column: Any) -> list[Any]:
    """The values of a column; _NOT_UTF8 in place of text that is none, which Parquet promises and does not check."""
    import pyarrow as pa
    from pyarrow import compute, types

    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        return _values(column.storage)
    if types.is_dictionary(kind):
        return _values(column.dictionary_decode())
    if types.is_run_end_encoded(kind):
        return _values(compute.call_function("run_end_decode", [column]))
    if _is_text(kind):
        return [_decoded(value) for value in _as_bytes(column)]
    if _any(kind, types.is_integer, types.is_floating, types.is_boolean):
        return column.to_pylist()
    if types.is_nested(kind):
        return [_nested(value) for value in column]
    return [None if value is None else str(value) for value in column]


def _as_bytes(column: Any) -> list[bytes | None]:
    import pyarrow as pa

    bytes_of = {
        pa.string(): pa.binary(),
        pa.large_string(): pa.large_binary(),
        pa.string_view(): pa.binary_view(),
    }
    kind = bytes_of.get(column.type)
    return (column if kind is None else column.view(kind)).to_pylist()


def _decoded(value: bytes | None) -> Any:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return _NOT_UTF8


def _nested(value: Any) -> Any:
    try:
        return _text_within(value.as_py())
    except UnicodeDecodeError:
        return _NOT_UTF8


def _text_within(value: Any) -> Any:
    """Values as JSON would have them: bytes are text here too."""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, dict):
        return {key: _text_within(below) for key, below in value.items()}
    return [_text_within(below) for below in value] if isinstance(value, list) else value
