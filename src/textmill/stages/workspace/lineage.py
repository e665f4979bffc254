"""Where an artifact comes from: `lineage.json`, its parents by hash, and the walk back to the documents.

Every artifact directory holds one. It names the stage that made it and what decided it, the parents' ids and
places, and the SHA-256 of every file, but no time and no machine: the same inputs give the same lineage.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from textmill import __version__
from textmill.base.errors import DamagedError, TextmillError
from textmill.base.files import read_json, sha256_file, value_id, write_json

NAME = "lineage.json"


@dataclass(frozen=True)
class Artifact:
    """One artifact on disk, as its `lineage.json` tells it."""

    path: Path
    kind: str  # corpus, tokenizer, tokens, run, model
    id: str  # content id over the hashes of its files
    key: str  # id of what decided it: stage, spec, parents
    spec: dict[str, Any]
    parents: tuple[dict[str, str], ...]  # kind, id, path (relative to this artifact)
    files: dict[str, str] = field(repr=False)  # name -> sha256


def write_lineage(
    directory: Path,
    *,
    kind: str,
    key: str,
    spec: Any,
    parents: Iterable[Artifact],
    home: Path | None = None,
    names: Iterable[str] | None = None,
) -> Artifact:
    """Hash the files of `directory` (or only `names`) and write its lineage.

    `home` is where the directory will stand once renamed; the parents' relative places start there.
    """
    directory, home = Path(directory), Path(home or directory)
    chosen = sorted(names) if names is not None else sorted(_files(directory))
    files = {name: sha256_file(directory / name) for name in chosen}
    above = [
        {
            "kind": parent.kind,
            "id": parent.id,
            "path": os.path.relpath(parent.path.absolute(), home.absolute()),
        }
        for parent in parents
    ]
    record = {
        "kind": kind,
        "id": value_id({"kind": kind, "files": files}),
        "key": key,
        "textmill": __version__,
        "parents": above,
        "spec": spec,
        "files": files,
    }
    write_json(directory / NAME, record)
    return read_lineage(directory)


def read_lineage(directory: Path) -> Artifact:
    """The artifact at `directory`. Raises TextmillError when there is none, DamagedError when it is unreadable."""
    directory = Path(directory)
    if not (directory / NAME).is_file():
        raise TextmillError("is not an artifact of Textmill (it has no lineage.json)", where=directory)
    record = read_json(directory / NAME)
    try:
        parents = tuple(
            {key: str(parent[key]) for key in ("kind", "id", "path")} for parent in record["parents"]
        )
        return Artifact(
            directory,
            record["kind"],
            record["id"],
            record["key"],
            record["spec"],
            parents,
            dict(record["files"]),
        )
    except (KeyError, TypeError) as error:
        raise DamagedError(f"lacks {error}", where=directory / NAME) from error


def find(directory: Path, key: str) -> Artifact | None:
    """The artifact at `directory` when it was decided by `key` and all its files are there; else None."""
    try:
        artifact = read_lineage(directory)
    except TextmillError:
        return None
    whole = artifact.key == key and all((artifact.path / name).is_file() for name in artifact.files)
    return artifact if whole else None


def damage(artifact: Artifact) -> list[str]:
    """The names of files that are missing or whose bytes are not those of the lineage."""
    bad = []
    for name, expected in artifact.files.items():
        path = artifact.path / name
        if not path.is_file() or sha256_file(path) != expected:
            bad.append(name)
    return bad


def walk(artifact: Artifact, depth: int = 0) -> Iterator[tuple[int, Artifact | dict[str, str]]]:
    """(depth, artifact) from here back to the first; a parent that is gone or has changed comes as its record."""
    yield depth, artifact
    for parent in artifact.parents:
        try:
            above = read_lineage(artifact.path / parent["path"])
        except TextmillError:
            yield depth + 1, parent | {"state": "missing"}
            continue
        if above.id != parent["id"]:
            yield depth + 1, parent | {"state": f"changed since: it is now {above.id}"}
            continue
        yield from walk(above, depth + 1)


def _files(directory: Path) -> Iterator[str]:
    for path in directory.rglob("*"):
        if path.is_file() and path.name not in (NAME, ".lock"):
            yield path.relative_to(directory).as_posix()
