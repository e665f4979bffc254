"""The linear model of n-grams as what a model of whole texts is to beat: trained in seconds on the same records."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from textmill.models.linear.features import Row
from textmill.models.linear.fit import Labelled, bag, fit, scores
from textmill.objectives.classify import labels_of
from textmill.specs.model import LinearSpec
from textmill.tasks.prediction import Label, Labels, Number, Prediction
from textmill.tasks.task import Baseline, Record

SPEC = LinearSpec()
NAME = "linear model of n-grams"
_LIKELIER_THAN_NOT = 0.5
Scorer = Callable[[Sequence[Record]], torch.Tensor]  # records -> (N, C)


def labels(records: Sequence[Record]) -> Baseline:
    """Labels of whole texts or of pairs, one or several, learnt from records that have theirs."""
    several = any(len(labels_of(record["label"], True)) > 1 for record in records)
    said = [labels_of(record["label"], several) for record in records]
    names = sorted({name for each in said for name in each})
    number = {name: place for place, name in enumerate(names)}
    if several:
        targets = np.zeros((len(records), len(names)), dtype=bool)
        for row, each in zip(targets, said, strict=True):
            row[[number[name] for name in each]] = True
    else:
        targets = np.array([number[each[0]] for each in said], dtype=np.int64)
    score = scorer(records, targets, len(names))

    def predict(records: Sequence[Record]) -> list[Prediction]:
        logits = score(records)
        if several:
            return [_labels(names, row) for row in logits.sigmoid().tolist()]
        return [_label(names, row) for row in logits.softmax(1).tolist()]

    return Baseline(NAME, predict)


def numbers(records: Sequence[Record]) -> Baseline:
    """A number for each text, learnt from records that have theirs."""
    targets = np.array([[float(record["label"])] for record in records])
    score = scorer(records, targets, 1)
    return Baseline(NAME, lambda records: [Number((row[0],)) for row in score(records).tolist()])


def scorer(records: Sequence[Record], targets: np.ndarray, outputs: int) -> Scorer:
    """The model of records and what is to be said of them (as `models.linear.fit.Labelled`). Raises RecipeError where
    there is nothing to learn from."""
    fitted = fit(SPEC, Labelled([_row(record) for record in records], targets), outputs)
    weight, bias = torch.from_numpy(np.ascontiguousarray(fitted.weight)), torch.from_numpy(fitted.bias)

    def score(records: Sequence[Record]) -> torch.Tensor:
        read, worth = bag(SPEC, fitted.keys, fitted.scale, [_row(record) for record in records])
        return scores(read, torch.from_numpy(worth), weight, bias)

    return score


def _row(record: Record) -> Row:
    return tuple(record[role] for role in ("text", "pair") if role in record)


def _label(names: Sequence[str], p: Sequence[float]) -> Label:
    order = sorted(range(len(names)), key=lambda place: -p[place])
    best, *others = [(names[place], p[place]) for place in order]
    return Label(*best, tuple(others))


def _labels(names: Sequence[str], p: Sequence[float]) -> Labels:
    order = sorted(range(len(names)), key=lambda place: -p[place])
    return Labels(tuple((names[place], p[place]) for place in order if p[place] > _LIKELIER_THAN_NOT))
