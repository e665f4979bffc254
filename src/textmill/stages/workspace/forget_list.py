"""The list of what no corpus of a workspace holds again.

    work/forget.jsonl   one object a line, only ever added to: a document (its id, its place, the key of its content), a
                        file's place, or `undo` with the request that counts no more

What one call of `textmill forget` added is one `request`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textmill.base.errors import DamagedError
from textmill.base.files import read_jsonl
from textmill.stages.workspace.workspace import Workspace
from textmill.text.corpus.forgotten import Forgotten

NAME = "forget.jsonl"

_ID = 32  # hex digits


@dataclass(frozen=True)
class Entry:
    """One line of the list."""

    request: str  # empty: from before there were requests
    time: str
    document: str = ""
    source: str = ""
    content: str = ""
    place: str = ""


def list_of(workspace: Workspace) -> Path:
    """Where the list is kept."""
    return workspace.root / NAME


def entries(workspace: Workspace) -> list[Entry]:
    """What counts of the list, in its order.

    Raises DamagedError for a line that says nothing of this: passing over it would bring a document back.
    """
    path = list_of(workspace)
    undone: set[str] = set()
    found = []
    for number, record in _records(path):
        if isinstance(request := record.get("undo"), str):
            undone.add(request)
            continue
        entry = Entry(**{name: str(record.get(name, "")) for name in Entry.__dataclass_fields__})
        if not entry.place and (len(entry.document) != _ID or set(entry.document) - set("0123456789abcdef")):
            raise _wrong(f"{path}: line {number}", "names no document")
        found.append(entry)
    return [entry for entry in found if not entry.request or entry.request not in undone]


def forgotten(workspace: Workspace) -> Forgotten:
    """What is to be left out of every corpus made here. Raises DamagedError as `entries`."""
    found = entries(workspace)
    return Forgotten(
        frozenset(entry.document for entry in found if entry.document),
        frozenset(entry.place for entry in found if entry.place),
        frozenset(entry.content for entry in found if entry.content),
    )


def _records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """What stands in the list, numbered."""
    try:
        number = 0
        for number, record in enumerate(read_jsonl(path), 1):
            if not isinstance(record, dict):
                raise DamagedError("is not an object", where=f"{path}: line {number}")
            yield number, record
        if path.is_file() and number < sum(not line.isspace() for line in path.read_bytes().splitlines()):
            raise DamagedError("its last line is cut off", where=path)
    except DamagedError as error:
        raise _wrong(error.where, error.what) from error


def _wrong(where: object, what: str) -> DamagedError:
    advice = 'a line reads {"document": "32 hex digits", …}; correct it, or delete it and forget that document again'
    return DamagedError(what, where=where, advice=advice)
