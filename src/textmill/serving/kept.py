"""Responses that are kept for clients which go on with them: a file each, in the folder that the service was told.

    FOLDER/<hash of the key>/resp_….json    {"response": …, "items": all that was said before it, oldest first}

A response holds its whole conversation, so that none depends on another. Only the key that asked for it reads it, and
only the person's own account the files (0600). One is written whole before its client hears that it is complete; of
each key the oldest give way.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textmill.base import files
from textmill.serving.keys import Key

_ID = re.compile(r"resp_[0-9a-f]{1,64}")
_PLACE = re.compile("[0-9a-f]{32}")
_DAY = 86_400


@dataclass(frozen=True)
class Kept:
    """The responses of a folder. most, most_bytes: of each key; days: how long one is kept."""

    folder: Path
    most: int = 1000
    most_bytes: int = 256 << 20
    days: float = 30.0

    def __post_init__(self) -> None:
        """See that the folder is there. Raises TextmillError where none can be made."""
        files.make_directory(self.folder)
        for place in self.folder.iterdir():
            if place.is_dir() and _PLACE.fullmatch(place.name):
                files.remove_partial(place)
                self._make_room(place, 0, 0)

    def put(self, key: Key, response: dict[str, Any], items: Sequence[dict[str, Any]]) -> None:
        """Keep a response, and all that was said before it; once this returns, it is on the disk."""
        place = self._place(key)
        files.make_directory(place)
        path = place / f"{response['id']}.json"
        files.write_json(path, {"response": response, "items": list(items)})
        self._make_room(place, self.most, self.most_bytes)

    def get(self, key: Key, id: str) -> dict[str, Any] | None:
        """What is kept of a response of this key; None: nothing."""
        path = self._path(key, id)
        if path is None or not path.is_file() or self._old(path.stat().st_mtime):
            return None
        return files.read_json(path)

    def remove(self, key: Key, id: str) -> bool:
        """Keep a response no longer; whether there was one."""
        there = self.get(key, id) is not None
        if there and (path := self._path(key, id)) is not None:
            path.unlink(missing_ok=True)
        return there

    def _place(self, key: Key) -> Path:
        return self.folder / key.hash[:32]

    def _path(self, key: Key, id: str) -> Path | None:
        return self._place(key) / f"{id}.json" if _ID.fullmatch(id) else None

    def _old(self, written: float) -> bool:
        return time.time() - written > self.days * _DAY

    def _make_room(self, place: Path, most: int, most_bytes: int) -> None:
        """Let go of what is too old, and, where there is a most, of the oldest beyond it; the newest stays."""
        found = sorted(
            ((one.stat().st_mtime_ns, one.stat().st_size, one) for one in place.glob("resp_*.json")),
            reverse=True,
        )
        size = 0
        for number, (written, bytes, path) in enumerate(found):
            size += bytes
            beyond = most and number and (number >= most or size > most_bytes)
            if beyond or self._old(written / 1e9):
                path.unlink(missing_ok=True)
