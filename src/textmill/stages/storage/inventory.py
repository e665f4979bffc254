"""What is stored here, what it takes, what it was made from and what depends on it: runs, models and caches.

    run      work/runs/NAME
    model    a folder or .gguf file of the models folder
    cache    work/KIND/KEY: corpora, tokenizers, tokens, indexes … which a recipe makes again
    partial  what was being made or fetched when its process ended

What depends on what is read from each lineage, so it holds within this workspace: the models folder may serve others.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from textmill.base.errors import TextmillError
from textmill.base.files import TEMPORARY, read_json
from textmill.stages.storage.fetching import DOWNLOADS
from textmill.stages.workspace import lineage
from textmill.stages.workspace.workspace import Workspace

RUN, MODEL, CACHE, PARTIAL = KINDS = ("run", "model", "cache", "partial")
PARTS = ".parts-"  # of a corpus, until it is whole
_NOT_CACHES = ("runs",)
_MIXTURES = "mixtures"  # models that no recipe makes again


@dataclass(frozen=True)
class Stored:
    """One thing that is stored.

    ids: of its artifact, and of the published model within. parents: what its lineage says it was made from, each by
    the path and the id it had then.
    """

    kind: str
    name: str
    path: Path
    ids: frozenset[str] = frozenset()
    parents: tuple[tuple[Path, str], ...] = field(default=(), repr=False)

    @cached_property
    def bytes(self) -> int:
        """What it takes on the disk; what a link leads to is not counted."""
        return sum(path.lstat().st_size for path in files_of(self.path))

    def made_from(self, other: Stored) -> bool:
        """Whether `other` is a parent."""
        return any(
            parent in other.ids or path == other.path or other.path in path.parents
            for path, parent in self.parents
        )


def files_of(path: Path) -> Iterator[Path]:
    """The files of a thing, and the links in it."""
    if path.is_symlink() or not path.is_dir():
        yield path
        return
    for home, folders, names in os.walk(path):
        for name in names:
            yield Path(home) / name
        for name in folders:
            if (link := Path(home) / name).is_symlink():
                yield link


class Inventory:
    """Everything that is stored in a workspace and in the models folder, in the order of KINDS and by name."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.items = sorted(_stored(workspace), key=lambda item: (KINDS.index(item.kind), item.name))

    def named(self, name: str) -> Stored:
        """What is meant by a name, by the beginning of a cache's, or by a path.

        Raises TextmillError, naming them, when it means several things, and with the nearest when it means none.
        """
        path = Path(os.path.abspath(name))
        for meant in (
            [item for item in self.items if item.name == name or item.path == path],
            [item for item in self.items if item.kind == MODEL and item.name == f"{name}.gguf"],
            [item for item in self.items if "/" in name and item.name.startswith(name)],
        ):
            if len(meant) > 1:
                places = " and ".join(f"the {item.kind} {item.path}" for item in meant)
                raise TextmillError(
                    f"is the name of {places}", where=name, advice="give the path of the one you mean"
                )
            if meant:
                return meant[0]
        near = difflib.get_close_matches(name, [item.name for item in self.items], 1)
        raise TextmillError(
            "nothing of this name is stored here",
            where=name,
            advice=f"did you mean {near[0]}?" if near else "`textmill list` lists what there is",
        )

    def dependents(self, item: Stored, without: Collection[Stored] = ()) -> list[Stored]:
        """What was made from a thing, and from that in turn; what is in `without` does not count."""
        found: list[Stored] = []
        reached = [item]
        while reached:
            one = reached.pop()
            for other in self.items:
                if other != item and other not in found and other not in without and other.made_from(one):
                    found.append(other)
                    reached.append(other)
        return [other for other in self.items if other in found]

    def parents(self, item: Stored) -> list[Stored]:
        """What a thing was made from, as far as it is still here."""
        return [other for other in self.items if other != item and item.made_from(other)]

    def unused(self) -> list[Stored]:
        """Caches that no run here was made from, nor is beside one that was (an index of a run's tokens), and what is
        half made and nobody is at."""
        used = [item for item in self.items if self._serves(item)]
        return [item for item in self.items if item.kind in (CACHE, PARTIAL) and item not in used]

    def _serves(self, item: Stored) -> bool:
        beside = (item, *self.parents(item))
        return any(other.kind in (RUN, MODEL) for one in beside for other in self.dependents(one))

    def row(self, item: Stored) -> dict[str, Any]:
        """A thing as plain data."""
        return {
            "kind": item.kind,
            "name": item.name,
            "bytes": item.bytes,
            "used_by": [other.name for other in self.dependents(item)],
            "path": str(item.path),
        }


def listing(workspace: Workspace, kinds: Sequence[str] = KINDS) -> dict[str, Any]:
    """Everything that is stored, of these kinds; how many bytes in all, and what could go."""
    stock = Inventory(workspace)
    items = [item for item in stock.items if item.kind in kinds]
    unused = stock.unused()
    return {
        "stored": [stock.row(item) | {"unused": item in unused} for item in items],
        "bytes": sum(item.bytes for item in items),
        "unused_bytes": sum(item.bytes for item in items if item in unused),
        "work": str(workspace.root),
        "models": str(workspace.models.path),
    }


def _stored(workspace: Workspace) -> Iterator[Stored]:
    for run in workspace.runs():
        yield _artifact(RUN, run.name, run.path, inside=("", "model"))
    for name, path in workspace.models.entries().items():
        stored = _artifact(MODEL, name, path, inside=("",))
        yield replace(stored, parents=(*stored.parents, *_bases(workspace, path)))
    for folder in _folders(workspace.root):
        if folder.name in _NOT_CACHES or folder.name.startswith("."):
            continue
        for path in _folders(folder):
            if path.name.startswith((PARTS, TEMPORARY)):
                yield Stored(PARTIAL, f"{folder.name}/{path.name}", path)
            elif not path.name.startswith("."):
                kind = MODEL if folder.name == _MIXTURES else CACHE
                yield _artifact(kind, f"{folder.name}/{path.name}", path, inside=("",))
    for path in _folders(workspace.root / "runs"):
        if path.name.startswith(TEMPORARY):
            yield Stored(PARTIAL, f"runs/{path.name}", path)
    for path in _folders(workspace.models.path / DOWNLOADS):
        if any(path.glob("*.whl")):
            yield Stored(PARTIAL, f"{DOWNLOADS}/{path.name}", path)


def _bases(workspace: Workspace, path: Path) -> list[tuple[Path, str]]:
    """Where the base of an adapter in the models folder may be, by what it says: a model there, a run, a path."""
    try:
        config = read_json(path / "adapter_config.json") if path.is_dir() else {}
    except (OSError, TextmillError):
        return []
    named = config.get("base_model_name_or_path") if isinstance(config, dict) else None
    if not isinstance(named, str) or not named:
        return []
    entry = workspace.models.entry(named)
    return [(place.absolute(), "") for place in (entry, workspace.run(named).path, Path(named)) if place]


def _folders(path: Path) -> list[Path]:
    return [entry for entry in sorted(path.iterdir()) if entry.is_dir()] if path.is_dir() else []


def _artifact(kind: str, name: str, path: Path, *, inside: Sequence[str]) -> Stored:
    """A thing with what its lineages say; one that cannot be read says nothing."""
    ids, parents = set(), []
    for home in (path / each for each in inside):
        try:
            read = lineage.read_lineage(home)
        except TextmillError:
            continue
        ids.add(read.id)
        parents += [
            (Path(os.path.normpath(home.absolute() / parent["path"])), parent["id"])
            for parent in read.parents
        ]
    own = path.absolute()
    above = tuple(
        (place, parent) for place, parent in parents if place != own
    )  # a model within, made from the run
    return Stored(kind, name, own, frozenset(ids), above)
