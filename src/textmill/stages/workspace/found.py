"""What was found out with some effort about files and machines, so that it need not be found out again.

    work/.found/ID      {"facts": …, "found": …}, by the content id of what it is about

What was found holds for as long as its facts do (inode, size and time of a file; a processor, a version); under other
facts it is found out anew. All of it may be lost. Where there is no workspace, the person's cache keeps it.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from textmill.base import files
from textmill.base.errors import TextmillError

FOLDER = ".found"
T = TypeVar("T", str, bool)


@dataclass(frozen=True)
class Found:
    """Findings, kept in a folder."""

    folder: Path

    def out(self, about: str, facts: Any, find: Callable[[], T]) -> T:
        """What `find` gives, or gave before under the same facts. facts: plain data."""
        path = self.folder / files.content_id(about)
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            kept = json.loads(path.read_text(encoding="utf-8"))
            if kept["facts"] == facts:
                return kept["found"]
        found = find()
        with contextlib.suppress(OSError, TextmillError):  # it is only slower without
            self.folder.mkdir(parents=True, exist_ok=True)
            files.write_json(path, {"facts": facts, "found": found})
        return found


def found_in(root: Path) -> Found:
    """Where a workspace keeps its findings; where it is not there, the person's cache does."""
    return Found(root / FOLDER if root.is_dir() else _cache() / "textmill" / "found")


def facts_of(paths: Iterable[Path]) -> list[list[Any]]:
    """Name, inode, size and time of change of files."""
    states = [(path.name, path.stat()) for path in paths]
    return [[name, state.st_ino, state.st_size, state.st_mtime_ns] for name, state in states]


def _cache() -> Path:
    """The person's own folder for what may be lost, by the platform's convention."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return given if given.is_absolute() else Path.home() / ".cache"
