"""`textmill forget`: documents that no corpus of this workspace holds again, and what was made from them.

    work/forget.jsonl   one object a line, only ever added to: the document's id, its source, and the time

`collect` reads the list, leaves those documents out as a step of their own, and makes the list part of what decides
a corpus: so the next `prepare` of any recipe makes a new version. Where none of the documents was in it, that version
has the same content and the same id, and nothing made from it is out of date.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from textmill.base import files
from textmill.base.errors import TextmillError
from textmill.stages.tracing import descent, holdings
from textmill.stages.tracing.descent import Descendant
from textmill.stages.tracing.holdings import Holding
from textmill.stages.workspace.forget_list import forgotten, list_of
from textmill.stages.workspace.run import Run
from textmill.stages.workspace.workspace import Workspace


def add(workspace: Workspace, documents: Iterable[Mapping[str, str]]) -> list[str]:
    """Put documents (each with `document` and `source`) on the list; the ids that were not on it yet."""
    path, stamp = list_of(workspace), time.strftime("%Y-%m-%dT%H:%M:%S%z")
    with files.lock(workspace.root / ".forget", "textmill forget"):
        before, new = forgotten(workspace), {}
        for row in documents:
            if row["document"] not in before and row["document"] not in new:
                new[row["document"]] = {"document": row["document"], "source": row["source"], "time": stamp}
        workspace.root.mkdir(parents=True, exist_ok=True)
        for record in new.values():
            files.append_jsonl(path, record)
        if new:
            files.sync(path)
    return list(new)


def forget(workspace: Workspace, names: Sequence[str]) -> dict[str, Any]:
    """Put documents on the list, and say what was made from corpora that hold them. Nothing is deleted.

    names: ids, beginnings of ids, places, files or folders, as `holdings.find` reads them. What a corpus set aside for
    repeating one of them to the byte is forgotten with it, else that would take its place in the next version. A whole
    id, or a file that is there, is put on the list even where no corpus holds it yet.
    Raises TextmillError, and puts nothing on the list, when a name means nothing or several things.
    """
    corpora = holdings.corpora(workspace)
    by_id: dict[str, Holding] = {}
    for name in names:
        try:
            by_id |= {holding.document: holding for holding in holdings.find(workspace, name, corpora)}
        except TextmillError:
            if not (ids := holdings.ids_of(name, corpora)):
                raise
            by_id |= {document: Holding(document, name) for document in ids}
    same, near = holdings.alike(corpora, set(by_id))
    for document, source in same.items():
        again = holdings.find(workspace, document, corpora)
        by_id |= {holding.document: holding for holding in again} or {document: Holding(document, source)}
    new = add(
        workspace,
        [{"document": holding.document, "source": holding.source} for holding in by_id.values()],
    )
    return {
        "list": str(list_of(workspace)),
        "documents": [
            holdings.plain(holding) | {"new": holding.document in new} for holding in by_id.values()
        ],
        "near": [{"document": document, "source": source} for document, source in near.items()],
        "made_from": _made_from(workspace, by_id.values()),
        "left_over": [str(path) for path in sorted((workspace.root / "corpus").glob(".parts-*"))],
    }


def _made_from(workspace: Workspace, documents: Iterable[Holding]) -> list[dict[str, Any]]:
    """Every artifact that came from a corpus with one of the documents: where it is, and why it is out of date."""
    trained, only = set(), set()
    for holding in documents:
        for corpus, parts in holding.parts.items():
            (trained if "train" in parts else only).add(corpus)
    return [_stale(descendant, trained) for descendant in descent.descendants(workspace, trained | only)]


def _stale(descendant: Descendant, trained: set[str]) -> dict[str, Any]:
    item, learnt = descendant.artifact, bool(descendant.roots & trained)
    row: dict[str, Any] = {
        "kind": item.kind,
        "id": item.id,
        "path": str(item.path.resolve()),
        "bytes": sum(path.stat().st_size for path in item.path.rglob("*") if path.is_file()),
        "why": "made from it" if learnt else "it is in the validation or test part only",
        "trained_on": learnt,
    }
    if item.kind == "run":
        row |= {"run": item.path.name, "recipe": str(Run(item.path).recipe_file.resolve())}
    return row
