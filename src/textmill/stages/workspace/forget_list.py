"""The list of documents that no corpus of a workspace holds again."""

from __future__ import annotations

import json
from pathlib import Path

from textmill.base.errors import DamagedError
from textmill.stages.workspace.workspace import Workspace

NAME = "forget.jsonl"

_ID = 32  # hex digits


def list_of(workspace: Workspace) -> Path:
    """Where the list of forgotten documents is kept."""
    return workspace.root / NAME


def forgotten(workspace: Workspace) -> frozenset[str]:
    """The ids of the documents that are to be left out of every corpus made here.

    Raises DamagedError for a line that names no document: passing over it would bring one back.
    """
    path = list_of(workspace)
    if not path.is_file():
        return frozenset()
    ids = set()
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        if line.strip():
            ids.add(_id_in(line, path, number))
    return frozenset(ids)


def _id_in(line: str, path: Path, number: int) -> str:
    try:
        name = json.loads(line)["document"]
    except (ValueError, KeyError, TypeError):
        name = ""
    if not isinstance(name, str) or len(name) != _ID or set(name) - set("0123456789abcdef"):
        advice = 'a line reads {"document": "32 hex digits", …}; mend it, or forget that document again'
        raise DamagedError("names no document", where=f"{path}: line {number}", advice=advice)
    return name
