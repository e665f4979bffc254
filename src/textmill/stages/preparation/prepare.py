"""From sources to token ids: the corpus, the tokenizer and the tokens, each made once for what decides it."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from collections.abc import Mapping
from typing import Any

from textmill.base import renamed
from textmill.base.errors import ChangedError, DamagedError, TextmillError
from textmill.base.files import read_json
from textmill.base.machine import usable_cores
from textmill.specs.recipe import Recipe
from textmill.stages.preparation.artifacts import (
    RECORDS,
    Collection,
    EncodedTokens,
    LearntTokenizer,
    Preparation,
)
from textmill.stages.workspace import lineage, starts
from textmill.stages.workspace.lineage import Artifact
from textmill.stages.workspace.run import Run
from textmill.stages.workspace.run_data import PARTS, Prepared, RunData
from textmill.stages.workspace.workspace import Workspace
from textmill.text.corpus import build
from textmill.text.corpus.build import Runner
from textmill.text.corpus.corpus import Corpus, card_of
from textmill.text.corpus.split import check_sizes

_TRIES = 3  # how often sources are read that change meanwhile


def prepare(
    recipe: Recipe, workspace: Workspace, *, run: Runner | None = None, tokenizer: Artifact | None = None
) -> RunData:
    """Whatever is out of date of corpus, tokenizer and tokens is made; the rest is found. `run`: as Collection's.

    tokenizer: one to encode with, in place of the recipe's. Raises ChangedError when sources never stand still, and
    TextmillError when a split of plain text is too small to say anything.
    """
    for left in range(_TRIES - 1, -1, -1):
        try:
            return _prepare(recipe, workspace, run, tokenizer)
        except ChangedError as error:
            if not left:
                advice = "wait until no program writes it, or leave it out with `exclude`"
                raise ChangedError(error.what, where=error.where, advice=advice) from error
            workspace.reporter.note(f"{error}: reading the sources again")
    raise AssertionError("unreachable")


def _prepare(recipe: Recipe, workspace: Workspace, run: Runner | None, tokenizer: Artifact | None) -> RunData:
    corpus, encoded = Collection(recipe, workspace, run), EncodedTokens(recipe)
    made: dict[str, Artifact] = {}
    if (start := recipe.start) is not None and start.hash is not None:
        made[starts.KIND] = starts.require(workspace, start.hash, start.model)
    stages: tuple[Preparation, ...] = (corpus, LearntTokenizer(recipe), encoded)
    for stage in stages:
        if stage.kind == "tokenizer" and tokenizer is not None:
            made[stage.kind] = tokenizer
            continue
        parents = {kind: made[kind] for kind in stage.parents}
        made[stage.kind] = workspace.artifact(
            stage.kind,
            version=stage.version,
            spec=stage.decides(),
            parents=list(parents.values()),
            make=lambda directory, stage=stage, parents=parents: stage.make(directory, parents),
            name=recipe.name,
        )
        if stage is corpus and encoded.reader is None:
            check_sizes(Corpus(made["corpus"].path).report["splits"], recipe.corpus.split)
    if encoded.reader is not None:
        from textmill.stages.preparation import fit

        fit.check(read_json(made["tokens"].path / RECORDS), recipe.corpus.limits)
    build.clear(corpus.units)  # the corpus stands: nothing goes on from them any more
    prepared = Prepared(made["corpus"], made["tokenizer"], made["tokens"], made.get(starts.KIND))
    if recipe.objective.compared:
        prepared = dataclasses.replace(prepared, reference=_reference(RunData(recipe, prepared), workspace))
    if recipe.apart is not None:
        general = _prepare(recipe.apart[1], workspace, run, prepared.tokenizer).prepared
        prepared = dataclasses.replace(prepared, replay=(general.corpus, general.tokens))
    return RunData(recipe, prepared)


def _reference(data: RunData, workspace: Workspace) -> Artifact:
    from textmill.stages.preparation.reference import Reference

    stage, prepared = Reference(data, workspace), data.prepared
    there = {"tokens": prepared.tokens, starts.KIND: prepared.start}
    parents = [parent for kind in stage.parents if (parent := there[kind]) is not None]
    return workspace.artifact(
        stage.kind,
        version=stage.version,
        spec=stage.decides(),
        parents=parents,
        make=lambda directory: stage.make(directory, there),
        name=data.recipe.name,
    )


def still_there(run: Run, workspace: Workspace) -> RunData | None:
    """What lineage says a run was trained on, every byte of it as it was written; None where that is gone.

    Raises DamagedError when it is there, and not what was written.
    """
    recipe = run.recipe()
    compared = ("reference",) if recipe.objective.compared else ()
    wanted = ("corpus", "tokenizer", "tokens", *compared)
    above: dict[str, Artifact] = {}
    # what a run was trained on that this one began with is another's
    items = lineage.walk(lineage.read_lineage(run.path), workspace.root, last="run")
    for _, item in items:
        if isinstance(item, Artifact):
            if item.kind in wanted:
                above.setdefault(item.kind, item)
        elif item["kind"] in wanted and item["state"].startswith("damaged"):
            advice = f"{_remade(run)}, in a folder where the sources are unchanged"
            raise DamagedError(f"is {item['state']}", where=f"{item['kind']} of {run.name}", advice=advice)
    if not above.keys() >= set(wanted):
        return None
    advice = f"{_remade(run)}, in a folder where the sources are unchanged"
    found = {kind: lineage.require(above[kind], workspace.root, advice) for kind in wanted}
    prepared = Prepared(
        found["corpus"], found["tokenizer"], found["tokens"], reference=found.get("reference")
    )
    if recipe.start is not None and recipe.start.hash is not None:
        prepared = dataclasses.replace(prepared, start=starts.kept(workspace, recipe.start.hash))
    if recipe.replay is not None:
        general = _general(run, workspace)
        if general is None:
            return None
        corpus, tokens = (lineage.require(item, workspace.root, advice) for item in general)
        prepared = dataclasses.replace(prepared, replay=(corpus, tokens))
    return RunData(recipe, prepared)


def _general(run: Run, workspace: Workspace) -> tuple[Artifact, Artifact] | None:
    """Corpus and tokens of the general text a run is trained on beside its own; None where they are gone."""
    record = lineage.read_lineage(run.path)
    items = [item for _, item in lineage.walk(record, workspace.root) if isinstance(item, Artifact)]
    tokens = next((item for item in items if item.id == record.spec.get("replay")), None)
    if tokens is None:
        return None
    above = (item for _, item in lineage.walk(tokens, workspace.root) if isinstance(item, Artifact))
    corpus = next((item for item in above if item.kind == "corpus"), None)
    return None if corpus is None else (corpus, tokens)


def trained_on(run: Run, workspace: Workspace) -> RunData:
    """What a run was trained on, found through its lineage: its sources may be gone, or others by now.

    Where the artifacts are gone too, its recipe is prepared again. Raises TextmillError when that gives other text,
    DamagedError where what is there was changed after it was written.
    """
    if (data := still_there(run, workspace)) is not None:
        return data
    workspace.reporter.warn(f"what {run.name} was trained on no longer exists; its recipe is prepared again")
    data = prepare(run.recipe(), workspace)
    if data.prepared.tokens.id != lineage.read_lineage(run.path).spec["tokens"]:
        raise TextmillError(
            "the text it was trained on no longer exists, and its sources have changed since",
            where=f"run {run.name}",
            advice="restore the sources as they were",
        )
    return data


def _remade(run: Run) -> str:
    return f"`textmill prepare {os.path.relpath(run.recipe_file)}` makes it again"


def runner(kind: str, workers: int | None) -> Runner | None:
    """Who makes the units: `local` processes or `ray` tasks, so many at a time; None: as many as are worth it.

    Raises TextmillError when Ray is asked for and not installed.
    """
    if kind == "ray":
        from textmill.text.corpus import ray_runner

        return ray_runner.ray(workers or usable_cores())
    return build.processes(workers) if workers else None


def summary(data: RunData) -> dict[str, Any]:
    """What was prepared: counts by split, what was skipped, why and where, and where the artifacts are."""
    from textmill.stages.preparation import fit

    report, prepared = data.corpus.report, data.prepared
    manifests = {
        part: renamed.current(read_json(prepared.tokens.path / part / "manifest.json")) for part in PARTS
    }
    counts = {part: _tokens(manifest) for part, manifest in manifests.items()}
    size, tokens = sum(manifest["bytes"] for manifest in manifests.values()), sum(counts.values())
    aside: Counter[str] = Counter()
    first: dict[str, str] = {}
    for manifest in manifests.values():
        aside.update(manifest.get("skipped", {}))
        first = manifest.get("skipped_first", {}) | first
    found = read_json(prepared.tokens.path / RECORDS) if "fields" in manifests["train"] else None
    return {
        "corpus": report,
        "splits": {part: report["splits"][part] | {"tokens": counts[part]} for part in PARTS},
        "records_skipped": dict(aside),
        "records_skipped_first": first,
        "rejected": str(prepared.corpus.path / "rejected.jsonl"),
        "card": str(card_of((prepared.tokens if found else prepared.corpus).path)),
        "records": found,
        "warnings": [*(fit.warnings(found, report) if found else []), *notes(data)],
        "vocabulary": manifests["train"]["vocabulary"],
        "bytes_per_token": size / max(tokens, 1),
        "artifacts": {
            item.kind: str(item.path) for item in (prepared.corpus, prepared.tokenizer, prepared.tokens)
        },
    }


def notes(data: RunData) -> list[str]:
    """What became of the training records that a person should know."""
    from textmill.data.examples import ExampleStore

    store = data.store("train")
    return data.objective.notes(store) if isinstance(store, ExampleStore) else []


def _tokens(manifest: Mapping[str, Any]) -> int:
    """Ids in a store of either kind."""
    if "fields" not in manifest:
        return manifest["tokens"]
    return sum(field["values"] for field in manifest["fields"].values() if field["dtype"].startswith("uint"))
