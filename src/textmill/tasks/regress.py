"""Numbers of whole texts. Of a text longer than the model reads, the mean over windows that overlap by half.

Shapes: D texts, C numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from textmill.metrics import numbers
from textmill.metrics.score import Bootstrap, Figures, Score
from textmill.models.pretrained import Pretrained
from textmill.objectives.regress import REGRESS as OBJECTIVE
from textmill.objectives.regress import number_of
from textmill.tasks import classify
from textmill.tasks.baselines import linear
from textmill.tasks.prediction import Number, Prediction
from textmill.tasks.reasons import reasons
from textmill.tasks.task import Baseline, Field, Options, Record, Task


def predict(pretrained: Pretrained, reads: Sequence[Any], options: Options) -> list[Prediction]:
    """The numbers."""
    if not reads:
        return []
    said = [Number(tuple(values.tolist())) for values in classify.logits(pretrained, reads)]
    if not options.why:
        return [*said]
    why = reasons(pretrained, reads, [0] * len(reads), against=False)
    return [replace(one, why=each) for one, each in zip(said, why, strict=True)]


def gold(record: Record) -> float | None:
    """The number."""
    return number_of(record.get("label", ""))


def metrics(predictions: Sequence[Any], records: Sequence[Record], bootstrap: Bootstrap) -> dict[str, Score]:
    """Squared and absolute error, and correlation. A record that was refused counts as if 0 had been said."""
    return numbers.regression(*_sides(predictions, records), bootstrap)


def figures(predictions: Sequence[Any], records: Sequence[Record]) -> Figures:
    """What the mean squared error is made of, text by text."""
    return numbers.figures(*_sides(predictions, records))


def _sides(predictions: Sequence[Any], records: Sequence[Record]) -> tuple[np.ndarray, np.ndarray]:
    truth = np.array([gold(record) for record in records], dtype=np.float64)
    return truth, np.array([said.values[0] if isinstance(said, Number) else 0.0 for said in predictions])


def mean(records: Sequence[Record]) -> Baseline:
    """The mean of the training records, always."""
    value = float(np.mean([number for record in records if (number := gold(record)) is not None]))
    return Baseline("the training mean", lambda records: [Number((value,))] * len(records))


REGRESS = Task(
    name="regress",
    summary="a number for each text",
    fields=(
        Field("text", "the text to measure"),
        Field("pair", "a second text, where what is said is said of two", needed=False),
    ),
    objectives=dict.fromkeys(OBJECTIVE.spec.families, OBJECTIVE.kind),
    prepare=classify.prepare,
    predict=predict,
    gold=gold,
    metrics=metrics,
    figures=figures,
    baselines={"mean": mean, "linear": linear.numbers},
    purpose="Estimating a number for texts of the kind it was trained on.",
)
