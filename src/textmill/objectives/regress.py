"""A number for the whole text, by least squares."""

from __future__ import annotations

import math
import re
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from textmill.data.batch import Batch
from textmill.data.examples import ExampleStore
from textmill.data.record_view import WholeTextView
from textmill.models.model import Model
from textmill.objectives.loss import count_labels, losses_by, widened
from textmill.objectives.objective import SAYS, Objective, Purpose
from textmill.objectives.records import TextReader, loader_of
from textmill.objectives.show import ShownRow, tokens_read
from textmill.specs.head import RegressHead, pooling_for
from textmill.specs.objective import RegressObjective
from textmill.text.document import Document

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


class RegressReader(TextReader):
    """value: the number."""

    schema: ClassVar = {"text": "ids", "value": "float64"}
    decided: ClassVar = ("text", "pair", "label")

    def value(self, document: Document) -> np.ndarray | str:
        """The number, written as numbers are in programs: `-1.5e3`; no grouping, no comma, no unit."""
        name = self.spec.label
        text = self.fact(document, name)
        if text is None:
            return f"no {name}"
        number = number_of(text)
        return f"the {name} is not a number" if number is None else np.array([number])


def number_of(written: str) -> float | None:
    """A number as it is written in programs, `-1.5e3`; None for anything else."""
    if not _NUMBER.fullmatch(written.strip()) or not math.isfinite(number := float(written)):
        return None
    return number


class RegressView(WholeTextView):
    """Targets (B, 1) float32."""

    def targets(self, rows: np.ndarray, width: int) -> tuple[Tensor, np.ndarray]:
        """The numbers."""
        values = [float(self.store.field("value", int(row))[0]) for row in rows]
        return torch.tensor(values, dtype=torch.float32)[:, None], rows[:, None].copy()


def head(spec: RegressObjective, family: str, store: ExampleStore) -> RegressHead:
    """As many numbers as a record holds. Raises RecipeError as `pooling_for`."""
    outputs = int(store.lengths("value")[0]) if len(store) else 1
    return RegressHead(outputs=outputs, pooling=pooling_for(spec.pooling, family))


def loss(model: Model, batch: Batch) -> tuple[Tensor, Tensor]:
    """Squared errors in place of nats, so that their mean is the mean squared error: targets (B, C) float, or NaN."""
    values, targets = widened(model(batch)), batch.targets
    known = ~targets.isnan()
    return (values[known] - targets[known].to(values.dtype)).square().sum(), known.sum()


@torch.no_grad()
def predict(model: Model, batch: Batch) -> Tensor:
    """(B, C), the numbers."""
    return widened(model(batch))


def show(batch: Batch, row: int) -> ShownRow:
    """The text, and its numbers."""
    return ShownRow([token for _, token in tokens_read(batch, row)], label=tuple(batch.targets[row].tolist()))


REGRESS = Objective(
    spec=RegressObjective,
    reader=RegressReader,
    loader=loader_of(RegressView),
    head=head,
    losses=losses_by(loss, count_labels),
    loss_unit="squared error per number",
    predict=predict,
    show=show,
    judged=True,
    next=("predict {run} 'a text to measure'", "trace {run} 'a text to measure'"),
    purpose=Purpose(
        "text-classification",
        "text regression",
        "Estimating a number for texts of the kind it was trained on.",
        SAYS,
        "它只会为文本估计一个数值，可能有误；使用前请人工核对。",
    ),
)
