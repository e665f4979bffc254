"""Where an artifact comes from, how two corpora differ, and which documents a training step read."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from textmill.base import schema
from textmill.base.errors import RecipeError, TextmillError
from textmill.base.files import read_json, read_jsonl
from textmill.specs import recipe_file as recipes
from textmill.specs.corpus import CorpusSpec, Source, WebSource
from textmill.specs.model import AtOnceSpec
from textmill.stages.tracing import holdings
from textmill.stages.workspace import lineage, starts
from textmill.stages.workspace.lineage import Artifact
from textmill.stages.workspace.locate import check_named, locate, locate_run
from textmill.stages.workspace.run import Run
from textmill.stages.workspace.workspace import Workspace
from textmill.text.corpus.forgotten import STEP


def tree(workspace: Workspace, target: str, *, verify: bool = False) -> dict[str, Any]:
    """The chain from an artifact back to the sources; `verify` hashes every file on the way again.

    Source files that changed or went since are told too. They are no damage: a corpus holds its own copy.
    """
    rows, ok = [], True
    for depth, item in lineage.walk(lineage.read_lineage(_directory(workspace, target)), workspace.root):
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
            row["damaged"] = lineage.damage(item) + (Run(item.path).damage() if item.kind == "run" else [])
            ok = ok and not row["damaged"]
        if item.kind == "corpus":
            row |= _corpus(item, workspace, verify=verify and not row["damaged"])
        if item.kind == "run" and (start := Run(item.path).start) is not None:
            row["start"] = start.named
        if item.kind in (starts.KIND, "model") and not item.parents:
            row["trained_on"] = starts.ELSEWHERE
        rows.append(row)
    return {"ok": ok, "verified": verify, "artifacts": rows}


def _corpus(item: Artifact, workspace: Workspace, *, verify: bool) -> dict[str, Any]:
    """How many inputs a corpus was read from, what was left out on request, and what became of the inputs."""
    inputs = {row["place"]: row["hash"] for row in read_jsonl(item.path / "inputs.jsonl")}
    row: dict[str, Any] = {"inputs": len(inputs)}
    if "forgotten" in item.spec:
        row["forgotten"] = sum(
            rejected.get("step") == STEP for rejected in read_jsonl(item.path / "rejected.jsonl")
        )
    return row | {"sources": _sources(item, workspace, inputs)} if verify else row


def _sources(item: Artifact, workspace: Workspace, inputs: dict[str, str]) -> dict[str, Any]:
    """The inputs of a corpus against the files that are there now. Pages of the web are not asked again."""
    from textmill.text.sources import table

    inputs = {location: digest for location, digest in inputs.items() if not location.startswith("step ")}
    now: dict[str, str] = {}
    for home in holdings.homes(workspace):  # where they are, or else nowhere
        found: dict[str, str] = {}
        for source in _asked(item):
            with contextlib.suppress(TextmillError, OSError):  # its path matches nothing any more
                found |= dict(table.fingerprint(source, home))
        if len(found.keys() & inputs.keys()) > len(now.keys() & inputs.keys()):
            now = found
    return {
        "same": sum(now.get(location) == digest for location, digest in inputs.items()),
        "changed": sorted(
            location for location in inputs if location in now and now[location] != inputs[location]
        ),
        "gone": sorted(location for location in inputs if location not in now),
        "new": sorted(location for location in now if location not in inputs),
    }


def _asked(item: Artifact) -> list[Source]:
    """The sources of a corpus on this machine, as its lineage names them."""
    known = schema.fields(CorpusSpec)
    spec = {name: value for name, value in item.spec.items() if name in known}
    return [source for source in schema.read(CorpusSpec, spec).sources if not isinstance(source, WebSource)]


def difference(workspace: Workspace, first: str, second: str) -> dict[str, Any]:
    """How the corpora behind two artifacts differ: what decided them, and which documents only one of them holds.

    Raises TextmillError for an artifact that came from no corpus.
    """
    old, new = (_behind(workspace, target) for target in (first, second))
    before, after = (_documents(item) for item in (old, new))
    forgotten = {row["id"] for row in read_jsonl(new.path / "rejected.jsonl") if row.get("step") == STEP}
    return {
        "first": {"id": old.id, "path": str(old.path.resolve()), "documents": len(before)},
        "second": {"id": new.id, "path": str(new.path.resolve()), "documents": len(after)},
        "decided": [
            {"key": key, "first": was, "second": now}
            for key, was, now in recipes.difference(old.spec, new.spec)
        ],
        "removed": [
            {"document": name, "source": before[name], "forgotten": name in forgotten}
            for name in before
            if name not in after
        ],
        "added": [{"document": name, "source": after[name]} for name in after if name not in before],
    }


def _behind(workspace: Workspace, target: str) -> Artifact:
    for _, item in lineage.walk(lineage.read_lineage(_directory(workspace, target)), workspace.root):
        if isinstance(item, Artifact) and item.kind == "corpus":
            return item
    raise TextmillError("its corpus no longer exists", where=target)


def _documents(corpus: Artifact) -> dict[str, str]:
    """id -> source of every document of a corpus."""
    import pyarrow.parquet as pq

    sources: dict[str, str] = {}
    for name in read_json(corpus.path / "manifest.json")["shards"]:
        with pq.ParquetFile(corpus.path / name) as file:
            rows = file.read(columns=["id", "source"])
        sources |= dict(zip(rows["id"].to_pylist(), rows["source"].to_pylist(), strict=True))
    return sources


def batch_documents(workspace: Workspace, target: str, step: int) -> dict[str, Any]:
    """The documents in the batch of a step, counted from 1: id, source and tokens. It is computed, not looked up in a
    log. A text that is counted is read whole, in its only step.

    Raises RecipeError for a step the run has not made.
    """
    from textmill.stages.preparation.prepare import trained_on

    run = locate_run(workspace, target)
    data = trained_on(run, workspace)
    made = steps_made(run)
    if not 1 <= step <= made:
        raise RecipeError(
            f"{run.name} has made {made:,} of its {run.steps:,} steps, so there is no batch of step {step:,}",
            where="--step",
            advice="steps are counted from 1" if made else "train it first",
        )
    if isinstance(data.recipe.model, AtOnceSpec):
        texts = data.texts("train")
        sizes = (texts.offsets[1:] - texts.offsets[:-1]).tolist()
        read = [
            (document.tobytes().hex(), size) for document, size in zip(texts.document_ids, sizes, strict=True)
        ]
    else:
        read = data.loader().documents(step - 1)
    rows = [
        {"document": document, "tokens": tokens, "source": data.source_of(document)}
        for document, tokens in read
    ]
    return {"run": run.name, "step": step, "documents": rows}


def steps_made(run: Run) -> int:
    """How many updates a run has made."""
    from textmill.training import checkpoint

    saved = [checkpoint.step_of(path) for path in checkpoint.listed(run.checkpoints)]
    return max([0, *saved, *(row["step"] for row in run.metrics() if "seconds" in row)])


def _directory(workspace: Workspace, target: str) -> Path:
    """A path as it is, else what a name means: of a run its model where published."""
    check_named(workspace, target)
    if (path := Path(target)).exists():
        return Run(path).model if (path / "model" / lineage.NAME).is_file() else path
    found = locate(workspace, target)
    if found.model is not None and (found.model / lineage.NAME).is_file():
        return found.model
    return found.path if found.path.is_dir() else found.path.parent
