"""Where an artifact comes from: `lineage.json`, its parents by hash, and the walk back to the documents.

Every artifact directory holds one. It names the stage that made it and what decided it, the parents' ids and
places, and the SHA-256 of every file, but no time and no machine: the same inputs give the same lineage. It carries a
seal, so that a changed lineage is told from a changed file.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from textmill import __version__
from textmill.base.errors import DamagedError, TextmillError
from textmill.base.files import TEMPORARY, read_sealed, sha256_file, value_id, write_sealed
from textmill.base.locks import NAME as LOCK
from textmill.stages.workspace import verified

NAME = "lineage.json"
_FOLDERS = {"run": "runs"}  # where a workspace keeps what is not under the name of its kind


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
    identity: str | None = None,
) -> Artifact:
    """Hash the files of `directory` (or only `names`) and write its lineage.

    home: where the directory will stand once renamed; the parents' relative places start there. identity: the id of
    what is not known by its files, such as a run that goes on changing.
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
        "id": identity or value_id({"kind": kind, "files": files}),
        "key": key,
        "textmill": __version__,
        "parents": above,
        "spec": spec,
        "files": files,
    }
    write_sealed(directory / NAME, record)
    return read_lineage(directory)


def read_lineage(directory: Path) -> Artifact:
    """The artifact at `directory`. Raises TextmillError when there is none, DamagedError when it is unreadable."""
    directory = Path(directory)
    if not (directory / NAME).is_file():
        raise TextmillError("is not an artifact of Textmill (it has no lineage.json)", where=directory)
    record = read_sealed(directory / NAME)
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


def find(directory: Path, key: str, root: Path | None = None) -> Artifact | None:
    """The artifact at `directory` when it was decided by `key` and all its files are as written; else None.

    root: the workspace, which remembers what was read before.
    """
    try:
        artifact = read_lineage(directory)
    except TextmillError:
        return None
    return artifact if artifact.key == key and not verified.damage(directory, artifact.files, root) else None


def damage(artifact: Artifact) -> list[str]:
    """The names of files that are missing or whose bytes are not those of the lineage. Every byte is read."""
    return verified.damage(artifact.path, artifact.files, again=True)


def require(artifact: Artifact, root: Path, advice: str) -> Artifact:
    """The artifact, when all its files are as written. Raises DamagedError, naming the first that is not."""
    verified.require(artifact.path, artifact.files, root, advice)
    return artifact


def walk(
    artifact: Artifact, root: Path | None = None, depth: int = 0, *, last: str = ""
) -> Iterator[tuple[int, Artifact | dict[str, str]]]:
    """(depth, artifact) from here back to the first; a parent that is gone or has changed comes as its record.

    root: the workspace, where parents are looked for that are not where they were: a run's folder may be a link, and
    may have been moved elsewhere. last: a kind whose own parents are left out, but where it is the kind of `artifact`.
    """
    yield depth, artifact
    for parent in artifact.parents if depth == 0 or artifact.kind != last else ():
        try:
            above = _above(artifact, parent, root)
        except DamagedError as error:
            yield depth + 1, parent | {"state": f"damaged: {NAME} {error.what}"}
            continue
        if above is None:
            yield depth + 1, parent | {"state": "missing"}
        elif above.id != parent["id"]:
            yield depth + 1, parent | {"state": f"changed since, and is now {above.id}"}
        else:
            yield from walk(above, root, depth + 1, last=last)


def _above(artifact: Artifact, parent: dict[str, str], root: Path | None) -> Artifact | None:
    """The parent's artifact: the one of its id, or else whatever stands in its place; None where nothing does.

    Raises DamagedError when what stands there says nothing that can be believed.
    """
    places = [
        Path(os.path.normpath(artifact.path.absolute() / parent["path"])),
        artifact.path / parent["path"],
    ]
    if root is not None and places[0].name:
        places.append(root / _FOLDERS.get(parent["kind"], parent["kind"]) / places[0].name)
    other = None
    for place in places:
        if not (place / NAME).is_file():
            continue
        above = read_lineage(place)
        if above.id == parent["id"]:
            return above
        other = other or above
    return other


def _files(directory: Path) -> Iterator[str]:
    for path in directory.rglob("*"):
        inside = path.relative_to(directory)
        if path.is_file() and path.name not in (NAME, LOCK) and not inside.parts[0].startswith(TEMPORARY):
            yield inside.as_posix()
