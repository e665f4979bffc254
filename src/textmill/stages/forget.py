"""`textmill forget`: documents that no corpus of this workspace holds again, and what was made from them.

    work/forget.jsonl   one object a line, only ever added to: the document's id, its place, and when it was asked

`collect` reads the list, leaves those documents out as a step of their own, and makes the list part of what decides
a corpus: so the next `prepare` of any recipe makes a new version. Where none of the documents was in it, that version
has the same content and the same id, and nothing made from it is out of date.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from textmill.base import files
from textmill.base.errors import DamagedError
from textmill.stages.workspace import Workspace

NAME = "forget.jsonl"
_ID = 32  # hex digits


def list_of(space: Workspace) -> Path:
    """Where the list of forgotten documents is kept."""
    return space.root / NAME


def forgotten(space: Workspace) -> frozenset[str]:
    """The ids of the documents that are to be left out of every corpus made here.

    Raises DamagedError for a line that names no document: passing over it would bring one back.
    """
    path = list_of(space)
    if not path.is_file():
        return frozenset()
    found = set()
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        if line.strip():
            found.add(_id_in(line, path, number))
    return frozenset(found)


def _id_in(line: str, path: Path, number: int) -> str:
    try:
        name = json.loads(line)["document"]
    except (ValueError, KeyError, TypeError):
        name = ""
    if not isinstance(name, str) or len(name) != _ID or set(name) - set("0123456789abcdef"):
        advice = 'a line reads {"document": "32 hex digits", …}; mend it, or forget that document again'
        raise DamagedError("names no document", where=f"{path}: line {number}", advice=advice)
    return name


def add(space: Workspace, documents: Iterable[Mapping[str, str]]) -> list[str]:
    """Put documents (each with `document` and `source`) on the list; the ids that were not on it yet."""
    path, stamp = list_of(space), time.strftime("%Y-%m-%dT%H:%M:%S%z")
    with files.lock(space.root / ".forget", "textmill forget"):
        before, new = forgotten(space), {}
        for row in documents:
            if row["document"] not in before and row["document"] not in new:
                new[row["document"]] = {"document": row["document"], "source": row["source"], "time": stamp}
        space.root.mkdir(parents=True, exist_ok=True)
        for record in new.values():
            files.append_jsonl(path, record)
        if new:
            files.sync(path)
    return list(new)
