"""Whether a model that is 80 % sure is right four times out of five, and the temperature that makes it so.

Of N answers, each with the confidence c (the probability the model gives it) and right or wrong, sorted into B bins of
confidence of equal width (Guo et al. 2017, section 2):

    ECE = Σ over bins  (n_b / N) · |accuracy of the bin - mean confidence of the bin|

Dividing all logits by one number, the temperature, changes no answer and makes a model more or less sure; it is fitted
on data that are neither trained on nor scored (section 4.2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from textmill.base.errors import TextmillError
from textmill.metrics.score import BOOTSTRAP, LOWER, Bootstrap, Score, Sums, share

BINS = 15
COLDEST, HOTTEST = 0.01, 100.0  # temperatures that are looked at


def calibrated(
    confidence: ArrayLike, right: ArrayLike, bootstrap: Bootstrap = BOOTSTRAP, *, how: str = ""
) -> dict[str, Score]:
    """`ECE` and `Brier score` (mean of (confidence - right)²), both 0 to 1, of (D,) answers.

    The interval of ECE resamples texts, and leans upwards as ECE itself does where bins hold few of them. Raises
    TextmillError when there is no answer.
    """
    table = _bins(confidence, right)
    sure, hit = np.asarray(confidence, np.float64), np.asarray(right, np.float64)
    brier = Sums.of(np.column_stack([(sure - hit) ** 2, np.ones(len(sure))]), bootstrap)
    return {
        "ECE": Sums.of(table, bootstrap).score(f"ECE|{BINS} bins of equal width", ece, how=how, better=LOWER),
        "Brier score": brier.score("Brier|mean (p-right)^2", share(0, 1), how=how, better=LOWER),
    }


def ece(sums: np.ndarray) -> np.ndarray:
    """(S, 3 · B) numbers, summed confidence and right answers of each bin -> (S,)."""
    number, sure, right = np.split(sums, 3, axis=1)
    return np.abs(right - sure).sum(1) / number.sum(1)


def reliability(confidence: ArrayLike, right: ArrayLike) -> list[dict[str, Any]]:
    """The bins that hold answers: `from`, `to`, `answers`, mean `confidence`, `accuracy`: what a reliability curve
    shows."""
    number, sure, hit = np.split(_bins(confidence, right).sum(0), 3)
    return [
        {
            "from": place / BINS,
            "to": (place + 1) / BINS,
            "answers": int(number[place]),
            "confidence": float(sure[place] / number[place]),
            "accuracy": float(hit[place] / number[place]),
        }
        for place in np.flatnonzero(number).tolist()
    ]


def _bins(confidence: ArrayLike, right: ArrayLike) -> np.ndarray:
    """(D,), (D,) -> (D, 3 · B): of each answer's bin 1, its confidence, and whether it is right. Bins are open below
    and closed above."""
    sure, hit = np.asarray(confidence, np.float64), np.asarray(right, np.float64)
    place = np.clip(np.ceil(sure * BINS).astype(np.int64) - 1, 0, BINS - 1)
    table = np.zeros((len(sure), 3, BINS))
    table[np.arange(len(sure)), :, place] = np.stack([np.ones(len(sure)), sure, hit], axis=1)
    return table.reshape(len(sure), 3 * BINS)


@dataclass(frozen=True)
class Temperature:
    """What logits are divided by, and the mean nats of what is true before and after, on the data it was fitted on."""

    value: float
    before: float
    after: float
    n: int


def fit_temperature(logits: ArrayLike, truth: ArrayLike) -> Temperature:
    """The temperature with the lowest mean loss of what is true.

    logits (D, C) and truth (D,) the number of the label that is true: softmax; or truth (D, C) bool, several labels of
    any number: a sigmoid each. The loss is convex in 1/temperature, so halving the interval finds its only minimum.
    Where every answer is right (or no temperature helps) it ends at the coldest (or hottest) that is looked at, 0.01
    (100). Raises TextmillError when there is nothing to fit on, or a logit that is not finite.
    """
    z, y = np.asarray(logits, np.float64), np.asarray(truth)
    if not len(z):
        raise TextmillError(
            "there is nothing to fit the temperature on", advice="give the validation split a share"
        )
    if not np.isfinite(z).all():
        raise TextmillError("a logit is not finite", advice="the model's weights may be damaged")
    measure = _sigmoids if y.ndim == 2 else _softmax
    low, high = 1 / HOTTEST, 1 / COLDEST
    for _ in range(60):  # of the interval of 1/temperature; each halves it
        middle = (low * high) ** 0.5
        low, high = (low, middle) if measure(z, y, middle)[1] > 0 else (middle, high)
    scale = (low * high) ** 0.5
    return Temperature(1 / scale, measure(z, y, 1.0)[0], measure(z, y, scale)[0], len(z))


def _softmax(z: np.ndarray, truth: np.ndarray, scale: float) -> tuple[float, float]:
    """The mean loss of logits times `scale`, and its derivative by `scale`."""
    shifted = scale * z - (scale * z).max(1, keepdims=True)
    total = np.exp(shifted).sum(1)
    rows = np.arange(len(z))
    loss = np.log(total) - shifted[rows, truth]
    slope = (np.exp(shifted) / total[:, None] * z).sum(1) - z[rows, truth]
    return float(loss.mean()), float(slope.mean())


def _sigmoids(z: np.ndarray, truth: np.ndarray, scale: float) -> tuple[float, float]:
    signed = np.where(truth, z, -z)
    loss = np.logaddexp(0, -scale * signed)
    slope = -signed * np.exp(-np.logaddexp(0, scale * signed))
    return float(loss.sum(1).mean()), float(slope.sum(1).mean())
