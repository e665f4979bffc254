"""Judging any model by rows that say what is right: predictions, scores, baselines, slices, errors, one report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from textmill.base.errors import RecipeError, TextmillError
from textmill.base.files import check_free, write_text
from textmill.inference.predictor import Predictor
from textmill.metrics import calibration
from textmill.metrics.score import Bootstrap
from textmill.objectives.evaluation import EvaluationResult
from textmill.stages.evaluation import analysis, page
from textmill.stages.judging import beside, rows
from textmill.stages.judging.rows import Files, Rows
from textmill.stages.preparation.prepare import still_there
from textmill.stages.use.model import LanguageModel
from textmill.stages.workspace.locate import locate
from textmill.stages.workspace.workspace import Workspace
from textmill.tasks.prediction import Refused
from textmill.tasks.retrieve import RETRIEVE
from textmill.tasks.table import TASKS, task_named
from textmill.tasks.task import Options, Record, Task

Training = analysis.Training


@dataclass(frozen=True, kw_only=True)
class Asked:
    """How rows are to be judged.

    task     the task's name; None: the model's own, or choices where the rows hold some
    train    files of training rows for the baselines and the nearest documents; None: what the model's run was
             trained on, where that is here
    beside   another model, or a file of what another system or a person said of each row; None: nothing
    options  what is asked of predictions
    """

    task: str | None = None
    train: Files | None = None
    beside: str | None = None
    options: Options = Options()
    resamples: int = 1000


@dataclass(frozen=True, eq=False)
class Judged:
    """What was found, as plain data, and what it was found from."""

    result: dict[str, Any]
    task: Task
    rows: Rows
    predictions: list[Any]


def evaluate_rows(
    workspace: Workspace, target: str, files: Files, asked: Asked, *, out: Path | None = None
) -> dict[str, Any]:
    """The report of a model on the rows of files, as plain data, with a comparison where one is asked for; as a page,
    too, where a place for it is named. Raises TextmillError where something stands there already."""
    if out is not None:
        check_free(out)
    if asked.beside is not None and not _is_file(asked.beside):
        locate(workspace, asked.beside)
    judged = judge_files(workspace, target, files, asked)
    result = judged.result
    if asked.beside is not None:
        other = _said_by_other(workspace, asked, judged)
        name, resamples = asked.beside, asked.resamples
        result["beside"] = beside.compare(
            judged.task, judged.rows.records, judged.predictions, other, name, resamples
        )
    if out is not None:
        write_text(out, page.whole(result), private=False)
        result["page"] = str(out)
    return result


def _is_file(named: str) -> bool:
    """Whether this is a file of what was said, and no model."""
    return Path(named).is_file() and Path(named).suffix.lower() != ".gguf"


def _said_by_other(workspace: Workspace, asked: Asked, judged: Judged) -> list[Any]:
    """What the other system says of the same rows."""
    assert asked.beside is not None
    records = judged.rows.records
    if _is_file(asked.beside):
        return beside.of_file(Path(asked.beside), judged.task, records)
    other = LanguageModel(workspace, asked.beside)
    options = replace(other.predictor(asked.options).options, **judged.task.asked)
    return list(Predictor(other.pretrained, options, task=judged.task).predict(records))


def judge_files(workspace: Workspace, target: str, files: Files, asked: Asked) -> Judged:
    """Any published model, or a run, on the rows of files. Raises RecipeError for a file that is not there."""
    for given in (files, asked.train):
        if given is not None:
            given.check()
    model = LanguageModel(workspace, target)
    for text in model.pretrained.warnings:
        workspace.reporter.warn(text)
    predictor = model.predictor(asked.options)
    task = _task(predictor, files, asked.task)
    spec, training = _trained_on(workspace, target, task)
    if spec is None and not task.forms:
        spec = rows.spec_of(task, model.pretrained)
    if asked.train is not None:
        learnt = rows.of_files(asked.train, task, spec, workspace.reporter)
        training = lambda: zip(learnt.documents, learnt.records, strict=True)  # noqa: E731
    read = rows.of_files(files, task, spec, workspace.reporter)
    options = replace(predictor.options, **task.asked)
    if options.unsandboxed:
        workspace.reporter.warn(
            "the sandbox is not required: where the kernel cannot confine it, code that a model wrote runs with all "
            "your rights, and may read, change and send whatever you may"
        )
    judged = judge(
        Predictor(model.pretrained, options, task=task), read, training, Bootstrap(asked.resamples), workspace
    )
    judged.result.update(model=target, on=str(files), task=task.name)
    return judged


def _task(predictor: Predictor, files: Files, name: str | None) -> Task:
    if name is not None:
        return task_named(name)
    writes = predictor.pretrained.writes and not predictor.pretrained.reads_source
    if predictor.task is TASKS["embed"]:
        return RETRIEVE
    if writes:
        for task in TASKS.values():
            if task.forms and rows.form_of(files, task) is not None:
                return task
    return predictor.task


def _trained_on(workspace: Workspace, target: str, task: Task) -> tuple[Any, Training | None]:
    """The objective that the model's run was trained by, and its training records, where both are here."""
    run = locate(workspace, target).run
    if run is None or not run.exists or task.forms:
        return None, None
    spec = run.recipe().objective
    if spec.kind not in task.objectives.values():
        return None, None
    try:
        data = still_there(run, workspace)
    except TextmillError:
        data = None
    if data is None:
        workspace.reporter.note("what it was trained on is not here, so there are no baselines that learn")
        return spec, None
    return spec, lambda: ((document, rows.as_record(document, spec)) for document in data.documents("train"))


def judge(
    predictor: Predictor, read: Rows, training: Training | None, bootstrap: Bootstrap, workspace: Workspace
) -> Judged:
    """Predictions of rows, and all that is said of them.

    1. What the model says of each row. 2. Its scores. 3. Those of baselines, learnt from the same training rows.
    4. Slices, the worst errors and what is near them. 5. What to do next.
    """
    task, reporter, records = predictor.task, workspace.reporter, read.records
    if task.figures is None:
        raise RecipeError(f"nothing is scored of {task.name}", where="--task")
    predictions = []
    for said in predictor.predict(records):
        predictions.append(said)
        reporter.progress("predicting", len(predictions), len(records), "rows")
    how = task.how(predictor.pretrained, predictor.options)
    scores = {
        name: replace(score, signature=f"{score.signature}|{how}" if how else score.signature)
        for name, score in task.metrics(predictions, records, bootstrap).items()
    }
    if not scores:
        raise RecipeError(f"nothing is scored of {task.name}", where="--task")
    refused = Counter(said.reason for said in predictions if isinstance(said, Refused))
    more = {
        "read": read.read,
        "skipped": read.skipped,
        "refused": refused.total(),
        "reasons": dict(refused),
        "cut": sum(bool(getattr(said, "cut", 0)) for said in predictions),
        "trained_on": 0 if training is None else analysis.trained_on(read.documents, training),
        **task.details(predictions, records),
        **_reliable(task, predictions, records),
        **analysis.further(task, predictions, records, read.documents, training),
    }
    family = predictor.pretrained.spec.kind
    baselines = analysis.baselines(task, family, records, training, bootstrap)
    size = sum(document.bytes for document in read.documents)
    found = EvaluationResult(scores, baselines, len(records), task.count(records), size, more)
    result = found.plain()
    result["next"] = analysis.advice(result)
    return Judged(result, task, read, predictions)


def _reliable(task: Task, predictions: Sequence[Any], records: Sequence[Record]) -> dict[str, Any]:
    """The reliability curve, where the model says how sure it is."""
    if task.confidence is None:
        return {}
    sure, right = task.confidence(predictions, records)
    return {"calibration": {"reliability": calibration.reliability(sure, right)}} if len(sure) else {}
