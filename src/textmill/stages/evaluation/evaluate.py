"""How good a model is: what its objective is measured by, intervals and baselines, on the test part or on files."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textmill.base import files, schema
from textmill.base.errors import TextmillError
from textmill.specs.corpus import FilesSource, LimitSpec
from textmill.specs.model import READ_AND_WRITE
from textmill.specs.recipe import EvaluationSpec
from textmill.stages.preparation.prepare import trained_on
from textmill.stages.workspace import remembrance
from textmill.stages.workspace.locate import locate_model, locate_run
from textmill.stages.workspace.run import Run
from textmill.stages.workspace.run_data import RunData
from textmill.stages.workspace.workspace import Workspace

if TYPE_CHECKING:
    from textmill.stages.workspace.weights import Weights

_SAMPLE = 120  # tokens of a sample at most


def evaluate(workspace: Workspace, target: str, *, files: Sequence[Path] = ()) -> dict[str, Any]:
    """Score a run on its test part, or any language model on files; see `evaluate_run` and `evaluate_files`."""
    if files:
        return evaluate_files(workspace, target, files)
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

    data = trained_on(run, workspace)
    recipe = data.recipe
    decided = {
        "version": 2,
        "weights": weights.id,
        "tokens": data.prepared.tokens.id,
        "evaluation": schema.write(recipe.evaluation),
        "generation": schema.write(recipe.generation),
    }
    key = files.value_id(decided)
    if (report := run.report()) and report.get("key") == key:
        workspace.reporter.stage("evaluate", "up to date")
        return report
    workspace.reporter.stage(
        "evaluate", "being made", "no report yet" if report is None else "its weights or spec changed"
    )
    inputs = EvaluationInput(weights.build(data), data, workspace.reporter)
    result: dict[str, Any] = {
        "key": key,
        "model": run.name,
        "step": weights.step,
        "on": f"the {recipe.evaluation.part} part of its corpus",
        "objective": recipe.objective.kind,
        **data.objective.measure(inputs).plain(),
    }
    result["samples"] = _samples(inputs.model, data)
    run.write_report(result)
    headline = result["table"][0]["value"], result["headline"]
    workspace.reporter.stage("evaluate", "done", "{:.3f} {}".format(*headline))
    return result


def evaluate_files(workspace: Workspace, target: str, paths: Sequence[Path]) -> dict[str, Any]:
    """Bits per byte of a published language model on files of any readable kind. There is no training text to condition
    baselines on.

    Raises TextmillError when the model does not go on with text: what it is to say of a file, the file does not hold.
    """
    from textmill.data import tokens
    from textmill.interop.load import load
    from textmill.models.model import Generator, SourceReader
    from textmill.objectives.causal import CAUSAL
    from textmill.objectives.text_evaluation import language_model
    from textmill.text.document import Document
    from textmill.text.sources import table

    directory = locate_model(workspace, target)
    published = load(directory)
    if not isinstance(published.model, Generator) or isinstance(published.model, SourceReader):
        raise TextmillError(
            "does not go on with text, so plain files cannot tell how good it is",
            where=directory,
            advice="`textmill evaluate RUN` scores the run it comes from on records held back",
        )
    source = FilesSource(paths=tuple(str(path) for path in paths))
    items = list(table.read_documents(source, LimitSpec(), Path.cwd()))
    documents = [item for item in items if isinstance(item, Document)]
    for item in items:
        if not isinstance(item, Document):
            workspace.reporter.warn(f"{item.source}: set aside: {item.reason}")
    if not documents:
        raise TextmillError("hold no text that can be read", where=", ".join(map(str, paths)))
    with tempfile.TemporaryDirectory() as folder:
        tokens.write_tokens(Path(folder) / "store", documents, published.tokenizer)
        store = tokens.TokenStore(Path(folder) / "store")
        spec = EvaluationSpec(baselines=())
        result, _ = language_model(published.model, store, spec, workspace.reporter, published.spec.context)
        return {
            "model": str(directory),
            "on": ", ".join(map(str, paths)),
            "objective": CAUSAL.kind,
            **result.plain(),
        }


def _samples(model: Any, data: RunData) -> list[dict[str, Any]]:
    """What the model writes of the recipe's prompts: what comes after them, or of what it reads; headed models and
    encoders write nothing."""
    from textmill.decoding.prompt import of_text
    from textmill.decoding.stream import generate_text
    from textmill.stages.use.generate import collect

    prompts = data.recipe.evaluation.samples
    if not prompts or not data.objective.writes:
        return []
    recipe, tokenizer = data.recipe, data.tokenizer
    start = data.special.start if recipe.model.kind in READ_AND_WRITE else None
    spec = dataclasses.replace(recipe.generation, tokens=min(recipe.generation.tokens, _SAMPLE))
    texts = [of_text(tokenizer, text, start=start) for text in prompts]
    return collect(generate_text(model, tokenizer, texts, spec), prompts)
