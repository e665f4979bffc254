"""From a document to the models that saw it: which checkpoints, at which steps, how often.

It is computed from lineage alone. The batch of a step is a function of the tokens, the packing, the batch size and the
seed, all of which a run's lineage and recipe name; so the steps that read a document are found by asking the order of
training backwards, and no log is needed. Steps are told as everywhere: the first is step 1, and the checkpoint of step
s was written after it.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from textmill.base.errors import TextmillError
from textmill.base.files import read_json
from textmill.specs.model import AT_ONCE
from textmill.stages.preparation.prepare import still_there
from textmill.stages.tracing import holdings
from textmill.stages.tracing.holdings import Holding
from textmill.stages.workspace.locate import locate_run
from textmill.stages.workspace.run import Run, Start
from textmill.stages.workspace.run_data import PARTS, RunData
from textmill.stages.workspace.starts import ELSEWHERE
from textmill.stages.workspace.workspace import Workspace

_STEPS = 1000  # steps named one by one for a document, at most


def sightings(workspace: Workspace, name: str, *, run: str | None = None) -> dict[str, Any]:
    """Which runs, or only `run`, were trained on the documents a name means, and which of their checkpoints saw them.

    Raises TextmillError when no corpus here holds such a document, or when there is no such run.
    """
    runs = [locate_run(workspace, run)] if run is not None else workspace.runs()
    documents = holdings.find(workspace, name)
    return {
        "name": name,
        "documents": [holdings.plain(holding) for holding in documents],
        "runs": [_of_run(workspace, item, documents) for item in runs],
    }


def _of_run(workspace: Workspace, run: Run, documents: Sequence[Holding]) -> dict[str, Any]:
    result: dict[str, Any] = {"run": run.name, "seen": [], "checkpoints": []}
    start = run.start
    if start is not None:
        result["forked"] = _before(workspace, start, documents)
    elif any(event.get("event") == "forked" for event in run.events()):
        return result | {"unknown": "it was forked by an earlier version of Textmill"}
    seen = _seen(workspace, run, documents)
    if seen is None:
        return result | {"unknown": "what it was trained on no longer exists"}
    result["checkpoints"] = [_checkpoint(*saved, seen) for saved in _saved(run)]
    for row in seen:  # all steps are in the figures; a person is shown the first
        row["times"] = len(row["steps"])
        row["steps"] = (row["steps"][:_STEPS] + 1).tolist()
        del row["read"]
    return result | {"seen": seen}


def _seen(workspace: Workspace, run: Run, documents: Sequence[Holding]) -> list[dict[str, Any]] | None:
    """The documents that are in what a run was trained on, and the steps that read them; None: that is gone."""
    data = still_there(run, workspace)
    if data is None:
        return None
    return [row for holding in documents if (row := _row(run, data, holding))]


def _row(run: Run, data: RunData, holding: Holding) -> dict[str, Any] | None:
    """A document in one run: the parts that hold it, its tokens, the steps that read it; None: it is not there."""
    wanted = np.frombuffer(bytes.fromhex(holding.document), dtype=np.uint8)
    sizes = {}
    for side, part in itertools.product(data.all, PARTS):
        texts = side.texts(part)
        at = np.flatnonzero((texts.document_ids == wanted).all(axis=1))
        if len(at):
            tokens_held = int((texts.offsets[at + 1] - texts.offsets[at]).sum())
            sizes[part] = sizes.get(part, 0) + tokens_held
    if not sizes:
        return None
    steps, tokens = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    if "train" in sizes and data.recipe.model.kind in AT_ONCE:  # read whole, in what is its only step
        steps, tokens = np.array([0]), np.array([sizes["train"]])
    elif "train" in sizes:
        last = max((step for _, step, _ in _saved(run)), default=0)
        loader = data.loader()
        steps, tokens = loader.steps_of(holding.document, last)
        if data.objective.reader is not None:  # a label is one target, but the text is read whole
            _, targets = loader.steps_of(holding.document, int(loader.steps_per_epoch))
            tokens = np.rint(tokens * sizes["train"] / max(targets.sum(), 1)).astype(np.int64)
    return {
        "document": holding.document,
        "source": holding.source,
        "splits": list(sizes),
        "tokens": sizes.get("train", 0),  # that an epoch reads
        "steps": steps,
        "read": tokens,
    }


def _saved(run: Run) -> list[tuple[str, int, list[int]]]:
    """(name, step, steps passed over) of each whole checkpoint, and of the published model."""
    from textmill.training import checkpoint

    saved = []
    for path in checkpoint.listed(run.checkpoints):
        state = checkpoint.state(path)
        saved.append((f"checkpoints/{path.name}", int(state["step"]), list(state.get("skipped", []))))
    about = run.model / "textmill.json"
    if about.is_file():
        step = int(read_json(about).get("info", {}).get("step", 0))
        skipped = next((skipped for _, at, skipped in saved if at == step), [])
        saved.append(("model", step, skipped))
    return saved


def _checkpoint(name: str, step: int, skipped: list[int], seen: list[dict[str, Any]]) -> dict[str, Any]:
    """How much of each document a checkpoint had learnt from: one of step s was written after steps 1 … s, which are
    numbered from 0 in here."""
    rows = []
    for row in seen:
        made = (row["steps"] < step) & ~np.isin(row["steps"], skipped)
        if made.any():
            tokens, at = int(row["read"][made].sum()), row["steps"][made]
            rows.append(
                {
                    "document": row["document"],
                    "tokens": tokens,
                    "epochs": round(tokens / row["tokens"], 4),
                    "steps": int(made.sum()),
                    "first": int(at[0]) + 1,
                    "last": int(at[-1]) + 1,
                }
            )
    return {"checkpoint": name, "step": step, "saw": rows}


def _before(workspace: Workspace, start: Start, documents: Sequence[Holding]) -> dict[str, Any]:
    """What the run whose weights another began with had seen by then."""
    if start.run is None or start.step is None:
        return {"run": start.model, "step": None, "unknown": ELSEWHERE}
    result: dict[str, Any] = {"run": start.run, "step": start.step}
    try:
        old = locate_run(workspace, start.run)
        seen = _seen(workspace, old, documents)
    except TextmillError:
        return result | {"unknown": "not known: that run no longer exists"}
    if seen is None:
        return result | {"unknown": "not known: its data no longer exist"}
    result |= {"saw": _checkpoint("", start.step, [], seen)["saw"]}
    further = old.start
    return result if further is None else result | {"forked": _before(workspace, further, documents)}
