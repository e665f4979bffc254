"""From sources to token ids: the corpus, the tokenizer and the tokens, each made once for what decides it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from textmill.base.errors import TextmillError
from textmill.base.files import read_json
from textmill.base.machine import usable_cores
from textmill.specs.recipe import Recipe
from textmill.stages.preparation.artifacts import Collection, EncodedTokens, LearntTokenizer, Preparation
from textmill.stages.workspace import lineage
from textmill.stages.workspace.lineage import Artifact
from textmill.stages.workspace.run import Run
from textmill.stages.workspace.run_data import PARTS, Prepared, RunData
from textmill.stages.workspace.workspace import Workspace
from textmill.text.corpus import build
from textmill.text.corpus.build import Runner


def prepare(recipe: Recipe, workspace: Workspace, *, run: Runner | None = None) -> RunData:
    """Whatever is out of date of corpus, tokenizer and tokens is made; the rest is found. `run`: as Collection's."""
    corpus, made = Collection(recipe, workspace, run), {}
    stages: tuple[Preparation, ...] = (corpus, LearntTokenizer(recipe), EncodedTokens(recipe))
    for stage in stages:
        parents = {kind: made[kind] for kind in stage.parents}
        made[stage.kind] = workspace.artifact(
            stage.kind,
            version=stage.version,
            spec=stage.decides(),
            parents=list(parents.values()),
            make=lambda directory, stage=stage, parents=parents: stage.make(directory, parents),
            name=recipe.name,
        )
    build.clear(corpus.units)  # the corpus stands: nothing goes on from them any more
    return RunData(recipe, Prepared(**made))


def still_there(run: Run) -> RunData | None:
    """What lineage says a run was trained on; None where that is gone."""
    above = {
        item.kind: item
        for _, item in lineage.walk(lineage.read_lineage(run.path))
        if isinstance(item, Artifact)
    }
    kinds = ("corpus", "tokenizer", "tokens")
    if not above.keys() >= set(kinds):
        return None
    return RunData(run.recipe(), Prepared(*(above[kind] for kind in kinds)))


def trained_on(run: Run, workspace: Workspace) -> RunData:
    """What a run was trained on, found through its lineage: its sources may be gone, or others by now.

    Where the artifacts are gone too, its recipe is prepared again. Raises TextmillError when that gives other text.
    """
    if (data := still_there(run)) is not None:
        return data
    workspace.reporter.warn(f"what {run.name} was trained on is gone; its recipe is prepared again")
    data = prepare(run.recipe(), workspace)
    if data.prepared.tokens.id != lineage.read_lineage(run.path).spec["tokens"]:
        raise TextmillError(
            "was trained on text that is gone, and its sources have changed since",
            where=f"run {run.name}",
            advice="put the sources back as they were",
        )
    return data


def runner(kind: str, workers: int | None) -> Runner | None:
    """Who makes the units: `local` processes or `ray` tasks, so many at a time; None: as many as are worth it.

    Raises TextmillError when Ray is asked for and not installed.
    """
    if kind == "ray":
        from textmill.text.corpus import ray_runner

        return ray_runner.ray(workers or usable_cores())
    return build.processes(workers) if workers else None


def summary(data: RunData) -> dict[str, Any]:
    """What was prepared: counts by part, what was set aside, why and where, and where the artifacts are."""
    report, prepared = data.corpus.report, data.prepared
    manifests = {part: read_json(prepared.tokens.path / part / "manifest.json") for part in PARTS}
    counts = {part: _tokens(manifest) for part, manifest in manifests.items()}
    size, tokens = sum(manifest["bytes"] for manifest in manifests.values()), sum(counts.values())
    aside: Counter[str] = Counter()
    first: dict[str, str] = {}
    for manifest in manifests.values():
        aside.update(manifest.get("set_aside", {}))
        first = manifest.get("set_aside_first", {}) | first
    return {
        "corpus": report,
        "parts": {part: report["parts"][part] | {"tokens": counts[part]} for part in PARTS},
        "records_set_aside": dict(aside),
        "records_set_aside_first": first,
        "rejected": str(prepared.corpus.path / "rejected.jsonl"),
        "card": str(prepared.corpus.path / "card.html"),
        "vocabulary": manifests["train"]["vocabulary"],
        "bytes_per_token": size / max(tokens, 1),
        "artifacts": {
            item.kind: str(item.path) for item in (prepared.corpus, prepared.tokenizer, prepared.tokens)
        },
    }


def _tokens(manifest: Mapping[str, Any]) -> int:
    """Ids in a store of either kind."""
    if "fields" not in manifest:
        return manifest["tokens"]
    return sum(field["values"] for name, field in manifest["fields"].items() if name != "value")
