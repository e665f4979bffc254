"""Every kind of source, in one table. A new source is one module and one line here."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

from textmill.base.spec import FilesSource, LimitSpec, Source, StdlibSource
from textmill.text.document import Item, Rejected
from textmill.text.sources import local, python_stdlib

# kind -> (documents of it, files of it)
SOURCES: dict[
    type, tuple[Callable[..., Iterator[Item]], Callable[..., Iterator[tuple[Path, str] | Rejected]]]
] = {
    FilesSource: (local.documents, local.files),
    StdlibSource: (
        lambda source, limits, base: python_stdlib.documents(source, limits),
        lambda source, base: python_stdlib.files(source),
    ),
}


def read(source: Source, limits: LimitSpec, base: Path) -> Iterator[Item]:
    """The documents of a source, in a fixed order, with what could not be read in its place as Rejected.

    base: the folder relative paths start at. Raises RecipeError when a path matches nothing.
    """
    documents, _ = SOURCES[type(source)]
    yield from documents(source, limits, Path(base))


def fingerprint(source: Source, base: Path) -> list[tuple[str, str]]:
    """(place, BLAKE2b-128 of the content) of all inputs of a source, sorted: equal lists, equal documents."""
    _, files = SOURCES[type(source)]
    found = []
    for item in files(source, Path(base)):
        if isinstance(item, Rejected):
            found.append((item.source, item.reason))
        else:
            path, place = item
            found.append((place, _content(path)))
    return sorted(found)


def _content(path: Path) -> str:
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
