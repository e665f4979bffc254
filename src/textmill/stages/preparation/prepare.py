"""From sources to token ids: the corpus, the tokenizer and the tokens, each made once for what decides it."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from textmill.base import schema
from textmill.base.errors import RecipeError, TextmillError
from textmill.base.files import content_id, read_json, sha256_file, value_id, write_text
from textmill.base.machine import usable_cores
from textmill.specs.cleaning import PersonalDataStep
from textmill.specs.objective import PairsObjective
from textmill.specs.recipe import Recipe
from textmill.stages.workspace import lineage
from textmill.stages.workspace.forget_list import forgotten
from textmill.stages.workspace.lineage import Artifact
from textmill.stages.workspace.prepared import PARTS, Prepared
from textmill.stages.workspace.run import Run
from textmill.stages.workspace.workspace import Workspace
from textmill.text.cleaning.privacy.step import secret_id
from textmill.text.cleaning.steps import STEP_FILES
from textmill.text.corpus import build
from textmill.text.corpus.build import Runner
from textmill.text.corpus.corpus import Corpus
from textmill.text.document import Document
from textmill.text.sources import table
from textmill.tokenization import load

_DECIDE = (
    "kind",
    "target",
    "label",
    "multiple",
    "tags",
    "question",
    "answer",
)  # of an objective: what records hold
_PARTS_SECONDS = 7 * 24 * 3600  # how long what was half done is kept when another corpus is made


def prepare(recipe: Recipe, workspace: Workspace, *, run: Runner | None = None) -> Prepared:
    """Whatever is out of date of corpus, tokenizer and tokens is made; the rest is found. `run`: as `collect`."""
    corpus = collect(recipe, workspace, run=run)
    tokenizer = learn_tokenizer(recipe, workspace, corpus)
    return Prepared(corpus, tokenizer, tokenise(recipe, workspace, corpus, tokenizer))


def trained_on(run: Run, workspace: Workspace) -> Prepared:
    """What a run was trained on, found through its lineage: its sources may be gone, or others by now.

    Where the artifacts are gone too, its recipe is prepared again. Raises TextmillError when that gives other text.
    """
    record = lineage.read(run.path)
    above = {item.kind: item for _, item in lineage.walk(record) if isinstance(item, Artifact)}
    if {"corpus", "tokenizer", "tokens"} <= above.keys():
        return Prepared(above["corpus"], above["tokenizer"], above["tokens"])
    workspace.reporter.warn(f"what {run.name} was trained on is gone; its recipe is prepared again")
    prepared = prepare(run.recipe(), workspace)
    if prepared.tokens.id != record.spec["tokens"]:
        raise TextmillError(
            "was trained on text that is gone, and its sources have changed since",
            where=f"run {run.name}",
            advice="put the sources back as they were",
        )
    return prepared


def collect(recipe: Recipe, workspace: Workspace, *, run: Runner | None = None) -> Artifact:
    """Read the sources, prepare them, split, and write the corpus. What cannot be used is set aside with its reason.

    run: who makes the units of it; left out: as many processes as there are cores. Killed and called again, it
    goes on with the units that were finished.
    """
    spec, base = recipe.corpus, Path.cwd()
    inputs, libraries = [], {}
    for source in spec.sources:
        found = table.fingerprint(source, base)
        inputs += map(list, found)
        libraries |= table.libraries(source, (place for place, _ in found))
    inputs += [[f"step {name}", digest] for name, digest in _step_files(recipe, base)]
    gone = forgotten(workspace)
    decided = schema.write(spec) | {"inputs": content_id(json.dumps(inputs)), "libraries": libraries}
    if gone:
        decided["forgotten"] = value_id(sorted(gone))
    parts = workspace.root / "corpus" / f".parts-{value_id(decided)[:16]}"

    def make(directory: Path) -> None:
        _remove_old_parts(parts)
        build.build(directory, spec, base, parts, run=run, forgotten=gone, progress=workspace.reporter.bytes)
        lines = (json.dumps({"place": place, "hash": digest}, ensure_ascii=False) for place, digest in inputs)
        write_text(directory / "inputs.jsonl", "".join(f"{line}\n" for line in lines))

    made = workspace.artifact("corpus", version=2, spec=decided, parents=(), make=make, name=recipe.name)
    build.clear(parts)
    return made


def runner(kind: str, workers: int | None) -> Runner | None:
    """Who makes the units: `local` processes or `ray` tasks, so many at a time; None: as many as are worth it.

    Raises TextmillError when Ray is asked for and not installed.
    """
    if kind == "ray":
        from textmill.text.corpus import ray_runner

        return ray_runner.ray(workers or usable_cores())
    return build.processes(workers) if workers else None


def _step_files(recipe: Recipe, base: Path) -> list[tuple[str, str]]:
    """(name, hash) of what steps read beside documents: files, a secret. Raises RecipeError when one is missing."""
    found = []
    for step in recipe.corpus.steps:
        for name in STEP_FILES.get(type(step), lambda spec: ())(step):
            path = base / Path(name).expanduser()
            if not path.is_file():
                raise RecipeError("there is no such file", where=f"corpus.steps, {step.kind}: {name}")
            found.append((name, sha256_file(path)))
        if isinstance(step, PersonalDataStep) and (told := secret_id(step)):
            found.append(("secret", told))
    return found


def _remove_old_parts(mine: Path) -> None:
    """Forget what other recipes left half done more than a week ago."""
    for folder in mine.parent.glob(".parts-*"):
        if folder != mine and time.time() - folder.stat().st_mtime > _PARTS_SECONDS:
            build.clear(folder)


def learn_tokenizer(recipe: Recipe, workspace: Workspace, corpus: Artifact) -> Artifact:
    """Train the tokenizer on the training part, or take the one the recipe names."""
    from textmill.tokenization import training

    spec = schema.write(recipe.tokenizer)
    if recipe.tokenizer.path is not None:
        path = Path(recipe.tokenizer.path)
        if not path.is_file():
            raise RecipeError("there is no such file", where=f"tokenizer.path: {path}")
        spec |= {"file": sha256_file(path)}

    def make(directory: Path) -> None:
        texts = _said(recipe, Corpus(corpus.path).documents("train"))
        training.train(recipe.tokenizer, texts).save(directory / "tokenizer.json")

    if isinstance(recipe.objective, PairsObjective):
        spec |= {"target": recipe.objective.target}
    parents = () if recipe.tokenizer.path is not None else (corpus,)
    return workspace.artifact("tokenizer", version=1, spec=spec, parents=parents, make=make, name=recipe.name)


def _said(recipe: Recipe, documents: Iterable[Document]) -> Iterator[str]:
    """Every text a model of this recipe will read or write."""
    for document in documents:
        yield document.text
        if isinstance(recipe.objective, PairsObjective):
            yield document.metadata.get(recipe.objective.target, "")


def tokenise(recipe: Recipe, workspace: Workspace, corpus: Artifact, tokenizer: Artifact) -> Artifact:
    """Encode every part of the corpus: plain text into a token store, records into an example store."""
    from textmill.data import examples, loaders, tokens

    objective = recipe.objective
    records = objective.kind in loaders.SUPERVISED

    def make(directory: Path) -> None:
        encoder, source = load.load(tokenizer.path), Corpus(corpus.path)
        labels = None
        for part in PARTS:
            if not records:
                tokens.write(directory / part, source.documents(part), encoder)
                continue
            made = examples.write(directory / part, source.documents(part), objective, encoder, labels=labels)
            if part == "train" and made["labels"] is not None:
                labels = tuple(made["labels"])

    read = (
        {name: value for name, value in schema.write(objective).items() if name in _DECIDE} if records else {}
    )
    return workspace.artifact(
        "tokens", version=1, spec=read, parents=(corpus, tokenizer), make=make, name=recipe.name
    )


def summary(prepared: Prepared) -> dict[str, Any]:
    """What was prepared: counts by part, what was set aside and why, and where the artifacts are."""
    report = prepared.open_corpus().report
    manifests = {part: read_json(prepared.tokens.path / part / "manifest.json") for part in PARTS}
    counts = {part: _tokens(manifest) for part, manifest in manifests.items()}
    size, tokens = sum(manifest["bytes"] for manifest in manifests.values()), sum(counts.values())
    aside = Counter()
    for manifest in manifests.values():
        aside.update(manifest.get("set_aside", {}))
    return {
        "corpus": report,
        "parts": {part: report["parts"][part] | {"tokens": counts[part]} for part in PARTS},
        "records_set_aside": dict(aside),
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
