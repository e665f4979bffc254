"""Every kind of source, in one table. A new source is one module and one line here."""

from __future__ import annotations

import hashlib
import importlib.metadata
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from textmill.specs.corpus import (
    DatasetSource,
    FilesSource,
    LimitSpec,
    RecordSource,
    RecordSpec,
    Source,
    StdlibSource,
    WebSource,
)
from textmill.text.document import NAMED_SPLIT, Document, Item, Rejected
from textmill.text.sources import dataset, local, python_stdlib
from textmill.text.sources.formats.office import libreoffice
from textmill.text.sources.formats.table import may_hold_pages
from textmill.text.sources.web import source as web


@dataclass(frozen=True)
class Reader:
    """How a kind of source is read: first which files it has, then each of them.

    files(source, base) yields (path, location) of every file in a fixed order, or Rejected for what cannot be
    entered; documents(source, path, location, limits, record) yields what one of them holds and raises nothing. The
    files of a source may so be read by several processes.
    """

    files: Callable[[Any, Path], Iterator[tuple[Path, str] | Rejected]]
    documents: Callable[[Any, Path, str, LimitSpec, RecordSpec | None], Iterator[Item]]


SOURCES: dict[type, Reader] = {
    FilesSource: Reader(local.files, local.documents),
    StdlibSource: Reader(python_stdlib.files, python_stdlib.documents),
    DatasetSource: Reader(dataset.files, dataset.documents),
    WebSource: Reader(web.files, web.documents),
}


def files(source: Source, base: Path) -> Iterator[tuple[Path, str] | Rejected]:
    """The files of a source, in a fixed order. base: the folder relative paths start at.

    Raises RecipeError when a path matches nothing.
    """
    yield from SOURCES[type(source)].files(source, Path(base))


def documents(
    source: Source, path: Path, location: str, limits: LimitSpec, record: RecordSpec | None = None
) -> Iterator[Item]:
    """What one of a source's files holds, with what could not be read in its place as Rejected.

    record: what is to be known of its records beside their texts.
    """
    found = SOURCES[type(source)].documents(source, path, location, limits, record)
    if not isinstance(source, RecordSource) or source.part is None:
        yield from found
        return
    for item in found:
        known = {**item.metadata, NAMED_SPLIT: source.part} if isinstance(item, Document) else {}
        yield replace(item, metadata=known) if isinstance(item, Document) else item


def read_documents(
    source: Source, limits: LimitSpec, base: Path, record: RecordSpec | None = None
) -> Iterator[Item]:
    """All documents of a source, file by file."""
    for item in files(source, base):
        if isinstance(item, Rejected):
            yield item
        else:
            yield from documents(source, *item, limits, record)


def fingerprint(source: Source, base: Path) -> list[tuple[str, str]]:
    """(location, BLAKE2b-128 of the content) of all inputs of a source, sorted: equal lists, equal documents."""
    entries = []
    for item in files(source, base):
        if isinstance(item, Rejected):
            entries.append((item.source, item.reason))
        else:
            path, location = item
            entries.append((location, content_of(path)))
    return sorted(entries)


def libraries(source: Source, base: Path, limits: LimitSpec) -> dict[str, str]:
    """The versions of what decides the documents of a source beside its inputs: the tables of Unicode and, where one
    of its files may hold a page or an old office file, what reads those; LibreOffice where `limits` let it."""
    versions = {"unicode": unicodedata.unidata_version}
    if isinstance(source, WebSource) or any(
        may_hold_pages(item[0]) for item in files(source, base) if not isinstance(item, Rejected)
    ):
        for name in ("resiliparse", "pypdfium2", "pyspellchecker", "olefile", "xlrd"):
            try:
                versions[name] = importlib.metadata.version(name)
            except importlib.metadata.PackageNotFoundError:
                versions[name] = "missing"
        if limits.libreoffice:
            versions["libreoffice"] = libreoffice.version()
    return versions


def content_of(path: Path) -> str:
    """BLAKE2b-128 of a file's bytes, or why there are none."""
    if not path.is_file():
        return "is not a regular file"
    digest = hashlib.blake2b(digest_size=16)
    try:
        with open(path, "rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    except OSError as error:
        return error.strerror or str(error)
    return digest.hexdigest()
