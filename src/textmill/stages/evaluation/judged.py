"""A run judged by what its model says of held-out records: its predictions, as its task judges those of any model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from textmill.base.console import tracked
from textmill.data.batch import IGNORE
from textmill.data.examples import ExampleStore
from textmill.data.view import sample
from textmill.inference.predictor import Predictor
from textmill.metrics import calibration
from textmill.models.pretrained import Pretrained
from textmill.objectives.evaluation import EvaluationInput, EvaluationResult
from textmill.stages.evaluation import analysis
from textmill.stages.workspace.facts import facts, records_of
from textmill.stages.workspace.run_data import RunData
from textmill.tasks.prediction import Prediction, Refused
from textmill.tasks.table import task_trained_by
from textmill.tasks.task import Calibration, Options, Record, Task, record_of
from textmill.text.document import Document

OPTIONS = Options(truncate=True)


def judged(inputs: EvaluationInput, data: RunData) -> EvaluationResult:
    """How well a model does: by its predictions, where its objective is judged so, and by what the objective measures.

    Sources longer than the model reads are cut, and counted; other records of which nothing can be said are wrong.
    """
    objective, task = data.objective, task_trained_by(data.recipe)
    if not objective.judged or task is None:
        assert objective.measure is not None
        return objective.measure(inputs)
    numbers = chosen(inputs)
    documents = inputs.documents(numbers)
    records = [record_of(document, data.recipe.objective) for document in documents]
    plain = data.pretrained(inputs.model, facts(data))
    bootstrap, fitted = inputs.bootstrap.of(numbers), _calibration(task, plain, data)
    told = {} if fitted is None else {"calibration": fitted.plain()}
    predictions = _predicted(replace(plain, info={**plain.info, **told}), task, records)
    store = inputs.loader.store
    more = {**task.details(predictions, records), "unseen_labels": _unseen(store, numbers)}
    if fitted is not None and task.confidence is not None:
        before = predictions if fitted.temperature == 1.0 else _predicted(plain, task, records)
        more["calibration"] = {**fitted.plain(), **_reliable(task, (before, predictions), records)}
    more |= _counted(predictions)
    more |= analysis.further(task, predictions, records, documents, lambda: _pairs(data, "train"))
    size = int(store.bytes[numbers].sum())
    how, targets = task.how(plain, OPTIONS), task.count(records)
    scores = {
        name: replace(score, signature=f"{score.signature}|{how}" if how else score.signature)
        for name, score in task.metrics(predictions, records, bootstrap).items()
    }
    if objective.measure is not None:
        also = objective.measure(inputs)
        scores, targets = {**scores, **also.scores}, also.targets
    family = data.recipe.model.kind
    baselines = analysis.baselines(task, family, records, lambda: _pairs(data, "train"), bootstrap)
    return EvaluationResult(scores, baselines, len(numbers), targets, size, more)


def chosen(inputs: EvaluationInput) -> np.ndarray:
    """(n,) numbers of the records that are scored, rising: all, or a sample whose rows have so many tokens."""
    view = inputs.loader.view
    sizes = np.bincount(view.record, view.sizes(), len(view.store)).astype(np.int64)
    return np.sort(sample(sizes, inputs.spec.tokens))


def _pairs(data: RunData, part: str) -> Iterator[tuple[Document, Record]]:
    return ((document, record_of(document, data.recipe.objective)) for document in data.documents(part))


def _predicted(pretrained: Pretrained, task: Task, records: Sequence[Record]) -> list[Prediction | Refused]:
    said = Predictor(pretrained, replace(OPTIONS, **task.asked), task=task).predict(records)
    return list(tracked(said, "predicting", len(records), "records"))


def _calibration(task: Task, pretrained: Pretrained, data: RunData) -> Calibration | None:
    """Fitted on the validation split; None where it is what is scored, or too small."""
    if task.calibrate is None or data.recipe.evaluation.split != "test":
        return None
    records = [record for record in records_of(data, "validation") if task.gold(record) is not None]
    found = zip(task.prepare(pretrained, records, Options()), records, strict=True)
    pairs = [(read, record) for read, record in found if not isinstance(read, Refused)]
    return (
        task.calibrate(pretrained, [read for read, _ in pairs], [one for _, one in pairs]) if pairs else None
    )


def _reliable(
    task: Task, sides: tuple[Sequence[Prediction | Refused], ...], records: Sequence[Record]
) -> dict[str, Any]:
    """How often what is said is right, and how often it claims to be, before calibration and after."""
    assert task.confidence is not None
    found: dict[str, Any] = {}
    for name, side in zip(("before", "after"), sides, strict=True):
        sure, right = task.confidence(side, records)
        if len(sure):
            scores = calibration.calibrated(sure, right)
            found[name] = {label: score.value for label, score in scores.items()}
            found["reliability"] = calibration.reliability(sure, right)
    return found


def _counted(predictions: Sequence[Prediction | Refused]) -> dict[str, int]:
    """Records that were refused, and those whose ends were not read."""
    counts = {
        "refused": sum(isinstance(said, Refused) for said in predictions),
        "cut": sum(bool(getattr(said, "cut", 0)) for said in predictions),
    }
    return {name: number for name, number in counts.items() if number}


def _unseen(store: ExampleStore, chosen: np.ndarray) -> dict[str, int]:
    """Labels that the training split lacks, which no model of it says, and how often each holds."""
    if not store.unseen:
        return {}
    values = np.concatenate([store.field("value", int(record)) for record in chosen])
    known = len(store.labels or ())
    counts = np.bincount(values[values != IGNORE].astype(np.int64), minlength=known + len(store.unseen))
    return {name: int(count) for name, count in zip(store.unseen, counts[known:], strict=True) if count}
