"""Texts in files of their own, line by line beside each other: `train.en` and `train.de`, words and their tags.

The n-th lines of all files are one record. The first role is the first file's, the next the next one's, or what
`columns = { source = 2, target = 1 }` says. Files may be packed, each by itself.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePath

from textmill.base.errors import RecipeError
from textmill.specs.corpus import LimitSpec
from textmill.text.document import Document, Rejected, printable
from textmill.text.sources.formats import archive, records
from textmill.text.sources.formats.lines import (
    Lines,
    refuse_binary_records,
    sound,
    text_encoding,
    text_stream,
)
from textmill.text.sources.formats.stream import BLOCK, Budget, Fields, Input, SetAside, guarded

_UNMETERED = LimitSpec(
    ratio=1e9
)  # to count lines: what reads them afterwards holds them to the recipe's limits


def files(roots: Sequence[tuple[Path, str]]) -> Iterator[tuple[Path, str]]:
    """The files of a source. Raises RecipeError where they do not have as many lines each."""
    counts = [_count(str(path), path.stat().st_mtime_ns, path.stat().st_size) for path, _ in roots]
    if len(set(counts)) > 1:
        said = ", ".join(
            f"{place} has {count:,} lines" for (_, place), count in zip(roots, counts, strict=True)
        )
        raise RecipeError(
            "parallel files must have the same number of lines",
            where="corpus.sources.paths",
            advice=f"{said}; find the line that is missing or broken in two",
        )
    yield from roots


def documents(
    paths: Sequence[str], path: Path, location: str, fields: Fields, limits: LimitSpec
) -> Iterator[Document | Rejected]:
    """The records of all files, given with the one that leads; none with the others."""
    lead = next((name for name in paths if not os.path.isabs(os.path.expanduser(name))), paths[0])
    if location != printable(os.path.expanduser(lead)):
        return
    base = path.absolute()
    for _ in PurePath(lead).parts if not os.path.isabs(os.path.expanduser(lead)) else ():
        base = base.parent
    named = [(base / os.path.expanduser(name), printable(os.path.expanduser(name))) for name in paths]
    numbered = [
        (role, column if column[0] == "#" else f"#{at}") for at, (role, column) in enumerate(fields.texts, 1)
    ]
    yield from guarded(_rows(named, location, replace(fields, texts=tuple(numbered)), limits), location)  # type: ignore[misc]


def _rows(
    named: Sequence[tuple[Path, str]], location: str, fields: Fields, limits: LimitSpec
) -> Iterator[Document | Rejected]:
    with contextlib.ExitStack() as stack:
        columns = [stack.enter_context(opened(path, limits)) for path, _ in named]
        number = 0
        while True:
            number += 1
            lines = [column.next() for column in columns]
            if all(line is None for line in lines):
                return
            place = f"{location}:line {number}"
            record = {}
            for (_, file), line in zip(named, lines, strict=True):
                if line is None:
                    raise SetAside(
                        "has fewer lines than the other files", f"{file} ends before line {number}"
                    )
                if isinstance(line, SetAside):
                    yield records.unread(place, line.reason, f"{file}: {line.detail}")
                    break
                if not sound(line):
                    yield records.unread(place, "is not valid in the encoding of its file", file)
                    break
                record[f"column {len(record) + 1}"] = line.rstrip("\r\n")
            else:
                yield records.document(record, place, fields)


@contextlib.contextmanager
def opened(path: Path, limits: LimitSpec) -> Iterator[Lines]:
    """The lines of a file, unpacked where it is packed. Raises SetAside where it is no text."""
    with open(path, "rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        item = Input(path.name, path.name, stream, Budget(size, limits), size)
        while archive.is_packed(item.name):
            item = next(archive.unpacked(item, Fields()))
        head = item.stream.read(BLOCK)
        refuse_binary_records(head)
        yield Lines(text_stream(item, head, text_encoding(head)), limits.file_bytes)


@functools.lru_cache(maxsize=64)
def _count(path: str, changed: int, size: int) -> int:
    """The lines of a file as it was changed last. Raises RecipeError where it is no text."""
    try:
        with opened(Path(path), _UNMETERED) as lines:
            while lines.next() is not None:
                pass
            return lines.number
    except (SetAside, OSError, EOFError, ValueError) as error:
        raise RecipeError(
            f"cannot be read line by line: {error}", where=f"corpus.sources.paths: {path}"
        ) from error
