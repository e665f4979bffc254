"""Documents in and out of Parquet files of bounded size."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from textmill.text.corpus.split import PARTS
from textmill.text.document import Document

_TEXTS = pa.map_(pa.string(), pa.field("value", pa.large_string(), nullable=False))
SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("texts", _TEXTS, nullable=False),  # role -> text, in the document's order
        pa.field("source", pa.string(), nullable=False),
        pa.field("metadata", pa.string(), nullable=False),  # a JSON object of strings, keys sorted
    ]
)
# Either bound closes what is being filled; bytes are of text as UTF-8, before compression.
_GROUP_ROWS, _GROUP_BYTES = 4096, 8 << 20
_SHARD_ROWS, _SHARD_BYTES = 262_144, 256 << 20
_LEVEL = 3  # of zstd
_JSON = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"))


class _Part:
    """The shards of one part, filled one after the other."""

    def __init__(self, directory: Path, part: str) -> None:
        self._directory, self._part = directory, part
        self._rows: list[tuple[str, list[tuple[str, str]], str, str]] = []
        self._bytes = 0
        self._file: pq.ParquetWriter | None = None
        self.shards: list[dict[str, Any]] = []

    def add(self, document: Document) -> None:
        metadata = _JSON.encode(dict(document.metadata))
        self._rows.append((document.id, list(document.texts.items()), document.source, metadata))
        size = document.bytes
        self._bytes += size
        if self._file is None:
            name = f"{self._part}-{len(self.shards):05d}.parquet"
            self.shards.append(
                {"file": name, "part": self._part, "documents": 0, "bytes": 0, "characters": 0}
            )
            self._file = pq.ParquetWriter(
                self._directory / name,
                SCHEMA,
                compression="zstd",
                compression_level=_LEVEL,
                use_dictionary=False,
            )
        shard = self.shards[-1]
        shard["documents"] += 1
        shard["bytes"] += size
        shard["characters"] += document.characters
        if len(self._rows) >= _GROUP_ROWS or self._bytes >= _GROUP_BYTES:
            self._flush()
        if shard["documents"] >= _SHARD_ROWS or shard["bytes"] >= _SHARD_BYTES:
            self.close()

    def _flush(self) -> None:
        if self._rows and self._file is not None:
            columns = [pa.array([row[i] for row in self._rows], field.type) for i, field in enumerate(SCHEMA)]
            self._file.write_table(pa.Table.from_arrays(columns, schema=SCHEMA), row_group_size=_GROUP_ROWS)
            self._rows, self._bytes = [], 0

    def close(self) -> None:
        self._flush()
        if self._file is not None:
            self._file.close()
            self._file = None


class ShardWriter:
    """Writes documents to the shards of their part; a context manager."""

    def __init__(self, directory: Path) -> None:
        self._parts = {part: _Part(Path(directory), part) for part in PARTS}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        for part in self._parts.values():
            part.close()

    def add(self, part: str, document: Document) -> None:
        """Append a document. Its texts must be writable as UTF-8."""
        self._parts[part].add(document)

    @property
    def shards(self) -> list[dict[str, Any]]:
        """Of each shard: file, part, documents, bytes and characters of its texts. Complete after the block."""
        return [shard for part in self._parts.values() for shard in part.shards]


def documents_in(path: Path) -> Iterator[Document]:
    """The documents of a shard, a row group at a time."""
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            for batch in file.read_row_group(group).to_batches(max_chunksize=_GROUP_ROWS):
                for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                    yield _document(row)


def ids_in(path: Path) -> list[str]:
    """The document ids of a shard, in its order."""
    with pq.ParquetFile(path) as file:
        return file.read(columns=["id"]).column("id").to_pylist()


def row_in(path: Path, row: int) -> Document:
    """One document of a shard by its row."""
    with pq.ParquetFile(path) as file:
        group = 0
        while row >= (rows := file.metadata.row_group(group).num_rows):
            row -= rows
            group += 1
        table = file.read_row_group(group).slice(row, 1)
        return _document([table.column(name)[0].as_py() for name in SCHEMA.names])


def _document(row: Any) -> Document:
    name, texts, source, metadata = row
    return Document(name, dict(texts), source, json.loads(metadata))
