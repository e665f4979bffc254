"""What comes of one file, as tests of sources ask it."""

from __future__ import annotations

from pathlib import Path

from textmill.specs.corpus import FilesSource, LimitSpec
from textmill.text.document import Document, Item, Rejected
from textmill.text.sources.table import read_documents


def read(
    folder: Path, name: str, data: str | bytes, *fields: str, limits: LimitSpec | None = None
) -> list[Item]:
    """Everything that a file of this name with these bytes holds; fields: its `text_fields`, `text` by default."""
    (folder / name).write_bytes(data if isinstance(data, bytes) else data.encode())
    source = FilesSource(paths=(name,), text_fields=fields or ("text",))
    return list(read_documents(source, limits or LimitSpec(), folder))


def kept(items: list[Item]) -> list[tuple[str, str]]:
    """(place, text) of the documents."""
    return [(item.source, item.text) for item in items if isinstance(item, Document)]


def texts(items: list[Item]) -> list[str]:
    """The texts of the documents."""
    return [text for _, text in kept(items)]


def skipped(items: list[Item]) -> list[tuple[str, str]]:
    """(place, reason) of what was skipped."""
    return [(item.source, item.reason) for item in items if isinstance(item, Rejected)]
