"""What was made from a corpus: every artifact of a workspace, walked forward along its lineage."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from textmill.stages.workspace import lineage
from textmill.stages.workspace.lineage import Artifact
from textmill.stages.workspace.run import Run
from textmill.stages.workspace.workspace import Workspace

_ORDER = ("start", "corpus", "tokenizer", "tokens", "reference", "index", "run", "model")


@dataclass(frozen=True)
class Descendant:
    """An artifact, and the first ones it came from."""

    artifact: Artifact
    roots: frozenset[str]  # ids


def everything(workspace: Workspace) -> Iterator[Artifact]:
    """Every artifact of a workspace: those made for recipes, the runs, and the models they published."""
    for path in sorted(workspace.root.glob(f"*/[!.]*/{lineage.NAME}")):
        yield lineage.read_lineage(path.parent)
    for path in sorted(workspace.root.glob(f"runs/*/model/{lineage.NAME}")):
        yield lineage.read_lineage(path.parent)


def forks(run: Run) -> list[str]:
    """The names of the runs whose weights a run went on from."""
    return [event["run"] for event in run.events() if event.get("event") == "forked"]


def descendants(workspace: Workspace, roots: Iterable[str]) -> list[Descendant]:
    """Everything made from the artifacts of these ids, themselves included, in the order it was made.

    A run forked from another descends from what the other was made from, too.
    """
    reached: dict[str, frozenset[str]] = {name: frozenset((name,)) for name in roots}
    items = list(everything(workspace))
    runs = {item.path.name: item.id for item in items if item.kind == "run"}
    grown = True
    while grown:
        grown = False
        for item in items:
            above = [item.id, *(parent["id"] for parent in item.parents)]
            if item.kind == "run":
                above += [runs[name] for name in forks(Run(item.path)) if name in runs]
            origins = frozenset().union(*(reached.get(name, frozenset()) for name in above))
            if origins and origins != reached.get(item.id):
                reached[item.id], grown = origins, True
    made = [Descendant(item, reached[item.id]) for item in items if item.id in reached]
    before = {item.path.name: _began_with(Run(item.path)) for item in items if item.kind == "run"}

    def order(made: Descendant) -> tuple[int, int, str]:
        item, behind = made.artifact, 0
        name = before.get(item.path.name) if item.kind == "run" else None
        while name is not None and behind < len(before):
            name, behind = before.get(name), behind + 1
        return _rank(item.kind), behind, str(item.path)

    return sorted(made, key=order)


def _began_with(run: Run) -> str | None:
    """The run whose weights it began with."""
    return None if (start := run.start) is None else start.run


def _rank(kind: str) -> int:
    return _ORDER.index(kind) if kind in _ORDER else len(_ORDER)
