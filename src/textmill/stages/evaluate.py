"""How good a model is: bits per byte with its interval on the test part or on any file, and baselines beside it."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from textmill.base import files, schema
from textmill.base.corpus_spec import FilesSource, LimitSpec
from textmill.base.errors import TextmillError
from textmill.base.run import Run
from textmill.base.spec import EvaluationSpec, Recipe
from textmill.metrics import baselines, perplexity
from textmill.metrics.score import Score
from textmill.stages.locate import locate_model, locate_run
from textmill.stages.prepare import Prepared, trained_on
from textmill.stages.workspace import Workspace

if TYPE_CHECKING:
    from textmill.data.tokens import TokenStore

_ROWS = 8192  # positions scored at once
_OVERLAP = 0.5  # share of the context that later pieces of a long document start with


def evaluate(space: Workspace, target: str, *, files: Sequence[Path] = ()) -> dict[str, Any]:
    """Score a run on its test part, or any model on files; see `evaluate_run` and `evaluate_files`."""
    if files:
        return evaluate_files(space, target, files)
    return evaluate_run(locate_run(space, target), space)


def evaluate_run(run: Run, space: Workspace) -> dict[str, Any]:
    """Score a run's best weights on the part its recipe names, with baselines and samples.

    Writes evaluation/report.json. A report of the same weights, data and spec is read, not made again.
    """
    from textmill.stages.weights import best_weights

    recipe = run.recipe()
    prepared = trained_on(run, space)
    weights = best_weights(run)
    decided = {
        "version": 1,
        "weights": weights.id,
        "tokens": prepared.tokens.id,
        "evaluation": schema.write(recipe.evaluation),
        "generation": schema.write(recipe.generation),
    }
    key = files.value_id(decided)
    if (report := run.report()) and report.get("key") == key:
        space.reporter.stage("evaluate", "up to date")
        return report
    space.reporter.stage(
        "evaluate", "being made", "no report yet" if report is None else "its weights or spec changed"
    )
    part = recipe.evaluation.part
    corpus = prepared.open_corpus()
    model = weights.build(recipe, prepared)
    result: dict[str, Any] = {
        "key": key,
        "model": run.name,
        "step": weights.step,
        "on": f"the {part} part of its corpus",
    }
    result |= _scored(
        model,
        _store(prepared, part),
        recipe.evaluation,
        space,
        sequence=recipe.model.context,
        train=_store(prepared, "train"),
        texts=lambda name: (document.text for document in corpus.documents(name)),
    )
    result["samples"] = _samples(model, recipe, prepared)
    files.write_json(run.evaluation / "report.json", result)
    space.reporter.stage("evaluate", "done", f"{result['scores']['bits_per_byte']:.3f} bits per byte")
    return result


def evaluate_files(space: Workspace, target: str, paths: Sequence[Path]) -> dict[str, Any]:
    """Score a published model on files of any readable kind. There is no training text to condition baselines on."""
    from textmill.data import tokens
    from textmill.interop import huggingface
    from textmill.text.document import Document
    from textmill.text.sources import table

    directory = locate_model(space, target)
    published = huggingface.read(directory)
    source = FilesSource(paths=tuple(str(path) for path in paths))
    items = list(table.read(source, LimitSpec(), Path.cwd()))
    documents = [item for item in items if isinstance(item, Document)]
    for item in items:
        if not isinstance(item, Document):
            space.reporter.warn(f"{item.source}: set aside: {item.reason}")
    if not documents:
        raise TextmillError("hold no text that can be read", where=", ".join(map(str, paths)))
    with tempfile.TemporaryDirectory() as folder:
        tokens.write(Path(folder) / "store", documents, published.tokenizer)
        store = tokens.TokenStore(Path(folder) / "store")
        spec = EvaluationSpec(baselines=())
        result = {"model": str(directory), "on": ", ".join(map(str, paths))}
        return result | _scored(published.model, store, spec, space, sequence=published.spec.context)


def _store(prepared: Prepared, part: str) -> TokenStore:
    from textmill.data.tokens import TokenStore

    return TokenStore(prepared.tokens.path / part)


def _scored(
    model: Any,
    store: TokenStore,
    spec: EvaluationSpec,
    space: Workspace,
    *,
    sequence: int,
    train: TokenStore | None = None,
    texts: Any = None,
) -> dict[str, Any]:
    """Scores of a model on a store, and the table in which its baselines stand beside it."""
    from textmill.data.loader import evaluation_batches
    from textmill.training.scoring import score_documents

    if not len(store):
        raise TextmillError(
            f"the {spec.part} part is empty",
            where="corpus.split",
            advice="give it a larger share, or more text",
        )
    overlap = int(sequence * _OVERLAP)
    batches = evaluation_batches(
        store, sequence, max(1, _ROWS // sequence), overlap=overlap, tokens=spec.tokens
    )
    total = min(store.tokens, spec.tokens or store.tokens)
    nats, targets = score_documents(
        model,
        batches,
        len(store),
        progress=lambda done: space.reporter.progress("scoring", done, total, "tokens"),
    )
    # A sample cuts its last document short: its bytes count in the share of its tokens that was scored.
    lengths = store.offsets[1:] - store.offsets[:-1]
    read = targets > 0
    sizes = store.bytes * (targets / lengths)
    scores = perplexity.language_model(
        nats[read],
        targets[read],
        sizes[read],
        resamples=spec.bootstrap,
        how=f"context:{sequence}|overlap:{overlap}",
    )
    table = {"this model": scores["bits per byte"]}
    if train is not None:
        space.reporter.note("scoring the baselines on the same text")
        table |= _baselines(spec, store, train, texts, np.flatnonzero(read))
    return {
        "scores": {name.replace(" ", "_"): score.value for name, score in scores.items()},
        "details": {name: score.plain() for name, score in scores.items()},
        "table": [{"name": name, **score.plain()} for name, score in table.items()],
        "documents": int(read.sum()),
        "targets": int(targets.sum()),
        "bytes": int(sizes.sum()),
    }


def _baselines(
    spec: EvaluationSpec, store: TokenStore, train: TokenStore, texts: Any, chosen: np.ndarray
) -> Mapping[str, Score]:
    """Scores of the baselines on the `chosen` documents of a part: those the model was scored on."""
    found: dict[str, Score] = {}
    if "unigram" in spec.baselines:
        ids = [store.document(document) for document in chosen]
        offsets = np.cumsum([0, *map(len, ids)])
        found["unigram"] = baselines.unigram(
            train.ids,
            np.concatenate(ids),
            offsets,
            store.bytes[chosen],
            store.vocabulary,
            resamples=spec.bootstrap,
        )
    if names := [name for name in spec.baselines if name != "unigram"]:
        wanted = set(chosen.tolist())
        test = (text for place, text in enumerate(texts(spec.part)) if place in wanted)
        found |= baselines.compressors(names, texts("train"), test, limit=spec.baseline_bytes)
    return {name: found[name] for name in spec.baselines}


def _samples(model: Any, recipe: Recipe, prepared: Prepared) -> list[dict[str, Any]]:
    from textmill.decoding.stream import generate_text
    from textmill.stages.generate import collect

    prompts = recipe.evaluation.samples
    if not prompts:
        return []
    spec = dataclasses.replace(recipe.generation, tokens=min(recipe.generation.tokens, 120))
    return collect(generate_text(model, prepared.open_tokenizer(), prompts, spec), prompts)
