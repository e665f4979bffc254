"""Where an artifact comes from, and which documents a training step read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from textmill.base import lineage
from textmill.base.lineage import Artifact
from textmill.base.run import Run
from textmill.stages.locate import locate_run
from textmill.stages.workspace import Workspace


def tree(space: Workspace, target: str, *, verify: bool = False) -> dict[str, Any]:
    """The chain from an artifact back to the sources; `verify` hashes every file on the way again."""
    rows, ok = [], True
    for depth, item in lineage.walk(lineage.read(_directory(space, target))):
        if not isinstance(item, Artifact):
            rows.append({"depth": depth, **item, "ok": False})
            ok = False
            continue
        row: dict[str, Any] = {
            "depth": depth,
            "kind": item.kind,
            "id": item.id,
            "path": str(item.path.resolve()),
            "files": len(item.files),
        }
        if verify:
            row["damaged"] = lineage.damage(item)
            ok = ok and not row["damaged"]
        if (inputs := item.path / "inputs.jsonl").is_file():
            with open(inputs, encoding="utf-8") as lines:
                row["inputs"] = sum(1 for _ in lines)
        rows.append(row)
    return {"ok": ok, "verified": verify, "artifacts": rows}


def batch_documents(space: Workspace, target: str, step: int) -> dict[str, Any]:
    """The documents in the batch of a step: id, source and tokens. It is computed, not looked up in a log."""
    from textmill.stages.inputs import loader_of
    from textmill.stages.prepare import trained_on

    run = locate_run(space, target)
    recipe = run.recipe()
    prepared = trained_on(run, space)
    corpus = prepared.open_corpus()
    rows = [
        {"document": document, "tokens": tokens, "source": corpus.get(document).source}
        for document, tokens in loader_of(recipe, prepared).documents(step)
    ]
    return {"run": run.name, "step": step, "documents": rows}


def _directory(space: Workspace, target: str) -> Path:
    """A path as it is, else the run of that name: its model where published."""
    if Path(target).exists():
        path = Path(target)
        return Run(path).model if (path / "model" / lineage.NAME).is_file() else path
    run = locate_run(space, target)
    return run.model if (run.model / lineage.NAME).is_file() else run.path
