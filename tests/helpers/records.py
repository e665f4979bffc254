"""What comes of one file of records, as tests of their forms ask it."""

from __future__ import annotations

from pathlib import Path

from textmill.specs.corpus import FilesSource, LimitSpec, RecordSpec
from textmill.text.document import Document, Item, Rejected
from textmill.text.sources.table import read_documents


def read(
    folder: Path, files: dict[str, str | bytes], record: RecordSpec | None = None, **source
) -> list[Item]:
    """Everything that a source of these files holds, read as `source` says."""
    for name, data in files.items():
        (folder / name).write_bytes(data if isinstance(data, bytes) else data.encode())
    spec = FilesSource(paths=tuple(files), **source)
    return list(read_documents(spec, LimitSpec(), folder, record))


def kept(items: list[Item]) -> list[Document]:
    return [item for item in items if isinstance(item, Document)]


def skipped(items: list[Item]) -> list[tuple[str, str]]:
    """(place, reason) of what was skipped."""
    return [(item.source, item.reason) for item in items if isinstance(item, Rejected)]
