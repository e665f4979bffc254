"""A label for the whole text, or with `multiple` any number of labels."""

from __future__ import annotations

import functools
import re
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from textmill.base.errors import RecipeError
from textmill.data.batch import IGNORE, Batch
from textmill.data.examples import ExampleStore
from textmill.data.loader import AnyLoader, Batching
from textmill.data.record_view import WholeTextView
from textmill.models.heads import Headed
from textmill.models.model import Model
from textmill.objectives import contrast
from textmill.objectives.loss import Losses, count_labels, cross_entropy, widened
from textmill.objectives.objective import SAYS, Objective, Purpose
from textmill.objectives.records import TextReader, loader_of
from textmill.objectives.show import ShownRow, tokens_read
from textmill.specs.head import ClassifyHead, pooling_for
from textmill.specs.model import TRAINED
from textmill.specs.objective import ClassifyObjective
from textmill.text.document import Document

_BLANKS_OR_COMMAS = re.compile(r"[\s,，、]+")


class ClassifyReader(TextReader):
    """value: numbers of its labels, one, or with `multiple` any number, each once."""

    schema: ClassVar = {"text": "ids", "value": "int32"}
    numbered = ("value",)
    decided: ClassVar = ("text", "pair", "label", "multiple")

    def value(self, document: Document) -> np.ndarray | str:
        """The labels' numbers."""
        name = self.spec.label
        label = self.fact(document, name)
        if label is None:
            return f"no {name}"
        if not self.spec.multiple and not label.strip():
            return f"the {name} is empty"
        return self.numbering.take(labels_of(label, self.spec.multiple))


def labels_of(written: str, several: bool) -> list[str]:
    """The labels that a fact holds: one, or any number told apart by blanks or commas, each once."""
    if not several:
        return [written.strip()]
    return list(dict.fromkeys(part for part in _BLANKS_OR_COMMAS.split(written) if part))


class ClassifyView(WholeTextView):
    """Targets (B,) int64, numbers of labels, IGNORE for one the training split lacks; with `multiple` (B, C) float32
    of 0 and 1."""

    def targets(self, rows: np.ndarray, width: int) -> tuple[Tensor, np.ndarray]:
        """The labels."""
        known = len(self.store.labels or ())
        if not self.spec.multiple:
            values = np.array([self.store.field("value", int(row))[0] for row in rows], dtype=np.int64)
            return torch.from_numpy(np.where(values < known, values, IGNORE)), rows.copy()
        held = labels_held(self.store, rows)[:, :known].astype(np.float32)
        return torch.from_numpy(held), np.broadcast_to(rows[:, None], held.shape).copy()


def labels_held(store: ExampleStore, records: np.ndarray) -> np.ndarray:
    """(n, C + U) bool: which labels each record has, those of the training split and then those it lacks."""
    held = np.zeros((len(records), len(store.labels or ()) + len(store.unseen)), dtype=bool)
    for index, record in enumerate(records.tolist()):
        held[index, store.field("value", record)] = True
    return held


def head(spec: ClassifyObjective, family: str, store: ExampleStore) -> ClassifyHead:
    """A logit for each label of the data, in their order. Raises RecipeError as `pooling_for`."""
    pooling = pooling_for(spec.pooling, family)
    if spec.contrastive is not None:
        if family not in TRAINED:
            raise RecipeError(
                f"a {family} model is made at once, so nothing is drawn together",
                where="objective.contrastive",
                advice="leave it out",
            )
        pooling = spec.pooling or ("last" if pooling == "last" else "mean")
    return ClassifyHead(labels=tuple(store.labels or ()), multiple=spec.multiple, pooling=pooling)


def loader(spec: ClassifyObjective, store: ExampleStore, how: Batching) -> AnyLoader:
    """Texts of nearly equal length together; where they are compared with each other, in groups."""
    if spec.contrastive is None:
        return loader_of(ClassifyView)(spec, store, how)
    return contrast.loader(ClassifyView(spec, store, how.sequence, how.tokens), how.batch, how.seed)


def losses(spec: ClassifyObjective, *, sequence: int, chunk: int | None = None) -> Losses:
    """Cross-entropy, or what draws texts of one label together."""
    if spec.contrastive is None:
        return Losses(loss, loss, count_labels)
    each = functools.partial(contrast.loss, temperature=spec.contrastive)
    return Losses(each, each, count_labels)


def settle(spec: ClassifyObjective, model: Any, loader: AnyLoader) -> None:
    """Fit the head, where no gradient reaches it."""
    if spec.contrastive is not None:
        contrast.settle(model, loader)


def loss(model: Model, batch: Batch) -> tuple[Tensor, Tensor]:
    """One label a text, targets (B,): cross-entropy. Several, (B, C) float of 0, 1 or NaN: a sigmoid each."""
    logits, targets = widened(model(batch)), batch.targets
    if not targets.is_floating_point():
        return cross_entropy(logits, targets), (targets != IGNORE).sum()
    known = ~targets.isnan()
    wanted = targets[known].to(logits.dtype)
    return F.binary_cross_entropy_with_logits(logits[known], wanted, reduction="sum"), known.sum()


@torch.no_grad()
def predict(model: Model, batch: Batch) -> Tensor:
    """(B,) int64, the likeliest label; of several (B, C) bool, likelier than not."""
    logits = widened(model(batch))
    assert isinstance(model, Headed)
    assert isinstance(model.head.spec, ClassifyHead)
    return logits > 0 if model.head.spec.multiple else logits.argmax(-1)


def show(batch: Batch, row: int) -> ShownRow:
    """The text, and the number of its label, or of all that hold."""
    if batch.inputs.dim() == 3:  # a group: its first text
        batch = Batch(
            batch.inputs[row, :1], batch.targets[row, :1], None if batch.mask is None else batch.mask[row, :1]
        )
        row = 0
    target = batch.targets[row]
    label = None if target.dim() == 0 and int(target) == IGNORE else target.tolist()
    if isinstance(label, list):  # 0 or 1 for each label
        label = tuple(number for number, held in enumerate(label) if held == 1)
    return ShownRow([token for _, token in tokens_read(batch, row)], label=label)


CLASSIFY = Objective(
    spec=ClassifyObjective,
    reader=ClassifyReader,
    loader=loader,
    head=head,
    losses=losses,
    settle=settle,
    loss_unit="nats per label",
    predict=predict,
    show=show,
    judged=True,
    next=("predict {run} 'a text to label'", "trace {run} 'a text to label'"),
    purpose=Purpose(
        "text-classification",
        "text classification",
        "Labelling texts of the kind it was trained on.",
        SAYS,
        "它只会为文本给出训练时见过的标签，任何文本都会得到标签，可能有误；使用前请人工核对。",
        loads=True,
    ),
)
