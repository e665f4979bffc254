"""How good a model is: what its objective is measured by, intervals and baselines, on the test split or on files."""

from __future__ import annotations

import dataclasses
import heapq
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textmill.base import files, schema
from textmill.base.errors import DamagedError, RecipeError, TextmillError
from textmill.base.files import scratch
from textmill.base.language import fill, say
from textmill.specs.corpus import FilesSource, LimitSpec
from textmill.specs.model import READ_AND_WRITE
from textmill.specs.recipe import EvaluationSpec
from textmill.stages.preparation.prepare import trained_on
from textmill.stages.workspace import remembrance
from textmill.stages.workspace.locate import locate_model, locate_run
from textmill.stages.workspace.models import load_model
from textmill.stages.workspace.run import Run
from textmill.stages.workspace.run_data import RunData
from textmill.stages.workspace.workspace import Workspace

if TYPE_CHECKING:
    from textmill.data.tokens import TokenStore
    from textmill.models.model import Model
    from textmill.models.pretrained import Pretrained
    from textmill.stages.workspace.weights import Weights

_SAMPLE = 120  # tokens of a sample at most
_SAMPLES = 3


def evaluate(
    workspace: Workspace,
    target: str,
    *,
    files: Sequence[Path] = (),
    context: int | None = None,
    end: bool | None = None,
) -> dict[str, Any]:
    """Score a run on its test part, or any language model on files; see `evaluate_run` and `evaluate_files`.

    Raises RecipeError for a context or an end without files: of a run, they belong to its recipe.
    """
    if files:
        return evaluate_files(workspace, target, files, context=context, end=end is not False)
    for name, value in (("context", context), ("end", end)):
        if value is not None:
            raise RecipeError(
                "applies to files; how a run is scored is set in its recipe",
                where=f"--{name}",
                advice=f"set evaluation.{name} there, or name a --file",
            )
    return evaluate_run(locate_run(workspace, target), workspace)


def evaluate_run(run: Run, workspace: Workspace) -> dict[str, Any]:
    """Score a run's best weights on the part its recipe names, with baselines and samples.

    Writes evaluation/report.json. A report of the same weights, data and spec is read, not made again.
    """
    from textmill.stages.workspace.weights import held

    remembrance.warn(run, workspace)
    with held(run) as weights:
        return evaluate_weights(run, weights, workspace)


def evaluate_weights(run: Run, weights: Weights, workspace: Workspace) -> dict[str, Any]:
    """The same of weights that were chosen already."""
    from textmill.objectives.evaluation import EvaluationInput
    from textmill.stages.evaluation.analysis import advice
    from textmill.stages.evaluation.judged import judged

    data = trained_on(run, workspace)
    recipe = data.recipe
    decided = {
        "version": 6,
        "weights": weights.id,
        "tokens": data.prepared.tokens.id,
        "evaluation": schema.write(recipe.evaluation),
        "generation": schema.write(recipe.generation),
    }
    if data.prepared.replay is not None:
        decided["general"] = data.prepared.replay[1].id
    key = files.value_id(decided)
    try:
        report = run.report()
        why = "no report yet" if report is None else "its weights or spec changed"
    except DamagedError:
        report, why = None, "the report is damaged"
    if report is not None and report.get("key") == key:
        workspace.reporter.stage("evaluate", "up to date")
        return report
    workspace.reporter.stage("evaluate", "being made", why)
    inputs = EvaluationInput(weights.build(data), data, workspace.reporter)
    result: dict[str, Any] = {
        "key": key,
        "model": run.name,
        "step": weights.step,
        "on": f"the {recipe.evaluation.split} split of its corpus",
        "objective": recipe.objective.kind,
        **judged(inputs, data).plain(),
        "skipped": data.store(recipe.evaluation.split).manifest.get("skipped", {}),
    }
    result["next"] = advice(result)
    result["samples"] = _samples(inputs.model, data)
    if data.general is not None:
        result["general"] = _general(inputs.model, data, data.general, workspace)
    run.write_report(result)
    headline = result["table"][0]["value"], result["headline"]
    workspace.reporter.stage("evaluate", "done", fill("{} {}", f"{headline[0]:.3f}", say(headline[1])))
    return result


def _general(model: Model, data: RunData, general: RunData, workspace: Workspace) -> dict[str, Any]:
    """The headline of the general text, of the model as it began and as it is: what was forgotten, if anything."""
    from textmill.objectives.evaluation import EvaluationInput
    from textmill.stages.evaluation.judged import judged

    def headline(some: Model) -> dict[str, Any]:
        result = judged(EvaluationInput(some.eval(), general, workspace.reporter), general)
        return result.scores[result.headline].plain() | {"name": result.headline}

    before, start = None, data.recipe.start
    if start is not None and data.prepared.start is not None and (data.head is None or start.keep_head):
        before = headline(data.model())
    part = data.recipe.evaluation.split
    return {"on": f"the {part} split of the general text", "before": before, "after": headline(model)}


def evaluate_files(
    workspace: Workspace, target: str, paths: Sequence[Path], *, context: int | None = None, end: bool = True
) -> dict[str, Any]:
    """Bits per byte of a published language model on files of any readable kind. There is no training text to condition
    baselines on.

    Each text begins as the model's tokenizer begins one, and is read in windows no longer than itself, than the model
    reads, or than `context` tokens. end: whether the end of a text counts.

    Raises TextmillError when the model does not go on with text: what it is to say of a file, the file does not hold;
    and when its windows need more memory than is free.
    """
    from textmill.data import tokens
    from textmill.metrics.score import Bootstrap
    from textmill.models.model import Generator, SourceReader
    from textmill.objectives.causal import CAUSAL
    from textmill.objectives.text_evaluation import language_model
    from textmill.text.document import Document
    from textmill.text.sources import table

    directory = locate_model(workspace, target)
    published = load_model(workspace, directory)
    for text in published.warnings:
        workspace.reporter.warn(text)
    if not isinstance(published.model, Generator) or isinstance(published.model, SourceReader):
        raise TextmillError(
            "does not continue text, so plain files cannot score it",
            where=directory,
            advice="`textmill evaluate RUN` scores the run it comes from on its held-out records",
        )
    source = FilesSource(paths=tuple(str(path) for path in paths))
    items = list(table.read_documents(source, LimitSpec(), Path.cwd()))
    documents = [item for item in items if isinstance(item, Document)]
    for item in items:
        if not isinstance(item, Document):
            workspace.reporter.warn(f"{item.source}: skipped: {item.reason}")
    if not documents:
        raise TextmillError("hold no readable text", where=", ".join(map(str, paths)))
    with scratch(workspace.root / "evaluated") as folder:
        tokens.write_tokens(folder / "store", documents, published.tokenizer)
        store = tokens.TokenStore(folder / "store")
        store = store.after_end() if published.spec.kind == "ngram" else store
        own = published.spec.context
        spec = EvaluationSpec(baselines=(), context=min(context or own, own), end=end)
        _affordable(published, store, spec, workspace)
        result, _ = language_model(
            published.model,
            store,
            spec,
            workspace.reporter,
            own,
            published.tokenizer,
            Bootstrap(spec.bootstrap),
        )
        return {
            "model": str(directory),
            "on": ", ".join(map(str, paths)),
            "objective": CAUSAL.kind,
            **result.plain(),
        }


def _affordable(published: Pretrained, store: TokenStore, spec: EvaluationSpec, workspace: Workspace) -> None:
    """Say what scoring takes before it is begun. Raises TextmillError when that is more memory than is free."""
    import numpy as np
    import torch

    from textmill.base.console import amount
    from textmill.models import cost
    from textmill.specs.model import TrainedSpec
    from textmill.training.memory import free_bytes

    model, vocabulary = published.spec, published.model.vocabulary
    if not isinstance(model, TrainedSpec) or spec.context is None:
        return  # counted models read tables, whatever the window
    longest = int(np.diff(store.offsets).max())

    def need(context: int) -> int:
        return cost.scoring_bytes(model, vocabulary, min(context, longest))

    free, wanted = free_bytes(torch.device("cpu")), need(spec.context)
    window = min(spec.context, longest)
    workspace.reporter.note(
        f"scoring {store.tokens:,} tokens in windows of {window:,}: about {amount(wanted, 'B')} of memory"
    )
    if wanted > free:
        fits = window
        while fits > 64 and need(fits) > free:
            fits //= 2
        raise TextmillError(
            f"scoring windows of {window:,} tokens takes about {amount(wanted, 'B')} of memory, and "
            f"{amount(free, 'B')} are free",
            where="--file",
            advice=f"use shorter windows: --context {fits}",
        )


def _samples(model: Any, data: RunData) -> list[dict[str, Any]]:
    """What the model writes of the recipe's prompts: what comes after them, or of what it reads. Where the recipe names
    none, of how held-out documents begin, with what they say (`truth`). Headed models and encoders write nothing."""
    from textmill.data.codec import Codec
    from textmill.decoding.prompt import Prompt, of_text
    from textmill.decoding.stream import generate_text
    from textmill.stages.use.generate import collect

    if not data.objective.writes:
        return []
    recipe, tokenizer = data.recipe, data.tokenizer
    named = recipe.evaluation.samples
    pairs = _beginnings(data) if named is None else [(prompt, None) for prompt in named]
    if not pairs:
        return []
    prompts = [prompt for prompt, _ in pairs]
    start = data.special.start if recipe.model.kind in READ_AND_WRITE else None
    spec = dataclasses.replace(recipe.generation, tokens=min(recipe.generation.tokens, _SAMPLE))
    if recipe.objective.converses:
        codec = Codec(tokenizer, template=data.chat)
        asked = ([{"role": "user", "content": text}] for text in prompts)
        texts = [Prompt(codec.chat(messages, answer=True).ids.tolist()) for messages in asked]
    else:
        texts = [of_text(tokenizer, text, start=start) for text in prompts]
    answers = collect(generate_text(model, tokenizer, texts, spec, ends=data.ends), prompts)
    return [
        answer if truth is None else answer | {"truth": truth}
        for answer, (_, truth) in zip(answers, pairs, strict=True)
    ]


def _beginnings(data: RunData) -> list[tuple[str, str]]:
    """Prompts that documents of the scored split make, always the same few, and what the documents say to them."""
    make, objective = data.objective.sample, data.recipe.objective
    if make is None:
        return []
    documents = data.documents(data.recipe.evaluation.split)
    some = heapq.nsmallest(4 * _SAMPLES, documents, key=lambda document: document.id)
    pairs = (make(objective, document, data.tokenizer, _SAMPLE) for document in some)
    return [pair for pair in pairs if all(text.strip() for text in pair)][:_SAMPLES]
