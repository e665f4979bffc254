"""Whether files are what was written: every byte is read once, and then remembered.

    work/.verified/ID   of one directory: name -> [inode, size, mtime in nanoseconds, SHA-256]

A file that is the same inode, as long and as old as when its hash was last taken is not read again. What is remembered
decides nothing by itself: it is held against the hash that lineage or a manifest states, and may be lost.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path

from textmill.base import files
from textmill.base.errors import DamagedError, TextmillError

FOLDER = ".verified"
Fact = tuple[int, int, int, str]  # inode, size, mtime in nanoseconds, SHA-256
_known: dict[Path, dict[str, Fact]] = {}  # in this process: directories may be read-only, or in no workspace


def damage(
    directory: Path, hashes: Mapping[str, str], root: Path | None = None, *, again: bool = False
) -> list[str]:
    """The names of files in `directory` that are missing or are not what was hashed.

    hashes: name -> SHA-256. root: the workspace that remembers; None: this process alone does. again: every byte is
    read, whatever is remembered.
    """
    directory = directory.absolute()
    known = {} if again else _recall(directory, root)
    found: dict[str, Fact] = {}
    bad = []
    for name, expected in hashes.items():
        fact = known.get(name)
        if fact is None or fact[3] != expected or not _same(directory / name, fact):
            fact = _read(directory / name)
        if fact is None or fact[3] != expected:
            bad.append(name)
        else:
            found[name] = fact
    if found != known:
        _remember(directory, root, found)
    return bad


def remember(directory: Path, hashes: Mapping[str, str], root: Path | None = None) -> None:
    """Note that the files of a directory were just read and have these hashes."""
    found: dict[str, Fact] = {}
    for name, digest in hashes.items():
        state = (directory / name).stat()
        found[name] = (state.st_ino, state.st_size, state.st_mtime_ns, digest)
    _remember(directory.absolute(), root, found)


def require(directory: Path, hashes: Mapping[str, str], root: Path | None, advice: str) -> None:
    """Raises DamagedError, naming the first file of `directory` that is missing or not what was hashed."""
    if bad := damage(directory, hashes, root):
        path = directory / bad[0]
        fault = "was changed after it was written (its SHA-256 differs)" if path.is_file() else "is missing"
        raise DamagedError(fault, where=path, advice=advice)


def _same(path: Path, fact: Fact) -> bool:
    """Whether a file is still the one of which something is known."""
    try:
        state = path.stat()
    except OSError:
        return False
    return fact[:3] == (state.st_ino, state.st_size, state.st_mtime_ns)


def _read(path: Path) -> Fact | None:
    """What is found by reading a file; None where it cannot be read."""
    try:
        state = path.stat()
        return state.st_ino, state.st_size, state.st_mtime_ns, files.sha256_file(path)
    except OSError:
        return None


def _recall(directory: Path, root: Path | None) -> dict[str, Fact]:
    if directory not in _known and root is not None:
        with contextlib.suppress(OSError, ValueError, TypeError, AttributeError):
            saved = json.loads(_memory(directory, root).read_text(encoding="utf-8"))
            _known[directory] = {
                name: (int(inode), int(size), int(time), str(digest))
                for name, (inode, size, time, digest) in saved.items()
            }
    return _known.get(directory, {})


def _remember(directory: Path, root: Path | None, found: dict[str, Fact]) -> None:
    _known[directory] = found
    if root is not None and root.is_dir():
        with contextlib.suppress(OSError, TextmillError):  # it is only slower without
            files.write_text(_memory(directory, root), json.dumps(found) + "\n")


def _memory(directory: Path, root: Path) -> Path:
    return root / FOLDER / files.content_id(str(directory))
