"""Keys of the service: who may do what, and how often. Of a key only its hash is kept.

A key is 256 random bits, so that one round of SHA-256 keeps it: there is nothing to guess. A file of keys is looked at
again whenever it has changed, so that a key that was removed is none from the next request on.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from textmill.base import files
from textmill.base.errors import DamagedError, RecipeError

SCOPES = {
    "text": "chat, completions, responses, messages, tokens",
    "vectors": "embeddings and reranking",
    "tasks": "translation and other tasks, decisions",
    "documents": "the store of documents: read, changed, asked",
    "trace": "which documents of the training data hold an answer's words",
    "metrics": "figures of the service",
}
_BEGINS = "tm-"


@dataclass
class Rate:
    """So many requests a minute, evenly: a bucket that holds a minute's worth and fills as time goes by."""

    per_minute: int | None
    clock: Callable[[], float] = time.monotonic
    left: float = field(init=False)
    seen: float = field(init=False)

    def __post_init__(self) -> None:
        self.left, self.seen = float(self.per_minute or 0), self.clock()

    def take(self) -> float:
        """Take one; seconds until there is one where there is none now, else 0."""
        if self.per_minute is None:
            return 0.0
        now, a_second = self.clock(), self.per_minute / 60
        self.left = min(float(self.per_minute), self.left + (now - self.seen) * a_second)
        self.seen = now
        if self.left < 1:
            return (1 - self.left) / a_second
        self.left -= 1
        return 0.0


@dataclass(frozen=True)
class Key:
    """Somebody who may come in. name: as the access log calls them; hash: of the key, 64 hex digits."""

    name: str
    hash: str
    scopes: frozenset[str] = frozenset(SCOPES)
    per_minute: int | None = None
    rate: Rate = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "rate", Rate(self.per_minute))

    def plain(self) -> dict[str, Any]:
        """As a file of keys holds it."""
        return {
            "name": self.name,
            "hash": self.hash,
            "scopes": sorted(self.scopes),
            "requests_per_minute": self.per_minute,
        }


def new_key() -> str:
    """A key that nobody has: 256 random bits."""
    return _BEGINS + secrets.token_urlsafe(32)


def hashed(key: str) -> str:
    """What is kept of a key."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


class Keys:
    """The keys that open the service: those of a file, and those made for one session."""

    def __init__(self, session: Mapping[str, str] | None = None, path: Path | None = None) -> None:
        """session: keys by name, which may do everything. path: of a file of keys, which need not be there yet."""
        self._session = {hashed(key): Key(name, hashed(key)) for name, key in (session or {}).items()}
        self._path, self._seen = path, (0, 0, 0)
        self._read: dict[str, Key] = {}

    def find(self, key: str) -> Key | None:
        """Whose key this is; None: nobody's."""
        wanted = hashed(key)
        return self._session.get(wanted) or self._kept().get(wanted)

    def _kept(self) -> dict[str, Key]:
        if self._path is None:
            return {}
        try:
            status = self._path.stat()
            seen = (status.st_mtime_ns, status.st_ino, status.st_size)
        except OSError:
            seen = (0, 0, 0)
        if seen != self._seen:  # where it cannot be read any more, nobody comes in
            self._read, self._seen = {}, seen
            self._read = {key.hash: key for key in read(self._path)}
        return self._read


def read(path: Path) -> list[Key]:
    """The keys of a file; none where there is no file. Raises DamagedError."""
    if not path.is_file():
        return []
    found = files.read_json(path)
    try:
        return [
            Key(str(one["name"]), str(one["hash"]), frozenset(one["scopes"]), one.get("requests_per_minute"))
            for one in found["keys"]
        ]
    except (KeyError, TypeError) as error:
        raise DamagedError("is no file of keys", where=path) from error


def add(path: Path, name: str, scopes: frozenset[str], per_minute: int | None) -> str:
    """A new key in a file, which only its owner reads; the key itself, which is written nowhere.

    Raises RecipeError for a name that is taken or a scope there is not.
    """
    kept = read(path)
    if any(key.name == name for key in kept):
        raise RecipeError(
            "there is a key of this name", where=name, advice="remove it first, or use another name"
        )
    if unknown := scopes - set(SCOPES):
        raise RecipeError(
            f"{min(unknown)!r} is no scope", where="--scope", advice=f"there are {', '.join(SCOPES)}"
        )
    key = new_key()
    _write(path, [*kept, Key(name, hashed(key), scopes, per_minute)])
    return key


def remove(path: Path, name: str) -> None:
    """Take a key out of a file. Raises RecipeError where there is none of that name."""
    kept = read(path)
    left = [key for key in kept if key.name != name]
    if len(left) == len(kept):
        raise RecipeError(
            "there is no key of this name", where=name, advice="`textmill keys list` shows those there are"
        )
    _write(path, left)


def _write(path: Path, keys: list[Key]) -> None:
    files.make_directory(path.parent)
    files.write_json(path, {"keys": [key.plain() for key in keys]})
